/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Token format, version 1
 * =======================
 *
 * Text: "shoal1-" and the bytes below in base32 (RFC 4648 alphabet, lower case, no padding,
 * unused low bits of the last character zero). Base32 because it survives being read out,
 * typed on a phone, and double-clicked; a reader takes either case.
 *
 *     u8      version, 1
 *     32      SHA-256 of the root's SubjectPublicKeyInfo (DER)
 *     16      one-time secret
 *     varint  expiry, seconds since 1970, at most 2^40
 *     varint  number of addresses, at most 8
 *     each:   u8 kind: 1 = IPv4 (4 bytes), 2 = IPv6 (16 bytes), 3 = name (varint length
 *             1..253, then letters, digits, '-', '.', '_', '%', ':' is not allowed); a name
 *             that ends in ".bluetooth" is an adapter's address (address.h) and its port a PSM
 *             u16 port, not 0
 *     4       first bytes of SHA-256("shoal token" || everything before)
 *
 * Varints are LEB128 in their shortest form, other integers big-endian. The checksum is
 * against typing errors; the secret's proof at the inviter is what counts.
 */
#include "transports/token.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#include "engine/cursor.h"
#include "transports/keyfile.h"

#define PREFIX "shoal1-"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define TOKEN_VERSION 1
#define CHECKSUM 4
#define EXPIRY_MAX (UINT64_C(1) << 40)

enum { KIND_IPV4 = 1, KIND_IPV6 = 2, KIND_NAME = 3 };

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void token_wipe(struct token *t)
{
	gnutls_memset(t, 0, sizeof(*t));
}

static void checksum(const uint8_t *data, size_t len, uint8_t ret[static CHECKSUM])
{
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	struct sha256 h = { { 0 } };
	buf_puts(&b, "shoal token");
	buf_put(&b, data, len);
	if (!buf_failed(&b))
		sha256_of(b.data, b.len, &h);
	memcpy(ret, h.b, CHECKSUM);
}

static bool host_ok(const char *host)
{
	size_t len = strlen(host);
	if (len == 0 || len > TOKEN_HOST_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)host[i]) && !strchr("-._%", host[i]))
			return false;
	return isalnum((unsigned char)host[0]);
}

/* ---- base32 ---- */

static void base32_put(struct buf *ret, const uint8_t *p, size_t len)
{
	uint32_t bits = 0;
	unsigned n = 0;
	for (size_t i = 0; i < len; i++) {
		bits = (bits << 8 | p[i]) & 0xffff;
		for (n += 8; n >= 5; n -= 5)
			buf_u8(ret, (uint8_t)alphabet[(bits >> (n - 5)) & 31]);
	}
	if (n > 0)
		buf_u8(ret, (uint8_t)alphabet[(bits << (5 - n)) & 31]);
}

static int base32_value(char c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	return -1;
}

/* -EILSEQ with the offset of a bad character; -EBADMSG when the last bits are not zero. */
static int base32_get(const char *text, size_t len, struct buf *ret, size_t *ret_bad)
{
	uint32_t bits = 0;
	unsigned n = 0;
	for (size_t i = 0; i < len; i++) {
		int v = base32_value(text[i]);
		if (v < 0) {
			*ret_bad = i;
			return -EILSEQ;
		}
		bits = (bits << 5 | (uint32_t)v) & 0xffff;
		n += 5;
		if (n >= 8) {
			n -= 8;
			buf_u8(ret, (uint8_t)(bits >> n));
		}
	}
	if (n >= 5 || (bits & ((1u << n) - 1)) != 0)
		return -EBADMSG;
	return buf_failed(ret) ? -ENOMEM : 0;
}

/* ---- encoding ---- */

static int put_address(struct buf *b, const struct token_address *a)
{
	uint8_t raw[16];
	if (a->port == 0)
		return -EINVAL;
	if (inet_pton(AF_INET, a->host, raw) == 1) {
		buf_u8(b, KIND_IPV4);
		buf_put(b, raw, 4);
	} else if (inet_pton(AF_INET6, a->host, raw) == 1) {
		buf_u8(b, KIND_IPV6);
		buf_put(b, raw, 16);
	} else if (host_ok(a->host)) {
		buf_u8(b, KIND_NAME);
		buf_bytes(b, a->host, strlen(a->host));
	} else {
		return -EINVAL;
	}
	buf_u16(b, a->port);
	return 0;
}

