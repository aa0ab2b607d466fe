/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/jsonpatch.h"

#include <errno.h>
#include <string.h>

#include "engine/jsonptr.h"

struct patcher {
	struct arena *a;
	struct json *root;
	size_t values, bytes; /* copied so far */
	struct err *e;
};

static int no_memory(struct patcher *p)
{
	return err_set(p->e, -ENOMEM, "not enough memory");
}

/* ---- trees that change ---- */

static void append(struct json *to, struct json **last, struct json *v)
{
	if (*last)
		(*last)->next = v;
	else
		to->first = v;
	*last = v;
	v->parent = to;
	to->count++;
}

/* depth: of containers around it. fresh: its layout is that of what is around it. */
static int copy(struct patcher *p, const struct json *v, unsigned depth, bool fresh,
		struct json **ret)
{
	struct json *to = arena_new(p->a, struct json);
	struct json *last = NULL;
	if (!to)
		return no_memory(p);
	p->values++;
	p->bytes += v->key_len + (json_is_container(v) ? 0 : v->len);
	if (p->values > JSONPATCH_VALUES_MAX || p->bytes > JSONPATCH_BYTES_MAX ||
	    (json_is_container(v) && depth >= JSON_DEPTH_DEFAULT))
		return err_set(p->e, -EFBIG, "the result is too large, or too deep");
	to->type = v->type;
	to->flags = v->flags & (JSON_ESCAPED | JSON_KEY_ESCAPED);
	to->layout = fresh ? JSON_LAYOUT_AUTO : v->layout;
	to->text = v->text;
	to->len = v->len;
	to->key = v->key;
	to->key_len = v->key_len;
	for (const struct json *c = v->first; c; c = c->next) {
		struct json *child;
		int r = copy(p, c, depth + 1, fresh, &child);
		if (r < 0)
			return r;
		append(to, &last, child);
	}
	*ret = to;
	return 0;
}

/* The link that leads to a child. */
static struct json **link_of(struct json *parent, const struct json *child)
{
	struct json **at = &parent->first;
	while (*at != child)
		at = &(*at)->next;
	return at;
}

static void unlink_child(struct json *v)
{
	*link_of(v->parent, v) = v->next;
	v->parent->count--;
	v->parent = v->next = NULL;
}

/* What is at v's place becomes `to`. */
static void put_over(struct patcher *p, struct json *v, struct json *to)
{
	to->key = v->key;
	to->key_len = v->key_len;
	to->parent = v->parent;
	to->next = v->next;
	to->flags = (uint16_t)((to->flags & ~JSON_KEY_ESCAPED) | (v->flags & JSON_KEY_ESCAPED));
	if (v->parent)
		*link_of(v->parent, v) = to;
	else
		p->root = to;
}

/* ---- RFC 6902 ---- */

/* A place: the container that it is in, and which one there. */
struct spot {
	struct json *in;  /* NULL: the root */
	const char *key;  /* in an object */
	size_t key_len;
	struct json *at;  /* what is there; NULL: nothing */
	struct json *before; /* in an array: the element that it follows; NULL: it is the first */
	unsigned depth;   /* containers around it */
};

static int missing(struct patcher *p, const char *pointer, size_t len)
{
	return err_set(p->e, -ENOENT, "there is no '%.*s'", (int)(len > 150 ? 150 : len), pointer);
}

/* The element i of an array, or the place behind the last one. -ENOENT. */
static int spot_index(struct spot *s, const char *t, size_t len)
{
	size_t i = 0;
	if (len == 1 && *t == '-') {
		i = s->in->count;
	} else {
		if (len == 0 || len > 9 || (t[0] == '0' && len > 1))
			return -ENOENT;
		for (size_t k = 0; k < len; k++) {
			if (t[k] < '0' || t[k] > '9')
				return -ENOENT;
			i = i * 10 + (size_t)(t[k] - '0');
		}
	}
	if (i > s->in->count)
		return -ENOENT;
	s->before = NULL;
	s->at = s->in->first;
	while (i-- > 0) {
		s->before = s->at;
		s->at = s->at->next;
	}
	return 0;
}

/* All containers on the way have to be there; what the last token names need not. */
static int spot_find(struct patcher *p, const char *pointer, size_t len, struct spot *ret)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	struct spot s = { .at = p->root };
	const char *at = pointer;
	size_t left = len;
	while (left > 0) {
		int r = json_pointer_next(&at, &left, &token, p->e);
		if (r < 0)
			return r;
		if (!s.at || !json_is_container(s.at))
			return missing(p, pointer, len);
		s.in = s.at;
		s.depth++;
		s.key = arena_dup(p->a, token.len ? token.data : (const uint8_t *)"", token.len);
		s.key_len = token.len;
		if (!s.key)
			return no_memory(p);
		if (s.in->type == JSON_OBJECT)
			s.at = json_get(s.in, s.key, s.key_len);
		else if (spot_index(&s, s.key, s.key_len) < 0)
			return missing(p, pointer, len);
	}
	*ret = s;
	return 0;
}

