/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blobs: cutting, manifests, reading at any place, what is missing, what a peer may send. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "engine/blob.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define BIG (3u * 1024 * 1024 + 12345)

struct source {
	const uint8_t *data;
	uint64_t len;
	size_t most; /* bytes a read gives at most */
	int error;   /* instead of the end */
};

static ssize_t source_read(void *userdata, void *data, size_t len, uint64_t offset)
{
	const struct source *s = userdata;
	if (offset >= s->len)
		return s->error;
	size_t n = len < s->len - offset ? len : (size_t)(s->len - offset);
	if (n > s->most)
		n = s->most;
	if (s->data)
		memcpy(data, s->data + offset, n);
	else
		memset(data, 0, n);
	return (ssize_t)n;
}

static struct blob_ref put(struct store *s, const void *data, size_t len, size_t most)
{
	struct source src = { data, len, most, 0 };
	struct blob_ref ref;
	int rc = blob_store(s, source_read, &src, &ref, NULL);
	if (rc < 0)
		tap_bail("blob_store: %d", rc);
	return ref;
}

static bool ref_equal(const struct blob_ref *x, const struct blob_ref *y)
{
	return x->size == y->size && sha256_cmp(&x->manifest, &y->manifest) == 0;
}

static bool reads_back(struct store *s, const struct blob_ref *ref, const uint8_t *data, size_t len)
{
	_cleanup_free_ uint8_t *got = malloc(len + 100);
	struct blob *b;
	if (blob_open(s, ref, &b) < 0)
		return false;
	ssize_t n = blob_pread(b, got, len + 100, 0);
	bool good = blob_size(b) == len && n == (ssize_t)len &&
		    (len == 0 || memcmp(got, data, len) == 0);
	struct prng prng = { 7 };
	for (int i = 0; i < 200 && good && len; i++) {
		uint64_t offset = prng_below(&prng, len);
		size_t want = (size_t)prng_below(&prng, 70000);
		n = blob_pread(b, got, want < len ? want : len, offset);
		size_t have = want < len ? want : len;
		if (have > len - offset)
			have = len - offset;
		good = n == (ssize_t)have && memcmp(got, data + offset, have) == 0;
	}
	good = good && blob_pread(b, got, 10, len) == 0 && blob_pread(b, got, 10, len + 5) == 0;
	blob_free(b);
	return good;
}

struct list {
	struct sha256 hash[256];
	uint32_t n;
};

static int note(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size, bool node)
{
	struct list *l = userdata;
	(void)offset;
	(void)size;
	if (!node && l->n < 256)
		l->hash[l->n++] = *hash;
	return node;
}

static struct list chunks_of(struct store *s, const struct blob_ref *ref)
{
	struct list l = { .n = 0 };
	if (manifest_walk(s, &ref->manifest, ref->size, 0, NULL, note, &l) < 0)
		tap_bail("no manifest");
	return l;
}

static uint32_t shared(const struct list *x, const struct list *y)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < x->n; i++)
		for (uint32_t k = 0; k < y->n; k++)
			if (!sha256_cmp(&x->hash[i], &y->hash[k])) {
				n++;
				break;
			}
	return n;
}

static void sizes(struct store *s, const uint8_t *data)
{
	static const size_t size[] = { 0, 1, 100, CHUNK_MIN - 1, CHUNK_MIN, CHUNK_MIN + 1,
				       CHUNK_AVG, CHUNK_MAX, CHUNK_MAX + 1, 1000000, BIG };
	bool good = true, same = true;
	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		struct blob_ref ref = put(s, data, size[i], SIZE_MAX);
		struct blob_ref again = put(s, data, size[i], 777);
		if (ref.size != size[i] || !reads_back(s, &ref, data, size[i])) {
			tap_diag("%zu bytes", size[i]);
			good = false;
		}
		same = same && ref_equal(&ref, &again);
	}
	ok(good, "blobs of many sizes read back, at any place");
	ok(same, "and do not depend on how the bytes arrived");
}

