/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Questions in SQL about the documents of a replica: shoal-query(7). SQLite parses and answers them, over virtual tables
 * (engine/query-table.c) that read one moment of the store (engine/rows.h). A query runs in one thread, beside everything
 * else; nothing is written. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/replica.h"

#define QUERY_SQL_MAX (1u << 20) /* bytes of a query */
#define QUERY_PARAMS_MAX 200
#define QUERY_COLUMNS_MAX 1000

enum query_type { QUERY_NULL, QUERY_INTEGER, QUERY_REAL, QUERY_TEXT, QUERY_BLOB };

struct query_value {
	enum query_type type;
	int64_t integer;
	double real;
	const char *text; /* TEXT, BLOB; borrowed */
	size_t len;
};

struct query_param {
	const char *name; /* without the :, @ or $ in front of it */
	struct query_value value;
};

struct query_column {
	const char *name;
	bool json; /* its texts are JSON: it is body, or body -> … */
};

struct query {
	const char *sql; /* UTF-8 without NUL */
	size_t len;
	const struct query_param *param;
	uint32_t n_params;
	size_t memory; /* bytes that SQLite may take for it; 0: any */
};

/* What becomes of the answer. What table, columns and row return other than 0 ends the query and is returned. */
struct query_sink {
	/* Before that: each directory that it reads, with what is below it (deep) or not; may be NULL. */
	int (*table)(const char *path, bool deep, void *userdata);
	int (*columns)(const struct query_column *c, unsigned n, void *userdata); /* before all rows */
	int (*row)(const struct query_value *v, unsigned n, void *userdata);
	/* Called some hundred times a second at least; may be NULL. What it returns other than 0 ends the query. */
	int (*check)(void *userdata);
	void *userdata;
};

/* The value of a parameter that was given as a text: JSON that is no object or array means what it says in a document,
 * everything else is a text. Refers to text or the arena. -ENOMEM. */
int query_param_parse(struct arena *a, const char *text, struct query_value *ret);

/* -EINVAL: SQLite or this does not understand it, with line, column and offset where the place is known; -EPERM: it would
 * change something; -ENOMEM: more than the memory it may take; what the sink returned; -EIO, -EBADMSG of the store. */
int query_run(struct replica *r, const struct query *q, const struct query_sink *sink, struct err *e);
