/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What wpa_supplicant has is asked for anew, as a whole, whenever it comes or says that interfaces came or went: its
 * capabilities and interfaces, then each interface in turn. The first one that can be a P2P device is used, those
 * of groups aside. While it is connected to a network (or about to be) it is not touched.
 */
#include "transports/wpa-impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-bus.h>

#define STRINGS_MAX 64

static _printf_(3, 4) void note(struct wpa *w, int priority, const char *fmt, ...)
{
	char text[300];
	va_list ap;
	if (!w->handler->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w->handler->note(priority, text, w->user);
}

const char *wpa_explain(const char *error)
{
	if (strcmp(error, "org.freedesktop.DBus.Error.AccessDenied") == 0 || strcmp(error, WPA ".NotAuthorized") == 0)
		return "this user may not use wpa_supplicant: sudo usermod -aG netdev $USER, then log in anew";
	if (strcmp(error, "org.freedesktop.DBus.Error.UnknownMethod") == 0 ||
	    strcmp(error, "org.freedesktop.DBus.Error.UnknownProperty") == 0)
		return "this wpa_supplicant cannot do Wi-Fi Direct: install one that was built with CONFIG_P2P";
	if (strcmp(error, WPA ".Interface.P2PDevice.ConnectChannelUnavailable") == 0)
		return "the channel that the other device wants is in use otherwise";
	if (strcmp(error, WPA ".Interface.P2PDevice.ConnectUnsupportedChannel") == 0)
		return "the other device wants a channel that this radio may not use: iw reg get";
	if (strcmp(error, "org.freedesktop.DBus.Error.NoReply") == 0)
		return "wpa_supplicant does not answer: sudo systemctl restart wpa_supplicant";
	return "see journalctl -u wpa_supplicant";
}

/* Each kind is said once until something works. */
void wpa_refused(struct wpa *w, const char *what, const sd_bus_error *e)
{
	const char *name = e->name ? e->name : "";
	/* What was under way when the bus broke off failed, too. */
	if (strcmp(w->error, name) == 0 || sd_bus_is_open(w->bus) <= 0)
		return;
	snprintf(w->error, sizeof(w->error), "%.79s", name);
	note(w, LOG_WARNING, "Wi-Fi Direct: cannot %s (%.60s: %.80s): %s", what, name, e->message ? e->message : "",
	     wpa_explain(name));
}

sd_bus_message *wpa_get(struct wpa *w, const char *path, const char *interface, const char *property)
{
	sd_bus_message *m = buscall_new(w->bus, WPA, path, WPA_PROPERTIES, property ? "Get" : "GetAll");
	int r = m ? sd_bus_message_append(m, "s", interface) : -ENOMEM;
	if (r >= 0 && property)
		r = sd_bus_message_append(m, "s", property);
	return r < 0 ? sd_bus_message_unref(m) : m;
}

/* ---- readiness ---- */

void wpa_tell(struct wpa *w)
{
	const bool busy = w->forming || w->group[0];
	const bool associated = w->device[0] && w->associated && !busy;
	const bool ready = w->device[0] && !associated && (busy || !w->disabled);
	if (ready == w->ready && associated == w->told_associated)
		return;
	w->ready = ready;
	w->told_associated = associated;
	w->handler->ready(ready, associated, w->user);
}

bool wpa_is_ready(const struct wpa *w)
{
	return w->ready;
}

static void device_gone(struct wpa *w)
{
	buscall_drop(&w->ask_name);
	buscall_drop(&w->ask_peers);
	buscall_drop(&w->call_find);
	buscall_drop(&w->call_listen);
	for (unsigned i = 0; i < WPA_ASKING_MAX; i++)
		buscall_drop(&w->asking[i].call);
	w->device[0] = 0;
	w->named = w->own_known = w->associated = w->disabled = false;
	wpa_not_formed(w, "the Wi-Fi interface is gone", false);
	wpa_group_over(w);
}

/* ---- what there is ---- */

/* Whether an array of strings, at which m stands, has the word. */
static bool strings_have(sd_bus_message *m, const char *word)
{
	const char *s;
	bool found = false;
	if (sd_bus_message_enter_container(m, 'a', "s") < 0)
		return false;
	for (unsigned i = 0; i < STRINGS_MAX && sd_bus_message_read(m, "s", &s) > 0; i++)
		found |= strcmp(s, word) == 0;
	(void)sd_bus_message_exit_container(m);
	return found;
}

static bool variant_has(sd_bus_message *m, const char *word)
{
	bool found = false;
	if (sd_bus_message_enter_container(m, 'v', "as") < 0)
		return false;
	found = strings_have(m, word);
	(void)sd_bus_message_exit_container(m);
	return found;
}

struct facts {
	char ifname[WPA_IFNAME_SIZE];
	bool state, associated, disabled, p2p;
};

static bool is_associated(const char *state)
{
	static const char *const names[] = { "authenticating", "associating", "associated", "4way_handshake",
					     "group_handshake", "completed" };
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(state, names[i]) == 0)
			return true;
	return false;
}

