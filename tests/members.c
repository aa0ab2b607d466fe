/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/members.h"

#include "transports/cert.h"

struct identity *member_new(const struct identity *by, const char *dir, const char *name,
			    enum role role, int64_t now, struct err *e)
{
	_cleanup_(gnutls_x509_privkey_deinitp) gnutls_x509_privkey_t key = NULL;
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t bare = NULL;
	struct buf chain[2] = { { 0 }, { 0 } };
	unsigned n = 0;
	gnutls_datum_t root = { 0 };
	struct identity *ret = NULL;
	if (cert_key_new(&key, e) == 0 && cert_make_bare(key, now, &bare, e) == 0 &&
	    identity_issue(by, bare, name, role, now, chain, &n, e) == 0) {
		gnutls_x509_crt_export2(identity_root(by), GNUTLS_X509_FMT_DER, &root);
		struct identity_joined j = {
			.key = key,
			.chain = { { chain[0].data, chain[0].len }, { chain[1].data, chain[1].len } },
			.root = { root.data, root.size },
			.chain_len = n,
			.secret = identity_secret(by),
		};
		if (identity_create_joined(dir, &j, now, e) == 0)
			identity_open(dir, &ret, e);
		gnutls_free(root.data);
	}
	buf_done(&chain[0]);
	buf_done(&chain[1]);
	return ret;
}
