/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/doctree.h"

#include <errno.h>
#include <stdlib.h>

#include "fusefs/fs.h"

/* Shorter arrays are gone through. */
#define LIST_MIN 32

struct list {
	const struct json *array;
	const struct json **item;
};

struct doctree {
	atomic_uint refs;
	struct version *version;
	struct json *root;
	struct list *list; /* of long arrays, in the order in which they open */
	size_t n_lists;
	struct arena arena;
};

static struct json *following(const struct json *root, struct json *v)
{
	if (v->first)
		return v->first;
	while (v != root && !v->next)
		v = v->parent;
	return v == root ? NULL : v->next;
}

static bool is_long(const struct json *v)
{
	return v->type == JSON_ARRAY && v->count >= LIST_MIN;
}

static int list_all(struct doctree *t)
{
	size_t n = 0;
	for (struct json *v = t->root; v; v = following(t->root, v))
		n += is_long(v);
	t->list = arena_array(&t->arena, n ? n : 1, sizeof(*t->list));
	if (!t->list)
		return -ENOMEM;
	for (struct json *v = t->root; v; v = following(t->root, v)) {
		if (!is_long(v))
			continue;
		struct list *l = &t->list[t->n_lists++];
		l->array = v;
		l->item = arena_array(&t->arena, v->count, sizeof(*l->item));
		if (!l->item)
			return -ENOMEM;
		size_t i = 0;
		for (const struct json *c = v->first; c; c = c->next)
			l->item[i++] = c;
	}
	return 0;
}

static int make(struct version *take, struct doctree **ret)
{
	struct doctree *t = calloc(1, sizeof(*t));
	if (!t) {
		version_unref(take);
		return -ENOMEM;
	}
	atomic_init(&t->refs, 1);
	t->version = take;
	int r = version_form(take) != FORM_JSON ? -EINVAL : 0;
	if (r == 0)
		r = json_parse(&t->arena, version_data(take), (size_t)version_size(take), NULL,
			       &t->root, NULL);
	if (r == 0)
		r = list_all(t);
	if (r < 0) {
		doctree_unref(t);
		return r;
	}
	*ret = t;
	return 0;
}

struct doctree *doctree_ref(struct doctree *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void doctree_unref(struct doctree *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	version_unref(t->version);
	arena_done(&t->arena);
	free(t);
}

/* The kept one, moved to the front; fs->lock held. */
static struct doctree *find(struct fusefs *fs, const struct id *node, const struct id *version)
{
	for (unsigned k = 0; k < DOCTREES && fs->doctree[k]; k++) {
		struct doctree *t = fs->doctree[k];
		if (!id_equal(version_node(t->version), node) ||
		    !id_equal(version_id(t->version), version))
			continue;
		for (; k > 0; k--)
			fs->doctree[k] = fs->doctree[k - 1];
		fs->doctree[0] = t;
		return doctree_ref(t);
	}
	return NULL;
}

/* To the front; what there is no room for any more is left in dead. fs->lock held. */
static void keep(struct fusefs *fs, struct doctree *t, struct doctree *dead[DOCTREES])
{
	struct doctree *old[DOCTREES];
	size_t bytes = t->arena.total;
	unsigned n = 1;
	for (unsigned k = 0; k < DOCTREES; k++) {
		old[k] = fs->doctree[k];
		fs->doctree[k] = NULL;
	}
	fs->doctree[0] = doctree_ref(t);
	for (unsigned k = 0; k < DOCTREES; k++) {
		bytes += old[k] ? old[k]->arena.total : 0;
		dead[k] = NULL;
		if (old[k] && n < DOCTREES && bytes <= DOCTREES_BYTES)
			fs->doctree[n++] = old[k];
		else
			dead[k] = old[k];
	}
}

int doctree_get(struct fusefs *fs, const struct attr *node, struct doctree **ret)
{
	struct version *v = NULL;
	struct doctree *t, *dead[DOCTREES];
	pthread_mutex_lock(&fs->lock);
	t = find(fs, &node->id, &node->version);
	pthread_mutex_unlock(&fs->lock);
	if (t) {
		*ret = t;
		return 0;
	}
	int r = replica_read(fs->replica, &node->id, &v);
	if (r == 0)
		r = make(v, &t);
	if (r < 0)
		return r;
	*ret = t;
	if (t->arena.total > DOCTREES_BYTES)
		return 0;
	pthread_mutex_lock(&fs->lock);
	keep(fs, t, dead);
	pthread_mutex_unlock(&fs->lock);
	for (unsigned k = 0; k < DOCTREES; k++)
		doctree_unref(dead[k]);
	return 0;
}

struct version *doctree_version(const struct doctree *t)
{
	return t->version;
}

const struct json *doctree_root(const struct doctree *t)
{
	return t->root;
}

const struct json *doctree_at(const struct doctree *t, const struct json *array, size_t i)
{
	if (i >= array->count)
		return NULL;
	if (!is_long(array))
		return json_at(array, i);
	size_t low = 0, high = t->n_lists;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (t->list[mid].array->offset <= array->offset)
			low = mid;
		else
			high = mid;
	}
	return t->list[low].item[i];
}

void doctrees_done(struct fusefs *fs)
{
	for (unsigned k = 0; k < DOCTREES; k++) {
		doctree_unref(fs->doctree[k]);
		fs->doctree[k] = NULL;
	}
}
