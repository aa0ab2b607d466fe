/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What programs write becomes versions: the difference of what the writer had read to what it
 * wrote, applied to the newest version. */

#include "engine/edge.h"
#include "engine/replica-schema-impl.h"

#include <errno.h>
#include <sys/stat.h>

#include "engine/jdiff.h"
#include "engine/jsonstyle.h"
#include "engine/leaf.h"
#include "engine/nameid.h"
#include "engine/naming.h"
#include "engine/render.h"
#include "engine/slot.h"
#include "engine/text.h"
#include "engine/textedit.h"
#include "engine/utf8.h"

#define READ_STEP (256u * 1024)

static ssize_t content_pread(void *userdata, void *data, size_t len, uint64_t offset)
{
	const struct content *c = userdata;
	if (c->fd == CONTENT_SOURCE) {
		const struct blob_source *src = c->data;
		return src->read(src->userdata, data, len, offset);
	}
	if (c->fd < 0) {
		if (offset >= c->len)
			return 0;
		size_t n = len < c->len - offset ? len : (size_t)(c->len - offset);
		memcpy(data, (const uint8_t *)c->data + offset, n);
		return (ssize_t)n;
	}
	for (;;) {
		ssize_t n = pread(c->fd, data, len, (off_t)offset);
		if (n >= 0 || errno != EINTR)
			return n < 0 ? -errno : n;
	}
}

