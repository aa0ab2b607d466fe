/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device without documents, for tests of the transports: it keeps links and carries lines.
 * Not installed.
 *
 *     linkpeer init DIR MESH DEVICE
 *     linkpeer admit DIR NEWDIR DEVICE ROLE [SHIFT]   a member made offline, SHIFT seconds from now
 *     linkpeer join DIR TOKEN DEVICE [SECONDS]        prints "joined NAME" or an error, exit 1
 *     linkpeer run DIR [--port N] [--no-discover] [--no-beacons] [--hub] [--revoke ID]
 *                  [--connect HOST:PORT]...
 *
 * run reads commands from standard input and prints events, one a line:
 *
 *     invite [ROLE [SECONDS [USES]]]   -> token TEXT
 *     connect HOST:PORT, disconnect HOST:PORT, fixed
 *     send TEXT                        to all links; the others print "got NAME TEXT" and
 *                                      answer "echo TEXT", printed as "got NAME echo TEXT"
 *     flood BYTES                      sends so many bytes on all links; receivers print
 *                                      "flooded NAME BYTES" at the end of each line
 *     links                            -> link NAME TRANSPORT REMOTE dialled|accepted, then "end"
 *     cut ID, quit
 *
 *     listening PORT; up NAME ID REMOTE dialled|accepted; down NAME WHY; member NAME ROLE;
 *     note TEXT; error TEXT
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "tests/members.h"
#include "transports/join.h"
#include "transports/keyfile.h"
#include "transports/mesh.h"
#include "transports/tcp.h"

#define LINE_MAX_BYTES 65536
#define QUEUE_MAX ((size_t)64 * 1024 * 1024)

struct carrier { /* of one link */
	struct link *link;
	struct buf in, out;
	size_t out_at;
	uint64_t flood;
	char name[NAME_SIZE];
};

struct peer {
	sd_event *event;
	struct mesh *mesh;
	struct id revoked;
	struct buf line;
};

static int fail(const struct err *e)
{
	printf("error %s\n", e->message);
	return 1;
}

static bool number(const char *text, int64_t *ret)
{
	char *end = NULL;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return false;
	*ret = v;
	return true;
}

/* ---- links ---- */

static void pump(struct carrier *c)
{
	while (c->out_at < c->out.len) {
		ssize_t n = link_write(c->link, c->out.data + c->out_at, c->out.len - c->out_at);
		if (n <= 0)
			return;
		c->out_at += (size_t)n;
	}
	buf_reset(&c->out);
	c->out_at = 0;
}

static void say(struct carrier *c, const char *prefix, const char *text, size_t len)
{
	if (c->out.len > QUEUE_MAX)
		return;
	buf_puts(&c->out, prefix);
	buf_put(&c->out, text, len);
	buf_u8(&c->out, '\n');
	pump(c);
}

static void got_line(struct carrier *c, const char *text, size_t len)
{
	if (len > 0 && text[0] == '#') {
		printf("flooded %s %zu\n", c->name, len);
		return;
	}
	printf("got %s %.*s\n", c->name, (int)len, text);
	if (len < 5 || memcmp(text, "echo ", 5) != 0)
		say(c, "echo ", text, len);
}

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct carrier *c = user;
	(void)l;
	while (len > 0) {
		const uint8_t *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		buf_put(&c->in, data, n);
		if (!end)
			return;
		got_line(c, (char *)c->in.data, c->in.len);
		buf_reset(&c->in);
		data += n + 1;
		len -= n + 1;
	}
}

static void writable(struct link *l, void *user)
{
	(void)l;
	pump(user);
}

static const struct link_handler link_handler = { received, writable };

static void link_up(struct link *l, void *user)
{
	struct carrier *c = calloc(1, sizeof(*c));
	struct link_info info;
	char id[ID_HEX];
	(void)user;
	if (!c)
		abort();
	c->link = l;
	memcpy(c->name, l->name, sizeof(c->name));
	link_handle(l, &link_handler, c);
	link_info(l, &info);
	printf("up %s %s %s %s\n", l->name, id_hex(&l->peer, id), info.remote,
	       info.dialled ? "dialled" : "accepted");
}

