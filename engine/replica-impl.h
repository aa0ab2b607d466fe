/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of the replica share; nobody else includes it.
 *
 * Layout of the store (all keys and fixed-size integers big-endian):
 *
 *   META     F                          format u8, device 16, incarnation u32, fence 16
 *            A, number u32              actor identifier
 *            S, scope                   clock u64, varint live files, vector have[scope]
 *            U, node                    empty: the node is loose (engine/tree.h, rules 2 and 3)
 *            V, node                    varint, u8: the latest visit (us) of a directory that has no record
 *                                       yet; 1: cut off
 *            P, peer, scope             vector that the peer holds durably
 *            C, node                    empty: the live file is in conflict
 *            N, parent, name            empty: several nodes claim the name
 *            I                          u8: format of C and N; not there: they are not either
 *            H                          u64: time (us) up to which the history was thinned
 *            B, actor u32, seq u64      nodes that were changed together, see engine/batch.h
 *            M, node, actor u32, ~seq u64   empty: the node is one of them
 *            G                          u8, u64: how and when the last new incarnation began
 *            O, seq u64                 u32: tag of an own batch, of the last 1024 (replica-self.c)
 *            K, seq u64, slot           u64 seq, u64 hlc, number: what the own counter in that slot held before
 *                                       that batch, and of which one (replica-counted.c)
 *            W, actor u32, seq u64      u32: tag of another's
 *            R, number u32              actor u32, actor u32, seq u64: batches of the first beyond seq went
 *                                       to the second
 *            T, actor u32, seq u64, node  empty: was put into a batch of this device; seq 0: the actor
 *                                       was met
 *            L, node, link              empty: that hard link to the node is live
 *            X, node                    u8 (engine/absent.h): its contents are not here
 *            E, node                    u8 format, changes (engine/leaf.h): the trail of a record
 *            Q, device                  what it keeps (engine/interest.h); zeros: this device. Others: behind
 *                                       u64, when it said so last (us)
 *            J, device                  empty: contents of some files are missing there
 *            p, device, scope           how far a round came that was cut (replica-partial.c)
 *            D, scope                   empty: what is here of it goes (replica-drop.c)
 *            Z, node                    empty: it has changes that came of a part and are to be passed on (replica-part.c)
 *            Y, node                    u32 actor, u64 seq: it left, with changes of that actor up to that number
 *   DOCS     node                       format u8, varint n, n × (varint actor, varint seq): entries
 *                                       in DOTS beyond one for each actor of the context; record.
 *                                       Format 2: it may have a trail
 *   DOTS     scope, actor u32, seq u64, node   empty
 *   DIRENTS  parent, name               claims, first the one that shows: id 16, kind u8,
 *                                       varint counter, varint actor
 *   ATTRS    node                       struct node, see replica-node.c; live nodes, and directories
 *                                       that are not
 *   PICKS    see replica-pick.c and replica-index.c
 *   HISTORY  node, stamp u64            an earlier version, see engine/history.h; node TRASH: a deletion
 *
 * Locks, in this order: commit, notify, then leaves (scopes, shards of caches, views). */

#include <pthread.h>
#include <stdatomic.h>

#include "engine/clock.h"
#include "engine/elements.h"
#include "engine/interest.h"
#include "engine/kept.h"
#include "engine/replica.h"
#include "engine/restamp.h"
#include "engine/seq.h"
#include "engine/stored.h"
#include "engine/table.h"
#include "engine/tree.h"
#include "engine/types.h"

#define REPLICA_FORMAT 1
#define DOC_FORMAT 1
#define DOC_FORMAT_TRAIL 2
#define ATTR_FORMAT 1
#define ATTR_FORMAT_HOLES 2 /* of files with holes */
#define ATTR_FORMAT_LINK 3  /* of hard links */

enum { META_FORMAT = 'F', META_ACTOR = 'A', META_SCOPE = 'S', META_LOOSE = 'U', META_VISIT = 'V', META_PEER = 'P',
       META_CONFLICT = 'C', META_CONTESTED = 'N', META_INDEX = 'I', META_THINNED = 'H',
       META_BATCH = 'B', META_MEMBER = 'M',
       META_OWN = 'O', META_TAG = 'W', META_RESTAMP = 'R', META_ADOPTED = 'T',
       META_COUNTED = 'K', META_RENEWED = 'G', META_TRAIL = 'E', META_LINK = 'L',
       META_INTEREST = 'Q', META_DROP = 'D', META_PARTIAL = 'p', META_PART = 'Z', META_LEFT = 'Y' };

/* ---- nodes: what is derived of a record ---- */

enum {
	NODE_LIVE = 1,  /* shown */
	NODE_ALIVE = 2, /* live by its own record, not only by what hangs below it */
};

struct node {
	struct attr attr;
	struct id parent;   /* where it hangs */
	const char *name;   /* the name it claims there; arena, NULL if not asked for */
	size_t name_len;
	uint64_t counter;   /* stamp of that edge */
	uint32_t actor;     /* ACTOR_NONE: lost+found itself */
	uint8_t flags;
	uint64_t mtime_hlc; /* directories: of the register that says mtime */
	uint64_t visit_us;  /* directories: the latest visit of what hangs or hung there */
	bool cut;           /* … said a time to come, which was cut off */
};

