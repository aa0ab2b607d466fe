/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/jdiff.h"

#include <errno.h>
#include <string.h>

#include "engine/arraydiff.h"
#include "engine/lis.h"
#include "engine/naming.h"
#include "engine/textedit.h"

static bool same_text(const struct json *x, const struct json *y)
{
	return x->type == y->type && x->len == y->len &&
	       (x->len == 0 || memcmp(x->text, y->text, x->len) == 0);
}

static bool equal(const struct json *x, const struct json *y)
{
	if (x->type != y->type)
		return false;
	/* Trees that were not parsed have no text for their objects. */
	if (x->type != JSON_OBJECT && x->text && y->text && same_text(x, y))
		return true;
	return json_equal(x, y);
}

/* LOOK_INLINE for a container that stands on one line inside of one that does not. */
static uint8_t layout_of(const struct json *j)
{
	return json_is_container(j) && j->count > 0 && j->layout == JSON_LAYOUT_INLINE &&
			       j->parent && j->parent->layout == JSON_LAYOUT_BROKEN
		       ? LOOK_INLINE
		       : 0;
}

struct list {
	struct patch **end;
};

static struct patch *add(struct arena *a, struct list *l, enum patch_kind kind,
			 const struct json *self)
{
	struct patch *p = arena_new(a, struct patch);
	if (!p)
		return NULL;
	p->kind = kind;
	p->key = self->key;
	p->key_len = self->key_len;
	*l->end = p;
	l->end = &p->next;
	return p;
}

/* One member of the new object and the old one of that name. */
struct pair {
	const struct json *old;
	struct json *new;
	bool moved;
};

/* Marks what is outside of the longest increasing subsequence of the old places. */
static int mark_moved(struct arena *a, struct pair *pair, uint32_t n)
{
	uint32_t *space = arena_array(a, n, 4 * sizeof(*space)), k = 0;
	uint32_t *offset = space, *at = space + n, *stays = at + n;
	if (!space)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		pair[i].moved = true;
		if (!pair[i].old)
			continue;
		offset[k] = pair[i].old->offset;
		at[k++] = i;
	}
	uint32_t count = lis(offset, k, stays, stays + n);
	for (uint32_t i = 0; i < count; i++)
		pair[at[stays[i]]].moved = false;
	return 0;
}

/* Pairs the members of next with those of base. *ret_common: how many have a partner. */
static int pair_up(struct arena *a, const struct json *base, struct json *next,
		   struct pair **ret, uint32_t *ret_common)
{
	struct pair *pair = arena_array(a, next->count, sizeof(*pair));
	const struct json *b = base->first, *last = NULL;
	uint32_t n = 0, common = 0;
	bool ordered = true;
	if (!pair)
		return -ENOMEM;
	for (struct json *j = next->first; j; j = j->next, n++) {
		/* Mostly it is the next one; else look it up. */
		const struct json *old = b;
		if (!old || old->key_len != j->key_len || memcmp(old->key, j->key, j->key_len) != 0)
			old = json_get(base, j->key, j->key_len);
		pair[n] = (struct pair){ old, j, !old };
		if (!old)
			continue;
		ordered = ordered && (!last || last->offset < old->offset);
		last = old;
		b = old->next;
		common++;
	}
	*ret = pair;
	*ret_common = common;
	return ordered ? 0 : mark_moved(a, pair, n);
}

static int diff_value(struct arena *a, const struct json *old, struct json *new,
		      const struct types_at *types, struct list *l, struct patch **ret);

/* One part that both have, or (old NULL) that is new. */
static int diff_part(struct arena *a, const struct json *old, struct json *new, bool moved,
		     struct json *around, const struct types_at *types, struct list *l)
{
	struct patch *p = NULL;
	uint8_t layout = layout_of(new);
	bool look = moved || (json_is_container(new) && new->count > 0 && old &&
			      layout != layout_of(old));
	int r = old ? diff_value(a, old, new, types, l, &p) : 0;
	if (r < 0)
		return r;
	if (!p && (!old || look)) {
		p = add(a, l, old ? PATCH_LOOK : PATCH_SET, new);
		if (!p)
			return -ENOMEM;
		p->value = old ? NULL : new;
	}
	if (!p)
		return 0;
	p->before = old;
	p->moved = moved;
	p->look = look;
	p->layout = layout;
	p->object = around;
	p->self = new;
	p->types = types;
	return 0;
}

static int diff_members(struct arena *a, const struct json *base, struct json *next,
			const struct types_at *types, struct list *l)
{
	const struct types_at *below;
	struct pair *pair;
	uint32_t common;
	int r = pair_up(a, base, next, &pair, &common);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < next->count; i++) {
		r = types_step(a, types, pair[i].new->key, pair[i].new->key_len, &below);
		if (r == 0)
			r = diff_part(a, pair[i].old, pair[i].new, pair[i].moved, next, below, l);
		if (r < 0)
			return r;
	}
	if (common == base->count)
		return 0;
	for (const struct json *old = base->first; old; old = old->next) {
		if (json_get(next, old->key, old->key_len))
			continue;
		struct patch *p = add(a, l, PATCH_REMOVE, old);
		if (!p)
			return -ENOMEM;
		p->before = old;
	}
	return 0;
}

/* --- lists --- */

/* An array whose elements are known one by one. */
static bool is_list(const struct json *array)
{
	return array->type == JSON_ARRAY && (!array->first || array->first->key);
}

