/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Who this device is: the contents of a store's identity/ directory.
 *
 * An identity does not change once it is open, so any thread may read it. Keys never leave
 * it but to GnuTLS, and are cleared when it is freed. The files:
 *
 *     device.key   the device's Ed25519 key, PKCS #8 PEM
 *     device.crt   its certificate chain (device, then the admin that issued it, if one did), PEM
 *     root.crt     the mesh's root certificate, PEM
 *     root.key     the mesh's root key, PKCS #8 PEM; only on the device that made the mesh
 *     mesh.secret  32 bytes that every member has: keys of the discovery beacons
 *     invites/     outstanding invitations, see invite.h
 *
 * The directory has mode 0700, files 0600. It appears whole (made beside, then renamed).
 * Names and the role are in the certificates and nowhere else. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/id.h"
#include "engine/sha256.h"
#include "transports/name.h"

#define IDENTITY_SECRET_SIZE 32

struct gnutls_x509_crt_int;
struct gnutls_x509_privkey_int;
struct identity;

/* Makes a mesh and its first device, an admin. dir is the identity directory to make; its
 * parent must exist. now in unix seconds. -EEXIST when dir is there already. */
int identity_create(const char *dir, const char *mesh, const char *device, int64_t now,
		    struct err *e);

/* Stores what joining brought: the key made for it (borrowed), the chain (device first) and
 * the root in DER, and the mesh's secret. Everything is verified first. */
struct identity_joined {
	struct gnutls_x509_privkey_int *key;
	struct {
		const uint8_t *der;
		size_t len;
	} chain[2], root;
	unsigned chain_len;
	const uint8_t *secret; /* IDENTITY_SECRET_SIZE bytes */
};
int identity_create_joined(const char *dir, const struct identity_joined *j, int64_t now,
			   struct err *e);

/* Opens the directory and checks that its parts belong together. An expired certificate is
 * not an error here. -ENOENT when there is no identity. */
int identity_open(const char *dir, struct identity **ret, struct err *e);
void identity_free(struct identity *i); /* clears the keys; accepts NULL */
DEFINE_CLEANUP(struct identity *, identity_free)

const struct id *identity_device(const struct identity *i);
const struct id *identity_mesh(const struct identity *i);
const char *identity_device_name(const struct identity *i);
const char *identity_mesh_name(const struct identity *i);
enum role identity_role(const struct identity *i);
const struct sha256 *identity_root_fingerprint(const struct identity *i);
const char *identity_dir(const struct identity *i);

/* The device certificate's validity, unix seconds. */
void identity_validity(const struct identity *i, int64_t *ret_not_before, int64_t *ret_not_after);

/* True when this device may issue certificates: it has the root key or is an admin. */
bool identity_can_invite(const struct identity *i);

/* The mesh secret, IDENTITY_SECRET_SIZE bytes, borrowed. */
const uint8_t *identity_secret(const struct identity *i);

/* For TLS; borrowed, of GnuTLS's own types. */
struct gnutls_x509_privkey_int *identity_key(const struct identity *i);
struct gnutls_x509_crt_int *identity_root(const struct identity *i);
unsigned identity_chain(const struct identity *i, struct gnutls_x509_crt_int *ret[static 2]);

/* Issues a certificate for the key in subject. chain[0..*ret_n) get DER appended, the new
 * device's certificate first; the caller ends with buf_done on both. -EPERM when this
 * device may not issue, or not with that role. */
int identity_issue(const struct identity *i, struct gnutls_x509_crt_int *subject, const char *name,
		   enum role role, int64_t now, struct buf chain[static 2], unsigned *ret_n,
		   struct err *e);
