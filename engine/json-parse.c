/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The parser is one loop over the text with two labels that matter, "a value is expected" and
 * "a value has ended"; the open containers are the chain of parent pointers from the innermost
 * one, so that depth costs no C stack. Long runs (plain characters of strings, indentation)
 * are skipped 16 bytes at a time with SSE2, else 8 at a time in a general register. What is
 * rare leaves the loop: escapes, characters beyond ASCII, every error. */

#include "engine/json.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "engine/jsonindex.h"
#include "engine/utf8.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct parser {
	struct arena *arena;
	const uint8_t *text;
	const uint8_t *end;
	struct err *e;
	int code;       /* of the failure */
	uint32_t flags; /* JSON_STYLED_ESCAPE once there was one */
};

/* --- errors ------------------------------------------------------------------------------ */

static void place(const uint8_t *text, const uint8_t *at, uint32_t *line, uint32_t *column)
{
	*line = *column = 1;
	for (const uint8_t *p = text; p < at; p++) {
		if (*p == '\n') {
			(*line)++;
			*column = 1;
		} else if ((*p & 0xc0) != 0x80) {
			(*column)++;
		}
	}
}

/* Ends the parse at a place in the text. Returns NULL, for `return fail(...)`. */
static const uint8_t *_printf_(4, 5)
	fail(struct parser *s, int code, const uint8_t *at, const char *fmt, ...)
{
	s->code = code;
	if (!s->e)
		return NULL;
	char message[sizeof(s->e->message)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	err_set(s->e, code, "%s", message);
	place(s->text, at, &s->e->line, &s->e->column);
	s->e->offset = (uint64_t)(at - s->text);
	return NULL;
}

static bool is_word(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '$';
}

/* What stands at p, for the second half of a message. Always valid UTF-8 on one line. */
static const char *found(const struct parser *s, const uint8_t *p, char out[static 64])
{
	if (p >= s->end)
		return "the end of the document";
	size_t n = 0;
	while (n < 24 && p + n < s->end && is_word(p[n]))
		n++;
	if (n > 1)
		snprintf(out, 64, "'%.*s'%s", (int)n, (const char *)p, n == 24 ? "..." : "");
	else if (*p == '\n' || *p == '\r')
		return "a line break";
	else if (*p == '\t')
		return "a tab";
	else if (*p == '\'')
		return "a single quote";
	else if (*p < 0x20 || *p == 0x7f)
		snprintf(out, 64, "the control character U+%04X", *p);
	else if (*p < 0x80)
		snprintf(out, 64, "'%c'", *p);
	else if ((n = utf8_sequence(p, s->end)) > 0)
		snprintf(out, 64, "'%.*s'", (int)n, (const char *)p);
	else
		snprintf(out, 64, "the byte 0x%02x, which is not UTF-8", *p);
	return out;
}

static const uint8_t *fail_expected(struct parser *s, const uint8_t *at, const char *expected)
{
	char text[64];
	return fail(s, -EINVAL, at, "expected %s, found %s", expected, found(s, at, text));
}

/* --- runs -------------------------------------------------------------------------------- */

/* The first byte that ends a run of plain string characters: a quote, a backslash, below
 * 0x20 or from 0x80 up; or end. */
static inline const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
	const __m128i space = _mm_set1_epi8(0x20);
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* As signed bytes, both what is below 0x20 and what is above 0x7f is less. */
		__m128i stop = _mm_or_si128(
			_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
			_mm_cmplt_epi8(v, space));
		unsigned mask = (unsigned)_mm_movemask_epi8(stop);
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#else
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
	while (end - p >= 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		uint64_t q = v ^ (ones * '"'), b = v ^ (ones * '\\');
		/* May flag a byte too many behind a true hit, never one too few. */
		if ((v | (v - ones * 0x20) | ((q - ones) & ~q) | ((b - ones) & ~b)) & high)
			break;
		p += 8;
	}
#endif
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

static inline bool is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const uint8_t *skip_long_space(const uint8_t *p, const uint8_t *end)
{
#ifdef __SSE2__
	const __m128i sp = _mm_set1_epi8(' '), lf = _mm_set1_epi8('\n');
	const __m128i cr = _mm_set1_epi8('\r'), tab = _mm_set1_epi8('\t');
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i ws =
			_mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, sp), _mm_cmpeq_epi8(v, lf)),
				     _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, tab)));
		unsigned mask = (unsigned)_mm_movemask_epi8(ws) ^ 0xffffu;
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (p < end && is_space(*p))
		p++;
	return p;
}

