/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Attributes of nodes: derived from records, kept in STORE_ATTRS, with a cache in front.
 *
 * Value: format u8, flags u8 (1 live, 2 alive, 4 conflict, 8 absent, 16 a
 * visit was cut off, 32 hard links were made to it), kind u8, form u8, scope 16,
 * parent 16, version 16, varints: mode, size, mtime and ctime (ns, zigzag), author + 1, counter,
 * actor + 1 (0: none), hlc of the mtime register, latest visit (us); the rest: name.
 * Format 1 for what has no holes; 2 with another varint behind the size: bytes in no hole; 3, of a hard
 * link, with the id of the node that it names behind the version. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/zigzag.h"

enum { ATTR_CONFLICT = 4, ATTR_ABSENT = 8, ATTR_CUT = 16, ATTR_LINKED = 32 };

void node_encode(const struct node *n, struct buf *b)
{
	const struct attr *at = &n->attr;
	bool holes = at->stored < at->size;
	bool hard = !id_is_zero(&at->target);
	buf_u8(b, holes ? ATTR_FORMAT_HOLES : hard ? ATTR_FORMAT_LINK : ATTR_FORMAT);
	buf_u8(b, (uint8_t)(n->flags | (at->conflict ? ATTR_CONFLICT : 0) |
			    (at->absent ? ATTR_ABSENT : 0) | (n->cut ? ATTR_CUT : 0) |
			    (at->linked ? ATTR_LINKED : 0)));
	buf_u8(b, (uint8_t)at->kind);
	buf_u8(b, (uint8_t)at->form);
	buf_put(b, at->scope.b, ID_SIZE);
	buf_put(b, n->parent.b, ID_SIZE);
	buf_put(b, at->version.b, ID_SIZE);
	if (hard)
		buf_put(b, at->target.b, ID_SIZE);
	buf_varint(b, at->mode);
	buf_varint(b, at->size);
	if (holes)
		buf_varint(b, at->stored);
	buf_varint(b, zigzag(at->mtime_ns));
	buf_varint(b, zigzag(at->ctime_ns));
	buf_varint(b, (uint64_t)(uint32_t)(at->author + 1));
	buf_varint(b, n->counter);
	buf_varint(b, (uint64_t)(uint32_t)(n->actor + 1));
	buf_varint(b, n->mtime_hlc);
	buf_varint(b, n->visit_us);
	buf_put(b, n->name, n->name_len);
}

static void take_id(struct cursor *c, struct id *ret)
{
	const uint8_t *p = cursor_take(c, ID_SIZE);
	if (p)
		memcpy(ret->b, p, ID_SIZE);
}

int node_decode(const void *data, size_t len, struct node *ret)
{
	struct node n = { 0 };
	struct cursor c = cursor_make(data, len);
	uint8_t format = cursor_u8(&c);
	if (format < ATTR_FORMAT || format > ATTR_FORMAT_LINK)
		return -EPROTONOSUPPORT;
	uint8_t flags = cursor_u8(&c);
	n.flags = flags & (NODE_LIVE | NODE_ALIVE);
	n.attr.conflict = flags & ATTR_CONFLICT;
	n.attr.absent = flags & ATTR_ABSENT;
	n.cut = flags & ATTR_CUT;
	n.attr.linked = flags & ATTR_LINKED;
	n.attr.kind = (enum node_kind)cursor_u8(&c);
	n.attr.form = (enum form)cursor_u8(&c);
	take_id(&c, &n.attr.scope);
	take_id(&c, &n.parent);
	take_id(&c, &n.attr.version);
	if (format == ATTR_FORMAT_LINK)
		take_id(&c, &n.attr.target);
	n.attr.mode = (uint32_t)cursor_varint_max(&c, 07777);
	n.attr.size = n.attr.stored = cursor_varint(&c);
	if (format == ATTR_FORMAT_HOLES)
		n.attr.stored = cursor_varint_max(&c, n.attr.size);
	n.attr.mtime_ns = unzigzag(cursor_varint(&c));
	n.attr.ctime_ns = unzigzag(cursor_varint(&c));
	n.attr.author = (uint32_t)cursor_varint_max(&c, UINT32_MAX) - 1;
	n.counter = cursor_varint(&c);
	n.actor = (uint32_t)cursor_varint_max(&c, UINT32_MAX) - 1;
	n.mtime_hlc = cursor_varint(&c);
	n.visit_us = cursor_varint(&c);
	n.name_len = cursor_left(&c);
	n.name = (const char *)cursor_take(&c, n.name_len);
	if (!cursor_end(&c) || n.name_len > NAME_MAX_BYTES || n.attr.kind < NODE_DIR ||
	    n.attr.kind > NODE_LINK || n.attr.form > FORM_TEXT)
		return -EBADMSG;
	*ret = n;
	return 0;
}

