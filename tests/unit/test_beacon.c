/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "tests/prng.h"
#include "tests/tap.h"
#include "transports/beacon.h"

int main(int argc, char **argv)
{
	tap_plan(9);
	struct prng r = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 5000);
	uint8_t secret[IDENTITY_SECRET_SIZE], other[IDENTITY_SECRET_SIZE];
	_cleanup_(beacon_key_freep) struct beacon_key *k = NULL, *stranger = NULL;
	prng_fill(&r, secret, sizeof(secret));
	memcpy(other, secret, sizeof(other));
	other[31] ^= 1;
	if (beacon_key_new(secret, &k) < 0 || beacon_key_new(other, &stranger) < 0)
		tap_bail("no keys");

	uint64_t bad = 0, equal = 0, read = 0, mutants = 0;
	uint8_t data[BEACON_SIZE], again[BEACON_SIZE];
	struct beacon b, c;
	for (uint64_t i = 0; i < rounds; i++) {
		prng_fill(&r, b.device.b, sizeof(b.device.b));
		b.port = (uint16_t)(1 + prng_below(&r, 65535));
		b.hello = prng_chance(&r, 50);
		if (beacon_seal(k, &b, data) < 0 || beacon_open(k, data, BEACON_SIZE, &c) < 0 ||
		    !id_equal(&b.device, &c.device) || b.port != c.port || b.hello != c.hello)
			bad++;
		read += beacon_open(stranger, data, BEACON_SIZE, &c) == 0;
		beacon_seal(k, &b, again);
		/* Behind the version there must be no byte that stays: count equal ones. */
		for (size_t n = 1; n < BEACON_SIZE; n++)
			equal += data[n] == again[n];
		data[prng_below(&r, BEACON_SIZE)] ^= (uint8_t)(1 + prng_below(&r, 255));
		mutants += beacon_open(k, data, BEACON_SIZE, &c) == 0;
	}
	is_uint(bad, 0, "what a member seals a member opens");
	is_uint(read, 0, "another mesh's key opens nothing");
	is_uint(mutants, 0, "a beacon with a byte changed is refused");
	double share = (double)equal / (double)(rounds * (BEACON_SIZE - 1));
	ok(share < 1.5 / 256, "two beacons of one device have no more in common than chance (%.4f)",
	   share);

	b.port = 0;
	is_errno(beacon_seal(k, &b, data), -EINVAL, "port 0 is not sealed");
	b.port = 9;
	beacon_seal(k, &b, data);
	bad = 0;
	for (size_t n = 0; n < BEACON_SIZE; n++)
		bad += beacon_open(k, data, n, &c) == 0;
	is_uint(bad, 0, "a shorter one is refused");
	uint8_t longer[BEACON_SIZE + 1] = { 0 };
	memcpy(longer, data, BEACON_SIZE);
	is_errno(beacon_open(k, longer, sizeof(longer), &c), -EBADMSG, "a longer one is refused");
	data[0] = 2;
	is_errno(beacon_open(k, data, BEACON_SIZE, &c), -EBADMSG, "an unknown version is refused");
	data[0] = 1;
	is_int(beacon_open(k, data, BEACON_SIZE, &c), 0, "a replay opens: it proves nothing");
	return tap_done();
}
