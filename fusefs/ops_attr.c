/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes, times, modes, sizes; extended attributes. */
#include <errno.h>
#include <limits.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "engine/replica-schema.h"
#include "fusefs/commit.h"
#include "fusefs/demand.h"
#include "fusefs/event.h"
#include "fusefs/handle.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/seen.h"
#include "fusefs/shoaldir.h"

/* A truncate(2) is followed by an open and a write more often than not. */
#define TRUNCATE_NS SECOND_NS

#define SET_TIMES                                                                                  \
	(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME |                     \
	 FUSE_SET_ATTR_MTIME_NOW)
#define SET_ANY                                                                                    \
	(FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE | SET_TIMES)

/* The kernel knows the inode, so its record is in memory, or was a moment ago. i->lock held. */
static bool is_quick(struct fusefs *fs, const struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	bool counted = i->counted;
	pthread_mutex_unlock(&fs->lock);
	return i->backing != BACK_VIRTUAL && (i->kind != NODE_DIR || counted);
}

static void reply_attr(fuse_req_t req, struct fusefs *fs, struct inode *i)
{
	struct stat st;
	double timeout;
	inode_lock_quickly(fs, i);
	if (!is_quick(fs, i))
		turn_pass(&fs->turns);
	int r = inode_attr(fs, i, &st, &timeout);
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, timeout);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (!event_getattr(req, i))
		reply_attr(req, fs, i);
	inode_put(fs, i);
}

static int set_mtime(struct fusefs *fs, struct inode *i, int64_t ns, struct handle *h)
{
	struct copy *c = h ? h->copy : i->shared;
	switch (i->backing) {
	case BACK_NODE: {
		if (c && c->dirty) {
			c->mtime_ns = ns;
			c->mtime_set = true;
			return 0;
		}
		struct committer own;
		fs_own_begin(fs, &own);
		int r = replica_set_mtime(fs->replica, &i->id, ns);
		fs_own_end(fs, &own);
		if (r >= 0)
			inode_unvisited(fs, i);
		return r;
	}
	case BACK_LOCAL:
		i->local->mtime_ns = ns;
		i->local->mtime_set = true;
		if (c) {
			c->mtime_ns = ns;
			c->mtime_set = true;
		}
		return i->local->stored ? local_store(fs, i, false) : 0;
	case BACK_ORPHAN:
		i->last.mtime_ns = ns;
		if (c) {
			c->mtime_ns = ns;
			c->mtime_set = true;
		}
		return 0;
	case BACK_VIRTUAL:
		return shoaldir_refusal(i);
	case BACK_PLAIN:
		break;
	}
	return -EPERM;
}

static int set_size(struct fusefs *fs, struct inode *i, uint64_t size, struct handle *h, pid_t tid)
{
	struct copy *c = h ? h->copy : NULL;
	struct proc who;
	int r = 0;
	if (i->backing == BACK_VIRTUAL && !c)
		return shoaldir_refusal(i);
	procs_of(&fs->procs, tid, monotonic_ns(), &who);
	if (!c)
		r = inode_shared(fs, i, &c);
	if (r < 0)
		return r;
	/* O_TRUNC arrives as ftruncate in some kernels' paths; the same size is no write. */
	if (!c->dirty && copy_size(c) == size)
		return i->backing == BACK_NODE || i->backing == BACK_VIRTUAL
			       ? 0
			       : set_mtime(fs, i, wall_ns(), h);
	if (size == 0 && !c->fallback && copy_basis(c))
		version_set(&c->fallback, copy_basis(c));
	r = copy_truncate(fs, i, c, size, h ? &h->opener : &who, h);
	if (r == 0 && !h) {
		if (size > 0 && !c->writers)
			return commit_copy(fs, i, c, false, NULL);
		keeper_add(fs, TIMER_COMMIT, i->ino, monotonic_ns() + TRUNCATE_NS);
	}
	return r;
}

