/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/counter.h"

#include <errno.h>

#include "engine/jsonnum.h"

bool slot_counts(const struct slot *s)
{
	for (uint32_t i = 0; i < s->val.n; i++)
		if (s->val.entry[i].value.kind == VALUE_COUNTER)
			return true;
	return false;
}

int number_add(struct arena *a, const struct value *x, const struct value *y, bool minus,
	       struct value *ret)
{
	char text[JSON_SUM_MAX];
	int n = json_number_add((const char *)x->data, x->len, (const char *)y->data, y->len, minus,
				text);
	if (n < 0)
		return n;
	const char *copy = arena_dup(a, text, (size_t)n);
	if (!copy)
		return -ENOMEM;
	*ret = (struct value){ VALUE_NUMBER, (const uint8_t *)copy, (size_t)n };
	return 0;
}

/* Counters are added in the order of the register, so that all devices fail, if any. */
int number_shown(struct arena *a, const struct slot *s, const struct value *v, struct value *ret)
{
	static const struct value zero = { VALUE_NUMBER, (const uint8_t *)"0", 1 };
	*ret = *v;
	if (!value_is_number(v->kind))
		return 0;
	struct value sum = v->kind == VALUE_NUMBER ? *v : zero, alone = sum;
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct value *c = &s->val.entry[i].value;
		int r = c->kind == VALUE_COUNTER ? number_add(a, &sum, c, false, &sum) : 0;
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			sum = alone;
			break;
		}
	}
	*ret = sum;
	return 0;
}
