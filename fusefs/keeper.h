/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The thread that does what becomes due: new files settle, tombstones are carried out, long-open
 * files go over to a newer version, forgotten writes are committed. */

#include "fusefs/fs.h"

int keeper_start(struct fusefs *fs);
void keeper_stop(struct fusefs *fs);
/* ino: what it is about, 0 for TIMER_TOMB and TIMER_STRAY. due_ns: monotonic. Duplicates do no harm. */
void keeper_add(struct fusefs *fs, enum timer_kind kind, uint64_t ino, int64_t due_ns);
/* 0 when nothing is due or waiting any more. settle: everything counts as due. */
int keeper_wait(struct fusefs *fs, bool settle, int64_t until_ns);
