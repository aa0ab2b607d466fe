/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chunks that nothing needs go, and no others: beside saves, reads, merges and views, and across
 * failed writes and crashes.
 *
 *     test_sweep [SEED [MILLISECONDS]]     the time is that of the savers beside sweeps */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "engine/actor.h"
#include "engine/delta.h"
#include "engine/pins.h"
#include "tests/replicas.h"

#define BIG (5u * 1024 * 1024)

static uint64_t seed;

static void *noise(uint64_t n, size_t len)
{
	struct prng p = { seed * 7919 + n };
	uint8_t *data = malloc(len);
	if (!data)
		tap_bail("no memory");
	for (size_t i = 0; i < len; i += 8) {
		uint64_t v = prng_u64(&p);
		memcpy(data + i, &v, len - i < 8 ? len - i : 8);
	}
	return data;
}

static struct id make(struct replica *r, const char *name, const void *data, size_t len)
{
	const struct content c = { data, len, -1 };
	struct attr at;
	int rc = replica_create(r, &NODE_ROOT, name, strlen(name), 0644, &c, SAVE_BLOB, 0, &at,
				NULL, NULL);
	if (rc < 0)
		tap_bail("replica_create: %d", rc);
	return at.id;
}

/* base is the newest version, or none for a writer who had read nothing. */
static int save(struct replica *r, const struct id *id, bool read, const void *data, size_t len)
{
	_cleanup_(version_unrefp) struct version *base = NULL;
	const struct content c = { data, len, -1 };
	if (read && replica_read(r, id, &base) < 0)
		tap_bail("replica_read");
	return replica_save(r, id, base, &c, SAVE_BLOB, NULL, NULL);
}

static bool holds(struct version *v, const void *data, size_t len)
{
	_cleanup_free_ uint8_t *got = malloc(len + 1);
	return got && version_size(v) == len && version_pread(v, got, len, 0) == (ssize_t)len &&
	       memcmp(got, data, len) == 0;
}

static bool reads(struct replica *r, const struct id *id, const void *data, size_t len)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	return replica_read(r, id, &v) == 0 && holds(v, data, len);
}

struct stock {
	uint64_t chunks, bytes;
};

static struct stock stock(struct store *s)
{
	struct stock n = { 0, 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	if (store_iter_new(s, NULL, STORE_CHUNKS, NULL, 0, NULL, 0, &it) < 0)
		tap_bail("no memory");
	for (; store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		store_iter_value(it, &len);
		n.chunks++;
		n.bytes += len;
	}
	return n;
}

static struct sweep_report sweep(struct replica *r)
{
	struct sweep_report report;
	struct err e = { 0 };
	int rc = replica_sweep(r, &report, &e);
	if (rc < 0)
		tap_bail("replica_sweep: %d %s", rc, e.message);
	return report;
}

static bool have(struct store *s, const struct blob_ref *ref)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct sha256 *missing;
	uint32_t n;
	return blob_missing(s, &a, ref, &missing, &n) == 0 && n == 0;
}

static ssize_t pread_big(void *userdata, void *data, size_t len, uint64_t offset)
{
	if (offset >= BIG)
		return 0;
	if (len > BIG - offset)
		len = (size_t)(BIG - offset);
	memcpy(data, (uint8_t *)userdata + offset, len);
	return (ssize_t)len;
}

/* The reference of BIG bytes, found on a store of its own. */
static struct blob_ref ref_of(void *data)
{
	struct store *s;
	struct blob_ref ref;
	if (store_open_memory(&s) < 0 || blob_store(s, pread_big, data, &ref, NULL) < 0)
		tap_bail("no memory");
	store_close(s);
	return ref;
}

