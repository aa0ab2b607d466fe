/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Deletions that wait. Many programs save by removing a file, or renaming it aside, and creating it
 * again: taken at their word that is a deletion and a new document. So the name of a removed
 * file hides its node for a moment (GRACE_NS; renamed aside: while the process lives, up to
 * GRACE_ASIDE_NS); who creates or renames onto the name adopts the node; nobody does: it is
 * deleted then. A node that somebody else changed meanwhile is not deleted but shows again.
 *
 * Records of the store: "f/T" parent id, name -> u8 format (1), node id, version id. After a crash
 * they are carried out at once. All functions want fs->names held, except tombstone_next. */

#include "fusefs/local.h"

/* version may be NULL when version_id is meant. store: survives a crash. */
int tombstone_add(struct fusefs *fs, const struct id *parent, const char *name,
		  const struct attr *node, struct version *version, const struct proc *proc,
		  bool aside);
/* One that was handed over (fusefs/handover.h): taken over. -EEXIST, -ENOMEM. */
int tombstone_put(struct fusefs *fs, struct overlay_entry *e);
/* The name is created again: takes the tombstone away. False when there is none. *ret_version is
 * referenced, may be NULL. */
bool tombstone_take(struct fusefs *fs, const struct id *parent, const char *name,
		    struct id *ret_node, struct version **ret_version);
/* Deletes what is due; now_ns INT64_MAX: everything. For the timer that there is as long as anything waits,
 * and at the end. */
void tombstone_expire(struct fusefs *fs, int64_t now_ns);
/* Everything in that directory, due or not. */
int tombstone_bury_all(struct fusefs *fs, const struct id *parent);
/* The tombstone on this name is carried out now. */
int tombstone_bury(struct fusefs *fs, const struct id *parent, const char *name);
/* A renamed-aside document whose backup has been stored: the tombstone may be too. */
void tombstone_store(struct fusefs *fs, const struct id *parent, const char *name);
/* Carries out what a crash left. */
int tombstone_load(struct fusefs *fs);
void tombstones_done(struct fusefs *fs);
