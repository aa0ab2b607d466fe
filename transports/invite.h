/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Outstanding invitations, kept in identity/invites/ (format at the head of invite.c).
 *
 * The secret itself is not stored: only two hashes of it, one to find the invitation by and
 * one as the key of the joiner's proof. All functions are safe against other processes and
 * threads that use the same directory (a lock is held within each call); one struct
 * invites belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/id.h"
#include "engine/sha256.h"
#include "transports/name.h"
#include "transports/token.h"

#define INVITES_MAX 256     /* outstanding at once */
#define INVITE_USES_MAX 1000

struct invites;

/* What a joiner derives from the token's secret. */
void invite_id(const uint8_t secret[static TOKEN_SECRET_SIZE], struct id *ret);
void invite_key(const uint8_t secret[static TOKEN_SECRET_SIZE], struct sha256 *ret);

/* identity_dir is the identity directory; invites/ in it is made when missing. */
int invites_open(const char *identity_dir, struct invites **ret, struct err *e);
void invites_free(struct invites *v);
DEFINE_CLEANUP(struct invites *, invites_free)

/* Makes a random secret and records its invitation durably. expires in unix seconds. */
int invites_add(struct invites *v, enum role role, int64_t expires, unsigned uses,
		uint8_t ret_secret[static TOKEN_SECRET_SIZE], struct err *e);

/* True when an invitation can still be used at now. Removes what expired. What another
 * process changed is seen within a second. */
bool invites_outstanding(struct invites *v, int64_t now);

/* The key of the proof for an invitation; -ENOENT when there is none (or it expired),
 * -EALREADY when it is used up. Nothing changes. */
int invites_key(struct invites *v, const struct id *id, int64_t now, struct sha256 *ret);

/* Takes one use. When it returns 0 the use is gone durably, whatever happens next, and
 * ret_role is the role to give. Errors as invites_key, or -errno of the disk: then the
 * caller must not issue anything. */
int invites_redeem(struct invites *v, const struct id *id, int64_t now, enum role *ret_role);
