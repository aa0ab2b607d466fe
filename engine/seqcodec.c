/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A part of a sequence, encoded:
 *
 *     u8 flavour (0 text, 1 bare), varint number of runs
 *     sections until the runs are used up, each:
 *         actor, varint: number of its runs, 1 or more, times 2, plus 1 if they go on by step
 *         its runs
 *     text: the bytes of the alive runs, one after the other
 *
 * Runs are maximal and stand in the order of ids (engine/seq-part.c), actors in the order of
 * identifiers. A new section begins where the actor changes, and where a run of two elements or
 * more goes on in another way than its section; a section in which none has two goes on by
 * batch, or like the section of its actor before.
 *
 * A run:
 *     u8   bit 0     deleted
 *          bits 1-2  where its first element hangs: 0 right of the last one of the run before;
 *                    1 right, 2 left of an element of an earlier run; 3 elsewhere
 *          bit 3     its id is the next one in the way of the section after the last id
 *          bits 4-7  elements less 1; 15: varint elements less 16 follows
 *     id, without bit 3: varint 2 * (seq less the last seq of the actor, or 0), plus 1 if index is
 *          not 0; then index, if so
 *     parent, 1 and 2: varint runs back less 1, varint elements of that run behind it.
 *          3: u8 0 the root; 1 right, 2 left of an element of a later run: varint runs ahead less
 *          1, varint elements behind it; 3 right, 4 left of an element that is not in the part:
 *          actor, zigzag varint of its seq less the run's, varint index
 *     dots, if deleted: varint: 0 several dots, or one of another actor: a vector (engine/vv.h);
 *          else one of the same actor: 1 + zigzag of its seq less the expected one
 *
 * The expected dot of a deletion is the one after the run's last if its batches had one deletion
 * each (a section by step: as many later as it has elements), or, if that is later, what the
 * deleted run before suggests: the same dot, by step as much earlier as that run has elements,
 * since who deletes backwards goes from the later run to the earlier.
 *
 * Neither document order nor the order of siblings is written; they follow from parents. The form
 * of a whole sequence is that of the part with everything: nothing hangs elsewhere than in
 * it, or on itself.
 *
 * A base:
 *     varint number of runs, each:
 *         varint 8 * (elements less 1), plus 1 if they go on by step, plus 2 if the actor is
 * another than before, plus 4 if index is not 0 actor, if another; zigzag varint of seq less the
 * last seq (0) before; index, if not 0
 *
 * A text of 100 KB whose author committed each of 260,000 keystrokes (tests/bench/bench_seq.c)
 * takes 40 KB besides its bytes; all of it 68 KB with zstd, 65 KB if the text stood in document
 * order. */
#include "engine/seq-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/zigzag.h"

enum { HANGS_CHAIN = 0, HANGS_RIGHT = 1, HANGS_LEFT = 2, HANGS_ELSEWHERE = 3 };
enum { AT_ROOT = 0, AHEAD_RIGHT = 1, AHEAD_LEFT = 2, OUTSIDE_RIGHT = 3, OUTSIDE_LEFT = 4 };
#define ROW_NEXT 8u
#define ROW_LONG 15u /* len - 1 that does not fit */

enum { BASE_STEP = 1, BASE_ACTOR = 2, BASE_INDEX = 4, BASE_SHIFT = 3 };

static uint64_t difference(uint64_t to, uint64_t from)
{
	return zigzag((int64_t)(to - from));
}

static uint64_t after(uint64_t from, uint64_t z)
{
	return from + (uint64_t)unzigzag(z);
}

/* What both sides know when a run comes. */
struct row {
	const struct piece *last; /* the run of the same actor before, NULL: none */
	bool step;                /* the section's way */
	uint64_t gone;            /* what the deleted run before suggests */
};

/* The next id after the last one, in the way of the section. */
static struct seq_id next_id(const struct row *row)
{
	struct seq_id id = piece_last(row->last);
	if (row->step)
		return (struct seq_id){ id.actor, 0, id.seq + 1 };
	id.index++;
	return id;
}

static uint64_t expected(const struct row *row, const struct piece *p)
{
	uint64_t own = piece_last(p).seq + (row->step ? p->len : 1);
	return own > row->gone ? own : row->gone;
}

