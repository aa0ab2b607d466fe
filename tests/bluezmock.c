/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bluezmock.h"

#include <stdio.h>
#include <string.h>

#include "tests/ends.h"
#include "tests/tap.h"

struct bluezmock bluezmock;

static int number_of(const char *path)
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

static void put_interfaces(sd_bus_message *m, const struct bluezmock_adapter *a)
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
	if (bluezmock.fail_objects)
		return fail(m, bluezmock.fail_objects);
	sd_bus_message_new_method_return(m, &reply);
	sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}");
	/* One that means nothing to us. */
	sd_bus_message_append(reply, "{oa{sa{sv}}}", "/org/bluez", 1, "org.bluez.AgentManager1", 0);
	for (unsigned i = 0; i < 2; i++) {
		char path[32];
		path_of(i, path);
		if (!bluezmock.adapter[i].there)
			continue;
		sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
		sd_bus_message_append(reply, "o", path);
		put_interfaces(reply, &bluezmock.adapter[i]);
		sd_bus_message_close_container(reply);
	}
	sd_bus_message_close_container(reply);
	int r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r < 0 ? r : 1;
}

static void read_advertisement(sd_bus_message *m, struct bluezmock_adapter *x)
{
	const char *key = "", *text = "";
	sd_bus_message_enter_container(m, 'a', "{sv}");
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		sd_bus_message_read(m, "s", &key);
		if (strcmp(key, "Type") == 0) {
			sd_bus_message_read(m, "v", "s", &text);
			snprintf(bluezmock.type, sizeof(bluezmock.type), "%s", text);
		} else if (strcmp(key, "ServiceUUIDs") == 0) {
			sd_bus_message_enter_container(m, 'v', "as");
			sd_bus_message_enter_container(m, 'a', "s");
			while (sd_bus_message_read(m, "s", &text) > 0)
				snprintf(bluezmock.service, sizeof(bluezmock.service), "%s", text);
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
			sd_bus_message_read_array(m, 'y', &p, &x->len);
			if (company == 0xffff && x->len <= sizeof(x->data))
				memcpy(x->data, p, x->len);
			for (int i = 0; i < 4; i++)
				sd_bus_message_exit_container(m);
		} else {
			sd_bus_message_skip(m, "v");
		}
		sd_bus_message_exit_container(m);
	}
}

/* Everyone who scans hears everyone who advertises by another adapter. */
static void air(void)
{
	for (unsigned i = 0; bluezmock.air && i < BLUEZMOCK_ADAPTERS; i++)
		for (unsigned k = 0; k < BLUEZMOCK_ADAPTERS; k++) {
			const struct bluezmock_adapter *says = &bluezmock.adapter[i], *hears = &bluezmock.adapter[k];
			if (i != k && says->there && says->powered && says->advertising && hears->there && hears->powered &&
			    hears->discovering)
				bluezmock_device(k, says->address, says->random, 0xffff, says->data, says->len);
		}
}

/* As bluetoothd does: it asks the object for its properties before it answers. */
static int on_got(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct bluezmock_adapter *x = user;
	(void)error;
	if (!sd_bus_message_is_method_error(reply, NULL)) {
		read_advertisement(reply, x);
		x->advertising = true;
		sd_bus_reply_method_return(x->call, NULL);
		air();
	}
	x->get = sd_bus_slot_unref(x->get);
	x->call = sd_bus_message_unref(x->call);
	return 0;
}

static struct bluezmock_adapter *adapter_of(sd_bus_message *m)
{
	return &bluezmock.adapter[number_of(sd_bus_message_get_path(m))];
}

