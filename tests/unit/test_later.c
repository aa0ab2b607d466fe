/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Versions whose bytes are made when they are asked for: whatever takes the place of one before that, it
 * shows what it was, and is as good a base as one that was read at once.
 *
 *     test_later [SEED [ROUNDS]] */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/store.h"
#include "tests/meeting.h"

#define READERS 2

static const char document[] = "{\n  \"a\": 1,\n  \"l\": [1, 2, 3]\n}\n";
static const char newer[] = "{\n  \"a\": 2,\n  \"b\": 1,\n  \"l\": [2, 3]\n}\n";
static const char text[] = "one\ntwo\nthree\n";
static const char newer_text[] = "zero\none\nthree\n";

/* Nothing that was rendered before is remembered. */
static struct version *later(struct rep *x, const struct id *id)
{
	struct version *v;
	rep_stop(x);
	rep_start(x);
	if (replica_read_later(x->r, id, &v) < 0)
		tap_bail("read later");
	return v;
}

static bool is_itself(struct rep *x, const struct version *v)
{
	struct id id;
	vv_fingerprint(version_context(v), replica_actors(x->r), &id);
	return id_equal(&id, version_id(v));
}

static bool holds(struct rep *x, const struct version *v, const char *want)
{
	const char *data = version_data(v);
	return data && version_size(v) == strlen(want) && !memcmp(data, want, strlen(want)) &&
	       is_itself(x, v);
}

/* ---- not before ---- */

static void damage(struct rep *x, const struct id *id)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	if (store_batch_new(&b) < 0)
		tap_bail("no batch");
	store_put(b, STORE_DOCS, id->b, ID_SIZE, "x", 1);
	if (store_write(x->store, b, NULL) < 0)
		tap_bail("no write");
}

static void test_lazy(void)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct err e = { 0 };
	char room[8];
	struct id id = begin("lazy.json", document);
	rep_stop(&p);
	damage(&p, &id);
	v = later(&p, &id);
	is_uint(version_size(v), strlen(document), "the size is known without the record");
	ok(version_form(v) == FORM_JSON && version_is_bytes(v), "and what it is");
	ok(version_load(v) < 0, "a record that cannot be read is an error");
	ok(!version_data(v) && version_pread(v, room, sizeof(room), 0) < 0, "not other bytes");
	struct content c = rep_text(newer);
	ok(replica_save(p.r, &id, v, &c, SAVE_BY_NAME, NULL, &e) < 0, "nor a base");
}

/* ---- replaced meanwhile ---- */

static void save_here(const struct id *id)
{
	_cleanup_(version_unrefp) struct version *head = read_of(&p, id);
	struct attr at;
	const bool is_text = replica_attr(p.r, id, &at) == 0 && at.form == FORM_TEXT;
	if (rep_save(p.r, id, head, is_text ? newer_text : newer) < 0)
		tap_bail("save");
}

static void save_there(const struct id *id)
{
	_cleanup_(version_unrefp) struct version *head = read_of(&q, id);
	struct attr at;
	const bool is_text = replica_attr(q.r, id, &at) == 0 && at.form == FORM_TEXT;
	if (rep_save(q.r, id, head, is_text ? newer_text : newer) < 0)
		tap_bail("save");
	send(&q, &p, id);
}

static void save_blindly(const struct id *id)
{
	if (rep_save(p.r, id, NULL, newer) < 0)
		tap_bail("save");
}

static void change_mode(const struct id *id)
{
	replica_set_mode(p.r, id, 0600);
}

static void change_time(const struct id *id)
{
	replica_set_mtime(p.r, id, 12345);
}

static void rename_it(const struct id *id)
{
	if (rep_rename(p.r, id, &dir.id, "elsewhere.json", 0) < 0)
		tap_bail("rename");
}

static void remove_it(const struct id *id)
{
	if (replica_remove(p.r, id, 0) < 0)
		tap_bail("remove");
}

static const struct {
	const char *name;
	void (*replace)(const struct id *id);
} way[] = {
	{ "a save", save_here },          { "a save elsewhere", save_there },
	{ "a save of a stranger", save_blindly }, { "another mode", change_mode },
	{ "another time", change_time },  { "a new name", rename_it },
	{ "a removal", remove_it },
};
#define WAYS (sizeof(way) / sizeof(way[0]))

static void test_replaced(void)
{
	for (unsigned k = 0; k < 2 * WAYS; k++) {
		const char *what = way[k / 2].name, *was = k % 2 ? text : document;
		char name[32];
		snprintf(name, sizeof(name), "f%u.%s", k, k % 2 ? "txt" : "json");
		struct id id = begin(name, was);
		_cleanup_(version_unrefp) struct version *v = later(&p, &id);
		_cleanup_(version_unrefp) struct version *again = NULL;
		struct attr before = { 0 }, after = { 0 };
		replica_attr(p.r, &id, &before);
		way[k / 2].replace(&id);
		replica_attr(p.r, &id, &after);
		ok(holds(&p, v, was) && !id_equal(&before.version, &after.version),
		   "%s: %s shows what it was", what, name);
		if (replica_read_later(p.r, &id, &again) == 0)
			ok(again != v && is_itself(&p, again), "%s: the next one is of its own", what);
		else
			ok(way[k / 2].replace == remove_it, "%s: it is gone", what);
	}
}

