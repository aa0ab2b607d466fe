/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "engine/arraydiff.h"
#include "engine/buf.h"
#include "tests/jsontext.h"
#include "tests/prng.h"

/* One word for each element of new: the place in old that it continues, with ~ if it changed and >
 * if it moved, or + for a new one; then what was removed, with -. */
static void describe(const struct arraydiff *d, struct buf *out)
{
	for (uint32_t i = 0; i < d->count; i++) {
		const struct arraydiff_item *x = &d->item[i];
		if (!x->old)
			buf_puts(out, "+ ");
		else
			buf_putf(out, "%s%s%u ", x->moved ? ">" : "", x->changed ? "~" : "",
				 x->old_at);
	}
	for (uint32_t i = 0; i < d->removed_count; i++)
		buf_putf(out, "-%u ", d->removed[i]);
	if (out->len > 0)
		out->len--;
}

static void keyed(const char *old, const char *new, const char *key, const char *want,
		  const char *name)
{
	struct arena a = { 0 }, b = { 0 };
	_cleanup_(buf_done) struct buf out = { 0 };
	struct arraydiff d;
	if (arraydiff(&a, parsed(&b, old), parsed(&b, new), key,
		      key ? strlen(key) : 0, &d) < 0)
		tap_bail("arraydiff");
	describe(&d, &out);
	is_str(buf_cstr(&out), want, "%s", name);
	arena_done(&a);
	arena_done(&b);
}

static void shows(const char *old, const char *new, const char *want, const char *name)
{
	keyed(old, new, NULL, want, name);
}

static void by_key(void)
{
	shows("[{\"id\":1,\"v\":1},{\"id\":2,\"v\":2},{\"id\":3,\"v\":3}]",
	      "[{\"id\":3,\"v\":3},{\"id\":1,\"v\":1},{\"id\":2,\"v\":9}]", ">2 0 ~1",
	      "id: one moved, one changed");
	shows("[{\"id\":1},{\"id\":2}]", "[{\"id\":2},{\"id\":4}]", "1 + -0",
	      "id: one gone, one new");
	shows("[{\"id\":1,\"a\":1,\"b\":2}]", "[{\"id\":1.0,\"c\":3}]", "~0",
	      "equal keys, nothing else in common");
	shows("[{\"id\":1,\"a\":1,\"b\":2}]", "[{\"id\":7,\"a\":1,\"b\":2}]", "+ -0",
	      "another key, all else in common");
	shows("[{\"_id\":\"x\",\"v\":1},{\"_id\":\"y\",\"v\":1}]",
	      "[{\"_id\":\"y\",\"v\":5},{\"_id\":\"x\",\"v\":5}]", ">~1 ~0", "_id");
	shows("[{\"name\":\"x\",\"id\":1},{\"name\":\"y\",\"id\":1}]",
	      "[{\"name\":\"y\",\"id\":5},{\"name\":\"x\",\"id\":5}]", ">~1 ~0",
	      "an id that is there twice is none: the name");
	shows("[{\"id\":[1],\"key\":1},{\"id\":[2],\"key\":2}]",
	      "[{\"id\":[8],\"key\":2},{\"id\":[9],\"key\":1}]", ">~1 ~0",
	      "an id that is no scalar is none: the key");
	shows("[{\"id\":1,\"v\":1},5]", "[5,{\"id\":1,\"v\":2}]", "1 + -0",
	      "an element that is no object: no key");
	shows("[]", "[{\"id\":1},{\"id\":2}]", "+ +", "from nothing");
	shows("[{\"id\":1},{\"id\":2}]", "[]", "-0 -1", "to nothing");
	shows("[]", "[]", "", "nothing and nothing");
}

