/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/jsonptr.h"

#include <errno.h>
#include <string.h>

void json_pointer_append(struct buf *b, const char *key, size_t len)
{
	buf_u8(b, '/');
	for (size_t i = 0; i < len; i++) {
		if (key[i] == '~')
			buf_put(b, "~0", 2);
		else if (key[i] == '/')
			buf_put(b, "~1", 2);
		else
			buf_put(b, &key[i], 1);
	}
}

void json_pointer_append_index(struct buf *b, size_t i)
{
	buf_putf(b, "/%zu", i);
}

int json_pointer_next(const char **p, size_t *len, struct buf *token, struct err *e)
{
	const char *s = *p, *end = s + *len;
	buf_reset(token);
	if (s == end || *s != '/')
		return err_set(e, -EINVAL, "a JSON pointer is empty or begins with '/'");
	for (s++; s < end && *s != '/'; s++) {
		char c = *s;
		if (c == '~') {
			if (s + 1 == end || (s[1] != '0' && s[1] != '1'))
				return err_set(
					e, -EINVAL,
					"in a JSON pointer '~' stands as '~0', and '/' in a name as '~1'");
			c = *++s == '0' ? '~' : '/';
		}
		buf_put(token, &c, 1);
	}
	if (buf_failed(token))
		return err_set(e, -ENOMEM, "not enough memory");
	*p = s;
	*len = (size_t)(end - s);
	return 0;
}

/* The element an index token names; NULL: it is no index, or there is none. */
static struct json *element(const struct json *array, const char *t, size_t len)
{
	size_t i = 0;
	if (len == 0 || len > 10 || (t[0] == '0' && len > 1))
		return NULL;
	for (size_t k = 0; k < len; k++) {
		if (t[k] < '0' || t[k] > '9')
			return NULL;
		i = i * 10 + (size_t)(t[k] - '0');
	}
	return i < array->count ? json_at(array, i) : NULL;
}

int json_pointer_get(const struct json *root, const char *pointer, size_t len, struct json **ret,
		     struct err *e)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	/* Handed out as it was given; only the way down is const. */
	union {
		const struct json *in;
		struct json *out;
	} v = { .in = root };
	const char *p = pointer;
	while (len > 0) {
		int r = json_pointer_next(&p, &len, &token, e);
		if (r < 0)
			return r;
		const char *t = token.len ? (const char *)token.data : "";
		struct json *child = NULL;
		if (v.in->type == JSON_OBJECT)
			child = json_get(v.in, t, token.len);
		else if (v.in->type == JSON_ARRAY)
			child = element(v.in, t, token.len);
		if (!child) {
			struct err at = { 0 };
			err_set(&at, -ENOENT, "there is no '%.*s': the %s above it has no '%.*s'",
				(int)(p - pointer), pointer, json_type_name(v.in), (int)token.len,
				t);
			/* The rest must be well-formed too: -EINVAL does not depend on the
			 * document. */
			while (len > 0) {
				r = json_pointer_next(&p, &len, &token, e);
				if (r < 0)
					return r;
			}
			return err_set(e, -ENOENT, "%s", at.message);
		}
		v.out = child;
	}
	*ret = v.out;
	return 0;
}