/* What else there is to know of a document's content. */
struct gist {
	uint64_t sum;        /* record_entries_sum */
	struct entry newest; /* slot_newest, without its value */
};

/* A document's bytes and its lists' elements (engine/element.h; NULL: none). */
struct rendering {
	uint8_t *data; /* malloc; NULL: not known */
	size_t len;
	struct elements *elements;
	const struct gist *gist; /* borrowed; of one without conflicts. NULL: not known */
};

struct shard;
int nodes_init(struct replica *r);
void nodes_done(struct replica *r);
/* From the cache or the store, live or not. The name goes to the arena (NULL: no name). -ENOENT. */
int node_get(struct replica *r, struct arena *a, const struct id *id, struct node *ret);
/* 1: it is here and live, 0: not, or an error. */
int node_live(struct replica *r, const struct id *id);
/* As it was in the snapshot, which was taken when `commits` had been read. */
int node_get_at(struct replica *r, const struct store_snapshot *snap, uint64_t commits,
		const struct id *id, struct node *ret);
void node_encode(const struct node *n, struct buf *b);
int node_decode(const void *data, size_t len, struct node *ret); /* name refers to data */
void node_cache(struct replica *r, const struct node *n, uint64_t commit);
void node_forget(struct replica *r, const struct id *id);
/* What the record itself says; live flag, place, ctime and attr.linked stay. content: size, form, author and
 * conflict as well. data (malloc, taken over, may be NULL): bytes of a document, if known.
 * *ret_version: the version that was made of a file's content; else it is left alone. */
int node_derive(struct replica *r, const struct record *rec, bool content, struct node *n,
		struct rendering *known, struct version **ret_version);
void nodes_clear(struct replica *r); /* empties the cache */
/* A directory's time, from its record's and the latest visit. */
void node_dir_time(struct node *n, int64_t record_mtime_ns, uint64_t wall_us);
/* The directory was visited at us, or somebody says so whose clock is ahead: what is more than
 * HLC_LEAD_US beyond the wall clock counts as now. True if that is news. */
bool node_visit(struct node *n, uint64_t us, uint64_t wall_us);

/* ---- directory entries ---- */

struct claim {
	struct id id;
	enum node_kind kind;
	uint64_t counter;
	uint32_t actor;
};

struct claims {
	struct claim *claim; /* arena */
	uint32_t n;
};

int claims_decode(struct arena *a, const void *data, size_t len, struct claims *ret);
void claims_encode(const struct claims *c, struct buf *b);
/* Adds (or replaces) a claim in its place of the order; removes one. New memory of the arena. */
int claims_put(struct arena *a, const struct actors *actors, struct claims *c,
	       const struct claim *add);
int claims_drop(struct arena *a, struct claims *c, const struct id *id);
/* The highest counter, but for that of one node (or NULL); 0: there is no claim. */
uint64_t claims_highest(const struct claims *c, const struct id *but);
/* -ENOENT when nobody claims the name. */
int claims_get(struct replica *r, const struct store_snapshot *snap, struct arena *a,
	       const struct id *parent, const char *name, size_t len, struct claims *ret);
void dirent_key(struct buf *b, const struct id *parent, const char *name, size_t len);

/* The names under which the claims show, n texts of NAME_MAX_BYTES + 1 bytes each. taken says
 * whether somebody claims a name in that directory. */
typedef bool (*taken_fn)(const char *name, size_t len, void *userdata);
void claims_names(const struct actors *actors, const struct claims *c, const char *name, size_t len,
		  taken_fn taken, void *userdata, char (*ret)[NAME_MAX_BYTES + 1]);
/* Who shows under name in parent. -ENOENT. */
int dirent_find(struct replica *r, const struct id *parent, const char *name, size_t len,
		struct id *ret);
/* The name that a node shows under. */
int dirent_shown(struct replica *r, const struct node *n, char *ret);

/* ---- names and modes ---- */

/* One of those that are merged as texts: .md .markdown .txt .org .rst .adoc .tex .todo, and .shoalignore. */
bool name_is_text(const char *name, size_t len);
bool name_valid(const char *name, size_t len);
/* Normal permission bits of a kind. */
uint32_t mode_normal(enum node_kind kind);

/* ---- versions ---- */

struct commit;
struct versions;
int versions_init(struct replica *r);
void versions_done(struct replica *r);
void rendering_done(struct rendering *x);
/* The version of a record's content. known (may be NULL) is what the record renders to, if somebody
 * knows that already; what is used of it is taken out. */
int version_make(struct replica *r, const struct record *rec, struct rendering *known,
		 struct version **ret);
/* The elements of its lists; borrowed, NULL: none, or they are not known. */
const struct elements *version_elements(const struct version *v);
/* Those of what was saved when the version was made, if its bytes are others; taken over. For
 * version_written, by the commit that makes the version. */
