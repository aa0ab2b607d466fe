/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Purging: what a file that was deleted long ago held goes, and that it was deleted stays (shoal-format(7), "Purging").
 * Whoever still has something of it that nobody who purged it knew writes that down as another file before he lets it
 * go. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/counter.h"
#include "engine/history.h"
#include "engine/nameid.h"
#include "engine/purged.h"
#include "engine/slot.h"

#define MEMORY_MAX (32u << 20) /* bytes of the records of one commit */

/* ---- purging ---- */

static bool in_inodes(const struct record *rec)
{
	for (uint32_t i = 0; i < rec->n_edges; i++)
		if (edge_is_inodes(&rec->edge[i]))
			return true;
	return false;
}

/* Programs here see what is in it, and may change it. */
static bool is_shown(struct replica *r, const struct record *rec)
{
	return scope_is_shown(r, &rec->scope) && !is_hidden(r, &rec->id);
}

static int may_purge(struct replica *r, const struct record *rec)
{
	struct id target;
	link_target(r, rec, &target);
	if (rec->kind == NODE_DIR || record_is_purged(rec) || rec->n_edges == 0 || record_alive(rec) ||
	    in_inodes(rec) || !id_is_zero(&target) || !is_shown(r, rec))
		return 0;
	int live = node_live(r, &rec->id);
	return live < 0 ? live : !live;
}

static void orphan(struct replica *r, const struct record *rec)
{
	struct value v;
	struct blob_ref ref;
	if (rec->kind == NODE_FILE && content_shown(r, rec, &v) && v.kind == VALUE_BLOB &&
	    blob_ref_decode(&v, &ref) == 0)
		atomic_fetch_add(&r->orphaned, ref.size);
}

static int put_purged(struct commit *c, const struct stored *old, const struct record *rec)
{
	const struct record *bare;
	int rc = record_purge(&c->arena, c->r->actors, rec, &c->stamp, &bare);
	return rc < 0 ? rc : commit_put(c, old, bare, CHANGE_CONTENT, NULL);
}

/* 1: it was purged. */
static int purge_one(struct commit *c, const struct id *id, struct err *e)
{
	struct stored old;
	int rc = commit_record(c, id, &old, e);
	if (rc == 0)
		rc = may_purge(c->r, old.record);
	if (rc <= 0)
		return rc == -ENOENT ? 0 : rc;
	rc = put_purged(c, &old, old.record);
	if (rc < 0)
		return rc;
	orphan(c->r, old.record);
	return 1;
}

int replica_purge(struct replica *r, const struct id *id, uint32_t n, uint32_t *ret_n,
		  uint32_t *ret_purged, struct err *e)
{
	struct commit c;
	uint32_t looked = 0, purged = 0;
	int rc = 0;
	commit_begin(&c, r, false);
	while (rc >= 0 && looked < n && looked < PURGE_NODES_MAX && (looked == 0 || c.arena.total < MEMORY_MAX)) {
		rc = purge_one(&c, &id[looked++], e);
		purged += rc > 0;
	}
	if (rc >= 0)
		rc = commit_end(&c, e);
	else
		err_errno(e, rc, "cannot purge what was deleted");
	commit_done(&c);
	if (rc < 0)
		return rc;
	*ret_n = looked;
	*ret_purged = purged;
	return 0;
}

void purge_encode(struct replica *r, const struct stored *s, struct buf *b)
{
	struct record bare = *s->record;
	record_bare(&bare);
	buf_u8(b, DOC_FORMAT);
	buf_varint(b, s->n_extra);
	for (uint32_t i = 0; i < s->n_extra; i++) {
		buf_varint(b, s->extra[i].actor);
		buf_varint(b, s->extra[i].seq);
	}
	record_encode(&bare, r->actors, b);
}

/* ---- what is old ---- */

struct due {
	struct id id;
	uint64_t stamp;
};

struct dues {
	struct due *list; /* PURGE_NODES_MAX */
	struct id *id;
	uint32_t n;
	bool more;
};

static bool is_own(const struct replica *r, uint32_t actor)
{
	return actor != ACTOR_NONE && actor < actors_count(r->actors) &&
	       id_equal(&actors_get(r->actors, actor)->device, &r->config.device);
}

