/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Drafts: bytes that a program saved over a document and that are no JSON. The document keeps its
 * version; the bytes are what everybody on this mount reads at the path, until a save parses.
 *
 * Records of the store: "f/D" node id -> u8 format (1), u32 line, u32 column, u64 offset, bytes
 * message, u64 mtime (ns), bytes base (version_encode; empty: none), u8 content (1 inline, 2
 * spool file), bytes content or name of the file. A draft without a document (of a new file, where
 * mounted strict; or it was deleted elsewhere) is a local file, with a record of fusefs/local.h. */

#include "fusefs/inode.h"

/* i's shared copy has become a draft, or a draft has changed: keeps it. i->lock held. */
int draft_store(struct fusefs *fs, struct inode *i);
/* A save made a version, or the file is gone. i->lock held. */
void draft_drop(struct fusefs *fs, struct inode *i);
/* Counted among the drafts, or not any more; for those without a record (strict: new files). */
void draft_mark(struct fusefs *fs, struct inode *i, bool drafted);
int draft_load(struct fusefs *fs);
/* Drafts whose documents were deleted elsewhere become files that only this device has, under the
 * name that the document had, and drafts as before; those whose directory was, go to the root.
 * fs->names held (or nobody is there yet), no inode lock. */
void drafts_astray(struct fusefs *fs);
/* Inodes with drafts, referenced, in *ret (given back with inodes_put). */
int drafts_get(struct fusefs *fs, struct inode ***ret, size_t *ret_n);
