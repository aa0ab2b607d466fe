/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Formats.
 *
 * Reference: varint size, 32 bytes of SHA-256. Up to CHUNK_MIN bytes are always one chunk; the
 * reference then names that chunk itself and there is no manifest (the empty blob needs not even
 * a chunk). Above that it names a manifest.
 *
 * Manifest: format byte 1, varint size of the blob, then for each chunk 32 bytes of SHA-256 and
 * varint size, in order.
 *
 * Value in STORE_CHUNKS, and on the wire: a type byte (0: plain, 1: one zstd frame with its
 * content size), the bytes.
 *
 * Cutting: FastCDC with normalised chunking of level 2. A gear hash runs over the bytes beyond the
 * minimum; a cut is where its top 18 bits (before the average) or 14 bits (after it) are zero.
 * The gear table is splitmix64 from a fixed seed: part of the format, because two devices that
 * cut differently would share nothing. */

#include "engine/blob.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#include <zstd.h>

#include "engine/cursor.h"

enum { CHUNK_PLAIN = 0, CHUNK_ZSTD = 1 };

#define MANIFEST_FORMAT 1
#define MANIFEST_CHUNKS_MAX (BLOB_SIZE_MAX / CHUNK_MIN + 1)
#define REF_MAX (BUF_VARINT_MAX + SHA256_SIZE)
#define GEAR_SEED UINT64_C(0x53686f616c434443)
#define MASK_HARD (~UINT64_C(0) << (64 - 18))
#define MASK_EASY (~UINT64_C(0) << (64 - 14))
#define WINDOW (4 * CHUNK_MAX) /* bytes read ahead of the cut */

struct gear {
	uint64_t v[256];
};

static void gear_init(struct gear *g)
{
	uint64_t state = GEAR_SEED;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		g->v[i] = z ^ (z >> 31);
	}
}

/* Length of the first chunk of data, where all of the blob's rest up to CHUNK_MAX is in sight. */
static size_t gear_cut(const struct gear *g, const uint8_t *data, size_t len)
{
	if (len <= CHUNK_MIN)
		return len;
	size_t end = len < CHUNK_MAX ? len : CHUNK_MAX;
	size_t middle = end < CHUNK_AVG ? end : CHUNK_AVG;
	uint64_t h = 0;
	size_t i = CHUNK_MIN;
	for (; i < middle; i++) {
		h = (h << 1) + g->v[data[i]];
		if (!(h & MASK_HARD))
			return i + 1;
	}
	for (; i < end; i++) {
		h = (h << 1) + g->v[data[i]];
		if (!(h & MASK_EASY))
			return i + 1;
	}
	return end;
}

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

void manifest_encode(const struct manifest *m, struct buf *b)
{
	buf_u8(b, MANIFEST_FORMAT);
	buf_varint(b, m->size);
	for (uint32_t i = 0; i < m->n; i++) {
		buf_put(b, m->chunk[i].hash.b, SHA256_SIZE);
		buf_varint(b, m->chunk[i].size);
	}
}

