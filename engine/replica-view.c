/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Durability: what sessions may see. A view is a snapshot that was on the disk before anybody got
 * it, so no dot is ever sent that a crash could take back. */

#include "engine/replica-impl.h"

#include <errno.h>

struct view {
	atomic_uint refs;
	struct replica *r;
	struct view *next, **link; /* of those that live; r->views_lock */
	struct store_snapshot *snap;
	uint64_t commits;
	uint64_t local_writes;
	unsigned renewals;
	struct interests *interests;
	unsigned interest_changes;
	struct id *id; /* scopes, sorted */
	struct vv *have;
	uint32_t n;
};

struct view *view_ref(struct view *v)
{
	if (v)
		atomic_fetch_add(&v->refs, 1);
	return v;
}

void view_unref(struct view *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	if (v->link) {
		pthread_mutex_lock(&v->r->views_lock);
		*v->link = v->next;
		if (v->next)
			v->next->link = v->link;
		pthread_mutex_unlock(&v->r->views_lock);
	}
	if (v->snap)
		store_snapshot_free(v->r->store, v->snap);
	for (uint32_t i = 0; i < v->n; i++)
		vv_done(&v->have[i]);
	interests_unref(v->interests);
	free(v->have);
	free(v->id);
	free(v);
}

/* A view of what is committed now. */
int view_take(struct replica *r, struct view **ret)
{
	_cleanup_(view_unrefp) struct view *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	atomic_init(&v->refs, 1);
	v->r = r;
	v->commits = atomic_load(&r->commits);
	v->local_writes = atomic_load(&r->local_writes);
	v->renewals = atomic_load(&r->renewals);
	v->interests = interests_ref(r->interests);
	v->interest_changes = atomic_load(&r->interest_changes);
	v->id = calloc(r->n_scopes ? r->n_scopes : 1, sizeof(*v->id));
	v->have = calloc(r->n_scopes ? r->n_scopes : 1, sizeof(*v->have));
	if (!v->id || !v->have)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n_scopes; i++) {
		v->id[i] = r->scope[i]->id;
		int rc = vv_copy(&r->scope[i]->have, &v->have[i]);
		v->n = i + 1;
		if (rc < 0)
			return rc;
	}
	int rc = store_snapshot(r->store, &v->snap);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->views_lock);
	v->next = r->views;
	v->link = &r->views;
	if (v->next)
		v->next->link = &v->next;
	r->views = v;
	pthread_mutex_unlock(&r->views_lock);
	*ret = TAKE_PTR(v);
	return 0;
}

int views_others(struct replica *r, const struct view *v, struct buf *b)
{
	pthread_mutex_lock(&r->views_lock);
	for (struct view *w = r->views; w; w = w->next) {
		unsigned refs = atomic_load(&w->refs);
		if (w == v || w->commits == v->commits || buf_failed(b))
			continue;
		/* One at zero is about to go: leave it to its owner. */
		while (refs > 0 && !atomic_compare_exchange_weak(&w->refs, &refs, refs + 1))
			;
		if (refs > 0)
			buf_put(b, &w, sizeof(w));
		if (refs > 0 && buf_failed(b))
			atomic_fetch_sub(&w->refs, 1);
	}
	pthread_mutex_unlock(&r->views_lock);
	return buf_failed(b) ? -ENOMEM : 0;
}

/* One sync for everybody who waits: takes the view, syncs, publishes. */
static int flush_once(struct replica *r, struct err *e)
{
	struct view *v = NULL, *old = NULL;
	pthread_mutex_lock(&r->commit);
	int rc = 0;
	store_batch_clear(r->batch);
	peers_put_batch(r, r->batch);
	interests_put_batch(r, r->batch);
	if (store_batch_count(r->batch) > 0)
		rc = store_write(r->store, r->batch, e);
	if (rc == 0)
		rc = view_take(r, &v);
	pthread_mutex_unlock(&r->commit);
	if (rc == 0)
		rc = store_flush(r->store, e);
	if (rc < 0) {
		view_unref(v);
		return rc;
	}
	pthread_mutex_lock(&r->flush_lock);
	old = r->published;
	r->published = v;
	pthread_mutex_unlock(&r->flush_lock);
	view_unref(old);
	return 0;
}

int view_first(struct replica *r, struct err *e)
{
	return flush_once(r, e);
}

static bool behind(const struct replica *r, uint64_t commits, uint64_t local)
{
	return r->published->commits < commits || r->published->local_writes < local;
}

int replica_flush(struct replica *r, struct err *e)
{
	uint64_t commits = atomic_load(&r->commits), local = atomic_load(&r->local_writes);
	int rc = 0;
	pthread_mutex_lock(&r->flush_lock);
	while (rc == 0 && behind(r, commits, local)) {
		/* What a running sync does not cover waits for it, and then goes all at once. */
		if (r->flushing) {
			pthread_cond_wait(&r->flushed, &r->flush_lock);
			continue;
		}
		r->flushing = true;
		pthread_mutex_unlock(&r->flush_lock);
		rc = flush_once(r, e);
		pthread_mutex_lock(&r->flush_lock);
		r->flushing = false;
		pthread_cond_broadcast(&r->flushed);
	}
	pthread_mutex_unlock(&r->flush_lock);
	return rc;
}

bool replica_dirty(struct replica *r)
{
	pthread_mutex_lock(&r->flush_lock);
	bool dirty = r->published->commits < atomic_load(&r->commits);
	pthread_mutex_unlock(&r->flush_lock);
	return dirty;
}

struct view *replica_view(struct replica *r)
{
	pthread_mutex_lock(&r->flush_lock);
	struct view *v = view_ref(r->published);
	pthread_mutex_unlock(&r->flush_lock);
	return v;
}

uint64_t view_commits(const struct view *v)
{
	return v->commits;
}

unsigned view_renewals(const struct view *v)
{
	return v->renewals;
}

struct interests *view_interests(const struct view *v)
{
	return v->interests;
}

unsigned view_interest_changes(const struct view *v)
{
	return v->interest_changes;
}

uint32_t view_scopes(const struct view *v)
{
	return v->n;
}

void view_scope(const struct view *v, uint32_t i, struct id *ret_scope, const struct vv **ret_have)
{
	*ret_scope = v->id[i];
	*ret_have = &v->have[i];
}

const struct vv *view_have(const struct view *v, const struct id *scope)
{
	static const struct vv nothing;
	uint32_t low = 0, high = v->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = id_cmp(&v->id[middle], scope);
		if (c == 0)
			return &v->have[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return &nothing;
}

/* Scopes that hold nothing yet do not count, so that knowing of one is no difference. */
void view_fingerprint(const struct view *v, const struct interests *with, struct id *ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	for (uint32_t i = 0; i < v->n; i++) {
		struct id print;
		if (v->have[i].n == 0 || !view_shares(v, with, &v->id[i]))
			continue;
		vv_fingerprint(&v->have[i], v->r->actors, &print);
		buf_put(&b, v->id[i].b, ID_SIZE);
		buf_put(&b, print.b, ID_SIZE);
	}
	const struct sha256_part part = { b.data, b.len };
	sha256_id(&part, 1, ret);
}

bool view_shares(const struct view *v, const struct interests *with, const struct id *scope)
{
	return interest_is_whole(interests_level(v->interests, scope)) &&
	       interest_is_whole(interests_level(with, scope));
}

const struct store_snapshot *view_snapshot(const struct view *v)
{
	return v->snap;
}

struct replica *view_replica(const struct view *v)
{
	return v->r;
}
