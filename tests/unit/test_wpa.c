/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said to wpa_supplicant, against a service of the same name on a bus of its own: its answers, good and bad. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/tap.h"
#include "tests/wpamock.h"
#include "transports/wififacts.h"
#include "transports/wpa.h"

/* ---- the user ---- */

static struct user {
	struct wpa *wpa;
	bool ready, associated;
	enum wpa_peer what;
	unsigned readies, peers, asked, groups, ends, failures, pins;
	char id[WPA_PEER_ID], name[WPA_NAME_SIZE], ifname[WPA_IFNAME_SIZE], why[200];
	struct notes said;
} user;

static void on_ready(bool ready, bool associated, void *u)
{
	(void)u;
	user.ready = ready;
	user.associated = associated;
	user.readies++;
}

static void on_peer(const char *id, const char *name, enum wpa_peer what, void *u)
{
	(void)u;
	user.peers++;
	user.what = what;
	user.asked += what == WPA_ASKS;
	snprintf(user.id, sizeof(user.id), "%s", id);
	snprintf(user.name, sizeof(user.name), "%s", name);
}

static void on_group(const char *ifname, void *u)
{
	(void)u;
	user.groups += ifname != NULL;
	user.ends += ifname == NULL;
	snprintf(user.ifname, sizeof(user.ifname), "%s", ifname ? ifname : "");
}

static void on_failed(const char *why, bool pin, void *u)
{
	(void)u;
	user.failures++;
	user.pins += pin;
	snprintf(user.why, sizeof(user.why), "%s", why);
}

static void on_note(int priority, const char *text, void *u)
{
	(void)u;
	notes_take(&user.said, priority, text);
}

static const struct wpa_handler handler = { on_ready, on_peer, on_group, on_failed, on_note };

static void start_user(const char *ifname)
{
	struct err e = { 0 };
	user = (struct user){ 0 };
	if (wpa_new(event, ifname, &handler, NULL, &user.wpa, &e) < 0)
		tap_bail("%s", e.message);
}

static void start_ready(void)
{
	wpamock_reset();
	start_user("");
	RUN_UNTIL(user.ready, SOON);
}

static void end_user(void)
{
	wpa_free(user.wpa);
	user.wpa = NULL;
	RUN_UNTIL(false, 20);
}

/* The attempt that every test of a group begins with. */
static void connect_to(void)
{
	const unsigned before = wpamock.connects;
	wpa_connect(user.wpa, PEER_ID, "12345670", true, 14);
	RUN_UNTIL(wpamock.connects > before, SOON);
}

static void in_group(void)
{
	start_ready();
	connect_to();
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(user.groups, SOON);
}

/* ---- cases ---- */

static void nobody_there(void)
{
	start_user("");
	RUN_UNTIL(user.readies || user.said.n, 200);
	ok(!user.readies && !user.said.n, "without wpa_supplicant nothing happens and nothing is said");
	wpamock_own(true);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && !user.associated && wpa_is_ready(user.wpa), "it comes, and can be used");
	wpa_name(user.wpa, "shoal-1");
	RUN_UNTIL(wpamock.names, SOON);
	is_str(wpamock.name, "shoal-1", "the name is set");
	wpa_listen(user.wpa, 500, 2500);
	RUN_UNTIL(wpamock.listens, SOON);
	ok(wpamock.period == 500 && wpamock.interval == 2500, "it listens now and then");
	/* An answer to this comes after the one that tells the old name. */
	wpamock.peers[0] = PEER;
	wpa_find(user.wpa, 20);
	RUN_UNTIL(user.peers, SOON);
	ok(!wpamock.auto_started, "no call would have started wpa_supplicant");
	end_user();
	RUN_UNTIL(strcmp(wpamock.name, "laptop") == 0, SOON);
	ok(strcmp(wpamock.name, "laptop") == 0 && wpamock.period == 0, "in the end the old name is back, and it listens no more");
}

