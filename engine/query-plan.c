/* SPDX-License-Identifier: GPL-2.0-or-later */

/* EXPLAIN: SQLite's query plan, which is a tree of terse notes, in plain words, a line each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/query-impl.h"

#define DEPTH_MAX 32

/* "SCAN x VIRTUAL TABLE INDEX 8:1f how": x is a table, or another name that it has in the query. */
static bool put_table(struct query_run *run, const char *text, struct buf *b)
{
	const char *index = strstr(text, " VIRTUAL TABLE INDEX "), *colon = index ? strchr(index, ':') : NULL;
	const char *how = colon ? strchr(colon, ' ') : NULL;
	if (!how)
		return false;
	const char *as = strstr(text, " AS ");
	size_t len = (size_t)(index - text);
	_cleanup_free_ char *name = strndup(text, as && as < index ? (size_t)(as - text) : len);
	uint64_t guess = 0;
	const char *table = name ? tables_path(run, name, &guess) : NULL;
	int n = (int)(len < 200 ? len : 200);
	how++;
	if (strcmp(how, "_id") == 0 || strcmp(how, "_path") == 0)
		buf_putf(b, "look up one document of %.*s by %s", n, text, how);
	else if (*how == '#')
		buf_putf(b, "find those of %.*s with the index on %s", n, text, how + 1);
	else if (*how == '=')
		buf_putf(b, "read %.*s in the order of the index on %s", n, text, how + 1);
	else if (*how)
		buf_putf(b, "find those of %.*s by %s, kept in memory", n, text, how);
	else if (table)
		buf_putf(b, "read every document of %.*s (about %llu)", n, text, (unsigned long long)guess);
	else
		buf_putf(b, "read every document of %.*s", n, text);
	return true;
}

static void put_note(struct query_run *run, const char *note, struct buf *b)
{
	static const struct {
		const char *note, *words;
	} known[] = {
		{ "USE TEMP B-TREE FOR ORDER BY", "sort them for ORDER BY" },
		{ "USE TEMP B-TREE FOR LAST TERM OF ORDER BY", "sort those that are equal so far for the last term of ORDER BY" },
		{ "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY", "sort those that are equal so far for the rest of ORDER BY" },
		{ "USE TEMP B-TREE FOR GROUP BY", "sort them into groups" },
		{ "USE TEMP B-TREE FOR DISTINCT", "remember what came already, for DISTINCT" },
		{ "SCAN CONSTANT ROW", "one row that is in the query" },
		{ "COMPOUND QUERY", "several queries, one after the other" },
		{ "LEFT-MOST SUBQUERY", "the first of them" },
		{ "UNION ALL", "then the next one" },
		{ "UNION USING TEMP B-TREE", "then the next one, without rows that came already" },
		{ "EXCEPT USING TEMP B-TREE", "then the next one, whose rows are taken away" },
		{ "INTERSECT USING TEMP B-TREE", "then the next one, of which only rows in both stay" },
		{ "MULTI-INDEX OR", "for each side of OR" },
		{ "RECURSIVE STEP", "again and again, until nothing is added" },
		{ "SETUP", "to begin with" },
	};
	const char *rest = text_behind(note, "SCAN ");
	rest = rest ? rest : text_behind(note, "SEARCH ");
	if (rest && put_table(run, rest, b))
		return;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(note, known[i].note) == 0) {
			buf_puts(b, known[i].words);
			return;
		}
	if ((rest = text_behind(note, "CORRELATED SCALAR SUBQUERY ")))
		buf_putf(b, "for each of these rows, subquery %s", rest);
	else if ((rest = text_behind(note, "SCALAR SUBQUERY ")))
		buf_putf(b, "once, subquery %s", rest);
	else if ((rest = text_behind(note, "CORRELATED LIST SUBQUERY ")))
		buf_putf(b, "for each of these rows, list %s", rest);
	else if ((rest = text_behind(note, "LIST SUBQUERY ")))
		buf_putf(b, "once, list %s", rest);
	else if ((rest = text_behind(note, "MATERIALIZE ")))
		buf_putf(b, "make %s, in memory", rest);
	else if ((rest = text_behind(note, "CO-ROUTINE ")))
		buf_putf(b, "%s, row by row", rest);
	else if ((rest = text_behind(note, "SCAN ")))
		buf_putf(b, "go through %s", rest);
	else if ((rest = text_behind(note, "SEARCH ")))
		buf_putf(b, "find in %s", rest);
	else
		buf_puts(b, note);
}

/* How deep a note stands: its parents are the ids of others before it. */
static unsigned depth_of(int id, int parent, int *ids, int *depths, unsigned *n)
{
	unsigned depth = 0;
	for (unsigned i = 0; i < *n; i++)
		if (ids[i] == parent)
			depth = (unsigned)depths[i] + 1;
	if (*n < 1024) {
		ids[*n] = id;
		depths[(*n)++] = (int)depth;
	}
	return depth;
}

int plan_tell(struct query_run *run, sqlite3_stmt *s)
{
	static const struct query_column column = { "plan", false };
	int ids[1024], depths[1024], rc;
	unsigned n = 0;
	int r = run->sink->columns(&column, 1, run->sink->userdata);
	while (r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		_cleanup_(buf_done) struct buf line = { 0 }, words = { 0 };
		unsigned depth = depth_of(sqlite3_column_int(s, 0), sqlite3_column_int(s, 1), ids, depths, &n);
		const char *note = (const char *)sqlite3_column_text(s, 3);
		for (unsigned i = 0; i < depth && i < DEPTH_MAX; i++)
			buf_puts(&line, "  ");
		put_note(run, note ? note : "?", &words);
		const char *text = buf_cstr(&words);
		if (text)
			fields_name(run, text, &line);
		if (!text || buf_failed(&line))
			return -ENOMEM;
		const struct query_value v = { .type = QUERY_TEXT, .text = (const char *)line.data, .len = line.len };
		r = run->sink->row(&v, 1, run->sink->userdata);
	}
	return r != 0 ? r : rc == SQLITE_DONE ? 0 : -EIO;
}
