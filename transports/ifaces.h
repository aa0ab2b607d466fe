/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The network interfaces of this host, followed through rtnetlink. Of the sd-event thread;
 * the kernel answers a dump at once, so nothing waits for a network. */

#include <net/if.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "transports/address.h"

#define IFACES_MAX 64
#define IFACE_ADDRESSES 8

struct iface {
	unsigned index;
	char name[IFNAMSIZ];
	bool loopback;
	bool multicast;
	unsigned n;
	struct address address[IFACE_ADDRESSES]; /* usable ones, port 0; link-local with scope */
};

struct ifaces;

/* Something that matters changed: an interface, an address. From the loop. */
typedef void ifaces_fn(void *user);

int ifaces_new(sd_event *event, ifaces_fn *fn, void *user, struct ifaces **ret, struct err *e);
void ifaces_free(struct ifaces *f);
DEFINE_CLEANUP(struct ifaces *, ifaces_free)

/* The interfaces that are up and running; borrowed until the loop runs again. */
const struct iface *ifaces_list(const struct ifaces *f, unsigned *ret_n);

/* True when the address (without port) belongs to this host now. */
bool ifaces_has(const struct ifaces *f, const char *host);
/* The index of the interface that has it; 0: none has. */
unsigned ifaces_index(const struct ifaces *f, const char *host);
