/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A replicated sequence: the characters of a text, the places of an array.
 *
 * Order. Elements form a tree as in Fugue (Weidner and Kleppmann, "The Art of the Fugue",
 * 2023). An element has an id, a parent (another element, or the root) and a side; the document
 * is the traversal that shows an element between its left and its right children. An element put
 * between neighbours L and R, where deleted elements are neighbours like any others, becomes a
 * right child of L if L has none yet, else a left child of R. Only concurrent writers give one
 * element two children on one side; these stand in the order of their ids. Whoever types forwards
 * makes a chain of right children, whoever types backwards a chain of left ones, so what two
 * people wrote at one place stands one behind the other and never mixed.
 *
 * Id: (actor, seq, index). (actor, seq) is the dot of the batch that inserted the element, index
 * counts what that batch inserted into this sequence. Ids are ordered by the actor's identifier
 * (actors_cmp), seq, index: the same on every replica.
 *
 * State. Id, parent and side of an element never change. It is alive or deleted; deleted is for
 * ever, and costs an element its byte but not its place. So the join of two states is the union of
 * their elements, where an element is alive if it is alive in every state that has it. Nothing else
 * is state: replicas of equal context have equal elements, equal alive flags and equal bytes.
 *
 * Dots of deletions are kept for one question only: what does a peer lack that has seen the
 * context F? An element was inserted under a dot, and F covers that or not. Of a deleted element we
 * keep one dot that deleted it. Whoever covers that dot knows that the element is deleted; whoever
 * covers none of the dots that deleted it does not cover the one that we kept, and gets it. So one
 * of them is enough, any one: when a join brings another, ours stays. Deleted elements lie in
 * runs, and a run keeps one vector with, for every actor, the newest dot kept for any of its
 * elements. A later dot of an actor covers an earlier one, so that is too new at times and
 * never too old: a peer is sent a few known ids (no bytes) again, and never misses one. What is
 * kept is no part of the state: two replicas that are equal may keep different dots.
 *
 * Runs. Elements that follow one another as a chain of right children of one actor, all alive
 * or all deleted, are kept and written as one run if their ids go on in one of two steps: in the
 * batch (seq, index + 1), or from batch to batch (seq + 1, index 0), which is what comes of a
 * program that commits each keystroke.
 *
 * In memory (seq-impl.h) the runs stand in document order in the leaves of a B+-tree that counts
 * visible elements, each leaf with the bytes of its runs; an index from ids to leaves is made when
 * somebody first asks for an id. So a local edit, an edit of a peer and a question for a
 * position cost O(log n). A peer's insertion at a place where we have inserted, too, takes another
 * way, O(n log n): everything is laid out anew (seq-arrange.c). That happens once for each place
 * where two people began to write before they heard of each other.
 *
 * A part of a sequence (struct seq_part) is a set of runs in the order of ids with their
 * parents; it is what encodings hold and what joins. The part with everything is the sequence:
 * document order is computed from the parents, never written, so no encoding can get it wrong
 * (seqcodec.c).
 *
 * Positions count visible elements: bytes of a text, where callers cut at characters.
 *
 * Threads: an object belongs to one thread at a time. A sequence whose change failed with -ENOMEM
 * may only be freed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/err.h"
#include "engine/id.h"
#include "engine/vv.h"

#define SEQ_TOTAL_MAX (1u << 28)        /* elements, deleted ones included */
#define SEQ_RUNS_MAX (1u << 21)         /* runs: some 100 bytes of memory each */
#define SEQ_SEED SEQ_TOTAL_MAX          /* indexes from here on are those of seeds */
#define SEQ_INDEX_MAX (2 * SEQ_TOTAL_MAX)
#define SEQ_DOT_MAX (UINT64_C(1) << 62) /* highest seq of a dot */

enum seq_flavour {
	SEQ_TEXT = 0, /* an element carries a byte */
	SEQ_BARE = 1, /* elements carry nothing */
};

struct seq_id {
	uint32_t actor; /* local number; ACTOR_NONE: the root, which is before everything */
	uint32_t index;
	uint64_t seq;
};

static inline bool seq_is_seed(const struct seq_id *id)
{
	return id->index >= SEQ_SEED;
}

