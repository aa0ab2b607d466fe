/* SPDX-License-Identifier: GPL-2.0-or-later */

/* References: varint size, 32 bytes of SHA-256. Reading blobs, and finding what is missing of them. */

#include "engine/blob.h"

#include <errno.h>
#include <pthread.h>

#include "engine/cursor.h"

#define REF_MAX (BUF_VARINT_MAX + SHA256_SIZE)

int blob_ref_encode(struct arena *a, const struct blob_ref *ref, struct value *ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_varint(&b, ref->size);
	buf_put(&b, ref->manifest.b, SHA256_SIZE);
	if (buf_failed(&b))
		return -ENOMEM;
	char *copy = arena_dup(a, b.data, b.len);
	if (!copy)
		return -ENOMEM;
	*ret = (struct value){ VALUE_BLOB, (const uint8_t *)copy, b.len };
	return 0;
}

int blob_ref_decode(const struct value *v, struct blob_ref *ret)
{
	if (v->kind != VALUE_BLOB || v->len > REF_MAX)
		return -EBADMSG;
	struct cursor c = cursor_make(v->data, v->len);
	uint64_t size = cursor_varint_max(&c, BLOB_SIZE_MAX);
	const uint8_t *hash = cursor_take(&c, SHA256_SIZE);
	if (!hash || !cursor_end(&c))
		return -EBADMSG;
	ret->size = size;
	memcpy(ret->manifest.b, hash, SHA256_SIZE);
	return 0;
}

/* ---- reading ---- */

/* Whoever reads a file from its beginning is asked for the next piece before he has got the last one:
 * so several chunks are loaded side by side, without the lock, and kept until all that lies in them
 * has been read. */
#define PIECES 8

enum piece_state { PIECE_FREE, PIECE_LOADING, PIECE_FULL };

struct piece {
	enum piece_state state;
	unsigned readers; /* who copies from plain, or waits for it */
	uint64_t used;    /* when: a count */
	struct sha256 hash;
	struct buf plain;
};

struct blob {
	struct store *store;
	uint64_t size;
	pthread_mutex_t lock; /* all below, but for what is in plain */
	pthread_cond_t changed;
	struct manifest_iter *list;
	uint64_t clock;
	struct piece piece[PIECES];
};

int blob_open(struct store *s, const struct blob_ref *ref, struct blob **ret)
{
	struct blob *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	b->store = s;
	b->size = ref->size;
	int rc = manifest_iter_new(s, &ref->manifest, ref->size, &b->list);
	if (rc < 0) {
		blob_free(b);
		return rc;
	}
	*ret = b;
	return 0;
}

void blob_free(struct blob *b)
{
	if (!b)
		return;
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	manifest_iter_free(b->list);
	for (unsigned i = 0; i < PIECES; i++)
		buf_done(&b->piece[i].plain);
	free(b);
}

uint64_t blob_size(const struct blob *b)
{
	return b->size;
}

int blob_stored(struct store *s, const struct blob_ref *ref, uint64_t *ret)
{
	_cleanup_(buf_done) struct buf plain = { 0 };
	uint64_t size, data;
	if (ref->size <= CHUNK_MIN) {
		*ret = ref->size;
		return 0;
	}
	int rc = chunk_load(s, &ref->manifest, &plain);
	if (rc == 0)
		rc = manifest_sizes(plain.data, plain.len, &size, &data);
	if (rc == 0)
		*ret = data;
	return rc;
}

/* The one that has the chunk, or is about to; else the one to load it into; NULL: all are in use. */
static struct piece *find_piece(struct blob *b, const struct sha256 *hash)
{
	struct piece *best = NULL;
	for (unsigned i = 0; i < PIECES; i++) {
		struct piece *p = &b->piece[i];
		if (p->state != PIECE_FREE && sha256_cmp(&p->hash, hash) == 0)
			return p;
		if (p->state != PIECE_LOADING && p->readers == 0 && (!best || p->used < best->used))
			best = p;
	}
	return best;
}

/* lock held, but not while it is loaded. */
static int load_piece(struct blob *b, struct piece *p, const struct manifest_entry *e)
{
	const struct sha256 hash = p->hash = e->hash;
	const uint64_t size = e->size;
	p->state = PIECE_LOADING;
	p->used = ++b->clock;
	pthread_mutex_unlock(&b->lock);
	int rc = chunk_load(b->store, &hash, &p->plain);
	if (rc == 0 && p->plain.len != size)
		rc = -EBADMSG;
	pthread_mutex_lock(&b->lock);
	p->state = rc == 0 ? PIECE_FULL : PIECE_FREE;
	pthread_cond_broadcast(&b->changed);
	return rc;
}

static void copy_from(struct blob *b, struct piece *p, uint8_t *data, uint64_t from, uint64_t n)
{
	p->readers++;
	p->used = ++b->clock;
	pthread_mutex_unlock(&b->lock);
	memcpy(data, p->plain.data + from, (size_t)n);
	pthread_mutex_lock(&b->lock);
	p->readers--;
	pthread_cond_broadcast(&b->changed);
}

/* Bytes from offset to the end of its chunk or hole, at most len. lock held. */
static ssize_t pread_piece(struct blob *b, uint8_t *data, size_t len, uint64_t offset)
{
	for (;;) {
		const struct manifest_entry *e;
		uint64_t start;
		/* Others move the iterator whenever the lock is let go. */
		int rc = manifest_iter_seek(b->list, offset, &e, &start);
		if (rc < 0)
			return rc;
		uint64_t from = offset - start, n = e->size - from;
		if (n > len)
			n = len;
		if (e->data == 0) {
			memset(data, 0, (size_t)n);
			return (ssize_t)n;
		}
		struct piece *p = find_piece(b, &e->hash);
		if (!p || p->state == PIECE_LOADING) {
			pthread_cond_wait(&b->changed, &b->lock);
			continue;
		}
		const bool here = p->state == PIECE_FULL && sha256_cmp(&p->hash, &e->hash) == 0;
		if (here && p->plain.len != e->size)
			return -EBADMSG;
		if (here) {
			copy_from(b, p, data, from, n);
			return (ssize_t)n;
		}
		rc = load_piece(b, p, e);
		if (rc < 0)
			return rc;
	}
}

