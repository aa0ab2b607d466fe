/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What was deleted here, and bringing it back. A deleted node keeps its record, content included; it
 * hangs in TRASH, and its older edges say where it was. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/deleted.h"
#include "engine/edge.h"
#include "engine/history.h"
#include "engine/purged.h"

#define DEPTH_MAX 4096 /* of directories that come back together */

/* ---- what was deleted ---- */

struct known {
	struct table_link link;
	struct id id;
};

struct deletions {
	struct replica *r;
	struct arena *arena; /* the caller's: what is found */
	struct arena scratch;
	struct table seen;
	struct buf values; /* of all entries, oldest first: length, bytes */
	uint32_t n;        /* of them */
};

static void deletions_done(struct deletions *d)
{
	table_done(&d->seen);
	arena_done(&d->scratch);
	buf_done(&d->values);
}

static int load(struct deletions *d)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf end = { 0 };
	store_prefix_end(NODE_TRASH.b, ID_SIZE, &end);
	int rc = store_iter_new(d->r->store, NULL, STORE_HISTORY, NODE_TRASH.b, ID_SIZE, end.data,
				end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		buf_bytes(&d->values, value, len);
		d->n++;
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc == 0 && buf_failed(&d->values) ? -ENOMEM : rc;
}

/* 1: for the first time. */
static int note(struct deletions *d, const struct id *id)
{
	for (struct table_link *l = table_first(&d->seen, id_hash(id)); l; l = l->next)
		if (id_equal(&table_entry(l, struct known, link)->id, id))
			return 0;
	struct known *k = arena_new(&d->scratch, struct known);
	if (!k)
		return -ENOMEM;
	k->id = *id;
	int rc = table_add(&d->seen, &k->link, id_hash(id));
	return rc < 0 ? rc : 1;
}

/* It can be brought back: there is a record, and it is not purged. */
static int is_kept(struct replica *r, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	const struct record *rec;
	int rc = stored_edges(r, &a, id, &value, &rec);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	return !record_is_purged(rec);
}

/* What a hard link named. */
static int find_file(struct replica *r, struct deleted *x)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	struct id target;
	int rc = x->kind == NODE_LINK ? stored_get(r, NULL, &a, &x->id, &s, NULL) : -ENOENT;
	if (rc == 0) {
		link_target(r, s.record, &target);
		rc = id_is_zero(&target) ? -ENOENT : stored_get(r, NULL, &a, &target, &s, NULL);
	}
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	x->file = target;
	x->kind = s.record->kind;
	return 0;
}

/* 1: it belongs in the list. */
static int take(struct deletions *d, const void *value, size_t len, struct deleted *ret)
{
	struct history_deletion h;
	if (history_deletion_decode(d->r->actors, value, len, &h, NULL) < 0)
		return 0; /* verification tells */
	if (h.moved)
		return 0;
	int rc = note(d, &h.node);
	if (rc <= 0)
		return rc;
	rc = node_live(d->r, &h.node);
	if (rc == 0)
		rc = !is_kept(d->r, &h.node);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	*ret = (struct deleted){ .id = h.node, .file = h.node, .kind = h.kind, .parent = h.parent,
				 .name = arena_dup(d->arena, h.name, h.name_len),
				 .name_len = h.name_len, .when_us = h.when_us, .actor = h.actor };
	rc = ret->name ? find_file(d->r, ret) : -ENOMEM;
	return rc < 0 ? rc : 1;
}

