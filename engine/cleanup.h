/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Scope-bound release of resources.
 *
 *     _cleanup_(buf_done) struct buf b = { 0 };
 *
 * calls buf_done(&b) when b leaves its scope. For pointers, DEFINE_CLEANUP makes the
 * variant that takes the address of the pointer:
 *
 *     DEFINE_CLEANUP(struct replica *, replica_free)   ->   _cleanup_(replica_freep)
 *
 * A destructor accepts NULL and half-built objects. */

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((__cleanup__(f)))
#define _unused_ __attribute__((__unused__))
#define _pure_ __attribute__((__pure__))
#define _printf_(a, b) __attribute__((__format__(__printf__, a, b)))

#define DEFINE_CLEANUP(type, func)                \
	_unused_ static inline void func##p(type *p) \
	{                                         \
		if (*p)                           \
			func(*p);                 \
	}

/* Gives up a pointer: the value is returned, the variable becomes NULL. */
#define TAKE_PTR(p)                  \
	({                           \
		typeof(p) *_pp = &(p); \
		typeof(p) _p = *_pp; \
		*_pp = NULL;         \
		_p;                  \
	})

/* Gives up a file descriptor: the value is returned, the variable becomes -1. */
#define TAKE_FD(fd)               \
	({                        \
		int *_fdp = &(fd); \
		int _fd = *_fdp;  \
		*_fdp = -1;       \
		_fd;              \
	})

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
