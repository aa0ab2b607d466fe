/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Many devices that choose neighbours, in steps of a tenth of a second: who hears whom, dials, refuses, dies and comes
 * back, and what they tell each other of their links. */

#include "tests/prng.h"
#include "transports/neighbours.h"

#define SECOND 1000000ull
#define SECRET "a secret of thirty-two bytes ..."

struct said { /* a statement */
	uint32_t n;
	uint32_t to[]; /* ascending */
};

struct flow { /* of statements over a link, one way */
	uint64_t due, refill;
	unsigned frames;
	uint32_t sent[]; /* by author */
};

struct pair { /* as one of the two has it */
	uint64_t due;     /* of a dial */
	uint64_t not_before, backoff;
	struct flow *flow;
	bool dials;
	bool sees, linked;
	bool heard; /* its statement, over this link */
};

struct node {
	struct id id;
	struct neighbours *n;
	uint64_t choose, beacon, ways, state;
	uint32_t *known;     /* the latest statement of each, counted from 1; 0: none */
	struct said **said;  /* its own */
	uint32_t n_said;
	uint64_t apart;      /* since when it is not in the largest part; 0: it is */
	bool alive, walled;  /* nobody can dial it */
};

struct hood {
	unsigned n;
	struct node *node; /* ascending by id */
	struct pair *pair;
	uint64_t now, changed; /* when a link came or went last */
	uint64_t dials, refused;
	uint32_t (*dial)[2]; /* under way */
	unsigned n_dials, cap_dials;
	unsigned loss;  /* of dials, in percent */
	bool deaf;      /* nothing is stated */
	uint64_t apart; /* the longest that somebody was not in the largest part */
	struct prng r;
};

/* All hear each other, and come up within a second. */
void hood_begin(struct hood *m, unsigned n, uint64_t seed);
void hood_end(struct hood *m);
void hood_run(struct hood *m, uint64_t time);
void hood_kill(struct hood *m, unsigned i);
void hood_wake(struct hood *m, unsigned i); /* it comes back, and knows nothing */
struct pair *hood_pair(const struct hood *m, unsigned i, unsigned k);

/* ---- how it is ---- */

bool hood_connected(const struct hood *m);
unsigned hood_diameter(const struct hood *m); /* the longest of the shortest ways; UINT32_MAX: it is not connected */
unsigned hood_links(const struct hood *m);
unsigned hood_most_links(const struct hood *m); /* of one device */
unsigned hood_above(const struct hood *m);      /* devices with more links than they should have */

/* ---- what the choice should be, by the book ---- */

unsigned hood_open_ring(const struct hood *m); /* devices without a link to the next one on the ring */
unsigned hood_blocking(const struct hood *m);  /* pairs both of which have enough and would rather have each other */
