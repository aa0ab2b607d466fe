/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What peers said they hold, and what others wait for them to hold. */

#include "engine/replica-impl.h"

#include <errno.h>

static int peer_cmp(const struct peer_held *p, const struct id *peer, const struct id *scope)
{
	int c = id_cmp(&p->peer, peer);
	return c ? c : id_cmp(&p->scope, scope);
}

/* scopes_lock. NULL: not there and not made. */
static struct peer_held *peer_get(struct replica *r, const struct id *peer, const struct id *scope,
				  bool create)
{
	uint32_t low = 0, high = r->n_peers;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = peer_cmp(r->peer[middle], peer, scope);
		if (c == 0)
			return r->peer[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (!create)
		return NULL;
	struct peer_held *p = calloc(1, sizeof(*p));
	struct peer_held **all = realloc(r->peer, (r->n_peers + 1) * sizeof(struct peer_held *));
	if (all)
		r->peer = all;
	if (!p || !all) {
		free(p);
		return NULL;
	}
	memmove(all + low + 1, all + low, (r->n_peers - low) * sizeof(struct peer_held *));
	all[low] = p;
	r->n_peers++;
	p->peer = *peer;
	p->scope = *scope;
	return p;
}

int replica_peer_raise(struct replica *r, const struct id *peer, const struct id *scope,
		       const struct vv *held)
{
	int rc = -ENOMEM;
	pthread_mutex_lock(&r->scopes_lock);
	struct peer_held *p = peer_get(r, peer, scope, true);
	if (p && vv_covers(&p->held, held)) {
		rc = 0;
	} else if (p) {
		rc = vv_join(&p->held, held);
		p->dirty = true;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	return rc;
}

uint64_t replica_meeting(struct replica *r)
{
	return atomic_fetch_add(&r->meetings, 1) + 1;
}

int replica_peer_set(struct replica *r, const struct id *peer, const struct id *scope,
		     const struct vv *held, uint64_t meeting)
{
	struct vv copy = { 0 };
	int rc = vv_copy(held, &copy);
	pthread_mutex_lock(&r->scopes_lock);
	struct peer_held *p = rc == 0 ? peer_get(r, peer, scope, held->n > 0) : NULL;
	bool late = p && p->meeting > meeting;
	if (p && !late)
		p->meeting = meeting;
	if (p && !late && !vv_equal(&p->held, held)) {
		struct vv old = p->held;
		p->held = copy;
		copy = old;
		p->dirty = true;
	} else if (!p && rc == 0 && held->n > 0) {
		rc = -ENOMEM;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	vv_done(&copy);
	return rc == 0 && late ? replica_peer_raise(r, peer, scope, held) : rc;
}

/* ---- cuts ---- */

struct part {
	struct id scope;
	struct vv want;
};

struct cut {
	struct replica *r;
	struct part *part; /* by scope */
	uint32_t n, cap;
};

int cut_new(struct replica *r, struct cut **ret)
{
	struct cut *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->r = r;
	*ret = c;
	return 0;
}

void cut_free(struct cut *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->n; i++)
		vv_done(&c->part[i].want);
	free(c->part);
	free(c);
}

static int cut_add(struct cut *c, const struct id *scope, const struct vv *want)
{
	uint32_t low = 0, high = c->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = id_cmp(&c->part[middle].scope, scope);
		if (order == 0)
			return vv_join(&c->part[middle].want, want);
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (c->n == c->cap) {
		uint32_t cap = c->cap ? 2 * c->cap : 4;
		struct part *bigger = reallocarray(c->part, cap, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		c->part = bigger;
		c->cap = cap;
	}
	struct part add = { .scope = *scope };
	int rc = vv_copy(want, &add.want);
	if (rc < 0)
		return rc;
	memmove(c->part + low + 1, c->part + low, (c->n - low) * sizeof(*c->part));
	c->part[low] = add;
	c->n++;
	return 0;
}

int cut_all(struct cut *c)
{
	struct replica *r = c->r;
	int rc = 0;
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; rc == 0 && i < r->n_scopes; i++)
		if (interest_is_shown(interests_level(r->interests, &r->scope[i]->id)))
			rc = cut_add(c, &r->scope[i]->id, &r->scope[i]->have);
	pthread_mutex_unlock(&r->scopes_lock);
	return rc;
}

int cut_node(struct cut *c, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	int rc = stored_get(c->r, NULL, &a, id, &s, NULL);
	return rc < 0 ? rc : cut_add(c, &s.record->scope, &s.record->ctx);
}

int cut_parents(struct cut *c, const struct id *id)
{
	char name[NAME_MAX_BYTES + 1];
	struct id at = *id;
	for (;;) {
		struct id parent;
		int rc = replica_parent(c->r, &at, &parent, name);
		if (rc == -ENOENT) /* at the root, or moved away meanwhile */
			return 0;
		if (rc < 0)
			return rc;
		at = parent;
		rc = cut_node(c, &at);
		if (rc < 0 && rc != -ENOENT) /* the root may have no record */
			return rc;
	}
}

bool cut_held(const struct cut *c, const struct id *peer)
{
	bool held = true;
	pthread_mutex_lock(&c->r->scopes_lock);
	for (uint32_t i = 0; held && i < c->n; i++) {
		const struct part *part = &c->part[i];
		const struct peer_held *p = peer_get(c->r, peer, &part->scope, false);
		held = part->want.n == 0 || (p && vv_covers(&p->held, &part->want));
	}
	pthread_mutex_unlock(&c->r->scopes_lock);
	return held;
}

/* ---- in the store ---- */

void peers_put_batch(struct replica *r, struct store_batch *b)
{
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		_cleanup_(buf_done) struct buf key = { 0 };
		_cleanup_(buf_done) struct buf v = { 0 };
		struct peer_held *p = r->peer[i];
		if (!p->dirty)
			continue;
		meta_key(&key, META_PEER, p->peer.b, ID_SIZE, p->scope.b, ID_SIZE);
		vv_encode(&p->held, r->actors, NULL, &v);
		if (buf_failed(&key) || buf_failed(&v))
			continue; /* stays dirty */
		store_put(b, STORE_META, key.data, key.len, v.data, v.len);
		p->dirty = false;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	/* The numbers in the vectors must be there when they are read again. Putting them twice
	 * does no harm, so this does not count as saved. */
	if (store_batch_count(b) > 0)
		actors_put_batch(r, b, actors_count(r->actors));
}

int peers_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t first = META_PEER, end = META_PEER + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id peer, scope;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		struct cursor c = cursor_make(value, len);
		if (key_len != 1 + 2 * ID_SIZE)
			return err_set(e, -EBADMSG, "a damaged key in the database");
		memcpy(peer.b, key + 1, ID_SIZE);
		memcpy(scope.b, key + 1 + ID_SIZE, ID_SIZE);
		struct peer_held *p = peer_get(r, &peer, &scope, true);
		if (!p)
			return -ENOMEM;
		rc = vv_decode(&c, r->actors, NULL, &p->held);
		if (rc == 0 && !cursor_end(&c))
			rc = err_set(e, -EBADMSG, "a damaged vector in the database");
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc;
}
