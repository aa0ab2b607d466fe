/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deletions are remembered, and what was deleted or replaced comes back; between devices as well. */

#include "tests/pair.h"
#include "tests/past.h"
#include "engine/deleted.h"

static uint32_t deleted(struct replica *r, struct arena *a, struct deleted **ret)
{
	uint32_t n;
	int rc = replica_deleted(r, a, ret, &n);
	if (rc < 0)
		tap_bail("replica_deleted: %d", rc);
	return n;
}

static struct id make_dir(struct replica *r, const struct id *parent, const char *name)
{
	struct attr at;
	if (rep_mkdir(r, parent, name, &at) < 0)
		tap_bail("replica_mkdir");
	return at.id;
}

static struct id make_file(struct replica *r, const struct id *parent, const char *name,
			   const char *text)
{
	struct attr at;
	if (rep_create(r, parent, name, text, &at) < 0)
		tap_bail("replica_create");
	return at.id;
}

static bool shows(struct replica *r, const char *path, const char *text)
{
	struct attr at = { .id = NODE_ROOT };
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		struct id parent = at.id;
		if (replica_lookup(r, &parent, p, n, &at) < 0)
			return false;
		p += n + (p[n] == '/');
	}
	_cleanup_free_ char *got = text ? rep_read(r, &at.id) : NULL;
	return !text || strcmp(got, text) == 0;
}

static int back(struct replica *r, const struct id *id)
{
	struct err e = { 0 };
	int rc = replica_undelete(r, id, NULL, NULL, 0, &e);
	return rc == 0 || (rc == e.code && *e.message) ? rc : -EPROTO;
}

static void test_deleted(void)
{
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct deleted *d;
	rep_open(&p, NULL, 0, seed);
	struct id c = make_dir(p.r, &NODE_ROOT, "c"), e = make_dir(p.r, &c, "e");
	struct id doc = make_file(p.r, &e, "x.json", "{\"n\":1}"), txt = make_file(p.r, &c, "t", "old");
	is_uint(deleted(p.r, &a, &d), 0, "nothing is deleted");
	uint64_t then = p.wall - 3 * SECOND;
	replica_remove(p.r, &doc, then);
	replica_remove(p.r, &e, 0);
	replica_remove(p.r, &txt, 0);
	uint32_t n = deleted(p.r, &a, &d);
	ok(n == 3 && id_equal(&d[0].id, &txt) && id_equal(&d[1].id, &e) && id_equal(&d[2].id, &doc),
	   "what is deleted is listed, the last first");
	ok(d[2].when_us == then && d[2].kind == NODE_FILE && strcmp(d[2].name, "x.json") == 0 &&
	   id_equal(&d[2].parent, &e) && d[1].kind == NODE_DIR && id_equal(&d[1].parent, &c),
	   "with its place and time");
	struct past *past;
	ok(list(p.r, &doc, &a, &past) == 1 && holds(p.r, &doc, &past[0], "{\"n\":1}", 7),
	   "its content can be read");
	is_errno(back(p.r, &doc), 0, "a file comes back");
	ok(shows(p.r, "c/e/x.json", "{\"n\":1}"), "with its directory");
	is_errno(back(p.r, &doc), -ENOENT, "once");
	replica_remove(p.r, &doc, 0);
	ok(shows(p.r, "c/e", NULL), "and the directory stays");
	ok(deleted(p.r, &a, &d) == 2 && id_equal(&d[0].id, &doc), "deleted again, it is listed once");
	/* Its name is taken. */
	struct id other = make_file(p.r, &c, "t", "new");
	is_errno(back(p.r, &txt), -EEXIST, "a name that is taken");
	ok(shows(p.r, "c/t", "new"), "is left alone");
	is_errno(replica_undelete(p.r, &txt, &e, "u", 1, NULL), 0, "but there is another place");
	ok(shows(p.r, "c/e/u", "old"), "where it comes back");
	struct id f = make_dir(p.r, &NODE_ROOT, "f");
	replica_remove(p.r, &other, 0);
	is_errno(replica_undelete(p.r, &other, &f, "t", 1, NULL), -EXDEV, "not in another collection");
	/* A document that was deleted and made anew is the same node. */
	struct id again = make_file(p.r, &e, "x.json", "{}");
	n = list(p.r, &doc, &a, &past);
	ok(id_equal(&again, &doc) && n == 1, "a name that comes again at once is the same document");
	p.wall += 10 * SECOND;
	replica_remove(p.r, &doc, 0);
	make_file(p.r, &e, "x.json", "{\"n\":2}");
	n = list(p.r, &doc, &a, &past);
	ok(n == 2 && holds(p.r, &doc, &past[1], "{}", 2), "and later keeps what it was");
	rep_stop(&p);
	rep_start(&p);
	ok(deleted(p.r, &a, &d) == 1 && rep_sound(p.r), "a restart forgets nothing");
	struct history_walk w = wait(&p, 29 * DAY);
	ok(w.deletions > 0 && deleted(p.r, &a, &d) == 1, "it is remembered for 30 days");
	w = wait(&p, 2 * DAY);
	ok(w.deletions == 0 && deleted(p.r, &a, &d) == 0, "then it is not");
	rep_close(&p);
}

