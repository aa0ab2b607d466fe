/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One device's copy of the mesh's data: the tree, its documents and blobs, the vectors that say
 * what is here. The file system and the sync sessions both work on it; it does no I/O but through
 * its store, and takes clock and randomness from outside.
 *
 * Threads: every function may be called by any thread. Writers are serialised by one commit lock;
 * parsing and diffing happen outside of it, readers do not take it.
 *
 * Ids. A directory and a *.json file get the id H(parent, name, generation), so that the same name
 * created on two devices apart is one node; the generation grows only while that id is live
 * somewhere else in the tree. Other files and links get random ids.
 *
 * Scopes. A node belongs for good to the collection it was born in: the id of the top-level
 * directory, or NODE_ROOT for the root's own children (files of the collection `.` and the
 * top-level directories themselves). A rename across collections gives -EXDEV for directories;
 * for a file it makes a new node there and deletes the old one in one commit.
 *
 * Names. Several live nodes may claim one name in a directory. One shows under it: directories
 * before files, then the highest edge stamp (counter, actor identifier), then the smaller id. The
 * others show as NAME~DEVICE.EXT with the first six hexadecimal digits of their edge's device
 * (and ~2, ~3 … where that is taken), and are found under that name.
 *
 * Vectors. have[scope] says: everything of the scope that this vector covers is here. Own commits
 * raise it at once; remote ones when a peer has sent a whole round (shoal-protocol(7)). STORE_DOTS
 * holds, for each node and each actor that changed it, the newest such seq; while a change is
 * beyond have, older entries stay, so that for each v < have[a] a node changed by a in (v, have[a]]
 * has an entry there. Sessions send only from a published view: a snapshot that is durable. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/absent.h"
#include "engine/batch.h"
#include "engine/blob.h"
#include "engine/change.h"
#include "engine/crdt.h"
#include "engine/delta.h"
#include "engine/err.h"
#include "engine/interest.h"
#include "engine/store.h"

#define DOCUMENT_SIZE_MAX (16u * 1024 * 1024) /* a JSON document's bytes */
#define TEXT_SIZE_MAX (64u * 1024 * 1024)     /* a text's; what is larger is a blob */
#define XATTR_SIZE_MAX 65536
#define LINK_SIZE_MAX 4095

struct replica;

struct replica_config {
	struct store *store; /* borrowed; outlives the replica */
	struct id device;
	/* A random token that is also kept outside the database, where a copy of the database does
	 * not take it along. All zero: there is none. */
	uint8_t fence[16];
	uint64_t (*wall_us)(void *userdata);                       /* since 1970 */
	void (*random)(void *userdata, void *data, size_t len);
	void *userdata;
	/* Bytes from which a document counts as large: what a save changes in one goes behind its record,
	 * and the record stays in memory for the next save. 0: REPLICA_LARGE. */
	uint32_t large_min;
};

#define REPLICA_LARGE (64u * 1024)

/* A store opened by another device id, or with another fence than the one it was left with, is a
 * copy and goes on as a new incarnation. -EPROTONOSUPPORT for an unknown format version, with advice. */
int replica_open(const struct replica_config *config, struct replica **ret, struct err *e);
/* The fence has been renewed: the store is left with this one. */
int replica_set_fence(struct replica *r, const uint8_t fence[static 16], struct err *e);
/* What config.random gives. */
void replica_random(struct replica *r, void *data, size_t len);
/* How often it went on as a new incarnation since it was opened, the opening included. */
unsigned replica_renewals(struct replica *r);
/* How it did so last and when, microseconds since 1970; that stays in the store. */
enum renewal { RENEWAL_NONE, RENEWAL_FENCE, RENEWAL_PEER };
enum renewal replica_renewed(struct replica *r, uint64_t *ret_us);
void replica_free(struct replica *r);
struct actors *replica_actors(struct replica *r); /* borrowed */
struct store *replica_store(struct replica *r);   /* borrowed */

/* ---- reading the tree ---- */

enum form { FORM_NONE = 0 /* directory, link */, FORM_JSON = 1, FORM_BLOB = 2, FORM_TEXT = 3 };

struct attr {
	struct id id;
	struct id entry;    /* the node that has the name: `id`, or a hard link to it */
	struct id target;   /* of a hard link itself: the node it names; else zero */
	struct id scope;
	enum node_kind kind;
	enum form form;
	uint32_t mode;      /* permission bits 07777 */
	uint64_t size;      /* exact: bytes of the document or text as shown, of the blob, of the link */
	uint64_t stored;    /* bytes of these that are in no hole */
	int64_t mtime_ns;   /* the same on every device */
	int64_t ctime_ns;   /* when this device last changed the record */
	struct id version;  /* fingerprint of the record's context */
	bool conflict;      /* some value lost against a concurrent one */
	bool absent;        /* contents are not here */
	bool linked;        /* it has hard links: replica_links */
	uint32_t author;    /* actor number of the newest batch in the content */
};

/* Names lead through hard links (replica_lookup, replica_list): the attributes are those of the file.
 * What is done to a name (replica_remove, replica_rename) is done to attr.entry. */
int replica_attr(struct replica *r, const struct id *id, struct attr *ret); /* -ENOENT: not live */
int replica_lookup(struct replica *r, const struct id *parent, const char *name, size_t len,
		   struct attr *ret);
/* All live children as shown, in byte order of their names; stops when f returns non-zero and
 * returns that. One consistent snapshot. */
