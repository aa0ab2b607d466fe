/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "transports/avahi.h"
#include "transports/discovery.h"
#include "transports/joinserver.h"

void mesh_note(const struct mesh *m, int priority, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	if (!m->handler->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->handler->note(priority, text, m->user);
}

uint64_t mesh_now(const struct mesh *m)
{
	uint64_t now = 0;
	(void)sd_event_now(m->event, CLOCK_BOOTTIME, &now);
	return now;
}

/* ---- what others say ---- */

static void on_network(void *user)
{
	struct mesh *m = user;
	struct err why = { 0 };
	if (m->discovery)
		discovery_network_changed(m->discovery);
	/* A link from an address that we no longer have is dead: do not wait for TCP. */
	err_set(&why, -ENETDOWN, "this device left the network of the link");
	for (struct conn *c = m->conns; c; c = c->next) {
		struct link_info info;
		if (c->state == CONN_DEAD || !c->tls)
			continue;
		tls_info(c->tls, &info);
		if (info.local[0] && info.cost != LINK_RADIO && !ifaces_has(m->ifaces, info.local))
			conn_end(c, &why);
	}
	targets_hurry(m);
}

static void end_all(struct mesh *m, const char *text)
{
	struct err why = { 0 };
	err_set(&why, -ESHUTDOWN, "%s", text);
	for (struct conn *c = m->conns; c; c = c->next)
		conn_end(c, &why);
}

void mesh_rest(struct mesh *m)
{
	m->resting = true;
	if (m->bluetooth)
		bluetooth_rest(m->bluetooth, true);
	if (m->direct)
		wifidirect_rest(m->direct, true);
	targets_stop(m);
	end_all(m, "this device goes to sleep");
}

void mesh_wake(struct mesh *m)
{
	m->resting = false;
	end_all(m, "this device has slept");
	if (m->discovery)
		discovery_network_changed(m->discovery);
	if (m->bluetooth)
		bluetooth_rest(m->bluetooth, false);
	if (m->direct)
		wifidirect_rest(m->direct, false);
	/* Where somebody was he may be still. */
	for (struct target *t = m->targets; t; t = t->next) {
		t->heard = mesh_now(m);
		if (!t->fixed && !id_is_zero(&t->device))
			choice_seen(m, &t->device);
	}
	choice_soon(m, 0);
	targets_hurry(m);
}

static void on_joined(const struct id *device, const char *name, enum role role, void *user)
{
	struct mesh *m = user;
	mesh_note(m, LOG_NOTICE, "%s joined as %s", name, role_name(role));
	if (m->handler->joined)
		m->handler->joined(device, name, role, m->user);
}

/* ---- the whole ---- */

int mesh_new(sd_event *event, const struct identity *identity, const struct mesh_options *o,
	     const struct mesh_handler *handler, void *user, struct mesh **ret, struct err *e)
{
	_cleanup_(mesh_freep) struct mesh *m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	m->event = sd_event_ref(event);
	m->identity = identity;
	m->invites = o->invites;
	m->handler = handler;
	m->user = user;
	if (o->listen)
		snprintf(m->listen, sizeof(m->listen), "%s", o->listen);
	snprintf(m->root, sizeof(m->root), "%s", o->root ? o->root : "");
	int r = tls_context_new(identity, &m->context, e);
	if (r == 0)
		r = ifaces_new(event, on_network, m, &m->ifaces, e);
	if (r == 0 && o->invites)
		r = joinserver_new(event, identity, o->invites, on_joined, m, &m->joinserver, e);
	if (r == 0)
		r = tcp_listen(event, o->listen, o->port, mesh_accept, m, &m->listener, e);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &m->reap, mesh_reap, m);
	if (r < 0)
		return err_errno(e, r, "cannot start");
	m->take_all = o->take_all;
	r = choice_new(m, o->take_all ? NEIGHBOURS_ALL : o->neighbours, e);
	if (r < 0)
		return r;
	uint16_t port = listener_port(m->listener);
	struct err why = { 0 };
	/* Without discovery fixed addresses still work. */
	if (o->discover && !o->no_beacons &&
	    discovery_new(event, identity, m->ifaces, port, targets_found, m, &m->discovery, &why) < 0)
		mesh_note(m, LOG_WARNING, "no discovery on the local network: %s", why.message);
	if (o->discover && !o->no_dnssd &&
	    avahi_new(event, identity, port, targets_found, m, &m->avahi, &why) < 0)
		mesh_note(m, LOG_DEBUG, "no DNS-SD: %s", why.message);
	if (o->bluetooth && radio_new(m, o->bluetooth, &why) < 0)
		mesh_note(m, LOG_DEBUG, "no Bluetooth: %s", why.message);
	if (o->wifidirect && direct_new(m, o, &why) < 0)
		mesh_note(m, LOG_DEBUG, "no Wi-Fi Direct: %s", why.message);
	if ((m->bluetooth || m->direct) && radio_watch(m, &why) < 0)
		mesh_note(m, LOG_DEBUG, "radios that come and go are not noticed: %s", why.message);
	*ret = TAKE_PTR(m);
	return 0;
}

