/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How members know each other among the devices that Wi-Fi Direct finds, and the PIN that only they can tell:
 * shoal-transports(7), "Names and PINs". */
#include "transports/wifidirect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "transports/advert.h"
#include "transports/meshkey.h"

#define PREFIX_LEN (sizeof(WIFIDIRECT_PREFIX) - 1)

struct directkey {
	struct advert_key *advert;
	struct meshkey pin;
};

int directkey_new(const struct identity *identity, struct directkey **ret)
{
	_cleanup_(directkey_freep) struct directkey *k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	int r = advert_key_new(identity_secret(identity), &k->advert);
	if (r == 0)
		r = meshkey_extract(identity_secret(identity), "shoal direct 1", &k->pin);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(k);
	return 0;
}

void directkey_free(struct directkey *k)
{
	if (!k)
		return;
	advert_key_free(k->advert);
	meshkey_wipe(&k->pin);
	free(k);
}

uint32_t directkey_tag(const struct directkey *k, const struct id *device)
{
	return advert_tag(k->advert, device);
}

int directkey_name(struct directkey *k, int64_t now, uint32_t tag, char ret[static WPA_NAME_SIZE])
{
	const struct advert a = { .psm = ADVERT_PSM_MIN, .tag = tag };
	uint8_t data[ADVERT_SIZE];
	int r = advert_seal(k->advert, now, &a, data);
	if (r < 0)
		return r;
	int n = snprintf(ret, WPA_NAME_SIZE, WIFIDIRECT_PREFIX);
	for (unsigned i = 0; i < ADVERT_SIZE; i++)
		n += snprintf(ret + n, WPA_NAME_SIZE - (size_t)n, "%02x", data[i]);
	return 0;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int directkey_whose(struct directkey *k, int64_t now, const char *name, uint32_t *ret_tag)
{
	uint8_t data[ADVERT_SIZE];
	struct advert a;
	if (strncmp(name, WIFIDIRECT_PREFIX, PREFIX_LEN) != 0 || strlen(name) != PREFIX_LEN + 2 * ADVERT_SIZE)
		return -EBADMSG;
	for (unsigned i = 0; i < ADVERT_SIZE; i++) {
		const int high = digit(name[PREFIX_LEN + 2 * i]), low = digit(name[PREFIX_LEN + 2 * i + 1]);
		if (high < 0 || low < 0)
			return -EBADMSG;
		data[i] = (uint8_t)(high << 4 | low);
	}
	int r = advert_open(k->advert, now, data, sizeof(data), &a);
	if (r == 0 && a.psm != ADVERT_PSM_MIN)
		r = -EBADMSG;
	if (r == 0)
		*ret_tag = a.tag;
	return r;
}

int directkey_pin(const struct directkey *k, uint32_t a, uint32_t b, char ret[static WPA_PIN_SIZE])
{
	const uint32_t low = a < b ? a : b, high = a < b ? b : a;
	const uint8_t tags[] = { (uint8_t)(low >> 16),  (uint8_t)(low >> 8),  (uint8_t)low,
				 (uint8_t)(high >> 16), (uint8_t)(high >> 8), (uint8_t)high };
	uint8_t out[8];
	uint64_t n = 0;
	int r = meshkey_expand(&k->pin, "pin", tags, sizeof(tags), out, sizeof(out));
	if (r < 0)
		return r;
	for (unsigned i = 0; i < sizeof(out); i++)
		n = n << 8 | out[i];
	const unsigned seven = (unsigned)(n % 10000000);
	/* The last digit is a checksum: the digits' sum, every other one from the first on thrice, is a multiple of ten. */
	unsigned sum = 0, rest = seven;
	for (unsigned i = 0; i < 7; i++, rest /= 10)
		sum += (i % 2 == 0 ? 3 : 1) * (rest % 10);
	snprintf(ret, WPA_PIN_SIZE, "%07u%u", seven % 10000000u, (10 - sum % 10) % 10);
	return 0;
}
