/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 2,000 generated queries give the rows that SQLite gives over tables with the same documents as texts: however members are
 * spelled, wherever they stand, whoever `body` is. Documents are small, among them scalars, arrays, some that two devices
 * changed apart, some with a hard link, and counters, texts and sets that merge. Sums are of quarters, so their order does not show. */
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/index.h"
#include "tests/queries.h"

#define QUERIES 2000

static struct rep one, two;
static struct prng prng;
static sqlite3 *db;

/* ---- documents ---- */

static const char *pick(const char *const *list, unsigned n)
{
	return list[prng_below(&prng, n)];
}
#define PICK(...) pick((const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void put_scalar(struct buf *b)
{
	switch (prng_below(&prng, 8)) {
	case 0:
	case 1:
	case 2:
		buf_putf(b, "%d", (int)prng_below(&prng, 7) - 2);
		break;
	case 3:
		buf_putf(b, "%d.%s", (int)prng_below(&prng, 5) - 1, PICK("25", "5", "75", "0", "50"));
		break;
	case 4:
	case 5:
		buf_putf(b, "\"%s\"", PICK("a", "b", "ab", "", "A", "1", "2", "ä", "p1", "p2"));
		break;
	default:
		buf_puts(b, PICK("true", "false", "null", "1e2", "9007199254740993", "-9223372036854775808"));
		break;
	}
}

static void put_document(struct buf *b)
{
	static const char *const names[] = { "a", "b", "s", "z", "two words", "A" };
	buf_reset(b);
	if (prng_chance(&prng, 4)) {
		buf_puts(b, PICK("[1,\"a\",{\"x\":1}]", "5", "\"a\"", "null", "{}", "[]"));
		buf_cstr(b);
		return;
	}
	buf_puts(b, "{");
	for (unsigned i = 0; i < 6; i++) {
		if (prng_chance(&prng, 35))
			continue;
		buf_putf(b, "%s\"%s\":", b->len > 1 ? "," : "", names[i]);
		if (i == 1) /* is summed up */
			buf_puts(b, PICK("1", "2", "-3", "0.25", "1.5", "2.0", "\"a\"", "\"3\"", "null", "true"));
		else
			put_scalar(b);
	}
	if (prng_chance(&prng, 60)) {
		buf_putf(b, "%s\"n\":{\"x\":", b->len > 1 ? "," : "");
		put_scalar(b);
		buf_puts(b, ",\"y\":{\"w\":");
		put_scalar(b);
		buf_puts(b, "}}");
	}
	if (prng_chance(&prng, 60)) {
		buf_putf(b, "%s\"l\":[", b->len > 1 ? "," : "");
		for (unsigned i = 0, n = (unsigned)prng_below(&prng, 4); i < n; i++) {
			buf_puts(b, i ? "," : "");
			if (prng_chance(&prng, 20))
				buf_puts(b, "{\"x\":2}");
			else
				put_scalar(b);
		}
		buf_puts(b, "]");
	}
	buf_puts(b, "}");
	buf_cstr(b);
}

static void fill(const struct id *dir, const char *prefix, unsigned n)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	for (unsigned i = 0; i < n; i++) {
		char name[32];
		struct attr at;
		snprintf(name, sizeof(name), "%s%u.json", prefix, i);
		put_document(&b);
		if (rep_create(one.r, dir, name, (const char *)b.data, &at) < 0)
			tap_bail("create %s: %s", name, (const char *)b.data);
		/* Another time in another way, so that there is a history and a style. */
		while (prng_chance(&prng, 25)) {
			put_document(&b);
			if (prng_chance(&prng, 30))
				buf_puts(&b, "\n\n \n");
			buf_cstr(&b);
			_cleanup_(version_unrefp) struct version *v = NULL;
			if (replica_read(one.r, &at.id, &v) < 0 || rep_save(one.r, &at.id, v, (const char *)b.data) < 0)
				tap_bail("save %s: %s", name, (const char *)b.data);
		}
	}
}

