/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries: what stands in tables, exact values, names, errors with their places, one moment, limits, plans, and that nothing
 * is changed. Generated ones are in test_query_diff. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/index.h"
#include "tests/queries.h"

static struct rep p, q;

static void doc(const struct id *dir, const char *name, const char *text)
{
	struct attr at;
	int rc = rep_create(p.r, dir, name, text, &at);
	if (rc < 0)
		tap_bail("%s: %d", name, rc);
}

static void dir(const struct id *parent, const char *name, struct attr *ret)
{
	if (rep_mkdir(p.r, parent, name, ret) < 0)
		tap_bail("mkdir %s", name);
}

static void is(const char *sql, const char *want)
{
	size_t shown = strcspn(sql, "\n");
	is_str(ask(p.r, sql), want, "%.*s", (int)(shown > 200 ? 200 : shown), sql);
}

/* ---- tables ---- */

static struct attr cars, old, people;

static void test_tables(void)
{
	struct attr at;
	dir(&NODE_ROOT, "cars", &cars);
	dir(&cars.id, "old", &old);
	dir(&NODE_ROOT, "people", &people);
	doc(&cars.id, "7.json", "{\"maker\": \"vw\", \"doors\": 3, \"price\": 1.10, \"owner\": \"anna\"}\n");
	doc(&cars.id, "8.json", "{\"maker\": \"fiat\", \"doors\": 5, \"price\": 18446744073709551616, \"owner\": 1}\n");
	doc(&old.id, "1.json", "{\"maker\": \"dkw\", \"doors\": 2, \"price\": 1e400, \"tags\": [\"a\", {\"b\": 2}], \"at\": [1.50, 2]}\n");
	doc(&people.id, "anna.json", "{\"name\": \"Anna\"}\n");
	doc(&people.id, "1.json", "{\"name\": \"Eins\"}\n");
	doc(&NODE_ROOT, "top.json", "{}");
	doc(&people.id, "notes.md", "no document");
	doc(&people.id, "bad.json", "{no JSON");
	doc(&people.id, "gone.json", "{}");
	if (rep_lookup(p.r, &people.id, "gone.json", &at) < 0 || replica_remove(p.r, &at.id, 0) < 0)
		tap_bail("remove");
	is("SELECT _id, _path FROM cars ORDER BY _id", "7|cars/7.json\n8|cars/8.json\nold/1|cars/old/1.json\n");
	is("SELECT _id, _path FROM \"cars/old\"", "1|cars/old/1.json\n");
	is("SELECT _id, _path FROM people ORDER BY 1", "1|people/1.json\nanna|people/anna.json\n");
	is("SELECT _id, _path FROM \".\"", "top|top.json\n");
	is("SELECT body FROM cars WHERE _id = 7", "{\"maker\": \"vw\", \"doors\": 3, \"price\": 1.10, \"owner\": \"anna\"}\n\n");
	is("SELECT _id FROM cars WHERE _path = 'cars/old/1.json' OR _id = '8' OR _id = '8' ORDER BY 1", "8\nold/1\n");
	is("SELECT _id FROM cars WHERE _id IN ('old/1', '7', 'nix', NULL, 8) ORDER BY 1", "7\n8\nold/1\n");
	is("SELECT _id FROM cars WHERE _path IN ('cars/7', 'cars/7.json', '7.json', 'people/1.json', '')", "7\n");
	is("SELECT _id FROM \".\" WHERE _id = 'cars/7'", "");
	is("SELECT _id FROM people WHERE _id IN ('notes', 'bad', 'gone', '', '/', 'old/')", "");
	is("SELECT _id FROM cars WHERE _id = '7' COLLATE NOCASE AND _mtime LIKE '20__-__-__ __:__:__._________' AND length(_version) = 32", "7\n");
	if (rep_lookup(p.r, &cars.id, "7.json", &at) < 0 || replica_set_mtime(p.r, &at.id, -1) < 0)
		tap_bail("mtime");
	is("SELECT _mtime, strftime('%Y', _mtime) FROM cars WHERE _id = '7'", "1969-12-31 23:59:59.999999999|1969\n");
}

