/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* JSON Pointer, RFC 6901: "" is the whole document, "/a/0" the first element of its member a;
 * in a token ~1 stands for / and ~0 for ~. Any thread. */

#include <stddef.h>

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"

/* Appends "/" and the name as one escaped token: builds a pointer from the root down. */
void json_pointer_append(struct buf *b, const char *key, size_t len);

/* Appends "/" and an array index. */
void json_pointer_append_index(struct buf *b, size_t i);

/* Takes the first token off the pointer *p (len *len), which must not be empty, and puts it
 * unescaped into token (which is reset). 0, or -EINVAL: it does not begin with '/', or has a '~'
 * not followed by 0 or 1 (e says so); -ENOMEM. */
int json_pointer_next(const char **p, size_t *len, struct buf *token, struct err *e);

/* The value of that place in the tree. -EINVAL: no JSON pointer; -ENOENT: no such place, the
 * message says which part is missing; -ENOMEM. An array index has no leading zeros; "-" names no
 * existing element. *ret points into the tree. */
int json_pointer_get(const struct json *root, const char *pointer, size_t len, struct json **ret,
		     struct err *e);
