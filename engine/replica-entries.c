/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Liveness and directory entries within a commit. A directory is live when its own record says so
 * or anything hangs in it, so a change may make directories come or go up to the root. */

#include "engine/replica-impl.h"

#include <errno.h>

static uint64_t dirent_hash(const struct id *parent, const char *name, size_t len)
{
	return table_hash_bytes(name, len, id_hash(parent));
}

int commit_claims(struct commit *c, const struct id *parent, const char *name, size_t len,
		  struct dirent **ret)
{
	uint64_t hash = dirent_hash(parent, name, len);
	for (struct table_link *l = table_first(&c->dirents, hash); l; l = l->next) {
		struct dirent *d = (struct dirent *)l;
		if (d->len == len && id_equal(&d->parent, parent) && !memcmp(d->name, name, len)) {
			*ret = d;
			return 0;
		}
	}
	struct dirent *d = arena_new(&c->arena, struct dirent);
	if (!d)
		return -ENOMEM;
	d->parent = *parent;
	d->name = arena_dup(&c->arena, name, len);
	d->len = len;
	if (!d->name)
		return -ENOMEM;
	int rc = claims_get(c->r, NULL, &c->arena, parent, name, len, &d->before);
	if (rc == -ENOENT)
		rc = 0;
	if (rc == 0)
		rc = table_add(&c->dirents, &d->link, hash);
	if (rc < 0)
		return rc;
	d->after = d->before;
	*c->last_dirent = d;
	c->last_dirent = &d->next;
	*ret = d;
	return 0;
}

int commit_unclaimed(struct commit *c, const struct id *parent, const char *name, size_t len)
{
	struct dirent *d;
	/* It may be what a loser shows as. */
	if (memchr(name, '~', len))
		return 0;
	int rc = commit_claims(c, parent, name, len, &d);
	return rc < 0 ? rc : d->before.n == 0;
}

/* Who is in the directory, with this commit's changes; stops at the first one when ret is NULL
 * and returns 1. */
static int scan(struct commit *c, const struct id *id, struct id **ret, uint32_t *ret_n)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(buf_done) struct buf found = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	for (struct dirent *d = c->first_dirent; d; d = d->next) {
		if (!id_equal(&d->parent, id) || d->after.n == 0)
			continue;
		if (!ret)
			return 1;
		for (uint32_t i = 0; i < d->after.n; i++)
			buf_put(&found, d->after.claim[i].id.b, ID_SIZE);
	}
	store_prefix_end(id->b, ID_SIZE, &end);
	int rc = store_iter_new(c->r->store, NULL, STORE_DIRENTS, id->b, ID_SIZE, end.data, end.len,
				&it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const char *name = (const char *)key + ID_SIZE;
		struct table_link *l = table_first(&c->dirents,
					     dirent_hash(id, name, key_len - ID_SIZE));
		struct claims claims;
		bool seen = false;
		for (; l && !seen; l = l->next) {
			const struct dirent *d = (const struct dirent *)l;
			seen = d->len == key_len - ID_SIZE && id_equal(&d->parent, id) &&
			       !memcmp(d->name, name, d->len);
		}
		if (seen)
			continue;
		if (!ret)
			return 1;
		const uint8_t *value = store_iter_value(it, &len);
		rc = claims_decode(&c->arena, value, len, &claims);
		for (uint32_t i = 0; rc == 0 && i < claims.n; i++)
			buf_put(&found, claims.claim[i].id.b, ID_SIZE);
	}
	if (rc == 0)
		rc = store_iter_error(it);
	if (rc < 0 || !ret)
		return rc;
	if (buf_failed(&found))
		return -ENOMEM;
	*ret_n = (uint32_t)(found.len / ID_SIZE);
	*ret = arena_array(&c->arena, *ret_n ? *ret_n : 1, ID_SIZE);
	if (!*ret)
		return -ENOMEM;
	if (found.len)
		memcpy(*ret, found.data, found.len);
	return 0;
}

bool commit_dir_empty(struct commit *c, const struct id *id)
{
	return scan(c, id, NULL, NULL) == 0;
}

int commit_children(struct commit *c, const struct id *id, struct id **ret, uint32_t *ret_n)
{
	return scan(c, id, ret, ret_n);
}

