/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Files by path, deleted ones too, and their versions by the first digits of their ids: what the
 * methods cat, log, blame and restore share. The loop's thread. */

#include "tools/daemon.h"
#include "engine/deleted.h"

/* All that has or had a path. The lists are the call's arena. */
struct traces {
	const char *path;
	bool live;
	struct attr attr;           /* what has it now */
	struct id parent;           /* the directory, live or not */
	const char *name;           /* in it; "": the path is the root */
	const struct deleted **had; /* what had it, the last deleted first */
	uint32_t n;
	const struct deleted *all;  /* everything that was deleted, the last first */
	const struct deleted **by_id; /* the same */
	uint32_t n_all;
};

struct chosen {
	struct id node;
	const struct deleted *deleted; /* NULL: it is the one that is there */
	struct past past;
};

#define VERSION_DIGITS 4 /* at least */

/* What is there now; waits for what a program has just made. -ENOENT. */
int history_live(struct daemon *d, const char *path, struct attr *ret, struct err *e);
/* -ENOENT when nothing there is remembered; settle: after waiting for what a program has just made
 * or deleted. */
int history_traces(struct daemon *d, struct arena *a, const char *path, bool settle,
		   struct traces *ret, struct err *e);
/* The version whose id begins with these digits, of whatever has or had the path. -ENOENT; -EINVAL:
 * these are no digits, or they begin several. */
int history_choose(struct daemon *d, struct arena *a, const struct traces *t, const char *digits,
		   struct chosen *ret, struct err *e);
/* -ENOENT: it went meanwhile. */
int history_open(struct daemon *d, const struct chosen *c, const char *path, struct version **ret,
		 struct err *e);
/* "json", "blob", … */
const char *history_form(enum form form);
/* The path of something deleted, from the root; the directories above it may be deleted as well. */
int history_path(struct daemon *d, const struct traces *t, const struct deleted *x, struct buf *ret);
/* Was it deleted somewhere below the directory, which may be deleted itself? */
bool history_below(struct daemon *d, const struct traces *t, const struct deleted *x,
		   const struct id *dir);
