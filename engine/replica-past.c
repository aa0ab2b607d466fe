/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The tree as it was at a time. It is worked out backwards: a node hangs where it hangs now, unless it
 * left another place after that time, which STORE_HISTORY says (engine/history.h); then it hung at
 * the first one that it left after it. It was there if it had come there before. When it came to where
 * it is now says the visit of its edge; and whatever record this device has not changed since then says
 * what it said at that time.
 *
 * What is read of the present is read first, then what has left it: a node that goes in between
 * is found in both, and counts as gone. */

#include "engine/replica-impl.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/history.h"
#include "engine/moment.h"

struct left {
	struct table_link by_id, by_parent;
	struct id node, parent;
	enum node_kind kind;
	uint64_t since_us;
	const char *name;
	size_t len;
};

struct moment {
	struct replica *r;
	uint64_t us;
	pthread_mutex_t lock; /* what follows; a leaf */
	uint64_t next;        /* the first stamp that was not looked at */
	struct table by_id, by_parent;
	struct arena arena;
};

/* The first one that is not of that time or before. */
static uint64_t stamp_after(uint64_t us)
{
	return (us + 1) << HLC_COUNTER_BITS;
}

int moment_new(struct replica *r, uint64_t us, struct moment **ret)
{
	if (us >= (UINT64_MAX >> HLC_COUNTER_BITS))
		return -EINVAL;
	struct moment *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->r = r;
	m->us = us;
	m->next = stamp_after(us);
	pthread_mutex_init(&m->lock, NULL);
	*ret = m;
	return 0;
}

void moment_free(struct moment *m)
{
	if (!m)
		return;
	table_done(&m->by_id);
	table_done(&m->by_parent);
	arena_done(&m->arena);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* ---- what has left its place since ---- */

static struct left *find_left(const struct moment *m, const struct id *node)
{
	for (struct table_link *l = table_first(&m->by_id, id_hash(node)); l; l = l->next) {
		struct left *x = table_entry(l, struct left, by_id);
		if (id_equal(&x->node, node))
			return x;
	}
	return NULL;
}

static int add_left(struct moment *m, const void *value, size_t len)
{
	struct history_deletion h;
	if (history_deletion_decode(m->r->actors, value, len, &h, NULL) < 0)
		return 0; /* verification tells */
	if (find_left(m, &h.node))
		return 0;
	struct left *x = arena_new(&m->arena, struct left);
	if (!x)
		return -ENOMEM;
	*x = (struct left){ .node = h.node, .parent = h.parent, .kind = h.kind,
			    .since_us = h.since_us, .len = h.name_len,
			    .name = arena_dup(&m->arena, h.name, h.name_len) };
	int rc = x->name ? table_add(&m->by_id, &x->by_id, id_hash(&x->node)) : -ENOMEM;
	if (rc == 0)
		rc = table_add(&m->by_parent, &x->by_parent, id_hash(&x->parent));
	if (rc < 0)
		table_remove(&m->by_id, &x->by_id);
	return rc;
}

/* m->lock held. */
static int look_again(struct moment *m)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf end = { 0 };
	uint8_t key[HISTORY_KEY_SIZE];
	history_key(&NODE_TRASH, m->next, key);
	store_prefix_end(NODE_TRASH.b, ID_SIZE, &end);
	int rc = store_iter_new(m->r->store, NULL, STORE_HISTORY, key, sizeof(key), end.data,
				end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct id trash;
		uint64_t stamp;
		size_t key_len, len;
		const uint8_t *k = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		rc = history_key_decode(k, key_len, &trash, &stamp);
		if (rc == 0)
			rc = add_left(m, value, len);
		if (rc == 0)
			m->next = stamp + 1;
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

/* ---- single nodes ---- */

/* The version that was there: the first one that was replaced later. 0: of an entry; 1: the newest. */
static int version_then(struct moment *m, const struct id *id, struct past *ret)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf end = { 0 };
	struct history_version h;
	struct id node;
	uint8_t key[HISTORY_KEY_SIZE];
	size_t key_len, len;
	history_key(id, stamp_after(m->us), key);
	store_prefix_end(id->b, ID_SIZE, &end);
	int rc = store_iter_new(m->r->store, NULL, STORE_HISTORY, key, sizeof(key), end.data,
				end.len, &it);
	if (rc < 0)
		return rc;
	if (!store_iter_valid(it)) {
		rc = store_iter_error(it);
		return rc < 0 ? rc : 1;
	}
	const uint8_t *k = store_iter_key(it, &key_len);
	const uint8_t *value = store_iter_value(it, &len);
	*ret = (struct past){ 0 };
	rc = history_key_decode(k, key_len, &node, &ret->stamp);
	if (rc == 0)
		rc = history_version_decode(&a, m->r->actors, value, len, &h, NULL);
	if (rc < 0)
		return rc;
	ret->version = h.version;
	ret->written_us = hlc_us(h.written);
	ret->author = h.author;
	ret->form = (enum form)h.form;
	ret->size = h.blob ? h.ref.size : h.len;
	return 0;
}

static int newest(struct moment *m, const struct id *id, struct version **ret)
{
	unsigned long long sweeps;
	int rc;
	for (;;) {
		sweeps = atomic_load(&m->r->sweeps);
		rc = version_newest(m->r, id, ret);
		if (rc < 0 || sweeps == atomic_load(&m->r->sweeps))
			return rc;
		version_unref(*ret); /* see replica_read */
	}
}

static int content_attr(struct moment *m, const struct record *rec, struct attr *at)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct past p;
	int rc = version_then(m, &at->id, &p);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		at->version = p.version;
		at->form = p.form;
		at->author = p.author;
		at->size = at->stored = p.size;
		at->mtime_ns = (int64_t)p.written_us * 1000;
		return 0;
	}
	rc = newest(m, &at->id, &v);
	if (rc < 0)
		return rc;
	at->version = *version_id(v);
	at->form = version_form(v);
	at->size = at->stored = version_size(v);
	at->mtime_ns = record_mtime_ns(rec, m->r->actors);
	return 0;
}

