/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of a TLS session, for tls*.c. */

#include <gnutls/gnutls.h>

#include "engine/buf.h"
#include "transports/tls.h"

#define RECORD_MAX ((size_t)16 * 1024)

struct tls_context {
	unsigned refs;
	const struct identity *identity; /* NULL: of a joiner */
	struct sha256 root;              /* its fingerprint */
	gnutls_priority_t priority;
	gnutls_certificate_credentials_t link; /* chain without the root */
	gnutls_certificate_credentials_t join; /* server: with the root; joiner: bare */
};

enum tls_state { HANDSHAKE, UP, CLOSED };

struct tls {
	struct link link;
	struct tls_context *context;
	sd_event *event;
	struct wire *wire;
	const struct tls_handler *handler;
	void *user;
	gnutls_session_t session;
	sd_event_source *timer; /* of the handshake */
	sd_event_source *turn;  /* runs once more when the loop comes round */
	enum tls_state state;
	enum tls_kind kind;
	unsigned kinds; /* offered */
	unsigned refs;  /* callbacks under way hold one */
	bool server;
	bool freed;
	bool reading;      /* somebody wants what comes */
	bool blocked;      /* link_write took less than it was given */
	bool closing;      /* link_close was called */
	bool dismissed;    /* the peer is told that it is for want of room */
	bool wire_end;     /* the wire reported its end */
	int wire_error;    /* -errno */
	struct err why;    /* of the end; code 0: none yet */
	gnutls_x509_crt_t peer; /* joiner's bare certificate, or the root for a joiner */
	struct buf ahead;  /* from the wire, not yet taken by GnuTLS: from ahead_at */
	size_t ahead_at;
	struct buf plain;
	size_t plain_at;
	struct buf cipher;
	size_t cipher_at;
	uint64_t bytes_in, bytes_out;
	int64_t since;
	uint8_t record[RECORD_MAX];
};

/* What ALPN agreed on; -EPROTO: nothing that we know. */
int tls_agreed_kind(gnutls_session_t session, enum tls_kind *ret);
/* GnuTLS's callback: the server knows what the client wants, and chooses what to show it. */
int tls_server_hello(gnutls_session_t session);
