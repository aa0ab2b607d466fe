/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A schema's JSON becomes nodes, one for each place that is a schema; keywords are checked here, so that checking
 * documents meets nothing unexpected. */

#include "engine/schema-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonnum.h"
#include "engine/jsonptr.h"
#include "engine/types.h"

struct compiler {
	struct schema *s;
	struct err *e;
	unsigned depth;
};

/* At the value of a keyword. */
#define REFUSE(c, at, ...)                                                 \
	({                                                                 \
		int _refused = err_set((c)->e, -EINVAL, __VA_ARGS__);       \
		err_place((c)->e, (c)->s->text, (at)->offset);              \
		_refused;                                                   \
	})

static int compile(struct compiler *c, const struct json *at, const struct schema_node **ret);

static bool is(const struct json *v, const char *name)
{
	return v->key_len == strlen(name) && memcmp(v->key, name, v->key_len) == 0;
}

static int want(struct compiler *c, const struct json *v, enum json_type type, const char *what)
{
	return v->type == type ? 0
			       : REFUSE(c, v, "%.*s of a schema has to be %s, and is %s %s", (int)v->key_len,
					v->key, what, json_type_name(v)[0] == 'a' || json_type_name(v)[0] == 'o' ? "an" : "a",
					json_type_name(v));
}

static int want_strings(struct compiler *c, const struct json *v)
{
	for (const struct json *x = v->first; x; x = x->next)
		if (x->type != JSON_STRING)
			return REFUSE(c, x, "only names, which are strings, may stand here");
	return 0;
}

static int get_count(struct compiler *c, const struct json *v, uint64_t *ret)
{
	if (v->type == JSON_NUMBER && json_number_to_u64(v->text, v->len, ret) == 0)
		return 0;
	return REFUSE(c, v, "%.*s of a schema has to be an integer, 0 or more", (int)v->key_len, v->key);
}

static int get_number(struct compiler *c, const struct json *v, const struct json **ret)
{
	int r = want(c, v, JSON_NUMBER, "a number");
	if (r == 0)
		*ret = v;
	return r;
}

static int get_list(struct compiler *c, const struct json *v, struct schema_list *ret)
{
	int r = want(c, v, JSON_ARRAY, "an array of schemas");
	if (r == 0 && v->count == 0)
		r = REFUSE(c, v, "%.*s of a schema needs one schema at least", (int)v->key_len, v->key);
	if (r < 0)
		return r;
	ret->node = arena_array(&c->s->arena, v->count, sizeof(*ret->node));
	if (!ret->node)
		return -ENOMEM;
	for (const struct json *x = v->first; x && r == 0; x = x->next)
		r = compile(c, x, &ret->node[ret->n++]);
	return r;
}

static int get_pattern(struct compiler *c, const struct json *at, const char *text, size_t len,
		       pcre2_code **ret)
{
	int number;
	PCRE2_SIZE offset;
	struct schema *s = c->s;
	pcre2_code **codes = reallocarray(s->codes, s->n_codes + 1, sizeof(pcre2_code *));
	if (!codes)
		return -ENOMEM;
	s->codes = codes;
	*ret = pcre2_compile((PCRE2_SPTR)text, len,
			     PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY |
				     PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALT_BSUX,
			     &number, &offset, NULL);
	if (!*ret) {
		PCRE2_UCHAR why[160];
		if (pcre2_get_error_message(number, why, sizeof(why)) < 0)
			why[0] = '\0';
		return REFUSE(c, at, "no regular expression: %s, at its character %zu", (const char *)why,
			      (size_t)offset);
	}
	s->codes[s->n_codes++] = *ret;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct schema_member *x = a, *y = b;
	int r = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
	return r ? r : (x->len > y->len) - (x->len < y->len);
}

static int get_members(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = want(c, v, JSON_OBJECT, "an object of schemas");
	if (r < 0 || v->count == 0)
		return r;
	n->members = arena_array(&c->s->arena, v->count, sizeof(*n->members));
	if (!n->members)
		return -ENOMEM;
	for (const struct json *x = v->first; x && r == 0; x = x->next) {
		struct schema_member *m = &n->members[n->n_members++];
		*m = (struct schema_member){ .key = x->key, .len = x->key_len };
		r = compile(c, x, &m->node);
	}
	qsort(n->members, n->n_members, sizeof(*n->members), by_key);
	return r;
}

static int get_patterns(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = want(c, v, JSON_OBJECT, "an object of schemas");
	if (r < 0 || v->count == 0)
		return r;
	n->patterns = arena_array(&c->s->arena, v->count, sizeof(*n->patterns));
	if (!n->patterns)
		return -ENOMEM;
	for (const struct json *x = v->first; x && r == 0; x = x->next) {
		struct schema_pattern *p = &n->patterns[n->n_patterns++];
		*p = (struct schema_pattern){ .text = x };
		r = get_pattern(c, x, x->key, x->key_len, &p->code);
		if (r == 0)
			r = compile(c, x, &p->node);
	}
	return r;
}

