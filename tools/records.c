/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/json.h"
#include "engine/jsonnum.h"
#include "engine/jsonptr.h"
#include "engine/jsonw.h"
#include "engine/utf8.h"

#define READ_STEP (256u * 1024)
#define DEPTH_MAX 64u

struct cell {
	size_t start, len; /* in text */
	bool quoted;
};

/* Columns as the members of an object. */
struct member {
	char *key;
	size_t len;
	struct member *first, *last, *next; /* members of it */
	bool leaf;
	uint32_t column; /* of a leaf */
};

struct records {
	int fd;
	struct records_config config;
	struct buf in;  /* what is read */
	size_t at;      /* of it taken */
	bool end;
	bool broken;    /* nothing can follow */
	uint64_t offset; /* of in's beginning */
	uint64_t line;  /* that begins at `at` */
	uint64_t number;
	struct buf text; /* a line, or the cells of a row */
	struct buf json;
	struct cell *cell;
	uint32_t n_cells;
	struct member root;
	uint32_t n_columns; /* 0: the header has not been read */
	struct arena arena;
};

int records_new(int fd, const struct records_config *config, struct records **ret)
{
	struct records *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->fd = fd;
	r->config = *config;
	r->line = 1;
	r->cell = calloc(RECORD_COLUMNS_MAX, sizeof(*r->cell));
	if (!r->cell) {
		free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

static void member_done(struct member *m)
{
	/* As deep as DEPTH_MAX. */
	for (struct member *c = m->first, *next; c; c = next) {
		next = c->next;
		member_done(c);
		free(c->key);
		free(c);
	}
}

void records_free(struct records *r)
{
	if (!r)
		return;
	member_done(&r->root);
	buf_done(&r->in);
	buf_done(&r->text);
	buf_done(&r->json);
	arena_done(&r->arena);
	free(r->cell);
	free(r);
}

uint64_t records_offset(const struct records *r)
{
	return r->offset + r->at;
}

/* ---- bytes ---- */

/* More of them: 1; 0: there are no more. */
static int fill(struct records *r, struct err *e)
{
	if (r->end)
		return 0;
	r->offset += r->at;
	buf_consume(&r->in, r->at);
	r->at = 0;
	uint8_t *p = buf_reserve(&r->in, READ_STEP);
	if (!p)
		return err_errno(e, -ENOMEM, "cannot read on");
	ssize_t n;
	do
		n = read(r->fd, p, READ_STEP);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(e, -errno, "cannot read on");
	r->end = n == 0;
	r->in.len += (size_t)n;
	return n > 0;
}

static int at_line(struct err *e, uint64_t line)
{
	e->line = (uint32_t)(line < UINT32_MAX ? line : UINT32_MAX);
	return e->code;
}

static int wrong(uint64_t line, struct err *e, const char *what)
{
	err_set(e, -EINVAL, "%s", what);
	return at_line(e, line);
}

static int too_long(struct records *r, uint64_t line, struct err *e)
{
	r->broken = true;
	err_set(e, -EFBIG, "a line or row has more than %u MiB", RECORD_MAX >> 20);
	return at_line(e, line);
}

static int skip_mark(struct records *r, struct err *e)
{
	while (r->in.len < 3) {
		int n = fill(r, e);
		if (n <= 0)
			return n;
	}
	if (memcmp(r->in.data, "\xef\xbb\xbf", 3) == 0)
		r->at = 3;
	return 0;
}

/* ---- JSON lines ---- */

/* The next line without its break, into text: 1; 0: there is none. */
static int read_line(struct records *r, struct err *e)
{
	buf_reset(&r->text);
	for (;;) {
		const size_t left = r->in.len - r->at;
		const uint8_t *from = r->in.data + r->at, *nl = left ? memchr(from, '\n', left) : NULL;
		const size_t n = nl ? (size_t)(nl - from) : left;
		if (r->text.len + n > RECORD_MAX)
			return too_long(r, r->line, e);
		buf_put(&r->text, from, n);
		r->at += n + (nl != NULL);
		if (nl)
			break;
		int more = fill(r, e);
		if (more < 0)
			return more;
		if (!more && !r->text.len)
			return 0;
		if (!more)
			break;
	}
	r->line++;
	return buf_failed(&r->text) ? err_errno(e, -ENOMEM, "cannot read on") : 1;
}

static int next_line(struct records *r, struct record *ret, struct err *e)
{
	int n;
	size_t blank;
	do {
		n = read_line(r, e);
		if (n <= 0)
			return n;
		for (blank = 0; blank < r->text.len && strchr(" \t\r", r->text.data[blank]) && r->text.data[blank];)
			blank++;
	} while (blank == r->text.len);
	*ret = (struct record){ r->line - 1, ++r->number, (const char *)r->text.data, r->text.len };
	return 1;
}

/* ---- CSV: cells ---- */

#define END (-100000) /* no errno */

/* The next byte, END, or a negative errno. */
static int peek(struct records *r, struct err *e)
{
	if (r->at == r->in.len) {
		int n = fill(r, e);
		if (n <= 0)
			return n ? n : END;
	}
	return r->in.data[r->at];
}

enum place { PLAIN, OPEN, CLOSED, CLOSED_CR }; /* outside of quotes, inside, behind them, and behind a CR there */

/* A cell, with its quotes taken away, behind the text; *ret_next: what follows it, not yet taken. */
static int read_cell(struct records *r, struct cell *ret, int *ret_next, struct err *e)
{
	const uint64_t line = r->line;
	enum place place = PLAIN;
	int c;
	ret->start = r->text.len;
	for (;; r->at++) {
		c = peek(r, e);
		if (c < 0 && c != END)
			return c;
		if (r->text.len > RECORD_MAX)
			return too_long(r, line, e);
		if (place == OPEN) {
			if (c == END) {
				r->broken = true;
				return wrong(line, e, "a quote that begins in this row is not closed");
			}
			r->line += c == '\n';
			if (c == '"')
				place = CLOSED;
			else
				buf_u8(&r->text, (uint8_t)c);
			continue;
		}
		if (c == END || c == '\n' || (c == r->config.separator && place != CLOSED_CR))
			break;
		if (place == PLAIN && c == '"' && r->text.len == ret->start) {
			place = OPEN;
		} else if (place == PLAIN) {
			buf_u8(&r->text, (uint8_t)c);
		} else if (place == CLOSED && c == '"') {
			/* Two of them stand for one. */
			buf_u8(&r->text, '"');
			place = OPEN;
		} else if (place == CLOSED && c == '\r') {
			place = CLOSED_CR;
		} else {
			return wrong(r->line, e, "there is text behind a closing quote");
		}
	}
	/* The CR of the line break. */
	if (place == PLAIN && c != r->config.separator && r->text.len > ret->start &&
	    r->text.data[r->text.len - 1] == '\r')
		r->text.len--;
	ret->len = r->text.len - ret->start;
	ret->quoted = place != PLAIN;
	*ret_next = c;
	return 0;
}

/* Goes on to the line behind, so that one row alone is lost. */
static int skip_row(struct records *r, int error)
{
	struct err ignored;
	while (!r->broken) {
		int c = peek(r, &ignored);
		if (c < 0)
			break;
		r->at++;
		if (c == '\n') {
			r->line++;
			break;
		}
	}
	return error;
}

/* A row: 1; 0: there is none. */
static int read_row(struct records *r, uint64_t *ret_line, struct err *e)
{
	int next = END;
	do {
		buf_reset(&r->text);
		r->n_cells = 0;
		*ret_line = r->line;
		int c = peek(r, e);
		if (c < 0)
			return c == END ? 0 : c;
		do {
			if (r->n_cells == RECORD_COLUMNS_MAX) {
				r->broken = true;
				return wrong(*ret_line, e, "a row has more than 4096 cells");
			}
			c = read_cell(r, &r->cell[r->n_cells++], &next, e);
			if (c < 0)
				return skip_row(r, c);
			r->at += next >= 0;
		} while (next == r->config.separator);
		r->line += next == '\n';
	} while (r->n_cells == 1 && !r->cell[0].len && !r->cell[0].quoted);
	if (buf_failed(&r->text))
		return err_errno(e, -ENOMEM, "cannot read on");
	if (!utf8_valid(r->text.data, r->text.len))
		return wrong(*ret_line, e, "the text is not UTF-8: convert the file, with iconv -f LATIN1 -t UTF-8 for "
			     "instance");
	return 1;
}

/* ---- CSV: columns ---- */

static struct member *member_find(struct member *in, const uint8_t *key, size_t len)
{
	for (struct member *m = in->first; m; m = m->next)
		if (m->len == len && (!len || memcmp(m->key, key, len) == 0))
			return m;
	return NULL;
}

static struct member *member_add(struct member *in, const uint8_t *key, size_t len)
{
	struct member *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->key = malloc(len + 1);
	if (!m->key) {
		free(m);
		return NULL;
	}
	if (len)
		memcpy(m->key, key, len);
	m->key[len] = 0;
	m->len = len;
	if (in->last)
		in->last->next = m;
	else
		in->first = m;
	in->last = m;
	return m;
}

/* The place that a column's name stands for, made. */
static int column_place(struct records *r, const char *name, size_t len, struct member **ret, struct err *e)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	struct member *in = &r->root;
	const bool pointer = len && *name == '/';
	unsigned depth = 0;
	if (!len)
		return err_set(e, -EINVAL, "a column has no name");
	do {
		if (pointer) {
			int rc = json_pointer_next(&name, &len, &token, e);
			if (rc < 0)
				return rc;
		} else {
			buf_put(&token, name, len);
		}
		if (buf_failed(&token))
			return err_errno(e, -ENOMEM, "cannot read the header");
		if (++depth > DEPTH_MAX)
			return err_set(e, -EINVAL, "a column lies deeper than %u objects", DEPTH_MAX);
		struct member *m = member_find(in, token.data, token.len);
		if (m && m->leaf)
			return err_set(e, -EINVAL, "two columns have one name, or one is in the other");
		if (!m)
			m = member_add(in, token.data, token.len);
		if (!m)
			return err_errno(e, -ENOMEM, "cannot read the header");
		in = m;
	} while (pointer && len);
	if (in->first)
		return err_set(e, -EINVAL, "two columns have one name, or one is in the other");
	*ret = in;
	return 0;
}

static int read_header(struct records *r, struct err *e)
{
	uint64_t line = 0;
	int n = read_row(r, &line, e);
	for (uint32_t i = 0; n > 0 && i < r->n_cells; i++) {
		const struct cell *c = &r->cell[i];
		struct member *m;
		const char *name = (const char *)r->text.data + c->start;
		if (column_place(r, name, c->len, &m, e) < 0) {
			err_prefix(e, "column %u, \"%.*s\"", i + 1, (int)(c->len < 60 ? c->len : 60), name);
			n = at_line(e, line);
			break;
		}
		m->leaf = true;
		m->column = i;
	}
	r->n_columns = r->n_cells;
	if (n < 0)
		r->broken = true;
	return n;
}

/* ---- CSV: values ---- */

static bool is_word(const char *p, size_t len)
{
	return (len == 4 && memcmp(p, "true", 4) == 0) || (len == 5 && memcmp(p, "false", 5) == 0) ||
	       (len == 4 && memcmp(p, "null", 4) == 0) || json_number_valid(p, len);
}

static bool is_container(struct records *r, const char *p, size_t len)
{
	struct json *v;
	if (len < 2 || (*p != '[' && *p != '{'))
		return false;
	arena_reset(&r->arena);
	return json_parse(&r->arena, p, len, NULL, &v, NULL) == 0;
}

static void put_cell(struct records *r, const struct cell *c)
{
	const char *p = (const char *)r->text.data + c->start;
	const bool value = !r->config.text_only && (c->quoted ? is_container(r, p, c->len) : is_word(p, c->len));
	if (value)
		buf_put(&r->json, p, c->len);
	else
		json_write_string(&r->json, p, c->len, JSON_ESCAPE_MINIMAL);
}

/* The members that the row has something for. As deep as DEPTH_MAX. */
static bool put_members(struct records *r, const struct member *in)
{
	bool any = false;
	for (const struct member *m = in->first; m; m = m->next) {
		const size_t before = r->json.len;
		const struct cell *c = m->leaf ? &r->cell[m->column] : NULL;
		buf_u8(&r->json, any ? ',' : '{');
		json_write_string(&r->json, m->key, m->len, JSON_ESCAPE_MINIMAL);
		buf_u8(&r->json, ':');
		if (c ? c->len || c->quoted : put_members(r, m)) {
			any = true;
			if (c)
				put_cell(r, c);
		} else {
			r->json.len = before;
		}
	}
	if (any)
		buf_u8(&r->json, '}');
	return any;
}

static int next_row(struct records *r, struct record *ret, struct err *e)
{
	uint64_t line;
	int n = r->n_columns ? 1 : read_header(r, e);
	if (n > 0)
		n = read_row(r, &line, e);
	if (n <= 0)
		return n;
	r->number++;
	if (r->n_cells != r->n_columns) {
		err_set(e, -EINVAL, "the row has %u cells, and the header %u; cells with a '%c' in them need quotes",
			r->n_cells, r->n_columns, r->config.separator);
		return at_line(e, line);
	}
	buf_reset(&r->json);
	if (!put_members(r, &r->root))
		buf_puts(&r->json, "{}");
	if (buf_failed(&r->json))
		return err_errno(e, -ENOMEM, "cannot read on");
	*ret = (struct record){ line, r->number, (const char *)r->json.data, r->json.len };
	return 1;
}

int records_next(struct records *r, struct record *ret, struct err *e)
{
	if (r->broken)
		return 0;
	if (!r->offset && !r->in.len) {
		int n = skip_mark(r, e);
		if (n < 0)
			return n;
	}
	return r->config.form == RECORDS_CSV ? next_row(r, ret, e) : next_line(r, ret, e);
}
