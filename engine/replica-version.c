/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Versions of contents. Equal versions of a node are one object while anybody holds it; the newest
 * ones are held a little longer, so that a read after a save renders nothing. */

#include "engine/replica-impl.h"

#include <assert.h>
#include <errno.h>

#include "engine/history.h"
#include "engine/render.h"
#include "engine/text.h"
#include "engine/textedit.h"

#define SHARDS 16
#define SHARD_BYTES (4u * 1024 * 1024) /* kept in each shard */
#define VERSION_COST 256               /* of an entry beside its bytes */

struct version {
	struct table_link link;
	atomic_uint refs;
	bool listed;                   /* in the table */
	struct version *newer, *older; /* kept: newer is NULL otherwise */
	struct versions *versions;
	struct id node, id;
	uint32_t restamped; /* so many restamps were there when it was made */
	struct vv context;
	enum form form;
	uint64_t size;
	uint8_t *data;
	struct seq_base *anchors; /* text: what edits of it need */
	struct elements *elements; /* document: of its lists */
	struct elements *written;  /* the same of what was saved, see version_set_written */
	struct blob *blob;
	struct blob_ref ref;
	struct store *store;
	pthread_mutex_t lock; /* blob */
};

struct version_shard {
	pthread_mutex_t lock;
	struct table table;
	struct version ring; /* newer: oldest, older: newest */
	size_t bytes;
};

struct versions {
	atomic_uint refs; /* versions may outlive the replica */
	struct version_shard shard[SHARDS];
};

int versions_init(struct replica *r)
{
	struct versions *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	atomic_init(&v->refs, 1);
	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&v->shard[i].lock, NULL);
		v->shard[i].ring.newer = v->shard[i].ring.older = &v->shard[i].ring;
	}
	r->versions = v;
	return 0;
}

static void versions_unref(struct versions *v)
{
	if (atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		table_done(&v->shard[i].table);
		pthread_mutex_destroy(&v->shard[i].lock);
	}
	free(v);
}

static struct version_shard *shard_of(struct versions *v, const struct id *node)
{
	return &v->shard[node->b[ID_SIZE - 1] % SHARDS];
}

/* An open blob has its last chunk in memory. */
static size_t cost(const struct version *v)
{
	if (v->form == FORM_BLOB)
		return VERSION_COST + (v->size < CHUNK_MAX ? (size_t)v->size : CHUNK_MAX);
	return VERSION_COST + (v->data ? (size_t)v->size : 0) + elements_size(v->elements);
}

/* Takes v off the ring; the caller then owns the ring's reference. */
static void ring_out(struct version_shard *s, struct version *v)
{
	v->newer->older = v->older;
	v->older->newer = v->newer;
	v->newer = v->older = NULL;
	s->bytes -= cost(v);
}

struct version *version_ref(struct version *v)
{
	if (v)
		atomic_fetch_add(&v->refs, 1);
	return v;
}

