/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One value replaced in place: found where nothing else changed, and written as the whole difference
 * would have been. Random documents, styles, edits and merges against jdiff and record_patch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonptr.h"
#include "engine/jsonstyle.h"
#include "engine/jsonw.h"
#include "engine/leaf.h"
#include "tests/device.h"
#include "tests/jsontext.h"
#include "tests/prng.h"

/* ---- finding ---- */

/* The pointer and both lexemes, or "" when it is something else. */
static const char *found(const char *base, const char *text, const struct types_at *at)
{
	static char out[200];
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct leaf l;
	struct json *tree = parsed(&a, text);
	parsed(&a, base);
	out[0] = 0;
	if (leaf_find(&a, base, strlen(base), text, strlen(text), tree, at, &l) <= 0)
		return out;
	for (uint32_t i = 0; i < l.n; i++)
		json_pointer_append(&b, l.path[i].key, l.path[i].len);
	snprintf(out, sizeof(out), "%s %.*s %.*s", buf_cstr(&b), (int)l.before->len, l.before->text,
		 (int)l.len, l.text);
	return out;
}

static void test_find(void)
{
	static const char *const t[][3] = {
		{ "{\"a\":1}", "{\"a\":2}", "/a 1 2" },
		{ "{\"a\":1}", "{\"a\":12}", "/a 1 12" },
		{ "{\"a\":12}", "{\"a\":1}", "/a 12 1" },
		{ "{\"a\":11}", "{\"a\":111}", "/a 11 111" },
		{ "{\"a\":\"x\",\"b\":\"x\"}", "{\"a\":\"x\",\"b\":\"\"}", "/b x \"\"" },
		{ "{\"a\":{\"b\":true}}", "{\"a\":{\"b\":null}}", "/a/b true null" },
		{ "{\"a\":1,\"b\":2}", "{\"a\":\"1\",\"b\":2}", "/a 1 \"1\"" },
		{ "{\"a\":\"1, \",\"b\":2}", "{\"a\":\"1\",\"b\":2}", "/a 1,  \"1\"" },
		{ "5", "6", " 5 6" },
		{ "\"\" ", "\"x\" ", "  \"x\"" },
		{ "{\"a\":1,\"b\":2}", "{\"a\":3,\"b\":4}", "" },
		{ "{\"a\":1}", "{\"b\":1}", "" },
		{ "{\"a\":1}", "{\"a\": 1}", "" },
		{ "{\"a\":1 }", "{\"a\":2}", "" },
		{ "{\"a\":1}", "{\"a\":2} ", "" },
		{ "{\"a\":1.0}", "{\"a\":1.00}", "" },
		{ "{\"a\":\"\\u0041\"}", "{\"a\":\"A\"}", "" },
		{ "{\"a\":[1]}", "{\"a\":[2]}", "" },
		{ "{\"a\":{}}", "{\"a\":1}", "" },
		{ "{\"a\":1}", "{\"a\":{}}", "" },
		{ "{\"a\":1,\"b\":1}", "{\"a\":1}", "" },
		{ "{\"a\":1}", "{\"a\":1,\"b\":1}", "" },
		{ "{\"a\":\"x\",\"b\":\"y\"}", "{\"a\":\"x, b: y\"}", "" },
		{ "[1,2]", "[1,3]", "" },
		{ "{}", "5", "" },
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		is_str(found(t[i][0], t[i][1], NULL), t[i][2], "%s to %s", t[i][0], t[i][1]);
}

static void test_declared(void)
{
	static const char *const merge[] = { "register", "counter", "text" };
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		_cleanup_(types_freep) struct types *types = NULL;
		const struct types_at *at;
		must(types_new(&types));
		must(types_add(types, "/a", 2, merge[i], strlen(merge[i])));
		must(types_begin(&a, types, &at));
		is_str(found("{\"a\":1}", "{\"a\":2}", at), i == 0 ? "/a 1 2" : "", "a declared %s",
		       merge[i]);
	}
}

/* ---- against the whole difference ---- */

static void put_scalar(struct prng *r, struct buf *b, unsigned escape)
{
	static const char *const scalar[] = { "null", "true",  "false", "0",   "-0",	 "1.0",
					      "1.00", "1e400", "17",	"\"\"", "\"\\u0041\"" };
	static const char *const word[] = { "x", "caf\xc3\xa9", "a/b", "\"q\"\n", "\xf0\x9f\x98\x80", "" };
	if (prng_chance(r, 40)) {
		const char *w = word[prng_below(r, 6)];
		json_write_string(b, w, strlen(w), escape);
	} else if (prng_chance(r, 50)) {
		buf_putf(b, "%u", (unsigned)prng_below(r, 1000));
	} else {
		buf_puts(b, scalar[prng_below(r, 11)]);
	}
}

