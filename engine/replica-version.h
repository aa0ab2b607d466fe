/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a version is made of, for replica-version.c, which keeps those of records, and
 * replica-version-free.c. */

#include "engine/replica-impl.h"

struct version {
	struct table_link link;
	atomic_uint refs;
	bool listed;                   /* in the table */
	struct version *newer, *older; /* kept: newer is NULL otherwise */
	struct versions *versions;
	struct id node, id;
	uint32_t restamped; /* so many restamps were there when it was made */
	struct vv context;
	enum form form;
	bool styled; /* see version_styled */
	uint64_t size;
	uint8_t *data;
	struct seq_base *anchors; /* text: what edits of it need */
	struct elements *elements; /* document: of its lists */
	struct elements *written;  /* the same of what was saved, see version_set_written */
	struct blob *blob;
	struct blob_ref ref;
	struct store *store;
	pthread_mutex_t lock; /* blob */
};

/* The parts that all have. */
void version_init(struct replica *r, struct version *v, const struct id *node, const struct id *id);
/* It is whole: from now on version_unref is what ends it. */
void version_counted(const struct version *v);
void version_destroy(struct version *v); /* before that */
