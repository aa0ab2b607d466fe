/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said to BlueZ, against a service of the same name on a bus of its own: its answers, good and bad. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/bluezmock.h"
#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/tap.h"
#include "transports/bluez.h"
#include "transports/bluezfacts.h"

/* ---- the user ---- */

static struct user {
	struct bluez *bluez;
	struct address own;
	bool usable;
	unsigned came, went, heard;
	struct address who;
	uint8_t data[ADVERT_SIZE];
	struct notes said;
} user;

static void on_adapter(const struct address *own, void *u)
{
	(void)u;
	user.usable = own != NULL;
	user.came += own != NULL;
	user.went += own == NULL;
	if (own)
		user.own = *own;
}

static void on_heard(const struct address *who, const uint8_t *data, void *u)
{
	(void)u;
	user.heard++;
	user.who = *who;
	memcpy(user.data, data, ADVERT_SIZE);
}

static void on_note(int priority, const char *text, void *u)
{
	(void)u;
	notes_take(&user.said, priority, text);
}

static const struct bluez_handler handler = { on_adapter, on_heard, on_note };

static void start_user(const char *adapter)
{
	struct err e = { 0 };
	user = (struct user){ 0 };
	if (bluez_new(event, adapter, &handler, NULL, &user.bluez, &e) < 0)
		tap_bail("%s", e.message);
}

static void end_user(void)
{
	bluez_free(user.bluez);
	user.bluez = NULL;
	bluezmock_forget();
}

static const char *text_of(const struct address *a)
{
	static char text[ADDRESS_TEXT];
	return address_host(a, text);
}

static const uint8_t one[ADVERT_SIZE] = "abcde", two[ADVERT_SIZE] = "12345";

/* ---- cases ---- */

static void nobody_there(void)
{
	start_user("");
	bluez_advertise(user.bluez, one);
	bluez_scan(user.bluez, true);
	RUN_UNTIL(user.came || user.said.n, 200);
	ok(!user.came && !user.said.n && !bluezmock.registered, "without bluetoothd nothing happens and nothing is said");
	bluezmock_own(true);
	RUN_UNTIL(bluezmock_advertising() && bluezmock_discovering(), SOON);
	ok(bluezmock_advertising() && bluezmock_discovering(), "it comes: what was asked for is asked for");
	is_str(text_of(&user.own), "00:AA:01:00:00:42", "the adapter's address is told");
	ok(!bluezmock.auto_started, "no call would have started bluetoothd");
	is_str(bluezmock.type, "peripheral", "the advertisement is connectable");
	is_str(bluezmock.service, ADVERT_SERVICE, "and names the service");
	is_mem(bluezmock.adapter[0].data, bluezmock.adapter[0].len, one, ADVERT_SIZE, "and the six bytes");
	ok(strcmp(bluezmock.transport, "le") == 0 && bluezmock.duplicates && strcmp(bluezmock.filter, ADVERT_SERVICE) == 0,
	   "what is looked for is LE devices of the service, again and again");
}

static void hearing(void)
{
	RUN_UNTIL(bluez_scans(user.bluez), SOON);
	bluezmock_device(0, "00:AA:01:00:00:99", true, 0xffff, "abcdef", 6);
	RUN_UNTIL(user.heard, SOON);
	ok(user.heard == 1 && strcmp(text_of(&user.who), "00:AA:01:00:00:99") == 0 && user.who.l2.type == ADDRESS_LE_RANDOM &&
		   memcmp(user.data, "abcdef", 6) == 0,
	   "a device is heard, with its kind of address");
	bluezmock_device_changed(0, "00:AA:01:00:00:99", "ghijkl", 6);
	RUN_UNTIL(user.heard > 1, SOON);
	ok(user.heard == 2 && memcmp(user.data, "ghijkl", 6) == 0 && user.who.l2.type == ADDRESS_LE_RANDOM,
	   "it is heard again, with other bytes");
	/* None of these counts; the last one that is heard shows that they were passed over. */
	bluezmock_device(0, "00:AA:01:00:00:98", true, 0xffff, "abcde", 5);
	bluezmock_device(0, "00:AA:01:00:00:98", true, 0xffff, "abcdefg", 7);
	bluezmock_device(0, "00:AA:01:00:00:98", true, 76, "abcdef", 6);
	bluezmock_device(1, "00:AA:01:00:00:98", true, 0xffff, "abcdef", 6);
	bluezmock_device(0, "no:address:at:all", true, 0xffff, "abcdef", 6);
	bluezmock_device_changed(0, "00:AA:01:00:00:77", "xxxxxx", 6);
	RUN_UNTIL(user.heard > 2, SOON);
	ok(user.heard == 3 && strcmp(text_of(&user.who), "00:AA:01:00:00:77") == 0 && user.who.l2.type == ADDRESS_LE_RANDOM &&
		   memcmp(user.data, "known!", 6) == 0,
	   "other bytes, other adapters and nonsense are passed over; who was there before is asked about");
	bluez_scan(user.bluez, false);
	RUN_UNTIL(bluezmock.stopped && !bluezmock_discovering(), SOON);
	is_uint(bluezmock.stopped, 1, "a scan ends when it is not wanted");
	bluezmock_device(0, "00:AA:01:00:00:99", true, 0xffff, "abcdef", 6);
	RUN_UNTIL(user.heard > 3, 100);
	is_uint(user.heard, 3, "and nobody is heard then");
}

