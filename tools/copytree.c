/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/copytree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/buf.h"
#include "tools/dirnames.h"

#define STEP (1024u * 1024)
#define FILE_WEIGHT 4096u /* of a file, beside its bytes: what the bar counts */
#define DEPTH_MAX 500u
#define PART_STEM 200     /* bytes of a name that its temporary one has */

struct copy {
	const struct copy_config *config;
	struct progress *bar;
	struct copy_report report;
	uint64_t total, done, files;
	struct buf path; /* of what is being copied */
	unsigned depth;
	char *room; /* STEP bytes */
};

static void done_with(struct copy *c, uint64_t bytes)
{
	c->done += bytes + FILE_WEIGHT;
	progress_at(c->bar, c->done, ++c->files);
}

/* ---- how much it is ---- */

static void count(struct copy *c, int dir)
{
	struct dirnames x;
	struct stat st;
	if (c->depth >= DEPTH_MAX || dirnames_read(dir, &x) < 0)
		return;
	c->depth++;
	for (size_t i = 0; i < x.n; i++) {
		if (fstatat(dir, x.name[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			c->total += (S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0) + FILE_WEIGHT;
			continue;
		}
		_cleanup_close_ int below = openat(dir, x.name[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			count(c, below);
	}
	c->depth--;
	dirnames_done(&x);
}

/* ---- files ---- */

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int copy_bytes(struct copy *c, int from, int to)
{
	uint64_t bytes = 0;
	for (;;) {
		ssize_t n = read(from, c->room, STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		int r = write_all(to, c->room, (size_t)n);
		if (r < 0)
			return r;
		bytes += (uint64_t)n;
		progress_at(c->bar, c->done + bytes, c->files);
	}
}

/* Fills the temporary file, which then has all that the file shall have. */
static int fill(struct copy *c, int from, int to, const struct stat *st)
{
	const struct timespec times[2] = { st->st_mtim, st->st_mtim };
	int r = copy_bytes(c, from, to);
	if (r == 0 && fchmod(to, st->st_mode & 0777) < 0)
		r = -errno;
	if (r == 0 && futimens(to, times) < 0)
		r = -errno;
	return r;
}

static int copy_file(struct copy *c, int from, int to, const char *name, const struct stat *st,
		     const struct stat *there)
{
	char part[NAME_MAX + 1];
	if (there && S_ISREG(there->st_mode) && there->st_size == st->st_size &&
	    there->st_mtim.tv_sec == st->st_mtim.tv_sec && there->st_mtim.tv_nsec == st->st_mtim.tv_nsec) {
		c->report.unchanged++;
		return 0;
	}
	/* The same when it is done again, so that nothing is left behind. */
	snprintf(part, sizeof(part), ".%.*s.part", PART_STEM, name);
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return -errno;
	if (unlinkat(to, part, 0) < 0 && errno != ENOENT)
		return -errno;
	int out = openat(to, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	int r = fill(c, in, out, st);
	if (close(out) < 0 && r == 0)
		r = -errno;
	if (r == 0 && renameat(to, part, to, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(to, part, 0);
		return r;
	}
	if (there)
		c->report.changed++;
	else
		c->report.created++;
	return 0;
}

static int copy_link(struct copy *c, int from, int to, const char *name, const struct stat *there)
{
	char target[PATH_MAX], other[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	if (there) {
		ssize_t k = S_ISLNK(there->st_mode) ? readlinkat(to, name, other, sizeof(other)) : -1;
		if (k == n && memcmp(target, other, (size_t)n) == 0) {
			c->report.unchanged++;
			return 0;
		}
		if (unlinkat(to, name, 0) < 0)
			return -errno;
	}
	if (symlinkat(target, to, name) < 0)
		return -errno;
	if (there)
		c->report.changed++;
	else
		c->report.created++;
	return 0;
}

/* ---- directories ---- */

static int copy_dir(struct copy *c, int from, int to, struct err *e);

static int fail(struct copy *c, int code, struct err *e)
{
	const char *path = buf_cstr(&c->path);
	if (code == -ENOSPC || code == -EDQUOT || !path)
		return err_errno(e, code, "cannot copy %.120s", path ? path : "on");
	struct err why = { 0 };
	if (code == -EHOSTDOWN)
		err_set(&why, code, "its contents are not on this device; `shoal fetch` brings them, if somebody who has "
			"them is here");
	else if (code == -EISDIR || code == -EEXIST || code == -ENOTDIR)
		err_set(&why, code, "there is something else of this name already");
	else
		err_set(&why, code, "%s", strerror(-code));
	c->report.failed++;
	progress_clear(c->bar);
	c->config->fail(path, &why, c->config->userdata);
	return 0;
}

static int enter(struct copy *c, int from, int to, const char *name, const struct stat *st, const struct stat *there,
		 struct err *e)
{
	if (c->depth >= DEPTH_MAX)
		return fail(c, -ELOOP, e);
	if (there && !S_ISDIR(there->st_mode))
		return fail(c, -ENOTDIR, e);
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return fail(c, -errno, e);
	if (!there && mkdirat(to, name, (st->st_mode & 0777) | 0700) < 0)
		return fail(c, -errno, e);
	_cleanup_close_ int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return out < 0 ? fail(c, -errno, e) : copy_dir(c, in, out, e);
}

static int copy_one(struct copy *c, int from, int to, const char *name, struct err *e)
{
	struct stat st, there;
	int r = 0;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(c, -errno, e); /* gone meanwhile */
	const bool is_there = fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW) == 0;
	if (!is_there && errno != ENOENT)
		return fail(c, -errno, e);
	if (S_ISDIR(st.st_mode))
		return enter(c, from, to, name, &st, is_there ? &there : NULL, e);
	if (is_there && S_ISDIR(there.st_mode))
		r = -EISDIR;
	else if (S_ISREG(st.st_mode))
		r = copy_file(c, from, to, name, &st, is_there ? &there : NULL);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(c, from, to, name, is_there ? &there : NULL);
	else
		c->report.left_out++;
	done_with(c, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
	return r < 0 ? fail(c, r, e) : 0;
}

static int copy_dir(struct copy *c, int from, int to, struct err *e)
{
	struct dirnames x;
	const size_t len = c->path.len;
	int r = dirnames_read(from, &x);
	if (r < 0)
		return fail(c, r, e);
	c->depth++;
	for (size_t i = 0; i < x.n && r == 0; i++) {
		if (len)
			buf_u8(&c->path, '/');
		buf_puts(&c->path, x.name[i]);
		r = copy_one(c, from, to, x.name[i], e);
		if (!buf_failed(&c->path))
			c->path.len = len;
	}
	c->depth--;
	dirnames_done(&x);
	return r;
}

int copytree(const struct copy_config *config, struct progress *bar, struct copy_report *ret, struct err *e)
{
	struct copy c = { .config = config, .bar = bar };
	c.room = malloc(STEP);
	if (!c.room)
		return err_errno(e, -ENOMEM, "cannot copy");
	count(&c, config->from);
	progress_begin(bar, "files", c.total);
	int r = copy_dir(&c, config->from, config->to, e);
	progress_clear(bar);
	*ret = c.report;
	buf_done(&c.path);
	free(c.room);
	return r;
}
