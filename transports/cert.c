/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificate profile
 * ===================
 *
 * X.509 v3, Ed25519 keys and signatures only, DER of at most 4096 bytes each.
 *
 * Root (one a mesh): self-signed; subject = issuer = CN=MESH NAME (UTF-8, 1..64 bytes);
 * basicConstraints critical CA:TRUE, pathlen 1; keyUsage critical keyCertSign; valid from a
 * day before it was made, without end (99991231235959Z). It is a trust anchor: its own
 * times are not looked at. The mesh's id is the first 16 bytes of its fingerprint; a
 * fingerprint is the SHA-256 of the DER SubjectPublicKeyInfo (what
 * `openssl pkey -pubin -outform DER | sha256sum` prints).
 *
 * Device: subject = CN=DEVICE NAME, OU=ROLE, where ROLE is admin, member, reader or courier.
 * Issued by the root, or by an admin's device certificate. basicConstraints critical:
 * CA:TRUE with pathlen 0 for an admin, CA:FALSE for others; keyUsage critical
 * digitalSignature (and keyCertSign for an admin). An admin's certificate is taken for one
 * only when the root itself issued it, so admins cannot make admins. The device's id is the
 * first 16 bytes of its fingerprint: it is bound to the key, not to the name or the issuer.
 *
 * Device certificates are valid from 24 hours before they are made, so that a device whose
 * clock is up to a day behind the inviter's can use its own at once, for 20 years: a
 * forgotten laptop must not lose its mesh; devices are removed by revocation, not by expiry.
 *
 * Bare: self-signed, subject CN=device, valid for 20 years: only the carrier of a new key
 * while a device joins. Nothing trusts it.
 *
 * A chain is the device's certificate and, where an admin issued it, the admin's.
 */
#include "transports/cert.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SERIAL_SIZE 16
#define DAY ((int64_t)86400)
#define NOT_BEFORE_SLACK DAY
#define DEVICE_LIFETIME (20 * 365 * DAY)

int cert_key_new(gnutls_x509_privkey_t *ret, struct err *e)
{
	_cleanup_(gnutls_x509_privkey_deinitp) gnutls_x509_privkey_t key = NULL;
	int rc = gnutls_x509_privkey_init(&key);
	if (rc == 0)
		rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot make an Ed25519 key");
	*ret = TAKE_PTR(key);
	return 0;
}

/* What all our certificates have in common. */
static int begin(int64_t now, gnutls_x509_crt_t *ret)
{
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
	uint8_t serial[SERIAL_SIZE];
	int rc = gnutls_x509_crt_init(&crt);
	if (rc == 0)
		rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	if (rc < 0)
		return rc;
	serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40); /* positive, and always 16 bytes */
	rc = gnutls_x509_crt_set_version(crt, 3);
	if (rc == 0)
		rc = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (rc == 0)
		rc = gnutls_x509_crt_set_activation_time(crt, (time_t)(now - NOT_BEFORE_SLACK));
	if (rc == 0)
		*ret = TAKE_PTR(crt);
	return rc;
}

static int set_subject(gnutls_x509_crt_t crt, const char *cn, const char *ou)
{
	int rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn,
					       (unsigned)strlen(cn));
	if (rc == 0 && ou)
		rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0,
						   ou, (unsigned)strlen(ou));
	return rc;
}

static int finish(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer, gnutls_x509_privkey_t key)
{
	/* Ed25519 hashes by itself; the digest given here is not used. */
	return gnutls_x509_crt_sign2(crt, issuer, key, GNUTLS_DIG_SHA512, 0);
}

int cert_make_root(gnutls_x509_privkey_t key, const char *mesh, int64_t now,
		   gnutls_x509_crt_t *ret, struct err *e)
{
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
	int rc = begin(now, &crt);
	if (rc == 0)
		rc = gnutls_x509_crt_set_expiration_time(crt,
							 GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION);
	if (rc == 0)
		rc = set_subject(crt, mesh, NULL);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key(crt, key);
	if (rc == 0)
		rc = gnutls_x509_crt_set_basic_constraints(crt, 1, 1);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN);
	if (rc == 0)
		rc = finish(crt, crt, key);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot make the mesh's root certificate");
	*ret = TAKE_PTR(crt);
	return 0;
}

int cert_make_bare(gnutls_x509_privkey_t key, int64_t now, gnutls_x509_crt_t *ret, struct err *e)
{
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
	int rc = begin(now, &crt);
	if (rc == 0)
		rc = gnutls_x509_crt_set_expiration_time(crt, (time_t)(now + DEVICE_LIFETIME));
	if (rc == 0)
		rc = set_subject(crt, "device", NULL);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key(crt, key);
	if (rc == 0)
		rc = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (rc == 0)
		rc = finish(crt, crt, key);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot make a certificate for the new key");
	*ret = TAKE_PTR(crt);
	return 0;
}

