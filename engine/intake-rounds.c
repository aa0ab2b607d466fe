/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The intake's rounds: those under way, of which one is open and others may have been left, and what is claimed
 * when all of one is joined. */
#include "engine/intake-impl.h"

#include <assert.h>
#include <errno.h>

void intake_round_free(struct round *round)
{
	vv_done(&round->upto);
	spans_done(&round->spans);
	spans_done(&round->reach);
	spans_done(&round->resumed);
	vv_done(&round->news);
	free(round);
}

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

/* Room for one more element of `size` bytes in a list of n. */
static int grow(void **list, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap)
		return 0;
	uint32_t more = *cap ? 2 * *cap : 8;
	void *p = reallocarray(*list, more, size);
	if (!p)
		return -ENOMEM;
	*list = p;
	*cap = more;
	return 0;
}

/* The round of the scope that is not ended; NULL: there is none. */
static struct round *round_find(const struct intake *in, const struct id *scope)
{
	for (uint32_t i = 0; i < in->n_rounds; i++)
		if (!in->round[i]->ended && id_equal(&in->round[i]->scope, scope))
			return in->round[i];
	return NULL;
}

/* Nothing of a delta is on its way, and no round that is to be ended before anything else. */
static bool can_switch(const struct intake *in)
{
	return !in->piece && !in->parcel && (!in->open || in->open->turned);
}

bool intake_can_open(const struct intake *in, const struct id *scope)
{
	return can_switch(in) && !round_find(in, scope);
}

bool intake_can_raise(const struct intake *in, const struct id *scope)
{
	const struct round *round = round_find(in, scope);
	return round && !round->part && !in->piece && !in->parcel && (round == in->open || can_switch(in));
}

int intake_round(struct intake *in, const struct id *scope, const struct vv *base, const struct vv *upto,
		 uint64_t count, struct spans *resumed, struct err *e)
{
	if (!intake_can_open(in, scope))
		return err_set(e, -EPROTO, "the peer opened a round inside a round");
	if (grow((void **)&in->round, in->n_rounds, &in->cap_rounds, sizeof(*in->round)) < 0)
		return no_memory(e);
	struct round *round = calloc(1, sizeof(*round));
	if (!round || vv_copy(upto, &round->upto) < 0 || intake_news_note(round, base) < 0) {
		if (round)
			intake_round_free(round);
		return no_memory(e);
	}
	replica_partial_upto(in->replica, &in->from, scope, upto, false);
	round->no = ++in->last_round;
	round->scope = *scope;
	round->announced = count;
	if (resumed) {
		round->resumed = *resumed;
		*resumed = (struct spans){ 0 };
	}
	in->round[in->n_rounds++] = in->open = round;
	return 0;
}

int intake_part(struct intake *in, const struct id *scope, uint64_t count, struct err *e)
{
	static const struct vv nothing;
	if (intake_open(in))
		return err_set(e, -EPROTO, "the peer opened a part inside a round");
	int r = intake_round(in, scope, NULL, &nothing, count, NULL, e);
	if (r == 0)
		in->open->part = true;
	return r;
}

bool intake_in_part(const struct intake *in)
{
	return in->open && in->open->part;
}

int intake_raise(struct intake *in, const struct id *scope, const struct vv *base, const struct vv *upto,
		 struct err *e)
{
	struct round *round = round_find(in, scope);
	assert(round);
	if (!upto && !round->turned)
		return err_set(e, -EPROTO, "the peer goes on with a round that it has not left");
	in->open = round;
	if (!upto)
		return 0;
	struct vv copy = { 0 };
	if (vv_copy(upto, &copy) < 0)
		return no_memory(e);
	vv_done(&round->upto);
	round->upto = copy;
	if (intake_news_note(round, base) < 0)
		return no_memory(e);
	round->in_row = 0;
	if (!round->turned) {
		round->turned = true;
		round->counts = false;
		round->spans = round->resumed;
		round->resumed = (struct spans){ 0 };
	}
	int r = spans_raise(&round->spans, upto);
	if (r == -ENOSPC)
		return err_set(e, -EPROTO, "the peer raised a round too often");
	return r < 0 ? no_memory(e) : 0;
}

static int claim_round(struct intake *in, uint32_t i, struct err *e)
{
	_cleanup_(vv_done) struct vv fresh = { 0 }, late = { 0 };
	struct round *round = in->round[i];
	if (grow((void **)&in->claim, in->n_claims, &in->cap_claims, sizeof(*in->claim)) < 0 ||
	    intake_news_divide(in, round, &fresh, &late) < 0)
		return no_memory(e);
	int r = round->part ? 0 : replica_claim(in->replica, &round->scope, &round->upto, e);
	if (r < 0)
		return r;
	vv_done(&round->news);
	in->claim[in->n_claims++] = (struct claim){ .scope = round->scope,
						    .upto = round->upto,
						    .commits = replica_commits(in->replica),
						    .part = round->part,
						    .fresh = fresh,
						    .late = late };
	fresh = late = (struct vv){ 0 };
	if (!round->part)
		replica_partial_upto(in->replica, &in->from, &round->scope,
				     &in->claim[in->n_claims - 1].upto, true);
	round->upto = (struct vv){ 0 }; /* the claim has it */
	intake_round_free(round);
	in->n_rounds--;
	memmove(&in->round[i], &in->round[i + 1], (in->n_rounds - i) * sizeof(*in->round));
	return 0;
}

int intake_claim_rounds(struct intake *in, struct err *e)
{
	for (uint32_t i = 0; i < in->n_rounds;) {
		struct round *round = in->round[i];
		bool ready = round->ended && round->waiting == 0;
		for (uint32_t k = 0; ready && k < i; k++)
			ready = !id_equal(&in->round[k]->scope, &round->scope);
		if (!ready) {
			i++;
			continue;
		}
		int r = claim_round(in, i, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int intake_end(struct intake *in, struct err *e)
{
	if (!in->open || in->piece || in->parcel)
		return err_set(e, -EPROTO, "the peer ended a round that was not open");
	in->open->ended = true;
	in->open = NULL;
	intake_spare_less(in);
	return intake_claim_rounds(in, e);
}

/* ---- figures ---- */

uint32_t intake_rounds(const struct intake *in)
{
	return in->n_rounds;
}

bool intake_open(const struct intake *in)
{
	for (uint32_t i = 0; i < in->n_rounds; i++)
		if (!in->round[i]->ended)
			return true;
	return false;
}

uint32_t intake_claims(const struct intake *in)
{
	return in->n_claims;
}

const struct claim *intake_claim(const struct intake *in, uint32_t i)
{
	return &in->claim[i];
}

void intake_claim_drop(struct intake *in, uint32_t i)
{
	vv_done(&in->claim[i].upto);
	vv_done(&in->claim[i].fresh);
	vv_done(&in->claim[i].late);
	in->n_claims--;
	memmove(&in->claim[i], &in->claim[i + 1], (in->n_claims - i) * sizeof(*in->claim));
}
