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
	static const struct form form[] = { { "parts", again_part },
					    { "sequences", again_whole },
					    { "bases", again_base } };
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
#define GOOD(text) text, sizeof(text) - 1, 0
#define BAD(text) text, sizeof(text) - 1, -EBADMSG
		/* Each run's first byte: elements less 1, next, where it hangs, deleted. */
		{ GOOD("\x01\x00"), "nothing" },
		{ GOOD("\x01\x01\x00\x02\x06\x02\x00"), "one element at the root" },
		{ BAD("\x02\x00"), "an unknown flavour" },
		{ BAD("\x01\x05\x00\x02\x06\x02\x00"), "more runs than follow" },
		{ BAD("\x01\xff\xff\xff\x7f\x00\x02\x06\x02\x00"), "far too many runs" },
		{ BAD("\x01\x01\x00\x00\x06\x02\x00"), "a section without runs" },
		{ BAD("\x01\x01\x00\x04\x06\x02\x00"), "a section of more runs than there are" },
		{ BAD("\x01\x01\x09\x02\x06\x02\x00"), "an unknown actor" },
		{ BAD("\x01\x01\x00\x03\x06\x02\x00"), "by step, of one element" },
		{ BAD("\x01\x01\x00\x02\x06\x00\x00"), "seq 0" },
		{ BAD("\x01\x01\x00\x03\x16\x00\x00"), "seq 0, by step" },
		{ BAD("\x01\x01\x00\x02\x06\x03\x00\x00"), "index 0 said to be another" },
		{ GOOD("\x01\x01\x00\x02\x06\x03\x02\x00"), "index 2" },
		{ BAD("\x01\x01\x00\x03\x16\x03\x02\x00"), "by step from index 2" },
		{ BAD("\x01\x01\x00\x02\x0e\x00"), "next to nothing" },
		{ BAD("\x01\x01\x00\x02\x00\x02"), "a chain after nothing" },
		{ BAD("\x01\x01\x00\x02\x02\x02\x00\x00"),
		  "right of an earlier run that is not there" },
		{ BAD("\x01\x01\x00\x02\x06\x02\x05"), "hanging in an unknown way" },
		{ BAD("\x01\x01\x00\x02\x06\x02\x01\x00\x00"),
		  "right of a later run that is not there" },
		{ GOOD("\x01\x01\x00\x02\x06\x02\x03\x01\x02\x00"),
		  "right of what is not in the part" },
		{ GOOD("\x01\x01\x00\x02\x06\x04\x03\x01\x01\x00"),
		  "the same with an earlier seq" },
		{ BAD("\x01\x01\x00\x02\x06\x02\x03\x01\x01\x00"),
		  "right of what no batch inserted" },
		{ BAD("\x01\x01\x00\x02\x06\x02\x03\x00\x00\x00"),
		  "right of itself, as if it were outside" },
		/* Two runs. */
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x0c\x01"), "left of a run that is not there" },
		{ GOOD("\x01\x02\x00\x04\x06\x02\x00\x0c\x00\x00"), "left of the run before" },
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x0c\x00\x01"),
		  "left of an element that is not there" },
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x0a\x00\x00"), "a chain that does not say so" },
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x08"), "a run in two" },
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x00\x02"), "a run by step in two" },
		{ GOOD("\x01\x02\x00\x04\x06\x02\x00\x00\x04"), "a chain with a gap" },
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x04\x01\x01\x00\x00"),
		  "a next id that does not say so" },
		{ BAD("\x01\x02\x00\x04\x06\x05\x02\x00\x04\x01\x01\x00\x00"), "ids out of order" },
		{ BAD("\x01\x02\x00\x04\x06\x02\x00\x04\x00\x00\x00"), "an id twice" },
		{ BAD("\x01\x02\x00\x04\x16\x02\x00\x04\x01\x01\x00\x00"), "runs that overlap" },
		{ BAD("\x01\x02\x00\x02\x06\x02\x00\x00\x02\x04\x04"),
		  "two sections that are one" },
		{ BAD("\x01\x02\x00\x02\x06\x02\x00\x00\x03\x14\x00\x00"),
		  "a section by step too late" },
		{ GOOD("\x01\x02\x00\x05\x06\x02\x00\x1c\x00\x00"),
		  "by step, the first of one element" },
		{ GOOD("\x01\x02\x00\x02\x16\x02\x00\x00\x03\x1c\x00\x00"),
		  "by batch, then by step" },
		{ BAD("\x01\x02\x00\x02\x16\x02\x00\x00\x03\x0c\x00\x00"), "by step too early" },
		{ BAD("\x01\x02\x00\x02\x06\x02\x01\x00\x00\x01\x02\x06\x02\x00"),
		  "actors out of order" },
		{ GOOD("\x01\x02\x01\x02\x06\x02\x01\x00\x00\x00\x02\x06\x02\x00"),
		  "on a later run" },
		{ BAD("\x01\x02\x01\x02\x06\x02\x01\x00\x01\x00\x02\x06\x02\x00"),
		  "on a later run's element that is not there" },
		{ BAD("\x01\x02\x01\x02\x06\x02\x01\x01\x00\x00\x02\x06\x02\x00"),
		  "on a run behind the last" },
		/* Deletions. */
		{ GOOD("\x01\x01\x00\x02\x07\x02\x00\x01"), "deleted by the next batch" },
		{ GOOD("\x01\x01\x00\x02\x07\x02\x00\x02"), "deleted by its own batch" },
		{ BAD("\x01\x01\x00\x02\x07\x02\x00\x04"), "deleted by batch 0" },
		{ GOOD("\x01\x01\x00\x02\x07\x02\x00\x00\x01\x01\x05"),
		  "deleted by another actor" },
		{ BAD("\x01\x01\x00\x02\x07\x02\x00\x00\x01\x00\x05"),
		  "the same actor as if it were another" },
		{ BAD("\x01\x01\x00\x02\x07\x02\x00\x00\x00"), "deleted by nobody" },
		{ GOOD("\x01\x01\x00\x02\x07\x02\x00\x00\x02\x00\x05\x01\x05"), "deleted by two" },
		{ BAD("\x01\x01\x00\x02\x07\x02\x00\x00\x02\x01\x05\x00\x05"),
		  "by two, out of order" },
		{ BAD("\x01\x02\x00\x04\x07\x02\x00\x01\x09\x01"), "a deleted run in two" },
		/* Lengths. */
		{ GOOD("\x01\x01\x00\x02\xf6\x00\x02\x00"), "16 elements" },
		{ GOOD("\x01\x01\x00\x02\xf6\xf0\xff\xff\x7f\x02\x00"), "as many as there can be" },
		{ BAD("\x01\x01\x00\x02\xf6\xf1\xff\xff\x7f\x02\x00"), "one more" },
		{ BAD("\x01\x02\x00\x04\xf6\xf0\xff\xff\x7f\x02\x00\x04\x04\x00\x00"),
		  "one more in another run" },
		{ GOOD("\x00\x01\x00\x02\x16\x02\x00xy"), "a text of two bytes" },
		{ BAD("\x00\x01\x00\x02\x16\x02\x00x"), "a text without its end" },
