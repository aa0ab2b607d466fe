/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the cursor accepts, the buffer writes again byte for byte: there is one encoding. The
 * first byte of the input says what to read, over and over. */
#include <string.h>

#include "engine/buf.h"
#include "engine/cursor.h"
#include "tests/fuzz/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cursor c = cursor_make(data, len);
	_cleanup_(buf_done) struct buf b = { 0 };
	while (cursor_left(&c) > 0) {
		size_t n = 0;
		const uint8_t *p;
		uint64_t v;
		uint8_t what = cursor_u8(&c);
		struct buf piece = { 0 };
		buf_u8(&piece, what);
		switch (what % 6) {
		case 0:
			buf_varint(&piece, cursor_varint(&c));
			break;
		case 1:
			p = cursor_bytes(&c, what, &n);
			FUZZ_CHECK(!cursor_ok(&c) || n <= what);
			if (p)
				buf_bytes(&piece, p, n);
			break;
		case 2:
			v = cursor_varint_max(&c, what);
			FUZZ_CHECK(v <= what);
			buf_varint(&piece, v);
			break;
		case 3:
			buf_u16(&piece, cursor_u16(&c));
			break;
		case 4:
			buf_u32(&piece, cursor_u32(&c));
			break;
		default:
			buf_u64(&piece, cursor_u64(&c));
			break;
		}
		if (cursor_ok(&c))
			buf_put(&b, piece.data, piece.len);
		buf_done(&piece);
	}
	FUZZ_CHECK(b.len <= len);
	FUZZ_CHECK(b.len == 0 || memcmp(b.data, data, b.len) == 0);
	FUZZ_CHECK(!cursor_end(&c) || b.len == len);
	return 0;
}
