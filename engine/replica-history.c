/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Earlier versions: what a commit replaces goes into STORE_HISTORY in the same batch, so a file that
 * nobody changes costs nothing, and its newest version is the record itself. Only the bytes of
 * versions are looked at, whatever kind of content they are of. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/edge.h"
#include "engine/history.h"
#include "engine/purged.h"
#include "engine/slot.h"

static const struct slot *top_of(const struct record *rec, const char *key)
{
	return rec->top ? slot_find(rec->top, key, strlen(key)) : NULL;
}

/* Each change of the content writes the time's register, removals too, which leave no entry of their
 * own; but so does utimensat(2). */
void history_written(const struct replica *r, const struct record *rec, uint64_t *ret_stamp,
		     uint32_t *ret_author)
{
	const struct slot *time = top_of(rec, TOP_MTIME), *content = top_of(rec, TOP_CONTENT);
	const struct entry *e = time ? reg_shown(&time->val, r->actors) : NULL;
	if (!e || e->value.kind != VALUE_NULL) {
		const struct entry *newest = content ? slot_newest(content, r->actors) : NULL;
		e = newest ? newest : e;
	}
	*ret_stamp = e ? e->hlc : 0;
	*ret_author = e ? e->dot.actor : ACTOR_NONE;
}

/* ---- keeping ---- */

static uint64_t next_stamp(struct replica *r)
{
	return clock_next(&r->clock, r->config.wall_us(r->config.userdata));
}

static void put(struct store_batch *b, const struct id *node, uint64_t stamp, const struct buf *value)
{
	uint8_t key[HISTORY_KEY_SIZE];
	history_key(node, stamp, key);
	store_put(b, STORE_HISTORY, key, sizeof(key), value->data, value->len);
}

static ssize_t pread_version(void *userdata, void *data, size_t len, uint64_t offset)
{
	return version_pread(userdata, data, len, offset);
}

/* Where the bytes are: in the entry if they are few, else in chunks, which versions share. */
static int keep_bytes(struct commit *c, struct version *v, struct history_version *h, struct err *e)
{
	const struct blob_ref *ref = version_blob(v);
	h->data = version_data(v);
	h->len = h->data ? (size_t)version_size(v) : 0;
	h->blob = ref || h->len > HISTORY_INLINE_MAX;
	if (ref)
		h->ref = *ref;
	else if (h->blob)
		return blob_store_held(c->r->store, &c->hold, pread_version, v, &h->ref, e);
	return 0;
}

static int version_before(struct commit *c, const struct touched *t, struct version **ret)
{
	struct version *v = NULL;
	if (t->had)
		v = version_find(c->r, &t->before.attr.id, &t->before.attr.version);
	if (!v)
		return version_make(c->r, t->old, NULL, ret);
	int rc = version_load_from(c->r, v, t->old);
	if (rc < 0)
		version_unref(v);
	else
		*ret = v;
	return rc;
}

static int version_after(struct commit *c, const struct touched *t, struct version **ret)
{
	if (!t->version)
		return version_make(c->r, t->record, NULL, ret);
	*ret = version_ref(t->version);
	return 0;
}

static int keep_version(struct commit *c, struct touched *t, struct store_batch *b, struct buf *value,
			struct err *e)
{
	_cleanup_(version_unrefp) struct version *before = NULL, *after = NULL;
	struct history_version h = { 0 };
	struct value shown;
	uint64_t stamp;
	uint32_t author;
	if (!t->record || !t->content || !t->old || t->record->kind != NODE_FILE ||
	    !content_shown(c->r, t->old, &shown))
		return 0;
	history_written(c->r, t->old, &h.written, &h.author);
	history_written(c->r, t->record, &stamp, &author);
	if (history_burst(hlc_us(h.written), h.author, hlc_us(stamp), author))
		return 0;
	int rc = version_before(c, t, &before);
	if (rc < 0) /* what cannot be shown cannot be kept, but be replaced */
		return rc == -ENOMEM ? rc : 0;
	rc = version_after(c, t, &after);
	if (rc < 0 || version_same(before, after))
		return rc;
	rc = keep_bytes(c, before, &h, e);
	if (rc == -ENOSPC) {
		/* What is saved now is worth more than what was there. */
		if (e)
			*e = (struct err){ 0 };
		return 0;
	}
	if (rc < 0)
		return rc;
	h.form = (uint8_t)version_form(before);
	h.version = *version_id(before);
	h.context = *version_context(before);
	buf_reset(value);
	history_version_encode(&h, c->r->actors, value);
	if (buf_failed(value))
		return -ENOMEM;
	put(b, &t->record->id, next_stamp(c->r), value);
	t->kept = true;
	return 0;
}