static void link_down(struct link *l, const struct err *why, bool successor, void *user)
{
	struct carrier *c = l->user;
	(void)successor, (void)user;
	printf("down %s %s\n", l->name, why->message);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static bool admit(const struct id *device, void *user)
{
	const struct peer *p = user;
	return !id_equal(device, &p->revoked);
}

static void joined(const struct id *device, const char *name, enum role role, void *user)
{
	(void)device, (void)user;
	printf("member %s %s\n", name, role_name(role));
}

static void note(int priority, const char *text, void *user)
{
	(void)priority, (void)user;
	printf("note %s\n", text);
}

static const struct mesh_handler mesh_handler = {
	.admit = admit, .link_up = link_up, .link_down = link_down, .joined = joined, .note = note,
};

/* ---- commands ---- */

static void invite(struct peer *p, char *arg)
{
	struct err e = { 0 };
	struct token t;
	enum role role = ROLE_MEMBER;
	char name[16] = "member";
	int64_t seconds = 3600;
	unsigned uses = 1;
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	(void)sscanf(arg, "%15s %" SCNd64 " %u", name, &seconds, &uses);
	if (role_parse(name, &role) < 0)
		err_set(&e, -EINVAL, "%s is no role", name);
	else if (mesh_invite(p->mesh, role, seconds, uses, &t, &e) == 0 &&
		 token_encode(&t, &b, &e) == 0)
		printf("token %s\n", buf_cstr(&b));
	if (e.code)
		fail(&e);
}

static void connect_to(struct peer *p, const char *arg, bool on)
{
	struct err e = { 0 };
	struct token_address a;
	int r = token_address_parse(arg, SHOAL_PORT, &a, &e);
	if (r == 0)
		r = on ? mesh_connect(p->mesh, &a, &e) : mesh_disconnect(p->mesh, &a);
	if (r < 0)
		fail(&e);
}

static void list_links(struct peer *p)
{
	for (struct link *l = NULL; (l = mesh_next_link(p->mesh, l));) {
		struct link_info info;
		link_info(l, &info);
		printf("link %s %s %s %s\n", l->name, info.transport, info.remote,
		       info.dialled ? "dialled" : "accepted");
	}
	printf("end\n");
}

static void list_fixed(struct peer *p)
{
	struct mesh_fixed f;
	for (unsigned i = 0; mesh_fixed(p->mesh, i, &f) == 0; i++)
		printf("fixed %s %u %s %s\n", f.address.host, f.address.port,
		       f.connected ? "connected" : "waiting", f.error);
	printf("end\n");
}

static void send_all(struct peer *p, const char *text, size_t flood)
{
	for (struct link *l = NULL; (l = mesh_next_link(p->mesh, l));) {
		struct carrier *c = l->user;
		if (!flood) {
			say(c, "", text, strlen(text));
			continue;
		}
		uint8_t *space = buf_reserve(&c->out, flood + 1);
		if (!space)
			continue;
		memset(space, '#', flood);
		space[flood] = '\n';
		c->out.len += flood + 1;
		pump(c);
	}
}

static void command(struct peer *p, char *line)
{
	char *arg = strchr(line, ' ');
	int64_t n;
	struct id id;
	if (arg)
		*arg++ = 0;
	else
		arg = line + strlen(line);
	if (strcmp(line, "invite") == 0)
		invite(p, arg);
	else if (strcmp(line, "connect") == 0)
		connect_to(p, arg, true);
	else if (strcmp(line, "disconnect") == 0)
		connect_to(p, arg, false);
	else if (strcmp(line, "fixed") == 0)
		list_fixed(p);
	else if (strcmp(line, "links") == 0)
		list_links(p);
	else if (strcmp(line, "send") == 0)
		send_all(p, arg, 0);
	else if (strcmp(line, "flood") == 0 && number(arg, &n) && n > 0 && (size_t)n < QUEUE_MAX)
		send_all(p, NULL, (size_t)n);
	else if (strcmp(line, "cut") == 0 && id_parse(arg, strlen(arg), &id) == 0)
		mesh_cut(p->mesh, &id);
	else if (strcmp(line, "quit") == 0)
		sd_event_exit(p->event, 0);
	else
		printf("error what is %s?\n", line);
}

static int on_input(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct peer *p = user;
	char data[4096];
	ssize_t n = read(fd, data, sizeof(data));
	(void)s, (void)events;
	if (n <= 0)
		return sd_event_exit(p->event, 0);
	for (ssize_t i = 0; i < n; i++) {
		if (data[i] != '\n') {
			if (p->line.len < LINE_MAX_BYTES)
				buf_u8(&p->line, (uint8_t)data[i]);
			continue;
		}
		char *line = buf_cstr(&p->line);
		if (line)
			command(p, line);
		buf_reset(&p->line);
	}
	return 0;
}

static int run(int argc, char **argv)
{
	struct err e = { 0 };
	struct peer p = { 0 };
	struct mesh_options o = { .discover = true };
	_cleanup_(identity_freep) struct identity *identity = NULL;
	_cleanup_(invites_freep) struct invites *invites = NULL;
	if (identity_open(argv[2], &identity, &e) < 0 || invites_open(argv[2], &invites, &e) < 0)
		return fail(&e);
	for (int i = 3; i < argc; i++) {
		int64_t n = 0;
		if (strcmp(argv[i], "--no-discover") == 0)
			o.discover = false;
		else if (strcmp(argv[i], "--no-beacons") == 0)
			o.no_beacons = true;
		else if (strcmp(argv[i], "--hub") == 0)
			o.take_all = true;
		else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc && number(argv[++i], &n))
			o.port = (uint16_t)n;
		else if (strcmp(argv[i], "--revoke") == 0 && i + 1 < argc)
			(void)id_parse(argv[i + 1], strlen(argv[i + 1]), &p.revoked), i++;
		else if (strcmp(argv[i], "--connect") == 0 && i + 1 < argc)
			i++; /* below */
		else
			return printf("error usage\n"), 2;
	}
	o.invites = invites;
	if (sd_event_new(&p.event) < 0 ||
	    mesh_new(p.event, identity, &o, &mesh_handler, &p, &p.mesh, &e) < 0)
		return fail(&e);
	printf("listening %u\n", mesh_port(p.mesh));
	for (int i = 3; i + 1 < argc; i++)
		if (strcmp(argv[i], "--connect") == 0)
			connect_to(&p, argv[i + 1], true);
	if (sd_event_add_io(p.event, NULL, 0, EPOLLIN, on_input, &p) < 0)
		return 1;
	(void)sd_event_loop(p.event);
	mesh_free(p.mesh);
	buf_done(&p.line);
	sd_event_unref(p.event);
	return 0;
}

