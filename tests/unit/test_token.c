/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/prng.h"
#include "tests/tap.h"
#include "transports/keyfile.h"
#include "transports/token.h"

static void sample(struct token *t)
{
	*t = (struct token){ .expires = 1700000000, .n = 3 };
	for (size_t i = 0; i < sizeof(t->root.b); i++)
		t->root.b[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(t->secret); i++)
		t->secret[i] = (uint8_t)(0xf0 + i);
	t->address[0] = (struct token_address){ "192.0.2.7", 7580 };
	t->address[1] = (struct token_address){ "2001:db8::1", 1 };
	t->address[2] = (struct token_address){ "hub.example.org", 65535 };
}

static bool same(const struct token *a, const struct token *b)
{
	if (a->n != b->n || a->expires != b->expires || sha256_cmp(&a->root, &b->root) != 0 ||
	    memcmp(a->secret, b->secret, sizeof(a->secret)) != 0)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->address[i].host, b->address[i].host) != 0 ||
		    a->address[i].port != b->address[i].port)
			return false;
	return true;
}

static void random_token(struct prng *r, struct token *t)
{
	static const char *const hosts[] = { "10.0.0.1", "::1", "fe80::1:2", "a", "x-y.example",
					     "255.255.255.255", "2001:db8::ffff:1" };
	*t = (struct token){ .expires = (int64_t)(prng_u64(r) & ((UINT64_C(1) << 40) - 1)),
			     .n = (unsigned)prng_below(r, TOKEN_ADDRESSES + 1) };
	prng_fill(r, t->root.b, sizeof(t->root.b));
	prng_fill(r, t->secret, sizeof(t->secret));
	for (unsigned i = 0; i < t->n; i++) {
		const char *h = hosts[prng_below(r, sizeof(hosts) / sizeof(*hosts))];
		memcpy(t->address[i].host, h, strlen(h) + 1);
		t->address[i].port = (uint16_t)(1 + prng_below(r, 65535));
	}
}

static void round_trips(struct prng *r, uint64_t rounds)
{
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		struct token t, u;
		_cleanup_(keyfile_wipe) struct buf b = { 0 };
		random_token(r, &t);
		if (token_encode(&t, &b, NULL) < 0 ||
		    token_decode((char *)b.data, b.len, &u, NULL) < 0 || !same(&t, &u))
			bad++;
	}
	is_uint(bad, 0, "what is encoded decodes to itself");
}

/* Whatever decodes must be the one text of its token. */
static void mutations(struct prng *r, uint64_t rounds)
{
	uint64_t accepted = 0, bad = 0;
	struct token t, u;
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	sample(&t);
	token_encode(&t, &b, NULL);
	for (uint64_t i = 0; i < rounds; i++) {
		char text[TOKEN_TEXT_MAX];
		size_t len = b.len;
		memcpy(text, b.data, len);
		for (uint64_t k = 1 + prng_below(r, 3); k > 0; k--)
			text[7 + prng_below(r, len - 7)] =
				"abcdefghijklmnopqrstuvwxyz234567"[prng_below(r, 32)];
		if (prng_chance(r, 30))
			len -= prng_below(r, len);
		if (len == b.len && memcmp(text, b.data, len) == 0)
			continue; /* every slip hit the right letter */
		if (token_decode(text, len, &u, NULL) < 0)
			continue;
		_cleanup_(keyfile_wipe) struct buf again = { 0 };
		accepted++;
		if (token_encode(&u, &again, NULL) < 0 || again.len != len ||
		    memcmp(again.data, text, len) != 0)
			bad++;
	}
	tap_diag("%llu of %llu mutants accepted", (unsigned long long)accepted,
		 (unsigned long long)rounds);
	is_uint(bad, 0, "a token has one text");
	ok(accepted <= 1, "mutants are refused");
}

static void cuts(void)
{
	struct token t, u;
	struct err e = { 0 };
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	sample(&t);
	token_encode(&t, &b, NULL);
	size_t accepted = 0, unfriendly = 0;
	for (size_t len = 0; len < b.len; len++) {
		if (token_decode((char *)b.data, len, &u, &e) == 0)
			accepted++;
		else if (len >= 8 && !strstr(e.message, "cut off"))
			unfriendly++;
	}
	is_uint(accepted, 0, "no beginning of a token is a token");
	is_uint(unfriendly, 0, "a token that is cut anywhere is said to be cut off");
}

static void words(void)
{
	struct token t, u;
	struct err e = { 0 };
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	sample(&t);
	token_encode(&t, &b, NULL);
	char text[TOKEN_TEXT_MAX];
	snprintf(text, sizeof(text), " \n%.*s\r\n", (int)b.len, (char *)b.data);
	for (char *p = text; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 32);
	ok(token_decode(text, strlen(text), &u, &e) == 0 && same(&t, &u),
	   "capitals and white space around do no harm");
	text[20] = '!';
	ok(token_decode(text, strlen(text), &u, &e) == -EBADMSG && strstr(e.message, "character 19"),
	   "a foreign character is pointed at: %s", e.message);
	ok(token_decode("https://x", 9, &u, &e) == -EBADMSG && strstr(e.message, "not a token"),
	   "something else is no token: %s", e.message);
	is_int(token_check_expiry(&t, 1699999999, &e), 0, "good until it expires");
	ok(token_check_expiry(&t, 1700000000 + 3 * 3600 + 59, &e) == -ETIMEDOUT &&
		   strstr(e.message, "expired 3 hours ago"),
	   "expiry in words: %s", e.message);
	t.address[0].port = 0;
	is_errno(token_encode(&t, &b, NULL), -EINVAL, "port 0 is not encoded");
	t.address[0].port = 1;
	memcpy(t.address[0].host, "a b", 4);
	is_errno(token_encode(&t, &b, NULL), -EINVAL, "nor a host with a blank");
}

static void addresses(void)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{ "hub", "hub", 7 },
		{ "hub:80", "hub", 80 },
		{ "192.0.2.1:65535", "192.0.2.1", 65535 },
		{ "2001:DB8:0::1", "2001:db8::1", 7 },
		{ "[::1]", "::1", 7 },
		{ "[fe80::1%eth0]:9", "fe80::1%eth0", 9 },
		{ "fe80::1%eth0", "fe80::1%eth0", 7 },
	};
	static const char *const bad[] = { "",	    ":80",   "a:",	"a:0",	"a:65536", "a:8x",
					   "[::1",  "[::1]x", "[hub]:1", "a b", "a:+1",	   "::1::",
					   "fe80::1%", "-a" };
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct token_address a = { .port = 0 };
		int r = token_address_parse(good[i].text, 7, &a, NULL);
		ok(r == 0 && strcmp(a.host, good[i].host) == 0 && a.port == good[i].port,
		   "address %s", good[i].text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct token_address a;
		is_errno(token_address_parse(bad[i], 7, &a, NULL), -EINVAL, "no address: \"%s\"",
			 bad[i]);
	}
}

int main(int argc, char **argv)
{
	tap_plan(1 + 2 + 2 + 7 + 7 + 14);
	struct prng r = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 20000);
	round_trips(&r, rounds);
	mutations(&r, rounds);
	cuts();
	words();
	addresses();
	return tap_done();
}