static inline const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
	if (p == end || *p > ' ')
		return p;
	if (*p == ' ' && end - p > 1 && p[1] > ' ')
		return p + 1;
	return skip_long_space(p, end);
}

/* --- strings ----------------------------------------------------------------------------- */

static int hex4(const uint8_t *p, const uint8_t *end)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		if (p + i >= end)
			return -1;
		uint8_t c = p[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

/* Reads the escape at p (a backslash): the character it stands for, and the place behind it;
 * NULL when it is wrong. */
static const uint8_t *read_escape(struct parser *s, const uint8_t *p, uint32_t *ret)
{
	if (p + 1 >= s->end)
		return fail_expected(s, s->end, "an escape character after '\\'");
	switch (p[1]) {
	case '/':
		s->flags |= JSON_STYLED_ESCAPE;
		__attribute__((__fallthrough__));
	case '"':
	case '\\':
		*ret = p[1];
		return p + 2;
	case 'b':
		*ret = '\b';
		return p + 2;
	case 'f':
		*ret = '\f';
		return p + 2;
	case 'n':
		*ret = '\n';
		return p + 2;
	case 'r':
		*ret = '\r';
		return p + 2;
	case 't':
		*ret = '\t';
		return p + 2;
	case 'u':
		s->flags |= JSON_STYLED_ESCAPE;
		break;
	default:
		return fail(
			s, -EINVAL, p,
			"unknown escape: expected \" \\ / b f n r t or u after the backslash%s%.*s",
			is_word(p[1]) ? ", found " : "", is_word(p[1]), (const char *)p + 1);
	}
	int c = hex4(p + 2, s->end);
	if (c < 0)
		return fail(s, -EINVAL, p, "expected four hexadecimal digits after '\\u'");
	if (c < 0xd800 || c > 0xdfff) {
		*ret = (uint32_t)c;
		return p + 6;
	}
	if (c >= 0xdc00)
		return fail(s, -EINVAL, p,
			    "\\u%04x is the second half of a surrogate pair and has no first half",
			    c);
	int d = s->end - p >= 8 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, s->end) : -1;
	if (d < 0xdc00 || d > 0xdfff)
		return fail(s, -EINVAL, p,
			    "\\u%04x is the first half of a surrogate pair: expected \\udc00 to "
			    "\\udfff behind it",
			    c);
	*ret = 0x10000 + (uint32_t)((c - 0xd800) << 10 | (d - 0xdc00));
	return p + 12;
}

/* Checks the string from start (behind its quote) on from p to its closing quote and returns
 * that quote. *ret_len: bytes after unescaping. */
