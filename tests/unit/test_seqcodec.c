/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encodings of sequences, parts and bases: what is written is what is read, each has one encoding,
 * no changed bit and no hand-made bytes pass for another; and what joins refuse.
 *
 *     test_seqcodec [SEED [ROUNDS]] */
#include <errno.h>
#include <string.h>

#include "tests/fugue.h"

/* Two replicas that write, delete and exchange. */
static void some_history(struct prng *r, struct replica *x, struct replica *y,
			 enum seq_flavour flavour)
{
	static const uint8_t text[] = "abcdefghijklmnopqrstuvwxyz";
	replica_init(x, flavour, 0);
	replica_init(y, flavour, 1);
	for (uint64_t i = 3 + prng_below(r, 30); i > 0; i--) {
		struct replica *z = prng_chance(r, 50) ? x : y, *other = z == x ? y : x;
		uint32_t n = seq_length(z->s), pos = (uint32_t)prng_below(r, n + 1), k;
		struct dot dot = replica_dot(z);
		if (prng_chance(r, 35)) {
			k = (uint32_t)prng_below(r, n - pos + 1);
			must(seq_delete(z->s, pos, k < 8 ? k : 8, dot));
		} else if (prng_chance(r, 50)) {
			must(seq_insert(z->s, pos, text, (uint32_t)prng_below(r, 26), dot));
		} else {
			for (uint32_t c = 0; c < 5; c++)
				must(seq_insert(z->s, pos++, text + c, 1, replica_dot(z)));
		}
		if (prng_chance(r, 30)) {
			_cleanup_(buf_done) struct buf b = { 0 };
			_cleanup_(vv_done) struct vv ctx = replica_translate(&z->have, z, other);
			replica_part(z, NULL, &b);
			must(replica_join(other, &b, &ctx, NULL));
			must(vv_join(&other->have, &ctx));
		}
	}
}

/* One of the things that have an encoding. */
struct form {
	const char *name;
	int (*again)(struct actors *actors, bool wire, const uint8_t *data, size_t len,
		     struct buf *ret);
};

/* Decodes and encodes again; how many bytes were read shows in ret. */
static int again_part(struct actors *actors, bool wire, const uint8_t *data, size_t len,
		      struct buf *ret)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	_cleanup_(actor_codec_freep) struct actor_codec *in = NULL, *out = NULL;
	struct cursor cur = cursor_make(data, len);
	struct err e = { 0 };
	must(actor_codec_new(actors, &in));
	must(actor_codec_new(actors, &out));
	int r = seq_part_decode(&cur, actors, wire ? in : NULL, NULL, &d, &e);
	if (r < 0)
		return e.code == r && e.message[0] ? r : 1;
	seq_part_encode(d, actors, wire ? out : NULL, ret);
	return 0;
}

static int again_whole(struct actors *actors, bool wire, const uint8_t *data, size_t len,
		       struct buf *ret)
{
	_cleanup_(seq_freep) struct seq *s = NULL;
	_cleanup_(actor_codec_freep) struct actor_codec *in = NULL, *out = NULL;
	struct cursor cur = cursor_make(data, len);
	struct err e = { 0 };
	must(actor_codec_new(actors, &in));
	must(actor_codec_new(actors, &out));
	int r = seq_decode(&cur, actors, wire ? in : NULL, NULL, &s, &e);
	if (r < 0)
		return e.code == r && e.message[0] ? r : 1;
	if (check_memory(s))
		return 1;
	seq_encode(s, actors, wire ? out : NULL, ret);
	return 0;
}

static int again_base(struct actors *actors, bool wire, const uint8_t *data, size_t len,
		      struct buf *ret)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	_cleanup_(actor_codec_freep) struct actor_codec *in = NULL, *out = NULL;
	struct cursor cur = cursor_make(data, len);
	struct err e = { 0 };
	must(actor_codec_new(actors, &in));
	must(actor_codec_new(actors, &out));
	int r = seq_base_decode(&cur, actors, wire ? in : NULL, &b, &e);
	if (r < 0)
		return e.code == r && e.message[0] ? r : 1;
	seq_base_encode(b, wire ? out : NULL, ret);
	return 0;
}

