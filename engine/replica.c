/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Opening and closing, and what STORE_META holds. */

#include "engine/replica-schema-impl.h"
#include "engine/replica-index.h"

#include <errno.h>

#define FENCE_SIZE sizeof(((struct replica_config *)0)->fence)

void meta_key(struct buf *b, uint8_t kind, const void *p, size_t n, const void *q, size_t m)
{
	buf_u8(b, kind);
	buf_put(b, p, n);
	buf_put(b, q, m);
}

/* ---- scopes ---- */

static uint32_t scope_place(const struct replica *r, const struct id *id, bool *ret_found)
{
	uint32_t low = 0, high = r->n_scopes;
	*ret_found = false;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = id_cmp(&r->scope[middle]->id, id);
		if (c == 0) {
			*ret_found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct scope *scope_get(struct replica *r, const struct id *id, bool create)
{
	bool found;
	uint32_t at = scope_place(r, id, &found);
	if (found)
		return r->scope[at];
	if (!create)
		return NULL;
	struct scope *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->id = *id;
	pthread_mutex_lock(&r->scopes_lock);
	struct scope **bigger = realloc(r->scope, (r->n_scopes + 1) * sizeof(struct scope *));
	if (bigger) {
		memmove(bigger + at + 1, bigger + at, (r->n_scopes - at) * sizeof(struct scope *));
		bigger[at] = s;
		r->scope = bigger;
		r->n_scopes++;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	if (!bigger) {
		free(s);
		return NULL;
	}
	return s;
}

void scope_put_batch(struct replica *r, struct store_batch *b, const struct id *id,
		     const struct vv *have, uint64_t files)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[1 + ID_SIZE];
	key[0] = META_SCOPE;
	memcpy(key + 1, id->b, ID_SIZE);
	buf_u64(&v, r->clock.last);
	buf_varint(&v, files);
	vv_encode(have, r->actors, NULL, &v);
	store_put(b, STORE_META, key, sizeof(key), v.data, v.len);
}

static int scopes_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t first = META_SCOPE, end = META_SCOPE + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id id;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		struct cursor c = cursor_make(value, len);
		uint64_t clock = cursor_u64(&c), files = cursor_varint(&c);
		if (key_len != 1 + ID_SIZE)
			return err_set(e, -EBADMSG, "a damaged key in the database");
		memcpy(id.b, key + 1, ID_SIZE);
		struct scope *s = scope_get(r, &id, true);
		if (!s)
			return -ENOMEM;
		rc = vv_decode(&c, r->actors, NULL, &s->have);
		if (rc == 0 && !cursor_end(&c))
			rc = err_set(e, -EBADMSG, "a damaged vector in the database");
		s->files = files;
		atomic_fetch_add(&r->files, files);
		if (clock > r->clock.last)
			r->clock.last = clock;
		uint64_t own = vv_get(&s->have, r->self);
		if (own > r->seq)
			r->seq = own;
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc;
}

/* ---- actors and incarnations ---- */

void actors_put_batch(struct replica *r, struct store_batch *b, uint32_t count)
{
	for (uint32_t i = r->actors_saved; i < count; i++) {
		const struct actor_id *id = actors_get(r->actors, i);
		uint8_t key[5] = { META_ACTOR, (uint8_t)(i >> 24), (uint8_t)(i >> 16),
				   (uint8_t)(i >> 8), (uint8_t)i };
		uint8_t value[ACTOR_ID_SIZE];
		memcpy(value, id->device.b, ID_SIZE);
		for (unsigned k = 0; k < 4; k++)
			value[ID_SIZE + k] = (uint8_t)(id->incarnation >> (24 - 8 * k));
		store_put(b, STORE_META, key, sizeof(key), value, sizeof(value));
	}
}

static int actors_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t first = META_ACTOR, end = META_ACTOR + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct actor_id id;
		uint32_t no;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		struct cursor k = cursor_make(key, key_len), c = cursor_make(value, len);
		cursor_u8(&k);
		uint32_t want = cursor_u32(&k);
		const uint8_t *device = cursor_take(&c, ID_SIZE);
		id.incarnation = cursor_u32(&c);
		if (!cursor_end(&k) || !cursor_end(&c))
			return err_set(e, -EBADMSG, "a damaged actor in the database");
		memcpy(id.device.b, device, ID_SIZE);
		rc = actors_intern(r->actors, &id, &no);
		if (rc == 0 && no != want)
			rc = err_set(e, -EBADMSG, "the database's actors are out of order");
		r->actors_saved = no + 1;
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc;
}

