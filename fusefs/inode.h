/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Inodes: what the kernel knows by number, and the bytes behind them.
 *
 * An inode number is not a document's id. A save by temp file and rename leaves the kernel with
 * the temp file's number under the document's name, so the inode changes what stands behind it:
 *
 *   NODE     a node of the tree
 *   LOCAL    a name that only this device has (fusefs/local.h); the content is in `shared`
 *   ORPHAN   unlinked or replaced, still open or remembered by the kernel; bytes in `shared`
 *   VIRTUAL  something under .shoal/
 *   PLAIN    what is in a directory that a rule ignores (fusefs/plain.h); the directory itself is a
 *            LOCAL name
 *
 * A node that the kernel has not seen under another number gets one made from its id and kind, so
 * that numbers are the same at the next mount. A number is never given to another type.
 *
 * What handles read and write is a copy: one version's bytes, or bytes that are being written.
 * Handles that go through the kernel's page cache share the inode's copy, because the page cache
 * is shared too. While some of them hold an older version, a new opening gets a copy of its own
 * and bypasses the cache (direct_io), so that no one reads half of one version and half of another.
 *
 * Locks, in this order; each is held as short as can be:
 *   fs->names      changes of the name space (create, unlink, rename, settling); may be held
 *                  while the replica commits
 *   inode->lock    the copies, and what stands behind the inode; may be held while the replica
 *                  reads or commits. One at a time; only that of a VIRTUAL inode may be held
 *                  while another's is taken
 *   fs->lock       tables, lookup counts, timers, overlay; nothing that can block under it, and
 *                  no call of the replica: its observers take it
 * A change of backing, id or local data needs names and inode->lock and, for the tables, fs->lock.
 * The kernel is notified by one thread that holds none of them (fusefs/notify.h). */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/replica.h"
#include "engine/table.h"
#include "fusefs/fusefs.h"
#include "fusefs/owner.h"
#include "fusefs/proc.h"
#include "fusefs/workfile.h"

#define INO_ROOT 1
#define SECOND_NS (INT64_C(1000) * 1000 * 1000)

enum backing { BACK_NODE = 1, BACK_LOCAL, BACK_ORPHAN, BACK_VIRTUAL, BACK_PLAIN };

struct field;
struct further;

/* What is added to a copy, to local data or to an inode has to be handed over: fusefs/handover.c. */
struct copy {
	unsigned users;         /* handles */
	unsigned readers;       /* those of them that can read */
	unsigned writers;       /* those of them that can write */
	struct version *origin; /* where the bytes came from; NULL: nowhere, a new file */
	struct workfile *work;  /* NULL: the bytes are origin's */
	bool dirty;             /* work holds bytes that are no version yet */
	bool draft;             /* ... because they could not become one: err says why */
	bool flushed;           /* nothing was written since the draft was refused */
	bool unfinished;        /* written, and not closed by a writer since */
	bool unread;            /* the kernel may still have pages of other bytes: see note_dropped */
	unsigned turn;          /* how often it took other bytes */
	bool flipping;          /* the kernel is being told of other bytes (fusefs/flip.h) ... */
	uint64_t shown;         /* ... and has this size until then */
	int64_t used_ns;        /* monotonic: last opened, read or written */
	struct err err;
	struct field *field; /* a value in a document (fusefs/field.h), being written; or NULL */

	/* For the base of the save that is due (fusefs/base.h). */
	struct proc writer;   /* who wrote last */
	uint64_t covered;     /* bytes [0, covered) were all written since it got dirty */
	struct version *seen; /* what the writing handle was read through on; NULL: it was not */
	struct version *fallback; /* rules 4 and 5; NULL: origin */
	struct version *base;     /* of a draft: the base that its save had */
	int64_t since_ns;         /* strangers' reads count from here (monotonic) */

	int64_t mtime_ns; /* of the last write; wall clock */
	bool mtime_set;   /* by utimens: survives the commit */
};

/* A file that only this device has. */
struct local {
	struct id parent;
	char *name;
	uint32_t mode; /* with the type bits */
	int64_t mtime_ns;
	uint64_t named_us; /* when it got its name, since 1970 */
	bool unsettled; /* new: becomes a node when nobody renames or removes it soon */
	bool aside;     /* a document renamed aside: its content is a snapshot */
	bool astray;    /* a draft of a document that was deleted elsewhere; unsettled as well */
	bool stored;    /* has a record in the store */
	bool mtime_set;
	struct further *also; /* further names (fusefs/hardlink.h) */
	char *target;     /* symbolic link */
	struct buf xattr; /* name NUL, u32 length, value; repeated */
	uint64_t size, room; /* of the kept bytes while there is no copy: how long, how much of the disk */
	struct proc creator;
	int64_t born_ns;               /* monotonic */
	int64_t settle_ns;             /* not before */
	struct id about;               /* the file that a temp name is made from, if there is one */
	struct version *about_version; /* as it was then: rule 4 */
	char spool[32];                /* kept bytes; "" when inline or not stored */
};

