/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a peer lacks, from the dot index of a view.
 *
 * A walk can begin where an earlier one was cut, in the same or a later view of the same store:
 * shoal-protocol(7), Places. Only the walk is shortened: deltas are made for what the peer is known to have,
 * which is less.
 *
 * For each actor the entries in (known, have] are walked. A node has one for each actor that changed
 * it there, and maybe more (engine/replica.h, Vectors); it is sent with the first of them, which the
 * record itself tells: the actors of its context and its extra entries.
 *
 * A directory goes before what hangs in it, although its own entry may come later (cp -r sets a
 * directory's mode last): else half a tree would show up under lost+found for a while.
 *
 * What a batch changed goes as a bundle with the node that comes first (replica-batch.c), whichever
 * scopes the others are of, with its directories; those of this scope are not sent again. */

#include "engine/backlog-impl.h"

#include <errno.h>

#define DEPTH_MAX 4096 /* directories sent ahead for one node */
#define COUNT_LEAST 64 /* numbers of one actor that are worth a look at which are of the scope */

static int by_identifier(const void *x, const void *y, void *userdata)
{
	const uint32_t *a = x, *b = y;
	return actors_cmp(userdata, *a, *b);
}

static void list_actors(struct backlog *b)
{
	b->n_actors = 0;
	b->left = 0;
	for (uint32_t i = 0; i < b->have->n; i++) {
		struct vv_item item = b->have->item[i];
		uint64_t k = vv_get(&b->skip, item.actor);
		if (k >= item.seq)
			continue;
		b->actor[b->n_actors++] = item.actor;
		b->left += item.seq - k;
	}
	qsort_r(b->actor, b->n_actors, sizeof(*b->actor), by_identifier, b->r->actors);
}

int backlog_new(struct replica *r, struct view *view, const struct id *scope, const struct vv *known,
		struct backlog **ret)
{
	_cleanup_(backlog_freep) struct backlog *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->r = r;
	b->view = view_ref(view);
	b->scope = *scope;
	b->have = view_have(view, scope);
	int rc = vv_copy(known, &b->known);
	if (rc == 0)
		rc = vv_copy(known, &b->skip);
	if (rc < 0)
		return rc;
	b->actor = calloc(b->have->n ? b->have->n : 1, sizeof(*b->actor));
	if (!b->actor)
		return -ENOMEM;
	list_actors(b);
	*ret = TAKE_PTR(b);
	return 0;
}

void backlog_free(struct backlog *b)
{
	if (!b)
		return;
	store_iter_free(b->it);
	table_each(&b->done, i, l, next)
		free(l);
	table_done(&b->done);
	recent_free(b);
	table_each(&b->alone, i, l, next)
		free(l);
	table_done(&b->alone);
	buf_done(&b->queue);
	arena_done(&b->arena);
	vv_done(&b->known);
	vv_done(&b->skip);
	vv_done(&b->limit);
	free(b->actor);
	view_unref(b->view);
	free(b);
}

void backlog_others(struct backlog *b, const struct vv *(*known)(const struct id *scope, void *userdata),
		    void *userdata)
{
	b->others = known;
	b->userdata = userdata;
}

int backlog_skip(struct backlog *b, const struct vv *reached)
{
	int rc = vv_join(&b->skip, reached);
	b->resumed = true;
	list_actors(b);
	return rc;
}

int backlog_limit(struct backlog *b, const struct vv *upto)
{
	int rc = vv_copy(upto, &b->limit);
	if (rc < 0)
		return rc;
	b->have = &b->limit;
	list_actors(b);
	return 0;
}

bool backlog_place(const struct backlog *b, uint32_t *ret_actor, uint64_t *ret_seq)
{
	if (b->turned || !b->it || b->queue.len > 0 || backlog_inside(b) || b->last == 0)
		return false;
	/* There may be more of the batch that the last one is of. */
	uint32_t actor = b->actor[b->at];
	if (b->last - 1 <= vv_get(&b->skip, actor))
		return false;
	*ret_actor = actor;
	*ret_seq = b->last - 1;
	return true;
}

const struct bundle *backlog_bundle(const struct backlog *b)
{
	return b->sent == 1 ? &b->bundle : NULL;
}

bool backlog_inside(const struct backlog *b)
{
	return b->sent < b->bundle.n_deltas;
}

uint64_t backlog_left(const struct backlog *b)
{
	return b->left + b->queue.len / ID_SIZE;
}

bool backlog_has(const struct table *t, const struct id *id)
{
	for (struct table_link *l = table_first(t, id_hash(id)); l; l = l->next)
		if (id_equal(&((struct done *)l)->id, id))
			return true;
	return false;
}

int backlog_add(struct table *t, const struct id *id)
{
	struct done *d = malloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->id = *id;
	int rc = table_add(t, &d->link, id_hash(id));
	if (rc < 0)
		free(d);
	return rc;
}

static bool is_done(const struct backlog *b, const struct id *id)
{
	return backlog_has(b->turned ? recent_done((struct backlog *)(uintptr_t)b) : &b->done, id);
}

static int set_done(struct backlog *b, const struct id *id)
{
	return backlog_add(b->turned ? recent_done(b) : &b->done, id);
}

static void entry_key(struct buf *b, const struct id *scope, uint32_t actor, uint64_t seq)
{
	buf_put(b, scope->b, ID_SIZE);
	buf_u32(b, actor);
	buf_u64(b, seq);
}

/* Entries of an actor that are to be walked. */
static int entries_of(struct backlog *b, uint32_t actor, struct store_iter **ret)
{
	_cleanup_(buf_done) struct buf low = { 0 };
	_cleanup_(buf_done) struct buf high = { 0 };
	entry_key(&low, &b->scope, actor, vv_get(&b->skip, actor) + 1);
	entry_key(&high, &b->scope, actor, vv_get(b->have, actor) + 1);
	if (buf_failed(&low) || buf_failed(&high))
		return -ENOMEM;
	return store_iter_new(b->r->store, view_snapshot(b->view), STORE_DOTS, low.data, low.len, high.data,
			      high.len, ret);
}

/* Before the first entry of the actor at which it is. */
static int walk_open(struct backlog *b)
{
	b->last = vv_get(&b->skip, b->actor[b->at]);
	return entries_of(b, b->actor[b->at], &b->it);
}

/* What the number of an entry is; -EBADMSG. */
static int entry_seq(struct store_iter *it, uint64_t *ret_seq, struct id *ret)
{
	size_t len;
	const uint8_t *key = store_iter_key(it, &len);
	struct cursor c = cursor_make(key, len);
	cursor_take(&c, ID_SIZE + 4);
	*ret_seq = cursor_u64(&c);
	const uint8_t *id = cursor_take(&c, ID_SIZE);
	if (!cursor_end(&c))
		return -EBADMSG;
	memcpy(ret->b, id, ID_SIZE);
	return 0;
}

/* Numbers in front of the first entry of an actor, which are of other scopes. */
static int numbers_before(struct backlog *b, uint32_t at, uint64_t *ret)
{
	const uint32_t actor = b->actor[at];
	const uint64_t skip = vv_get(&b->skip, actor), have = vv_get(b->have, actor);
	_cleanup_(store_iter_freep) struct store_iter *own = NULL;
	uint64_t seq = have + 1;
	struct id id;
	*ret = 0;
	if (have - skip < COUNT_LEAST)
		return 0;
	/* The walk goes on with the one that it needs first. */
	int rc = at > b->at ? entries_of(b, actor, &own) : b->it ? 0 : walk_open(b);
	struct store_iter *it = at > b->at ? own : b->it;
	if (rc == 0 && store_iter_valid(it))
		rc = entry_seq(it, &seq, &id);
	else if (rc == 0)
		rc = store_iter_error(it);
	*ret = seq - skip - 1;
	return rc;
}

int backlog_count(struct backlog *b, uint64_t *ret)
{
	*ret = backlog_left(b);
	for (uint32_t i = b->at; !b->turned && i < b->n_actors; i++) {
		uint64_t before;
		int rc = numbers_before(b, i, &before);
		if (rc < 0)
			return rc;
		*ret -= before;
	}
	return 0;
}

/* The next entry of the index; 0 at the end. */
static int next_entry(struct backlog *b, uint32_t *ret_actor, uint64_t *ret_seq, struct id *ret)
{
	if (b->turned)
		return recent_next(b, ret_actor, ret_seq, ret);
	for (;;) {
		if (!b->it && b->at == b->n_actors)
			return 0;
		uint32_t actor = b->actor[b->at];
		uint64_t have = vv_get(b->have, actor);
		if (!b->it) {
			int rc = walk_open(b);
			if (rc < 0)
				return rc;
		}
		if (!store_iter_valid(b->it)) {
			int rc = store_iter_error(b->it);
			if (rc < 0)
				return rc;
			store_iter_free(TAKE_PTR(b->it));
			b->left -= have - b->last;
			b->at++;
			continue;
		}
		int rc = entry_seq(b->it, ret_seq, ret);
		if (rc < 0)
			return rc;
		*ret_actor = actor;
		b->left -= *ret_seq - b->last;
		b->last = *ret_seq;
		store_iter_next(b->it);
		return 1;
	}
}

/* Is (actor, seq) the first of the node's entries that this walk meets? */
static bool is_first(const struct backlog *b, const struct stored *s, uint32_t actor, uint64_t seq)
{
	const struct vv *ctx = &s->record->ctx;
	for (uint32_t i = 0; i < ctx->n + s->n_extra; i++) {
		struct dot d = i < ctx->n ? (struct dot){ ctx->item[i].actor, ctx->item[i].seq } :
					    s->extra[i - ctx->n];
		if (d.seq <= vv_get(&b->skip, d.actor) || d.seq > vv_get(b->have, d.actor))
			continue;
		int c = d.actor == actor ? 0 : actors_cmp(b->r->actors, d.actor, actor);
		if (c < 0 || (c == 0 && d.seq < seq))
			return false;
	}
	return true;
}

/* Would the walk not come by it, because an earlier one has? */
static bool is_behind(const struct backlog *b, const struct stored *s)
{
	if (!b->resumed)
		return false;
	for (uint32_t i = 0; i < s->n_extra; i++)
		if (s->extra[i].seq > vv_get(&b->skip, s->extra[i].actor))
			return false;
	return vv_covers(&b->skip, &s->record->ctx);
}

static int load(struct backlog *b, struct arena *a, const struct id *id, bool queued, struct stored *ret,
		struct delta **ret_delta, struct err *e)
{
	int rc = stored_get(b->r, view_snapshot(b->view), a, id, ret, e);
	const struct vv *known = &b->known;
	if (rc == 0 && b->turned)
		rc = recent_known(b, ret, queued, &known);
	if (rc < 0)
		return rc;
	return delta_make(a, b->r->actors, ret->record, known, false, ret_delta);
}

/* Queues the directories above the record that the peer lacks, the lowest first. */
static int queue_parents(struct backlog *b, const struct record *rec)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		const struct edge *edge = NULL;
		struct stored s;
		struct delta *d;
		for (uint32_t i = 0; i < rec->n_edges && !edge; i++)
			if (!id_equal(&rec->edge[i].parent, &NODE_TRASH))
				edge = &rec->edge[i];
		if (!edge || id_equal(&edge->parent, &NODE_ROOT) || is_done(b, &edge->parent))
			return 0;
		struct id parent = edge->parent;
		int rc = load(b, &a, &parent, false, &s, &d, NULL);
		if (rc == -ENOENT)
			return 0;
		if (rc < 0)
			return rc;
		if (s.record->kind != NODE_DIR || !id_equal(&s.record->scope, &b->scope))
			return 0;
		rc = set_done(b, &parent);
		if (rc < 0)
			return rc;
		if (d && (b->turned || !is_behind(b, &s)))
			buf_put(&b->queue, parent.b, ID_SIZE);
		rec = s.record;
	}
	return 0;
}