static void test_overwrite(void)
{
	struct rep one, other;
	rep_open(&one, NULL, 0, seed);
	rep_open(&other, NULL, 1, seed);
	_cleanup_free_ uint8_t *first = noise(0, BIG);
	struct id id = make(one.r, "film", first, BIG);
	int failed = 0;
	for (uint64_t i = 1; i < 20; i++) {
		_cleanup_free_ uint8_t *next = noise(i, BIG);
		failed += save(one.r, &id, true, next, BIG) < 0;
	}
	_cleanup_free_ uint8_t *last = noise(20, BIG);
	failed += save(one.r, &id, true, last, BIG) < 0;
	make(other.r, "film", last, BIG);
	struct stock before = stock(one.store), want = stock(other.store);
	struct verify_report found;
	replica_verify(one.r, false, rep_problem, NULL, &found, NULL);
	ok(failed == 0 && before.bytes > 19ull * BIG, "20 saves of 5 MiB take as much");
	ok(replica_orphaned(one.r) >= 19ull * BIG, "that is counted");
	is_uint(found.unreferenced, before.chunks - want.chunks, "verification counts what nothing needs");
	is_uint(found.unreferenced_bytes, before.bytes - want.bytes, "and its bytes");
	struct sweep_report report = sweep(one.r);
	struct stock after = stock(one.store);
	is_uint(after.chunks, want.chunks, "a sweep leaves the chunks of one");
	is_uint(after.bytes, want.bytes, "and its bytes");
	is_uint(report.deleted, before.chunks - want.chunks, "the report says how many went");
	is_uint(report.deleted_bytes, before.bytes - want.bytes, "and their bytes");
	is_uint(replica_orphaned(one.r), 0, "nothing is orphaned now");
	ok(reads(one.r, &id, last, BIG) && rep_sound(one.r), "the file reads back, the store is sound");
	is_uint(sweep(one.r).deleted, 0, "another sweep finds nothing");
	rep_close(&one);
	rep_close(&other);
}

static int count_lost(const char *pointer, const struct entry *shown, const struct entry *lost,
		      void *userdata)
{
	(void)pointer;
	(void)shown;
	(void)lost;
	++*(int *)userdata;
	return 0;
}

static void test_kept(void)
{
	struct rep p;
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(100, BIG), *b = noise(101, BIG), *c = noise(102, BIG);
	struct blob_ref ra = ref_of(a), rb = ref_of(b), rc = ref_of(c);
	int lost = 0;
	struct id id = make(p.r, "film", a, BIG), gone = make(p.r, "gone", c, BIG);
	save(p.r, &id, false, b, BIG);
	replica_conflicts(p.r, &id, count_lost, &lost);
	replica_remove(p.r, &gone, 0);
	sweep(p.r);
	ok(lost == 1 && have(p.store, &ra) && have(p.store, &rb), "a value that lost is kept");
	ok(have(p.store, &rc), "the content of a deleted file is kept");
	ok(rep_sound(p.r), "the store is sound");
	rep_close(&p);
}

static void test_open(void)
{
	struct rep p;
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(110, BIG), *b = noise(111, BIG);
	struct blob_ref ra = ref_of(a);
	struct version *v;
	struct id id = make(p.r, "film", a, BIG);
	if (replica_read(p.r, &id, &v) < 0)
		tap_bail("replica_read");
	save(p.r, &id, true, b, BIG);
	sweep(p.r);
	ok(holds(v, a, BIG), "what somebody has open can still be read");
	version_unref(v);
	sweep(p.r);
	ok(!have(p.store, &ra) && reads(p.r, &id, b, BIG), "closed, it goes");
	rep_close(&p);
}

/* A version that is kept across a restart: a document's bytes, which need no chunks. */
static void test_kept_version(void)
{
	struct rep p;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct version *v = NULL, *again = NULL;
	struct attr at;
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", "{\"n\":1}\n", &at);
	bool good = replica_read(p.r, &at.id, &v) == 0 && version_encode(p.r, v, &b) == 0;
	version_unref(v);
	rep_stop(&p);
	rep_start(&p);
	good = good && version_decode(p.r, b.data, b.len, &again) == 0;
	sweep(p.r);
	ok(good && holds(again, "{\"n\":1}\n", 8), "a version from before the restart");
	version_unref(again);
	rep_close(&p);
}

static void test_view(void)
{
	struct rep p;
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(120, BIG), *b = noise(121, BIG);
	struct blob_ref ra = ref_of(a);
	struct id id = make(p.r, "film", a, BIG);
	replica_flush(p.r, NULL);
	struct view *v = replica_view(p.r);
	save(p.r, &id, true, b, BIG);
	sweep(p.r);
	ok(have(p.store, &ra), "what a view shows that a session may be sending is kept");
	view_unref(v);
	sweep(p.r);
	ok(!have(p.store, &ra), "without the view it goes");
	rep_close(&p);
}

