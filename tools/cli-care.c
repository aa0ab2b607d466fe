/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config, log-level, verify: care of a store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/cli.h"
#include "tools/config.h"
#include "tools/control.h"
#include "tools/world.h"

/* ---- config ---- */

static int open_config(struct cli *c, bool create, struct storedir **ret, struct config *config,
		       struct err *e)
{
	int r = cli_find_store(c, NULL, e);
	if (r == 0)
		r = cli_open_store(c, create, ret, e);
	return r < 0 ? r : config_read(storedir_fd(*ret), STOREDIR_CONF, config, e);
}

static void put_setting(struct jsonw *w, const struct config *config, enum config_key key)
{
	const struct config_def *d = config_def(key);
	jsonw_key(w, d->name);
	if (d->type == CONFIG_BOOL)
		jsonw_bool(w, config_bool(config, key));
	else if (d->type == CONFIG_NUMBER)
		jsonw_uint(w, config_number(config, key));
	else
		jsonw_string(w, config_text(config, key));
}

static int show_all(struct cli *c, const struct config *config)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(listing_done) struct listing t = { .columns = 4 };
	struct jsonw w;
	if (c->line.json) {
		jsonw_init(&w, &b, 0);
		jsonw_object_begin(&w);
		for (unsigned i = 0; i < CONFIG_KEYS; i++)
			put_setting(&w, config, (enum config_key)i);
		jsonw_object_end(&w);
		jsonw_end(&w);
		return cli_print(&b);
	}
	for (unsigned i = 0; i < CONFIG_KEYS; i++) {
		enum config_key key = (enum config_key)i;
		const char *text = config_text(config, key);
		listing_cell(&t, config_def(key)->name);
		listing_cell(&t, *text ? text : "-");
		listing_cell(&t, config->value[key] ? "" : "(default)");
		listing_cell(&t, config_def(key)->help);
	}
	listing_print(&t);
	return EXIT_DONE;
}

static int show_one(struct cli *c, const struct config *config, enum config_key key)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonw w;
	if (!c->line.json) {
		puts(config_text(config, key));
		return EXIT_DONE;
	}
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	put_setting(&w, config, key);
	jsonw_object_end(&w);
	jsonw_end(&w);
	return cli_print(&b);
}

/* A running daemon takes what it can at once. */
static int apply(struct cli *c, const struct storedir *dir, enum config_key key, struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	struct err none;
	if (ctlclient_new(dir, &k, &none) < 0)
		return 0;
	int r = ctlclient_call(k, "reload", NULL, CALL_TIMEOUT_US, NULL, NULL, e);
	if (r == 0 && !config_def(key)->live && !c->line.json)
		puts("It counts from the next start on: shoal down, shoal up");
	return r;
}

int cmd_config(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	enum config_key key;
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(config_done) struct config config = { 0 };
	if (c->line.n_args && config_find(c->line.arg[0], &key) < 0)
		return cli_usage(c, "there is no setting \"%.60s\"; `shoal config` lists them",
				 c->line.arg[0]);
	int r = open_config(c, c->line.n_args == 2, &dir, &config, &e);
	if (r == 0 && c->line.n_args == 2) {
		const char *value = *c->line.arg[1] ? c->line.arg[1] : NULL;
		r = config_write(storedir_fd(dir), STOREDIR_CONF, key, value, &e);
		if (r == 0)
			r = apply(c, dir, key, &e);
		if (r == 0 && c->line.json)
			puts("{}");
	}
	if (r < 0)
		return cli_fail(c, &e);
	if (!c->line.n_args)
		return show_all(c, &config);
	return c->line.n_args == 1 ? show_one(c, &config, key) : EXIT_DONE;
}

static int put_level(const struct cli *c, struct buf *params, struct err *e)
{
	(void)e;
	buf_puts(params, "{");
	if (c->line.n_args) {
		buf_puts(params, "\"level\":");
		cli_put_text(params, c->line.arg[0]);
	}
	buf_puts(params, "}");
	return 0;
}

static void print_level(const struct cli *c, struct arena *a, const struct json *answer)
{
	if (!c->line.n_args)
		puts(cli_text(a, answer, "level", "?"));
}

int cmd_log_level(void *context)
{
	static const struct question q = { "log-level", put_level, print_level };
	return cli_run(context, &q);
}

/* ---- verify ---- */

struct verify {
	struct cli *c;
	struct buf problems; /* JSON texts, separated by commas */
	struct buf report;
	uint64_t errors, repaired;
};

static void add_problem(struct verify *v, const char *text, size_t len)
{
	if (v->c->line.json) {
		if (v->problems.len)
			buf_u8(&v->problems, ',');
		json_write_string(&v->problems, text, len, JSON_ESCAPE_MINIMAL);
	} else {
		printf("%.*s\n", (int)len, text);
	}
}