void version_set_written(struct version *v, struct elements *take);
/* The cached version with that id, or NULL. */
struct version *version_find(struct replica *r, const struct id *node, const struct id *version);
/* As version_load, from the version's record, which the caller has. */
int version_load_from(struct replica *r, struct version *v, const struct record *rec);
/* Around the writing of a commit: versions that it replaces, and that owe their bytes, get them. -ENOMEM.
 * The second in any case. */
int versions_write_begin(struct commit *c);
void versions_write_end(struct commit *c);
/* Keeps v, which owes nothing, as the newest one of its node for a while. */
void version_keep(struct replica *r, struct version *v);
/* What edits of a text need; NULL for anything else. */
const struct seq_base *version_anchors(const struct version *v);
/* An earlier version of a node, from its entry in the history. -EHOSTDOWN, -EBADMSG: its bytes. */
struct history_version;
int version_past(struct replica *r, const struct id *node, const struct history_version *h,
		 struct version **ret);
/* Calls f for each earlier version of a node that is kept, the oldest first; what h refers to is gone
 * afterwards. What f returns other than 0 ends it. */
typedef int (*earlier_fn)(const struct history_version *h, uint64_t stamp, void *userdata);
int history_each(struct replica *r, const struct store_snapshot *snap, const struct id *id,
		 earlier_fn f, void *userdata);
/* When and by whom the content was last changed. */
void history_written(const struct replica *r, const struct record *rec, uint64_t *ret_stamp,
		     uint32_t *ret_author);
/* The version as a base of what is written now, if dots in it have other names since it was made, else
 * NULL. Commit lock. */
int version_restamped(struct replica *r, const struct version *v, struct version **ret);
/* No dots have got other names since it was made. Commit lock. */
bool version_names_hold(struct replica *r, const struct version *v);
/* A document whose record has no source of its own, so that its style alone gives the bytes. */
bool version_styled(const struct version *v);
/* Do both hold the same bytes, as the same kind of content? */
bool version_same(const struct version *x, const struct version *y);
/* The newest version of a file, live or deleted. */
int version_newest(struct replica *r, const struct id *id, struct version **ret);
/* Appends the blobs (struct blob_ref) of all versions that somebody holds; others are forgotten. */
int versions_blobs(struct replica *r, struct buf *b);

/* ---- the replica ---- */

struct scope {
	struct id id;
	struct vv have;
	uint64_t files; /* live */
};

struct loose {
	struct table_link link; /* by id */
	struct tree_node node;
	char *names;      /* memory of the edges' names */
};

struct peer_held {
	struct id peer, scope;
	struct vv held;
	uint64_t meeting; /* whose first word that is; 0: of before the store was opened */
	bool dirty;
};

struct peer_keeps {
	struct id peer;
	struct interests *x;
	uint64_t met_us;  /* when it said so last */
	uint64_t meeting; /* in which session; 0: before the store was opened */
	uint64_t contents; /* in which it said last that it has all contents; 0: it lacks some, or who knows */
	bool dirty;
};

struct observer {
	change_fn f;
	void *userdata;
};

struct replica {
	struct replica_config config;
	struct store *store;
	struct actors *actors;

	pthread_mutex_t commit;   /* what follows up to the next lock */
	uint32_t self;            /* own actor */
	uint64_t seq;             /* its last batch */
	uint64_t tags_gone, counted_gone; /* of its batches before these no tags, no counts are kept */
	unsigned renewals_own;    /* those that nobody's word brought about */
	struct restamp *restamped;
	struct picks *picks;      /* replica-pick.c */
	struct indexes *indexes;  /* replica-index.c */
	bool left;                /* some nodes left with own changes */
	struct clock clock;
	uint32_t actors_saved;    /* so many are in the store */
	struct store_batch *batch;
	struct table loose;
	struct large *large;      /* replica-trail.c */

	pthread_mutex_t scopes_lock; /* leaf; changed only with the commit lock held too */
	struct scope **scope;        /* by id */
	uint32_t n_scopes;
	struct peer_held **peer;     /* by peer, scope */
	uint32_t n_peers;
	struct interests *interests; /* own; changed with the commit lock held too */
	struct peer_keeps *keeps;    /* of others */
	uint32_t n_keeps;
	uint64_t interests_meeting;  /* sessions after this one know the own ones */
	struct partial *partial;     /* by device, scope; scopes_lock alone (replica-partial.c) */
	uint32_t n_partials;

	pthread_mutex_t notify;   /* order of notifications; observers */
	struct observer *observer;
	uint32_t n_observers;
	atomic_uint observers;    /* n_observers, to be read without the lock */

	pthread_mutex_t flush_lock;
	pthread_cond_t flushed;
	bool flushing;
	struct view *published;
	uint64_t flushed_local;
	atomic_ullong local_writes;

	atomic_uint renewals;    /* incarnations begun since it was opened; changed with the commit lock held */
	atomic_uint n_restamped; /* the same */
	atomic_ullong meetings;
	atomic_uint interest_changes; /* of the own ones, since it was opened */
	atomic_bool hiding;           /* some collections are not shown */
	atomic_ullong commits;
	atomic_ullong files;
	atomic_bool batches;        /* some are listed */
	struct shard *shard;
	struct versions *versions;
	struct kept types, schemas;

