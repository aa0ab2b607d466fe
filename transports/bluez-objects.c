/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/bluez-impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ENTRIES_MAX 4096 /* of one dictionary */

/* ManufacturerData: a{qv}, each an array of bytes. The message is at the variant's content. */
static int read_manufacturer(sd_bus_message *m, struct bluez_object *o)
{
	int r = sd_bus_message_enter_container(m, 'a', "{qv}");
	for (unsigned i = 0; r > 0 && i < ENTRIES_MAX; i++) {
		r = sd_bus_message_enter_container(m, 'e', "qv");
		if (r <= 0)
			break;
		uint16_t company = 0;
		const void *p = NULL;
		size_t len = 0;
		r = sd_bus_message_read(m, "q", &company);
		if (r >= 0)
			r = sd_bus_message_enter_container(m, 'v', "ay");
		if (r >= 0)
			r = sd_bus_message_read_array(m, 'y', &p, &len);
		if (r >= 0 && company == ADVERT_COMPANY && len == ADVERT_SIZE) {
			memcpy(o->data, p, ADVERT_SIZE);
			o->data_known = true;
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r >= 0)
			r = 1;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_text(sd_bus_message *m, const char **ret)
{
	return sd_bus_message_read(m, "s", ret);
}

/* One property, whose variant holds what it must; others are passed over. */
static int read_property(sd_bus_message *m, const char *name, struct bluez_object *o)
{
	const char *type = NULL, *text = "";
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
		r = read_manufacturer(m, o);
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
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");
	for (unsigned i = 0; r > 0 && i < ENTRIES_MAX; i++) {
		const char *name = "";
		r = sd_bus_message_enter_container(m, 'e', "sv");
		if (r <= 0)
			break;
		r = sd_bus_message_read(m, "s", &name);
		if (r >= 0)
			r = read_property(m, name, ret);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r >= 0)
			r = 1;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bluez_read_interfaces(sd_bus_message *m, struct bluez_object *ret)
{
	int r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
	for (unsigned i = 0; r > 0 && i < ENTRIES_MAX; i++) {
		const char *name = "";
		r = sd_bus_message_enter_container(m, 'e', "sa{sv}");
		if (r <= 0)
			break;
		r = sd_bus_message_read(m, "s", &name);
		if (r < 0)
			break;
		bool adapter = strcmp(name, BLUEZ_ADAPTER) == 0, device = strcmp(name, BLUEZ_DEVICE) == 0;
		ret->adapter |= adapter;
		ret->device |= device;
		ret->advertising |= strcmp(name, BLUEZ_ADVERTISING) == 0;
		r = adapter || device ? bluez_read_properties(m, ret) : sd_bus_message_skip(m, "a{sv}");
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r >= 0)
			r = 1;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bluez_each_object(sd_bus_message *m, void (*fn)(const char *path, const struct bluez_object *o, void *user),
		      void *user)
{
	int r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");
	for (unsigned i = 0; r > 0 && i < ENTRIES_MAX; i++) {
		const char *path = "";
		struct bluez_object o = { 0 };
		r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}");
		if (r <= 0)
			break;
		r = sd_bus_message_read(m, "o", &path);
		if (r >= 0)
			r = bluez_read_interfaces(m, &o);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r < 0)
			break;
		if (strlen(path) < BLUEZ_PATH)
			fn(path, &o, user);
		r = 1;
	}
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
