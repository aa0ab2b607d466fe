/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Contents that are not here.
 *
 * A node is in the list (engine/absent.h) from the commit on that brought its record without all of its
 * content's chunks, or that evicted them, until a commit that finds all of them here. Whoever finds that
 * holds the chunks until it has said so, and only then the sweep needs to see the record to spare
 * them (replica-sweep.c).
 *
 * Of what is evicted a sweep deletes whatever nothing else needs. Of other contents that are not here
 * it spares what is here: they may be complete but for one value of a conflict, or on their way. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/purged.h"

void replica_set_eager(struct replica *r, uint64_t max)
{
	atomic_store(&r->eager_max, max);
}

enum absence replica_absence(struct replica *r, const struct id *id)
{
	return absents_get(r->absents, id);
}

uint64_t replica_absents(struct replica *r)
{
	return absents_count(r->absents);
}

bool replica_keeps_contents(struct replica *r, const struct id *id)
{
	return absents_keeps(r->absents, id);
}

bool replica_leaving(struct replica *r)
{
	return absents_leaving(r->absents);
}

uint32_t replica_absents_list(struct replica *r, enum absence which, uint32_t *place, struct id *ret,
			      uint32_t max)
{
	return absents_list(r->absents, which, place, ret, max);
}

bool blob_is_due(struct replica *r, const struct id *node, const struct blob_ref *ref)
{
	uint64_t max = atomic_load(&r->eager_max);
	return absents_get(r->absents, node) == ABSENT_NOT && (max == 0 || ref->size <= max);
}

/* ---- what a content consists of ---- */

static const struct slot *content_of(const struct record *rec)
{
	return rec->top && rec->kind == NODE_FILE ?
		       slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

static int blobs_of(const struct record *rec, struct arena *a, struct blob_ref **ret, uint32_t *ret_n)
{
	const struct slot *s = content_of(rec);
	struct blob_ref *ref = arena_array(a, s && s->val.n ? s->val.n : 1, sizeof(*ref));
	uint32_t n = 0;
	if (!ref)
		return -ENOMEM;
	for (uint32_t i = 0; s && i < s->val.n; i++) {
		if (s->val.entry[i].value.kind != VALUE_BLOB)
			continue;
		int rc = blob_ref_decode(&s->val.entry[i].value, &ref[n]);
		if (rc < 0)
			return rc;
		n += ref[n].size > 0;
	}
	*ret = ref;
	*ret_n = n;
	return 0;
}

static bool same_blob(const struct blob_ref *x, const struct blob_ref *y)
{
	return x->size == y->size && sha256_cmp(&x->manifest, &y->manifest) == 0;
}

static bool same_blobs(const struct blob_ref *x, uint32_t n_x, const struct blob_ref *y, uint32_t n_y)
{
	bool same = n_x == n_y;
	for (uint32_t i = 0; same && i < n_x; i++)
		same = same_blob(&x[i], &y[i]);
	return same;
}

int replica_blobs(struct replica *r, const struct id *id, struct arena *a, struct blob_ref **ret,
		  uint32_t *ret_n)
{
	struct stored s;
	int rc = stored_get(r, NULL, a, id, &s, NULL);
	return rc < 0 ? rc : blobs_of(s.record, a, ret, ret_n);
}

/* 1: all chunks of all of them are here, and stay until the hold ends. */
static int complete(struct replica *r, struct hold *h, const struct blob_ref *ref, uint32_t n)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct sha256 *missing;
	uint32_t n_missing = 0;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && n_missing == 0 && i < n; i++) {
		uint64_t from = 0;
		rc = blob_missing_from(r->store, h, &a, &ref[i], &from, NULL, &missing, &n_missing);
	}
	/* A damaged list is none that anybody could read. */
	if (rc == -EBADMSG || rc == -EPROTONOSUPPORT)
		return 0;
	return rc < 0 ? rc : n_missing == 0;
}

