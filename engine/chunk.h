/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Chunks: byte strings of at most CHUNK_MAX bytes, kept in STORE_CHUNKS under the SHA-256 of their
 * plain bytes. Pieces of files and nodes of manifests (engine/manifest.h) are kept alike. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/pins.h"
#include "engine/sha256.h"
#include "engine/store.h"

#define CHUNK_MIN (16u * 1024)
#define CHUNK_AVG (64u * 1024)
#define CHUNK_MAX (256u * 1024)
#define CHUNK_WIRE_MAX (CHUNK_MAX + 64u * 1024) /* of the stored form */

/* Stores plain bytes under their hash, compressed if that saves at least an eighth; what is here
 * already is not written again. Pinned for h (NULL: without an owner). */
int chunk_store(struct store *s, struct hold *h, const uint8_t *data, size_t len,
		struct sha256 *ret_hash, struct err *e);
/* Plain bytes of a chunk into b (emptied first): -EHOSTDOWN when it is not here, -EBADMSG. */
int chunk_load(struct store *s, const struct sha256 *hash, struct buf *plain);
/* Stored form of a chunk for sending, and taking one from a peer: verified against its hash before
 * it is stored; -EBADMSG. */
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
/* Is the stored form what the hash says? -EBADMSG. */
int chunk_check(const uint8_t hash[static SHA256_SIZE], const void *data, size_t len);
