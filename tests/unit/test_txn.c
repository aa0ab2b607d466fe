/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Batches: all or none, at home and at each peer, whatever is cut in between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tests/pair.h"
#include "tests/replicas.h"

#define STEPS 16
#define A(text) text, sizeof(text) - 1

struct script {
	struct arena arena;
	struct txn_step step[STEPS];
	struct txn_result result[STEPS];
	uint32_t n, at;
	struct err e;
};

static void script_step(struct script *s, enum txn_op op, const char *path, const char *value,
			const char *version)
{
	struct json *v = NULL;
	if (value && json_parse(&s->arena, value, strlen(value), NULL, &v, &s->e) < 0)
		tap_bail("%s: %s", value, s->e.message);
	s->step[s->n++] = (struct txn_step){ op, path, v, version };
}

static int script_run(struct script *s, struct replica *r)
{
	s->e = (struct err){ 0 };
	return replica_txn(r, s->step, s->n, s->result, &s->at, &s->e);
}

static void script_done(struct script *s)
{
	arena_done(&s->arena);
	*s = (struct script){ 0 };
}

/* ---- at home ---- */

static bool has(struct node *n, const char *dir, const char *name, const char *want)
{
	_cleanup_free_ char *got = node_read(n, dir, name);
	if (want ? got && strcmp(got, want) == 0 : !got)
		return true;
	tap_diag("%s/%s is %s", dir, name, got ? got : "not there");
	return false;
}

static void test_steps(void)
{
	_cleanup_(script_done) struct script s = { 0 };
	struct node n;
	node_open(&n, 1, NULL);
	node_write(&n, "d", "a.json", A("{\n    \"n\": 1,\n    \"list\": [1, 2]\n}\n"));
	node_write(&n, "d", "b.json", A("{\"n\":1}"));
	node_write(&n, "d", "old.txt", A("old\n"));
	uint64_t commits = replica_commits(n.replica);
	script_step(&s, TXN_PUT, "d/new.json", "{\"n\":2}", "");
	script_step(&s, TXN_PATCH, "/d//a.json",
		    "[{\"op\":\"test\",\"path\":\"/n\",\"value\":1},"
		    "{\"op\":\"replace\",\"path\":\"/n\",\"value\":2},"
		    "{\"op\":\"add\",\"path\":\"/list/-\",\"value\":3}]", NULL);
	script_step(&s, TXN_MERGE, "d/b.json", "{\"n\":null,\"m\":2}", NULL);
	script_step(&s, TXN_DELETE, "d/old.txt", NULL, NULL);
	is_int(script_run(&s, n.replica), 0, "a batch of four steps (%s)", s.e.message);
	is_uint(replica_commits(n.replica) - commits, 1, "is one commit");
	ok(has(&n, "d", "new.json", "{\n  \"n\": 2\n}\n"), "a new document is written as jq does");
	ok(has(&n, "d", "a.json", "{\n    \"n\": 2,\n    \"list\": [1, 2, 3]\n}\n"),
	   "a patched one keeps its style");
	ok(has(&n, "d", "b.json", "{\"m\":2}"), "a merged one as well");
	ok(has(&n, "d", "old.txt", NULL), "a deleted file is gone");
	struct attr dir, at;
	char hex[ID_HEX], first[TXN_VERSION_DIGITS + 1] = "";
	rep_lookup(n.replica, &NODE_ROOT, "d", &dir);
	rep_lookup(n.replica, &dir.id, "a.json", &at);
	ok(s.result[1].there && id_equal(&s.result[1].version, &at.version), "the versions are told");
	ok(!s.result[3].there, "and that a file is gone");
	memcpy(first, id_hex(&at.version, hex), TXN_VERSION_DIGITS);

	script_done(&s);
	script_step(&s, TXN_MERGE, "d/a.json", "{\"x\":1}", first);
	script_step(&s, TXN_PATCH, "d/a.json", "[{\"op\":\"move\",\"from\":\"/x\",\"path\":\"/y\"}]", hex);
	script_step(&s, TXN_DELETE, "d/b.json", NULL, NULL);
	script_step(&s, TXN_PUT, "d/b.json", "[]", NULL);
	script_step(&s, TXN_PUT, "d/c.json", "1", NULL);
	script_step(&s, TXN_DELETE, "d/c.json", NULL, NULL);
	is_int(script_run(&s, n.replica), 0, "later steps see the earlier ones (%s)", s.e.message);
	ok(has(&n, "d", "a.json", "{\n    \"n\": 2,\n    \"list\": [1, 2, 3],\n    \"y\": 1\n}\n"),
	   "two on one document");
	ok(has(&n, "d", "b.json", "[]"), "deleted and put is saved over");
	ok(has(&n, "d", "c.json", NULL) && !s.result[4].there, "put and deleted was never there");
	commits = replica_commits(n.replica);
	script_done(&s);
	script_step(&s, TXN_PUT, "d/b.json", "[]", NULL);
	script_step(&s, TXN_MERGE, "d/a.json", "{\"y\":1.0}", NULL);
	is_int(script_run(&s, n.replica), 0, "a batch that changes nothing");
	is_uint(replica_commits(n.replica), commits, "makes no commit");
	ok(rep_sound(n.replica), "the store is sound");
	node_close(&n);
}

