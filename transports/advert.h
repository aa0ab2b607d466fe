/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a device says of itself in a Bluetooth LE advertisement: six bytes that only members of the mesh can read. The
 * format stands at the head of advert.c. A struct advert_key belongs to one thread at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/id.h"
#include "transports/identity.h"

#define ADVERT_SIZE 6
#define ADVERT_SERVICE "5b0ea1c7-2d4f-4c7e-9a63-73686f616c01" /* the service's UUID */
#define ADVERT_COMPANY 0xffff /* of the manufacturer data: nobody's */
#define ADVERT_PERIOD 900     /* seconds until it is another one */
#define ADVERT_SKEW 48        /* periods that two clocks may differ by: half a day */
#define ADVERT_PSM_MIN 0x80   /* dynamic LE PSMs */
#define ADVERT_PSM_MAX 0xff
#define ADVERT_TAG_MAX 0xffffffu

struct advert {
	uint16_t psm; /* where it listens: ADVERT_PSM_MIN to _MAX */
	uint32_t tag; /* advert_tag of the device */
};

struct advert_key;

/* -ENOMEM, -EIO. */
int advert_key_new(const uint8_t secret[static IDENTITY_SECRET_SIZE], struct advert_key **ret);
void advert_key_free(struct advert_key *k); /* clears it */
DEFINE_CLEANUP(struct advert_key *, advert_key_free)

/* 24 bits by which members know a device's advertisements from others'; two may have the same. */
uint32_t advert_tag(const struct advert_key *k, const struct id *device);

/* now: unix seconds, by the device's own clock. The same within a period, unlike any other in the next.
 * -EINVAL: psm or tag is out of range. -EIO. */
int advert_seal(struct advert_key *k, int64_t now, const struct advert *a, uint8_t ret[static ADVERT_SIZE]);

/* -EBADMSG for what no member sealed within ADVERT_SKEW periods of now, but for one of about a thousand: whoever
 * is called because of it has to prove who he is. */
int advert_open(struct advert_key *k, int64_t now, const uint8_t *data, size_t len, struct advert *ret);
