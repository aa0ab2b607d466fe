/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/jsonw.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

/* --- strings ----------------------------------------------------------------------------- */

static void put_u(struct buf *b, uint32_t c, unsigned escape)
{
	const char *hex = escape & JSON_ESCAPE_UPPER ? "0123456789ABCDEF" : "0123456789abcdef";
	char t[6] = {
		'\\', 'u', hex[c >> 12 & 15], hex[c >> 8 & 15], hex[c >> 4 & 15], hex[c & 15]
	};
	buf_put(b, t, sizeof(t));
}

/* What is written instead of a special ASCII character: 'u' \uxxxx, else a backslash and that
 * character. */
static char ascii_escape(uint8_t c, unsigned escape)
{
	switch (c) {
	case '"':
	case '\\':
	case '/':
		return (char)c;
	case '\b':
		return escape & JSON_ESCAPE_LONG_BF ? 'u' : 'b';
	case '\f':
		return escape & JSON_ESCAPE_LONG_BF ? 'u' : 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return 'u';
	}
}

#define ALWAYS 0x80u

/* For each byte, the escape flags under which it is not simply copied. */
static const uint8_t special[256] = {
	[0x00 ... 0x1f] = ALWAYS,  ['"'] = ALWAYS,
	['\\'] = ALWAYS,           [0x80 ... 0xff] = ALWAYS,
	['/'] = JSON_ESCAPE_SLASH, [0x7f] = JSON_ESCAPE_DEL,
	['<'] = JSON_ESCAPE_HTML,  ['>'] = JSON_ESCAPE_HTML,
	['&'] = JSON_ESCAPE_HTML,
};

/* Writes the special ASCII character c. */
static void put_ascii(struct buf *b, uint8_t c, unsigned escape)
{
	char x = ascii_escape(c, escape);
	if (x == 'u') {
		put_u(b, c, escape);
	} else {
		char t[2] = { '\\', x };
		buf_put(b, t, 2);
	}
}

/* Writes what stands at p beyond ASCII; returns how many bytes it took. */
static size_t put_beyond(struct buf *b, const uint8_t *p, const uint8_t *end, unsigned escape)
{
	size_t n = utf8_sequence(p, end);
	uint32_t c = n ? utf8_decode(p, n) : 0xfffd;
	bool line = (c | 1) == 0x2029 && (escape & JSON_ESCAPE_LINES);
	if (!line && !(escape & JSON_ESCAPE_ASCII)) {
		buf_put(b, n ? (const void *)p : "\xef\xbf\xbd", n ? n : 3);
	} else if (c < 0x10000) {
		put_u(b, c, escape);
	} else {
		put_u(b, 0xd800 + ((c - 0x10000) >> 10), escape);
		put_u(b, 0xdc00 + ((c - 0x10000) & 0x3ff), escape);
	}
	return n ? n : 1;
}

void json_write_string(struct buf *b, const char *text, size_t len, unsigned escape)
{
	const unsigned mask = (escape & JSON_ESCAPE_ALL) | ALWAYS;
	const uint8_t *p = (const uint8_t *)text, *end = len ? p + len : p;
	while (p < end && !(special[*p] & mask))
		p++;
	size_t plain = (size_t)(p - (const uint8_t *)text);
	uint8_t *o = buf_reserve(b, len + 2);
	if (!o)
		return;
	*o = '"';
	if (plain)
		memcpy(o + 1, text, plain);
	b->len += 1 + plain;
	while (p < end) {
		if (*p < 0x80)
			put_ascii(b, *p++, escape);
		else
			p += put_beyond(b, p, end, escape);
		const uint8_t *run = p;
		while (p < end && !(special[*p] & mask))
			p++;
		buf_put(b, run, (size_t)(p - run));
	}
	buf_u8(b, '"');
}

/* --- the stream -------------------------------------------------------------------------- */

void jsonw_init(struct jsonw *w, struct buf *b, unsigned indent)
{
	*w = (struct jsonw){ .b = b, .indent = indent };
}

void jsonw_end(_unused_ struct jsonw *w)
{
	assert(w->depth == 0 && w->any && !w->key);
}