/* Of a node that was there, from its record. */
static int attr_then(struct moment *m, const struct stored *s, struct attr *ret)
{
	const struct record *rec = s->record;
	const int64_t then_ns = (int64_t)m->us * 1000;
	struct attr at = { .id = rec->id, .entry = rec->id, .scope = rec->scope, .kind = rec->kind,
			   .mode = record_mode(rec, m->r->actors, mode_normal(rec->kind)),
			   .author = ACTOR_NONE };
	struct value link;
	int rc = 0;
	at.mtime_ns = record_mtime_ns(rec, m->r->actors);
	if (rec->kind == NODE_FILE)
		rc = content_attr(m, rec, &at);
	else if (rec->kind == NODE_LINK && content_shown(m->r, rec, &link))
		at.size = at.stored = link.len;
	link_target(m->r, rec, &at.target);
	/* A directory's time is that of what came and went since. */
	if (at.mtime_ns > then_ns && rec->kind != NODE_FILE)
		at.mtime_ns = then_ns;
	at.ctime_ns = at.mtime_ns;
	*ret = at;
	return rc;
}

/* The file behind a hard link that was there, as it was. -ENOENT: nothing was. */
static int follow_then(struct moment *m, struct attr *at)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	const struct attr link = *at;
	if (id_is_zero(&link.target))
		return 0;
	int rc = stored_get(m->r, NULL, &a, &link.target, &s, NULL);
	if (rc == 0)
		rc = attr_then(m, &s, at);
	if (rc == 0 && !link_holds(&link, at))
		rc = -ENOENT;
	at->entry = link.id;
	return rc;
}

/* Had it come by then to where it hangs now? */
static bool had_come(struct moment *m, const struct record *rec, const struct id *parent)
{
	for (uint32_t i = 0; i < rec->n_edges; i++)
		if (id_equal(&rec->edge[i].parent, parent))
			return rec->edge[i].visit.us <= m->us;
	return true;
}

/* A node that hangs in the directory now, and has not left a place since. -ENOENT: it was not there. */
static int attr_staying(struct moment *m, const struct attr *now, const struct id *parent,
			struct attr *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	if (now->kind != NODE_DIR && now->ctime_ns / 1000 <= (int64_t)m->us) {
		*ret = *now;
		return 0;
	}
	/* A directory that was never heard of has no record: it is there for what hangs in it. */
	int rc = stored_get(m->r, NULL, &a, &now->id, &s, NULL);
	if (rc == -ENOENT && now->kind == NODE_DIR) {
		*ret = *now;
		return 0;
	}
	if (rc == 0 && !had_come(m, s.record, parent))
		rc = -ENOENT;
	return rc < 0 ? rc : attr_then(m, &s, ret);
}

static int attr_left(struct moment *m, const struct left *x, struct attr *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	if (x->since_us > m->us)
		return -ENOENT;
	int rc = stored_get(m->r, NULL, &a, &x->node, &s, NULL);
	return rc < 0 ? rc : attr_then(m, &s, ret);
}

/* ---- directories ---- */

int moment_root(struct moment *m, struct attr *ret)
{
	int rc = replica_attr(m->r, &NODE_ROOT, ret);
	if (rc == 0 && ret->mtime_ns / 1000 > (int64_t)m->us)
		ret->mtime_ns = ret->ctime_ns = (int64_t)m->us * 1000;
	return rc;
}

static bool is_at(const struct left *x, const struct id *parent, const char *name, size_t len)
{
	return id_equal(&x->parent, parent) && x->len == len && memcmp(x->name, name, len) == 0;
}