static void cutting(struct store *s, uint8_t *data)
{
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	struct list x = chunks_of(s, &ref);
	ok(x.n >= BIG / CHUNK_MAX && x.n <= BIG / CHUNK_MIN + 1, "%u chunks of 16 to 256 KiB", x.n);
	ok(x.n >= BIG / CHUNK_AVG / 2 && x.n <= 2 * BIG / CHUNK_AVG, "of about 64 KiB");
	/* The gear table and the masks are part of the format. */
	char hex[2 * SHA256_SIZE + 1];
	for (unsigned i = 0; i < SHA256_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", ref.manifest.b[i]);
	is_str(hex, "678356ce0c4a71380333e82532d6a6b02ba4a1388907b3655b39dc6892fc3a80", "the manifest of known bytes");
	memmove(data + 1000, data + 1007, BIG - 1007);
	ref = put(s, data, BIG - 7, SIZE_MAX);
	struct list y = chunks_of(s, &ref);
	ok(shared(&x, &y) + 3 >= x.n, "seven bytes fewer near the start: %u of %u chunks stay",
	   shared(&x, &y), x.n);
}

static void transfer(struct store *s, const uint8_t *data)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	struct store *other;
	struct sha256 *hash;
	uint32_t n;
	struct blob *b;
	if (store_open_memory(&other) < 0)
		tap_bail("no memory");
	is_errno(blob_open(other, &ref, &b), -EHOSTDOWN, "a blob that is not here");
	bool good = blob_missing(other, &a, &ref, &hash, &n) == 0;
	ok(good && n == 1 && !sha256_cmp(hash, &ref.manifest), "its manifest is what is missing");
	for (unsigned round = 0; round < 2 && good; round++) {
		good = blob_missing(other, &a, &ref, &hash, &n) == 0;
		for (uint32_t i = 0; i < n && good; i++) {
			_cleanup_(buf_done) struct buf c = { 0 };
			good = chunk_get(s, &hash[i], &c) == 0 && c.len <= CHUNK_WIRE_MAX &&
			       chunk_put(other, &hash[i], c.data, c.len) == 0;
			if (i == 0 && round == 1)
				is_errno(blob_open(other, &ref, &b) < 0 ?
						 -1 : blob_pread(b, &(uint8_t){ 0 }, 1, BIG - 1),
					 -EHOSTDOWN, "a chunk that is not here");
			if (i == 0 && round == 1)
				blob_free(b);
		}
	}
	good = good && blob_missing(other, &a, &ref, &hash, &n) == 0 && n == 0;
	ok(good && reads_back(other, &ref, data, BIG), "handed over chunk by chunk");

	_cleanup_(buf_done) struct buf c = { 0 };
	struct sha256 wrong = ref.manifest;
	chunk_get(s, &ref.manifest, &c);
	wrong.b[0] ^= 1;
	is_errno(chunk_put(other, &wrong, c.data, c.len), -EBADMSG, "a chunk under a wrong hash");
	is_errno(chunk_put(other, &wrong, c.data, 0), -EBADMSG, "an empty one");
	is_errno(chunk_put(other, &wrong, data, CHUNK_WIRE_MAX + 1), -EBADMSG, "one too long");
	is_errno(chunk_put(other, &wrong, "\2abc", 4), -EBADMSG, "one packed in an unknown way");
	struct prng prng = { 3 };
	bool refused = true;
	for (int i = 0; i < 2000; i++) {
		_cleanup_(buf_done) struct buf bad = { 0 };
		buf_put(&bad, c.data, c.len < 4000 ? c.len : 4000);
		for (uint64_t k = 1 + prng_below(&prng, 4); k > 0; k--)
			bad.data[prng_below(&prng, bad.len)] ^= (uint8_t)(1 + prng_below(&prng, 255));
		refused = refused && chunk_put(other, &wrong, bad.data, bad.len) == -EBADMSG;
	}
	ok(refused, "damaged chunks are refused");
	is_errno(chunk_get(other, &wrong, &c), -ENOENT, "a chunk that is not there");
	store_close(other);
}

