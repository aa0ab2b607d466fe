/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/csvout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonnum.h"
#include "engine/jsonptr.h"
#include "tools/records.h"

#define DEPTH_MAX 32u /* objects inside each other that become columns; deeper ones are JSON in a cell */

struct column {
	char *pointer;
	size_t len;
	const struct json *cell; /* of the row */
};

struct csvout {
	char separator;
	struct column *column;
	uint32_t n, cap;
	uint32_t guess; /* where the next one probably is */
	bool ready;
	struct buf pointer;
};

int csvout_new(char separator, struct csvout **ret)
{
	struct csvout *x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->separator = separator;
	*ret = x;
	return 0;
}

void csvout_free(struct csvout *x)
{
	if (!x)
		return;
	for (uint32_t i = 0; i < x->n; i++)
		free(x->column[i].pointer);
	free(x->column);
	buf_done(&x->pointer);
	free(x);
}

void json_put_line(struct buf *out, const char *text, size_t len)
{
	bool inside = false;
	for (size_t i = 0, from = 0; i <= len; i++) {
		const char c = i < len ? text[i] : ' ';
		if (inside && c == '\\') {
			i++;
			continue;
		}
		if (c == '"')
			inside = !inside;
		if (!inside && strchr(" \t\r\n", c)) {
			buf_put(out, text + from, i - from);
			from = i + 1;
		}
	}
}

/* ---- columns ---- */

static struct column *find(struct csvout *x)
{
	for (uint32_t i = 0; i < x->n; i++) {
		const uint32_t at = (x->guess + i) % x->n;
		struct column *c = &x->column[at];
		if (c->len == x->pointer.len && memcmp(c->pointer, x->pointer.data, c->len) == 0) {
			x->guess = at + 1;
			return c;
		}
	}
	return NULL;
}

static int add(struct csvout *x, struct err *e)
{
	if (x->n == RECORD_COLUMNS_MAX)
		return err_set(e, -E2BIG, "all documents together have more than %u columns; JSON lines have no such limit",
			       RECORD_COLUMNS_MAX);
	if (x->n == x->cap) {
		const uint32_t cap = x->cap ? 2 * x->cap : 64;
		struct column *p = reallocarray(x->column, cap, sizeof(*p));
		if (!p)
			return err_errno(e, -ENOMEM, "cannot look at it");
		x->column = p;
		x->cap = cap;
	}
	struct column c = { .len = x->pointer.len };
	const char *text = buf_cstr(&x->pointer);
	c.pointer = text ? strdup(text) : NULL;
	if (!c.pointer)
		return err_errno(e, -ENOMEM, "cannot look at it");
	x->column[x->n++] = c;
	return 0;
}

/* Calls itself for objects, to DEPTH_MAX. */
static int each_cell(struct csvout *x, const struct json *v, unsigned depth, struct err *e)
{
	const size_t len = x->pointer.len;
	int r = 0;
	for (const struct json *m = v->first; m && r == 0; m = m->next) {
		json_pointer_append(&x->pointer, m->key, m->key_len);
		if (buf_failed(&x->pointer) || memchr(x->pointer.data, 0, x->pointer.len))
			return err_set(e, -EINVAL, "a member's name has a NUL in it, or is too long");
		const bool object = m->type == JSON_OBJECT && m->count && depth < DEPTH_MAX;
		struct column *c = find(x);
		if (c)
			c->cell = m;
		else if (object)
			r = each_cell(x, m, depth + 1, e);
		else if (x->ready)
			r = err_set(e, -ESTALE, "it has changed since it was looked at first; export it again");
		else
			r = add(x, e);
		x->pointer.len = len;
	}
	return r;
}

static int each(struct csvout *x, const struct json *document, struct err *e)
{
	if (document->type != JSON_OBJECT)
		return err_set(e, -EINVAL, "it is no object, so it has no columns; JSON lines take it");
	buf_reset(&x->pointer);
	x->guess = 0;
	return each_cell(x, document, 1, e);
}

