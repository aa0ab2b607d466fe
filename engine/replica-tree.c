/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Creating and deleting nodes. */

#include "engine/replica-purge.h"

#include <errno.h>

#include "engine/edge.h"
#include "engine/nameid.h"
#include "engine/purged.h"
#include "engine/replica-schema-impl.h"

void child_scope(const struct node *dir, struct id *ret)
{
	if (id_equal(&dir->attr.id, &NODE_ROOT))
		*ret = NODE_ROOT;
	else if (id_equal(&dir->attr.scope, &NODE_ROOT))
		*ret = dir->attr.id;
	else
		*ret = dir->attr.scope;
}

int name_check(const char *name, size_t len)
{
	if (len > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	return name_valid(name, len) ? 0 : -EINVAL;
}

int dir_get(struct replica *r, const struct id *id, struct node *ret)
{
	int rc = node_get(r, NULL, id, ret);
	if (rc < 0)
		return rc;
	if (!(ret->flags & NODE_LIVE))
		return -ENOENT;
	if (ret->attr.kind != NODE_DIR)
		return -ENOTDIR;
	/* What is in lost+found got there by itself. */
	return id_equal(id, &NODE_LOST) ? -EPERM : 0;
}

/* The id that a name gives; ones that live elsewhere or are purged are passed over. `own` may be taken though it
 * lives: it is about to be replaced. *ret_old is the record that the id has already. */
int id_choose(struct commit *c, enum node_kind kind, const struct id *parent, const char *name,
	      size_t len, const struct id *own, struct id *ret, struct stored *ret_old)
{
	struct replica *r = c->r;
	*ret_old = (struct stored){ 0 };
	if (kind == NODE_DIR || (kind == NODE_FILE && name_is_document(name, len))) {
		const char *type = kind == NODE_DIR ? "dir" : "json";
		for (uint32_t g = 0; g < GENERATIONS_MAX; g++) {
			struct node n;
			name_id(type, parent, name, len, g, ret);
			/* What has no record is no node: most names are new, and are asked for once. */
			int rc = commit_record(c, ret, ret_old, NULL);
			if (rc < 0)
				return rc == -ENOENT ? 0 : rc;
			rc = node_get(r, NULL, ret, &n);
			if (rc < 0 && rc != -ENOENT)
				return rc;
			bool elsewhere = rc == 0 && (n.flags & NODE_LIVE) && !(own && id_equal(own, ret));
			if (!elsewhere && !record_is_spent(ret_old->record))
				return 0;
			*ret_old = (struct stored){ 0 };
		}
	}
	r->config.random(r->config.userdata, ret->b, ID_SIZE);
	return 0;
}

int record_above(struct arena *a, uint64_t counter, const struct record **r)
{
	if ((*r)->n_edges == 0 || (*r)->edge[0].counter > counter || counter >= EDGE_PURGED - 1)
		return 0;
	struct record *copy = arena_new(a, struct record);
	if (!copy)
		return -ENOMEM;
	*copy = **r;
	copy->edge[0].counter = counter + 1;
	*r = copy;
	return 0;
}

int record_begin(struct commit *c, const struct id *id, const struct id *scope, enum node_kind kind,
		 const struct stored *old, const struct id *parent, const char *name, size_t len,
		 uint32_t mode, const struct record **ret)
{
	struct arena *a = &c->arena;
	const struct record *rec = old->record;
	int rc = 0;
	if (rec) {
		if (rec->kind != kind || !id_equal(&rec->scope, scope))
			return -EBADMSG;
		rc = record_clear(a, rec, &c->stamp, &rec);
	} else {
		struct record *new;
		rc = record_new(a, id, scope, kind, &new);
		rec = new;
	}
	if (rc == 0)
		rc = record_move(a, c->r->actors, rec, parent, name, len, &c->moved, &rec);
	if (rc == 0 && mode != mode_normal(kind)) {
		uint8_t data[VALUE_INT_MAX];
		struct value v = value_of_int(mode & 07777, data);
		rc = record_set(a, c->r->actors, rec, TOP_MODE, NULL, 0, &v, NULL, &c->stamp, &rec);
	}
	if (rc == 0)
		*ret = rec;
	return rc;
}

struct birth {
	const struct id *parent;
	const char *name;
	size_t len;
	enum node_kind kind;
	uint32_t mode;
	uint64_t when_us;
	struct draft *draft;        /* file */
	const struct difference *diff;
	const struct value *target; /* link */
	const struct precursor *from; /* file; NULL: of nothing */
};

/* Programs have seen a time already. */
static int set_time(struct commit *c, const struct birth *b, const struct record **rec)
{
	uint8_t data[VALUE_INT_MAX];
	if (!b->from || !b->from->mtime_ns)
		return 0;
	const struct value v = value_of_int(b->from->mtime_ns, data);
	return record_set(&c->arena, c->r->actors, *rec, TOP_MTIME, NULL, 0, &v, NULL, &c->stamp, rec);
}

static int create_locked(struct commit *c, const struct birth *b, struct touched **ret)
{
	struct replica *r = c->r;
	struct pointers pointers = { 0 };
	struct stored old;
	struct node dir;
	struct id id, scope;
	const struct record *rec;
	uint64_t above;
	int rc = dir_get(r, b->parent, &dir);
	if (rc < 0)
		return rc;
	rc = name_free(c, b->parent, b->name, b->len, &above);
	if (rc < 0)
		return rc;
	child_scope(&dir, &scope);
	rc = id_choose(c, b->kind, b->parent, b->name, b->len, NULL, &id, &old);
	if (rc == 0)
		rc = record_begin(c, &id, &scope, b->kind, &old, b->parent, b->name, b->len,
				  b->mode, &rec);
	if (rc == 0)
		rc = record_above(&c->arena, above, &rec);
	if (rc < 0)
		return rc;
	if (b->draft) {
		rc = draft_write(c, b->draft, b->diff, rec, NULL, false, &pointers, &rec);
		if (rc == 0)
			rc = set_time(c, b, &rec);
		/* What the remover had not seen would have kept the node alive, so all of the old
		 * content goes and what is written is what shows. */
		if (rc == 0)
			rc = draft_put(c, b->draft, &old, rec, false, &pointers, CHANGE_ATTR, ret);
		pointers_done(&pointers);
		return rc;
	}
	if (b->target)
		rc = record_set_content(&c->arena, r->actors, rec, b->target, NULL, &c->stamp, &rec);
	else
		rc = record_touch(&c->arena, r->actors, rec, &c->stamp, &rec);
	if (rc == 0)
		rc = commit_put(c, &old, rec, CHANGE_CONTENT | CHANGE_ATTR, ret);
	return rc;
}

int create_file(struct commit *c, const struct id *parent, const char *name, size_t len,
		struct draft *d, const struct difference *diff, struct touched **ret)
{
	const struct birth b = { parent, name, len, NODE_FILE, mode_normal(NODE_FILE), 0, d, diff,
				 NULL, NULL };
	return create_locked(c, &b, ret);
}

static int create(struct replica *r, const struct birth *b, struct attr *ret,
		  struct version **ret_version, struct err *e)
{
	struct commit c;
	struct touched *t = NULL;
	commit_begin(&c, r, false);
	commit_moved_at(&c, b->when_us);
	c.kept = b->from ? b->from->key : NULL;
	int rc = create_locked(&c, b, &t);
	if (rc < 0)
		err_errno(e, rc, "cannot create %.*s", (int)b->len, b->name);
	else
		rc = commit_end(&c, e);
	if (rc == 0 && ret)
		*ret = t->after.attr;
	if (rc == 0 && ret_version)
		*ret_version = version_ref(t->version);
	commit_done(&c);
	return rc;
}

/* b has no draft yet. */
static int create_of(struct replica *r, struct birth *b, const struct content *c, enum save_as as,
		     struct attr *ret, struct version **ret_version, struct err *e)
{
	_cleanup_(draft_done) struct draft d = { 0 };
	struct difference diff;
	struct node dir;
	struct id scope;
	int rc = name_check(b->name, b->len);
	if (rc < 0)
		return err_errno(e, rc, "not a name for a file");
	rc = draft_make(r, b->name, b->len, c, as, &d, e);
	if (rc == 0 && d.refused)
		rc = draft_bytes(r, c, true, &d, e);
	if (rc < 0)
		return rc;
	if (e)
		*e = (struct err){ 0 };
	rc = dir_get(r, b->parent, &dir);
	if (rc == 0) {
		child_scope(&dir, &scope);
		rc = draft_check(r, &scope, b->name, b->len, &d, e);
		if (rc < 0)
			return rc;
		rc = draft_difference(r, &d.arena, &scope, &d, NULL, &diff);
	}
	if (rc < 0)
		return err_errno(e, rc, "cannot create %.*s", (int)b->len, b->name);
	b->draft = &d;
	b->diff = &diff;
	rc = create(r, b, ret, ret_version, e);
	if (rc < 0)
		atomic_fetch_add(&r->orphaned, d.ref.size);
	return rc;
}

int replica_create(struct replica *r, const struct id *parent, const char *name, size_t len,
		   uint32_t mode, const struct content *c, enum save_as as, uint64_t when_us,
		   struct attr *ret, struct version **ret_version, struct err *e)
{
	struct birth b = { parent, name, len, NODE_FILE, mode, when_us, NULL, NULL, NULL, NULL };
	return create_of(r, &b, c, as, ret, ret_version, e);
}

int replica_create_from(struct replica *r, const struct id *parent, const char *name, size_t len,
			uint32_t mode, const struct content *c, const struct precursor *from,
			struct attr *ret, struct version **ret_version, struct err *e)
{
	struct birth b = { parent, name, len, NODE_FILE, mode, from->named_us, NULL, NULL, NULL,
			   from };
	return create_of(r, &b, c, SAVE_BY_NAME, ret, ret_version, e);
}

int replica_mkdir(struct replica *r, const struct id *parent, const char *name, size_t len,
		  uint32_t mode, struct attr *ret)
{
	int rc = name_check(name, len);
	const struct birth b = { parent, name, len, NODE_DIR, mode, 0, NULL, NULL, NULL, NULL };
	return rc < 0 ? rc : create(r, &b, ret, NULL, NULL);
}

int replica_symlink(struct replica *r, const struct id *parent, const char *name, size_t len,
		    const char *target, struct attr *ret)
{
	size_t target_len = strlen(target);
	const struct value v = { VALUE_LINK, (const uint8_t *)target, target_len };
	const struct birth b = { parent, name, len, NODE_LINK, mode_normal(NODE_LINK),
				 0, NULL, NULL, &v, NULL };
	int rc = name_check(name, len);
	if (rc == 0 && target_len == 0)
		rc = -ENOENT;
	if (rc == 0 && target_len > LINK_SIZE_MAX)
		rc = -ENAMETOOLONG;
	return rc < 0 ? rc : create(r, &b, ret, NULL, NULL);
}

/* Puts a node into the trash within the commit. */
int node_trash(struct commit *c, const struct id *id)
{
	struct stored s;
	const struct record *rec;
	int rc = commit_record(c, id, &s, NULL);
	if (rc == 0)
		rc = record_move(&c->arena, c->r->actors, s.record, &NODE_TRASH, "", 0, &c->moved,
				 &rec);
	if (rc == 0)
		rc = commit_put(c, &s, rec, 0, NULL);
	return rc;
}

static int remove_locked(struct commit *c, const struct id *id)
{
	struct node n;
	int rc = node_get(c->r, NULL, id, &n);
	if (rc < 0)
		return rc;
	if (!(n.flags & NODE_LIVE))
		return -ENOENT;
	if (is_hidden(c->r, id))
		return -EROFS;
	if (n.attr.kind == NODE_DIR && !commit_dir_empty(c, id)) {
		rc = links_clear(c, id);
		if (rc <= 0)
			return rc < 0 ? rc : -ENOTEMPTY;
	}
	return node_unlink(c, id);
}

int replica_remove(struct replica *r, const struct id *id, uint64_t when_us)
{
	struct commit c;
	if (id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST))
		return -EBUSY;
	commit_begin(&c, r, false);
	commit_moved_at(&c, when_us);
	int rc = remove_locked(&c, id);
	if (rc == 0)
		rc = commit_end(&c, NULL);
	commit_done(&c);
	return rc;
}
