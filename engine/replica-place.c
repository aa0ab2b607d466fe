/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Where changed nodes hang, without looking at the whole tree.
 *
 * Nearly always every node hangs at its newest edge and a walk up from there ends at the root. A
 * node for which it does not (a cycle of concurrent moves, a parent that is not known) is loose;
 * loose nodes are kept in memory with their edges, and in STORE_META. Two facts keep the work
 * small:
 *   - tree_resolve can only place loose nodes elsewhere than at their newest edge, and only their
 *     edges matter to it beyond which other nodes are rooted;
 *   - a change leaves the others as they are if the changed node was not loose, is not now, and
 *     no loose node may hang at it for the first time.
 * Otherwise the loose ones, the changed ones and what comes loose with them are resolved anew.
 *
 * Only what is alive by its own record needs to be among the loose, and directories that are not
 * join when an edge leads to them: a dead directory with nothing alive below shows nowhere. */

#include "engine/replica-impl.h"

#include <errno.h>

#define WALK_MAX 1000000 /* longer than any path: a loop */

struct member {
	struct table_link link;
	struct member *next;
	struct tree_node node;
};

struct members {
	struct commit *c;
	struct table table;
	struct member *first, **last;
	uint32_t n;
};

static struct loose *loose_find(const struct replica *r, const struct id *id)
{
	for (struct table_link *l = table_first(&r->loose, id_hash(id)); l; l = l->next) {
		struct loose *loose = (struct loose *)l;
		if (id_equal(&loose->node.id, id))
			return loose;
	}
	return NULL;
}

static struct member *member_find(const struct members *m, const struct id *id)
{
	if (!m)
		return NULL;
	for (struct table_link *l = table_first(&m->table, id_hash(id)); l; l = l->next) {
		struct member *member = (struct member *)l;
		if (id_equal(&member->node.id, id))
			return member;
	}
	return NULL;
}

static bool is_top(const struct id *id)
{
	return id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST) || id_equal(id, &NODE_INODES);
}

void tree_node_of(struct tree_node *node, const struct record *rec, bool linked)
{
	tree_node_init(node, &rec->id, rec->edge, rec->n_edges, record_alive(rec),
		       rec->kind != NODE_DIR);
	node->kind = rec->kind;
	if (linked)
		tree_node_linked(node, rec->edge, rec->n_edges);
}

/* 1: newest edges lead from here to the root; 0: they do not, or pass `avoid`, something loose or
 * a member. */
static int walk(struct commit *c, const struct members *m, const struct id *from,
		const struct id *avoid)
{
	struct id at = *from;
	for (unsigned step = 0; step < WALK_MAX; step++) {
		struct node n;
		if (is_top(&at))
			return 1;
		if ((avoid && id_equal(&at, avoid)) || loose_find(c->r, &at) || member_find(m, &at))
			return 0;
		struct touched *t = commit_touched(c, &at);
		if (t && t->record) {
			struct tree_node node;
			tree_node_of(&node, t->record, t->after.attr.linked);
			if (node.leaf)
				return 0;
			if (node.n == 0)
				return 1; /* in lost+found, which is a root */
			at = node.edge[0].parent;
			continue;
		}
		int rc = node_get(c->r, NULL, &at, &n);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
		if (n.attr.kind != NODE_DIR)
			return 0;
		at = n.parent;
	}
	return 0;
}

/* 1: from where it was placed at last one comes to the root, not to lost+found. */
static int placed_in_root(struct commit *c, const struct id *from)
{
	struct id at = *from;
	for (unsigned step = 0; step < WALK_MAX; step++) {
		struct node n;
		if (is_top(&at))
			return id_equal(&at, &NODE_ROOT);
		struct touched *t = commit_touched(c, &at);
		if (t && t->record)
			return 0;
		int rc = node_get(c->r, NULL, &at, &n);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
		if (n.attr.kind != NODE_DIR)
			return 0;
		at = n.parent;
	}
	return 0;
}

