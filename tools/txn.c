/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `txn`: several files changed at once, all or none. The lines come as they were written, so that an
 * error can say where it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

struct lines {
	struct arena *arena;
	struct txn_step *step; /* TXN_STEPS_MAX of them */
	uint32_t *line;        /* that each stands on */
	uint32_t n;
};

static int wrong(struct err *e, const char *why)
{
	return err_set(e, -EINVAL, "%s", why);
}

static const char *const names[] = { [TXN_PUT] = "put", [TXN_PATCH] = "patch", [TXN_MERGE] = "merge",
				     [TXN_DELETE] = "delete" };

/* The member that says what to do; *ret_n: how many there are. */
static const struct json *operation(const struct json *line, enum txn_op *ret, unsigned *ret_n)
{
	const struct json *found = NULL;
	*ret_n = 0;
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct json *v = json_get_z(line, names[i]);
		if (!v)
			continue;
		found = v;
		*ret = (enum txn_op)i;
		++*ret_n;
	}
	return found;
}

static int read_version(struct arena *a, const struct json *v, const char **ret, struct err *e)
{
	*ret = v ? "" : NULL;
	if (!v || v->type == JSON_NULL)
		return 0;
	if (json_text(a, v, ret) < 0 || !**ret)
		return wrong(e, "\"if\" is a version as `shoal log` lists them, or null: the file is not there");
	return 0;
}

static int read_step(struct arena *a, const struct json *line, struct txn_step *ret, struct err *e)
{
	unsigned n = 0, known;
	if (line->type != JSON_OBJECT)
		return wrong(e, "a line is an object like {\"put\": PATH, \"value\": JSON}");
	const struct json *op = operation(line, &ret->op, &n);
	if (n != 1)
		return wrong(e, "a line has one of \"put\", \"patch\", \"merge\" and \"delete\"");
	if (json_text(a, op, &ret->path) < 0)
		return err_set(e, -EINVAL, "\"%s\" takes a path, a text", names[ret->op]);
	const char *key = ret->op == TXN_PATCH ? "ops" : "value";
	const struct json *version = json_get_z(line, "if");
	ret->value = ret->op == TXN_DELETE ? NULL : json_get_z(line, key);
	if (!ret->value && ret->op != TXN_DELETE)
		return err_set(e, -EINVAL, "\"%s\" needs \"%s\"", names[ret->op], key);
	known = 1u + (ret->value ? 1 : 0) + (version ? 1 : 0);
	if (line->count != known)
		return err_set(e, -EINVAL, "\"%s\" takes %s%s%s\"if\", and nothing else", names[ret->op],
			       ret->value ? "\"" : "", ret->value ? key : "", ret->value ? "\" and " : "");
	return read_version(a, version, &ret->version, e);
}

static bool is_blank(const char *p, size_t len)
{
	return strspn(p, " \t\r\n") >= len;
}

/* Puts where it is before what is wrong. */
static int at_line(struct err *e, uint32_t line)
{
	int code = e->code;
	unsigned column = e->line == 1 ? e->column : 0;
	if (column)
		err_prefix(e, "line %u, column %u", line, column);
	else
		err_prefix(e, "line %u", line);
	return code;
}

static int read_lines(struct lines *l, const char *text, struct err *e)
{
	uint32_t no = 0;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		struct json *line;
		no++;
		if (!is_blank(p, len)) {
			if (l->n == TXN_STEPS_MAX)
				return err_set(e, -E2BIG, "a batch may have %u lines, not more",
					       TXN_STEPS_MAX);
			int r = json_parse(l->arena, p, len, NULL, &line, e);
			if (r == 0)
				r = read_step(l->arena, line, &l->step[l->n], e);
			if (r < 0) {
				if (!e->code)
					err_errno(e, r, "cannot read it");
				return at_line(e, no);
			}
			l->line[l->n++] = no;
		}
		p += len + (p[len] == '\n');
	}
	return 0;
}

static const char *did_name(enum txn_did did)
{
	switch (did) {
	case TXN_NOTHING:
		return "nothing";
	case TXN_CREATED:
		return "created";
	case TXN_CHANGED:
		return "changed";
	case TXN_DELETED:
		return "deleted";
	}
	return "";
}

static void answer(struct daemon *d, struct call *call, const struct lines *l, const struct txn_result *result,
		   bool sync)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	char hex[ID_HEX];
	struct jsonw w;
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "changes");
	jsonw_array_begin(&w);
	for (uint32_t i = 0; i < l->n; i++) {
		jsonw_object_begin(&w);
		jsonw_key(&w, "path");
		jsonw_string(&w, l->step[i].path + strspn(l->step[i].path, "/"));
		jsonw_key(&w, "version");
		jsonw_string(&w, result[i].there ? id_hex(&result[i].version, hex) : NULL);
		jsonw_key(&w, "did");
		jsonw_string(&w, did_name(result[i].did));
		jsonw_object_end(&w);
	}
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	jsonw_end(&w);
	if (sync)
		durable_answer(d, call, &b);
	else
		call_result(call, &b, false);
}

void method_txn(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct arena *a = call_arena(call);
	struct lines l = { .arena = a };
	struct err e = { 0 };
	const char *text = "";
	uint32_t at;
	bool apart = false, sync = false;
	l.step = arena_array(a, TXN_STEPS_MAX, sizeof(*l.step));
	l.line = arena_array(a, TXN_STEPS_MAX, sizeof(*l.line));
	struct txn_result *result = arena_array(a, TXN_STEPS_MAX, sizeof(*result));
	int r = l.step && l.line && result ? 0 : err_errno(&e, -ENOMEM, "cannot take the batch in");
	if (r == 0)
		r = param_text(a, params, "lines", &text, &e);
	if (r == 0)
		r = param_bool(params, "apart", &apart, &e);
	if (r == 0)
		r = param_bool(params, "sync", &sync, &e);
	if (r == 0)
		r = read_lines(&l, text, &e);
	if (r == 0) {
		/* In this order: what follows from the files being closed is over as well, then. */
		for (uint32_t i = 0; i < l.n; i++)
			daemon_spare(d, l.step[i].path);
		daemon_settle(d);
		r = replica_steps(d->replica, l.step, l.n, !apart, result, &at, &e);
		if (r < 0 && at < l.n)
			at_line(&e, l.line[at]);
	}
	if (r < 0)
		call_error(call, &e);
	else
		answer(d, call, &l, result, sync);
}
