/* SPDX-License-Identifier: GPL-2.0-or-later */
/* type: how values merge. */
#include <stdio.h>

#include "tools/cli.h"

static int put_params(const struct cli *c, struct buf *params, struct err *e)
{
	static const char *const name[] = { NULL, "pointer", "type" };
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = cli_path(c, c->line.arg[0], &path, e);
	if (r < 0)
		return r;
	buf_puts(params, "{\"collection\":");
	cli_put_text(params, (const char *)path.data);
	for (unsigned i = 1; i < c->line.n_args; i++) {
		buf_putf(params, ",\"%s\":", name[i]);
		cli_put_text(params, c->line.arg[i]);
	}
	buf_puts(params, "}");
	return 0;
}

static void print_types(struct arena *a, const struct json *answer)
{
	_cleanup_(listing_done) struct listing t = { .columns = 2 };
	const struct json *list = json_get_z(answer, "types");
	for (const struct json *v = list ? list->first : NULL; v; v = v->next) {
		const char *pointer = cli_text(a, v, "pointer", "?");
		listing_cell(&t, *pointer ? pointer : "\"\"");
		listing_cell(&t, cli_text(a, v, "type", "?"));
	}
	if (t.n == 0)
		puts("Nothing is declared.");
	listing_print(&t);
}

int cmd_type(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf params = { 0 }, text = { 0 };
	struct json *answer;
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = put_params(c, &params, &e);
	if (r == 0)
		r = cli_ask(k, "type", &params, &text, &a, &answer, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	if (c->line.n_args == 1)
		print_types(&a, answer);
	else
		puts(cli_text(&a, answer, "type", "?"));
	return EXIT_DONE;
}