/* To the next run. */
static void row_done(struct row *row, const struct piece *p)
{
	row->last = p;
	if (!piece_alive(p)) {
		struct vv_item item;
		struct vv v = deletion_vv(&p->gone, &item);
		uint64_t seq = vv_get(&v, p->id.actor);
		row->gone = row->step ? seq > p->len ? seq - p->len : 0 : seq;
	}
}

/* --- encoding --- */

struct encoder {
	const struct seq_part *d;
	struct actors *actors;
	struct actor_codec *c;
	struct buf *b;
	struct row row;
};

static bool is_step(const struct piece *p)
{
	return p->flags & PIECE_STEP;
}

/* How many runs from i on make a section; *step is what the one before had, if it was the same
 * actor's. */
static uint32_t section(const struct seq_part *d, uint32_t i, bool *step)
{
	uint32_t n = 0, actor = d->run[i].id.actor;
	bool open = true;
	for (; i + n < d->n; n++) {
		const struct piece *p = &d->run[i + n];
		if (p->id.actor != actor || (p->len > 1 && !open && is_step(p) != *step))
			break;
		if (p->len > 1) {
			*step = is_step(p);
			open = false;
		}
	}
	return n;
}

static void put_parent(struct encoder *k, uint32_t i, unsigned kind, bool inside,
		       const struct link *at)
{
	const struct piece *p = &k->d->run[i];
	bool left = p->flags & PIECE_LEFT;
	if (kind == HANGS_CHAIN)
		return;
	if (p->parent.actor == ACTOR_NONE) {
		buf_u8(k->b, AT_ROOT);
	} else if (!inside) {
		buf_u8(k->b, left ? OUTSIDE_LEFT : OUTSIDE_RIGHT);
		actor_codec_put(k->c, k->b, p->parent.actor);
		buf_varint(k->b, difference(p->parent.seq, p->id.seq));
		buf_varint(k->b, p->parent.index);
	} else {
		if (kind == HANGS_ELSEWHERE)
			buf_u8(k->b, left ? AHEAD_LEFT : AHEAD_RIGHT);
		buf_varint(k->b, at->run < i ? i - at->run - 1 : at->run - i - 1);
		buf_varint(k->b, k->d->run[at->run].len - 1 - at->off);
	}
}

static void put_gone(struct encoder *k, const struct piece *p)
{
	if (p->gone.actor == p->id.actor) {
		buf_varint(k->b, 1 + difference(p->gone.seq, expected(&k->row, p)));
		return;
	}
	struct vv_item item;
	struct vv v = deletion_vv(&p->gone, &item);
	buf_u8(k->b, 0);
	vv_encode(&v, k->actors, k->c, k->b);
}

static void put_run(struct encoder *k, uint32_t i)
{
	const struct piece *p = &k->d->run[i];
	struct link at = NO_LINK;
	bool inside = part_find(k->d, &p->parent, &at), left = p->flags & PIECE_LEFT;
	unsigned kind = HANGS_ELSEWHERE, next = 0, len = p->len - 1;
	if (inside && at.run < i)
		kind = left ? HANGS_LEFT : HANGS_RIGHT;
	if (kind == HANGS_RIGHT && at.run + 1 == i && at.off + 1 == k->d->run[at.run].len)
		kind = HANGS_CHAIN;
	if (k->row.last) {
		struct seq_id id = next_id(&k->row);
		next = seq_id_equal(&id, &p->id) ? ROW_NEXT : 0;
	}
	if (len > ROW_LONG)
		len = ROW_LONG;
	buf_u8(k->b, (uint8_t)((piece_alive(p) ? 0u : 1u) | kind << 1 | next | len << 4));
	if (len == ROW_LONG)
		buf_varint(k->b, p->len - 1 - ROW_LONG);
	if (!next) {
		uint64_t base = k->row.last ? piece_last(k->row.last).seq : 0;
		buf_varint(k->b, (p->id.seq - base) << 1 | (p->id.index > 0));
		if (p->id.index > 0)
			buf_varint(k->b, p->id.index);
	}
	put_parent(k, i, kind, inside, &at);
	if (!piece_alive(p))
		put_gone(k, p);
	row_done(&k->row, p);
}

