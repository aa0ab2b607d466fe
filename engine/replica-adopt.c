/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What came here in rounds that will never be complete, because the store that sent them is not any more
 * what it was. Nobody else can be told that it is here, and who has the same of it is not known; so this
 * device commits it as it is, in batches of its own. */

#include "engine/replica-impl.h"

#include <errno.h>

static void adopted_key(struct buf *b, uint32_t actor, uint64_t seq, const struct id *node)
{
	buf_reset(b);
	buf_u8(b, META_ADOPTED);
	buf_u32(b, actor);
	buf_u64(b, seq);
	buf_put(b, node->b, ID_SIZE);
}

int commit_as_own(struct commit *c, const struct id *node, struct err *e)
{
	struct stored old;
	c->anywhere = true;
	int rc = commit_record(c, node, &old, e);
	struct record *rec = rc == 0 ? arena_new(&c->arena, struct record) : NULL;
	if (rc == 0 && !rec)
		rc = -ENOMEM;
	if (rc == 0) {
		*rec = *old.record;
		rc = vv_arena_raise(&c->arena, &old.record->ctx, c->stamp.dot, &rec->ctx);
	}
	if (rc == 0)
		rc = commit_put(c, &old, rec, 0, NULL);
	return rc == 0 ? commit_end(c, e) : rc;
}

static int adopt_node(struct replica *r, uint32_t actor, uint64_t seq, const struct id *node,
		      struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	_cleanup_(buf_done) struct buf key = { 0 };
	struct commit c;
	adopted_key(&key, actor, seq, node);
	if (buf_failed(&key))
		return -ENOMEM;
	if (store_has(r->store, NULL, STORE_META, key.data, key.len))
		return 0;
	commit_begin(&c, r, false);
	int rc = commit_as_own(&c, node, e);
	commit_done(&c);
	if (rc == 0)
		rc = store_batch_new(&b);
	if (rc < 0)
		return rc;
	store_put(b, STORE_META, key.data, key.len, "", 0);
	return store_write(r->store, b, e);
}

static int adopt_scope(struct replica *r, const struct id *scope, uint32_t actor, uint64_t have,
		       struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = dots_iter(r, scope, actor, have, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id node;
		uint64_t seq;
		rc = dots_entry(it, &seq, &node);
		if (rc == 0)
			rc = adopt_node(r, actor, seq, &node, e);
		if (rc < 0)
			return rc;
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* A device that had another store before comes with this one for the first time: what that had from
 * anybody may have gone with it. Then *ret_key is what notes that it came. */
static int met_another(struct replica *r, const struct actor_id *now, struct buf *ret_key)
{
	static const struct id none;
	uint32_t n = actors_count(r->actors), no, i = 0;
	while (i < n && (!id_equal(&actors_get(r->actors, i)->device, &now->device) ||
			 actors_get(r->actors, i)->incarnation == now->incarnation))
		i++;
	if (i == n)
		return 0;
	int rc = actors_intern(r->actors, now, &no);
	if (rc < 0)
		return rc;
	adopted_key(ret_key, no, 0, &none);
	if (buf_failed(ret_key))
		return -ENOMEM;
	return !store_has(r->store, NULL, STORE_META, ret_key->data, ret_key->len);
}

static int met_put(struct replica *r, const struct buf *key, struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	int rc = store_batch_new(&b);
	if (rc < 0)
		return rc;
	store_put(b, STORE_META, key->data, key->len, "", 0);
	actors_put_batch(r, b, actors_count(r->actors));
	return store_write(r->store, b, e);
}

int replica_adopt(struct replica *r, const struct actor_id *now, struct err *e)
{
	_cleanup_(view_unrefp) struct view *v = replica_view(r);
	_cleanup_(buf_done) struct buf key = { 0 };
	struct actor_id self;
	replica_self(r, &self, NULL);
	int all = met_another(r, now, &key), rc = all < 0 ? all : 0;
	uint32_t n = actors_count(r->actors);
	for (uint32_t no = 0; rc == 0 && no < n; no++) {
		const struct actor_id *id = actors_get(r->actors, no);
		bool over = id_equal(&id->device, &now->device) || id_equal(&id->device, &self.device);
		if (actor_id_cmp(id, now) == 0 || actor_id_cmp(id, &self) == 0 || (!over && !all))
			continue;
		for (uint32_t i = 0; rc == 0 && i < view_scopes(v); i++) {
			struct id scope;
			const struct vv *have;
			view_scope(v, i, &scope, &have);
			rc = adopt_scope(r, &scope, no, vv_get(have, no), e);
		}
	}
	if (rc == 0 && all)
		rc = met_put(r, &key, e);
	return rc < 0 ? err_errno(e, rc, "cannot take on what another incarnation left") : 0;
}
