/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Contents of files that are not documents, kept outside the record: content-defined chunks
 * (FastCDC, Xia et al. 2016; 16/64/256 KiB) and a manifest that lists them (engine/manifest.h), all
 * kept as chunks (engine/chunk.h). A record refers to a manifest by a blob reference; to its only
 * chunk when the blob is at most CHUNK_MIN bytes. Blocks of zeros are holes, which are kept nowhere.
 * The same bytes give the same chunks, manifest and reference on every device, however they were
 * written. Memory: a few chunks, the nodes of one path of the manifest, and the 16 bytes that a hold
 * takes for each chunk. */

#include "engine/arena.h"
#include "engine/chunk.h"
#include "engine/crdt.h"
#include "engine/manifest.h"

#define BLOB_SIZE_MAX MANIFEST_SIZE_MAX /* what off_t can say */

struct blob_ref {
	uint64_t size;
	struct sha256 manifest; /* size <= CHUNK_MIN: the chunk; size 0: SHA-256 of nothing */
};

int blob_ref_encode(struct arena *a, const struct blob_ref *ref, struct value *ret);
int blob_ref_decode(const struct value *v, struct blob_ref *ret); /* -EBADMSG */

/* As pread: bytes, 0 at the end, -errno. */
typedef ssize_t (*blob_read_fn)(void *userdata, void *data, size_t len, uint64_t offset);

/* Bytes to be stored, and what is known of them without reading. */
struct blob_source {
	blob_read_fn read;
	uint64_t size; /* UINT64_MAX: as many as read gives */
	/* The first offset from there on whose byte may be other than zero, the size if there is none;
	 * NULL: anything may be. */
	int (*data)(void *userdata, uint64_t offset, uint64_t *ret);
	/* A blob that the bytes were made from, which is here and stays; NULL: none. */
	const struct blob_ref *base;
	/* The first offset from there on (less than both sizes) whose byte may differ from base's;
	 * UINT64_MAX: none. */
	uint64_t (*changed)(void *userdata, uint64_t offset);
	void *userdata;
	/* Has stored the beginning of these bytes already; NULL: nothing has. Only where a version is
	 * saved, not for blob_write. */
	struct blob_writer *begun;
};

/* Stores the chunks that are not there yet, then the manifest. What did not change since base is
 * neither read nor cut again, but for the chunks beside it. For a blob that a record will refer to:
 * nothing of it is deleted until the hold ends (h NULL: see pins_add). The hold is the caller's to
 * end, after an error as well. */
int blob_write(struct store *s, struct hold *h, const struct blob_source *src, struct blob_ref *ret,
	       struct err *e);
/* The same of which nothing is known. */
int blob_store_held(struct store *s, struct hold *h, blob_read_fn read, void *userdata,
		    struct blob_ref *ret, struct err *e);
int blob_store(struct store *s, blob_read_fn read, void *userdata, struct blob_ref *ret,
	       struct err *e);

/* The same piece by piece, while bytes are still added at the end: src has no base, and size 0. h is used
 * until blob_writer_free. After an error: -ECANCELED. */
struct blob_writer;
int blob_writer_new(struct store *s, struct hold *h, const struct blob_source *src,
		    struct blob_writer **ret, struct err *e);
void blob_writer_free(struct blob_writer *c);
/* Stores the next chunk or hole if the bytes below size decide it; these do not change any more. 1: so it
 * did, 0: not yet. */
int blob_writer_more(struct blob_writer *c, uint64_t size, struct err *e);
/* Stores the rest of so many bytes; when it is called again it gives the same. */
int blob_writer_end(struct blob_writer *c, uint64_t size, struct blob_ref *ret, struct err *e);
bool blob_writer_ended(const struct blob_writer *c);

/* An open blob for random access; thread-safe; remembers a few chunks. -EHOSTDOWN: not here;
 * -EBADMSG: damaged; -EPROTONOSUPPORT: of a later release. */
struct blob;
int blob_open(struct store *s, const struct blob_ref *ref, struct blob **ret);
void blob_free(struct blob *b);
ssize_t blob_pread(struct blob *b, void *data, size_t len, uint64_t offset);
/* Loads the chunks that these bytes are in, for whoever is going to read them; not all of them when many
 * read at a time. */
void blob_expect(struct blob *b, size_t len, uint64_t offset);
/* The first offset from there on that is in a hole (hole) or is not; the size if there is none. */
int blob_next(struct blob *b, uint64_t offset, bool hole, uint64_t *ret);
uint64_t blob_size(const struct blob *b);
/* Bytes that are in no hole, without opening it; the same errors. Not touched on failure. */
int blob_stored(struct store *s, const struct blob_ref *ref, uint64_t *ret);

/* What is missing here of ref, at most BLOB_MISSING_MAX hashes: of nodes of the manifest and of
 * chunks; n 0: nothing. What is here of it is not deleted until the hold ends (NULL: see pins_add). The
 * search begins at *from and goes on from there with the next call, when what was missing has come;
 * so what is below it must be known to be here. Nothing is looked for that `known` (may be NULL) has.
 * Believes STORE_HASHES, to read no chunk. */
#define BLOB_MISSING_MAX 1024
int blob_missing_from(struct store *s, struct hold *h, struct arena *a, const struct blob_ref *ref,
		      uint64_t *from, struct manifest_seen *known, struct sha256 **ret_hash,
		      uint32_t *ret_n);
/* The nodes of a blob that is here and stays: what they list need not be looked for in another
 * version of the file. Empty when one of them is not here after all. */
int blob_known(struct store *s, const struct blob_ref *ref, struct manifest_seen *ret);
/* The same, pins nothing, and looks for the chunks themselves. */
int blob_missing(struct store *s, struct arena *a, const struct blob_ref *ref,
		 struct sha256 **ret_hash, uint32_t *ret_n);

DEFINE_CLEANUP(struct blob *, blob_free)
DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)
