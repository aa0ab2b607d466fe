/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/bluezfacts.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "engine/cleanup.h"
#include "transports/bluez-impl.h"
#include "transports/rfkill.h"

#define BUS_TIMEOUT_US 2000000
#define ENTRIES_MAX 256

static void say(struct bluezfacts *f, enum bluezfacts_state state, const char *message, const char *command)
{
	f->state = state;
	snprintf(f->message, sizeof(f->message), "%s", message);
	snprintf(f->command, sizeof(f->command), "%s", command);
}

/* Those of sys/class/bluetooth. */
static unsigned count_adapters(const char *root)
{
	char dir[256];
	unsigned n = 0;
	if (snprintf(dir, sizeof(dir), "%s/sys/class/bluetooth", root) >= (int)sizeof(dir))
		return 0;
	DIR *d = opendir(dir);
	const struct dirent *entry;
	for (unsigned i = 0; d && i < ENTRIES_MAX && (entry = readdir(d)); i++)
		n += strncmp(entry->d_name, "hci", 3) == 0 && !strchr(entry->d_name, ':'); /* hci0:64 is a connection */
	if (d)
		closedir(d);
	return n;
}

struct seen {
	const char *wanted;
	bool any, on;
	char off[BLUEZ_PATH];
};

static void see(const char *path, const struct bluez_object *o, void *user)
{
	struct seen *s = user;
	if (!o->adapter || !bluez_adapter_is(path, o, s->wanted))
		return;
	s->any = true;
	s->on |= o->powered;
	if (!o->powered)
		snprintf(s->off, sizeof(s->off), "%.60s", bluez_adapter_name(path));
}

static bool is_installed(void)
{
	return access("/usr/libexec/bluetooth/bluetoothd", F_OK) == 0 ||
	       access("/usr/lib/bluetooth/bluetoothd", F_OK) == 0;
}

static void ask_bus(const char *adapter, bool blocked, struct bluezfacts *ret)
{
	_cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	struct seen seen = { .wanted = adapter };
	int r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_message_new_method_call(bus, &call, BLUEZ, "/", BLUEZ_OBJECTS, "GetManagedObjects");
	if (r >= 0)
		r = sd_bus_message_set_auto_start(call, false);
	if (r >= 0)
		r = sd_bus_call(bus, call, BUS_TIMEOUT_US, &error, &reply);
	if (r >= 0)
		r = bluez_each_object(reply, see, &seen);
	if (r < 0 && sd_bus_error_has_name(&error, "org.freedesktop.DBus.Error.AccessDenied"))
		say(ret, BLUEZFACTS_DENIED, "this user may not talk to bluetoothd; log in anew after this",
		    "sudo usermod -aG bluetooth $USER");
	else if (r < 0)
		say(ret, BLUEZFACTS_NO_DAEMON, "there is a Bluetooth adapter, but bluetoothd does not run",
		    is_installed() ? "sudo systemctl enable --now bluetooth" : "sudo apt-get install bluez");
	else if (!seen.any && *adapter)
		say(ret, BLUEZFACTS_MISSING, "the Bluetooth adapter of the settings (bluetooth.adapter) is not there",
		    "bluetoothctl list");
	else if (!seen.any)
		say(ret, BLUEZFACTS_MISSING, "bluetoothd does not take up the Bluetooth adapter",
		    "sudo systemctl restart bluetooth");
	else if (!seen.on && blocked)
		say(ret, BLUEZFACTS_BLOCKED, "Bluetooth is blocked", "sudo rfkill unblock bluetooth");
	else if (!seen.on)
		say(ret, BLUEZFACTS_OFF, "the Bluetooth adapter is switched off", "bluetoothctl power on");
	else
		say(ret, BLUEZFACTS_READY, "devices nearby can be found by Bluetooth", "");
	sd_bus_error_free(&error);
}

void bluezfacts_look(const char *root, const char *adapter, struct bluezfacts *ret)
{
	const unsigned adapters = count_adapters(root);
	const struct rfkill k = rfkill_look(root, "bluetooth");
	_cleanup_close_ int fd = -1;
	/* A switch may take the whole adapter away. */
	if (k.hard)
		say(ret, BLUEZFACTS_BLOCKED, "Bluetooth is blocked by a switch of the machine, or by flight mode", "rfkill list bluetooth");
	/* The kernel knows at once what bluetoothd may not say yet, or not at all. */
	else if (k.blocked && (!adapters || k.blocked == k.n))
		say(ret, BLUEZFACTS_BLOCKED, "Bluetooth is blocked", "sudo rfkill unblock bluetooth");
	else if (!adapters)
		say(ret, BLUEZFACTS_NONE, "there is no Bluetooth adapter", "");
	else
		ask_bus(adapter, k.blocked > 0, ret);
	if (ret->state != BLUEZFACTS_READY || *root)
		return;
	fd = socket(AF_BLUETOOTH, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 && errno == EAFNOSUPPORT)
		say(ret, BLUEZFACTS_NO_SOCKETS,
		    "there is a Bluetooth adapter, but none that can be used in this network namespace", "");
}
