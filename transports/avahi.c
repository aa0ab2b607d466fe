/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/avahi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "transports/beacon.h"
#include "transports/systembus.h"

#define AVAHI "org.freedesktop.Avahi"
#define SERVER AVAHI ".Server"
#define GROUP AVAHI ".EntryGroup"
#define BROWSER AVAHI ".ServiceBrowser"
#define TYPE "_shoal._tcp"
#define ANY (-1) /* interface or protocol */

#define SECOND ((uint64_t)1000000)
#define ROTATE (1800 * SECOND)
#define REPORT (15 * SECOND) /* members that are still there are reported again */
#define ITEMS_MAX 64
#define RESOLVING_MAX 32
#define NAME_LEN 16

struct item {
	struct avahi *avahi;
	bool used;
	bool known; /* resolved, a member: device and address are good */
	int32_t interface, protocol;
	char name[64];
	struct id device;
	struct address address;
	sd_bus_slot *resolving;
};

struct avahi {
	sd_event *event;
	struct systembus *system;
	sd_bus *bus; /* NULL: there is none now */
	const struct identity *identity;
	struct beacon_key *key;
	uint16_t port;
	discovery_fn *fn;
	void *user;
	sd_bus_slot *watch_new, *watch_remove, *grouping, *adding, *committing, *browsing;
	sd_event_source *rotate, *report;
	bool there; /* the daemon runs */
	char name[NAME_LEN + 1]; /* our instance */
	char group[128];         /* its object, "" while there is none */
	struct item item[ITEMS_MAX];
};

static void slot_drop(sd_bus_slot **s)
{
	*s = sd_bus_slot_unref(*s);
}

static void item_drop(struct item *i)
{
	slot_drop(&i->resolving);
	i->used = i->known = false;
}

/* An asynchronous call that never starts Avahi where it does not run. */
static int call(struct avahi *a, sd_bus_slot **slot, sd_bus_message *m, sd_bus_message_handler_t fn,
		void *user)
{
	slot_drop(slot);
	(void)sd_bus_message_set_auto_start(m, false);
	return sd_bus_call_async(a->bus, slot, m, fn, user, 0);
}

static sd_bus_message *method(struct avahi *a, const char *path, const char *interface,
			      const char *member)
{
	sd_bus_message *m = NULL;
	(void)sd_bus_message_new_method_call(a->bus, &m, AVAHI, path, interface, member);
	return m;
}

/* ---- publishing ---- */

static int on_ignored(sd_bus_message *m, void *user, sd_bus_error *e)
{
	(void)m, (void)user, (void)e;
	return 0;
}