static void put_random(struct prng *r, struct buf *b, unsigned depth)
{
	bool object = depth == 0 || prng_chance(r, 70);
	unsigned n = (unsigned)prng_below(r, depth == 0 ? 12 : 4);
	if (depth > 0 && (depth > 3 || prng_chance(r, 60))) {
		put_scalar(r, b, 0);
		return;
	}
	buf_u8(b, object ? '{' : '[');
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			buf_u8(b, ',');
		if (object)
			buf_putf(b, "\"k%u\":", i * 7 % n + 100 * i);
		put_random(r, b, depth + 1);
	}
	buf_u8(b, object ? '}' : ']');
}

static void random_style(struct prng *r, struct json_style *s)
{
	json_style_default(s);
	if (prng_chance(r, 30))
		s->object_layout = s->array_layout = JSON_LAYOUT_INLINE;
	s->indent = (uint8_t)prng_below(r, 5);
	s->item_space = prng_chance(r, 50);
	s->colon_after = prng_chance(r, 70);
	s->crlf = prng_chance(r, 20);
	s->final_newlines = (uint8_t)prng_below(r, 3);
	s->escape = prng_chance(r, 30) ? JSON_ESCAPE_ASCII : prng_chance(r, 30) ? JSON_ESCAPE_SLASH : 0;
}

static void put_document(struct prng *r, struct buf *b)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf plain = { 0 };
	struct json_style style;
	struct json *tree;
	put_random(r, &plain, 0);
	must(json_parse(&a, (const char *)plain.data, plain.len, NULL, &tree, NULL));
	for (struct json *j = tree; j; j = j->first)
		j->layout = JSON_LAYOUT_AUTO;
	random_style(r, &style);
	json_style_write(tree, &style, b);
	if (prng_chance(r, 15))
		buf_puts(b, "   "); /* what no style says */
}

static const struct json *next_of(const struct json *j)
{
	if (j->first)
		return j->first;
	while (j && !j->next)
		j = j->parent;
	return j ? j->next : NULL;
}

/* The text with one of its values, wherever it is, replaced by some other. */
static void put_edited(struct prng *r, struct arena *a, const char *text, size_t len, struct buf *b)
{
	struct json *tree;
	const struct json *at = NULL;
	unsigned n = 0;
	must(json_parse(a, text, len, NULL, &tree, NULL));
	for (const struct json *j = tree; j; j = next_of(j))
		if ((!json_is_container(j) || prng_chance(r, 10)) && prng_below(r, ++n) == 0)
			at = j;
	if (!at) {
		buf_put(b, text, len);
		return;
	}
	buf_put(b, text, at->offset);
	put_scalar(r, b, prng_chance(r, 80) ? 0 : JSON_ESCAPE_ASCII);
	buf_put(b, text + at->end, len - at->end);
}

static bool same_record(struct device *d, const struct record *x, const struct record *y)
{
	_cleanup_(buf_done) struct buf p = { 0 }, q = { 0 };
	record_encode(x, d->actors, &p);
	record_encode(y, d->actors, &q);
	return p.len == q.len && memcmp(p.data, q.data, p.len) == 0;
}

/* The same change told, read and made in a record that was read. */
static bool applies(struct device *d, const struct record *before, const struct record *after,
		    const struct leaf *l, const struct stamp *st)
{
	_cleanup_(buf_done) struct buf stored = { 0 }, told = { 0 };
	struct record *r;
	struct leaf again;
	struct stamp stamp;
	record_encode(before, d->actors, &stored);
	leaf_encode(l, st, &told);
	must(record_decode(&d->arena, d->actors, arena_dup(&d->arena, stored.data, stored.len),
			   stored.len, &r, NULL));
	struct cursor c = cursor_make(told.data, told.len);
	return leaf_decode(&d->arena, d->actors, &c, &again, &stamp) == 0 && cursor_end(&c) &&
	       leaf_apply(&d->arena, d->actors, r, &again, &stamp) == 0 && same_record(d, r, after) &&
	       leaf_apply(&d->arena, d->actors, r, &again, &stamp) == -EBADMSG;
}

struct count {
	unsigned all, leaves;
};

/* A save of text over what the head shows, both ways. */
static bool save(struct device *d, const char *text, size_t len, struct count *n)
{
	const struct record *before = d->rec, *after;
	const char *base = device_text(d);
	struct leaf l;
	text = arena_dup(&d->arena, text, len);
	const struct json *tree = device_parse(d, text, len);
	int found = leaf_find(&d->arena, base, strlen(base), text, len, tree, NULL, &l);
	bool leaf = found > 0 && leaf_slot(before, &l) && leaf_styled(before, d->actors, &l) > 0;
	struct stamp st = device_save_len(d, base, strlen(base), NULL, text, len, NULL, NULL);
	n->all++;
	n->leaves += leaf;
	if (!leaf)
		return true;
	must(leaf_write(&d->arena, d->actors, before, &l, &st, &after));
	bool good = same_record(d, after, d->rec) && applies(d, before, after, &l, &st);
	_cleanup_(buf_done) struct buf shown = { 0 };
	must(render_json(&d->arena, d->actors, after, &shown, NULL));
	good = good && shown.len == len && memcmp(shown.data, text, len) == 0;
	if (!good)
		tap_diag("from %s\nto %s", base, text);
	return good;
}

