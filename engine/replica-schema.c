/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the documents of a collection have to look like (shoal-schema(7)): the file .schema.json in its directory. It is
 * looked at where somebody here saves, and by whoever asks; never when changes come from elsewhere. */

#include "engine/replica-schema.h"

#include <errno.h>

#include "engine/replica-schema-impl.h"
#include "engine/schema.h"

static void *ref(void *schema)
{
	return schema_ref(schema);
}

static void unref(void *schema)
{
	schema_free(schema);
}

void schemas_init(struct replica *r)
{
	kept_init(&r->schemas, ref, unref);
}

bool schema_is_name(const char *name, size_t len)
{
	return len == strlen(SCHEMA_FILE) && memcmp(name, SCHEMA_FILE, len) == 0;
}

void schema_touched(struct replica *r, const struct touched *t)
{
	const struct node *const side[] = { &t->before, &t->after };
	for (unsigned i = 0; i < 2; i++)
		if ((i || t->had) && side[i]->name && schema_is_name(side[i]->name, side[i]->name_len)) {
			kept_forget(&r->schemas, &side[i]->attr.scope);
			kept_forget(&r->types, &side[i]->attr.scope); /* it declares as well */
		}
}

/* A collection has the id of its directory. */
static int read_schema(struct replica *r, const struct id *scope, struct schema **ret)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct attr at;
	int rc = replica_lookup(r, scope, SCHEMA_FILE, strlen(SCHEMA_FILE), &at);
	*ret = NULL;
	if (rc < 0 || at.kind != NODE_FILE || at.form != FORM_JSON)
		return rc == -ENOENT ? 0 : rc;
	rc = replica_read(r, &at.id, &v);
	if (rc == 0)
		rc = version_load(v);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	return schema_new(version_data(v), (size_t)version_size(v), ret, NULL);
}

int schema_of(struct replica *r, const struct id *scope, struct schema **ret)
{
	struct schema *s = NULL;
	uint64_t changes;
	void *known;
	if (kept_get(&r->schemas, scope, &changes, &known)) {
		*ret = known;
		return 0;
	}
	int rc = read_schema(r, scope, &s);
	if (rc < 0 && rc != -EINVAL && rc != -EFBIG)
		return rc;
	kept_put(&r->schemas, scope, changes, s);
	*ret = s;
	return 0;
}

/* ---- documents ---- */

static int broken(struct err *e)
{
	char what[sizeof(e->message)];
	if (!e)
		return -EINVAL;
	memcpy(what, e->message, sizeof(what));
	snprintf(e->message, sizeof(e->message), "%.200s, says %s", what, SCHEMA_FILE);
	return -EINVAL;
}

static int check(struct replica *r, const struct id *scope, const char *name, size_t len,
		 const struct json *tree, const char *text, size_t text_len, struct err *e)
{
	_cleanup_(schema_freep) struct schema *s = NULL;
	if (schema_is_name(name, len))
		return schema_new(text, text_len, &s, e);
	int rc = schema_of(r, scope, &s);
	if (rc < 0)
		return err_errno(e, rc, "cannot read %s", SCHEMA_FILE);
	rc = s ? schema_check(s, tree, text, e) : 0;
	return rc == -EINVAL ? broken(e) : rc;
}

int draft_check(struct replica *r, const struct id *scope, const char *name, size_t len,
		const struct draft *d, struct err *e)
{
	return d->tree ? check(r, scope, name, len, d->tree, d->text, d->len, e) : 0;
}

