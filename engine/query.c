/* SPDX-License-Identifier: GPL-2.0-or-later */

/* One query. Which collections it names only SQLite knows: it compiles the text until it misses no table any more. Then the text
 * with columns in the place of body ->> … (query-field.c) is compiled as well, and taken if it reads the same. */
#include "engine/query-impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/table.h"
#include "engine/utf8.h"

#define VALUE_MAX (72 << 20)   /* bytes of a value or row */
#define EXPRESSION_DEPTH 1000
#define PATTERN_MAX 50000
#define TABLES_MAX 60          /* SQLite joins 64 */
#define STEPS 2000             /* of its machine, between two looks at the clock */
#define NAMES_TOLD 8

static const struct sqldb_limits limits = { VALUE_MAX, 4 * (int)QUERY_SQL_MAX, EXPRESSION_DEPTH, PATTERN_MAX };

/* ---- what a query may do ---- */

static void note_read(struct query_run *run, const char *table, const char *column)
{
	if (fields_column(run, column))
		column = "body";
	run->reads = table_hash_bytes(table, strlen(table), run->reads);
	run->reads = table_hash_bytes(column, strlen(column), run->reads);
	run->n_reads++;
}

static int deny(struct query_run *run, const char *what)
{
	snprintf(run->denied_name, sizeof(run->denied_name), "%s", what);
	run->denied = run->denied_name;
	return SQLITE_DENY;
}

static int authorize(void *userdata, int action, const char *a, const char *b, const char *database,
		     const char *trigger)
{
	struct query_run *run = userdata;
	char text[80];
	(void)database;
	(void)trigger;
	if (!run->inside)
		return SQLITE_OK;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_READ:
		if (sqlite3_strnicmp(a, "sqlite_", 7) == 0)
			return deny(run, "SQLite's own tables");
		if (b && *b)
			note_read(run, a, b);
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		if (sqlite3_stricmp(b, "load_extension") != 0)
			return SQLITE_OK;
		return deny(run, "load_extension()");
	case SQLITE_PRAGMA:
		snprintf(text, sizeof(text), "PRAGMA %.40s", a);
		return deny(run, text);
	case SQLITE_ATTACH:
	case SQLITE_DETACH:
		return deny(run, "another database");
	default:
		return deny(run, "changing anything");
	}
}

/* ---- errors ---- */

struct names {
	struct buf list;
	unsigned n;
};

static int put_name(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	struct names *x = userdata;
	(void)id;
	(void)kind;
	if (x->n++ < NAMES_TOLD) {
		if (x->list.len)
			buf_puts(&x->list, ", ");
		buf_put(&x->list, name, len < 40 ? len : 40);
	}
	return x->n > NAMES_TOLD;
}

