/* SPDX-License-Identifier: GPL-2.0-or-later */
/* On a link:
 *
 *     varint deltas that follow, at least 2
 *     varint n, n ids of scopes, ascending
 *     varint n, n × (id of a node, varint place of its scope), ascending by id
 *     varint n, n × (actor, varint seq, varint k >= 2, k × varint place of a member as the difference
 *         to the one before less 1; the first one as it is)
 *
 * In the store:
 *
 *     u8 format (1), n × (id of a node 16, scope 16), ascending by id */
#include "engine/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_FORMAT 1
#define SEQ_MAX (UINT64_C(1) << 62)

uint32_t bundle_find(const struct bundle *g, const struct id *id)
{
	uint32_t lo = 0, hi = g->n_members;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = id_cmp(&g->member[mid].id, id);
		if (c == 0)
			return mid;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return UINT32_MAX;
}

/* ---- on a link ---- */

static int by_id(const void *x, const void *y)
{
	return id_cmp(x, y);
}

/* The different scopes of the members, ascending. */
static uint32_t scopes_of(const struct bundle *g, struct id *scope)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < g->n_members; i++)
		scope[i] = g->member[i].scope;
	qsort(scope, g->n_members, sizeof(*scope), by_id);
	for (uint32_t i = 0; i < g->n_members; i++)
		if (n == 0 || !id_equal(&scope[n - 1], &scope[i]))
			scope[n++] = scope[i];
	return n;
}

void bundle_encode(const struct bundle *g, struct actor_codec *c, struct buf *b)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct id *scope = arena_array(&a, g->n_members ? g->n_members : 1, sizeof(*scope));
	if (!scope) {
		b->failed = true;
		return;
	}
	uint32_t n = scopes_of(g, scope);
	buf_varint(b, g->n_deltas);
	buf_varint(b, n);
	buf_put(b, scope, n * sizeof(*scope));
	buf_varint(b, g->n_members);
	for (uint32_t i = 0; i < g->n_members; i++) {
		const struct id *at = bsearch(&g->member[i].scope, scope, n, sizeof(*scope), by_id);
		buf_put(b, g->member[i].id.b, ID_SIZE);
		buf_varint(b, (uint64_t)(at - scope));
	}
	buf_varint(b, g->n_batches);
	for (uint32_t i = 0; i < g->n_batches; i++) {
		const struct batch *x = &g->batch[i];
		actor_codec_put(c, b, x->dot.actor);
		buf_varint(b, x->dot.seq);
		buf_varint(b, x->n);
		for (uint32_t k = 0; k < x->n; k++)
			buf_varint(b, k ? x->member[k] - x->member[k - 1] - 1 : x->member[k]);
	}
}

/* A count of things that take at least `size` bytes each. */
static uint32_t count_get(struct cursor *c, size_t size, uint32_t max)
{
	size_t most = cursor_left(c) / size;
	return (uint32_t)cursor_varint_max(c, most < max ? most : max);
}

static int members_get(struct arena *a, struct cursor *c, struct bundle *g)
{
	uint32_t n = count_get(c, ID_SIZE, BUNDLE_MEMBERS_MAX);
	const uint8_t *scopes = cursor_take(c, n * ID_SIZE);
	for (uint32_t i = 1; scopes && i < n; i++)
		if (memcmp(scopes + (i - 1) * ID_SIZE, scopes + i * ID_SIZE, ID_SIZE) >= 0)
			return -EBADMSG;
	g->n_members = count_get(c, ID_SIZE + 1, BUNDLE_MEMBERS_MAX);
	struct batch_node *m = arena_array(a, g->n_members ? g->n_members : 1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	for (uint32_t i = 0; i < g->n_members; i++) {
		const uint8_t *id = cursor_take(c, ID_SIZE);
		uint32_t at = (uint32_t)cursor_varint_max(c, n ? n - 1 : 0);
		if (!cursor_ok(c) || n == 0)
			return -EBADMSG;
		memcpy(m[i].id.b, id, ID_SIZE);
		memcpy(m[i].scope.b, scopes + at * ID_SIZE, ID_SIZE);
		if (i > 0 && id_cmp(&m[i - 1].id, &m[i].id) >= 0)
			return -EBADMSG;
	}
	g->member = m;
	return cursor_ok(c) ? 0 : -EBADMSG;
}

static int batch_get(struct arena *a, struct actor_codec *codec, struct cursor *c,
		     const struct bundle *g, struct batch *ret)
{
	ret->dot.actor = actor_codec_get(codec, c);
	ret->dot.seq = cursor_varint_max(c, SEQ_MAX);
	ret->n = count_get(c, 1, g->n_members);
	if (!cursor_ok(c) || ret->dot.seq == 0 || ret->n < 2)
		return -EBADMSG;
	uint32_t *member = arena_array(a, ret->n, sizeof(*member));
	if (!member)
		return -ENOMEM;
	uint64_t next = 0;
	for (uint32_t k = 0; k < ret->n; k++) {
		uint64_t at = next + cursor_varint_max(c, g->n_members);
		if (!cursor_ok(c) || at >= g->n_members)
			return -EBADMSG;
		member[k] = (uint32_t)at;
		next = at + 1;
	}
	ret->member = member;
	return 0;
}

int bundle_decode(struct arena *a, struct actor_codec *codec, struct cursor *c, struct bundle *ret)
{
	struct bundle g = { 0 };
	g.n_deltas = (uint32_t)cursor_varint_max(c, BUNDLE_MEMBERS_MAX);
	int r = members_get(a, c, &g);
	if (r < 0)
		return r;
	g.n_batches = count_get(c, 4, BUNDLE_BATCHES_MAX);
	struct batch *batch = arena_array(a, g.n_batches ? g.n_batches : 1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	for (uint32_t i = 0; i < g.n_batches; i++) {
		r = batch_get(a, codec, c, &g, &batch[i]);
		if (r < 0)
			return r;
	}
	g.batch = batch;
	if (!cursor_end(c) || g.n_deltas < 2 || g.n_deltas > g.n_members)
		return -EBADMSG;
	*ret = g;
	return 0;
}

/* ---- in the store ---- */

void members_encode(const struct batch_node *m, uint32_t n, struct buf *b)
{
	buf_u8(b, MEMBERS_FORMAT);
	for (uint32_t i = 0; i < n; i++) {
		buf_put(b, m[i].id.b, ID_SIZE);
		buf_put(b, m[i].scope.b, ID_SIZE);
	}
}

int members_decode(struct arena *a, const void *data, size_t len, struct batch_node **ret, uint32_t *ret_n)
{
	struct cursor c = cursor_make(data, len);
	uint8_t format = cursor_u8(&c);
	if (cursor_ok(&c) && format != MEMBERS_FORMAT)
		return -EPROTONOSUPPORT;
	uint32_t n = (uint32_t)(cursor_left(&c) / (2 * ID_SIZE));
	struct batch_node *m = arena_array(a, n ? n : 1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *id = cursor_take(&c, ID_SIZE), *scope = cursor_take(&c, ID_SIZE);
		if (!id || !scope)
			return -EBADMSG;
		memcpy(m[i].id.b, id, ID_SIZE);
		memcpy(m[i].scope.b, scope, ID_SIZE);
		if (i > 0 && id_cmp(&m[i - 1].id, &m[i].id) >= 0)
			return -EBADMSG;
	}
	if (!cursor_end(&c) || n < 2)
		return -EBADMSG;
	*ret = m;
	*ret_n = n;
	return 0;
}