void mesh_free(struct mesh *m)
{
	if (!m)
		return;
	m->closing = true;
	end_all(m, "this device shuts down");
	while (m->targets)
		target_free(m->targets);
	while (m->conns)
		conn_free(m->conns);
	radios_free(m->radios);
	wifidirect_free(m->direct);
	bluetooth_free(m->bluetooth);
	avahi_free(m->avahi);
	discovery_free(m->discovery);
	listener_free(m->listener);
	joinserver_free(m->joinserver);
	ifaces_free(m->ifaces);
	tls_context_unref(m->context);
	choice_free(m);
	sd_event_source_disable_unref(m->reap);
	sd_event_unref(m->event);
	free(m);
}

uint16_t mesh_port(const struct mesh *m)
{
	return listener_port(m->listener);
}

static struct target *find_fixed(const struct mesh *m, const struct token_address *a)
{
	for (struct target *t = m->targets; t; t = t->next)
		if (t->fixed && t->host.port == a->port && strcmp(t->host.host, a->host) == 0)
			return t;
	return NULL;
}

static int add_fixed(struct mesh *m, const struct token_address *a, bool hint, struct err *e)
{
	unsigned n = 0;
	struct target *known = find_fixed(m, a);
	if (known && !hint)
		known->hint = false;
	if (known)
		return err_set(e, -EEXIST, "%s, port %u, is connected to already", a->host, a->port);
	for (struct target *t = m->targets; t; t = t->next)
		n += t->fixed;
	if (n >= MESH_FIXED_MAX)
		return err_set(e, -ENOSPC, "there are %d fixed addresses already", MESH_FIXED_MAX);
	struct target *t = target_new(m, true);
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->host = *a;
	t->hint = hint;
	target_plan(t, 0);
	return 0;
}

int mesh_connect(struct mesh *m, const struct token_address *a, struct err *e)
{
	return add_fixed(m, a, false, e);
}

int mesh_remember(struct mesh *m, const struct token_address *a, struct err *e)
{
	return add_fixed(m, a, true, e);
}

int mesh_disconnect(struct mesh *m, const struct token_address *a)
{
	struct target *t = find_fixed(m, a);
	if (!t)
		return -ENOENT;
	struct conn *c = t->conn;
	target_free(t);
	if (c) {
		struct err why = { 0 };
		err_set(&why, -ESHUTDOWN, "this device disconnected");
		conn_end(c, &why);
	}
	return 0;
}

int mesh_fixed(const struct mesh *m, unsigned index, struct mesh_fixed *ret)
{
	/* Newest first in the list: count from its end. */
	unsigned n = 0;
	for (struct target *t = m->targets; t; t = t->next)
		n += t->fixed;
	if (index >= n)
		return -ENOENT;
	const struct target *t = m->targets;
	for (unsigned k = n - 1 - index;; t = t->next)
		if (t->fixed && k-- == 0)
			break;
	*ret = (struct mesh_fixed){
		.address = t->host,
		.connected = !id_is_zero(&t->device) && conn_link_to(m, &t->device, NULL),
		.device = t->device,
		.next_us = (int64_t)t->due,
	};
	snprintf(ret->error, sizeof(ret->error), "%.*s", (int)sizeof(ret->error) - 1,
		 t->why.message);
	return 0;
}

