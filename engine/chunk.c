/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Format. Value in STORE_CHUNKS, and on the wire: a type byte (0: plain, 1: one zstd frame with its
 * content size), the bytes. */

#include "engine/chunk.h"

#include <assert.h>
#include <errno.h>

#include <zstd.h>

#include "engine/cursor.h"

enum { CHUNK_PLAIN = 0, CHUNK_ZSTD = 1 };

int chunk_size_decode(const void *data, size_t len, uint64_t *ret)
{
	struct cursor c = cursor_make(data, len);
	uint64_t size = cursor_varint(&c);
	if (!cursor_end(&c))
		return -EBADMSG;
	*ret = size;
	return 0;
}

void chunk_size_put(struct store_batch *b, const uint8_t hash[static SHA256_SIZE], uint64_t size)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	/* Out of memory shows as an empty value, which verification finds. */
	buf_varint(&v, size);
	store_put(b, STORE_HASHES, hash, SHA256_SIZE, v.data, v.len);
}

static void chunk_put_batch(struct store_batch *b, const struct sha256 *hash, const void *data,
			    size_t len)
{
	store_put(b, STORE_CHUNKS, hash->b, SHA256_SIZE, data, len);
	chunk_size_put(b, hash->b, len);
}

int chunk_store(struct store *s, struct hold *h, const uint8_t *data, size_t len,
		struct sha256 *ret_hash, struct err *e)
{
	struct sha256 hash;
	sha256_of(data, len, &hash);
	/* Pinned before it is looked for: what is there then stays there. */
	int rc = pins_add(store_pins(s), h, &hash);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	if (!store_has(s, NULL, STORE_HASHES, hash.b, SHA256_SIZE)) {
		_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
		_cleanup_(buf_done) struct buf v = { 0 };
		size_t bound = ZSTD_compressBound(len);
		uint8_t *p = buf_reserve(&v, 1 + bound);
		if (!p)
			return err_set(e, -ENOMEM, "out of memory");
		size_t packed = len >= 128 ? ZSTD_compress(p + 1, bound, data, len, 1) : bound;
		if (!ZSTD_isError(packed) && packed < len - len / 8) {
			p[0] = CHUNK_ZSTD;
			v.len = 1 + packed;
		} else {
			p[0] = CHUNK_PLAIN;
			memcpy(p + 1, data, len);
			v.len = 1 + len;
		}
		rc = store_batch_new(&batch);
		if (rc < 0)
			return err_errno(e, rc, "cannot store a chunk");
		chunk_put_batch(batch, &hash, v.data, v.len);
		rc = store_write(s, batch, e);
		if (rc < 0)
			return rc;
	}
	*ret_hash = hash;
	return 0;
}

/* Plain bytes of a stored form into b (emptied first). */
static int chunk_plain(const uint8_t *data, size_t len, struct buf *b)
{
	buf_reset(b);
	if (len < 1)
		return -EBADMSG;
	if (data[0] == CHUNK_PLAIN) {
		if (len - 1 > CHUNK_MAX)
			return -EBADMSG;
		buf_put(b, data + 1, len - 1);
		return buf_failed(b) ? -ENOMEM : 0;
	}
	if (data[0] != CHUNK_ZSTD)
		return -EBADMSG;
	unsigned long long size = ZSTD_getFrameContentSize(data + 1, len - 1);
	if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size > CHUNK_MAX)
		return -EBADMSG;
	uint8_t *p = buf_reserve(b, size ? (size_t)size : 1);
	if (!p)
		return -ENOMEM;
	size_t n = ZSTD_decompress(p, (size_t)size, data + 1, len - 1);
	if (ZSTD_isError(n) || n != size)
		return -EBADMSG;
	b->len = n;
	return 0;
}

static void plain_hash(const struct buf *plain, struct sha256 *ret)
{
	sha256_of(plain->data ? plain->data : (const uint8_t *)"", plain->len, ret);
}

int chunk_load(struct store *s, const struct sha256 *hash, struct buf *plain)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	struct sha256 got;
	int rc = store_get(s, NULL, STORE_CHUNKS, hash->b, SHA256_SIZE, &v);
	if (rc < 0)
		return rc == -ENOENT ? -EHOSTDOWN : rc;
	rc = chunk_plain(v.data, v.len, plain);
	if (rc < 0)
		return rc;
	plain_hash(plain, &got);
	return sha256_cmp(&got, hash) == 0 ? 0 : -EBADMSG;
}

int chunk_get(struct store *s, const struct sha256 *hash, struct buf *ret)
{
	return store_get(s, NULL, STORE_CHUNKS, hash->b, SHA256_SIZE, ret);
}

int chunk_check(const uint8_t hash[static SHA256_SIZE], const void *data, size_t len)
{
	_cleanup_(buf_done) struct buf plain = { 0 };
	struct sha256 got;
	if (len > CHUNK_WIRE_MAX)
		return -EBADMSG;
	int rc = chunk_plain(data, len, &plain);
	if (rc < 0)
		return rc;
	plain_hash(&plain, &got);
	return memcmp(got.b, hash, SHA256_SIZE) == 0 ? 0 : -EBADMSG;
}

int chunk_put(struct store *s, const struct sha256 *hash, const void *data, size_t len)
{
	_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
	int rc = chunk_check(hash->b, data, len);
	if (rc < 0)
		return rc;
	rc = pins_add(store_pins(s), NULL, hash);
	if (rc == 0)
		rc = store_batch_new(&batch);
	if (rc < 0)
		return rc;
	chunk_put_batch(batch, hash, data, len);
	return store_write(s, batch, NULL);
}

int chunks_delete(struct store *s, const struct sha256 *hash, uint32_t n, bool *gone, struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
	bool keep[CHUNKS_DELETE_MAX] = { false };
	assert(n <= CHUNKS_DELETE_MAX);
	int rc = store_batch_new(&batch);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	/* Whoever pins one of them now waits, and finds it gone when he looks. */
	pins_lock(store_pins(s));
	pins_check(store_pins(s), hash, n, keep);
	for (uint32_t i = 0; i < n; i++) {
		if (keep[i])
			continue;
		store_delete(batch, STORE_CHUNKS, hash[i].b, SHA256_SIZE);
		store_delete(batch, STORE_HASHES, hash[i].b, SHA256_SIZE);
	}
	if (store_batch_count(batch) > 0)
		rc = store_write(s, batch, e);
	pins_unlock(store_pins(s));
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		gone[i] = !keep[i];
	return rc;
}
