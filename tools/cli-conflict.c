/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conflicts, resolve: values that lost, and taking one back. */
#include <stdio.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/cli.h"
#include "tools/control.h"

#define VALUE_COLUMNS 48

struct printing {
	struct cli *c;
	bool names, values, schemas; /* something of the kind was listed */
	uint64_t n;
	struct buf json; /* all of it: a list that breaks off is none */
};

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_putf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
	json_write_string(b, text, strlen(text), JSON_ESCAPE_MINIMAL);
}

/* At most so many characters of UTF-8, and that something was cut off. */
static void put_cut(struct buf *b, const char *text, size_t len, unsigned most)
{
	for (size_t i = 0; i < len; i++) {
		bool starts = ((unsigned char)text[i] & 0xc0) != 0x80;
		if (starts && most-- == 0) {
			buf_puts(b, "…");
			return;
		}
		buf_u8(b, (uint8_t)text[i]);
	}
}

static void put_value(struct arena *a, const struct json *v, struct buf *b)
{
	const struct json *value = json_get_z(v, "value");
	char size[HUMAN_SIZE];
	if (cli_true(v, "left_out") || !value)
		buf_puts(b, human_bytes(cli_uint(v, "size"), size));
	else if (strcmp(cli_text(a, v, "type", ""), "link") == 0)
		buf_putf(b, "-> %s", cli_text(a, v, "value", "?"));
	else if (value->type == JSON_STRING) {
		_cleanup_(buf_done) struct buf text = { 0 };
		json_write_string(&text, value->text, value->len, JSON_ESCAPE_DEL);
		put_cut(b, (char *)text.data, text.len, VALUE_COLUMNS);
	} else {
		put_cut(b, value->text, value->len, VALUE_COLUMNS);
	}
}

static void print_rival(struct arena *a, struct listing *t, const char *place, const struct json *v,
			bool shown)
{
	_cleanup_(buf_done) struct buf cell = { 0 };
	char time[20];
	snprintf(time, sizeof(time), "%.19s", cli_text(a, v, "time", "-"));
	if (strlen(time) > 10)
		time[10] = ' ';
	buf_putf(&cell, "    %s", place);
	listing_cell(t, buf_cstr(&cell) ? (char *)cell.data : "");
	buf_reset(&cell);
	put_value(a, v, &cell);
	listing_cell(t, buf_cstr(&cell) ? (char *)cell.data : "");
	listing_cell(t, shown ? "shown" : cli_text(a, v, "id", "?"));
	listing_cell(t, cli_text(a, v, "device", "?"));
	listing_cell(t, time);
}

static void print_places(struct arena *a, const struct json *places)
{
	_cleanup_(listing_done) struct listing t = { .columns = 5 };
	for (const struct json *p = places ? places->first : NULL; p; p = p->next) {
		const struct json *shown = json_get_z(p, "shown"), *lost = json_get_z(p, "lost");
		const char *pointer = cli_text(a, p, "pointer", "?");
		print_rival(a, &t, *pointer ? pointer : "all of it", shown, true);
		for (const struct json *v = lost ? lost->first : NULL; v; v = v->next)
			print_rival(a, &t, "", v, false);
	}
	listing_print(&t);
}

static int print_file(const struct json *result, const char *raw, size_t len, bool last,
		      void *userdata)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct printing *p = userdata;
	if (last)
		return 0;
	if (p->c->line.json) {
		buf_puts(&p->json, p->n++ ? "," : "[");
		buf_put(&p->json, raw, len);
		return 0;
	}
	const struct json *places = json_get_z(result, "places"), *names = json_get_z(result, "names");
	printf("%s%s%s\n", p->c->colour ? "\033[1m" : "", cli_text(&a, result, "path", "?"),
	       p->c->colour ? "\033[0m" : "");
	p->n++;
	p->values |= places && places->first;
	print_places(&a, places);
	const char *schema = cli_text(&a, result, "schema", "");
	if (*schema) {
		p->schemas = true;
		printf("    %s\n", schema);
	}
	for (const struct json *v = names ? names->first : NULL; v; v = v->next) {
		p->names = true;
		printf("    %s is another %s of this name, of %s\n", cli_text(&a, v, "path", "?"),
		       cli_text(&a, v, "type", "?"), cli_text(&a, v, "device", "?"));
	}
	return 0;
}

int cmd_conflicts(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 }, path = { 0 };
	struct printing p = { .c = c };
	int r = cli_connect(c, &k, &e);
	if (r == 0 && c->line.n_args)
		r = cli_path(c, c->line.arg[0], &path, &e);
	if (r < 0)
		return cli_fail(c, &e);
	buf_puts(&params, "{");
	put_text(&params, "path", path.len ? (char *)path.data : "");
	buf_puts(&params, "}");
	r = ctlclient_call(k, "conflicts", &params, CALL_TIMEOUT_US, print_file, &p, &e);
	if (r < 0) {
		buf_done(&p.json);
		return cli_fail(c, &e);
	}
	if (c->line.json) {
		buf_puts(&p.json, p.n ? "]" : "[]");
		int status = cli_print(&p.json);
		buf_done(&p.json);
		return status;
	}
	if (p.n == 0)
		puts("Nothing is in conflict.");
	if (p.values)
		puts("\nTake a value back: shoal resolve PATH --take ID. Keep what is shown: "
		     "shoal resolve PATH --keep.");
	if (p.schemas)
		printf("%sA document that is not as its schema says: save it so that it is, or change .schema.json.\n",
		       p.values ? "" : "\n");
	if (p.names)
		printf("%sOf two that have one name, rename or remove either.\n",
		       p.values || p.schemas ? "" : "\n");
	return EXIT_DONE;
}

/* ---- resolve ---- */

static void print_settled(const struct cli *c, struct arena *a, const struct json *answer)
{
	const char *path = cli_text(a, answer, "path", "?"), *id = c->line.value[RESOLVE_TAKE].text;
	unsigned long long n = cli_uint(answer, "settled");
	if (n == 0)
		printf("%s: %s\n", path, id ? "that is what is shown already" : "nothing was in conflict");
	else if (id)
		printf("%s: took %s back\n", path, id);
	else
		printf("%s: kept what is shown at %llu place%s\n", path, n, n == 1 ? "" : "s");
	if (cli_true(answer, "conflict"))
		printf("More of it is in conflict: shoal conflicts %s\n", path);
}

static int put_settled(const struct cli *c, struct buf *params, struct err *e)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = cli_path(c, c->line.arg[0], &path, e);
	if (r < 0)
		return r;
	buf_puts(params, "{");
	put_text(params, "path", (char *)path.data);
	if (c->line.n_args > 1)
		put_text(params, "pointer", c->line.arg[1]);
	if (c->line.value[RESOLVE_TAKE].set)
		put_text(params, "take", c->line.value[RESOLVE_TAKE].text);
	else
		buf_puts(params, ",\"keep\":true");
	buf_puts(params, "}");
	return 0;
}

int cmd_resolve(void *context)
{
	static const struct question q = { "resolve", put_settled, print_settled };
	struct cli *c = context;
	if (c->line.value[RESOLVE_TAKE].set == c->line.value[RESOLVE_KEEP].set)
		return cli_usage(c, "say either --take ID or --keep");
	return cli_run(c, &q);
}
