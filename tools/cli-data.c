/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wait, watch, cat, log: what is in the collections, and where it has come. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/base64.h"
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

static void put_name(struct buf *b, const char *name)
{
	json_write_string(b, name, strlen(name), JSON_ESCAPE_MINIMAL);
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
		put_name(&params, c->line.value[WAIT_DEVICE].text);
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
	buf_puts(&params, "}");
	if (r == 0)
		r = ctlclient_call(k, "watch", &params, 0, print_change, NULL, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot write the changes");
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

/* ---- cat ---- */

static int print_data(const struct json *result, const char *raw, size_t len, bool last,
		      void *userdata)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const struct json *data = json_get_z(result, "data");
	(void)raw;
	(void)len;
	(void)last;
	(void)userdata;
	if (!data || data->type != JSON_STRING)
		return -EPROTO;
	int r = base64_decode(data->text, data->len, &b);
	if (r < 0)
		return r;
	return fwrite(b.data, 1, b.len, stdout) == b.len ? 0 : -errno;
}

/* PATH@VERSION: a version is at least four hexadecimal digits. A file's name may have an @, too. */
static char *split_version(char *path)
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

int cmd_cat(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 }, path = { 0 };
	const char *version = split_version(c->line.arg[0]);
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = cli_path(c, c->line.arg[0], &path, &e);
	if (r < 0)
		return cli_fail(c, &e);
	buf_puts(&params, "{\"path\":");
	put_name(&params, (const char *)path.data);
	if (version) {
		buf_puts(&params, ",\"version\":");
		put_name(&params, version);
	}
	buf_puts(&params, "}");
	r = ctlclient_call(k, "cat", &params, CALL_TIMEOUT_US, print_data, NULL, &e);
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot write the contents");
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

/* ---- log ---- */

#define POINTERS_PRINTED 8

static void print_item(struct arena *a, const struct json *item)
{
	const struct json *what = json_get_z(item, "what"), *list = json_get_z(item, "pointers");
	char time[20];
	snprintf(time, sizeof(time), "%.19s", cli_text(a, item, "time", ""));
	if (strlen(time) > 10)
		time[10] = ' ';
	printf("%-19s  %s ", *time ? time : "-", cli_text(a, item, "device", "?"));
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

int cmd_log(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf params = { 0 }, path = { 0 }, text = { 0 };
	struct json *answer;
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = cli_path(c, c->line.arg[0], &path, &e);
	if (r == 0) {
		buf_puts(&params, "{\"path\":");
		put_name(&params, (const char *)path.data);
		buf_puts(&params, "}");
		r = cli_ask(k, "log", &params, &text, &a, &answer, &e);
	}
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	const struct json *changes = json_get_z(answer, "changes");
	for (const struct json *v = changes ? changes->first : NULL; v; v = v->next)
		print_item(&a, v);
	if (cli_true(answer, "left_out"))
		puts("There are more, older ones.");
	return EXIT_DONE;
}
