/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Links: reliable streams that delay and fragment. A cut loses what is on its way, all of it or all
 * but a prefix, and each end notices when it does: an old session may outlive its successor's
 * birth. In some histories, which have randomness of their own for that, links are slow: sessions find out,
 * or know it from before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frame.h"
#include "tests/sim/world.h"

#define SLOW_QUEUE_US 200000 /* of sending that buffers take before they are full */

static void net_edge(struct world *w, unsigned a, unsigned b)
{
	struct edge_of_net *edge = &w->net[w->n_net++];
	*edge = (struct edge_of_net){ .a = a, .b = b };
	if (w->slow && prng_chance(&w->links, 80))
		edge->rate = (4000 + prng_below(&w->links, 21000)) / (w->meshed ? 10 : 1);
}

void net_topology(struct world *w)
{
	unsigned n = w->n_devices;
	w->slow = w->seed % 11 == 2 || w->seed % 11 == 6;
	w->links = (struct prng){ w->seed ^ UINT64_C(0x736c6f770a) };
	uint64_t shape = w->meshed ? 0 : prng_below(&w->r, 3);
	for (unsigned i = 1; i < n; i++) {
		if (shape == 0)
			for (unsigned k = 0; k < i; k++)
				net_edge(w, k, i);
		else
			net_edge(w, shape == 1 ? i - 1 : 0, i);
	}
	for (unsigned i = 0; i < w->n_net; i++)
		w->net[i].change_at = w->meshed ? 0 : prng_below(&w->r, 300000);
	TRACE(w, "%u devices, %s", n, shape == 0 ? "full mesh" : shape == 1 ? "chain" : "star");
}

static void segments_free(struct end *end)
{
	while (end->first) {
		struct segment *next = end->first->next;
		free(end->first->data);
		free(end->first);
		end->first = next;
	}
	end->last = NULL;
}

static void end_close(struct end *end)
{
	session_free(end->session);
	end->session = NULL;
	segments_free(end);
	buf_done(&end->parse);
}

/* The link is gone; what is on its way may still arrive in part. */
static void conn_cut(struct world *w, struct conn *c)
{
	if (c->cut)
		return;
	c->cut = true;
	for (int i = 0; i < 2; i++) {
		struct end *end = &c->end[i];
		end->dies = w->now + (prng_chance(&w->r, 50) ? 0 : w->pace * prng_below(&w->r, 400000));
		if (prng_chance(&w->r, 50))
			segments_free(end);
		/* The other half is never sent. */
		struct segment *s = end->first;
		while (s && !prng_chance(&w->r, 30))
			s = s->next;
		if (s) {
			while (s->next) {
				struct segment *next = s->next->next;
				free(s->next->data);
				free(s->next);
				s->next = next;
			}
			end->last = s;
		}
	}
}

static void conn_make(struct world *w, struct edge_of_net *edge)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c)
		world_fail(w, "out of memory");
	c->delay = prng_chance(&w->r, 30) ? w->pace * prng_below(&w->r, 80000) : prng_below(&w->r, 3000);
	c->end[0].device = &w->device[edge->a];
	c->end[1].device = &w->device[edge->b];
	c->next = w->conns;
	w->conns = c;
	edge->conn = c;
	for (int i = 0; i < 2; i++) {
		struct device *d = c->end[i].device;
		if ((!d->spread && spread_new(&d->spread) < 0) ||
		    session_new(d->replica, &c->end[!i].device->id, w->now, &c->end[i].session) < 0)
			world_fail(w, "no session");
		session_spread_for(c->end[i].session, d->spread);
		if (d->fetches)
			session_fetch_for(c->end[i].session, d->fetches);
		/* Faults strike single frames; the other histories are of both kinds. */
		if (w->fault || w->seed % 2 == 0)
			session_unpacked(c->end[i].session);
	}
	c->rate = edge->rate;
	if (c->rate && prng_chance(&w->links, 70))
		for (int i = 0; i < 2; i++)
			session_pace(c->end[i].session, c->rate * 8, true);
	w->sessions++;
	TRACE(w, "link %u-%u up", edge->a, edge->b);
}

static void edge_step(struct world *w, struct edge_of_net *edge)
{
	bool able = w->device[edge->a].replica && w->device[edge->b].replica;
	if (w->settling)
		edge->up = true;
	else if (w->now >= edge->change_at) {
		edge->up = !edge->up;
		edge->change_at = w->now + w->pace * prng_below(&w->r, edge->up ? 400000 : 200000);
	}
	if (edge->conn && edge->conn->cut)
		edge->conn = NULL;
	if (edge->conn && (!edge->up || prng_below(&w->r, w->settling ? 100000 : 400) == 0)) {
		if (!w->quiet) {
			TRACE(w, "link %u-%u cut", edge->a, edge->b);
			conn_cut(w, edge->conn);
			edge->conn = NULL;
		}
	}
	if (!edge->conn && edge->up && able)
		conn_make(w, edge);
}