static void formats(struct store *s, const uint8_t *data)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct blob_ref ref = put(s, data, 100000, SIZE_MAX), back;
	struct value v;
	is_int(blob_ref_encode(&a, &ref, &v), 0, "a reference is encoded");
	ok(blob_ref_decode(&v, &back) == 0 && ref_equal(&ref, &back), "and decoded");
	v.len--;
	is_errno(blob_ref_decode(&v, &back), -EBADMSG, "a short reference");
	v = (struct value){ VALUE_STRING, v.data, v.len + 1 };
	is_errno(blob_ref_decode(&v, &back), -EBADMSG, "a reference of another kind");
	uint8_t huge[42] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01 };
	v = (struct value){ VALUE_BLOB, huge, 10 + SHA256_SIZE };
	is_errno(blob_ref_decode(&v, &back), -EBADMSG, "a reference to more than a blob may have");
}

static void failures(struct store *s)
{
	struct source src = { NULL, 300000, SIZE_MAX, -EIO };
	struct blob_ref ref;
	struct err e = { 0 };
	is_errno(blob_store(s, source_read, &src, &ref, &e), -EIO, "a read that fails");
	store_fail(s, 1, -EIO);
	src = (struct source){ (const uint8_t *)"never seen before", 17, SIZE_MAX, 0 };
	ok(blob_store(s, source_read, &src, &ref, NULL) < 0, "a store that fails");
	store_fail(s, 0, 0);
}

/* 96 MiB of which every chunk is another one, and packs well. */
static ssize_t long_read(void *userdata, void *data, size_t len, uint64_t offset)
{
	const uint64_t size = *(const uint64_t *)userdata;
	uint8_t *p = data;
	if (offset >= size)
		return 0;
	if (len > size - offset)
		len = (size_t)(size - offset);
	for (size_t i = 0; i < len; i++) {
		struct prng word = { (offset + i) / 8 };
		p[i] = (uint8_t)(prng_u64(&word) | 1);
	}
	return (ssize_t)len;
}

static void give(struct store *from, struct store *to, const struct sha256 *hash, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf c = { 0 };
		if (chunk_get(from, &hash[i], &c) < 0 || chunk_put(to, &hash[i], c.data, c.len) < 0)
			tap_bail("a chunk does not go over");
	}
}

static uint64_t long_changed(void *userdata, uint64_t offset)
{
	(void)userdata;
	(void)offset;
	return UINT64_MAX;
}

/* The end is cut off: nothing of what is known is looked for, the new end is. */
static void known(struct store *s, struct store *other, const struct blob_ref *base)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	uint64_t size = base->size - 5000, from = 0;
	uint32_t total = 0;
	const struct blob_source src = { long_read, size, NULL, base, long_changed, &size,
					 NULL };
	struct list l = chunks_of(other, base);
	struct blob_ref ref;
	struct sha256 *hash;
	uint32_t n;
	bool gone = false;
	/* As nothing should: to see whether it is looked for. */
	for (unsigned i = 0; i < 2; i++) {
		pins_sweep_begin(store_pins(other));
		pins_sweep_end(store_pins(other));
	}
	int rc = blob_write(s, NULL, &src, &ref, NULL);
	if (rc < 0 || chunks_delete(other, &l.hash[100], 1, &gone, NULL) < 0 || !gone)
		tap_bail("a chunk does not go");
	do {
		_cleanup_(manifest_seen_done) struct manifest_seen seen = { 0 };
		from = 0;
		if (blob_known(other, base, &seen) < 0 ||
		    blob_missing_from(other, NULL, &a, &ref, &from, &seen, &hash, &n) < 0)
			tap_bail("blob_missing_from");
		give(s, other, hash, n);
		total += n;
	} while (n > 0 && total < 100);
	ok(n == 0 && total > 2 && total < 10, "%u pieces are missing, what is known is not looked for",
	   total);
	from = 0;
	rc = blob_missing_from(other, NULL, &a, &ref, &from, NULL, &hash, &n);
	ok(rc == 0 && n == 1 && !sha256_cmp(hash, &l.hash[100]), "but is when it is not known");
}