/* True: refused, or the very bytes (or some of the first of them) come out. */
static bool strict(const struct form *form, struct actors *actors, bool wire, const uint8_t *data,
		   size_t len)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	/* Of its own, so that a sanitizer sees one byte too far. */
	_cleanup_free_ uint8_t *copy = malloc(len + 1);
	if (!copy)
		tap_bail("out of memory");
	memcpy(copy, data, len);
	int r = form->again(actors, wire, copy, len, &b);
	if (r != 0)
		return r == -EBADMSG;
	return b.len <= len && memcmp(b.data, data, b.len) == 0;
}

static bool same(const struct form *form, struct actors *actors, bool wire, const struct buf *b)
{
	_cleanup_(buf_done) struct buf c = { 0 };
	return form->again(actors, wire, b->data, b->len, &c) == 0 && b->len == c.len &&
	       memcmp(b->data, c.data, b->len) == 0;
}

static struct actors *some_actors(void)
{
	struct actors *actors;
	uint32_t no;
	must(actors_new(&actors));
	for (unsigned i = 0; i < FUGUE_ACTORS; i++) {
		struct actor_id id = fugue_actor(i);
		must(actors_intern(actors, &id, &no));
	}
	return actors;
}

static void test_forms(uint64_t seed, uint64_t rounds)
{
	static const struct form form[] = {
		{ "parts", again_part }, { "sequences", again_whole }, { "bases", again_base }
	};
	bool identity[3] = { true, true, true }, flips[3] = { true, true, true };
	bool cut[3] = { true, true, true };
	for (uint64_t i = 0; i < rounds; i++) {
		struct prng r = { seed + i };
		static struct replica x, y;
		struct buf b[3] = { { 0 }, { 0 }, { 0 } };
		_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *out2 = NULL;
		struct seq_base *base;
		struct seq_part *d;
		bool wire = i % 2;
		some_history(&r, &x, &y, i % 3 ? SEQ_TEXT : SEQ_BARE);
		struct actors *actors = wire ? some_actors() : x.actors;
		_cleanup_(vv_done) struct vv known = { 0 };
		must(vv_copy(&x.have, &known));
		for (uint32_t k = 0; k < known.n; k++)
			known.item[k].seq = 1 + prng_below(&r, known.item[k].seq);
		must(actor_codec_new(x.actors, &out));
		must(actor_codec_new(x.actors, &out2));
		must(seq_part_make(x.s, &known, &d));
		seq_part_encode(d, x.actors, wire ? out : NULL, &b[0]);
		if (wire)
			replica_part(&x, NULL, &b[1]);
		else
			seq_encode(x.s, x.actors, NULL, &b[1]);
		must(seq_base_make(x.s, &base));
		seq_base_encode(base, wire ? out2 : NULL, &b[2]);
		for (size_t k = 0; k < 3; k++) {
			identity[k] = identity[k] && same(&form[k], actors, wire, &b[k]);
			for (size_t at = 0; at < b[k].len; at++) {
				cut[k] = cut[k] && strict(&form[k], actors, wire, b[k].data, at);
				uint8_t bit = (uint8_t)(1u << prng_below(&r, 8));
				b[k].data[at] ^= bit;
				flips[k] = flips[k] &&
					   strict(&form[k], actors, wire, b[k].data, b[k].len);
				b[k].data[at] ^= bit;
			}
			buf_done(&b[k]);
		}
		seq_part_free(d);
		seq_base_free(base);
		if (wire)
			actors_free(actors);
		replica_done(&x);
		replica_done(&y);
	}
	for (size_t k = 0; k < 3; k++) {
		ok(identity[k], "%s: written, read and written again", form[k].name);
		ok(cut[k], "%s: cut off anywhere", form[k].name);
		ok(flips[k], "%s: with a bit changed", form[k].name);
	}
}

