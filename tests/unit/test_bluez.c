/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said to BlueZ, against a service of the same name on a bus of its own: its answers, good and bad. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/tap.h"
#include "transports/bluez-impl.h"
#include "transports/bluez.h"
#include "transports/bluezfacts.h"

/* ---- the service ---- */

static struct mock {
	sd_bus *bus;
	bool owned;
	struct mock_adapter {
		bool there, powered, advertises, random;
		const char *address;
	} adapter[2];
	const char *fail_register, *fail_start, *fail_filter, *fail_objects; /* names of errors */
	bool mute;             /* never answers StartDiscovery */
	unsigned registered, unregistered, started, stopped, filtered; /* calls */
	bool advertising, discovering;
	int on; /* which adapter it was asked of last */
	uint8_t data[16];
	size_t len;
	char type[32], service[64], transport[16], filter[64];
	bool duplicates, auto_started;
	char client[64], object[64];
	sd_bus_slot *get;
} mock;

static int mock_number(const char *path)
{
	return path[strlen(path) - 1] - '0';
}

static int put_manufacturer(sd_bus_message *m, uint16_t company, const uint8_t *data, size_t len)
{
	int r = sd_bus_message_open_container(m, 'v', "a{qv}");
	r = r < 0 ? r : sd_bus_message_open_container(m, 'a', "{qv}");
	r = r < 0 ? r : sd_bus_message_open_container(m, 'e', "qv");
	r = r < 0 ? r : sd_bus_message_append(m, "q", company);
	r = r < 0 ? r : sd_bus_message_open_container(m, 'v', "ay");
	r = r < 0 ? r : sd_bus_message_append_array(m, 'y', data, len);
	for (int i = 0; r >= 0 && i < 4; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

static void put_interfaces(sd_bus_message *m, const struct mock_adapter *a)
{
	sd_bus_message_open_container(m, 'a', "{sa{sv}}");
	sd_bus_message_append(m, "{sa{sv}}", BLUEZ_ADAPTER, 4, "Address", "s", a->address, "AddressType", "s",
			      a->random ? "random" : "public", "Powered", "b", a->powered, "UUIDs", "as", 2, "one", "two");
	if (a->advertises)
		sd_bus_message_append(m, "{sa{sv}}", BLUEZ_ADVERTISING, 1, "SupportedInstances", "y", 5);
	sd_bus_message_close_container(m);
}

static void path_of(unsigned n, char ret[static 32])
{
	snprintf(ret, 32, "/org/bluez/hci%u", n);
}

static int fail(sd_bus_message *m, const char *name)
{
	sd_bus_error e = SD_BUS_ERROR_MAKE_CONST(name, "as the test wants it");
	return sd_bus_reply_method_error(m, &e);
}

static int on_get_objects(sd_bus_message *m, void *user, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	(void)user, (void)error;
	if (mock.fail_objects)
		return fail(m, mock.fail_objects);
	sd_bus_message_new_method_return(m, &reply);
	sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}");
	/* One that means nothing to us. */
	sd_bus_message_append(reply, "{oa{sa{sv}}}", "/org/bluez", 1, "org.bluez.AgentManager1", 0);
	for (unsigned i = 0; i < 2; i++) {
		char path[32];
		path_of(i, path);
		if (!mock.adapter[i].there)
			continue;
		sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
		sd_bus_message_append(reply, "o", path);
		put_interfaces(reply, &mock.adapter[i]);
		sd_bus_message_close_container(reply);
	}
	sd_bus_message_close_container(reply);
	int r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r < 0 ? r : 1;
}

static void read_advertisement(sd_bus_message *m)
{
	const char *key = "", *text = "";
	sd_bus_message_enter_container(m, 'a', "{sv}");
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		sd_bus_message_read(m, "s", &key);
		if (strcmp(key, "Type") == 0) {
			sd_bus_message_read(m, "v", "s", &text);
			snprintf(mock.type, sizeof(mock.type), "%s", text);
		} else if (strcmp(key, "ServiceUUIDs") == 0) {
			sd_bus_message_enter_container(m, 'v', "as");
			sd_bus_message_enter_container(m, 'a', "s");
			while (sd_bus_message_read(m, "s", &text) > 0)
				snprintf(mock.service, sizeof(mock.service), "%s", text);
			sd_bus_message_exit_container(m);
			sd_bus_message_exit_container(m);
		} else if (strcmp(key, "ManufacturerData") == 0) {
			uint16_t company = 0;
			const void *p = NULL;
			sd_bus_message_enter_container(m, 'v', "a{qv}");
			sd_bus_message_enter_container(m, 'a', "{qv}");
			sd_bus_message_enter_container(m, 'e', "qv");
			sd_bus_message_read(m, "q", &company);
			sd_bus_message_enter_container(m, 'v', "ay");
			sd_bus_message_read_array(m, 'y', &p, &mock.len);
			if (company == 0xffff && mock.len <= sizeof(mock.data))
				memcpy(mock.data, p, mock.len);
			for (int i = 0; i < 4; i++)
				sd_bus_message_exit_container(m);
		} else {
			sd_bus_message_skip(m, "v");
		}
		sd_bus_message_exit_container(m);
	}
}