struct inode {
	struct table_link by_ino;
	struct table_link by_id; /* NODE only */
	uint64_t ino;
	uint64_t nlookup; /* fs->lock */
	uint64_t own;     /* fs->lock: those of them that raising events made (fusefs/event.h) */
	unsigned refs;    /* fs->lock: operations, handles, overlay, drafts */
	bool hashed_id;   /* fs->lock: in by_id */
	bool notify_due;  /* fs->lock: an invalidation is queued */
	bool flip_queued; /* fs->lock: the keeper looks at its copy */
	unsigned news;    /* fs->lock: what is to be told when that has happened (CHANGE_*) */
	bool drafted;     /* fs->lock: its shared copy is a draft */
	bool ignored;     /* fs->lock: LOCAL, because a rule names it */
	unsigned opens;   /* fs->lock: handles */
	uint64_t changes; /* fs->lock: changes heard of; see inode_attr's callers */
	/* fs->lock; directories: when a name came or went that the replica does not know of yet
	 * (us since 1970): new files that have not settled, deletions in their grace. */
	uint64_t visited_us;
	/* fs->lock; directories: two and one for each directory in it, if that was counted since one
	 * came or went; how often that happened. */
	uint64_t links, moves;
	bool counted;
	/* fs->lock; directories: what the kernel has of their names (fusefs/dirpages.h), as of which count of
	 * moves, or of several; openings that may add to it. */
	enum pages { PAGES_NONE, PAGES_SOME, PAGES_ALL } pages;
	uint64_t pages_turn;
	bool pages_mixed;
	unsigned fillers;
	atomic_uint asked; /* of a directory: how often for a name in it, found */

	pthread_mutex_t lock;
	enum backing backing;
	enum node_kind kind;
	struct id id;        /* NODE; ORPHAN: what it was */
	struct local *local; /* LOCAL */
	bool nameless;       /* ORPHAN that never had a name (fusefs/newfile.h) */
	char *virtual_path;  /* VIRTUAL: below .shoal, "" for itself */
	struct owner owner;  /* but of VIRTUAL */
	mode_t special;      /* S_IFIFO and the like, LOCAL and what was it; 0: kind says it */
	dev_t rdev;
	int64_t ctime_ns;    /* at least */
	int64_t unseen_ns;   /* NODE: ... and what the record says of it up to here is not news:
			      * commits of what programs did before */
	int64_t atime_ns;    /* what utimens said; 0: as mtime */
	struct copy *shared;
	struct id cache;  /* version whose bytes the page cache holds for sure; zero: unknown */
	struct id told;   /* version whose size the kernel has for sure; zero: it has none at all */
	/* NODE; not handed over: the kernel has no page of it; or those of cache, but maybe not all. */
	bool pageless, partial;
	unsigned unsteady; /* what the kernel knows of it is being changed: see inode_unsteady */
	struct attr last; /* ORPHAN: attributes as they were */
	struct id parent; /* where it was seen last, for files deleted under a writer */
	char *name;
	/* PLAIN; fs->plain and fs->lock. */
	struct table_link by_name; /* in up, under name */
	struct inode *up;          /* the directory, referenced */
	bool hashed_name;
	int fd; /* O_PATH, when it has lost its name and is in use; -1 */
	int64_t born_ns; /* NODE that was born here in this mount; 0: not */
	struct proc creator;
	char draft_spool[32];
	bool draft_stored;
};

/* ---- tables; they take fs->lock ---- */

/* The inode, referenced; NULL when the kernel made the number up. */
struct inode *inode_get(struct fusefs *fs, uint64_t ino);
struct inode *inode_ref(struct fusefs *fs, struct inode *i);
void inode_put(struct fusefs *fs, struct inode *i);
/* The kernel was told of it, or forgets n lookups. */
void inode_looked_up(struct fusefs *fs, struct inode *i);
/* The last lookup was not for any program but ours. */
void inode_looked_up_by_us(struct fusefs *fs, struct inode *i);
/* Some program other than ours has come by it, so far as the kernel remembers. */
bool inode_is_known(struct fusefs *fs, struct inode *i);
void inode_forget(struct fusefs *fs, uint64_t ino, uint64_t n);

/* The inode of a node, referenced; made when the kernel does not know it. */
int inode_of_node(struct fusefs *fs, const struct attr *attr, struct inode **ret);
/* The same if it is there; NULL otherwise. */
struct inode *inode_find_node(struct fusefs *fs, const struct id *id);
/* The number that a node has or would get. */
uint64_t inode_number(struct fusefs *fs, const struct id *id, enum node_kind kind);
/* A new one with a fresh number, referenced, not looked up. */
int inode_new(struct fusefs *fs, enum backing backing, enum node_kind kind, struct inode **ret);
/* The same with this number, or, when that is taken, a fresh one that has these bits as well. */
int inode_new_number(struct fusefs *fs, enum backing backing, enum node_kind kind, uint64_t ino,
		     uint64_t bits, struct inode **ret);