static void version_destroy(struct version *v)
{
	vv_done(&v->context);
	blob_free(v->blob);
	seq_base_free(v->anchors);
	elements_free(v->elements);
	elements_free(v->written);
	free(v->data);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void version_unref(struct version *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	struct versions *all = v->versions;
	struct version_shard *s = shard_of(all, &v->node);
	/* Nobody takes up again what has come to zero (find_locked): it is ours alone. */
	if (v->listed) {
		pthread_mutex_lock(&s->lock);
		table_remove(&s->table, &v->link);
		pthread_mutex_unlock(&s->lock);
	}
	version_destroy(v);
	versions_unref(all);
}

/* Gives up a reference with the lock held. What nobody holds any more goes to the list of the dead,
 * out of everybody's reach; others may find it and keep it again as long as it is in the table. */
static void drop_locked(struct version_shard *s, struct version *v, struct version **dead)
{
	if (atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	table_remove(&s->table, &v->link);
	v->older = *dead;
	*dead = v;
}

/* Without the lock. */
static void bury(struct versions *all, struct version *dead)
{
	for (struct version *v = dead, *next; v; v = next) {
		next = v->older;
		version_destroy(v);
		unsigned before = atomic_fetch_sub(&all->refs, 1);
		assert(before > 1); /* the replica has one itself */
		(void)before;
	}
}

static struct version *find_locked(struct version_shard *s, const struct id *node,
				   const struct id *id)
{
	for (struct table_link *l = table_first(&s->table, id_hash(id)); l; l = l->next) {
		struct version *v = (struct version *)l;
		unsigned refs = atomic_load(&v->refs);
		if (!id_equal(&v->id, id) || !id_equal(&v->node, node))
			continue;
		/* One at zero is about to go: leave it to its owner. */
		while (refs > 0)
			if (atomic_compare_exchange_weak(&v->refs, &refs, refs + 1))
				return v;
	}
	return NULL;
}

struct version *version_find(struct replica *r, const struct id *node, const struct id *id)
{
	struct version_shard *s = shard_of(r->versions, node);
	pthread_mutex_lock(&s->lock);
	struct version *v = find_locked(s, node, id);
	pthread_mutex_unlock(&s->lock);
	return v;
}

void version_keep(struct replica *r, struct version *v)
{
	struct version_shard *s = shard_of(r->versions, &v->node);
	struct version *dead = NULL;
	if (cost(v) > SHARD_BYTES / 2)
		return;
	pthread_mutex_lock(&s->lock);
	if (v->newer)
		ring_out(s, v);
	else
		atomic_fetch_add(&v->refs, 1);
	v->newer = &s->ring;
	v->older = s->ring.older;
	v->older->newer = v;
	s->ring.older = v;
	s->bytes += cost(v);
	while (s->bytes > SHARD_BYTES) {
		struct version *oldest = s->ring.newer;
		assert(oldest && oldest != &s->ring); /* an empty ring has no bytes */
		ring_out(s, oldest);
		drop_locked(s, oldest, &dead);
	}
	pthread_mutex_unlock(&s->lock);
	bury(r->versions, dead);
}

void versions_done(struct replica *r)
{
	struct versions *all = r->versions;
	if (!all)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct version_shard *s = &all->shard[i];
		for (;;) {
			pthread_mutex_lock(&s->lock);
			struct version *v = s->ring.newer != &s->ring ? s->ring.newer : NULL;
			if (v)
				ring_out(s, v);
			pthread_mutex_unlock(&s->lock);
			if (!v)
				break;
			version_unref(v);
		}
	}
	versions_unref(all);
	r->versions = NULL;
}

bool content_shown(const struct replica *r, const struct record *rec, struct value *ret)
{
	const struct entry *entry = NULL;
	enum value_kind kind;
	const struct slot *s = rec->top ? slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) :
					  NULL;
	if (!s || !slot_shown(s, r->actors, &entry, &kind))
		return false;
	*ret = entry ? entry->value : (struct value){ .kind = kind };
	ret->kind = kind;
	return true;
}

void rendering_done(struct rendering *x)
{
	free(x->data);
	elements_free(x->elements);
	*x = (struct rendering){ 0 };
}

static int render(struct replica *r, const struct record *rec, struct rendering *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	int rc = render_json(&a, r->actors, rec, &b, &ret->elements);
	if (rc == 0)
		ret->data = buf_take(&b, &ret->len);
	return rc;
}

