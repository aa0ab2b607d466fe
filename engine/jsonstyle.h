/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* How a JSON text is formatted, so that a changed document can be written the way its author
 * writes: indentation, spaces, escapes, line ends.
 *
 * For texts of the usual programs (jq, Python's json, JSON.stringify, Go, Jackson, PHP) the
 * style alone says everything. Prettier and people decide for each container whether it stands
 * on one line; json_parse keeps that as `layout` of the node, and
 *     json_style_write(parse(text), detect(text)) == text
 * holds for them too. What a style cannot say (numbers of an array filled into lines, comments
 * in columns, two spaces in a row) does not come back: compare, and keep the source then.
 *
 * Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/json.h"

enum json_empty {
	JSON_EMPTY_TIGHT,  /* {} */
	JSON_EMPTY_SPACE,  /* { } */
	JSON_EMPTY_BROKEN, /* the closing bracket on a line of its own */
	JSON_EMPTY_BLANK,  /* and a blank line before it, as Apple's NSJSONSerialization writes */
};

#define JSON_STYLE_INDENT_MAX 32

struct json_style {
	uint8_t indent;         /* characters per level of a broken container; 0 is possible */
	bool tab;               /* they are tabs; never with indent 0 */
	bool crlf;              /* line ends are CR LF */
	uint8_t final_newlines; /* line ends behind the value */
	uint8_t object_layout;  /* of containers without one: JSON_LAYOUT_INLINE or _BROKEN */
	uint8_t array_layout;
	bool item_space;      /* inline: ", " between items, else "," */
	bool break_space;     /* broken: a space behind the comma, before the line end */
	bool colon_before;    /* a space before ':' */
	bool colon_after;     /* a space behind ':' */
	bool object_pad;      /* inline: { "a": 1 } */
	bool array_pad;       /* inline: [ 1, 2 ] */
	uint8_t empty_object; /* enum json_empty */
	uint8_t empty_array;
	uint8_t escape; /* enum json_escape, engine/jsonw.h */
};

/* As jq writes: two spaces, everything broken, one final newline. */
void json_style_default(struct json_style *ret);

/* The style of text, which root was parsed from. Each property is taken from the first place that
 * shows it; what nothing shows follows from the rest. Linear, cheap beside parsing. */
void json_style_detect(const struct json *root, const char *text, size_t len,
		       struct json_style *ret);

/* Appends the value and the final newlines. A container's `layout` says whether it is broken
 * into lines; JSON_LAYOUT_AUTO: inline inside of an inline one, else as the style has it. A
 * container with JSON_RAW is written as its text stands. Indentation counts the broken containers
 * around. */
void json_style_write(const struct json *root, const struct json_style *s, struct buf *b);

/* The value alone, as it stands inside of `level` broken containers; no newline behind it. */
void json_style_write_value(const struct json *v, const struct json_style *s, unsigned level,
			    struct buf *b);

/* The same on one line without spaces, whatever the containers' layouts say; they are forgotten. */
void json_style_write_compact(struct json *v, struct buf *b);

#define JSON_STYLE_SIZE 6 /* bytes of the encoding */

/* The canonical encoding: equal styles, equal bytes. */
void json_style_encode(const struct json_style *s, struct buf *b);

/* -EINVAL: not canonical; -ENOTSUP: a version that is not known here. *ret is untouched then. */
int json_style_decode(const void *data, size_t len, struct json_style *ret);
