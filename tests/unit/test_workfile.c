/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are being written, in memory and in the spool, against a plain array. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/ranges.h"
#include "fusefs/workfile-ahead.h"
#include "fusefs/workfile.h"
#include "tests/prng.h"
#include "tests/replicas.h"
#include "tests/tap.h"

#define ROOM (3u * 1024 * 1024)

static bool same(struct workfile *w, const uint8_t *model, size_t size, uint8_t *room)
{
	return workfile_size(w) == size && workfile_pread(w, room, ROOM, 0) == (ssize_t)size &&
	       memcmp(room, model, size) == 0;
}

static void test_model(int dir, uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	uint8_t *model = calloc(1, ROOM), *room = malloc(ROOM), *data = malloc(ROOM);
	uint64_t bad = 0;
	for (uint64_t k = 0; k < rounds && model && room && data; k++) {
		_cleanup_(workfile_freep) struct workfile *w = NULL;
		size_t size = 0;
		if (workfile_new(dir, &w) < 0)
			tap_bail("no workfile");
		memset(model, 0, ROOM);
		for (unsigned i = 0; i < 30; i++) {
			size_t at = (size_t)prng_below(&r, prng_below(&r, 4) ? 5000 : ROOM / 2);
			size_t len = (size_t)prng_below(&r, prng_below(&r, 8) ? 3000 : ROOM / 2);
			if (prng_below(&r, 5) == 0) {
				bad += workfile_truncate(w, at) != 0;
				if (at < size)
					memset(model + at, 0, size - at);
				size = at;
			} else {
				memset(data, (int)prng_below(&r, 256), len);
				bad += workfile_pwrite(w, data, len, at) != 0;
				memcpy(model + at, data, len);
				if (len && at + len > size)
					size = at + len;
			}
		}
		bad += !same(w, model, size, room);
		if (bad) {
			tap_diag("round %llu", (unsigned long long)k);
			break;
		}
	}
	ok(bad == 0, "writes, holes and truncations read back");
	free(model);
	free(room);
	free(data);
}

static void test_keep(int dir)
{
	struct workfile *w = NULL;
	char room[64];
	for (unsigned big = 0; big < 2; big++) {
		if (workfile_new(dir, &w) < 0)
			tap_bail("no workfile");
		if (big)
			workfile_truncate(w, 2 * WORKFILE_MEMORY);
		workfile_pwrite(w, "hello", 5, 0);
		is_int(workfile_keep(w, "local-1", true), 0, "kept under a name");
		workfile_pwrite(w, "J", 1, 0);
		is_int(workfile_keep(w, "local-1", false), 0, "and again after a change");
		workfile_free(w);
		is_int(workfile_open(dir, "local-1", &w), 0, "it outlives its workfile");
		ok(workfile_pread(w, room, 5, 0) == 5 && memcmp(room, "Jello", 5) == 0, "whole");
		workfile_unkeep(w);
		workfile_free(w);
		ok(faccessat(dir, "local-1", F_OK, 0) < 0, "until it is not kept any more");
	}
}

static bool ranges_right(const struct ranges *s, const uint8_t *model, size_t n)
{
	uint64_t total = 0;
	for (size_t i = 0; i < n; i++) {
		const struct range *r = ranges_find(s, i);
		bool in = r && r->start <= i;
		total += model[i];
		if (in != model[i] || (r && r->end <= i))
			return false;
	}
	for (size_t i = 1; i < s->n; i++)
		if (s->r[i - 1].end >= s->r[i].start)
			return false;
	return ranges_total(s) == total;
}

static void test_ranges(uint64_t seed)
{
	struct prng r = { seed };
	struct ranges s = { 0 };
	uint8_t model[300] = { 0 };
	bool good = true;
	for (unsigned i = 0; i < 4000 && good; i++) {
		size_t at = (size_t)prng_below(&r, 300), len = (size_t)prng_below(&r, 20);
		if (prng_chance(&r, 5)) {
			ranges_cut(&s, at);
			memset(model + at, 0, 300 - at);
		} else {
			len = at + len > 300 ? 300 - at : len;
			good = ranges_add(&s, at, at + len) == 0;
			memset(model + at, 1, len);
		}
		good = good && ranges_right(&s, model, 300);
	}
	ok(good, "ranges are a set");
	ranges_done(&s);
}