/* So are the characters of two equal strings. */
static void same_chars(const struct json *old, struct json *new)
{
	if (old->type == JSON_STRING)
		new->chars = old->chars;
}

/* The elements of two values of the same text are the same. */
static void name_alike(const struct json *old, struct json *new)
{
	const struct json *x = old;
	struct json *y = new;
	for (;;) {
		if (x->first && (x->type == JSON_OBJECT || is_list(x))) {
			x = x->first;
			y = y->first;
		} else {
			while (x != old && !x->next) {
				x = x->parent;
				y = y->parent;
			}
			if (x == old)
				return;
			x = x->next;
			y = y->next;
		}
		if (x->parent->type == JSON_ARRAY) {
			y->key = x->key;
			y->key_len = x->key_len;
		}
		same_chars(x, y);
	}
}

static int remove_elements(struct arena *a, const struct json *old, const bool *kept, struct list *l)
{
	uint32_t at = 0;
	for (const struct json *j = old->first; j; j = j->next) {
		if (kept[at++])
			continue;
		struct patch *p = add(a, l, PATCH_REMOVE, j);
		if (!p)
			return -ENOMEM;
		p->before = j;
	}
	return 0;
}

/* Who goes on gets its key. What changes its value is another element of a set. */
static void keep_elements(struct arraydiff *d, struct json *new, enum merge merge, bool *kept)
{
	struct json *j = new->first;
	for (uint32_t i = 0; i < d->count; i++, j = j->next) {
		struct arraydiff_item *item = &d->item[i];
		if (item->old && item->changed && merge == MERGE_SET)
			item->old = NULL;
		if (!item->old)
			continue;
		kept[item->old_at] = true;
		j->key = item->old->key;
		j->key_len = item->old->key_len;
	}
}

static int diff_elements(struct arena *a, const struct json *old, struct json *new,
			 const struct types_at *types, struct list *l)
{
	const struct type type = types_type(types);
	const struct types_at *below;
	struct arraydiff d;
	struct json *j = new->first;
	bool *kept = arena_array(a, old->count, sizeof(*kept));
	int r = kept ? arraydiff(a, old, new, type.field, type.field_len, &d) : -ENOMEM;
	if (r < 0)
		return r;
	keep_elements(&d, new, type.merge, kept);
	r = naming_new(a, old, new, types);
	if (r == 0)
		r = types_step(a, types, NULL, 0, &below);
	for (uint32_t i = 0; r == 0 && i < d.count; i++, j = j->next) {
		const struct arraydiff_item *item = &d.item[i];
		r = diff_part(a, item->old, j, !item->old || item->moved, new, below, l);
	}
	return r < 0 ? r : remove_elements(a, old, kept, l);
}

/* --- values --- */

static int diff_parts(struct arena *a, const struct json *old, struct json *new,
		      const struct types_at *types, struct list *l, struct patch **ret)
{
	struct patch *first = NULL;
	struct list below = { .end = &first };
	bool list = new->type == JSON_ARRAY;
	int r = list ? diff_elements(a, old, new, types, &below) :
		       diff_members(a, old, new, types, &below);
	if (r < 0 || !first)
		return r;
	*ret = add(a, l, PATCH_INTO, new);
	if (!*ret)
		return -ENOMEM;
	(*ret)->first = first;
	(*ret)->list = list;
	return 0;
}

/* What a save does to a string that is a text; one that is too long is a value as any other. */
static int edit_text(struct arena *a, const struct json *old, const struct types_at *types,
		     struct patch *p)
{
	struct seq_edit *edit;
	size_t n;
	if (types_merge(types) != MERGE_TEXT || old->type != JSON_STRING ||
	    p->value->type != JSON_STRING)
		return 0;
	int r = textedit_make(a, old->text, old->len, p->value->text, p->value->len, &edit, &n);
	if (r < 0)
		return r == -EFBIG ? 0 : r;
	p->edit = edit;
	p->n_edits = n;
	return 0;
}

/* Appends the patch from old to new to l; *ret is NULL if they are equal. */
static int diff_value(struct arena *a, const struct json *old, struct json *new,
		      const struct types_at *types, struct list *l, struct patch **ret)
{
	*ret = NULL;
	if (json_is_container(old) && old->text && new->text && same_text(old, new)) {
		name_alike(old, new);
		return 0;
	}
	if (old->type == JSON_OBJECT && new->type == JSON_OBJECT)
		return diff_parts(a, old, new, types, l, ret);
	if (is_list(old) && new->type == JSON_ARRAY && new->count <= LIST_MAX &&
	    types_merge(types) != MERGE_REGISTER)
		return diff_parts(a, old, new, types, l, ret);
	if (equal(old, new)) {
		same_chars(old, new);
		return 0;
	}
	*ret = add(a, l, PATCH_SET, new);
	if (!*ret)
		return -ENOMEM;
	(*ret)->value = new;
	return edit_text(a, old, types, *ret);
}

int jdiff(struct arena *a, const struct json *base, struct json *next, const struct types_at *types,
	  struct patch **ret)
{
	struct patch *first = NULL, *p = NULL;
	struct list l = { .end = &first };
	int r = 0;
	if (base) {
		r = diff_value(a, base, next, types, &l, &p);
	} else {
		p = add(a, &l, PATCH_SET, next);
		if (!p)
			return -ENOMEM;
		p->value = next;
	}
	if (r < 0)
		return r;
	if (p) {
		p->before = base;
		p->self = next;
		p->types = types;
	}
	*ret = p;
	return 0;
}
