/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many devices of one mesh in one process, which connect to one that serves: what a hub costs.
 *
 *     hubload IDENTITY DIR HOST PORT COUNT
 *
 * IDENTITY is the directory of an admin's keys, which certify COUNT devices; theirs go to DIR. Each has a store
 * in memory and its own connection. Prints "connected N" when all of them are and hold what the hub
 * does, then reads commands, one a line:
 *
 *     write      the first device changes a file: prints "seen N MICROSECONDS" when all others have it
 *     stop N     so many of them, the last ones, read no more: prints "stopped N"
 *     cut        prints "cut" when all connections are closed, and ends
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <signal.h>
#include <time.h>

#include "tests/members.h"
#include "tests/pair.h"
#include "tests/tap.h"
#include "transports/dial.h"
#include "transports/tls.h"

#define CONNECTING 6 /* at a time: a device lets 8 of one host begin */
#define TURN 65536

struct device {
	struct node node;
	struct identity *identity;
	struct tls_context *context;
	struct dial *dial;
	struct tls *tls;
	struct session *session;
	sd_event_source *timer;
	struct buf out;
	size_t done;
	bool greeted, stopped, there;
};

static struct load { /* one program, one loop */
	sd_event *event;
	struct device *device;
	unsigned count, begun, live;
	struct address hub;
	uint64_t version, began;
	unsigned seen;
	bool said, waiting;
	char line[64];
	size_t len;
} l;

static uint64_t clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void begin_next(void);

static void pump(struct device *d)
{
	struct err e = { 0 };
	while (d->session && !d->stopped) {
		while (d->done < d->out.len) {
			ssize_t n = link_write(tls_link(d->tls), d->out.data + d->done, d->out.len - d->done);
			if (n <= 0)
				return;
			d->done += (size_t)n;
		}
		buf_reset(&d->out);
		d->done = 0;
		if (session_output(d->session, &d->out, TURN, clock_us(), &e) < 0)
			tap_bail("output: %s", e.message);
		if (d->out.len == 0)
			break;
	}
	if (d->session) {
		sd_event_source_set_time(d->timer, session_deadline(d->session));
		sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
	}
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user)
{
	(void)s, (void)usec;
	pump(user);
	return 0;
}

/* Whether the device shows the version that is waited for. */
static void look(struct device *d)
{
	if (!l.waiting || d->there || d->stopped)
		return;
	char want[32];
	snprintf(want, sizeof(want), "version %llu\n", (unsigned long long)l.version);
	_cleanup_free_ char *text = node_read(&d->node, "hub", "tick.txt");
	if (!text || strcmp(text, want) != 0)
		return;
	d->there = true;
	unsigned all = 0;
	for (unsigned i = 0; i < l.count; i++)
		all += !l.device[i].stopped;
	if (++l.seen < all)
		return;
	l.waiting = false;
	printf("seen %u %llu\n", l.seen - 1, (unsigned long long)(clock_us() - l.began));
}

static void check_all_live(void)
{
	if (l.said || l.begun < l.count)
		return;
	for (unsigned i = 0; i < l.count; i++) {
		struct session_status st;
		if (!l.device[i].session)
			return;
		session_status(l.device[i].session, &st);
		if (st.phase != SESSION_LIVE)
			return;
	}
	l.said = true;
	printf("connected %u\n", l.count);
}

static void received(struct link *link, const uint8_t *data, size_t len, void *user)
{
	struct device *d = user;
	struct err e = { 0 };
	(void)link;
	if (!d->greeted) {
		if (data[0] != 1 && data[0] != 7)
			tap_bail("greeted with %u", data[0]);
		d->greeted = true;
		data++;
		len--;
		if (session_new(d->node.replica, &tls_link(d->tls)->peer, clock_us(), &d->session) < 0)
			tap_bail("no session");
		begin_next();
	}
	if (len > 0 && session_input(d->session, data, len, clock_us(), &e) < 0)
		tap_bail("input: %s", e.message);
	node_flush(&d->node, d->session);
	pump(d);
	look(d);
	check_all_live();
}

static void writable(struct link *link, void *user)
{
	(void)link;
	pump(user);
}

static const struct link_handler link_handler = { received, writable };

static void on_up(struct tls *t, void *user)
{
	link_handle(tls_link(t), &link_handler, user);
	(void)link_write(tls_link(t), &(uint8_t){ 1 }, 1);
}

static void on_closed(struct tls *t, const struct err *why, void *user)
{
	struct device *d = user;
	(void)t;
	if (!d->stopped)
		tap_bail("closed: %s", why->message);
	session_free(d->session);
	d->session = NULL;
	tls_free(d->tls);
	d->tls = NULL;
}