/* When the node came to where it hung; 0: its record does not say. */
static uint64_t came_there(const struct touched *t)
{
	const struct record *rec = t->old ? t->old : t->record;
	const struct visit *v = rec ? record_visit(rec, &t->before.parent) : NULL;
	return v ? v->us : 0;
}

static bool left_place(const struct touched *t)
{
	const struct node *was = &t->before, *is = &t->after;
	return !(is->flags & NODE_LIVE) || !id_equal(&was->parent, &is->parent) ||
	       was->name_len != is->name_len || memcmp(was->name, is->name, was->name_len) != 0;
}

/* It comes as something deleted: who saw it live may be gone by the time that it is to be purged, and where it was is
 * known as well as there. False: nobody knows where it was. */
static bool came_dead(const struct touched *t, struct history_deletion *ret)
{
	const struct record *rec = t->record;
	const struct edge *at = rec && !t->old && rec->kind != NODE_DIR && !record_is_purged(rec) &&
				!record_alive(rec) ? record_last_place(rec) : NULL;
	if (!at || edge_is_inodes(at) || t->after.flags & NODE_LIVE)
		return false;
	*ret = (struct history_deletion){ .node = rec->id, .parent = at->parent, .kind = rec->kind,
					  .name = at->name, .name_len = at->name_len };
	return true;
}

/* What was live and is no more, or shows elsewhere, or came as something deleted. */
static int keep_place(struct commit *c, const struct touched *t, struct store_batch *b,
		      struct buf *value)
{
	const struct node *was = &t->before;
	struct history_deletion d = { .node = was->attr.id, .parent = was->parent,
				      .kind = was->attr.kind, .actor = t->apart ? t->actor : c->actor,
				      .name = was->name, .name_len = was->name_len };
	const bool dead = came_dead(t, &d);
	if (t->gone || (!dead &&
			(!t->had || !(was->flags & NODE_LIVE) || !was->name || id_equal(&d.node, &NODE_ROOT) ||
			 id_equal(&d.node, &NODE_LOST) || id_equal(&d.parent, &NODE_INODES) || !left_place(t))))
		return 0;
	d.moved = t->after.flags & NODE_LIVE;
	/* What waited there for the directory that it is in has always been in that. */
	if (d.moved && id_equal(&d.parent, &NODE_LOST))
		return 0;
	uint64_t now = next_stamp(c->r);
	d.when_us = hlc_us(now);
	d.since_us = dead ? d.when_us : came_there(t); /* it was never shown here */
	const struct visit *v = !d.moved && t->record ? record_visit(t->record, &NODE_TRASH) : NULL;
	if (v) {
		d.when_us = v->us;
		d.actor = v->dot.actor;
	}
	buf_reset(value);
	history_deletion_encode(&d, value);
	if (buf_failed(value))
		return -ENOMEM;
	put(b, &NODE_TRASH, now, value);
	return 0;
}

int history_forget(struct replica *r, const struct id *node, struct store_batch *b)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf end = { 0 };
	store_prefix_end(node->b, ID_SIZE, &end);
	int rc = buf_failed(&end) ? -ENOMEM :
		store_iter_new(r->store, NULL, STORE_HISTORY, node->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		store_delete(b, STORE_HISTORY, key, len);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* A purged file leaves none. */
static bool forgotten(const struct touched *t)
{
	return t->record && record_is_purged(t->record) && !(t->old && record_is_purged(t->old));
}

int commit_history(struct commit *c, struct store_batch *b, struct buf *v, struct err *e)
{
	int rc = 0;
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		/* That it went is told all the same where it was live until now. */
		rc = forgotten(t) ? history_forget(c->r, &t->record->id, b) : keep_version(c, t, b, v, e);
		if (rc == 0)
			rc = keep_place(c, t, b, v);
	}
	return rc < 0 ? err_errno(e, rc, "cannot keep the earlier version") : 0;
}

