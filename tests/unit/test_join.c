/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole meshes in one process, over loopback TCP. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/ends.h"
#include "tests/members.h"
#include "tests/tap.h"
#include "transports/address.h"
#include "transports/cert.h"
#include "transports/join.h"
#include "transports/joinmsg.h"
#include "transports/mesh.h"
#include "transports/tcp.h"

/* ---- one device ---- */

struct device {
	struct identity *identity;
	struct invites *invites;
	struct mesh *mesh;
	unsigned ups, downs, links, joined;
	struct id refused;
	char joined_name[NAME_SIZE];
	enum role joined_role;
	char got[64];
	size_t got_len;
};

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct device *d = user;
	(void)l;
	for (size_t i = 0; i < len && d->got_len < sizeof(d->got) - 1; i++)
		d->got[d->got_len++] = (char)data[i];
	d->got[d->got_len] = 0;
}

static const struct link_handler link_handler = { .received = received };

static bool admit(const struct id *device, void *user)
{
	return !id_equal(device, &((struct device *)user)->refused);
}

static void link_up(struct link *l, void *user)
{
	struct device *d = user;
	d->ups++;
	d->links++;
	link_handle(l, &link_handler, d);
	/* In the very record of the greeting. */
	link_write(l, d->identity ? identity_device_name(d->identity) : "?", 1);
}

static void link_down(struct link *l, const struct err *why, bool successor, void *user)
{
	struct device *d = user;
	(void)l, (void)why, (void)successor;
	d->downs++;
	d->links--;
}

static void joined(const struct id *device, const char *name, enum role role, void *user)
{
	struct device *d = user;
	(void)device;
	d->joined++;
	d->joined_role = role;
	snprintf(d->joined_name, sizeof(d->joined_name), "%s", name);
}

static void note(int priority, const char *text, void *user)
{
	const struct device *d = user;
	if (priority <= 5)
		tap_diag("%s: %s", identity_device_name(d->identity), text);
}

static const struct mesh_handler handler = {
	.admit = admit, .link_up = link_up, .link_down = link_down, .joined = joined, .note = note,
};

static void start(struct device *d, const char *dir)
{
	struct err e = { 0 };
	if (identity_open(dir, &d->identity, &e) < 0 || invites_open(dir, &d->invites, &e) < 0)
		tap_bail("%s", e.message);
	/* A free port each: other tests may run beside this one. */
	struct mesh_options o = { .invites = d->invites };
	for (unsigned i = 0; i < 50; i++) {
		o.port = (uint16_t)(20000 + (clock_us() + i * 7919) % 30000);
		if (mesh_new(event, d->identity, &o, &handler, d, &d->mesh, &e) == 0)
			return;
	}
	tap_bail("%s", e.message);
}

static void stop(struct device *d)
{
	mesh_free(d->mesh);
	invites_free(d->invites);
	identity_free(d->identity);
	*d = (struct device){ 0 };
}

static struct token_address at(const struct device *d)
{
	struct token_address a = { .port = mesh_port(d->mesh) };
	memcpy(a.host, "127.0.0.1", 10);
	return a;
}

/* ---- one joiner ---- */

struct joiner {
	struct join *join;
	bool done, ok;
	struct err why;
	struct join_result result;
};

static void on_join(const struct join_result *r, const struct err *why, void *user)
{
	struct joiner *j = user;
	j->done = true;
	j->ok = r != NULL;
	if (r)
		j->result = *r;
	else
		j->why = *why;
}

static void join_start(struct joiner *j, const char *dir, const struct token *t, const char *name)
{
	*j = (struct joiner){ 0 };
	struct join_options o = { .dir = dir, .token = t, .device = name, .timeout_us = 5000000 };
	if (join_new(event, &o, on_join, j, &j->join, &j->why) < 0)
		j->done = true;
}

static void join_wait(struct joiner *j)
{
	RUN_UNTIL(j->done, 8000);
	join_free(j->join);
	j->join = NULL;
}