/* The next id is in the upper half of all, or the lower one: records are looked at in that order. */
static void aim(struct rep *p, bool upper)
{
	struct prng next;
	do {
		p->prng.state++;
		next = p->prng;
	} while (((prng_u64(&next) & 0x80) != 0) != upper);
}

/* A small file may hold just the bytes of another one's manifest: one chunk, two meanings. */
static void test_manifest(void)
{
	struct rep p;
	_cleanup_(buf_done) struct buf plain = { 0 };
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(130, BIG);
	struct blob_ref ref = ref_of(a);
	aim(&p, true);
	struct id id = make(p.r, "film", a, BIG);
	if (chunk_load(p.store, &ref.manifest, &plain) < 0)
		tap_bail("chunk_load");
	aim(&p, false);
	struct id copy = make(p.r, "copy", plain.data, plain.len);
	rep_stop(&p); /* no version in memory says what is needed */
	rep_start(&p);
	sweep(p.r);
	ok(id_cmp(&copy, &id) < 0 && reads(p.r, &id, a, BIG),
	   "a file with the bytes of a manifest does not hide it");
	rep_close(&p);
}

static void test_failed(void)
{
	struct rep p;
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(140, BIG), *b = noise(141, BIG);
	struct id id = make(p.r, "film", a, BIG);
	struct stock want = stock(p.store);
	store_fail(p.store, 40, -ENOSPC);
	is_errno(save(p.r, &id, true, b, BIG), -ENOSPC, "a save fails half-way");
	ok(stock(p.store).chunks > want.chunks && replica_orphaned(p.r) > 0, "and leaves chunks");
	sweep(p.r);
	ok(stock(p.store).bytes == want.bytes && reads(p.r, &id, a, BIG), "a sweep takes them away");
	rep_close(&p);
}

struct saving {
	struct rep *p;
	uint8_t *data;
	uint64_t deleted;
};

/* The bytes; somebody sweeps when half of them are stored. */
static ssize_t pread_swept(void *userdata, void *data, size_t len, uint64_t offset)
{
	struct saving *s = userdata;
	if (offset >= BIG / 2 && offset < BIG)
		s->deleted += sweep(s->p->r).deleted;
	return pread_big(s->data, data, len, offset);
}

static void test_save(void)
{
	struct rep p;
	_cleanup_(hold_done) struct hold h = { 0 };
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(150, BIG), *b = noise(151, BIG), *c = noise(152, BIG);
	struct saving s = { &p, a, 0 };
	struct blob_ref ref, other = ref_of(c);
	struct id id = make(p.r, "film", a, BIG);
	save(p.r, &id, true, c, BIG);
	save(p.r, &id, true, b, BIG);
	/* a is garbage now, found again by a save of the same bytes. */
	int rc = blob_store_held(p.store, &h, pread_swept, &s, &ref, NULL);
	ok(rc == 0 && s.deleted > 0 && have(p.store, &ref),
	   "what a running save found there or wrote is not swept");
	ok(!have(p.store, &other), "other garbage is");
	hold_done(&h);
	sweep(p.r);
	ok(!have(p.store, &ref), "a save that ends without a record leaves nothing");
	rep_close(&p);
}

static void test_pins(void)
{
	struct pins p;
	struct hold h = { 0 }, left = { 0 };
	struct sha256 hash[3];
	for (unsigned i = 0; i < 3; i++)
		memset(hash[i].b, (int)(i + 1), SHA256_SIZE);
	pins_init(&p);
	bool keep[3][3] = { { false } };
	pins_sweep_begin(&p);
	pins_add(&p, &h, &hash[0]);
	pins_add(&p, &left, &hash[2]);
	hold_done(&h);
	hold_leave(&left);
	pins_check(&p, hash, 3, keep[0]);
	is_errno(pins_sweep_begin(&p), -EBUSY, "one sweep at a time");
	pins_sweep_end(&p);
	pins_sweep_begin(&p);
	pins_check(&p, hash, 3, keep[1]);
	pins_sweep_end(&p);
	pins_sweep_begin(&p);
	pins_check(&p, hash, 3, keep[2]);
	pins_sweep_end(&p);
	ok(keep[0][0] && !keep[0][1], "a hold that ended during the sweep counts until its end");
	ok(!keep[1][0], "and not in the next one");
	ok(keep[0][2] && keep[1][2] && !keep[2][2], "what was left without an owner lasts one more sweep");
	struct hold some = { 0 };
	bool held[3] = { false };
	for (unsigned i = 0; i < 4; i++)
		pins_add(&p, &some, &hash[i % 3]);
	hold_drop(&some, &hash[1]);
	hold_drop(&some, &hash[0]);
	pins_check(&p, hash, 3, held);
	ok(held[0] && !held[1] && held[2] && hold_count(&some) == 2,
	   "one that is dropped is not held any more, unless it was held twice");
	hold_done(&some);
	pins_done(&p);
}