/* From w->next on, which goes on behind what was looked at. */
static int find_due(struct replica *r, uint64_t horizon_us, struct purge_walk *w, struct dues *d)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf end = { 0 };
	uint8_t from[HISTORY_KEY_SIZE];
	history_key(&NODE_TRASH, w->next, from);
	store_prefix_end(NODE_TRASH.b, ID_SIZE, &end);
	int rc = buf_failed(&end) ? -ENOMEM :
		store_iter_new(r->store, NULL, STORE_HISTORY, from, sizeof(from), end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct history_deletion h;
		struct due x;
		struct id node;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		if (history_key_decode(key, key_len, &node, &x.stamp) < 0 ||
		    history_deletion_decode(r->actors, value, len, &h, NULL) < 0)
			continue; /* verification tells */
		uint64_t us = hlc_us(x.stamp);
		if (us + horizon_us > w->now_us)
			break;
		if (d->n == PURGE_NODES_MAX) {
			d->more = true;
			break;
		}
		w->next = x.stamp + 1;
		if (h.moved || h.kind == NODE_DIR || (!is_own(r, h.actor) && us + horizon_us + horizon_us / 4 > w->now_us))
			continue;
		x.id = h.node;
		d->id[d->n] = h.node;
		d->list[d->n++] = x;
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* The list does not need them any more: they are purged, or live and will be listed again, or are of a kind that is
 * not. */
static int strike(struct replica *r, const struct due *x, uint32_t n, struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	int rc = store_batch_new(&b);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		uint8_t key[HISTORY_KEY_SIZE];
		history_key(&NODE_TRASH, x[i].stamp, key);
		store_delete(b, STORE_HISTORY, key, sizeof(key));
	}
	return rc < 0 ? rc : store_write(r->store, b, e);
}

int replica_purge_old(struct replica *r, uint64_t horizon_us, struct purge_walk *w, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct dues d = { .list = arena_array(&a, PURGE_NODES_MAX, sizeof(*d.list)),
			  .id = arena_array(&a, PURGE_NODES_MAX, sizeof(*d.id)) };
	int rc = !d.list || !d.id ? -ENOMEM : atomic_load(&r->no_sweeps) ? -ECANCELED : 0;
	if (rc == 0 && w->now_us == 0)
		rc = history_thinned(r, &w->now_us);
	if (rc == -ENOENT) /* nobody has looked at the clock yet */
		return 0;
	if (rc == 0)
		rc = find_due(r, horizon_us, w, &d);
	if (rc < 0)
		return err_errno(e, rc, "cannot look for what was deleted");
	uint32_t at = 0;
	while (rc == 0 && at < d.n) {
		uint32_t n, purged;
		rc = replica_purge(r, d.id + at, d.n - at, &n, &purged, e);
		if (rc == 0)
			rc = strike(r, d.list + at, n, e);
		if (rc < 0)
			return err_errno(e, rc, "cannot purge what was deleted");
		at += n;
		w->purged += purged;
	}
	return d.more;
}

/* ---- two records of which one is purged ---- */

static int any_link(const struct id *link, void *userdata)
{
	(void)link, (void)userdata;
	return 1;
}

/* It has become another file, whose bytes are elsewhere, and so have its links: nothing is left to be done here. */
static bool is_noted(struct replica *r, const struct record *rec)
{
	struct id heir;
	if (absents_get(r->absents, &rec->id) == ABSENT_NOT ||
	    (in_inodes(rec) && link_each(r, NULL, &rec->id, &rec->scope, any_link, NULL) != 0))
		return false;
	record_heir(rec, r->actors, &heir);
	return store_has(r->store, NULL, STORE_DOCS, heir.b, ID_SIZE);
}

enum apart purge_apart(struct replica *r, const struct record *old, const struct delta *d)
{
	const struct record *new = &d->state;
	if (!old || old->kind == NODE_DIR || record_is_purged(old) == record_is_purged(new))
		return APART_NOT;
	/* Whoever has it does so, and not only who shows it: the next device may never be told of it. */
	if (record_is_purged(new))
		return record_has_news(old, record_purge_seen(new)) &&
			       ((record_alive(old) && !in_inodes(old)) || node_live(r, &old->id) > 0) &&
			       !is_noted(r, old) ?
			       APART_OURS : APART_NOT;
	/* Whether a name of a file that has hard links is left is not seen here; if none is, nobody will see the copy. */
	if (!record_has_news(new, record_purge_seen(old)))
		return APART_NOT;
	return d->complete && !record_alive(new) ? APART_NOT : APART_THEIRS;
}

static int conflict_found(const char *pointer, const struct entry *shown, const struct entry *lost, void *userdata)
{
	(void)pointer, (void)shown, (void)lost, (void)userdata;
	return 1;
}

/* Steps that somebody took are not in what a file shows: written anew by two they would be one. */
static bool has_counter(const struct slot *s)
{
	bool has = slot_counts(s);
	for (uint32_t i = 0; !has && i < s->n; i++)
		has = has_counter(s->child[i]);
	return has;
}