static const uint8_t *check_string(struct parser *s, const uint8_t *start, const uint8_t *p,
				   size_t *ret_len, bool *ret_escaped)
{
	size_t saved = 0; /* bytes that unescaping saves */
	bool escaped = false;
	for (;;) {
		p = skip_plain(p, s->end);
		if (p == s->end) {
			uint32_t line, column;
			place(s->text, start - 1, &line, &column);
			return fail(s, -EINVAL, p,
				    "the string that began at line %u, column %u is not closed: "
				    "expected '\"', found the end of the document",
				    line, column);
		}
		if (*p == '"')
			break;
		if (*p >= 0x80) {
			size_t n = utf8_sequence(p, s->end);
			if (n == 0)
				return fail(
					s, -EINVAL, p,
					"the byte 0x%02x is not UTF-8 here: save the file as UTF-8",
					*p);
			p += n;
		} else if (*p == '\\') {
			uint32_t c;
			const uint8_t *q = read_escape(s, p, &c);
			if (!q)
				return NULL;
			saved += (size_t)(q - p) - utf8_length(c);
			escaped = true;
			p = q;
		} else if (*p == '\n' || *p == '\r') {
			return fail(
				s, -EINVAL, p,
				"expected '\"' to close the string, found a line break (inside a "
				"string it is written \\n)");
		} else if (*p == '\t') {
			return fail(
				s, -EINVAL, p,
				"a tab inside a string must be written as an escape: expected \\t");
		} else {
			return fail(
				s, -EINVAL, p,
				"the control character U+%04X inside a string must be written as "
				"an escape: expected \\u%04x",
				*p, *p);
		}
	}
	*ret_len = (size_t)(p - start) - saved;
	*ret_escaped = escaped;
	return p;
}

/* A copy of the checked string [p, end) without its escapes. */
static const char *unescape(struct parser *s, const uint8_t *p, const uint8_t *end, size_t len)
{
	uint8_t *out = arena_alloc(s->arena, len ? len : 1);
	if (!out)
		return NULL;
	uint8_t *o = out;
	while (p < end) {
		const uint8_t *q = memchr(p, '\\', (size_t)(end - p));
		size_t n = (size_t)((q ? q : end) - p);
		memcpy(o, p, n);
		o += n;
		p += n;
		if (q) {
			uint32_t c = 0;
			p = read_escape(s, p, &c);
			o += utf8_encode(o, c);
		}
	}
	assert((size_t)(o - out) == len);
	return (const char *)out;
}

/* Reads the string whose quote is at p; returns the place behind it, NULL on failure. */
static inline const uint8_t *read_string(struct parser *s, const uint8_t *p, const char **ret_text,
					 size_t *ret_len, bool *ret_escaped)
{
	const uint8_t *start = p + 1, *q = skip_plain(start, s->end);
	size_t len = (size_t)(q - start);
	bool escaped = false;
	*ret_text = (const char *)start;
	if (UNLIKELY(q == s->end || *q != '"')) {
		q = check_string(s, start, q, &len, &escaped);
		if (!q)
			return NULL;
		if (escaped) {
			*ret_text = unescape(s, start, q, len);
			if (!*ret_text) {
				s->code =
					err_set(s->e, -ENOMEM, "not enough memory for a document");
				return NULL;
			}
		}
	}
	*ret_len = len;
	*ret_escaped = escaped;
	return q + 1;
}

/* --- numbers and literals ---------------------------------------------------------------- */

static inline const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (uint8_t)(*p - '0') <= 9)
		p++;
	return p;
}

/* Reads the number at p ('-' or a digit); returns the place behind it, NULL on failure. */
static inline const uint8_t *read_number(struct parser *s, const uint8_t *p)
{
	const uint8_t *q, *end = s->end;
	if (*p == '-')
		p++;
	q = skip_digits(p, end);
	if (UNLIKELY(q == p))
		return fail_expected(s, p, "a digit after '-'");
	if (UNLIKELY(*p == '0' && q - p > 1))
		return fail(s, -EINVAL, p, "a number may not begin with 0 and further digits");
	if (q < end && *q == '.') {
		p = q + 1;
		q = skip_digits(p, end);
		if (UNLIKELY(q == p))
			return fail_expected(s, p, "a digit after '.'");
	}
	if (q < end && (*q | 0x20) == 'e') {
		p = q + 1;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		q = skip_digits(p, end);
		if (UNLIKELY(q == p))
			return fail_expected(s, p, "a digit in the exponent");
	}
	if (UNLIKELY(q < end && (is_word(*q) || *q == '.' || *q == '+' || *q == '-')))
		return fail_expected(s, q, "the end of a number");
	return q;
}

