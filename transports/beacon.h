/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Discovery beacons: 52 bytes that only members of the mesh can read. The format stands at
 * the head of beacon.c. A struct beacon_key belongs to one thread at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/id.h"
#include "transports/identity.h"

#define BEACON_SIZE 52

struct beacon {
	struct id device; /* who is there */
	uint16_t port;    /* TCP, not 0 */
	bool hello;       /* just arrived: those who hear it answer soon */
};

struct beacon_key;

int beacon_key_new(const uint8_t secret[static IDENTITY_SECRET_SIZE], struct beacon_key **ret);
void beacon_key_free(struct beacon_key *k); /* clears it */
DEFINE_CLEANUP(struct beacon_key *, beacon_key_free)

/* Encrypts b under a fresh salt: two calls never give the same bytes. */
int beacon_seal(const struct beacon_key *k, const struct beacon *b, uint8_t ret[static BEACON_SIZE]);

/* -EBADMSG for anything that a member did not seal. */
int beacon_open(const struct beacon_key *k, const uint8_t *data, size_t len, struct beacon *ret);
