/* SPDX-License-Identifier: GPL-2.0-or-later */
/* invite, join, status, peers, devices, connect, disconnect: the mesh and who is in it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "engine/jsonw.h"
#include "tools/cli.h"
#include "tools/devices.h"
#include "tools/qr.h"
#include "tools/world.h"
#include "transports/address.h"
#include "transports/identity.h"
#include "transports/join.h"
#include "transports/keyfile.h"
#include "transports/tcp.h"

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_putf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
	json_write_string(b, text, strlen(text), JSON_ESCAPE_MINIMAL);
}

static int ask(struct cli *c, const char *method, const struct buf *params, struct buf *text,
	       struct arena *a, struct json **ret, struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	int r = cli_connect(c, &k, e);
	return r < 0 ? r : cli_ask(k, method, params, text, a, ret, e);
}

static int print_qr(const struct cli *c, const char *token, struct err *e)
{
	_cleanup_(keyfile_wipe) struct buf drawing = { 0 };
	struct winsize size = { 0 };
	if (!c->escapes)
		return err_set(e, -ENOTTY, "a terminal without escape sequences cannot show a QR code");
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		size.ws_col = 0;
	int r = qr_draw(token, size.ws_col, &drawing, e);
	if (r == 0)
		fwrite(drawing.data, 1, drawing.len, stdout);
	return r;
}

int cmd_invite(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(keyfile_wipe) struct buf text = { 0 };
	_cleanup_(buf_done) struct buf params = { 0 };
	struct json *answer;
	bool qr = c->line.value[INVITE_QR].set;
	if (qr && c->line.json)
		return cli_usage(c, "--qr is for people, --json for programs: give one of them");
	buf_puts(&params, "{");
	if (c->line.value[INVITE_ROLE].set)
		put_text(&params, "role", c->line.value[INVITE_ROLE].text);
	if (c->line.value[INVITE_EXPIRES].set) {
		uint64_t s = c->line.value[INVITE_EXPIRES].number / 1000000;
		if (s < 1 || s > 366 * 86400)
			return cli_usage(c, "--expires is from 1s to 366d");
		buf_putf(&params, "%s\"expires_s\":%llu", params.len > 1 ? "," : "",
			 (unsigned long long)s);
	}
	if (c->line.value[INVITE_USES].set)
		buf_putf(&params, "%s\"uses\":%llu", params.len > 1 ? "," : "",
			 (unsigned long long)c->line.value[INVITE_USES].number);
	buf_puts(&params, "}");
	int r = ask(c, "invite", &params, &text, &a, &answer, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	/* Without a drawing the token is as good as ever: it is printed in any case. */
	const char *token = cli_text(&a, answer, "token", "");
	r = qr && c->terminal ? print_qr(c, token, &e) : 0;
	puts(token);
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

/* ---- join ---- */

struct joining {
	sd_event *event;
	struct join *join;
	bool ok;
	struct join_result result;
	struct err e;
};

static void on_joined(const struct join_result *r, const struct err *why, void *user)
{
	struct joining *j = user;
	j->ok = r != NULL;
	if (r)
		j->result = *r;
	else if (why)
		j->e = *why;
	sd_event_exit(j->event, 0);
}

/* The token: from standard input, or from the command line, where it is wiped at once. */
static int read_token(struct cli *c, struct token *ret, struct err *e)
{
	char *arg = c->line.arg[0];
	int r;
	if (strcmp(arg, "-") != 0) {
		r = token_decode(arg, strlen(arg), ret, e);
		explicit_bzero(arg, strlen(arg));
		return r;
	}
	char text[TOKEN_TEXT_MAX + 1];
	size_t n = fread(text, 1, sizeof(text), stdin);
	r = n > TOKEN_TEXT_MAX ? err_set(e, -EBADMSG, "what stands on standard input is no token") :
				 token_decode(text, n, ret, e);
	explicit_bzero(text, sizeof(text));
	return r;
}