static int copy_key(gnutls_x509_crt_t to, gnutls_x509_crt_t from)
{
	_cleanup_(gnutls_pubkey_deinitp) gnutls_pubkey_t pub = NULL;
	int rc = gnutls_pubkey_init(&pub);
	if (rc == 0)
		rc = gnutls_pubkey_import_x509(pub, from, 0);
	if (rc == 0)
		rc = gnutls_x509_crt_set_pubkey(to, pub);
	return rc;
}

int cert_make_device(gnutls_x509_crt_t subject, const char *name, enum role role,
		     gnutls_x509_crt_t issuer, gnutls_x509_privkey_t issuer_key, int64_t now,
		     gnutls_x509_crt_t *ret, struct err *e)
{
	if (!name_ok(name, strlen(name)))
		return err_set(e, -EINVAL,
			       "a device's name has 1 to %d bytes of UTF-8 without control characters",
			       NAME_LIMIT);
	if (!cert_is_ed25519(subject))
		return err_set(e, -EINVAL, "the device's key is not an Ed25519 key");

	bool admin = role == ROLE_ADMIN;
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
	int rc = begin(now, &crt);
	if (rc == 0)
		rc = gnutls_x509_crt_set_expiration_time(crt, (time_t)(now + DEVICE_LIFETIME));
	if (rc == 0)
		rc = set_subject(crt, name, role_name(role));
	if (rc == 0)
		rc = copy_key(crt, subject);
	if (rc == 0)
		rc = gnutls_x509_crt_set_basic_constraints(crt, admin, admin ? 0 : -1);
	if (rc == 0)
		rc = gnutls_x509_crt_set_key_usage(
			crt, GNUTLS_KEY_DIGITAL_SIGNATURE |
				     (admin ? (unsigned)GNUTLS_KEY_KEY_CERT_SIGN : 0u));
	if (rc == 0)
		rc = finish(crt, issuer, issuer_key);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot make the device's certificate");
	*ret = TAKE_PTR(crt);
	return 0;
}

int cert_decode(const void *der, size_t len, gnutls_x509_crt_t *ret, struct err *e)
{
	if (len == 0 || len > CERT_MAX)
		return err_set(e, -EBADMSG, "a certificate of %zu bytes is refused", len);
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t d = { (unsigned char *)(uintptr_t)der, (unsigned)len };
	int rc = gnutls_x509_crt_init(&crt);
	if (rc == 0)
		rc = gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_DER);
	if (rc < 0)
		return err_set(e, rc == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EBADMSG,
			       "a certificate cannot be read: %s", gnutls_strerror(rc));
	*ret = TAKE_PTR(crt);
	return 0;
}

int cert_fingerprint(gnutls_x509_crt_t crt, struct sha256 *ret)
{
	struct sha256 h;
	size_t len = sizeof(h.b);
	int rc = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, h.b, &len);
	if (rc < 0 || len != sizeof(h.b))
		return -EBADMSG;
	*ret = h;
	return 0;
}

bool cert_is_ed25519(gnutls_x509_crt_t crt)
{
	return gnutls_x509_crt_get_pk_algorithm(crt, NULL) == GNUTLS_PK_EDDSA_ED25519;
}

int cert_device_id(gnutls_x509_crt_t crt, struct id *ret)
{
	struct sha256 h;
	int r = cert_fingerprint(crt, &h);
	if (r < 0)
		return r;
	memcpy(ret->b, h.b, ID_SIZE);
	return 0;
}

/* The only value of an attribute of the subject. GnuTLS escapes what it prints (RFC 4514),
 * so the raw value is taken: a UTF8String or PrintableString of at most 64 bytes. */