#undef GOOD
#undef BAD
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
		bool good = r == c[i].want &&
			    (r < 0 || (b.len == c[i].len && memcmp(b.data, c[i].data, b.len) == 0));
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
#define GOOD(text) text, sizeof(text) - 1, 0
#define BAD(text) text, sizeof(text) - 1, -EBADMSG
		{ GOOD("\x00"), "a base of nothing" },
		{ GOOD("\x01\x0a\x00\x02"), "a base of two elements" },
		{ GOOD("\x01\x0b\x00\x02"), "by step" },
		{ BAD("\x05\x0a\x00\x02"), "more runs than bytes" },
		{ BAD("\x01\x08\x02"), "no actor" },
		{ BAD("\x01\x0a\x09\x02"), "a base of an unknown actor" },
		{ BAD("\x01\x0a\x00\x00"), "seq 0 in a base" },
		{ BAD("\x01\x0a\x00\x01"), "seq -1" },
		{ BAD("\x01\x0e\x00\x02\x00"), "index 0 said to be there" },
		{ GOOD("\x01\x0e\x00\x02\x01"), "index 1 in a base" },
		{ BAD("\x01\x0f\x00\x02\x01"), "by step from index 1" },
		{ BAD("\x01\x03\x00\x02"), "by step with one element" },
		{ BAD("\x02\x02\x00\x02\x02\x00\x04"), "the same actor said again" },
		{ GOOD("\x02\x02\x00\x02\x00\x04"), "two runs" },
		{ BAD("\x02\x02\x00\x02\x00\x02"), "two runs that are one" },
		{ BAD("\x01\x0a\x00"), "a base cut off" },
		{ GOOD("\x01\xfa\xff\xff\xff\x07\x00\x02"), "a base as long as can be" },
		{ BAD("\x02\xfa\xff\xff\xff\x07\x00\x02\x00\x08"), "a base too long" },
#undef GOOD
#undef BAD
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
#define ID(index, seq)        \
	{                     \
		0, index, seq \
	}
