/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Indexes (engine/index.h). In STORE_PICKS, by a name that is a hash of scope and pointers:
 *
 *     I, name             u8 format, u8 state, id scope, varint nodes that were looked at, varint n, n pointers, each
 *                         behind its length (varint), then the place in the index of changes up to which the
 *                         collection has been looked at
 *     E, name, key, node  empty. key: the values at the pointers, engine/indexkey.h
 *     N, name, node       key: what there is under E
 *     C, name, node       empty: a text in its key was cut
 *
 * Live documents are in, under their own nodes: hard links are found by the queries. Each commit makes true what it
 * touches, by N, so that it need not know what the document was before. A new index is made as a pick is (replica-pick.c):
 * what is touched meanwhile is true already and is looked at once more. */

#include "engine/index.h"

#include <errno.h>

#include "engine/indexkey.h"
#include "engine/jsonpath.h"
#include "engine/jsonptr.h"
#include "engine/replica-at.h"
#include "engine/sha256.h"
#include "engine/replica-index.h"
#include "engine/replica-schema-impl.h"

#define STEP_NODES 256
#define STEP_ERASES 2000
#define INDEX_FORMAT 1

enum { INDEX_HEAD = 'I', INDEX_ENTRY = 'E', INDEX_NODE = 'N', INDEX_CUT = 'C' };

enum state {
	STATE_MADE,     /* it is being made */
	STATE_COMPLETE,
	STATE_GOING,    /* it is being erased */
	STATE_ANEW,     /* the same, then it is made */
};

struct index {
	struct id name, scope;
	enum state state;
	uint64_t looked;
	struct arena arena; /* what follows */
	const char **pointer;
	struct jsonpath *path;
	uint32_t n;
	struct buf place;
};

struct indexes { /* commit lock */
	struct index *at[INDEXES_MAX];
	uint32_t n;
};

static void index_free(struct index *x)
{
	if (!x)
		return;
	arena_done(&x->arena);
	buf_done(&x->place);
	free(x);
}
DEFINE_CLEANUP(struct index *, index_free)

void indexes_done(struct replica *r)
{
	for (uint32_t i = 0; r->indexes && i < r->indexes->n; i++)
		index_free(r->indexes->at[i]);
	free(r->indexes);
}

/* Commits have to keep it true. */
static bool is_kept(const struct index *x)
{
	return x->state == STATE_MADE || x->state == STATE_COMPLETE;
}

/* ---- definitions ---- */

static void name_it(struct index *x)
{
	struct sha256_part part[1 + INDEX_POINTERS_MAX] = { { x->scope.b, ID_SIZE } };
	for (uint32_t i = 0; i < x->n; i++)
		part[1 + i] = (struct sha256_part){ x->pointer[i], strlen(x->pointer[i]) };
	sha256_id(part, 1 + x->n, &x->name);
}

static bool is_number(const struct buf *token)
{
	bool digits = token->len > 0 && token->len < 10 && (token->data[0] != '0' || token->len == 1);
	for (size_t i = 0; digits && i < token->len; i++)
		digits = token->data[i] >= '0' && token->data[i] <= '9';
	return digits;
}

static int add_step(struct arena *a, const struct buf *token, struct jsonpath_step *ret)
{
	*ret = (struct jsonpath_step){ .kind = JSONPATH_NAME, .len = token->len };
	if (is_number(token)) {
		ret->kind = JSONPATH_INDEX;
		ret->len = 0;
		for (size_t i = 0; i < token->len; i++)
			ret->n = ret->n * 10 + (uint32_t)(token->data[i] - '0');
		return 0;
	}
	ret->name = arena_dup(a, token->data, token->len);
	return ret->name ? 0 : -ENOMEM;
}

