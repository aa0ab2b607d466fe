/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Garbage collection of chunks: mark what is needed, delete the rest, while everything goes on.
 *
 * Needed is a chunk that
 *   (a) a record refers to, in any entry of any register (values that lost and contents of deleted
 *       nodes can be taken back), but for contents that have been evicted (engine/absent.h), or an earlier
 *       version in STORE_HISTORY,
 *   (b) a record of a view refers to, which a session may be sending: its peer asks for the chunks
 *       of a round until it has acknowledged it, and as long does the session hold the view,
 *   (c) a version in somebody's hands refers to (an open file); versions that wait in the cache for
 *       another reader are not in anybody's hands and are forgotten instead,
 *   (d) somebody has pinned (pins.h): a save between its first chunk and its commit; a merge between
 *       looking for chunks and its commit; chunks that a peer sent for a change that still waits
 *       for others. The latter have no owner who would end the pin: it lasts through one sweep.
 * A version that is written to STORE_LOCAL holds a document's text and needs no chunks.
 *
 * Order of a sweep, and why nothing is lost:
 *   1. pins_sweep_begin: pins that end from now on stay in force until the sweep is over.
 *   2. A snapshot S under the commit lock, and a sync, so that a crash after a deletion cannot
 *      bring back a record from before S.
 *   3. r->sweeps is counted up, then versions and views are looked at.
 *   4. All of (a), (b), (c) go into a set in memory.
 *   5. The keys of STORE_HASHES in S that are not in the set are deleted in batches, each under the lock
 *      of the pins, unless pinned.
 *
 * What was written after S is not looked at. A chunk that was there in S and is taken up by a save
 * or merge afterwards ("already there, no need to write it") is pinned before it is looked for, so
 * either the pin comes first and step 5 spares the chunk, or the deletion comes first and the save
 * finds nothing and writes it anew. If the pin's owner commits before S, S has the record; if after,
 * the pin has not ended before step 1, and step 5 sees it.
 *
 * A commit after S that copies a reference from another record (a rename across collections), or
 * leaves it in place, copies what S has or what was pinned since: marked or spared.
 *
 * A reader who makes a version of a record: if r->sweeps was the same before it read the record and
 * after the version was in the table, then either the record was read after S (marked, or pinned),
 * or the version was in the table before step 3 looked there. Otherwise it reads again.
 * Views: one that is not seen in step 3 was taken after S.
 *
 * A crash leaves a prefix of the batches written. Each deletes chunks that nothing written before it
 * needs, and what is written after it is not there without it.
 *
 * Memory: a hash set of 16-byte prefixes, at most three quarters full, 21 to 43 bytes a chunk: 32 MiB
 * for 1,000,000 chunks (48 while it grows), given back at the end. A chunk that has the first 127
 * bits in common with one that is needed is kept. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/history.h"

/* ---- the set ---- */

#define EXPANDED 1 /* in the last byte */

static size_t mark_place(const struct marks *m, const struct chunk_pin *pin)
{
	size_t i;
	memcpy(&i, pin->b, sizeof(i));
	for (i &= m->cap - 1;; i = (i + 1) & (m->cap - 1)) {
		static const struct chunk_pin nothing;
		const struct chunk_pin *there = &m->slot[i];
		if (!memcmp(there->b, nothing.b, sizeof(there->b)))
			return i;
		if (!memcmp(there->b, pin->b, sizeof(there->b) - 1) &&
		    !((there->b[15] ^ pin->b[15]) & ~EXPANDED))
			return i;
	}
}

/* Zero is no hash; a chunk that had it would be kept. */
static bool pin_of(const uint8_t *hash, struct chunk_pin *ret)
{
	static const struct chunk_pin nothing;
	memcpy(ret->b, hash, sizeof(ret->b));
	ret->b[15] &= (uint8_t)~EXPANDED;
	return memcmp(ret->b, nothing.b, sizeof(ret->b)) != 0;
}