/* len elements whose ids go on from the first one's. */
struct seq_span {
	struct seq_id id;
	uint32_t len;
	bool step;           /* from batch to batch, else within the batch */
	const uint8_t *text; /* borrowed, until the sequence changes; NULL when bare */
};

struct seq;
struct seq_part;
struct seq_base;

/* An empty sequence. actors is borrowed and has to live longer. */
int seq_new(enum seq_flavour flavour, const struct actors *actors, struct seq **ret);
void seq_free(struct seq *s);
/* A sequence of its own that holds the same. */
int seq_copy(const struct seq *s, struct seq **ret);

enum seq_flavour seq_flavour(const struct seq *s);
uint32_t seq_length(const struct seq *s); /* visible elements */
uint32_t seq_total(const struct seq *s);  /* deleted ones included */

/* Inserts n elements before the one at pos, all in the batch of the dot; their indexes go on from
 * what the dot has inserted before. data: n bytes for a text, ignored when bare. -EINVAL: pos
 * beyond the end, or the actor has inserted under a later dot already; -EFBIG: the sequence is
 * full. */
int seq_insert(struct seq *s, uint32_t pos, const void *data, uint32_t n, struct dot dot);
/* Deletes n visible elements from pos on. -EINVAL: so many are not there. */
int seq_delete(struct seq *s, uint32_t pos, uint32_t n, struct dot dot);
/* Deletes everything alive whose insertion the context `seen` covers: what a writer does who had
 * read that version and replaces the whole. *ret_n (may be NULL): how many. */
int seq_delete_covered(struct seq *s, const struct vv *seen, struct dot dot, uint32_t *ret_n);

/* Copies the bytes [pos, pos + n) of a text. -EINVAL: so many are not there. */
int seq_read(const struct seq *s, uint32_t pos, uint32_t n, void *out);

/* Walks over what is visible, in pieces as they lie in memory. The sequence may not change.
 *
 *     struct seq_iter it = seq_iter(s);
 *     struct seq_span span;
 *     while (seq_iter_next(&it, &span)) */
struct seq_iter {
	const void *leaf;
	uint32_t i;    /* piece in it */
	uint32_t text; /* visible elements of the leaf before that */
};

struct seq_iter seq_iter(const struct seq *s);
bool seq_iter_next(struct seq_iter *it, struct seq_span *ret);

/* The element at a visible position. -EINVAL: there is none. */
int seq_id_at(const struct seq *s, uint32_t pos, struct seq_id *ret);
/* The index that the dot's next insertion will have. -EINVAL: the actor has inserted under a later
 * dot. */
int seq_next_index(const struct seq *s, struct dot dot, uint32_t *ret);
/* How many visible elements stand before the element, and whether it is visible itself. -ENOENT:
 * the sequence has no such element. */
int seq_find(struct seq *s, const struct seq_id *id, uint32_t *ret_pos, bool *ret_alive);

/* Equal for equal states, whatever the local numbers of actors. */
int seq_fingerprint(const struct seq *s, struct id *ret);

/* --- parts: what peers and the store are given --- */

/* Everything that a peer lacks who has seen what `known` covers (NULL: nothing): elements with a
 * dot beyond it, deletions with a dot beyond it. */
int seq_part_make(const struct seq *s, const struct vv *known, struct seq_part **ret);
void seq_part_free(struct seq_part *p);
bool seq_part_empty(const struct seq_part *p);
enum seq_flavour seq_part_flavour(const struct seq_part *p);

/* Joins a part into s. -EBADMSG, nothing changed: the flavour differs, a parent is neither here nor
 * there, elements are each other's ancestors, or an element of ours is said to have another parent,
 * side or byte: no honest peer says that. -EFBIG, nothing changed: it would be too long. */
int seq_join(struct seq *s, const struct seq_part *p, struct err *e);

/* The encoding (seqcodec.c) is canonical: one for each part, and the decoder takes no other. c: as
 * in engine/actor.h. ctx (may be NULL) has to cover all dots that come. -EBADMSG, -ENOMEM. */
void seq_part_encode(const struct seq_part *p, struct actors *actors, struct actor_codec *c,
		     struct buf *b);
int seq_part_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c,
		    const struct vv *ctx, struct seq_part **ret, struct err *e);

