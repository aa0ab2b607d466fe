/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Saves that replace one value of a document, over the version that its writer had read: what
 * replica-save.c would do, without looking at the rest of the document (engine/leaf.h). Where it would do
 * anything besides, this is left to it. */

#include "engine/replica-schema-impl.h"

#include <errno.h>

#include "engine/edge.h"
#include "engine/jsonptr.h"
#include "engine/leaf.h"

int draft_leaf(struct replica *r, const struct id *scope, struct draft *d, const struct version *base,
	       struct leaf *ret)
{
	_cleanup_(types_freep) struct types *types = NULL;
	const struct types_at *at;
	if (!d->tree || !base || version_form(base) != FORM_JSON || !version_data(base) ||
	    !version_styled(base))
		return 0;
	int rc = types_of(r, scope, &types);
	if (rc == 0)
		rc = types_begin(&d->arena, types, &at);
	/* An element that is in one of these twice goes with any save. */
	if (rc < 0 || types_have(types, MERGE_SET))
		return rc;
	return leaf_find(&d->arena, version_data(base), (size_t)version_size(base), d->text, d->len,
			 d->tree, at, ret);
}

static int tell(struct commit *c, struct touched *t, const struct leaf *l)
{
	_cleanup_(buf_done) struct buf at = { 0 };
	struct pointers p = { 0 };
	for (uint32_t i = 0; i < l->n; i++)
		json_pointer_append(&at, l->path[i].key, l->path[i].len);
	const char *pointer = buf_cstr(&at);
	if (!pointer)
		return -ENOMEM;
	pointers_add(c, &p, pointer, at.len);
	pointers_give(&p, t);
	return 0;
}

/* The lists of the document are as they were. */
static int know(struct touched *t, const struct draft *d, const struct version *base)
{
	rendering_done(&t->known);
	t->known.elements = elements_ref((struct elements *)(uintptr_t)version_elements(base));
	t->known.data = malloc(d->len);
	if (!t->known.data)
		return -ENOMEM;
	memcpy(t->known.data, d->text, d->len);
	t->known.len = d->len;
	return 0;
}

/* Is the newest version the base, with nothing about it that a save would change? */
static bool is_base(const struct commit *c, const struct node *n, const struct version *base)
{
	return version_names_hold(c->r, base) && (n->flags & NODE_LIVE) && !n->attr.conflict &&
	       id_equal(&n->attr.version, version_id(base));
}

static int leaf_locked(struct commit *c, const struct id *id, const struct version *base,
		       const struct draft *d, const struct leaf *l, struct touched **ret,
		       struct err *e)
{
	struct stored head;
	const struct record *rec;
	struct touched *t;
	int rc = commit_node(c, id, &t);
	if (rc < 0 || !is_base(c, &t->before, base))
		return rc == -ENOENT ? 0 : rc;
	rc = large_get(c, &t->before, &head, e);
	if (rc < 0)
		return rc;
	rec = head.record;
	if (!vv_equal(&rec->ctx, version_context(base)) ||
	    (rec->n_edges > 0 && edge_is_trash(&rec->edge[0])) || !leaf_slot(rec, l))
		return 0;
	rc = leaf_styled(rec, c->r->actors, l);
	if (rc <= 0)
		return rc;
	rc = leaf_write(&c->arena, c->r->actors, rec, l, &c->stamp, &rec);
	if (rc == 0)
		rc = commit_put(c, &head, rec, CHANGE_CONTENT, &t);
	if (rc == 0)
		rc = know(t, d, base);
	if (rc == 0)
		rc = tell(c, t, l);
	if (rc < 0)
		return rc;
	large_changes(c, t, l);
	*ret = t;
	return 1;
}

int leaf_save(struct replica *r, const struct id *id, const struct version *base,
	      const struct draft *d, const struct leaf *l, struct version **ret_version,
	      struct err *e)
{
	struct commit c;
	struct touched *t = NULL;
	commit_begin(&c, r, false);
	int rc = leaf_locked(&c, id, base, d, l, &t, e);
	bool saved = t != NULL;
	if (t)
		rc = commit_end(&c, e);
	if (t && rc == 0 && ret_version)
		*ret_version = version_ref(t->version);
	commit_done(&c);
	if (rc < 0)
		return err_errno(e, rc, "cannot save");
	return saved;
}