static int subject_text(gnutls_x509_crt_t crt, const char *oid, char ret[static NAME_SIZE])
{
	uint8_t raw[NAME_LIMIT + 8];
	size_t len = sizeof(raw);
	if (gnutls_x509_crt_get_dn_by_oid(crt, oid, 0, 1, raw, &len) < 0)
		return -EBADMSG;
	uint8_t more[NAME_LIMIT + 8];
	size_t more_len = sizeof(more);
	if (gnutls_x509_crt_get_dn_by_oid(crt, oid, 1, 1, more, &more_len) !=
	    GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return -EBADMSG;
	/* Tag, then one length byte: 64 needs no long form. */
	if (len < 3 || (raw[0] != 0x0c && raw[0] != 0x13) || raw[1] != len - 2 ||
	    !name_ok((const char *)raw + 2, len - 2))
		return -EBADMSG;
	memcpy(ret, raw + 2, len - 2);
	ret[len - 2] = 0;
	return 0;
}

int cert_name(gnutls_x509_crt_t crt, char ret[static NAME_SIZE])
{
	return subject_text(crt, GNUTLS_OID_X520_COMMON_NAME, ret);
}

int cert_verify_root(gnutls_x509_crt_t root, struct err *e)
{
	unsigned critical, ca;
	char name[NAME_SIZE];
	unsigned status = 0;
	if (!cert_is_ed25519(root) || cert_name(root, name) < 0 ||
	    gnutls_x509_crt_get_basic_constraints(root, &critical, &ca, NULL) < 0 || !ca)
		return err_set(e, -EKEYREJECTED, "the mesh's root certificate is not one of ours");
	int rc = gnutls_x509_crt_verify(root, &root, 1,
					GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status);
	if (rc < 0 || status != 0 || !gnutls_x509_crt_check_issuer(root, root))
		return err_set(e, -EKEYREJECTED,
			       "the mesh's root certificate is not signed by its own key");
	return 0;
}

static void date_text(int64_t t, char text[static 32])
{
	struct tm tm;
	time_t tt = (time_t)t;
	if (!gmtime_r(&tt, &tm) || strftime(text, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		snprintf(text, 32, "%lld", (long long)t);
}

static int check_times(gnutls_x509_crt_t crt, int64_t now, struct err *e)
{
	time_t from = gnutls_x509_crt_get_activation_time(crt);
	time_t to = gnutls_x509_crt_get_expiration_time(crt);
	char when[32], clock[32];
	if (from == (time_t)-1 || to == (time_t)-1)
		return err_set(e, -EKEYREJECTED, "the certificate's dates cannot be read");
	date_text(now, clock);
	if (now < (int64_t)from) {
		date_text((int64_t)from, when);
		return err_set(e, -EKEYEXPIRED,
			       "the certificate is not valid before %s and this clock says %s: "
			       "check both clocks",
			       when, clock);
	}
	if (now > (int64_t)to) {
		date_text((int64_t)to, when);
		return err_set(e, -EKEYEXPIRED,
			       "the certificate expired on %s and this clock says %s: check the "
			       "clock, or invite the device anew",
			       when, clock);
	}
	return 0;
}

static int check_signatures(const gnutls_x509_crt_t *chain, unsigned n, gnutls_x509_crt_t root,
			    struct err *e)
{
	/* A list of one root: the system's trust store never has a say. */
	gnutls_x509_trust_list_t list = NULL;
	gnutls_x509_crt_t copy[CERT_CHAIN_MAX];
	unsigned status = 0;
	int rc = gnutls_x509_trust_list_init(&list, 1);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot verify a certificate");
	memcpy(copy, chain, n * sizeof(*chain));
	if (gnutls_x509_trust_list_add_cas(list, &root, 1, 0) != 1)
		rc = GNUTLS_E_MEMORY_ERROR;
	if (rc == 0)
		rc = gnutls_x509_trust_list_verify_crt2(list, copy, n, NULL, 0,
							GNUTLS_VERIFY_DISABLE_TIME_CHECKS |
								GNUTLS_VERIFY_DO_NOT_ALLOW_SAME,
							&status, NULL);
	gnutls_x509_trust_list_deinit(list, 0);
	if (rc < 0)
		return err_set(e, -EKEYREJECTED, "the certificate cannot be verified: %s",
			       gnutls_strerror(rc));
	if (status != 0)
		return err_set(e, -EKEYREJECTED, "the certificate is not of this mesh");
	return 0;
}

int cert_verify(const gnutls_x509_crt_t *chain, unsigned n, gnutls_x509_crt_t root, int64_t now,
		struct cert_info *ret, struct err *e)
{
	if (n == 0)
		return err_set(e, -EKEYREJECTED, "the peer has no certificate");
	if (n > CERT_CHAIN_MAX)
		return err_set(e, -EKEYREJECTED, "a chain of %u certificates is refused", n);
	for (unsigned i = 0; i < n; i++)
		if (!cert_is_ed25519(chain[i]))
			return err_set(e, -EKEYREJECTED, "the certificate is not of this mesh");
	int r = check_signatures(chain, n, root, e);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = check_times(chain[i], now, e);
	if (r < 0)
		return r;

	struct cert_info info;
	char role[NAME_SIZE];
	if (cert_device_id(chain[0], &info.device) < 0 || cert_name(chain[0], info.name) < 0 ||
	    subject_text(chain[0], GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, role) < 0 ||
	    role_parse(role, &info.role) < 0)
		return err_set(e, -EKEYREJECTED, "the certificate names no device of a mesh");
	if (info.role == ROLE_ADMIN && n != 1)
		return err_set(e, -EKEYREJECTED,
			       "the certificate makes an admin, but the root did not issue it");
	info.not_before = (int64_t)gnutls_x509_crt_get_activation_time(chain[0]);
	info.not_after = (int64_t)gnutls_x509_crt_get_expiration_time(chain[0]);
	*ret = info;
	return 0;
}
