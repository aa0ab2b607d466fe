/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Mount options, as fstab(5) and mount(8) hand them over. */

#include "engine/buf.h"
#include "engine/err.h"
#include "fusefs/fs.h"

/* text may be NULL. What libfuse has to know is appended to fuse as a comma list. */
int options_parse(const char *text, struct options *ret, struct buf *fuse, struct err *e);