	pthread_mutex_t views_lock; /* leaf */
	struct view *views;         /* all that live */
	atomic_ullong orphaned;     /* bytes, roughly: replica_orphaned */
	atomic_ullong sweeps;       /* counts them, see replica-sweep.c */
	atomic_ullong writes;       /* odd while records are replaced, see replica-version-later.c */
	atomic_bool no_sweeps;      /* they break off */
	struct absents *absents;
	atomic_ullong eager_max;
};

/* The scope's entry, made when it is not there and create is set. Commit lock. */
struct scope *scope_get(struct replica *r, const struct id *id, bool create);
void scope_put_batch(struct replica *r, struct store_batch *b, const struct id *id,
		     const struct vv *have, uint64_t files);
void actors_put_batch(struct replica *r, struct store_batch *b, uint32_t count);
void peers_put_batch(struct replica *r, struct store_batch *b);
void format_put(struct replica *r, struct store_batch *b, const struct actor_id *self);
/* Starts a new incarnation; RENEWAL_NONE: the first one. Commit lock. */
int incarnation_new(struct replica *r, enum renewal how, struct err *e);
/* It has begun: the store says so. */
void incarnation_is(struct replica *r, uint32_t self, uint64_t seq);
int restamps_load(struct replica *r, struct err *e); /* at open */
/* The first node (or scope) that there is a mark of that kind for, in META. -ENOENT. */
int meta_first(struct replica *r, uint8_t kind, struct id *ret);
void meta_key(struct buf *b, uint8_t kind, const void *p, size_t n, const void *q, size_t m);

/* ---- a commit ---- */

struct place {
	struct id parent;
	const char *name; /* NULL: none */
	size_t len;
};

struct touched {
	struct table_link link;
	struct touched *next;
	struct node before, after; /* before.flags 0 and had not set: was not there */
	bool had;
	bool listed;               /* a claim stands at `at`, in this commit's view */
	struct place at;
	bool vacated;              /* something left this directory: is it empty now? */
	const struct record *old, *record; /* record NULL: only derived values change */
	struct dot *extra;
	uint32_t n_extra;
	bool content;              /* content may have changed */
	bool kept;                 /* what was there went into the history */
	bool same;                 /* record is old, unless somebody has put another one since */
	const struct leaf *leaf;   /* all that changed in the content; NULL: who knows */
	struct gist gist;
	bool trail;                /* what is in the store may have one */
	bool behind;               /* the leaf goes into the trail */
	unsigned what;             /* CHANGE_ATTR, CHANGE_CONTENT */
	bool gone;                 /* the node leaves this store; old is its record */
	struct rendering known;    /* what the document renders to, if known */
	struct elements *written;  /* of what was saved, when it renders to something else */
	struct version *version;   /* made of it */
	const struct vv *to, *upto; /* remote: the delta's context and the round's */
	struct id target;          /* of a hard link, from links_touch on */
	struct touched *next_link; /* those of the commit */
	bool apart;                /* remote: who changed it and when is told of it alone, not by the commit */
	uint64_t hlc;
	uint32_t actor;
	enum absence lacks;        /* contents that the record came without */
	uint8_t absence;           /* what engine/absent.h says of it from now on ... */
	bool absence_new;          /* ... which is news */
	struct place was, is;      /* where and under which name it showed and shows; observers */
	const char **pointer;
	uint32_t n_pointers;
};

struct dirent {
	struct table_link link;
	struct dirent *next;
	struct id parent;
	const char *name;
	size_t len;
	struct claims before, after;
};

struct commit {
	struct replica *r;
	struct arena arena;
	struct stamp stamp;
	struct stamp moved; /* the same with the time at which names came or went */
	const struct restamp *restamp; /* the stamp is the first of that new incarnation */
	bool locked, remote, seq_used;
	bool anywhere;   /* local: also where programs may not write (replica-interest.c) */
	bool dropping;   /* its nodes leave this store: struct touched, gone */
	bool leaving;    /* the same, of a part */
	bool part;       /* remote: by comparison; what comes is passed on if the collection is kept */
	bool settles;    /* local: passes on what came like that */
	bool whole;      /* local: its records make a batch (replica-batch.c) */
	bool together;   /* the same, if they are not too large for one */
	size_t written;  /* bytes of its records */
	const struct bundle *bundle; /* remote: as what it came; NULL: a single node */
	uint64_t hlc;    /* of the change, for observers and directories' times; 0: unknown */
	uint32_t actor;
	struct table nodes, dirents;
	struct touched *first, **last;
	struct touched *links;
	struct dirent *first_dirent, **last_dirent;
	struct id *loose_add, *loose_drop; /* loose set afterwards: arena */
	struct tree_node *loose_node;
	uint32_t n_loose_add, n_loose_drop;
	struct visited *visited; /* directories that are not known yet: arena */
	struct hold hold;  /* chunks of earlier versions that this commit keeps */
	const struct buf *kept; /* record of STORE_LOCAL that goes; NULL: none */
	struct id *scopes; /* whose have or count changes */
	int64_t *files;    /* change of the count */
	uint32_t n_scopes, cap_scopes;
};

