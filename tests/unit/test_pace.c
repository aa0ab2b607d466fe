/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast a link is found to be: pretended links of some rate and delay, with stalls, senders that have little to
 * say, and the verdict's inertia. */
#include <stdlib.h>
#include <string.h>

#include "engine/pace.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define MS 1000u
#define SOCKET 32768ull /* bytes that its buffer takes */

/* A link that carries bytes at a rate, one after the other, and answers questions when they are through. */
struct wire {
	struct pace pace;
	uint64_t rate, delay; /* bits a second; microseconds one way */
	uint64_t free_at;     /* what was handed over is through then */
	uint64_t now, no;
	uint64_t bunch;       /* answers come together, each so long; 0: one by one */
	uint64_t bucket;      /* bytes that pass at once when it has rested */
	struct {
		uint64_t no, at;
	} answer[64];
	unsigned n;
	bool wrong; /* it was told to be what it is not, at some time */
	uint64_t most; /* bytes that were on their way */
	unsigned news;
};

static void wire_ask(struct wire *w)
{
	if (!pace_due(&w->pace) || w->n == 64)
		return;
	pace_ping(&w->pace, ++w->no, w->now);
	w->answer[w->n].no = w->no;
	w->answer[w->n++].at = (w->free_at > w->now ? w->free_at : w->now) + 2 * w->delay;
}

static void wire_take(struct wire *w, uint64_t bytes)
{
	uint64_t depth = w->bucket * 8 * 1000000 / w->rate;
	if (w->free_at + depth < w->now)
		w->free_at = w->now - depth;
	w->free_at += bytes * 8 * 1000000 / w->rate;
	pace_sent(&w->pace, bytes, w->now);
	if (w->pace.sent - w->pace.answered > w->most)
		w->most = w->pace.sent - w->pace.answered;
	wire_ask(w);
}

static void wire_answers(struct wire *w)
{
	uint64_t rtt = 0;
	if (w->bunch && w->now % w->bunch >= MS)
		return;
	while (w->n > 0 && w->answer[0].at <= w->now) {
		w->news += pace_pong(&w->pace, w->answer[0].no, w->now, &rtt);
		memmove(&w->answer[0], &w->answer[1], --w->n * sizeof(w->answer[0]));
		w->wrong |= w->pace.known && w->pace.slow != (w->rate <= PACE_SLOW_BPS);
	}
}

/* Sends pieces of `piece` bytes (0: nothing) for so long: as many as there is room for, or one each `every` (us). */
static void wire_run(struct wire *w, uint64_t us, uint64_t piece, uint64_t every)
{
	uint64_t end = w->now + us, next = w->now;
	/* As sessions begin. */
	if (w->no == 0) {
		pace_ping(&w->pace, ++w->no, w->now);
		w->answer[w->n].no = w->no;
		w->answer[w->n++].at = w->now + 2 * w->delay;
		w->free_at = w->now;
	}
	for (; w->now < end; w->now += MS) {
		wire_answers(w);
		wire_ask(w);
		if (piece == 0 || (every && w->now < next))
			continue;
		next = w->now + every;
		do {
			/* A fast link's buffers are full at some time, too. */
			if (w->pace.known && !w->pace.slow &&
			    w->free_at > w->now + 50 * MS + SOCKET * 8 * 1000000 / w->rate)
				break;
			if (pace_room(&w->pace) == 0)
				break;
			wire_take(w, piece);
		} while (!every);
	}
}

static bool near(uint64_t rate, uint64_t is)
{
	return is >= rate * 8 / 10 && is <= rate * 12 / 10;
}

