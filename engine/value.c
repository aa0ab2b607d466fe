/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/value.h"

#include <assert.h>
#include <string.h>

#include "engine/jsonnum.h"
#include "engine/slot.h"

static bool array_equal_json(const struct value *v, const struct json *j)
{
	struct arena tmp = { 0 };
	struct json *t;
	bool equal = json_parse(&tmp, (const char *)v->data, v->len, NULL, &t, NULL) == 0 &&
		     json_equal(t, j);
	arena_done(&tmp);
	return equal;
}

bool value_equal(const struct value *x, const struct value *y)
{
	if (x->kind != y->kind)
		return false;
	if (value_same(x, y))
		return true;
	if (x->kind == VALUE_NUMBER)
		return json_number_compare((const char *)x->data, x->len, (const char *)y->data,
					   y->len) == 0;
	if (x->kind != VALUE_ARRAY)
		return false;
	struct arena tmp = { 0 };
	struct json *t;
	bool equal = json_parse(&tmp, (const char *)y->data, y->len, NULL, &t, NULL) == 0 &&
		     array_equal_json(x, t);
	arena_done(&tmp);
	return equal;
}

bool value_equal_json(const struct value *v, const struct json *j)
{
	struct value w = value_of_json(j);
	if (v->kind != w.kind || w.kind == VALUE_MAP)
		return false;
	if (value_same(v, &w))
		return true;
	if (w.kind == VALUE_NUMBER)
		return json_number_compare((const char *)v->data, v->len, (const char *)w.data,
					   w.len) == 0;
	return w.kind == VALUE_ARRAY && array_equal_json(v, j);
}

struct value value_of_json(const struct json *j)
{
	struct value v = { .data = (const uint8_t *)j->text, .len = j->len };
	switch ((enum json_type)j->type) {
	case JSON_NULL:
		return (struct value){ .kind = VALUE_NULL };
	case JSON_FALSE:
		return (struct value){ .kind = VALUE_FALSE };
	case JSON_TRUE:
		return (struct value){ .kind = VALUE_TRUE };
	case JSON_NUMBER:
		v.kind = VALUE_NUMBER;
		return v;
	case JSON_STRING:
		v.kind = VALUE_STRING;
		return v;
	case JSON_ARRAY:
		assert(j->text);
		v.kind = VALUE_ARRAY;
		return v;
	case JSON_OBJECT:
		break;
	}
	return (struct value){ .kind = VALUE_MAP };
}
