/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The virtual tables of queries: one for each collection that a query names. Its columns are _id, _path, _mtime, _version,
 * body, and, hidden, the fields of the query (query-field.c). A plan, as xBestIndex puts it into idxNum:
 *
 *     BY_ID, BY_PATH   the one document of that name; after many of them, from a stash
 *     BY_FIELD         those where a field is equal to something that comes of other tables, the number of the column
 *                      above PLAN_COLUMN: from a stash
 *     BY_INDEX         see query-index.c
 *     PLAN_DOCS        contents are wanted, not only names
 *
 * and in idxStr the mask of the columns that are used, in hexadecimal, a blank, and for BY_FIELD how it stands in the
 * query, for BY_INDEX what index_words says. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/query-impl.h"
#include "engine/sha256.h"

#define MTIME_SIZE 32
#define LOOKUPS_MIN 64  /* of single documents, before */
#define INDEX_SHARE 32  /* the same of lookups in an index */
#define LOOKUPS_SHARE 4 /* and one for so many that the table has, a stash is made */

struct table {
	sqlite3_vtab base;
	struct query_run *run;
	struct table *next;
	char *name; /* as SQLite knows it */
	char *path; /* of its directory */
	const struct rows_dir *dir;
	bool flat;
	uint64_t guess;
	const struct rows_index *index;
	uint32_t n_indexes;
	struct stashed {
		struct stashed *next;
		int plan;
		uint64_t columns;
		unsigned rounds; /* it was gone through so often */
		bool given_up;
		struct stash *stash;
	} *stashed;
};

struct cursor_ {
	sqlite3_vtab_cursor base;
	struct table *table;
	struct rows_cursor *scan;
	struct row row;
	bool there;
	const struct stash *stash; /* NULL: row is read from the store */
	const struct stash_row *stash_row;
	bool keyed;
	struct buf value, text;
	char hex[ID_HEX];
	struct arena arena;  /* of tree */
	struct json *tree;   /* of the row; NULL: not made yet */
};

/* ---- values of a row ---- */

int run_check(void *userdata)
{
	struct query_run *run = userdata;
	if (run->stopped)
		return run->stopped;
	int rc = run->sink->check ? run->sink->check(run->sink->userdata) : 0;
	run->stopped = rc < 0 ? rc : 0;
	return run->stopped;
}

static int failed(struct query_run *run, int rc)
{
	if (rc == -ENOMEM)
		return SQLITE_NOMEM;
	if (!run->stopped)
		run->stopped = rc;
	return SQLITE_INTERRUPT;
}

static void put_path(struct cursor_ *c, int column)
{
	buf_reset(&c->text);
	rows_path(&c->row, column == COLUMN_ID ? c->table->dir : NULL, &c->text);
	if (column == COLUMN_ID && c->text.len > 5)
		c->text.len -= 5; /* .json */
}

static void put_mtime(struct cursor_ *c)
{
	char date[MTIME_SIZE];
	struct tm tm;
	int64_t ns = c->row.mtime_ns % 1000000000, s = c->row.mtime_ns / 1000000000;
	if (ns < 0) {
		ns += 1000000000;
		s--;
	}
	time_t t = (time_t)s;
	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	buf_reset(&c->text);
	buf_putf(&c->text, "%s.%09lld", date, (long long)ns);
}

static int of_text(struct cursor_ *c, struct query_value *ret)
{
	if (buf_failed(&c->text))
		return -ENOMEM;
	*ret = (struct query_value){ .type = QUERY_TEXT,
				     .text = c->text.len ? (const char *)c->text.data : "",
				     .len = c->text.len };
	return 0;
}

