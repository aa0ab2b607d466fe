/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the store against itself: everything that is derived is derived again, from all records
 * at once, and compared. So it also checks the code that derives step by step. */

#include "engine/replica-verify.h"

#include <errno.h>
#include <stdarg.h>

#include "engine/edge.h"
#include "engine/history.h"
#include "engine/purged.h"
#include "engine/replica-index.h"

/* A file that is in INODES if a link to it is alive. */
struct filed {
	uint32_t node; /* its place before they are sorted */
	struct id id, scope;
	struct edge edge[EDGES_MAX];
	uint32_t n_edges;
};

struct want {
	struct id parent;
	const char *name;
	size_t len;
	struct claim claim;
};

void verify_problem(struct verify *v, bool fixed, const char *fmt, ...)
{
	char text[300];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->report->errors++;
	if (fixed && v->fix)
		v->report->repaired++;
	if (v->f)
		v->f(text, v->userdata);
}

int verify_each(struct verify *v, enum store_family family, verify_entry_fn f)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = store_iter_new(v->r->store, v->snap, family, NULL, 0, NULL, 0, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		rc = f(v, key, key_len, value, len);
	}
	return rc < 0 ? rc : store_iter_error(it);
}

/* ---- records and the tree ---- */

/* What tree_node_linked needs when all records have been read. */
static int note_links(struct verify *v, const struct record *rec)
{
	struct link_truth p = { .link = rec->id, .scope = rec->scope };
	struct filed f = { v->n, rec->id, rec->scope, { { .counter = 0 } }, rec->n_edges };
	bool filed = false;
	link_target(v->r, rec, &p.target);
	if (!id_is_zero(&p.target) && record_alive(rec))
		buf_put(&v->links, &p, sizeof(p));
	for (uint32_t i = 0; i < rec->n_edges; i++) {
		f.edge[i] = rec->edge[i];
		f.edge[i].seen = (struct vv){ 0 };
		f.edge[i].name = arena_dup(&v->names, rec->edge[i].name, rec->edge[i].name_len);
		filed |= edge_is_inodes(&rec->edge[i]);
	}
	if (filed && rec->kind != NODE_DIR && id_is_zero(&p.target) && !record_is_purged(rec))
		buf_put(&v->filed, &f, sizeof(f));
	return buf_failed(&v->filed) || buf_failed(&v->links) ? -ENOMEM : 0;
}

static int link_cmp(const void *x, const void *y)
{
	const struct link_truth *a = x, *b = y;
	int c = id_cmp(&a->target, &b->target);
	if (c == 0)
		c = id_cmp(&a->scope, &b->scope);
	return c ? c : id_cmp(&a->link, &b->link);
}

static int target_cmp(const void *x, const void *y)
{
	return id_cmp(&((const struct link_truth *)x)->target, &((const struct link_truth *)y)->target);
}

static bool is_linked(const struct link_truth *link, size_t n, const struct filed *f)
{
	const struct link_truth key = { .target = f->id };
	const struct link_truth *x = bsearch(&key, link, n, sizeof(*x), target_cmp);
	if (!x)
		return false;
	while (x > link && id_equal(&x[-1].target, &f->id))
		x--;
	for (; x < link + n && id_equal(&x->target, &f->id); x++)
		if (id_equal(&x->scope, &f->scope))
			return true;
	return false;
}

static void set_linked(struct verify *v)
{
	struct link_truth *link = (void *)v->links.data;
	const struct filed *f = (const void *)v->filed.data;
	size_t n = v->filed.len / sizeof(*f), m = v->links.len / sizeof(*link);
	if (m)
		qsort(link, m, sizeof(*link), link_cmp);
	for (size_t i = 0; m && i < n; i++)
		if (is_linked(link, m, &f[i]))
			tree_node_linked(&v->node[f[i].node], f[i].edge, f[i].n_edges);
}

static int add_node(struct verify *v, const struct record *rec)
{
	if (v->n == v->cap) {
		uint32_t cap = v->cap ? 2 * v->cap : 1024;
		struct tree_node *bigger = realloc(v->node, cap * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		v->node = bigger;
		v->cap = cap;
	}
	struct tree_node *n = &v->node[v->n];
	tree_node_of(n, rec, false);
	int rc = note_links(v, rec);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < n->n; i++) {
		n->edge[i].name = arena_dup(&v->names, n->edge[i].name, n->edge[i].name_len);
		n->edge[i].seen = (struct vv){ 0 };
		if (!n->edge[i].name)
			return -ENOMEM;
	}
	buf_put(&v->visits, rec->visit, rec->n_visits * sizeof(*rec->visit));
	v->n++;
	return buf_failed(&v->visits) ? -ENOMEM : 0;
}

