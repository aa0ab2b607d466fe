/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast the ways to devices were, as sessions found them: shoal-protocol(7), "Slow links". A way is known by both
 * addresses, without ports, for an hour. */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FORGET_US (3600 * SECOND)

/* Both addresses of the connection. */
static void ends_of(const struct conn *c, struct link_info *ret)
{
	tls_info(c->tls, ret);
	char *port = strrchr(ret->remote, ':');
	if (port)
		*port = '\0';
}

static struct way *find(const struct mesh *m, const struct conn *c)
{
	struct link_info info;
	ends_of(c, &info);
	for (unsigned i = 0; i < m->n_ways; i++) {
		struct way *w = m->ways[i];
		if (id_equal(&w->device, &c->peer) && strcmp(w->local, info.local) == 0 &&
		    strcmp(w->remote, info.remote) == 0)
			return w;
	}
	return NULL;
}

bool way_is_slow(const struct conn *c)
{
	const struct way *w = find(c->mesh, c);
	return w && w->slow_at && mesh_now(c->mesh) - w->slow_at < FORGET_US;
}

int way_note(const struct conn *c, bool slow)
{
	struct mesh *m = c->mesh;
	struct way *w = find(m, c);
	struct link_info info;
	if (!w && !slow)
		return 0;
	if (!w && m->n_ways == WAYS_MAX) {
		/* The one that was looked at longest ago. */
		w = m->ways[0];
		memmove(&m->ways[0], &m->ways[1], (WAYS_MAX - 1) * sizeof(m->ways[0]));
		m->ways[WAYS_MAX - 1] = w;
	} else if (!w) {
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOMEM;
		m->ways[m->n_ways++] = w;
	}
	ends_of(c, &info);
	w->device = c->peer;
	memcpy(w->local, info.local, sizeof(w->local));
	memcpy(w->remote, info.remote, sizeof(w->remote));
	w->slow_at = slow ? mesh_now(m) : 0;
	return 0;
}

void ways_free(struct mesh *m)
{
	while (m->n_ways > 0)
		free(m->ways[--m->n_ways]);
}