static bool same_edges(const struct record *x, const struct record *y)
{
	if (!x || x->n_edges != y->n_edges)
		return false;
	for (uint32_t i = 0; i < x->n_edges; i++)
		if (x->edge[i].counter != y->edge[i].counter ||
		    x->edge[i].dot.actor != y->edge[i].dot.actor ||
		    x->edge[i].dot.seq != y->edge[i].dot.seq ||
		    !id_equal(&x->edge[i].parent, &y->edge[i].parent))
			return false;
	return true;
}

void node_place(struct node *n, const struct tree_node *at, struct arena *a)
{
	const struct edge *e = at->place != TREE_LOST ? &at->edge[at->place] :
			       at->n > 0	      ? &at->edge[0] :
							NULL;
	n->parent = at->place != TREE_LOST ? e->parent : NODE_LOST;
	n->counter = e ? e->counter : 0;
	n->actor = e ? e->dot.actor : ACTOR_NONE;
	n->name = e ? e->name : NULL;
	n->name_len = e ? e->name_len : 0;
	if (!e) { /* deleted before it was ever seen anywhere */
		char hex[ID_HEX];
		n->name = arena_dup(a, id_hex(&at->id, hex), ID_HEX - 1);
		n->name_len = n->name ? ID_HEX - 1 : 0;
	}
}

/* What becomes of the loose set, to be written and taken over at the commit's end. */
static int mark(struct commit *c, const struct tree_node *node, bool is_loose)
{
	bool was = loose_find(c->r, &node->id);
	if (is_loose) {
		c->loose_add[c->n_loose_add] = node->id;
		c->loose_node[c->n_loose_add++] = *node;
	} else if (was) {
		c->loose_drop[c->n_loose_drop++] = node->id;
	}
	return 0;
}

static int mark_room(struct commit *c, uint32_t n)
{
	c->loose_add = arena_array(&c->arena, n, sizeof(*c->loose_add));
	c->loose_drop = arena_array(&c->arena, n, sizeof(*c->loose_drop));
	c->loose_node = arena_array(&c->arena, n, sizeof(*c->loose_node));
	return c->loose_add && c->loose_drop && c->loose_node ? 0 : -ENOMEM;
}

static int member_add(struct members *m, const struct tree_node *node, struct member **ret)
{
	struct member *member = arena_new(&m->c->arena, struct member);
	if (!member)
		return -ENOMEM;
	member->node = *node;
	int rc = table_add(&m->table, &member->link, id_hash(&node->id));
	if (rc < 0)
		return rc;
	*m->last = member;
	m->last = &member->next;
	m->n++;
	if (ret)
		*ret = member;
	return 0;
}

static int member_load(struct members *m, const struct id *id)
{
	struct stored s;
	struct tree_node node;
	if (member_find(m, id))
		return 0;
	int rc = commit_record(m->c, id, &s, NULL);
	if (rc < 0)
		return rc;
	const struct touched *t = commit_touched(m->c, id);
	struct node n = { 0 };
	if (!t)
		rc = node_get(m->c->r, NULL, id, &n);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	tree_node_of(&node, s.record, t ? t->after.attr.linked : n.attr.linked);
	return member_add(m, &node, NULL);
}

/* All that hangs below a directory that has come loose; itself is a member. */
static int members_below(struct members *m, const struct id *top)
{
	_cleanup_(buf_done) struct buf todo = { 0 };
	int rc = 0;
	buf_put(&todo, top->b, ID_SIZE);
	while (rc == 0 && todo.len > 0) {
		struct id at, *child;
		uint32_t n;
		todo.len -= ID_SIZE;
		memcpy(at.b, todo.data + todo.len, ID_SIZE);
		rc = commit_children(m->c, &at, &child, &n);
		for (uint32_t i = 0; rc == 0 && i < n; i++) {
			if (member_find(m, &child[i]))
				continue;
			rc = member_load(m, &child[i]);
			if (rc == 0 && !member_find(m, &child[i])->node.leaf)
				buf_put(&todo, child[i].b, ID_SIZE);
		}
		if (buf_failed(&todo))
			return -ENOMEM;
	}
	return rc;
}

