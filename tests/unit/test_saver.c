/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one daemon hands over to the next: numbers of what is open, versions, files that are written. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/saver.h"
#include "fusefs/slots.h"
#include "fusefs/workfile.h"
#include "tests/prng.h"
#include "tests/replicas.h"
#include "tests/tap.h"

#define BIG (300u * 1024)

static const uint64_t seed = 5;

static void test_slots(void)
{
	enum { N = 5000 };
	struct slots s;
	static char thing[N];
	static uint64_t number[N];
	bool good = true;
	slots_init(&s);
	good = good && !slots_get(&s, 0) && !slots_get(&s, 1) && !slots_get(&s, UINT64_MAX);
	for (unsigned k = 0; k < N; k++)
		number[k] = slots_add(&s, &thing[k]);
	for (unsigned k = 0; k < N; k++)
		good = good && number[k] && slots_get(&s, number[k]) == &thing[k];
	ok(good, "each number stands for what got it");
	for (unsigned k = 0; k < N; k += 2)
		slots_remove(&s, number[k]);
	uint64_t n = 0;
	for (uint64_t at = slots_next(&s, 1); at; at = slots_next(&s, at + 1))
		n++;
	is_uint(n, N / 2, "what is removed is not found again");
	uint64_t again = slots_add(&s, &thing[0]);
	ok(again && again <= N && slots_get(&s, again) == &thing[0], "its number is used again");
	is_int(slots_put(&s, number[1], &thing[1]), -EBADMSG, "a number is given once");
	is_int(slots_put(&s, 100000, &thing[1]), 0, "a number from before");
	ok(slots_get(&s, 100000) == &thing[1], "... stands for the same");
	slots_done(&s);
}

/* ---- versions ---- */

static struct version *make(struct rep *p, const char *name, const void *data, size_t len,
			    struct id *ret)
{
	const struct content c = { data, len, -1 };
	struct version *v = NULL;
	struct attr at;
	if (replica_create(p->r, &NODE_ROOT, name, strlen(name), 0644, &c, SAVE_BY_NAME, 0, &at, &v,
			   NULL) < 0)
		tap_bail("cannot make %s", name);
	*ret = at.id;
	return v;
}

static void save_over(struct rep *p, const struct id *id, const void *data, size_t len)
{
	const struct content c = { data, len, -1 };
	_cleanup_(version_unrefp) struct version *base = NULL;
	if (replica_read(p->r, id, &base) < 0 ||
	    replica_save(p->r, id, base, &c, SAVE_BY_NAME, NULL, NULL) < 0)
		tap_bail("cannot save");
}

