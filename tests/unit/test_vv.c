/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Actors, dots, version vectors and how they are encoded. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "engine/vv.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define ACTORS 12

static struct actor_id actor(uint64_t n)
{
	struct actor_id a = { .incarnation = (uint32_t)(n % 3) };
	struct prng r = { n / 3 };
	prng_fill(&r, a.device.b, ID_SIZE);
	return a;
}

static void random_vv(struct prng *r, struct vv *v, uint64_t bound)
{
	for (uint64_t n = prng_below(r, 6); n > 0; n--)
		vv_raise(v, (uint32_t)prng_below(r, ACTORS), 1 + prng_below(r, bound));
}

static void test_actors(void)
{
	struct actors *a;
	uint32_t no, again;
	bool good = true;
	actors_new(&a);
	const struct actor_id *first = NULL;
	for (uint32_t i = 0; i < 5000; i++) {
		struct actor_id id = actor(i);
		good = good && actors_find(a, &id) == ACTOR_NONE;
		good = good && actors_intern(a, &id, &no) == 0 && no == i;
		good = good && actors_intern(a, &id, &again) == 0 && again == no;
		if (i == 0)
			first = actors_get(a, 0);
	}
	ok(good, "actors are numbered in the order of first sight");
	ok(first == actors_get(a, 0) && actors_count(a) == 5000, "and their identifiers stay put");
	struct actor_id x = actor(1), y = actor(2);
	ok(actors_cmp(a, 1, 2) == -1 && actor_id_cmp(&x, &y) < 0 && actors_cmp(a, 2, 2) == 0,
	   "the incarnation breaks ties");
	good = true;
	for (uint32_t i = 5000; i < ACTORS_MAX; i++) {
		x = actor(i);
		good = good && actors_intern(a, &x, &no) == 0;
	}
	x = actor(ACTORS_MAX);
	ok(good && actors_intern(a, &x, &no) == -E2BIG, "a full table takes no more");
	actors_free(a);
}

static void *intern_all(void *arg)
{
	struct actors *a = arg;
	for (uint32_t i = 0; i < 3000; i++) {
		struct actor_id id = actor(i);
		uint32_t no;
		if (actors_intern(a, &id, &no) < 0 || actor_id_cmp(actors_get(a, no), &id) != 0)
			return arg;
	}
	return NULL;
}

static void test_threads(void)
{
	struct actors *a;
	pthread_t t[4];
	bool good = true;
	actors_new(&a);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, intern_all, a);
	for (int i = 0; i < 4; i++) {
		void *bad;
		pthread_join(t[i], &bad);
		good = good && !bad;
	}
	ok(good && actors_count(a) == 3000, "four threads number the same actors once");
	actors_free(a);
}

static void test_laws(uint64_t seed, struct actors *actors)
{
	struct prng r = { seed };
	bool join = true, covers = true, print = true, arena = true;
	struct arena mem = { 0 };
	for (int i = 0; i < 5000; i++) {
		struct vv x = { 0 }, y = { 0 }, xy = { 0 }, yx = { 0 }, m;
		struct id p, q;
		random_vv(&r, &x, 3);
		random_vv(&r, &y, 3);
		vv_copy(&x, &xy);
		vv_copy(&y, &yx);
		vv_join(&xy, &y);
		vv_join(&yx, &x);
		join = join && vv_equal(&xy, &yx) && vv_covers(&xy, &x) && vv_covers(&xy, &y);
		covers = covers && vv_covers(&x, &y) == vv_equal(&xy, &x);
		for (uint32_t k = 0; k < ACTORS; k++) {
			uint64_t a = vv_get(&x, k), b = vv_get(&y, k);
			join = join && vv_get(&xy, k) == (a > b ? a : b);
			covers = covers && vv_has(&x, (struct dot){ k, a }) &&
				 !vv_has(&x, (struct dot){ k, a + 1 });
		}
		vv_fingerprint(&x, actors, &p);
		vv_fingerprint(&y, actors, &q);
		print = print && id_equal(&p, &q) == vv_equal(&x, &y);
		arena = arena && vv_arena_join(&mem, &x, &y, &m) == 0 && vv_equal(&m, &xy);
		arena = arena && vv_arena_raise(&mem, &x, (struct dot){ 3, 2 }, &m) == 0 &&
			vv_get(&m, 3) == (vv_get(&x, 3) > 2 ? vv_get(&x, 3) : 2);
		vv_done(&x);
		vv_done(&y);
		vv_done(&xy);
		vv_done(&yx);
	}
	arena_done(&mem);
	ok(join, "join is the pointwise maximum");
	ok(covers, "covering is the order of that lattice");
	ok(print, "fingerprints are equal for equal vectors only");
	ok(arena, "joins in an arena are the same");
}

