/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* How fast a link carries what is sent over it, and how much may be on its way. No I/O, no clock: a session
 * tells what it handed out and when questions (PING) were answered that stand between. Rules:
 * shoal-protocol(7), "Slow links".
 *
 * Bytes between two questions of which the second was on its way before the first was answered, over the
 * time between the answers: so long the link was busy, whatever its delay and whatever buffers
 * it has. Where the sender had nothing more to send in between, or a question was alone on the link, that
 * gives a lower bound only, which counts if it is more than what was known; or, as a sample, if it took much longer
 * than the link's delay, and there was more to send all the time. The rate is that of the last samples together that
 * took a second, PACE_SAMPLES_LEAST of them at least, as far as there are so many: one lost packet can hold up a fast link for longer than a
 * sample takes. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_SLOW_BPS 200000u   /* bits a second: at most that much is slow … */
#define PACE_FAST_BPS 300000u   /* … and what was slow is not any more from there on */
#define PACE_UNKNOWN_ROOM 8192u /* bytes on their way before the rate is known, doubled for each answer … */
#define PACE_ROOM_MAX (4u * PACE_UNKNOWN_ROOM) /* … until there are so many */
#define PACE_ROOM_MIN 2048u     /* at least, on a slow link */
#define PACE_STEP 2048u         /* bytes between questions, until it is known */
#define PACE_FAST_STEP 32768u
#define PACE_PINGS 32           /* not answered */
#define PACE_SAMPLES 16
#define PACE_SAMPLES_LEAST 3    /* that make a link slow; and it takes a second of them */
#define PACE_SAMPLE_MIN 4096u   /* bytes of a sample, at least */

struct pace_mark {
	uint64_t no, bytes;
	uint64_t at_us;    /* when it was asked */
	uint64_t first_us; /* when the first byte since the one before was handed out */
	bool idle;         /* there was nothing more to send meanwhile */
};

struct pace {
	uint64_t sent;     /* bytes handed out */
	uint64_t answered; /* of these, before the last question that was answered */
	uint64_t asked;    /* of these, before the last question */
	uint64_t first_us; /* when the first byte behind that one was */
	bool idle;         /* there was nothing more to send since */
	struct pace_mark mark[PACE_PINGS]; /* ring: questions not answered */
	uint32_t at, n;
	bool open;         /* the link was busy since the sample began */
	uint64_t from_bytes, from_us;
	uint64_t some_bytes, some_us; /* answered one by one, and since when */
	uint64_t bytes[PACE_SAMPLES], us[PACE_SAMPLES]; /* ring */
	uint32_t n_samples, n_answers;
	uint64_t measured_us; /* when the rate was measured last; 0: not yet */
	uint64_t rate;     /* bits a second; 0: not known */
	uint64_t rtt_least; /* microseconds; 0: not known */
	uint64_t busy_bytes, busy_us; /* what was sent, and when, since nothing was on its way */
	bool sure;  /* by that the link is fast */
	bool known; /* whether it is slow */
	bool slow;
};

/* What is known from before, of another session with the same peer over the same way; rate 0: nothing. */
void pace_begin(struct pace *p, uint64_t rate, bool slow);
void pace_sent(struct pace *p, uint64_t bytes, uint64_t now_us);
/* There is nothing to send, though there would be room. */
void pace_idle(struct pace *p);
/* A question is to be sent now, behind what was. Also to be looked at when there is no room. */
bool pace_due(const struct pace *p);
void pace_ping(struct pace *p, uint64_t no, uint64_t now_us);
/* All questions up to `no` are answered. *ret_rtt (microseconds): of the last of them; untouched if it is not one of
 * these. True: the verdict is another one than before, or the first. */
bool pace_pong(struct pace *p, uint64_t no, uint64_t now_us, uint64_t *ret_rtt);
/* The link is about to be measured anew: what was measured before does not count. */
void pace_afresh(struct pace *p);
/* How long what is on its way may take, with some patience (microseconds). */
uint64_t pace_drain_us(const struct pace *p);
/* There is room for more on the link: UINT64_MAX where it is not slow. */
uint64_t pace_room(const struct pace *p);
/* The most that is to go into one frame of something that can be cut. */
size_t pace_piece(const struct pace *p);
