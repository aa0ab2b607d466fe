/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Collections of which a device keeps a part (shoal-protocol(7), Parts): what comes by comparison instead of in
 * rounds, and what leaves.
 *
 * Who keeps all of a collection and joins a node of somebody who keeps a part of it cannot claim that he has
 * all that its actors did there. He passes it on in a batch of his own, so that his vector speaks for it: the node is
 * marked in the commit that joins it, and the mark goes with that batch. META Z.
 *
 * Who drops a node with changes of its own has not all of its own changes any more. If the node is made anew here, or
 * comes from somebody who lacks them, a change of it would have a number that covers them, though it does not have
 * them. So the node is noted (META Y, with the last number there), and whoever changes it while it lacks that number
 * does so as a new incarnation. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/purged.h"

static void part_key(uint8_t kind, const struct id *node, uint8_t key[static 1 + ID_SIZE])
{
	key[0] = kind;
	memcpy(key + 1, node->b, ID_SIZE);
}

/* ---- what others with a part changed ---- */

void part_put(struct commit *c, const struct touched *t, struct store_batch *b)
{
	uint8_t key[1 + ID_SIZE];
	part_key(META_PART, &t->after.attr.id, key);
	if (c->part && scope_is_kept(c->r, &t->record->scope))
		store_put(b, STORE_META, key, sizeof(key), "", 0);
	if (c->settles)
		store_delete(b, STORE_META, key, sizeof(key));
}

static int settle(struct replica *r, const struct id *node, struct err *e)
{
	struct commit c;
	commit_begin(&c, r, false);
	c.settles = true;
	int rc = commit_as_own(&c, node, e);
	commit_done(&c);
	return rc;
}

/* A mark without a record: the collection was dropped. */
static int unmark(struct replica *r, const struct id *node, struct err *e)
{
	uint8_t key[1 + ID_SIZE];
	part_key(META_PART, node, key);
	pthread_mutex_lock(&r->commit);
	store_batch_clear(r->batch);
	store_delete(r->batch, STORE_META, key, sizeof(key));
	int rc = store_write(r->store, r->batch, e);
	pthread_mutex_unlock(&r->commit);
	return rc;
}

int replica_part_settle(struct replica *r, struct err *e)
{
	struct id node;
	int rc;
	while ((rc = meta_first(r, META_PART, &node)) == 0) {
		rc = settle(r, &node, e);
		if (rc == -ENOENT)
			rc = unmark(r, &node, e);
		if (rc < 0)
			break;
	}
	return rc == -ENOENT ? 0 : err_errno(e, rc, "cannot pass on what came of a part");
}

/* ---- in a view ---- */

int view_node(struct view *v, const struct id *id, struct arena *a, struct view_node *ret, struct err *e)
{
	struct stored s;
	int rc = stored_get(view_replica(v), view_snapshot(v), a, id, &s, e);
	if (rc < 0)
		return rc;
	*ret = (struct view_node){ .scope = s.record->scope, .kind = s.record->kind, .context = s.record->ctx,
				   .purged = record_is_purged(s.record) };
	if (ret->purged)
		ret->seen = *record_purge_seen(s.record);
	return 0;
}

int view_delta(struct view *v, const struct id *scope, const struct id *id, const struct vv *known,
	       struct arena *a, struct delta **ret, struct err *e)
{
	static const struct vv nothing;
	struct replica *r = view_replica(v);
	struct stored s;
	int rc = stored_get(r, view_snapshot(v), a, id, &s, e);
	if (rc < 0)
		return rc;
	if (!id_equal(&s.record->scope, scope))
		return -ENOENT;
	return delta_make(a, r->actors, s.record, known ? known : &nothing, !known, ret);
}

/* ---- what leaves ---- */

static bool has_children(struct replica *r, const struct id *dir)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(dir->b, ID_SIZE, &end);
	return store_iter_new(r->store, NULL, STORE_DIRENTS, dir->b, ID_SIZE, end.data, end.len, &it) < 0 ||
	       store_iter_valid(it);
}

static int leave_one(struct commit *c, const struct id *scope, const struct leave *x)
{
	struct stored old;
	struct touched *t;
	struct id now;
	int rc = commit_record(c, &x->node, &old, NULL);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	vv_fingerprint(&old.record->ctx, c->r->actors, &now);
	/* It has changed since, or was never what the peer thinks. */
	if (!id_equal(&old.record->scope, scope) || !id_equal(&now, &x->hash))
		return 0;
	if (old.record->kind == NODE_DIR && has_children(c->r, &x->node))
		return 0;
	rc = commit_gone(c, &x->node, &t);
	return rc == -EALREADY ? 0 : rc;
}