struct refusal {
	enum txn_op op;
	const char *path, *value, *version;
	int code;
	const char *says;
};

static const struct refusal refusals[] = {
	{ TXN_PUT, "d/x.txt", "1", NULL, -EINVAL, ".json" },
	{ TXN_PUT, "none/x.json", "1", NULL, -ENOENT, "no directory \"none\"" },
	{ TXN_PUT, "d/a.json/x.json", "1", NULL, -ENOTDIR, "no directory" },
	{ TXN_PUT, "d", "1", NULL, -EISDIR, "is a directory" },
	{ TXN_PUT, "", "1", NULL, -EINVAL, "no path" },
	{ TXN_PUT, "d/../x.json", "1", NULL, -EINVAL, "no path" },
	{ TXN_PUT, "d/b.json", "2", "ffff", -ESTALE, "read it again" },
	{ TXN_PUT, "d/b.json", "2", "", -ESTALE, "there already" },
	{ TXN_PUT, "d/none.json", "2", "0000", -ESTALE, "not there any more" },
	{ TXN_PUT, "d/b.json", "2", "xyz", -EINVAL, "hexadecimal" },
	{ TXN_PATCH, "d/none.json", "[]", NULL, -ENOENT, "there is no" },
	{ TXN_PATCH, "d/t.txt", "[]", NULL, -EINVAL, "no document" },
	{ TXN_PATCH, "d/b.json", "[{\"op\":\"test\",\"path\":\"\",\"value\":9}]", NULL, -ECANCELED, "test" },
	{ TXN_PATCH, "d/b.json", "{}", NULL, -EINVAL, "list of operations" },
	{ TXN_MERGE, "d/none.json", "{}", NULL, -ENOENT, "there is no" },
	{ TXN_DELETE, "d/none.json", NULL, NULL, -ENOENT, "there is no" },
	{ TXN_DELETE, "d", NULL, NULL, -EISDIR, "is a directory" },
};

