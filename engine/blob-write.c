/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Cutting.
 *
 * A block is HOLE_BLOCK bytes at a multiple of HOLE_BLOCK, or the shorter rest at the blob's end. In a
 * blob of more than CHUNK_MIN bytes, blocks of zeros are holes; what lies between two of them is cut
 * by itself, by FastCDC with normalised chunking of level 2: a gear hash runs over the bytes of a chunk
 * beyond the minimum; a cut is where its top 18 bits (before the average) or 14 bits (after it) are
 * zero. The gear table is splitmix64 from a fixed seed: part of the format, because two devices that
 * cut differently would share nothing.
 *
 * Where a chunk ends depends on its first byte's place, the bytes of the blocks that it touches, and
 * on whether the next block is one of zeros. So a chunk of the base is taken over unread when a
 * chunk begins at its place and none of these has changed; and after a change the cuts soon are the
 * old ones again. The outcome is what cutting everything anew would give. */

#include "engine/blob.h"

#include <assert.h>
#include <errno.h>

#define HOLE_BLOCK (64u * 1024)
#define GEAR_SEED UINT64_C(0x53686f616c434443)
#define MASK_HARD (~UINT64_C(0) << (64 - 18))
#define MASK_EASY (~UINT64_C(0) << (64 - 14))
#define SIGHT (CHUNK_MAX + HOLE_BLOCK) /* bytes that say where the next chunk ends */
#define WINDOW (2 * SIGHT)

struct blob_writer {
	struct store *store;
	struct hold *hold;
	struct blob_source src;
	struct manifest_writer *out;
	struct manifest_iter *base; /* NULL: none */
	uint64_t base_size;
	uint64_t gear[256];
	uint8_t *data; /* [start, end): read and not yet cut */
	size_t start, end;
	uint64_t at; /* offset of the byte at start */
	bool eof;    /* there is nothing behind end */
	struct sha256 only; /* the chunk of a small blob */
	bool ended, failed;
	struct blob_ref ref; /* when it has ended */
};

static void gear_init(uint64_t gear[static 256])
{
	uint64_t state = GEAR_SEED;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		gear[i] = z ^ (z >> 31);
	}
}

/* Length of the first chunk of data, where all of the segment's rest up to CHUNK_MAX is in sight. */
static size_t gear_cut(const uint64_t gear[static 256], const uint8_t *data, size_t len)
{
	if (len <= CHUNK_MIN)
		return len;
	size_t end = len < CHUNK_MAX ? len : CHUNK_MAX;
	size_t middle = end < CHUNK_AVG ? end : CHUNK_AVG;
	uint64_t h = 0;
	size_t i = CHUNK_MIN;
	for (; i < middle; i++) {
		h = (h << 1) + gear[data[i]];
		if (!(h & MASK_HARD))
			return i + 1;
	}
	for (; i < end; i++) {
		h = (h << 1) + gear[data[i]];
		if (!(h & MASK_EASY))
			return i + 1;
	}
	return end;
}

static uint64_t block_begin(uint64_t offset)
{
	return offset - offset % HOLE_BLOCK;
}

static size_t left(const struct blob_writer *c)
{
	return c->end - c->start;
}

static void forward(struct blob_writer *c, uint64_t n)
{
	c->at += n;
	if (n <= left(c)) {
		c->start += (size_t)n;
		return;
	}
	c->start = c->end = 0;
	c->eof = false;
}

/* As much as the next cut needs, or all there is. */
static int fill(struct blob_writer *c)
{
	if (left(c) >= SIGHT || c->eof)
		return 0;
	memmove(c->data, c->data + c->start, left(c));
	c->end -= c->start;
	c->start = 0;
	/* Behind a change the rest may be the base's: not more than must be. */
	const size_t most = c->base ? SIGHT : WINDOW;
	while (c->end < SIGHT) {
		uint64_t at = c->at + c->end;
		size_t want = most - c->end;
		if (want > c->src.size - at)
			want = (size_t)(c->src.size - at);
		ssize_t n = want ? c->src.read(c->src.userdata, c->data + c->end, want, at) : 0;
		if (n < 0)
			return (int)n;
		if (n == 0) {
			c->eof = true;
			return 0;
		}
		c->end += (size_t)n;
	}
	return 0;
}

