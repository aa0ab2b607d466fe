/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The merge rules, each by an example: what two devices did apart, and what both show then. */
#include <stdio.h>
#include <string.h>

#include "tests/device.h"

struct pair {
	struct device a, b;
	char *base; /* what both had */
};

static void start(struct pair *p, const char *text)
{
	device_init(&p->a, 1);
	device_init(&p->b, 2);
	p->base = NULL;
	if (text) {
		device_save(&p->a, NULL, NULL, text);
		device_send(&p->a, &p->b);
		p->base = device_text(&p->a);
	}
}

static void done(struct pair *p)
{
	device_done(&p->a);
	device_done(&p->b);
}

/* Both meet; both must show want and have the same state. */
static void meet(struct pair *p, const char *want, const char *rule)
{
	struct id x, y;
	device_meet(&p->a, &p->b);
	record_fingerprint(p->a.rec, p->a.actors, &x);
	record_fingerprint(p->b.rec, p->b.actors, &y);
	ok(id_equal(&x, &y), "one state: %s", rule);
	is_str(device_text(&p->a), want, "%s", rule);
}

static void rule(const char *base, const char *first, const char *second, const char *want,
		 const char *name)
{
	struct pair p;
	start(&p, base);
	device_edit(&p.a, first);
	device_edit(&p.b, second);
	meet(&p, want, name);
	done(&p);
}

struct seen_conflict {
	unsigned n;
	char pointer[64], lost[64];
	enum value_kind kind;
};

static int count_conflict(const char *pointer, const struct entry *shown, const struct entry *lost,
			  void *userdata)
{
	struct seen_conflict *c = userdata;
	(void)shown;
	c->n++;
	snprintf(c->pointer, sizeof(c->pointer), "%s", pointer);
	snprintf(c->lost, sizeof(c->lost), "%.*s", (int)lost->value.len,
		 lost->value.data ? (const char *)lost->value.data : "");
	c->kind = lost->value.kind;
	return 0;
}

static struct seen_conflict conflicts(struct device *d)
{
	struct seen_conflict c = { 0 };
	must(record_conflicts(d->rec, d->actors, count_conflict, &c));
	return c;
}

static void test_simple_rules(void)
{
	rule("{\"x\":1,\"y\":1}\n", "{\"x\":2,\"y\":1}\n", "{\"x\":1,\"y\":3}\n",
	     "{\"x\":2,\"y\":3}\n", "different fields both change");
	rule("{\"x\":1}\n", "{\"x\":2}\n", "{\"x\":2}\n", "{\"x\":2}\n",
	     "the same change twice is one value");
	rule(NULL, "{\"a\":{\"x\":1}}\n", "{\"a\":{\"y\":2}}\n", "{\"a\":{\"x\":1,\"y\":2}}\n",
	     "an object created on both sides is one object");
	rule("{\"a\":{\"x\":1,\"y\":1}}\n", "{}\n", "{\"a\":{\"x\":2,\"y\":1}}\n",
	     "{\"a\":{\"x\":2}}\n", "an edit inside survives the removal around it, the rest goes");
	rule("{\"a\":1,\"b\":1}\n", "{\"b\":1}\n", "{\"a\":2,\"b\":1}\n", "{\"b\":1,\"a\":2}\n",
	     "an edit beats a removal");
	rule("{\"a\":1,\"b\":1}\n", "{\"b\":1}\n", "{\"a\":1,\"b\":2}\n", "{\"b\":2}\n",
	     "a removal takes what its writer saw");
	rule("{\"a\":1}\n", "{\"a\":null}\n", "{\"a\":1,\"b\":2}\n", "{\"a\":null,\"b\":2}\n",
	     "null is a value");
	rule("{\"a\":1,\"z\":1}\n", "{\"a\":1,\"m\":1,\"z\":1}\n", "{\"a\":1,\"z\":1,\"end\":1}\n",
	     "{\"a\":1,\"m\":1,\"z\":1,\"end\":1}\n", "new keys stay between their neighbours");
	rule("{\"a\":1,\"b\":2,\"c\":3}\n", "{\"c\":3,\"a\":1,\"b\":2}\n",
	     "{\"a\":1,\"b\":20,\"c\":3}\n", "{\"c\":3,\"a\":1,\"b\":20}\n",
	     "a moved key and a changed value");
	rule("[1,2]\n", "[1,2,3]\n", "[1,2]\n", "[1,2,3]\n", "an array is replaced whole");
	rule("{\"a\":[1, 2]}\n", "{\"a\":[1, 2], \"b\":1}\n", "{\"a\":[1,2]}\n",
	     "{\"a\":[1,2],\"b\":1}\n", "layout of one and values of the other");
}

