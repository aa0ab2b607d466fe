/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A peer compares sets in its own way. The first byte says how many items there are here and who begins;
 * then frames, each behind its length (u16). Whatever comes: an item is told of once at most,
 * frames stay below their limit, what is refused is refused with -EPROTO. */
#include <errno.h>
#include <string.h>

#include "engine/cursor.h"
#include "engine/reconcile.h"
#include "tests/fuzz/replay.h"
#include "tests/prng.h"

#define ITEMS 2048

static struct reconcile_item items[ITEMS];

/* The first 11 bits of an id are the item's number. */
static int found(const struct reconcile_item *x, void *userdata)
{
	uint8_t *seen = userdata;
	size_t i = (size_t)x->id.b[0] << 3 | x->id.b[1] >> 5;
	FUZZ_CHECK(memcmp(x, &items[i], sizeof(*x)) == 0 && !seen[i]);
	seen[i] = 1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t seen[ITEMS] = { 0 };
	if (id_is_zero(&items[0].id)) {
		struct prng r = { 7 };
		for (size_t i = 0; i < ITEMS; i++) {
			prng_fill(&r, &items[i], sizeof(items[i]));
			items[i].id.b[0] = (uint8_t)(i >> 3);
			items[i].id.b[1] = (uint8_t)(i << 5 | 1);
		}
	}
	struct cursor c = cursor_make(data, len);
	uint8_t how = cursor_u8(&c);
	struct reconcile_array array = { items, (size_t)(how >> 1) * ITEMS / 127 };
	struct reconcile_source source = reconcile_array(&array);
	_cleanup_(reconcile_freep) struct reconcile *r = NULL;
	_cleanup_(buf_done) struct buf out = { 0 };
	FUZZ_CHECK(reconcile_new(&source, found, seen, &r) == 0);
	if (how & 1)
		FUZZ_CHECK(reconcile_begin(r, 0) == 0);
	int err = 0;
	while (!err && cursor_left(&c) > 0) {
		int said;
		while ((said = reconcile_next(r, &out)) > 0) {
			FUZZ_CHECK(out.len <= RECONCILE_FRAME_MAX);
			buf_reset(&out);
		}
		FUZZ_CHECK(said == 0);
		size_t n = cursor_u16(&c);
		const uint8_t *frame = cursor_take(&c, n);
		if (!frame)
			break;
		err = reconcile_take(r, frame, n, NULL);
		FUZZ_CHECK(err == 0 || err == -EPROTO);
	}
	return 0;
}