/* Of utimens; what is beyond the years 1678 to 2261 becomes their end. */
static int64_t ns_of(struct timespec ts, bool now)
{
	int64_t ns;
	if (now)
		return wall_ns();
	if (__builtin_mul_overflow(ts.tv_sec, SECOND_NS, &ns) ||
	    __builtin_add_overflow(ns, ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static int set_times(struct fusefs *fs, struct inode *i, const struct stat *attr, int to_set,
		     struct handle *h)
{
	struct stat st;
	double timeout;
	if (i->backing == BACK_VIRTUAL)
		return shoaldir_refusal(i);
	int r = inode_attr(fs, i, &st, &timeout);
	if (r < 0)
		return r;
	/* Only what is said changes, although one shows the other as long as nothing is said. */
	int64_t atime = ns_of(st.st_atim, false);
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		atime = ns_of(attr->st_atim, to_set & FUSE_SET_ATTR_ATIME_NOW);
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		r = set_mtime(fs, i, ns_of(attr->st_mtim, to_set & FUSE_SET_ATTR_MTIME_NOW), h);
	if (r >= 0)
		i->atime_ns = atime ? atime : 1;
	return r < 0 ? r : 0;
}

static int set_owner(struct fusefs *fs, struct inode *i, const struct stat *attr, int to_set)
{
	struct owner owner = i->owner;
	if (to_set & FUSE_SET_ATTR_UID)
		owner.uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		owner.gid = attr->st_gid;
	return inode_set_owner(fs, i, &owner);
}

/* Sets, and answers. The reference to i goes. */
static void set_and_reply(fuse_req_t req, struct inode *i, const struct stat *attr, int to_set,
			  struct handle *h)
{
	struct fusefs *fs = fs_of(req);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	int r = 0;
	pthread_mutex_lock(&i->lock);
	if ((to_set & FUSE_SET_ATTR_SIZE) && h)
		handle_begin(fs, h);
	else if (to_set & FUSE_SET_ATTR_SIZE)
		commit_before_save(fs, i);
	if (i->backing == BACK_NODE)
		replica_attr(fs->replica, &i->id, &i->last);
	/* The kernel has seen to it that who asks may. */
	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
		r = set_owner(fs, i, attr, to_set);
		inode_drop_set_id(fs, i);
	}
	if (r == 0 && (to_set & FUSE_SET_ATTR_MODE))
		r = inode_set_mode(fs, i, attr->st_mode);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE))
		r = i->kind == NODE_FILE ? set_size(fs, i, (uint64_t)attr->st_size, h, ctx->pid)
					 : -EISDIR;
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && ctx->uid != 0)
		inode_drop_set_id(fs, i);
	if (r == 0 && (to_set & SET_TIMES))
		r = set_times(fs, i, attr, to_set, h);
	if (r == 0 && (to_set & SET_ANY))
		inode_changed(i);
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_attr(req, fs, i);
	inode_put(fs, i);
}

struct setting {
	struct inode *inode; /* referenced */
	struct stat attr;
	int to_set;
};

