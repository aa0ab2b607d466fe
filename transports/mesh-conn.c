/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One link to each device
 * =======================
 *
 * After the TLS handshake the dialler sends one byte: 2, it has a link to the peer, and this connection is
 * to rest (mesh-standby.c), or else it has none: 1, the peer's address was given to it, or it is a hub; 3, the peer is
 * nearby; 4, the same, and nobody else will do; 5, the peer once was at that address; 6, this device has no link at all
 * (mesh-neighbours.c). Whoever accepts decides about it, alone: it either closes, by an alert if it has enough
 * neighbours, or answers with the greeting, one byte likewise. 1: the link is up; at the dialler it is
 * when the greeting comes, and replaces what there was. 7: the same, by a hub. 2, only where that was asked for: it rests.
 * The greeting also tells the dialler that its certificate was accepted: in TLS 1.3 a client's
 * handshake ends before the server has seen the client's certificate.
 *
 * Asked for a link, the accepting device A, with an earlier connection to the dialling device B:
 *
 *   - refuses when A dialled the earlier one, its handshake ended less than 10 s ago (or it still
 *     waits for the greeting), and A's id is the smaller: of two that dial each other at once
 *     the smaller's connection stays, and both sides come to the same conclusion. When A has its
 *     greeting already B closes the new one by itself, if it was that; if it has not half a second
 *     later, it is without the earlier one;
 *   - else takes the new one and drops the earlier: B would not dial if its end of that
 *     one were alive.
 *
 * Of the addresses that are known for one device, one at a time gets as far as the handshake:
 * B would take the second for the successor of the first.
 *
 * A device that has a link to B dials B for a standby only, and breaks off within the handshake (before
 * the server can take it for complete) when an address turns out to be B's and is no other way.
 * Asked for a standby, A that has no link to B any more makes it one.
 *
 * Limits: 64 incoming connections whose handshake is not over, 8 of one host (one IPv6 /64);
 * over either the oldest of them is dropped, so that connections which do nothing cannot keep
 * out one that does its handshake in the time of a few round trips.
 */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "transports/joinserver.h"

#define GREETING_WITHIN (10 * SECOND)
#define DOUBT (SECOND / 2)
#define SIMULTANEOUS (10 * SECOND)
#define HALF_OPEN_MAX 64
#define HALF_OPEN_HOST 8

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

void conn_free(struct conn *c)
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

int mesh_reap(sd_event_source *s, void *user)
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

struct conn *conn_link_to(const struct mesh *m, const struct id *device, const struct conn *not)
{
	for (struct conn *c = m->conns; c; c = c->next)
		if (c != not && c->state == CONN_UP && id_equal(&c->peer, device))
			return c;
	return NULL;
}

/* ---- connections come and go ---- */

/* Another connection takes over from the link that ends, or is called to. */
static bool successor(const struct conn *c, const struct err *why)
{
	const struct mesh *m = c->mesh;
	return !m->closing && !m->resting && why->code != -EUSERS &&
	       (conn_link_to(m, &c->peer, c) || standby_of(m, &c->peer));
}

/* Ends a connection; why is what its target and its user are told. */
void conn_end(struct conn *c, const struct err *why)
{
	struct mesh *m = c->mesh;
	bool was_up = c->state == CONN_UP, was_rest = c->state == CONN_REST;
	struct target *t = c->target;
	if (c->state == CONN_DEAD)
		return;
	if (was_up)
		direct_link_ends(c);
	c->state = CONN_DEAD;
	c->target = NULL;
	if (t)
		t->conn = NULL;
	(void)sd_event_source_set_enabled(m->reap, SD_EVENT_ONESHOT);
	if (c->let_go && c->tls)
		tls_dismiss(c->tls);
	if (was_up) {
		mesh_note(m, LOG_INFO, "%s: link down: %s", tls_link(c->tls)->name, why->message);
		m->handler->link_down(tls_link(c->tls), why, successor(c, why), m->user);
	} else if (was_rest) {
		mesh_note(m, LOG_INFO, "%s: standby down: %s", tls_link(c->tls)->name, why->message);
	}
	tls_free(c->tls);
	c->tls = NULL;
	c->timer = sd_event_source_disable_unref(c->timer);
	if (m->closing)
		return;
	if (was_up || was_rest)
		radio_link_ended(m);
	struct conn *link = conn_link_to(m, &c->peer, NULL), *rest = standby_of(m, &c->peer);
	if (rest && !link && why->code == -EUSERS) {
		rest->let_go = c->let_go;
		conn_end(rest, why); /* the device, not the connection, is let go */
	} else if (rest && !link && (was_up || was_rest)) {
		standby_call(rest, was_up ? c : NULL, CHOSEN_ENDED);
	} else if ((was_up || was_rest) && !link) {
		if (was_rest && m->handler->no_successor)
			m->handler->no_successor(&c->peer, m->user);
		choice_ended(c, why);
		targets_wake(m, &c->peer);
	} else if (was_rest && !rest) {
		targets_spare(m, &c->peer);
	} else if (t && !was_up && !conn_link_to(m, &t->device, NULL)) {
		target_failed(t, why);
	} else if (t && !was_up) {
		t->useless = true;
	}
}

