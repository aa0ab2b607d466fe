/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that are reached through others: for the choice of neighbours who would still reach whom without this
 * device, and links to those who can answer something only themselves. */
#include <errno.h>
#include <string.h>

#include "tools/daemon.h"
#include "tools/devices.h"
#include "transports/reach.h"

#define NEED_SECONDS 10

int ways_list(struct neighbour_way **ret, uint32_t *ret_n, void *userdata)
{
	struct daemon *d = userdata;
	_cleanup_(graph_freep) struct graph *g = NULL;
	int r = peers_graph(d->peers, &g);
	return r < 0 ? r : reach_ways(g, ret, ret_n);
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
