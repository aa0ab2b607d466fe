/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Nodes that a peer which keeps a part would be told to take out of its store if their contents were here to stay
 * (shoal-protocol(7), Parts). All zero: none. */

#include "engine/replica.h"

#define SPARED_MAX 16 /* of those that are looked at again */

struct spared {
	struct id node[SPARED_MAX];
	struct id context[SPARED_MAX]; /* fingerprint of what the record was then */
	uint32_t n;
	bool more; /* there are others */
};

void spared_add(struct spared *x, const struct id *node, const struct vv *context, const struct actors *actors);
/* The contents of one of them are here, and stay. */
bool spared_kept(const struct spared *x, struct replica *r);
/* One of them is another one in that view, or may be. */
bool spared_changed(const struct spared *x, struct view *v, const struct actors *actors);
