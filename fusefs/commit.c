/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/commit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/replica-schema.h"
#include "fusefs/draft.h"
#include "fusefs/field.h"
#include "fusefs/flip.h"
#include "fusefs/handle.h"
#include "fusefs/hardlink.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/notify.h"

/* A commit that comes so long after the write says when that was. */
#define LATE_NS (SECOND_NS / 4)

/* The bytes in memory when they can be a document; what is read when it is needed otherwise. *own
 * must live as long. */
static int content_of(struct fusefs *fs, struct copy *c, struct content *ret, struct workfile **own)
{
	if (c->work) {
		workfile_content(c->work, ret);
		return 0;
	}
	if (c->origin && !version_data(c->origin)) {
		int r = workfile_from(fs->spool, c->origin, own);
		if (r == 0)
			workfile_content(*own, ret);
		return r;
	}
	*ret = (struct content){ .fd = -1, .len = (size_t)copy_size(c) };
	ret->data = c->origin ? version_data(c->origin) : "";
	return 0;
}

/* What was spooled is read back if it is no longer than a document or a text can be. */
static const void *bytes_of(struct copy *c, const struct content *content, size_t max,
			    struct buf *room)
{
	if (content->fd == -1)
		return content->data;
	if (content->len > max)
		return NULL;
	uint8_t *p = buf_reserve(room, content->len + 1);
	if (!p || copy_pread(c, p, content->len, 0) != (ssize_t)content->len)
		return NULL;
	room->len = content->len;
	return p;
}

/* Section 1 of fusefs/base.h. Referenced; NULL: nobody had read anything. */
static struct version *choose_base(struct fusefs *fs, const struct id *node, const struct copy *c,
				   const struct proc *writer, bool temp, int64_t born_ns,
				   struct version *fallback, const void *data, size_t len)
{
	if (!temp) {
		/* Bytes that were kept are of what the copy is of, whatever the writer read before: other
		 * handles may have changed it since. */
		bool rewritten = c->covered >= copy_size(c);
		struct version *v = rewritten ? c->seen : copy_basis(c);
		if (v)
			return version_ref(v);
	}
	struct base_question q = {
		.node = *node,
		.writer = *writer,
		.born_ns = temp ? born_ns : 0,
		.since_ns = temp ? born_ns - BEFORE_TEMP_NS : c->since_ns,
		.earlier_ns = temp ? born_ns - STRANGERS_NS : 0,
		.until_ns = temp ? born_ns : 0,
		.then = temp ? fallback : NULL,
		.data = data,
		.len = len,
	};
	int rule;
	struct version *v = bases_find(fs->bases, &q, &rule);
	if (v)
		return v;
	return fallback ? version_ref(fallback) : NULL;
}

/* These are the bytes of the version, a document's or a text's. */
static bool holds(const struct version *v, const struct content *content, const void *data)
{
	return data && version_data(v) && version_size(v) == content->len &&
	       memcmp(version_data(v), data, content->len) == 0;
}

static bool same_bytes(struct fusefs *fs, const struct version *v, const struct content *content,
		       const void *data)
{
	if (version_size(v) != content->len)
		return false;
	if (version_data(v))
		return data && memcmp(version_data(v), data, content->len) == 0;
	/* A blob is whole: ours, unless another one won. */
	struct attr attr;
	return replica_attr(fs->replica, version_node(v), &attr) >= 0 && !attr.conflict;
}

/* c's bytes are in the replica as v. What the writer knows now is noted as read by it. */
static void committed(struct fusefs *fs, struct inode *i, struct copy *c, const struct proc *writer,
		      struct version *base, struct version *v, const struct content *content,
		      const void *data)
{
	bool same = same_bytes(fs, v, content, data), shared = c == i->shared;
	/* What was written went through the kernel's pages, and so did what it wrote over. */
	bool met = !c->unread;
	struct version *written = NULL;
	if (!same && version_data(v) && data)
		version_written(fs->replica, base, v, data, content->len, &written);
	if (!written)
		written = version_ref(v);
	bases_wrote(fs->bases, writer, version_node(v), written, monotonic_ns());
	atomic_fetch_add(&fs->saves, 1);
	if (shared)
		draft_drop(fs, i);
	copy_reset(c, version_ref(c->users ? written : v));
	version_unref(written);
	/* Whoever looked has seen the time of the write. */
	if (same)
		i->unseen_ns = wall_ns();
	if (shared && same && met) {
		i->cache = i->told = *version_id(v);
		i->partial = true; /* of what was not written whole it has no page */
		c->unread = false;
		return;
	}
	i->cache = (struct id){ 0 };
	notify_inode(fs, i);
	if (i->shared && i->shared->users)
		flip_add(fs, i);
}

