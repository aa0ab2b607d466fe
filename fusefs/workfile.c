/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/workfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct workfile {
	int dir;
	int fd; /* -1: in memory */
	uint8_t *data;
	size_t cap;
	uint64_t size;
	char name[64]; /* kept under this name; "" otherwise */
};

int workfile_new(int dir, struct workfile **ret)
{
	struct workfile *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->dir = dir;
	w->fd = -1;
	*ret = w;
	return 0;
}

void workfile_free(struct workfile *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	free(w->data);
	free(w);
}

uint64_t workfile_size(const struct workfile *w)
{
	return w->size;
}

static int fd_write(int fd, const void *data, size_t len, uint64_t offset)
{
	const uint8_t *p = data;
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* From memory into a file without a name. */
static int spill(struct workfile *w)
{
	int fd = openat(w->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		char name[64];
		snprintf(name, sizeof(name), "spill-%p", (void *)w);
		fd = openat(w->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			unlinkat(w->dir, name, 0);
	}
	if (fd < 0)
		return -errno;
	int r = fd_write(fd, w->data, w->size, 0);
	if (r < 0) {
		close(fd);
		return r;
	}
	free(w->data);
	w->data = NULL;
	w->cap = 0;
	w->fd = fd;
	return 0;
}

static int reserve(struct workfile *w, uint64_t size)
{
	if (w->fd >= 0)
		return 0;
	if (size > WORKFILE_MEMORY)
		return spill(w);
	if (size <= w->cap)
		return 0;
	size_t cap = w->cap ? w->cap : 4096;
	while (cap < size)
		cap *= 2;
	uint8_t *p = realloc(w->data, cap);
	if (!p)
		return -ENOMEM;
	w->data = p;
	w->cap = cap;
	return 0;
}

ssize_t workfile_pread(struct workfile *w, void *data, size_t len, uint64_t offset)
{
	if (offset >= w->size)
		return 0;
	if (len > w->size - offset)
		len = (size_t)(w->size - offset);
	if (w->fd < 0) {
		memcpy(data, w->data + offset, len);
		return (ssize_t)len;
	}
	size_t done = 0;
	while (done < len) {
		ssize_t n =
			pread(w->fd, (uint8_t *)data + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* What grows beyond a small file has to leave the disk room enough for the database, or the next
 * save of a document would fail. */
static int check_room(const struct workfile *w, uint64_t size)
{
	struct statvfs v;
	if (size <= WORKFILE_SMALL || size <= w->size || fstatvfs(w->dir, &v) < 0)
		return 0;
	uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
	return room < WORKFILE_RESERVE + (size - w->size) ? -ENOSPC : 0;
}

int workfile_pwrite(struct workfile *w, const void *data, size_t len, uint64_t offset)
{
	if (len == 0)
		return 0;
	uint64_t end;
	if (__builtin_add_overflow(offset, (uint64_t)len, &end))
		return -EFBIG;
	int r = check_room(w, end);
	if (r == 0)
		r = reserve(w, end > w->size ? end : w->size);
	if (r < 0)
		return r;
	if (w->fd >= 0) {
		r = fd_write(w->fd, data, len, offset);
		if (r < 0)
			return r;
	} else {
		if (offset > w->size)
			memset(w->data + w->size, 0, (size_t)(offset - w->size));
		memcpy(w->data + offset, data, len);
	}
	if (end > w->size)
		w->size = end;
	return 0;
}

int workfile_truncate(struct workfile *w, uint64_t size)
{
	if (size > w->size) {
		int r = reserve(w, size);
		if (r < 0)
			return r;
		if (w->fd < 0)
			memset(w->data + w->size, 0, (size_t)(size - w->size));
	}
	if (w->fd >= 0 && ftruncate(w->fd, (off_t)size) < 0)
		return -errno;
	w->size = size;
	return 0;
}

void workfile_content(const struct workfile *w, struct content *ret)
{
	*ret = (struct content){ .fd = w->fd };
	if (w->fd < 0) {
		ret->data = w->data ? (const void *)w->data : "";
		ret->len = (size_t)w->size;
	} else {
		ret->len = (size_t)w->size;
	}
}

int workfile_from(int dir, struct version *v, struct workfile **ret)
{
	_cleanup_(workfile_freep) struct workfile *w = NULL;
	int r = workfile_new(dir, &w);
	if (r < 0)
		return r;
	const void *data = version_data(v);
	if (data) {
		r = workfile_pwrite(w, data, (size_t)version_size(v), 0);
		if (r < 0)
			return r;
	} else {
		_cleanup_free_ uint8_t *block = malloc(256 * 1024);
		if (!block)
			return -ENOMEM;
		for (uint64_t at = 0; at < version_size(v);) {
			ssize_t n = version_pread(v, block, 256 * 1024, at);
			if (n <= 0)
				return n < 0 ? (int)n : -EIO;
			r = workfile_pwrite(w, block, (size_t)n, at);
			if (r < 0)
				return r;
			at += (uint64_t)n;
		}
	}
	*ret = TAKE_PTR(w);
	return 0;
}

int workfile_open(int dir, const char *name, struct workfile **ret)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	_cleanup_(workfile_freep) struct workfile *w = NULL;
	int r = workfile_new(dir, &w);
	if (r < 0)
		return r;
	w->fd = TAKE_FD(fd);
	w->size = (uint64_t)st.st_size;
	snprintf(w->name, sizeof(w->name), "%s", name);
	*ret = TAKE_PTR(w);
	return 0;
}

/* Copies into NAME.new and renames, so that the file under the name is always a whole one. When the
 * workfile lives in the kept file itself, that file is already it. */
int workfile_keep(struct workfile *w, const char *name, bool sync)
{
	if (w->fd >= 0 && strcmp(w->name, name) == 0)
		return sync && fsync(w->fd) < 0 ? -errno : 0;
	if (w->fd < 0) {
		int r = spill(w);
		if (r < 0)
			return r;
	}
	/* A nameless file gets its name; one that has another name already is copied. */
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", w->fd);
	if (sync && fsync(w->fd) < 0)
		return -errno;
	unlinkat(w->dir, name, 0);
	if (w->name[0] == '\0' && linkat(AT_FDCWD, path, w->dir, name, AT_SYMLINK_FOLLOW) == 0) {
		snprintf(w->name, sizeof(w->name), "%s", name);
		return sync && fsync(w->dir) < 0 ? -errno : 0;
	}
	_cleanup_close_ int fd = openat(w->dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	_cleanup_free_ uint8_t *block = malloc(256 * 1024);
	if (!block)
		return -ENOMEM;
	for (uint64_t at = 0; at < w->size;) {
		ssize_t n = workfile_pread(w, block, 256 * 1024, at);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		int r = fd_write(fd, block, (size_t)n, at);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
	if (sync && (fsync(fd) < 0 || fsync(w->dir) < 0))
		return -errno;
	close(w->fd);
	w->fd = TAKE_FD(fd);
	snprintf(w->name, sizeof(w->name), "%s", name);
	return 0;
}

void workfile_unkeep(struct workfile *w)
{
	if (w->name[0]) {
		unlinkat(w->dir, w->name, 0);
		w->name[0] = '\0';
	}
}
