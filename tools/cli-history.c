/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cat, log, restore, blame: what a file was. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/base64.h"
#include "tools/cli.h"
#include "tools/control.h"

#define DIGITS_SHOWN 12
#define POINTERS_PRINTED 8

char *cli_split_version(char *path)
{
	char *at = strrchr(path, '@');
	if (!at || at == path)
		return NULL;
	size_t n = strspn(at + 1, "0123456789abcdefABCDEF");
	if (n < 4 || n > 32 || at[1 + n])
		return NULL;
	*at = 0;
	return at + 1;
}

int cli_put_version(const struct cli *c, const char *path, const char *version, struct buf *params,
		    struct err *e)
{
	_cleanup_(buf_done) struct buf plain = { 0 };
	int r = cli_path(c, path, &plain, e);
	if (r < 0)
		return r;
	buf_puts(params, "{\"path\":");
	cli_put_text(params, (const char *)plain.data);
	if (version) {
		buf_puts(params, ",\"version\":");
		cli_put_text(params, version);
	}
	return 0;
}

int cli_take_data(const struct json *result, struct buf *ret)
{
	const struct json *data = json_get_z(result, "data");
	return data && data->type == JSON_STRING ? base64_decode(data->text, data->len, ret) : -EPROTO;
}

const char *human_date(const char *rfc3339, char text[static HUMAN_DATE])
{
	snprintf(text, HUMAN_DATE, "%.19s", rfc3339);
	if (strlen(text) > 10)
		text[10] = ' ';
	return *text ? text : "-";
}

/* ---- cat ---- */

static int print_data(const struct json *result, const char *raw, size_t len, bool last,
		      void *userdata)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	(void)raw;
	(void)len;
	(void)last;
	(void)userdata;
	int r = cli_take_data(result, &b);
	if (r < 0)
		return r;
	return fwrite(b.data, 1, b.len, stdout) == b.len ? 0 : -errno;
}

int cmd_cat(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 };
	const char *version = cli_split_version(c->line.arg[0]);
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = cli_put_version(c, c->line.arg[0], version, &params, &e);
	if (r < 0)
		return cli_fail(c, &e);
	buf_puts(&params, "}");
	r = ctlclient_call(k, "cat", &params, CALL_TIMEOUT_US, print_data, NULL, &e);
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot write the contents");
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

/* ---- log ---- */

static void print_versions(struct arena *a, const struct json *answer)
{
	_cleanup_(listing_done) struct listing t = { .columns = 5 };
	const struct json *list = json_get_z(answer, "versions");
	for (const struct json *v = list ? list->first : NULL; v; v = v->next) {
		char digits[DIGITS_SHOWN + 1], date[HUMAN_DATE], size[HUMAN_SIZE];
		snprintf(digits, sizeof(digits), "%s", cli_text(a, v, "version", ""));
		listing_cell(&t, digits);
		listing_cell(&t, human_date(cli_text(a, v, "time", ""), date));
		listing_cell(&t, cli_text(a, v, "device", "?"));
		listing_cell(&t, human_bytes(cli_uint(v, "size"), size));
		listing_cell(&t, cli_true(v, "current") ? "newest" :
				 cli_true(v, "deleted") ? "deleted" : "");
	}
	listing_print(&t);
	if (cli_true(answer, "left_out"))
		puts("There are more, older ones.");
	const struct json *deleted = json_get_z(answer, "deleted");
	if (deleted && deleted->type == JSON_OBJECT) {
		char date[HUMAN_DATE];
		printf("Deleted %s by %s; `shoal restore` brings it back.\n",
		       human_date(cli_text(a, deleted, "time", ""), date),
		       cli_text(a, deleted, "device", "?"));
	}
}

static void print_deleted(struct arena *a, const struct json *answer)
{
	_cleanup_(listing_done) struct listing t = { .columns = 3 };
	const struct json *list = json_get_z(answer, "deleted");
	for (const struct json *v = list ? list->first : NULL; v; v = v->next) {
		_cleanup_(buf_done) struct buf path = { 0 };
		char date[HUMAN_DATE];
		buf_puts(&path, cli_text(a, v, "path", "?"));
		if (strcmp(cli_text(a, v, "kind", ""), "directory") == 0)
			buf_u8(&path, '/');
		listing_cell(&t, human_date(cli_text(a, v, "time", ""), date));
		listing_cell(&t, cli_text(a, v, "device", "?"));
		listing_cell(&t, buf_cstr(&path) ? (const char *)path.data : "?");
	}
	listing_print(&t);
	if (cli_true(answer, "left_out"))
		puts("There is more that was deleted earlier.");
}

static int put_log(const struct cli *c, struct buf *params, struct err *e)
{
	int r = 0;
	if (c->line.n_args)
		r = cli_put_version(c, c->line.arg[0], NULL, params, e);
	else
		buf_puts(params, "{\"path\":\"\"");
	buf_putf(params, ",\"deleted\":%s}", c->line.value[LOG_DELETED].set ? "true" : "false");
	return r;
}

static void print_log(const struct cli *c, struct arena *a, const struct json *answer)
{
	if (c->line.value[LOG_DELETED].set)
		print_deleted(a, answer);
	else
		print_versions(a, answer);
}

int cmd_log(void *context)
{
	static const struct question q = { "log", put_log, print_log };
	struct cli *c = context;
	if (!c->line.value[LOG_DELETED].set && !c->line.n_args)
		return cli_usage(c, "name a file, or give --deleted for what was deleted");
	return cli_run(c, &q);
}

