/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Ordered key-value storage in families, with atomic batches, snapshots and a write-ahead log
 * that is synced on request. Two implementations: RocksDB through its C API, and one in memory
 * for the simulator, which can lose what was not flushed.
 *
 * Keys are byte strings compared by memcmp. A batch is applied whole or not at all and in order
 * with other batches: after a crash the store holds a prefix of the batches written, at least up
 * to the last flush. All functions may be called by several threads. Failures: -EIO, -ENOMEM,
 * -ENOSPC; details in err where there is one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"

enum store_family {
	STORE_META,    /* format, actors, counters, scope vectors, peers */
	STORE_DOCS,    /* node id -> record */
	STORE_DOTS,    /* scope, actor number, seq, node id -> nothing */
	STORE_DIRENTS, /* derived: parent id, name -> the live nodes of that name */
	STORE_ATTRS,   /* derived: node id -> attributes */
	STORE_CHUNKS,  /* SHA-256 -> chunk or manifest; BlobDB */
	STORE_HASHES,  /* derived: SHA-256 -> size in STORE_CHUNKS, to be walked without the bytes */
	STORE_LOCAL,   /* what belongs to this device only */
	STORE_HISTORY, /* older versions */
	STORE_PICKS,   /* derived: what filters pick, with sums */
	STORE_FAMILIES
};

struct pins;
struct store;
struct store_batch;
struct store_snapshot;
struct store_iter;

/* Opens (creating it when create is set) the database in directory path. -EBUSY when another
 * process has it open, -EBADMSG when it is damaged or of an unknown format. */
int store_open(const char *path, bool create, struct store **ret, struct err *e);
int store_open_memory(struct store **ret);
/* Waits for background work; everything written is durable when it returns. */
void store_close(struct store *s);

/* Chunks that must stay though no record says so (engine/pins.h). Borrowed. */
struct pins *store_pins(struct store *s);

/* Memory store only: forgets batches after the last flush except the first `keep` of them, as a
 * power cut would. All snapshots and iterators must be released. Returns the number lost. */
uint64_t store_crash(struct store *s, uint64_t keep);
/* Memory store only: the n-th next write or flush fails with the given errno; 0: never. */
void store_fail(struct store *s, uint64_t nth, int error);

int store_batch_new(struct store_batch **ret);
void store_batch_free(struct store_batch *b);
void store_batch_clear(struct store_batch *b);
uint32_t store_batch_count(const struct store_batch *b);
/* Copies key and value. Out of memory is remembered and reported by store_write. */
void store_put(struct store_batch *b, enum store_family f, const void *key, size_t key_len,
	       const void *value, size_t len);
void store_delete(struct store_batch *b, enum store_family f, const void *key, size_t key_len);

/* Applies the batch; in the log, not yet on the disk. The batch may be reused after a clear. */
int store_write(struct store *s, struct store_batch *b, struct err *e);
/* Everything written before is on the disk when it returns. Concurrent calls share one sync. */
int store_flush(struct store *s, struct err *e);

/* Replaces the contents of value. -ENOENT. snapshot NULL: newest. */
int store_get(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
	      const void *key, size_t key_len, struct buf *value);
bool store_has(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
	       const void *key, size_t key_len);

int store_snapshot(struct store *s, struct store_snapshot **ret);
void store_snapshot_free(struct store *s, struct store_snapshot *snap);

/* Entries with lower <= key < upper in order; upper_len 0: to the end of the family. Positioned
 * on the first one. key and value stay valid until the next step. */
int store_iter_new(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
		   const void *lower, size_t lower_len, const void *upper, size_t upper_len,
		   struct store_iter **ret);
void store_iter_free(struct store_iter *it);
bool store_iter_valid(const struct store_iter *it);
void store_iter_next(struct store_iter *it);
const uint8_t *store_iter_key(const struct store_iter *it, size_t *ret_len);
const uint8_t *store_iter_value(const struct store_iter *it, size_t *ret_len);
/* 0, or why the iteration ended early. */
int store_iter_error(const struct store_iter *it);

/* The smallest key greater than every key with this prefix; false if there is none (all 0xff). */
bool store_prefix_end(const void *prefix, size_t len, struct buf *ret);

/* Chunks were deleted: gives their room back to the disk, which takes a while and, to gather what is left of them,
 * up to `room` bytes more for that while. -EIO, -ENOSPC. */
int store_compact(struct store *s, uint64_t room, struct err *e);

/* Bytes on disk, for status. */
uint64_t store_size(struct store *s);

DEFINE_CLEANUP(struct store_batch *, store_batch_free)
DEFINE_CLEANUP(struct store_iter *, store_iter_free)