void conn_dismiss(struct conn *c)
{
	struct err why = { 0 };
	err_set(&why, -EUSERS, "this device has enough neighbours");
	c->let_go = true;
	conn_end(c, &why);
}

/* Another one that is to end when c is up. */
static struct conn *rival(const struct conn *c)
{
	struct conn *old = conn_to(c->mesh, &c->peer, c);
	return old ? old : standby_of(c->mesh, &c->peer);
}

void conn_up(struct conn *c)
{
	struct mesh *m = c->mesh;
	struct err why = { 0 };
	err_set(&why, -ECONNRESET, "replaced by %s connection",
		c->state == CONN_REST ? "the second" : "a newer");
	c->state = CONN_UP;
	c->up = mesh_now(m);
	c->timer = sd_event_source_disable_unref(c->timer);
	for (struct conn *old; (old = rival(c)) && c->state == CONN_UP;)
		conn_end(old, &why);
	if (c->state != CONN_UP) /* cut by link_down's callee */
		return;
	choice_linked(c);
	targets_rest(m, &c->peer);
	char text[ADDRESS_TEXT];
	mesh_note(m, LOG_INFO, "%s: link up, %s %s", tls_link(c->tls)->name,
	     c->dialled ? "dialled" : "from", address_text(&c->remote, text));
	m->handler->link_up(tls_link(c->tls), m->user);
}

