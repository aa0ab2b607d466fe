/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Versions of contents. Equal versions of a node are one object while anybody holds it; the newest
 * ones are held a little longer, so that a read after a save renders nothing. */

#include "engine/replica-version.h"

#include <assert.h>
#include <errno.h>

#include "engine/history.h"
#include "engine/render.h"
#include "engine/text.h"
#include "engine/textedit.h"

#define SHARDS 16
#define SHARD_BYTES (4u * 1024 * 1024) /* kept in each shard */
#define VERSION_COST 256               /* of an entry beside its bytes */

struct version_shard {
	pthread_mutex_t lock;
	struct table table;
	struct version ring; /* newer: oldest, older: newest */
	size_t bytes;
};

struct versions {
	atomic_uint refs; /* versions may outlive the replica */
	struct replica *replica;
	struct version_shard shard[SHARDS];
};

int versions_init(struct replica *r)
{
	struct versions *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	atomic_init(&v->refs, 1);
	v->replica = r;
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

struct replica *versions_replica(const struct versions *v)
{
	return v->replica;
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

void version_empty(struct version *v)
{
	seq_base_free(v->anchors);
	elements_free(v->elements);
	free(v->data);
}

void version_destroy(struct version *v)
{
	vv_done(&v->context);
	blob_free(v->blob);
	version_empty(v);
	elements_free(v->written);
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
		assert(s->bytes == 0); /* a version on the ring does not change */
	}
	all->replica = NULL;
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

int version_fill(struct replica *r, struct version *v, const struct record *rec,
		 struct rendering *known)
{
	struct value shown;
	if (!content_shown(r, rec, &shown) || shown.kind == VALUE_LINK || shown.kind == VALUE_NODE ||
	    rec->kind != NODE_FILE) {
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
	const struct slot *source = slot_find(rec->top, TOP_SOURCE, strlen(TOP_SOURCE));
	v->styled = !source || source->val.n == 0;
	struct rendering own = { 0 }, *x = known && known->data ? known : &own;
	int rc = x == &own ? render(r, rec, &own) : 0;
	v->form = FORM_JSON;
	v->data = TAKE_PTR(x->data);
	v->elements = TAKE_PTR(x->elements);
	v->size = x->len;
	return rc;
}

void version_init(struct replica *r, struct version *v, const struct id *node,
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

void version_counted(const struct version *v)
{
	atomic_fetch_add(&v->versions->refs, 1);
}

int version_list(struct replica *r, struct version *v, const unsigned long long *writes,
		 struct version **ret)
{
	struct version_shard *s = shard_of(r->versions, &v->node);
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	struct version *other = find_locked(s, &v->node, &v->id);
	const bool late = !other && writes && atomic_load(&r->writes) != *writes;
	if (!other && !late)
		rc = table_add(&s->table, &v->link, id_hash(&v->id));
	if (!other && !late && rc == 0) {
		version_counted(v);
		v->listed = true;
		other = TAKE_PTR(v);
	}
	pthread_mutex_unlock(&s->lock);
	if (v)
		version_destroy(v);
	if (rc == 0)
		*ret = other;
	return rc;
}

static int make_new(struct replica *r, const struct record *rec, const struct id *id,
		    struct rendering *known, struct version **ret)
{
	struct version *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	version_init(r, v, &rec->id, id);
	int rc = version_fill(r, v, rec, known);
	if (rc == 0)
		rc = vv_copy(&rec->ctx, &v->context);
	if (rc == 0)
		return version_list(r, v, NULL, ret);
	version_destroy(v);
	return rc;
}

int version_make(struct replica *r, const struct record *rec, struct rendering *known,
		 struct version **ret)
{
	struct id id;
	record_version(rec, r->actors, &id);
	_cleanup_(version_unrefp) struct version *v = version_find(r, &rec->id, &id);
	int rc = v ? 0 : make_new(r, rec, &id, known, &v);
	/* Whoever was first with it may owe its bytes still. */
	if (rc == 0)
		rc = version_load_from(r, v, rec);
	if (rc == 0)
		*ret = TAKE_PTR(v);
	return rc;
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
	return version_list(r, v, NULL, ret);
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
	return version_list(r, v, NULL, ret);
}

bool version_styled(const struct version *v)
{
	return version_whole(v) && v->styled;
}

bool version_same(const struct version *x, const struct version *y)
{
	if (x == y)
		return true;
	if (!version_whole(x) || !version_whole(y) || x->form != y->form || x->size != y->size)
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

int node_get_file(struct replica *r, const struct id *id, struct node *ret)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc < 0)
		return rc;
	if (!(n.flags & NODE_LIVE))
		return -ENOENT;
	if (n.attr.kind != NODE_FILE)
		return n.attr.kind == NODE_DIR ? -EISDIR : -EINVAL;
	*ret = n;
	return 0;
}

static int read_newest(struct replica *r, const struct id *id, struct version **ret)
{
	struct node n;
	int rc = node_get_file(r, id, &n);
	if (rc < 0)
		return rc;
	_cleanup_(version_unrefp) struct version *v = version_find(r, id, &n.attr.version);
	if (!v)
		return version_newest(r, id, ret);
	rc = version_load(v);
	if (rc == 0)
		*ret = TAKE_PTR(v);
	return rc;
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
	(void)version_whole(v);
	return &v->context;
}

enum form version_form(const struct version *v)
{
	return v->form;
}

bool version_is_bytes(const struct version *v)
{
	return v->form == FORM_JSON || v->form == FORM_TEXT;
}

uint64_t version_size(const struct version *v)
{
	return v->size;
}

const void *version_data(const struct version *v)
{
	return version_is_bytes(v) && version_whole(v) ? v->data : NULL;
}

const struct seq_base *version_anchors(const struct version *v)
{
	return version_whole(v) ? v->anchors : NULL;
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
	int rc = version_load(v);
	if (rc < 0 || offset >= v->size)
		return rc;
	if (v->data) {
		if (len > v->size - offset)
			len = (size_t)(v->size - offset);
		memcpy(data, v->data + offset, len);
		return (ssize_t)len;
	}
	if (v->form != FORM_BLOB)
		return 0;
	rc = open_blob(v);
	return rc < 0 ? rc : blob_pread(v->blob, data, len, offset);
}

void version_expect(struct version *v, size_t len, uint64_t offset)
{
	if (v->form == FORM_BLOB && offset < v->size && open_blob(v) == 0)
		blob_expect(v->blob, len, offset);
}

const struct elements *version_elements(const struct version *v)
{
	return version_whole(v) ? v->elements : NULL;
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