static void conn_failed(struct world *w, struct conn *c, struct end *end, int r, const char *why)
{
	/* The store failed as it was told to; the link is closed and made anew. */
	bool injected = r == -EIO || r == -ENOSPC;
	/* A store that was brought back begins its sessions anew. */
	injected |= w->rolled == end->device && r == -ESTALE;
	/* So does one that keeps something else. */
	injected |= w->keeping && r == -ESTALE;
	/* And one whose peer asks for a record that has grown since. */
	w->stales += !injected && c->rate && r == -ESTALE;
	injected |= c->rate && r == -ESTALE;
	/* The oracles, not the protocol, are to notice a fault. */
	injected |= w->fault_done && r == -EPROTO;
	if (!injected && !(c->cut && r == -ETIMEDOUT))
		world_fail(w, "session of %u with %u: %s (%s)", end->device->no,
			   c->end[end == &c->end[0]].device->no, why, strerror(-r));
	TRACE(w, "session of %u fails: %s", end->device->no, why);
	store_fail(end->device->store, 0, 0);
	end_close(end);
	conn_cut(w, c);
}

/* ---- looking at frames ---- */

/* Where the fault strikes, counted from the first frame of its kind. */
static bool strike(struct world *w)
{
	if (w->fault_done || !prng_chance(&w->r, 20))
		return false;
	w->fault_done = true;
	return true;
}

/* Takes the whole frames from the front of what an end sent to `out`; spoils one if so told. */
static void frames_pass(struct world *w, struct end *from, struct buf *out)
{
	struct buf *p = &from->parse;
	size_t at = 0, head, len;
	enum frame_type t;
	while (frame_head(p->data + at, p->len - at, &t, &head, &len, NULL) == 1 &&
	       p->len - at >= head + len) {
		uint8_t *f = p->data + at;
		at += head + len;
		w->frames++;
		w->said += t != FRAME_PING && t != FRAME_PONG;
		w->raises += t == FRAME_RAISE;
		w->wishes += t == FRAME_EAGER;
		if (w->quiet && t != FRAME_PING && t != FRAME_PONG)
			world_fail(w, "device %u sends %s into a quiet mesh", from->device->no,
				   frame_name(t));
		if (w->trace && !w->quiet)
			world_trace(w, "  %u sends %s, %zu bytes", from->device->no, frame_name(t),
				    head + len);
		if (w->fault == FAULT_DROP_DELTA && t == FRAME_DELTA && strike(w)) {
			TRACE(w, "the simulator drops a delta");
			continue;
		}
		if (w->fault == FAULT_CLAIM_EARLY && t == FRAME_ROUND && f[head + len - 1] < 0x7f &&
		    strike(w)) {
			TRACE(w, "the simulator makes a round promise more");
			f[head + len - 1]++;
		}
		buf_put(out, f, head + len);
	}
	buf_consume(p, at);
}

static void end_send(struct world *w, struct conn *c, int i)
{
	struct end *end = &c->end[i], *to = &c->end[!i];
	struct err e = { 0 };
	struct buf out = { 0 };
	size_t max = prng_chance(&w->r, 70) ? 65536 : 1 + prng_below(&w->r, 3000);
	if (c->rate && end->free_at > w->now + SLOW_QUEUE_US)
		return;
	if (c->rate && max > c->rate / 4)
		max = c->rate / 4;
	int r = session_output(end->session, &end->parse, max, w->now, &e);
	if (r < 0) {
		conn_failed(w, c, end, r, e.message);
		return;
	}
	frames_pass(w, end, &out);
	if (out.len == 0 || !to->session || c->cut) {
		buf_done(&out);
		return;
	}
	struct segment *s = calloc(1, sizeof(*s));
	if (!s)
		world_fail(w, "out of memory");
	s->data = buf_take(&out, &s->len);
	s->due = w->now + c->delay;
	if (c->rate) {
		if (end->free_at < w->now)
			end->free_at = w->now;
		end->free_at += s->len * 1000000 / c->rate;
		s->due = end->free_at + c->delay;
	}
	if (to->last)
		to->last->next = s;
	else
		to->first = s;
	to->last = s;
}

