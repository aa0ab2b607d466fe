/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session: collections of which one side (W) keeps all and the other (F) what a filter picks.
 *
 * W leads. A turn compares what the filter picks at W with all that F has (COMPARE both ways); F tells the contexts
 * of what W does not have like that (HOLD); W says what it wants of these (TAKE), what does not match any more and may go
 * (LEAVE), and sends what F lacks (PART, DELTA, END); F sends what was wanted (PART, DELTA, END). After a turn in which
 * something was found there is another one, until nothing is, or the same as before. */
#include "engine/session-part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pick.h"
#include "engine/sha256.h"
#include "engine/spared.h"

#define FOUND_MAX 65536   /* items of one turn; the others come in the next one */
#define HOLD_MAX 16384
#define HOLD_MEMORY (16u << 20)
#define PIECE 60000       /* bytes of a list in one frame */
#define POKE 2            /* flag of HOLD: F has news */
#define BUILD_STEPS 16    /* of a pick, in one go */
#define GIVEN_MAX 1024    /* nodes that are not given twice */

enum phase {
	IDLE,
	COMPARING,
	HOLDING,   /* F: HOLD is to be sent, or being so */
	WAITING,   /* F: for W's answer; W: for F's round */
	ANSWERING, /* W: TAKE and LEAVE */
	SENDING,   /* a round is to be sent, or being so */
};

struct held {
	struct id id;
	struct vv context;
};

struct tried { /* W took it as it was at F, and it brought nothing to what was here */
	struct id id, there, here; /* fingerprints of contexts */
};

struct given { /* F had nothing of it, and W sent it as it is here */
	struct id id, here;
};

struct item { /* what is to be sent */
	struct id id;
	const struct vv *known; /* NULL: nothing */
};

struct part {
	struct id scope;
	bool whole;        /* this side is W */
	const char *where; /* F's filter; W: of peer_keeps */
	enum phase phase;
	bool refused;      /* W: the filter is none here */
	bool due, look, poked;
	bool told;         /* F: W has said in this session what it has */
	uint64_t pass, not_before;
	struct reconcile_sum sum; /* what was compared last */
	bool compared;
	struct view *view;
	struct picked *picked;
	struct reconcile *compare;
	struct buf first;  /* F: what came before its pick was complete */
	struct buf found;  /* struct reconcile_item */
	struct arena arena; /* of held, items */
	struct buf held;   /* struct held */
	struct buf take, leave, items; /* struct id, struct leave, struct item */
	size_t at, dirs;   /* in what is being sent; how many of items are directories */
	bool opened, taken;
	bool heard;        /* the peer's round has begun */
	bool moved;        /* F: W let something leave, or sent something */
	struct buf tried;  /* W: struct tried, of the last turn; by id */
	struct spared spared; /* W */
	struct given *given; /* W: GIVEN_MAX, by the first bytes of the id; NULL: none yet */
	struct id last;    /* what was found in the turn before */
};

struct parts {
	struct part *part;
	uint32_t n;
	struct part *sends; /* whose round is open */
};

static void part_reset(struct part *p)
{
	reconcile_free(TAKE_PTR(p->compare));
	picked_free(TAKE_PTR(p->picked));
	view_unref(TAKE_PTR(p->view));
	buf_done(&p->found);
	buf_done(&p->held);
	buf_done(&p->take);
	buf_done(&p->leave);
	buf_done(&p->items);
	buf_done(&p->first);
	arena_done(&p->arena);
	p->at = p->dirs = 0;
	p->opened = p->taken = p->heard = p->moved = false;
	p->phase = IDLE;
}

void session_parts_free(struct session *s)
{
	for (uint32_t i = 0; s->parts && i < s->parts->n; i++) {
		part_reset(&s->parts->part[i]);
		buf_done(&s->parts->part[i].tried);
		free(s->parts->part[i].given);
	}
	if (s->parts)
		free(s->parts->part);
	free(s->parts);
	s->parts = NULL;
}

bool session_part_sends(const struct session *s)
{
	return s->parts && s->parts->sends;
}

bool session_part_waits(const struct session *s)
{
	for (uint32_t i = 0; s->parts && i < s->parts->n; i++)
		if (s->parts->part[i].phase == SENDING)
			return true;
	return false;
}

