/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A part of a sequence that is accepted encodes to the same bytes, and joins with what a replica
 * has or is refused as a whole: twice is once, the result is in order, can be edited, stored and
 * read again. A first byte with bit 0 set begins a base instead. */
#include <errno.h>
#include <string.h>

#include "tests/fugue.h"
#include "tests/fuzz/replay.h"

static void edit(struct seq *s, uint32_t me)
{
	struct dot dot = { me, SEQ_DOT_MAX };
	struct seq_base *base;
	uint32_t n = seq_length(s), gone;
	FUZZ_CHECK(seq_base_make(s, &base) == 0);
	int r = seq_insert(s, n / 2, "ab", 2, dot);
	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -EFBIG);
	if (n > 0)
		FUZZ_CHECK(seq_delete(s, n / 3, 1, dot) == 0);
	struct seq_edit e[2] = { { 0, n > 0, "x", 1 }, { n, 0, "y", 1 } };
	r = seq_edit(s, base, NULL, e, 2, dot);
	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -EFBIG);
	FUZZ_CHECK(!check_memory(s));
	struct vv seen = { 0 };
	FUZZ_CHECK(vv_raise(&seen, 0, SEQ_DOT_MAX) == 0);
	FUZZ_CHECK(seq_delete_covered(s, &seen, dot, &gone) == 0 && !check_memory(s));
	vv_done(&seen);
	seq_base_free(base);
}

static void check_stored(const struct seq *s, struct actors *actors)
{
	struct buf a = { 0 }, b = { 0 };
	struct seq *again;
	seq_encode(s, actors, NULL, &a);
	struct cursor cur = cursor_make(a.data, a.len);
	FUZZ_CHECK(seq_decode(&cur, actors, NULL, NULL, &again, NULL) == 0 && cursor_end(&cur));
	FUZZ_CHECK(same_state(s, again) && !check_memory(again));
	seq_encode(again, actors, NULL, &b);
	FUZZ_CHECK(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
	seq_free(again);
	buf_done(&a);
	buf_done(&b);
}

static void check_join(const struct seq_part *d, struct actors *actors, uint32_t me, bool empty)
{
	struct seq *s, *before;
	struct err e = { 0 };
	FUZZ_CHECK(seq_new(d->flavour, actors, &s) == 0);
	if (!empty) {
		FUZZ_CHECK(seq_insert(s, 0, "the first words", 15, (struct dot){ me, 1 }) == 0);
		FUZZ_CHECK(seq_insert(s, 3, "!", 1, (struct dot){ me, 2 }) == 0);
		FUZZ_CHECK(seq_insert(s, 4, "?", 1, (struct dot){ me, 3 }) == 0);
		FUZZ_CHECK(seq_delete(s, 1, 4, (struct dot){ me, 4 }) == 0);
	}
	FUZZ_CHECK(seq_copy(s, &before) == 0);
	int r = seq_join(s, d, &e);
	FUZZ_CHECK(r == 0 || ((r == -EBADMSG || r == -EFBIG) && e.code == r && e.message[0]));
	if (r < 0) {
		FUZZ_CHECK(same_state(s, before));
	} else {
		FUZZ_CHECK(!check_memory(s));
		seq_free(before);
		FUZZ_CHECK(seq_copy(s, &before) == 0);
		FUZZ_CHECK(seq_join(s, d, &e) == 0 && same_state(s, before));
		check_stored(s, actors);
		edit(s, me);
	}
	seq_free(s);
	seq_free(before);
}

static void check_part(const uint8_t *data, size_t len, struct actors *actors, uint32_t me,
		       struct actor_codec *in, struct actor_codec *out)
{
	struct cursor cur = cursor_make(data, len);
	struct seq_part *d;
	struct buf again = { 0 };
	struct err e = { 0 };
	int r = seq_part_decode(&cur, actors, in, NULL, &d, &e);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && e.code == r && e.message[0]));
	if (r < 0)
		return;
	seq_part_encode(d, actors, out, &again);
	FUZZ_CHECK(again.len == len - cursor_left(&cur));
	FUZZ_CHECK(memcmp(again.data, data, again.len) == 0);
	check_join(d, actors, me, true);
	check_join(d, actors, me, false);
	seq_part_free(d);
	buf_done(&again);
}

static void check_base(const uint8_t *data, size_t len, struct actors *actors,
		       struct actor_codec *in, struct actor_codec *out)
{
	struct cursor cur = cursor_make(data, len);
	struct seq_base *base;
	struct buf again = { 0 };
	struct err e = { 0 };
	int r = seq_base_decode(&cur, actors, in, &base, &e);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && e.code == r && e.message[0]));
	if (r < 0)
		return;
	seq_base_encode(base, out, &again);
	FUZZ_CHECK(again.len == len - cursor_left(&cur));
	FUZZ_CHECK(memcmp(again.data, data, again.len) == 0);
	seq_base_free(base);
	buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct actors *actors;
	struct actor_codec *in, *out;
	struct actor_id id = fugue_actor(1);
	uint32_t me;
	if (len == 0)
		return 0;
	FUZZ_CHECK(actors_new(&actors) == 0 && actors_intern(actors, &id, &me) == 0);
	FUZZ_CHECK(actor_codec_new(actors, &in) == 0 && actor_codec_new(actors, &out) == 0);
	if (data[0] & 1)
		check_base(data + 1, len - 1, actors, in, out);
	else
		check_part(data + 1, len - 1, actors, me, in, out);
	actor_codec_free(in);
	actor_codec_free(out);
	actors_free(actors);
	return 0;
}
