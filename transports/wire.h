/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A wire: bytes to and from somewhere, neither authenticated nor encrypted. TLS runs on top
 * and makes it a link; nothing else may use one. TCP sockets are wires (tcp.h), and so are
 * Bluetooth LE channels (l2cap.h); a pair in memory serves tests (memwire.h). Of the sd-event thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/cleanup.h"
#include "transports/link.h"

struct wire;

struct wire_ops {
	/* Up to n bytes; 0: the peer closed; -EAGAIN; other -errno: broken. On a packet wire
	 * n is at least mtu and one call gives one packet. */
	ssize_t (*read)(struct wire *w, void *p, size_t n);
	/* Up to n bytes, likewise; on a packet wire n is at most mtu and taken whole. */
	ssize_t (*write)(struct wire *w, const void *p, size_t n);
	/* Which readiness to report through w->ready. */
	void (*watch)(struct wire *w, bool reading, bool writing);
	/* On: w->stalled is called when what was sent is not acknowledged for about 0.4 s, or twice
	 * the longest round trip to be expected. NULL: the wire cannot tell. */
	void (*haste)(struct wire *w, bool on);
	/* Fills transport, remote, local, cost and round trips; leaves the rest. */
	void (*info)(const struct wire *w, struct link_info *ret);
	void (*free)(struct wire *w);
};

struct wire {
	const struct wire_ops *ops;
	size_t mtu; /* 0: a byte stream; else the largest packet, at most WIRE_MTU_MAX */
	void (*ready)(struct wire *w, void *user);
	void (*stalled)(struct wire *w, void *user);
	void *user;
};

#define WIRE_MTU_MAX 65535

static inline void wire_free(struct wire *w)
{
	if (w)
		w->ops->free(w);
}
DEFINE_CLEANUP(struct wire *, wire_free)
