/* SPDX-License-Identifier: GPL-2.0-or-later */

/* One commit: changed records in, one batch out. Everything that is derived of the records is
 * derived here, so that local changes and merges cannot differ in it. */

#include "engine/replica-schema-impl.h"

#include <errno.h>

#include "engine/purged.h"
#include "engine/replica-purge.h"
#include "engine/replica-index.h"

void commit_begin(struct commit *c, struct replica *r, bool remote)
{
	*c = (struct commit){ .r = r, .remote = remote };
	c->last = &c->first;
	c->last_dirent = &c->first_dirent;
	pthread_mutex_lock(&r->commit);
	c->locked = true;
	c->actor = ACTOR_NONE;
	if (!remote) {
		uint64_t hlc = clock_next(&r->clock, r->config.wall_us(r->config.userdata));
		c->stamp = (struct stamp){ { r->self, r->seq + 1 }, hlc };
		c->moved = c->stamp;
		c->hlc = hlc;
		c->actor = r->self;
	}
}

bool replica_is_committing(struct replica *r)
{
	if (pthread_mutex_trylock(&r->commit) != 0)
		return true;
	pthread_mutex_unlock(&r->commit);
	return false;
}

void commit_moved_at(struct commit *c, uint64_t when_us)
{
	if (when_us > 0 && when_us < hlc_us(c->stamp.hlc))
		c->moved.hlc = when_us << HLC_COUNTER_BITS;
}

void commit_done(struct commit *c)
{
	if (c->locked)
		pthread_mutex_unlock(&c->r->commit);
	c->locked = false;
	hold_done(&c->hold);
	for (struct touched *t = c->first; t; t = t->next) {
		rendering_done(&t->known);
		elements_free(t->written);
		free(t->pointer);
		version_unref(t->version);
	}
	table_done(&c->nodes);
	table_done(&c->dirents);
	arena_done(&c->arena);
}

static struct touched *touched_find(struct commit *c, const struct id *id)
{
	for (struct table_link *l = table_first(&c->nodes, id_hash(id)); l; l = l->next) {
		struct touched *t = (struct touched *)l;
		if (id_equal(&t->after.attr.id, id))
			return t;
	}
	return NULL;
}

struct touched *commit_touched(struct commit *c, const struct id *id)
{
	return touched_find(c, id);
}

/* The node's entry; made, with what is known of it now, when there is none. */
static int touched_get(struct commit *c, const struct id *id, struct touched **ret)
{
	struct touched *t = touched_find(c, id);
	if (t) {
		*ret = t;
		return 0;
	}
	t = arena_new(&c->arena, struct touched);
	if (!t)
		return -ENOMEM;
	int rc = node_get(c->r, &c->arena, id, &t->before);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	t->had = rc == 0;
	if (!t->had)
		t->before = (struct node){ .attr = { .id = *id, .entry = *id } };
	t->after = t->before;
	if (t->had && (t->before.flags & NODE_LIVE) && !id_equal(id, &NODE_ROOT) &&
	    !id_equal(&t->before.parent, &NODE_INODES)) {
		t->listed = true;
		t->at = (struct place){ t->before.parent, t->before.name, t->before.name_len };
	}
	rc = table_add(&c->nodes, &t->link, id_hash(id));
	if (rc < 0)
		return rc;
	*c->last = t;
	c->last = &t->next;
	*ret = t;
	return 0;
}

int commit_node(struct commit *c, const struct id *id, struct touched **ret)
{
	struct touched *t;
	int rc = touched_get(c, id, &t);
	if (rc == 0 && !t->had && !t->record)
		rc = -ENOENT;
	if (rc == 0)
		*ret = t;
	return rc;
}

int commit_record(struct commit *c, const struct id *id, struct stored *ret, struct err *e)
{
	struct touched *t = touched_find(c, id);
	if (t && t->record) {
		*ret = (struct stored){ t->record, t->extra, t->n_extra, t->trail };
		return 0;
	}
	return stored_get(c->r, NULL, &c->arena, id, ret, e);
}

int commit_put(struct commit *c, const struct stored *old, const struct record *record,
	       unsigned what, struct touched **ret)
{
	struct touched *t;
	if (!c->remote && !c->anywhere &&
	    (!scope_is_shown(c->r, &record->scope) || is_hidden(c->r, &record->id)))
		return -EROFS;
	/* Nothing comes after a purge. */
	if (old->record && record_is_purged(old->record) && !record_is_purged(record))
		return -ENOENT;
	int rc = touched_get(c, &record->id, &t);
	if (rc < 0)
		return rc;
	if (!t->record) {
		t->old = old->record;
		t->extra = old->extra;
		t->n_extra = old->n_extra;
		t->trail = old->trail;
	}
	t->record = record;
	t->leaf = NULL;
	t->what |= what;
	t->content |= !!(what & CHANGE_CONTENT);
	if (ret)
		*ret = t;
	return 0;
}

