/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One group at a time. From wpa_connect until the group ends the interface's own state means nothing, for
 * there are drivers that make the group of that very interface.
 */
#include "transports/wpa-impl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define STRINGS_MAX 64
#define LATE ((uint64_t)10 * 1000000)
#define CAPABILITY_OWNER 0x01 /* of a peer's group capability */

static uint64_t now_us(const struct wpa *w)
{
	uint64_t now = 0;
	(void)sd_event_now(w->event, CLOCK_BOOTTIME, &now);
	return now;
}

void wpa_abandon(struct wpa *w)
{
	if (w->group[0])
		buscall_only(w->bus, buscall_new(w->bus, WPA, w->group, WPA_P2P, "Disconnect"));
	else if (w->forming)
		buscall_only(w->bus, wpa_call(w, "Cancel"));
}

void wpa_group_over(struct wpa *w)
{
	const bool told = w->group_told;
	w->group[0] = 0;
	w->group_told = w->forming = w->owns = false;
	buscall_drop(&w->ask_group);
	buscall_drop(&w->call_connect);
	buscall_drop(&w->call_admit);
	if (told)
		w->handler->group(NULL, w->user);
	wpa_tell(w);
}

void wpa_not_formed(struct wpa *w, const char *why, bool pin)
{
	if (!w->forming)
		return;
	w->forming = false;
	buscall_drop(&w->call_connect);
	w->handler->failed(why, pin, w->user);
	wpa_tell(w);
}

void wpa_leave(struct wpa *w)
{
	wpa_abandon(w);
	if (w->group[0]) {
		wpa_group_over(w);
	} else if (w->forming) {
		w->forming = false;
		w->given_up = now_us(w);
		buscall_drop(&w->call_connect);
		wpa_tell(w);
	}
}

/* ---- peers ---- */

/* The id in a peer's path; "" if it is none. */
static void peer_id(const char *path, char ret[static WPA_PEER_ID])
{
	const char *last = strrchr(path, '/');
	ret[0] = 0;
	if (last && strlen(last + 1) == WPA_PEER_ID - 1 && strspn(last + 1, "0123456789abcdef") == WPA_PEER_ID - 1)
		memcpy(ret, last + 1, WPA_PEER_ID);
}

static void peer_path(const struct wpa *w, const char *id, char ret[static WPA_PATH_SIZE + 32])
{
	snprintf(ret, WPA_PATH_SIZE + 32, "%s/Peers/%s", w->device, id);
}

static void tell_peer(struct wpa_asking *a, enum wpa_peer what)
{
	if (a->wpa->ready)
		a->wpa->handler->peer(a->id, a->name, what, a->wpa->user);
}

static int on_peer_group(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa_asking *a = user;
	uint8_t group = 0;
	(void)error;
	buscall_drop(&a->call);
	if (!sd_bus_message_is_method_error(reply, NULL) && sd_bus_message_read(reply, "v", "y", &group) >= 0)
		tell_peer(a, a->what != WPA_FOUND ? a->what : group & CAPABILITY_OWNER ? WPA_OWNS : WPA_FOUND);
	return 0;
}

/* One property after the other: asked for all of them while a group is being formed, wpa_supplicant 2.10 aborts over the path of the
 * peer's group, which has none yet. */
static int on_peer_name(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa_asking *a = user;
	struct wpa *w = a->wpa;
	const char *name = "";
	char full[WPA_PATH_SIZE + 32];
	(void)error;
	if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "v", "s", &name) < 0) {
		buscall_drop(&a->call);
		return 0;
	}
	snprintf(a->name, sizeof(a->name), "%s", name);
	buscall_drop(&a->call);
	if (a->what != WPA_FOUND) {
		tell_peer(a, a->what);
		return 0;
	}
	peer_path(w, a->id, full);
	(void)buscall_send(w->bus, &a->call, wpa_get(w, full, WPA_PEER, "groupcapability"), on_peer_group, a);
	return 0;
}

