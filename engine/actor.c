/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/actor.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Identifiers lie in blocks that never move, so a reader needs no lock: it sees a count that
 * was published after the identifiers below it were written. The way back, from identifier to
 * number, is a hash table under a lock. */

#define BLOCK_BITS 8
#define BLOCK (1u << BLOCK_BITS)
#define BLOCKS (ACTORS_MAX / BLOCK)
#define FIRST_TABLE 64

struct actors {
	pthread_rwlock_t lock; /* table, size; writers of block and count */
	_Atomic uint32_t count;
	struct actor_id *_Atomic block[BLOCKS];
	uint32_t *table; /* number + 1, 0: free; open addressing */
	uint32_t size;   /* a power of two, at least twice the count */
};

int actor_id_cmp(const struct actor_id *a, const struct actor_id *b)
{
	int r = id_cmp(&a->device, &b->device);
	if (r != 0)
		return r;
	return a->incarnation < b->incarnation ? -1 : a->incarnation > b->incarnation;
}

int actors_new(struct actors **ret)
{
	struct actors *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->size = FIRST_TABLE;
	a->table = calloc(a->size, sizeof(*a->table));
	if (!a->table || pthread_rwlock_init(&a->lock, NULL) != 0) {
		free(a->table);
		free(a);
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

void actors_free(struct actors *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < BLOCKS; i++)
		free(atomic_load_explicit(&a->block[i], memory_order_relaxed));
	free(a->table);
	pthread_rwlock_destroy(&a->lock);
	free(a);
}

uint32_t actors_count(const struct actors *a)
{
	return atomic_load_explicit(&a->count, memory_order_acquire);
}

const struct actor_id *actors_get(const struct actors *a, uint32_t no)
{
	assert(no < actors_count(a));
	const struct actor_id *block =
		atomic_load_explicit(&a->block[no >> BLOCK_BITS], memory_order_acquire);
	return block + (no & (BLOCK - 1));
}

int actors_cmp(const struct actors *a, uint32_t x, uint32_t y)
{
	return x == y ? 0 : actor_id_cmp(actors_get(a, x), actors_get(a, y));
}

static uint64_t hash(const struct actor_id *id)
{
	uint64_t h = id_hash(&id->device) + id->incarnation * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

/* The place of id in a table: where it is, or the free place where it would go. */
static uint32_t place_in(const struct actors *a, const uint32_t *table, uint32_t size,
			 const struct actor_id *id)
{
	uint32_t i = (uint32_t)hash(id) & (size - 1);
	while (table[i] != 0 && actor_id_cmp(actors_get(a, table[i] - 1), id) != 0)
		i = (i + 1) & (size - 1);
	return i;
}

static uint32_t place(const struct actors *a, const struct actor_id *id)
{
	return place_in(a, a->table, a->size, id);
}

uint32_t actors_find(const struct actors *a, const struct actor_id *id)
{
	/* The lock is no part of what a const table promises not to change. */
	pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&a->lock;
	pthread_rwlock_rdlock(lock);
	uint32_t no = a->table[place(a, id)] - 1;
	pthread_rwlock_unlock(lock);
	return no;
}

static int grow(struct actors *a)
{
	uint32_t size = a->size * 2, *table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (uint32_t no = 0; no < actors_count(a); no++)
		table[place_in(a, table, size, actors_get(a, no))] = no + 1;
	free(a->table);
	a->table = table;
	a->size = size;
	return 0;
}

static int append(struct actors *a, const struct actor_id *id, uint32_t *ret)
{
	uint32_t no = actors_count(a);
	if (no == ACTORS_MAX)
		return -E2BIG;
	if (2 * (no + 1) > a->size && grow(a) < 0)
		return -ENOMEM;
	struct actor_id *block =
		atomic_load_explicit(&a->block[no >> BLOCK_BITS], memory_order_relaxed);
	if (!block) {
		block = calloc(BLOCK, sizeof(*block));
		if (!block)
			return -ENOMEM;
		atomic_store_explicit(&a->block[no >> BLOCK_BITS], block, memory_order_release);
	}
	block[no & (BLOCK - 1)] = *id;
	a->table[place(a, id)] = no + 1;
	atomic_store_explicit(&a->count, no + 1, memory_order_release);
	*ret = no;
	return 0;
}

int actors_intern(struct actors *a, const struct actor_id *id, uint32_t *ret)
{
	uint32_t no = actors_find(a, id);
	if (no != ACTOR_NONE) {
		*ret = no;
		return 0;
	}
	int r = 0;
	pthread_rwlock_wrlock(&a->lock);
	no = a->table[place(a, id)] - 1;
	if (no == ACTOR_NONE)
		r = append(a, id, &no);
	pthread_rwlock_unlock(&a->lock);
	if (r == 0)
		*ret = no;
	return r;
}

struct actor_codec {
	struct actors *actors;
	struct actor_quota *quota; /* NULL: none */
	uint32_t *local; /* by place in the codec's table; n of them */
	uint32_t n, cap;
	uint32_t *index; /* by local number: place + 1, 0: not in the table */
	uint32_t index_n;
	struct recent recent;
};

int actor_codec_new(struct actors *actors, struct actor_codec **ret)
{
	struct actor_codec *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->actors = actors;
	*ret = c;
	return 0;
}

struct recent *actor_codec_recent(struct actor_codec *c)
{
	return &c->recent;
}

void actor_codec_limit(struct actor_codec *c, struct actor_quota *quota)
{
	c->quota = quota;
}

void actor_codec_free(struct actor_codec *c)
{
	if (!c)
		return;
	free(c->local);
	free(c->index);
	free(c);
}

static bool codec_add(struct actor_codec *c, uint32_t local)
{
	if (c->n == c->cap) {
		uint32_t cap = c->cap ? c->cap * 2 : 16;
		uint32_t *p = reallocarray(c->local, cap, sizeof(*p));
		if (!p)
			return false;
		c->local = p;
		c->cap = cap;
	}
	if (local >= c->index_n) {
		uint32_t n = c->index_n ? c->index_n : 16;
		while (n <= local)
			n *= 2;
		uint32_t *p = reallocarray(c->index, n, sizeof(*p));
		if (!p)
			return false;
		memset(p + c->index_n, 0, (n - c->index_n) * sizeof(*p));
		c->index = p;
		c->index_n = n;
	}
	c->local[c->n++] = local;
	c->index[local] = c->n;
	return true;
}

static uint32_t codec_index(const struct actor_codec *c, uint32_t local)
{
	return local < c->index_n ? c->index[local] : 0;
}

void actor_codec_put(struct actor_codec *c, struct buf *b, uint32_t local)
{
	if (!c) {
		buf_varint(b, local);
		return;
	}
	uint32_t i = codec_index(c, local);
	if (i != 0) {
		buf_varint(b, i - 1);
		return;
	}
	const struct actor_id *id = actors_get(c->actors, local);
	buf_varint(b, c->n);
	buf_put(b, id->device.b, ID_SIZE);
	buf_u32(b, id->incarnation);
	if (!codec_add(c, local))
		b->failed = true;
}

/* Interns an actor that was introduced, if there is still room for strangers. */
static bool codec_admit(struct actor_codec *c, const struct actor_id *id, uint32_t *ret)
{
	struct actor_quota *q = c->quota;
	*ret = actors_find(c->actors, id);
	if (*ret != ACTOR_NONE)
		return true;
	if (q && q->left == 0) {
		q->overrun = true;
		return false;
	}
	if (actors_intern(c->actors, id, ret) < 0)
		return false;
	if (q)
		q->left--;
	return true;
}

uint32_t actor_codec_get(struct actor_codec *c, struct cursor *cur)
{
	uint32_t i = (uint32_t)cursor_varint_max(cur, c->n), local;
	if (!cursor_ok(cur))
		return 0;
	if (i < c->n)
		return c->local[i];
	struct actor_id id;
	const uint8_t *device = cursor_take(cur, ID_SIZE);
	id.incarnation = cursor_u32(cur);
	if (!cursor_ok(cur))
		return 0;
	memcpy(id.device.b, device, ID_SIZE);
	/* Introduced twice is not canonical. */
	if (!codec_admit(c, &id, &local) || codec_index(c, local) != 0 || !codec_add(c, local)) {
		cur->bad = true;
		return 0;
	}
	return local;
}

uint32_t actor_get(const struct actors *actors, struct actor_codec *c, struct cursor *cur)
{
	if (c)
		return actor_codec_get(c, cur);
	uint32_t n = actors_count(actors), no = (uint32_t)cursor_varint_max(cur, ACTORS_MAX);
	if (cursor_ok(cur) && no >= n)
		cur->bad = true;
	return cursor_ok(cur) ? no : 0;
}
