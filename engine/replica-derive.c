/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What follows from a record: attributes, its stored form, its entries in the dot index. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/edge.h"
#include "engine/ignore.h"
#include "engine/slot.h"

/* What stands in front of the record. */
static int stored_head(struct arena *a, struct cursor *c, struct stored *ret, struct err *e)
{
	uint8_t format = cursor_u8(c);
	if (cursor_ok(c) && format != DOC_FORMAT && format != DOC_FORMAT_TRAIL)
		return err_set(e, -EPROTONOSUPPORT,
			       "a record has format %u, which a newer version of shoal wrote: "
			       "use that one", format);
	ret->trail = format == DOC_FORMAT_TRAIL;
	ret->n_extra = (uint32_t)cursor_varint_max(c, cursor_left(c) / 2);
	if (!cursor_ok(c))
		return err_set(e, -EBADMSG, "a record is damaged");
	ret->extra = arena_array(a, ret->n_extra ? ret->n_extra : 1, sizeof(*ret->extra));
	if (!ret->extra)
		return -ENOMEM;
	for (uint32_t i = 0; i < ret->n_extra; i++) {
		ret->extra[i].actor = (uint32_t)cursor_varint_max(c, ACTORS_MAX - 1);
		ret->extra[i].seq = cursor_varint(c);
	}
	return cursor_ok(c) ? 0 : err_set(e, -EBADMSG, "a record is damaged");
}

int stored_decode(struct replica *r, const struct store_snapshot *snap, struct arena *a,
		  const void *data, size_t len, struct stored *ret, struct err *e)
{
	_cleanup_(buf_done) struct buf trail = { 0 };
	struct cursor c = cursor_make(data, len);
	struct stored s = { 0 };
	struct record *rec;
	int rc = stored_head(a, &c, &s, e);
	if (rc == 0)
		rc = record_decode(a, r->actors, c.p, (size_t)(c.end - c.p), &rec, e);
	if (rc == 0 && s.trail)
		rc = trail_get(r->store, snap, &rec->id, &trail);
	if (rc == 0)
		rc = trail_replay(a, r->actors, &trail, rec, e);
	if (rc < 0)
		return rc;
	s.record = rec;
	*ret = s;
	return 0;
}

/* What is read in two steps is read in a snapshot. */
static int get_with_trail(struct replica *r, struct arena *a, const struct id *id,
			  struct stored *ret, struct err *e)
{
	struct store_snapshot *snap;
	int rc = store_snapshot(r->store, &snap);
	if (rc < 0)
		return rc;
	rc = stored_get(r, snap, a, id, ret, e);
	store_snapshot_free(r->store, snap);
	return rc;
}

int stored_get(struct replica *r, const struct store_snapshot *snap, struct arena *a,
	       const struct id *id, struct stored *ret, struct err *e)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	int rc = store_get(r->store, snap, STORE_DOCS, id->b, ID_SIZE, &v);
	if (rc < 0)
		return rc;
	if (!snap && v.len > 0 && v.data[0] == DOC_FORMAT_TRAIL)
		return get_with_trail(r, a, id, ret, e);
	char *copy = arena_dup(a, v.data, v.len);
	if (!copy)
		return -ENOMEM;
	return stored_decode(r, snap, a, copy, v.len, ret, e);
}

int stored_edges(struct replica *r, struct arena *a, const struct id *id, struct buf *value,
		 const struct record **ret)
{
	struct stored s = { 0 };
	struct record *rec;
	int rc = store_get(r->store, NULL, STORE_DOCS, id->b, ID_SIZE, value);
	if (rc < 0)
		return rc;
	struct cursor c = cursor_make(value->data, value->len);
	rc = stored_head(a, &c, &s, NULL);
	if (rc == 0)
		rc = record_decode_edges(a, r->actors, c.p, (size_t)(c.end - c.p), &rec, NULL);
	if (rc == 0)
		*ret = rec;
	return rc;
}

bool name_is_text(const char *name, size_t len)
{
	static const char *const suffix[] = { ".md",   ".markdown", ".txt", ".org",
					      ".rst",  ".adoc",     ".tex", ".todo" };
	for (size_t i = 0; i < sizeof(suffix) / sizeof(*suffix); i++) {
		size_t n = strlen(suffix[i]);
		if (len > n && !memcmp(name + len - n, suffix[i], n))
			return true;
	}
	return len == strlen(IGNORE_FILE) && !memcmp(name, IGNORE_FILE, len);
}

bool name_valid(const char *name, size_t len)
{
	return edge_name_valid(name, len);
}

static int found_conflict(const char *pointer, const struct entry *shown, const struct entry *lost,
			  void *userdata)
{
	(void)pointer;
	(void)shown;
	(void)lost;
	(void)userdata;
	return 1;
}

