/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said to wpa_supplicant, against a service of the same name on a bus of its own: its answers, good and bad; and
 * what Wi-Fi Direct makes of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/members.h"
#include "tests/tap.h"
#include "transports/advert.h"
#include "transports/wifidirect.h"
#include "transports/wififacts.h"
#include "transports/wpa.h"

#define DEVICE WPA_ROOT "/Interfaces/0"
#define GROUP WPA_ROOT "/Interfaces/7"
#define STRANGE WPA_ROOT "/Interfaces/9"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define DENIED "org.freedesktop.DBus.Error.AccessDenied"

/* ---- the service ---- */

static struct mock {
	sd_bus *bus;
	bool p2p, radio; /* wpa_supplicant, and the interface, can */
	bool any;        /* there is an interface */
	const char *state, *peers[2];
	const char *fail, *error; /* this method fails so */
	char name[WPA_NAME_SIZE];
	char peer_name[WPA_NAME_SIZE];
	unsigned finds, stops, listens, connects, cancels, disconnects, names, roots;
	int timeout, period, interval, intent;
	char peer[96], method[16], pin[16], left[96];
	bool auto_started;
} mock;

static int put_strings(sd_bus_message *m, const char *type, const char *const *s)
{
	int r = sd_bus_message_open_container(m, 'a', type);
	for (; r >= 0 && *s; s++)
		r = sd_bus_message_append_basic(m, type[0], *s);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int get_root(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		    void *user, sd_bus_error *error)
{
	const char *capabilities[] = { "ap", mock.p2p ? "p2p" : "mesh", NULL };
	/* The newest comes first; that of a group is passed over. */
	const char *interfaces[] = { GROUP, DEVICE, NULL };
	(void)bus, (void)path, (void)interface, (void)user, (void)error;
	mock.roots++;
	if (strcmp(property, "Capabilities") == 0)
		return put_strings(reply, "s", capabilities);
	return put_strings(reply, "o", mock.any ? interfaces : &interfaces[2]);
}

static int get_iface(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		     void *user, sd_bus_error *error)
{
	const bool group = strcmp(path, GROUP) == 0;
	(void)bus, (void)interface, (void)user, (void)error;
	if (strcmp(property, "Ifname") == 0)
		return sd_bus_message_append(reply, "s", group ? "p2p-wlan5-0" : "wlan5");
	if (strcmp(property, "State") == 0)
		return sd_bus_message_append(reply, "s", group ? "completed" : mock.state);
	return sd_bus_message_append(reply, "a{sv}", 2, "Scan", "as", 1, "active", "Modes", "as", 2, "infrastructure",
				     mock.radio ? "p2p" : "mesh");
}

static int get_p2p(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		   void *user, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)user, (void)error;
	if (strcmp(property, "Peers") == 0)
		return put_strings(reply, "o", (const char *[]){ mock.peers[0], NULL });
	return sd_bus_message_append(reply, "a{sv}", 2, "GOIntent", "u", 7, "DeviceName", "s", mock.name);
}

static int set_p2p(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *value,
		   void *user, sd_bus_error *error)
{
	const char *key = "", *text = "";
	(void)bus, (void)path, (void)interface, (void)property, (void)user, (void)error;
	int r = sd_bus_message_enter_container(value, 'a', "{sv}");
	if (r >= 0)
		r = sd_bus_message_read(value, "{sv}", &key, "s", &text);
	if (r > 0 && strcmp(key, "DeviceName") == 0) {
		mock.names++;
		snprintf(mock.name, sizeof(mock.name), "%s", text);
	}
	return r < 0 ? r : 1;
}

static int get_peer(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		    void *user, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)property, (void)user, (void)error;
	return sd_bus_message_append(reply, "s", mock.peer_name);
}

static int read_int(sd_bus_message *m, int *ret)
{
	return sd_bus_message_read(m, "v", "i", ret);
}

static int read_text(sd_bus_message *m, const char *type, char *ret, size_t size)
{
	const char *s = "";
	int r = sd_bus_message_read(m, "v", type, &s);
	snprintf(ret, size, "%s", s);
	return r;
}

