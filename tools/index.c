/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `index`, `indexes`: what queries find documents by (engine/index.h). Steps are made where collections are kept
 * (tools/keeping.h). */
#include "engine/index.h"

#include <errno.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

struct found {
	struct arena *a;
	struct index_info info[INDEXES_MAX];
	uint32_t n;
};

static int take(const struct index_info *x, void *userdata)
{
	struct found *f = userdata;
	const char **pointer = arena_array(f->a, x->n, sizeof(*pointer));
	if (!pointer)
		return -ENOMEM;
	for (uint32_t i = 0; i < x->n; i++) {
		pointer[i] = arena_dup(f->a, x->pointer[i], strlen(x->pointer[i]));
		if (!pointer[i])
			return -ENOMEM;
	}
	f->info[f->n] = *x;
	f->info[f->n++].pointer = pointer;
	return 0;
}

static int put_index(struct daemon *d, const struct index_info *x, struct jsonw *w)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = replica_path(d->replica, &x->collection, &path);
	if (r < 0 && r != -ENOENT)
		return r;
	jsonw_object_begin(w);
	jsonw_key(w, "collection");
	if (r == -ENOENT) /* it was deleted, and may come back */
		jsonw_null(w);
	else
		jsonw_string_n(w, path.len ? (const char *)path.data : ".", path.len ? path.len : 1);
	jsonw_key(w, "pointers");
	jsonw_array_begin(w);
	for (uint32_t i = 0; i < x->n; i++)
		jsonw_string(w, x->pointer[i]);
	jsonw_array_end(w);
	jsonw_key(w, "complete");
	jsonw_bool(w, x->complete);
	if (!x->complete) {
		jsonw_key(w, "documents");
		jsonw_uint(w, x->done);
		jsonw_key(w, "files");
		jsonw_uint(w, x->all);
	}
	jsonw_object_end(w);
	return 0;
}

static bool is_it(const struct index_info *x, const struct id *collection, const char *const *pointer, uint32_t n)
{
	if (!id_equal(&x->collection, collection) || x->n != n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(x->pointer[i], pointer[i]) != 0)
			return false;
	return true;
}

/* All of them, or the one. */
static int report(struct daemon *d, struct arena *a, const struct id *collection, const char *const *pointer, uint32_t n,
		  struct buf *b)
{
	struct found f = { .a = a };
	struct jsonw w;
	int r = replica_indexes(d->replica, take, &f);
	jsonw_init(&w, b, 0);
	if (!collection) {
		jsonw_object_begin(&w);
		jsonw_key(&w, "indexes");
		jsonw_array_begin(&w);
	}
	for (uint32_t i = 0; r == 0 && i < f.n; i++)
		if (!collection || is_it(&f.info[i], collection, pointer, n))
			r = put_index(d, &f.info[i], &w);
	if (!collection) {
		jsonw_array_end(&w);
		jsonw_object_end(&w);
	}
	jsonw_end(&w);
	return r;
}

void method_index(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct arena *a = call_arena(call);
	const char *path = NULL, **pointer = NULL;
	uint32_t n = 0;
	bool drop = false;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct err e = { 0 };
	struct attr at;
	int r = param_text(a, params, "collection", &path, &e);
	if (r == 0)
		r = param_texts(a, params, "pointers", INDEX_POINTERS_MAX, &pointer, &n, &e);
	if (r == 0)
		r = param_bool(params, "drop", &drop, &e);
	if (r == 0 && !path)
		r = err_set(&e, -EINVAL, "index wants a collection");
	if (r == 0) {
		/* A directory that was just made is meant as well. */
		daemon_settle(d);
		r = path_resolve(d->replica, path, &at, &e);
	}
	if (r == 0) {
		r = drop ? replica_index_drop(d->replica, &at.id, pointer, n, &e) :
			   replica_index(d->replica, &at.id, pointer, n, &e);
		if (r < 0)
			err_prefix(&e, "%.80s", *path ? path : ".");
	}
	if (r >= 0) {
		flusher_kick(d->flusher);
		keeping_kick(d->keeping);
		r = 0;
		if (drop)
			buf_puts(&b, "{}");
		else
			r = report(d, a, &at.id, pointer, n, &b);
		if (r < 0)
			err_errno(&e, r, "cannot tell of the index");
	}
	if (r < 0)
		call_error(call, &e);
	else
		call_result(call, &b, false);
}

void method_indexes(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	_cleanup_(buf_done) struct buf b = { 0 };
	(void)params;
	int r = report(d, call_arena(call), NULL, NULL, 0, &b);
	if (r < 0)
		call_fail(call, r, "cannot list the indexes");
	else
		call_result(call, &b, false);
}
