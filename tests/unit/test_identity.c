/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/members.h"
#include "tests/tap.h"
#include "transports/cert.h"
#include "transports/identity.h"
#include "transports/invite.h"

#define NOW INT64_C(1750000000)
#define DAY INT64_C(86400)
#define YEAR (365 * DAY)

static unsigned count_lax_files(const char *dir)
{
	unsigned lax = 0;
	DIR *d = opendir(dir);
	struct dirent *de;
	struct stat st;
	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.' && fstatat(dirfd(d), de->d_name, &st, 0) == 0 &&
		    (st.st_mode & 077))
			lax++;
	if (d)
		closedir(d);
	return lax;
}

static void making(void)
{
	struct err e = { 0 };
	struct stat st;
	_cleanup_(identity_freep) struct identity *a = NULL, *b = NULL;
	const char *dir = tap_path("a");
	umask(0);
	is_int(identity_create(dir, "Grüße, \"Familie\"=1", "anna's laptop, big", NOW, &e), 0,
	       "a mesh is made: %s", e.message);
	is_int(identity_open(dir, &a, &e), 0, "and opened: %s", e.message);
	if (!a)
		tap_bail("no identity");
	is_str(identity_mesh_name(a), "Grüße, \"Familie\"=1", "the mesh's name comes back");
	is_str(identity_device_name(a), "anna's laptop, big", "the device's name comes back");
	is_int(identity_role(a), ROLE_ADMIN, "the first device is an admin");
	ok(identity_can_invite(a), "and may invite");
	ok(!id_is_zero(identity_device(a)) && !id_equal(identity_device(a), identity_mesh(a)),
	   "device and mesh have ids");
	ok(stat(dir, &st) == 0 && (st.st_mode & 07777) == 0700, "the directory is private");
	is_uint(count_lax_files(dir), 0, "so is every file");
	is_errno(identity_create(dir, "x", "y", NOW, &e), -EEXIST, "it is never overwritten");
	is_errno(identity_create(tap_path("bad"), "x", "a\nb", NOW, &e), -EINVAL,
		 "a name with a newline is refused");
	is_errno(identity_open(tap_path("none"), &b, &e), -ENOENT, "no identity: %s", e.message);
	int64_t from, to;
	identity_validity(a, &from, &to);
	ok(from == NOW - DAY && to == NOW + 20 * YEAR, "valid from a day ago, for 20 years");
}

static void tampering(void)
{
	struct err e = { 0 };
	struct identity *a = NULL;
	char from[600], to[600];
	identity_create(tap_path("t"), "m", "d", NOW, NULL);
	identity_create(tap_path("u"), "m", "d", NOW, NULL);
	snprintf(from, sizeof(from), "%s/device.key", tap_path("t"));
	chmod(from, 0640);
	is_errno(identity_open(tap_path("t"), &a, &e), -EPERM, "a key others may read: %s", e.message);
	chmod(from, 0600);
	chmod(tap_path("t"), 0755);
	is_errno(identity_open(tap_path("t"), &a, &e), -EPERM, "an open directory: %s", e.message);
	chmod(tap_path("t"), 0700);
	snprintf(to, sizeof(to), "%s/device.key", tap_path("u"));
	rename(from, to);
	is_errno(identity_open(tap_path("u"), &a, &e), -EBADMSG, "another device's key: %s", e.message);
	is_errno(identity_open(tap_path("t"), &a, &e), -ENOENT, "a missing key: %s", e.message);
	int fd = open(from, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, "garbage", 7) != 7)
		tap_bail("cannot write");
	close(fd);
	is_errno(identity_open(tap_path("t"), &a, &e), -EBADMSG, "a garbled key: %s", e.message);
}

static int verify(const struct identity *who, const struct identity *by, int64_t now,
		  struct cert_info *ret, struct err *e)
{
	gnutls_x509_crt_t chain[2];
	unsigned n = identity_chain(who, chain);
	return cert_verify(chain, n, identity_root(by), now, ret, e);
}

