/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Merging what peers send. A delta comes from another device: nothing in it may break the tree, and
 * what cannot be true is refused before anything is written. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/edge.h"
#include "engine/purged.h"

#define APART_TURNS 16 /* others change what is here meanwhile */

static bool is_fixed(const struct id *id)
{
	return id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_TRASH) || id_equal(id, &NODE_LOST) ||
	       id_equal(id, &NODE_INODES);
}

static int delta_check(const struct delta *d, struct err *e)
{
	const struct record *s = &d->state;
	if (is_fixed(&s->id) || id_is_zero(&s->id))
		return err_set(e, -EBADMSG, "a peer sent a change of a node that has no record");
	if (is_fixed(&s->scope) && !id_equal(&s->scope, &NODE_ROOT))
		return err_set(e, -EBADMSG, "a peer sent a node of no collection");
	if (s->kind < NODE_DIR || s->kind > NODE_LINK)
		return err_set(e, -EBADMSG, "a peer sent a node of an unknown kind");
	for (uint32_t i = 0; i < s->n_edges; i++) {
		const struct edge *edge = &s->edge[i];
		if (edge_is_trash(edge) ? edge->name_len != 0 :
					  !name_valid(edge->name, edge->name_len))
			return err_set(e, -EBADMSG, "a peer sent a name that no file can have");
	}
	return 0;
}