/* Of definitions, which say nothing by themselves, nothing but a $ref leads to: wrong ones are to be found all the
 * same. */
static int get_definitions(struct compiler *c, const struct json *v)
{
	const struct schema_node *n;
	int r = want(c, v, JSON_OBJECT, "an object of schemas");
	for (const struct json *x = v->first; x && r == 0; x = x->next)
		r = compile(c, x, &n);
	return r;
}

static int get_type(struct compiler *c, const struct json *v, unsigned *types)
{
	static const struct {
		const char *name;
		unsigned types;
	} known[] = {
		{ "null", 1u << JSON_NULL },
		{ "boolean", 1u << JSON_FALSE | 1u << JSON_TRUE },
		{ "number", 1u << JSON_NUMBER },
		{ "string", 1u << JSON_STRING },
		{ "array", 1u << JSON_ARRAY },
		{ "object", 1u << JSON_OBJECT },
		{ "integer", SCHEMA_INTEGER },
	};
	for (size_t i = 0; v->type == JSON_STRING && i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == v->len && memcmp(known[i].name, v->text, v->len) == 0) {
			*types |= known[i].types;
			return 0;
		}
	return REFUSE(c, v, "a type is null, boolean, number, integer, string, array or object");
}

static int get_types(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = 0;
	n->types_text = v;
	if (v->type != JSON_ARRAY)
		return get_type(c, v, &n->types);
	if (v->count == 0)
		return REFUSE(c, v, "a list of types needs one at least");
	for (const struct json *x = v->first; x && r == 0; x = x->next)
		r = get_type(c, x, &n->types);
	return r;
}

