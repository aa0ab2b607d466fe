/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What this device keeps, what others said that they keep, and what follows: what may come in, what is
 * shown, what is carried for whom (shoal-protocol(7), Interests).
 *
 * Three things are told apart. A collection is *kept* when all of it is here or is to be: its rounds come
 * in. It is *shown* when programs see it. It is *dropping* when it was kept and its records are still in
 * the store: its vector is empty from the moment at which it was given up, in the same write. */

#include "engine/replica-impl.h"

#include <errno.h>

static const struct id own_key_id; /* zeros: this device */

static void interest_key(struct buf *b, const struct id *device)
{
	meta_key(b, META_INTEREST, device->b, ID_SIZE, NULL, 0);
}

/* ---- asking ---- */

struct interests *replica_interests(struct replica *r)
{
	pthread_mutex_lock(&r->scopes_lock);
	struct interests *x = interests_ref(r->interests);
	pthread_mutex_unlock(&r->scopes_lock);
	return x;
}

unsigned replica_interest_changes(struct replica *r)
{
	return atomic_load(&r->interest_changes);
}

bool scope_is_kept(struct replica *r, const struct id *scope)
{
	return interest_is_whole(interests_level(r->interests, scope));
}

static enum interest_level level_of(struct replica *r, const struct id *scope)
{
	pthread_mutex_lock(&r->scopes_lock);
	enum interest_level l = interests_level(r->interests, scope);
	pthread_mutex_unlock(&r->scopes_lock);
	return l;
}

bool scope_is_shown(struct replica *r, const struct id *scope)
{
	return !atomic_load(&r->hiding) || interest_is_shown(level_of(r, scope));
}

bool scope_is_subscribed(struct replica *r, const struct id *scope)
{
	return level_of(r, scope) == INTEREST_SUBSCRIBED;
}

bool is_hidden(struct replica *r, const struct id *dir)
{
	struct node n;
	if (!atomic_load(&r->hiding) || id_equal(dir, &NODE_ROOT) || id_equal(dir, &NODE_LOST))
		return false;
	return node_get(r, NULL, dir, &n) == 0 && n.attr.kind == NODE_DIR &&
	       id_equal(&n.attr.scope, &NODE_ROOT) && !scope_is_shown(r, dir);
}

bool replica_shows(struct replica *r, const struct id *dir)
{
	struct node n;
	struct id scope;
	if (!atomic_load(&r->hiding) || node_get(r, NULL, dir, &n) < 0)
		return true;
	child_scope(&n, &scope);
	return scope_is_shown(r, &scope);
}

/* ---- which collections there are ---- */

static int by_id(const void *x, const void *y)
{
	return id_cmp(x, y);
}

static int add_dir(const char *name, size_t len, const struct attr *at, void *userdata)
{
	(void)name;
	(void)len;
	if (at->kind == NODE_DIR && !id_equal(&at->id, &NODE_LOST))
		buf_put(userdata, at->id.b, ID_SIZE);
	return buf_failed(userdata) ? -ENOMEM : 0;
}

int replica_collections(struct replica *r, struct arena *a, struct id **ret, uint32_t *ret_n)
{
	_cleanup_(buf_done) struct buf all = { 0 };
	int rc = entries_list(r, &NODE_ROOT, add_dir, &all);
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_scopes; i++)
		if (!id_equal(&r->scope[i]->id, &NODE_ROOT))
			buf_put(&all, r->scope[i]->id.b, ID_SIZE);
	pthread_mutex_unlock(&r->scopes_lock);
	size_t n = all.len / ID_SIZE, used = 0;
	if (rc < 0)
		return rc;
	struct id *id = arena_array(a, n ? n : 1, sizeof(*id));
	if (buf_failed(&all) || !id)
		return -ENOMEM;
	if (n > 0) {
		memcpy(id, all.data, all.len);
		qsort(id, n, sizeof(*id), by_id);
	}
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !id_equal(&id[i], &id[used - 1]))
			id[used++] = id[i];
	*ret = id;
	*ret_n = (uint32_t)used;
	return 0;
}

static int count_node(struct replica *r, const struct id *id, uint64_t *files, uint64_t *bytes)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc < 0 || !(n.flags & NODE_LIVE))
		return rc == -ENOENT ? 0 : rc;
	*files += n.attr.kind != NODE_DIR && !id_equal(&n.parent, &NODE_INODES);
	*bytes += n.attr.stored + 512; /* a record and what is derived of it, about */
	return 0;
}