/* ---- looking back ---- */

static int list_newest(struct replica *r, const struct store_snapshot *snap, const struct id *id,
		       struct past *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct stored s;
	int rc = stored_get(r, snap, &a, id, &s, NULL);
	if (rc == 0 && s.record->kind != NODE_FILE)
		rc = s.record->kind == NODE_DIR ? -EISDIR : -EINVAL;
	if (rc == 0 && record_is_purged(s.record))
		rc = -ENOENT;
	if (rc == 0)
		rc = version_make(r, s.record, NULL, &v);
	if (rc < 0)
		return rc;
	uint64_t stamp;
	history_written(r, s.record, &stamp, &ret->author);
	ret->version = *version_id(v);
	ret->written_us = hlc_us(stamp);
	ret->form = version_form(v);
	ret->size = version_size(v);
	return 0;
}

int history_each(struct replica *r, const struct store_snapshot *snap, const struct id *id,
		 earlier_fn f, void *userdata)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	store_prefix_end(id->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, snap, STORE_HISTORY, id->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct history_version h;
		struct id node;
		uint64_t stamp;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		arena_reset(&a);
		rc = history_key_decode(key, key_len, &node, &stamp);
		if (rc == 0)
			rc = history_version_decode(&a, r->actors, value, len, &h, NULL);
		if (rc == 0)
			rc = f(&h, stamp, userdata);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static int add_past(const struct history_version *h, uint64_t stamp, void *userdata)
{
	const struct past p = { .version = h->version, .written_us = hlc_us(h->written),
				.replaced_us = hlc_us(stamp), .stamp = stamp, .author = h->author,
				.form = (enum form)h->form, .size = h->blob ? h->ref.size : h->len };
	buf_put(userdata, &p, sizeof(p));
	return buf_failed(userdata) ? -ENOMEM : 0;
}

int replica_history(struct replica *r, const struct id *id, struct arena *a, struct past **ret,
		    uint32_t *ret_n)
{
	_cleanup_(buf_done) struct buf earlier = { 0 };
	struct store_snapshot *snap = NULL;
	struct past newest = { 0 }, p;
	int rc = store_snapshot(r->store, &snap);
	if (rc < 0)
		return rc;
	rc = list_newest(r, snap, id, &newest);
	if (rc == 0)
		rc = history_each(r, snap, id, add_past, &earlier);
	store_snapshot_free(r->store, snap);
	if (rc < 0)
		return rc;
	uint32_t n = (uint32_t)(earlier.len / sizeof(p));
	struct past *all = arena_array(a, n + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	all[0] = newest;
	for (uint32_t i = 0; i < n; i++)
		memcpy(&all[n - i], earlier.data + i * sizeof(p), sizeof(p));
	*ret = all;
	*ret_n = n + 1;
	return 0;
}

static int read_earlier(struct replica *r, const struct id *id, uint64_t stamp, struct version **ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	struct history_version h;
	uint8_t key[HISTORY_KEY_SIZE];
	history_key(id, stamp, key);
	int rc = store_get(r->store, NULL, STORE_HISTORY, key, sizeof(key), &value);
	if (rc == 0)
		rc = history_version_decode(&a, r->actors, value.data, value.len, &h, NULL);
	return rc < 0 ? rc : version_past(r, id, &h, ret);
}

int replica_history_read(struct replica *r, const struct id *id, const struct past *p,
			 struct version **ret)
{
	struct version *v;
	for (;;) {
		unsigned long long sweeps = atomic_load(&r->sweeps);
		int rc = p->stamp ? read_earlier(r, id, p->stamp, &v) : version_newest(r, id, &v);
		if (rc < 0)
			return rc;
		if (sweeps == atomic_load(&r->sweeps))
			break;
		version_unref(v); /* see replica_read */
	}
	if (!id_equal(version_id(v), &p->version)) {
		version_unref(v);
		return -ESTALE;
	}
	*ret = v;
	return 0;
}