static int content_size(const struct content *c, uint64_t *ret)
{
	struct stat st;
	*ret = c->len;
	if (c->fd < 0)
		return 0;
	if (fstat(c->fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* Where the file system knows of no holes all is data. */
static int content_data(void *userdata, uint64_t offset, uint64_t *ret)
{
	const struct content *c = userdata;
	off_t next = lseek(c->fd, (off_t)offset, SEEK_DATA);
	if (next < 0 && errno == ENXIO)
		return content_size(c, ret);
	*ret = next < 0 ? offset : (uint64_t)next;
	return 0;
}

static int content_store(struct replica *r, struct hold *h, const struct content *c,
			 struct blob_ref *ret, struct err *e)
{
	struct blob_source src = { .read = content_pread, .userdata = (void *)(uintptr_t)c };
	const struct blob_source *given = c->fd == CONTENT_SOURCE ? c->data : NULL;
	/* If it cannot, all of it is stored anew, or that says why not. */
	if (given && given->begun && blob_writer_end(given->begun, given->size, ret, NULL) == 0)
		return 0;
	if (given)
		return blob_write(r->store, h, given, ret, e);
	int rc = content_size(c, &src.size);
	if (rc < 0)
		return err_errno(e, rc, "cannot read the new content");
	if (c->fd >= 0)
		src.data = content_data;
	return blob_write(r->store, h, &src, ret, e);
}

bool replica_is_blob(const char *name, size_t len, uint64_t size)
{
	return !name_is_document(name, len) && !(name_is_text(name, len) && size <= TEXT_SIZE_MAX);
}

struct ahead {
	struct replica *replica;
	struct content content;
	struct hold hold;
	struct blob_writer *writer;
};

int ahead_new(struct replica *r, int fd, struct ahead **ret, struct err *e)
{
	_cleanup_(ahead_freep) struct ahead *a = calloc(1, sizeof(*a));
	if (!a)
		return err_errno(e, -ENOMEM, "cannot store the file");
	a->replica = r;
	a->content = (struct content){ .fd = fd };
	const struct blob_source src = { .read = content_pread,
					 .data = content_data,
					 .userdata = &a->content };
	int rc = blob_writer_new(r->store, &a->hold, &src, &a->writer, e);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(a);
	return 0;
}

int ahead_store(struct ahead *a, uint64_t size, struct err *e)
{
	return blob_writer_more(a->writer, size, e);
}

struct blob_writer *ahead_writer(const struct ahead *a)
{
	return a->writer;
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	if (a->writer && !blob_writer_ended(a->writer))
		atomic_fetch_add(&a->replica->orphaned, (uint64_t)hold_count(&a->hold) * CHUNK_AVG);
	blob_writer_free(a->writer);
	hold_done(&a->hold);
	free(a);
}

/* All bytes, at most max: -EFBIG. */
static int content_load(const struct content *c, size_t max, struct buf *own, const char **ret,
			size_t *ret_len)
{
	uint64_t size;
	int rc = content_size(c, &size);
	if (rc == 0 && size > max)
		rc = -EFBIG;
	if (rc < 0)
		return rc;
	if (c->fd == -1) {
		*ret = c->data ? c->data : "";
		*ret_len = c->len;
		return 0;
	}
	for (;;) {
		uint8_t *p = buf_reserve(own, READ_STEP);
		if (!p)
			return -ENOMEM;
		ssize_t n = content_pread((void *)(uintptr_t)c, p, READ_STEP, own->len);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		own->len += (size_t)n;
		if (own->len > max)
			return -EFBIG;
	}
	*ret = buf_cstr(own);
	*ret_len = own->len;
	return *ret ? 0 : -ENOMEM;
}

static int parse(struct arena *a, const char *text, size_t len, struct json **ret, struct err *e)
{
	int rc = json_parse(a, text, len, NULL, ret, e);
	if (rc == -E2BIG) { /* a document that no device could hold is a bad document */
		if (e)
			e->code = -EINVAL;
		rc = -EINVAL;
	}
	return rc;
}

int draft_make(struct replica *r, const char *name, size_t name_len, const struct content *c,
	       enum save_as as, struct draft *d, struct err *e)
{
	bool document = as == SAVE_BY_NAME && name_is_document(name, name_len);
	int rc = 0;
	if (document) {
		rc = content_load(c, DOCUMENT_SIZE_MAX, &d->own, &d->text, &d->len);
		if (rc == 0)
			rc = parse(&d->arena, d->text, d->len, &d->tree, e);
		else if (rc == -EFBIG)
			err_set(e, rc, "a document may have %u MiB, not more",
				DOCUMENT_SIZE_MAX >> 20);
		else
			return err_errno(e, rc, "cannot read the new content");
		if (rc == 0 || (rc != -EINVAL && rc != -EFBIG))
			return rc;
		d->refused = rc;
		return 0;
	}
	return draft_bytes(r, c, as == SAVE_BY_NAME && name_is_text(name, name_len), d, e);
}

/* A text is what a person could read: UTF-8, no NUL. Others are a blob, whatever their name. */
static int read_plain(const struct content *c, struct draft *d)
{
	buf_reset(&d->own);
	int rc = content_load(c, TEXT_SIZE_MAX, &d->own, &d->text, &d->len);
	if (rc < 0)
		return rc == -EFBIG ? 0 : rc;
	d->plain = !memchr(d->text, 0, d->len) && utf8_valid((const uint8_t *)d->text, d->len);
	if (!d->plain)
		buf_done(&d->own);
	return 0;
}

int draft_bytes(struct replica *r, const struct content *c, bool plain, struct draft *d,
		struct err *e)
{
	struct blob_ref ref;
	int rc = plain ? read_plain(c, d) : 0;
	if (rc < 0)
		return err_errno(e, rc, "cannot read the new content");
	if (d->plain)
		return 0;
	rc = content_store(r, &d->hold, c, &ref, e);
	if (rc == 0)
		rc = blob_ref_encode(&d->arena, &ref, &d->blob);
	if (rc == 0)
		d->ref = ref;
	else
		atomic_fetch_add(&r->orphaned, (uint64_t)hold_count(&d->hold) * CHUNK_AVG);
	return rc;
}

void draft_done(struct draft *d)
{
	hold_done(&d->hold);
	types_free(d->types);
	buf_done(&d->own);
	arena_done(&d->arena);
}

bool replica_parses(const char *name, size_t len, const struct content *c, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf own = { 0 };
	struct json *tree;
	const char *text;
	size_t text_len;
	if (!name_is_document(name, len)) {
		err_set(e, -EINVAL, "only *.json files are documents");
		return false;
	}
	int rc = content_load(c, DOCUMENT_SIZE_MAX, &own, &text, &text_len);
	if (rc == -EFBIG)
		err_set(e, rc, "a document may have %u MiB, not more", DOCUMENT_SIZE_MAX >> 20);
	else if (rc < 0)
		err_errno(e, rc, "cannot read the content");
	return rc == 0 && parse(&a, text, text_len, &tree, e) == 0;
}

struct collect {
	struct commit *c;
	struct pointers *p;
};

static void collect_pointer(const char *pointer, size_t len, void *userdata)
{
	struct collect *k = userdata;
	pointers_add(k->c, k->p, pointer, len);
}

int draft_write(struct commit *c, const struct draft *d, const struct difference *diff,
		const struct record *rec, const struct vv *base, bool merged, struct pointers *p,
		const struct record **ret)
{
	struct arena *a = &c->arena;
	const struct actors *actors = c->r->actors;
	struct collect k = { c, p };
	int rc = 0;
	if (d->plain)
		return record_set_text(a, actors, rec, diff->anchors, base, diff->edit, diff->n,
				       &c->stamp, ret);
	if (!d->tree)
		return record_set_content(a, actors, rec, &d->blob, base, &c->stamp, ret);
	/* NULL is all of rec, not all of what the first step makes of it. */
	if (!base)
		base = &rec->ctx;
	*ret = rec;
	if (diff->patch)
		rc = record_patch(a, actors, rec, diff->patch, base, &c->stamp, collect_pointer, &k, ret);
	if (rc == 0)
		rc = render_remember(a, actors, *ret, d->text, d->len, d->tree, merged, base,
				     &c->stamp, ret);
	return rc;
}

int draft_put(struct commit *c, const struct draft *d, const struct stored *old,
	      const struct record *rec, bool merged, struct pointers *p, unsigned what,
	      struct touched **ret)
{
	struct touched *t;
	int rc = commit_put(c, old, rec, CHANGE_CONTENT | what, &t);
	if (rc < 0)
		return rc;
	pointers_give(p, t);
	rendering_done(&t->known);
	elements_free(TAKE_PTR(t->written));
	if (d->tree)
		rc = elements_make(c->r->actors, d->tree, merged ? &t->written : &t->known.elements);
	if (rc == 0 && d->tree && !merged && d->len > 0) {
		t->known.data = malloc(d->len);
		if (!t->known.data)
			return -ENOMEM;
		memcpy(t->known.data, d->text, d->len);
		t->known.len = d->len;
	}
	if (rc < 0)
		return rc;
	if (ret)
		*ret = t;
	return 0;
}

/* ---- saving over a file ---- */

/* Is the new content what the writer had read? */
static int same_as_base(const struct version *base, const struct draft *d, const struct content *c)
{
	const char *data = version_data(base);
	if (d->tree || d->plain)
		return data && version_form(base) == (d->tree ? FORM_JSON : FORM_TEXT) &&
		       version_size(base) == d->len && !memcmp(data, d->text, d->len);
	const struct blob_ref *ref = version_blob(base);
	if (ref)
		return ref->size == d->ref.size && !sha256_cmp(&ref->manifest, &d->ref.manifest);
	if (!data || d->ref.size != version_size(base))
		return 0;
	_cleanup_(buf_done) struct buf own = { 0 };
	const char *text = NULL;
	size_t len = 0;
	int rc = content_load(c, DOCUMENT_SIZE_MAX, &own, &text, &len);
	if (rc < 0)
		return rc;
	return len == version_size(base) && !memcmp(data, text, len);
}

static int difference_text(struct arena *a, const struct draft *d, const struct version *base,
			   struct difference *ret)
{
	ret->anchors = base ? version_anchors(base) : NULL;
	return textedit_make(a, ret->anchors ? version_data(base) : "",
			      ret->anchors ? (size_t)version_size(base) : 0, d->text, d->len,
			      &ret->edit, &ret->n);
}

/* A text of what is left, written as it was. */
static int unite_sets(struct draft *d, const struct types_at *at)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct json_style style;
	bool changed = false;
	int rc = types_have(d->types, MERGE_SET) ? naming_unite(&d->arena, d->tree, at, &changed) : 0;
	if (rc < 0 || !changed)
		return rc;
	json_style_detect(d->tree, d->text, d->len, &style);
	json_style_write(d->tree, &style, &b);
	const char *text = buf_failed(&b) ? NULL : arena_dup(&d->arena, b.data, b.len);
	if (!text)
		return -ENOMEM;
	d->text = text;
	d->len = b.len;
	return parse(&d->arena, d->text, d->len, &d->tree, NULL);
}

int draft_difference(struct replica *r, struct arena *a, const struct id *scope, struct draft *d,
		     const struct version *base, struct difference *ret)
{
	const struct types_at *at;
	struct json *before = NULL;
	*ret = (struct difference){ 0 };
	if (d->plain)
		return difference_text(a, d, base, ret);
	if (!d->tree)
		return 0;
	if (base && version_form(base) == FORM_JSON) {
		int rc = json_parse(a, version_data(base), version_size(base), NULL, &before, NULL);
		if (rc == 0)
			rc = elements_name(version_elements(base), a, r->actors, before);
		if (rc < 0)
			return rc;
	}
	int rc = types_of(r, scope, &d->types);
	if (rc == 0)
		rc = types_begin(a, d->types, &at);
	if (rc == 0)
		rc = unite_sets(d, at);
	return rc < 0 ? rc : jdiff(a, before, d->tree, at, &ret->patch);
}

/* Does the head show more than the writer saw? Changes of metadata alone do not count, or the
 * chmod after a save would cost the next one its exact bytes. */
static int is_merged(struct commit *c, const struct stored *head, const struct version *base,
		     bool *ret)
{
	_cleanup_(version_unrefp) struct version *now = NULL;
	*ret = false;
	int rc = version_make(c->r, head->record, NULL, &now);
	/* Equal contexts do not say so: what a writer knows after a save (version_written) covers all
	 * that this device made up to then, and shows only what that writer had read. */
	if (rc < 0 || now == base)
		return rc;
	*ret = !base || !version_data(base) || !version_data(now) ||
	       version_size(base) != version_size(now) ||
	       memcmp(version_data(base), version_data(now), version_size(now)) != 0;
	/* What lost against what the writer saw may come to light when that goes; a style that it
	 * had not seen may be the one that shows. */
	static const char *const part[] = { TOP_CONTENT, TOP_STYLE, TOP_SOURCE };
	for (size_t i = 0; i < 3 && !*ret && head->record->top; i++) {
		const struct slot *s = slot_find(head->record->top, part[i], strlen(part[i]));
		*ret = s && !slot_covered(s, version_context(base));
	}
	return 0;
}

static int refuse(const struct draft *d, struct err *e, const struct err *why)
{
	if (e)
		*e = *why;
	return d->refused;
}

/* A deleted file that lives on because of newer content hangs on that content: a save that took it
 * away would delete the file. So whoever saves it takes it out of the trash, to where it was. */
static int untrash(struct commit *c, const struct record *rec, const struct record **ret)
{
	*ret = rec;
	if (rec->n_edges == 0 || !edge_is_trash(&rec->edge[0]))
		return 0;
	for (uint32_t i = 1; i < rec->n_edges; i++) {
		const struct edge *edge = &rec->edge[i];
		if (!edge_is_trash(edge) && !edge_is_inodes(edge))
			return record_move(&c->arena, c->r->actors, rec, &edge->parent, edge->name,
					   edge->name_len, &c->stamp, ret);
	}
	return 0;
}

int save_locked(struct commit *c, const struct id *id, const struct version *base,
		const struct draft *d, const struct difference *diff, struct touched **ret,
		struct err *e, const struct err *why)
{
	static const struct vv nothing;
	struct stored head;
	struct touched *t;
	struct value shown;
	struct pointers pointers = { 0 };
	const struct record *rec;
	bool merged = false;
	int rc = commit_node(c, id, &t);
	if (rc == 0 && !(t->before.flags & NODE_LIVE))
		rc = -ENOENT;
	if (rc == 0)
		rc = commit_record(c, id, &head, e);
	if (rc < 0)
		return err_errno(e, rc, "cannot save");
	if (d->refused && content_shown(c->r, head.record, &shown) && value_is_json(shown.kind))
		return refuse(d, e, why);
	if (d->tree || d->plain)
		rc = is_merged(c, &head, base, &merged);
	if (rc == 0)
		rc = draft_write(c, d, diff, head.record, base ? version_context(base) : &nothing,
				 merged, &pointers, &rec);
	bool changed = rec != head.record;
	/* Who took one of several names away has taken no place. */
	if (rc == 0 && changed && !t->before.attr.linked)
		rc = untrash(c, rec, &rec);
	if (rc == 0 && changed)
		rc = draft_put(c, d, &head, rec, merged, &pointers, 0, &t);
	pointers_done(&pointers);
	if (rc < 0)
		return err_errno(e, rc, "cannot save");
	*ret = changed ? t : NULL;
	return 0;
}

/* -ESTALE: dots in the base have got other names meanwhile, so that the difference is of old ones. */
static int save_over(struct replica *r, const struct id *id, const struct version *base,
		     const struct content *content, enum save_as as, struct version **ret_version,
		     struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(draft_done) struct draft d = { 0 };
	struct commit c;
	struct node n;
	struct difference diff;
	struct leaf leaf;
	struct touched *t = NULL;
	struct err why = { 0 }; /* kept when it is refused after all, below the lock */
	int rc = node_get(r, &a, id, &n);
	if (rc == 0 && !(n.flags & NODE_LIVE))
		rc = -ENOENT;
	if (rc == 0 && n.attr.kind != NODE_FILE)
		rc = n.attr.kind == NODE_DIR ? -EISDIR : -EINVAL;
	if (rc < 0)
		return err_errno(e, rc, "cannot save");
	rc = draft_make(r, n.name, n.name_len, content, as, &d, &why);
	/* A document that is not one any more: no need to look further. */
	if (rc == 0 && d.refused)
		rc = n.attr.form == FORM_JSON ? d.refused : draft_bytes(r, content, true, &d, e);
	if (rc < 0) {
		if (e && why.code)
			*e = why;
		return rc;
	}
	rc = base ? same_as_base(base, &d, content) : !d.tree && !d.plain && d.ref.size == 0;
	if (rc > 0)
		return ret_version ? replica_read(r, id, ret_version) : 0;
	if (rc == 0) {
		rc = draft_check(r, &n.attr.scope, n.name, n.name_len, &d, e);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		rc = draft_leaf(r, &n.attr.scope, &d, base, &leaf);
	if (rc > 0)
		rc = leaf_save(r, id, base, &d, &leaf, ret_version, e);
	if (rc > 0)
		return 0;
	if (rc == 0)
		rc = draft_difference(r, &d.arena, &n.attr.scope, &d, base, &diff);
	if (rc < 0)
		return err_errno(e, rc, "cannot save");
	commit_begin(&c, r, false);
	rc = base && !version_names_hold(r, base) ? -ESTALE : 0;
	if (rc == 0)
		rc = save_locked(&c, id, base, &d, &diff, &t, e, &why);
	if (rc == 0 && t)
		rc = commit_end(&c, e);
	if (rc == 0 && t && ret_version)
		*ret_version = version_ref(t->version);
	commit_done(&c);
	if (rc < 0)
		atomic_fetch_add(&r->orphaned, d.ref.size);
	if (rc == 0 && !t && ret_version)
		rc = replica_read(r, id, ret_version);
	return rc;
}

int replica_save(struct replica *r, const struct id *id, const struct version *base,
		 const struct content *content, enum save_as as, struct version **ret_version,
		 struct err *e)
{
	int rc = base ? version_load(base) : 0;
	if (rc < 0)
		return err_errno(e, rc, "cannot save");
	do {
		_cleanup_(version_unrefp) struct version *renamed = NULL;
		pthread_mutex_lock(&r->commit);
		rc = base ? version_restamped(r, base, &renamed) : 0;
		pthread_mutex_unlock(&r->commit);
		if (rc < 0)
			return err_errno(e, rc, "cannot save");
		rc = save_over(r, id, renamed ? renamed : base, content, as, ret_version, e);
	} while (rc == -ESTALE);
	return rc;
}
