/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/ends.h"
#include "tests/members.h"
#include "tests/prng.h"
#include "tests/tap.h"
#include "transports/memwire.h"
#include "transports/tcp.h"
#include "transports/tls.h"

#define DAY INT64_C(86400)
#define YEAR (365 * DAY)

static void pair(const struct memwire_faults *f, struct wire *w[2])
{
	if (memwire_pair(event, f, w) < 0)
		tap_bail("no wires");
}

static struct identity *root, *member, *admin, *second, *other;
static struct tls_context *root_ctx, *member_ctx, *second_ctx, *other_ctx;

static void set_up(void)
{
	struct err e = { 0 };
	int64_t now = time(NULL);
	identity_create(tap_path("root"), "mesh", "first", now, &e);
	identity_create(tap_path("other"), "mesh", "stranger", now, &e);
	identity_open(tap_path("root"), &root, &e);
	identity_open(tap_path("other"), &other, &e);
	member = member_new(root, tap_path("m"), "second", ROLE_MEMBER, now, &e);
	admin = member_new(root, tap_path("a"), "admin", ROLE_ADMIN, now, &e);
	second = member_new(admin, tap_path("s"), "by the admin", ROLE_READER, now, &e);
	if (!root || !member || !other || !second || tls_context_new(root, &root_ctx, &e) < 0 ||
	    tls_context_new(member, &member_ctx, &e) < 0 ||
	    tls_context_new(second, &second_ctx, &e) < 0 ||
	    tls_context_new(other, &other_ctx, &e) < 0)
		tap_bail("set-up: %s", e.message);
}

static void transfer(const char *name, struct wire *w[2], struct tls_context *client, uint64_t seed,
		     size_t bytes)
{
	struct end s = { .out = { seed }, .in = { seed + 1 }, .to_send = bytes, .to_get = bytes };
	struct end c = { .out = { seed + 2 }, .in = { seed + 3 }, .to_send = bytes, .to_get = bytes };
	connect_ends(root_ctx, client, w, TLS_LINK | TLS_JOIN, TLS_LINK, &s, &c);
	RUN_UNTIL((s.got >= bytes && c.got >= bytes) || s.closed || c.closed, 20000);
	bool pass = ok(s.up && c.up && s.got == bytes && c.got == bytes && !s.wrong && !c.wrong &&
			       !s.closed && !c.closed,
		       "%zu bytes each way: %s", bytes, name);
	if (!pass)
		tap_diag("server up %d got %zu %s; client up %d got %zu %s", s.up, s.got,
			 s.why.message, c.up, c.got, c.why.message);
	end_done(&s);
	end_done(&c);
}

static void transfers(uint64_t seed)
{
	static const struct {
		const char *name;
		struct memwire_faults f;
		size_t bytes;
	} cases[] = {
		{ "a good stream", { .capacity = 1 << 20 }, 3000000 },
		{ "short reads and writes", { .chunk = 7 }, 100000 },
		{ "one byte at a time", { .chunk = 1 }, 20000 },
		{ "a small buffer", { .capacity = 300 }, 200000 },
		{ "packets of 23 bytes", { .mtu = 23, .capacity = 200 }, 20000 },
		{ "packets of 672 bytes", { .mtu = 672, .capacity = 4000 }, 300000 },
		{ "delay", { .delay_us = 3000 }, 300000 },
		{ "packets, delayed", { .mtu = 251, .delay_us = 500, .capacity = 2000 }, 30000 },
	};
	struct wire *w[2];
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct memwire_faults f = cases[i].f;
		f.seed = seed + i;
		pair(&f, w);
		transfer(cases[i].name, w, i % 2 ? second_ctx : member_ctx, seed + i, cases[i].bytes);
	}
	int fd[2];
	struct err e = { 0 };
	struct address a = { .in = { .sin_family = AF_INET } };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0 ||
	    tcp_wire_new(event, fd[0], &a, &w[0], &e) < 0 ||
	    tcp_wire_new(event, fd[1], &a, &w[1], &e) < 0)
		tap_bail("no sockets");
	transfer("a socket", w, member_ctx, seed, 3000000);
}