static const struct slot *content_of(const struct delta *d)
{
	return d->state.top ? slot_find(d->state.top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

static bool is_large(const struct delta *d)
{
	const struct slot *s = content_of(d);
	bool large = false;
	for (uint32_t i = 0; s && i < s->val.n; i++) {
		struct blob_ref ref;
		large |= blob_ref_decode(&s->val.entry[i].value, &ref) == 0 &&
			 ref.size > MANIFEST_FLAT_MAX;
	}
	return large;
}

/* Of a large file most is here as a rule: what its newest version has need not be looked for, chunk
 * by chunk, while somebody holds that. */
static int delta_known(struct replica *r, const struct delta *d, struct version **ret_hold,
		       struct manifest_seen *ret)
{
	struct attr at;
	if (!is_large(d) || replica_attr(r, &d->state.id, &at) < 0 || at.absent ||
	    at.form != FORM_BLOB || at.size <= MANIFEST_FLAT_MAX ||
	    replica_read(r, &d->state.id, ret_hold) < 0)
		return 0;
	const struct blob_ref *ref = version_blob(*ret_hold);
	return ref && ref->size > MANIFEST_FLAT_MAX ? blob_known(r->store, ref, ret) : 0;
}

/* Chunks of the blobs in the content that are not here and come by themselves (*ret_lacks, may be NULL, if others
 * do not): of all values, the ones that lost too. Some
 * of them if there are many; *at is then the place of the first. Those that are here stay until the
 * hold ends. */
static int delta_missing(struct replica *r, struct hold *h, struct arena *a, const struct delta *d,
			 struct manifest_seen *known, struct missing_place *at, struct sha256 **ret, uint32_t *ret_n,
			 enum absence *ret_lacks, struct err *e)
{
	const size_t most = BLOB_MISSING_MAX * sizeof(struct sha256);
	_cleanup_(buf_done) struct buf all = { 0 };
	const struct slot *s = content_of(d);
	for (uint32_t i = at->value; s && i < s->val.n && all.len < most; i++) {
		struct blob_ref ref;
		struct sha256 *hash;
		uint64_t from = i == at->value ? at->offset : 0;
		uint32_t n = 0;
		if (s->val.entry[i].value.kind != VALUE_BLOB)
			continue;
		int rc = blob_ref_decode(&s->val.entry[i].value, &ref);
		const bool due = rc == 0 && blob_is_due(r, &d->state.id, &ref);
		if (rc == 0 && (due || ret_lacks))
			rc = blob_missing_from(r->store, h, a, &ref, &from, known, &hash, &n);
		if (rc == -EBADMSG)
			return err_set(e, rc, "a peer sent a damaged reference to a file's bytes");
		if (rc == -EPROTONOSUPPORT)
			return err_set(e, rc, "a peer sent a file in a format of a later release");
		if (rc < 0)
			return err_errno(e, rc, "cannot look for a file's bytes");
		if (n > 0 && !due) {
			*ret_lacks = ABSENT_RULE;
			continue;
		}
		if (n > 0 && all.len == 0)
			*at = (struct missing_place){ i, from };
		if (n > 0)
			buf_put(&all, hash, n * sizeof(*hash));
	}
	*ret_n = (uint32_t)(all.len / sizeof(struct sha256));
	if (*ret_n == 0)
		return 0;
	*ret = arena_array(a, *ret_n, sizeof(struct sha256));
	if (buf_failed(&all) || !*ret)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(*ret, all.data, all.len);
	return 0;
}

struct newest {
	const struct vv *ctx; /* of what was here; NULL: nothing */
	uint64_t hlc;
	uint32_t actor;
};

static void newest_entry(struct newest *n, const struct reg *reg)
{
	for (uint32_t i = 0; i < reg->n; i++) {
		const struct entry *e = &reg->entry[i];
		if (e->hlc > n->hlc && !(n->ctx && vv_has(n->ctx, e->dot))) {
			n->hlc = e->hlc;
			n->actor = e->dot.actor;
		}
	}
}

/* Slots nest at most RECORD_DEPTH_MAX deep. */
static void newest_slot(struct newest *n, const struct slot *s)
{
	newest_entry(n, &s->val);
	newest_entry(n, &s->look);
	for (uint32_t i = 0; i < s->n; i++)
		newest_slot(n, s->child[i]);
}

static void newest_visit(struct newest *n, const struct record *rec)
{
	for (uint32_t i = 0; i < rec->n_visits; i++) {
		const struct visit *v = &rec->visit[i];
		uint64_t hlc = v->us << HLC_COUNTER_BITS;
		if (hlc > n->hlc && !(n->ctx && vv_has(n->ctx, v->dot))) {
			n->hlc = hlc;
			n->actor = v->dot.actor;
		}
	}
}

/* The time of a save is part of it; one that somebody has set is not. */
static bool has_time(const struct delta *d, bool save)
{
	const struct slot *s = slot_find(d->state.top, TOP_MTIME, strlen(TOP_MTIME));
	bool set = s && !save;
	for (uint32_t i = 0; s && i < s->val.n; i++)
		set |= s->val.entry[i].value.kind != VALUE_NULL;
	return set;
}

static unsigned what_of(const struct delta *d)
{
	static const char *const content[] = { TOP_CONTENT, TOP_STYLE, TOP_SOURCE };
	static const char *const attr[] = { TOP_MODE, TOP_XATTR, TOP_TYPES };
	unsigned what = d->complete ? CHANGE_CONTENT | CHANGE_ATTR : 0;
	for (unsigned i = 0; d->state.top && i < 3; i++)
		if (slot_find(d->state.top, content[i], strlen(content[i])))
			what |= CHANGE_CONTENT;
	for (unsigned i = 0; d->state.top && i < 3; i++)
		if (slot_find(d->state.top, attr[i], strlen(attr[i])))
			what |= CHANGE_ATTR;
	if (d->state.top && has_time(d, what & CHANGE_CONTENT))
		what |= CHANGE_ATTR;
	return what;
}

/* Would the dot index gain entries though the record has all of the delta? */
static bool dots_wanted(const struct stored *old, const struct vv *to, const struct vv *upto,
			const struct vv *have)
{
	for (uint32_t i = 0; i < to->n; i++) {
		uint32_t actor = to->item[i].actor;
		uint64_t seq = to->item[i].seq, limit = vv_get(upto, actor);
		if (limit < seq)
			seq = limit;
		if (seq <= vv_get(have, actor) || seq == vv_get(&old->record->ctx, actor))
			continue;
		bool there = false;
		for (uint32_t k = 0; k < old->n_extra; k++)
			there |= old->extra[k].actor == actor && old->extra[k].seq == seq;
		if (!there)
			return true;
	}
	return false;
}

/* The session began before this device gave the collection up. */
static int kept_check(struct replica *r, const struct id *scope, bool part, struct err *e)
{
	enum interest_level l = interests_level(r->interests, scope);
	return interest_is_whole(l) || (part && l == INTEREST_FILTERED) ? 0 :
		err_set(e, -ESTALE, "the peer sent changes of a collection that is not kept here any more");
}

/* A peer that has more of this actor than was ever made here has it from a copy of this store. */
static int fence_check(struct replica *r, const struct vv *v, struct err *e)
{
	return vv_get(v, r->self) <= r->seq ? 0 :
		err_set(e, -ESTALE, "the peer sent changes of this device that it never made");
}

/* Nothing is merged before what has those numbers here has others; then the peer is asked again. */
static int stale(struct replica *r, const struct vv *v, struct err *e)
{
	struct actor_id self;
	replica_self(r, &self, NULL);
	int rc = replica_check_fence(r, &self, vv_get(v, actors_find(r->actors, &self)), e);
	return rc < 0 ? rc : -ESTALE;
}

/* What is here of the delta's node. */
static int look(struct commit *c, const struct delta *d, struct stored *ret, struct err *e)
{
	*ret = (struct stored){ 0 };
	int rc = commit_record(c, &d->state.id, ret, e);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	const struct record *old = ret->record;
	if (old && (old->kind != d->state.kind || !id_equal(&old->scope, &d->state.scope)))
		return err_set(e, -EBADMSG, "a peer sent a node with another kind or collection "
			       "than it has here");
	return 0;
}

static const struct vv *have_of(struct replica *r, const struct delta *d)
{
	static const struct vv nothing;
	/* Of a part no vector says what is here. */
	const struct scope *s = scope_is_kept(r, &d->state.scope) ? scope_get(r, &d->state.scope, false) : NULL;
	return s ? &s->have : &nothing;
}

static bool is_of(struct replica *r, uint32_t actor, const struct id *device)
{
	return id_equal(&actors_get(r->actors, actor)->device, device);
}

/* What comes of a part has numbers that are not here, none of them of who keeps the part, and changes nothing. Others who
 * keep all gave them when they passed the same on; were they passed on here, too, two of those with nobody but the
 * part between them would never come to an end (shoal-protocol(7), Parts). */
static bool is_numbers_only(struct replica *r, const struct arrived *x, const struct record *old,
			    const struct record *joined)
{
	struct record as_before = *joined;
	struct id was, is;
	if (!x->by || !old || record_is_purged(old) != record_is_purged(joined) ||
	    !interest_is_whole(interests_level(r->interests, &old->scope)))
		return false;
	for (uint32_t i = 0; i < joined->ctx.n; i++) {
		const struct vv_item *item = &joined->ctx.item[i];
		if (item->seq > vv_get(&old->ctx, item->actor) && is_of(r, item->actor, x->by))
			return false;
	}
	as_before.ctx = old->ctx;
	record_fingerprint(&as_before, r->actors, &is);
	record_fingerprint(old, r->actors, &was);
	return id_equal(&was, &is);
}

/* Puts what the delta makes of the record into the commit. here: what is in the store of it. */
static int join(struct commit *c, struct arrived *x, const struct stored *here, struct newest *newest, struct err *e)
{
	struct replica *r = c->r;
	const struct delta *d = x->delta;
	const struct record *rec;
	struct touched *t;
	int rc = delta_join(&c->arena, r->actors, here->record, d, &rec);
	if (rc < 0)
		return err_errno(e, rc, "cannot merge");
	x->result = rec == here->record ? APPLY_OLD : APPLY_MERGED;
	if (rec != here->record && is_numbers_only(r, x, here->record, rec)) {
		x->result = APPLY_OLD;
		return 0;
	}
	if (rec == here->record && !dots_wanted(here, &d->state.ctx, x->upto, have_of(r, d)))
		return 0;
	newest->ctx = here->record ? &here->record->ctx : NULL;
	if (d->state.top)
		newest_slot(newest, d->state.top);
	newest_visit(newest, &d->state);
	if (newest->actor == ACTOR_NONE && d->state.n_edges > 0)
		newest->actor = d->state.edge[0].dot.actor;
	rc = commit_put(c, here, rec, x->result == APPLY_MERGED ? what_of(d) : 0, &t);
	if (rc < 0)
		return err_errno(e, rc, "cannot merge");
	t->lacks = x->lacks;
	t->apart = !c->bundle;
	t->hlc = newest->hlc;
	t->actor = newest->actor;
	t->to = &d->state.ctx;
	t->upto = x->upto;
	pointers_of_merge(c, t);
	return 0;
}

/* *ret_apart: something is to be kept before. */
static bool fits_here(struct replica *r, const struct delta *d, const struct record *old, bool *ret_apart)
{
	enum apart apart = purge_apart(r, old, d);
	*ret_apart = apart != APART_NOT;
	/* Of a file that is purged here there is nothing that a part could be joined with. */
	return (apart != APART_THEIRS || d->complete) && delta_fits(d, old ? &old->ctx : NULL, have_of(r, d));
}

/* 1: something is to be kept before (purge_inherit). kept: of which deltas that was done. */
static int apply_locked(struct commit *c, struct arrived *x, const bool *kept, uint32_t n, struct err *e)
{
	struct replica *r = c->r;
	struct newest newest = { .actor = ACTOR_NONE };
	bool fit = true, keep = false;
	struct stored *old = arena_array(&c->arena, n, sizeof(*old));
	if (!old)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		bool apart;
		int rc = fence_check(r, &x[i].delta->state.ctx, e);
		if (rc == 0)
			rc = kept_check(r, &x[i].delta->state.scope, x[i].part, e);
		if (rc == 0)
			rc = look(c, x[i].delta, &old[i], e);
		if (rc < 0)
			return rc;
		bool fits = fits_here(r, x[i].delta, old[i].record, &apart);
		keep |= apart && !kept[i];
		x[i].result = fits ? APPLY_WAITS : APPLY_NEED_WHOLE;
		fit &= fits;
	}
	if (fit && keep)
		return 1;
	for (uint32_t i = 0; fit && i < n; i++) {
		/* A bundle is what one has done at once. */
		struct newest own = { .actor = ACTOR_NONE };
		int rc = join(c, &x[i], &old[i], c->bundle ? &newest : &own, e);
		if (rc < 0)
			return rc;
		if (!c->bundle && (own.hlc > newest.hlc || newest.actor == ACTOR_NONE)) {
			newest.hlc = own.hlc;
			newest.actor = own.actor;
		}
	}
	if (!fit || !c->first)
		return 0;
	clock_follow(&r->clock, newest.hlc, r->config.wall_us(r->config.userdata));
	c->hlc = newest.hlc;
	c->actor = newest.actor;
	return commit_end(c, e);
}

int replica_missing(struct replica *r, struct arena *a, const struct delta *d,
		    struct missing_place *at, struct sha256 **ret_missing, uint32_t *ret_n,
		    struct err *e)
{
	_cleanup_(hold_done) struct hold hold = { 0 };
	_cleanup_(version_unrefp) struct version *head = NULL;
	_cleanup_(manifest_seen_done) struct manifest_seen known = { 0 };
	int rc = delta_known(r, d, &head, &known);
	if (rc < 0)
		return err_errno(e, rc, "cannot look for a file's bytes");
	rc = delta_missing(r, &hold, a, d, &known, at, ret_missing, ret_n, NULL, e);
	if (rc == 0)
		hold_leave(&hold);
	return rc;
}

/* The newest versions of what comes, held until it is committed: what they have is not looked for. */
struct heads {
	struct version **version;
	uint32_t n;
};

static void heads_done(struct heads *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		version_unref(h->version[i]);
}

/* What one delta lacks of its chunks. */
static int arrived_look(struct replica *r, struct hold *hold, struct arena *a, struct arrived *x,
			struct heads *heads, struct err *e)
{
	_cleanup_(manifest_seen_done) struct manifest_seen known = { 0 };
	struct missing_place start = { 0 };
	struct version *head = NULL;
	x->result = APPLY_WAITS;
	x->n_missing = 0;
	x->lacks = ABSENT_NOT;
	int rc = delta_check(x->delta, e);
	if (rc < 0)
		return rc;
	rc = delta_known(r, x->delta, &head, &known);
	heads->version[heads->n++] = head;
	if (rc == -ENOMEM)
		return err_set(e, rc, "out of memory");
	if (rc == 0)
		rc = delta_missing(r, hold, a, x->delta, &known, &start, &x->missing, &x->n_missing,
				   &x->lacks, e);
	if (rc == 0 && x->n_missing > 0 && x->nowhere) {
		x->lacks = ABSENT_WANTED;
		x->n_missing = 0;
	}
	if (rc == 0 && x->n_missing > 0)
		x->result = APPLY_NEED_CHUNKS;
	return rc;
}

int replica_apply_all(struct replica *r, struct arena *a, struct arrived *x, uint32_t n,
		      const struct bundle *bundle, struct err *e)
{
	_cleanup_(heads_done) struct heads heads = { .version = arena_array(a, n, sizeof(struct version *)) };
	_cleanup_(hold_done) struct hold hold = { 0 };
	struct commit c;
	bool complete = true, *kept = arena_array(a, n, sizeof(*kept));
	if (!heads.version || !kept)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		int rc = arrived_look(r, &hold, a, &x[i], &heads, e);
		if (rc < 0)
			return rc;
		complete &= x[i].n_missing == 0;
	}
	if (!complete) {
		/* What is here should still be when the rest has come. If it is not, it is asked
		 * for again. */
		hold_leave(&hold);
		return 0;
	}
	int rc = 1;
	for (unsigned turn = 0; rc > 0 && turn < APART_TURNS; turn++) {
		commit_begin(&c, r, true);
		c.bundle = bundle;
		c.part = n > 0 && x->part;
		rc = apply_locked(&c, x, kept, n, e);
		commit_done(&c);
		for (uint32_t i = 0; rc > 0 && i < n; i++) {
			int failed = purge_inherit(r, x[i].delta, x[i].lacks, e);
			rc = failed < 0 ? failed : rc;
			kept[i] = failed > 0 || kept[i];
		}
	}
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		if (kept[i] && x[i].result == APPLY_MERGED)
			rc = purge_again(r, x[i].delta, x[i].lacks, e);
	if (rc > 0)
		rc = err_set(e, -EBUSY, "a deleted file is changed faster than it can be kept");
	for (uint32_t i = 0; rc == -ESTALE && i < n; i++)
		rc = stale(r, &x[i].delta->state.ctx, e);
	return rc;
}

