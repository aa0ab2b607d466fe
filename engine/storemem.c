/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store in memory. Each family is a persistent treap (Seidel and Aragon 1996, with path
 * copying as in Driscoll et al. 1989): a node's priority is a hash of its key, so the shape is a
 * function of the contents. Nodes are immutable once two roots reach them; a write changes in place
 * only what its own new root alone holds (reference count 1 all the way down).
 *
 * A version is one root for each family. Versions are kept from the last flush to the newest write,
 * one for each batch: version[0] is on the pretended disk, so a crash only has to drop the others.
 * Snapshots and iterators hold roots of their own. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/storeops.h"

struct item {
	uint32_t refs;
	uint32_t key_len;
	uint64_t len;
	uint8_t data[]; /* key, value */
};

struct node {
	uint32_t refs;
	uint32_t priority;
	struct item *item;
	struct node *left, *right;
};

struct roots {
	struct node *root[STORE_FAMILIES];
};

struct memory {
	struct store base;
	pthread_mutex_t lock; /* all below, and every reference count */
	struct roots *version;
	size_t n_versions, cap_versions;
	uint64_t bytes;
	uint64_t pinned; /* snapshots and iterators */
	uint64_t fail_in;
	int fail_with;
	bool oom; /* while a batch is applied */
};

struct store_snapshot {
	struct roots roots;
};

struct iter {
	struct store_iter base;
	struct memory *m;
	struct node *root;   /* referenced */
	struct node **stack; /* the current node on top, below it those that come after it */
	size_t n, cap;
	uint8_t *upper; /* NULL: none */
	size_t upper_len;
	int error;
};

static int key_cmp(const void *x, size_t x_len, const void *y, size_t y_len)
{
	size_t n = x_len < y_len ? x_len : y_len;
	int c = n ? memcmp(x, y, n) : 0;
	return c ? c : (x_len > y_len) - (x_len < y_len);
}

static uint32_t key_priority(const uint8_t *key, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a, then mixed */
	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(h >> 32);
}

static void item_unref(struct memory *m, struct item *i)
{
	if (--i->refs)
		return;
	m->bytes -= i->key_len + i->len;
	free(i);
}

static struct node *node_ref(struct node *n)
{
	if (n)
		n->refs++;
	return n;
}

static void node_unref(struct memory *m, struct node *n)
{
	while (n && --n->refs == 0) {
		node_unref(m, n->left);
		item_unref(m, n->item);
		struct node *right = n->right;
		free(n);
		n = right;
	}
}

/* A node with n's contents that nobody else holds; takes the reference. NULL: out of memory, n is
 * still referenced. */
static struct node *node_own(struct memory *m, struct node *n)
{
	if (n->refs == 1)
		return n;
	struct node *copy = malloc(sizeof(*copy));
	if (!copy) {
		m->oom = true;
		return NULL;
	}
	*copy = *n;
	copy->refs = 1;
	copy->item->refs++;
	node_ref(copy->left);
	node_ref(copy->right);
	n->refs--;
	return copy;
}

/* Both change the subtree n, whose reference they take, and return the new one. Once out of memory
 * they leave a valid tree behind, which the caller drops. */
static struct node *tree_put(struct memory *m, struct node *n, struct item *item)
{
	if (!n) {
		n = malloc(sizeof(*n));
		if (!n) {
			m->oom = true;
			return NULL;
		}
		item->refs++;
		*n = (struct node){ .refs = 1,
				    .priority = key_priority(item->data, item->key_len),
				    .item = item };
		return n;
	}
	struct node *own = node_own(m, n);
	if (!own)
		return n;
	n = own;
	int c = key_cmp(item->data, item->key_len, n->item->data, n->item->key_len);
	if (c == 0) {
		item->refs++;
		item_unref(m, n->item);
		n->item = item;
	} else if (c < 0) {
		n->left = tree_put(m, n->left, item);
		struct node *l = n->left;
		if (l && l->refs == 1 && l->priority > n->priority) {
			n->left = l->right;
			l->right = n;
			return l;
		}
	} else {
		n->right = tree_put(m, n->right, item);
		struct node *r = n->right;
		if (r && r->refs == 1 && r->priority > n->priority) {
			n->right = r->left;
			r->left = n;
			return r;
		}
	}
	return n;
}