static void test_refusals(void)
{
	struct node n;
	struct err e = { 0 };
	node_open(&n, 1, NULL);
	node_write(&n, "d", "a.json", A("{\"n\":1}"));
	node_write(&n, "d", "b.json", A("{\"n\":1}"));
	node_write(&n, "d", "t.txt", A("text\n"));
	uint64_t commits = replica_commits(n.replica);
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		_cleanup_(script_done) struct script s = { 0 };
		const struct refusal *x = &refusals[i];
		script_step(&s, TXN_PUT, "d/a.json", "{\"n\":2}", NULL);
		script_step(&s, TXN_PUT, "d/new.json", "{}", NULL);
		script_step(&s, x->op, x->path, x->value, x->version);
		int r = script_run(&s, n.replica);
		ok(r == x->code && s.at == 2 && strstr(s.e.message, x->says), "refused: %s", s.e.message);
	}
	_cleanup_(script_done) struct script s = { 0 };
	script_step(&s, TXN_PUT, "d/a.json", "{\"n\":2}", NULL);
	script_step(&s, TXN_PUT, "d/b.json", "{\"n\":2}", NULL);
	store_fail(n.store, 1, -ENOSPC);
	ok(script_run(&s, n.replica) == -ENOSPC && s.at == 2, "a full disk is the fault of no step");
	_cleanup_(buf_done) struct buf big = { 0 };
	buf_putf(&big, "\"%*s\"", 9 << 20, "x");
	script_done(&s);
	script_step(&s, TXN_PUT, "d/a.json", buf_cstr(&big), NULL);
	script_step(&s, TXN_PUT, "d/b.json", (const char *)big.data, NULL);
	is_errno(script_run(&s, n.replica), -EFBIG, "more than 16 MiB are refused");
	is_errno(replica_txn(n.replica, s.step, TXN_STEPS_MAX + 1, s.result, &s.at, &e), -E2BIG,
		 "and more than 1000 steps");
	is_uint(replica_commits(n.replica), commits, "none of these made a commit");
	ok(has(&n, "d", "a.json", "{\"n\":1}") && has(&n, "d", "b.json", "{\"n\":1}") &&
	   has(&n, "d", "new.json", NULL), "nor changed anything");
	ok(rep_sound(n.replica), "the store is sound");
	node_close(&n);
}


/* ---- who looks on ---- */

struct told {
	struct replica *r;
	unsigned times, changes;
	bool half;
};

static void note_change(const struct change *change, size_t n, void *userdata)
{
	struct told *t = userdata;
	struct attr at;
	t->times++;
	t->changes += (unsigned)n;
	for (size_t i = 0; i < n; i++)
		t->half |= replica_attr(t->r, &change[i].id, &at) < 0 ||
			   !id_equal(&at.version, &change[i].version);
}

static void test_observers(void)
{
	_cleanup_(script_done) struct script s = { 0 };
	struct node a, b;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "d", "t.txt", A("x\n"));
	node_write(&a, "e", "t.txt", A("x\n"));
	struct told here = { .r = a.replica }, there = { .r = b.replica };
	pair_open(&p, &a, &b);
	pair_run(&p);
	replica_observe(a.replica, note_change, &here);
	replica_observe(b.replica, note_change, &there);
	script_step(&s, TXN_PUT, "d/1.json", "{}", NULL);
	script_step(&s, TXN_PUT, "d/2.json", "{}", NULL);
	script_step(&s, TXN_PUT, "e/3.json", "{}", NULL);
	if (script_run(&s, a.replica) < 0)
		tap_bail("%s", s.e.message);
	node_flush(&a, p.session[0]);
	pair_run(&p);
	ok(here.times == 1 && here.changes >= 3 && !here.half, "observers hear of it once, when it is there");
	ok(there.times == 1 && there.changes >= 3 && !there.half, "at the peer as well: %u times %u",
	   there.times, there.changes);
	ok(!p.failed && replica_commits(b.replica) > 0, "the session goes on (%s)", p.e.message);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* ---- the lists ---- */

/* As put_all, but others may take them in one by one. */
static void put_apart(struct node *n, const char *const *path, const char *value)
{
	_cleanup_(script_done) struct script s = { 0 };
	for (; *path; path++)
		script_step(&s, TXN_PUT, *path, value, NULL);
	if (replica_steps(n->replica, s.step, s.n, false, s.result, &s.at, &s.e) < 0)
		tap_bail("%s", s.e.message);
}

static void put_all(struct node *n, const char *const *path, const char *value)
{
	_cleanup_(script_done) struct script s = { 0 };
	for (; *path; path++)
		script_step(&s, TXN_PUT, *path, value, NULL);
	if (script_run(&s, n->replica) < 0)
		tap_bail("%s", s.e.message);
}

/* Keys of META that begin with this byte; *ret (may be NULL) is the last one. */
static unsigned listed(struct node *n, uint8_t kind, struct buf *ret)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t end = (uint8_t)(kind + 1);
	unsigned count = 0;
	if (store_iter_new(n->store, NULL, STORE_META, &kind, 1, &end, 1, &it) < 0)
		tap_bail("store_iter_new");
	for (; store_iter_valid(it); store_iter_next(it), count++) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		if (!ret)
			continue;
		buf_reset(ret);
		buf_put(ret, key, len);
	}
	return count;
}

