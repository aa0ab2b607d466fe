/* SPDX-License-Identifier: GPL-2.0-or-later */

/* JSON as values of SQL (shoal-query(7), "Values"), and SQLite's functions that take a value out of a JSON text, so that no
 * number loses digits on the way. */
#include <errno.h>
#include <string.h>

#include "engine/jsonnum.h"
#include "engine/jsonstyle.h"
#include "engine/jsonw.h"
#include "engine/query-impl.h"

#define SUBTYPE_JSON 'J' /* what SQLite's functions mark JSON with */
#ifdef SQLITE_RESULT_SUBTYPE /* since 3.45 */
#define MARKS (SQLITE_SUBTYPE | SQLITE_RESULT_SUBTYPE)
#else
#define MARKS SQLITE_SUBTYPE
#endif

int number_value(const char *text, size_t len, struct query_value *ret)
{
	struct query_value v = { .type = QUERY_TEXT, .text = text, .len = len };
	int rc = json_number_sql(text, len, &v.integer, &v.real);
	if (rc < 0)
		return rc;
	if (rc != JSON_NUMBER_LEXEME)
		v.type = rc == JSON_NUMBER_INTEGER ? QUERY_INTEGER : QUERY_REAL;
	*ret = v;
	return 0;
}

static void set_text(struct query_value *v, const char *text, size_t len)
{
	*v = (struct query_value){ .type = QUERY_TEXT, .text = len ? text : "", .len = len };
}

/* A text of what SQLite would make of a number that is compared with one. */
static int number_text(const struct query_value *v, struct buf *room, struct query_value *ret)
{
	char digits[40];
	if (v->type == QUERY_INTEGER)
		sqlite3_snprintf(sizeof(digits), digits, "%lld", (long long)v->integer);
	else
		sqlite3_snprintf(sizeof(digits), digits, "%!.15g", v->real);
	buf_reset(room);
	buf_puts(room, digits);
	if (buf_failed(room))
		return -ENOMEM;
	set_text(ret, (const char *)room->data, room->len);
	return 0;
}

static int container(const struct json *v, struct buf *room, struct query_value *ret)
{
	buf_reset(room);
	/* Nobody else looks at how the tree was laid out. */
	json_style_write_compact((struct json *)(uintptr_t)v, room);
	if (buf_failed(room))
		return -ENOMEM;
	set_text(ret, (const char *)room->data, room->len);
	return 0;
}

int sql_of_json(const struct json *v, enum field_as as, struct buf *room, struct query_value *ret, unsigned *ret_subtype)
{
	*ret = (struct query_value){ .type = QUERY_NULL };
	*ret_subtype = 0;
	if (!v)
		return 0;
	if (as == FIELD_JSON || json_is_container(v)) {
		*ret_subtype = as == FIELD_JSON || as == FIELD_EXTRACT ? SUBTYPE_JSON : 0;
		return container(v, room, ret);
	}
	switch ((enum json_type)v->type) {
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT:
		return 0;
	case JSON_FALSE:
	case JSON_TRUE:
		if (as == FIELD_TEXT)
			set_text(ret, v->type == JSON_TRUE ? "1" : "0", 1);
		else
			*ret = (struct query_value){ .type = QUERY_INTEGER, .integer = v->type == JSON_TRUE };
		return 0;
	case JSON_NUMBER: {
		int rc = number_value(v->text, v->len, ret);
		return rc == 0 && as == FIELD_TEXT && ret->type != QUERY_TEXT ? number_text(ret, room, ret) : rc;
	}
	case JSON_STRING:
		set_text(ret, v->text, v->len);
		return 0;
	}
	return 0;
}

int sql_of_value(const struct value *v, enum field_as as, struct buf *room, struct query_value *ret, unsigned *ret_subtype)
{
	struct json j = { .text = (const char *)v->data, .len = v->len };
	switch (v->kind) {
	case VALUE_FALSE:
		j = (struct json){ .type = JSON_FALSE, .text = "false", .len = 5 };
		break;
	case VALUE_TRUE:
		j = (struct json){ .type = JSON_TRUE, .text = "true", .len = 4 };
		break;
	case VALUE_NUMBER:
		j.type = JSON_NUMBER;
		break;
	case VALUE_STRING:
		j.type = JSON_STRING;
		break;
	default:
		j = (struct json){ .type = JSON_NULL, .text = "null", .len = 4 };
		break;
	}
	return sql_of_json(&j, as, room, ret, ret_subtype);
}

void sql_result(sqlite3_context *ctx, const struct query_value *v, unsigned subtype)
{
	switch (v->type) {
	case QUERY_NULL:
		return;
	case QUERY_INTEGER:
		sqlite3_result_int64(ctx, v->integer);
		return;
	case QUERY_REAL:
		sqlite3_result_double(ctx, v->real);
		return;
	case QUERY_TEXT:
		sqlite3_result_text64(ctx, v->text, v->len, SQLITE_TRANSIENT, SQLITE_UTF8);
		if (subtype)
			sqlite3_result_subtype(ctx, subtype);
		return;
	case QUERY_BLOB:
		sqlite3_result_blob64(ctx, v->text, v->len, SQLITE_TRANSIENT);
		return;
	}
}

