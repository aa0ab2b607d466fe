/* SPDX-License-Identifier: GPL-2.0-or-later */
/* txn: several files changed at once, from standard input. */
#include <stdio.h>

#include "tools/cli.h"

#define INPUT_MAX (3u * 1024 * 1024) /* with what is escaped on the way it fits into a request */
static int put_lines(const struct cli *c, struct buf *params, struct err *e)
{
	_cleanup_(buf_done) struct buf input = { 0 };
	int r = cli_read_input(&input, INPUT_MAX, "a batch", "make several, or smaller changes with patch or merge", e);
	(void)c;
	if (r < 0)
		return r;
	buf_puts(params, "{\"lines\":");
	cli_put_text(params, (const char *)input.data);
	buf_puts(params, "}");
	return 0;
}

static void print_changes(const struct cli *c, struct arena *a, const struct json *answer)
{
	const struct json *changes = json_get_z(answer, "changes");
	(void)c;
	(void)a;
	printf("Applied %u %s\n", changes ? changes->count : 0,
	       changes && changes->count == 1 ? "change" : "changes");
}

int cmd_txn(void *context)
{
	static const struct question q = { "txn", put_lines, print_changes };
	return cli_run(context, &q);
}