static bool is_name(char c)
{
	return c == '_' || c & 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Where the name stands in the query: SQLite does not say. */
static void place_name(const struct query_run *run, const char *name, struct err *e)
{
	const char *sql = run->q->sql;
	size_t n = strlen(name);
	for (size_t i = 0; e && n > 0 && i + n <= run->q->len; i++)
		if (sqlite3_strnicmp(sql + i, name, (int)n) == 0 && (i == 0 || !is_name(sql[i - 1])) &&
		    (i + n == run->q->len || !is_name(sql[i + n]))) {
			err_place(e, sql, i);
			return;
		}
}

static int no_table(struct query_run *run, const char *name, struct err *e)
{
	struct names x = { 0 };
	const struct rows_dir *root;
	int rc = rows_dir(run->rows, "", 0, &root);
	if (rc == 0)
		rc = rows_subdirs(run->rows, root, put_name, &x);
	const char *list = rc >= 0 ? buf_cstr(&x.list) : NULL;
	if (!x.n)
		rc = err_set(e, -EINVAL, "there is no collection \"%.60s\", and no other one: a directory makes one", name);
	else
		rc = err_set(e, -EINVAL, "there is no collection \"%.60s\" here; there are: %.120s%s", name, list ? list : "?",
			     x.n > NAMES_TOLD ? " …" : "");
	buf_done(&x.list);
	place_name(run, name, e);
	return rc;
}

/* What SQLite says, in words that fit here. made: the text that it got; NULL: the place is not known. */
static int refuse(struct query_run *run, bool made, size_t before, struct err *e)
{
	const char *why = sqlite3_errmsg(run->db), *name;
	int at = sqlite3_error_offset(run->db), rc;
	if (sqlite3_errcode(run->db) == SQLITE_NOMEM)
		return err_set(e, -ENOMEM, "the query takes more memory than it may (query.memory)");
	if (run->denied)
		return err_set(e, -EPERM, "a query only reads collections: %s is not allowed", run->denied);
	if ((name = text_behind(why, "no such table: ")))
		rc = no_table(run, name, e);
	else if ((name = text_behind(why, "no such column: ")))
		rc = err_set(e, -EINVAL, "there is no column \"%.80s\"; tables have _id, _path, _mtime, _version and body, and "
			     "members are body ->> '$.name', and by their names where they are indexed; texts stand in '…'", name);
	else if (strstr(why, "may not be modified"))
		rc = err_set(e, -EPERM, "a query only reads collections: changing anything is not allowed");
	else
		rc = err_set(e, -EINVAL, "%.200s", why);
	if (!e || at < 0 || (size_t)at < before)
		return rc;
	size_t place = (size_t)at - before;
	place = made ? fields_source(run, place) : place;
	if (place <= run->q->len)
		err_place(e, run->q->sql, place);
	return rc;
}

/* What went wrong while it ran. */
static int broken(struct query_run *run, int rc, struct err *e)
{
	if (run->stopped)
		return e && e->code == 0 ? err_errno(e, run->stopped, "the query was ended") : run->stopped;
	if (rc == SQLITE_NOMEM)
		return err_set(e, -ENOMEM, "the query takes more memory than it may (query.memory)");
	return err_set(e, -EINVAL, "%.200s", sqlite3_errmsg(run->db));
}

/* ---- compiling ---- */

static int compile(struct query_run *run, const char *prefix, const struct buf *text, sqlite3_stmt **ret,
		   const char **ret_tail, struct buf *whole)
{
	buf_reset(whole);
	buf_puts(whole, prefix);
	buf_put(whole, text->data, text->len);
	const char *sql = buf_cstr(whole);
	if (!sql)
		return SQLITE_NOMEM;
	run->denied = NULL;
	run->reads = run->n_reads = 0;
	run->inside = true;
	int rc = sqlite3_prepare_v2(run->db, sql, (int)whole->len, ret, ret_tail);
	run->inside = false;
	return rc;
}

/* Adds the table that SQLite misses: 0; 1: it misses none. */
static int add_missing(struct query_run *run, unsigned *n, struct err *e)
{
	const char *name = text_behind(sqlite3_errmsg(run->db), "no such table: ");
	if (!name || run->denied)
		return 1;
	_cleanup_free_ char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	if (++*n > TABLES_MAX)
		return err_set(e, -EINVAL, "a query may name %d collections, not more", TABLES_MAX);
	int rc = tables_add(run, copy, e);
	if (rc == -ENOENT && (name = text_behind(copy, "main.")))
		rc = tables_add(run, name, e);
	return rc == -ENOENT ? 1 : rc;
}

/* As it was written: that is what it means, and what errors are about. */
static int compile_source(struct query_run *run, const char *prefix, sqlite3_stmt **ret, struct err *e)
{
	_cleanup_(buf_done) struct buf whole = { 0 };
	struct buf text = { .data = (uint8_t *)(uintptr_t)run->q->sql, .len = run->q->len };
	const char *tail = NULL;
	unsigned tables = 0;
	int rc;
	while ((rc = compile(run, prefix, &text, ret, &tail, &whole)) != SQLITE_OK) {
		int r = rc == SQLITE_NOMEM ? 1 : add_missing(run, &tables, e);
		if (r != 0)
			return r < 0 ? r : refuse(run, false, strlen(prefix), e);
	}
	if (!*ret)
		return err_set(e, -EINVAL, "the query is empty");
	if (sqlite3_column_count(*ret) == 0 || !sqlite3_stmt_readonly(*ret))
		return err_set(e, -EPERM, "a query only reads collections: begin it with SELECT, WITH or VALUES");
	/* Is there another one behind it? What cannot be compiled is one as well. */
	sqlite3_stmt *more = NULL;
	run->inside = true;
	int second = tail ? sqlite3_prepare_v2(run->db, tail, -1, &more, NULL) : SQLITE_OK;
	run->inside = false;
	bool two = second != SQLITE_OK || more;
	sqlite3_finalize(more);
	if (!two)
		return 0;
	rc = err_set(e, -EINVAL, "one query at a time: something stands behind the first one");
	size_t at = tail && (size_t)(tail - (const char *)whole.data) > strlen(prefix) ?
			    (size_t)(tail - (const char *)whole.data) - strlen(prefix) : 0;
	if (e && at <= run->q->len)
		err_place(e, run->q->sql, at);
	return rc;
}

/* With columns for what is asked of bodies. *ret NULL: that would be something else. */
static int compile_made(struct query_run *run, const char *prefix, uint64_t reads, uint32_t n_reads, sqlite3_stmt **ret)
{
	_cleanup_(buf_done) struct buf text = { 0 }, whole = { 0 };
	for (uint32_t left = run->fields.n_uses + 1; left > 0; left--) {
		int rc = fields_write(run, &text);
		if (rc < 0)
			return rc;
		rc = compile(run, prefix, &text, ret, NULL, &whole);
		if (rc == SQLITE_NOMEM)
			return -ENOMEM;
		if (rc == SQLITE_OK && run->reads == reads && run->n_reads == n_reads)
			return 0;
		sqlite3_finalize(*ret);
		*ret = NULL;
		int at = rc == SQLITE_OK ? -1 : sqlite3_error_offset(run->db);
		struct query_use *u = at < (int)strlen(prefix) ? NULL : fields_use(run, (size_t)at - strlen(prefix));
		if (!u && !fields_unname(run))
			return 0;
		if (u)
			u->off = true;
	}
	return 0;
}

/* Tables of SQLite that come into being, as far as the authorizer can tell, when they are named first. */
static void make_builtin(struct query_run *run)
{
	static const char *const names[] = { "json_each", "json_tree" };
	for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
		size_t n = strlen(names[k]);
		for (size_t i = 0; i + n <= run->q->len; i++) {
			if (sqlite3_strnicmp(run->q->sql + i, names[k], (int)n) != 0)
				continue;
			char sql[60];
			snprintf(sql, sizeof(sql), "SELECT 1 FROM %s('[]')", names[k]);
			(void)sqlite3_exec(run->db, sql, NULL, NULL, NULL);
			break;
		}
	}
}

