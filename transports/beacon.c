/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Beacon format, version 1
 * ========================
 *
 * Exactly 52 bytes, as a UDP datagram or (in hexadecimal) as the DNS-SD TXT value "b":
 *
 *      0   1   version, 1
 *      1  16   salt, random
 *     17  19   ciphertext of
 *                   1   flags: bit 0 = hello; the others 0
 *                  16   device id
 *                   2   TCP port, big-endian, not 0
 *     36  16   tag
 *
 * ChaCha20-Poly1305 (RFC 8439) with nonce 0, the version byte as associated data, and a key
 * of its own for every beacon: meshkey.h's with label "shoal beacon 1", name "key", the beacon's salt
 * as data, 32 bytes.
 *
 * With 128 random bits a repetition is out of reach for any number of devices and years,
 * which 96-bit nonces under one key would not promise. A stranger sees the version, the
 * sender's address and random bytes; no two beacons have anything in common.
 *
 * There is no time in it: devices' clocks may be years off. A replayed beacon proves
 * nothing; all it brings about is one attempt to connect, and TLS decides.
 */
#include "transports/beacon.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "engine/cursor.h"
#include "transports/meshkey.h"

#define BEACON_VERSION 1
#define SALT 16
#define PLAIN 19
#define TAG 16
#define KEY 32
#define FLAG_HELLO 1

_Static_assert(1 + SALT + PLAIN + TAG == BEACON_SIZE, "the format has 52 bytes");

struct beacon_key {
	struct meshkey mesh;
};

int beacon_key_new(const uint8_t secret[static IDENTITY_SECRET_SIZE], struct beacon_key **ret)
{
	struct beacon_key *k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	int r = meshkey_extract(secret, "shoal beacon 1", &k->mesh);
	if (r < 0) {
		free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void beacon_key_free(struct beacon_key *k)
{
	if (!k)
		return;
	meshkey_wipe(&k->mesh);
	free(k);
}

static int cipher_for(const struct beacon_key *k, const uint8_t salt[static SALT],
		      gnutls_aead_cipher_hd_t *ret)
{
	uint8_t key[KEY];
	int r = meshkey_expand(&k->mesh, "key", salt, SALT, key, sizeof(key));
	if (r == 0) {
		gnutls_datum_t d = { key, sizeof(key) };
		if (gnutls_aead_cipher_init(ret, GNUTLS_CIPHER_CHACHA20_POLY1305, &d) < 0)
			r = -EIO;
	}
	gnutls_memset(key, 0, sizeof(key));
	return r;
}

static const uint8_t nonce[12];

int beacon_seal(const struct beacon_key *k, const struct beacon *b, uint8_t ret[static BEACON_SIZE])
{
	uint8_t out[BEACON_SIZE] = { BEACON_VERSION };
	uint8_t plain[PLAIN] = { b->hello ? FLAG_HELLO : 0 };
	memcpy(plain + 1, b->device.b, ID_SIZE);
	plain[17] = (uint8_t)(b->port >> 8);
	plain[18] = (uint8_t)b->port;
	if (b->port == 0)
		return -EINVAL;
	if (gnutls_rnd(GNUTLS_RND_NONCE, out + 1, SALT) < 0)
		return -EIO;
	gnutls_aead_cipher_hd_t cipher;
	int r = cipher_for(k, out + 1, &cipher);
	if (r < 0)
		return r;
	size_t len = PLAIN + TAG;
	int rc = gnutls_aead_cipher_encrypt(cipher, nonce, sizeof(nonce), out, 1, TAG, plain, PLAIN,
					    out + 1 + SALT, &len);
	gnutls_aead_cipher_deinit(cipher);
	if (rc < 0 || len != PLAIN + TAG)
		return -EIO;
	memcpy(ret, out, sizeof(out));
	return 0;
}

int beacon_open(const struct beacon_key *k, const uint8_t *data, size_t len, struct beacon *ret)
{
	if (len != BEACON_SIZE || data[0] != BEACON_VERSION)
		return -EBADMSG;
	gnutls_aead_cipher_hd_t cipher;
	uint8_t plain[PLAIN];
	size_t n = sizeof(plain);
	int r = cipher_for(k, data + 1, &cipher);
	if (r < 0)
		return r;
	int rc = gnutls_aead_cipher_decrypt(cipher, nonce, sizeof(nonce), data, 1, TAG,
					    data + 1 + SALT, PLAIN + TAG, plain, &n);
	gnutls_aead_cipher_deinit(cipher);
	if (rc < 0 || n != PLAIN)
		return -EBADMSG;
	struct cursor c = cursor_make(plain, n);
	uint8_t flags = cursor_u8(&c);
	struct beacon b = { .hello = flags & FLAG_HELLO };
	memcpy(b.device.b, cursor_take(&c, ID_SIZE), ID_SIZE);
	b.port = cursor_u16(&c);
	if (!cursor_end(&c) || (flags & ~FLAG_HELLO) || b.port == 0)
		return -EBADMSG;
	*ret = b;
	return 0;
}
