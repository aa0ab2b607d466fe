/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Hard links (shoal-crdt(7), "Hard links").
 *
 * A node hangs at one place. A file that gets a second name goes to INODES, which is shown nowhere, and
 * each of its names is a node of its own from there on: a link whose content is not a path but the
 * id of the file (VALUE_NODE). So names come, move and go apart from each other as any nodes do, and
 * lookups lead through them. The file is live as long as one of its links is alive; it needs no names of its
 * own for that, but who takes away the last one that he sees deletes the file, too, as far as he has seen it
 * (an edge to TRASH). When no link is left, what was written into it meanwhile brings it back to where it was
 * before, and so does everything if nobody thought that he took the last one.
 *
 * The index META_LINK says which links are alive; each commit that changes one derives the file anew. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/purged.h"

#define WHOLE_MAX (1u << 20) /* bytes of a file that others take in at one moment with its names */
#define KEY_SIZE (1 + 3 * ID_SIZE)

/* The links of one collection stand together: others, which a peer may make up, are not looked at. */
static void index_key(const struct id *target, const struct id *scope, const struct id *link,
		      uint8_t key[static KEY_SIZE])
{
	key[0] = META_LINK;
	memcpy(key + 1, target->b, ID_SIZE);
	memcpy(key + 1 + ID_SIZE, scope->b, ID_SIZE);
	memcpy(key + 1 + 2 * ID_SIZE, link->b, ID_SIZE);
}

/* The links of one file, or of all (target NULL). */
static int index_iter(struct replica *r, const struct store_snapshot *snap, const struct id *target,
		      const struct id *scope, struct store_iter **ret)
{
	uint8_t from[1 + 2 * ID_SIZE] = { META_LINK };
	_cleanup_(buf_done) struct buf end = { 0 };
	size_t len = target ? sizeof(from) : 1;
	if (target) {
		memcpy(from + 1, target->b, ID_SIZE);
		memcpy(from + 1 + ID_SIZE, scope->b, ID_SIZE);
	}
	store_prefix_end(from, len, &end);
	if (buf_failed(&end))
		return -ENOMEM;
	return store_iter_new(r->store, snap, STORE_META, from, len, end.data, end.len, ret);
}

static int index_link(const struct store_iter *it, struct id *ret)
{
	size_t len;
	const uint8_t *key = store_iter_key(it, &len);
	if (len != KEY_SIZE)
		return -EBADMSG;
	memcpy(ret->b, key + 1 + 2 * ID_SIZE, ID_SIZE);
	return 0;
}

void link_target(const struct replica *r, const struct record *rec, struct id *ret)
{
	struct value v;
	*ret = (struct id){ 0 };
	if (rec->kind == NODE_LINK && content_shown(r, rec, &v) && v.kind == VALUE_NODE)
		memcpy(ret->b, v.data, ID_SIZE);
}

bool link_holds(const struct attr *link, const struct attr *file)
{
	return file->kind != NODE_DIR && id_is_zero(&file->target) &&
	       id_equal(&file->scope, &link->scope);
}

int link_follow(struct replica *r, struct attr *at)
{
	const struct attr link = *at;
	if (id_is_zero(&link.target))
		return 0;
	int rc = replica_attr(r, &link.target, at);
	if (rc == 0 && !link_holds(&link, at))
		rc = -ENOENT;
	at->entry = link.entry;
	return rc;
}