static int fill(struct replica *r, struct version *v, const struct record *rec,
		struct rendering *known)
{
	struct value shown;
	if (!content_shown(r, rec, &shown) || shown.kind == VALUE_LINK || rec->kind != NODE_FILE) {
		v->form = rec->kind == NODE_FILE ? FORM_BLOB : FORM_NONE;
		return 0;
	}
	if (shown.kind == VALUE_BLOB) {
		v->form = FORM_BLOB;
		int rc = blob_ref_decode(&shown, &v->ref);
		v->size = v->ref.size;
		return rc;
	}
	if (shown.kind == VALUE_TEXT) {
		_cleanup_(buf_done) struct buf b = { 0 };
		size_t len;
		v->form = FORM_TEXT;
		int rc = record_text(rec, r->actors, &b, &v->anchors);
		v->size = b.len;
		/* An empty text has bytes, too, none of them. */
		v->data = rc == 0 && buf_reserve(&b, 1) ? buf_take(&b, &len) : NULL;
		return rc < 0 || v->data ? rc : -ENOMEM;
	}
	struct rendering own = { 0 }, *x = known && known->data ? known : &own;
	int rc = x == &own ? render(r, rec, &own) : 0;
	v->form = FORM_JSON;
	v->data = TAKE_PTR(x->data);
	v->elements = TAKE_PTR(x->elements);
	v->size = x->len;
	return rc;
}

static void version_init(struct replica *r, struct version *v, const struct id *node,
			 const struct id *id)
{
	atomic_init(&v->refs, 1);
	pthread_mutex_init(&v->lock, NULL);
	v->node = *node;
	v->id = *id;
	v->store = r->store;
	v->versions = r->versions;
	v->restamped = atomic_load(&r->n_restamped);
}

/* Takes v into the table, or gives the one that came first. v is the caller's until then. */
static int version_list(struct replica *r, struct version *v, struct version **ret)
{
	struct version_shard *s = shard_of(r->versions, &v->node);
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	struct version *other = find_locked(s, &v->node, &v->id);
	if (!other)
		rc = table_add(&s->table, &v->link, id_hash(&v->id));
	if (!other && rc == 0) {
		atomic_fetch_add(&r->versions->refs, 1);
		v->listed = true;
	}
	pthread_mutex_unlock(&s->lock);
	if (!other && rc == 0) {
		*ret = v;
		return 0;
	}
	version_destroy(v);
	if (!other)
		return -ENOMEM; /* the table's only failure */
	*ret = other;
	return 0;
}