int query_param_parse(struct arena *a, const char *text, struct query_value *ret)
{
	struct json *v;
	struct query_value x = { .type = QUERY_TEXT, .text = text, .len = strlen(text) };
	int rc = json_parse(a, text, x.len, NULL, &v, NULL);
	if (rc == -ENOMEM)
		return rc;
	if (rc == 0 && !json_is_container(v)) {
		switch ((enum json_type)v->type) {
		case JSON_NULL:
			x = (struct query_value){ .type = QUERY_NULL };
			break;
		case JSON_FALSE:
		case JSON_TRUE:
			x = (struct query_value){ .type = QUERY_INTEGER, .integer = v->type == JSON_TRUE };
			break;
		case JSON_NUMBER:
			rc = number_value(v->text, v->len, &x);
			break;
		case JSON_STRING:
			x.text = v->text;
			x.len = v->len;
			break;
		case JSON_ARRAY:
		case JSON_OBJECT:
			break;
		}
	}
	if (rc == -ENOMEM)
		return rc;
	*ret = x;
	return 0;
}

/* ---- functions ---- */

/* The tree of the first argument; NULL: there is no text, or an error was said. */
static struct json *parse(sqlite3_context *ctx, struct arena *a, sqlite3_value *v)
{
	struct json *root;
	struct err e = { 0 };
	if (sqlite3_value_type(v) == SQLITE_NULL)
		return NULL;
	const char *text = (const char *)sqlite3_value_text(v);
	if (!text) {
		sqlite3_result_error_nomem(ctx);
		return NULL;
	}
	int rc = json_parse(a, text, (size_t)sqlite3_value_bytes(v), NULL, &root, &e);
	if (rc == 0)
		return root;
	if (rc == -ENOMEM)
		sqlite3_result_error_nomem(ctx);
	else
		sqlite3_result_error(ctx, "malformed JSON", -1);
	return NULL;
}

/* False: no path, or an error was said. */
static bool path_of(sqlite3_context *ctx, struct arena *a, sqlite3_value *v, bool short_form, struct jsonpath *ret)
{
	const char *text = (const char *)sqlite3_value_text(v);
	size_t at = 0;
	if (!text)
		return false;
	int rc = jsonpath_parse(a, text, (size_t)sqlite3_value_bytes(v), short_form, ret, &at);
	if (rc == -ENOMEM)
		sqlite3_result_error_nomem(ctx);
	if (rc != -EINVAL)
		return rc == 0;
	char *why = sqlite3_mprintf("no path into JSON: '%s'", text);
	sqlite3_result_error(ctx, why ? why : "no path into JSON", -1);
	sqlite3_free(why);
	return false;
}

static void fn_arrow(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	const enum field_as *as = sqlite3_user_data(ctx);
	_cleanup_(arena_done) struct arena a = { 0 };
	struct jsonpath p;
	const struct json *root = parse(ctx, &a, v[0]);
	(void)n;
	if (!root || !path_of(ctx, &a, v[1], *as != FIELD_EXTRACT, &p))
		return;
	_cleanup_(buf_done) struct buf room = { 0 };
	struct query_value x;
	unsigned subtype;
	if (sql_of_json(jsonpath_get(root, &p, 0), *as, &room, &x, &subtype) < 0)
		sqlite3_result_error_nomem(ctx);
	else
		sql_result(ctx, &x, subtype);
}

/* With one path the value, with several an array. */
static void fn_extract(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	if (n == 2) {
		fn_arrow(ctx, n, v);
		return;
	}
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct json *root = n > 2 ? parse(ctx, &a, v[0]) : NULL;
	if (!root)
		return;
	buf_u8(&b, '[');
	for (int i = 1; i < n; i++) {
		struct jsonpath p;
		if (!path_of(ctx, &a, v[i], false, &p))
			return;
		struct json *j = (struct json *)(uintptr_t)jsonpath_get(root, &p, 0);
		if (i > 1)
			buf_u8(&b, ',');
		if (j)
			json_style_write_compact(j, &b);
		else
			buf_puts(&b, "null");
	}
	buf_u8(&b, ']');
	if (buf_failed(&b)) {
		sqlite3_result_error_nomem(ctx);
		return;
	}
	struct query_value x;
	set_text(&x, (const char *)b.data, b.len);
	sql_result(ctx, &x, SUBTYPE_JSON);
}

int json_functions(sqlite3 *db)
{
	static enum field_as value = FIELD_VALUE, json = FIELD_JSON, extract = FIELD_EXTRACT;
	const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
	int rc = sqlite3_create_function(db, "->>", 2, flags, &value, fn_arrow, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(db, "->", 2, flags | MARKS, &json, fn_arrow, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(db, "json_extract", -1, flags | MARKS, &extract, fn_extract, NULL,
					     NULL);
	return rc == SQLITE_OK ? 0 : -ENOMEM;
}