static void test_rates(void)
{
	static const struct {
		uint64_t rate, delay;
		bool slow;
	} link[] = {
		{ 20000, 30 * MS, true },    { 100000, 0, true },          { 100000, 100 * MS, true },
		{ 190000, 300 * MS, true },  { 400000, 100 * MS, false },  { 1000000, 10 * MS, false },
		{ 50000000, 5 * MS, false }, { 50000000, 300 * MS, false },
	};
	for (unsigned i = 0; i < sizeof(link) / sizeof(*link); i++) {
		struct wire w = { .rate = link[i].rate, .delay = link[i].delay };
		wire_run(&w, 20000 * MS, 300, 0);
		struct pace before = w.pace;
		ok(w.pace.slow == link[i].slow, "a link of %llu kbit/s and %llu ms is %s: %llu kbit/s",
		       (unsigned long long)link[i].rate / 1000, (unsigned long long)link[i].delay / MS,
		       link[i].slow ? "slow" : "not slow", (unsigned long long)w.pace.rate / 1000);
		if (link[i].rate <= 1000000)
			ok(near(link[i].rate, w.pace.rate), "and its rate is told");
		if (!link[i].slow)
			continue;
		w.most = 0;
		wire_run(&w, 20000 * MS, 300, 0);
		uint64_t queue = link[i].rate / 8 * (2 * link[i].delay + 1500 * MS) / 1000000 + PACE_ROOM_MIN + 300;
		ok(w.most <= queue, "no more than %llu bytes are on their way: %llu", (unsigned long long)queue,
		       (unsigned long long)w.most);
		uint64_t carried = (w.pace.answered - before.answered) * 8 / 20;
		ok(carried >= link[i].rate * 9 / 10, "and the link does not run dry: %llu of %llu bit/s",
		       (unsigned long long)carried, (unsigned long long)link[i].rate);
	}
}

static void test_trickle(void)
{
	struct wire fast = { .rate = 50000000, .delay = 150 * MS };
	wire_run(&fast, 60000 * MS, 1000, 500 * MS);
	ok(!fast.pace.slow, "who sends little over a fast link does not make it slow");
	struct wire slow = { .rate = 100000, .delay = 20 * MS };
	wire_run(&slow, 20000 * MS, 300, 0);
	ok(slow.pace.slow, "a slow link is slow");
	wire_run(&slow, 60000 * MS, 200, 300 * MS);
	ok(slow.pace.slow && slow.news == 1, "and stays so when little is sent");
}

static void test_inertia(void)
{
	struct wire w = { .rate = 150000, .delay = 50 * MS };
	wire_run(&w, 20000 * MS, 300, 0);
	w.rate = 250000;
	wire_run(&w, 20000 * MS, 300, 0);
	ok(w.pace.slow && near(250000, w.pace.rate), "250 kbit/s are still slow on a link that was");
	w.rate = 2000000;
	wire_run(&w, 20000 * MS, 300, 0);
	ok(!w.pace.slow, "2 Mbit/s are not");
	w.rate = 250000;
	wire_run(&w, 20000 * MS, 300, 0);
	ok(!w.pace.slow && near(250000, w.pace.rate), "nor are 250 kbit/s on a link that was fast");
	ok(w.news == 2, "the verdict changed once");

	struct wire lossy = { .rate = 10000000, .delay = 20 * MS };
	wire_run(&lossy, 2000 * MS, 1000, 0);
	lossy.free_at = lossy.now + 800 * MS;
	wire_run(&lossy, 5000 * MS, 1000, 0);
	ok(!lossy.pace.slow && lossy.news == 1, "one lost packet does not make a fast link slow");
}

static void test_verdict(void)
{
	struct wire w = { .rate = 100000, .delay = 20 * MS };
	bool early = false;
	uint64_t most = 0;
	while (!w.pace.slow && w.now < 20000 * MS) {
		early |= w.pace.known;
		most = w.most;
		wire_run(&w, 20 * MS, 300, 0);
	}
	ok(w.pace.slow && !early && w.now > 1000 * MS && w.now < 5000 * MS, "a link is slow after %.1f s",
	   (double)w.now / 1e6);
	ok(most < 40000, "and is not filled before that is known: %llu bytes", (unsigned long long)most);

	struct wire late = { .rate = 150000, .delay = 200 * MS, .bunch = 500 * MS };
	bool fast = false;
	while (late.now < 20000 * MS) {
		wire_run(&late, 20 * MS, 300, 0);
		fast |= late.pace.known && !late.pace.slow;
	}
	ok(late.pace.slow && !fast, "answers that come all at once do not make it look fast");

	struct wire x = { .rate = 1000000, .delay = 20 * MS };
	pace_begin(&x.pace, 40000, true);
	wire_run(&x, 20000 * MS, 900, 100 * MS);
	ok(x.pace.slow && x.pace.rate >= 65000 && x.pace.rate < 150000,
	   "where 72 kbit/s were carried, %llu kbit/s are known", (unsigned long long)x.pace.rate / 1000);

	struct pace p = { 0 };
	uint64_t rtt, now = 1000;
	pace_begin(&p, 100000, true);
	pace_afresh(&p);
	for (unsigned i = 1; i <= 3; i++) {
		pace_sent(&p, PACE_SAMPLE_MIN, now);
		pace_ping(&p, i, now);
	}
	bool news = false;
	for (unsigned i = 1; i <= 3; i++)
		news |= pace_pong(&p, i, now + (50 + i) * MS, &rtt);
	ok(!news && p.slow, "three questions in a row that are answered at once may have been let through at once");
	for (unsigned i = 4; i <= 8; i++) {
		pace_sent(&p, 2 * PACE_SAMPLE_MIN, now + 100 * MS);
		pace_ping(&p, i, now + 100 * MS);
	}
	for (unsigned i = 4; i <= 8; i++)
		news |= pace_pong(&p, i, now + (150 + i) * MS, &rtt);
	ok(news && !p.slow && p.measured_us > now + 150 * MS, "forty thousand bytes find that it is not slow any more");
}

