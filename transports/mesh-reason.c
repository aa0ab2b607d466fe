/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why the link to a device goes the way it goes, in words: by what it took over from, and by what rests beside it. The
 * texts are those that shoal(1) lists. */
#include "transports/mesh-impl.h"

#include <stdio.h>
#include <string.h>

static const char network[] = "the network", bluetooth[] = "Bluetooth", wifidirect[] = "Wi-Fi Direct",
		  other[] = "the other way";

const char *way_kind(const struct conn *c)
{
	return address_is_bluetooth(&c->remote) ? bluetooth : direct_carries(c) ? wifidirect : network;
}

/* Nothing rests beside it. */
static void alone(const struct conn *c, char ret[static MESH_REASON_SIZE])
{
	const char *kind = way_kind(c);
	const bool moved = c->before && c->before != kind;
	int n = snprintf(ret, MESH_REASON_SIZE, "only %s reaches it", kind);
	if (moved && c->chosen == CHOSEN_ENDED)
		snprintf(ret + n, MESH_REASON_SIZE - (size_t)n, " since %s broke off", c->before);
	else if (moved && c->chosen == CHOSEN_SILENT)
		snprintf(ret + n, MESH_REASON_SIZE - (size_t)n, " since %s fell silent", c->before);
}

static void beside(const struct conn *c, const struct conn *rest, char ret[static MESH_REASON_SIZE])
{
	const char *kind = way_kind(c), *than = way_kind(rest) == kind ? other : way_kind(rest);
	struct link_info l, r;
	tls_info(c->tls, &l);
	tls_info(rest->tls, &r);
	if (l.cost < r.cost && c->chosen != CHOSEN_SLOW) {
		snprintf(ret, MESH_REASON_SIZE, "%s is faster than %s", kind, than);
		return;
	}
	switch (c->chosen) {
	case CHOSEN_FIRST:
	case CHOSEN_CHEAPER:
		snprintf(ret, MESH_REASON_SIZE, "it came first, %s %s", than, r.cost < l.cost ? "will take over" : "is no better");
		break;
	case CHOSEN_ENDED:
		snprintf(ret, MESH_REASON_SIZE, "%s broke off", than);
		break;
	case CHOSEN_SILENT:
		snprintf(ret, MESH_REASON_SIZE, "%s fell silent", than);
		break;
	case CHOSEN_SLOW:
		snprintf(ret, MESH_REASON_SIZE, "%s is slow", than);
		break;
	case CHOSEN_CLOSER:
		snprintf(ret, MESH_REASON_SIZE, "its round trip is shorter than that of %s", than);
		break;
	case CHOSEN_PEER:
		snprintf(ret, MESH_REASON_SIZE, "the other device changed over to it");
		break;
	}
}

void mesh_reason(const struct mesh *m, const struct id *device, char ret[static MESH_REASON_SIZE])
{
	const struct conn *c = conn_link_to(m, device, NULL), *rest = standby_of(m, device);
	ret[0] = '\0';
	if (c && direct_carries(c) && m->direct_why[0])
		snprintf(ret, MESH_REASON_SIZE, "%s", m->direct_why);
	else if (c && rest)
		beside(c, rest, ret);
	else if (c)
		alone(c, ret);
}
