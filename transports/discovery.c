/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timing: on start and on every change of the network three beacons with the hello flag (at
 * once, after 0.3 s and after 1 s, for packets get lost while a link comes up); then one
 * without it every 10 s, give or take 2. A hello, or the first beacon heard from a device in a
 * minute, is answered by a beacon on the same interface within 0.2 s, but at most every
 * 0.3 s; answers are multicast, since a unicast would reach only one of several
 * daemons that share the port.
 */
#include "transports/discovery.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/beacon.h"
#include "transports/tcp.h"

#define SECOND ((uint64_t)1000000)
#define PERIOD (10 * SECOND)
#define JITTER (4 * SECOND)
#define ANSWER_WITHIN (SECOND / 5)
#define ANSWER_GAP (SECOND * 3 / 10)
#define FORGET (60 * SECOND)
#define HEARD_MAX 8192      /* beacons of devices that are remembered; beyond, all look new and are answered */
#define RECEIVE_A_TURN 64

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

struct port { /* an interface as seen from here */
	unsigned index;
	bool v4, v6;     /* has addresses to send from */
	bool answer;     /* owes one */
	uint64_t last;   /* when it last got a beacon from us */
};

struct heard {
	struct id device;
	unsigned index;
	uint64_t at;
};

struct discovery {
	sd_event *event;
	const struct identity *identity;
	const struct ifaces *ifaces;
	struct beacon_key *key;
	uint16_t tcp_port;
	discovery_fn *fn;
	void *user;
	int fd4, fd6; /* -1: that family is not there */
	sd_event_source *source4, *source6;
	sd_event_source *timer;  /* hello burst, then the period */
	sd_event_source *answer;
	unsigned burst; /* hellos still to send */
	unsigned n;
	struct port port[IFACES_MAX];
	struct heard heard[HEARD_MAX];
	unsigned next_heard;
};

static uint64_t now_us(const struct discovery *d)
{
	uint64_t now = 0;
	(void)sd_event_now(d->event, CLOCK_BOOTTIME, &now);
	return now;
}

static uint64_t random_below(uint64_t n)
{
	uint64_t v = 0;
	(void)gnutls_rnd(GNUTLS_RND_NONCE, &v, sizeof(v));
	return v % n;
}

/* ---- sending ---- */

/* On one interface; errors mean that the network is not what it was: rtnetlink will say so. */
static void send4(struct discovery *d, unsigned index, const uint8_t *data)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(SHOAL_PORT) };
	struct ip_mreqn out = { .imr_ifindex = (int)index };
	inet_pton(AF_INET, DISCOVERY_GROUP4, &to.sin_addr);
	if (setsockopt(d->fd4, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof(out)) == 0)
		(void)sendto(d->fd4, data, BEACON_SIZE, MSG_NOSIGNAL, (struct sockaddr *)&to,
			     sizeof(to));
}

static void send6(struct discovery *d, unsigned index, const uint8_t *data)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6,
				   .sin6_port = htons(SHOAL_PORT),
				   .sin6_scope_id = index };
	inet_pton(AF_INET6, DISCOVERY_GROUP6, &to.sin6_addr);
	(void)sendto(d->fd6, data, BEACON_SIZE, MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof(to));
}

