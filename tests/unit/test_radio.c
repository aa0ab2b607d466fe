/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two devices, each with an adapter of a BlueZ that does as the test wants, and channels between them in memory: what they
 * make of adapters that vanish, services that restart, and errors. */
#include <fcntl.h>
#include <linux/rfkill.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/airmock.h"
#include "tests/bluezmock.h"
#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/tap.h"
#include "tests/twodevices.h"

/* The address that a token would have. */
static void radio_address(const struct twodevice *d, struct token_address *ret)
{
	struct token_address all[TOKEN_ADDRESSES];
	const unsigned n = mesh_addresses(d->mesh, all, TOKEN_ADDRESSES);
	*ret = (struct token_address){ 0 };
	for (unsigned i = 0; i < n; i++)
		if (strstr(all[i].host, ".bluetooth"))
			*ret = all[i];
}

/* ---- cases ---- */

static void meeting(void)
{
	start_both();
	RUN_UNTIL(linked("bluetooth"), FOUND);
	ok(linked("bluetooth"), "two devices in reach are linked by Bluetooth");
	ok(reasons("only Bluetooth reaches it"), "because nothing else is there");
}

/* The adapter is pulled out, and put back. */
static void vanishing(void)
{
	struct token_address before, after;
	radio_address(&b, &before);
	bluezmock_removed(1);
	bluezmock.adapter[1].there = false;
	RUN_UNTIL(apart(), SOON);
	ok(apart() && strstr(b.why, "adapter is gone"), "an adapter that vanishes takes its link along: %s", b.why);
	radio_address(&b, &after);
	is_str(after.host, "", "no token would name it");
	bluezmock.adapter[1].there = true;
	bluezmock_added(1);
	RUN_UNTIL(linked("bluetooth"), FOUND);
	ok(linked("bluetooth"), "it comes back: linked again");
	radio_address(&b, &after);
	ok(before.host[0] && strcmp(before.host, after.host) == 0 && before.port == after.port && after.port >= 0x80,
	   "at the same address and PSM: %s %u", after.host, after.port);
}

static void restarting(pid_t *bus)
{
	bluezmock_own(false);
	RUN_UNTIL(apart(), SOON);
	bluezmock_own(true);
	RUN_UNTIL(linked("bluetooth"), FOUND);
	ok(linked("bluetooth"), "bluetoothd restarts: linked again");
	bus_stop(*bus);
	RUN_UNTIL(apart(), SOON);
	*bus = bus_start();
	bluezmock_restart();
	RUN_UNTIL(linked("bluetooth"), FOUND);
	ok(linked("bluetooth") && !a.warnings && !b.warnings, "the system bus restarts: linked again, without a warning");
}

static void moving(void)
{
	struct token_address at = { .host = "127.0.0.1", .port = mesh_port(b.mesh) };
	struct err e = { 0 };
	if (mesh_connect(a.mesh, &at, &e) < 0)
		tap_bail("%s", e.message);
	RUN_UNTIL(linked("tcp"), SOON);
	ok(linked("tcp") && reasons("the network is faster than Bluetooth"), "a network comes, and takes over");
	(void)mesh_disconnect(a.mesh, &at);
	RUN_UNTIL(linked("bluetooth"), SOON);
	/* The other one may be called before it sees the end. */
	char why[MESH_REASON_SIZE], there[MESH_REASON_SIZE];
	mesh_reason(a.mesh, identity_device(b.identity), why);
	mesh_reason(b.mesh, identity_device(a.identity), there);
	ok(linked("bluetooth") && strcmp(why, "only Bluetooth reaches it since the network broke off") == 0 &&
		   strncmp(there, "only Bluetooth reaches it", 25) == 0,
	   "it goes, and Bluetooth takes over: %s; %s", why, there);
	stop_both();
}