#define NEW(s)          \
	{               \
		1, 0, s \
	}
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
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), -EBADMSG,
		 "another byte further on");
	c[0] = (struct claim){ { .id = NEW(1), .parent = NEW(2), .len = 1, .flags = PIECE_LEFT },
			       "y" };
	c[1] = (struct claim){ { .id = NEW(2), .parent = NEW(1), .len = 1, .flags = PIECE_LEFT },
			       "y" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 2, false), -EBADMSG, "each other's ancestors");
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 2, true), -EBADMSG, "the same as a whole");
	c[0] = (struct claim){ { .id = NEW(1), .parent = root, .len = 1 }, NULL };
	is_errno(join_claims(s, actors, SEQ_BARE, c, 1, false), -EBADMSG, "a list into a text");
	c[0].text = "y";
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0, "another element at the root");
	/* It is deleted by somebody who never saw the byte that another claims. */
	c[0] = (struct claim){ { .id = ID(0, 1), .parent = root, .len = 1, .flags = PIECE_DELETED },
			       NULL };
	c[0].p.gone = deletion_one((struct dot){ 2, 5 });
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0, "a deletion");
	c[0] = (struct claim){ { .id = ID(0, 1), .parent = root, .len = 1 }, "?" };
	is_errno(join_claims(s, actors, SEQ_TEXT, c, 1, false), 0,
		 "a byte that nobody has any more");
	char text[6] = "";
	must(seq_read(s, 0, seq_length(s), text));
	/* Actor 1 is behind actor 0 in the order of identifiers. */
	is_str(text, "bxcdy", "after all that");
	seq_free(s);
	actors_free(actors);
}

/* What no honest replica makes, but what is a tree: two elements of one actor that both hang right
 * of a third. And what is none: a later element of a chain is there, but hangs elsewhere. */
static void test_odd(void)
{
	struct actors *actors = some_actors();
	struct seq *s;
	const struct seq_id root = ROOT;
	char text[5] = "";
	must(seq_new(SEQ_TEXT, actors, &s));
	struct claim c = { { .id = NEW(5), .parent = root, .len = 2, .flags = PIECE_STEP }, "ab" };
	is_errno(join_claims(s, actors, SEQ_TEXT, &c, 1, false), 0, "two elements by step");
	c = (struct claim){ { .id = NEW(5), .parent = root, .len = 2 }, "ac" };
	is_errno(join_claims(s, actors, SEQ_TEXT, &c, 1, false), 0,
		 "the first of them and another");
	must(seq_read(s, 0, 3, text));
	is_str(text, "acb", "the second and the third stand in the order of their ids");
	c = (struct claim){ { .id = { 1, 1, 9 }, .parent = root, .len = 1 }, "d" };
	is_errno(join_claims(s, actors, SEQ_TEXT, &c, 1, false), 0, "an element of index 1");
	c = (struct claim){ { .id = NEW(9), .parent = root, .len = 2 }, "ed" };
	is_errno(join_claims(s, actors, SEQ_TEXT, &c, 1, false), -EBADMSG,
		 "it follows one that is new");
	c = (struct claim){ { .id = NEW(12), .parent = root, .len = 1 }, "d" };
	is_errno(join_claims(s, actors, SEQ_TEXT, &c, 1, false), 0, "an element of index 0");
	c = (struct claim){ { .id = NEW(11), .parent = root, .len = 2, .flags = PIECE_STEP },
			    "ed" };
	is_errno(join_claims(s, actors, SEQ_TEXT, &c, 1, false), -EBADMSG, "the same by step");
	is_str(check_memory(s), NULL, "all in order");
	seq_free(s);
	actors_free(actors);
}

static void test_too_long(void)
{
	struct actors *actors = some_actors();
	struct seq *s;
	const struct seq_id root = ROOT;
	must(seq_new(SEQ_BARE, actors, &s));
	struct claim c = { { .id = NEW(1), .parent = root, .len = SEQ_TOTAL_MAX - 1 }, NULL };
	is_errno(join_claims(s, actors, SEQ_BARE, &c, 1, false), 0, "almost as long as can be");
	c.p.id.actor = 2;
	c.p.len = 2;
	is_errno(join_claims(s, actors, SEQ_BARE, &c, 1, false), -EFBIG, "one more than can be");
	is_uint(seq_total(s), SEQ_TOTAL_MAX - 1, "it did not come");
	struct seq_part *d;
	struct vv all = { 0 };
	must(vv_raise(&all, 1, 1));
	must(seq_part_make(s, &all, &d));
	ok(seq_part_empty(d), "nothing is beyond what covers everything");
	seq_part_free(d);
	vv_done(&all);
	seq_free(s);
	actors_free(actors);
}

/* Dots that a context does not cover. */
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
	is_errno(replica_join(&y, &b, &ctx, NULL), -EBADMSG,
		 "a deletion that the context does not cover");
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
	tap_plan(9 + 58 + 18 + 14 + 8 + 4 + 3);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 400);
	test_forms(seed, rounds);
	test_strict();
	test_strict_base();
	test_refused();
	test_odd();
	test_too_long();
	test_context();
	return tap_done();
}