/* The arguments of Find, ExtendedListen and Connect. */
static int read_arguments(sd_bus_message *m)
{
	const char *key = "";
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (strcmp(key, "Timeout") == 0)
			r = read_int(m, &mock.timeout);
		else if (strcmp(key, "period") == 0)
			r = read_int(m, &mock.period);
		else if (strcmp(key, "interval") == 0)
			r = read_int(m, &mock.interval);
		else if (strcmp(key, "go_intent") == 0)
			r = read_int(m, &mock.intent);
		else if (strcmp(key, "peer") == 0)
			r = read_text(m, "o", mock.peer, sizeof(mock.peer));
		else if (strcmp(key, "wps_method") == 0)
			r = read_text(m, "s", mock.method, sizeof(mock.method));
		else if (strcmp(key, "pin") == 0)
			r = read_text(m, "s", mock.pin, sizeof(mock.pin));
		else
			return -EINVAL; /* as wpa_supplicant does */
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static int on_method(sd_bus_message *m, void *user, sd_bus_error *error)
{
	const char *name = sd_bus_message_get_member(m);
	(void)user, (void)error;
	mock.auto_started |= sd_bus_message_get_auto_start(m) > 0;
	if (strcmp(name, "Disconnect") == 0) {
		mock.disconnects++;
		snprintf(mock.left, sizeof(mock.left), "%s", sd_bus_message_get_path(m));
	} else if (strcmp(name, "Cancel") == 0) {
		mock.cancels++;
	} else if (strcmp(name, "StopFind") == 0) {
		mock.stops++;
	} else {
		mock.finds += strcmp(name, "Find") == 0;
		mock.connects += strcmp(name, "Connect") == 0;
		mock.listens += strcmp(name, "ExtendedListen") == 0;
		if (strcmp(name, "ExtendedListen") == 0)
			mock.period = mock.interval = 0;
		int r = read_arguments(m);
		if (r < 0)
			return r;
	}
	return strcmp(name, "Connect") == 0 ? sd_bus_reply_method_return(m, "s", "12345670") :
					      sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable root_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Capabilities", "as", get_root, 0, 0),
	SD_BUS_PROPERTY("Interfaces", "ao", get_root, 0, 0),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable iface_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Capabilities", "a{sv}", get_iface, 0, 0),
	SD_BUS_PROPERTY("Ifname", "s", get_iface, 0, 0),
	SD_BUS_PROPERTY("State", "s", get_iface, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable p2p_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Find", "a{sv}", NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StopFind", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ExtendedListen", "a{sv}", NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Connect", "a{sv}", "s", on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Cancel", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Disconnect", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_WRITABLE_PROPERTY("P2PDeviceConfig", "a{sv}", get_p2p, set_p2p, 0, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Peers", "ao", get_p2p, 0, 0),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable peer_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("DeviceName", "s", get_peer, 0, 0),
	SD_BUS_VTABLE_END,
};

static int on_message(sd_bus_message *m, void *user, sd_bus_error *error)
{
	const char *member = sd_bus_message_get_member(m);
	(void)user, (void)error;
	if (!mock.fail || !sd_bus_message_is_method_call(m, NULL, NULL) || strcmp(member, mock.fail) != 0)
		return 0;
	mock.finds += strcmp(member, "Find") == 0;
	sd_bus_error e = SD_BUS_ERROR_MAKE_CONST(mock.error, "as the test wants it");
	return sd_bus_reply_method_error(m, &e);
}

static void own_name(bool on)
{
	int r = on ? sd_bus_request_name(mock.bus, WPA, 0) : sd_bus_release_name(mock.bus, WPA);
	if (r < 0)
		tap_bail("the name of wpa_supplicant: %s", strerror(-r));
}

#define PEER_ID "02aabbccdd01"
#define PEER DEVICE "/Peers/" PEER_ID

static void reset_mock(void)
{
	sd_bus *bus = mock.bus;
	mock = (struct mock){ .bus = bus, .p2p = true, .radio = true, .any = true, .state = "disconnected" };
	snprintf(mock.name, sizeof(mock.name), "laptop");
	snprintf(mock.peer_name, sizeof(mock.peer_name), "other");
}

static void start_mock(void)
{
	static const struct {
		const char *path, *interface;
		const sd_bus_vtable *vtable;
	} objects[] = {
		{ WPA_ROOT, WPA, root_vtable },	       { DEVICE, WPA_INTERFACE, iface_vtable }, { DEVICE, WPA_P2P, p2p_vtable },
		{ GROUP, WPA_INTERFACE, iface_vtable }, { GROUP, WPA_P2P, p2p_vtable },		{ PEER, WPA_PEER, peer_vtable },
		{ STRANGE, WPA_P2P, p2p_vtable },
	};
	reset_mock();
	int r = sd_bus_open_system(&mock.bus);
	if (r >= 0)
		r = sd_bus_attach_event(mock.bus, event, 0);
	if (r >= 0)
		r = sd_bus_add_filter(mock.bus, NULL, on_message, NULL);
	for (size_t i = 0; r >= 0 && i < sizeof(objects) / sizeof(objects[0]); i++)
		r = sd_bus_add_object_vtable(mock.bus, NULL, objects[i].path, objects[i].interface, objects[i].vtable, NULL);
	if (r < 0)
		tap_bail("no service: %s", strerror(-r));
}

static void say_state(const char *state)
{
	mock.state = state;
	sd_bus_emit_properties_changed(mock.bus, DEVICE, WPA_INTERFACE, "State", NULL);
}

static void say_peer(const char *signal, const char *path)
{
	if (signal[0] == 'G')
		sd_bus_emit_signal(mock.bus, DEVICE, WPA_P2P, signal, "oqy", path, 4, 7);
	else
		sd_bus_emit_signal(mock.bus, DEVICE, WPA_P2P, signal, "o", path);
}

static void say_group(const char *signal, const char *at, const char *path)
{
	sd_bus_emit_signal(mock.bus, at, WPA_P2P, signal, "a{sv}", 3, "role", "s", "GO", "persistent", "b", 0,
			   "interface_object", "o", path);
}

/* ---- the user ---- */

static struct user {
	struct wpa *wpa;
	bool ready, associated;
	unsigned readies, peers, asked, groups, ends, failures, pins, notes, warnings;
	char id[WPA_PEER_ID], name[WPA_NAME_SIZE], ifname[WPA_IFNAME_SIZE], why[200], note[300];
} user;

static void on_ready(bool ready, bool associated, void *u)
{
	(void)u;
	user.ready = ready;
	user.associated = associated;
	user.readies++;
}

static void on_peer(const char *id, const char *name, bool asked, void *u)
{
	(void)u;
	user.peers++;
	user.asked += asked;
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
	user.notes++;
	user.warnings += priority <= LOG_WARNING;
	snprintf(user.note, sizeof(user.note), "%s", text);
	tap_diag("%d: %s", priority, text);
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
	reset_mock();
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
	const unsigned before = mock.connects;
	wpa_connect(user.wpa, PEER_ID, "12345670", true, 14);
	RUN_UNTIL(mock.connects > before, SOON);
}

static void in_group(void)
{
	start_ready();
	connect_to();
	say_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(user.groups, SOON);
}

/* ---- cases ---- */

static void nobody_there(void)
{
	start_user("");
	RUN_UNTIL(user.readies || user.notes, 200);
	ok(!user.readies && !user.notes, "without wpa_supplicant nothing happens and nothing is said");
	own_name(true);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && !user.associated && wpa_is_ready(user.wpa), "it comes, and can be used");
	wpa_name(user.wpa, "shoal-1");
	RUN_UNTIL(mock.names, SOON);
	is_str(mock.name, "shoal-1", "the name is set");
	wpa_listen(user.wpa, 500, 2500);
	RUN_UNTIL(mock.listens, SOON);
	ok(mock.period == 500 && mock.interval == 2500, "it listens now and then");
	ok(!mock.auto_started, "no call would have started wpa_supplicant");
	end_user();
	RUN_UNTIL(strcmp(mock.name, "laptop") == 0, SOON);
	ok(strcmp(mock.name, "laptop") == 0 && mock.period == 0, "in the end the old name is back, and it listens no more");
}

static void finding(void)
{
	start_ready();
	mock.peers[0] = PEER;
	wpa_find(user.wpa, 20);
	RUN_UNTIL(user.peers, SOON);
	ok(mock.finds == 1 && mock.timeout == 20, "it looks for others for so long");
	ok(user.peers == 1 && !user.asked && strcmp(user.id, PEER_ID) == 0 && strcmp(user.name, "other") == 0,
	   "who was found before is told, with his name");
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers == 2, SOON);
	is_uint(user.peers, 2, "who is found now as well");
	/* None of these counts; what comes after them shows that they were passed over. */
	say_peer("DeviceFound", DEVICE "/Peers/02AABBCCDD01");
	say_peer("DeviceFound", DEVICE "/Peers/1");
	say_peer("DeviceFound", "/");
	say_peer("DeviceFound", DEVICE "/Peers/0123456789ab");
	sd_bus_emit_signal(mock.bus, STRANGE, WPA_P2P, "DeviceFound", "o", PEER);
	sd_bus_emit_signal(mock.bus, DEVICE, WPA_P2P, "DeviceFound", "s", "nonsense");
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(user.asked, SOON);
	ok(user.peers == 3 && user.asked == 1, "who asks for a group is told; nonsense and the gone are not");
	wpa_stop(user.wpa);
	RUN_UNTIL(mock.stops, SOON);
	is_uint(mock.stops, 1, "the search can be ended");
	is_uint(user.notes, 0, "of which nobody needs to know");
	end_user();
}

static void forming(void)
{
	in_group();
	ok(strcmp(mock.peer, PEER) == 0 && strcmp(mock.method, "keypad") == 0 && strcmp(mock.pin, "12345670") == 0 &&
		   mock.intent == 14,
	   "a group is asked for with a PIN");
	is_str(user.ifname, "p2p-wlan5-0", "its interface is told");
	say_state("completed");
	say_state("disconnected");
	RUN_UNTIL(mock.disconnects, SOON);
	ok(mock.disconnects == 1 && strcmp(mock.left, GROUP) == 0 && user.ends == 1,
	   "when the machine connects to a network the group ends");
	end_user();

	in_group();
	say_group("GroupFinished", DEVICE, STRANGE);
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	is_uint(user.ends, 0, "the end of another group is none of this one's");
	say_group("GroupFinished", GROUP, GROUP);
	RUN_UNTIL(user.ends, SOON);
	ok(user.ends == 1 && user.ready, "the other one ends the group");
	connect_to();
	wpa_leave(user.wpa);
	RUN_UNTIL(mock.cancels, SOON);
	ok(mock.cancels == 1 && user.failures == 0, "an attempt is given up");
	say_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(mock.disconnects, SOON);
	ok(mock.disconnects == 1 && user.groups == 1, "a group that comes of it all the same is ended");
	end_user();

	start_ready();
	say_group("GroupStarted", DEVICE, STRANGE);
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(!user.groups && !mock.disconnects, "a group that somebody else on this machine forms is left alone");
	connect_to();
	say_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(user.groups, SOON);
	end_user();
	RUN_UNTIL(mock.disconnects, SOON);
	ok(mock.disconnects == 1 && strcmp(mock.left, GROUP) == 0, "in the end the own group is ended");
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
			sd_bus_emit_signal(mock.bus, cases[i].at, WPA_P2P, cases[i].signal, "a{sv}", 1, "status", "i", 7);
		else
			sd_bus_emit_signal(mock.bus, cases[i].at, WPA_P2P, cases[i].signal, "s", "reason");
		RUN_UNTIL(user.failures > i, SOON);
		ok(user.failures == i + 1 && strstr(user.why, cases[i].says) && user.ready, "%s: %s", cases[i].signal, user.why);
	}
	sd_bus_emit_signal(mock.bus, DEVICE, WPA_P2P, "GONegotiationFailure", "a{sv}", 1, "status", "i", 7);
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(user.peers, SOON);
	ok(user.failures == 3 && user.pins == 2, "a failure of nothing is none; the first is none of the PIN");
	mock.fail = "Connect";
	mock.error = WPA_P2P ".ConnectChannelUnavailable";
	for (unsigned i = 0; i < 2; i++) {
		wpa_connect(user.wpa, PEER_ID, "12345670", false, 1);
		RUN_UNTIL(user.failures == 4 + i, SOON);
	}
	ok(user.failures == 5 && user.warnings == 1 && strstr(user.note, "channel"), "a refusal is said once");
	mock.fail = NULL;
	connect_to();
	ok(mock.connects == 4 && strcmp(mock.method, "keypad") == 0, "and the next attempt is made");
	end_user();
}