static bool dot_there(struct verify *v, const struct record *rec, struct dot d, struct buf *key)
{
	buf_reset(key);
	buf_put(key, rec->scope.b, ID_SIZE);
	buf_u32(key, d.actor);
	buf_u64(key, d.seq);
	buf_put(key, rec->id.b, ID_SIZE);
	return store_has(v->r->store, v->snap, STORE_DOTS, key->data, key->len);
}

/* A purged record has nothing that could be derived of, so it is written as it should be. */
static int check_purged(struct verify *v, struct stored *s)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	char hex[ID_HEX];
	if (record_is_bare(s->record))
		return 0;
	verify_problem(v, true, "node %s is purged, but holds something", id_hex(&s->record->id, hex));
	purge_encode(v->r, s, &b);
	if (v->fix && !buf_failed(&b))
		store_put(v->fix, STORE_DOCS, s->record->id.b, ID_SIZE, b.data, b.len);
	return buf_failed(&b) ? -ENOMEM : 0;
}

static int check_record(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
			size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf dot = { 0 };
	struct stored s;
	struct err e = { 0 };
	char hex[ID_HEX];
	v->report->records++;
	int rc = stored_decode(v->r, v->snap, &a, value, len, &s, &e);
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0 || key_len != ID_SIZE || memcmp(s.record->id.b, key, ID_SIZE) != 0) {
		v->unreadable = true;
		verify_problem(v, false, "a record cannot be read: %s", rc < 0 ? e.message : "wrong key");
		return 0;
	}
	rc = check_purged(v, &s);
	if (rc < 0)
		return rc;
	const struct vv *ctx = &s.record->ctx;
	for (uint32_t i = 0; i < ctx->n + s.n_extra; i++) {
		struct dot d = i < ctx->n ? (struct dot){ ctx->item[i].actor, ctx->item[i].seq } :
					    s.extra[i - ctx->n];
		v->dots++;
		if (dot_there(v, s.record, d, &dot))
			continue;
		if (v->fix)
			store_put(v->fix, STORE_DOTS, dot.data, dot.len, "", 0);
		verify_problem(v, true, "node %s is missing in the index of changes",
			id_hex(&s.record->id, hex));
	}
	return add_node(v, s.record);
}

