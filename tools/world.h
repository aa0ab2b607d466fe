/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The engine's outside world on a real machine: clocks, randomness, a store on disk. */

#include <stdint.h>

#include "engine/replica.h"
#include "tools/storedir.h"
#include "transports/identity.h"

uint64_t world_wall_us(void); /* CLOCK_REALTIME, microseconds since 1970 */
uint64_t world_boot_us(void); /* CLOCK_BOOTTIME */
uint64_t world_awake_us(void); /* CLOCK_MONOTONIC: the same without what the machine slept */

/* Opens what is in the directory, which must be locked, and renews its fence: a copy goes on as a new
 * incarnation (replica_renewals). All three are the caller's to free, the
 * replica first. Untouched on failure. */
int world_open(struct storedir *dir, struct identity **ret_identity, struct store **ret_store,
	       struct replica **ret_replica, struct err *e);
