/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The certificates of a mesh: made, read and verified. The profile stands at the head of
 * cert.c. All functions may be called from any thread on distinct objects. */

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/id.h"
#include "engine/sha256.h"
#include "transports/name.h"

#define CERT_MAX 4096     /* bytes of one certificate in DER */
#define CERT_CHAIN_MAX 2  /* a device's certificate, and an admin's that issued it */

DEFINE_CLEANUP(gnutls_x509_crt_t, gnutls_x509_crt_deinit)
DEFINE_CLEANUP(gnutls_x509_privkey_t, gnutls_x509_privkey_deinit)
DEFINE_CLEANUP(gnutls_pubkey_t, gnutls_pubkey_deinit)

/* What a verified certificate says. */
struct cert_info {
	struct id device;    /* first 16 bytes of the SHA-256 of the public key's SPKI */
	enum role role;
	char name[NAME_SIZE];
	int64_t not_before;  /* unix seconds */
	int64_t not_after;
};

/* A new Ed25519 key; the caller ends with gnutls_x509_privkey_deinit. */
int cert_key_new(gnutls_x509_privkey_t *ret, struct err *e);

/* The mesh's root for key, named mesh; now in unix seconds. Caller deinits *ret. */
int cert_make_root(gnutls_x509_privkey_t key, const char *mesh, int64_t now,
		   gnutls_x509_crt_t *ret, struct err *e);

/* A device certificate for the public key in subject (a certificate, possibly self-signed),
 * issued by issuer with issuer_key. */
int cert_make_device(gnutls_x509_crt_t subject, const char *name, enum role role,
		     gnutls_x509_crt_t issuer, gnutls_x509_privkey_t issuer_key, int64_t now,
		     gnutls_x509_crt_t *ret, struct err *e);

/* The self-signed certificate that carries a new device's key: while it joins, and as the
 * subject of cert_make_device. It says nothing but the key. */
int cert_make_bare(gnutls_x509_privkey_t key, int64_t now, gnutls_x509_crt_t *ret, struct err *e);

/* Decodes one certificate in DER (len at most CERT_MAX). */
int cert_decode(const void *der, size_t len, gnutls_x509_crt_t *ret, struct err *e);

/* SHA-256 of the certificate's SubjectPublicKeyInfo. */
int cert_fingerprint(gnutls_x509_crt_t crt, struct sha256 *ret);

/* True when the certificate's key is Ed25519. */
bool cert_is_ed25519(gnutls_x509_crt_t crt);

/* The device id of a certificate (not verified here). */
int cert_device_id(gnutls_x509_crt_t crt, struct id *ret);

/* The subject's common name, checked as a name; -EBADMSG when it is none. */
int cert_name(gnutls_x509_crt_t crt, char ret[static NAME_SIZE]);

/* Verifies that root is a root by the profile: self-signed, Ed25519, an authority. */
int cert_verify_root(gnutls_x509_crt_t root, struct err *e);

/* Verifies a chain (the device's own certificate first) up to root at the time now.
 *   -EKEYREJECTED  not of this mesh, or not by the profile
 *   -EKEYEXPIRED   expired, or not valid yet
 * e says which. ret is filled on success only. */
int cert_verify(const gnutls_x509_crt_t *chain, unsigned n, gnutls_x509_crt_t root, int64_t now,
		struct cert_info *ret, struct err *e);

/* Fills e with text and what GnuTLS says of the result rc; returns a negative errno. Here,
 * so that the analyzer sees that it does. */
static inline int cert_gnutls_error(struct err *e, int rc, const char *what)
{
	int code = rc == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;
	return err_set(e, code, "%s: %s", what, gnutls_strerror(rc));
}