static void test_lists(void)
{
	static const char *const two[] = { "d/1.json", "d/2.json", NULL };
	static const char *const three[] = { "d/1.json", "d/2.json", "d/3.json", NULL };
	static const char *const other[] = { "d/3.json", "d/4.json", NULL };
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	_cleanup_(buf_done) struct buf key = { 0 };
	struct verify_report report;
	struct node n;
	node_open(&n, 1, NULL);
	node_write(&n, "d", "t.txt", A("x\n"));
	put_all(&n, two, "1");
	put_all(&n, two, "2");
	is_uint(listed(&n, 'B', NULL), 1, "the same files again: one list is enough");
	put_all(&n, three, "3");
	is_uint(listed(&n, 'B', NULL), 1, "and one for these and more");
	put_all(&n, other, "4");
	put_all(&n, two, "5");
	is_uint(listed(&n, 'B', NULL), 3, "others have their own");
	is_uint(listed(&n, 'M', &key), 7, "which their nodes know");
	const char *const one[] = { "d/1.json", NULL };
	put_all(&n, one, "6");
	is_uint(listed(&n, 'B', NULL), 3, "one file alone needs none");
	uint64_t commits = replica_commits(n.replica);
	put_apart(&n, other, "7");
	ok(replica_commits(n.replica) == commits + 1 && has(&n, "d", "3.json", "7\n") &&
	   has(&n, "d", "4.json", "7\n"), "what may come apart is one commit as well");
	is_uint(listed(&n, 'B', NULL), 3, "and noted nowhere");
	if (store_batch_new(&b) < 0)
		tap_bail("out of memory");
	store_delete(b, STORE_META, key.data, key.len);
	key.data[1] ^= 1;
	key.data[20] ^= 1; /* of another actor, who made none */
	store_put(b, STORE_META, key.data, key.len, "", 0);
	if (store_write(n.store, b, NULL) < 0)
		tap_bail("store_write");
	ok(replica_verify(n.replica, false, rep_problem, NULL, &report, NULL) == 0 && report.errors == 1,
	   "verify finds what is wrong there");
	ok(replica_verify(n.replica, true, rep_problem, NULL, &report, NULL) == 0 && rep_sound(n.replica),
	   "and mends it");
	is_uint(listed(&n, 'M', NULL), 7, "as it was");
	node_close(&n);
}

/* ---- at peers ---- */

/* A file of the batch is a conflict with bytes that come in chunks: all of it waits for them. */
static void test_chunks(void)
{
	static const char *const two[] = { "d/1.json", "d/2.json", NULL };
	struct node n[3];
	struct pair p;
	struct prng random = { 7 };
	_cleanup_(buf_done) struct buf blob = { 0 };
	uint8_t *bytes = buf_reserve(&blob, 1 << 20);
	if (!bytes)
		tap_bail("out of memory");
	prng_fill(&random, bytes, 1 << 20);
	for (uint8_t i = 0; i < 3; i++)
		node_open(&n[i], (uint8_t)(i + 1), NULL);
	node_write(&n[0], "d", "t.txt", A("x\n"));
	put_all(&n[0], two, "1");
	node_write(&n[1], "d", "1.json", bytes, 1 << 20);
	pair_open(&p, &n[0], &n[1]);
	pair_run(&p);
	pair_close(&p);
	bool waited = false, half = false, moved = true;
	pair_open(&p, &n[0], &n[2]);
	while (moved && !p.failed) {
		struct session_status st;
		moved = pair_turn(&p, 1000);
		_cleanup_free_ char *one = node_read(&n[2], "d", "1.json"), *other = node_read(&n[2], "d", "2.json");
		session_status(p.session[1], &st);
		waited |= st.deltas_in >= 4 && !other; /* the directory, the text, and these */
		half |= !one != !other;
		moved |= replica_dirty(n[2].replica);
		node_flush(&n[2], p.session[1]);
	}
	ok(waited && !half, "all of a batch waits for the chunks of one file (%s)", p.e.message);
	ok(has(&n[2], "d", "2.json", "1\n"), "and then it is there");
	pair_close(&p);
	for (unsigned i = 0; i < 3; i++)
		node_close(&n[i]);
}