/* Is it written down as what its name says it is? 1, 0, or an error. */
static int by_name(struct replica *r, const struct record *rec, const struct edge *at)
{
	struct value v;
	if (rec->kind != NODE_FILE || !at || in_inodes(rec) || !name_is_document(at->name, at->name_len) ||
	    !content_shown(r, rec, &v) || !value_is_json(v.kind))
		return 0;
	const struct slot *content = slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT));
	if (content && has_counter(content))
		return 0;
	int rc = record_conflicts(rec, r->actors, conflict_found, NULL);
	return rc < 0 ? rc : rc == 0;
}

/* The document of that name that is here, or that is to be made: 1, it is live. -ENOENT: there is none. */
static int choose_document(struct commit *c, const struct record *from, const struct edge *at, struct id *ret,
			   struct stored *ret_old)
{
	for (uint32_t g = 0; g < GENERATIONS_MAX; g++) {
		struct node n;
		name_id("json", &at->parent, at->name, at->name_len, g, ret);
		*ret_old = (struct stored){ 0 };
		int rc = commit_record(c, ret, ret_old, NULL);
		if (rc == -ENOENT)
			return 0;
		if (rc < 0)
			return rc;
		if (id_equal(ret, &from->id) || record_is_spent(ret_old->record) ||
		    ret_old->record->kind != NODE_FILE || !id_equal(&ret_old->record->scope, &from->scope))
			continue;
		rc = node_get(c->r, &c->arena, ret, &n);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		if (rc == -ENOENT || !(n.flags & NODE_LIVE))
			return 0;
		if (id_equal(&n.parent, &at->parent) && n.name_len == at->name_len &&
		    memcmp(n.name, at->name, at->name_len) == 0)
			return 1;
	}
	return -ENOENT;
}

static int keep_time(struct commit *c, const struct record *from, const struct record **rec)
{
	uint8_t data[VALUE_INT_MAX];
	const struct value v = value_of_int(record_mtime_ns(from, c->r->actors), data);
	return record_set(&c->arena, c->r->actors, *rec, TOP_MTIME, NULL, 0, &v, NULL, &c->stamp, rec);
}

/* What the record shows, as a new document or beside what is in the one that has the name. */
static int write_document(struct commit *c, const struct record *from, const struct edge *at, const struct id *id,
			  const struct stored *old, bool live)
{
	static const struct vv nothing;
	struct draft d = { 0 };
	struct difference diff;
	struct pointers pointers = { 0 };
	struct arena *a = &c->arena;
	const struct record *rec = old->record;
	int rc = draft_of(c, from, &d);
	if (rc == 0)
		rc = draft_difference(c->r, a, &from->scope, &d, NULL, &diff);
	if (rc == 0 && !live)
		rc = record_begin(c, id, &from->scope, NODE_FILE, old, &at->parent, at->name, at->name_len,
				  record_mode(from, c->r->actors, mode_normal(NODE_FILE)), &rec);
	if (rc == 0 && !live)
		rc = record_above(a, at->counter - 1, &rec);
	if (rc == 0)
		rc = draft_write(c, &d, &diff, rec, live ? &nothing : NULL, live, &pointers, &rec);
	if (rc == 0 && !live)
		rc = copy_xattrs(c, from, rec, &rec);
	if (rc == 0 && !live)
		rc = keep_time(c, from, &rec);
	if (rc == 0 && rec != old->record)
		rc = draft_put(c, &d, old, rec, live, &pointers, CHANGE_ATTR, NULL);
	pointers_done(&pointers);
	types_free(d.types);
	return rc;
}

static int add_id(const struct id *link, void *userdata)
{
	buf_put(userdata, link->b, ID_SIZE);
	return buf_failed(userdata) ? -ENOMEM : 0;
}

/* Hard links to the file name the other one from now on. */
static int turn_links(struct commit *c, const struct record *from, const struct id *heir)
{
	_cleanup_(buf_done) struct buf links = { 0 };
	const struct value v = { VALUE_NODE, heir->b, ID_SIZE };
	int rc = link_each(c->r, NULL, &from->id, &from->scope, add_id, &links);
	for (size_t at = 0; rc == 0 && at < links.len; at += ID_SIZE) {
		struct stored s;
		struct id link;
		const struct record *rec;
		memcpy(link.b, links.data + at, ID_SIZE);
		rc = commit_record(c, &link, &s, NULL);
		if (rc == 0)
			rc = record_set_content(&c->arena, c->r->actors, s.record, &v, NULL, &c->stamp, &rec);
		if (rc == 0 && rec != s.record)
			rc = commit_put(c, &s, rec, CHANGE_CONTENT, NULL);
	}
	return rc;
}