static int on_result(const struct json *result, const char *raw, size_t len, bool last,
		     void *userdata)
{
	struct verify *v = userdata;
	const struct json *problem = json_get_z(result, "problem");
	if (!last) {
		if (problem && problem->type == JSON_STRING)
			add_problem(v, problem->text, problem->len);
		return 0;
	}
	v->errors = cli_uint(result, "errors");
	v->repaired = cli_uint(result, "repaired");
	buf_put(&v->report, raw, len);
	return 0;
}

static void on_problem(const char *problem, void *userdata)
{
	add_problem(userdata, problem, strlen(problem));
}

/* Nobody serves the store: we open it ourselves. A store that a daemon cannot open is just the
 * one that somebody wants to check. */
static int verify_here(struct verify *v, struct storedir *dir, struct err *e)
{
	_cleanup_(identity_freep) struct identity *identity = NULL;
	struct store *store = NULL;
	struct replica *replica = NULL;
	struct verify_report n;
	int r = storedir_lock(dir, e);
	if (r == 0)
		r = world_open(dir, &identity, &store, &replica, e);
	if (r < 0)
		return r;
	r = replica_verify(replica, v->c->line.value[VERIFY_REPAIR].set, on_problem, v, &n, e);
	replica_free(replica);
	store_close(store);
	if (r < 0)
		return r;
	v->errors = n.errors;
	v->repaired = n.repaired;
	buf_putf(&v->report,
		 "{\"records\":%llu,\"dirents\":%llu,\"attrs\":%llu,\"dots\":%llu,\"chunks\":%llu,"
		 "\"versions\":%llu,"
		 "\"unreferenced\":%llu,\"unreferenced_bytes\":%llu,"
		 "\"errors\":%llu,\"repaired\":%llu}",
		 (unsigned long long)n.records, (unsigned long long)n.dirents,
		 (unsigned long long)n.attrs, (unsigned long long)n.dots,
		 (unsigned long long)n.chunks, (unsigned long long)n.versions,
		 (unsigned long long)n.unreferenced,
		 (unsigned long long)n.unreferenced_bytes, (unsigned long long)n.errors,
		 (unsigned long long)n.repaired);
	return 0;
}

static int verify(struct verify *v, struct err *e)
{
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = cli_find_store(v->c, NULL, e);
	if (r == 0)
		r = cli_open_store(v->c, false, &dir, e);
	if (r < 0)
		return r;
	r = ctlclient_new(dir, &k, e);
	if (r == -ESRCH)
		return verify_here(v, dir, e);
	buf_putf(&params, "{\"repair\":%s}",
		 v->c->line.value[VERIFY_REPAIR].set ? "true" : "false");
	return r < 0 ? r : ctlclient_call(k, "verify", &params, 0, on_result, v, e);
}

static int print_verify(const struct verify *v)
{
	const struct buf *report = &v->report;
	if (v->c->line.json) {
		/* The report's members, and the problems. */
		printf("%.*s,\"problems\":[%.*s]}\n", (int)report->len - 1,
		       (const char *)report->data, (int)v->problems.len,
		       v->problems.data ? (const char *)v->problems.data : "");
	} else {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct json *n;
		if (json_parse(&a, (const char *)report->data, report->len, NULL, &n, NULL) < 0)
			return EXIT_FAILED;
		printf("%llu records, %llu names, %llu earlier versions and deletions, %llu chunks: "
		       "%llu error%s, %llu repaired\n",
		       (unsigned long long)cli_uint(n, "records"),
		       (unsigned long long)cli_uint(n, "dirents"),
		       (unsigned long long)cli_uint(n, "versions"),
		       (unsigned long long)cli_uint(n, "chunks"), (unsigned long long)v->errors,
		       v->errors == 1 ? "" : "s", (unsigned long long)v->repaired);
		unsigned long long spare = cli_uint(n, "unreferenced");
		if (spare)
			printf("%llu chunks (%llu bytes) that nothing needs any more%s\n", spare,
			       (unsigned long long)cli_uint(n, "unreferenced_bytes"),
			       v->c->line.value[VERIFY_REPAIR].set ? "" :
				       "; the daemon deletes them within the hour");
	}
	return EXIT_DONE;
}

int cmd_verify(void *context)
{
	struct verify v = { .c = context };
	struct err e = { 0 };
	int r = verify(&v, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot check the store");
	int status = r < 0 ? cli_fail(v.c, &e) : print_verify(&v);
	if (status == EXIT_DONE && v.errors > v.repaired) {
		err_set(&e, -EBADMSG, "the store is damaged; `shoal verify --repair` writes anew what "
				      "can be derived, the rest comes back from other devices");
		status = cli_fail(v.c, &e);
	}
	buf_done(&v.problems);
	buf_done(&v.report);
	return status;
}
