/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a walk from the newest to the oldest has been through: shoal-protocol(7), "Newest first". One span is
 * all that is met under each actor at numbers beyond `low` up to `high`; spans lie above one another. */

#include "engine/vv.h"

#define SPANS_MAX 4
#define SPANS_KEPT 3 /* for another session, where one more comes on top */

struct spans {
	struct vv low[SPANS_MAX], high[SPANS_MAX]; /* the lowest first; malloc */
	uint32_t n;
};

void spans_done(struct spans *s);
/* What it had is freed. -ENOMEM. */
int spans_copy(const struct spans *s, struct spans *ret);
/* The walk begins anew at upto, which covers all spans, and goes on with them after that. Nothing is added when
 * the highest one reaches that far already. -ENOSPC; -ENOMEM. */
int spans_raise(struct spans *s, const struct vv *upto);
/* All of the actor beyond number seq is met, as far as the highest span goes. When that has come down to the one below, they are one.
 * False: it is not less than what was said before, or below the span. */
bool spans_lower(struct spans *s, uint32_t actor, uint64_t seq);
/* The highest number of the highest span, of each actor; NULL: there is none. */
const struct vv *spans_top(const struct spans *s);
/* They lie above one another, and each is a span. */
bool spans_valid(const struct spans *s);
