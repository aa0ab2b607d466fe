/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Queries in tests: the answer as one text, values separated by |, rows ended by a newline. A text stands
 * as it is, a real with all its digits, NULL as ~; a column of JSON is marked in the first line. */

#include "engine/query.h"
#include "tests/replicas.h"

struct asked {
	struct buf out, head;
	unsigned rows;
	int (*check)(void *userdata);
	void *userdata;
	size_t memory;
};

_unused_ static void asked_value(struct buf *b, const struct query_value *v)
{
	switch (v->type) {
	case QUERY_NULL:
		buf_puts(b, "~");
		break;
	case QUERY_INTEGER:
		buf_putf(b, "%lld", (long long)v->integer);
		break;
	case QUERY_REAL:
		buf_putf(b, "r%.17g", v->real);
		break;
	case QUERY_TEXT:
		buf_put(b, v->text, v->len);
		break;
	case QUERY_BLOB:
		buf_puts(b, "x");
		for (size_t i = 0; i < v->len; i++)
			buf_putf(b, "%02x", (unsigned)(uint8_t)v->text[i]);
		break;
	}
}

_unused_ static int asked_columns(const struct query_column *c, unsigned n, void *userdata)
{
	struct asked *a = userdata;
	for (unsigned i = 0; i < n; i++)
		buf_putf(&a->head, "%s%s%s", i ? "|" : "", c[i].name, c[i].json ? " (JSON)" : "");
	return 0;
}

_unused_ static int asked_row(const struct query_value *v, unsigned n, void *userdata)
{
	struct asked *a = userdata;
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_u8(&a->out, '|');
		asked_value(&a->out, &v[i]);
	}
	buf_u8(&a->out, '\n');
	a->rows++;
	return 0;
}

_unused_ static int asked_check(void *userdata)
{
	struct asked *a = userdata;
	return a->check ? a->check(a->userdata) : 0;
}

_unused_ static int ask_into(struct replica *r, const char *sql, const struct query_param *p, uint32_t n, struct asked *a,
			     struct err *e)
{
	const struct query q = { .sql = sql, .len = strlen(sql), .param = p, .n_params = n, .memory = a->memory };
	const struct query_sink sink = { .columns = asked_columns, .row = asked_row, .check = asked_check, .userdata = a };
	int rc = query_run(r, &q, &sink, e);
	buf_cstr(&a->out);
	buf_cstr(&a->head);
	return rc;
}

/* The rows, or "ERROR (line:column): message". Static memory. */
_unused_ static const char *ask(struct replica *r, const char *sql)
{
	static char text[65536];
	struct asked a = { 0 };
	struct err e = { 0 };
	int rc = ask_into(r, sql, NULL, 0, &a, &e);
	if (rc < 0)
		snprintf(text, sizeof(text), "ERROR (%u:%u): %s", e.line, e.column, e.message);
	else
		snprintf(text, sizeof(text), "%s", a.out.len ? (const char *)a.out.data : "");
	buf_done(&a.out);
	buf_done(&a.head);
	return text;
}