/* ---- restore ---- */

static int keep_last(const struct json *result, const char *raw, size_t len, bool last,
		     void *userdata)
{
	struct buf *b = userdata;
	(void)result;
	if (!last)
		return 0;
	buf_put(b, raw, len);
	return buf_cstr(b) ? 0 : -ENOMEM;
}

static int put_restore(const struct cli *c, const char *version, struct buf *params, struct err *e)
{
	_cleanup_(buf_done) struct buf to = { 0 };
	int r = cli_put_version(c, c->line.arg[0], version, params, e);
	if (r == 0 && c->line.value[RESTORE_TO].set) {
		r = cli_path(c, c->line.value[RESTORE_TO].text, &to, e);
		if (r < 0)
			return r;
		buf_puts(params, ",\"to\":");
		cli_put_text(params, (const char *)to.data);
	}
	buf_puts(params, "}");
	return r;
}

/* One line for one file; for a directory how many, and what could not come back. */
static int print_restored(struct cli *c, const struct buf *text)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *answer;
	struct err e = { 0 };
	if (json_parse(&a, (const char *)text->data, text->len, NULL, &answer, &e) < 0)
		return cli_fail(c, &e);
	const struct json *done = json_get_z(answer, "restored"), *left = json_get_z(answer, "left");
	unsigned n = done ? done->count : 0, m = left ? left->count : 0;
	const char *first = "";
	if (done && done->first)
		(void)json_text(&a, done->first, &first);
	if (c->line.json)
		cli_print(text);
	else if (n == 1)
		printf("Restored %s\n", first);
	else if (n)
		printf("Restored %s and %u more\n", first, n - 1);
	for (const struct json *v = left && !c->line.json ? left->first : NULL; v; v = v->next)
		printf("Not %s: %s\n", cli_text(&a, v, "path", "?"), cli_text(&a, v, "error", "?"));
	if (!m)
		return EXIT_DONE;
	err_set(&e, -EEXIST, "%u of %u did not come back; give each another place with --to PATH", m,
		n + m);
	return cli_fail(c, &e);
}

int cmd_restore(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 }, text = { 0 };
	const char *version = NULL;
	if (c->line.n_args == 2)
		version = c->line.arg[1] + (*c->line.arg[1] == '@');
	else
		version = cli_split_version(c->line.arg[0]);
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = put_restore(c, version, &params, &e);
	if (r == 0)
		r = ctlclient_call(k, "restore", &params, CALL_TIMEOUT_US, keep_last, &text, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot read the answer");
	return r < 0 ? cli_fail(c, &e) : print_restored(c, &text);
}

/* ---- blame ---- */

static void print_item(struct arena *a, const struct json *item)
{
	const struct json *what = json_get_z(item, "what"), *list = json_get_z(item, "pointers");
	char date[HUMAN_DATE];
	printf("%-19s  %s ", human_date(cli_text(a, item, "time", ""), date),
	       cli_text(a, item, "device", "?"));
	for (const struct json *v = what ? what->first : NULL; v; v = v->next)
		printf(" %.*s", (int)v->len, v->text);
	putchar('\n');
	unsigned n = 0;
	uint64_t left = cli_uint(item, "pointers_left_out");
	for (const struct json *v = list ? list->first : NULL; v; v = v->next, n++)
		if (n < POINTERS_PRINTED && v->len)
			printf("    %.*s\n", (int)v->len, v->text);
	if (n > POINTERS_PRINTED)
		left += n - POINTERS_PRINTED;
	if (left)
		printf("    and %llu more\n", (unsigned long long)left);
}

/* As git blame does, with a mark in front of times that are no more than an upper bound. */
static void print_lines(struct arena *a, const struct json *answer, const struct json *lines)
{
	int width = 0, digits = snprintf(NULL, 0, "%u", lines->count);
	for (const struct json *v = lines->first; v; v = v->next) {
		int n = (int)strlen(cli_text(a, v, "device", "?"));
		width = n > width ? n : width;
	}
	for (const struct json *v = lines->first; v; v = v->next) {
		const struct json *text = json_get_z(v, "text");
		char date[HUMAN_DATE];
		printf("%c%-19s  %-*s  %*llu) ", cli_true(v, "older") ? '^' : ' ',
		       human_date(cli_text(a, v, "time", ""), date), width,
		       cli_text(a, v, "device", "?"), digits,
		       (unsigned long long)cli_uint(v, "line"));
		if (text)
			fwrite(text->text, 1, text->len, stdout);
		putchar('\n');
	}
	uint64_t left = cli_uint(answer, "lines_left_out");
	if (left)
		printf("There are %llu more lines.\n", (unsigned long long)left);
}

static int put_blame(const struct cli *c, struct buf *params, struct err *e)
{
	int r = cli_put_version(c, c->line.arg[0], NULL, params, e);
	buf_puts(params, "}");
	return r;
}

static void print_blame(const struct cli *c, struct arena *a, const struct json *answer)
{
	const struct json *changes = json_get_z(answer, "changes");
	const struct json *lines = json_get_z(answer, "lines");
	(void)c;
	if (lines && lines->type == JSON_ARRAY) {
		print_lines(a, answer, lines);
		return;
	}
	for (const struct json *v = changes ? changes->first : NULL; v; v = v->next)
		print_item(a, v);
	if (cli_true(answer, "left_out"))
		puts("There are more, older ones.");
}

int cmd_blame(void *context)
{
	static const struct question q = { "blame", put_blame, print_blame };
	return cli_run(context, &q);
}
