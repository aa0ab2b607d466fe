/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/absent.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/table.h"

#define KEY 'X'
#define KEY_SIZE (1 + ID_SIZE)

struct absent {
	struct table_link link;
	struct id id;
	uint8_t byte;
	bool leaving;
};

struct absents {
	pthread_mutex_t lock; /* all below */
	struct table table;
	uint64_t n; /* whose contents are not here */
	uint64_t n_leaving;
};

static struct absent *find(struct absents *x, const struct id *id)
{
	for (struct table_link *l = table_first(&x->table, id_hash(id)); l; l = l->next) {
		struct absent *a = table_entry(l, struct absent, link);
		if (id_equal(&a->id, id))
			return a;
	}
	return NULL;
}

static struct absent *get(struct absents *x, const struct id *id)
{
	struct absent *a = find(x, id);
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->id = *id;
	if (table_add(&x->table, &a->link, id_hash(id)) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

/* It goes when it says nothing any more. */
static void tidy(struct absents *x, struct absent *a)
{
	if (a->byte || a->leaving)
		return;
	table_remove(&x->table, &a->link);
	free(a);
}

static enum absence state(uint8_t byte)
{
	return (enum absence)(byte & ~ABSENT_PAST);
}

static int load(struct absents *x, struct store *s, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = KEY, end = KEY + 1;
	int rc = store_iter_new(s, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		struct id id;
		if (key_len != KEY_SIZE || len != 1 || state(value[0]) > ABSENT_WANTED)
			return err_set(e, -EBADMSG, "the list of contents that are not here is damaged");
		memcpy(id.b, key + 1, ID_SIZE);
		struct absent *a = get(x, &id);
		if (!a)
			return err_set(e, -ENOMEM, "out of memory");
		a->byte = value[0];
		x->n += state(a->byte) != ABSENT_NOT;
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc < 0 ? err_errno(e, rc, "cannot read the database") : 0;
}

int absents_new(struct store *s, struct absents **ret, struct err *e)
{
	struct absents *x = calloc(1, sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&x->lock, NULL);
	int rc = load(x, s, e);
	if (rc < 0) {
		absents_free(x);
		return rc;
	}
	*ret = x;
	return 0;
}

void absents_free(struct absents *x)
{
	if (!x)
		return;
	table_each(&x->table, i, l, next)
		free(table_entry(l, struct absent, link));
	table_done(&x->table);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

uint8_t absents_byte(struct absents *x, const struct id *id)
{
	pthread_mutex_lock(&x->lock);
	const struct absent *a = find(x, id);
	uint8_t byte = a ? a->byte : 0;
	pthread_mutex_unlock(&x->lock);
	return byte;
}

enum absence absents_get(struct absents *x, const struct id *id)
{
	return state(absents_byte(x, id));
}

int absents_room(struct absents *x, const struct id *id)
{
	pthread_mutex_lock(&x->lock);
	bool there = get(x, id) != NULL;
	pthread_mutex_unlock(&x->lock);
	return there ? 0 : -ENOMEM;
}

void absents_set(struct absents *x, const struct id *id, uint8_t byte)
{
	pthread_mutex_lock(&x->lock);
	struct absent *a = find(x, id);
	if (a) {
		x->n += state(byte) != ABSENT_NOT;
		x->n -= state(a->byte) != ABSENT_NOT;
		a->byte = byte;
		tidy(x, a);
	}
	pthread_mutex_unlock(&x->lock);
}

static void make_key(const struct id *id, uint8_t key[static KEY_SIZE])
{
	key[0] = KEY;
	memcpy(key + 1, id->b, ID_SIZE);
}

void absents_put(struct store_batch *b, const struct id *id, uint8_t byte)
{
	uint8_t key[KEY_SIZE];
	make_key(id, key);
	if (byte)
		store_put(b, STORE_META, key, sizeof(key), &byte, 1);
	else
		store_delete(b, STORE_META, key, sizeof(key));
}

enum absence absents_at(struct store *s, const struct store_snapshot *snap, const struct id *id)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[KEY_SIZE];
	make_key(id, key);
	int rc = store_get(s, snap, STORE_META, key, sizeof(key), &v);
	return rc == 0 && v.len == 1 ? state(v.data[0]) : ABSENT_NOT;
}

uint64_t absents_count(struct absents *x)
{
	pthread_mutex_lock(&x->lock);
	uint64_t n = x->n;
	pthread_mutex_unlock(&x->lock);
	return n;
}

uint32_t absents_list(struct absents *x, enum absence which, uint32_t *place, struct id *ret,
		      uint32_t max)
{
	uint32_t n = 0, i = *place;
	pthread_mutex_lock(&x->lock);
	for (; i < x->table.size && n < max; i++)
		for (const struct table_link *l = x->table.bucket[i]; l; l = l->next) {
			const struct absent *a = (const struct absent *)(const void *)l;
			if (state(a->byte) == which && n < max)
				ret[n++] = a->id;
		}
	*place = i < x->table.size ? i : 0;
	pthread_mutex_unlock(&x->lock);
	return n;
}

int absents_leave(struct absents *x, const struct id *id)
{
	int rc = 0;
	pthread_mutex_lock(&x->lock);
	struct absent *a = get(x, id);
	if (!a)
		rc = -ENOMEM;
	else if (state(a->byte) != ABSENT_NOT)
		rc = -EALREADY;
	else if (a->leaving)
		rc = -EBUSY;
	else {
		a->leaving = true;
		x->n_leaving++;
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

void absents_stay(struct absents *x, const struct id *id)
{
	pthread_mutex_lock(&x->lock);
	struct absent *a = find(x, id);
	if (a) {
		x->n_leaving -= a->leaving;
		a->leaving = false;
		tidy(x, a);
	}
	pthread_mutex_unlock(&x->lock);
}

bool absents_leaving(struct absents *x)
{
	pthread_mutex_lock(&x->lock);
	bool any = x->n_leaving > 0;
	pthread_mutex_unlock(&x->lock);
	return any;
}

bool absents_keeps(struct absents *x, const struct id *id)
{
	pthread_mutex_lock(&x->lock);
	const struct absent *a = find(x, id);
	bool keeps = !a || (state(a->byte) == ABSENT_NOT && !a->leaving);
	pthread_mutex_unlock(&x->lock);
	return keeps;
}
