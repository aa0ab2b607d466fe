/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/filter.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/json.h"
#include "engine/jsonnum.h"
#include "engine/sqldb.h"
#include "engine/utf8.h"

/* The table has a column for each member that the expression names. Which ones these are only SQLite
 * knows: it is asked to compile the expression until it misses none any more. */

#define ROW_MAX (72 << 20)   /* bytes of a value or row: a document, and again its members */
#define STEPS (1u << 20)     /* of SQLite's machine for one evaluation */
#define STEP_LOT 1024
#define PATTERN_MAX 256      /* bytes of a pattern of LIKE or GLOB */
#define EXPRESSION_DEPTH 200 /* of the expression */

enum { COLUMN_ID = 1, COLUMN_PATH = 2, COLUMN_BODY = 4, COLUMN_MEMBER = 8 };

struct member {
	char *name;
	size_t len;
};

struct filter {
	pthread_mutex_t lock; /* what follows but text, uses */
	sqlite3 *db;
	sqlite3_stmt *put, *ask;
	struct member member[FILTER_MEMBERS_MAX];
	uint32_t n;
	unsigned uses;    /* COLUMN_… */
	unsigned lots;    /* of steps, of this evaluation */
	bool inside;      /* the expression is being compiled */
	unsigned selects;
	const char *denied;
	char denied_name[64];
	char *text;
	size_t len;
};

/* ---- what an expression may do ---- */

/* These take longer, or give more, than the bytes they are given, or tell of this build of SQLite. */
static const char *const denied[] = {
	"format", "load_extension", "printf", "randomblob", "replace", "sqlite_compileoption_get",
	"sqlite_compileoption_used", "sqlite_log", "sqlite_offset", "sqlite_source_id",
	"sqlite_version", "zeroblob",
};

static int authorize(void *userdata, int action, const char *a, const char *b, const char *database,
		     const char *trigger)
{
	struct filter *f = userdata;
	(void)database;
	(void)trigger;
	if (!f->inside)
		return SQLITE_OK;
	switch (action) {
	case SQLITE_SELECT:
		if (++f->selects > 1) {
			f->denied = "a subquery or window function";
			return SQLITE_DENY;
		}
		return SQLITE_OK;
	case SQLITE_READ:
		if (!b)
			return SQLITE_OK;
		if (strcmp(b, "_id") == 0)
			f->uses |= COLUMN_ID;
		else if (strcmp(b, "_path") == 0)
			f->uses |= COLUMN_PATH;
		else if (strcmp(b, "body") == 0)
			f->uses |= COLUMN_BODY;
		else if (*b)
			f->uses |= COLUMN_MEMBER;
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		for (size_t i = 0; b && i < sizeof(denied) / sizeof(*denied); i++) {
			if (sqlite3_stricmp(b, denied[i]) != 0)
				continue;
			snprintf(f->denied_name, sizeof(f->denied_name), "%s()", denied[i]);
			f->denied = f->denied_name;
			return SQLITE_DENY;
		}
		return SQLITE_OK;
	default:
		f->denied = a ? a : "that";
		return SQLITE_DENY;
	}
}

/* Called every STEP_LOT steps. */
static int too_long(void *userdata)
{
	struct filter *f = userdata;
	return ++f->lots > STEPS / STEP_LOT;
}

/* instr(X, Y) as SQLite has it, in time that grows with X + Y, not with X * Y. */
static void fn_instr(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	if (n != 2 || sqlite3_value_type(v[0]) == SQLITE_NULL || sqlite3_value_type(v[1]) == SQLITE_NULL)
		return;
	bool bytes = sqlite3_value_type(v[0]) == SQLITE_BLOB && sqlite3_value_type(v[1]) == SQLITE_BLOB;
	const char *x = bytes ? sqlite3_value_blob(v[0]) : (const char *)sqlite3_value_text(v[0]);
	const char *y = bytes ? sqlite3_value_blob(v[1]) : (const char *)sqlite3_value_text(v[1]);
	int x_len = sqlite3_value_bytes(v[0]), y_len = sqlite3_value_bytes(v[1]);
	if (y_len == 0) {
		sqlite3_result_int64(ctx, 1);
		return;
	}
	if (!x || !y) {
		sqlite3_result_int64(ctx, 0);
		return;
	}
	const char *at = memmem(x, (size_t)x_len, y, (size_t)y_len);
	int64_t place = at ? 1 : 0;
	for (const char *p = x; at && p < at; p++)
		place += bytes || ((unsigned char)*p & 0xc0) != 0x80;
	sqlite3_result_int64(ctx, place);
}