/* ---- merging ---- */

static enum apply_result apply(struct rep *from, struct rep *to, const struct id *id,
			       struct arena *a, struct sha256 **missing, uint32_t *n)
{
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct view *view = replica_view(from->r);
	struct vv upto = { 0 };
	struct delta *sent, *got;
	enum apply_result result = APPLY_OLD;
	struct err e = { 0 };
	if (actor_codec_new(replica_actors(from->r), &out) < 0 ||
	    actor_codec_new(replica_actors(to->r), &in) < 0)
		tap_bail("no memory");
	int rc = view_whole(view, id, a, &sent, &e);
	view_unref(view);
	if (rc < 0 || !sent)
		tap_bail("view_whole: %d %s", rc, e.message);
	delta_encode(sent, replica_actors(from->r), out, &b);
	struct cursor c = cursor_make(arena_dup(a, b.data, b.len), b.len);
	rc = delta_decode(a, replica_actors(to->r), in, &c, &got, &e);
	if (rc == 0)
		rc = replica_apply(to->r, a, got, &upto, &result, missing, n, &e);
	if (rc < 0)
		tap_bail("replica_apply: %d %s", rc, e.message);
	return result;
}

static void put(struct rep *from, struct rep *to, const struct sha256 *hash, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf chunk = { 0 };
		if (chunk_get(from->store, &hash[i], &chunk) < 0 ||
		    chunk_put(to->store, &hash[i], chunk.data, chunk.len) < 0)
			tap_bail("a chunk does not go over");
	}
}

static void test_merge(void)
{
	struct rep from, to;
	_cleanup_(arena_done) struct arena a = { 0 };
	rep_open(&from, NULL, 0, seed);
	rep_open(&to, NULL, 1, seed);
	_cleanup_free_ uint8_t *data = noise(160, BIG);
	struct id id = make(from.r, "film", data, BIG);
	struct sha256 *missing = NULL, *rest;
	uint32_t n = 0, left;
	replica_flush(from.r, NULL);
	bool asked = apply(&from, &to, &id, &a, &missing, &n) == APPLY_NEED_CHUNKS && n == 1;
	put(&from, &to, missing, n);
	sweep(to.r);
	asked &= apply(&from, &to, &id, &a, &missing, &n) == APPLY_NEED_CHUNKS && n > 40;
	put(&from, &to, missing, n / 2);
	struct sweep_report report = sweep(to.r);
	ok(asked && report.deleted == 0 && report.held > 20,
	   "what a peer sent for a change that waits is kept");
	ok(replica_orphaned(to.r) > 0, "and looked at again later");
	asked = apply(&from, &to, &id, &a, &rest, &left) == APPLY_NEED_CHUNKS;
	ok(asked && left == n - n / 2, "only the rest is asked for");
	put(&from, &to, rest, left);
	enum apply_result result = apply(&from, &to, &id, &a, &rest, &left);
	sweep(to.r);
	sweep(to.r);
	ok(result == APPLY_MERGED && reads(to.r, &id, data, BIG), "it merges and stays");
	/* One that never comes to be merged. */
	_cleanup_free_ uint8_t *other = noise(161, BIG);
	struct stock want = stock(to.store);
	struct id second = make(from.r, "other", other, BIG);
	struct blob_ref ref = ref_of(other);
	(void)second;
	put(&from, &to, &ref.manifest, 1);
	sweep(to.r);
	is_uint(stock(to.store).chunks, want.chunks + 1, "what a peer sent lasts through a sweep");
	sweep(to.r);
	is_uint(stock(to.store).chunks, want.chunks, "what never was merged goes with the second sweep");
	rep_close(&from);
	rep_close(&to);
}

