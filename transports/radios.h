/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the kernel says of radios while the daemon runs: which are blocked (rfkill), and that Wi-Fi radios or their
 * interfaces came or went (nl80211). Nothing is said where there are none. Of the sd-event thread; the kernel answers at
 * once. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"

struct radios;

/* Something changed: whoever uses radios looks again. From the loop, once after a swarm of changes. */
typedef void radios_fn(void *user);

/* root: "", or where tests keep a dev/rfkill of theirs. */
int radios_new(sd_event *event, const char *root, radios_fn *fn, void *user, struct radios **ret, struct err *e);
void radios_free(struct radios *r);
DEFINE_CLEANUP(struct radios *, radios_free)

enum radios_kind { RADIOS_WIFI, RADIOS_BLUETOOTH };
/* There are some of the kind, and all are blocked, by a program or a switch. */
bool radios_blocked(const struct radios *r, enum radios_kind kind);
