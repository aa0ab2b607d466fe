/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/ifaces.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes come in swarms; one look after the swarm is enough. */
#define SETTLE_US ((uint64_t)30000)

struct ifaces {
	struct nl_sock *events;
	struct nl_sock *dumps;
	sd_event_source *source;
	sd_event_source *settle;
	ifaces_fn *fn;
	void *user;
	unsigned n;
	struct iface iface[IFACES_MAX];
};

static struct iface *by_index(struct iface *list, unsigned n, unsigned index)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].index == index)
			return &list[i];
	return NULL;
}

static void add_link(struct rtnl_link *link, struct iface *list, unsigned *n)
{
	unsigned flags = rtnl_link_get_flags(link);
	const char *name = rtnl_link_get_name(link);
	/* Lower-up is left out on purpose: some drivers never say it, and a beacon more on a
	 * cable that is not plugged in does no harm. */
	if (!(flags & IFF_UP) || !(flags & IFF_RUNNING) || *n == IFACES_MAX || !name)
		return;
	struct iface *i = &list[(*n)++];
	*i = (struct iface){
		.index = (unsigned)rtnl_link_get_ifindex(link),
		.loopback = flags & IFF_LOOPBACK,
		.multicast = flags & IFF_MULTICAST,
	};
	snprintf(i->name, sizeof(i->name), "%s", name);
}

static void add_address(struct rtnl_addr *addr, struct iface *list, unsigned n)
{
	struct iface *i = by_index(list, n, (unsigned)rtnl_addr_get_ifindex(addr));
	struct nl_addr *local = rtnl_addr_get_local(addr);
	unsigned flags = rtnl_addr_get_flags(addr);
	if (!i || !local || i->n == IFACE_ADDRESSES ||
	    (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
		return;
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct address a;
	if (nl_addr_fill_sockaddr(local, (struct sockaddr *)&ss, &len) < 0 ||
	    address_from((struct sockaddr *)&ss, len, &a) < 0)
		return;
	if (a.sa.sa_family == AF_INET6)
		a.in6.sin6_scope_id = address_is_link_local(&a) ? i->index : 0;
	i->address[i->n++] = a;
}

static int look(struct nl_sock *sock, struct iface *list, unsigned *ret_n)
{
	struct nl_cache *links = NULL, *addresses = NULL;
	int rc = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);
	if (rc == 0)
		rc = rtnl_addr_alloc_cache(sock, &addresses);
	if (rc == 0) {
		unsigned n = 0;
		for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o))
			add_link((struct rtnl_link *)o, list, &n);
		for (struct nl_object *o = nl_cache_get_first(addresses); o;
		     o = nl_cache_get_next(o))
			add_address((struct rtnl_addr *)o, list, n);
		*ret_n = n;
	}
	nl_cache_free(addresses);
	nl_cache_free(links);
	return rc < 0 ? -EIO : 0;
}

static int on_settled(sd_event_source *s, uint64_t usec, void *user)
{
	struct ifaces *f = user;
	(void)s, (void)usec;
	/* Cleared: lists are compared byte by byte. */
	struct iface *list = calloc(IFACES_MAX, sizeof(*list));
	unsigned n = 0;
	if (!list || look(f->dumps, list, &n) < 0) {
		free(list);
		return 0;
	}
	bool same = n == f->n && memcmp(list, f->iface, n * sizeof(*list)) == 0;
	memcpy(f->iface, list, IFACES_MAX * sizeof(*list));
	f->n = n;
	free(list);
	if (!same)
		f->fn(f->user);
	return 0;
}

static int on_event(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct ifaces *f = user;
	(void)s, (void)fd, (void)events;
	/* What the messages say does not matter, nor that some may be lost: all is read anew. */
	(void)nl_recvmsgs_default(f->events);
	(void)sd_event_source_set_time_relative(f->settle, SETTLE_US);
	(void)sd_event_source_set_enabled(f->settle, SD_EVENT_ONESHOT);
	return 0;
}

static int ignore(struct nl_msg *msg, void *arg)
{
	(void)msg, (void)arg;
	return NL_OK;
}

static int open_sockets(struct ifaces *f)
{
	f->events = nl_socket_alloc();
	f->dumps = nl_socket_alloc();
	if (!f->events || !f->dumps)
		return -ENOMEM;
	nl_socket_disable_seq_check(f->events);
	nl_socket_modify_cb(f->events, NL_CB_VALID, NL_CB_CUSTOM, ignore, NULL);
	if (nl_connect(f->events, NETLINK_ROUTE) < 0 || nl_connect(f->dumps, NETLINK_ROUTE) < 0 ||
	    nl_socket_set_nonblocking(f->events) < 0 ||
	    nl_socket_add_memberships(f->events, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
				      RTNLGRP_IPV6_IFADDR, 0) < 0)
		return -EIO;
	return 0;
}

int ifaces_new(sd_event *event, ifaces_fn *fn, void *user, struct ifaces **ret, struct err *e)
{
	_cleanup_(ifaces_freep) struct ifaces *f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->fn = fn;
	f->user = user;
	int r = open_sockets(f);
	if (r == 0)
		r = look(f->dumps, f->iface, &f->n);
	if (r == 0)
		r = sd_event_add_io(event, &f->source, nl_socket_get_fd(f->events), EPOLLIN,
				    on_event, f);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &f->settle, CLOCK_BOOTTIME, SETTLE_US, 1000,
					       on_settled, f);
	if (r < 0)
		return err_errno(e, r, "cannot follow the network interfaces");
	*ret = TAKE_PTR(f);
	return 0;
}

void ifaces_free(struct ifaces *f)
{
	if (!f)
		return;
	sd_event_source_disable_unref(f->source);
	sd_event_source_disable_unref(f->settle);
	nl_socket_free(f->events);
	nl_socket_free(f->dumps);
	free(f);
}

const struct iface *ifaces_list(const struct ifaces *f, unsigned *ret_n)
{
	*ret_n = f->n;
	return f->iface;
}

unsigned ifaces_index(const struct ifaces *f, const char *host)
{
	char text[ADDRESS_TEXT];
	for (unsigned i = 0; i < f->n; i++)
		for (unsigned k = 0; k < f->iface[i].n; k++)
			if (strcmp(address_host(&f->iface[i].address[k], text), host) == 0)
				return f->iface[i].index;
	return 0;
}

bool ifaces_has(const struct ifaces *f, const char *host)
{
	return ifaces_index(f, host) > 0;
}