/* Up to which number changes of this actor left with the node; 0: none. */
static uint64_t left_with(struct replica *r, const struct id *node)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[1 + ID_SIZE];
	part_key(META_LEFT, node, key);
	if (store_get(r->store, NULL, STORE_META, key, sizeof(key), &v) < 0)
		return 0;
	struct cursor c = cursor_make(v.data, v.len);
	uint32_t actor = cursor_u32(&c);
	uint64_t seq = cursor_u64(&c);
	return cursor_end(&c) && actor == r->self ? seq : 0;
}

int left_put(struct commit *c, const struct touched *t, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[1 + ID_SIZE];
	uint64_t seq = vv_get(&t->old->ctx, c->r->self);
	if (!c->leaving || seq == 0 || seq <= left_with(c->r, &t->old->id))
		return 0;
	part_key(META_LEFT, &t->old->id, key);
	buf_u32(&v, c->r->self);
	buf_u64(&v, seq);
	if (buf_failed(&v))
		return -ENOMEM;
	store_put(b, STORE_META, key, sizeof(key), v.data, v.len);
	c->r->left = true;
	return 0;
}

int replica_part_leave(struct replica *r, const struct id *scope, const struct leave *x, uint32_t n, struct err *e)
{
	struct commit c;
	commit_begin(&c, r, true);
	c.leaving = true;
	int rc = interests_level(r->interests, scope) == INTEREST_FILTERED ? 0 : -ESTALE;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = leave_one(&c, scope, &x[i]);
	if (rc == 0)
		rc = commit_end(&c, e);
	commit_done(&c);
	return rc < 0 ? err_errno(e, rc, "cannot take out what does not match any more") : 0;
}

bool replica_part_left(struct replica *r, const struct id *scope)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(scope->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, NULL, STORE_DOTS, scope->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id id;
		uint64_t seq;
		struct node n;
		rc = dots_entry(it, &seq, &id);
		if (rc == 0)
			rc = node_get(r, NULL, &id, &n);
		if (rc == 0 && (!(n.flags & NODE_LIVE) || (n.attr.kind != NODE_DIR && id_is_zero(&n.attr.target))))
			rc = -ENOTEMPTY;
	}
	return rc == 0 && store_iter_error(it) == 0;
}

/* ---- changes of what had left ---- */

int left_load(struct replica *r)
{
	struct id node;
	int rc = meta_first(r, META_LEFT, &node);
	r->left = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

/* The node left with changes of this actor that are not in what is changed now. */
static bool lacks(struct replica *r, const struct touched *t)
{
	uint64_t seq = t->record ? left_with(r, &t->record->id) : 0;
	return seq > 0 && (!t->old || vv_get(&t->old->ctx, r->self) < seq);
}

/* Of the actor that was it covers what it had before this commit, and not what left. */
static int lower(struct arena *a, uint32_t actor, uint64_t seq, struct vv *v)
{
	if (vv_get(v, actor) <= seq)
		return 0;
	int rc = vv_arena(a, v, v);
	if (rc == 0)
		vv_lower(v, actor, seq);
	return rc;
}

static int rename_new(struct commit *c, struct touched *t, const struct restamp *rs)
{
	const struct counter_past past = { counted_before, c->r };
	const struct record *as;
	uint64_t seq = t->old ? vv_get(&t->old->ctx, rs->from) : 0;
	int rc = record_restamp(&c->arena, c->r->actors, t->record, rs, &past, &as);
	struct record *rec = rc == 0 ? arena_new(&c->arena, struct record) : NULL;
	if (!rec)
		return rc < 0 ? rc : -ENOMEM;
	*rec = *as;
	rc = lower(&c->arena, rs->from, seq, &rec->ctx);
	if (rc == 0)
		rc = lower(&c->arena, rs->from, seq, &rec->floor);
	for (uint32_t i = 0; rc == 0 && i < rec->n_edges; i++)
		rc = lower(&c->arena, rs->from, seq, &rec->edge[i].seen);
	t->record = rec;
	return rc;
}

static int renew(struct commit *c, struct err *e)
{
	struct replica *r = c->r;
	struct restamp rs = { .from = r->self, .above = r->seq };
	int rc = incarnation_new(r, RENEWAL_NONE, e);
	if (rc < 0)
		return rc;
	r->renewals_own++; /* nobody's word brought it about */
	rs.to = r->self;
	c->stamp.dot.actor = c->moved.dot.actor = c->actor = r->self;
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		if (!t->record)
			continue;
		/* What is known of it has the old names. */
		rendering_done(&t->known);
		t->known = (struct rendering){ 0 };
		elements_free(t->written);
		t->written = NULL;
		t->leaf = NULL;
		t->behind = false;
		rc = rename_new(c, t, &rs);
	}
	return rc;
}

int left_renew(struct commit *c, struct err *e)
{
	if (c->remote || c->restamp || !c->r->left)
		return 0;
	for (struct touched *t = c->first; t; t = t->next)
		if (lacks(c->r, t))
			return renew(c, e);
	return 0;
}