static void send_on(struct discovery *d, struct port *p, bool hello)
{
	const struct beacon b = {
		.device = *identity_device(d->identity),
		.port = d->tcp_port,
		.hello = hello,
	};
	uint8_t data[BEACON_SIZE];
	/* A beacon of its own for each datagram: equal bytes would tie two interfaces together. */
	if (p->v4 && d->fd4 >= 0 && beacon_seal(d->key, &b, data) == 0)
		send4(d, p->index, data);
	if (p->v6 && d->fd6 >= 0 && beacon_seal(d->key, &b, data) == 0)
		send6(d, p->index, data);
	p->last = now_us(d);
	p->answer = false;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user)
{
	struct discovery *d = user;
	(void)usec;
	bool hello = d->burst > 0;
	for (unsigned i = 0; i < d->n; i++)
		send_on(d, &d->port[i], hello);
	uint64_t next = PERIOD - JITTER / 2 + random_below(JITTER);
	if (hello) {
		d->burst--;
		if (d->burst > 0)
			next = d->burst == 2 ? SECOND * 3 / 10 : SECOND * 7 / 10;
	}
	(void)sd_event_source_set_time_relative(s, next);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static int on_answer(sd_event_source *s, uint64_t usec, void *user)
{
	struct discovery *d = user;
	uint64_t now = now_us(d), next = UINT64_MAX;
	(void)usec;
	for (unsigned i = 0; i < d->n; i++) {
		struct port *p = &d->port[i];
		if (!p->answer)
			continue;
		if (now >= p->last + ANSWER_GAP)
			send_on(d, p, false);
		else if (p->last + ANSWER_GAP < next)
			next = p->last + ANSWER_GAP;
	}
	if (next != UINT64_MAX) {
		(void)sd_event_source_set_time(s, next);
		(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	}
	return 0;
}

static void answer_soon(struct discovery *d, unsigned index)
{
	for (unsigned i = 0; i < d->n; i++) {
		struct port *p = &d->port[i];
		if (p->index != index || p->answer)
			continue;
		p->answer = true;
		int enabled = SD_EVENT_OFF;
		(void)sd_event_source_get_enabled(d->answer, &enabled);
		if (enabled == SD_EVENT_OFF) {
			(void)sd_event_source_set_time_relative(d->answer,
								random_below(ANSWER_WITHIN));
			(void)sd_event_source_set_enabled(d->answer, SD_EVENT_ONESHOT);
		}
	}
}

/* ---- receiving ---- */

/* True when the device was not heard on that interface for a minute. */
static bool note_heard(struct discovery *d, const struct id *device, unsigned index)
{
	uint64_t now = now_us(d);
	for (unsigned i = 0; i < d->next_heard && i < HEARD_MAX; i++) {
		struct heard *h = &d->heard[i];
		if (h->at && h->index == index && id_equal(&h->device, device)) {
			bool old = now > h->at + FORGET;
			h->at = now;
			return old;
		}
	}
	d->heard[d->next_heard++ % HEARD_MAX] =
		(struct heard){ .device = *device, .index = index, .at = now };
	return true;
}

static void got(struct discovery *d, const uint8_t *data, size_t len, const struct address *from,
		unsigned index)
{
	struct beacon b;
	if (beacon_open(d->key, data, len, &b) < 0 ||
	    id_equal(&b.device, identity_device(d->identity)))
		return;
	bool fresh = note_heard(d, &b.device, index);
	if (fresh || b.hello)
		answer_soon(d, index);
	struct address a = *from;
	address_set_port(&a, b.port);
	d->fn(&b.device, &a, d->user);
}

static unsigned arrived_on(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			return (unsigned)info.ipi_ifindex;
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			return info.ipi6_ifindex;
		}
	}
	return 0;
}

static int on_datagram(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct discovery *d = user;
	(void)s, (void)events;
	for (unsigned i = 0; i < RECEIVE_A_TURN; i++) {
		uint8_t data[BEACON_SIZE + 1]; /* one more shows what is too long */
		union {
			struct cmsghdr align;
			uint8_t space[256];
		} control;
		struct sockaddr_storage ss;
		struct iovec iov = { data, sizeof(data) };
		struct msghdr m = {
			.msg_name = &ss,
			.msg_namelen = sizeof(ss),
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.space,
			.msg_controllen = sizeof(control.space),
		};
		ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
		if (n < 0)
			return 0;
		struct address from;
		if (n == BEACON_SIZE &&
		    address_from((struct sockaddr *)&ss, m.msg_namelen, &from) == 0)
			got(d, data, (size_t)n, &from, arrived_on(&m));
	}
	return 0;
}

/* ---- sockets and groups ---- */

static int option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int open4(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(SHOAL_PORT) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    option(fd, IPPROTO_IP, IP_PKTINFO, 1) < 0 ||
	    option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) < 0 ||
	    option(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int open6(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(SHOAL_PORT) };
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) < 0 ||
	    option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	(void)option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
	return TAKE_FD(fd);
}

