/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query: SQL, and its answer as a table, JSON, JSON lines or CSV. Rows are printed as they come. With --watch JSON lines that
 * say how it changes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonstyle.h"
#include "engine/jsonw.h"
#include "engine/printable.h"
#include "engine/query.h"
#include "engine/utf8.h"
#include "tools/base64.h"
#include "tools/cli.h"

#define MEASURED 1000  /* rows that the width of columns comes from */
#define WIDTH_MAX 60   /* of a column, on a terminal */
#define CONTEXT 100    /* columns of a query around a mistake */

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_JSONL, FORMAT_CSV };

struct column {
	char *name; /* as it is */
	char *key;  /* that no other one has */
	bool json;
	bool numbers; /* nothing else came yet */
	size_t width;
};

struct output {
	enum format format;
	bool terminal;
	struct column *column;
	unsigned n;
	uint64_t rows;
	struct buf out;
	char **cell;       /* of rows that wait for the widths: n each */
	unsigned measured;
	bool printing;     /* the widths are known */
};

/* ---- values ---- */

/* A text that is JSON, on one line. False: it is none. */
static bool put_compact(const struct json *v, struct buf *b)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *root;
	if (v->type != JSON_STRING || json_parse(&a, v->text, v->len, NULL, &root, NULL) < 0)
		return false;
	json_style_write_compact(root, b);
	return true;
}

static const struct json *blob_of(const struct json *v)
{
	return v->type == JSON_OBJECT ? json_get_z(v, "base64") : NULL;
}

static void put_json(const struct column *c, const struct json *v, struct buf *b)
{
	if (c->json && put_compact(v, b))
		return;
	const struct json *blob = blob_of(v);
	v = blob ? blob : v;
	if (v->type == JSON_STRING)
		json_write_string(b, v->text, v->len, JSON_ESCAPE_MINIMAL);
	else
		buf_put(b, v->text, v->len);
}

/* What a person or another program reads; of bytes the base64. */
static void put_plain(const struct json *v, struct buf *b)
{
	const struct json *blob = blob_of(v);
	v = blob ? blob : v;
	if (v->type != JSON_NULL)
		buf_put(b, v->text, v->len);
}

/* Nothing that moves the cursor, or hides or reorders what is there. */
static void put_cell_text(const char *text, size_t len, struct buf *b)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len;
	while (p < end) {
		size_t n = *p < 0x80 ? 1 : utf8_sequence(p, end);
		if (*p == '\n')
			buf_puts(b, "\\n");
		else if (*p == '\t')
			buf_puts(b, "\\t");
		else if (n > 0 && printable(p, n))
			buf_put(b, p, n);
		else if (n < 2)
			buf_putf(b, "\\x%02x", *p);
		else
			buf_putf(b, "\\u%04x", utf8_decode(p, n));
		p += n ? n : 1;
	}
}

/* ---- rows ---- */

static void put_csv_text(const char *text, size_t len, struct buf *b)
{
	bool plain = len > 0 && text[0] != ' ' && text[len - 1] != ' ';
	for (size_t i = 0; plain && i < len; i++)
		plain = !strchr("\",\r\n", text[i]) && text[i];
	if (plain) {
		buf_put(b, text, len);
		return;
	}
	buf_u8(b, '"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			buf_u8(b, '"');
		buf_u8(b, (uint8_t)text[i]);
	}
	buf_u8(b, '"');
}

static void csv_row(struct output *o, const struct json *row)
{
	unsigned i = 0;
	for (const struct json *v = row->first; v; v = v->next, i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		if (i)
			buf_u8(&o->out, ',');
		put_plain(v, &b);
		if (v->type != JSON_NULL)
			put_csv_text(b.len ? (const char *)b.data : "", b.len, &o->out);
	}
	buf_u8(&o->out, '\n');
}

static void put_object(struct output *o, const struct json *row)
{
	unsigned i = 0;
	buf_u8(&o->out, '{');
	for (const struct json *v = row->first; v && i < o->n; v = v->next, i++) {
		if (i)
			buf_u8(&o->out, ',');
		json_write_string(&o->out, o->column[i].key, strlen(o->column[i].key), JSON_ESCAPE_MINIMAL);
		buf_u8(&o->out, ':');
		put_json(&o->column[i], v, &o->out);
	}
	buf_u8(&o->out, '}');
}

static void json_row(struct output *o, const struct json *row)
{
	if (o->format == FORMAT_JSON)
		buf_puts(&o->out, o->rows ? ",\n " : " ");
	put_object(o, row);
	if (o->format == FORMAT_JSONL)
		buf_u8(&o->out, '\n');
}