/* Of a long list some at a time are named, and what is there already is not looked at again. */
static void steps(struct store *s)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	uint64_t size = 96 * 1024 * 1024, from = 0, last = 0;
	struct store *other;
	struct blob_ref ref;
	struct sha256 *hash;
	uint32_t n, rounds = 0, most = 0;
	bool forward = true;
	if (blob_store(s, long_read, &size, &ref, NULL) < 0 || store_open_memory(&other) < 0)
		tap_bail("no memory");
	for (; rounds < 100; rounds++) {
		if (blob_missing_from(other, NULL, &a, &ref, &from, NULL, &hash, &n) < 0 || n == 0)
			break;
		forward = forward && from >= last && from < size;
		last = from;
		most = n > most ? n : most;
		give(s, other, hash, n);
	}
	ok(rounds > 3 && rounds < 20 && most == BLOB_MISSING_MAX,
	   "96 MiB go over in %u rounds of at most %u pieces", rounds, most);
	ok(forward && from == size, "each goes on where the last one was");
	ok(blob_missing(other, &a, &ref, &hash, &n) == 0 && n == 0, "nothing is left out");
	known(s, other, &ref);
	store_close(other);
}

/* ---- holes and changes ---- */

#define BLOCK 65536u /* of zeros: a hole */
#define ROOM (2u * 1024 * 1024)

/* A file, and what is known of it. */
struct file {
	uint8_t *data;
	uint64_t size;
	uint64_t before;  /* the size that base has */
	uint8_t *changed; /* for each byte */
	uint64_t read;    /* bytes */
};

static ssize_t file_read(void *userdata, void *data, size_t len, uint64_t offset)
{
	struct file *f = userdata;
	if (offset >= f->size)
		return 0;
	if (len > f->size - offset)
		len = (size_t)(f->size - offset);
	memcpy(data, f->data + offset, len);
	f->read += len;
	return (ssize_t)len;
}

static int file_data(void *userdata, uint64_t offset, uint64_t *ret)
{
	const struct file *f = userdata;
	while (offset < f->size && !f->data[offset])
		offset++;
	*ret = offset;
	return 0;
}

static uint64_t file_changed(void *userdata, uint64_t offset)
{
	const struct file *f = userdata;
	const uint8_t *p = offset < ROOM ? memchr(f->changed + offset, 1, ROOM - offset) : NULL;
	return p ? (uint64_t)(p - f->changed) : UINT64_MAX;
}

static void file_edit(struct prng *r, struct file *f)
{
	uint64_t at = prng_below(r, f->size + 1), len = prng_below(r, prng_chance(r, 30) ? ROOM / 3 : 9000);
	if (prng_chance(r, 20))
		at -= at % BLOCK;
	if (prng_chance(r, 20)) {
		uint64_t size = prng_chance(r, 20) ? prng_below(r, 40000) : at;
		memset(f->data + size, 0, ROOM - size);
		memset(f->changed + size, 1, ROOM - size);
		f->size = size;
		return;
	}
	if (at + len > ROOM)
		len = ROOM - at;
	if (prng_chance(r, 40))
		memset(f->data + at, 0, (size_t)len);
	else
		prng_fill(r, f->data + at, (size_t)len);
	memset(f->changed + at, 1, (size_t)len);
	if (at + len > f->size)
		f->size = at + len;
}

/* What is stored with the help of a base is what is stored without. */
static void updates(struct store *s, uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	struct file f = { .data = calloc(1, ROOM), .changed = calloc(1, ROOM) };
	struct blob_ref base = put(s, "", 0, SIZE_MAX), fresh, ref;
	uint64_t round = 0;
	struct hold h = { 0 };
	for (bool good = f.data && f.changed; good && round < rounds; round++) {
		for (uint64_t i = prng_below(&r, 4); i > 0; i--)
			file_edit(&r, &f);
		const struct blob_source src = { file_read, f.size, prng_chance(&r, 70) ? file_data : NULL,
						 &base, file_changed, &f, NULL };
		good = blob_write(s, &h, &src, &ref, NULL) == 0;
		fresh = put(s, f.data, f.size, SIZE_MAX);
		good = good && ref_equal(&ref, &fresh) && reads_back(s, &ref, f.data, f.size);
		if (!good)
			break;
		memset(f.changed, 0, ROOM);
		base = ref;
	}
	is_uint(round, rounds, "changes are stored as the whole would be");
	hold_done(&h);
	free(f.data);
	free(f.changed);
}

