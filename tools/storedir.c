/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/storedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/cmdline.h"
#include "tools/mounts.h"

struct storedir {
	char *path;
	int fd;
	int lock; /* -1: not ours */
	struct buf file;
};

static int put_absolute(const char *path, struct buf *ret, struct err *e)
{
	int r = path_absolute(path, ret);
	return r < 0 ? err_errno(e, r, "cannot tell where %s is", path) : 0;
}

int storedir_find(const char *given, struct buf *ret, struct err *e)
{
	if (given)
		return put_absolute(given, ret, e);
	const char *env = getenv("SHOAL_STORE");
	if (env && *env)
		return put_absolute(env, ret, e);
	_cleanup_(buf_done) struct buf dir = { 0 };
	if (mounts_of(".", &dir, ret) == 0)
		return 0;
	_cleanup_(buf_done) struct buf path = { 0 };
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	if (data && *data == '/')
		buf_putf(&path, "%s/shoal", data);
	else if (home && *home == '/')
		buf_putf(&path, "%s/.local/share/shoal", home);
	else
		return err_set(e, -ENOENT,
			       "cannot tell where the store is, because HOME is not set: "
			       "name it with --store DIR");
	if (!buf_cstr(&path))
		return err_errno(e, -ENOMEM, "cannot find the store");
	return put_absolute((const char *)path.data, ret, e);
}

static bool is_ours(const char *name)
{
	static const char *const names[] = { STOREDIR_CONF, STOREDIR_IDENTITY, STOREDIR_DB,
					     STOREDIR_FENCE, STOREDIR_SOCKET, STOREDIR_LOCK,
					     STOREDIR_LOG, STOREDIR_SPOOL };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* True when the directory is empty or has something of a store in it. */
static bool looks_like_store(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	bool empty = true, ours = false;
	const struct dirent *d;
	while (!ours && (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		empty = false;
		ours = is_ours(d->d_name);
	}
	closedir(dir);
	return empty || ours;
}

static int check_dir(const struct storedir *d, struct err *e)
{
	struct stat st;
	if (fstat(d->fd, &st) < 0)
		return err_errno(e, -errno, "cannot look at the store %s", d->path);
	if (st.st_uid != geteuid() && geteuid() != 0)
		return err_set(e, -EPERM, "the store %s belongs to another user", d->path);
	if (st.st_mode & 0022)
		return err_set(e, -EPERM,
			       "others may write to the store %s, so its keys are not safe: "
			       "chmod go-w it, and see who was there",
			       d->path);
	if (!looks_like_store(d->fd))
		return err_set(e, -ENOTEMPTY,
			       "%s has other files in it and is no store: name an empty or a new "
			       "directory with --store",
			       d->path);
	return 0;
}

int storedir_open(const char *path, bool create, struct storedir **ret, struct err *e)
{
	if (create) {
		int r = path_make(path, 0700); /* what is made on the way is private too */
		if (r < 0)
			return err_errno(e, r, "cannot make the store %s", path);
	}
	_cleanup_(storedir_freep) struct storedir *d = calloc(1, sizeof(*d));
	if (!d)
		return err_errno(e, -ENOMEM, "cannot open the store %s", path);
	d->lock = -1;
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0 && errno == ENOENT)
		return err_set(e, -ENOENT, "there is no store at %s; `shoal up` makes one", path);
	if (d->fd < 0)
		return err_errno(e, -errno, "cannot open the store %s", path);
	d->path = realpath(path, NULL);
	if (!d->path)
		return err_errno(e, -errno, "cannot open the store %s", path);
	int r = check_dir(d, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

void storedir_free(struct storedir *d)
{
	if (!d)
		return;
	storedir_unlock(d);
	if (d->fd >= 0)
		close(d->fd);
	buf_done(&d->file);
	free(d->path);
	free(d);
}

const char *storedir_path(const struct storedir *d)
{
	return d->path;
}

int storedir_fd(const struct storedir *d)
{
	return d->fd;
}

const char *storedir_file(struct storedir *d, const char *name)
{
	buf_reset(&d->file);
	buf_putf(&d->file, "%s/%s", d->path, name);
	return buf_cstr(&d->file);
}

bool storedir_has_identity(const struct storedir *d)
{
	return faccessat(d->fd, STOREDIR_IDENTITY, F_OK, 0) == 0;
}

int storedir_lock(struct storedir *d, struct err *e)
{
	if (d->lock >= 0)
		return 0;
	_cleanup_close_ int fd = openat(d->fd, STOREDIR_LOCK,
					O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s/" STOREDIR_LOCK, d->path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_errno(e, -errno, "cannot lock the store %s", d->path);
		return err_set(e, -EBUSY, "the store %s is in use by process %ld", d->path,
			       (long)storedir_holder(d));
	}
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return err_errno(e, -errno, "cannot write %s/" STOREDIR_LOCK, d->path);
	d->lock = TAKE_FD(fd);
	return 0;
}

void storedir_take_lock(struct storedir *d, int fd)
{
	d->lock = fd;
}

int storedir_lock_fd(const struct storedir *d)
{
	return d->lock;
}

void storedir_unlock(struct storedir *d)
{
	if (d->lock < 0)
		return;
	/* The file stays: unlinking it would let two processes lock two files of one name. */
	(void)!ftruncate(d->lock, 0);
	close(TAKE_FD(d->lock));
}

pid_t storedir_holder(const struct storedir *d)
{
	_cleanup_close_ int fd = openat(d->fd, STOREDIR_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	char text[32] = { 0 };
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	if (n > 0)
		text[strcspn(text, "\n")] = 0;
	uint64_t pid = 0;
	if (number_parse(text, INT32_MAX, &pid) < 0)
		return 1; /* locked a moment ago and not written yet: somebody is there */
	return (pid_t)pid;
}

int storedir_wait_unlocked(const struct storedir *d, uint64_t timeout_us)
{
	/* flock(2) has no timeout: ask, at growing intervals. */
	uint64_t waited = 0, step = 2000;
	while (storedir_holder(d)) {
		if (waited >= timeout_us)
			return -ETIMEDOUT;
		const struct timespec ts = { .tv_nsec = (long)step * 1000 };
		nanosleep(&ts, NULL);
		waited += step;
		step = step < 50000 ? step * 2 : step;
	}
	return 0;
}

void storedir_socket(const struct storedir *d, struct sockaddr_un *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/" STOREDIR_SOCKET, d->fd);
}