static void test_two_values(void)
{
	struct pair p;
	start(&p, "{\"x\":1}\n");
	device_edit(&p.a, "{\"x\":2}\n");
	p.b.wall += 500000;
	device_edit(&p.b, "{\"x\":3}\n");
	meet(&p, "{\"x\":3}\n", "the later of two values is shown");
	struct seen_conflict c = conflicts(&p.a);
	is_uint(c.n, 1, "the other one is a conflict");
	is_str(c.pointer, "/x", "at its place");
	is_str(c.lost, "2", "with its value");
	device_edit(&p.a, "{\"x\":4}\n");
	device_meet(&p.a, &p.b);
	is_uint(conflicts(&p.b).n, 0, "a write that saw both settles it");
	is_str(device_text(&p.b), "{\"x\":4}\n", "and is what is shown");
	done(&p);
}

static void test_types(void)
{
	struct pair p;
	start(&p, "{\"x\":{\"a\":1,\"b\":2}}\n");
	device_edit(&p.a, "{\"x\":5}\n");
	p.b.wall += 500000;
	device_edit(&p.b, "{\"x\":{\"a\":7,\"b\":2}}\n");
	meet(&p, "{\"x\":{\"a\":7}}\n", "object against scalar: the later is shown");
	is_str(conflicts(&p.a).lost, "5", "the scalar is kept as a conflict");
	device_edit(&p.b, "{\"x\":{\"a\":7,\"c\":1}}\n");
	device_meet(&p.a, &p.b);
	is_str(device_text(&p.a), "{\"x\":{\"a\":7,\"c\":1}}\n", "the object goes on");
	device_edit(&p.a, "{\"x\":\"s\"}\n");
	device_meet(&p.a, &p.b);
	is_str(device_text(&p.b), "{\"x\":\"s\"}\n", "a scalar that saw all replaces all");
	is_uint(conflicts(&p.b).n, 0, "and leaves no conflict");
	done(&p);

	start(&p, "{\"x\":{\"a\":1}}\n");
	device_edit(&p.b, "{\"x\":{\"a\":2}}\n");
	p.a.wall += 500000;
	device_edit(&p.a, "{\"x\":5}\n");
	meet(&p, "{\"x\":5}\n", "a later scalar hides the object");
	struct seen_conflict c = conflicts(&p.b);
	is_uint(c.n, 1, "hidden children are one conflict");
	is_int(c.kind, VALUE_MAP, "of the kind object");
	done(&p);

	start(&p, "{\"a\":{\"k\":1}}\n");
	device_edit(&p.a, "{}\n");
	device_edit(&p.b, "{\"a\":{\"k\":2}}\n");
	device_meet(&p.a, &p.b);
	device_edit(&p.a, "{\"a\":{}}\n");
	is_str(device_text(&p.a), "{\"a\":{}}\n", "an object outlives its last key");
	done(&p);
}

