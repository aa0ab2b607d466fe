/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Names and documents at the moment of a snapshot, within the replica. */

#include "engine/replica-impl.h"

/* As dirent_find, names and dirent_shown, in the snapshot. */
int dirent_find_at(struct replica *r, const struct store_snapshot *snap, const struct id *parent,
		   const char *name, size_t len, struct id *ret);
/* Calls f for each live child, links too, as replica_names. */
int names_at(struct replica *r, const struct store_snapshot *snap, const struct id *parent, name_fn f,
	     void *userdata);
int dirent_shown_at(struct replica *r, const struct store_snapshot *snap, const struct node *n, char *ret);
/* replica-rows.c: a document as a tree, numbers as they show. */
int document_tree(struct replica *r, struct arena *a, const struct record *rec, struct json **ret, struct err *e);
