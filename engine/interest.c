/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/interest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crdt.h"
#include "engine/sha256.h"
#include "engine/utf8.h"

static struct interests all = { .fresh = INTEREST_SUBSCRIBED };

struct interests *interests_all(void)
{
	return &all;
}

struct interests *interests_ref(struct interests *x)
{
	if (x && x != &all)
		atomic_fetch_add(&x->refs, 1);
	return x;
}

void interests_unref(struct interests *x)
{
	if (!x || x == &all || atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	free(x->memory);
	free(x);
}

static uint32_t place(const struct interests *x, const struct id *scope, bool *ret_found)
{
	uint32_t low = 0, high = x->n;
	*ret_found = false;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = id_cmp(&x->item[middle].scope, scope);
		if (c == 0) {
			*ret_found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct interest *interests_find(const struct interests *x, const struct id *scope)
{
	bool found;
	uint32_t at = place(x, scope, &found);
	return found ? &x->item[at] : NULL;
}

enum interest_level interests_level(const struct interests *x, const struct id *scope)
{
	const struct interest *i = interests_find(x, scope);
	if (id_equal(scope, &NODE_ROOT))
		return INTEREST_SUBSCRIBED;
	return i ? i->level : x->fresh;
}

/* ---- making ---- */

static int room_add(struct interests_room *room, const struct interest *i)
{
	struct interest add = *i;
	add.where = (const char *)(uintptr_t)room->text.len; /* its place, until all are there */
	if (i->where_len > 0) {
		buf_put(&room->text, i->where, i->where_len);
		buf_u8(&room->text, 0);
	}
	buf_put(&room->item, &add, sizeof(add));
	return buf_failed(&room->item) || buf_failed(&room->text) ? -ENOMEM : 0;
}

void interests_room_done(struct interests_room *room)
{
	buf_done(&room->item);
	buf_done(&room->text);
}

static int print_make(struct interests *x)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (x->n == 0 && x->fresh == INTEREST_SUBSCRIBED)
		return 0;
	interests_encode(x, &b);
	if (buf_failed(&b))
		return -ENOMEM;
	const struct sha256_part part = { b.data, b.len };
	sha256_id(&part, 1, &x->print);
	return 0;
}

int interests_make(const struct interests_room *room, struct interests **ret)
{
	_cleanup_(interests_unrefp) struct interests *x = calloc(1, sizeof(*x));
	size_t n = room->item.len / sizeof(struct interest);
	if (!x)
		return -ENOMEM;
	atomic_init(&x->refs, 1);
	if (n > INTERESTS_MAX || room->text.len > INTERESTS_TEXT_MAX)
		return -E2BIG;
	x->fresh = room->fresh;
	x->memory = malloc(room->item.len + room->text.len + 1);
	if (!x->memory)
		return -ENOMEM;
	struct interest *item = (struct interest *)x->memory;
	const char *text = x->memory + room->item.len;
	if (n > 0)
		memcpy(x->memory, room->item.data, room->item.len);
	if (room->text.len > 0)
		memcpy(x->memory + room->item.len, room->text.data, room->text.len);
	for (size_t i = 0; i < n; i++)
		item[i].where = item[i].where_len ? text + (uintptr_t)item[i].where : NULL;
	x->item = item;
	x->n = (uint32_t)n;
	x->text = room->text.len;
	int rc = print_make(x);
	if (rc == 0)
		*ret = TAKE_PTR(x);
	return rc;
}

int interests_with(const struct interests *x, const struct id *scope, enum interest_level level,
		   const char *where, struct interests **ret)
{
	_cleanup_(interests_room_done) struct interests_room room = { .fresh = x->fresh };
	const struct interest add = { *scope, level, where, where ? (uint32_t)strlen(where) : 0 };
	bool found;
	uint32_t at = place(x, scope, &found);
	int rc = 0;
	if (id_equal(scope, &NODE_ROOT) || (level == INTEREST_FILTERED) != (add.where_len > 0))
		return -EINVAL;
	if (add.where_len > INTEREST_WHERE_MAX)
		return -E2BIG;
	for (uint32_t i = 0; rc == 0 && i <= x->n; i++) {
		if (i == at && level != x->fresh)
			rc = room_add(&room, &add);
		if (rc == 0 && i < x->n && !(found && i == at))
			rc = room_add(&room, &x->item[i]);
	}
	return rc < 0 ? rc : interests_make(&room, ret);
}

int interests_with_fresh(const struct interests *x, enum interest_level fresh, struct interests **ret)
{
	_cleanup_(interests_room_done) struct interests_room room = { .fresh = fresh };
	int rc = 0;
	if (fresh != INTEREST_NONE && fresh != INTEREST_SUBSCRIBED)
		return -EINVAL;
	for (uint32_t i = 0; rc == 0 && i < x->n; i++)
		if (x->item[i].level != fresh)
			rc = room_add(&room, &x->item[i]);
	return rc < 0 ? rc : interests_make(&room, ret);
}

/* ---- encoding ---- */

void interests_encode_part(const struct interests *x, uint32_t *at, size_t max, struct buf *b)
{
	size_t begin = b->len;
	for (; *at < x->n; (*at)++) {
		const struct interest *i = &x->item[*at];
		size_t size = ID_SIZE + 1 + BUF_VARINT_MAX + i->where_len;
		if (b->len > begin && b->len - begin + size > max)
			return;
		buf_put(b, i->scope.b, ID_SIZE);
		buf_u8(b, (uint8_t)i->level);
		if (i->level != INTEREST_FILTERED)
			continue;
		buf_varint(b, i->where_len);
		buf_put(b, i->where, i->where_len);
	}
}

static bool is_text(const uint8_t *p, size_t len)
{
	return !memchr(p, 0, len) && utf8_valid(p, len);
}

int interests_decode_part(struct cursor *c, struct interests_room *room)
{
	size_t n = room->item.len / sizeof(struct interest);
	for (; cursor_left(c) > 0; n++) {
		struct interest i = { .where_len = 0 };
		const uint8_t *scope = cursor_take(c, ID_SIZE), *where = NULL;
		i.level = (enum interest_level)cursor_u8(c);
		if (!cursor_ok(c) || i.level >= INTEREST_LEVELS || i.level == room->fresh ||
		    n == INTERESTS_MAX)
			return -EPROTO;
		memcpy(i.scope.b, scope, ID_SIZE);
		if (i.level == INTEREST_FILTERED) {
			i.where_len = (uint32_t)cursor_varint_max(c, INTEREST_WHERE_MAX);
			where = cursor_take(c, i.where_len);
			if (!where || i.where_len == 0 || !is_text(where, i.where_len))
				return -EPROTO;
			i.where = (const char *)where;
		}
		const struct interest *last = (const struct interest *)room->item.data;
		if (n > 0 && id_cmp(&last[n - 1].scope, &i.scope) >= 0)
			return -EPROTO;
		if (id_equal(&i.scope, &NODE_ROOT) ||
		    room->text.len + i.where_len + 1 > INTERESTS_TEXT_MAX)
			return -EPROTO;
		int rc = room_add(room, &i);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void interests_encode(const struct interests *x, struct buf *b)
{
	uint32_t at = 0;
	buf_u8(b, (uint8_t)x->fresh);
	interests_encode_part(x, &at, SIZE_MAX, b);
}

int interests_decode(struct cursor *c, struct interests **ret)
{
	_cleanup_(interests_room_done) struct interests_room room = { 0 };
	uint8_t fresh = cursor_u8(c);
	if (!cursor_ok(c) || fresh > INTEREST_SUBSCRIBED)
		return -EBADMSG;
	room.fresh = (enum interest_level)fresh;
	int rc = interests_decode_part(c, &room);
	if (rc == 0)
		rc = interests_make(&room, ret);
	return rc == -EPROTO || rc == -E2BIG ? -EBADMSG : rc;
}