/* A store that belongs to a mesh cannot enter another one. */
static int refuse_member(struct storedir *dir, struct err *e)
{
	_cleanup_(identity_freep) struct identity *own = NULL;
	struct err ignored;
	const char *mesh = identity_open(storedir_file(dir, STOREDIR_IDENTITY), &own, &ignored) == 0 ?
				   identity_mesh_name(own) : "?";
	pid_t pid = storedir_holder(dir);
	if (pid)
		return err_set(e, -EEXIST,
			       "this store belongs to the mesh \"%s\" already, and its daemon runs. If "
			       "nothing in it is needed: shoal down, remove %.70s, join again; else "
			       "join with --store DIR",
			       mesh, storedir_path(dir));
	return err_set(e, -EEXIST,
		       "this store belongs to the mesh \"%s\" already. If nothing in it is needed: "
		       "remove %.90s and join again; else join with --store DIR",
		       mesh, storedir_path(dir));
}

/* Where the inviter answered is worth remembering: discovery may not reach so far. It is the first
 * device of the mesh that this one knows. A failure costs only that. */
static void remember(struct storedir *dir, const struct join_result *result)
{
	const struct token_address *a = &result->address;
	struct device inviter = { .id = result->inviter, .role = ROLE_ADMIN, .seen_us = world_wall_us() };
	char text[TOKEN_HOST_MAX + 16];
	_cleanup_(identity_freep) struct identity *identity = NULL;
	struct store *store = NULL;
	struct replica *replica = NULL;
	struct err e;
	bool six = strchr(a->host, ':') != NULL;
	struct address radio;
	/* Who is in reach of Bluetooth is found by it. */
	const bool worth = address_bluetooth_named(a->host, a->port, &radio) < 0;
	snprintf(text, sizeof(text), "%s%s%s:%u", six ? "[" : "", a->host, six ? "]" : "",
		 (unsigned)a->port);
	if (world_open(dir, &identity, &store, &replica, &e) < 0)
		return;
	if (worth)
		addresses_add(replica, text, true);
	memcpy(inviter.name, result->inviter_name, NAME_SIZE);
	devices_note(replica, &inviter);
	replica_free(replica);
	store_close(store);
}

static void default_device(char name[static NAME_SIZE])
{
	char host[256] = "";
	if (gethostname(host, sizeof(host) - 1) < 0)
		*host = 0;
	host[strcspn(host, ".")] = 0;
	snprintf(name, NAME_SIZE, "%.*s", NAME_LIMIT, host);
	if (!name_ok(name, strlen(name)))
		snprintf(name, NAME_SIZE, "device");
}

static int run_join(struct cli *c, struct storedir *dir, const struct token *token,
		    struct joining *j, struct err *e)
{
	char name[NAME_SIZE];
	struct token_address extra;
	const char *address = c->line.value[JOIN_ADDRESS].text;
	default_device(name);
	struct join_options o = {
		.dir = storedir_file(dir, STOREDIR_IDENTITY),
		.token = token,
		.device = c->line.value[JOIN_DEVICE].set ? c->line.value[JOIN_DEVICE].text : name,
		.extra = &extra,
		.n_extra = address ? 1 : 0,
		.timeout_us = c->line.value[JOIN_TIMEOUT].number,
	};
	int r = address ? token_address_parse(address, SHOAL_PORT, &extra, e) : 0;
	if (r == 0 && !name_ok(o.device, strlen(o.device)))
		r = err_set(e, -EINVAL, "a device's name is 1 to %d bytes of UTF-8 without control "
					"characters", NAME_LIMIT);
	if (r == 0)
		r = token_check_expiry(token, time(NULL), e);
	if (r < 0)
		return r;
	r = sd_event_new(&j->event);
	if (r < 0)
		return err_errno(e, r, "cannot join");
	r = join_new(j->event, &o, on_joined, j, &j->join, e);
	if (r == 0)
		r = sd_event_loop(j->event);
	join_free(j->join);
	sd_event_unref(j->event);
	if (r >= 0 && !j->ok) {
		*e = j->e;
		r = j->e.code ? j->e.code : -EIO;
	}
	return r < 0 ? r : 0;
}

