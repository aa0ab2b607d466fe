/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store: both implementations against one model, and what a crash leaves behind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "engine/store.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define KEYS 96
#define KEY_MAX 6

struct key {
	uint8_t b[KEY_MAX];
	size_t len;
};

/* What the store should hold: for each key the seed of its value, 0: nothing. */
struct model {
	uint32_t v[STORE_FAMILIES][KEYS];
};

static struct key keys[KEYS]; /* sorted */

static int key_cmp(const void *x, const void *y)
{
	const struct key *a = x, *b = y;
	size_t n = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->b, b->b, n);
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* Short keys over a small alphabet: prefixes of each other, 0x00 and 0xff among them. */
static void make_keys(struct prng *r)
{
	static const uint8_t alphabet[] = { 0, 1, 'a', 0xfe, 0xff };
	for (size_t n = 0; n < KEYS;) {
		struct key k = { .len = 1 + prng_below(r, KEY_MAX) };
		for (size_t i = 0; i < k.len; i++)
			k.b[i] = alphabet[prng_below(r, sizeof(alphabet))];
		bool twice = false;
		for (size_t i = 0; i < n; i++)
			twice |= key_cmp(&k, &keys[i]) == 0;
		if (!twice)
			keys[n++] = k;
	}
	qsort(keys, KEYS, sizeof(keys[0]), key_cmp);
}

static void make_value(uint32_t seed, struct buf *b)
{
	struct prng r = { seed };
	size_t len = prng_chance(&r, 5) ? prng_below(&r, 20000) : prng_below(&r, 40);
	buf_reset(b);
	uint8_t *p = buf_reserve(b, len + 1);
	if (!p)
		tap_bail("out of memory");
	prng_fill(&r, p, len);
	b->len = len;
}

static bool same_value(uint32_t seed, const void *data, size_t len)
{
	_cleanup_(buf_done) struct buf want = { 0 };
	make_value(seed, &want);
	return want.len == len && (len == 0 || memcmp(want.data, data, len) == 0);
}

static uint64_t check_range(struct store *s, const struct store_snapshot *snap,
			    const struct model *m, enum store_family f, size_t from, size_t to)
{
	struct store_iter *it;
	const struct key *lower = from < KEYS ? &keys[from] : NULL;
	const struct key *upper = to < KEYS ? &keys[to] : NULL;
	if (!lower)
		return 0;
	if (store_iter_new(s, snap, f, lower->b, lower->len, upper ? upper->b : NULL,
			   upper ? upper->len : 0, &it) < 0)
		return 1;
	uint64_t bad = 0;
	for (size_t i = from; i < to; i++) {
		if (m->v[f][i] == 0)
			continue;
		size_t key_len, len;
		if (!store_iter_valid(it)) {
			tap_diag("family %d: key %zu is missing from a range", (int)f, i);
			bad++;
			break;
		}
		const uint8_t *key = store_iter_key(it, &key_len);
		if (key_len != keys[i].len || memcmp(key, keys[i].b, key_len) != 0) {
			tap_diag("family %d: another key in the place of %zu", (int)f, i);
			bad++;
			break;
		}
		const uint8_t *value = store_iter_value(it, &len);
		bad += !same_value(m->v[f][i], value, len);
		store_iter_next(it);
	}
	bad += bad == 0 && store_iter_valid(it);
	bad += store_iter_error(it) != 0;
	store_iter_free(it);
	return bad;
}

/* Every key by itself, and every family from end to end. */
static uint64_t check_all(struct store *s, const struct store_snapshot *snap, const struct model *m)
{
	uint64_t bad = 0;
	_cleanup_(buf_done) struct buf v = { 0 };
	for (int f = 0; f < STORE_FAMILIES; f++) {
		enum store_family family = (enum store_family)f;
		for (size_t i = 0; i < KEYS; i++) {
			int r = store_get(s, snap, family, keys[i].b, keys[i].len, &v);
			bad += r != (m->v[f][i] ? 0 : -ENOENT);
			bad += r == 0 && !same_value(m->v[f][i], v.data, v.len);
			bad += store_has(s, snap, family, keys[i].b, keys[i].len) !=
			       (m->v[f][i] != 0);
		}
		bad += check_range(s, snap, m, family, 0, KEYS);
	}
	return bad;
}

