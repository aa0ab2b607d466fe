/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Writes JSON into a struct buf, as a stream: begin, members, end.
 *
 *     struct jsonw w;
 *     jsonw_init(&w, &b, 0);
 *     jsonw_object_begin(&w);
 *     jsonw_key(&w, "peers");
 *     jsonw_uint(&w, n);
 *     jsonw_object_end(&w);
 *     jsonw_end(&w);
 *
 * Misuse (a value without a name in an object, brackets that do not match, two values at the
 * top, an open container at jsonw_end) is an assertion. That names do not repeat is the
 * caller's duty. When memory runs out the buffer remembers it: ask buf_failed(). Text that is
 * not UTF-8 (a file's name may be any bytes) is written with U+FFFD for each wrong byte, so that
 * the output is always JSON. Any thread, one at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"

/* What is escaped beyond what must be: the quote, the backslash and the controls below 0x20
 * (as \b \t \n \f \r where there is a short form, else \u00xx). Flags, to be combined. */
enum json_escape {
	JSON_ESCAPE_MINIMAL = 0,
	JSON_ESCAPE_ASCII = 1 << 0, /* all beyond ASCII as \uxxxx, surrogate pairs beyond U+FFFF */
	JSON_ESCAPE_DEL = 1 << 1,   /* 0x7f as \u007f */
	JSON_ESCAPE_SLASH = 1 << 2, /* / as \/ */
	JSON_ESCAPE_HTML = 1 << 3,  /* < > & as \u003c \u003e \u0026 */
	JSON_ESCAPE_LINES = 1 << 4, /* U+2028 and U+2029 as \u2028 \u2029 */
	JSON_ESCAPE_UPPER = 1 << 5, /* hexadecimal digits A-F instead of a-f */
	JSON_ESCAPE_LONG_BF = 1 << 6, /* \b and \f as \u0008 \u000c */
	JSON_ESCAPE_ALL = (1 << 7) - 1,

	JSON_ESCAPE_JQ = JSON_ESCAPE_DEL,                         /* jq; with -a the next */
	JSON_ESCAPE_PYTHON = JSON_ESCAPE_ASCII | JSON_ESCAPE_DEL, /* json.dump, ensure_ascii=True */
	JSON_ESCAPE_GO = JSON_ESCAPE_HTML | JSON_ESCAPE_LINES, /* encoding/json from Go 1.22 on */
};

/* Appends text as a JSON string with its quotes. */
void json_write_string(struct buf *b, const char *text, size_t len, unsigned escape);

#define JSONW_DEPTH_MAX 256

struct jsonw {
	struct buf *b;
	unsigned indent; /* spaces per level; 0: everything on one line without spaces */
	unsigned escape; /* enum json_escape */
	unsigned depth;
	bool key; /* a name was written, its value is due */
	bool any; /* the innermost container (or the text) has something already */
	uint8_t object[JSONW_DEPTH_MAX / 8]; /* a bit for each open container */
};

/* Starts one JSON text behind what b has. w needs no release. */
void jsonw_init(struct jsonw *w, struct buf *b, unsigned indent);
/* The text must be complete. Adds no newline. */
void jsonw_end(struct jsonw *w);

void jsonw_object_begin(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array_begin(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_key_n(struct jsonw *w, const char *key, size_t len);

void jsonw_string(struct jsonw *w, const char *text); /* NULL: null */
void jsonw_string_n(struct jsonw *w, const char *text, size_t len);
void jsonw_int(struct jsonw *w, int64_t v);
void jsonw_uint(struct jsonw *w, uint64_t v);
void jsonw_double(struct jsonw *w, double v); /* shortest form; null if not finite */
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_null(struct jsonw *w);
/* A lexeme of a value that is known to be valid JSON, as it is. */
void jsonw_raw(struct jsonw *w, const char *lexeme, size_t len);