void seq_part_encode(const struct seq_part *d, struct actors *actors, struct actor_codec *c,
		     struct buf *b)
{
	struct encoder k = { .d = d, .actors = actors, .c = c, .b = b };
	buf_u8(b, (uint8_t)d->flavour);
	buf_varint(b, d->n);
	for (uint32_t i = 0; i < d->n;) {
		if (i == 0 || d->run[i].id.actor != d->run[i - 1].id.actor)
			k.row = (struct row){ .last = NULL };
		uint32_t n = section(d, i, &k.row.step);
		actor_codec_put(c, b, d->run[i].id.actor);
		buf_varint(b, (uint64_t)n << 1 | k.row.step);
		for (uint32_t end = i + n; i < end; i++)
			put_run(&k, i);
	}
	buf_put(b, d->text.data, d->text.len);
}

void seq_encode(const struct seq *s, struct actors *actors, struct actor_codec *c, struct buf *b)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	if (seq_part_make(s, NULL, &d) < 0)
		b->failed = true;
	else
		seq_part_encode(d, actors, c, b);
}

void seq_base_encode(const struct seq_base *base, struct actor_codec *c, struct buf *b)
{
	uint32_t actor = ACTOR_NONE;
	uint64_t seq = 0;
	buf_varint(b, base->n);
	for (uint32_t i = 0; i < base->n; i++) {
		const struct piece *p = &base->run[i];
		bool other = p->id.actor != actor;
		buf_varint(b, (uint64_t)(p->len - 1) << BASE_SHIFT | (is_step(p) ? BASE_STEP : 0u) |
				      (other ? BASE_ACTOR : 0u) |
				      (p->id.index > 0 ? BASE_INDEX : 0u));
		if (other)
			actor_codec_put(c, b, p->id.actor);
		buf_varint(b, difference(p->id.seq, seq));
		if (p->id.index > 0)
			buf_varint(b, p->id.index);
		actor = p->id.actor;
		seq = piece_last(p).seq;
	}
}

/* --- decoding --- */

struct decoder {
	struct cursor *cur;
	struct actors *actors;
	struct actor_codec *c;
	const struct vv *ctx;
	struct seq_part *d;
	struct link *parent; /* by run; NO_LINK: the root, or not in the part */
	uint32_t cap;        /* of parent */
	uint32_t outside;    /* runs that hang on what is not in the part */
	struct row row;
	bool open; /* no run of the section has two elements */
	struct err *e;
};

static void decoder_done(struct decoder *k)
{
	seq_part_free(k->d);
	free(k->parent);
}

static int bad(struct err *e, const char *why)
{
	return err_set(e, -EBADMSG, "bad sequence: %s", why);
}

static bool seq_fits(uint64_t seq)
{
	return seq > 0 && seq <= SEQ_DOT_MAX;
}

static int get_id(struct decoder *k, bool next, struct seq_id *id)
{
	struct cursor *cur = k->cur;
	const struct piece *last = k->row.last;
	if (next) {
		if (!last)
			return bad(k->e, "a next id after none");
		*id = next_id(&k->row);
		return 0;
	}
	uint64_t x = cursor_varint_max(cur, SEQ_DOT_MAX << 1 | 1);
	id->seq = (x >> 1) + (last ? piece_last(last).seq : 0);
	id->index = x & 1 ? (uint32_t)cursor_varint_max(cur, SEQ_INDEX_MAX - 1) : 0;
	if (!cursor_ok(cur) || ((x & 1) && id->index == 0))
		return bad(k->e, "it ends within an id, or has no index where one is said to be");
	if (last) {
		struct seq_id end = piece_last(last), follows = next_id(&k->row);
		if (seq_id_cmp(k->actors, &end, id) >= 0)
			return bad(k->e, "ids out of order");
		if (seq_id_equal(&follows, id))
			return bad(k->e, "a next id that does not say so");
	}
	return 0;
}

/* The element of a run that was there. */
static int get_link(struct decoder *k, uint32_t i, struct piece *p)
{
	uint64_t back = cursor_varint_max(k->cur, SEQ_RUNS_MAX);
	uint64_t behind = cursor_varint_max(k->cur, SEQ_TOTAL_MAX);
	if (!cursor_ok(k->cur) || back >= i || behind >= k->d->run[i - 1 - back].len)
		return bad(k->e, "an element that hangs on none");
	struct link at = { i - 1 - (uint32_t)back, 0 };
	const struct piece *on = &k->d->run[at.run];
	at.off = on->len - 1 - (uint32_t)behind;
	if (!(p->flags & PIECE_LEFT) && back == 0 && behind == 0)
		return bad(k->e, "a chain that does not say so");
	p->parent = piece_id(on, at.off);
	k->parent[i] = at;
	return 0;
}

