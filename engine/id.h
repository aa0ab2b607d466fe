/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* 128-bit identifiers of nodes, devices and meshes, compared as byte strings. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ID_SIZE 16
#define ID_HEX (2 * ID_SIZE + 1) /* characters of the text form, NUL included */

struct id {
	uint8_t b[ID_SIZE];
};

static inline int id_cmp(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, ID_SIZE);
}

static inline bool id_equal(const struct id *a, const struct id *b)
{
	return id_cmp(a, b) == 0;
}

static inline bool id_is_zero(const struct id *a)
{
	static const struct id zero;
	return id_equal(a, &zero);
}

/* Lower-case hexadecimal with a final NUL; returns text. */
char *id_hex(const struct id *a, char text[static ID_HEX]);

/* Reads exactly 32 hexadecimal digits; -EINVAL otherwise. */
int id_parse(const char *text, size_t len, struct id *ret);

/* A hash for tables in memory: identifiers are uniformly distributed already. */
static inline uint64_t id_hash(const struct id *a)
{
	uint64_t v;
	memcpy(&v, a->b, sizeof(v));
	return v;
}
