/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/ends.h"

#include <time.h>

#include "tests/tap.h"

sd_event *event;

static int admit(struct tls *t, const struct cert_info *peer, void *user, struct err *e)
{
	struct end *x = user;
	(void)t, (void)peer;
	return x->refuse ? err_set(e, x->refuse, "not this one") : 0;
}

static void send_more(struct end *x)
{
	while (x->sent < x->to_send) {
		if (x->held_at == x->held_len) {
			size_t n = 1 + (size_t)prng_below(&x->out, sizeof(x->held));
			n = n < x->to_send - x->sent ? n : x->to_send - x->sent;
			for (size_t i = 0; i < n; i++)
				x->held[i] = (uint8_t)(x->sent + i) ^ (uint8_t)((x->sent + i) >> 8);
			x->held_at = 0;
			x->held_len = n;
		}
		ssize_t n = link_write(tls_link(x->tls), x->held + x->held_at,
				       x->held_len - x->held_at);
		if (n <= 0)
			return;
		x->held_at += (size_t)n;
		x->sent += (size_t)n;
	}
}

static int on_resume(sd_event_source *s, uint64_t usec, void *user)
{
	struct end *x = user;
	(void)s, (void)usec;
	if (x->tls && !x->closed)
		link_read(tls_link(x->tls), true);
	return 0;
}

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct end *x = user;
	for (size_t i = 0; i < len; i++)
		if (data[i] != ((uint8_t)(x->got + i) ^ (uint8_t)((x->got + i) >> 8)))
			x->wrong = true;
	x->got += len;
	if (prng_chance(&x->in, 2)) { /* backpressure */
		x->pauses++;
		link_read(l, false);
		sd_event_source_disable_unref(x->resume);
		x->resume = NULL;
		sd_event_add_time_relative(event, &x->resume, CLOCK_MONOTONIC, 500, 1, on_resume, x);
	}
}

static void writable(struct link *l, void *user)
{
	(void)l;
	send_more(user);
}

static const struct link_handler link_handler = { received, writable };

static void up(struct tls *t, void *user)
{
	struct end *x = user;
	x->up = true;
	link_handle(tls_link(t), &link_handler, x);
	send_more(x);
}

static void closed(struct tls *t, const struct err *why, void *user)
{
	struct end *x = user;
	(void)t;
	x->closed = true;
	x->why = *why;
}

const struct tls_handler end_handler = { admit, up, closed, NULL };

void end_done(struct end *x)
{
	sd_event_source_disable_unref(x->resume);
	tls_free(x->tls);
	x->tls = NULL;
	x->resume = NULL;
}

uint64_t clock_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void connect_ends(struct tls_context *server, struct tls_context *client, struct wire *w[2],
			 unsigned offered, unsigned wanted, struct end *s, struct end *c)
{
	struct err e = { 0 };
	struct tls_options so = { .server = true, .kinds = offered },
			   co = { .kinds = wanted };
	if (tls_new(server, event, w[0], &so, &end_handler, s, &s->tls, &e) < 0 ||
	    tls_new(client, event, w[1], &co, &end_handler, c, &c->tls, &e) < 0)
		tap_bail("%s", e.message);
}