/* ---- crashes ---- */

#define SMALL 1300 /* chunks: several batches of deletions */

static void *small(unsigned n, size_t *ret_len)
{
	*ret_len = 200 + n % 50;
	return noise(1000 + n, *ret_len);
}

/* A store with files whose old contents are garbage; writes (or the flush) from nth on fail once,
 * then all but keep of what was not flushed is lost. */
static bool crash_once(struct prng *g, uint64_t nth)
{
	struct rep p;
	struct sweep_report report;
	struct id id[SMALL];
	rep_open(&p, NULL, 0, seed);
	for (unsigned i = 0; i < SMALL; i++) {
		size_t len;
		char name[16];
		_cleanup_free_ uint8_t *data = small(i, &len);
		snprintf(name, sizeof(name), "f%u", i);
		id[i] = make(p.r, name, data, len);
	}
	for (unsigned i = 0; i < SMALL; i++) {
		size_t len;
		_cleanup_free_ uint8_t *data = small(SMALL + i, &len);
		if (i == SMALL / 2)
			replica_flush(p.r, NULL);
		save(p.r, &id[i], true, data, len);
	}
	store_fail(p.store, nth, -EIO);
	int rc = replica_sweep(p.r, &report, NULL);
	store_fail(p.store, 0, 0);
	/* Garbage that is taken up again, before or after it went. */
	for (unsigned i = 0; i < 5; i++) {
		size_t len;
		_cleanup_free_ uint8_t *data = small((unsigned)prng_below(g, SMALL), &len);
		save(p.r, &id[prng_below(g, SMALL)], true, data, len);
	}
	if (prng_chance(g, 50))
		rc = replica_sweep(p.r, &report, NULL);
	rep_stop(&p);
	store_crash(p.store, prng_below(g, 12));
	rep_start(&p);
	bool sound = rep_sound(p.r);
	if (rc == 0 || prng_chance(g, 50))
		sweep(p.r);
	sound = sound && rep_sound(p.r);
	for (unsigned i = 0; i < SMALL; i++) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		_cleanup_free_ char *bytes = NULL;
		/* What a crash before the first flush took away was never promised. */
		rc = replica_read(p.r, &id[i], &v);
		if (rc == 0)
			free(rep_bytes(v, NULL));
		else if (rc != -ENOENT)
			sound = false;
	}
	rep_close(&p);
	return sound;
}

static void test_crash(void)
{
	struct prng g = { seed };
	unsigned bad = 0;
	for (uint64_t nth = 0; nth < 12; nth++) {
		if (!crash_once(&g, nth)) {
			tap_diag("write %llu fails", (unsigned long long)nth);
			bad++;
		}
	}
	is_uint(bad, 0, "failed writes and crashes at any moment leave no file without its bytes");
}

static void test_damaged(void)
{
	struct rep p;
	struct sweep_report report;
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(400, BIG), *c = noise(401, BIG);
	struct id id = make(p.r, "film", a, BIG);
	save(p.r, &id, true, c, BIG);
	struct stock want = stock(p.store);
	if (store_batch_new(&b) < 0)
		tap_bail("no memory");
	store_put(b, STORE_DOCS, "\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10", ID_SIZE, "\1\0\1", 3);
	if (store_write(p.store, b, NULL) < 0)
		tap_bail("store_write");
	is_errno(replica_sweep(p.r, &report, NULL), -EBADMSG, "a record that cannot be read: no sweep");
	is_uint(stock(p.store).chunks, want.chunks, "nothing is deleted then");
	replica_sweep_cancel(p.r);
	is_errno(replica_sweep(p.r, &report, NULL), -ECANCELED, "a sweep can be broken off");
	rep_close(&p);
}

/* ---- all at once ---- */

#define SAVERS 3
#define READERS 2
#define POOL 6
#define POOL_SIZE (100u * 1024)

struct rush {
	struct rep *p;
	uint8_t *pool[POOL];
	struct id id[SAVERS];
	unsigned shown[SAVERS]; /* of the pool; the saver's own */
	atomic_bool stop;
	atomic_uint wrong, saves, reads, sweeps, deleted;
};

