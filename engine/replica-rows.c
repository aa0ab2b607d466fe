/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Rows of queries. Two ways lead to them. Where much of the store belongs to the directory, attributes and records are gone
 * through side by side, in the order of their keys: that costs about a microsecond for each node of the store. Where little
 * does, the names in it are read, and then each node by itself, which is ten times as much for each. */

#include "engine/rows.h"

#include <errno.h>

#include "engine/index.h"
#include "engine/nameid.h"
#include "engine/render.h"
#include "engine/replica-at.h"
#include "engine/slot.h"
#include "engine/replica-index.h"

#define WALK_SHARE 16   /* a walk is dearer than a scan from so much of the store on */
#define WALK_ALWAYS 64  /* names that it always may read */
#define DEPTH_MAX 4096
#define CHECK_EVERY 256
#define SUFFIX 5 /* .json */

struct rows_dir {
	struct table_link link;
	struct id id;
	struct rows_dir *parent; /* NULL: the root */
	const char *name;
	size_t len;
	bool settled; /* what is above it is known */
	bool lost;    /* it hangs nowhere, or is not shown */
};

struct contested {
	struct table_link link;
	const uint8_t *key; /* parent, name */
	size_t len;
};

struct rows {
	struct replica *r;
	struct store_snapshot *snap;
	struct table dirs, contested;
	struct arena arena;
	struct arena scratch; /* of one row */
	struct rows_index *index; /* arena; NULL: not looked for */
	struct id *index_scope;
	uint32_t n_indexes;
	uint64_t files;
};

struct walked {
	struct id id;
	const struct rows_dir *dir;
	const char *name; /* arena of the cursor */
	size_t len;
};

struct rows_cursor {
	struct rows *x;
	const struct rows_dir *dir;
	bool flat, docs;
	struct store_iter *attrs, *records; /* of a scan */
	struct arena arena; /* of a walk */
	struct buf names;   /* struct walked */
	size_t at;
	size_t most; /* names it may read; then it is given up */
	const struct rows_index *index; /* its rows in ranges */
	struct rows_range *range;
	uint32_t n_ranges, at_range; /* entries are of the one before */
	struct store_iter *entries;
	struct buf named;  /* struct id: names of the document that the last entry is of, those that are still to come */
	struct buf value;
	unsigned steps;
};

/* ---- the moment ---- */

