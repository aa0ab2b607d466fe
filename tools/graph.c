/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `graph`: who is reachable through whom. The keys are a contract; shoal(1) lists them. */
#include <stdio.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"
#include "tools/devices.h"
#include "tools/world.h"

#define AT_ONCE_MAX 4096 /* devices in one answer; links twice as many */

static const char *const source_name[] = {
	[GRAPH_OWN] = "self",
	[GRAPH_FIRST_HAND] = "first-hand",
	[GRAPH_HEARSAY] = "hearsay",
	[GRAPH_NAMED] = "named",
};

struct writing {
	struct daemon *d;
	struct jsonw w;
	const struct graph *g;
	uint32_t shown; /* devices */
};

static void put_text(struct writing *x, const char *key, const char *text)
{
	jsonw_key(&x->w, key);
	jsonw_string(&x->w, text);
}

static void put_uint(struct writing *x, const char *key, uint64_t v)
{
	jsonw_key(&x->w, key);
	jsonw_uint(&x->w, v);
}

static void put_bool(struct writing *x, const char *key, bool v)
{
	jsonw_key(&x->w, key);
	jsonw_bool(&x->w, v);
}

/* The name that this device has met it by says more than what others call it. */
static const char *name_of(const struct writing *x, uint32_t i, char text[static NAME_SIZE])
{
	const struct graph_device *d = &x->g->device[i];
	struct device met;
	const bool known = i > 0 && devices_get(x->d->replica, &d->id, &met) == 0;
	snprintf(text, NAME_SIZE, "%s", known ? met.name : d->name);
	return text;
}

/* KEY and KEY_id; GRAPH_NONE: null. */
static void put_device_name(struct writing *x, const char *key, uint32_t i)
{
	char name[NAME_SIZE], hex[ID_HEX], key_id[32];
	snprintf(key_id, sizeof(key_id), "%s_id", key);
	put_text(x, key, i == GRAPH_NONE ? NULL : name_of(x, i, name));
	put_text(x, key_id, i == GRAPH_NONE ? NULL : id_hex(&x->g->device[i].id, hex));
}

static void put_device(struct writing *x, uint32_t i)
{
	const struct graph_device *d = &x->g->device[i];
	char name[NAME_SIZE], hex[ID_HEX], label[DEVICE_LABEL_SIZE];
	jsonw_object_begin(&x->w);
	put_text(x, "device", name_of(x, i, name));
	put_text(x, "id", id_hex(&d->id, hex));
	put_bool(x, "self", i == 0);
	put_text(x, "known", source_name[d->source]);
	put_text(x, "told_by", d->source == GRAPH_HEARSAY && !id_is_zero(&d->teller) ?
				       report_device(x->d, &d->teller, label) : NULL);
	put_uint(x, "hops", d->hops);
	put_device_name(x, "through", d->parent);
	put_uint(x, "untold_links", d->more);
	jsonw_object_end(&x->w);
}

static void put_link(struct writing *x, const struct graph_link *l)
{
	const uint64_t now = world_wall_us() / 1000000, since = l->said->since_s;
	jsonw_object_begin(&x->w);
	put_device_name(x, "a", l->a);
	put_device_name(x, "b", l->b);
	put_text(x, "transport", l->said->transport);
	put_uint(x, "rtt_us", l->said->rtt_us);
	put_uint(x, "connected_s", now > since ? now - since : 0);
	put_text(x, "known", source_name[l->source]);
	put_bool(x, "both", l->both);
	jsonw_object_end(&x->w);
}

void method_graph(struct call *c, const struct json *params, void *userdata)
{
	_cleanup_(graph_freep) struct graph *g = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct writing x = { .d = userdata };
	uint32_t links = 0;
	(void)params;
	int r = peers_graph(x.d->peers, &g);
	if (r < 0) {
		call_fail(c, r, "out of memory");
		return;
	}
	x.g = g;
	x.shown = g->n_devices < AT_ONCE_MAX ? g->n_devices : AT_ONCE_MAX;
	jsonw_init(&x.w, &b, 0);
	jsonw_object_begin(&x.w);
	jsonw_key(&x.w, "devices");
	jsonw_array_begin(&x.w);
	for (uint32_t i = 0; i < x.shown; i++)
		put_device(&x, i);
	jsonw_array_end(&x.w);
	jsonw_key(&x.w, "links");
	jsonw_array_begin(&x.w);
	for (uint32_t i = 0; i < g->n_links && links < 2 * AT_ONCE_MAX; i++)
		if (g->link[i].a < x.shown && g->link[i].b < x.shown) {
			put_link(&x, &g->link[i]);
			links++;
		}
	jsonw_array_end(&x.w);
	put_uint(&x, "left_out", g->n_devices - x.shown);
	jsonw_object_end(&x.w);
	jsonw_end(&x.w);
	call_result(c, &b, false);
}