/* The same bytes were written again over a file that is no document and no text. To make(1) and git(1) its
 * time says that: what it is made of is older. before: as it was. */
static bool is_rewritten(const struct attr *before, const struct version *v)
{
	return before->form == FORM_BLOB && id_equal(&before->version, version_id(v));
}

static bool is_as(const struct version *x, const struct version *y)
{
	const struct blob_ref *a = version_blob(x), *b = version_blob(y);
	if (version_data(x) && version_data(y))
		return version_size(x) == version_size(y) &&
		       memcmp(version_data(x), version_data(y), version_size(x)) == 0;
	return a && b && a->size == b->size && sha256_cmp(&a->manifest, &b->manifest) == 0;
}

/* What has the name now takes it in, as if it had been made under that name apart, or as a save of it if it is what
 * the writer has read. */
static int save_into(struct fusefs *fs, const struct id *id, struct version *base, const struct content *content,
		     struct version **ret, struct err *e)
{
	_cleanup_(version_unrefp) struct version *is = NULL;
	int r = replica_read(fs->replica, id, &is);
	const bool read = r >= 0 && base && version_load(base) == 0 && is_as(is, base);
	return r < 0 ? r : replica_save(fs->replica, id, read ? is : NULL, content, SAVE_BY_NAME, ret, e);
}

/* Deleted by others while it was written: what was written is not lost. What was in it may have become another file
 * already (shoal-format(7), Purging), or somebody made one of that name. */
static int revive(struct fusefs *fs, struct inode *i, struct version *base, const struct content *content,
		  struct version **ret, struct err *e)
{
	if (!i->name)
		return -ENOENT;
	struct attr attr;
	int r = replica_create(fs->replica, &i->parent, i->name, strlen(i->name),
			       i->last.mode ? i->last.mode : 0644, content, SAVE_BY_NAME, 0, &attr,
			       ret, e);
	if (r == -EEXIST && replica_lookup(fs->replica, &i->parent, i->name, strlen(i->name), &attr) >= 0 &&
	    attr.kind == NODE_FILE)
		r = save_into(fs, &attr.id, base, content, ret, e);
	if (r >= 0) {
		inode_bind(fs, i, &attr.id);
		notify_entry(fs, &i->parent, i->name);
	}
	return r;
}

static int commit_node(struct fusefs *fs, struct inode *i, struct copy *c, bool quiet,
		       struct err *e)
{
	_cleanup_(workfile_freep) struct workfile *own_work = NULL;
	struct content content;
	int r = content_of(fs, c, &content, &own_work);
	if (r < 0)
		return r;
	_cleanup_(buf_done) struct buf text = { 0 };
	const size_t max = i->last.form == FORM_TEXT ? TEXT_SIZE_MAX : DOCUMENT_SIZE_MAX;
	const void *data = bytes_of(c, &content, i->last.form == FORM_BLOB ? 0 : max, &text);
	struct proc writer = c->writer;
	struct version *fallback = c->base ? c->base : c->fallback ? c->fallback : c->origin;
	_cleanup_(version_unrefp) struct version *base =
		choose_base(fs, &i->id, c, &writer, false, 0, fallback, data, content.len);
	_cleanup_(version_unrefp) struct version *v = NULL;
	int64_t mtime = c->mtime_ns;
	/* Written a while ago: the time that programs have seen stays. */
	bool mtime_set = c->mtime_set || wall_ns() - mtime > LATE_NS;
	struct attr before = { 0 };
	replica_attr(fs->replica, &i->id, &before);