/* A blob of the replica, as it is in the model. */
static struct version *make_blob(struct rep *p, const char *name, const uint8_t *data, size_t len,
				 struct id *ret)
{
	const struct content c = { data, len, -1 };
	struct attr at;
	struct version *v = NULL;
	if (replica_create(p->r, &NODE_ROOT, name, strlen(name), 0644, &c, SAVE_BLOB, 0, &at, &v,
			   NULL) < 0)
		tap_bail("replica_create");
	*ret = at.id;
	return v;
}

static bool seeks(struct workfile *w, const uint8_t *model, size_t size, struct prng *r)
{
	for (unsigned i = 0; i < 20 && size; i++) {
		uint64_t at = prng_below(r, size), data, hole;
		if (workfile_next(w, at, false, &data) < 0 || workfile_next(w, at, true, &hole) < 0 ||
		    data < at || hole < at || data > size || hole > size || (data > at) == (hole > at))
			return false;
		for (uint64_t k = at; k < data; k++)
			if (model[k])
				return false;
		if (hole < size && (workfile_next(w, hole, false, &data) < 0 || data == hole))
			return false;
	}
	return true;
}

static size_t change(struct workfile *w, uint8_t *model, size_t size, struct prng *r, uint64_t *bad)
{
	static uint8_t data[ROOM / 8];
	size_t at = (size_t)prng_below(r, prng_chance(r, 10) ? ROOM / 2 : size + 1);
	size_t len = (size_t)prng_below(r, prng_chance(r, 20) ? ROOM / 8 : 6000);
	if (prng_chance(r, 20))
		at -= at % 4096;
	if (prng_chance(r, 20)) {
		*bad += workfile_truncate(w, at) != 0;
		memset(model + at, 0, ROOM - at);
		return at;
	}
	prng_fill(r, data, len);
	*bad += workfile_pwrite(w, data, len, at) != 0;
	memcpy(model + at, data, len);
	return len && at + len > size ? at + len : size;
}

/* A blob is changed, and saved from the workfile: as if the whole had been written. */
static void test_over(int dir, uint64_t seed, uint64_t rounds)
{
	struct rep p;
	struct prng r = { seed };
	uint8_t *model = calloc(1, ROOM), *room = malloc(ROOM);
	uint64_t bad = 0, wrong_holes = 0, other = 0, kept = 0;
	rep_open(&p, NULL, 0, seed);
	for (uint64_t k = 0; k < rounds && model && room; k++) {
		_cleanup_(workfile_freep) struct workfile *w = NULL;
		_cleanup_(version_unrefp) struct version *saved = NULL, *fresh = NULL;
		struct id id, id2;
		char name[32];
		size_t size = WORKFILE_SMALL + 1 + (size_t)prng_below(&r, ROOM / 2);
		memset(model, 0, ROOM);
		for (unsigned i = 0; i < 3; i++) {
			size_t at = (size_t)prng_below(&r, size);
			prng_fill(&r, model + at, (size_t)prng_below(&r, (size - at) / 2 + 1));
		}
		snprintf(name, sizeof(name), "a%d", (int)k);
		struct version *v = make_blob(&p, name, model, size, &id);
		bad += workfile_from(dir, v, &w) != 0;
		for (unsigned i = (unsigned)prng_below(&r, 12); i > 0; i--)
			size = change(w, model, size, &r, &bad);
		bad += !same(w, model, size, room);
		wrong_holes += !seeks(w, model, size, &r);
		struct content c;
		_cleanup_(workfile_freep) struct workfile *twin = NULL;
		if (prng_chance(&r, 30)) {
			kept += workfile_copy(w, &twin) != 0 || !same(twin, model, size, room);
			kept += workfile_pwrite(twin, "other", 5, 0) != 0 || !same(w, model, size, room);
		}
		workfile_content(w, &c);
		bad += replica_save(p.r, &id, v, &c, SAVE_BLOB, &saved, NULL) != 0;
		snprintf(name, sizeof(name), "b%d", (int)k);
		fresh = make_blob(&p, name, model, size, &id2);
		const struct blob_ref *x = saved ? version_blob(saved) : NULL, *y = version_blob(fresh);
		other += !x || x->size != y->size || sha256_cmp(&x->manifest, &y->manifest) != 0;
		if (prng_chance(&r, 30)) {
			kept += workfile_keep(w, "local-2", false) != 0 || !same(w, model, size, room);
			workfile_free(TAKE_PTR(w));
			kept += workfile_open(dir, "local-2", &w) != 0 || !same(w, model, size, room);
			workfile_unkeep(w);
		}
		version_unref(v);
	}
	ok(bad == 0, "a blob is changed in places");
	ok(wrong_holes == 0, "its holes are found");
	ok(other == 0, "it is saved as the whole would be");
	ok(kept == 0, "copied, and kept as a whole");
	free(model);
	free(room);
	rep_close(&p);
}

