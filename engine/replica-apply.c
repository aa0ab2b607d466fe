/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Merging what peers send. A delta comes from another device: nothing in it may break the tree, and
 * what cannot be true is refused before anything is written. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/edge.h"

static bool is_fixed(const struct id *id)
{
	return id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_TRASH) || id_equal(id, &NODE_LOST);
}

static int delta_check(const struct delta *d, struct err *e)
{
	const struct record *s = &d->state;
	if (is_fixed(&s->id) || id_is_zero(&s->id))
		return err_set(e, -EBADMSG, "a peer sent a change of a node that has no record");
	if (id_equal(&s->scope, &NODE_TRASH) || id_equal(&s->scope, &NODE_LOST))
		return err_set(e, -EBADMSG, "a peer sent a node of no collection");
	if (s->kind < NODE_DIR || s->kind > NODE_LINK)
		return err_set(e, -EBADMSG, "a peer sent a node of an unknown kind");
	for (uint32_t i = 0; i < s->n_edges; i++) {
		const struct edge *edge = &s->edge[i];
		if (edge_is_trash(edge) ? edge->name_len != 0 :
					  !name_valid(edge->name, edge->name_len))
			return err_set(e, -EBADMSG, "a peer sent a name that no file can have");
	}
	return 0;
}

/* Chunks of the blobs in the content that are not here: of all values, the ones that lost too.
 * Those that are here stay until the hold ends. */
static int delta_missing(struct replica *r, struct hold *h, struct arena *a, const struct delta *d,
			 struct sha256 **ret, uint32_t *ret_n, struct err *e)
{
	_cleanup_(buf_done) struct buf all = { 0 };
	const struct slot *s = d->state.top ? slot_find(d->state.top, TOP_CONTENT,
							strlen(TOP_CONTENT)) : NULL;
	for (uint32_t i = 0; s && i < s->val.n; i++) {
		struct blob_ref ref;
		struct sha256 *hash;
		uint32_t n = 0;
		if (s->val.entry[i].value.kind != VALUE_BLOB)
			continue;
		int rc = blob_ref_decode(&s->val.entry[i].value, &ref);
		if (rc == 0)
			rc = blob_missing_held(r->store, h, a, &ref, &hash, &n);
		if (rc == -EBADMSG)
			return err_set(e, rc, "a peer sent a damaged reference to a file's bytes");
		if (rc < 0)
			return err_errno(e, rc, "cannot look for a file's bytes");
		if (n > 0)
			buf_put(&all, hash, n * sizeof(*hash));
	}
	*ret_n = (uint32_t)(all.len / sizeof(struct sha256));
	if (*ret_n == 0)
		return 0;
	*ret = arena_array(a, *ret_n, sizeof(struct sha256));
	if (buf_failed(&all) || !*ret)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(*ret, all.data, all.len);
	return 0;
}

struct newest {
	const struct vv *ctx; /* of what was here; NULL: nothing */
	uint64_t hlc;
	uint32_t actor;
};

static void newest_entry(struct newest *n, const struct reg *reg)
{
	for (uint32_t i = 0; i < reg->n; i++) {
		const struct entry *e = &reg->entry[i];
		if (e->hlc > n->hlc && !(n->ctx && vv_has(n->ctx, e->dot))) {
			n->hlc = e->hlc;
			n->actor = e->dot.actor;
		}
	}
}

/* Slots nest at most RECORD_DEPTH_MAX deep. */
static void newest_slot(struct newest *n, const struct slot *s)
{
	newest_entry(n, &s->val);
	newest_entry(n, &s->look);
	for (uint32_t i = 0; i < s->n; i++)
		newest_slot(n, s->child[i]);
}

static void newest_visit(struct newest *n, const struct record *rec)
{
	for (uint32_t i = 0; i < rec->n_edges; i++) {
		const struct visit *v = &rec->edge[i].visit;
		uint64_t hlc = v->us << HLC_COUNTER_BITS;
		if (hlc > n->hlc && !(n->ctx && vv_has(n->ctx, v->dot))) {
			n->hlc = hlc;
			n->actor = v->dot.actor;
		}
	}
}

static unsigned what_of(const struct delta *d)
{
	static const char *const content[] = { TOP_CONTENT, TOP_STYLE, TOP_SOURCE };
	static const char *const attr[] = { TOP_MODE, TOP_MTIME, TOP_XATTR };
	unsigned what = d->complete ? CHANGE_CONTENT | CHANGE_ATTR : 0;
	for (unsigned i = 0; d->state.top && i < 3; i++) {
		if (slot_find(d->state.top, content[i], strlen(content[i])))
			what |= CHANGE_CONTENT;
		if (slot_find(d->state.top, attr[i], strlen(attr[i])))
			what |= CHANGE_ATTR;
	}
	return what;
}

/* Would the dot index gain entries though the record has all of the delta? */
static bool dots_wanted(const struct stored *old, const struct vv *to, const struct vv *upto,
			const struct vv *have)
{
	for (uint32_t i = 0; i < to->n; i++) {
		uint32_t actor = to->item[i].actor;
		uint64_t seq = to->item[i].seq, limit = vv_get(upto, actor);
		if (limit < seq)
			seq = limit;
		if (seq <= vv_get(have, actor) || seq == vv_get(&old->record->ctx, actor))
			continue;
		bool there = false;
		for (uint32_t k = 0; k < old->n_extra; k++)
			there |= old->extra[k].actor == actor && old->extra[k].seq == seq;
		if (!there)
			return true;
	}
	return false;
}

