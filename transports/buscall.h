/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Calls to services of the system bus that never wait, and never start a service that does not run. */

#include <systemd/sd-bus.h>

/* NULL: no memory. */
sd_bus_message *buscall_new(sd_bus *bus, const char *service, const char *path, const char *interface,
			    const char *member);
/* Sends m (which it takes; NULL: -ENOMEM) and calls fn with the answer, within 20 s; what *slot held is given up. */
int buscall_send(sd_bus *bus, sd_bus_slot **slot, sd_bus_message *m_take, sd_bus_message_handler_t fn, void *user);
/* The same of a call whose outcome changes nothing. */
void buscall_only(sd_bus *bus, sd_bus_message *m_take);
/* Gives up what it holds: no answer comes. */
void buscall_drop(sd_bus_slot **slot);
