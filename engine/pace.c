/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/pace.h"

#define SECOND 1000000u
#define SLOWEST_BPS 50000u /* of a link that nothing is known of */
#define PIECE_MAX 65536u
#define PATIENCE_US (SECOND / 10)
#define QUEUE_US (6 * SECOND / 10) /* of sending that may wait in buffers and at the peer, on a slow link */

void pace_begin(struct pace *p, uint64_t rate, bool slow)
{
	p->rate = rate;
	p->known = rate > 0;
	p->slow = p->known && slow;
}

void pace_sent(struct pace *p, uint64_t bytes, uint64_t now_us)
{
	if (p->sent == p->asked)
		p->first_us = now_us;
	if (p->sent == p->answered) {
		p->busy_bytes = p->sent;
		p->busy_us = now_us;
	}
	p->sent += bytes;
}

void pace_idle(struct pace *p)
{
	p->idle = true;
}

/* Bytes that may be on their way: what the delay hides, and some more, for the link must not run dry. */
static uint64_t limit(const struct pace *p)
{
	/* What looks slow may be. */
	if (!p->known && (p->rate == 0 || p->rate >= PACE_FAST_BPS))
		return (uint64_t)PACE_UNKNOWN_ROOM << (p->n_answers < 2 ? p->n_answers : 2);
	if (p->known && !p->slow)
		return UINT64_MAX;
	uint64_t n = p->rate / 8 * (QUEUE_US + p->rtt_least) / SECOND;
	return n < PACE_ROOM_MIN ? PACE_ROOM_MIN : n > PIECE_MAX ? PIECE_MAX : n;
}

uint64_t pace_room(const struct pace *p)
{
	uint64_t most = limit(p), flight = p->sent - p->answered;
	return most == UINT64_MAX ? most : flight < most ? most - flight : 0;
}

uint64_t pace_drain_us(const struct pace *p)
{
	uint64_t flight = p->sent - p->answered, rate = p->rate ? p->rate : SLOWEST_BPS;
	return flight > PACE_SAMPLE_MIN ? flight * 8 * SECOND / rate * 2 : 0;
}

size_t pace_piece(const struct pace *p)
{
	return limit(p) == UINT64_MAX ? PIECE_MAX : (size_t)(limit(p) / 4);
}

bool pace_due(const struct pace *p)
{
	uint64_t step = !p->known ? PACE_STEP : p->slow ? limit(p) / 8 : PACE_FAST_STEP;
	/* What fills the link must be asked about, or it would never be known that there is room again. */
	if (p->n == 0 && p->sent > p->asked && pace_room(p) == 0)
		return true;
	return p->n < PACE_PINGS && p->sent - p->asked >= step;
}

void pace_ping(struct pace *p, uint64_t no, uint64_t now_us)
{
	if (p->n == PACE_PINGS)
		return;
	p->mark[(p->at + p->n++) % PACE_PINGS] = (struct pace_mark){
		.no = no, .bytes = p->sent, .at_us = now_us, .idle = p->idle,
		.first_us = p->sent == p->asked ? now_us : p->first_us
	};
	p->asked = p->sent;
	p->idle = false;
}

/* What is known now, by so many samples that took so long. */
static bool decide(struct pace *p, uint32_t n, uint64_t us)
{
	/* Answers that come late, all at once, make a slow link look fast for a moment. */
	bool known = p->known, slow = p->slow, enough = n >= PACE_SAMPLES_LEAST && us >= SECOND;
	if (p->rate <= PACE_SLOW_BPS)
		p->slow |= enough;
	else if (p->rate >= PACE_FAST_BPS)
		p->slow &= !p->sure && !enough && n < PACE_SAMPLES;
	p->known |= enough || p->sure || n == PACE_SAMPLES;
	return known != p->known || slow != p->slow;
}