/* Bytes in the stored form; actors 0 to 4. */
static void test_strict(void)
{
	static const struct {
		const char *data;
		size_t len;
		int want;
		const char *name;
	} c[] = {
#define BYTES(text) text, sizeof(text) - 1
		/* Each run's first byte: elements less 1, next, where it hangs, deleted. */
		{ BYTES("\x01\x00"), 0, "nothing" },
		{ BYTES("\x01\x01\x00\x02\x06\x02\x00"), 0, "one element at the root" },
		{ BYTES("\x02\x00"), -EBADMSG, "an unknown flavour" },
		{ BYTES("\x01\x05\x00\x02\x06\x02\x00"), -EBADMSG, "more runs than follow" },
		{ BYTES("\x01\xff\xff\xff\x7f\x00\x02\x06\x02\x00"), -EBADMSG, "far too many runs" },
		{ BYTES("\x01\x01\x00\x00\x06\x02\x00"), -EBADMSG, "a section without runs" },
		{ BYTES("\x01\x01\x00\x04\x06\x02\x00"), -EBADMSG, "a section of more runs than there are" },
		{ BYTES("\x01\x01\x09\x02\x06\x02\x00"), -EBADMSG, "an unknown actor" },
		{ BYTES("\x01\x01\x00\x03\x06\x02\x00"), -EBADMSG, "by step, of one element" },
		{ BYTES("\x01\x01\x00\x02\x06\x00\x00"), -EBADMSG, "seq 0" },
		{ BYTES("\x01\x01\x00\x03\x16\x00\x00"), -EBADMSG, "seq 0, by step" },
		{ BYTES("\x01\x01\x00\x02\x06\x03\x00\x00"), -EBADMSG, "index 0 said to be another" },
		{ BYTES("\x01\x01\x00\x02\x06\x03\x02\x00"), 0, "index 2" },
		{ BYTES("\x01\x01\x00\x03\x16\x03\x02\x00"), -EBADMSG, "by step from index 2" },
		{ BYTES("\x01\x01\x00\x02\x0e\x00"), -EBADMSG, "next to nothing" },
		{ BYTES("\x01\x01\x00\x02\x00\x02"), -EBADMSG, "a chain after nothing" },
		{ BYTES("\x01\x01\x00\x02\x02\x02\x00\x00"), -EBADMSG, "right of an earlier run that is not there" },
		{ BYTES("\x01\x01\x00\x02\x06\x02\x05"), -EBADMSG, "hanging in an unknown way" },
		{ BYTES("\x01\x01\x00\x02\x06\x02\x01\x00\x00"), -EBADMSG, "right of a later run that is not there" },
		{ BYTES("\x01\x01\x00\x02\x06\x02\x03\x01\x02\x00"), 0, "right of what is not in the part" },
		{ BYTES("\x01\x01\x00\x02\x06\x04\x03\x01\x01\x00"), 0, "the same with an earlier seq" },
		{ BYTES("\x01\x01\x00\x02\x06\x02\x03\x01\x01\x00"), -EBADMSG, "right of what no batch inserted" },
		{ BYTES("\x01\x01\x00\x02\x06\x02\x03\x00\x00\x00"), -EBADMSG, "right of itself, as if it were outside" },
		/* Two runs. */
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x0c\x01"), -EBADMSG, "left of a run that is not there" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x0c\x00\x00"), 0, "left of the run before" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x0c\x00\x01"), -EBADMSG, "left of an element that is not there" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x0a\x00\x00"), -EBADMSG, "a chain that does not say so" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x08"), -EBADMSG, "a run in two" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x00\x02"), -EBADMSG, "a run by step in two" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x00\x04"), 0, "a chain with a gap" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x04\x01\x01\x00\x00"), -EBADMSG, "a next id that does not say so" },
		{ BYTES("\x01\x02\x00\x04\x06\x05\x02\x00\x04\x01\x01\x00\x00"), -EBADMSG, "ids out of order" },
		{ BYTES("\x01\x02\x00\x04\x06\x02\x00\x04\x00\x00\x00"), -EBADMSG, "an id twice" },
		{ BYTES("\x01\x02\x00\x04\x16\x02\x00\x04\x01\x01\x00\x00"), -EBADMSG, "runs that overlap" },
		{ BYTES("\x01\x02\x00\x02\x06\x02\x00\x00\x02\x04\x04"), -EBADMSG, "two sections that are one" },
		{ BYTES("\x01\x02\x00\x02\x06\x02\x00\x00\x03\x14\x00\x00"), -EBADMSG, "a section by step too late" },
		{ BYTES("\x01\x02\x00\x05\x06\x02\x00\x1c\x00\x00"), 0, "by step, the first of one element" },
		{ BYTES("\x01\x02\x00\x02\x16\x02\x00\x00\x03\x1c\x00\x00"), 0, "by batch, then by step" },
		{ BYTES("\x01\x02\x00\x02\x16\x02\x00\x00\x03\x0c\x00\x00"), -EBADMSG, "by step too early" },
		{ BYTES("\x01\x02\x00\x02\x06\x02\x01\x00\x00\x01\x02\x06\x02\x00"), -EBADMSG, "actors out of order" },
		{ BYTES("\x01\x02\x01\x02\x06\x02\x01\x00\x00\x00\x02\x06\x02\x00"), 0, "on a later run" },
		{ BYTES("\x01\x02\x01\x02\x06\x02\x01\x00\x01\x00\x02\x06\x02\x00"), -EBADMSG, "on a later run's element that is not there" },
		{ BYTES("\x01\x02\x01\x02\x06\x02\x01\x01\x00\x00\x02\x06\x02\x00"), -EBADMSG, "on a run behind the last" },
		/* Deletions. */
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x01"), 0, "deleted by the next batch" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x02"), 0, "deleted by its own batch" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x04"), -EBADMSG, "deleted by batch 0" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x00\x01\x01\x05"), 0, "deleted by another actor" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x00\x01\x00\x05"), -EBADMSG, "the same actor as if it were another" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x00\x00"), -EBADMSG, "deleted by nobody" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x00\x02\x00\x05\x01\x05"), 0, "deleted by two" },
		{ BYTES("\x01\x01\x00\x02\x07\x02\x00\x00\x02\x01\x05\x00\x05"), -EBADMSG, "by two, out of order" },
		{ BYTES("\x01\x02\x00\x04\x07\x02\x00\x01\x09\x01"), -EBADMSG, "a deleted run in two" },
		/* Lengths. */
		{ BYTES("\x01\x01\x00\x02\xf6\x00\x02\x00"), 0, "16 elements" },
		{ BYTES("\x01\x01\x00\x02\xf6\xf0\xff\xff\x7f\x02\x00"), 0, "as many as there can be" },
		{ BYTES("\x01\x01\x00\x02\xf6\xf1\xff\xff\x7f\x02\x00"), -EBADMSG, "one more" },
		{ BYTES("\x01\x02\x00\x04\xf6\xf0\xff\xff\x7f\x02\x00\x04\x04\x00\x00"), -EBADMSG, "one more in another run" },
		{ BYTES("\x00\x01\x00\x02\x16\x02\x00xy"), 0, "a text of two bytes" },
		{ BYTES("\x00\x01\x00\x02\x16\x02\x00x"), -EBADMSG, "a text without its end" },