/* Takes the lock and the next stamp. Every path ends in commit_done, which gives it back. */
void commit_begin(struct commit *c, struct replica *r, bool remote);
/* Names came and went then (0: now). */
void commit_moved_at(struct commit *c, uint64_t when_us);
void commit_done(struct commit *c);
/* Takes a node out of the store. -EALREADY: this commit does so already; -ENOENT: there is no record. */
int commit_gone(struct commit *c, const struct id *id, struct touched **ret);
/* The node's newest record within this commit. -ENOENT. */
int commit_record(struct commit *c, const struct id *id, struct stored *ret, struct err *e);
/* Puts a changed record; old is what commit_record gave, or all zero. Nothing if they are one. -EROFS: programs
 * may not write there. */
int commit_put(struct commit *c, const struct stored *old, const struct record *record,
	       unsigned what, struct touched **ret);
struct touched *commit_touched(struct commit *c, const struct id *id);
/* The node as it will be; loads it. -ENOENT. */
int commit_node(struct commit *c, const struct id *id, struct touched **ret);
/* Derives, writes, publishes, notifies; unlocks. The touched nodes stay. */
int commit_end(struct commit *c, struct err *e);
int commit_claims(struct commit *c, const struct id *parent, const char *name, size_t len, struct dirent **ret);
/* 1: nothing showed under the name before this commit, which does not look again; 0: who knows. */
int commit_unclaimed(struct commit *c, const struct id *parent, const char *name, size_t len);
/* replica-adopt.c: ends a local commit in which the record is as it was, in a batch of this device. */
int commit_as_own(struct commit *c, const struct id *node, struct err *e);
/* Is anything in the directory? */
bool commit_dir_empty(struct commit *c, const struct id *id);
/* All live children as they will be. */
int commit_children(struct commit *c, const struct id *id, struct id **ret, uint32_t *ret_n);
int commit_scope(struct commit *c, const struct id *scope, int64_t files);

/* replica-visit.c: times of directories that something came to or left. */
int commit_visits(struct commit *c);
int put_visits(struct commit *c, struct store_batch *b);
/* replica-entries.c: liveness and directory entries, once places and ALIVE are known. */
int commit_entries(struct commit *c);
/* replica-absent.c: are the contents of a record here? In t and its node; before commit_history. */
int commit_absence(struct commit *c, struct touched *t);
/* Does a blob of that node come by itself? */
bool blob_is_due(struct replica *r, const struct id *node, const struct blob_ref *ref);
/* replica-history.c: what this commit replaces or deletes, into the batch; v is scratch. */
int commit_history(struct commit *c, struct store_batch *b, struct buf *v, struct err *e);
/* replica-place.c: places of all touched nodes with a changed record. */
int commit_place(struct commit *c);
/* The record is in the store as it is; what follows from it and others may have changed. */
static inline bool touched_same(const struct touched *t)
{
	return t->same && t->record == t->old;
}
/* Puts a node where tree_resolve says. */
void node_place(struct node *n, const struct tree_node *at, struct arena *a);
int loose_load(struct replica *r, struct err *e); /* at open */
void loose_done(struct replica *r);
/* In memory what the commit says of loose nodes. */
void loose_update(struct commit *c);
/* replica-derive.c: attributes of a changed record. */
int commit_derive(struct commit *c, struct touched *t);
/* replica-dots.c: its entries in STORE_DOTS. */
int commit_dots(struct commit *c, struct touched *t, struct store_batch *b);
/* The index of changes of an actor in a scope beyond a number; seq and node of an entry. */
int dots_iter(struct replica *r, const struct id *scope, uint32_t actor, uint64_t above,
	      struct store_iter **ret);
int dots_entry(const struct store_iter *it, uint64_t *ret_seq, struct id *ret_node);
/* Its entry of an actor of whom the record has less now. */
void dots_forget(const struct touched *t, uint32_t actor, struct store_batch *b);
/* All entries of a node that leaves. */
void dots_drop(const struct touched *t, struct store_batch *b);
void commit_notify(struct commit *c); /* with r->notify held */
/* replica-self.c: the tag of an own batch; what a restamp leaves in the store. */
int own_put(struct commit *c, struct store_batch *b);
int restamp_put(struct commit *c, struct store_batch *b);
/* replica-counted.c: what its counters held before an own batch; userdata: the replica. */
int counted_put(const struct commit *c, struct store_batch *b);
int counted_before(const struct id *slot, uint64_t seq, struct arena *a, struct entry *ret,
		   void *userdata);

/* replica-batch.c: which nodes this commit changes together. */
int commit_batches(struct commit *c, struct store_batch *b);
int batches_load(struct replica *r, struct err *e); /* at open */
/* The lists go to the new incarnation with what they are of. */
int batches_restamp(struct commit *c, const struct restamp *rs, struct store_batch *b);
/* Compares the nodes' entries with the lists of batches. fix may be NULL. */
int batches_check(struct replica *r, const struct store_snapshot *snap, struct store_batch *fix,
		  uint64_t *ret_wrong, uint64_t *ret_damaged);