int version_make(struct replica *r, const struct record *rec, struct rendering *known,
		 struct version **ret)
{
	struct id id;
	record_version(rec, r->actors, &id);
	struct version *v = version_find(r, &rec->id, &id);
	if (v) {
		*ret = v;
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	version_init(r, v, &rec->id, &id);
	int rc = fill(r, v, rec, known);
	if (rc == 0)
		rc = vv_copy(&rec->ctx, &v->context);
	if (rc < 0) {
		version_destroy(v);
		return rc;
	}
	return version_list(r, v, ret);
}

/* The bytes of a blob, with a NUL behind them. */
static int load_blob(struct store *store, const struct blob_ref *ref, uint8_t **ret)
{
	_cleanup_(blob_freep) struct blob *b = NULL;
	int rc = blob_open(store, ref, &b);
	if (rc < 0)
		return rc;
	_cleanup_free_ uint8_t *data = malloc((size_t)ref->size + 1);
	if (!data)
		return -ENOMEM;
	ssize_t n = blob_pread(b, data, (size_t)ref->size, 0);
	if (n < 0 || (uint64_t)n < ref->size)
		return n < 0 ? (int)n : -EBADMSG;
	data[ref->size] = 0;
	*ret = TAKE_PTR(data);
	return 0;
}

static int fill_past(struct replica *r, struct version *v, const struct history_version *h)
{
	v->form = (enum form)h->form;
	v->size = h->blob ? h->ref.size : h->len;
	if (v->form == FORM_BLOB) {
		v->ref = h->ref;
		return h->blob ? 0 : -EBADMSG;
	}
	if (h->blob)
		return load_blob(r->store, &h->ref, &v->data);
	v->data = malloc(h->len + 1);
	if (!v->data)
		return -ENOMEM;
	memcpy(v->data, h->data, h->len);
	v->data[h->len] = 0;
	return 0;
}

/* Equal versions are one object, so this may give the one that was made of the record; it shows
 * the same bytes. In the table it is seen by sweeps while somebody holds it. */
int version_past(struct replica *r, const struct id *node, const struct history_version *h,
		 struct version **ret)
{
	struct version *v = version_find(r, node, &h->version);
	if (v) {
		*ret = v;
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	version_init(r, v, node, &h->version);
	int rc = fill_past(r, v, h);
	if (rc == 0)
		rc = vv_copy(&h->context, &v->context);
	if (rc < 0) {
		version_destroy(v);
		return rc;
	}
	return version_list(r, v, ret);
}

int replica_rival_blob(struct replica *r, const struct id *node, const struct blob_ref *ref,
		       struct version **ret)
{
	const struct sha256_part part[] = { { "rival", 5 }, { ref->manifest.b, SHA256_SIZE } };
	struct id id;
	sha256_id(part, 2, &id);
	struct version *v = version_find(r, node, &id);
	if (v) {
		*ret = v;
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	version_init(r, v, node, &id);
	v->form = FORM_BLOB;
	v->ref = *ref;
	v->size = ref->size;
	return version_list(r, v, ret);
}

bool version_same(const struct version *x, const struct version *y)
{
	if (x == y)
		return true;
	if (x->form != y->form || x->size != y->size)
		return false;
	if (x->data && y->data)
		return memcmp(x->data, y->data, (size_t)x->size) == 0;
	return !x->data && !y->data && sha256_cmp(&x->ref.manifest, &y->ref.manifest) == 0;
}

int versions_blobs(struct replica *r, struct buf *b)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct version_shard *s = &r->versions->shard[i];
		struct version *dead = NULL;
		pthread_mutex_lock(&s->lock);
		table_each(&s->table, k, l, next) {
			struct version *v = (struct version *)l;
			unsigned refs = atomic_load(&v->refs);
			if (v->form != FORM_BLOB || refs == 0)
				continue;
			if (refs == 1 && v->newer) {
				ring_out(s, v);
				drop_locked(s, v, &dead);
			} else {
				buf_put(b, &v->ref, sizeof(v->ref));
			}
		}
		pthread_mutex_unlock(&s->lock);
		bury(r->versions, dead);
	}
	return buf_failed(b) ? -ENOMEM : 0;
}

int version_newest(struct replica *r, const struct id *id, struct version **ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored stored;
	int rc = stored_get(r, NULL, &a, id, &stored, NULL);
	return rc < 0 ? rc : version_make(r, stored.record, NULL, ret);
}

static int read_newest(struct replica *r, const struct id *id, struct version **ret)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc < 0)
		return rc;
	if (!(n.flags & NODE_LIVE))
		return -ENOENT;
	if (n.attr.kind != NODE_FILE)
		return n.attr.kind == NODE_DIR ? -EISDIR : -EINVAL;
	struct version *v = version_find(r, id, &n.attr.version);
	if (!v)
		return version_newest(r, id, ret);
	*ret = v;
	return 0;
}

int replica_read(struct replica *r, const struct id *id, struct version **ret)
{
	struct version *v;
	for (;;) {
		unsigned long long sweeps = atomic_load(&r->sweeps);
		int rc = read_newest(r, id, &v);
		if (rc < 0)
			return rc;
		if (sweeps == atomic_load(&r->sweeps))
			break;
		/* A sweep may have looked before v was there to be seen, and after the record that
		 * v was made of had been replaced. */
		version_unref(v);
	}
	version_keep(r, v);
	*ret = v;
	return 0;
}

const struct id *version_node(const struct version *v)
{
	return &v->node;
}

const struct id *version_id(const struct version *v)
{
	return &v->id;
}

const struct vv *version_context(const struct version *v)
{
	return &v->context;
}

enum form version_form(const struct version *v)
{
	return v->form;
}

uint64_t version_size(const struct version *v)
{
	return v->size;
}

