/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define SHOAL_TYPE "fuse.shoal"
#define MOUNTINFO_MAX (16u * 1024 * 1024)

extern char **environ;

int path_absolute(const char *path, struct buf *ret)
{
	_cleanup_(buf_done) struct buf whole = { 0 };
	if (*path != '/') {
		_cleanup_free_ char *cwd = getcwd(NULL, 0);
		if (!cwd)
			return -errno;
		buf_putf(&whole, "%s/", cwd);
	}
	buf_puts(&whole, path);
	const char *p = buf_cstr(&whole);
	if (!p)
		return -ENOMEM;
	buf_reset(ret);
	while (*p) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (ret->len && ret->data[--ret->len] != '/')
				;
		} else if (n && !(n == 1 && *p == '.')) {
			buf_u8(ret, '/');
			buf_put(ret, p, n);
		}
		p += n + (p[n] == '/');
	}
	if (!ret->len)
		buf_u8(ret, '/');
	return buf_cstr(ret) ? 0 : -ENOMEM;
}

int path_make(const char *path, mode_t mode)
{
	_cleanup_free_ char *p = strdup(path);
	if (!p)
		return -ENOMEM;
	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return -errno;
		*s = '/';
	}
	return mkdir(p, mode) < 0 && errno != EEXIST ? -errno : 0;
}

/* Decodes the octal escapes of mountinfo in place. */
static void unescape(char *s)
{
	char *out = s;
	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

/* ID PARENT MAJOR:MINOR ROOT DIR OPTIONS [OPTIONAL…] - TYPE SOURCE SUPEROPTIONS */
static int parse_line(char *line, mount_fn f, void *userdata)
{
	char *field[64], *save = line;
	unsigned n = 0, dash = 0;
	while (n < 64 && (field[n] = strsep(&save, " "))) {
		if (n >= 6 && !dash && strcmp(field[n], "-") == 0)
			dash = n;
		n++;
	}
	if (!dash || n < dash + 3 || strcmp(field[dash + 1], SHOAL_TYPE) != 0)
		return 0;
	struct mount_entry m = { .dir = field[4], .source = field[dash + 2] };
	if (sscanf(field[2], "%u:%u", &m.major, &m.minor) != 2)
		return 0;
	unescape(field[4]);
	unescape(field[dash + 2]);
	return f(&m, userdata);
}

int mounts_parse(const char *text, size_t len, mount_fn f, void *userdata)
{
	_cleanup_free_ char *copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len);
	copy[len] = 0;
	char *rest = copy, *line;
	while ((line = strsep(&rest, "\n"))) {
		int r = parse_line(line, f, userdata);
		if (r)
			return r;
	}
	return 0;
}

int mounts_each(mount_fn f, void *userdata)
{
	_cleanup_close_ int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	_cleanup_(buf_done) struct buf b = { 0 };
	for (;;) {
		uint8_t *p = buf_reserve(&b, 65536);
		if (!p || b.len > MOUNTINFO_MAX)
			return -ENOMEM;
		ssize_t n = read(fd, p, 65536);
		if (n < 0)
			return -errno;
		if (n == 0)
			return mounts_parse((const char *)b.data, b.len, f, userdata);
		b.len += (size_t)n;
	}
}

struct search {
	const char *dir, *source; /* what is looked for */
	bool within;              /* dir may be below the mount point */
	struct buf *ret_dir, *ret_source;
	bool found;
};

static int search_mount(const struct mount_entry *m, void *userdata)
{
	struct search *s = userdata;
	if (s->source && strcmp(s->source, m->source) != 0)
		return 0;
	if (s->dir) {
		size_t n = strlen(m->dir);
		if (strncmp(s->dir, m->dir, n) != 0 ||
		    (s->dir[n] && !(s->within && s->dir[n] == '/')))
			return 0;
	}
	/* No stop: what was mounted last lies on top. */
	s->found = true;
	if (s->ret_dir) {
		buf_reset(s->ret_dir);
		buf_puts(s->ret_dir, m->dir);
		if (!buf_cstr(s->ret_dir))
			return -ENOMEM;
	}
	if (s->ret_source) {
		buf_reset(s->ret_source);
		buf_puts(s->ret_source, m->source);
		if (!buf_cstr(s->ret_source))
			return -ENOMEM;
	}
	return 0;
}

static int search(struct search *s)
{
	int r = mounts_each(search_mount, s);
	return r < 0 ? r : s->found ? 0 : -ENOENT;
}

/* Absolute, and with the symbolic links of the directory above resolved; the last component may
 * be a dead mount, which realpath(3) must not touch. */
static int resolve(const char *path, struct buf *ret)
{
	int r = path_absolute(path, ret);
	if (r < 0)
		return r;
	char *p = buf_cstr(ret);
	if (!p)
		return -ENOMEM;
	char *slash = strrchr(p, '/');
	if (slash == p)
		return 0;
	_cleanup_free_ char *base = strdup(slash + 1);
	*slash = 0;
	_cleanup_free_ char *above = realpath(p, NULL);
	*slash = '/';
	if (!base)
		return -ENOMEM;
	if (!above)
		return 0;
	buf_reset(ret);
	buf_putf(ret, "%s/%s", above[1] ? above : "", base);
	return buf_cstr(ret) ? 0 : -ENOMEM;
}

int mounts_of(const char *path, struct buf *ret_dir, struct buf *ret_source)
{
	_cleanup_(buf_done) struct buf dir = { 0 };
	int r = resolve(path, &dir);
	if (r < 0)
		return r;
	struct search s = { .dir = (const char *)dir.data, .within = true, .ret_dir = ret_dir,
			    .ret_source = ret_source };
	return search(&s);
}

int mounts_find(const char *source, struct buf *ret_dir)
{
	struct search s = { .source = source, .ret_dir = ret_dir };
	return search(&s);
}

int mounts_at(const char *dir, struct buf *ret_source)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = resolve(dir, &path);
	if (r < 0)
		return r;
	struct search s = { .dir = (const char *)path.data, .ret_source = ret_source };
	return search(&s);
}

bool mount_is_stale(const char *dir)
{
	/* Not stat(2), which the kernel may answer from its cache. */
	struct statvfs v;
	return statvfs(dir, &v) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

static int run_fusermount(const char *dir, bool lazy)
{
	char flags[4] = "-u";
	if (lazy)
		memcpy(flags, "-uz", 4);
	_cleanup_free_ char *copy = strdup(dir);
	char name[] = "fusermount3", dashes[] = "--";
	char *argv[] = { name, flags, dashes, copy, NULL };
	if (!copy)
		return -ENOMEM;
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	pid_t pid;
	int r = posix_spawnp(&pid, name, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return -r;
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int mount_end(const char *dir, bool lazy, struct err *e)
{
	if (umount2(dir, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0)
		return 0;
	/* EACCES: the mount is dead, and another user than root asks. */
	int r = errno == EPERM || errno == EACCES ? run_fusermount(dir, lazy) : -errno;
	if (r == 0)
		return 0;
	if (r == -ENOENT)
		return err_set(e, r, "cannot unmount %s, because fusermount3 is missing: "
				     "apt-get install fuse3", dir);
	if (r == -EBUSY)
		return err_set(e, r, "cannot unmount %s, because it is in use: `fuser -vm %s` "
				     "shows by whom", dir, dir);
	return err_errno(e, r, "cannot unmount %s", dir);
}
