/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/twodevices.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include "tests/bluezmock.h"
#include "tests/ends.h"
#include "tests/members.h"
#include "tests/tap.h"

struct twodevice a, b;

static bool admit(const struct id *device, void *user)
{
	const struct twodevice *d = user;
	(void)device;
	return !d->refuse;
}

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	(void)l, (void)data, (void)len, (void)user;
}

static const struct link_handler link_handler = { .received = received };

static void link_up(struct link *l, void *user)
{
	struct twodevice *d = user;
	d->ups++;
	link_handle(l, &link_handler, d);
}

static void link_down(struct link *l, const struct err *why, bool successor, void *user)
{
	struct twodevice *d = user;
	(void)l, (void)successor;
	d->downs++;
	snprintf(d->why, sizeof(d->why), "%s", why->message);
}

static void note(int priority, const char *text, void *user)
{
	struct twodevice *d = user;
	tap_diag("%s: %d %s", identity_device_name(d->identity), priority, text);
	snprintf(d->line, sizeof(d->line), "%s", text);
	if (priority > LOG_WARNING)
		return;
	d->warnings++;
	snprintf(d->warning, sizeof(d->warning), "%s", text);
}

static bool busy(const struct id *device, struct mesh_backlog *ret, void *user)
{
	const struct twodevice *d = user;
	(void)device;
	if (d->busy && ret)
		*ret = (struct mesh_backlog){ MESH_CHANGES, 320 };
	return d->busy;
}

static bool told(const struct id *device, void *user)
{
	const struct twodevice *d = user;
	(void)device;
	return d->told;
}

static const struct mesh_handler handler = {
	.admit = admit, .link_up = link_up, .link_down = link_down, .busy = busy, .told = told, .note = note,
};

void start(struct twodevice *d)
{
	struct err e = { 0 };
	d->ups = d->downs = d->warnings = 0;
	d->refuse = d->busy = d->told = false;
	if (mesh_new(event, d->identity, &d->options, &handler, d, &d->mesh, &e) < 0)
		tap_bail("%s", e.message);
}

void stop(struct twodevice *d)
{
	mesh_free(d->mesh);
	d->mesh = NULL;
}

void start_both(void)
{
	start(&a);
	start(&b);
}

void stop_both(void)
{
	stop(&a);
	stop(&b);
	/* bluetoothd notices that a client is gone. */
	bluezmock_forget();
}

bool linked(const char *transport)
{
	struct link *x = mesh_link(a.mesh, identity_device(b.identity)), *y = mesh_link(b.mesh, identity_device(a.identity));
	struct link_info ix, iy;
	if (!x || !y)
		return false;
	link_info(x, &ix);
	link_info(y, &iy);
	return strcmp(ix.transport, transport) == 0 && strcmp(iy.transport, transport) == 0;
}

bool apart(void)
{
	return !mesh_next_link(a.mesh, NULL) && !mesh_next_link(b.mesh, NULL);
}

bool reasons(const char *text)
{
	char x[MESH_REASON_SIZE], y[MESH_REASON_SIZE];
	RUN_UNTIL((mesh_reason(a.mesh, identity_device(b.identity), x), mesh_reason(b.mesh, identity_device(a.identity), y),
		   strcmp(x, text) == 0 && strcmp(y, text) == 0),
		  FOUND);
	const bool same = strcmp(x, text) == 0 && strcmp(y, text) == 0;
	if (!same)
		tap_diag("\"%s\" and \"%s\"", x, y);
	return same;
}

void twodevices_start(void)
{
	struct err e = { 0 };
	const int64_t now = (int64_t)time(NULL);
	if (identity_create(tap_path("a"), "home", "anna", now, &e) < 0 || identity_open(tap_path("a"), &a.identity, &e) < 0 ||
	    !(b.identity = member_new(a.identity, tap_path("b"), "ben", ROLE_MEMBER, now, &e)))
		tap_bail("%s", e.message);
	mkdir(tap_path("root"), 0755);
	/* Borrowed as long as the test runs. */
	static char root[4096];
	snprintf(root, sizeof(root), "%s", tap_path("root"));
	a.options = (struct mesh_options){ .listen = "127.0.0.1", .bluetooth = "hci0", .root = root };
	b.options = (struct mesh_options){ .listen = "127.0.0.1", .bluetooth = "hci1", .root = root };
	bluezmock_start();
	bluezmock.adapter[1].there = bluezmock.air = true;
	bluezmock_own(true);
}

void twodevices_end(void)
{
	bluezmock_stop();
	identity_free(a.identity);
	identity_free(b.identity);
}
