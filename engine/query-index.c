/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which index answers what a query asks of a table, and which of its entries. An index helps with equalities of its first
 * places, then with a range, a prefix or an order of the next one. SQLite checks each row again, so more of them than are wanted do
 * no harm.
 *
 * A plan (idxNum, query-table.c) has, above PLAN_COLUMN: 8 bits the number of the index, 4 how many equalities, 6 what follows. The
 * arguments are the values of the equalities, then the lower bound, then the upper one, or the pattern. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/indexkey.h"
#include "engine/query-impl.h"

enum { BOUND_LOWER = 1, BOUND_ABOVE = 2 /* not itself */, BOUND_UPPER = 4, BOUND_BELOW = 8, BOUND_LIKE = 16, BOUND_GLOB = 32 };

#define EQUALS_SHIFT (PLAN_COLUMN + 8)
#define BOUNDS_SHIFT (EQUALS_SHIFT + 4)
#define LETTERS 3 /* of a pattern of LIKE, whose cases are looked for each by itself */
#define RANGES_MAX (1 + (1 << LETTERS)) /* numbers, and each way of writing these */
#define ROW_COST 12.0

/* ---- plans ---- */

struct plan {
	unsigned equals, bounds;
	int by[INDEX_COLUMNS + 2]; /* constraints, in the order of the arguments */
	unsigned n;
	bool ordered;
	double rows;
};

static const struct jsonpath *place_of(const struct query_run *run, int column)
{
	if (column < COLUMNS)
		return NULL;
	const struct query_field *f = &run->fields.field[column - COLUMNS];
	return !f->named && (f->as == FIELD_VALUE || f->as == FIELD_EXTRACT) ? &f->path : NULL;
}