static int contested_load(struct rows *x)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = META_CONTESTED, end = META_CONTESTED + 1;
	int rc = store_iter_new(x->r->store, x->snap, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		struct contested *c = arena_new(&x->arena, struct contested);
		if (!c || !(c->key = (const uint8_t *)arena_dup(&x->arena, key + 1, len - 1)))
			return -ENOMEM;
		c->len = len - 1;
		rc = table_add(&x->contested, &c->link, table_hash_bytes(c->key, c->len, 0));
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static bool is_contested(const struct rows *x, const struct id *parent, const char *name, size_t len)
{
	uint8_t key[ID_SIZE + NAME_MAX_BYTES];
	if (x->contested.n == 0)
		return false;
	memcpy(key, parent->b, ID_SIZE);
	memcpy(key + ID_SIZE, name, len);
	for (struct table_link *l = table_first(&x->contested, table_hash_bytes(key, ID_SIZE + len, 0)); l; l = l->next) {
		const struct contested *c = table_entry(l, struct contested, link);
		if (c->len == ID_SIZE + len && memcmp(c->key, key, c->len) == 0)
			return true;
	}
	return false;
}

int rows_new(struct replica *r, struct rows **ret, struct err *e)
{
	_cleanup_(rows_freep) struct rows *x = calloc(1, sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "out of memory");
	x->r = r;
	x->files = replica_count(r);
	int rc = store_snapshot(r->store, &x->snap);
	if (rc == 0)
		rc = contested_load(x);
	if (rc < 0)
		return err_errno(e, rc, "cannot look at the store");
	*ret = TAKE_PTR(x);
	return 0;
}

void rows_free(struct rows *x)
{
	if (!x)
		return;
	if (x->snap)
		store_snapshot_free(x->r->store, x->snap);
	table_done(&x->dirs);
	table_done(&x->contested);
	arena_done(&x->arena);
	arena_done(&x->scratch);
	free(x);
}

/* ---- directories ---- */

static struct rows_dir *dir_known(const struct rows *x, const struct id *id)
{
	for (struct table_link *l = table_first(&x->dirs, id_hash(id)); l; l = l->next) {
		struct rows_dir *d = table_entry(l, struct rows_dir, link);
		if (id_equal(&d->id, id))
			return d;
	}
	return NULL;
}

static int node_at(struct rows *x, const struct id *id, struct buf *value, struct node *ret)
{
	int rc = store_get(x->r->store, x->snap, STORE_ATTRS, id->b, ID_SIZE, value);
	if (rc == 0)
		rc = node_decode(value->data, value->len, ret);
	if (rc == 0)
		ret->attr.id = ret->attr.entry = *id;
	return rc;
}

/* The name that a node shows under: its own, or in text. */
static int shown_name(struct rows *x, const struct node *n, char text[static NAME_MAX_BYTES + 1], const char **ret,
		      size_t *ret_len)
{
	*ret = n->name;
	*ret_len = n->name_len;
	if (!is_contested(x, &n->parent, n->name, n->name_len))
		return 0;
	int rc = dirent_shown_at(x->r, x->snap, n, text);
	*ret = text;
	*ret_len = rc == 0 ? strlen(text) : 0;
	return rc;
}

static int dir_add(struct rows *x, const struct id *id, struct id *ret_parent, struct rows_dir **ret)
{
	_cleanup_(buf_done) struct buf value = { 0 };
	struct rows_dir *d = arena_new(&x->arena, struct rows_dir);
	char text[NAME_MAX_BYTES + 1];
	const char *name = "";
	struct node n = { 0 };
	if (!d)
		return -ENOMEM;
	d->id = *id;
	int rc = id_equal(id, &NODE_ROOT) ? 0 : node_at(x, id, &value, &n);
	if (rc == 0 && !id_equal(id, &NODE_ROOT)) {
		d->lost = !(n.flags & NODE_LIVE) || n.attr.kind != NODE_DIR;
		rc = d->lost ? 0 : shown_name(x, &n, text, &name, &d->len);
		if (id_equal(&n.parent, &NODE_ROOT) && is_hidden(x->r, id))
			d->lost = true;
	}
	if (rc == -ENOENT) {
		d->lost = true;
		rc = 0;
	}
	d->name = rc == 0 ? arena_dup(&x->arena, name, d->len) : NULL;
	if (rc == 0)
		rc = d->name ? table_add(&x->dirs, &d->link, id_hash(id)) : -ENOMEM;
	*ret_parent = n.parent;
	*ret = d;
	return rc;
}

/* With all above it. */
static int dir_of(struct rows *x, const struct id *id, const struct rows_dir **ret)
{
	struct rows_dir *first = NULL, *below = NULL;
	struct id at = *id, parent;
	bool lost = false;
	for (unsigned depth = 0;; depth++) {
		struct rows_dir *d = dir_known(x, &at);
		bool known = d != NULL;
		int rc = known ? 0 : dir_add(x, &at, &parent, &d);
		if (rc < 0)
			return rc;
		first = first ? first : d;
		if (below)
			below->parent = d;
		below = d;
		lost = d->lost || depth == DEPTH_MAX || (known && !d->settled);
		if (lost || known || id_equal(&at, &NODE_ROOT))
			break;
		at = parent;
	}
	for (struct rows_dir *d = first; d && !d->settled; d = d->parent) {
		d->settled = true;
		d->lost = lost;
	}
	*ret = first;
	return 0;
}

static bool is_below(const struct rows_dir *d, const struct rows_dir *above)
{
	while (d && d != above)
		d = d->parent;
	return d != NULL;
}

int rows_dir(struct rows *x, const char *path, size_t len, const struct rows_dir **ret)
{
	struct id at = NODE_ROOT;
	const struct rows_dir *d;
	for (size_t i = 0; i < len;) {
		const char *slash = memchr(path + i, '/', len - i);
		size_t n = slash ? (size_t)(slash - path) - i : len - i;
		int rc = n ? dirent_find_at(x->r, x->snap, &at, path + i, n, &at) : -ENOENT;
		if (rc < 0)
			return rc == -ENAMETOOLONG ? -ENOENT : rc;
		i += n + 1;
	}
	int rc = dir_of(x, &at, &d);
	if (rc < 0)
		return rc;
	if (d->lost) {
		_cleanup_(buf_done) struct buf value = { 0 };
		struct node n;
		return node_at(x, &at, &value, &n) == 0 && n.attr.kind != NODE_DIR ? -ENOTDIR : -ENOENT;
	}
	*ret = d;
	return 0;
}

struct subdirs {
	struct rows *x;
	name_fn f;
	void *userdata;
};

static int tell_dir(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	const struct subdirs *s = userdata;
	if (kind != NODE_DIR || id_equal(id, &NODE_LOST) || is_hidden(s->x->r, id))
		return 0;
	return s->f(name, len, id, kind, s->userdata);
}

int rows_subdirs(struct rows *x, const struct rows_dir *dir, name_fn f, void *userdata)
{
	struct subdirs s = { x, f, userdata };
	return names_at(x->r, x->snap, &dir->id, tell_dir, &s);
}

uint64_t rows_guess(struct rows *x, const struct rows_dir *dir)
{
	struct replica *r = x->r;
	const struct rows_dir *top = dir;
	uint64_t files = 0;
	unsigned depth = 0;
	while (top->parent && top->parent->parent) {
		top = top->parent;
		depth++;
	}
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_scopes; i++)
		if (id_equal(&r->scope[i]->id, &top->id))
			files = r->scope[i]->files;
	pthread_mutex_unlock(&r->scopes_lock);
	return depth ? files / 4 + 1 : files;
}

