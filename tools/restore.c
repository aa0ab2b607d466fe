/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `restore`: an earlier version becomes the newest one, by an ordinary save on top of what is there,
 * so that what others do meanwhile merges with it; what was deleted comes back. A directory comes
 * back with what was deleted along with it, some files at a time between other work of the loop. */
#include <errno.h>
#include <string.h>

#include "engine/deleted.h"
#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/history.h"

#define SLICE 64
#define PAUSE_US 60000000ull /* without one of this length, deletions belong together */

struct restoring {
	struct daemon *d;
	struct traces traces;
	const struct deleted **item; /* what is left to do: directories before what is in them */
	uint32_t n, at;
	struct buf done, left;       /* JSON, separated by commas */
	uint64_t count;
};

static void put_text(struct buf *b, const char *text)
{
	json_write_string(b, text, strlen(text), JSON_ESCAPE_MINIMAL);
}

/* ---- one file ---- */

struct place { /* where it goes instead */
	struct id parent;
	const char *name;
};

static int find_place(struct daemon *d, struct arena *a, const char *to, struct place *ret,
		      struct err *e)
{
	size_t len = strlen(to);
	while (len && to[len - 1] == '/')
		len--;
	size_t slash = len;
	while (slash && to[slash - 1] != '/')
		slash--;
	const char *dir = arena_dup(a, to, slash);
	struct attr at;
	ret->name = arena_dup(a, to + slash, len - slash);
	if (!dir || !ret->name)
		return err_errno(e, -ENOMEM, "cannot restore");
	if (!*ret->name)
		return err_set(e, -EINVAL, "\"%.120s\" is no name for a file", to);
	int r = history_live(d, dir, &at, e);
	if (r == 0 && at.kind != NODE_DIR)
		r = err_set(e, -ENOTDIR, "\"%.120s\" is no directory", dir);
	if (r < 0)
		return r;
	ret->parent = at.id;
	if (replica_lookup(d->replica, &at.id, ret->name, strlen(ret->name), &at) == 0)
		return err_set(e, -EEXIST, "\"%.120s\" is there already; choose another name", to);
	return 0;
}

/* Its base is what is there now: what others wrote and nobody here has seen stays. */
static int save(struct daemon *d, const struct id *id, struct version *v, struct err *e)
{
	_cleanup_(version_unrefp) struct version *head = NULL;
	struct blob_source room;
	struct content c;
	int r = replica_read(d->replica, id, &head);
	if (r < 0)
		return err_errno(e, r, "cannot read what is there");
	version_content(v, &room, &c);
	return replica_save(d->replica, id, head, &c,
			    version_form(v) == FORM_BLOB ? SAVE_BLOB : SAVE_BY_NAME, NULL, e);
}

static int save_as(struct daemon *d, const struct place *to, uint32_t mode, struct version *v,
		   struct id *ret, struct err *e)
{
	struct blob_source room;
	struct content c;
	struct attr at;
	version_content(v, &room, &c);
	int r = replica_create(d->replica, &to->parent, to->name, strlen(to->name), mode, &c,
			   SAVE_BY_NAME, 0, &at, NULL, e);
	if (r == 0)
		*ret = at.id;
	return r;
}

static int back(struct daemon *d, const struct deleted *x, const struct place *to, struct err *e)
{
	if (to)
		return replica_undelete(d->replica, &x->id, &to->parent, to->name, strlen(to->name), e);
	struct err why = { 0 };
	int r = replica_undelete(d->replica, &x->id, NULL, NULL, 0, &why);
	if (r == -EEXIST)
		return err_set(e, r, "%.150s; say where it shall go with --to PATH", why.message);
	if (r < 0)
		*e = why;
	return r;
}

/* *ret: the node that it is now. */
static int restore_file(struct daemon *d, const struct traces *t, const struct chosen *c,
			const struct place *to, struct id *ret, struct err *e)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	int r = history_open(d, c, t->path, &v, e);
	if (r < 0)
		return r;
	*ret = c->node;
	if (!c->deleted)
		return to ? save_as(d, to, t->attr.mode, v, ret, e) : save(d, ret, v, e);
	/* Something else has the name: that is where the version belongs. */
	if (t->live && !to) {
		*ret = t->attr.id;
		return save(d, ret, v, e);
	}
	/* The file has other names, whose content stays. */
	struct attr at;
	if (c->past.stamp && replica_attr(d->replica, &c->node, &at) == 0) {
		const struct place own = { c->deleted->parent, c->deleted->name };
		return save_as(d, to ? to : &own, at.mode, v, ret, e);
	}
	r = back(d, c->deleted, to, e);
	if (r == -EXDEV && to) {
		*e = (struct err){ 0 };
		return save_as(d, to, 0644, v, ret, e);
	}
	if (r == 0 && c->past.stamp)
		r = save(d, ret, v, e);
	*ret = c->deleted->id;
	return r;
}

/* ---- a directory ---- */

/* What was deleted along with the directory: below it, and before it without a long pause. */
static int collect(struct restoring *j, struct arena *a, const struct deleted *dir)
{
	const struct traces *t = &j->traces;
	uint64_t last = dir->when_us;
	j->item = arena_array(a, t->n_all, sizeof(*j->item));
	if (!j->item)
		return -ENOMEM;
	j->item[j->n++] = dir;
	for (const struct deleted *x = dir + 1; x < t->all + t->n_all; x++) {
		if (!history_below(j->d, t, x, &dir->id))
			continue;
		if (x->when_us + PAUSE_US < last)
			break;
		if (x->when_us < last)
			last = x->when_us;
		j->item[j->n++] = x;
	}
	return 0;
}

