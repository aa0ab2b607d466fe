/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A join goes through its inner table once for each row of the outer one. Documents are read for the first round; from the
 * second one on the columns that the query wants of them are here, in rows that are found by one of them. Memory is
 * SQLite's, so it counts as the query's. */
#include <errno.h>
#include <string.h>

#include "engine/query-impl.h"
#include "engine/table.h"

#define CHUNK (64u << 10)
#define BUCKETS_MIN 1024u
#define NULL_HASH 1

struct stash_row {
	const struct stash_row *next, *same; /* of all; of those in the bucket */
	uint64_t hash;
	int64_t rowid;
	uint32_t len;
	uint8_t data[]; /* for each column: u8 type, u8 subtype, and 8 bytes, or u32 length and bytes */
};

struct chunk {
	struct chunk *next;
	size_t used, size;
};

struct stash {
	uint64_t columns;
	int key;
	size_t most, total;
	struct chunk *chunk;
	const struct stash_row **bucket;
	uint32_t n_buckets, n;
	struct stash_row *first, *last;
	struct buf row;
	int64_t rowid;
	uint64_t hash;
	int column; /* the next one that is put */
	bool failed;
};

int stash_new(uint64_t columns, int key, size_t most, struct stash **ret)
{
	struct stash *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct stash){ .columns = columns, .key = key, .most = most };
	*ret = s;
	return 0;
}

void stash_free(struct stash *s)
{
	if (!s)
		return;
	for (struct chunk *c = s->chunk, *next; c; c = next) {
		next = c->next;
		sqlite3_free(c);
	}
	sqlite3_free(s->bucket);
	buf_done(&s->row);
	free(s);
}

static void *take(struct stash *s, size_t n)
{
	struct chunk *c = s->chunk;
	n = (n + 7) & ~(size_t)7;
	if (!c || c->size - c->used < n) {
		size_t size = n + sizeof(*c) > CHUNK ? n + sizeof(*c) : CHUNK;
		c = sqlite3_malloc64(size);
		if (!c)
			return NULL;
		*c = (struct chunk){ s->chunk, sizeof(*c), size };
		s->chunk = c;
		s->total += size;
	}
	void *p = (uint8_t *)c + c->used;
	c->used += n;
	return p;
}

/* 1 and 1.0 are one key: what compares equal is equal as doubles. */
static uint64_t hash_number(double d)
{
	uint64_t bits;
	d = d == 0 ? 0.0 : d; /* and no -0 */
	memcpy(&bits, &d, sizeof(bits));
	return table_mix(bits);
}

static int next_column(uint64_t columns, int from)
{
	uint64_t left = from < 64 ? columns >> from : 0;
	return left ? from + __builtin_ctzll(left) : 64;
}

void stash_begin(struct stash *s, int64_t rowid)
{
	buf_reset(&s->row);
	s->rowid = rowid;
	s->hash = NULL_HASH;
	s->column = next_column(s->columns, 0);
}

int stash_put(struct stash *s, const struct query_value *v, unsigned subtype)
{
	uint64_t hash = NULL_HASH;
	uint32_t len = (uint32_t)v->len;
	buf_u8(&s->row, (uint8_t)v->type);
	buf_u8(&s->row, (uint8_t)subtype);
	switch (v->type) {
	case QUERY_NULL:
		break;
	case QUERY_INTEGER:
		buf_put(&s->row, &v->integer, 8);
		hash = hash_number((double)v->integer);
		break;
	case QUERY_REAL:
		buf_put(&s->row, &v->real, 8);
		hash = hash_number(v->real);
		break;
	case QUERY_TEXT:
	case QUERY_BLOB:
		buf_put(&s->row, &len, sizeof(len));
		buf_put(&s->row, v->text, v->len);
		hash = table_hash_bytes(v->text, v->len, (uint64_t)v->type);
		break;
	}
	if (s->column == s->key)
		s->hash = hash;
	s->column = next_column(s->columns, s->column + 1);
	return buf_failed(&s->row) ? -ENOMEM : 0;
}

