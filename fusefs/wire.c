/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/wire.h"

#include <linux/fuse.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

#define WANTED (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2)

static ssize_t receive(int fd, void *buf, size_t len, void *userdata)
{
	struct fusefs *fs = userdata;
	ssize_t n = read(fd, buf, len);
	if (n < (ssize_t)sizeof(struct fuse_in_header))
		return n;
	atomic_fetch_add_explicit(&fs->requests, 1, memory_order_relaxed);
	struct fuse_in_header *in = buf;
	/* libfuse does not know it. It is as the other but for its name, which is "/" (fusefs/newfile.h). */
	if (in->opcode == FUSE_TMPFILE)
		in->opcode = FUSE_CREATE;
	const struct fuse_init_in *init = (const void *)(in + 1);
	if (in->opcode == FUSE_INIT &&
	    (size_t)n >= sizeof(*in) + offsetof(struct fuse_init_in, flags) + sizeof(init->flags)) {
		fs->init_unique = in->unique;
		fs->init_flags = init->flags;
	}
	return n;
}

static ssize_t answer(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fusefs *fs = userdata;
	const struct fuse_out_header *out = iov[0].iov_base;
	if (fs->init_unique && out->unique == fs->init_unique && !out->error && count > 1 &&
	    iov[1].iov_len >= offsetof(struct fuse_init_out, max_background)) {
		struct fuse_init_out *init = iov[1].iov_base;
		init->flags |= fs->init_flags & WANTED;
	}
	return writev(fd, iov, count);
}

int wire_attach(struct fusefs *fs)
{
	static const struct fuse_custom_io io = { .writev = answer, .read = receive };
	return fuse_session_custom_io(fs->session, &io, fuse_session_fd(fs->session));
}
