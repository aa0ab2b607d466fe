/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Picks (engine/pick.h). In STORE_PICKS, by a name that is a hash of scope and expression:
 *
 *     H, name          u8 format, u8 1: complete, id scope, u8 1: a filter, varint length, expression, then the
 *                      place in the index of changes up to which the collection has been looked at
 *     M, name, node    id: the node's hash. There for each node that is picked
 *     S, name, u16     u64 count, u64, u64: sum of those whose ids begin with these 12 bits
 *
 * Each commit makes true what it touches. A new pick is made by going through the index of changes in steps: what
 * is touched meanwhile is true already, and stays so if it is looked at once more. */

#include "engine/pick.h"

#include <errno.h>

#include "engine/filter.h"
#include "engine/replica-pick.h"
#include "engine/sha256.h"

#define STEP_NODES 256
#define PATH_DEPTH 4096

struct pick {
	struct id name, scope;
	struct filter *filter; /* NULL: every record */
	bool complete;
	struct buf place;
};

struct picks { /* commit lock */
	struct pick *at[PICKS_MAX];
	uint32_t n;
};

static void pick_free(struct pick *p)
{
	if (!p)
		return;
	filter_free(p->filter);
	buf_done(&p->place);
	free(p);
}
DEFINE_CLEANUP(struct pick *, pick_free)

void picks_done(struct replica *r)
{
	for (uint32_t i = 0; r->picks && i < r->picks->n; i++)
		pick_free(r->picks->at[i]);
	free(r->picks);
}

void pick_name(const struct id *scope, const char *where, struct id *ret)
{
	const struct sha256_part part[] = { { scope->b, ID_SIZE }, { where, where ? strlen(where) : 0 } };
	sha256_id(part, where ? 2 : 1, ret);
}

void pick_key(struct buf *b, uint8_t kind, const struct id *name, const void *p, size_t n)
{
	buf_reset(b);
	buf_u8(b, kind);
	buf_put(b, name->b, ID_SIZE);
	buf_put(b, p, n);
}

static void head_put(const struct pick *p, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	pick_key(&key, PICK_HEAD, &p->name, NULL, 0);
	const char *where = p->filter ? filter_text(p->filter) : "";
	buf_u8(&v, PICK_FORMAT);
	buf_u8(&v, p->complete);
	buf_put(&v, p->scope.b, ID_SIZE);
	buf_u8(&v, p->filter != NULL);
	buf_bytes(&v, where, strlen(where));
	buf_put(&v, p->place.data, p->place.len);
	if (!buf_failed(&key) && !buf_failed(&v))
		store_put(b, STORE_PICKS, key.data, key.len, v.data, v.len);
}

/* Not a pick of this format: it is forgotten, and made anew when it is wanted. -ENOMEM. */
static int head_get(const void *data, size_t len, struct pick **ret)
{
	_cleanup_(pick_freep) struct pick *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	struct cursor c = cursor_make(data, len);
	size_t n;
	uint8_t format = cursor_u8(&c), complete = cursor_u8(&c);
	const uint8_t *scope = cursor_take(&c, ID_SIZE);
	uint8_t filtered = cursor_u8(&c);
	const uint8_t *where = cursor_bytes(&c, FILTER_SIZE_MAX, &n);
	if (!cursor_ok(&c) || format != PICK_FORMAT)
		return -EBADMSG;
	memcpy(p->scope.b, scope, ID_SIZE);
	p->complete = complete == 1;
	int rc = filtered ? filter_new((const char *)where, n, &p->filter, NULL) : 0;
	if (rc < 0)
		return rc;
	buf_put(&p->place, c.p, cursor_left(&c));
	if (buf_failed(&p->place))
		return -ENOMEM;
	pick_name(&p->scope, p->filter ? filter_text(p->filter) : NULL, &p->name);
	*ret = TAKE_PTR(p);
	return 0;
}

int picks_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = PICK_HEAD, end = PICK_HEAD + 1;
	r->picks = calloc(1, sizeof(*r->picks));
	if (!r->picks)
		return err_set(e, -ENOMEM, "out of memory");
	int rc = store_iter_new(r->store, NULL, STORE_PICKS, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it) && r->picks->n < PICKS_MAX; store_iter_next(it)) {
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		rc = head_get(value, len, &r->picks->at[r->picks->n]);
		if (rc == 0)
			r->picks->n++;
		else if (rc != -ENOMEM)
			rc = 0;
	}
	return rc < 0 ? rc : store_iter_error(it);
}