static int database_open(struct filter *f)
{
	static const struct sqldb_limits limits = { ROW_MAX, 64 * FILTER_SIZE_MAX, EXPRESSION_DEPTH, PATTERN_MAX };
	int rc = sqldb_open(&limits, &f->db);
	if (rc < 0)
		return rc;
	if (sqlite3_exec(f->db, "PRAGMA journal_mode=OFF", NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_create_function(f->db, "instr", 2,
				    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
				    fn_instr, NULL, NULL) != SQLITE_OK ||
	    sqlite3_set_authorizer(f->db, authorize, f) != SQLITE_OK)
		return -ENOMEM;
	return 0;
}

/* ---- compiling ---- */

static void put_quoted(struct buf *b, const char *name, size_t len)
{
	buf_u8(b, '"');
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '"')
			buf_u8(b, '"');
		buf_u8(b, (uint8_t)name[i]);
	}
	buf_u8(b, '"');
}

static void put_members(const struct filter *f, struct buf *b)
{
	buf_puts(b, "_id, _path, body");
	for (uint32_t i = 0; i < f->n; i++) {
		buf_puts(b, ", ");
		put_quoted(b, f->member[i].name, f->member[i].len);
	}
}

/* Where in the expression, which begins at `start` of the statement, SQLite stumbled. */
static void set_place(const struct filter *f, size_t start, struct err *e)
{
	int at = sqlite3_error_offset(f->db);
	if (!e || at < 0 || (size_t)at < start || (size_t)at > start + f->len)
		return;
	err_place(e, f->text, (size_t)at - start);
}

static int refuse(const struct filter *f, size_t start, struct err *e)
{
	const char *why = sqlite3_errmsg(f->db);
	int rc;
	if (sqlite3_errcode(f->db) == SQLITE_NOMEM)
		return -ENOMEM;
	if (f->denied)
		rc = err_set(e, -EINVAL, "%s may not be used in a filter", f->denied);
	else if (strstr(why, "non-deterministic"))
		rc = err_set(e, -EINVAL, "a filter may only depend on the document: %s",
			     "what is random or tells the time has another value elsewhere");
	else if (strstr(why, "subqueries"))
		rc = err_set(e, -EINVAL, "a subquery or window function may not be used in a filter");
	else if (strstr(why, "parameters"))
		rc = err_set(e, -EINVAL, "a filter has no parameters: write the value");
	else
		rc = err_set(e, -EINVAL, "the filter is no expression that SQLite understands: %s", why);
	set_place(f, start, e);
	return rc;
}

static int statement(struct filter *f, const struct buf *sql, sqlite3_stmt **ret)
{
	f->denied = NULL;
	f->selects = 0;
	return sqlite3_prepare_v2(f->db, (const char *)sql->data, (int)sql->len, ret, NULL);
}

/* "no such column: NAME". True: it has been added. */
static int add_member(struct filter *f, const char *why, struct err *e)
{
	static const char missing[] = "no such column: ";
	if (strncmp(why, missing, sizeof(missing) - 1) != 0)
		return 0;
	const char *name = why + sizeof(missing) - 1;
	size_t len = strlen(name);
	for (uint32_t i = 0; i < f->n; i++)
		if (f->member[i].len == len && memcmp(f->member[i].name, name, len) == 0)
			return 0; /* it is not by that name that it is looked for */
	if (f->n == FILTER_MEMBERS_MAX)
		return err_set(e, -E2BIG, "a filter may name %d members, not more", FILTER_MEMBERS_MAX);
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	f->member[f->n++] = (struct member){ copy, len };
	return 1;
}

static int table_drop(struct filter *f)
{
	return sqlite3_exec(f->db, "DROP TABLE IF EXISTS doc", NULL, NULL, NULL) == SQLITE_OK ? 0 : -ENOMEM;
}

static int table_make(struct filter *f)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "CREATE TABLE doc(\" row\" PRIMARY KEY, ");
	put_members(f, &b);
	buf_puts(&b, ") WITHOUT ROWID");
	const char *sql = buf_cstr(&b);
	return sql && sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -ENOMEM;
}