static int read_capability(sd_bus_message *m, union buscall_key key, void *user)
{
	struct facts *f = user;
	if (strcmp(key.text, "Modes") == 0)
		f->p2p |= variant_has(m, "p2p");
	return 0;
}

static int read_iface(sd_bus_message *m, union buscall_key key, void *user)
{
	struct facts *f = user;
	const char *s = "";
	if (strcmp(key.text, "Ifname") == 0 && sd_bus_message_read(m, "v", "s", &s) >= 0) {
		snprintf(f->ifname, sizeof(f->ifname), "%.15s", s);
	} else if (strcmp(key.text, "State") == 0 && sd_bus_message_read(m, "v", "s", &s) >= 0) {
		f->state = true;
		f->associated = is_associated(s);
		f->disabled = strcmp(s, "interface_disabled") == 0;
	} else if (strcmp(key.text, "Capabilities") == 0 && sd_bus_message_enter_container(m, 'v', "a{sv}") >= 0) {
		(void)buscall_each(m, "sv", read_capability, f);
		(void)sd_bus_message_exit_container(m);
	}
	return 0;
}

static void look_next(struct wpa *w);

static int on_iface(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	struct facts f = { 0 };
	(void)error;
	buscall_drop(&w->ask_iface);
	const char *path = w->path[w->next++];
	if (!sd_bus_message_is_method_error(reply, NULL) && buscall_each(reply, "sv", read_iface, &f) >= 0 && f.p2p &&
	    strncmp(f.ifname, "p2p-", 4) != 0 && (!w->wanted[0] || strcmp(f.ifname, w->wanted) == 0)) {
		if (strcmp(path, w->device) != 0) {
			device_gone(w);
			memcpy(w->device, path, sizeof(w->device));
		}
		w->associated = f.associated;
		w->disabled = f.disabled;
		w->error[0] = 0;
		wpa_tell(w);
		return 0;
	}
	look_next(w);
	return 0;
}

static void look_next(struct wpa *w)
{
	if (w->next < w->n &&
	    buscall_send(w->bus, &w->ask_iface, wpa_get(w, w->path[w->next], WPA_INTERFACE, NULL), on_iface, w) >= 0)
		return;
	device_gone(w);
}

static int read_root(sd_bus_message *m, union buscall_key key, void *user)
{
	struct wpa *w = user;
	const char *path;
	if (strcmp(key.text, "Interfaces") != 0 || sd_bus_message_enter_container(m, 'v', "ao") < 0)
		return 0;
	int r = sd_bus_message_enter_container(m, 'a', "o");
	while (r >= 0 && w->n < WPA_IFACES_MAX && (r = sd_bus_message_read(m, "o", &path)) > 0)
		if (strlen(path) < WPA_PATH_SIZE)
			snprintf(w->path[w->n++], WPA_PATH_SIZE, "%s", path);
	(void)sd_bus_message_exit_container(m);
	(void)sd_bus_message_exit_container(m);
	return 0;
}

static int on_root(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	(void)error;
	buscall_drop(&w->ask_root);
	w->n = w->next = 0;
	if (e)
		wpa_refused(w, "ask what there is", e);
	else
		(void)buscall_each(reply, "sv", read_root, w);
	look_next(w);
	return 0;
}

