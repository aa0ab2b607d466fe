/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What passes between the kernel and libfuse, and what libfuse 3.14 cannot say in it.
 *
 * Two flags of the answer to INIT are added where the kernel offers them:
 *
 *   PARALLEL_DIROPS      names of one directory are looked up at the same time
 *   HANDLE_KILLPRIV_V2   the kernel does not ask for security.capability before each write through its
 *                        pages, only before the first of an inode. What set-user-id and set-group-id
 *                        bits have to go at a write, a change of size or owner is taken away here then
 *                        (fusefs/handle.c, ops_attr.c) */

#include "fusefs/fs.h"

/* Between fuse_session_mount and the first request. -ENOMEM. */
int wire_attach(struct fusefs *fs);