int replica_apply(struct replica *r, struct arena *a, const struct delta *d, const struct vv *upto,
		  enum apply_result *ret, struct sha256 **ret_missing, uint32_t *ret_n,
		  struct err *e)
{
	struct arrived x = { .delta = d, .upto = upto };
	int rc = replica_apply_all(r, a, &x, 1, NULL, e);
	if (rc < 0)
		return rc;
	*ret = x.result;
	if (x.result == APPLY_NEED_CHUNKS) {
		*ret_missing = x.missing;
		*ret_n = x.n_missing;
	}
	return 0;
}

bool replica_fits(struct replica *r, const struct delta *d)
{
	struct commit c;
	struct stored old;
	commit_begin(&c, r, true);
	bool apart;
	bool fits = look(&c, d, &old, NULL) == 0 && fits_here(r, d, old.record, &apart);
	commit_done(&c);
	return fits;
}

static int claim_locked(struct replica *r, const struct id *scope, const struct vv *upto,
			struct err *e)
{
	_cleanup_(vv_done) struct vv have = { 0 };
	int rc = fence_check(r, upto, e);
	if (rc == 0)
		rc = kept_check(r, scope, false, e);
	if (rc < 0)
		return rc;
	struct scope *s = scope_get(r, scope, true);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	if (vv_covers(&s->have, upto))
		return 0;
	rc = vv_copy(&s->have, &have);
	if (rc == 0)
		rc = vv_join(&have, upto);
	if (rc < 0)
		return err_errno(e, rc, "cannot note what is here");
	store_batch_clear(r->batch);
	uint32_t actors = actors_count(r->actors);
	actors_put_batch(r, r->batch, actors);
	scope_put_batch(r, r->batch, scope, &have, s->files);
	rc = store_write(r->store, r->batch, e);
	if (rc < 0)
		return rc;
	r->actors_saved = actors;
	pthread_mutex_lock(&r->scopes_lock);
	struct vv old = s->have;
	s->have = have;
	have = old;
	pthread_mutex_unlock(&r->scopes_lock);
	atomic_fetch_add(&r->commits, 1);
	return 0;
}

int replica_claim(struct replica *r, const struct id *scope, const struct vv *upto, struct err *e)
{
	pthread_mutex_lock(&r->commit);
	int rc = claim_locked(r, scope, upto, e);
	pthread_mutex_unlock(&r->commit);
	return rc == -ESTALE ? stale(r, upto, e) : rc;
}