static struct tree_node *find_node(const struct verify *v, const struct id *id)
{
	uint32_t low = 0, high = v->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = id_cmp(&v->node[middle].id, id);
		if (c == 0)
			return &v->node[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void check_loose(struct verify *v)
{
	char hex[ID_HEX];
	for (uint32_t i = 0; i < v->n; i++) {
		const struct tree_node *n = &v->node[i];
		bool has = loose_has(v->r, &n->id);
		if (has == (n->loose && n->alive) || (has && n->loose))
			continue;
		uint8_t key[1 + ID_SIZE] = { META_LOOSE };
		memcpy(key + 1, n->id.b, ID_SIZE);
		if (v->fix && has)
			store_delete(v->fix, STORE_META, key, sizeof(key));
		else if (v->fix)
			store_put(v->fix, STORE_META, key, sizeof(key), "", 0);
		verify_problem(v, true, "node %s is wrongly %s", id_hex(&n->id, hex),
			has ? "taken for loose" : "taken for rooted");
	}
}

/* ---- directory entries ---- */

static int want_cmp(const void *x, const void *y)
{
	const struct want *a = x, *b = y;
	int c = id_cmp(&a->parent, &b->parent);
	if (c == 0)
		c = memcmp(a->name, b->name, a->len < b->len ? a->len : b->len);
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int wants(struct verify *v)
{
	static const char lost[] = "lost+found";
	v->want = calloc(v->n + 1, sizeof(*v->want));
	if (!v->want)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->n; i++) {
		struct node n = { 0 };
		const struct tree_node *t = &v->node[i];
		if (!t->live)
			continue;
		node_place(&n, t, &v->names);
		if (id_equal(&n.parent, &NODE_INODES))
			continue;
		v->lost |= id_equal(&n.parent, &NODE_LOST);
		v->want[v->n_want++] = (struct want){ n.parent, n.name, n.name_len,
						      { t->id, t->kind, n.counter, n.actor } };
	}
	if (v->lost)
		v->want[v->n_want++] = (struct want){ NODE_ROOT, lost, sizeof(lost) - 1,
						      { NODE_LOST, NODE_DIR, 0, ACTOR_NONE } };
	return 0;
}

/* Walks what is there and what should be side by side. */
static int check_dirents(struct verify *v)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	int rc = store_iter_new(v->r->store, v->snap, STORE_DIRENTS, NULL, 0, NULL, 0, &it);
	if (v->n_want)
		qsort(v->want, v->n_want, sizeof(*v->want), want_cmp);
	for (uint32_t i = 0; rc == 0 && (i < v->n_want || store_iter_valid(it));) {
		_cleanup_(arena_done) struct arena a = { 0 };
		_cleanup_(buf_done) struct buf key = { 0 };
		_cleanup_(buf_done) struct buf want = { 0 };
		struct claims claims = { 0 };
		size_t key_len = 0, len = 0;
		const uint8_t *there = store_iter_valid(it) ? store_iter_key(it, &key_len) : NULL;
		uint32_t first = i;
		int c = there ? 1 : -1;
		if (i < v->n_want) {
			dirent_key(&key, &v->want[i].parent, v->want[i].name, v->want[i].len);
			if (buf_failed(&key))
				return -ENOMEM;
			if (there) {
				c = memcmp(key.data, there, key.len < key_len ? key.len : key_len);
				if (c == 0)
					c = (key.len > key_len) - (key.len < key_len);
			}
		}
		if (c <= 0) {
			for (; i < v->n_want && want_cmp(&v->want[i], &v->want[first]) == 0; i++) {
				rc = claims_put(&a, v->r->actors, &claims, &v->want[i].claim);
				if (rc < 0)
					return rc;
			}
			claims_encode(&claims, &want);
			if (buf_failed(&want))
				return -ENOMEM;
		}
		const uint8_t *value = there && c >= 0 ? store_iter_value(it, &len) : NULL;
		if (there && c >= 0)
			v->report->dirents++;
		if (c > 0 && v->fix)
			store_delete(v->fix, STORE_DIRENTS, there, key_len);
		if (c > 0)
			verify_problem(v, true, "a directory entry %.*s that nothing claims",
				(int)(key_len > ID_SIZE ? key_len - ID_SIZE : 0),
				(const char *)there + ID_SIZE);
		if (c < 0 || (c == 0 && (len != want.len || memcmp(value, want.data, len) != 0))) {
			if (v->fix)
				store_put(v->fix, STORE_DIRENTS, key.data, key.len, want.data,
					  want.len);
			verify_problem(v, true, "the directory entry %.*s is %s", (int)v->want[first].len,
				v->want[first].name, c < 0 ? "missing" : "wrong");
		}
		if (there && c >= 0)
			store_iter_next(it);
	}
	return rc < 0 ? rc : store_iter_error(it);
}

/* ---- attributes ---- */

static const char *attr_difference(const struct node *x, const struct node *y)
{
	const struct attr *a = &x->attr, *b = &y->attr;
	if (x->flags != y->flags)
		return "liveness";
	if (a->kind != b->kind || a->form != b->form || !id_equal(&a->scope, &b->scope))
		return "kind";
	if (!id_equal(&x->parent, &y->parent) || x->name_len != y->name_len ||
	    memcmp(x->name, y->name, x->name_len) != 0 || x->counter != y->counter ||
	    x->actor != y->actor)
		return "place";
	if (!id_equal(&a->version, &b->version) || !id_equal(&a->target, &b->target))
		return "version";
	if (a->mode != b->mode)
		return "mode";
	if (a->linked != b->linked)
		return "hard links";
	if (a->absent != b->absent)
		return "where its contents are";
	if (a->size != b->size || (!a->absent && a->stored != b->stored))
		return "size";
	if (a->mtime_ns != b->mtime_ns || x->visit_us != y->visit_us)
		return "time";
	if (a->conflict != b->conflict || a->author != b->author)
		return "author or conflicts";
	return NULL;
}

static int check_blob(struct verify *v, const struct version *version, const char *name)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct sha256 *missing;
	uint32_t n;
	if (!version || !version_blob(version))
		return 0;
	int rc = blob_missing(v->r->store, &a, version_blob(version), &missing, &n);
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0 || n > 0)
		verify_problem(v, false, "bytes of %s are missing or damaged", name);
	return 0;
}