static void test_bases(void)
{
	struct pair p;
	struct vv old;
	start(&p, "{\"x\":1,\"y\":1}\n");
	must(vv_arena(&p.a.arena, &p.a.rec->ctx, &old));
	device_edit(&p.b, "{\"x\":1,\"y\":9,\"z\":3}\n");
	device_send(&p.b, &p.a);
	device_save(&p.a, p.base, &old, "{\"x\":2,\"y\":1}\n");
	is_str(device_text(&p.a), "{\"x\":2,\"y\":9,\"z\":3}\n",
	       "a save on an old base reverts nothing that came in between");
	must(vv_arena(&p.a.arena, &p.a.rec->ctx, &old));
	char *head = device_text(&p.a);
	const struct record *before = p.a.rec;
	device_save(&p.a, p.base, &p.b.rec->ctx, head);
	ok(p.a.rec == before, "what is already true is no change");
	device_save(&p.a, "{\"x\":1,\"q\":1}\n", &p.b.rec->ctx, "{\"x\":1}\n");
	ok(p.a.rec == before, "nor is the removal of what is not there");
	done(&p);
}

static void test_delete(void)
{
	static const struct id dir = { { 0xd1 } };
	struct pair p;
	struct stamp st;
	start(&p, "{\"x\":1}\n");
	st = device_stamp(&p.a);
	must(record_move(&p.a.arena, p.a.actors, p.a.rec, &dir, "f.json", 6, &st, &p.a.rec));
	device_send(&p.a, &p.b);
	st = device_stamp(&p.a);
	must(record_move(&p.a.arena, p.a.actors, p.a.rec, &NODE_TRASH, "", 0, &st, &p.a.rec));
	ok(!record_alive(p.a.rec), "a deleted file is dead");
	device_edit(&p.b, "{\"x\":2}\n");
	device_meet(&p.a, &p.b);
	ok(record_alive(p.a.rec), "an edit beats the deletion that did not see it");
	st = device_stamp(&p.a);
	must(record_move(&p.a.arena, p.a.actors, p.a.rec, &NODE_TRASH, "", 0, &st, &p.a.rec));
	device_meet(&p.a, &p.b);
	ok(!record_alive(p.b.rec), "a second deletion saw it");
	done(&p);

	for (unsigned first = 0; first < 2; first++) {
		start(&p, "{\"x\":1}\n");
		struct device *one = first ? &p.a : &p.b, *two = first ? &p.b : &p.a;
		device_edit(two, "{\"x\":2}\n");
		st = device_stamp(one);
		must(record_move(&one->arena, one->actors, one->rec, &NODE_TRASH, "", 0, &st,
				 &one->rec));
		st = device_stamp(two);
		must(record_move(&two->arena, two->actors, two->rec, &NODE_TRASH, "", 0, &st,
				 &two->rec));
		device_meet(&p.a, &p.b);
		ok(!record_alive(p.a.rec) && !record_alive(p.b.rec),
		   "what both deleted stays deleted, whoever's deletion ranks higher");
		done(&p);
	}
}