static void refusals(void)
{
	reset_mock();
	mock.fail = "GetAll";
	mock.error = DENIED;
	start_user("");
	RUN_UNTIL(user.notes, SOON);
	ok(!user.ready && user.warnings == 1 && strstr(user.note, "usermod"), "who may not use wpa_supplicant is told how he may");
	end_user();

	start_ready();
	mock.fail = "Find";
	mock.error = WPA ".NotAuthorized";
	for (unsigned i = 0; i < 3; i++) {
		wpa_find(user.wpa, 20);
		RUN_UNTIL(mock.finds == i + 1 && user.notes, SOON);
	}
	ok(mock.finds == 3 && user.warnings == 1 && strstr(user.note, "usermod"), "NotAuthorized is said once");
	end_user();

	reset_mock();
	mock.radio = false;
	start_user("");
	RUN_UNTIL(mock.roots, SOON);
	RUN_UNTIL(user.readies || user.notes, 100);
	ok(mock.roots && !user.readies && !user.notes, "a radio that cannot is not used, without a word");
	end_user();
	reset_mock();
	start_user("wlan6");
	RUN_UNTIL(mock.roots, SOON);
	RUN_UNTIL(user.readies || user.notes, 100);
	ok(mock.roots && !user.readies && !user.notes, "nor one that was not asked for");
	end_user();
	start_user("wlan5");
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready, "the one that was is used");
	end_user();
}

