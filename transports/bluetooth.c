/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/bluetooth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "transports/advert.h"
#include "transports/battery.h"
#include "transports/bluez.h"
#include "transports/l2cap.h"

#define SECOND ((uint64_t)1000000)
#define YIELD_PAUSE (6 * SECOND)    /* while a connection is made */
#define LISTEN_RETRY (10 * SECOND)
#define WAITS_MAX 30
#define MEMORY 32                   /* advertisements whose meaning is remembered */
#define OPENS_A_ROUND 64            /* that are looked into anew; more are somebody's noise */

struct memory {
	bool used, member;
	struct address who;
	uint8_t data[ADVERT_SIZE];
	int64_t period;
	struct advert advert;
};

struct bluetooth {
	sd_event *event;
	const struct bluetooth_handler *handler;
	void *user;
	char root[256];
	struct advert_key *key;
	uint32_t tag;
	struct bluez *bluez;
	struct listener *listener;
	struct address own;
	bool usable, resting, scanning, mute;
	struct duty duty;
	sd_event_source *round;  /* begins or ends a scan */
	sd_event_source *rotate; /* the advertisement's next period, or the next attempt to listen */
	unsigned waits; /* seconds for bluetoothd to begin a scan */
	unsigned opens;
	unsigned next;
	struct memory memory[MEMORY];
};