static int grow(struct stash *s)
{
	uint32_t n = s->n_buckets ? 4 * s->n_buckets : BUCKETS_MIN;
	const struct stash_row **bucket = sqlite3_malloc64(n * sizeof(*bucket));
	if (!bucket)
		return -ENOMEM;
	memset(bucket, 0, n * sizeof(*bucket));
	for (struct stash_row *r = s->first; r; r = (struct stash_row *)(uintptr_t)r->next) {
		r->same = bucket[r->hash & (n - 1)];
		bucket[r->hash & (n - 1)] = r;
	}
	s->total += n * sizeof(*bucket);
	sqlite3_free(s->bucket);
	s->bucket = bucket;
	s->n_buckets = n;
	return 0;
}

int stash_end(struct stash *s)
{
	if (s->key >= 0 && s->n >= s->n_buckets && grow(s) < 0)
		return -ENOMEM;
	struct stash_row *r = take(s, sizeof(*r) + s->row.len);
	if (!r)
		return -ENOMEM;
	*r = (struct stash_row){ .hash = s->hash, .rowid = s->rowid, .len = (uint32_t)s->row.len };
	if (s->row.len)
		memcpy(r->data, s->row.data, s->row.len);
	if (s->last)
		s->last->next = r;
	else
		s->first = r;
	s->last = r;
	s->n++;
	if (s->key >= 0) {
		const struct stash_row **b = &s->bucket[s->hash & (s->n_buckets - 1)];
		r->same = *b;
		*b = r;
	}
	return s->total > s->most ? -ENOSPC : 0;
}

int64_t stash_rowid(const struct stash_row *row)
{
	return row->rowid;
}

static uint64_t hash_of(sqlite3_value *v)
{
	switch (sqlite3_value_type(v)) {
	case SQLITE_INTEGER:
		return hash_number((double)sqlite3_value_int64(v));
	case SQLITE_FLOAT:
		return hash_number(sqlite3_value_double(v));
	case SQLITE_TEXT: {
		const void *text = sqlite3_value_text(v);
		return table_hash_bytes(text, (size_t)sqlite3_value_bytes(v), QUERY_TEXT);
	}
	case SQLITE_BLOB: {
		const void *data = sqlite3_value_blob(v);
		return table_hash_bytes(data, (size_t)sqlite3_value_bytes(v), QUERY_BLOB);
	}
	default:
		return 0;
	}
}

static const struct stash_row *from(const struct stash_row *r, uint64_t hash)
{
	while (r && r->hash != hash)
		r = r->same;
	return r;
}

static const struct stash_row *find(const struct stash *s, uint64_t hash)
{
	return s->n ? from(s->bucket[hash & (s->n_buckets - 1)], hash) : NULL;
}

const struct stash_row *stash_first(const struct stash *s, sqlite3_value *key)
{
	if (!key)
		return s->first;
	return sqlite3_value_type(key) == SQLITE_NULL ? NULL : find(s, hash_of(key));
}

const struct stash_row *stash_first_text(const struct stash *s, const char *text, size_t len)
{
	return find(s, table_hash_bytes(text, len, QUERY_TEXT));
}

size_t stash_size(const struct stash *s)
{
	return s->total;
}

const struct stash_row *stash_next(const struct stash *s, const struct stash_row *row, bool keyed)
{
	(void)s;
	return keyed ? from(row->same, row->hash) : row->next;
}

void stash_result(const struct stash *s, const struct stash_row *row, int column, sqlite3_context *ctx)
{
	const uint8_t *p = row->data;
	struct query_value v = { 0 };
	uint64_t before = s->columns & ((UINT64_C(1) << column) - 1);
	for (int skip = __builtin_popcountll(before);; skip--) {
		unsigned subtype = p[1];
		uint32_t len = 8;
		v.type = (enum query_type)p[0];
		p += 2;
		if (v.type == QUERY_NULL)
			len = 0;
		if (v.type >= QUERY_TEXT) {
			memcpy(&len, p, sizeof(len));
			p += sizeof(len);
		}
		if (skip > 0) {
			p += len;
			continue;
		}
		if (v.type == QUERY_INTEGER)
			memcpy(&v.integer, p, sizeof(v.integer));
		if (v.type == QUERY_REAL)
			memcpy(&v.real, p, sizeof(v.real));
		v.text = (const char *)p;
		v.len = len;
		sql_result(ctx, &v, subtype);
		return;
	}
}