/* When the mtime register was written, for a directory's time. */
static uint64_t mtime_hlc(const struct replica *r, const struct record *rec)
{
	const struct slot *s = rec->top ? slot_find(rec->top, TOP_MTIME, strlen(TOP_MTIME)) : NULL;
	const struct entry *e = s ? reg_shown(&s->val, r->actors) : NULL;
	return e ? e->hlc : 0;
}

static int derive_content(struct replica *r, const struct record *rec, struct attr *at,
			  struct rendering *known, struct version **ret_version)
{
	struct value shown;
	if (rec->kind == NODE_DIR) {
		at->author = rec->n_edges ? rec->edge[0].dot.actor : ACTOR_NONE;
		return 0;
	}
	if (rec->kind == NODE_LINK) {
		link_target(r, rec, &at->target);
		at->size = content_shown(r, rec, &shown) && shown.kind == VALUE_LINK ? shown.len : 0;
		at->stored = at->size;
	} else {
		int rc = version_make(r, rec, known, ret_version);
		if (rc < 0)
			return rc;
		at->form = version_form(*ret_version);
		at->size = at->stored = version_size(*ret_version);
		/* Where the list of its chunks is not here, it has no holes that could be told of. */
		rc = version_stored(*ret_version, &at->stored);
		if (rc == -ENOMEM)
			return rc;
	}
	if (known && known->gist) {
		at->author = known->gist->newest.dot.actor;
		at->conflict = false;
		return 0;
	}
	const struct slot *s = rec->top ? slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) :
					  NULL;
	const struct entry *e = s ? slot_newest(s, r->actors) : NULL;
	at->author = e ? e->dot.actor : ACTOR_NONE;
	int rc = record_conflicts(rec, r->actors, found_conflict, NULL);
	at->conflict = rc > 0;
	return rc < 0 ? rc : 0;
}

int node_derive(struct replica *r, const struct record *rec, bool content, struct node *n,
		struct rendering *known, struct version **ret_version)
{
	struct attr *at = &n->attr;
	bool alive = record_alive(rec) || at->linked;
	at->id = at->entry = rec->id;
	at->scope = rec->scope;
	at->kind = rec->kind;
	at->mode = record_mode(rec, r->actors, mode_normal(rec->kind)) & 07777;
	record_version(rec, r->actors, &at->version);
	n->mtime_hlc = rec->kind == NODE_DIR ? mtime_hlc(r, rec) : 0;
	at->mtime_ns = known && known->gist ? record_mtime_of(rec, r->actors, known->gist->sum) :
					      record_mtime_ns(rec, r->actors);
	if (rec->kind == NODE_DIR)
		node_dir_time(n, at->mtime_ns, r->config.wall_us(r->config.userdata));
	n->flags = (uint8_t)((n->flags & NODE_LIVE) | (alive ? NODE_ALIVE : 0));
	if (content && (alive || rec->kind == NODE_DIR))
		return derive_content(r, rec, at, known, ret_version);
	return 0;
}

int commit_derive(struct commit *c, struct touched *t)
{
	struct replica *r = c->r;
	version_unref(TAKE_PTR(t->version));
	t->after.attr.ctime_ns = (int64_t)r->config.wall_us(r->config.userdata) * 1000;
	int rc = link_alive(c, t->record, &t->after.attr.linked);
	if (rc == 0)
		rc = commit_absence(c, t);
	if (rc < 0)
		return rc;
	bool content = t->content || !t->had || t->record->kind == NODE_DIR;
	rc = node_derive(r, t->record, content, &t->after, &t->known, &t->version);
	if (rc == 0 && t->version && t->written)
		version_set_written(t->version, TAKE_PTR(t->written));
	return rc;
}

/* ---- the dot index ---- */

static void dot_key(const struct record *rec, struct dot d, uint8_t key[static 44])
{
	struct buf b = { key, 0, 44, false };
	buf_put(&b, rec->scope.b, ID_SIZE);
	buf_u32(&b, d.actor);
	buf_u64(&b, d.seq);
	buf_put(&b, rec->id.b, ID_SIZE);
}

static void dot_put(struct store_batch *b, const struct record *rec, struct dot d)
{
	uint8_t key[44];
	dot_key(rec, d, key);
	store_put(b, STORE_DOTS, key, sizeof(key), "", 0);
}

static void dot_delete(struct store_batch *b, const struct record *rec, struct dot d)
{
	uint8_t key[44];
	dot_key(rec, d, key);
	store_delete(b, STORE_DOTS, key, sizeof(key));
}

struct entries {
	struct dot *extra;
	uint32_t n, cap;
};

static bool entries_add(struct entries *e, struct dot d)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (e->extra[i].actor == d.actor && e->extra[i].seq == d.seq)
			return true;
	if (e->n == e->cap)
		return false;
	e->extra[e->n++] = d;
	return true;
}

