/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The places that a round's sender names, and when all before one is here: shoal-protocol(7), Places.
 *
 * A round has one mark whose arrivals are counted, and the newest one behind it. Arrivals are told apart by the
 * mark that was counted when they came. When the first is reached, the other one waits for all that waits
 * then: more than it must, but no list of marks is needed.
 *
 * Newest first, a place is what spans say, and it is the same with copies of these. */
#include "engine/intake-impl.h"

#include <errno.h>

#define REACH_BYTES 256 /* of deltas before spans are copied again, which takes longer than to send a mark */

static bool reach_due(const struct round *round)
{
	return round->reach_bytes == 0 || round->bytes + 1 >= round->reach_bytes + REACH_BYTES;
}

/* What has been through when all is here that came by now. */
static int reach_begin(struct round *round)
{
	round->counts = true;
	round->reach_bytes = round->bytes + 1;
	round->before = round->waiting;
	round->marks++;
	round->reach_moves = round->moves;
	return spans_copy(&round->spans, &round->reach);
}

static int too_many(struct err *e)
{
	return err_set(e, -EPROTO, "the peer named too many places in a row");
}

static int mark_back(struct intake *in, struct round *round, uint32_t actor, uint64_t seq, struct err *e)
{
	if (!spans_lower(&round->spans, actor, seq))
		return err_set(e, -EPROTO, "the peer named a place that is out of order");
	/* One for each actor each time that a span is done. */
	if (round->in_row > SPANS_MAX * round->upto.n)
		return too_many(e);
	round->moves++;
	if (!round->counts && reach_due(round) && reach_begin(round) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return intake_marks_run(in, e);
}

/* More than is kept for another session: without the highest ones, which have least in them. */
static int note_spans(struct intake *in, struct round *round)
{
	struct spans x = round->reach;
	if (x.n > SPANS_KEPT)
		x.n = SPANS_KEPT;
	return replica_partial_raise(in->replica, &in->from, &round->scope, NULL, &x);
}

int intake_mark(struct intake *in, uint32_t actor, uint64_t seq, struct err *e)
{
	struct round *round = in->open;
	if (!round || in->piece || in->parcel)
		return err_set(e, -EPROTO, "the peer named a place outside of a round or inside of a delta");
	round->in_row++;
	if (round->turned)
		return mark_back(in, round, actor, seq, e);
	int c = round->last.seq ? actors_cmp(replica_actors(in->replica), actor, round->last.actor) : 1;
	if (seq == 0 || seq > vv_get(&round->upto, actor) || c < 0 ||
	    (c == 0 && seq <= round->last.seq))
		return err_set(e, -EPROTO, "the peer named a place that is out of order");
	if (round->in_row > 1)
		return too_many(e);
	round->last = (struct dot){ actor, seq };
	if (!round->counts) {
		round->mark = round->last;
		round->counts = true;
		round->before = round->waiting;
		round->marks++;
	}
	return intake_marks_run(in, e);
}

void intake_mark_left(struct round *round, const struct arrival *a)
{
	if (round->counts && a->marks < round->marks)
		round->before--;
}

/* What a walk that came to the mark has been through. */
static int reached(const struct intake *in, const struct round *round, struct vv *ret)
{
	const struct actors *actors = replica_actors(in->replica);
	int r = vv_raise(ret, round->mark.actor, round->mark.seq);
	for (uint32_t i = 0; r == 0 && i < round->upto.n; i++) {
		struct vv_item item = round->upto.item[i];
		if (item.actor != round->mark.actor && actors_cmp(actors, item.actor, round->mark.actor) < 0)
			r = vv_raise(ret, item.actor, item.seq);
	}
	return r;
}

/* A place stands on all rounds of its scope before. */
static bool is_first(const struct intake *in, uint32_t i)
{
	for (uint32_t k = 0; k < i; k++)
		if (id_equal(&in->round[k]->scope, &in->round[i]->scope))
			return false;
	return true;
}

int intake_marks_run(struct intake *in, struct err *e)
{
	for (uint32_t i = 0; i < in->n_rounds; i++) {
		struct round *round = in->round[i];
		while (round->counts && round->before == 0 && is_first(in, i)) {
			_cleanup_(vv_done) struct vv v = { 0 };
			int r;
			if (round->turned) {
				r = note_spans(in, round);
				round->counts = round->reach_moves != round->moves && reach_due(round);
				if (r == 0 && round->counts)
					r = reach_begin(round);
				if (r < 0)
					return err_set(e, r, "out of memory");
				continue;
			}
			r = reached(in, round, &v);
			if (r == 0)
				r = replica_partial_raise(in->replica, &in->from, &round->scope, &v, NULL);
			if (r < 0)
				return err_set(e, r, "out of memory");
			round->counts = round->mark.actor != round->last.actor ||
					round->mark.seq != round->last.seq;
			round->mark = round->last;
			round->before = round->waiting;
			round->marks += round->counts;
		}
	}
	return 0;
}