/* ---- rows ---- */

static bool is_document(const struct node *n)
{
	return n->flags & NODE_LIVE && n->attr.kind == NODE_FILE && n->attr.form == FORM_JSON &&
	       id_is_zero(&n->attr.target);
}

/* The file that has the name, from the node of the name: 1, or 0: it is no document. */
static int file_of(struct rows *x, struct node *n, struct buf *value)
{
	if (id_is_zero(&n->attr.target))
		return is_document(n);
	const struct attr link = n->attr;
	struct node file;
	if (!(n->flags & NODE_LIVE))
		return 0;
	int rc = node_at(x, &link.target, value, &file);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	n->attr = file.attr;
	n->attr.entry = link.id;
	return is_document(&file) && link_holds(&link, &file.attr);
}

static void row_set(struct row *row, const struct node *n, const struct rows_dir *dir, const char *name, size_t len)
{
	row->entry = n->attr.entry;
	row->version = n->attr.version;
	row->mtime_ns = n->attr.mtime_ns;
	row->dir = dir;
	memcpy(row->name, name, len);
	row->name[len] = 0;
	row->name_len = len;
	row->doc = NULL;
	row->indexed = false;
}

static int row_doc(struct rows *x, const struct id *id, struct buf *value, struct row *row)
{
	int rc = store_get(x->r->store, x->snap, STORE_DOCS, id->b, ID_SIZE, value);
	row->doc = rc == 0 ? value->data : NULL;
	row->doc_len = rc == 0 ? value->len : 0;
	return rc == -ENOENT ? -EBADMSG : rc;
}

static struct id id_of(const uint8_t *key)
{
	struct id id;
	memcpy(id.b, key, ID_SIZE);
	return id;
}

/* ---- all of them ---- */