static void issuing(void)
{
	struct err e = { 0 };
	struct cert_info info;
	_cleanup_(identity_freep) struct identity *root = NULL, *other = NULL, *admin = NULL,
						  *member = NULL, *second = NULL;
	identity_open(tap_path("a"), &root, NULL);
	identity_create(tap_path("o"), "Grüße, \"Familie\"=1", "o", NOW, NULL);
	identity_open(tap_path("o"), &other, NULL);

	member = member_new(root, tap_path("m"), "member", ROLE_MEMBER, NOW, &e);
	admin = member_new(root, tap_path("ad"), "admin", ROLE_ADMIN, NOW, &e);
	if (!member || !admin || !other)
		tap_bail("cannot admit: %s", e.message);
	ok(id_equal(identity_mesh(member), identity_mesh(root)), "a member is of the same mesh");
	is_str(identity_mesh_name(member), identity_mesh_name(root), "and knows its name");
	ok(memcmp(identity_secret(member), identity_secret(root), IDENTITY_SECRET_SIZE) == 0,
	   "and its secret");
	ok(verify(member, root, NOW, &info, &e) == 0 &&
		   id_equal(&info.device, identity_device(member)) && info.role == ROLE_MEMBER &&
		   strcmp(info.name, "member") == 0,
	   "its certificate says who it is");
	second = member_new(admin, tap_path("s"), "second", ROLE_READER, NOW, &e);
	ok(second && verify(second, root, NOW, &info, &e) == 0 && info.role == ROLE_READER,
	   "an admin's invitee is verified through the admin's certificate: %s", e.message);
	ok(!identity_can_invite(member), "a member may not invite");
	ok(!member_new(admin, tap_path("x"), "x", ROLE_ADMIN, NOW, &e) && e.code == -EPERM,
	   "an admin may not make admins: %s", e.message);
	is_errno(verify(member, other, NOW, &info, &e), -EKEYREJECTED, "another mesh: %s",
		 e.message);
	is_errno(verify(member, root, NOW + 21 * YEAR, &info, &e), -EKEYEXPIRED, "expired: %s",
		 e.message);
	is_errno(verify(member, root, NOW - 2 * DAY, &info, &e), -EKEYEXPIRED, "not yet valid: %s",
		 e.message);
	is_int(verify(member, root, NOW - DAY + 60, &info, &e), 0, "a clock almost a day behind");

	/* Certificates that somebody forged with the keys they have. */
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t bare = NULL, forged = NULL,
							     promoted = NULL;
	_cleanup_(gnutls_x509_privkey_deinitp) gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t own[2];
	cert_key_new(&key, NULL);
	cert_make_bare(key, NOW, &bare, NULL);
	is_errno(cert_verify(&bare, 1, identity_root(root), NOW, &info, &e), -EKEYREJECTED,
		 "self-signed: %s", e.message);
	identity_chain(member, own);
	cert_make_device(bare, "f", ROLE_MEMBER, own[0], identity_key(member), NOW, &forged, NULL);
	gnutls_x509_crt_t chain[3] = { forged, own[0], own[0] };
	is_errno(cert_verify(chain, 2, identity_root(root), NOW, &info, &e), -EKEYREJECTED,
		 "issued by a member: %s", e.message);
	is_errno(cert_verify(chain, 3, identity_root(root), NOW, &info, &e), -EKEYREJECTED,
		 "a longer chain");
	identity_chain(admin, own);
	cert_make_device(bare, "p", ROLE_ADMIN, own[0], identity_key(admin), NOW, &promoted, NULL);
	gnutls_x509_crt_t chain2[2] = { promoted, own[0] };
	is_errno(cert_verify(chain2, 2, identity_root(root), NOW, &info, &e), -EKEYREJECTED,
		 "an admin made by an admin: %s", e.message);
	gnutls_x509_crt_t self = identity_root(root);
	is_errno(cert_verify(&self, 1, identity_root(root), NOW, &info, &e), -EKEYREJECTED,
		 "the root itself as a device: %s", e.message);
}

