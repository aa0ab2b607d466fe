/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One link to each device
 * =======================
 *
 * Whoever accepts a connection decides about it, alone: after the TLS handshake it either
 * closes, or sends the greeting (one byte, 1) and the link is up; at the dialler it is up
 * when the greeting comes, and replaces what there was. The greeting also tells the dialler
 * that its certificate was accepted: in TLS 1.3 a client's handshake ends before the server
 * has seen the client's certificate.
 *
 * The accepting device A, with an earlier connection to the dialling device B:
 *
 *   - refuses when A dialled the earlier one, its handshake ended less than 10 s ago (or it still
 *     waits for the greeting), and A's id is the smaller: of two that dial each other at once
 *     the smaller's connection stays, and both sides come to the same conclusion;
 *   - else takes the new one and drops the earlier: B would not dial if its end of that
 *     one were alive.
 *
 * Of the addresses that are known for one device, one at a time gets as far as the handshake:
 * B would take the second for the successor of the first.
 *
 * A device that has a link to B dials B no more, and breaks off within the handshake (before
 * the server can take it for complete) when an address turns out to be B's.
 *
 * Limits: 64 incoming connections whose handshake is not over, 8 of one host (one IPv6 /64);
 * over either the oldest of them is dropped, so that connections which do nothing cannot keep
 * out one that does its handshake in the time of a few round trips.
 */
#include "transports/mesh.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "transports/avahi.h"
#include "transports/discovery.h"
#include "transports/ifaces.h"
#include "transports/joinserver.h"
#include "transports/tcp.h"
#include "transports/tls.h"

#define SECOND ((uint64_t)1000000)
#define GREETING 1
#define GREETING_WITHIN (10 * SECOND)
#define SIMULTANEOUS (10 * SECOND)
#define DIAL_TIMEOUT (10 * SECOND)
#define BACKOFF_MIN SECOND
#define BACKOFF_MAX (60 * SECOND)
#define SELF_PAUSE (600 * SECOND)  /* an address that turned out to be ours */
#define YIELD (3 * SECOND / 2)     /* the larger id lets the smaller dial first */
#define SPARE_PAUSE SECOND         /* while another address of the device is tried */
#define FOUND_FORGET (45 * SECOND) /* a found address that no beacon confirms */
#define FOUND_PER_DEVICE 4
#define FOUND_MAX 256
#define HALF_OPEN_MAX 64
#define HALF_OPEN_HOST 8

enum conn_state {
	CONN_HANDSHAKE,
	CONN_GREETING, /* dialled, the handshake is over, not greeted yet */
	CONN_UP,
	CONN_DEAD, /* to be freed when the loop comes round */
};

struct target;

struct conn {
	struct mesh *mesh;
	struct conn *prev, *next; /* newest first */
	enum conn_state state;
	bool dialled;
	struct tls *tls;
	struct target *target; /* that dialled it, unless that is gone */
	struct address remote;
	struct id peer; /* zero until its certificate was seen */
	uint64_t done;  /* when the handshake was over */
	sd_event_source *timer; /* of the greeting */
};

/* An address to be dialled. */
struct target {
	struct mesh *mesh;
	struct target *prev, *next;
	bool fixed;
	struct token_address host; /* fixed */
	struct address address;    /* found */
	struct id device;          /* found: who said so; fixed: who answered, zero at first */
	struct tcp_dial *dial;
	struct conn *conn;
	sd_event_source *timer;
	uint64_t backoff;
	uint64_t due;    /* when the timer ends; 0: it does not run */
	uint64_t heard;  /* found: last beacon */
	struct err why;
};

struct mesh {
	sd_event *event;
	const struct identity *identity;
	struct invites *invites;
	const struct mesh_handler *handler;
	void *user;
	char listen[ADDRESS_TEXT]; /* "": on all addresses */
	struct tls_context *context;
	struct tcp_listener *listener;
	struct ifaces *ifaces;
	struct discovery *discovery;
	struct avahi *avahi;
	struct joinserver *joinserver;
	sd_event_source *reap;
	struct conn *conns;
	struct target *targets;
	unsigned found; /* targets that are not fixed */
	bool closing;
};