static const struct tls_handler tls_handler = { NULL, on_up, on_closed, NULL };

static void on_dialled(struct wire *wire, const struct address *remote, const struct err *why,
		       void *user)
{
	struct device *d = user;
	struct err e = { 0 };
	const struct tls_options o = { .kinds = TLS_LINK, .timeout_us = 60 * UINT64_C(1000000) };
	(void)remote;
	if (!wire)
		tap_bail("dial: %s", why->message);
	dial_free(d->dial);
	d->dial = NULL;
	if (tls_new(d->context, l.event, wire, &o, &tls_handler, d, &d->tls, &e) < 0)
		tap_bail("tls: %s", e.message);
}

static void begin_next(void)
{
	struct err e = { 0 };
	if (l.begun == l.count)
		return;
	struct device *d = &l.device[l.begun++];
	if (dial_address(l.event, &l.hub, NULL, 60 * UINT64_C(1000000), on_dialled, d, &d->dial, &e) < 0)
		tap_bail("dial: %s", e.message);
}

static void device_make(struct device *d, unsigned i, const struct identity *by, const char *dir)
{
	struct err e = { 0 };
	char path[512], name[32];
	snprintf(path, sizeof(path), "%s/%u", dir, i);
	snprintf(name, sizeof(name), "device-%u", i);
	d->identity = member_new(by, path, name, ROLE_MEMBER, time(NULL), &e);
	if (!d->identity || tls_context_new(d->identity, &d->context, &e) < 0)
		tap_bail("%s: %s", name, e.message);
	node_open_as(&d->node, identity_device(d->identity));
	if (sd_event_add_time(l.event, &d->timer, CLOCK_BOOTTIME, UINT64_MAX, 1000, on_timer, d) < 0)
		tap_bail("timer");
}

static void write_file(void)
{
	char text[32];
	snprintf(text, sizeof(text), "version %llu\n", (unsigned long long)++l.version);
	for (unsigned i = 0; i < l.count; i++)
		l.device[i].there = false;
	l.seen = 0;
	l.waiting = true;
	l.began = clock_us();
	node_write(&l.device[0].node, "hub", "tick.txt", text, strlen(text));
	node_flush(&l.device[0].node, l.device[0].session);
	pump(&l.device[0]);
	look(&l.device[0]);
}

static void command(void)
{
	unsigned n = 0;
	if (strcmp(l.line, "write") == 0) {
		write_file();
	} else if (sscanf(l.line, "stop %u", &n) == 1 && n < l.count) {
		for (unsigned i = l.count - n; i < l.count; i++) {
			l.device[i].stopped = true;
			link_read(tls_link(l.device[i].tls), false);
		}
		printf("stopped %u\n", n);
	} else {
		for (unsigned i = 0; i < l.count; i++)
			tls_free(l.device[i].tls);
		printf("cut\n");
		(void)sd_event_exit(l.event, 0);
	}
}

static int on_input(sd_event_source *s, int fd, uint32_t events, void *user)
{
	char c;
	ssize_t n = read(fd, &c, 1);
	(void)s, (void)events, (void)user;
	if (n <= 0)
		return sd_event_exit(l.event, 0);
	if (c != '\n') {
		if (l.len < sizeof(l.line) - 1)
			l.line[l.len++] = c;
		return 0;
	}
	l.line[l.len] = 0;
	l.len = 0;
	command();
	return 0;
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct identity *by = NULL;
	struct rlimit files;
	setvbuf(stdout, NULL, _IOLBF, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc != 6)
		return 2;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	l.count = (unsigned)strtoul(argv[5], NULL, 10);
	l.hub.in = (struct sockaddr_in){ .sin_family = AF_INET,
					 .sin_port = htons((uint16_t)strtoul(argv[4], NULL, 10)) };
	if (inet_pton(AF_INET, argv[3], &l.hub.in.sin_addr) != 1 || l.count < 2)
		return 2;
	if (sd_event_new(&l.event) < 0 || identity_open(argv[1], &by, &e) < 0)
		tap_bail("%s", e.message);
	l.device = calloc(l.count, sizeof(*l.device));
	if (!l.device)
		tap_bail("out of memory");
	for (unsigned i = 0; i < l.count; i++)
		device_make(&l.device[i], i, by, argv[2]);
	for (unsigned i = 0; i < CONNECTING; i++)
		begin_next();
	if (sd_event_add_io(l.event, NULL, 0, EPOLLIN, on_input, NULL) < 0)
		tap_bail("input");
	return sd_event_loop(l.event) < 0;
}
