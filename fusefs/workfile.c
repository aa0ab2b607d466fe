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

#include "fusefs/ranges.h"
#include "fusefs/saver.h"
#include "fusefs/workfile-ahead.h"

#define COPY_PIECE (256u * 1024)
#define AHEAD_STEP (1024u * 1024) /* of a growing file: less is not worth the while */

/* Of a large blob nothing is copied when it is opened for writing: `base` shows through where
 * nothing was written. The file in the spool has the offsets of the whole; `written` says which
 * blocks of it count, and beyond base_size there is nothing of the base. All that is not written is
 * zero there. */
#define BLOCK 4096u /* written to the spool as a whole, so that its rest need not be remembered */

struct workfile {
	int dir;
	int fd; /* -1: in memory */
	uint8_t *data;
	size_t cap;
	uint64_t size;
	char name[64]; /* kept under this name; "" otherwise */

	struct version *base; /* NULL: all is in fd or data */
	uint64_t base_size;
	struct ranges written;
	struct blob_source source;    /* what workfile_content gives */
	struct workfile_ahead *ahead; /* its beginning, in the store; NULL: it is not */
	bool rewritten;               /* what had been stored of it was in vain */
};

/* What was or is being stored of it is not what it is. */
static void forget_ahead(struct workfile *w)
{
	workfile_ahead_drop(TAKE_PTR(w->ahead));
}

/* Bytes from offset on are about to change. */
static void change_from(struct workfile *w, uint64_t offset)
{
	if (!w->ahead || !workfile_ahead_needs(w->ahead, offset))
		return;
	w->rewritten |= !workfile_ahead_used(w->ahead);
	forget_ahead(w);
}

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
	forget_ahead(w);
	if (w->fd >= 0)
		close(w->fd);
	if (w->base)
		version_unref(w->base);
	ranges_done(&w->written);
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

/* All of it; zeros beyond the file's end. */
static int fd_read(int fd, void *data, size_t len, uint64_t offset)
{
	uint8_t *p = data;
	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			memset(p, 0, len);
			return 0;
		}
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int base_read(struct workfile *w, uint8_t *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = version_pread(w->base, data, len, offset);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		data += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* The place of all bytes from offset on, up to *ret_end, is one of three. */
enum place { IN_FILE, IN_BASE, NOWHERE };

static enum place place_of(const struct workfile *w, uint64_t offset, uint64_t *ret_end)
{
	*ret_end = w->size;
	if (!w->base)
		return IN_FILE;
	const struct range *r = ranges_find(&w->written, offset);
	if (r && r->start <= offset) {
		*ret_end = r->end < w->size ? r->end : w->size;
		return IN_FILE;
	}
	if (r && r->start < *ret_end)
		*ret_end = r->start;
	if (offset >= w->base_size)
		return NOWHERE;
	if (w->base_size < *ret_end)
		*ret_end = w->base_size;
	return IN_BASE;
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
	for (size_t done = 0; done < len;) {
		uint8_t *p = (uint8_t *)data + done;
		uint64_t at = offset + done, end;
		enum place place = place_of(w, at, &end);
		size_t n = end - at < len - done ? (size_t)(end - at) : len - done;
		int r = 0;
		if (place == IN_FILE)
			r = fd_read(w->fd, p, n, at);
		else if (place == IN_BASE)
			r = base_read(w, p, n, at);
		else
			memset(p, 0, n);
		if (r < 0)
			return r;
		done += n;
	}
	return (ssize_t)len;
}

int workfile_room(int dir, uint64_t end, size_t len)
{
	struct statvfs v;
	if (end <= WORKFILE_SMALL || fstatvfs(dir, &v) < 0)
		return 0;
	uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
	return room < WORKFILE_RESERVE + len ? -ENOSPC : 0;
}

/* The block that offset is in is about to be written in part: puts what it shows into the file. */
static int fill_block(struct workfile *w, uint64_t offset)
{
	uint8_t block[BLOCK] = { 0 };
	const uint64_t start = offset - offset % BLOCK;
	uint64_t end;
	if (place_of(w, start, &end) == IN_FILE)
		return 0;
	int r = 0;
	if (start < w->base_size) {
		uint64_t n = w->base_size - start < BLOCK ? w->base_size - start : BLOCK;
		r = base_read(w, block, (size_t)n, start);
	}
	if (r == 0)
		r = fd_write(w->fd, block, BLOCK, start);
	return r < 0 ? r : ranges_add(&w->written, start, start + BLOCK);
}

static int write_over(struct workfile *w, const void *data, size_t len, uint64_t offset)
{
	const uint64_t end = offset + len, tail = end % BLOCK;
	int r = offset % BLOCK ? fill_block(w, offset) : 0;
	if (r == 0 && tail)
		r = fill_block(w, end - tail);
	if (r == 0)
		r = fd_write(w->fd, data, len, offset);
	/* The last block may reach beyond the size: its rest is zeros, and not in the file's way.
	 */
	if (r == 0)
		r = ranges_add(&w->written, offset - offset % BLOCK,
			       tail ? end - tail + BLOCK : end);
	return r;
}

int workfile_pwrite(struct workfile *w, const void *data, size_t len, uint64_t offset)
{
	if (len == 0)
		return 0;
	uint64_t end;
	if (__builtin_add_overflow(offset, (uint64_t)len, &end) || end > BLOB_SIZE_MAX)
		return -EFBIG;
	change_from(w, offset);
	int r = workfile_room(w->dir, end, len);
	if (r == 0)
		r = reserve(w, end > w->size ? end : w->size);
	if (r < 0)
		return r;
	if (w->base) {
		r = write_over(w, data, len, offset);
	} else if (w->fd >= 0) {
		r = fd_write(w->fd, data, len, offset);
	} else {
		if (offset > w->size)
			memset(w->data + w->size, 0, (size_t)(offset - w->size));
		memcpy(w->data + offset, data, len);
	}
	if (r == 0 && end > w->size)
		w->size = end;
	return r;
}

int workfile_truncate(struct workfile *w, uint64_t size)
{
	change_from(w, size < w->size ? size : w->size);
	if (size > w->size) {
		int r = reserve(w, size);
		if (r < 0)
			return r;
		if (w->fd < 0)
			memset(w->data + w->size, 0, (size_t)(size - w->size));
	}
	if (w->fd >= 0 && ftruncate(w->fd, (off_t)size) < 0)
		return -errno;
	if (w->base_size > size)
		w->base_size = size;
	ranges_cut(&w->written, size + (BLOCK - size % BLOCK) % BLOCK);
	w->size = size;
	return 0;
}

/* A file system without holes gets zeros written. */
static int fd_zero(int fd, uint64_t offset, uint64_t end)
{
	static const uint8_t zeros[COPY_PIECE];
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)(end - offset)) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	int r = 0;
	for (; r == 0 && offset < end; offset += COPY_PIECE)
		r = fd_write(fd, zeros, end - offset < COPY_PIECE ? end - offset : COPY_PIECE,
			     offset);
	return r;
}

