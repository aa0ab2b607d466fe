/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A long sequence: keystrokes and pastes all over it, each sent to a peer at once, against a plain
 * array; then stored and loaded.
 *
 *     test_seq_large [SEED] */
#include <stdlib.h>
#include <string.h>

#include "tests/fugue.h"

struct large {
	struct prng r;
	struct replica x, y;
	uint8_t *text;
	uint32_t n;
};

#define LARGE_MAX (1u << 20)

/* An insertion or a deletion of k bytes at pos, sent to the peer at once. */
static void large_edit(struct large *w, bool insert, uint32_t pos, uint32_t k)
{
	_cleanup_(vv_done) struct vv known = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	static uint8_t paste[16384];
	must(vv_copy(&w->x.have, &known));
	struct dot dot = replica_dot(&w->x);
	if (insert && w->n + k <= LARGE_MAX) {
		prng_fill(&w->r, paste, k);
		must(seq_insert(w->x.s, pos, paste, k, dot));
		memmove(w->text + pos + k, w->text + pos, w->n - pos);
		memcpy(w->text + pos, paste, k);
		w->n += k;
	} else {
		k = k < w->n - pos ? k : w->n - pos;
		must(seq_delete(w->x.s, pos, k, dot));
		memmove(w->text + pos, w->text + pos + k, w->n - pos - k);
		w->n -= k;
	}
	replica_part(&w->x, &known, &b);
	join_bytes(&w->y, &b, NULL);
}

static const char *large_check(struct large *w)
{
	_cleanup_free_ uint8_t *read = malloc(LARGE_MAX);
	const char *why = check_memory(w->x.s);
	why = why ? why : check_memory(w->y.s);
	if (why)
		return why;
	if (seq_length(w->x.s) != w->n || seq_length(w->y.s) != w->n ||
	    seq_total(w->x.s) != seq_total(w->y.s))
		return "another length";
	must(seq_read(w->y.s, 0, w->n, read));
	if (memcmp(w->text, read, w->n) != 0)
		return "another text";
	return same_state(w->x.s, w->y.s) ? NULL : "another state";
}

/* Stored and loaded. */
static const char *large_store(struct large *w)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct seq *s;
	seq_encode(w->x.s, w->x.actors, NULL, &b);
	struct cursor cur = cursor_make(b.data, b.len);
	must(seq_decode(&cur, w->x.actors, NULL, &w->x.have, &s, NULL));
	const char *why = check_memory(s);
	why = why ? why : same_state(s, w->x.s) ? NULL : "another state is stored";
	seq_free(s);
	return why;
}

static void test_large(uint64_t seed)
{
	enum { OPS = 8000, TYPED = 6000 };
	struct large *w = calloc(1, sizeof(*w));
	const char *why = NULL;
	if (!w || !(w->text = malloc(LARGE_MAX)))
		tap_bail("out of memory");
	w->r.state = seed;
	replica_init(&w->x, SEQ_TEXT, 1);
	replica_init(&w->y, SEQ_TEXT, 2);
	for (int i = 0; i < OPS && !why; i++) {
		uint32_t pos = (uint32_t)prng_below(&w->r, w->n + 1), k = 1;
		if (prng_chance(&w->r, 2))
			k = (uint32_t)prng_below(&w->r, 16384);
		else if (prng_chance(&w->r, 30))
			k = (uint32_t)prng_below(&w->r, 30);
		large_edit(w, prng_chance(&w->r, 60), pos, k);
		if (i % 1000 == 0)
			why = large_check(w);
	}
	uint32_t pos = w->n / 2;
	for (uint32_t i = 0; i < TYPED && !why; i++)
		large_edit(w, true, pos + i, 1);
	why = why ? why : large_check(w);
	why = why ? why : large_store(w);
	while (w->n > 1000 && !why)
		large_edit(w, false, (uint32_t)prng_below(&w->r, w->n / 2), w->n / 2);
	why = why ? why : large_check(w);
	why = why ? why : large_store(w);
	ok(!why, "%d edits of a long text, each sent to a peer%s%s", OPS + TYPED, why ? ": " : "",
	   why ? why : "");
	replica_done(&w->x);
	replica_done(&w->y);
	free(w->text);
	free(w);
}

int main(int argc, char **argv)
{
	tap_plan(1);
	test_large(tap_seed(argc, argv));
	return tap_done();
}
