/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Values of slots against JSON. */

#include "engine/crdt.h"
#include "engine/json.h"

/* Do both mean the same? Numbers as decimals, arrays as JSON, everything else by its bytes.
 * Without memory to compare two differently written arrays in, they count as different. */
bool value_equal(const struct value *x, const struct value *y);

/* The same for a value and a JSON tree; false for objects, whose parts lie in other slots. */
bool value_equal_json(const struct value *v, const struct json *j);

/* What a register holds for j: VALUE_MAP for an object. Refers to the tree. An array is kept as
 * its text, so j must come from json_parse or have one. */
struct value value_of_json(const struct json *j);
