/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What of the history goes again: by age, file by file, and then the oldest of all that takes more
 * than it may. Entries are only added under a stamp that is newer than every one before, and only
 * deleted here and by verification, so no lock is needed: what comes meanwhile is looked at next time. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/history.h"

#define STEP 4096 /* entries of one step, and the rest of the last file */
#define BATCH 512
#define DAY_US (24 * 3600 * UINT64_C(1000000))

/* ---- deleting ---- */

struct dropping {
	struct replica *r;
	struct store_batch *batch;
	uint64_t n;
};

static int drop_flush(struct dropping *d, struct err *e)
{
	int rc = store_batch_count(d->batch) > 0 ? store_write(d->r->store, d->batch, e) : 0;
	store_batch_clear(d->batch);
	return rc;
}

static int drop(struct dropping *d, const struct id *node, uint64_t stamp, uint64_t blob_size,
		struct err *e)
{
	uint8_t key[HISTORY_KEY_SIZE];
	history_key(node, stamp, key);
	store_delete(d->batch, STORE_HISTORY, key, sizeof(key));
	atomic_fetch_add(&d->r->orphaned, blob_size);
	d->n++;
	return store_batch_count(d->batch) < BATCH ? 0 : drop_flush(d, e);
}

/* ---- by age ---- */

struct item {
	uint64_t stamp;
	uint64_t written_us;
	uint64_t cost;
	uint64_t blob_size;
	bool file; /* a deletion of one, to be purged */
};

/* One file's entries, or the deletions. */
struct group {
	struct id node;
	struct buf items;
};

static void group_done(struct group *g)
{
	buf_done(&g->items);
}

static int group_add(struct replica *r, struct group *g, uint64_t stamp, const void *value, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct history_version h;
	struct item item = { .stamp = stamp };
	if (!id_equal(&g->node, &NODE_TRASH)) {
		int rc = history_version_decode(&a, r->actors, value, len, &h, NULL);
		if (rc < 0)
			return rc == -ENOMEM ? rc : 0; /* verification tells */
		item.written_us = hlc_us(h.written);
		item.cost = history_cost(&h, len);
		item.blob_size = h.blob ? h.ref.size : 0;
	} else {
		struct history_deletion d;
		item.file = history_deletion_decode(r->actors, value, len, &d, NULL) == 0 && !d.moved &&
			    d.kind != NODE_DIR;
	}
	buf_put(&g->items, &item, sizeof(item));
	return buf_failed(&g->items) ? -ENOMEM : 0;
}

static int group_thin(struct group *g, const struct history_policy *policy, struct history_walk *w,
		      struct dropping *d, struct err *e)
{
	uint32_t n = (uint32_t)(g->items.len / sizeof(struct item));
	const struct item *item = (const void *)g->items.data;
	bool deletions = id_equal(&g->node, &NODE_TRASH);
	_cleanup_free_ struct history_time *time = calloc(n ? n : 1, sizeof(*time));
	_cleanup_free_ bool *keep = calloc(n ? n : 1, sizeof(*keep));
	if (!time || !keep)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		time[i] = (struct history_time){ item[i].written_us, hlc_us(item[i].stamp) };
	if (!deletions)
		history_thin(time, n, w->now_us, policy->keep_us, keep);
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		if (deletions)
			keep[i] = (policy->purge && item[i].file) || time[i].replaced_us + policy->keep_us > w->now_us;
		if (!keep[i])
			rc = drop(d, &g->node, item[i].stamp, item[i].blob_size, e);
		w->versions += keep[i] && !deletions;
		w->deletions += keep[i] && deletions;
		w->bytes += keep[i] ? item[i].cost : 0;
	}
	buf_reset(&g->items);
	return rc;
}

/* Files from w->next on. 1: there are more. */
static int thin_some(struct replica *r, const struct history_policy *policy, struct history_walk *w,
		     struct dropping *d, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(group_done) struct group g = { .node = w->next };
	uint32_t looked = 0;
	int more = 0;
	int rc = store_iter_new(r->store, NULL, STORE_HISTORY, w->next.b, ID_SIZE, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id node;
		uint64_t stamp;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		if (history_key_decode(key, key_len, &node, &stamp) < 0)
			continue;
		if (!id_equal(&node, &g.node)) {
			rc = group_thin(&g, policy, w, d, e);
			g.node = node;
			more = looked >= STEP;
			if (more || rc < 0)
				break;
		}
		rc = group_add(r, &g, stamp, value, len);
		looked++;
	}
	if (rc == 0)
		rc = store_iter_error(it);
	if (rc == 0 && !more)
		rc = group_thin(&g, policy, w, d, e);
	if (rc == 0)
		rc = drop_flush(d, e);
	w->next = g.node;
	return rc < 0 ? rc : more;
}

/* ---- by size ---- */

struct ranked {
	uint64_t stamp;
	struct id node;
};

static int later_first(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;
	return a->stamp > b->stamp ? -1 : a->stamp < b->stamp;
}