static bool same_place(const struct place *x, const struct place *y)
{
	return x->len == y->len && id_equal(&x->parent, &y->parent) &&
	       !memcmp(x->name, y->name, x->len);
}

/* The common case of a change that moves nothing. */
static bool listed_well(const struct touched *t)
{
	const struct place place = { t->after.parent, t->after.name, t->after.name_len };
	return t->listed && t->after.counter == t->before.counter &&
	       t->after.actor == t->before.actor && same_place(&t->at, &place);
}

/* Takes the node's claim out of where it stands. */
static int unlist(struct commit *c, struct touched *t)
{
	struct dirent *d;
	struct touched *dir;
	int rc = commit_claims(c, &t->at.parent, t->at.name, t->at.len, &d);
	if (rc == 0)
		rc = claims_drop(&c->arena, &d->after, &t->after.attr.id);
	t->listed = false;
	if (rc == 0)
		rc = commit_node(c, &t->at.parent, &dir);
	if (rc == -ENOENT) /* cannot be: a listed node hangs in a directory that is known */
		return 0;
	if (rc == 0)
		dir->vacated = true;
	return rc;
}

/* Lists the node where it belongs, and makes that directory live. */
static int list(struct commit *c, struct touched *t)
{
	/* It has names elsewhere. */
	if (id_equal(&t->after.parent, &NODE_INODES))
		return t->listed ? unlist(c, t) : 0;
	for (unsigned depth = 0; !id_equal(&t->after.attr.id, &NODE_ROOT); depth++) {
		struct place place = { t->after.parent, t->after.name, t->after.name_len };
		struct claim claim = { t->after.attr.id, t->after.attr.kind, t->after.counter,
				       t->after.actor };
		bool moved = t->listed && !same_place(&t->at, &place);
		bool fresh = !t->listed || moved;
		struct touched *dir;
		struct dirent *d;
		int rc = moved ? unlist(c, t) : 0;
		if (rc == 0)
			rc = commit_claims(c, &place.parent, place.name, place.len, &d);
		if (rc == 0)
			rc = claims_put(&c->arena, c->r->actors, &d->after, &claim);
		if (rc < 0)
			return rc;
		t->listed = true;
		t->at = place;
		if (!fresh)
			return 0;
		rc = commit_node(c, &place.parent, &dir);
		if (rc < 0)
			return rc;
		/* No edge leads to lost+found: it has the time at which this device put things there. */
		if (id_equal(&place.parent, &NODE_LOST)) {
			uint64_t now = c->r->config.wall_us(c->r->config.userdata);
			node_visit(&dir->after, now, now);
		}
		if (dir->after.flags & NODE_LIVE && dir->listed)
			return 0;
		dir->after.flags |= NODE_LIVE;
		t = dir;
	}
	return 0;
}

/* Directories that something left and that nothing keeps go as well. */
static int drop_empty(struct commit *c, struct touched *t)
{
	for (;;) {
		t->vacated = false;
		if ((t->after.flags & NODE_ALIVE) || !(t->after.flags & NODE_LIVE) ||
		    !commit_dir_empty(c, &t->after.attr.id))
			return 0;
		t->after.flags &= (uint8_t)~NODE_LIVE;
		if (!t->listed)
			return 0;
		int rc = unlist(c, t);
		if (rc == 0)
			rc = commit_node(c, &t->at.parent, &t);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
	}
}

int commit_entries(struct commit *c)
{
	int rc = 0;
	/* The list grows at its end while we walk it; what is added needs no visit of its own. */
	struct touched **end = c->last;
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		if (t->record) {
			t->after.flags &= (uint8_t)~NODE_LIVE;
			if ((t->after.flags & NODE_ALIVE) ||
			    (t->after.attr.kind == NODE_DIR &&
			     !commit_dir_empty(c, &t->after.attr.id)))
				t->after.flags |= NODE_LIVE;
		}
		if (&t->next == end)
			break;
	}
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if ((t->after.flags & NODE_LIVE) && !listed_well(t))
			rc = list(c, t);
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if (t->listed && !(t->after.flags & NODE_LIVE))
			rc = unlist(c, t);
	for (struct touched *t = c->first; rc == 0 && t; t = t->next)
		if (t->vacated)
			rc = drop_empty(c, t);
	return rc;
}