int commit_gone(struct commit *c, const struct id *id, struct touched **ret)
{
	struct touched *t;
	struct stored old;
	int rc = touched_get(c, id, &t);
	if (rc == 0 && t->gone)
		rc = -EALREADY;
	if (rc == 0)
		rc = commit_record(c, id, &old, NULL);
	if (rc < 0)
		return rc;
	t->old = old.record;
	t->extra = old.extra;
	t->n_extra = old.n_extra;
	t->trail = old.trail;
	t->gone = true;
	t->absence = 0;
	t->absence_new = absents_byte(c->r->absents, id) != 0;
	t->after.flags = 0;
	t->after.attr.scope = old.record->scope;
	t->after.attr.conflict = false;
	*ret = t;
	return 0;
}

int commit_scope(struct commit *c, const struct id *scope, int64_t files)
{
	uint32_t i = 0;
	while (i < c->n_scopes && !id_equal(&c->scopes[i], scope))
		i++;
	if (i == c->cap_scopes) {
		uint32_t cap = c->cap_scopes ? 2 * c->cap_scopes : 4;
		struct id *scopes = arena_array(&c->arena, cap, sizeof(*scopes));
		int64_t *counts = arena_array(&c->arena, cap, sizeof(*counts));
		if (!scopes || !counts)
			return -ENOMEM;
		for (uint32_t k = 0; k < c->n_scopes; k++) {
			scopes[k] = c->scopes[k];
			counts[k] = c->files[k];
		}
		c->scopes = scopes;
		c->files = counts;
		c->cap_scopes = cap;
	}
	if (i == c->n_scopes) {
		c->scopes[i] = *scope;
		c->files[i] = 0;
		c->n_scopes++;
	}
	c->files[i] += files;
	return 0;
}

/* A file with hard links counts as often as it has names. */
static bool is_named(const struct node *n)
{
	return n->attr.kind != NODE_DIR && (n->flags & NODE_LIVE) &&
	       !id_equal(&n->parent, &NODE_INODES);
}

static int count_files(struct commit *c, const struct touched *t)
{
	int was = t->had && is_named(&t->before), is = is_named(&t->after);
	return was == is ? 0 : commit_scope(c, &t->after.attr.scope, is - was);
}

static void put_record(struct commit *c, struct touched *t, struct store_batch *b, struct buf *v)
{
	if (trail_put(c, t, b, v))
		return;
	buf_reset(v);
	buf_u8(v, trail_format(c, t));
	buf_varint(v, t->n_extra);
	for (uint32_t i = 0; i < t->n_extra; i++) {
		buf_varint(v, t->extra[i].actor);
		buf_varint(v, t->extra[i].seq);
	}
	record_encode(t->record, c->r->actors, v);
	store_put(b, STORE_DOCS, t->record->id.b, ID_SIZE, v->data, v->len);
}

/* Attributes are kept of what is live, and of directories that were, as places to hang at. */
static bool kept(const struct touched *t)
{
	const struct node *n = &t->after;
	return !t->gone && (n->attr.kind == NODE_DIR || (n->flags & NODE_LIVE));
}

static int put_nodes(struct commit *c, struct store_batch *b, struct buf *v)
{
	for (struct touched *t = c->first; t; t = t->next) {
		int rc = 0;
		if (t->record && !touched_same(t)) {
			rc = commit_dots(c, t, b);
			if (rc == 0 && c->restamp)
				dots_forget(t, c->restamp->from, b);
			if (rc == 0)
				put_record(c, t, b, v);
			c->written += v->len;
		}
		if (rc == 0)
			rc = count_files(c, t);
		if (rc < 0)
			return rc;
		if (buf_failed(v))
			return -ENOMEM;
		if (t->gone)
			rc = gone_put(c, t, b);
		if (rc == 0 && t->gone)
			rc = left_put(c, t, b);
		if (rc == 0 && t->record)
			part_put(c, t, b);
		if (rc == 0 && t->record && record_is_purged(t->record) && !(t->old && record_is_purged(t->old)))
			read_forget(&t->record->id, b);
		if (rc < 0)
			return rc;
		/* Of one that was deleted, too, and is not kept any more: it may come back. */
		if (t->absence_new)
			absents_put(b, &t->after.attr.id, t->absence);
		if (!t->had && !t->record)
			continue;
		buf_reset(v);
		conflict_put(t, b);
		link_put(t, b);
		if (kept(t)) {
			node_encode(&t->after, v);
			store_put(b, STORE_ATTRS, t->after.attr.id.b, ID_SIZE, v->data, v->len);
		} else if (t->had) {
			store_delete(b, STORE_ATTRS, t->after.attr.id.b, ID_SIZE);
		}
		if (buf_failed(v))
			return -ENOMEM;
	}
	return 0;
}

