/* SPDX-License-Identifier: GPL-2.0-or-later */
/* evict, fetch: which contents are here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/control.h"

static int keep(const struct json *result, const char *raw, size_t len, bool last, void *userdata)
{
	struct buf *b = userdata;
	(void)result;
	(void)last;
	buf_put(b, raw, len);
	return 0;
}

/* Asks without a limit of time, and parses the answer. */
static int ask(struct cli *c, const char *method, struct buf *text, struct arena *a, struct json **ret,
	       struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = cli_connect(c, &k, e);
	buf_puts(&params, "{");
	if (r == 0)
		r = cli_put_paths(c, &params, e);
	buf_puts(&params, "}");
	if (r == 0)
		r = ctlclient_call(k, method, &params, 0, keep, text, e);
	if (r == 0)
		r = json_parse(a, (const char *)text->data, text->len, NULL, ret, e);
	return r;
}

static const char *first_of(struct arena *a, const struct json *answer, const char *key)
{
	const struct json *list = json_get_z(answer, key);
	const char *text = "?";
	if (list && list->first)
		(void)json_text(a, list->first, &text);
	return text;
}

int cmd_evict(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	struct json *answer;
	char size[HUMAN_SIZE];
	if (ask(c, "evict", &text, &a, &answer, &e) < 0)
		return cli_fail(c, &e);
	const uint64_t refused = cli_uint(answer, "refused"), evicted = cli_uint(answer, "evicted");
	int r = EXIT_DONE;
	if (c->line.json)
		r = cli_print(&text);
	else if (evicted > 0)
		printf("%llu %s evicted, %s\n", (unsigned long long)evicted, evicted == 1 ? "file" : "files",
		       human_bytes(cli_uint(answer, "bytes"), size));
	else if (refused == 0)
		puts("there is nothing to evict: what is there is part of its record, or away already");
	if (refused == 0)
		return r;
	const char *first = first_of(&a, answer, "stay");
	if (refused == 1)
		err_set(&e, -EBUSY, "%.200s stays: no device that is connected holds it, so it may be the only "
				    "copy; `shoal peers` shows who is here", first);
	else
		err_set(&e, -EBUSY, "%llu files stay, %.150s among them: no device that is connected holds them, "
				    "so they may be the only copies; `shoal peers` shows who is here",
			(unsigned long long)refused, first);
	return cli_fail(c, &e);
}

int cmd_fetch(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	struct json *answer;
	if (ask(c, "fetch", &text, &a, &answer, &e) < 0)
		return cli_fail(c, &e);
	const uint64_t missing = cli_uint(answer, "missing"), fetched = cli_uint(answer, "fetched");
	int r = EXIT_DONE;
	if (c->line.json)
		r = cli_print(&text);
	else if (fetched > 0 || missing == 0)
		printf("%llu %s fetched, %llu here already\n", (unsigned long long)fetched,
		       fetched == 1 ? "file" : "files", (unsigned long long)cli_uint(answer, "here"));
	if (missing == 0)
		return r;
	const char *first = first_of(&a, answer, "away");
	if (cli_uint(answer, "code") == EHOSTDOWN)
		err_set(&e, -EHOSTDOWN, "%llu %s not here, %.150s among them: no device that is connected has "
					"them; they come when one is met; `shoal peers` shows who is here",
			(unsigned long long)missing, missing == 1 ? "file is" : "files are", first);
	else
		err_set(&e, -EIO, "%llu %s not here, %.150s among them: %s", (unsigned long long)missing,
			missing == 1 ? "file is" : "files are", first,
			strerror((int)cli_uint(answer, "code")));
	return cli_fail(c, &e);
}