_printf_(3, 4) static void note(const struct mesh *m, int priority, const char *fmt, ...)
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

static uint64_t now_us(const struct mesh *m)
{
	uint64_t now = 0;
	(void)sd_event_now(m->event, CLOCK_BOOTTIME, &now);
	return now;
}

/* ---- connections as a set ---- */

static struct conn *conn_add(struct mesh *m)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->mesh = m;
	c->next = m->conns;
	if (m->conns)
		m->conns->prev = c;
	m->conns = c;
	return c;
}

static void conn_free(struct conn *c)
{
	struct mesh *m = c->mesh;
	if (c->prev)
		c->prev->next = c->next;
	else
		m->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	sd_event_source_disable_unref(c->timer);
	tls_free(c->tls);
	free(c);
}

static int on_reap(sd_event_source *s, void *user)
{
	struct mesh *m = user;
	(void)s;
	for (struct conn *c = m->conns, *next; c; c = next) {
		next = c->next;
		if (c->state == CONN_DEAD)
			conn_free(c);
	}
	return 0;
}

/* The live connection to a device: up, or dialled and waiting for its greeting. */
static struct conn *conn_to(const struct mesh *m, const struct id *device, const struct conn *not)
{
	for (struct conn *c = m->conns; c; c = c->next)
		if (c != not && (c->state == CONN_UP || c->state == CONN_GREETING) &&
		    id_equal(&c->peer, device))
			return c;
	return NULL;
}

static struct conn *link_to(const struct mesh *m, const struct id *device, const struct conn *not)
{
	for (struct conn *c = m->conns; c; c = c->next)
		if (c != not && c->state == CONN_UP && id_equal(&c->peer, device))
			return c;
	return NULL;
}

/* ---- when targets are dialled ---- */

