/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Join messages, version 1
 * ========================
 *
 * On a TLS session with ALPN shoal-join/1 (tls-context.c) the joiner sends one request, the inviter
 * one answer, then both close. Integers are big-endian, varints LEB128 in their shortest
 * form; nothing may follow the last field.
 *
 * Both:     u16  bytes that follow
 *           u8   type: 1 request, 2 answer
 *
 * Request (at most 256 bytes in all):
 *           16   id of the invitation: SHA-256("shoal invite id" || secret), first 16 bytes
 *           32   proof: HMAC-SHA-256 over "shoal join 1" || binding || u8 n || name, where the
 *                key is SHA-256("shoal invite key" || secret) and binding is the 32-byte
 *                exporter of this very TLS session: an answer to another channel's proof
 *                is worth nothing
 *           varint n, n bytes: the device's name
 *
 * Answer (at most 16384 bytes in all):
 *           u8   status (enum join_status); when it is not 0 nothing follows
 *           u8   certificates in the chain, 1 or 2
 *           each varint n, n bytes: DER, the new device's first
 *           varint n, n bytes: the root, DER; the mesh's name is in it
 *           32   the mesh's secret
 *           varint n, n bytes: the inviter's name
 */
#include "transports/joinmsg.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>

#include "engine/cursor.h"
#include "transports/cert.h"
#include "transports/keyfile.h"

enum { TYPE_REQUEST = 1, TYPE_ANSWER = 2 };

int joinmsg_proof(const struct sha256 *key, const uint8_t binding[static TLS_BINDING_SIZE],
		  const char *name, struct sha256 *ret)
{
	static const char label[] = "shoal join 1";
	uint8_t in[sizeof(label) - 1 + TLS_BINDING_SIZE + 1 + NAME_LIMIT];
	size_t n = sizeof(label) - 1, len = strlen(name);
	if (len > NAME_LIMIT)
		return -EINVAL;
	memcpy(in, label, n);
	memcpy(in + n, binding, TLS_BINDING_SIZE);
	n += TLS_BINDING_SIZE;
	in[n++] = (uint8_t)len;
	memcpy(in + n, name, len);
	return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->b, sizeof(key->b), in, n + len, ret->b) < 0
		       ? -EIO
		       : 0;
}

/* Writes the length once the message is there. */
static void seal(struct buf *b, size_t start)
{
	if (buf_failed(b))
		return;
	size_t n = b->len - start - 2;
	b->data[start] = (uint8_t)(n >> 8);
	b->data[start + 1] = (uint8_t)n;
}

void joinmsg_put_request(struct buf *b, const struct join_request *m)
{
	size_t start = b->len;
	buf_u16(b, 0);
	buf_u8(b, TYPE_REQUEST);
	buf_put(b, m->invite.b, sizeof(m->invite.b));
	buf_put(b, m->proof.b, sizeof(m->proof.b));
	buf_bytes(b, m->name, strlen(m->name));
	seal(b, start);
}

void joinmsg_put_answer(struct buf *b, const struct join_answer *m)
{
	size_t start = b->len;
	buf_u16(b, 0);
	buf_u8(b, TYPE_ANSWER);
	buf_u8(b, (uint8_t)m->status);
	if (m->status == JOIN_OK) {
		buf_u8(b, (uint8_t)m->chain_len);
		for (unsigned i = 0; i < m->chain_len; i++)
			buf_bytes(b, m->chain[i].der, m->chain[i].len);
		buf_bytes(b, m->root.der, m->root.len);
		buf_put(b, m->secret, IDENTITY_SECRET_SIZE);
		buf_bytes(b, m->inviter, strlen(m->inviter));
	}
	seal(b, start);
}

ssize_t joinmsg_length(const uint8_t *data, size_t len, size_t max)
{
	if (len < 2)
		return 0;
	size_t n = 2 + ((size_t)data[0] << 8 | data[1]);
	return n > max ? -EMSGSIZE : (ssize_t)n;
}

static struct cursor open_message(const uint8_t *data, size_t len, uint8_t type)
{
	struct cursor c = cursor_make(data, len);
	if (cursor_u16(&c) != cursor_left(&c) || cursor_u8(&c) != type)
		c.bad = true;
	return c;
}

static void get_name(struct cursor *c, char ret[static NAME_SIZE])
{
	size_t n;
	const uint8_t *p = cursor_bytes(c, NAME_LIMIT, &n);
	if (!p)
		return;
	if (!name_ok((const char *)p, n)) {
		c->bad = true;
		return;
	}
	memcpy(ret, p, n);
	ret[n] = 0;
}

int joinmsg_get_request(const uint8_t *data, size_t len, struct join_request *ret)
{
	struct join_request m = { 0 };
	struct cursor c = open_message(data, len, TYPE_REQUEST);
	const uint8_t *id = cursor_take(&c, sizeof(m.invite.b));
	const uint8_t *proof = cursor_take(&c, sizeof(m.proof.b));
	get_name(&c, m.name);
	if (!cursor_end(&c))
		return -EBADMSG;
	memcpy(m.invite.b, id, sizeof(m.invite.b));
	memcpy(m.proof.b, proof, sizeof(m.proof.b));
	*ret = m;
	return 0;
}

int joinmsg_get_answer(const uint8_t *data, size_t len, struct join_answer *ret)
{
	struct join_answer m = { 0 };
	struct cursor c = open_message(data, len, TYPE_ANSWER);
	uint8_t status = cursor_u8(&c);
	if (status > JOIN_STATUS_MAX)
		return -EBADMSG;
	m.status = (enum join_status)status;
	if (m.status == JOIN_OK) {
		m.chain_len = cursor_u8(&c);
		if (m.chain_len == 0 || m.chain_len > CERT_CHAIN_MAX)
			return -EBADMSG;
		for (unsigned i = 0; i < m.chain_len; i++)
			m.chain[i].der = cursor_bytes(&c, CERT_MAX, &m.chain[i].len);
		m.root.der = cursor_bytes(&c, CERT_MAX, &m.root.len);
		m.secret = cursor_take(&c, IDENTITY_SECRET_SIZE);
		get_name(&c, m.inviter);
	}
	if (!cursor_end(&c))
		return -EBADMSG;
	*ret = m;
	return 0;
}