static int check_attr(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
		      size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf stored = { 0 };
	_cleanup_(version_unrefp) struct version *version = NULL;
	struct stored s;
	struct node want = { 0 }, have = { 0 };
	struct id id;
	char hex[ID_HEX];
	if (key_len != ID_SIZE || stored_decode(v->r, v->snap, &a, value, len, &s, NULL) < 0)
		return 0; /* told already */
	memcpy(id.b, key, ID_SIZE);
	const struct tree_node *t = find_node(v, &id);
	if (!t)
		return 0;
	int rc = store_get(v->r->store, v->snap, STORE_ATTRS, key, key_len, &stored);
	bool there = rc == 0 && node_decode(stored.data, stored.len, &have) == 0;
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (!there)
		have = (struct node){ 0 };
	want.attr.ctime_ns = have.attr.ctime_ns;
	want.cut = have.cut;
	want.attr.linked = t->linked;
	want.attr.absent = absents_at(v->r->store, v->snap, &id) != ABSENT_NOT;
	want.flags = t->live ? NODE_LIVE : 0;
	bool keep = t->live || !t->leaf;
	rc = node_derive(v->r, s.record, keep, &want, NULL, &version);
	if (rc == -ENOMEM)
		return rc;
	/* Visits that were dropped since may have been later. */
	uint64_t visit = v->visit[t - v->node];
	if (have.cut || visit < have.visit_us)
		visit = have.visit_us;
	node_visit(&want, visit, visit);
	if (rc < 0)
		verify_problem(v, false, "the content of node %s cannot be read", id_hex(&id, hex));
	if (t->live && !want.attr.absent)
		rc = check_blob(v, version, id_hex(&id, hex));
	if (rc == -ENOMEM)
		return rc;
	node_place(&want, t, &v->names);
	const char *what = !keep ? (there ? "not to be there" : NULL) :
			   !there ? "missing" : attr_difference(&want, &have);
	if (!what)
		return 0;
	if (v->fix && keep) {
		_cleanup_(buf_done) struct buf b = { 0 };
		if (want.attr.absent && want.attr.size == have.attr.size)
			want.attr.stored = have.attr.stored;
		node_encode(&want, &b);
		if (buf_failed(&b))
			return -ENOMEM;
		store_put(v->fix, STORE_ATTRS, key, key_len, b.data, b.len);
	} else if (v->fix) {
		store_delete(v->fix, STORE_ATTRS, key, key_len);
	}
	verify_problem(v, true, "attributes of node %s: %s", id_hex(&id, hex), what);
	return 0;
}

static int check_attr_orphan(struct verify *v, const uint8_t *key, size_t key_len,
			     const uint8_t *value, size_t len)
{
	struct id id;
	struct node n;
	v->report->attrs++;
	if (key_len == ID_SIZE) {
		memcpy(id.b, key, ID_SIZE);
		if (id_equal(&id, &NODE_LOST) && node_decode(value, len, &n) == 0 &&
		    !!(n.flags & NODE_LIVE) != v->lost)
			verify_problem(v, false, "lost+found is wrongly %s", v->lost ? "hidden" : "shown");
		if (id_equal(&id, &NODE_LOST) || id_equal(&id, &NODE_ROOT) || find_node(v, &id))
			return 0;
	}
	if (v->fix)
		store_delete(v->fix, STORE_ATTRS, key, key_len);
	verify_problem(v, true, "attributes of a node that is not there");
	return 0;
}

/* ---- the rest ---- */