/* Where a run hangs that hangs neither on the one before nor on an earlier one. */
static int get_elsewhere(struct decoder *k, uint32_t i, struct piece *p)
{
	struct cursor *cur = k->cur;
	uint8_t how = cursor_u8(cur);
	p->flags |= how == AHEAD_LEFT || how == OUTSIDE_LEFT ? PIECE_LEFT : 0u;
	switch (how) {
	case AT_ROOT:
		p->parent = ROOT;
		break;
	case AHEAD_RIGHT:
	case AHEAD_LEFT:
		/* Turned into an element when that run is there. */
		k->parent[i].run = i + 1 + (uint32_t)cursor_varint_max(cur, SEQ_RUNS_MAX);
		k->parent[i].off = (uint32_t)cursor_varint_max(cur, SEQ_TOTAL_MAX);
		break;
	case OUTSIDE_RIGHT:
	case OUTSIDE_LEFT:
		p->parent.actor = actor_get(k->actors, k->c, cur);
		p->parent.seq = after(p->id.seq, cursor_varint(cur));
		p->parent.index = (uint32_t)cursor_varint_max(cur, SEQ_INDEX_MAX - 1);
		if (cursor_ok(cur) && !seq_fits(p->parent.seq))
			return bad(k->e, "a parent without a dot");
		k->outside++;
		break;
	default:
		return bad(k->e, "an element that hangs nowhere");
	}
	return cursor_ok(cur) ? 0 : bad(k->e, "it ends within a parent");
}

static int get_parent(struct decoder *k, uint32_t i, unsigned kind, struct piece *p)
{
	k->parent[i] = NO_LINK;
	if (kind == HANGS_ELSEWHERE)
		return get_elsewhere(k, i, p);
	if (kind != HANGS_CHAIN) {
		p->flags |= kind == HANGS_LEFT ? PIECE_LEFT : 0u;
		return get_link(k, i, p);
	}
	if (i == 0)
		return bad(k->e, "a chain after nothing");
	k->parent[i] = (struct link){ i - 1, k->d->run[i - 1].len - 1 };
	p->parent = piece_last(&k->d->run[i - 1]);
	return 0;
}

static int get_dots(struct decoder *k, struct piece *p)
{
	struct vv v;
	int r = vv_decode(k->cur, k->actors, k->c, &v);
	if (r < 0)
		return r == -EBADMSG ? bad(k->e, "dots of a deletion") : r;
	bool fits = v.n > 0 && !(v.n == 1 && v.item[0].actor == p->id.actor);
	for (uint32_t i = 0; i < v.n; i++)
		fits = fits && v.item[i].seq <= SEQ_DOT_MAX;
	fits = fits && (!k->ctx || vv_covers(k->ctx, &v));
	if (fits && v.n == 1) {
		p->gone = deletion_one((struct dot){ v.item[0].actor, v.item[0].seq });
		vv_done(&v);
	} else if (fits) {
		p->gone.many = malloc(sizeof(*p->gone.many));
		if (!p->gone.many) {
			vv_done(&v);
			return -ENOMEM;
		}
		p->gone.actor = DELETION_MANY;
		*p->gone.many = v;
	} else {
		vv_done(&v);
		return bad(k->e, "dots of a deletion");
	}
	return 0;
}

static int get_gone(struct decoder *k, struct piece *p)
{
	uint64_t x = cursor_varint(k->cur);
	struct dot dot = { p->id.actor, after(expected(&k->row, p), x - 1) };
	if (!cursor_ok(k->cur))
		return bad(k->e, "it ends within a deletion");
	if (x == 0)
		return get_dots(k, p);
	if (!seq_fits(dot.seq) || (k->ctx && !vv_has(k->ctx, dot)))
		return bad(k->e, "the dot of a deletion");
	p->gone = deletion_one(dot);
	return 0;
}

/* Would the run before have taken the first element? Then it is not maximal. */
static bool goes_on(const struct piece *last, const struct piece *p)
{
	struct seq_id end = piece_last(last);
	return piece_link(last, &p->id) && !((last->flags ^ p->flags) & PIECE_DELETED) &&
	       !(p->flags & PIECE_LEFT) && seq_id_equal(&p->parent, &end);
}