typedef int (*list_fn)(const char *name, size_t len, const struct attr *attr, void *userdata);
int replica_list(struct replica *r, const struct id *parent, list_fn f, void *userdata);
/* The same without attributes, in no order, and as cheap when f stops early. The name has no NUL. */
typedef int (*name_fn)(const char *name, size_t len, const struct id *id, enum node_kind kind,
		       void *userdata);
int replica_names(struct replica *r, const struct id *parent, name_fn f, void *userdata);
/* Where a live node hangs; name is the shown one (NAME_MAX_BYTES + 1 bytes of room). -ENOENT. */
int replica_parent(struct replica *r, const struct id *id, struct id *ret_parent, char *name);
/* The path from the root without a leading slash, as text in ret. */
int replica_path(struct replica *r, const struct id *id, struct buf *ret);
int replica_readlink(struct replica *r, const struct id *id, struct buf *ret);
uint64_t replica_count(struct replica *r); /* live files */

/* ---- contents ---- */

/* An immutable version of a file's content. Reference-counted; thread-safe. */
struct version;

int replica_read(struct replica *r, const struct id *id, struct version **ret); /* newest */
/* The same for who may never look at the bytes: those of a document or text, and its context, are made when
 * they are asked for first, or before another version takes its place, whichever comes sooner. */
int replica_read_later(struct replica *r, const struct id *id, struct version **ret);
/* Makes them, if they are not. Where that fails, what is asked for below is not there: no bytes, an empty
 * context. Whoever goes on with them asks here before. */
int version_load(const struct version *v);
struct version *version_ref(struct version *v);
void version_unref(struct version *v);
const struct id *version_node(const struct version *v);
const struct id *version_id(const struct version *v);
const struct vv *version_context(const struct version *v);
enum form version_form(const struct version *v);
uint64_t version_size(const struct version *v);
/* It is a document or text, of which there is version_data. */
bool version_is_bytes(const struct version *v);
/* ... and they need not be made any more. */
bool version_is_made(const struct version *v);
/* Bytes of a document or text in memory (borrowed), NULL for a blob. */
const void *version_data(const struct version *v);
/* As pread(2). -EHOSTDOWN when a chunk is not here. */
ssize_t version_pread(struct version *v, void *data, size_t len, uint64_t offset);
/* These bytes of a blob that has been read are about to be. */
void version_expect(struct version *v, size_t len, uint64_t offset);

/* What the writer of a save knows afterwards: the bytes it wrote, and as context that of its base
 * (NULL: none) raised to this device's own seq in `saved`, the version that replica_save gave back.
 * A later save of the same writer, who has not read the merged result, takes it for its base. When
 * saved holds just these bytes, *ret is another reference to it. Blobs: always so. */
int version_written(struct replica *r, const struct version *base, struct version *saved,
		    const void *data, size_t len, struct version **ret);
/* A version as bytes for STORE_LOCAL (format version first), and back. Of a blob that is what it is of:
 * its chunks have to be there still. -EBADMSG. */
int version_encode(struct replica *r, const struct version *v, struct buf *b);
int version_decode(struct replica *r, const void *data, size_t len, struct version **ret);

/* As lseek with SEEK_HOLE (hole) and SEEK_DATA: the first offset from there on that is in a hole, or is
 * not; the size if there is none. */
int version_next(struct version *v, uint64_t offset, bool hole, uint64_t *ret);
/* Bytes that are in no hole; not touched on failure. The same errors as version_pread. */
int version_stored(struct version *v, uint64_t *ret);
/* The blob that it is; NULL: a document or text. Borrowed. */
const struct blob_ref *version_blob(const struct version *v);

DEFINE_CLEANUP(struct version *, version_unref)

/* What a program wrote: bytes in memory, a file to be read from its start (fd >= 0), or whatever a
 * struct blob_source gives. */
#define CONTENT_SOURCE (-2)
struct content {
	const void *data; /* CONTENT_SOURCE: the struct blob_source */
	size_t len;
	int fd; /* -1: data */
};

/* The bytes of a version, to be saved elsewhere: in memory, or by way of *room. Valid as long as v and
 * room are. */
void version_content(struct version *v, struct blob_source *room, struct content *ret);

/* Bytes under that name are a blob, whatever they are. */
bool replica_is_blob(const char *name, size_t len, uint64_t size);
/* Stores the bytes of what is about to be saved as a blob, from the beginning of the file behind fd
 * (borrowed), so that whoever saves it under locks finds that done (`begun` of struct blob_source). Nothing
 * of it is deleted until ahead_free. One user at a time. */
struct ahead;
int ahead_new(struct replica *r, int fd, struct ahead **ret, struct err *e);
/* As blob_writer_more. */
int ahead_store(struct ahead *a, uint64_t size, struct err *e);
struct blob_writer *ahead_writer(const struct ahead *a);
void ahead_free(struct ahead *a); /* NULL: nothing */
DEFINE_CLEANUP(struct ahead *, ahead_free)

enum save_as {
	SAVE_BY_NAME, /* *.json: a document if it parses, else see below; anything else: a text if the name
		       * is one for texts (and new or replaced content of a bad *.json), and the
		       * bytes are UTF-8 without NUL; otherwise a blob */
	SAVE_BLOB,    /* a blob whatever it is (used by `lenient`) */
};