/* What is stored while bytes are added at the end is what storing the whole gives. */
static void growing(struct store *s, uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	struct file whole = { .data = calloc(1, ROOM), .changed = calloc(1, ROOM) };
	uint64_t round = 0, early = 0;
	for (bool good = whole.data && whole.changed; good && round < rounds; round++) {
		_cleanup_(blob_writer_freep) struct blob_writer *w = NULL;
		struct hold h = { 0 };
		struct blob_ref ref = { 0 }, again = { 0 }, fresh;
		whole.size = 0;
		for (uint64_t i = 1 + prng_below(&r, 6); i > 0; i--)
			file_edit(&r, &whole);
		struct file f = { .data = whole.data };
		const struct blob_source src = { .read = file_read, .userdata = &f,
						 .data = prng_chance(&r, 70) ? file_data : NULL };
		good = blob_writer_new(s, &h, &src, &w, NULL) == 0;
		while (good && f.size < whole.size) {
			f.size += 1 + prng_below(&r, prng_chance(&r, 50) ? 9000 : ROOM / 4);
			if (f.size > whole.size)
				f.size = whole.size;
			int rc = 1;
			while (rc > 0 && prng_chance(&r, 90))
				rc = blob_writer_more(w, f.size, NULL);
			good = rc >= 0;
		}
		early += f.read;
		good = good && blob_writer_end(w, f.size, &ref, NULL) == 0 && blob_writer_ended(w) &&
		       blob_writer_end(w, f.size, &again, NULL) == 0 && ref_equal(&ref, &again);
		fresh = put(s, whole.data, whole.size, SIZE_MAX);
		good = good && ref_equal(&ref, &fresh);
		hold_done(&h);
		memset(whole.data, 0, ROOM);
	}
	ok(round == rounds && early > 0, "a file that grows is stored as the whole would be");
	free(whole.data);
	free(whole.changed);
}

static void growing_fails(struct store *s, const uint8_t *data)
{
	_cleanup_(blob_writer_freep) struct blob_writer *w = NULL;
	struct source f = { data, ROOM / 2, SIZE_MAX, -EIO };
	const struct blob_source src = { .read = source_read, .userdata = &f };
	struct blob_ref ref;
	if (blob_writer_new(s, NULL, &src, &w, NULL) < 0)
		tap_bail("no memory");
	int rc = 1;
	while (rc > 0)
		rc = blob_writer_more(w, ROOM, NULL);
	is_errno(rc, -EIO, "bytes that cannot be read");
	f.len = ROOM;
	is_errno(blob_writer_more(w, ROOM, NULL), -ECANCELED, "end it");
	is_errno(blob_writer_end(w, ROOM, &ref, NULL), -ECANCELED, "for good");
}

static void touched(struct store *s, uint8_t *data)
{
	struct file f = { .data = data, .size = ROOM, .changed = calloc(1, ROOM) };
	struct blob_ref base = put(s, data, ROOM, SIZE_MAX), ref;
	struct list before = chunks_of(s, &base);
	const struct blob_source src = { file_read, ROOM, NULL, &base, file_changed, &f, NULL };
	if (!f.changed)
		tap_bail("no memory");
	ok(blob_write(s, NULL, &src, &ref, NULL) == 0 && ref_equal(&ref, &base) && f.read == 0,
	   "a blob that did not change is not read");
	memset(data + ROOM / 2, 'x', 100);
	memset(f.changed + ROOM / 2, 1, 100);
	int rc = blob_write(s, NULL, &src, &ref, NULL);
	struct list after = chunks_of(s, &ref);
	ok(rc == 0 && shared(&after, &before) + 3 >= after.n && f.read < ROOM / 3,
	   "100 bytes: %u of %u chunks stay, %u bytes are read", shared(&after, &before), after.n,
	   (unsigned)f.read);
	free(f.changed);
}

