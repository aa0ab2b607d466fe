/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index: what queries find documents by. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/cli.h"

#define LOOK_NS 100000000 /* between two looks at how far it is */

static int put_index(const struct cli *c, bool drop, struct buf *params, struct err *e)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = cli_path(c, c->line.arg[0], &path, e);
	if (r < 0)
		return r;
	buf_puts(params, "{\"collection\":");
	cli_put_text(params, (const char *)path.data);
	buf_puts(params, ",\"pointers\":[");
	for (unsigned i = 1; i < c->line.n_args; i++) {
		buf_puts(params, i > 1 ? "," : "");
		cli_put_text(params, c->line.arg[i]);
	}
	buf_putf(params, "],\"drop\":%s}", drop ? "true" : "false");
	return 0;
}

static int put_drop(const struct cli *c, struct buf *params, struct err *e)
{
	return put_index(c, true, params, e);
}

static void print_nothing(const struct cli *c, struct arena *a, const struct json *answer)
{
	(void)c;
	(void)a;
	(void)answer;
}

static int put_nothing(const struct cli *c, struct buf *params, struct err *e)
{
	(void)c;
	(void)e;
	buf_puts(params, "{}");
	return 0;
}

static void progress(const struct json *x, char *text, size_t size)
{
	snprintf(text, size, "%llu of about %llu documents", (unsigned long long)cli_uint(x, "documents"),
		 (unsigned long long)cli_uint(x, "files"));
}

static void print_list(const struct cli *c, struct arena *a, const struct json *answer)
{
	_cleanup_(listing_done) struct listing t = { .columns = 3 };
	const struct json *list = json_get_z(answer, "indexes");
	(void)c;
	for (const struct json *v = list ? list->first : NULL; v; v = v->next) {
		_cleanup_(buf_done) struct buf b = { 0 };
		const struct json *pointers = json_get_z(v, "pointers");
		char text[80] = "";
		for (const struct json *p = pointers ? pointers->first : NULL; p; p = p->next) {
			buf_puts(&b, b.len ? " " : "");
			buf_put(&b, p->text, p->len);
		}
		if (!cli_true(v, "complete"))
			progress(v, text, sizeof(text));
		listing_cell(&t, cli_text(a, v, "collection", "(deleted)"));
		const char *cell = buf_cstr(&b);
		listing_cell(&t, cell ? cell : "?");
		listing_cell(&t, text);
	}
	if (t.n == 0)
		puts("There are no indexes.");
	listing_print(&t);
}

/* The one in the list; NULL: it is not there. */
static const struct json *find(const struct json *answer, const struct json *like)
{
	static const char *const keys[] = { "collection", "pointers" };
	const struct json *list = json_get_z(answer, "indexes");
	for (const struct json *v = list ? list->first : NULL; v; v = v->next) {
		unsigned same = 0;
		for (unsigned i = 0; i < 2; i++) {
			const struct json *x = json_get_z(v, keys[i]), *y = json_get_z(like, keys[i]);
			same += x && y && json_equal(x, y);
		}
		if (same == 2)
			return v;
	}
	return NULL;
}

/* Until it is complete. */
static int wait_for_it(const struct cli *c, struct ctlclient *k, const struct json *index, struct err *e)
{
	const struct timespec pause = { 0, LOOK_NS };
	_cleanup_(buf_done) struct buf none = { 0 }, text = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct json *now = index;
	int r = 0;
	buf_puts(&none, "{}");
	while (r == 0 && !cli_true(now, "complete")) {
		struct json *answer;
		char line[80];
		progress(now, line, sizeof(line));
		if (c->terminal && c->escapes && !c->line.json) {
			printf("\r\033[K%s", line);
			fflush(stdout);
		}
		nanosleep(&pause, NULL);
		arena_reset(&a);
		r = cli_ask(k, "indexes", &none, &text, &a, &answer, e);
		now = r == 0 ? find(answer, index) : NULL;
		if (r == 0 && !now)
			r = err_set(e, -ENOENT, "the index was taken away meanwhile");
	}
	if (c->terminal && c->escapes && !c->line.json) {
		fputs("\r\033[K", stdout);
		fflush(stdout);
	}
	return r;
}

static int make(struct cli *c)
{
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf params = { 0 }, text = { 0 };
	struct json *answer;
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = put_index(c, false, &params, &e);
	if (r == 0)
		r = cli_ask(k, "index", &params, &text, &a, &answer, &e);
	if (r == 0)
		r = wait_for_it(c, k, answer, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		puts("{\"complete\":true}");
	return EXIT_DONE;
}

int cmd_index(void *context)
{
	static const struct question list = { "indexes", put_nothing, print_list }, drop = { "index", put_drop, print_nothing };
	struct cli *c = context;
	bool lists = c->line.value[INDEX_LIST].set, drops = c->line.value[INDEX_DROP].set;
	if (lists && (drops || c->line.n_args))
		return cli_usage(c, "--list takes nothing else");
	if (!lists && c->line.n_args < 2)
		return cli_usage(c, "name a collection, and what to index by: shoal index cars /maker");
	if (lists)
		return cli_run(c, &list);
	return drops ? cli_run(c, &drop) : make(c);
}
