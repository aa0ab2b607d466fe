/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The encoding, version 1, six bytes:
 *     0  version: 1
 *     1  bits from the lowest: tab, crlf, objects broken, arrays broken, colon_before,
 *        colon_after, item_space, break_space
 *     2  bit 0 object_pad, 1 array_pad, 2-3 empty_object, 4-5 empty_array; 6-7 zero
 *     3  escape flags; bit 7 zero
 *     4  indent, 0 to 32; 0 excludes tab
 *     5  final_newlines */

#include "engine/jsonstyle.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/jsonw.h"

#define STYLE_VERSION 1
#define CONTAINERS_ENOUGH 256 /* to say whether most are broken or inline */

void json_style_default(struct json_style *ret)
{
	*ret = (struct json_style){
		.indent = 2,
		.final_newlines = 1,
		.object_layout = JSON_LAYOUT_BROKEN,
		.array_layout = JSON_LAYOUT_BROKEN,
		.item_space = true,
		.colon_after = true,
	};
}

/* --- detection --------------------------------------------------------------------------- */

/* A property that was seen, and what it was at the first place that showed it. */
struct look {
	bool indent, item, break_space, line_end, colon, object_pad, array_pad, empty_object,
		empty_array;
	unsigned objects[2], arrays[2]; /* inline, broken; neither empty nor inside an inline one */
};

static inline bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The line end that stands first in a container's lexeme; NULL: there is none. */
static const char *look_at_line_end(const struct json *v, const char *text, struct json_style *s,
				    struct look *seen)
{
	const char *p = memchr(text + v->offset, '\n', v->end - v->offset);
	if (p && !seen->line_end) {
		s->crlf = p[-1] == '\r';
		seen->line_end = true;
	}
	return p;
}

static void look_at_empty(const struct json *v, const char *text, struct json_style *s,
			  struct look *seen)
{
	bool object = v->type == JSON_OBJECT,
	     *known = object ? &seen->empty_object : &seen->empty_array;
	if (*known)
		return;
	*known = true;
	const char *p = look_at_line_end(v, text, s, seen);
	uint8_t form = v->end - v->offset == 2 ? JSON_EMPTY_TIGHT : JSON_EMPTY_SPACE;
	if (p)
		form = memchr(p + 1, '\n', (size_t)(text + v->end - p - 1)) ? JSON_EMPTY_BLANK
									    : JSON_EMPTY_BROKEN;
	*(object ? &s->empty_object : &s->empty_array) = form;
}

/* The first broken container in document order: nothing around it is broken, so the space
 * before its first child is one level. */
static void look_at_break(const struct json *v, const char *text, struct json_style *s,
			  struct look *seen)
{
	const char *p = look_at_line_end(v, text, s, seen);
	assert(p);
	const char *line = ++p;
	while (*p == *line && (*p == ' ' || *p == '\t') && p - line < JSON_STYLE_INDENT_MAX)
		p++;
	s->indent = (uint8_t)(p - line);
	s->tab = p > line && *line == '\t';
}

static void look_at(const struct json *v, const char *text, struct json_style *s, struct look *seen)
{
	bool object = v->type == JSON_OBJECT;
	const struct json *c = v->first;
	if (!c) {
		look_at_empty(v, text, s, seen);
		return;
	}
	bool broken = v->layout == JSON_LAYOUT_BROKEN;
	if (broken || !v->parent || v->parent->layout == JSON_LAYOUT_BROKEN)
		(object ? seen->objects : seen->arrays)[broken]++;
	if (object && !seen->colon) {
		const char *p = text + c->offset;
		s->colon_after = p[-1] == ' ';
		while (*--p != ':')
			;
		s->colon_before = p[-1] == ' ';
		seen->colon = true;
	}
	/* The value is in a container: there is always a byte behind it, and behind a comma. */
	const char *behind = text + c->end;
	if (broken) {
		if (!seen->indent)
			look_at_break(v, text, s, seen);
		seen->indent = true;
		if (c->next && !seen->break_space) {
			s->break_space = behind[0] == ',' && behind[1] == ' ';
			seen->break_space = true;
		}
	} else {
		if (c->next && !seen->item) {
			s->item_space = is_space(behind[1]);
			seen->item = true;
		}
		bool *known = object ? &seen->object_pad : &seen->array_pad;
		if (!*known)
			*(object ? &s->object_pad : &s->array_pad) = text[v->offset + 1] == ' ';
		*known = true;
	}
}

static const struct json *next_in_order(const struct json *v, const struct json *top)
{
	if (v->first)
		return v->first;
	while (v != top && !v->next)
		v = v->parent;
	return v == top ? NULL : v->next;
}

