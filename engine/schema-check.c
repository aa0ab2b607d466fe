/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A document is held against a schema (JSON Schema 2020-12, Core section 10, Validation section 6). Values may be
 * nested deeper than the C stack likes, and schemas may refer to themselves: both depth and steps are bounded. */

#include "engine/schema-impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/jsonnum.h"
#include "engine/jsonptr.h"

#define PATTERN_STEPS 100000u
#define PATTERN_DEEP 1000u

struct check {
	const char *text;
	struct err *e;     /* NULL: it is enough to know that something is wrong */
	unsigned deep;
	unsigned steps;
	bool stopped;      /* too deep, or too many steps */
	pcre2_match_context *limits;
};

static int check(struct check *c, const struct schema_node *n, const struct json *v);

static void pointer_of(struct buf *b, const struct json *v)
{
	const struct json *path[SCHEMA_DEEP + 1];
	unsigned depth = 0;
	for (; v->parent && depth <= SCHEMA_DEEP; v = v->parent)
		path[depth++] = v;
	while (depth--) {
		const struct json *x = path[depth];
		if (x->key) {
			json_pointer_append(b, x->key, x->key_len);
			continue;
		}
		size_t i = 0;
		for (const struct json *y = x->parent->first; y != x; y = y->next)
			i++;
		json_pointer_append_index(b, i);
	}
}

static int fault(struct check *c, const struct json *v, const char *fmt, ...) _printf_(3, 4);

/* "/doors must be at least 0"; of the document itself "it must be". */
static int fault(struct check *c, const struct json *v, const char *fmt, ...)
{
	_cleanup_(buf_done) struct buf at = { 0 };
	char what[160];
	va_list ap;
	if (!c->e)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	pointer_of(&at, v);
	const char *pointer = buf_cstr(&at);
	if (!pointer)
		return -ENOMEM;
	err_set(c->e, -EINVAL, "%s %s", *pointer ? pointer : "the document", what);
	if (c->text)
		err_place(c->e, c->text, v->offset);
	return -EINVAL;
}

#define TEXT(v) (int)((v)->len > 60 ? 60 : (v)->len), (v)->text

/* Does it fit? 1, 0, -errno. What is wrong is not of interest. */
static int fits(struct check *c, const struct schema_node *n, const struct json *v)
{
	struct err *e = c->e;
	c->e = NULL;
	int r = check(c, n, v);
	c->e = e;
	return r == 0 ? 1 : r == -EINVAL && !c->stopped ? 0 : r;
}

static bool is_integer(const struct json *v)
{
	return v->type == JSON_NUMBER && json_number_is_multiple(v->text, v->len, "1", 1) == 1;
}

static int check_values(struct check *c, const struct schema_node *n, const struct json *v)
{
	if (n->types && !(n->types & 1u << v->type) && !((n->types & SCHEMA_INTEGER) && is_integer(v)))
		return fault(c, v, "must be of type %.*s, and is %s", TEXT(n->types_text),
			     v->type == JSON_NUMBER ? v->len > 20 ? "another number" : "a number"
						    : json_type_name(v));
	if (n->constant && !json_equal(n->constant, v))
		return fault(c, v, "must be what const says");
	if (n->enumeration) {
		const struct json *x = n->enumeration->first;
		while (x && !json_equal(x, v))
			x = x->next;
		if (!x)
			return fault(c, v, "must be one of %.*s", TEXT(n->enumeration));
	}
	return 0;
}

static int compare(const struct json *a, const struct json *b)
{
	return json_number_compare(a->text, a->len, b->text, b->len);
}

static int check_number(struct check *c, const struct schema_node *n, const struct json *v)
{
	if (n->minimum && compare(v, n->minimum) < 0)
		return fault(c, v, "must be at least %.*s", TEXT(n->minimum));
	if (n->maximum && compare(v, n->maximum) > 0)
		return fault(c, v, "must be at most %.*s", TEXT(n->maximum));
	if (n->above && compare(v, n->above) <= 0)
		return fault(c, v, "must be more than %.*s", TEXT(n->above));
	if (n->below && compare(v, n->below) >= 0)
		return fault(c, v, "must be less than %.*s", TEXT(n->below));
	if (n->multiple && json_number_is_multiple(v->text, v->len, n->multiple->text, n->multiple->len) != 1)
		return fault(c, v, "must be a multiple of %.*s", TEXT(n->multiple));
	return 0;
}

