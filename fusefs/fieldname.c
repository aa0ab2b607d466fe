/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/fieldname.h"

#include <string.h>

#include "engine/crdt.h"
#include "engine/sha256.h"
#include "engine/utf8.h"

#define HASH_BYTES 8
#define HASH_LEN (2 + 2 * HASH_BYTES) /* %~ and the digits */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Does a percent sign in front of this look like something else? */
static bool misleading(const char *rest, size_t len)
{
	return (len >= 1 && rest[0] == '~') ||
	       (len >= 2 && digit(rest[0]) >= 0 && digit(rest[1]) >= 0);
}

static bool is(const char *text, size_t len, const char *what)
{
	return len == strlen(what) && memcmp(text, what, len) == 0;
}

/* However long it is. */
static void put_all(struct buf *b, const char *key, size_t len)
{
	if (len == 0)
		buf_puts(b, "%");
	else if (is(key, len, "%"))
		buf_puts(b, "%25");
	else if (is(key, len, ".") || is(key, len, ".."))
		buf_puts(b, len == 1 ? "%2E" : "%2E%2E");
	else
		for (size_t i = 0; i < len; i++) {
			if (key[i] == '/')
				buf_puts(b, "%2F");
			else if (key[i] == '\0')
				buf_puts(b, "%00");
			else if (key[i] == '%' && misleading(key + i + 1, len - i - 1))
				buf_puts(b, "%25");
			else
				buf_u8(b, (uint8_t)key[i]);
		}
}

/* Where a name can be cut, at most at byte `at`: in front of a character. */
static size_t cut(const uint8_t *name, size_t at)
{
	while (at > 0 && (name[at] & 0xc0) == 0x80)
		at--;
	return at;
}

void fieldname_put(struct buf *b, const char *key, size_t len)
{
	size_t start = b->len;
	struct sha256 hash;
	put_all(b, key, len);
	if (buf_failed(b) || b->len - start <= NAME_MAX_BYTES)
		return;
	sha256_of(key, len, &hash);
	b->len = start + cut(b->data + start, NAME_MAX_BYTES - HASH_LEN);
	buf_puts(b, "%~");
	for (unsigned i = 0; i < HASH_BYTES; i++)
		buf_putf(b, "%02x", hash.b[i]);
}

/* As a name says it, whether or not that is how the key is written. */
static void unescape(const char *name, size_t len, struct buf *ret)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '%' && i + 2 < len && digit(name[i + 1]) >= 0 &&
		    digit(name[i + 2]) >= 0) {
			buf_u8(ret, (uint8_t)(digit(name[i + 1]) << 4 | digit(name[i + 2])));
			i += 2;
		} else {
			buf_u8(ret, (uint8_t)name[i]);
		}
	}
}

bool fieldname_key(const char *name, size_t len, struct buf *ret)
{
	_cleanup_(buf_done) struct buf again = { 0 };
	buf_reset(ret);
	if (!is(name, len, "%"))
		unescape(name, len, ret);
	fieldname_put(&again, ret->len ? (char *)ret->data : "", ret->len);
	return !buf_failed(ret) && !buf_failed(&again) && again.len == len &&
	       memcmp(again.data, name, len) == 0 && utf8_valid(ret->data, ret->len);
}

static bool has_hash(const char *name, size_t len)
{
	return len >= HASH_LEN && memcmp(name + len - HASH_LEN, "%~", 2) == 0;
}

struct json *fieldname_find(const struct json *object, const char *name, size_t len)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (fieldname_key(name, len, &b))
		return json_get(object, b.len ? (char *)b.data : "", b.len);
	if (!has_hash(name, len))
		return NULL;
	for (struct json *j = object->first; j; j = j->next) {
		if (3 * j->key_len <= NAME_MAX_BYTES)
			continue;
		buf_reset(&b);
		fieldname_put(&b, j->key, j->key_len);
		if (!buf_failed(&b) && b.len == len && memcmp(b.data, name, len) == 0)
			return j;
	}
	return NULL;
}
