/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The list of a blob's chunks and holes: a tree of nodes, each kept as a chunk. Short lists without
 * holes are a single node. Formats at the head of manifest.c; shoal-format(7), "Blobs". */

#include "engine/arena.h"
#include "engine/chunk.h"

#define MANIFEST_LEVELS 9         /* of the highest tree */
#define MANIFEST_ENTRIES_MAX 4097 /* of a node */
#define MANIFEST_FLAT_MAX (64ull * 1024 * 1024) /* bytes of a blob whose list is not a tree */
#define MANIFEST_SIZE_MAX ((uint64_t)INT64_MAX)

struct manifest_entry {
	uint64_t offset; /* in the bytes of the node */
	uint64_t size;   /* bytes of the blob that it stands for */
	uint64_t data;   /* those of them that are not in holes; of a hole: 0 */
	struct sha256 hash; /* of a chunk or of a node; nothing for a hole */
};

struct manifest_node {
	unsigned level; /* 0: of chunks and holes; else of nodes one level below */
	uint32_t n;
	struct manifest_entry *entry; /* arena */
	uint64_t size, data;
};

/* Strict. -EBADMSG; -EPROTONOSUPPORT: a format of a later release. */
int manifest_decode(struct arena *a, const void *data, size_t len, struct manifest_node *ret);
/* What a node says of its size and of the bytes that are in no hole, the rest of it unread. */
int manifest_sizes(const void *data, size_t len, uint64_t *ret_size, uint64_t *ret_data);
/* In the format for trees, or (flat: level 0, no holes) the one without. */
void manifest_encode(const struct manifest_node *m, bool flat, struct buf *b);

/* ---- writing one, from its start to its end; memory for one node of each level ---- */

struct manifest_writer;
/* What it stores is pinned for h. */
int manifest_writer_new(struct store *s, struct hold *h, struct manifest_writer **ret);
void manifest_writer_free(struct manifest_writer *w);
int manifest_writer_chunk(struct manifest_writer *w, const struct sha256 *hash, uint32_t size,
			  struct err *e);
/* Holes that meet become one. */
int manifest_writer_hole(struct manifest_writer *w, uint64_t size, struct err *e);
/* The hash of the whole; nothing more is added after it. Not for an empty blob. */
int manifest_writer_end(struct manifest_writer *w, struct sha256 *ret, struct err *e);

/* ---- reading one; memory for one node of each level, loaded when needed ---- */

struct manifest_iter;
/* Of a blob of `size` bytes: up to CHUNK_MIN of them `hash` is the only chunk itself. -EHOSTDOWN:
 * not here; -EBADMSG, -EPROTONOSUPPORT. */
int manifest_iter_new(struct store *s, const struct sha256 *hash, uint64_t size,
		      struct manifest_iter **ret);
void manifest_iter_free(struct manifest_iter *it);
/* The chunk or hole at offset (less than the size), and where it begins: borrowed until the next
 * call. The same errors. */
int manifest_iter_seek(struct manifest_iter *it, uint64_t offset, const struct manifest_entry **ret,
		       uint64_t *ret_start);
/* The first offset from there on that is in a hole (hole) or is not; the size if there is none. */
int manifest_iter_next(struct manifest_iter *it, uint64_t offset, bool hole, uint64_t *ret);

/* ---- everything that a blob stands on ---- */

/* node: a node of the manifest, else a chunk. Of a node: 1 to go on with what it lists, which loads
 * it; 0 to pass it over. -errno ends the walk. */
typedef int (*manifest_visit_fn)(void *userdata, const struct sha256 *hash, uint64_t offset,
				 uint64_t size, bool node);
/* Nodes that a walk has come to. All zero: none. */
struct manifest_seen {
	uint64_t (*slot)[2]; /* open addressing; the first 128 bits of a hash; 0: free */
	size_t n, cap;
};
void manifest_seen_done(struct manifest_seen *s);
/* In order of their offsets, leaving out what ends at or before `from`; a node that lists others comes
 * before them, and only once. What is below a node that is not here is left out as well, and so is
 * what is in *seen already (NULL: nothing), where the nodes are added. */
int manifest_walk(struct store *s, const struct sha256 *hash, uint64_t size, uint64_t from,
		  struct manifest_seen *seen, manifest_visit_fn f, void *userdata);

DEFINE_CLEANUP(struct manifest_writer *, manifest_writer_free)
DEFINE_CLEANUP(struct manifest_iter *, manifest_iter_free)