/* What has to go to a peer together with the node m, when the peer holds of each scope what known()
 * says (borrowed until the next call; NULL: it does not keep that one). *ret_wanted: these nodes, m first, *ret_n of them; 0: m goes alone.
 * ret->n_deltas 0 though there are some: they are more than a bundle may have. All in the arena. */
typedef const struct vv *(*known_fn)(const struct id *scope, void *userdata);
int bundle_make(struct replica *r, const struct store_snapshot *snap, struct arena *a,
	       const struct batch_node *m, known_fn known, void *userdata, struct bundle *ret,
	       struct batch_node **ret_wanted, uint32_t *ret_n);

/* replica-link.c: hard links. Takes a name away, and with the last one the file. */
int node_unlink(struct commit *c, const struct id *id);
/* Takes links to nothing out of a directory that has nothing else; 0: it has. */
int links_clear(struct commit *c, const struct id *dir);
/* -EEXIST: something shows under the name. A link that can lead to nothing goes; what waits for its file
 * stays, and *ret_above is the highest claim to the name then: who takes it has to be above. */
int name_free(struct commit *c, const struct id *parent, const char *name, size_t len,
	      uint64_t *ret_above);
/* Puts the files of all links that the commit has into it. */
int links_touch(struct commit *c);
/* Will the file have a link that is alive? */
int link_alive(struct commit *c, const struct record *file, bool *ret);
/* Observers are told of the names of files that have come behind them. */
int links_appear(struct commit *c);
/* Calls f with each link that is alive and names that node of that collection. */
int link_each(struct replica *r, const struct store_snapshot *snap, const struct id *target, const struct id *scope,
	      int (*f)(const struct id *link, void *userdata), void *userdata);
/* The place of one of the file's links, always the same one. -ENOENT. */
int link_first(struct replica *r, struct arena *a, const struct id *id, struct node *ret);
/* Does a name show? It is no hard link, or one to a file that is there; that file, or what says that it lives, is
 * still to come; what it names can be no file of it whatever comes. */
enum link_state { LINK_SHOWS, LINK_WAITS, LINK_IDLE };
enum link_state link_state(struct replica *r, const struct id *id);
/* As replica_lookup and replica_list, but hard links are what they are. */
int entry_lookup(struct replica *r, const struct id *parent, const char *name, size_t len,
		 struct attr *ret);
int entries_list(struct replica *r, const struct id *parent, list_fn f, void *userdata);
/* The node whose id is the content of a link; zero: it is a symbolic one. */
void link_target(const struct replica *r, const struct record *rec, struct id *ret);
/* A file can be what the link names: no directory, no other link, nothing of another collection, whatever a
 * peer may say. */
bool link_holds(const struct attr *link, const struct attr *file);
/* The file behind the name, whose own attributes are in at: another node if it is a hard link.
 * -ENOENT: that is not here (any more). */
int link_follow(struct replica *r, struct attr *at);
/* What a commit changes in the index. */
void link_put(const struct touched *t, struct store_batch *b);
/* A link that is alive, by its record. */
struct link_truth {
	struct id target, link, scope;
};
/* Compares the index with all of these, sorted by target and link; *ret: differences. fix may be NULL. */
int links_check(struct replica *r, const struct store_snapshot *snap, const struct link_truth *truth,
		size_t n, struct store_batch *fix, uint64_t *ret);

/* replica-conflict.c: what a commit changes in the index of conflicts. key: of the directory entry. */
void conflict_put(const struct touched *t, struct store_batch *b);
void contested_put(const struct dirent *d, const uint8_t *key, size_t len, struct store_batch *b);
/* Compares the index with attributes and directory entries; *ret: differences. fix may be NULL. */
int conflicts_check(struct replica *r, const struct store_snapshot *snap, struct store_batch *fix,
		    uint64_t *ret);
int conflicts_index(struct replica *r, struct err *e); /* makes it right. Commit lock */
int conflicts_load(struct replica *r, struct err *e);  /* at open: makes it if there is none */

int peers_load(struct replica *r, struct err *e);

/* replica-interest.c: what this device keeps. At open; and what flush writes of others'. */
int interests_load(struct replica *r, struct err *e);
void interests_put_batch(struct replica *r, struct store_batch *b);
void interests_done(struct replica *r);
void keeps_contents(struct replica *r, const struct id *peer, uint64_t meeting); /* struct peer_keeps, contents */
/* All of it is kept, or was asked to be: changes of it may come in. Commit lock. */
bool scope_is_kept(struct replica *r, const struct id *scope);
/* Programs may look at it and write to it. Any thread. */
bool scope_is_shown(struct replica *r, const struct id *scope);
/* All of it is kept, until somebody gives it up: neither carried for others nor a part. */
bool scope_is_subscribed(struct replica *r, const struct id *scope);
/* The top-level directory of a collection that is not shown. Any thread. */
bool is_hidden(struct replica *r, const struct id *dir);

