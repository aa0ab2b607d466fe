/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The beginning of a workfile as it goes into the store before the save. One thread stores it without the
 * lock that guards the workfile; who has that lock, the owner, goes on adding bytes behind it, uses what came of
 * it, or drops it. Only the thread that stores calls workfile_ahead_store and _end. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/replica.h"

struct workfile_ahead;

/* Of the bytes of a file, whose descriptor is duplicated. */
int workfile_ahead_new(struct replica *r, int fd, struct workfile_ahead **ret);
/* The file is not any more what was or is being stored. NULL: nothing. */
void workfile_ahead_drop(struct workfile_ahead *a);
/* So many bytes do not change any more as long as it is not dropped: workfile_ahead_store and then _end is to be
 * called. -EALREADY: it is less than `least` more than before, somebody is at it, or it was used. */
int workfile_ahead_start(struct workfile_ahead *a, uint64_t size, uint64_t least);
/* Does it depend on bytes from this offset on? */
bool workfile_ahead_needs(const struct workfile_ahead *a, uint64_t offset);
/* What has been stored of it, when nobody is at that any more; waits for one chunk at most. From now on it is
 * all of the file. */
struct blob_writer *workfile_ahead_use(struct workfile_ahead *a);
bool workfile_ahead_used(const struct workfile_ahead *a);

void workfile_ahead_store(struct workfile_ahead *a);
void workfile_ahead_end(struct workfile_ahead *a);