static struct node *tree_merge(struct memory *m, struct node *a, struct node *b)
{
	if (!a || !b)
		return a ? a : b;
	bool a_up = a->priority >= b->priority;
	struct node *up = node_own(m, a_up ? a : b);
	if (!up) { /* the whole tree is dropped anyway: give up one half */
		node_unref(m, b);
		return a;
	}
	if (a_up)
		up->right = tree_merge(m, up->right, b);
	else
		up->left = tree_merge(m, a, up->left);
	return up;
}

static const struct node *tree_find(const struct node *n, const void *key, size_t key_len)
{
	while (n) {
		int c = key_cmp(key, key_len, n->item->data, n->item->key_len);
		if (c == 0)
			return n;
		n = c < 0 ? n->left : n->right;
	}
	return NULL;
}

/* The key is there. */
static struct node *tree_delete(struct memory *m, struct node *n, const void *key, size_t key_len)
{
	int c = key_cmp(key, key_len, n->item->data, n->item->key_len);
	if (c == 0) {
		struct node *left = node_ref(n->left), *right = node_ref(n->right);
		node_unref(m, n);
		return tree_merge(m, left, right);
	}
	struct node *own = node_own(m, n);
	if (!own)
		return n;
	if (c < 0)
		own->left = tree_delete(m, own->left, key, key_len);
	else
		own->right = tree_delete(m, own->right, key, key_len);
	return own;
}

static void roots_ref(struct roots *r)
{
	for (int f = 0; f < STORE_FAMILIES; f++)
		node_ref(r->root[f]);
}

static void roots_unref(struct memory *m, struct roots *r)
{
	for (int f = 0; f < STORE_FAMILIES; f++)
		node_unref(m, r->root[f]);
}

static struct roots *memory_newest(struct memory *m)
{
	return &m->version[m->n_versions - 1];
}

static void memory_close(struct store *s)
{
	struct memory *m = (struct memory *)s;
	assert(m->pinned == 0);
	for (size_t i = 0; i < m->n_versions; i++)
		roots_unref(m, &m->version[i]);
	assert(m->bytes == 0);
	pthread_mutex_destroy(&m->lock);
	free(m->version);
	free(m);
}

static uint64_t memory_crash(struct store *s, uint64_t keep)
{
	struct memory *m = (struct memory *)s;
	pthread_mutex_lock(&m->lock);
	assert(m->pinned == 0);
	uint64_t lost = 0;
	while (m->n_versions - 1 > keep) {
		roots_unref(m, &m->version[--m->n_versions]);
		lost++;
	}
	/* What was not lost is on the disk now. */
	for (size_t i = 0; i + 1 < m->n_versions; i++)
		roots_unref(m, &m->version[i]);
	m->version[0] = *memory_newest(m);
	m->n_versions = 1;
	m->fail_in = 0;
	pthread_mutex_unlock(&m->lock);
	return lost;
}

static void memory_fail(struct store *s, uint64_t nth, int error)
{
	struct memory *m = (struct memory *)s;
	pthread_mutex_lock(&m->lock);
	m->fail_in = nth;
	m->fail_with = error;
	pthread_mutex_unlock(&m->lock);
}

/* Counts one write or flush; the injected error when it is its turn. */
static int memory_step(struct memory *m, struct err *e)
{
	if (m->fail_in == 0 || --m->fail_in > 0)
		return 0;
	return err_errno(e, m->fail_with, "the store in memory was told to fail");
}

static struct item *item_new(struct memory *m, const struct store_op *op, const uint8_t *key,
			     const uint8_t *value)
{
	struct item *i = malloc(sizeof(*i) + op->key_len + op->len);
	if (!i)
		return NULL;
	i->refs = 1;
	i->key_len = op->key_len;
	i->len = op->len;
	memcpy(i->data, key, op->key_len);
	memcpy(i->data + op->key_len, value, op->len);
	m->bytes += op->key_len + op->len;
	return i;
}

