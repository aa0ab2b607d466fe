/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The documents of directories as rows, all of one moment (replica-rows.c): what queries read.
 *
 * A directory's documents are the *.json files in it and below that hold JSON, as they show: under each of their names,
 * with the names that programs see. One thread at a time uses a struct rows and what it made. */

#include "engine/field.h"
#include "engine/replica.h"

struct rows;     /* a moment of the store, which stays there until rows_free */
struct rows_dir; /* a directory of that moment; belongs to it */

int rows_new(struct replica *r, struct rows **ret, struct err *e);
void rows_free(struct rows *x);

/* A path from the root without slashes at its ends; "" is the root. -ENOENT: there is none, or this device does not
 * show it; -ENOTDIR. */
int rows_dir(struct rows *x, const char *path, size_t len, const struct rows_dir **ret);
/* Directories in one, by their names as they show; what f returns other than 0 ends it. */
int rows_subdirs(struct rows *x, const struct rows_dir *dir, name_fn f, void *userdata);
/* Roughly how many documents there are in it and below. */
uint64_t rows_guess(struct rows *x, const struct rows_dir *dir);

struct row {
	struct id entry;   /* the node that has the name; one for each row */
	struct id version;
	int64_t mtime_ns;
	const struct rows_dir *dir; /* it is in */
	char name[NAME_MAX_BYTES + 1]; /* there, as it shows */
	size_t name_len;
	const uint8_t *doc; /* its value in STORE_DOCS, until the next step of where it came from; NULL: not asked for */
	size_t doc_len;
	bool indexed, whole; /* of index: it was looked for; it has to be decoded */
	struct field_index index;
};

/* An index of a collection (engine/index.h), in this moment. */
struct rows_index {
	struct id name;
	const char *const *pointer;
	const struct jsonpath *path;
	uint32_t n;
	bool complete; /* rows can be found by it */
	bool cut; /* some texts in it are: its order is not that of the values */
};

/* Those of the collection that a directory is in; NULL: of all. Belong to x. */
int rows_indexes(struct rows *x, const struct rows_dir *dir, const struct rows_index **ret, uint32_t *ret_n);

/* Values from `from` (inclusive) to `to` (exclusive), as engine/indexkey.h writes them. */
struct rows_range {
	struct buf from, to;
};
void rows_ranges_free(struct rows_range *range, uint32_t n);

struct rows_cursor;
/* All rows of a directory, in no order; flat: without those below. docs: their contents are wanted. */
int rows_scan(struct rows *x, const struct rows_dir *dir, bool flat, bool docs, struct rows_cursor **ret);
/* Those whose values in an index are in one of the ranges, which are taken over, in that order: ascending if the ranges are. */
int rows_find(struct rows *x, const struct rows_dir *dir, bool flat, bool docs, const struct rows_index *index,
	      struct rows_range *range, uint32_t n, struct rows_cursor **ret);
void rows_cursor_free(struct rows_cursor *c);
/* 1: *ret is the next one; 0: there is none; -errno. check (may be NULL) is called now and then; what it returns
 * other than 0 ends the scan. */
int rows_next(struct rows_cursor *c, struct row *ret, int (*check)(void *userdata), void *userdata, struct err *e);
/* That of a path from the directory. value is where its bytes are. -ENOENT. */
int rows_get(struct rows *x, const struct rows_dir *dir, bool flat, const char *path, size_t len, bool docs,
	     struct buf *value, struct row *ret);

/* Its path from a directory that it is below, or from the root (NULL), appended. */
void rows_path(const struct row *row, const struct rows_dir *from, struct buf *ret);
/* The document as it shows, appended. */
int rows_text(struct rows *x, const struct row *row, struct buf *ret, struct err *e);
/* The same as a tree in the arena. */
int rows_tree(struct rows *x, const struct row *row, struct arena *a, struct json **ret, struct err *e);
/* field_find in it. -ENOTSUP: it takes rows_tree. */
int rows_field(struct row *row, const struct jsonpath *p, struct value *ret, uint32_t *ret_steps);

DEFINE_CLEANUP(struct rows *, rows_free)
DEFINE_CLEANUP(struct rows_cursor *, rows_cursor_free)
