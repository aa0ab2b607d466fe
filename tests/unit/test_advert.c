/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "tests/prng.h"
#include "tests/tap.h"
#include "transports/advert.h"

#define NOW INT64_C(1790000000)
#define DAY INT64_C(86400)

static struct advert_key *key, *stranger;

static void any(struct prng *r, struct advert *a)
{
	a->psm = (uint16_t)(ADVERT_PSM_MIN + prng_below(r, 128));
	a->tag = (uint32_t)prng_below(r, ADVERT_TAG_MAX + 1);
}

static bool reads(struct advert_key *k, int64_t now, const uint8_t *data, const struct advert *a)
{
	struct advert got = { 0 };
	return advert_open(k, now, data, ADVERT_SIZE, &got) == 0 && got.psm == a->psm && got.tag == a->tag;
}

static void members_and_strangers(struct prng *r, uint64_t rounds)
{
	uint64_t bad = 0, read = 0, mutants = 0, random = 0;
	struct advert a, b;
	uint8_t data[ADVERT_SIZE];
	for (uint64_t i = 0; i < rounds; i++) {
		any(r, &a);
		bad += advert_seal(key, NOW, &a, data) != 0 || !reads(key, NOW, data, &a);
		read += advert_open(stranger, NOW, data, ADVERT_SIZE, &b) == 0;
		data[prng_below(r, ADVERT_SIZE)] ^= (uint8_t)(1 + prng_below(r, 255));
		mutants += advert_open(key, NOW, data, ADVERT_SIZE, &b) == 0;
		prng_fill(r, data, sizeof(data));
		random += advert_open(key, NOW, data, ADVERT_SIZE, &b) == 0;
	}
	is_uint(bad, 0, "what a member seals a member opens");
	/* By chance 97 in 131,072 of each: five times that, and a few, are no chance. */
	const uint64_t most = 10 + rounds * 5 * 97 / 131072;
	ok(read <= most, "another mesh's key opens none but by chance (%llu)", (unsigned long long)read);
	ok(mutants <= most, "one with a byte changed is refused (%llu taken)", (unsigned long long)mutants);
	ok(random <= most, "so are random bytes (%llu taken)", (unsigned long long)random);
}

static void rotation(struct prng *r, uint64_t rounds)
{
	uint64_t equal = 0, pairs = 0, same = 0;
	struct advert a, b;
	uint8_t data[ADVERT_SIZE], next[ADVERT_SIZE];
	for (uint64_t i = 0; i < rounds; i++) {
		const int64_t now = NOW + (int64_t)i * ADVERT_PERIOD;
		any(r, &a);
		any(r, &b);
		advert_seal(key, now, &a, data);
		advert_seal(key, now + ADVERT_PERIOD - now % ADVERT_PERIOD - 1, &a, next);
		same += memcmp(data, next, ADVERT_SIZE) == 0;
		advert_seal(key, now + ADVERT_PERIOD, &a, next);
		for (unsigned k = 0; k < ADVERT_SIZE; k++)
			equal += data[k] == next[k];
		advert_seal(key, now, &b, next);
		for (unsigned k = 0; k < ADVERT_SIZE; k++)
			pairs += data[k] == next[k];
	}
	is_uint(same, rounds, "within a period a device says the same");
	/* By chance one byte in 256 of each. */
	const uint64_t most = 20 + rounds * ADVERT_SIZE * 8 / 5 / 256;
	ok(equal <= most, "in the next one nothing of it is left but by chance (%llu bytes)",
	   (unsigned long long)equal);
	ok(pairs <= most, "two devices have no more in common (%llu bytes)", (unsigned long long)pairs);

	/* The difference of two devices' bytes must not stay: it would be a name for the two. */
	uint64_t constant = 0;
	uint8_t first[ADVERT_SIZE] = { 0 }, d[ADVERT_SIZE];
	any(r, &a);
	any(r, &b);
	for (int64_t i = 0; i < 200; i++) {
		advert_seal(key, NOW + i * ADVERT_PERIOD, &a, data);
		advert_seal(key, NOW + i * ADVERT_PERIOD, &b, next);
		for (unsigned k = 0; k < ADVERT_SIZE; k++)
			d[k] = data[k] ^ next[k];
		if (i == 0)
			memcpy(first, d, sizeof(d));
		else
			constant += memcmp(first + 2, d + 2, 4) == 0;
	}
	is_uint(constant, 0, "nor does the difference between two devices stay the same");
}