/* A row of SQLite's table for each document, read as programs read it. */
struct export {
	sqlite3_stmt *s;
	char path[512];
	size_t skip;
};

static int export(const char *name, size_t len, const struct attr *at, void *userdata)
{
	const struct export *x = userdata;
	struct export below = *x;
	char hex[ID_HEX];
	snprintf(below.path, sizeof(below.path), "%.200s/%.*s", x->path, (int)len, name);
	if (at->kind == NODE_DIR)
		return replica_list(one.r, &at->id, export, &below);
	if (at->form != FORM_JSON || len < 6 || memcmp(name + len - 5, ".json", 5) != 0)
		return 0;
	char *text = rep_read(one.r, &at->id);
	const char *id = below.path + x->skip;
	sqlite3_bind_text(x->s, 1, id, (int)strlen(id) - 5, SQLITE_TRANSIENT);
	sqlite3_bind_text(x->s, 2, below.path, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(x->s, 3, id_hex(&at->version, hex), -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(x->s, 4, text, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(x->s) != SQLITE_DONE)
		tap_bail("%s", sqlite3_errmsg(db));
	sqlite3_reset(x->s);
	free(text);
	return 0;
}

static void export_table(const char *table, const struct id *dir)
{
	char sql[200];
	struct export x = { .skip = strlen(table) + 1 };
	snprintf(sql, sizeof(sql), "CREATE TABLE \"%s\"(_id TEXT, _path TEXT, _version TEXT, body TEXT)", table);
	sqlite3_exec(db, sql, NULL, NULL, NULL);
	snprintf(sql, sizeof(sql), "INSERT INTO \"%s\" VALUES (?, ?, ?, ?)", table);
	snprintf(x.path, sizeof(x.path), "%s", table);
	if (sqlite3_prepare_v2(db, sql, -1, &x.s, NULL) != SQLITE_OK || replica_list(one.r, dir, export, &x) < 0)
		tap_bail("export: %s", sqlite3_errmsg(db));
	sqlite3_finalize(x.s);
}

static void send_node(struct rep *from, struct rep *to, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct err e = { 0 };
	if (rep_apply(to, rep_delta(from, to, id, &a), &e) < 0)
		tap_bail("rep_apply: %s", e.message);
}

/* The same node on both devices, changed apart and merged. */
static void conflict(const struct id *dir, const char *name)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct version *v = NULL;
	if (rep_lookup(one.r, dir, name, &at) < 0)
		tap_bail("lookup %s", name);
	send_node(&one, &two, &at.id);
	if (replica_read(two.r, &at.id, &v) < 0 || rep_save(two.r, &at.id, v, "{\"a\":3,\"s\":\"two\",\"n\":{\"x\":\"two\"},\"l\":[2,\"two\"]}") < 0)
		tap_bail("save apart");
	version_unref(v);
	v = NULL;
	if (replica_read(one.r, &at.id, &v) < 0 || rep_save(one.r, &at.id, v, "{\"a\":2,\"s\":\"one\",\"n\":5,\"l\":[1,\"one\"]}") < 0)
		tap_bail("save apart");
	version_unref(v);
	send_node(&two, &one, &at.id);
}

/* ---- queries ---- */

static unsigned deep;

static void put(struct buf *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_puts(b, text);
}

/* A member of that table's bodies, spelled in one of many ways. */
static void put_member(struct buf *b, const char *q)
{
	static const char *const paths[] = { "a", "a", "a", "b", "b", "s", "s", "z", "A", "n.x", "n.y.w", "l[0]", "l[1]", "l[#-1]", "l", "n",
					     "nix", "l[0].x", "n.y" };
	const char *p = pick(paths, sizeof(paths) / sizeof(*paths)), *body = PICK("body", "body", "BODY", "\"body\"", "[body]");
	bool plain = !strpbrk(p, ".[");
	switch (prng_below(&prng, 8)) {
	case 0:
		put(b, plain ? "%s%s ->> '%s'" : "%s%s ->> '$.%s'", q, body, p);
		break;
	case 1:
		put(b, "json_extract(%s%s, '$.%s')", q, body, p);
		break;
	case 2:
		put(b, "%s%s->>'$.%s'", q, body, p);
		break;
	case 3:
		put(b, "%s%s /* a ' note */ -> -- and more\n '$.%s'", q, body, p);
		break;
	case 4:
		put(b, "%s%s -> 'n' ->> '%s'", q, body, PICK("x", "$.y.w", "nix", "$.y"));
		break;
	case 5:
		put(b, "(%s%s ->> '$.\"two words\"')", q, body);
		break;
	case 6:
		put(b, "%s%s ->> %s", q, body, PICK("0", "'$[1]'", "'[0]'", "'$'"));
		break;
	default:
		put(b, "%s%s ->> '$.%s'", q, body, p);
		break;
	}
}

static void put_constant(struct buf *b)
{
	buf_puts(b, PICK("1", "2", "0", "-1", "2.5", "'a'", "'ab'", "''", "NULL", "'1'", "3", "'p1'", "1e2", "9007199254740993", "TRUE"));
}

static void put_value(struct buf *b, const char *q);

static void put_condition(struct buf *b, const char *q)
{
	deep++;
	switch (prng_below(&prng, deep > 3 ? 5 : 12)) {
	case 0:
	case 1:
	case 2:
		put_value(b, q);
		put(b, " %s ", PICK("=", "=", "==", "<", ">", "<=", ">=", "<>", "IS", "IS NOT"));
		if (prng_chance(&prng, 60))
			put_constant(b);
		else
			put_value(b, q);
		break;
	case 3:
		put_value(b, q);
		buf_puts(b, PICK(" IS NULL", " IS NOT NULL", " NOTNULL", " ISNULL"));
		break;
	case 4:
		put_value(b, q);
		put(b, " %sBETWEEN ", PICK("", "NOT "));
		put_value(b, q);
		buf_puts(b, " AND ");
		put_value(b, q);
		break;
	case 5:
		put_value(b, q);
		put(b, " %sIN (", PICK("", "NOT "));
		put_constant(b);
		buf_puts(b, ", ");
		put_value(b, q);
		buf_puts(b, ")");
		break;
	case 6:
		put_value(b, q);
		put(b, " %sLIKE '%s'", PICK("", "NOT "), PICK("a%", "%b", "%1%", "_"));
		break;
	case 7:
	case 8:
		buf_puts(b, "(");
		put_condition(b, q);
		buf_puts(b, PICK(" AND ", " OR "));
		put_condition(b, q);
		buf_puts(b, ")");
		break;
	case 9:
		buf_puts(b, "NOT ");
		put_condition(b, q);
		break;
	case 10:
		put(b, "EXISTS (SELECT 1 FROM u AS i WHERE ");
		put_member(b, "i.");
		buf_puts(b, " = ");
		put_member(b, q);
		buf_puts(b, ")");
		break;
	default:
		put_member(b, q);
		buf_puts(b, " IN (SELECT ");
		put_value(b, "i.");
		buf_puts(b, " FROM u i)");
		break;
	}
	deep--;
}

static void put_value(struct buf *b, const char *q)
{
	deep++;
	switch (prng_below(&prng, deep > 3 ? 8 : 20)) {
	case 0:
		put_constant(b);
		break;
	case 1:
		put(b, "%s%s", q, PICK("_id", "_id", "_path"));
		break;
	case 8:
		put(b, "%s(", PICK("typeof", "length", "upper", "quote", "trim"));
		put_value(b, q);
		buf_puts(b, ")");
		break;
	case 9:
		buf_puts(b, "(");
		put_value(b, q);
		put(b, " %s ", PICK("+", "-", "*", "||", "%", "&"));
		put_value(b, q);
		buf_puts(b, ")");
		break;
	case 10:
		put_value(b, q);
		put(b, " %s ", PICK("||", "+", "-"));
		put_member(b, q);
		break;
	case 11:
		buf_puts(b, PICK("-", "~", "+"));
		put_member(b, q);
		break;
	case 12:
		buf_puts(b, "CASE WHEN ");
		put_condition(b, q);
		buf_puts(b, " THEN ");
		put_value(b, q);
		buf_puts(b, " ELSE ");
		put_member(b, q);
		buf_puts(b, " END");
		break;
	case 13:
		buf_puts(b, "coalesce(");
		put_value(b, q);
		buf_puts(b, ", ");
		put_value(b, q);
		buf_puts(b, ")");
		break;
	case 14:
		put(b, "CAST(");
		put_value(b, q);
		put(b, " AS %s)", PICK("TEXT", "INTEGER", "REAL", "NUMERIC"));
		break;
	case 15:
		put(b, "json_array_length(%sbody, '$.l')", q);
		break;
	case 16:
		buf_puts(b, "(SELECT count(*) FROM u AS k WHERE ");
		put_member(b, "k.");
		buf_puts(b, " = ");
		put_value(b, q);
		buf_puts(b, ")");
		break;
	case 17:
		buf_puts(b, "(SELECT body ->> 'x' FROM (SELECT '{\"x\":7}' AS body))");
		break;
	case 18:
		put(b, "(SELECT max(body ->> 'a') FROM (SELECT %sbody))", q);
		break;
	case 19:
		put(b, "json_array(");
		put_member(b, q);
		buf_puts(b, ")");
		break;
	default:
		put_member(b, q);
		break;
	}
	deep--;
}

static void put_order(struct buf *b, unsigned columns)
{
	buf_puts(b, " ORDER BY ");
	for (unsigned i = 1; i <= columns; i++)
		put(b, "%s%u%s", i > 1 ? ", " : "", i, PICK("", "", " DESC", " COLLATE BINARY"));
}

static const char *const places[] = { "a", "a", "b", "s", "n.x", "l[0]", "\"two words\"" };

/* What indexes are for. */
static void put_comparison(struct buf *b, const char *q)
{
	put(b, prng_chance(&prng, 20) ? "json_extract(%sbody, '$.%s')" : "%sbody ->> '$.%s'", q, PICK("a", "a", "s", "b", "n.x", "l[0]"));
	switch (prng_below(&prng, 8)) {
	case 0:
		buf_puts(b, PICK(" LIKE 'a%'", " LIKE 'AB'", " LIKE '1%'", " GLOB 'a*'", " GLOB '[ab]*'", " LIKE '%'", " GLOB '-*'", " LIKE NULL",
				 " LIKE 1", " GLOB 'p1'", " LIKE 'P_'"));
		break;
	case 1:
		buf_puts(b, " BETWEEN ");
		put_constant(b);
		buf_puts(b, " AND ");
		put_constant(b);
		break;
	case 2:
		buf_puts(b, " IN (");
		put_constant(b);
		buf_puts(b, ", ");
		put_constant(b);
		buf_puts(b, ")");
		break;
	default:
		put(b, " %s ", PICK("=", "=", "==", "<", ">", "<=", ">="));
		if (prng_chance(&prng, 10))
			buf_puts(b, "x'61'");
		else if (prng_chance(&prng, 20))
			buf_puts(b, "1 + 1");
		else
			put_constant(b);
	}
}

static void put_lookup(struct buf *b, const char *table)
{
	put(b, "SELECT _path, body ->> 'a' FROM %s WHERE ", table);
	for (unsigned i = 0, n = 1 + (unsigned)prng_below(&prng, 3); i < n; i++) {
		buf_puts(b, i ? PICK(" AND ", " AND ", " AND ", " OR ") : "");
		if (prng_chance(&prng, 15))
			put_condition(b, "");
		else
			put_comparison(b, "");
	}
}

/* Equal ones look alike, so that it does not matter which come first. */
static void put_first(struct buf *b, const char *table)
{
	const char *p = pick(places, sizeof(places) / sizeof(*places)), *q = PICK("a", "s", "b");
	buf_puts(b, "SELECT ");
	for (unsigned i = 0; i < 2; i++)
		put(b, "%sCASE typeof(body ->> '$.%s') WHEN 'text' THEN quote(body ->> '$.%s') ELSE quote(0.0 + (body ->> '$.%s')) END",
		    i ? ", " : "", i ? q : p, i ? q : p, i ? q : p);
	put(b, " FROM %s ", table);
	if (prng_chance(&prng, 60)) {
		buf_puts(b, "WHERE ");
		put_comparison(b, "");
	}
	put(b, " ORDER BY body ->> '$.%s'%s, body ->> '$.%s' LIMIT %u OFFSET %u", p, PICK("", "", " DESC", " NULLS LAST"), q,
	    (unsigned)prng_below(&prng, 40), (unsigned)prng_below(&prng, 3));
}

static void put_query(struct buf *b)
{
	unsigned n = 1 + (unsigned)prng_below(&prng, 3);
	const char *table = PICK("t", "t", "\"t/sub\"");
	buf_reset(b);
	deep = 0;
	switch (prng_below(&prng, 13)) {
	case 9:
	case 10:
	case 11:
		put_lookup(b, table);
		break;
	case 12:
		put_first(b, table);
		break;
	case 0:
	case 1:
	case 2:
		buf_puts(b, "SELECT ");
		bool limit = prng_chance(&prng, 30);
		for (unsigned i = 0; i < n; i++) {
			/* 1 and 1.0 are equal, and either may come first. */
			buf_puts(b, i ? ", " : "");
			buf_puts(b, limit ? "quote(" : "");
			put_value(b, "");
			buf_puts(b, limit ? ")" : "");
		}
		put(b, " FROM %s", table);
		if (prng_chance(&prng, 80)) {
			buf_puts(b, " WHERE ");
			put_condition(b, "");
		}
		put_order(b, n);
		if (limit)
			put(b, " LIMIT %u", (unsigned)prng_below(&prng, 5));
		break;
	case 3:
	case 4:
		buf_puts(b, "SELECT a._id, b._id, ");
		put_value(b, PICK("a.", "b."));
		put(b, " FROM %s a %s u b ON ", table, PICK("JOIN", "LEFT JOIN", "JOIN"));
		put_member(b, "a.");
		buf_puts(b, " = ");
		switch (prng_below(&prng, 4)) {
		case 0:
			buf_puts(b, "b._id");
			break;
		case 1:
			put_value(b, "b.");
			break;
		default:
			put_member(b, "b.");
			break;
		}
		if (prng_chance(&prng, 50)) {
			buf_puts(b, " WHERE ");
			put_condition(b, PICK("a.", "b."));
		}
		put_order(b, 3);
		break;
	case 5:
	case 6:
		buf_puts(b, "SELECT quote(");
		put_member(b, "");
		put(b, "), count(*), sum(body ->> '$.b'), %s(quote(", PICK("min", "max", "count"));
		put_member(b, "");
		put(b, ")) FROM %s ", table);
		if (prng_chance(&prng, 50)) {
			buf_puts(b, "WHERE ");
			put_condition(b, "");
		}
		put(b, " GROUP BY 1 %s", PICK("", "HAVING count(*) > 1"));
		put_order(b, 4);
		break;
	case 7:
		put(b, "WITH c AS (SELECT _id, body, body ->> 'a' AS a FROM %s WHERE ", table);
		put_condition(b, "");
		buf_puts(b, ") SELECT c._id, c.a, c.body ->> 's', ");
		put_value(b, "c.");
		buf_puts(b, PICK(" FROM c", " FROM c, u WHERE c.a = u.body ->> 'a'", " FROM c JOIN u ON u._id = c.a"));
		put_order(b, 4);
		break;
	default:
		buf_puts(b, "SELECT _id, rank() OVER (PARTITION BY ");
		put_member(b, "");
		buf_puts(b, " ORDER BY ");
		put_value(b, "");
		put(b, ", _id) FROM %s", table);
		put_order(b, 2);
		break;
	}
	buf_cstr(b);
}

/* ---- both ---- */

static int by_bytes(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

/* The lines of an answer in one order: what ORDER BY leaves equal may come in any. */
static void sort_lines(struct buf *b)
{
	_cleanup_(buf_done) struct buf out = { 0 };
	size_t n = 0;
	for (size_t i = 0; i < b->len; i++)
		n += b->data[i] == '\n';
	char **line = calloc(n + 1, sizeof(*line)), *save = NULL;
	n = 0;
	for (char *p = strtok_r(buf_cstr(b), "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		line[n++] = p;
	qsort(line, n, sizeof(*line), by_bytes);
	for (size_t i = 0; i < n; i++)
		buf_putf(&out, "%s\n", line[i]);
	free(line);
	buf_done(b);
	*b = out;
	out = (struct buf){ 0 };
	buf_cstr(b);
}

/* 1: an error. */
static int ask_sqlite(const char *sql, struct buf *out)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (rc != SQLITE_OK)
		return 1;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(s); i++) {
			struct query_value v = { .type = QUERY_NULL };
			int type = sqlite3_column_type(s, i);
			if (type == SQLITE_INTEGER) {
				v.type = QUERY_INTEGER;
				v.integer = sqlite3_column_int64(s, i);
			} else if (type == SQLITE_FLOAT) {
				v.type = QUERY_REAL;
				v.real = sqlite3_column_double(s, i);
			} else if (type != SQLITE_NULL) {
				v.type = type == SQLITE_TEXT ? QUERY_TEXT : QUERY_BLOB;
				v.text = (const char *)sqlite3_column_text(s, i);
				v.len = (size_t)sqlite3_column_bytes(s, i);
			}
			if (i)
				buf_u8(out, '|');
			asked_value(out, &v);
		}
		buf_u8(out, '\n');
	}
	sqlite3_finalize(s);
	return rc != SQLITE_DONE;
}

static bool same(const char *sql, unsigned *ret_rows, unsigned *ret_errors)
{
	_cleanup_(buf_done) struct buf want = { 0 };
	struct asked a = { 0 };
	struct err e = { 0 };
	int rc = ask_into(one.r, sql, NULL, 0, &a, &e), wrong = ask_sqlite(sql, &want);
	if (rc == 0 && !wrong) {
		sort_lines(&a.out);
		sort_lines(&want);
	}
	/* Whether a text that is no JSON is looked into at all depends on which table is the outer one. */
	bool differ = (rc < 0) != wrong &&
		      strcmp(wrong ? sqlite3_errmsg(db) : e.message, "malformed JSON") == 0;
	wrong |= differ;
	bool good = differ || ((rc < 0) == wrong &&
		    (wrong || (a.out.len == want.len && (want.len == 0 || memcmp(a.out.data, want.data, want.len) == 0))));
	if (!good) {
		tap_diag("%s", sql);
		tap_diag("got  (%d %s):\n%s", rc, e.message, a.out.len ? (char *)a.out.data : "");
		tap_diag("want (%d %s):\n%s", wrong, wrong ? sqlite3_errmsg(db) : "", want.len ? (char *)want.data : "");
	}
	*ret_rows += a.rows;
	*ret_errors += wrong != 0;
	buf_done(&a.out);
	buf_done(&a.head);
	return good;
}

/* EXPLAIN says that it uses one. */
static bool uses_index(const char *sql)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct asked a = { 0 };
	buf_putf(&b, "EXPLAIN %s", sql);
	bool uses = ask_into(one.r, buf_cstr(&b), NULL, 0, &a, NULL) == 0 && a.out.len && strstr((char *)a.out.data, "index on");
	buf_done(&a.out);
	buf_done(&a.head);
	return uses;
}