static void who_is_there(void)
{
	struct end s = { 0 }, c = { 0 };
	struct wire *w[2];
	struct link_info info;
	pair(&(struct memwire_faults){ .delay_us = 100 }, w);
	connect_ends(root_ctx, second_ctx, w, TLS_LINK, TLS_LINK, &s, &c);
	RUN_UNTIL(s.up && c.up, 3000);
	if (!s.up || !c.up)
		tap_bail("no handshake: %s / %s", s.why.message, c.why.message);
	ok(id_equal(&tls_link(s.tls)->peer, identity_device(second)) &&
		   tls_link(s.tls)->role == ROLE_READER &&
		   strcmp(tls_link(s.tls)->name, "by the admin") == 0,
	   "the server knows the client");
	ok(id_equal(&tls_link(c.tls)->peer, identity_device(root)) &&
		   tls_link(c.tls)->role == ROLE_ADMIN,
	   "the client knows the server");
	uint8_t a[TLS_BINDING_SIZE], b[TLS_BINDING_SIZE];
	ok(tls_binding(s.tls, a) == 0 && tls_binding(c.tls, b) == 0 &&
		   memcmp(a, b, sizeof(a)) == 0,
	   "both know the channel's binding");
	link_info(tls_link(c.tls), &info);
	ok(strcmp(info.transport, "memory") == 0 && info.dialled && info.bytes_in > 500 &&
		   info.bytes_out > 500 && info.since > 0,
	   "the link describes itself: %s, %llu bytes in", info.remote,
	   (unsigned long long)info.bytes_in);
	tap_diag("handshake: %llu bytes to the server, %llu to the client",
		 (unsigned long long)info.bytes_out, (unsigned long long)info.bytes_in);
	link_close(tls_link(c.tls));
	ok(!c.closed, "closing is not answered from within");
	RUN_UNTIL(s.closed && c.closed, 3000);
	ok(s.closed && s.why.code == -ESHUTDOWN && c.closed, "a link closes at both ends: %s",
	   s.why.message);
	is_int(link_write(tls_link(s.tls), "x", 1), -EPIPE, "and takes no more");
	end_done(&s);
	end_done(&c);
}

/* Each: who serves, who dials, and that neither gets one byte. */
static void refused(const char *name, struct tls_context *server, struct tls_context *client,
		    unsigned offered, unsigned wanted, int refuse, int code_server, int code_client)
{
	struct end s = { .to_send = 10 }, c = { .to_send = 10 };
	struct wire *w[2];
	s.refuse = refuse;
	pair(&(struct memwire_faults){ .delay_us = 100 }, w);
	connect_ends(server, client, w, offered, wanted, &s, &c);
	RUN_UNTIL(s.closed && c.closed, 3000);
	bool pass = ok(s.closed && c.closed && !s.up && s.got == 0 && c.got == 0 &&
			       (!code_server || s.why.code == code_server) &&
			       (!code_client || c.why.code == code_client),
		       "refused: %s", name);
	if (pass)
		tap_diag("server: %s; client: %s", s.why.message, c.why.message);
	else
		tap_diag("server: up %d closed %d got %zu %d %s; client: up %d closed %d got %zu %d %s",
			 s.up, s.closed, s.got, s.why.code, s.why.message, c.up, c.closed, c.got,
			 c.why.code, c.why.message);
	end_done(&s);
	end_done(&c);
}

