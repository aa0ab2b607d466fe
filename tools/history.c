/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `cat` and `log`: the versions of a file that this device held, and what was deleted. */
#include "tools/history.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/deleted.h"
#include "engine/jsonw.h"
#include "tools/base64.h"
#include "tools/control.h"

#define CAT_CHUNK 49152 /* a multiple of three, so that the encoded parts can be joined */
#define VERSIONS_MAX 4096
#define DELETED_MAX 4096
#define DEPTH_MAX 4096
#define OPEN_TRIES 3

/* ---- finding ---- */

int history_live(struct daemon *d, const char *path, struct attr *ret, struct err *e)
{
	int r = path_resolve(d->replica, path, ret, e);
	if (r != -ENOENT)
		return r;
	daemon_settle(d);
	return path_resolve(d->replica, path, ret, e);
}

static int by_id(const void *x, const void *y)
{
	const struct deleted *const *a = x, *const *b = y;
	return id_cmp(&(*a)->id, &(*b)->id);
}

/* NULL: it was not deleted. */
static const struct deleted *entry_of(const struct traces *t, const struct id *id)
{
	const struct deleted key = { .id = *id }, *at = &key;
	const struct deleted **found =
		t->n_all ? bsearch(&at, t->by_id, t->n_all, sizeof(*t->by_id), by_id) : NULL;
	return found ? *found : NULL;
}

static bool is_named(const struct deleted *x, const struct id *parent, const char *name, size_t len)
{
	return id_equal(&x->parent, parent) && x->name_len == len && memcmp(x->name, name, len) == 0;
}

/* The directory under that name: the one that is there, else the last that was deleted. */
static int step(struct daemon *d, const struct traces *t, const struct id *parent, const char *name,
		size_t len, struct id *ret)
{
	struct attr at;
	int r = replica_lookup(d->replica, parent, name, len, &at);
	if (r == 0 && at.kind == NODE_DIR) {
		*ret = at.id;
		return 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	for (uint32_t i = 0; i < t->n_all; i++)
		if (t->all[i].kind == NODE_DIR && is_named(&t->all[i], parent, name, len)) {
			*ret = t->all[i].id;
			return 0;
		}
	return -ENOENT;
}

/* Directory and name that the path stands for. */
static int walk(struct daemon *d, struct arena *a, struct traces *t)
{
	const char *p = t->path;
	t->parent = NODE_ROOT;
	t->name = "";
	for (;;) {
		p += strspn(p, "/");
		size_t len = strcspn(p, "/");
		if (!len)
			return 0;
		if (*t->name) {
			int r = step(d, t, &t->parent, t->name, strlen(t->name), &t->parent);
			if (r < 0)
				return r;
		}
		t->name = arena_dup(a, p, len);
		if (!t->name)
			return -ENOMEM;
		p += len;
	}
}

static int collect(struct daemon *d, struct arena *a, struct traces *t)
{
	struct deleted *all;
	int r = replica_deleted(d->replica, a, &all, &t->n_all);
	if (r < 0)
		return r;
	t->all = all;
	r = walk(d, a, t);
	if (r < 0)
		return r;
	t->had = arena_array(a, t->n_all ? t->n_all : 1, sizeof(*t->had));
	t->by_id = arena_array(a, t->n_all ? t->n_all : 1, sizeof(*t->by_id));
	if (!t->had || !t->by_id)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->n_all; i++)
		t->by_id[i] = &all[i];
	qsort(t->by_id, t->n_all, sizeof(*t->by_id), by_id);
	for (uint32_t i = 0; i < t->n_all; i++)
		if (is_named(&all[i], &t->parent, t->name, strlen(t->name)))
			t->had[t->n++] = &all[i];
	return 0;
}