/* ---- joining ---- */

static void on_join(const struct join_result *r, const struct err *why, void *user)
{
	sd_event *event = user;
	if (r)
		printf("joined %s %s %u\n", r->inviter_name, r->address.host, r->address.port);
	else
		fail(why);
	(void)sd_event_exit(event, r ? 0 : 1);
}

static int join(const char *dir, const char *text, const char *device, const char *seconds)
{
	struct err e = { 0 };
	struct token t;
	int64_t n = 20;
	if (seconds && !number(seconds, &n))
		return 2;
	if (token_decode(text, strlen(text), &t, &e) < 0)
		return fail(&e);
	sd_event *event = NULL;
	_cleanup_(join_freep) struct join *j = NULL;
	struct join_options o = {
		.dir = dir,
		.token = &t,
		.device = device,
		.timeout_us = (uint64_t)n * 1000000,
	};
	if (sd_event_new(&event) < 0)
		return 1;
	int r = join_new(event, &o, on_join, event, &j, &e);
	token_wipe(&t);
	if (r < 0)
		return fail(&e);
	r = sd_event_loop(event);
	join_free(TAKE_PTR(j));
	sd_event_unref(event);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	int64_t now = (int64_t)time(NULL), shift = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* A test that dies takes its peers along. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 5 && strcmp(argv[1], "init") == 0)
		return identity_create(argv[2], argv[3], argv[4], now, &e) < 0 ? fail(&e) : 0;
	if ((argc == 6 || argc == 7) && strcmp(argv[1], "admit") == 0) {
		_cleanup_(identity_freep) struct identity *by = NULL, *made = NULL;
		enum role role;
		if ((argc == 7 && !number(argv[6], &shift)) || role_parse(argv[5], &role) < 0)
			return 2;
		if (identity_open(argv[2], &by, &e) < 0)
			return fail(&e);
		made = member_new(by, argv[3], argv[4], role, now + shift, &e);
		char hex[ID_HEX];
		return made ? printf("%s\n", id_hex(identity_device(made), hex)), 0 : fail(&e);
	}
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "join") == 0)
		return join(argv[2], argv[3], argv[4], argv[5]);
	if (argc >= 3 && strcmp(argv[1], "run") == 0)
		return run(argc, argv);
	fprintf(stderr, "usage: linkpeer init|admit|join|run ..., see the head of its source\n");
	return 2;
}
