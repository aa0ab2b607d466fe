/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A link: an authenticated, encrypted, ordered byte stream to one device.
 *
 * Everything here belongs to the one thread that runs the sd-event loop. Nothing blocks.
 * A link lives from the moment it is handed out (mesh_handler.link_up) until the callback
 * that says it is gone (link_down) returns; its owner is whoever handed it out.
 *
 *     static void received(struct link *l, const uint8_t *data, size_t len, void *user)
 *     {
 *             session_feed(user, data, len);
 *     }
 *     static void writable(struct link *l, void *user) { session_flush(user, l); }
 *     static const struct link_handler handler = { received, writable };
 *
 *     link_handle(l, &handler, session);
 *     ssize_t n = link_write(l, data, len);    // takes n <= len; the rest when writable is called
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/id.h"
#include "transports/name.h"

#define LINK_TEXT 128 /* bytes of a remote address as text */

/* What a link costs, cheapest first; a session may hold back bulk on the dearer ones. */
enum link_cost {
	LINK_LAN,   /* wire or Wi-Fi nearby */
	LINK_WAN,   /* through a router */
	LINK_RADIO, /* slow and shared: Bluetooth */
};

struct link_info {
	const char *transport;  /* "tcp", "bluetooth", "memory"; static text */
	char remote[LINK_TEXT]; /* "192.0.2.7:7580", "[fe80::1%eth0]:7580" */
	char local[LINK_TEXT];  /* this side's address without port; "" where there is none */
	enum link_cost cost;
	bool dialled;           /* true: this device opened it */
	uint32_t rtt_us;        /* estimate of the round trip, 0 while unknown */
	uint32_t rtt_least_us;  /* the shortest, likewise */
	uint64_t bytes_in;      /* on the wire, encryption included */
	uint64_t bytes_out;
	int64_t since;          /* CLOCK_BOOTTIME in microseconds when it came up */
};

struct link;

struct link_handler {
	/* Bytes came; they are the callee's for the duration of the call only. */
	void (*received)(struct link *l, const uint8_t *data, size_t len, void *user);
	/* There is room again after link_write took less than it was given. May be NULL. */
	void (*writable)(struct link *l, void *user);
};

struct link_ops {
	ssize_t (*write)(struct link *l, const void *data, size_t len);
	size_t (*room)(const struct link *l);
	void (*read)(struct link *l, bool on);
	void (*info)(const struct link *l, struct link_info *ret);
	void (*close)(struct link *l);
};

/* The part that all links have in common; embedded in the implementation. */
struct link {
	const struct link_ops *ops;
	const struct link_handler *handler;
	void *user;
	struct id peer;            /* from the verified certificate */
	enum role role;            /* likewise */
	char name[NAME_SIZE];      /* likewise */
};

/* Sets who gets the bytes. Without a handler nothing is read. */
static inline void link_handle(struct link *l, const struct link_handler *handler, void *user)
{
	l->handler = handler;
	l->user = user;
	l->ops->read(l, handler != NULL);
}

/* Queues up to len bytes and returns how many it took (0: full). They are sent when the
 * loop comes round, so many small writes make one record. -EPIPE once the link is gone. */
static inline ssize_t link_write(struct link *l, const void *data, size_t len)
{
	return l->ops->write(l, data, len);
}

/* How many bytes link_write would take now. */
static inline size_t link_room(const struct link *l)
{
	return l->ops->room(l);
}

/* Stops (false) and resumes delivery: backpressure. What the peer sends meanwhile waits in
 * buffers of bounded size, then at the peer. */
static inline void link_read(struct link *l, bool on)
{
	l->ops->read(l, on);
}

static inline void link_info(const struct link *l, struct link_info *ret)
{
	l->ops->info(l, ret);
}

/* Closes it soon: no bytes come any more, and its owner says so (link_down) from the loop,
 * not from within this call. What is queued may be lost. */
static inline void link_close(struct link *l)
{
	l->ops->close(l);
}