/* The constraint of that kind on that place; -1: there is none. */
static int find(const struct query_run *run, sqlite3_index_info *info, const struct jsonpath *place, int op)
{
	for (int i = 0; i < info->nConstraint; i++) {
		const struct sqlite3_index_constraint *c = &info->aConstraint[i];
		const struct jsonpath *p = c->usable && c->op == op ? place_of(run, c->iColumn) : NULL;
		if (p && jsonpath_equal(p, place) &&
		    (op == SQLITE_INDEX_CONSTRAINT_LIKE || op == SQLITE_INDEX_CONSTRAINT_GLOB ||
		     sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY") == 0))
			return i;
	}
	return -1;
}

static bool take(struct plan *p, const struct query_run *run, sqlite3_index_info *info, const struct jsonpath *place, int op,
		 unsigned bounds)
{
	int i = find(run, info, place, op);
	if (i < 0)
		return false;
	p->by[p->n++] = i;
	p->bounds |= bounds;
	return true;
}

/* Does it give the rows in the order that is asked for? */
static bool is_ordered(const struct query_run *run, const sqlite3_index_info *info, const struct rows_index *x, unsigned equals)
{
	uint32_t at = 0;
	if (x->cut || info->nOrderBy == 0)
		return false;
	for (int i = 0; i < info->nOrderBy; i++) {
		const struct jsonpath *p = place_of(run, info->aOrderBy[i].iColumn);
		if (!p || info->aOrderBy[i].desc)
			return false;
		bool same = false;
		for (uint32_t k = 0; k < equals && !same; k++)
			same = jsonpath_equal(p, &x->path[k]);
		if (same)
			continue;
		at = at < equals ? equals : at;
		if (at >= x->n || !jsonpath_equal(p, &x->path[at]))
			return false;
		at++;
	}
	return true;
}

static bool is_limited(const sqlite3_index_info *info)
{
	for (int i = 0; i < info->nConstraint; i++)
		if (info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_LIMIT)
			return true;
	return false;
}

static struct plan plan_with(const struct query_run *run, const struct rows_index *x, double n, sqlite3_index_info *info)
{
	struct plan p = { .rows = n };
	while (p.equals < x->n && take(&p, run, info, &x->path[p.equals], SQLITE_INDEX_CONSTRAINT_EQ, 0)) {
		p.equals++;
		p.rows = 1 + p.rows / 50;
	}
	if (p.equals < x->n) {
		const struct jsonpath *next = &x->path[p.equals];
		if (take(&p, run, info, next, SQLITE_INDEX_CONSTRAINT_GT, BOUND_LOWER | BOUND_ABOVE) ||
		    take(&p, run, info, next, SQLITE_INDEX_CONSTRAINT_GE, BOUND_LOWER))
			p.rows = 1 + p.rows / 8;
		if (take(&p, run, info, next, SQLITE_INDEX_CONSTRAINT_LT, BOUND_UPPER | BOUND_BELOW) ||
		    take(&p, run, info, next, SQLITE_INDEX_CONSTRAINT_LE, BOUND_UPPER))
			p.rows = 1 + p.rows / 8;
		if (!p.bounds && (take(&p, run, info, next, SQLITE_INDEX_CONSTRAINT_GLOB, BOUND_GLOB) ||
				  take(&p, run, info, next, SQLITE_INDEX_CONSTRAINT_LIKE, BOUND_LIKE)))
			p.rows = 1 + p.rows / 10;
	}
	p.ordered = is_ordered(run, info, x, p.equals);
	return p;
}

int index_choose(const struct query_run *run, const struct rows_index *x, uint32_t n_indexes, double n,
		 sqlite3_index_info *info)
{
	struct plan best = { .rows = 0 };
	double best_cost = 0;
	uint32_t which = n_indexes;
	for (uint32_t i = 0; i < n_indexes; i++) {
		if (!x[i].complete)
			continue;
		struct plan p = plan_with(run, &x[i], n, info);
		bool first_rows = p.ordered && is_limited(info);
		if (p.n == 0 && !first_rows)
			continue;
		/* For each row of others it may be cheaper in memory: BY_FIELD, which begins with the index as well. */
		sqlite3_value *known;
		if (p.n == 1 && p.equals == 1 && !first_rows && sqlite3_vtab_rhs_value(info, p.by[0], &known) != SQLITE_OK)
			continue;
		double cost = 10 + p.rows * ROW_COST;
		if (first_rows)
			cost = cost < 1000 ? cost : 1000;
		if (which == n_indexes || cost < best_cost || (!(cost > best_cost) && p.ordered && !best.ordered)) {
			best = p;
			best_cost = cost;
			which = i;
		}
	}
	if (which == n_indexes)
		return 0;
	for (unsigned i = 0; i < best.n; i++)
		info->aConstraintUsage[best.by[i]].argvIndex = (int)i + 1;
	info->orderByConsumed = best.ordered;
	info->estimatedRows = (sqlite3_int64)best.rows;
	info->estimatedCost = best_cost;
	return BY_INDEX | (int)which << PLAN_COLUMN | (int)best.equals << EQUALS_SHIFT | (int)best.bounds << BOUNDS_SHIFT;
}

const struct rows_index *index_of_plan(const struct rows_index *x, int plan)
{
	return &x[plan >> PLAN_COLUMN & 255];
}

/* ---- entries ---- */

/* False: nothing compares with it so that it is found. *ret_cut: texts that begin alike are not told apart. */
static bool put_value(struct buf *b, sqlite3_value *v, bool *ret_cut)
{
	*ret_cut = false;
	switch (sqlite3_value_type(v)) {
	case SQLITE_INTEGER:
		indexkey_integer(b, sqlite3_value_int64(v));
		return true;
	case SQLITE_FLOAT:
		indexkey_real(b, sqlite3_value_double(v));
		return true;
	case SQLITE_TEXT: {
		const char *text = (const char *)sqlite3_value_text(v);
		*ret_cut = indexkey_text(b, text ? text : "", (size_t)sqlite3_value_bytes(v));
		return true;
	}
	default:
		return false;
	}
}

struct ranges {
	struct buf base; /* the equalities */
	struct rows_range *range;
	uint32_t n;
};

static struct rows_range *add_range(struct ranges *x)
{
	if (x->n == RANGES_MAX)
		return NULL;
	struct rows_range *r = &x->range[x->n++];
	buf_put(&r->from, x->base.data, x->base.len);
	buf_put(&r->to, x->base.data, x->base.len);
	return r;
}

/* All that begin with what is there. */
static void end_prefix(const struct buf *from, struct buf *to)
{
	struct buf copy = { 0 };
	buf_put(&copy, from->data, from->len);
	store_prefix_end(copy.data, copy.len, to); /* no key is of ff alone: it begins with a kind */
	to->failed |= copy.failed;
	buf_done(&copy);
}

/* All values of a kind but NULL, between two kinds. */
static int kinds(struct ranges *x, uint8_t from, uint8_t to)
{
	struct rows_range *r = add_range(x);
	if (!r)
		return -ENOMEM;
	buf_u8(&r->from, from);
	buf_u8(&r->to, to);
	return 0;
}

static int bounded(struct ranges *x, unsigned bounds, sqlite3_value **v)
{
	struct rows_range *r = add_range(x);
	bool cut;
	if (!r)
		return -ENOMEM;
	if (!(bounds & BOUND_LOWER)) {
		buf_u8(&r->from, INDEXKEY_NULL + 1);
	} else if (!put_value(&r->from, *v++, &cut)) {
		/* What is greater than bytes are greater bytes, of which there are none. */
		buf_u8(&r->from, INDEXKEY_END);
	} else if (bounds & BOUND_ABOVE && !cut) {
		end_prefix(&r->from, &r->from);
	}
	if (!(bounds & BOUND_UPPER)) {
		buf_u8(&r->to, INDEXKEY_END);
	} else if (!put_value(&r->to, *v, &cut)) {
		/* Each value but NULL is less than bytes, none is than NULL. */
		buf_u8(&r->to, sqlite3_value_type(*v) == SQLITE_NULL ? INDEXKEY_NULL : INDEXKEY_END);
	} else if (!(bounds & BOUND_BELOW) || cut) {
		end_prefix(&r->to, &r->to);
	}
	/* The other way round there is nothing. */
	size_t n = r->from.len < r->to.len ? r->from.len : r->to.len;
	int cmp = buf_failed(&r->from) || buf_failed(&r->to) ? 0 : memcmp(r->from.data, r->to.data, n);
	if (cmp > 0 || (cmp == 0 && r->from.len > r->to.len)) {
		buf_reset(&r->to);
		buf_put(&r->to, r->from.data, r->from.len);
	}
	return 0;
}

static bool is_letter(char c)
{
	return ((unsigned char)c | 32) >= 'a' && ((unsigned char)c | 32) <= 'z';
}

/* Texts that begin so, in upper or lower case where `fold` is set; ascending. */
static int beginning(struct ranges *x, const char *text, size_t len, bool fold)
{
	char copy[INDEXKEY_TEXT_MAX];
	size_t letter[LETTERS], n = 0, end = 0;
	for (; end < len && end < sizeof(copy) && !(fold && n == LETTERS); end++) {
		copy[end] = text[end];
		if (fold && is_letter(text[end]))
			letter[n++] = end;
	}
	for (unsigned variant = 0; variant < 1u << n; variant++) {
		struct rows_range *r = add_range(x);
		if (!r)
			return -ENOMEM;
		for (size_t i = 0; i < n; i++) {
			bool lower = variant >> (n - 1 - i) & 1;
			copy[letter[i]] = (char)(lower ? copy[letter[i]] | 32 : copy[letter[i]] & ~32);
		}
		indexkey_prefix(&r->from, copy, end);
		end_prefix(&r->from, &r->to);
	}
	return 0;
}

/* Numbers are compared as texts. */
static int like(struct ranges *x, sqlite3_value *v, bool glob)
{
	if (sqlite3_value_type(v) == SQLITE_NULL)
		return 0;
	int rc = kinds(x, INDEXKEY_NUMBER, INDEXKEY_TEXT);
	if (rc < 0)
		return rc;
	const char *text = sqlite3_value_type(v) == SQLITE_BLOB ? "" : (const char *)sqlite3_value_text(v);
	size_t n = text ? strcspn(text, glob ? "*?[" : "%_") : 0;
	return n ? beginning(x, text, n, !glob) : kinds(x, INDEXKEY_TEXT, INDEXKEY_END);
}

int index_ranges(int plan, sqlite3_value **v, struct rows_range **ret, uint32_t *ret_n)
{
	struct ranges x = { .range = calloc(RANGES_MAX, sizeof(*x.range)) };
	if (!x.range)
		return -ENOMEM;
	unsigned equals = (unsigned)plan >> EQUALS_SHIFT & 15, bounds = (unsigned)plan >> BOUNDS_SHIFT;
	bool none = false, cut;
	int rc = 0;
	for (unsigned i = 0; i < equals; i++)
		none |= !put_value(&x.base, *v++, &cut);
	if (none) {
		rc = 0;
	} else if (bounds & (BOUND_LIKE | BOUND_GLOB)) {
		rc = like(&x, *v, bounds & BOUND_GLOB);
	} else if (bounds) {
		rc = bounded(&x, bounds, v);
	} else if (equals) {
		struct rows_range *r = add_range(&x);
		if (r)
			end_prefix(&r->from, &r->to);
		rc = r ? 0 : -ENOMEM;
	} else {
		rc = kinds(&x, INDEXKEY_NULL, INDEXKEY_END);
	}
	bool failed = buf_failed(&x.base);
	for (uint32_t i = 0; i < x.n; i++)
		failed |= buf_failed(&x.range[i].from) || buf_failed(&x.range[i].to);
	buf_done(&x.base);
	if (rc < 0 || failed) {
		rows_ranges_free(x.range, x.n);
		return -ENOMEM;
	}
	*ret = x.range;
	*ret_n = x.n;
	return 0;
}

int index_equal(sqlite3_value *v, struct rows_range **ret, uint32_t *ret_n)
{
	return index_ranges(1 << EQUALS_SHIFT, &v, ret, ret_n);
}

void index_words(const struct rows_index *x, int plan, struct buf *b)
{
	buf_puts(b, plan >> EQUALS_SHIFT ? "#" : "=");
	for (uint32_t i = 0; i < x->n; i++) {
		buf_puts(b, i ? " " : "");
		buf_puts(b, x->pointer[i]);
	}
}

const struct rows_index *index_on(const struct query_run *run, const struct rows_index *x, uint32_t n, int column)
{
	const struct jsonpath *place = place_of(run, column);
	for (uint32_t i = 0; place && i < n; i++)
		if (x[i].complete && jsonpath_equal(&x[i].path[0], place))
			return &x[i];
	return NULL;
}

bool index_somewhere(struct query_run *run, const struct jsonpath *place)
{
	const struct rows_index *x;
	uint32_t n;
	if (rows_indexes(run->rows, NULL, &x, &n) < 0)
		return false;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < x[i].n; k++)
			if (jsonpath_equal(&x[i].path[k], place))
				return true;
	return false;
}
