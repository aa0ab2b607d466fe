/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as an advertisement: what opens must be what sealing gives for what is read from it, in one of the periods
 * that count. With the first byte set to 0xff the rest is sealed first, so that the plain side is reached as well. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transports/advert.h"

#define NOW INT64_C(1790000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Some period's seal of a is these bytes. */
static bool sealed_so(struct advert_key *k, const struct advert *a, const uint8_t *data)
{
	uint8_t again[ADVERT_SIZE];
	for (int64_t p = -ADVERT_SKEW; p <= ADVERT_SKEW; p++)
		if (advert_seal(k, NOW + p * ADVERT_PERIOD, a, again) == 0 && memcmp(again, data, ADVERT_SIZE) == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t secret[IDENTITY_SECRET_SIZE] = { 7 };
	static struct advert_key *k;
	struct advert a, b;
	if (!k && advert_key_new(secret, &k) < 0)
		return 0;
	if (size == 7 && data[0] == 0xff) {
		uint8_t sealed[ADVERT_SIZE];
		const int64_t off = (int64_t)(data[5] % ADVERT_SKEW) * ADVERT_PERIOD;
		a = (struct advert){ (uint16_t)(0x80 | data[1]),
				     (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8 | data[4] };
		if (advert_seal(k, NOW + (data[6] & 1 ? off : -off), &a, sealed) < 0)
			return 0;
		/* Another period may read something else into it, by chance. */
		if (advert_open(k, NOW, sealed, sizeof(sealed), &b) < 0 || !sealed_so(k, &b, sealed))
			abort();
		return 0;
	}
	if (advert_open(k, NOW, data, size, &b) == 0 && (size != ADVERT_SIZE || !sealed_so(k, &b, data)))
		abort();
	return 0;
}