static int write_copy(struct commit *c, const struct record *from, const struct vv *seen, enum absence lacks)
{
	struct stored old = { 0 };
	const struct record *rec;
	struct touched *t;
	struct id heir;
	record_heir(from, c->r->actors, &heir);
	int rc = commit_record(c, &heir, &old, NULL);
	if (rc == -ENOENT) {
		rc = record_inherit(&c->arena, from, &heir, seen, &c->stamp, &rec);
		if (rc == 0)
			rc = commit_put(c, &old, rec, CHANGE_CONTENT | CHANGE_ATTR, &t);
		if (rc == 0)
			t->lacks = lacks;
	}
	return rc == 0 && in_inodes(from) ? turn_links(c, from, &heir) : rc;
}

/* seen: of the purge. alone: not as what its name says, whatever that is. */
static int write_heir(struct commit *c, const struct record *from, const struct vv *seen, enum absence lacks, bool alone)
{
	const struct edge *at = record_last_place(from);
	const struct slot *content = from->top ? slot_find(from->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	const struct entry *newest = content ? slot_newest(content, c->r->actors) : NULL;
	struct stored old;
	struct id id;
	/* What is not shown has no documents to be joined with. */
	int named = !alone && is_shown(c->r, from) ? by_name(c->r, from, at) : 0;
	if (named < 0)
		return named;
	/* What was written later in the file of that name is later. */
	if (newest && newest->hlc < c->stamp.hlc)
		c->stamp.hlc = newest->hlc;
	int rc = named ? choose_document(c, from, at, &id, &old) : -ENOENT;
	if (rc >= 0)
		return write_document(c, from, at, &id, &old, rc > 0);
	return rc == -ENOENT ? write_copy(c, from, seen, lacks) : rc;
}

static int inherit_locked(struct commit *c, const struct delta *d, enum absence lacks, bool alone, struct err *e)
{
	struct stored old;
	const struct record *from;
	enum absence here;
	int rc = commit_record(c, &d->state.id, &old, e);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	c->together = true;
	c->anywhere = true;
	switch (purge_apart(c->r, old.record, d)) {
	case APART_NOT:
		break;
	case APART_OURS:
		from = old.record;
		here = absents_get(c->r->absents, &from->id);
		rc = write_heir(c, from, record_purge_seen(&d->state), here, alone || here != ABSENT_NOT);
		/* Whoever has the bytes would let them go if the purge knew of them. */
		return rc < 0 || here != ABSENT_NOT ? rc : put_purged(c, &old, from);
	case APART_THEIRS:
		/* The purged record takes it in with all that came with it, not before. */
		rc = delta_join(&c->arena, c->r->actors, NULL, d, &from);
		if (rc == 0)
			rc = write_heir(c, from, record_purge_seen(old.record), lacks, alone);
		return rc < 0 ? rc : 1;
	}
	return 0;
}

/* The names of a file came with it, or before it, and name the purged one still. Where there are more of them is
 * where it was changed: there they turn once the purge is heard of, and so nobody is told that this is done. */
static int turn_again(struct commit *c, const struct delta *d)
{
	const struct record *from;
	struct stored old;
	struct id heir;
	int rc = delta_join(&c->arena, c->r->actors, NULL, d, &from);
	if (rc < 0)
		return rc;
	record_heir(from, c->r->actors, &heir);
	rc = commit_record(c, &heir, &old, NULL);
	return rc < 0 ? rc : turn_links(c, from, &heir);
}

int purge_again(struct replica *r, const struct delta *d, enum absence lacks, struct err *e)
{
	struct commit c;
	struct stored old;
	commit_begin(&c, r, false);
	c.anywhere = true;
	int rc = commit_record(&c, &d->state.id, &old, e);
	if (rc == 0 && in_inodes(&d->state))
		rc = turn_again(&c, d);
	else if (rc == 0 && record_is_purged(old.record) && lacks == ABSENT_NOT)
		rc = put_purged(&c, &old, old.record);
	if (rc == 0)
		rc = commit_end(&c, e);
	else
		err_errno(e, rc, "cannot note what became of a deleted file");
	commit_done(&c);
	return rc;
}

static int inherit(struct replica *r, const struct delta *d, enum absence lacks, bool alone, struct err *e)
{
	struct commit c;
	commit_begin(&c, r, false);
	int theirs = inherit_locked(&c, d, lacks, alone, e);
	int rc = theirs < 0 ? err_errno(e, theirs, "cannot keep what was changed in a deleted file") : commit_end(&c, e);
	commit_done(&c);
	return rc < 0 ? rc : theirs;
}

int purge_inherit(struct replica *r, const struct delta *d, enum absence lacks, struct err *e)
{
	struct err first = { 0 };
	int rc = inherit(r, d, lacks, false, &first);
	if (rc >= 0)
		return rc;
	/* Whatever it is that no document can be made of, or not where others have to be: it would be so the next time. */
	if (rc != -ENOMEM && rc != -EIO && rc != -ENOSPC)
		return inherit(r, d, lacks, true, e);
	*e = first;
	return rc;
}
