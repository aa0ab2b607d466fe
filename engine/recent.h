/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the deltas of a stream said last: the next one says how it differs. shoal-format(7), "Delta on a link". Both ends
 * keep one for a direction, in its actor codec; all zero at first. */

#include <stdint.h>

#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/id.h"
#include "engine/zigzag.h"

struct recent {
	struct id scope;   /* of a whole record */
	struct id parent;  /* of an edge */
	uint64_t seq;      /* of any dot that is written so */
	uint64_t us;       /* of a batch */
	uint64_t visit_us; /* of a visit */
};

/* The zigzag of the difference to the last one (modulo 2^64), which this becomes. */
static inline void recent_put(uint64_t *last, uint64_t v, struct buf *b)
{
	buf_varint(b, zigzag((int64_t)(v - *last)));
	*last = v;
}

static inline uint64_t recent_get(uint64_t *last, struct cursor *c)
{
	*last += (uint64_t)unzigzag(cursor_varint(c));
	return *last;
}
