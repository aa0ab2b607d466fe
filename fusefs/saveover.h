/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "fusefs/fs.h"

/* A document whose name is given to another file, a temporary one as a rule: its bytes are an edit of the document,
 * and `from` is the document's inode from then on; its own name is gone.
 *   from      LOCAL, or a NODE made here just now
 *   old       the document's inode until then, or NULL: whoever has that open goes on reading what he opened
 *   fallback  what the writer knew if nothing better can be found out, or NULL
 *   tid       who gives it the name
 * -EINVAL: refused; the bytes are the document's draft, from stays what it is. fs->names is held, and no
 * inode lock. */
int save_over(struct fusefs *fs, struct inode *from, struct inode *old, const struct attr *node,
	      struct version *fallback, pid_t tid);
