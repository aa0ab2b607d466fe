/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Calls to services of the system bus that never wait, and never start a service that does not run. */

#include <stdint.h>
#include <systemd/sd-bus.h>

/* NULL: no memory. */
sd_bus_message *buscall_new(sd_bus *bus, const char *service, const char *path, const char *interface,
			    const char *member);
/* Sends m (which it takes; NULL: -ENOMEM) and calls fn with the answer, within 20 s; what *slot held is given up. */
int buscall_send(sd_bus *bus, sd_bus_slot **slot, sd_bus_message *m_take, sd_bus_message_handler_t fn, void *user);
/* The same of a call whose outcome changes nothing. */
void buscall_only(sd_bus *bus, sd_bus_message *m_take);
/* Walks through a dictionary whose entries are of type entry, "sv" or "qv" or "sa{sv}" or the like: fn gets each key and
 * stands before its value, which it reads as a whole or leaves. Negative: what fn said, or the message is another one. */
union buscall_key {
	const char *text; /* of the message's */
	uint16_t number;
};
int buscall_each(sd_bus_message *m, const char *entry, int (*fn)(sd_bus_message *m, union buscall_key key, void *user),
		 void *user);
/* Gives up what it holds: no answer comes. */
void buscall_drop(sd_bus_slot **slot);