static int add_pointer(struct index *x, const char *pointer, size_t len, struct err *e)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	struct jsonpath *p = &x->path[x->n];
	uint32_t most = 0;
	if (len == 0 || len > INDEX_POINTER_SIZE || memchr(pointer, 0, len))
		return err_set(e, -EINVAL, "what is indexed are members, by JSON pointers of up to %d bytes: /maker",
			       INDEX_POINTER_SIZE);
	for (size_t i = 0; i < len; i++)
		most += pointer[i] == '/';
	x->pointer[x->n] = arena_dup(&x->arena, pointer, len);
	p->step = arena_array(&x->arena, most + 1, sizeof(*p->step));
	if (!x->pointer[x->n] || !p->step)
		return -ENOMEM;
	const char *at = pointer;
	for (p->n = 0; len > 0;) {
		int rc = json_pointer_next(&at, &len, &token, e);
		if (rc == 0)
			rc = add_step(&x->arena, &token, &p->step[p->n++]);
		if (rc < 0)
			return rc;
	}
	for (uint32_t i = 0; i < x->n; i++)
		if (strcmp(x->pointer[i], x->pointer[x->n]) == 0)
			return err_set(e, -EINVAL, "%.80s is named twice", x->pointer[i]);
	x->n++;
	return 0;
}

static int index_new(const struct id *scope, uint32_t n, struct index **ret)
{
	_cleanup_(index_freep) struct index *x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->scope = *scope;
	x->pointer = arena_array(&x->arena, n, sizeof(*x->pointer));
	x->path = arena_array(&x->arena, n, sizeof(*x->path));
	if (!x->pointer || !x->path)
		return -ENOMEM;
	*ret = TAKE_PTR(x);
	return 0;
}

static int define(const struct id *scope, const char *const *pointer, uint32_t n, struct index **ret, struct err *e)
{
	_cleanup_(index_freep) struct index *x = NULL;
	if (n == 0 || n > INDEX_POINTERS_MAX)
		return err_set(e, -EINVAL, "an index has 1 to %d pointers", INDEX_POINTERS_MAX);
	int rc = index_new(scope, n, &x);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = add_pointer(x, pointer[i], strlen(pointer[i]), e);
	if (rc < 0)
		return rc == -ENOMEM ? err_errno(e, rc, "cannot index it") : rc;
	name_it(x);
	*ret = TAKE_PTR(x);
	return 0;
}

static void index_key(struct buf *b, uint8_t kind, const struct index *x, const void *p, size_t n)
{
	buf_reset(b);
	buf_u8(b, kind);
	buf_put(b, x->name.b, ID_SIZE);
	buf_put(b, p, n);
}

static void head_put(const struct index *x, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	index_key(&key, INDEX_HEAD, x, NULL, 0);
	buf_u8(&v, INDEX_FORMAT);
	buf_u8(&v, (uint8_t)x->state);
	buf_put(&v, x->scope.b, ID_SIZE);
	buf_varint(&v, x->looked);
	buf_varint(&v, x->n);
	for (uint32_t i = 0; i < x->n; i++)
		buf_bytes(&v, x->pointer[i], strlen(x->pointer[i]));
	buf_put(&v, x->place.data, x->place.len);
	if (!buf_failed(&key) && !buf_failed(&v))
		store_put(b, STORE_PICKS, key.data, key.len, v.data, v.len);
}

/* -EBADMSG, -EPROTONOSUPPORT, -ENOMEM. */
static int head_get(const void *data, size_t len, struct index **ret)
{
	_cleanup_(index_freep) struct index *x = NULL;
	struct cursor c = cursor_make(data, len);
	uint8_t format = cursor_u8(&c), state = cursor_u8(&c);
	const uint8_t *scope = cursor_take(&c, ID_SIZE);
	uint64_t looked = cursor_varint(&c), n = cursor_varint_max(&c, INDEX_POINTERS_MAX);
	if (cursor_ok(&c) && format != INDEX_FORMAT)
		return -EPROTONOSUPPORT;
	if (!cursor_ok(&c) || state > STATE_ANEW || n == 0)
		return -EBADMSG;
	struct id id;
	memcpy(id.b, scope, ID_SIZE);
	int rc = index_new(&id, (uint32_t)n, &x);
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		size_t size;
		const uint8_t *pointer = cursor_bytes(&c, INDEX_POINTER_SIZE, &size);
		rc = cursor_ok(&c) ? add_pointer(x, (const char *)pointer, size, NULL) : -EBADMSG;
	}
	if (rc < 0)
		return rc == -ENOMEM ? rc : -EBADMSG;
	x->state = (enum state)state;
	x->looked = looked;
	buf_put(&x->place, c.p, cursor_left(&c));
	if (buf_failed(&x->place))
		return -ENOMEM;
	name_it(x);
	*ret = TAKE_PTR(x);
	return 0;
}