static int walk_name(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	struct rows_cursor *c = userdata;
	if (kind == NODE_DIR ? c->flat : !name_is_document(name, len))
		return --c->most == 0;
	struct walked w = { .id = *id, .dir = c->dir, .len = len };
	if (kind == NODE_DIR)
		w.len = 0;
	else if (!(w.name = arena_dup(&c->arena, name, len)))
		return -ENOMEM;
	buf_put(&c->names, &w, sizeof(w));
	return buf_failed(&c->names) ? -ENOMEM : --c->most == 0;
}

/* All names below, directories as well, which come without one. 1: there are too many. */
static int walk(struct rows_cursor *c)
{
	const struct rows_dir *dir = c->dir;
	int rc = names_at(c->x->r, c->x->snap, &dir->id, walk_name, c);
	for (size_t i = 0; rc == 0 && i < c->names.len / sizeof(struct walked); i++) {
		const struct walked w = ((const struct walked *)(const void *)c->names.data)[i];
		if (w.name)
			continue;
		rc = dir_of(c->x, &w.id, &c->dir);
		if (rc == 0 && !c->dir->lost)
			rc = names_at(c->x->r, c->x->snap, &w.id, walk_name, c);
	}
	c->dir = dir;
	return rc;
}

int rows_scan(struct rows *x, const struct rows_dir *dir, bool flat, bool docs, struct rows_cursor **ret)
{
	_cleanup_(rows_cursor_freep) struct rows_cursor *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct rows_cursor){ .x = x, .dir = dir, .flat = flat, .docs = docs };
	c->most = WALK_ALWAYS + x->files / WALK_SHARE;
	/* Of a whole collection it is known. */
	bool dear = dir->parent && !dir->parent->parent && rows_guess(x, dir) > c->most;
	int rc = dear ? 1 : walk(c);
	if (rc == 1) {
		buf_done(&c->names);
		arena_done(&c->arena);
		rc = store_iter_new(x->r->store, x->snap, STORE_ATTRS, NULL, 0, NULL, 0, &c->attrs);
		if (rc == 0 && docs)
			rc = store_iter_new(x->r->store, x->snap, STORE_DOCS, NULL, 0, NULL, 0, &c->records);
	}
	if (rc == 0)
		*ret = TAKE_PTR(c);
	return rc;
}

void rows_cursor_free(struct rows_cursor *c)
{
	if (!c)
		return;
	store_iter_free(c->attrs);
	store_iter_free(c->records);
	store_iter_free(c->entries);
	rows_ranges_free(c->range, c->n_ranges);
	buf_done(&c->named);
	arena_done(&c->arena);
	buf_done(&c->names);
	buf_done(&c->value);
	free(c);
}

static int next_walked(struct rows_cursor *c, struct row *ret)
{
	const struct walked *w = (const struct walked *)(const void *)c->names.data + c->at++;
	_cleanup_(buf_done) struct buf value = { 0 };
	struct node n;
	if (!w->name)
		return 0;
	int rc = node_at(c->x, &w->id, &c->value, &n);
	if (rc == 0)
		rc = file_of(c->x, &n, &value);
	if (rc <= 0)
		return rc == -ENOENT ? 0 : rc;
	row_set(ret, &n, w->dir, w->name, w->len);
	rc = c->docs ? row_doc(c->x, &n.attr.id, &c->value, ret) : 0;
	return rc < 0 ? rc : 1;
}

/* The record of that id: the iterator goes there. */
static int record_of(struct rows_cursor *c, const struct id *id, struct row *ret)
{
	for (; store_iter_valid(c->records); store_iter_next(c->records)) {
		size_t len;
		const uint8_t *key = store_iter_key(c->records, &len);
		int cmp = len == ID_SIZE ? memcmp(key, id->b, ID_SIZE) : -1;
		if (cmp == 0)
			ret->doc = store_iter_value(c->records, &ret->doc_len);
		if (cmp >= 0)
			return cmp == 0 ? 0 : -EBADMSG;
	}
	int rc = store_iter_error(c->records);
	return rc < 0 ? rc : -EBADMSG;
}

/* flags, kind and form of an encoded node, before anything is decoded. */
static bool may_be_document(const uint8_t *value, size_t len)
{
	return len > 4 && value[1] & NODE_LIVE && ((value[2] == NODE_FILE && value[3] == FORM_JSON) || value[2] == NODE_LINK);
}