/* This device's clock was ahead once: forget what it said. */
static void visit_sane(struct node *n, uint64_t wall_us)
{
	if (n->visit_us > wall_us + HLC_LEAD_US) {
		n->visit_us = 0;
		n->cut = true;
	}
}

void node_dir_time(struct node *n, int64_t record_mtime_ns, uint64_t wall_us)
{
	visit_sane(n, wall_us);
	n->attr.mtime_ns = n->visit_us > hlc_us(n->mtime_hlc) ? (int64_t)n->visit_us * 1000 :
								 record_mtime_ns;
}

bool node_visit(struct node *n, uint64_t us, uint64_t wall_us)
{
	visit_sane(n, wall_us);
	if (us > wall_us + HLC_LEAD_US) {
		us = wall_us;
		n->cut = true;
	}
	if (us <= n->visit_us)
		return false;
	n->visit_us = us;
	if (us > hlc_us(n->mtime_hlc))
		n->attr.mtime_ns = (int64_t)us * 1000;
	return true;
}

/* ---- the cache ---- */

#define SHARDS 16
#define SHARD_ENTRIES 8192

struct cached {
	struct table_link link;
	struct cached *newer, *older;
	uint64_t commit; /* the value is right in every snapshot from this count on */
	struct node node;
	char name[];
};

struct shard {
	pthread_mutex_t lock;
	struct table table;
	struct cached ring; /* newer: oldest, older: newest */
};

int nodes_init(struct replica *r)
{
	r->shard = calloc(SHARDS, sizeof(*r->shard));
	if (!r->shard)
		return -ENOMEM;
	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&r->shard[i].lock, NULL);
		r->shard[i].ring.newer = r->shard[i].ring.older = &r->shard[i].ring;
	}
	return 0;
}

static void ring_out(struct cached *c)
{
	c->newer->older = c->older;
	c->older->newer = c->newer;
}

static void ring_in(struct shard *s, struct cached *c)
{
	c->newer = &s->ring;
	c->older = s->ring.older;
	c->older->newer = c;
	s->ring.older = c;
}

static void cached_drop(struct shard *s, struct cached *c)
{
	table_remove(&s->table, &c->link);
	ring_out(c);
	free(c);
}

void nodes_clear(struct replica *r)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &r->shard[i];
		pthread_mutex_lock(&s->lock);
		while (s->ring.newer != &s->ring)
			cached_drop(s, s->ring.newer);
		pthread_mutex_unlock(&s->lock);
	}
}

void nodes_done(struct replica *r)
{
	nodes_clear(r);
	for (unsigned i = 0; i < SHARDS; i++) {
		table_done(&r->shard[i].table);
		pthread_mutex_destroy(&r->shard[i].lock);
	}
	free(r->shard);
	r->shard = NULL;
}

static struct shard *shard_of(const struct replica *r, const struct id *id)
{
	return &r->shard[id->b[ID_SIZE - 1] % SHARDS];
}

static struct cached *cached_find(struct shard *s, const struct id *id)
{
	for (struct table_link *l = table_first(&s->table, id_hash(id)); l; l = l->next) {
		struct cached *c = (struct cached *)l;
		if (id_equal(&c->node.attr.id, id))
			return c;
	}
	return NULL;
}

