/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/spared.h"

void spared_add(struct spared *x, const struct id *node, const struct vv *context, const struct actors *actors)
{
	if (x->n == SPARED_MAX) {
		x->more = true;
		return;
	}
	x->node[x->n] = *node;
	vv_fingerprint(context, actors, &x->context[x->n++]);
}

bool spared_kept(const struct spared *x, struct replica *r)
{
	bool kept = false;
	for (uint32_t i = 0; !kept && i < x->n; i++)
		kept = replica_keeps_contents(r, &x->node[i]);
	return kept;
}

bool spared_changed(const struct spared *x, struct view *v, const struct actors *actors)
{
	bool changed = x->more;
	for (uint32_t i = 0; !changed && i < x->n; i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct view_node node;
		struct id context;
		changed = view_node(v, &x->node[i], &a, &node, NULL) < 0;
		if (changed)
			break;
		vv_fingerprint(&node.context, actors, &context);
		changed = !id_equal(&context, &x->context[i]);
	}
	return changed;
}
