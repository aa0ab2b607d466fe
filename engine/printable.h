/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Text that can stand in a terminal and in a line of a log. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Valid UTF-8 without control characters and without those that reorder or hide text. */
bool printable(const uint8_t *text, size_t len);
