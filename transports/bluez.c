/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wanted, what is asked for, what is
 * ==========================================
 *
 * Advertising and scanning are each wanted or not; bluetoothd is asked for what is missing, one call at a time, and
 * its answer tells what is. When it refuses or does not answer it is asked again after a pause that doubles from 1 s to 60 s:
 * adapters that come up, resume or are busy with a connection refuse for a while. What an error means is said once,
 * until it works or is another one.
 */
#include "transports/bluez.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <systemd/sd-bus.h>

#include "transports/bluez-impl.h"
#include "transports/buscall.h"
#include "transports/systembus.h"

#define SECOND ((uint64_t)1000000)
#define RETRY_MIN SECOND
#define RETRY_MAX (60 * SECOND)
#define ADAPTERS_MAX 8
#define DEVICES_MAX 64 /* whose addresses are remembered */
#define ASKING_MAX 8
#define ASK_AGAIN (5 * SECOND)
#define OBJECT "/shoal/advertisement"

struct adapter {
	char path[BLUEZ_PATH]; /* "": free */
	struct bluez_object o;
};

struct device {
	char path[BLUEZ_PATH];
	struct address address;
};

/* Something that is on or off at bluetoothd. */
struct task {
	struct bluez *bluez;
	const char *what;
	bool wanted, on, stale; /* stale: on, but with what is not wanted any more */
	sd_bus_slot *call;      /* under way */
	sd_event_source *retry;
	uint64_t pause;
	char error[80]; /* the last one that was told */
	void (*begin)(struct bluez *b);
	void (*end)(struct bluez *b);
};

struct bluez {
	sd_event *event;
	struct systembus *system;
	sd_bus *bus; /* NULL: there is none now */
	char wanted[32];
	const struct bluez_handler *handler;
	void *user;
	sd_bus_slot *watch_added, *watch_removed, *watch_adapter, *watch_device, *ask_objects, *object;
	sd_event_source *ask_again;
	struct adapter adapter[ADAPTERS_MAX];
	struct adapter *used; /* NULL: none */
	bool own_random;
	char own[18]; /* address of the one in use, as it was told */
	struct device device[DEVICES_MAX];
	unsigned next_device;
	sd_bus_slot *asking[ASKING_MAX];
	struct task advertising, scanning;
	uint8_t data[ADVERT_SIZE];
};

