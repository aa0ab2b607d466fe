/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS profile
 * ===========
 *
 * TLS 1.3 (RFC 8446) and nothing older. Cipher suites AES-256-GCM, ChaCha20-Poly1305,
 * AES-128-GCM; key exchange X25519 or P-256; signatures Ed25519 only. No PSK, no session
 * tickets, no early data: every connection is a full handshake of both sides' keys.
 * No server name is sent. ALPN is mandatory:
 *
 *   shoal/1       Both sides send their chain (cert.c) without the root and verify the other's
 *                 up to the mesh's root, with its dates. The server sends no application
 *                 data before it has verified the client's certificate and Finished.
 *   shoal-join/1  Offered by a server only while an invitation is outstanding. The server
 *                 sends chain and root; the client looks for a root with the fingerprint from
 *                 its token and verifies the chain up to it. The client sends a bare
 *                 self-signed Ed25519 certificate: its signature in the handshake proves that
 *                 it has the key that it wants certified, nothing else is believed of it.
 */
#include "transports/tls-impl.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <time.h>

#define PRIORITY                                                                          \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:" \
	"+AES-128-GCM:-SIGN-ALL:+SIGN-EDDSA-ED25519:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1"

/* ---- verification, called by GnuTLS within the handshake ---- */

#define SENT_MAX (CERT_CHAIN_MAX + 1) /* a chain and a root */

static int load_chain(gnutls_session_t session, gnutls_x509_crt_t crt[static SENT_MAX],
		      unsigned *ret_n, struct err *e)
{
	unsigned n = 0;
	const gnutls_datum_t *der = gnutls_certificate_get_peers(session, &n);
	if (!der || n == 0)
		return err_set(e, -EKEYREJECTED, "the peer has no certificate");
	if (gnutls_certificate_type_get(session) != GNUTLS_CRT_X509 || n > SENT_MAX)
		return err_set(e, -EKEYREJECTED, "the peer's certificates are not of our kind");
	for (unsigned i = 0; i < n; i++) {
		int r = cert_decode(der[i].data, der[i].size, &crt[i], e);
		if (r < 0)
			return r;
		*ret_n = i + 1;
	}
	return 0;
}

static int verify_link(struct tls *t, gnutls_x509_crt_t *crt, unsigned n, struct err *e)
{
	struct cert_info info;
	int r = cert_verify(crt, n, identity_root(t->context->identity), (int64_t)time(NULL),
			    &info, e);
	if (r == 0 && t->handler->admit)
		r = t->handler->admit(t, &info, t->user, e);
	if (r < 0)
		return r;
	t->link.peer = info.device;
	t->link.role = info.role;
	memcpy(t->link.name, info.name, sizeof(info.name));
	return 0;
}

/* The client of a join: the last certificate must be the root of the token. */
static int verify_inviter(struct tls *t, gnutls_x509_crt_t *crt, unsigned n, struct err *e)
{
	struct sha256 h;
	if (n < 2 || cert_fingerprint(crt[n - 1], &h) < 0 || sha256_cmp(&h, &t->context->root) != 0)
		return err_set(e, -EKEYREJECTED,
			       "a device of another mesh answered, not one that the token is for");
	struct cert_info info;
	int r = cert_verify_root(crt[n - 1], e);
	if (r == 0)
		r = cert_verify(crt, n - 1, crt[n - 1], (int64_t)time(NULL), &info, e);
	if (r == 0 && t->handler->admit)
		r = t->handler->admit(t, &info, t->user, e);
	if (r < 0)
		return r;
	t->link.peer = info.device;
	t->link.role = info.role;
	memcpy(t->link.name, info.name, sizeof(info.name));
	t->peer = TAKE_PTR(crt[n - 1]);
	return 0;
}

static int verify_joiner(struct tls *t, gnutls_x509_crt_t *crt, unsigned n, struct err *e)
{
	if (n != 1 || !cert_is_ed25519(crt[0]))
		return err_set(e, -EKEYREJECTED, "the joiner's key is not an Ed25519 key");
	t->peer = TAKE_PTR(crt[0]);
	return 0;
}

int tls_agreed_kind(gnutls_session_t session, enum tls_kind *ret)
{
	gnutls_datum_t alpn = { 0 };
	if (gnutls_alpn_get_selected_protocol(session, &alpn) < 0)
		return -EPROTO;
	if (alpn.size == strlen(TLS_ALPN_LINK) && memcmp(alpn.data, TLS_ALPN_LINK, alpn.size) == 0)
		*ret = TLS_LINK;
	else if (alpn.size == strlen(TLS_ALPN_JOIN) &&
		 memcmp(alpn.data, TLS_ALPN_JOIN, alpn.size) == 0)
		*ret = TLS_JOIN;
	else
		return -EPROTO;
	return 0;
}

