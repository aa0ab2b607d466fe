/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transports/cert.h"
#include "transports/keyfile.h"

#define PEM_MAX 16384

struct identity {
	char *dir;
	struct cert_info info; /* of the device */
	struct id mesh;
	struct sha256 fingerprint;
	char mesh_name[NAME_SIZE];
	gnutls_x509_privkey_t key;
	gnutls_x509_privkey_t root_key; /* NULL: not on this device */
	gnutls_x509_crt_t root;
	gnutls_x509_crt_t chain[CERT_CHAIN_MAX];
	unsigned chain_len;
	uint8_t secret[IDENTITY_SECRET_SIZE];
};

void identity_free(struct identity *i)
{
	if (!i)
		return;
	for (unsigned k = 0; k < i->chain_len; k++)
		gnutls_x509_crt_deinit(i->chain[k]);
	if (i->root)
		gnutls_x509_crt_deinit(i->root);
	if (i->key)
		gnutls_x509_privkey_deinit(i->key);
	if (i->root_key)
		gnutls_x509_privkey_deinit(i->root_key);
	gnutls_memset(i->secret, 0, sizeof(i->secret));
	free(i->dir);
	free(i);
}

/* ---- writing ---- */

static int write_key(int dirfd, const char *name, gnutls_x509_privkey_t key, struct err *e)
{
	gnutls_datum_t pem = { 0 };
	int rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
						   GNUTLS_PKCS_PLAIN, &pem);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot encode a key");
	int r = keyfile_write(dirfd, name, pem.data, pem.size, e);
	gnutls_memset(pem.data, 0, pem.size);
	gnutls_free(pem.data);
	return r;
}

static int write_chain(int dirfd, const char *name, const gnutls_x509_crt_t *crt, unsigned n,
		       struct err *e)
{
	_cleanup_(buf_done) struct buf all = { 0 };
	for (unsigned i = 0; i < n; i++) {
		gnutls_datum_t pem = { 0 };
		int rc = gnutls_x509_crt_export2(crt[i], GNUTLS_X509_FMT_PEM, &pem);
		if (rc < 0)
			return cert_gnutls_error(e, rc, "cannot encode a certificate");
		buf_put(&all, pem.data, pem.size);
		gnutls_free(pem.data);
	}
	if (buf_failed(&all))
		return err_set(e, -ENOMEM, "out of memory");
	return keyfile_write(dirfd, name, all.data, all.len, e);
}

struct parts {
	gnutls_x509_privkey_t key;
	gnutls_x509_privkey_t root_key;
	gnutls_x509_crt_t root;
	const gnutls_x509_crt_t *chain;
	unsigned chain_len;
	const uint8_t *secret;
};

static int write_parts(int dirfd, const struct parts *p, struct err *e)
{
	int r = write_key(dirfd, "device.key", p->key, e);
	if (r == 0 && p->root_key)
		r = write_key(dirfd, "root.key", p->root_key, e);
	if (r == 0)
		r = write_chain(dirfd, "device.crt", p->chain, p->chain_len, e);
	if (r == 0)
		r = write_chain(dirfd, "root.crt", &p->root, 1, e);
	if (r == 0)
		r = keyfile_write(dirfd, "mesh.secret", p->secret, IDENTITY_SECRET_SIZE, e);
	if (r == 0 && mkdirat(dirfd, "invites", 0700) < 0)
		r = err_errno(e, -errno, "cannot make the invites directory");
	if (r == 0 && fsync(dirfd) < 0)
		r = err_errno(e, -errno, "cannot write the identity");
	return r;
}

static void remove_parts(const char *path)
{
	static const char *const names[] = { "device.key", "root.key", "device.crt", "root.crt",
					     "mesh.secret" };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char temp[64];
		snprintf(temp, sizeof(temp), ".%s.new", names[i]);
		(void)unlinkat(fd, temp, 0);
		(void)unlinkat(fd, names[i], 0);
	}
	(void)unlinkat(fd, "invites", AT_REMOVEDIR);
	(void)rmdir(path);
}