static size_t width_of(const char *text)
{
	size_t n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Cut where the column ends. */
static void put_cell(struct output *o, unsigned i, const char *text)
{
	const struct column *c = &o->column[i];
	size_t width = width_of(text), pad = c->width > width ? c->width - width : 0;
	bool right = c->numbers && pad;
	if (i)
		buf_puts(&o->out, "  ");
	for (size_t k = 0; right && k < pad; k++)
		buf_u8(&o->out, ' ');
	if (o->terminal && width > WIDTH_MAX) {
		const char *end = text;
		for (size_t k = 0; k < WIDTH_MAX; end++)
			k += ((unsigned char)end[1] & 0xc0) != 0x80;
		buf_put(&o->out, text, (size_t)(end - text));
		buf_puts(&o->out, "…");
	} else {
		buf_puts(&o->out, text);
	}
	for (size_t k = 0; !right && i + 1 < o->n && k < pad; k++)
		buf_u8(&o->out, ' ');
}

static void print_head(struct output *o)
{
	for (unsigned i = 0; i < o->n; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		put_cell_text(o->column[i].name, strlen(o->column[i].name), &b);
		const char *name = buf_cstr(&b);
		size_t width = width_of(name ? name : "");
		if (width > o->column[i].width)
			o->column[i].width = width;
		if (o->terminal && o->column[i].width > WIDTH_MAX)
			o->column[i].width = WIDTH_MAX;
		put_cell(o, i, name ? name : "");
	}
	buf_u8(&o->out, '\n');
	for (unsigned i = 0; i < o->n; i++) {
		buf_puts(&o->out, i ? "  " : "");
		for (size_t k = 0; k < o->column[i].width; k++)
			buf_u8(&o->out, '-');
	}
	buf_u8(&o->out, '\n');
}

/* The rows that waited. */
static void print_measured(struct output *o)
{
	if (o->printing || o->n == 0)
		return;
	o->printing = true;
	print_head(o);
	for (unsigned r = 0; r < o->measured; r++) {
		for (unsigned i = 0; i < o->n; i++) {
			put_cell(o, i, o->cell[r * o->n + i]);
			free(o->cell[r * o->n + i]);
		}
		buf_u8(&o->out, '\n');
	}
	o->measured = 0;
}

static void table_row(struct output *o, const struct json *row)
{
	unsigned i = 0;
	for (const struct json *v = row->first; v && i < o->n; v = v->next, i++) {
		struct column *c = &o->column[i];
		_cleanup_(buf_done) struct buf plain = { 0 }, text = { 0 };
		if (!c->json || !put_compact(v, &plain))
			put_plain(v, &plain);
		put_cell_text(plain.len ? (const char *)plain.data : "", plain.len, &text);
		const char *cell = buf_cstr(&text);
		if (o->printing) {
			put_cell(o, i, cell ? cell : "");
			continue;
		}
		size_t width = width_of(cell ? cell : "");
		c->width = width > c->width ? width : c->width;
		c->numbers = c->numbers && (v->type == JSON_NUMBER || v->type == JSON_NULL);
		o->cell[o->measured * o->n + i] = strdup(cell ? cell : "");
	}
	if (o->printing)
		buf_u8(&o->out, '\n');
	else if (++o->measured == MEASURED)
		print_measured(o);
}

static int flush(struct output *o)
{
	if (buf_failed(&o->out))
		return -ENOMEM;
	if (o->out.len == 0)
		return 0;
	size_t n = fwrite(o->out.data, 1, o->out.len, stdout);
	if (n < o->out.len || fflush(stdout) != 0)
		return errno ? -errno : -EIO;
	buf_reset(&o->out);
	return 0;
}

/* ---- the answer ---- */

static bool is_taken(const struct output *o, const char *key)
{
	for (unsigned i = 0; i < o->n; i++)
		if (strcmp(o->column[i].key, key) == 0)
			return true;
	return false;
}

static int add_column(struct output *o, const struct json *v)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct column c = { .name = strdup(cli_text(&a, v, "name", "?")), .json = cli_true(v, "json"), .numbers = true };
	if (!c.name)
		return -ENOMEM;
	const char *key = c.name;
	for (unsigned k = 2; key && is_taken(o, key); k++) {
		buf_reset(&b);
		buf_putf(&b, "%s %u", c.name, k);
		key = buf_cstr(&b);
	}
	c.key = key ? strdup(key) : NULL;
	if (!c.key) {
		free(c.name);
		return -ENOMEM;
	}
	o->column[o->n++] = c;
	return 0;
}

