/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reading the tree. */

#include "engine/replica-at.h"

#include <errno.h>

#define PATH_DEPTH_MAX 4096

int entry_lookup(struct replica *r, const struct id *parent, const char *name, size_t len,
		 struct attr *ret)
{
	struct id id;
	struct attr at;
	if (is_hidden(r, parent))
		return -ENOENT;
	/* A rename between the two reads takes the node away; look again then. */
	for (int i = 0; i < 3; i++) {
		int rc = dirent_find(r, parent, name, len, &id);
		if (rc == -ENOENT) {
			rc = replica_attr(r, parent, &at);
			return rc == 0 && at.kind != NODE_DIR ? -ENOTDIR : -ENOENT;
		}
		if (rc < 0)
			return rc;
		rc = replica_attr(r, &id, ret);
		if (rc != -ENOENT)
			return rc;
	}
	return -ENOENT;
}

int replica_lookup(struct replica *r, const struct id *parent, const char *name, size_t len,
		   struct attr *ret)
{
	int rc = entry_lookup(r, parent, name, len, ret);
	return rc == 0 ? link_follow(r, ret) : rc;
}

struct item {
	const char *name;
	size_t len;
	struct id id;
};

struct items {
	struct item *item;
	uint32_t n, cap;
	bool unsorted;
};

static int item_cmp(const void *x, const void *y)
{
	const struct item *a = x, *b = y;
	size_t len = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->name, b->name, len);
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int items_add(struct arena *a, struct items *l, const char *name, size_t len,
		     const struct id *id)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 64;
		struct item *bigger = realloc(l->item, cap * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		l->item = bigger;
		l->cap = cap;
	}
	char *copy = arena_dup(a, name, len);
	if (!copy)
		return -ENOMEM;
	l->item[l->n++] = (struct item){ copy, len, *id };
	/* Names of claims that lost come behind the one that they are made of. */
	l->unsorted |= l->n > 1 && item_cmp(&l->item[l->n - 2], &l->item[l->n - 1]) > 0;
	return 0;
}

struct listing {
	struct replica *r;
	struct store_snapshot *snap;
	uint64_t commits;
	struct arena arena;
	struct items items;
};

static void listing_done(struct listing *l)
{
	arena_done(&l->arena);
	free(l->items.item);
	store_snapshot_free(l->r->store, l->snap);
}

struct taken {
	struct replica *r;
	const struct store_snapshot *snap;
	const struct id *parent;
};

static bool taken_in_snapshot(const char *name, size_t len, void *userdata)
{
	const struct taken *t = userdata;
	const struct id *parent = t->parent;
	uint8_t key[ID_SIZE + NAME_MAX_BYTES];
	memcpy(key, parent->b, ID_SIZE);
	memcpy(key + ID_SIZE, name, len);
	return store_has(t->r->store, t->snap, STORE_DIRENTS, key, ID_SIZE + len);
}

/* Names of claims that lost, in a's memory, to f. */
static int each_loser(struct taken *where, struct arena *a, const char *name, size_t len,
		      const struct claims *c, name_fn f, void *userdata)
{
	char (*names)[NAME_MAX_BYTES + 1] = arena_array(a, c->n, sizeof(*names));
	int rc = names ? 0 : -ENOMEM;
	if (rc == 0)
		claims_names(where->r->actors, c, name, len, taken_in_snapshot, where, names);
	for (uint32_t i = 1; rc == 0 && i < c->n; i++)
		rc = f(names[i], strlen(names[i]), &c->claim[i].id, c->claim[i].kind, userdata);
	return rc;
}

int names_at(struct replica *r, const struct store_snapshot *snap, const struct id *parent, name_fn f,
	     void *userdata)
{
	struct taken where = { r, snap, parent };
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(parent->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, snap, STORE_DIRENTS, parent->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct claims c;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		const char *name = (const char *)key + ID_SIZE;
		arena_reset(&a);
		rc = claims_decode(&a, value, len, &c);
		if (rc == 0)
			rc = f(name, key_len - ID_SIZE, &c.claim[0].id, c.claim[0].kind, userdata);
		if (rc == 0 && c.n > 1)
			rc = each_loser(&where, &a, name, key_len - ID_SIZE, &c, f, userdata);
	}
	if (rc == 0)
		rc = store_iter_error(it);
	return rc;
}

/* link_follow, in the snapshot. */
static int follow_at(struct listing *l, struct node *n)
{
	const struct attr link = n->attr;
	if (id_is_zero(&link.target))
		return 0;
	int rc = node_get_at(l->r, l->snap, l->commits, &link.target, n);
	if (rc == 0 && (!(n->flags & NODE_LIVE) || !link_holds(&link, &n->attr)))
		rc = -ENOENT;
	n->attr.entry = link.id;
	return rc;
}

