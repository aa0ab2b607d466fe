/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Batches: several files changed in one commit. The steps are worked out on trees first, the later
 * ones on what the earlier ones made; then each file that is another one now is saved, created or
 * deleted once. All of it happens under the commit lock, so what was read is the head. */

#include "engine/replica-schema-impl.h"

#include <errno.h>

#include "engine/jsonpatch.h"
#include "engine/nameid.h"
#include "engine/table.h"

/* A file that the steps name. */
struct target {
	struct target *next;
	struct table_link place; /* by parent and name */
	struct table_link file;  /* was: by its id */
	struct id parent;
	const char *name;
	size_t len;
	bool was, is;          /* there: before and after the steps */
	struct attr attr;      /* was */
	struct version *base;  /* was, and its content was asked for */
	struct json *old;      /* of base; NULL: no document */
	struct json *tree;     /* what it is now; NULL: as it was */
	struct draft draft;
	struct buf text;
	struct err why;        /* of the draft */
	uint32_t step;         /* the last one that changed it */
	struct touched *touched;
};

struct txn {
	struct commit c;
	struct target *first, **last;
	struct table places, files;
	const char *head;      /* path whose first bytes name dir; NULL: none yet */
	size_t head_len;
	struct id dir;
	struct target **of;    /* of each step; arena */
	bool changed;
	struct err *e;
};

static void txn_done(struct txn *x)
{
	for (struct target *t = x->first; t; t = t->next) {
		version_unref(t->base);
		draft_done(&t->draft);
		buf_done(&t->text);
	}
	table_done(&x->places);
	table_done(&x->files);
	commit_done(&x->c);
}

/* ---- which file ---- */

static int no_such(struct txn *x, const char *path)
{
	return err_set(x->e, -ENOENT, "there is no \"%.120s\"", path);
}

/* Bytes of what stands before the last name of a path, with the slash at its end. */
static size_t head_len(const char *path)
{
	size_t len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len;
}

/* The directory that the first `head` bytes of a path name; it has to be there. */
static int resolve_dir(struct txn *x, const char *path, size_t head, struct id *ret)
{
	struct replica *r = x->c.r;
	struct id at = NODE_ROOT;
	for (const char *p = path + strspn(path, "/"); p < path + head;) {
		size_t len = strcspn(p, "/");
		struct node n;
		int rc = name_check(p, len);
		if (rc < 0)
			return err_errno(x->e, rc, "\"%.120s\" is no path of a file", path);
		rc = dirent_find(r, &at, p, len, &at);
		if (rc == 0)
			rc = node_get(r, NULL, &at, &n);
		if (rc == 0 && n.attr.kind != NODE_DIR)
			rc = -ENOTDIR;
		if (rc == -ENOENT || rc == -ENOTDIR)
			return err_set(x->e, rc, "there is no directory \"%.*s\"; make it first",
				       (int)(p + len - path > 120 ? 120 : p + len - path), path);
		if (rc < 0)
			return err_errno(x->e, rc, "cannot look at \"%.120s\"", path);
		p += len + strspn(p + len, "/");
	}
	*ret = at;
	return 0;
}

/* Directory and last name of a path. */
static int resolve(struct txn *x, const char *path, struct id *ret_parent, const char **ret_name,
		   size_t *ret_len)
{
	size_t head = head_len(path), len = strcspn(path + head, "/");
	int rc = name_check(path + head, len);
	if (rc < 0)
		return err_errno(x->e, rc, "\"%.120s\" is no path of a file", path);
	/* Most are in the directory of the one before, and the commit lock keeps that where it is. */
	if (!x->head || x->head_len != head || memcmp(x->head, path, head) != 0) {
		rc = resolve_dir(x, path, head, &x->dir);
		if (rc < 0)
			return rc;
		x->head = path;
		x->head_len = head;
	}
	*ret_parent = x->dir;
	*ret_name = path + head;
	*ret_len = len;
	return 0;
}

static struct target *target_at(const struct txn *x, const struct id *parent, const char *name,
				size_t len, uint64_t hash)
{
	for (struct table_link *l = table_first(&x->places, hash); l; l = l->next) {
		struct target *t = table_entry(l, struct target, place);
		if (t->len == len && id_equal(&t->parent, parent) && !memcmp(t->name, name, len))
			return t;
	}
	return NULL;
}

/* Another target that is the same file: a hard link. */
static const struct target *target_twin(const struct txn *x, const struct target *t)
{
	for (struct table_link *l = table_first(&x->files, id_hash(&t->attr.id)); l; l = l->next) {
		const struct target *other = table_entry(l, struct target, file);
		if (id_equal(&other->attr.id, &t->attr.id))
			return other;
	}
	return NULL;
}