static struct part *part_of(const struct session *s, const struct id *scope)
{
	for (uint32_t i = 0; s->parts && i < s->parts->n; i++)
		if (id_equal(&s->parts->part[i].scope, scope))
			return &s->parts->part[i];
	return NULL;
}

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

/* ---- beginning ---- */

static bool is_wanted(const struct id *scope, const char *where, void *userdata)
{
	struct session *s = userdata;
	return replica_wants_pick(s->replica, scope, where);
}

static int pick_make(struct session *s, struct part *p, struct err *e)
{
	const char *where = p->whole ? p->where : NULL;
	int r = replica_pick(s->replica, &p->scope, where, e);
	if (r == -ENOSPC) {
		r = replica_pick_forget(s->replica, is_wanted, s, e);
		r = r < 0 ? r : replica_pick(s->replica, &p->scope, where, e);
	}
	/* A filter that this device does not take, or one too many: that collection is left alone. */
	if (r == -EINVAL || r == -E2BIG || r == -ENOSPC) {
		p->refused = true;
		return 0;
	}
	return r < 0 ? r : 0;
}

int session_parts_begin(struct session *s, struct err *e)
{
	const struct interests *own = view_interests(s->view), *peer = s->peer_keeps;
	if (s->parts)
		return 0;
	struct parts *all = calloc(1, sizeof(*all));
	if (all)
		all->part = calloc(own->n + peer->n + 1, sizeof(*all->part));
	if (!all || !all->part) {
		free(all);
		return no_memory(e);
	}
	s->parts = all;
	for (uint32_t k = 0; k < 2; k++) {
		const struct interests *filters = k ? peer : own, *wholes = k ? own : peer;
		for (uint32_t i = 0; i < filters->n; i++) {
			const struct interest *x = &filters->item[i];
			if (x->level != INTEREST_FILTERED || !interest_is_whole(interests_level(wholes, &x->scope)))
				continue;
			struct part *p = &all->part[all->n++];
			*p = (struct part){ .scope = x->scope, .whole = k == 1, .where = x->where, .due = k == 1 };
			int r = pick_make(s, p, e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

void session_parts_news(struct session *s)
{
	for (uint32_t i = 0; s->parts && i < s->parts->n; i++)
		s->parts->part[i].look = true;
}

/* ---- comparing ---- */

static int note_found(const struct reconcile_item *x, void *userdata)
{
	struct part *p = userdata;
	if (p->found.len < FOUND_MAX * sizeof(*x))
		buf_put(&p->found, x, sizeof(*x));
	return buf_failed(&p->found) ? -ENOMEM : 0;
}

static int found_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct reconcile_item *)a)->id, &((const struct reconcile_item *)b)->id);
}

/* Opens what is to be compared in the newest view. OPENED; or it is not complete there yet. */
enum { LATER, MORE, OPENED };
static int part_open(struct session *s, struct part *p, struct err *e)
{
	int r = picked_new(s->view, &p->scope, p->whole ? p->where : NULL, &p->picked);
	if (r == -ENOENT) {
		r = MORE;
		for (int i = 0; r == MORE && i < BUILD_STEPS; i++)
			r = replica_pick_step(s->replica, e);
		return r;
	}
	if (r < 0)
		return err_errno(e, r, "cannot look for what a filter picks");
	p->view = view_ref(s->view);
	struct reconcile_source source = picked_source(p->picked);
	r = picked_sum(p->picked, &p->sum);
	if (r == 0)
		r = reconcile_new(&source, note_found, p, &p->compare);
	return r < 0 ? err_errno(e, r, "cannot compare a collection") : OPENED;
}