static int sync_parent(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	char *slash = strrchr(copy, '/');
	const char *parent = ".";
	if (slash) {
		*slash = 0;
		parent = *copy ? copy : "/";
	}
	_cleanup_close_ int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

/* The directory is filled under another name, so that an identity is there whole or not. */
static int store(const char *dir, const struct parts *p, struct err *e)
{
	char temp[PATH_MAX];
	size_t len = strlen(dir);
	while (len > 1 && dir[len - 1] == '/')
		len--;
	int n = snprintf(temp, sizeof(temp), "%.*s.new", (int)len, dir);
	if (n < 0 || (size_t)n >= sizeof(temp))
		return err_set(e, -ENAMETOOLONG, "the path of the identity directory is too long");
	struct stat st;
	if (lstat(dir, &st) == 0)
		return err_set(e, -EEXIST, "%.150s is there already: this store has an identity",
			       dir);

	remove_parts(temp);
	if (mkdir(temp, 0700) < 0)
		return err_errno(e, -errno, "cannot make %.150s", temp);
	int r;
	{
		_cleanup_close_ int fd = open(temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? err_errno(e, -errno, "cannot open %.150s", temp)
			   : write_parts(fd, p, e);
	}
	if (r == 0 && renameat2(AT_FDCWD, temp, AT_FDCWD, dir, RENAME_NOREPLACE) < 0) {
		r = -errno;
		/* File systems without RENAME_NOREPLACE: rename replaces only an empty directory. */
		if (r == -EINVAL && rename(temp, dir) == 0)
			r = 0;
		if (r < 0)
			err_errno(e, r, "cannot make %.150s", dir);
	}
	if (r == 0) {
		r = sync_parent(dir);
		if (r < 0)
			err_errno(e, r, "cannot make %.150s durable", dir);
		return r;
	}
	remove_parts(temp);
	return r;
}

int identity_create(const char *dir, const char *mesh, const char *device, int64_t now,
		    struct err *e)
{
	if (!name_ok(mesh, strlen(mesh)))
		return err_set(e, -EINVAL,
			       "a mesh's name has 1 to %d bytes of UTF-8 without control characters",
			       NAME_LIMIT);
	_cleanup_(gnutls_x509_privkey_deinitp) gnutls_x509_privkey_t root_key = NULL, key = NULL;
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t root = NULL, bare = NULL, crt = NULL;
	uint8_t secret[IDENTITY_SECRET_SIZE];

	int r = cert_key_new(&root_key, e);
	if (r == 0)
		r = cert_key_new(&key, e);
	if (r == 0)
		r = cert_make_root(root_key, mesh, now, &root, e);
	if (r == 0)
		r = cert_make_bare(key, now, &bare, e);
	if (r == 0)
		r = cert_make_device(bare, device, ROLE_ADMIN, root, root_key, now, &crt, e);
	if (r < 0)
		return r;
	int rc = gnutls_rnd(GNUTLS_RND_KEY, secret, sizeof(secret));
	if (rc < 0)
		return cert_gnutls_error(e, rc, "no random bytes");
	const struct parts p = {
		.key = key,
		.root_key = root_key,
		.root = root,
		.chain = &crt,
		.chain_len = 1,
		.secret = secret,
	};
	r = store(dir, &p, e);
	gnutls_memset(secret, 0, sizeof(secret));
	return r;
}

int identity_create_joined(const char *dir, const struct identity_joined *j, int64_t now,
			   struct err *e)
{
	if (j->chain_len == 0 || j->chain_len > CERT_CHAIN_MAX)
		return err_set(e, -EBADMSG, "a chain of %u certificates is refused", j->chain_len);
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t root = NULL, bare = NULL, c0 = NULL,
							     c1 = NULL;
	int r = cert_decode(j->root.der, j->root.len, &root, e);
	if (r == 0)
		r = cert_decode(j->chain[0].der, j->chain[0].len, &c0, e);
	if (r == 0 && j->chain_len > 1)
		r = cert_decode(j->chain[1].der, j->chain[1].len, &c1, e);
	if (r == 0)
		r = cert_verify_root(root, e);
	gnutls_x509_crt_t chain[CERT_CHAIN_MAX] = { c0, c1 };
	struct cert_info info;
	if (r == 0)
		r = cert_verify(chain, j->chain_len, root, now, &info, e);
	if (r == 0)
		r = cert_make_bare(j->key, now, &bare, e);
	if (r < 0)
		return r;
	struct id own;
	if (cert_device_id(bare, &own) < 0 || !id_equal(&own, &info.device))
		return err_set(e, -EKEYREJECTED, "the certificate is for another device's key");
	const struct parts p = {
		.key = j->key,
		.root = root,
		.chain = chain,
		.chain_len = j->chain_len,
		.secret = j->secret,
	};
	return store(dir, &p, e);
}

/* ---- reading ---- */

static int read_key(int dirfd, const char *name, gnutls_x509_privkey_t *ret, struct err *e)
{
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	int r = keyfile_read(dirfd, name, PEM_MAX, &b, e);
	if (r < 0)
		return r;
	_cleanup_(gnutls_x509_privkey_deinitp) gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t d = { b.data, (unsigned)b.len };
	int rc = gnutls_x509_privkey_init(&key);
	if (rc == 0)
		rc = gnutls_x509_privkey_import2(key, &d, GNUTLS_X509_FMT_PEM, NULL,
						 GNUTLS_PKCS_PLAIN);
	if (rc < 0 || gnutls_x509_privkey_get_pk_algorithm(key) != GNUTLS_PK_EDDSA_ED25519)
		return err_set(e, -EBADMSG, "%s does not hold an Ed25519 key", name);
	*ret = TAKE_PTR(key);
	return 0;
}

static int read_certs(int dirfd, const char *name, gnutls_x509_crt_t *ret, unsigned max,
		      unsigned *ret_n, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = keyfile_read(dirfd, name, PEM_MAX, &b, e);
	if (r < 0)
		return r;
	gnutls_datum_t d = { b.data, (unsigned)b.len };
	unsigned n = max;
	int rc = gnutls_x509_crt_list_import(ret, &n, &d, GNUTLS_X509_FMT_PEM,
					     GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
	if (rc <= 0)
		return err_set(e, -EBADMSG, "%s does not hold what it should: %s", name,
			       rc < 0 ? gnutls_strerror(rc) : "no certificate");
	*ret_n = (unsigned)rc;
	return 0;
}

static int read_secret(int dirfd, uint8_t ret[static IDENTITY_SECRET_SIZE], struct err *e)
{
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	int r = keyfile_read(dirfd, "mesh.secret", IDENTITY_SECRET_SIZE, &b, e);
	if (r < 0)
		return r;
	if (b.len != IDENTITY_SECRET_SIZE)
		return err_set(e, -EBADMSG, "mesh.secret has %zu bytes instead of %d", b.len,
			       IDENTITY_SECRET_SIZE);
	memcpy(ret, b.data, IDENTITY_SECRET_SIZE);
	return 0;
}

static int key_matches(gnutls_x509_privkey_t key, gnutls_x509_crt_t crt)
{
	uint8_t id[SHA256_SIZE];
	size_t len = sizeof(id);
	struct sha256 h;
	if (gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, id, &len) < 0 ||
	    len != sizeof(id) || cert_fingerprint(crt, &h) < 0)
		return -EBADMSG;
	return memcmp(id, h.b, sizeof(id)) == 0 ? 0 : -EBADMSG;
}

static int read_all(int dirfd, struct identity *i, struct err *e)
{
	unsigned n;
	int r = read_certs(dirfd, "root.crt", &i->root, 1, &n, e);
	if (r == 0)
		r = read_certs(dirfd, "device.crt", i->chain, CERT_CHAIN_MAX, &i->chain_len, e);
	if (r == 0)
		r = read_key(dirfd, "device.key", &i->key, e);
	if (r == 0)
		r = read_secret(dirfd, i->secret, e);
	if (r == 0 && faccessat(dirfd, "root.key", F_OK, 0) == 0)
		r = read_key(dirfd, "root.key", &i->root_key, e);
	if (r == 0)
		r = cert_verify_root(i->root, e);
	if (r < 0)
		return r;
	/* Dates are for the peers to judge, and for status: a store must open in any year. */
	int64_t from = (int64_t)gnutls_x509_crt_get_activation_time(i->chain[0]);
	for (unsigned k = 1; k < i->chain_len; k++) {
		int64_t t = (int64_t)gnutls_x509_crt_get_activation_time(i->chain[k]);
		from = t > from ? t : from;
	}
	r = cert_verify(i->chain, i->chain_len, i->root, from, &i->info, e);
	if (r < 0)
		return r;
	if (key_matches(i->key, i->chain[0]) < 0)
		return err_set(e, -EBADMSG, "device.key and device.crt do not belong together");
	if (i->root_key && key_matches(i->root_key, i->root) < 0)
		return err_set(e, -EBADMSG, "root.key and root.crt do not belong together");
	if (cert_fingerprint(i->root, &i->fingerprint) < 0 || cert_name(i->root, i->mesh_name) < 0)
		return err_set(e, -EBADMSG, "root.crt is not a mesh's root certificate");
	memcpy(i->mesh.b, i->fingerprint.b, ID_SIZE);
	return 0;
}

int identity_open(const char *dir, struct identity **ret, struct err *e)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int code = -errno;
		if (code == -ENOENT)
			return err_set(e, code, "there is no identity at %.150s: run shoal init or "
						"shoal join", dir);
		return err_errno(e, code, "cannot open %.150s", dir);
	}
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(e, -errno, "cannot examine %.150s", dir);
	if (st.st_mode & 077)
		return err_set(e, -EPERM, "%.120s may be read by other users: chmod 700 it", dir);

	_cleanup_(identity_freep) struct identity *i = calloc(1, sizeof(*i));
	if (!i || !(i->dir = strdup(dir)))
		return err_set(e, -ENOMEM, "out of memory");
	int r = read_all(fd, i, e);
	if (r < 0) {
		err_prefix(e, "the identity at %.80s", dir);
		return r;
	}
	*ret = TAKE_PTR(i);
	return 0;
}