	struct committer own;
	fs_own_begin(fs, &own);
	r = replica_save(fs->replica, &i->id, base, &content, SAVE_BY_NAME, &v, e);
	if (r == -ENOENT)
		r = revive(fs, i, base, &content, &v, e);
	if (r >= 0 && (mtime_set || is_rewritten(&before, v)))
		replica_set_mtime(fs->replica, &i->id, mtime);
	fs_own_end(fs, &own);
	if (r >= 0) {
		committed(fs, i, c, &writer, base, v, &content, data);
		return 0;
	}
	if (r == -EINVAL && quiet)
		return 0;
	/* Whatever the reason: the bytes stay, and later saves have the base that this one had. */
	c->draft = c->flushed = true;
	c->err = *e;
	version_set(&c->base, base);
	struct copy *s = i->shared;
	if (c != s && !(s && s->users)) {
		/* Of a handle of its own: everybody is to see the draft. */
		copy_free(s);
		i->shared = c;
		copy_turn(c);
		i->cache = (struct id){ 0 };
		notify_inode(fs, i);
	} else if (c != s && !s->dirty) {
		s->work = TAKE_PTR(c->work);
		s->dirty = s->draft = s->flushed = true;
		s->err = *e;
		s->mtime_ns = mtime;
		version_set(&s->base, base);
		copy_turn(s);
		c->dirty = c->draft = false;
		i->cache = (struct id){ 0 };
		notify_inode(fs, i);
	}
	if (i->shared && i->shared->draft)
		draft_store(fs, i);
	return r == -EINVAL && fs->options.lenient ? 0 : r;
}

bool commit_refuses(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name,
		    struct err *e)
{
	_cleanup_(workfile_freep) struct workfile *own_work = NULL;
	struct content content;
	struct copy *c;
	bool strict = fs->options.strict || (i->backing == BACK_LOCAL && i->local->astray);
	return name_is_json(name, strlen(name)) &&
	       (strict || replica_asks(fs->replica, parent, name, strlen(name))) &&
	       inode_shared(fs, i, &c) == 0 && content_of(fs, c, &content, &own_work) == 0 &&
	       replica_refuses(fs->replica, parent, name, strlen(name), &content, strict, e);
}

static int commit_local(struct fusefs *fs, struct inode *i, struct copy *c, bool quiet,
			struct err *e)
{
	struct local *l = i->local;
	l->mtime_ns = c->mtime_ns;
	l->mtime_set |= c->mtime_set;
	l->astray = false;
	int r = local_store(fs, i, false);
	if (r < 0)
		return err_errno(e, r, "cannot keep %s", l->name);
	c->dirty = false;
	c->flushed = true;
	c->draft = false;
	draft_mark(fs, i, false);
	if (!l->unsettled || !commit_refuses(fs, i, &l->parent, l->name, &c->err) || quiet)
		return 0;
	c->draft = true;
	draft_mark(fs, i, true);
	*e = c->err;
	return fs->options.lenient ? 0 : -EINVAL;
}

int commit_copy(struct fusefs *fs, struct inode *i, struct copy *c, bool quiet, struct err *e)
{
	struct err local_err = { 0 };
	if (!e)
		e = &local_err;
	if (!c->dirty)
		return c->draft && c->flushed && !quiet && !fs->options.lenient ? c->err.code : 0;
	switch (i->backing) {
	case BACK_NODE:
		if (c->draft && c->flushed)
			return quiet || fs->options.lenient ? 0 : c->err.code;
		return commit_node(fs, i, c, quiet, e);
	case BACK_LOCAL:
		return commit_local(fs, i, c, quiet, e);
	case BACK_VIRTUAL:
		/* What others may go on writing is no value yet. */
		return quiet || !c->field ? 0 : field_commit(fs, c, e);
	case BACK_ORPHAN:
	case BACK_PLAIN:
		break;
	}
	return 0;
}

/* ---- a local file becomes a node ---- */

struct carry {
	struct replica *replica;
	struct id id;
};

static int carry_xattr(const char *name, const void *value, size_t len, void *userdata)
{
	struct carry *c = userdata;
	replica_set_xattr(c->replica, &c->id, name, value, len, false, false);
	return 0;
}