static void by_declared_key(void)
{
	keyed("[{\"sku\":1,\"v\":1},{\"sku\":2,\"v\":2}]",
	      "[{\"sku\":2,\"v\":8},{\"sku\":1,\"v\":9}]", "sku", ">~1 ~0", "a declared key");
	keyed("[{\"id\":1,\"sku\":1},{\"id\":2,\"sku\":2}]",
	      "[{\"id\":1,\"sku\":2},{\"id\":2,\"sku\":1}]", "sku", ">~1 ~0", "goes before an id");
	keyed("[{\"sku\":1,\"v\":1},\"note\",{\"v\":2,\"w\":3}]",
	      "[\"note\",{\"v\":2,\"w\":4},{\"sku\":1,\"v\":9}]", "sku", "1 ~2 >~0",
	      "elements without it are matched by value");
	keyed("[{\"sku\":1,\"v\":1},{\"sku\":1,\"v\":2},{\"sku\":3,\"v\":3}]",
	      "[{\"sku\":1,\"v\":2},{\"sku\":1,\"v\":1},{\"sku\":3,\"v\":4}]", "sku", ">1 0 ~2",
	      "so are those that share one");
	keyed("[{\"sku\":1,\"v\":1},{\"sku\":1,\"v\":2}]",
	      "[{\"sku\":2,\"v\":1},{\"sku\":2,\"v\":2}]", "sku", "+ + -0 -1",
	      "different keys are different things even then");
	keyed("[\"a\",\"b\"]", "[\"b\",\"c\"]", "sku", "1 + -0", "no element has it");
}

static void by_value(void)
{
	shows("[\"a\",\"b\",\"c\"]", "[\"a\",\"c\"]", "0 2 -1", "a string gone");
	shows("[\"a\",\"b\",\"c\"]", "[\"a\",\"x\",\"b\",\"c\"]", "0 + 1 2", "a string new");
	shows("[\"a\",\"b\",\"c\"]", "[\"c\",\"a\",\"b\"]", ">2 0 1", "a string moved");
	shows("[\"a\",\"b\",\"c\",\"d\"]", "[\"d\",\"c\",\"b\",\"a\"]", ">3 >2 >1 0",
	      "all but one have to move");
	shows("[\"a\",\"a\",\"b\",\"a\"]", "[\"a\",\"b\",\"a\",\"a\"]", "0 >2 1 3",
	      "equal ones are taken in order");
	shows("[{\"a\":1,\"b\":[1,2.0]},null]", "[null,{\"b\":[1.0,2],\"a\":10e-1}]", ">1 0",
	      "equal values, written differently");
	shows("[\"x\",[1,2],{\"a\":null}]", "[\"x\",[1,2],{\"a\":null}]", "0 1 2", "all the same");
	shows("[true,false]", "[false,true]", ">1 0", "truth values");
}

static void by_similarity(void)
{
	shows("[{\"t\":\"milk\",\"done\":false},{\"t\":\"eggs\",\"done\":false}]",
	      "[{\"t\":\"milk\",\"done\":true},{\"t\":\"eggs\",\"done\":false}]", "~0 1",
	      "a member changed");
	shows("[{\"a\":1,\"b\":2,\"c\":\"x\"}]", "[{\"a\":\"p\",\"b\":\"q\",\"c\":\"x\"}]", "+ -0",
	      "one member of three is not enough");
	shows("[{\"a\":1,\"b\":2},{\"c\":3,\"d\":4},{\"e\":5,\"f\":6}]",
	      "[{\"x\":0},{\"c\":3,\"d\":5},{\"y\":0}]", "+ ~1 + -0 -2",
	      "the right one of several");
	shows("[\"buy milk\",\"call Ann\"]", "[\"buy oat milk\",\"call Ann\"]", "~0 1",
	      "a string that is similar");
	shows("[\"red\",\"green\"]", "[\"red\",\"blue\"]", "0 + -1", "one that is not");
	shows("[\"width\",10,\"height\",20]", "[\"width\",12,\"height\",20]", "0 ~1 2 3",
	      "a number");
	shows("[\"a\",1,\"b\"]", "[\"a\",\"1\",\"b\"]", "0 + 2 -1", "another type");
	shows("[{\"id\":1,\"a\":1,\"b\":2},0]", "[{\"id\":2,\"a\":1,\"b\":2},0]", "+ 1 -0",
	      "ids that differ, though not all have one");
	shows("[[\"a\",\"b\",\"c\",\"d\"],0]", "[[\"a\",\"c\",\"d\"],0]", "~0 1",
	      "an array that is similar");
	shows("[[\"a\",\"b\"],0]", "[[\"x\",\"y\"],0]", "+ 1 -0", "one that is not");
	shows("[{\"p\":{\"q\":{\"r\":{\"s\":{\"t\":1}}}}},0]",
	      "[{\"p\":{\"q\":{\"r\":{\"s\":{\"t\":2}}}}},0]", "~0 1", "far below");
	shows("[{},[],\"\",0]", "[{\"a\":1},[1],\"a\",0]", "+ + + 3 -0 -1 -2", "empty ones");
}