int commit_absence(struct commit *c, struct touched *t)
{
	struct absents *x = c->r->absents;
	const uint8_t was = absents_byte(x, &t->record->id);
	enum absence state = (enum absence)(was & ~ABSENT_PAST);
	uint8_t past = was & ABSENT_PAST;
	struct blob_ref *ref;
	uint32_t n;
	t->absence_new = false;
	if (record_is_purged(t->record)) {
		t->after.attr.absent = false;
		t->absence = 0;
		t->absence_new = was != 0;
		return t->absence_new ? absents_room(x, &t->record->id) : 0;
	}
	t->after.attr.absent = state != ABSENT_NOT;
	if (t->record->kind != NODE_FILE || !t->content || (state == ABSENT_NOT && t->lacks == ABSENT_NOT))
		return 0;
	int rc = blobs_of(t->record, &c->arena, &ref, &n);
	if (rc == 0)
		rc = complete(c->r, &c->hold, ref, n);
	if (rc < 0)
		return rc;
	/* The version that this one takes the place of may be kept, without its bytes. */
	if (state != ABSENT_NOT && t->old)
		past = ABSENT_PAST;
	state = rc > 0 ? ABSENT_NOT : state != ABSENT_NOT ? state : t->lacks;
	/* What was written here may be nowhere else, though a value that it is in conflict with is away: no sweep is to take
	 * it. */
	if (state == ABSENT_EVICTED && !c->remote)
		state = ABSENT_RULE;
	t->after.attr.absent = state != ABSENT_NOT;
	t->absence = (uint8_t)state | past;
	t->absence_new = t->absence != was;
	return t->absence_new ? absents_room(x, &t->record->id) : 0;
}

/* ---- changes of that alone ---- */

/* What is not in holes of the content that shows. */
static uint64_t stored_of(struct replica *r, const struct node *n)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	uint64_t stored = n->attr.size;
	if (version_newest(r, &n->attr.id, &v) == 0)
		(void)version_stored(v, &stored);
	return stored;
}

/* Commit lock. */
static int absence_write(struct replica *r, const struct id *id, enum absence state, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf v = { 0 };
	struct node n;
	const uint8_t byte = (uint8_t)state | (absents_byte(r->absents, id) & ABSENT_PAST);
	int rc = absents_room(r->absents, id);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	rc = node_get(r, &a, id, &n);
	if (rc < 0 && rc != -ENOENT)
		return err_errno(e, rc, "cannot note where contents are");
	const bool there = rc == 0;
	store_batch_clear(r->batch);
	absents_put(r->batch, id, byte);
	if (there) {
		n.attr.absent = state != ABSENT_NOT;
		if (state == ABSENT_NOT)
			n.attr.stored = stored_of(r, &n);
		node_encode(&n, &v);
		if (buf_failed(&v))
			return err_set(e, -ENOMEM, "out of memory");
		store_put(r->batch, STORE_ATTRS, id->b, ID_SIZE, v.data, v.len);
	}
	rc = store_write(r->store, r->batch, e);
	if (rc < 0)
		return rc;
	absents_set(r->absents, id, byte);
	uint64_t commit = atomic_fetch_add(&r->commits, 1) + 1;
	if (there)
		node_cache(r, &n, commit);
	return 0;
}

int replica_leave(struct replica *r, const struct id *id, struct arena *a, struct blob_ref **ret,
		  uint32_t *ret_n)
{
	struct attr at;
	int rc = replica_attr(r, id, &at);
	if (rc < 0)
		return rc;
	if (at.kind == NODE_DIR)
		return -EISDIR;
	if (at.kind != NODE_FILE)
		return -EINVAL;
	rc = absents_leave(r->absents, id);
	if (rc < 0)
		return rc;
	/* Read only now: who asked before this may have been told of what is read here. */
	rc = replica_blobs(r, id, a, ret, ret_n);
	if (rc == 0 && *ret_n == 0)
		rc = -EINVAL;
	if (rc < 0)
		absents_stay(r->absents, id);
	return rc;
}

static int left_locked(struct replica *r, const struct id *id, const struct blob_ref *ref, uint32_t n,
		       uint64_t *ret_bytes, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct blob_ref *now;
	uint32_t n_now;
	int rc = replica_blobs(r, id, &a, &now, &n_now);
	if (rc < 0)
		return err_errno(e, rc, "cannot read the record");
	if (!same_blobs(ref, n, now, n_now))
		return err_set(e, -EAGAIN, "it was written meanwhile");
	rc = absence_write(r, id, ABSENT_EVICTED, e);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		*ret_bytes += now[i].size;
	return rc;
}

int replica_left(struct replica *r, const struct id *id, const struct blob_ref *ref, uint32_t n,
		 struct err *e)
{
	uint64_t bytes = 0;
	pthread_mutex_lock(&r->commit);
	int rc = left_locked(r, id, ref, n, &bytes, e);
	absents_stay(r->absents, id);
	pthread_mutex_unlock(&r->commit);
	atomic_fetch_add(&r->orphaned, bytes);
	return rc;
}

void replica_stay(struct replica *r, const struct id *id)
{
	absents_stay(r->absents, id);
}

bool replica_holds(struct replica *r, const struct view *v, const struct id *id,
		   const struct blob_ref *ref)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	struct blob_ref *have;
	uint32_t n;
	bool holds = false;
	if (absents_at(r->store, view_snapshot(v), id) != ABSENT_NOT ||
	    stored_get(r, view_snapshot(v), &a, id, &s, NULL) < 0 ||
	    blobs_of(s.record, &a, &have, &n) < 0)
		return false;
	for (uint32_t i = 0; i < n; i++)
		holds |= same_blob(&have[i], ref);
	/* Last: whoever begins to leave after this asks others after this. */
	return holds && absents_keeps(r->absents, id) &&
	       scope_is_subscribed(r, &s.record->scope);
}