/* Length of the block at an offset that it begins at, when it is one of zeros; else 0. */
static size_t zero_block(const struct blob_writer *c, size_t from)
{
	const uint8_t *p = c->data + c->start + from;
	size_t len = left(c) - from;
	if (len > HOLE_BLOCK)
		len = HOLE_BLOCK;
	if (len == 0 || (len < HOLE_BLOCK && !c->eof))
		return 0;
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0 ? len : 0;
}

/* Length of the chunk that begins here. */
static size_t chunk_length(const struct blob_writer *c)
{
	size_t most = left(c) < CHUNK_MAX ? left(c) : CHUNK_MAX;
	size_t i = (size_t)(block_begin(c->at) + HOLE_BLOCK - c->at);
	while (i < most && !zero_block(c, i))
		i += HOLE_BLOCK;
	return gear_cut(c->gear, c->data + c->start, i < most ? i : most);
}

/* The next three: 1 when something of the blob was dealt with, 0 when not. */

static int take_base(struct blob_writer *c, struct err *e)
{
	const struct manifest_entry *entry;
	uint64_t start, end;
	if (!c->base || c->at >= c->base_size || c->at >= c->src.size)
		return 0;
	int rc = manifest_iter_seek(c->base, c->at, &entry, &start);
	if (rc < 0)
		return err_errno(e, rc, "cannot read what the file was made from");
	if (start != c->at || entry->data == 0)
		return 0;
	end = start + entry->size;
	uint64_t sight = block_begin(end + HOLE_BLOCK - 1) + HOLE_BLOCK;
	uint64_t changed = c->src.changed(c->src.userdata, block_begin(start));
	if (c->base_size != c->src.size) {
		uint64_t less = c->base_size < c->src.size ? c->base_size : c->src.size;
		changed = changed < less ? changed : less;
	}
	if (changed < sight)
		return 0;
	rc = pins_add(store_pins(c->store), c->hold, &entry->hash);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	if (!store_has(c->store, NULL, STORE_HASHES, entry->hash.b, SHA256_SIZE))
		return err_set(e, -EHOSTDOWN, "what the file was made from is not all here");
	rc = manifest_writer_chunk(c->out, &entry->hash, (uint32_t)entry->size, e);
	forward(c, entry->size);
	return rc < 0 ? rc : 1;
}

static int add_hole(struct blob_writer *c, uint64_t len, struct err *e)
{
	int rc = manifest_writer_hole(c->out, len, e);
	forward(c, len);
	return rc < 0 ? rc : 1;
}

static int take_known_hole(struct blob_writer *c, struct err *e)
{
	uint64_t next, size = c->src.size;
	if (!c->src.data || c->at % HOLE_BLOCK != 0 || size <= CHUNK_MIN || c->at >= size)
		return 0;
	int rc = c->src.data(c->src.userdata, c->at, &next);
	if (rc < 0)
		return err_errno(e, rc, "cannot read the file");
	next = next < size ? block_begin(next) : size;
	return next > c->at ? add_hole(c, next - c->at, e) : 0;
}

static int take_bytes(struct blob_writer *c, struct err *e)
{
	struct sha256 hash;
	int rc = fill(c);
	if (rc < 0)
		return err_errno(e, rc, "cannot read the file");
	if (left(c) == 0)
		return 0;
	bool small = c->at == 0 && c->eof && left(c) <= CHUNK_MIN;
	size_t n = c->at % HOLE_BLOCK == 0 && !small ? zero_block(c, 0) : 0;
	if (n > 0)
		return add_hole(c, n, e);
	n = chunk_length(c);
	rc = chunk_store(c->store, c->hold, c->data + c->start, n, &hash, e);
	if (rc == 0)
		rc = manifest_writer_chunk(c->out, &hash, (uint32_t)n, e);
	forward(c, n);
	if (small)
		c->only = hash;
	return rc < 0 ? rc : 1;
}