int replica_collection_size(struct replica *r, const struct id *scope, uint64_t *ret_files,
			    uint64_t *ret_bytes)
{
	_cleanup_(buf_done) struct buf end = { 0 }, all = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(scope->b, ID_SIZE, &end);
	*ret_files = *ret_bytes = 0;
	int rc = store_iter_new(r->store, NULL, STORE_DOTS, scope->b, ID_SIZE, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id node;
		uint64_t seq;
		rc = dots_entry(it, &seq, &node);
		buf_put(&all, node.b, ID_SIZE);
	}
	if (rc == 0)
		rc = buf_failed(&all) ? -ENOMEM : store_iter_error(it);
	size_t n = all.len / ID_SIZE;
	if (rc == 0 && n > 0)
		qsort(all.data, n, ID_SIZE, by_id);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct id *id = (const struct id *)(all.data + i * ID_SIZE);
		if (i == 0 || !id_equal(id, id - 1))
			rc = count_node(r, id, ret_files, ret_bytes);
	}
	return rc;
}

/* ---- changing what is kept ---- */

/* Tells observers that what is in a collection's directory came or went. */
struct showing {
	struct arena *a;
	struct change *change;
	uint32_t n, cap;
	const struct id *dir;
	bool shown;
};

static int note_shown(const char *name, size_t len, const struct attr *at, void *userdata)
{
	struct showing *s = userdata;
	if (s->n == s->cap) {
		uint32_t cap = s->cap ? 2 * s->cap : 64;
		struct change *bigger = reallocarray(s->change, cap, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		s->change = bigger;
		s->cap = cap;
	}
	struct change *x = &s->change[s->n];
	*x = (struct change){ .id = at->entry, .kind = at->kind, .remote = true, .actor = at->author,
			      .version = at->version };
	char *copy = arena_dup(s->a, name, len);
	if (!copy)
		return -ENOMEM;
	x->what = s->shown ? CHANGE_CREATED : CHANGE_REMOVED;
	*(s->shown ? &x->parent : &x->old_parent) = *s->dir;
	*(s->shown ? &x->name : &x->old_name) = copy;
	s->n++;
	return 0;
}

static void hiding_update(struct replica *r)
{
	const struct interests *x = r->interests;
	bool hiding = x->fresh != INTEREST_SUBSCRIBED;
	for (uint32_t i = 0; i < x->n && !hiding; i++)
		hiding = !interest_is_shown(x->item[i].level);
	atomic_store(&r->hiding, hiding);
}

/* With the commit lock: in the store, then in memory. drop: the scope whose records go; NULL: none. anew: the same, but the
 * records stay, and no vector says any more which. */
static int take_over(struct replica *r, struct interests *x, const struct id *drop, const struct id *anew,
		     struct err *e)
{
	static const struct vv nothing;
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	struct scope *s = drop || anew ? scope_get(r, drop ? drop : anew, false) : NULL;
	interest_key(&key, &own_key_id);
	interests_encode(x, &v);
	if (buf_failed(&key) || buf_failed(&v))
		return err_set(e, -ENOMEM, "out of memory");
	store_batch_clear(r->batch);
	store_put(r->batch, STORE_META, key.data, key.len, v.data, v.len);
	if (s) {
		scope_put_batch(r, r->batch, &s->id, &nothing, s->files);
		if (drop)
			drop_put(r->batch, drop, true);
		partials_forget(r, &s->id);
		partials_put_batch(r, r->batch);
	}
	int rc = store_write(r->store, r->batch, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->scopes_lock);
	if (s)
		vv_done(&s->have);
	struct interests *old = r->interests;
	r->interests = interests_ref(x);
	r->interests_meeting = atomic_load(&r->meetings);
	hiding_update(r);
	pthread_mutex_unlock(&r->scopes_lock);
	interests_unref(old);
	atomic_fetch_add(&r->interest_changes, 1);
	atomic_fetch_add(&r->commits, 1);
	return 0;
}

/* What this device changed in the collection has numbers below its next ones there: who hears of those would take
 * it to hold the earlier ones, too. So it goes on under another name. */
static int leave_numbers(struct replica *r, const struct id *scope, struct err *e)
{
	const struct scope *s = scope_get(r, scope, false);
	if (!s || vv_get(&s->have, r->self) == 0)
		return 0;
	int rc = incarnation_new(r, RENEWAL_NONE, e);
	if (rc == 0)
		r->renewals_own++; /* nobody's word brought it about */
	return rc;
}

static int keep_locked(struct replica *r, const struct id *scope, unsigned level, const char *where,
		       struct showing *s, struct err *e)
{
	_cleanup_(interests_unrefp) struct interests *x = NULL;
	enum interest_level was = interests_level(r->interests, scope);
	bool drop = was != INTEREST_NONE && level == INTEREST_NONE;
	bool shown = interest_is_shown((enum interest_level)level);
	int rc = interests_with(r->interests, scope, (enum interest_level)level, where, &x);
	if (rc == -EINVAL)
		return err_set(e, rc, "what lies directly in the root is kept by every device");
	if (rc == -E2BIG)
		return err_set(e, rc, "this device's list of subscriptions would be too long");
	if (rc < 0)
		return err_errno(e, rc, "cannot change what is kept");
	if (memcmp(&x->print, &r->interests->print, ID_SIZE) == 0)
		return 0;
	if (level != INTEREST_NONE && drop_pending(r, scope))
		return err_set(e, -EBUSY, "what was here of it is still being taken away: try again in a moment");
	/* From a part to all of it: what is here has no vector. Own changes of which nobody knows are passed on by another
	 * incarnation (replica_adopt), for the next number of this one would say that all of its changes are here. The
	 * other way the vector stays, unused: it has the last number of this actor. */
	bool part = !drop && was == INTEREST_FILTERED && level != INTEREST_FILTERED;
	if (drop)
		rc = leave_numbers(r, scope, e);
	if (part && r->seq > 0) {
		rc = incarnation_new(r, RENEWAL_NONE, e);
		r->renewals_own += rc == 0; /* nobody's word brought it about */
	}
	if (rc == 0 && !shown && interest_is_shown(was))
		rc = replica_list(r, scope, note_shown, s);
	if (rc == -ENOENT)
		rc = 0; /* a collection without a directory, or with one that was deleted */
	if (rc == 0)
		rc = take_over(r, x, drop ? scope : NULL, part ? scope : NULL, e);
	if (rc == 0 && shown && !interest_is_shown(was))
		rc = replica_list(r, scope, note_shown, s);
	return rc == -ENOENT ? 0 : rc;
}

int replica_keep(struct replica *r, const struct id *scope, unsigned level, const char *where,
		 struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct showing s = { .a = &a, .dir = scope,
			     .shown = interest_is_shown((enum interest_level)level) };
	pthread_mutex_lock(&r->commit);
	int rc = keep_locked(r, scope, level, where, &s, e);
	pthread_mutex_lock(&r->notify);
	pthread_mutex_unlock(&r->commit);
	for (uint32_t i = 0; s.n > 0 && i < r->n_observers; i++)
		r->observer[i].f(s.change, s.n, r->observer[i].userdata);
	pthread_mutex_unlock(&r->notify);
	free(s.change);
	return rc < 0 ? err_errno(e, rc, "cannot change what is kept") : replica_flush(r, e);
}

/* Those that are known stay what they are, and are listed for it where that is not the rule any more. */
static int keep_new_locked(struct replica *r, bool keep, struct err *e)
{
	_cleanup_(interests_unrefp) struct interests *x = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	const enum interest_level fresh = keep ? INTEREST_SUBSCRIBED : INTEREST_NONE;
	struct id *id;
	uint32_t n;
	if (r->interests->fresh == fresh)
		return 0;
	int rc = replica_collections(r, &a, &id, &n);
	if (rc == 0)
		rc = interests_with_fresh(r->interests, fresh, &x);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct interests *more;
		enum interest_level was = interests_level(r->interests, &id[i]);
		if (was == interests_level(x, &id[i]))
			continue;
		const struct interest *entry = interests_find(r->interests, &id[i]);
		rc = interests_with(x, &id[i], was, entry ? entry->where : NULL, &more);
		if (rc < 0)
			break;
		interests_unref(x);
		x = more;
	}
	if (rc < 0)
		return err_errno(e, rc, "cannot change what is kept");
	return take_over(r, x, NULL, NULL, e);
}

