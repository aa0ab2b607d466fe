/* SPDX-License-Identifier: GPL-2.0-or-later */
/*     id       author
 *     u32      number
 *     text     name, 1 to 64 bytes
 *     varint   links that are not told, at most 2^20
 *     varint   n, at most 64; then n links, ascending by id:
 *         id       peer
 *         text     its name
 *         text     transport, 1 to 15 bytes
 *         varint   round trip in microseconds, less than 2^32; 0: not known
 *         varint   since when: seconds since 1970, at most 2^40
 *
 * A text is a varint length and as many bytes. */
#include "engine/statement.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/printable.h"

struct statement *statement_new(const struct id *author, uint32_t number, const char *name, uint32_t more,
				const struct statement_link *link, uint32_t n)
{
	assert(n <= STATEMENT_LINKS_MAX);
	struct statement *s = calloc(1, sizeof(*s) + n * sizeof(s->link[0]));
	if (!s)
		return NULL;
	s->author = *author;
	s->number = number;
	memcpy(s->name, name, strnlen(name, STATEMENT_NAME_MAX));
	s->more = more < STATEMENT_MORE_MAX ? more : STATEMENT_MORE_MAX;
	s->n = n;
	if (n > 0)
		memcpy(s->link, link, n * sizeof(s->link[0]));
	return s;
}

static void put_text(struct buf *b, const char *text)
{
	buf_bytes(b, text, strlen(text));
}

void statement_encode(const struct statement *s, struct buf *b)
{
	buf_put(b, s->author.b, ID_SIZE);
	buf_u32(b, s->number);
	put_text(b, s->name);
	buf_varint(b, s->more);
	buf_varint(b, s->n);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct statement_link *l = &s->link[i];
		buf_put(b, l->peer.b, ID_SIZE);
		put_text(b, l->name);
		put_text(b, l->transport);
		buf_varint(b, l->rtt_us);
		buf_varint(b, l->since_s);
	}
}

static void get_id(struct cursor *c, struct id *ret)
{
	const uint8_t *p = cursor_take(c, ID_SIZE);
	if (p)
		memcpy(ret->b, p, ID_SIZE);
}

/* ret is zeroed, and has room for max bytes and a NUL. */
static void get_name(struct cursor *c, char ret[static STATEMENT_NAME_MAX + 1])
{
	size_t n;
	const uint8_t *p = cursor_bytes(c, STATEMENT_NAME_MAX, &n);
	if (!p || n == 0 || p[0] == ' ' || p[n - 1] == ' ' || !printable(p, n))
		c->bad = true;
	else
		memcpy(ret, p, n);
}

static void get_transport(struct cursor *c, char ret[static STATEMENT_TRANSPORT_MAX + 1])
{
	size_t n = 0;
	const uint8_t *p = cursor_bytes(c, STATEMENT_TRANSPORT_MAX, &n);
	c->bad |= n == 0;
	for (size_t i = 0; i < n && cursor_ok(c); i++) {
		if (!(p[i] >= 'a' && p[i] <= 'z') && !(p[i] >= '0' && p[i] <= '9') && p[i] != '-')
			c->bad = true;
		ret[i] = (char)p[i];
	}
}

static void get_link(struct cursor *c, const struct statement *s, struct statement_link *l)
{
	get_id(c, &l->peer);
	get_name(c, l->name);
	get_transport(c, l->transport);
	l->rtt_us = (uint32_t)cursor_varint_max(c, UINT32_MAX);
	l->since_s = cursor_varint_max(c, STATEMENT_SINCE_MAX);
	if ((l > s->link && id_cmp(&l[-1].peer, &l->peer) >= 0) || id_equal(&l->peer, &s->author))
		c->bad = true;
}

int statement_decode(struct cursor *c, struct statement **ret)
{
	struct statement head = { 0 };
	get_id(c, &head.author);
	head.number = cursor_u32(c);
	get_name(c, head.name);
	head.more = (uint32_t)cursor_varint_max(c, STATEMENT_MORE_MAX);
	head.n = (uint32_t)cursor_varint_max(c, STATEMENT_LINKS_MAX);
	if (!cursor_ok(c))
		return -EPROTO;
	_cleanup_free_ struct statement *s = calloc(1, sizeof(*s) + head.n * sizeof(s->link[0]));
	if (!s)
		return -ENOMEM;
	*s = head;
	for (uint32_t i = 0; i < s->n && cursor_ok(c); i++)
		get_link(c, s, &s->link[i]);
	if (!cursor_ok(c))
		return -EPROTO;
	*ret = TAKE_PTR(s);
	return 0;
}

static int link_cmp(const void *key, const void *item)
{
	return id_cmp(key, &((const struct statement_link *)item)->peer);
}

const struct statement_link *statement_find(const struct statement *s, const struct id *peer)
{
	return bsearch(peer, s->link, s->n, sizeof(s->link[0]), link_cmp);
}