static int take_next(struct blob_writer *c, struct err *e)
{
	int rc = take_base(c, e);
	if (rc == 0)
		rc = take_known_hole(c, e);
	if (rc == 0)
		rc = take_bytes(c, e);
	return rc;
}

static int finish(struct blob_writer *c, struct err *e)
{
	struct blob_ref ref = { .size = c->at, .manifest = c->only };
	int rc = 0;
	if (ref.size == 0)
		sha256_of("", 0, &ref.manifest);
	else if (ref.size > CHUNK_MIN)
		rc = manifest_writer_end(c->out, &ref.manifest, e);
	if (rc == 0)
		c->ref = ref;
	c->ended = rc == 0;
	return rc;
}

int blob_writer_new(struct store *s, struct hold *h, const struct blob_source *src,
		    struct blob_writer **ret, struct err *e)
{
	_cleanup_(blob_writer_freep) struct blob_writer *c = calloc(1, sizeof(*c));
	if (!c)
		return err_errno(e, -ENOMEM, "cannot store the file");
	c->store = s;
	c->hold = h;
	c->src = *src;
	c->data = malloc(WINDOW);
	int rc = c->data ? manifest_writer_new(s, h, &c->out) : -ENOMEM;
	if (rc == 0 && src->base && src->base->size > CHUNK_MIN) {
		c->base_size = src->base->size;
		rc = manifest_iter_new(s, &src->base->manifest, src->base->size, &c->base);
	}
	if (rc < 0)
		return err_errno(e, rc, "cannot store the file");
	gear_init(c->gear);
	*ret = TAKE_PTR(c);
	return 0;
}

void blob_writer_free(struct blob_writer *c)
{
	if (!c)
		return;
	manifest_iter_free(c->base);
	manifest_writer_free(c->out);
	free(c->data);
	free(c);
}

int blob_writer_more(struct blob_writer *c, uint64_t size, struct err *e)
{
	assert(!c->base && !c->ended);
	int rc = c->failed ? -ECANCELED : 0;
	/* A block that is not whole yet may become one of zeros or not. */
	if (block_begin(size) > c->src.size)
		c->src.size = block_begin(size);
	if (rc == 0 && c->src.size - c->at >= SIGHT)
		rc = take_next(c, e);
	c->failed |= rc < 0;
	return rc;
}

int blob_writer_end(struct blob_writer *c, uint64_t size, struct blob_ref *ret, struct err *e)
{
	int rc = c->failed ? -ECANCELED : c->ended ? 0 : 1;
	if (!c->ended)
		c->src.size = size;
	while (rc > 0)
		rc = take_next(c, e);
	if (rc == 0 && !c->ended)
		rc = finish(c, e);
	c->failed |= rc < 0;
	if (rc == 0)
		*ret = c->ref;
	return rc;
}

bool blob_writer_ended(const struct blob_writer *c)
{
	return c->ended;
}

int blob_write(struct store *s, struct hold *h, const struct blob_source *src, struct blob_ref *ret,
	       struct err *e)
{
	_cleanup_(blob_writer_freep) struct blob_writer *c = NULL;
	int rc = blob_writer_new(s, h, src, &c, e);
	return rc < 0 ? rc : blob_writer_end(c, src->size, ret, e);
}

int blob_store_held(struct store *s, struct hold *h, blob_read_fn read, void *userdata,
		    struct blob_ref *ret, struct err *e)
{
	const struct blob_source src = { .read = read, .size = UINT64_MAX, .userdata = userdata };
	return blob_write(s, h, &src, ret, e);
}

int blob_store(struct store *s, blob_read_fn read, void *userdata, struct blob_ref *ret,
	       struct err *e)
{
	return blob_store_held(s, NULL, read, userdata, ret, e);
}