/* A peer that has more of this actor than was ever made here has it from a copy of this store. */
static int fence_check(struct replica *r, const struct vv *v, struct err *e)
{
	return vv_get(v, r->self) <= r->seq ? 0 :
		err_set(e, -ESTALE, "the peer sent changes of this device that it never made");
}

/* Nothing is merged before what has those numbers here has others; then the peer is asked again. */
static int stale(struct replica *r, const struct vv *v, struct err *e)
{
	struct actor_id self;
	replica_self(r, &self, NULL);
	int rc = replica_check_fence(r, &self, vv_get(v, actors_find(r->actors, &self)), e);
	return rc < 0 ? rc : -ESTALE;
}

static int apply_locked(struct commit *c, const struct delta *d, const struct vv *upto,
			enum apply_result *ret, struct err *e)
{
	struct replica *r = c->r;
	static const struct vv nothing;
	struct stored old = { 0 };
	struct newest newest = { .actor = ACTOR_NONE };
	struct touched *t;
	const struct record *rec;
	int rc = fence_check(r, &d->state.ctx, e);
	if (rc == 0)
		rc = commit_record(c, &d->state.id, &old, e);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (old.record && (old.record->kind != d->state.kind ||
			   !id_equal(&old.record->scope, &d->state.scope)))
		return err_set(e, -EBADMSG, "a peer sent a node with another kind or collection "
			       "than it has here");
	const struct scope *s = scope_get(r, &d->state.scope, false);
	const struct vv *have = s ? &s->have : &nothing;
	if (!delta_fits(d, old.record ? &old.record->ctx : NULL, have)) {
		*ret = APPLY_NEED_WHOLE;
		return 0;
	}
	rc = delta_join(&c->arena, r->actors, old.record, d, &rec);
	if (rc < 0)
		return err_errno(e, rc, "cannot merge");
	*ret = rec == old.record ? APPLY_OLD : APPLY_MERGED;
	if (rec == old.record && !dots_wanted(&old, &d->state.ctx, upto, have))
		return 0;
	newest.ctx = old.record ? &old.record->ctx : NULL;
	if (d->state.top)
		newest_slot(&newest, d->state.top);
	newest_visit(&newest, &d->state);
	clock_follow(&r->clock, newest.hlc, r->config.wall_us(r->config.userdata));
	c->hlc = newest.hlc;
	c->actor = newest.actor;
	if (c->actor == ACTOR_NONE && d->state.n_edges > 0)
		c->actor = d->state.edge[0].dot.actor;
	rc = commit_put(c, &old, rec, *ret == APPLY_MERGED ? what_of(d) : 0, &t);
	if (rc < 0)
		return err_errno(e, rc, "cannot merge");
	t->to = &d->state.ctx;
	t->upto = upto;
	pointers_of_merge(c, t);
	return commit_end(c, e);
}

int replica_apply(struct replica *r, struct arena *a, const struct delta *d, const struct vv *upto,
		  enum apply_result *ret, struct sha256 **ret_missing, uint32_t *ret_n,
		  struct err *e)
{
	_cleanup_(hold_done) struct hold hold = { 0 };
	struct sha256 *missing = NULL;
	struct commit c;
	uint32_t n = 0;
	int rc = delta_check(d, e);
	if (rc == 0)
		rc = delta_missing(r, &hold, a, d, &missing, &n, e);
	if (rc < 0)
		return rc;
	if (n > 0) {
		/* What is here should still be when the rest has come. If it is not, it is asked
		 * for again. */
		hold_leave(&hold);
		*ret = APPLY_NEED_CHUNKS;
		*ret_missing = missing;
		*ret_n = n;
		return 0;
	}
	commit_begin(&c, r, true);
	rc = apply_locked(&c, d, upto, ret, e);
	commit_done(&c);
	return rc == -ESTALE ? stale(r, &d->state.ctx, e) : rc;
}

static int claim_locked(struct replica *r, const struct id *scope, const struct vv *upto,
			struct err *e)
{
	_cleanup_(vv_done) struct vv have = { 0 };
	int rc = fence_check(r, upto, e);
	if (rc < 0)
		return rc;
	struct scope *s = scope_get(r, scope, true);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	if (vv_covers(&s->have, upto))
		return 0;
	rc = vv_copy(&s->have, &have);
	if (rc == 0)
		rc = vv_join(&have, upto);
	if (rc < 0)
		return err_errno(e, rc, "cannot note what is here");
	store_batch_clear(r->batch);
	uint32_t actors = actors_count(r->actors);
	actors_put_batch(r, r->batch, actors);
	scope_put_batch(r, r->batch, scope, &have, s->files);
	rc = store_write(r->store, r->batch, e);
	if (rc < 0)
		return rc;
	r->actors_saved = actors;
	pthread_mutex_lock(&r->scopes_lock);
	struct vv old = s->have;
	s->have = have;
	have = old;
	pthread_mutex_unlock(&r->scopes_lock);
	atomic_fetch_add(&r->commits, 1);
	return 0;
}

int replica_claim(struct replica *r, const struct id *scope, const struct vv *upto, struct err *e)
{
	pthread_mutex_lock(&r->commit);
	int rc = claim_locked(r, scope, upto, e);
	pthread_mutex_unlock(&r->commit);
	return rc == -ESTALE ? stale(r, upto, e) : rc;
}
