/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Wires over LE channels. AF_UNIX packets stand for the channel: they are whole and in order as well, and this kernel
 * need not have Bluetooth. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/ends.h"
#include "tests/members.h"
#include "tests/tap.h"
#include "transports/l2cap.h"
#include "transports/tls.h"

static struct address at;

static void sockets(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		tap_bail("no socketpair");
}

static struct wire *wire_of(int fd, size_t out, size_t in)
{
	struct wire *w = NULL;
	struct err e = { 0 };
	if (l2cap_wire_over(event, fd, &at, out, in, &w, &e) < 0)
		tap_bail("no wire: %s", e.message);
	return w;
}

/* One end is a wire, the other a bare socket that plays the peer. */
static struct wire *half(size_t out, size_t in, int *ret_peer)
{
	int fd[2];
	sockets(fd);
	*ret_peer = fd[1];
	return wire_of(fd[0], out, in);
}

static void whole(size_t ab, size_t ba, struct wire *w[2])
{
	int fd[2];
	sockets(fd);
	w[0] = wire_of(fd[0], ab, ba);
	w[1] = wire_of(fd[1], ba, ab);
}

static unsigned readies;
static void count_ready(struct wire *w, void *user)
{
	(void)w, (void)user;
	readies++;
}

/* ---- pieces ---- */

static void pieces(void)
{
	uint8_t data[L2CAP_SDU_MAX] = "abcdefghij", got[L2CAP_SDU_MAX];
	struct wire *w[2];
	whole(100, 23, w);
	is_uint(w[0]->mtu, 99, "a piece's first byte is the wire's");
	is_uint(w[1]->mtu, 22, "the sizes of the two directions differ");
	is_errno(w[0]->ops->read(w[0], got, sizeof(got)), -EAGAIN, "nothing is there at first");
	is_int(w[0]->ops->write(w[0], data, 10), 10, "a short piece is sent");
	is_int(w[0]->ops->write(w[0], data, 99), 99, "so is the longest");
	is_errno(w[0]->ops->write(w[0], data, 100), -EMSGSIZE, "a longer one is not");
	ssize_t n = w[1]->ops->read(w[1], got, sizeof(got));
	is_mem(got, n > 0 ? (size_t)n : 0, data, 10, "the first comes whole");
	n = w[1]->ops->read(w[1], got, sizeof(got));
	is_mem(got, n > 0 ? (size_t)n : 0, data, 99, "and the second, apart");
	is_errno(w[1]->ops->write(w[1], data, 23), -EMSGSIZE, "the other direction has its own limit");

	struct link_info info = { 0 };
	w[0]->ops->info(w[0], &info);
	is_str(info.transport, "bluetooth", "it is called bluetooth");
	is_str(info.remote, "[00:AA:01:00:00:42]:131", "the peer's address and PSM are told");
	ok(info.cost == LINK_RADIO, "it is a radio");
	wire_free(w[0]);
	wire_free(w[1]);
}

static void window(void)
{
	uint8_t data[64] = { 1 }, got[L2CAP_SDU_MAX];
	struct wire *w[2];
	unsigned n = 0;
	whole(64, 64, w);
	while (n < 100 && w[0]->ops->write(w[0], data, 20) == 20)
		n++;
	is_uint(n, L2CAP_WINDOW, "a window of pieces goes out, then there is no room");
	w[0]->ready = count_ready;
	w[0]->ops->watch(w[0], false, true);
	RUN_UNTIL(readies, 30);
	is_uint(readies, 0, "which is not reported either");
	for (unsigned i = 0; i < L2CAP_WINDOW / 2; i++)
		w[1]->ops->read(w[1], got, sizeof(got));
	RUN_UNTIL(readies, 2000);
	ok(readies > 0, "half of it read: there is room, and it is reported");
	for (n = 0; n < 100 && w[0]->ops->write(w[0], data, 20) == 20;)
		n++;
	is_uint(n, L2CAP_WINDOW / 2, "for as many as were read");
	/* The other direction tells along with its bytes: three read, fewer than are told of alone. */
	for (unsigned i = 0; i < 3; i++)
		w[1]->ops->read(w[1], got, sizeof(got));
	is_errno(w[0]->ops->write(w[0], data, 1), -EAGAIN, "three more read are not told of alone");
	is_int(w[1]->ops->write(w[1], data, 5), 5, "but along with bytes");
	for (n = 0; n < 100 && w[0]->ops->write(w[0], data, 20) == 20;)
		n++;
	is_uint(n, 3, "then there is room for three");
	is_int(w[0]->ops->read(w[0], got, sizeof(got)), 5, "and the bytes are there");
	wire_free(w[0]);
	wire_free(w[1]);
}