int replica_keep_new(struct replica *r, bool keep, struct err *e)
{
	pthread_mutex_lock(&r->commit);
	int rc = keep_new_locked(r, keep, e);
	pthread_mutex_unlock(&r->commit);
	return rc < 0 ? rc : replica_flush(r, e);
}

/* ---- what others keep ---- */

/* scopes_lock. NULL: not there, and not made. */
static struct peer_keeps *keeps_of(struct replica *r, const struct id *peer, bool create)
{
	for (uint32_t i = 0; i < r->n_keeps; i++)
		if (id_equal(&r->keeps[i].peer, peer))
			return &r->keeps[i];
	struct peer_keeps *bigger = create ? reallocarray(r->keeps, r->n_keeps + 1, sizeof(*bigger)) :
					     NULL;
	if (!bigger)
		return NULL;
	r->keeps = bigger;
	bigger[r->n_keeps] = (struct peer_keeps){ .peer = *peer, .x = interests_all() };
	return &bigger[r->n_keeps++];
}

struct interests *replica_peer_interests(struct replica *r, const struct id *peer)
{
	pthread_mutex_lock(&r->scopes_lock);
	const struct peer_keeps *k = keeps_of(r, peer, false);
	struct interests *x = k ? interests_ref(k->x) : interests_all();
	pthread_mutex_unlock(&r->scopes_lock);
	return x;
}

