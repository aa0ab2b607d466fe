/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Formats.
 *
 * 1, of a blob of at most MANIFEST_FLAT_MAX bytes without holes: u8 1, varint size of the blob, then
 * for each chunk 32 bytes of SHA-256 and varint size, in order.
 *
 * 2, of all others, a node: u8 2, u8 level, varint size of what it stands for, varint bytes of that
 * which are in no hole; then, level 0, for each chunk varint 2 * size and 32 bytes of SHA-256, for
 * each hole varint 2 * size + 1; other levels, for each node of the level below, varint size, varint
 * bytes in no hole, 32 bytes of SHA-256.
 *
 * A node ends behind an entry whose hash ends in a zero byte, once it has NODE_MIN entries, or at
 * NODE_MAX of them. So a change in the middle of a large blob makes one new node of each level,
 * whatever it does to the number of chunks. The root is the lowest node that stands for all. */

#include "engine/manifest.h"

#include <errno.h>

#include "engine/cursor.h"

enum { FORMAT_FLAT = 1, FORMAT_NODE = 2 };

#define NODE_MIN 64
#define NODE_MAX 1024

void manifest_encode(const struct manifest_node *m, bool flat, struct buf *b)
{
	buf_u8(b, flat ? FORMAT_FLAT : FORMAT_NODE);
	if (!flat)
		buf_u8(b, (uint8_t)m->level);
	buf_varint(b, m->size);
	if (!flat)
		buf_varint(b, m->data);
	for (uint32_t i = 0; i < m->n; i++) {
		const struct manifest_entry *e = &m->entry[i];
		bool hole = m->level == 0 && e->data == 0;
		if (!flat && m->level == 0)
			buf_varint(b, e->size << 1 | hole);
		else if (!flat)
			buf_varint(b, e->size);
		if (!flat && m->level > 0)
			buf_varint(b, e->data);
		if (!hole)
			buf_put(b, e->hash.b, SHA256_SIZE);
		if (flat)
			buf_varint(b, e->size);
	}
}

static bool take_hash(struct cursor *c, struct manifest_entry *e)
{
	const uint8_t *hash = cursor_take(c, SHA256_SIZE);
	if (hash)
		memcpy(e->hash.b, hash, SHA256_SIZE);
	return hash;
}

static bool take_flat(struct cursor *c, struct manifest_entry *e)
{
	bool there = take_hash(c, e);
	e->size = e->data = cursor_varint_max(c, CHUNK_MAX);
	return there;
}

static bool take_leaf(struct cursor *c, struct manifest_entry *e)
{
	uint64_t v = cursor_varint(c);
	e->size = v >> 1;
	if (v & 1)
		return true;
	e->data = e->size;
	return e->size <= CHUNK_MAX && take_hash(c, e);
}

static bool take_inner(struct cursor *c, struct manifest_entry *e)
{
	e->size = cursor_varint(c);
	e->data = cursor_varint_max(c, e->size);
	return take_hash(c, e);
}

static int take_entries(struct arena *a, struct cursor *c, bool flat, struct manifest_node *m)
{
	uint64_t size = 0, data = 0;
	/* The shortest entry bounds the number before anything is allocated for it. */
	size_t max = cursor_left(c) / (flat || m->level > 0 ? SHA256_SIZE + 1 : 1);
	if (max > MANIFEST_ENTRIES_MAX)
		max = MANIFEST_ENTRIES_MAX;
	m->entry = arena_array(a, max ? max : 1, sizeof(*m->entry));
	if (!m->entry)
		return -ENOMEM;
	while (cursor_left(c) > 0) {
		struct manifest_entry *e = &m->entry[m->n];
		if (m->n == max)
			return -EBADMSG;
		bool good = flat ? take_flat(c, e) : m->level > 0 ? take_inner(c, e) : take_leaf(c, e);
		if (!good || !cursor_ok(c) || e->size == 0 || e->size > m->size - size)
			return -EBADMSG;
		if (m->level == 0 && e->data == 0 && m->n > 0 && e[-1].data == 0)
			return -EBADMSG; /* holes that meet are one */
		e->offset = size;
		size += e->size;
		data += e->data;
		m->n++;
	}
	return cursor_end(c) && size == m->size && data == m->data ? 0 : -EBADMSG;
}

static int take_head(struct cursor *c, bool *ret_flat, struct manifest_node *m)
{
	uint8_t format = cursor_u8(c);
	if (!cursor_ok(c) || format == 0)
		return -EBADMSG;
	if (format > FORMAT_NODE)
		return -EPROTONOSUPPORT;
	bool flat = format == FORMAT_FLAT;
	if (!flat)
		m->level = cursor_u8(c);
	m->size = cursor_varint_max(c, flat ? MANIFEST_FLAT_MAX : MANIFEST_SIZE_MAX);
	m->data = flat ? m->size : cursor_varint_max(c, m->size);
	*ret_flat = flat;
	return cursor_ok(c) && m->level < MANIFEST_LEVELS ? 0 : -EBADMSG;
}

int manifest_decode(struct arena *a, const void *data, size_t len, struct manifest_node *ret)
{
	struct manifest_node m = { 0 };
	struct cursor c = cursor_make(data, len);
	bool flat = false;
	int rc = take_head(&c, &flat, &m);
	if (rc == 0)
		rc = take_entries(a, &c, flat, &m);
	if (rc == 0)
		*ret = m;
	return rc;
}

int manifest_sizes(const void *data, size_t len, uint64_t *ret_size, uint64_t *ret_data)
{
	struct manifest_node m = { 0 };
	struct cursor c = cursor_make(data, len);
	bool flat;
	int rc = take_head(&c, &flat, &m);
	if (rc < 0)
		return rc;
	*ret_size = m.size;
	*ret_data = m.data;
	return 0;
}