static void index_all(const struct id *t, const struct id *u)
{
	static const char *const list[][3] = { { "/a", "/s" }, { "/b" }, { "/s", "/a", "/b" }, { "/n/x", "/a" }, { "/l/0" }, { "/two words", "/a" } };
	struct err e = { 0 };
	int rc = replica_index(one.r, u, (const char *const[]){ "/a" }, 1, &e);
	for (size_t i = 0; rc >= 0 && i < sizeof(list) / sizeof(*list); i++)
		rc = replica_index(one.r, t, list[i], list[i][1] ? list[i][2] ? 3 : 2 : 1, &e);
	while (rc >= 0 && (rc = replica_index_step(one.r, &e)) == 1)
		;
	if (rc < 0)
		tap_bail("replica_index: %s", e.message);
}

int main(int argc, char **argv)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct attr t, sub, u, at;
	unsigned rows = 0, errors = 0, wrong = 0, used = 0;
	tap_plan(4);
	prng.state = tap_seed(argc, argv);
	uint64_t n = tap_rounds(argc, argv, QUERIES);
	rep_open(&one, NULL, 1, 5);
	rep_open(&two, NULL, 2, 5);
	if (rep_mkdir(one.r, &NODE_ROOT, "t", &t) < 0 || rep_mkdir(one.r, &t.id, "sub", &sub) < 0 ||
	    rep_mkdir(one.r, &NODE_ROOT, "u", &u) < 0 || rep_create(one.r, &t.id, "text.md", "no document\n", &at) < 0)
		tap_bail("mkdir");
	if (replica_declare(one.r, &t.id, "/a", 2, "counter", NULL) < 0 || replica_declare(one.r, &t.id, "/s", 2, "text", NULL) < 0 ||
	    replica_declare(one.r, &t.id, "/l", 2, "set", NULL) < 0)
		tap_bail("declare");
	send_node(&one, &two, &t.id);
	fill(&t.id, "p", 70); /* with what is below so many that the store is gone through, not the directories */
	fill(&sub.id, "", 12);
	fill(&u.id, "p", 14);
	conflict(&t.id, "p3.json");
	conflict(&t.id, "p4.json");
	if (rep_lookup(one.r, &t.id, "p5.json", &at) < 0 || replica_link(one.r, &at.id, &sub.id, "hard.json", 9, &at) < 0)
		tap_bail("link");
	if (sqlite3_open(":memory:", &db) != SQLITE_OK)
		tap_bail("sqlite3_open");
	export_table("t", &t.id);
	export_table("t/sub", &sub.id);
	export_table("u", &u.id);
	for (uint64_t i = 0; i < n && wrong < 5; i++) {
		put_query(&b);
		wrong += !same((const char *)b.data, &rows, &errors);
	}
	tap_diag("%u rows, %u errors of both", rows, errors);
	ok(wrong == 0, "%llu queries", (unsigned long long)n);
	ok(rows > n && errors < n / 10, "they say something");
	index_all(&t.id, &u.id);
	for (uint64_t i = 0; i < n && wrong < 5; i++) {
		put_query(&b);
		used += uses_index((const char *)b.data);
		wrong += !same((const char *)b.data, &rows, &errors);
	}
	ok(wrong == 0, "%llu with indexes", (unsigned long long)n);
	tap_diag("%u use one", used);
	ok(used > n / 8, "which many use");
	sqlite3_close(db);
	rep_close(&one);
	rep_close(&two);
	return tap_done();
}
