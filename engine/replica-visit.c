/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Times of directories. A directory's time is that of its record (mkdir, utimens) or the latest
 * visit that an edge of any node tells of it, whichever is later: a maximum over records, so it
 * is the same on every device that has them. It is kept with the directory's attributes, and, while the
 * directory has no record here (what hangs in it came first, or the directory was taken out of the store before what
 * had visited it), under META_VISIT: each record tells of a visit once, when it comes. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/edge.h"

struct visited {
	struct visited *next;
	struct node node;
	bool over; /* the directory's attributes say so from now on */
};

static uint64_t wall_us(const struct replica *r)
{
	return r->config.wall_us(r->config.userdata);
}

/* What is known of the directory so far goes into n. -ENOENT: nothing. */
static int stored_visit(struct replica *r, const struct id *id, struct node *n)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf v = { 0 };
	meta_key(&key, META_VISIT, id->b, ID_SIZE, NULL, 0);
	int rc = buf_failed(&key) ? -ENOMEM :
				    store_get(r->store, NULL, STORE_META, key.data, key.len, &v);
	if (rc < 0)
		return rc;
	struct cursor c = cursor_make(v.data, v.len);
	uint64_t us = cursor_varint(&c);
	uint8_t cut = cursor_u8(&c);
	if (!cursor_end(&c))
		return -EBADMSG;
	node_visit(n, us, us);
	n->cut |= cut;
	return 0;
}

static struct visited *visited_add(struct commit *c, const struct id *id)
{
	struct visited *v = arena_new(&c->arena, struct visited);
	if (!v)
		return NULL;
	v->node.attr.id = *id;
	v->next = c->visited;
	c->visited = v;
	return v;
}

static int visit_unknown(struct commit *c, const struct id *id, uint64_t us)
{
	struct visited *v = c->visited;
	while (v && !id_equal(&v->node.attr.id, id))
		v = v->next;
	if (!v) {
		v = visited_add(c, id);
		if (!v)
			return -ENOMEM;
		int rc = stored_visit(c->r, id, &v->node);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	node_visit(&v->node, us, wall_us(c->r));
	return 0;
}

/* What was known of a directory that comes now. */
static int take_over(struct commit *c, struct touched *dir)
{
	int rc = stored_visit(c->r, &dir->after.attr.id, &dir->after);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	struct visited *v = visited_add(c, &dir->after.attr.id);
	if (!v)
		return -ENOMEM;
	v->over = true;
	return 0;
}

/* The directory leaves the store. What visited it may stay, and will not tell of it once more if it comes back. */
static int leave_behind(struct commit *c, const struct touched *dir)
{
	if (dir->after.visit_us == 0 && !dir->after.cut)
		return 0;
	struct visited *v = visited_add(c, &dir->after.attr.id);
	if (!v)
		return -ENOMEM;
	v->node.visit_us = dir->after.visit_us;
	v->node.cut = dir->after.cut;
	return 0;
}

/* The clock was ahead when the directory was visited last: its time is what the record says again. */
static int forget_visit(struct commit *c, struct touched *dir)
{
	struct stored s;
	if (dir->after.visit_us <= wall_us(c->r) + HLC_LEAD_US)
		return 0;
	int rc = commit_record(c, &dir->after.attr.id, &s, NULL);
	if (rc == 0)
		node_dir_time(&dir->after, record_mtime_ns(s.record, c->r->actors), wall_us(c->r));
	return rc == -ENOENT ? 0 : rc;
}

static int visit(struct commit *c, const struct id *id, uint64_t us)
{
	struct touched *dir;
	int rc = commit_node(c, id, &dir);
	if (rc == -ENOENT)
		return visit_unknown(c, id, us);
	if (rc == 0 && dir->after.attr.kind == NODE_DIR)
		rc = forget_visit(c, dir);
	if (rc == 0 && dir->after.attr.kind == NODE_DIR &&
	    node_visit(&dir->after, us, wall_us(c->r))) {
		/* Who did it here has seen it when he did. */
		int64_t ns = (int64_t)(c->remote ? wall_us(c->r) : us) * 1000;
		if (ns > dir->after.attr.ctime_ns)
			dir->after.attr.ctime_ns = ns;
	}
	return rc;
}

static bool is_told(const struct record *rec, const struct visit *v)
{
	const struct visit *old = rec ? record_visit(rec, &v->parent) : NULL;
	return old && old->us >= v->us;
}

int commit_visits(struct commit *c)
{
	int rc = 0;
	/* What was known of new directories, before anything that comes with them visits them. */
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if (t->record && !t->had && t->after.attr.kind == NODE_DIR)
			rc = take_over(c, t);
	/* Directories that are touched by it join the list at its end; they have no record. */
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		for (uint32_t i = 0; rc == 0 && t->record && i < t->record->n_visits; i++) {
			const struct visit *v = &t->record->visit[i];
			if (!id_equal(&v->parent, &NODE_TRASH) && !id_equal(&v->parent, &NODE_INODES) &&
			    !is_told(t->old, v))
				rc = visit(c, &v->parent, v->us);
		}
	}
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if (t->gone && t->had && t->after.attr.kind == NODE_DIR)
			rc = leave_behind(c, t);
	return rc;
}

int put_visits(struct commit *c, struct store_batch *b)
{
	for (struct visited *v = c->visited; v; v = v->next) {
		_cleanup_(buf_done) struct buf key = { 0 };
		_cleanup_(buf_done) struct buf value = { 0 };
		meta_key(&key, META_VISIT, v->node.attr.id.b, ID_SIZE, NULL, 0);
		if (!buf_failed(&key) && v->over) {
			store_delete(b, STORE_META, key.data, key.len);
			continue;
		}
		buf_varint(&value, v->node.visit_us);
		buf_u8(&value, v->node.cut);
		if (buf_failed(&key) || buf_failed(&value))
			return -ENOMEM;
		store_put(b, STORE_META, key.data, key.len, value.data, value.len);
	}
	return 0;
}