static int on_register(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct bluezmock_adapter *x = adapter_of(m);
	const char *object = "";
	(void)user, (void)error;
	bluezmock.registered++;
	bluezmock.on = number_of(sd_bus_message_get_path(m));
	bluezmock.auto_started |= sd_bus_message_get_auto_start(m);
	if (bluezmock.fail_register)
		return fail(m, bluezmock.fail_register);
	if (x->advertising || x->call)
		return fail(m, "org.bluez.Error.AlreadyExists");
	sd_bus_message_read(m, "o", &object);
	snprintf(x->client, sizeof(x->client), "%s", sd_bus_message_get_sender(m));
	snprintf(x->object, sizeof(x->object), "%s", object);
	int r = sd_bus_call_method_async(bluezmock.bus, &x->get, x->client, x->object, BLUEZ_PROPERTIES, "GetAll", on_got, x, "s",
					 "org.bluez.LEAdvertisement1");
	if (r >= 0)
		x->call = sd_bus_message_ref(m);
	return r < 0 ? r : 1;
}

static int on_unregister(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)user, (void)error;
	bluezmock.unregistered++;
	adapter_of(m)->advertising = false;
	return sd_bus_reply_method_return(m, NULL);
}

static int on_filter(sd_bus_message *m, void *user, sd_bus_error *error)
{
	const char *key = "", *text = "";
	int flag = 0;
	(void)user, (void)error;
	bluezmock.filtered++;
	if (bluezmock.fail_filter)
		return fail(m, bluezmock.fail_filter);
	sd_bus_message_enter_container(m, 'a', "{sv}");
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		sd_bus_message_read(m, "s", &key);
		if (strcmp(key, "Transport") == 0 && sd_bus_message_read(m, "v", "s", &text) >= 0)
			snprintf(bluezmock.transport, sizeof(bluezmock.transport), "%s", text);
		else if (strcmp(key, "DuplicateData") == 0 && sd_bus_message_read(m, "v", "b", &flag) >= 0)
			bluezmock.duplicates = flag;
		else if (strcmp(key, "UUIDs") == 0 && sd_bus_message_read(m, "v", "as", 1, &text) >= 0)
			snprintf(bluezmock.filter, sizeof(bluezmock.filter), "%s", text);
		sd_bus_message_exit_container(m);
	}
	return sd_bus_reply_method_return(m, NULL);
}

static int on_start(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)user, (void)error;
	bluezmock.started++;
	if (bluezmock.mute)
		return 1;
	if (bluezmock.fail_start)
		return fail(m, bluezmock.fail_start);
	if (adapter_of(m)->discovering)
		return fail(m, "org.bluez.Error.InProgress");
	adapter_of(m)->discovering = true;
	int r = sd_bus_reply_method_return(m, NULL);
	air();
	return r;
}

static int on_stop(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)user, (void)error;
	bluezmock.stopped++;
	if (!adapter_of(m)->discovering)
		return fail(m, "org.bluez.Error.Failed");
	adapter_of(m)->discovering = false;
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

void bluezmock_own(bool on)
{
	int r = on ? sd_bus_request_name(bluezmock.bus, BLUEZ, 0) : sd_bus_release_name(bluezmock.bus, BLUEZ);
	if (r < 0)
		tap_bail("the name org.bluez: %s", strerror(-r));
	if (!on)
		bluezmock_forget();
}

void bluezmock_added(unsigned n)
{
	char path[32];
	sd_bus_message *m = NULL;
	path_of(n, path);
	sd_bus_message_new_signal(bluezmock.bus, &m, "/", BLUEZ_OBJECTS, "InterfacesAdded");
	sd_bus_message_append(m, "o", path);
	put_interfaces(m, &bluezmock.adapter[n]);
	sd_bus_send(bluezmock.bus, m, NULL);
	sd_bus_message_unref(m);
}

void bluezmock_removed(unsigned n)
{
	char path[32];
	path_of(n, path);
	bluezmock.adapter[n].advertising = bluezmock.adapter[n].discovering = false;
	sd_bus_emit_signal(bluezmock.bus, "/", BLUEZ_OBJECTS, "InterfacesRemoved", "oas", path, 2, BLUEZ_ADAPTER,
			   BLUEZ_ADVERTISING);
}

void bluezmock_power(unsigned n, bool on)
{
	char path[32];
	path_of(n, path);
	bluezmock.adapter[n].powered = on;
	if (!on)
		bluezmock.adapter[n].discovering = false;
	sd_bus_emit_signal(bluezmock.bus, path, BLUEZ_PROPERTIES, "PropertiesChanged", "sa{sv}as", BLUEZ_ADAPTER, 1, "Powered",
			   "b", on, 0);
}