/* Saves over an existing file: difference of base to the new content, applied to the newest
 * version with base's context. base NULL: an empty file that nobody read. Under a *.json name
 * bytes that do not parse are refused (-EINVAL, place in e) when the content is a document, and
 * kept as a text or blob when it is not one yet. Nothing changed: no new version, *ret_version is the
 * newest one (ret_version may be NULL). -EFBIG, -ENOSPC, -ENOENT (not live). */
int replica_save(struct replica *r, const struct id *id, const struct version *base,
		 const struct content *c, enum save_as as, struct version **ret_version,
		 struct err *e);

struct json;
/* A document changed by a patch (RFC 6902): applied to `base`, which is what its author had read, and
 * saved as he would have; the text is written as base is.
 * *ret: what the author knows then, the base of what he changes next. -EINVAL: no document, no patch;
 * -ENOENT: no such place in base, or it is not live; -ECANCELED, -EFBIG and errors of saving. */
int replica_edit(struct replica *r, struct version *base, const struct json *patch,
		 struct version **ret, struct err *e);

/* True when the content would be taken as a document under this name; e says why not. */
bool replica_parses(const char *name, size_t len, const struct content *c, struct err *e);

/* ---- earlier versions ----
 *
 * A version that this device showed is kept when another one takes its place, unless its author
 * replaced it within the same second; which of them stay for how long says engine/history.h. */

struct past {
	struct id version;
	uint64_t written_us;  /* when it was made, by its author's clock */
	uint64_t replaced_us; /* when another one took its place here; 0: it is the newest */
	uint64_t stamp;       /* what it is kept under; 0: it is the newest */
	uint32_t author;      /* actor number; ACTOR_NONE: unknown */
	enum form form;
	uint64_t size;
};

/* The versions of a file, live or deleted: the newest one, then the earlier ones, the last replaced
 * first; an array in the arena. -ENOENT, -EISDIR, -EINVAL (a link). */
int replica_history(struct replica *r, const struct id *id, struct arena *a, struct past **ret,
		    uint32_t *ret_n);
/* One of them. -ENOENT: it is not kept any more; -ESTALE: it was the newest and is not any more, list
 * them again; -EHOSTDOWN, -EBADMSG: its bytes are missing or damaged. */
int replica_history_read(struct replica *r, const struct id *id, const struct past *p,
			 struct version **ret);

struct line {
	const char *text; /* arena */
	size_t len;       /* with its newline, which the last line may lack */
	uint32_t actor;   /* whose batch wrote the newest of its characters */
	uint64_t seq;     /* the batch */
	uint64_t us;      /* when, as well as the versions that are kept tell */
	bool older;       /* they do not: before the oldest of them, which is of that time, or with it */
};

/* The lines of a text as shown, live or deleted; an array in the arena. What was only taken out of a
 * line is not seen. Reads every version that is kept, but not their bytes. -ENOENT, -EINVAL: no text. */
int replica_lines(struct replica *r, const struct id *id, struct arena *a, struct line **ret,
		  uint32_t *ret_n);

/* ---- dropping what is not to be kept ---- */

struct history_policy {
	uint64_t keep_us; /* how long after it was replaced a version stays, and a deletion is remembered */
	uint64_t bytes;   /* the most that all earlier versions may take beside what is needed anyway */
	bool purge; /* deletions of files are remembered until replica_purge_old strikes them (engine/purge.h) */
};

struct history_walk { /* all zero at the start */
	struct id next;
	uint64_t now_us;
	uint64_t versions, deletions; /* that stay */
	uint64_t bytes;    /* that they take at most */
	uint64_t dropped;
};

/* One step of dropping what is not to stay: history_thin (engine/history.h) for each file and, at
 * the end, the oldest of what is beyond policy->bytes. 1: there is more to do, call again with the
 * same walk; 0: done. A step looks at some thousand entries; the last one, if there may be too much, reads
 * every record as a sweep does. Chunks go with the next sweep. The time by which versions are judged goes
 * forward by at most a day from one walk to the next, so a clock that is wrong for a while costs
 * little. Any thread, beside everything else, one walk at a time. -ECANCELED after
 * replica_sweep_cancel. */
int replica_history_thin(struct replica *r, const struct history_policy *policy,
			 struct history_walk *w, struct err *e);

/* ---- changing the tree ---- */

/* Names come and go at when_us (since 1970), which may be some seconds ago, or now (0): it is the time
 * that their directories show then. replica_now_us() is later than everything before. */
uint64_t replica_now_us(struct replica *r);

/* Creates a file with content. -EEXIST. When the name's own id is that of a deleted node, the node
 * comes back: what its remover had seen counts as base, so nothing of it shines through. */
int replica_create(struct replica *r, const struct id *parent, const char *name, size_t len,
		   uint32_t mode, const struct content *c, enum save_as as, uint64_t when_us,
		   struct attr *ret, struct version **ret_version, struct err *e);
/* What a new file was until now, on this device alone. */
struct precursor {
	uint64_t named_us;     /* its name came then, since 1970 */
	int64_t mtime_ns;      /* it was written then; 0: now */
	const struct buf *key; /* of its record in STORE_LOCAL, which goes in the same commit; NULL: it
				* stays */
};
/* replica_create (SAVE_BY_NAME) in one commit with the end of what there was. */
int replica_create_from(struct replica *r, const struct id *parent, const char *name, size_t len,
			uint32_t mode, const struct content *c, const struct precursor *from,
			struct attr *ret, struct version **ret_version, struct err *e);
int replica_mkdir(struct replica *r, const struct id *parent, const char *name, size_t len,
		  uint32_t mode, struct attr *ret);