static bool in_step(struct node *x, struct node *y)
{
	struct id mine, theirs;
	struct view *v = replica_view(x->replica), *u = replica_view(y->replica);
	view_fingerprint(v, interests_all(), &mine);
	view_fingerprint(u, interests_all(), &theirs);
	view_unref(v);
	view_unref(u);
	return id_equal(&mine, &theirs);
}

/* Deltas of a bundle wait for each other, however small the window is. */
static void test_large(void)
{
	static const char *const two[] = { "d/1.json", "d/2.json", NULL };
	struct node a, b;
	struct pair p;
	_cleanup_(buf_done) struct buf value = { 0 };
	bool moved = true, half = false;
	buf_putf(&value, "\"%*s\"", 5 << 20, "x");
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "d", "t.txt", A("x\n"));
	put_all(&a, two, buf_cstr(&value));
	pair_open(&p, &a, &b);
	while (moved && !p.failed) {
		moved = pair_turn(&p, 300000);
		_cleanup_free_ char *one = node_read(&b, "d", "1.json"), *other = node_read(&b, "d", "2.json");
		half |= !one != !other;
		moved |= replica_dirty(b.replica);
		node_flush(&b, p.session[1]);
	}
	ok(!half && in_step(&a, &b), "a batch of ten windows comes at once (%s)", p.e.message);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* The later of two batches came by another way before the earlier one. */
static void test_order(void)
{
	static const char *const two[] = { "d/1.json", "d/2.json", NULL };
	static const char *const three[] = { "d/1.json", "d/2.json", "d/3.json", NULL };
	struct node n[3];
	struct pair p, q;
	for (uint8_t i = 0; i < 3; i++)
		node_open(&n[i], (uint8_t)(i + 1), NULL);
	node_write(&n[0], "d", "t.txt", A("x\n"));
	put_all(&n[0], two, "1");
	pair_open(&p, &n[0], &n[1]);
	pair_run(&p);
	pair_close(&p);
	node_write(&n[1], "d", "1.json", A("5\n"));
	/* The first batch is on its way, with a change of another device, while the second one comes. */
	struct session_status st = { 0 };
	_cleanup_(buf_done) struct buf late = { 0 };
	pair_open(&p, &n[1], &n[2]);
	while (st.deltas_out == 0) {
		buf_reset(&late);
		if (session_output(p.session[0], &late, 65536, p.now, &p.e) < 0)
			tap_bail("%s", p.e.message);
		session_status(p.session[0], &st);
		_cleanup_(buf_done) struct buf back = { 0 };
		if ((st.deltas_out == 0 &&
		     session_input(p.session[1], late.data, late.len, p.now, &p.e) < 0) ||
		    session_output(p.session[1], &back, 65536, p.now, &p.e) < 0 ||
		    session_input(p.session[0], back.data, back.len, p.now, &p.e) < 0)
			tap_bail("%s", p.e.message);
	}
	put_all(&n[0], three, "2");
	pair_open(&q, &n[0], &n[2]);
	pair_run(&q);
	if (session_input(p.session[1], late.data, late.len, p.now, &p.e) < 0)
		tap_bail("%s", p.e.message);
	pair_run(&p);
	session_news(q.session[1]);
	pair_run(&q);
	is_uint(listed(&n[2], 'B', NULL), 1, "a batch that a later one covers is not listed again (%s%s)",
		p.e.message, q.e.message);
	ok(in_step(&n[0], &n[2]) && rep_sound(n[2].replica), "and the end is the same");
	pair_close(&p);
	pair_close(&q);
	for (unsigned i = 0; i < 3; i++)
		node_close(&n[i]);
}