static void look(struct wpa *w)
{
	buscall_drop(&w->ask_iface);
	(void)buscall_send(w->bus, &w->ask_root, wpa_get(w, WPA_ROOT, WPA, NULL), on_root, w);
}

static int on_root_signal(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	(void)error;
	if (!w->there)
		return 0;
	if (sd_bus_message_is_signal(m, WPA, "InterfaceAdded") || sd_bus_message_is_signal(m, WPA, "InterfaceRemoved"))
		look(w);
	return 0;
}

static int on_state(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	struct facts f = { 0 };
	const char *interface = "", *path = sd_bus_message_get_path(m);
	(void)error;
	if (!path || !w->device[0] || strcmp(path, w->device) != 0 || sd_bus_message_read(m, "s", &interface) < 0 ||
	    buscall_each(m, "sv", read_iface, &f) < 0 || !f.state)
		return 0;
	w->associated = f.associated;
	w->disabled = f.disabled;
	/* The machine goes to a network: that comes first. */
	if (w->associated && w->group[0] && strcmp(w->group, w->device) != 0) {
		note(w, LOG_INFO, "Wi-Fi Direct: the group ends, for this device connects to a network");
		wpa_leave(w);
	}
	wpa_tell(w);
	return 0;
}

/* ---- what is asked of it ---- */

/* Whether an outcome that changes nothing at once is an error that a person should know. */
static int on_done(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	(void)error;
	if (e)
		wpa_refused(w, "look for others", e);
	return 0;
}

sd_bus_message *wpa_call(struct wpa *w, const char *member)
{
	return buscall_new(w->bus, WPA, w->device, WPA_P2P, member);
}

static void set_name(struct wpa *w, const char *name, sd_bus_slot **slot)
{
	sd_bus_message *m = buscall_new(w->bus, WPA, w->device, WPA_PROPERTIES, "Set");
	int r = m ? sd_bus_message_append(m, "ss", WPA_P2P, "P2PDeviceConfig") : -ENOMEM;
	if (r >= 0)
		r = sd_bus_message_append(m, "v", "a{sv}", 1, "DeviceName", "s", name);
	if (r < 0)
		m = sd_bus_message_unref(m);
	if (slot)
		(void)buscall_send(w->bus, slot, m, on_done, w);
	else
		buscall_only(w->bus, m);
}

static int read_name(sd_bus_message *m, union buscall_key key, void *user)
{
	struct wpa *w = user;
	const char *s = "";
	if (strcmp(key.text, "DeviceName") == 0 && sd_bus_message_read(m, "v", "s", &s) >= 0)
		snprintf(w->own_name, sizeof(w->own_name), "%.32s", s);
	return 0;
}

static int on_own_name(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	(void)error;
	buscall_drop(&w->ask_name);
	if (!sd_bus_message_is_method_error(reply, NULL) && sd_bus_message_enter_container(reply, 'v', "a{sv}") >= 0 &&
	    buscall_each(reply, "sv", read_name, w) >= 0)
		w->own_known = true;
	return 0;
}

void wpa_name(struct wpa *w, const char *name)
{
	if (!w->ready)
		return;
	/* Asked before it is changed: calls of one client are answered in their order. */
	if (!w->named)
		(void)buscall_send(w->bus, &w->ask_name, wpa_get(w, w->device, WPA_P2P, "P2PDeviceConfig"), on_own_name, w);
	w->named = true;
	set_name(w, name, &w->call_listen);
}

void wpa_find(struct wpa *w, unsigned seconds)
{
	if (!w->ready)
		return;
	sd_bus_message *m = wpa_call(w, "Find");
	if (m && sd_bus_message_append(m, "a{sv}", 1, "Timeout", "i", (int)seconds) < 0)
		m = sd_bus_message_unref(m);
	(void)buscall_send(w->bus, &w->call_find, m, on_done, w);
	/* Who was found before may not be announced again. */
	wpa_ask_peers(w);
}