static uint64_t disk_use(struct workfile *w)
{
	uint64_t n = 0;
	return workfile_stored(w, &n) == 0 ? n : UINT64_MAX;
}

static void test_huge(int dir)
{
	const uint64_t size = UINT64_C(1) << 42;
	struct rep p;
	struct attr at;
	struct workfile *w = NULL;
	struct version *v = NULL;
	struct content c;
	uint64_t next;
	rep_open(&p, NULL, 0, 1);
	if (workfile_new(dir, &w) < 0)
		tap_bail("no workfile");
	is_int(workfile_truncate(w, size), 0, "4 TiB of nothing");
	workfile_pwrite(w, "x", 1, size / 2);
	ok(disk_use(w) < 1u << 20, "take no room");
	ok(workfile_next(w, 0, false, &next) == 0 && next <= size / 2 && next > size / 2 - 65536,
	   "the byte in it is found");
	workfile_content(w, &c);
	is_int(replica_create(p.r, &NODE_ROOT, "huge", 4, 0644, &c, SAVE_BLOB, 0, &at, &v, NULL), 0,
	       "it is saved");
	ok(at.size == size && at.stored <= 65536, "its %llu bytes count, not its size",
	   (unsigned long long)at.stored);
	workfile_free(w);
	is_int(workfile_from(dir, v, &w), 0, "it is opened again");
	char byte = 0;
	ok(workfile_pread(w, &byte, 1, size / 2) == 1 && byte == 'x' && disk_use(w) < 1u << 20,
	   "and shows through");
	workfile_free(w);
	version_unref(v);
	rep_close(&p);
}

/* Of what workfile_content gives something is in the store. */
static bool is_begun(struct workfile *w)
{
	struct content c;
	workfile_content(w, &c);
	const struct blob_source *src = c.fd == CONTENT_SOURCE ? c.data : NULL;
	return src && src->begun;
}

static struct workfile_ahead *begin(struct workfile *w, struct replica *r, bool growing)
{
	struct workfile_ahead *a;
	if (workfile_ahead_begin(w, r, growing, &a) < 0)
		tap_bail("workfile_ahead_begin");
	return a;
}

static void store(struct workfile *w, struct replica *r, bool growing)
{
	struct workfile_ahead *a = begin(w, r, growing);
	workfile_ahead_store(a);
	workfile_ahead_end(a);
}

/* Is what is saved the blob that these bytes are? */
static bool saves(struct rep *p, const char *name[2], struct workfile *w, const uint8_t *data,
		  size_t size)
{
	_cleanup_(version_unrefp) struct version *empty = NULL, *saved = NULL, *fresh = NULL;
	struct id id, other;
	struct content c;
	empty = make_blob(p, name[0], (const uint8_t *)"", 0, &id);
	workfile_content(w, &c);
	int r = replica_save(p->r, &id, empty, &c, SAVE_BLOB, &saved, NULL);
	fresh = make_blob(p, name[1], data, size, &other);
	const struct blob_ref *x = r == 0 ? version_blob(saved) : NULL, *y = version_blob(fresh);
	return x && x->size == y->size && sha256_cmp(&x->manifest, &y->manifest) == 0;
}

/* A replica, an empty workfile, and bytes for it. */
static uint8_t *begin_large(struct rep *p, int dir, uint64_t seed, size_t size, struct workfile **ret)
{
	struct prng r = { seed };
	uint8_t *data = malloc(size);
	rep_open(p, NULL, 0, 1);
	if (!data || workfile_new(dir, ret) < 0)
		tap_bail("no memory");
	prng_fill(&r, data, size);
	return data;
}