static void set_again(struct fusefs *fs, fuse_req_t req, int code, void *arg)
{
	struct setting *s = arg;
	if (code == 0) {
		set_and_reply(req, s->inode, &s->attr, s->to_set, NULL);
	} else {
		inode_put(fs, s->inode);
		fuse_reply_err(req, -code);
	}
	free(s);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	struct handle *h = fi ? handle_of(fs, fi) : NULL;
	struct setting *s = NULL;
	struct id id;
	/* The handle's may be another one, which took the place of what was asked for. */
	struct inode *i = h ? inode_ref(fs, h->inode) : inode_get(fs, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (event_setattr(req, i)) {
		inode_put(fs, i);
		return;
	}
	/* truncate(2) to something: what stays of it has to be here. */
	if ((to_set & FUSE_SET_ATTR_SIZE) && attr->st_size > 0 && !h && inode_is_absent(fs, i, &id))
		s = malloc(sizeof(*s));
	if (!s) {
		set_and_reply(req, i, attr, to_set, h);
		return;
	}
	*s = (struct setting){ i, *attr, to_set };
	demand_wait(fs, req, &id, NULL, 0, UINT64_MAX, set_again, s);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = -ESTALE;
	if (i) {
		pthread_mutex_lock(&i->lock);
		if (i->backing == BACK_LOCAL && i->local->target) {
			buf_puts(&b, i->local->target);
			r = 0;
		} else if (i->backing == BACK_VIRTUAL) {
			r = shoaldir_readlink(fs, i, &b);
		} else if (i->backing == BACK_NODE || i->backing == BACK_ORPHAN) {
			r = replica_readlink(fs->replica, &i->id, &b);
		} else {
			r = -EINVAL;
		}
		pthread_mutex_unlock(&i->lock);
		inode_put(fs, i);
	}
	const char *text = r < 0 ? NULL : buf_cstr(&b);
	if (text)
		fuse_reply_readlink(req, text);
	else
		fuse_reply_err(req, r < 0 ? -r : ENOMEM);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct statvfs st;
	if (fstatvfs(fs->spool, &st) < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	st.f_namemax = NAME_MAX_BYTES;
	fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

static int state_text(struct fusefs *fs, const struct inode *i, const struct attr *attr,
		      struct buf *ret)
{
	const char *text;
	if (i->shared && i->shared->draft)
		text = "draft";
	else if (i->backing == BACK_LOCAL)
		text = i->local->unsettled ? "pending" : "local";
	else if (attr->absent)
		text = "evicted";
	else if (attr->conflict || (i->backing == BACK_NODE && replica_check(fs->replica, &i->id, NULL) == -EINVAL))
		text = "conflict";
	else
		text = (i->shared && i->shared->dirty) || replica_dirty(fs->replica) ? "pending"
										     : "synced";
	buf_puts(ret, text);
	return 0;
}

/* user.shoal.NAME; i->lock held. */
static int shoal_get(struct fusefs *fs, struct inode *i, const char *name, struct buf *ret)
{
	struct attr attr = { 0 };
	char hex[ID_HEX];
	if (i->backing == BACK_VIRTUAL && strcmp(name, "kind") == 0)
		return shoaldir_kind(fs, i, ret);
	bool node = i->backing == BACK_NODE && replica_attr(fs->replica, &i->id, &attr) >= 0;
	if (!node && i->backing != BACK_LOCAL)
		return -ENODATA;
	if (strcmp(name, "state") == 0)
		return state_text(fs, i, &attr, ret);
	if (strcmp(name, "error") == 0) {
		struct err broken;
		const bool draft = i->shared && i->shared->draft;
		if (!draft && (!node || replica_check(fs->replica, &i->id, &broken) != -EINVAL))
			return -ENODATA;
		const struct err *e = draft ? &i->shared->err : &broken;
		if (e->line)
			buf_putf(ret, "line %u, column %u: ", e->line, e->column);
		buf_puts(ret, e->message);
		return 0;
	}
	if (strcmp(name, "kind") == 0) {
		buf_puts(ret, i->kind == NODE_DIR      ? "directory"
			      : i->kind == NODE_LINK   ? "link"
			      : !node                  ? "local"
			      : attr.form == FORM_JSON ? "document"
			      : attr.form == FORM_TEXT ? "text"
						       : "blob");
		return 0;
	}
	if (!node)
		return -ENODATA;
	if (strcmp(name, "id") == 0) {
		buf_puts(ret, id_hex(&attr.id, hex));
	} else if (strcmp(name, "version") == 0) {
		buf_puts(ret, id_hex(&attr.version, hex));
	} else if (strcmp(name, "author") == 0) {
		struct actors *actors = replica_actors(fs->replica);
		if (attr.author >= actors_count(actors))
			return -ENODATA;
		buf_puts(ret, id_hex(&actors_get(actors, attr.author)->device, hex));
	} else {
		return -ENODATA;
	}
	return 0;
}

static bool is_shoal(const char *name)
{
	return strncmp(name, "user.shoal.", 11) == 0;
}

static bool is_user(const char *name)
{
	return strncmp(name, "user.", 5) == 0;
}

static int get_xattr(struct fusefs *fs, struct inode *i, const char *name, struct buf *ret)
{
	if (is_shoal(name))
		return shoal_get(fs, i, name + 11, ret);
	/* Opaque ACLs would leave `cp -a` with files of mode 0600. */
	if (!is_user(name))
		return -EOPNOTSUPP;
	switch (i->backing) {
	case BACK_NODE:
		return replica_get_xattr(fs->replica, &i->id, name, ret);
	case BACK_LOCAL:
		return local_xattr_get(i->local, name, ret);
	case BACK_ORPHAN:
	case BACK_VIRTUAL:
	case BACK_PLAIN:
		break;
	}
	return -ENODATA;
}

static void reply_buf(fuse_req_t req, const struct buf *b, size_t size)
{
	if (buf_failed(b))
		fuse_reply_err(req, ENOMEM);
	else if (size == 0)
		fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)b->data, b->len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fusefs *fs = fs_of(req);
	/* Asked for before the first write; there are none. Of what there cannot be, as in
	 * security.selinux, ls(1) asks once only. */
	if (strncmp(name, "security.", 9) == 0) {
		fuse_reply_err(req, strcmp(name, XATTR_NAME_CAPS) == 0 ? ENODATA : EOPNOTSUPP);
		return;
	}
	struct inode *i = inode_get(fs, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	int r;
	if (strcmp(name, "user.shoal.seen_by") == 0) {
		r = seen_by(fs, i, &b);
	} else {
		pthread_mutex_lock(&i->lock);
		r = get_xattr(fs, i, name, &b);
		pthread_mutex_unlock(&i->lock);
	}
	inode_put(fs, i);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_buf(req, &b, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = 0;
	pthread_mutex_lock(&i->lock);
	/* Ours are not listed: `cp -a` and rsync -X would try to copy them. */
	if (i->backing == BACK_NODE)
		r = replica_list_xattr(fs->replica, &i->id, &b);
	else if (i->backing == BACK_LOCAL)
		local_xattr_list(i->local, &b);
	pthread_mutex_unlock(&i->lock);
	inode_put(fs, i);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_buf(req, &b, size);
}

static int change_xattr(struct fusefs *fs, struct inode *i, const char *name, const void *value,
			size_t size, int flags, bool remove)
{
	if (is_shoal(name))
		return -EPERM;
	if (!is_user(name))
		return -EOPNOTSUPP;
	if (!remove && size > XATTR_SIZE_MAX)
		return -E2BIG;
	int r = -EPERM;
	struct committer own;
	switch (i->backing) {
	case BACK_NODE:
		fs_own_begin(fs, &own);
		r = remove ? replica_remove_xattr(fs->replica, &i->id, name)
			   : replica_set_xattr(fs->replica, &i->id, name, value, size,
					       flags & XATTR_CREATE, flags & XATTR_REPLACE);
		fs_own_end(fs, &own);
		break;
	case BACK_LOCAL:
		r = remove ? local_xattr_remove(i->local, name)
			   : local_xattr_set(i->local, name, value, size, flags & XATTR_CREATE,
					     flags & XATTR_REPLACE);
		if (r == 0)
			inode_changed(i);
		if (r == 0 && i->local->stored)
			r = local_store(fs, i, false);
		break;
	case BACK_ORPHAN:
		r = -ESTALE;
		break;
	case BACK_VIRTUAL:
		r = shoaldir_refusal(i);
		break;
	case BACK_PLAIN:
		break;
	}
	return r;
}

static void set_or_remove(fuse_req_t req, fuse_ino_t ino, const char *name, const void *value,
			  size_t size, int flags, bool remove)
{
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	pthread_mutex_lock(&i->lock);
	int r = change_xattr(fs, i, name, value, size, flags, remove);
	pthread_mutex_unlock(&i->lock);
	inode_put(fs, i);
	fuse_reply_err(req, r < 0 ? -r : 0);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	if (!event_setxattr(req))
		set_or_remove(req, ino, name, value, size, flags, false);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	set_or_remove(req, ino, name, NULL, 0, 0, true);
}

void ops_attr_fill(struct fuse_lowlevel_ops *ops)
{
	ops->getattr = op_getattr;
	ops->setattr = op_setattr;
	ops->readlink = op_readlink;
	ops->statfs = op_statfs;
	ops->getxattr = op_getxattr;
	ops->listxattr = op_listxattr;
	ops->setxattr = op_setxattr;
	ops->removexattr = op_removexattr;
}
