/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Cuts of whole trees; cuts themselves are in engine/replica.h. */

#include "engine/replica.h"

/* Adds what stands at top and everything that is below it now, with the directories above it: nobody finds
 * it without. top->entry is its name. At most max nodes: -E2BIG, and the cut has some of them. What is
 * removed meanwhile is left out. *ret_contents (may be NULL): contents of some of its files are no part of
 * their records, so that who holds the cut may lack them. -ENOENT: there is no record of top; -ENOMEM. */
int cut_tree(struct cut *c, struct replica *r, const struct attr *top, uint32_t *left, bool *ret_contents);