struct link *mesh_next_link(struct mesh *m, struct link *after)
{
	struct conn *c = m->conns;
	if (after) {
		while (c && (c->state != CONN_UP || tls_link(c->tls) != after))
			c = c->next;
		if (c)
			c = c->next;
	}
	while (c && c->state != CONN_UP)
		c = c->next;
	return c ? tls_link(c->tls) : NULL;
}

struct link *mesh_link(struct mesh *m, const struct id *device)
{
	struct conn *c = conn_link_to(m, device, NULL);
	return c ? tls_link(c->tls) : NULL;
}

void mesh_cut(struct mesh *m, const struct id *device)
{
	struct err why = { 0 };
	err_set(&why, -EKEYREVOKED, "this device cut the link");
	for (struct target *t = m->targets, *next; t; t = next) {
		next = t->next;
		if (!t->fixed && id_equal(&t->device, device))
			target_free(t);
	}
	for (struct conn *c = m->conns; c; c = c->next)
		if (c->state != CONN_DEAD && id_equal(&c->peer, device))
			conn_end(c, &why);
	neighbours_forget(m->neighbours, device);
	choice_soon(m, 0);
}

static void add_addresses(const struct mesh *m, bool link_local, bool v6, struct token_address *ret,
			  unsigned max, unsigned *n)
{
	unsigned count;
	const struct iface *list = ifaces_list(m->ifaces, &count);
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < list[i].n && *n < max; k++) {
			struct address a = list[i].address[k];
			if (address_is_loopback(&a) || address_is_link_local(&a) != link_local ||
			    (a.sa.sa_family == AF_INET6) != v6)
				continue;
			/* A scope is this host's own name for the network. */
			if (v6)
				a.in6.sin6_scope_id = 0;
			char text[ADDRESS_TEXT];
			struct token_address *t = &ret[(*n)++];
			t->port = mesh_port(m);
			snprintf(t->host, sizeof(t->host), "%s", address_host(&a, text));
		}
}

unsigned mesh_addresses(const struct mesh *m, struct token_address *ret, unsigned max)
{
	const struct address *radio = m->bluetooth ? bluetooth_own(m->bluetooth) : NULL;
	unsigned n = 0;
	if (radio && max > 1)
		max--;
	if (m->listen[0] && max > 0) {
		ret[0].port = mesh_port(m);
		snprintf(ret[0].host, sizeof(ret[0].host), "%s", m->listen);
		n = 1;
	} else {
		add_addresses(m, false, false, ret, max, &n);
		add_addresses(m, false, true, ret, max, &n);
		add_addresses(m, true, true, ret, max, &n);
		add_addresses(m, true, false, ret, max, &n);
	}
	if (radio) {
		char text[ADDRESS_TEXT];
		address_bluetooth_name(radio, text);
		ret[n].port = address_port(radio);
		snprintf(ret[n++].host, sizeof(ret[0].host), "%s", text);
	}
	return n;
}

int mesh_invite(struct mesh *m, enum role role, int64_t lifetime, unsigned uses, struct token *ret,
		struct err *e)
{
	if (!m->invites)
		return err_set(e, -ENOTSUP, "this daemon admits nobody");
	if (!identity_can_invite(m->identity))
		return err_set(e, -EPERM, "this device is no admin: ask one to invite");
	if (lifetime <= 0 || lifetime > INT64_C(366) * 86400)
		return err_set(e, -EINVAL, "an invitation lasts from a second to a year");
	struct token t = {
		.root = *identity_root_fingerprint(m->identity),
		.expires = (int64_t)time(NULL) + lifetime,
	};
	t.n = mesh_addresses(m, t.address, TOKEN_ADDRESSES);
	int r = invites_add(m->invites, role, t.expires, uses, t.secret, e);
	if (r == 0)
		*ret = t;
	token_wipe(&t);
	return r;
}
