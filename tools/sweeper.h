/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Frees the chunks that nothing needs any more: a minute after the start, for what an earlier run
 * left, and then when files were overwritten, at most once an hour. A thread of its own, with no
 * lower priority than others: it takes locks that saves wait for. */

#include "engine/replica.h"
#include "tools/log.h"

struct sweeper;

int sweeper_new(struct replica *r, struct log *log, struct sweeper **ret, struct err *e);
/* Breaks off a sweep that runs: what it did not delete waits for the next start. The replica cannot
 * be swept any more. */
void sweeper_free(struct sweeper *s);
DEFINE_CLEANUP(struct sweeper *, sweeper_free)