int csvout_look(struct csvout *x, const struct json *document, struct err *e)
{
	return each(x, document, e);
}

/* Is it inside of another one? */
static bool is_inside(const struct csvout *x, const struct column *c)
{
	for (uint32_t i = 0; i < x->n; i++) {
		const struct column *o = &x->column[i];
		if (o->pointer && o->len < c->len && c->pointer[o->len] == '/' && memcmp(o->pointer, c->pointer, o->len) == 0)
			return true;
	}
	return false;
}

/* ---- cells ---- */

static void put_quoted(struct buf *out, const char *p, size_t len)
{
	buf_u8(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '"')
			buf_u8(out, '"');
		buf_u8(out, (uint8_t)p[i]);
	}
	buf_u8(out, '"');
}

/* Would it be read as something else without quotes? */
static bool wants_quotes(const struct csvout *x, const char *p, size_t len)
{
	if (!len || p[0] == ' ' || p[len - 1] == ' ' || p[0] == '"')
		return true;
	for (size_t i = 0; i < len; i++)
		if (p[i] == x->separator || p[i] == '\n' || p[i] == '\r' || p[i] == '"')
			return true;
	return (len == 4 && (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0)) ||
	       (len == 5 && memcmp(p, "false", 5) == 0) || json_number_valid(p, len);
}

static void put_text(const struct csvout *x, struct buf *out, const char *p, size_t len)
{
	if (wants_quotes(x, p, len))
		put_quoted(out, p, len);
	else
		buf_put(out, p, len);
}

/* /name -> name, where that is no pointer. */
static void put_name(const struct csvout *x, const struct column *c, struct buf *out)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	const char *p = c->pointer;
	size_t len = c->len;
	if (json_pointer_next(&p, &len, &token, NULL) == 0 && !len && token.len && token.data[0] != '/')
		put_text(x, out, (const char *)token.data, token.len);
	else
		put_text(x, out, c->pointer, c->len);
}

int csvout_header(struct csvout *x, struct buf *out)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < x->n; i++)
		if (is_inside(x, &x->column[i])) {
			free(x->column[i].pointer);
			x->column[i].pointer = NULL;
			x->column[i].len = 0;
		}
	for (uint32_t i = 0; i < x->n; i++)
		if (x->column[i].pointer)
			x->column[kept++] = x->column[i];
	x->n = kept;
	x->ready = true;
	for (uint32_t i = 0; i < x->n; i++) {
		if (i)
			buf_u8(out, (uint8_t)x->separator);
		put_name(x, &x->column[i], out);
	}
	if (x->n)
		buf_u8(out, '\n');
	return buf_failed(out) ? -ENOMEM : 0;
}

static void put_cell(struct csvout *x, const struct json *v, struct buf *out)
{
	_cleanup_(buf_done) struct buf line = { 0 };
	switch ((enum json_type)v->type) {
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_NUMBER:
		buf_put(out, v->text, v->len);
		break;
	case JSON_STRING:
		put_text(x, out, v->text, v->len);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		json_put_line(&line, v->text, v->len);
		if (buf_failed(&line))
			out->failed = true;
		put_quoted(out, (const char *)line.data, line.len);
		break;
	}
}

int csvout_row(struct csvout *x, const struct json *document, struct buf *out, struct err *e)
{
	for (uint32_t i = 0; i < x->n; i++)
		x->column[i].cell = NULL;
	int r = each(x, document, e);
	if (r < 0)
		return r;
	bool any = false;
	for (uint32_t i = 0; i < x->n; i++) {
		if (i)
			buf_u8(out, (uint8_t)x->separator);
		if (x->column[i].cell)
			put_cell(x, x->column[i].cell, out);
		any |= x->column[i].cell != NULL;
	}
	if (!any && x->n <= 1)
		return err_set(e, -EINVAL, "it is empty, and so is its row, which would be none; JSON lines take it");
	buf_u8(out, '\n');
	return buf_failed(out) ? err_errno(e, -ENOMEM, "cannot write it") : 0;
}