static void refusing(void)
{
	airmock = (struct airmock){ .refuse = true };
	start_both();
	RUN_UNTIL(airmock.dials >= 3, FOUND);
	ok(airmock.dials >= 3 && airmock.dials < 12 && apart() && !a.warnings && !b.warnings,
	   "a connection that is refused is tried again, with pauses");
	airmock.refuse = false;
	RUN_UNTIL(linked("bluetooth"), FOUND);
	ok(linked("bluetooth"), "until it is not");
	stop_both();

	airmock = (struct airmock){ .silent = true };
	start_both();
	RUN_UNTIL(airmock.dials >= 1, FOUND);
	airmock.silent = false;
	stop(&a);
	ok(airmock.dials >= 1, "one that is not answered can be given up");
	start(&a);
	RUN_UNTIL(linked("bluetooth"), 2 * FOUND);
	ok(linked("bluetooth"), "the next one is answered");
	stop_both();

	airmock = (struct airmock){ 0 };
	start_both();
	a.refuse = b.refuse = true;
	RUN_UNTIL(airmock.dials >= 2, FOUND);
	ok(airmock.dials >= 2 && apart() && !a.ups && !b.ups, "a device that is revoked has no link");
	stop_both();
}

/* One of the two has an error, the other does what both would. */
static void errors(void)
{
	bluezmock.fail_register = "org.bluez.Error.NotAuthorized";
	start(&a);
	RUN_UNTIL(a.warnings, SOON);
	bluezmock.fail_register = NULL;
	ok(a.warnings == 1 && strstr(a.warning, "usermod"), "who may not advertise is told what to do");
	stop(&a);
	bluezmock_forget();

	/* What a daemon that was killed has left. */
	bluezmock.adapter[0].advertising = true;
	start_both();
	RUN_UNTIL(linked("bluetooth"), 2 * FOUND);
	ok(linked("bluetooth") && a.warnings <= 1, "an advertisement that is there already (AlreadyExists) keeps nobody apart");
	stop_both();

	bluezmock.adapter[0].advertises = bluezmock.adapter[1].advertises = false;
	start(&a);
	bluezmock.adapter[1].advertises = true;
	start(&b);
	RUN_UNTIL(linked("bluetooth"), 2 * FOUND);
	ok(linked("bluetooth"), "one that cannot advertise finds the other");
	stop_both();
	bluezmock.adapter[0].advertises = true;
}

static int rfkill_device(void)
{
	int fd;
	tap_write("root/dev/x", "");
	if (mkfifo(tap_path("root/dev/rfkill"), 0600) < 0 || (fd = open(tap_path("root/dev/rfkill"), O_RDWR | O_CLOEXEC)) < 0)
		tap_bail("no FIFO");
	return fd;
}

static void rfkill_say(int fd, bool blocked)
{
	const struct rfkill_event e = { .idx = 3, .type = RFKILL_TYPE_BLUETOOTH, .op = RFKILL_OP_CHANGE, .soft = blocked };
	if (write(fd, &e, sizeof(e)) != (ssize_t)sizeof(e))
		tap_bail("no event");
}

/* Blocked, what is asked for fails, with pauses that grow; not blocked any more, it is asked for at once. */
static void unblocking(void)
{
	int fd = rfkill_device();
	rfkill_say(fd, true);
	bluezmock.fail_register = "org.bluez.Error.Failed";
	const unsigned before = bluezmock.registered;
	start(&a);
	/* After 0, 1, 3 and 7 seconds; the next would be after 15. */
	RUN_UNTIL(bluezmock.registered == before + 4, SOON);
	bluezmock.fail_register = NULL;
	const uint64_t from = clock_us();
	rfkill_say(fd, false);
	RUN_UNTIL(bluezmock_advertising(), SOON);
	ok(bluezmock_advertising() && clock_us() - from < 3000000, "a radio that is not blocked any more is used at once");
	stop(&a);
	bluezmock_forget();
	close(fd);
}

int main(void)
{
	tap_plan(19);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	pid_t bus = bus_start();
	twodevices_start();
	meeting();
	vanishing();
	restarting(&bus);
	moving();
	refusing();
	errors();
	unblocking();
	twodevices_end();
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