static struct token invite(struct device *d, enum role role, unsigned uses)
{
	struct err e = { 0 };
	struct token t;
	if (mesh_invite(d->mesh, role, 60, uses, &t, &e) < 0)
		tap_bail("%s", e.message);
	t.n = 1;
	t.address[0] = at(d);
	return t;
}

/* ---- cases ---- */

static void joining(struct device *a)
{
	struct joiner j, k;
	struct token t = invite(a, ROLE_READER, 1);
	join_start(&j, tap_path("b"), &t, "ben's");
	join_wait(&j);
	ok(j.ok && id_equal(&j.result.inviter, identity_device(a->identity)) &&
		   strcmp(j.result.inviter_name, "anna") == 0,
	   "a device joins: %s", j.why.message);
	ok(a->joined == 1 && strcmp(a->joined_name, "ben's") == 0 && a->joined_role == ROLE_READER,
	   "the inviter is told");
	_cleanup_(identity_freep) struct identity *b = NULL;
	struct err e = { 0 };
	ok(identity_open(tap_path("b"), &b, &e) == 0 && identity_role(b) == ROLE_READER &&
		   id_equal(identity_mesh(b), identity_mesh(a->identity)) &&
		   strcmp(identity_mesh_name(b), "family") == 0,
	   "it is a reader of the mesh: %s", e.message);
	join_start(&j, tap_path("c"), &t, "c");
	join_wait(&j);
	ok(!j.ok && j.why.code == -EKEYREVOKED && access(tap_path("c"), F_OK) < 0,
	   "the token is good once: %s", j.why.message);

	/* While another invitation is open the server does answer, and tells. */
	struct token other = invite(a, ROLE_MEMBER, 1);
	join_start(&j, tap_path("c"), &t, "c");
	join_wait(&j);
	ok(!j.ok && j.why.code == -EKEYREVOKED && strstr(j.why.message, "used already"),
	   "used: %s", j.why.message);

	unsigned won = 0, lost = 0;
	char x[16], y[16];
	for (unsigned i = 0; i < 10; i++) {
		t = invite(a, ROLE_MEMBER, 1);
		snprintf(x, sizeof(x), "x%u", i);
		snprintf(y, sizeof(y), "y%u", i);
		join_start(&j, tap_path(x), &t, x);
		join_start(&k, tap_path(y), &t, y);
		RUN_UNTIL(j.done && k.done, 8000);
		join_wait(&j);
		join_wait(&k);
		won += (unsigned)j.ok + (unsigned)k.ok;
		lost += (unsigned)!j.ok + (unsigned)!k.ok;
	}
	ok(won == 10 && lost == 10, "of two that race with one token one joins: %u won, %u lost", won,
	   lost);
	token_wipe(&other);
}

static void refusals(struct device *a)
{
	struct joiner j;
	struct token good = invite(a, ROLE_MEMBER, 1), t = good;
	t.expires = time(NULL) - 7200;
	join_start(&j, tap_path("r"), &t, "r");
	ok(j.done && j.why.code == -ETIMEDOUT && strstr(j.why.message, "2 hours ago"),
	   "an expired token: %s", j.why.message);
	join_free(j.join);
	t = good;
	t.root.b[0] ^= 1;
	join_start(&j, tap_path("r"), &t, "r");
	join_wait(&j);
	ok(!j.ok && j.why.code == -EHOSTUNREACH && strstr(j.why.message, "another mesh"),
	   "a token for another mesh: %s", j.why.message);
	t = good;
	t.address[0].port = 1;
	join_start(&j, tap_path("r"), &t, "r");
	join_wait(&j);
	ok(!j.ok && j.why.code == -EHOSTUNREACH && strstr(j.why.message, "refused"),
	   "nobody there: %s", j.why.message);
	t.n = 0;
	join_start(&j, tap_path("r"), &t, "r");
	ok(j.done && j.why.code == -EDESTADDRREQ, "no address at all: %s", j.why.message);
	join_free(j.join);
	t = good;
	t.n = 2;
	t.address[1] = t.address[0];
	memcpy(t.address[0].host, "no-such-host.invalid", 21);
	join_start(&j, tap_path("r2"), &t, "r2");
	join_wait(&j);
	ok(j.ok, "a bad address beside a good one does no harm: %s", j.why.message);

	/* Guessing: refused, then put off, and the invitation is still good elsewhere. */
	good = invite(a, ROLE_MEMBER, 1);
	unsigned refused = 0, busy = 0;
	for (unsigned i = 0; i < 7; i++) {
		t = good;
		t.secret[0] ^= (uint8_t)(i + 1);
		join_start(&j, tap_path("g"), &t, "g");
		join_wait(&j);
		refused += j.why.code == -EACCES;
		busy += !j.ok && j.why.code != -EACCES;
	}
	ok(refused == 5 && busy == 2, "wrong secrets: %u refused, then %u put off", refused, busy);
	enum role role;
	struct id id;
	invite_id(good.secret, &id);
	is_int(invites_redeem(a->invites, &id, time(NULL), &role), 0,
	       "none of it used up the invitation");
}