static void networks(void)
{
	reset_mock();
	mock.state = "completed";
	start_user("");
	RUN_UNTIL(user.associated, SOON);
	ok(user.associated && !user.ready, "an interface that is connected to a network is not used");
	wpa_find(user.wpa, 20);
	wpa_name(user.wpa, "shoal-1");
	wpa_connect(user.wpa, PEER_ID, "12345670", true, 14);
	say_state("disconnected");
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && !mock.finds && !mock.names && !mock.connects, "nothing is asked of it until it is not any more");
	say_state("scanning");
	say_state("associating");
	RUN_UNTIL(!user.ready, SOON);
	ok(user.associated && user.readies == 3, "a search for networks leaves it, an attempt to connect does not");
	end_user();
}

static void restarting(void)
{
	in_group();
	own_name(false);
	RUN_UNTIL(!user.ready, SOON);
	ok(!user.ready && user.ends == 1 && user.groups == 1, "wpa_supplicant goes: so has the group");
	own_name(true);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready && user.readies == 3, "it comes again, and can be used");
	connect_to();
	own_name(false);
	RUN_UNTIL(user.failures, SOON);
	ok(user.failures == 1 && !user.ready, "it goes in the middle of an attempt, which has failed");
	own_name(true);
	RUN_UNTIL(user.ready, SOON);
	mock.any = false;
	sd_bus_emit_signal(mock.bus, WPA_ROOT, WPA, "InterfaceRemoved", "o", DEVICE);
	RUN_UNTIL(!user.ready, SOON);
	ok(!user.ready, "the interface goes");
	mock.any = true;
	sd_bus_emit_signal(mock.bus, WPA_ROOT, WPA, "InterfaceAdded", "oa{sv}", DEVICE, 0);
	RUN_UNTIL(user.ready, SOON);
	ok(user.ready, "and comes");
	end_user();
	is_uint(user.notes, 0, "of which nobody needs to know");
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

