/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two sets are compared until each side knows which of its items the other one lacks: random and
 * hostile sets against the plain difference, what it costs, and what a peer may not say. */
#include <errno.h>
#include <stdlib.h>

#include "engine/reconcile.h"
#include "tests/prng.h"
#include "tests/tap.h"

struct side {
	struct reconcile_item *item;
	size_t n, cap;
	struct reconcile_array array;
	struct id *found;
	size_t n_found, cap_found;
	struct reconcile *r;
};

static void side_add(struct side *s, const struct reconcile_item *x)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->item = realloc(s->item, s->cap * sizeof(*s->item));
		if (!s->item)
			tap_bail("no memory");
	}
	s->item[s->n++] = *x;
}

static int item_cmp(const void *a, const void *b)
{
	const struct reconcile_item *x = a, *y = b;
	return id_cmp(&x->id, &y->id);
}

static int id_order(const void *a, const void *b)
{
	return id_cmp(a, b);
}

/* Sorted, and each id once. */
static void side_sort(struct side *s)
{
	size_t n = 0;
	if (s->n > 0)
		qsort(s->item, s->n, sizeof(*s->item), item_cmp);
	for (size_t i = 0; i < s->n; i++)
		if (n == 0 || !id_equal(&s->item[n - 1].id, &s->item[i].id))
			s->item[n++] = s->item[i];
	s->n = n;
	s->array = (struct reconcile_array){ s->item, s->n };
}

static int side_found(const struct reconcile_item *x, void *userdata)
{
	struct side *s = userdata;
	if (s->n_found == s->cap_found) {
		s->cap_found = s->cap_found ? 2 * s->cap_found : 64;
		s->found = realloc(s->found, s->cap_found * sizeof(*s->found));
		if (!s->found)
			tap_bail("no memory");
	}
	s->found[s->n_found++] = x->id;
	return 0;
}

static void side_done(struct side *s)
{
	reconcile_free(s->r);
	free(s->item);
	free(s->found);
}

struct cost {
	size_t bytes, frames, messages, largest;
};

/* A message is what one side says until it has nothing to say. */
static int talk(struct side *a, struct side *b, uint64_t pass, struct cost *cost)
{
	struct side *side[2] = { a, b };
	for (int i = 0; i < 2; i++) {
		struct reconcile_source source = reconcile_array(&side[i]->array);
		reconcile_free(side[i]->r);
		side[i]->n_found = 0;
		side[i]->r = NULL;
		if (reconcile_new(&source, side_found, side[i], &side[i]->r) < 0)
			return -ENOMEM;
	}
	int err = reconcile_begin(a->r, pass);
	*cost = (struct cost){ 0 };
	for (int turn = 0; !err; turn = !turn) {
		_cleanup_(buf_done) struct buf frame = { 0 };
		bool spoke = false;
		while ((err = reconcile_next(side[turn]->r, &frame)) > 0) {
			spoke = true;
			cost->bytes += frame.len;
			cost->frames++;
			if (frame.len > cost->largest)
				cost->largest = frame.len;
			struct err e = { 0 };
			err = reconcile_take(side[!turn]->r, frame.data, frame.len, &e);
			if (err) {
				tap_diag("%s", e.message);
				return err;
			}
			buf_reset(&frame);
		}
		if (err < 0 || !spoke)
			break;
		if (++cost->messages > 1000)
			return -ELOOP;
	}
	if (!err && (!reconcile_done(a->r) || !reconcile_done(b->r)))
		err = -EINPROGRESS;
	return err;
}

/* Of x's items those that y does not have as they are. */
static bool found_right(struct side *x, const struct side *y)
{
	if (x->n_found > 0)
		qsort(x->found, x->n_found, sizeof(*x->found), id_order);
	size_t k = 0;
	for (size_t i = 0, j = 0; i < x->n; i++) {
		while (j < y->n && id_cmp(&y->item[j].id, &x->item[i].id) < 0)
			j++;
		if (j < y->n && memcmp(&y->item[j], &x->item[i], sizeof(x->item[i])) == 0)
			continue;
		if (k == x->n_found || !id_equal(&x->found[k], &x->item[i].id)) {
			tap_diag("item %zu of %zu was not told, or others were", i, x->n);
			return false;
		}
		k++;
	}
	return k == x->n_found;
}

/* An item as shape has it: 0 anywhere, else ids that share many bits. */
static struct reconcile_item random_item(struct prng *r, unsigned shape)
{
	struct reconcile_item x;
	prng_fill(r, &x, sizeof(x));
	if (shape == 1) /* one after the other: they differ in the last two bytes */
		memset(x.id.b, 0x5a, ID_SIZE - 2);
	if (shape == 2) { /* one bit each, beside zeros */
		memset(x.id.b, 0, ID_SIZE);
		uint64_t bit = prng_below(r, 128), other = prng_below(r, 128);
		x.id.b[bit / 8] |= (uint8_t)(1 << bit % 8);
		x.id.b[other / 8] |= (uint8_t)(1 << other % 8);
	}
	if (shape == 3) /* half of them in one range of twelve bits */
		if (prng_chance(r, 50)) {
			x.id.b[0] = 0xff;
			x.id.b[1] |= 0xf0;
		}
	return x;
}