static int check_dot_orphan(struct verify *v, const uint8_t *key, size_t key_len,
			    const uint8_t *value, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct cursor c = cursor_make(key, key_len);
	struct stored s;
	struct id id;
	(void)value;
	(void)len;
	const uint8_t *scope = cursor_take(&c, ID_SIZE);
	struct dot d = { .actor = cursor_u32(&c) };
	d.seq = cursor_u64(&c);
	const uint8_t *node = cursor_take(&c, ID_SIZE);
	bool known = false;
	if (cursor_end(&c)) {
		memcpy(id.b, node, ID_SIZE);
		int rc = stored_get(v->r, v->snap, &a, &id, &s, NULL);
		if (rc == -ENOMEM)
			return rc;
		known = rc == 0 && !memcmp(s.record->scope.b, scope, ID_SIZE);
		if (known && vv_get(&s.record->ctx, d.actor) != d.seq) {
			known = false;
			for (uint32_t i = 0; i < s.n_extra; i++)
				known |= s.extra[i].actor == d.actor && s.extra[i].seq == d.seq;
		}
	}
	if (known)
		return 0;
	if (v->fix)
		store_delete(v->fix, STORE_DOTS, key, key_len);
	verify_problem(v, true, "the index of changes names one that no record has");
	return 0;
}

static int count_dot(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
		     size_t len)
{
	(void)key;
	(void)key_len;
	(void)value;
	(void)len;
	v->report->dots++;
	return 0;
}

static int check_conflicts(struct verify *v)
{
	uint64_t n = 0;
	int rc = conflicts_check(v->r, v->snap, v->fix, &n);
	if (rc == 0 && n > 0)
		verify_problem(v, true, "the list of conflicts is wrong in %llu places",
			(unsigned long long)n);
	return rc;
}

static int check_links(struct verify *v)
{
	uint64_t n = 0;
	int rc = links_check(v->r, v->snap, (const void *)v->links.data,
			     v->links.len / sizeof(struct link_truth), v->fix, &n);
	if (rc == 0 && n > 0)
		verify_problem(v, true, "the list of hard links is wrong in %llu places",
			(unsigned long long)n);
	return rc;
}

static int check_batches(struct verify *v)
{
	uint64_t wrong = 0, damaged = 0;
	int rc = batches_check(v->r, v->snap, v->fix, &wrong, &damaged);
	if (rc == 0 && wrong > 0)
		verify_problem(v, true, "the index of changes that belong together is wrong in %llu places",
			(unsigned long long)wrong);
	if (rc == 0 && damaged > 0)
		verify_problem(v, false, "%llu lists of changes that belong together are damaged",
			(unsigned long long)damaged);
	return rc;
}

/* ---- history ---- */

static int check_past(struct verify *v, const struct id *node, const uint8_t *value, size_t len,
		      struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct history_version h;
	struct sha256 *missing;
	uint32_t n = 0;
	int rc = history_version_decode(&a, v->r->actors, value, len, &h, e);
	if (rc == 0 && h.blob) {
		rc = blob_missing(v->r->store, &a, &h.ref, &missing, &n);
		if (rc < 0 && rc != -ENOMEM)
			return err_set(e, -EBADMSG, "the list of its bytes is damaged");
	}
	/* It may be one that showed while its bytes were elsewhere. */
	if (rc == 0 && n > 0 && absents_byte(v->r->absents, node))
		return 0;
	return rc == 0 && n > 0 ? err_set(e, -EBADMSG, "its bytes are missing") : rc;
}

/* A version that cannot be read any more is worth nothing, and would stop every sweep. */
static int check_history(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
			 size_t len)
{
	struct history_deletion d;
	struct err e = { 0 };
	struct id node = { { 0 } };
	uint64_t stamp;
	char hex[ID_HEX];
	v->report->versions++;
	int rc = history_key_decode(key, key_len, &node, &stamp);
	if (rc < 0)
		err_set(&e, rc, "wrong key");
	else if (id_equal(&node, &NODE_TRASH))
		rc = history_deletion_decode(v->r->actors, value, len, &d, &e);
	else
		rc = check_past(v, &node, value, len, &e);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	bool drop = rc == -EBADMSG;
	if (drop && v->fix)
		store_delete(v->fix, STORE_HISTORY, key, key_len);
	verify_problem(v, drop, "an earlier version of node %s cannot be read: %s", id_hex(&node, hex),
		e.message);
	return 0;
}