/* As bluetoothd does: it asks the object for its properties before it answers. */
static int on_got(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	sd_bus_message *call = user;
	(void)error;
	if (!sd_bus_message_is_method_error(reply, NULL)) {
		read_advertisement(reply);
		mock.advertising = true;
		sd_bus_reply_method_return(call, NULL);
	}
	mock.get = sd_bus_slot_unref(mock.get);
	sd_bus_message_unref(call);
	return 0;
}

static int on_register(sd_bus_message *m, void *user, sd_bus_error *error)
{
	const char *object = "";
	(void)user, (void)error;
	mock.registered++;
	mock.on = mock_number(sd_bus_message_get_path(m));
	mock.auto_started |= sd_bus_message_get_auto_start(m);
	if (mock.fail_register)
		return fail(m, mock.fail_register);
	if (mock.advertising)
		return fail(m, "org.bluez.Error.AlreadyExists");
	sd_bus_message_read(m, "o", &object);
	snprintf(mock.client, sizeof(mock.client), "%s", sd_bus_message_get_sender(m));
	snprintf(mock.object, sizeof(mock.object), "%s", object);
	int r = sd_bus_call_method_async(mock.bus, &mock.get, mock.client, mock.object, BLUEZ_PROPERTIES, "GetAll", on_got,
					 sd_bus_message_ref(m), "s", "org.bluez.LEAdvertisement1");
	return r < 0 ? r : 1;
}

static int on_unregister(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)user, (void)error;
	mock.unregistered++;
	mock.advertising = false;
	return sd_bus_reply_method_return(m, NULL);
}

static int on_filter(sd_bus_message *m, void *user, sd_bus_error *error)
{
	const char *key = "", *text = "";
	int flag = 0;
	(void)user, (void)error;
	mock.filtered++;
	if (mock.fail_filter)
		return fail(m, mock.fail_filter);
	sd_bus_message_enter_container(m, 'a', "{sv}");
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		sd_bus_message_read(m, "s", &key);
		if (strcmp(key, "Transport") == 0 && sd_bus_message_read(m, "v", "s", &text) >= 0)
			snprintf(mock.transport, sizeof(mock.transport), "%s", text);
		else if (strcmp(key, "DuplicateData") == 0 && sd_bus_message_read(m, "v", "b", &flag) >= 0)
			mock.duplicates = flag;
		else if (strcmp(key, "UUIDs") == 0 && sd_bus_message_read(m, "v", "as", 1, &text) >= 0)
			snprintf(mock.filter, sizeof(mock.filter), "%s", text);
		sd_bus_message_exit_container(m);
	}
	return sd_bus_reply_method_return(m, NULL);
}

