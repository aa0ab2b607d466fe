/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/spread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int spread_new(struct spread **ret)
{
	struct spread *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void spread_free(struct spread *s)
{
	assert(!s || !s->first);
	free(s);
}

void wishes_done(struct wishes *w)
{
	free(w->wish);
	*w = (struct wishes){ 0 };
}

/* The first one that is not before. */
static uint32_t wish_at(const struct wishes *w, const struct id *scope, uint32_t actor)
{
	uint32_t lo = 0, hi = w->n;
	while (lo < hi) {
		const uint32_t mid = lo + (hi - lo) / 2;
		const int c = id_cmp(&w->wish[mid].scope, scope);
		if (c < 0 || (c == 0 && w->wish[mid].actor < actor))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct wish *wishes_find(const struct wishes *w, const struct id *scope, uint32_t actor)
{
	const uint32_t i = wish_at(w, scope, actor);
	if (i < w->n && w->wish[i].actor == actor && id_equal(&w->wish[i].scope, scope))
		return &w->wish[i];
	return NULL;
}

enum wish_state wishes_state(const struct wishes *w, const struct id *scope, uint32_t actor)
{
	const struct wish *wish = wishes_find(w, scope, actor);
	return wish ? wish->state : WISH_NONE;
}

int wishes_get(struct wishes *w, const struct id *scope, uint32_t actor, struct wish **ret)
{
	struct wish *there = wishes_find(w, scope, actor);
	if (there) {
		*ret = there;
		return 0;
	}
	if (w->n == SPREAD_WISHES_MAX)
		return -ENOSPC;
	if (w->n == w->cap) {
		const uint32_t cap = w->cap ? 2 * w->cap : 8;
		struct wish *p = reallocarray(w->wish, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		w->wish = p;
		w->cap = cap;
	}
	const uint32_t i = wish_at(w, scope, actor);
	memmove(&w->wish[i + 1], &w->wish[i], (w->n - i) * sizeof(w->wish[0]));
	w->wish[i] = (struct wish){ .scope = *scope, .actor = actor };
	w->n++;
	*ret = &w->wish[i];
	return 0;
}

static struct wish *oldest(const struct wishes *w, bool lazy)
{
	struct wish *x = NULL;
	for (uint32_t i = 0; i < w->n; i++) {
		struct wish *y = &w->wish[i];
		if (!y->due && (y->state == WISH_LAZY) == lazy && (!x || y->at_us < x->at_us))
			x = y;
	}
	return x;
}

int wishes_make_room(struct wishes *w, const struct id *scope, uint32_t actor, uint64_t now_us, struct wish **ret)
{
	int r = wishes_get(w, scope, actor, ret);
	if (r != -ENOSPC)
		return r;
	struct wish *x = oldest(w, false);
	if (x) {
		wishes_drop(w, x);
		return wishes_get(w, scope, actor, ret);
	}
	x = oldest(w, true);
	if (x)
		wishes_set(w, x, WISH_ASKED, true, now_us);
	return -ENOSPC;
}

void wishes_set(struct wishes *w, struct wish *wish, enum wish_state state, bool due, uint64_t now_us)
{
	w->n_due += due;
	w->n_due -= wish->due;
	w->n_lazy += state == WISH_LAZY;
	w->n_lazy -= wish->state == WISH_LAZY;
	wish->state = state;
	wish->due = due;
	wish->at_us = now_us;
}

void wishes_drop(struct wishes *w, struct wish *wish)
{
	w->n_due -= wish->due;
	w->n_lazy -= wish->state == WISH_LAZY;
	w->n--;
	memmove(wish, wish + 1, (size_t)(&w->wish[w->n] - wish) * sizeof(*wish));
}
