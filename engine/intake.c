/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Structures. A delta that waits is an `arrival`, in one chain for each node (`lane`), of which
 * only the first one waits for anything but its predecessor. It waits for a number of hashes (each
 * hash, `want`, lists the arrivals behind it), for the record of its node, or, when too many
 * hashes are being waited for already, for its turn (`later`).
 *
 * Those of a bundle stand in the lanes of their nodes as well, once the last of them is here. They
 * are joined when each is the first of its lane and none of them waits for anything. */
#include "engine/intake-impl.h"

#include <assert.h>
#include <errno.h>

static void arrival_free(struct arrival *a)
{
	if (!a)
		return;
	free(a->waiter);
	arena_done(&a->arena);
	buf_done(&a->bytes);
	free(a);
}

static void parcel_free(struct parcel *p)
{
	if (!p)
		return;
	buf_done(&p->head);
	arena_done(&p->arena);
	free(p);
}

/* Of arrivals that are in no lane yet. */
static void parcel_drop(struct parcel *p)
{
	for (struct arrival *a = p ? p->first : NULL, *mate; a; a = mate) {
		mate = a->mate;
		arrival_free(a);
	}
	parcel_free(p);
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	for (uint32_t i = 0; i < in->n_rounds; i++)
		intake_round_free(in->round[i]);
	while (in->n_claims > 0)
		intake_claim_drop(in, in->n_claims - 1);
	for (uint32_t i = 0; i < BUCKETS; i++) {
		for (struct lane *l = in->lane[i], *next; l; l = next) {
			next = l->next;
			for (struct arrival *a = l->first, *after; a; a = after) {
				after = a->next;
				/* The last one of a parcel takes it along. */
				if (a->parcel && --a->parcel->received == 0)
					parcel_free(a->parcel);
				arrival_free(a);
			}
			free(l);
		}
		for (struct want *w = in->want[i], *next; w; w = next) {
			next = w->next;
			free(w);
		}
	}
	while (in->spare) {
		struct arrival *a = in->spare;
		in->spare = a->next;
		arrival_free(a);
	}
	arrival_free(in->piece);
	parcel_drop(in->parcel);
	buf_done(&in->record);
	arena_done(&in->scratch);
	actor_codec_free(in->delta_actors);
	actor_codec_free(in->record_actors);
	free(in->round);
	free(in->claim);
	free(in);
}

int intake_new(struct replica *replica, const struct actor_id *from, uint64_t window,
	       struct actor_quota *strangers, struct intake **ret)
{
	_cleanup_(intake_freep) struct intake *in = calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->replica = replica;
	in->from = *from;
	in->window = window;
	in->asks_max = INTAKE_WANTS_FIRST;
	int r = actor_codec_new(replica_actors(replica), &in->delta_actors);
	if (r == 0)
		r = actor_codec_new(replica_actors(replica), &in->record_actors);
	if (r < 0)
		return r;
	actor_codec_limit(in->delta_actors, strangers);
	actor_codec_limit(in->record_actors, strangers);
	*ret = TAKE_PTR(in);
	return 0;
}

/* ---- tables ---- */

static struct lane **lane_at(struct intake *in, const struct id *node)
{
	struct lane **p = &in->lane[id_hash(node) % BUCKETS];
	while (*p && !id_equal(&(*p)->node, node))
		p = &(*p)->next;
	return p;
}

/* ---- arrivals ---- */

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

static struct arrival *arrival_new(struct intake *in)
{
	struct arrival *a = in->spare;
	if (!a)
		return calloc(1, sizeof(struct arrival));
	in->spare = a->next;
	in->n_spare--;
	a->next = NULL;
	return a;
}

/* Gives the credit back and the memory up. */
static void arrival_done(struct intake *in, struct arrival *a)
{
	in->credit[STREAM_DELTA] += a->cost;
	in->credit[STREAM_RECORD] += a->record_cost;
	if (in->n_spare > 0 && (in->n_spare == BURST_MAX || a->bytes.cap > 8192 || a->arena.total > 32768)) {
		arrival_free(a);
		return;
	}
	free(a->waiter);
	arena_reset(&a->arena);
	buf_reset(&a->bytes);
	*a = (struct arrival){ .arena = a->arena, .bytes = a->bytes, .next = in->spare };
	in->spare = a;
	in->n_spare++;
}

void intake_spare_less(struct intake *in)
{
	while (in->n_spare > 1) {
		struct arrival *a = in->spare;
		in->spare = a->next;
		in->n_spare--;
		arrival_free(a);
	}
}

