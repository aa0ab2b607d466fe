/* SPDX-License-Identifier: GPL-2.0-or-later */

/* rename(2). */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/jdiff.h"
#include "engine/replica-schema-impl.h"

struct rename {
	struct node src, dir, target; /* target: what has the name now */
	bool has_target;
	const struct id *parent;
	const char *name;
	size_t len;
	unsigned flags;
	struct id scope; /* of the new place */
	uint64_t above;  /* of claims to the name that do not show */
};

/* Is dir the node itself or below it? */
static int inside(struct replica *r, const struct id *dir, const struct id *node)
{
	struct id at = *dir;
	while (!id_equal(&at, &NODE_ROOT)) {
		struct node n;
		if (id_equal(&at, node))
			return 1;
		int rc = node_get(r, NULL, &at, &n);
		if (rc < 0)
			return rc;
		at = n.parent;
	}
	return 0;
}

static int rename_check(struct commit *c, const struct id *id, struct rename *m)
{
	struct replica *r = c->r;
	struct id at;
	int rc = node_get(r, &c->arena, id, &m->src);
	if (rc == 0 && !(m->src.flags & NODE_LIVE))
		rc = -ENOENT;
	if (rc == 0)
		rc = dir_get(r, m->parent, &m->dir);
	if (rc < 0)
		return rc;
	child_scope(&m->dir, &m->scope);
	if (m->src.attr.kind == NODE_DIR) {
		rc = inside(r, m->parent, id);
		if (rc != 0)
			return rc < 0 ? rc : -EINVAL;
	}
	rc = name_free(c, m->parent, m->name, m->len, &m->above);
	if (rc == 0)
		return m->flags & RENAME_FLAG_EXCHANGE ? -ENOENT : 0;
	if (rc == -EEXIST)
		rc = dirent_find(r, m->parent, m->name, m->len, &at);
	if (rc == 0)
		rc = node_get(r, &c->arena, &at, &m->target);
	if (rc < 0)
		return rc;
	m->has_target = true;
	if (m->flags & RENAME_FLAG_NOREPLACE)
		return -EEXIST;
	if (id_equal(&at, id))
		return 0;
	if (id_equal(&at, &NODE_LOST))
		return -EBUSY;
	if (m->flags & RENAME_FLAG_EXCHANGE) {
		rc = m->target.attr.kind == NODE_DIR ? inside(r, &m->src.parent, &at) : 0;
		return rc > 0 ? -EINVAL : rc;
	}
	if (m->target.attr.kind == NODE_DIR) {
		if (m->src.attr.kind != NODE_DIR)
			return -EISDIR;
		if (commit_dir_empty(c, &at))
			return 0;
		rc = links_clear(c, &at);
		return rc < 0 ? rc : rc > 0 ? 0 : -ENOTEMPTY;
	}
	return m->src.attr.kind == NODE_DIR ? -ENOTDIR : 0;
}

/* Among several claims the highest stamp shows, and some of them may be higher than what this node
 * has seen. */
int node_move(struct commit *c, const struct id *id, const struct id *parent, const char *name,
	      size_t len)
{
	struct stored s;
	struct claims claims = { 0 };
	const struct record *moved;
	int rc = commit_record(c, id, &s, NULL);
	if (rc == 0)
		rc = record_move(&c->arena, c->r->actors, s.record, parent, name, len, &c->moved,
				 &moved);
	if (rc == 0)
		rc = claims_get(c->r, NULL, &c->arena, parent, name, len, &claims);
	if (rc == -ENOENT)
		rc = 0;
	if (rc < 0)
		return rc;
	if (moved != s.record)
		rc = record_above(&c->arena, claims_highest(&claims, id), &moved);
	return rc == 0 ? commit_put(c, &s, moved, 0, NULL) : rc;
}

int copy_xattrs(struct commit *c, const struct record *from, const struct record *to,
		const struct record **ret)
{
	const struct actors *actors = c->r->actors;
	const struct slot *x = from->top ? slot_find(from->top, TOP_XATTR, strlen(TOP_XATTR)) : NULL;
	int rc = 0;
	*ret = to;
	for (uint32_t i = 0; rc == 0 && x && i < x->n; i++) {
		const struct entry *e = reg_shown(&x->child[i]->val, actors);
		if (e)
			rc = record_set(&c->arena, actors, *ret, TOP_XATTR, x->child[i]->key,
					x->child[i]->key_len, &e->value, NULL, &c->stamp, ret);
	}
	return rc;
}

int draft_of(struct commit *c, const struct record *rec, struct draft *d)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	int rc = version_make(c->r, rec, NULL, &v);
	if (rc < 0)
		return rc;
	if (version_form(v) == FORM_BLOB)
		return blob_ref_encode(&c->arena, version_blob(v), &d->blob);
	d->len = version_size(v);
	d->text = arena_dup(&c->arena, version_data(v), d->len);
	d->plain = version_form(v) == FORM_TEXT;
	if (d->plain)
		return d->text ? 0 : -ENOMEM;
	return d->text ? json_parse(&c->arena, d->text, d->len, NULL, &d->tree, NULL) : -ENOMEM;
}