static int of_field(struct cursor_ *c, const struct query_field *f, struct query_value *ret, unsigned *ret_subtype)
{
	struct query_run *run = c->table->run;
	struct value v;
	uint32_t steps = 0;
	struct json *root = c->tree;
	int rc = root ? -ENOTSUP : rows_field(&c->row, &f->path, &v, &steps);
	if (rc == 0)
		return sql_of_json(NULL, f->as, &c->text, ret, ret_subtype);
	if (rc == 1 && v.kind != VALUE_ARRAY)
		return sql_of_value(&v, f->as, &c->text, ret, ret_subtype);
	if (!root)
		arena_reset(&c->arena);
	if (rc == 1) { /* parsed for this one alone; what comes of it is in c->text or the record */
		rc = json_parse(&c->arena, (const char *)v.data, v.len, NULL, &root, run->e);
	} else if (!root && rc == -ENOTSUP) {
		rc = rows_tree(run->rows, &c->row, &c->arena, &c->tree, run->e);
		root = c->tree;
		steps = 0;
	} else if (root) {
		rc = 0;
		steps = 0;
	}
	return rc < 0 ? rc : sql_of_json(jsonpath_get(root, &f->path, steps), f->as, &c->text, ret, ret_subtype);
}

/* Refers to c until the next call. */
static int value_in(struct cursor_ *c, int column, struct query_value *ret, unsigned *ret_subtype)
{
	struct query_run *run = c->table->run;
	int rc = 0;
	*ret_subtype = 0;
	switch (column) {
	case COLUMN_ID:
	case COLUMN_PATH:
		put_path(c, column);
		return of_text(c, ret);
	case COLUMN_MTIME:
		put_mtime(c);
		return of_text(c, ret);
	case COLUMN_VERSION:
		buf_reset(&c->text);
		buf_put(&c->text, id_hex(&c->row.version, c->hex), ID_HEX - 1);
		return of_text(c, ret);
	case COLUMN_BODY:
		buf_reset(&c->text);
		rc = rows_text(run->rows, &c->row, &c->text, run->e);
		return rc < 0 ? rc : of_text(c, ret);
	default:
		return of_field(c, &run->fields.field[column - COLUMNS], ret, ret_subtype);
	}
}

static int vt_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int column)
{
	struct cursor_ *c = (struct cursor_ *)base;
	struct query_value v;
	unsigned subtype;
	if (c->stash) {
		stash_result(c->stash, c->stash_row, column, ctx);
		return SQLITE_OK;
	}
	int rc = value_in(c, column, &v, &subtype);
	if (rc < 0)
		return failed(c->table->run, rc);
	sql_result(ctx, &v, subtype);
	return SQLITE_OK;
}

/* SQLite tells rows by it. Ids may be chosen by others, so that two end alike; this cannot. */
static int64_t row_number(const struct query_run *run, const struct row *row)
{
	const struct sha256_part part[] = { { run->salt, sizeof(run->salt) }, { row->entry.b, ID_SIZE } };
	struct id id;
	int64_t n;
	sha256_id(part, 2, &id);
	memcpy(&n, id.b, sizeof(n));
	return n;
}

static int vt_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret)
{
	struct cursor_ *c = (struct cursor_ *)base;
	*ret = c->stash ? stash_rowid(c->stash_row) : row_number(c->table->run, &c->row);
	return SQLITE_OK;
}

/* ---- going through ---- */

static int next_row(struct cursor_ *c)
{
	struct query_run *run = c->table->run;
	c->tree = NULL;
	int rc = c->scan ? rows_next(c->scan, &c->row, run_check, run, run->e) : 0;
	c->there = rc == 1;
	return rc < 0 ? rc : 0;
}

static int begin_scan(struct cursor_ *c, int plan)
{
	struct table *t = c->table;
	int rc = rows_scan(t->run->rows, t->dir, t->flat, plan & PLAN_DOCS, &c->scan);
	return rc < 0 ? rc : next_row(c);
}

/* Takes the ranges over. */
static int begin_index(struct cursor_ *c, int plan, const struct rows_index *x, struct rows_range *range, uint32_t n)
{
	struct table *t = c->table;
	int rc = rows_find(t->run->rows, t->dir, t->flat, plan & PLAN_DOCS, x, range, n, &c->scan);
	return rc < 0 ? rc : next_row(c);
}