/* ---- is a node picked? ---- */

struct truth {
	struct id node, hash;
	bool is;
};

/* Places and names as the commit will leave them. */
static int path_of(struct commit *c, const struct node *n, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct node at = *n, up;
	buf_reset(ret);
	for (unsigned depth = 0; depth < PATH_DEPTH; depth++) {
		_cleanup_(buf_done) struct buf rest = *ret;
		*ret = (struct buf){ 0 };
		buf_put(ret, at.name, at.name_len);
		if (rest.len > 0)
			buf_u8(ret, '/');
		buf_put(ret, rest.data, rest.len);
		if (buf_failed(ret))
			return -ENOMEM;
		if (id_equal(&at.parent, &NODE_ROOT) || id_is_zero(&at.parent))
			return 0;
		const struct touched *t = commit_touched(c, &at.parent);
		if (t && (t->had || t->record)) {
			at = t->after;
			continue;
		}
		int rc = node_get(c->r, &a, &at.parent, &up);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
		at = up;
	}
	return 0;
}

/* A file's text. *ret NULL: it is no document. */
static int document_of(struct commit *c, const struct touched *t, const struct id *node, struct arena *a,
		       struct version **ret)
{
	struct stored s;
	struct replica *r = c->r;
	const struct record *rec = t ? t->record : NULL;
	int rc = 0;
	if (!rec) {
		rc = stored_get(r, NULL, a, node, &s, NULL);
		rec = rc == 0 ? s.record : NULL;
	}
	if (rc < 0)
		return rc;
	_cleanup_(version_unrefp) struct version *v = t && t->version ? version_ref(t->version) : NULL;
	if (!v)
		rc = version_make(r, rec, NULL, &v);
	if (rc == 0 && version_form(v) == FORM_JSON && !version_is_made(v))
		rc = version_load_from(r, v, rec);
	if (rc == 0 && version_form(v) == FORM_JSON)
		*ret = TAKE_PTR(v);
	return rc;
}

static int asked(struct commit *c, const struct pick *p, const struct touched *t, const struct node *n,
		 bool *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf path = { 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct filter_file x = { .id = n->attr.id, .path = "" };
	int rc = 0;
	if (filter_uses_content(p->filter)) {
		if (n->attr.kind == NODE_FILE && n->attr.form == FORM_JSON)
			rc = document_of(c, t, &n->attr.id, &a, &v);
		if (rc == 0 && !v) {
			*ret = false;
			return 0;
		}
	}
	if (rc == 0 && filter_uses_path(p->filter))
		rc = path_of(c, n, &path);
	if (rc < 0 && rc != -ENOMEM) { /* verify tells of a damaged record */
		*ret = false;
		return 0;
	}
	if (rc < 0)
		return rc;
	if (path.len > 0) {
		x.path = (const char *)path.data;
		x.path_len = path.len;
	}
	if (v) {
		x.text = version_data(v);
		x.len = version_size(v);
	}
	return filter_match(p->filter, &x, ret);
}

/* was: it is picked now. t NULL: nothing of the node changes. */
static int truth_of(struct commit *c, const struct pick *p, const struct touched *t, const struct node *n,
		    bool was, struct truth *ret)
{
	*ret = (struct truth){ .node = n->attr.id, .hash = n->attr.version };
	if (!(n->flags & NODE_LIVE))
		return 0;
	if (n->attr.kind == NODE_DIR || !id_is_zero(&n->attr.target)) {
		ret->is = true;
		return 0;
	}
	if (was && t && !t->content && !filter_uses_path(p->filter)) {
		ret->is = true;
		return 0;
	}
	return asked(c, p, t, n, &ret->is);
}

/* ---- sums ---- */

struct bucket {
	uint16_t no;
	struct reconcile_sum sum;
};

struct sums { /* of one pick, as a batch will leave them */
	struct replica *r;
	const struct pick *pick;
	struct buf bucket; /* struct bucket */
};

int pick_sum_decode(const void *data, size_t len, struct reconcile_sum *ret)
{
	struct cursor c = cursor_make(data, len);
	*ret = (struct reconcile_sum){ .n = cursor_u64(&c) };
	ret->high = cursor_u64(&c);
	ret->low = cursor_u64(&c);
	return cursor_end(&c) ? 0 : -EBADMSG;
}

void pick_sum_key(struct buf *key, const struct id *name, unsigned no)
{
	const uint8_t two[2] = { (uint8_t)(no >> 8), (uint8_t)no };
	pick_key(key, PICK_SUM, name, two, sizeof(two));
}

static int sum_read(struct store *store, const struct store_snapshot *snap, const struct id *name,
		    unsigned no, struct reconcile_sum *ret)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	pick_sum_key(&key, name, no);
	if (buf_failed(&key))
		return -ENOMEM;
	int rc = store_get(store, snap, STORE_PICKS, key.data, key.len, &v);
	if (rc == -ENOENT) {
		*ret = (struct reconcile_sum){ 0 };
		return 0;
	}
	return rc < 0 ? rc : pick_sum_decode(v.data, v.len, ret);
}