struct rusher {
	struct rush *rush;
	unsigned no;
};

static size_t pool_size(unsigned k)
{
	return POOL_SIZE - 1000 * (size_t)k;
}

/* Every saver writes bytes that are garbage at one moment and needed at the next. */
static void *saver(void *userdata)
{
	struct rusher *me = userdata;
	struct rush *t = me->rush;
	struct prng g = { seed + me->no };
	while (!atomic_load(&t->stop)) {
		unsigned k = (unsigned)prng_below(&g, POOL);
		if (save(t->p->r, &t->id[me->no], true, t->pool[k], pool_size(k)) < 0 ||
		    !reads(t->p->r, &t->id[me->no], t->pool[k], pool_size(k)))
			atomic_fetch_add(&t->wrong, 1);
		t->shown[me->no] = k;
		atomic_fetch_add(&t->saves, 1);
	}
	return NULL;
}

static void *reader(void *userdata)
{
	struct rusher *me = userdata;
	struct rush *t = me->rush;
	struct prng g = { seed + 50 + me->no };
	while (!atomic_load(&t->stop)) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		const struct timespec moment = { .tv_nsec = (long)prng_below(&g, 3000000) };
		bool good = replica_read(t->p->r, &t->id[prng_below(&g, SAVERS)], &v) == 0;
		nanosleep(&moment, NULL);
		unsigned k = 0;
		while (good && k < POOL && version_size(v) != pool_size(k))
			k++;
		if (!good || k == POOL || !holds(v, t->pool[k], pool_size(k)))
			atomic_fetch_add(&t->wrong, 1);
		atomic_fetch_add(&t->reads, 1);
	}
	return NULL;
}

static void *sweeper(void *userdata)
{
	struct rusher *me = userdata;
	struct rush *t = me->rush;
	while (!atomic_load(&t->stop)) {
		struct sweep_report report = sweep(t->p->r);
		atomic_fetch_add(&t->sweeps, 1);
		atomic_fetch_add(&t->deleted, (unsigned)report.deleted);
	}
	return NULL;
}

static void test_rush(unsigned ms, const char *path)
{
	struct rep p;
	rep_open(&p, path, 0, seed);
	struct rush t = { .p = &p };
	struct rusher who[SAVERS + READERS + 1];
	pthread_t thread[SAVERS + READERS + 1];
	for (unsigned k = 0; k < POOL; k++)
		t.pool[k] = noise(200 + k, POOL_SIZE);
	for (unsigned i = 0; i < SAVERS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%u", i);
		t.id[i] = make(p.r, name, t.pool[0], pool_size(0));
	}
	for (unsigned i = 0; i < SAVERS + READERS + 1; i++) {
		who[i] = (struct rusher){ &t, i };
		if (pthread_create(&thread[i], NULL, i < SAVERS		  ? saver :
						     i < SAVERS + READERS ? reader :
									    sweeper,
				   &who[i]) != 0)
			tap_bail("pthread_create");
	}
	const struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };
	const struct timespec moment = { .tv_nsec = 10000000 };
	nanosleep(&time, NULL);
	/* On a busy machine not everybody has had a turn by then. */
	for (unsigned n = 0; n < 3000 && !(t.deleted > 0 && t.saves > 0 && t.reads > 0); n++)
		nanosleep(&moment, NULL);
	atomic_store(&t.stop, true);
	for (unsigned i = 0; i < SAVERS + READERS + 1; i++)
		pthread_join(thread[i], NULL);
	tap_diag("%u saves, %u reads, %u sweeps deleted %u chunks", t.saves, t.reads, t.sweeps,
		 t.deleted);
	unsigned lost = 0;
	for (unsigned i = 0; i < SAVERS; i++)
		lost += !reads(p.r, &t.id[i], t.pool[t.shown[i]], pool_size(t.shown[i]));
	is_uint(t.wrong, 0, "everybody reads what was written while somebody sweeps (%s)",
		path ? "on disk" : "in memory");
	ok(lost == 0 && rep_sound(p.r), "and in the end");
	ok(t.deleted > 0 && t.saves > 0 && t.reads > 0, "there was something to sweep");
	for (unsigned k = 0; k < POOL; k++)
		free(t.pool[k]);
	rep_close(&p);
}