static bool edit(struct prng *r, struct device *d, struct count *n)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf one = { 0 }, two = { 0 };
	const char *text = device_text(d);
	put_edited(r, &a, text, strlen(text), &one);
	if (prng_chance(r, 15)) {
		put_edited(r, &a, (const char *)one.data, one.len, &two);
		return save(d, (const char *)two.data, two.len, n);
	}
	return save(d, (const char *)one.data, one.len, n);
}

static bool history(uint64_t seed, struct count *n)
{
	struct prng r = { seed };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct device d, e;
	bool good = true;
	device_init(&d, 1);
	device_init(&e, 2);
	put_document(&r, &b);
	device_save_len(&d, NULL, 0, NULL, (const char *)b.data, b.len, NULL, NULL);
	for (unsigned i = 0; good && i < 12; i++) {
		good = edit(&r, &d, n);
		if (prng_chance(&r, 30) && e.rec)
			good = edit(&r, &e, n) && good;
		if (prng_chance(&r, 30))
			device_meet(&d, &e);
	}
	device_done(&d);
	device_done(&e);
	return good;
}

static void test_random(uint64_t seed, uint64_t rounds)
{
	struct count n = { 0 };
	unsigned bad = 0;
	for (uint64_t i = 0; i < rounds && bad == 0; i++) {
		bad += !history(seed + i, &n);
		if (bad > 0)
			tap_diag("history %llu", (unsigned long long)(seed + i));
	}
	is_int(bad, 0, "a leaf is written as the whole difference is");
	ok(n.leaves > n.all / 5 && n.leaves < n.all * 4 / 5, "%u of %u saves were one", n.leaves, n.all);
}

static void test_hostile(uint64_t seed)
{
	static const char text[] = "{\n  \"a\": {\n    \"b\": \"x\"\n  }\n}\n";
	struct prng r = { seed };
	struct device d;
	struct count n = { 0 };
	unsigned bad = 0;
	device_init(&d, 1);
	device_save_len(&d, NULL, 0, NULL, text, sizeof(text) - 1, NULL, NULL);
	const struct leaf_step path[] = { { "a", 1 }, { "b", 1 } };
	const struct leaf l = { .path = (struct leaf_step *)(uintptr_t)path, .n = 2,
				.value = { VALUE_STRING, (const uint8_t *)"yy", 2 } };
	const struct stamp st = { { d.me, 9 }, 77 };
	_cleanup_(buf_done) struct buf told = { 0 }, stored = { 0 };
	leaf_encode(&l, &st, &told);
	record_encode(d.rec, d.actors, &stored);
	for (unsigned i = 0; i < 20000; i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct record *rec;
		struct leaf again;
		struct stamp stamp;
		size_t len = prng_chance(&r, 30) ? prng_below(&r, told.len) : told.len;
		uint8_t *bytes = (uint8_t *)arena_dup(&a, told.data, told.len);
		for (unsigned k = (unsigned)prng_below(&r, 3); k > 0; k--)
			bytes[prng_below(&r, told.len)] = (uint8_t)prng_u64(&r);
		must(record_decode(&a, d.actors, stored.data, stored.len, &rec, NULL));
		struct cursor c = cursor_make(bytes, len);
		int rc = leaf_decode(&a, d.actors, &c, &again, &stamp);
		if (rc == 0)
			rc = leaf_apply(&a, d.actors, rec, &again, &stamp);
		_cleanup_(buf_done) struct buf after = { 0 };
		struct record *twice;
		record_encode(rec, d.actors, &after);
		bad += (rc != 0 && rc != -EBADMSG) ||
		       record_decode(&a, d.actors, after.data, after.len, &twice, NULL) != 0;
		n.leaves += rc == 0;
	}
	is_int(bad, 0, "what is told wrong is refused, or makes a record");
	ok(n.leaves > 1000, "%u were right", n.leaves);
	device_done(&d);
}

int main(int argc, char **argv)
{
	uint64_t seed = tap_seed(argc, argv);
	tap_plan(25 + 3 + 4);
	test_find();
	test_declared();
	test_random(seed, tap_rounds(argc, argv, 2000));
	test_hostile(seed);
	return tap_done();
}
