/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/meshkey.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#define NAME_MAX_LEN 16

int meshkey_extract(const uint8_t secret[static IDENTITY_SECRET_SIZE], const char *label, struct meshkey *ret)
{
	gnutls_datum_t in = { (unsigned char *)(uintptr_t)secret, IDENTITY_SECRET_SIZE };
	gnutls_datum_t salt = { (unsigned char *)(uintptr_t)label, (unsigned)strlen(label) };
	struct meshkey k;
	if (gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &in, &salt, k.prk) < 0)
		return -EIO;
	*ret = k;
	meshkey_wipe(&k);
	return 0;
}

int meshkey_expand(const struct meshkey *k, const char *name, const void *data, size_t len, uint8_t *ret,
		   size_t ret_len)
{
	uint8_t info[NAME_MAX_LEN + MESHKEY_DATA_MAX];
	const size_t n = strlen(name);
	assert(n <= NAME_MAX_LEN && len <= MESHKEY_DATA_MAX);
	memcpy(info, name, n);
	if (len > 0)
		memcpy(info + n, data, len);
	gnutls_datum_t prk = { (unsigned char *)(uintptr_t)k->prk, sizeof(k->prk) };
	gnutls_datum_t with = { info, (unsigned)(n + len) };
	if (gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &prk, &with, ret, ret_len) < 0) {
		gnutls_memset(ret, 0, ret_len);
		return -EIO;
	}
	return 0;
}

void meshkey_wipe(struct meshkey *k)
{
	gnutls_memset(k, 0, sizeof(*k));
}