/* W: begins a turn if there is a reason. F: says that there is one. */
static int part_wake(struct session *s, struct part *p, struct buf *out, struct err *e)
{
	/* That contents stay after all makes no commit. */
	p->due |= spared_kept(&p->spared, s->replica);
	if (p->refused || view_commits(s->view) < p->not_before || (!p->due && !p->look))
		return 0;
	struct reconcile_sum last = p->sum;
	int r = part_open(s, p, e);
	if (r != OPENED)
		return r;
	bool news = !p->compared || !reconcile_equal(&last, &p->sum) || spared_changed(&p->spared, p->view, s->actors);
	p->look = false;
	if (p->whole && (p->due || news)) {
		p->due = false;
		p->compared = true;
		p->phase = COMPARING;
		return reconcile_begin(p->compare, p->pass++);
	}
	p->sum = last;
	part_reset(p);
	if (p->whole || !news || !p->compared || p->poked)
		return 0;
	p->poked = true;
	buf_reset(&s->payload);
	buf_put(&s->payload, p->scope.b, ID_SIZE);
	buf_u8(&s->payload, POKE);
	return frame_put(out, FRAME_HOLD, &s->payload);
}

/* F: a first frame came; the pick may have to be made before it is answered. */
static int part_answer(struct session *s, struct part *p, struct err *e)
{
	int r = part_open(s, p, e);
	if (r != OPENED)
		return r;
	p->compared = true;
	p->poked = p->look = false;
	r = reconcile_take(p->compare, p->first.data, p->first.len, e);
	buf_done(&p->first);
	return r;
}

/* F: W has all that is here just as it is here, in a view that is on its disk; or it does not, and what is known of it
 * from earlier sessions is not so any more. */
static int note_held(struct session *s, const struct part *p, bool same)
{
	static const struct vv nothing;
	const struct vv *have = same ? view_have(p->view, &p->scope) : &nothing;
	return p->told ? replica_peer_raise(s->replica, &s->peer, &p->scope, have) :
			 replica_peer_set(s->replica, &s->peer, &p->scope, have, s->meeting);
}

static int compare_put(struct session *s, struct part *p, struct buf *out, size_t end)
{
	int r = 1;
	while (r == 1) {
		_cleanup_(buf_done) struct buf frame = { 0 };
		if (out->len >= end)
			return 1;
		r = reconcile_next(p->compare, &frame);
		if (r <= 0)
			break;
		buf_reset(&s->payload);
		buf_put(&s->payload, p->scope.b, ID_SIZE);
		buf_put(&s->payload, frame.data, frame.len);
		int put = buf_failed(&frame) ? -ENOMEM : frame_put(out, FRAME_COMPARE, &s->payload);
		if (put < 0)
			return put;
	}
	if (r == 0 && reconcile_done(p->compare) && p->phase == COMPARING) {
		reconcile_free(TAKE_PTR(p->compare));
		if (p->found.len > 0)
			qsort(p->found.data, p->found.len / sizeof(struct reconcile_item),
			      sizeof(struct reconcile_item), found_cmp);
		p->phase = HOLDING; /* W waits for it */
		if (!p->whole)
			r = note_held(s, p, p->found.len == 0);
		p->told = true;
	}
	return r;
}

/* ---- F: what it holds ---- */

static int hold_put(struct session *s, struct part *p, struct buf *out, size_t end, struct err *e)
{
	const struct reconcile_item *x = (const void *)p->found.data;
	size_t n = p->found.len / sizeof(*x);
	if (n > HOLD_MAX)
		n = HOLD_MAX;
	do {
		if (out->len >= end)
			return 1;
		struct buf *b = &s->payload;
		_cleanup_(buf_done) struct buf list = { 0 };
		while (p->at < n && list.len < PIECE) {
			_cleanup_(arena_done) struct arena a = { 0 };
			struct view_node node;
			const struct id *id = &x[p->at++].id;
			int r = view_node(p->view, id, &a, &node, e);
			if (r < 0 && r != -ENOENT)
				return r;
			if (r < 0)
				continue;
			buf_put(&list, id->b, ID_SIZE);
			vv_encode(&node.context, s->actors, s->out_actors, &list);
		}
		buf_reset(b);
		buf_put(b, p->scope.b, ID_SIZE);
		buf_u8(b, p->at < n ? FRAME_MORE : 0);
		buf_put(b, list.data, list.len);
		int r = buf_failed(&list) ? -ENOMEM : frame_put(out, FRAME_HOLD, b);
		if (r < 0)
			return r;
	} while (p->at < n);
	p->at = 0;
	p->phase = WAITING;
	return 0;
}

/* ---- W: what is to be done ---- */

