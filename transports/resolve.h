/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Names to addresses without holding up the loop.
 *
 * getaddrinfo(3) has no way to be asked in parts, so each lookup of a name runs in a thread
 * of its own that touches nothing but the lookup's own memory; the result comes back over
 * an eventfd. Literals need no thread. Of the sd-event thread. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "transports/address.h"

#define RESOLVE_MAX 8 /* addresses that are kept of an answer */

struct resolve;

/* n addresses (borrowed), or n = 0 and why. The callback may call resolve_free. */
typedef void resolve_fn(const struct address *a, unsigned n, const struct err *why, void *user);

/* host: literal (also with %scope) or name. The callback comes once, from the loop. */
int resolve_new(sd_event *event, const char *host, uint16_t port, resolve_fn *fn, void *user,
		struct resolve **ret, struct err *e);
void resolve_free(struct resolve *r); /* no callback any more; a thread is left to end alone */
DEFINE_CLEANUP(struct resolve *, resolve_free)