static int target_get(struct txn *x, const char *path, struct target **ret)
{
	struct id parent;
	const char *name;
	size_t len;
	int rc = resolve(x, path, &parent, &name, &len);
	if (rc < 0)
		return rc;
	uint64_t hash = table_hash_bytes(name, len, id_hash(&parent));
	*ret = target_at(x, &parent, name, len, hash);
	if (*ret)
		return 0;
	struct target *t = arena_new(&x->c.arena, struct target);
	if (!t)
		return err_errno(x->e, -ENOMEM, "cannot change \"%.120s\"", path);
	t->parent = parent;
	t->name = name;
	t->len = len;
	rc = commit_unclaimed(&x->c, &parent, name, len);
	if (rc >= 0)
		rc = rc ? -ENOENT : replica_lookup(x->c.r, &parent, name, len, &t->attr);
	if (rc < 0 && rc != -ENOENT)
		return err_errno(x->e, rc, "cannot look at \"%.120s\"", path);
	t->was = t->is = rc == 0;
	if (t->was && t->attr.kind == NODE_DIR)
		return err_set(x->e, -EISDIR, "\"%.120s\" is a directory", path);
	const struct target *twin = t->was ? target_twin(x, t) : NULL;
	if (twin)
		return err_set(x->e, -EINVAL, "\"%.120s\" and \"%.*s\" are one file: "
			       "name it once", path, (int)twin->len, twin->name);
	rc = table_add(&x->places, &t->place, hash);
	if (rc == 0 && t->was)
		rc = table_add(&x->files, &t->file, id_hash(&t->attr.id));
	if (rc < 0)
		return err_errno(x->e, rc, "cannot change \"%.120s\"", path);
	*x->last = t;
	x->last = &t->next;
	*ret = t;
	return 0;
}

/* ---- what the steps make of it ---- */

static int check_version(struct txn *x, const struct target *t, const struct txn_step *s)
{
	char hex[ID_HEX];
	if (!s->version)
		return 0;
	size_t len = strlen(s->version);
	if (len > 0 && (len < TXN_VERSION_DIGITS || len >= ID_HEX ||
			strspn(s->version, "0123456789abcdef") < len))
		return err_set(x->e, -EINVAL, "a version is %d to %d hexadecimal digits",
			       TXN_VERSION_DIGITS, ID_HEX - 1);
	if (!t->was && len > 0)
		return err_set(x->e, -ESTALE, "\"%.120s\" is not there any more", s->path);
	if (t->was && len == 0)
		return err_set(x->e, -ESTALE, "\"%.120s\" is there already", s->path);
	if (t->was && strncmp(id_hex(&t->attr.version, hex), s->version, len) != 0)
		return err_set(x->e, -ESTALE, "\"%.100s\" is at version %.12s now; read it again",
			       s->path, hex);
	return 0;
}

/* Reads what is there; t->old stays NULL when that is no document. */
static int load(struct txn *x, struct target *t, const char *path)
{
	if (!t->was || t->base)
		return 0;
	if (t->attr.kind != NODE_FILE)
		return err_set(x->e, -EINVAL, "\"%.120s\" is no file", path);
	int rc = replica_read(x->c.r, &t->attr.id, &t->base);
	if (rc == 0 && version_form(t->base) == FORM_JSON)
		rc = json_parse(&x->c.arena, version_data(t->base), version_size(t->base), NULL,
				&t->old, NULL);
	return rc < 0 ? err_errno(x->e, rc, "cannot read \"%.120s\"", path) : 0;
}

static int put(struct txn *x, struct target *t, const struct txn_step *s)
{
	if (!name_is_document(t->name, t->len))
		return err_set(x->e, -EINVAL, "\"%.120s\" is no document: its name has to end in .json",
			       s->path);
	int rc = jsonpatch_replace(&x->c.arena, t->old, s->value, &t->tree, x->e);
	t->is = t->is || rc == 0;
	return rc;
}

static int patch(struct txn *x, struct target *t, const struct txn_step *s)
{
	const struct json *now = t->tree ? t->tree : t->old;
	if (!t->is)
		return no_such(x, s->path);
	if (!now)
		return err_set(x->e, -EINVAL, "\"%.120s\" is no document", s->path);
	if (s->op == TXN_PATCH)
		return jsonpatch_apply(&x->c.arena, now, s->value, &t->tree, x->e);
	return jsonpatch_merge(&x->c.arena, now, s->value, &t->tree, x->e);
}

static int step(struct txn *x, struct target *t, const struct txn_step *s)
{
	int rc = check_version(x, t, s);
	if (rc == 0 && s->op != TXN_DELETE)
		rc = load(x, t, s->path);
	if (rc < 0)
		return rc;
	switch (s->op) {
	case TXN_PUT:
		return put(x, t, s);
	case TXN_PATCH:
	case TXN_MERGE:
		return patch(x, t, s);
	case TXN_DELETE:
		break;
	}
	if (!t->is)
		return no_such(x, s->path);
	t->is = false;
	t->tree = NULL;
	return 0;
}