int replica_deleted(struct replica *r, struct arena *a, struct deleted **ret, uint32_t *ret_n)
{
	_cleanup_(deletions_done) struct deletions d = { .r = r, .arena = a };
	int rc = load(&d);
	if (rc < 0)
		return rc;
	struct deleted *all = arena_array(a, d.n ? d.n : 1, sizeof(*all));
	const uint8_t **value = arena_array(&d.scratch, d.n ? d.n : 1, sizeof(*value));
	size_t *len = arena_array(&d.scratch, d.n ? d.n : 1, sizeof(*len));
	if (!all || !value || !len)
		return -ENOMEM;
	struct cursor c = cursor_make(d.values.data, d.values.len);
	for (uint32_t i = 0; i < d.n; i++)
		value[i] = cursor_bytes(&c, SIZE_MAX, &len[i]);
	uint32_t n = 0;
	for (uint32_t i = d.n; i-- > 0;) {
		rc = take(&d, value[i], len[i], &all[n]);
		if (rc < 0)
			return rc;
		n += (uint32_t)rc;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int replica_deleted_place(struct replica *r, struct arena *a, const struct id *file, struct deleted *ret)
{
	_cleanup_(deletions_done) struct deletions d = { .r = r, .arena = a };
	struct deleted x;
	int found = -ENOENT, rc = load(&d);
	if (rc < 0)
		return rc;
	struct cursor c = cursor_make(d.values.data, d.values.len);
	for (uint32_t i = 0; i < d.n; i++) {
		struct history_deletion h;
		size_t len;
		const uint8_t *value = cursor_bytes(&c, SIZE_MAX, &len);
		if (history_deletion_decode(r->actors, value, len, &h, NULL) < 0 || h.moved)
			continue;
		x = (struct deleted){ .id = h.node, .file = h.node, .kind = h.kind, .parent = h.parent,
				      .name_len = h.name_len, .when_us = h.when_us, .actor = h.actor };
		/* Only links are looked at any closer. */
		rc = id_equal(&h.node, file) ? 0 : find_file(r, &x);
		if (rc < 0)
			return rc;
		if (!id_equal(&x.file, file))
			continue;
		x.name = arena_dup(a, h.name, h.name_len);
		if (!x.name)
			return -ENOMEM;
		*ret = x;
		found = 0;
	}
	return found;
}

/* ---- bringing back ---- */

static const struct edge *last_place(const struct record *rec)
{
	for (uint32_t i = 0; i < rec->n_edges; i++)
		if (!edge_is_trash(&rec->edge[i]) && !edge_is_inodes(&rec->edge[i]))
			return &rec->edge[i];
	return NULL;
}

static int check_free(struct commit *c, const struct id *parent, const char *name, size_t len,
		      struct err *e)
{
	struct id other;
	int rc = dirent_find(c->r, parent, name, len, &other);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	if (link_state(c->r, &other) == LINK_WAITS)
		return 0;
	return err_set(e, -EEXIST, "something else has the name \"%.*s\" now", (int)len, name);
}

/* The node goes to where it was, then the directory that it was in, and so on up to one that is
 * there. */
static int bring_back(struct commit *c, const struct id *node, struct err *e)
{
	struct id id = *node;
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		struct stored s;
		int rc = commit_record(c, &id, &s, e);
		if (rc < 0)
			/* A directory that never came here: its files are in lost+found without it. */
			return rc == -ENOENT && depth > 0 ? 0 : rc;
		const struct edge *at = last_place(s.record);
		if (!at)
			return err_set(e, -ENOENT, "nobody knows where it was");
		rc = check_free(c, &at->parent, at->name, at->name_len, e);
		if (rc == 0)
			rc = node_move(c, &id, &at->parent, at->name, at->name_len);
		if (rc == 0 && !id_equal(&at->parent, &NODE_ROOT))
			rc = node_live(c->r, &at->parent);
		else if (rc == 0)
			rc = 1;
		if (rc != 0)
			return rc < 0 ? rc : 0;
		id = at->parent;
	}
	return -ELOOP;
}

static int put_there(struct commit *c, const struct id *id, const struct id *parent, const char *name,
		     size_t len, struct err *e)
{
	struct stored s;
	struct node dir;
	struct id scope;
	int rc = dir_get(c->r, parent, &dir);
	if (rc == 0)
		rc = check_free(c, parent, name, len, e);
	if (rc == 0)
		rc = commit_record(c, id, &s, e);
	if (rc < 0)
		return rc;
	child_scope(&dir, &scope);
	if (!id_equal(&scope, &s.record->scope))
		return err_set(e, -EXDEV, "it belongs to another collection");
	return node_move(c, id, parent, name, len);
}

int replica_undelete(struct replica *r, const struct id *id, const struct id *parent,
		     const char *name, size_t len, struct err *e)
{
	struct commit c;
	int rc = parent ? name_check(name, len) : 0;
	if (rc < 0)
		return err_errno(e, rc, "not a name for a file");
	commit_begin(&c, r, false);
	rc = node_live(r, id);
	if (rc > 0)
		rc = err_set(e, -ENOENT, "it is not deleted");
	else if (rc == 0 && !is_kept(r, id))
		rc = err_set(e, -ENOENT, "it was deleted so long ago that what it held is gone (history.purge)");
	else if (rc == 0 && link_state(r, id) == LINK_IDLE)
		rc = err_set(e, -ENOENT, "it was a hard link to what can have none");
	else if (rc == 0)
		rc = parent ? put_there(&c, id, parent, name, len, e) : bring_back(&c, id, e);
	if (rc < 0 && e && !e->code)
		err_errno(e, rc, "cannot bring it back");
	if (rc == 0)
		rc = commit_end(&c, e);
	commit_done(&c);
	return rc;
}