static int take_columns(struct output *o, const struct json *list)
{
	o->column = calloc(list->count, sizeof(*o->column));
	if (!o->column)
		return -ENOMEM;
	for (const struct json *v = list->first; v; v = v->next) {
		int r = add_column(o, v);
		if (r < 0)
			return r;
	}
	if (o->format == FORMAT_TABLE) {
		o->cell = calloc((size_t)MEASURED * o->n, sizeof(*o->cell));
		return o->cell ? 0 : -ENOMEM;
	}
	if (o->format == FORMAT_JSON)
		buf_puts(&o->out, "[\n");
	for (unsigned i = 0; o->format == FORMAT_CSV && i < o->n; i++) {
		buf_puts(&o->out, i ? "," : "");
		put_csv_text(o->column[i].name, strlen(o->column[i].name), &o->out);
	}
	if (o->format == FORMAT_CSV)
		buf_u8(&o->out, '\n');
	return 0;
}

static void take_row(struct output *o, const struct json *row)
{
	switch (o->format) {
	case FORMAT_TABLE:
		table_row(o, row);
		break;
	case FORMAT_JSON:
	case FORMAT_JSONL:
		json_row(o, row);
		break;
	case FORMAT_CSV:
		csv_row(o, row);
		break;
	}
	o->rows++;
}

static int on_result(const struct json *result, const char *raw, size_t len, bool last, void *userdata)
{
	struct output *o = userdata;
	const struct json *columns = json_get_z(result, "columns"), *rows = json_get_z(result, "rows");
	int r = 0;
	(void)raw;
	(void)len;
	if (columns && columns->type == JSON_ARRAY && !o->column)
		r = take_columns(o, columns);
	for (const struct json *v = r == 0 && rows && o->column ? rows->first : NULL; v; v = v->next)
		take_row(o, v);
	if (last && o->format == FORMAT_TABLE)
		print_measured(o);
	if (last && o->format == FORMAT_JSON)
		buf_puts(&o->out, o->rows ? "\n]\n" : "]\n");
	return r < 0 ? r : flush(o);
}

/* Of a query that is followed: reset, changes, cursor. */
static int on_news(const struct json *result, const char *raw, size_t len, bool last, void *userdata)
{
	struct output *o = userdata;
	const struct json *columns = json_get_z(result, "columns"), *changes = json_get_z(result, "changes");
	const struct json *cursor = json_get_z(result, "cursor");
	int r = 0;
	(void)raw;
	(void)len;
	(void)last;
	if (columns && columns->type == JSON_ARRAY && !o->column)
		r = take_columns(o, columns);
	if (cli_true(result, "reset"))
		buf_puts(&o->out, "{\"op\":\"reset\"}\n");
	for (const struct json *v = r == 0 && changes && o->column ? changes->first : NULL; v; v = v->next) {
		const struct json *op = json_get_z(v, "op"), *row = json_get_z(v, "row");
		if (!op || op->type != JSON_STRING || !row || row->type != JSON_ARRAY)
			return -EPROTO;
		buf_puts(&o->out, "{\"op\":");
		json_write_string(&o->out, op->text, op->len, JSON_ESCAPE_MINIMAL);
		buf_puts(&o->out, ",\"row\":");
		put_object(o, row);
		buf_puts(&o->out, "}\n");
	}
	if (cursor && cursor->type == JSON_STRING) {
		buf_puts(&o->out, "{\"op\":\"cursor\",\"cursor\":");
		json_write_string(&o->out, cursor->text, cursor->len, JSON_ESCAPE_MINIMAL);
		buf_puts(&o->out, "}\n");
	}
	return r < 0 ? r : flush(o);
}

static void output_done(struct output *o)
{
	for (unsigned i = 0; o->cell && i < o->measured * o->n; i++)
		free(o->cell[i]);
	for (unsigned i = 0; i < o->n; i++) {
		free(o->column[i].name);
		free(o->column[i].key);
	}
	free(o->cell);
	free(o->column);
	buf_done(&o->out);
}

/* ---- the question ---- */

