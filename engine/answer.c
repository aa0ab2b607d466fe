/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/answer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/sha256.h"
#include "engine/table.h"

struct kept {
	struct table_link link;
	struct id id, key; /* of the bytes; key zero: none */
	uint32_t was, now; /* how often the two answers have it */
	uint32_t at;       /* in the next one, first */
	uint32_t len;
	uint8_t row[];
};

struct answer {
	struct table rows; /* by id */
	uint64_t seed;
	uint32_t n;   /* rows of the next answer */
	size_t bytes;
};

struct op {
	enum answer_op op;
	const struct kept *row;
};

int answer_new(uint64_t seed, struct answer **ret)
{
	struct answer *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->seed = seed;
	*ret = a;
	return 0;
}

void answer_free(struct answer *a)
{
	if (!a)
		return;
	table_each(&a->rows, i, l, next)
		free(table_entry(l, struct kept, link));
	table_done(&a->rows);
	free(a);
}

static void hash_bytes(const void *data, size_t len, struct id *ret)
{
	const struct sha256_part part = { data, len };
	sha256_id(&part, 1, ret);
}

static int add(struct answer *a, const struct id *id, uint64_t hash, const void *key, size_t key_len, const void *row,
	       size_t len, struct kept **ret)
{
	struct kept *k = calloc(1, sizeof(*k) + len);
	if (!k)
		return -ENOMEM;
	k->id = *id;
	if (key)
		hash_bytes(key, key_len, &k->key);
	k->len = (uint32_t)len;
	if (len > 0)
		memcpy(k->row, row, len);
	int rc = table_add(&a->rows, &k->link, hash);
	if (rc < 0) {
		free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

int answer_row(struct answer *a, const void *key, size_t key_len, const void *row, size_t len)
{
	struct id id;
	struct kept *k = NULL;
	if (a->n >= ANSWER_ROWS_MAX || len > ANSWER_BYTES_MAX)
		return -E2BIG;
	hash_bytes(row, len, &id);
	uint64_t hash = table_mix(id_hash(&id) ^ a->seed);
	for (struct table_link *l = table_first(&a->rows, hash); l && !k; l = l->next)
		if (l->hash == hash && id_equal(&table_entry(l, struct kept, link)->id, &id))
			k = table_entry(l, struct kept, link);
	if (!k || k->now == 0) {
		if (a->bytes + sizeof(*k) + len > ANSWER_BYTES_MAX)
			return -E2BIG;
		int rc = k ? 0 : add(a, &id, hash, key, key_len, row, len, &k);
		if (rc < 0)
			return rc;
		a->bytes += sizeof(*k) + len;
		k->at = a->n;
	}
	k->now++;
	a->n++;
	return 0;
}

/* ---- which rows ---- */

static int compare_ids(const void *x, const void *y)
{
	const struct kept *a = *(const struct kept *const *)x, *b = *(const struct kept *const *)y;
	return id_cmp(&a->id, &b->id);
}

int answer_digest(const struct answer *a, struct id *ret)
{
	_cleanup_free_ const struct kept **all = calloc(a->rows.n + 1u, sizeof(*all));
	_cleanup_(buf_done) struct buf b = { 0 };
	uint32_t n = 0;
	if (!all)
		return -ENOMEM;
	table_each(&a->rows, i, l, next)
		if (table_entry(l, struct kept, link)->now > 0)
			all[n++] = table_entry(l, struct kept, link);
	qsort(all, n, sizeof(*all), compare_ids);
	for (uint32_t i = 0; i < n; i++) {
		buf_put(&b, all[i]->id.b, ID_SIZE);
		buf_u32(&b, all[i]->now);
	}
	if (buf_failed(&b))
		return -ENOMEM;
	hash_bytes(b.data, b.len, ret);
	return 0;
}

/* ---- the differences ---- */

/* By key; of one those that were there by their bytes, those that came in their order. */
static int compare_keys(const void *x, const void *y)
{
	const struct kept *a = *(const struct kept *const *)x, *b = *(const struct kept *const *)y;
	int d = id_cmp(&a->key, &b->key);
	if (d != 0)
		return d;
	return a->at != b->at ? (a->at < b->at ? -1 : 1) : id_cmp(&a->id, &b->id);
}

/* What went stands in front, the rest in the order of the answer. */
static int compare_ops(const void *x, const void *y)
{
	const struct op *a = x, *b = y;
	if ((a->op == ANSWER_DELETE) != (b->op == ANSWER_DELETE))
		return a->op == ANSWER_DELETE ? -1 : 1;
	if (a->row->at != b->row->at)
		return a->row->at < b->row->at ? -1 : 1;
	return id_cmp(&a->row->id, &b->row->id);
}

struct surplus {
	const struct kept **row;
	uint32_t n;
};

static uint32_t lost_of(const struct kept *k)
{
	return k->was > k->now ? k->was - k->now : 0;
}

static uint32_t gained_of(const struct kept *k)
{
	return k->now > k->was ? k->now - k->was : 0;
}

/* Each row as often as there is more of it in one of the answers than in the other. */
static int gather(const struct answer *a, uint32_t (*count)(const struct kept *k), struct surplus *ret)
{
	size_t n = 0;
	table_each(&a->rows, i, l, next)
		n += count(table_entry(l, struct kept, link));
	ret->row = calloc(n + 1, sizeof(*ret->row));
	if (!ret->row)
		return -ENOMEM;
	table_each(&a->rows, i, l, next) {
		const struct kept *k = table_entry(l, struct kept, link);
		for (uint32_t left = count(k); left > 0; left--)
			ret->row[ret->n++] = k;
	}
	qsort(ret->row, ret->n, sizeof(*ret->row), compare_keys);
	return 0;
}

/* Goes through both, which are sorted by keys. */
static uint32_t pair(const struct surplus *lost, const struct surplus *gained, struct op *op)
{
	uint32_t i = 0, j = 0, n = 0;
	while (i < lost->n || j < gained->n) {
		int d = i == lost->n ? 1 : j == gained->n ? -1 : id_cmp(&lost->row[i]->key, &gained->row[j]->key);
		if (d == 0 && id_is_zero(&lost->row[i]->key))
			d = -1;
		if (d < 0) {
			op[n++] = (struct op){ ANSWER_DELETE, lost->row[i++] };
		} else if (d > 0) {
			op[n++] = (struct op){ ANSWER_INSERT, gained->row[j++] };
		} else {
			op[n++] = (struct op){ ANSWER_UPDATE, gained->row[j++] };
			i++;
		}
	}
	return n;
}

/* The next answer is the one that is there. */
static void turn(struct answer *a)
{
	table_each(&a->rows, i, l, next) {
		struct kept *k = table_entry(l, struct kept, link);
		k->was = k->now;
		k->now = 0;
		if (k->was == 0) {
			table_remove(&a->rows, l);
			free(k);
		}
	}
	a->n = 0;
	a->bytes = 0;
}

int answer_end(struct answer *a, answer_fn f, void *userdata)
{
	struct surplus lost = { 0 }, gained = { 0 };
	struct op *op = NULL;
	int rc = f ? gather(a, lost_of, &lost) : 0;
	if (f && rc == 0)
		rc = gather(a, gained_of, &gained);
	if (f && rc == 0 && !(op = calloc((size_t)lost.n + gained.n + 1, sizeof(*op))))
		rc = -ENOMEM;
	if (f && rc == 0) {
		uint32_t n = pair(&lost, &gained, op);
		qsort(op, n, sizeof(*op), compare_ops);
		for (uint32_t i = 0; rc == 0 && i < n; i++)
			rc = f(op[i].op, op[i].row->row, op[i].row->len, userdata);
	}
	free(op);
	free(lost.row);
	free(gained.row);
	if (rc == 0)
		turn(a);
	return rc;
}