static void roots_apply(struct memory *m, struct roots *r, const struct store_batch *b)
{
	struct store_op op;
	const uint8_t *key, *value;
	for (size_t at = 0; !m->oom && store_batch_next(b, &at, &op, &key, &value);) {
		struct node **root = &r->root[op.family];
		if (op.put) {
			struct item *i = item_new(m, &op, key, value);
			if (i) {
				*root = tree_put(m, *root, i);
				item_unref(m, i);
			} else {
				m->oom = true;
			}
		} else if (tree_find(*root, key, op.key_len)) {
			*root = tree_delete(m, *root, key, op.key_len);
		}
	}
}

static int memory_push(struct memory *m)
{
	if (m->n_versions == m->cap_versions) {
		size_t cap = m->cap_versions ? 2 * m->cap_versions : 16;
		struct roots *v = realloc(m->version, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		m->version = v;
		m->cap_versions = cap;
	}
	if (m->n_versions == 0)
		m->version[0] = (struct roots){ 0 };
	else
		m->version[m->n_versions] = m->version[m->n_versions - 1];
	roots_ref(&m->version[m->n_versions++]);
	return 0;
}

static int memory_write(struct store *s, struct store_batch *b, struct err *e)
{
	struct memory *m = (struct memory *)s;
	pthread_mutex_lock(&m->lock);
	int r = memory_step(m, e);
	if (r == 0)
		r = memory_push(m);
	if (r == 0) {
		m->oom = false;
		roots_apply(m, memory_newest(m), b);
		if (m->oom) {
			roots_unref(m, memory_newest(m));
			m->n_versions--;
			r = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&m->lock);
	if (r == -ENOMEM)
		err_set(e, r, "out of memory in the store");
	return r;
}

static int memory_flush(struct store *s, struct err *e)
{
	struct memory *m = (struct memory *)s;
	pthread_mutex_lock(&m->lock);
	int r = memory_step(m, e);
	if (r == 0) {
		for (size_t i = 0; i + 1 < m->n_versions; i++)
			roots_unref(m, &m->version[i]);
		m->version[0] = *memory_newest(m);
		m->n_versions = 1;
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* The root of a family, referenced. */
static struct node *memory_root(struct memory *m, const struct store_snapshot *snapshot,
				enum store_family f)
{
	pthread_mutex_lock(&m->lock);
	struct node *n = node_ref(snapshot ? snapshot->roots.root[f] : memory_newest(m)->root[f]);
	pthread_mutex_unlock(&m->lock);
	return n;
}

static void memory_drop(struct memory *m, struct node *n)
{
	pthread_mutex_lock(&m->lock);
	node_unref(m, n);
	pthread_mutex_unlock(&m->lock);
}

static int memory_get(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
		      const void *key, size_t key_len, struct buf *value)
{
	struct memory *m = (struct memory *)s;
	struct node *root = memory_root(m, snapshot, f);
	const struct node *n = tree_find(root, key, key_len);
	int r = -ENOENT;
	if (n) {
		buf_reset(value);
		buf_put(value, n->item->data + n->item->key_len, n->item->len);
		r = buf_failed(value) ? -ENOMEM : 0;
	}
	memory_drop(m, root);
	return r;
}

static int memory_has(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
		      const void *key, size_t key_len)
{
	struct memory *m = (struct memory *)s;
	struct node *root = memory_root(m, snapshot, f);
	int r = tree_find(root, key, key_len) != NULL;
	memory_drop(m, root);
	return r;
}

static int memory_snapshot(struct store *s, struct store_snapshot **ret)
{
	struct memory *m = (struct memory *)s;
	struct store_snapshot *snap = malloc(sizeof(*snap));
	if (!snap)
		return -ENOMEM;
	pthread_mutex_lock(&m->lock);
	snap->roots = *memory_newest(m);
	roots_ref(&snap->roots);
	m->pinned++;
	pthread_mutex_unlock(&m->lock);
	*ret = snap;
	return 0;
}

static void memory_snapshot_free(struct store *s, struct store_snapshot *snap)
{
	struct memory *m = (struct memory *)s;
	pthread_mutex_lock(&m->lock);
	roots_unref(m, &snap->roots);
	m->pinned--;
	pthread_mutex_unlock(&m->lock);
	free(snap);
}

static void iter_push(struct iter *it, struct node *n)
{
	if (it->n == it->cap) {
		size_t cap = it->cap ? 2 * it->cap : 64;
		struct node **stack = realloc(it->stack, cap * sizeof(*stack));
		if (!stack) {
			it->error = -ENOMEM;
			return;
		}
		it->stack = stack;
		it->cap = cap;
	}
	it->stack[it->n++] = n;
}

static void memory_iter_free(struct store_iter *base)
{
	struct iter *it = (struct iter *)base;
	struct memory *m = it->m;
	pthread_mutex_lock(&m->lock);
	node_unref(m, it->root);
	m->pinned--;
	pthread_mutex_unlock(&m->lock);
	free(it->upper);
	free(it->stack);
	free(it);
}

static int memory_iter_new(struct store *s, const struct store_snapshot *snapshot,
			   enum store_family f, const void *lower, size_t lower_len,
			   const void *upper, size_t upper_len, struct store_iter **ret)
{
	struct memory *m = (struct memory *)s;
	struct iter *it = calloc(1, sizeof(*it));
	uint8_t *copy = upper_len ? malloc(upper_len) : NULL;
	if (!it || (upper_len && !copy)) {
		free(it);
		free(copy);
		return -ENOMEM;
	}
	if (copy)
		memcpy(copy, upper, upper_len);
	it->base.ops = s->ops;
	it->m = m;
	it->upper = copy;
	it->upper_len = upper_len;
	it->root = memory_root(m, snapshot, f);
	pthread_mutex_lock(&m->lock);
	m->pinned++;
	pthread_mutex_unlock(&m->lock);
	for (struct node *n = it->root; n && !it->error;) {
		if (key_cmp(n->item->data, n->item->key_len, lower, lower_len) >= 0) {
			iter_push(it, n);
			n = n->left;
		} else {
			n = n->right;
		}
	}
	*ret = (struct store_iter *)it;
	return 0;
}

static bool memory_iter_valid(const struct store_iter *base)
{
	const struct iter *it = (const struct iter *)base;
	if (it->n == 0 || it->error)
		return false;
	const struct item *i = it->stack[it->n - 1]->item;
	return !it->upper || key_cmp(i->data, i->key_len, it->upper, it->upper_len) < 0;
}

static void memory_iter_next(struct store_iter *base)
{
	struct iter *it = (struct iter *)base;
	struct node *n = it->stack[--it->n]->right;
	for (; n && !it->error; n = n->left)
		iter_push(it, n);
}

static const uint8_t *memory_iter_key(const struct store_iter *base, size_t *ret_len)
{
	const struct iter *it = (const struct iter *)base;
	const struct item *i = it->stack[it->n - 1]->item;
	*ret_len = i->key_len;
	return i->data;
}

static const uint8_t *memory_iter_value(const struct store_iter *base, size_t *ret_len)
{
	const struct iter *it = (const struct iter *)base;
	const struct item *i = it->stack[it->n - 1]->item;
	*ret_len = i->len;
	return i->data + i->key_len;
}

static int memory_iter_error(const struct store_iter *base)
{
	return ((const struct iter *)base)->error;
}

static uint64_t memory_size(struct store *s)
{
	struct memory *m = (struct memory *)s;
	pthread_mutex_lock(&m->lock);
	uint64_t n = m->bytes;
	pthread_mutex_unlock(&m->lock);
	return n;
}

static const struct store_ops memory_ops = {
	.close = memory_close,
	.crash = memory_crash,
	.fail = memory_fail,
	.write = memory_write,
	.flush = memory_flush,
	.get = memory_get,
	.has = memory_has,
	.snapshot = memory_snapshot,
	.snapshot_free = memory_snapshot_free,
	.iter_new = memory_iter_new,
	.iter_free = memory_iter_free,
	.iter_valid = memory_iter_valid,
	.iter_next = memory_iter_next,
	.iter_key = memory_iter_key,
	.iter_value = memory_iter_value,
	.iter_error = memory_iter_error,
	.size = memory_size,
};

int store_open_memory(struct store **ret)
{
	struct memory *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->base.ops = &memory_ops;
	if (memory_push(m) < 0) {
		free(m);
		return -ENOMEM;
	}
	pins_init(&m->base.pins);
	pthread_mutex_init(&m->lock, NULL);
	*ret = (struct store *)m;
	return 0;
}
