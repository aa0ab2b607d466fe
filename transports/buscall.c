/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/buscall.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#define TIMEOUT_US ((uint64_t)20 * 1000000)

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
