/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Shared by the parts of replica_verify. */

#include "engine/replica-purge.h"

struct verify {
	struct replica *r;
	struct view *view;
	const struct store_snapshot *snap;
	verify_fn f;
	void *userdata;
	struct verify_report *report;
	struct store_batch *fix; /* NULL: only look */
	struct arena names;
	struct tree_node *node; /* of every record, by id once resolved */
	uint32_t n, cap;
	uint64_t *visit; /* the latest one of each node, as its place */
	struct buf visits; /* struct visit of all records */
	struct buf filed;    /* struct filed */
	struct buf links;    /* struct link_truth, sorted once all are there */
	struct want *want; /* directory entries that should be there */
	uint32_t n_want;
	uint64_t dots;     /* that should be there */
	bool lost;         /* something hangs in lost+found */
	bool unreadable;   /* some record is: what it stood for must not be taken away */
	struct marks marks; /* chunks that are needed */
	bool marked;        /* … as far as could be read */
	uint64_t listed, hashes; /* chunks in STORE_HASHES; entries of it */
};

/* Tells of one; fixed: what repairs it was put into v->fix, if that is there. */
void verify_problem(struct verify *v, bool fixed, const char *fmt, ...) _printf_(3, 4);

/* Calls f for each entry of a family, until it returns a negative number; that. */
typedef int (*verify_entry_fn)(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
			       size_t len);
int verify_each(struct verify *v, enum store_family family, verify_entry_fn f);

/* replica-verify-chunks.c. All of them; what is missing in STORE_HASHES, or is there in vain. */
int verify_chunks(struct verify *v);