/* ---- bundles ---- */

static const struct vv *known_of(const struct id *scope, void *userdata)
{
	static const struct vv nothing;
	const struct backlog *b = userdata;
	if (id_equal(scope, &b->scope))
		return &b->known;
	return b->others ? b->others(scope, b->userdata) : &nothing;
}

static const struct vv *wide_of(const struct id *scope, void *userdata)
{
	const struct backlog *b = userdata;
	return id_equal(scope, &b->scope) ? &b->wide : known_of(scope, userdata);
}

/* Begins the bundle that goes with the node, if there is one. */
static int bundle_begin(struct backlog *b, const struct record *rec)
{
	const struct batch_node node = { rec->id, rec->scope };
	uint32_t n = 0;
	b->sent = 0;
	if (backlog_has(&b->alone, &rec->id))
		return 0;
	arena_reset(&b->arena);
	/* Of what was sent of it before, all that belongs to it was. */
	if (b->turned && b->wider) {
		int rc = bundle_make(b->r, view_snapshot(b->view), &b->arena, &node, wide_of, b, &b->bundle,
				     &b->wanted, &n);
		b->bundle.n_deltas = 0;
		if (rc < 0 || n == 0)
			return rc;
		arena_reset(&b->arena);
	}
	int rc = bundle_make(b->r, view_snapshot(b->view), &b->arena, &node, known_of, b, &b->bundle,
			     &b->wanted, &n);
	/* Not to be tried again from each of them. */
	for (uint32_t i = 0; rc == 0 && b->bundle.n_deltas == 0 && i < n; i++)
		if (!backlog_has(&b->alone, &b->wanted[i].id))
			rc = backlog_add(&b->alone, &b->wanted[i].id);
	for (uint32_t i = 0; rc == 0 && i < b->bundle.n_deltas; i++) {
		const struct batch_node *w = &b->wanted[i];
		if (id_equal(&w->scope, &b->scope) && !is_done(b, &w->id))
			rc = set_done(b, &w->id);
	}
	return rc;
}

