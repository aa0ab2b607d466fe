/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "engine/replica.h"

/* Is the peer known to hold the node as it is now, or (id NULL) everything? */
_unused_ static bool held_by(struct replica *r, const struct id *peer, const struct id *id)
{
	_cleanup_(cut_freep) struct cut *c = NULL;
	int rc = cut_new(r, &c);
	if (rc == 0)
		rc = id ? cut_node(c, id) : cut_all(c);
	return rc == 0 && cut_held(c, peer);
}