/* The key of a period nearer to the reader's clock opens one in 1,400 at most, by chance, and then it is read as
 * another one until the next period; not three of three. */
static bool reads_any(struct prng *r, int64_t sealed, int64_t now)
{
	bool any_read = false;
	for (unsigned i = 0; i < 3; i++) {
		struct advert a;
		uint8_t data[ADVERT_SIZE];
		any(r, &a);
		any_read |= advert_seal(key, sealed, &a, data) == 0 && reads(key, now, data, &a);
	}
	return any_read;
}

static void clocks(struct prng *r)
{
	const int64_t most = (int64_t)ADVERT_SKEW * ADVERT_PERIOD;
	struct advert a;
	uint8_t data[ADVERT_SIZE];
	unsigned bad = 0, chance = 0, old = 0, early = 0;
	for (unsigned i = 0; i < 100; i++) {
		any(r, &a);
		advert_seal(key, NOW, &a, data);
		bad += !reads(key, NOW, data, &a);
		bool all = true;
		for (int64_t off = -most; off <= most; off += most / 24)
			all = reads(key, NOW + off, data, &a) && all;
		chance += !all;
		old += reads(key, NOW + DAY, data, &a);
		early += reads(key, NOW - DAY, data, &a);
	}
	is_uint(bad, 0, "equal clocks always read");
	ok(chance <= 4, "they may differ by half a day either way, but by chance (%u of 100 read as others)", chance);
	is_uint(old, 0, "a day later a recorded one opens no more: a replay ends");
	is_uint(early, 0, "nor does one from a day ahead");
	ok(reads_any(r, NOW, NOW + 3600) && reads_any(r, NOW, NOW + 3600),
	   "within that time a replay opens, as often as it comes: it proves nothing");
	a.psm = 0x81;
	ok(advert_seal(key, 5, &a, data) == 0 && reads(key, 5, data, &a) && reads_any(r, 5, 40000),
	   "a clock that begins in 1970 serves");
	ok(advert_seal(key, -5, &a, data) == 0 && reads(key, -5, data, &a), "so does one from before");
}

static void malformed(void)
{
	struct advert a = { .psm = 0x80, .tag = ADVERT_TAG_MAX }, b = { .psm = 7, .tag = 7 };
	uint8_t data[64] = { 0 };
	unsigned bad = 0;
	is_int(advert_seal(key, NOW, &a, data), 0, "the least PSM and the greatest tag go in");
	ok(reads(key, NOW, data, &a), "and come out");
	for (size_t n = 0; n < sizeof(data); n++)
		bad += n != ADVERT_SIZE && advert_open(key, NOW, data, n, &b) != -EBADMSG;
	is_uint(bad, 0, "any other length is refused");
	ok(b.psm == 7 && b.tag == 7, "and what is asked for stays as it was");
	is_errno(advert_seal(key, NOW, &(struct advert){ .psm = 0x7f }, data), -EINVAL, "a PSM below is none");
	is_errno(advert_seal(key, NOW, &(struct advert){ .psm = 0x100 }, data), -EINVAL, "nor is one above");
	is_errno(advert_seal(key, NOW, &(struct advert){ .psm = 0x80, .tag = 1u << 24 }, data), -EINVAL,
		 "a tag has 24 bits");
}

static void tags(struct prng *r)
{
	struct id a, b;
	unsigned same = 0;
	prng_fill(r, a.b, sizeof(a.b));
	is_uint(advert_tag(key, &a), advert_tag(key, &a), "a device has one tag");
	ok(advert_tag(key, &a) != advert_tag(stranger, &a), "and another one in another mesh");
	for (unsigned i = 0; i < 1000; i++) {
		prng_fill(r, b.b, sizeof(b.b));
		same += advert_tag(key, &a) == advert_tag(key, &b);
	}
	ok(same <= 1, "others have others");
}

int main(int argc, char **argv)
{
	tap_plan(25);
	struct prng r = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 3000);
	uint8_t secret[IDENTITY_SECRET_SIZE], other[IDENTITY_SECRET_SIZE];
	prng_fill(&r, secret, sizeof(secret));
	memcpy(other, secret, sizeof(other));
	other[31] ^= 1;
	if (advert_key_new(secret, &key) < 0 || advert_key_new(other, &stranger) < 0)
		tap_bail("no keys");
	members_and_strangers(&r, rounds);
	rotation(&r, rounds);
	clocks(&r);
	malformed();
	tags(&r);
	advert_key_free(key);
	advert_key_free(stranger);
	return tap_done();
}
