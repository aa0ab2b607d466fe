/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Base64 (RFC 4648, section 4), for bytes inside of JSON. */

#include "engine/buf.h"

void base64_encode(const void *data, size_t len, struct buf *out);
/* Appends the bytes; -EBADMSG for anything but what base64_encode writes. */
int base64_decode(const char *text, size_t len, struct buf *out);
