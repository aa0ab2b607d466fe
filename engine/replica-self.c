/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who this store is: its actor, incarnations, and what tells it that it was brought back.
 *
 * A batch has a tag beside its number. Whoever is sent batches by the store that made them keeps
 * their tags, and shows them when the two meet again. A tag that this store did not give, or a number beyond
 * its last, prove that it was brought back to an earlier state and that others hold what it made after
 * that (shoal-protocol(7), Witness). What it has made itself since then has the same numbers; it
 * goes over to the new incarnation (engine/restamp.h), and what others hold comes back as somebody
 * else's. */

#include "engine/replica-impl.h"

#include <errno.h>

#define TAGS_MAX 1024   /* kept of each actor */
#define TRIM_EVERY 64   /* batches */
#define RENEWALS_MAX 64 /* on others' word, until the store is opened again */
#define LATER_MAX (UINT32_C(1) << 22)

/* ---- the tags of own batches ---- */

/* Not of the stamp: that only counts on while the clock is behind, the same in a store that was brought
 * back. Nor of chance alone: a machine that is brought back may have the same chance twice. */
static uint32_t tag_new(struct replica *r)
{
	uint64_t n;
	r->config.random(r->config.userdata, &n, sizeof(n));
	n = (n ^ r->config.wall_us(r->config.userdata)) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t tag = (uint32_t)(n >> 32);
	return tag ? tag : 1;
}

static void own_key(uint8_t kind, uint64_t seq, uint8_t key[static 9])
{
	key[0] = kind;
	for (unsigned i = 0; i < 8; i++)
		key[1 + i] = (uint8_t)(seq >> (56 - 8 * i));
}

static void tag_put(struct store_batch *b, const void *key, size_t len, uint32_t tag)
{
	uint8_t value[4] = { (uint8_t)(tag >> 24), (uint8_t)(tag >> 16), (uint8_t)(tag >> 8), (uint8_t)tag };
	store_put(b, STORE_META, key, len, value, sizeof(value));
}

/* 0: there is none. */
static uint32_t tag_get(struct replica *r, const void *key, size_t len)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	if (store_get(r->store, NULL, STORE_META, key, len, &v) < 0 || v.len != 4)
		return 0;
	struct cursor c = cursor_make(v.data, v.len);
	return cursor_u32(&c);
}

static uint32_t own_tag(struct replica *r, uint64_t seq)
{
	uint8_t key[9];
	own_key(META_OWN, seq, key);
	return tag_get(r, key, sizeof(key));
}

/* What others said they hold of the own actor. They hold the batches of this store: they were asked for
 * their tags before what they say was believed. */
static uint64_t acknowledged(struct replica *r)
{
	uint64_t seq = 0;
	pthread_mutex_lock(&r->scopes_lock);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		uint64_t held = vv_get(&r->peer[i]->held, r->self);
		seq = held > seq ? held : seq;
	}
	pthread_mutex_unlock(&r->scopes_lock);
	return seq;
}

