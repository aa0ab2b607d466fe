/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes: the lines of the method txn, put together in the form in which they are sent. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/libshoal/client.h"

#define TAIL_MAX 256 /* bytes of a request beside its lines */

struct shoal_txn {
	struct buf text; /* {"lines":"LINE\nLINE\n" */
	struct buf line; /* scratch */
	struct arena arena;
	unsigned n;
};

DEFINE_CLEANUP(struct shoal_txn *, shoal_txn_free)

static int no_memory(struct shoal_error *e)
{
	return error_set(e, -ENOMEM, "cannot put the changes together: out of memory");
}

int shoal_txn_new(struct shoal_txn **ret)
{
	struct shoal_txn *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	*ret = t;
	return 0;
}

void shoal_txn_free(struct shoal_txn *t)
{
	if (!t)
		return;
	buf_done(&t->text);
	buf_done(&t->line);
	arena_done(&t->arena);
	free(t);
}

void shoal_txn_clear(struct shoal_txn *t)
{
	buf_reset(&t->text);
	t->n = 0;
}

unsigned shoal_txn_count(const struct shoal_txn *t)
{
	return t->n;
}

/* As one line. Only blanks have line breaks in them, and none of those mean anything. */
static void put_value(struct buf *b, const char *json, size_t len)
{
	while (len) {
		const char *nl = memchr(json, '\n', len), *cr = memchr(json, '\r', nl ? (size_t)(nl - json) : len);
		const char *end = cr ? cr : nl ? nl : json + len;
		buf_put(b, json, (size_t)(end - json));
		len -= (size_t)(end - json);
		for (json = end; len && strchr(" \t\r\n", *json); json++)
			len--;
	}
}

static int check_json(struct shoal_txn *t, const char *path, const char *json, size_t len,
		      struct shoal_error *e)
{
	struct json *v;
	struct err why = { 0 };
	arena_reset(&t->arena);
	int r = json_parse(&t->arena, json, len, NULL, &v, &why);
	if (r == -ENOMEM)
		return no_memory(e);
	if (r < 0) {
		err_prefix(&why, "%.80s: line %u, column %u", path, why.line, why.column);
		return error_give(e, &why);
	}
	return 0;
}

static void put_if(struct buf *b, const char *version)
{
	if (version && !*version)
		buf_puts(b, ",\"if\":null");
	else
		client_put_text(b, "if", version);
}

/* Adds the line to the text of the request. */
static int add_line(struct shoal_txn *t, struct shoal_error *e)
{
	struct buf *b = &t->text;
	if (!b->len)
		buf_puts(b, "{\"lines\":\"");
	size_t before = b->len;
	buf_u8(&t->line, '\n');
	json_write_string(b, (const char *)t->line.data, t->line.len, JSON_ESCAPE_MINIMAL);
	if (buf_failed(b) || buf_failed(&t->line)) {
		buf_done(b); /* nobody takes a part for the whole */
		t->n = 0;
		return no_memory(e);
	}
	/* Without the quotes around it. */
	size_t len = b->len - before - 2;
	memmove(b->data + before, b->data + before + 1, len);
	b->len = before + len;
	if (b->len <= CONTROL_REQUEST_MAX - TAIL_MAX) {
		t->n++;
		return 0;
	}
	b->len = before;
	return error_set(e, -E2BIG, t->n ? "the transaction is full" : "that is too large for a transaction");
}

static int add(struct shoal_txn *t, const char *op, const char *path, const char *key, const char *json,
	       size_t len, const char *if_version, struct shoal_error *e)
{
	const char *const text[] = { path, if_version };
	int r = client_check(text, 2, e);
	if (r < 0)
		return r;
	if (t->n == SHOAL_TXN_STEPS)
		return error_set(e, -E2BIG, "the transaction is full");
	if (key)
		r = check_json(t, path, json, len, e);
	if (r < 0)
		return r;
	buf_reset(&t->line);
	buf_u8(&t->line, '{');
	client_put_text(&t->line, op, path);
	if (key) {
		buf_putf(&t->line, ",\"%s\":", key);
		put_value(&t->line, json, len);
	}
	put_if(&t->line, if_version);
	buf_u8(&t->line, '}');
	return add_line(t, e);
}

int shoal_txn_put(struct shoal_txn *t, const char *path, const char *json, size_t len,
		  const char *if_version, struct shoal_error *e)
{
	return add(t, "put", path, "value", json, len, if_version, e);
}

int shoal_txn_patch(struct shoal_txn *t, const char *path, const char *operations, size_t len,
		    const char *if_version, struct shoal_error *e)
{
	return add(t, "patch", path, "ops", operations, len, if_version, e);
}

int shoal_txn_merge(struct shoal_txn *t, const char *path, const char *json, size_t len,
		    const char *if_version, struct shoal_error *e)
{
	return add(t, "merge", path, "value", json, len, if_version, e);
}

int shoal_txn_delete(struct shoal_txn *t, const char *path, const char *if_version,
		     struct shoal_error *e)
{
	return add(t, "delete", path, NULL, NULL, 0, if_version, e);
}

/* ---- doing it ---- */

