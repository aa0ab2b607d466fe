/* SPDX-License-Identifier: GPL-2.0-or-later */

/* How far rounds came that were cut: shoal-protocol(7), Places.
 *
 * One record for each device and scope. It names the store that sent the round, and the own one as it was
 * then: after either has become another incarnation it says nothing any more. It is put with what a flush
 * writes, so after all that it stands for. */

#include "engine/replica-impl.h"
#include "engine/spans.h"

#include <errno.h>

#define PARTIALS_MAX 256 /* beyond, one goes for each that comes */

struct partial {
	struct actor_id from, own;
	struct id scope;
	struct vv reached;
	struct spans spans;
	bool dirty; /* the store has another one, or none */
};

static const struct actor_id *own_actor(const struct replica *r)
{
	return actors_get(r->actors, r->self);
}

/* scopes_lock. The first one that is not before (device, scope). */
static uint32_t partial_at(const struct replica *r, const struct id *device, const struct id *scope)
{
	uint32_t i = 0;
	for (; i < r->n_partials; i++) {
		const struct partial *p = &r->partial[i];
		int c = id_cmp(&p->from.device, device);
		if (c > 0 || (c == 0 && id_cmp(&p->scope, scope) >= 0))
			break;
	}
	return i;
}

static struct partial *partial_find(const struct replica *r, const struct id *device,
				    const struct id *scope)
{
	uint32_t i = partial_at(r, device, scope);
	struct partial *p = i < r->n_partials ? &r->partial[i] : NULL;
	return p && id_equal(&p->from.device, device) && id_equal(&p->scope, scope) ? p : NULL;
}

static bool partial_any(const struct partial *p)
{
	return p->reached.n > 0 || p->spans.n > 0;
}

/* Empty ones stay until their deletion is in the store. */
static void partial_clear(struct partial *p)
{
	vv_done(&p->reached);
	spans_done(&p->spans);
	p->dirty = true;
}

static bool partial_counts(const struct replica *r, const struct partial *p,
			   const struct actor_id *from)
{
	return partial_any(p) && actor_id_cmp(&p->from, from) == 0 &&
	       actor_id_cmp(&p->own, own_actor(r)) == 0;
}

