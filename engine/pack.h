/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Several pieces of one stream, made small by zstd: each can be read when it and those before it have come.
 * shoal-protocol(7), "Packed frames". No I/O; one thread at a time for each. A packer or unpacker holds memory (1.8 and
 * 0.7 MB, or 3.3 and 1.5 if it is thorough) only between the first piece of a stream and its last. */

#include <stdbool.h>
#include <stddef.h>

#include "engine/buf.h"
#include "engine/err.h"

#define PACK_PLAIN_MAX 524288u /* bytes in one piece */
#define PACK_WINDOW_LOG 20     /* a piece refers to that many bytes before, at most */
#define PACK_THOROUGH_MAX 16u  /* streams at a time in this process */

struct packer {
	struct ZSTD_CCtx_s *ctx; /* NULL: no stream is open */
	bool thorough;           /* set when none is open: much will come. It takes twice the time, and makes a tenth less of it */
	bool counted;            /* it is one of those that are */
};

/* Appends what the piece packs to; last: the stream ends with it, and the next one begins another. Pieces may be
 * empty. -ENOMEM: the stream is lost. */
int pack(struct packer *p, const void *data, size_t len, bool last, struct buf *out);
void packer_done(struct packer *p); /* leaves one that can be used again */

struct unpacker {
	struct ZSTD_DCtx_s *ctx;
};

/* Appends the plain bytes of a piece, PACK_PLAIN_MAX at most. -EPROTO: it is not one, with a message; -ENOMEM. */
int unpack(struct unpacker *u, const void *data, size_t len, bool last, struct buf *out, struct err *e);
void unpacker_done(struct unpacker *u);
