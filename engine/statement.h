/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A statement: to whom a device says it is connected, and its encoding in PRESENCE frames.
 * shoal-protocol(7), Presence, has what is believed of it. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/cleanup.h"
#include "engine/cursor.h"
#include "engine/id.h"

#define STATEMENT_LINKS_MAX 64
#define STATEMENT_MORE_MAX (1u << 20)
#define STATEMENT_NAME_MAX 64      /* bytes */
#define STATEMENT_TRANSPORT_MAX 15 /* bytes: lower-case letters, digits and - */
#define STATEMENT_SINCE_MAX (UINT64_C(1) << 40)
/* Bytes of the longest one. */
#define STATEMENT_SIZE_MAX (ID_SIZE + 4 + 1 + STATEMENT_NAME_MAX + 3 + 1 + STATEMENT_LINKS_MAX * \
			    (ID_SIZE + 1 + STATEMENT_NAME_MAX + 1 + STATEMENT_TRANSPORT_MAX + 5 + 6))

struct statement_link {
	struct id peer;
	char name[STATEMENT_NAME_MAX + 1];
	char transport[STATEMENT_TRANSPORT_MAX + 1];
	uint32_t rtt_us;  /* 0: not known */
	uint64_t since_s; /* since 1970, by the author's clock */
};

struct statement {
	struct id author;
	uint32_t number;
	char name[STATEMENT_NAME_MAX + 1];
	uint32_t more; /* links that it has no room for */
	uint32_t n;
	struct statement_link link[]; /* n, sorted by peer; none to the author */
};

/* A copy of the first n of link, which are sorted. NULL: out of memory. To be freed with free(3). */
struct statement *statement_new(const struct id *author, uint32_t number, const char *name, uint32_t more,
				const struct statement_link *link, uint32_t n);
void statement_encode(const struct statement *s, struct buf *b);
/* Reads one; bytes may follow. -EPROTO, -ENOMEM. */
int statement_decode(struct cursor *c, struct statement **ret);
/* NULL: it is not there. */
const struct statement_link *statement_find(const struct statement *s, const struct id *peer);

/* Is a said later than b? Numbers go round: half of all of them are later than any one. */
static inline bool statement_later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}