#undef BYTES
	};
	struct actors *actors;
	uint32_t no;
	must(actors_new(&actors));
	for (uint8_t i = 0; i < 5; i++) {
		/* In the order of identifiers, but 1 is before 0. */
		struct actor_id id = { { { i == 1 ? 1 : (uint8_t)(i + 2) } }, 0 };
		must(actors_intern(actors, &id, &no));
	}
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		_cleanup_(seq_part_freep) struct seq_part *d = NULL;
		_cleanup_(buf_done) struct buf b = { 0 };
		struct cursor cur = cursor_make(c[i].data, c[i].len);
		struct err e = { 0 };
		int r = seq_part_decode(&cur, actors, NULL, NULL, &d, &e);
		if (r == 0)
			seq_part_encode(d, actors, NULL, &b);
		bool good = r == c[i].want && (r < 0 || (b.len == c[i].len &&
							 memcmp(b.data, c[i].data, b.len) == 0));
		if (!ok(good, "%s", c[i].name))
			tap_diag("%d: %s", r, e.message);
	}
	actors_free(actors);
}

static void test_strict_base(void)
{
	static const struct {
		const char *data;
		size_t len;
		int want;
		const char *name;
	} c[] = {
#define BYTES(text) text, sizeof(text) - 1
		{ BYTES("\x00"), 0, "a base of nothing" },
		{ BYTES("\x01\x0a\x00\x02"), 0, "a base of two elements" },
		{ BYTES("\x01\x0b\x00\x02"), 0, "by step" },
		{ BYTES("\x05\x0a\x00\x02"), -EBADMSG, "more runs than bytes" },
		{ BYTES("\x01\x08\x02"), -EBADMSG, "no actor" },
		{ BYTES("\x01\x0a\x09\x02"), -EBADMSG, "a base of an unknown actor" },
		{ BYTES("\x01\x0a\x00\x00"), -EBADMSG, "seq 0 in a base" },
		{ BYTES("\x01\x0a\x00\x01"), -EBADMSG, "seq -1" },
		{ BYTES("\x01\x0e\x00\x02\x00"), -EBADMSG, "index 0 said to be there" },
		{ BYTES("\x01\x0e\x00\x02\x01"), 0, "index 1 in a base" },
		{ BYTES("\x01\x0f\x00\x02\x01"), -EBADMSG, "by step from index 1" },
		{ BYTES("\x01\x03\x00\x02"), -EBADMSG, "by step with one element" },
		{ BYTES("\x02\x02\x00\x02\x02\x00\x04"), -EBADMSG, "the same actor said again" },
		{ BYTES("\x02\x02\x00\x02\x00\x04"), 0, "two runs" },
		{ BYTES("\x02\x02\x00\x02\x00\x02"), -EBADMSG, "two runs that are one" },
		{ BYTES("\x01\x0a\x00"), -EBADMSG, "a base cut off" },
		{ BYTES("\x01\xfa\xff\xff\xff\x07\x00\x02"), 0, "a base as long as can be" },
		{ BYTES("\x02\xfa\xff\xff\xff\x07\x00\x02\x00\x08"), -EBADMSG, "a base too long" },
#undef BYTES
	};
	struct actors *actors = some_actors();
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		_cleanup_(seq_base_freep) struct seq_base *d = NULL;
		struct cursor cur = cursor_make(c[i].data, c[i].len);
		is_errno(seq_base_decode(&cur, actors, NULL, &d, NULL), c[i].want, "%s", c[i].name);
	}
	actors_free(actors);
}

