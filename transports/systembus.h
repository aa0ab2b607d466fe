/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A connection to the system bus, made anew when the bus restarts or comes late, for the sake of one service on it, which
 * may come and go, too, and is never started. Of the sd-event thread; nothing waits. */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"

struct systembus;

struct systembus_handler {
	/* There is a bus, attached to the loop: now is the time for matches. -errno: it is of no use, and another connection
	 * is tried later; what was got of it is given up by down. */
	int (*up)(sd_bus *bus, void *user);
	/* It has gone: every slot of it is to be given up in here. What was called and not answered has failed. */
	void (*down)(void *user);
	/* The service runs, or does not any more; of one that is replaced the new one is told. Not before up, nor when the
	 * bus goes. */
	void (*service)(bool here, void *user);
};

/* service: its name. up may be called before this returns. -ENOMEM. */
int systembus_new(sd_event *event, const char *service, const struct systembus_handler *handler, void *user, struct systembus **ret);
/* Sends what is still to be sent, and closes; down is not called. The slots are the caller's to give up, before. NULL:
 * nothing. */
void systembus_free(struct systembus *b);
