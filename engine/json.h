/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A strict JSON parser (RFC 8259) that loses nothing: order of members, lexemes of numbers
 * and the place of every value in the source are kept; no number goes through a double.
 *
 * Refused on purpose, though some parsers accept them: a byte order mark, bytes that are not
 * UTF-8 (overlong forms and surrogates included), \u escapes that leave a lone surrogate, two
 * members of one object whose names are equal after unescaping, anything behind the value.
 *
 * Nothing recurses on the C stack, so depth costs only memory and is bounded by a limit.
 *
 * Ownership: all nodes live in the arena that json_parse was given. Numbers, strings and
 * names without escapes, and the lexemes of containers, are not copied but point into the
 * source text: a tree is valid while both the arena and the source live. Strings are not
 * NUL-terminated and may hold NUL bytes. Trees may also be built by hand: start from all
 * zero (arena_new), link first, next and parent, set count; index stays NULL.
 *
 * Thread: any; a tree that nobody changes may be read by several threads. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/arena.h"
#include "engine/err.h"

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* How a container that is not empty stands in the source: a line break directly behind its
 * opening bracket, or none. Trees built by hand may leave the choice to the style. */
enum json_layout {
	JSON_LAYOUT_AUTO,
	JSON_LAYOUT_INLINE,
	JSON_LAYOUT_BROKEN,
};

#define JSON_ESCAPED 1u       /* string: its lexeme has a backslash; text is a copy */
#define JSON_KEY_ESCAPED 2u   /* the same for key */
#define JSON_RAW 4u           /* container: writers put text as it is instead of the children */
#define JSON_STYLED_ESCAPE 8u /* root of a parse: somewhere is \/ or \u, which not all write */

struct json_index;
struct chars_base; /* engine/chars.h */

struct json {
	uint8_t type;   /* enum json_type */
	uint8_t layout; /* enum json_layout; containers */
	uint16_t flags;
	uint32_t count;   /* children */
	const char *text; /* number, literal: lexeme; string: unescaped UTF-8; container: lexeme */
	size_t len;       /* of text, in bytes */
	const char *key;  /* member of an object: its name, unescaped UTF-8; else NULL */
	size_t key_len;
	struct json *first; /* children in source order */
	struct json *next;
	struct json *parent;
	union {
		struct json_index *index;       /* of a big object, for json_get */
		const struct chars_base *chars; /* of a string: what is known of its characters */
	};
	uint32_t offset;          /* bytes [offset, end) of the source hold the value's lexeme */
	uint32_t end;
};

#define JSON_DEPTH_DEFAULT 512
#define JSON_DEPTH_MAX 65535
#define JSON_SIZE_DEFAULT (64u << 20)
#define JSON_SIZE_MAX UINT32_MAX
#define JSON_VALUES_DEFAULT (8u << 20)

/* A field that is zero means the default. */
struct json_limits {
	uint32_t depth; /* containers inside each other; at most JSON_DEPTH_MAX, whatever it says */
	size_t size;    /* bytes of source; at most JSON_SIZE_MAX */
	uint32_t values; /* nodes of the tree: sizeof(struct json) bytes each */
};

/* Parses one JSON text of len bytes and gives its tree in *ret. lim NULL: defaults.
 * Errors: -EINVAL not JSON; -EFBIG longer than lim->size; -E2BIG deeper than lim->depth or
 * more values than lim->values; -ENOMEM. For all but -ENOMEM e (may be NULL) has line, column
 * in code points, byte offset, and what was expected and found. *ret is untouched on failure;
 * what the arena grew by stays until it is reset. */
int json_parse(struct arena *a, const char *text, size_t len, const struct json_limits *lim,
	       struct json **ret, struct err *e);

/* The member of an object with that name; NULL when there is none or obj is no object.
 * Constant time for big objects that json_parse made, else a search. */
struct json *json_get(const struct json *obj, const char *key, size_t key_len);

/* json_get for a name that is a C string. */
struct json *json_get_z(const struct json *obj, const char *key);

/* The i-th child (from 0), NULL when there is none. Linear in i. */
struct json *json_at(const struct json *container, size_t i);

/* Do two values mean the same? Numbers are compared as exact decimals (1.0 = 1.00 = 10e-1,
 * -0 = 0), strings by their code points, arrays in order, objects without regard to order. */
bool json_equal(const struct json *a, const struct json *b);

/* A hash of what json_equal compares: equal values, equal hashes. What lies deeper than 64 containers
 * is not looked at. The same on every machine. */
uint64_t json_hash(const struct json *v);

static inline bool json_is_container(const struct json *v)
{
	return v->type >= JSON_ARRAY;
}

/* Is this an array of numbers, one at least, and of nothing else? Such are rarely lists of things (a
 * position, a colour, a row of a matrix). */
bool json_is_numbers(const struct json *v);

/* "null", "boolean", "number", "string", "array" or "object". */
const char *json_type_name(const struct json *v);
