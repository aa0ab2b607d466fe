/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Invitation tokens: the text that a person carries from one device to another. The format
 * stands at the head of token.c. A token is a secret while its invitation is open: it is
 * never logged, and token_wipe clears it. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/sha256.h"

#define TOKEN_SECRET_SIZE 16
#define TOKEN_ADDRESSES 8   /* most addresses in a token */
#define TOKEN_HOST_MAX 253  /* bytes of a DNS name */
#define TOKEN_TEXT_MAX 4096 /* characters of a token that are looked at */

struct token_address {
	char host[TOKEN_HOST_MAX + 1]; /* an IPv4 or IPv6 literal in canonical text, or a name */
	uint16_t port;                 /* 1..65535 */
};

struct token {
	struct sha256 root;                /* fingerprint of the mesh's root */
	uint8_t secret[TOKEN_SECRET_SIZE]; /* one-time */
	int64_t expires;                   /* unix seconds, >= 0 */
	unsigned n;
	struct token_address address[TOKEN_ADDRESSES];
};

/* Appends the text form, without a newline. -EINVAL when an address is malformed. The
 * caller clears ret with keyfile_wipe or the like. */
int token_encode(const struct token *t, struct buf *ret, struct err *e);

/* Reads the text form; white space around it and letter case do not matter, everything else
 * must be exactly as token_encode writes it. Expiry is not looked at. -EBADMSG with a
 * sentence for a person. */
int token_decode(const char *text, size_t len, struct token *ret, struct err *e);

/* 0 when the token is still good at now (unix seconds), else -ETIMEDOUT ("expired 3 hours
 * ago"). */
int token_check_expiry(const struct token *t, int64_t now, struct err *e);

/* Splits HOST, HOST:PORT, [V6]:PORT or a bare V6 literal (also with %scope), and brings
 * literals to canonical text. default_port is used where none is given. -EINVAL. */
int token_address_parse(const char *text, uint16_t default_port, struct token_address *ret,
			struct err *e);

void token_wipe(struct token *t);
