/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which ways to devices were slow, as sessions found them: shoal-protocol(7), "Slow links". A way is known by both
 * addresses, without ports, for an hour. */
#include "transports/mesh-impl.h"

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

/* Its place; n_ways: it is not there. */
static unsigned find(const struct conn *c, const struct link_info *ends)
{
	const struct mesh *m = c->mesh;
	unsigned i = 0;
	while (i < m->n_ways && !(id_equal(&m->way[i].device, &c->peer) && strcmp(m->way[i].local, ends->local) == 0 &&
				  strcmp(m->way[i].remote, ends->remote) == 0))
		i++;
	return i;
}

bool way_is_slow(const struct conn *c)
{
	const struct mesh *m = c->mesh;
	struct link_info ends;
	ends_of(c, &ends);
	unsigned i = find(c, &ends);
	return i < m->n_ways && mesh_now(m) - m->way[i].slow_at < FORGET_US;
}

void way_note(const struct conn *c, bool slow)
{
	struct mesh *m = c->mesh;
	struct link_info ends;
	ends_of(c, &ends);
	unsigned i = find(c, &ends);
	/* Out of it, or the one that was noted longest ago. */
	if (i < m->n_ways || (slow && m->n_ways == WAYS_MAX)) {
		i = i < m->n_ways ? i : 0;
		memmove(&m->way[i], &m->way[i + 1], (m->n_ways - i - 1) * sizeof(m->way[0]));
		m->n_ways--;
	}
	if (!slow)
		return;
	struct way *w = &m->way[m->n_ways++];
	*w = (struct way){ .device = c->peer, .slow_at = mesh_now(m) };
	memcpy(w->local, ends.local, sizeof(w->local));
	memcpy(w->remote, ends.remote, sizeof(w->remote));
}