static int bucket_of(struct sums *s, const struct id *node, struct bucket **ret)
{
	struct bucket *b = (void *)s->bucket.data;
	unsigned no = (unsigned)node->b[0] << 4 | node->b[1] >> 4;
	size_t n = s->bucket.len / sizeof(*b), i = 0;
	while (i < n && b[i].no != no)
		i++;
	if (i == n) {
		struct bucket x = { .no = (uint16_t)no };
		int rc = sum_read(s->r->store, NULL, &s->pick->name, no, &x.sum);
		if (rc < 0)
			return rc;
		buf_put(&s->bucket, &x, sizeof(x));
		if (buf_failed(&s->bucket))
			return -ENOMEM;
		b = (void *)s->bucket.data;
	}
	*ret = &b[i];
	return 0;
}

static void sums_put(struct sums *s, struct store_batch *batch)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	const struct bucket *b = (const void *)s->bucket.data;
	for (size_t i = 0; i < s->bucket.len / sizeof(*b); i++) {
		pick_sum_key(&key, &s->pick->name, b[i].no);
		buf_reset(&v);
		buf_u64(&v, b[i].sum.n);
		buf_u64(&v, b[i].sum.high);
		buf_u64(&v, b[i].sum.low);
		if (b[i].sum.n > 0)
			store_put(batch, STORE_PICKS, key.data, key.len, v.data, v.len);
		else
			store_delete(batch, STORE_PICKS, key.data, key.len);
	}
}

/* 1: it is picked, with that hash; 0: it is not. */
int pick_member(struct store *store, const struct store_snapshot *snap, const struct id *name,
		      const struct id *node, struct id *ret_hash)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	pick_key(&key, PICK_MEMBER, name, node->b, ID_SIZE);
	if (buf_failed(&key))
		return -ENOMEM;
	int rc = store_get(store, snap, STORE_PICKS, key.data, key.len, &v);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (v.len != ID_SIZE)
		return -EBADMSG;
	memcpy(ret_hash->b, v.data, ID_SIZE);
	return 1;
}

/* Makes it so; was, hash: what pick_member said. */
static int make_true(struct sums *s, const struct truth *x, int was, const struct id *hash,
		     struct store_batch *batch)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	const struct reconcile_item before = { x->node, *hash }, after = { x->node, x->hash };
	struct bucket *b;
	if (was ? x->is && id_equal(hash, &x->hash) : !x->is)
		return 0;
	int rc = bucket_of(s, &x->node, &b);
	if (rc < 0)
		return rc;
	pick_key(&key, PICK_MEMBER, &s->pick->name, x->node.b, ID_SIZE);
	if (was)
		reconcile_remove(&b->sum, &before);
	if (x->is) {
		reconcile_add(&b->sum, &after);
		store_put(batch, STORE_PICKS, key.data, key.len, x->hash.b, ID_SIZE);
	} else {
		store_delete(batch, STORE_PICKS, key.data, key.len);
	}
	return buf_failed(&key) ? -ENOMEM : 0;
}

/* ---- what a commit changes ---- */