/* --- joins that are refused --- */

struct claim {
	struct piece p;
	const char *text;
};

/* Joins a part that says this (in the order of ids) into s, by way of bytes. */
static int join_claims(struct seq *s, struct actors *actors, enum seq_flavour flavour,
		       const struct claim *c, size_t n, bool whole)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL, *got = NULL;
	_cleanup_(seq_freep) struct seq *all = NULL;
	_cleanup_(buf_done) struct buf b = { 0 }, before = { 0 }, after = { 0 };
	struct err e = { 0 };
	must(part_new(flavour, actors, &d));
	for (size_t i = 0; i < n; i++)
		must(part_append(d, &c[i].p, (const uint8_t *)c[i].text));
	seq_part_encode(d, actors, NULL, &b);
	struct cursor cur = cursor_make(b.data, b.len);
	if (whole)
		return seq_decode(&cur, actors, NULL, NULL, &all, &e);
	if (seq_part_decode(&cur, actors, NULL, NULL, &got, &e) < 0)
		tap_bail("a claim that cannot be made: %s", e.message);
	seq_encode(s, actors, NULL, &before);
	int r = seq_join(s, got, &e);
	seq_encode(s, actors, NULL, &after);
	if (r < 0 && (!e.message[0] || before.len != after.len ||
		      memcmp(before.data, after.data, after.len) != 0))
		tap_bail("a refused join changed something");
	return r;
}