static unsigned race(const char *dir, const struct id *id, unsigned n)
{
	unsigned won = 0;
	int gate[2];
	if (pipe(gate) < 0)
		tap_bail("pipe");
	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			tap_bail("fork");
		if (pid == 0) {
			struct invites *v = NULL;
			enum role role;
			char c;
			close(gate[1]);
			if (invites_open(dir, &v, NULL) < 0 || read(gate[0], &c, 1) != 0)
				_exit(2);
			_exit(invites_redeem(v, id, NOW, &role) == 0 ? 0 : 1);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (unsigned i = 0; i < n; i++) {
		int status;
		if (wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			won++;
	}
	return won;
}

static void invitations(void)
{
	struct err e = { 0 };
	_cleanup_(invites_freep) struct invites *v = NULL;
	uint8_t secret[TOKEN_SECRET_SIZE], other[TOKEN_SECRET_SIZE] = { 1 };
	struct id id, unknown;
	struct sha256 key, want;
	enum role role;
	const char *dir = tap_path("a");
	is_int(invites_open(dir, &v, &e), 0, "the registry opens: %s", e.message);
	ok(!invites_outstanding(v, NOW), "nothing is outstanding at first");
	is_int(invites_add(v, ROLE_READER, NOW + 60, 1, secret, &e), 0, "an invitation: %s",
	       e.message);
	invite_id(secret, &id);
	invite_id(other, &unknown);
	invite_key(secret, &want);
	ok(invites_outstanding(v, NOW), "it is outstanding");
	ok(invites_key(v, &id, NOW, &key) == 0 && sha256_cmp(&key, &want) == 0, "its key is found");
	is_errno(invites_key(v, &unknown, NOW, &key), -ENOENT, "an unknown one is not");
	ok(invites_redeem(v, &id, NOW, &role) == 0 && role == ROLE_READER, "it is redeemed");
	is_errno(invites_redeem(v, &id, NOW, &role), -EALREADY, "once");
	ok(!invites_outstanding(v, NOW), "then nothing is outstanding");

	unsigned one = 0, three = 0;
	for (unsigned i = 0; i < 10; i++) {
		invites_add(v, ROLE_MEMBER, NOW + 60, 1, secret, NULL);
		invite_id(secret, &id);
		one += race(dir, &id, 4);
	}
	is_uint(one, 10, "of four processes that race for one use, one gets it, ten times");
	invites_add(v, ROLE_MEMBER, NOW + 60, 3, secret, NULL);
	invite_id(secret, &id);
	three = race(dir, &id, 6);
	is_uint(three, 3, "of six that race for three uses, three");

	invites_add(v, ROLE_MEMBER, NOW + 60, 1, secret, NULL);
	invite_id(secret, &id);
	is_errno(invites_redeem(v, &id, NOW + 60, &role), -ENOENT, "an expired one is gone");
	invites_add(v, ROLE_MEMBER, NOW + 60, 1, secret, NULL);
	ok(!invites_outstanding(v, NOW + 61), "and not outstanding");
	char dirname[600];
	snprintf(dirname, sizeof(dirname), "%s/invites", dir);
	DIR *d = opendir(dirname);
	unsigned left = 0;
	for (struct dirent *de; d && (de = readdir(d));)
		left += de->d_name[0] != '.';
	if (d)
		closedir(d);
	is_uint(left, 0, "its file is removed");
	is_errno(invites_add(v, ROLE_MEMBER, NOW, 0, secret, NULL), -EINVAL, "no uses: refused");
}

int main(void)
{
	tap_plan(13 + 5 + 16 + 15);
	making();
	tampering();
	issuing();
	invitations();
	return tap_done();
}