void format_put(struct replica *r, struct store_batch *b, const struct actor_id *self)
{
	uint8_t key = META_FORMAT, value[1 + ID_SIZE + 4 + FENCE_SIZE];
	value[0] = REPLICA_FORMAT;
	memcpy(value + 1, self->device.b, ID_SIZE);
	for (unsigned k = 0; k < 4; k++)
		value[1 + ID_SIZE + k] = (uint8_t)(self->incarnation >> (24 - 8 * k));
	memcpy(value + 1 + ID_SIZE + 4, r->config.fence, FENCE_SIZE);
	store_put(b, STORE_META, &key, 1, value, sizeof(value));
}

/* The two directories that have no record. */
static int top_nodes_put(struct replica *r)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	static const char lost[] = "lost+found";
	struct node root = { .attr = { .id = NODE_ROOT, .scope = NODE_ROOT, .kind = NODE_DIR,
				       .mode = 0755, .author = ACTOR_NONE },
			     .flags = NODE_LIVE | NODE_ALIVE, .actor = ACTOR_NONE };
	struct node found = { .attr = { .id = NODE_LOST, .scope = NODE_ROOT, .kind = NODE_DIR,
					.mode = 0755, .author = ACTOR_NONE },
			      .parent = NODE_ROOT, .name = lost, .name_len = sizeof(lost) - 1,
			      .actor = ACTOR_NONE };
	struct node *node[2] = { &root, &found };
	int rc = store_batch_new(&b);
	for (unsigned i = 0; rc == 0 && i < 2; i++) {
		_cleanup_(buf_done) struct buf v = { 0 };
		node_encode(node[i], &v);
		if (buf_failed(&v))
			return -ENOMEM;
		store_put(b, STORE_ATTRS, node[i]->attr.id.b, ID_SIZE, v.data, v.len);
	}
	return rc < 0 ? rc : store_write(r->store, b, NULL);
}

static int meta_load(struct replica *r, struct err *e)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key = META_FORMAT;
	struct actor_id self;
	int rc = store_get(r->store, NULL, STORE_META, &key, 1, &v);
	if (rc == -ENOENT) {
		/* The format comes last: a store that was left half made is made again. */
		rc = top_nodes_put(r);
		if (rc < 0)
			return err_errno(e, rc, "cannot prepare the database");
		rc = incarnation_new(r, RENEWAL_NONE, e);
		atomic_store(&r->renewals, 0);
		return rc;
	}
	if (rc < 0)
		return err_errno(e, rc, "cannot read the database");
	struct cursor c = cursor_make(v.data, v.len);
	uint8_t format = cursor_u8(&c);
	if (format != REPLICA_FORMAT)
		return err_set(e, -EPROTONOSUPPORT,
			       "the database has format %u, this version of shoal knows %u: use the "
			       "version that wrote it", format, REPLICA_FORMAT);
	const uint8_t *device = cursor_take(&c, ID_SIZE);
	self.incarnation = cursor_u32(&c);
	const uint8_t *fence = cursor_take(&c, FENCE_SIZE);
	if (!cursor_end(&c))
		return err_set(e, -EBADMSG, "the database's first entry is damaged");
	memcpy(self.device.b, device, ID_SIZE);
	rc = actors_load(r, e);
	if (rc < 0)
		return rc;
	r->self = actors_find(r->actors, &self);
	if (r->self == ACTOR_NONE)
		return err_set(e, -EBADMSG, "the database does not know its own actor");
	rc = scopes_load(r, e);
	if (rc < 0)
		return rc;
	if (!id_equal(&self.device, &r->config.device) ||
	    memcmp(fence, r->config.fence, FENCE_SIZE) != 0)
		rc = incarnation_new(r, RENEWAL_FENCE, e);
	return rc;
}

int replica_open(const struct replica_config *config, struct replica **ret, struct err *e)
{
	struct replica *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, -ENOMEM, "out of memory");
	r->config = *config;
	if (r->config.large_min == 0)
		r->config.large_min = REPLICA_LARGE;
	r->store = config->store;
	r->interests = interests_all();
	pthread_mutex_init(&r->commit, NULL);
	pthread_mutex_init(&r->scopes_lock, NULL);
	pthread_mutex_init(&r->views_lock, NULL);
	pthread_mutex_init(&r->notify, NULL);
	pthread_mutex_init(&r->flush_lock, NULL);
	pthread_cond_init(&r->flushed, NULL);
	int rc = actors_new(&r->actors);
	if (rc == 0)
		rc = store_batch_new(&r->batch);
	if (rc == 0)
		rc = nodes_init(r);
	if (rc == 0)
		rc = versions_init(r);
	types_init(r);
	schemas_init(r);
	if (rc == 0)
		rc = large_init(r);
	if (rc < 0)
		err_errno(e, rc, "cannot open the replica");
	if (rc == 0)
		rc = meta_load(r, e);
	r->renewals_own = atomic_load(&r->renewals);
	if (rc == 0)
		rc = absents_new(r->store, &r->absents, e);
	if (rc == 0)
		rc = restamps_load(r, e);
	if (rc == 0)
		rc = loose_load(r, e);
	if (rc == 0)
		rc = peers_load(r, e);
	if (rc == 0)
		rc = interests_load(r, e);
	if (rc == 0)
		rc = partials_load(r, e);
	if (rc == 0)
		rc = picks_load(r, e);
	if (rc == 0)
		rc = indexes_load(r, e);
	if (rc == 0)
		rc = left_load(r);
	if (rc == 0)
		rc = conflicts_load(r, e);
	if (rc == 0)
		rc = batches_load(r, e);
	/* What is in the log may not be on the disk yet; the first view is. */
	if (rc == 0)
		rc = view_first(r, e);
	if (rc < 0) {
		replica_free(r);
		return rc;
	}
	*ret = r;
	return 0;
}