static void ask_peer(struct wpa *w, const char *path, enum wpa_peer what)
{
	struct wpa_asking *free_one = NULL;
	char id[WPA_PEER_ID], full[WPA_PATH_SIZE + 32];
	peer_id(path, id);
	if (!id[0])
		return;
	for (unsigned i = 0; i < WPA_ASKING_MAX; i++) {
		struct wpa_asking *a = &w->asking[i];
		if (a->call && strcmp(a->id, id) == 0) {
			if (what != WPA_FOUND)
				a->what = what;
			return;
		}
		if (!a->call)
			free_one = a;
	}
	if (!free_one)
		return;
	free_one->wpa = w;
	free_one->what = what;
	memcpy(free_one->id, id, sizeof(id));
	peer_path(w, id, full);
	(void)buscall_send(w->bus, &free_one->call, wpa_get(w, full, WPA_PEER, "DeviceName"), on_peer_name, free_one);
}

static int on_peers(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	const char *path;
	(void)error;
	buscall_drop(&w->ask_peers);
	if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_enter_container(reply, 'v', "ao") < 0 ||
	    sd_bus_message_enter_container(reply, 'a', "o") < 0)
		return 0;
	for (unsigned i = 0; i < STRINGS_MAX && sd_bus_message_read(reply, "o", &path) > 0; i++)
		ask_peer(w, path, WPA_FOUND);
	return 0;
}

void wpa_ask_peers(struct wpa *w)
{
	(void)buscall_send(w->bus, &w->ask_peers, wpa_get(w, w->device, WPA_P2P, "Peers"), on_peers, w);
}

/* ---- the group ---- */

static int on_group_name(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	const char *ifname = "";
	(void)error;
	buscall_drop(&w->ask_group);
	if (!w->group[0])
		return 0;
	if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "v", "s", &ifname) < 0) {
		wpa_leave(w);
		return 0;
	}
	w->group_told = true;
	w->handler->group(ifname, w->user);
	return 0;
}

static int read_group(sd_bus_message *m, union buscall_key key, void *user)
{
	struct wpa *w = user;
	const char *path = "", *role = "";
	if (strcmp(key.text, "interface_object") == 0 && sd_bus_message_read(m, "v", "o", &path) >= 0 &&
	    strlen(path) < sizeof(w->group))
		snprintf(w->group, sizeof(w->group), "%s", path);
	else if (strcmp(key.text, "role") == 0 && sd_bus_message_read(m, "v", "s", &role) >= 0)
		w->owns = strcmp(role, "GO") == 0;
	return 0;
}

/* Groups that others on this machine form are none of ours; but one that comes when it was given up a moment ago. */
static void group_started(struct wpa *w, sd_bus_message *m)
{
	if (!w->forming) {
		if (!w->group[0] && w->given_up && now_us(w) < w->given_up + LATE && buscall_each(m, "sv", read_group, w) >= 0 &&
		    w->group[0])
			wpa_abandon(w);
		if (!w->group_told && !w->ask_group)
			w->group[0] = 0;
		return;
	}
	if (buscall_each(m, "sv", read_group, w) < 0 || !w->group[0]) {
		wpa_not_formed(w, "wpa_supplicant does not say what the group's interface is", false);
		return;
	}
	w->forming = false;
	w->error[0] = 0;
	if (buscall_send(w->bus, &w->ask_group, wpa_get(w, w->group, WPA_INTERFACE, "Ifname"), on_group_name, w) < 0)
		wpa_leave(w);
}

struct finished {
	const struct wpa *wpa;
	bool ours;
};

static int read_finished(sd_bus_message *m, union buscall_key key, void *user)
{
	struct finished *f = user;
	const char *path = "";
	if (strcmp(key.text, "interface_object") == 0 && sd_bus_message_read(m, "v", "o", &path) >= 0)
		f->ours = strcmp(path, f->wpa->group) == 0;
	return 0;
}

static void group_finished(struct wpa *w, sd_bus_message *m)
{
	struct finished f = { .wpa = w };
	if (w->group[0] && buscall_each(m, "sv", read_finished, &f) >= 0 && f.ours)
		wpa_group_over(w);
}

/* To form a group, or to let another one in. */
static void other_pin(struct wpa *w, const char *path)
{
	static const char why[] = "the other device has another PIN: it is none of this mesh";
	if (w->forming)
		wpa_not_formed(w, why, true);
	else if (w->group[0] && w->owns && strcmp(path, w->group) == 0)
		w->handler->failed(why, true, w->user);
}