/* Both tables number the same actors in opposite orders. */
static void test_codec(uint64_t seed, struct actors *actors)
{
	struct prng r = { seed };
	struct actors *other;
	struct actor_codec *out, *in;
	bool good = true, prints = true;
	size_t later = 0;
	actors_new(&other);
	for (uint64_t i = ACTORS; i > 0; i--) {
		struct actor_id id = actor(i - 1);
		uint32_t no;
		actors_intern(other, &id, &no);
	}
	actor_codec_new(actors, &out);
	actor_codec_new(other, &in);
	for (int i = 0; i < 2000; i++) {
		struct vv x = { 0 }, y = { 0 };
		struct buf b = { 0 };
		struct id p, q;
		random_vv(&r, &x, 1000);
		vv_encode(&x, actors, out, &b);
		struct cursor c = cursor_make(b.data, b.len);
		good = good && vv_decode(&c, other, in, &y) == 0 && cursor_end(&c);
		vv_fingerprint(&x, actors, &p);
		vv_fingerprint(&y, other, &q);
		prints = prints && id_equal(&p, &q);
		if (i > 500 && b.len > later)
			later = b.len;
		vv_done(&x);
		vv_done(&y);
		buf_done(&b);
	}
	ok(good && prints, "vectors cross a link between tables that number differently");
	ok(later <= 1 + 5 * 3, "an actor costs its identifier once");
	actor_codec_free(out);
	actor_codec_free(in);
	actors_free(other);
}

static void test_strict(struct actors *actors)
{
	static const struct {
		const char *data;
		size_t len;
		int want;
		const char *name;
	} c[] = {
		{ "\x00", 1, 0, "empty" },
		{ "\x02\x01\x05\x02\x07", 5, 0, "in order" },
		{ "\x02\x02\x05\x01\x07", 5, -EBADMSG, "out of order" },
		{ "\x02\x01\x05\x01\x07", 5, -EBADMSG, "an actor twice" },
		{ "\x01\x01\x00", 3, -EBADMSG, "seq 0" },
		{ "\x01\x7f\x01", 3, -EBADMSG, "an unknown actor" },
		{ "\x02\x01\x05", 3, -EBADMSG, "cut off" },
		{ "\xff\xff\xff\xff\x0f\x01\x05", 7, -EBADMSG, "a count beyond the bytes" },
		{ "\x01\x01\x85\x00", 4, -EBADMSG, "a longer varint than needed" },
	};
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		struct vv v = { 0 };
		struct cursor cur = cursor_make(c[i].data, c[i].len);
		is_errno(vv_decode(&cur, actors, NULL, &v), c[i].want, "%s", c[i].name);
		vv_done(&v);
	}
	/* On a link: the first actor must be introduced, and only once. */
	uint8_t twice[2 * 22 + 1] = { 2 };
	struct actor_id id = actor(0);
	for (size_t i = 0; i < 2; i++) {
		uint8_t *p = twice + 1 + 22 * i;
		p[0] = (uint8_t)i;
		memcpy(p + 1, id.device.b, ID_SIZE);
		p[20] = (uint8_t)id.incarnation;
		p[21] = 1;
	}
	struct actor_codec *in;
	struct vv v = { 0 };
	actor_codec_new(actors, &in);
	struct cursor cur = cursor_make(twice, sizeof(twice));
	is_errno(vv_decode(&cur, actors, in, &v), -EBADMSG, "an actor introduced twice");
	actor_codec_free(in);
	actor_codec_new(actors, &in);
	cur = cursor_make("\x01\x01\x05", 3);
	is_errno(vv_decode(&cur, actors, in, &v), -EBADMSG, "an actor never introduced");
	actor_codec_free(in);
}

int main(int argc, char **argv)
{
	struct actors *actors;
	tap_plan(22);
	uint64_t seed = tap_seed(argc, argv);
	actors_new(&actors);
	for (uint64_t i = 0; i < ACTORS; i++) {
		struct actor_id id = actor(i);
		uint32_t no;
		actors_intern(actors, &id, &no);
	}
	test_actors();
	test_threads();
	test_laws(seed, actors);
	test_codec(seed, actors);
	test_strict(actors);
	actors_free(actors);
	return tap_done();
}