/* The bytes are in the store before the save, or they have changed and the save sees to it. */
static void test_ahead(int dir, uint64_t seed)
{
	const size_t size = WORKFILE_AHEAD + 70000;
	struct rep p;
	struct workfile *w;
	struct workfile_ahead *a;
	_cleanup_free_ uint8_t *data = begin_large(&p, dir, seed, size, &w);
	if (workfile_pwrite(w, "small", 5, 0) < 0)
		tap_bail("no memory");
	is_errno(workfile_ahead_begin(w, p.r, false, &a), -EALREADY,
		 "a small file is stored when it is saved");
	if (workfile_pwrite(w, data, size, 0) < 0)
		tap_bail("no room");
	ok(!is_begun(w), "nothing is begun by itself");
	a = begin(w, p.r, false);
	is_errno(workfile_ahead_begin(w, p.r, false, &(struct workfile_ahead *){ NULL }), -EALREADY,
		 "once at a time");
	workfile_ahead_store(a);
	workfile_ahead_end(a);
	ok(is_begun(w), "it counts when it has ended");
	ok(saves(&p, (const char *[]){ "a1", "b1" }, w, data, size), "it is saved as it would have been");

	workfile_pwrite(w, "x", 1, 3);
	ok(!is_begun(w), "a write ends that");
	a = begin(w, p.r, false);
	workfile_truncate(w, size - 1);
	workfile_ahead_store(a);
	workfile_ahead_end(a);
	ok(!is_begun(w), "what was stored before a change does not count");
	a = begin(w, p.r, false);
	workfile_zero(w, 10, 10);
	workfile_ahead_store(a);
	workfile_ahead_end(a);
	ok(!is_begun(w), "nor before a hole");
	a = begin(w, p.r, false);
	workfile_free(w);
	workfile_ahead_store(a);
	workfile_ahead_end(a);
	ok(rep_sound(p.r), "a file that is gone meanwhile leaves nothing behind");
	rep_close(&p);
}

/* A file that is written from its beginning to its end is stored meanwhile. */
static void test_growing(int dir, uint64_t seed)
{
	const size_t first = WORKFILE_AHEAD + 1000, size = first + 3 * 1024 * 1024;
	struct rep p;
	struct workfile *w;
	struct workfile_ahead *a;
	_cleanup_free_ uint8_t *data = begin_large(&p, dir, seed, size, &w);
	if (workfile_pwrite(w, data, first, 0) < 0)
		tap_bail("no room");
	a = begin(w, p.r, true);
	workfile_pwrite(w, data + first, 500, first);
	workfile_ahead_store(a);
	workfile_ahead_end(a);
	is_errno(workfile_ahead_begin(w, p.r, true, &a), -EALREADY, "a little more has to wait");
	workfile_pwrite(w, data + first + 500, size - first - 500, first + 500);
	store(w, p.r, true);
	ok(is_begun(w), "what is written behind does not end it");
	ok(saves(&p, (const char *[]){ "a2", "b2" }, w, data, size), "it is saved as it would have been");
	is_errno(workfile_ahead_begin(w, p.r, true, &a), -EALREADY, "then it is done with");
	workfile_pwrite(w, "end", 3, size);
	ok(!is_begun(w), "until more is written");

	/* A kept copy under another name is another file: what goes on there is not in the one that is
	 * being stored. */
	workfile_truncate(w, size);
	if (workfile_keep(w, "one", false) < 0)
		tap_bail("it is not kept");
	a = begin(w, p.r, true);
	if (workfile_keep(w, "two", false) < 0)
		tap_bail("it is not kept");
	workfile_ahead_store(a);
	workfile_ahead_end(a);
	workfile_pwrite(w, data, 1024 * 1024, size);
	ok(!is_begun(w), "what is copied is begun anew");
	workfile_truncate(w, size);
	ok(saves(&p, (const char *[]){ "a3", "b3" }, w, data, size), "and saved whole");

	store(w, p.r, true);
	workfile_pwrite(w, "x", 1, 3);
	is_errno(workfile_ahead_begin(w, p.r, true, &a), -EALREADY,
		 "who goes back to its beginning once may do so again");
	data[3] = 'x';
	store(w, p.r, false);
	ok(saves(&p, (const char *[]){ "a4", "b4" }, w, data, size), "when it is written it is worth it");
	workfile_unkeep(w);
	workfile_free(w);
	unlinkat(dir, "one", 0);
	rep_close(&p);
}

int main(int argc, char **argv)
{
	tap_plan(41);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 60);
	int dir = open(tap_tmpdir(), O_DIRECTORY | O_RDONLY);
	test_model(dir, seed, rounds);
	test_keep(dir);
	test_ranges(seed);
	test_over(dir, seed, rounds);
	test_huge(dir);
	test_ahead(dir, seed);
	test_growing(dir, seed);
	close(dir);
	return tap_done();
}