/* 1, 0, -ENOMEM. A pattern that takes too long does not match. */
static int matches(struct check *c, const pcre2_code *code, const char *s, size_t len)
{
	if (!c->limits) {
		c->limits = pcre2_match_context_create(NULL);
		if (!c->limits)
			return -ENOMEM;
		pcre2_set_match_limit(c->limits, PATTERN_STEPS);
		pcre2_set_depth_limit(c->limits, PATTERN_DEEP);
	}
	pcre2_match_data *found = pcre2_match_data_create(1, NULL);
	if (!found)
		return -ENOMEM;
	int r = pcre2_match(code, (PCRE2_SPTR)s, len, 0, PCRE2_NO_UTF_CHECK, found, c->limits);
	pcre2_match_data_free(found);
	return r == PCRE2_ERROR_NOMEMORY ? -ENOMEM : r >= 0;
}

static uint64_t characters(const struct json *v)
{
	uint64_t n = 0;
	for (size_t i = 0; i < v->len; i++)
		n += ((unsigned char)v->text[i] & 0xc0) != 0x80;
	return n;
}

static int check_string(struct check *c, const struct schema_node *n, const struct json *v)
{
	if (n->min_length || n->max_length != SCHEMA_ANY) {
		const uint64_t len = characters(v);
		if (len < n->min_length)
			return fault(c, v, "must have at least %llu characters, and has %llu",
				     (unsigned long long)n->min_length, (unsigned long long)len);
		if (len > n->max_length)
			return fault(c, v, "must have at most %llu characters, and has %llu",
				     (unsigned long long)n->max_length, (unsigned long long)len);
	}
	if (n->pattern.code) {
		int r = matches(c, n->pattern.code, v->text, v->len);
		if (r <= 0)
			return r < 0 ? r : fault(c, v, "must match %.*s", TEXT(n->pattern.text));
	}
	if (!format_fits(n->format, v->text, v->len))
		return fault(c, v, "must be of format %.*s", TEXT(n->format_text));
	return 0;
}

struct hashed {
	uint64_t hash;
	const struct json *v;
};

static int by_hash(const void *a, const void *b)
{
	const struct hashed *x = a, *y = b;
	return (x->hash > y->hash) - (x->hash < y->hash);
}

static int check_unique(struct check *c, const struct json *v)
{
	_cleanup_free_ struct hashed *all = v->count > 1 ? calloc(v->count, sizeof(*all)) : NULL;
	size_t n = 0;
	if (v->count <= 1)
		return 0;
	if (!all)
		return -ENOMEM;
	for (const struct json *x = v->first; x; x = x->next)
		all[n++] = (struct hashed){ json_hash(x), x };
	qsort(all, n, sizeof(*all), by_hash);
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n && all[j].hash == all[i].hash; j++) {
			if (c->steps++ >= SCHEMA_STEPS) {
				c->stopped = true;
				return -EINVAL;
			}
			if (json_equal(all[i].v, all[j].v))
				return fault(c, all[j].v->offset > all[i].v->offset ? all[j].v : all[i].v,
					     "is in its array twice");
		}
	return 0;
}

static int check_array(struct check *c, const struct schema_node *n, const struct json *v)
{
	uint64_t found = 0, i = 0;
	int r = 0;
	if (v->count < n->min_items)
		return fault(c, v, "must have at least %llu elements, and has %u",
			     (unsigned long long)n->min_items, v->count);
	if (v->count > n->max_items)
		return fault(c, v, "must have at most %llu elements, and has %u",
			     (unsigned long long)n->max_items, v->count);
	for (const struct json *x = v->first; x && r == 0; x = x->next, i++) {
		if (i < n->prefix.n)
			r = check(c, n->prefix.node[i], x);
		else if (n->items)
			r = check(c, n->items, x);
		if (r < 0 || !n->contains)
			continue;
		r = fits(c, n->contains, x);
		found += r > 0;
		r = r > 0 ? 0 : r;
	}
	if (r < 0)
		return r;
	if (n->contains && (found < n->min_contains || found > n->max_contains))
		return fault(c, v, "has %llu elements of the kind that contains asks for",
			     (unsigned long long)found);
	return n->unique ? check_unique(c, v) : 0;
}

static const struct schema_node *member_of(const struct schema_node *n, const struct json *v)
{
	uint32_t from = 0, to = n->n_members;
	while (from < to) {
		uint32_t at = from + (to - from) / 2;
		const struct schema_member *m = &n->members[at];
		int r = memcmp(v->key, m->key, v->key_len < m->len ? v->key_len : m->len);
		if (r == 0)
			r = (v->key_len > m->len) - (v->key_len < m->len);
		if (r == 0)
			return m->node;
		if (r < 0)
			to = at;
		else
			from = at + 1;
	}
	return NULL;
}