static int on_start(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)user, (void)error;
	mock.started++;
	if (mock.mute)
		return 1;
	if (mock.fail_start)
		return fail(m, mock.fail_start);
	if (mock.discovering)
		return fail(m, "org.bluez.Error.InProgress");
	mock.discovering = true;
	return sd_bus_reply_method_return(m, NULL);
}

static int on_stop(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)user, (void)error;
	mock.stopped++;
	if (!mock.discovering)
		return fail(m, "org.bluez.Error.Failed");
	mock.discovering = false;
	return sd_bus_reply_method_return(m, NULL);
}

static int on_get_all(sd_bus_message *m, void *user, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	(void)user, (void)error;
	sd_bus_message_new_method_return(m, &reply);
	sd_bus_message_open_container(reply, 'a', "{sv}");
	sd_bus_message_append(reply, "{sv}{sv}", "Address", "s", "00:AA:01:00:00:77", "AddressType", "s", "random");
	sd_bus_message_open_container(reply, 'e', "sv");
	sd_bus_message_append(reply, "s", "ManufacturerData");
	put_manufacturer(reply, 0xffff, (const uint8_t *)"known!", 6);
	sd_bus_message_close_container(reply);
	sd_bus_message_close_container(reply);
	int r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r < 0 ? r : 1;
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("RegisterAdvertisement", "oa{sv}", NULL, on_register, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("UnregisterAdvertisement", "o", NULL, on_unregister, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable adapter_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("SetDiscoveryFilter", "a{sv}", NULL, on_filter, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StartDiscovery", NULL, NULL, on_start, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StopDiscovery", NULL, NULL, on_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};
/* sd-bus answers these two itself where it has objects: a filter comes before it. */
static int on_message(sd_bus_message *m, void *user, sd_bus_error *error)
{
	if (sd_bus_message_is_method_call(m, BLUEZ_OBJECTS, "GetManagedObjects"))
		return on_get_objects(m, user, error);
	if (sd_bus_message_is_method_call(m, BLUEZ_PROPERTIES, "GetAll"))
		return on_get_all(m, user, error);
	return 0;
}

static void own_name(bool on)
{
	int r = on ? sd_bus_request_name(mock.bus, BLUEZ, 0) : sd_bus_release_name(mock.bus, BLUEZ);
	if (r < 0)
		tap_bail("the name org.bluez: %s", strerror(-r));
	mock.owned = on;
	if (!on)
		mock.advertising = mock.discovering = false;
}

static void say_added(unsigned n)
{
	char path[32];
	sd_bus_message *m = NULL;
	path_of(n, path);
	sd_bus_message_new_signal(mock.bus, &m, "/", BLUEZ_OBJECTS, "InterfacesAdded");
	sd_bus_message_append(m, "o", path);
	put_interfaces(m, &mock.adapter[n]);
	sd_bus_send(mock.bus, m, NULL);
	sd_bus_message_unref(m);
}

static void say_removed(unsigned n)
{
	char path[32];
	path_of(n, path);
	mock.advertising = mock.discovering = false;
	sd_bus_emit_signal(mock.bus, "/", BLUEZ_OBJECTS, "InterfacesRemoved", "oas", path, 2, BLUEZ_ADAPTER,
			   BLUEZ_ADVERTISING);
}

static void power(unsigned n, bool on)
{
	char path[32];
	path_of(n, path);
	mock.adapter[n].powered = on;
	if (!on)
		mock.discovering = false;
	sd_bus_emit_signal(mock.bus, path, BLUEZ_PROPERTIES, "PropertiesChanged", "sa{sv}as", BLUEZ_ADAPTER, 1, "Powered",
			   "b", on, 0);
}

static void device_path(unsigned n, const char *address, char ret[static 64])
{
	snprintf(ret, 64, "/org/bluez/hci%u/dev_%s", n, address);
	for (char *p = ret; *p; p++)
		*p = *p == ':' ? '_' : *p;
}

static void say_device(unsigned n, const char *address, bool random, uint16_t company, const void *data, size_t len)
{
	char path[64];
	sd_bus_message *m = NULL;
	device_path(n, address, path);
	sd_bus_message_new_signal(mock.bus, &m, "/", BLUEZ_OBJECTS, "InterfacesAdded");
	sd_bus_message_append(m, "o", path);
	sd_bus_message_open_container(m, 'a', "{sa{sv}}");
	sd_bus_message_open_container(m, 'e', "sa{sv}");
	sd_bus_message_append(m, "s", BLUEZ_DEVICE);
	sd_bus_message_open_container(m, 'a', "{sv}");
	sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "AddressType", "s", random ? "random" : "public", "Address", "s", address,
			      "RSSI", "n", -60, "UUIDs", "as", 1, ADVERT_SERVICE);
	sd_bus_message_open_container(m, 'e', "sv");
	sd_bus_message_append(m, "s", "ManufacturerData");
	put_manufacturer(m, company, data, len);
	for (int i = 0; i < 4; i++)
		sd_bus_message_close_container(m);
	sd_bus_send(mock.bus, m, NULL);
	sd_bus_message_unref(m);
}

static void say_device_changed(unsigned n, const char *address, const void *data, size_t len)
{
	char path[64];
	sd_bus_message *m = NULL;
	device_path(n, address, path);
	sd_bus_message_new_signal(mock.bus, &m, path, BLUEZ_PROPERTIES, "PropertiesChanged");
	sd_bus_message_append(m, "s", BLUEZ_DEVICE);
	sd_bus_message_open_container(m, 'a', "{sv}");
	sd_bus_message_open_container(m, 'e', "sv");
	sd_bus_message_append(m, "s", "ManufacturerData");
	put_manufacturer(m, 0xffff, data, len);
	sd_bus_message_close_container(m);
	sd_bus_message_close_container(m);
	sd_bus_message_append(m, "as", 0);
	sd_bus_send(mock.bus, m, NULL);
	sd_bus_message_unref(m);
}

static void start_mock(void)
{
	mock = (struct mock){ .adapter = { { true, true, true, false, "00:AA:01:00:00:42" },
					   { false, true, true, true, "00:AA:01:01:00:23" } } };
	if (sd_bus_open_system(&mock.bus) < 0 || sd_bus_attach_event(mock.bus, event, 0) < 0 ||
	    sd_bus_add_filter(mock.bus, NULL, on_message, NULL) < 0)
		tap_bail("no service");
	for (unsigned i = 0; i < 2; i++) {
		char path[32];
		path_of(i, path);
		if (sd_bus_add_object_vtable(mock.bus, NULL, path, BLUEZ_ADVERTISING, manager_vtable, NULL) < 0 ||
		    sd_bus_add_object_vtable(mock.bus, NULL, path, BLUEZ_ADAPTER, adapter_vtable, NULL) < 0)
			tap_bail("no objects");
	}
}

/* ---- the user ---- */

static struct user {
	struct bluez *bluez;
	struct address own;
	bool usable;
	unsigned came, went, heard, notes, warnings;
	struct address who;
	uint8_t data[ADVERT_SIZE];
	char note[300];
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
	user.notes++;
	user.warnings += priority <= LOG_WARNING;
	snprintf(user.note, sizeof(user.note), "%s", text);
	tap_diag("%d: %s", priority, text);
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
	mock.advertising = mock.discovering = false;
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
	RUN_UNTIL(user.came || user.notes, 200);
	ok(!user.came && !user.notes && !mock.registered, "without bluetoothd nothing happens and nothing is said");
	own_name(true);
	RUN_UNTIL(mock.advertising && mock.discovering, SOON);
	ok(mock.advertising && mock.discovering, "it comes: what was asked for is asked for");
	is_str(text_of(&user.own), "00:AA:01:00:00:42", "the adapter's address is told");
	ok(!mock.auto_started, "no call would have started bluetoothd");
	is_str(mock.type, "peripheral", "the advertisement is connectable");
	is_str(mock.service, ADVERT_SERVICE, "and names the service");
	is_mem(mock.data, mock.len, one, ADVERT_SIZE, "and the six bytes");
	ok(strcmp(mock.transport, "le") == 0 && mock.duplicates && strcmp(mock.filter, ADVERT_SERVICE) == 0,
	   "what is looked for is LE devices of the service, again and again");
}

static void hearing(void)
{
	RUN_UNTIL(bluez_scans(user.bluez), SOON);
	say_device(0, "00:AA:01:00:00:99", true, 0xffff, "abcdef", 6);
	RUN_UNTIL(user.heard, SOON);
	ok(user.heard == 1 && strcmp(text_of(&user.who), "00:AA:01:00:00:99") == 0 && user.who.l2.type == ADDRESS_LE_RANDOM &&
		   memcmp(user.data, "abcdef", 6) == 0,
	   "a device is heard, with its kind of address");
	say_device_changed(0, "00:AA:01:00:00:99", "ghijkl", 6);
	RUN_UNTIL(user.heard > 1, SOON);
	ok(user.heard == 2 && memcmp(user.data, "ghijkl", 6) == 0 && user.who.l2.type == ADDRESS_LE_RANDOM,
	   "it is heard again, with other bytes");
	/* None of these counts; the last one that is heard shows that they were passed over. */
	say_device(0, "00:AA:01:00:00:98", true, 0xffff, "abcde", 5);
	say_device(0, "00:AA:01:00:00:98", true, 0xffff, "abcdefg", 7);
	say_device(0, "00:AA:01:00:00:98", true, 76, "abcdef", 6);
	say_device(1, "00:AA:01:00:00:98", true, 0xffff, "abcdef", 6);
	say_device(0, "no:address:at:all", true, 0xffff, "abcdef", 6);
	say_device_changed(0, "00:AA:01:00:00:77", "xxxxxx", 6);
	RUN_UNTIL(user.heard > 2, SOON);
	ok(user.heard == 3 && strcmp(text_of(&user.who), "00:AA:01:00:00:77") == 0 && user.who.l2.type == ADDRESS_LE_RANDOM &&
		   memcmp(user.data, "known!", 6) == 0,
	   "other bytes, other adapters and nonsense are passed over; who was there before is asked about");
	bluez_scan(user.bluez, false);
	RUN_UNTIL(mock.stopped && !mock.discovering, SOON);
	is_uint(mock.stopped, 1, "a scan ends when it is not wanted");
	say_device(0, "00:AA:01:00:00:99", true, 0xffff, "abcdef", 6);
	RUN_UNTIL(user.heard > 3, 100);
	is_uint(user.heard, 3, "and nobody is heard then");
}

static void rotating(void)
{
	bluez_advertise(user.bluez, two);
	RUN_UNTIL(mock.registered == 2 && mock.advertising, SOON);
	is_mem(mock.data, mock.len, two, ADVERT_SIZE, "other bytes take the place of the first");
	is_uint(mock.unregistered, 1, "after those are taken back");
	bluez_advertise(user.bluez, two);
	RUN_UNTIL(mock.registered > 2, 100);
	is_uint(mock.registered, 2, "the same bytes again change nothing");
	/* bluetoothd throws it out. */
	mock.advertising = false;
	sd_bus_call_method_async(mock.bus, NULL, mock.client, mock.object, "org.bluez.LEAdvertisement1", "Release", NULL, NULL,
				 NULL);
	RUN_UNTIL(mock.registered == 3 && mock.advertising, SOON);
	ok(mock.advertising, "thrown out, it is registered anew");
}

static void powering(void)
{
	bluez_scan(user.bluez, true);
	RUN_UNTIL(mock.discovering, SOON);
	power(0, false);
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable && user.went == 1, "an adapter that is switched off is gone");
	const unsigned registered = mock.registered, started = mock.started;
	RUN_UNTIL(mock.registered > registered, 100);
	ok(mock.registered == registered && mock.started == started, "nothing is asked of it");
	/* bluetoothd still has the advertisement. */
	power(0, true);
	RUN_UNTIL(mock.advertising && mock.discovering && bluez_advertises(user.bluez), SOON);
	ok(user.usable && bluez_advertises(user.bluez) && mock.discovering && mock.unregistered >= 2,
	   "switched on, it is used again, though the old advertisement was still there (AlreadyExists)");
	is_uint(user.notes, 0, "of which nobody needs to know");
}

static void vanishing(void)
{
	const unsigned came = user.came;
	mock.adapter[1].there = true;
	say_added(1);
	RUN_UNTIL(user.came > came, 100);
	is_uint(user.came, came, "a second adapter changes nothing");
	say_removed(0);
	mock.adapter[0].there = false;
	RUN_UNTIL(user.came > came && mock.advertising && mock.discovering, SOON);
	ok(user.came == came + 1 && strcmp(text_of(&user.own), "00:AA:01:01:00:23") == 0 &&
		   user.own.l2.type == ADDRESS_LE_RANDOM && mock.on == 1,
	   "pulled out in the middle, the first gives its place to the second");
	say_removed(1);
	mock.adapter[1].there = false;
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable, "pulled out as well, there is none");
	mock.adapter[0].there = true;
	say_added(0);
	RUN_UNTIL(user.usable && mock.advertising && mock.discovering, SOON);
	ok(user.usable && mock.on == 0 && mock.advertising && mock.discovering, "the first comes back and is used");
}