static bool claims_equal(const struct claims *x, const struct claims *y)
{
	if (x->n != y->n)
		return false;
	for (uint32_t i = 0; i < x->n; i++)
		if (!id_equal(&x->claim[i].id, &y->claim[i].id) ||
		    x->claim[i].counter != y->claim[i].counter ||
		    x->claim[i].actor != y->claim[i].actor)
			return false;
	return true;
}

static int put_dirents(struct commit *c, struct store_batch *b, struct buf *v)
{
	uint8_t key[ID_SIZE + NAME_MAX_BYTES];
	for (struct dirent *d = c->first_dirent; d; d = d->next) {
		if (claims_equal(&d->before, &d->after))
			continue;
		memcpy(key, d->parent.b, ID_SIZE);
		memcpy(key + ID_SIZE, d->name, d->len);
		contested_put(d, key, ID_SIZE + d->len, b);
		if (d->after.n == 0) {
			store_delete(b, STORE_DIRENTS, key, ID_SIZE + d->len);
			continue;
		}
		buf_reset(v);
		claims_encode(&d->after, v);
		if (buf_failed(v))
			return -ENOMEM;
		store_put(b, STORE_DIRENTS, key, ID_SIZE + d->len, v->data, v->len);
	}
	return 0;
}

/* So that publish() can raise the vector without fail. */
static int vv_room(struct vv *v)
{
	if (v->n < v->cap)
		return 0;
	uint32_t cap = v->cap ? 2 * v->cap : 4;
	struct vv_item *item = reallocarray(v->item, cap, sizeof(*item));
	if (!item)
		return -ENOMEM;
	v->item = item;
	v->cap = cap;
	return 0;
}

static int put_meta(struct commit *c, struct store_batch *b, struct buf *v)
{
	struct replica *r = c->r;
	for (uint32_t i = 0; i < c->n_scopes; i++) {
		struct scope *s = scope_get(r, &c->scopes[i], false);
		if (s && !c->seq_used && c->files[i] == 0)
			continue;
		if (!s)
			s = scope_get(r, &c->scopes[i], true);
		if (!s)
			return -ENOMEM;
		/* In memory only when it is written: a view must not promise a number that a crash
		 * takes back. */
		struct vv have = s->have;
		if (c->seq_used) {
			pthread_mutex_lock(&r->scopes_lock);
			int rc = vv_room(&s->have);
			pthread_mutex_unlock(&r->scopes_lock);
			have = s->have;
			if (rc == 0 && c->restamp)
				rc = vv_restamp(&c->arena, &have, c->restamp, &have);
			if (rc == 0)
				rc = vv_arena_raise(&c->arena, &have, c->stamp.dot, &have);
			if (rc < 0)
				return rc;
		}
		scope_put_batch(r, b, &s->id, &have, s->files + (uint64_t)c->files[i]);
	}
	for (uint32_t i = 0; i < c->n_loose_add + c->n_loose_drop; i++) {
		const struct id *id =
			i < c->n_loose_add ? &c->loose_add[i] : &c->loose_drop[i - c->n_loose_add];
		buf_reset(v);
		meta_key(v, META_LOOSE, id->b, ID_SIZE, NULL, 0);
		if (buf_failed(v))
			return -ENOMEM;
		if (i < c->n_loose_add)
			store_put(b, STORE_META, v->data, v->len, "", 0);
		else
			store_delete(b, STORE_META, v->data, v->len);
	}
	return 0;
}