static void test_metadata(void)
{
	struct pair p;
	uint8_t data[VALUE_INT_MAX];
	start(&p, "{\"x\":1}\n");
	int64_t t0 = record_mtime_ns(p.a.rec, p.a.actors);
	is_int(t0, record_mtime_ns(p.b.rec, p.b.actors), "one time of change everywhere");
	is_uint(record_mode(p.a.rec, p.a.actors, 0644), 0644, "mode by default");
	struct stamp st = device_stamp(&p.a);
	struct value v = value_of_int(0600, data);
	must(record_set(&p.a.arena, p.a.actors, p.a.rec, TOP_MODE, NULL, 0, &v, NULL, &st,
			&p.a.rec));
	is_uint(record_mode(p.a.rec, p.a.actors, 0644), 0600, "mode as set");
	v = value_of_int(-5, data);
	st = device_stamp(&p.b);
	must(record_set(&p.b.arena, p.b.actors, p.b.rec, TOP_MTIME, NULL, 0, &v, NULL, &st,
			&p.b.rec));
	device_meet(&p.a, &p.b);
	is_int(record_mtime_ns(p.a.rec, p.a.actors), -5, "a time that was set is given exactly");
	device_edit(&p.a, "{\"x\":2}\n");
	int64_t t1 = record_mtime_ns(p.a.rec, p.a.actors);
	ok(t1 > t0, "a change of content is a later time");
	device_edit(&p.b, "{\"x\":1,\"y\":1}\n");
	int64_t t2 = record_mtime_ns(p.b.rec, p.b.actors);
	device_meet(&p.a, &p.b);
	int64_t t3 = record_mtime_ns(p.a.rec, p.a.actors);
	ok(t3 != t1 && t3 != t2, "a merge shows another time than either side");
	v = (struct value){ VALUE_BYTES, (const uint8_t *)"blue", 4 };
	st = device_stamp(&p.a);
	must(record_set(&p.a.arena, p.a.actors, p.a.rec, TOP_XATTR, "user.c", 6, &v, NULL, &st,
			&p.a.rec));
	device_meet(&p.a, &p.b);
	struct slot *x = slot_find(slot_find(p.b.rec->top, TOP_XATTR, 1), "user.c", 6);
	ok(x && x->val.n == 1 && x->val.entry[0].value.len == 4, "attributes travel");
	const struct record *before = p.a.rec;
	must(record_set(&p.a.arena, p.a.actors, p.a.rec, TOP_XATTR, "user.c", 6, &v, NULL, &st,
			&p.a.rec));
	ok(p.a.rec == before, "an equal attribute is no change");
	st = device_stamp(&p.a);
	must(record_set(&p.a.arena, p.a.actors, p.a.rec, TOP_XATTR, "user.c", 6, NULL, NULL, &st,
			&p.a.rec));
	device_meet(&p.a, &p.b);
	x = slot_find(slot_find(p.b.rec->top, TOP_XATTR, 1), "user.c", 6);
	ok(!slot_live(x), "their removal, too");
	done(&p);
}

static void test_blob(void)
{
	struct pair p;
	struct value v = { VALUE_BLOB, (const uint8_t *)"ref", 3 };
	start(&p, "{\"x\":1, \"y\" : 2}");
	struct stamp st = device_stamp(&p.a);
	must(record_set_content(&p.a.arena, p.a.actors, p.a.rec, &v, NULL, &st, &p.a.rec));
	ok(device_text(&p.a) == NULL, "a blob is no JSON");
	device_meet(&p.a, &p.b);
	const struct record *before = p.b.rec;
	st = device_stamp(&p.b);
	must(record_set_content(&p.b.arena, p.b.actors, p.b.rec, &v, NULL, &st, &p.b.rec));
	ok(p.b.rec == before, "the same blob is no change");
	struct json *j = device_parse(&p.b, "{\"z\":1}", 7);
	struct patch *patch;
	must(jdiff(&p.b.arena, NULL, j, NULL, &patch));
	must(record_patch(&p.b.arena, p.b.actors, p.b.rec, patch, NULL, &st, NULL, NULL, &p.b.rec));
	device_meet(&p.a, &p.b);
	is_str(device_text(&p.a), "{\n  \"z\": 1\n}\n",
	       "a blob becomes JSON again, nothing left over");
	is_uint(conflicts(&p.a).n, 0, "without conflict");
	done(&p);
}

static void append_pointer(const char *pointer, size_t len, void *userdata)
{
	struct buf *b = userdata;
	buf_put(b, pointer, len);
	buf_puts(b, " ");
}

static void test_pointers(void)
{
	struct pair p;
	_cleanup_(buf_done) struct buf b = { 0 };
	const char *base = "{\"a\":{\"b\":1,\"c\":2},\"d\":3,\"e\":4}\n",
		   *next = "{\"a\":{\"b\":5,\"c\":2},\"e\":4,\"f/g\":{\"h\":1}}\n";
	start(&p, base);
	device_save_len(&p.a, base, strlen(base), NULL, next, strlen(next), append_pointer, &b);
	is_str(buf_cstr(&b), "/a/b /f~1g /d ", "changed pointers are told");
	done(&p);
}