static void refusals(void)
{
	struct err e = { 0 };
	int64_t now = time(NULL);
	struct identity *old = member_new(root, tap_path("old"), "old", ROLE_MEMBER, now - 21 * YEAR, &e);
	struct identity *young =
		member_new(root, tap_path("young"), "young", ROLE_MEMBER, now + 3 * DAY, &e);
	struct tls_context *old_ctx = NULL, *young_ctx = NULL, *joiner_ctx = NULL;
	gnutls_x509_privkey_t key;
	if (!old || !young || tls_context_new(old, &old_ctx, &e) < 0 ||
	    tls_context_new(young, &young_ctx, &e) < 0 || cert_key_new(&key, &e) < 0 ||
	    tls_context_new_joiner(key, identity_root_fingerprint(other), &joiner_ctx, &e) < 0)
		tap_bail("%s", e.message);
	refused("a client of another mesh", root_ctx, other_ctx, TLS_LINK, TLS_LINK, 0, 0,
		-EKEYREJECTED);
	refused("a server of another mesh", other_ctx, root_ctx, TLS_LINK, TLS_LINK, 0, 0,
		-EKEYREJECTED);
	refused("an expired client", root_ctx, old_ctx, TLS_LINK, TLS_LINK, 0, -EKEYEXPIRED, 0);
	refused("an expired server", old_ctx, root_ctx, TLS_LINK, TLS_LINK, 0, 0, -EKEYEXPIRED);
	refused("a client not yet valid", root_ctx, young_ctx, TLS_LINK, TLS_LINK, 0, -EKEYEXPIRED,
		0);
	refused("one that admit refuses", root_ctx, member_ctx, TLS_LINK, TLS_LINK, -EPERM, -EPERM,
		0);
	refused("a joiner when nobody is invited", root_ctx, joiner_ctx, TLS_LINK, TLS_JOIN, 0, 0,
		-ENOPROTOOPT);
	refused("a joiner with another mesh's token", root_ctx, joiner_ctx, TLS_LINK | TLS_JOIN,
		TLS_JOIN, 0, 0, -EKEYREJECTED);
	refused("a member where only joiners are served", root_ctx, member_ctx, TLS_JOIN, TLS_LINK,
		0, 0, -ENOPROTOOPT);
	tls_context_unref(old_ctx);
	tls_context_unref(young_ctx);
	tls_context_unref(joiner_ctx);
	gnutls_x509_privkey_deinit(key);
	identity_free(old);
	identity_free(young);
}

static void breaks(uint64_t seed)
{
	struct prng r = { seed };
	unsigned bad = 0, cut_up = 0;
	for (unsigned i = 0; i < 60; i++) {
		struct end s = { .to_send = 20000 }, c = { .to_send = 20000 };
		struct wire *w[2];
		pair(&(struct memwire_faults){ .cut_at = 1 + prng_below(&r, 30000), .chunk = 200,
					       .seed = prng_u64(&r) },
		     w);
		connect_ends(root_ctx, member_ctx, w, TLS_LINK, TLS_LINK, &s, &c);
		RUN_UNTIL(s.closed && c.closed, 3000);
		bad += !s.closed || !c.closed || s.wrong || c.wrong || s.why.code >= 0;
		cut_up += s.up;
		end_done(&s);
		end_done(&c);
	}
	tap_diag("%u of 60 were cut after the handshake", cut_up);
	is_uint(bad, 0, "a cut at any byte ends both sides, with a reason");

	struct end s = { 0 };
	struct wire *w[2];
	struct tls_options o = { .server = true, .kinds = TLS_LINK, .timeout_us = 50000 };
	pair(&(struct memwire_faults){ 0 }, w);
	tls_new(root_ctx, event, w[0], &o, &end_handler, &s, &s.tls, NULL);
	RUN_UNTIL(s.closed, 3000);
	is_errno(s.why.code, -ETIMEDOUT, "a silent peer: %s", s.why.message);
	end_done(&s);
	wire_free(w[1]);

	struct end g = { 0 };
	pair(&(struct memwire_faults){ 0 }, w);
	tls_new(root_ctx, event, w[0], &o, &end_handler, &g, &g.tls, NULL);
	w[1]->ops->write(w[1], "GET / HTTP/1.1\r\nHost: here\r\n\r\n", 30);
	RUN_UNTIL(g.closed, 3000);
	ok(g.closed && !g.up && g.why.code == -EPROTO, "garbage: %s", g.why.message);
	end_done(&g);
	wire_free(w[1]);
}

int main(int argc, char **argv)
{
	tap_plan(9 + 7 + 9 + 3);
	uint64_t seed = tap_seed(argc, argv);
	if (sd_event_new(&event) < 0)
		tap_bail("no event loop");
	set_up();
	transfers(seed);
	who_is_there();
	refusals();
	breaks(seed);
	tls_context_unref(root_ctx);
	tls_context_unref(member_ctx);
	tls_context_unref(second_ctx);
	tls_context_unref(other_ctx);
	identity_free(root);
	identity_free(member);
	identity_free(admin);
	identity_free(second);
	identity_free(other);
	sd_event_unref(event);
	return tap_done();
}
