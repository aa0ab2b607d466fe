/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Invitation files
 * ================
 *
 * identity/invites/ID, where ID is 32 hexadecimal digits, the first 16 bytes of
 * SHA-256("shoal invite id" || secret). Text, exactly five lines:
 *
 *     shoal-invite 1
 *     key HEX              SHA-256("shoal invite key" || secret), the key of joiners' proofs
 *     expires SECONDS      since 1970
 *     uses N               left; 0 is kept until expiry so that "used already" can be told
 *     role ROLE
 *
 * A use is taken by rewriting the file (temporary, fsync, rename, fsync of the directory)
 * under an exclusive flock of the directory: of any number of joiners, in any number of
 * processes, exactly as many succeed as there are uses, and a crash can lose a use but
 * never give one twice.
 */
#include "transports/invite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/buf.h"
#include "transports/keyfile.h"

#define FILE_MAX 512

struct invites {
	int dirfd;
	int64_t looked; /* the second of the last look at all of them; -1: something changed */
	bool any;       /* what it found */
};

struct invite {
	struct sha256 key;
	int64_t expires;
	unsigned uses;
	enum role role;
};

static void hash_secret(const char *what, const uint8_t *secret, struct sha256 *ret)
{
	uint8_t in[64];
	size_t n = strlen(what);
	memcpy(in, what, n);
	memcpy(in + n, secret, TOKEN_SECRET_SIZE);
	sha256_of(in, n + TOKEN_SECRET_SIZE, ret);
	gnutls_memset(in, 0, sizeof(in));
}

void invite_id(const uint8_t secret[static TOKEN_SECRET_SIZE], struct id *ret)
{
	struct sha256 h;
	hash_secret("shoal invite id", secret, &h);
	memcpy(ret->b, h.b, ID_SIZE);
}

void invite_key(const uint8_t secret[static TOKEN_SECRET_SIZE], struct sha256 *ret)
{
	hash_secret("shoal invite key", secret, ret);
}

int invites_open(const char *identity_dir, struct invites **ret, struct err *e)
{
	_cleanup_close_ int parent = open(identity_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_errno(e, -errno, "cannot open %.150s", identity_dir);
	if (mkdirat(parent, "invites", 0700) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "cannot make %.150s/invites", identity_dir);
	_cleanup_close_ int fd =
		openat(parent, "invites", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "cannot open %.150s/invites", identity_dir);
	struct invites *v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->dirfd = TAKE_FD(fd);
	v->looked = -1;
	*ret = v;
	return 0;
}

void invites_free(struct invites *v)
{
	if (!v)
		return;
	close(v->dirfd);
	free(v);
}

/* A lock of its own open file, so that two struct invites of one process exclude each other
 * as well. */
static int lock(const struct invites *v)
{
	int fd = openat(v->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			int r = -errno;
			close(fd);
			return r;
		}
	return fd;
}

static void hex(const struct sha256 *h, char text[static 2 * SHA256_SIZE + 1])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		text[2 * i] = digits[h->b[i] >> 4];
		text[2 * i + 1] = digits[h->b[i] & 15];
	}
	text[2 * (size_t)SHA256_SIZE] = 0;
}

static int save(const struct invites *v, const char *name, const struct invite *in, struct err *e)
{
	char key[2 * SHA256_SIZE + 1];
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	buf_reserve(&b, FILE_MAX);
	hex(&in->key, key);
	buf_putf(&b, "shoal-invite 1\nkey %s\nexpires %" PRId64 "\nuses %u\nrole %s\n", key,
		 in->expires, in->uses, role_name(in->role));
	gnutls_memset(key, 0, sizeof(key));
	if (buf_failed(&b))
		return err_set(e, -ENOMEM, "out of memory");
	return keyfile_write(v->dirfd, name, b.data, b.len, e);
}

