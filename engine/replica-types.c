/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Declarations of how values merge (engine/types.h). Those of a collection are in the record of its
 * directory. The root has no record; those of its own documents are in one of a directory that hangs
 * in the trash from the beginning, NODE_TYPES, which no path leads to.
 *
 * What was read is kept, by collection, until a commit changes such a record. */

#include "engine/replica-schema-impl.h"

#include <errno.h>

#include "engine/schema.h"

static void *ref(void *types)
{
	return types_ref(types);
}

static void unref(void *types)
{
	types_free(types);
}

void types_init(struct replica *r)
{
	kept_init(&r->types, ref, unref);
}

/* The node with the declarations of a scope. */
static const struct id *holder(const struct id *scope)
{
	return id_equal(scope, &NODE_ROOT) ? &NODE_TYPES : scope;
}

void types_changed(struct replica *r, const struct record *rec)
{
	if (rec->kind == NODE_DIR && id_equal(&rec->scope, &NODE_ROOT))
		kept_forget(&r->types, id_equal(&rec->id, &NODE_TYPES) ? &NODE_ROOT : &rec->id);
}

static const struct slot *declarations(const struct record *rec)
{
	return rec->top ? slot_find(rec->top, TOP_TYPES, strlen(TOP_TYPES)) : NULL;
}

/* Calls f for each of them. */
static int each(struct replica *r, const struct id *scope, declared_fn f, void *userdata)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	int rc = stored_get(r, NULL, &a, holder(scope), &s, NULL);
	const struct slot *list = rc == 0 ? declarations(s.record) : NULL;
	for (uint32_t i = 0; rc == 0 && list && i < list->n; i++) {
		const struct slot *c = list->child[i];
		const struct entry *e = reg_shown(&c->val, r->actors);
		if (e && e->value.kind == VALUE_BYTES)
			rc = f(c->key, c->key_len, (const char *)e->value.data, e->value.len,
			       userdata);
	}
	return rc == -ENOENT ? 0 : rc;
}

/* What another version declared and this one does not know is as good as nothing. */
static int add_type(const char *pointer, size_t len, const char *text, size_t text_len, void *userdata)
{
	int rc = types_add(userdata, pointer, len, text, text_len);
	return rc == -ENOMEM ? rc : 0;
}

/* What was declared by hand takes the place of what the schema says. */
static int read_types(struct replica *r, const struct id *scope, struct types **ret)
{
	_cleanup_(types_freep) struct types *t = NULL;
	_cleanup_(schema_freep) struct schema *s = NULL;
	int rc = types_new(&t);
	if (rc == 0)
		rc = schema_of(r, scope, &s);
	if (rc == 0 && s)
		rc = schema_types(s, add_type, t);
	if (rc == 0)
		rc = each(r, scope, add_type, t);
	if (rc == 0)
		*ret = types_empty(t) ? NULL : TAKE_PTR(t);
	return rc;
}

int types_of(struct replica *r, const struct id *scope, struct types **ret)
{
	struct types *t = NULL;
	uint64_t changes;
	void *known;
	if (kept_get(&r->types, scope, &changes, &known)) {
		*ret = known;
		return 0;
	}
	int rc = read_types(r, scope, &t);
	if (rc < 0)
		return rc;
	kept_put(&r->types, scope, changes, t);
	*ret = t;
	return 0;
}

/* ---- declaring ---- */

/* Is the directory a collection? The root is one. */
int collection_check(struct replica *r, const struct id *id, const char *what, struct err *e)
{
	struct node n;
	int rc = node_get(r, NULL, id, &n);
	if (rc == 0 && !(n.flags & NODE_LIVE))
		rc = -ENOENT;
	if (rc < 0)
		return err_errno(e, rc, "cannot look at the collection");
	if (n.attr.kind != NODE_DIR)
		return err_set(e, -ENOTDIR, "not a directory: %s for a collection, a directory at the top, or "
					    "for the documents of the root", what);
	if (id_equal(id, &NODE_LOST) || !id_equal(&n.attr.scope, &NODE_ROOT))
		return err_set(e, -EINVAL, "not a collection: %s for a directory at the top, and hold for all that is in "
					   "it", what);
	return 0;
}

/* The record, for the root a new one if there is none. */
static int holder_record(struct commit *c, const struct id *id, struct stored *old,
			 const struct record **ret)
{
	struct record *new;
	*old = (struct stored){ 0 };
	int rc = commit_record(c, id, old, NULL);
	if (rc == -ENOENT && id_equal(id, &NODE_TYPES)) {
		rc = record_new(&c->arena, id, &NODE_ROOT, NODE_DIR, &new);
		return rc < 0 ? rc : record_move(&c->arena, c->r->actors, new, &NODE_TRASH, "", 0,
						 &c->stamp, ret);
	}
	*ret = old->record;
	return rc;
}

static int declare_locked(struct commit *c, const struct id *id, const char *pointer, size_t len,
			  const struct value *value)
{
	struct stored old;
	const struct record *rec;
	int rc = holder_record(c, holder(id), &old, &rec);
	const struct slot *list = rc == 0 ? declarations(rec) : NULL;
	if (rc < 0)
		return rc;
	if (value && list && list->n >= TYPES_MAX && !slot_find(list, pointer, len))
		return -ENOSPC;
	rc = record_set(&c->arena, c->r->actors, rec, TOP_TYPES, pointer, len, value, NULL, &c->stamp,
			&rec);
	if (rc == 0 && rec != old.record)
		rc = commit_put(c, &old, rec, CHANGE_ATTR, NULL);
	return rc;
}

int replica_declare(struct replica *r, const struct id *collection, const char *pointer, size_t len,
		    const char *text, struct err *e)
{
	struct commit c;
	struct type type;
	const struct value v = { VALUE_BYTES, (const uint8_t *)text, text ? strlen(text) : 0 };
	int rc = type_check_pointer(pointer, len, e);
	if (rc == 0 && text)
		rc = type_parse(text, strlen(text), &type, e);
	if (rc == 0)
		rc = collection_check(r, collection, "types are declared", e);
	if (rc < 0)
		return rc;
	commit_begin(&c, r, false);
	rc = declare_locked(&c, collection, pointer, len, text ? &v : NULL);
	if (rc == -ENOSPC)
		err_set(e, rc, "a collection has %u declarations at most", TYPES_MAX);
	else if (rc < 0)
		err_errno(e, rc, "cannot declare it");
	else
		rc = commit_end(&c, e);
	commit_done(&c);
	return rc;
}

int replica_declared(struct replica *r, const struct id *collection, declared_fn f, void *userdata,
		     struct err *e)
{
	int rc = collection_check(r, collection, "types are declared", e);
	return rc < 0 ? rc : each(r, collection, f, userdata);
}