int commit_dress(struct fusefs *fs, const struct id *from, const struct id *to)
{
	_cleanup_(buf_done) struct buf names = { 0 };
	struct attr attr;
	int r = replica_attr(fs->replica, from, &attr);
	if (r == 0)
		r = replica_set_mode(fs->replica, to, attr.mode);
	if (r >= 0)
		r = replica_set_mtime(fs->replica, to, attr.mtime_ns);
	if (r >= 0)
		r = replica_list_xattr(fs->replica, from, &names);
	for (size_t at = 0; r >= 0 && !buf_failed(&names) && at < names.len;) {
		const char *name = (const char *)names.data + at;
		_cleanup_(buf_done) struct buf value = { 0 };
		r = replica_get_xattr(fs->replica, from, name, &value);
		if (r >= 0)
			r = replica_set_xattr(fs->replica, to, name, value.data, value.len, false,
					      false);
		at += strlen(name) + 1;
	}
	return r < 0 ? r : 0;
}

/* The local data has served: its mode, times and attributes are the node's, which has a new file's mode
 * and time already. */
static void carry_over(struct fusefs *fs, struct inode *i, const struct id *id, bool created)
{
	struct local *l = i->local;
	struct attr attr;
	struct carry c = { fs->replica, *id };
	if (!created && replica_attr(fs->replica, id, &attr) >= 0 && attr.mode != (l->mode & 07777))
		replica_set_mode(fs->replica, id, l->mode & 07777);
	if (!created && l->mtime_set)
		replica_set_mtime(fs->replica, id, l->mtime_ns);
	local_xattr_each(l, carry_xattr, &c);
}

/* A new node says all that i's record does, so that one commit puts it in the record's place: nothing
 * of it could be lost in between. */
static bool replaces_record(const struct fusefs *fs, const struct inode *i)
{
	const struct local *l = i->local;
	return l->stored && !l->also && l->xattr.len == 0 && i->owner.uid == fs->options.uid &&
	       i->owner.gid == fs->options.gid;
}

static void become_node(struct fusefs *fs, struct inode *i, const struct id *id)
{
	struct local *l = i->local;
	if (i->shared && i->shared->work)
		workfile_unkeep(i->shared->work);
	hardlink_settle(fs, i, id);
	inode_bind(fs, i, id);
	inode_set_place(i, &l->parent, l->name);
	i->born_ns = l->born_ns;
	i->creator = l->creator;
	local_remove(fs, i);
	local_ignored(fs, i, false);
	i->local = NULL;
	local_free(l);
	replica_attr(fs->replica, id, &i->last);
}

static int settle_link(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	struct attr attr;
	struct committer own;
	fs_own_begin(fs, &own);
	int r = replica_symlink(fs->replica, &l->parent, l->name, strlen(l->name), l->target,
				&attr);
	/* It keeps the time that programs have seen already. */
	if (r >= 0)
		replica_set_mtime(fs->replica, &attr.id, l->mtime_ns);
	if (r >= 0)
		carry_over(fs, i, &attr.id, true);
	fs_own_end(fs, &own);
	if (r < 0)
		return r;
	become_node(fs, i, &attr.id);
	notify_inode(fs, i); /* of its time of change */
	return 0;
}

static bool same_time(const struct timespec *x, const struct timespec *y)
{
	return x->tv_sec == y->tv_sec && x->tv_nsec == y->tv_nsec;
}

/* The kernel may go on with what it was told of i, which is a node now and was not then. */
static bool looks_as(struct fusefs *fs, struct inode *i, const struct stat *then)
{
	struct stat now;
	double timeout;
	const struct id told = i->told;
	int r = inode_attr(fs, i, &now, &timeout);
	i->told = told; /* nobody is told this */
	return r == 0 && now.st_mode == then->st_mode && now.st_size == then->st_size &&
	       now.st_blocks == then->st_blocks && now.st_nlink == then->st_nlink &&
	       same_time(&now.st_mtim, &then->st_mtim) && same_time(&now.st_ctim, &then->st_ctim);
}