/* Which members there are: the expression stands alone in a query, so what it reads is seen as well. */
static int find_members(struct filter *f, struct err *e)
{
	for (;;) {
		_cleanup_(buf_done) struct buf b = { 0 };
		sqlite3_stmt *s = NULL;
		int rc = table_drop(f);
		if (rc == 0)
			rc = table_make(f);
		if (rc < 0)
			return rc;
		static const char before[] = "SELECT (";
		buf_puts(&b, before);
		buf_put(&b, f->text, f->len);
		buf_puts(&b, "\n) FROM doc");
		if (buf_failed(&b))
			return -ENOMEM;
		f->inside = true;
		f->uses = 0;
		rc = statement(f, &b, &s);
		f->inside = false;
		bool one = rc == SQLITE_OK && s && sqlite3_column_count(s) == 1;
		sqlite3_finalize(s);
		if (one)
			return 0;
		if (rc == SQLITE_OK)
			return err_set(e, -EINVAL, "a filter is one expression");
		rc = add_member(f, sqlite3_errmsg(f->db), e);
		if (rc <= 0)
			return rc < 0 ? rc : refuse(f, sizeof(before) - 1, e);
	}
}

/* The table with the expression as a column of its own. */
static int table_final(struct filter *f, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	int rc = table_drop(f);
	if (rc < 0)
		return rc;
	buf_puts(&b, "CREATE TABLE doc(\" row\" PRIMARY KEY, ");
	put_members(f, &b);
	buf_puts(&b, ", \" match\" AS (");
	size_t start = b.len;
	buf_put(&b, f->text, f->len);
	buf_puts(&b, "\n)) WITHOUT ROWID");
	const char *sql = buf_cstr(&b);
	if (!sql)
		return -ENOMEM;
	f->denied = NULL;
	if (sqlite3_exec(f->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return refuse(f, start, e);
	/* Nothing but the expression has come in. */
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(f->db, "SELECT * FROM doc", -1, &s, NULL) != SQLITE_OK)
		return refuse(f, start, e);
	int columns = sqlite3_column_count(s);
	sqlite3_finalize(s);
	return columns == (int)f->n + 5 ? 0 : err_set(e, -EINVAL, "a filter is one expression");
}

static int statements_make(struct filter *f)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "REPLACE INTO doc(\" row\", ");
	put_members(f, &b);
	buf_puts(&b, ") VALUES (1");
	for (uint32_t i = 0; i < f->n + 3; i++)
		buf_puts(&b, ", ?");
	buf_puts(&b, ")");
	if (buf_failed(&b) || statement(f, &b, &f->put) != SQLITE_OK)
		return -ENOMEM;
	return sqlite3_prepare_v2(f->db, "SELECT \" match\" IS TRUE FROM doc", -1, &f->ask, NULL) == SQLITE_OK ?
		       0 : -ENOMEM;
}