/* Deletes what is kept of own batches from one number up to another. */
static int kind_drop(struct replica *r, struct store_batch *b, uint8_t kind, uint64_t first,
		     uint64_t upto)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t from[9], end[9];
	own_key(kind, first, from);
	own_key(kind, upto + 1, end);
	int rc = store_iter_new(r->store, NULL, STORE_META, from, sizeof(from), end, sizeof(end), &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		store_delete(b, STORE_META, key, len);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static int own_drop(struct replica *r, struct store_batch *b, uint64_t upto)
{
	int rc = kind_drop(r, b, META_OWN, 0, upto);
	return rc < 0 ? rc : kind_drop(r, b, META_COUNTED, 0, upto);
}

/* The same of a kind from time to time; *gone: what was dropped before, since the store was opened. Who
 * looks there again reads all that the store has deleted there, and that grows with each save. */
static int kind_trim(struct replica *r, struct store_batch *b, uint8_t kind, uint64_t *gone,
		     uint64_t upto)
{
	int rc = upto >= *gone ? kind_drop(r, b, kind, *gone, upto) : 0;
	if (rc == 0 && upto >= *gone)
		*gone = upto + 1;
	return rc;
}

int own_put(struct commit *c, struct store_batch *b)
{
	struct replica *r = c->r;
	uint64_t seq = c->stamp.dot.seq;
	uint8_t key[9];
	own_key(META_OWN, seq, key);
	tag_put(b, key, sizeof(key), tag_new(r));
	if (c->restamp)
		return own_drop(r, b, c->restamp->above);
	int rc = counted_put(c, b);
	if (rc < 0)
		return rc;
	if (seq % TRIM_EVERY != 0)
		return 0;
	/* Tags are for whoever meets a store that was brought back, from before any acknowledgement. */
	rc = seq > TAGS_MAX ? kind_trim(r, b, META_OWN, &r->tags_gone, seq - TAGS_MAX) : 0;
	return rc < 0 ? rc : kind_trim(r, b, META_COUNTED, &r->counted_gone, acknowledged(r));
}

void replica_own(struct replica *r, struct actor_id *ret_actor, uint64_t *ret_acknowledged)
{
	pthread_mutex_lock(&r->commit);
	*ret_actor = *actors_get(r->actors, r->self);
	*ret_acknowledged = acknowledged(r);
	pthread_mutex_unlock(&r->commit);
}

uint32_t replica_own_tag(struct replica *r, uint64_t seq)
{
	return own_tag(r, seq);
}

/* ---- the tags of others' batches ---- */

static void heard_key(struct buf *b, uint32_t actor, uint64_t seq)
{
	buf_reset(b);
	buf_u8(b, META_TAG);
	buf_u32(b, actor);
	buf_u64(b, seq);
}

int replica_heard_tags(struct replica *r, const struct actor_id *id, uint64_t upto,
		       const uint32_t *tag, uint32_t n)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
	uint32_t actor;
	if (n == 0)
		return 0;
	int rc = actors_intern(r->actors, id, &actor);
	if (rc == 0)
		rc = store_batch_new(&b);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		heard_key(&key, actor, upto - n + 1 + i);
		if (!buf_failed(&key) && tag[i])
			tag_put(b, key.data, key.len, tag[i]);
	}
	heard_key(&key, actor, 0);
	heard_key(&end, actor, upto > TAGS_MAX ? upto - TAGS_MAX + 1 : 0);
	if (buf_failed(&key) || buf_failed(&end))
		return -ENOMEM;
	if (rc == 0)
		rc = store_iter_new(r->store, NULL, STORE_META, key.data, key.len, end.data, end.len,
				    &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *old = store_iter_key(it, &len);
		store_delete(b, STORE_META, old, len);
	}
	/* The number stands in keys now, so it has to have its name there. */
	if (rc == 0)
		actors_put_batch(r, b, actors_count(r->actors));
	return rc < 0 ? rc : store_write(r->store, b, NULL);
}

static int witness_of(struct replica *r, uint32_t actor, uint64_t from, struct witness *ret,
		      uint32_t max, uint32_t *ret_n)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
	uint32_t n = 0;
	heard_key(&key, actor, from);
	heard_key(&end, actor, UINT64_MAX);
	if (buf_failed(&key) || buf_failed(&end))
		return -ENOMEM;
	int rc = store_iter_new(r->store, NULL, STORE_META, key.data, key.len, end.data, end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *k = store_iter_key(it, &key_len), *v = store_iter_value(it, &len);
		struct cursor kc = cursor_make(k, key_len), vc = cursor_make(v, len);
		cursor_take(&kc, 5);
		struct witness w = { cursor_u64(&kc), cursor_u32(&vc) };
		if (!cursor_end(&kc) || !cursor_end(&vc))
			return -EBADMSG;
		if (n == max) /* the newest ones */
			memmove(ret, ret + 1, --n * sizeof(*ret));
		ret[n++] = w;
	}
	if (rc == 0)
		rc = store_iter_error(it);
	if (rc == 0)
		*ret_n = n;
	return rc;
}

int replica_witness(struct replica *r, const struct actor_id *id, uint64_t above,
		    struct witness *ret, uint32_t max, uint32_t *ret_n)
{
	uint32_t actor = actors_find(r->actors, id);
	*ret_n = 0;
	if (actor == ACTOR_NONE)
		return 0;
	int rc = witness_of(r, actor, above + 1, ret, max, ret_n);
	return rc == 0 && *ret_n == 0 ? witness_of(r, actor, 0, ret, 1, ret_n) : rc;
}

/* ---- incarnations ---- */

/* Numbers of incarnations are random: a backup that is restored twice must not count twice from
 * the same number. One that takes batches over comes behind the one that made them, as long as there are
 * numbers: what ranks by actor and number then ranks as before, and that is how some of it was dropped. */
