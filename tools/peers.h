/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Sync sessions on links: carries bytes, time and news between transports and engine, and knows
 * who is here. Of the loop's thread. */

#include <systemd/sd-event.h>

#include "engine/presence.h"
#include "engine/session.h"
#include "tools/flusher.h"
#include "tools/log.h"
#include "transports/link.h"

struct peers;

/* name: this device's. changed is called when somebody came, went, or acknowledged something. All
 * arguments are borrowed. */
int peers_new(sd_event *event, struct replica *r, const char *name, struct fetches *fetches,
	      struct flusher *f, struct log *log,
	      void (*changed)(void *userdata), void *userdata, struct peers **ret, struct err *e);
/* Frees all sessions; their links must not call back any more. */
void peers_free(struct peers *p);
DEFINE_CLEANUP(struct peers *, peers_free)

/* Whether connected devices hold contents (session_ask_holds). Each session that can be asked calls back once:
 * bit i is about h[i]; gone: it went before it answered, with bits 0. n <= FRAME_HOLDS_MAX. device NULL:
 * all. Returns how many were asked. */
typedef void (*peers_held_fn)(const struct id *device, uint64_t bits, bool gone, void *userdata);
unsigned peers_ask(struct peers *p, const struct id *device, const struct holding *h, uint32_t n,
		   peers_held_fn fn, void *userdata);
/* No callback with that userdata any more. */
void peers_ask_no_more(struct peers *p, const void *userdata);
/* There is something to fetch: sessions have more to send. */
void peers_fetch(struct peers *p);
/* The device is connected, and asked for contents by now. */
bool peers_source(const struct peers *p, const struct id *device);

/* fn is told when a session finds that its link is slow, or is not. It must not call peers_*. */
void peers_on_paced(struct peers *p, void (*fn)(const struct id *device, bool slow, void *userdata), void *userdata);

/* A link came up: a session begins on it. Failure closes the link. */
void peers_link_up(struct peers *p, struct link *l);
/* It is gone, why says the reason (may be NULL); the link must not be used after this. successor: another one to the
 * device follows, or else peers_no_successor; until then who waits for contents goes on waiting. */
void peers_link_down(struct peers *p, struct link *l, const struct err *why, bool successor);
void peers_no_successor(struct peers *p, const struct id *device);
/* A new view was published. */
void peers_news(struct peers *p);

/* Who is reachable through whom, as presence_graph. */
int peers_graph(struct peers *p, struct graph **ret);

struct peer_status {
	struct id id;
	const char *name; /* borrowed until the callback returns */
	enum role role;
	struct link_info link;
	struct session_status session;
	bool copies; /* two stores of that device run */
	bool in_step;
};
typedef int (*peer_fn)(const struct peer_status *s, void *userdata);
/* Each session, until f returns non-zero; returns that. */
int peers_each(struct peers *p, peer_fn f, void *userdata);
/* As session_work, of the session with the device; ret_changes (may be NULL): how many are on their way, of both ways
 * together. */
enum session_work peers_work(const struct peers *p, const struct id *device, uint64_t *ret_changes);
/* All that the newest view holds is durable at the device as well, which has a link. */
bool peers_in_step(const struct peers *p, const struct id *device);
unsigned peers_count(const struct peers *p);
bool peers_connected(const struct peers *p, const struct id *device);