int token_encode(const struct token *t, struct buf *ret, struct err *e)
{
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	/* Room for all at once: growing would leave the secret in freed memory. */
	buf_reserve(&b, 128 + TOKEN_ADDRESSES * (TOKEN_HOST_MAX + 8));
	if (t->n > TOKEN_ADDRESSES || t->expires < 0 || (uint64_t)t->expires > EXPIRY_MAX)
		return err_set(e, -EINVAL, "a token cannot hold %u addresses or that expiry", t->n);
	buf_u8(&b, TOKEN_VERSION);
	buf_put(&b, t->root.b, sizeof(t->root.b));
	buf_put(&b, t->secret, sizeof(t->secret));
	buf_varint(&b, (uint64_t)t->expires);
	buf_varint(&b, t->n);
	for (unsigned i = 0; i < t->n; i++)
		if (put_address(&b, &t->address[i]) < 0)
			return err_set(e, -EINVAL, "%.100s, port %u, is not an address for a token",
				       t->address[i].host, t->address[i].port);
	uint8_t sum[CHECKSUM];
	checksum(b.data, b.len, sum);
	buf_put(&b, sum, sizeof(sum));
	if (buf_failed(&b) || !buf_reserve(ret, TOKEN_TEXT_MAX))
		return err_set(e, -ENOMEM, "out of memory");
	buf_puts(ret, PREFIX);
	base32_put(ret, b.data, b.len);
	return 0;
}

/* ---- decoding ---- */

/* True when the last read ran past the end: the rest of the token is missing. */
static bool get_address(struct cursor *c, struct token_address *a)
{
	uint8_t kind = cursor_u8(c);
	const uint8_t *p;
	size_t len;
	switch (kind) {
	case KIND_IPV4:
		p = cursor_take(c, 4);
		if (p)
			inet_ntop(AF_INET, p, a->host, sizeof(a->host));
		break;
	case KIND_IPV6:
		p = cursor_take(c, 16);
		if (p)
			inet_ntop(AF_INET6, p, a->host, sizeof(a->host));
		break;
	case KIND_NAME:
		p = cursor_bytes(c, TOKEN_HOST_MAX, &len);
		if (p) {
			memcpy(a->host, p, len);
			a->host[len] = 0;
			uint8_t raw[16];
			/* A literal dressed as a name would be a second form of the same token. */
			if (strlen(a->host) != len || !host_ok(a->host) ||
			    inet_pton(AF_INET, a->host, raw) == 1)
				c->bad = true;
		}
		break;
	default:
		c->bad = true;
		break;
	}
	a->port = cursor_u16(c);
	if (a->port == 0)
		c->bad = true;
	return cursor_ok(c);
}

static bool get_body(struct cursor *c, struct token *t)
{
	const uint8_t *root = cursor_take(c, SHA256_SIZE);
	const uint8_t *secret = cursor_take(c, TOKEN_SECRET_SIZE);
	if (!root || !secret)
		return false;
	memcpy(t->root.b, root, SHA256_SIZE);
	memcpy(t->secret, secret, TOKEN_SECRET_SIZE);
	t->expires = (int64_t)cursor_varint_max(c, EXPIRY_MAX);
	t->n = (unsigned)cursor_varint_max(c, TOKEN_ADDRESSES);
	for (unsigned i = 0; cursor_ok(c) && i < t->n; i++)
		get_address(c, &t->address[i]);
	return cursor_end(c);
}

static int decode_bytes(const uint8_t *data, size_t len, struct token *t, struct err *e)
{
	if (len > 0 && data[0] != TOKEN_VERSION)
		return err_set(e, -EBADMSG, "the token has version %u, this program knows version %d",
			       data[0], TOKEN_VERSION);
	uint8_t sum[CHECKSUM];
	struct cursor c;
	if (len > CHECKSUM) {
		checksum(data, len - CHECKSUM, sum);
		if (memcmp(sum, data + len - CHECKSUM, CHECKSUM) == 0) {
			c = cursor_make(data + 1, len - 1 - CHECKSUM);
			if (get_body(&c, t))
				return 0;
			return err_set(e, -EBADMSG, "the token is malformed: ask for a new one");
		}
	}
	/* The checksum is wrong. Say what is likely: a piece missing, or a slip. */
	c = cursor_make(data, len);
	(void)cursor_u8(&c);
	(void)get_body(&c, t);
	if (!cursor_ok(&c) || cursor_left(&c) < CHECKSUM)
		return err_set(e, -EBADMSG,
			       "the token is cut off or damaged: copy all of it, in one piece");
	return err_set(e, -EBADMSG, "the token is mistyped: copy it again");
}