/* Calls f for each link to the file that is alive in the store. What it returns other than 0 ends it. */
static int each_link(struct replica *r, const struct record *file, const struct id *id,
		     int (*f)(const struct node *link, void *userdata), void *userdata)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	struct node link, of = { 0 };
	int rc = 0;
	if (file)
		of.attr = (struct attr){ .kind = file->kind, .scope = file->scope };
	else
		rc = node_get(r, NULL, id, &of);
	if (rc == 0)
		rc = index_iter(r, NULL, id, &of.attr.scope, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id at;
		rc = index_link(it, &at);
		if (rc == 0)
			rc = node_get(r, NULL, &at, &link);
		if (rc == -ENOENT) /* the index is wrong: verify tells */
			rc = 0;
		else if (rc == 0 && link_holds(&link.attr, &of.attr))
			rc = f(&link, userdata);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int link_each(struct replica *r, const struct store_snapshot *snap, const struct id *target, const struct id *scope,
	      int (*f)(const struct id *link, void *userdata), void *userdata)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = index_iter(r, snap, target, scope, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id at;
		rc = index_link(it, &at);
		if (rc == 0)
			rc = f(&at, userdata);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static int count_one(const struct node *link, void *userdata)
{
	(void)link;
	return ++*(uint32_t *)userdata == LINKS_MAX;
}

int replica_links(struct replica *r, const struct id *id, uint32_t *ret)
{
	struct node n;
	*ret = 0;
	int rc = node_get(r, NULL, id, &n);
	if (rc < 0 || !n.attr.linked)
		return rc == -ENOENT ? 0 : rc;
	rc = each_link(r, NULL, id, count_one, ret);
	if (rc < 0)
		return rc;
	/* A name of its own counts as well. */
	if ( id_equal(&n.parent, &NODE_INODES) && *ret > 0)
		--*ret;
	return 0;
}

static int take_first(const struct node *link, void *userdata)
{
	*(struct id *)userdata = link->attr.id;
	return 1;
}

int link_first(struct replica *r, struct arena *a, const struct id *id, struct node *ret)
{
	struct id first;
	int rc = each_link(r, NULL, id, take_first, &first);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	return node_get(r, a, &first, ret);
}

enum link_state link_state(struct replica *r, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	struct attr link = { 0 }, file = { 0 };
	struct node n;
	if (stored_get(r, NULL, &a, id, &s, NULL) < 0)
		return LINK_SHOWS;
	link_target(r, s.record, &link.target);
	if (id_is_zero(&link.target))
		return LINK_SHOWS;
	link.scope = s.record->scope;
	if (stored_get(r, NULL, &a, &link.target, &s, NULL) < 0)
		return LINK_WAITS;
	file.kind = s.record->kind;
	file.scope = s.record->scope;
	link_target(r, s.record, &file.target);
	if (!link_holds(&link, &file))
		return LINK_IDLE;
	return node_get(r, NULL, &link.target, &n) == 0 && (n.flags & NODE_LIVE) ? LINK_SHOWS :
										     LINK_WAITS;
}

/* ---- a commit ---- */

static bool in_inodes(const struct record *rec)
{
	for (uint32_t i = 0; i < rec->n_edges; i++)
		if (edge_is_inodes(&rec->edge[i]))
			return true;
	return false;
}

/* The file has a name more, or less. */
static int touch_file(struct commit *c, const struct id *id)
{
	struct stored s;
	struct id target;
	int rc = commit_record(c, id, &s, NULL);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	/* What a peer may have made up: chains of links, links to directories. */
	link_target(c->r, s.record, &target);
	if (s.record->kind == NODE_DIR || !id_is_zero(&target))
		return 0;
	struct touched *t = commit_touched(c, id);
	const bool same = !t || !t->record;
	rc = commit_put(c, &s, s.record, CHANGE_ATTR, &t);
	if (rc == 0)
		t->same |= same;
	return rc;
}

int links_touch(struct commit *c)
{
	/* Files join the list at its end. */
	for (struct touched *t = c->first; t; t = t->next) {
		const struct id none = { 0 };
		struct id was = t->had && (t->before.flags & NODE_ALIVE) ? t->before.attr.target : none;
		int rc = 0;
		if (!t->record)
			continue;
		link_target(c->r, t->record, &t->target);
		if (id_is_zero(&t->target) && id_is_zero(&was))
			continue;
		t->next_link = c->links;
		c->links = t;
		const struct id is = record_alive(t->record) ? t->target : none;
		if (id_equal(&was, &is))
			continue;
		if (!id_is_zero(&was))
			rc = touch_file(c, &was);
		if (rc == 0 && !id_is_zero(&is))
			rc = touch_file(c, &is);
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct looking {
	struct commit *c;
	bool found;
};

static int still_there(const struct node *link, void *userdata)
{
	struct looking *l = userdata;
	const struct touched *t = commit_touched(l->c, &link->attr.id);
	/* Those of the commit have been looked at. */
	l->found = !t || !t->record;
	return l->found;
}

int link_alive(struct commit *c, const struct record *file, bool *ret)
{
	const struct attr of = { .kind = file->kind, .scope = file->scope };
	struct looking l = { .c = c };
	struct id target;
	*ret = false;
	link_target(c->r, file, &target);
	if (file->kind == NODE_DIR || !in_inodes(file) || !id_is_zero(&target) || record_is_purged(file))
		return 0;
	for (const struct touched *t = c->links; t; t = t->next_link) {
		const struct attr link = { .scope = t->record->scope };
		*ret = id_equal(&t->target, &file->id) && record_alive(t->record) &&
		       link_holds(&link, &of);
		if (*ret)
			break;
	}
	if (*ret)
		return 0;
	int rc = each_link(c->r, file, &file->id, still_there, &l);
	*ret = l.found;
	return rc < 0 ? rc : 0;
}

static int appear(const struct node *link, void *userdata)
{
	struct commit *c = userdata;
	struct touched *t;
	struct node n;
	char *name = arena_alloc(&c->arena, NAME_MAX_BYTES + 1);
	int rc = name ? commit_node(c, &link->attr.id, &t) : -ENOMEM;
	if (rc < 0 || t->record)
		return rc == -ENOENT ? 0 : rc;
	rc = node_get(c->r, &c->arena, &link->attr.id, &n);
	if (rc == 0)
		rc = dirent_shown(c->r, &n, name);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	t->target = link->attr.target;
	t->is = (struct place){ n.parent, name, strlen(name) };
	return 0;
}

int links_appear(struct commit *c)
{
	for (struct touched *t = c->first; t; t = t->next) {
		if (!t->record || !(t->after.flags & NODE_LIVE) ||
		    (t->had && (t->before.flags & NODE_LIVE)) ||
		    !id_equal(&t->after.parent, &NODE_INODES))
			continue;
		int rc = each_link(c->r, t->record, &t->record->id, appear, c);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- making ---- */

/* As a name gives an id to a document: two devices that make one link make one node. */
static int link_id(struct commit *c, const struct id *target, const struct id *parent, const char *name,
	    size_t len, struct id *ret, struct stored *ret_old)
{
	struct replica *r = c->r;
	*ret_old = (struct stored){ 0 };
	for (uint32_t g = 0; g < GENERATIONS_MAX; g++) {
		const uint8_t generation[4] = { 0, 0, (uint8_t)(g >> 8), (uint8_t)g };
		const struct sha256_part part[] = { { "link", 4 },
						    { parent->b, ID_SIZE },
						    { name, len },
						    { target->b, ID_SIZE },
						    { generation, sizeof(generation) } };
		struct node n;
		sha256_id(part, 5, ret);
		int rc = node_get(r, NULL, ret, &n);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		if (rc == 0 && (n.flags & NODE_LIVE))
			continue;
		rc = commit_record(c, ret, ret_old, NULL);
		if (rc == 0 && record_is_spent(ret_old->record)) {
			*ret_old = (struct stored){ 0 };
			continue;
		}
		return rc == -ENOENT ? 0 : rc;
	}
	r->config.random(r->config.userdata, ret->b, ID_SIZE);
	return 0;
}

struct linking {
	const struct id *parent;
	const char *name;
	size_t len;
	struct attr file;
	struct id scope;
	uint64_t above; /* of claims to the name that do not show */
};

static int link_check(struct commit *c, const struct id *id, struct linking *l)
{
	struct node dir;
	int rc = replica_attr(c->r, id, &l->file);
	if (rc == 0)
		rc = link_follow(c->r, &l->file);
	if (rc == 0 && l->file.kind == NODE_DIR)
		rc = -EPERM;
	if (rc == 0)
		rc = dir_get(c->r, l->parent, &dir);
	if (rc < 0)
		return rc;
	child_scope(&dir, &l->scope);
	uint32_t links;
	rc = replica_links(c->r, &l->file.id, &links);
	if (rc == 0 && links + 1 >= LINKS_MAX)
		rc = -EMLINK;
	if (rc < 0)
		return rc;
	if (!id_equal(&l->scope, &l->file.scope))
		return -EXDEV;
	return name_free(c, l->parent, l->name, l->len, &l->above);
}

/* A node for a name of the file, above other claims to the name. */
static int name_file(struct commit *c, const struct linking *l, const struct id *parent, const char *name,
		     size_t len, uint64_t above, struct id *ret)
{
	struct stored old;
	const struct record *rec;
	const struct value v = { VALUE_NODE, l->file.id.b, ID_SIZE };
	int rc = link_id(c, &l->file.id, parent, name, len, ret, &old);
	if (rc == 0)
		rc = record_begin(c, ret, &l->file.scope, NODE_LINK, &old, parent, name, len,
				  mode_normal(NODE_LINK), &rec);
	if (rc == 0)
		rc = record_set_content(&c->arena, c->r->actors, rec, &v, NULL, &c->stamp, &rec);
	if (rc == 0)
		rc = record_above(&c->arena, above, &rec);
	return rc == 0 ? commit_put(c, &old, rec, CHANGE_CONTENT | CHANGE_ATTR, NULL) : rc;
}

static int to_inodes(struct commit *c, const struct id *id, const char *name, size_t len)
{
	struct stored s;
	const struct record *rec;
	int rc = commit_record(c, id, &s, NULL);
	if (rc == 0)
		rc = record_move(&c->arena, c->r->actors, s.record, &NODE_INODES, name, len, &c->moved,
				 &rec);
	return rc == 0 ? commit_put(c, &s, rec, CHANGE_ATTR, NULL) : rc;
}

/* The file's own name becomes a link. */
static int turn_name(struct commit *c, const struct linking *l)
{
	struct claims claims = { 0 };
	struct node n;
	char shown[NAME_MAX_BYTES + 1];
	struct id first;
	int rc = node_get(c->r, &c->arena, &l->file.id, &n);
	if (rc == 0 && id_equal(&n.parent, &NODE_INODES))
		return 0;
	if (rc == 0 && id_equal(&n.parent, &NODE_LOST))
		return -EPERM;
	if (rc == 0)
		rc = dirent_shown(c->r, &n, shown);
	if (rc == 0)
		rc = claims_get(c->r, NULL, &c->arena, &n.parent, n.name, n.name_len, &claims);
	if (rc < 0)
		return rc;
	/* Whoever shows under a name because the highest claim to it is his keeps it so. */
	rc = name_file(c, l, &n.parent, shown, strlen(shown),
		       id_equal(&claims.claim[0].id, &n.attr.id) ? claims_highest(&claims, NULL) : 0,
		       &first);
	return rc == 0 ? to_inodes(c, &l->file.id, n.name, n.name_len) : rc;
}

static int link_locked(struct commit *c, const struct id *id, struct linking *l, struct id *ret)
{
	int rc = link_check(c, id, l);
	if (rc == 0)
		rc = turn_name(c, l);
	if (rc == 0)
		rc = name_file(c, l, l->parent, l->name, l->len, l->above, ret);
	return rc;
}

int replica_link(struct replica *r, const struct id *id, const struct id *parent, const char *name,
		 size_t len, struct attr *ret)
{
	struct linking l = { .parent = parent, .name = name, .len = len };
	struct commit c;
	struct id link;
	int rc = name_check(name, len);
	if (rc < 0)
		return rc;
	commit_begin(&c, r, false);
	rc = link_locked(&c, id, &l, &link);
	c.together = l.file.size <= WHOLE_MAX;
	if (rc == 0)
		rc = commit_end(&c, NULL);
	if (rc == 0 && ret) {
		*ret = commit_touched(&c, &l.file.id)->after.attr;
		ret->entry = link;
	}
	commit_done(&c);
	return rc;
}

/* ---- removing ---- */

/* Whether a link to the file is alive still, as far as the commit has come. */
static int named(struct commit *c, const struct attr *file, bool *ret)
{
	struct looking l = { .c = c };
	*ret = true;
	for (const struct touched *t = c->first; t; t = t->next) {
		struct attr link = { 0 };
		if (!t->record || !record_alive(t->record))
			continue;
		link_target(c->r, t->record, &link.target);
		link.scope = t->record->scope;
		if (id_equal(&link.target, &file->id) && link_holds(&link, file))
			return 0;
	}
	int rc = each_link(c->r, NULL, &file->id, still_there, &l);
	*ret = l.found;
	return rc < 0 ? rc : 0;
}

/* The last name of a file is gone, and so is the file. */
static int unlink_last(struct commit *c, const struct attr *file)
{
	bool more;
	int rc = named(c, file, &more);
	if (rc < 0 || more)
		return rc;
	c->together |= file->size <= WHOLE_MAX;
	return node_trash(c, &file->id);
}

int node_unlink(struct commit *c, const struct id *id)
{
	struct node n, file;
	int rc = node_get(c->r, &c->arena, id, &n);
	if (rc < 0)
		return rc;
	if (n.attr.linked && !id_equal(&n.parent, &NODE_INODES)) { /* it has links beside its own name */
		rc = to_inodes(c, id, n.name, n.name_len);
		return rc < 0 ? rc : unlink_last(c, &n.attr);
	}
	rc = node_trash(c, id);
	if (rc < 0 || id_is_zero(&n.attr.target))
		return rc;
	rc = node_get(c->r, NULL, &n.attr.target, &file);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (!link_holds(&n.attr, &file.attr) || !id_equal(&file.parent, &NODE_INODES))
		return 0;
	return unlink_last(c, &file.attr);
}

/* Links that can lead to nothing show nowhere: whoever wants their place takes it. */
int links_clear(struct commit *c, const struct id *dir)
{
	struct id *child;
	uint32_t n;
	int rc = commit_children(c, dir, &child, &n);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < n; i++)
		if (link_state(c->r, &child[i]) != LINK_IDLE)
			return 0;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = node_trash(c, &child[i]);
	return rc < 0 ? rc : 1;
}

int name_free(struct commit *c, const struct id *parent, const char *name, size_t len,
	      uint64_t *ret_above)
{
	struct claims claims = { 0 };
	struct id other;
	*ret_above = 0;
	int rc = commit_unclaimed(c, parent, name, len);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = dirent_find(c->r, parent, name, len, &other);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	switch (link_state(c->r, &other)) {
	case LINK_SHOWS:
		return -EEXIST;
	case LINK_IDLE:
		return node_trash(c, &other);
	case LINK_WAITS:
		break;
	}
	rc = claims_get(c->r, NULL, &c->arena, parent, name, len, &claims);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	*ret_above = claims_highest(&claims, NULL);
	return 0;
}

/* ---- the index ---- */

static bool listed(const struct node *n)
{
	return (n->flags & NODE_LIVE) && !id_is_zero(&n->attr.target);
}

void link_put(const struct touched *t, struct store_batch *b)
{
	const struct attr *was = &t->before.attr, *is = &t->after.attr;
	const bool had = t->had && listed(&t->before), has = listed(&t->after);
	uint8_t key[KEY_SIZE];
	if (had && has && id_equal(&was->target, &is->target))
		return;
	if (had) {
		index_key(&was->target, &was->scope, &was->id, key);
		store_delete(b, STORE_META, key, sizeof(key));
	}
	if (has) {
		index_key(&is->target, &is->scope, &is->id, key);
		store_put(b, STORE_META, key, sizeof(key), "", 0);
	}
}

int links_check(struct replica *r, const struct store_snapshot *snap, const struct link_truth *truth,
		size_t n, struct store_batch *fix, uint64_t *ret)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	size_t at = 0;
	*ret = 0;
	int rc = index_iter(r, snap, NULL, NULL, &it);
	while (rc == 0 && (at < n || store_iter_valid(it))) {
		uint8_t key[KEY_SIZE];
		size_t len = 0;
		const uint8_t *there = store_iter_valid(it) ? store_iter_key(it, &len) : NULL;
		if (at < n)
			index_key(&truth[at].target, &truth[at].scope, &truth[at].link, key);
		int c = at == n ? 1 : !there ? -1 : memcmp(key, there, len < KEY_SIZE ? len : KEY_SIZE);
		if (c == 0)
			c = (len < KEY_SIZE) - (len > KEY_SIZE);
		*ret += c != 0;
		if (fix && c < 0)
			store_put(fix, STORE_META, key, KEY_SIZE, "", 0);
		if (fix && c > 0)
			store_delete(fix, STORE_META, there, len);
		if (c <= 0)
			at++;
		if (c >= 0)
			store_iter_next(it);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}