static void test_refused(void)
{
	struct actors *actors = some_actors();
	struct seq *s;
	must(seq_new(SEQ_TEXT, actors, &s));
	must(seq_insert(s, 0, "abcd", 4, (struct dot){ 0, 1 }));
	must(seq_insert(s, 2, "x", 1, (struct dot){ 0, 2 }));
#define ID(index, seq) { 0, index, seq }
#define NEW(s) { 1, 0, s }
	const struct seq_id root = ROOT;
	struct claim c[2] = { { { .id = NEW(1), .parent = ID(7, 1), .len = 1 }, "y" } };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), -EBADMSG, "no parent anywhere");
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, true), -EBADMSG, "the same as a whole");
	c[0] = (struct claim){ { .id = ID(1, 1), .parent = ID(2, 1), .len = 1 }, "b" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), -EBADMSG, "another parent");
	c[0] = (struct claim){ { .id = ID(0, 2), .parent = ID(2, 1), .len = 1 }, "x" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), -EBADMSG, "the other side");
	c[0].p.flags = PIECE_LEFT;
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0, "what we have");
	c[0].text = "z";
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), -EBADMSG, "another byte");
	c[0] = (struct claim){ { .id = ID(1, 1), .parent = ID(0, 1), .len = 3 }, "bcx" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), -EBADMSG, "another byte further on");
	c[0] = (struct claim){ { .id = NEW(1), .parent = NEW(2), .len = 1, .flags = PIECE_LEFT }, "y" };
	c[1] = (struct claim){ { .id = NEW(2), .parent = NEW(1), .len = 1, .flags = PIECE_LEFT }, "y" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 2, false), -EBADMSG, "each other's ancestors");
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 2, true), -EBADMSG, "the same as a whole");
	c[0] = (struct claim){ { .id = NEW(1), .parent = root, .len = 1 }, NULL };
	is_errno(join_claims(s, actors, SEQ_BARE, c, 1, false), -EBADMSG, "a list into a text");
	c[0].text = "y";
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0, "another element at the root");
	/* It is deleted by somebody who never saw the byte that another claims. */
	c[0] = (struct claim){ { .id = ID(0, 1), .parent = root, .len = 1, .flags = PIECE_DELETED }, NULL };
	c[0].p.gone = deletion_one((struct dot){ 2, 5 });
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0, "a deletion");
	c[0] = (struct claim){ { .id = ID(0, 1), .parent = root, .len = 1 }, "?" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0, "a byte that nobody has any more");
	char text[6] = "";
	must(seq_read(s, 0, seq_length(s), text));
	/* Actor 1 is behind actor 0 in the order of identifiers. */
	is_str(text, "bxcdy", "after all that");
	seq_free(s);
	actors_free(actors);
}

/* A run that we have in parts, with others between; and dots that a context does not cover. */
static void test_context(void)
{
	static struct replica x, y;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct vv ctx = { 0 };
	replica_init(&x, SEQ_TEXT, 0);
	replica_init(&y, SEQ_TEXT, 1);
	must(seq_insert(x.s, 0, "ab", 2, replica_dot(&x)));
	must(seq_delete(x.s, 0, 1, replica_dot(&x)));
	replica_part(&x, NULL, &b);
	must(vv_raise(&ctx, fugue_local(&y, 0), 1));
	is_errno(replica_join(&y, &b, &ctx, NULL), -EBADMSG, "a deletion that the context does not cover");
	must(vv_raise(&ctx, fugue_local(&y, 0), 2));
	is_errno(replica_join(&y, &b, &ctx, NULL), 0, "one that it does");
	must(seq_insert(x.s, 1, "c", 1, replica_dot(&x)));
	buf_reset(&b);
	replica_part(&x, NULL, &b);
	is_errno(replica_join(&y, &b, &ctx, NULL), -EBADMSG, "an insertion that it does not");
	vv_done(&ctx);
	replica_done(&x);
	replica_done(&y);
}

int main(int argc, char **argv)
{
	tap_plan(9 + 58 + 18 + 14 + 3);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 400);
	test_forms(seed, rounds);
	test_strict();
	test_strict_base();
	test_refused();
	test_context();
	return tap_done();
}
