/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/spans.h"

#include <errno.h>
#include <string.h>

static void drop(struct spans *s, uint32_t i)
{
	vv_done(&s->low[i]);
	vv_done(&s->high[i]);
	s->n--;
	memmove(&s->low[i], &s->low[i + 1], (s->n - i) * sizeof(s->low[0]));
	memmove(&s->high[i], &s->high[i + 1], (s->n - i) * sizeof(s->high[0]));
}

void spans_done(struct spans *s)
{
	while (s->n > 0)
		drop(s, s->n - 1);
}

int spans_copy(const struct spans *s, struct spans *ret)
{
	struct spans copy = { 0 };
	for (uint32_t i = 0; i < s->n; i++) {
		struct vv low = { 0 }, high = { 0 };
		if (vv_copy(&s->low[i], &low) < 0 || vv_copy(&s->high[i], &high) < 0) {
			vv_done(&low);
			vv_done(&high);
			spans_done(&copy);
			return -ENOMEM;
		}
		copy.low[copy.n] = low;
		copy.high[copy.n++] = high;
	}
	spans_done(ret);
	*ret = copy;
	return 0;
}

const struct vv *spans_top(const struct spans *s)
{
	return s->n > 0 ? &s->high[s->n - 1] : NULL;
}

int spans_raise(struct spans *s, const struct vv *upto)
{
	struct vv low = { 0 }, high = { 0 };
	if (s->n > 0 && vv_covers(spans_top(s), upto))
		return 0;
	if (s->n == SPANS_MAX)
		return -ENOSPC;
	if (vv_copy(upto, &low) < 0 || vv_copy(upto, &high) < 0) {
		vv_done(&low);
		vv_done(&high);
		return -ENOMEM;
	}
	s->low[s->n] = low;
	s->high[s->n++] = high;
	return 0;
}

bool spans_lower(struct spans *s, uint32_t actor, uint64_t seq)
{
	uint32_t i = s->n - 1;
	if (s->n == 0 || seq >= vv_get(&s->low[i], actor) ||
	    (i > 0 && seq < vv_get(&s->high[i - 1], actor)))
		return false;
	vv_lower(&s->low[i], actor, seq);
	if (i > 0 && vv_covers(&s->high[i - 1], &s->low[i])) {
		struct vv high = s->high[i - 1];
		s->high[i - 1] = s->high[i];
		s->high[i] = high;
		drop(s, i);
	}
	return true;
}

bool spans_valid(const struct spans *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->high[i].n == 0 || !vv_covers(&s->high[i], &s->low[i]) ||
		    (i > 0 && !vv_covers(&s->low[i], &s->high[i - 1])))
			return false;
	return true;
}
