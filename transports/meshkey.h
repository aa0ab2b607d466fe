/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Keys that all members of a mesh can derive from its secret, one for each use: what devices say to find each other
 * (beacon.h, advert.h). HKDF (RFC 5869) with SHA-256:
 *
 *     prk = HKDF-Extract(salt = label, input = the mesh's secret)
 *     key = HKDF-Expand(prk, info = name || data)
 *
 * A struct meshkey is a secret: meshkey_wipe clears it. Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "transports/identity.h"

#define MESHKEY_DATA_MAX 32

struct meshkey {
	uint8_t prk[32];
};

/* label names the use and its version. -EIO: the library fails. */
int meshkey_extract(const uint8_t secret[static IDENTITY_SECRET_SIZE], const char *label, struct meshkey *ret);

/* A key of so many bytes, at most 255 * 32. name has at most 16 bytes, data MESHKEY_DATA_MAX. -EIO; ret is
 * cleared then. */
int meshkey_expand(const struct meshkey *k, const char *name, const void *data, size_t len, uint8_t *ret,
		   size_t ret_len);

void meshkey_wipe(struct meshkey *k);
