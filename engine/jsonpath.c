/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/jsonpath.h"

#include <errno.h>
#include <string.h>

struct parser {
	const char *text;
	size_t len, at;
	struct jsonpath_step *step;
	uint32_t n;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char peek(const struct parser *p)
{
	return p->at < p->len ? p->text[p->at] : 0;
}

static bool take_number(struct parser *p, uint32_t *ret)
{
	uint64_t n = 0;
	size_t start = p->at;
	for (; is_digit(peek(p)); p->at++)
		n = n > UINT32_MAX ? n : n * 10 + (uint64_t)(peek(p) - '0');
	*ret = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
	return p->at > start;
}

static void put_name(struct parser *p, size_t from, size_t to)
{
	p->step[p->n++] = (struct jsonpath_step){ JSONPATH_NAME, p->text + from, to - from, 0 };
}

/* Behind a dot. */
static bool take_name(struct parser *p)
{
	size_t start = p->at;
	if (peek(p) == '"') {
		const char *end = memchr(p->text + start + 1, '"', p->len - start - 1);
		if (!end)
			return false;
		p->at = (size_t)(end - p->text) + 1;
		put_name(p, start + 1, p->at - 1);
		return true;
	}
	while (p->at < p->len && peek(p) != '.' && peek(p) != '[')
		p->at++;
	put_name(p, start, p->at);
	return p->at > start;
}

/* Behind [. */
static bool take_index(struct parser *p)
{
	struct jsonpath_step s = { .kind = JSONPATH_INDEX };
	if (peek(p) == '#') {
		s.kind = JSONPATH_FROM_END;
		p->at++;
		if (peek(p) == '-') {
			p->at++;
			if (!take_number(p, &s.n))
				return false;
		}
	} else if (!take_number(p, &s.n)) {
		return false;
	}
	if (peek(p) != ']')
		return false;
	p->at++;
	p->step[p->n++] = s;
	return true;
}

static bool take_short(struct parser *p)
{
	struct jsonpath_step s = { .kind = JSONPATH_INDEX };
	if (peek(p) == '[' || peek(p) == '$')
		return true;
	if (!is_digit(peek(p)))
		return p->len > 0 && take_name(p);
	if (!take_number(p, &s.n) || p->at < p->len)
		return false;
	p->step[p->n++] = s;
	return true;
}

int jsonpath_parse(struct arena *a, const char *text, size_t len, bool short_form, struct jsonpath *ret,
		   size_t *ret_at)
{
	struct parser p = { .text = text, .len = len };
	p.step = arena_array(a, len / 2 + 1, sizeof(*p.step));
	if (!p.step)
		return -ENOMEM;
	bool good = short_form ? take_short(&p) : peek(&p) == '$';
	if (good && p.at == 0 && peek(&p) == '$')
		p.at++;
	while (good && p.at < len) {
		char c = peek(&p);
		p.at++;
		good = c == '.' ? take_name(&p) : c == '[' && take_index(&p);
	}
	if (!good) {
		if (ret_at)
			*ret_at = p.at;
		return -EINVAL;
	}
	*ret = (struct jsonpath){ p.step, p.n };
	return 0;
}

const struct json *jsonpath_get(const struct json *root, const struct jsonpath *p, uint32_t skip)
{
	for (uint32_t i = skip; root && i < p->n; i++) {
		const struct jsonpath_step *s = &p->step[i];
		if (s->kind == JSONPATH_NAME) {
			root = root->type == JSON_OBJECT ? json_get(root, s->name, s->len) : NULL;
			continue;
		}
		uint32_t n = s->n;
		if (root->type != JSON_ARRAY)
			return NULL;
		if (s->kind == JSONPATH_FROM_END && (n == 0 || n > root->count))
			return NULL;
		root = json_at(root, s->kind == JSONPATH_FROM_END ? root->count - n : n);
	}
	return root;
}

int jsonpath_join(struct arena *a, const struct jsonpath *x, const struct jsonpath *y, struct jsonpath *ret)
{
	struct jsonpath_step *step = arena_array(a, (size_t)x->n + y->n + 1, sizeof(*step));
	if (!step)
		return -ENOMEM;
	if (x->n)
		memcpy(step, x->step, x->n * sizeof(*step));
	if (y->n)
		memcpy(step + x->n, y->step, y->n * sizeof(*step));
	*ret = (struct jsonpath){ step, x->n + y->n };
	return 0;
}

void jsonpath_write(const struct jsonpath *p, struct buf *out)
{
	buf_u8(out, '$');
	for (uint32_t i = 0; i < p->n; i++) {
		const struct jsonpath_step *s = &p->step[i];
		if (s->kind == JSONPATH_NAME) {
			buf_puts(out, ".\"");
			buf_put(out, s->name, s->len);
			buf_u8(out, '"');
		} else {
			buf_putf(out, s->kind == JSONPATH_INDEX ? "[%u]" : "[#-%u]", s->n);
		}
	}
}

bool jsonpath_equal(const struct jsonpath *x, const struct jsonpath *y)
{
	if (x->n != y->n)
		return false;
	for (uint32_t i = 0; i < x->n; i++) {
		const struct jsonpath_step *a = &x->step[i], *b = &y->step[i];
		if (a->kind != b->kind)
			return false;
		if (a->kind != JSONPATH_NAME ? a->n != b->n : a->len != b->len || (a->len && memcmp(a->name, b->name, a->len) != 0))
			return false;
	}
	return true;
}