static int check_member(struct check *c, const struct schema_node *n, const struct json *v)
{
	const struct schema_node *m = member_of(n, v);
	bool named = m;
	int r = m ? check(c, m, v) : 0;
	for (uint32_t i = 0; r == 0 && i < n->n_patterns; i++) {
		r = matches(c, n->patterns[i].code, v->key, v->key_len);
		if (r <= 0)
			continue;
		named = true;
		r = check(c, n->patterns[i].node, v);
	}
	if (r == 0 && !named && n->additional)
		r = n->additional->never ? fault(c, v, "is not a member that the schema knows")
					 : check(c, n->additional, v);
	if (r == 0 && n->names) {
		const struct json name = { .type = JSON_STRING,
					   .text = v->key,
					   .len = v->key_len,
					   .parent = v->parent,
					   .key = v->key,
					   .key_len = v->key_len,
					   .offset = v->offset };
		r = check(c, n->names, &name);
	}
	return r;
}

static int check_required(struct check *c, const struct json *names, const struct json *v)
{
	for (const struct json *x = names->first; x; x = x->next)
		if (!json_get(v, x->text, x->len))
			return fault(c, v, "must have a member \"%.*s\"", TEXT(x));
	return 0;
}

static int check_object(struct check *c, const struct schema_node *n, const struct json *v)
{
	int r = n->required ? check_required(c, n->required, v) : 0;
	if (r == 0 && v->count < n->min_members)
		r = fault(c, v, "must have at least %llu members, and has %u",
			  (unsigned long long)n->min_members, v->count);
	if (r == 0 && v->count > n->max_members)
		r = fault(c, v, "must have at most %llu members, and has %u",
			  (unsigned long long)n->max_members, v->count);
	for (const struct json *x = n->dependent ? n->dependent->first : NULL; x && r == 0; x = x->next)
		if (json_get(v, x->key, x->key_len))
			r = check_required(c, x, v);
	if (!n->n_members && !n->n_patterns && !n->additional && !n->names)
		return r;
	for (const struct json *x = v->first; x && r == 0; x = x->next)
		r = check_member(c, n, x);
	return r;
}

static int check_choices(struct check *c, const struct schema_node *n, const struct json *v)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < n->all.n; i++)
		r = check(c, n->all.node[i], v);
	if (r == 0 && n->any.n) {
		int any = 0;
		for (uint32_t i = 0; any == 0 && i < n->any.n; i++)
			any = fits(c, n->any.node[i], v);
		r = any == 0 ? fault(c, v, "fits none of the %u choices of anyOf", n->any.n) : any < 0 ? any : 0;
	}
	if (r == 0 && n->one.n) {
		uint32_t found = 0;
		for (uint32_t i = 0; r >= 0 && i < n->one.n; i++) {
			r = fits(c, n->one.node[i], v);
			found += r > 0;
		}
		r = r < 0 ? r : found == 1 ? 0 : fault(c, v, "fits %u of the choices of oneOf, not one", found);
	}
	if (r == 0 && n->not_) {
		r = fits(c, n->not_, v);
		r = r > 0 ? fault(c, v, "is what not excludes") : r;
	}
	if (r == 0 && n->if_) {
		r = fits(c, n->if_, v);
		const struct schema_node *next = r > 0 ? n->then : n->else_;
		r = r < 0 ? r : next ? check(c, next, v) : 0;
	}
	return r;
}

static int check(struct check *c, const struct schema_node *n, const struct json *v)
{
	if (n->never)
		return fault(c, v, "must not be there");
	if (c->steps++ >= SCHEMA_STEPS || c->deep >= SCHEMA_DEEP) {
		c->stopped = true;
		return -EINVAL;
	}
	c->deep++;
	int r = n->ref ? check(c, n->ref, v) : 0;
	if (r == 0)
		r = check_values(c, n, v);
	if (r == 0 && v->type == JSON_NUMBER)
		r = check_number(c, n, v);
	else if (r == 0 && v->type == JSON_STRING)
		r = check_string(c, n, v);
	else if (r == 0 && v->type == JSON_ARRAY)
		r = check_array(c, n, v);
	else if (r == 0 && v->type == JSON_OBJECT)
		r = check_object(c, n, v);
	if (r == 0)
		r = check_choices(c, n, v);
	c->deep--;
	return r;
}

int schema_check(const struct schema *s, const struct json *doc, const char *text, struct err *e)
{
	struct err unheard;
	struct check c = { .text = text, .e = e ? e : &unheard };
	int r = check(&c, s->root, doc);
	pcre2_match_context_free(c.limits);
	if (c.stopped && r == -EINVAL)
		return err_set(e, r, "the document is nested deeper, or takes longer to check, than its schema may");
	return r == -ENOMEM ? err_errno(e, r, "cannot check the document") : r;
}