static void target_plan(struct target *t, uint64_t pause)
{
	t->due = now_us(t->mesh) + pause;
	(void)sd_event_source_set_time(t->timer, t->due);
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static void target_unplan(struct target *t)
{
	t->due = 0;
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
}

static uint64_t jitter(uint64_t pause)
{
	uint32_t v = 0;
	(void)gnutls_rnd(GNUTLS_RND_NONCE, &v, sizeof(v));
	return pause * 3 / 4 + pause / 2 * (v % 1024) / 1024;
}

/* A handshake through another address of the same device is under way. */
static bool tried_elsewhere(const struct target *t)
{
	if (id_is_zero(&t->device))
		return false;
	for (const struct target *o = t->mesh->targets; o; o = o->next)
		if (o != t && o->conn && id_equal(&o->device, &t->device))
			return true;
	return false;
}

static void target_failed(struct target *t, const struct err *why)
{
	t->why = *why;
	t->backoff = t->backoff ? t->backoff * 2 : BACKOFF_MIN;
	if (t->backoff > BACKOFF_MAX)
		t->backoff = BACKOFF_MAX;
	target_plan(t, why->code == -ELOOP ? SELF_PAUSE : jitter(t->backoff));
}

/* The device got a link: its addresses rest. */
static void targets_rest(struct mesh *m, const struct id *device)
{
	for (struct target *t = m->targets; t; t = t->next)
		if (id_equal(&t->device, device)) {
			t->backoff = 0;
			t->why = (struct err){ 0 };
			if (!t->dial && !t->conn)
				target_unplan(t);
		}
}

/* The device lost its link: dial it, soon but not at the same moment as it dials us. */
static void targets_wake(struct mesh *m, const struct id *device)
{
	bool smaller = id_cmp(identity_device(m->identity), device) < 0;
	for (struct target *t = m->targets; t; t = t->next)
		if (id_equal(&t->device, device) && !t->dial && !t->conn && !t->due)
			target_plan(t, jitter(smaller || t->fixed ? SECOND / 5 : YIELD));
}

static void target_free(struct target *t)
{
	struct mesh *m = t->mesh;
	if (t->prev)
		t->prev->next = t->next;
	else
		m->targets = t->next;
	if (t->next)
		t->next->prev = t->prev;
	m->found -= !t->fixed;
	tcp_dial_free(t->dial);
	if (t->conn)
		t->conn->target = NULL;
	sd_event_source_disable_unref(t->timer);
	free(t);
}

/* ---- connections come and go ---- */

/* Ends a connection; why is what its target and its user are told. */
static void conn_end(struct conn *c, const struct err *why)
{
	struct mesh *m = c->mesh;
	bool was_up = c->state == CONN_UP;
	struct target *t = c->target;
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	c->target = NULL;
	if (t)
		t->conn = NULL;
	(void)sd_event_source_set_enabled(m->reap, SD_EVENT_ONESHOT);
	if (was_up) {
		note(m, LOG_INFO, "%s: link down: %s", tls_link(c->tls)->name, why->message);
		m->handler->link_down(tls_link(c->tls), why, m->user);
	}
	tls_free(c->tls);
	c->tls = NULL;
	c->timer = sd_event_source_disable_unref(c->timer);
	if (m->closing)
		return;
	if (was_up && !link_to(m, &c->peer, NULL))
		targets_wake(m, &c->peer);
	else if (t && !was_up && !(link_to(m, &t->device, NULL)))
		target_failed(t, why);
}

static void conn_up(struct conn *c)
{
	struct mesh *m = c->mesh;
	struct conn *old = conn_to(m, &c->peer, c);
	struct err why = { 0 };
	err_set(&why, -ECONNRESET, "replaced by a newer connection");
	c->state = CONN_UP;
	while (old) {
		conn_end(old, &why);
		old = conn_to(m, &c->peer, c);
	}
	if (c->state != CONN_UP) /* cut by link_down's callee */
		return;
	targets_rest(m, &c->peer);
	char text[ADDRESS_TEXT];
	note(m, LOG_INFO, "%s: link up, %s %s", tls_link(c->tls)->name,
	     c->dialled ? "dialled" : "from", address_text(&c->remote, text));
	m->handler->link_up(tls_link(c->tls), m->user);
}

static void on_greeting(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct conn *c = user;
	if (c->state != CONN_GREETING)
		return;
	if (data[0] != GREETING) {
		struct err why = { 0 };
		err_set(&why, -EPROTO, "the peer greets in a way that this version does not know");
		conn_end(c, &why);
		return;
	}
	c->timer = sd_event_source_disable_unref(c->timer);
	conn_up(c);
	/* What came in the same record is the link's user's already. */
	if (len > 1 && c->state == CONN_UP && l->handler)
		l->handler->received(l, data + 1, len - 1, l->user);
}

static const struct link_handler greeting_handler = { .received = on_greeting };

static int on_no_greeting(sd_event_source *s, uint64_t usec, void *user)
{
	struct err why = { 0 };
	(void)s, (void)usec;
	err_set(&why, -ETIMEDOUT, "the peer does not greet");
	conn_end(user, &why);
	return 0;
}

static int on_admit(struct tls *tls, const struct cert_info *peer, void *user, struct err *e)
{
	struct conn *c = user;
	struct mesh *m = c->mesh;
	(void)tls;
	if (id_equal(&peer->device, identity_device(m->identity)))
		return err_set(e, -ELOOP, "this is the device itself, or a copy of its keys");
	if (m->handler->admit && !m->handler->admit(&peer->device, m->user))
		return err_set(e, -EKEYREVOKED, "%s is revoked", peer->name);
	if (c->target && c->target->fixed)
		c->target->device = peer->device;
	if (c->dialled && link_to(m, &peer->device, c))
		return err_set(e, -EALREADY, "%s has a link already", peer->name);
	c->peer = peer->device;
	return 0;
}

static bool refuse_second(const struct conn *c)
{
	const struct mesh *m = c->mesh;
	const struct conn *old = conn_to(m, &c->peer, c);
	return old && old->dialled && id_cmp(identity_device(m->identity), &c->peer) < 0 &&
	       (old->state == CONN_GREETING || now_us(m) < old->done + SIMULTANEOUS);
}

static void on_up(struct tls *tls, void *user)
{
	struct conn *c = user;
	struct mesh *m = c->mesh;
	struct err why = { 0 };
	c->done = now_us(m);
	if (tls_kind(tls) == TLS_JOIN) {
		c->tls = NULL;
		joinserver_serve(m->joinserver, tls, &c->remote);
		err_set(&why, -ESHUTDOWN, "handed over");
		conn_end(c, &why);
	} else if (c->dialled) {
		c->state = CONN_GREETING;
		link_handle(tls_link(tls), &greeting_handler, c);
		if (sd_event_add_time_relative(m->event, &c->timer, CLOCK_BOOTTIME, GREETING_WITHIN,
					       100000, on_no_greeting, c) < 0) {
			err_set(&why, -ENOMEM, "out of memory");
			conn_end(c, &why);
		}
	} else if (refuse_second(c)) {
		err_set(&why, -EALREADY, "the other of two connections stays");
		conn_end(c, &why);
	} else {
		(void)link_write(tls_link(tls), &(uint8_t){ GREETING }, 1);
		conn_up(c);
	}
}

static void on_closed(struct tls *tls, const struct err *why, void *user)
{
	struct conn *c = user;
	struct mesh *m = c->mesh;
	struct err copy = *why; /* it is the session's, which goes */
	(void)tls;
	if (c->state == CONN_HANDSHAKE && copy.code != -EALREADY) {
		char text[ADDRESS_TEXT];
		/* Strangers knocking are no news; what a user set up is. */
		note(m, c->target && c->target->fixed ? LOG_NOTICE : LOG_DEBUG, "%s: %s",
		     address_text(&c->remote, text), copy.message);
	}
	conn_end(c, &copy);
}

static const struct tls_handler tls_handler = {
	.admit = on_admit,
	.up = on_up,
	.closed = on_closed,
};

/* ---- incoming ---- */

/* Makes room for one more half-open connection from remote. */
static void limit_half_open(struct mesh *m, const struct address *remote)
{
	unsigned all = 0, host = 0;
	struct conn *oldest = NULL, *oldest_host = NULL;
	struct err why = { 0 };
	for (struct conn *c = m->conns; c; c = c->next) { /* newest first */
		if (c->state != CONN_HANDSHAKE || c->dialled)
			continue;
		all++;
		oldest = c;
		if (address_same_host(&c->remote, remote)) {
			host++;
			oldest_host = c;
		}
	}
	err_set(&why, -EBUSY, "too many connections that do not finish the handshake");
	if (host >= HALF_OPEN_HOST)
		conn_end(oldest_host, &why);
	else if (all >= HALF_OPEN_MAX)
		conn_end(oldest, &why);
}

static void on_accept(struct wire *wire, const struct address *remote, void *user)
{
	struct mesh *m = user;
	struct tls_options o = { .server = true, .kinds = TLS_LINK };
	limit_half_open(m, remote);
	if (m->joinserver && joinserver_open(m->joinserver, remote))
		o.kinds |= TLS_JOIN;
	struct conn *c = conn_add(m);
	if (!c) {
		wire_free(wire);
		return;
	}
	c->remote = *remote;
	if (tls_new(m->context, m->event, wire, &o, &tls_handler, c, &c->tls, NULL) < 0)
		conn_free(c);
}

/* ---- outgoing ---- */

static void on_dialled(struct wire *wire, const struct address *remote, const struct err *why,
		       void *user)
{
	struct target *t = user;
	struct mesh *m = t->mesh;
	struct err e = { 0 };
	if (why)
		e = *why;
	tcp_dial_free(t->dial);
	t->dial = NULL;
	if (!wire) {
		target_failed(t, &e);
		return;
	}
	if (tried_elsewhere(t) || link_to(m, &t->device, NULL)) {
		wire_free(wire);
		target_plan(t, SPARE_PAUSE);
		return;
	}
	struct conn *c = conn_add(m);
	if (!c) {
		wire_free(wire);
		err_set(&e, -ENOMEM, "out of memory");
		target_failed(t, &e);
		return;
	}
	const struct tls_options o = { .kinds = TLS_LINK };
	c->dialled = true;
	c->remote = *remote;
	if (tls_new(m->context, m->event, wire, &o, &tls_handler, c, &c->tls, &e) < 0) {
		conn_free(c);
		target_failed(t, &e);
		return;
	}
	c->target = t;
	t->conn = c;
}

static int on_target(sd_event_source *s, uint64_t usec, void *user)
{
	struct target *t = user;
	struct mesh *m = t->mesh;
	struct err e = { 0 };
	(void)s, (void)usec;
	t->due = 0;
	if (t->dial || t->conn || link_to(m, &t->device, NULL))
		return 0;
	if (tried_elsewhere(t)) {
		target_plan(t, SPARE_PAUSE);
		return 0;
	}
	if (!t->fixed && now_us(m) > t->heard + FOUND_FORGET) {
		target_free(t);
		return 0;
	}
	int r = t->fixed ? tcp_dial_host(m->event, t->host.host, t->host.port, DIAL_TIMEOUT,
					 on_dialled, t, &t->dial, &e)
			 : tcp_dial_address(m->event, &t->address, DIAL_TIMEOUT, on_dialled, t,
					    &t->dial, &e);
	if (r < 0)
		target_failed(t, &e);
	return 0;
}

static struct target *target_new(struct mesh *m, bool fixed)
{
	struct target *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	if (sd_event_add_time(m->event, &t->timer, CLOCK_BOOTTIME, 0, 10000, on_target, t) < 0) {
		free(t);
		return NULL;
	}
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
	t->mesh = m;
	t->fixed = fixed;
	t->next = m->targets;
	if (m->targets)
		m->targets->prev = t;
	m->targets = t;
	m->found += !fixed;
	return t;
}

/* ---- what discovery says ---- */

static void on_found(const struct id *device, const struct address *a, void *user)
{
	struct mesh *m = user;
	struct target *oldest = NULL;
	unsigned n = 0;
	uint64_t now = now_us(m);
	if (m->handler->admit && !m->handler->admit(device, m->user))
		return;
	for (struct target *t = m->targets; t; t = t->next) {
		if (t->fixed || !id_equal(&t->device, device))
			continue;
		if (address_equal(&t->address, a)) {
			t->heard = now;
			if (!t->dial && !t->conn && !t->due && !link_to(m, device, NULL))
				target_plan(t, 0);
			return;
		}
		n++;
		if (!t->dial && !t->conn && (!oldest || t->heard < oldest->heard))
			oldest = t;
	}
	/* Replays from many addresses must not make many targets. */
	if (n >= FOUND_PER_DEVICE || m->found >= FOUND_MAX) {
		if (!oldest)
			return;
		target_free(oldest);
	}
	struct target *t = target_new(m, false);
	if (!t)
		return;
	t->device = *device;
	t->address = *a;
	t->heard = now;
	if (link_to(m, device, NULL))
		return;
	bool smaller = id_cmp(identity_device(m->identity), device) < 0;
	/* A second address of one device is a spare: one dial at a time is enough. */
	target_plan(t, (smaller ? 0 : YIELD) + n * (SECOND / 2));
}

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
		if (info.local[0] && !ifaces_has(m->ifaces, info.local))
			conn_end(c, &why);
	}
	for (struct target *t = m->targets; t; t = t->next)
		if (!t->dial && !t->conn && t->due) {
			t->backoff = 0;
			target_plan(t, SECOND / 20);
		}
}

