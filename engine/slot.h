/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Registers and slots: what record, patch and delta operations are made of. All functions
 * take immutable input and give new nodes in the arena that share what did not change: the
 * input's pointer comes back when nothing did. A slot that holds nothing is NULL. -ENOMEM is
 * the only error. */

#include "engine/crdt.h"

/* What a change overwrites: what its writer had seen, and what its own batch wrote before. */
struct seen {
	const struct vv *base;
	struct dot own; /* seq 0: none */
};

static inline bool seen_has(const struct seen *s, struct dot d)
{
	return (d.seq == s->own.seq && d.actor == s->own.actor) || vv_has(s->base, d);
}

static inline bool value_same(const struct value *x, const struct value *y)
{
	return x->kind == y->kind && x->len == y->len &&
	       (x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
}

/* Order of keys: by bytes, a prefix first. */
static inline int key_cmp(const char *x, size_t xn, const char *y, size_t yn)
{
	size_t n = xn < yn ? xn : yn;
	int r = n ? memcmp(x, y, n) : 0;
	return r ? r : xn < yn ? -1 : xn > yn;
}

/* Order of a register's entries: identifier, seq. */
int dot_cmp(const struct actors *actors, struct dot x, struct dot y);
/* Who wins: hlc, identifier, seq. */
int entry_rank(const struct actors *actors, const struct entry *x, const struct entry *y);

/* Entries that seen has leave, add (may be NULL) joins. *ret_took: an entry left. */
int reg_write(struct arena *a, const struct actors *actors, const struct reg *in,
	      const struct seen *seen, const struct entry *add, struct reg *ret, bool *ret_took);

/* The same for some of the entries. */
enum reg_part {
	REG_ALL,     /* those that seen has */
	REG_VALUES,  /* those of them that are no counters */
	REG_COUNTER, /* the writer's own counter */
};
int reg_write_part(struct arena *a, const struct actors *actors, const struct reg *in,
		   const struct seen *seen, enum reg_part part, const struct entry *add,
		   struct reg *ret);

/* Join of two registers with the contexts that go with them. *ret has x's memory if equal. */
int reg_join(struct arena *a, const struct actors *actors, const struct reg *x,
	     const struct vv *cx, const struct reg *y, const struct vv *cy, struct reg *ret);

static inline bool slot_empty(const struct slot *s)
{
	return s->val.n == 0 && s->look.n == 0 && s->seq_len == 0 && s->cleared.n == 0 &&
	       s->n == 0;
}

/* A new slot with the key, or a copy of s (may be NULL) to change. */
struct slot *slot_copy(struct arena *a, const struct slot *s, const char *key, size_t key_len);

/* Place of the key among the children: where it is or where it would go. */
uint32_t slot_place(const struct slot *s, const char *key, size_t key_len, bool *ret_found);

/* s (may be NULL) with one child replaced, added, or (child NULL) left out. */
int slot_put(struct arena *a, const struct slot *s, const char *key, size_t key_len,
	     struct slot *child, struct slot **ret);

/* Does an entry of val or look here or below belong to seen? */
bool slot_touched(const struct slot *s, const struct seen *seen);
/* The same without s itself. */
bool slot_touched_below(const struct slot *s, const struct seen *seen);
/* All values here and below are covered. */
bool slot_covered(const struct slot *s, const struct vv *seen);

/* Drops entries that seen has, here and below; removal marks as well if asked. */
int slot_filter(struct arena *a, struct slot *s, const struct seen *seen, bool drop_marks,
		struct slot **ret);

/* Removal of a slot: filters it and leaves the mark. *ret == s if nothing was there to take.
 *
 * One mark stands for all marks below: whoever minted it had the record with those, so a peer
 * that lacks one of them lacks this one. */
int slot_remove(struct arena *a, struct slot *s, const struct seen *seen, struct slot **ret);

/* Removal of everything below s; s itself stays. s is the caller's own copy. */
int slot_remove_below(struct arena *a, struct slot *s, const struct seen *seen);

/* The same of what makes s an object (VALUE_MAP) or a list (VALUE_LIST), each with a mark of its own:
 * what makes it the other stays. */
int slot_remove_type(struct arena *a, struct slot *s, enum value_kind kind, const struct seen *seen);

/* Drops the removal marks that floor covers. */
int slot_drop_marks(struct arena *a, struct slot *s, const struct vv *floor, struct slot **ret);

/* Number of removal marks here and below. */
size_t slot_marks(const struct slot *s);

/* The highest-ranked entry of all registers val here and below; NULL when there is none. */
const struct entry *slot_newest(const struct slot *s, const struct actors *actors);

/* After a change: bounds the number of removal marks of a record. */
int record_bound_marks(struct arena *a, struct record *r);
