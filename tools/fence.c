/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "engine/buf.h"
#include "engine/sha256.h"
#include "tools/storedir.h"
#include "transports/keyfile.h"

#define TOKEN_MAX 64

/* A file's first bytes, as many as there are. */
static size_t read_some(int fd, char *data, size_t max)
{
	ssize_t n = fd < 0 ? 0 : pread(fd, data, max, 0);
	return n > 0 ? (size_t)n : 0;
}

int fence_read(int dir, uint8_t ret[static FENCE_SIZE], struct err *e)
{
	_cleanup_close_ int fd = openat(dir, STOREDIR_FENCE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		memset(ret, 0, FENCE_SIZE);
		return 0;
	}
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, -errno, "cannot read the store's " STOREDIR_FENCE);
	_cleanup_close_ int machine_fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	char token[TOKEN_MAX], machine[TOKEN_MAX];
	const uint64_t where[3] = { st.st_ino, (uint64_t)st.st_ctim.tv_sec,
				    (uint64_t)st.st_ctim.tv_nsec };
	const struct sha256_part part[3] = {
		{ token, read_some(fd, token, sizeof(token)) },
		{ machine, read_some(machine_fd, machine, sizeof(machine)) },
		{ where, sizeof(where) },
	};
	struct id id;
	sha256_id(part, 3, &id);
	memcpy(ret, id.b, FENCE_SIZE);
	return 0;
}

int fence_renew(int dir, uint8_t ret[static FENCE_SIZE], struct err *e)
{
	uint8_t token[FENCE_SIZE];
	if (getrandom(token, sizeof(token), 0) != (ssize_t)sizeof(token))
		return err_errno(e, -errno, "cannot get random bytes");
	int r = keyfile_write(dir, STOREDIR_FENCE, token, sizeof(token), e);
	if (r < 0)
		return r;
	/* Being renamed was the last change; its time has to survive a power cut as well. */
	_cleanup_close_ int fd = openat(dir, STOREDIR_FENCE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, -errno, "cannot sync the store's " STOREDIR_FENCE);
	return fence_read(dir, ret, e);
}
