/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All times of answers here are those of the answers themselves: what a link carried up to some moment is answered a
 * round trip without waiting later, so when something was handed out, that is added. */
#include "engine/pace.h"

#define SECOND 1000000u
#define SLOWEST_BPS 50000u /* of a link that nothing is known of */
#define PIECE_MAX 65536u
#define PATIENCE_US (SECOND / 10)
#define QUEUE_US (6 * SECOND / 10) /* of sending that may wait in buffers and at the peer, on a slow link */
#define RTT_US (60ull * SECOND)    /* after twice that a shorter round trip is forgotten */
#define SAMPLE_US (60ull * SECOND) /* so long a sample counts */
#define POINT_US (5ull * SECOND)   /* between the moments that bounds begin with, on a busy link */
#define FLAP_US (60ull * SECOND)
#define FIRST_FLIGHT 14600u /* bytes that TCP sends at once on a connection that has rested */

void pace_begin(struct pace *p, uint64_t rate, bool slow)
{
	p->rate = rate;
	p->known = rate > 0;
	p->slow = p->known && slow;
}

/* The round trip of which none is waiting. */
static uint64_t bare(const struct pace *p)
{
	uint64_t least = p->rtt_now;
	if (least == 0 || (p->rtt_before > 0 && p->rtt_before < least))
		least = p->rtt_before;
	return least;
}

void pace_sent(struct pace *p, uint64_t bytes, uint64_t now_us)
{
	if (p->sent == p->asked)
		p->first_us = now_us;
	/* Or nothing is, as far as anybody can tell. */
	if (p->sent == p->answered || (p->n == 0 && now_us - p->sent_us >= SECOND)) {
		uint64_t rtt = bare(p);
		p->base = (struct pace_point){ p->sent, now_us + (rtt < SECOND ? rtt : SECOND) };
		p->middle = (struct pace_point){ 0 };
		if (p->second.us == 0 || now_us > p->second.us + SECOND)
			p->second = (struct pace_point){ p->sent, now_us };
	}
	p->sent += bytes;
	p->sent_us = now_us;
}

static void shrink(uint64_t *at, uint64_t from, uint64_t plain, uint64_t packed)
{
	if (*at > from)
		*at = from + (*at - from) * packed / plain;
}

void pace_packed(struct pace *p, uint64_t from, uint64_t plain, uint64_t packed)
{
	if (p->sent == from || plain == 0)
		return;
	for (uint32_t i = 0; i < p->n; i++)
		shrink(&p->mark[(p->at + i) % PACE_PINGS].bytes, from, plain, packed);
	const bool all = p->asked == p->sent;
	shrink(&p->asked, from, plain, packed);
	shrink(&p->sent, from, plain, packed);
	if (p->sent == from)
		p->sent++; /* something is on its way */
	if (all)
		p->asked = p->sent;
}

/* Bytes that may be on their way: what the delay hides, and some more, for the link must not run dry. */
static uint64_t limit(const struct pace *p)
{
	uint64_t most = PIECE_MAX;
	if (p->known && !p->slow)
		return UINT64_MAX;
	if (!p->known)
		most = (uint64_t)PACE_UNKNOWN_ROOM << (p->n_answers < 2 ? p->n_answers : 2);
	/* What looks slow may be. */
	if (!p->known && (p->rate == 0 || p->rate >= PACE_FAST_BPS))
		return most;
	uint64_t n = p->rate / 8 * (QUEUE_US + p->rtt_least) / SECOND;
	return n < PACE_ROOM_MIN ? PACE_ROOM_MIN : n > most ? most : n;
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
	return p->n < PACE_PINGS && p->sent > p->asked && p->sent - p->asked >= step;
}

bool pace_tail(const struct pace *p)
{
	return p->slow && p->n == 0 && p->sent > p->asked;
}

void pace_ping(struct pace *p, uint64_t no, uint64_t now_us)
{
	if (p->n == PACE_PINGS)
		return;
	p->mark[(p->at + p->n++) % PACE_PINGS] = (struct pace_mark){
		.no = no, .bytes = p->sent, .at_us = now_us,
		.first_us = p->sent == p->asked ? now_us : p->first_us
	};
	p->asked = p->sent;
}

void pace_afresh(struct pace *p)
{
	p->n_samples = 0;
	p->some = (struct pace_sample){ 0 };
}

/* ---- verdicts ---- */

static bool turn(struct pace *p, bool slow, uint64_t now_us)
{
	bool news = !p->known || p->slow != slow;
	if (news && p->known && !slow)
		p->faster_at = now_us;
	/* It took more at once than was thought. */
	if (news && slow && p->faster_at > 0 && now_us - p->faster_at < FLAP_US && p->burst < PACE_BURST_MAX)
		p->burst = 2 * (p->burst ? p->burst : PACE_BURST);
	if (news)
		pace_afresh(p);
	p->known = true;
	p->slow = slow;
	return news;
}

