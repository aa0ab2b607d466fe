/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/tcp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/resolve.h"

#define SECOND ((uint64_t)1000000)
#define STAGGER_US ((uint64_t)250000)
#define ACCEPTS_A_TURN 32
#define PROBE_SECONDS 60
#define ACCEPT_PAUSE_US SECOND
#define HASTE_US ((uint64_t)400000)

/* ---- wire ---- */

struct tcp_wire {
	struct wire wire;
	int fd;
	sd_event_source *source;
	sd_event_source *watch; /* looks whether what was sent is acknowledged */
	bool watching;
	bool haste;             /* somebody wants to know early */
	int broken;             /* -ETIMEDOUT: it is not */
	uint64_t sent;          /* when the oldest of it may have been, at the earliest */
	uint64_t written, mark; /* bytes; so many of them at that time */
	uint64_t acked_before;  /* as the kernel counts it, when it began */
	struct address remote;
};

static int option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Whether the peer lives
 * ----------------------
 *
 * Nothing is asked of a quiet connection for a minute; then the kernel probes, and gives it up after
 * three probes without an answer. Sessions ask more often, so it does for the ones without.
 *
 * What was sent is watched until it is acknowledged, by a timer that runs only as long. When the peer
 * says nothing for TCP_DEAD_SECONDS and several packets remained unanswered, it is dead. The kernel
 * alone would try for a quarter of an hour; TCP_USER_TIMEOUT would have it give up a quiet
 * connection at its first lost probe. With haste (another connection could take over) the same is told
 * after HASTE_US, and nothing broken.
 *
 * The kernel says how long it has heard nothing, which is long on a quiet connection at any time, and
 * how many bytes were acknowledged: so the time counts from when the oldest byte on its way was
 * written, or from one look of the timer earlier. */
static void tune(int fd)
{
	(void)option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	(void)option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	(void)option(fd, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_SECONDS);
	(void)option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_SECONDS / 3);
	(void)option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	(void)option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 128 * 1024);
}

static bool look(const struct tcp_wire *t, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);
	*ret = (struct tcp_info){ 0 };
	return getsockopt(t->fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

static uint64_t now_of(sd_event_source *s)
{
	uint64_t now = 0;
	(void)sd_event_now(sd_event_source_get_event(s), CLOCK_BOOTTIME, &now);
	return now;
}

static void look_in(struct tcp_wire *t, uint64_t pause)
{
	t->watching = true;
	(void)sd_event_source_set_time_relative(t->watch, pause);
	(void)sd_event_source_set_enabled(t->watch, SD_EVENT_ONESHOT);
}

static void watch_begin(struct tcp_wire *t)
{
	if (t->watching)
		return;
	t->sent = now_of(t->watch);
	t->mark = t->written;
	look_in(t, t->haste ? HASTE_US / 2 : SECOND);
}

static int on_watch(sd_event_source *s, uint64_t usec, void *user)
{
	struct tcp_wire *t = user;
	struct tcp_info info;
	uint64_t now = now_of(s);
	(void)usec;
	t->watching = false;
	if (!look(t, &info) || (!info.tcpi_unacked && !info.tcpi_notsent_bytes && !info.tcpi_probes))
		return 0;
	if (info.tcpi_bytes_acked - t->acked_before >= t->mark) {
		t->sent = now;
		t->mark = t->written;
	}
	uint64_t silent = (uint64_t)info.tcpi_last_ack_recv * 1000;
	if (silent > now - t->sent)
		silent = now - t->sent;
	uint64_t limit = 2 * ((uint64_t)info.tcpi_rtt + 4 * (uint64_t)info.tcpi_rttvar);
	if (limit < HASTE_US)
		limit = HASTE_US;
	/* One probe of a closed window may be on its way after a long pause. */
	if (silent >= TCP_DEAD_SECONDS * SECOND &&
	    (info.tcpi_probes > 1 || info.tcpi_retransmits > 1))
		t->broken = -ETIMEDOUT;
	/* Whoever is told may hold it back while it does not read: say so again. */
	look_in(t, t->haste && !t->broken ? HASTE_US / 2 : SECOND);
	if (t->broken && t->wire.ready)
		t->wire.ready(&t->wire, t->wire.user); /* t may be gone */
	else if (t->haste && info.tcpi_unacked && silent >= limit && t->wire.stalled)
		t->wire.stalled(&t->wire, t->wire.user); /* likewise */
	return 0;
}

static void op_haste(struct wire *w, bool on)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	t->haste = on;
	/* Something may be on its way. */
	if (on && t->watching)
		look_in(t, HASTE_US / 2);
	else
		watch_begin(t);
}

