/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/bluez-impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "transports/buscall.h"

/* ManufacturerData: a{qv}, each an array of bytes. */
static int read_company(sd_bus_message *m, union buscall_key key, void *user)
{
	struct bluez_object *o = user;
	const void *p = NULL;
	size_t len = 0;
	int r = sd_bus_message_enter_container(m, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_read_array(m, 'y', &p, &len);
	if (r >= 0 && key.number == ADVERT_COMPANY && len == ADVERT_SIZE) {
		memcpy(o->data, p, ADVERT_SIZE);
		o->data_known = true;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_text(sd_bus_message *m, const char **ret)
{
	return sd_bus_message_read(m, "s", ret);
}

/* One property, whose variant holds what it must; others are passed over. */
static int read_property(sd_bus_message *m, union buscall_key key, void *user)
{
	struct bluez_object *o = user;
	const char *name = key.text, *type = NULL, *text = "";
	int powered = 0;
	int r = sd_bus_message_peek_type(m, NULL, &type);
	if (r < 0)
		return r;
	bool known = (strcmp(name, "Powered") == 0 && strcmp(type, "b") == 0) ||
		     (strcmp(name, "Address") == 0 && strcmp(type, "s") == 0) ||
		     (strcmp(name, "AddressType") == 0 && strcmp(type, "s") == 0) ||
		     (strcmp(name, "ManufacturerData") == 0 && strcmp(type, "a{qv}") == 0);
	if (!known)
		return sd_bus_message_skip(m, "v");
	r = sd_bus_message_enter_container(m, 'v', type);
	if (r < 0)
		return r;
	if (name[0] == 'P') {
		r = sd_bus_message_read(m, "b", &powered);
		o->powered_known = r >= 0;
		o->powered = powered;
	} else if (name[0] == 'M') {
		r = buscall_each(m, "qv", read_company, o);
	} else if (strcmp(name, "Address") == 0) {
		r = read_text(m, &text);
		snprintf(o->address, sizeof(o->address), "%.17s", text);
	} else {
		r = read_text(m, &text);
		o->random = strcmp(text, "random") == 0;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bluez_read_properties(sd_bus_message *m, struct bluez_object *ret)
{
	return buscall_each(m, "sv", read_property, ret);
}

static int read_interface(sd_bus_message *m, union buscall_key key, void *user)
{
	struct bluez_object *o = user;
	const bool adapter = strcmp(key.text, BLUEZ_ADAPTER) == 0, device = strcmp(key.text, BLUEZ_DEVICE) == 0;
	o->adapter |= adapter;
	o->device |= device;
	o->advertising |= strcmp(key.text, BLUEZ_ADVERTISING) == 0;
	return adapter || device ? bluez_read_properties(m, o) : 0;
}

int bluez_read_interfaces(sd_bus_message *m, struct bluez_object *ret)
{
	return buscall_each(m, "sa{sv}", read_interface, ret);
}

struct each {
	void (*fn)(const char *path, const struct bluez_object *o, void *user);
	void *user;
};

static int read_object(sd_bus_message *m, union buscall_key key, void *user)
{
	const struct each *each = user;
	struct bluez_object o = { 0 };
	int r = bluez_read_interfaces(m, &o);
	if (r >= 0 && strlen(key.text) < BLUEZ_PATH)
		each->fn(key.text, &o, each->user);
	return r;
}

int bluez_each_object(sd_bus_message *m, void (*fn)(const char *path, const struct bluez_object *o, void *user),
		      void *user)
{
	struct each each = { fn, user };
	int r = buscall_each(m, "oa{sa{sv}}", read_object, &each);
	return r < 0 ? r : 0;
}

const char *bluez_adapter_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

bool bluez_adapter_is(const char *path, const struct bluez_object *o, const char *wanted)
{
	return !*wanted || strcmp(bluez_adapter_name(path), wanted) == 0 || strcasecmp(o->address, wanted) == 0;
}

const char *bluez_explain(const char *error)
{
	static const struct {
		const char *name, *text;
	} known[] = {
		{ BLUEZ ".Error.NotAuthorized", "this user may not use it: sudo usermod -aG bluetooth $USER, and log in anew" },
		{ "org.freedesktop.DBus.Error.AccessDenied",
		  "this user may not talk to bluetoothd: sudo usermod -aG bluetooth $USER, and log in anew" },
		{ BLUEZ ".Error.NotReady", "the adapter is off: bluetoothctl power on" },
		{ BLUEZ ".Error.Blocked", "it is blocked: sudo rfkill unblock bluetooth" },
		{ BLUEZ ".Error.InProgress", "it is busy with something else" },
		{ BLUEZ ".Error.NotPermitted", "the adapter takes no more advertisements: bluetoothctl show tells how many there are" },
		{ BLUEZ ".Error.NotSupported", "this adapter cannot do it" },
		{ BLUEZ ".Error.AlreadyExists", "it is registered already" },
		{ "org.freedesktop.DBus.Error.NoReply", "bluetoothd does not answer: sudo systemctl restart bluetooth" },
		{ "org.freedesktop.DBus.Error.Timeout", "bluetoothd does not answer: sudo systemctl restart bluetooth" },
	};
	for (size_t i = 0; error && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, error) == 0)
			return known[i].text;
	return "look at: journalctl -u bluetooth";
}