static int gather(struct members *m)
{
	struct commit *c = m->c;
	struct replica *r = c->r;
	int rc = 0;
	table_each(&r->loose, i, l, next) {
		const struct loose *loose = (const struct loose *)l;
		struct touched *t = commit_touched(c, &loose->node.id);
		struct tree_node node = loose->node;
		if (t && t->record)
			tree_node_of(&node, t->record, t->after.attr.linked);
		/* The loose set may let go of its names before the commit does. */
		for (uint32_t k = 0; k < node.n; k++) {
			struct edge *e = &node.edge[k];
			e->name = arena_dup(&c->arena, e->name, e->name_len);
			if (!e->name)
				return -ENOMEM;
		}
		rc = member_add(m, &node, NULL);
		if (rc < 0)
			return rc;
	}
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if (t->record)
			rc = member_load(m, &t->record->id);
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		if (!t->record || t->record->kind != NODE_DIR || !t->had ||
		    loose_find(r, &t->record->id))
			continue;
		const struct member *self = member_find(m, &t->record->id);
		/* Only a directory that comes loose takes what is in it along. */
		if (self->node.n > 0 && walk(c, NULL, &self->node.edge[0].parent, &self->node.id) == 1)
			continue;
		rc = members_below(m, &t->record->id);
	}
	for (struct member *x = m->first; rc == 0 && x; x = x->next) {
		for (uint32_t k = 0; rc == 0 && k < x->node.n; k++) {
			const struct id *p = &x->node.edge[k].parent;
			struct node n;
			if (is_top(p) || member_find(m, p))
				continue;
			rc = node_get(c->r, NULL, p, &n);
			if (rc == -ENOENT || (rc == 0 && n.attr.kind != NODE_DIR)) {
				rc = 0;
				continue;
			}
			if (rc == 0)
				rc = walk(c, m, p, NULL);
			if (rc == 0)
				rc = member_load(m, p);
			else if (rc > 0)
				rc = 0;
		}
	}
	return rc;
}

/* Every known directory that is not a member has a path to the root (see gather). */
static bool outside_rooted(const struct id *parent, void *userdata)
{
	struct commit *c = userdata;
	struct node n;
	return node_get(c->r, NULL, parent, &n) == 0 && n.attr.kind == NODE_DIR;
}

static int settle(struct commit *c, const struct tree_node *node)
{
	struct touched *t = commit_touched(c, &node->id);
	struct node at = { 0 };
	int rc = mark(c, node, node->loose && (node->alive || !node->leaf));
	if (rc < 0 || (node->leaf && !node->alive))
		return rc;
	node_place(&at, node, &c->arena);
	if (!t || !t->record) {
		rc = commit_node(c, &node->id, &t);
		if (rc < 0)
			return rc;
	}
	t->after.parent = at.parent;
	t->after.name = at.name;
	t->after.name_len = at.name_len;
	t->after.counter = at.counter;
	t->after.actor = at.actor;
	return 0;
}

static int resolve(struct commit *c)
{
	struct members m = { .c = c };
	m.last = &m.first;
	int rc = gather(&m);
	table_done(&m.table);
	if (rc < 0)
		return rc;
	struct tree_node *node = arena_array(&c->arena, m.n ? m.n : 1, sizeof(*node));
	uint32_t n = 0;
	if (!node)
		return -ENOMEM;
	for (struct member *x = m.first; x; x = x->next)
		node[n++] = x->node;
	rc = tree_resolve(node, n, c->r->actors, outside_rooted, c);
	if (rc == 0)
		rc = mark_room(c, n ? n : 1);
	c->n_loose_add = c->n_loose_drop = 0;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = settle(c, &node[i]);
	return rc;
}

/* Does a loose node have an edge to this directory? */
static bool awaited(const struct replica *r, const struct id *id)
{
	table_each(&r->loose, i, l, next) {
		const struct tree_node *node = &((const struct loose *)l)->node;
		for (uint32_t k = 0; k < node->n; k++)
			if (id_equal(&node->edge[k].parent, id))
				return true;
	}
	return false;
}