int workfile_zero(struct workfile *w, uint64_t offset, uint64_t len)
{
	if (offset >= w->size || len == 0)
		return 0;
	const uint64_t end = len < w->size - offset ? offset + len : w->size, tail = end % BLOCK;
	change_from(w, offset);
	if (w->fd < 0) {
		memset(w->data + offset, 0, (size_t)(end - offset));
		return 0;
	}
	int r = w->base && offset % BLOCK ? fill_block(w, offset) : 0;
	if (r == 0 && w->base && tail)
		r = fill_block(w, end - tail);
	if (r == 0)
		r = fd_zero(w->fd, offset, end);
	if (r == 0 && w->base)
		r = ranges_add(&w->written, offset - offset % BLOCK,
			       tail ? end - tail + BLOCK : end);
	return r;
}

/* Where the spool's file system knows of no holes all is data. */
static int fd_next(const struct workfile *w, uint64_t offset, bool hole, uint64_t *ret)
{
	off_t n = lseek(w->fd, (off_t)offset, hole ? SEEK_HOLE : SEEK_DATA);
	if (n < 0 && errno != ENXIO && errno != EINVAL)
		return -errno;
	if (n < 0)
		*ret = errno == ENXIO || hole ? w->size : offset;
	else
		*ret = (uint64_t)n < w->size ? (uint64_t)n : w->size;
	return 0;
}

int workfile_next(struct workfile *w, uint64_t offset, bool hole, uint64_t *ret)
{
	if (!w->base && w->fd >= 0 && offset < w->size)
		return fd_next(w, offset, hole, ret);
	while (w->base && offset < w->size) {
		uint64_t end, next = offset;
		enum place place = place_of(w, offset, &end);
		int r = 0;
		if (place == IN_BASE)
			r = version_next(w->base, offset, hole, &next);
		else if (place == IN_FILE)
			r = fd_next(w, offset, hole, &next);
		else if (!hole)
			next = end;
		if (r < 0)
			return r;
		if (next < end) {
			*ret = next;
			return 0;
		}
		offset = end;
	}
	*ret = hole || offset > w->size ? w->size : offset;
	return 0;
}

int workfile_stored(struct workfile *w, uint64_t *ret)
{
	struct stat st;
	*ret = w->size;
	if (w->fd < 0)
		return 0;
	if (fstat(w->fd, &st) < 0)
		return -errno;
	uint64_t base = 0;
	int r = w->base ? version_stored(w->base, &base) : 0;
	uint64_t sum = base + (uint64_t)st.st_blocks * 512;
	if (r == 0 && sum < w->size)
		*ret = sum;
	return r;
}

