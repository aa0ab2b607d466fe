/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Advertisement format, version 1
 * ===============================
 *
 * An LE advertisement of the old kind holds 31 bytes. Three are flags, 18 the service's UUID by which scanners are told
 * to filter, and four the head of manufacturer data; six remain. A device id does not fit in, so they say no more than
 * where to call, and who it is turns out in the TLS handshake:
 *
 *      0   2   check: the first two bytes of HMAC-SHA256(one, plain)
 *      2   4   plain, xor the first four bytes of HMAC-SHA256(two, check)
 *
 *     plain:   1   LE PSM, 0x80 to 0xff
 *              3   tag of the device, big-endian: the first three bytes of HMAC-SHA256(three, device id)
 *
 * The keys are meshkey.h's with label "shoal advert 1": "one" and "two" are 32 bytes each of name "period" with the
 * number of the period, the unix time divided by 900 as eight bytes big-endian, as data; "three" has name "tag", no
 * data, and stays the same. The check is what the mask is made from (as in RFC 5297): two devices, or two PSMs of one,
 * have unrelated bytes, unless they agree in 16 bits by chance, and a device has others in every period. A stranger
 * sees six random bytes.
 *
 * Clocks of devices that have no network may be off, by the hours of a time zone if two systems share the machine; so
 * a reader tries 48 periods each way, half a day. It takes what is random for an advertisement in one of 1,400 cases:
 * 97 periods, 16 bits of check, one of the PSM. That, a replay within half a day, and a member with a clock further
 * off cost or lose one attempt to connect; TLS decides.
 */
#include "transports/advert.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "transports/meshkey.h"

#define PLAIN 4
#define CHECK 2
#define MAC 32
#define WINDOW (2 * ADVERT_SKEW + 1)

_Static_assert(CHECK + PLAIN == ADVERT_SIZE, "the format has six bytes");

struct period_key {
	uint8_t check[MAC], mask[MAC];
};

struct advert_key {
	struct meshkey mesh;
	uint8_t tag[MAC];
	bool made; /* the keys of the periods around this one: */
	int64_t period;
	struct period_key key[WINDOW]; /* from period - ADVERT_SKEW */
};

int advert_key_new(const uint8_t secret[static IDENTITY_SECRET_SIZE], struct advert_key **ret)
{
	_cleanup_(advert_key_freep) struct advert_key *k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	int r = meshkey_extract(secret, "shoal advert 1", &k->mesh);
	if (r == 0)
		r = meshkey_expand(&k->mesh, "tag", NULL, 0, k->tag, sizeof(k->tag));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(k);
	return 0;
}

void advert_key_free(struct advert_key *k)
{
	if (!k)
		return;
	gnutls_memset(k, 0, sizeof(*k));
	free(k);
}

/* The first n bytes; all zero when the library fails, which is no advertisement. */
static void mac(const uint8_t key[static MAC], const void *data, size_t len, uint8_t *ret, size_t n)
{
	uint8_t out[MAC] = { 0 };
	(void)gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, MAC, data, len, out);
	memcpy(ret, out, n);
}

uint32_t advert_tag(const struct advert_key *k, const struct id *device)
{
	uint8_t b[3];
	mac(k->tag, device->b, ID_SIZE, b, sizeof(b));
	return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
}

static int make_keys(struct advert_key *k, int64_t now)
{
	const int64_t period = now / ADVERT_PERIOD;
	if (k->made && k->period == period)
		return 0;
	k->made = false;
	for (int64_t i = 0; i < WINDOW; i++) {
		const uint64_t number = (uint64_t)(period - ADVERT_SKEW + i);
		uint8_t data[8];
		for (unsigned b = 0; b < 8; b++)
			data[b] = (uint8_t)(number >> (56 - 8 * b));
		int r = meshkey_expand(&k->mesh, "period", data, sizeof(data), k->key[i].check,
				       sizeof(k->key[i]));
		if (r < 0)
			return r;
	}
	k->period = period;
	k->made = true;
	return 0;
}

static void xor_mask(const struct period_key *key, const uint8_t check[static CHECK], uint8_t plain[static PLAIN])
{
	uint8_t mask[PLAIN];
	mac(key->mask, check, CHECK, mask, sizeof(mask));
	for (unsigned i = 0; i < PLAIN; i++)
		plain[i] ^= mask[i];
}

int advert_seal(struct advert_key *k, int64_t now, const struct advert *a, uint8_t ret[static ADVERT_SIZE])
{
	if (a->psm < ADVERT_PSM_MIN || a->psm > ADVERT_PSM_MAX || a->tag > ADVERT_TAG_MAX)
		return -EINVAL;
	int r = make_keys(k, now);
	if (r < 0)
		return r;
	const struct period_key *key = &k->key[ADVERT_SKEW];
	uint8_t plain[PLAIN] = { (uint8_t)a->psm, (uint8_t)(a->tag >> 16), (uint8_t)(a->tag >> 8), (uint8_t)a->tag };
	mac(key->check, plain, PLAIN, ret, CHECK);
	xor_mask(key, ret, plain);
	memcpy(ret + CHECK, plain, PLAIN);
	return 0;
}

static bool open_with(const struct period_key *key, const uint8_t data[static ADVERT_SIZE], struct advert *ret)
{
	uint8_t plain[PLAIN], check[CHECK];
	memcpy(plain, data + CHECK, PLAIN);
	xor_mask(key, data, plain);
	if (plain[0] < ADVERT_PSM_MIN)
		return false;
	mac(key->check, plain, PLAIN, check, CHECK);
	if (memcmp(check, data, CHECK) != 0)
		return false;
	*ret = (struct advert){ plain[0], (uint32_t)plain[1] << 16 | (uint32_t)plain[2] << 8 | plain[3] };
	return true;
}

int advert_open(struct advert_key *k, int64_t now, const uint8_t *data, size_t len, struct advert *ret)
{
	if (len != ADVERT_SIZE)
		return -EBADMSG;
	int r = make_keys(k, now);
	if (r < 0)
		return r;
	/* Most clocks agree: from the middle outwards. */
	for (unsigned i = 0; i < WINDOW; i++) {
		const unsigned at = i % 2 ? ADVERT_SKEW - (i + 1) / 2 : ADVERT_SKEW + i / 2;
		if (open_with(&k->key[at], data, ret))
			return 0;
	}
	return -EBADMSG;
}
