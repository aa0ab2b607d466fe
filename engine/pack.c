/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/pack.h"

#include <errno.h>
#include <stdatomic.h>
#include <zstd.h>

#define STEP 16384u

struct parameter {
	ZSTD_cParameter which;
	int value;
};

/* No size and no checksum: TLS has one. */
static const struct parameter quick[] = {
	{ ZSTD_c_contentSizeFlag, 0 }, { ZSTD_c_compressionLevel, 3 }, { ZSTD_c_windowLog, 18 }, { 0, 0 }
};

/* For a long row of small documents: what they share is far apart. */
static const struct parameter thorough[] = {
	{ ZSTD_c_contentSizeFlag, 0 }, { ZSTD_c_compressionLevel, 3 }, { ZSTD_c_windowLog, PACK_WINDOW_LOG },
	{ ZSTD_c_strategy, ZSTD_lazy }, { ZSTD_c_hashLog, 18 }, { ZSTD_c_chainLog, 17 }, { ZSTD_c_searchLog, 3 },
	{ ZSTD_c_minMatch, 5 }, { 0, 0 }
};

static atomic_uint n_thorough;

static bool count(void)
{
	if (atomic_fetch_add(&n_thorough, 1) < PACK_THOROUGH_MAX)
		return true;
	atomic_fetch_sub(&n_thorough, 1);
	return false;
}

void packer_done(struct packer *p)
{
	ZSTD_freeCCtx(p->ctx);
	p->ctx = NULL;
	if (p->counted)
		atomic_fetch_sub(&n_thorough, 1);
	p->counted = false;
}

static int packer_begin(struct packer *p)
{
	p->counted = p->thorough && count();
	p->ctx = ZSTD_createCCtx();
	if (!p->ctx) {
		packer_done(p);
		return -ENOMEM;
	}
	for (const struct parameter *x = p->counted ? thorough : quick; x->which; x++)
		if (ZSTD_isError(ZSTD_CCtx_setParameter(p->ctx, x->which, x->value))) {
			packer_done(p);
			return -ENOMEM;
		}
	return 0;
}

int pack(struct packer *p, const void *data, size_t len, bool last, struct buf *out)
{
	ZSTD_inBuffer in = { data, len, 0 };
	const bool alone = !p->ctx && last;
	int r = p->ctx ? 0 : packer_begin(p);
	size_t left = 1;
	/* So tables and window are no larger than a stream of one piece needs: it takes some microseconds. */
	if (r == 0 && alone && ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(p->ctx, len))) {
		packer_done(p);
		r = -ENOMEM;
	}
	while (r == 0 && left > 0) {
		uint8_t room[STEP];
		ZSTD_outBuffer to = { room, sizeof(room), 0 };
		left = ZSTD_compressStream2(p->ctx, &to, &in, last ? ZSTD_e_end : ZSTD_e_flush);
		if (ZSTD_isError(left))
			r = -ENOMEM;
		else
			buf_put(out, room, to.pos);
	}
	if (r == 0 && buf_failed(out))
		r = -ENOMEM;
	if (r < 0 || last)
		packer_done(p);
	return r;
}

void unpacker_done(struct unpacker *u)
{
	ZSTD_freeDCtx(u->ctx);
	u->ctx = NULL;
}

static int unpacker_begin(struct unpacker *u)
{
	u->ctx = ZSTD_createDCtx();
	if (!u->ctx)
		return -ENOMEM;
	if (ZSTD_isError(ZSTD_DCtx_setParameter(u->ctx, ZSTD_d_windowLogMax, PACK_WINDOW_LOG))) {
		unpacker_done(u);
		return -ENOMEM;
	}
	return 0;
}

int unpack(struct unpacker *u, const void *data, size_t len, bool last, struct buf *out, struct err *e)
{
	ZSTD_inBuffer in = { data, len, 0 };
	size_t plain = 0, want = 1;
	int r = u->ctx ? 0 : unpacker_begin(u);
	if (r < 0)
		return err_set(e, r, "out of memory");
	/* All of it is here when it has room left for more. */
	for (bool full = true; r == 0 && (in.pos < in.size || full);) {
		uint8_t room[STEP];
		ZSTD_outBuffer to = { room, sizeof(room), 0 };
		if (want == 0)
			r = err_set(e, -EPROTO, "the peer sent packed frames that end before their end");
		else
			want = ZSTD_decompressStream(u->ctx, &to, &in);
		if (r == 0 && ZSTD_isError(want))
			r = err_set(e, -EPROTO, "the peer sent packed frames that cannot be unpacked: %s",
				    ZSTD_getErrorName(want));
		plain += to.pos;
		if (r == 0 && plain > PACK_PLAIN_MAX)
			r = err_set(e, -EPROTO, "the peer packed more than %u bytes into one frame", PACK_PLAIN_MAX);
		if (r == 0)
			buf_put(out, room, to.pos);
		full = r == 0 && want != 0 && to.pos == to.size;
	}
	if (r == 0 && (want == 0) != last)
		r = err_set(e, -EPROTO, "the peer sent packed frames whose end is another one than it says");
	if (r == 0 && buf_failed(out))
		r = err_set(e, -ENOMEM, "out of memory");
	if (r < 0 || last)
		unpacker_done(u);
	return r;
}