static void restarting(void)
{
	const unsigned went = user.went, registered = mock.registered;
	own_name(false);
	RUN_UNTIL(!user.usable, SOON);
	ok(!user.usable && user.went == went + 1, "bluetoothd goes: there is no adapter");
	own_name(true);
	RUN_UNTIL(user.usable && mock.advertising && mock.discovering, SOON);
	ok(user.usable && mock.advertising && mock.discovering && mock.registered > registered,
	   "it comes again, and is asked again");
	end_user();
}

static void choosing(void)
{
	mock.adapter[1].there = true;
	start_user("hci1");
	bluez_advertise(user.bluez, one);
	RUN_UNTIL(mock.advertising, SOON);
	is_str(text_of(&user.own), "00:AA:01:01:00:23", "an adapter is chosen by its name");
	end_user();
	start_user("00:aa:01:01:00:23");
	RUN_UNTIL(user.usable, SOON);
	is_str(text_of(&user.own), "00:AA:01:01:00:23", "or by its address");
	end_user();
	start_user("hci7");
	RUN_UNTIL(user.usable, 200);
	ok(!user.usable && !user.notes, "one that is not there is waited for, without a word");
	end_user();
	mock.adapter[1].there = false;
}

/* Each error: said once, with what to do, and tried again. */
static void refused(const char **which, const char *error, const char *says, unsigned warnings)
{
	*which = error;
	start_user("");
	bluez_advertise(user.bluez, one);
	bluez_scan(user.bluez, true);
	const unsigned *calls = which == &mock.fail_register ? &mock.registered :
				which == &mock.fail_start    ? &mock.started :
							       &mock.filtered;
	const unsigned before = *calls;
	RUN_UNTIL(*calls >= before + 2, SOON);
	ok(*calls >= before + 2 && user.warnings == warnings && user.notes == 1 && strstr(user.note, says),
	   "%s is said once, and tried again", error);
	*which = NULL;
	RUN_UNTIL(mock.advertising && mock.discovering, SOON);
	ok(mock.advertising && mock.discovering, "until it works");
	end_user();
}

