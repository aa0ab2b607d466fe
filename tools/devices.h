/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What this device remembers of others: devices that it met, and fixed addresses to keep
 * connecting to. Kept in STORE_LOCAL, so it never leaves the device. The loop's thread. */

#include "engine/replica.h"
#include "transports/name.h"

struct device {
	struct id id;
	enum role role;
	uint64_t seen_us; /* since 1970 */
	char name[NAME_SIZE];
};

int devices_note(struct replica *r, const struct device *d);
/* -ENOENT. */
int devices_get(struct replica *r, const struct id *id, struct device *ret);
typedef int (*device_fn)(const struct device *d, void *userdata);
/* In order of ids; stops when f returns non-zero and returns that. */
int devices_each(struct replica *r, device_fn f, void *userdata);

/* Addresses as token_address_parse reads them. hint: nobody asked for it, the device was met there. */
int addresses_add(struct replica *r, const char *address, bool hint);
int addresses_remove(struct replica *r, const char *address); /* -ENOENT */
typedef int (*address_fn)(const char *address, bool hint, void *userdata);
int addresses_each(struct replica *r, address_fn f, void *userdata);