void replica_free(struct replica *r)
{
	if (!r)
		return;
	if (r->batch && (r->n_peers > 0 || r->n_partials > 0)) {
		store_batch_clear(r->batch);
		peers_put_batch(r, r->batch);
		interests_put_batch(r, r->batch);
		store_write(r->store, r->batch, NULL);
	}
	view_unref(r->published);
	interests_done(r);
	picks_done(r);
	indexes_done(r);
	kept_done(&r->types);
	kept_done(&r->schemas);
	large_done(r);
	versions_done(r);
	if (r->shard)
		nodes_done(r);
	loose_done(r);
	for (uint32_t i = 0; i < r->n_scopes; i++) {
		vv_done(&r->scope[i]->have);
		free(r->scope[i]);
	}
	for (uint32_t i = 0; i < r->n_peers; i++) {
		vv_done(&r->peer[i]->held);
		free(r->peer[i]);
	}
	free(r->scope);
	free(r->peer);
	partials_done(r);
	free(r->observer);
	free(r->restamped);
	absents_free(r->absents);
	store_batch_free(r->batch);
	actors_free(r->actors);
	pthread_mutex_destroy(&r->commit);
	pthread_mutex_destroy(&r->scopes_lock);
	pthread_mutex_destroy(&r->views_lock);
	pthread_mutex_destroy(&r->notify);
	pthread_mutex_destroy(&r->flush_lock);
	pthread_cond_destroy(&r->flushed);
	free(r);
}

int replica_set_fence(struct replica *r, const uint8_t fence[static 16], struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	pthread_mutex_lock(&r->commit);
	int rc = store_batch_new(&b);
	if (rc == 0) {
		memcpy(r->config.fence, fence, FENCE_SIZE);
		format_put(r, b, actors_get(r->actors, r->self));
		rc = store_write(r->store, b, e);
	}
	pthread_mutex_unlock(&r->commit);
	return rc;
}

struct actors *replica_actors(struct replica *r)
{
	return r->actors;
}

struct store *replica_store(struct replica *r)
{
	return r->store;
}

uint64_t replica_commits(struct replica *r)
{
	return atomic_load(&r->commits);
}

uint64_t replica_now_us(struct replica *r)
{
	pthread_mutex_lock(&r->commit);
	uint64_t hlc = clock_next(&r->clock, r->config.wall_us(r->config.userdata));
	pthread_mutex_unlock(&r->commit);
	return hlc_us(hlc);
}

/* ---- what only this device knows ---- */

int replica_local_write(struct replica *r, struct store_batch *b)
{
	int rc = store_write(r->store, b, NULL);
	if (rc == 0)
		atomic_fetch_add(&r->local_writes, 1);
	return rc;
}

int replica_local_put(struct replica *r, const void *key, size_t key_len, const void *value,
		      size_t len)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	int rc = store_batch_new(&b);
	if (rc < 0)
		return rc;
	store_put(b, STORE_LOCAL, key, key_len, value, len);
	return replica_local_write(r, b);
}

int replica_local_delete(struct replica *r, const void *key, size_t key_len)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	int rc = store_batch_new(&b);
	if (rc < 0)
		return rc;
	store_delete(b, STORE_LOCAL, key, key_len);
	return replica_local_write(r, b);
}

int replica_local_get(struct replica *r, const void *key, size_t key_len, struct buf *ret)
{
	return store_get(r->store, NULL, STORE_LOCAL, key, key_len, ret);
}

int replica_local_scan(struct replica *r, const void *prefix, size_t len, local_fn f,
		       void *userdata)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(prefix, len, &end);
	int rc = store_iter_new(r->store, NULL, STORE_LOCAL, prefix, len, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, value_len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &value_len);
		rc = f(key, key_len, value, value_len, userdata);
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc;
}