static void test_patch_by_hand(void)
{
	struct pair p;
	start(&p, "{\"a\":{\"b\":1}}\n");
	struct json *two = device_parse(&p.a, "2", 1);
	struct patch set = { .kind = PATCH_SET, .key = "n", .key_len = 1, .value = two };
	struct patch into = { .kind = PATCH_INTO, .key = "a", .key_len = 1, .first = &set };
	struct patch root = { .kind = PATCH_INTO, .first = &into };
	struct stamp st = device_stamp(&p.a);
	must(record_patch(&p.a.arena, p.a.actors, p.a.rec, &root, NULL, &st, NULL, NULL, &p.a.rec));
	is_str(device_text(&p.a), "{\"a\":{\"b\":1,\"n\":2}}\n", "a key set by hand comes last");
	done(&p);
}

/* One save within a batch. */
static void save_within(struct device *d, const struct stamp *st, const struct types_at *at,
			const char *base, const char *next)
{
	struct json *old = device_parse(d, base, strlen(base));
	struct json *new = device_parse(d, next, strlen(next));
	struct patch *patch;
	must(jdiff(&d->arena, old, new, at, &patch));
	must(record_patch(&d->arena, d->actors, d->rec, patch, NULL, st, NULL, NULL, &d->rec));
}

/* Entries of one register never have one stamp, which readers of records insist on. */
static void test_counting_in_a_batch(void)
{
	_cleanup_(types_freep) struct types *types = NULL;
	const struct types_at *at;
	struct pair p;
	start(&p, "{\"n\":\"none\"}\n");
	must(types_new(&types));
	must(types_add(types, "/n", 2, "counter", 7));
	must(types_begin(&p.a.arena, types, &at));
	struct stamp st = device_stamp(&p.a);
	save_within(&p.a, &st, at, "{\"n\":\"none\"}", "{\"n\":5}");
	save_within(&p.a, &st, at, "{\"n\":5}", "{\"n\":7}");
	device_meet(&p.a, &p.b);
	is_str(device_text(&p.b), "{\"n\":7}\n", "a number that is set and counted in one batch");
	st = device_stamp(&p.a);
	save_within(&p.a, &st, at, "{\"n\":7}", "{\"n\":8}");
	save_within(&p.a, &st, at, "{\"n\":8}", "{\"n\":10}");
	save_within(&p.a, &st, NULL, "{\"n\":10}", "{\"n\":11}");
	st = device_stamp(&p.b);
	save_within(&p.b, &st, at, "{\"n\":7}", "{\"n\":107}");
	device_meet(&p.a, &p.b);
	is_str(device_text(&p.a), "{\"n\":111}\n", "one that is counted and set");
	is_uint(conflicts(&p.a).n, 0, "without conflict");
	done(&p);
}

/* Inserts always at the same place, until positions run out and keys are numbered anew. */
static void test_positions(void)
{
	struct pair p;
	bool good = true;
	start(&p, "{\"first\":0,\"last\":0}\n");
	for (int i = 0; i < 300; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_puts(&b, "{\"first\":0,");
		for (int k = i; k >= 0; k--)
			buf_putf(&b, "\"k%d\":%d,", k, k);
		buf_puts(&b, "\"last\":0}\n");
		device_edit(&p.a, buf_cstr(&b));
		good = good && strcmp(device_text(&p.a), buf_cstr(&b)) == 0;
	}
	ok(good, "300 keys in at the same place keep their order");
	device_meet(&p.a, &p.b);
	is_str(device_text(&p.b), device_text(&p.a), "on the other device, too");
	done(&p);
}

int main(void)
{
	tap_plan(22 + 6 + 2 + 4 + 2 + 2 + 1 + 3 + 5 + 10 + 4 + 1 + 3 + 1 + 2);
	test_simple_rules();
	test_two_values();
	test_types();
	test_bases();
	test_delete();
	test_metadata();
	test_blob();
	test_pointers();
	test_patch_by_hand();
	test_counting_in_a_batch();
	test_positions();
	return tap_done();
}
