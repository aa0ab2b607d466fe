/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Batches: which nodes were changed together, and what a peer has to take in at once because of it.
 *
 * The nodes of a batch are listed in the store for as long as the batch may matter to anybody. It does
 * not any more when a later one of the same actor has all of its nodes: whoever lacks the earlier one
 * of some node lacks the later one as well. Records say what they have by their contexts alone, so the list
 * stays true whatever becomes of them.
 *
 * The rule that everything stands on: if a node's record has the changes of a batch, then those of
 * all nodes of the batch have. A commit makes it so at home. To a peer, a record goes
 * together with the other nodes of all batches that it has and the peer lacks, and with
 * the nodes of the batches that those have, and so on; the peer takes all of it in in one commit. A vector
 * that the peer told stands for whole batches by the same rule. */

#include "engine/replica-impl.h"

#include <errno.h>

#define SUPERSEDED_MAX 4 /* earlier batches of its nodes that a new one is compared with */

static void batch_key(struct buf *b, struct dot d)
{
	buf_u8(b, META_BATCH);
	buf_u32(b, d.actor);
	buf_u64(b, d.seq);
}

/* The newest first. */
static void member_key(struct buf *b, const struct id *node, uint32_t actor, uint64_t seq)
{
	buf_u8(b, META_MEMBER);
	buf_put(b, node->b, ID_SIZE);
	buf_u32(b, actor);
	buf_u64(b, ~seq);
}

static int batch_members(struct replica *r, const struct store_snapshot *snap, struct arena *a,
			 struct dot d, struct batch_node **ret, uint32_t *ret_n)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	batch_key(&key, d);
	if (buf_failed(&key))
		return -ENOMEM;
	int rc = store_get(r->store, snap, STORE_META, key.data, key.len, &v);
	return rc < 0 ? rc : members_decode(a, v.data, v.len, ret, ret_n);
}

/* Calls f with the batches of a node by an actor, of numbers in (beyond, upto], the newest first. */
typedef int (*batch_fn)(struct dot d, void *userdata);