static _printf_(3, 4) void note(struct bluez *b, int priority, const char *fmt, ...)
{
	char text[300];
	va_list ap;
	if (!b->handler->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	b->handler->note(priority, text, b->user);
}

static sd_bus_message *method(struct bluez *b, const char *path, const char *interface, const char *member)
{
	return buscall_new(b->bus, BLUEZ, path, interface, member);
}

/* ---- tasks ---- */

static void task_step(struct task *t)
{
	struct bluez *b = t->bluez;
	int on = SD_EVENT_OFF;
	(void)sd_event_source_get_enabled(t->retry, &on);
	if (!b->used || t->call || on != SD_EVENT_OFF)
		return;
	if (t->on && (!t->wanted || t->stale))
		t->end(b);
	if (!t->on && t->wanted)
		t->begin(b);
}

static void task_retry(struct task *t)
{
	t->pause = t->pause ? t->pause * 2 : RETRY_MIN;
	if (t->pause > RETRY_MAX)
		t->pause = RETRY_MAX;
	(void)sd_event_source_set_time_relative(t->retry, t->pause);
	(void)sd_event_source_set_enabled(t->retry, SD_EVENT_ONESHOT);
}

/* The adapter, or bluetoothd, is another one: nothing is on. */
static void task_reset(struct task *t)
{
	buscall_drop(&t->call);
	t->on = t->stale = false;
	t->pause = 0;
	t->error[0] = 0;
	(void)sd_event_source_set_enabled(t->retry, SD_EVENT_OFF);
}

static void task_failed(struct task *t, const char *error, const char *text)
{
	/* Busy, off and late are as usual; a person can do something about the rest. */
	const bool usual = strcmp(error, BLUEZ ".Error.InProgress") == 0 || strcmp(error, BLUEZ ".Error.NotReady") == 0;
	/* What was under way when the bus broke off failed, too. */
	if (strcmp(t->error, error) != 0 && sd_bus_is_open(t->bluez->bus) > 0) {
		snprintf(t->error, sizeof(t->error), "%.79s", error);
		note(t->bluez, usual ? LOG_DEBUG : LOG_WARNING, "Bluetooth: cannot %s (%.60s: %.80s): %s", t->what, error, text,
		     bluez_explain(error));
	}
	task_retry(t);
}

static void task_answered(struct task *t, sd_bus_message *reply)
{
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	buscall_drop(&t->call);
	if (e) {
		task_failed(t, e->name ? e->name : "", e->message ? e->message : "");
		return;
	}
	t->on = true;
	t->pause = 0;
	if (t->error[0])
		note(t->bluez, LOG_INFO, "Bluetooth: can %s again", t->what);
	t->error[0] = 0;
	task_step(t);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *user)
{
	(void)usec;
	(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
	task_step(user);
	return 0;
}

/* ---- advertising ---- */

static void advertise_end(struct bluez *b)
{
	sd_bus_message *m = method(b, b->used->path, BLUEZ_ADVERTISING, "UnregisterAdvertisement");
	if (m)
		(void)sd_bus_message_append(m, "o", OBJECT);
	buscall_only(b->bus, m);
	b->advertising.on = b->advertising.stale = false;
}

static int on_registered(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	(void)error;
	struct task *t = &b->advertising;
	/* One of before, of which no answer came, or from before the adapter was off: it goes, and this one comes. */
	if (sd_bus_message_is_method_error(reply, BLUEZ ".Error.AlreadyExists")) {
		advertise_end(b);
		if (!t->pause) {
			buscall_drop(&t->call);
			t->pause = RETRY_MIN;
			task_step(t);
			return 0;
		}
	}
	task_answered(t, reply);
	return 0;
}

static void advertise_begin(struct bluez *b)
{
	if (!b->used->o.advertising)
		return;
	sd_bus_message *m = method(b, b->used->path, BLUEZ_ADVERTISING, "RegisterAdvertisement");
	b->advertising.stale = false;
	if (m && sd_bus_message_append(m, "oa{sv}", OBJECT, 0) < 0)
		m = sd_bus_message_unref(m);
	if (buscall_send(b->bus, &b->advertising.call, m, on_registered, b) < 0)
		task_retry(&b->advertising);
}

static int get_type(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		    void *user, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)property, (void)user, (void)error;
	return sd_bus_message_append(reply, "s", "peripheral");
}

static int get_services(sd_bus *bus, const char *path, const char *interface, const char *property,
			sd_bus_message *reply, void *user, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)property, (void)user, (void)error;
	return sd_bus_message_append(reply, "as", 1, ADVERT_SERVICE);
}

static int get_data(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		    void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	(void)bus, (void)path, (void)interface, (void)property, (void)error;
	int r = sd_bus_message_open_container(reply, 'a', "{qv}");
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'e', "qv");
	if (r >= 0)
		r = sd_bus_message_append(reply, "q", (uint16_t)ADVERT_COMPANY);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(reply, 'y', b->data, ADVERT_SIZE);
	for (unsigned i = 0; r >= 0 && i < 3; i++)
		r = sd_bus_message_close_container(reply);
	return r;
}