static bool next_is(struct blob *b, uint64_t offset, bool hole, uint64_t want)
{
	uint64_t got;
	return blob_next(b, offset, hole, &got) == 0 && got == want;
}

static int no_data(void *userdata, uint64_t offset, uint64_t *ret)
{
	const struct file *f = userdata;
	*ret = offset <= f->before ? f->before : f->size;
	return 0;
}

static ssize_t one_byte(void *userdata, void *data, size_t len, uint64_t offset)
{
	struct file *f = userdata;
	memset(data, 0, len);
	if (f->before >= offset && f->before - offset < len)
		memset((uint8_t *)data + (f->before - offset), 7, 1);
	f->read += len;
	return (ssize_t)len;
}

static void holes(struct store *s)
{
	_cleanup_free_ uint8_t *data = calloc(1, ROOM);
	struct blob_ref ref;
	struct blob *b;
	if (!data)
		tap_bail("no memory");
	memset(data + 3 * BLOCK + 5, 1, 10);
	ref = put(s, data, ROOM, SIZE_MAX);
	if (blob_open(s, &ref, &b) < 0)
		tap_bail("blob_open");
	uint64_t stored = 0;
	blob_stored(s, &ref, &stored);
	is_uint(stored, BLOCK, "blocks of zeros are holes");
	ok(next_is(b, 0, false, 3 * BLOCK) && next_is(b, 0, true, 0) &&
		   next_is(b, 3 * BLOCK + 9, true, 4 * BLOCK) &&
		   next_is(b, 4 * BLOCK, false, ROOM) && next_is(b, 3 * BLOCK, false, 3 * BLOCK),
	   "and found as such");
	blob_free(b);
	ok(reads_back(s, &ref, data, ROOM), "they read back as zeros");
	ref = put(s, data, 100, SIZE_MAX);
	ok(ref.size == 100 && reads_back(s, &ref, data, 100), "a few zeros are a chunk");

	/* 4 EiB with one byte in it. */
	struct file f = { .size = UINT64_C(1) << 62, .before = (UINT64_C(1) << 61) + 12345 };
	const struct blob_source src = { one_byte, f.size, no_data, NULL, NULL, &f, NULL };
	is_int(blob_write(s, NULL, &src, &ref, NULL), 0, "a huge file of nothing");
	ok(f.read < ROOM, "of which %u bytes are read", (unsigned)f.read);
	uint8_t got[2];
	ok(blob_open(s, &ref, &b) == 0 && blob_size(b) == f.size &&
		   blob_pread(b, got, 2, f.before) == 2 && got[0] == 7 && got[1] == 0 &&
		   next_is(b, 0, false, f.before - f.before % BLOCK), "reads back");
	blob_free(b);
}

/* A chunk whose bytes are not those that its name says: nobody reads them for the right ones. */
static void damaged(struct store *s, const uint8_t *data)
{
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	struct list l = chunks_of(s, &ref);
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	_cleanup_(buf_done) struct buf v = { 0 };
	_cleanup_(blob_freep) struct blob *blob = NULL;
	const struct sha256 *last = &l.hash[l.n - 1];
	uint8_t got[100];
	if (store_get(s, NULL, STORE_CHUNKS, last->b, SHA256_SIZE, &v) < 0 ||
	    store_batch_new(&b) < 0 || blob_open(s, &ref, &blob) < 0)
		tap_bail("no chunk");
	is_int(blob_pread(blob, got, sizeof(got), 0), sizeof(got), "a chunk before is read");
	v.data[v.len / 2] ^= 1;
	store_put(b, STORE_CHUNKS, last->b, SHA256_SIZE, v.data, v.len);
	if (store_write(s, b, NULL) < 0)
		tap_bail("no memory");
	is_errno((int)blob_pread(blob, got, 1, BIG - 1), -EBADMSG,
		 "a chunk that has rotted is not");
	v.data[v.len / 2] ^= 1;
	store_batch_clear(b);
	store_put(b, STORE_CHUNKS, last->b, SHA256_SIZE, v.data, v.len);
	if (store_write(s, b, NULL) < 0)
		tap_bail("no memory");
	is_int(blob_pread(blob, got, 1, BIG - 1), 1, "and is as soon as it is well again");
}

