/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/wififacts.h"

#include <linux/nl80211.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "engine/cleanup.h"
#include "transports/rfkill.h"
#include "transports/wpa.h"

#define BUS_TIMEOUT_US 2000000
#define STRINGS_MAX 64
#define PROPERTIES "org.freedesktop.DBus.Properties"

/* ---- the kernel ---- */

static int on_phy(struct nl_msg *msg, void *arg)
{
	enum wififacts_radio *best = arg;
	struct nlattr *attr[NL80211_ATTR_MAX + 1], *type;
	bool client = false, owner = false;
	int left;
	struct genlmsghdr *head = nlmsg_data(nlmsg_hdr(msg));
	if (nla_parse(attr, NL80211_ATTR_MAX, genlmsg_attrdata(head, 0), genlmsg_attrlen(head, 0), NULL) < 0)
		return NL_SKIP;
	if (*best == WIFIFACTS_NO_RADIO)
		*best = WIFIFACTS_PLAIN;
	/* A phy may come in several messages; this is in one of them. */
	if (!attr[NL80211_ATTR_SUPPORTED_IFTYPES])
		return NL_SKIP;
	nla_for_each_nested(type, attr[NL80211_ATTR_SUPPORTED_IFTYPES], left) {
		client |= nla_type(type) == NL80211_IFTYPE_P2P_CLIENT;
		owner |= nla_type(type) == NL80211_IFTYPE_P2P_GO;
	}
	if (client && owner)
		*best = WIFIFACTS_P2P;
	return NL_SKIP;
}

enum wififacts_radio wififacts_radio(void)
{
	enum wififacts_radio best = WIFIFACTS_NO_RADIO;
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_msg *msg = nlmsg_alloc();
	/* Without a Wi-Fi driver there is no such family. */
	const int family = sock && genl_connect(sock) >= 0 ? genl_ctrl_resolve(sock, "nl80211") : -1;
	if (family >= 0 && msg &&
	    genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, NLM_F_DUMP, NL80211_CMD_GET_WIPHY, 0) &&
	    nla_put_flag(msg, NL80211_ATTR_SPLIT_WIPHY_DUMP) >= 0 &&
	    nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_phy, &best) >= 0 && nl_send_auto(sock, msg) >= 0)
		(void)nl_recvmsgs_default(sock);
	nlmsg_free(msg);
	nl_socket_free(sock);
	return best;
}

/* ---- wpa_supplicant ---- */

static void say(struct wififacts *f, enum wififacts_state state, const char *message, const char *command)
{
	f->state = state;
	snprintf(f->message, sizeof(f->message), "%s", message);
	snprintf(f->command, sizeof(f->command), "%s", command);
}

/* Entries of an array of strings or paths among the properties of wpa_supplicant, or those that are word. -errno with
 * error. */
static int count(sd_bus *bus, const char *property, const char *type, const char *word, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
	const char *s;
	char array[] = { 'a', type[0], 0 };
	int n = 0;
	int r = sd_bus_message_new_method_call(bus, &call, WPA, WPA_ROOT, PROPERTIES, "Get");
	if (r >= 0)
		r = sd_bus_message_set_auto_start(call, false);
	if (r >= 0)
		r = sd_bus_message_append(call, "ss", WPA, property);
	if (r >= 0)
		r = sd_bus_call(bus, call, BUS_TIMEOUT_US, error, &reply);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'v', array);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', type);
	for (unsigned i = 0; r >= 0 && i < STRINGS_MAX && (r = sd_bus_message_read_basic(reply, type[0], &s)) > 0; i++)
		n += !word || strcmp(s, word) == 0;
	return r < 0 ? r : n;
}

static bool is_installed(void)
{
	return access("/usr/sbin/wpa_supplicant", F_OK) == 0 || access("/sbin/wpa_supplicant", F_OK) == 0;
}