static bool random_sets(struct prng *r)
{
	_cleanup_(side_done) struct side a = { 0 };
	_cleanup_(side_done) struct side b = { 0 };
	static const size_t most[] = { 3, 40, 400, 4000 };
	unsigned shape = (unsigned)prng_below(r, 4);
	size_t n = prng_below(r, most[prng_below(r, 4)] + 1);
	static const unsigned few[] = { 0, 1, 10, 50, 100 };
	unsigned lacks = few[prng_below(r, 5)], changed = few[prng_below(r, 5)];
	for (size_t i = 0; i < n; i++) {
		struct reconcile_item x = random_item(r, shape);
		uint64_t to = prng_chance(r, lacks) ? prng_below(r, 2) + 1 : 3;
		if (to & 1)
			side_add(&a, &x);
		if (prng_chance(r, changed))
			prng_fill(r, &x.hash, sizeof(x.hash));
		if (to & 2)
			side_add(&b, &x);
	}
	side_sort(&a);
	side_sort(&b);
	struct cost cost;
	int err = talk(&a, &b, prng_below(r, 3), &cost);
	if (err) {
		tap_diag("%zu and %zu items of shape %u: %d", a.n, b.n, shape, err);
		return false;
	}
	if (cost.largest > RECONCILE_FRAME_MAX || cost.messages > 50) {
		tap_diag("%zu and %zu items of shape %u: %zu messages", a.n, b.n, shape, cost.messages);
		return false;
	}
	return found_right(&a, &b) && found_right(&b, &a);
}

static void some(struct side *a, struct side *b, struct prng *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct reconcile_item x = random_item(r, 0);
		side_add(a, &x);
		side_add(b, &x);
	}
}

static void test_cost(struct prng *r)
{
	_cleanup_(side_done) struct side a = { 0 };
	_cleanup_(side_done) struct side b = { 0 };
	struct cost cost;
	some(&a, &b, r, 100000);
	side_sort(&a);
	side_sort(&b);
	is_int(talk(&a, &b, 0, &cost), 0, "100,000 equal items are compared");
	ok(a.n_found == 0 && b.n_found == 0 && reconcile_sure(a.r) && reconcile_sure(b.r) &&
		   cost.messages == 2 && cost.bytes <= 24,
	   "... in %zu messages of together %zu bytes", cost.messages, cost.bytes);
	for (size_t i = 0; i < 100; i++)
		prng_fill(r, &b.item[prng_below(r, b.n)].hash, ID_SIZE);
	is_int(talk(&a, &b, 0, &cost), 0, "100 of them differ");
	ok(found_right(&a, &b) && found_right(&b, &a) && !reconcile_sure(a.r) && !reconcile_sure(b.r),
	   "... and are found");
	ok(cost.bytes <= 40000 && cost.messages <= 8, "... with %zu bytes in %zu messages", cost.bytes,
	   cost.messages);
	for (size_t i = 0; i < b.n; i++)
		b.item[i].hash.b[0] ^= 1;
	is_int(talk(&a, &b, 0, &cost), 0, "all of them differ");
	ok(a.n_found == a.n && b.n_found == b.n && cost.messages <= 8 && cost.largest <= RECONCILE_FRAME_MAX,
	   "... and are found: %zu bytes in %zu messages, %zu frames", cost.bytes, cost.messages,
	   cost.frames);
	b.n = 0;
	side_sort(&b);
	is_int(talk(&b, &a, 0, &cost), 0, "one side has nothing");
	ok(a.n_found == a.n && b.n_found == 0 && cost.bytes < 40 && reconcile_sure(a.r) && reconcile_sure(b.r),
	   "... and the other finds all of its items, with %zu bytes", cost.bytes);
	is_int(talk(&a, &b, 0, &cost), 0, "the other one begins");
	ok(a.n_found == a.n && b.n_found == 0 && cost.bytes < 40 && reconcile_sure(a.r),
	   "... to the same end, with %zu bytes", cost.bytes);
	struct reconcile_item x = a.item[500];
	side_add(&b, &x);
	side_sort(&b);
	is_int(talk(&a, &b, 0, &cost), 0, "one side has a single item");
	ok(a.n_found == a.n - 1 && b.n_found == 0 && cost.bytes < 100000, "... which the other one has too");
}