static void refusals(void)
{
	refused(&mock.fail_register, "org.bluez.Error.NotAuthorized", "usermod", 1);
	refused(&mock.fail_register, "org.bluez.Error.NotPermitted", "no more advertisements", 1);
	refused(&mock.fail_start, "org.bluez.Error.NotReady", "power on", 0);
	refused(&mock.fail_start, "org.bluez.Error.InProgress", "busy", 0);
	refused(&mock.fail_filter, "org.bluez.Error.Failed", "journalctl", 1);
	refused(&mock.fail_start, "org.bluez.Error.Blocked", "rfkill", 1);

	mock.fail_objects = "org.freedesktop.DBus.Error.AccessDenied";
	start_user("");
	RUN_UNTIL(user.notes, SOON);
	ok(user.warnings == 1 && strstr(user.note, "usermod"), "who may not talk to bluetoothd is told how he may");
	end_user();
	mock.fail_objects = NULL;

	/* The user goes while an answer is out. */
	mock.mute = true;
	const unsigned started = mock.started;
	start_user("");
	bluez_scan(user.bluez, true);
	RUN_UNTIL(mock.started > started, SOON);
	ok(mock.started > started, "a call that is never answered");
	end_user();
	mock.mute = false;
	RUN_UNTIL(false, 20);

	/* No way to advertise: it scans. */
	mock.adapter[0].advertises = false;
	start_user("");
	bluez_advertise(user.bluez, one);
	bluez_scan(user.bluez, true);
	RUN_UNTIL(mock.discovering, SOON);
	ok(mock.discovering && !mock.advertising && strstr(user.note, "cannot advertise"),
	   "an adapter that cannot advertise looks for others");
	end_user();
	mock.adapter[0].advertises = true;
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
	is_int(f.state, BLUEZFACTS_READY, "blocked, and another adapter works");
	power(0, false);
	look("", &f);
	ok(f.state == BLUEZFACTS_BLOCKED && strstr(f.command, "rfkill unblock"), "blocked, and there: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill1/soft", "0\n");
	look("", &f);
	ok(f.state == BLUEZFACTS_OFF && strstr(f.command, "power on"), "off: %s", f.message);
	power(0, true);
	look("", &f);
	ok(f.state == BLUEZFACTS_READY && !f.command[0], "ready: %s", f.message);
	look("hci5", &f);
	ok(f.state == BLUEZFACTS_MISSING && strstr(f.message, "bluetooth.adapter"), "not that adapter: %s", f.message);
	look("hci0", &f);
	is_int(f.state, BLUEZFACTS_READY, "that adapter");
	mock.adapter[0].there = false;
	look("", &f);
	ok(f.state == BLUEZFACTS_MISSING && strstr(f.command, "restart"), "not taken up: %s", f.message);
	mock.adapter[0].there = true;
	mock.fail_objects = "org.freedesktop.DBus.Error.AccessDenied";
	look("", &f);
	ok(f.state == BLUEZFACTS_DENIED && strstr(f.command, "usermod"), "denied: %s", f.message);
	mock.fail_objects = NULL;
	own_name(false);
	look("", &f);
	ok(f.state == BLUEZFACTS_NO_DAEMON && f.command[0], "no daemon: %s", f.message);
	tap_write("root/sys/class/rfkill/rfkill1/hard", "1\n");
	look("", &f);
	ok(f.state == BLUEZFACTS_BLOCKED && strstr(f.command, "rfkill list"), "a switch: %s", f.message);
}

int main(void)
{
	tap_plan(58);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	const pid_t bus = bus_start();
	start_mock();
	nobody_there();
	hearing();
	rotating();
	powering();
	vanishing();
	restarting();
	choosing();
	refusals();
	facts();
	sd_bus_flush_close_unref(mock.bus);
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