/* Both full, and only one of the two reads: its words must come through. */
static void crossed(void)
{
	uint8_t data[64] = { 2 }, got[L2CAP_SDU_MAX];
	struct wire *w[2];
	unsigned n = 0;
	whole(64, 64, w);
	for (unsigned i = 0; i < L2CAP_WINDOW; i++) {
		w[0]->ops->write(w[0], data, 9);
		w[1]->ops->write(w[1], data, 9);
	}
	readies = 0;
	w[0]->ready = count_ready;
	w[0]->ops->watch(w[0], false, true);
	for (unsigned i = 0; i < L2CAP_WINDOW; i++)
		n += w[1]->ops->read(w[1], got, sizeof(got)) == 9;
	RUN_UNTIL(readies, 2000);
	ok(readies > 0 && w[0]->ops->write(w[0], data, 9) == 9,
	   "who wants to write only hears that there is room though a full window of bytes waits to be read");
	for (n = 0; n < L2CAP_WINDOW && w[0]->ops->read(w[0], got, sizeof(got)) == 9;)
		n++;
	is_uint(n, L2CAP_WINDOW, "and loses none of them");
	wire_free(w[0]);
	wire_free(w[1]);
}

static void names(void)
{
	struct address a, b;
	char name[ADDRESS_TEXT];
	address_bluetooth("00:AA:01:00:00:42", true, 200, &a);
	address_bluetooth_name(&a, name);
	is_str(name, "00-aa-01-00-00-42-r.bluetooth", "an address as the name of a host");
	ok(address_bluetooth_named(name, 200, &b) == 0 && address_equal(&a, &b), "and back");
	address_bluetooth_name(&at, name);
	ok(address_bluetooth_named(name, 131, &b) == 0 && address_equal(&at, &b), "one that is not random as well");
	static const char *const bad[] = { "", "x", "hub.example.org", "00-aa-01-00-00-42", "00-aa-01-00-00-42.bluetoot",
					   "00-aa-01-00-00-42-x.bluetooth", "0-0aa-01-00-00-42.bluetooth",
					   "00-aa-01-00-00-4g.bluetooth", "00:aa:01:00:00:42.bluetooth",
					   "00-aa-01-00-00-42.bluetooth.org", "a-long-name-of-a-host.bluetooth" };
	unsigned taken = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		taken += address_bluetooth_named(bad[i], 131, &b) == 0;
	is_uint(taken, 0, "other names are other hosts");
	static const char *const wrong[] = { "", "00:AA:01:00:00", "00:AA:01:00:00:42:", "00:AA:01:00:00:4", "00 AA:01:00:00:42",
					     "0:0AA:01:00:00:42", "+0:AA:01:00:00:42" };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		taken += address_bluetooth(wrong[i], false, 131, &b) == 0;
	is_uint(taken, 0, "and other texts no addresses");
}

/* ---- hostile peers ---- */