int replica_peer_keeps(struct replica *r, const struct id *peer, struct interests *x, uint64_t meeting)
{
	struct interests *old = NULL;
	uint64_t now = r->config.wall_us(r->config.userdata);
	pthread_mutex_lock(&r->scopes_lock);
	struct peer_keeps *k = keeps_of(r, peer, true);
	/* A session that began before the one whose word stands comes late. */
	if (k && k->meeting <= meeting) {
		old = k->x;
		k->x = interests_ref(x);
		k->met_us = now;
		k->meeting = meeting;
		k->dirty = true;
		for (uint32_t i = 0; i < r->n_peers; i++) {
			struct peer_held *p = r->peer[i];
			if (!id_equal(&p->peer, peer) || p->held.n == 0 ||
			    interest_is_whole(interests_level(x, &p->scope)))
				continue;
			vv_done(&p->held);
			p->meeting = meeting;
			p->dirty = true;
		}
	}
	pthread_mutex_unlock(&r->scopes_lock);
	interests_unref(old);
	return k ? 0 : -ENOMEM;
}

void keeps_contents(struct replica *r, const struct id *peer, uint64_t meeting)
{
	pthread_mutex_lock(&r->scopes_lock);
	struct peer_keeps *k = keeps_of(r, peer, true);
	if (k)
		k->contents = meeting;
	pthread_mutex_unlock(&r->scopes_lock);
}

/* ---- what is carried ---- */

/* scopes_lock. The level at which those who were here since then want it to be carried. */
static enum interest_level wanted(const struct replica *r, const struct id *scope, uint64_t since_us)
{
	enum interest_level best = INTEREST_NONE;
	for (uint32_t i = 0; i < r->n_keeps; i++) {
		enum interest_level l = interests_level(r->keeps[i].x, scope);
		if (r->keeps[i].met_us < since_us || l == INTEREST_NONE || l == INTEREST_FARTHEST)
			continue;
		enum interest_level mine =
			l == INTEREST_FILTERED ? INTEREST_CARRIED : (enum interest_level)(l + 1);
		if (best == INTEREST_NONE || mine < best)
			best = mine;
	}
	return best;
}

static bool scope_has_nodes(const struct replica *r, const struct id *scope)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(scope->b, ID_SIZE, &end);
	return store_iter_new(r->store, NULL, STORE_DOTS, scope->b, ID_SIZE, end.data, end.len, &it) < 0 ||
	       store_iter_valid(it);
}

/* scopes_lock. Two devices that both leave must not rely on each other: what the other one says counts if it
 * was said in a session in which it knew that this one is about to leave. */