static void cached_add(struct shard *s, const struct node *n, uint64_t commit)
{
	struct cached *c = malloc(sizeof(*c) + n->name_len + 1);
	if (!c)
		return;
	c->node = *n;
	c->commit = commit;
	if (n->name_len)
		memcpy(c->name, n->name, n->name_len);
	c->name[n->name_len] = 0;
	c->node.name = c->name;
	if (table_add(&s->table, &c->link, id_hash(&n->attr.id)) < 0) {
		free(c);
		return;
	}
	ring_in(s, c);
	if (s->table.n > SHARD_ENTRIES)
		cached_drop(s, s->ring.newer);
}

void node_cache(struct replica *r, const struct node *n, uint64_t commit)
{
	struct shard *s = shard_of(r, &n->attr.id);
	pthread_mutex_lock(&s->lock);
	struct cached *c = cached_find(s, &n->attr.id);
	if (c)
		cached_drop(s, c);
	cached_add(s, n, commit);
	pthread_mutex_unlock(&s->lock);
}

void node_forget(struct replica *r, const struct id *id)
{
	struct shard *s = shard_of(r, id);
	pthread_mutex_lock(&s->lock);
	struct cached *c = cached_find(s, id);
	if (c)
		cached_drop(s, c);
	pthread_mutex_unlock(&s->lock);
}

/* 1: found. The name is copied when a is given. */
static int cache_get(struct shard *s, struct arena *a, const struct id *id, uint64_t commits,
		     struct node *ret)
{
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	struct cached *c = cached_find(s, id);
	if (c && c->commit <= commits) {
		const char *name = NULL;
		rc = 1;
		if (a) {
			name = arena_dup(a, c->name, c->node.name_len);
			if (!name)
				rc = -ENOMEM;
		}
		if (rc > 0) {
			*ret = c->node;
			ret->name = name;
			if (c->newer != &s->ring) {
				ring_out(c);
				ring_in(s, c);
			}
		}
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int load(struct replica *r, const struct store_snapshot *snap, const struct id *id,
		struct buf *v, struct node *ret)
{
	int rc = store_get(r->store, snap, STORE_ATTRS, id->b, ID_SIZE, v);
	if (rc == 0)
		rc = node_decode(v->data, v->len, ret);
	if (rc == 0)
		ret->attr.id = ret->attr.entry = *id;
	return rc;
}

int node_get(struct replica *r, struct arena *a, const struct id *id, struct node *ret)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	struct shard *s = shard_of(r, id);
	struct node n = { 0 };
	int rc = cache_get(s, a, id, UINT64_MAX, ret);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	uint64_t before = atomic_load(&r->commits);
	rc = load(r, NULL, id, &v, &n);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&s->lock);
	/* A commit that was under way may have changed it; its own entry is newer then. */
	if (atomic_load(&r->commits) == before && !cached_find(s, id))
		cached_add(s, &n, before);
	pthread_mutex_unlock(&s->lock);
	if (a) {
		n.name = arena_dup(a, n.name, n.name_len);
		if (!n.name)
			return -ENOMEM;
	} else {
		n.name = NULL;
	}
	*ret = n;
	return 0;
}

int node_get_at(struct replica *r, const struct store_snapshot *snap, uint64_t commits,
		const struct id *id, struct node *ret)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	int rc = cache_get(shard_of(r, id), NULL, id, commits, ret);
	if (rc == 0)
		rc = load(r, snap, id, &v, ret);
	ret->name = NULL;
	return rc < 0 ? rc : 0;
}

int replica_attr(struct replica *r, const struct id *id, struct attr *ret)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc < 0)
		return rc;
	if (!(n.flags & NODE_LIVE))
		return -ENOENT;
	*ret = n.attr;
	return 0;
}

uint32_t mode_normal(enum node_kind kind)
{
	switch (kind) {
	case NODE_DIR:
		return 0755;
	case NODE_FILE:
		return 0644;
	case NODE_LINK:
		return 0777;
	}
	return 0;
}

int node_live(struct replica *r, const struct id *id)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	return (n.flags & NODE_LIVE) != 0;
}