static void rotating(void)
{
	bluez_advertise(user.bluez, two);
	RUN_UNTIL(bluezmock.registered == 2 && bluezmock_advertising(), SOON);
	is_mem(bluezmock.adapter[0].data, bluezmock.adapter[0].len, two, ADVERT_SIZE, "other bytes take the place of the first");
	is_uint(bluezmock.unregistered, 1, "after those are taken back");
	bluez_advertise(user.bluez, two);
	RUN_UNTIL(bluezmock.registered > 2, 100);
	is_uint(bluezmock.registered, 2, "the same bytes again change nothing");
	/* bluetoothd throws it out. */
	bluezmock.adapter[0].advertising = false;
	sd_bus_call_method_async(bluezmock.bus, NULL, bluezmock.adapter[0].client, bluezmock.adapter[0].object,
				 "org.bluez.LEAdvertisement1", "Release", NULL, NULL, NULL);
	RUN_UNTIL(bluezmock.registered == 3 && bluezmock_advertising(), SOON);
	ok(bluezmock_advertising(), "thrown out, it is registered anew");
}

static void powering(void)
{
	bluez_scan(user.bluez, true);
	RUN_UNTIL(bluezmock_discovering(), SOON);
	bluezmock_power(0, false);
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable && user.went == 1, "an adapter that is switched off is gone");
	const unsigned registered = bluezmock.registered, started = bluezmock.started;
	RUN_UNTIL(bluezmock.registered > registered, 100);
	ok(bluezmock.registered == registered && bluezmock.started == started, "nothing is asked of it");
	/* bluetoothd still has the advertisement. */
	bluezmock_power(0, true);
	RUN_UNTIL(bluezmock_advertising() && bluezmock_discovering() && bluez_advertises(user.bluez), SOON);
	ok(user.usable && bluez_advertises(user.bluez) && bluezmock_discovering() && bluezmock.unregistered >= 2,
	   "switched on, it is used again, though the old advertisement was still there (AlreadyExists)");
	is_uint(user.said.n, 0, "of which nobody needs to know");
}

static void vanishing(void)
{
	const unsigned came = user.came;
	bluezmock.adapter[1].there = true;
	bluezmock_added(1);
	RUN_UNTIL(user.came > came, 100);
	is_uint(user.came, came, "a second adapter changes nothing");
	bluezmock_removed(0);
	bluezmock.adapter[0].there = false;
	RUN_UNTIL(user.came > came && bluezmock_advertising() && bluezmock_discovering(), SOON);
	ok(user.came == came + 1 && strcmp(text_of(&user.own), "00:AA:01:01:00:23") == 0 &&
		   user.own.l2.type == ADDRESS_LE_RANDOM && bluezmock.on == 1,
	   "pulled out in the middle, the first gives its place to the second");
	bluezmock_removed(1);
	bluezmock.adapter[1].there = false;
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable, "pulled out as well, there is none");
	bluezmock.adapter[0].there = true;
	bluezmock_added(0);
	RUN_UNTIL(user.usable && bluezmock_advertising() && bluezmock_discovering(), SOON);
	ok(user.usable && bluezmock.on == 0 && bluezmock_advertising() && bluezmock_discovering(), "the first comes back and is used");
}

static void restarting(void)
{
	const unsigned went = user.went, registered = bluezmock.registered;
	bluezmock_own(false);
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable && user.went == went + 1, "bluetoothd goes: there is no adapter");
	bluezmock_own(true);
	RUN_UNTIL(user.usable && bluezmock_advertising() && bluezmock_discovering(), SOON);
	ok(user.usable && bluezmock_advertising() && bluezmock_discovering() && bluezmock.registered > registered,
	   "it comes again, and is asked again");
}