static void test_values(void)
{
	struct attr at;
	is("SELECT body ->> '$.price', body -> '$.price' FROM cars ORDER BY _id",
	   "r1.1000000000000001|1.10\n18446744073709551616|18446744073709551616\n1e400|1e400\n");
	is("SELECT body ->> '$.tags[1].b', body ->> '$.at[0]', body ->> '$.tags', body -> '$.at', body ->> '$.tags[#-1]' FROM cars "
	   "WHERE body ->> 'maker' = 'dkw'", "2|r1.5|[\"a\",{\"b\":2}]|[1.50,2]|{\"b\":2}\n");
	is("SELECT sum(body ->> 'doors'), count(*) FROM cars", "10|3\n");
	is("SELECT body ->> '$.price' < 2 FROM cars WHERE _id = '7'", "1\n");
	dir(&NODE_ROOT, "numbers", &at);
	doc(&at.id, "1.json", "[1, -0, 1.0, 1e2, 9223372036854775807, -9223372036854775808, 9223372036854775808, 0.1, 0.10, 123456789.12345678,"
			      " 3.14159265358979323846, 1e-7, 100000000000000000000, 12345678901234567890.0, 9007199254740993.0, -1e400, 5e-324, true, false, null]");
	is("SELECT i.value, j.path FROM numbers, Json_Each('[7]') i, JSON_TREE(body) j WHERE j.id = 3", "7|$\n");
	is("SELECT group_concat(typeof(body ->> i.value) || ' ' || (body ->> i.value), ', ') FROM numbers, "
	   "json_each('[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,17,18,19]') i",
	   "integer 1, integer 0, real 1.0, real 100.0, integer 9223372036854775807, integer -9223372036854775808, "
	   "text 9223372036854775808, real 0.1, real 0.1, real 123456789.123457, text 3.14159265358979323846, real 1.0e-07, "
	   "real 1.0e+20, text 12345678901234567890.0, integer 9007199254740993, text -1e400, integer 1, integer 0\n");
	is("SELECT body ->> '$[9]', body ->> '$[16]' FROM numbers", "r123456789.12345678|r4.9406564584124654e-324\n");
	/* Texts that are no bodies, too. */
	is("SELECT '{\"n\":18446744073709551616}' ->> 'n', '{\"n\":1.10}' -> 'n', json_extract('{\"n\":1e400}', '$.n'), "
	   "json_extract('[1.10, {\"a\" : 2}]', '$[0]', '$[1]', '$[2]')", "18446744073709551616|1.10|1e400|[1.10,{\"a\":2},null]\n");
	is("SELECT body ->> 'tags' ->> 1 ->> 'b', body -> 'tags' -> 1, json_array(body -> 'at'), json_array(body ->> 'at') FROM cars "
	   "WHERE _id = 'old/1'", "2|{\"b\":2}|[[1.50,2]]|[\"[1.50,2]\"]\n");
	is("SELECT 'x' ->> 'a'", "ERROR (0:0): malformed JSON");
	is("SELECT body ->> '$.a[' FROM cars", "ERROR (0:0): no path into JSON: '$.a['");
}