/* A whole collection, deeper than one level, brought back by a file at its bottom. */
static void test_deep(void)
{
	enum { DEPTH = 30 };
	struct rep p;
	struct id dir[DEPTH];
	rep_open(&p, NULL, 0, seed);
	for (unsigned i = 0; i < DEPTH; i++)
		dir[i] = make_dir(p.r, i ? &dir[i - 1] : &NODE_ROOT, "d");
	struct id id = make_file(p.r, &dir[DEPTH - 1], "f", "deep");
	uint64_t commits = replica_commits(p.r);
	replica_remove(p.r, &id, 0);
	for (unsigned i = DEPTH; i-- > 0;)
		replica_remove(p.r, &dir[i], 0);
	is_uint(replica_commits(p.r) - commits, DEPTH + 1, "a tree is deleted");
	is_errno(back(p.r, &id), 0, "a file at its bottom comes back");
	is_uint(replica_commits(p.r) - commits, DEPTH + 2, "in one commit");
	_cleanup_(buf_done) struct buf path = { 0 };
	ok(replica_path(p.r, &id, &path) == 0 && path.len == 2 * DEPTH + 1 && rep_sound(p.r),
	   "with all directories above it");
	rep_close(&p);
}

/* ---- two devices ---- */

static struct id lookup(struct node *n, const char *dir, const char *name)
{
	struct attr at = { .id = NODE_ROOT };
	if (dir && replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &at) < 0)
		tap_bail("no %s", dir);
	struct id parent = at.id;
	if (name && replica_lookup(n->replica, &parent, name, strlen(name), &at) < 0)
		tap_bail("no %s", name);
	return at.id;
}

static void pass(struct node *a, struct node *b)
{
	a->now = b->now = (a->now > b->now ? a->now : b->now) + 5 * SECOND;
}

static void meet(struct node *a, struct node *b)
{
	struct pair pair;
	pair_open(&pair, a, b);
	pair_run(&pair);
	if (pair.failed)
		tap_bail("sync: %s", pair.e.message);
	pair_close(&pair);
}

static void test_remote(void)
{
	struct node a, b;
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct past *past;
	struct verify_report report;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u.json", i);
		node_write(&a, "c", name, "{\"n\":1}", 7);
		pass(&a, &b);
		node_write(&a, "c", name, "{\"n\":2}", 7);
	}
	meet(&a, &b);
	replica_verify(b.replica, false, rep_problem, NULL, &report, NULL);
	ok(report.errors == 0 && report.versions == 0, "what comes for the first time replaces nothing");
	struct id id = lookup(&b, "c", "3.json");
	pass(&a, &b);
	node_write(&a, "c", "3.json", "{\"n\":3}", 7);
	meet(&a, &b);
	uint32_t n = list(b.replica, &id, &arena, &past);
	ok(n == 2 && holds(b.replica, &id, &past[1], "{\"n\":2}", 7), "a change that comes keeps what was there");
	const struct actor_id *author = actors_get(replica_actors(b.replica), past[1].author);
	ok(id_equal(&author->device, &a.id) && past[1].written_us < past[1].replaced_us,
	   "and who had written it");
	/* Apart: one restores, the other edits something else. */
	pass(&a, &b);
	node_write(&a, "c", "3.json", "{\"n\":3,\"m\":1}", 13);
	{
		_cleanup_(version_unrefp) struct version *head = NULL, *old = NULL;
		if (replica_read(b.replica, &id, &head) < 0 ||
		    replica_history_read(b.replica, &id, &past[1], &old) < 0)
			tap_bail("no version");
		const struct content c = { version_data(old), version_size(old), -1 };
		is_errno(replica_save(b.replica, &id, head, &c, SAVE_BY_NAME, NULL, NULL), 0,
			 "an earlier version is saved again");
	}
	meet(&a, &b);
	_cleanup_free_ char *x = node_read(&a, "c", "3.json"), *y = node_read(&b, "c", "3.json");
	is_str(x, y, "both show the same");
	is_str(x, "{\"n\":2,\"m\":1}", "and nobody's edit is lost");
	/* Deleted here, brought back there. */
	struct id doc = lookup(&a, "c", "4.json");
	pass(&a, &b);
	replica_remove(a.replica, &doc, 0);
	meet(&a, &b);
	struct deleted *d;
	n = deleted(b.replica, &arena, &d);
	ok(n == 1 && id_equal(&d[0].id, &doc), "a deletion that comes is remembered");
	author = actors_get(replica_actors(b.replica), d[0].actor);
	ok(id_equal(&author->device, &a.id), "with who it was");
	is_errno(back(b.replica, &doc), 0, "it comes back");
	meet(&a, &b);
	ok(shows(a.replica, "c/4.json", "{\"n\":2}") && deleted(a.replica, &arena, &d) == 0,
	   "on both devices");
	/* Both bring it back at once. */
	replica_remove(a.replica, &doc, 0);
	meet(&a, &b);
	ok(back(a.replica, &doc) == 0 && back(b.replica, &doc) == 0, "both bring it back");
	meet(&a, &b);
	ok(shows(a.replica, "c/4.json", "{\"n\":2}") && shows(b.replica, "c/4.json", "{\"n\":2}") &&
	   rep_sound(a.replica) && rep_sound(b.replica), "that is once");
	node_close(&a);
	node_close(&b);
}

int main(int argc, char **argv)
{
	tap_plan(35);
	seed = tap_seed(argc, argv);
	test_deleted();
	test_deep();
	test_remote();
	return tap_done();
}