static void finding(void)
{
	start_ready();
	wpamock.peers[0] = PEER;
	wpa_find(user.wpa, 20);
	RUN_UNTIL(user.peers, SOON);
	ok(wpamock.finds == 1 && wpamock.timeout == 20, "it looks for others for so long");
	ok(user.peers == 1 && !user.asked && strcmp(user.id, PEER_ID) == 0 && strcmp(user.name, "other") == 0,
	   "who was found before is told, with his name");
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers == 2, SOON);
	is_uint(user.peers, 2, "who is found now as well");
	/* None of these counts; what comes after them shows that they were passed over. */
	wpamock_peer("DeviceFound", DEVICE "/Peers/02AABBCCDD01");
	wpamock_peer("DeviceFound", DEVICE "/Peers/1");
	wpamock_peer("DeviceFound", "/");
	wpamock_peer("DeviceFound", DEVICE "/Peers/0123456789ab");
	sd_bus_emit_signal(wpamock.bus, STRANGE, WPA_P2P, "DeviceFound", "o", PEER);
	sd_bus_emit_signal(wpamock.bus, DEVICE, WPA_P2P, "DeviceFound", "s", "nonsense");
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(user.asked, SOON);
	ok(user.peers == 3 && user.asked == 1, "who asks for a group is told; nonsense and the gone are not");
	wpa_stop(user.wpa);
	RUN_UNTIL(wpamock.stops, SOON);
	is_uint(wpamock.stops, 1, "the search can be ended");
	is_uint(user.said.n, 0, "of which nobody needs to know");
	ok(!wpamock.aborted, "a peer's properties are asked for one by one: all at once may end wpa_supplicant");
	end_user();
}

static void forming(void)
{
	in_group();
	ok(strcmp(wpamock.peer, PEER) == 0 && strcmp(wpamock.method, "keypad") == 0 && strcmp(wpamock.pin, "12345670") == 0 &&
		   wpamock.intent == 14,
	   "a group is asked for with a PIN");
	is_str(user.ifname, "p2p-wlan5-0", "its interface is told");
	wpamock_state("completed");
	wpamock_state("disconnected");
	RUN_UNTIL(wpamock.disconnects, SOON);
	ok(wpamock.disconnects == 1 && strcmp(wpamock.left, GROUP) == 0 && user.ends == 1,
	   "when the machine connects to a network the group ends");
	end_user();

	in_group();
	wpamock_group("GroupFinished", DEVICE, STRANGE);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	is_uint(user.ends, 0, "the end of another group is none of this one's");
	wpamock_group("GroupFinished", GROUP, GROUP);
	RUN_UNTIL(user.ends, SOON);
	ok(user.ends == 1 && user.ready, "the other one ends the group");
	connect_to();
	wpa_leave(user.wpa);
	RUN_UNTIL(wpamock.cancels, SOON);
	ok(wpamock.cancels == 1 && user.failures == 0, "an attempt is given up");
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(wpamock.disconnects, SOON);
	ok(wpamock.disconnects == 1 && user.groups == 1, "a group that comes of it all the same is ended");
	end_user();

	start_ready();
	wpamock_group("GroupStarted", DEVICE, STRANGE);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(!user.groups && !wpamock.disconnects, "a group that somebody else on this machine forms is left alone");
	connect_to();
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(user.groups, SOON);
	end_user();
	RUN_UNTIL(wpamock.disconnects, SOON);
	ok(wpamock.disconnects == 1 && strcmp(wpamock.left, GROUP) == 0, "in the end the own group is ended");
}