static void set_timer(sd_event_source *s, uint64_t pause)
{
	(void)sd_event_source_set_time_relative(s, pause);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static void tell(struct bluetooth *b, int priority, const char *text)
{
	if (b->handler->note)
		b->handler->note(priority, text, b->user);
}

/* ---- being found ---- */

static void advertise(struct bluetooth *b)
{
	uint8_t data[ADVERT_SIZE];
	const int64_t now = (int64_t)time(NULL);
	if (!b->listener || b->resting) {
		bluez_advertise(b->bluez, NULL);
		return;
	}
	const struct advert a = { .psm = listener_port(b->listener), .tag = b->tag };
	if (advert_seal(b->key, now, &a, data) == 0)
		bluez_advertise(b->bluez, data);
	/* A clock that is set meanwhile is noticed within a period. */
	const int64_t left = ADVERT_PERIOD - now % ADVERT_PERIOD;
	set_timer(b->rotate, (uint64_t)(left > 0 && left <= ADVERT_PERIOD ? left : ADVERT_PERIOD) * SECOND);
}

static void on_accepted(struct wire *wire, const struct address *remote, void *user)
{
	struct bluetooth *b = user;
	b->handler->accept(wire, remote, b->user);
}

static void listen_here(struct bluetooth *b)
{
	struct err e = { 0 };
	/* The same one each time, for a token names it. */
	address_set_port(&b->own, (uint16_t)(ADVERT_PSM_MIN | (b->tag & (ADVERT_PSM_MAX - ADVERT_PSM_MIN))));
	int r = l2cap_listen(b->event, &b->own, on_accepted, b, &b->listener, &e);
	if (r < 0) {
		/* No sockets in this namespace: BlueZ is somebody else's, so to speak. */
		if (!b->mute)
			tell(b, r == -EAFNOSUPPORT ? LOG_INFO : LOG_WARNING, e.message);
		b->mute = true;
		if (r != -EAFNOSUPPORT)
			set_timer(b->rotate, LISTEN_RETRY);
		return;
	}
	b->mute = false;
	address_set_port(&b->own, listener_port(b->listener));
	bluetooth_hurry(b);
}

static int on_rotate(sd_event_source *s, uint64_t usec, void *user)
{
	struct bluetooth *b = user;
	(void)s, (void)usec;
	if (b->usable && !b->listener)
		listen_here(b);
	else if (b->usable)
		advertise(b);
	return 0;
}

/* ---- finding ---- */

static void scan(struct bluetooth *b, bool on)
{
	b->scanning = on;
	b->opens = 0;
	bluez_scan(b->bluez, on);
}

static int on_round(sd_event_source *s, uint64_t usec, void *user)
{
	struct bluetooth *b = user;
	const enum battery power = battery_read(b->root);
	(void)usec;
	if (!b->usable || b->resting)
		return 0;
	/* bluetoothd may take its time to begin: a round counts from then. */
	if (b->scanning && !bluez_scans(b->bluez) && b->waits < WAITS_MAX) {
		b->waits++;
		set_timer(s, SECOND);
		return 0;
	}
	b->waits = 0;
	const bool on = !b->scanning;
	scan(b, on);
	set_timer(s, on ? duty_scan(power) : duty_pause(&b->duty, power));
	return 0;
}

/* What the bytes say, from memory if they were seen before. */
static struct memory *recall(struct bluetooth *b, const struct address *who, const uint8_t *data)
{
	const int64_t now = (int64_t)time(NULL);
	for (unsigned i = 0; i < MEMORY; i++) {
		struct memory *m = &b->memory[i];
		if (m->used && m->period == now / ADVERT_PERIOD && memcmp(m->data, data, ADVERT_SIZE) == 0 &&
		    address_equal(&m->who, who))
			return m;
	}
	if (b->opens >= OPENS_A_ROUND)
		return NULL;
	b->opens++;
	struct memory *m = &b->memory[b->next++ % MEMORY];
	*m = (struct memory){ .used = true, .who = *who, .period = now / ADVERT_PERIOD };
	memcpy(m->data, data, ADVERT_SIZE);
	m->member = advert_open(b->key, now, data, ADVERT_SIZE, &m->advert) == 0;
	return m;
}

static void on_heard(const struct address *who, const uint8_t *data, void *user)
{
	struct bluetooth *b = user;
	const struct memory *m = recall(b, who, data);
	if (!m || !m->member || m->advert.tag == b->tag)
		return;
	struct address a = *who;
	address_set_port(&a, m->advert.psm);
	b->duty.heard |= b->handler->found(&a, m->advert.tag, b->user);
}

/* ---- the adapter comes and goes ---- */

static void on_adapter(const struct address *own, void *user)
{
	struct bluetooth *b = user;
	listener_free(b->listener);
	b->listener = NULL;
	b->usable = own != NULL;
	b->mute = false;
	(void)sd_event_source_set_enabled(b->round, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(b->rotate, SD_EVENT_OFF);
	scan(b, false);
	if (own) {
		b->own = *own;
		listen_here(b);
	} else {
		bluez_advertise(b->bluez, NULL);
	}
	b->handler->changed(own, b->user);
}

static void on_note(int priority, const char *text, void *user)
{
	tell(user, priority, text);
}

static const struct bluez_handler bluez_handler = { on_adapter, on_heard, on_note };

const struct address *bluetooth_own(const struct bluetooth *b)
{
	return b->usable && b->listener ? &b->own : NULL;
}

uint32_t bluetooth_tag(const struct bluetooth *b, const struct id *device)
{
	return advert_tag(b->key, device);
}

void bluetooth_yield(struct bluetooth *b)
{
	if (!b->usable || b->resting)
		return;
	scan(b, false);
	set_timer(b->round, YIELD_PAUSE);
}

void bluetooth_hurry(struct bluetooth *b)
{
	duty_hurry(&b->duty);
	if (!b->usable || b->resting || b->scanning || !b->listener)
		return;
	set_timer(b->round, SECOND / 2);
	/* A controller that was connected may have stopped. */
	advertise(b);
}

void bluetooth_again(struct bluetooth *b)
{
	bluez_again(b->bluez);
	if (b->usable && !b->listener && !b->resting)
		set_timer(b->rotate, 0);
}

void bluetooth_rest(struct bluetooth *b, bool on)
{
	b->resting = on;
	if (on) {
		(void)sd_event_source_set_enabled(b->round, SD_EVENT_OFF);
		scan(b, false);
	}
	if (b->usable)
		advertise(b);
	if (!on)
		bluetooth_hurry(b);
}

int bluetooth_new(sd_event *event, const struct identity *identity, const char *adapter, const char *root,
		  const struct bluetooth_handler *handler, void *user, struct bluetooth **ret, struct err *e)
{
	_cleanup_(bluetooth_freep) struct bluetooth *b = calloc(1, sizeof(*b));
	if (!b)
		return err_set(e, -ENOMEM, "out of memory");
	b->event = sd_event_ref(event);
	b->handler = handler;
	b->user = user;
	snprintf(b->root, sizeof(b->root), "%s", root);
	int r = advert_key_new(identity_secret(identity), &b->key);
	if (r < 0)
		return err_errno(e, r, "cannot derive the key of the advertisements");
	b->tag = advert_tag(b->key, identity_device(identity));
	r = sd_event_add_time(event, &b->round, CLOCK_BOOTTIME, 0, SECOND / 2, on_round, b);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->round, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(event, &b->rotate, CLOCK_BOOTTIME, 0, SECOND, on_rotate, b);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->rotate, SD_EVENT_OFF);
	if (r < 0)
		return err_errno(e, r, "cannot use Bluetooth");
	r = bluez_new(event, adapter, &bluez_handler, b, &b->bluez, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(b);
	return 0;
}

void bluetooth_free(struct bluetooth *b)
{
	if (!b)
		return;
	bluez_free(b->bluez);
	listener_free(b->listener);
	sd_event_source_disable_unref(b->round);
	sd_event_source_disable_unref(b->rotate);
	advert_key_free(b->key);
	sd_event_unref(b->event);
	free(b);
}
