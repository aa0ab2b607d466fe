/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cuts: what a peer has to hold, fixed when somebody begins to wait for it. */

#include "engine/replica-cut.h"
#include "tests/held.h"
#include "tests/replicas.h"

static const struct id peer = { { 0x77 } }, other = { { 0x78 } };

/* The peer says that it holds all that is here, commits that are not flushed included. */
static void peer_catches_up(struct replica *r)
{
	if (replica_flush(r, NULL) < 0)
		tap_bail("replica_flush");
	_cleanup_(view_unrefp) struct view *v = replica_view(r);
	for (uint32_t i = 0; i < view_scopes(v); i++) {
		struct id scope;
		const struct vv *have;
		view_scope(v, i, &scope, &have);
		if (replica_peer_raise(r, &peer, &scope, have) < 0)
			tap_bail("replica_peer_raise");
	}
}

static struct cut *cut(struct replica *r, const struct id *id)
{
	struct cut *c;
	if (cut_new(r, &c) < 0 || (id ? cut_node(c, id) : cut_all(c)) < 0)
		tap_bail("no cut");
	return c;
}

static void own_changes(struct replica *r, const struct id *dir)
{
	struct attr f, g, h;
	struct id none = { { 0xee } };
	rep_create(r, dir, "f.json", "{\"n\": 1}", &f);
	rep_create(r, dir, "g.json", "{\"n\": 1}", &g);

	_cleanup_(cut_freep) struct cut *empty = NULL;
	is_int(cut_new(r, &empty), 0, "a cut");
	ok(cut_held(empty, &peer), "with nothing in it everybody holds");
	is_errno(cut_node(empty, &none), -ENOENT, "what is not here cannot be in one");
	ok(cut_held(empty, &peer), "and is not in then");

	_cleanup_(cut_freep) struct cut *all = cut(r, NULL), *file = cut(r, &f.id);
	ok(!cut_held(all, &peer) && !cut_held(file, &peer), "nothing is known of the peer");
	rep_create(r, dir, "h.json", "{}", &h);
	peer_catches_up(r);
	ok(cut_held(all, &peer) && cut_held(file, &peer), "it catches up: also with the unflushed");
	ok(!cut_held(all, &other), "another one does not");

	/* Three vectors, of before, between and after: the middle one is what is asked for. */
	rep_save(r, &f.id, NULL, "{\"n\": 2}");
	_cleanup_(cut_freep) struct cut *all2 = cut(r, NULL), *file2 = cut(r, &f.id);
	_cleanup_(cut_freep) struct cut *still = cut(r, &g.id);
	ok(cut_held(all, &peer) && cut_held(file, &peer), "what is written later changes no cut");
	ok(cut_held(still, &peer), "a file that was not written is held already");
	ok(!cut_held(all2, &peer) && !cut_held(file2, &peer), "the one that was is not");
	replica_flush(r, NULL);
	_cleanup_(view_unrefp) struct view *then = replica_view(r);
	rep_save(r, &f.id, NULL, "{\"n\": 3}");
	is_int(replica_peer_raise(r, &peer, dir, view_have(then, dir)), 0, "a peer that is behind");
	ok(cut_held(all2, &peer) && cut_held(file2, &peer), "has what was there when asked");
	ok(!held_by(r, &peer, NULL) && !held_by(r, &peer, &f.id), "though not the newest");

	_cleanup_(cut_freep) struct cut *both = cut(r, &g.id);
	ok(cut_held(both, &peer) && cut_node(both, &f.id) == 0 && !cut_held(both, &peer),
	   "two nodes: the newer one counts");
	replica_remove(r, &g.id, 0);
	peer_catches_up(r);
	ok(cut_held(both, &peer), "until it is held");
	replica_remove(r, &f.id, 0);
	ok(!held_by(r, &peer, &f.id), "a deletion is waited for");
	peer_catches_up(r);
	ok(held_by(r, &peer, &f.id) && held_by(r, &peer, NULL), "and arrives");
}