int cmd_join(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	struct token token = { 0 };
	struct joining j = { 0 };
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(identity_freep) struct identity *own = NULL;
	int r = read_token(c, &token, &e);
	if (r == 0)
		r = cli_find_store(c, NULL, &e);
	if (r == 0)
		r = cli_open_store(c, true, &dir, &e);
	if (r == 0 && storedir_has_identity(dir))
		r = refuse_member(dir, &e);
	if (r == 0)
		r = storedir_lock(dir, &e);
	if (r == 0)
		r = run_join(c, dir, &token, &j, &e);
	token_wipe(&token);
	if (r == 0)
		r = identity_open(storedir_file(dir, STOREDIR_IDENTITY), &own, &e);
	if (r < 0)
		return cli_fail(c, &e);
	remember(dir, &j.result);
	if (!c->line.json) {
		printf("Joined the mesh \"%s\" as \"%s\", let in by \"%s\".\nNext: shoal up\n",
		       identity_mesh_name(own), identity_device_name(own), j.result.inviter_name);
		return EXIT_DONE;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "{");
	put_text(&b, "store", storedir_path(dir));
	put_text(&b, "mesh", identity_mesh_name(own));
	put_text(&b, "device", identity_device_name(own));
	put_text(&b, "inviter", j.result.inviter_name);
	buf_puts(&b, "}");
	return cli_print(&b);
}

/* ---- status, peers, devices ---- */

static const char *colour(const struct cli *c, const char *code)
{
	return c->colour ? code : "";
}
#define BOLD "\033[1m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

static void line(const struct cli *c, const char *name)
{
	printf("%s%-10s%s", colour(c, BOLD), name, colour(c, PLAIN));
}

static void print_sync(const struct cli *c, struct arena *a, const struct json *status)
{
	const struct json *sync = json_get_z(status, "sync");
	const char *state = cli_text(a, sync, "state", "?");
	uint64_t peers = cli_uint(sync, "peers");
	bool good = strcmp(state, "in step") == 0;
	line(c, "sync");
	printf("%s%s%s", colour(c, good ? GREEN : YELLOW), state, colour(c, PLAIN));
	if (peers)
		printf(" with %llu device%s", (unsigned long long)peers, peers == 1 ? "" : "s");
	if (cli_uint(sync, "behind_here") || cli_uint(sync, "behind_there"))
		printf(", %llu to get, %llu to give", (unsigned long long)cli_uint(sync, "behind_here"),
		       (unsigned long long)cli_uint(sync, "behind_there"));
	putchar('\n');
	const struct json *addresses = json_get_z(status, "addresses");
	for (const struct json *v = addresses ? addresses->first : NULL; v; v = v->next) {
		const char *why = cli_text(a, v, "error", NULL);
		line(c, "address");
		printf("%s %s%s%s\n", cli_text(a, v, "address", "?"),
		       cli_true(v, "connected") ? "connected" : "not connected", why ? ": " : "",
		       why ? why : "");
	}
}

/* People hear of it for some days. */
static void print_renewed(const struct cli *c, struct arena *a, const struct json *renewed)
{
	char date[HUMAN_DATE];
	if (!renewed || renewed->type != JSON_OBJECT || cli_uint(renewed, "ago_s") > RENEWED_TOLD_S)
		return;
	line(c, "copy");
	printf("%s: found %s, see shoald(8), Copies of a store\n",
	       strcmp(cli_text(a, renewed, "by", ""), "peer") == 0 ?
		       "this store was brought back, a device knew more of it" :
		       "this store was copied or brought back",
	       human_date(cli_text(a, renewed, "at", ""), date));
}