static ssize_t op_read(struct wire *w, void *p, size_t n)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	ssize_t got;
	if (t->broken)
		return t->broken;
	do
		got = recv(t->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	return got < 0 ? (errno == EWOULDBLOCK ? -EAGAIN : -errno) : got;
}

static ssize_t op_write(struct wire *w, const void *p, size_t n)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	ssize_t sent;
	if (t->broken)
		return t->broken;
	do
		sent = send(t->fd, p, n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent > 0) {
		t->written += (uint64_t)sent;
		watch_begin(t);
	}
	return sent < 0 ? (errno == EWOULDBLOCK ? -EAGAIN : -errno) : sent;
}

static void op_watch(struct wire *w, bool reading, bool writing)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	/* Off altogether when nothing is wanted: epoll reports a hang-up in any case, and
	 * nobody would deal with it. */
	if (!reading && !writing) {
		(void)sd_event_source_set_enabled(t->source, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_io_events(t->source, (reading ? (uint32_t)EPOLLIN : 0u) |
							       (writing ? (uint32_t)EPOLLOUT : 0u));
	(void)sd_event_source_set_enabled(t->source, SD_EVENT_ON);
}

static void op_info(const struct wire *w, struct link_info *ret)
{
	const struct tcp_wire *t = (const struct tcp_wire *)w;
	char text[ADDRESS_TEXT];
	ret->transport = "tcp";
	snprintf(ret->remote, sizeof(ret->remote), "%s", address_text(&t->remote, text));
	ret->cost = address_is_near(&t->remote) ? LINK_LAN : LINK_WAN;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct address local;
	if (getsockname(t->fd, (struct sockaddr *)&ss, &len) == 0 &&
	    address_from((struct sockaddr *)&ss, len, &local) == 0)
		snprintf(ret->local, sizeof(ret->local), "%s", address_host(&local, text));
	struct tcp_info info;
	if (look(t, &info)) {
		ret->rtt_us = info.tcpi_rtt;
		ret->rtt_least_us = info.tcpi_min_rtt;
	}
}

static void op_free(struct wire *w)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	sd_event_source_disable_unref(t->source);
	sd_event_source_disable_unref(t->watch);
	if (t->fd >= 0) {
		/* The kernel goes on with what is left, but not for a quarter of an hour. */
		(void)option(t->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_DEAD_SECONDS * 1000);
		close(t->fd);
	}
	free(t);
}

static const struct wire_ops ops = {
	.read = op_read,
	.write = op_write,
	.watch = op_watch,
	.haste = op_haste,
	.info = op_info,
	.free = op_free,
};

static int on_io(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct tcp_wire *t = user;
	(void)s, (void)fd, (void)events;
	if (t->wire.ready)
		t->wire.ready(&t->wire, t->wire.user);
	return 0;
}

int tcp_wire_new(sd_event *event, int fd_take, const struct address *remote, struct wire **ret,
		 struct err *e)
{
	_cleanup_close_ int fd = fd_take;
	struct tcp_wire *t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->wire.ops = &ops;
	t->fd = -1;
	t->remote = *remote;
	int r = sd_event_add_io(event, &t->source, fd, 0, on_io, t);
	if (r >= 0)
		r = sd_event_add_time(event, &t->watch, CLOCK_BOOTTIME, 0, SECOND / 50, on_watch, t);
	if (r < 0) {
		op_free(&t->wire);
		return err_errno(e, r, "cannot watch a socket");
	}
	(void)sd_event_source_set_enabled(t->source, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(t->watch, SD_EVENT_OFF);
	tune(fd);
	t->fd = TAKE_FD(fd);
	struct tcp_info info;
	if (look(t, &info))
		t->acked_before = info.tcpi_bytes_acked;
	*ret = &t->wire;
	return 0;
}

/* ---- listening ---- */

struct tcp_listener {
	sd_event *event;
	int fd;
	sd_event_source *source;
	sd_event_source *pause;
	tcp_accept_fn *fn;
	void *user;
	uint16_t port;
};

void tcp_listener_free(struct tcp_listener *l)
{
	if (!l)
		return;
	sd_event_source_disable_unref(l->source);
	sd_event_source_disable_unref(l->pause);
	if (l->fd >= 0)
		close(l->fd);
	sd_event_unref(l->event);
	free(l);
}

uint16_t tcp_listener_port(const struct tcp_listener *l)
{
	return l->port;
}

static int on_pause_over(sd_event_source *s, uint64_t usec, void *user)
{
	struct tcp_listener *l = user;
	(void)s, (void)usec;
	(void)sd_event_source_set_enabled(l->source, SD_EVENT_ON);
	return 0;
}

static int on_accept(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct tcp_listener *l = user;
	(void)events;
	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int conn = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (conn < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				/* It would be reported again at once: wait for room. */
				(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
				(void)sd_event_source_set_time_relative(l->pause, ACCEPT_PAUSE_US);
				(void)sd_event_source_set_enabled(l->pause, SD_EVENT_ONESHOT);
			}
			return 0;
		}
		struct address remote;
		struct wire *wire = NULL;
		if (address_from((struct sockaddr *)&ss, len, &remote) < 0)
			close(conn);
		else if (tcp_wire_new(l->event, conn, &remote, &wire, NULL) == 0)
			l->fn(wire, &remote, l->user);
	}
	return 0;
}

