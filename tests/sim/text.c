/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that edit texts: they put lines in and take lines out. Each line has a value in front.
 * One save does one of the two, so that what it says of lines does
 * not hang on how a difference pairs a new line with an old one. */
#include <string.h>

#include "tests/sim/world.h"

static const char *const words[] = { "over", "the", "quick", "fox", "lazy", "dogs", "jump", "night" };

/* The words behind a value: the same whenever the line is written. */
static void put_line(struct buf *b, uint64_t value)
{
	struct prng r = { value };
	buf_putf(b, "v%llu", (unsigned long long)value);
	for (uint64_t n = prng_below(&r, 6); n > 0; n--)
		buf_putf(b, " %s", words[prng_below(&r, 8)]);
	buf_puts(b, "\n");
}

void text_read(const struct version *v, struct numbers *ret)
{
	const char *p = version_data(v), *end = p + version_size(v);
	while (p < end) {
		const char *line = memchr(p, '\n', (size_t)(end - p));
		numbers_append(ret, p, line ? (size_t)(line - p) : (size_t)(end - p));
		p = line ? line + 1 : end;
	}
}

void text_change(struct world *w, const struct numbers *old, struct numbers *new)
{
	uint32_t at = (uint32_t)prng_below(&w->r, old->n + 1u), n = 0;
	bool take = old->n > 0 && (old->n > 30 || prng_chance(&w->r, 35));
	if (take && at == old->n)
		at--;
	if (!take)
		n = 1 + (uint32_t)prng_below(&w->r, 3);
	for (uint32_t i = 0; i <= old->n; i++) {
		for (uint32_t k = 0; i == at && k < n; k++)
			numbers_push(new, ++w->value);
		if (i < old->n && !(take && i == at))
			numbers_push(new, old->v[i]);
	}
}

void text_print(const struct numbers *t, struct buf *b)
{
	for (uint32_t i = 0; i < t->n; i++)
		put_line(b, t->v[i]);
}

static bool has(const struct numbers *t, uint64_t v)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->v[i] == v)
			return true;
	return false;
}

void text_model(struct world *w, struct device *d, const struct id *node, const struct numbers *old,
		const struct numbers *new, const struct numbers *saw)
{
	struct numbers gone = { 0 };
	/* Whatever else the file listed: a text is what is meant there from now on. */
	for (uint32_t i = 0; i < saw->n; i++)
		if (!has(old, saw->v[i]))
			numbers_push(&gone, saw->v[i]);
	for (uint32_t i = 0; i < old->n; i++)
		if (!has(new, old->v[i]))
			numbers_push(&gone, old->v[i]);
	model_covered(w, d, node, "", &gone);
	numbers_clear(&gone);
	for (uint32_t i = 0; i < new->n; i++)
		if (!has(old, new->v[i]))
			model_wrote(w, d, node, "", new->v[i]);
}