static bool has_raw_slash(const char *p, const char *end)
{
	for (const char *q = p; (q = memchr(q, '/', (size_t)(end - q))); q++)
		if (q > p && q[-1] != '\\')
			return true;
	return false;
}

static bool has_byte(const char *p, const char *end, char c)
{
	return memchr(p, c, (size_t)(end - p)) != NULL;
}

static bool has_beyond_ascii(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		if (v & UINT64_C(0x8080808080808080))
			return true;
	}
	while (p < end)
		if (*p++ & 0x80)
			return true;
	return false;
}

static unsigned hex_value(const char *p, bool *lower, bool *upper)
{
	unsigned v = 0;
	for (int i = 0; i < 4; i++) {
		unsigned d = (uint8_t)p[i];
		*upper |= d >= 'A' && d <= 'F';
		*lower |= d >= 'a';
		v = v << 4 | (d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
	}
	return v;
}

/* A backslash stands nowhere but in strings, so the tree is not needed. An escape that could be
 * omitted makes a rule only if the same character is nowhere written as it is: a document
 * in Greek with one \u00a0 is not to be escaped all over. */
static uint8_t detect_escapes(const char *p, const char *end)
{
	unsigned e = 0;
	bool lower = false, upper = false, short_bf = false;
	for (const char *q = p; (q = memchr(q, '\\', (size_t)(end - q)));) {
		char c = q[1];
		if (c == '/')
			e |= JSON_ESCAPE_SLASH;
		short_bf |= c == 'b' || c == 'f';
		if (c != 'u') {
			q += 2;
			continue;
		}
		unsigned u = hex_value(q + 2, &lower, &upper);
		if (u == '<' || u == '>' || u == '&')
			e |= JSON_ESCAPE_HTML;
		else if (u == 0x08 || u == 0x0c)
			e |= JSON_ESCAPE_LONG_BF;
		else if (u == 0x7f)
			e |= JSON_ESCAPE_DEL;
		else if (u == 0x2028 || u == 0x2029)
			e |= JSON_ESCAPE_LINES;
		else if (u >= 0x80)
			e |= JSON_ESCAPE_ASCII;
		q += 6;
	}
	if (upper && !lower)
		e |= JSON_ESCAPE_UPPER;
	if (short_bf)
		e &= ~(unsigned)JSON_ESCAPE_LONG_BF;
	if ((e & JSON_ESCAPE_SLASH) && has_raw_slash(p, end))
		e &= ~(unsigned)JSON_ESCAPE_SLASH;
	if ((e & JSON_ESCAPE_HTML) &&
	    (has_byte(p, end, '<') || has_byte(p, end, '>') || has_byte(p, end, '&')))
		e &= ~(unsigned)JSON_ESCAPE_HTML;
	if ((e & JSON_ESCAPE_ASCII) && has_beyond_ascii(p, end))
		e &= ~(unsigned)JSON_ESCAPE_ASCII;
	else if (e & JSON_ESCAPE_ASCII)
		e &= ~(unsigned)JSON_ESCAPE_LINES; /* goes without saying */
	if ((e & (JSON_ESCAPE_ASCII | JSON_ESCAPE_DEL)) && has_byte(p, end, 0x7f))
		e &= ~(unsigned)JSON_ESCAPE_DEL;
	else if (e & JSON_ESCAPE_ASCII)
		e |= JSON_ESCAPE_DEL; /* Python and jq do */
	return (uint8_t)e;
}

static uint8_t majority(const unsigned n[2], uint8_t otherwise)
{
	if (n[0] + n[1] == 0)
		return otherwise;
	return n[1] >= n[0] ? JSON_LAYOUT_BROKEN : JSON_LAYOUT_INLINE;
}

static void detect_end(const struct json *root, const char *text, size_t len, struct json_style *s,
		       bool line_end)
{
	const char *p = text + root->end, *end = text + len;
	if (!line_end)
		s->crlf = end - p >= 2 && p[0] == '\r' && p[1] == '\n';
	unsigned n = 0;
	while (p < end && n < UINT8_MAX) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			break;
		n++;
		p++;
	}
	s->final_newlines = (uint8_t)n;
}

void json_style_detect(const struct json *root, const char *text, size_t len,
		       struct json_style *ret)
{
	struct json_style s = { 0 };
	struct look seen = { 0 };
	unsigned n = 0;
	for (const struct json *v = root; v; v = next_in_order(v, root))
		if (json_is_container(v)) {
			look_at(v, text, &s, &seen);
			if (++n >= CONTAINERS_ENOUGH && seen.indent && seen.item && seen.colon &&
			    seen.object_pad && seen.array_pad)
				break;
		}