int replica_symlink(struct replica *r, const struct id *parent, const char *name, size_t len,
		    const char *target, struct attr *ret);
#define LINKS_MAX 1000 /* names of a file */
/* Makes a further name of a file or symbolic link: a hard link. -EEXIST, -EXDEV (another collection),
 * -EPERM (a directory), -EMLINK. ret (may be NULL): of the file, with the new name as entry. */
int replica_link(struct replica *r, const struct id *id, const struct id *parent, const char *name,
		 size_t len, struct attr *ret);
/* How many hard links there are to a node: names beside its own. 0 if attr.linked is not set. */
int replica_links(struct replica *r, const struct id *id, uint32_t *ret);
/* Deletes a file, a link or an empty directory (-ENOTEMPTY). Of a file with several names
 * this one goes, and the file with the last. */
int replica_remove(struct replica *r, const struct id *id, uint64_t when_us);

enum { RENAME_FLAG_NOREPLACE = 1, RENAME_FLAG_EXCHANGE = 2 };
/* Moves node id to parent/name with rename(2)'s semantics; what was there is deleted (or exchanged)
 * in the same commit. *ret_id: the node's id afterwards (another one across collections). */
int replica_rename(struct replica *r, const struct id *id, const struct id *parent, const char *name,
		   size_t len, unsigned flags, struct id *ret_id);
int replica_set_mode(struct replica *r, const struct id *id, uint32_t mode);
int replica_set_mtime(struct replica *r, const struct id *id, int64_t mtime_ns);
/* Names without the `user.` prefix are not looked at; len 0 is a valid value. */
int replica_set_xattr(struct replica *r, const struct id *id, const char *name, const void *value,
		      size_t len, bool create, bool replace);
int replica_remove_xattr(struct replica *r, const struct id *id, const char *name); /* -ENODATA */
int replica_get_xattr(struct replica *r, const struct id *id, const char *name, struct buf *ret);
int replica_list_xattr(struct replica *r, const struct id *id, struct buf *ret); /* NUL-separated */

/* ---- several files at once (replica-txn.c) ---- */

enum txn_op {
	TXN_PUT,    /* the document is `value`, whatever it was: as a save over what is there; or it is new */
	TXN_PATCH,  /* RFC 6902: `value` is the list of operations */
	TXN_MERGE,  /* RFC 7396 */
	TXN_DELETE, /* the file (of any kind) or link is deleted */
};

#define TXN_STEPS_MAX 1000
#define TXN_BYTES_MAX (16u * 1024 * 1024) /* of all records that a batch leaves behind */
#define TXN_VERSION_DIGITS 4              /* the least number of them */

struct txn_step {
	enum txn_op op;
	const char *path;         /* from the root; slashes at its ends and doubled ones do not count */
	const struct json *value;
	/* The version that the file has before the batch: its first hexadecimal digits, lower case; "":
	 * it is not there. NULL: any. */
	const char *version;
};

/* What all steps on a file did to it, told with the last of them; TXN_NOTHING with those before. */
enum txn_did { TXN_NOTHING, TXN_CREATED, TXN_CHANGED, TXN_DELETED };

struct txn_result {
	bool there;        /* after the batch */
	struct id version; /* then */
	enum txn_did did;
};

/* Applies all steps, each one to what those before it made, or nothing at all: one commit, which other
 * devices take in as one as well (shoal-protocol(7), "Batches"). A document is saved once, with what was
 * there as its base, so that it merges field by field. ret: one result a step. Fails with *ret_step as the step at fault, or n: none
 * of them. -ESTALE: not that version; -ECANCELED: a test of a patch failed; -ENOENT, -EISDIR,
 * -EINVAL, -EFBIG and errors of the store. */
int replica_txn(struct replica *r, const struct txn_step *step, uint32_t n, struct txn_result *ret,
		uint32_t *ret_step, struct err *e);
/* The same; without whole, other devices may take the changes in one by one: nothing is noted of what
 * belongs together, and TXN_BYTES_MAX is no limit. For what is brought in in bulk. */
int replica_steps(struct replica *r, const struct txn_step *step, uint32_t n, bool whole,
		  struct txn_result *ret, uint32_t *ret_step, struct err *e);
/* Declares how values of a collection (a directory at the top, or NODE_ROOT: the documents that are
 * just there) merge, on all devices: engine/types.h. text NULL takes a declaration back. What is
 * stored stays as it is. -EINVAL, -ENOTDIR, -ENOENT, -ENOSPC. */
int replica_declare(struct replica *r, const struct id *collection, const char *pointer, size_t len,
		    const char *text, struct err *e);
/* Calls f for each declaration, by the bytes of the pointers; another result than 0 ends it. */
typedef int (*declared_fn)(const char *pointer, size_t len, const char *text, size_t text_len,
			   void *userdata);
int replica_declared(struct replica *r, const struct id *collection, declared_fn f, void *userdata,
		     struct err *e);

/* Conflicts of a file, as record_conflicts. */
int replica_conflicts(struct replica *r, const struct id *id, conflict_fn f, void *userdata);

/* ---- conflicts, for people (replica-conflict.c, replica-contest.c) ---- */

/* Calls f for every live file and link in conflict, in no order. There is an index of them: it costs
 * what is found. What f returns other than 0 ends it and is returned. */
typedef int (*conflicted_fn)(const struct id *id, void *userdata);
int replica_conflicted(struct replica *r, conflicted_fn f, void *userdata);
/* The same for each node that shows as NAME~DEVICE.EXT because `shown` has its name; actor: whose edge
 * it is. */