/* .shoal/PATH, referenced. */
int inode_of_virtual(struct fusefs *fs, const char *path, enum node_kind kind, struct inode **ret);
/* Its number. */
uint64_t inode_virtual_number(const char *path, enum node_kind kind);

/* From now on node id stands behind i; whatever inode did so before becomes an orphan. i->lock
 * is held by the caller. */
void inode_bind(struct fusefs *fs, struct inode *i, const struct id *id);
/* Nothing stands behind i any more but its copy. i->lock held. */
void inode_orphan(struct fusefs *fs, struct inode *i);
/* From here until inode_steady those who open a node bypass the kernel's pages: it takes no size out of
 * an answer that was on its way when attributes were invalidated or the name was replaced, and would
 * pad a shorter version with zeros. i->lock held. */
static inline void inode_unsteady(struct inode *i)
{
	i->unsteady++;
}

static inline void inode_steady(struct inode *i)
{
	i->unsteady--;
}

/* A name came or went in the directory; the replica will be told later, with the same time. */
void inode_visited(struct fusefs *fs, const struct id *dir, uint64_t us);
/* It got another time since. */
void inode_unvisited(struct fusefs *fs, struct inode *i);
void inode_set_place(struct inode *i, const struct id *parent, const char *name);
/* Its owner changes; i->lock held. */
int inode_set_owner(struct fusefs *fs, struct inode *i, const struct owner *owner);
/* Permission bits, as seen last; changed; i->lock held. */
mode_t inode_mode(const struct inode *i);
int inode_set_mode(struct fusefs *fs, struct inode *i, mode_t mode);
/* Something about it has changed now that programs have to see; i->lock held. */
void inode_changed(struct inode *i);
/* A directory came to this one or left it; fs->lock held. */
void inode_recount_locked(struct inode *dir);
/* The same by its id, without the lock. */
void inode_recount(struct fusefs *fs, const struct id *dir);

/* All inodes for which f is true (f NULL: all; fs->lock is held while it looks), referenced, in
 * *ret, which inodes_put gives back. -ENOMEM. */
int inodes_get(struct fusefs *fs, bool (*f)(const struct inode *i), struct inode ***ret,
	       size_t *ret_n);
void inodes_put(struct fusefs *fs, struct inode **list, size_t n);

void inodes_done(struct fusefs *fs);

/* The numbers of nodes that are not the ones made from their ids, handed over and taken over. */
struct saver;
struct loader;
void pins_save(struct fusefs *fs, struct saver *s);
void pins_load(struct fusefs *fs, struct loader *l);

/* ---- attributes; i->lock held ---- */

/* A directory of more names than this does not count its subdirectories. */
#define COUNT_MAX 256

/* stat(2)'s view. *ret_timeout: how long the kernel may keep it, in seconds. -ENOENT, -ESTALE. */
int inode_attr(struct fusefs *fs, struct inode *i, struct stat *ret, double *ret_timeout);
void inode_stat_node(struct fusefs *fs, uint64_t ino, const struct attr *attr, struct stat *ret);
/* The type bits of st_mode. */
mode_t inode_type(const struct inode *i);
/* What inode->special is for a file of this mode. */
mode_t inode_special(mode_t mode);

/* ---- copies; i->lock held ---- */

struct copy *copy_new(void);
void copy_free(struct copy *c);
uint64_t copy_size(const struct copy *c);
ssize_t copy_pread(struct copy *c, void *data, size_t len, uint64_t offset);
/* As lseek with SEEK_HOLE (hole) and SEEK_DATA; the size if there is none. */
int copy_next(struct copy *c, uint64_t offset, bool hole, uint64_t *ret);
/* About as many bytes take room on a disk. */
uint64_t copy_stored(struct copy *c);
/* Makes the bytes writable. */
int copy_open_work(struct fusefs *fs, struct copy *c);
/* The same bytes in a workfile of their own. */
int copy_clone(struct fusefs *fs, struct copy *c, struct workfile **ret);
/* Takes a new origin and forgets what was being written. v is taken over (may be NULL). */
void copy_reset(struct copy *c, struct version *v);
/* Other bytes stand behind the handles that have it: the kernel's pages are not of them. */
void copy_turn(struct copy *c);
/* What somebody who reads these bytes now has seen: borrowed, may be NULL. */
struct version *copy_basis(const struct copy *c);
/* Replaces *slot by another reference to v (may be NULL). */
void version_set(struct version **slot, struct version *v);
