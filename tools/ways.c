/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that are reached through others: for the choice of neighbours who would still reach whom without this
 * device, and links to those who can answer something only themselves. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/daemon.h"
#include "tools/devices.h"

#define NEED_SECONDS 10

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

uint32_t ways_through(const struct graph *g, uint32_t device)
{
	if (g->device[device].hops < 2)
		return 0;
	while (g->device[device].hops > 1)
		device = g->device[device].parent;
	return device;
}

bool ways_named(struct daemon *d, const struct graph_device *v, const char *name)
{
	char hex[ID_HEX];
	struct device met;
	const bool known = devices_get(d->replica, &v->id, &met) == 0;
	return strcmp(known ? met.name : v->name, name) == 0 || strcmp(id_hex(&v->id, hex), name) == 0;
}

bool ways_need(struct daemon *d, const char *name, bool (*f)(const struct id *device, void *userdata),
	       void *userdata)
{
	_cleanup_(graph_freep) struct graph *g = NULL;
	bool any = false;
	if (peers_graph(d->peers, &g) < 0 || g->n_devices < 2)
		return false;
	/* Not always the same first: some may not be reached. */
	const uint32_t n = g->n_devices - 1, first = (uint32_t)(d->needs++ % n);
	for (uint32_t i = 0; i < n; i++) {
		const struct graph_device *v = &g->device[1 + (first + i) % n];
		if ((!name && v->hops < 2) || (name && !ways_named(d, v, name)) || (f && !f(&v->id, userdata)))
			continue;
		any = true;
		(void)mesh_need(d->mesh, &v->id, NEED_SECONDS);
	}
	return any;
}
