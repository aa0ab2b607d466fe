/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The two messages of joining; their format stands at the head of joinmsg.c. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/id.h"
#include "engine/sha256.h"
#include "transports/identity.h"
#include "transports/name.h"
#include "transports/tls.h"

#define JOIN_MESSAGE_MAX 16384 /* bytes, its length included */
#define JOIN_REQUEST_MAX 256

struct join_request {
	struct id invite;         /* invite_id of the token's secret */
	struct sha256 proof;      /* see joinmsg_proof */
	char name[NAME_SIZE];     /* what the new device calls itself */
};

enum join_status {
	JOIN_OK = 0,
	JOIN_REFUSED = 1, /* no such invitation, or the proof is wrong */
	JOIN_USED = 2,    /* the invitation's uses are taken */
	JOIN_FAILED = 3,  /* the inviter could not do it: its disk, its own certificate */
	JOIN_BUSY = 4,    /* too many wrong proofs from there lately */
};
#define JOIN_STATUS_MAX JOIN_BUSY

struct join_answer {
	enum join_status status;
	/* The rest only with JOIN_OK; pointers are into the decoded message. */
	unsigned chain_len; /* 1 or 2, the new device's certificate first */
	struct {
		const uint8_t *der;
		size_t len;
	} chain[CERT_CHAIN_MAX], root;
	const uint8_t *secret; /* IDENTITY_SECRET_SIZE bytes */
	char inviter[NAME_SIZE];
};

/* HMAC-SHA-256 with key = invite_key of the secret, over "shoal join 1", the channel's
 * binding (tls_binding), u8 length and bytes of the name. */
int joinmsg_proof(const struct sha256 *key, const uint8_t binding[static TLS_BINDING_SIZE],
		  const char *name, struct sha256 *ret);

/* Append a whole message, length first. */
void joinmsg_put_request(struct buf *b, const struct join_request *m);
void joinmsg_put_answer(struct buf *b, const struct join_answer *m);

/* The length of the message that begins at data, its length field included; 0: more bytes are
 * needed to tell; -EMSGSIZE above max. */
ssize_t joinmsg_length(const uint8_t *data, size_t len, size_t max);

/* Decode one whole message; -EBADMSG. */
int joinmsg_get_request(const uint8_t *data, size_t len, struct join_request *ret);
int joinmsg_get_answer(const uint8_t *data, size_t len, struct join_answer *ret);
