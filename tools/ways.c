/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is reachable, and who would still reach whom without this device: for the choice of neighbours. */
#include <errno.h>
#include <stdlib.h>

#include "tools/daemon.h"

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

int ways_list(struct neighbour_way **ret, uint32_t *ret_n, void *userdata)
{
	struct daemon *d = userdata;
	_cleanup_(graph_freep) struct graph *g = NULL;
	_cleanup_free_ uint32_t *up = NULL;
	struct neighbour_way *way = NULL;
	int r = peers_graph(d->peers, &g);
	if (r < 0)
		return r;
	const uint32_t n = g->n_devices;
	up = calloc((size_t)n + 1, sizeof(*up));
	way = calloc((size_t)n + 1, sizeof(*way));
	if (!up || !way) {
		free(way);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		up[i] = i;
	/* The first is this device: what goes through it does not count. */
	for (uint32_t i = 0; i < g->n_links; i++) {
		const struct graph_link *l = &g->link[i];
		if (l->a > 0 && l->b > 0)
			up[root_of(up, l->a)] = root_of(up, l->b);
	}
	for (uint32_t i = 1; i < n; i++)
		way[i - 1] = (struct neighbour_way){ g->device[i].id, root_of(up, i) };
	qsort(way, n > 0 ? n - 1 : 0, sizeof(*way), way_cmp);
	*ret = way;
	*ret_n = n > 0 ? n - 1 : 0;
	return 0;
}
