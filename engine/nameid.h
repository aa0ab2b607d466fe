/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Ids that follow from a name: two devices that make a directory or a document of that name apart make the same node.
 * shoal-format(7), "Ids". */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/crdt.h"

bool name_is_document(const char *name, size_t len); /* NAME.json */

/* type: "dir" or "json" */
void name_id(const char *type, const struct id *parent, const char *name, size_t len, uint32_t generation,
	     struct id *ret);

#define NAMED_GENERATIONS 3 /* that a delta can tell */

/* The id that the record's newest edge with a name gives; false when it gives none. */
bool record_named(const struct record *r, uint32_t generation, struct id *ret);
/* The generation below NAMED_GENERATIONS for which that is the record's id; NAMED_GENERATIONS: none. */
uint32_t record_generation(const struct record *r);