/* A file or link goes to another collection as a new node: a collection is what devices
 * subscribe to, so one that has the old place only sees it go, one that has the new only sees it come. */
static int copy_over(struct commit *c, const struct rename *m, const struct stored *src,
		     const struct stored *old, const struct id *id)
{
	struct draft d = { 0 };
	struct pointers pointers = { 0 };
	struct difference diff;
	struct arena *a = &c->arena;
	const struct actors *actors = c->r->actors;
	const struct record *rec;
	struct value value;
	uint8_t data[VALUE_INT_MAX];
	enum node_kind kind = m->src.attr.kind;
	int rc = record_begin(c, id, &m->scope, kind, old, m->parent, m->name, m->len,
			      m->src.attr.mode, &rec);
	if (rc == 0)
		rc = record_above(a, m->above, &rec);
	if (rc == 0 && kind == NODE_LINK) {
		if (!content_shown(c->r, src->record, &value))
			value = (struct value){ VALUE_LINK, (const uint8_t *)"", 0 };
		rc = record_set_content(a, actors, rec, &value, NULL, &c->stamp, &rec);
	} else if (rc == 0) {
		rc = draft_of(c, src->record, &d);
		if (rc == 0)
			rc = draft_check(c->r, &m->scope, m->name, m->len, &d, NULL);
		if (rc == 0)
			rc = draft_difference(c->r, a, &m->scope, &d, NULL, &diff);
		if (rc == 0)
			rc = draft_write(c, &d, &diff, rec, NULL, false, &pointers, &rec);
	}
	if (rc == 0)
		rc = copy_xattrs(c, src->record, rec, &rec);
	if (rc == 0) {
		value = value_of_int(m->src.attr.mtime_ns, data);
		rc = record_set(a, actors, rec, TOP_MTIME, NULL, 0, &value, NULL, &c->stamp, &rec);
	}
	if (rc == 0)
		rc = draft_put(c, &d, old, rec, false, &pointers, CHANGE_ATTR, NULL);
	pointers_done(&pointers);
	types_free(d.types);
	return rc;
}

static int across(struct commit *c, const struct rename *m, struct id *ret_id)
{
	struct stored src, old;
	struct id id;
	if (m->src.attr.kind == NODE_DIR || (m->flags & RENAME_FLAG_EXCHANGE))
		return -EXDEV;
	/* What has several names stays with them; mv(1) copies it then. */
	if (m->src.attr.linked || !id_is_zero(&m->src.attr.target))
		return -EXDEV;
	/* Whoever has the contents could write the old file anew before he hears of this one, and nobody would
	 * have them any more; who copies fetches them first. */
	if (absents_get(c->r->absents, &m->src.attr.id) != ABSENT_NOT)
		return -EXDEV;
	int rc = commit_record(c, &m->src.attr.id, &src, NULL);
	if (rc == 0)
		rc = id_choose(c, m->src.attr.kind, m->parent, m->name, m->len,
			       m->has_target && m->target.attr.kind == m->src.attr.kind &&
			       !m->target.attr.linked ?
				       &m->target.attr.id : NULL, &id, &old);
	if (rc == 0)
		rc = copy_over(c, m, &src, &old, &id);
	if (rc == 0 && m->has_target && !id_equal(&m->target.attr.id, &id))
		rc = node_unlink(c, &m->target.attr.id);
	if (rc == 0)
		rc = node_trash(c, &m->src.attr.id);
	if (rc == 0)
		*ret_id = id;
	return rc;
}

static int rename_locked(struct commit *c, const struct id *id, struct rename *m,
			 struct id *ret_id)
{
	int rc = rename_check(c, id, m);
	if (rc < 0)
		return rc;
	*ret_id = *id;
	if (m->has_target && id_equal(&m->target.attr.id, id))
		return 0;
	if (!id_equal(&m->src.attr.scope, &m->scope))
		return across(c, m, ret_id);
	if (m->has_target && !(m->flags & RENAME_FLAG_EXCHANGE))
		rc = node_unlink(c, &m->target.attr.id);
	if (rc == 0 && m->has_target && (m->flags & RENAME_FLAG_EXCHANGE)) {
		if (!id_equal(&m->target.attr.scope, &m->src.attr.scope))
			return -EXDEV;
		rc = node_move(c, &m->target.attr.id, &m->src.parent, m->src.name, m->src.name_len);
	}
	if (rc == 0)
		rc = node_move(c, id, m->parent, m->name, m->len);
	return rc;
}

int replica_rename(struct replica *r, const struct id *id, const struct id *parent, const char *name,
		   size_t len, unsigned flags, struct id *ret_id)
{
	struct rename m = { .parent = parent, .name = name, .len = len, .flags = flags };
	struct commit c;
	struct id now;
	int rc = name_check(name, len);
	if (rc < 0)
		return rc;
	if ((flags & RENAME_FLAG_NOREPLACE) && (flags & RENAME_FLAG_EXCHANGE))
		return -EINVAL;
	if (id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST))
		return -EBUSY;
	commit_begin(&c, r, false);
	rc = rename_locked(&c, id, &m, &now);
	if (rc == 0)
		rc = commit_end(&c, NULL);
	commit_done(&c);
	if (rc == 0 && ret_id)
		*ret_id = now;
	return rc;
}
