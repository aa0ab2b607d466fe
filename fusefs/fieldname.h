/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Keys of a document as names of files. Any key has one name, and no two keys of an object have the
 * same: the key itself, but
 *
 *   a slash, a NUL         %2F, %00
 *   the keys . and ..      %2E, %2E%2E
 *   the empty key          %
 *   a percent sign         %25, where what follows it would make it look like one of these: two of
 *                          0-9A-F, or a ~, or nothing and it is all of the key
 *   what is longer than    its beginning, %~ and sixteen hexadecimal digits of the key's SHA-256
 *   255 bytes then */

#include "engine/buf.h"
#include "engine/json.h"

/* Appends the name of a key. */
void fieldname_put(struct buf *b, const char *key, size_t len);
/* The key that has the name; ret is reset. False: no key has, or only its hash is known. */
bool fieldname_key(const char *name, size_t len, struct buf *ret);
/* The member that has the name in an object; NULL: none. */
struct json *fieldname_find(const struct json *object, const char *name, size_t len);
