/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/systembus.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND ((uint64_t)1000000)
#define RETRY_MIN (SECOND / 2)
#define RETRY_MAX (60 * SECOND)
#define LASTED (10 * SECOND) /* a bus that does not even so long is not asked again at once */

#define LOCAL "org.freedesktop.DBus.Local"
#define DBUS "org.freedesktop.DBus"
#define NAME_SIZE 64 /* of a service */

struct systembus {
	sd_event *event;
	char service[NAME_SIZE];
	const struct systembus_handler *handler;
	void *user;
	sd_bus *bus; /* NULL: there is none */
	sd_bus_slot *watch, *watch_owner, *ask_owner;
	bool there; /* the service */
	sd_event_source *retry;
	uint64_t pause, since;
};

static uint64_t now_us(const struct systembus *b)
{
	uint64_t now = 0;
	(void)sd_event_now(b->event, CLOCK_BOOTTIME, &now);
	return now;
}

static void drop(struct systembus *b)
{
	b->there = false;
	b->watch = sd_bus_slot_unref(b->watch);
	b->watch_owner = sd_bus_slot_unref(b->watch_owner);
	b->ask_owner = sd_bus_slot_unref(b->ask_owner);
	if (b->bus)
		(void)sd_bus_detach_event(b->bus);
	/* To flush one that has not let us in would be to wait for it. */
	if (sd_bus_is_ready(b->bus) > 0)
		(void)sd_bus_flush(b->bus);
	b->bus = sd_bus_close_unref(b->bus);
}

static void plan(struct systembus *b, uint64_t pause)
{
	(void)sd_event_source_set_time_relative(b->retry, pause);
	(void)sd_event_source_set_enabled(b->retry, SD_EVENT_ONESHOT);
}

static void retry(struct systembus *b)
{
	b->pause = !b->pause ? RETRY_MIN : b->pause * 2 < RETRY_MAX ? b->pause * 2 : RETRY_MAX;
	plan(b, b->pause);
}

/* It is in use still, for this is called from within. */
static int on_disconnected(sd_bus_message *m, void *user, sd_bus_error *error)
{
	(void)m, (void)error;
	plan(user, 0);
	return 0;
}

static int on_owner_changed(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct systembus *b = user;
	const char *name = "", *before = "", *after = "";
	(void)error;
	if (sd_bus_message_read(m, "sss", &name, &before, &after) < 0 || strcmp(name, b->service) != 0)
		return 0;
	b->there = after[0];
	b->handler->service(b->there, b->user);
	return 0;
}

static int on_owner(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct systembus *b = user;
	(void)error;
	b->ask_owner = sd_bus_slot_unref(b->ask_owner);
	if (!sd_bus_message_is_method_error(reply, NULL) && !b->there) {
		b->there = true;
		b->handler->service(true, b->user);
	}
	return 0;
}

/* The matches are there before anything is asked, so nothing slips through between. */
static int begin(struct systembus *b)
{
	char match[160 + NAME_SIZE];
	snprintf(match, sizeof(match),
		 "type='signal',sender='" DBUS "',interface='" DBUS "',member='NameOwnerChanged',arg0='%s'", b->service);
	int r = sd_bus_add_match_async(b->bus, &b->watch_owner, match, on_owner_changed, NULL, b);
	if (r < 0)
		return r;
	r = b->handler->up(b->bus, b->user);
	if (r >= 0)
		r = sd_bus_call_method_async(b->bus, &b->ask_owner, DBUS, "/org/freedesktop/DBus", DBUS, "GetNameOwner",
					     on_owner, b, "s", b->service);
	if (r < 0)
		b->handler->down(b->user);
	return r;
}

static void attempt(struct systembus *b)
{
	int r = sd_bus_open_system(&b->bus);
	if (r >= 0)
		r = sd_bus_match_signal_async(b->bus, &b->watch, LOCAL, "/org/freedesktop/DBus/Local", LOCAL, "Disconnected",
					      on_disconnected, NULL, b);
	if (r >= 0)
		r = sd_bus_attach_event(b->bus, b->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = begin(b);
	b->since = now_us(b);
	if (r >= 0)
		return;
	drop(b);
	retry(b);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *user)
{
	struct systembus *b = user;
	(void)s, (void)usec;
	if (!b->bus) {
		attempt(b);
		return 0;
	}
	if (now_us(b) > b->since + LASTED)
		b->pause = 0;
	b->handler->down(b->user);
	drop(b);
	retry(b);
	return 0;
}

int systembus_new(sd_event *event, const char *service, const struct systembus_handler *handler, void *user, struct systembus **ret)
{
	struct systembus *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->event = sd_event_ref(event);
	snprintf(b->service, sizeof(b->service), "%s", service);
	b->handler = handler;
	b->user = user;
	int r = sd_event_add_time(event, &b->retry, CLOCK_BOOTTIME, 0, SECOND / 10, on_retry, b);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->retry, SD_EVENT_OFF);
	if (r < 0) {
		systembus_free(b);
		return r;
	}
	attempt(b);
	*ret = b;
	return 0;
}

void systembus_free(struct systembus *b)
{
	if (!b)
		return;
	drop(b);
	sd_event_source_disable_unref(b->retry);
	sd_event_unref(b->event);
	free(b);
}