static void facts(void)
{
	struct wififacts f;
	reset_mock();
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
	mock.any = false;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_NO_IFACE && strstr(f.command, "CreateInterface"), "no interface: %s", f.message);
	mock.p2p = false;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_WITHOUT && f.command[0], "without P2P: %s", f.message);
	mock.fail = "Get";
	mock.error = DENIED;
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_DENIED && strstr(f.command, "netdev"), "denied: %s", f.message);
	mock.fail = NULL;
	own_name(false);
	ok(look(WIFIFACTS_P2P, &f) == WIFIFACTS_NO_DAEMON && f.command[0], "no wpa_supplicant: %s", f.message);
	own_name(true);
}

/* ---- Wi-Fi Direct ---- */

static struct direct {
	struct wifidirect *direct;
	bool wants, welcome;
	unsigned asks, wondered, came, went, lines;
	bool asked;
	uint32_t tag;
	uint64_t carried;
	char line[300];
} direct;

static bool direct_wants(void *u)
{
	(void)u;
	direct.asks++;
	return direct.wants;
}

static bool direct_welcome(uint32_t tag, bool asked, void *u)
{
	(void)u;
	direct.wondered++;
	direct.tag = tag;
	direct.asked = asked;
	return direct.welcome;
}

static uint64_t direct_carried(const char *ifname, void *u)
{
	(void)u;
	return strcmp(ifname, "p2p-wlan5-0") == 0 ? direct.carried : 0;
}