static bool shows(struct version *v, const void *data, size_t len)
{
	_cleanup_free_ uint8_t *room = malloc(len + 1);
	if (!v || !room || version_size(v) != len)
		return false;
	for (size_t done = 0; done < len;) {
		ssize_t n = version_pread(v, room + done, len - done, done);
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return memcmp(room, data, len) == 0;
}

/* Of a document, a text and a blob the version before, and the newest one of the first. */
static void test_versions(void)
{
	static const char *const name[] = { "a.json", "b.txt", "c.bin" };
	static const char *const old[] = { "{\"n\":[1]}\n", "one\ntwo\n", NULL };
	static const char *const new[] = { "{\"n\":[1,2]}\n", "one\ntwo\nthree\n", "small\0" };
	struct rep p;
	struct id id[3];
	struct version *v[3], *again[3], *newest = NULL, *same = NULL, *now = NULL;
	_cleanup_(buf_done) struct buf out = { 0 };
	_cleanup_free_ uint8_t *big = malloc(BIG);
	struct prng r = { seed };
	prng_fill(&r, big, BIG);
	rep_open(&p, NULL, 0, seed);
	for (unsigned k = 0; k < 3; k++) {
		v[k] = make(&p, name[k], old[k] ? (const void *)old[k] : big,
			    old[k] ? strlen(old[k]) : BIG, &id[k]);
		save_over(&p, &id[k], new[k], strlen(new[k]));
	}
	replica_read(p.r, &id[0], &newest);
	struct saver s = { .out = &out, .replica = p.r };
	for (unsigned k = 0; k < 3; k++)
		save_version(&s, v[k]);
	size_t once = out.len;
	save_version(&s, v[0]);
	save_version(&s, NULL);
	ok(out.len - once == 16 && s.error == 0, "a version is saved once");
	save_version(&s, newest);
	saver_done(&s);
	for (unsigned k = 0; k < 3; k++)
		version_unref(v[k]);
	version_unref(newest);
	rep_stop(&p);
	rep_start(&p);

	struct loader l = { .in = cursor_make(out.data, out.len), .replica = p.r };
	for (unsigned k = 0; k < 3; k++) {
		again[k] = load_version(&l);
		ok(shows(again[k], old[k] ? (const void *)old[k] : big, old[k] ? strlen(old[k]) : BIG),
		   "%s as it was", name[k]);
	}
	same = load_version(&l);
	ok(same == again[0], "one version is one again");
	ok(!load_version(&l) && load_ok(&l), "none is none");
	newest = load_version(&l);
	ok(load_ok(&l) && cursor_end(&l.in) && replica_read(p.r, &id[0], &now) == 0 && now == newest,
	   "the newest one is the record's own");
	/* What was read before is a base still. */
	const struct content c = { "{\"n\":[1],\"m\":0}\n", 16, -1 };
	struct version *merged = NULL;
	is_int(replica_save(p.r, &id[0], again[0], &c, SAVE_BY_NAME, &merged, NULL), 0, "a save");
	ok(shows(merged, "{\"n\":[1,2],\"m\":0}\n", 18), "... is its difference to what was read");
	version_unref(merged);
	version_unref(same);
	version_unref(newest);
	version_unref(now);
	for (unsigned k = 0; k < 3; k++)
		version_unref(again[k]);
	loader_done(&l);

	/* Wherever it ends too soon, that is said. */
	unsigned bad = 0;
	for (size_t len = 0; len < out.len; len += 1 + out.len / 300) {
		struct loader less = { .in = cursor_make(out.data, len), .replica = p.r };
		for (unsigned k = 0; k < 6; k++) {
			struct version *x = load_version(&less);
			if (x)
				version_unref(x);
		}
		bad += load_ok(&less);
		loader_done(&less);
	}
	is_uint(bad, 0, "what is cut off is refused");
	rep_close(&p);
}

/* ---- files that are written ---- */

/* The old one is not used any more, as after execve(2). */
static struct workfile *handed_over(struct rep *p, int dir, struct workfile *w)
{
	_cleanup_(buf_done) struct buf out = { 0 };
	struct saver s = { .out = &out, .replica = p->r };
	workfile_save(&s, w);
	saver_done(&s);
	struct loader l = { .in = cursor_make(out.data, out.len), .replica = p->r };
	struct workfile *again = workfile_load(&l, dir);
	if (!again || !load_ok(&l) || !cursor_end(&l.in))
		tap_bail("a workfile cannot be loaded");
	loader_done(&l);
	return again;
}

static void test_workfiles(int dir)
{
	struct rep p;
	struct id id;
	struct prng r = { seed };
	_cleanup_free_ uint8_t *big = malloc(2 * BIG), *room = malloc(2 * BIG);
	prng_fill(&r, big, 2 * BIG);
	rep_open(&p, NULL, 0, seed);
	_cleanup_(version_unrefp) struct version *v = make(&p, "c.bin", big, BIG, &id);
	struct workfile *w = NULL, *again;

	workfile_new(dir, &w);
	workfile_pwrite(w, "hello", 5, 0);
	again = handed_over(&p, dir, w);
	workfile_free(w);
	ok(workfile_pread(again, room, BIG, 0) == 5 && memcmp(room, "hello", 5) == 0, "in memory");
	workfile_free(again);

	/* Written over in two places and made longer. */
	workfile_from(dir, v, &w);
	memset(big + 1000, 'x', 20);
	workfile_pwrite(w, big + 1000, 20, 1000);
	workfile_pwrite(w, big + BIG - 100, 10000, BIG - 100);
	again = handed_over(&p, dir, w);
	memset(big + 200000, 'y', 7);
	bool good = workfile_pwrite(again, big + 200000, 7, 200000) == 0 &&
		    workfile_size(again) == BIG + 9900 &&
		    workfile_pread(again, room, BIG + 9900, 0) == BIG + 9900 &&
		    memcmp(room, big, BIG + 9900) == 0;
	ok(good, "over a version");
	workfile_free(again);
	/* Its descriptor was the same one. */
	workfile_free(w);
	rep_close(&p);
}

int main(void)
{
	tap_plan(18);
	int dir = open(tap_tmpdir(), O_DIRECTORY | O_RDONLY);
	test_slots();
	test_versions();
	test_workfiles(dir);
	close(dir);
	return tap_done();
}