/* Both families on one socket; IPv4 alone where the kernel has no IPv6, or when host says so. */
static int bind_port(const char *host, uint16_t port)
{
	struct address any = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) } };
	struct in_addr four;
	bool is_four = host && inet_pton(AF_INET, host, &four) == 1;
	if (host && *host && !is_four && inet_pton(AF_INET6, host, &any.in6.sin6_addr) != 1)
		return -EINVAL;
	int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && is_four)
		any = (struct address){ .in = { .sin_family = AF_INET, .sin_port = htons(port),
						.sin_addr = four } };
	else if (fd >= 0)
		(void)option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (fd < 0 && errno == EAFNOSUPPORT && !(host && *host)) {
		any = (struct address){ .in = { .sin_family = AF_INET, .sin_port = htons(port) } };
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	}
	if (fd < 0)
		return -errno;
	(void)option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, &any.sa, address_len(&any)) < 0 || listen(fd, 128) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int tcp_listen(sd_event *event, const char *host, uint16_t port, tcp_accept_fn *fn, void *user,
	       struct tcp_listener **ret, struct err *e)
{
	_cleanup_(tcp_listener_freep) struct tcp_listener *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->event = sd_event_ref(event);
	l->fn = fn;
	l->user = user;
	l->fd = bind_port(host, port ? port : SHOAL_PORT);
	if (l->fd == -EADDRINUSE && port == 0)
		l->fd = bind_port(host, 0);
	if (l->fd < 0)
		return err_errno(e, l->fd, "cannot listen on TCP port %u%s%s",
				 port ? port : SHOAL_PORT, host && *host ? " of " : "",
				 host ? host : "");
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct address own;
	if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
		return err_errno(e, -errno, "cannot examine the listening socket");
	int r = address_from((struct sockaddr *)&ss, len, &own);
	l->port = r == 0 ? address_port(&own) : 0;
	if (r == 0)
		r = sd_event_add_io(event, &l->source, l->fd, EPOLLIN, on_accept, l);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &l->pause, CLOCK_BOOTTIME, 0, 1000,
					       on_pause_over, l);
	if (r < 0)
		return err_errno(e, r, "cannot watch the listening socket");
	(void)sd_event_source_set_enabled(l->pause, SD_EVENT_OFF);
	*ret = TAKE_PTR(l);
	return 0;
}

/* ---- dialling ---- */

struct attempt {
	struct tcp_dial *dial;
	int fd;
	sd_event_source *source;
	struct address address;
};

struct tcp_dial {
	sd_event *event;
	struct resolve *resolve;
	sd_event_source *stagger;
	sd_event_source *deadline;
	tcp_dial_fn *fn;
	void *user;
	struct err why; /* of the last failure */
	unsigned n;     /* addresses */
	unsigned next;  /* to be tried */
	unsigned live;  /* attempts under way */
	bool done;
	struct address address[RESOLVE_MAX];
	struct attempt attempt[RESOLVE_MAX];
};

static void attempt_done(struct attempt *a)
{
	a->source = sd_event_source_disable_unref(a->source);
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

void tcp_dial_free(struct tcp_dial *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < RESOLVE_MAX; i++)
		attempt_done(&d->attempt[i]);
	resolve_free(d->resolve);
	sd_event_source_disable_unref(d->stagger);
	sd_event_source_disable_unref(d->deadline);
	sd_event_unref(d->event);
	free(d);
}

