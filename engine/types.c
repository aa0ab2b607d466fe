/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The patterns are a tree by their tokens. A place of a document is the list of the tree's nodes that
 * its pointer leads to, the best one first; each node is reached in one way only, so there are never
 * more than nodes. */

#include "engine/types.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cleanup.h"
#include "engine/jsonptr.h"
#include "engine/utf8.h"

struct node {
	const char *key; /* NULL: any */
	size_t key_len;
	bool declared;
	struct type type;
	struct node *any;
	struct node *first, *next; /* children by name */
};

struct types {
	atomic_uint refs;
	struct arena arena;
	struct node root;
	unsigned n;
	unsigned merges; /* by bit */
};

struct types_at {
	uint32_t n;
	const struct node *node[];
};

/* --- texts --- */

int type_parse(const char *text, size_t len, struct type *ret, struct err *e)
{
	static const char *const name[] = { NULL, "register", "counter", "set", "list", "text",
					    "keyed:" };
	if (len > TYPE_TEXT_MAX)
		return err_set(e, -EINVAL, "a type has %u bytes at most", TYPE_TEXT_MAX);
	for (unsigned i = MERGE_REGISTER; i <= MERGE_KEYED; i++) {
		size_t n = strlen(name[i]);
		if (len < n || memcmp(text, name[i], n) != 0 || (i != MERGE_KEYED && len > n))
			continue;
		if (i == MERGE_KEYED && (len == n || !utf8_valid((const uint8_t *)text + n, len - n)))
			return err_set(e, -EINVAL, "keyed: wants the name of a member behind it");
		*ret = (struct type){ (enum merge)i, text + n, len - n };
		return 0;
	}
	return err_set(e, -EINVAL, "there is no type \"%.*s\": register, counter, set, list, text, "
				   "keyed:FIELD or default", (int)(len < 40 ? len : 40), text);
}

/* Takes the first token off; *ret_any: it stands for all. */
static int next_token(const char **p, size_t *len, struct buf *token, bool *ret_any, struct err *e)
{
	const char *end = *len > 0 ? memchr(*p + 1, '/', *len - 1) : NULL;
	size_t n = end ? (size_t)(end - *p) : *len;
	bool escaped = n == 3 && memcmp(*p, "/~2", 3) == 0;
	*ret_any = n == 2 && memcmp(*p, "/*", 2) == 0;
	if (!escaped && !*ret_any)
		return json_pointer_next(p, len, token, e);
	*p += n;
	*len -= n;
	buf_reset(token);
	buf_u8(token, '*');
	return buf_failed(token) ? -ENOMEM : 0;
}

int type_check_pointer(const char *pointer, size_t len, struct err *e)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	bool any;
	if (len > TYPE_POINTER_MAX || !utf8_valid((const uint8_t *)pointer, len))
		return err_set(e, -EINVAL, "a pointer has %u bytes of UTF-8 at most", TYPE_POINTER_MAX);
	while (len > 0) {
		int r = next_token(&pointer, &len, &token, &any, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- the tree --- */

int types_new(struct types **ret)
{
	struct types *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	atomic_init(&t->refs, 1);
	*ret = t;
	return 0;
}

struct types *types_ref(struct types *t)
{
	if (t)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void types_free(struct types *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	arena_done(&t->arena);
	free(t);
}

bool types_empty(const struct types *t)
{
	return t->n == 0;
}

bool types_have(const struct types *t, enum merge merge)
{
	return t && t->merges & 1u << merge;
}

static struct node *find(const struct node *n, const char *key, size_t len)
{
	for (struct node *c = n->first; c; c = c->next)
		if (c->key_len == len && (len == 0 || memcmp(c->key, key, len) == 0))
			return c;
	return NULL;
}

/* The child, made if it is not there. */
static int descend(struct types *t, struct node **at, bool any, const struct buf *token)
{
	struct node *n = *at, *c = any ? n->any : find(n, (const char *)token->data, token->len);
	if (!c) {
		c = arena_new(&t->arena, struct node);
		if (!c)
			return -ENOMEM;
		if (any) {
			n->any = c;
		} else {
			c->key = arena_dup(&t->arena, token->data ? (const char *)token->data : "",
					   token->len);
			if (!c->key)
				return -ENOMEM;
			c->key_len = token->len;
			c->next = n->first;
			n->first = c;
		}
	}
	*at = c;
	return 0;
}

int types_add(struct types *t, const char *pointer, size_t len, const char *text, size_t text_len)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	struct node *at = &t->root;
	struct type type;
	bool any;
	int r = type_check_pointer(pointer, len, NULL);
	if (r == 0)
		r = type_parse(text, text_len, &type, NULL);
	if (r < 0 || t->n == TYPES_MAX)
		return r;
	while (r == 0 && len > 0) {
		r = next_token(&pointer, &len, &token, &any, NULL);
		if (r == 0)
			r = descend(t, &at, any, &token);
	}
	if (r < 0)
		return r;
	type.field = arena_dup(&t->arena, type.field, type.field_len);
	if (!type.field)
		return -ENOMEM;
	at->type = type;
	at->declared = true;
	t->merges |= 1u << type.merge;
	t->n++;
	return 0;
}

/* --- walking --- */

static int place(struct arena *a, const struct node **node, uint32_t n, const struct types_at **ret)
{
	*ret = NULL;
	if (n == 0)
		return 0;
	struct types_at *at = arena_alloc(a, sizeof(*at) + n * sizeof(*node));
	if (!at)
		return -ENOMEM;
	at->n = n;
	memcpy(at->node, node, n * sizeof(*node));
	*ret = at;
	return 0;
}

int types_begin(struct arena *a, const struct types *t, const struct types_at **ret)
{
	const struct node *root = t ? &t->root : NULL;
	return place(a, &root, t && t->n > 0, ret);
}

int types_step(struct arena *a, const struct types_at *at, const char *key, size_t len,
	       const struct types_at **ret)
{
	const struct node *node[TYPES_MAX]; /* each leads to a pattern of its own */
	uint32_t n = 0;
	for (uint32_t i = 0; at && i < at->n; i++) {
		const struct node *c = key ? find(at->node[i], key, len) : NULL;
		if (c)
			node[n++] = c;
		if (at->node[i]->any)
			node[n++] = at->node[i]->any;
	}
	return place(a, node, n, ret);
}

struct type types_type(const struct types_at *at)
{
	for (uint32_t i = 0; at && i < at->n; i++)
		if (at->node[i]->declared)
			return at->node[i]->type;
	return (struct type){ .merge = MERGE_DEFAULT };
}