/* Links of all kinds, on which much is to be sent all the time. */
static void test_grid(void)
{
	static const uint64_t rate[] = { 20000, 150000, 1000000, 3000000, 50000000 };
	static const uint64_t rtt[] = { 20, 100, 400, 800 };
	static const uint64_t bucket[] = { 0, 16384 };
	unsigned wrong = 0, late = 0, more = 0;
	uint64_t latest = 0;
	for (unsigned i = 0; i < 5 * 4 * 2 * 3; i++) {
		struct wire w = { .rate = rate[i % 5], .delay = rtt[i / 5 % 4] * MS / 2, .bucket = bucket[i / 20 % 2],
				  .bunch = i / 40 * 60 * MS };
		uint64_t known = 0;
		while (w.now < 120000 * MS) {
			wire_run(&w, 20 * MS, 300, 0);
			if (!known && w.pace.known)
				known = w.now;
		}
		if (w.rate == 150000 && known > latest)
			latest = known;
		bool is_late = w.rate == 150000 ? known == 0 || known > 15000 * MS : w.pace.slow != (w.rate < 200000);
		if (w.wrong || w.news > 1 || is_late)
			tap_diag("%llu kbit/s, round trip %llu ms, bucket %llu, answers each %llu ms: known after %.1f s, "
				 "%s, %u verdicts", (unsigned long long)w.rate / 1000, (unsigned long long)w.delay / 500,
				 (unsigned long long)w.bucket, (unsigned long long)w.bunch / 1000, (double)known / 1e6,
				 w.pace.slow ? "slow" : "not slow", w.news);
		wrong += w.wrong;
		late += is_late;
		more += w.news > 1;
	}
	is_uint(wrong, 0, "no link is told to be what it is not, at any moment");
	is_uint(late, 0, "and none too late: 150 kbit/s after %.1f s at most", (double)latest / 1e6);
	is_uint(more, 0, "and the verdict never changes");
}

/* Now and then something, of any size, or nothing for long. */
static void test_bursts(uint64_t seed)
{
	struct prng r = { seed };
	unsigned wrong = 0, unknown = 0, more = 0;
	for (unsigned i = 0; i < 300; i++) {
		bool slow = i % 2;
		struct wire w = { .rate = slow ? 20000 + prng_below(&r, 150000) : 1000000 + prng_below(&r, 20000000),
				  .delay = (10 + prng_below(&r, 390)) * MS, .bucket = prng_below(&r, 16385) };
		for (unsigned k = 0; k < 60; k++) {
			uint64_t size = 100 + prng_below(&r, k % 4 ? 3000 : 60000);
			uint64_t end = w.now + (k % 5 ? prng_below(&r, 3000) : prng_below(&r, 60000)) * MS;
			wire_run(&w, MS, 100, 0);
			while (size > 0 && w.now < end) {
				uint64_t n = size < 1000 ? size : 1000;
				if (pace_room(&w.pace) > 0 && w.free_at < w.now + 500 * MS) {
					wire_take(&w, n);
					size -= n;
				}
				wire_run(&w, MS, 0, 0);
			}
			if (pace_tail(&w.pace)) {
				pace_ping(&w.pace, ++w.no, w.now);
				w.answer[w.n].no = w.no;
				w.answer[w.n++].at = (w.free_at > w.now ? w.free_at : w.now) + 2 * w.delay;
			}
			wire_run(&w, w.now < end ? end - w.now : MS, 0, 0);
		}
		if (w.wrong || w.news > 1)
			tap_diag("%llu bit/s, %llu ms one way, bucket %llu: %u verdicts, slow %d, rate %llu",
				 (unsigned long long)w.rate, (unsigned long long)w.delay / 1000,
				 (unsigned long long)w.bucket, w.news, w.pace.slow, (unsigned long long)w.pace.rate);
		wrong += w.wrong;
		more += w.news > 1;
		unknown += !w.pace.known;
	}
	is_uint(wrong, 0, "bursts and rest: no link is told to be what it is not (%u not known)", unknown);
	is_uint(more, 0, "and no verdict changes");
}

