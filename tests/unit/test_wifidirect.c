/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Wi-Fi Direct makes of a wpa_supplicant that does as the test wants: whom it looks for, calls and answers, and when
 * a group ends. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/members.h"
#include "tests/tap.h"
#include "tests/wpamock.h"
#include "transports/advert.h"
#include "transports/wifidirect.h"

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
	wpamock_reset();
	direct = (struct direct){ .welcome = true };
	if (wifidirect_new(event, own, &o, &direct_handler, NULL, &direct.direct, &e) < 0)
		tap_bail("%s", e.message);
}

static void end_direct(void)
{
	wifidirect_free(direct.direct);
	RUN_UNTIL(false, 20);
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
	ok(!wpamock.finds && strncmp(wpamock.name, WIFIDIRECT_PREFIX, 6) == 0 && wpamock.period > 0,
	   "without a reason it can be found, and looks for nobody");
	direct.wants = true;
	wpamock_name(x);
	RUN_UNTIL(wpamock.finds, SOON);
	ok(wpamock.finds == 1, "with one it looks");
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(direct.wondered, 200);
	ok(!direct.wondered && !wpamock.connects, "a stranger is nobody");
	wpamock_name(b);
	direct.welcome = false;
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(direct.wondered, SOON);
	RUN_UNTIL(wpamock.connects, 100);
	ok(direct.wondered == 1 && !direct.asked && direct.tag == wifidirect_tag(direct.direct, identity_device(b)) &&
		   !wpamock.connects,
	   "a member of whom nothing is wanted is left alone");
	direct.welcome = true;
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	const bool first = wifidirect_tag(direct.direct, identity_device(a)) < direct.tag;
	ok(wpamock.connects == 1 && strlen(wpamock.pin) == 8 && strcmp(wpamock.method, first ? "keypad" : "display") == 0 &&
		   wpamock.intent == (first ? 14 : 1),
	   "another one is called, in the role of its tag");
	direct.wants = false;
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(direct.came, SOON);
	ok(direct.came == 1, "there is a group");
	uint64_t begin = clock_us();
	/* Traffic keeps it: two looks come after more than a second that might have been idle. */
	while (clock_us() < begin + 7 * 1000000 && !wpamock.disconnects) {
		direct.carried += 100000;
		sd_event_run(event, 100000);
	}
	is_uint(wpamock.disconnects, 0, "while something passes it stays");
	RUN_UNTIL(wpamock.disconnects, SOON);
	ok(wpamock.disconnects == 1 && direct.went == 1 && strstr(direct.line, "nothing passes"), "when nothing does it ends");
	end_direct();
}

static void answering(const struct identity *a, const struct identity *b)
{
	char pin[WPA_PIN_SIZE], method[16];
	start_direct(b);
	wpamock_name(a);
	RUN_UNTIL(direct.asks, SOON);
	wpamock_peer("DeviceFound", PEER);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	ok(wpamock.connects == 1 && direct.asked, "who has no reason answers a member who has");
	snprintf(pin, sizeof(pin), "%.8s", wpamock.pin);
	snprintf(method, sizeof(method), "%s", wpamock.method);
	sd_bus_emit_signal(wpamock.bus, GROUP, WPA_P2P, "WpsFailed", "s", "reason");
	RUN_UNTIL(direct.lines >= 2, SOON);
	ok(strstr(direct.line, "PIN") != NULL, "a wrong PIN: %s", direct.line);
	const unsigned before = direct.wondered;
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects > 1, 500);
	ok(wpamock.connects == 1 && direct.wondered == before, "then nobody is answered for a while");
	RUN_UNTIL(false, 4000);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects > 1, SOON);
	is_uint(wpamock.connects, 2, "and after that again");
	wifidirect_rest(direct.direct, true);
	RUN_UNTIL(wpamock.cancels && !wpamock.period, SOON);
	ok(wpamock.cancels == 1 && wpamock.period == 0, "a machine that goes to sleep gives up, and is not to be found");
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects > 2, 200);
	is_uint(wpamock.connects, 2, "nor answers");
	wifidirect_rest(direct.direct, false);
	RUN_UNTIL(wpamock.period, SOON);
	ok(wpamock.period > 0, "awake it is to be found again");
	end_direct();
	/* The other side, for the same pair. */
	start_direct(a);
	wpamock_name(b);
	RUN_UNTIL(direct.asks, SOON);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	ok(strcmp(wpamock.pin, pin) == 0 && strcmp(wpamock.method, method) != 0, "of the two one enters the PIN, and one shows it");
	sd_bus_emit_signal(wpamock.bus, DEVICE, WPA_P2P, "GONegotiationFailure", "a{sv}", 1, "status", "i", 7);
	RUN_UNTIL(direct.lines >= 2, SOON);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects > 1, SOON);
	is_uint(wpamock.connects, 2, "two that could not agree may try again at once");
	end_direct();
	tap_write("power/sys/class/power_supply/BAT0/type", "Battery\n");
	tap_write("power/sys/class/power_supply/BAT0/status", "Discharging\n");
	tap_write("power/sys/class/power_supply/BAT0/capacity", "15\n");
	start_direct(a);
	direct.wants = true;
	RUN_UNTIL(wpamock.names || wpamock.finds, 500);
	ok(!wpamock.names && !wpamock.finds, "on a low battery nothing is done");
	tap_write("power/sys/class/power_supply/BAT0/capacity", "90\n");
	RUN_UNTIL(wpamock.finds && wpamock.period, SOON);
	ok(wpamock.interval == 10000, "on a better one it listens seldom");
	wpamock_state("completed");
	RUN_UNTIL(wpamock.stops && !wpamock.period, SOON);
	ok(wpamock.stops && !wpamock.period && strstr(direct.line, "not used while"),
	   "when the Wi-Fi connects to a network the search ends, and that is said");
	end_direct();
}