typedef int (*contested_fn)(const struct id *shown, const struct id *hidden, uint32_t actor,
			    void *userdata);
int replica_contested(struct replica *r, contested_fn f, void *userdata);

#define RIVAL_ID_SIZE 11 /* ten hexadecimal digits and a NUL */

/* A value that competes for a place. */
struct rival {
	char id[RIVAL_ID_SIZE]; /* of place and value: the same on every device and at any time */
	enum value_kind kind;
	uint32_t actor; /* who wrote it, and when */
	uint64_t hlc;
	const char *text; /* JSON without a newline behind it; target of a link; a text; NULL: a blob */
	size_t len;
	struct blob_ref blob;
};

/* The bytes of a rival's blob as a version, which keeps them from being deleted. */
int replica_rival_blob(struct replica *r, const struct id *node, const struct blob_ref *ref,
		       struct version **ret);

struct contest {
	const char *pointer; /* JSON pointer; "" for all of the file. Keys may have NUL bytes */
	size_t len;
	struct rival shown;
	struct rival *lost; /* different ones */
	uint32_t n;
};

/* What competes in a live file, the outer places first. lines: JSON on one line each, else broken
 * into lines. -ENOENT. */
int replica_contests(struct replica *r, const struct id *id, bool lines, struct arena *a,
		     struct contest **ret, uint32_t *ret_n);

/* Ends conflicts at and below the pointer (NULL: in all of the file) by one save of somebody who
 * has seen all that is here. take: identifier of a value that lost, or its first four digits or
 * more; that value is what is there then. NULL: what is shown stays. *ret_n: places settled; 0: it
 * is so already. -ENOENT: no such file, place or value; -ENOTUNIQ: several values; -EINVAL; -EAGAIN. */
int replica_settle(struct replica *r, const struct id *id, const char *pointer, const char *take,
		   uint32_t *ret_n, struct err *e);

/* ---- what only this device knows (drafts, local files, settings): STORE_LOCAL ---- */

int replica_local_put(struct replica *r, const void *key, size_t key_len, const void *value,
		      size_t len);
int replica_local_delete(struct replica *r, const void *key, size_t key_len);
/* Several at once: all or none. */
int replica_local_write(struct replica *r, struct store_batch *b);
int replica_local_get(struct replica *r, const void *key, size_t key_len, struct buf *ret);
typedef int (*local_fn)(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
			void *userdata);
int replica_local_scan(struct replica *r, const void *prefix, size_t len, local_fn f,
		       void *userdata);

/* ---- durability and views ---- */

/* Makes everything committed so far durable and publishes a view of it. Concurrent calls share
 * one sync. */
int replica_flush(struct replica *r, struct err *e);
/* Publishes another view though nothing was committed: the one before keeps what was deleted since on the disk. */
int replica_republish(struct replica *r, struct err *e);
/* Somebody is changing it at this moment: another change would have to wait. */
bool replica_is_committing(struct replica *r);
bool replica_dirty(struct replica *r); /* commits since the last published view */
uint64_t replica_commits(struct replica *r); /* counts commits; grows with each */

/* A durable, immutable view for sessions. Reference-counted. */
struct view;
struct view *replica_view(struct replica *r); /* newest published, referenced */
struct view *view_ref(struct view *v);
void view_unref(struct view *v);
uint64_t view_commits(const struct view *v);  /* replica_commits() when it was taken */
unsigned view_renewals(const struct view *v); /* replica_renewals at that time */
/* What this device kept, and replica_interest_changes, at that time; borrowed. */
struct interests *view_interests(const struct view *v);
unsigned view_interest_changes(const struct view *v);
uint32_t view_scopes(const struct view *v);
/* i < view_scopes, in byte order of the scope ids; have is borrowed. */
void view_scope(const struct view *v, uint32_t i, struct id *ret_scope, const struct vv **ret_have);
/* Vector of one scope; an empty one when unknown. Borrowed. */
const struct vv *view_have(const struct view *v, const struct id *scope);
/* Both this device in the view and somebody who keeps that keep all of the scope. */
bool view_shares(const struct view *v, const struct interests *with, const struct id *scope);
/* Over all scopes that they share, and their vectors; equal fingerprints: nothing to send either way. */
void view_fingerprint(const struct view *v, const struct interests *with, struct id *ret);

DEFINE_CLEANUP(struct view *, view_unref)

/* A whole record for a peer that could not fit a delta. *ret NULL: no such record. */
int view_whole(struct view *v, const struct id *id, struct arena *a, struct delta **ret,
	       struct err *e);

/* 1: the record has no changes of batches, by what is known of a peer, with which others would have to go; 0: it has. */
int view_alone(struct view *v, const struct id *id, const struct vv *known, struct arena *a, struct err *e);

/* What there is of a node in the view. -ENOENT. */
struct view_node {
	struct id scope;
	enum node_kind kind;
	struct vv context; /* arena */
	bool purged;
	struct vv seen; /* what the purge has taken account of (engine/purged.h); arena */
};
int view_node(struct view *v, const struct id *id, struct arena *a, struct view_node *ret, struct err *e);
/* What somebody lacks of a node of that collection whose record has that context (NULL: none is there); *ret NULL:
 * nothing. -ENOENT. */
int view_delta(struct view *v, const struct id *scope, const struct id *id, const struct vv *known,
	       struct arena *a, struct delta **ret, struct err *e);

/* ---- merging ---- */

