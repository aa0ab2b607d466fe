/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A copy of a directory with all below it: files with their permissions and times, symbolic links, directories. What is
 * there already with the same size and time is left as it is, so a copy that broke off goes on. Each file comes under
 * its name when it is whole (a save by way of a temporary file in a mount). No symbolic link of the target is followed.
 * What is only in the target stays. */

#include <stdint.h>

#include "engine/err.h"
#include "tools/progress.h"

struct copy_report {
	uint64_t created, changed, unchanged; /* files and symbolic links */
	uint64_t left_out;                    /* devices, sockets, pipes */
	uint64_t failed;
};

struct copy_config {
	int from, to;      /* directories; the caller's */
	/* What could not be copied; path from the top. Copying goes on. */
	void (*fail)(const char *path, const struct err *e, void *userdata);
	void *userdata;
};

/* Shows in bar how it goes, which it begins. -ENOSPC and -EDQUOT end it, with e; so does what concerns the
 * directories themselves. */
int copytree(const struct copy_config *config, struct progress *bar, struct copy_report *ret, struct err *e);
