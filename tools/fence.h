/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The fence: tells a store from a copy of it. The database keeps a fingerprint of the file `fence`
 * beside it: 16 random bytes in it, its inode number and change time, and the machine's id. No copying
 * program can give a file the inode and change time that it had, so a store that was copied or brought
 * back with all that is in it has another fence than its database says; one whose database alone was
 * brought back has as well, because the file is written anew at each start. The change time goes on
 * with chmod(2), chown(2) and a move to another file system, too: that costs a new incarnation, which does
 * no harm.
 *
 * What copies blocks (a snapshot of a virtual disk) is not seen here, but by the peers that know more
 * of this device than it does (engine/replica.h, replica_check_fence). */

#include <stdint.h>

#include "engine/err.h"

#define FENCE_SIZE 16

/* The fingerprint as it is now; all zero when there is no fence. dir: the store's directory. */
int fence_read(int dir, uint8_t ret[static FENCE_SIZE], struct err *e);
/* Writes a new fence, durably, and gives its fingerprint. */
int fence_renew(int dir, uint8_t ret[static FENCE_SIZE], struct err *e);