/* Sums are what they are in any order, and come apart again. */
static bool sums_hold(struct prng *r)
{
	struct reconcile_item x[20];
	struct reconcile_sum all = { 0 }, back = { 0 }, half[2] = { { 0 } };
	for (size_t i = 0; i < 20; i++) {
		x[i] = random_item(r, 0);
		reconcile_add(&all, &x[i]);
		reconcile_add(&half[i % 2], &x[i]);
	}
	for (size_t i = 20; i-- > 0;)
		reconcile_add(&back, &x[i]);
	reconcile_join(&half[0], &half[1]);
	if (!reconcile_equal(&all, &back) || !reconcile_equal(&all, &half[0]))
		return false;
	for (size_t i = 0; i < 20; i += 2)
		reconcile_remove(&all, &x[i]);
	if (!reconcile_equal(&all, &half[1]))
		return false;
	for (size_t i = 1; i < 20; i += 2)
		reconcile_remove(&all, &x[i]);
	return reconcile_equal(&all, &(struct reconcile_sum){ 0 });
}

static void test_refused(struct prng *r)
{
	_cleanup_(side_done) struct side a = { 0 };
	_cleanup_(side_done) struct side b = { 0 };
	some(&a, &b, r, 1000);
	side_sort(&a);
	side_sort(&b);
	struct reconcile_source source = reconcile_array(&a.array);
	static const struct {
		const char *what, *hex;
		bool begins;
	} bad[] = {
		{ "nothing", "", false },
		{ "a pass without a sum", "00", false },
		{ "a sum that is cut off", "00010011", false },
		{ "a pass that is written too long", "800000", false },
		{ "an answer to nothing", "000000", false },
		{ "an answer with bits for ranges that are not there", "02", true },
		{ "a form that is none", "0109", true },
		{ "more bits than a range may be divided by", "0107", true },
		{ "a range of nothing, divided", "01010000", true },
		{ "an empty list", "010700", true },
		{ "a list that is too long", "0107814000", true },
		{ "a list that is not sorted", "01070200000000020000000001", true },
		{ "a list that is cut off", "0107020000000002", true },
		{ "bytes behind the end", "0000", true },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		_cleanup_(reconcile_freep) struct reconcile *x = NULL;
		_cleanup_(buf_done) struct buf out = { 0 };
		uint8_t bytes[64];
		size_t n = strlen(bad[i].hex) / 2;
		for (size_t k = 0; k < n; k++) {
			char two[3] = { bad[i].hex[2 * k], bad[i].hex[2 * k + 1], 0 };
			bytes[k] = (uint8_t)strtoul(two, NULL, 16);
		}
		struct err e = { 0 };
		int err = reconcile_new(&source, side_found, &a, &x);
		if (!err && bad[i].begins) {
			err = reconcile_begin(x, 0);
			if (!err && reconcile_next(x, &out) != 1)
				err = -EINVAL;
		}
		is_errno(err ? err : reconcile_take(x, bytes, n, &e), -EPROTO, "refused: %s", bad[i].what);
	}
}

/* What a peer says at random, for whatever it is asked: it ends. */
static bool noise_ends(struct prng *r)
{
	_cleanup_(side_done) struct side a = { 0 };
	_cleanup_(side_done) struct side b = { 0 };
	some(&a, &b, r, 3000);
	side_sort(&a);
	struct reconcile_source source = reconcile_array(&a.array);
	_cleanup_(reconcile_freep) struct reconcile *x = NULL;
	if (reconcile_new(&source, side_found, &a, &x) < 0 || reconcile_begin(x, 0) < 0)
		return false;
	for (unsigned turn = 0; turn < 100000; turn++) {
		_cleanup_(buf_done) struct buf out = { 0 };
		int err = reconcile_next(x, &out);
		if (err < 0 || out.len > RECONCILE_FRAME_MAX)
			return false;
		if (reconcile_done(x))
			return true;
		uint8_t byte = (uint8_t)prng_u64(r);
		err = reconcile_take(x, &byte, 1, NULL);
		if (err == -EPROTO)
			return true;
		if (err)
			return false;
	}
	return false;
}

int main(int argc, char **argv)
{
	tap_plan(13 + 14 + 4);
	uint64_t seed = tap_seed(argc, argv);
	struct prng r = { seed };
	uint64_t rounds = tap_rounds(argc, argv, 1000);
	test_cost(&r);
	test_refused(&r);
	bool right = true;
	for (uint64_t i = 0; i < 100 && right; i++)
		right = sums_hold(&r);
	ok(right, "sums do not depend on the order, and items come out of them again");
	for (uint64_t i = 0; i < rounds && right; i++)
		right = random_sets(&r);
	ok(right, "%llu pairs of random sets: each side finds what the other lacks", (unsigned long long)rounds);
	for (uint64_t i = 0; i < 200 && right; i++)
		right = noise_ends(&r);
	ok(right, "who hears noise ends or refuses it");
	struct id x = { { 0xab, 0xcd } }, child;
	reconcile_child(&(struct id){ { 0xa0 } }, 4, 6, 0x2f, &child);
	ok(reconcile_which(&x, 4, 6) == 0x2f && child.b[0] == 0xab && child.b[1] == 0xc0 &&
		   reconcile_in(&x, &child, 10) && !reconcile_in(&(struct id){ { 0xab, 0x8d } }, &child, 10),
	   "ranges are bits of ids");
	return tap_done();
}
