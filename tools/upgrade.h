/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A daemon becomes its successor: the same process, another program, with nothing closed.
 *
 * The old one stops serving, writes what the new one has to know into a file in memory and replaces itself
 * with execve(2). The new one reads it, opens the store, and goes on. What is in it, behind the
 * format's number (u32, SHOALD_HANDOVER), with integers big-endian and texts as fusefs/saver.h has
 * them:
 *
 *   text version of the old one; u32 descriptors of the store's lock, of the control socket and of the
 *   client that asked for it (-1: none), text id of its question (JSON)
 *   u8 the daemon ends with its mount, text mount point (none: not mounted), text options, and to the end
 *   what fusefs_leave wrote */

#include "engine/buf.h"
#include "fusefs/fusefs.h"
#include "tools/ctlserver.h"
#include "tools/storedir.h"

/* Another number is another format. */
#define SHOALD_HANDOVER (1000u * 1 + FUSEFS_HANDOVER)

struct upgrade {
	const char *program; /* an absolute path */
	struct storedir *dir;
	struct ctlserver *control;
	struct call *who;    /* waits for the answer; NULL: nobody */
	struct fusefs *fs;   /* NULL: not mounted */
	const char *mount_dir, *mount_opts;
	bool mount_bound;
	const char *listen;  /* for its command line; NULL: none */
	bool foreground;
};

/* Runs the program, which says whether it can take over from this one. */
int upgrade_check(const char *program, struct err *e);
/* Returns only if that failed, and everything is as before then. */
int upgrade_exec(const struct upgrade *u, struct err *e);

/* In the successor. */
struct handover {
	struct buf data;
	char *version;
	int lock, listen, client; /* -1: none */
	char *id;                 /* NULL: none */
	bool mount_bound;
	char *mount_dir, *mount_opts; /* NULL: not mounted */
	const uint8_t *mount;
	size_t mount_len;
};

/* The descriptor is closed. */
int handover_read(int fd, struct handover *ret, struct err *e);
/* Who asked for it is told; e NULL: that it has come true. */
void handover_answer(struct handover *h, const struct err *e);
void handover_done(struct handover *h);