int indexes_load(struct replica *r, struct err *e)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = INDEX_HEAD, end = INDEX_HEAD + 1;
	r->indexes = calloc(1, sizeof(*r->indexes));
	if (!r->indexes)
		return err_set(e, -ENOMEM, "out of memory");
	int rc = store_iter_new(r->store, NULL, STORE_PICKS, &first, 1, &end, 1, &it);
	for (; rc == 0 && store_iter_valid(it) && r->indexes->n < INDEXES_MAX; store_iter_next(it)) {
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		rc = head_get(value, len, &r->indexes->at[r->indexes->n]);
		if (rc == 0)
			r->indexes->n++;
		else if (rc == -EPROTONOSUPPORT)
			return err_set(e, rc, "an index is of a format that a newer version of shoal wrote: use that one");
		else if (rc == -EBADMSG) /* verify tells */
			rc = 0;
	}
	return rc < 0 ? rc : store_iter_error(it);
}

/* ---- entries ---- */

/* What a document has at the pointers. */
static int key_of(struct replica *r, const struct index *x, const struct record *rec, struct buf *ret, bool *ret_cut)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *root;
	buf_reset(ret);
	*ret_cut = false;
	int rc = document_tree(r, &a, rec, &root, NULL);
	for (uint32_t i = 0; rc >= 0 && i < x->n; i++) {
		rc = indexkey_json(ret, jsonpath_get(root, &x->path[i], 0));
		*ret_cut |= rc == 1;
	}
	return rc < 0 ? rc : 0;
}

static bool is_document(const struct node *n)
{
	return n->flags & NODE_LIVE && n->attr.kind == NODE_FILE && n->attr.form == FORM_JSON &&
	       id_is_zero(&n->attr.target);
}

static void entry_key(struct buf *b, const struct index *x, const struct buf *value, const struct id *node)
{
	index_key(b, INDEX_ENTRY, x, value->data, value->len);
	buf_put(b, node->b, ID_SIZE);
}

/* The value under which the node is in it: 1, or 0: it is not. */
static int entry_now(struct replica *r, const struct index *x, const struct id *node, struct buf *ret)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	index_key(&key, INDEX_NODE, x, node->b, ID_SIZE);
	if (buf_failed(&key))
		return -ENOMEM;
	int rc = store_get(r->store, NULL, STORE_PICKS, key.data, key.len, ret);
	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

/* was: under that value; is: NULL, not any more. */
static int make_true(const struct index *x, const struct id *node, const struct buf *was, const struct buf *is, bool cut,
		     struct store_batch *b)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	if (was && is && was->len == is->len && memcmp(was->data, is->data, is->len) == 0)
		return 0;
	if (was) {
		entry_key(&key, x, was, node);
		if (buf_failed(&key))
			return -ENOMEM;
		store_delete(b, STORE_PICKS, key.data, key.len);
	}
	if (is) {
		entry_key(&key, x, is, node);
		if (buf_failed(&key))
			return -ENOMEM;
		store_put(b, STORE_PICKS, key.data, key.len, "", 0);
	}
	index_key(&key, INDEX_NODE, x, node->b, ID_SIZE);
	if (buf_failed(&key))
		return -ENOMEM;
	if (is)
		store_put(b, STORE_PICKS, key.data, key.len, is->data, is->len);
	else
		store_delete(b, STORE_PICKS, key.data, key.len);
	key.data[0] = INDEX_CUT;
	if (cut)
		store_put(b, STORE_PICKS, key.data, key.len, "", 0);
	else if (was)
		store_delete(b, STORE_PICKS, key.data, key.len);
	return 0;
}

/* rec NULL: as the store has it. -EBADMSG of a damaged record, which verify tells of: it is in no index. */
static int look_at(struct replica *r, const struct index *x, const struct node *n, const struct record *rec,
		   struct store_batch *b)
{
	_cleanup_(buf_done) struct buf was = { 0 }, is = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct id *node = &n->attr.id;
	bool cut = false, in = is_document(n);
	int had = entry_now(r, x, node, &was), rc = 0;
	if (had < 0)
		return had;
	if (in && !rec) {
		struct stored s;
		rc = stored_get(r, NULL, &a, node, &s, NULL);
		rec = rc == 0 ? s.record : NULL;
	}
	if (in && rc == 0)
		rc = key_of(r, x, rec, &is, &cut);
	if (rc == -ENOMEM || rc == -EIO)
		return rc;
	in = in && rc == 0;
	return make_true(x, node, had ? &was : NULL, in ? &is : NULL, cut, b);
}