static void test_fails(void)
{
	_cleanup_(version_unrefp) struct version *v = NULL, *again = NULL;
	struct id id = begin("fails.json", document);
	v = later(&p, &id);
	store_fail(p.store, 1, -ENOSPC);
	ok(replica_set_mode(p.r, &id, 0600) < 0, "a commit that fails");
	ok(holds(&p, v, document), "leaves the version what it is");
	version_unref(TAKE_PTR(v));
	v = later(&p, &id);
	store_fail(p.store, 1, -ENOSPC);
	ok(replica_set_mode(p.r, &id, 0600) < 0, "and one more");
	ok(replica_read_later(p.r, &id, &again) == 0 && again == v && holds(&p, again, document),
	   "who comes later gets the same one");
}

/* ---- a base ---- */

static void test_base(const char *name, const char *was, const char *saved, const char *want)
{
	struct id id = begin(name, was);
	_cleanup_(version_unrefp) struct version *base = later(&p, &id);
	save_there(&id);
	rep_save(p.r, &id, base, saved);
	_cleanup_free_ char *got = rep_read(p.r, &id);
	is_str(got, want, "%s: a save is the difference to what was opened", name);
}

static void test_one_object(void)
{
	struct id id = begin("one.json", document);
	_cleanup_(version_unrefp) struct version *v = later(&p, &id);
	_cleanup_(version_unrefp) struct version *read = read_of(&p, &id);
	_cleanup_(version_unrefp) struct version *again = NULL;
	ok(read == v && holds(&p, v, document), "whoever reads it makes the bytes of all");
	replica_read_later(p.r, &id, &again);
	ok(again == v, "and there is one of a version");
}

/* ---- threads ---- */

struct crowd {
	struct id id;
	atomic_bool over;
	atomic_uint wrong, saved; /* the number that was saved last */
};

/* The number in the document. */
static unsigned number_of(struct version *v)
{
	char text_of[32] = "";
	unsigned n = 0;
	ssize_t len = version_pread(v, text_of, sizeof(text_of) - 1, 0);
	const bool whole = len > 0 && (uint64_t)len == version_size(v) && text_of[len - 2] == '}';
	return whole && sscanf(text_of, "{\"n\": %u}", &n) == 1 ? n : 0;
}

static void *read_on(void *userdata)
{
	struct crowd *c = userdata;
	while (!atomic_load(&c->over)) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		const unsigned saved = atomic_load(&c->saved);
		if (replica_read_later(p.r, &c->id, &v) < 0) {
			atomic_fetch_add(&c->wrong, 1);
			continue;
		}
		sched_yield();
		unsigned n = number_of(v);
		atomic_fetch_add(&c->wrong, n == 0 || n < saved || !is_itself(&p, v));
	}
	return NULL;
}

/* A change of the mode makes a version that nobody has rendered. */
static void test_threads(unsigned rounds)
{
	struct crowd c = { .id = begin("crowd.json", "{\"n\": 1}\n") };
	pthread_t thread[READERS];
	for (unsigned k = 0; k < READERS; k++)
		if (pthread_create(&thread[k], NULL, read_on, &c))
			tap_bail("no thread");
	for (unsigned k = 2; k < rounds; k++) {
		char now[32];
		snprintf(now, sizeof(now), "{\"n\": %u}\n", k);
		_cleanup_(version_unrefp) struct version *v = read_of(&p, &c.id);
		atomic_fetch_add(&c.wrong, rep_save(p.r, &c.id, v, now) < 0);
		atomic_store(&c.saved, k);
		for (unsigned i = 0; i < 4; i++)
			atomic_fetch_add(&c.wrong, replica_set_mode(p.r, &c.id, 0600 + i) < 0);
	}
	atomic_store(&c.over, true);
	for (unsigned k = 0; k < READERS; k++)
		pthread_join(thread[k], NULL);
	is_uint(atomic_load(&c.wrong), 0, "many see one version each, and none that was replaced before they looked");
}

int main(int argc, char **argv)
{
	tap_plan(5 + 4 * WAYS + 4 + 2 + 2 + 1 + 1);
	uint64_t seed = tap_seed(argc, argv);
	unsigned rounds = (unsigned)tap_rounds(argc, argv, 3000);
	rep_open(&p, NULL, 0, seed);
	rep_open(&q, NULL, 1, seed);
	rep_mkdir(p.r, &NODE_ROOT, "d", &dir);
	send(&p, &q, &dir.id);
	test_replaced();
	test_fails();
	test_base("base.json", document, "{\n  \"a\": 1,\n  \"c\": 5,\n  \"l\": [1, 2, 3]\n}\n",
		  "{\n  \"a\": 2,\n  \"b\": 1,\n  \"c\": 5,\n  \"l\": [2, 3]\n}\n");
	test_base("base.txt", text, "one\ntwo\nthree\nfour\n", "zero\none\nthree\nfour\n");
	test_one_object();
	test_threads(rounds);
	ok(rep_sound(p.r), "the store is sound");
	test_lazy();
	rep_close(&p);
	rep_close(&q);
	return tap_done();
}