/* At the end of a file that was read from its beginning nobody needs them any more. lock held. */
static void drop_pieces(struct blob *b)
{
	for (unsigned i = 0; i < PIECES; i++) {
		struct piece *p = &b->piece[i];
		if (p->state == PIECE_LOADING || p->readers)
			continue;
		p->state = PIECE_FREE;
		buf_done(&p->plain);
	}
}

ssize_t blob_pread(struct blob *b, void *data, size_t len, uint64_t offset)
{
	size_t done = 0;
	ssize_t n = 0;
	if (offset >= b->size)
		return 0;
	if (len > b->size - offset)
		len = (size_t)(b->size - offset);
	pthread_mutex_lock(&b->lock);
	while (done < len) {
		n = pread_piece(b, (uint8_t *)data + done, len - done, offset + done);
		if (n < 0)
			break;
		done += (size_t)n;
	}
	if (offset + done == b->size)
		drop_pieces(b);
	pthread_mutex_unlock(&b->lock);
	return done > 0 ? (ssize_t)done : n;
}

void blob_expect(struct blob *b, size_t len, uint64_t offset)
{
	const uint64_t end = offset < b->size && len < b->size - offset ? offset + len : b->size;
	pthread_mutex_lock(&b->lock);
	for (int rc = 0; rc == 0 && offset < end;) {
		const struct manifest_entry *e;
		uint64_t start;
		rc = manifest_iter_seek(b->list, offset, &e, &start);
		if (rc < 0)
			break;
		offset = start + e->size;
		struct piece *p = e->data ? find_piece(b, &e->hash) : NULL;
		if (p && (p->state == PIECE_FREE || sha256_cmp(&p->hash, &e->hash) != 0))
			rc = load_piece(b, p, e);
	}
	pthread_mutex_unlock(&b->lock);
}

int blob_next(struct blob *b, uint64_t offset, bool hole, uint64_t *ret)
{
	pthread_mutex_lock(&b->lock);
	int rc = manifest_iter_next(b->list, offset, hole, ret);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

/* ---- what is missing ---- */

struct missing {
	struct store *store;
	bool pin; /* for hold, NULL meaning without an owner */
	struct hold *hold;
	struct buf hash;
	uint64_t next; /* all below it is here */
};

static int find_missing(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size,
			bool node)
{
	struct missing *m = userdata;
	(void)size;
	(void)node;
	/* Pinned before it is looked for: what is there then stays there. */
	int rc = m->pin ? pins_add(store_pins(m->store), m->hold, hash) : 0;
	const enum store_family where = m->pin ? STORE_HASHES : STORE_CHUNKS;
	if (rc < 0 || store_has(m->store, NULL, where, hash->b, SHA256_SIZE))
		return rc < 0 ? rc : 1;
	if (offset < m->next)
		m->next = offset;
	if (m->hash.len == BLOB_MISSING_MAX * SHA256_SIZE)
		return -ECANCELED;
	buf_put(&m->hash, hash->b, SHA256_SIZE);
	return 0;
}

static int missing(struct missing *m, struct arena *a, const struct blob_ref *ref, uint64_t *from,
		   struct manifest_seen *known, struct sha256 **ret_hash, uint32_t *ret_n)
{
	m->next = ref->size;
	int rc = manifest_walk(m->store, &ref->manifest, ref->size, *from, known, find_missing, m);
	if (rc < 0 && rc != -ECANCELED)
		return rc;
	size_t n = m->hash.len / SHA256_SIZE;
	struct sha256 *hash = arena_array(a, n ? n : 1, sizeof(*hash));
	if (!hash || buf_failed(&m->hash))
		return -ENOMEM;
	if (n)
		memcpy(hash, m->hash.data, m->hash.len);
	*ret_hash = hash;
	*ret_n = (uint32_t)n;
	*from = m->next;
	return 0;
}

int blob_missing_from(struct store *s, struct hold *h, struct arena *a, const struct blob_ref *ref,
		      uint64_t *from, struct manifest_seen *known, struct sha256 **ret_hash,
		      uint32_t *ret_n)
{
	struct missing m = { .store = s, .pin = true, .hold = h };
	int rc = missing(&m, a, ref, from, known, ret_hash, ret_n);
	buf_done(&m.hash);
	return rc;
}

static int find_known(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size,
		      bool node)
{
	struct store *s = userdata;
	(void)offset;
	(void)size;
	if (!node)
		return 0;
	return store_has(s, NULL, STORE_HASHES, hash->b, SHA256_SIZE) ? 1 : -EHOSTDOWN;
}

int blob_known(struct store *s, const struct blob_ref *ref, struct manifest_seen *ret)
{
	int rc = manifest_walk(s, &ref->manifest, ref->size, 0, ret, find_known, s);
	if (rc < 0)
		manifest_seen_done(ret);
	return rc == -ENOMEM ? rc : 0;
}

int blob_missing(struct store *s, struct arena *a, const struct blob_ref *ref,
		 struct sha256 **ret_hash, uint32_t *ret_n)
{
	struct missing m = { .store = s };
	uint64_t from = 0;
	int rc = missing(&m, a, ref, &from, NULL, ret_hash, ret_n);
	buf_done(&m.hash);
	return rc;
}