/* ---- what a commit changes ---- */

static int touch(struct commit *c, const struct index *x, const struct touched *t, struct store_batch *b)
{
	const bool before = t->had && is_document(&t->before), now = !t->gone && is_document(&t->after);
	if (!before && !now)
		return 0;
	if (before && now && !t->content)
		return 0;
	struct node n = t->after;
	if (t->gone)
		n.flags = 0;
	return look_at(c->r, x, &n, t->record, b);
}

int indexes_put(struct commit *c, struct store_batch *b)
{
	struct indexes *all = c->r->indexes;
	int rc = 0;
	for (uint32_t i = 0; all && i < all->n; i++) {
		const struct index *x = all->at[i];
		if (!is_kept(x))
			continue;
		for (struct touched *t = c->first; rc == 0 && t; t = t->next)
			if (id_equal(&t->after.attr.scope, &x->scope))
				rc = touch(c, x, t, b);
	}
	return rc;
}

void indexes_leave(struct replica *r, const struct id *scope, struct store_batch *b)
{
	for (uint32_t i = 0; i < r->indexes->n; i++) {
		struct index *x = r->indexes->at[i];
		if (!id_equal(&x->scope, scope))
			continue;
		x->state = STATE_GOING;
		head_put(x, b);
	}
}

/* ---- in a snapshot ---- */

static bool is_cut(struct replica *r, const struct store_snapshot *snap, const struct index *x)
{
	_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	index_key(&key, INDEX_CUT, x, NULL, 0);
	store_prefix_end(key.data, key.len, &end);
	int rc = store_iter_new(r->store, snap, STORE_PICKS, key.data, key.len, end.data, end.len, &it);
	return rc < 0 || store_iter_valid(it) || store_iter_error(it) < 0;
}

static int copy_index(struct replica *r, const struct store_snapshot *snap, struct arena *a, const struct index *x,
		      struct index_at *ret)
{
	*ret = (struct index_at){ .name = x->name, .scope = x->scope, .n = x->n,
				  .complete = x->state == STATE_COMPLETE, .cut = is_cut(r, snap, x) };
	ret->pointer = arena_array(a, x->n, sizeof(*ret->pointer));
	ret->path = arena_array(a, x->n, sizeof(*ret->path));
	for (uint32_t i = 0; ret->pointer && ret->path && i < x->n; i++) {
		ret->pointer[i] = arena_dup(a, x->pointer[i], strlen(x->pointer[i]));
		if (!ret->pointer[i] || jsonpath_join(a, &x->path[i], &(struct jsonpath){ 0 }, &ret->path[i]) < 0)
			return -ENOMEM;
		/* The names belong to the index. */
		for (uint32_t k = 0; k < ret->path[i].n; k++) {
			struct jsonpath_step *s = &ret->path[i].step[k];
			if (s->kind == JSONPATH_NAME && !(s->name = arena_dup(a, s->name, s->len)))
				return -ENOMEM;
		}
	}
	return ret->pointer && ret->path ? 0 : -ENOMEM;
}

int indexes_at(struct replica *r, const struct store_snapshot *snap, struct arena *a, struct index_at *ret, uint32_t *ret_n)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	const uint8_t first = INDEX_HEAD, end = INDEX_HEAD + 1;
	int rc = store_iter_new(r->store, snap, STORE_PICKS, &first, 1, &end, 1, &it);
	*ret_n = 0;
	for (; rc == 0 && store_iter_valid(it) && *ret_n < INDEXES_MAX; store_iter_next(it)) {
		_cleanup_(index_freep) struct index *x = NULL;
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		rc = head_get(value, len, &x);
		if (rc == 0 && x->state != STATE_GOING)
			rc = copy_index(r, snap, a, x, &ret[(*ret_n)++]);
		else if (rc == -EBADMSG)
			rc = 0;
	}
	return rc < 0 ? rc : store_iter_error(it);
}

