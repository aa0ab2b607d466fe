/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory with many files is renamed: what changes is the directory, not what is in it. */
#include <stdio.h>

#include "tests/pair.h"
#include "tests/replicas.h"

#define FILES 10000

struct listing {
	struct attr *at;
	uint32_t n;
};

static int list_one(const char *name, size_t len, const struct attr *at, void *userdata)
{
	struct listing *l = userdata;
	(void)name;
	(void)len;
	if (l->n < FILES)
		l->at[l->n] = *at;
	l->n++;
	return 0;
}

static void list(struct node *n, const struct id *dir, struct listing *l)
{
	l->n = 0;
	if (replica_list(n->replica, dir, list_one, l) < 0)
		tap_bail("replica_list");
}

/* The same nodes in the same versions. */
static bool is_same(const struct listing *x, const struct listing *y)
{
	bool same = x->n == FILES && y->n == FILES;
	for (uint32_t i = 0; same && i < FILES; i++)
		same = id_equal(&x->at[i].id, &y->at[i].id) &&
		       id_equal(&x->at[i].version, &y->at[i].version);
	return same;
}

static struct attr find(struct node *n, const char *dir, const char *name)
{
	struct attr top, at = { 0 };
	if (rep_lookup(n->replica, &NODE_ROOT, dir, &top) == 0)
		(void)rep_lookup(n->replica, &top.id, name, &at);
	return at;
}

static void fill(struct node *n, struct attr *ret_top, struct attr *ret_dir)
{
	struct attr at;
	char name[32];
	if (rep_mkdir(n->replica, &NODE_ROOT, "cars", ret_top) < 0 ||
	    rep_mkdir(n->replica, &ret_top->id, "old", ret_dir) < 0)
		tap_bail("rep_mkdir");
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%u.json", i);
		if (rep_create(n->replica, &ret_dir->id, name, "{\"n\":1}\n", &at) < 0)
			tap_bail("rep_create");
	}
}

int main(void)
{
	struct listing before = { calloc(FILES, sizeof(struct attr)), 0 };
	struct listing after = { calloc(FILES, sizeof(struct attr)), 0 };
	struct session_status old, new;
	struct attr top, dir, at;
	struct node a, b;
	struct pair p;
	if (!before.at || !after.at)
		tap_bail("out of memory");
	tap_plan(7);
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	fill(&a, &top, &dir);
	pair_open(&p, &a, &b);
	pair_run(&p);
	list(&b, &dir.id, &before);
	is_uint(before.n, FILES, "the peer has all files (%s)", p.e.message);
	session_status(p.session[0], &old);
	uint64_t commits = replica_commits(a.replica);
	if (replica_rename(a.replica, &dir.id, &top.id, "new", 3, 0, &at.id) < 0)
		tap_bail("replica_rename");
	is_uint(replica_commits(a.replica) - commits, 1, "a directory is renamed in one commit");
	ok(id_equal(&at.id, &dir.id), "and stays what it is");
	node_flush(&a, p.session[0]);
	pair_run(&p);
	session_status(p.session[0], &new);
	ok(new.deltas_out - old.deltas_out <= 2, "the peer gets %u changes, however many files are inside",
	   (unsigned)(new.deltas_out - old.deltas_out));
	ok(new.bytes_out - old.bytes_out <= 400, "in %u bytes", (unsigned)(new.bytes_out - old.bytes_out));
	at = find(&b, "cars", "new");
	struct attr gone = find(&b, "cars", "old");
	ok(id_equal(&at.id, &dir.id) && id_is_zero(&gone.id), "it is there under the new name alone");
	list(&b, &dir.id, &after);
	ok(is_same(&before, &after), "with the same files in the same versions");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
	free(before.at);
	free(after.at);
	return tap_done();
}
