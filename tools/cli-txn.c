/* SPDX-License-Identifier: GPL-2.0-or-later */
/* txn: several files changed at once, from standard input. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

#define INPUT_MAX (3u * 1024 * 1024) /* with what is escaped on the way it fits into a request */
#define READ_STEP 65536

static int read_all(struct buf *b, struct err *e)
{
	for (;;) {
		uint8_t *p = buf_reserve(b, READ_STEP);
		ssize_t n = p ? read(STDIN_FILENO, p, READ_STEP) : -1;
		if (n < 0 && p && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, p ? -errno : -ENOMEM, "cannot read standard input");
		if (n == 0)
			break;
		b->len += (size_t)n;
		if (b->len > INPUT_MAX)
			return err_set(e, -EFBIG, "a batch may have %u MiB, not more: make several, or smaller "
				       "changes with patch or merge", INPUT_MAX >> 20);
	}
	if (b->len && memchr(b->data, 0, b->len))
		return err_set(e, -EINVAL, "standard input has NUL bytes; a batch is JSON lines");
	return buf_cstr(b) ? 0 : err_errno(e, -ENOMEM, "cannot read standard input");
}

int cmd_txn(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf input = { 0 }, params = { 0 }, text = { 0 };
	struct json *answer;
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = read_all(&input, &e);
	if (r == 0) {
		buf_puts(&params, "{\"lines\":");
		cli_put_text(&params, (const char *)input.data);
		buf_puts(&params, "}");
		r = cli_ask(k, "txn", &params, &text, &a, &answer, &e);
	}
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	const struct json *changes = json_get_z(answer, "changes");
	printf("Applied %u %s\n", changes ? changes->count : 0,
	       changes && changes->count == 1 ? "change" : "changes");
	return EXIT_DONE;
}