int filter_new(const char *text, size_t len, struct filter **ret, struct err *e)
{
	if (len > FILTER_SIZE_MAX)
		return err_set(e, -E2BIG, "a filter may have %d bytes, not more", FILTER_SIZE_MAX);
	if (memchr(text, 0, len) || !utf8_valid((const uint8_t *)text, len))
		return err_set(e, -EINVAL, "a filter is UTF-8 without NUL");
	if (strspn(text, " \t\n\r") >= len)
		return err_set(e, -EINVAL, "the filter is empty");
	_cleanup_(filter_freep) struct filter *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	f->text = strndup(text, len);
	f->len = len;
	if (!f->text)
		return -ENOMEM;
	int rc = database_open(f);
	if (rc == 0)
		rc = find_members(f, e);
	if (rc == 0)
		rc = table_final(f, e);
	if (rc == 0)
		rc = statements_make(f);
	if (rc < 0)
		return rc;
	sqlite3_progress_handler(f->db, STEP_LOT, too_long, f);
	*ret = TAKE_PTR(f);
	/* An expression that can never be evaluated is found now: now() in what is always reached. */
	bool match;
	const struct filter_file nothing = { .path = "", .text = "{}", .len = 2 };
	rc = filter_match(*ret, &nothing, &match);
	if (rc == 0 && strstr(sqlite3_errmsg((*ret)->db), "non-deterministic"))
		rc = refuse(*ret, 0, e);
	if (rc < 0)
		filter_free(TAKE_PTR(*ret));
	return rc;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	sqlite3_finalize(f->put);
	sqlite3_finalize(f->ask);
	sqlite3_close(f->db);
	for (uint32_t i = 0; i < f->n; i++)
		free(f->member[i].name);
	free(f->text);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

const char *filter_text(const struct filter *f)
{
	return f->text;
}

bool filter_uses_path(const struct filter *f)
{
	return f->uses & COLUMN_PATH;
}

bool filter_uses_content(const struct filter *f)
{
	return f->uses & (COLUMN_BODY | COLUMN_MEMBER);
}

/* ---- asking ---- */

static int bind_number(sqlite3_stmt *s, int at, const struct json *v)
{
	int64_t i;
	if (json_number_to_i64(v->text, v->len, &i) == 0)
		return sqlite3_bind_int64(s, at, i);
	/* The nearest double; what is beyond all doubles is infinite. A lexeme has no NUL behind it. */
	char text[64];
	char *copy = v->len < sizeof(text) ? text : malloc(v->len + 1);
	if (!copy)
		return SQLITE_NOMEM;
	memcpy(copy, v->text, v->len);
	copy[v->len] = 0;
	double d = strtod(copy, NULL);
	if (copy != text)
		free(copy);
	return sqlite3_bind_double(s, at, d);
}

static int bind_value(sqlite3_stmt *s, int at, const struct json *v)
{
	if (!v)
		return sqlite3_bind_null(s, at);
	switch ((enum json_type)v->type) {
	case JSON_NULL:
		return sqlite3_bind_null(s, at);
	case JSON_FALSE:
	case JSON_TRUE:
		return sqlite3_bind_int64(s, at, v->type == JSON_TRUE);
	case JSON_NUMBER:
		return bind_number(s, at, v);
	case JSON_STRING:
	case JSON_ARRAY:
	case JSON_OBJECT:
		return sqlite3_bind_text64(s, at, v->text ? v->text : "", v->len, SQLITE_STATIC, SQLITE_UTF8);
	}
	return SQLITE_MISUSE;
}

static int bind_all(struct filter *f, const struct filter_file *x, const struct json *doc)
{
	char hex[ID_HEX];
	sqlite3_stmt *s = f->put;
	int rc = SQLITE_OK;
	if (f->uses & COLUMN_ID)
		rc = sqlite3_bind_text(s, 1, id_hex(&x->id, hex), ID_HEX - 1, SQLITE_TRANSIENT);
	if (rc == SQLITE_OK && (f->uses & COLUMN_PATH))
		rc = sqlite3_bind_text64(s, 2, x->path, x->path_len, SQLITE_STATIC, SQLITE_UTF8);
	if (rc == SQLITE_OK && (f->uses & COLUMN_BODY))
		rc = sqlite3_bind_text64(s, 3, x->text, x->len, SQLITE_STATIC, SQLITE_UTF8);
	for (uint32_t i = 0; rc == SQLITE_OK && i < f->n; i++)
		rc = bind_value(s, (int)i + 4, json_get(doc, f->member[i].name, f->member[i].len));
	return rc;
}

static int match_locked(struct filter *f, const struct filter_file *x, const struct json *doc, bool *ret)
{
	f->lots = 0;
	int rc = bind_all(f, x, doc);
	if (rc == SQLITE_OK) {
		rc = sqlite3_step(f->put);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_reset(f->put);
	sqlite3_clear_bindings(f->put);
	bool match = false;
	if (rc == SQLITE_OK) {
		f->lots = 0;
		rc = sqlite3_step(f->ask);
		match = rc == SQLITE_ROW && sqlite3_column_int(f->ask, 0) != 0;
	}
	if (rc != SQLITE_NOMEM)
		*ret = match;
	/* The error, if there was one, is what sqlite3_errmsg tells until the next call. */
	sqlite3_reset(f->ask);
	return rc == SQLITE_NOMEM ? -ENOMEM : 0;
}

int filter_match(struct filter *f, const struct filter_file *x, bool *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *doc = NULL;
	if (filter_uses_content(f)) {
		if (!x->text) {
			*ret = false;
			return 0;
		}
		if (f->uses & COLUMN_MEMBER) {
			int rc = json_parse(&a, x->text, x->len, NULL, &doc, NULL);
			if (rc == -ENOMEM)
				return rc;
			if (rc < 0) {
				*ret = false;
				return 0;
			}
		}
	}
	pthread_mutex_lock(&f->lock);
	int rc = match_locked(f, x, doc, ret);
	pthread_mutex_unlock(&f->lock);
	return rc;
}