/* A node of a name, if it is a row here. */
static int row_of(struct rows_cursor *c, struct node *n, struct row *ret)
{
	char text[NAME_MAX_BYTES + 1];
	const char *name;
	const struct rows_dir *dir;
	size_t name_len;
	if (!name_is_document(n->name, n->name_len))
		return 0;
	int rc = dir_of(c->x, &n->parent, &dir);
	if (rc < 0 || dir->lost || (c->flat ? dir != c->dir : !is_below(dir, c->dir)))
		return rc;
	rc = shown_name(c->x, n, text, &name, &name_len);
	bool link = !id_is_zero(&n->attr.target);
	_cleanup_(buf_done) struct buf file = { 0 };
	if (rc == 0)
		rc = file_of(c->x, n, &file);
	if (rc <= 0)
		return rc;
	row_set(ret, n, dir, name, name_len);
	if (c->docs)
		rc = link || !c->records ? row_doc(c->x, &n->attr.id, &c->value, ret) : record_of(c, &n->attr.id, ret);
	return rc < 0 ? rc : 1;
}

static int next_scanned(struct rows_cursor *c, struct row *ret)
{
	size_t key_len, len;
	const uint8_t *key = store_iter_key(c->attrs, &key_len), *value = store_iter_value(c->attrs, &len);
	struct node n;
	if (key_len != ID_SIZE || !may_be_document(value, len))
		return 0;
	int rc = node_decode(value, len, &n);
	if (rc < 0)
		return rc;
	n.attr.id = n.attr.entry = id_of(key);
	return row_of(c, &n, ret);
}

/* ---- by an index ---- */

int rows_indexes(struct rows *x, const struct rows_dir *dir, const struct rows_index **ret, uint32_t *ret_n)
{
	if (!x->index) {
		struct index_at *all = arena_array(&x->arena, INDEXES_MAX, sizeof(*all));
		struct rows_index *index = arena_array(&x->arena, INDEXES_MAX, sizeof(*index));
		x->index_scope = arena_array(&x->arena, INDEXES_MAX, sizeof(*x->index_scope));
		if (!all || !index || !x->index_scope)
			return -ENOMEM;
		int rc = indexes_at(x->r, x->snap, &x->arena, all, &x->n_indexes);
		if (rc < 0)
			return rc;
		for (uint32_t i = 0; i < x->n_indexes; i++) {
			index[i] = (struct rows_index){ all[i].name, all[i].pointer, all[i].path, all[i].n, all[i].complete, all[i].cut };
			x->index_scope[i] = all[i].scope;
		}
		x->index = index;
	}
	if (!dir) {
		*ret = x->index;
		*ret_n = x->n_indexes;
		return 0;
	}
	struct rows_index *own = arena_array(&x->arena, x->n_indexes + 1, sizeof(*own));
	if (!own)
		return -ENOMEM;
	while (dir->parent && dir->parent->parent)
		dir = dir->parent;
	*ret_n = 0;
	for (uint32_t i = 0; i < x->n_indexes; i++)
		if (id_equal(&x->index_scope[i], &dir->id))
			own[(*ret_n)++] = x->index[i];
	*ret = own;
	return 0;
}

void rows_ranges_free(struct rows_range *range, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		buf_done(&range[i].from);
		buf_done(&range[i].to);
	}
	free(range);
}

int rows_find(struct rows *x, const struct rows_dir *dir, bool flat, bool docs, const struct rows_index *index,
	      struct rows_range *range, uint32_t n, struct rows_cursor **ret)
{
	struct rows_cursor *c = calloc(1, sizeof(*c));
	if (!c) {
		rows_ranges_free(range, n);
		return -ENOMEM;
	}
	*c = (struct rows_cursor){ .x = x, .dir = dir, .flat = flat, .docs = docs, .index = index, .range = range, .n_ranges = n };
	*ret = c;
	return 0;
}