static void random_batch(struct prng *r, struct model *m, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	store_batch_clear(b);
	uint64_t n = 1 + prng_below(r, 12);
	for (uint64_t i = 0; i < n; i++) {
		enum store_family f = (enum store_family)prng_below(r, STORE_FAMILIES);
		size_t k = prng_below(r, KEYS);
		if (prng_chance(r, 35)) {
			store_delete(b, f, keys[k].b, keys[k].len);
			m->v[f][k] = 0;
		} else {
			m->v[f][k] = (uint32_t)(1 + prng_below(r, 1u << 30));
			make_value(m->v[f][k], &v);
			store_put(b, f, keys[k].b, keys[k].len, v.data, v.len);
		}
	}
	if (store_batch_count(b) != n)
		tap_bail("a batch miscounts");
}

#define SNAPS 4

struct run {
	struct store *s;
	const char *path; /* NULL: in memory */
	struct model m;
	struct {
		struct store_snapshot *snap;
		struct model m;
	} snap[SNAPS];
};

static uint64_t drop_snaps(struct run *run)
{
	uint64_t bad = 0;
	for (int i = 0; i < SNAPS; i++) {
		if (!run->snap[i].snap)
			continue;
		bad += check_all(run->s, run->snap[i].snap, &run->snap[i].m);
		store_snapshot_free(run->s, run->snap[i].snap);
		run->snap[i].snap = NULL;
	}
	return bad;
}

static uint64_t random_step(struct prng *r, struct run *run, struct store_batch *b)
{
	uint64_t bad = 0;
	uint64_t what = prng_below(r, 100);
	int i = (int)prng_below(r, SNAPS);
	if (what < 60) {
		random_batch(r, &run->m, b);
		bad += store_write(run->s, b, NULL) != 0;
	} else if (what < 70) {
		bad += store_flush(run->s, NULL) != 0;
	} else if (what < 80) {
		size_t from = prng_below(r, KEYS), to = from + prng_below(r, KEYS + 1 - from);
		enum store_family f = (enum store_family)prng_below(r, STORE_FAMILIES);
		bool old = run->snap[i].snap && prng_chance(r, 50);
		bad += check_range(run->s, old ? run->snap[i].snap : NULL,
				   old ? &run->snap[i].m : &run->m, f, from, to);
	} else if (what < 90 && run->snap[i].snap) {
		bad += check_all(run->s, run->snap[i].snap, &run->snap[i].m);
		store_snapshot_free(run->s, run->snap[i].snap);
		run->snap[i].snap = NULL;
	} else if (what < 90) {
		bad += store_snapshot(run->s, &run->snap[i].snap) != 0;
		run->snap[i].m = run->m;
	} else {
		bad += check_all(run->s, NULL, &run->m);
	}
	if (run->path && prng_below(r, 300) == 0) {
		bad += drop_snaps(run);
		store_close(run->s);
		if (store_open(run->path, false, &run->s, NULL) < 0)
			tap_bail("cannot open the store again");
		bad += check_all(run->s, NULL, &run->m);
	}
	return bad;
}

static void test_model(const char *path, uint64_t seed, uint64_t rounds, const char *name)
{
	struct prng r = { seed };
	make_keys(&r);
	static struct run run; /* large */
	memset(&run, 0, sizeof(run));
	run.path = path;
	struct err e = { 0 };
	if ((path ? store_open(path, true, &run.s, &e) : store_open_memory(&run.s)) < 0)
		tap_bail("cannot open the store: %s", e.message);
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	if (store_batch_new(&b) < 0)
		tap_bail("out of memory");
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds && bad == 0; i++) {
		bad = random_step(&r, &run, b);
		if (bad)
			tap_diag("step %llu", (unsigned long long)i);
	}
	bad += drop_snaps(&run);
	ok(store_size(run.s) > 0, "%s: has a size", name);
	store_close(run.s);
	is_uint(bad, 0, "%s: %llu random steps agree with the model", name,
		(unsigned long long)rounds);
}