/* Whether somebody has a name on the bus. */
static bool runs(sd_bus *bus, const char *name)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
	int yes = 0;
	int r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
					       "org.freedesktop.DBus", "NameHasOwner");
	if (r >= 0)
		r = sd_bus_message_append(call, "s", name);
	if (r >= 0)
		r = sd_bus_call(bus, call, BUS_TIMEOUT_US, NULL, &reply);
	if (r >= 0)
		r = sd_bus_message_read(reply, "b", &yes);
	return r >= 0 && yes;
}

/* wpa_supplicant has no interface, or does not run: who keeps it from that? */
static bool ask_others(sd_bus *bus, bool running, struct wififacts *ret)
{
	if (runs(bus, "net.connman.iwd"))
		say(ret, WIFIFACTS_IWD,
		    "iwd has the Wi-Fi, and Wi-Fi Direct needs wpa_supplicant in its place; where NetworkManager is set to iwd "
		    "(wifi.backend), set that to wpa_supplicant as well",
		    "sudo systemctl disable --now iwd && sudo systemctl enable --now wpa_supplicant");
	else if (running && runs(bus, "org.freedesktop.NetworkManager"))
		say(ret, WIFIFACTS_NO_IFACE,
		    "wpa_supplicant has no Wi-Fi interface, for NetworkManager is set to leave that alone (nmcli device says which)",
		    "nmcli device set INTERFACE managed yes");
	else
		return false;
	return true;
}

static void ask_bus(struct wififacts *ret)
{
	_cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_open_system(&bus), p2p = r < 0 ? r : count(bus, "Capabilities", "s", "p2p", &error);
	int ifaces = p2p < 0 ? p2p : count(bus, "Interfaces", "o", NULL, &error);
	if (ifaces < 0 && sd_bus_error_has_name(&error, "org.freedesktop.DBus.Error.AccessDenied"))
		say(ret, WIFIFACTS_DENIED, "this user may not use wpa_supplicant, hence not Wi-Fi Direct; log in anew after this",
		    "sudo usermod -aG netdev $USER");
	else if (ifaces <= 0 && p2p != 0 && ask_others(bus, ifaces == 0, ret))
		;
	else if (ifaces < 0)
		say(ret, WIFIFACTS_NO_DAEMON, "the Wi-Fi could do Wi-Fi Direct, but wpa_supplicant does not run",
		    is_installed() ? "sudo systemctl enable --now wpa_supplicant" : "sudo apt-get install wpasupplicant");
	else if (p2p == 0)
		say(ret, WIFIFACTS_WITHOUT, "this wpa_supplicant was built without Wi-Fi Direct (CONFIG_P2P)",
		    "sudo apt-get install --reinstall wpasupplicant");
	else if (ifaces == 0)
		say(ret, WIFIFACTS_NO_IFACE, "wpa_supplicant has no Wi-Fi interface; NetworkManager would give it one",
		    "sudo busctl call " WPA " " WPA_ROOT " " WPA " CreateInterface 'a{sv}' 1 Ifname s INTERFACE");
	else
		say(ret, WIFIFACTS_READY, "groups can be formed by Wi-Fi Direct while the Wi-Fi is connected to no network", "");
	sd_bus_error_free(&error);
}

void wififacts_look(const char *root, enum wififacts_radio radio, struct wififacts *ret)
{
	const struct rfkill k = rfkill_look(root, "wlan");
	if (radio == WIFIFACTS_NO_RADIO)
		say(ret, WIFIFACTS_NONE, "there is no Wi-Fi", "");
	else if (radio == WIFIFACTS_PLAIN)
		say(ret, WIFIFACTS_NONE, "the Wi-Fi of this machine cannot do Wi-Fi Direct", "");
	else if (k.hard)
		say(ret, WIFIFACTS_BLOCKED, "Wi-Fi is blocked by a switch of the machine, or by flight mode", "rfkill list wlan");
	else if (k.blocked)
		say(ret, WIFIFACTS_BLOCKED, "Wi-Fi is blocked", "sudo rfkill unblock wlan");
	else
		ask_bus(ret);
}
