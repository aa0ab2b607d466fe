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
/* Who removes a directory removes its rules first, and perhaps the rest has not arrived yet: what is
 * ignored by rules that are gone is not shared before. */
#define RULES_GONE_NS (60 * SECOND_NS)

/* At once for names that are asked about from then on. The observer of a replica (change_fn),
 * userdata: the fusefs. */
void rules_observe(const struct change *change, size_t n, void *userdata);

/* The keeper comes for files that no rule names any more; now: whether it is time or not. 0: it is,
 * and changes from here on are told anew. Else when it will be. */
int64_t rules_due(struct fusefs *fs, bool now);

/* True when a rule says that this name in the directory is of this device alone. Not under
 * fs->lock. */
bool rules_ignore(struct fusefs *fs, const struct id *dir, const char *name, bool is_dir);
/* The same for a file, or it is a scrap of an editor (fusefs/name.h). */
bool rules_here(struct fusefs *fs, const struct id *dir, const char *name);

DEFINE_CLEANUP(struct rules *, rules_free)