static int on_release(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	(void)error;
	if (b->advertising.on) {
		b->advertising.on = false;
		task_retry(&b->advertising);
	}
	return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable advertisement[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Release", NULL, NULL, on_release, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("Type", "s", get_type, 0, 0),
	SD_BUS_PROPERTY("ServiceUUIDs", "as", get_services, 0, 0),
	SD_BUS_PROPERTY("ManufacturerData", "a{qv}", get_data, 0, 0),
	SD_BUS_VTABLE_END,
};

void bluez_advertise(struct bluez *b, const uint8_t *data)
{
	struct task *t = &b->advertising;
	t->stale = data && (t->stale || memcmp(b->data, data, ADVERT_SIZE) != 0);
	t->wanted = data != NULL;
	if (data)
		memcpy(b->data, data, ADVERT_SIZE);
	task_step(t);
}

bool bluez_advertises(const struct bluez *b)
{
	return b->advertising.on && !b->advertising.stale;
}

/* ---- devices ---- */

static bool is_ours(const struct bluez *b, const char *path)
{
	const size_t n = b->used ? strlen(b->used->path) : 0;
	return n && strncmp(path, b->used->path, n) == 0 && path[n] == '/';
}

static void heard(struct bluez *b, const char *path, const struct bluez_object *o)
{
	struct device *d = NULL;
	struct address a;
	for (unsigned i = 0; i < DEVICES_MAX; i++)
		if (strcmp(b->device[i].path, path) == 0)
			d = &b->device[i];
	if (o->address[0] && address_bluetooth(o->address, o->random, 0, &a) == 0) {
		if (!d)
			d = &b->device[b->next_device++ % DEVICES_MAX];
		snprintf(d->path, sizeof(d->path), "%s", path);
		d->address = a;
	}
	if (d && o->data_known)
		b->handler->heard(&d->address, o->data, b->user);
}

static int on_device_properties(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	struct bluez_object o = { 0 };
	(void)error;
	for (unsigned i = 0; i < ASKING_MAX; i++)
		if (b->asking[i] && b->asking[i] == sd_bus_get_current_slot(b->bus))
			buscall_drop(&b->asking[i]);
	if (!b->scanning.wanted || sd_bus_message_is_method_error(reply, NULL) || bluez_read_properties(reply, &o) < 0 ||
	    !o.address[0])
		return 0;
	/* The path is made of the adapter's and the address. */
	char path[BLUEZ_PATH + 24];
	snprintf(path, sizeof(path), "%s/dev_%s", b->used ? b->used->path : "", o.address);
	for (char *p = path; *p; p++)
		if (*p == ':')
			*p = '_';
	if (is_ours(b, path) && strlen(path) < BLUEZ_PATH)
		heard(b, path, &o);
	return 0;
}

static void ask_device(struct bluez *b, const char *path)
{
	for (unsigned i = 0; i < ASKING_MAX; i++) {
		if (b->asking[i])
			continue;
		sd_bus_message *m = method(b, path, BLUEZ_PROPERTIES, "GetAll");
		if (m && sd_bus_message_append(m, "s", BLUEZ_DEVICE) < 0)
			m = sd_bus_message_unref(m);
		(void)buscall_send(b->bus, &b->asking[i], m, on_device_properties, b);
		return;
	}
}

static int on_device_changed(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	struct bluez_object o = { 0 };
	const char *interface = "", *path = sd_bus_message_get_path(m);
	(void)error;
	if (!path || strlen(path) >= BLUEZ_PATH || !is_ours(b, path) || !b->scanning.wanted ||
	    sd_bus_message_read(m, "s", &interface) < 0 || bluez_read_properties(m, &o) < 0 || !o.data_known)
		return 0;
	for (unsigned i = 0; i < DEVICES_MAX; i++)
		if (strcmp(b->device[i].path, path) == 0) {
			heard(b, path, &o);
			return 0;
		}
	/* It was there before this one scanned. */
	ask_device(b, path);
	return 0;
}

/* ---- scanning ---- */

static void scan_end(struct bluez *b)
{
	buscall_only(b->bus, method(b, b->used->path, BLUEZ_ADAPTER, "StopDiscovery"));
	b->scanning.on = false;
	buscall_drop(&b->watch_device);
}

static int on_started(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	(void)error;
	/* It may have begun after all, or be about to: bluetoothd would call the next attempt one too many. */
	if (sd_bus_message_is_method_error(reply, NULL))
		buscall_only(b->bus, method(b, b->used->path, BLUEZ_ADAPTER, "StopDiscovery"));
	task_answered(&b->scanning, reply);
	return 0;
}

static int on_filtered(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	(void)error;
	if (sd_bus_message_is_method_error(reply, NULL)) {
		task_answered(&b->scanning, reply);
		return 0;
	}
	if (buscall_send(b->bus, &b->scanning.call, method(b, b->used->path, BLUEZ_ADAPTER, "StartDiscovery"), on_started, b) <
	    0)
		task_retry(&b->scanning);
	return 0;
}

static void scan_begin(struct bluez *b)
{
	sd_bus_message *m = method(b, b->used->path, BLUEZ_ADAPTER, "SetDiscoveryFilter");
	if (!b->watch_device)
		(void)sd_bus_add_match_async(b->bus, &b->watch_device,
					     "type='signal',sender='" BLUEZ "',interface='" BLUEZ_PROPERTIES
					     "',member='PropertiesChanged',arg0='" BLUEZ_DEVICE "'",
					     on_device_changed, NULL, b);
	if (m && sd_bus_message_append(m, "a{sv}", 3, "Transport", "s", "le", "DuplicateData", "b", 1, "UUIDs", "as", 1,
				       ADVERT_SERVICE) < 0)
		m = sd_bus_message_unref(m);
	if (buscall_send(b->bus, &b->scanning.call, m, on_filtered, b) < 0)
		task_retry(&b->scanning);
}

void bluez_scan(struct bluez *b, bool on)
{
	b->scanning.wanted = on;
	task_step(&b->scanning);
}

bool bluez_scans(const struct bluez *b)
{
	return b->scanning.on;
}

/* ---- adapters ---- */

static bool usable(const struct bluez *b, const struct adapter *a)
{
	return a->path[0] && a->o.adapter && a->o.powered && a->o.address[0] &&
	       bluez_adapter_is(a->path, &a->o, b->wanted);
}

/* Takes the first that can be used, and keeps it as long as it can be. */
static void choose(struct bluez *b)
{
	struct adapter *best = NULL;
	for (unsigned i = 0; i < ADAPTERS_MAX; i++) {
		struct adapter *a = &b->adapter[i];
		if (usable(b, a) && (a == b->used || !best ||
				     (best != b->used && strverscmp(a->path, best->path) < 0)))
			best = a;
	}
	const bool same = best && best == b->used && strcmp(best->o.address, b->own) == 0 &&
			  best->o.random == b->own_random;
	if (same || (!best && !b->used))
		return;
	task_reset(&b->advertising);
	task_reset(&b->scanning);
	buscall_drop(&b->watch_device);
	memset(b->device, 0, sizeof(b->device));
	if (b->used) {
		b->used = NULL;
		b->handler->adapter(NULL, b->user);
	}
	struct address own;
	if (!best || address_bluetooth(best->o.address, best->o.random, 0, &own) < 0)
		return;
	b->used = best;
	b->own_random = best->o.random;
	memcpy(b->own, best->o.address, sizeof(b->own));
	if (!best->o.advertising)
		note(b, LOG_INFO, "Bluetooth: adapter %s cannot advertise; it finds others, who do not find it",
		     bluez_adapter_name(best->path));
	b->handler->adapter(&own, b->user);
	task_step(&b->advertising);
	task_step(&b->scanning);
}

static struct adapter *adapter_at(struct bluez *b, const char *path, bool make)
{
	struct adapter *room = NULL;
	for (unsigned i = 0; i < ADAPTERS_MAX; i++) {
		if (strcmp(b->adapter[i].path, path) == 0)
			return &b->adapter[i];
		if (!b->adapter[i].path[0] && !room)
			room = &b->adapter[i];
	}
	if (!make || !room || strlen(path) >= BLUEZ_PATH)
		return NULL;
	*room = (struct adapter){ 0 };
	snprintf(room->path, sizeof(room->path), "%s", path);
	return room;
}

static void learn_adapter(struct bluez *b, const char *path, const struct bluez_object *o)
{
	struct adapter *a = adapter_at(b, path, o->adapter || o->advertising);
	if (!a)
		return;
	a->o.adapter |= o->adapter;
	a->o.advertising |= o->advertising;
	if (o->powered_known)
		a->o.powered = o->powered;
	if (o->address[0]) {
		memcpy(a->o.address, o->address, sizeof(a->o.address));
		a->o.random = o->random;
	}
}

static void learn(const char *path, const struct bluez_object *o, void *user)
{
	struct bluez *b = user;
	if (o->adapter || o->advertising)
		learn_adapter(b, path, o);
	/* What bluetoothd remembers of before is no sign of life: it will be heard again. */
}

static int on_objects(sd_bus_message *reply, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	(void)error;
	buscall_drop(&b->ask_objects);
	if (e) {
		if (sd_bus_error_has_name(e, "org.freedesktop.DBus.Error.AccessDenied")) {
			note(b, LOG_WARNING, "Bluetooth: %s", bluez_explain(e->name));
			return 0;
		}
		/* One that is busy with an adapter in trouble does not answer for a while. */
		(void)sd_event_source_set_time_relative(b->ask_again, ASK_AGAIN);
		(void)sd_event_source_set_enabled(b->ask_again, SD_EVENT_ONESHOT);
		return 0;
	}
	(void)bluez_each_object(reply, learn, b);
	choose(b);
	return 0;
}

static int on_added(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	struct bluez_object o = { 0 };
	const char *path = "";
	(void)error;
	if (sd_bus_message_read(m, "o", &path) < 0 || strlen(path) >= BLUEZ_PATH || bluez_read_interfaces(m, &o) < 0)
		return 0;
	if (o.adapter || o.advertising) {
		learn_adapter(b, path, &o);
		choose(b);
		task_step(&b->advertising);
	} else if (o.device && is_ours(b, path) && b->scanning.wanted) {
		heard(b, path, &o);
	}
	return 0;
}

static int on_removed(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	const char *path = "", *name = "";
	(void)error;
	if (sd_bus_message_read(m, "o", &path) < 0)
		return 0;
	struct adapter *a = adapter_at(b, path, false);
	int r = sd_bus_message_enter_container(m, 'a', "s");
	for (unsigned i = 0; r >= 0 && i < 64 && (r = sd_bus_message_read(m, "s", &name)) > 0; i++) {
		if (a && strcmp(name, BLUEZ_ADAPTER) == 0)
			a->o.adapter = false;
		if (a && strcmp(name, BLUEZ_ADVERTISING) == 0)
			a->o.advertising = false;
		if (strcmp(name, BLUEZ_DEVICE) == 0)
			for (unsigned k = 0; k < DEVICES_MAX; k++)
				if (strcmp(b->device[k].path, path) == 0)
					b->device[k] = (struct device){ 0 };
	}
	if (!a)
		return 0;
	choose(b);
	if (a != b->used && !a->o.adapter && !a->o.advertising)
		a->path[0] = 0;
	return 0;
}

static int on_adapter_changed(sd_bus_message *m, void *user, sd_bus_error *error)
{
	struct bluez *b = user;
	struct bluez_object o = { 0 };
	const char *interface = "", *path = sd_bus_message_get_path(m);
	struct adapter *a = path ? adapter_at(b, path, false) : NULL;
	(void)error;
	if (!a || sd_bus_message_read(m, "s", &interface) < 0)
		return 0;
	/* The type alone may be said. */
	o.random = a->o.random;
	if (bluez_read_properties(m, &o) < 0)
		return 0;
	learn_adapter(b, path, &o);
	choose(b);
	return 0;
}

/* ---- the daemon comes and goes ---- */

static void daemon_gone(struct bluez *b)
{
	(void)sd_event_source_set_enabled(b->ask_again, SD_EVENT_OFF);
	buscall_drop(&b->ask_objects);
	for (unsigned i = 0; i < ASKING_MAX; i++)
		buscall_drop(&b->asking[i]);
	for (unsigned i = 0; i < ADAPTERS_MAX; i++)
		b->adapter[i].o = (struct bluez_object){ 0 };
	choose(b);
	memset(b->adapter, 0, sizeof(b->adapter));
}

static void ask_objects(struct bluez *b)
{
	(void)buscall_send(b->bus, &b->ask_objects, method(b, "/", BLUEZ_OBJECTS, "GetManagedObjects"), on_objects, b);
}

static int on_ask_again(sd_event_source *s, uint64_t usec, void *user)
{
	(void)s, (void)usec;
	ask_objects(user);
	return 0;
}

static void daemon_here(struct bluez *b)
{
	daemon_gone(b);
	ask_objects(b);
}

static void on_service(bool here, void *user)
{
	if (here)
		daemon_here(user);
	else
		daemon_gone(user);
}

static int watch(struct bluez *b)
{
	static const char signal[] = "type='signal',sender='" BLUEZ "',interface='";
	char added[160], removed[160], changed[200];
	snprintf(added, sizeof(added), "%s" BLUEZ_OBJECTS "',member='InterfacesAdded'", signal);
	snprintf(removed, sizeof(removed), "%s" BLUEZ_OBJECTS "',member='InterfacesRemoved'", signal);
	snprintf(changed, sizeof(changed), "%s" BLUEZ_PROPERTIES "',member='PropertiesChanged',arg0='" BLUEZ_ADAPTER "'",
		 signal);
	int r = sd_bus_add_match_async(b->bus, &b->watch_added, added, on_added, NULL, b);
	if (r >= 0)
		r = sd_bus_add_match_async(b->bus, &b->watch_removed, removed, on_removed, NULL, b);
	if (r >= 0)
		r = sd_bus_add_match_async(b->bus, &b->watch_adapter, changed, on_adapter_changed, NULL, b);
	return r;
}

static int on_bus(sd_bus *bus, void *user)
{
	struct bluez *b = user;
	b->bus = bus;
	int r = sd_bus_add_object_vtable(bus, &b->object, OBJECT, BLUEZ ".LEAdvertisement1", advertisement, b);
	return r < 0 ? r : watch(b);
}

static void on_no_bus(void *user)
{
	struct bluez *b = user;
	sd_bus_slot **slots[] = { &b->watch_added, &b->watch_removed, &b->watch_adapter, &b->object };
	daemon_gone(b);
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		buscall_drop(slots[i]);
	b->bus = NULL;
}

static const struct systembus_handler bus_handler = { on_bus, on_no_bus, on_service };

void bluez_again(struct bluez *b)
{
	struct task *tasks[] = { &b->advertising, &b->scanning };
	for (unsigned i = 0; i < 2; i++) {
		tasks[i]->pause = 0;
		(void)sd_event_source_set_enabled(tasks[i]->retry, SD_EVENT_OFF);
		task_step(tasks[i]);
	}
}

static int task_init(struct task *t, struct bluez *b, const char *what, void (*begin)(struct bluez *b),
		     void (*end)(struct bluez *b))
{
	*t = (struct task){ .bluez = b, .what = what, .begin = begin, .end = end };
	int r = sd_event_add_time(b->event, &t->retry, CLOCK_BOOTTIME, 0, SECOND / 10, on_retry, t);
	return r < 0 ? r : sd_event_source_set_enabled(t->retry, SD_EVENT_OFF);
}

int bluez_new(sd_event *event, const char *adapter, const struct bluez_handler *handler, void *user,
	      struct bluez **ret, struct err *e)
{
	_cleanup_(bluez_freep) struct bluez *b = calloc(1, sizeof(*b));
	if (!b)
		return err_set(e, -ENOMEM, "out of memory");
	b->event = sd_event_ref(event);
	b->handler = handler;
	b->user = user;
	snprintf(b->wanted, sizeof(b->wanted), "%.31s", adapter);
	int r = task_init(&b->advertising, b, "advertise this device", advertise_begin, advertise_end);
	if (r >= 0)
		r = task_init(&b->scanning, b, "look for others", scan_begin, scan_end);
	if (r >= 0)
		r = sd_event_add_time(event, &b->ask_again, CLOCK_BOOTTIME, 0, SECOND, on_ask_again, b);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->ask_again, SD_EVENT_OFF);
	if (r >= 0)
		r = systembus_new(event, BLUEZ, &bus_handler, b, &b->system);
	if (r < 0)
		return err_errno(e, r, "cannot use Bluetooth");
	*ret = TAKE_PTR(b);
	return 0;
}

void bluez_free(struct bluez *b)
{
	if (!b)
		return;
	/* bluetoothd drops what a client had when its connection ends. */
	task_reset(&b->advertising);
	task_reset(&b->scanning);
	sd_event_source_disable_unref(b->advertising.retry);
	sd_event_source_disable_unref(b->scanning.retry);
	sd_event_source_disable_unref(b->ask_again);
	sd_bus_slot **slots[] = { &b->watch_added,  &b->watch_removed, &b->watch_adapter,
				  &b->watch_device, &b->ask_objects,   &b->object };
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		buscall_drop(slots[i]);
	for (unsigned i = 0; i < ASKING_MAX; i++)
		buscall_drop(&b->asking[i]);
	systembus_free(b->system);
	sd_event_unref(b->event);
	free(b);
}
