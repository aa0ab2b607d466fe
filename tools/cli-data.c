/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wait, watch: where what is in the collections has come, and what changes there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"

static int keep(const struct json *result, const char *raw, size_t len, bool last, void *userdata)
{
	struct buf *b = userdata;
	(void)result;
	(void)last;
	buf_put(b, raw, len);
	return 0;
}

int cmd_wait(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 }, text = { 0 };
	uint64_t timeout = c->line.value[WAIT_TIMEOUT].number;
	if (c->line.value[WAIT_DEVICE].set && c->line.value[WAIT_PEERS].set)
		return cli_usage(c, "--device names one device, --peers counts any: give one of them");
	int r = cli_connect(c, &k, &e);
	buf_puts(&params, "{");
	if (r == 0)
		r = cli_put_paths(c, &params, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.value[WAIT_PEERS].set)
		buf_putf(&params, ",\"peers\":%llu",
			 (unsigned long long)c->line.value[WAIT_PEERS].number);
	if (c->line.value[WAIT_DEVICE].set) {
		buf_puts(&params, ",\"device\":");
		cli_put_text(&params, c->line.value[WAIT_DEVICE].text);
	}
	/* The time is over at once for 0, which the daemon takes for no limit. */
	if (c->line.value[WAIT_TIMEOUT].set)
		buf_putf(&params, ",\"timeout_us\":%llu", (unsigned long long)(timeout ? timeout : 1));
	buf_puts(&params, "}");
	r = ctlclient_call(k, "wait", &params, 0, keep, &text, &e);
	if (r == -ETIMEDOUT) {
		cli_fail(c, &e);
		return EXIT_TIMEOUT;
	}
	if (r < 0)
		return cli_fail(c, &e);
	return c->line.json ? cli_print(&text) : EXIT_DONE;
}

static int print_change(const struct json *result, const char *raw, size_t len, bool last,
			void *userdata)
{
	(void)last;
	(void)userdata;
	if (!result->count)
		return 0; /* the watch has begun */
	fwrite(raw, 1, len, stdout);
	putchar('\n');
	return fflush(stdout) == 0 ? 0 : -errno;
}

int cmd_watch(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = cli_connect(c, &k, &e);
	buf_puts(&params, "{");
	if (r == 0)
		r = cli_put_paths(c, &params, &e);
	if (c->line.value[WATCH_WHERE].set) {
		buf_puts(&params, ",\"where\":");
		cli_put_text(&params, c->line.value[WATCH_WHERE].text);
	}
	buf_puts(&params, "}");
	if (r == 0)
		r = ctlclient_call(k, "watch", &params, 0, print_change, NULL, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot write the changes");
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}