static int add_named(const struct id *id, void *userdata)
{
	struct buf *named = userdata;
	buf_put(named, id->b, ID_SIZE);
	return buf_failed(named) ? -ENOMEM : 0;
}

/* The document of the next entry: its names are to come. 1: there is none. */
static int next_entry(struct rows_cursor *c)
{
	struct rows *x = c->x;
	while (!c->entries || !store_iter_valid(c->entries)) {
		int rc = c->entries ? store_iter_error(c->entries) : 0;
		store_iter_free(c->entries);
		c->entries = NULL;
		if (rc < 0 || c->at_range == c->n_ranges)
			return rc < 0 ? rc : 1;
		const struct rows_range *range = &c->range[c->at_range++];
		rc = index_at_iter(x->r, x->snap, &c->index->name, &range->from, &range->to, &c->entries);
		if (rc < 0)
			return rc;
	}
	size_t len;
	const uint8_t *key = store_iter_key(c->entries, &len);
	struct node n;
	if (len <= ID_SIZE)
		return -EBADMSG;
	const struct id id = id_of(key + len - ID_SIZE);
	int rc = node_at(x, &id, &c->value, &n);
	if (rc == 0 && is_document(&n)) {
		if (!id_equal(&n.parent, &NODE_INODES))
			rc = add_named(&id, &c->named);
		if (rc == 0 && n.attr.linked)
			rc = link_each(x->r, x->snap, &id, &n.attr.scope, add_named, &c->named);
	}
	store_iter_next(c->entries);
	return rc == -ENOENT ? 0 : rc;
}

static int next_found(struct rows_cursor *c, struct row *ret)
{
	_cleanup_(buf_done) struct buf value = { 0 };
	struct node n;
	c->named.len -= ID_SIZE;
	const struct id id = id_of(c->named.data + c->named.len);
	int rc = node_at(c->x, &id, &value, &n);
	return rc == 0 ? row_of(c, &n, ret) : rc == -ENOENT ? 0 : rc;
}

int rows_next(struct rows_cursor *c, struct row *ret, int (*check)(void *userdata), void *userdata, struct err *e)
{
	int rc = 0;
	while (rc == 0) {
		if (check && ++c->steps % CHECK_EVERY == 0 && (rc = check(userdata)) != 0)
			return rc;
		if (c->index) {
			bool more = c->named.len > 0;
			rc = more ? next_found(c, ret) : next_entry(c);
			if (rc == 1 && !more)
				return 0;
			continue;
		}
		if (!c->attrs) {
			if (c->at == c->names.len / sizeof(struct walked))
				return 0;
			rc = next_walked(c, ret);
			continue;
		}
		if (!store_iter_valid(c->attrs)) {
			rc = store_iter_error(c->attrs);
			break;
		}
		rc = next_scanned(c, ret);
		store_iter_next(c->attrs);
		if (rc == 0)
			continue;
	}
	return rc < 0 ? err_errno(e, rc, "cannot read the documents (`shoal verify` tells more)") : rc;
}

/* ---- one of them ---- */

/* Most documents have the first id that their name gives, which saves reading the directory. */
static int node_named(struct rows *x, const struct id *parent, const char *name, size_t len, struct buf *value,
		      struct node *ret)
{
	struct id id;
	name_id("json", parent, name, len, 0, &id);
	int rc = x->contested.n ? -ENOENT : node_at(x, &id, value, ret);
	if (rc == 0 && ret->flags & NODE_LIVE && id_equal(&ret->parent, parent) && ret->name_len == len &&
	    memcmp(ret->name, name, len) == 0)
		return 0;
	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = dirent_find_at(x->r, x->snap, parent, name, len, &id);
	return rc == 0 ? node_at(x, &id, value, ret) : rc;
}