/* Directories go first. */
static void item_add(struct part *p, const struct item *x, bool dir)
{
	buf_put(&p->items, x, sizeof(*x));
	if (!dir || buf_failed(&p->items))
		return;
	struct item *all = (void *)p->items.data;
	size_t n = p->items.len / sizeof(*x);
	all[n - 1] = all[p->dirs];
	all[p->dirs++] = *x;
}

/* It is purged, and who did that does not know what the peer has of it: the peer has to keep that before it lets go of
 * it (shoal-format(7), Purging). */
static bool is_unseen(const struct view_node *node, const struct held *h)
{
	return node->purged && h && !vv_covers(&node->seen, &h->context) && !vv_equal(&node->context, &h->context);
}

/* It would leave, but its contents at the peer may be the last ones, for they are not here or about to go. */
static bool is_spared(struct session *s, struct part *p, const struct id *id, const struct vv *context, const struct held *h)
{
	if (!h || replica_keeps_contents(s->replica, id))
		return false;
	spared_add(&p->spared, id, context, s->actors);
	return true;
}

static int tried_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct tried *)a)->id, &((const struct tried *)b)->id);
}

/* Taken again it would bring nothing again. What is taken is noted in `now`. */
static bool is_tried(struct session *s, const struct part *p, const struct held *h, const struct view_node *node,
		     struct buf *now)
{
	struct tried x = { .id = h->id };
	vv_fingerprint(&h->context, s->actors, &x.there);
	vv_fingerprint(&node->context, s->actors, &x.here);
	buf_put(now, &x, sizeof(x));
	const struct tried *was = p->tried.len == 0 ? NULL :
		bsearch(&x, p->tried.data, p->tried.len / sizeof(x), sizeof(x), tried_cmp);
	return was && id_equal(&was->there, &x.there) && id_equal(&was->here, &x.here);
}

/* F let go of it since, by the word of somebody else who keeps all and knows of something newer. Given again and again
 * it would come and go for ever. */
static int was_given(struct session *s, struct part *p, const struct view_node *node, const struct id *id)
{
	struct given x = { .id = *id };
	if (!p->given)
		p->given = calloc(GIVEN_MAX, sizeof(*p->given));
	if (!p->given)
		return -ENOMEM;
	struct given *was = &p->given[((unsigned)id->b[0] << 8 | id->b[1]) % GIVEN_MAX];
	vv_fingerprint(&node->context, s->actors, &x.here);
	bool same = id_equal(&was->id, &x.id) && id_equal(&was->here, &x.here);
	*was = x;
	return same;
}

static int plan_one(struct session *s, struct part *p, const struct id *id, const struct held *h, struct buf *tried,
		    struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct view_node node;
	int r = view_node(p->view, id, &a, &node, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && !id_equal(&node.scope, &p->scope))
		return err_set(e, -EPROTO, "the peer holds a node of another collection than it is of");
	bool here = r == 0;
	if (h && (!here || (!vv_covers(&node.context, &h->context) && !is_tried(s, p, h, &node, tried)))) {
		buf_put(&p->take, id, sizeof(*id));
	} else if (here && (picked_has(p->picked, id) || is_unseen(&node, h) || is_spared(s, p, id, &node.context, h))) {
		const struct item x = { *id, h ? &h->context : NULL };
		r = h ? vv_covers(&h->context, &node.context) : was_given(s, p, &node, id);
		if (r < 0)
			return no_memory(e);
		if (r == 0)
			item_add(p, &x, node.kind == NODE_DIR);
	} else if (h) {
		struct leave x = { .node = *id };
		vv_fingerprint(&h->context, s->actors, &x.hash);
		buf_put(&p->leave, &x, sizeof(x));
	}
	return 0;
}

