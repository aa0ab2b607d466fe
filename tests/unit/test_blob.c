/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blobs: cutting, manifests, reading at any place, what is missing, what a peer may send. */

#include <errno.h>
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

static int manifest_of(struct store *s, struct arena *a, const struct blob_ref *ref,
		       struct manifest *ret)
{
	/* A fresh store that lacks everything names the manifest; this one has it, so take it
	 * over into one that lacks the chunks and ask what is missing there. */
	_cleanup_(buf_done) struct buf b = { 0 };
	struct store *other;
	struct sha256 *hash;
	uint32_t n;
	if (store_open_memory(&other) < 0 || chunk_get(s, &ref->manifest, &b) < 0 ||
	    chunk_put(other, &ref->manifest, b.data, b.len) < 0 ||
	    blob_missing(other, a, ref, &hash, &n) < 0)
		return -1;
	ret->chunk = arena_array(a, n, sizeof(*ret->chunk));
	ret->n = n;
	for (uint32_t i = 0; i < n; i++)
		ret->chunk[i].hash = hash[i];
	store_close(other);
	return 0;
}

static uint32_t shared(const struct manifest *x, const struct manifest *y)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < x->n; i++)
		for (uint32_t k = 0; k < y->n; k++)
			if (!sha256_cmp(&x->chunk[i].hash, &y->chunk[k].hash)) {
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
	_cleanup_(arena_done) struct arena a = { 0 };
	struct manifest x, y;
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	if (manifest_of(s, &a, &ref, &x) < 0)
		tap_bail("no manifest");
	ok(x.n >= BIG / CHUNK_MAX && x.n <= BIG / CHUNK_MIN + 1, "%u chunks of 16 to 256 KiB", x.n);
	ok(x.n >= BIG / CHUNK_AVG / 2 && x.n <= 2 * BIG / CHUNK_AVG, "of about 64 KiB");
	/* The gear table and the masks are part of the format. */
	char hex[2 * SHA256_SIZE + 1];
	for (unsigned i = 0; i < SHA256_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", ref.manifest.b[i]);
	is_str(hex, "678356ce0c4a71380333e82532d6a6b02ba4a1388907b3655b39dc6892fc3a80", "the manifest of known bytes");
	memmove(data + 1000, data + 1007, BIG - 1007);
	ref = put(s, data, BIG - 7, SIZE_MAX);
	if (manifest_of(s, &a, &ref, &y) < 0)
		tap_bail("no manifest");
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
	uint8_t huge[40] = { 0xff, 0xff, 0xff, 0xff, 0x7f };
	v = (struct value){ VALUE_BLOB, huge, 5 + SHA256_SIZE };
	is_errno(blob_ref_decode(&v, &back), -EBADMSG, "a reference to more than a blob may have");

	struct chunk_ref chunk[2] = { { .size = 5 }, { .size = 7 } };
	struct manifest m = { chunk, 2, 12 }, got;
	_cleanup_(buf_done) struct buf b = { 0 };
	manifest_encode(&m, &b);
	ok(manifest_decode(&a, b.data, b.len, &got) == 0 && got.n == 2 && got.size == 12 &&
		   got.chunk[1].size == 7, "a manifest is decoded");
	bool refused = true;
	for (size_t n = 0; n < b.len; n++)
		refused = refused && manifest_decode(&a, b.data, n, &got) == -EBADMSG;
	ok(refused, "no part of it is");
	m.size = 13;
	buf_reset(&b);
	manifest_encode(&m, &b);
	is_errno(manifest_decode(&a, b.data, b.len, &got), -EBADMSG, "one whose sizes do not add up");
	m.size = 5;
	chunk[1].size = 0;
	buf_reset(&b);
	manifest_encode(&m, &b);
	is_errno(manifest_decode(&a, b.data, b.len, &got), -EBADMSG, "one with an empty chunk");
}

static void failures(struct store *s)
{
	struct source src = { NULL, BLOB_SIZE_MAX + 1, SIZE_MAX, 0 };
	struct blob_ref ref;
	struct err e = { 0 };
	is_errno(blob_store(s, source_read, &src, &ref, &e), -EFBIG, "more than a blob may have");
	ok(e.code == -EFBIG && strstr(e.message, "64 MiB"), "and why: %s", e.message);
	src = (struct source){ NULL, BLOB_SIZE_MAX, SIZE_MAX, 0 };
	is_int(blob_store(s, source_read, &src, &ref, NULL), 0, "just as much as it may have");
	src = (struct source){ NULL, 300000, SIZE_MAX, -EIO };
	is_errno(blob_store(s, source_read, &src, &ref, &e), -EIO, "a read that fails");
	store_fail(s, 1, -EIO);
	src = (struct source){ (const uint8_t *)"never seen before", 17, SIZE_MAX, 0 };
	ok(blob_store(s, source_read, &src, &ref, NULL) < 0, "a store that fails");
	store_fail(s, 0, 0);
}

int main(void)
{
	struct store *s;
	_cleanup_free_ uint8_t *data = malloc(BIG);
	struct prng prng = { 42 };
	tap_plan(31);
	if (store_open_memory(&s) < 0)
		tap_bail("no memory");
	prng_fill(&prng, data, BIG);
	sizes(s, data);
	cutting(s, data);
	transfer(s, data);
	formats(s, data);
	failures(s);
	memset(data, 'x', BIG);
	struct blob_ref ref = put(s, data, BIG, SIZE_MAX);
	ok(reads_back(s, &ref, data, BIG), "bytes that pack well");
	store_close(s);
	return tap_done();
}
