/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The intake's news: with which actors the peer was first, and with which it was late (shoal-protocol(7),
 * Spreading). */
#include "engine/intake-impl.h"
#include "engine/replica-live.h"

int intake_news_note(struct round *round, const struct vv *base)
{
	int r = 0;
	round->asked = base != NULL;
	for (uint32_t i = 0; r == 0 && base && i < round->upto.n; i++) {
		const struct vv_item *x = &round->upto.item[i];
		if (x->seq > vv_get(base, x->actor))
			r = vv_raise(&round->news, x->actor, x->seq);
	}
	return r;
}

int intake_news_divide(struct intake *in, const struct round *round, struct vv *fresh, struct vv *late)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && round->asked && i < round->upto.n; i++) {
		const struct dot d = { round->upto.item[i].actor, round->upto.item[i].seq };
		if (!replica_has(in->replica, &round->scope, d))
			r = vv_raise(fresh, d.actor, d.seq);
	}
	for (uint32_t i = 0; r == 0 && i < round->news.n; i++) {
		const struct dot d = { round->news.item[i].actor, round->news.item[i].seq };
		if (!vv_has(fresh, d))
			r = vv_raise(late, d.actor, d.seq);
	}
	return r;
}

struct claim *intake_claim_unseen(struct intake *in)
{
	for (uint32_t i = 0; i < in->n_claims; i++)
		if (!in->claim[i].seen)
			return &in->claim[i];
	return NULL;
}

bool intake_brings(const struct intake *in, const struct id *scope, struct dot d)
{
	for (uint32_t i = 0; i < in->n_rounds; i++)
		if (id_equal(&in->round[i]->scope, scope) && vv_has(&in->round[i]->upto, d))
			return true;
	return false;
}

const struct vv *intake_upto(const struct intake *in, uint32_t i, const struct id **ret_scope)
{
	*ret_scope = &in->round[i]->scope;
	return in->round[i]->part ? NULL : &in->round[i]->upto;
}