static void note(struct buf *b, const struct buf *path, const char *error)
{
	if (b->len)
		buf_u8(b, ',');
	if (error)
		buf_puts(b, "{\"path\":");
	json_write_string(b, (const char *)path->data, path->len, JSON_ESCAPE_MINIMAL);
	if (error) {
		buf_puts(b, ",\"error\":");
		put_text(b, error);
		buf_puts(b, "}");
	}
}

static void note_node(struct restoring *j, const struct id *id)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	j->count++;
	if (replica_path(j->d->replica, id, &path) == 0)
		note(&j->done, &path, NULL);
}

static void restore_item(struct restoring *j, const struct deleted *x)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	struct err e = { 0 };
	/* With the name that it had, if it does not come back. */
	(void)history_path(j->d, &j->traces, x, &path);
	int r = back(j->d, x, NULL, &e);
	if (r == 0)
		note_node(j, &x->id);
	else if (r != -ENOENT) /* else somebody was faster */
		note(&j->left, &path, e.message);
}

/* ---- the method ---- */

static void restoring_free(struct restoring *j)
{
	buf_done(&j->done);
	buf_done(&j->left);
	free(j);
}

static void finish(struct restoring *j, struct call *call)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "{\"path\":");
	put_text(&b, j->traces.path);
	buf_puts(&b, ",\"restored\":[");
	buf_put(&b, j->done.data, j->done.len);
	buf_puts(&b, "],\"left\":[");
	buf_put(&b, j->left.data, j->left.len);
	buf_puts(&b, "]}");
	if (buf_failed(&j->done) || buf_failed(&j->left))
		b.failed = true;
	restoring_free(j);
	call_result(call, &b, false);
}

static void cancel(struct call *call, void *userdata)
{
	(void)call;
	restoring_free(userdata);
}

static void go_on(struct call *call, void *userdata)
{
	struct restoring *j = userdata;
	for (unsigned i = 0; i < SLICE && j->at < j->n; i++)
		restore_item(j, j->item[j->at++]);
	if (j->at == j->n) {
		finish(j, call);
		return;
	}
	/* Sent, it wakes us for the next ones. */
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_putf(&b, "{\"count\":%llu,\"of\":%u}", (unsigned long long)j->count, j->n);
	call_result(call, &b, true);
}

/* Which version, or which of those that had the name. */
static int restore_one(struct restoring *j, struct arena *a, const char *digits,
		       const struct place *to, struct err *e)
{
	struct traces *t = &j->traces;
	struct chosen c = { 0 };
	struct id id;
	if (!*digits) {
		int r = back(j->d, t->had[0], to, e);
		if (r == -EXDEV && t->had[0]->kind == NODE_FILE) {
			struct past *all;
			uint32_t n;
			r = replica_history(j->d->replica, &t->had[0]->file, a, &all, &n);
			if (r < 0)
				return r;
			*e = (struct err){ 0 };
			c = (struct chosen){ t->had[0]->file, t->had[0], all[0] };
			r = restore_file(j->d, t, &c, to, &id, e);
		} else {
			id = t->had[0]->id;
		}
		if (r == 0)
			note_node(j, &id);
		return r;
	}
	int r = history_choose(j->d, a, t, digits, &c, e);
	if (r == 0)
		r = restore_file(j->d, t, &c, to, &id, e);
	if (r == 0)
		note_node(j, &id);
	return r;
}

static int check(const struct traces *t, const char *digits, const char *to, struct err *e)
{
	enum node_kind kind = t->live ? t->attr.kind : t->had[0]->kind;
	if (t->live && kind == NODE_DIR)
		return err_set(e, -EISDIR, "the directory \"%.80s\" is there; `shoal log --deleted %.80s` "
					   "lists what was deleted in it", t->path, t->path);
	if (t->live && !*digits)
		return err_set(e, -EEXIST, "\"%.80s\" is there; say which version shall come back, "
					   "`shoal log %.80s` lists them", t->path, t->path);
	if (kind == NODE_DIR && *digits)
		return err_set(e, -EISDIR, "\"%.80s\" is a directory, of which no versions are kept",
			       t->path);
	if (kind == NODE_DIR && *to)
		return err_set(e, -EISDIR, "a directory comes back where it was; restore \"%.80s\" and "
					   "move it", t->path);
	return 0;
}

void method_restore(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "", *digits = "", *to = "";
	struct arena *a = call_arena(call);
	struct err e = { 0 };
	struct place place;
	struct restoring *j = calloc(1, sizeof(*j));
	int r = j ? param_text(a, params, "path", &path, &e) :
		    err_errno(&e, -ENOMEM, "cannot restore");
	if (r == 0)
		r = param_text(a, params, "version", &digits, &e);
	if (r == 0)
		r = param_text(a, params, "to", &to, &e);
	if (r == 0)
		r = history_traces(d, a, path, true, &j->traces, &e);
	if (r == 0)
		r = check(&j->traces, digits, to, &e);
	if (r == 0 && *to)
		r = find_place(d, a, to, &place, &e);
	if (r == 0) {
		j->d = d;
		if (!j->traces.live && j->traces.had[0]->kind == NODE_DIR)
			r = collect(j, a, j->traces.had[0]);
		else
			r = restore_one(j, a, digits, *to ? &place : NULL, &e);
	}
	if (r < 0) {
		if (!e.code)
			err_errno(&e, r, "cannot restore \"%.120s\"", path);
		if (j)
			restoring_free(j);
		call_error(call, &e);
		return;
	}
	call_keep(call, cancel, go_on, j);
	go_on(call, j);
}