static struct stashed *stashed_of(struct table *t, int plan, uint64_t columns)
{
	for (struct stashed *s = t->stashed; s; s = s->next)
		if (s->plan == plan && s->columns == columns)
			return s;
	struct stashed *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	*s = (struct stashed){ .next = t->stashed, .plan = plan, .columns = columns };
	t->stashed = s;
	return s;
}

static int fill(struct cursor_ *c, struct stashed *s, struct stash *to)
{
	int rc = begin_scan(c, s->plan);
	while (rc == 0 && c->there) {
		stash_begin(to, row_number(c->table->run, &c->row));
		for (int column = 0; rc == 0 && column < COLUMNS + QUERY_FIELDS_MAX; column++) {
			struct query_value v;
			unsigned subtype;
			if (!(s->columns >> column & 1))
				continue;
			rc = value_in(c, column, &v, &subtype);
			if (rc == 0)
				rc = stash_put(to, &v, subtype);
		}
		if (rc == 0)
			rc = stash_end(to);
		if (rc == 0)
			rc = next_row(c);
	}
	rows_cursor_free(c->scan);
	c->scan = NULL;
	c->there = false;
	return rc;
}

/* Rounds that are cheaper without one. */
static uint64_t rounds_without(const struct table *t, int plan)
{
	if (plan & BY_FIELD)
		return index_on(t->run, t->index, t->n_indexes, plan >> PLAN_COLUMN) ? LOOKUPS_MIN + t->guess / INDEX_SHARE : 0;
	return plan & (BY_ID | BY_PATH) ? LOOKUPS_MIN + t->guess / LOOKUPS_SHARE : 1;
}

/* When it is worth it; half of the memory at most for all of them. */
static int use_stash(struct cursor_ *c, struct stashed *s)
{
	struct query_run *run = c->table->run;
	size_t most = run->q->memory ? run->q->memory / 2 : SIZE_MAX;
	int key = s->plan & BY_FIELD ? s->plan >> PLAN_COLUMN : s->plan & BY_ID ? COLUMN_ID : s->plan & BY_PATH ? COLUMN_PATH : -1;
	struct stash *to;
	if (s->stash || s->given_up || s->rounds++ < rounds_without(c->table, s->plan) || run->stashed >= most)
		return 0;
	int rc = stash_new(s->columns, key, most - run->stashed, &to);
	if (rc < 0)
		return rc;
	rc = fill(c, s, to);
	if (rc == 0) {
		run->stashed += stash_size(to);
		s->stash = to;
		return 0;
	}
	stash_free(to);
	s->given_up = rc == -ENOSPC;
	return rc == -ENOSPC ? 0 : rc;
}