#define FRESH_SIZE (20u * 1024) /* a manifest and a chunk or two */

/* Every content is a new one, so what a reader just found is garbage a moment later. */
static void *fresh_saver(void *userdata)
{
	struct rusher *me = userdata;
	struct rush *t = me->rush;
	for (uint64_t n = 0; !atomic_load(&t->stop); n++) {
		_cleanup_free_ uint8_t *data = noise(10000 + n, FRESH_SIZE);
		if (save(t->p->r, &t->id[0], true, data, FRESH_SIZE) < 0)
			atomic_fetch_add(&t->wrong, 1);
		atomic_fetch_add(&t->saves, 1);
	}
	return NULL;
}

static void *fresh_reader(void *userdata)
{
	struct rusher *me = userdata;
	struct rush *t = me->rush;
	uint8_t data[FRESH_SIZE];
	while (!atomic_load(&t->stop)) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		if (replica_read(t->p->r, &t->id[0], &v) < 0 ||
		    version_pread(v, data, sizeof(data), 0) != FRESH_SIZE)
			atomic_fetch_add(&t->wrong, 1);
		atomic_fetch_add(&t->reads, 1);
	}
	return NULL;
}

static void test_fresh(unsigned ms)
{
	static void *(*const work[])(void *) = { fresh_saver, fresh_reader, fresh_reader,
						 fresh_reader, sweeper };
	enum { N = sizeof(work) / sizeof(work[0]) };
	struct rep p;
	pthread_t thread[N];
	rep_open(&p, NULL, 0, seed);
	struct rush t = { .p = &p };
	struct rusher who = { &t, 0 };
	_cleanup_free_ uint8_t *data = noise(0, FRESH_SIZE);
	t.id[0] = make(p.r, "news", data, FRESH_SIZE);
	for (unsigned i = 0; i < N; i++)
		if (pthread_create(&thread[i], NULL, work[i], &who) != 0)
			tap_bail("pthread_create");
	const struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };
	nanosleep(&time, NULL);
	atomic_store(&t.stop, true);
	for (unsigned i = 0; i < N; i++)
		pthread_join(thread[i], NULL);
	tap_diag("%u saves, %u reads, %u sweeps deleted %u chunks", t.saves, t.reads, t.sweeps,
		 t.deleted);
	is_uint(t.wrong, 0, "what was found can be read, however fast it is replaced");
	rep_close(&p);
}

static void test_index(void)
{
	struct rep p;
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	struct verify_report found, again;
	rep_open(&p, NULL, 0, seed);
	_cleanup_free_ uint8_t *a = noise(300, BIG), *c = noise(301, BIG);
	struct id id = make(p.r, "film", a, BIG);
	struct blob_ref ref = ref_of(a), other = ref_of(c);
	save(p.r, &id, true, c, BIG);
	if (store_batch_new(&b) < 0)
		tap_bail("no memory");
	store_delete(b, STORE_HASHES, other.manifest.b, SHA256_SIZE);
	store_put(b, STORE_HASHES, "x", 1, "", 0);
	if (store_write(p.store, b, NULL) < 0)
		tap_bail("store_write");
	replica_verify(p.r, true, NULL, NULL, &found, NULL);
	replica_verify(p.r, false, rep_problem, NULL, &again, NULL);
	ok(found.errors == 2 && found.repaired == 2, "verification mends the list of chunks");
	ok(found.unreferenced > 40 && again.unreferenced == 0 && again.errors == 0 &&
	   !have(p.store, &ref), "and its repair sweeps");
	rep_close(&p);
}

int main(int argc, char **argv)
{
	tap_plan(50);
	seed = tap_seed(argc, argv);
	unsigned ms = (unsigned)tap_rounds(argc, argv, 1500);
	test_pins();
	test_overwrite();
	test_kept();
	test_open();
	test_kept_version();
	test_view();
	test_manifest();
	test_failed();
	test_save();
	test_merge();
	test_index();
	test_damaged();
	test_crash();
	test_fresh(ms);
	test_rush(ms, NULL);
	test_rush(ms, tap_tmpdir());
	return tap_done();
}