/* What is expected is in memory before it is read: it is not looked for any more. */
static void expected(const uint8_t *data)
{
	const size_t len = 100000;
	struct store *s;
	if (store_open_memory(&s) < 0)
		tap_bail("no memory");
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	struct list l = chunks_of(s, &ref);
	_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
	_cleanup_free_ uint8_t *got = malloc(len);
	struct blob *b;
	if (!got || blob_open(s, &ref, &b) < 0 || store_batch_new(&batch) < 0)
		tap_bail("no memory");
	/* Loads its manifest. */
	if (blob_pread(b, got, 10, 0) != 10)
		tap_bail("blob_pread");
	blob_expect(b, len, BIG / 2);
	blob_expect(b, 10, BIG);
	for (uint32_t k = 0; k < l.n; k++)
		store_delete(batch, STORE_CHUNKS, l.hash[k].b, SHA256_SIZE);
	if (store_write(s, batch, NULL) < 0)
		tap_bail("no memory");
	ok(blob_pread(b, got, len, BIG / 2) == (ssize_t)len &&
		   memcmp(got, data + BIG / 2, len) == 0, "what is expected is there");
	blob_expect(b, 10, BIG - 10);
	is_errno((int)blob_pread(b, got, 10, BIG - 10), -EHOSTDOWN, "what is not here is not");
	blob_free(b);
	store_close(s);
}

#define READERS 8

struct reader {
	pthread_t thread;
	struct blob *blob;
	const uint8_t *data;
	uint64_t seed;
	bool good;
};

/* From the beginning as the kernel does, then anywhere. */
static void *read_all(void *userdata)
{
	struct reader *r = userdata;
	struct prng prng = { r->seed };
	static _Thread_local uint8_t got[128 * 1024];
	r->good = true;
	for (uint64_t at = 0; at < BIG && r->good; at += sizeof(got)) {
		ssize_t n = blob_pread(r->blob, got, sizeof(got), at);
		r->good = n > 0 && memcmp(got, r->data + at, (size_t)n) == 0;
	}
	for (int i = 0; i < 300 && r->good; i++) {
		uint64_t at = prng_below(&prng, BIG);
		ssize_t n = blob_pread(r->blob, got, 4096, at);
		r->good = n > 0 && memcmp(got, r->data + at, (size_t)n) == 0;
	}
	return NULL;
}

static void side_by_side(struct store *s, const uint8_t *data)
{
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	struct reader r[READERS];
	_cleanup_(blob_freep) struct blob *blob = NULL;
	bool good = true;
	if (blob_open(s, &ref, &blob) < 0)
		tap_bail("no blob");
	for (unsigned i = 0; i < READERS; i++) {
		r[i] = (struct reader){ .blob = blob, .data = data, .seed = i };
		if (pthread_create(&r[i].thread, NULL, read_all, &r[i]) != 0)
			tap_bail("no thread");
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(r[i].thread, NULL);
		good &= r[i].good;
	}
	ok(good, "%d threads read one blob, each what is in it", READERS);
}

int main(int argc, char **argv)
{
	struct store *s;
	_cleanup_free_ uint8_t *data = malloc(BIG);
	struct prng prng = { 42 };
	tap_plan(49);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 60);
	if (store_open_memory(&s) < 0)
		tap_bail("no memory");
	prng_fill(&prng, data, BIG);
	sizes(s, data);
	cutting(s, data);
	transfer(s, data);
	formats(s, data);
	failures(s);
	steps(s);
	updates(s, seed, rounds);
	growing(s, seed, rounds);
	growing_fails(s, data);
	touched(s, data);
	holes(s);
	damaged(s, data);
	expected(data);
	side_by_side(s, data);
	memset(data, 'x', BIG);
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	ok(reads_back(s, &ref, data, BIG), "bytes that pack well");
	store_close(s);
	return tap_done();
}
