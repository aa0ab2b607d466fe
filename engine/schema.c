/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/schema-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/jsonptr.h"
#include "engine/types.h"

int schema_new(const char *text, size_t len, struct schema **ret, struct err *e)
{
	const struct json_limits limits = { .size = SCHEMA_SIZE_MAX };
	_cleanup_(schema_freep) struct schema *s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(e, -ENOMEM, "cannot read the schema");
	atomic_init(&s->refs, 1);
	if (len > SCHEMA_SIZE_MAX)
		return err_set(e, -EFBIG, "a schema may have %u MiB, not more", SCHEMA_SIZE_MAX >> 20);
	s->text = malloc(len + 1);
	if (!s->text)
		return err_errno(e, -ENOMEM, "cannot read the schema");
	memcpy(s->text, text, len);
	s->text[len] = '\0';
	s->len = len;
	struct json *tree;
	int r = json_parse(&s->arena, s->text, len, &limits, &tree, e);
	if (r < 0)
		return r == -ENOMEM ? r : -EINVAL;
	s->tree = tree;
	r = schema_compile(s, e);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

struct schema *schema_ref(struct schema *s)
{
	if (s)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void schema_free(struct schema *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	for (uint32_t i = 0; i < s->n_codes; i++)
		pcre2_code_free(s->codes[i]);
	free(s->codes);
	table_done(&s->nodes);
	arena_done(&s->arena);
	free(s->text);
	free(s);
}

/* ---- how values merge ---- */

#define TYPES_NESTED 32u /* places below each other: a schema may refer to itself */

struct types_walk {
	struct buf pointer;
	schema_type_fn f;
	void *userdata;
	unsigned steps;
};

static int walk(struct types_walk *w, const struct schema_node *n, unsigned depth);

static int step(struct types_walk *w, const struct schema_node *n, const char *key, size_t len,
		unsigned depth)
{
	const size_t at = w->pointer.len;
	if (!n)
		return 0;
	if (!key) {
		buf_puts(&w->pointer, "/*");
	} else if (len == 1 && *key == '*') {
		buf_puts(&w->pointer, "/~2");
	} else {
		json_pointer_append(&w->pointer, key, len);
	}
	int r = buf_failed(&w->pointer) ? -ENOMEM : walk(w, n, depth + 1);
	w->pointer.len = at;
	return r;
}

static int walk(struct types_walk *w, const struct schema_node *n, unsigned depth)
{
	int r = 0;
	if (depth >= TYPES_NESTED || w->pointer.len > TYPE_POINTER_MAX || w->steps++ >= TYPES_MAX * 16)
		return 0;
	if (n->merge)
		r = w->f((const char *)w->pointer.data, w->pointer.len, n->merge->text, n->merge->len,
			 w->userdata);
	if (r == 0 && n->ref)
		r = walk(w, n->ref, depth + 1);
	for (uint32_t i = 0; r == 0 && i < n->all.n; i++)
		r = walk(w, n->all.node[i], depth + 1);
	for (uint32_t i = 0; r == 0 && i < n->n_members; i++)
		r = step(w, n->members[i].node, n->members[i].key, n->members[i].len, depth);
	if (r == 0)
		r = step(w, n->additional, NULL, 0, depth);
	if (r == 0)
		r = step(w, n->items, NULL, 0, depth);
	return r;
}

int schema_types(const struct schema *s, schema_type_fn f, void *userdata)
{
	struct types_walk w = { .f = f, .userdata = userdata };
	buf_puts(&w.pointer, "");
	int r = walk(&w, s->root, 0);
	buf_done(&w.pointer);
	return r;
}