/* replica-pick.c: what filters pick (engine/pick.h). At open; what a commit changes of it. */
int picks_load(struct replica *r, struct err *e);
void picks_done(struct replica *r);
int picks_put(struct commit *c, struct store_batch *b);
/* Compares those that are complete with all records, and begins those anew that are wrong, if repair is set.
 * Commit lock; c has begun and is empty. */
int picks_check(struct replica *r, struct commit *c, bool repair, uint64_t *ret_wrong, struct err *e);

/* Calls f for the nodes that n entries in the index of changes of a collection name, from *place on (empty: the first
 * one), each once; *place is where to go on, empty at the end. What f returns other than 0 ends it. Commit lock. */
int nodes_step(struct replica *r, const struct id *scope, unsigned n, struct buf *place,
	       int (*f)(const struct id *node, void *userdata), void *userdata);


/* replica-part.c: marks of nodes that came of parts, and of those that left with own changes. */
void part_put(struct commit *c, const struct touched *t, struct store_batch *b);
int left_put(struct commit *c, const struct touched *t, struct store_batch *b);
int left_load(struct replica *r);
/* A commit that changes a node that left with own changes, without them, goes on as a new incarnation. */
int left_renew(struct commit *c, struct err *e);

/* replica-drop.c. The batch says that the scope is to be dropped, or is not any more. */
void drop_put(struct store_batch *b, const struct id *scope, bool is);
bool drop_pending(struct replica *r, const struct id *scope);
/* What a commit deletes of a node that leaves. */
int gone_put(struct commit *c, const struct touched *t, struct store_batch *b);
/* replica-batch.c: the lists that only nodes of scopes have which are not here any more. */
int batches_forget(struct commit *c, const struct id *node, struct store_batch *b);
/* Rounds that were cut (replica-partial.c). What is to be written, at a flush. Commit lock. */
void partials_put_batch(struct replica *r, struct store_batch *b);
int partials_load(struct replica *r, struct err *e);
void partials_done(struct replica *r);
void partials_forget(struct replica *r, const struct id *scope);
/* Publishes the view of what was opened. */
int view_first(struct replica *r, struct err *e);
int view_take(struct replica *r, struct view **ret); /* not durable; commit lock */
const struct store_snapshot *view_snapshot(const struct view *v);
struct replica *view_replica(const struct view *v);

/* Appends the other views that live and may show something else than v, referenced, to b. */
int views_others(struct replica *r, const struct view *v, struct buf *b);

/* ---- chunks that are needed (replica-sweep.c) ---- */

struct marks {
	struct chunk_pin *slot; /* open addressing; all zero: free. The last bit: the manifest's chunks are in */
	size_t n, cap;    /* cap: a power of two or 0 */
};

enum {
	MARKS_HISTORY = 1, /* what earlier versions need as well */
	MARKS_BREAK = 2,   /* -ECANCELED after replica_sweep_cancel */
};

/* All chunks that the view, the other views and the versions in use need. -EBADMSG when a record
 * or a manifest is damaged. */
int marks_collect(struct replica *r, const struct view *v, unsigned flags, struct marks *m,
		  struct err *e);
/* Adds those of one blob. *ret_bytes (may be NULL) grows by the plain size of those that were not in. */
int marks_blob(struct replica *r, struct marks *m, const struct blob_ref *ref, uint64_t *ret_bytes);
bool marks_have(const struct marks *m, const uint8_t hash[static SHA256_SIZE]);
void marks_done(struct marks *m);

/* ---- which values a commit changed (replica-pointers.c) ---- */

struct pointers {
	const char **text; /* malloc; the texts are the commit's */
	uint32_t n, cap;
};

/* Up to POINTERS_MAX, and only while somebody observes; for want of memory there are fewer. */
void pointers_add(struct commit *c, struct pointers *p, const char *pointer, size_t len);
void pointers_give(struct pointers *p, struct touched *t); /* takes them out of p */
void pointers_done(struct pointers *p);
/* Those of a merge: t has the old record and the new one. */
void pointers_of_merge(struct commit *c, struct touched *t);

/* ---- what a program wrote (replica-save.c) ---- */

struct draft {
	struct json *tree; /* a document */
	bool plain;        /* a text; neither: a blob */
	const char *text;
	size_t len;
	struct value blob;
	struct blob_ref ref;
	struct hold hold;  /* the blob's chunks, until the record says so */
	int refused;       /* it should have been a document: why it is none */
	struct buf own;
	struct types *types; /* document: what is declared; NULL: nothing */
	struct arena arena;
};

/* What a draft changes in what its writer had read. Of a blob: nothing to say. */
struct patch;
struct difference {
	struct patch *patch; /* document; NULL: none */
	const struct seq_base *anchors; /* text: what was read, borrowed of the version; NULL: no text */
	struct seq_edit *edit; /* text */
	size_t n;
};

/* Reads the content as what it is under that name. A document that is none: 0, d->refused is set and
 * e says why; draft_bytes then takes it as a text or blob. */
