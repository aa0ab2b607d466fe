/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `subscribe`, `unsubscribe`, `subscriptions`: what this device keeps. */
#include <errno.h>
#include <string.h>

#include "engine/filter.h"
#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

/* The id of the collection that a path names. */
static int collection(struct daemon *d, const char *path, struct id *ret, struct err *e)
{
	struct attr at;
	daemon_settle(d); /* a directory that was just made is meant as well */
	int r = path_resolve(d->replica, path, &at, e);
	if (r < 0)
		return r;
	if (id_equal(&at.id, &NODE_ROOT))
		return err_set(e, -EINVAL,
			       "the collection \".\" is what lies directly in the root: every device keeps it");
	if (at.kind != NODE_DIR || !id_equal(&at.scope, &NODE_ROOT) || id_equal(&at.id, &NODE_LOST))
		return err_set(e, -EINVAL, "\"%.120s\" is no collection: these are the directories at the top",
			       path);
	*ret = at.id;
	return 0;
}

/* Collection or "new": one of them. */
static int what_is_meant(struct daemon *d, struct arena *a, const struct json *params, const char **ret_path,
			 struct id *ret, bool *ret_new, struct err *e)
{
	*ret_path = NULL;
	*ret_new = false;
	int r = param_text(a, params, "collection", ret_path, e);
	if (r == 0)
		r = param_bool(params, "new", ret_new, e);
	if (r == 0 && *ret_new == (*ret_path != NULL))
		r = err_set(e, -EINVAL, "either a collection or --new");
	return r == 0 && *ret_path ? collection(d, *ret_path, ret, e) : r;
}

static void answer(struct daemon *d, struct call *call, int r, const struct err *e)
{
	if (r < 0) {
		call_error(call, e);
		return;
	}
	flusher_kick(d->flusher);
	keeping_kick(d->keeping);
	call_result(call, NULL, false);
}

int where_parse(const char *where, struct filter **ret, struct err *e)
{
	int r = filter_new(where, strlen(where), ret, e);
	if (r < 0 && e->line == 1)
		err_prefix(e, "--where, character %u", e->column);
	else if (r < 0 && e->line > 1)
		err_prefix(e, "--where, line %u, character %u", e->line, e->column);
	else if (r < 0)
		err_prefix(e, "--where");
	return r;
}

static int check_filter(const char *where, bool new, struct err *e)
{
	_cleanup_(filter_freep) struct filter *f = NULL;
	if (new)
		return err_set(e, -EINVAL, "--where is for one collection");
	return where_parse(where, &f, e);
}

void method_subscribe(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path, *where = NULL;
	struct err e = { 0 };
	struct id id;
	bool new;
	int r = what_is_meant(d, call_arena(call), params, &path, &id, &new, &e);
	if (r == 0)
		r = param_text(call_arena(call), params, "where", &where, &e);
	if (r == 0 && where)
		r = check_filter(where, new, &e);
	if (r == 0 && new)
		r = replica_keep_new(d->replica, true, &e);
	else if (r == 0)
		r = replica_keep(d->replica, &id, where ? INTEREST_FILTERED : INTEREST_SUBSCRIBED, where, &e);
	if (r < 0 && path)
		err_prefix(&e, "%.80s", path);
	answer(d, call, r, &e);
}

void method_unsubscribe(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path;
	struct err e = { 0 };
	struct id id;
	bool new, force = false;
	int r = what_is_meant(d, call_arena(call), params, &path, &id, &new, &e);
	if (r == 0)
		r = param_bool(params, "force", &force, &e);
	if (r == 0 && new && force)
		r = err_set(&e, -EINVAL, "--force is for what is here");
	if (r == 0 && new) {
		r = replica_keep_new(d->replica, false, &e);
	} else if (r == 0) {
		_cleanup_(interests_unrefp) struct interests *x = replica_interests(d->replica);
		enum interest_level is = interests_level(x, &id);
		/* What is carried for others already stays what it is. A part leaves as what does not match. */
		if (!force && is == INTEREST_FILTERED)
			r = replica_keep(d->replica, &id, is, KEEPING_NOTHING, &e);
		else if (force || interest_is_shown(is))
			r = replica_keep(d->replica, &id, force ? INTEREST_NONE : INTEREST_FARTHEST, NULL, &e);
	}
	if (r < 0 && path)
		err_prefix(&e, "%.80s", path);
	answer(d, call, r, &e);
}

/* ---- listing ---- */

struct report {
	struct daemon *d;
	struct jsonw *w;
	const struct interests *x;
	const struct errand *errand;
	uint32_t n;
};

static const struct errand *errand_of(const struct report *t, const struct id *id)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (id_equal(&t->errand[i].scope, id))
			return &t->errand[i];
	return NULL;
}

static const char *state_of(const struct report *t, const struct id *id)
{
	enum interest_level l = interests_level(t->x, id);
	const struct errand *x = errand_of(t, id);
	if (l == INTEREST_SUBSCRIBED)
		return "subscribed";
	if (l == INTEREST_FILTERED)
		return strcmp(interests_find(t->x, id)->where, KEEPING_NOTHING) == 0 ? "leaving" : "filtered";
	if (l == INTEREST_NONE)
		return replica_dropping(t->d->replica, id) ? "leaving" : "none";
	return x && x->should == x->is ? "carried" : "leaving";
}

static int put_collection(const char *name, size_t len, const struct attr *at, void *userdata)
{
	const struct report *t = userdata;
	const struct interest *i = interests_find(t->x, &at->id);
	const struct errand *x = errand_of(t, &at->id);
	if (at->kind != NODE_DIR || id_equal(&at->id, &NODE_LOST))
		return 0;
	jsonw_object_begin(t->w);
	jsonw_key(t->w, "collection");
	jsonw_string_n(t->w, name, len);
	jsonw_key(t->w, "state");
	jsonw_string(t->w, state_of(t, &at->id));
	if (i && i->where) {
		jsonw_key(t->w, "where");
		jsonw_string_n(t->w, i->where, i->where_len);
	}
	if (x && x->is != INTEREST_NONE) {
		uint64_t files = 0, bytes = 0;
		replica_collection_size(t->d->replica, &at->id, &files, &bytes);
		jsonw_key(t->w, "files");
		jsonw_uint(t->w, files);
		jsonw_key(t->w, "bytes");
		jsonw_uint(t->w, bytes);
		jsonw_key(t->w, "elsewhere");
		jsonw_bool(t->w, x->elsewhere);
	}
	jsonw_object_end(t->w);
	return 0;
}

void method_subscriptions(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(interests_unrefp) struct interests *x = replica_interests(d->replica);
	struct jsonw w;
	struct errand *errand = NULL;
	uint32_t n = 0;
	(void)params;
	daemon_settle(d);
	int r = replica_errands(d->replica, 0, call_arena(call), &errand, &n);
	struct report t = { d, &w, x, errand, n };
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "new");
	jsonw_bool(&w, x->fresh == INTEREST_SUBSCRIBED);
	jsonw_key(&w, "collections");
	jsonw_array_begin(&w);
	if (r == 0)
		r = replica_list(d->replica, &NODE_ROOT, put_collection, &t);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	jsonw_end(&w);
	if (r < 0)
		call_fail(call, r, "cannot list what is kept");
	else
		call_result(call, &b, false);
}
