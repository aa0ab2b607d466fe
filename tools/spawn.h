/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Starting the daemon, and being told that it serves.
 *
 * The starter passes the write end of a pipe as --ready-fd. The daemon writes one line to it, "0"
 * when it serves or "ERRNO MESSAGE", and closes it. */

#include <limits.h>

#include "engine/err.h"
#include "tools/storedir.h"

/* Starts shoald with these arguments (argv[0] excluded; NULL-terminated) in a session of its own
 * and waits until it serves. What it prints before its log is open goes to the file log in dir.
 * Its failure becomes the returned error. */
int spawn_daemon(const struct storedir *dir, const char *const *args, struct err *e);

/* Where the daemon is: beside this program, where the build installs it, in $PATH. */
int spawn_find(char path[static PATH_MAX], struct err *e);
/* Becomes shoald. Returns only on failure. */
int spawn_exec(const char *const *args, struct err *e);

/* The daemon's part: tells the starter, if there is one (fd >= 0), and closes fd. NULL or code 0:
 * it serves. */
void spawn_tell(int fd, const struct err *e);
