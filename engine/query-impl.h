/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of queries share.
 *
 * query.c        runs one: compiles it, gives out rows, explains errors
 * query-field.c  finds body ->> '$.path' in the text
 * query-text.c   puts columns in its place
 * query-table.c  the virtual tables
 * query-stash.c  rows of a table that are gone through again and again, in memory
 * query-index.c  what of an index answers what is asked of a table
 * query-json.c   JSON as values of SQL, and the functions ->, ->>, json_extract
 * query-plan.c   EXPLAIN in plain words */

#include <string.h>

#include "engine/jsonpath.h"
#include "engine/query.h"
#include "engine/rows.h"
#include "engine/sqldb.h"

#define QUERY_FIELDS_MAX 56 /* with the columns that are always there, bits of a mask */

/* How the value at a path becomes one of SQL. */
enum field_as {
	FIELD_VALUE,   /* body ->> path */
	FIELD_EXTRACT, /* json_extract(body, path): objects and arrays are marked as JSON */
	FIELD_JSON,    /* body -> path */
	FIELD_TEXT,    /* as FIELD_VALUE, numbers as texts: to be compared with a column of texts */
};

/* A hidden column of each table. */
struct query_field {
	enum field_as as;
	struct jsonpath path;
	const char *name;   /* of the column */
	const char *source; /* as it stands in the query, first */
	bool named;         /* the column of an indexed pointer, of tables that have the index; not told of comparisons */
};

/* body ->> '$.path' in the text. */
struct query_use {
	size_t from, to;        /* bytes of the text */
	const char *qualifier;  /* with its dot, as it stands there; not ended by a NUL */
	size_t qualifier_len;
	uint32_t field;
	bool bare;   /* as a column, whose comparisons a table is told of; else as an expression, which has no affinity */
	bool off;    /* not here */
	bool named;  /* it stands there as the name of an indexed pointer */
	size_t at;   /* where it went in the text that was made, so many bytes */
	size_t len;
};

struct query_fields {
	struct query_field field[QUERY_FIELDS_MAX];
	uint32_t n;
	struct query_use *use; /* arena */
	uint32_t n_uses;
};

struct table;
struct stash;

/* What follows the prefix; NULL: the text does not begin with it. */
static inline const char *text_behind(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);
	return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

struct query_run {
	struct replica *r;
	const struct query *q;
	const struct query_sink *sink;
	struct arena arena;
	struct rows *rows;
	sqlite3 *db;
	struct query_fields fields;
	struct table *tables;
	size_t stashed; /* bytes in stashes */
	bool inside;  /* the text is compiled, not what this makes */
	const char *denied;
	char denied_name[80];
	uint32_t named; /* uses that stand in names of columns that were told */
	uint8_t salt[16];
	uint64_t reads; /* hash of the columns that it reads, in their order */
	uint32_t n_reads;
	int stopped;  /* why: what the sink or the store said */
	struct err *e;
};

enum { BY_ID = 1, BY_PATH = 2, BY_FIELD = 4, PLAN_DOCS = 8, BY_INDEX = 16 };
#define PLAN_COLUMN 8 /* bits */
#define INDEX_COLUMNS 8 /* of an index */

enum { COLUMN_ID, COLUMN_PATH, COLUMN_MTIME, COLUMN_VERSION, COLUMN_BODY, COLUMNS };

/* query-field.c, query-text.c */
int fields_find(struct query_run *run);
/* The text with columns; where they went into the uses. */
int fields_write(struct query_run *run, struct buf *ret);
/* Leaves those that are names as they are. False: there are none any more. */
bool fields_unname(struct query_run *run);
/* Does the table of that many indexes have the column? */
bool fields_in_table(const struct query_field *f, const struct rows_index *x, uint32_t n);
/* A place in that text as one in the query. */
size_t fields_source(const struct query_run *run, size_t at);
/* The use around that place of the made text; NULL: none. */
struct query_use *fields_use(struct query_run *run, size_t at);
/* The name of a column of the answer, with what stood in the query in the place of columns. Appended. */
void fields_name(struct query_run *run, const char *name, struct buf *ret);
/* The field that a column is; NULL: none. */
const struct query_field *fields_column(const struct query_run *run, const char *column);

/* query-table.c */
/* A table for the collection of that name. 0: SQLite knows it now; -ENOENT. */
int tables_add(struct query_run *run, const char *name, struct err *e);
void tables_done(struct query_run *run);
/* To the sink, all of them. */
int tables_tell(const struct query_run *run);
/* The path of the collection behind a table; NULL: none. */
const char *tables_path(const struct query_run *run, const char *name, uint64_t *ret_guess);
/* Asks the sink. */
int run_check(void *run);

/* query-json.c */
int json_functions(sqlite3 *db);
/* NULL: nothing is there. Refers to v, or to room. -ENOMEM. */
int sql_of_json(const struct json *v, enum field_as as, struct buf *room, struct query_value *ret, unsigned *ret_subtype);
/* Of a scalar of a record. */
int sql_of_value(const struct value *v, enum field_as as, struct buf *room, struct query_value *ret, unsigned *ret_subtype);
void sql_result(sqlite3_context *ctx, const struct query_value *v, unsigned subtype);
/* As shoal-query(7) says; refers to text. -ENOMEM. */
int number_value(const char *text, size_t len, struct query_value *ret);

/* query-stash.c: rows as SQLite's values, those columns of a table whose bits are set. */
struct stash_row;
int stash_new(uint64_t columns, int key, size_t most, struct stash **ret); /* key: column to find them by; -1: none */
void stash_free(struct stash *s);
/* -ENOSPC: it would be more than `most` bytes; -ENOMEM. */
void stash_begin(struct stash *s, int64_t rowid);
int stash_put(struct stash *s, const struct query_value *v, unsigned subtype);
int stash_end(struct stash *s);
int64_t stash_rowid(const struct stash_row *row);
/* The first row with (roughly) that key, or the first of all; the next one. */
const struct stash_row *stash_first(const struct stash *s, sqlite3_value *key);
const struct stash_row *stash_first_text(const struct stash *s, const char *text, size_t len);
size_t stash_size(const struct stash *s); /* bytes */
const struct stash_row *stash_next(const struct stash *s, const struct stash_row *row, bool keyed);
void stash_result(const struct stash *s, const struct stash_row *row, int column, sqlite3_context *ctx);

/* query-index.c */
/* The best of a table's indexes for what SQLite asks: the plan for it, without PLAN_DOCS, and what it says to SQLite. 0: none
 * is good for it. rows: that the table has. */
int index_choose(const struct query_run *run, const struct rows_index *x, uint32_t n_indexes, double n,
		 sqlite3_index_info *info);
const struct rows_index *index_of_plan(const struct rows_index *x, int plan);
/* One whose first place is that column; NULL: none. */
const struct rows_index *index_on(const struct query_run *run, const struct rows_index *x, uint32_t n, int column);
/* Is the place in any index of the store? */
bool index_somewhere(struct query_run *run, const struct jsonpath *place);
/* Ranges of values, for rows_find: of a plan with its arguments; equal to v in the first place. -ENOMEM. */
int index_ranges(int plan, sqlite3_value **v, struct rows_range **ret, uint32_t *ret_n);
int index_equal(sqlite3_value *v, struct rows_range **ret, uint32_t *ret_n);
/* What query-plan.c reads. */
void index_words(const struct rows_index *x, int plan, struct buf *b);

/* query-plan.c: what EXPLAIN QUERY PLAN says of a statement, to the sink. */
int plan_tell(struct query_run *run, sqlite3_stmt *s);