static int arrival_wait(struct intake *in, struct arrival *a, const struct sha256 *hash, uint32_t n,
			struct err *e)
{
	if (n > WAIT_HASHES)
		n = WAIT_HASHES;
	free(a->waiter);
	a->waiter = calloc(n, sizeof(*a->waiter));
	a->wait = WAIT_CHUNKS;
	a->missing = n;
	for (uint32_t i = 0; i < n; i++) {
		if (!a->waiter)
			return no_memory(e);
		a->waiter[i].arrival = a;
		if (intake_want_add(in, &hash[i], &a->waiter[i]) < 0)
			return no_memory(e);
	}
	return 0;
}

/* What it takes before it can be joined. */
static int arrival_needs(struct intake *in, struct arrival *a, const struct arrived *x, struct err *e)
{
	if (x->result == APPLY_NEED_WHOLE) {
		if (a->record)
			return err_set(e, -EPROTO, "the peer sent a whole record that is none");
		a->wait = WAIT_RECORD;
		queue_push(&in->records, a);
		return 0;
	}
	if (in->n_wants >= WANTS_TOTAL) {
		a->wait = WAIT_LATER;
		queue_push(&in->later, a);
		return 0;
	}
	return arrival_wait(in, a, x->missing, x->n_missing, e);
}

static int cannot_join(int code, struct err *e)
{
	if (code == -EBADMSG || code == -EPROTONOSUPPORT)
		err_prefix(e, "the peer sent a delta that cannot be joined");
	return code;
}

static bool is_waiting(const struct arrived *x)
{
	return x->result == APPLY_NEED_WHOLE || x->result == APPLY_NEED_CHUNKS;
}

/* The chunks that it waited for are here: goes on to look for more. 1: there are none, 0: it waits. */
static int arrival_more(struct intake *in, struct arrival *a, struct err *e)
{
	struct arrived x = { .result = APPLY_NEED_CHUNKS };
	if (a->wait != WAIT_CHUNKS || a->nowhere || in->sparing)
		return 1;
	arena_reset(&in->scratch);
	int r = replica_missing(in->replica, &in->scratch, a->delta, &a->place, &x.missing,
				&x.n_missing, e);
	if (r < 0)
		return cannot_join(r, e);
	return x.n_missing > 0 ? arrival_needs(in, a, &x, e) : 1;
}

/* Tries to join. 1: done with it; 0: it waits. */
static int arrival_try(struct intake *in, struct arrival *a, struct err *e)
{
	struct arrived x = { .delta = a->delta, .upto = &a->round->upto,
			     .nowhere = a->nowhere || in->sparing,
			     .part = a->round->part,
			     .by = a->round->part ? &in->from.device : NULL };
	int r = arrival_more(in, a, e);
	if (r <= 0)
		return r;
	arena_reset(&in->scratch);
	r = replica_apply_all(in->replica, &in->scratch, &x, 1, NULL, e);
	if (r < 0)
		return cannot_join(r, e);
	return is_waiting(&x) ? arrival_needs(in, a, &x, e) : 1;
}

static void waits_no_more(struct intake *in, struct arrival *a)
{
	intake_mark_left(a->round, a);
	a->round->waiting--;
	in->waiting--;
	in->waiting_bytes -= a->bytes.len;
	arrival_done(in, a);
}

void intake_leave(struct intake *in, struct arrival *a)
{
	struct lane **at = lane_at(in, &a->delta->state.id), *lane = *at;
	lane->first = a->next;
	if (lane->first) {
		queue_push(&in->ready, lane->first);
	} else {
		*at = lane->next;
		free(lane);
	}
	waits_no_more(in, a);
}

/* Gives credit for what was held back because too much waited. */
static void release(struct intake *in)
{
	if (in->waiting_bytes >= in->window)
		return;
	if (in->piece) {
		in->credit[STREAM_DELTA] += in->piece->cost;
		in->piece->cost = 0;
	}
	for (struct arrival *a = in->parcel ? in->parcel->first : NULL; a; a = a->mate) {
		in->credit[STREAM_DELTA] += a->cost;
		a->cost = 0;
	}
}

/* ---- bundles ---- */

/* All of it is joined: the lanes go on. */
static void parcel_done(struct intake *in, struct parcel *p)
{
	for (struct arrival *a = p->first, *mate; a; a = mate) {
		mate = a->mate;
		intake_leave(in, a);
	}
	parcel_free(p);
	release(in);
}