static bool take_sample(struct pace *p, uint64_t bytes, uint64_t us, uint64_t now_us)
{
	uint32_t i = p->n_samples++ % PACE_SAMPLES, n = 0;
	p->measured_us = now_us;
	p->bytes[i] = bytes;
	p->us[i] = us;
	bytes = us = 0;
	for (; n < PACE_SAMPLES && n < p->n_samples && (n < PACE_SAMPLES_LEAST || us < SECOND); n++) {
		uint32_t k = (p->n_samples - 1 - n) % PACE_SAMPLES;
		bytes += p->bytes[k];
		us += p->us[k];
	}
	p->rate = bytes * 8 * SECOND / (us ? us : 1);
	if (p->rate == 0)
		p->rate = 1;
	return decide(p, n, us);
}

/* It carries that much at least. Of who sends little that says nothing, unless more was known already. */
static bool take_bound(struct pace *p, uint64_t rate, uint64_t now_us)
{
	if (rate <= p->rate || (p->rate == 0 && rate < PACE_FAST_BPS))
		return false;
	p->measured_us = now_us;
	p->rate = rate;
	p->n_samples = 0;
	p->sure |= rate >= PACE_FAST_BPS;
	return p->sure && decide(p, 0, 0);
}

void pace_afresh(struct pace *p)
{
	p->n_samples = 0;
}

/* What an answer says that comes for all bytes from `before` to m. last: no other question is on its way. */
static bool judge(struct pace *p, uint64_t before, const struct pace_mark *m, bool last, uint64_t now_us)
{
	bool news = false;
	if (m->idle)
		p->open = false;
	if (p->open && m->bytes - p->from_bytes >= PACE_SAMPLE_MIN) {
		news = take_sample(p, m->bytes - p->from_bytes, now_us - p->from_us, now_us);
		p->from_bytes = m->bytes;
		p->from_us = now_us;
	} else if (!p->open && m->bytes - before >= PACE_SAMPLE_MIN && now_us > m->first_us) {
		uint64_t took = now_us - m->first_us, least = (m->bytes - before) * 8 * SECOND / took;
		if (!m->idle && took > 4 * p->rtt_least + PATIENCE_US)
			news = take_sample(p, m->bytes - before, took - p->rtt_least, now_us);
		else
			news = take_bound(p, least, now_us);
		p->some_bytes = 0;
	} else if (!p->open) {
		/* Too little by itself: some of that together. */
		if (p->some_bytes == 0)
			p->some_us = m->first_us;
		p->some_bytes += m->bytes - before;
		if (p->some_bytes >= PACE_SAMPLE_MIN && now_us > p->some_us) {
			news = take_bound(p, p->some_bytes * 8 * SECOND / (now_us - p->some_us), now_us);
			p->some_bytes = 0;
		}
	}
	if (!p->open) {
		p->from_bytes = m->bytes;
		p->from_us = now_us;
	}
	p->open = !last;
	return news;
}

bool pace_pong(struct pace *p, uint64_t no, uint64_t now_us, uint64_t *ret_rtt)
{
	struct pace_mark m = { 0 };
	uint64_t before = p->answered, first_us = 0;
	bool any = false, idle = false;
	while (p->n > 0 && p->mark[p->at].no <= no) {
		m = p->mark[p->at];
		if (!any)
			first_us = m.first_us;
		any = true;
		idle |= m.idle;
		p->at = (p->at + 1) % PACE_PINGS;
		p->n--;
	}
	if (!any)
		return false;
	p->answered = m.bytes;
	p->n_answers += m.bytes > before;
	if (m.no == no) {
		*ret_rtt = now_us > m.at_us ? now_us - m.at_us : 1;
		if (p->rtt_least == 0 || *ret_rtt < p->rtt_least)
			p->rtt_least = *ret_rtt;
	}
	/* Since the link was empty it has carried so much at least. */
	p->sure = m.bytes - p->busy_bytes >= PACE_SAMPLE_MIN && now_us > p->busy_us &&
		  (m.bytes - p->busy_bytes) * 8 * SECOND / (now_us - p->busy_us) >= PACE_FAST_BPS;
	m.first_us = first_us;
	m.idle = idle;
	return judge(p, before, &m, p->n == 0, now_us);
}
