/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bluetooth as a way between devices
 * ==================================
 *
 * An advertisement says where a member listens and a tag, not who it is. So it becomes a target without a device, which is
 * dialled to find out; from then on it is like one that was found on a network: a link if there is none, a second way
 * beside a link over a network, or nothing. A tag that belongs to a device with a connection is recognised without dialling.
 *
 * Of two that hear each other the one with the smaller tag dials at once; the other after ten seconds, for the first may be on
 * a low battery and not listen for minutes.
 *
 * An adapter holds few connections at a time, so no more than RADIO_MOST are made; the second way beside a link
 * leaves one of them free, and is not made on a low battery.
 */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "transports/battery.h"

#define RADIO_MOST 5u
#define RADIO_TARGETS 16u
#define TRUST (30 * SECOND) /* an address keeps its place for so long against another with the same tag */

bool radio_has_room(const struct mesh *m, bool spare)
{
	unsigned n = 0;
	if (spare && battery_read(m->root) == BATTERY_LOW)
		return false;
	for (const struct conn *c = m->conns; c; c = c->next)
		n += c->state != CONN_DEAD && address_is_bluetooth(&c->remote);
	return n < RADIO_MOST - spare;
}

bool radio_first(const struct target *t)
{
	return bluetooth_tag(t->mesh->bluetooth, identity_device(t->mesh->identity)) < t->tag;
}

/* The device that has the tag, if it has a connection. */
static const struct id *whose(const struct mesh *m, uint32_t tag)
{
	for (const struct conn *c = m->conns; c; c = c->next)
		if (c->state != CONN_DEAD && !id_is_zero(&c->peer) && bluetooth_tag(m->bluetooth, &c->peer) == tag)
			return &c->peer;
	return NULL;
}

static struct target *target_for(struct mesh *m, uint32_t tag)
{
	struct target *oldest = NULL;
	unsigned n = 0;
	for (struct target *t = m->targets; t; t = t->next) {
		if (!t->radio)
			continue;
		if (t->tag == tag)
			return t;
		n++;
		if (!t->dial && !t->conn && (!oldest || t->heard < oldest->heard))
			oldest = t;
	}
	if (n >= RADIO_TARGETS) {
		if (!oldest)
			return NULL;
		target_free(oldest);
	}
	struct target *t = target_new(m, false);
	if (t) {
		t->radio = true;
		t->tag = tag;
	}
	return t;
}

/* A replay from elsewhere must not take the place of who is there. */
static bool moves_to(const struct target *t, const struct address *a)
{
	return t->address.sa.sa_family == AF_UNSPEC || address_same_host(&t->address, a) || t->why.code ||
	       mesh_now(t->mesh) > t->heard + TRUST;
}

static bool on_found(const struct address *a, uint32_t tag, void *user)
{
	struct mesh *m = user;
	const struct id *device = whose(m, tag);
	if (m->resting || m->closing || (device && m->handler->admit && !m->handler->admit(device, m->user)))
		return false;
	struct target *t = target_for(m, tag);
	if (!t)
		return false;
	if (!address_equal(&t->address, a)) {
		if (t->dial || t->conn || !moves_to(t, a))
			return false;
		t->address = *a;
	}
	if (device)
		t->device = *device;
	if (!id_is_zero(&t->device))
		choice_seen(m, &t->device);
	target_heard(t);
	return !t->why.code && !(device && conn_link_to(m, device, NULL));
}

static void on_changed(const struct address *own, void *user)
{
	struct mesh *m = user;
	struct err why = { 0 };
	char text[ADDRESS_TEXT];
	if (own) {
		mesh_note(m, LOG_INFO, "Bluetooth: adapter %s is used", address_host(own, text));
		return;
	}
	mesh_note(m, LOG_INFO, "Bluetooth: no adapter any more");
	for (struct target *t = m->targets, *next; t; t = next) {
		next = t->next;
		if (t->radio)
			target_free(t);
	}
	/* The kernel may take its time to say so. */
	err_set(&why, -ENETDOWN, "the Bluetooth adapter is gone");
	for (struct conn *c = m->conns; c; c = c->next)
		if (c->state != CONN_DEAD && address_is_bluetooth(&c->remote))
			conn_end(c, &why);
}

static void on_note(int priority, const char *text, void *user)
{
	mesh_note(user, priority, "%s", text);
}

static const struct bluetooth_handler handler = {
	.accept = mesh_accept,
	.found = on_found,
	.changed = on_changed,
	.note = on_note,
};

void radio_link_ended(struct mesh *m)
{
	if (m->bluetooth)
		bluetooth_hurry(m->bluetooth);
}

int radio_new(struct mesh *m, const char *adapter, struct err *e)
{
	return bluetooth_new(m->event, m->identity, adapter, m->root, &handler, m, &m->bluetooth, e);
}

/* ---- what the kernel says ---- */

static void tell_blocked(struct mesh *m, enum radios_kind kind)
{
	static const struct {
		const char *name, *command;
	} of[] = { [RADIOS_WIFI] = { "Wi-Fi", "wlan" }, [RADIOS_BLUETOOTH] = { "Bluetooth", "bluetooth" } };
	const bool blocked = radios_blocked(m->radios, kind);
	if (blocked == m->radio_blocked[kind])
		return;
	m->radio_blocked[kind] = blocked;
	if (blocked)
		mesh_note(m, LOG_INFO, "%s is blocked; this mends it: sudo rfkill unblock %s", of[kind].name, of[kind].command);
	else
		mesh_note(m, LOG_INFO, "%s is not blocked any more", of[kind].name);
}

static void on_radios(void *user)
{
	struct mesh *m = user;
	mesh_note(m, LOG_DEBUG, "radios changed: looking again at what there is");
	if (m->bluetooth) {
		tell_blocked(m, RADIOS_BLUETOOTH);
		bluetooth_again(m->bluetooth);
	}
	if (m->direct) {
		tell_blocked(m, RADIOS_WIFI);
		wifidirect_again(m->direct, m->radio_blocked[RADIOS_WIFI]);
	}
}

int radio_watch(struct mesh *m, struct err *e)
{
	int r = radios_new(m->event, m->root, on_radios, m, &m->radios, e);
	for (unsigned kind = 0; r == 0 && kind < 2; kind++)
		m->radio_blocked[kind] = radios_blocked(m->radios, kind);
	if (r == 0 && m->direct)
		wifidirect_again(m->direct, m->radio_blocked[RADIOS_WIFI]);
	return r;
}