int token_decode(const char *text, size_t len, struct token *ret, struct err *e)
{
	while (len > 0 && isspace((unsigned char)text[0])) {
		text++;
		len--;
	}
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	if (len > TOKEN_TEXT_MAX)
		return err_set(e, -EBADMSG, "that is too long to be a token");
	for (size_t i = 0; i < len && i < PREFIX_LEN; i++)
		if (tolower((unsigned char)text[i]) != PREFIX[i])
			return err_set(e, -EBADMSG,
				       "that is not a token: one begins with " PREFIX);
	if (len <= PREFIX_LEN)
		return err_set(e, -EBADMSG, len ? "the token is cut off: copy all of it"
						: "the token is empty");

	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	buf_reserve(&b, TOKEN_TEXT_MAX);
	size_t bad;
	int r = base32_get(text + PREFIX_LEN, len - PREFIX_LEN, &b, &bad);
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	if (r == -EILSEQ)
		return err_set(e, -EBADMSG,
			       "character %zu of the token cannot be in one: copy it again",
			       bad + PREFIX_LEN + 1);
	if (r < 0)
		return err_set(e, -EBADMSG,
			       "the token is cut off or damaged: copy all of it, in one piece");
	struct token t = { 0 };
	r = decode_bytes(b.data, b.len, &t, e);
	if (r == 0)
		*ret = t;
	token_wipe(&t);
	return r;
}

/* ---- for people ---- */

int token_check_expiry(const struct token *t, int64_t now, struct err *e)
{
	if (now < t->expires)
		return 0;
	uint64_t s = (uint64_t)now - (uint64_t)t->expires;
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		uint64_t v = s / units[i].seconds;
		if (v > 0)
			return err_set(e, -ETIMEDOUT,
				       "the token expired %llu %s%s ago: ask for a new one, and "
				       "check this device's clock",
				       (unsigned long long)v, units[i].name, v == 1 ? "" : "s");
	}
	return err_set(e, -ETIMEDOUT, "the token has just expired: ask for a new one");
}

static int parse_port(const char *text, uint16_t *ret)
{
	unsigned v = 0;
	size_t len = strlen(text);
	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	if (v == 0 || v > 65535)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/* Brings a literal to canonical text; keeps a scope. False: not a literal of that family. */
static bool canonical_v6(char host[static TOKEN_HOST_MAX + 1])
{
	char scope[64] = "";
	char *percent = strchr(host, '%');
	if (percent) {
		if (strlen(percent) >= sizeof(scope) || strlen(percent) < 2)
			return false;
		memcpy(scope, percent, strlen(percent) + 1);
		*percent = 0;
	}
	uint8_t raw[16];
	if (inet_pton(AF_INET6, host, raw) != 1)
		return false;
	inet_ntop(AF_INET6, raw, host, INET6_ADDRSTRLEN);
	memcpy(host + strlen(host), scope, strlen(scope) + 1);
	return true;
}

int token_address_parse(const char *text, uint16_t default_port, struct token_address *ret,
			struct err *e)
{
	struct token_address a = { .port = default_port };
	const char *port = NULL;
	const char *host = text;
	size_t len = strlen(text);
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[';
	if (bracket) {
		const char *end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return err_set(e, -EINVAL, "%.100s is not an address: write [IPV6]:PORT",
				       text);
		host = text + 1;
		len = (size_t)(end - host);
		port = end[1] ? end + 2 : NULL;
	} else if (colon && strchr(text, ':') == colon) {
		len = (size_t)(colon - text);
		port = colon + 1;
	}
	if (len == 0 || len > TOKEN_HOST_MAX)
		return err_set(e, -EINVAL, "%.100s is not an address: write HOST or HOST:PORT", text);
	if (port && parse_port(port, &a.port) < 0)
		return err_set(e, -EINVAL, "%.60s in %.100s is not a port: one is 1 to 65535", port,
			       text);
	memcpy(a.host, host, len);
	a.host[len] = 0;
	bool v6 = memchr(a.host, ':', len) != NULL;
	if (v6 ? !canonical_v6(a.host) : (bracket || !host_ok(a.host)))
		return err_set(e, -EINVAL, "%.100s is not an address: write HOST, HOST:PORT or "
					   "[IPV6]:PORT", text);
	*ret = a;
	return 0;
}