static int get_run(struct decoder *k, uint32_t actor)
{
	struct cursor *cur = k->cur;
	uint32_t i = k->d->n;
	struct piece p = { .id = { actor, 0, 0 } };
	uint8_t head = cursor_u8(cur);
	p.len = (head >> 4) + 1u;
	if (p.len == ROW_LONG + 1)
		p.len += (uint32_t)cursor_varint_max(cur, SEQ_TOTAL_MAX);
	if (!cursor_ok(cur) || p.len > SEQ_TOTAL_MAX - k->d->total)
		return bad(k->e, "it ends within a run, or is too long");
	p.flags = (head & 1u ? PIECE_DELETED : 0u) | (k->row.step && p.len > 1 ? PIECE_STEP : 0u);
	int r = get_id(k, head & ROW_NEXT, &p.id);
	if (r < 0)
		return r;
	struct seq_id last = piece_last(&p);
	if (!seq_fits(p.id.seq) || !seq_fits(last.seq) || last.index >= SEQ_INDEX_MAX ||
	    seq_is_seed(&p.id) != seq_is_seed(&last) || (is_step(&p) && p.id.index > 0))
		return bad(k->e, "ids that no batch gives");
	if (k->ctx && !vv_has(k->ctx, (struct dot){ actor, last.seq }))
		return bad(k->e, "elements of unknown batches");
	r = get_parent(k, i, head >> 1 & 3, &p);
	if (r == 0 && i > 0 && goes_on(&k->d->run[i - 1], &p))
		r = bad(k->e, "a run in two");
	if (r == 0 && (p.flags & PIECE_DELETED))
		r = get_gone(k, &p);
	if (r < 0)
		return r;
	k->d->run[k->d->n++] = p;
	k->d->total += p.len;
	row_done(&k->row, &k->d->run[i]);
	return 0;
}

static int grow(struct decoder *k)
{
	if (k->d->n < k->d->cap)
		return 0;
	uint32_t cap = k->d->cap ? k->d->cap * 2 : 16;
	struct piece *p = reallocarray(k->d->run, cap, sizeof(*p));
	if (!p)
		return -ENOMEM;
	k->d->run = p;
	struct link *l = reallocarray(k->parent, cap, sizeof(*l));
	if (!l)
		return -ENOMEM;
	k->parent = l;
	k->d->cap = cap;
	if (k->row.last)
		k->row.last = &k->d->run[k->d->n - 1];
	return 0;
}

static int get_section(struct decoder *k, uint32_t left, uint32_t *ret_n)
{
	struct seq_part *d = k->d;
	uint32_t actor = actor_get(k->actors, k->c, k->cur);
	uint64_t x = cursor_varint_max(k->cur, (uint64_t)left << 1 | 1);
	uint32_t n = (uint32_t)(x >> 1);
	if (!cursor_ok(k->cur) || n == 0)
		return bad(k->e, "a section of no runs");
	int c = d->n > 0 ? actors_cmp(k->actors, d->run[d->n - 1].id.actor, actor) : -1;
	bool again = c == 0, step = x & 1;
	if (c > 0 || (again && (k->open || step == k->row.step)))
		return bad(k->e, "sections out of order");
	if (!again)
		k->row = (struct row){ .last = NULL };
	k->row.step = step;
	k->open = true;
	for (uint32_t i = 0; i < n; i++) {
		int r = grow(k);
		if (r == 0)
			r = get_run(k, actor);
		if (r < 0)
			return r;
		k->open = k->open && d->run[d->n - 1].len == 1;
		if (again && k->open)
			return bad(k->e, "a section that begins too early");
	}
	if (step && k->open)
		return bad(k->e, "a section by step without a step");
	*ret_n = n;
	return 0;
}

/* Runs that hang on later ones, and those that claim to hang on none of them. */
static int resolve(struct decoder *k)
{
	struct seq_part *d = k->d;
	for (uint32_t i = 0; i < d->n; i++) {
		struct link *at = &k->parent[i], found;
		if (at->run == NOWHERE) {
			if (d->run[i].parent.actor != ACTOR_NONE &&
			    part_find(d, &d->run[i].parent, &found))
				return bad(k->e, "an element said not to be there");
		} else if (at->run > i) {
			if (at->run >= d->n || at->off >= d->run[at->run].len)
				return bad(k->e, "an element that hangs on none");
			at->off = d->run[at->run].len - 1 - at->off;
			d->run[i].parent = piece_id(&d->run[at->run], at->off);
		}
	}
	return 0;
}