/* A group of more than two: one finds it, and its owner lets one in. */
static void joining(const struct identity *a, const struct identity *b, const struct identity *c, const struct identity *x)
{
	_cleanup_(directkey_freep) struct directkey *k = NULL;
	char pin[WPA_PIN_SIZE];
	start_direct(a);
	direct.wants = true;
	wpamock_name(c);
	RUN_UNTIL(wpamock.finds && wpamock.period, SOON);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(direct.wondered, SOON);
	RUN_UNTIL(wpamock.connects, 1000);
	ok(direct.wondered == 1 && !wpamock.connects, "a member is not called at once: it may be in a group");
	wpamock_name(b);
	wpamock.group = 1;
	const uint64_t from = clock_us();
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	ok(wpamock.connects == 1 && wpamock.join && !direct.asked && clock_us() - from < 1000000,
	   "whoever finds a member's group joins it");
	wpamock.role = "client";
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(direct.came && !wpamock.period, SOON);
	ok(direct.came == 1 && wpamock.period == 0, "and cannot be found any more: the owner can");
	wpamock_name(c);
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.admits || wpamock.connects > 1, 200);
	ok(!wpamock.admits && wpamock.connects == 1, "nor lets anybody in");
	end_direct();

	start_direct(b);
	wpamock_name(a);
	RUN_UNTIL(wpamock.period, SOON);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(direct.came, SOON);
	wpamock_name(x);
	const unsigned before = direct.wondered;
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	RUN_UNTIL(direct.wondered > before || wpamock.admits, 200);
	ok(!wpamock.admits && direct.wondered == before, "a stranger is not let in");
	wpamock_name(c);
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	RUN_UNTIL(wpamock.admits, SOON);
	if (directkey_new(b, &k) < 0 ||
	    directkey_pin(k, directkey_tag(k, identity_device(b)), directkey_tag(k, identity_device(c)), pin) < 0)
		tap_bail("no PIN");
	ok(wpamock.admits == 1 && direct.asked && direct.tag == directkey_tag(k, identity_device(c)) && strcmp(wpamock.pin, pin) == 0,
	   "another member is, with the PIN of the two");
	sd_bus_emit_signal(wpamock.bus, GROUP, WPA_P2P, "WpsFailed", "s", "reason");
	const unsigned lines = direct.lines;
	RUN_UNTIL(direct.lines > lines, SOON);
	wpamock_peer("ProvisionDiscoveryRequestEnterPin", PEER);
	RUN_UNTIL(wpamock.admits > 1, 500);
	ok(wpamock.admits == 1 && strstr(direct.line, "PIN") && !direct.went, "after a wrong PIN nobody is for a while; the group stays");
	end_direct();
}

/* Flight mode. wpa_supplicant forgets what it was told, and says nothing. */
static void blocking(const struct identity *a, const struct identity *b)
{
	start_direct(a);
	wpamock_name(b);
	direct.wants = true;
	RUN_UNTIL(wpamock.finds && wpamock.period, SOON);
	wifidirect_again(direct.direct, true);
	RUN_UNTIL(wpamock.stops && !wpamock.period, SOON);
	ok(wpamock.stops && !wpamock.period, "blocked, the search ends, and it is not to be found");
	const unsigned finds = wpamock.finds, names = wpamock.names;
	wpamock_peer("DeviceFound", PEER);
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects || wpamock.finds > finds, 4000);
	ok(!wpamock.connects && wpamock.finds == finds, "nobody is called, answered or looked for");
	const uint64_t from = clock_us();
	wifidirect_again(direct.direct, false);
	RUN_UNTIL(wpamock.finds > finds && wpamock.period && wpamock.names > names, SOON);
	ok(wpamock.finds > finds && wpamock.period && wpamock.names > names && clock_us() - from < 5000000,
	   "not blocked any more, it says again how it is to be found, and looks");
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	is_uint(wpamock.connects, 1, "and calls");
	wifidirect_again(direct.direct, true);
	RUN_UNTIL(wpamock.cancels, SOON);
	is_uint(wpamock.cancels, 1, "blocked in the middle of that, it gives up");
	end_direct();
}

int main(void)
{
	struct err e = { 0 };
	_cleanup_(identity_freep) struct identity *a = NULL, *b = NULL, *c = NULL, *x = NULL;
	const int64_t now = (int64_t)time(NULL);
	tap_plan(39);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	const pid_t bus = bus_start();
	if (identity_create(tap_path("a"), "home", "anna", now, &e) < 0 || identity_open(tap_path("a"), &a, &e) < 0 ||
	    identity_create(tap_path("x"), "away", "xaver", now, &e) < 0 || identity_open(tap_path("x"), &x, &e) < 0 ||
	    !(b = member_new(a, tap_path("b"), "ben", ROLE_MEMBER, now, &e)) ||
	    !(c = member_new(a, tap_path("c"), "carla", ROLE_MEMBER, now, &e)))
		tap_bail("%s", e.message);
	wpamock_start();
	wpamock_own(true);
	names(a, b, x);
	looking(a, b, x);
	answering(a, b);
	joining(a, b, c, x);
	blocking(a, b);
	wpamock_stop();
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