/* More hangs together than goes into one bundle: then the files come one by one, but they come. */
static void test_long_chain(void)
{
	struct node a, b;
	struct pair p;
	_cleanup_(buf_done) struct buf value = { 0 };
	char path[41][32];
	buf_putf(&value, "\"%*s\"", 1 << 20, "x");
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "d", "t.txt", A("x\n"));
	for (unsigned i = 0; i < 41; i++)
		snprintf(path[i], sizeof(path[i]), "d/%u.json", i);
	for (unsigned i = 0; i < 40; i++) {
		const char *const two[] = { path[i], path[i + 1], NULL };
		value.data[1] = (uint8_t)('a' + i % 20);
		put_all(&a, two, buf_cstr(&value));
	}
	pair_open(&p, &a, &b);
	pair_run(&p);
	_cleanup_free_ char *last = node_read(&b, "d", "40.json"), *first = node_read(&b, "d", "0.json");
	ok(!p.failed && last && last[1] == 't' && first && first[1] == 'a' && in_step(&a, &b),
	   "what is too much for one bundle comes one by one (%s)", p.e.message);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

#define DOCS 9
#define BATCHES 300
#define DEVICES 3

/* A batch writes its number as a key into some documents, and keys never go: on any device
 * at any time, all of the documents have the key or none. */
struct work {
	struct prng random;
	struct node node[DEVICES];
	unsigned batch[BATCHES]; /* sets of documents */
	uint32_t n;
	uint64_t looks, seen;
	bool half;
};

static const char *const places[] = { "one", "two", "three/sub" };

static const char *doc_path(unsigned i, char text[static 32])
{
	snprintf(text, 32, "%s/%u.json", places[i % 3], i);
	return text;
}

static int find(struct node *n, const char *path, struct attr *ret)
{
	*ret = (struct attr){ .id = NODE_ROOT };
	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");
		struct id parent = ret->id;
		int r = replica_lookup(n->replica, &parent, p, len, ret);
		if (r < 0)
			return r;
		p += len + (p[len] == '/');
	}
	return 0;
}

/* The document as a tree; NULL: it is not there. */
static struct json *read_doc(struct node *n, const char *path, struct arena *a)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct attr at;
	struct json *tree = NULL;
	if (find(n, path, &at) < 0 || replica_read(n->replica, &at.id, &v) < 0 || !version_data(v))
		return NULL;
	size_t len = (size_t)version_size(v);
	char *copy = arena_dup(a, version_data(v), len);
	return copy && json_parse(a, copy, len, NULL, &tree, NULL) == 0 ? tree : NULL;
}

static void make_places(struct node *n)
{
	struct attr at, sub;
	for (unsigned i = 0; i < 3; i++) {
		char top[16];
		snprintf(top, sizeof(top), "%.*s", (int)strcspn(places[i], "/"), places[i]);
		if (find(n, top, &at) < 0)
			rep_mkdir(n->replica, &NODE_ROOT, top, &at);
		if (strchr(places[i], '/') && find(n, places[i], &sub) < 0)
			rep_mkdir(n->replica, &at.id, strchr(places[i], '/') + 1, &sub);
	}
}

static void write_docs(struct node *n, unsigned set, const char *value)
{
	_cleanup_(script_done) struct script s = { 0 };
	char path[DOCS][32];
	struct attr at;
	make_places(n);
	for (unsigned i = 0; i < DOCS; i++)
		if (set >> i & 1)
			script_step(&s, find(n, doc_path(i, path[i]), &at) == 0 ? TXN_MERGE : TXN_PUT,
				    path[i], value, NULL);
	if (script_run(&s, n->replica) < 0)
		tap_bail("replica_txn: %s", s.e.message);
}

static void write_something(struct work *w, struct node *n)
{
	char value[64];
	unsigned set = 0;
	if (prng_below(&w->random, 2) == 0 || w->n == BATCHES) { /* a save of one file */
		snprintf(value, sizeof(value), "{\"x\":%u}", (unsigned)prng_below(&w->random, 1000));
		write_docs(n, 1u << prng_below(&w->random, DOCS), value);
		return;
	}
	while (__builtin_popcount(set) < 2 || (__builtin_popcount(set) > 3 && prng_below(&w->random, 2)))
		set = (unsigned)prng_below(&w->random, 1u << DOCS);
	snprintf(value, sizeof(value), "{\"%u\":1}", w->n);
	write_docs(n, set, value);
	w->batch[w->n++] = set;
}