static void insert(struct patcher *p, const struct spot *s, struct json *v)
{
	if (!s->in || (s->at && s->in->type == JSON_OBJECT)) {
		put_over(p, s->at, v);
		return;
	}
	struct json **at = &s->in->first;
	v->key = NULL;
	v->key_len = 0;
	v->flags &= (uint16_t)~JSON_KEY_ESCAPED;
	if (s->in->type == JSON_OBJECT) {
		v->key = s->key;
		v->key_len = s->key_len;
		while (*at)
			at = &(*at)->next;
	} else if (s->before) {
		at = &s->before->next;
	}
	v->next = *at;
	v->parent = s->in;
	*at = v;
	s->in->count++;
}

static int text_member(struct patcher *p, const struct json *op, const char *name,
		       const struct json **ret)
{
	*ret = json_get_z(op, name);
	if (!*ret || (*ret)->type != JSON_STRING)
		return err_set(p->e, -EINVAL, "it needs \"%s\", a text", name);
	return 0;
}

static int value_member(struct patcher *p, const struct json *op, const struct json **ret)
{
	*ret = json_get_z(op, "value");
	return *ret ? 0 : err_set(p->e, -EINVAL, "it needs \"value\"");
}

static int op_add(struct patcher *p, const struct json *op, const struct spot *s)
{
	const struct json *value;
	struct json *v = NULL;
	int r = value_member(p, op, &value);
	if (r == 0)
		r = copy(p, value, s->depth, true, &v);
	if (r == 0)
		insert(p, s, v);
	return r;
}

static int op_remove(struct patcher *p, const struct spot *s)
{
	if (!s->in)
		return err_set(p->e, -EINVAL, "a document cannot be removed by a patch");
	unlink_child(s->at);
	return 0;
}

static int op_replace(struct patcher *p, const struct json *op, const struct spot *s)
{
	const struct json *value;
	struct json *v = NULL;
	int r = value_member(p, op, &value);
	if (r == 0)
		r = copy(p, value, s->depth, true, &v);
	if (r == 0)
		put_over(p, s->at, v);
	return r;
}

static int op_test(struct patcher *p, const struct json *op, const struct spot *s)
{
	const struct json *value;
	int r = value_member(p, op, &value);
	if (r == 0 && !json_equal(s->at, value))
		r = err_set(p->e, -ECANCELED, "the test failed: another value is there");
	return r;
}

/* from is a place above path: nothing can be moved into itself. */
static bool is_above(const struct json *from, const struct json *path)
{
	return from->len < path->len && !memcmp(from->text, path->text, from->len) &&
	       path->text[from->len] == '/';
}

static int op_move(struct patcher *p, const struct json *op, const struct json *path, bool move)
{
	const struct json *from;
	struct spot source, s;
	struct json *v = NULL;
	int r = text_member(p, op, "from", &from);
	if (r == 0 && move && is_above(from, path))
		r = err_set(p->e, -EINVAL, "a value cannot be moved into itself");
	if (r == 0)
		r = spot_find(p, from->text, from->len, &source);
	if (r == 0 && !source.at)
		r = missing(p, from->text, from->len);
	/* A move to where it is: the root has nowhere else to go. */
	if (r == 0 && move && from->len == path->len && !memcmp(from->text, path->text, from->len))
		return 0;
	if (r == 0)
		r = copy(p, source.at, 0, false, &v);
	if (r < 0)
		return r;
	if (move)
		unlink_child(source.at);
	r = spot_find(p, path->text, path->len, &s);
	/* Once more, for it is deeper now than where it was measured. */
	if (r == 0)
		r = copy(p, v, s.depth, false, &v);
	if (r == 0)
		insert(p, &s, v);
	return r;
}

static bool is_op(const struct json *op, const char *name)
{
	return op->len == strlen(name) && memcmp(op->text, name, op->len) == 0;
}