int manifest_decode(struct arena *a, const void *data, size_t len, struct manifest *ret)
{
	struct cursor c = cursor_make(data, len);
	if (cursor_u8(&c) != MANIFEST_FORMAT || !cursor_ok(&c))
		return -EBADMSG;
	uint64_t size = cursor_varint_max(&c, BLOB_SIZE_MAX);
	/* The shortest entry bounds the number before anything is allocated for it. */
	size_t max = cursor_left(&c) / (SHA256_SIZE + 1);
	if (!cursor_ok(&c) || max > MANIFEST_CHUNKS_MAX)
		return -EBADMSG;
	struct chunk_ref *chunk = arena_array(a, max ? max : 1, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	uint32_t n = 0;
	uint64_t sum = 0;
	while (cursor_left(&c) > 0) {
		const uint8_t *hash = cursor_take(&c, SHA256_SIZE);
		uint32_t bytes = (uint32_t)cursor_varint_max(&c, CHUNK_MAX);
		if (!hash || !cursor_ok(&c) || bytes == 0 || n == max)
			return -EBADMSG;
		memcpy(chunk[n].hash.b, hash, SHA256_SIZE);
		chunk[n++].size = bytes;
		sum += bytes;
	}
	if (!cursor_end(&c) || sum != size)
		return -EBADMSG;
	*ret = (struct manifest){ chunk, n, size };
	return 0;
}

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

/* Stores plain bytes under their hash, compressed if that saves at least an eighth. */
static int chunk_store(struct store *s, struct hold *h, const uint8_t *data, size_t len,
		       struct sha256 *ret_hash, struct err *e)
{
	struct sha256 hash;
	sha256_of(data, len, &hash);
	/* Pinned before it is looked for: what is there then stays there. */
	int rc = pins_add(store_pins(s), h, &hash);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	if (!store_has(s, NULL, STORE_CHUNKS, hash.b, SHA256_SIZE)) {
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

/* Plain bytes of a chunk or manifest: -EHOSTDOWN when it is not here. */
static int chunk_load(struct store *s, const struct sha256 *hash, struct buf *plain)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	int rc = store_get(s, NULL, STORE_CHUNKS, hash->b, SHA256_SIZE, &v);
	if (rc < 0)
		return rc == -ENOENT ? -EHOSTDOWN : rc;
	return chunk_plain(v.data, v.len, plain);
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
	sha256_of(plain.data ? plain.data : (const uint8_t *)"", plain.len, &got);
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

/* What blob_store has read and not yet cut. */
struct window {
	uint8_t *data;
	size_t start, end;
	uint64_t offset; /* of the next read */
	bool eof;
};

static int window_fill(struct window *w, blob_read_fn read, void *userdata)
{
	if (w->end - w->start >= CHUNK_MAX || w->eof)
		return 0;
	memmove(w->data, w->data + w->start, w->end - w->start);
	w->end -= w->start;
	w->start = 0;
	while (w->end < WINDOW) {
		ssize_t n = read(userdata, w->data + w->end, WINDOW - w->end, w->offset);
		if (n < 0)
			return (int)n;
		if (n == 0) {
			w->eof = true;
			return 0;
		}
		w->end += (size_t)n;
		w->offset += (uint64_t)n;
		if (w->offset > BLOB_SIZE_MAX)
			return -EFBIG;
	}
	return 0;
}

int blob_store_held(struct store *s, struct hold *h, blob_read_fn read, void *userdata,
		    struct blob_ref *ret, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf encoded = { 0 };
	_cleanup_free_ uint8_t *data = malloc(WINDOW);
	struct window w = { .data = data };
	struct gear gear;
	struct blob_ref ref = { 0 };
	struct manifest m = { 0 };
	size_t cap = 0;
	if (!data)
		return err_set(e, -ENOMEM, "out of memory");
	gear_init(&gear);
	for (;;) {
		int rc = window_fill(&w, read, userdata);
		if (rc == -EFBIG)
			return err_set(e, rc, "the file is larger than %llu MiB, the most that can be kept",
				       (unsigned long long)(BLOB_SIZE_MAX >> 20));
		if (rc < 0)
			return err_errno(e, rc, "cannot read the file");
		size_t left = w.end - w.start;
		if (left == 0)
			break;
		size_t n = gear_cut(&gear, w.data + w.start, left);
		if (m.n == cap) {
			struct chunk_ref *bigger = arena_array(&a, cap ? 2 * cap : 16, sizeof(*bigger));
			if (!bigger)
				return err_set(e, -ENOMEM, "out of memory");
			if (m.n)
				memcpy(bigger, m.chunk, m.n * sizeof(*bigger));
			m.chunk = bigger;
			cap = cap ? 2 * cap : 16;
		}
		rc = chunk_store(s, h, w.data + w.start, n, &m.chunk[m.n].hash, e);
		if (rc < 0)
			return rc;
		m.chunk[m.n++].size = (uint32_t)n;
		m.size += n;
		w.start += n;
	}
	ref.size = m.size;
	if (m.size == 0) {
		sha256_of("", 0, &ref.manifest);
	} else if (m.size <= CHUNK_MIN) {
		ref.manifest = m.chunk[0].hash;
	} else {
		manifest_encode(&m, &encoded);
		if (buf_failed(&encoded))
			return err_set(e, -ENOMEM, "out of memory");
		int rc = chunk_store(s, h, encoded.data, encoded.len, &ref.manifest, e);
		if (rc < 0)
			return rc;
	}
	*ret = ref;
	return 0;
}

int blob_store(struct store *s, blob_read_fn read, void *userdata, struct blob_ref *ret,
	       struct err *e)
{
	return blob_store_held(s, NULL, read, userdata, ret, e);
}

/* The chunks that ref stands for: -EHOSTDOWN when there is a manifest and it is not here. */
int blob_chunks(struct store *s, struct arena *a, const struct blob_ref *ref, struct manifest *ret)
{
	_cleanup_(buf_done) struct buf plain = { 0 };
	struct manifest m = { .size = ref->size };
	if (ref->size > 0 && ref->size <= CHUNK_MIN) {
		m.chunk = arena_array(a, 1, sizeof(*m.chunk));
		if (!m.chunk)
			return -ENOMEM;
		m.chunk[0] = (struct chunk_ref){ ref->manifest, (uint32_t)ref->size };
		m.n = 1;
	} else if (ref->size > 0) {
		int rc = chunk_load(s, &ref->manifest, &plain);
		if (rc < 0)
			return rc;
		rc = manifest_decode(a, plain.data, plain.len, &m);
		if (rc < 0)
			return rc;
		if (m.size != ref->size)
			return -EBADMSG;
	}
	*ret = m;
	return 0;
}

struct blob {
	struct store *store;
	struct arena arena;
	struct manifest manifest;
	uint64_t *start; /* offset of each chunk */
	pthread_mutex_t lock; /* the two below */
	struct buf plain;     /* of chunk `at` */
	uint32_t at;
};

int blob_open(struct store *s, const struct blob_ref *ref, struct blob **ret)
{
	struct blob *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	b->store = s;
	b->at = UINT32_MAX;
	int rc = blob_chunks(s, &b->arena, ref, &b->manifest);
	if (rc == 0) {
		b->start = arena_array(&b->arena, b->manifest.n + 1, sizeof(*b->start));
		if (!b->start)
			rc = -ENOMEM;
	}
	if (rc < 0) {
		blob_free(b);
		return rc;
	}
	for (uint32_t i = 0; i < b->manifest.n; i++)
		b->start[i + 1] = b->start[i] + b->manifest.chunk[i].size;
	*ret = b;
	return 0;
}

void blob_free(struct blob *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	arena_done(&b->arena);
	buf_done(&b->plain);
	free(b);
}

uint64_t blob_size(const struct blob *b)
{
	return b->manifest.size;
}

/* The chunk that holds offset (less than the size). */
static uint32_t blob_chunk_at(const struct blob *b, uint64_t offset)
{
	uint32_t low = 0, high = b->manifest.n;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (b->start[middle] <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

ssize_t blob_pread(struct blob *b, void *data, size_t len, uint64_t offset)
{
	uint8_t *out = data;
	size_t done = 0;
	ssize_t rc = 0;
	if (offset >= b->manifest.size)
		return 0;
	if (len > b->manifest.size - offset)
		len = (size_t)(b->manifest.size - offset);
	pthread_mutex_lock(&b->lock);
	while (done < len) {
		uint32_t i = blob_chunk_at(b, offset + done);
		if (i != b->at) {
			b->at = UINT32_MAX;
			rc = chunk_load(b->store, &b->manifest.chunk[i].hash, &b->plain);
			if (rc == 0 && b->plain.len != b->manifest.chunk[i].size)
				rc = -EBADMSG;
			if (rc < 0)
				break;
			b->at = i;
		}
		size_t from = (size_t)(offset + done - b->start[i]);
		size_t n = b->plain.len - from;
		if (n > len - done)
			n = len - done;
		memcpy(out + done, b->plain.data + from, n);
		done += n;
	}
	pthread_mutex_unlock(&b->lock);
	return done > 0 ? (ssize_t)done : rc;
}

/* pin: what is here is pinned, h NULL meaning without an owner. */
static int missing(struct store *s, bool pin, struct hold *h, struct arena *a,
		   const struct blob_ref *ref, struct sha256 **ret_hash, uint32_t *ret_n)
{
	struct manifest m;
	struct sha256 *hash;
	uint32_t n = 0;
	int rc = pin && ref->size > 0 ? pins_add(store_pins(s), h, &ref->manifest) : 0;
	if (rc == 0)
		rc = blob_chunks(s, a, ref, &m);
	if (rc < 0 && rc != -EHOSTDOWN)
		return rc;
	bool known = rc == 0;
	hash = arena_array(a, known && m.n ? m.n : 1, sizeof(*hash));
	if (!hash)
		return -ENOMEM;
	if (!known)
		hash[n++] = ref->manifest;
	for (uint32_t i = 0; known && i < m.n; i++) {
		rc = pin ? pins_add(store_pins(s), h, &m.chunk[i].hash) : 0;
		if (rc < 0)
			return rc;
		if (!store_has(s, NULL, STORE_CHUNKS, m.chunk[i].hash.b, SHA256_SIZE))
			hash[n++] = m.chunk[i].hash;
	}
	*ret_hash = hash;
	*ret_n = n;
	return 0;
}

int blob_missing(struct store *s, struct arena *a, const struct blob_ref *ref,
		 struct sha256 **ret_hash, uint32_t *ret_n)
{
	return missing(s, false, NULL, a, ref, ret_hash, ret_n);
}

int blob_missing_held(struct store *s, struct hold *h, struct arena *a, const struct blob_ref *ref,
		      struct sha256 **ret_hash, uint32_t *ret_n)
{
	return missing(s, true, h, a, ref, ret_hash, ret_n);
}