static void direct_group(const char *ifname, void *u)
{
	(void)u;
	direct.came += ifname != NULL;
	direct.went += ifname == NULL;
}

static void direct_note(int priority, const char *text, void *u)
{
	(void)priority, (void)u;
	direct.lines++;
	snprintf(direct.line, sizeof(direct.line), "%s", text);
	tap_diag("%s", text);
}

static const struct wifidirect_handler direct_handler = { direct_wants, direct_welcome, direct_carried, direct_group,
							  direct_note };

static void start_direct(const struct identity *own)
{
	const struct wifidirect_options o = { .ifname = "", .root = tap_path("power"), .idle = 1 };
	struct err e = { 0 };
	reset_mock();
	direct = (struct direct){ .welcome = true };
	if (wifidirect_new(event, own, &o, &direct_handler, NULL, &direct.direct, &e) < 0)
		tap_bail("%s", e.message);
}

static void end_direct(void)
{
	wifidirect_free(direct.direct);
	RUN_UNTIL(false, 20);
}

/* The device is seen under the name that it would have. */
static void name_peer(const struct identity *peer)
{
	_cleanup_(directkey_freep) struct directkey *k = NULL;
	if (directkey_new(peer, &k) < 0 ||
	    directkey_name(k, (int64_t)time(NULL), directkey_tag(k, identity_device(peer)), mock.peer_name) < 0)
		tap_bail("no name");
}

