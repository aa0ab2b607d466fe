/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A connection to the system bus that is made anew when the bus restarts, or comes late. Of the sd-event thread; nothing
 * waits. */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"

struct systembus;

struct systembus_handler {
	/* There is a bus, attached to the loop: what is wanted of it is asked for now. -errno: it is of no use, and another
	 * connection is tried later; what was got of it is given up by down. */
	int (*up)(sd_bus *bus, void *user);
	/* It has gone: every slot of it is to be given up in here. What was called and not answered has failed. */
	void (*down)(void *user);
};

/* up may be called before this returns. -ENOMEM. */
int systembus_new(sd_event *event, const struct systembus_handler *handler, void *user, struct systembus **ret);
/* Sends what is still to be sent, and closes; down is not called. The slots are the caller's to give up, before. NULL:
 * nothing. */
void systembus_free(struct systembus *b);