static int compile_query(struct query_run *run, const char *prefix, sqlite3_stmt **ret, struct err *e)
{
	sqlite3_stmt *source = NULL, *made = NULL;
	int rc = fields_find(run);
	make_builtin(run);
	if (rc == 0)
		rc = compile_source(run, prefix, &source, e);
	if (rc == 0 && run->fields.n_uses > 0)
		rc = compile_made(run, prefix, run->reads, run->n_reads, &made);
	if (rc == 0 && !made)
		for (uint32_t i = 0; i < run->fields.n_uses; i++)
			run->fields.use[i].off = true;
	if (made || rc < 0)
		sqlite3_finalize(source);
	if (rc < 0)
		return rc;
	*ret = made ? made : source;
	return 0;
}

/* ---- parameters ---- */

static int bind_value(sqlite3_stmt *s, int i, const struct query_value *v)
{
	switch (v->type) {
	case QUERY_NULL:
		return sqlite3_bind_null(s, i);
	case QUERY_INTEGER:
		return sqlite3_bind_int64(s, i, v->integer);
	case QUERY_REAL:
		return sqlite3_bind_double(s, i, v->real);
	case QUERY_TEXT:
		return sqlite3_bind_text64(s, i, v->text, v->len, SQLITE_STATIC, SQLITE_UTF8);
	case QUERY_BLOB:
		return sqlite3_bind_blob64(s, i, v->text, v->len, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static int bind_all(struct query_run *run, sqlite3_stmt *s, struct err *e)
{
	const struct query *q = run->q;
	bool used[QUERY_PARAMS_MAX] = { false };
	int n = sqlite3_bind_parameter_count(s);
	for (int i = 1; i <= n; i++) {
		const char *name = sqlite3_bind_parameter_name(s, i);
		uint32_t k = 0;
		if (!name)
			return err_set(e, -EINVAL, "parameters have names: write :name instead of ?");
		while (k < q->n_params && strcmp(q->param[k].name, name + 1) != 0)
			k++;
		if (k == q->n_params)
			return err_set(e, -EINVAL, "%.60s has no value: give --param %.60s=VALUE", name, name + 1);
		used[k] = true;
		if (bind_value(s, i, &q->param[k].value) != SQLITE_OK)
			return err_set(e, -ENOMEM, "out of memory");
	}
	for (uint32_t k = 0; k < q->n_params; k++)
		if (!used[k])
			return err_set(e, -EINVAL, "there is no parameter :%.60s in the query", q->param[k].name);
	return 0;
}

/* ---- rows ---- */

static int tell_columns(struct query_run *run, sqlite3_stmt *s)
{
	struct query_column column[QUERY_COLUMNS_MAX];
	unsigned n = (unsigned)sqlite3_column_count(s);
	for (unsigned i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		const char *name = sqlite3_column_name(s, (int)i), *origin = sqlite3_column_origin_name(s, (int)i);
		if (!name)
			return -ENOMEM;
		fields_name(run, name, &b);
		column[i].name = buf_failed(&b) ? NULL : arena_dup(&run->arena, b.data, b.len);
		if (!column[i].name)
			return -ENOMEM;
		const struct query_field *f = origin ? fields_column(run, origin) : NULL;
		column[i].json = f ? f->as == FIELD_JSON : origin && strcmp(origin, "body") == 0;
	}
	return run->sink->columns(column, n, run->sink->userdata);
}

static void take_value(sqlite3_stmt *s, int i, struct query_value *v)
{
	*v = (struct query_value){ .type = QUERY_NULL };
	switch (sqlite3_column_type(s, i)) {
	case SQLITE_INTEGER:
		v->type = QUERY_INTEGER;
		v->integer = sqlite3_column_int64(s, i);
		break;
	case SQLITE_FLOAT:
		v->type = QUERY_REAL;
		v->real = sqlite3_column_double(s, i);
		break;
	case SQLITE_TEXT:
		v->type = QUERY_TEXT;
		v->text = (const char *)sqlite3_column_text(s, i);
		v->len = (size_t)sqlite3_column_bytes(s, i);
		break;
	case SQLITE_BLOB:
		v->type = QUERY_BLOB;
		v->text = sqlite3_column_blob(s, i);
		v->len = (size_t)sqlite3_column_bytes(s, i);
		break;
	default:
		break;
	}
}

static int tell_rows(struct query_run *run, sqlite3_stmt *s, struct err *e)
{
	struct query_value value[QUERY_COLUMNS_MAX];
	int n = sqlite3_column_count(s), rc, r = tell_columns(run, s);
	while (r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		for (int i = 0; i < n; i++)
			take_value(s, i, &value[i]);
		r = run->sink->row(value, (unsigned)n, run->sink->userdata);
	}
	return r != 0 || rc == SQLITE_DONE ? r : broken(run, rc, e);
}

/* ---- a query ---- */

static int progress(void *userdata)
{
	return run_check(userdata) != 0;
}

/* EXPLAIN, or EXPLAIN QUERY PLAN, in front of it: bytes up to there. */
static size_t explains(const char *sql, size_t len)
{
	static const char *const words[] = { "EXPLAIN", "QUERY", "PLAN" };
	size_t at = 0, end = 0;
	for (unsigned i = 0; i < 3; i++) {
		size_t n = strlen(words[i]);
		while (at < len && strchr(" \t\r\n", sql[at]))
			at++;
		if (len - at <= n || sqlite3_strnicmp(sql + at, words[i], (int)n) != 0 || !strchr(" \t\r\n", sql[at + n]))
			break;
		at += n;
		if (i != 1)
			end = at;
	}
	return end;
}

static int run_query(struct query_run *run, struct err *e)
{
	static const char plan[] = "EXPLAIN QUERY PLAN ";
	const struct query *whole = run->q;
	struct query rest = *whole;
	size_t skip = explains(whole->sql, whole->len);
	sqlite3_stmt *s = NULL;
	rest.sql += skip;
	rest.len -= skip;
	run->q = &rest;
	int rc = compile_query(run, skip ? plan : "", &s, e);
	if (rc < 0 && e && e->line)
		err_place(e, whole->sql, e->offset + skip);
	if (rc == 0 && !skip)
		rc = bind_all(run, s, e);
	if (rc == 0)
		rc = tables_tell(run);
	sqlite3_progress_handler(run->db, STEPS, progress, run);
	if (rc == 0)
		rc = skip ? plan_tell(run, s) : tell_rows(run, s, e);
	sqlite3_finalize(s);
	run->q = whole;
	return rc;
}

int query_run(struct replica *r, const struct query *q, const struct query_sink *sink, struct err *e)
{
	struct err unused = { 0 };
	struct query_run run = { .r = r, .q = q, .sink = sink, .e = e ? e : &unused };
	if (q->len > QUERY_SQL_MAX)
		return err_set(e, -EINVAL, "a query may have %u bytes, not more", QUERY_SQL_MAX);
	if (q->n_params > QUERY_PARAMS_MAX)
		return err_set(e, -EINVAL, "a query may have %d parameters, not more", QUERY_PARAMS_MAX);
	if (memchr(q->sql, 0, q->len) || !utf8_valid((const uint8_t *)q->sql, q->len))
		return err_set(e, -EINVAL, "a query is UTF-8 without NUL");
	*run.e = (struct err){ 0 };
	int rc = rows_new(r, &run.rows, e);
	sqldb_limit_memory(q->memory);
	if (rc == 0)
		rc = sqldb_open(&limits, &run.db);
	if (rc == 0) {
		(void)sqlite3_limit(run.db, SQLITE_LIMIT_COLUMN, QUERY_COLUMNS_MAX);
		rc = json_functions(run.db);
	}
	replica_random(r, run.salt, sizeof(run.salt));
	if (rc == 0 && sqlite3_set_authorizer(run.db, authorize, &run) != SQLITE_OK)
		rc = -ENOMEM;
	if (rc == 0)
		rc = run_query(&run, run.e);
	sqlite3_close(run.db);
	tables_done(&run);
	sqldb_limit_memory(0);
	rows_free(run.rows);
	arena_done(&run.arena);
	if (rc < 0 && e && e->code == 0)
		err_errno(e, rc, "the query failed");
	return rc;
}