/* Others come into a group that there is already. */
static void joining(void)
{
	start_ready();
	wpamock.group = 0x25;
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(user.what == WPA_OWNS && strcmp(user.name, "other") == 0, "that a device owns a group is told");
	wpa_join(user.wpa, PEER_ID, "12345670");
	RUN_UNTIL(wpamock.connects, SOON);
	ok(wpamock.connects == 1 && wpamock.join && strcmp(wpamock.method, "display") == 0 && strcmp(wpamock.pin, "12345670") == 0 &&
		   strcmp(wpamock.peer, PEER) == 0,
	   "its group is joined, with a PIN that it enters");
	wpamock.role = "client";
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(user.groups, SOON);
	ok(user.groups == 1 && !wpa_owns(user.wpa), "there is a group, which is another's");
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers == 2, SOON);
	wpa_admit(user.wpa, "12345670");
	ok(user.peers == 2 && user.what == WPA_OWNS, "nobody is let into that from here");
	end_user();

	in_group();
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(wpa_owns(user.wpa) && user.peers == 1 && user.what == WPA_ASKS_IN && !wpamock.admits, "who wants into an own group is told");
	wpa_admit(user.wpa, "23456709");
	RUN_UNTIL(wpamock.admits, SOON);
	ok(wpamock.admits == 1 && strcmp(wpamock.pin, "23456709") == 0 && strcmp(wpamock.method, "pin") == 0 && !user.failures,
	   "and let in with a PIN");
	sd_bus_emit_signal(wpamock.bus, STRANGE, WPA_P2P, "WpsFailed", "s", "reason");
	sd_bus_emit_signal(wpamock.bus, GROUP, WPA_P2P, "WpsFailed", "s", "reason");
	RUN_UNTIL(user.failures, SOON);
	ok(user.failures == 1 && user.pins == 1 && !user.ends, "one who has another PIN is told, and ends nothing");
	wpamock.fail = "Start";
	wpamock.error = DENIED;
	wpa_admit(user.wpa, "23456709");
	RUN_UNTIL(user.failures == 2, SOON);
	ok(user.failures == 2 && user.pins == 1 && user.said.warnings == 1 && strstr(user.said.last, "usermod"),
	   "a refusal is said: %s", user.said.last);
	end_user();
	start_ready();
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(user.peers == 1 && user.what == WPA_FOUND, "without a group nobody asks to be let in");
	end_user();
}

static void failing(void)
{
	static const struct {
		const char *signal, *at, *says;
	} cases[] = { { "GONegotiationFailure", DEVICE, "agree" },
		      { "GroupFormationFailure", DEVICE, "formed" },
		      { "WpsFailed", GROUP, "PIN" } };
	start_ready();
	for (unsigned i = 0; i < 3; i++) {
		connect_to();
		if (i == 0)
			sd_bus_emit_signal(wpamock.bus, cases[i].at, WPA_P2P, cases[i].signal, "a{sv}", 1, "status", "i", 7);
		else
			sd_bus_emit_signal(wpamock.bus, cases[i].at, WPA_P2P, cases[i].signal, "s", "reason");
		RUN_UNTIL(user.failures > i, SOON);
		ok(user.failures == i + 1 && strstr(user.why, cases[i].says) && user.ready, "%s: %s", cases[i].signal, user.why);
	}
	sd_bus_emit_signal(wpamock.bus, DEVICE, WPA_P2P, "GONegotiationFailure", "a{sv}", 1, "status", "i", 7);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(user.failures == 3 && user.pins == 2, "a failure of nothing is none; the first is none of the PIN");
	wpamock.fail = "Connect";
	wpamock.error = WPA_P2P ".ConnectChannelUnavailable";
	for (unsigned i = 0; i < 2; i++) {
		wpa_connect(user.wpa, PEER_ID, "12345670", false, 1);
		RUN_UNTIL(user.failures == 4 + i, SOON);
	}
	ok(user.failures == 5 && user.said.warnings == 1 && strstr(user.said.last, "channel"), "a refusal is said once");
	wpamock.fail = NULL;
	connect_to();
	ok(wpamock.connects == 4 && strcmp(wpamock.method, "keypad") == 0, "and the next attempt is made");
	end_user();
}

