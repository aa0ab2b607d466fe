/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Mode, times, extended attributes, links, conflicts. */

#include "engine/replica-impl.h"

#include <errno.h>

int record_live(struct replica *r, struct arena *a, const struct id *id, struct stored *ret)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc == 0 && !(n.flags & NODE_LIVE))
		rc = -ENOENT;
	if (rc == 0)
		rc = stored_get(r, NULL, a, id, ret, NULL);
	return rc;
}

struct setting {
	const char *top;
	const char *name; /* of an extended attribute */
	const struct value *value;
	bool create, replace;
	bool anew; /* though it says what is there */
};

static int set_locked(struct commit *c, const struct id *id, const struct setting *s)
{
	struct arena *a = &c->arena;
	struct stored old;
	const struct record *rec;
	int rc = record_live(c->r, a, id, &old);
	if (rc < 0)
		return rc;
	if (s->name) {
		const struct slot *x = old.record->top ?
					       slot_find(old.record->top, s->top, strlen(s->top)) :
					       NULL;
		const struct slot *slot = x ? slot_find(x, s->name, strlen(s->name)) : NULL;
		bool there = slot && slot_live(slot);
		if (there && s->create)
			return -EEXIST;
		if (!there && (s->replace || !s->value))
			return -ENODATA;
	}
	rec = old.record;
	if (s->anew)
		rc = record_touch(a, c->r->actors, rec, &c->stamp, &rec);
	if (rc == 0)
		rc = record_set(a, c->r->actors, rec, s->top, s->name,
				s->name ? strlen(s->name) : 0, s->value, NULL, &c->stamp, &rec);
	if (rc == 0 && rec != old.record)
		rc = commit_put(c, &old, rec, CHANGE_ATTR, NULL);
	return rc;
}

static int set(struct replica *r, const struct id *id, const struct setting *s)
{
	struct commit c;
	if (id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST))
		return -EPERM; /* they have no record that others would hear of */
	commit_begin(&c, r, false);
	int rc = set_locked(&c, id, s);
	if (rc == 0)
		rc = commit_end(&c, NULL);
	commit_done(&c);
	return rc;
}

int replica_set_mode(struct replica *r, const struct id *id, uint32_t mode)
{
	uint8_t data[VALUE_INT_MAX];
	const struct value v = value_of_int(mode & 07777, data);
	const struct setting s = { .top = TOP_MODE, .value = &v };
	struct attr at;
	int rc = replica_attr(r, id, &at);
	if (rc < 0)
		return rc;
	/* One that the record does not name is the normal one already. */
	return at.mode == (mode & 07777) && !id_equal(id, &NODE_ROOT) ? 0 : set(r, id, &s);
}

int replica_set_mtime(struct replica *r, const struct id *id, int64_t mtime_ns)
{
	uint8_t data[VALUE_INT_MAX];
	const struct value v = value_of_int(mtime_ns, data);
	struct setting s = { .top = TOP_MTIME, .value = &v };
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	/* A directory shows what was visited since its time was set, be it to the same. */
	s.anew = rc == 0 && n.attr.kind == NODE_DIR;
	return rc < 0 ? rc : set(r, id, &s);
}

int replica_set_xattr(struct replica *r, const struct id *id, const char *name, const void *value,
		      size_t len, bool create, bool replace)
{
	const struct value v = { VALUE_BYTES, value, len };
	const struct setting s = { TOP_XATTR, name, &v, create, replace, false };
	size_t name_len = strlen(name);
	if (len > XATTR_SIZE_MAX)
		return -E2BIG;
	if (name_len == 0 || name_len > NAME_MAX_BYTES)
		return -ERANGE;
	return set(r, id, &s);
}

int replica_remove_xattr(struct replica *r, const struct id *id, const char *name)
{
	const struct setting s = { .top = TOP_XATTR, .name = name };
	return set(r, id, &s);
}

static const struct slot *xattrs(const struct record *rec)
{
	return rec->top ? slot_find(rec->top, TOP_XATTR, strlen(TOP_XATTR)) : NULL;
}

int replica_get_xattr(struct replica *r, const struct id *id, const char *name, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	if (id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST))
		return -ENODATA;
	int rc = record_live(r, &a, id, &s);
	if (rc < 0)
		return rc;
	const struct slot *x = xattrs(s.record);
	const struct slot *slot = x ? slot_find(x, name, strlen(name)) : NULL;
	const struct entry *e = slot ? reg_shown(&slot->val, r->actors) : NULL;
	if (!e)
		return -ENODATA;
	buf_put(ret, e->value.data, e->value.len);
	return buf_failed(ret) ? -ENOMEM : 0;
}

int replica_list_xattr(struct replica *r, const struct id *id, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	if (id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST))
		return 0;
	int rc = record_live(r, &a, id, &s);
	if (rc < 0)
		return rc;
	const struct slot *x = xattrs(s.record);
	for (uint32_t i = 0; x && i < x->n; i++) {
		if (!slot_live(x->child[i]))
			continue;
		buf_put(ret, x->child[i]->key, x->child[i]->key_len);
		buf_u8(ret, 0);
	}
	return buf_failed(ret) ? -ENOMEM : 0;
}

int replica_readlink(struct replica *r, const struct id *id, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	struct value v;
	if (id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST))
		return -EINVAL;
	int rc = record_live(r, &a, id, &s);
	if (rc < 0)
		return rc;
	if (s.record->kind != NODE_LINK)
		return -EINVAL;
	if (content_shown(r, s.record, &v) && v.kind == VALUE_LINK)
		buf_put(ret, v.data, v.len);
	return buf_failed(ret) ? -ENOMEM : 0;
}

int replica_conflicts(struct replica *r, const struct id *id, conflict_fn f, void *userdata)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	int rc = record_live(r, &a, id, &s);
	return rc < 0 ? rc : record_conflicts(s.record, r->actors, f, userdata);
}

int meta_first(struct replica *r, uint8_t kind, struct id *ret)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t end = (uint8_t)(kind + 1);
	int rc = store_iter_new(r->store, NULL, STORE_META, &kind, 1, &end, 1, &it);
	if (rc == 0 && !store_iter_valid(it))
		rc = store_iter_error(it) < 0 ? store_iter_error(it) : -ENOENT;
	if (rc < 0)
		return rc;
	size_t len;
	const uint8_t *key = store_iter_key(it, &len);
	if (len != 1 + ID_SIZE)
		return -EBADMSG;
	memcpy(ret->b, key + 1, ID_SIZE);
	return 0;
}