int commit_settle(struct fusefs *fs, struct inode *i, struct err *e)
{
	if (S_ISLNK(i->local->mode))
		return settle_link(fs, i);
	struct err local_err = { 0 };
	struct local *l = i->local;
	struct copy *c = i->shared;
	size_t len = strlen(l->name);
	_cleanup_(workfile_freep) struct workfile *own_work = NULL;
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(buf_done) struct buf key = { 0 };
	struct content content;
	int r = content_of(fs, c, &content, &own_work);
	if (r < 0)
		return r;
	struct attr attr;
	_cleanup_(version_unrefp) struct version *v = NULL;
	bool created = true;
	overlay_key(&key, 'L', &l->parent, l->name);
	if (buf_failed(&key))
		return -ENOMEM;
	/* It keeps the time that programs have seen already. */
	const struct precursor was = { .named_us = l->named_us,
				       .mtime_ns = l->mtime_ns,
				       .key = replaces_record(fs, i) ? &key : NULL };
	struct committer own;
	if (!e)
		e = &local_err;
	if (commit_refuses(fs, i, &l->parent, l->name, e)) {
		c->draft = c->flushed = true;
		c->err = *e;
		draft_mark(fs, i, true);
		return -EINVAL;
	}
	fs_own_begin(fs, &own);
	r = replica_create_from(fs->replica, &l->parent, l->name, len, l->mode & 07777, &content,
				&was, &attr, &v, e);
	if (r >= 0 && was.key)
		l->stored = false;
	if (r == -EEXIST && replica_lookup(fs->replica, &l->parent, l->name, len, &attr) >= 0 &&
	    attr.kind == NODE_FILE) {
		/* Made elsewhere meanwhile: two devices that create one name have one file. Or a
		 * crash came between the node and the end of the local file: it is these bytes
		 * already. */
		created = false;
		r = replica_read(fs->replica, &attr.id, &v);
		if (r >= 0 &&
		    !holds(v, &content, bytes_of(c, &content, DOCUMENT_SIZE_MAX, &text))) {
			version_set(&v, NULL);
			r = replica_save(fs->replica, &attr.id, NULL, &content, SAVE_BY_NAME, &v,
					 e);
		}
	}
	if (r >= 0)
		carry_over(fs, i, &attr.id, created);
	fs_own_end(fs, &own);
	if (r < 0)
		return r;
	struct proc writer = l->creator;
	struct stat then = { 0 };
	double timeout;
	inode_attr(fs, i, &then, &timeout);
	become_node(fs, i, &attr.id);
	const void *data = bytes_of(c, &content, version_data(v) ? DOCUMENT_SIZE_MAX : 0, &text);
	committed(fs, i, c, &writer, NULL, v, &content, data);
	if (!looks_as(fs, i, &then))
		notify_inode(fs, i);
	if (!created)
		notify_entry(fs, &i->parent, i->name);
	return 0;
}

/* i->lock held. */
static bool may_be_finished(const struct inode *i)
{
	const struct local *l = i->local;
	const struct copy *c = i->shared;
	return i->backing == BACK_LOCAL && l->unsettled && c && !c->unfinished &&
	       copy_size(c) > 0 && name_is_json(l->name, strlen(l->name));
}

bool commit_finished(struct fusefs *fs, struct inode *i)
{
	_cleanup_(workfile_freep) struct workfile *own_work = NULL;
	struct content content;
	pthread_mutex_lock(&i->lock);
	bool settled = may_be_finished(i) && content_of(fs, i->shared, &content, &own_work) == 0 &&
		       replica_parses(i->local->name, strlen(i->local->name), &content, NULL) &&
		       commit_settle(fs, i, NULL) == 0;
	pthread_mutex_unlock(&i->lock);
	return settled;
}

void commit_before_save(struct fusefs *fs, struct inode *i)
{
	if (!may_be_finished(i))
		return;
	turn_pass(&fs->turns);
	pthread_mutex_unlock(&i->lock);
	names_lock(fs);
	commit_finished(fs, i);
	pthread_mutex_unlock(&fs->names);
	pthread_mutex_lock(&i->lock);
}