static void on_joined(const struct id *device, const char *name, enum role role, void *user)
{
	struct mesh *m = user;
	note(m, LOG_NOTICE, "%s joined as %s", name, role_name(role));
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
	int r = tls_context_new(identity, &m->context, e);
	if (r == 0)
		r = ifaces_new(event, on_network, m, &m->ifaces, e);
	if (r == 0 && o->invites)
		r = joinserver_new(event, identity, o->invites, on_joined, m, &m->joinserver, e);
	if (r == 0)
		r = tcp_listen(event, o->listen, o->port, on_accept, m, &m->listener, e);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &m->reap, on_reap, m);
	if (r < 0)
		return err_errno(e, r, "cannot start");
	uint16_t port = tcp_listener_port(m->listener);
	struct err why = { 0 };
	/* Without discovery fixed addresses still work. */
	if (o->discover && !o->no_beacons &&
	    discovery_new(event, identity, m->ifaces, port, on_found, m, &m->discovery, &why) < 0)
		note(m, LOG_WARNING, "no discovery on the local network: %s", why.message);
	if (o->discover && !o->no_dnssd &&
	    avahi_new(event, identity, port, on_found, m, &m->avahi, &why) < 0)
		note(m, LOG_DEBUG, "no DNS-SD: %s", why.message);
	*ret = TAKE_PTR(m);
	return 0;
}