static void device_path(unsigned n, const char *address, char ret[static 64])
{
	snprintf(ret, 64, "/org/bluez/hci%u/dev_%s", n, address);
	for (char *p = ret; *p; p++)
		*p = *p == ':' ? '_' : *p;
}

void bluezmock_device(unsigned n, const char *address, bool random, uint16_t company, const void *data, size_t len)
{
	char path[64];
	sd_bus_message *m = NULL;
	device_path(n, address, path);
	sd_bus_message_new_signal(bluezmock.bus, &m, "/", BLUEZ_OBJECTS, "InterfacesAdded");
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
	sd_bus_send(bluezmock.bus, m, NULL);
	sd_bus_message_unref(m);
}

void bluezmock_device_changed(unsigned n, const char *address, const void *data, size_t len)
{
	char path[64];
	sd_bus_message *m = NULL;
	device_path(n, address, path);
	sd_bus_message_new_signal(bluezmock.bus, &m, path, BLUEZ_PROPERTIES, "PropertiesChanged");
	sd_bus_message_append(m, "s", BLUEZ_DEVICE);
	sd_bus_message_open_container(m, 'a', "{sv}");
	sd_bus_message_open_container(m, 'e', "sv");
	sd_bus_message_append(m, "s", "ManufacturerData");
	put_manufacturer(m, 0xffff, data, len);
	sd_bus_message_close_container(m);
	sd_bus_message_close_container(m);
	sd_bus_message_append(m, "as", 0);
	sd_bus_send(bluezmock.bus, m, NULL);
	sd_bus_message_unref(m);
}

static void each(bool *advertising, bool *discovering)
{
	*advertising = *discovering = false;
	for (unsigned i = 0; i < BLUEZMOCK_ADAPTERS; i++) {
		*advertising |= bluezmock.adapter[i].advertising;
		*discovering |= bluezmock.adapter[i].discovering;
	}
}

bool bluezmock_advertising(void)
{
	bool advertising, discovering;
	each(&advertising, &discovering);
	return advertising;
}

bool bluezmock_discovering(void)
{
	bool advertising, discovering;
	each(&advertising, &discovering);
	return discovering;
}

void bluezmock_forget(void)
{
	for (unsigned i = 0; i < BLUEZMOCK_ADAPTERS; i++) {
		struct bluezmock_adapter *x = &bluezmock.adapter[i];
		x->advertising = x->discovering = false;
		x->get = sd_bus_slot_unref(x->get);
		x->call = sd_bus_message_unref(x->call);
	}
}

static void connect_mock(void)
{
	if (sd_bus_open_system(&bluezmock.bus) < 0 || sd_bus_attach_event(bluezmock.bus, event, 0) < 0 ||
	    sd_bus_add_filter(bluezmock.bus, NULL, on_message, NULL) < 0)
		tap_bail("no service");
	for (unsigned i = 0; i < BLUEZMOCK_ADAPTERS; i++) {
		char path[32];
		path_of(i, path);
		if (sd_bus_add_object_vtable(bluezmock.bus, NULL, path, BLUEZ_ADVERTISING, manager_vtable, NULL) < 0 ||
		    sd_bus_add_object_vtable(bluezmock.bus, NULL, path, BLUEZ_ADAPTER, adapter_vtable, NULL) < 0)
			tap_bail("no objects");
	}
}

void bluezmock_start(void)
{
	bluezmock = (struct bluezmock){ .adapter = { { .there = true, .powered = true, .advertises = true, .address = "00:AA:01:00:00:42" },
						     { .powered = true, .advertises = true, .random = true, .address = "00:AA:01:01:00:23" } } };
	connect_mock();
}

void bluezmock_stop(void)
{
	bluezmock_forget();
	(void)sd_bus_detach_event(bluezmock.bus);
	bluezmock.bus = sd_bus_flush_close_unref(bluezmock.bus);
}

void bluezmock_restart(void)
{
	bluezmock_stop();
	connect_mock();
	bluezmock_own(true);
}