static void random_name(char ret[static NAME_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t v[NAME_LEN / 2] = { 0 };
	(void)gnutls_rnd(GNUTLS_RND_NONCE, v, sizeof(v));
	for (size_t i = 0; i < sizeof(v); i++) {
		ret[2 * i] = digits[v[i] >> 4];
		ret[2 * i + 1] = digits[v[i] & 15];
	}
	ret[NAME_LEN] = 0;
}

/* "b=" and a fresh beacon in hexadecimal. */
static int txt_value(struct avahi *a, char ret[static 2 + 2 * BEACON_SIZE + 1])
{
	const struct beacon b = { .device = *identity_device(a->identity), .port = a->port };
	uint8_t data[BEACON_SIZE];
	int r = beacon_seal(a->key, &b, data);
	if (r < 0)
		return r;
	ret[0] = 'b';
	ret[1] = '=';
	for (size_t i = 0; i < BEACON_SIZE; i++)
		snprintf(ret + 2 + 2 * i, 3, "%02x", data[i]);
	return 0;
}

static int on_added(sd_bus_message *reply, void *user, sd_bus_error *e)
{
	struct avahi *a = user;
	(void)e;
	slot_drop(&a->adding);
	if (sd_bus_message_is_method_error(reply, NULL))
		return 0;
	sd_bus_message *m = method(a, a->group, GROUP, "Commit");
	if (m)
		(void)call(a, &a->committing, m, on_ignored, a);
	sd_bus_message_unref(m);
	return 0;
}

static int add_service(struct avahi *a)
{
	char txt[2 + 2 * BEACON_SIZE + 1];
	int r = txt_value(a, txt);
	if (r < 0)
		return r;
	random_name(a->name);
	sd_bus_message *m = method(a, a->group, GROUP, "AddService");
	if (!m)
		return -ENOMEM;
	r = sd_bus_message_append(m, "iiussssq", ANY, ANY, (uint32_t)0, a->name, TYPE, "", "",
				  a->port);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', txt, strlen(txt));
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = call(a, &a->adding, m, on_added, a);
	sd_bus_message_unref(m);
	return r;
}

static int on_group(sd_bus_message *reply, void *user, sd_bus_error *e)
{
	struct avahi *a = user;
	const char *path = NULL;
	(void)e;
	slot_drop(&a->grouping);
	if (sd_bus_message_is_method_error(reply, NULL) ||
	    sd_bus_message_read(reply, "o", &path) < 0 || strlen(path) >= sizeof(a->group))
		return 0;
	snprintf(a->group, sizeof(a->group), "%s", path);
	(void)add_service(a);
	return 0;
}

static void unpublish(struct avahi *a)
{
	slot_drop(&a->grouping);
	slot_drop(&a->adding);
	slot_drop(&a->committing);
	if (!a->group[0])
		return;
	sd_bus_message *m = method(a, a->group, GROUP, "Free");
	if (m && a->there)
		(void)sd_bus_message_set_expect_reply(m, 0), (void)sd_bus_send(a->bus, m, NULL);
	sd_bus_message_unref(m);
	a->group[0] = 0;
}

static void publish(struct avahi *a)
{
	unpublish(a);
	sd_bus_message *m = method(a, "/", SERVER, "EntryGroupNew");
	if (m)
		(void)call(a, &a->grouping, m, on_group, a);
	sd_bus_message_unref(m);
	(void)sd_event_source_set_time_relative(a->rotate, ROTATE);
	(void)sd_event_source_set_enabled(a->rotate, SD_EVENT_ONESHOT);
}

static int on_rotate(sd_event_source *s, uint64_t usec, void *user)
{
	struct avahi *a = user;
	(void)s, (void)usec;
	if (a->there)
		publish(a);
	return 0;
}

/* ---- browsing ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_value(struct avahi *a, const uint8_t *p, size_t len, struct beacon *ret)
{
	uint8_t data[BEACON_SIZE];
	if (len != 2 + 2 * BEACON_SIZE || p[0] != 'b' || p[1] != '=')
		return -EBADMSG;
	for (size_t i = 0; i < BEACON_SIZE; i++) {
		int hi = hex_digit((char)p[2 + 2 * i]), lo = hex_digit((char)p[3 + 2 * i]);
		if (hi < 0 || lo < 0)
			return -EBADMSG;
		data[i] = (uint8_t)(hi << 4 | lo);
	}
	return beacon_open(a->key, data, sizeof(data), ret);
}

static int read_txt(struct avahi *a, sd_bus_message *m, struct beacon *ret)
{
	int found = -EBADMSG;
	int r = sd_bus_message_enter_container(m, 'a', "ay");
	for (unsigned i = 0; r > 0 && i < 16; i++) {
		const void *p;
		size_t len;
		r = sd_bus_message_read_array(m, 'y', &p, &len);
		if (r > 0 && found < 0)
			found = read_value(a, p, len, ret);
	}
	return found;
}

static int on_resolved(sd_bus_message *reply, void *user, sd_bus_error *e)
{
	struct item *i = user;
	struct avahi *a = i->avahi;
	int32_t interface, protocol, family;
	const char *name, *type, *domain, *host, *text;
	uint16_t port;
	struct beacon b;
	(void)e;
	slot_drop(&i->resolving);
	if (sd_bus_message_is_method_error(reply, NULL) ||
	    sd_bus_message_read(reply, "iissssisq", &interface, &protocol, &name, &type, &domain,
				&host, &family, &text, &port) < 0 ||
	    read_txt(a, reply, &b) < 0 || id_equal(&b.device, identity_device(a->identity)))
		return 0;
	struct address address = { .in = { .sin_family = AF_INET } };
	if (inet_pton(AF_INET, text, &address.in.sin_addr) != 1) {
		address = (struct address){ .in6 = { .sin6_family = AF_INET6 } };
		if (inet_pton(AF_INET6, text, &address.in6.sin6_addr) != 1)
			return 0;
		if (address_is_link_local(&address))
			address.in6.sin6_scope_id = (uint32_t)interface;
	}
	address_set_port(&address, b.port);
	i->known = true;
	i->device = b.device;
	i->address = address;
	a->fn(&b.device, &address, a->user);
	return 0;
}

static struct item *find_item(struct avahi *a, int32_t interface, int32_t protocol,
			      const char *name)
{
	for (unsigned k = 0; k < ITEMS_MAX; k++) {
		struct item *i = &a->item[k];
		if (i->used && i->interface == interface && i->protocol == protocol &&
		    strcmp(i->name, name) == 0)
			return i;
	}
	return NULL;
}

static void resolve_item(struct avahi *a, struct item *i, const char *domain)
{
	sd_bus_message *m = method(a, "/", SERVER, "ResolveService");
	if (m && sd_bus_message_append(m, "iisssiu", i->interface, i->protocol, i->name, TYPE,
				       domain, ANY, (uint32_t)0) >= 0)
		(void)call(a, &i->resolving, m, on_resolved, i);
	sd_bus_message_unref(m);
}

static int on_item_new(sd_bus_message *m, void *user, sd_bus_error *e)
{
	struct avahi *a = user;
	int32_t interface, protocol;
	const char *name, *type, *domain;
	(void)e;
	if (sd_bus_message_read(m, "iisss", &interface, &protocol, &name, &type, &domain) < 0 ||
	    strcmp(type, TYPE) != 0 || strcmp(name, a->name) == 0 ||
	    find_item(a, interface, protocol, name))
		return 0;
	struct item *free_one = NULL;
	unsigned resolving = 0;
	for (unsigned k = 0; k < ITEMS_MAX; k++) {
		if (!a->item[k].used)
			free_one = &a->item[k];
		resolving += a->item[k].resolving != NULL;
	}
	if (!free_one || resolving >= RESOLVING_MAX || strlen(name) >= sizeof(free_one->name))
		return 0;
	*free_one = (struct item){
		.avahi = a,
		.used = true,
		.interface = interface,
		.protocol = protocol,
	};
	snprintf(free_one->name, sizeof(free_one->name), "%s", name);
	resolve_item(a, free_one, domain);
	return 0;
}

static int on_item_remove(sd_bus_message *m, void *user, sd_bus_error *e)
{
	struct avahi *a = user;
	int32_t interface, protocol;
	const char *name;
	(void)e;
	if (sd_bus_message_read(m, "iis", &interface, &protocol, &name) < 0)
		return 0;
	struct item *i = find_item(a, interface, protocol, name);
	if (i)
		item_drop(i);
	return 0;
}

static int on_report(sd_event_source *s, uint64_t usec, void *user)
{
	struct avahi *a = user;
	(void)usec;
	for (unsigned k = 0; k < ITEMS_MAX; k++)
		if (a->item[k].used && a->item[k].known)
			a->fn(&a->item[k].device, &a->item[k].address, a->user);
	(void)sd_event_source_set_time_relative(s, REPORT);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

/* ---- the daemon comes and goes ---- */

static void daemon_gone(struct avahi *a)
{
	a->there = false;
	unpublish(a);
	slot_drop(&a->browsing);
	for (unsigned k = 0; k < ITEMS_MAX; k++)
		item_drop(&a->item[k]);
}

static void daemon_here(struct avahi *a)
{
	daemon_gone(a);
	a->there = true;
	publish(a);
	sd_bus_message *m = method(a, "/", SERVER, "ServiceBrowserNew");
	if (m && sd_bus_message_append(m, "iissu", ANY, ANY, TYPE, "", (uint32_t)0) >= 0)
		(void)call(a, &a->browsing, m, on_ignored, a);
	sd_bus_message_unref(m);
}

static void on_service(bool here, void *user)
{
	if (here)
		daemon_here(user);
	else
		daemon_gone(user);
}

static int watch(struct avahi *a)
{
	int r = sd_bus_add_match_async(a->bus, &a->watch_new,
					   "type='signal',sender='" AVAHI "',interface='" BROWSER
					   "',member='ItemNew'",
					   on_item_new, NULL, a);
	if (r >= 0)
		r = sd_bus_add_match_async(a->bus, &a->watch_remove,
					   "type='signal',sender='" AVAHI "',interface='" BROWSER
					   "',member='ItemRemove'",
					   on_item_remove, NULL, a);
	return r;
}

static int on_bus(sd_bus *bus, void *user)
{
	struct avahi *a = user;
	a->bus = bus;
	return watch(a);
}

static void on_no_bus(void *user)
{
	struct avahi *a = user;
	daemon_gone(a);
	slot_drop(&a->watch_new);
	slot_drop(&a->watch_remove);
	a->bus = NULL;
}

static const struct systembus_handler bus_handler = { on_bus, on_no_bus, on_service };

int avahi_new(sd_event *event, const struct identity *identity, uint16_t port, discovery_fn *fn,
	      void *user, struct avahi **ret, struct err *e)
{
	_cleanup_(avahi_freep) struct avahi *a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->event = sd_event_ref(event);
	a->identity = identity;
	a->port = port;
	a->fn = fn;
	a->user = user;
	int r = beacon_key_new(identity_secret(identity), &a->key);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &a->rotate, CLOCK_BOOTTIME, ROTATE, SECOND,
					       on_rotate, a);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &a->report, CLOCK_BOOTTIME, REPORT, SECOND,
					       on_report, a);
	if (r >= 0)
		r = systembus_new(event, AVAHI, &bus_handler, a, &a->system);
	if (r < 0)
		return err_errno(e, r, "cannot use Avahi");
	*ret = TAKE_PTR(a);
	return 0;
}

void avahi_free(struct avahi *a)
{
	if (!a)
		return;
	sd_event_source_disable_unref(a->rotate);
	sd_event_source_disable_unref(a->report);
	if (a->bus)
		on_no_bus(a);
	systembus_free(a->system);
	beacon_key_free(a->key);
	sd_event_unref(a->event);
	free(a);
}