static void on_greeting(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct conn *c = user;
	if (c->state != CONN_GREETING)
		return;
	if (data[0] == CONN_STANDBY && c->asks_rest) {
		standby_begin(c, data + 1, len - 1);
		return;
	}
	c->hub = data[0] == CONN_HUB;
	if (data[0] != CONN_CARRY && !c->hub) {
		struct err why = { 0 };
		err_set(&why, -EPROTO, "the peer greets in a way that this version does not know");
		conn_end(c, &why);
		return;
	}
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

/* After the handshake either side waits for a byte of the other. */
static void await(struct conn *c, enum conn_state state, const struct link_handler *handler)
{
	struct err why = { 0 };
	c->state = state;
	link_handle(tls_link(c->tls), handler, c);
	if (sd_event_add_time_relative(c->mesh->event, &c->timer, CLOCK_BOOTTIME, GREETING_WITHIN,
				       100000, on_no_greeting, c) < 0) {
		err_set(&why, -ENOMEM, "out of memory");
		conn_end(c, &why);
	}
}

static int on_admit(struct tls *tls, const struct cert_info *peer, void *user, struct err *e)
{
	struct conn *c = user;
	struct mesh *m = c->mesh;
	if (id_equal(&peer->device, identity_device(m->identity)))
		return err_set(e, -ELOOP, "this is the device itself, or a copy of its keys");
	if (m->handler->admit && !m->handler->admit(&peer->device, m->user))
		return err_set(e, -EKEYREVOKED, "%s is revoked", peer->name);
	if (c->target && (c->target->fixed || c->target->radio))
		c->target->device = peer->device;
	if (address_is_bluetooth(&c->remote))
		choice_seen(m, &peer->device);
	struct link_info info;
	tls_info(tls, &info);
	if (c->dialled && conn_link_to(m, &peer->device, c) && !standby_fits(m, &peer->device, &info))
		return err_set(e, -EALREADY, "%s has a link already", peer->name);
	if (c->dialled && c->target && !conn_link_to(m, &peer->device, c) && !choice_wants(c->target))
		return err_set(e, -EALREADY, "%s is not needed as a neighbour", peer->name);
	c->peer = peer->device;
	return 0;
}

static bool refuse_second(const struct conn *c)
{
	const struct mesh *m = c->mesh;
	const struct conn *old = conn_to(m, &c->peer, c);
	return old && old->dialled && id_cmp(identity_device(m->identity), &c->peer) < 0 &&
	       (old->state == CONN_GREETING || mesh_now(m) < old->done + SIMULTANEOUS);
}

/* The peer has not closed it: its end of the link that we have is gone. */
static int on_doubt(sd_event_source *s, uint64_t usec, void *user)
{
	struct conn *c = user;
	(void)s, (void)usec;
	if (c->state != CONN_ASKED)
		return 0;
	(void)link_write(tls_link(c->tls), &(uint8_t){ c->mesh->take_all ? CONN_HUB : CONN_CARRY }, 1);
	conn_up(c);
	return 0;
}

static void on_asked(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct conn *c = user;
	struct mesh *m = c->mesh;
	struct err why = { 0 };
	bool rest = data[0] == CONN_STANDBY;
	if (c->state != CONN_ASKED)
		return;
	c->ask = data[0];
	if (c->ask < CONN_CARRY || c->ask > CONN_ALONE)
		err_set(&why, -EPROTO, "the peer asks for something that this version does not know");
	/* Its end of the link that we have may not be up yet, but will be. */
	bool linked = rest && conn_to(m, &c->peer, c);
	if (!why.code && (linked && conn_link_to(m, &c->peer, c) ? standby_refused(c) : refuse_second(c)))
		err_set(&why, -EALREADY, "the other of two connections stays");
	if (why.code == -EALREADY && !linked && conn_link_to(m, &c->peer, c)) {
		c->timer = sd_event_source_disable_unref(c->timer);
		if (sd_event_add_time_relative(m->event, &c->timer, CLOCK_BOOTTIME, DOUBT, 10000, on_doubt,
					       c) >= 0)
			return;
	}
	if (why.code) {
		conn_end(c, &why);
		return;
	}
	if (!linked && !choice_takes(c)) {
		conn_dismiss(c);
		return;
	}
	(void)link_write(l, &(uint8_t){ linked ? CONN_STANDBY : m->take_all ? CONN_HUB : CONN_CARRY }, 1);
	if (linked) {
		for (struct conn *o = m->conns; o; o = o->next)
			if (o->state == CONN_GREETING && o->asks_rest && id_equal(&o->peer, &c->peer))
				conn_end(o, &why);
		standby_begin(c, data + 1, len - 1);
		return;
	}
	conn_up(c);
	if (len > 1 && c->state == CONN_UP && l->handler)
		l->handler->received(l, data + 1, len - 1, l->user);
}

static const struct link_handler asked_handler = { .received = on_asked };

/* One that a device made and says nothing on keeps its next one from piling up. */
static void end_asked(struct mesh *m, const struct conn *by)
{
	struct err why = { 0 };
	err_set(&why, -ECONNRESET, "replaced by a newer connection");
	for (struct conn *c = m->conns; c; c = c->next)
		if (c != by && c->state == CONN_ASKED && id_equal(&c->peer, &by->peer))
			conn_end(c, &why);
}

static void on_up(struct tls *tls, void *user)
{
	struct conn *c = user;
	struct mesh *m = c->mesh;
	struct err why = { 0 };
	c->done = mesh_now(m);
	if (tls_kind(tls) == TLS_JOIN) {
		c->tls = NULL;
		joinserver_serve(m->joinserver, tls, &c->remote);
		err_set(&why, -ESHUTDOWN, "handed over");
		conn_end(c, &why);
	} else if (c->dialled) {
		struct link_info info;
		tls_info(tls, &info);
		c->asks_rest = conn_link_to(m, &c->peer, c);
		if (c->asks_rest && !standby_fits(m, &c->peer, &info)) {
			err_set(&why, -EALREADY, "%s has a link already", tls_link(tls)->name);
			conn_end(c, &why);
			return;
		}
		c->ask = c->asks_rest ? CONN_STANDBY : c->target ? choice_ask(c->target) : CONN_NEIGHBOUR;
		(void)link_write(tls_link(tls), &c->ask, 1);
		await(c, CONN_GREETING, &greeting_handler);
	} else {
		end_asked(m, c);
		await(c, CONN_ASKED, &asked_handler);
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
		mesh_note(m, c->target && c->target->fixed ? LOG_NOTICE : LOG_DEBUG, "%s: %s",
		     address_text(&c->remote, text), copy.message);
	}
	conn_end(c, &copy);
}

static void on_stalled(struct tls *tls, void *user)
{
	(void)tls;
	standby_stalled(user);
}

static const struct tls_handler tls_handler = {
	.admit = on_admit,
	.up = on_up,
	.closed = on_closed,
	.stalled = on_stalled,
};

/* The handshake's 2 kB may have to share the air. */
static uint64_t handshake_time(const struct address *remote)
{
	return address_is_bluetooth(remote) ? 3 * TLS_HANDSHAKE_SECONDS * SECOND : 0;
}

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

void mesh_accept(struct wire *wire, const struct address *remote, void *user)
{
	struct mesh *m = user;
	struct tls_options o = { .server = true, .kinds = TLS_LINK, .timeout_us = handshake_time(remote) };
	if (m->resting || (address_is_bluetooth(remote) && !radio_has_room(m, false))) {
		wire_free(wire);
		return;
	}
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

int conn_dialled(struct target *t, struct wire *wire_take, const struct address *remote,
		 struct err *e)
{
	struct mesh *m = t->mesh;
	const struct tls_options o = { .kinds = TLS_LINK, .timeout_us = handshake_time(remote) };
	struct conn *c = conn_add(m);
	if (!c) {
		wire_free(wire_take);
		return err_set(e, -ENOMEM, "out of memory");
	}
	c->dialled = true;
	c->remote = *remote;
	int r = tls_new(m->context, m->event, wire_take, &o, &tls_handler, c, &c->tls, e);
	if (r < 0) {
		conn_free(c);
		return r;
	}
	c->target = t;
	t->conn = c;
	return 0;
}