static int session_verify(gnutls_session_t session)
{
	struct tls *t = gnutls_session_get_ptr(session);
	gnutls_x509_crt_t crt[SENT_MAX] = { NULL };
	unsigned n = 0;
	struct err e = { 0 };
	enum tls_kind kind;
	int r = tls_agreed_kind(session, &kind);
	if (r < 0 || !(kind & t->kinds) || kind != t->kind)
		r = err_set(&e, -EPROTO, "the peer does not speak %s",
			    t->kinds & TLS_LINK ? TLS_ALPN_LINK : TLS_ALPN_JOIN);
	if (r == 0)
		r = load_chain(session, crt, &n, &e);
	if (r == 0) {
		if (kind == TLS_LINK)
			r = verify_link(t, crt, n, &e);
		else
			r = t->server ? verify_joiner(t, crt, n, &e)
				      : verify_inviter(t, crt, n, &e);
	}
	for (unsigned i = 0; i < SENT_MAX; i++)
		if (crt[i])
			gnutls_x509_crt_deinit(crt[i]);
	if (r < 0) {
		t->why = e;
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	return 0;
}

int tls_server_hello(gnutls_session_t session)
{
	struct tls *t = gnutls_session_get_ptr(session);
	if (tls_agreed_kind(session, &t->kind) < 0 || !(t->kind & t->kinds))
		return GNUTLS_E_NO_APPLICATION_PROTOCOL;
	gnutls_credentials_clear(session);
	return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE,
				      t->kind == TLS_JOIN ? t->context->join : t->context->link);
}

/* ---- context ---- */

void tls_context_unref(struct tls_context *c)
{
	if (!c || --c->refs > 0)
		return;
	if (c->priority)
		gnutls_priority_deinit(c->priority);
	if (c->link)
		gnutls_certificate_free_credentials(c->link);
	if (c->join)
		gnutls_certificate_free_credentials(c->join);
	free(c);
}

static int credentials(gnutls_x509_crt_t *chain, unsigned n, gnutls_x509_privkey_t key,
		       gnutls_certificate_credentials_t *ret)
{
	gnutls_certificate_credentials_t cred = NULL;
	int rc = gnutls_certificate_allocate_credentials(&cred);
	if (rc < 0)
		return rc;
	/* It copies certificates and key. */
	rc = gnutls_certificate_set_x509_key(cred, chain, (int)n, key);
	if (rc < 0) {
		gnutls_certificate_free_credentials(cred);
		return rc;
	}
	gnutls_certificate_set_verify_function(cred, session_verify);
	*ret = cred;
	return 0;
}

static int context_begin(struct tls_context **ret, struct err *e)
{
	_cleanup_(tls_context_unrefp) struct tls_context *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	c->refs = 1;
	const char *at = NULL;
	int rc = gnutls_priority_init(&c->priority, PRIORITY, &at);
	if (rc < 0)
		return cert_gnutls_error(e, rc,
					 "this system's GnuTLS settings forbid what Shoal needs "
					 "(TLS 1.3 with Ed25519)");
	*ret = TAKE_PTR(c);
	return 0;
}

int tls_context_new(const struct identity *identity, struct tls_context **ret, struct err *e)
{
	_cleanup_(tls_context_unrefp) struct tls_context *c = NULL;
	int r = context_begin(&c, e);
	if (r < 0)
		return r;
	gnutls_x509_crt_t chain[CERT_CHAIN_MAX + 1];
	unsigned n = identity_chain(identity, chain);
	chain[n] = identity_root(identity);
	c->identity = identity;
	c->root = *identity_root_fingerprint(identity);
	int rc = credentials(chain, n, identity_key(identity), &c->link);
	if (rc == 0)
		rc = credentials(chain, n + 1, identity_key(identity), &c->join);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot use this device's certificate");
	*ret = TAKE_PTR(c);
	return 0;
}

int tls_context_new_joiner(gnutls_x509_privkey_t key, const struct sha256 *root,
			   struct tls_context **ret, struct err *e)
{
	_cleanup_(tls_context_unrefp) struct tls_context *c = NULL;
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t bare = NULL;
	int r = context_begin(&c, e);
	if (r == 0)
		r = cert_make_bare(key, (int64_t)time(NULL), &bare, e);
	if (r < 0)
		return r;
	c->root = *root;
	int rc = credentials(&bare, 1, key, &c->join);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot use the new key");
	*ret = TAKE_PTR(c);
	return 0;
}