/* Where a value or a name should begin. The commonest slips get a word of advice. */
static const uint8_t *fail_value(struct parser *s, const uint8_t *p, const char *expected,
				 bool name)
{
	static const struct {
		const char *word;
		const char *why;
	} slip[] = {
		{ "true", "'true' is written in lower case" },
		{ "false", "'false' is written in lower case" },
		{ "null", "'null' is written in lower case" },
		{ "none", "the empty value is written 'null'" },
		{ "undefined", "the empty value is written 'null'" },
		{ "nan", "JSON has no such number" },
		{ "infinity", "JSON has no such number" },
	};
	const char *why = NULL, *w = (const char *)p;
	size_t n = 0;
	while (p + n < s->end && is_word(p[n]))
		n++;
	if (p == s->end)
		return fail_expected(s, p, expected);
	if (*p == '\'')
		why = "strings are written in double quotes";
	else if (*p == '/' || *p == '#')
		why = "JSON has no comments";
	else if (*p == '}' || *p == ']')
		why = strstr(expected, "','") ? "the last one has no comma behind it" : NULL;
	else if (name)
		why = NULL;
	else if (*p == '.' || *p == '+')
		why = "a number begins with '-' or a digit";
	for (size_t i = 0; !name && i < sizeof(slip) / sizeof(slip[0]); i++)
		if (strlen(slip[i].word) == n && strncasecmp(slip[i].word, w, n) == 0)
			why = slip[i].why;
	if (!why)
		return fail_expected(s, p, expected);
	char text[64];
	return fail(s, -EINVAL, p, "expected %s, found %s (%s)", expected, found(s, p, text), why);
}

/* --- trees ------------------------------------------------------------------------------- */

/* A name of obj was there before: says where, at the place of the second one. */
static void fail_duplicate(struct parser *s, const struct json *obj, const struct json *dup)
{
	/* A name with escapes is a copy: its place follows from the sibling before it. */
	const struct json *before = NULL, *twin = NULL;
	for (const struct json *v = obj->first; v != dup; v = v->next) {
		before = v;
		if (!twin && v->key_len == dup->key_len &&
		    (v->key_len == 0 || memcmp(v->key, dup->key, v->key_len) == 0))
			twin = v;
	}
	assert(before && twin);
	const uint8_t *at = skip_space(s->text + before->end, s->end);
	at = skip_space(at + 1, s->end);
	uint32_t line, column;
	place(s->text, s->text + twin->offset, &line, &column);

	/* The name as far as it is short and printable. */
	char name[64];
	size_t n = 0;
	while (n < dup->key_len && n < 60 && (uint8_t)dup->key[n] >= 0x20 && dup->key[n] != 0x7f)
		n++;
	bool cut = n < dup->key_len;
	while (cut && n > 0 && ((uint8_t)dup->key[n] & 0xc0) == 0x80)
		n--;
	memcpy(name, dup->key, n);
	name[n] = 0;
	fail(s, -EINVAL, at,
	     "the name \"%s%s\" is in this object twice (first with the value at line %u, "
	     "column %u): expected another name",
	     name, cut ? "..." : "", line, column);
}

static int check_start(struct parser *s, const struct json_limits *lim)
{
	size_t len = (size_t)(s->end - s->text), max = lim->size;
	if (len > max) {
		fail(s, -EFBIG, s->text + max,
		     "the document is too large: %zu bytes, at most %zu are accepted", len, max);
		return s->code;
	}
	const uint8_t *t = s->text;
	if (len >= 3 && t[0] == 0xef && t[1] == 0xbb && t[2] == 0xbf)
		fail(s, -EINVAL, t,
		     "expected a JSON value, found a byte order mark: save as UTF-8 without one");
	else if (len >= 2 && ((t[0] == 0xff && t[1] == 0xfe) || (t[0] == 0xfe && t[1] == 0xff) ||
			      (t[0] == 0) != (t[1] == 0)))
		fail(s, -EINVAL, t, "the document seems to be UTF-16 or binary: save it as UTF-8");
	return s->code;
}