static void numbers(void)
{
	struct arena a = { 0 };
	ok(json_is_numbers(parsed(&a, "[1,2.5,-0]")), "an array of numbers");
	ok(!json_is_numbers(parsed(&a, "[1,\"2\"]")), "not of numbers alone");
	ok(!json_is_numbers(parsed(&a, "[]")), "empty: no numbers");
	arena_done(&a);
}

/* --- what holds always ---------------------------------------------------------------------- */

/* Each old element is continued once or removed, equal ones are not called changed, and those that
 * did not move are in order. */
static bool sound(const struct json *old, const struct json *new, const struct arraydiff *d)
{
	_cleanup_free_ uint8_t *used = calloc(1, old->count + 1);
	_cleanup_free_ const struct json **element = calloc(old->count + 1, sizeof(*element));
	const struct json *v = new->first;
	uint32_t n = 0, last = 0, kept = 0;
	bool good = used && element && d->count == new->count;
	for (const struct json *u = old->first; u && good; u = u->next)
		element[n++] = u;
	for (uint32_t i = 0; i < d->count && good; i++, v = v->next) {
		const struct arraydiff_item *x = &d->item[i];
		good = x->new == v && (x->old != NULL) == (x->old_at != ARRAYDIFF_NONE);
		if (!good || !x->old) {
			good = good && !x->moved && !x->changed;
			continue;
		}
		good = x->old_at < n && x->old == element[x->old_at] && !used[x->old_at]++ &&
		       x->changed != json_equal(x->old, x->new);
		kept++;
		if (x->moved || !good)
			continue;
		good = last <= x->old_at;
		last = x->old_at + 1;
	}
	for (uint32_t i = 0; i < d->removed_count && good; i++)
		good = d->removed[i] < n && !used[d->removed[i]]++ &&
		       (i == 0 || d->removed[i - 1] < d->removed[i]);
	good = good && kept + d->removed_count == n &&
	       d->steps <= ARRAYDIFF_STEPS((uint64_t)old->count + new->count);
	if (!good)
		tap_diag("unsound; %" PRIu64 " steps for %u and %u elements", d->steps, old->count,
			 new->count);
	return good;
}

static uint32_t moved(const struct arraydiff *d)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < d->count; i++)
		n += d->item[i].moved;
	return n;
}

/* No more moves than the order asks for, by the quadratic textbook. */
static bool moves_are_least(const struct arraydiff *d)
{
	uint32_t best[256], longest = 0, kept = 0;
	for (uint32_t i = 0; i < d->count; i++) {
		if (!d->item[i].old)
			continue;
		kept++;
		best[i] = 1;
		for (uint32_t j = 0; j < i; j++)
			if (d->item[j].old && d->item[j].old_at < d->item[i].old_at &&
			    best[j] >= best[i])
				best[i] = best[j] + 1;
		longest = best[i] > longest ? best[i] : longest;
	}
	return moved(d) == kept - longest;
}

static void random_value(struct prng *r, struct buf *b, unsigned depth)
{
	static const char *const scalar[] = { "null", "true", "false", "1", "1.0", "2", "\"a\"",
					      "\"some words\"", "\"some more words\"", "\"\"" };
	static const char *const name[] = { "id", "name", "x", "y", "key" };
	uint64_t n = prng_below(r, 4);
	if (depth == 0 || prng_chance(r, 50)) {
		buf_puts(b, scalar[prng_below(r, sizeof(scalar) / sizeof(*scalar))]);
	} else if (prng_chance(r, 30)) {
		buf_puts(b, "[");
		for (uint64_t i = 0; i < n; i++) {
			buf_puts(b, i ? "," : "");
			random_value(r, b, depth - 1);
		}
		buf_puts(b, "]");
	} else {
		uint64_t first = prng_below(r, 5);
		buf_puts(b, "{");
		for (uint64_t i = 0; i < n; i++) {
			buf_putf(b, "%s\"%s\":", i ? "," : "", name[(first + i) % 5]);
			random_value(r, b, depth - 1);
		}
		buf_puts(b, "}");
	}
}

struct list {
	struct buf element[256];
	unsigned n;
};

static void list_done(struct list *l)
{
	for (unsigned i = 0; i < 256; i++)
		buf_done(&l->element[i]);
}

static void join(const struct list *l, const unsigned *order, unsigned n, struct buf *out)
{
	buf_puts(out, "[");
	for (unsigned i = 0; i < n; i++) {
		buf_puts(out, i ? "," : "");
		buf_put(out, l->element[order[i]].data, l->element[order[i]].len);
	}
	buf_puts(out, "]");
}