/* ---- into the commit ---- */

/* The collection that it is in, or will be. */
static int scope_of(struct replica *r, const struct target *t, struct id *ret)
{
	struct node dir;
	if (t->was) {
		*ret = t->attr.scope;
		return 0;
	}
	int rc = dir_get(r, &t->parent, &dir);
	if (rc == 0)
		child_scope(&dir, ret);
	return rc;
}

static int save(struct txn *x, struct target *t)
{
	struct commit *c = &x->c;
	struct difference diff;
	struct id scope;
	int rc = document_write(t->tree, t->old, t->base, &t->text);
	const struct content content = { t->text.data, t->text.len, -1 };
	if (rc == 0)
		rc = draft_make(c->r, t->name, t->len, &content, SAVE_BY_NAME, &t->draft, &t->why);
	if (rc == 0 && t->draft.refused) {
		*x->e = t->why;
		return t->draft.refused;
	}
	if (rc == 0)
		rc = scope_of(c->r, t, &scope);
	if (rc == 0) {
		rc = draft_check(c->r, &scope, t->name, t->len, &t->draft, x->e);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		rc = draft_difference(c->r, &t->draft.arena, &scope, &t->draft,
				      t->was ? t->base : NULL, &diff);
	if (rc < 0)
		return err_errno(x->e, rc, "cannot save");
	if (t->was)
		return save_locked(c, &t->attr.id, t->base, &t->draft, &diff, &t->touched, x->e,
				   &t->why);
	rc = create_file(c, &t->parent, t->name, t->len, &t->draft, &diff, &t->touched);
	return rc < 0 ? err_errno(x->e, rc, "cannot create it") : 0;
}

static int finish(struct txn *x, struct target *t)
{
	int rc = 0;
	if (t->is) {
		if (t->tree && !(t->old && json_equal(t->tree, t->old)))
			rc = save(x, t);
		x->changed |= t->touched != NULL;
	} else if (t->was) {
		rc = node_unlink(&x->c, &t->attr.entry);
		if (rc < 0)
			err_errno(x->e, rc, "cannot delete it");
		x->changed = true;
	}
	return rc;
}

static int run(struct txn *x, const struct txn_step *s, uint32_t n, uint32_t *ret_step)
{
	for (uint32_t i = 0; i < n; i++) {
		*ret_step = i;
		int rc = target_get(x, s[i].path, &x->of[i]);
		if (rc == 0)
			rc = step(x, x->of[i], &s[i]);
		if (rc < 0)
			return rc;
		x->of[i]->step = i;
	}
	for (struct target *t = x->first; t; t = t->next) {
		*ret_step = t->step;
		int rc = finish(x, t);
		if (rc < 0)
			return rc;
	}
	*ret_step = n;
	return x->changed ? commit_end(&x->c, x->e) : 0;
}

static enum txn_did did(const struct target *t)
{
	if (!t->is)
		return t->was ? TXN_DELETED : TXN_NOTHING;
	return !t->was ? TXN_CREATED : t->touched ? TXN_CHANGED : TXN_NOTHING;
}

int replica_steps(struct replica *r, const struct txn_step *s, uint32_t n, bool whole,
		  struct txn_result *ret, uint32_t *ret_step, struct err *e)
{
	_cleanup_(txn_done) struct txn x = { 0 };
	struct err ignored = { 0 };
	uint32_t at = n;
	x.e = e ? e : &ignored;
	x.last = &x.first;
	*ret_step = n;
	if (n > TXN_STEPS_MAX)
		return err_set(e, -E2BIG, "a batch may have %u steps, not more", TXN_STEPS_MAX);
	commit_begin(&x.c, r, false);
	x.c.whole = whole;
	x.of = arena_array(&x.c.arena, n ? n : 1, sizeof(struct target *));
	int rc = x.of ? run(&x, s, n, &at) : err_errno(e, -ENOMEM, "cannot take the batch in");
	if (rc < 0) {
		*ret_step = at;
		return rc;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct target *t = x.of[i];
		ret[i] = (struct txn_result){ .there = t->is, .did = t->step == i ? did(t) : TXN_NOTHING };
		if (t->is)
			ret[i].version = t->touched ? t->touched->after.attr.version :
						      t->attr.version;
	}
	return 0;
}

int replica_txn(struct replica *r, const struct txn_step *s, uint32_t n, struct txn_result *ret,
		uint32_t *ret_step, struct err *e)
{
	return replica_steps(r, s, n, true, ret, ret_step, e);
}