static bool elsewhere(const struct replica *r, const struct id *scope)
{
	static const struct vv nothing;
	const struct vv *have = &nothing;
	for (uint32_t i = 0; i < r->n_scopes; i++)
		if (id_equal(&r->scope[i]->id, scope))
			have = &r->scope[i]->have;
	/* Of what had been a part no vector tells. */
	if (have->n == 0)
		return !scope_has_nodes(r, scope);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		const struct peer_held *p = r->peer[i];
		if (!id_equal(&p->scope, scope) || !vv_covers(&p->held, have))
			continue;
		for (uint32_t k = 0; k < r->n_keeps; k++) {
			const struct peer_keeps *x = &r->keeps[k];
			if (id_equal(&x->peer, &p->peer) && x->meeting > r->interests_meeting &&
			    p->meeting >= x->meeting && x->contents >= x->meeting &&
			    interests_level(x->x, scope) == INTEREST_SUBSCRIBED)
				return true;
		}
	}
	return false;
}

bool replica_held_elsewhere(struct replica *r, const struct id *scope)
{
	pthread_mutex_lock(&r->scopes_lock);
	bool is = elsewhere(r, scope);
	pthread_mutex_unlock(&r->scopes_lock);
	return is;
}

int replica_errands(struct replica *r, uint64_t since_us, struct arena *a, struct errand **ret,
		    uint32_t *ret_n)
{
	struct id *id = NULL;
	uint32_t n = 0, used = 0;
	*ret_n = 0;
	if (!atomic_load(&r->hiding)) /* everything is subscribed */
		return 0;
	int rc = replica_collections(r, a, &id, &n);
	struct errand *all = rc == 0 ? arena_array(a, n ? n : 1, sizeof(*all)) : NULL;
	if (rc == 0 && !all)
		rc = -ENOMEM;
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < n; i++) {
		enum interest_level is = interests_level(r->interests, &id[i]);
		struct errand x = { .scope = id[i], .is = is };
		if (interest_is_shown(is))
			continue;
		x.should = wanted(r, &id[i], since_us);
		x.elsewhere = elsewhere(r, &id[i]);
		if (x.is != INTEREST_NONE || x.should != INTEREST_NONE)
			all[used++] = x;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	*ret = all;
	*ret_n = used;
	return 0;
}

bool replica_wants_pick(struct replica *r, const struct id *scope, const char *where)
{
	bool is = false;
	pthread_mutex_lock(&r->scopes_lock);
	if (!where)
		is = interests_level(r->interests, scope) == INTEREST_FILTERED;
	for (uint32_t i = 0; where && !is && i < r->n_keeps; i++) {
		const struct interest *x = interests_find(r->keeps[i].x, scope);
		is = x && x->where && strcmp(x->where, where) == 0;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	return is;
}

/* ---- in the store ---- */

void interests_put_batch(struct replica *r, struct store_batch *b)
{
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_keeps; i++) {
		_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
		struct peer_keeps *k = &r->keeps[i];
		if (!k->dirty)
			continue;
		interest_key(&key, &k->peer);
		buf_u64(&v, k->met_us);
		interests_encode(k->x, &v);
		if (buf_failed(&key) || buf_failed(&v))
			continue; /* stays dirty */
		store_put(b, STORE_META, key.data, key.len, v.data, v.len);
		k->dirty = false;
	}
	pthread_mutex_unlock(&r->scopes_lock);
}

static int load_one(struct replica *r, const struct id *device, struct cursor c)
{
	struct interests *x;
	bool own = id_is_zero(device);
	uint64_t met = own ? 0 : cursor_u64(&c);
	int rc = cursor_ok(&c) ? interests_decode(&c, &x) : -EBADMSG;
	if (rc < 0)
		return rc;
	if (own) {
		r->interests = x;
		return 0;
	}
	struct peer_keeps *k = keeps_of(r, device, true);
	if (!k) {
		interests_unref(x);
		return -ENOMEM;
	}
	k->x = x;
	k->met_us = met;
	return 0;
}

int interests_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = META_INTEREST, end = META_INTEREST + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id device;
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		if (key_len != 1 + ID_SIZE)
			return err_set(e, -EBADMSG, "a damaged key in the database");
		memcpy(device.b, key + 1, ID_SIZE);
		rc = load_one(r, &device, cursor_make(value, len));
		if (rc == -EBADMSG)
			return err_set(e, rc, "a damaged list of subscriptions in the database");
	}
	if (rc == 0)
		rc = store_iter_error(it);
	hiding_update(r);
	return rc;
}

void interests_done(struct replica *r)
{
	for (uint32_t i = 0; i < r->n_keeps; i++)
		interests_unref(r->keeps[i].x);
	free(r->keeps);
	interests_unref(r->interests);
}