int index_at_iter(struct replica *r, const struct store_snapshot *snap, const struct id *name, const struct buf *from,
		  const struct buf *to, struct store_iter **ret)
{
	_cleanup_(buf_done) struct buf lower = { 0 }, upper = { 0 };
	const struct index x = { .name = *name };
	index_key(&lower, INDEX_ENTRY, &x, from->data, from->len);
	index_key(&upper, INDEX_ENTRY, &x, to->data, to->len);
	if (buf_failed(&lower) || buf_failed(&upper))
		return -ENOMEM;
	return store_iter_new(r->store, snap, STORE_PICKS, lower.data, lower.len, upper.data, upper.len, ret);
}

/* ---- making and erasing them ---- */

static struct index *index_find(struct replica *r, const struct id *name)
{
	for (uint32_t i = 0; i < r->indexes->n; i++)
		if (id_equal(&r->indexes->at[i]->name, name))
			return r->indexes->at[i];
	return NULL;
}

/* In another state, written; as it was if that fails. */
static int change(struct replica *r, struct index *x, enum state state, struct err *e)
{
	enum state was = x->state;
	x->state = state;
	store_batch_clear(r->batch);
	head_put(x, r->batch);
	int rc = store_write(r->store, r->batch, e);
	if (rc < 0)
		x->state = was;
	return rc;
}

static int add(struct replica *r, struct index **x, struct err *e)
{
	if (r->indexes->n == INDEXES_MAX)
		return err_set(e, -ENOSPC, "there are %d indexes already: take one away with --drop", INDEXES_MAX);
	int rc = change(r, *x, STATE_MADE, e);
	if (rc == 0)
		r->indexes->at[r->indexes->n++] = TAKE_PTR(*x);
	return rc;
}

int replica_index(struct replica *r, const struct id *collection, const char *const *pointer, uint32_t n, struct err *e)
{
	_cleanup_(index_freep) struct index *fresh = NULL;
	int rc = collection_check(r, collection, "indexes are made", e);
	if (rc == 0)
		rc = define(collection, pointer, n, &fresh, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->commit);
	struct index *x = index_find(r, &fresh->name);
	if (!x)
		rc = add(r, &fresh, e);
	else if (x->state == STATE_GOING)
		rc = change(r, x, STATE_ANEW, e);
	else
		rc = x->state == STATE_COMPLETE;
	pthread_mutex_unlock(&r->commit);
	return rc;
}

int replica_index_drop(struct replica *r, const struct id *collection, const char *const *pointer, uint32_t n,
		       struct err *e)
{
	_cleanup_(index_freep) struct index *like = NULL;
	int rc = define(collection, pointer, n, &like, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&r->commit);
	struct index *x = index_find(r, &like->name);
	if (!x || x->state == STATE_GOING)
		rc = err_set(e, -ENOENT, "there is no such index: `shoal index --list` has those that there are");
	else
		rc = change(r, x, STATE_GOING, e);
	pthread_mutex_unlock(&r->commit);
	return rc;
}

struct making {
	struct replica *r;
	struct index *x;
};

static int look_at_node(const struct id *node, void *userdata)
{
	struct making *m = userdata;
	struct node n;
	int rc = node_get(m->r, NULL, node, &n);
	if (rc == -ENOENT)
		n = (struct node){ .attr = { .id = *node } };
	if (rc < 0 && rc != -ENOENT)
		return rc;
	m->x->looked += is_document(&n);
	return look_at(m->r, m->x, &n, NULL, m->r->batch);
}

static int make(struct replica *r, struct index *x, struct err *e)
{
	struct making m = { r, x };
	int rc = nodes_step(r, &x->scope, STEP_NODES, &x->place, look_at_node, &m);
	if (rc == 0 && x->place.len == 0)
		x->state = STATE_COMPLETE;
	if (rc == 0) {
		head_put(x, r->batch);
		rc = store_write(r->store, r->batch, e);
	}
	if (rc < 0) { /* what is in the store is not known: from the start */
		x->state = STATE_MADE;
		x->looked = 0;
		buf_reset(&x->place);
	}
	return rc;
}