/* Only if there is something to say. */
static void print_contents(const struct cli *c, struct arena *a, const struct json *contents)
{
	char here[HUMAN_SIZE], size[HUMAN_SIZE];
	const uint64_t absent = cli_uint(contents, "absent"), room = cli_uint(contents, "evicted_for_room");
	const struct json *files = contents ? json_get_z(contents, "files") : NULL;
	if (absent == 0 && room == 0)
		return;
	line(c, "contents");
	printf("of %llu %s elsewhere", (unsigned long long)absent, absent == 1 ? "file" : "files");
	if (room)
		printf(", %llu evicted because the disk was nearly full", (unsigned long long)room);
	putchar('\n');
	for (const struct json *v = files ? files->first : NULL; v; v = v->next) {
		line(c, "fetching");
		printf("%s, %s of %s\n", cli_text(a, v, "path", "?"), human_bytes(cli_uint(v, "here"), here),
		       human_bytes(cli_uint(v, "size"), size));
	}
}

static void print_status(const struct cli *c, struct arena *a, const struct json *s)
{
	char bytes[HUMAN_SIZE], room[HUMAN_SIZE];
	const struct json *mount = json_get_z(s, "mount"), *disk = json_get_z(s, "disk");
	const struct json *drafts = json_get_z(s, "drafts"), *device = json_get_z(s, "device");
	line(c, "device");
	printf("%s (%s)\n", cli_text(a, device, "name", "?"), cli_text(a, device, "role", "?"));
	line(c, "mesh");
	puts(cli_text(a, json_get_z(s, "mesh"), "name", "?"));
	line(c, "mount");
	puts(cli_text(a, mount, "dir", "not mounted"));
	line(c, "store");
	printf("%s, %s (%s free)\n", cli_text(a, s, "store", "?"),
	       human_bytes(cli_uint(disk, "store_bytes"), bytes),
	       human_bytes(cli_uint(disk, "free_bytes"), room));
	line(c, "files");
	printf("%llu", (unsigned long long)cli_uint(s, "files"));
	if (cli_uint(s, "conflicts"))
		printf(", %llu in conflict: `shoal conflicts` lists them",
		       (unsigned long long)cli_uint(s, "conflicts"));
	putchar('\n');
	print_contents(c, a, json_get_z(s, "contents"));
	print_sync(c, a, s);
	print_renewed(c, a, json_get_z(device, "renewed"));
	for (const struct json *v = drafts ? drafts->first : NULL; v; v = v->next) {
		line(c, "draft");
		printf("%s, ", cli_text(a, v, "path", "?"));
		if (cli_uint(v, "line"))
			printf("line %llu, column %llu: ", (unsigned long long)cli_uint(v, "line"),
			       (unsigned long long)cli_uint(v, "column"));
		puts(cli_text(a, v, "error", ""));
	}
}

int cmd_status(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	struct json *status;
	if (ask(c, "status", NULL, &text, &a, &status, &e) < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	print_status(c, &a, status);
	return EXIT_DONE;
}

/* Who is here as well, though not connected to this device. */
static void print_others(struct cli *c, struct arena *a)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	struct json *list;
	struct err e = { 0 };
	unsigned n = 0;
	if (ask(c, "devices", NULL, &text, a, &list, &e) < 0)
		return;
	for (const struct json *v = list->first; v; v = v->next)
		n += *cli_text(a, v, "through", "") != 0;
	if (n)
		printf("%u more %s reachable through them: `shoal peers --graph` shows how.\n", n,
		       n == 1 ? "is" : "are");
}

/* How fast the link is, in the direction from here if that is known. */
static const char *rate_text(const struct json *v, char *buf, size_t size)
{
	const struct json *slow = json_get_z(v, "slow");
	uint64_t rate = cli_uint(v, "rate_out") ? cli_uint(v, "rate_out") : cli_uint(v, "rate_in");
	bool is_slow = slow && slow->type == JSON_TRUE;
	if (rate < 1000000)
		snprintf(buf, size, "%llu kbit/s%s", (unsigned long long)(rate / 1000), is_slow ? " slow" : "");
	else
		snprintf(buf, size, "%llu Mbit/s%s", (unsigned long long)(rate / 1000000), is_slow ? " slow" : "");
	return rate ? buf : is_slow ? "slow" : "-";
}