/* In memory as in the store. What cannot be had here for want of memory is loaded later. */
static void publish(struct commit *c, uint32_t actors)
{
	struct replica *r = c->r;
	r->actors_saved = actors;
	if (c->kept)
		atomic_fetch_add(&r->local_writes, 1);
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < c->n_scopes; i++) {
		struct scope *s = scope_get(r, &c->scopes[i], false);
		s->files += (uint64_t)c->files[i];
		if (c->restamp)
			vv_lower(&s->have, c->restamp->from, c->restamp->above);
		if (c->seq_used)
			vv_raise(&s->have, c->stamp.dot.actor, c->stamp.dot.seq);
		atomic_fetch_add(&r->files, (uint64_t)c->files[i]);
	}
	pthread_mutex_unlock(&r->scopes_lock);
	if (c->restamp) {
		incarnation_is(r, c->stamp.dot.actor, c->stamp.dot.seq);
		atomic_fetch_add(&r->n_restamped, 1);
		atomic_fetch_add(&r->sweeps, 1); /* who reads meanwhile begins anew */
	}
	loose_update(c);
	uint64_t commit = atomic_fetch_add(&r->commits, 1) + 1;
	for (struct touched *t = c->first; t; t = t->next) {
		if (t->absence_new)
			absents_set(r->absents, &t->after.attr.id, t->absence);
		if (t->version)
			version_keep(r, t->version);
		if (t->record)
			types_changed(r, t->record);
		schema_touched(r, t);
		if (t->record || t->gone)
			large_publish(c, t);
		if ((t->content || t->gone) && !t->kept && t->had && t->before.attr.form == FORM_BLOB &&
		    (t->gone || !id_equal(&t->before.attr.version, &t->after.attr.version)))
			atomic_fetch_add(&r->orphaned, t->before.attr.size);
		if (!t->had && !t->record)
			continue;
		if (kept(t))
			node_cache(r, &t->after, commit);
		else
			node_forget(r, &t->after.attr.id);
	}
}

static int derive(struct commit *c)
{
	int rc = links_touch(c);
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		if (!t->record)
			continue;
		c->seq_used |= !c->remote;
		rc = commit_derive(c, t);
		if (rc == 0)
			rc = commit_scope(c, &t->record->scope, 0);
	}
	if (rc == 0)
		rc = commit_visits(c);
	if (rc == 0)
		rc = commit_place(c);
	if (rc == 0)
		rc = commit_entries(c);
	return rc;
}

int commit_end(struct commit *c, struct err *e)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	struct replica *r = c->r;
	struct store_batch *b = r->batch;
	if (!c->first)
		return 0;
	int rc = left_renew(c, e);
	if (rc < 0)
		return rc;
	rc = derive(c);
	if (rc < 0)
		return err_errno(e, rc, "cannot take the change in");
	store_batch_clear(b);
	rc = put_nodes(c, b, &v);
	if (rc == 0)
		rc = put_dirents(c, b, &v);
	if (rc == 0) {
		rc = commit_history(c, b, &v, e);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		rc = put_meta(c, b, &v);
	if (rc == 0)
		rc = put_visits(c, b);
	if (rc == 0)
		rc = picks_put(c, b);
	if (rc == 0)
		rc = indexes_put(c, b);
	c->together &= c->written <= TXN_BYTES_MAX;
	if (rc == 0)
		rc = commit_batches(c, b);
	if (rc == 0 && c->seq_used)
		rc = own_put(c, b);
	if (rc == 0 && c->restamp)
		rc = restamp_put(c, b);
	if (rc == 0 && c->whole && c->written > TXN_BYTES_MAX)
		return err_set(e, -EFBIG, "a batch may leave %u MiB behind, not more: make it smaller",
			       TXN_BYTES_MAX >> 20);
	if (rc < 0)
		return err_errno(e, rc, "cannot take the change in");
	if (c->kept)
		store_delete(b, STORE_LOCAL, c->kept->data, c->kept->len);
	uint32_t actors = actors_count(r->actors);
	actors_put_batch(r, b, actors);
	if (c->seq_used)
		r->seq = c->stamp.dot.seq; /* spent even if the write fails */
	rc = versions_write_begin(c);
	rc = rc < 0 ? err_errno(e, rc, "cannot take the change in") : store_write(r->store, b, e);
	if (rc == 0)
		publish(c, actors);
	versions_write_end(c);
	if (rc < 0)
		return rc;
	/* What leaves has not been shown since it was given up. */
	bool tell = atomic_load(&r->observers) > 0 && !c->dropping;
	if (tell)
		pthread_mutex_lock(&r->notify);
	pthread_mutex_unlock(&r->commit);
	c->locked = false;
	if (tell) {
		commit_notify(c);
		pthread_mutex_unlock(&r->notify);
	}
	return 0;
}
