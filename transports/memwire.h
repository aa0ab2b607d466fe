/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A pair of wires in memory, as bad as a test wants them: short reads, delay, packets, a
 * full buffer, a cut at a given byte. What arrives arrives in order; loss on a real
 * transport shows as delay and cuts, which is what a byte stream's user sees of it. */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "transports/wire.h"

struct memwire_faults {
	uint64_t seed;     /* of the lengths of short reads and writes */
	size_t mtu;        /* 0: a stream */
	size_t capacity;   /* bytes under way in each direction, 0: 64 KiB */
	size_t chunk;      /* streams: reads and writes give 1..chunk bytes, 0: all there is */
	uint64_t delay_us; /* before bytes can be read */
	uint64_t cut_at;   /* breaks both directions once so many bytes were written in
	                    * sum; 0: never */
};

/* Makes both ends; each is freed on its own by wire_free. faults is copied. */
int memwire_pair(sd_event *event, const struct memwire_faults *faults, struct wire *ret[static 2]);