static bool is_of_peer(const struct wpa *w, const char *member, enum wpa_peer *ret)
{
	if (strcmp(member, "DeviceFound") == 0)
		*ret = WPA_FOUND;
	else if (strcmp(member, "GONegotiationRequest") == 0)
		*ret = WPA_ASKS;
	else if (w->group_told && w->owns && strcmp(member, "ProvisionDiscoveryRequestEnterPin") == 0)
		*ret = WPA_ASKS_IN;
	else
		return false;
	return true;
}

int wpa_on_p2p(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	enum wpa_peer what = WPA_FOUND;
	const char *member = sd_bus_message_get_member(m), *path = sd_bus_message_get_path(m), *peer = "";
	(void)error;
	if (!member || !path || !w->device[0])
		return 0;
	/* The end of one, formed or not, may be told at the group's own interface. */
	if (strcmp(member, "GroupFinished") == 0)
		group_finished(w, m);
	else if (strcmp(member, "GONegotiationFailure") == 0)
		wpa_not_formed(w, "the two could not agree who owns the group", false);
	else if (strcmp(member, "GroupFormationFailure") == 0)
		wpa_not_formed(w, "the group could not be formed", true);
	else if (strcmp(member, "WpsFailed") == 0)
		other_pin(w, path);
	else if (strcmp(path, w->device) == 0 && strcmp(member, "GroupStarted") == 0)
		group_started(w, m);
	else if (strcmp(path, w->device) == 0 && w->ready &&
		 is_of_peer(w, member, &what) && sd_bus_message_read(m, "o", &peer) >= 0)
		ask_peer(w, peer, what);
	return 0;
}

static int on_connect(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	(void)error;
	buscall_drop(&w->call_connect);
	if (e) {
		wpa_refused(w, "form a group", e);
		wpa_not_formed(w, e->message ? e->message : "refused", false);
	}
	return 0;
}

static void connect_to(struct wpa *w, sd_bus_message *m_take)
{
	w->forming = true;
	if (buscall_send(w->bus, &w->call_connect, m_take, on_connect, w) < 0)
		wpa_not_formed(w, "out of memory", false);
}

void wpa_connect(struct wpa *w, const char *id, const char *pin, bool enters, unsigned intent)
{
	char path[WPA_PATH_SIZE + 32];
	if (!w->ready || w->forming || w->group[0])
		return;
	peer_path(w, id, path);
	sd_bus_message *m = wpa_call(w, "Connect");
	if (m && sd_bus_message_append(m, "a{sv}", 4, "peer", "o", path, "wps_method", "s", enters ? "keypad" : "display",
				       "pin", "s", pin, "go_intent", "i", (int)intent) < 0)
		m = sd_bus_message_unref(m);
	connect_to(w, m);
}

void wpa_join(struct wpa *w, const char *id, const char *pin)
{
	char path[WPA_PATH_SIZE + 32];
	if (!w->ready || w->forming || w->group[0])
		return;
	peer_path(w, id, path);
	sd_bus_message *m = wpa_call(w, "Connect");
	if (m && sd_bus_message_append(m, "a{sv}", 4, "peer", "o", path, "wps_method", "s", "display", "pin", "s", pin, "join",
				       "b", 1) < 0)
		m = sd_bus_message_unref(m);
	connect_to(w, m);
}

/* ---- the own group ---- */

bool wpa_owns(const struct wpa *w)
{
	return w->group_told && w->owns;
}

static int on_admitted(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct wpa *w = user;
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	(void)error;
	buscall_drop(&w->call_admit);
	if (e) {
		wpa_refused(w, "let another device into the group", e);
		w->handler->failed(e->message ? e->message : "refused", false, w->user);
	}
	return 0;
}

/* The address that the other one will have in the group is not known, so the PIN is for whoever has it. */
void wpa_admit(struct wpa *w, const char *pin)
{
	if (!wpa_owns(w))
		return;
	sd_bus_message *m = buscall_new(w->bus, WPA, w->group, WPA_WPS, "Start");
	if (m && sd_bus_message_append(m, "a{sv}", 3, "Role", "s", "registrar", "Type", "s", "pin", "Pin", "s", pin) < 0)
		m = sd_bus_message_unref(m);
	(void)buscall_send(w->bus, &w->call_admit, m, on_admitted, w);
}