int rows_get(struct rows *x, const struct rows_dir *dir, bool flat, const char *path, size_t len, bool docs,
	     struct buf *value, struct row *ret)
{
	_cleanup_(buf_done) struct buf attrs = { 0 };
	const char *name = path, *slash = memrchr(path, '/', len);
	struct node n;
	if (slash) {
		struct id at = dir->id;
		name = slash + 1;
		for (const char *p = path; p < name;) {
			const char *end = memchr(p, '/', (size_t)(name - p));
			int rc = end > p ? dirent_find_at(x->r, x->snap, &at, p, (size_t)(end - p), &at) : -ENOENT;
			if (rc < 0)
				return rc == -ENAMETOOLONG ? -ENOENT : rc;
			p = end + 1;
		}
		int rc = flat ? -ENOENT : dir_of(x, &at, &dir);
		if (rc < 0 || dir->lost)
			return rc < 0 ? rc : -ENOENT;
	}
	len -= (size_t)(name - path);
	if (len > NAME_MAX_BYTES || !name_is_document(name, len))
		return -ENOENT;
	int rc = node_named(x, &dir->id, name, len, value, &n);
	if (rc == 0)
		rc = file_of(x, &n, &attrs);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	row_set(ret, &n, dir, name, len);
	return docs ? row_doc(x, &n.attr.id, value, ret) : 0;
}

/* ---- what is in them ---- */

static void put_dir(const struct rows_dir *d, const struct rows_dir *from, struct buf *ret)
{
	/* From the deepest up, then in the other order. */
	const struct rows_dir *above[64];
	unsigned n = 0;
	while (d && d->parent && d != from && n < 64) {
		above[n++] = d;
		d = d->parent;
	}
	if (n == 64)
		put_dir(d, from, ret);
	while (n-- > 0) {
		buf_put(ret, above[n]->name, above[n]->len);
		buf_u8(ret, '/');
	}
}

void rows_path(const struct row *row, const struct rows_dir *from, struct buf *ret)
{
	put_dir(row->dir, from, ret);
	buf_put(ret, row->name, row->name_len);
}

static int decode(struct rows *x, const struct row *row, struct arena *a, const struct record **ret, struct err *e)
{
	struct stored s;
	int rc = stored_decode(x->r, x->snap, a, row->doc, row->doc_len, &s, e);
	if (rc == 0)
		*ret = s.record;
	return rc;
}

int rows_text(struct rows *x, const struct row *row, struct buf *ret, struct err *e)
{
	const struct record *rec = NULL;
	arena_reset(&x->scratch);
	int rc = decode(x, row, &x->scratch, &rec, e);
	return rc == 0 ? render_json(&x->scratch, x->r->actors, rec, ret, NULL) : rc;
}

int document_tree(struct replica *r, struct arena *a, const struct record *rec, struct json **ret, struct err *e)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	if (!rec->top || !slot_find(rec->top, TOP_SOURCE, strlen(TOP_SOURCE)))
		return render_tree(a, r->actors, rec, ret);
	/* Numbers show as the text has them. */
	int rc = render_json(a, r->actors, rec, &text, NULL);
	if (rc < 0)
		return rc;
	const char *copy = arena_dup(a, text.data, text.len);
	return copy ? json_parse(a, copy, text.len, NULL, ret, e) : -ENOMEM;
}

int rows_tree(struct rows *x, const struct row *row, struct arena *a, struct json **ret, struct err *e)
{
	const struct record *rec = NULL;
	int rc = decode(x, row, a, &rec, e);
	return rc != 0 ? rc : document_tree(x->r, a, rec, ret, e);
}

int rows_field(struct row *row, const struct jsonpath *p, struct value *ret, uint32_t *ret_steps)
{
	if (!row->indexed) {
		/* Format 1, no further entries in the index of changes; else it is decoded. */
		bool plain = row->doc_len > 2 && row->doc[0] == DOC_FORMAT && row->doc[1] == 0;
		int rc = plain ? field_index(row->doc + 2, row->doc_len - 2, &row->index) : -ENOTSUP;
		if (rc < 0 && rc != -ENOTSUP)
			return rc;
		row->indexed = true;
		row->whole = rc == -ENOTSUP;
	}
	return row->whole ? -ENOTSUP : field_find(&row->index, p, ret, ret_steps);
}