/* A document whose text has more than its style says, a large one with a trail, and one that was changed apart. */
static void test_records(void)
{
	struct attr at, d;
	struct version *v = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	dir(&NODE_ROOT, "records", &d);
	doc(&d.id, "source.json", "{ \"a\":1,\n\n\n     \"n\":\n1.10,  \"m\" : 1.0}");
	doc(&d.id, "large.json", "{}");
	doc(&d.id, "apart.json", "{\"n\":1,\"m\":1}");
	is("SELECT body ->> 'n', body -> 'n', body ->> 'm', body -> 'm' FROM records WHERE _id = 'source'", "r1.1000000000000001|1.10|r1|1.0\n");
	if (rep_lookup(p.r, &d.id, "source.json", &at) < 0 || replica_read(p.r, &at.id, &v) < 0 ||
	    rep_save(p.r, &at.id, v, "{ \"a\":1,\n\n\n     \"n\":\n1.100,  \"m\" : 1}") < 0)
		tap_bail("save");
	version_unref(v);
	is("SELECT body -> 'n', body ->> 'm', body FROM records WHERE _id = 'source'", "1.100|1|{ \"a\":1,\n\n\n     \"n\":\n1.100,  \"m\" : 1}\n");
	/* One value after the other in a large document: they go behind the record. */
	if (rep_lookup(p.r, &d.id, "large.json", &at) < 0)
		tap_bail("lookup");
	for (int i = 0; i < 4; i++) {
		buf_reset(&b);
		buf_putf(&b, "{\"n\":%d,\"text\":\"", 100 + i);
		for (int k = 0; k < 4000; k++)
			buf_puts(&b, "0123456789 and some more ");
		buf_puts(&b, "\"}\n");
		v = NULL;
		if (replica_read(p.r, &at.id, &v) < 0 || rep_save(p.r, &at.id, v, buf_cstr(&b)) < 0)
			tap_bail("save large");
		version_unref(v);
	}
	is("SELECT body ->> 'n', length(body ->> 'text') FROM records WHERE _id = 'large'", "103|100000\n");
	if (rep_lookup(p.r, &d.id, "apart.json", &at) < 0)
		tap_bail("lookup");
	v = NULL;
	if (rep_apply(&q, rep_delta(&p, &q, &d.id, &a), NULL) < 0 || rep_apply(&q, rep_delta(&p, &q, &at.id, &a), NULL) < 0 ||
	    replica_read(q.r, &at.id, &v) < 0 || rep_save(q.r, &at.id, v, "{\"n\":3,\"m\":1}") < 0)
		tap_bail("apart");
	version_unref(v);
	v = NULL;
	if (replica_read(p.r, &at.id, &v) < 0 || rep_save(p.r, &at.id, v, "{\"n\":2,\"m\":{\"x\":5}}") < 0 ||
	    rep_apply(&p, rep_delta(&q, &p, &at.id, &a), NULL) < 0)
		tap_bail("apart");
	version_unref(v);
	char *shown = rep_read(p.r, &at.id);
	snprintf((char *)buf_reserve(&b, 100), 100, "%s|%d|5\n", shown, strstr(shown, "\"n\":3") ? 3 : 2);
	is_str(ask(p.r, "SELECT body, body ->> 'n', body ->> 'm.x', body ->> '$.m.x' FROM records WHERE _id = 'apart'") + 0,
	       ask(p.r, "SELECT body, body ->> 'n', NULL, json_extract(body || '', '$.m.x') FROM records WHERE _id = 'apart'"),
	       "what was written apart is what is shown");
	free(shown);
}

/* ---- names ---- */

