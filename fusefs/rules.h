/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the .shoalignore files of the mount say of new names. Such a file lies in any directory, is
 * an ordinary text that all devices have, and speaks of what is below it, as in git. What counts is
 * its newest version, whoever wrote it.
 *
 * The rules of directories that were asked for are kept, with the way up to the root, until
 * something changes that may matter to them. */

#include "fusefs/fs.h"

struct rules;

int rules_new(struct rules **ret);
void rules_free(struct rules *g);
/* At once for names that are asked about from then on; what has become shareable is seen to later.
 * The observer of a replica (change_fn), userdata: the fusefs. */
void rules_observe(const struct change *change, size_t n, void *userdata);

/* The keeper looks at what is there now: changes from here on are told anew. */
void rules_seen(struct fusefs *fs);

/* True when a rule says that this name in the directory is of this device alone. Not under
 * fs->lock. */
bool rules_ignore(struct fusefs *fs, const struct id *dir, const char *name, bool is_dir);
/* The same for a file, or it is a scrap of an editor (fusefs/name.h). */
bool rules_here(struct fusefs *fs, const struct id *dir, const char *name);

DEFINE_CLEANUP(struct rules *, rules_free)