static void end_receive(struct world *w, struct conn *c, int i)
{
	struct end *end = &c->end[i];
	struct err e = { 0 };
	while (end->session && end->first && end->first->due <= w->now) {
		struct segment *s = end->first;
		size_t left = s->len - s->at, n = left;
		if (prng_chance(&w->r, 20))
			n = 1 + prng_below(&w->r, left);
		int r = session_input(end->session, s->data + s->at, n, w->now, &e);
		if (r < 0) {
			conn_failed(w, c, end, r, e.message);
			return;
		}
		s->at += n;
		if (s->at < s->len)
			continue;
		end->first = s->next;
		if (!end->first)
			end->last = NULL;
		free(s->data);
		free(s);
	}
}

static void conn_step(struct world *w, struct conn *c)
{
	for (int i = 0; i < 2; i++) {
		struct end *end = &c->end[i];
		if (end->session && c->cut && w->now >= end->dies) {
			TRACE(w, "session of %u ends", end->device->no);
			end_close(end);
		}
		if (end->session && prng_chance(&w->r, 90))
			end_receive(w, c, i);
		if (end->session && prng_chance(&w->r, 90))
			end_send(w, c, i);
	}
}

void net_step(struct world *w)
{
	for (unsigned i = 0; i < w->n_net; i++)
		edge_step(w, &w->net[i]);
	for (struct conn *c = w->conns; c; c = c->next)
		conn_step(w, c);
	for (struct conn **p = &w->conns; *p;) {
		struct conn *c = *p;
		if (c->end[0].session || c->end[1].session) {
			p = &c->next;
			continue;
		}
		for (unsigned i = 0; i < w->n_net; i++)
			if (w->net[i].conn == c)
				w->net[i].conn = NULL;
		*p = c->next;
		end_close(&c->end[0]);
		end_close(&c->end[1]);
		free(c);
	}
}

void net_drop_device(struct world *w, struct device *d)
{
	for (struct conn *c = w->conns; c; c = c->next)
		for (int i = 0; i < 2; i++)
			if (c->end[i].device == d && c->end[i].session) {
				end_close(&c->end[i]);
				conn_cut(w, c);
			}
}

void net_forget_device(struct world *w, struct device *d)
{
	for (struct conn *c = w->conns; c; c = c->next)
		if (c->end[0].device == d || c->end[1].device == d) {
			end_close(&c->end[0]);
			end_close(&c->end[1]);
			c->cut = true;
		}
}

void net_like(struct world *w, const struct device *like, const struct device *d)
{
	for (unsigned i = 0, n = w->n_net; i < n; i++) {
		const struct edge_of_net *edge = &w->net[i];
		if (edge->a == like->no || edge->b == like->no) {
			net_edge(w, edge->a == like->no ? edge->b : edge->a, d->no);
			w->net[w->n_net - 1].change_at = w->now + prng_below(&w->fate, 300000);
		}
	}
}

void net_news(struct world *w, struct device *d)
{
	for (struct conn *c = w->conns; c; c = c->next)
		for (int i = 0; i < 2; i++)
			if (c->end[i].device == d && c->end[i].session)
				session_news(c->end[i].session);
}

bool net_whole(struct world *w)
{
	for (unsigned i = 0; i < w->n_net; i++) {
		const struct conn *c = w->net[i].conn;
		if (!c || c->cut || !c->end[0].session || !c->end[1].session || c->end[0].first || c->end[1].first)
			return false;
	}
	return true;
}

bool net_in_step(struct world *w)
{
	for (unsigned i = 0; i < w->n_net; i++) {
		const struct conn *c = w->net[i].conn;
		if (!c || c->cut)
			return false;
		for (int k = 0; k < 2; k++) {
			struct session_status st;
			if (!c->end[k].session || c->end[k].first ||
			    !session_in_step(c->end[k].session))
				return false;
			session_status(c->end[k].session, &st);
			if (st.phase != SESSION_LIVE || st.behind_here || st.behind_there)
				return false;
			/* A wish that is to be told. */
			if (session_deadline(c->end[k].session) == 0)
				return false;
		}
	}
	for (struct conn *c = w->conns; c; c = c->next)
		if (c->cut)
			return false;
	return true;
}

void net_quiet_begin(struct world *w)
{
	TRACE(w, "from here on only PING and PONG");
}

void net_free(struct world *w)
{
	while (w->conns) {
		struct conn *c = w->conns;
		w->conns = c->next;
		end_close(&c->end[0]);
		end_close(&c->end[1]);
		free(c);
	}
}