static int get_text(struct decoder *k)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < k->d->n; i++)
		n += piece_visible(&k->d->run[i]);
	if (k->d->flavour == SEQ_BARE)
		return 0;
	const uint8_t *text = cursor_take(k->cur, n);
	if (!text)
		return bad(k->e, "it ends within the text");
	buf_put(&k->d->text, text, n);
	return buf_failed(&k->d->text) ? -ENOMEM : 0;
}

static int get_part(struct decoder *k)
{
	uint8_t flavour = cursor_u8(k->cur);
	uint32_t left = (uint32_t)cursor_varint_max(k->cur, SEQ_RUNS_MAX);
	if (!cursor_ok(k->cur) || flavour > SEQ_BARE)
		return bad(k->e, "neither a text nor a list");
	/* A run takes a byte at least. */
	if (left > cursor_left(k->cur))
		return bad(k->e, "more runs than bytes");
	int r = part_new((enum seq_flavour)flavour, k->actors, &k->d);
	for (uint32_t n = 0; r == 0 && left > 0; left -= n)
		r = get_section(k, left, &n);
	if (r == 0)
		r = resolve(k);
	return r < 0 ? r : get_text(k);
}

int seq_part_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c,
		    const struct vv *ctx, struct seq_part **ret, struct err *e)
{
	_cleanup_(decoder_done) struct decoder k = {
		.cur = cur, .actors = actors, .c = c, .ctx = ctx, .e = e
	};
	int r = get_part(&k);
	if (r == 0)
		*ret = TAKE_PTR(k.d);
	return r;
}

int seq_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c,
	       const struct vv *ctx, struct seq **ret, struct err *e)
{
	_cleanup_(decoder_done) struct decoder k = {
		.cur = cur, .actors = actors, .c = c, .ctx = ctx, .e = e
	};
	int r = get_part(&k);
	if (r < 0)
		return r;
	if (k.outside > 0)
		return bad(e, "an element without its parent");
	r = seq_arrange(k.d, k.parent, ret);
	return r == -EBADMSG ? bad(e, "elements that are each other's ancestors") : r;
}

static int get_base_run(struct cursor *cur, struct actors *actors, struct actor_codec *c,
			const struct piece *last, struct piece *p)
{
	uint64_t head = cursor_varint_max(cur, (uint64_t)SEQ_TOTAL_MAX << BASE_SHIFT);
	uint32_t actor = last ? last->id.actor : ACTOR_NONE;
	if (head & BASE_ACTOR)
		actor = actor_get(actors, c, cur);
	bool other = !last || last->id.actor != actor;
	p->len = (uint32_t)(head >> BASE_SHIFT) + 1;
	p->flags = head & BASE_STEP ? PIECE_STEP : 0;
	p->id.actor = actor;
	p->id.seq = after(last ? piece_last(last).seq : 0, cursor_varint(cur));
	p->id.index = head & BASE_INDEX ? (uint32_t)cursor_varint_max(cur, SEQ_INDEX_MAX - 1) : 0;
	if (!cursor_ok(cur) || !seq_fits(p->id.seq) || ((head & BASE_INDEX) && p->id.index == 0) ||
	    ((head & BASE_STEP) && (p->len == 1 || p->id.index > 0)))
		return -EBADMSG;
	struct seq_id end = piece_last(p);
	if (!seq_fits(end.seq) || end.index >= SEQ_INDEX_MAX || other != !!(head & BASE_ACTOR) ||
	    (last && piece_link(last, &p->id)))
		return -EBADMSG;
	return 0;
}

int seq_base_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c,
		    struct seq_base **ret, struct err *e)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	uint32_t n = (uint32_t)cursor_varint_max(cur, SEQ_RUNS_MAX);
	/* A run takes two bytes at least. */
	if (!cursor_ok(cur) || n > cursor_left(cur) / 2)
		return bad(e, "a base of more runs than bytes");
	int r = seq_base_new(&b);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		struct piece p = { .parent = ROOT };
		r = get_base_run(cur, actors, c, i > 0 ? &b->run[i - 1] : NULL, &p);
		if (r == 0 && p.len > SEQ_TOTAL_MAX - b->total)
			r = -EBADMSG;
		if (r == 0)
			r = base_append(b, &p);
	}
	if (r == -EBADMSG)
		return bad(e, "a base that none is");
	if (r == 0)
		*ret = TAKE_PTR(b);
	return r;
}