static void hostile(void)
{
	uint8_t data[L2CAP_SDU_MAX + 100] = { 0 }, got[L2CAP_SDU_MAX];
	int peer, r = 0;
	struct wire *w = half(64, 64, &peer);
	(void)!send(peer, (uint8_t[]){ 1, 7 }, 2, 0);
	is_errno(w->ops->read(w, got, sizeof(got)), -EPROTO, "a peer that has read what was not sent is cut off");
	is_errno(w->ops->write(w, data, 1), -EPROTO, "for good");
	wire_free(w);
	close(peer);

	w = half(64, 64, &peer);
	for (unsigned i = 0; i < L2CAP_WINDOW + 1; i++)
		(void)!send(peer, (uint8_t[]){ 0, (uint8_t)i }, 2, 0);
	readies = 0;
	w->ready = count_ready;
	w->ops->watch(w, true, false);
	RUN_UNTIL(readies, 2000);
	unsigned n = 0;
	while ((r = (int)w->ops->read(w, got, sizeof(got))) == 1 && got[0] == n)
		n++;
	ok(n == L2CAP_WINDOW && r == -EPROTO, "a ninth piece is one too many (%u read, then %d)", n, r);
	wire_free(w);
	close(peer);

	w = half(64, 64, &peer);
	(void)!send(peer, data, 65, 0);
	is_errno(w->ops->read(w, got, sizeof(got)), -EMSGSIZE, "a piece larger than agreed on is refused");
	wire_free(w);
	close(peer);

	/* Pieces without bytes are no end, and do not count, but do not keep the loop either. */
	w = half(64, 64, &peer);
	for (unsigned i = 0; i < 100; i++)
		(void)!send(peer, (uint8_t[]){ 0 }, 1, 0);
	(void)!send(peer, (uint8_t[]){ 0, 42 }, 2, 0);
	readies = 0;
	w->ready = count_ready;
	w->ops->watch(w, true, false);
	RUN_UNTIL(readies, 2000);
	is_int(w->ops->read(w, got, sizeof(got)), 1, "pieces that say nothing are passed over");
	wire_free(w);
	close(peer);

	int fd[2];
	struct err e = { 0 };
	sockets(fd);
	is_errno(l2cap_wire_over(event, fd[0], &at, 22, 64, &w, &e), -EPROTO, "no channel is so small");
	close(fd[1]);
	sockets(fd);
	is_errno(l2cap_wire_new(event, fd[0], &at, &w, &e), -EPROTO, "a socket without sizes is no channel");
	is_errno(recv(fd[1], got, sizeof(got), 0), 0, "and is closed");
	close(fd[1]);
}

static void peer_gone(void)
{
	uint8_t data[64] = { 3 }, got[L2CAP_SDU_MAX];
	int peer;
	struct wire *w = half(64, 64, &peer);
	(void)!send(peer, (uint8_t[]){ 0, 'x' }, 2, 0);
	close(peer);
	readies = 0;
	w->ready = count_ready;
	w->ops->watch(w, true, false);
	RUN_UNTIL(readies, 2000);
	is_int(w->ops->read(w, got, sizeof(got)), 1, "what came before the end is read");
	RUN_UNTIL(readies > 1, 2000);
	ok(readies > 1, "the end is reported");
	is_int(w->ops->read(w, got, sizeof(got)), 0, "and is one");
	is_errno(w->ops->write(w, data, 4), -EPIPE, "nothing can be written then");
	w->ops->watch(w, false, true);
	readies = 0;
	RUN_UNTIL(readies, 2000);
	ok(readies > 0, "who waits to write is told");
	w->ops->watch(w, false, false);
	readies = 0;
	RUN_UNTIL(readies, 30);
	is_uint(readies, 0, "who wants nothing is not");
	wire_free(w);

	/* What was written is read by the peer though the wire is freed at once. */
	w = half(64, 64, &peer);
	w->ops->write(w, data, 4);
	wire_free(w);
	is_int(recv(peer, got, sizeof(got), 0), 5, "what was written before the end arrives");
	is_errno(recv(peer, got, sizeof(got), MSG_DONTWAIT) < 0 ? -errno : 0, -EAGAIN,
		 "the end waits a moment, so that it does not overtake it");
	uint64_t from = clock_us();
	ssize_t r;
	RUN_UNTIL((r = recv(peer, got, sizeof(got), MSG_DONTWAIT)) == 0, 3000);
	ok(r == 0 && clock_us() - from < 2000000, "and comes");
	close(peer);
}