const void *version_data(const struct version *v)
{
	return v->form == FORM_JSON || v->form == FORM_TEXT ? v->data : NULL;
}

const struct seq_base *version_anchors(const struct version *v)
{
	return v->anchors;
}

const struct blob_ref *version_blob(const struct version *v)
{
	return v->form == FORM_BLOB ? &v->ref : NULL;
}

static int open_blob(struct version *v)
{
	int rc = 0;
	pthread_mutex_lock(&v->lock);
	if (!v->blob)
		rc = blob_open(v->store, &v->ref, &v->blob);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

ssize_t version_pread(struct version *v, void *data, size_t len, uint64_t offset)
{
	if (offset >= v->size)
		return 0;
	if (v->data) {
		if (len > v->size - offset)
			len = (size_t)(v->size - offset);
		memcpy(data, v->data + offset, len);
		return (ssize_t)len;
	}
	if (v->form != FORM_BLOB)
		return 0;
	int rc = open_blob(v);
	return rc < 0 ? rc : blob_pread(v->blob, data, len, offset);
}

const struct elements *version_elements(const struct version *v)
{
	return v->elements;
}

void version_set_written(struct version *v, struct elements *take)
{
	elements_free(v->written);
	v->written = take;
}

int version_next(struct version *v, uint64_t offset, bool hole, uint64_t *ret)
{
	if (v->form != FORM_BLOB || v->size == 0) {
		*ret = hole || offset > v->size ? v->size : offset;
		return 0;
	}
	int rc = open_blob(v);
	return rc < 0 ? rc : blob_next(v->blob, offset, hole, ret);
}

static ssize_t source_read(void *userdata, void *data, size_t len, uint64_t offset)
{
	return version_pread(userdata, data, len, offset);
}

static int source_data(void *userdata, uint64_t offset, uint64_t *ret)
{
	return version_next(userdata, offset, false, ret);
}

static uint64_t source_changed(void *userdata, uint64_t offset)
{
	(void)userdata;
	(void)offset;
	return UINT64_MAX;
}

void version_content(struct version *v, struct blob_source *room, struct content *ret)
{
	*ret = (struct content){ version_data(v), (size_t)v->size, -1 };
	if (ret->data || v->size == 0)
		return;
	*room = (struct blob_source){ .read = source_read, .size = v->size, .data = source_data,
				      .base = &v->ref, .changed = source_changed, .userdata = v };
	ret->data = room;
	ret->fd = CONTENT_SOURCE;
}

int version_stored(struct version *v, uint64_t *ret)
{
	*ret = v->size;
	return v->form == FORM_BLOB ? blob_stored(v->store, &v->ref, ret) : 0;
}

/* ---- versions that no record stands for ---- */

/* Not in the table: it would be taken for the record's own. */
static int version_free_standing(struct replica *r, const struct id *node, const struct id *id,
				 const struct vv *context, const void *data, size_t len,
				 struct seq_base *anchors_take, struct elements *elements_take,
				 struct version **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *anchors = anchors_take;
	_cleanup_(elements_freep) struct elements *elements = elements_take;
	struct version *v = calloc(1, sizeof(*v));
	uint8_t *copy = malloc(len + 1);
	if (!v || !copy) {
		free(v);
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, data, len);
	version_init(r, v, node, id);
	v->form = anchors ? FORM_TEXT : FORM_JSON;
	v->anchors = TAKE_PTR(anchors);
	v->elements = TAKE_PTR(elements);
	v->data = copy;
	v->size = len;
	if (vv_copy(context, &v->context) < 0) {
		version_destroy(v);
		return -ENOMEM;
	}
	atomic_fetch_add(&r->versions->refs, 1);
	*ret = v;
	return 0;
}

/* Shows what v does and knows what the context covers. data NULL: a blob. */
static int version_like(struct replica *r, const struct version *v, const struct vv *context,
			struct seq_base *anchors_take, struct elements *elements_take,
			struct version **ret)
{
	struct id id;
	vv_fingerprint(context, r->actors, &id);
	if (v->data)
		return version_free_standing(r, &v->node, &id, context, v->data, (size_t)v->size,
					     anchors_take, elements_take, ret);
	struct version *like = calloc(1, sizeof(*like));
	if (!like)
		return -ENOMEM;
	version_init(r, like, &v->node, &id);
	like->form = v->form;
	like->size = v->size;
	like->ref = v->ref;
	if (vv_copy(context, &like->context) < 0) {
		version_destroy(like);
		return -ENOMEM;
	}
	atomic_fetch_add(&r->versions->refs, 1);
	*ret = like;
	return 0;
}

static int renamed(struct elements **e, const struct restamp *rs)
{
	_cleanup_(elements_freep) struct elements *old = TAKE_PTR(*e);
	return elements_restamp(old, rs, e);
}

bool version_names_hold(struct replica *r, const struct version *v)
{
	return v->restamped == atomic_load(&r->n_restamped);
}

int version_restamped(struct replica *r, const struct version *v, struct version **ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(elements_freep) struct elements *elements = NULL;
	_cleanup_(seq_base_freep) struct seq_base *anchors = NULL;
	struct vv context = v->context;
	uint32_t n = atomic_load(&r->n_restamped);
	int rc = 0;
	if (v->restamped == n) {
		*ret = NULL;
		return 0;
	}
	elements = elements_ref(v->elements);
	for (uint32_t i = v->restamped; rc == 0 && i < n; i++) {
		_cleanup_(seq_base_freep) struct seq_base *old = TAKE_PTR(anchors);
		const struct seq_base *from = old ? old : v->anchors;
		rc = vv_restamp(&a, &context, &r->restamped[i], &context);
		if (rc == 0 && from)
			rc = seq_base_restamp(from, &r->restamped[i], &anchors);
		if (rc == 0 && elements)
			rc = renamed(&elements, &r->restamped[i]);
	}
	return rc < 0 ? rc : version_like(r, v, &context, TAKE_PTR(anchors), TAKE_PTR(elements), ret);
}

/* What a writer knows of a text that it wrote with a base of its own: its elements, not those that
 * others put in meanwhile. */
static int anchors_written(const struct version *base, const void *data, size_t len, struct dot dot,
			   struct seq_base **ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(seq_base_freep) struct seq_base *nothing = NULL;
	const struct seq_base *from = base ? base->anchors : NULL;
	struct seq_edit *edit;
	size_t n;
	int rc = textedit_make(&a, from ? base->data : (const void *)"",
				from ? (size_t)base->size : 0, data, len, &edit, &n);
	if (rc == 0 && !from) {
		rc = seq_base_new(&nothing);
		from = nothing;
	}
	return rc < 0 ? rc : seq_base_edit(from, edit, n, dot, ret);
}

/* Both under today's names; *ret NULL: as it is. */
static int written_now(struct replica *r, const struct version *base, const struct version *saved,
		       struct version **ret_base, struct version **ret_saved, uint32_t *ret_self)
{
	pthread_mutex_lock(&r->commit);
	int rc = base ? version_restamped(r, base, ret_base) : 0;
	if (rc == 0)
		rc = version_restamped(r, saved, ret_saved);
	*ret_self = r->self;
	pthread_mutex_unlock(&r->commit);
	return rc;
}

int version_written(struct replica *r, const struct version *base, struct version *saved,
		    const void *data, size_t len, struct version **ret)
{
	_cleanup_(version_unrefp) struct version *base_now = NULL;
	_cleanup_(version_unrefp) struct version *saved_now = NULL;
	_cleanup_(vv_done) struct vv context = { 0 };
	struct seq_base *anchors = NULL;
	struct id id;
	uint32_t self;
	if (!saved->data || (saved->size == len && memcmp(saved->data, data, len) == 0)) {
		*ret = version_ref(saved);
		return 0;
	}
	int rc = written_now(r, base, saved, &base_now, &saved_now, &self);
	if (base_now)
		base = base_now;
	if (rc == 0 && base)
		rc = vv_copy(&base->context, &context);
	uint64_t seq = vv_get(saved_now ? &saved_now->context : &saved->context, self);
	if (rc == 0 && seq)
		rc = vv_raise(&context, self, seq);
	if (rc == 0 && saved->form == FORM_TEXT)
		rc = anchors_written(base, data, len, (struct dot){ self, seq }, &anchors);
	if (rc < 0)
		return rc;
	vv_fingerprint(&context, r->actors, &id);
	_cleanup_(elements_freep) struct elements *elements = elements_ref(saved->written);
	for (uint32_t i = saved->restamped; rc == 0 && elements && i < atomic_load(&r->n_restamped); i++)
		rc = renamed(&elements, &r->restamped[i]);
	if (rc < 0) {
		seq_base_free(anchors);
		return rc;
	}
	return version_free_standing(r, &saved->node, &id, &context, data, len, anchors,
				     TAKE_PTR(elements), ret);
}

enum { MORE_ANCHORS = 1, MORE_ELEMENTS = 2 };

/* u8 format (2), node id, version id, varint restamps before it, context (vv_encode with local numbers),
 * bytes text; of a text also u8 1 and its base (engine/seqcodec.c), of a document with lists u8 2 and
 * their elements (engine/elements.c). */
int version_encode(struct replica *r, const struct version *v, struct buf *b)
{
	if (!v->data)
		return -EINVAL;
	buf_u8(b, 2);
	buf_put(b, v->node.b, ID_SIZE);
	buf_put(b, v->id.b, ID_SIZE);
	buf_varint(b, v->restamped);
	vv_encode(&v->context, r->actors, NULL, b);
	buf_bytes(b, v->data, (size_t)v->size);
	if (v->anchors) {
		buf_u8(b, MORE_ANCHORS);
		seq_base_encode(v->anchors, NULL, b);
	} else if (v->elements) {
		buf_u8(b, MORE_ELEMENTS);
		elements_encode(v->elements, b);
	}
	return buf_failed(b) ? -ENOMEM : 0;
}

int version_decode(struct replica *r, const void *data, size_t len, struct version **ret)
{
	struct cursor c = cursor_make(data, len);
	struct id node, id;
	struct vv context = { 0 };
	if (cursor_u8(&c) != 2)
		return -EBADMSG;
	const uint8_t *ids = cursor_take(&c, 2 * ID_SIZE);
	uint32_t restamped = (uint32_t)cursor_varint_max(&c, atomic_load(&r->n_restamped));
	int rc = ids ? vv_decode(&c, r->actors, NULL, &context) : -EBADMSG;
	size_t n;
	const uint8_t *text = cursor_bytes(&c, TEXT_SIZE_MAX, &n);
	struct seq_base *anchors = NULL;
	struct elements *elements = NULL;
	uint8_t more = rc == 0 && cursor_left(&c) > 0 ? cursor_u8(&c) : 0;
	if (more == MORE_ANCHORS)
		rc = seq_base_decode(&c, r->actors, NULL, &anchors, NULL);
	else if (more == MORE_ELEMENTS)
		rc = elements_decode(&c, r->actors, &elements);
	if (rc == 0 && (!cursor_end(&c) || (anchors && seq_base_length(anchors) != n)))
		rc = -EBADMSG;
	if (rc == 0) {
		memcpy(node.b, ids, ID_SIZE);
		memcpy(id.b, ids + ID_SIZE, ID_SIZE);
		rc = version_free_standing(r, &node, &id, &context, text, n, TAKE_PTR(anchors),
					   TAKE_PTR(elements), ret);
	}
	if (rc == 0)
		(*ret)->restamped = restamped;
	seq_base_free(anchors);
	elements_free(elements);
	vv_done(&context);
	return rc;
}
