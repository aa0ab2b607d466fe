/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The replicated record of one node of the tree: where it hangs (edges) and what it holds (a
 * tree of slots), as a delta-state CRDT (Almeida, Shoker, Baquero 2018) with one version
 * vector as causal context.
 *
 * A slot is a place for a value: the document's root, a key of an object, a piece of metadata.
 * It has
 *   val       multi-value register: the entries nobody who saw them has overwritten,
 *   look      multi-value register of the same kind: the position among its siblings and
 *             layout hints; does not make a slot live,
 *   seq       the characters of a text (engine/seq.h), shown while VALUE_TEXT or VALUE_CHARS is; joins
 *             by itself,
 *   child     the slots of an object's keys, and of a list's elements (engine/element.h),
 *   cleared   the dots of removals that took entries away here or below.
 * A slot is live while val holds an entry or a child is live. Identity is the path: two devices
 * that create the same key create the same slot.
 *
 * Shown value of a slot: the entry with the highest rank (hlc, actor identifier, seq). The entry
 * VALUE_MAP (and live members without one) means "an object"; its rank is the highest of the MAP
 * entries and of everything live below. The same for VALUE_LIST and elements. The other entries are
 * conflicts.
 *
 * Counters (engine/counter.h) do not compete: what is shown of a number is it and all of them together.
 *
 * Write at a slot with base context B and a new dot d: entries covered by B leave val, in the
 * whole subtree if the value is replaced; the new entry joins. Removal the same without an
 * entry. What B does not cover stays: it was written by somebody whom the writer had not seen.
 *
 * Join of a record (context C) with a delta (from F, to T), possible when C covers F: in each
 * register that the delta carries, an entry survives if both have it, or if only one has it and
 * the other's context does not cover its dot. A register that the delta does not carry is kept,
 * or counts as carried and empty below a slot marked complete. Edges: the highest stamp per
 * parent, then the newest EDGES_MAX, where the edge to TRASH is never the one that goes; `seen` of
 * two edges to TRASH is joined, so that what two devices deleted apart stays deleted. If the result is
 * purged (engine/purged.h), it has no slots. Visits: the
 * latest per parent, then the latest EDGES_MAX, by themselves: if they went with edges, one that was
 * dropped with an edge would be missing or not when a newer edge leads there, as the order of joins was.
 *
 * A delta for a peer that holds F carries the registers with a dot beyond F, whole, and marks a
 * slot complete when `cleared` has a dot beyond F. Removal marks are bounded (CLEARED_MAX a
 * record): `floor` is joined with the dots of those dropped, and a peer that does not cover floor
 * is sent the whole record.
 *
 * Everything decoded or made here lives in the caller's arena and is immutable after that; keys
 * and values may refer to the decoded bytes. No locks: a record belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/arena.h"
#include "engine/buf.h"
#include "engine/clock.h"
#include "engine/err.h"
#include "engine/id.h"
#include "engine/vv.h"

#define EDGES_MAX 4
#define CLEARED_MAX 256
#define RECORD_DEPTH_MAX 600 /* slots below slots: JSON's 512 and the record's own */
#define NAME_MAX_BYTES 255

enum value_kind {
	VALUE_NULL = 0,
	VALUE_FALSE = 1,
	VALUE_TRUE = 2,
	VALUE_NUMBER = 3, /* data: lexeme */
	VALUE_STRING = 4, /* data: unescaped UTF-8 */
	VALUE_ARRAY = 5,  /* data: JSON text of an array that merges as one value, as written */
	VALUE_MAP = 6,    /* an object: its keys are the slot's children */
	VALUE_BLOB = 7,   /* data: blob reference (engine/blob.h) */
	VALUE_LINK = 8,   /* data: target of a symbolic link */
	VALUE_INT = 9,    /* data: zigzag varint: mode, time in nanoseconds */
	VALUE_BYTES = 10, /* data: extended attribute, style, source, look */
	VALUE_TEXT = 11,  /* a text: the slot's sequence */
	VALUE_LIST = 12,  /* an array: its elements are the slot's children (engine/element.h) */
	VALUE_COUNTER = 13, /* data: lexeme: what one actor has added (engine/counter.h) */
	VALUE_CHARS = 14,   /* a string: the slot's sequence (engine/chars.h) */
	VALUE_NODE = 15,    /* data: id of the node that a hard link names (engine/replica-link.c) */
	/* A decoder refuses what it does not know with -EPROTONOSUPPORT. */
};

/* What a JSON document, or a part of one, can be. */
static inline bool value_is_json(enum value_kind kind)
{
	return kind <= VALUE_MAP || kind == VALUE_LIST || kind == VALUE_COUNTER ||
	       kind == VALUE_CHARS;
}

