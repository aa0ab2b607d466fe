/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Contents of files that are not documents, kept outside the record: content-defined chunks
 * (FastCDC, Xia et al. 2016; 16/64/256 KiB) and a manifest that lists them, both stored in
 * STORE_CHUNKS under the SHA-256 of their plain bytes, with a leading type byte that says how they
 * are packed. A record refers to a manifest by a blob reference; to its only chunk when the
 * blob is at most CHUNK_MIN bytes. The same bytes give the same chunks, manifest and reference on
 * every device. */

#include "engine/arena.h"
#include "engine/crdt.h"
#include "engine/pins.h"
#include "engine/sha256.h"
#include "engine/store.h"

#define BLOB_SIZE_MAX (64ull * 1024 * 1024)
#define CHUNK_MIN (16u * 1024)
#define CHUNK_AVG (64u * 1024)
#define CHUNK_MAX (256u * 1024)

struct blob_ref {
	uint64_t size;
	struct sha256 manifest; /* size <= CHUNK_MIN: the chunk; size 0: SHA-256 of nothing */
};

int blob_ref_encode(struct arena *a, const struct blob_ref *ref, struct value *ret);
int blob_ref_decode(const struct value *v, struct blob_ref *ret); /* -EBADMSG */

struct chunk_ref {
	struct sha256 hash;
	uint32_t size;
};

struct manifest {
	struct chunk_ref *chunk; /* arena */
	uint32_t n;
	uint64_t size;
};

int manifest_decode(struct arena *a, const void *data, size_t len, struct manifest *ret);
void manifest_encode(const struct manifest *m, struct buf *b);

/* Reads up to BLOB_SIZE_MAX bytes through `read` (as pread: bytes, 0 at the end, -errno), stores
 * the chunks that are not there yet as it goes, then the manifest. -EFBIG. */
typedef ssize_t (*blob_read_fn)(void *userdata, void *data, size_t len, uint64_t offset);
int blob_store(struct store *s, blob_read_fn read, void *userdata, struct blob_ref *ret,
	       struct err *e);
/* The same for a blob that a record will refer to: nothing of it is deleted until the hold ends.
 * The hold is the caller's to end, after an error as well. */
int blob_store_held(struct store *s, struct hold *h, blob_read_fn read, void *userdata,
		    struct blob_ref *ret, struct err *e);

/* An open blob for random access; thread-safe; remembers the manifest and the last chunk. */
struct blob;
int blob_open(struct store *s, const struct blob_ref *ref, struct blob **ret); /* -EHOSTDOWN: not here */
void blob_free(struct blob *b);
ssize_t blob_pread(struct blob *b, void *data, size_t len, uint64_t offset);
uint64_t blob_size(const struct blob *b);

/* What is missing here of ref: the manifest's hash, or the hashes of chunks; n 0: nothing. */
int blob_missing(struct store *s, struct arena *a, const struct blob_ref *ref,
		 struct sha256 **ret_hash, uint32_t *ret_n);
/* The same, and what is here of it is not deleted until the hold ends. */
int blob_missing_held(struct store *s, struct hold *h, struct arena *a, const struct blob_ref *ref,
		      struct sha256 **ret_hash, uint32_t *ret_n);
/* Stored form of a chunk or manifest for sending, and taking one from a peer: verified against its
 * hash before it is stored; -EBADMSG. */
int chunk_get(struct store *s, const struct sha256 *hash, struct buf *ret);
int chunk_put(struct store *s, const struct sha256 *hash, const void *data, size_t len);
/* Deletes the chunks but those that are pinned (engine/pins.h), in one batch. hash is in ascending
 * order, n at most CHUNKS_DELETE_MAX. Sets gone[i]. */
#define CHUNKS_DELETE_MAX 512
int chunks_delete(struct store *s, const struct sha256 *hash, uint32_t n, bool *gone, struct err *e);
/* Value of STORE_HASHES: the size of the stored form. -EBADMSG. */
int chunk_size_decode(const void *data, size_t len, uint64_t *ret);
/* Adds the entry of STORE_HASHES that a chunk of this size must have. */
void chunk_size_put(struct store_batch *b, const uint8_t hash[static SHA256_SIZE], uint64_t size);
/* Manifest and chunks that ref stands for: the hash in ref apart, which is always one of them.
 * -EHOSTDOWN when the manifest is not here. */
int blob_chunks(struct store *s, struct arena *a, const struct blob_ref *ref, struct manifest *ret);
/* Is the stored form what the hash says? -EBADMSG. */
int chunk_check(const uint8_t hash[static SHA256_SIZE], const void *data, size_t len);
#define CHUNK_WIRE_MAX (CHUNK_MAX + 64u * 1024) /* a manifest of BLOB_SIZE_MAX fits as well */
