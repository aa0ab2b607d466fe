/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a version is made of, for replica-version.c, which keeps those of records,
 * replica-version-later.c and replica-version-free.c. */

#include "engine/replica-impl.h"

struct version {
	struct table_link link;
	atomic_uint refs;
	bool listed;                   /* in the table */
	atomic_int owed;               /* see replica-version-later.c */
	struct version *newer, *older; /* kept: newer is NULL otherwise */
	struct versions *versions;
	struct id node, id;
	uint32_t restamped; /* so many restamps were there when it was made */
	struct vv context;
	enum form form;
	bool styled; /* see version_styled */
	_Atomic(uint64_t) size;
	uint8_t *data;
	struct seq_base *anchors; /* text: what edits of it need */
	struct elements *elements; /* document: of its lists */
	struct elements *written;  /* the same of what was saved, see version_set_written */
	struct blob *blob;
	struct blob_ref ref;
	struct store *store;
	pthread_mutex_t lock; /* blob; what is owed */
};

/* The parts that all have. */
void version_init(struct replica *r, struct version *v, const struct id *node, const struct id *id);
/* It is whole: from now on version_unref is what ends it. */
void version_counted(const struct version *v);
void version_destroy(struct version *v); /* before that */
/* Frees what belongs to its bytes. */
void version_empty(struct version *v);
/* Takes v into the table, or gives the one that came first; v is the caller's until then. writes NULL, or
 * what r->writes has to be still: otherwise *ret is NULL. */
int version_list(struct replica *r, struct version *v, const unsigned long long *writes,
		 struct version **ret);
/* Form, size and bytes from a record; known as for version_make. */
int version_fill(struct replica *r, struct version *v, const struct record *rec,
		 struct rendering *known);
static inline bool version_whole(const struct version *v)
{
	return version_load(v) == 0;
}

/* NULL: it has been closed. */
struct replica *versions_replica(const struct versions *v);
/* A live file: as node_get. -EISDIR, -EINVAL: something else. */
int node_get_file(struct replica *r, const struct id *id, struct node *ret);