int commit_over(struct fusefs *fs, struct inode *i, const struct id *node, struct version *fallback,
		pid_t tid, struct version **ret_base, struct err *e)
{
	struct copy *c = i->shared;
	struct copy clean = { 0 };
	_cleanup_(workfile_freep) struct workfile *own_work = NULL;
	_cleanup_(buf_done) struct buf text = { 0 };
	struct content content;
	struct id old = i->id;
	bool local = i->backing == BACK_LOCAL;
	struct proc writer = local ? i->local->creator : i->creator;
	int64_t born = local ? i->local->born_ns : i->born_ns;
	if (local && i->local->about_version && id_equal(&i->local->about, node))
		fallback = i->local->about_version;
	if (!c) {
		int q = replica_read(fs->replica, &i->id, &clean.origin);
		if (q < 0)
			return q;
		c = &clean;
	}
	_cleanup_(version_unrefp) struct version *hold = clean.origin;
	if (copy_size(c) > QUICK_SIZE)
		turn_pass(&fs->turns);
	int r = content_of(fs, c, &content, &own_work);
	if (r < 0)
		return r;
	struct attr attr = { 0 };
	int64_t mtime = local ? i->local->mtime_ns : i->last.mtime_ns;
	bool blob = replica_attr(fs->replica, node, &attr) >= 0 && attr.form == FORM_BLOB;
	const void *data = bytes_of(c, &content, blob ? 0 : DOCUMENT_SIZE_MAX, &text);
	_cleanup_(version_unrefp) struct version *head = NULL;
	_cleanup_(version_unrefp) struct version *base =
		choose_base(fs, node, c, &writer, true, born, fallback, data, content.len);
	if (!base && replica_read(fs->replica, node, &head) >= 0)
		base = version_ref(head);
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct committer own;
	fs_own_begin(fs, &own);
	r = replica_save(fs->replica, node, base, &content, SAVE_BY_NAME, &v, e);
	if (r >= 0 && local)
		carry_over(fs, i, node, false);
	else if (r >= 0)
		commit_dress(fs, &old, node);
	if (r >= 0 && local && is_rewritten(&attr, v))
		replica_set_mtime(fs->replica, node, mtime);
	fs_own_end(fs, &own);
	if (r == -EINVAL && local && fs->options.lenient) {
		/* Nothing fails: the path shows what was written, the document is as it was. */
		become_node(fs, i, node);
		c->dirty = c->draft = c->flushed = true;
		c->err = *e;
		version_set(&c->base, base);
		i->cache = (struct id){ 0 };
		draft_store(fs, i);
		return 0;
	}
	if (r < 0) {
		*ret_base = TAKE_PTR(base);
		return r;
	}
	if (!writer.tgid)
		procs_of(&fs->procs, tid, monotonic_ns(), &writer);
	if (local) {
		become_node(fs, i, node);
	} else {
		draft_drop(fs, i);
		inode_bind(fs, i, node);
		struct committer again;
		fs_own_begin(fs, &again);
		replica_remove(fs->replica, &old, 0);
		fs_own_end(fs, &again);
	}
	if (c != &clean) {
		committed(fs, i, c, &writer, base, v, &content, data);
	} else {
		bases_wrote(fs->bases, &writer, node, v, monotonic_ns());
		atomic_fetch_add(&fs->saves, 1);
		i->cache = (struct id){ 0 };
		notify_inode(fs, i);
	}
	return 0;
}

int commit_draft(struct fusefs *fs, const struct attr *node, struct workfile *work,
		 struct version *base, const struct err *e)
{
	struct inode *i = NULL;
	int r = inode_of_node(fs, node, &i);
	if (r < 0) {
		workfile_free(work);
		if (base)
			version_unref(base);
		return r;
	}
	pthread_mutex_lock(&i->lock);
	struct copy *c = i->shared;
	if (!c)
		c = i->shared = copy_new();
	if (c) {
		workfile_free(c->work);
		c->work = work;
		c->dirty = c->draft = c->flushed = true;
		c->err = *e;
		c->mtime_ns = wall_ns();
		version_set(&c->base, base);
		copy_turn(c);
		i->cache = (struct id){ 0 };
		r = draft_store(fs, i);
		notify_inode(fs, i);
	} else {
		workfile_free(work);
		r = -ENOMEM;
	}
	pthread_mutex_unlock(&i->lock);
	if (base)
		version_unref(base);
	inode_put(fs, i);
	return r;
}