	bool any = seen.objects[0] + seen.objects[1] + seen.arrays[0] + seen.arrays[1] > 0;
	if (!seen.indent && !any)
		s.indent = 2;
	s.object_layout = majority(seen.objects, majority(seen.arrays, JSON_LAYOUT_BROKEN));
	s.array_layout = majority(seen.arrays, s.object_layout);
	if (!seen.colon)
		s.colon_after = seen.item ? s.item_space : true;
	if (!seen.item)
		s.item_space = s.colon_after;
	if (!seen.object_pad)
		s.object_pad = s.array_pad;
	if (!seen.empty_object)
		s.empty_object = s.empty_array;
	if (!seen.empty_array)
		s.empty_array = s.empty_object;
	if (root->flags & JSON_STYLED_ESCAPE)
		s.escape = detect_escapes(text + root->offset, text + root->end);
	detect_end(root, text, len, &s, seen.line_end);
	*ret = s;
}

/* --- writing ----------------------------------------------------------------------------- */

static void put_line_end(struct buf *b, const struct json_style *s)
{
	buf_put(b, s->crlf ? "\r\n" : "\n", s->crlf ? 2 : 1);
}

static void put_break(struct buf *b, const struct json_style *s, size_t level)
{
	put_line_end(b, s);
	size_t n = level * s->indent;
	uint8_t *p = buf_reserve(b, n);
	if (!p)
		return;
	memset(p, s->tab ? '\t' : ' ', n);
	b->len += n;
}

static void put_leaf(struct buf *b, const struct json *v, const struct json_style *s)
{
	switch ((enum json_type)v->type) {
	case JSON_NULL:
		buf_put(b, "null", 4);
		break;
	case JSON_FALSE:
		buf_put(b, "false", 5);
		break;
	case JSON_TRUE:
		buf_put(b, "true", 4);
		break;
	case JSON_NUMBER:
		buf_put(b, v->text, v->len);
		break;
	case JSON_STRING:
		json_write_string(b, v->text, v->len, s->escape);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		buf_put(b, v->text, v->len);
		break; /* JSON_RAW */
	}
}

static void put_empty(struct buf *b, const struct json *v, const struct json_style *s, size_t level)
{
	bool object = v->type == JSON_OBJECT;
	uint8_t form = object ? s->empty_object : s->empty_array;
	buf_u8(b, object ? '{' : '[');
	if (form == JSON_EMPTY_SPACE)
		buf_u8(b, ' ');
	if (form == JSON_EMPTY_BLANK)
		put_line_end(b, s);
	if (form >= JSON_EMPTY_BROKEN)
		put_break(b, s, level);
	buf_u8(b, object ? '}' : ']');
}

static void put_key(struct buf *b, const struct json *v, const struct json_style *s)
{
	json_write_string(b, v->key, v->key_len, s->escape);
	char t[3];
	size_t n = 0;
	if (s->colon_before)
		t[n++] = ' ';
	t[n++] = ':';
	if (s->colon_after)
		t[n++] = ' ';
	buf_put(b, t, n);
}

/* Is the container v, inside of one that is inline or not, broken into lines? */
static bool is_broken(const struct json *v, const struct json_style *s, bool inside_inline)
{
	uint8_t layout = v->layout;
	if (layout == JSON_LAYOUT_AUTO && inside_inline)
		layout = JSON_LAYOUT_INLINE;
	else if (layout == JSON_LAYOUT_AUTO)
		layout = v->type == JSON_OBJECT ? s->object_layout : s->array_layout;
	return layout == JSON_LAYOUT_BROKEN;
}

void json_style_write_value(const struct json *top, const struct json_style *s, unsigned top_level,
			    struct buf *b)
{
	/* A byte for each open container: is it broken? */
	_cleanup_(buf_done) struct buf open = { 0 };
	size_t level = top_level;
	const struct json *v = top;
	for (;;) {
		if (!json_is_container(v) || (v->flags & JSON_RAW)) {
			put_leaf(b, v, s);
		} else if (!v->first) {
			put_empty(b, v, s, level);
		} else {
			bool object = v->type == JSON_OBJECT;
			bool broken = is_broken(v, s, open.len && !open.data[open.len - 1]);
			buf_u8(&open, broken);
			if (buf_failed(&open)) {
				b->failed = true;
				return;
			}
			level += broken;
			buf_u8(b, object ? '{' : '[');
			if (broken)
				put_break(b, s, level);
			else if (object ? s->object_pad : s->array_pad)
				buf_u8(b, ' ');
			v = v->first;
			if (object)
				put_key(b, v, s);
			continue;
		}
		/* v is written: close what it ends, then on to the next. */
		while (v != top && !v->next) {
			v = v->parent;
			bool object = v->type == JSON_OBJECT, broken = open.data[--open.len];
			level -= broken;
			if (broken)
				put_break(b, s, level);
			else if (object ? s->object_pad : s->array_pad)
				buf_u8(b, ' ');
			buf_u8(b, object ? '}' : ']');
		}
		if (v == top)
			return;
		bool broken = open.data[open.len - 1];
		buf_put(b, ", ", (broken ? s->break_space : s->item_space) ? 2 : 1);
		if (broken)
			put_break(b, s, level);
		v = v->next;
		if (v->parent->type == JSON_OBJECT)
			put_key(b, v, s);
	}
}

