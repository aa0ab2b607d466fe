/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/reach.h"

#include <errno.h>
#include <stdlib.h>

/* The root of a tree of devices that are connected; halves the ways to it. */
static uint32_t root_of(uint32_t *up, uint32_t i)
{
	while (up[i] != i) {
		up[i] = up[up[i]];
		i = up[i];
	}
	return i;
}

static int way_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct neighbour_way *)a)->id, &((const struct neighbour_way *)b)->id);
}

int reach_ways(const struct graph *g, struct neighbour_way **ret, uint32_t *ret_n)
{
	const uint32_t n = g->n_devices;
	uint32_t count = 0;
	_cleanup_free_ uint32_t *up = calloc((size_t)n + 1, sizeof(*up));
	struct neighbour_way *way = calloc((size_t)n + 1, sizeof(*way));
	if (!up || !way) {
		free(way);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		up[i] = i;
	/* What goes through this device does not count, nor what only one says: it may be a liar, or half of a link
	 * whose other end is gone. */
	for (uint32_t i = 0; i < g->n_links; i++) {
		const struct graph_link *l = &g->link[i];
		if (l->a > 0 && l->b > 0 && l->both)
			up[root_of(up, l->a)] = root_of(up, l->b);
	}
	for (uint32_t i = 1; i < n; i++)
		if (g->device[i].source != GRAPH_NAMED)
			way[count++] = (struct neighbour_way){ g->device[i].id, root_of(up, i) };
	qsort(way, count, sizeof(*way), way_cmp);
	*ret = way;
	*ret_n = count;
	return 0;
}