int draft_make(struct replica *r, const char *name, size_t name_len, const struct content *c,
	       enum save_as as, struct draft *d, struct err *e);
/* plain: as a text if it can be one. */
int draft_bytes(struct replica *r, const struct content *c, bool plain, struct draft *d,
		struct err *e);
void draft_done(struct draft *d);
/* In memory of the arena. scope: the collection. base NULL: the writer had read nothing. Takes out of a
 * document what is in one of its sets twice. */
int draft_difference(struct replica *r, struct arena *a, const struct id *scope, struct draft *d,
		     const struct version *base, struct difference *ret);
/* The record with the draft as content, seen from base (NULL: all of rec). */
int draft_write(struct commit *c, const struct draft *d, const struct difference *diff,
		const struct record *rec, const struct vv *base, bool merged, struct pointers *p,
		const struct record **ret);
/* commit_put of it; takes the pointers over. */
int draft_put(struct commit *c, const struct draft *d, const struct stored *old,
	      const struct record *rec, bool merged, struct pointers *p, unsigned what,
	      struct touched **ret);

/* The draft over an existing file within the commit. *ret NULL: nothing changed. why: why the draft was
 * refused as a document, if it was. */
int save_locked(struct commit *c, const struct id *id, const struct version *base,
		const struct draft *d, const struct difference *diff, struct touched **ret,
		struct err *e, const struct err *why);

/* ---- saves of one value (replica-leaf.c, replica-trail.c) ---- */

struct leaf;
/* Is that all that the draft changes in what its writer had read? 1 if it may be, 0, -ENOMEM. */
int draft_leaf(struct replica *r, const struct id *scope, struct draft *d, const struct version *base,
	       struct leaf *ret);
/* The draft over the base, as a commit of its own. 1, and *ret_version (may be NULL) is what there is
 * now; 0: this needs the whole difference, nothing is done. */
int leaf_save(struct replica *r, const struct id *id, const struct version *base,
	      const struct draft *d, const struct leaf *l, struct version **ret_version,
	      struct err *e);

/* The trail of a record, empty: none. */
int trail_get(struct store *store, const struct store_snapshot *snap, const struct id *id,
	      struct buf *ret);
/* Makes its changes in a record that was just decoded. -EBADMSG, -EPROTONOSUPPORT, -ENOMEM. */
int trail_replay(struct arena *a, const struct actors *actors, const struct buf *trail,
		 struct record *rec, struct err *e);
/* What to write a record in; puts its trail, or takes it away: true if that is all there is to put. v is
 * scratch. */
uint8_t trail_format(struct commit *c, const struct touched *t);
bool trail_put(struct commit *c, struct touched *t, struct store_batch *b, struct buf *v);

int large_init(struct replica *r);
void large_done(struct replica *r);
/* commit_record for leaf_save. */
int large_get(struct commit *c, const struct node *n, struct stored *ret, struct err *e);
/* The leaf, borrowed, is all that the record that was put for t changes. */
void large_changes(struct commit *c, struct touched *t, const struct leaf *leaf);
/* The commit is in the store. */
void large_publish(struct commit *c, const struct touched *t);

/* The text of a document, in the style of base, which `old` was parsed from (NULL: jq's).
 * replica-edit.c */
int document_write(const struct json *tree, const struct json *old, const struct version *base,
		   struct buf *b);

/* ---- structure (replica-tree.c) ---- */

/* The draft as a new file within the commit. -EEXIST. */
int create_file(struct commit *c, const struct id *parent, const char *name, size_t len,
		struct draft *d, const struct difference *diff, struct touched **ret);

/* The scope of what is born in a directory. */
void child_scope(const struct node *dir, struct id *ret);
int name_check(const char *name, size_t len); /* -ENAMETOOLONG, -EINVAL */
/* A directory that things may be put into: -ENOENT, -ENOTDIR, -EPERM. */
int dir_get(struct replica *r, const struct id *id, struct node *ret);
/* The id that a name gives; ones that live elsewhere are passed over. `own` (may be NULL) may be
 * taken though it lives: it is about to be replaced. *ret_old: the record that the id has. */
int id_choose(struct commit *c, enum node_kind kind, const struct id *parent, const char *name,
	      size_t len, const struct id *own, struct id *ret, struct stored *ret_old);
/* Among several claims the highest shows: the record's newest edge is above that. */
int record_above(struct arena *a, uint64_t counter, const struct record **r);
/* A record for a new node, or the one of a deleted node, hanging at parent under name. */
int record_begin(struct commit *c, const struct id *id, const struct id *scope, enum node_kind kind,
		 const struct stored *old, const struct id *parent, const char *name, size_t len,
		 uint32_t mode, const struct record **ret);
int node_trash(struct commit *c, const struct id *id);
/* Hangs the node there so that it is what shows under the name (replica-rename.c). */
int node_move(struct commit *c, const struct id *id, const struct id *parent, const char *name,
	      size_t len);
void tree_node_of(struct tree_node *node, const struct record *rec, bool linked);
bool loose_has(const struct replica *r, const struct id *id);