static int partial_add(struct replica *r, const struct id *device, const struct id *scope,
		       struct partial **ret)
{
	struct partial *all = reallocarray(r->partial, r->n_partials + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	r->partial = all;
	uint32_t i = partial_at(r, device, scope);
	memmove(all + i + 1, all + i, (r->n_partials - i) * sizeof(*all));
	r->n_partials++;
	all[i] = (struct partial){ .from.device = *device, .scope = *scope };
	*ret = &all[i];
	return 0;
}

int replica_partial_raise(struct replica *r, const struct actor_id *from, const struct id *scope,
			  const struct vv *reached, const struct spans *spans)
{
	int rc = 0;
	pthread_mutex_lock(&r->scopes_lock);
	struct partial *p = partial_find(r, &from->device, scope);
	uint32_t used = 0;
	for (uint32_t i = 0; !p && i < r->n_partials; i++)
		used += partial_any(&r->partial[i]);
	for (uint32_t i = 0; used >= PARTIALS_MAX && i < r->n_partials; i++)
		if (partial_any(&r->partial[i])) {
			partial_clear(&r->partial[i]);
			break;
		}
	if (!p)
		rc = partial_add(r, &from->device, scope, &p);
	if (rc == 0) {
		if (!partial_counts(r, p, from))
			partial_clear(p);
		p->from = *from;
		p->own = *own_actor(r);
		rc = reached ? vv_join(&p->reached, reached) : spans_copy(spans, &p->spans);
		p->dirty = true;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	return rc;
}

void replica_partial_upto(struct replica *r, const struct actor_id *from, const struct id *scope,
			  const struct vv *upto, bool complete)
{
	pthread_mutex_lock(&r->scopes_lock);
	struct partial *p = partial_find(r, &from->device, scope);
	if (p && partial_any(p) &&
	    (complete || !partial_counts(r, p, from) || !vv_covers(upto, &p->reached) ||
	     (p->spans.n > 0 && !vv_covers(upto, spans_top(&p->spans)))))
		partial_clear(p);
	pthread_mutex_unlock(&r->scopes_lock);
}

/* What is here of it goes: nothing of that may be counted on. */
void partials_forget(struct replica *r, const struct id *scope)
{
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_partials; i++)
		if (id_equal(&r->partial[i].scope, scope))
			partial_clear(&r->partial[i]);
	pthread_mutex_unlock(&r->scopes_lock);
}

int replica_partial_next(struct replica *r, const struct actor_id *from, const struct id *after,
			 struct id *ret_scope, struct vv *ret, struct spans *ret_spans)
{
	int rc = 0;
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_partials; i++) {
		const struct partial *p = &r->partial[i];
		if (!partial_counts(r, p, from) || (after && id_cmp(&p->scope, after) <= 0))
			continue;
		rc = vv_copy(&p->reached, ret);
		if (rc == 0)
			rc = spans_copy(&p->spans, ret_spans);
		*ret_scope = p->scope;
		rc = rc < 0 ? rc : 1;
		break;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	return rc;
}

/* ---- in the store ---- */

void partials_put_batch(struct replica *r, struct store_batch *b)
{
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_partials;) {
		_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
		struct partial *p = &r->partial[i++];
		if (!p->dirty)
			continue;
		meta_key(&key, META_PARTIAL, p->from.device.b, ID_SIZE, p->scope.b, ID_SIZE);
		buf_u32(&v, p->from.incarnation);
		buf_u32(&v, p->own.incarnation);
		vv_encode(&p->reached, r->actors, NULL, &v);
		for (uint32_t k = 0; k < p->spans.n; k++) {
			vv_encode(&p->spans.high[k], r->actors, NULL, &v);
			vv_encode(&p->spans.low[k], r->actors, NULL, &v);
		}
		if (buf_failed(&key) || buf_failed(&v))
			continue; /* stays dirty */
		p->dirty = false;
		if (partial_any(p)) {
			store_put(b, STORE_META, key.data, key.len, v.data, v.len);
			continue;
		}
		store_delete(b, STORE_META, key.data, key.len);
		vv_done(&p->reached);
		spans_done(&p->spans);
		r->n_partials--;
		i--;
		memmove(r->partial + i, r->partial + i + 1, (r->n_partials - i) * sizeof(*r->partial));
	}
	pthread_mutex_unlock(&r->scopes_lock);
}

int partials_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t first = META_PARTIAL, end = META_PARTIAL + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id device, scope;
		struct partial *p;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		struct cursor c = cursor_make(value, len);
		if (key_len != 1 + 2 * ID_SIZE)
			return err_set(e, -EBADMSG, "a damaged key in the database");
		memcpy(device.b, key + 1, ID_SIZE);
		memcpy(scope.b, key + 1 + ID_SIZE, ID_SIZE);
		rc = partial_add(r, &device, &scope, &p);
		if (rc < 0)
			return rc;
		p->from.incarnation = cursor_u32(&c);
		p->own = (struct actor_id){ own_actor(r)->device, cursor_u32(&c) };
		rc = vv_decode(&c, r->actors, NULL, &p->reached);
		for (struct spans *x = &p->spans; rc == 0 && cursor_ok(&c) && cursor_left(&c) > 0 && x->n < SPANS_KEPT;) {
			rc = vv_decode(&c, r->actors, NULL, &x->high[x->n]);
			if (rc == 0)
				rc = vv_decode(&c, r->actors, NULL, &x->low[x->n]);
			x->n++;
		}
		if (rc == 0 && (!cursor_end(&c) || !spans_valid(&p->spans)))
			rc = err_set(e, -EBADMSG, "a damaged vector in the database");
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

void partials_done(struct replica *r)
{
	for (uint32_t i = 0; i < r->n_partials; i++)
		partial_clear(&r->partial[i]);
	free(r->partial);
}