/* Puts keys of one kind into the batch, to be deleted, until *n are there. */
static int erase(struct replica *r, uint8_t kind, const struct index *x, unsigned *n)
{
	_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	index_key(&key, kind, x, NULL, 0);
	store_prefix_end(key.data, key.len, &end);
	int rc = store_iter_new(r->store, NULL, STORE_PICKS, key.data, key.len, end.data, end.len, &it);
	for (; rc == 0 && *n < STEP_ERASES && store_iter_valid(it); store_iter_next(it), ++*n) {
		size_t len;
		const uint8_t *at = store_iter_key(it, &len);
		store_delete(r->batch, STORE_PICKS, at, len);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* Once nothing is left, the head goes as well, or it is made. */
static int take_away(struct replica *r, uint32_t i, struct err *e)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	struct index *x = r->indexes->at[i];
	unsigned n = 0;
	int rc = erase(r, INDEX_ENTRY, x, &n);
	if (rc == 0)
		rc = erase(r, INDEX_NODE, x, &n);
	if (rc == 0)
		rc = erase(r, INDEX_CUT, x, &n);
	if (rc < 0 || n > 0)
		return rc < 0 ? rc : store_write(r->store, r->batch, e);
	x->looked = 0;
	buf_reset(&x->place);
	if (x->state == STATE_ANEW)
		return change(r, x, STATE_MADE, e);
	index_key(&key, INDEX_HEAD, x, NULL, 0);
	if (buf_failed(&key))
		return -ENOMEM;
	store_delete(r->batch, STORE_PICKS, key.data, key.len);
	rc = store_write(r->store, r->batch, e);
	if (rc == 0) {
		index_free(x);
		r->indexes->at[i] = r->indexes->at[--r->indexes->n];
	}
	return rc;
}

int replica_index_step(struct replica *r, struct err *e)
{
	uint32_t i = 0;
	int rc = 0;
	pthread_mutex_lock(&r->commit);
	while (i < r->indexes->n && r->indexes->at[i]->state == STATE_COMPLETE)
		i++;
	if (i < r->indexes->n) {
		store_batch_clear(r->batch);
		rc = r->indexes->at[i]->state == STATE_MADE ? make(r, r->indexes->at[i], e) : take_away(r, i, e);
		rc = rc < 0 ? rc : 1;
	}
	pthread_mutex_unlock(&r->commit);
	return rc < 0 ? err_errno(e, rc, "cannot make an index") : rc;
}

static uint64_t files_of(struct replica *r, const struct id *scope)
{
	pthread_mutex_lock(&r->scopes_lock);
	struct scope *s = scope_get(r, scope, false);
	uint64_t n = s ? s->files : 0;
	pthread_mutex_unlock(&r->scopes_lock);
	return n;
}

int replica_indexes(struct replica *r, index_fn f, void *userdata)
{
	int rc = 0;
	pthread_mutex_lock(&r->commit);
	for (uint32_t i = 0; rc == 0 && i < r->indexes->n; i++) {
		const struct index *x = r->indexes->at[i];
		if (x->state == STATE_GOING)
			continue;
		const struct index_info info = { .collection = x->scope,
						 .pointer = x->pointer,
						 .n = x->n,
						 .complete = x->state == STATE_COMPLETE,
						 .done = x->looked,
						 .all = files_of(r, &x->scope) };
		rc = f(&info, userdata);
	}
	pthread_mutex_unlock(&r->commit);
	return rc;
}

/* ---- checking ---- */

struct checking {
	struct replica *r;
	const struct index *x;
	uint64_t in, cut, wrong; /* that should be there; places that are not as they should be */
};

static bool has(struct replica *r, const struct buf *key)
{
	return !buf_failed(key) && store_has(r->store, NULL, STORE_PICKS, key->data, key->len);
}

static int check_node(struct checking *k, const struct node *n, const struct record *rec)
{
	_cleanup_(buf_done) struct buf was = { 0 }, is = { 0 }, key = { 0 };
	bool cut;
	int rc = key_of(k->r, k->x, rec, &is, &cut);
	if (rc < 0) /* what cannot be read has been told of */
		return rc == -ENOMEM ? rc : 0;
	rc = entry_now(k->r, k->x, &n->attr.id, &was);
	if (rc < 0)
		return rc;
	bool right = rc == 1 && was.len == is.len && memcmp(was.data, is.data, is.len) == 0;
	entry_key(&key, k->x, &is, &n->attr.id);
	right = right && has(k->r, &key);
	index_key(&key, INDEX_CUT, k->x, n->attr.id.b, ID_SIZE);
	right = right && has(k->r, &key) == cut;
	k->in++;
	k->cut += cut;
	k->wrong += !right;
	return 0;
}

static int count(struct replica *r, uint8_t kind, const struct index *x, uint64_t *ret)
{
	_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	index_key(&key, kind, x, NULL, 0);
	store_prefix_end(key.data, key.len, &end);
	int rc = store_iter_new(r->store, NULL, STORE_PICKS, key.data, key.len, end.data, end.len, &it);
	*ret = 0;
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it))
		++*ret;
	return rc == 0 ? store_iter_error(it) : rc;
}

