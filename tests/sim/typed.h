/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Counters, sets and keyed lists (engine/types.h): what they are declared to be, at any time and on any
 * device, and documents of their own in the directory "typed" with an oracle that knows every
 * increment and every member. It takes record contexts for what a device has to have counted, so it
 * holds on all devices at any time. */

#include "tests/sim/world.h"

#define TYPED_DIR "typed"

struct typed;
/* Is it the directory or one of the documents? Other programs leave these alone, also where they show
 * when the directory has not arrived yet. */
bool typed_name(const char *name, size_t len);

struct typed *typed_new(void);
void typed_free(struct typed *t);

/* Declares something, or changes a document; what the replica says. */
int typed_step(struct world *w, struct device *d);
/* Declares something of a collection's ordinary documents (tests/sim/doc.h), whatever it may mean
 * there; what the replica says. */
int typed_declare_any(struct world *w, struct device *d, const struct id *collection);

/* The device goes down. */
void typed_down(struct world *w, struct device *d);
/* Commits of the device beyond seq are lost. */
void typed_lost(struct world *w, struct device *d, uint64_t seq);
/* The device shows what all changes that it has add up to. */
void typed_check(struct world *w, struct device *d);
/* It has them all. */
void typed_check_all(struct world *w, struct device *d);