enum apply_result {
	APPLY_MERGED = 1,
	APPLY_OLD = 2,
	APPLY_NEED_WHOLE = 3,
	APPLY_NEED_CHUNKS = 4,
	APPLY_WAITS = 5, /* only beside others, of which one needs something */
};

/* How far the search for chunks that a delta lacks has come; all zero: nowhere yet. */
struct missing_place {
	uint32_t value; /* of those in the content; all before it are here */
	uint64_t offset;
};
/* Goes on with that search, when what it named last has come: so a large file is not gone through
 * from its start for every few of its chunks. *ret_n 0: it is at its end; replica_apply looks at
 * everything once more. */
int replica_missing(struct replica *r, struct arena *a, const struct delta *d,
		    struct missing_place *at, struct sha256 **ret_missing, uint32_t *ret_n,
		    struct err *e);
/* Joins a delta that belongs to a round of `upto` (the sender's vector of the scope). A difference does
 * not carry the scope on the wire: the caller sets d->state.scope to the round's. NEED_CHUNKS:
 * nothing was merged, missing hashes in the arena; call again when they are here. -EBADMSG when it
 * contradicts what is here (another scope or kind for the id). */
int replica_apply(struct replica *r, struct arena *a, const struct delta *d, const struct vv *upto,
		  enum apply_result *ret, struct sha256 **ret_missing, uint32_t *ret_n,
		  struct err *e);

struct arrived {
	const struct delta *delta;
	const struct vv *upto; /* of the round; an empty one for another scope than the round's */
	bool nowhere; /* who sent it does not have all of its chunks: it is joined without them */
	enum apply_result result;
	struct sha256 *missing; /* APPLY_NEED_CHUNKS: arena */
	uint32_t n_missing;
	enum absence lacks; /* contents that it is joined without */
	bool part; /* of a comparison, not of a round: of all, then, ... */
	const struct id *by; /* ... and the device that sent it; else NULL */
};

/* The same for several deltas of different nodes: all of them in one commit, or none, and then results say what it
 * takes. bundle: as what they came; NULL: each came alone, all in one round. */
int replica_apply_all(struct replica *r, struct arena *a, struct arrived *x, uint32_t n,
		      const struct bundle *bundle, struct err *e);
/* Does the delta fit what is here by now? */
bool replica_fits(struct replica *r, const struct delta *d);
/* A round is complete: have[scope] = max(have[scope], upto). Both: -ESTALE when the peer knows of changes
 * that this store never made; it is a new incarnation then (replica_check_fence). */
int replica_claim(struct replica *r, const struct id *scope, const struct vv *upto, struct err *e);

/* ---- was this store brought back? (replica-self.c; shoal-protocol(7), Witness) ---- */

void replica_self(struct replica *r, struct actor_id *ret_actor, uint64_t *ret_seq);
/* The own actor and up to which number others acknowledged its batches. */
void replica_own(struct replica *r, struct actor_id *ret_actor, uint64_t *ret_acknowledged);
/* What tells one of its batches, of the last 1024, from another of that number; 0: not known any more. */
uint32_t replica_own_tag(struct replica *r, uint64_t seq);
/* The actor's store says the tags of its n batches up to `upto`. Comes before the batches. */
int replica_heard_tags(struct replica *r, const struct actor_id *id, uint64_t upto,
		       const uint32_t *tag, uint32_t n);

struct witness {
	uint64_t seq;
	uint32_t tag;
};

/* The tags kept of an actor's batches beyond `above`, ascending; of more than max the newest; if there are
 * none, the newest of all. */
int replica_witness(struct replica *r, const struct actor_id *id, uint64_t above,
		    struct witness *ret, uint32_t max, uint32_t *ret_n);
/* A peer holds batches of the own actor `self` up to number `held`, and these. If this store did not
 * make them, it goes on as a new incarnation; all that it made itself under numbers beyond `above` and
 * beyond the last one that both know goes over to that one. Returns 1 if so: then all sessions are to begin
 * anew. -EPROTO: that was said too often. */
int replica_check_witness(struct replica *r, const struct actor_id *self, uint64_t above,
			  uint64_t held, const struct witness *w, uint32_t n, struct err *e);
/* The same on a number alone. */
int replica_check_fence(struct replica *r, const struct actor_id *actor, uint64_t seq, struct err *e);
/* A device is in the incarnation `now`. What came here of its others, or of others of this device, in rounds
 * that were never complete will not be completed, so this device passes it on in batches of its own;
 * and, when that incarnation is met first, all that came in such rounds, for it may have been on its way from
 * the one before. */
int replica_adopt(struct replica *r, const struct actor_id *now, struct err *e);

/* What a peer said it holds durably; kept across restarts (written lazily). Within a session that only
 * grows; what the peer says first in one takes the place of what was known, for it may have been
 * restored from an older copy. A session that began before the one whose first word stands only
 * raises it: its bytes may come late. */
int replica_peer_raise(struct replica *r, const struct id *peer, const struct id *scope,
		       const struct vv *held);
int replica_peer_set(struct replica *r, const struct id *peer, const struct id *scope,
		     const struct vv *held, uint64_t meeting);
/* Contents of some files are missing there, as it said last; kept across restarts. */
int replica_peer_set_partial(struct replica *r, const struct id *peer, bool partial, uint64_t meeting,
			     struct err *e);
bool replica_peer_partial(struct replica *r, const struct id *peer);
uint64_t replica_meeting(struct replica *r); /* the number of a session that begins */

