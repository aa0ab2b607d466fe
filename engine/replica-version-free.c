/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Versions that no record stands for: what a writer knows that is not what the file shows, kept by whoever
 * asked for them, and written to the spool; and versions in which dots have got other names. */

#include "engine/replica-version.h"

#include <errno.h>

#include "engine/history.h"
#include "engine/text.h"
#include "engine/textedit.h"

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
	version_counted(v);
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
	version_counted(like);
	*ret = like;
	return 0;
}

static int renamed(const struct actors *actors, struct elements **e, const struct restamp *rs)
{
	_cleanup_(elements_freep) struct elements *old = TAKE_PTR(*e);
	return elements_restamp(actors, old, rs, e);
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
	uint32_t n = atomic_load(&r->n_restamped);
	int rc = 0;
	if (v->restamped == n) {
		*ret = NULL;
		return 0;
	}
	rc = version_load(v);
	if (rc < 0)
		return rc;
	struct vv context = v->context;
	elements = elements_ref(v->elements);
	for (uint32_t i = v->restamped; rc == 0 && i < n; i++) {
		_cleanup_(seq_base_freep) struct seq_base *old = TAKE_PTR(anchors);
		const struct seq_base *from = old ? old : v->anchors;
		rc = vv_restamp(&a, &context, &r->restamped[i], &context);
		if (rc == 0 && from)
			rc = seq_base_restamp(from, &r->restamped[i], &anchors);
		if (rc == 0 && elements)
			rc = renamed(r->actors, &elements, &r->restamped[i]);
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
	return rc < 0 ? rc : seq_base_edit(from, edit, n, dot, 0, ret);
}

/* Under today's names; base, saved NULL: as they are. */
struct written_now {
	struct version *base, *saved;
	struct elements *elements; /* of what was saved */
	uint32_t self;
};

static void written_now_done(struct written_now *w)
{
	version_unref(w->base);
	version_unref(w->saved);
	elements_free(w->elements);
}

static int written_now(struct replica *r, const struct version *base, const struct version *saved,
		       struct written_now *ret)
{
	pthread_mutex_lock(&r->commit);
	int rc = base ? version_restamped(r, base, &ret->base) : 0;
	if (rc == 0)
		rc = version_restamped(r, saved, &ret->saved);
	ret->elements = elements_ref(saved->written);
	for (uint32_t i = saved->restamped; rc == 0 && ret->elements && i < atomic_load(&r->n_restamped); i++)
		rc = renamed(r->actors, &ret->elements, &r->restamped[i]);
	ret->self = r->self;
	pthread_mutex_unlock(&r->commit);
	return rc;
}

int version_written(struct replica *r, const struct version *base, struct version *saved,
		    const void *data, size_t len, struct version **ret)
{
	_cleanup_(written_now_done) struct written_now now = { 0 };
	_cleanup_(vv_done) struct vv context = { 0 };
	struct seq_base *anchors = NULL;
	struct id id;
	int rc = base ? version_load(base) : 0;
	if (rc == 0)
		rc = version_load(saved);
	if (rc < 0)
		return rc;
	if (!saved->data || (saved->size == len && memcmp(saved->data, data, len) == 0)) {
		*ret = version_ref(saved);
		return 0;
	}
	rc = written_now(r, base, saved, &now);
	if (now.base)
		base = now.base;
	if (rc == 0 && base)
		rc = vv_copy(&base->context, &context);
	uint64_t seq = vv_get(now.saved ? &now.saved->context : &saved->context, now.self);
	if (rc == 0 && seq)
		rc = vv_raise(&context, now.self, seq);
	if (rc == 0 && saved->form == FORM_TEXT)
		rc = anchors_written(base, data, len, (struct dot){ now.self, seq }, &anchors);
	if (rc < 0)
		return rc;
	vv_fingerprint(&context, r->actors, &id);
	return version_free_standing(r, &saved->node, &id, &context, data, len, anchors,
				     TAKE_PTR(now.elements), ret);
}

enum { MORE_ANCHORS = 1, MORE_ELEMENTS = 2 };

/* u8 format (2), node id, version id, varint restamps before it, context (vv_encode with local numbers),
 * bytes text; of a text also u8 1 and its base (engine/seqcodec.c), of a document with lists u8 2 and
 * their elements (engine/elements.c). Format 3 is a blob: after the context its size as a varint, and
 * the hash of its manifest. */
enum { FORMAT_BYTES = 2, FORMAT_BLOB = 3 };

int version_encode(struct replica *r, const struct version *v, struct buf *b)
{
	int rc = version_load(v);
	if (rc < 0)
		return rc;
	buf_u8(b, v->data ? FORMAT_BYTES : FORMAT_BLOB);
	buf_put(b, v->node.b, ID_SIZE);
	buf_put(b, v->id.b, ID_SIZE);
	buf_varint(b, v->restamped);
	vv_encode(&v->context, r->actors, NULL, b);
	if (!v->data) {
		buf_varint(b, v->ref.size);
		buf_put(b, v->ref.manifest.b, SHA256_SIZE);
		return buf_failed(b) ? -ENOMEM : 0;
	}
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

/* In the table, so that sweeps see it. */
static int decode_blob(struct replica *r, const struct id *node, const struct id *id,
		       uint32_t restamped, const struct vv *context, struct cursor *c,
		       struct version **ret)
{
	struct history_version h = { .version = *id, .context = *context, .form = FORM_BLOB,
				     .blob = true };
	h.ref.size = cursor_varint_max(c, BLOB_SIZE_MAX);
	const uint8_t *manifest = cursor_take(c, SHA256_SIZE);
	if (!cursor_end(c))
		return -EBADMSG;
	memcpy(h.ref.manifest.b, manifest, SHA256_SIZE);
	*ret = version_find(r, node, id);
	if (*ret)
		return 0;
	int rc = version_past(r, node, &h, ret);
	if (rc == 0)
		(*ret)->restamped = restamped;
	return rc;
}

int version_decode(struct replica *r, const void *data, size_t len, struct version **ret)
{
	struct cursor c = cursor_make(data, len);
	struct id node, id;
	struct vv context = { 0 };
	const uint8_t format = cursor_u8(&c);
	if (format != FORMAT_BYTES && format != FORMAT_BLOB)
		return -EBADMSG;
	const uint8_t *ids = cursor_take(&c, 2 * ID_SIZE);
	uint32_t restamped = (uint32_t)cursor_varint_max(&c, atomic_load(&r->n_restamped));
	int rc = ids ? vv_decode(&c, r->actors, NULL, &context) : -EBADMSG;
	if (rc == 0) {
		memcpy(node.b, ids, ID_SIZE);
		memcpy(id.b, ids + ID_SIZE, ID_SIZE);
	}
	if (rc == 0 && format == FORMAT_BLOB) {
		rc = decode_blob(r, &node, &id, restamped, &context, &c, ret);
		vv_done(&context);
		return rc;
	}
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
	if (rc == 0)
		rc = version_free_standing(r, &node, &id, &context, text, n, TAKE_PTR(anchors),
					   TAKE_PTR(elements), ret);
	if (rc == 0)
		(*ret)->restamped = restamped;
	seq_base_free(anchors);
	elements_free(elements);
	vv_done(&context);
	return rc;
}