/* Batches beyond the last flush are lost from the end, whatever they touched. */
static void test_crash(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	make_keys(&r);
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	static struct model history[32];
	struct store *s;
	if (store_batch_new(&b) < 0 || store_open_memory(&s) < 0)
		tap_bail("out of memory");
	memset(history, 0, sizeof(history));
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		size_t n = prng_below(&r, 30), flushed = 0;
		for (size_t k = 0; k < n; k++) {
			history[k + 1] = history[k];
			random_batch(&r, &history[k + 1], b);
			bad += store_write(s, b, NULL) != 0;
			if (prng_chance(&r, 15)) {
				bad += store_flush(s, NULL) != 0;
				flushed = k + 1;
			}
		}
		size_t keep = prng_below(&r, 12);
		size_t left = flushed + keep < n ? flushed + keep : n;
		bad += store_crash(s, keep) != n - left;
		bad += check_all(s, NULL, &history[left]);
		history[0] = history[left];
	}
	store_close(s);
	is_uint(bad, 0, "memory: a crash leaves a prefix that holds all that was flushed");
}

static void test_fail(void)
{
	struct store *s;
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	if (store_batch_new(&b) < 0 || store_open_memory(&s) < 0)
		tap_bail("out of memory");
	store_put(b, STORE_META, "k", 1, "v", 1);
	store_fail(s, 2, -ENOSPC);
	is_int(store_write(s, b, NULL), 0, "memory: the first write passes");
	store_batch_clear(b);
	store_delete(b, STORE_META, "k", 1);
	struct err e = { 0 };
	is_errno(store_write(s, b, &e), -ENOSPC, "memory: the second fails as told");
	ok(e.code == -ENOSPC && e.message[0], "memory: and says so");
	ok(store_has(s, NULL, STORE_META, "k", 1), "memory: and changes nothing");
	is_int(store_write(s, b, NULL), 0, "memory: the third passes");
	ok(!store_has(s, NULL, STORE_META, "k", 1), "memory: and is applied");
	store_fail(s, 1, -EIO);
	is_errno(store_flush(s, NULL), -EIO, "memory: a flush fails as told");
	is_uint(store_crash(s, 0), 2, "memory: what was not flushed is lost");
	store_close(s);
}

static void test_prefix(void)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	ok(store_prefix_end("ab", 2, &b) && b.len == 2 && memcmp(b.data, "ac", 2) == 0,
	   "the end of a prefix is the next one");
	ok(store_prefix_end("a\xff\xff", 3, &b) && b.len == 1 && b.data[0] == 'b',
	   "0xff at the end falls away");
	ok(!store_prefix_end("\xff\xff", 2, &b), "all 0xff has no end");
	ok(!store_prefix_end("", 0, &b), "neither has the empty prefix");
}

static const char *sub_path(const char *name)
{
	static char path[300];
	snprintf(path, sizeof(path), "%s/%s", tap_tmpdir(), name);
	return path;
}

static void test_open(void)
{
	struct store *s = NULL, *t = NULL;
	struct err e = { 0 };
	const char *path = sub_path("open");
	is_errno(store_open(path, false, &s, &e), -ENOENT, "nothing there: -ENOENT");
	is_int(store_open(path, true, &s, &e), 0, "created");
	is_errno(store_open(path, false, &t, &e), -EBUSY, "open twice: -EBUSY");
	ok(!t && strstr(e.message, "another process"), "which says who");
	pid_t pid = fork();
	if (pid == 0)
		_exit(store_open(path, false, &t, NULL) == -EBUSY ? 0 : 1);
	int status = -1;
	waitpid(pid, &status, 0);
	is_int(status, 0, "open in another process: -EBUSY");
	store_close(s);
}