void mesh_free(struct mesh *m)
{
	struct err why = { 0 };
	if (!m)
		return;
	m->closing = true;
	err_set(&why, -ESHUTDOWN, "this device shuts down");
	for (struct conn *c = m->conns; c; c = c->next)
		conn_end(c, &why);
	while (m->targets)
		target_free(m->targets);
	while (m->conns)
		conn_free(m->conns);
	avahi_free(m->avahi);
	discovery_free(m->discovery);
	tcp_listener_free(m->listener);
	joinserver_free(m->joinserver);
	ifaces_free(m->ifaces);
	tls_context_unref(m->context);
	sd_event_source_disable_unref(m->reap);
	sd_event_unref(m->event);
	free(m);
}

uint16_t mesh_port(const struct mesh *m)
{
	return tcp_listener_port(m->listener);
}

static struct target *find_fixed(const struct mesh *m, const struct token_address *a)
{
	for (struct target *t = m->targets; t; t = t->next)
		if (t->fixed && t->host.port == a->port && strcmp(t->host.host, a->host) == 0)
			return t;
	return NULL;
}

int mesh_connect(struct mesh *m, const struct token_address *a, struct err *e)
{
	unsigned n = 0;
	if (find_fixed(m, a))
		return err_set(e, -EEXIST, "%s, port %u, is connected to already", a->host, a->port);
	for (struct target *t = m->targets; t; t = t->next)
		n += t->fixed;
	if (n >= MESH_FIXED_MAX)
		return err_set(e, -ENOSPC, "there are %d fixed addresses already", MESH_FIXED_MAX);
	struct target *t = target_new(m, true);
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->host = *a;
	target_plan(t, 0);
	return 0;
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
		.connected = !id_is_zero(&t->device) && link_to(m, &t->device, NULL),
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
	struct conn *c = link_to(m, device, NULL);
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
	unsigned n = 0;
	if (m->listen[0] && max > 0) {
		ret[0].port = mesh_port(m);
		snprintf(ret[0].host, sizeof(ret[0].host), "%s", m->listen);
		return 1;
	}
	add_addresses(m, false, false, ret, max, &n);
	add_addresses(m, false, true, ret, max, &n);
	add_addresses(m, true, true, ret, max, &n);
	add_addresses(m, true, false, ret, max, &n);
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
