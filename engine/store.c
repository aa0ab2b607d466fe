/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Batches, and the dispatch to the two implementations (storerocks.c, storemem.c). */
#include "engine/store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/storeops.h"

void store_close(struct store *s)
{
	if (!s)
		return;
	pins_done(&s->pins);
	s->ops->close(s);
}

struct pins *store_pins(struct store *s)
{
	return &s->pins;
}

uint64_t store_crash(struct store *s, uint64_t keep)
{
	assert(s->ops->crash);
	return s->ops->crash(s, keep);
}

void store_fail(struct store *s, uint64_t nth, int error)
{
	assert(s->ops->fail && error <= 0);
	s->ops->fail(s, nth, error);
}

int store_batch_new(struct store_batch **ret)
{
	struct store_batch *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*ret = b;
	return 0;
}

void store_batch_free(struct store_batch *b)
{
	if (!b)
		return;
	buf_done(&b->ops);
	free(b);
}

void store_batch_clear(struct store_batch *b)
{
	buf_reset(&b->ops);
	b->count = 0;
}

uint32_t store_batch_count(const struct store_batch *b)
{
	return b->count;
}

static void batch_add(struct store_batch *b, bool put, enum store_family f, const void *key,
		      size_t key_len, const void *value, size_t len)
{
	assert((unsigned)f < STORE_FAMILIES && key_len <= UINT32_MAX);
	struct store_op op = {
		.len = len, .key_len = (uint32_t)key_len, .family = (uint8_t)f, .put = put
	};
	buf_put(&b->ops, &op, sizeof(op));
	buf_put(&b->ops, key, key_len);
	buf_put(&b->ops, value, len);
	b->count++;
}

void store_put(struct store_batch *b, enum store_family f, const void *key, size_t key_len,
	       const void *value, size_t len)
{
	batch_add(b, true, f, key, key_len, value, len);
}

void store_delete(struct store_batch *b, enum store_family f, const void *key, size_t key_len)
{
	batch_add(b, false, f, key, key_len, NULL, 0);
}

bool store_batch_next(const struct store_batch *b, size_t *at, struct store_op *ret,
		      const uint8_t **ret_key, const uint8_t **ret_value)
{
	if (*at == b->ops.len)
		return false;
	const uint8_t *p = b->ops.data + *at;
	memcpy(ret, p, sizeof(*ret));
	*ret_key = p + sizeof(*ret);
	*ret_value = *ret_key + ret->key_len;
	*at += sizeof(*ret) + ret->key_len + ret->len;
	assert(*at <= b->ops.len);
	return true;
}

int store_write(struct store *s, struct store_batch *b, struct err *e)
{
	if (buf_failed(&b->ops))
		return err_set(e, -ENOMEM, "out of memory while collecting a batch");
	return s->ops->write(s, b, e);
}

int store_flush(struct store *s, struct err *e)
{
	return s->ops->flush(s, e);
}

int store_get(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
	      const void *key, size_t key_len, struct buf *value)
{
	return s->ops->get(s, snapshot, f, key, key_len, value);
}

bool store_has(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
	       const void *key, size_t key_len)
{
	return s->ops->has(s, snapshot, f, key, key_len) > 0;
}

int store_snapshot(struct store *s, struct store_snapshot **ret)
{
	return s->ops->snapshot(s, ret);
}

void store_snapshot_free(struct store *s, struct store_snapshot *snap)
{
	if (snap)
		s->ops->snapshot_free(s, snap);
}

int store_iter_new(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
		   const void *lower, size_t lower_len, const void *upper, size_t upper_len,
		   struct store_iter **ret)
{
	return s->ops->iter_new(s, snapshot, f, lower, lower_len, upper, upper_len, ret);
}

void store_iter_free(struct store_iter *it)
{
	if (it)
		it->ops->iter_free(it);
}

bool store_iter_valid(const struct store_iter *it)
{
	return it->ops->iter_valid(it);
}

void store_iter_next(struct store_iter *it)
{
	it->ops->iter_next(it);
}

const uint8_t *store_iter_key(const struct store_iter *it, size_t *ret_len)
{
	return it->ops->iter_key(it, ret_len);
}

const uint8_t *store_iter_value(const struct store_iter *it, size_t *ret_len)
{
	return it->ops->iter_value(it, ret_len);
}

int store_iter_error(const struct store_iter *it)
{
	return it->ops->iter_error(it);
}

bool store_prefix_end(const void *prefix, size_t len, struct buf *ret)
{
	const uint8_t *p = prefix;
	while (len > 0 && p[len - 1] == 0xff)
		len--;
	if (len == 0)
		return false;
	buf_reset(ret);
	buf_put(ret, p, len);
	if (!buf_failed(ret))
		ret->data[len - 1]++;
	return true;
}

int store_compact(struct store *s, uint64_t room, struct err *e)
{
	return s->ops->compact ? s->ops->compact(s, room, e) : 0;
}

uint64_t store_size(struct store *s)
{
	return s->ops->size(s);
}
