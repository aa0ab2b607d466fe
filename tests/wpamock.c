/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/wpamock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/ends.h"
#include "tests/tap.h"
#include "transports/wifidirect.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"

struct wpamock wpamock;

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
	const char *capabilities[] = { "ap", wpamock.p2p ? "p2p" : "mesh", NULL };
	/* The newest comes first; that of a group is passed over. */
	const char *interfaces[] = { GROUP, DEVICE, NULL };
	(void)bus, (void)path, (void)interface, (void)user, (void)error;
	wpamock.roots++;
	if (strcmp(property, "Capabilities") == 0)
		return put_strings(reply, "s", capabilities);
	return put_strings(reply, "o", wpamock.any ? interfaces : &interfaces[2]);
}

static int get_iface(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		     void *user, sd_bus_error *error)
{
	const bool group = strcmp(path, GROUP) == 0;
	(void)bus, (void)interface, (void)user, (void)error;
	if (strcmp(property, "Ifname") == 0)
		return sd_bus_message_append(reply, "s", group ? "p2p-wlan5-0" : "wlan5");
	if (strcmp(property, "State") == 0)
		return sd_bus_message_append(reply, "s", group ? "completed" : wpamock.state);
	return sd_bus_message_append(reply, "a{sv}", 2, "Scan", "as", 1, "active", "Modes", "as", 2, "infrastructure",
				     wpamock.radio ? "p2p" : "mesh");
}

static int get_p2p(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		   void *user, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)user, (void)error;
	if (strcmp(property, "Peers") == 0)
		return put_strings(reply, "o", (const char *[]){ wpamock.peers[0], NULL });
	return sd_bus_message_append(reply, "a{sv}", 2, "GOIntent", "u", 7, "DeviceName", "s", wpamock.name);
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
		wpamock.names++;
		snprintf(wpamock.name, sizeof(wpamock.name), "%s", text);
	}
	return r < 0 ? r : 1;
}

static int get_peer(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		    void *user, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)user, (void)error;
	if (strcmp(property, "groupcapability") == 0)
		return sd_bus_message_append(reply, "y", wpamock.group);
	return sd_bus_message_append(reply, "s", wpamock.peer_name);
}

static int read_int(sd_bus_message *m, int *ret)
{
	return sd_bus_message_read(m, "v", "i", ret);
}

static int read_bool(sd_bus_message *m, bool *ret)
{
	int b = 0;
	int r = sd_bus_message_read(m, "v", "b", &b);
	*ret = b;
	return r;
}

static int read_text(sd_bus_message *m, const char *type, char *ret, size_t size)
{
	const char *s = "";
	int r = sd_bus_message_read(m, "v", type, &s);
	snprintf(ret, size, "%s", s);
	return r;
}

/* The arguments of Find, ExtendedListen, Connect and WPS.Start. */
static int read_arguments(sd_bus_message *m)
{
	const char *key = "";
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (strcmp(key, "Timeout") == 0)
			r = read_int(m, &wpamock.timeout);
		else if (strcmp(key, "period") == 0)
			r = read_int(m, &wpamock.period);
		else if (strcmp(key, "interval") == 0)
			r = read_int(m, &wpamock.interval);
		else if (strcmp(key, "go_intent") == 0)
			r = read_int(m, &wpamock.intent);
		else if (strcmp(key, "peer") == 0)
			r = read_text(m, "o", wpamock.peer, sizeof(wpamock.peer));
		else if (strcmp(key, "wps_method") == 0)
			r = read_text(m, "s", wpamock.method, sizeof(wpamock.method));
		else if (strcmp(key, "join") == 0)
			r = read_bool(m, &wpamock.join);
		else if (strcmp(key, "Role") == 0 || strcmp(key, "Type") == 0)
			r = read_text(m, "s", wpamock.method, sizeof(wpamock.method));
		else if (strcmp(key, "pin") == 0 || strcmp(key, "Pin") == 0)
			r = read_text(m, "s", wpamock.pin, sizeof(wpamock.pin));
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
	wpamock.auto_started |= sd_bus_message_get_auto_start(m) > 0;
	if (strcmp(name, "Disconnect") == 0) {
		wpamock.disconnects++;
		snprintf(wpamock.left, sizeof(wpamock.left), "%s", sd_bus_message_get_path(m));
	} else if (strcmp(name, "Cancel") == 0) {
		wpamock.cancels++;
	} else if (strcmp(name, "StopFind") == 0) {
		wpamock.stops++;
	} else {
		wpamock.finds += strcmp(name, "Find") == 0;
		wpamock.connects += strcmp(name, "Connect") == 0;
		wpamock.listens += strcmp(name, "ExtendedListen") == 0;
		wpamock.admits += strcmp(name, "Start") == 0;
		if (strcmp(name, "ExtendedListen") == 0)
			wpamock.period = wpamock.interval = 0;
		if (strcmp(name, "Connect") == 0)
			wpamock.join = false;
		int r = read_arguments(m);
		if (r < 0)
			return r;
	}
	if (strcmp(name, "Start") == 0)
		return sd_bus_reply_method_return(m, "a{sv}", 1, "Pin", "s", wpamock.pin);
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
static const sd_bus_vtable wps_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Start", "a{sv}", "a{sv}", on_method, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable peer_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("DeviceName", "s", get_peer, 0, 0),
	SD_BUS_PROPERTY("groupcapability", "y", get_peer, 0, 0),
	SD_BUS_VTABLE_END,
};

