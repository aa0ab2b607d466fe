/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Devices of a mesh made without a network, for tests of the transports. */

#include <stdint.h>

#include "engine/err.h"
#include "transports/identity.h"

/* A new device, certified by `by` at the time now (which may be any year), stored in dir
 * and opened; NULL with e filled. The caller frees it. */
struct identity *member_new(const struct identity *by, const char *dir, const char *name,
			    enum role role, int64_t now, struct err *e);