/* ---- accessors ---- */

const struct id *identity_device(const struct identity *i)
{
	return &i->info.device;
}

const struct id *identity_mesh(const struct identity *i)
{
	return &i->mesh;
}

const char *identity_device_name(const struct identity *i)
{
	return i->info.name;
}

const char *identity_mesh_name(const struct identity *i)
{
	return i->mesh_name;
}

enum role identity_role(const struct identity *i)
{
	return i->info.role;
}

const struct sha256 *identity_root_fingerprint(const struct identity *i)
{
	return &i->fingerprint;
}

const char *identity_dir(const struct identity *i)
{
	return i->dir;
}

void identity_validity(const struct identity *i, int64_t *ret_not_before, int64_t *ret_not_after)
{
	*ret_not_before = i->info.not_before;
	*ret_not_after = i->info.not_after;
}

bool identity_can_invite(const struct identity *i)
{
	return i->root_key || i->info.role == ROLE_ADMIN;
}

const uint8_t *identity_secret(const struct identity *i)
{
	return i->secret;
}

struct gnutls_x509_privkey_int *identity_key(const struct identity *i)
{
	return i->key;
}

struct gnutls_x509_crt_int *identity_root(const struct identity *i)
{
	return i->root;
}

unsigned identity_chain(const struct identity *i, struct gnutls_x509_crt_int *ret[static 2])
{
	for (unsigned k = 0; k < i->chain_len; k++)
		ret[k] = i->chain[k];
	return i->chain_len;
}