static void test_names(void)
{
	struct attr at, odd, up, low;
	dir(&NODE_ROOT, "odd \"name\" ü", &odd);
	doc(&odd.id, "x y.json", "{\"two words\": 1, \"A\": 2, \"a\": 3, \"\": 4, \"it's\": 5, \"a.b\": 6}");
	is("SELECT _id, body ->> '$.\"two words\"', body ->> 'A', body ->> 'a', body ->> '$.\"\"', body ->> 'it''s', body ->> '$.\"a.b\"' "
	   "FROM \"odd \"\"name\"\" ü\"", "x y|1|2|3|4|5|6\n");
	dir(&NODE_ROOT, "Case", &up);
	dir(&NODE_ROOT, "case", &low);
	doc(&up.id, "1.json", "{}");
	doc(&low.id, "2.json", "{}");
	is("SELECT _id FROM \"Case\"", "1\n");
	is("SELECT _id FROM \"case\"", "2\n");
	is("SELECT * FROM \"Case\", \"case\"", "ERROR (0:0): Case and case are one name in SQL: ask about them one after the other");
	is("SELECT _id FROM Cars", "ERROR (1:17): there is no collection \"Cars\" here; there are: Case, cars, case, numbers, odd \"name\" ü, people, records");
	is("SELECT _id FROM main.people ORDER BY 1", "1\nanna\n");
	dir(&NODE_ROOT, "shoal", &at);
	is("SELECT count(*) FROM shoal", "0\n");
	is("SELECT count(*) FROM \"cars/7.json\"", "ERROR (1:23): there is no collection \"cars/7.json\" here; there are: Case, cars, case, numbers, "
	   "odd \"name\" ü, people, records, shoal");
	/* Two nodes under one name. */
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr x, y;
	if (rep_apply(&q, rep_delta(&p, &q, &low.id, &a), NULL) < 0 || rep_create(q.r, &low.id, "a.json", "{\"of\":\"q\"}", &x) < 0 ||
	    rep_rename(q.r, &x.id, &low.id, "b.json", 0) < 0 || rep_create(p.r, &low.id, "b.json", "{\"of\":\"p\"}", &y) < 0 ||
	    rep_apply(&p, rep_delta(&q, &p, &x.id, &a), NULL) < 0)
		tap_bail("contested");
	is("SELECT count(*), count(DISTINCT body ->> 'of'), sum(_id = 'b'), sum(_id GLOB 'b~[0-9a-f]*') FROM \"case\" WHERE _id LIKE 'b%'", "2|2|1|1\n");
	is("SELECT count(*) FROM \"case\" a JOIN \"case\" b ON a._id = b._id AND a._path = b._path AND a.body = b.body", "3\n");
	/* A directory that moves takes its documents along. */
	if (rep_rename(p.r, &old.id, &people.id, "of cars", 0) < 0 && rep_rename(p.r, &old.id, &cars.id, "of cars", 0) < 0)
		tap_bail("rename");
	is("SELECT _id FROM cars ORDER BY 1", "7\n8\nof cars/1\n");
}

/* ---- errors ---- */

static void test_errors(void)
{
	is("SELECT nix FROM cars", "ERROR (1:8): there is no column \"nix\"; tables have _id, _path, _mtime, _version and body, and members are "
	   "body ->> '$.name', and by their names where they are indexed; texts stand in '…'");
	is("SELECT\n body ->> 'x',\n  nix(1) FROM cars", "ERROR (3:3): no such function: nix");
	is("SELECT body ->> 'ü', body ->> 'x' FORM cars", "ERROR (1:40): near \"cars\": syntax error");
	is("EXPLAIN\nSELECT body ->> 'x' FRM cars WHERE", "ERROR (2:25): near \"cars\": syntax error");
	is("", "ERROR (0:0): the query is empty");
	is(" -- nothing\n;", "ERROR (0:0): the query is empty");
	is("SELECT 1; SELECT 2", "ERROR (1:10): one query at a time: something stands behind the first one");
	is("SELECT 1; -- and no more\n ", "1\n");
	static const char *const refused[] = {
		"DELETE FROM cars", "INSERT INTO cars VALUES (1)", "UPDATE cars SET body = 1", "CREATE TABLE x(a)", "DROP TABLE cars",
		"ATTACH '/tmp/x' AS x", "PRAGMA user_version", "SELECT * FROM pragma_table_info('cars')", "BEGIN", "VACUUM",
		"SELECT * FROM sqlite_master", "SELECT load_extension('x')", "CREATE TEMP VIEW v AS SELECT 1", "REINDEX", "ANALYZE",
		"CREATE VIRTUAL TABLE v USING cars", "SAVEPOINT x", "EXPLAIN DELETE FROM cars", "WITH x AS (SELECT 1) DELETE FROM cars",
	};
	unsigned wrong = 0;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		const char *got = ask(p.r, refused[i]);
		if (strncmp(got, "ERROR", 5) != 0) {
			wrong++;
			tap_diag("%s: %s", refused[i], got);
		}
	}
	ok(wrong == 0, "nothing but questions");
	is("DELETE FROM cars", "ERROR (0:0): a query only reads collections: changing anything is not allowed");
	is("SELECT count(*) FROM cars", "3\n");
}

/* ---- who is meant by body ---- */