static void bus_restarting(pid_t *bus)
{
	const unsigned went = user.went;
	bus_stop(*bus);
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable && user.went == went + 1, "the system bus goes: there is no adapter");
	*bus = bus_start();
	bluezmock_restart();
	RUN_UNTIL(user.usable && bluezmock_advertising() && bluezmock_discovering(), SOON);
	ok(user.usable && bluezmock_advertising() && bluezmock_discovering(), "it comes again: so does all else");
	/* In the middle of a call, which fails for no reason that anybody needs to know. */
	bluez_scan(user.bluez, false);
	RUN_UNTIL(!bluezmock_discovering(), SOON);
	bluezmock.mute = true;
	const unsigned started = bluezmock.started;
	bluez_scan(user.bluez, true);
	RUN_UNTIL(bluezmock.started > started, SOON);
	bus_stop(*bus);
	RUN_UNTIL(!user.usable, SOON);
	*bus = bus_start();
	bluezmock.mute = false;
	bluezmock_restart();
	RUN_UNTIL(bluezmock_discovering(), SOON);
	ok(bluezmock_discovering() && !user.said.n, "it goes in the middle of a call, which is made again, without a word");
	end_user();
	/* A daemon that begins before there is a bus. */
	bus_stop(*bus);
	start_user("");
	bluez_advertise(user.bluez, one);
	RUN_UNTIL(user.usable, 100);
	*bus = bus_start();
	bluezmock_restart();
	RUN_UNTIL(bluezmock_advertising(), SOON);
	ok(bluezmock_advertising() && !user.said.n, "a bus that comes late is found");
	end_user();
}

static void choosing(void)
{
	bluezmock.adapter[1].there = true;
	start_user("hci1");
	bluez_advertise(user.bluez, one);
	RUN_UNTIL(bluezmock_advertising(), SOON);
	is_str(text_of(&user.own), "00:AA:01:01:00:23", "an adapter is chosen by its name");
	end_user();
	start_user("00:aa:01:01:00:23");
	RUN_UNTIL(user.usable, SOON);
	is_str(text_of(&user.own), "00:AA:01:01:00:23", "or by its address");
	end_user();
	start_user("hci7");
	RUN_UNTIL(user.usable, 200);
	ok(!user.usable && !user.said.n, "one that is not there is waited for, without a word");
	end_user();
	bluezmock.adapter[1].there = false;
}

/* Each error: said once, with what to do, and tried again. */
static void refused(const char **which, const char *error, const char *says, unsigned warnings)
{
	*which = error;
	start_user("");
	bluez_advertise(user.bluez, one);
	bluez_scan(user.bluez, true);
	const unsigned *calls = which == &bluezmock.fail_register ? &bluezmock.registered :
				which == &bluezmock.fail_start    ? &bluezmock.started :
							       &bluezmock.filtered;
	const unsigned before = *calls;
	RUN_UNTIL(*calls >= before + 2, SOON);
	ok(*calls >= before + 2 && user.said.warnings == warnings && user.said.n == 1 && strstr(user.said.last, says),
	   "%s is said once, and tried again", error);
	*which = NULL;
	RUN_UNTIL(bluezmock_advertising() && bluezmock_discovering(), SOON);
	ok(bluezmock_advertising() && bluezmock_discovering(), "until it works");
	end_user();
}

static void refusals(void)
{
	refused(&bluezmock.fail_register, "org.bluez.Error.NotAuthorized", "usermod", 1);
	refused(&bluezmock.fail_register, "org.bluez.Error.NotPermitted", "no more advertisements", 1);
	refused(&bluezmock.fail_start, "org.bluez.Error.NotReady", "power on", 0);
	refused(&bluezmock.fail_start, "org.bluez.Error.InProgress", "busy", 0);
	refused(&bluezmock.fail_filter, "org.bluez.Error.Failed", "journalctl", 1);
	refused(&bluezmock.fail_start, "org.bluez.Error.Blocked", "rfkill", 1);

	bluezmock.fail_objects = "org.freedesktop.DBus.Error.AccessDenied";
	start_user("");
	RUN_UNTIL(user.said.n, SOON);
	ok(user.said.warnings == 1 && strstr(user.said.last, "usermod"), "who may not talk to bluetoothd is told how he may");
	end_user();
	bluezmock.fail_objects = NULL;

	bluezmock.fail_objects = "org.freedesktop.DBus.Error.NoReply";
	start_user("");
	RUN_UNTIL(user.usable, 300);
	bluezmock.fail_objects = NULL;
	RUN_UNTIL(user.usable, SOON);
	ok(user.usable && !user.said.n, "a bluetoothd that does not answer at first is asked again");
	end_user();

	/* The user goes while an answer is out. */
	bluezmock.mute = true;
	const unsigned started = bluezmock.started;
	start_user("");
	bluez_scan(user.bluez, true);
	RUN_UNTIL(bluezmock.started > started, SOON);
	ok(bluezmock.started > started, "a call that is never answered");
	end_user();
	bluezmock.mute = false;
	RUN_UNTIL(false, 20);

	/* No way to advertise: it scans. */
	bluezmock.adapter[0].advertises = false;
	start_user("");
	bluez_advertise(user.bluez, one);
	bluez_scan(user.bluez, true);
	RUN_UNTIL(bluezmock_discovering(), SOON);
	ok(bluezmock_discovering() && !bluezmock_advertising() && strstr(user.said.last, "cannot advertise"),
	   "an adapter that cannot advertise looks for others");
	end_user();
	bluezmock.adapter[0].advertises = true;
}