/* The parent is looked at in the snapshot that is taken here. */
static int listing_begin(struct listing *l, const struct id *parent)
{
	struct node n;
	l->commits = atomic_load(&l->r->commits);
	int rc = store_snapshot(l->r->store, &l->snap);
	if (rc == 0)
		rc = node_get_at(l->r, l->snap, l->commits, parent, &n);
	if (rc < 0)
		return rc;
	if (!(n.flags & NODE_LIVE))
		return -ENOENT;
	return n.attr.kind == NODE_DIR ? 0 : -ENOTDIR;
}

struct telling {
	struct listing *l;
	name_fn f;
	void *userdata;
};

/* Only a link has to be looked at: it may be a hard one. */
static int tell_name(const char *name, size_t len, const struct id *id, enum node_kind kind,
		     void *userdata)
{
	const struct telling *t = userdata;
	struct node n;
	if (kind != NODE_LINK)
		return t->f(name, len, id, kind, t->userdata);
	int rc = node_get_at(t->l->r, t->l->snap, t->l->commits, id, &n);
	if (rc == 0)
		rc = follow_at(t->l, &n);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	return t->f(name, len, &n.attr.id, n.attr.kind, t->userdata);
}

int replica_names(struct replica *r, const struct id *parent, name_fn f, void *userdata)
{
	_cleanup_(listing_done) struct listing l = { .r = r };
	struct telling t = { &l, f, userdata };
	int rc = listing_begin(&l, parent);
	return rc < 0 || is_hidden(r, parent) ? rc : names_at(r, l.snap, parent, tell_name, &t);
}

static int collect(const char *name, size_t len, const struct id *id, enum node_kind kind,
		   void *userdata)
{
	struct listing *l = userdata;
	(void)kind;
	return items_add(&l->arena, &l->items, name, len, id);
}

static int list(struct replica *r, const struct id *parent, bool follow, list_fn f, void *userdata)
{
	_cleanup_(listing_done) struct listing l = { .r = r };
	struct node n;
	int rc = listing_begin(&l, parent);
	if (rc == 0 && !is_hidden(r, parent))
		rc = names_at(r, l.snap, parent, collect, &l);
	if (rc == 0 && l.items.unsorted)
		qsort(l.items.item, l.items.n, sizeof(*l.items.item), item_cmp);
	for (uint32_t i = 0; rc == 0 && i < l.items.n; i++) {
		const struct item *item = &l.items.item[i];
		rc = node_get_at(r, l.snap, l.commits, &item->id, &n);
		if (rc == 0 && follow)
			rc = follow_at(&l, &n);
		if (rc == -ENOENT) { /* a hard link to what is not here; else verify tells */
			rc = 0;
			continue;
		}
		if (rc == 0)
			rc = f(item->name, item->len, &n.attr, userdata);
	}
	return rc;
}

int replica_list(struct replica *r, const struct id *parent, list_fn f, void *userdata)
{
	return list(r, parent, true, f, userdata);
}

int entries_list(struct replica *r, const struct id *parent, list_fn f, void *userdata)
{
	return list(r, parent, false, f, userdata);
}

int replica_parent(struct replica *r, const struct id *id, struct id *ret_parent, char *name)
{
	for (int i = 0; i < 3; i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct node n;
		int rc = node_get(r, &a, id, &n);
		if (rc < 0)
			return rc;
		if (!(n.flags & NODE_LIVE) || id_equal(id, &NODE_ROOT))
			return -ENOENT;
		if (id_equal(&n.parent, &NODE_INODES)) {
			rc = link_first(r, &a, id, &n);
			if (rc < 0)
				return rc;
		}
		rc = dirent_shown(r, &n, name);
		if (rc == 0)
			*ret_parent = n.parent;
		if (rc != -ENOENT) /* else it moved meanwhile */
			return rc;
	}
	return -ENOENT;
}

int replica_path(struct replica *r, const struct id *id, struct buf *ret)
{
	_cleanup_(buf_done) struct buf reversed = { 0 };
	char name[NAME_MAX_BYTES + 1];
	struct id at = *id;
	size_t end;
	for (int depth = 0; !id_equal(&at, &NODE_ROOT); depth++) {
		struct id parent;
		int rc = depth < PATH_DEPTH_MAX ? replica_parent(r, &at, &parent, name) : -ELOOP;
		if (rc < 0)
			return rc;
		buf_u8(&reversed, '/');
		buf_puts(&reversed, name);
		at = parent;
	}
	if (buf_failed(&reversed))
		return -ENOMEM;
	for (end = reversed.len; end > 0;) {
		size_t slash = end - 1;
		while (reversed.data[slash] != '/')
			slash--;
		if (end < reversed.len)
			buf_u8(ret, '/');
		buf_put(ret, reversed.data + slash + 1, end - slash - 1);
		end = slash;
	}
	return buf_failed(ret) ? -ENOMEM : 0;
}

uint64_t replica_count(struct replica *r)
{
	return atomic_load(&r->files);
}
