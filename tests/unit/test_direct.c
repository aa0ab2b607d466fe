/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a device looks for a group of Wi-Fi Direct: one of two that are linked by Bluetooth has a wpa_supplicant that does as
 * the test wants. The other has none, and is in no group, whatever wpa_supplicant says. */
#include <stdio.h>
#include <string.h>

#include "tests/bluezmock.h"
#include "tests/bus.h"
#include "tests/ends.h"
#include "tests/tap.h"
#include "tests/twodevices.h"
#include "tests/wpamock.h"

#define ROUNDS 7000 /* milliseconds: reasons are asked for every three seconds */
#define RETRY 20000

/* A search that finds the other one, who is called. */
static bool calls(void)
{
	const unsigned finds = wpamock.finds, connects = wpamock.connects;
	RUN_UNTIL(wpamock.finds > finds, RETRY);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(wpamock.connects > connects, SOON);
	return wpamock.finds > finds && wpamock.connects > connects;
}

static void busy_link(void)
{
	start_both();
	RUN_UNTIL(linked("bluetooth"), FOUND);
	const unsigned finds = wpamock.finds;
	RUN_UNTIL(wpamock.finds > finds, ROUNDS);
	ok(linked("bluetooth") && wpamock.finds == finds, "a link by Bluetooth that is not busy is good enough");
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.connects, SOON);
	ok(wpamock.connects == 1, "if the other one asks it is answered");
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(strstr(a.line, "group with"), SOON);
	ok(strstr(a.line, "p2p-wlan5-0; the other device asked for it") != NULL, "and that is why: %s", a.line);
	wpamock_group("GroupFinished", GROUP, GROUP);
	RUN_UNTIL(strstr(a.line, "has ended"), SOON);
	ok(linked("bluetooth"), "when it ends Bluetooth goes on");
	a.busy = true;
	ok(calls(), "one that is busy for long makes it look for a group");
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(strstr(a.line, "group with"), SOON);
	ok(strstr(a.line, "p2p-wlan5-0; 320 changes were too much for Bluetooth") != NULL, "and that is why: %s", a.line);
	wpamock_group("GroupFinished", GROUP, GROUP);
	RUN_UNTIL(strstr(a.line, "has ended"), SOON);
}

/* Each leaves the link by Bluetooth as it is, and the next attempt is made. */
static void failing(void)
{
	ok(calls(), "it is still busy: another attempt");
	sd_bus_emit_signal(wpamock.bus, DEVICE, WPA_P2P, "GONegotiationFailure", "a{sv}", 1, "status", "i", 7);
	RUN_UNTIL(strstr(a.line, "no group"), SOON);
	ok(strstr(a.line, "agree") && linked("bluetooth"), "the negotiation fails: %s", a.line);
	wpamock.fail = "Connect";
	wpamock.error = WPA_P2P ".ConnectChannelUnavailable";
	const unsigned finds = wpamock.finds;
	RUN_UNTIL(wpamock.finds > finds, RETRY);
	wpamock_peer("DeviceFound", PEER);
	RUN_UNTIL(a.warnings, SOON);
	ok(a.warnings == 1 && strstr(a.warning, "channel") && linked("bluetooth"), "a wrong channel: %s", a.warning);
	wpamock.fail = NULL;
	ok(calls(), "it is tried again");
	wpamock_own(false);
	RUN_UNTIL(strstr(a.line, "interface is gone"), SOON);
	ok(strstr(a.line, "no group") && linked("bluetooth"), "wpa_supplicant goes in the middle: %s", a.line);
	wpamock_own(true);
	ok(calls() && a.warnings == 1, "and comes again: it is tried again");
	sd_bus_emit_signal(wpamock.bus, GROUP, WPA_P2P, "WpsFailed", "s", "reason");
	RUN_UNTIL(strstr(a.line, "PIN"), SOON);
	ok(strstr(a.line, "PIN") && linked("bluetooth"), "another PIN: %s", a.line);
	a.busy = false;
	stop_both();
}

/* Nobody is linked. */
static void alone(void)
{
	wpamock_reset();
	wpamock_name(b.identity);
	start(&a);
	ok(calls(), "who is alone looks for a group in the beginning");
	wpamock_group("GroupStarted", DEVICE, GROUP);
	RUN_UNTIL(strstr(a.line, "group with"), SOON);
	ok(strstr(a.line, "nothing else reached it, and something had changed here") != NULL, "and that is why: %s", a.line);
	wpamock_group("GroupFinished", GROUP, GROUP);
	RUN_UNTIL(strstr(a.line, "has ended"), SOON);
	/* With a network to the other there is nothing to be gained. */
	start(&b);
	struct token_address at = { .host = "127.0.0.1", .port = mesh_port(b.mesh) };
	struct err e = { 0 };
	if (mesh_connect(a.mesh, &at, &e) < 0)
		tap_bail("%s", e.message);
	RUN_UNTIL(linked("tcp"), FOUND);
	const unsigned finds = wpamock.finds, connects = wpamock.connects;
	a.busy = true;
	wpamock_peer("GONegotiationRequest", PEER);
	RUN_UNTIL(wpamock.finds > finds || wpamock.connects > connects, ROUNDS);
	ok(linked("tcp") && wpamock.finds == finds && wpamock.connects == connects, "whom a network reaches needs no group");
	stop_both();
}

int main(void)
{
	tap_plan(16);
	if (sd_event_new(&event) < 0)
		tap_bail("no loop");
	const pid_t bus = bus_start();
	twodevices_start();
	wpamock_start();
	wpamock_own(true);
	wpamock_name(b.identity);
	a.options.wifidirect = "";
	a.options.wifidirect_after = 1;
	a.options.wifidirect_idle = 60;
	busy_link();
	failing();
	alone();
	wpamock_stop();
	twodevices_end();
	sd_event_unref(event);
	bus_stop(bus);
	return tap_done();
}