static int rank_all(struct replica *r, struct buf *ret)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = store_iter_new(r->store, NULL, STORE_HISTORY, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct ranked x;
		size_t key_len;
		const uint8_t *key = store_iter_key(it, &key_len);
		if (history_key_decode(key, key_len, &x.node, &x.stamp) == 0 &&
		    !id_equal(&x.node, &NODE_TRASH))
			buf_put(ret, &x, sizeof(x));
	}
	if (rc == 0)
		rc = store_iter_error(it);
	if (rc == 0 && buf_failed(ret))
		rc = -ENOMEM;
	if (rc == 0 && ret->len > 0)
		qsort(ret->data, ret->len / sizeof(struct ranked), sizeof(struct ranked),
		      later_first);
	return rc;
}

/* What an entry takes that nothing before it does. */
static int add_cost(struct replica *r, const struct ranked *x, struct marks *m, uint64_t *bytes,
		    uint64_t *blob_size)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	struct history_version h;
	uint8_t key[HISTORY_KEY_SIZE];
	history_key(&x->node, x->stamp, key);
	*blob_size = 0;
	int rc = store_get(r->store, NULL, STORE_HISTORY, key, sizeof(key), &value);
	if (rc == 0)
		rc = history_version_decode(&a, r->actors, value.data, value.len, &h, NULL);
	if (rc < 0)
		return rc == -ENOENT || rc == -EBADMSG || rc == -EPROTONOSUPPORT ? 0 : rc;
	*bytes += HISTORY_KEY_SIZE + value.len;
	if (!h.blob)
		return 0;
	*blob_size = h.ref.size;
	return marks_blob(r, m, &h.ref, bytes);
}

/* Counts from the newest entry on: what is beyond the limit is the oldest. */
static int shrink(struct replica *r, uint64_t limit, struct history_walk *w, struct dropping *d,
		  struct err *e)
{
	_cleanup_(view_unrefp) struct view *v = NULL;
	_cleanup_(marks_done) struct marks marks = { 0 };
	_cleanup_(buf_done) struct buf all = { 0 };
	uint64_t bytes = 0, kept = 0, n = 0;
	pthread_mutex_lock(&r->commit);
	int rc = view_take(r, &v);
	pthread_mutex_unlock(&r->commit);
	if (rc == 0)
		rc = rank_all(r, &all);
	if (rc == 0)
		rc = marks_collect(r, v, MARKS_BREAK, &marks, e);
	for (size_t at = 0; rc == 0 && at < all.len; at += sizeof(struct ranked)) {
		struct ranked x;
		uint64_t blob_size;
		memcpy(&x, all.data + at, sizeof(x));
		if (atomic_load(&r->no_sweeps))
			return -ECANCELED;
		rc = add_cost(r, &x, &marks, &bytes, &blob_size);
		if (rc == 0 && bytes > limit) {
			rc = drop(d, &x.node, x.stamp, blob_size, e);
		} else {
			kept = bytes;
			n++;
		}
	}
	w->bytes = kept;
	w->versions = n;
	return rc < 0 ? rc : drop_flush(d, e);
}

/* ---- a step ---- */

int history_thinned(struct replica *r, uint64_t *ret)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	const uint8_t key = META_THINNED;
	int rc = store_get(r->store, NULL, STORE_META, &key, 1, &v);
	if (rc < 0)
		return rc;
	struct cursor c = cursor_make(v.data, v.len);
	*ret = cursor_u64(&c);
	return cursor_end(&c) ? 0 : -EBADMSG;
}

static int walk_begin(struct replica *r, struct history_walk *w)
{
	uint64_t wall = r->config.wall_us(r->config.userdata), last = 0;
	int rc = history_thinned(r, &last);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	w->now_us = rc == 0 && wall > last + DAY_US ? last + DAY_US : wall;
	return 0;
}

static int walk_end(struct replica *r, const struct history_walk *w, struct dropping *d, struct err *e)
{
	const uint8_t key = META_THINNED;
	uint8_t value[8];
	struct buf b = { value, 0, sizeof(value), false };
	buf_u64(&b, w->now_us);
	store_put(d->batch, STORE_META, &key, 1, value, sizeof(value));
	return store_write(r->store, d->batch, e);
}

int replica_history_thin(struct replica *r, const struct history_policy *policy,
			 struct history_walk *w, struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
	struct dropping d = { .r = r };
	int rc = atomic_load(&r->no_sweeps) ? -ECANCELED : store_batch_new(&batch);
	d.batch = batch;
	if (rc == 0 && w->now_us == 0)
		rc = walk_begin(r, w);
	if (rc == 0)
		rc = thin_some(r, policy, w, &d, e);
	if (rc == 0 && w->bytes > policy->bytes)
		rc = shrink(r, policy->bytes, w, &d, e);
	if (rc == 0)
		rc = walk_end(r, w, &d, e);
	w->dropped += d.n;
	return rc < 0 ? err_errno(e, rc, "cannot thin the history") : rc;
}