struct spans;
/* How far the round of a scope came that the store `from` began to send, if it is cut: everything that a walk
 * of its dot index meets under an actor up to the number in `reached` is here, and what lies in the spans (at most
 * SPANS_KEPT). One of the two is not NULL. The first is joined with what is known, the other takes its place;
 * kept across restarts. -ENOMEM. */
int replica_partial_raise(struct replica *r, const struct actor_id *from, const struct id *scope,
			  const struct vv *reached, const struct spans *spans);
/* It begins or (complete) has ended a round up to there: what is known is forgotten when the round takes no
 * notice of it, or when it is complete. */
void replica_partial_upto(struct replica *r, const struct actor_id *from, const struct id *scope,
			  const struct vv *upto, bool complete);
/* The next scope after `after` (NULL: the first) for which something is known: 1, and *ret is a copy; 0: there
 * is none. -ENOMEM. */
int replica_partial_next(struct replica *r, const struct actor_id *from, const struct id *after,
			 struct id *ret_scope, struct vv *ret, struct spans *ret_spans);

/* A cut: for each scope a vector that a peer has to hold. It stays what it was when it was added to,
 * so a peer gets there however much is written meanwhile. It belongs to its caller, who frees it
 * before the replica; one thread at a time may use it, beside everything else. */
struct cut;
int cut_new(struct replica *r, struct cut **ret); /* empty: everybody holds it */
void cut_free(struct cut *c);
/* Adds everything that this device shows: every commit of its own, flushed or not, and others' changes
 * as far as they came in whole rounds. What has come of a round that is not complete stands in
 * records already, but is left out: this store could not tell a peer of it as a whole either, and
 * who began the round may be away for good. */
int cut_all(struct cut *c);
/* Adds one node with the version that it has now, deleted ones too. Here what came in a round that is
 * not complete counts, so nobody is known to hold it before the rest has come. A vector speaks of a
 * whole scope: what was written there before is waited for as well. -ENOENT: there is no record. */
int cut_node(struct cut *c, const struct id *id);
/* Adds the directories above a live node as they are now, for a node is found by its path only. */
int cut_parents(struct cut *c, const struct id *id);
/* Did the peer say that it holds all of the cut durably? Once true, true for as long as the peer is not
 * brought back to an older copy of its store. */
bool cut_held(const struct cut *c, const struct id *peer);

DEFINE_CLEANUP(struct cut *, cut_free)

/* ---- what this device keeps (shoal-protocol(7), Interests) ---- */

struct interests *replica_interests(struct replica *r); /* own; referenced */
/* Programs see what is in that directory, and may write there. True for what is no node. */
bool replica_shows(struct replica *r, const struct id *dir);
/* Counts their changes since the store was opened: sessions of before end. */
unsigned replica_interest_changes(struct replica *r);
/* Keeps a collection like that from now on; durable when it returns. where: of INTEREST_FILTERED. What is kept no
 * more is not shown, not told to anybody and cannot be changed from that moment on; replica_drop_step takes it
 * away. -EBUSY: it is being dropped; -EINVAL: NODE_ROOT; -E2BIG: too much is listed. */
int replica_keep(struct replica *r, const struct id *scope, unsigned level, const char *where,
		 struct err *e);
/* Collections that are new from now on are kept, or are not. */
int replica_keep_new(struct replica *r, bool keep, struct err *e);

/* What a peer said that it keeps (if it has not: all); referenced. */
struct interests *replica_peer_interests(struct replica *r, const struct id *peer);
/* It said so in that session. What it does not keep it is not known to hold any more. */
int replica_peer_keeps(struct replica *r, const struct id *peer, struct interests *x, uint64_t meeting);

/* A collection that this device does not subscribe to. */
struct errand {
	struct id scope;
	unsigned is;     /* INTEREST_NONE, or the level at which it is carried */
	unsigned should; /* the same, as those who were here since `since_us` want it */
	bool elsewhere;  /* somebody who subscribes to it is known to hold all that is here of it, and
			  * knows that this device is about to leave */
};
/* All of them that anybody wants or that are here; an array in the arena. */
int replica_errands(struct replica *r, uint64_t since_us, struct arena *a, struct errand **ret,
		    uint32_t *ret_n);
/* Somebody else who subscribes to the collection is known to hold all that is here of it, and knows what this device
 * keeps now. */
bool replica_held_elsewhere(struct replica *r, const struct id *scope);
/* Live files of a collection, and roughly what they take in the store. Reads all of its nodes. */
int replica_collection_size(struct replica *r, const struct id *scope, uint64_t *ret_files,
			    uint64_t *ret_bytes);
/* Ids of all collections that are known, live ones and others, in order; an array in the arena. */
int replica_collections(struct replica *r, struct arena *a, struct id **ret, uint32_t *ret_n);

/* A collection of which a part is kept: takes nodes out whose records are what the hashes say (fingerprints of
 * contexts), and directories only when nothing is in them. -ESTALE: it is not filtered. */
struct leave {
	struct id node, hash;
};
int replica_part_leave(struct replica *r, const struct id *scope, const struct leave *x, uint32_t n, struct err *e);
/* Of a part nothing is here any more but directories and hard links that others have as well. */
bool replica_part_left(struct replica *r, const struct id *scope);
/* Somebody wants that pick of the collection (engine/pick.h): a peer keeps what that filter picks; this device keeps a
 * part (where NULL). */
