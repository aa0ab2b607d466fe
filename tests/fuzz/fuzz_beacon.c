/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any datagram under a key that the fuzzer cannot know: the decoder must refuse it, quietly.
 * With the first byte set to 0xff the rest is sealed first, so that the plain side is reached
 * as well. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transports/beacon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t secret[IDENTITY_SECRET_SIZE] = { 7 };
	_cleanup_(beacon_key_freep) struct beacon_key *k = NULL;
	struct beacon b = { 0 }, c;
	if (beacon_key_new(secret, &k) < 0)
		return 0;
	if (size == 20 && data[0] == 0xff) {
		uint8_t sealed[BEACON_SIZE];
		memcpy(b.device.b, data + 1, ID_SIZE);
		b.port = (uint16_t)(data[17] << 8 | data[18]);
		b.hello = data[19] & 1;
		if (beacon_seal(k, &b, sealed) < 0)
			return 0;
		if (beacon_open(k, sealed, sizeof(sealed), &c) < 0 || c.port != b.port ||
		    c.hello != b.hello || !id_equal(&b.device, &c.device))
			abort();
		return 0;
	}
	if (beacon_open(k, data, size, &c) == 0)
		abort();
	return 0;
}