/* The token's first address came to another member that has invitations of its own. */
static void wrong_member(struct device *a)
{
	struct err e = { 0 };
	struct joiner j;
	struct device admin = { 0 };
	struct identity *made = member_new(a->identity, tap_path("adm"), "adm", ROLE_ADMIN, time(NULL), &e);
	if (!made)
		tap_bail("%s", e.message);
	identity_free(made);
	start(&admin, tap_path("adm"));
	struct token theirs = invite(&admin, ROLE_MEMBER, 1), t = invite(a, ROLE_MEMBER, 1);
	/* The guesses before have put this host off at a: its address is another's for a. */
	memcpy(t.address[0].host, "::1", 4);
	t.n = 2;
	t.address[1] = t.address[0];
	t.address[0] = theirs.address[0];
	join_start(&j, tap_path("w"), &t, "w");
	join_wait(&j);
	ok(j.ok && id_equal(&j.result.inviter, identity_device(a->identity)),
	   "another member at one of the addresses is passed over: %s", j.why.message);
	theirs.secret[0] ^= 1;
	join_start(&j, tap_path("w2"), &theirs, "w2");
	join_wait(&j);
	ok(!j.ok && j.why.code == -EACCES, "when nobody knows it, it says so: %s", j.why.message);
	join_start(&j, tap_path("ben2"), (theirs.secret[0] ^= 1, &theirs), "ben2");
	join_wait(&j);
	ok(j.ok, "an admin invites as well: %s", j.why.message);
	stop(&admin);
}

static void one_link(struct device *a, struct device *b)
{
	struct err e = { 0 };
	struct token_address to_a = at(a), to_b = at(b);
	unsigned bad = 0;
	for (unsigned i = 0; i < 20; i++) {
		a->ups = a->downs = b->ups = b->downs = 0;
		a->got_len = b->got_len = 0;
		mesh_connect(a->mesh, &to_b, &e);
		mesh_connect(b->mesh, &to_a, &e);
		RUN_UNTIL(a->links == 1 && b->links == 1 && a->got_len && b->got_len, 5000);
		/* Whatever was under way settles; then it has to stay. */
		uint64_t until = clock_us() + 60000;
		RUN_UNTIL(clock_us() > until, 1000);
		struct link *la = mesh_link(a->mesh, identity_device(b->identity));
		struct link *lb = mesh_link(b->mesh, identity_device(a->identity));
		if (a->links != 1 || b->links != 1 || !la || !lb || a->got[0] != 'b' ||
		    b->got[0] != 'a' || mesh_next_link(a->mesh, la)) {
			bad++;
			tap_diag("round %u: links %u %u, ups %u %u, got %s %s", i, a->links, b->links,
				 a->ups, b->ups, a->got, b->got);
		} else {
			struct link_info ia, ib;
			link_info(la, &ia);
			link_info(lb, &ib);
			bad += ia.dialled == ib.dialled;
		}
		mesh_disconnect(a->mesh, &to_b);
		mesh_disconnect(b->mesh, &to_a);
		mesh_cut(a->mesh, identity_device(b->identity));
		RUN_UNTIL(a->links == 0 && b->links == 0, 5000);
	}
	is_uint(bad, 0, "two that dial each other at once keep one link, and the same one");
}