static void *no_memory(struct parser *s)
{
	s->code = err_set(s->e, -ENOMEM, "not enough memory for a document");
	return NULL;
}

static struct json *parse(struct parser *s, const struct json_limits *lim)
{
	const uint8_t *const text = s->text, *const end = s->end;
	const uint8_t *p = skip_space(text, end), *q;
	struct json *root = NULL, *up = NULL, *v; /* up: the innermost open container */
	struct json **link = &root;               /* where the next node is hung in */
	uint32_t depth = 0, left = lim->values;
	const char *key = NULL, *expected = "a JSON value";
	size_t key_len = 0;
	bool key_escaped = false, escaped;

	if (UNLIKELY(p == end)) {
		fail(s, -EINVAL, end, "the document is %s: expected a JSON value, such as {}",
		     text == end ? "empty" : "empty but for white space");
		return NULL;
	}

value: /* p is at the first byte of a value, or at the end */
	if (UNLIKELY(p == end)) {
		fail_value(s, p, expected, false);
		goto unclosed;
	}
	v = arena_alloc(s->arena, sizeof(*v));
	if (UNLIKELY(!v))
		return no_memory(s);
	if (UNLIKELY(left-- == 0)) {
		fail(s, -E2BIG, p, "the document has more than %u values", lim->values);
		return NULL;
	}
	*v = (struct json){ .text = (const char *)p,
			    .key = key,
			    .key_len = key_len,
			    .parent = up,
			    .offset = (uint32_t)(p - text),
			    .flags = key_escaped ? JSON_KEY_ESCAPED : 0 };
	*link = v;
	link = &v->next;

