/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Documents as trees, for those who look at single values of them: who walks through a document asks
 * for each of its values. The trees of the versions that were asked for last are kept. */

#include "engine/json.h"
#include "fusefs/inode.h"

#define DOCTREES_BYTES (64u * 1024 * 1024) /* of memory, all that are kept: DOCTREES at most */

struct doctree;

/* The newest version of a node, whose attributes were just read; referenced. -EINVAL: it is no
 * document; else as replica_read. */
int doctree_get(struct fusefs *fs, const struct attr *node, struct doctree **ret);
struct doctree *doctree_ref(struct doctree *t);
void doctree_unref(struct doctree *t); /* NULL is fine */
struct version *doctree_version(const struct doctree *t); /* borrowed, as is the next */
const struct json *doctree_root(const struct doctree *t);
/* The element i of an array in the tree; NULL: there is none. Constant time. */
const struct json *doctree_at(const struct doctree *t, const struct json *array, size_t i);

void doctrees_done(struct fusefs *fs);

DEFINE_CLEANUP(struct doctree *, doctree_unref)
