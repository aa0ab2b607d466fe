/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* How fast a link carries what is sent over it, and how much may be on its way. No I/O, no clock: a session
 * tells what it handed out and when questions (PING) were answered that stand between. What a sample and a bound are
 * and when the verdict changes: shoal-protocol(7), "Slow links". */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_SLOW_BPS 200000u   /* bits a second: at most that much is slow … */
#define PACE_FAST_BPS 300000u   /* … and what was slow is not any more from there on */
#define PACE_UNKNOWN_ROOM 8192u /* bytes on their way before it is known, doubled for each answer … */
#define PACE_ROOM_MAX (4u * PACE_UNKNOWN_ROOM) /* … until there are so many */
#define PACE_ROOM_MIN 2048u     /* at least, on a slow link */
#define PACE_STEP 2048u         /* bytes between questions, until it is known */
#define PACE_FAST_STEP 16384u
#define PACE_PINGS 32           /* not answered */
#define PACE_SAMPLES 16
#define PACE_SAMPLES_LEAST 3    /* that make a link slow; a second of them, and the longest does not count */
#define PACE_SAMPLE_MIN 4096u   /* bytes of a sample, at least */
#define PACE_LONE_MIN 16384u    /* … that stood alone on the link */
#define PACE_BURST 24576u       /* bytes that may have been let through at once */
#define PACE_BURST_MAX (8u * PACE_BURST)

struct pace_mark {
	uint64_t no, bytes;
	uint64_t at_us;    /* when it was asked */
	uint64_t first_us; /* when the first byte since the one before was handed out */
};

struct pace_sample {
	uint64_t bytes;
	uint64_t span_us; /* in which they were carried, at most … */
	uint64_t busy_us; /* … and at least: so long the link was busy with nothing else */
	uint64_t end_us;
};

struct pace_point { /* so many bytes were carried by then */
	uint64_t bytes, us;
};

struct pace {
	uint64_t sent;     /* bytes handed out */
	uint64_t answered; /* of these, before the last question that was answered */
	uint64_t asked;    /* of these, before the last question */
	uint64_t first_us; /* when the first byte behind that one was */
	uint64_t sent_us;  /* when the last of them were handed out */
	uint64_t last_us;  /* when the last answer came */
	struct pace_mark mark[PACE_PINGS]; /* ring: questions not answered */
	uint32_t at, n;
	uint32_t n_answers;
	uint64_t rtt_least;            /* microseconds; 0: not known */
	uint64_t rtt_now, rtt_before;  /* the least of this minute, and of the one before */
	uint64_t rtt_since;
	struct pace_sample some;       /* what will be one */
	struct pace_sample sample[PACE_SAMPLES]; /* ring */
	uint32_t n_samples;
	struct pace_point base, middle; /* since when something is on its way; middle.us 0: none */
	struct pace_point second;       /* where a second begins in which it carries so much at least */
	uint64_t burst;                 /* 0: PACE_BURST */
	uint64_t faster_at;             /* when the verdict turned from slow last; 0: never */
	uint64_t measured_us;           /* when the rate was measured last; 0: not yet */
	uint64_t rate;                  /* bits a second; 0: not known */
	bool known; /* whether it is slow */
	bool slow;
};

/* What is known from before, of another session with the same peer over the same way; rate 0: nothing. */
void pace_begin(struct pace *p, uint64_t rate, bool slow);
void pace_sent(struct pace *p, uint64_t bytes, uint64_t now_us);
/* What was handed out beyond `from` was made small: of each `plain` bytes `packed` are sent (not 0). Before any of that is
 * answered. */
void pace_packed(struct pace *p, uint64_t from, uint64_t plain, uint64_t packed);
/* Nothing more is to be sent: a question is due, for it to be known when the link rests. */
bool pace_tail(const struct pace *p);
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