static void test_scopes(void)
{
	is("SELECT (SELECT body ->> 'x' FROM (SELECT '{\"x\":1}' AS body)) FROM cars WHERE _id = '7'", "1\n");
	is("SELECT (SELECT t.body ->> 'x' FROM (SELECT '{\"x\":2}' AS body) AS t) FROM cars t WHERE _id = '7'", "2\n");
	is("WITH cars AS (SELECT '{\"doors\":9}' AS body) SELECT body ->> 'doors' FROM cars", "9\n");
	is("SELECT body ->> 'doors' FROM (SELECT body FROM cars WHERE _id = '7')", "3\n");
	is("SELECT '{\"doors\":8}' AS body FROM cars WHERE body ->> 'doors' = 3", "{\"doors\":8}\n");
	is("SELECT - body ->> 'doors' FROM cars WHERE _id = '7'", "~\n"); /* of 0 */
	is("SELECT 1 - body ->> 'doors' FROM cars WHERE _id = '7'", "-2\n");
	is("SELECT '[' || body ->> 'doors' FROM cars WHERE _id = '7'", "ERROR (0:0): malformed JSON");
	is("SELECT 'body ->> ''doors''', \"body\" ->> 'doors' -- body ->> 'x'\n FROM cars WHERE _id = '7'", "body ->> 'doors'|3\n");
	struct asked a = { 0 };
	ask_into(p.r, "SELECT body->>'doors', 2 * body  ->> '$.doors', body->'at', body, _id AS i, (SELECT body -> 'x') FROM cars", NULL, 0, &a, NULL);
	is_str((char *)a.head.data, "body->>'doors'|2 * body  ->> '$.doors'|body->'at' (JSON)|body (JSON)|i|(SELECT body -> 'x') (JSON)", "names of columns");
	buf_done(&a.out);
	buf_done(&a.head);
}

/* ---- parameters, moments, limits ---- */

static void test_params(void)
{
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct query_param param[3] = { { .name = "n" }, { .name = "t" }, { .name = "x" } };
	struct asked a = { 0 };
	struct err e = { 0 };
	query_param_parse(&arena, "3", &param[0].value);
	query_param_parse(&arena, "\"3\"", &param[1].value);
	query_param_parse(&arena, "18446744073709551616", &param[2].value);
	ask_into(p.r, "SELECT _id, :t, $n, typeof(@x), :x FROM cars WHERE body ->> 'doors' = :n AND body ->> 'doors' <> :t", param, 3, &a, &e);
	is_str((char *)a.out.data, "7|3|3|text|18446744073709551616\n", "parameters");
	is_int(ask_into(p.r, "SELECT :n, :m", param, 1, &a, &e), -EINVAL, "one without a value");
	is_str(e.message, ":m has no value: give --param m=VALUE", "said");
	is_int(ask_into(p.r, "SELECT :n", param, 2, &a, &e), -EINVAL, "one too many");
	is_str(e.message, "there is no parameter :t in the query", "said");
	is_int(ask_into(p.r, "SELECT ?", param, 1, &a, &e), -EINVAL, "one without a name");
	buf_done(&a.out);
	buf_done(&a.head);
}

struct meddler {
	unsigned calls;
	struct id dir;
};

static int write_more(const struct query_value *v, unsigned n, void *userdata)
{
	struct asked *a = userdata;
	struct meddler *m = a->userdata;
	struct attr at;
	char name[32];
	snprintf(name, sizeof(name), "new%u.json", m->calls++);
	if (rep_create(p.r, &m->dir, name, "{\"n\":5}", &at) < 0)
		tap_bail("create");
	return asked_row(v, n, a);
}

static void test_moment(void)
{
	struct attr at;
	struct meddler m = { 0 };
	struct asked a = { .userdata = &m };
	struct err e = { 0 };
	const char *sql = "SELECT x._id, (SELECT count(*) FROM moment) FROM moment x, moment y WHERE x.body ->> 'n' = y.body ->> 'n'";
	const struct query query = { .sql = sql, .len = strlen(sql) };
	const struct query_sink sink = { .columns = asked_columns, .row = write_more, .userdata = &a };
	dir(&NODE_ROOT, "moment", &at);
	m.dir = at.id;
	doc(&at.id, "1.json", "{\"n\":5}");
	doc(&at.id, "2.json", "{\"n\":5}");
	int rc = query_run(p.r, &query, &sink, &e);
	is_int(rc, 0, "asked while others write");
	is_uint(a.rows, 4, "what came meanwhile is not seen");
	is("SELECT count(*) FROM moment", "6\n");
	buf_done(&a.out);
	buf_done(&a.head);
}

