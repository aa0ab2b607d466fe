/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Difference of two JSON texts, by object keys, and in lists by elements (engine/arraydiff.h). Scalars
 * and other arrays are replaced whole; values equal as JSON (numbers as decimals) are no difference.
 * Keys and elements that kept their relative order (the longest increasing subsequence) are not
 * moved. */

#include "engine/arena.h"
#include "engine/patch.h"

/* base NULL: the document did not exist. *ret is NULL when nothing differs. The patch refers to
 * both trees, which must come from json_parse or render_tree: `offset` has to ascend. Arrays of base
 * whose elements have keys (engine/element.h) are lists; elements of next that continue one of those
 * get its key. types: what is declared of the document; NULL: nothing. Sets in next have no element twice
 * (engine/naming.h). -ENOMEM. */
int jdiff(struct arena *a, const struct json *base, struct json *next, const struct types_at *types,
	  struct patch **ret);
