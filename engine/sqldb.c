/* SPDX-License-Identifier: GPL-2.0-or-later */

/* SQLite counts its memory for the process; a limit there would make filters fail because of a query. So it allocates through
 * functions that count for each thread. They are the ones that it has, and stay, whoever opens a database first. */
#include "engine/sqldb.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

static sqlite3_mem_methods real;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool counting;
static _Thread_local size_t used, most;

static bool refused(size_t n)
{
	return most && used + n > most;
}

static void *mem_malloc(int n)
{
	if (refused((size_t)n))
		return NULL;
	void *p = real.xMalloc(n);
	if (p && most)
		used += (size_t)real.xSize(p);
	return p;
}

static void give_back(void *p)
{
	size_t n = (size_t)real.xSize(p);
	used -= n < used ? n : used;
}

static void mem_free(void *p)
{
	if (p && most)
		give_back(p);
	real.xFree(p);
}

static void *mem_realloc(void *p, int n)
{
	if (!most)
		return real.xRealloc(p, n);
	size_t old = (size_t)real.xSize(p);
	if ((size_t)n > old && refused((size_t)n - old))
		return NULL;
	void *q = real.xRealloc(p, n);
	if (q) {
		used -= old < used ? old : used;
		used += (size_t)real.xSize(q);
	}
	return q;
}

static void setup(void)
{
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real) != SQLITE_OK)
		return;
	sqlite3_mem_methods mine = real;
	mine.xMalloc = mem_malloc;
	mine.xFree = mem_free;
	mine.xRealloc = mem_realloc;
	counting = sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) == SQLITE_OK;
}

void sqldb_limit_memory(size_t bytes)
{
	pthread_once(&once, setup);
	used = 0;
	most = counting ? bytes : 0;
}

int sqldb_open(const struct sqldb_limits *limits, sqlite3 **ret)
{
	static const int off[] = { SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_DQS_DML,
				   SQLITE_DBCONFIG_ENABLE_TRIGGER, SQLITE_DBCONFIG_ENABLE_VIEW,
				   SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION };
	sqlite3 *db = NULL;
	pthread_once(&once, setup);
	int rc = sqlite3_open_v2(":memory:", &db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < sizeof(off) / sizeof(*off); i++)
		(void)sqlite3_db_config(db, off[i], 0, NULL);
	if (rc == SQLITE_OK) {
		(void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, limits->value);
		(void)sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, limits->sql);
		(void)sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, limits->depth);
		(void)sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, limits->pattern);
		(void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
		(void)sqlite3_limit(db, SQLITE_LIMIT_TRIGGER_DEPTH, 0);
		(void)sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
		rc = sqlite3_exec(db, "PRAGMA temp_store=MEMORY", NULL, NULL, NULL);
	}
	if (rc != SQLITE_OK) {
		sqlite3_close(db);
		return -ENOMEM;
	}
	*ret = db;
	return 0;
}
