/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* user.shoal.seen_by: which devices are known to have, durably, what a file or directory is now. */

#include "fusefs/fs.h"

/* Appends their names. Nobody is named who is not known to have it: of what has been written and is no version
 * yet nobody is. i is referenced and not locked. -ENODATA: it is nothing that others could have. */
int seen_by(struct fusefs *fs, struct inode *i, struct buf *ret);