/* A cable, with stalls of five seconds: while nothing is known, and later. */
static void test_stalls(void)
{
	unsigned slow = 0;
	for (unsigned i = 0; i < 60; i++) {
		struct wire w = { .rate = 50000000, .delay = MS / 2 };
		wire_run(&w, i * MS, 1000, i % 2 ? 0 : 5 * MS);
		w.free_at = w.now + 5000 * MS;
		wire_run(&w, 10000 * MS, 1000, i % 2 ? 0 : 50 * MS);
		slow += w.pace.slow;
		w.free_at = w.now + 5000 * MS;
		wire_run(&w, 30000 * MS, 1000, i % 3 ? 0 : 300 * MS);
		slow += w.pace.slow || w.news > 1;
	}
	is_uint(slow, 0, "a stall of five seconds does not make a cable slow");
}

/* Nothing, then contents alone: frames to measure with first, then one chunk after the other. */
static void test_contents(void)
{
	unsigned bad = 0, slow_bad = 0;
	uint64_t latest = 0;
	for (unsigned i = 0; i < 5 * 2 * 2; i++) {
		static const uint64_t rtt[] = { 2, 20, 100, 400, 800 };
		bool slow = i / 10 % 2;
		struct wire w = { .rate = slow ? 150000 : 1000000, .delay = rtt[i % 5] * MS / 2,
				  .bucket = i / 5 % 2 ? 16384 : 0 };
		wire_run(&w, 30000 * MS, 0, 0);
		uint64_t start = w.now, known = 0;
		for (unsigned n = 0; !w.pace.known && w.now < start + 60000 * MS;) {
			if (pace_room(&w.pace) > 0)
				wire_take(&w, n++ < 16 ? 4107 : 64000);
			wire_run(&w, MS, 0, 0);
		}
		known = w.now - start;
		if (w.pace.slow != slow || !w.pace.known)
			tap_diag("%llu kbit/s, %llu ms, bucket %llu: known %d, slow %d",
				 (unsigned long long)w.rate / 1000, (unsigned long long)w.delay / 500,
				 (unsigned long long)w.bucket, w.pace.known, w.pace.slow);
		bad += w.pace.slow != slow || !w.pace.known;
		slow_bad += slow && known > 5000 * MS;
		if (slow && known > latest)
			latest = known;
	}
	is_uint(bad, 0, "contents alone tell how fast a link is");
	is_uint(slow_bad, 0, "of 150 kbit/s before the first chunk: after %.1f s at most", (double)latest / 1e6);
}

static void test_known(void)
{
	struct wire w = { .rate = 100000, .delay = 100 * MS };
	pace_begin(&w.pace, 100000, true);
	ok(w.pace.slow && pace_room(&w.pace) < 20000, "a link that was slow begins as one");
	wire_run(&w, 5000 * MS, 300, 0);
	ok(w.pace.slow && w.most < 20000, "and is never filled: %llu bytes", (unsigned long long)w.most);
	struct pace p = { 0 };
	uint64_t rtt = 7;
	ok(!pace_pong(&p, 3, 5, &rtt) && rtt == 7 && pace_room(&p) == PACE_UNKNOWN_ROOM,
	       "an answer to nothing says nothing");
	for (unsigned i = 1; i <= PACE_PINGS + 5; i++) {
		pace_sent(&p, PACE_STEP, i);
		pace_ping(&p, i, i);
	}
	ok(p.n == PACE_PINGS && !pace_due(&p), "questions are bounded");
}

int main(int argc, char **argv)
{
	tap_plan(48);
	uint64_t seed = tap_seed(argc, argv);
	test_grid();
	test_bursts(seed);
	test_stalls();
	test_contents();
	test_rates();
	test_trickle();
	test_inertia();
	test_verdict();
	test_known();
	return tap_done();
}