/* What the newest samples say, as many of them as make a second. */
static bool by_samples(struct pace *p, uint64_t now_us)
{
	struct pace_sample all = { 0 }, longest = { 0 };
	uint32_t n = 0;
	while (n < PACE_SAMPLES && n < p->n_samples &&
	       (n < PACE_SAMPLES_LEAST || all.busy_us - longest.busy_us < SECOND)) {
		const struct pace_sample *x = &p->sample[(p->n_samples - 1 - n) % PACE_SAMPLES];
		if (now_us - x->end_us > SAMPLE_US)
			break;
		all.bytes += x->bytes;
		all.span_us += x->span_us;
		all.busy_us += x->busy_us;
		if (x->busy_us > longest.busy_us)
			longest = *x;
		n++;
	}
	if (n > 1) {
		all.bytes -= longest.bytes;
		all.span_us -= longest.span_us;
		all.busy_us -= longest.busy_us;
	}
	/* Of who sends little now and then that is no measure. */
	if (all.busy_us >= all.span_us / 2) {
		p->rate = all.bytes * 8 * SECOND / (all.span_us ? all.span_us : 1);
		p->rate += p->rate == 0;
		p->measured_us = now_us;
	}
	if (n < PACE_SAMPLES_LEAST || all.busy_us < SECOND ||
	    all.bytes * 8 * SECOND / all.busy_us > PACE_SLOW_BPS)
		return false;
	return turn(p, true, now_us);
}

/* What it has carried since something is on its way. */
static bool by_bound(struct pace *p, uint64_t now_us)
{
	uint64_t us = now_us > p->base.us ? now_us - p->base.us : 1;
	uint64_t bytes = p->answered - p->base.bytes, burst = p->burst ? p->burst : PACE_BURST;
	uint64_t least = p->slow ? PACE_FAST_BPS : PACE_SLOW_BPS + 1;
	if (bytes <= burst || (bytes - burst) * 8 * SECOND / us < least)
		return false;
	if (bytes * 8 * SECOND / us > p->rate) {
		p->rate = bytes * 8 * SECOND / us;
		p->measured_us = now_us;
	}
	return turn(p, false, now_us);
}

/* It carries at least what it did in some second, though nobody had more to send. */
static void at_least(struct pace *p, uint64_t now_us)
{
	if (now_us <= p->second.us || now_us - p->second.us < SECOND)
		return;
	uint64_t rate = (p->answered - p->second.bytes) * 8 * SECOND / (now_us - p->second.us);
	if (p->rate > 0 && rate > p->rate) {
		p->rate = rate;
		p->measured_us = now_us;
	}
	p->second = (struct pace_point){ p->answered, now_us };
}

/* ---- answers ---- */

/* Microseconds that TCP may take for so much on a link of any rate, when it has rested. */
static uint64_t flights(uint64_t bytes, uint64_t rtt)
{
	uint64_t n = 1, most = FIRST_FLIGHT;
	for (uint64_t at = FIRST_FLIGHT; at < bytes && n < 16; n++) {
		most *= 2;
		at += most;
	}
	return n * rtt + PATIENCE_US;
}

/* Bytes from `before` on were answered with m; first_us: when the first of them was handed out. */
static bool judge(struct pace *p, uint64_t before, uint64_t first_us, const struct pace_mark *m, uint64_t now_us)
{
	uint64_t rtt = bare(p), bytes = m->bytes - before;
	uint64_t start = first_us + rtt > p->last_us ? first_us + rtt : p->last_us;
	uint64_t took = now_us - m->at_us, rest = flights(bytes, rtt);
	struct pace_sample *x = &p->some;
	/* All of it was there when what stood before it was through: since then the link had nothing else to do. */
	bool waited = p->last_us > 0 && m->at_us + rtt <= p->last_us;
	bool lone = !waited && bytes >= PACE_LONE_MIN && took > rest;
	if (lone || (x->bytes > 0 && x->busy_us == 0 && waited))
		*x = (struct pace_sample){ 0 };
	x->bytes += bytes;
	x->span_us += now_us > start ? now_us - start : 0;
	x->busy_us += waited ? now_us - p->last_us : lone ? took - rest : 0;
	x->end_us = now_us;
	if (x->bytes < PACE_SAMPLE_MIN)
		return false;
	p->sample[p->n_samples++ % PACE_SAMPLES] = *x;
	*x = (struct pace_sample){ 0 };
	return by_samples(p, now_us);
}

static void note_rtt(struct pace *p, uint64_t rtt, uint64_t now_us)
{
	if (p->rtt_least == 0 || rtt < p->rtt_least)
		p->rtt_least = rtt;
	if (p->rtt_now == 0 || now_us - p->rtt_since >= RTT_US) {
		p->rtt_before = p->rtt_now;
		p->rtt_now = rtt;
		p->rtt_since = now_us;
	} else if (rtt < p->rtt_now) {
		p->rtt_now = rtt;
	}
}

bool pace_pong(struct pace *p, uint64_t no, uint64_t now_us, uint64_t *ret_rtt)
{
	struct pace_mark m = { 0 };
	uint64_t before = p->answered, first_us = 0;
	bool any = false, news = false;
	while (p->n > 0 && p->mark[p->at].no <= no) {
		m = p->mark[p->at];
		if (!any)
			first_us = m.first_us;
		any = true;
		p->at = (p->at + 1) % PACE_PINGS;
		p->n--;
	}
	if (!any)
		return false;
	if (now_us < m.at_us)
		now_us = m.at_us;
	p->answered = m.bytes;
	p->n_answers += m.bytes > before;
	if (m.no == no) {
		*ret_rtt = now_us > m.at_us ? now_us - m.at_us : 1;
		note_rtt(p, *ret_rtt, now_us);
	}
	if (m.bytes > before) {
		news = judge(p, before, first_us, &m, now_us);
		news |= by_bound(p, now_us);
		at_least(p, now_us);
		if (now_us >= p->base.us + POINT_US && p->middle.us == 0) {
			p->middle = (struct pace_point){ m.bytes, now_us };
		} else if (p->middle.us > 0 && now_us >= p->middle.us + POINT_US) {
			p->base = p->middle;
			p->middle = (struct pace_point){ m.bytes, now_us };
		}
	}
	p->last_us = now_us;
	return news;
}