int replica_check(struct replica *r, const struct id *id, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	_cleanup_(schema_freep) struct schema *s = NULL;
	struct node n;
	struct json *tree;
	int rc = node_get(r, &a, id, &n);
	if (rc == 0 && (!(n.flags & NODE_LIVE) || n.attr.kind != NODE_FILE))
		rc = -ENOENT;
	if (rc < 0)
		return rc;
	bool itself = schema_is_name(n.name, n.name_len);
	if (itself && n.attr.form != FORM_JSON)
		return err_set(e, -EINVAL, "a schema has to be JSON");
	if (n.attr.form != FORM_JSON)
		return 0;
	rc = itself ? 0 : schema_of(r, &n.attr.scope, &s);
	if (rc < 0 || (!itself && !s))
		return rc;
	rc = replica_read(r, id, &v);
	if (rc == 0)
		rc = version_load(v);
	if (rc == 0)
		rc = json_parse(&a, version_data(v), (size_t)version_size(v), NULL, &tree, NULL);
	return rc < 0 ? rc
		      : check(r, &n.attr.scope, n.name, n.name_len, tree, version_data(v),
			      (size_t)version_size(v), e);
}

/* *ret NULL: there is none, or nobody knows. */
static void schema_at(struct replica *r, const struct id *dir, struct id *ret_scope, struct schema **ret)
{
	struct node n;
	*ret = NULL;
	*ret_scope = (struct id){ 0 };
	if (dir_get(r, dir, &n) < 0)
		return;
	child_scope(&n, ret_scope);
	if (schema_of(r, ret_scope, ret) < 0)
		*ret = NULL;
}

bool replica_asks(struct replica *r, const struct id *dir, const char *name, size_t len)
{
	_cleanup_(schema_freep) struct schema *s = NULL;
	struct id scope;
	if (schema_is_name(name, len))
		return true;
	schema_at(r, dir, &scope, &s);
	return s;
}

bool replica_refuses(struct replica *r, const struct id *dir, const char *name, size_t len,
		     const struct content *c, bool strict, struct err *e)
{
	_cleanup_(draft_done) struct draft d = { 0 };
	_cleanup_(schema_freep) struct schema *s = NULL;
	struct id scope;
	schema_at(r, dir, &scope, &s);
	if (draft_make(r, name, len, c, SAVE_BY_NAME, &d, e) < 0 || d.refused)
		return strict || schema_is_name(name, len);
	return draft_check(r, &scope, name, len, &d, e) < 0;
}

/* ---- what merges have broken ---- */

struct search {
	struct replica *r;
	struct id *dir; /* still to be looked through */
	size_t n, cap;
	conflicted_fn f;
	void *userdata;
	int rc;
};

static int search_later(struct search *s, const struct id *dir)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct id *more = reallocarray(s->dir, cap, sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->dir = more;
		s->cap = cap;
	}
	s->dir[s->n++] = *dir;
	return 0;
}

static int look_at(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct search *s = userdata;
	(void)name;
	(void)len;
	if (attr->kind == NODE_DIR)
		return search_later(s, &attr->id);
	int rc = attr->kind == NODE_FILE ? replica_check(s->r, &attr->id, NULL) : 0;
	if (rc == -EINVAL)
		return s->f(&attr->id, s->userdata);
	return rc == -ENOENT ? 0 : rc;
}

/* Collections that have a schema, or something in its place. */
static int begin_at(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct search *s = userdata;
	struct attr at;
	(void)name;
	(void)len;
	if (attr->kind != NODE_DIR || replica_lookup(s->r, &attr->id, SCHEMA_FILE, strlen(SCHEMA_FILE), &at) < 0)
		return 0;
	return search_later(s, &attr->id);
}

static int look_at_root(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	return attr->kind == NODE_DIR ? 0 : look_at(name, len, attr, userdata);
}

int replica_broken(struct replica *r, conflicted_fn f, void *userdata)
{
	struct search s = { .r = r, .f = f, .userdata = userdata };
	struct attr at;
	int rc = 0;
	if (replica_lookup(r, &NODE_ROOT, SCHEMA_FILE, strlen(SCHEMA_FILE), &at) == 0)
		rc = replica_list(r, &NODE_ROOT, look_at_root, &s);
	if (rc == 0)
		rc = replica_list(r, &NODE_ROOT, begin_at, &s);
	while (rc == 0 && s.n) {
		const struct id dir = s.dir[--s.n];
		rc = replica_list(r, &dir, look_at, &s);
		rc = rc == -ENOENT ? 0 : rc;
	}
	free(s.dir);
	return rc;
}
