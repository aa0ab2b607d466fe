/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The text that SQLite gets: the query with columns where query-field.c found uses, and the way back from it to what people
 * wrote. */
#include <errno.h>
#include <string.h>

#include "engine/query-impl.h"

static void put_column(struct buf *b, const char *column)
{
	buf_u8(b, '"');
	for (const char *p = column; *p; p++) {
		if (*p == '"')
			buf_u8(b, '"');
		buf_u8(b, (uint8_t)*p);
	}
	buf_u8(b, '"');
}

int fields_write(struct query_run *run, struct buf *ret)
{
	const struct query *q = run->q;
	struct query_fields *f = &run->fields;
	size_t done = 0;
	buf_reset(ret);
	for (uint32_t i = 0; i < f->n_uses; i++) {
		struct query_use *u = &f->use[i];
		if (u->off)
			continue;
		buf_put(ret, q->sql + done, u->from - done);
		u->at = ret->len;
		buf_puts(ret, u->bare ? "" : "(+");
		buf_put(ret, u->qualifier, u->qualifier_len);
		put_column(ret, f->field[u->field].name);
		buf_puts(ret, u->bare ? "" : ")");
		u->len = ret->len - u->at;
		done = u->to;
	}
	buf_put(ret, q->sql + done, q->len - done);
	return buf_failed(ret) ? -ENOMEM : 0;
}

size_t fields_source(const struct query_run *run, size_t at)
{
	const struct query_fields *f = &run->fields;
	size_t more = 0, less = 0;
	for (uint32_t i = 0; i < f->n_uses; i++) {
		const struct query_use *u = &f->use[i];
		if (u->off)
			continue;
		if (at < u->at)
			break;
		if (at < u->at + u->len)
			return u->from;
		more += u->to - u->from;
		less += u->len;
	}
	return at + more - less;
}

struct query_use *fields_use(struct query_run *run, size_t at)
{
	struct query_fields *f = &run->fields;
	for (uint32_t i = 0; i < f->n_uses; i++) {
		struct query_use *u = &f->use[i];
		if (!u->off && at >= u->at && at < u->at + u->len)
			return u;
	}
	return NULL;
}

const struct query_field *fields_column(const struct query_run *run, const char *column)
{
	for (uint32_t i = 0; i < run->fields.n; i++)
		if (strcmp(run->fields.field[i].name, column) == 0)
			return &run->fields.field[i];
	return NULL;
}

void fields_name(struct query_run *run, const char *name, struct buf *ret)
{
	const struct query_fields *f = &run->fields;
	const struct query_field *whole = fields_column(run, name);
	/* The name of a column, or the text of an expression, in which columns stand. */
	_cleanup_(buf_done) struct buf made = { 0 };
	if (fields_write(run, &made) < 0)
		return;
	while (*name) {
		const struct query_use *found = NULL;
		for (uint32_t i = 0; i < f->n_uses && !found; i++) {
			/* Equal ones come in the order in which they stand there. */
			const struct query_use *u = &f->use[(i + run->named) % f->n_uses];
			if (!u->off && (whole ? &f->field[u->field] == whole :
						strncmp(name, (const char *)made.data + u->at, u->len) == 0))
				found = u;
		}
		if (found)
			run->named = (uint32_t)(found - f->use) + 1;
		/* cars.maker is called maker, as columns are. */
		bool alone = found && found->named && (whole || strlen(name) == found->len);
		if (alone) {
			const char *column = run->q->sql + found->from + found->qualifier_len;
			buf_put(ret, column, found->to - found->from - found->qualifier_len);
			return;
		}
		if (whole) {
			buf_put(ret, found ? run->q->sql + found->from : whole->source,
				found ? found->to - found->from : strlen(whole->source));
			return;
		}
		if (found) {
			buf_put(ret, run->q->sql + found->from, found->to - found->from);
			name += found->len;
		} else {
			buf_u8(ret, (uint8_t)*name++);
		}
	}
}