static int parcel_try(struct intake *in, struct parcel *p, struct err *e)
{
	static const struct vv nothing;
	uint32_t i = 0;
	arena_reset(&in->scratch);
	struct arrived *x = arena_array(&in->scratch, p->received, sizeof(*x));
	if (!x)
		return no_memory(e);
	for (const struct arrival *a = p->first; a; a = a->mate, i++) {
		bool own = id_equal(&a->delta->state.scope, &a->round->scope);
		x[i] = (struct arrived){ .delta = a->delta, .upto = own ? &a->round->upto : &nothing,
					 .nowhere = a->nowhere || in->sparing };
	}
	int r = replica_apply_all(in->replica, &in->scratch, x, p->received, &p->bundle, e);
	if (r < 0)
		return cannot_join(r, e);
	i = 0;
	for (struct arrival *a = p->first; a; a = a->mate, i++) {
		if (!is_waiting(&x[i]))
			continue;
		p->waiting++;
		r = arrival_needs(in, a, &x[i], e);
		if (r < 0)
			return r;
	}
	if (p->waiting == 0)
		parcel_done(in, p);
	return 0;
}

/* One of a bundle is the first of its lane and has what it needs. */
static int parcel_run(struct intake *in, struct arrival *a, struct err *e)
{
	if (a->wait == WAIT_OTHERS)
		return 0;
	int r = arrival_more(in, a, e);
	if (r <= 0)
		return r;
	a->wait = WAIT_OTHERS;
	return --a->parcel->waiting == 0 ? parcel_try(in, a->parcel, e) : 0;
}

int intake_lane_run(struct intake *in, const struct id *node, struct err *e)
{
	struct lane **p = lane_at(in, node), *lane = *p;
	assert(lane);
	while (lane->first && !lane->first->parcel) {
		struct arrival *a = lane->first;
		int r = arrival_try(in, a, e);
		if (r <= 0)
			return r;
		lane->first = a->next;
		waits_no_more(in, a);
	}
	int r = 0;
	if (lane->first) {
		r = parcel_run(in, lane->first, e);
	} else {
		*p = lane->next;
		free(lane);
	}
	release(in);
	return r < 0 ? r : intake_claim_rounds(in, e);
}

int intake_run_ready(struct intake *in, struct err *e)
{
	for (;;) {
		struct arrival *a = queue_pop(&in->ready);
		if (!a && in->n_wants < WANTS_TOTAL / 2)
			a = queue_pop(&in->later);
		if (!a)
			return intake_marks_run(in, e);
		struct id node = a->delta->state.id;
		int r = intake_lane_run(in, &node, e);
		if (r < 0)
			return r;
	}
}

/* bundle NULL: it came alone. */
static int arrival_decode(struct intake *in, struct arrival *a, struct actor_codec *codec,
			  const struct bundle *bundle, struct delta **ret, struct err *e)
{
	const struct id *scope = &a->round->scope;
	struct cursor c = cursor_make(a->bytes.data, a->bytes.len);
	struct delta *d;
	int r = delta_decode(&a->arena, replica_actors(in->replica), codec, &c, &d, e);
	if (r == -EBADMSG)
		return err_set(e, -EPROTO, "the peer sent a malformed delta");
	if (r < 0)
		return r;
	if (!cursor_end(&c))
		return err_set(e, -EPROTO, "the peer sent a delta with something behind it");
	if (bundle) {
		uint32_t i = bundle_find(bundle, &d->state.id);
		if (i == UINT32_MAX)
			return err_set(e, -EPROTO, "the peer sent a delta that is not of its bundle");
		scope = &bundle->member[i].scope;
	}
	/* Only a whole record names its scope. */
	if (!d->complete)
		d->state.scope = *scope;
	if (!id_equal(&d->state.scope, scope))
		return err_set(e, -EPROTO, "the peer sent a delta of another scope");
	*ret = d;
	return 0;
}

/* A lane for the arrival's node; *ret_new: nothing else is in it. */
static int lane_get(struct intake *in, const struct id *node, struct lane **ret, bool *ret_new,
		    struct err *e)
{
	struct lane **p = lane_at(in, node);
	*ret_new = *p == NULL;
	if (!*p) {
		*p = calloc(1, sizeof(**p));
		if (!*p)
			return no_memory(e);
		(*p)->node = *node;
	}
	*ret = *p;
	return 0;
}

