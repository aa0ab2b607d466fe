/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Small private files: read and written whole, never seen half-written, mode 0600. */

#include <stddef.h>

#include "engine/buf.h"
#include "engine/err.h"

/* Writes the file NAME in the directory dirfd: a temporary file made with O_EXCL and mode
 * 0600 is filled, fsynced and renamed over NAME, then the directory is fsynced. When it
 * returns 0 the file survives a power cut. -errno with e filled otherwise; any thread. */
int keyfile_write(int dirfd, const char *name, const void *data, size_t len, struct err *e);

/* Appends the contents of NAME to ret, which should be empty. Refuses what is not a regular
 * file of ours, may be read by others (-EPERM), or is longer than max bytes (-EFBIG). The
 * caller ends with keyfile_wipe(ret). ret is untouched on failure. */
int keyfile_read(int dirfd, const char *name, size_t max, struct buf *ret, struct err *e);

/* Removes NAME and fsyncs the directory; -ENOENT when there is none. */
int keyfile_remove(int dirfd, const char *name);

/* Clears the memory of a buffer that held a secret and frees it. */
void keyfile_wipe(struct buf *b);
