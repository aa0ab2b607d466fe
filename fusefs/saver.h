/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What one daemon hands over to the next as bytes (fusefs/handover.h), and back. The modules that have
 * something to hand over write and read it with these, in the same order.
 *
 * A version stands there once, where it is met first, and as a number after that, so that what was one
 * object is one again. A descriptor stands there as its number: it stays open across execve(2). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/replica.h"
#include "engine/table.h"
#include "fusefs/proc.h"

struct saver {
	struct buf *out;
	struct replica *replica;
	struct table versions;
	uint64_t n_versions;
	int *fd; /* made to stay open */
	size_t n_fds, cap_fds;
	int error; /* the first one: nothing that was written counts then */
};

void save_id(struct saver *s, const struct id *id);
void save_text(struct saver *s, const char *text); /* may be NULL */
void save_bytes(struct saver *s, const void *data, size_t len);
void save_bool(struct saver *s, bool x);
void save_proc(struct saver *s, const struct proc *p);
void save_err(struct saver *s, const struct err *e);
void save_attr(struct saver *s, const struct attr *a);
void save_version(struct saver *s, const struct version *v); /* may be NULL */
void save_fd(struct saver *s, int fd);                        /* -1: none */
void save_fail(struct saver *s, int error);
static inline void save_u64(struct saver *s, uint64_t x)
{
	buf_u64(s->out, x);
}

/* The descriptors are closed by execve again: the next daemon does not begin. */
void saver_undo(struct saver *s);
void saver_done(struct saver *s);

struct loader {
	struct cursor in;
	struct replica *replica;
	struct version **version; /* referenced */
	size_t n_versions, cap_versions;
	int error; /* the first one; -EBADMSG: the bytes are not what was saved */
};

void load_id(struct loader *l, struct id *ret);
char *load_text(struct loader *l); /* the caller's; NULL: none, or it failed */
/* Borrowed; NULL: it failed. */
const void *load_bytes(struct loader *l, size_t *ret_len);
bool load_bool(struct loader *l);
void load_proc(struct loader *l, struct proc *ret);
void load_err(struct loader *l, struct err *ret);
void load_attr(struct loader *l, struct attr *ret);
/* Referenced, or NULL. */
struct version *load_version(struct loader *l);
int load_fd(struct loader *l);
void load_fail(struct loader *l, int error);
static inline uint64_t load_u64(struct loader *l)
{
	return cursor_u64(&l->in);
}
/* Nothing has failed so far. */
bool load_ok(struct loader *l);
/* How many of something follow. */
static inline uint64_t load_count(struct loader *l)
{
	uint64_t n = load_u64(l);
	return load_ok(l) ? n : 0;
}
void loader_done(struct loader *l);
