/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The documents that ordinary programs read and write: values by keys "k0", "k1" …, an object "o" that
 * may be a value instead, and a list "l" of objects with ids. */

#include "tests/sim/world.h"

#define TOPS 5
#define SUBS 3
#define ITEMS 40 /* of the list; more come together than are put in */

struct item {
	uint64_t id; /* 0: it was removed, and what somebody else changed in it is left */
	uint64_t value;
};

struct doc { /* values by key, 0: none */
	uint64_t top[TOPS];
	struct item item[ITEMS];
	unsigned n_items;
	bool list;       /* "l" is there */
	bool object;     /* "o" is an object */
	uint64_t scalar; /* or this */
	uint64_t sub[SUBS];
};

/* False when it is not a document of ours. */
bool doc_read(struct version *v, struct doc *ret);
/* In one of several styles. */
void doc_print(struct world *w, const struct doc *doc, struct buf *b);
/* A few changes, with new values. */
void doc_change(struct world *w, struct doc *doc);
/* Tells the model what the change from `old` (which the writer had read) to `new` wrote and took away. */
void doc_model(struct world *w, struct device *d, const struct id *node, const struct doc *old,
	       const struct doc *new, const struct numbers *saw);