static void fixed(struct device *a, struct device *b)
{
	struct err e = { 0 };
	struct mesh_fixed f;
	struct token_address to_a = at(a), to_b = at(b);
	a->ups = a->downs = 0;
	is_int(mesh_connect(b->mesh, &to_a, &e), 0, "a fixed address");
	is_errno(mesh_connect(b->mesh, &to_a, &e), -EEXIST, "is taken once");
	RUN_UNTIL(a->links == 1 && b->links == 1, 5000);
	ok(mesh_fixed(b->mesh, 0, &f) == 0 && f.connected &&
		   id_equal(&f.device, identity_device(a->identity)),
	   "it is connected");
	is_errno(mesh_fixed(b->mesh, 1, &f), -ENOENT, "and the only one");
	link_close(mesh_link(a->mesh, identity_device(b->identity)));
	RUN_UNTIL(a->downs == 1, 5000);
	uint64_t start_us = clock_us();
	RUN_UNTIL(a->ups == 2 && b->links == 1, 5000);
	uint64_t took = clock_us() - start_us;
	ok(a->ups == 2 && took < 1000000, "a link that broke is back within a second (%llu ms)",
	   (unsigned long long)took / 1000);

	a->refused = *identity_device(b->identity);
	mesh_cut(a->mesh, &a->refused);
	is_uint(a->links, 0, "cut at once");
	RUN_UNTIL(mesh_fixed(b->mesh, 0, &f) == 0 && f.error[0], 5000);
	ok(a->links == 0 && strstr(f.error, "revoked"), "a revoked device stays out: %s", f.error);
	a->refused = (struct id){ { 0 } };
	RUN_UNTIL(a->links == 1 && b->links == 1, 8000);
	ok(a->links == 1, "until it is admitted again");
	is_int(mesh_disconnect(b->mesh, &to_a), 0, "disconnecting");
	RUN_UNTIL(a->links == 0 && b->links == 0, 5000);
	ok(a->links == 0 && b->links == 0 && mesh_fixed(b->mesh, 0, &f) == -ENOENT,
	   "cuts the link and forgets the address");

	mesh_connect(b->mesh, &to_b, &e);
	RUN_UNTIL(mesh_fixed(b->mesh, 0, &f) == 0 && f.error[0], 5000);
	ok(b->links == 0 && strstr(f.error, "itself"), "a device does not connect to itself: %s",
	   f.error);
	mesh_disconnect(b->mesh, &to_b);
}

/* A peer that died without a word and comes back must not be kept out by its old link. */
static void comes_back(struct device *a, struct device *b)
{
	struct err e = { 0 };
	struct token_address to_a = at(a);
	mesh_connect(b->mesh, &to_a, &e);
	RUN_UNTIL(a->links == 1 && b->links == 1, 5000);
	a->ups = a->downs = 0;
	/* A copy of b's daemon, while the first still holds its link. */
	struct device twin = { 0 };
	start(&twin, tap_path("b"));
	mesh_disconnect(b->mesh, &(struct token_address){ .host = "none", .port = 1 });
	mesh_connect(twin.mesh, &to_a, &e);
	RUN_UNTIL(twin.links == 1 && a->downs >= 1, 5000);
	ok(twin.links == 1 && a->downs >= 1 && a->links == 1, "a newer connection replaces an older");
	mesh_disconnect(b->mesh, &to_a);
	stop(&twin);
	RUN_UNTIL(a->links == 0, 5000);
}

static int plain_socket(const struct device *d)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(mesh_port(d->mesh)),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
		tap_bail("cannot connect: %s", strerror(errno));
	return fd;
}