static int find_one(struct cursor_ *c, int plan, sqlite3_value *v)
{
	struct table *t = c->table;
	if (sqlite3_value_type(v) == SQLITE_NULL || sqlite3_value_type(v) == SQLITE_BLOB)
		return 0;
	const char *name = (const char *)sqlite3_value_text(v);
	size_t len = (size_t)sqlite3_value_bytes(v), dir = strlen(t->path);
	if (!name)
		return -ENOMEM;
	buf_reset(&c->text);
	if (plan & BY_PATH) {
		/* From the root: the table's directory is in front of it. */
		if (dir > 0 && (len <= dir + 1 || memcmp(name, t->path, dir) != 0 || name[dir] != '/'))
			return 0;
		size_t skip = dir > 0 ? dir + 1 : 0;
		buf_put(&c->text, name + skip, len - skip);
	} else {
		buf_put(&c->text, name, len);
		buf_puts(&c->text, ".json");
	}
	if (buf_failed(&c->text))
		return -ENOMEM;
	if (c->text.len == 0)
		return 0;
	int rc = rows_get(t->run->rows, t->dir, t->flat, (const char *)c->text.data, c->text.len, plan & PLAN_DOCS,
			  &c->value, &c->row);
	c->there = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

static void use_stashed(struct cursor_ *c, const struct stash *s, int plan, sqlite3_value *key)
{
	bool name = plan & (BY_ID | BY_PATH);
	c->stash = s;
	c->keyed = plan & (BY_FIELD | BY_ID | BY_PATH);
	c->stash_row = NULL;
	if (!name) {
		c->stash_row = stash_first(s, c->keyed ? key : NULL);
	} else if (key && sqlite3_value_type(key) != SQLITE_NULL && sqlite3_value_type(key) != SQLITE_BLOB) {
		/* Names are texts, and what they are compared with is made one. */
		const char *text = (const char *)sqlite3_value_text(key);
		c->stash_row = text ? stash_first_text(s, text, (size_t)sqlite3_value_bytes(key)) : NULL;
	}
}

/* In none of the ways that are kept in memory. */
static int begin(struct cursor_ *c, int plan, int n, sqlite3_value **v)
{
	const struct table *t = c->table;
	const struct rows_index *x = plan & BY_INDEX ? index_of_plan(t->index, plan) : NULL;
	struct rows_range *range;
	uint32_t n_ranges;
	int rc = 0;
	if (plan & BY_FIELD && n > 0)
		x = index_on(t->run, t->index, t->n_indexes, plan >> PLAN_COLUMN);
	if (!x)
		return begin_scan(c, plan);
	rc = plan & BY_INDEX ? index_ranges(plan, v, &range, &n_ranges) : index_equal(v[0], &range, &n_ranges);
	return rc < 0 ? rc : begin_index(c, plan, x, range, n_ranges);
}

static int vt_filter(sqlite3_vtab_cursor *base, int plan, const char *text, int n, sqlite3_value **v)
{
	struct cursor_ *c = (struct cursor_ *)base;
	struct query_run *run = c->table->run;
	int rc = run_check(run);
	rows_cursor_free(c->scan);
	c->scan = NULL;
	c->stash = NULL;
	c->there = false;
	c->tree = NULL;
	uint64_t key = plan & BY_ID ? 1u << COLUMN_ID : plan & BY_PATH ? 1u << COLUMN_PATH : 0;
	if (rc == 0 && plan & BY_INDEX) {
		rc = begin(c, plan, n, v);
		return rc < 0 ? failed(run, rc) : SQLITE_OK;
	}
	struct stashed *s = rc == 0 ? stashed_of(c->table, plan, strtoull(text, NULL, 16) | key) : NULL;
	if (rc == 0)
		rc = s ? use_stash(c, s) : -ENOMEM;
	if (rc == 0 && s->stash)
		use_stashed(c, s->stash, plan, n > 0 ? v[0] : NULL);
	else if (rc == 0 && key)
		rc = n > 0 ? find_one(c, plan, v[0]) : 0;
	else if (rc == 0)
		rc = begin(c, plan, n, v);
	return rc < 0 ? failed(run, rc) : SQLITE_OK;
}

static int vt_next(sqlite3_vtab_cursor *base)
{
	struct cursor_ *c = (struct cursor_ *)base;
	if (c->stash) {
		c->stash_row = stash_next(c->stash, c->stash_row, c->keyed);
		return SQLITE_OK;
	}
	int rc = next_row(c);
	return rc < 0 ? failed(c->table->run, rc) : SQLITE_OK;
}

static int vt_eof(sqlite3_vtab_cursor *base)
{
	const struct cursor_ *c = (const struct cursor_ *)base;
	return c->stash ? c->stash_row == NULL : !c->there;
}

static int vt_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret)
{
	struct cursor_ *c = calloc(1, sizeof(*c));
	if (!c)
		return SQLITE_NOMEM;
	c->table = (struct table *)base;
	*ret = &c->base;
	return SQLITE_OK;
}

static int vt_close(sqlite3_vtab_cursor *base)
{
	struct cursor_ *c = (struct cursor_ *)base;
	rows_cursor_free(c->scan);
	buf_done(&c->value);
	buf_done(&c->text);
	arena_done(&c->arena);
	free(c);
	return SQLITE_OK;
}

/* ---- plans ---- */