static int touch(struct commit *c, struct sums *s, const struct touched *t, struct store_batch *b)
{
	const struct pick *p = s->pick;
	struct truth x = { .node = t->after.attr.id };
	struct id hash = { { 0 } };
	int was = pick_member(c->r->store, NULL, &p->name, &x.node, &hash), rc = 0;
	if (was < 0)
		return was;
	if (t->gone)
		return make_true(s, &x, was, &hash, b);
	if (p->filter) {
		rc = truth_of(c, p, t, &t->after, was == 1, &x);
	} else {
		if (!t->record)
			return 0;
		x.is = true;
		vv_fingerprint(&t->record->ctx, c->r->actors, &x.hash);
	}
	return rc < 0 ? rc : make_true(s, &x, was, &hash, b);
}

/* A directory has another path, and with it all below. */
static bool moves(const struct touched *t)
{
	const struct node *x = &t->before, *y = &t->after;
	return t->had && y->attr.kind == NODE_DIR && x->name && y->name &&
	       (!id_equal(&x->parent, &y->parent) || x->name_len != y->name_len ||
		memcmp(x->name, y->name, y->name_len) != 0);
}

static int pick_put(struct commit *c, struct pick *p, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf memory = { 0 };
	struct sums s = { .r = c->r, .pick = p };
	int rc = 0;
	bool paths = p->filter && filter_uses_path(p->filter), again = false;
	for (struct touched *t = c->first; rc == 0 && t; t = t->next) {
		if (!t->had && !t->record && !t->gone)
			continue;
		again |= paths && moves(t);
		if (id_equal(&t->after.attr.scope, &p->scope))
			rc = touch(c, &s, t, b);
	}
	if (rc == 0)
		sums_put(&s, b);
	buf_done(&s.bucket);
	if (rc == 0 && again) {
		p->complete = false;
		buf_reset(&p->place);
		head_put(p, b);
	}
	return rc;
}

int picks_put(struct commit *c, struct store_batch *b)
{
	struct picks *all = c->r->picks;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && all && i < all->n; i++)
		rc = pick_put(c, all->at[i], b);
	return rc;
}

/* ---- new ones ---- */

static struct pick *pick_find(struct replica *r, const struct id *name)
{
	for (uint32_t i = 0; i < r->picks->n; i++)
		if (id_equal(&r->picks->at[i]->name, name))
			return r->picks->at[i];
	return NULL;
}

int replica_pick(struct replica *r, const struct id *scope, const char *where, struct err *e)
{
	struct id name;
	pick_name(scope, where, &name);
	pthread_mutex_lock(&r->commit);
	struct pick *p = pick_find(r, &name);
	int rc = p ? p->complete : -ENOENT;
	pthread_mutex_unlock(&r->commit);
	if (rc >= 0)
		return rc;
	_cleanup_(pick_freep) struct pick *fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return err_set(e, -ENOMEM, "out of memory");
	fresh->name = name;
	fresh->scope = *scope;
	rc = where ? filter_new(where, strlen(where), &fresh->filter, e) : 0;
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->commit);
	p = pick_find(r, &name);
	rc = p ? p->complete : 0;
	if (!p && r->picks->n == PICKS_MAX)
		rc = err_set(e, -ENOSPC, "there are %d filters in use here already", PICKS_MAX);
	if (!p && rc == 0) {
		store_batch_clear(r->batch);
		head_put(fresh, r->batch);
		rc = store_write(r->store, r->batch, e);
		if (rc == 0)
			r->picks->at[r->picks->n++] = TAKE_PTR(fresh);
	}
	pthread_mutex_unlock(&r->commit);
	return rc;
}

static int look_at(struct commit *c, struct sums *s, const struct id *node, struct store_batch *b)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct pick *p = s->pick;
	struct truth x = { .node = *node };
	struct id hash = { { 0 } };
	struct node n;
	int was = pick_member(c->r->store, NULL, &p->name, node, &hash), rc;
	if (was < 0)
		return was;
	if (p->filter) {
		rc = node_get(c->r, &a, node, &n);
		if (rc == 0)
			rc = truth_of(c, p, NULL, &n, was == 1, &x);
	} else {
		struct stored old;
		rc = stored_get(c->r, NULL, &a, node, &old, NULL);
		x.is = rc == 0;
		if (rc == 0)
			vv_fingerprint(&old.record->ctx, c->r->actors, &x.hash);
	}
	if (rc == -ENOENT)
		x.is = false;
	return rc < 0 && rc != -ENOENT ? rc : make_true(s, &x, was, &hash, b);
}