static int load(const struct invites *v, const char *name, struct invite *ret)
{
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	int r = keyfile_read(v->dirfd, name, FILE_MAX, &b, NULL);
	if (r < 0)
		return r;
	char *text = buf_cstr(&b);
	char key[2 * SHA256_SIZE + 1] = "", role[16] = "";
	struct invite in = { 0 };
	int end = 0;
	if (!text ||
	    sscanf(text, "shoal-invite 1\nkey %64[0-9a-f]\nexpires %" SCNd64 "\nuses %4u\nrole %15[a-z]\n%n",
		   key, &in.expires, &in.uses, role, &end) != 4 ||
	    end <= 0 || (size_t)end != b.len || in.uses > INVITE_USES_MAX ||
	    role_parse(role, &in.role) < 0 || strlen(key) != 2 * SHA256_SIZE)
		return -EBADMSG;
	struct id half;
	for (size_t i = 0; i < 2; i++) {
		if (id_parse(key + i * 2 * ID_SIZE, 2 * (size_t)ID_SIZE, &half) < 0)
			return -EBADMSG;
		memcpy(in.key.b + i * ID_SIZE, half.b, ID_SIZE);
	}
	gnutls_memset(key, 0, sizeof(key));
	*ret = in;
	return 0;
}

int invites_add(struct invites *v, enum role role, int64_t expires, unsigned uses,
		uint8_t ret_secret[static TOKEN_SECRET_SIZE], struct err *e)
{
	if (uses == 0 || uses > INVITE_USES_MAX)
		return err_set(e, -EINVAL, "an invitation is good for 1 to %d uses", INVITE_USES_MAX);
	uint8_t secret[TOKEN_SECRET_SIZE];
	if (gnutls_rnd(GNUTLS_RND_KEY, secret, sizeof(secret)) < 0)
		return err_set(e, -EIO, "no random bytes");
	struct id id;
	struct invite in = { .expires = expires, .uses = uses, .role = role };
	char name[ID_HEX];
	invite_id(secret, &id);
	invite_key(secret, &in.key);
	v->looked = -1;
	_cleanup_close_ int fd = lock(v);
	if (fd < 0)
		return err_errno(e, fd, "cannot lock the invitations");
	int r = save(v, id_hex(&id, name), &in, e);
	if (r == 0)
		memcpy(ret_secret, secret, sizeof(secret));
	gnutls_memset(secret, 0, sizeof(secret));
	return r;
}

bool invites_outstanding(struct invites *v, int64_t now)
{
	/* Asked for every stranger who connects: once a second the disk is looked at. */
	if (now == v->looked)
		return v->any;
	_cleanup_close_ int fd = lock(v);
	if (fd < 0)
		return false;
	DIR *dir = fdopendir(dup(fd));
	if (!dir)
		return false;
	rewinddir(dir);
	bool any = false;
	struct dirent *de;
	while ((de = readdir(dir))) {
		struct id id;
		struct invite in;
		if (id_parse(de->d_name, strlen(de->d_name), &id) < 0 ||
		    load(v, de->d_name, &in) < 0)
			continue;
		if (now >= in.expires)
			(void)keyfile_remove(v->dirfd, de->d_name);
		else if (in.uses > 0)
			any = true;
	}
	closedir(dir);
	v->looked = now;
	v->any = any;
	return any;
}

static int find(const struct invites *v, const char *name, int64_t now, struct invite *ret)
{
	int r = load(v, name, ret);
	if (r < 0)
		return r;
	if (now >= ret->expires) {
		(void)keyfile_remove(v->dirfd, name);
		return -ENOENT;
	}
	return ret->uses > 0 ? 0 : -EALREADY;
}

int invites_key(struct invites *v, const struct id *id, int64_t now, struct sha256 *ret)
{
	char name[ID_HEX];
	struct invite in;
	_cleanup_close_ int fd = lock(v);
	if (fd < 0)
		return fd;
	int r = find(v, id_hex(id, name), now, &in);
	if (r == 0)
		*ret = in.key;
	return r;
}

int invites_redeem(struct invites *v, const struct id *id, int64_t now, enum role *ret_role)
{
	char name[ID_HEX];
	struct invite in;
	v->looked = -1;
	_cleanup_close_ int fd = lock(v);
	if (fd < 0)
		return fd;
	int r = find(v, id_hex(id, name), now, &in);
	if (r < 0)
		return r;
	in.uses--;
	r = save(v, name, &in, NULL);
	if (r == 0)
		*ret_role = in.role;
	return r;
}
