/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Versions whose bytes are made when somebody asks for them: a program opens a document, and the kernel has
 * it still, so that nobody reads here.
 *
 * The newest version of a document or text is known from its attributes: which it is, and its size.
 * Everything else is in the record, as long as no commit puts another one in its place:
 *
 *   1. a commit makes r->writes odd;
 *   2. each version that it replaces, and that owes its bytes, gets them from the old record, which the
 *      commit has before it;
 *   3. it writes and publishes, and makes r->writes even.
 *
 * Who makes a version that owes its bytes has seen r->writes even before he looked at the attributes, and
 * sees it unchanged under the lock of the table that he puts it into. So the commit that replaces the
 * record finds it there in step 2, and whoever comes later makes a version of what he reads. Who loads one
 * holds its lock meanwhile, and so does step 2: what is read is the version's record, or need not be
 * read any more. Blobs have nothing to owe, and sweeps (replica-sweep.c) have to see what they refer to. */

#include "engine/replica-version.h"

#include <errno.h>

/* struct version, owed; or why its bytes cannot be had, as -errno */
enum { OWES_NOTHING = 0, OWES_BYTES = 1 };

static bool may_owe(const struct attr *at)
{
	return at->kind == NODE_FILE && (at->form == FORM_JSON || at->form == FORM_TEXT);
}

/* v->lock held. */
static int take_record(struct replica *r, struct version *v, const struct record *rec)
{
	struct version whole = { .form = FORM_NONE };
	struct id id;
	record_version(rec, r->actors, &id);
	int rc = id_equal(&id, &v->id) ? version_fill(r, &whole, rec, NULL) : -EBADMSG;
	if (rc == 0 && whole.form != v->form)
		rc = -EBADMSG;
	if (rc == 0)
		rc = vv_copy(&rec->ctx, &v->context);
	if (rc < 0) {
		version_empty(&whole);
		return rc;
	}
	v->styled = whole.styled;
	v->data = whole.data;
	v->anchors = whole.anchors;
	v->elements = whole.elements;
	/* The kernel was told what the attributes say. */
	if (whole.size != v->size)
		v->size = whole.size;
	atomic_store(&v->owed, OWES_NOTHING);
	return 0;
}

static int read_record(struct replica *r, struct version *v)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored stored;
	int rc = stored_get(r, NULL, &a, &v->node, &stored, NULL);
	return rc < 0 ? rc : take_record(r, v, stored.record);
}

int version_load(const struct version *known)
{
	struct version *v = (struct version *)(uintptr_t)known;
	int rc = atomic_load(&v->owed);
	if (rc <= 0)
		return rc;
	struct replica *r = versions_replica(v->versions);
	pthread_mutex_lock(&v->lock);
	rc = atomic_load(&v->owed);
	bool made = rc > 0;
	if (made)
		rc = r ? read_record(r, v) : -ESHUTDOWN;
	pthread_mutex_unlock(&v->lock);
	if (made && rc == 0)
		version_keep(r, v);
	return rc;
}

bool version_is_made(const struct version *v)
{
	return version_is_bytes(v) && atomic_load(&v->owed) == OWES_NOTHING;
}

int version_load_from(struct replica *r, struct version *v, const struct record *rec)
{
	if (atomic_load(&v->owed) == OWES_NOTHING)
		return 0;
	pthread_mutex_lock(&v->lock);
	int rc = atomic_load(&v->owed);
	if (rc > 0)
		rc = take_record(r, v, rec);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

/* Step 2 for one version. What cannot be shown can be replaced all the same. */
static int complete(struct replica *r, const struct touched *t)
{
	_cleanup_(version_unrefp) struct version *v =
		version_find(r, &t->before.attr.id, &t->before.attr.version);
	int rc = v ? version_load_from(r, v, t->old) : 0;
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0)
		atomic_store(&v->owed, rc);
	return 0;
}

int versions_write_begin(struct commit *c)
{
	int rc = 0;
	atomic_fetch_add(&c->r->writes, 1);
	for (const struct touched *t = c->first; t && rc == 0; t = t->next)
		if (t->record && t->old && t->had && may_owe(&t->before.attr))
			rc = complete(c->r, t);
	return rc;
}

void versions_write_end(struct commit *c)
{
	atomic_fetch_add(&c->r->writes, 1);
}

/* NULL in *ret: a commit is under way. */
static int version_later(struct replica *r, const struct attr *at, unsigned long long writes,
			 struct version **ret)
{
	*ret = NULL;
	if (writes & 1)
		return 0;
	struct version *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	version_init(r, v, &at->id, &at->version);
	v->form = at->form;
	v->size = at->size;
	atomic_init(&v->owed, OWES_BYTES);
	return version_list(r, v, &writes, ret);
}

int replica_read_later(struct replica *r, const struct id *id, struct version **ret)
{
	struct node n;
	unsigned long long writes = atomic_load(&r->writes);
	int rc = node_get_file(r, id, &n);
	if (rc < 0)
		return rc;
	struct version *v = NULL;
	if (may_owe(&n.attr)) {
		v = version_find(r, id, &n.attr.version);
		if (!v)
			rc = version_later(r, &n.attr, writes, &v);
	}
	if (rc < 0)
		return rc;
	if (!v)
		return replica_read(r, id, ret);
	if (atomic_load(&v->owed) == OWES_NOTHING)
		version_keep(r, v);
	*ret = v;
	return 0;
}