static bool in_object(const struct jsonw *w)
{
	unsigned i = w->depth - 1;
	return w->depth > 0 && (w->object[i / 8] >> i % 8 & 1);
}

static void break_line(struct jsonw *w)
{
	if (w->indent == 0)
		return;
	buf_u8(w->b, '\n');
	size_t n = (size_t)w->depth * w->indent;
	uint8_t *p = buf_reserve(w->b, n);
	if (!p)
		return;
	memset(p, ' ', n);
	w->b->len += n;
}

/* Before an element or a name. */
static void separate(struct jsonw *w)
{
	if (w->depth == 0) {
		assert(!w->any);
	} else {
		if (w->any)
			buf_u8(w->b, ',');
		break_line(w);
	}
	w->any = true;
}

static void before_value(struct jsonw *w)
{
	if (in_object(w)) {
		assert(w->key);
		w->key = false;
	} else {
		separate(w);
	}
}

static void begin(struct jsonw *w, char bracket, bool object)
{
	before_value(w);
	assert(w->depth < JSONW_DEPTH_MAX);
	unsigned i = w->depth++;
	w->object[i / 8] =
		(uint8_t)((w->object[i / 8] & ~(1u << i % 8)) | (unsigned)object << i % 8);
	w->any = false;
	buf_u8(w->b, (uint8_t)bracket);
}

static void end(struct jsonw *w, char bracket, _unused_ bool object)
{
	assert(w->depth > 0 && in_object(w) == object && !w->key);
	w->depth--;
	if (w->any)
		break_line(w);
	w->any = true;
	buf_u8(w->b, (uint8_t)bracket);
}

void jsonw_object_begin(struct jsonw *w)
{
	begin(w, '{', true);
}

void jsonw_object_end(struct jsonw *w)
{
	end(w, '}', true);
}

void jsonw_array_begin(struct jsonw *w)
{
	begin(w, '[', false);
}

void jsonw_array_end(struct jsonw *w)
{
	end(w, ']', false);
}

void jsonw_key_n(struct jsonw *w, const char *key, size_t len)
{
	assert(in_object(w) && !w->key);
	separate(w);
	json_write_string(w->b, key, len, w->escape);
	buf_put(w->b, ": ", w->indent ? 2 : 1);
	w->key = true;
}

void jsonw_key(struct jsonw *w, const char *key)
{
	jsonw_key_n(w, key, strlen(key));
}

void jsonw_string_n(struct jsonw *w, const char *text, size_t len)
{
	before_value(w);
	json_write_string(w->b, text, len, w->escape);
}

void jsonw_string(struct jsonw *w, const char *text)
{
	if (text)
		jsonw_string_n(w, text, strlen(text));
	else
		jsonw_null(w);
}

void jsonw_raw(struct jsonw *w, const char *lexeme, size_t len)
{
	assert(len > 0);
	before_value(w);
	buf_put(w->b, lexeme, len);
}

void jsonw_int(struct jsonw *w, int64_t v)
{
	before_value(w);
	buf_putf(w->b, "%" PRId64, v);
}

void jsonw_uint(struct jsonw *w, uint64_t v)
{
	before_value(w);
	buf_putf(w->b, "%" PRIu64, v);
}

void jsonw_double(struct jsonw *w, double v)
{
	if (!isfinite(v)) {
		jsonw_null(w);
		return;
	}
	char t[40];
	for (int precision = 15; precision <= 17; precision++) {
		snprintf(t, sizeof(t), "%.*g", precision, v);
		if (strtod(t, NULL) == v)
			break;
	}
	for (char *p = t; *p; p++) /* whatever the locale's decimal point is */
		if (!strchr("0123456789-+e", *p))
			*p = '.';
	jsonw_raw(w, t, strlen(t));
}

void jsonw_bool(struct jsonw *w, bool v)
{
	before_value(w);
	buf_puts(w->b, v ? "true" : "false");
}

void jsonw_null(struct jsonw *w)
{
	before_value(w);
	buf_puts(w->b, "null");
}
