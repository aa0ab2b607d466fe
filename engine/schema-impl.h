/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a schema is made into. Nodes refer to the schema's own tree; of one place there is one node. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/schema.h"
#include "engine/table.h"

#define SCHEMA_NESTED 64u       /* schemas in each other, as written */
#define SCHEMA_DEEP 128u        /* when a document is checked */
#define SCHEMA_STEPS 1000000u

enum format {
	FORMAT_NONE,
	FORMAT_DATE_TIME,
	FORMAT_DATE,
	FORMAT_TIME,
	FORMAT_EMAIL,
	FORMAT_HOSTNAME,
	FORMAT_IPV4,
	FORMAT_IPV6,
	FORMAT_URI,
	FORMAT_UUID,
};

/* 0 is none: FORMAT_NONE for names that are not known. */
enum format format_by_name(const char *name, size_t len);
bool format_fits(enum format f, const char *s, size_t len);

struct schema_node;

struct schema_member {
	const char *key;
	size_t len;
	const struct schema_node *node;
};

struct schema_pattern {
	pcre2_code *code;
	const struct json *text;
	const struct schema_node *node; /* of patternProperties */
};

struct schema_list {
	const struct schema_node **node;
	uint32_t n;
};

#define SCHEMA_ANY UINT64_MAX

struct schema_node {
	struct table_link link;
	const struct json *at;
	bool never;     /* false */
	unsigned types; /* 1 << enum json_type, and ... */
	const struct json *types_text;
	const struct json *enumeration, *constant;
	const struct json *minimum, *maximum, *above, *below;
	const struct json *multiple;
	uint64_t min_length, max_length;
	struct schema_pattern pattern;
	enum format format;
	const struct json *format_text;
	const struct schema_node *items, *contains;
	struct schema_list prefix;
	uint64_t min_items, max_items, min_contains, max_contains;
	bool unique;
	struct schema_member *members; /* by name */
	uint32_t n_members;
	struct schema_pattern *patterns;
	uint32_t n_patterns;
	const struct schema_node *additional, *names;
	const struct json *required, *dependent;
	uint64_t min_members, max_members;
	struct schema_list all, any, one;
	const struct schema_node *not_, *if_, *then, *else_;
	const struct schema_node *ref;
	const struct json *merge; /* x-shoal-type */
};

#define SCHEMA_INTEGER (1u << 16) /* among types: a number without a fraction */

struct schema {
	atomic_uint refs;
	struct arena arena;
	char *text;
	size_t len;
	const struct json *tree;
	const struct schema_node *root;
	struct table nodes; /* by what they are made of */
	pcre2_code **codes; /* to be freed */
	uint32_t n_codes;
};

/* Makes s->root. */
int schema_compile(struct schema *s, struct err *e);
