/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inviter's side of joining: serves TLS_JOIN sessions that a listener accepted. Of the
 * sd-event thread. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "engine/id.h"
#include "transports/address.h"
#include "transports/identity.h"
#include "transports/invite.h"
#include "transports/tls.h"

#define JOIN_SERVE_MAX 16      /* joiners served at once */
#define JOIN_WRONG_MAX 5       /* wrong proofs from one address before it is put off */
#define JOIN_WRONG_SECONDS 60  /* for so long */

struct joinserver;

/* A device was admitted; it will connect as a member. */
typedef void joinserver_fn(const struct id *device, const char *name, enum role role, void *user);

/* identity and invites are borrowed and must outlive it. */
int joinserver_new(sd_event *event, const struct identity *identity, struct invites *invites,
		   joinserver_fn *fn, void *user, struct joinserver **ret, struct err *e);
void joinserver_free(struct joinserver *s);
DEFINE_CLEANUP(struct joinserver *, joinserver_free)

/* True when a joiner from remote should be offered the protocol now. */
bool joinserver_open(struct joinserver *s, const struct address *remote);

/* Takes over a session whose TLS_JOIN handshake is over. */
void joinserver_serve(struct joinserver *s, struct tls *tls_take, const struct address *remote);