static bool is_among(const struct buf *ids, const struct id *id)
{
	for (size_t i = 0; i < ids->len; i += ID_SIZE)
		if (memcmp(ids->data + i, id->b, ID_SIZE) == 0)
			return true;
	return false;
}

/* Nodes have an entry for each actor that changed them. */
int nodes_step(struct replica *r, const struct id *scope, unsigned n, struct buf *place,
	       int (*f)(const struct id *node, void *userdata), void *userdata)
{
	_cleanup_(buf_done) struct buf end = { 0 }, done = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const void *from = place->len ? (const void *)place->data : scope->b;
	store_prefix_end(scope->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, NULL, STORE_DOTS, from, place->len ? place->len : ID_SIZE, end.data, end.len, &it);
	for (unsigned i = 0; rc == 0 && i < n && store_iter_valid(it); i++, store_iter_next(it)) {
		struct id node;
		uint64_t seq;
		rc = dots_entry(it, &seq, &node);
		if (rc == 0 && !is_among(&done, &node)) {
			rc = f(&node, userdata);
			buf_put(&done, node.b, ID_SIZE);
		}
	}
	if (rc == 0)
		rc = buf_failed(&done) ? -ENOMEM : store_iter_error(it);
	buf_reset(place);
	if (rc == 0 && store_iter_valid(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		buf_put(place, key, len);
	}
	return rc == 0 && buf_failed(place) ? -ENOMEM : rc;
}

struct looking {
	struct commit *c;
	struct sums s;
	struct store_batch *b;
};

static int look_at_node(const struct id *node, void *userdata)
{
	struct looking *l = userdata;
	return look_at(l->c, &l->s, node, l->b);
}

static int build(struct commit *c, struct pick *p, struct store_batch *b)
{
	struct looking l = { c, { .r = c->r, .pick = p }, b };
	int rc = nodes_step(c->r, &p->scope, STEP_NODES, &p->place, look_at_node, &l);
	if (rc == 0) {
		p->complete = p->place.len == 0;
		sums_put(&l.s, b);
		head_put(p, b);
	}
	buf_done(&l.s.bucket);
	return rc;
}

int replica_pick_step(struct replica *r, struct err *e)
{
	struct commit c;
	uint32_t i = 0;
	commit_begin(&c, r, true);
	while (i < r->picks->n && r->picks->at[i]->complete)
		i++;
	int rc = 0;
	if (i < r->picks->n) {
		struct pick *p = r->picks->at[i];
		store_batch_clear(r->batch);
		rc = build(&c, p, r->batch);
		if (rc == 0)
			rc = store_write(r->store, r->batch, e);
		if (rc < 0) { /* what is in the store is not known: from the start */
			p->complete = false;
			buf_reset(&p->place);
		}
		if (rc == 0 && p->complete)
			atomic_fetch_add(&r->commits, 1);
		rc = rc < 0 ? rc : 1;
	}
	commit_done(&c);
	return rc < 0 ? err_errno(e, rc, "cannot look for what a filter picks") : rc;
}

/* Everything of one pick; many, so in a batch of its own. */
static int erase(struct replica *r, const struct id *name, struct err *e)
{
	static const uint8_t kinds[] = { PICK_HEAD, PICK_SUM, PICK_MEMBER };
	int rc = 0;
	for (size_t k = 0; rc == 0 && k < sizeof(kinds); k++) {
		_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
		_cleanup_(store_iter_freep) struct store_iter *it = NULL;
		pick_key(&key, kinds[k], name, NULL, 0);
		store_prefix_end(key.data, key.len, &end);
		store_batch_clear(r->batch);
		rc = store_iter_new(r->store, NULL, STORE_PICKS, key.data, key.len, end.data, end.len, &it);
		for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
			size_t len;
			const uint8_t *at = store_iter_key(it, &len);
			store_delete(r->batch, STORE_PICKS, at, len);
		}
		if (rc == 0)
			rc = store_iter_error(it);
		if (rc == 0)
			rc = store_write(r->store, r->batch, e);
	}
	return rc;
}