/* ---- as the engine takes it ---- */

static ssize_t source_read(void *userdata, void *data, size_t len, uint64_t offset)
{
	return workfile_pread(userdata, data, len, offset);
}

static int source_data(void *userdata, uint64_t offset, uint64_t *ret)
{
	return workfile_next(userdata, offset, false, ret);
}

static uint64_t source_changed(void *userdata, uint64_t offset)
{
	const struct workfile *w = userdata;
	const struct range *r = ranges_find(&w->written, offset);
	uint64_t next = !r ? UINT64_MAX : r->start > offset ? r->start : offset;
	/* It was shorter meanwhile. */
	if (w->base_size < version_size(w->base) && next > w->base_size)
		next = w->base_size > offset ? w->base_size : offset;
	return next;
}

void workfile_content(struct workfile *w, struct content *ret)
{
	struct blob_writer *begun = w->ahead ? workfile_ahead_use(w->ahead) : NULL;
	*ret = (struct content){ .fd = w->fd, .len = (size_t)w->size };
	if (w->base || begun) {
		w->source = (struct blob_source){ .read = source_read,
						  .size = w->size,
						  .data = source_data,
						  .base = w->base ? version_blob(w->base) : NULL,
						  .changed = source_changed,
						  .userdata = w,
						  .begun = begun };
		ret->fd = CONTENT_SOURCE;
		ret->data = &w->source;
	} else if (w->fd < 0) {
		ret->data = w->data ? (const void *)w->data : "";
	}
}

/* ---- before it is saved ---- */

int workfile_ahead_begin(struct workfile *w, struct replica *r, bool growing,
			 struct workfile_ahead **ret)
{
	if (w->fd < 0 || w->base || w->size < WORKFILE_AHEAD || (growing && w->rewritten))
		return -EALREADY;
	int rc = w->ahead ? 0 : workfile_ahead_new(r, w->fd, &w->ahead);
	if (rc == 0)
		rc = workfile_ahead_start(w->ahead, w->size, growing ? AHEAD_STEP : 1);
	if (rc == 0)
		*ret = w->ahead;
	return rc;
}

/* ---- opening and keeping ---- */

/* The bytes of v in [from, end) go into w, but for its holes. */
static int copy_base(struct workfile *w, struct version *v, uint64_t from, uint64_t end)
{
	_cleanup_free_ uint8_t *piece = malloc(COPY_PIECE);
	if (!piece)
		return -ENOMEM;
	while (from < end) {
		uint64_t next;
		int r = version_next(v, from, false, &next);
		if (r < 0)
			return r;
		from = next;
		if (from >= end)
			return 0;
		size_t len = end - from < COPY_PIECE ? (size_t)(end - from) : COPY_PIECE;
		ssize_t n = version_pread(v, piece, len, from);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		r = workfile_pwrite(w, piece, (size_t)n, from);
		if (r < 0)
			return r;
		from += (uint64_t)n;
	}
	return 0;
}

int workfile_from(int dir, struct version *v, struct workfile **ret)
{
	_cleanup_(workfile_freep) struct workfile *w = NULL;
	const void *data = version_data(v);
	const uint64_t size = version_size(v);
	int r = workfile_new(dir, &w);
	if (r == 0 && data)
		r = workfile_pwrite(w, data, (size_t)size, 0);
	else if (r == 0 && size <= WORKFILE_SMALL)
		r = copy_base(w, v, 0, size);
	if (r == 0 && !data && size <= WORKFILE_SMALL)
		r = workfile_truncate(w, size);
	if (r == 0 && !data && size > WORKFILE_SMALL) {
		r = spill(w);
		if (r == 0)
			r = ftruncate(w->fd, (off_t)size) < 0 ? -errno : 0;
		w->size = w->base_size = size;
		w->base = version_ref(v);
	}
	if (r == 0)
		*ret = TAKE_PTR(w);
	return r;
}