int replica_want(struct replica *r, const struct id *id, struct err *e)
{
	int rc = 0;
	pthread_mutex_lock(&r->commit);
	enum absence now = absents_get(r->absents, id);
	if (now == ABSENT_EVICTED || now == ABSENT_RULE)
		rc = absence_write(r, id, ABSENT_WANTED, e);
	pthread_mutex_unlock(&r->commit);
	return rc;
}

int replica_filled(struct replica *r, const struct id *id, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(hold_done) struct hold hold = { 0 };
	struct blob_ref *ref, *now;
	uint32_t n, n_now;
	if (absents_get(r->absents, id) == ABSENT_NOT)
		return 0;
	int rc = replica_blobs(r, id, &a, &ref, &n);
	if (rc == 0)
		rc = complete(r, &hold, ref, n);
	if (rc <= 0)
		return rc < 0 ? err_errno(e, rc, "cannot look for a file's bytes") : -EAGAIN;
	pthread_mutex_lock(&r->commit);
	rc = replica_blobs(r, id, &a, &now, &n_now);
	if (rc < 0)
		err_errno(e, rc, "cannot read the record");
	else if (!same_blobs(ref, n, now, n_now))
		rc = -EAGAIN;
	else
		rc = absence_write(r, id, ABSENT_NOT, e);
	pthread_mutex_unlock(&r->commit);
	return rc;
}

/* ---- when they were read ---- */

#define READ_KEY "read/" /* STORE_LOCAL: with the node behind it, u64 microseconds */
#define READ_KEY_SIZE (sizeof(READ_KEY) - 1 + ID_SIZE)
#define READ_STEP_US (3600ull * 1000000)

static void read_key(const struct id *id, uint8_t key[static READ_KEY_SIZE])
{
	memcpy(key, READ_KEY, sizeof(READ_KEY) - 1);
	memcpy(key + sizeof(READ_KEY) - 1, id->b, ID_SIZE);
}

static uint64_t read_when(struct replica *r, const struct id *id)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[READ_KEY_SIZE];
	read_key(id, key);
	if (store_get(r->store, NULL, STORE_LOCAL, key, sizeof(key), &v) < 0 || v.len != 8)
		return 0;
	struct cursor c = cursor_make(v.data, v.len);
	return cursor_u64(&c);
}

void replica_note_read(struct replica *r, const struct id *id)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[READ_KEY_SIZE];
	const uint64_t now = r->config.wall_us(r->config.userdata);
	const uint64_t last = read_when(r, id);
	if ((last <= now && now - last < READ_STEP_US) || store_batch_new(&b) < 0)
		return;
	read_key(id, key);
	buf_u64(&v, now);
	if (buf_failed(&v))
		return;
	store_put(b, STORE_LOCAL, key, sizeof(key), v.data, v.len);
	(void)store_write(r->store, b, NULL);
}

void read_forget(const struct id *id, struct store_batch *b)
{
	uint8_t key[READ_KEY_SIZE];
	read_key(id, key);
	store_delete(b, STORE_LOCAL, key, sizeof(key));
}

int replica_walk_blobs(struct replica *r, struct id *place, uint32_t max, blob_fn f, void *userdata)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = store_iter_new(r->store, NULL, STORE_ATTRS, place->b, ID_SIZE, NULL, 0, &it);
	uint32_t n = 0;
	for (; rc == 0 && store_iter_valid(it) && n < max; store_iter_next(it), n++) {
		struct node node;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		if (key_len != ID_SIZE || node_decode(value, len, &node) < 0)
			continue;
		memcpy(node.attr.id.b, key, ID_SIZE);
		const struct attr *at = &node.attr;
		if (!(node.flags & NODE_LIVE) || at->kind != NODE_FILE || at->form != FORM_BLOB || at->size == 0 ||
		    absents_get(r->absents, &at->id) != ABSENT_NOT)
			continue;
		uint64_t came = at->ctime_ns > 0 ? (uint64_t)at->ctime_ns / 1000 : 0;
		uint64_t read = read_when(r, &at->id);
		f(at, read > came ? read : came, userdata);
	}
	if (rc == 0 && store_iter_valid(it)) {
		size_t key_len;
		const uint8_t *key = store_iter_key(it, &key_len);
		if (key_len == ID_SIZE)
			memcpy(place->b, key, ID_SIZE);
		return 1;
	}
	return rc < 0 ? rc : store_iter_error(it);
}