int replica_pick_forget(struct replica *r, pick_fn wanted, void *userdata, struct err *e)
{
	int rc = 0;
	pthread_mutex_lock(&r->commit);
	for (uint32_t i = 0; rc == 0 && i < r->picks->n;) {
		struct pick *p = r->picks->at[i];
		if (wanted(&p->scope, p->filter ? filter_text(p->filter) : NULL, userdata)) {
			i++;
			continue;
		}
		rc = erase(r, &p->name, e);
		if (rc == 0) {
			pick_free(p);
			r->picks->at[i] = r->picks->at[--r->picks->n];
		}
	}
	pthread_mutex_unlock(&r->commit);
	return rc;
}

/* ---- checking ---- */

struct checking {
	struct replica *r;
	const struct pick *pick;
	struct commit *c;
	struct reconcile_sum *sum; /* by bucket, of what should be there */
	uint64_t members, wrong;
};

static int check_node(struct checking *k, const struct record *rec)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct pick *p = k->pick;
	struct truth x = { .node = rec->id };
	struct id hash = { { 0 } };
	struct node n;
	int was = pick_member(k->r->store, NULL, &p->name, &rec->id, &hash), rc = 0;
	if (p->filter) {
		rc = node_get(k->r, &a, &rec->id, &n);
		if (rc == 0)
			rc = truth_of(k->c, p, NULL, &n, false, &x);
	} else {
		x.is = true;
		vv_fingerprint(&rec->ctx, k->r->actors, &x.hash);
	}
	if (rc == -ENOENT || rc == -EBADMSG)
		rc = 0;
	if (rc < 0 || (was < 0 && was != -EBADMSG))
		return rc < 0 ? rc : was;
	k->wrong += was < 0 || (was == 1) != x.is || (x.is && !id_equal(&hash, &x.hash));
	k->members += was != 0;
	if (x.is) {
		const struct reconcile_item item = { x.node, x.hash };
		reconcile_add(&k->sum[(unsigned)x.node.b[0] << 4 | x.node.b[1] >> 4], &item);
	}
	return 0;
}

static int check_pick(struct checking *k)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	struct replica *r = k->r;
	int rc = store_iter_new(r->store, NULL, STORE_DOCS, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct stored s;
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		/* What cannot be read has been told of. */
		if (stored_decode(r, NULL, &a, value, len, &s, NULL) == 0 &&
		    id_equal(&s.record->scope, &k->pick->scope))
			rc = check_node(k, s.record);
	}
	if (rc == 0)
		rc = store_iter_error(it);
	for (unsigned i = 0; rc == 0 && i < 1u << BUCKET_BITS; i++) {
		struct reconcile_sum x;
		rc = sum_read(r->store, NULL, &k->pick->name, i, &x);
		if (rc == 0 || rc == -EBADMSG)
			k->wrong += rc < 0 || !reconcile_equal(&x, &k->sum[i]);
		rc = rc == -EBADMSG ? 0 : rc;
	}
	return rc;
}

static int count_member(const struct reconcile_item *x, void *userdata)
{
	(void)x;
	++*(uint64_t *)userdata;
	return 0;
}

int picks_check(struct replica *r, struct commit *c, bool repair, uint64_t *ret_wrong, struct err *e)
{
	_cleanup_free_ struct reconcile_sum *sum = calloc(1u << BUCKET_BITS, sizeof(*sum));
	*ret_wrong = 0;
	if (!sum)
		return -ENOMEM;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < r->picks->n; i++) {
		struct pick *p = r->picks->at[i];
		if (!p->complete)
			continue;
		memset(sum, 0, sizeof(*sum) << BUCKET_BITS);
		struct checking k = { .r = r, .pick = p, .c = c, .sum = sum };
		uint64_t members = 0;
		struct picked now = { .store = r->store, .name = p->name };
		rc = check_pick(&k);
		if (rc == 0) {
			rc = picked_source(&now).items(&(struct id){ 0 }, 0, count_member, &members, &now);
			k.wrong += rc == -EBADMSG || members != k.members;
			rc = rc == -EBADMSG ? 0 : rc;
		}
		*ret_wrong += k.wrong;
		if (rc < 0 || k.wrong == 0 || !repair)
			continue;
		/* It is made anew. */
		rc = erase(r, &p->name, e);
		p->complete = false;
		buf_reset(&p->place);
		store_batch_clear(r->batch);
		head_put(p, r->batch);
		if (rc == 0)
			rc = store_write(r->store, r->batch, e);
	}
	return rc;
}
