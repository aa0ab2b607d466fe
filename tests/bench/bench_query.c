/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries over 100,000 documents, against SQLite with the same documents as JSON in a table of a file: the same text of
 * each query, in this process, best of three. Arguments: another number of documents,
 * and a part of the names of those figures that are wanted. */
#include <sqlite3.h>
#include <stdlib.h>

#include "engine/json.h"
#include "engine/query.h"
#include "tests/bench/figure.h"
#include "tests/replicas.h"

#define PEOPLE 1000
#define LOOKUPS 2000

static unsigned documents = 100000;
static struct rep p;
static sqlite3 *db;
static const char *only;

static size_t car(unsigned n, char text[static 1024])
{
	static const char *const makers[] = { "vw", "fiat", "skoda", "saab", "lada", "dacia", "mini", "tesla" };
	static const char *const cities[] = { "Bern", "Köln", "Porto", "Oslo", "Riga" };
	uint64_t h = n * UINT64_C(0x9e3779b97f4a7c15);
	h ^= h >> 29;
	return (size_t)snprintf(text, 1024,
				"{\"maker\":\"%s\",\"model\":\"model %u\",\"doors\":%u,\"price\":%u.%02u,\"sold\":%s,\"owner\":\"p%u\","
				"\"address\":{\"city\":\"%s\",\"street\":\"Some street %u\",\"zip\":\"%05u\"},"
				"\"tags\":[\"a%u\",\"b%u\"],\"note\":\"What there is to say of car %u, which is not much\"}",
				makers[h % 8], (unsigned)(h >> 8) % 500, 2 + (unsigned)(h >> 16) % 4, 1000 + (unsigned)(h >> 20) % 50000,
				(unsigned)(h >> 36) % 100, h & 1024 ? "true" : "false", (unsigned)(h >> 40) % PEOPLE,
				cities[(h >> 12) % 5], (unsigned)(h >> 50) % 200, (unsigned)(h >> 30) % 100000, (unsigned)h % 10,
				(unsigned)(h >> 5) % 10, n);
}

static size_t person(unsigned n, char text[static 1024])
{
	return (size_t)snprintf(text, 1024, "{\"name\":\"Person %u\",\"born\":%u}", n, 1940 + n % 70);
}

static void load(const char *collection, unsigned n, size_t (*make)(unsigned n, char text[static 1024]), char key)
{
	char sql[200], path[64], name[32], text[1024];
	struct attr at;
	sqlite3_stmt *s;
	if (rep_mkdir(p.r, &NODE_ROOT, collection, &at) < 0)
		tap_bail("mkdir");
	snprintf(sql, sizeof(sql), "CREATE TABLE %s(_id TEXT PRIMARY KEY, _path TEXT, _mtime TEXT, _version TEXT, body TEXT)", collection);
	sqlite3_exec(db, sql, NULL, NULL, NULL);
	snprintf(sql, sizeof(sql), "INSERT INTO %s VALUES (?, ?, '2026-11-29 10:00:00.000000000', '00000000000000000000000000000000', ?)",
		 collection);
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		tap_bail("%s", sqlite3_errmsg(db));
	sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	for (unsigned i = 0; i < n;) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct txn_step step[500];
		struct txn_result result[500];
		struct err e = { 0 };
		uint32_t k = 0, bad;
		for (; k < 500 && i < n; k++, i++) {
			struct json *v;
			size_t len = make(i, text);
			snprintf(name, sizeof(name), "%c%u", key, i);
			snprintf(path, sizeof(path), "%s/%s.json", collection, name);
			const char *copy = arena_dup(&a, text, len);
			if (json_parse(&a, copy, len, NULL, &v, &e) < 0)
				tap_bail("%s", e.message);
			step[k] = (struct txn_step){ .op = TXN_PUT, .path = arena_dup(&a, path, strlen(path)), .value = v };
			sqlite3_bind_text(s, 1, name, -1, SQLITE_TRANSIENT);
			sqlite3_bind_text(s, 2, path, -1, SQLITE_TRANSIENT);
			sqlite3_bind_text(s, 3, copy, (int)len, SQLITE_TRANSIENT);
			if (sqlite3_step(s) != SQLITE_DONE)
				tap_bail("%s", sqlite3_errmsg(db));
			sqlite3_reset(s);
		}
		if (replica_txn(p.r, step, k, result, &bad, &e) < 0)
			tap_bail("%s", e.message);
	}
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_finalize(s);
	replica_flush(p.r, NULL);
}

static uint64_t checksum, rows;

static int columns(const struct query_column *c, unsigned n, void *userdata)
{
	(void)c;
	(void)n;
	(void)userdata;
	return 0;
}

static int row(const struct query_value *v, unsigned n, void *userdata)
{
	(void)userdata;
	rows++;
	for (unsigned i = 0; i < n; i++)
		checksum += v[i].type >= QUERY_TEXT ? v[i].len : (uint64_t)v[i].integer;
	return 0;
}