/* The line of the query that is at fault, and where in it. */
static void show_place(const char *sql, const struct err *e)
{
	const char *line = sql;
	_cleanup_(buf_done) struct buf b = { 0 };
	if (!e->line || e->offset > strlen(sql))
		return;
	for (const char *p = sql; p < sql + e->offset; p++)
		if (*p == '\n')
			line = p + 1;
	const char *at = sql + e->offset, *end = at + strcspn(at, "\n");
	/* Of a long one what is around it. */
	size_t cut = (size_t)(at - line) > CONTEXT ? (size_t)(at - line) - CONTEXT : 0;
	while (cut && ((unsigned char)line[cut] & 0xc0) == 0x80)
		cut++;
	if (end > at + CONTEXT)
		for (end = at + CONTEXT; ((unsigned char)*end & 0xc0) == 0x80; end--)
			;
	put_cell_text(line + cut, (size_t)(at - line) - cut, &b);
	const char *before = buf_cstr(&b);
	size_t indent = width_of(before ? before : "");
	put_cell_text(at, (size_t)(end - at), &b);
	const char *text = buf_cstr(&b);
	bool lines = strchr(sql, '\n') && sql[strcspn(sql, "\n") + 1];
	if (lines)
		fprintf(stderr, "line %u:\n", e->line);
	fprintf(stderr, "  %s\n  %*s^\n", text ? text : "", (int)indent, "");
}

static int put_params(const struct cli *c, const char *sql, struct buf *b)
{
	buf_puts(b, "{\"sql\":");
	cli_put_text(b, sql);
	buf_puts(b, ",\"params\":{");
	for (unsigned i = 0; i < c->line.n_list; i++) {
		const char *text = c->line.list[i], *eq = strchr(text, '=');
		size_t n = eq ? (size_t)(eq - text) : 0;
		for (unsigned k = 0; n && k < i; k++)
			if (strncmp(c->line.list[k], text, n + 1) == 0)
				n = 0;
		if (n == 0)
			return -EINVAL;
		if (i)
			buf_u8(b, ',');
		json_write_string(b, text, n, JSON_ESCAPE_MINIMAL);
		buf_u8(b, ':');
		cli_put_text(b, eq + 1);
	}
	buf_puts(b, "}");
	if (c->line.value[QUERY_WATCH].set)
		buf_puts(b, ",\"watch\":true");
	if (c->line.value[QUERY_SINCE].set) {
		buf_puts(b, ",\"since\":");
		cli_put_text(b, c->line.value[QUERY_SINCE].text);
	}
	buf_u8(b, '}');
	return 0;
}

static int take_format(const struct cli *c, enum format *ret)
{
	static const char *const names[] = { "table", "json", "jsonl", "csv" };
	const char *text = c->line.value[QUERY_FORMAT].set ? c->line.value[QUERY_FORMAT].text : NULL;
	*ret = c->line.json ? FORMAT_JSON : FORMAT_TABLE;
	for (unsigned i = 0; text && i < 4; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum format)i;
			return c->line.json && i != FORMAT_JSON ? -EINVAL : 0;
		}
	return text ? -EINVAL : 0;
}

int cmd_query(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf input = { 0 }, params = { 0 };
	struct output o = { .terminal = c->terminal };
	if (take_format(c, &o.format) < 0)
		return cli_usage(c, "--format is table, json, jsonl or csv");
	bool watch = c->line.value[QUERY_WATCH].set;
	if (watch && (c->line.json || (c->line.value[QUERY_FORMAT].set && o.format != FORMAT_JSONL)))
		return cli_usage(c, "--watch prints JSON lines: there is no other format");
	if (watch)
		o.format = FORMAT_JSONL;
	else if (c->line.value[QUERY_SINCE].set)
		return cli_usage(c, "--since goes with --watch");
	int r = 0;
	const char *sql = c->line.n_args ? c->line.arg[0] : "-";
	if (strcmp(sql, "-") == 0) {
		r = cli_read_input(&input, QUERY_SQL_MAX, "a query", "put what it is about into the collections", &e);
		sql = r == 0 ? (const char *)input.data : "";
	}
	if (r < 0)
		return cli_fail(c, &e);
	if (put_params(c, sql, &params) < 0)
		return cli_usage(c, "--param takes NAME=VALUE, each name once");
	r = cli_connect(c, &k, &e);
	if (r == 0)
		r = ctlclient_call(k, "query", &params, 0, watch ? on_news : on_result, &o, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot write the answer");
	if (r < 0) { /* what came before it */
		if (o.measured > 0)
			print_measured(&o);
		(void)flush(&o);
	}
	output_done(&o);
	if (r == 0)
		return EXIT_DONE;
	int status = cli_fail(c, &e);
	show_place(sql, &e);
	return status;
}