static int plan(struct session *s, struct part *p, struct err *e)
{
	const struct reconcile_item *x = (const void *)p->found.data;
	const struct held *h = (const void *)p->held.data;
	size_t n = p->found.len / sizeof(*x), m = p->held.len / sizeof(*h);
	_cleanup_(buf_done) struct buf all = { 0 }, tried = { 0 };
	p->spared = (struct spared){ 0 };
	for (size_t i = 0, k = 0; i < n || k < m;) {
		int c = i == n ? 1 : k == m ? -1 : id_cmp(&x[i].id, &h[k].id);
		const struct id *id = c <= 0 ? &x[i].id : &h[k].id;
		const struct held *held = c >= 0 ? &h[k] : NULL;
		struct id print = { { 0 } };
		int r = plan_one(s, p, id, held, &tried, e);
		if (r < 0)
			return r;
		if (held)
			vv_fingerprint(&held->context, s->actors, &print);
		buf_put(&all, id->b, ID_SIZE);
		buf_put(&all, print.b, ID_SIZE);
		if (c <= 0)
			buf_put(&all, x[i].hash.b, ID_SIZE);
		i += c <= 0;
		k += c >= 0;
	}
	if (buf_failed(&all) || buf_failed(&tried) || buf_failed(&p->take) || buf_failed(&p->leave) || buf_failed(&p->items))
		return no_memory(e);
	buf_done(&p->tried);
	p->tried = tried;
	tried = (struct buf){ 0 };
	/* The same as the last time: it will not change by being said again. */
	struct id print = { { 0 } };
	const struct sha256_part one = { all.data, all.len };
	if (all.len > 0)
		sha256_id(&one, 1, &print);
	p->due |= all.len > 0 && !id_equal(&print, &p->last);
	p->last = print;
	p->at = 0;
	p->phase = ANSWERING;
	return 0;
}

static int list_put(struct session *s, struct part *p, enum frame_type t, const struct buf *list, size_t size,
		    size_t from, struct buf *out, size_t *ret_end)
{
	size_t n = (list->len - from) / size;
	if (n > PIECE / size)
		n = PIECE / size;
	buf_reset(&s->payload);
	buf_put(&s->payload, p->scope.b, ID_SIZE);
	buf_u8(&s->payload, from + n * size < list->len ? FRAME_MORE : 0);
	if (n > 0)
		buf_put(&s->payload, list->data + from, n * size);
	*ret_end = from + n * size;
	return frame_put(out, t, &s->payload);
}

/* TAKE, one frame at least, then LEAVE if there is any. */
static int answer_put(struct session *s, struct part *p, struct buf *out, size_t end)
{
	while (!p->taken) {
		if (out->len >= end)
			return 1;
		int r = list_put(s, p, FRAME_TAKE, &p->take, ID_SIZE, p->at, out, &p->at);
		if (r < 0)
			return r;
		if (p->at == p->take.len) {
			p->taken = true;
			p->at = 0;
		}
	}
	while (p->at < p->leave.len) {
		if (out->len >= end)
			return 1;
		int r = list_put(s, p, FRAME_LEAVE, &p->leave, sizeof(struct leave), p->at, out, &p->at);
		if (r < 0)
			return r;
	}
	p->at = 0;
	p->phase = SENDING;
	return 0;
}

/* ---- rounds ---- */

static int round_open(struct session *s, struct part *p, struct buf *out)
{
	buf_reset(&s->payload);
	buf_put(&s->payload, p->scope.b, ID_SIZE);
	buf_varint(&s->payload, p->items.len / sizeof(struct item));
	s->last_round++;
	s->parts->sends = p;
	p->opened = true;
	return frame_put(out, FRAME_PART, &s->payload);
}

static int round_end(struct session *s, struct part *p, struct buf *out)
{
	s->parts->sends = NULL;
	if (p->whole) {
		p->phase = WAITING;
	} else {
		part_reset(p);
		p->look = true;
	}
	buf_reset(&s->payload);
	return frame_put(out, FRAME_END, &s->payload);
}

static int round_delta(struct session *s, const struct part *p, const struct item *x, struct delta **ret,
		       struct err *e)
{
	*ret = NULL;
	int r = view_delta(p->whole ? p->view : s->view, &p->scope, &x->id, x->known, &s->arena, ret, e);
	return r == -ENOENT ? 0 : r;
}