static int on_message(sd_bus_message *m, void *user, sd_bus_error *error)
{
	const char *member = sd_bus_message_get_member(m);
	(void)user, (void)error;
	if (sd_bus_message_is_method_call(m, NULL, "GetAll") && strcmp(sd_bus_message_get_path(m), PEER) == 0)
		wpamock.aborted = true;
	if (!wpamock.fail || !sd_bus_message_is_method_call(m, NULL, NULL) || strcmp(member, wpamock.fail) != 0)
		return 0;
	wpamock.finds += strcmp(member, "Find") == 0;
	sd_bus_error e = SD_BUS_ERROR_MAKE_CONST(wpamock.error, "as the test wants it");
	return sd_bus_reply_method_error(m, &e);
}

void wpamock_own(bool on)
{
	int r = on ? sd_bus_request_name(wpamock.bus, WPA, 0) : sd_bus_release_name(wpamock.bus, WPA);
	if (r < 0)
		tap_bail("the name of wpa_supplicant: %s", strerror(-r));
}

void wpamock_reset(void)
{
	sd_bus *bus = wpamock.bus;
	wpamock = (struct wpamock){ .bus = bus, .p2p = true, .radio = true, .any = true, .state = "disconnected", .role = "GO" };
	snprintf(wpamock.name, sizeof(wpamock.name), "laptop");
	snprintf(wpamock.peer_name, sizeof(wpamock.peer_name), "other");
}

static void connect_mock(void)
{
	static const struct {
		const char *path, *interface;
		const sd_bus_vtable *vtable;
	} objects[] = {
		{ WPA_ROOT, WPA, root_vtable },	       { DEVICE, WPA_INTERFACE, iface_vtable }, { DEVICE, WPA_P2P, p2p_vtable },
		{ GROUP, WPA_INTERFACE, iface_vtable }, { GROUP, WPA_P2P, p2p_vtable },		{ PEER, WPA_PEER, peer_vtable },
		{ STRANGE, WPA_P2P, p2p_vtable },      { GROUP, WPA_WPS, wps_vtable },
	};
	int r = sd_bus_open_system(&wpamock.bus);
	if (r >= 0)
		r = sd_bus_attach_event(wpamock.bus, event, 0);
	if (r >= 0)
		r = sd_bus_add_filter(wpamock.bus, NULL, on_message, NULL);
	for (size_t i = 0; r >= 0 && i < sizeof(objects) / sizeof(objects[0]); i++)
		r = sd_bus_add_object_vtable(wpamock.bus, NULL, objects[i].path, objects[i].interface, objects[i].vtable, NULL);
	if (r < 0)
		tap_bail("no service: %s", strerror(-r));
}

void wpamock_start(void)
{
	wpamock_reset();
	connect_mock();
}

void wpamock_name(const struct identity *peer)
{
	_cleanup_(directkey_freep) struct directkey *k = NULL;
	if (directkey_new(peer, &k) < 0 ||
	    directkey_name(k, (int64_t)time(NULL), directkey_tag(k, identity_device(peer)), wpamock.peer_name) < 0)
		tap_bail("no name");
}

void wpamock_state(const char *state)
{
	wpamock.state = state;
	sd_bus_emit_properties_changed(wpamock.bus, DEVICE, WPA_INTERFACE, "State", NULL);
}

void wpamock_peer(const char *signal, const char *path)
{
	if (signal[0] == 'G')
		sd_bus_emit_signal(wpamock.bus, DEVICE, WPA_P2P, signal, "oqy", path, 4, 7);
	else
		sd_bus_emit_signal(wpamock.bus, DEVICE, WPA_P2P, signal, "o", path);
}

void wpamock_group(const char *signal, const char *at, const char *path)
{
	sd_bus_emit_signal(wpamock.bus, at, WPA_P2P, signal, "a{sv}", 3, "role", "s", wpamock.role, "persistent", "b", 0,
			   "interface_object", "o", path);
}

void wpamock_stop(void)
{
	(void)sd_bus_detach_event(wpamock.bus);
	wpamock.bus = sd_bus_flush_close_unref(wpamock.bus);
}

void wpamock_restart(void)
{
	wpamock_stop();
	connect_mock();
	wpamock_own(true);
}