static void lane_push(struct intake *in, struct lane *lane, struct arrival *a)
{
	a->next = NULL;
	if (lane->last && lane->first)
		lane->last->next = a;
	else
		lane->first = a;
	lane->last = a;
	a->marks = a->round->marks;
	a->round->waiting++;
	in->waiting++;
	in->waiting_bytes += a->bytes.len;
}

/* The last delta of a bundle is here: all of them get in line. */
static int parcel_take(struct intake *in, struct err *e)
{
	struct parcel *p = TAKE_PTR(in->parcel);
	struct lane *lane;
	bool ready = true, empty;
	for (struct arrival *a = p->first; a; a = a->mate) {
		if (lane_get(in, &a->delta->state.id, &lane, &empty, e) < 0) {
			/* The session ends. What is in a lane already goes with it. */
			in->parcel = p;
			return -ENOMEM;
		}
	}
	p->waiting = p->received;
	for (struct arrival *a = p->first; a; a = a->mate) {
		(void)lane_get(in, &a->delta->state.id, &lane, &empty, e);
		a->wait = lane->first ? WAIT_TURN : WAIT_OTHERS;
		p->waiting -= a->wait == WAIT_OTHERS;
		ready &= a->wait == WAIT_OTHERS;
		lane_push(in, lane, a);
	}
	return ready ? parcel_try(in, p, e) : 0;
}

/* A complete delta of the bundle that comes in. */
static int parcel_add(struct intake *in, struct arrival *a, struct err *e)
{
	struct parcel *p = in->parcel;
	int r = arrival_decode(in, a, in->delta_actors, &p->bundle, &a->delta, e);
	uint32_t i = r == 0 ? bundle_find(&p->bundle, &a->delta->state.id) : UINT32_MAX;
	if (r == 0 && p->here[i])
		r = err_set(e, -EPROTO, "the peer sent a node twice in one bundle");
	p->bytes += a->bytes.len;
	if (r == 0 && p->bytes > BUNDLE_SIZE_MAX)
		r = err_set(e, -EPROTO, "the peer sent a bundle that is too large");
	if (r < 0) {
		arrival_free(a);
		return r;
	}
	p->here[i] = true;
	a->nowhere = in->sparing;
	a->parcel = p;
	if (p->last)
		p->last->mate = a;
	else
		p->first = a;
	p->last = a;
	return ++p->received == p->bundle.n_deltas ? parcel_take(in, e) : 0;
}

int intake_bundle(struct intake *in, bool more, const void *data, size_t len, uint64_t cost,
		  struct err *e)
{
	struct parcel *p = in->parcel;
	if (!in->open || in->piece || (p && p->decoded))
		return err_set(e, -EPROTO, "the peer sent a bundle out of place");
	if (!p)
		p = in->parcel = calloc(1, sizeof(*p));
	if (!p)
		return no_memory(e);
	in->credit[STREAM_DELTA] += cost;
	if (p->head.len + len > BUNDLE_HEAD_MAX)
		return err_set(e, -EPROTO, "the peer sent a bundle that is too large");
	buf_put(&p->head, data, len);
	if (buf_failed(&p->head))
		return no_memory(e);
	if (more)
		return 0;
	struct cursor c = cursor_make(p->head.data, p->head.len);
	int r = bundle_decode(&p->arena, in->delta_actors, &c, &p->bundle);
	if (r == -EBADMSG)
		return err_set(e, -EPROTO, "the peer sent a malformed bundle");
	p->here = r == 0 ? arena_array(&p->arena, p->bundle.n_members, sizeof(*p->here)) : NULL;
	if (!p->here)
		return no_memory(e);
	buf_done(&p->head);
	p->decoded = true;
	return 0;
}

/* ---- deltas ---- */

/* A complete delta, whose arrival is taken. */
static int arrival_take(struct intake *in, struct arrival *a, struct err *e)
{
	struct lane *lane;
	bool alone;
	a->round = in->open;
	in->open->received++;
	in->open->bytes += a->bytes.len;
	in->open->in_row = 0;
	in->deltas++;
	if (in->parcel)
		return parcel_add(in, a, e);
	int r = arrival_decode(in, a, in->delta_actors, NULL, &a->delta, e);
	if (r == 0)
		r = lane_get(in, &a->delta->state.id, &lane, &alone, e);
	if (r < 0) {
		arrival_free(a);
		return r;
	}
	a->wait = WAIT_TURN;
	a->nowhere = in->sparing;
	lane_push(in, lane, a);
	if (!alone)
		return 0;
	if (intake_burst_takes(a))
		return intake_burst_add(in, a, e);
	r = intake_settle(in, e);
	return r < 0 ? r : intake_lane_run(in, &lane->node, e);
}