static int bundle_next(struct backlog *b, struct arena *a, struct delta **ret, struct err *e)
{
	const struct batch_node *w = &b->wanted[b->sent];
	struct stored s;
	int rc = stored_get(b->r, view_snapshot(b->view), a, &w->id, &s, e);
	if (rc == 0)
		rc = delta_make(a, b->r->actors, s.record, known_of(&w->scope, b), false, ret);
	/* It got it from others since the bundle began, but the bundle is announced with it. */
	if (rc == 0 && !*ret)
		rc = delta_make(a, b->r->actors, s.record, known_of(&w->scope, b), true, ret);
	if (rc < 0)
		return err_errno(e, rc, "cannot read what to send");
	b->sent++;
	return 0;
}

/* ---- the walk ---- */

static int queue_next(struct backlog *b, struct arena *a, struct delta **ret, struct err *e)
{
	struct stored s;
	struct id id;
	b->queue.len -= ID_SIZE;
	memcpy(id.b, b->queue.data + b->queue.len, ID_SIZE);
	int rc = load(b, a, &id, true, &s, ret, e);
	return rc < 0 ? err_errno(e, rc, "cannot read what to send") : 0;
}

/* A node that is to be sent now: what goes ahead of it, and what goes with it, is queued. */
static int found(struct backlog *b, const struct record *rec)
{
	int rc = bundle_begin(b, rec);
	if (rc < 0 || b->bundle.n_deltas > 0)
		return rc;
	/* With a change that is not claimed yet it would always seem to have more than was sent. */
	if (rec->kind == NODE_DIR || (b->turned && !vv_covers(b->have, &rec->ctx)))
		rc = set_done(b, &rec->id);
	buf_put(&b->queue, rec->id.b, ID_SIZE);
	return rc == 0 ? queue_parents(b, rec) : rc;
}

