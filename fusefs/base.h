/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The base of a save: which version had the writer read?
 *
 * A program reads a file, thinks, and writes a whole file. What it changed is the difference to
 * what it had *read*, not to what is newest when it writes. So each open for reading is noted:
 * which process (with group and session) saw which version of which node when. A save asks:
 *
 *   1. bytes were kept: the version that they are of; none were, but it was read through the handle,
 *      or written since: that version (the caller knows; it does not ask here);
 *   2. the version last opened for reading by the same process. What it opened only to copy into
 *      a backup (vim, emacs, nano) does not count while there is something better;
 *   3. what the same process group, then the same session, opened since shortly before the temp
 *      file was made. Of several versions the one whose difference to the new content is smallest
 *      and not empty; of equal ones that which was opened since the temp file was made, then that
 *      which was no base since it was opened, the older first: `jq . f > t && mv t f` is three processes. If nothing in the
 *      new content stands in any of them, the one opened last. When nobody of them opened it since
 *      then, what the session opened earlier counts, together with what 4 says: a copy was taken,
 *      edited for a while and brought back;
 *   4. for a rename by strangers, what the target was when the temp file was made (the caller's
 *      fallback, or what anybody here had opened before then);
 *   5. the version at open (the caller's fallback).
 *
 * Never the newest: a base that is too old deletes too little, one that is too new reverts
 * somebody's edit.
 *
 * Noted versions are referenced. Their number and bytes are bounded; the oldest note goes first,
 * but the last note of a file by a process that still runs goes after all others.
 * Thread-safe; never waits for a commit with its lock held. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/replica.h"
#include "fusefs/proc.h"

struct bases;

struct bases_limits {
	size_t notes;   /* at most */
	uint64_t bytes; /* of distinct versions, roughly */
};

int bases_new(const struct bases_limits *limits, struct bases **ret);
void bases_free(struct bases *b);

/* Process p opened node at version v for reading at now_ns (monotonic). Takes a reference. */
void bases_note(struct bases *b, const struct proc *p, const struct id *node, struct version *v,
		int64_t now_ns);
/* It has written that: the same, and no part of making a backup. */
void bases_wrote(struct bases *b, const struct proc *p, const struct id *node, struct version *v,
		 int64_t now_ns);
/* Process p makes a backup of the node: its notes of the last two seconds, and of the next two,
 * are of that copying. */
void bases_backup(struct bases *b, const struct proc *p, const struct id *node, int64_t now_ns);
/* A node goes on under another id (rename across collections). */
void bases_rename(struct bases *b, const struct id *from, const struct id *to);
/* The node is gone for good. */
void bases_forget(struct bases *b, const struct id *node);

struct base_question {
	struct id node;
	struct proc writer;
	int64_t born_ns;  /* when the temp file was made; 0: there is none */
	int64_t since_ns; /* strangers: only what was opened since then */
	int64_t earlier_ns; /* ... and if there is nothing, since then; 0: no */
	int64_t until_ns; /* and, for anybody at all, before then; 0: do not ask anybody */
	struct version *then; /* what the node was at until_ns, if the caller knows; borrowed */
	const void *data; /* the new content; NULL: not in memory, no difference is taken */
	size_t len;
};
/* A referenced version, or NULL: use the fallback. *ret_rule says which rule found it. */
struct version *bases_find(struct bases *b, const struct base_question *q, int *ret_rule);

/* Bytes of distinct versions held. */
uint64_t bases_bytes(struct bases *b);

/* How far apart two texts are, in pieces of JSON (a key, a value) that only one of them has,
 * wherever they stand; blanks outside strings do not count. 0: nothing differs but order. */
uint64_t base_distance(const void *a, size_t alen, const void *b, size_t blen);

struct saver;
struct loader;
void bases_save(struct bases *b, struct saver *s);
void bases_load(struct bases *b, struct loader *l);

DEFINE_CLEANUP(struct bases *, bases_free)
