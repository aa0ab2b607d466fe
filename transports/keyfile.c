/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void keyfile_wipe(struct buf *b)
{
	if (b->data)
		gnutls_memset(b->data, 0, b->cap);
	buf_done(b);
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int fill(int dirfd, const char *temp, const void *data, size_t len)
{
	/* What is left of a write that was cut is of no use to anybody. */
	if (unlinkat(dirfd, temp, 0) < 0 && errno != ENOENT)
		return -errno;
	_cleanup_close_ int fd =
		openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

int keyfile_write(int dirfd, const char *name, const void *data, size_t len, struct err *e)
{
	char temp[128];
	int n = snprintf(temp, sizeof(temp), ".%s.new", name);
	if (n < 0 || (size_t)n >= sizeof(temp))
		return err_set(e, -ENAMETOOLONG, "the file name %.60s is too long", name);
	int r = fill(dirfd, temp, data, len);
	if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
		r = -errno;
	if (r == 0 && fsync(dirfd) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, temp, 0);
		return err_errno(e, r, "cannot write %s", name);
	}
	return 0;
}

int keyfile_read(int dirfd, const char *name, size_t max, struct buf *ret, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		int code = -errno;
		return err_errno(e, code, "cannot open %s", name);
	}
	struct stat st;
	if (fstat(fd, &st) < 0) {
		int code = -errno;
		return err_errno(e, code, "cannot examine %s", name);
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is not a regular file", name);
	if (st.st_mode & 077)
		return err_set(e, -EPERM,
			       "%s may be read by other users (mode %04o); if it never left your "
			       "hands: chmod 600 it",
			       name, (unsigned)(st.st_mode & 07777));
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return err_set(e, -EFBIG, "%s is too long to be what it should be", name);

	/* Reserved at once: growing would leave copies of a secret in freed memory. */
	struct buf b = { 0 };
	size_t size = (size_t)st.st_size;
	if (!buf_reserve(&b, size + 1))
		return err_set(e, -ENOMEM, "out of memory");
	while (b.len < size) {
		ssize_t n = read(fd, b.data + b.len, size - b.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int code = n < 0 ? -errno : -EIO;
			keyfile_wipe(&b);
			return err_errno(e, code, "cannot read %s", name);
		}
		b.len += (size_t)n;
	}
	*ret = b;
	return 0;
}

int keyfile_remove(int dirfd, const char *name)
{
	if (unlinkat(dirfd, name, 0) < 0)
		return -errno;
	return fsync(dirfd) < 0 ? -errno : 0;
}