int backlog_next(struct backlog *b, struct arena *a, struct delta **ret, struct err *e)
{
	for (;;) {
		struct stored s;
		struct delta *d;
		struct id id;
		uint32_t actor;
		uint64_t seq;
		if (b->queue.len > 0) {
			int r = queue_next(b, a, ret, e);
			if (r < 0 || *ret)
				return r;
			continue;
		}
		if (backlog_inside(b))
			return bundle_next(b, a, ret, e);
		b->bundle.n_deltas = b->sent = 0;
		int rc = next_entry(b, &actor, &seq, &id);
		if (rc == 0)
			*ret = NULL;
		if (rc <= 0)
			return rc < 0 ? err_errno(e, rc, "cannot read what to send") : 0;
		if (is_done(b, &id))
			continue;
		rc = load(b, a, &id, false, &s, &d, e);
		if (rc == -ENOENT)
			continue;
		if (rc < 0)
			return err_errno(e, rc, "cannot read what to send");
		if (!d || (!b->turned && !is_first(b, &s, actor, seq)))
			continue;
		rc = found(b, s.record);
		if (rc == 0 && buf_failed(&b->queue))
			rc = -ENOMEM;
		if (rc < 0)
			return err_errno(e, rc, "cannot read what to send");
		if (b->queue.len == ID_SIZE && b->bundle.n_deltas == 0) { /* nothing goes ahead of it */
			b->queue.len = 0;
			*ret = d;
			return 0;
		}
	}
}

int view_whole(struct view *v, const struct id *id, struct arena *a, struct delta **ret,
	       struct err *e)
{
	static const struct vv nothing;
	struct replica *r = view_replica(v);
	struct stored s;
	int rc = stored_get(r, view_snapshot(v), a, id, &s, e);
	if (rc == -ENOENT) {
		*ret = NULL;
		return 0;
	}
	if (rc == 0)
		rc = delta_make(a, r->actors, s.record, &nothing, true, ret);
	return rc < 0 ? err_errno(e, rc, "cannot read what to send") : 0;
}