static int check_index(struct checking *k)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	struct replica *r = k->r;
	uint64_t entries = 0, nodes = 0, cut = 0;
	int rc = store_iter_new(r->store, NULL, STORE_DOCS, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct stored s;
		struct node n;
		size_t len;
		const uint8_t *value = store_iter_value(it, &len);
		if (stored_decode(r, NULL, &a, value, len, &s, NULL) == 0 && id_equal(&s.record->scope, &k->x->scope) &&
		    node_get(r, NULL, &s.record->id, &n) == 0 && is_document(&n))
			rc = check_node(k, &n, s.record);
	}
	if (rc == 0)
		rc = store_iter_error(it);
	if (rc == 0)
		rc = count(r, INDEX_ENTRY, k->x, &entries);
	if (rc == 0)
		rc = count(r, INDEX_NODE, k->x, &nodes);
	if (rc == 0)
		rc = count(r, INDEX_CUT, k->x, &cut);
	/* What is there in vain. */
	if (rc == 0 && k->wrong == 0)
		k->wrong = entries != k->in || nodes != k->in || cut != k->cut;
	return rc;
}

/* Something of an index that is not known, because its head is damaged. 1: *ret is its name. */
static int find_stray(struct replica *r, uint8_t kind, struct id *ret)
{
	const uint8_t end = kind + 1;
	_cleanup_(buf_done) struct buf from = { 0 };
	buf_u8(&from, kind);
	for (;;) {
		_cleanup_(store_iter_freep) struct store_iter *it = NULL;
		size_t len;
		int rc = buf_failed(&from) ? -ENOMEM :
			 store_iter_new(r->store, NULL, STORE_PICKS, from.data, from.len, &end, 1, &it);
		if (rc < 0 || !store_iter_valid(it))
			return rc < 0 ? rc : store_iter_error(it);
		const uint8_t *key = store_iter_key(it, &len);
		*ret = (struct id){ 0 };
		memcpy(ret->b, key + 1, len - 1 < ID_SIZE ? len - 1 : ID_SIZE);
		if (len < 1 + ID_SIZE || !index_find(r, ret))
			return 1;
		/* Past all of that one. */
		buf_reset(&from);
		store_prefix_end(key, 1 + ID_SIZE, &from);
	}
}

static int check_strays(struct replica *r, bool repair, uint64_t *ret_wrong, struct err *e)
{
	static const uint8_t kinds[] = { INDEX_HEAD, INDEX_ENTRY, INDEX_NODE, INDEX_CUT };
	for (size_t k = 0; k < sizeof(kinds); k++) {
		struct index x = { 0 };
		int rc;
		while ((rc = find_stray(r, kinds[k], &x.name)) == 1) {
			unsigned n = 0;
			++*ret_wrong;
			if (!repair)
				break;
			store_batch_clear(r->batch);
			rc = erase(r, kinds[k], &x, &n);
			if (rc == 0)
				rc = n > 0 ? store_write(r->store, r->batch, e) : -EBADMSG;
			if (rc < 0)
				return rc;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

int indexes_check(struct replica *r, bool repair, uint64_t *ret_wrong, struct err *e)
{
	int rc = 0;
	*ret_wrong = 0;
	for (uint32_t i = 0; rc == 0 && i < r->indexes->n; i++) {
		struct checking k = { .r = r, .x = r->indexes->at[i] };
		if (k.x->state != STATE_COMPLETE)
			continue;
		rc = check_index(&k);
		*ret_wrong += k.wrong;
		if (rc == 0 && k.wrong > 0 && repair)
			rc = change(r, r->indexes->at[i], STATE_ANEW, e);
	}
	return rc < 0 ? rc : check_strays(r, repair, ret_wrong, e);
}
