/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session, in a burst: a program that saves a hundred files makes a hundred changes, and a round with packets of its
 * own for each is most of what they cost. The first ones of a burst go at once, as does a change now and then; the
 * later ones wait for each other (shoal-protocol(7), Rounds).
 *
 * Each change is given CHANGE_US: when so much has been given for more than GIVEN_US to come, it is a burst. */
#include "engine/session-impl.h"

#define CHANGE_US 3000u /* somebody who waits for each change to arrive makes the next one later than that */
#define GIVEN_US 12000u
#define GIVEN_MAX_US 30000u
#define TOGETHER_US 15000u /* from one round to the next */

static bool held(const struct session *s)
{
	return s->live && !s->pace.slow && s->burst_given > s->spread_now + GIVEN_US;
}

bool session_burst_waits(struct session *s)
{
	const uint64_t until = s->burst_round + TOGETHER_US;
	s->burst_until = held(s) && s->spread_now < until ? until : 0;
	return s->burst_until > 0;
}

void session_burst_round(struct session *s, const struct vv *upto, const struct vv *sent)
{
	const uint64_t now = s->spread_now;
	uint64_t n = 0;
	for (uint32_t i = 0; i < upto->n; i++) {
		uint64_t base = vv_get(sent, upto->item[i].actor);
		n += upto->item[i].seq > base ? upto->item[i].seq - base : 0;
	}
	if (s->burst_given < now)
		s->burst_given = now;
	s->burst_given += (n < GIVEN_MAX_US / CHANGE_US ? n : GIVEN_MAX_US / CHANGE_US) * CHANGE_US;
	if (s->burst_given > now + GIVEN_MAX_US)
		s->burst_given = now + GIVEN_MAX_US;
	s->burst_round = now;
}

uint64_t session_burst_deadline(const struct session *s)
{
	return s->burst_until > 0 ? s->burst_until : UINT64_MAX;
}