static int marks_grow(struct marks *m)
{
	static const struct chunk_pin nothing;
	struct marks bigger = { .n = m->n, .cap = m->cap ? 2 * m->cap : 1024 };
	bigger.slot = calloc(bigger.cap, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (memcmp(m->slot[i].b, nothing.b, sizeof(nothing.b)) != 0)
			bigger.slot[mark_place(&bigger, &m->slot[i])] = m->slot[i];
	free(m->slot);
	*m = bigger;
	return 0;
}

/* expand: this is a manifest whose chunks are put in as well. 1: they are not in yet. */
static int mark(struct marks *m, const struct sha256 *hash, bool expand)
{
	static const struct chunk_pin nothing;
	struct chunk_pin pin;
	if (!pin_of(hash->b, &pin))
		return expand;
	if (m->n >= m->cap / 4 * 3) {
		int rc = marks_grow(m);
		if (rc < 0)
			return rc;
	}
	struct chunk_pin *there = &m->slot[mark_place(m, &pin)];
	if (!memcmp(there->b, nothing.b, sizeof(there->b))) {
		*there = pin;
		m->n++;
	}
	if (!expand || (there->b[15] & EXPANDED))
		return 0;
	there->b[15] |= EXPANDED;
	return 1;
}

bool marks_have(const struct marks *m, const uint8_t hash[static SHA256_SIZE])
{
	static const struct chunk_pin nothing;
	struct chunk_pin pin;
	if (!pin_of(hash, &pin))
		return true;
	return m->cap && memcmp(m->slot[mark_place(m, &pin)].b, nothing.b, sizeof(pin.b)) != 0;
}

void marks_done(struct marks *m)
{
	free(m->slot);
	*m = (struct marks){ 0 };
}

/* ---- marking ---- */

struct marking {
	struct replica *r;
	struct marks *marks;
	struct arena arena;
	bool breaks; /* it can be told to break off */
	bool absents; /* there are contents that are not here */
	struct err *e;
};

struct marked {
	struct marks *marks;
	uint64_t bytes; /* of the chunks that are new */
};

static int mark_piece(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size,
		      bool node)
{
	struct marked *k = userdata;
	(void)offset;
	size_t had = k->marks->n;
	int rc = mark(k->marks, hash, node);
	if (!node && k->marks->n > had)
		k->bytes += size;
	return rc;
}

int marks_blob(struct replica *r, struct marks *marks, const struct blob_ref *ref,
	       uint64_t *ret_bytes)
{
	struct marked k = { .marks = marks };
	int rc = manifest_walk(r->store, &ref->manifest, ref->size, 0, NULL, mark_piece, &k);
	if (rc == 0 && ret_bytes)
		*ret_bytes += k.bytes;
	return rc;
}

static int mark_blob(struct marking *k, const struct blob_ref *ref)
{
	return marks_blob(k->r, k->marks, ref, NULL);
}

static int mark_reg(struct marking *k, const struct reg *reg)
{
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < reg->n; i++) {
		struct blob_ref ref;
		if (reg->entry[i].value.kind != VALUE_BLOB)
			continue;
		rc = blob_ref_decode(&reg->entry[i].value, &ref);
		if (rc == 0)
			rc = mark_blob(k, &ref);
	}
	return rc;
}

/* Slots nest at most RECORD_DEPTH_MAX deep. */
static int mark_slot(struct marking *k, const struct slot *s)
{
	int rc = mark_reg(k, &s->val);
	for (uint32_t i = 0; rc == 0 && i < s->n; i++)
		rc = mark_slot(k, s->child[i]);
	return rc;
}

/* All of a record but what has been evicted of it. */
static int mark_record(struct marking *k, const struct store_snapshot *snap, const struct record *rec)
{
	int rc = 0;
	if (!rec->top)
		return 0;
	if (!k->absents || absents_at(k->r->store, snap, &rec->id) != ABSENT_EVICTED)
		return mark_slot(k, rec->top);
	for (uint32_t i = 0; rc == 0 && i < rec->top->n; i++) {
		const struct slot *s = rec->top->child[i];
		if (s->key_len != strlen(TOP_CONTENT) || memcmp(s->key, TOP_CONTENT, s->key_len) != 0)
			rc = mark_slot(k, s);
	}
	return rc;
}

static int mark_records(struct marking *k, const struct store_snapshot *snap)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	/* What is evicted afterwards is none of this sweep's. */
	k->absents = absents_count(k->r->absents) > 0;
	int rc = store_iter_new(k->r->store, snap, STORE_DOCS, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct stored s;
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		if (k->breaks && atomic_load(&k->r->no_sweeps))
			return -ECANCELED;
		arena_reset(&k->arena);
		rc = stored_decode(k->r, snap, &k->arena, value, len, &s, k->e);
		if (rc == 0)
			rc = mark_record(k, snap, s.record);
	}
	return rc < 0 ? rc : store_iter_error(it);
}

static int mark_versions(struct marking *k)
{
	_cleanup_(buf_done) struct buf refs = { 0 };
	int rc = versions_blobs(k->r, &refs);
	for (size_t at = 0; rc == 0 && at < refs.len; at += sizeof(struct blob_ref)) {
		struct blob_ref ref;
		memcpy(&ref, refs.data + at, sizeof(ref));
		rc = mark_blob(k, &ref);
	}
	return rc;
}

