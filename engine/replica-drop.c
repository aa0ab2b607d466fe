/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes a collection that is not kept any more out of the store, in steps that are commits: each derives what follows as
 * any other does, so that the store is right after each of them, and after a crash the rest goes on. Nothing of it is a
 * deletion to anybody: the scope's vector is empty since it was given up, and no session speaks of it.
 *
 * What hangs in a directory goes before it, so that nothing comes to hang nowhere in between; a file with several
 * names goes together with all of them. */

#include "engine/replica-purge.h"
#include "engine/replica-index.h"

#include <errno.h>

#define STEP_NODES 256
#define DESCENT_MAX 1000000 /* deeper than any tree */

/* ---- the mark ---- */

void drop_put(struct store_batch *b, const struct id *scope, bool is)
{
	uint8_t key[1 + ID_SIZE] = { META_DROP };
	memcpy(key + 1, scope->b, ID_SIZE);
	if (is)
		store_put(b, STORE_META, key, sizeof(key), "", 0);
	else
		store_delete(b, STORE_META, key, sizeof(key));
}

bool drop_pending(struct replica *r, const struct id *scope)
{
	uint8_t key[1 + ID_SIZE] = { META_DROP };
	memcpy(key + 1, scope->b, ID_SIZE);
	return store_has(r->store, NULL, STORE_META, key, sizeof(key));
}

bool replica_dropping(struct replica *r, const struct id *scope)
{
	return drop_pending(r, scope);
}

/* ---- what a commit deletes ---- */

static int history_drop(struct replica *r, const struct id *id, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(id->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, NULL, STORE_HISTORY, id->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		store_delete(b, STORE_HISTORY, key, len);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int gone_put(struct commit *c, const struct touched *t, struct store_batch *b)
{
	const struct id *id = &t->after.attr.id;
	uint8_t key[1 + ID_SIZE] = { META_TRAIL };
	dots_drop(t, b);
	store_delete(b, STORE_DOCS, id->b, ID_SIZE);
	read_forget(id, b);
	memcpy(key + 1, id->b, ID_SIZE);
	if (t->trail)
		store_delete(b, STORE_META, key, sizeof(key));
	int rc = history_drop(c->r, id, b);
	return rc < 0 ? rc : batches_forget(c, id, b);
}

/* ---- steps ---- */

struct step {
	struct commit c;
	struct id scope;
	uint32_t n;
};

static bool is_gone(struct step *s, const struct id *id)
{
	const struct touched *t = commit_touched(&s->c, id);
	return t && t->gone;
}

static int take(struct step *s, const struct id *id)
{
	struct touched *t;
	int rc = commit_gone(&s->c, id, &t);
	/* An entry of the index without a record: verify tells. */
	if (rc == -EALREADY || rc == -ENOENT)
		return 0;
	s->n += rc == 0;
	return rc;
}

static int take_link(const struct id *link, void *userdata)
{
	return take(userdata, link);
}

/* A file with all its names, if it has several. */
static int take_file(struct step *s, const struct node *n)
{
	const struct id *file = id_is_zero(&n->attr.target) ? &n->attr.id : &n->attr.target;
	int rc = 0;
	if (!n->attr.linked && id_is_zero(&n->attr.target))
		return take(s, file);
	rc = link_each(s->c.r, NULL, file, &s->scope, take_link, s);
	if (rc == 0)
		rc = take(s, &n->attr.id);
	/* What a link names may be somebody else's, or not be here. */
	struct node target;
	if (rc == 0 && !is_gone(s, file) && node_get(s->c.r, NULL, file, &target) == 0 &&
	    id_equal(&target.attr.scope, &s->scope) && target.attr.kind != NODE_DIR)
		rc = take(s, file);
	return rc;
}

/* Takes what hangs in the directory and is no directory; *ret_down: one of those. 1: there is nothing of this
 * collection in it any more. */
static int take_children(struct step *s, const struct id *dir, struct id *ret_down, bool *ret_found)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	struct replica *r = s->c.r;
	bool left = false;
	*ret_found = false;
	store_prefix_end(dir->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, NULL, STORE_DIRENTS, dir->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && s->n < STEP_NODES && store_iter_valid(it); store_iter_next(it)) {
		struct claims claims;
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		rc = claims_decode(&s->c.arena, value, len, &claims);
		for (uint32_t i = 0; rc == 0 && i < claims.n; i++) {
			const struct id *id = &claims.claim[i].id;
			struct node n;
			if (is_gone(s, id))
				continue;
			rc = node_get(r, NULL, id, &n);
			if (rc < 0 || !id_equal(&n.attr.scope, &s->scope)) {
				rc = rc == -ENOENT ? 0 : rc;
				continue;
			}
			if (n.attr.kind != NODE_DIR) {
				rc = take_file(s, &n);
			} else if (!*ret_found) {
				*ret_down = *id;
				*ret_found = left = true;
			} else {
				left = true;
			}
		}
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc < 0 ? rc : !left && !store_iter_valid(it);
}

/* The node, or what hangs below it first. */
static int take_below(struct step *s, const struct id *id)
{
	struct id at = *id, down;
	struct node n;
	for (unsigned depth = 0; depth < DESCENT_MAX && s->n < STEP_NODES; depth++) {
		bool found;
		int rc = node_get(s->c.r, NULL, &at, &n);
		if (rc == -ENOENT) /* it was deleted: the record is all there is */
			return take(s, &at);
		if (rc < 0 || n.attr.kind != NODE_DIR)
			return rc < 0 ? rc : take_file(s, &n);
		rc = take_children(s, &at, &down, &found);
		if (rc < 0)
			return rc;
		if (rc == 1)
			return take(s, &at);
		if (!found)
			return 0; /* there is more of it than goes into one step */
		at = down;
	}
	return 0;
}

/* Gathers nodes from the index of changes: each record of the collection has an entry there. */
static int gather(struct step *s)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(s->scope.b, ID_SIZE, &end);
	int rc = store_iter_new(s->c.r->store, NULL, STORE_DOTS, s->scope.b, ID_SIZE, end.data, end.len,
				&it);
	for (; rc == 0 && s->n < STEP_NODES && store_iter_valid(it); store_iter_next(it)) {
		struct id node;
		uint64_t seq;
		rc = dots_entry(it, &seq, &node);
		if (rc == 0 && !is_gone(s, &node))
			rc = take_below(s, &node);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static int mark_done(struct replica *r, const struct id *scope, struct err *e)
{
	store_batch_clear(r->batch);
	drop_put(r->batch, scope, false);
	indexes_leave(r, scope, r->batch);
	return store_write(r->store, r->batch, e);
}

int replica_drop_step(struct replica *r, struct err *e)
{
	struct step s = { 0 };
	commit_begin(&s.c, r, true);
	s.c.dropping = true;
	int rc = meta_first(r, META_DROP, &s.scope);
	bool none = rc == -ENOENT;
	if (rc == 0)
		rc = gather(&s);
	if (rc == 0)
		rc = s.n > 0 ? commit_end(&s.c, e) : mark_done(r, &s.scope, e);
	commit_done(&s.c);
	if (rc < 0 && !none)
		return err_errno(e, rc, "cannot take a collection out of the store");
	return !none;
}
