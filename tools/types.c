/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `type`: how values merge, as it is declared for a collection. */
#include <errno.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

/* That nothing is declared has a name, too. */
static const char normal[] = "default";

struct listing {
	struct jsonw *w;
	const char *pointer; /* NULL: all are wanted */
	bool found;
};

static int put_type(const char *pointer, size_t len, const char *text, size_t text_len, void *userdata)
{
	struct listing *l = userdata;
	if (l->pointer && (strlen(l->pointer) != len || memcmp(l->pointer, pointer, len) != 0))
		return 0;
	l->found = true;
	if (!l->pointer) {
		jsonw_object_begin(l->w);
		jsonw_key(l->w, "pointer");
		jsonw_string_n(l->w, pointer, len);
		jsonw_key(l->w, "type");
	}
	jsonw_string_n(l->w, text, text_len);
	if (!l->pointer)
		jsonw_object_end(l->w);
	return 0;
}

/* All of the collection, or the one of the pointer. */
static int report(struct daemon *d, const char *path, const struct id *collection,
		  const char *pointer, struct buf *b, struct err *e)
{
	struct jsonw w;
	struct listing l = { .w = &w, .pointer = pointer };
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "collection");
	jsonw_string(&w, *path ? path : ".");
	if (pointer) {
		jsonw_key(&w, "pointer");
		jsonw_string(&w, pointer);
		jsonw_key(&w, "type");
	} else {
		jsonw_key(&w, "types");
		jsonw_array_begin(&w);
	}
	int r = replica_declared(d->replica, collection, put_type, &l, e);
	if (!pointer)
		jsonw_array_end(&w);
	else if (!l.found)
		jsonw_string(&w, normal);
	jsonw_object_end(&w);
	jsonw_end(&w);
	return r;
}

static int declare(struct daemon *d, const struct id *collection, const char *pointer,
		   const char *type, struct err *e)
{
	bool back = strcmp(type, normal) == 0;
	if (!pointer)
		return err_set(e, -EINVAL, "a type is declared for a pointer");
	int r = replica_declare(d->replica, collection, pointer, strlen(pointer), back ? NULL : type, e);
	if (r == 0)
		flusher_kick(d->flusher);
	return r;
}

void method_type(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct arena *a = call_arena(call);
	const char *path = NULL, *pointer = NULL, *type = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct err e = { 0 };
	struct attr at;
	int r = param_text(a, params, "collection", &path, &e);
	if (r == 0)
		r = param_text(a, params, "pointer", &pointer, &e);
	if (r == 0)
		r = param_text(a, params, "type", &type, &e);
	if (r == 0 && !path)
		r = err_set(&e, -EINVAL, "type wants a collection");
	if (r == 0) {
		/* A directory that was just made is meant as well. */
		daemon_settle(d);
		r = path_resolve(d->replica, path, &at, &e);
	}
	if (r == 0) {
		if (type)
			r = declare(d, &at.id, pointer, type, &e);
		if (r == 0)
			r = report(d, path, &at.id, pointer, &b, &e);
		if (r < 0)
			err_prefix(&e, "%.80s", *path ? path : ".");
	}
	if (r < 0)
		call_error(call, &e);
	else
		call_result(call, &b, false);
}