/* Two top-level directories: two collections, and the root's own. */
static void scopes(struct replica *r, const struct id *dir)
{
	struct attr d, f;
	_cleanup_(vv_done) struct vv empty = { 0 };
	rep_mkdir(r, &NODE_ROOT, "second", &d);
	rep_create(r, &d.id, "f.json", "{}", &f);
	_cleanup_(cut_freep) struct cut *here = cut(r, dir), *there = cut(r, &f.id), *all = cut(r, NULL);
	ok(cut_held(here, &peer) && !cut_held(there, &peer), "each scope has a vector of its own");
	is_int(replica_peer_raise(r, &peer, &d.id, &empty), 0, "a peer knows of the scope");
	ok(!cut_held(there, &peer), "but has nothing of it");
	replica_flush(r, NULL);
	_cleanup_(view_unrefp) struct view *v = replica_view(r);
	replica_peer_raise(r, &peer, &d.id, view_have(v, &d.id));
	ok(cut_held(there, &peer) && !cut_held(all, &peer), "the directory itself is the root's");
	ok(cut_parents(there, &f.id) == 0 && !cut_held(there, &peer), "and so is the way to the file");
	peer_catches_up(r);
	ok(cut_held(all, &peer) && cut_held(there, &peer), "that comes, too");
	is_int(cut_parents(there, &NODE_ROOT), 0, "there is nothing above the root");
}

static void incomplete_round(struct rep *p)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct rep q;
	struct attr d, f;
	struct err e = { 0 };
	rep_open(&q, NULL, 4, 77);
	rep_mkdir(q.r, &NODE_ROOT, "theirs", &d);
	rep_create(q.r, &d.id, "f.json", "{\"x\": 1}\n", &f);
	struct delta *delta = rep_delta(&q, p, &f.id, &a);
	is_int(rep_apply(p, delta, &e), APPLY_MERGED, "a file of a round that is not complete");
	_cleanup_(cut_freep) struct cut *all = cut(p->r, NULL), *file = cut(p->r, &f.id);
	peer_catches_up(p->r);
	ok(cut_held(all, &peer), "is not part of what this store has");
	ok(!cut_held(file, &peer), "but is waited for when it is named");
	is_int(replica_claim(p->r, &d.id, &delta->state.ctx, &e), 0, "the round is complete");
	_cleanup_(cut_freep) struct cut *after = cut(p->r, NULL);
	ok(!cut_held(file, &peer) && !cut_held(after, &peer), "here");
	peer_catches_up(p->r);
	ok(cut_held(file, &peer) && cut_held(after, &peer), "and there");
	rep_close(&q);
}

/* A directory with all that is below it. */
static void trees(struct replica *r)
{
	struct attr top, deep, f;
	uint32_t left = 100;
	bool contents = true;
	rep_mkdir(r, &NODE_ROOT, "top", &top);
	rep_mkdir(r, &top.id, "deep", &deep);
	rep_create(r, &deep.id, "f.json", "{\"n\": 1}", &f);
	peer_catches_up(r);
	_cleanup_(cut_freep) struct cut *tree = cut(r, &top.id), *few = cut(r, &top.id);
	is_int(cut_tree(tree, r, &top, &left, &contents), 0, "a cut of a tree");
	ok(left == 97 && !contents, "has its directories and files; documents are their records");
	ok(cut_held(tree, &peer), "the peer has them all");
	rep_save(r, &f.id, NULL, "{\"n\": 2}");
	ok(cut_held(tree, &peer), "and had them, whatever is written later");
	left = 100;
	is_int(cut_tree(tree, r, &top, &left, NULL), 0, "that is added");
	ok(!cut_held(tree, &peer), "and not there");
	peer_catches_up(r);
	ok(cut_held(tree, &peer), "until it is");
	left = 2;
	is_errno(cut_tree(few, r, &top, &left, &contents), -E2BIG, "so many nodes and no more");
	ok(left == 0, "which is counted");
	is_int(replica_remove(r, &f.entry, 0), 0, "what is removed");
	left = 100;
	is_int(cut_tree(few, r, &top, &left, NULL), 0, "is not waited for");
	ok(left == 98, "any more");
}

int main(void)
{
	struct rep p;
	struct attr dir;
	tap_plan(42);
	rep_open(&p, NULL, 3, 99);
	rep_mkdir(p.r, &NODE_ROOT, "first", &dir);
	own_changes(p.r, &dir.id);
	scopes(p.r, &dir.id);
	incomplete_round(&p);
	trees(p.r);
	rep_close(&p);
	return tap_done();
}