/* What adds up to a number. */
static inline bool value_is_number(enum value_kind kind)
{
	return kind == VALUE_NUMBER || kind == VALUE_COUNTER;
}

/* What lies in the slot's children. */
static inline bool value_is_container(enum value_kind kind)
{
	return kind == VALUE_MAP || kind == VALUE_LIST;
}

struct value {
	enum value_kind kind;
	const uint8_t *data;
	size_t len;
};

#define VALUE_INT_MAX 10 /* bytes of a VALUE_INT */

/* The number in a VALUE_INT; -EBADMSG for anything else. */
int value_int(const struct value *v, int64_t *ret);
/* The value of a number; its bytes are in data. */
struct value value_of_int(int64_t n, uint8_t data[static VALUE_INT_MAX]);

struct entry {
	struct dot dot;
	uint64_t hlc;
	struct value value;
};

struct reg {
	struct entry *entry; /* sorted by (actor identifier, seq), dots unique */
	uint32_t n;
};

enum {
	SLOT_VAL = 1,      /* in a delta: val is carried (maybe empty) */
	SLOT_LOOK = 2,     /* in a delta: look is carried */
	SLOT_COMPLETE = 4, /* in a delta: everything in and below this slot is carried, but for
			    * what is in a sequence, which never loses anything */
};

struct slot {
	const char *key; /* NULL for the top */
	size_t key_len;
	uint8_t carried; /* deltas only */
	struct reg val;
	struct reg look;
	const uint8_t *seq;  /* encoded (engine/slotseq.h); in a delta: a part */
	size_t seq_len;
	struct vv cleared;   /* arena */
	struct slot **child; /* sorted by key bytes (memcmp, shorter first), unique */
	uint32_t n;
};

/* Keys below a record's top slot. */
#define TOP_CONTENT "c" /* the JSON document, blob or link */
#define TOP_MODE "m"    /* VALUE_INT: permission bits 07777 */
#define TOP_MTIME "t"   /* VALUE_INT: ns since 1970 set by utimens; VALUE_NULL: the entry's own hlc */
#define TOP_STYLE "s"   /* VALUE_BYTES: encoded struct json_style */
#define TOP_SOURCE "o"  /* VALUE_BYTES: exact bytes that style does not reproduce */
#define TOP_XATTR "x"   /* children: extended attributes, VALUE_BYTES */
#define TOP_TYPES "d"   /* children: declarations, VALUE_BYTES (engine/types.h); of a collection */

enum node_kind { NODE_DIR = 1, NODE_FILE = 2, NODE_LINK = 3 };

/* When the node last came to a directory, or left it. A directory's time comes of it. */
struct visit {
	struct id parent;
	uint64_t us; /* since 1970 */
	struct dot dot;
};

struct edge {
	struct id parent;
	uint64_t counter;
	struct dot dot; /* dot.actor is the actor of the stamp */
	const char *name;
	size_t name_len;
	struct vv seen; /* edge to TRASH: the context that removers saw, their dots included; arena */
};

struct record {
	struct id id;
	struct id scope; /* collection at birth; never changes */
	enum node_kind kind;
	struct vv ctx;   /* arena */
	struct vv floor; /* arena */
	struct edge edge[EDGES_MAX]; /* newest first: (counter, actor id, name, parent) */
	uint32_t n_edges;
	struct visit visit[EDGES_MAX]; /* latest first: (us, actor id, seq, parent) */
	uint32_t n_visits;
	struct slot *top; /* NULL: nothing yet */
};

/* Two fixed nodes: the root of the tree, and the place of the deleted. lost+found is derived. */
extern const struct id NODE_ROOT;  /* 00…01 */
extern const struct id NODE_TRASH; /* 00…02 */
extern const struct id NODE_LOST;  /* 00…03 */
/* Where files are that have hard links: no directory, and shown nowhere (engine/replica-link.c). */
extern const struct id NODE_INODES; /* 00…05 */
/* An ordinary node in every respect but its id: holds what is declared for the root. */
extern const struct id NODE_TYPES; /* 00…04 */

/* A record with nothing in it. */
int record_new(struct arena *a, const struct id *id, const struct id *scope, enum node_kind kind,
	       struct record **ret);

/* Storage form: format version first, local actor numbers, batches (actor, seq, hlc) once in a
 * table. Decoding is strict and bounded: -EBADMSG with a message in e, -EPROTONOSUPPORT for an
 * unknown format version or value kind. The record refers to data. */
void record_encode(const struct record *r, const struct actors *actors, struct buf *b);
int record_decode(struct arena *a, const struct actors *actors, const void *data, size_t len,
		  struct record **ret, struct err *e);