static int mark_history(struct marking *k, const struct store_snapshot *snap)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = store_iter_new(k->r->store, snap, STORE_HISTORY, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct history_version h;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		if (k->breaks && atomic_load(&k->r->no_sweeps))
			return -ECANCELED;
		if (key_len == HISTORY_KEY_SIZE && memcmp(key, NODE_TRASH.b, ID_SIZE) == 0)
			continue;
		arena_reset(&k->arena);
		rc = history_version_decode(&k->arena, k->r->actors, value, len, &h, k->e);
		if (rc == 0 && h.blob)
			rc = mark_blob(k, &h.ref);
	}
	return rc < 0 ? rc : store_iter_error(it);
}

int marks_collect(struct replica *r, const struct view *v, unsigned flags, struct marks *m,
		  struct err *e)
{
	_cleanup_(buf_done) struct buf views = { 0 };
	struct marking k = { .r = r, .marks = m, .breaks = flags & MARKS_BREAK, .e = e };
	int rc = views_others(r, v, &views);
	if (rc == 0)
		rc = mark_versions(&k);
	if (rc == 0)
		rc = mark_records(&k, view_snapshot(v));
	if (rc == 0 && flags & MARKS_HISTORY)
		rc = mark_history(&k, view_snapshot(v));
	for (size_t at = 0; at < views.len; at += sizeof(struct view *)) {
		struct view *other;
		memcpy(&other, views.data + at, sizeof(other));
		if (rc == 0)
			rc = mark_records(&k, view_snapshot(other));
		view_unref(other);
	}
	arena_done(&k.arena);
	return rc;
}

/* ---- sweeping ---- */

struct sweeping {
	struct replica *r;
	struct sweep_report *report;
	struct sha256 hash[CHUNKS_DELETE_MAX];
	uint64_t size[CHUNKS_DELETE_MAX];
	uint32_t n;
};

static int sweep_batch(struct sweeping *s, struct err *e)
{
	bool gone[CHUNKS_DELETE_MAX];
	int rc = chunks_delete(s->r->store, s->hash, s->n, gone, e);
	for (uint32_t i = 0; rc == 0 && i < s->n; i++) {
		*(gone[i] ? &s->report->deleted : &s->report->held) += 1;
		*(gone[i] ? &s->report->deleted_bytes : &s->report->held_bytes) += s->size[i];
	}
	s->n = 0;
	return rc == 0 && atomic_load(&s->r->no_sweeps) ? -ECANCELED : rc;
}

static int sweep_chunks(struct sweeping *s, const struct view *v, const struct marks *m,
			struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = store_iter_new(s->r->store, view_snapshot(v), STORE_HASHES, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		s->report->chunks++;
		if (key_len != SHA256_SIZE || marks_have(m, key))
			continue;
		memcpy(s->hash[s->n].b, key, SHA256_SIZE);
		if (chunk_size_decode(value, len, &s->size[s->n]) < 0)
			s->size[s->n] = 0;
		if (++s->n == CHUNKS_DELETE_MAX)
			rc = sweep_batch(s, e);
	}
	if (rc == 0)
		rc = store_iter_error(it);
	if (rc == 0 && s->n > 0)
		rc = sweep_batch(s, e);
	return rc;
}

static int sweep(struct replica *r, struct sweep_report *report, struct err *e)
{
	_cleanup_(view_unrefp) struct view *v = NULL;
	_cleanup_(marks_done) struct marks marks = { 0 };
	_cleanup_free_ struct sweeping *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->r = r;
	s->report = report;
	/* So that no view but those of rounds under way is older than ours. */
	int rc = replica_flush(r, e);
	if (rc < 0)
		return rc;
	uint64_t before = atomic_load(&r->orphaned);
	pthread_mutex_lock(&r->commit);
	rc = view_take(r, &v);
	pthread_mutex_unlock(&r->commit);
	if (rc == 0)
		rc = store_flush(r->store, e);
	if (rc < 0)
		return rc;
	atomic_fetch_add(&r->sweeps, 1);
	rc = marks_collect(r, v, MARKS_HISTORY | MARKS_BREAK, &marks, e);
	if (rc == 0)
		rc = sweep_chunks(s, v, &marks, e);
	if (rc == 0) {
		atomic_fetch_sub(&r->orphaned, before);
		atomic_fetch_add(&r->orphaned, report->held_bytes);
	}
	return rc;
}

int replica_sweep(struct replica *r, struct sweep_report *ret, struct err *e)
{
	struct sweep_report report = { 0 };
	int rc = pins_sweep_begin(store_pins(r->store));
	if (rc < 0)
		return err_set(e, rc, "unneeded chunks are being deleted already");
	rc = sweep(r, &report, e);
	pins_sweep_end(store_pins(r->store));
	if (rc < 0)
		return err_errno(e, rc, "cannot delete what nothing needs");
	*ret = report;
	return 0;
}

void replica_sweep_cancel(struct replica *r)
{
	atomic_store(&r->no_sweeps, true);
}

uint64_t replica_orphaned(struct replica *r)
{
	return atomic_load(&r->orphaned);
}