int session_part_step(struct session *s, struct buf *out, struct err *e)
{
	struct part *p = s->parts ? s->parts->sends : NULL;
	for (uint32_t i = 0; s->parts && !p && i < s->parts->n; i++)
		if (s->parts->part[i].phase == SENDING)
			p = &s->parts->part[i];
	if (!p || session_rounds_open(s) || s->out_flight[STREAM_DELTA] >= s->window)
		return 0;
	int r = 0;
	if (!p->opened)
		return (r = round_open(s, p, out)) < 0 ? r : 1;
	while (!s->delta.busy && p->at < p->items.len / sizeof(struct item)) {
		const struct item *x = (const struct item *)(void *)p->items.data + p->at++;
		struct delta *d;
		r = round_delta(s, p, x, &d, e);
		if (r == 0 && d)
			r = session_delta_encode(s, d);
		else
			arena_reset(&s->arena);
		if (r < 0)
			return err_errno(e, r, "cannot read what to send");
	}
	r = s->delta.busy ? session_delta_piece(s, out) : round_end(s, p, out);
	return r < 0 ? err_errno(e, r, "cannot send what a filter picks") : 1;
}

/* ---- out ---- */

static int part_put(struct session *s, struct part *p, struct buf *out, size_t end, struct err *e)
{
	int r = 0;
	if (p->phase == IDLE)
		r = part_wake(s, p, out, e);
	if (r == 0 && p->phase == COMPARING && p->first.len > 0)
		r = part_answer(s, p, e);
	if (r == 0 && p->phase == COMPARING && p->compare)
		r = compare_put(s, p, out, end);
	if (r == 0 && p->phase == HOLDING && !p->whole)
		r = hold_put(s, p, out, end, e);
	if (r == 0 && p->phase == ANSWERING)
		r = answer_put(s, p, out, end);
	return r;
}

int session_parts_put(struct session *s, struct buf *out, size_t end, struct err *e)
{
	bool more = false;
	for (uint32_t i = 0; s->parts && i < s->parts->n; i++) {
		int r = part_put(s, &s->parts->part[i], out, end, e);
		if (r < 0)
			return r;
		more |= r == 1;
	}
	return more;
}

int session_part_here(struct session *s, const struct id *scope, struct err *e)
{
	struct part *p = part_of(s, scope);
	if (!p || p->phase != WAITING || !p->heard)
		return 0;
	if (!p->whole) {
		/* What W wanted goes back. If that is nothing, and nothing came or left, it has all of it but for numbers that
		 * change nothing. */
		bool same = p->items.len == 0 && !p->moved && p->found.len / sizeof(struct reconcile_item) <= HOLD_MAX;
		p->phase = SENDING;
		return same ? note_held(s, p, true) : 0;
	}
	int r = replica_part_settle(s->replica, e);
	part_reset(p);
	p->look = true;
	p->not_before = replica_commits(s->replica);
	return r;
}

/* ---- in ---- */

static int out_of_place(struct err *e)
{
	return err_set(e, -EPROTO, "the peer spoke of a part of a collection out of place");
}

static int malformed(struct err *e)
{
	return err_set(e, -EPROTO, "the peer sent a malformed frame about a part of a collection");
}

static int get_part(struct session *s, struct cursor *c, bool whole, struct part **ret, struct err *e)
{
	struct id scope;
	const uint8_t *id = cursor_take(c, ID_SIZE);
	if (!id)
		return malformed(e);
	memcpy(scope.b, id, ID_SIZE);
	int r = s->scopes_in ? session_parts_begin(s, e) : 0;
	if (r < 0)
		return r;
	struct part *p = part_of(s, &scope);
	if (!p || p->refused || (whole && !p->whole))
		return out_of_place(e);
	*ret = p;
	return 0;
}

int session_compare_get(struct session *s, struct cursor *c, struct err *e)
{
	struct part *p = NULL;
	int r = get_part(s, c, false, &p, e);
	if (r < 0)
		return r;
	size_t n = cursor_left(c);
	if (n == 0 || n > RECONCILE_FRAME_MAX)
		return malformed(e);
	const uint8_t *data = cursor_take(c, n);
	if (!p->whole && p->phase == IDLE) {
		buf_put(&p->first, data, n);
		p->phase = COMPARING;
		return buf_failed(&p->first) ? no_memory(e) : 0;
	}
	if (p->phase != COMPARING || !p->compare)
		return out_of_place(e);
	return reconcile_take(p->compare, data, n, e);
}

