/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/memwire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/buf.h"

struct packet {
	struct packet *next;
	uint64_t due; /* CLOCK_BOOTTIME, microseconds */
	size_t at, len;
	uint8_t data[];
};

struct pipe {
	unsigned refs;
	struct memwire_faults faults;
	uint64_t random;
	uint64_t written; /* both directions */
	bool cut;
	struct memwire *end[2]; /* NULL once freed */
};

struct memwire {
	struct wire wire;
	struct pipe *pipe;
	unsigned side;
	sd_event *event;
	sd_event_source *turn;  /* something may be ready */
	sd_event_source *timer; /* the first packet gets due */
	struct packet *head, *tail; /* to be read here */
	size_t queued;
	bool reading, writing, peer_gone;
};

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static size_t shorten(struct pipe *p, size_t n)
{
	if (p->faults.mtu || p->faults.chunk == 0)
		return n;
	/* xorshift64: any spread will do. */
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	size_t limit = 1 + (size_t)(p->random % p->faults.chunk);
	return n < limit ? n : limit;
}

static size_t capacity(const struct pipe *p)
{
	return p->faults.capacity ? p->faults.capacity : 65536;
}

static bool readable(const struct memwire *m)
{
	return m->pipe->cut || (m->head ? m->head->due <= now_us() : m->peer_gone);
}

static bool writable(const struct memwire *m)
{
	const struct memwire *peer = m->pipe->end[!m->side];
	return m->pipe->cut || !peer || peer->queued < capacity(m->pipe);
}

/* Arranges for ready to be called when it should. */
static void arm(struct memwire *m)
{
	if (!m)
		return;
	if ((m->reading && readable(m)) || (m->writing && writable(m))) {
		(void)sd_event_source_set_enabled(m->turn, SD_EVENT_ONESHOT);
	} else if (m->reading && m->head) {
		(void)sd_event_source_set_time(m->timer, m->head->due);
		(void)sd_event_source_set_enabled(m->timer, SD_EVENT_ONESHOT);
	}
}

static int on_turn(sd_event_source *s, void *user)
{
	struct memwire *m = user;
	(void)s;
	if ((m->reading && readable(m)) || (m->writing && writable(m))) {
		/* Level-triggered: again unless the user has taken or unwatched it. */
		(void)sd_event_source_set_enabled(m->turn, SD_EVENT_ONESHOT);
		m->wire.ready(&m->wire, m->wire.user);
	}
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user)
{
	(void)s, (void)usec;
	arm(user);
	return 0;
}

static ssize_t op_read(struct wire *w, void *p, size_t n)
{
	struct memwire *m = (struct memwire *)w;
	if (m->pipe->cut)
		return -ECONNRESET;
	if (!readable(m))
		return -EAGAIN;
	struct packet *k = m->head;
	if (!k)
		return 0;
	size_t len = k->len - k->at;
	len = shorten(m->pipe, len < n ? len : n);
	memcpy(p, k->data + k->at, len);
	k->at += len;
	m->queued -= len;
	/* A packet that is not read whole loses its rest, as on SOCK_SEQPACKET. */
	if (k->at == k->len || m->pipe->faults.mtu) {
		m->queued -= k->len - k->at;
		m->head = k->next;
		if (!m->head)
			m->tail = NULL;
		free(k);
	}
	arm(m->pipe->end[!m->side]);
	return (ssize_t)len;
}

static ssize_t op_write(struct wire *w, const void *p, size_t n)
{
	struct memwire *m = (struct memwire *)w;
	struct pipe *pipe = m->pipe;
	struct memwire *peer = pipe->end[!m->side];
	if (pipe->cut || !peer)
		return -EPIPE;
	if (!writable(m))
		return -EAGAIN;
	if (pipe->faults.mtu && n > pipe->faults.mtu)
		return -EMSGSIZE;
	n = shorten(pipe, n);
	if (!pipe->faults.mtu && n > capacity(pipe) - peer->queued)
		n = capacity(pipe) - peer->queued;
	struct packet *k = malloc(sizeof(*k) + n);
	if (!k)
		return -ENOMEM;
	*k = (struct packet){ .due = now_us() + pipe->faults.delay_us, .len = n };
	memcpy(k->data, p, n);
	if (peer->tail)
		peer->tail->next = k;
	else
		peer->head = k;
	peer->tail = k;
	peer->queued += n;
	pipe->written += n;
	if (pipe->faults.cut_at && pipe->written >= pipe->faults.cut_at)
		pipe->cut = true;
	arm(peer);
	if (pipe->cut)
		arm(m);
	return (ssize_t)n;
}

static void op_watch(struct wire *w, bool reading, bool writing)
{
	struct memwire *m = (struct memwire *)w;
	m->reading = reading;
	m->writing = writing;
	arm(m);
}

static void op_info(const struct wire *w, struct link_info *ret)
{
	const struct memwire *m = (const struct memwire *)w;
	ret->transport = "memory";
	snprintf(ret->remote, sizeof(ret->remote), "end %u", !m->side);
	ret->cost = LINK_LAN;
	ret->rtt_us = (uint32_t)(2 * m->pipe->faults.delay_us);
}

static void op_free(struct wire *w)
{
	struct memwire *m = (struct memwire *)w;
	struct pipe *pipe = m->pipe;
	struct memwire *peer = pipe->end[!m->side];
	pipe->end[m->side] = NULL;
	if (peer) {
		peer->peer_gone = true;
		arm(peer);
	}
	for (struct packet *k = m->head, *next; k; k = next) {
		next = k->next;
		free(k);
	}
	sd_event_source_disable_unref(m->turn);
	sd_event_source_disable_unref(m->timer);
	sd_event_unref(m->event);
	free(m);
	if (--pipe->refs == 0)
		free(pipe);
}

static const struct wire_ops ops = {
	.read = op_read,
	.write = op_write,
	.watch = op_watch,
	.info = op_info,
	.free = op_free,
};

static int end_new(sd_event *event, struct pipe *pipe, unsigned side, struct wire **ret)
{
	struct memwire *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->wire.ops = &ops;
	m->wire.mtu = pipe->faults.mtu;
	m->pipe = pipe;
	m->side = side;
	m->event = sd_event_ref(event);
	int r = sd_event_add_defer(event, &m->turn, on_turn, m);
	if (r >= 0)
		r = sd_event_add_time(event, &m->timer, CLOCK_BOOTTIME, 0, 1, on_timer, m);
	if (r < 0) {
		sd_event_source_disable_unref(m->turn);
		sd_event_unref(m->event);
		free(m);
		return r;
	}
	(void)sd_event_source_set_enabled(m->turn, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(m->timer, SD_EVENT_OFF);
	pipe->end[side] = m;
	pipe->refs++;
	*ret = &m->wire;
	return 0;
}

int memwire_pair(sd_event *event, const struct memwire_faults *faults, struct wire *ret[static 2])
{
	struct pipe *pipe = calloc(1, sizeof(*pipe));
	if (!pipe)
		return -ENOMEM;
	pipe->faults = *faults;
	pipe->random = faults->seed | 1;
	struct wire *a = NULL, *b = NULL;
	int r = end_new(event, pipe, 0, &a);
	if (r < 0) {
		free(pipe);
		return r;
	}
	r = end_new(event, pipe, 1, &b);
	if (r < 0) {
		wire_free(a);
		return r;
	}
	ret[0] = a;
	ret[1] = b;
	return 0;
}
