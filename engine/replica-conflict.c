/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which files are in conflict, and which names several nodes claim: an index in STORE_META beside
 * the attributes and directory entries that say so, so that nobody reads all of them to find a few.
 * Both are sorted as the index is, so the two are compared by walking side by side. */

#include "engine/replica-impl.h"

#include <errno.h>

#define INDEX_FORMAT 1

static void index_set(struct store_batch *b, uint8_t kind, const uint8_t *key, size_t len, bool in)
{
	uint8_t k[1 + ID_SIZE + NAME_MAX_BYTES];
	if (len > sizeof(k) - 1)
		return; /* no entry of ours has such a key; verify tells */
	k[0] = kind;
	memcpy(k + 1, key, len);
	if (in)
		store_put(b, STORE_META, k, len + 1, "", 0);
	else
		store_delete(b, STORE_META, k, len + 1);
}

static bool in_conflict(const struct node *n)
{
	return (n->flags & NODE_LIVE) && n->attr.conflict;
}

void conflict_put(const struct touched *t, struct store_batch *b)
{
	bool was = t->had && in_conflict(&t->before), is = in_conflict(&t->after);
	if (was != is)
		index_set(b, META_CONFLICT, t->after.attr.id.b, ID_SIZE, is);
}

void contested_put(const struct dirent *d, const uint8_t *key, size_t len, struct store_batch *b)
{
	bool was = d->before.n > 1, is = d->after.n > 1;
	if (was != is)
		index_set(b, META_CONTESTED, key, len, is);
}

/* ---- index and truth ---- */

struct check {
	struct replica *r;
	const struct store_snapshot *snap;
	struct store_batch *fix; /* NULL: only look */
	uint64_t differences;
};

static bool attr_listed(const uint8_t *value, size_t len)
{
	struct node n;
	return node_decode(value, len, &n) == 0 && in_conflict(&n);
}

static bool dirent_listed(const uint8_t *value, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct claims c;
	return claims_decode(&a, value, len, &c) == 0 && c.n > 1;
}

static int key_order(const uint8_t *x, size_t xn, const uint8_t *y, size_t yn)
{
	int c = memcmp(x, y, xn < yn ? xn : yn);
	return c ? c : (xn > yn) - (xn < yn);
}

static int compare(struct check *k, uint8_t kind, enum store_family family,
		   bool (*listed)(const uint8_t *value, size_t len))
{
	_cleanup_(store_iter_freep) struct store_iter *truth = NULL, *index = NULL;
	uint8_t end = (uint8_t)(kind + 1);
	int rc = store_iter_new(k->r->store, k->snap, family, NULL, 0, NULL, 0, &truth);
	if (rc == 0)
		rc = store_iter_new(k->r->store, k->snap, STORE_META, &kind, 1, &end, 1, &index);
	while (rc == 0 && (store_iter_valid(truth) || store_iter_valid(index))) {
		size_t tn = 0, in = 0, len;
		const uint8_t *t = store_iter_valid(truth) ? store_iter_key(truth, &tn) : NULL;
		const uint8_t *i = store_iter_valid(index) ? store_iter_key(index, &in) : NULL;
		int c = !t ? 1 : !i ? -1 : key_order(t, tn, i + 1, in - 1);
		const uint8_t *value = c <= 0 ? store_iter_value(truth, &len) : NULL;
		bool want = value && listed(value, len);
		if (want != (c >= 0)) {
			k->differences++;
			if (k->fix)
				index_set(k->fix, kind, c <= 0 ? t : i + 1, c <= 0 ? tn : in - 1, want);
		}
		if (c <= 0)
			store_iter_next(truth);
		if (c >= 0)
			store_iter_next(index);
	}
	if (rc == 0)
		rc = store_iter_error(truth);
	return rc == 0 ? store_iter_error(index) : rc;
}

int conflicts_check(struct replica *r, const struct store_snapshot *snap, struct store_batch *fix,
		    uint64_t *ret)
{
	struct check k = { r, snap, fix, 0 };
	int rc = compare(&k, META_CONFLICT, STORE_ATTRS, attr_listed);
	if (rc == 0)
		rc = compare(&k, META_CONTESTED, STORE_DIRENTS, dirent_listed);
	if (rc == 0)
		*ret = k.differences;
	return rc;
}

int conflicts_index(struct replica *r, struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	const uint8_t key = META_INDEX, format = INDEX_FORMAT;
	uint64_t n;
	int rc = store_batch_new(&b);
	if (rc == 0)
		rc = conflicts_check(r, NULL, b, &n);
	if (rc < 0)
		return err_errno(e, rc, "cannot make the list of conflicts");
	store_put(b, STORE_META, &key, 1, &format, 1);
	return store_write(r->store, b, e);
}

int conflicts_load(struct replica *r, struct err *e)
{
	const uint8_t key = META_INDEX;
	return store_has(r->store, NULL, STORE_META, &key, 1) ? 0 : conflicts_index(r, e);
}

/* ---- looking ---- */

int replica_conflicted(struct replica *r, conflicted_fn f, void *userdata)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = META_CONFLICT, end = META_CONFLICT + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id id;
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		if (len != 1 + ID_SIZE)
			return -EBADMSG;
		memcpy(id.b, key + 1, ID_SIZE);
		rc = f(&id, userdata);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int replica_contested(struct replica *r, contested_fn f, void *userdata)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = META_CONTESTED, end = META_CONTESTED + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct claims c = { 0 };
		struct id parent;
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		if (len <= 1 + ID_SIZE)
			return -EBADMSG;
		memcpy(parent.b, key + 1, ID_SIZE);
		arena_reset(&a);
		rc = claims_get(r, NULL, &a, &parent, (const char *)key + 1 + ID_SIZE,
				len - 1 - ID_SIZE, &c);
		if (rc == -ENOENT) /* it has changed meanwhile */
			rc = 0;
		for (uint32_t i = 1; rc == 0 && i < c.n; i++)
			rc = f(&c.claim[0].id, &c.claim[i].id, c.claim[i].actor, userdata);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}