/* ---- TLS ---- */

static void tls_over(struct tls_context *a, struct tls_context *b, const struct identity *ia,
		     const struct identity *ib, size_t ab, size_t ba, uint64_t seed)
{
	struct end s = { .to_send = 600000, .out = { seed }, .in = { seed + 1 } };
	struct end c = { .to_send = 600000, .out = { seed + 2 }, .in = { seed + 3 } };
	struct wire *w[2];
	whole(ab, ba, w);
	connect_ends(a, b, w, TLS_LINK, TLS_LINK, &s, &c);
	RUN_UNTIL((s.up && c.up) || s.closed || c.closed, 10000);
	ok(s.up && c.up, "%zu and %zu bytes: a handshake in which both prove who they are%s%s", ab, ba, *s.why.message ? ": " : "",
	   s.why.message);
	ok(s.up && c.up && id_equal(&tls_link(s.tls)->peer, identity_device(ib)) &&
		   id_equal(&tls_link(c.tls)->peer, identity_device(ia)),
	   "each knows who the other is");
	RUN_UNTIL((s.got == c.to_send && c.got == s.to_send) || s.closed || c.closed, 30000);
	ok(s.got == c.to_send && c.got == s.to_send && !s.wrong && !c.wrong,
	   "600,000 bytes each way at once arrive");
	end_done(&s);
	RUN_UNTIL(c.closed, 3000);
	is_errno(c.why.code, -ESHUTDOWN, "the end of one is told to the other as it is");
	end_done(&c);
}

static void stranger(struct tls_context *a, struct tls_context *x)
{
	struct end s = { 0 }, c = { 0 };
	struct wire *w[2];
	whole(512, 512, w);
	connect_ends(a, x, w, TLS_LINK, TLS_LINK, &s, &c);
	RUN_UNTIL(s.closed && c.closed, 10000);
	ok(s.closed && c.closed && !s.up && s.got == 0 && c.got == 0, "a stranger gets nowhere: %s", s.why.message);
	end_done(&s);
	end_done(&c);
}

int main(int argc, char **argv)
{
	tap_plan(57);
	const uint64_t seed = tap_seed(argc, argv);
	struct err e = { 0 };
	const int64_t now = (int64_t)time(NULL);
	struct identity *ia = NULL, *ix = NULL;
	struct tls_context *a = NULL, *b = NULL, *x = NULL;
	if (sd_event_new(&event) < 0 || address_bluetooth("00:AA:01:00:00:42", false, 131, &at) < 0)
		tap_bail("no loop");
	names();
	pieces();
	window();
	crossed();
	hostile();
	peer_gone();

	if (identity_create(tap_path("a"), "home", "anna", now, &e) < 0 || identity_open(tap_path("a"), &ia, &e) < 0 ||
	    identity_create(tap_path("x"), "away", "xaver", now, &e) < 0 || identity_open(tap_path("x"), &ix, &e) < 0)
		tap_bail("%s", e.message);
	struct identity *ib = member_new(ia, tap_path("b"), "berta", ROLE_MEMBER, now, &e);
	if (!ib || tls_context_new(ia, &a, &e) < 0 || tls_context_new(ib, &b, &e) < 0 ||
	    tls_context_new(ix, &x, &e) < 0)
		tap_bail("%s", e.message);
	tls_over(a, b, ia, ib, L2CAP_SDU_MAX, L2CAP_SDU_MAX, seed);
	tls_over(a, b, ia, ib, 672, 128, seed);
	tls_over(a, b, ia, ib, L2CAP_SDU_MIN, L2CAP_SDU_MAX, seed);
	stranger(a, x);
	tls_context_unref(a);
	tls_context_unref(b);
	tls_context_unref(x);
	identity_free(ia);
	identity_free(ib);
	identity_free(ix);
	sd_event_unref(event);
	return tap_done();
}
