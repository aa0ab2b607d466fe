/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The daemon's end of the control socket, on an sd-event loop. Requests of one client are
 * answered in any order; a client that does not read its answers stops being read, and one that
 * lets a report that nobody can hold back (watch) pile up is cut off. Everything belongs to the
 * loop's thread. */

#include <systemd/sd-event.h>

#include "engine/arena.h"
#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"
#include "tools/log.h"
#include "tools/storedir.h"

#define CTL_CLIENTS_MAX 256
#define CTL_CALLS_MAX 32              /* unanswered requests of one client */
#define CTL_ROOM (256u * 1024)        /* unread answers after which producers wait */
#define CTL_PILE_MAX (8u * 1024 * 1024) /* unread answers after which a client is cut off */

struct ctlserver;
/* A request that is being answered. It ends with call_result(more false), call_error, or when
 * the client leaves; the pointer is dead from then on. */
struct call;

typedef void (*method_fn)(struct call *c, const struct json *params, void *userdata);
struct method {
	const char *name;
	method_fn run; /* answers now, or keeps the call and answers later */
};

/* The socket is made anew in dir, which must be locked; or is listening_take, one that listens there (-1:
 * none). table and userdata are borrowed. */
int ctlserver_new(sd_event *event, const struct storedir *dir, int listening_take,
		  const struct method *table, unsigned n, void *userdata, struct log *log,
		  struct ctlserver **ret, struct err *e);
int ctlserver_fd(const struct ctlserver *s); /* the socket that listens; borrowed */
/* Ends all calls and removes the socket. */
void ctlserver_free(struct ctlserver *s);
/* Takes no more clients and removes the socket; those that are there stay. */
void ctlserver_stop_listening(struct ctlserver *s);
/* Sends what is queued, waiting at most timeout_us for readers. */
void ctlserver_drain(struct ctlserver *s, uint64_t timeout_us);
DEFINE_CLEANUP(struct ctlserver *, ctlserver_free)

/* Memory that lives as long as the call. */
struct arena *call_arena(struct call *c);
/* One JSON value, copied; NULL: {}. With more the call stays open. */
void call_result(struct call *c, const struct buf *json, bool more);
void call_error(struct call *c, const struct err *e);
void call_fail(struct call *c, int code, const char *fmt, ...) _printf_(3, 4);
/* Bytes that the client has not read yet: a producer stops above CTL_ROOM and goes on when
 * drained is called. */
size_t call_backlog(const struct call *c);
/* For another process that will answer: the client's socket, borrowed; and what the answer has to carry
 * (JSON, appended; nothing: none). */
int call_fd(const struct call *c);
void call_id(const struct call *c, struct buf *ret);
/* What a call that stays open needs to know. cancel: the client left, or the server ends; called
 * at most once, and not after the call ended by itself. drained: the client caught up. Either may
 * be NULL. */
void call_keep(struct call *c, void (*cancel)(struct call *c, void *userdata),
	       void (*drained)(struct call *c, void *userdata), void *userdata);