int intake_delta(struct intake *in, bool more, const void *data, size_t len, uint64_t cost,
		 struct err *e)
{
	if (!in->open)
		return err_set(e, -EPROTO, "the peer sent a delta outside of a round");
	if (in->parcel && !in->parcel->decoded)
		return err_set(e, -EPROTO, "the peer sent a delta inside of a bundle's head");
	struct arrival *a = in->piece ? in->piece : arrival_new(in);
	if (!a)
		return no_memory(e);
	in->piece = a;
	if (a->bytes.len + len > DELTA_SIZE_MAX)
		return err_set(e, -EPROTO, "the peer sent a delta that is too large");
	buf_put(&a->bytes, data, len);
	if (buf_failed(&a->bytes))
		return no_memory(e);
	/* A bundle is here as a whole or not at all, so its deltas cannot wait for each other's credit. */
	if ((more || in->parcel) && in->waiting_bytes < in->window)
		in->credit[STREAM_DELTA] += cost;
	else
		a->cost += cost;
	if (more)
		return 0;
	in->piece = NULL;
	int r = arrival_take(in, a, e);
	return r < 0 ? r : intake_run_ready(in, e);
}

/* The record is here. If the delta fits by now, others have brought what it lacked, and the record is
 * not looked at: the peer may have made it of a newer view, without the rest of its batches. */
static int record_take(struct intake *in, struct arrival *a, struct err *e)
{
	const struct id node = a->delta->state.id;
	struct buf delta = a->bytes;
	struct delta *d;
	a->bytes = in->record;
	in->record = (struct buf){ 0 };
	int r = arrival_decode(in, a, in->record_actors, a->parcel ? &a->parcel->bundle : NULL, &d, e);
	if (r == 0 && (!d->complete || !id_equal(&d->state.id, &node)))
		r = err_set(e, -EPROTO, "the peer sent another record than it was asked for");
	if (r == 0 && replica_fits(in->replica, a->delta)) {
		struct buf record = a->bytes;
		a->bytes = delta;
		delta = record;
	} else if (r == 0) {
		in->waiting_bytes += a->bytes.len - delta.len;
		a->delta = d;
		a->place = (struct missing_place){ 0 };
		a->record = true;
	}
	buf_done(&delta);
	if (r < 0)
		return r;
	in->record_asked = false;
	queue_pop(&in->records);
	r = intake_lane_run(in, &node, e);
	return r < 0 ? r : intake_run_ready(in, e);
}

int intake_record(struct intake *in, uint64_t round, const struct id *node, bool more,
		  const void *data, size_t len, uint64_t cost, struct err *e)
{
	struct arrival *a = in->record_asked ? in->records.first : NULL;
	if (!a || a->round->no != round || !id_equal(&a->delta->state.id, node))
		return err_set(e, -EPROTO, "the peer sent a record that nobody asked for");
	if (in->record.len + len > DELTA_SIZE_MAX)
		return err_set(e, -EPROTO, "the peer sent a record that is too large");
	buf_put(&in->record, data, len);
	if (buf_failed(&in->record))
		return no_memory(e);
	if (more) {
		in->credit[STREAM_RECORD] += cost;
		return 0;
	}
	a->record_cost += cost;
	return record_take(in, a, e);
}

bool intake_whole(struct intake *in, uint64_t *ret_round, struct id *ret_node)
{
	if (!in->records.first || in->record_asked)
		return false;
	in->record_asked = true;
	*ret_round = in->records.first->round->no;
	*ret_node = in->records.first->delta->state.id;
	return true;
}

/* ---- figures ---- */

uint64_t intake_credit(const struct intake *in, enum stream s)
{
	return in->credit[s];
}

void intake_credit_add(struct intake *in, enum stream s, uint64_t n)
{
	in->credit[s] += n;
}

uint64_t intake_credit_take(struct intake *in, enum stream s)
{
	uint64_t n = in->credit[s];
	in->credit[s] = 0;
	return n;
}

uint64_t intake_left(const struct intake *in)
{
	uint64_t left = in->waiting;
	if (in->open && in->open->announced > in->open->received)
		left += in->open->announced - in->open->received;
	return left;
}

uint64_t intake_deltas(const struct intake *in)
{
	return in->deltas;
}