static void names(const struct identity *a, const struct identity *b, const struct identity *x)
{
	_cleanup_(directkey_freep) struct directkey *ka = NULL, *kb = NULL, *kx = NULL;
	char name[WPA_NAME_SIZE], pin[WPA_PIN_SIZE], same[WPA_PIN_SIZE], other[WPA_PIN_SIZE];
	const int64_t now = 1700000000;
	uint32_t tag = 0;
	if (directkey_new(a, &ka) < 0 || directkey_new(b, &kb) < 0 || directkey_new(x, &kx) < 0)
		tap_bail("no keys");
	const uint32_t ta = directkey_tag(ka, identity_device(a)), tb = directkey_tag(ka, identity_device(b));
	ok(directkey_name(ka, now, ta, name) == 0 && strlen(name) == 18, "a name: %s", name);
	ok(directkey_whose(kb, now + 3600, name, &tag) == 0 && tag == ta, "a member knows whose it is");
	name[9] = name[9] == '0' ? '1' : '0';
	unsigned known = 0;
	known += directkey_whose(kb, now, name, &tag) == 0;
	known += directkey_whose(kb, now, "shoal-", &tag) == 0;
	known += directkey_whose(kb, now, "shoal-00112233445", &tag) == 0;
	known += directkey_whose(kb, now, "shoal-0011223344zz", &tag) == 0;
	known += directkey_whose(kb, now, "shoal-00112233445566", &tag) == 0;
	is_uint(known, 0, "another name is nobody's");
	/* By chance one in 180,000. */
	for (int64_t i = 0; i < 4; i++)
		if (directkey_name(kx, now + i * ADVERT_PERIOD, ta, name) == 0)
			known += directkey_whose(kb, now, name, &tag) == 0;
	is_uint(known, 0, "nor is one of another mesh");
	ok(directkey_pin(ka, ta, tb, pin) == 0 && directkey_pin(kb, tb, ta, same) == 0 && strlen(pin) == 8 &&
		   strcmp(pin, same) == 0,
	   "both have the same PIN");
	ok(directkey_pin(kx, ta, tb, other) == 0 && strcmp(pin, other) != 0 && directkey_pin(ka, ta, tb ^ 1, other) == 0 &&
		   strcmp(pin, other) != 0,
	   "nobody else has");
	unsigned sum = 0;
	for (unsigned i = 0; i < 8; i++)
		sum += (i % 2 == 0 ? 3 : 1) * (unsigned)(pin[i] - '0');
	is_uint(sum % 10, 0, "its checksum is that of WPS");
}

static void looking(const struct identity *a, const struct identity *b, const struct identity *x)
{
	start_direct(a);
	RUN_UNTIL(direct.asks >= 2, SOON);
	ok(!mock.finds && strncmp(mock.name, WIFIDIRECT_PREFIX, 6) == 0 && mock.period > 0,
	   "without a reason it can be found, and looks for nobody");
	direct.wants = true;
	name_peer(x);
	RUN_UNTIL(mock.finds, SOON);
	ok(mock.finds == 1, "with one it looks");
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(direct.wondered, 200);
	ok(!direct.wondered && !mock.connects, "a stranger is nobody");
	name_peer(b);
	direct.welcome = false;
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(direct.wondered, SOON);
	RUN_UNTIL(mock.connects, 100);
	ok(direct.wondered == 1 && !direct.asked && direct.tag == wifidirect_tag(direct.direct, identity_device(b)) &&
		   !mock.connects,
	   "a member of whom nothing is wanted is left alone");
	direct.welcome = true;
	say_peer("DeviceFound", PEER);
	RUN_UNTIL(mock.connects, SOON);
	const bool first = wifidirect_tag(direct.direct, identity_device(a)) < direct.tag;
	ok(mock.connects == 1 && strlen(mock.pin) == 8 && strcmp(mock.method, first ? "keypad" : "display") == 0 &&
		   mock.intent == (first ? 14 : 1),
	   "another one is called, in the role of its tag");
	direct.wants = false;
	say_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(direct.came, SOON);
	ok(direct.came == 1, "there is a group");
	uint64_t begin = clock_us();
	/* Traffic keeps it: two looks come after more than a second that might have been idle. */
	while (clock_us() < begin + 7 * 1000000 && !mock.disconnects) {
		direct.carried += 100000;
		sd_event_run(event, 100000);
	}
	is_uint(mock.disconnects, 0, "while something passes it stays");
	RUN_UNTIL(mock.disconnects, SOON);
	ok(mock.disconnects == 1 && direct.went == 1 && strstr(direct.line, "nothing passes"), "when nothing does it ends");
	end_direct();
}