static void flood(struct device *a, struct device *b)
{
	struct err e = { 0 };
	struct token_address to_a = at(a);
	int fd[100];
	for (unsigned i = 0; i < 100; i++) {
		fd[i] = plain_socket(a);
		if (i % 3 == 0 && write(fd[i], "\x16\x03\x01", 3) != 3) /* a ClientHello begins */
			tap_bail("write");
		RUN_UNTIL(true, 0);
		sd_event_run(event, 0);
	}
	mesh_connect(b->mesh, &to_a, &e);
	RUN_UNTIL(a->links == 1 && b->links == 1, 5000);
	ok(a->links == 1, "a good peer gets in through a hundred half-open connections");
	uint64_t until = clock_us() + 50000;
	RUN_UNTIL(clock_us() > until, 1000);
	unsigned open = 0, bytes = 0;
	for (unsigned i = 0; i < 100; i++) {
		uint8_t data[64];
		ssize_t n = recv(fd[i], data, sizeof(data), MSG_DONTWAIT);
		open += n < 0 && errno == EAGAIN;
		bytes += n > 0 ? (unsigned)n : 0;
		close(fd[i]);
	}
	tap_diag("%u of 100 still open", open);
	ok(open <= 8, "eight of one host are kept at most");
	is_uint(bytes, 0, "and none got a byte");
	mesh_disconnect(b->mesh, &to_a);
	RUN_UNTIL(a->links == 0 && b->links == 0, 5000);
}

static void messages(void)
{
	struct join_request q = { .name = "x" }, r;
	_cleanup_(buf_done) struct buf b = { 0 };
	joinmsg_put_request(&b, &q);
	is_int(joinmsg_get_request(b.data, b.len, &r), 0, "a request decodes");
	unsigned bad = 0;
	for (size_t i = 0; i < b.len; i++)
		bad += joinmsg_get_request(b.data, i, &r) == 0;
	buf_u8(&b, 0);
	bad += joinmsg_get_request(b.data, b.len, &r) == 0;
	is_uint(bad, 0, "cut off or extended it does not");
	buf_reset(&b);
	uint8_t secret[IDENTITY_SECRET_SIZE] = { 0 };
	struct join_answer a = { .chain_len = 1, .chain = { { secret, 9 } }, .root = { secret, 5 },
				 .secret = secret, .inviter = "i" }, c;
	joinmsg_put_answer(&b, &a);
	ok(joinmsg_get_answer(b.data, b.len, &c) == 0 && c.chain_len == 1 && c.chain[0].len == 9 &&
		   c.root.len == 5 && strcmp(c.inviter, "i") == 0,
	   "an answer decodes");
	bad = 0;
	for (size_t i = 0; i < b.len; i++)
		bad += joinmsg_get_answer(b.data, i, &c) == 0;
	is_uint(bad, 0, "cut off it does not");
	is_int(joinmsg_length(b.data, 1, JOIN_MESSAGE_MAX), 0, "one byte tells no length");
	is_errno(joinmsg_length((const uint8_t *)"\xff\xff", 2, JOIN_MESSAGE_MAX), -EMSGSIZE,
		 "a length over the limit");
}

int main(void)
{
	struct device a = { 0 }, b = { 0 };
	struct err e = { 0 };
	tap_plan(6 + 7 + 3 + 1 + 11 + 1 + 3 + 6);
	if (sd_event_new(&event) < 0 ||
	    identity_create(tap_path("a"), "family", "anna", time(NULL), &e) < 0)
		tap_bail("set-up: %s", e.message);
	start(&a, tap_path("a"));
	joining(&a);
	refusals(&a);
	wrong_member(&a);
	start(&b, tap_path("b"));
	one_link(&a, &b);
	fixed(&a, &b);
	comes_back(&a, &b);
	flood(&a, &b);
	messages();
	stop(&a);
	stop(&b);
	sd_event_unref(event);
	return tap_done();
}