/* The same without the slots: what it costs does not go by what the record holds. */
int record_decode_edges(struct arena *a, const struct actors *actors, const void *data, size_t len,
			struct record **ret, struct err *e);

/* Version identifier: a fingerprint of the context. */
void record_version(const struct record *r, const struct actors *actors, struct id *ret);

/* Slot lookup. slot_find returns NULL when there is none. */
struct slot *slot_find(const struct slot *s, const char *key, size_t key_len);
bool slot_live(const struct slot *s);
/* The shown entry, NULL when the slot is not live or when live children alone make it an object or a
 * list; *ret_kind says what is shown (VALUE_MAP or VALUE_LIST in that case). VALUE_NUMBER: the number
 * is what number_shown says; where only counters are left, the entry is the newest of them. False when
 * nothing is live. */
bool slot_shown(const struct slot *s, const struct actors *actors, const struct entry **ret_entry,
		enum value_kind *ret_kind);
/* Highest-ranked entry of a register, NULL when empty. */
const struct entry *reg_shown(const struct reg *r, const struct actors *actors);

/* The stamp of the batch that makes a change. */
struct stamp {
	struct dot dot;
	uint64_t hlc;
};

/* Changes. They return a new record that shares what did not change; r is left as it was. ctx of
 * the result covers the stamp if anything changed; if nothing changed *ret == r. base NULL means
 * the record's own context ("I saw everything").
 *
 * record_set writes a metadata register: path is one top key, or TOP_XATTR and a name. value
 * NULL removes it. A content write also sets TOP_MTIME (VALUE_NULL) through record_touch. */
int record_set(struct arena *a, const struct actors *actors, const struct record *r,
	       const char *top, const char *name, size_t name_len, const struct value *value,
	       const struct vv *base, const struct stamp *st, const struct record **ret);

/* Replaces the whole content by one value that is not an object (a blob, a link, …), or by
 * nothing (value NULL). The layout of a JSON document that was there goes, too. */
int record_set_content(struct arena *a, const struct actors *actors, const struct record *r,
		       const struct value *value, const struct vv *base, const struct stamp *st,
		       const struct record **ret);

/* Takes away all that r holds, content and metadata: a deleted file that is made anew begins with
 * nothing. What is the same again must be written anew, because a peer that made the file anew as well
 * has taken the old one away. */
int record_clear(struct arena *a, const struct record *r, const struct stamp *st,
		 const struct record **ret);

/* Sets the time of change to the stamp's, over whatever was there. record_set and
 * record_set_content of content and record_patch do it themselves. */
int record_touch(struct arena *a, const struct actors *actors, const struct record *r,
		 const struct stamp *st, const struct record **ret);

/* Time of change in nanoseconds since 1970; 0 when the record has none. One set by utimens is
 * given exactly; otherwise it is that of the newest change of content, with a fingerprint of the
 * content below the microsecond, so that a merge shows another time. */
int64_t record_mtime_ns(const struct record *r, const struct actors *actors);
/* The same, if somebody knows the fingerprint, which is the sum over all entries of what
 * record_mtime_ns looks at: so a change can be told from the entries that came and went. */
int64_t record_mtime_of(const struct record *r, const struct actors *actors, uint64_t sum);
uint64_t record_entries_sum(const struct record *r, const struct actors *actors);
uint64_t dot_sum(const struct actors *actors, struct dot d); /* what an entry adds */
/* Permission bits, `normal` when none were set. */
uint32_t record_mode(const struct record *r, const struct actors *actors, uint32_t normal);

/* Hangs the node at parent under name, or deletes it (parent NODE_TRASH, name empty). counter is
 * one more than the highest in the record. The stamp's hlc is the time that the directories show.
 * -EINVAL for a name that no file can have; -EOVERFLOW: counters end here. */
int record_move(struct arena *a, const struct actors *actors, const struct record *r,
		const struct id *parent, const char *name, size_t name_len, const struct stamp *st,
		const struct record **ret);

/* A file is revived when a live content entry is not covered by the TRASH edge's `seen`. True
 * when the newest edge is not TRASH, or the content is not covered. Directories: newest edge
 * only (their live children are the tree's business). */
bool record_alive(const struct record *r);

/* Calls f for every conflict: a slot with more than one entry whose values differ, or hidden
 * typed children. pointer is the JSON pointer inside the content. */
typedef int (*conflict_fn)(const char *pointer, const struct entry *shown, const struct entry *lost,
			   void *userdata);
int record_conflicts(const struct record *r, const struct actors *actors, conflict_fn f,
		     void *userdata);

/* Canonical state fingerprint for tests: context, edges and live entries with their full actor
 * identifiers; removal marks and floor are left out. Equal contexts must give equal prints. */
void record_fingerprint(const struct record *r, const struct actors *actors, struct id *ret);