static int visits(struct verify *v)
{
	v->visit = calloc(v->n ? v->n : 1, sizeof(*v->visit));
	if (!v->visit)
		return -ENOMEM;
	const struct visit *visit = (const void *)v->visits.data;
	for (size_t i = 0; i < v->visits.len / sizeof(*visit); i++) {
		const struct tree_node *dir = find_node(v, &visit[i].parent);
		uint64_t *at = dir && !dir->leaf ? &v->visit[dir - v->node] : NULL;
		if (at && visit[i].us > *at)
			*at = visit[i].us;
	}
	return 0;
}

static int check_all(struct verify *v)
{
	int rc = verify_each(v, STORE_DOCS, check_record);
	if (rc == 0)
		set_linked(v);
	if (rc == 0)
		rc = tree_resolve(v->node, v->n, v->r->actors, NULL, NULL);
	if (rc == 0)
		rc = visits(v);
	if (rc == 0) {
		check_loose(v);
		rc = wants(v);
	}
	if (rc == 0)
		rc = verify_each(v, STORE_DOCS, check_attr);
	if (rc == 0)
		rc = verify_each(v, STORE_ATTRS, check_attr_orphan);
	if (rc == 0)
		rc = check_dirents(v);
	if (rc == 0)
		rc = check_conflicts(v);
	if (rc == 0)
		rc = check_links(v);
	if (rc == 0)
		rc = check_batches(v);
	if (rc == 0)
		rc = verify_each(v, STORE_DOTS, count_dot);
	if (rc == 0 && v->report->dots != v->dots)
		rc = verify_each(v, STORE_DOTS, check_dot_orphan);
	if (rc == 0)
		rc = verify_each(v, STORE_HISTORY, check_history);
	if (rc == 0)
		rc = verify_chunks(v);
	return rc;
}

static void verify_done(struct verify *v)
{
	view_unref(v->view);
	store_batch_free(v->fix);
	arena_done(&v->names);
	marks_done(&v->marks);
	buf_done(&v->filed);
	buf_done(&v->links);
	free(v->node);
	free(v->visit);
	buf_done(&v->visits);
	free(v->want);
}

static int check_indexes(struct verify *v, struct err *e)
{
	uint64_t wrong = 0;
	int rc = indexes_check(v->r, v->fix && !v->unreadable, &wrong, e);
	if (rc == 0 && wrong > 0)
		verify_problem(v, !v->unreadable, "indexes are wrong in %llu places", (unsigned long long)wrong);
	return rc;
}

/* By what the store has after it was mended. */
static int check_picks(struct verify *v, struct err *e)
{
	struct commit c = { .r = v->r };
	uint64_t wrong = 0;
	int rc = picks_check(v->r, &c, v->fix && !v->unreadable, &wrong, e);
	commit_done(&c);
	if (rc == 0 && wrong > 0)
		verify_problem(v, !v->unreadable, "what filters pick is wrong in %llu places", (unsigned long long)wrong);
	return rc;
}

int replica_verify(struct replica *r, bool repair, verify_fn f, void *userdata,
		   struct verify_report *ret, struct err *e)
{
	_cleanup_(verify_done) struct verify v = { .r = r, .f = f, .userdata = userdata,
						   .report = ret };
	*ret = (struct verify_report){ 0 };
	/* Nothing may change while it is mended, and loose nodes are looked at in memory. */
	pthread_mutex_lock(&r->commit);
	int rc = view_take(r, &v.view);
	if (rc == 0 && repair)
		rc = store_batch_new(&v.fix);
	if (rc == 0) {
		v.snap = view_snapshot(v.view);
		rc = check_all(&v);
	}
	if (v.unreadable)
		ret->repaired = 0;
	if (rc == 0 && repair && ret->repaired > 0) {
		rc = store_write(r->store, v.fix, e);
		nodes_clear(r);
		loose_done(r);
		if (rc == 0)
			rc = loose_load(r, e);
		/* Attributes may say something else now. */
		if (rc == 0)
			rc = conflicts_index(r, e);
	}
	if (rc == 0)
		rc = check_picks(&v, e);
	if (rc == 0)
		rc = check_indexes(&v, e);
	pthread_mutex_unlock(&r->commit);
	if (rc < 0)
		return err_errno(e, rc, "cannot check the database");
	struct sweep_report swept;
	if (!repair || ret->errors > ret->repaired)
		return 0;
	rc = replica_sweep(r, &swept, e);
	if (rc != -EBUSY && rc != -ECANCELED)
		return rc;
	if (e)
		*e = (struct err){ 0 };
	return 0;
}
