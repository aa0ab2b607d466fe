/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of radios. A FIFO stands for /dev/rfkill: it gives what is written to it, event by event. nl80211 is
 * there or not, as it is on the machine. */
#include <fcntl.h>
#include <linux/rfkill.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/tap.h"
#include "transports/radios.h"

static unsigned changes;

static void on_change(void *user)
{
	(void)user;
	changes++;
}

static int device(void)
{
	int fd;
	tap_write("root/dev/x", "");
	unlink(tap_path("root/dev/rfkill"));
	if (mkfifo(tap_path("root/dev/rfkill"), 0600) < 0 || (fd = open(tap_path("root/dev/rfkill"), O_RDWR | O_CLOEXEC)) < 0)
		tap_bail("no FIFO");
	return fd;
}

static void say(int fd, unsigned op, uint32_t number, unsigned type, bool soft, bool hard)
{
	const struct rfkill_event e = { .idx = number, .type = (uint8_t)type, .op = (uint8_t)op, .soft = soft, .hard = hard };
	if (write(fd, &e, sizeof(e)) != (ssize_t)sizeof(e))
		tap_bail("no event");
}

int main(void)
{
	struct radios *r = NULL;
	struct err e = { 0 };
	tap_plan(11);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	ok(radios_new(event, tap_path("none"), on_change, NULL, &r, &e) == 0 && !radios_blocked(r, RADIOS_WIFI),
	   "without any radio nothing is blocked");
	radios_free(r);

	int fd = device();
	say(fd, RFKILL_OP_ADD, 0, RFKILL_TYPE_WLAN, false, false);
	say(fd, RFKILL_OP_ADD, 1, RFKILL_TYPE_BLUETOOTH, true, false);
	if (radios_new(event, tap_path("root"), on_change, NULL, &r, &e) < 0)
		tap_bail("%s", e.message);
	ok(!radios_blocked(r, RADIOS_WIFI) && radios_blocked(r, RADIOS_BLUETOOTH), "what there is in the beginning is known");
	RUN_UNTIL(changes, 400);
	is_uint(changes, 0, "and is no change");
	say(fd, RFKILL_OP_CHANGE, 1, RFKILL_TYPE_BLUETOOTH, false, false);
	say(fd, RFKILL_OP_CHANGE, 0, RFKILL_TYPE_WLAN, false, true);
	RUN_UNTIL(changes, SOON);
	ok(radios_blocked(r, RADIOS_WIFI) && !radios_blocked(r, RADIOS_BLUETOOTH), "a switch blocks one, the other is let go");
	RUN_UNTIL(changes > 1, 400);
	is_uint(changes, 1, "which is told once");
	say(fd, RFKILL_OP_CHANGE, 0, RFKILL_TYPE_WLAN, true, true);
	RUN_UNTIL(changes > 1, 400);
	is_uint(changes, 1, "one that is blocked twice is blocked");
	say(fd, RFKILL_OP_ADD, 7, RFKILL_TYPE_WLAN, false, false);
	RUN_UNTIL(changes > 1, SOON);
	ok(changes == 2 && !radios_blocked(r, RADIOS_WIFI), "a second one comes that is not");
	say(fd, RFKILL_OP_DEL, 7, RFKILL_TYPE_WLAN, false, false);
	RUN_UNTIL(changes > 2, SOON);
	ok(changes == 3 && radios_blocked(r, RADIOS_WIFI), "and goes");
	/* Unknown ones that go, all at once, and more than there can be. */
	say(fd, RFKILL_OP_DEL, 99, RFKILL_TYPE_WLAN, false, false);
	say(fd, RFKILL_OP_CHANGE_ALL, 0, RFKILL_TYPE_ALL, false, false);
	for (uint32_t i = 100; i < 200; i++)
		say(fd, RFKILL_OP_ADD, i, RFKILL_TYPE_GPS, false, false);
	RUN_UNTIL(changes > 3, SOON);
	ok(radios_blocked(r, RADIOS_WIFI), "other kinds, and nonsense, change nothing about it");
	/* The driver goes, and comes back: the next change of any kind finds that. */
	const unsigned before = changes;
	close(fd);
	RUN_UNTIL(changes > before, SOON);
	ok(changes == before + 1 && !radios_blocked(r, RADIOS_WIFI), "the device goes: nothing is known to be blocked");
	radios_free(r);

	fd = device();
	if (write(fd, "half", 4) != 4 || radios_new(event, tap_path("root"), on_change, NULL, &r, &e) < 0)
		tap_bail("%s", e.message);
	ok(!radios_blocked(r, RADIOS_WIFI), "half an event is none");
	radios_free(r);
	close(fd);
	sd_event_unref(event);
	return tap_done();
}