static void look(struct work *w, struct node *n, const char *when)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *doc[DOCS] = { NULL };
	char path[32], key[16];
	w->looks++;
	for (unsigned i = 0; i < DOCS; i++)
		doc[i] = read_doc(n, doc_path(i, path), &a);
	for (uint32_t k = 0; k < w->n; k++) {
		unsigned with = 0;
		snprintf(key, sizeof(key), "%u", k);
		for (unsigned i = 0; i < DOCS; i++)
			with |= (unsigned)(json_get_z(doc[i], key) != NULL) << i;
		w->seen += with == w->batch[k];
		if (with && with != w->batch[k] && !w->half) {
			tap_diag("%s: device %d has batch %u in documents %#x of %#x", when,
				 (int)(n - w->node), k, with, w->batch[k]);
			w->half = true;
		}
	}
}

/* A session of two devices; unless it goes to the end it is cut somewhere, with changes meanwhile. */
static void meet(struct work *w, unsigned x, unsigned y, bool to_the_end)
{
	struct pair p;
	bool moved = true;
	pair_open(&p, &w->node[x], &w->node[y]);
	uint64_t turns = to_the_end ? UINT64_MAX : prng_below(&w->random, 60);
	for (uint64_t i = 0; i < turns && moved && !w->half; i++) {
		moved = pair_turn(&p, 1 + prng_below(&w->random, 200)) || !to_the_end;
		if (p.failed)
			tap_bail("the session failed: %s", p.e.message);
		for (int k = 0; k < 2; k++) {
			look(w, p.node[k], "in a session");
			if (!to_the_end && prng_below(&w->random, 15) == 0)
				write_something(w, p.node[k]);
			if (to_the_end || prng_below(&w->random, 4) == 0) {
				moved |= replica_dirty(p.node[k]->replica);
				node_flush(p.node[k], p.session[k]);
			}
		}
	}
	pair_close(&p);
}

static void history(struct work *w)
{
	for (unsigned i = 0; i < DEVICES; i++)
		node_open(&w->node[i], (uint8_t)(i + 1), NULL);
	make_places(&w->node[0]);
	for (int i = 0; i < 25 && !w->half; i++) {
		unsigned x = (unsigned)prng_below(&w->random, DEVICES);
		unsigned y = (x + 1 + (unsigned)prng_below(&w->random, DEVICES - 1)) % DEVICES;
		write_something(w, &w->node[x]);
		if (prng_below(&w->random, 6) == 0) {
			node_crash(&w->node[y], prng_below(&w->random, 3));
			look(w, &w->node[y], "after a crash");
		}
		meet(w, x, y, false);
	}
	for (unsigned i = 0; i < 4 && !w->half; i++)
		meet(w, i % 2, i % 2 + 1, true);
}

static void test_peers(uint64_t seed, uint64_t rounds)
{
	uint64_t looks = 0, seen = 0;
	bool half = false, equal = true, sound = true;
	for (uint64_t round = 0; round < rounds && !half && equal; round++) {
		struct work w = { .random = { seed + round } };
		history(&w);
		for (unsigned i = 1; i < DEVICES; i++)
			equal &= w.half || in_step(&w.node[0], &w.node[i]);
		for (unsigned i = 0; i < DEVICES; i++) {
			sound &= rep_sound(w.node[i].replica);
			node_close(&w.node[i]);
		}
		looks += w.looks;
		seen += w.seen;
		half = w.half;
		if (half || !equal)
			tap_diag("in the history of seed %llu", (unsigned long long)(seed + round));
	}
	tap_diag("looked %d times, saw %d batches", (int)looks, (int)seen);
	ok(!half && seen > 0, "no device ever shows half of a batch");
	ok(equal, "and all hold the same in the end");
	ok(sound, "in sound stores");
}

int main(int argc, char **argv)
{
	tap_plan(15 + 17 + 6 + 3 + 10 + 2 + 3 + 1 + 3 + 3);
	/* A history takes as long as many rounds of other tests. */
	uint64_t seed = tap_seed(argc, argv), rounds = (tap_rounds(argc, argv, 480) + 7) / 8;
	test_steps();
	test_refusals();
	test_observers();
	test_lists();
	test_chunks();
	test_large();
	test_order();
	test_long_chain();
	test_peers(215295697, 1); /* a directory was there, the one above it not yet */
	test_peers(seed, rounds);
	return tap_done();
}
