/* SPDX-License-Identifier: GPL-2.0-or-later */
/* subscribe, unsubscribe, subscriptions: what this device keeps. */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"

/* {"collection":…} or {"new":true}, without the brace that ends it. */
static int put_which(const struct cli *c, bool new, struct buf *params, struct err *e)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	if (c->line.n_args == 0) {
		buf_putf(params, "{\"new\":%s", new ? "true" : "false");
		return 0;
	}
	int r = cli_path(c, c->line.arg[0], &path, e);
	if (r < 0)
		return r;
	buf_puts(params, "{\"collection\":");
	cli_put_text(params, (const char *)path.data);
	if (new)
		buf_puts(params, ",\"new\":true");
	return 0;
}

static int put_subscribe(const struct cli *c, struct buf *params, struct err *e)
{
	int r = put_which(c, c->line.value[SUBSCRIBE_NEW].set, params, e);
	if (c->line.value[SUBSCRIBE_WHERE].set) {
		const char *where = c->line.value[SUBSCRIBE_WHERE].text;
		buf_puts(params, ",\"where\":");
		cli_put_text(params, where);
	}
	buf_puts(params, "}");
	return r;
}

static int put_unsubscribe(const struct cli *c, struct buf *params, struct err *e)
{
	int r = put_which(c, c->line.value[UNSUBSCRIBE_NEW].set, params, e);
	buf_putf(params, ",\"force\":%s}", c->line.value[UNSUBSCRIBE_FORCE].set ? "true" : "false");
	return r;
}

static int put_nothing(const struct cli *c, struct buf *params, struct err *e)
{
	(void)c;
	(void)e;
	buf_puts(params, "{}");
	return 0;
}

static void print_nothing(const struct cli *c, struct arena *a, const struct json *answer)
{
	(void)c;
	(void)a;
	(void)answer;
}

/* What a state means, in a few words. */
static const char *explain(const struct json *v, const char *state, const char *where, char *text, size_t size)
{
	char bytes[HUMAN_SIZE];
	if (strcmp(state, "filtered") == 0)
		return where;
	if (strcmp(state, "none") == 0)
		return "";
	if (strcmp(state, "subscribed") == 0)
		return "";
	human_bytes(cli_uint(v, "bytes"), bytes);
	if (strcmp(state, "carried") == 0)
		snprintf(text, size, "for others, not shown: %s", bytes);
	else if (!json_get_z(v, "elsewhere"))
		snprintf(text, size, "what is left of it is being deleted here");
	else
		snprintf(text, size, "%s until another device that subscribes has all of it", bytes);
	return text;
}

static void print_list(const struct cli *c, struct arena *a, const struct json *answer)
{
	_cleanup_(listing_done) struct listing t = { .columns = 3 };
	const struct json *list = json_get_z(answer, "collections");
	(void)c;
	for (const struct json *v = list ? list->first : NULL; v; v = v->next) {
		const char *state = cli_text(a, v, "state", "?");
		char text[120];
		listing_cell(&t, cli_text(a, v, "collection", "?"));
		listing_cell(&t, strcmp(state, "none") == 0 ? "not kept" : state);
		listing_cell(&t, explain(v, state, cli_text(a, v, "where", ""), text, sizeof(text)));
	}
	listing_print(&t);
	if (!cli_true(answer, "new"))
		puts("Collections that are new are not kept.");
	else if (t.n == 0)
		puts("There are no collections yet; new ones are subscribed.");
}

int cmd_subscribe(void *context)
{
	static const struct question q = { "subscribe", put_subscribe, print_nothing };
	return cli_run(context, &q);
}

int cmd_unsubscribe(void *context)
{
	static const struct question q = { "unsubscribe", put_unsubscribe, print_nothing };
	return cli_run(context, &q);
}

int cmd_subscriptions(void *context)
{
	static const struct question q = { "subscriptions", put_nothing, print_list };
	return cli_run(context, &q);
}
