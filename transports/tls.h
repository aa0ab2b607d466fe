/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* TLS 1.3 between two devices, over any wire. The profile stands at the head of tls-context.c.
 * Of the sd-event thread; nothing blocks. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "engine/id.h"
#include "engine/sha256.h"
#include "transports/cert.h"
#include "transports/identity.h"
#include "transports/link.h"
#include "transports/wire.h"

#define TLS_HANDSHAKE_SECONDS 10
#define TLS_ALPN_LINK "shoal/1"
#define TLS_ALPN_JOIN "shoal-join/1"
#define TLS_BINDING_SIZE 32

struct tls_context;
struct tls;

/* Credentials for any number of sessions. identity is borrowed and must outlive them. */
int tls_context_new(const struct identity *identity, struct tls_context **ret, struct err *e);

/* Credentials of a joiner, who has a key (borrowed for the call) and the fingerprint of the
 * mesh's root, and nothing else: for TLS_JOIN sessions only. */
int tls_context_new_joiner(gnutls_x509_privkey_t key, const struct sha256 *root,
			   struct tls_context **ret, struct err *e);

/* Accepts it while sessions refer to it: it goes with the last. */
void tls_context_unref(struct tls_context *c);
DEFINE_CLEANUP(struct tls_context *, tls_context_unref)

enum tls_kind {
	TLS_LINK = 1, /* both sides are devices of the mesh */
	TLS_JOIN = 2, /* the client is a device that asks to be admitted */
};

struct tls_handler {
	/* The peer's certificate is verified, the handshake is not over: 0 goes on, -errno
	 * ends it, with e filled for the one who reads about it here. May be NULL. */
	int (*admit)(struct tls *t, const struct cert_info *peer, void *user, struct err *e);
	/* The handshake is over. The handler may call tls_free. */
	void (*up)(struct tls *t, void *user);
	/* It failed, or the peer or tls_link()'s user closed it: the last callback; the
	 * handler must call tls_free, now or later. */
	void (*closed)(struct tls *t, const struct err *why, void *user);
	/* After tls_haste: what was sent is not acknowledged in time. Again and again, until it is
	 * or the session has ended. May be NULL; the handler may call tls_free. */
	void (*stalled)(struct tls *t, void *user);
};

struct tls_options {
	bool server;
	unsigned kinds;      /* of enum tls_kind: what a server offers; exactly one for a client */
	uint64_t timeout_us; /* of the handshake; 0: TLS_HANDSHAKE_SECONDS */
};

/* Starts a session over wire, which it owns from now on (freed on failure too). The
 * handshake begins when the loop runs. handler and user must outlive the session. */
int tls_new(struct tls_context *c, sd_event *event, struct wire *wire_take,
	    const struct tls_options *o, const struct tls_handler *handler, void *user,
	    struct tls **ret, struct err *e);

/* Hands the session over: further callbacks go to handler with user. */
void tls_set_handler(struct tls *t, const struct tls_handler *handler, void *user);

/* Ends it at once: what is queued is handed to the wire as far as it takes it without
 * waiting, with a close notice. No callback follows. May be called from any callback. */
void tls_free(struct tls *t);
DEFINE_CLEANUP(struct tls *, tls_free)

/* After up: when it is freed the peer is told, by an alert, that this end has enough links. Its closed has code
 * -EUSERS. */
void tls_dismiss(struct tls *t);

/* After up: the link, and which kind was agreed on. For TLS_JOIN the link's peer, name and
 * role are those of the server's certificate at the client, and empty at the server. */
struct link *tls_link(struct tls *t);
enum tls_kind tls_kind(const struct tls *t);
struct tls *tls_of_link(struct link *l);

/* After up: 32 bytes that both ends of this session, and nobody else, can compute
 * (RFC 5705 exporter, label "EXPORTER-shoal-join", no context). */
int tls_binding(const struct tls *t, uint8_t ret[static TLS_BINDING_SIZE]);

/* After up, at the server of a TLS_JOIN session: the joiner's bare certificate, borrowed. */
gnutls_x509_crt_t tls_peer_certificate(const struct tls *t);

/* After up, at the client of a TLS_JOIN session: the mesh's root, borrowed; verified against
 * the fingerprint. */
gnutls_x509_crt_t tls_peer_root(const struct tls *t);

/* Wants to know (stalled) when the peer is silent for a fraction of a second, or not any more. */
void tls_haste(struct tls *t, bool on);

/* What the wire says, at any time. */
void tls_info(const struct tls *t, struct link_info *ret);