	switch (*p) {
	case '"':
		p = read_string(s, p, &v->text, &v->len, &escaped);
		if (UNLIKELY(!p))
			return NULL;
		v->type = JSON_STRING;
		v->flags |= escaped ? JSON_ESCAPED : 0;
		v->end = (uint32_t)(p - text);
		break;
	case '-':
	case '0' ... '9':
		p = read_number(s, p);
		if (UNLIKELY(!p))
			return NULL;
		v->type = JSON_NUMBER;
		v->end = (uint32_t)(p - text);
		v->len = v->end - v->offset;
		break;
	case 't':
	case 'f':
	case 'n': {
		static const char word[3][8] = { "null", "false", "true" };
		unsigned type = *p == 't' ? JSON_TRUE : *p == 'f' ? JSON_FALSE : JSON_NULL;
		size_t n = type == JSON_FALSE ? 5 : 4;
		if (UNLIKELY((size_t)(end - p) < n || memcmp(p, word[type], n) != 0 ||
			     (p + n < end && is_word(p[n])))) {
			fail_value(s, p, expected, false);
			return NULL;
		}
		p += n;
		v->type = (uint8_t)type;
		v->len = n;
		v->end = (uint32_t)(p - text);
		break;
	}
	case '{':
	case '[':
		if (UNLIKELY(depth == lim->depth)) {
			fail(s, -E2BIG, p, "the document is nested more than %u levels deep",
			     lim->depth);
			return NULL;
		}
		depth++;
		v->type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
		q = p + 1;
		p = skip_space(q, end);
		v->layout = JSON_LAYOUT_INLINE;
		if (p != q && memchr(q, '\n', (size_t)(p - q)))
			v->layout = JSON_LAYOUT_BROKEN;
		up = v;
		link = &v->first;
		if (v->type == JSON_OBJECT) {
			if (p < end && *p == '}')
				goto close;
			expected = "a name in double quotes or '}'";
			goto name;
		}
		if (p < end && *p == ']')
			goto close;
		key = NULL;
		key_len = 0;
		key_escaped = false;
		expected = "a value or ']'";
		goto value;
	default:
		fail_value(s, p, expected, false);
		return NULL;
	}

ended: /* p is behind a value, v */
	if (UNLIKELY(!up)) {
		p = skip_space(p, end);
		if (p == end)
			return root;
		fail_expected(s, p, "the end of the document after the value");
		return NULL;
	}
	up->count++;
	p = skip_space(p, end);
	if (UNLIKELY(p == end)) {
		fail_expected(s, p,
			      up->type == JSON_OBJECT ? "',' or '}' after a member"
						      : "',' or ']' after an element");
		goto unclosed;
	}
	if (LIKELY(*p == ',')) {
		p = skip_space(p + 1, end);
		if (up->type == JSON_OBJECT) {
			expected = "a name in double quotes after ','";
			goto name;
		}
		key = NULL;
		key_len = 0;
		key_escaped = false;
		expected = "a value after ','";
		goto value;
	}
	if (UNLIKELY(*p != (up->type == JSON_OBJECT ? '}' : ']'))) {
		fail_expected(s, p,
			      up->type == JSON_OBJECT ? "',' or '}' after a member"
						      : "',' or ']' after an element");
		return NULL;
	}

close: /* p is at the closing bracket of up */
	p++;
	v = up;
	if (v->type == JSON_OBJECT && v->count > 1) {
		struct json *dup;
		int r = json_index_build(s->arena, v, &dup);
		if (UNLIKELY(r < 0))
			return no_memory(s);
		if (UNLIKELY(r > 0)) {
			fail_duplicate(s, v, dup);
			return NULL;
		}
	}
	v->end = (uint32_t)(p - text);
	v->len = v->end - v->offset;
	depth--;
	up = v->parent;
	link = &v->next;
	goto ended;

name: /* p should be at the name of a member of up */
	if (UNLIKELY(p == end || *p != '"')) {
		fail_value(s, p, expected, true);
		if (p == end)
			goto unclosed;
		return NULL;
	}
	p = read_string(s, p, &key, &key_len, &key_escaped);
	if (UNLIKELY(!p))
		return NULL;
	if (UNLIKELY(p == end || *p != ':')) {
		p = skip_space(p, end);
		if (p == end || *p != ':') {
			fail_expected(s, p, "':' after a name");
			if (p == end)
				goto unclosed;
			return NULL;
		}
	}
	p = skip_space(p + 1, end);
	expected = "a value after ':'";
	goto value;

unclosed: /* the message is set; add which container is open */
	if (s->e && up) {
		uint32_t line, column;
		place(text, text + up->offset, &line, &column);
		size_t n = strlen(s->e->message);
		snprintf(s->e->message + n, sizeof(s->e->message) - n,
			 " (the '%c' at line %u, column %u is not closed)", text[up->offset], line,
			 column);
	}
	return NULL;
}

int json_parse(struct arena *a, const char *text, size_t len, const struct json_limits *lim,
	       struct json **ret, struct err *e)
{
	struct json_limits l = lim ? *lim : (struct json_limits){ 0 };
	if (l.depth == 0)
		l.depth = JSON_DEPTH_DEFAULT;
	if (l.depth > JSON_DEPTH_MAX)
		l.depth = JSON_DEPTH_MAX;
	if (l.size == 0)
		l.size = JSON_SIZE_DEFAULT;
	if (l.size > JSON_SIZE_MAX)
		l.size = JSON_SIZE_MAX;
	if (l.values == 0)
		l.values = JSON_VALUES_DEFAULT;

	struct parser s = { .arena = a, .text = (const uint8_t *)text, .e = e };
	if (!s.text)
		s.text = (const uint8_t *)"";
	s.end = s.text + len;
	int r = check_start(&s, &l);
	if (r < 0)
		return r;
	struct json *root = parse(&s, &l);
	if (!root || s.code < 0)
		return s.code;
	root->flags |= (uint16_t)s.flags;
	*ret = root;
	return 0;
}
