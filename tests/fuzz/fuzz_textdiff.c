/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two texts with a NUL between them: the edits turn one into the other, are apart and have an
 * effect, begin and end where clusters do, and cost no more than they may. */
#include <stdlib.h>
#include <string.h>

#include "engine/grapheme.h"
#include "engine/textdiff.h"
#include "engine/utf8.h"
#include "tests/fuzz/replay.h"

struct text {
	uint8_t *data, *brk;
	size_t len;
};

/* Memory of exactly that size, so that a sanitizer sees one byte too far. */
static struct text text_of(const uint8_t *data, size_t len)
{
	struct text t = { malloc(len ? len : 1), malloc(len + 1), len };
	FUZZ_CHECK(t.data && t.brk);
	memcpy(t.data, data, len);
	memset(t.brk, 1, len + 1);
	return t;
}

static void text_done(struct text *t)
{
	free(t->data);
	free(t->brk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *nul = memchr(data, 0, len);
	size_t n = nul ? (size_t)(nul - data) : len, skip = nul ? n + 1 : n;
	struct text old = text_of(data, n), new = text_of(data + skip, len - skip);
	struct arena a = { 0 };
	struct textdiff d;
	if (utf8_valid(old.data, old.len) && utf8_valid(new.data, new.len)) {
		grapheme_breaks(old.data, old.len, old.brk);
		grapheme_breaks(new.data, new.len, new.brk);
	}
	FUZZ_CHECK(textdiff(&a, old.data, old.len, new.data, new.len, &d) == 0);
	FUZZ_CHECK(d.steps <= TEXTDIFF_STEPS(old.len + new.len));
	size_t x = 0, y = 0;
	for (uint32_t i = 0; i < d.count; i++) {
		const struct hunk *h = &d.edit[i];
		FUZZ_CHECK(h->old >= x && h->old - x == h->new - y && (i == 0 || h->old > x));
		FUZZ_CHECK(memcmp(old.data + x, new.data + y, h->old - x) == 0);
		x = h->old + h->old_len;
		y = h->new + h->new_len;
		FUZZ_CHECK(x <= old.len && y <= new.len);
		FUZZ_CHECK(h->old_len != h->new_len ||
			   memcmp(old.data + h->old, new.data + h->new, h->old_len) != 0);
		FUZZ_CHECK(old.brk[h->old] && old.brk[x] && new.brk[h->new] && new.brk[y]);
	}
	FUZZ_CHECK(old.len - x == new.len - y);
	FUZZ_CHECK(memcmp(old.data + x, new.data + y, old.len - x) == 0);
	arena_done(&a);
	text_done(&old);
	text_done(&new);
	return 0;
}