static int incarnation_name(struct replica *r, bool later, uint32_t *ret)
{
	struct actor_id id = { .device = r->config.device };
	uint32_t now = later ? actors_get(r->actors, r->self)->incarnation : 0;
	later = later && now < UINT32_MAX - LATER_MAX;
	do {
		r->config.random(r->config.userdata, &id.incarnation, sizeof(id.incarnation));
		if (later)
			id.incarnation = now + 1 + id.incarnation % LATER_MAX;
	} while (actors_find(r->actors, &id) != ACTOR_NONE);
	return actors_intern(r->actors, &id, ret);
}

void incarnation_is(struct replica *r, uint32_t self, uint64_t seq)
{
	r->self = self;
	r->seq = seq;
	r->tags_gone = r->counted_gone = 0;
	atomic_fetch_add(&r->renewals, 1);
}

static void renewed_put(struct replica *r, struct store_batch *b, enum renewal how)
{
	const uint8_t key = META_RENEWED;
	uint64_t us = r->config.wall_us(r->config.userdata);
	uint8_t value[9] = { (uint8_t)how };
	for (unsigned i = 0; i < 8; i++)
		value[1 + i] = (uint8_t)(us >> (56 - 8 * i));
	store_put(b, STORE_META, &key, 1, value, sizeof(value));
}

enum renewal replica_renewed(struct replica *r, uint64_t *ret_us)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	const uint8_t key = META_RENEWED;
	if (store_get(r->store, NULL, STORE_META, &key, 1, &v) < 0)
		return RENEWAL_NONE;
	struct cursor c = cursor_make(v.data, v.len);
	uint8_t how = cursor_u8(&c);
	uint64_t us = cursor_u64(&c);
	if (!cursor_end(&c) || how > RENEWAL_PEER)
		return RENEWAL_NONE;
	*ret_us = us;
	return (enum renewal)how;
}

int incarnation_new(struct replica *r, enum renewal how, struct err *e)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	uint32_t no;
	int rc = store_batch_new(&b);
	if (rc == 0)
		rc = incarnation_name(r, false, &no);
	if (rc == 0)
		rc = own_drop(r, b, UINT64_MAX - 1);
	if (rc < 0)
		return err_errno(e, rc, "cannot start a new incarnation");
	uint32_t count = actors_count(r->actors);
	actors_put_batch(r, b, count);
	format_put(r, b, actors_get(r->actors, no));
	if (how != RENEWAL_NONE)
		renewed_put(r, b, how);
	rc = store_write(r->store, b, e);
	if (rc < 0)
		return rc;
	r->actors_saved = count;
	incarnation_is(r, no, 0);
	atomic_fetch_add(&r->commits, 1); /* the next view says so */
	return 0;
}

void replica_random(struct replica *r, void *data, size_t len)
{
	r->config.random(r->config.userdata, data, len);
}

unsigned replica_renewals(struct replica *r)
{
	return atomic_load(&r->renewals);
}

void replica_self(struct replica *r, struct actor_id *ret_actor, uint64_t *ret_seq)
{
	pthread_mutex_lock(&r->commit);
	if (ret_actor)
		*ret_actor = *actors_get(r->actors, r->self);
	if (ret_seq)
		*ret_seq = r->seq;
	pthread_mutex_unlock(&r->commit);
}

/* ---- batches of one number ---- */

static int restamp_node(struct commit *c, const struct id *node, struct err *e)
{
	struct stored old;
	const struct record *rec;
	const struct counter_past past = { counted_before, c->r };
	struct touched *t = commit_touched(c, node);
	if (t && t->record)
		return 0;
	int rc = commit_record(c, node, &old, e);
	if (rc == 0)
		rc = record_restamp(&c->arena, c->r->actors, old.record, c->restamp, &past,
				    &rec);
	if (rc == 0 && rec != old.record)
		rc = commit_put(c, &old, rec, CHANGE_CONTENT | CHANGE_ATTR, NULL);
	return rc;
}

