/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"

static uint64_t one_number(const struct json *j)
{
	struct numbers n = { 0 };
	numbers_of(&n, j->text, j->len);
	uint64_t v = n.n ? n.v[0] : 0;
	numbers_clear(&n);
	return v;
}

static uint64_t id_number(const struct json *j)
{
	return j && j->type == JSON_STRING && j->len > 1 ? strtoull(j->text + 1, NULL, 10) : 0;
}

static bool items_read(const struct json *list, struct doc *ret)
{
	ret->list = list != NULL;
	for (const struct json *j = list ? list->first : NULL; j; j = j->next) {
		const struct json *v = json_get_z(j, "v");
		if (ret->n_items == ITEMS)
			return false;
		ret->item[ret->n_items++] =
			(struct item){ id_number(json_get_z(j, "id")), v ? one_number(v) : 0 };
	}
	return true;
}

bool doc_read(struct version *v, struct doc *ret)
{
	struct arena a = { 0 };
	struct json *root;
	bool good =
		version_form(v) == FORM_JSON &&
		json_parse(&a, version_data(v), (size_t)version_size(v), NULL, &root, NULL) == 0 &&
		root->type == JSON_OBJECT;
	*ret = (struct doc){ 0 };
	for (int i = 0; good && i < TOPS; i++) {
		char key[3] = { 'k', (char)('0' + i), 0 };
		const struct json *j = json_get_z(root, key);
		ret->top[i] = j ? one_number(j) : 0;
	}
	good = good && items_read(json_get_z(root, "l"), ret);
	const struct json *o = good ? json_get_z(root, "o") : NULL;
	if (o) {
		ret->object = o->type == JSON_OBJECT;
		ret->scalar = ret->object ? 0 : one_number(o);
		for (int i = 0; i < SUBS; i++) {
			char key[3] = { 's', (char)('0' + i), 0 };
			const struct json *j = json_get_z(o, key);
			ret->sub[i] = j ? one_number(j) : 0;
		}
	}
	arena_done(&a);
	return good;
}

struct printer {
	struct buf *b;
	unsigned indent, depth;
	bool first;
};

static void print_key(struct printer *p, const char *key, int no)
{
	if (!p->first)
		buf_puts(p->b, ",");
	if (p->indent) {
		buf_puts(p->b, "\n");
		for (unsigned i = 0; i < p->indent * p->depth; i++)
			buf_puts(p->b, " ");
	}
	p->first = false;
	buf_putf(p->b, "\"%s", key);
	if (no >= 0)
		buf_putf(p->b, "%d", no);
	buf_puts(p->b, p->indent ? "\": " : "\":");
}

static void print_end(struct printer *p)
{
	p->depth--;
	if (p->indent && !p->first) {
		buf_puts(p->b, "\n");
		for (unsigned i = 0; i < p->indent * p->depth; i++)
			buf_puts(p->b, " ");
	}
	buf_puts(p->b, "}");
	p->first = false;
}

static void items_print(struct printer *p, const struct doc *doc)
{
	print_key(p, "l", -1);
	buf_puts(p->b, "[");
	for (unsigned i = 0; i < doc->n_items; i++) {
		const struct item *it = &doc->item[i];
		buf_puts(p->b, i ? ",{" : "{");
		if (it->id)
			buf_putf(p->b, "\"id\":\"e%llu\",", (unsigned long long)it->id);
		buf_putf(p->b, "\"v\":\"v%llu\"}", (unsigned long long)it->value);
	}
	buf_puts(p->b, "]");
}

void doc_print(struct world *w, const struct doc *doc, struct buf *b)
{
	static const unsigned indents[] = { 0, 2, 4 };
	struct printer p = {
		.b = b, .indent = indents[prng_below(&w->r, 3)], .depth = 1, .first = true
	};
	buf_puts(b, "{");
	for (int i = 0; i < TOPS; i++) {
		if (!doc->top[i])
			continue;
		print_key(&p, "k", i);
		buf_putf(b, "\"v%llu\"", (unsigned long long)doc->top[i]);
	}
	if (doc->list)
		items_print(&p, doc);
	if (doc->scalar) {
		print_key(&p, "o", -1);
		buf_putf(b, "\"v%llu\"", (unsigned long long)doc->scalar);
	} else if (doc->object) {
		print_key(&p, "o", -1);
		buf_puts(b, "{");
		p.depth++;
		p.first = true;
		for (int i = 0; i < SUBS; i++) {
			if (!doc->sub[i])
				continue;
			print_key(&p, "s", i);
			buf_putf(b, "\"v%llu\"", (unsigned long long)doc->sub[i]);
		}
		print_end(&p);
	}
	print_end(&p);
	if (prng_chance(&w->r, 70))
		buf_puts(b, "\n");
}

static void items_insert(struct doc *doc, uint64_t at, struct item it)
{
	memmove(doc->item + at + 1, doc->item + at, (doc->n_items - at) * sizeof(it));
	doc->item[at] = it;
	doc->n_items++;
}

static struct item items_take(struct doc *doc, uint64_t at)
{
	struct item it = doc->item[at];
	doc->n_items--;
	memmove(doc->item + at, doc->item + at + 1, (doc->n_items - at) * sizeof(it));
	return it;
}