int cmd_peers(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(listing_done) struct listing t = { .columns = 10 };
	static const char *const head[] = { "DEVICE", "STATE", "OVER", "ADDRESS", "RTT", "RATE", "IN/OUT",
					    "TO GET", "TO GIVE", "WHY THIS WAY" };
	struct json *list;
	if (c->line.value[PEERS_GRAPH].set || c->line.value[PEERS_DOT].set)
		return cli_graph(c);
	if (ask(c, "peers", NULL, &text, &a, &list, &e) < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	if (!list->count) {
		puts("Nobody is here. `shoal devices` shows who was, `shoal connect HOST` asks there.");
		return EXIT_DONE;
	}
	for (unsigned i = 0; i < t.columns; i++)
		listing_cell(&t, head[i]);
	for (const struct json *v = list->first; v; v = v->next) {
		char in[HUMAN_SIZE], out[HUMAN_SIZE], both[2 * HUMAN_SIZE], number[HUMAN_SIZE];
		listing_cell(&t, cli_text(&a, v, "device", "?"));
		listing_cell(&t, cli_text(&a, v, "state", "?"));
		listing_cell(&t, cli_text(&a, v, "transport", "?"));
		listing_cell(&t, cli_text(&a, v, "address", "?"));
		listing_cell(&t, cli_uint(v, "rtt_us") ? human_time(cli_uint(v, "rtt_us"), number) : "-");
		listing_cell(&t, rate_text(v, both, sizeof(both)));
		snprintf(both, sizeof(both), "%s/%s", human_bytes(cli_uint(v, "bytes_in"), in),
			 human_bytes(cli_uint(v, "bytes_out"), out));
		listing_cell(&t, both);
		snprintf(number, sizeof(number), "%llu", (unsigned long long)cli_uint(v, "behind_here"));
		listing_cell(&t, number);
		snprintf(number, sizeof(number), "%llu", (unsigned long long)cli_uint(v, "behind_there"));
		listing_cell(&t, number);
		listing_cell(&t, cli_text(&a, v, "reason", ""));
	}
	listing_print(&t);
	for (const struct json *v = list->first; v; v = v->next) {
		const struct json *copies = json_get_z(v, "copies");
		if (copies && copies->type == JSON_TRUE)
			printf("%s runs twice, from copies of one store: see shoald(8), Copies of a store.\n",
			       cli_text(&a, v, "device", "?"));
	}
	print_others(c, &a);
	return EXIT_DONE;
}

int cmd_devices(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(listing_done) struct listing t = { .columns = 4 };
	static const char *const head[] = { "DEVICE", "ROLE", "ID", "LAST SEEN" };
	struct json *list;
	if (ask(c, "devices", NULL, &text, &a, &list, &e) < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	for (unsigned i = 0; i < t.columns; i++)
		listing_cell(&t, head[i]);
	for (const struct json *v = list->first; v; v = v->next) {
		char id[13];
		snprintf(id, sizeof(id), "%.12s", cli_text(&a, v, "id", "?"));
		listing_cell(&t, cli_text(&a, v, "name", "?"));
		listing_cell(&t, cli_text(&a, v, "role", "?"));
		listing_cell(&t, id);
		char by[NAME_SIZE + 16];
		snprintf(by, sizeof(by), "through %s", cli_text(&a, v, "through", ""));
		listing_cell(&t, cli_true(v, "self")		  ? "this device" :
				 cli_true(v, "connected")	  ? "connected" :
				 *cli_text(&a, v, "through", "") ? by :
								    cli_text(&a, v, "last_seen", "never"));
	}
	listing_print(&t);
	return EXIT_DONE;
}

static int change_address(struct cli *c, const char *method, const char *what)
{
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 }, params = { 0 };
	struct json *answer;
	buf_puts(&params, "{");
	put_text(&params, "address", c->line.arg[0]);
	buf_puts(&params, "}");
	if (ask(c, method, &params, &text, &a, &answer, &e) < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	printf("%s %s.\n", what, cli_text(&a, answer, "address", c->line.arg[0]));
	return EXIT_DONE;
}

int cmd_connect(void *context)
{
	return change_address(context, "connect", "From now on connecting to");
}

int cmd_disconnect(void *context)
{
	return change_address(context, "disconnect", "No longer connecting to");
}
