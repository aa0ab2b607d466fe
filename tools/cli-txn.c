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

static int put_lines(const struct cli *c, struct buf *params, struct err *e)
{
	_cleanup_(buf_done) struct buf input = { 0 };
	int r = read_all(&input, e);
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