/* ---- what doctor says ---- */

static void do_look(void *ret, const void *adapter)
{
	bluezfacts_look(tap_path("root"), adapter, ret);
}

/* bluezfacts_look waits for the bus, so the service has to answer from another process. */
static void look(const char *adapter, struct bluezfacts *ret)
{
	bus_ask(do_look, adapter, ret, sizeof(*ret));
}

static void facts(void)
{
	struct bluezfacts f;
	mkdir(tap_path("root"), 0755);
	look("", &f);
	ok(f.state == BLUEZFACTS_NONE && !f.command[0], "no adapter: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill0/type", "wlan\n");
	tap_write("root/sys/class/rfkill/rfkill0/hard", "1\n");
	tap_write("root/sys/class/rfkill/rfkill0/soft", "0\n");
	look("", &f);
	is_int(f.state, BLUEZFACTS_NONE, "a blocked Wi-Fi is another thing");
	tap_write("root/sys/class/rfkill/rfkill1/type", "bluetooth\n");
	tap_write("root/sys/class/rfkill/rfkill1/hard", "0\n");
	tap_write("root/sys/class/rfkill/rfkill1/soft", "1\n");
	look("", &f);
	ok(f.state == BLUEZFACTS_BLOCKED && strstr(f.command, "rfkill unblock"), "blocked: %s", f.message);
	tap_write("root/sys/class/bluetooth/hci0/x", "");
	look("", &f);
	ok(f.state == BLUEZFACTS_BLOCKED && strstr(f.command, "rfkill unblock"), "blocked, which bluetoothd has not noticed");
	tap_write("root/sys/class/rfkill/rfkill2/type", "bluetooth\n");
	tap_write("root/sys/class/rfkill/rfkill2/hard", "0\n");
	tap_write("root/sys/class/rfkill/rfkill2/soft", "0\n");
	look("", &f);
	is_int(f.state, BLUEZFACTS_READY, "blocked, and another adapter works");
	bluezmock_power(0, false);
	look("", &f);
	ok(f.state == BLUEZFACTS_BLOCKED && strstr(f.command, "rfkill unblock"), "blocked, and there: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill1/soft", "0\n");
	look("", &f);
	ok(f.state == BLUEZFACTS_OFF && strstr(f.command, "power on"), "off: %s", f.message);
	bluezmock_power(0, true);
	look("", &f);
	ok(f.state == BLUEZFACTS_READY && !f.command[0], "ready: %s", f.message);
	look("hci5", &f);
	ok(f.state == BLUEZFACTS_MISSING && strstr(f.message, "bluetooth.adapter"), "not that adapter: %s", f.message);
	look("hci0", &f);
	is_int(f.state, BLUEZFACTS_READY, "that adapter");
	bluezmock.adapter[0].there = false;
	look("", &f);
	ok(f.state == BLUEZFACTS_MISSING && strstr(f.command, "restart"), "not taken up: %s", f.message);
	bluezmock.adapter[0].there = true;
	bluezmock.fail_objects = "org.freedesktop.DBus.Error.AccessDenied";
	look("", &f);
	ok(f.state == BLUEZFACTS_DENIED && strstr(f.command, "usermod"), "denied: %s", f.message);
	bluezmock.fail_objects = NULL;
	bluezmock_own(false);
	look("", &f);
	ok(f.state == BLUEZFACTS_NO_DAEMON && f.command[0], "no daemon: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill1/hard", "1\n");
	look("", &f);
	ok(f.state == BLUEZFACTS_BLOCKED && strstr(f.command, "rfkill list"), "a switch: %s", f.message);
}

int main(void)
{
	tap_plan(64);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	pid_t bus = bus_start();
	bluezmock_start();
	nobody_there();
	hearing();
	rotating();
	powering();
	vanishing();
	restarting();
	bus_restarting(&bus);
	choosing();
	refusals();
	facts();
	bluezmock_stop();
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