/* A store with tables on the disk and in the log. */
static void fill(const char *path, uint64_t n)
{
	struct store *s;
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	if (store_batch_new(&b) < 0 || store_open(path, true, &s, NULL) < 0)
		tap_bail("cannot make a store");
	for (uint64_t i = 0; i < n; i++) {
		char value[512];
		memset(value, (int)('a' + i % 26), sizeof(value));
		store_batch_clear(b);
		store_put(b, STORE_DOCS, &i, sizeof(i), value, sizeof(value));
		if (store_write(s, b, NULL) < 0)
			tap_bail("cannot write");
	}
	store_close(s);
}

/* Overwrites the middle of every file whose name holds `part`, or cuts it when len is 0. */
static int spoil(const char *path, const char *part, size_t len)
{
	int n = 0;
	DIR *d = opendir(path);
	if (!d)
		tap_bail("no directory %s", path);
	for (struct dirent *entry; (entry = readdir(d));) {
		if (!strstr(entry->d_name, part))
			continue;
		_cleanup_close_ int fd = openat(dirfd(d), entry->d_name, O_WRONLY | O_CLOEXEC);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) < 0)
			continue;
		_cleanup_free_ char *junk = malloc(len + 1);
		if (!junk)
			tap_bail("out of memory");
		memset(junk, 0x5a, len);
		off_t at = st.st_size / 2 > (off_t)len ? st.st_size / 2 - (off_t)len : 0;
		if (len ? pwrite(fd, junk, len, at) < 0 : ftruncate(fd, 0) < 0)
			continue;
		n++;
	}
	closedir(d);
	return n;
}

static void test_damage(void)
{
	static const struct {
		const char *part;
		size_t len;
	} damage[] = { { "MANIFEST", 8 }, { "CURRENT", 0 }, { "CURRENT", 10 } };
	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		char name[32];
		snprintf(name, sizeof(name), "damage%zu", i);
		const char *path = sub_path(name);
		fill(path, 50);
		if (spoil(path, damage[i].part, damage[i].len) == 0)
			tap_bail("no %s to spoil", damage[i].part);
		struct store *s = NULL;
		struct err e = { 0 };
		int r = store_open(path, true, &s, &e);
		is_errno(r, -EBADMSG, "%s %s: -EBADMSG", damage[i].part,
			 damage[i].len ? "overwritten" : "cut");
		ok(strstr(e.message, "restore a backup"), "with advice: %s", e.message);
		if (r == 0)
			store_close(s);
	}
	const char *path = sub_path("damage-gone");
	fill(path, 80000);
	DIR *d = opendir(path);
	int gone = 0;
	for (struct dirent *entry; d && (entry = readdir(d));)
		if (strstr(entry->d_name, ".sst"))
			gone += unlinkat(dirfd(d), entry->d_name, 0) == 0;
	if (d)
		closedir(d);
	struct store *s = NULL;
	struct err e = { 0 };
	int r = store_open(path, true, &s, &e);
	ok(gone > 0 && r == -EBADMSG && strstr(e.message, "restore a backup"),
	   "%d tables gone: -EBADMSG with advice", gone);
	if (r == 0)
		store_close(s);
}

static void test_format(void)
{
	const char *path = sub_path("format");
	fill(path, 1);
	static const char *const name[] = { "default", "meta",   "docs",  "dots",   "dirents",
					    "attrs",   "chunks", "hashes", "local", "history",
					    "picks" };
	rocksdb_column_family_handle_t *cf[11];
	rocksdb_options_t *o = rocksdb_options_create();
	const rocksdb_options_t *all[11] = { o, o, o, o, o, o, o, o, o, o, o };
	char *text = NULL;
	rocksdb_t *db = rocksdb_open_column_families(o, path, 11, name, all, cf, &text);
	if (!db)
		tap_bail("%s", text);
	rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
	rocksdb_put_cf(db, w, cf[0], "format", 6, "\0\0\0\7", 4, &text);
	for (int i = 0; i < 11; i++)
		rocksdb_column_family_handle_destroy(cf[i]);
	rocksdb_close(db);
	rocksdb_writeoptions_destroy(w);
	struct store *s = NULL;
	struct err e = { 0 };
	is_errno(store_open(path, true, &s, &e), -EBADMSG, "a later format: -EBADMSG");
	ok(strstr(e.message, "format 7") && strstr(e.message, "install"), "with advice: %s",
	   e.message);
	rocksdb_options_destroy(o);
}