/* ---- writing ---- */

struct level {
	struct manifest_entry *entry;
	uint32_t n, cap;
	uint64_t size, data;
	bool used; /* a node of it was written */
};

struct manifest_writer {
	struct store *store;
	struct hold *hold;
	bool tree; /* it cannot be flat any more */
	uint64_t hole; /* not yet an entry */
	struct buf encoded;
	struct level level[MANIFEST_LEVELS];
};

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

int manifest_writer_new(struct store *s, struct hold *h, struct manifest_writer **ret)
{
	struct manifest_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->store = s;
	w->hold = h;
	*ret = w;
	return 0;
}

void manifest_writer_free(struct manifest_writer *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < MANIFEST_LEVELS; i++)
		free(w->level[i].entry);
	buf_done(&w->encoded);
	free(w);
}

static int level_add(struct level *l, const struct manifest_entry *entry, struct err *e)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 64;
		struct manifest_entry *bigger = reallocarray(l->entry, cap, sizeof(*bigger));
		if (!bigger)
			return no_memory(e);
		l->entry = bigger;
		l->cap = cap;
	}
	l->entry[l->n++] = *entry;
	l->size += entry->size;
	l->data += entry->data;
	return 0;
}

/* Stores what the level has as one node. */
static int level_store(struct manifest_writer *w, unsigned i, bool flat, struct manifest_entry *ret,
		       struct err *e)
{
	struct level *l = &w->level[i];
	struct manifest_node m = { i, l->n, l->entry, l->size, l->data };
	*ret = (struct manifest_entry){ .size = l->size, .data = l->data };
	buf_reset(&w->encoded);
	manifest_encode(&m, flat, &w->encoded);
	if (buf_failed(&w->encoded))
		return no_memory(e);
	l->n = 0;
	l->size = l->data = 0;
	l->used = true;
	return chunk_store(w->store, w->hold, w->encoded.data, w->encoded.len, &ret->hash, e);
}

static bool node_ends(const struct level *l, bool leaf)
{
	const struct manifest_entry *last = &l->entry[l->n - 1];
	bool hole = leaf && last->data == 0;
	return l->n == NODE_MAX ||
	       (l->n >= NODE_MIN && !hole && last->hash.b[SHA256_SIZE - 1] == 0);
}

static int tree_add(struct manifest_writer *w, const struct manifest_entry *entry, struct err *e)
{
	struct manifest_entry node = *entry;
	for (unsigned i = 0; i < MANIFEST_LEVELS; i++) {
		int rc = level_add(&w->level[i], &node, e);
		if (rc < 0 || !node_ends(&w->level[i], i == 0))
			return rc;
		rc = level_store(w, i, false, &node, e);
		if (rc < 0)
			return rc;
	}
	return err_set(e, -EFBIG, "the file is too large");
}

/* What looked flat so far is a tree. */
static int grow_tree(struct manifest_writer *w, struct err *e)
{
	struct level flat = w->level[0];
	int rc = 0;
	w->tree = true;
	w->level[0] = (struct level){ 0 };
	for (uint32_t i = 0; rc == 0 && i < flat.n; i++)
		rc = tree_add(w, &flat.entry[i], e);
	free(flat.entry);
	return rc;
}

static int add(struct manifest_writer *w, const struct manifest_entry *entry, struct err *e)
{
	struct level *l = &w->level[0];
	if (!w->tree && (entry->data == 0 || l->size + entry->size > MANIFEST_FLAT_MAX)) {
		int rc = grow_tree(w, e);
		if (rc < 0)
			return rc;
	}
	return w->tree ? tree_add(w, entry, e) : level_add(l, entry, e);
}

static int end_hole(struct manifest_writer *w, struct err *e)
{
	const struct manifest_entry hole = { .size = w->hole };
	w->hole = 0;
	return hole.size ? add(w, &hole, e) : 0;
}

int manifest_writer_chunk(struct manifest_writer *w, const struct sha256 *hash, uint32_t size,
			  struct err *e)
{
	const struct manifest_entry chunk = { .size = size, .data = size, .hash = *hash };
	int rc = end_hole(w, e);
	return rc < 0 ? rc : add(w, &chunk, e);
}

int manifest_writer_hole(struct manifest_writer *w, uint64_t size, struct err *e)
{
	if (size > MANIFEST_SIZE_MAX - w->hole)
		return err_set(e, -EFBIG, "the file is too large");
	w->hole += size;
	return 0;
}

/* Is the level the last one? Its only entry then is the root already, or its node is. */
static bool level_last(const struct manifest_writer *w, unsigned i)
{
	for (unsigned k = i + 1; k < MANIFEST_LEVELS; k++)
		if (w->level[k].n > 0 || w->level[k].used)
			return false;
	return !w->level[i].used;
}

int manifest_writer_end(struct manifest_writer *w, struct sha256 *ret, struct err *e)
{
	struct manifest_entry node;
	int rc = end_hole(w, e);
	for (unsigned i = 0; rc == 0 && i < MANIFEST_LEVELS; i++) {
		struct level *l = &w->level[i];
		bool last = level_last(w, i);
		if (last && i > 0 && l->n == 1) {
			*ret = l->entry[0].hash;
			return 0;
		}
		if (l->n == 0)
			continue;
		rc = level_store(w, i, !w->tree, &node, e);
		if (rc == 0 && last) {
			*ret = node.hash;
			return 0;
		}
		if (rc == 0 && i + 1 < MANIFEST_LEVELS)
			rc = level_add(&w->level[i + 1], &node, e);
	}
	return rc < 0 ? rc : err_set(e, -EFBIG, "the file is too large");
}
