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

static void print_types(const struct cli *c, struct arena *a, const struct json *answer)
{
	if (c->line.n_args > 1) {
		puts(cli_text(a, answer, "type", "?"));
		return;
	}
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
	static const struct question q = { "type", put_params, print_types };
	return cli_run(context, &q);
}
