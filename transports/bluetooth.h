/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Bluetooth LE as a way to devices nearby (shoal-transports(7)): advertises, scans as often as the battery allows, listens
 * at the adapter. Silent and idle where there is no adapter. Of the sd-event thread. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "engine/id.h"
#include "transports/address.h"
#include "transports/identity.h"
#include "transports/listener.h"

struct bluetooth;

struct bluetooth_handler {
	listener_accept_fn *accept;
	/* A member says that it listens at address; tag: bluetooth_tag of it. Again and again while it is heard. True: it
	 * is worth to look on, for something may come of it. */
	bool (*found)(const struct address *a, uint32_t tag, void *user);
	/* The adapter came (own) or went (NULL). */
	void (*changed)(const struct address *own, void *user);
	/* A line for a log. */
	void (*note)(int priority, const char *text, void *user);
};

/* identity is borrowed. adapter: as bluez_new takes it. root: "", or where tests keep a sys/ of theirs. */
int bluetooth_new(sd_event *event, const struct identity *identity, const char *adapter, const char *root,
		  const struct bluetooth_handler *handler, void *user, struct bluetooth **ret, struct err *e);
void bluetooth_free(struct bluetooth *b);
DEFINE_CLEANUP(struct bluetooth *, bluetooth_free)

/* The adapter's address, to dial from, with the PSM that is listened at; NULL: there is none. */
const struct address *bluetooth_own(const struct bluetooth *b);
uint32_t bluetooth_tag(const struct bluetooth *b, const struct id *device);

/* Somebody is about to be dialled: many adapters cannot scan meanwhile. */
void bluetooth_yield(struct bluetooth *b);
/* Something changed: it is worth to look for others soon, and to be heard. */
void bluetooth_hurry(struct bluetooth *b);
/* Something changed with radios: what failed is tried again, soon. */
void bluetooth_again(struct bluetooth *b);
/* The machine sleeps; on false, it is awake. */
void bluetooth_rest(struct bluetooth *b, bool on);

/* ---- how often (bluetooth-duty.c) ---- */

enum battery;

struct duty {
	unsigned burst;  /* rounds that follow at once */
	unsigned empty;  /* rounds in which nobody new was heard */
	bool heard;      /* somebody was, in this round */
};

/* A round of scanning takes so long, in microseconds. */
uint64_t duty_scan(enum battery power);
/* The round is over: how long until the next one. */
uint64_t duty_pause(struct duty *d, enum battery power);
/* The next rounds are to follow soon. */
void duty_hurry(struct duty *d);