/* Two random selections of the same elements, in orders that differ a little or a lot. */
static bool random_pair(struct prng *r)
{
	static const char *const keys[] = { NULL, "id", "x" };
	_cleanup_(list_done) struct list l = { .n = 1 + (unsigned)prng_below(r, 40) };
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	struct arena a = { 0 };
	unsigned order[2][128], n[2] = { 0 };
	bool with_ids = prng_chance(r, 30);
	for (unsigned i = 0; i < l.n; i++) {
		if (with_ids)
			buf_putf(&l.element[i], "{\"id\":%u,\"v\":", i);
		random_value(r, &l.element[i], 3);
		if (with_ids)
			buf_puts(&l.element[i], "}");
	}
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned i = 0; i < l.n; i++)
			if (prng_chance(r, 85))
				order[side][n[side]++] = i;
		for (uint64_t k = prng_below(r, prng_chance(r, 50) ? 2 : 20); k > 0 && n[side] > 1;
		     k--) {
			uint64_t i = prng_below(r, n[side]), j = prng_below(r, n[side]);
			unsigned swap = order[side][i];
			order[side][i] = order[side][j];
			order[side][j] = swap;
		}
	}
	join(&l, order[0], n[0], &x);
	join(&l, order[1], n[1], &y);
	const char *key = keys[prng_below(r, 3)];
	struct json *old = parsed(&a, buf_cstr(&x)), *new = parsed(&a, buf_cstr(&y));
	struct arraydiff d, again;
	bool good = arraydiff(&a, old, new, key, key ? strlen(key) : 0, &d) == 0 &&
		    arraydiff(&a, old, new, key, key ? strlen(key) : 0, &again) == 0 &&
		    sound(old, new, &d) && moves_are_least(&d) && d.count == again.count &&
		    memcmp(d.item, again.item, d.count * sizeof(*d.item)) == 0;
	if (with_ids && !key)
		for (uint32_t i = 0; i < d.count && good; i++)
			good = !d.item[i].changed;
	if (!good)
		tap_diag("%s\n%s", buf_cstr(&x), buf_cstr(&y));
	arena_done(&a);
	return good;
}

static void random_pairs(struct prng *r, uint64_t rounds)
{
	bool good = true;
	for (uint64_t k = 0; k < rounds && good; k++)
		good = random_pair(r);
	ok(good,
	   "%" PRIu64
	   " random pairs: each element is accounted for, no move too many, the same again",
	   rounds);
}

/* Equal values in other words and orders. */
static void hashes(struct prng *r, uint64_t rounds)
{
	bool good = true;
	uint64_t equal = 0;
	for (uint64_t k = 0; k < rounds && good; k++) {
		_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
		struct arena a = { 0 };
		random_value(r, &x, 2);
		random_value(r, &y, 2);
		const struct json *u = parsed(&a, buf_cstr(&x));
		const struct json *v = parsed(&a, buf_cstr(&y));
		equal += json_equal(u, v);
		good = json_equal(u, v) == (json_hash(u) == json_hash(v));
		if (!good)
			tap_diag("%s and %s", buf_cstr(&x), buf_cstr(&y));
		arena_done(&a);
	}
	ok(good && equal > 0,
	   "%" PRIu64 " pairs of values: the hash tells what is equal (%" PRIu64 ")", rounds,
	   equal);
}

/* --- long arrays ----------------------------------------------------------------------------- */

#define LONG 100000u

struct pair {
	struct arena a;
	struct buf text[2];
	struct json *j[2];
	struct arraydiff d;
};

static void pair_done(struct pair *p)
{
	buf_done(&p->text[0]);
	buf_done(&p->text[1]);
	arena_done(&p->a);
}

/* Ends both texts, compares; true: sound. */
static bool pair_run(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		/* In place of the last comma. */
		p->text[i].data[p->text[i].len - 1] = ']';
		p->j[i] = parsed(&p->a, buf_cstr(&p->text[i]));
	}
	return arraydiff(&p->a, p->j[0], p->j[1], NULL, 0, &p->d) == 0 &&
	       sound(p->j[0], p->j[1], &p->d);
}