static void items_change(struct world *w, struct doc *doc)
{
	uint64_t what = prng_below(&w->r, 100);
	uint64_t at = doc->n_items ? prng_below(&w->r, doc->n_items) : 0;
	bool known = doc->n_items > 0 && doc->item[at].id;
	if (what < 40 && doc->n_items < ITEMS / 5) {
		uint64_t v = ++w->value;
		items_insert(doc, prng_below(&w->r, doc->n_items + UINT64_C(1)), (struct item){ v, v });
		doc->list = true;
	} else if (what < 60 && known) {
		doc->item[at].value = ++w->value;
	} else if (what < 75 && known) {
		items_take(doc, at);
	} else if (what < 90 && doc->n_items > 1) {
		struct item it = items_take(doc, at);
		items_insert(doc, prng_below(&w->r, doc->n_items + UINT64_C(1)), it);
	} else if (what >= 96) {
		doc->list = !doc->list || prng_chance(&w->r, 50);
		doc->n_items = 0;
	}
}

void doc_change(struct world *w, struct doc *doc)
{
	for (uint64_t n = 1 + prng_below(&w->r, 3); n > 0; n--) {
		uint64_t what = prng_below(&w->r, 100);
		uint64_t k = prng_below(&w->r, TOPS), s = prng_below(&w->r, SUBS);
		if (what < 50) {
			if (prng_chance(&w->r, 35))
				items_change(w, doc);
			else
				doc->top[k] = ++w->value;
		} else if (what < 60) {
			doc->top[k] = 0;
		} else if (what < 85) {
			doc->scalar = 0;
			doc->object = true;
			doc->sub[s] = ++w->value;
		} else if (what < 90 && doc->object) {
			doc->sub[s] = 0;
		} else if (what < 95) {
			*doc = (struct doc){ .scalar = ++w->value };
		} else {
			doc->scalar = 0;
			doc->object = false;
			memset(doc->sub, 0, sizeof(doc->sub));
		}
	}
}

static const struct item *items_find(const struct doc *doc, const struct item *like)
{
	for (unsigned i = 0; i < doc->n_items; i++)
		if (doc->item[i].id == like->id && (like->id || doc->item[i].value == like->value))
			return &doc->item[i];
	return NULL;
}

/* Elements without an id only go with all others. */
static bool items_emptied(const struct doc *old, const struct doc *new)
{
	bool kept = false;
	for (unsigned i = 0; i < old->n_items; i++)
		kept = kept || items_find(new, &old->item[i]);
	return !kept && (old->n_items > 0 || (old->list && !new->list));
}

static bool items_changed(const struct doc *old, const struct doc *new)
{
	return old->n_items != new->n_items ||
	       memcmp(old->item, new->item, old->n_items * sizeof(old->item[0])) != 0;
}

/* Where a list may have been declared to be something else, a change of an element may write all of it
 * anew. */
static void items_settled(struct world *w, struct device *d, const struct id *node,
			  const struct doc *old, const struct numbers *saw)
{
	struct numbers shown = { 0 };
	for (unsigned i = 0; i < old->n_items; i++)
		numbers_add(&shown, old->item[i].value);
	model_settled(w, d, node, "/l", saw, &shown);
	numbers_clear(&shown);
}

static void items_model(struct world *w, struct device *d, const struct id *node,
			const struct doc *old, const struct doc *new, const struct numbers *saw)
{
	char place[32];
	if (w->seed % 7 == 6 && items_changed(old, new))
		items_settled(w, d, node, old, saw);
	if (items_emptied(old, new))
		model_covered(w, d, node, "/l", saw);
	for (unsigned i = 0; i < old->n_items; i++) {
		const struct item *it = &old->item[i], *now = items_find(new, it);
		snprintf(place, sizeof(place), "/l/e%llu", (unsigned long long)it->id);
		if (it->id && (!now || now->value != it->value))
			model_covered(w, d, node, place, saw);
	}
	for (unsigned i = 0; i < new->n_items; i++) {
		const struct item *it = &new->item[i], *before = items_find(old, it);
		snprintf(place, sizeof(place), "/l/e%llu", (unsigned long long)it->id);
		if (it->id && (!before || before->value != it->value))
			model_wrote(w, d, node, place, it->value);
	}
}

void doc_model(struct world *w, struct device *d, const struct id *node, const struct doc *old,
	       const struct doc *new, const struct numbers *saw)
{
	char place[16];
	bool inside = memcmp(old->sub, new->sub, sizeof(old->sub)) != 0;
	model_entered(w, d, node, "", saw);
	if (inside)
		model_entered(w, d, node, "/o", saw);
	for (int i = 0; i < TOPS; i++) {
		if (old->top[i] == new->top[i])
			continue;
		snprintf(place, sizeof(place), "/k%d", i);
		if (old->top[i])
			model_covered(w, d, node, place, saw);
		if (new->top[i])
			model_wrote(w, d, node, place, new->top[i]);
	}
	items_model(w, d, node, old, new, saw);
	bool had = old->object || old->scalar, has = new->object || new->scalar;
	if (had && (!has || old->object != new->object || old->scalar != new->scalar))
		model_covered(w, d, node, "/o", saw);
	if (new->scalar && new->scalar != old->scalar)
		model_wrote(w, d, node, "/o", new->scalar);
	for (int i = 0; i < SUBS; i++) {
		if (old->sub[i] == new->sub[i])
			continue;
		snprintf(place, sizeof(place), "/o/s%d", i);
		if (old->sub[i])
			model_covered(w, d, node, place, saw);
		if (new->sub[i])
			model_wrote(w, d, node, place, new->sub[i]);
	}
}