int history_traces(struct daemon *d, struct arena *a, const char *path, bool settle,
		   struct traces *ret, struct err *e)
{
	struct err none;
	int r;
	if (settle)
		daemon_settle(d);
	for (;;) {
		struct traces t = { .path = path };
		r = path_resolve(d->replica, path, &t.attr, &none);
		t.live = r == 0;
		if (r == 0 || r == -ENOENT)
			r = collect(d, a, &t);
		if (r == 0 && !t.live && t.n == 0)
			r = -ENOENT;
		*ret = t;
		if (r != -ENOENT || settle)
			break;
		settle = true;
		daemon_settle(d);
	}
	if (r == -ENOENT)
		return err_set(e, r,
			       "there is no \"%.120s\" in this store, and none was deleted lately; "
			       "`shoal log --deleted` lists what was", path);
	return r < 0 ? err_errno(e, r, "cannot look back at \"%.120s\"", path) : 0;
}

int history_path(struct daemon *d, const struct traces *t, const struct deleted *x, struct buf *ret)
{
	_cleanup_(buf_done) struct buf chain = { 0 };
	struct attr at;
	unsigned depth = 0;
	for (;; depth++) {
		buf_put(&chain, &x, sizeof(struct deleted *));
		if (id_equal(&x->parent, &NODE_ROOT) || replica_attr(d->replica, &x->parent, &at) == 0)
			break;
		x = entry_of(t, &x->parent);
		if (!x || depth == DEPTH_MAX)
			return -ENOENT;
	}
	if (buf_failed(&chain))
		return -ENOMEM;
	int r = id_equal(&x->parent, &NODE_ROOT) ? 0 : replica_path(d->replica, &x->parent, ret);
	for (size_t end = chain.len; r == 0 && end > 0; end -= sizeof(struct deleted *)) {
		memcpy(&x, chain.data + end - sizeof(struct deleted *), sizeof(struct deleted *));
		if (ret->len)
			buf_u8(ret, '/');
		buf_put(ret, x->name, x->name_len);
	}
	return r == 0 && buf_failed(ret) ? -ENOMEM : r;
}

/* Through deleted directories, then through those that are there. */
bool history_below(struct daemon *d, const struct traces *t, const struct deleted *x,
		   const struct id *dir)
{
	struct id at = x->parent;
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		char name[NAME_MAX_BYTES + 1];
		struct id parent;
		if (id_equal(&at, dir))
			return true;
		if (id_equal(&at, &NODE_ROOT))
			return false;
		if (replica_parent(d->replica, &at, &parent, name) == 0) {
			at = parent;
			continue;
		}
		x = entry_of(t, &at);
		if (!x)
			return false;
		at = x->parent;
	}
	return false;
}

/* ---- versions ---- */

const char *history_form(enum form form)
{
	switch (form) {
	case FORM_NONE:
		return "none";
	case FORM_JSON:
		return "json";
	case FORM_BLOB:
		return "blob";
	case FORM_TEXT:
		return "text";
	}
	return "other";
}

/* By another hard link of that name, or as what is there. */
static bool is_repeated(const struct traces *t, uint32_t i)
{
	const struct id *file = &t->had[i]->file;
	bool yes = t->live && id_equal(&t->attr.id, file);
	for (uint32_t k = 0; k < i && !yes; k++)
		yes = id_equal(&t->had[k]->file, file);
	return yes;
}

/* Calls f for the versions of whatever has or had the path, the newest first; stops at non-zero. */
typedef int (*version_fn)(const struct chosen *c, void *userdata);