void json_style_write(const struct json *root, const struct json_style *s, struct buf *b)
{
	json_style_write_value(root, s, 0, b);
	for (unsigned i = 0; i < s->final_newlines; i++)
		put_line_end(b, s);
}

/* --- encoding ---------------------------------------------------------------------------- */

void json_style_encode(const struct json_style *s, struct buf *b)
{
	assert(s->indent <= JSON_STYLE_INDENT_MAX && (s->indent || !s->tab));
	assert(s->empty_object <= JSON_EMPTY_BLANK && s->empty_array <= JSON_EMPTY_BLANK);
	assert(s->escape <= JSON_ESCAPE_ALL);
	unsigned flags = (unsigned)s->tab | (unsigned)s->crlf << 1 |
			 (unsigned)(s->object_layout == JSON_LAYOUT_BROKEN) << 2 |
			 (unsigned)(s->array_layout == JSON_LAYOUT_BROKEN) << 3 |
			 (unsigned)s->colon_before << 4 | (unsigned)s->colon_after << 5 |
			 (unsigned)s->item_space << 6 | (unsigned)s->break_space << 7;
	unsigned forms = (unsigned)s->object_pad | (unsigned)s->array_pad << 1 |
			 (unsigned)s->empty_object << 2 | (unsigned)s->empty_array << 4;
	buf_u8(b, STYLE_VERSION);
	buf_u8(b, (uint8_t)flags);
	buf_u8(b, (uint8_t)forms);
	buf_u8(b, s->escape);
	buf_u8(b, s->indent);
	buf_u8(b, s->final_newlines);
}

int json_style_decode(const void *data, size_t len, struct json_style *ret)
{
	const uint8_t *p = data;
	if (len == 0)
		return -EINVAL;
	if (p[0] != STYLE_VERSION)
		return -ENOTSUP;
	if (len != JSON_STYLE_SIZE)
		return -EINVAL;
	struct json_style s = {
		.tab = p[1] & 1,
		.crlf = p[1] >> 1 & 1,
		.object_layout = p[1] & 4 ? JSON_LAYOUT_BROKEN : JSON_LAYOUT_INLINE,
		.array_layout = p[1] & 8 ? JSON_LAYOUT_BROKEN : JSON_LAYOUT_INLINE,
		.colon_before = p[1] >> 4 & 1,
		.colon_after = p[1] >> 5 & 1,
		.item_space = p[1] >> 6 & 1,
		.break_space = p[1] >> 7 & 1,
		.object_pad = p[2] & 1,
		.array_pad = p[2] >> 1 & 1,
		.empty_object = p[2] >> 2 & 3,
		.empty_array = p[2] >> 4 & 3,
		.escape = p[3],
		.indent = p[4],
		.final_newlines = p[5],
	};
	if (p[2] >> 6 || s.escape > JSON_ESCAPE_ALL || s.indent > JSON_STYLE_INDENT_MAX ||
	    (s.tab && !s.indent))
		return -EINVAL;
	*ret = s;
	return 0;
}

/* --- compact --- */

static void forget_layout(struct json *v)
{
	const struct json *top = v;
	for (;;) {
		v->layout = JSON_LAYOUT_AUTO;
		v->flags &= (uint16_t)~JSON_RAW;
		if (v->first) {
			v = v->first;
			continue;
		}
		while (v != top && !v->next)
			v = v->parent;
		if (v == top)
			return;
		v = v->next;
	}
}

void json_style_write_compact(struct json *v, struct buf *b)
{
	static const struct json_style tight = { .object_layout = JSON_LAYOUT_INLINE,
						 .array_layout = JSON_LAYOUT_INLINE };
	forget_layout(v);
	json_style_write_value(v, &tight, 0, b);
}