#define THREADS 8
#define PER_THREAD 60

struct worker {
	struct store *s;
	uint32_t no;
	uint64_t bad;
};

static void *work(void *userdata)
{
	struct worker *w = userdata;
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	if (store_batch_new(&b) < 0)
		return NULL;
	for (uint32_t i = 0; i < PER_THREAD; i++) {
		uint32_t key[2] = { w->no, i };
		store_batch_clear(b);
		store_put(b, STORE_META, key, sizeof(key), &i, sizeof(i));
		w->bad += store_write(w->s, b, NULL) != 0;
		w->bad += store_flush(w->s, NULL) != 0;
		w->bad += !store_has(w->s, NULL, STORE_META, key, sizeof(key));
	}
	return NULL;
}

static void test_threads(bool memory)
{
	struct store *s;
	if ((memory ? store_open_memory(&s) : store_open(sub_path("threads"), true, &s, NULL)) < 0)
		tap_bail("cannot open a store");
	pthread_t thread[THREADS];
	struct worker w[THREADS];
	for (uint32_t i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ s, i, 0 };
		if (pthread_create(&thread[i], NULL, work, &w[i]) != 0)
			tap_bail("no thread");
	}
	uint64_t bad = 0;
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		bad += w[i].bad;
	}
	store_close(s);
	is_uint(bad, 0, "%s: %d threads write and flush at once", memory ? "memory" : "RocksDB",
		THREADS);
}

/* Writes batches of two entries and tells through the pipe what it has flushed, until killed. */
static void victim(const char *path, uint64_t from, int fd)
{
	struct store *s;
	struct store_batch *b;
	if (store_open(path, true, &s, NULL) < 0 || store_batch_new(&b) < 0)
		_exit(1);
	for (uint64_t i = from;; i++) {
		char value[3000];
		memset(value, (int)('a' + i % 26), sizeof(value));
		store_batch_clear(b);
		store_put(b, STORE_DOCS, &i, sizeof(i), value, i % sizeof(value));
		store_put(b, STORE_META, "last", 4, &i, sizeof(i));
		if (store_write(s, b, NULL) < 0)
			_exit(1);
		if (i % 3 == 0) {
			if (store_flush(s, NULL) < 0 || write(fd, &i, sizeof(i)) < 0)
				_exit(1);
		}
	}
}

/* The newest batch that the store holds; every one below must be whole. */
static uint64_t survivors(const char *path, uint64_t *ret_bad)
{
	struct store *s;
	struct err e = { 0 };
	if (store_open(path, false, &s, &e) < 0)
		tap_bail("cannot open after a kill: %s", e.message);
	_cleanup_(buf_done) struct buf v = { 0 };
	uint64_t last = 0;
	if (store_get(s, NULL, STORE_META, "last", 4, &v) == 0 && v.len == sizeof(last))
		memcpy(&last, v.data, sizeof(last));
	for (uint64_t i = 1; i <= last; i++)
		*ret_bad +=
			store_get(s, NULL, STORE_DOCS, &i, sizeof(i), &v) != 0 || v.len != i % 3000;
	uint64_t next = last + 1;
	*ret_bad += store_has(s, NULL, STORE_DOCS, &next, sizeof(next));
	store_close(s);
	return last;
}

