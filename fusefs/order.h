/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The order in which the changes of one batch are told. The replica tells all of them at once, in no
 * order; programs that watch see one name after another. So that the last word on each name says what
 * it is, and none is told of a directory that is gone:
 *
 *   0  files go, and directories whose name is taken in the same batch
 *   1  names move: what leaves a name before what takes it (of a ring, some one first)
 *   2  directories go, inner ones first
 *   3  what came, outer directories first; and everything else */

#include <stddef.h>
#include <stdint.h>

#include "engine/replica.h"

/* ret: n indices into c. -ENOMEM. */
int order_changes(const struct change *c, size_t n, uint32_t *ret);