static int restamp_scope(struct commit *c, const struct scope *s, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const struct restamp *rs = c->restamp;
	if (vv_get(&s->have, rs->from) <= rs->above)
		return 0;
	int rc = commit_scope(c, &s->id, 0);
	if (rc == 0)
		rc = dots_iter(c->r, &s->id, rs->from, rs->above, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id node;
		uint64_t seq;
		rc = dots_entry(it, &seq, &node);
		if (rc == 0)
			rc = restamp_node(c, &node, e);
		if (rc < 0)
			return rc;
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int restamp_put(struct commit *c, struct store_batch *b)
{
	struct replica *r = c->r;
	const struct restamp *rs = c->restamp;
	_cleanup_(buf_done) struct buf v = { 0 };
	uint32_t no = atomic_load(&r->n_restamped);
	uint8_t key[5] = { META_RESTAMP, (uint8_t)(no >> 24), (uint8_t)(no >> 16), (uint8_t)(no >> 8),
			   (uint8_t)no };
	buf_u32(&v, rs->from);
	buf_u32(&v, rs->to);
	buf_u64(&v, rs->above);
	if (buf_failed(&v))
		return -ENOMEM;
	store_put(b, STORE_META, key, sizeof(key), v.data, v.len);
	format_put(r, b, actors_get(r->actors, rs->to));
	renewed_put(r, b, RENEWAL_PEER);
	struct restamp *all = reallocarray(r->restamped, no + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	r->restamped = all;
	all[no] = *rs;
	return batches_restamp(c, rs, b);
}

int restamps_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	uint8_t first = META_RESTAMP, end = META_RESTAMP + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *v = store_iter_value(it, &len);
		struct cursor c = cursor_make(v, len);
		uint32_t no = atomic_load(&r->n_restamped);
		struct restamp *all = reallocarray(r->restamped, no + 1, sizeof(*all));
		if (!all)
			return -ENOMEM;
		r->restamped = all;
		all[no] = (struct restamp){ cursor_u32(&c), cursor_u32(&c), 0 };
		all[no].above = cursor_u64(&c);
		if (!cursor_end(&c))
			return err_set(e, -EBADMSG, "a damaged entry of incarnations in the database");
		atomic_store(&r->n_restamped, no + 1);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* Starts a new incarnation, to which goes what was made beyond `above`. All at once: what is in between
 * would be wrong. */
static int renew(struct replica *r, const struct actor_id *self, uint64_t above, struct err *e)
{
	struct restamp rs = { .above = above };
	struct commit c;
	commit_begin(&c, r, false);
	c.anywhere = true;
	int rc = 0;
	if (atomic_load(&r->renewals) - r->renewals_own >= RENEWALS_MAX)
		rc = err_set(e, -EPROTO, "peers said too often that this store was brought back");
	else if (actor_id_cmp(self, actors_get(r->actors, r->self)) != 0)
		rc = -EALREADY; /* in another session */
	else if (above >= r->seq)
		rc = incarnation_new(r, RENEWAL_PEER, e);
	else {
		rs.from = r->self;
		rc = incarnation_name(r, true, &rs.to);
		c.restamp = &rs;
		c.stamp.dot.actor = c.moved.dot.actor = c.actor = rs.to;
		for (uint32_t i = 0; rc == 0 && i < r->n_scopes; i++)
			rc = restamp_scope(&c, r->scope[i], e);
		if (rc == 0)
			rc = c.first ? commit_end(&c, e) : incarnation_new(r, RENEWAL_PEER, e);
	}
	commit_done(&c);
	if (rc == -EALREADY)
		return 0;
	/* Sessions begin anew, on a view that has the new names. */
	return rc < 0 ? err_errno(e, rc, "cannot start a new incarnation") : replica_flush(r, e);
}

int replica_check_fence(struct replica *r, const struct actor_id *actor, uint64_t seq, struct err *e)
{
	pthread_mutex_lock(&r->commit);
	bool beyond = actor_id_cmp(actor, actors_get(r->actors, r->self)) == 0 && seq > r->seq;
	uint64_t above = acknowledged(r);
	pthread_mutex_unlock(&r->commit);
	if (!beyond)
		return 0;
	int rc = renew(r, actor, above, e);
	return rc < 0 ? rc : 1;
}

int replica_check_witness(struct replica *r, const struct actor_id *self, uint64_t above,
			  uint64_t held, const struct witness *w, uint32_t n, struct err *e)
{
	struct actor_id now;
	uint64_t last;
	replica_self(r, &now, &last);
	if (actor_id_cmp(self, &now) != 0)
		return 0;
	bool other = held > last;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t tag = own_tag(r, w[i].seq);
		/* Of a number whose write failed there is no batch, and so no tag. */
		bool kept = tag || (w[i].seq <= last && last - w[i].seq < TAGS_MAX);
		if (w[i].seq > last || (kept && tag != w[i].tag)) {
			other = true;
			break;
		}
		if (tag && w[i].seq > above)
			above = w[i].seq;
	}
	if (!other)
		return 0;
	int rc = renew(r, self, above, e);
	return rc < 0 ? rc : 1;
}