static void element(struct buf *b, const char *kind, uint64_t i)
{
	buf_puts(b, b->len == 0 ? "[" : "");
	if (kind[0] == 'k')
		buf_putf(b, "{\"id\":%" PRIu64 ",\"v\":%" PRIu64 "},", i, i % 7);
	else if (kind[0] == 'o')
		buf_putf(b, "{\"v\":%" PRIu64 ",\"w\":\"same\",\"x\":null},", i);
	else
		buf_putf(b, "\"%" PRIu64 "\",", i);
}

static void in_the_middle(const char *kind, const char *name)
{
	_cleanup_(pair_done) struct pair p = { 0 };
	for (uint64_t i = 0; i < LONG; i++) {
		element(&p.text[0], kind, i);
		if (i == LONG / 3)
			element(&p.text[1], kind, LONG + 1);
		if (i != LONG / 2)
			element(&p.text[1], kind, i);
	}
	bool good = pair_run(&p);
	uint32_t put_in = 0, changed = 0;
	for (uint32_t i = 0; i < p.d.count; i++) {
		put_in += !p.d.item[i].old;
		changed += p.d.item[i].changed;
	}
	ok(good && put_in == 1 && !p.d.item[LONG / 3].old && changed == 0 && moved(&p.d) == 0 &&
		   p.d.removed_count == 1 && p.d.removed[0] == LONG / 2,
	   "an insertion and a removal in the middle of %u %s", LONG, name);
}

static void adversary(struct pair *p, const char *name)
{
	bool good = pair_run(p);
	tap_diag("%s: %.1f steps for each element, %u removed, %u moved", name,
		 (double)p->d.steps / (p->j[0]->count + p->j[1]->count), p->d.removed_count,
		 moved(&p->d));
	ok(good, "%s: sound, bounded", name);
	pair_done(p);
	*p = (struct pair){ 0 };
}

static void adversaries(struct prng *r)
{
	_cleanup_(pair_done) struct pair p = { 0 };
	for (uint64_t i = 0; i < LONG; i++) {
		element(&p.text[0], "key", i);
		element(&p.text[1], "key", LONG - 1 - i);
	}
	adversary(&p, "ids in reverse");
	for (uint64_t i = 0; i < LONG; i++) {
		element(&p.text[0], "string", i);
		element(&p.text[1], "string", LONG - 1 - i);
	}
	adversary(&p, "strings in reverse");
	for (uint64_t i = 0; i < LONG; i++) {
		element(&p.text[0], "object", i);
		element(&p.text[1], "object", LONG + i);
	}
	adversary(&p, "objects that are all a little similar");
	for (uint64_t i = 0; i < LONG; i++) {
		element(&p.text[0], "string", prng_below(r, 3));
		element(&p.text[1], "string", prng_below(r, 3));
	}
	adversary(&p, "three strings in random order");
	for (uint64_t i = 0; i < LONG; i++) {
		element(&p.text[0], "object", prng_below(r, LONG));
		element(&p.text[1], "object", prng_below(r, LONG));
	}
	adversary(&p, "random objects");
	for (uint64_t i = 0; i < LONG; i++) {
		/* A match after every 31: the largest hunks that are compared each with each. */
		element(&p.text[0], "object", i);
		element(&p.text[1], "object", i % 32 ? LONG + i : i);
	}
	adversary(&p, "many hunks of similar objects");
}

static void reordered(struct prng *r)
{
	enum { N = 200 };
	_cleanup_(pair_done) struct pair p = { 0 };
	uint64_t order[N];
	for (uint64_t i = 0; i < N; i++) {
		uint64_t j = prng_below(r, i + 1);
		order[i] = order[j];
		order[j] = i;
		element(&p.text[0], "key", i);
	}
	for (uint64_t i = 0; i < N; i++)
		element(&p.text[1], "key", order[i]);
	bool good = pair_run(&p);
	for (uint32_t i = 0; i < N && good; i++)
		good = p.d.item[i].old_at == order[i] && !p.d.item[i].changed;
	ok(good && p.d.removed_count == 0 && moves_are_least(&p.d),
	   "%d elements with ids in another order: moves and nothing else", N);
}

int main(int argc, char **argv)
{
	tap_plan(52);
	struct prng r = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 4000);
	by_key();
	by_declared_key();
	by_value();
	by_similarity();
	numbers();
	hashes(&r, rounds);
	random_pairs(&r, rounds);
	reordered(&r);
	in_the_middle("key", "objects with ids");
	in_the_middle("object", "objects without");
	in_the_middle("string", "strings");
	adversaries(&r);
	return tap_done();
}
