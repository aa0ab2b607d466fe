/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many threads on one replica: writers of the same and of other files, readers, listers, flushes,
 * an observer. Made for the thread sanitizer; without it, it still checks that no field that a
 * thread wrote is missing in the end, and that commits are told in their order.
 *
 *     test_replica_threads [SEED [ROUNDS]] */

#include <pthread.h>
#include <stdatomic.h>

#include "tests/replicas.h"

#define WRITERS 3
#define FILES 6

struct shared {
	struct replica *r;
	struct id dir, file[FILES];
	unsigned rounds;
	atomic_bool over;
	uint64_t last_hlc; /* the observer's: told one at a time */
	unsigned told, disorder;
};

struct worker {
	struct shared *s;
	pthread_t thread;
	unsigned no, failed;
};

static pthread_mutex_t wall_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t wall(void *userdata)
{
	pthread_mutex_lock(&wall_lock);
	uint64_t us = rep_wall(userdata);
	pthread_mutex_unlock(&wall_lock);
	return us;
}

static void observe(const struct change *change, size_t n, void *userdata)
{
	struct shared *s = userdata;
	s->told++;
	if (n == 0 || change[0].hlc <= s->last_hlc)
		s->disorder++;
	s->last_hlc = n ? change[0].hlc : s->last_hlc;
}

/* Adds a field of its own to a file that the others add to as well. */
static int add_field(struct shared *s, unsigned file, const char *key)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	int rc = replica_read(s->r, &s->file[file], &v);
	if (rc < 0)
		return rc;
	const char *text = version_data(v);
	const char *open = memchr(text, '{', version_size(v));
	size_t rest = (size_t)(version_size(v) - (size_t)(open + 1 - text));
	bool empty = open[1] == '}';
	buf_putf(&b, "{\"%s\": 1%s", key, empty ? "" : ", ");
	buf_put(&b, open + 1, rest);
	struct content c = { b.data, b.len, -1 };
	return replica_save(s->r, &s->file[file], v, &c, SAVE_BY_NAME, NULL, NULL);
}

static void *write_files(void *userdata)
{
	struct worker *w = userdata;
	struct shared *s = w->s;
	char name[32];
	for (unsigned i = 0; i < s->rounds; i++) {
		struct attr at;
		snprintf(name, sizeof(name), "w%u_%u", w->no, i);
		w->failed += add_field(s, i % FILES, name) < 0;
		snprintf(name, sizeof(name), "w%u_%u.txt", w->no, i);
		w->failed += rep_create(s->r, &s->dir, name, name, &at) < 0;
		w->failed += replica_set_mode(s->r, &at.id, 0600) < 0;
		if (i % 3 == 0) {
			snprintf(name, sizeof(name), "w%u_%u.moved", w->no, i);
			w->failed += rep_rename(s->r, &at.id, &s->dir, name, 0) < 0;
		}
		if (i % 2 == 0)
			w->failed += replica_remove(s->r, &at.id, 0) < 0;
		if (i % 8 == 0)
			w->failed += replica_flush(s->r, NULL) < 0;
	}
	return NULL;
}

static int look(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct worker *w = userdata;
	struct attr at;
	(void)attr;
	/* It may be gone by now; anything else is wrong. */
	int rc = replica_lookup(w->s->r, &w->s->dir, name, len, &at);
	w->failed += rc < 0 && rc != -ENOENT;
	return 0;
}

static void *read_files(void *userdata)
{
	struct worker *w = userdata;
	struct shared *s = w->s;
	for (unsigned i = 0; !atomic_load(&s->over); i++) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		_cleanup_(buf_done) struct buf path = { 0 };
		struct attr at;
		w->failed += replica_list(s->r, &s->dir, look, w) < 0;
		w->failed += replica_read(s->r, &s->file[i % FILES], &v) < 0;
		w->failed += replica_attr(s->r, &s->file[i % FILES], &at) < 0;
		w->failed += replica_path(s->r, &s->file[i % FILES], &path) < 0;
		struct view *view = replica_view(s->r);
		struct id print;
		view_fingerprint(view, interests_all(), &print);
		view_unref(view);
		replica_dirty(s->r);
		replica_count(s->r);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct rep p;
	struct shared s = { 0 };
	struct worker w[WRITERS + 2] = { 0 };
	struct attr at;
	unsigned failed = 0, missing = 0;
	tap_plan(4);
	uint64_t seed = tap_seed(argc, argv);
	s.rounds = (unsigned)tap_rounds(argc, argv, 150);
	rep_open(&p, NULL, 0, seed);
	rep_stop(&p);
	struct replica_config config = { .store = p.store, .device = p.device, .wall_us = wall,
					 .random = rep_random, .userdata = &p };
	if (replica_open(&config, &p.r, NULL) < 0)
		tap_bail("replica_open");
	s.r = p.r;
	rep_mkdir(s.r, &NODE_ROOT, "d", &at);
	s.dir = at.id;
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];
		snprintf(name, sizeof(name), "f%u.json", i);
		rep_create(s.r, &s.dir, name, "{}", &at);
		s.file[i] = at.id;
	}
	replica_observe(s.r, observe, &s);
	uint64_t before = replica_commits(s.r);
	for (unsigned i = 0; i < WRITERS + 2; i++) {
		w[i].s = &s;
		w[i].no = i;
		if (pthread_create(&w[i].thread, NULL, i < WRITERS ? write_files : read_files, &w[i]))
			tap_bail("no thread");
	}
	for (unsigned i = 0; i < WRITERS + 2; i++) {
		if (i == WRITERS)
			atomic_store(&s.over, true);
		pthread_join(w[i].thread, NULL);
		failed += w[i].failed;
	}
	is_uint(failed, 0, "no call failed");
	ok(s.told == replica_commits(s.r) - before && s.disorder == 0,
	   "all of %u commits were told, in order", s.told);
	for (unsigned i = 0; i < FILES; i++) {
		_cleanup_free_ char *text = rep_read(s.r, &s.file[i]);
		for (unsigned k = 0; k < WRITERS * s.rounds; k++) {
			char key[32];
			if (k / WRITERS % FILES != i)
				continue;
			snprintf(key, sizeof(key), "\"w%u_%u\"", k % WRITERS, k / WRITERS);
			missing += !strstr(text, key);
		}
	}
	is_uint(missing, 0, "no field is missing");
	ok(rep_sound(s.r), "the store is sound");
	rep_close(&p);
	return tap_done();
}
