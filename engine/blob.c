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

struct blob {
	struct store *store;
	uint64_t size;
	pthread_mutex_t lock; /* all below */
	struct manifest_iter *list;
	bool loaded;
	struct sha256 hash; /* of the chunk in plain */
	struct buf plain;
};

int blob_open(struct store *s, const struct blob_ref *ref, struct blob **ret)
{
	struct blob *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
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
	pthread_mutex_destroy(&b->lock);
	manifest_iter_free(b->list);
	buf_done(&b->plain);
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

static int load_chunk(struct blob *b, const struct manifest_entry *e)
{
	if (b->loaded && sha256_cmp(&b->hash, &e->hash) == 0 && b->plain.len == e->size)
		return 0;
	b->loaded = false;
	int rc = chunk_load(b->store, &e->hash, &b->plain);
	if (rc == 0 && b->plain.len != e->size)
		rc = -EBADMSG;
	if (rc < 0)
		return rc;
	b->hash = e->hash;
	b->loaded = true;
	return 0;
}

/* Bytes from offset to the end of its chunk or hole, at most len. */
static ssize_t pread_piece(struct blob *b, uint8_t *data, size_t len, uint64_t offset)
{
	const struct manifest_entry *e;
	uint64_t start;
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
	rc = load_chunk(b, e);
	if (rc < 0)
		return rc;
	memcpy(data, b->plain.data + from, (size_t)n);
	return (ssize_t)n;
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
	pthread_mutex_unlock(&b->lock);
	return done > 0 ? (ssize_t)done : n;
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