/* What is in from's own file, between from and end, without its holes. */
static int copy_own(struct workfile *from, struct workfile *to, uint64_t at, uint64_t end)
{
	_cleanup_free_ uint8_t *piece = malloc(COPY_PIECE);
	if (!piece)
		return -ENOMEM;
	for (;;) {
		int r = workfile_next(from, at, false, &at);
		if (r < 0 || at >= end)
			return r;
		size_t len = end - at < COPY_PIECE ? (size_t)(end - at) : COPY_PIECE;
		ssize_t n = workfile_pread(from, piece, len, at);
		r = n < 0 ? (int)n : workfile_pwrite(to, piece, (size_t)n, at);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
}

int workfile_copy(struct workfile *from, struct workfile **ret)
{
	_cleanup_(workfile_freep) struct workfile *w = NULL;
	int r = from->base ? workfile_from(from->dir, from->base, &w) : workfile_new(from->dir, &w);
	/* What the base does not show any more. */
	if (r == 0 && from->base)
		r = workfile_truncate(w, from->base_size);
	for (uint64_t at = 0, end; r == 0 && at < from->size; at = end)
		if (place_of(from, at, &end) == IN_FILE)
			r = copy_own(from, w, at, end);
	if (r == 0)
		r = workfile_truncate(w, from->size);
	if (r == 0)
		*ret = TAKE_PTR(w);
	return r;
}

/* Makes it stand for itself. */
static int absorb_base(struct workfile *w)
{
	if (!w->base)
		return 0;
	for (uint64_t at = 0; at < w->size;) {
		uint64_t end;
		enum place place = place_of(w, at, &end);
		int r = 0;
		/* A write that failed may have left something there. Not every file system can, and
		 * then it is zero in any other case. */
		if (place != IN_FILE)
			(void)fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)at, (off_t)(end - at));
		if (place == IN_BASE)
			r = copy_base(w, w->base, at, end);
		if (r < 0)
			return r;
		at = end;
	}
	if (ftruncate(w->fd, (off_t)w->size) < 0)
		return -errno;
	version_unref(w->base);
	w->base = NULL;
	w->base_size = 0;
	ranges_done(&w->written);
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

static int copy_file(struct workfile *w, int fd)
{
	_cleanup_free_ uint8_t *piece = malloc(COPY_PIECE);
	if (!piece)
		return -ENOMEM;
	if (ftruncate(fd, (off_t)w->size) < 0)
		return -errno;
	for (uint64_t at = 0;;) {
		int r = fd_next(w, at, false, &at);
		ssize_t n = r < 0 ? r : workfile_pread(w, piece, COPY_PIECE, at);
		if (n <= 0)
			return (int)n;
		r = fd_write(fd, piece, (size_t)n, at);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
}

/* Copies into NAME.new and renames, so that the file under the name is always a whole one. When the
 * workfile lives in the kept file itself, that file is already it. */
int workfile_keep(struct workfile *w, const char *name, bool sync)
{
	int r = absorb_base(w);
	if (r < 0)
		return r;
	if (w->fd >= 0 && strcmp(w->name, name) == 0)
		return sync && fsync(w->fd) < 0 ? -errno : 0;
	r = w->fd < 0 ? spill(w) : 0;
	if (r < 0)
		return r;
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
	r = copy_file(w, fd);
	if (r < 0)
		return r;
	if (sync && (fsync(fd) < 0 || fsync(w->dir) < 0))
		return -errno;
	/* What is written from now on is not in the file that is being stored. */
	forget_ahead(w);
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

/* ---- handing over ---- */

void workfile_save(struct saver *s, const struct workfile *w)
{
	save_u64(s, w->size);
	save_fd(s, w->fd);
	if (w->fd < 0)
		save_bytes(s, w->data, w->size);
	save_text(s, w->name);
	save_version(s, w->base);
	save_u64(s, w->base_size);
	save_u64(s, w->written.n);
	for (size_t k = 0; k < w->written.n; k++) {
		save_u64(s, w->written.r[k].start);
		save_u64(s, w->written.r[k].end);
	}
}

static int load_data(struct loader *l, struct workfile *w)
{
	size_t len;
	const void *p = load_bytes(l, &len);
	if (!load_ok(l) || len != w->size || len > WORKFILE_MEMORY)
		return -EBADMSG;
	w->size = 0;
	int r = reserve(w, len);
	if (r == 0 && len)
		memcpy(w->data, p, len);
	w->size = len;
	return r;
}

struct workfile *workfile_load(struct loader *l, int dir)
{
	_cleanup_(workfile_freep) struct workfile *w = NULL;
	int r = workfile_new(dir, &w);
	if (r < 0) {
		load_fail(l, r);
		return NULL;
	}
	w->size = load_u64(l);
	w->fd = load_fd(l);
	if (w->fd < 0)
		r = load_data(l, w);
	_cleanup_free_ char *name = load_text(l);
	if (name)
		snprintf(w->name, sizeof(w->name), "%s", name);
	w->base = load_version(l);
	w->base_size = load_u64(l);
	for (uint64_t n = load_count(l); r == 0 && n && load_ok(l); n--) {
		uint64_t start = load_u64(l);
		r = ranges_add(&w->written, start, load_u64(l));
	}
	if (r < 0)
		load_fail(l, r);
	return load_ok(l) ? TAKE_PTR(w) : NULL;
}