/* The same of a whole sequence: one encoding for each state and the dots kept of deletions. */
void seq_encode(const struct seq *s, struct actors *actors, struct actor_codec *c, struct buf *b);
int seq_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c,
	       const struct vv *ctx, struct seq **ret, struct err *e);

/* --- edits of an older version --- */

/* What a version shows: the ids of its visible elements in order, a few bytes for each run of
 * them. Together with the version's context it is all that an edit of that version needs. */
/* One that shows nothing. */
int seq_base_new(struct seq_base **ret);
int seq_base_make(const struct seq *s, struct seq_base **ret);
void seq_base_free(struct seq_base *b);
/* Adds an element behind the last one. */
int seq_base_add(struct seq_base *b, const struct seq_id *id);
uint32_t seq_base_length(const struct seq_base *b);
void seq_base_encode(const struct seq_base *base, struct actor_codec *c, struct buf *b);
int seq_base_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c,
		    struct seq_base **ret, struct err *e);

struct seq_edit {
	uint32_t pos, del; /* in the base: del elements from pos on go … */
	const void *data;  /* … and these n come in their place */
	uint32_t n;
};

/* Applies edits of the version `base` to s, which may be ahead of it. Edits ascend and do not
 * overlap. The result is what the join of s would be with a replica that had just that version, and
 * made the edits there under the dot: deletions take exactly the elements that the writer saw, as
 * far as they are alive; what is inserted hangs where it would hang there, so it neither depends
 * on what has arrived meanwhile nor mixes with it.
 *
 * seen: the context of that version. NULL stands for the context of s: then an insertion hangs
 * directly behind the element that the writer saw on its left, before what others put there.
 * -EINVAL: not such edits, or the base is no version of s, or as in seq_insert; -EFBIG. */
int seq_edit(struct seq *s, const struct seq_base *base, const struct vv *seen,
	     const struct seq_edit *edit, size_t n, struct dot dot);

/* --- twins: what several wrote at one place at once, alike (seq-twin.c) --- */

/* Which elements of a text are hidden because others say the same there. *ret NULL: none. A snapshot
 * of s, which may change. */
struct seq_twins;
int seq_twins_make(const struct seq *s, struct seq_twins **ret);
void seq_twins_free(struct seq_twins *t);
/* A span of seq_iter that begins with it is hidden. t NULL: nothing is. */
bool seq_twins_hide(const struct seq_twins *t, const struct seq_id *id);
/* As seq_base_make, without what is hidden. */
int seq_twins_base(const struct seq *s, const struct seq_twins *t, struct seq_base **ret);
/* Deletes what is hidden and still alive. */
int seq_twins_delete(struct seq *s, const struct seq_twins *t, struct dot dot);

/* What the writer of such edits knows afterwards: the base with the edits in it. dot: the batch in
 * which seq_edit made them, and index where that one's insertions began (seq_next_index before it).
 * -EINVAL: not such edits. */
int seq_base_edit(const struct seq_base *b, const struct seq_edit *edit, size_t n, struct dot dot,
		  uint32_t index, struct seq_base **ret);

/* --- seeds: a value that becomes a text (seq-seed.c) --- */

/* The dot that wrote the value, and how many bytes it has. */
struct seq_seed {
	struct dot dot;
	uint32_t n;
};

/* Puts the bytes of the value in, unless they are there, or were. -EFBIG. */
int seq_seed_put(struct seq *s, const struct seq_seed *seed, const void *text);
/* The seed of a value that has the given bytes, was written under a dot that `seen` covers, and has
 * become a text since: of several the one that most is left of. -ENOENT. */
int seq_seed_find(const struct seq *s, const struct vv *seen, const void *text, uint32_t n,
		  struct seq_seed *ret);
/* What the writer of the value knows. */
int seq_seed_base(const struct seq_seed *seed, struct seq_base **ret);
/* Deletes what is left of texts that were there before the value: all that `seen` covers and is no
 * part of the seed. */
int seq_seed_clear(struct seq *s, const struct seq_seed *seed, const struct vv *seen, struct dot dot);

DEFINE_CLEANUP(struct seq *, seq_free)
DEFINE_CLEANUP(struct seq_part *, seq_part_free)
DEFINE_CLEANUP(struct seq_twins *, seq_twins_free)
DEFINE_CLEANUP(struct seq_base *, seq_base_free)
