/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Sync sessions on links: carries bytes, time and news between transports and engine, and knows
 * who is here. Of the loop's thread. */

#include <systemd/sd-event.h>

#include "engine/session.h"
#include "tools/flusher.h"
#include "tools/log.h"
#include "transports/link.h"

struct peers;

/* changed is called when somebody came, went, or acknowledged something. All arguments are
 * borrowed. */
int peers_new(sd_event *event, struct replica *r, struct flusher *f, struct log *log,
	      void (*changed)(void *userdata), void *userdata, struct peers **ret, struct err *e);
/* Frees all sessions; their links must not call back any more. */
void peers_free(struct peers *p);
DEFINE_CLEANUP(struct peers *, peers_free)

/* A link came up: a session begins on it. Failure closes the link. */
void peers_link_up(struct peers *p, struct link *l);
/* It is gone, why says the reason (may be NULL); the link must not be used after this. */
void peers_link_down(struct peers *p, struct link *l, const struct err *why);
/* A new view was published. */
void peers_news(struct peers *p);

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
unsigned peers_count(const struct peers *p);
bool peers_connected(const struct peers *p, const struct id *device);