static int append_der(struct buf *b, gnutls_x509_crt_t crt)
{
	gnutls_datum_t der = { 0 };
	int rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der);
	if (rc < 0)
		return -EIO;
	buf_put(b, der.data, der.size);
	gnutls_free(der.data);
	return buf_failed(b) ? -ENOMEM : 0;
}

int identity_issue(const struct identity *i, struct gnutls_x509_crt_int *subject, const char *name,
		   enum role role, int64_t now, struct buf chain[static 2], unsigned *ret_n,
		   struct err *e)
{
	if (!identity_can_invite(i))
		return err_set(e, -EPERM, "this device is no admin: ask one to invite");
	if (!i->root_key && role == ROLE_ADMIN)
		return err_set(e, -EPERM, "only the device that made the mesh can invite an admin");
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t crt = NULL;
	int r = cert_make_device(subject, name, role, i->root_key ? i->root : i->chain[0],
				 i->root_key ? i->root_key : i->key, now, &crt, e);
	if (r < 0)
		return r;
	r = append_der(&chain[0], crt);
	if (r == 0 && !i->root_key)
		r = append_der(&chain[1], i->chain[0]);
	if (r < 0)
		return err_errno(e, r, "cannot issue a certificate");
	*ret_n = i->root_key ? 1 : 2;
	return 0;
}
