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

#include "transports/sock.h"

#define SECOND ((uint64_t)1000000)
#define PROBE_SECONDS 60
#define HASTE_US ((uint64_t)400000)

/* ---- wire ---- */

struct tcp_wire {
	struct sock sock;
	sd_event_source *watch; /* looks whether what was sent is acknowledged */
	bool watching;
	bool haste;             /* somebody wants to know early */
	int broken;             /* -ETIMEDOUT: it is not */
	uint64_t sent;          /* when the oldest of it may have been, at the earliest */
	uint64_t written, mark; /* bytes; so many of them at that time */
	uint64_t acked_before;  /* as the kernel counts it, when it began */
	struct address remote;
};

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
	(void)sock_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	(void)sock_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	(void)sock_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_SECONDS);
	(void)sock_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_SECONDS / 3);
	(void)sock_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	(void)sock_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 128 * 1024);
}

static bool look(const struct tcp_wire *t, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);
	*ret = (struct tcp_info){ 0 };
	return getsockopt(t->sock.fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
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
	if (t->broken && t->sock.wire.ready)
		t->sock.wire.ready(&t->sock.wire, t->sock.wire.user); /* t may be gone */
	else if (t->haste && info.tcpi_unacked && silent >= limit && t->sock.wire.stalled)
		t->sock.wire.stalled(&t->sock.wire, t->sock.wire.user); /* likewise */
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
	return t->broken ? t->broken : sock_recv(&t->sock, p, n, 0);
}

static ssize_t op_write(struct wire *w, const void *p, size_t n)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	ssize_t sent = t->broken ? t->broken : sock_send(&t->sock, p, n);
	if (sent > 0) {
		t->written += (uint64_t)sent;
		watch_begin(t);
	}
	return sent;
}

static void op_watch(struct wire *w, bool reading, bool writing)
{
	struct tcp_wire *t = (struct tcp_wire *)w;
	sock_watch(&t->sock, reading, writing);
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
	if (getsockname(t->sock.fd, (struct sockaddr *)&ss, &len) == 0 &&
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
	sd_event_source_disable_unref(t->watch);
	/* The kernel goes on with what is left, but not for a quarter of an hour. */
	if (t->sock.fd >= 0)
		(void)sock_option(t->sock.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_DEAD_SECONDS * 1000);
	sock_done(&t->sock);
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
	if (t->sock.wire.ready)
		t->sock.wire.ready(&t->sock.wire, t->sock.wire.user);
	return 0;
}

int tcp_wire_new(sd_event *event, int fd_take, const struct address *remote, struct wire **ret,
		 struct err *e)
{
	_cleanup_close_ int fd = fd_take;
	struct tcp_wire *t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->sock = (struct sock){ .wire.ops = &ops, .fd = -1 };
	t->remote = *remote;
	int r = sock_init(&t->sock, event, fd, on_io);
	if (r >= 0)
		r = sd_event_add_time(event, &t->watch, CLOCK_BOOTTIME, 0, SECOND / 50, on_watch, t);
	if (r < 0) {
		op_free(&t->sock.wire);
		return err_errno(e, r, "cannot watch a socket");
	}
	(void)sd_event_source_set_enabled(t->watch, SD_EVENT_OFF);
	tune(fd);
	t->sock.fd = TAKE_FD(fd);
	struct tcp_info info;
	if (look(t, &info))
		t->acked_before = info.tcpi_bytes_acked;
	*ret = &t->sock.wire;
	return 0;
}

/* ---- listening ---- */

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
		(void)sock_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (fd < 0 && errno == EAFNOSUPPORT && !(host && *host)) {
		any = (struct address){ .in = { .sin_family = AF_INET, .sin_port = htons(port) } };
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	}
	if (fd < 0)
		return -errno;
	(void)sock_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, &any.sa, address_len(&any)) < 0 || listen(fd, 128) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int tcp_listen(sd_event *event, const char *host, uint16_t port, listener_accept_fn *fn, void *user,
	       struct listener **ret, struct err *e)
{
	int fd = bind_port(host, port ? port : SHOAL_PORT);
	if (fd == -EADDRINUSE && port == 0)
		fd = bind_port(host, 0);
	if (fd < 0)
		return err_errno(e, fd, "cannot listen on TCP port %u%s%s", port ? port : SHOAL_PORT,
				 host && *host ? " of " : "", host ? host : "");
	return listener_new(event, fd, tcp_wire_new, fn, user, ret, e);
}