static void refusals(void)
{
	wpamock_reset();
	wpamock.fail = "GetAll";
	wpamock.error = DENIED;
	start_user("");
	RUN_UNTIL(user.said.n, SOON);
	ok(!user.ready && user.said.warnings == 1 && strstr(user.said.last, "usermod"), "who may not use wpa_supplicant is told how he may");
	end_user();

	start_ready();
	wpamock.fail = "Find";
	wpamock.error = WPA ".NotAuthorized";
	for (unsigned i = 0; i < 3; i++) {
		wpa_find(user.wpa, 20);
		RUN_UNTIL(wpamock.finds == i + 1 && user.said.n, SOON);
	}
	ok(wpamock.finds == 3 && user.said.warnings == 1 && strstr(user.said.last, "usermod"), "NotAuthorized is said once");
	end_user();

	wpamock_reset();
	wpamock.radio = false;
	start_user("");
	RUN_UNTIL(wpamock.roots, SOON);
	RUN_UNTIL(user.readies || user.said.n, 100);
	ok(wpamock.roots && !user.readies && !user.said.n, "a radio that cannot is not used, without a word");
	end_user();
	wpamock_reset();
	start_user("wlan6");
	RUN_UNTIL(wpamock.roots, SOON);
	RUN_UNTIL(user.readies || user.said.n, 100);
	ok(wpamock.roots && !user.readies && !user.said.n, "nor one that was not asked for");
	end_user();
	start_user("wlan5");
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready, "the one that was is used");
	end_user();
}

static void networks(void)
{
	wpamock_reset();
	wpamock.state = "completed";
	start_user("");
	RUN_UNTIL(user.associated, SOON);
	ok(user.associated && !user.ready, "an interface that is connected to a network is not used");
	wpa_find(user.wpa, 20);
	wpa_name(user.wpa, "shoal-1");
	wpa_connect(user.wpa, PEER_ID, "12345670", true, 14);
	wpamock_state("disconnected");
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && !wpamock.finds && !wpamock.names && !wpamock.connects, "nothing is asked of it until it is not any more");
	wpamock_state("scanning");
	wpamock_state("associating");
	RUN_UNTIL(!user.ready, SOON);
	ok(user.associated && user.readies == 3, "a search for networks leaves it, an attempt to connect does not");
	end_user();
}

static void restarting(void)
{
	in_group();
	wpamock_own(false);
	RUN_UNTIL(!user.ready, SOON);
	ok(!user.ready && user.ends == 1 && user.groups == 1, "wpa_supplicant goes: so has the group");
	wpamock_own(true);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && user.readies == 3, "it comes again, and can be used");
	connect_to();
	wpamock_own(false);
	RUN_UNTIL(user.failures, SOON);
	ok(user.failures == 1 && !user.ready, "it goes in the middle of an attempt, which has failed");
	wpamock_own(true);
	RUN_UNTIL(user.ready, SOON);
	wpamock.any = false;
	sd_bus_emit_signal(wpamock.bus, WPA_ROOT, WPA, "InterfaceRemoved", "o", DEVICE);
	RUN_UNTIL(!user.ready, SOON);
	ok(!user.ready, "the interface goes");
	wpamock.any = true;
	sd_bus_emit_signal(wpamock.bus, WPA_ROOT, WPA, "InterfaceAdded", "oa{sv}", DEVICE, 0);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready, "and comes");
	end_user();
	is_uint(user.said.n, 0, "of which nobody needs to know");
}

static void bus_restarting(pid_t *bus)
{
	in_group();
	bus_stop(*bus);
	RUN_UNTIL(!user.ready, SOON);
	ok(!user.ready && user.ends == 1, "the system bus goes: so has the group");
	*bus = bus_start();
	wpamock_restart();
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && user.readies == 3, "it comes again, and wpa_supplicant can be used");
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(user.peers == 1 && !user.said.n, "and heard, without a word");
	end_user();
	bus_stop(*bus);
	start_user("");
	RUN_UNTIL(user.ready, 100);
	*bus = bus_start();
	wpamock_restart();
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready, "a bus that comes late is found");
	end_user();
}