int moment_lookup(struct moment *m, const struct id *parent, const char *name, size_t len,
		  struct attr *ret)
{
	struct attr now;
	int found = entry_lookup(m->r, parent, name, len, &now);
	if (found < 0 && found != -ENOENT && found != -ENOTDIR)
		return found;
	pthread_mutex_lock(&m->lock);
	int rc = look_again(m);
	if (rc == 0)
		rc = found == 0 && !find_left(m, &now.id) ? attr_staying(m, &now, parent, ret) :
							    -ENOENT;
	struct table_link *l = table_first(&m->by_parent, id_hash(parent));
	for (; rc == -ENOENT && l; l = l->next) {
		const struct left *x = table_entry(l, struct left, by_parent);
		if (is_at(x, parent, name, len))
			rc = attr_left(m, x, ret);
	}
	if (rc == 0)
		rc = follow_then(m, ret);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

struct item {
	const char *name; /* arena */
	size_t len;
	struct attr attr;
	bool here; /* of now; others come behind it */
};

struct items {
	struct moment *m;
	struct buf list; /* of struct item */
	struct arena arena;
};

static void items_done(struct items *l)
{
	buf_done(&l->list);
	arena_done(&l->arena);
}

static int items_add(struct items *l, const char *name, size_t len, const struct attr *attr, bool here)
{
	struct item x = { arena_dup(&l->arena, name, len), len, *attr, here };
	if (!x.name)
		return -ENOMEM;
	buf_put(&l->list, &x, sizeof(x));
	return buf_failed(&l->list) ? -ENOMEM : 0;
}

static int add_now(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	return items_add(userdata, name, len, attr, true);
}

static int item_cmp(const void *x, const void *y)
{
	const struct item *a = x, *b = y;
	size_t len = a->len < b->len ? a->len : b->len;
	int c = memcmp(a->name, b->name, len);
	if (c == 0)
		c = (a->len > b->len) - (a->len < b->len);
	if (c == 0)
		c = (int)b->here - (int)a->here;
	return c ? c : id_cmp(&a->attr.id, &b->attr.id);
}

/* What of the present was there then; kind 0: was not. m->lock held. */
static int keep_staying(struct items *l, const struct id *parent)
{
	struct item *x = (void *)l->list.data;
	size_t n = l->list.len / sizeof(*x);
	for (size_t i = 0; i < n; i++) {
		struct attr now = x[i].attr;
		int rc = find_left(l->m, &now.id) ? -ENOENT :
						     attr_staying(l->m, &now, parent, &x[i].attr);
		if (rc == 0)
			rc = follow_then(l->m, &x[i].attr);
		if (rc == -ENOENT)
			x[i].attr.kind = 0;
		else if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_left_ones(struct items *l, const struct id *parent)
{
	struct table_link *t = table_first(&l->m->by_parent, id_hash(parent));
	for (; t; t = t->next) {
		const struct left *x = table_entry(t, struct left, by_parent);
		struct attr attr;
		int rc = id_equal(&x->parent, parent) ? attr_left(l->m, x, &attr) : -ENOENT;
		if (rc == 0)
			rc = follow_then(l->m, &attr);
		if (rc == 0)
			rc = items_add(l, x->name, x->len, &attr, false);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	return 0;
}

int moment_list(struct moment *m, const struct id *parent, list_fn f, void *userdata)
{
	_cleanup_(items_done) struct items l = { .m = m };
	int rc = entries_list(m->r, parent, add_now, &l);
	if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR)
		return rc;
	pthread_mutex_lock(&m->lock);
	rc = look_again(m);
	if (rc == 0)
		rc = keep_staying(&l, parent);
	if (rc == 0)
		rc = add_left_ones(&l, parent);
	pthread_mutex_unlock(&m->lock);
	const struct item *last = NULL, *x = (const void *)l.list.data;
	size_t n = l.list.len / sizeof(*x);
	if (rc == 0 && n > 0)
		qsort(l.list.data, n, sizeof(*x), item_cmp);
	for (size_t i = 0; rc == 0 && i < n; i++, x++) {
		if (!x->attr.kind || (last && last->len == x->len &&
				      memcmp(last->name, x->name, x->len) == 0))
			continue;
		last = x;
		rc = f(x->name, x->len, &x->attr, userdata);
	}
	return rc;
}

/* ---- contents ---- */

int moment_read(struct moment *m, const struct id *id, struct version **ret)
{
	struct past p;
	int rc = version_then(m, id, &p);
	if (rc == 0)
		rc = replica_history_read(m->r, id, &p, ret);
	else if (rc > 0)
		rc = newest(m, id, ret);
	return rc;
}

int moment_readlink(struct moment *m, const struct id *id, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	struct value v;
	int rc = stored_get(m->r, NULL, &a, id, &s, NULL);
	if (rc < 0)
		return rc;
	if (s.record->kind != NODE_LINK)
		return -EINVAL;
	if (content_shown(m->r, s.record, &v) && v.kind == VALUE_LINK)
		buf_put(ret, v.data, v.len);
	return buf_failed(ret) ? -ENOMEM : 0;
}