static void test_kill(uint64_t seed)
{
	struct prng r = { seed };
	const char *path = sub_path("kill");
	struct store *first;
	if (store_open(path, true, &first, NULL) < 0)
		tap_bail("cannot make a store");
	store_close(first);
	uint64_t bad = 0, last = 0;
	for (int i = 0; i < 8; i++) {
		int fd[2];
		if (pipe(fd) < 0)
			tap_bail("no pipe");
		pid_t pid = fork();
		if (pid == 0) {
			/* RocksDB's threads do not come along in a fork. */
			char from[24], to[12];
			snprintf(from, sizeof(from), "%llu", (unsigned long long)last + 1);
			snprintf(to, sizeof(to), "%d", fd[1]);
			close(fd[0]);
			execl("/proc/self/exe", "test_store", "victim", path, from, to,
			      (char *)NULL);
			_exit(1);
		}
		close(fd[1]);
		uint64_t acked = last, got;
		uint64_t until = 1 + prng_below(&r, 60);
		for (uint64_t n = 0; n < until && read(fd[0], &got, sizeof(got)) == sizeof(got);
		     n++)
			acked = got;
		usleep((useconds_t)prng_below(&r, 3000));
		kill(pid, SIGKILL);
		while (read(fd[0], &got, sizeof(got)) == sizeof(got))
			acked = got;
		close(fd[0]);
		waitpid(pid, NULL, 0);
		uint64_t now = survivors(path, &bad);
		if (now < acked) {
			tap_diag("kill %d: %llu was acknowledged, %llu is there", i,
				 (unsigned long long)acked, (unsigned long long)now);
			bad++;
		}
		last = now;
	}
	ok(last > 0, "the killed processes wrote something (%llu batches)",
	   (unsigned long long)last);
	is_uint(bad, 0,
		"after kill -9 the store holds whole batches, and all that were acknowledged");
}

/* ---- what RocksDB does beyond its work ---- */

static _Thread_local int perf_level;

/* In the place of RocksDB's, which goes on counting. */
void rocksdb_set_perf_level(int level)
{
	perf_level = level;
}

static uint64_t compared(void)
{
	rocksdb_perfcontext_t *p = rocksdb_perfcontext_create();
	uint64_t n = rocksdb_perfcontext_metric(p, rocksdb_user_key_comparison_count);
	rocksdb_perfcontext_destroy(p);
	return n;
}

static void test_cost(void)
{
	static const enum store_family asked[] = { STORE_DOCS, STORE_ATTRS, STORE_DIRENTS };
	struct store_batch *b;
	struct store *s;
	if (store_batch_new(&b) < 0 || store_open(sub_path("cost"), true, &s, NULL) < 0)
		tap_bail("store_open");
	for (uint32_t k = 0; k < 3000; k += 2)
		for (unsigned f = 0; f < 3; f++)
			store_put(b, asked[f], &k, sizeof(k), "x", 1);
	perf_level = rocksdb_enable_time;
	is_int(store_write(s, b, NULL), 0, "1500 keys");
	is_int(perf_level, rocksdb_disable, "of which nobody counts what writing them takes");
	store_batch_free(b);
	for (unsigned f = 0; f < 3; f++) {
		unsigned there = 0;
		uint64_t before = compared();
		perf_level = rocksdb_enable_time;
		for (uint32_t k = 1; k < 2000; k += 2)
			there += store_has(s, NULL, asked[f], &k, sizeof(k));
		ok(there == 0 && compared() - before < 3000 && perf_level == rocksdb_disable,
		   "1000 others are not searched for (%" PRIu64 " comparisons)", compared() - before);
	}
	store_close(s);
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "victim") == 0)
		victim(argv[2], strtoull(argv[3], NULL, 10), (int)strtol(argv[4], NULL, 10));
	tap_plan(40);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 2000);
	test_model(NULL, seed, rounds, "memory");
	test_model(sub_path("model"), seed, rounds, "RocksDB");
	test_crash(seed, 200);
	test_fail();
	test_prefix();
	test_open();
	test_damage();
	test_format();
	test_threads(true);
	test_threads(false);
	test_kill(seed);
	test_cost();
	return tap_done();
}
