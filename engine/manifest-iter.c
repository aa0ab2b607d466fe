/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reading manifests: one path from the root to a node of chunks at a time. */

#include "engine/manifest.h"

#include <errno.h>

struct step {
	struct arena arena;
	struct manifest_node node;
	uint64_t start; /* of the node, in the blob */
};

struct manifest_iter {
	struct store *store;
	struct buf plain;
	unsigned depth; /* of the lowest step that is loaded; the root has 0 */
	struct step step[MANIFEST_LEVELS];
};

/* parent NULL: the root. What a node says of itself must be what its parent says of it. */
static int node_load(struct store *s, struct buf *plain, struct arena *a, const struct sha256 *hash,
		     const struct manifest_node *parent, const struct manifest_entry *entry,
		     struct manifest_node *ret)
{
	int rc = chunk_load(s, hash, plain);
	arena_reset(a);
	if (rc == 0)
		rc = manifest_decode(a, plain->data, plain->len, ret);
	if (rc == 0 && parent && (ret->level + 1 != parent->level || ret->size != entry->size ||
				  ret->data != entry->data))
		rc = -EBADMSG;
	return rc;
}

/* A blob that is one chunk has no manifest. */
static int node_single(struct arena *a, const struct sha256 *hash, uint64_t size,
		       struct manifest_node *ret)
{
	struct manifest_entry *entry = arena_array(a, 1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	*entry = (struct manifest_entry){ .size = size, .data = size, .hash = *hash };
	*ret = (struct manifest_node){ 0, size > 0, entry, size, size };
	return 0;
}

int manifest_iter_new(struct store *s, const struct sha256 *hash, uint64_t size,
		      struct manifest_iter **ret)
{
	_cleanup_(manifest_iter_freep) struct manifest_iter *it = calloc(1, sizeof(*it));
	if (!it)
		return -ENOMEM;
	struct step *root = &it->step[0];
	it->store = s;
	int rc = size <= CHUNK_MIN ? node_single(&root->arena, hash, size, &root->node) :
				     node_load(s, &it->plain, &root->arena, hash, NULL, NULL,
					       &root->node);
	if (rc == 0 && root->node.size != size)
		rc = -EBADMSG;
	if (rc == 0)
		*ret = TAKE_PTR(it);
	return rc;
}

void manifest_iter_free(struct manifest_iter *it)
{
	if (!it)
		return;
	for (unsigned i = 0; i < MANIFEST_LEVELS; i++)
		arena_done(&it->step[i].arena);
	buf_done(&it->plain);
	free(it);
}

/* The entry that offset (in the node) lies in. */
static const struct manifest_entry *entry_at(const struct manifest_node *m, uint64_t offset)
{
	uint32_t low = 0, high = m->n;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (m->entry[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &m->entry[low];
}

int manifest_iter_seek(struct manifest_iter *it, uint64_t offset, const struct manifest_entry **ret,
		       uint64_t *ret_start)
{
	while (it->depth > 0 && (offset < it->step[it->depth].start ||
				 offset - it->step[it->depth].start >= it->step[it->depth].node.size))
		it->depth--;
	for (;;) {
		struct step *at = &it->step[it->depth];
		const struct manifest_entry *e = entry_at(&at->node, offset - at->start);
		if (at->node.level == 0) {
			*ret = e;
			*ret_start = at->start + e->offset;
			return 0;
		}
		if (it->depth + 1 == MANIFEST_LEVELS)
			return -EBADMSG;
		struct step *below = at + 1;
		int rc = node_load(it->store, &it->plain, &below->arena, &e->hash, &at->node, e,
				   &below->node);
		if (rc < 0)
			return rc;
		below->start = at->start + e->offset;
		it->depth++;
	}
}

int manifest_iter_next(struct manifest_iter *it, uint64_t offset, bool hole, uint64_t *ret)
{
	const uint64_t size = it->step[0].node.size;
	while (offset < size) {
		const struct manifest_entry *e;
		uint64_t start;
		int rc = manifest_iter_seek(it, offset, &e, &start);
		if (rc < 0)
			return rc;
		const struct step *leaf = &it->step[it->depth];
		if ((e->data == 0) == hole)
			break;
		/* Past the whole node where it has none of what is looked for. */
		if (leaf->node.data == (hole ? leaf->node.size : 0))
			offset = leaf->start + leaf->node.size;
		else
			offset = start + e->size;
	}
	*ret = offset < size ? offset : size;
	return 0;
}

/* ---- walking ---- */

/* A blob that repeats itself has the same nodes again and again. */
static uint64_t *seen_place(const struct manifest_seen *s, const uint64_t key[static 2])
{
	size_t i = (size_t)key[0] & (s->cap - 1);
	while ((s->slot[i][0] || s->slot[i][1]) &&
	       (s->slot[i][0] != key[0] || s->slot[i][1] != key[1]))
		i = (i + 1) & (s->cap - 1);
	return s->slot[i];
}

static int seen_grow(struct manifest_seen *s)
{
	struct manifest_seen bigger = { .n = s->n, .cap = s->cap ? 2 * s->cap : 64 };
	bigger.slot = calloc(bigger.cap, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < s->cap; i++)
		if (s->slot[i][0] || s->slot[i][1])
			memcpy(seen_place(&bigger, s->slot[i]), s->slot[i], sizeof(*s->slot));
	free(s->slot);
	*s = bigger;
	return 0;
}

/* 1: it is new. */
static int seen_add(struct manifest_seen *s, const struct sha256 *hash)
{
	uint64_t key[2];
	memcpy(key, hash->b, sizeof(key));
	if (s->n >= s->cap / 2) {
		int rc = seen_grow(s);
		if (rc < 0)
			return rc;
	}
	uint64_t *slot = seen_place(s, key);
	if (slot[0] || slot[1])
		return 0;
	memcpy(slot, key, sizeof(key));
	s->n++;
	return 1;
}

struct walk {
	struct store *store;
	struct buf plain;
	struct manifest_seen *seen;
	uint64_t from;
	manifest_visit_fn f;
	void *userdata;
};

/* At most MANIFEST_LEVELS deep: each level is one below its parent's. */
static int walk_node(struct walk *w, const struct sha256 *hash, uint64_t start,
		     const struct manifest_node *parent, const struct manifest_entry *entry,
		     uint64_t size)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct manifest_node m;
	int rc = seen_add(w->seen, hash);
	if (rc > 0)
		rc = w->f(w->userdata, hash, start, size, true);
	if (rc <= 0)
		return rc;
	rc = node_load(w->store, &w->plain, &a, hash, parent, entry, &m);
	if (rc == -EHOSTDOWN)
		return 0;
	if (rc == 0 && m.size != size)
		rc = -EBADMSG;
	for (uint32_t i = 0; rc == 0 && i < m.n; i++) {
		const struct manifest_entry *e = &m.entry[i];
		if (start + e->offset + e->size <= w->from)
			continue;
		if (m.level > 0)
			rc = walk_node(w, &e->hash, start + e->offset, &m, e, e->size);
		else if (e->data > 0)
			rc = w->f(w->userdata, &e->hash, start + e->offset, e->size, false);
		rc = rc < 0 ? rc : 0;
	}
	return rc;
}

void manifest_seen_done(struct manifest_seen *s)
{
	free(s->slot);
	*s = (struct manifest_seen){ 0 };
}

int manifest_walk(struct store *s, const struct sha256 *hash, uint64_t size, uint64_t from,
		  struct manifest_seen *seen, manifest_visit_fn f, void *userdata)
{
	struct manifest_seen own = { 0 };
	struct walk w = { .store = s, .seen = seen ? seen : &own, .from = from, .f = f,
			  .userdata = userdata };
	int rc = 0;
	if (size > CHUNK_MIN)
		rc = walk_node(&w, hash, 0, NULL, NULL, size);
	else if (size > from)
		rc = f(userdata, hash, 0, size, false);
	buf_done(&w.plain);
	manifest_seen_done(&own);
	return rc < 0 ? rc : 0;
}