/* A radio that is blocked, or whose interface is set down. */
static void blocked(void)
{
	start_ready();
	wpamock_state("interface_disabled");
	RUN_UNTIL(!user.ready, SOON);
	ok(!user.ready && !user.associated, "an interface that is disabled is not used");
	wpa_find(user.wpa, 20);
	wpamock_state("disconnected");
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && !wpamock.finds && !user.said.n, "nothing is asked of it until it is not any more");
	end_user();
	/* What is there is looked at again when the kernel says that something changed. */
	wpamock_reset();
	wpamock.any = false;
	start_user("");
	RUN_UNTIL(wpamock.roots, SOON);
	RUN_UNTIL(user.ready, 50);
	wpamock.any = true;
	wpa_again(user.wpa);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && !user.said.n, "one that came without a word is found when radios are looked at again");
	end_user();
}

/* ---- what doctor says ---- */

static void do_look(void *ret, const void *radio)
{
	wififacts_look(tap_path("root"), *(const enum wififacts_radio *)radio, ret);
}

static enum wififacts_state look(enum wififacts_radio radio, struct wififacts *ret)
{
	bus_ask(do_look, &radio, ret, sizeof(*ret));
	return ret->state;
}

/* Another service is there, so to speak, or is not. */
static void own(const char *name, bool on)
{
	int r = on ? sd_bus_request_name(wpamock.bus, name, 0) : sd_bus_release_name(wpamock.bus, name);
	if (r < 0)
		tap_bail("the name %s: %s", name, strerror(-r));
}

static void facts(void)
{
	struct wififacts f;
	wpamock_reset();
	mkdir(tap_path("root"), 0755);
	tap_write("root/sys/class/rfkill/rfkill1/type", "wlan\n");
	tap_write("root/sys/class/rfkill/rfkill1/hard", "0\n");
	tap_write("root/sys/class/rfkill/rfkill1/soft", "1\n");
	ok(look(WIFIFACTS_NO_RADIO, &f) == WIFIFACTS_NONE && !f.command[0], "no radio: %s", f.message);
	ok(look(WIFIFACTS_PLAIN, &f) == WIFIFACTS_NONE && !f.command[0], "one that cannot: %s", f.message);
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_BLOCKED && strstr(f.command, "unblock"), "blocked: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill1/hard", "1\n");
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_BLOCKED && strstr(f.command, "list"), "a switch: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill1/type", "bluetooth\n");
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_READY && !f.command[0], "ready: %s", f.message);
	wpamock.any = false;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_NO_IFACE && strstr(f.command, "CreateInterface"), "no interface: %s", f.message);
	own("org.freedesktop.NetworkManager", true);
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_NO_IFACE && strstr(f.command, "nmcli device set"), "not NetworkManager's: %s", f.message);
	own("net.connman.iwd", true);
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_IWD && strstr(f.command, "wpa_supplicant"), "iwd's: %s", f.message);
	wpamock.any = true;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_READY, "with an interface neither of them matters");
	wpamock.any = false;
	wpamock.p2p = false;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_WITHOUT && f.command[0], "without P2P: %s", f.message);
	wpamock.fail = "Get";
	wpamock.error = DENIED;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_DENIED && strstr(f.command, "netdev"), "denied: %s", f.message);
	wpamock.fail = NULL;
	wpamock_own(false);
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_IWD, "no wpa_supplicant, for there is iwd");
	own("net.connman.iwd", false);
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_NO_DAEMON && f.command[0], "no wpa_supplicant: %s", f.message);
	own("org.freedesktop.NetworkManager", false);
	wpamock_own(true);
}

int main(void)
{
	tap_plan(71);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	pid_t bus = bus_start();
	wpamock_start();
	nobody_there();
	finding();
	forming();
	joining();
	failing();
	refusals();
	networks();
	restarting();
	blocked();
	bus_restarting(&bus);
	facts();
	wpamock_stop();
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