static int held_add(struct session *s, struct part *p, struct cursor *c, struct err *e)
{
	struct held x;
	const uint8_t *id = cursor_take(c, ID_SIZE);
	size_t n = p->held.len / sizeof(x);
	if (!id || n == HOLD_MAX || p->arena.total > HOLD_MEMORY)
		return malformed(e);
	memcpy(x.id.b, id, ID_SIZE);
	if (n > 0 && id_cmp(&((const struct held *)(void *)p->held.data)[n - 1].id, &x.id) >= 0)
		return malformed(e);
	int r = vv_decode_arena(&p->arena, c, s->actors, s->in_actors, &x.context);
	if (r == 0)
		r = session_check_own(s, &x.context, e);
	buf_put(&p->held, &x, sizeof(x));
	if (r == -EBADMSG)
		return malformed(e);
	return r == 0 && buf_failed(&p->held) ? no_memory(e) : r;
}

int session_hold_get(struct session *s, struct cursor *c, struct err *e)
{
	struct part *p = NULL;
	int r = get_part(s, c, true, &p, e);
	if (r < 0)
		return r;
	uint8_t flags = cursor_u8(c);
	if (flags == POKE && cursor_end(c)) {
		p->due = true;
		return 0;
	}
	if (!cursor_ok(c) || flags > FRAME_MORE)
		return malformed(e);
	/* Its last word of the comparison may have come with this. */
	if (p->phase == COMPARING && p->compare && reconcile_done(p->compare)) {
		struct buf nothing = { 0 };
		r = compare_put(s, p, &nothing, 1);
		buf_done(&nothing);
		if (r < 0)
			return r;
	}
	if (p->phase != HOLDING)
		return out_of_place(e);
	while (r == 0 && cursor_left(c) > 0)
		r = held_add(s, p, c, e);
	return r < 0 || flags ? r : plan(s, p, e);
}

int session_take_get(struct session *s, struct cursor *c, struct err *e)
{
	struct part *p = NULL;
	int r = get_part(s, c, false, &p, e);
	if (r < 0)
		return r;
	uint8_t flags = cursor_u8(c);
	size_t n = cursor_left(c) / ID_SIZE;
	if (p->whole || p->phase != WAITING || p->taken)
		return out_of_place(e);
	if (!cursor_ok(c) || flags > FRAME_MORE || cursor_left(c) % ID_SIZE ||
	    p->items.len / sizeof(struct item) + n > HOLD_MAX)
		return malformed(e);
	for (size_t i = 0; i < n; i++) {
		struct item x = { .known = NULL };
		const uint8_t *id = cursor_take(c, ID_SIZE);
		if (!id)
			return malformed(e);
		memcpy(x.id.b, id, ID_SIZE);
		buf_put(&p->items, &x, sizeof(x));
	}
	p->taken = flags == 0;
	return buf_failed(&p->items) ? no_memory(e) : 0;
}

int session_leave_get(struct session *s, struct cursor *c, struct err *e)
{
	struct part *p = NULL;
	int r = get_part(s, c, false, &p, e);
	if (r < 0)
		return r;
	uint8_t flags = cursor_u8(c);
	size_t n = cursor_left(c) / sizeof(struct leave);
	if (p->whole || p->phase != WAITING || !p->taken || p->heard)
		return out_of_place(e);
	if (!cursor_ok(c) || flags > FRAME_MORE || n == 0 || cursor_left(c) % sizeof(struct leave))
		return malformed(e);
	p->moved = true;
	return replica_part_leave(s->replica, &p->scope, (const struct leave *)(const void *)cursor_take(c, n * sizeof(struct leave)),
			     (uint32_t)n, e);
}

/* A round of a part. */
int session_part_get(struct session *s, struct cursor *c, struct err *e)
{
	struct part *p = NULL;
	int r = get_part(s, c, false, &p, e);
	if (r < 0)
		return r;
	uint64_t count = cursor_varint(c);
	if (!cursor_end(c))
		return malformed(e);
	if (p->phase != WAITING || intake_open(s->intake) || p->heard || (!p->whole && !p->taken))
		return out_of_place(e);
	p->heard = true;
	p->moved |= count > 0;
	return intake_part(s->intake, &p->scope, count, e);
}
