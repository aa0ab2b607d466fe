/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Who is reachable through whom, made of statements (shoal-protocol(7), Presence). */

#include <stdbool.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/statement.h"

#define GRAPH_NONE UINT32_MAX

/* How a device or link is known. */
enum graph_source {
	GRAPH_OWN,        /* this device, and its own links */
	GRAPH_FIRST_HAND, /* over a link to the device that is spoken of */
	GRAPH_HEARSAY,    /* passed on by others */
	GRAPH_NAMED,      /* a device that others name, but of which no statement counts */
};

struct graph_device {
	struct id id;
	const char *name; /* borrowed from a statement or own link */
	enum graph_source source;
	struct id teller; /* of hearsay: who passed it on */
	uint32_t hops;    /* from this device */
	uint32_t parent;  /* the device before, on a way with the fewest; GRAPH_NONE: this device */
	uint32_t more;    /* links that it has and does not tell */
};

struct graph_link {
	uint32_t a, b; /* devices; a is no farther than b */
	const struct statement_link *said; /* by one of the two; borrowed */
	enum graph_source source;
	bool both; /* both say so */
};

struct graph {
	struct graph_device *device; /* this one first, then by hops */
	uint32_t n_devices;
	struct graph_link *link;     /* by a, then b */
	uint32_t n_links;
};

/* What is known of a device other than this one. */
struct graph_told {
	const struct statement *statement;
	struct id teller; /* its author, when it is first-hand */
	bool counts;      /* set: its author is reached over links that both ends state */
};

/* self: this device and all its links (as many as there are; sorted by peer). told: sorted by author, none
 * about self. Sets told[].counts. The graph borrows from own and from statements that
 * count. -ENOMEM. */
int graph_new(const struct id *self, const char *name, const struct statement_link *own, uint32_t n_own,
	      struct graph_told *told, uint32_t n_told, struct graph **ret);
void graph_free(struct graph *g);
DEFINE_CLEANUP(struct graph *, graph_free)