static void answering(const struct identity *a, const struct identity *b)
{
	char pin[WPA_PIN_SIZE], method[16];
	start_direct(b);
	name_peer(a);
	RUN_UNTIL(direct.asks, SOON);
	say_peer("DeviceFound", PEER);
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(mock.connects, SOON);
	ok(mock.connects == 1 && direct.asked, "who has no reason answers a member who has");
	snprintf(pin, sizeof(pin), "%.8s", mock.pin);
	snprintf(method, sizeof(method), "%s", mock.method);
	sd_bus_emit_signal(mock.bus, GROUP, WPA_P2P, "WpsFailed", "s", "reason");
	RUN_UNTIL(direct.lines >= 2, SOON);
	ok(strstr(direct.line, "PIN") != NULL, "a wrong PIN: %s", direct.line);
	const unsigned before = direct.wondered;
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(mock.connects > 1, 500);
	ok(mock.connects == 1 && direct.wondered == before, "then nobody is answered for a while");
	RUN_UNTIL(false, 4000);
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(mock.connects > 1, SOON);
	is_uint(mock.connects, 2, "and after that again");
	wifidirect_rest(direct.direct, true);
	RUN_UNTIL(mock.cancels && !mock.period, SOON);
	ok(mock.cancels == 1 && mock.period == 0, "a machine that goes to sleep gives up, and is not to be found");
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(mock.connects > 2, 200);
	is_uint(mock.connects, 2, "nor answers");
	wifidirect_rest(direct.direct, false);
	RUN_UNTIL(mock.period, SOON);
	ok(mock.period > 0, "awake it is to be found again");
	end_direct();
	/* The other side, for the same pair. */
	start_direct(a);
	name_peer(b);
	RUN_UNTIL(direct.asks, SOON);
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(mock.connects, SOON);
	ok(strcmp(mock.pin, pin) == 0 && strcmp(mock.method, method) != 0, "of the two one enters the PIN, and one shows it");
	sd_bus_emit_signal(mock.bus, DEVICE, WPA_P2P, "GONegotiationFailure", "a{sv}", 1, "status", "i", 7);
	RUN_UNTIL(direct.lines >= 2, SOON);
	say_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(mock.connects > 1, SOON);
	is_uint(mock.connects, 2, "two that could not agree may try again at once");
	end_direct();
	tap_write("power/sys/class/power_supply/BAT0/type", "Battery\n");
	tap_write("power/sys/class/power_supply/BAT0/status", "Discharging\n");
	tap_write("power/sys/class/power_supply/BAT0/capacity", "15\n");
	start_direct(a);
	direct.wants = true;
	RUN_UNTIL(mock.names || mock.finds, 500);
	ok(!mock.names && !mock.finds, "on a low battery nothing is done");
	tap_write("power/sys/class/power_supply/BAT0/capacity", "90\n");
	RUN_UNTIL(mock.finds && mock.period, SOON);
	ok(mock.interval == 10000, "on a better one it listens seldom");
	say_state("completed");
	RUN_UNTIL(mock.stops && !mock.period, SOON);
	ok(mock.stops && !mock.period && strstr(direct.line, "not used while"),
	   "when the Wi-Fi connects to a network the search ends, and that is said");
	end_direct();
}

int main(void)
{
	struct err e = { 0 };
	_cleanup_(identity_freep) struct identity *a = NULL, *b = NULL, *x = NULL;
	const int64_t now = (int64_t)time(NULL);
	tap_plan(77);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	const pid_t bus = bus_start();
	if (identity_create(tap_path("a"), "home", "anna", now, &e) < 0 || identity_open(tap_path("a"), &a, &e) < 0 ||
	    identity_create(tap_path("x"), "away", "xaver", now, &e) < 0 || identity_open(tap_path("x"), &x, &e) < 0 ||
	    !(b = member_new(a, tap_path("b"), "ben", ROLE_MEMBER, now, &e)))
		tap_bail("%s", e.message);
	start_mock();
	nobody_there();
	finding();
	forming();
	failing();
	refusals();
	networks();
	restarting();
	facts();
	names(a, b, x);
	looking(a, b, x);
	answering(a, b);
	sd_bus_flush_close_unref(mock.bus);
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
