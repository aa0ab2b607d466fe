/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Points in time as people and scripts write them: RFC 3339, as of 2026-11-27T10:00:00Z, with fractions
 * of a second and offsets; less than that, 2026-11-27T10:00 and 2026-11-27 (its beginning), in both
 * cases in local time if there is no zone; and @SECONDS since 1970, as date(1) takes and gives. */

#include <stdint.h>

/* Microseconds since 1970. -EINVAL: it is none, or before 1970. */
int when_parse(const char *text, uint64_t *ret_us);