static int put_params(const struct shoal_txn *t, unsigned flags, struct buf *b, struct shoal_error *e)
{
	if (flags & ~(unsigned)(SHOAL_APART | SHOAL_SYNC))
		return error_set(e, -EINVAL, "flags %#x: this libshoal is older than the program", flags);
	if (t->text.len)
		buf_put(b, t->text.data, t->text.len);
	else
		buf_puts(b, "{\"lines\":\"");
	buf_puts(b, "\"");
	if (flags & SHOAL_APART)
		buf_puts(b, ",\"apart\":true");
	if (flags & SHOAL_SYNC)
		buf_puts(b, ",\"sync\":true");
	buf_puts(b, "}");
	return buf_failed(b) ? no_memory(e) : 0;
}

int64_t shoal_txn_send(struct shoal *s, const struct shoal_txn *t, unsigned flags, shoal_answer_fn f,
		       void *userdata, struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = put_params(t, flags, &params, e);
	return r < 0 ? r : client_request(s, "txn", &params, f, userdata, e);
}

static int read_version(const struct json *change, char *ret, struct shoal_error *e)
{
	const struct json *v = json_get_z(change, "version");
	if (v && v->type == JSON_NULL) {
		*ret = 0;
		return 0;
	}
	if (!v || v->type != JSON_STRING || v->len >= SHOAL_VERSION_SIZE)
		return error_set(e, -EPROTO, "the daemon's answer makes no sense");
	memcpy(ret, v->text, v->len);
	ret[v->len] = 0;
	return 0;
}

static int read_versions(const struct buf *answer, unsigned n, char (*ret)[SHOAL_VERSION_SIZE],
			 struct shoal_error *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *root;
	struct err why = { 0 };
	if (buf_failed(answer) || json_parse(&a, (const char *)answer->data, answer->len, NULL, &root, &why) < 0)
		return no_memory(e);
	const struct json *changes = json_get_z(root, "changes");
	if (!changes || changes->type != JSON_ARRAY || changes->count != n)
		return error_set(e, -EPROTO, "the daemon's answer makes no sense");
	int r = 0;
	for (const struct json *c = changes->first; r == 0 && c; c = c->next)
		r = read_version(c, *ret++, e);
	return r;
}

int shoal_txn_run(struct shoal *s, const struct shoal_txn *t, unsigned flags,
		  char (*ret_version)[SHOAL_VERSION_SIZE], struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf params = { 0 }, answer = { 0 };
	int r = put_params(t, flags, &params, e);
	if (r == 0)
		r = client_call(s, "txn", &params, client_timeout(s), client_keep, &answer, e);
	if (r < 0 || !ret_version)
		return r;
	return read_versions(&answer, t->n, ret_version, e);
}

static int run_one(struct shoal *s, struct shoal_txn *t, int r, char *ret_version, struct shoal_error *e)
{
	char version[1][SHOAL_VERSION_SIZE];
	struct shoal_error why = { 0 };
	if (r == 0)
		r = shoal_txn_run(s, t, 0, version, &why);
	if (r == 0 && ret_version)
		memcpy(ret_version, version[0], SHOAL_VERSION_SIZE);
	if (why.code && e) {
		/* There is one line only. */
		static const char first[] = "line 1: ";
		size_t n = strncmp(why.message, first, sizeof(first) - 1) ? 0 : sizeof(first) - 1;
		e->code = why.code;
		memmove(e->message, why.message + n, sizeof(why.message) - n);
	}
	return r;
}

int shoal_put(struct shoal *s, const char *path, const char *json, size_t len, const char *if_version,
	      char *ret_version, struct shoal_error *e)
{
	_cleanup_(shoal_txn_freep) struct shoal_txn *t = NULL;
	if (shoal_txn_new(&t) < 0)
		return no_memory(e);
	return run_one(s, t, shoal_txn_put(t, path, json, len, if_version, e), ret_version, e);
}

int shoal_patch(struct shoal *s, const char *path, const char *operations, size_t len,
		const char *if_version, char *ret_version, struct shoal_error *e)
{
	_cleanup_(shoal_txn_freep) struct shoal_txn *t = NULL;
	if (shoal_txn_new(&t) < 0)
		return no_memory(e);
	return run_one(s, t, shoal_txn_patch(t, path, operations, len, if_version, e), ret_version, e);
}

int shoal_merge(struct shoal *s, const char *path, const char *json, size_t len, const char *if_version,
		char *ret_version, struct shoal_error *e)
{
	_cleanup_(shoal_txn_freep) struct shoal_txn *t = NULL;
	if (shoal_txn_new(&t) < 0)
		return no_memory(e);
	return run_one(s, t, shoal_txn_merge(t, path, json, len, if_version, e), ret_version, e);
}

int shoal_delete(struct shoal *s, const char *path, const char *if_version, struct shoal_error *e)
{
	_cleanup_(shoal_txn_freep) struct shoal_txn *t = NULL;
	if (shoal_txn_new(&t) < 0)
		return no_memory(e);
	return run_one(s, t, shoal_txn_delete(t, path, if_version, e), NULL, e);
}

int shoal_sync(struct shoal *s, struct shoal_error *e)
{
	return client_call(s, "sync", NULL, client_timeout(s), NULL, NULL, e);
}