static int give_up(void *userdata)
{
	unsigned *left = userdata;
	return (*left)-- == 0 ? -ETIMEDOUT : 0;
}

static void test_limits(void)
{
	unsigned left = 50;
	struct asked a = { .check = give_up, .userdata = &left, .memory = 8u << 20 };
	struct err e = { 0 };
	is_int(ask_into(p.r, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", NULL, 0, &a, &e), -ETIMEDOUT,
	       "one without an end is ended");
	left = 5;
	is_int(ask_into(p.r, "SELECT count(*) FROM numbers a, numbers b, moment, moment, moment, moment, moment, moment, moment, moment, moment",
			NULL, 0, &a, &e), -ETIMEDOUT, "so is a long one");
	a.check = NULL;
	is_int(ask_into(p.r, "WITH RECURSIVE n(i, t) AS (SELECT 1, hex(zeroblob(1000)) UNION ALL SELECT i + 1, t FROM n WHERE i < 100000) "
			     "SELECT count(*) FROM (SELECT i, t FROM n ORDER BY t, -i)", NULL, 0, &a, &e), -ENOMEM, "a sort takes too much memory");
	is_str(e.message, "the query takes more memory than it may (query.memory)", "said");
	a.rows = 0;
	is_int(ask_into(p.r, "SELECT 1", NULL, 0, &a, &e), 0, "the next one has it again");
	is_uint(a.rows, 1, "and gives its row");
	buf_done(&a.out);
	buf_done(&a.head);
	/* Filters, which have SQLite as well, are not concerned. */
	_cleanup_(buf_done) struct buf b = { 0 };
	for (int i = 0; i < (int)QUERY_SQL_MAX; i++)
		buf_u8(&b, ' ');
	buf_puts(&b, "SELECT 1");
	is(buf_cstr(&b), "ERROR (0:0): a query may have 1048576 bytes, not more");
	is("SELECT '\xff'", "ERROR (0:0): a query is UTF-8 without NUL");
	/* More members than there is room for are taken from the text. */
	buf_reset(&b);
	buf_puts(&b, "SELECT 0");
	for (int i = 0; i < 80; i++)
		buf_putf(&b, " + coalesce(body ->> 'm%d', 0)", i);
	buf_puts(&b, " + (body ->> 'doors') FROM cars WHERE _id = '7'");
	is(buf_cstr(&b), "3\n");
}

static void test_plans(void)
{
	is("EXPLAIN SELECT * FROM cars", "read every document of cars (about 3)\n");
	is("EXPLAIN QUERY PLAN SELECT * FROM cars WHERE _id = :x", "look up one document of cars by _id\n");
	is("EXPLAIN SELECT c._id FROM cars c JOIN people p ON c.body ->> 'owner' = p.body ->> '$.name' ORDER BY 1",
	   "read every document of c\nfind those of p by p.body ->> '$.name', kept in memory\nsort them for ORDER BY\n");
	is("SELECT c._id, p.body ->> 'name' FROM cars c JOIN people p ON c.body ->> 'owner' = p._id ORDER BY 1", "7|Anna\n8|Eins\n");
	is("explain select body ->> 'maker', count(*) from cars group by 1", "read every document of cars (about 3)\nsort them into groups\n");
}

/* ---- indexes: those of cars on /maker and of /owner with /doors ---- */

static void plan(const char *what, const char *want)
{
	char sql[400], line[400];
	snprintf(sql, sizeof(sql), "EXPLAIN SELECT _id FROM cars WHERE %s", what);
	snprintf(line, sizeof(line), "%s\n", want);
	is(sql, line);
}

static void test_indexes(void)
{
	static const char *const maker[] = { "/maker" }, *const owner[] = { "/owner", "/doors" }, *const deep[] = { "/tags/1/b" };
	static const char by_maker[] = "find those of cars with the index on /maker",
			  by_owner[] = "find those of cars with the index on /owner /doors";
	if (replica_index(p.r, &cars.id, maker, 1, NULL) < 0 || replica_index(p.r, &cars.id, owner, 2, NULL) < 0 ||
	    replica_index(p.r, &cars.id, deep, 1, NULL) < 0)
		tap_bail("replica_index");
	plan("maker = 'vw'", "read every document of cars (about 3)");
	while (replica_index_step(p.r, NULL) == 1)
		;
	plan("body ->> 'maker' = 'vw'", by_maker);
	plan("maker = 'vw'", by_maker);
	plan("'a' < cars.\"maker\"", by_maker);
	plan("maker BETWEEN 'a' AND 'f' || 'g'", by_maker);
	plan("body ->> '$.maker' LIKE 'V%'", by_maker);
	plan("owner = 1 AND doors > 2", by_owner);
	plan("doors > 2", "read every document of cars (about 3)");
	plan("maker = :m", "find those of cars with the index on /maker, kept in memory once many were asked for");
	plan("maker LIKE _id", "read every document of cars (about 3)");
	plan("+maker = 'vw'", "read every document of cars (about 3)");
	is("EXPLAIN SELECT maker FROM cars ORDER BY maker LIMIT 2", "read cars in the order of the index on /maker\n");
	is("SELECT maker, upper(maker) AS x, body ->> 'maker' FROM cars ORDER BY maker LIMIT 2", "dkw|DKW|dkw\nfiat|FIAT|fiat\n");
	is("SELECT _id, doors FROM cars WHERE maker IN ('vw', 'dkw', 5, NULL) ORDER BY 1", "7|3\nof cars/1|2\n");
	is("SELECT _id FROM \"cars/of cars\" WHERE maker > 'a'", "1\n");
	is("SELECT _id FROM cars WHERE \"tags/1/b\" = 2", "of cars/1\n");
	is("SELECT maker AS doors, count(*) FROM cars GROUP BY maker ORDER BY doors", "dkw|1\nfiat|1\nvw|1\n");
	is("WITH maker AS (SELECT 'vw' AS maker) SELECT cars._id, maker.maker FROM cars, maker WHERE cars.maker = maker.maker", "7|vw\n");
	is("SELECT a._id FROM cars a JOIN cars b USING (maker) ORDER BY 1", "7\n8\nof cars/1\n");
	is("SELECT _id FROM cars WHERE owner = _id", "");
	is("SELECT c._id, p._id FROM cars c JOIN people p ON c.owner = p._id ORDER BY 1", "7|anna\n8|1\n");
	is("SELECT (SELECT 'x' AS maker), _id FROM people WHERE maker = 1", "ERROR (1:53): there is no column \"maker\"; tables have _id, _path, "
	   "_mtime, _version and body, and members are body ->> '$.name', and by their names where they are indexed; texts stand in '…'");
	struct asked a = { 0 };
	ask_into(p.r, "SELECT Maker, cars.doors FROM cars", NULL, 0, &a, NULL);
	is_str((const char *)a.head.data, "Maker|doors", "columns are called as they were");
	buf_done(&a.out);
	buf_done(&a.head);
	a = (struct asked){ 0 };
	ask_into(p.r, "SELECT * FROM cars", NULL, 0, &a, NULL);
	is_str((const char *)a.head.data, "_id|_path|_mtime|_version|body (JSON)", "* has none of them");
	buf_done(&a.out);
	buf_done(&a.head);
}

int main(void)
{
	tap_plan(82 + 24);
	rep_open(&p, NULL, 1, 7);
	rep_open(&q, NULL, 2, 7);
	test_tables();
	test_values();
	test_records();
	test_names();
	test_errors();
	test_scopes();
	test_params();
	test_moment();
	test_limits();
	test_plans();
	test_indexes();
	rep_close(&p);
	rep_close(&q);
	return tap_done();
}