static int each_batch(struct replica *r, const struct store_snapshot *snap, const struct id *node,
		      uint32_t actor, uint64_t beyond, uint64_t upto, batch_fn f, void *userdata)
{
	_cleanup_(buf_done) struct buf low = { 0 }, high = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	member_key(&low, node, actor, upto);
	member_key(&high, node, actor, beyond);
	if (buf_failed(&low) || buf_failed(&high))
		return -ENOMEM;
	int rc = store_iter_new(r->store, snap, STORE_META, low.data, low.len, high.data, high.len,
				&it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		struct cursor c = cursor_make(key, len);
		cursor_take(&c, 1 + ID_SIZE + 4);
		uint64_t seq = ~cursor_u64(&c);
		rc = cursor_end(&c) ? f((struct dot){ actor, seq }, userdata) : -EBADMSG;
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* ---- what a commit notes ---- */

struct noting {
	struct commit *c;
	struct store_batch *b;
	const struct batch_node *member;
	uint32_t n;
	unsigned looked;
	bool superseded;
};

static void put_batch(struct store_batch *b, struct dot d, const struct batch_node *m, uint32_t n,
		      const struct buf *value) /* NULL: it goes */
{
	uint8_t mem[64];
	struct buf key = { mem, 0, sizeof(mem), false };
	batch_key(&key, d);
	if (value)
		store_put(b, STORE_META, key.data, key.len, value->data, value->len);
	else
		store_delete(b, STORE_META, key.data, key.len);
	for (uint32_t i = 0; i < n; i++) {
		key.len = 0;
		member_key(&key, &m[i].id, d.actor, d.seq);
		if (value)
			store_put(b, STORE_META, key.data, key.len, "", 0);
		else
			store_delete(b, STORE_META, key.data, key.len);
	}
}

static int by_member(const void *x, const void *y)
{
	return id_cmp(&((const struct batch_node *)x)->id, &((const struct batch_node *)y)->id);
}

static bool all_in(const struct batch_node *x, uint32_t nx, const struct batch_node *y, uint32_t ny)
{
	for (uint32_t i = 0; i < nx; i++)
		if (!bsearch(&x[i], y, ny, sizeof(*y), by_member))
			return false;
	return true;
}

/* The members of a batch; none: it is forgotten by now. 1: so many have been looked at that it is
 * enough. */
static int earlier_members(struct noting *x, struct dot d, struct batch_node **ret, uint32_t *ret_n)
{
	if (x->looked == SUPERSEDED_MAX)
		return 1;
	x->looked++;
	*ret_n = 0;
	int rc = batch_members(x->c->r, NULL, &x->c->arena, d, ret, ret_n);
	return rc == -ENOENT ? 0 : rc;
}

/* Is there a later batch that has all nodes of this one? It came before it, then: by another way. */
static int is_superseded(struct dot d, void *userdata)
{
	struct noting *x = userdata;
	struct batch_node *m;
	uint32_t n;
	int rc = earlier_members(x, d, &m, &n);
	if (rc != 0 || n == 0)
		return rc;
	x->superseded = all_in(x->member, x->n, m, n);
	return x->superseded;
}

/* Forgets an earlier batch whose nodes are all in the new one. */
static int supersede(struct dot d, void *userdata)
{
	struct noting *x = userdata;
	struct batch_node *m;
	uint32_t n;
	int rc = earlier_members(x, d, &m, &n);
	if (rc == 0 && n > 0 && all_in(m, n, x->member, x->n))
		put_batch(x->b, d, m, n, NULL);
	return rc;
}

int batches_restamp(struct commit *c, const struct restamp *rs, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf low = { 0 }, high = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	batch_key(&low, (struct dot){ rs->from, rs->above + 1 });
	batch_key(&high, (struct dot){ rs->from, UINT64_MAX });
	if (buf_failed(&low) || buf_failed(&high))
		return -ENOMEM;
	int rc = store_iter_new(c->r->store, NULL, STORE_META, low.data, low.len, high.data, high.len,
				&it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct batch_node *m;
		size_t len;
		uint32_t n;
		const uint8_t *key = store_iter_key(it, &len);
		struct cursor k = cursor_make(key, len);
		cursor_take(&k, 1 + 4);
		struct dot d = { rs->from, cursor_u64(&k) };
		const uint8_t *value = store_iter_value(it, &len);
		_cleanup_(buf_done) struct buf copy = { 0 };
		buf_put(&copy, value, len);
		rc = !cursor_end(&k) ? -EBADMSG :
		     buf_failed(&copy) ? -ENOMEM :
					 members_decode(&c->arena, copy.data, copy.len, &m, &n);
		if (rc < 0)
			return rc;
		put_batch(b, d, m, n, NULL);
		put_batch(b, dot_restamp(rs, d), m, n, &copy);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static int note(struct commit *c, struct store_batch *b, struct dot d, const struct batch_node *m,
		uint32_t n)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	struct noting x = { c, b, m, n, 0, false };
	int rc = each_batch(c->r, NULL, &m[0].id, d.actor, d.seq, UINT64_MAX, is_superseded, &x);
	if (rc < 0 || x.superseded)
		return rc < 0 ? rc : 0;
	x.looked = 0;
	members_encode(m, n, &v);
	if (buf_failed(&v))
		return -ENOMEM;
	for (uint32_t i = 0; i < n && x.looked < SUPERSEDED_MAX; i++) {
		rc = each_batch(c->r, NULL, &m[i].id, d.actor, 0, d.seq - 1, supersede, &x);
		if (rc < 0)
			return rc;
	}
	put_batch(b, d, m, n, &v);
	atomic_store(&c->r->batches, true);
	return 0;
}

static int note_own(struct commit *c, struct store_batch *b)
{
	uint32_t n = 0;
	for (const struct touched *t = c->first; t; t = t->next)
		n += t->record && !touched_same(t);
	if (n < 2)
		return 0;
	struct batch_node *m = arena_array(&c->arena, n, sizeof(*m));
	if (!m)
		return -ENOMEM;
	n = 0;
	for (const struct touched *t = c->first; t; t = t->next)
		if (t->record && !touched_same(t))
			m[n++] = (struct batch_node){ t->record->id, t->record->scope };
	qsort(m, n, sizeof(*m), by_member);
	return note(c, b, c->stamp.dot, m, n);
}

static int note_bundle(struct commit *c, struct store_batch *b, const struct bundle *g)
{
	for (uint32_t i = 0; i < g->n_batches; i++) {
		const struct batch *x = &g->batch[i];
		struct batch_node *m;
		uint32_t n;
		int rc = batch_members(c->r, NULL, &c->arena, x->dot, &m, &n);
		if (rc != -ENOENT && rc < 0)
			return rc;
		if (rc == 0)
			continue;
		m = arena_array(&c->arena, x->n, sizeof(*m));
		if (!m)
			return -ENOMEM;
		for (uint32_t k = 0; k < x->n; k++)
			m[k] = g->member[x->member[k]];
		rc = note(c, b, x->dot, m, x->n);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int commit_batches(struct commit *c, struct store_batch *b)
{
	if (c->bundle)
		return note_bundle(c, b, c->bundle);
	return c->whole || c->together ? note_own(c, b) : 0;
}

int batches_forget(struct commit *c, const struct id *node, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf low = { 0 }, high = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	meta_key(&low, META_MEMBER, node->b, ID_SIZE, NULL, 0);
	store_prefix_end(low.data, low.len, &high);
	if (buf_failed(&low) || buf_failed(&high))
		return -ENOMEM;
	int rc = store_iter_new(c->r->store, NULL, STORE_META, low.data, low.len, high.data, high.len,
				&it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct batch_node *m;
		size_t len;
		uint32_t n, i = 0;
		const uint8_t *key = store_iter_key(it, &len);
		struct cursor k = cursor_make(key, len);
		cursor_take(&k, 1 + ID_SIZE);
		struct dot d = { .actor = cursor_u32(&k) };
		d.seq = ~cursor_u64(&k);
		rc = cursor_end(&k) ? batch_members(c->r, NULL, &c->arena, d, &m, &n) : -EBADMSG;
		if (rc == -ENOENT) { /* another one of this commit was the first */
			rc = 0;
			continue;
		}
		/* One of them looks for all: the first. */
		if (rc < 0 || !id_equal(&m[0].id, node))
			continue;
		while (i < n && !scope_is_kept(c->r, &m[i].scope))
			i++;
		if (i == n)
			put_batch(b, d, m, n, NULL);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int batches_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = META_BATCH, end = META_BATCH + 1;
	int rc = store_iter_new(r->store, NULL, STORE_META, &first, 1, &end, 1, &it);
	if (rc == 0) {
		atomic_store(&r->batches, store_iter_valid(it));
		rc = store_iter_error(it);
	}
	return rc < 0 ? err_errno(e, rc, "cannot read which changes belong together") : 0;
}

/* ---- checking ---- */

struct batches_walk {
	struct replica *r;
	const struct store_snapshot *snap;
	struct store_batch *fix; /* NULL: only look */
	struct arena arena;
	uint64_t wrong, damaged;
};

/* The nodes that the list has say so as well. */
static int check_batch(struct batches_walk *w, struct cursor key, const uint8_t *value, size_t len)
{
	_cleanup_(buf_done) struct buf k = { 0 };
	struct batch_node *m;
	uint32_t n;
	cursor_u8(&key);
	struct dot d = { .actor = cursor_u32(&key) };
	d.seq = cursor_u64(&key);
	arena_reset(&w->arena);
	int rc = members_decode(&w->arena, value, len, &m, &n);
	if (!cursor_end(&key) || (rc < 0 && rc != -ENOMEM)) {
		w->damaged++;
		return 0;
	}
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		buf_reset(&k);
		member_key(&k, &m[i].id, d.actor, d.seq);
		if (buf_failed(&k))
			return -ENOMEM;
		if (store_has(w->r->store, w->snap, STORE_META, k.data, k.len))
			continue;
		w->wrong++;
		if (w->fix)
			store_put(w->fix, STORE_META, k.data, k.len, "", 0);
	}
	return rc;
}

/* What a node says has a list. */
static int check_member(struct batches_walk *w, struct cursor key, const uint8_t *value, size_t len)
{
	_cleanup_(buf_done) struct buf k = { 0 };
	struct cursor c = key;
	(void)value;
	(void)len;
	cursor_take(&c, 1 + ID_SIZE);
	struct dot d = { .actor = cursor_u32(&c) };
	d.seq = ~cursor_u64(&c);
	batch_key(&k, d);
	if (buf_failed(&k))
		return -ENOMEM;
	if (cursor_end(&c) && store_has(w->r->store, w->snap, STORE_META, k.data, k.len))
		return 0;
	w->wrong++;
	if (w->fix)
		store_delete(w->fix, STORE_META, key.p, (size_t)(key.end - key.p));
	return 0;
}

static int check_kind(struct batches_walk *w, uint8_t kind,
		      int (*check)(struct batches_walk *, struct cursor, const uint8_t *, size_t))
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t end = (uint8_t)(kind + 1);
	int rc = store_iter_new(w->r->store, w->snap, STORE_META, &kind, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		rc = check(w, cursor_make(key, key_len), value, len);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int batches_check(struct replica *r, const struct store_snapshot *snap, struct store_batch *fix,
		  uint64_t *ret_wrong, uint64_t *ret_damaged)
{
	struct batches_walk w = { .r = r, .snap = snap, .fix = fix };
	int rc = check_kind(&w, META_BATCH, check_batch);
	if (rc == 0)
		rc = check_kind(&w, META_MEMBER, check_member);
	arena_done(&w.arena);
	if (rc == 0) {
		*ret_wrong = w.wrong;
		*ret_damaged = w.damaged;
	}
	return rc;
}

/* ---- what goes together ---- */

struct found {
	struct table_link link;
	struct found *next;    /* of those to be looked at, in the order they were found */
	struct batch_node member;
	bool listed, looked;   /* to be looked at; done so */
	bool wanted;           /* it has something that the peer lacks */
	uint32_t place;
};

struct known_batch {
	struct table_link link;
	struct known_batch *next;
	struct dot dot;
	struct batch_node *member;
	uint32_t n;
};

struct gathering {
	struct replica *r;
	const struct store_snapshot *snap;
	struct arena *a;
	known_fn known;
	void *userdata;
	struct table nodes, batches;
	struct found *first, **last;
	struct known_batch *batch, **last_batch;
	uint32_t n_nodes, n_batches, n_wanted;
	size_t bytes, head;
	bool whole; /* of the bytes and numbers that may be there */
};

static struct found *found_get(struct gathering *g, const struct batch_node *m)
{
	uint64_t hash = id_hash(&m->id);
	for (struct table_link *l = table_first(&g->nodes, hash); l; l = l->next)
		if (id_equal(&((struct found *)l)->member.id, &m->id))
			return (struct found *)l;
	struct found *f = arena_new(g->a, struct found);
	if (!f || table_add(&g->nodes, &f->link, hash) < 0)
		return NULL;
	f->member = *m;
	g->n_nodes++;
	g->head += ID_SIZE + 4;
	return f;
}

static int look_at(struct gathering *g, const struct batch_node *m)
{
	struct found *f = found_get(g, m);
	if (!f)
		return -ENOMEM;
	if (f->listed)
		return 0;
	f->listed = true;
	*g->last = f;
	g->last = &f->next;
	return 0;
}

/* A batch that the node has and the peer does not. */
static int batch_found(struct dot d, void *userdata)
{
	struct gathering *g = userdata;
	uint64_t hash = table_mix(d.seq ^ (uint64_t)d.actor << 40);
	for (struct table_link *l = table_first(&g->batches, hash); l; l = l->next) {
		const struct known_batch *k = (const struct known_batch *)l;
		if (k->dot.actor == d.actor && k->dot.seq == d.seq)
			return 0;
	}
	struct known_batch *k = arena_new(g->a, struct known_batch);
	if (!k || table_add(&g->batches, &k->link, hash) < 0)
		return -ENOMEM;
	k->dot = d;
	int rc = batch_members(g->r, g->snap, g->a, d, &k->member, &k->n);
	if (rc < 0)
		return rc;
	*g->last_batch = k;
	g->last_batch = &k->next;
	g->n_batches++;
	g->head += 24 + 3 * k->n;
	for (uint32_t i = 0; rc == 0 && i < k->n; i++) {
		const struct vv *known = g->known(&k->member[i].scope, g->userdata);
		if (!known || vv_has(known, d))
			rc = found_get(g, &k->member[i]) ? 0 : -ENOMEM;
		else
			rc = look_at(g, &k->member[i]);
	}
	g->whole = g->n_nodes <= BUNDLE_MEMBERS_MAX && g->n_batches <= BUNDLE_BATCHES_MAX &&
		   g->head <= BUNDLE_HEAD_MAX / 2;
	return rc < 0 ? rc : !g->whole;
}

static int look(struct gathering *g, struct found *f)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct vv *known = g->known(&f->member.scope, g->userdata);
	struct stored s;
	f->looked = true;
	if (!known)
		return 0;
	int rc = store_get(g->r->store, g->snap, STORE_DOCS, f->member.id.b, ID_SIZE, &v);
	if (rc == 0)
		rc = stored_decode(g->r, g->snap, &a, v.data, v.len, &s, NULL);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	const struct vv *ctx = &s.record->ctx;
	f->member.scope = s.record->scope;
	f->wanted = !vv_covers(known, ctx);
	if (!f->wanted)
		return 0;
	g->n_wanted++;
	g->bytes += v.len;
	g->whole = g->bytes <= BUNDLE_RECORDS_MAX;
	for (uint32_t i = 0; rc == 0 && g->whole && i < ctx->n; i++) {
		uint64_t k = vv_get(known, ctx->item[i].actor);
		if (k < ctx->item[i].seq)
			rc = each_batch(g->r, g->snap, &f->member.id, ctx->item[i].actor, k,
					ctx->item[i].seq, batch_found, g);
	}
	return rc < 0 ? rc : 0;
}

/* The directories that the node hangs in come along, also those above one that the peer has already:
 * their own scope may be walked later, and what hangs nowhere shows under lost+found. */
static int look_above(struct gathering *g, const struct found *f)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s, above;
	int rc = stored_get(g->r, g->snap, &a, &f->member.id, &s, NULL);
	if (rc == -ENOENT)
		return 0;
	for (uint32_t i = 0; rc == 0 && i < s.record->n_edges; i++) {
		const struct id *parent = &s.record->edge[i].parent;
		if (id_equal(parent, &NODE_TRASH))
			continue;
		if (id_equal(parent, &NODE_ROOT))
			return 0;
		rc = stored_get(g->r, g->snap, &a, parent, &above, NULL);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
		const struct batch_node m = { *parent, above.record->scope };
		return look_at(g, &m);
	}
	return rc;
}

static int by_place(const void *x, const void *y)
{
	const uint32_t *a = x, *b = y;
	return *a < *b ? -1 : *a > *b;
}

/* What has to go, in the order that it was found. */
static int list_wanted(struct gathering *g, struct batch_node **ret)
{
	struct batch_node *wanted = arena_array(g->a, g->n_wanted, sizeof(*wanted));
	uint32_t n = 0;
	if (!wanted)
		return -ENOMEM;
	for (const struct found *f = g->first; f; f = f->next)
		if (f->wanted)
			wanted[n++] = f->member;
	*ret = wanted;
	return 0;
}

/* Lists what was found. */
static int gather(struct gathering *g, struct bundle *ret)
{
	struct batch_node *member = arena_array(g->a, g->n_nodes, sizeof(*member));
	struct batch *batch = arena_array(g->a, g->n_batches, sizeof(*batch));
	uint32_t n = 0, *place;
	if (!member || !batch)
		return -ENOMEM;
	table_each(&g->nodes, i, l, next)
		member[n++] = ((struct found *)l)->member;
	qsort(member, n, sizeof(*member), by_member);
	*ret = (struct bundle){ member, n, g->n_wanted, batch, 0 };
	for (const struct known_batch *k = g->batch; k; k = k->next) {
		place = arena_array(g->a, k->n, sizeof(*place));
		if (!place)
			return -ENOMEM;
		for (uint32_t i = 0; i < k->n; i++)
			place[i] = bundle_find(ret, &k->member[i].id);
		qsort(place, k->n, sizeof(*place), by_place);
		batch[ret->n_batches++] = (struct batch){ k->dot, place, k->n };
	}
	return 0;
}

int bundle_make(struct replica *r, const struct store_snapshot *snap, struct arena *a,
	       const struct batch_node *m, known_fn known, void *userdata, struct bundle *ret,
	       struct batch_node **ret_wanted, uint32_t *ret_n)
{
	struct gathering g = { .r = r, .snap = snap, .a = a, .known = known, .userdata = userdata,
			       .whole = true };
	*ret = (struct bundle){ 0 };
	*ret_n = 0;
	if (!atomic_load(&r->batches))
		return 0;
	g.last = &g.first;
	g.last_batch = &g.batch;
	int rc = look_at(&g, m);
	for (struct found *f = g.first; rc == 0 && g.whole && f; f = f->next)
		rc = look(&g, f);
	for (struct found *f = g.n_wanted > 1 ? g.first : NULL; rc == 0 && g.whole && f; f = f->next) {
		if (!f->looked)
			rc = look(&g, f);
		if (rc == 0)
			rc = look_above(&g, f);
	}
	if (rc == 0 && g.n_wanted > 1) {
		rc = list_wanted(&g, ret_wanted);
		*ret_n = g.n_wanted;
	}
	if (rc == 0 && g.whole && g.n_wanted > 1)
		rc = gather(&g, ret);
	table_done(&g.nodes);
	table_done(&g.batches);
	return rc;
}