/* What an equality may be looked up by: the plan for it, 0: nothing. */
static int plan_of(const struct query_run *run, sqlite3_index_info *info, int i)
{
	const struct sqlite3_index_constraint *c = &info->aConstraint[i];
	sqlite3_value *known;
	if (!c->usable || c->op != SQLITE_INDEX_CONSTRAINT_EQ || sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY") != 0)
		return 0;
	if (c->iColumn == COLUMN_ID)
		return BY_ID;
	if (c->iColumn == COLUMN_PATH)
		return BY_PATH;
	/* body -> … is a column whatever it is compared with, which may make a number of it. A constant is no join: one
	 * round, which SQLite picks from. */
	if (c->iColumn < COLUMNS || run->fields.field[c->iColumn - COLUMNS].as == FIELD_JSON ||
	    run->fields.field[c->iColumn - COLUMNS].named || sqlite3_vtab_rhs_value(info, i, &known) == SQLITE_OK)
		return 0;
	return BY_FIELD | c->iColumn << PLAN_COLUMN;
}

static int vt_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	const struct table *t = (const struct table *)base;
	const char *by = "";
	int plan = 0, at = -1;
	for (int i = 0; i < info->nConstraint; i++) {
		int p = plan_of(t->run, info, i);
		/* The one document is better than the others. */
		if (p && (plan == 0 || (plan & BY_FIELD && !(p & BY_FIELD)))) {
			plan = p;
			at = i;
		}
	}
	double n = (double)t->guess + 10;
	_cleanup_(buf_done) struct buf words = { 0 };
	/* The one document is better than any index. */
	int index = plan & (BY_ID | BY_PATH) ? 0 : index_choose(t->run, t->index, t->n_indexes, n, info);
	if (index) {
		plan = index;
		index_words(index_of_plan(t->index, plan), plan, &words);
		by = buf_cstr(&words);
		if (!by)
			return SQLITE_NOMEM;
	} else {
		info->estimatedRows = (sqlite3_int64)n;
		info->estimatedCost = n * 4;
	}
	if (plan & (BY_ID | BY_PATH)) {
		info->estimatedRows = 1;
		info->estimatedCost = 20;
		info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
		by = plan & BY_ID ? "_id" : "_path";
	} else if (plan & BY_FIELD) {
		info->estimatedRows = 1 + (sqlite3_int64)(n / 50);
		info->estimatedCost = 10 + n / 50;
		const struct rows_index *x = index_on(t->run, t->index, t->n_indexes, plan >> PLAN_COLUMN);
		by = t->run->fields.field[(plan >> PLAN_COLUMN) - COLUMNS].source;
		if (x) {
			index_words(x, INT_MAX, &words);
			buf_puts(&words, ", kept in memory once many were asked for");
			by = buf_cstr(&words);
		}
		if (!by)
			return SQLITE_NOMEM;
	}
	if (at >= 0 && !index)
		info->aConstraintUsage[at].argvIndex = 1;
	if (info->colUsed >> COLUMN_BODY)
		plan |= PLAN_DOCS;
	info->idxNum = plan;
	info->idxStr = sqlite3_mprintf("%llx %s", (unsigned long long)info->colUsed, by);
	info->needToFreeIdxStr = 1;
	return info->idxStr ? SQLITE_OK : SQLITE_NOMEM;
}

/* ---- tables ---- */

static void table_free(struct table *t)
{
	for (struct stashed *s = t->stashed, *next; s; s = next) {
		next = s->next;
		stash_free(s->stash);
		free(s);
	}
	free(t->name);
	free(t->path);
	free(t);
}

static int vt_disconnect(sqlite3_vtab *base)
{
	(void)base; /* tables_done */
	return SQLITE_OK;
}

