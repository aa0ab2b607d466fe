/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/buscall.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define TIMEOUT_US ((uint64_t)20 * 1000000)
#define ENTRIES_MAX 4096 /* of one dictionary; more are passed over */
#define ENTRY_MAX 24     /* bytes of a type */

void buscall_drop(sd_bus_slot **slot)
{
	*slot = sd_bus_slot_unref(*slot);
}

sd_bus_message *buscall_new(sd_bus *bus, const char *service, const char *path, const char *interface,
			    const char *member)
{
	sd_bus_message *m = NULL;
	if (sd_bus_message_new_method_call(bus, &m, service, path, interface, member) >= 0)
		(void)sd_bus_message_set_auto_start(m, false);
	return m;
}

int buscall_send(sd_bus *bus, sd_bus_slot **slot, sd_bus_message *m_take, sd_bus_message_handler_t fn, void *user)
{
	buscall_drop(slot);
	int r = m_take ? sd_bus_call_async(bus, slot, m_take, fn, user, TIMEOUT_US) : -ENOMEM;
	sd_bus_message_unref(m_take);
	return r;
}

void buscall_only(sd_bus *bus, sd_bus_message *m_take)
{
	if (m_take && sd_bus_message_set_expect_reply(m_take, 0) >= 0)
		(void)sd_bus_send(bus, m_take, NULL);
	sd_bus_message_unref(m_take);
}

/* One entry; 0: there is none. */
static int entry_next(sd_bus_message *m, const char *entry,
		      int (*fn)(sd_bus_message *m, union buscall_key key, void *user), void *user)
{
	union buscall_key key = { .text = "" };
	const char *contents = NULL;
	char kind = 0;
	int r = sd_bus_message_enter_container(m, 'e', entry);
	if (r <= 0)
		return r;
	r = sd_bus_message_read_basic(m, entry[0], &key);
	if (r >= 0)
		r = fn(m, key, user);
	if (r >= 0 && sd_bus_message_peek_type(m, &kind, &contents) > 0)
		r = sd_bus_message_skip(m, entry + 1);
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	return r < 0 ? r : 1;
}

int buscall_each(sd_bus_message *m, const char *entry, int (*fn)(sd_bus_message *m, union buscall_key key, void *user),
		 void *user)
{
	char type[ENTRY_MAX];
	snprintf(type, sizeof(type), "{%s}", entry);
	int r = sd_bus_message_enter_container(m, 'a', type);
	for (unsigned i = 0; r > 0 && i < ENTRIES_MAX; i++)
		r = entry_next(m, entry, fn, user);
	return r < 0 ? r : sd_bus_message_exit_container(m);
}