void wpa_stop(struct wpa *w)
{
	if (w->device[0])
		buscall_only(w->bus, wpa_call(w, "StopFind"));
}

void wpa_listen(struct wpa *w, unsigned period, unsigned interval)
{
	if (!w->device[0])
		return;
	sd_bus_message *m = wpa_call(w, "ExtendedListen");
	int r = !m     ? -ENOMEM :
		period ? sd_bus_message_append(m, "a{sv}", 2, "period", "i", (int)period, "interval", "i", (int)interval) :
			 sd_bus_message_append(m, "a{sv}", 0);
	if (r < 0)
		m = sd_bus_message_unref(m);
	buscall_only(w->bus, m);
}

/* ---- the service comes and goes ---- */

static void service_gone(struct wpa *w)
{
	w->there = false;
	w->n = w->next = 0;
	w->error[0] = 0;
	buscall_drop(&w->ask_root);
	buscall_drop(&w->ask_iface);
	device_gone(w);
}

static void service_here(struct wpa *w)
{
	service_gone(w);
	w->there = true;
	look(w);
}

static void on_service(bool here, void *user)
{
	if (here)
		service_here(user);
	else
		service_gone(user);
}

static int watch(struct wpa *w)
{
	int r = sd_bus_add_match_async(w->bus, &w->watch_root,
					   "type='signal',sender='" WPA "',interface='" WPA "',path='" WPA_ROOT "'",
					   on_root_signal, NULL, w);
	if (r >= 0)
		r = sd_bus_add_match_async(w->bus, &w->watch_state,
					   "type='signal',sender='" WPA "',interface='" WPA_PROPERTIES
					   "',member='PropertiesChanged',arg0='" WPA_INTERFACE "'",
					   on_state, NULL, w);
	if (r >= 0)
		r = sd_bus_add_match_async(w->bus, &w->watch_p2p,
					   "type='signal',sender='" WPA "',interface='" WPA_P2P "'", wpa_on_p2p, NULL, w);
	return r;
}

static int on_bus(sd_bus *bus, void *user)
{
	struct wpa *w = user;
	w->bus = bus;
	return watch(w);
}

static void on_no_bus(void *user)
{
	struct wpa *w = user;
	sd_bus_slot **slots[] = { &w->watch_root, &w->watch_state, &w->watch_p2p };
	service_gone(w);
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		buscall_drop(slots[i]);
	w->bus = NULL;
}

static const struct systembus_handler bus_handler = { on_bus, on_no_bus, on_service };

void wpa_again(struct wpa *w)
{
	w->error[0] = 0;
	if (w->there)
		look(w);
}

int wpa_new(sd_event *event, const char *ifname, const struct wpa_handler *handler, void *user, struct wpa **ret,
	    struct err *e)
{
	_cleanup_(wpa_freep) struct wpa *w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	w->event = sd_event_ref(event);
	w->handler = handler;
	w->user = user;
	snprintf(w->wanted, sizeof(w->wanted), "%.15s", ifname);
	int r = systembus_new(event, WPA, &bus_handler, w, &w->system);
	if (r < 0)
		return err_errno(e, r, "cannot use Wi-Fi Direct");
	*ret = TAKE_PTR(w);
	return 0;
}

void wpa_free(struct wpa *w)
{
	if (!w)
		return;
	if (w->device[0]) {
		wpa_abandon(w);
		if (w->named) {
			wpa_listen(w, 0, 0);
			wpa_stop(w);
		}
		if (w->named && w->own_known)
			set_name(w, w->own_name, NULL);
	}
	sd_bus_slot **slots[] = { &w->watch_root, &w->watch_state, &w->watch_p2p, &w->ask_root,	   &w->ask_iface,  &w->ask_name,    &w->ask_group,   &w->ask_peers,
				  &w->call_find,   &w->call_listen, &w->call_connect, &w->call_admit };
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		buscall_drop(slots[i]);
	for (unsigned i = 0; i < WPA_ASKING_MAX; i++)
		buscall_drop(&w->asking[i].call);
	systembus_free(w->system);
	sd_event_unref(w->event);
	free(w);
}