static int get_ref(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = want(c, v, JSON_STRING, "a string");
	struct json *there = NULL;
	if (r < 0)
		return r;
	if (v->len == 0 || v->text[0] != '#' || (v->len > 1 && v->text[1] != '/'))
		return REFUSE(c, v, "$ref leads to a place in the same file: # or #/a/json/pointer");
	r = json_pointer_get(c->s->tree, v->text + 1, v->len - 1, &there, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : REFUSE(c, v, "there is no such place in this schema");
	return compile(c, there, &n->ref);
}

static int get_merge(struct compiler *c, const struct json *v, struct schema_node *n)
{
	struct type type;
	struct err why = { 0 };
	int r = want(c, v, JSON_STRING, "a string");
	if (r == 0 && type_parse(v->text, v->len, &type, &why) < 0)
		r = REFUSE(c, v, "%s", why.message);
	n->merge = v;
	return r;
}

static int get_multiple(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = get_number(c, v, &n->multiple);
	if (r == 0 && (v->text[0] == '-' || json_number_is_multiple("0", 1, v->text, v->len) < 0))
		r = REFUSE(c, v, "multipleOf has to be more than 0, and of 18 digits at most");
	return r;
}

static int get_format(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = want(c, v, JSON_STRING, "a string");
	n->format_text = v;
	n->format = r == 0 ? format_by_name(v->text, v->len) : FORMAT_NONE;
	return r;
}

static int get_names(struct compiler *c, const struct json *v, const struct json **ret)
{
	int r = want(c, v, JSON_ARRAY, "an array of names");
	*ret = v;
	return r < 0 ? r : want_strings(c, v);
}

static int get_dependent(struct compiler *c, const struct json *v, struct schema_node *n)
{
	int r = want(c, v, JSON_OBJECT, "an object of arrays of names");
	for (const struct json *x = v->first; x && r == 0; x = x->next) {
		const struct json *names;
		r = get_names(c, x, &names);
	}
	n->dependent = v;
	return r;
}

static int get_unique(struct compiler *c, const struct json *v, struct schema_node *n)
{
	n->unique = v->type == JSON_TRUE;
	return v->type == JSON_TRUE || v->type == JSON_FALSE
		       ? 0
		       : REFUSE(c, v, "uniqueItems is true or false");
}

static int keyword(struct compiler *c, const struct json *v, struct schema_node *n)
{
	static const char *const refused[] = { "unevaluatedProperties", "unevaluatedItems",
					       "dependentSchemas",	"$dynamicRef",
					       "$dynamicAnchor",	"$anchor",
					       "$recursiveRef",		"$vocabulary",
					       "dependencies",		"additionalItems" };
	if (is(v, "type"))
		return get_types(c, v, n);
	if (is(v, "enum")) {
		n->enumeration = v;
		return want(c, v, JSON_ARRAY, "an array");
	}
	if (is(v, "const")) {
		n->constant = v;
		return 0;
	}
	if (is(v, "minimum"))
		return get_number(c, v, &n->minimum);
	if (is(v, "maximum"))
		return get_number(c, v, &n->maximum);
	if (is(v, "exclusiveMinimum"))
		return get_number(c, v, &n->above);
	if (is(v, "exclusiveMaximum"))
		return get_number(c, v, &n->below);
	if (is(v, "multipleOf"))
		return get_multiple(c, v, n);
	if (is(v, "minLength"))
		return get_count(c, v, &n->min_length);
	if (is(v, "maxLength"))
		return get_count(c, v, &n->max_length);
	if (is(v, "pattern")) {
		int r = want(c, v, JSON_STRING, "a string");
		n->pattern.text = v;
		return r < 0 ? r : get_pattern(c, v, v->text, v->len, &n->pattern.code);
	}
	if (is(v, "format"))
		return get_format(c, v, n);
	if (is(v, "items"))
		return compile(c, v, &n->items);
	if (is(v, "prefixItems"))
		return get_list(c, v, &n->prefix);
	if (is(v, "contains"))
		return compile(c, v, &n->contains);
	if (is(v, "minItems"))
		return get_count(c, v, &n->min_items);
	if (is(v, "maxItems"))
		return get_count(c, v, &n->max_items);
	if (is(v, "minContains"))
		return get_count(c, v, &n->min_contains);
	if (is(v, "maxContains"))
		return get_count(c, v, &n->max_contains);
	if (is(v, "uniqueItems"))
		return get_unique(c, v, n);
	if (is(v, "properties"))
		return get_members(c, v, n);
	if (is(v, "patternProperties"))
		return get_patterns(c, v, n);
	if (is(v, "additionalProperties"))
		return compile(c, v, &n->additional);
	if (is(v, "propertyNames"))
		return compile(c, v, &n->names);
	if (is(v, "required"))
		return get_names(c, v, &n->required);
	if (is(v, "dependentRequired"))
		return get_dependent(c, v, n);
	if (is(v, "minProperties"))
		return get_count(c, v, &n->min_members);
	if (is(v, "maxProperties"))
		return get_count(c, v, &n->max_members);
	if (is(v, "allOf"))
		return get_list(c, v, &n->all);
	if (is(v, "anyOf"))
		return get_list(c, v, &n->any);
	if (is(v, "oneOf"))
		return get_list(c, v, &n->one);
	if (is(v, "not"))
		return compile(c, v, &n->not_);
	if (is(v, "if"))
		return compile(c, v, &n->if_);
	if (is(v, "then"))
		return compile(c, v, &n->then);
	if (is(v, "else"))
		return compile(c, v, &n->else_);
	if (is(v, "$ref"))
		return get_ref(c, v, n);
	if (is(v, "$defs") || is(v, "definitions"))
		return get_definitions(c, v);
	if (is(v, "x-shoal-type"))
		return get_merge(c, v, n);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (is(v, refused[i]))
			return REFUSE(c, v, "%s is not supported: shoal-schema(7) lists what is", refused[i]);
	return 0;
}

static struct schema_node *find(const struct schema *s, const struct json *at)
{
	const uint64_t hash = table_mix((uint64_t)(uintptr_t)at);
	for (struct table_link *l = table_first(&s->nodes, hash); l; l = l->next) {
		struct schema_node *n = table_entry(l, struct schema_node, link);
		if (n->at == at)
			return n;
	}
	return NULL;
}

static int compile(struct compiler *c, const struct json *at, const struct schema_node **ret)
{
	struct schema_node *n = find(c->s, at);
	int r = 0;
	if (n) {
		*ret = n;
		return 0;
	}
	if (at->type != JSON_OBJECT && at->type != JSON_TRUE && at->type != JSON_FALSE)
		return REFUSE(c, at, "a schema is an object, true or false");
	if (c->depth >= SCHEMA_NESTED)
		return REFUSE(c, at, "schemas may be in each other %u deep, not deeper", SCHEMA_NESTED);
	n = arena_zalloc(&c->s->arena, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->at = at;
	n->never = at->type == JSON_FALSE;
	n->max_length = n->max_items = n->max_members = n->max_contains = SCHEMA_ANY;
	n->min_contains = 1;
	/* It is there before it is done: it may refer to itself. */
	if (table_add(&c->s->nodes, &n->link, table_mix((uint64_t)(uintptr_t)at)) < 0)
		return -ENOMEM;
	c->depth++;
	for (const struct json *v = at->first; v && r == 0 && at->type == JSON_OBJECT; v = v->next)
		r = keyword(c, v, n);
	c->depth--;
	*ret = n;
	return r;
}

int schema_compile(struct schema *s, struct err *e)
{
	struct compiler c = { .s = s, .e = e };
	return compile(&c, s->tree, &s->root);
}