static int each_version(struct daemon *d, struct arena *a, const struct traces *t, version_fn f,
			void *userdata)
{
	for (uint32_t i = t->live ? 0 : 1; i <= t->n; i++) {
		if (i && is_repeated(t, i - 1))
			continue;
		struct chosen c = { .node = i ? t->had[i - 1]->file : t->attr.id,
				    .deleted = i ? t->had[i - 1] : NULL };
		enum node_kind kind = i ? t->had[i - 1]->kind : t->attr.kind;
		struct past *all;
		uint32_t n = 0;
		int r = kind == NODE_FILE ? replica_history(d->replica, &c.node, a, &all, &n) : 0;
		for (uint32_t k = 0; r == 0 && k < n; k++) {
			c.past = all[k];
			r = f(&c, userdata);
		}
		if (r != 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

struct choice {
	const char *digits;
	size_t len;
	struct chosen chosen;
	unsigned found;
};

static int match(const struct chosen *c, void *userdata)
{
	struct choice *k = userdata;
	char hex[ID_HEX];
	if (strncasecmp(id_hex(&c->past.version, hex), k->digits, k->len) != 0)
		return 0;
	if (k->found && id_equal(&c->past.version, &k->chosen.past.version))
		return 0;
	if (!k->found++)
		k->chosen = *c;
	return 0;
}

int history_choose(struct daemon *d, struct arena *a, const struct traces *t, const char *digits,
		   struct chosen *ret, struct err *e)
{
	struct choice k = { .digits = digits, .len = strlen(digits) };
	if (k.len < VERSION_DIGITS || k.len >= ID_HEX ||
	    strspn(digits, "0123456789abcdefABCDEF") != k.len)
		return err_set(e, -EINVAL, "\"%.40s\" is no version: those are at least %u hexadecimal "
					   "digits; `shoal log` lists them", digits, VERSION_DIGITS);
	int r = each_version(d, a, t, match, &k);
	if (r < 0)
		return err_errno(e, r, "cannot look back at \"%.120s\"", t->path);
	if (k.found > 1)
		return err_set(e, -EINVAL, "several versions of \"%.80s\" begin with %.40s; give more "
					   "digits, `shoal log` lists them", t->path, digits);
	if (!k.found)
		return err_set(e, -ENOENT, "no version %.40s of \"%.80s\" is kept here; `shoal log` "
					   "lists those that are", digits, t->path);
	*ret = k.chosen;
	return 0;
}

int history_open(struct daemon *d, const struct chosen *c, const char *path, struct version **ret,
		 struct err *e)
{
	struct past past = c->past;
	int r = -ESTALE;
	/* What was the newest when it was listed may be an earlier one by now. */
	for (unsigned i = 0; r == -ESTALE && i < OPEN_TRIES; i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct past *all;
		uint32_t n;
		r = replica_history_read(d->replica, &c->node, &past, ret);
		if (r != -ESTALE || replica_history(d->replica, &c->node, &a, &all, &n) < 0)
			break;
		for (uint32_t k = n; k-- > 0;)
			if (id_equal(&all[k].version, &c->past.version))
				past = all[k];
	}
	if (r == -ENOENT || r == -ESTALE)
		return err_set(e, -ENOENT, "that version of \"%.80s\" is not kept any more", path);
	return r < 0 ? err_errno(e, r, "cannot read that version of \"%.80s\"", path) : 0;
}

/* ---- cat ---- */

struct cat {
	struct version *version;
	uint64_t offset;
};

static void cat_free(struct cat *c)
{
	version_unref(c->version);
	free(c);
}

static void cat_cancel(struct call *call, void *userdata)
{
	(void)call;
	cat_free(userdata);
}

static void cat_go_on(struct call *call, void *userdata)
{
	struct cat *c = userdata;
	uint8_t data[CAT_CHUNK];
	char hex[ID_HEX];
	bool last = false;
	while (!last && call_backlog(call) < CTL_ROOM) {
		ssize_t n = version_pread(c->version, data, sizeof(data), c->offset);
		if (n < 0) {
			cat_free(c);
			call_fail(call, (int)n, "cannot read the contents: %s",
				  n == -EHOSTDOWN ? "they are not on this device, and nobody who has them is here" :
						    "the store failed; try `shoal verify`");
			return;
		}
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_puts(&b, "{");
		if (c->offset == 0)
			buf_putf(&b, "\"version\":\"%s\",\"form\":\"%s\",\"size\":%llu,",
				 id_hex(version_id(c->version), hex),
				 history_form(version_form(c->version)),
				 (unsigned long long)version_size(c->version));
		c->offset += (uint64_t)n;
		last = n == 0 || c->offset >= version_size(c->version);
		buf_puts(&b, "\"data\":\"");
		base64_encode(data, (size_t)n, &b);
		buf_puts(&b, "\"}");
		if (last)
			cat_free(c);
		call_result(call, &b, !last);
	}
}

static int open_newest(struct daemon *d, const char *path, struct version **ret, struct err *e)
{
	struct attr attr;
	int r = history_live(d, path, &attr, e);
	if (r < 0)
		return r;
	if (attr.kind != NODE_FILE)
		return err_set(e, attr.kind == NODE_DIR ? -EISDIR : -EINVAL, "\"%.120s\" is %s", path,
			       attr.kind == NODE_DIR ? "a directory" : "a symbolic link");
	r = replica_read(d->replica, &attr.id, ret);
	return r < 0 ? err_errno(e, r, "cannot read \"%.120s\"", path) : 0;
}

static int open_version(struct daemon *d, struct arena *a, const char *path, const char *digits,
			struct version **ret, struct err *e)
{
	struct traces t;
	struct chosen c;
	int r = history_traces(d, a, path, false, &t, e);
	if (r == 0)
		r = history_choose(d, a, &t, digits, &c, e);
	return r < 0 ? r : history_open(d, &c, path, ret, e);
}

void method_cat(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "", *version = "";
	struct err e = { 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0)
		r = param_text(call_arena(call), params, "version", &version, &e);
	if (r == 0)
		r = *version ? open_version(d, call_arena(call), path, version, &v, &e) :
			       open_newest(d, path, &v, &e);
	struct cat *c = r == 0 ? calloc(1, sizeof(*c)) : NULL;
	if (r == 0 && !c)
		r = err_errno(&e, -ENOMEM, "cannot read \"%.120s\"", path);
	if (r < 0) {
		call_error(call, &e);
		return;
	}
	c->version = TAKE_PTR(v);
	call_keep(call, cat_cancel, cat_go_on, c);
	cat_go_on(call, c);
}

/* ---- log ---- */

static void put_time(struct jsonw *w, const char *key, uint64_t us)
{
	char text[TIME_TEXT_SIZE];
	jsonw_key(w, key);
	jsonw_string(w, us ? report_time(us, text) : NULL);
}

static void put_device(struct daemon *d, struct jsonw *w, uint32_t actor)
{
	const struct actors *actors = replica_actors(d->replica);
	char device[DEVICE_LABEL_SIZE];
	jsonw_key(w, "device");
	jsonw_string(w, actor == ACTOR_NONE ? NULL :
					      report_device(d, &actors_get(actors, actor)->device, device));
}

struct log_list {
	struct daemon *d;
	struct jsonw *w;
	uint32_t n;
	bool more;
};

static int put_version(const struct chosen *c, void *userdata)
{
	struct log_list *l = userdata;
	const struct past *p = &c->past;
	struct jsonw *w = l->w;
	char hex[ID_HEX];
	if (l->n == VERSIONS_MAX) {
		l->more = true;
		return 0;
	}
	l->n++;
	jsonw_object_begin(w);
	jsonw_key(w, "version");
	jsonw_string(w, id_hex(&p->version, hex));
	put_time(w, "time", p->written_us);
	put_device(l->d, w, p->author);
	jsonw_key(w, "form");
	jsonw_string(w, history_form(p->form));
	jsonw_key(w, "size");
	jsonw_uint(w, p->size);
	jsonw_key(w, "current");
	jsonw_bool(w, !c->deleted && !p->stamp);
	put_time(w, "replaced", c->deleted && !p->stamp ? c->deleted->when_us : p->replaced_us);
	jsonw_key(w, "deleted");
	jsonw_bool(w, c->deleted);
	jsonw_object_end(w);
	return 0;
}

static int put_log(struct daemon *d, struct arena *a, const struct traces *t, struct buf *b)
{
	struct jsonw w;
	char hex[ID_HEX];
	struct log_list l = { .d = d, .w = &w };
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, t->path);
	jsonw_key(&w, "version");
	jsonw_string(&w, t->live ? id_hex(&t->attr.version, hex) : NULL);
	jsonw_key(&w, "conflict");
	jsonw_bool(&w, t->live && t->attr.conflict);
	jsonw_key(&w, "deleted");
	if (t->live) {
		jsonw_null(&w);
	} else {
		jsonw_object_begin(&w);
		put_time(&w, "time", t->had[0]->when_us);
		put_device(d, &w, t->had[0]->actor);
		jsonw_object_end(&w);
	}
	jsonw_key(&w, "versions");
	jsonw_array_begin(&w);
	int r = each_version(d, a, t, put_version, &l);
	jsonw_array_end(&w);
	jsonw_key(&w, "left_out");
	jsonw_bool(&w, l.more);
	jsonw_object_end(&w);
	jsonw_end(&w);
	return r;
}

static int log_file(struct daemon *d, struct arena *a, const char *path, struct buf *b, struct err *e)
{
	struct traces t;
	int r = history_traces(d, a, path, false, &t, e);
	if (r < 0)
		return r;
	enum node_kind kind = t.live ? t.attr.kind : t.had[0]->kind;
	if (kind == NODE_DIR)
		return err_set(e, -EISDIR, "\"%.120s\" is a directory; `shoal log --deleted %.80s` lists "
					   "what was deleted in it", path, path);
	if (kind == NODE_LINK)
		return err_set(e, -EINVAL, "\"%.120s\" is a symbolic link, of which no versions are kept",
			       path);
	r = put_log(d, a, &t, b);
	return r < 0 ? err_errno(e, r, "cannot look back at \"%.120s\"", path) : 0;
}

/* ---- what was deleted ---- */

static const char *kind_name(enum node_kind kind)
{
	switch (kind) {
	case NODE_DIR:
		return "directory";
	case NODE_FILE:
		return "file";
	case NODE_LINK:
		return "link";
	}
	return "";
}

static void put_deleted(struct daemon *d, struct jsonw *w, const struct deleted *x,
			const struct buf *path)
{
	jsonw_object_begin(w);
	jsonw_key(w, "path");
	jsonw_string_n(w, (const char *)path->data, path->len);
	jsonw_key(w, "kind");
	jsonw_string(w, kind_name(x->kind));
	put_time(w, "time", x->when_us);
	put_device(d, w, x->actor);
	jsonw_object_end(w);
}

static int list_deleted(struct daemon *d, const struct traces *t, const struct id *dir, struct buf *b)
{
	struct jsonw w;
	uint32_t shown = 0;
	bool more = false;
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, t->path);
	jsonw_key(&w, "deleted");
	jsonw_array_begin(&w);
	for (uint32_t i = 0; i < t->n_all && !more; i++) {
		_cleanup_(buf_done) struct buf path = { 0 };
		if (!history_below(d, t, &t->all[i], dir) ||
		    history_path(d, t, &t->all[i], &path) < 0)
			continue;
		more = shown == DELETED_MAX;
		if (!more)
			put_deleted(d, &w, &t->all[i], &path);
		shown++;
	}
	jsonw_array_end(&w);
	jsonw_key(&w, "left_out");
	jsonw_bool(&w, more);
	jsonw_object_end(&w);
	jsonw_end(&w);
	return 0;
}

static int log_deleted(struct daemon *d, struct arena *a, const char *path, struct buf *b,
		       struct err *e)
{
	struct traces t;
	int r = history_traces(d, a, path, true, &t, e);
	if (r < 0)
		return r;
	if ((t.live ? t.attr.kind : t.had[0]->kind) != NODE_DIR)
		return err_set(e, -ENOTDIR, "\"%.120s\" is no directory; `shoal log %.80s` shows its "
					    "versions", path, path);
	return list_deleted(d, &t, t.live ? &t.attr.id : &t.had[0]->id, b);
}

void method_log(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "";
	bool deleted = false;
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0)
		r = param_bool(params, "deleted", &deleted, &e);
	if (r == 0)
		r = deleted ? log_deleted(d, call_arena(call), path, &b, &e) :
			      log_file(d, call_arena(call), path, &b, &e);
	if (r < 0)
		call_error(call, &e);
	else
		call_result(call, &b, false);
}