/* Places one node by itself; 0 when the others may have to move as well, 1 when it is done. */
static int place_alone(struct commit *c, struct touched *t)
{
	struct tree_node node;
	tree_node_of(&node, t->record, t->after.attr.linked);
	bool was_loose = loose_find(c->r, &node.id);
	if (node.leaf && !node.alive) {
		if (was_loose)
			mark(c, &node, false);
		return 1;
	}
	if (t->had && same_edges(t->old, t->record) &&
	    t->before.attr.linked == t->after.attr.linked)
		return 1;
	if (was_loose && !node.leaf)
		return 0;
	if (!node.leaf && !t->had && c->r->loose.n > 0 && awaited(c->r, &node.id))
		return 0;
	int rc = node.n > 0 ? walk(c, NULL, &node.edge[0].parent, &node.id) : 1;
	if (rc == 0 && !t->old && node.n == 1) {
		/* New, with one place to be at, and nothing hangs at it. */
		rc = placed_in_root(c, &node.edge[0].parent);
		if (rc == 1) {
			node.loose = true;
			mark(c, &node, true);
		}
	} else if (rc == 1 && was_loose) {
		mark(c, &node, false);
	}
	if (rc < 1)
		return rc;
	node.place = node.n > 0 ? 0 : TREE_LOST;
	node_place(&t->after, &node, &c->arena);
	return 1;
}

int commit_place(struct commit *c)
{
	uint32_t n = 0;
	bool all = true;
	for (struct touched *t = c->first; t; t = t->next)
		n += t->record || t->gone;
	int rc = mark_room(c, n ? n : 1);
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if (t->gone && loose_find(c->r, &t->after.attr.id))
			c->loose_drop[c->n_loose_drop++] = t->after.attr.id;
	for (struct touched *t = c->first; rc == 0 && all && t; t = t->next) {
		if (!t->record)
			continue;
		rc = place_alone(c, t);
		if (rc == 0)
			all = false;
		else if (rc > 0)
			rc = 0;
	}
	return rc < 0 || all ? rc : resolve(c);
}

/* ---- the set in memory ---- */

bool loose_has(const struct replica *r, const struct id *id)
{
	return loose_find(r, id);
}

static void loose_free(struct replica *r, struct loose *l)
{
	table_remove(&r->loose, &l->link);
	free(l->names);
	free(l);
}

static int loose_put(struct replica *r, const struct tree_node *node)
{
	size_t len = 0, at = 0;
	for (uint32_t i = 0; i < node->n; i++)
		len += node->edge[i].name_len;
	struct loose *old = loose_find(r, &node->id), *l = calloc(1, sizeof(*l));
	char *names = malloc(len + 1);
	if (!l || !names) {
		free(l);
		free(names);
		return -ENOMEM;
	}
	l->node = *node;
	l->names = names;
	for (uint32_t i = 0; i < node->n; i++) {
		struct edge *e = &l->node.edge[i];
		memcpy(names + at, e->name, e->name_len);
		e->name = names + at;
		e->seen = (struct vv){ 0 };
		at += e->name_len;
	}
	if (table_add(&r->loose, &l->link, id_hash(&node->id)) < 0) {
		free(l);
		free(names);
		return -ENOMEM;
	}
	if (old)
		loose_free(r, old);
	return 0;
}

void loose_update(struct commit *c)
{
	for (uint32_t i = 0; i < c->n_loose_drop; i++) {
		struct loose *l = loose_find(c->r, &c->loose_drop[i]);
		if (l)
			loose_free(c->r, l);
	}
	for (uint32_t i = 0; i < c->n_loose_add; i++)
		loose_put(c->r, &c->loose_node[i]);
}

int loose_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t first = META_LOOSE, end = META_LOOSE + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct stored s;
		struct tree_node node;
		struct id id;
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		if (len != 1 + ID_SIZE)
			return err_set(e, -EBADMSG, "a damaged key in the database");
		memcpy(id.b, key + 1, ID_SIZE);
		rc = stored_get(r, NULL, &a, &id, &s, e);
		if (rc == 0) {
			struct node n = { 0 };
			node_get(r, NULL, &id, &n);
			tree_node_of(&node, s.record, n.attr.linked);
			rc = loose_put(r, &node);
		}
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc;
}

void loose_done(struct replica *r)
{
	table_each(&r->loose, i, l, next)
		loose_free(r, (struct loose *)l);
	table_done(&r->loose);
}