static int operate(struct patcher *p, const struct json *op)
{
	const struct json *name, *path;
	struct spot s;
	if (op->type != JSON_OBJECT)
		return err_set(p->e, -EINVAL, "it is no object");
	int r = text_member(p, op, "op", &name);
	if (r == 0)
		r = text_member(p, op, "path", &path);
	if (r < 0)
		return r;
	if (is_op(name, "move") || is_op(name, "copy"))
		return op_move(p, op, path, is_op(name, "move"));
	if (!is_op(name, "add") && !is_op(name, "remove") && !is_op(name, "replace") &&
	    !is_op(name, "test"))
		return err_set(p->e, -EINVAL, "there is no \"%.*s\": add, remove, replace, move, "
			       "copy or test", (int)(name->len > 40 ? 40 : name->len), name->text);
	r = spot_find(p, path->text, path->len, &s);
	if (r < 0)
		return r;
	if (is_op(name, "add"))
		return op_add(p, op, &s);
	if (!s.at)
		return missing(p, path->text, path->len);
	if (is_op(name, "remove"))
		return op_remove(p, &s);
	return is_op(name, "replace") ? op_replace(p, op, &s) : op_test(p, op, &s);
}

int jsonpatch_apply(struct arena *a, const struct json *doc, const struct json *patch,
		    struct json **ret, struct err *e)
{
	struct patcher p = { .a = a, .e = e };
	unsigned n = 0;
	if (patch->type != JSON_ARRAY)
		return err_set(e, -EINVAL, "a patch is a list of operations (RFC 6902)");
	int r = copy(&p, doc, 0, false, &p.root);
	if (r < 0)
		return r;
	for (const struct json *op = patch->first; op; op = op->next) {
		n++;
		r = operate(&p, op);
		if (r < 0) {
			err_prefix(e, "operation %u", n);
			return r;
		}
	}
	*ret = p.root;
	return 0;
}

/* ---- RFC 7396 ---- */

/* The patch without the members that are null, where there was nothing to be removed. */
static int merge_new(struct patcher *p, const struct json *patch, unsigned depth, struct json **ret)
{
	struct json *to = NULL, *last = NULL;
	if (patch->type != JSON_OBJECT)
		return copy(p, patch, depth, true, ret);
	struct json empty = *patch;
	empty.first = NULL;
	int r = copy(p, &empty, depth, true, &to);
	for (const struct json *c = patch->first; r == 0 && c; c = c->next) {
		struct json *child;
		if (c->type == JSON_NULL)
			continue;
		r = merge_new(p, c, depth + 1, &child);
		if (r == 0)
			append(to, &last, child);
	}
	if (r == 0)
		*ret = to;
	return r;
}

/* Into an object that is there already. */
static int merge_into(struct patcher *p, struct json *to, const struct json *patch, unsigned depth)
{
	for (const struct json *c = patch->first; c; c = c->next) {
		struct json *old = json_get(to, c->key, c->key_len), *v = NULL;
		int r = 0;
		if (c->type == JSON_NULL) {
			if (old)
				unlink_child(old);
		} else if (old && old->type == JSON_OBJECT && c->type == JSON_OBJECT) {
			r = merge_into(p, old, c, depth + 1);
		} else {
			r = merge_new(p, c, depth + 1, &v);
		}
		if (r < 0)
			return r;
		if (v)
			insert(p, &(struct spot){ to, c->key, c->key_len, old, NULL, depth }, v);
	}
	return 0;
}

int jsonpatch_merge(struct arena *a, const struct json *doc, const struct json *patch,
		    struct json **ret, struct err *e)
{
	struct patcher p = { .a = a, .e = e };
	int r;
	if (doc && doc->type == JSON_OBJECT && patch->type == JSON_OBJECT) {
		r = copy(&p, doc, 0, false, &p.root);
		if (r == 0)
			r = merge_into(&p, p.root, patch, 0);
	} else {
		r = merge_new(&p, patch, 0, &p.root);
	}
	if (r < 0)
		return r;
	p.root->key = NULL;
	p.root->key_len = 0;
	*ret = p.root;
	return 0;
}

/* ---- a value for a value ---- */

static void take_layout(struct json *v, const struct json *old)
{
	if (!old || !json_is_container(v) || v->type != old->type)
		return;
	if (old->count > 0)
		v->layout = old->layout;
	const struct json *beside = old->first;
	for (struct json *c = v->first; c; c = c->next) {
		take_layout(c, v->type == JSON_OBJECT ? json_get(old, c->key, c->key_len) : beside);
		beside = beside ? beside->next : NULL;
	}
}

int jsonpatch_replace(struct arena *a, const struct json *old, const struct json *value,
		      struct json **ret, struct err *e)
{
	struct patcher p = { .a = a, .e = e };
	int r = copy(&p, value, 0, true, &p.root);
	if (r < 0)
		return r;
	p.root->key = NULL;
	p.root->key_len = 0;
	take_layout(p.root, old);
	*ret = p.root;
	return 0;
}