static void join_groups(struct discovery *d, const struct port *p)
{
	struct ip_mreqn m4 = { .imr_ifindex = (int)p->index };
	struct ipv6_mreq m6 = { .ipv6mr_interface = p->index };
	inet_pton(AF_INET, DISCOVERY_GROUP4, &m4.imr_multiaddr);
	inet_pton(AF_INET6, DISCOVERY_GROUP6, &m6.ipv6mr_multiaddr);
	/* The kernel forgets the group with an interface's last address, and the socket does not: only who
	 * leaves can join again. */
	if (p->v4 && d->fd4 >= 0)
		(void)setsockopt(d->fd4, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m4, sizeof(m4));
	/* EADDRINUSE: a member already. A vanished interface has left by itself. ENOBUFS beyond
	 * net.ipv4.igmp_max_memberships (20): IPv6, which has no such limit, still serves. */
	if (p->v4 && d->fd4 >= 0)
		(void)setsockopt(d->fd4, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m4, sizeof(m4));
	if (p->v6 && d->fd6 >= 0)
		(void)setsockopt(d->fd6, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m6, sizeof(m6));
}

void discovery_network_changed(struct discovery *d)
{
	unsigned n, count = 0;
	const struct iface *list = ifaces_list(d->ifaces, &n);
	for (unsigned i = 0; i < n; i++) {
		if (list[i].loopback || !list[i].multicast)
			continue;
		struct port p = { .index = list[i].index };
		for (unsigned k = 0; k < list[i].n; k++) {
			const struct address *a = &list[i].address[k];
			p.v4 |= a->sa.sa_family == AF_INET;
			p.v6 |= a->sa.sa_family == AF_INET6 && address_is_link_local(a);
		}
		if (!p.v4 && !p.v6)
			continue;
		join_groups(d, &p);
		d->port[count++] = p;
	}
	d->n = count;
	d->burst = 3;
	(void)sd_event_source_set_time_relative(d->timer, 0);
	(void)sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

int discovery_new(sd_event *event, const struct identity *identity, const struct ifaces *ifaces,
		  uint16_t port, discovery_fn *fn, void *user, struct discovery **ret,
		  struct err *e)
{
	_cleanup_(discovery_freep) struct discovery *d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	d->fd4 = d->fd6 = -1;
	d->event = sd_event_ref(event);
	d->identity = identity;
	d->ifaces = ifaces;
	d->tcp_port = port;
	d->fn = fn;
	d->user = user;
	int r = beacon_key_new(identity_secret(identity), &d->key);
	if (r < 0)
		return err_errno(e, r, "cannot derive the key of the beacons");
	d->fd4 = open4();
	d->fd6 = open6();
	if (d->fd4 < 0 && d->fd6 < 0)
		return err_errno(e, d->fd4, "cannot listen for beacons on UDP port %d", SHOAL_PORT);
	if (d->fd4 >= 0)
		r = sd_event_add_io(event, &d->source4, d->fd4, EPOLLIN, on_datagram, d);
	if (r >= 0 && d->fd6 >= 0)
		r = sd_event_add_io(event, &d->source6, d->fd6, EPOLLIN, on_datagram, d);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &d->timer, CLOCK_BOOTTIME, 0, 10000, on_timer,
					       d);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &d->answer, CLOCK_BOOTTIME, 0, 1000, on_answer,
					       d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->answer, SD_EVENT_OFF);
	if (r < 0)
		return err_errno(e, r, "cannot listen for beacons");
	discovery_network_changed(d);
	*ret = TAKE_PTR(d);
	return 0;
}

void discovery_free(struct discovery *d)
{
	if (!d)
		return;
	sd_event_source_disable_unref(d->source4);
	sd_event_source_disable_unref(d->source6);
	sd_event_source_disable_unref(d->timer);
	sd_event_source_disable_unref(d->answer);
	if (d->fd4 >= 0)
		close(d->fd4);
	if (d->fd6 >= 0)
		close(d->fd6);
	beacon_key_free(d->key);
	sd_event_unref(d->event);
	free(d);
}