static int declare(const struct table *t)
{
	const struct query_run *run = t->run;
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "CREATE TABLE x(_id TEXT, _path TEXT, _mtime TEXT, _version TEXT, body TEXT");
	for (uint32_t i = 0; i < run->fields.n; i++) {
		const struct query_field *f = &run->fields.field[i];
		if (f->named && !fields_in_table(f, t->index, t->n_indexes)) {
			buf_putf(&b, ", \"not here %u\" BLOB HIDDEN", i);
			continue;
		}
		buf_puts(&b, ", \"");
		for (const char *p = f->name; *p; p++) {
			if (*p == '"')
				buf_u8(&b, '"');
			buf_u8(&b, (uint8_t)*p);
		}
		buf_puts(&b, "\" BLOB HIDDEN"); /* by its type it has no affinity that changes anything */
	}
	buf_puts(&b, ")");
	const char *sql = buf_cstr(&b);
	return sql ? sqlite3_declare_vtab(run->db, sql) : SQLITE_NOMEM;
}

static int vt_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **ret, char **e)
{
	struct table *t = aux;
	bool inside = t->run->inside;
	(void)db;
	(void)argc;
	(void)argv;
	(void)e;
	t->run->inside = false; /* a table is declared, but not by the query */
	int rc = declare(t);
	t->run->inside = inside;
	*ret = &t->base;
	return rc;
}

/* No xCreate: the module's name is that of the one table that it has, which is in no schema. */
static const sqlite3_module module = {
	.iVersion = 1,
	.xConnect = vt_connect,
	.xBestIndex = vt_best_index,
	.xDisconnect = vt_disconnect,
	.xOpen = vt_open,
	.xClose = vt_close,
	.xFilter = vt_filter,
	.xNext = vt_next,
	.xEof = vt_eof,
	.xColumn = vt_column,
	.xRowid = vt_rowid,
};

/* Another spelling of a name in the query would be the same table to SQLite. */
static int check_spelling(struct query_run *run, const char *name, struct err *e)
{
	size_t n = strlen(name);
	const struct rows_dir *dir;
	for (size_t i = 0; i + n <= run->q->len; i++) {
		const char *p = run->q->sql + i;
		if (sqlite3_strnicmp(p, name, (int)n) == 0 && memcmp(p, name, n) != 0 &&
		    rows_dir(run->rows, p, n, &dir) == 0)
			return err_set(e, -EINVAL, "%.60s and %.*s are one name in SQL: ask about them one after the other", name,
				       (int)(n < 60 ? n : 60), p);
	}
	return 0;
}

int tables_add(struct query_run *run, const char *name, struct err *e)
{
	const struct rows_dir *dir;
	bool flat = strcmp(name, ".") == 0;
	int rc = rows_dir(run->rows, name, flat ? 0 : strlen(name), &dir);
	if (rc == -ENOTDIR || (!flat && !*name))
		rc = -ENOENT;
	if (rc == 0)
		rc = check_spelling(run, name, e);
	if (rc < 0)
		return rc;
	struct table *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->run = run;
	t->name = strdup(name);
	t->path = strdup(flat ? "" : name);
	t->dir = dir;
	t->flat = flat;
	t->guess = rows_guess(run->rows, dir);
	t->next = run->tables;
	run->tables = t;
	if (!t->name || !t->path)
		return -ENOMEM;
	rc = rows_indexes(run->rows, dir, &t->index, &t->n_indexes);
	if (rc < 0)
		return rc;
	return sqlite3_create_module(run->db, name, &module, t) == SQLITE_OK ? 0 : -ENOMEM;
}

void tables_done(struct query_run *run)
{
	for (struct table *t = run->tables, *next; t; t = next) {
		next = t->next;
		table_free(t);
	}
	run->tables = NULL;
}

int tables_tell(const struct query_run *run)
{
	int rc = 0;
	for (const struct table *t = run->sink->table ? run->tables : NULL; rc == 0 && t; t = t->next)
		rc = run->sink->table(t->path, !t->flat, run->sink->userdata);
	return rc;
}

const char *tables_path(const struct query_run *run, const char *name, uint64_t *ret_guess)
{
	for (const struct table *t = run->tables; t; t = t->next)
		if (sqlite3_stricmp(t->name, name) == 0) {
			*ret_guess = t->guess;
			return t->name;
		}
	return NULL;
}