bool replica_wants_pick(struct replica *r, const struct id *scope, const char *where);
/* Passes on, in batches of this device, what came of parts (struct arrived, part) of collections that are kept as a
 * whole here. */
int replica_part_settle(struct replica *r, struct err *e);

/* Takes some of what is to be dropped out of the store. 1: there is more; 0: nothing is left. */
int replica_drop_step(struct replica *r, struct err *e);
bool replica_dropping(struct replica *r, const struct id *scope);

/* ---- contents that are not here (replica-absent.c; shoal-protocol(7), "Who holds contents") ----
 *
 * The bytes of a file that is a blob may be away while its record is here: name, size, mode and version show
 * as ever, attr.absent is set, reading fails with -EHOSTDOWN. What earlier versions need of them stays. */

/* Contents of more bytes than that do not come by themselves; 0: all do. Any thread, any time. */
void replica_set_eager(struct replica *r, uint64_t max);
enum absence replica_absence(struct replica *r, const struct id *id);
uint64_t replica_absents(struct replica *r); /* files whose contents are not here */
bool replica_keeps_contents(struct replica *r, const struct id *id); /* they are here, and not about to leave */
bool replica_leaving(struct replica *r); /* contents of some are about to leave: replica_leave */
/* As absents_list. */
uint32_t replica_absents_list(struct replica *r, enum absence which, uint32_t *place, struct id *ret,
			      uint32_t max);

/* The blobs that a file's content consists of, those that lost too: an array in the arena; none: it is no
 * blob. -ENOENT: there is no record. */
int replica_blobs(struct replica *r, const struct id *id, struct arena *a, struct blob_ref **ret,
		  uint32_t *ret_n);

/* A live file whose contents are here begins to leave: from now on nobody is told that they are (replica_holds).
 * Who begins asks others, and then ends it, whatever came of it. *ret: as replica_blobs, at least one. -EINVAL:
 * contents of it are never away, for they are its record or nothing; -EISDIR; -EALREADY: they are not
 * here; -EBUSY: it is leaving already. */
int replica_leave(struct replica *r, const struct id *id, struct arena *a, struct blob_ref **ret,
		  uint32_t *ret_n);
/* Another device holds these, and said so since replica_leave: they are not needed here any more. A sweep gives
 * the room back. -EAGAIN: the content is another one by now. It is not leaving any more in any case. */
int replica_left(struct replica *r, const struct id *id, const struct blob_ref *ref, uint32_t n,
		 struct err *e);
void replica_stay(struct replica *r, const struct id *id); /* nobody said so */

/* Does this device hold the blob as content of the node, durably as of the view, and is it going to until it
 * asks others itself? Not of a collection that is not shown: it leaves when it may. */
bool replica_holds(struct replica *r, const struct view *v, const struct id *id,
		   const struct blob_ref *ref);

/* The file is being read. Noted once an hour at most, and not made durable by this. Any thread. */
void replica_note_read(struct replica *r, const struct id *id);
/* Goes through files whose contents are here and no part of their records, from *place on (all zero: the
 * beginning), looking at `max` nodes at most: when each was read last, as far as is known, or came here, in
 * microseconds since 1970. 1: there are more, 0: that was the end; -errno. */
typedef void (*blob_fn)(const struct attr *at, uint64_t read_us, void *userdata);
int replica_walk_blobs(struct replica *r, struct id *place, uint32_t max, blob_fn f, void *userdata);

/* Contents that are not here are wanted: they count as ABSENT_WANTED. 0 if they are here. */
int replica_want(struct replica *r, const struct id *id, struct err *e);
/* They have come: 0, and they are here to stay. -EAGAIN: some are missing still. */
int replica_filled(struct replica *r, const struct id *id, struct err *e);

/* ---- checking ---- */

struct verify_report {
	uint64_t records, dirents, attrs, dots, chunks;
	uint64_t versions; /* earlier ones, and deletions that are remembered */
	uint64_t unreferenced, unreferenced_bytes; /* chunks that nothing needs; no error */
	uint64_t errors, repaired;
};
typedef void (*verify_fn)(const char *problem, void *userdata);
/* Decodes every record, recomputes every derived entry and hash. repair: rewrites derived ones, but
 * only if every record can be read, and deletes the chunks that nothing needs if nothing is left
 * damaged. */
int replica_verify(struct replica *r, bool repair, verify_fn f, void *userdata,
		   struct verify_report *ret, struct err *e);

struct sweep_report {
	uint64_t chunks;  /* looked at */
	uint64_t deleted, deleted_bytes;
	uint64_t held, held_bytes; /* nothing refers to them, but somebody may be about to */
};
/* Deletes chunks that no record, open version, published view, running save or waiting change needs.
 * Reads every record and manifest; memory: 32 MiB for a million chunks. Any thread, beside everything
 * else; commits wait only while a snapshot is taken, saves of blobs for one batch of
 * deletions at a time. Gives back to the disk what the store compacts later. -EBUSY: one is running;
 * -EBADMSG, -EPROTONOSUPPORT: a record or manifest cannot be read, so nothing was deleted. */
int replica_sweep(struct replica *r, struct sweep_report *ret, struct err *e);
/* Sweeps and steps of thinning that run or are tried end with -ECANCELED from now on: the replica is about to be closed. */
void replica_sweep_cancel(struct replica *r);
/* Bytes, roughly and at most, that a sweep would find, as far as this run knows. Any thread. */
uint64_t replica_orphaned(struct replica *r);

DEFINE_CLEANUP(struct replica *, replica_free)