static void ask_shoal(const char *sql, const char *id)
{
	const struct query_param param = { "id", { .type = QUERY_TEXT, .text = id, .len = id ? strlen(id) : 0 } };
	const struct query q = { .sql = sql, .len = strlen(sql), .param = &param, .n_params = id ? 1 : 0, .memory = 256u << 20 };
	const struct query_sink sink = { .columns = columns, .row = row };
	struct err e = { 0 };
	if (query_run(p.r, &q, &sink, &e) < 0)
		tap_bail("%s: %s", sql, e.message);
}

static void ask_sqlite(const char *sql, const char *id)
{
	sqlite3_stmt *s;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		tap_bail("%s", sqlite3_errmsg(db));
	if (id)
		sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
	while (sqlite3_step(s) == SQLITE_ROW) {
		rows++;
		for (int i = 0; i < sqlite3_column_count(s); i++) {
			int type = sqlite3_column_type(s, i);
			if (type == SQLITE_TEXT)
				(void)sqlite3_column_text(s, i);
			checksum += type == SQLITE_TEXT ? (uint64_t)sqlite3_column_bytes(s, i) : type == SQLITE_INTEGER ?
				    (uint64_t)sqlite3_column_int64(s, i) : 0;
		}
	}
	sqlite3_finalize(s);
}

static double best(void (*ask)(const char *sql, const char *id), const char *sql, unsigned times)
{
	double least = 1e9;
	for (unsigned round = 0; round < 3; round++) {
		double since = now();
		rows = 0;
		for (unsigned i = 0; i < times; i++) {
			char id[32];
			snprintf(id, sizeof(id), "c%u", (unsigned)(i * UINT64_C(2654435761) % documents));
			ask(sql, times > 1 ? id : NULL);
		}
		double took = (now() - since) / times;
		least = took < least ? took : least;
	}
	return least;
}

static void compare(const char *name, const char *sql, unsigned times)
{
	if (only && !strstr(name, only))
		return;
	double x = best(ask_shoal, sql, times) * 1e3;
	uint64_t n = rows;
	double y = best(ask_sqlite, sql, times) * 1e3;
	if (n != rows)
		tap_bail("%s: %llu rows, SQLite has %llu", sql, (unsigned long long)n, (unsigned long long)rows);
	printf("%s\t%.4g\tms\tsqlite=%.4g\n", name, x, y);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		documents = (unsigned)strtoul(argv[1], NULL, 10);
	only = argc > 2 ? argv[2] : NULL;
	rep_open(&p, tap_path("db"), 1, 7);
	if (sqlite3_open(tap_path("sqlite.db"), &db) != SQLITE_OK)
		tap_bail("sqlite3_open");
	sqlite3_exec(db, "PRAGMA cache_size=-262144", NULL, NULL, NULL);
	double since = now();
	load("cars", documents, car, 'c');
	load("people", PEOPLE, person, 'p');
	fprintf(stderr, "bench_query: %u documents loaded in %.1f s\n", documents, now() - since);
	compare("query: get by id", "SELECT body FROM cars WHERE _id = :id", LOOKUPS);
	compare("query: get a field by id", "SELECT body ->> '$.price' FROM cars WHERE _id = :id", LOOKUPS);
	compare("query: 2,000 by id in one query", "SELECT sum(length(_path)) FROM cars WHERE _id IN "
		"(WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) SELECT 'c' || (i * 48271 % 100000) FROM n)", 1);
	compare("query: count", "SELECT count(*) FROM cars", 1);
	compare("query: equality, scan", "SELECT _id FROM cars WHERE body ->> '$.model' = 'model 77'", 1);
	compare("query: range, scan", "SELECT count(*) FROM cars WHERE body ->> '$.price' BETWEEN 9000 AND 12000", 1);
	compare("query: nested field, scan", "SELECT count(*) FROM cars WHERE body ->> '$.address.city' = 'Oslo'", 1);
	compare("query: element of an array, scan", "SELECT count(*) FROM cars WHERE body ->> '$.tags[0]' = 'a7'", 1);
	compare("query: top 10 by field", "SELECT _id, body ->> '$.price' FROM cars ORDER BY body ->> '$.price' DESC LIMIT 10", 1);
	compare("query: group by", "SELECT body ->> '$.maker', count(*), avg(body ->> '$.price') FROM cars GROUP BY 1", 1);
	compare("query: join by _id", "SELECT count(*) FROM cars c JOIN people p ON p._id = c.body ->> '$.owner' "
				      "WHERE p.body ->> '$.born' > 1980", 1);
	compare("query: join by fields", "SELECT count(*) FROM people a JOIN people b ON a.body ->> '$.born' = b.body ->> '$.born' + 1", 1);
	compare("query: every body", "SELECT body FROM cars", 1);
	compare("query: text anywhere", "SELECT count(*) FROM cars WHERE body LIKE '%Riga%'", 1);
	compare("query: window", "SELECT max(n) FROM (SELECT row_number() OVER (PARTITION BY body ->> '$.maker' ORDER BY body ->> '$.price') AS n "
				 "FROM cars)", 1);
	sqlite3_close(db);
	rep_close(&p);
	return 0;
}