/* The one callback; d may be gone after it. */
static void conclude(struct tcp_dial *d, struct wire *wire, const struct address *remote)
{
	struct err why = d->why;
	if (d->done) {
		wire_free(wire);
		return;
	}
	d->done = true;
	for (unsigned i = 0; i < RESOLVE_MAX; i++)
		attempt_done(&d->attempt[i]);
	(void)sd_event_source_set_enabled(d->stagger, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(d->deadline, SD_EVENT_OFF);
	d->fn(wire, remote, wire ? NULL : &why, d->user);
}

static void attempt_failed(struct attempt *a, int code)
{
	char text[ADDRESS_TEXT];
	err_errno(&a->dial->why, code, "%s", address_text(&a->address, text));
	attempt_done(a);
	a->dial->live--;
}

/* Starts the next attempt, or the one after it when that fails at once. */
static void advance(struct tcp_dial *d);

static int on_connected(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct attempt *a = user;
	struct tcp_dial *d = a->dial;
	int code = 0;
	socklen_t len = sizeof(code);
	(void)s, (void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	struct wire *wire = NULL;
	if (code == 0) {
		struct address remote = a->address;
		a->source = sd_event_source_disable_unref(a->source);
		int r = tcp_wire_new(d->event, TAKE_FD(a->fd), &remote, &wire, &d->why);
		if (r == 0) {
			conclude(d, wire, &remote);
			return 0;
		}
		code = -r;
	}
	attempt_failed(a, -code);
	advance(d);
	return 0;
}

static int attempt_start(struct attempt *a)
{
	a->fd = socket(a->address.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return -errno;
	if (connect(a->fd, &a->address.sa, address_len(&a->address)) < 0 && errno != EINPROGRESS)
		return -errno;
	return sd_event_add_io(a->dial->event, &a->source, a->fd, EPOLLOUT, on_connected, a);
}

static void advance(struct tcp_dial *d)
{
	while (d->next < d->n) {
		struct attempt *a = &d->attempt[d->next];
		a->address = d->address[d->next++];
		d->live++;
		int r = attempt_start(a);
		if (r >= 0) {
			(void)sd_event_source_set_time_relative(d->stagger, STAGGER_US);
			(void)sd_event_source_set_enabled(d->stagger, SD_EVENT_ONESHOT);
			return;
		}
		attempt_failed(a, r);
	}
	if (d->live == 0)
		conclude(d, NULL, NULL);
}

static int on_stagger(sd_event_source *s, uint64_t usec, void *user)
{
	struct tcp_dial *d = user;
	(void)s, (void)usec;
	if (d->n > 0 && d->next < d->n)
		advance(d);
	else if (d->n > 0 && d->live == 0)
		conclude(d, NULL, NULL);
	return 0;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *user)
{
	struct tcp_dial *d = user;
	(void)s, (void)usec;
	char text[ADDRESS_TEXT];
	if (d->n > 0)
		err_set(&d->why, -ETIMEDOUT, "%s does not answer",
			address_text(&d->address[0], text));
	else
		err_set(&d->why, -ETIMEDOUT, "the name server does not answer");
	conclude(d, NULL, NULL);
	return 0;
}

static void on_resolved(const struct address *a, unsigned n, const struct err *why, void *user)
{
	struct tcp_dial *d = user;
	memcpy(d->address, a, n * sizeof(*a));
	d->n = n;
	if (n == 0) {
		d->why = *why;
		conclude(d, NULL, NULL);
		return;
	}
	advance(d);
}

static int dial_new(sd_event *event, uint64_t timeout_us, tcp_dial_fn *fn, void *user,
		    struct tcp_dial **ret, struct err *e)
{
	_cleanup_(tcp_dial_freep) struct tcp_dial *d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < RESOLVE_MAX; i++)
		d->attempt[i] = (struct attempt){ .dial = d, .fd = -1 };
	d->event = sd_event_ref(event);
	d->fn = fn;
	d->user = user;
	int r = sd_event_add_time_relative(event, &d->stagger, CLOCK_BOOTTIME, 0, 1000, on_stagger,
					   d);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &d->deadline, CLOCK_BOOTTIME, timeout_us,
					       100000, on_deadline, d);
	if (r < 0)
		return err_errno(e, r, "cannot dial");
	*ret = TAKE_PTR(d);
	return 0;
}

int tcp_dial_host(sd_event *event, const char *host, uint16_t port, uint64_t timeout_us,
		  tcp_dial_fn *fn, void *user, struct tcp_dial **ret, struct err *e)
{
	_cleanup_(tcp_dial_freep) struct tcp_dial *d = NULL;
	int r = dial_new(event, timeout_us, fn, user, &d, e);
	if (r == 0)
		r = resolve_new(event, host, port, on_resolved, d, &d->resolve, e);
	if (r < 0)
		return r;
	assert(d);
	(void)sd_event_source_set_enabled(d->stagger, SD_EVENT_OFF);
	*ret = TAKE_PTR(d);
	return 0;
}

int tcp_dial_address(sd_event *event, const struct address *a, uint64_t timeout_us, tcp_dial_fn *fn,
		     void *user, struct tcp_dial **ret, struct err *e)
{
	_cleanup_(tcp_dial_freep) struct tcp_dial *d = NULL;
	int r = dial_new(event, timeout_us, fn, user, &d, e);
	if (r < 0)
		return r;
	assert(d);
	/* The stagger timer is due at once: it starts the first attempt from the loop. */
	d->address[0] = *a;
	d->n = 1;
	*ret = TAKE_PTR(d);
	return 0;
}