/* Entries of one actor: those that were, and what the change adds. Drops what no vector up to
 * `have` and no later claim needs: while the newest is beyond have, the newest one within have and
 * all beyond stay. */
static void actor_dots(struct commit *c, struct touched *t, struct store_batch *b, uint32_t actor,
		       uint64_t have, struct entries *keep)
{
	(void)c;
	uint64_t old = t->old ? vv_get(&t->old->ctx, actor) : 0;
	uint64_t new = vv_get(&t->record->ctx, actor), within = 0;
	uint64_t add = 0, to = t->to ? vv_get(t->to, actor) : 0;
	if (to > have) {
		uint64_t upto = vv_get(t->upto, actor);
		add = to < upto ? to : upto;
		if (add <= have || add == new)
			add = 0;
	}
	if (new != old)
		dot_put(b, t->record, (struct dot){ actor, new });
	if (old > 0 && old <= have)
		within = old;
	for (uint32_t i = 0; i < t->n_extra; i++)
		if (t->extra[i].actor == actor && t->extra[i].seq <= have &&
		    t->extra[i].seq > within)
			within = t->extra[i].seq;
	for (uint32_t i = 0; i <= t->n_extra; i++) {
		struct dot d = i < t->n_extra ? t->extra[i] : (struct dot){ actor, old };
		if (d.actor != actor || d.seq == 0 || d.seq == new)
			continue;
		if (new > have && d.seq >= within)
			entries_add(keep, d);
		else
			dot_delete(b, t->record, d);
	}
	if (add > 0) {
		struct dot d = { actor, add };
		dot_put(b, t->record, d);
		entries_add(keep, d);
	}
}

int commit_dots(struct commit *c, struct touched *t, struct store_batch *b)
{
	const struct vv *ctx = &t->record->ctx;
	const struct scope *s = scope_get(c->r, &t->record->scope, false);
	static const struct vv nothing;
	const struct vv *have = s ? &s->have : &nothing;
	/* What came of parts is not claimed, but passed on: rounds find it by that batch, and not before it is there. */
	bool all = c->settles || !scope_is_kept(c->r, &t->record->scope);
	uint32_t room = t->n_extra + 2 * ctx->n;
	struct entries keep = { arena_array(&c->arena, room ? room : 1, sizeof(struct dot)), 0, room };
	if (!keep.extra)
		return -ENOMEM;
	for (uint32_t i = 0; i < ctx->n; i++) {
		uint32_t actor = ctx->item[i].actor;
		/* Own batches are within have as soon as they are made. */
		uint64_t known = all || (c->seq_used && actor == c->stamp.dot.actor) ? UINT64_MAX :
										       vv_get(have, actor);
		bool changed = !t->old || vv_get(&t->old->ctx, actor) != ctx->item[i].seq;
		if (changed || t->n_extra > 0 || t->to)
			actor_dots(c, t, b, actor, known, &keep);
	}
	t->extra = keep.extra;
	t->n_extra = keep.n;
	return 0;
}

void dots_forget(const struct touched *t, uint32_t actor, struct store_batch *b)
{
	uint64_t seq = t->old ? vv_get(&t->old->ctx, actor) : 0;
	if (seq > vv_get(&t->record->ctx, actor))
		dot_delete(b, t->record, (struct dot){ actor, seq });
}

void dots_drop(const struct touched *t, struct store_batch *b)
{
	for (uint32_t i = 0; i < t->old->ctx.n; i++)
		dot_delete(b, t->old, (struct dot){ t->old->ctx.item[i].actor, t->old->ctx.item[i].seq });
	for (uint32_t i = 0; i < t->n_extra; i++)
		dot_delete(b, t->old, t->extra[i]);
}

int dots_iter(struct replica *r, const struct id *scope, uint32_t actor, uint64_t above,
	      struct store_iter **ret)
{
	_cleanup_(buf_done) struct buf from = { 0 }, end = { 0 };
	buf_put(&from, scope->b, ID_SIZE);
	buf_u32(&from, actor);
	buf_put(&end, from.data, from.len);
	buf_u64(&from, above + 1);
	buf_u64(&end, UINT64_MAX);
	if (buf_failed(&from) || buf_failed(&end))
		return -ENOMEM;
	return store_iter_new(r->store, NULL, STORE_DOTS, from.data, from.len, end.data, end.len, ret);
}

int dots_entry(const struct store_iter *it, uint64_t *ret_seq, struct id *ret_node)
{
	size_t len;
	const uint8_t *key = store_iter_key(it, &len);
	struct cursor c = cursor_make(key, len);
	cursor_take(&c, ID_SIZE + 4);
	*ret_seq = cursor_u64(&c);
	const uint8_t *node = cursor_take(&c, ID_SIZE);
	if (!cursor_end(&c))
		return -EBADMSG;
	memcpy(ret_node->b, node, ID_SIZE);
	return 0;
}
