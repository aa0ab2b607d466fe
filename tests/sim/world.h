/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A world of devices in one process, determined by one seed: replicas on memory stores, links that
 * delay, fragment and break, programs that edit files, crashes, clocks that are wrong. world.c has
 * devices and time, net.c the links, work.c the programs (doc.h, text.c, typed.h their files), batch.c
 * changes of several files at once, fate.c what befalls stores and clocks, keep.c what devices keep, part.c parts of
 * that, evict.c contents that go and come, model.c what must not get lost, check.c what must hold. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/replica.h"
#include "engine/session.h"
#include "engine/spread.h"
#include "tests/prng.h"

#define DEVICES_MAX 6
#define PINS 4

/* Deliberate faults of the simulation itself, to see that the oracles bite. */
enum fault {
	FAULT_NONE,
	FAULT_DROP_DELTA,  /* one DELTA frame vanishes on its way */
	FAULT_CLAIM_EARLY, /* one ROUND promises more than it brings */
	FAULT_LYING_DISK,  /* a flush that does not reach the disk */
};

struct numbers { /* the values that somebody saw, sorted */
	uint64_t *v;
	uint32_t n, cap;
};

/* A version that a program has read, kept for a later save. */
struct pin {
	struct version *version;
	struct numbers saw;
};

struct device {
	struct world *world;
	unsigned no;
	struct id id;
	struct store *store;
	struct replica *replica; /* NULL: down */
	struct spread *spread;   /* of its sessions */
	struct prng random, tags;
	int64_t clock_off; /* microseconds */
	int64_t drift;     /* parts in 1000 */
	uint64_t flush_every, next_flush, up_at;
	struct actor_id actor;
	uint64_t flushed; /* seq known to be durable */
	/* fate.c */
	uint8_t fence[16];
	struct store *backup;     /* NULL: none was made */
	bool twin;                /* there is a copy that runs under the same id */
	bool gave_up;             /* a collection, keep.c */
	bool doubtful;            /* it was brought back: others may think that it holds more */
	struct actor_id known_as; /* the names that the model has for what it writes */
	uint32_t restamped;
	uint32_t since_written, since_covering; /* in the model, when it was brought back */
	struct actor_id marked; /* purge.c */
	uint64_t marked_seq;
	/* evict.c */
	struct fetches *fetches; /* NULL: in other worlds, or down */
	bool leaving;            /* contents of `left`; others were asked, and … */
	bool left_held;          /* … somebody has them */
	unsigned left_no;
	struct id left;
	struct arena left_arena;
	struct blob_ref *left_ref;
	uint32_t n_left;
	struct reading {
		struct device *device;
		struct id node;
		bool busy;
		int code; /* of the last one that ended */
	} reading[2];
	struct pin pin[PINS];
};

struct segment {
	uint8_t *data;
	size_t len, at;
	uint64_t due;
	struct segment *next;
};

struct end { /* of a connection */
	struct device *device;
	struct session *session;      /* NULL: gone */
	struct segment *first, *last; /* on their way to this end */
	uint64_t dies;                /* when it notices that the connection is cut */
	uint64_t quiet_bytes;         /* sent while nothing was to be said */
	uint64_t free_at;             /* on a slow link: what was handed over is through then */
	struct buf parse;             /* what it sent, for the frame counter */
	unsigned asked[64];           /* evict.c: which eviction a question was about, by its number */
};

struct conn {
	struct end end[2];
	bool cut;
	uint64_t delay; /* microseconds, one way */
	uint64_t rate;  /* bytes a second; 0: any */
	struct conn *next;
};

struct edge_of_net {
	unsigned a, b;
	bool up;
	uint64_t change_at;
	uint64_t rate;     /* bytes a second; 0: any */
	struct conn *conn; /* the present one */
};

struct world {
	uint64_t seed;
	struct prng r;
	bool trace;
	/* Three devices or more, each linked to each, change a few files at such a pace that they come to want
	 * only word of each other's changes (shoal-protocol(7), Spreading). */
	bool meshed;
	uint64_t pace; /* how much slower all goes than in other worlds, in which nothing is announced */
	enum fault fault;
	bool fault_done;
	uint64_t now;
	struct prng fate;
	bool fated;            /* stores are copied and brought back */
	bool unnoticed;        /* that may happen unnoticed */
	bool brought_back;     /* it happened */
	struct device *rolled; /* unnoticed */
	bool found;            /* it has found out */
	uint64_t epoch; /* wall clock at time 0, microseconds */
	bool wild_clocks; /* some are years off */
	struct device device[DEVICES_MAX];
	unsigned n_devices;
	unsigned writer; /* the last one */
	struct edge_of_net net[DEVICES_MAX * DEVICES_MAX];
	unsigned n_net;
	struct conn *conns;
	struct model *model;
	struct batches *batches;
	struct typed *typed;
	struct prng keep;
	bool keeping; /* devices change what they keep */
	bool parted;  /* … parts among them, and contents are evicted; no batches, and no documents with types */
	bool whole;   /* they all keep everything, with contents, from now on */
	struct prng part, read;
	struct prng purge;
	bool purging; /* deleted files are purged */
	struct prng links;
	bool slow; /* some links are slow; no blobs, whose contents do not come then */
	bool settling, quiet;
	uint64_t value; /* the last value that was written */
	uint64_t saves, frames, sessions, crashes, conflicts, raises, wishes, stales;
	uint64_t copies; /* that ran in the place of a store, or beside it */
	uint64_t purged, inherited; /* files; values that went over to others */
	uint64_t said;              /* frames that are no PING or PONG */
	uint64_t evicted, picked;   /* files; and those that were found in parts at the end */
	uint64_t far, vain;         /* files read that no neighbour had: that came, and that were too far away */
	jmp_buf failed;
	char failure[500];
};

/* world.c */
void world_run(struct world *w);
void world_free(struct world *w);
void world_fail(struct world *w, const char *fmt, ...) _printf_(2, 3) __attribute__((__noreturn__));
void world_trace(struct world *w, const char *fmt, ...) _printf_(2, 3);
#define TRACE(w, ...)                                \
	do {                                         \
		if ((w)->trace)                      \
			world_trace(w, __VA_ARGS__); \
	} while (0)
void device_flush(struct world *w, struct device *d);
void device_crash(struct world *w, struct device *d);
void device_start(struct world *w, struct device *d);
/* The device `self`, just opened, has not that batch of a device of its name: names that a store does not
 * know went with the batch that they came with. */
bool device_lost(const struct device *d, const struct actor_id *self, uint64_t newest,
		 const struct actor_id *actor, uint64_t seq);
void pin_clear(struct pin *p);

/* net.c */
void net_topology(struct world *w);
void net_step(struct world *w);
void net_drop_device(struct world *w, struct device *d);
/* The same, and nothing of what is on its way from or to it arrives. */
void net_forget_device(struct world *w, struct device *d);
/* d gets the links that like has. */
void net_like(struct world *w, const struct device *like, const struct device *d);
void net_news(struct world *w, struct device *d);
bool net_whole(struct world *w); /* all links are up, and nothing is on its way */
bool net_in_step(struct world *w);
void net_quiet_begin(struct world *w);
void net_free(struct world *w);

/* fate.c */
void fate_make(struct world *w);
void fate_step(struct world *w);
void fate_started(struct world *w, struct device *d); /* its store was opened */

/* keep.c */
void keep_make(struct world *w);
void keep_step(struct world *w);
void keep_everything(struct world *w, struct device *d); /* from now on */

/* part.c */
void part_make(struct world *w);
/* What a device is to keep of a collection next: an expression, or NULL: all or nothing. */
const char *part_choose(struct world *w);
/* Nobody writes and all is said: what has to be in parts is there, and nothing else. */
void part_check(struct world *w);

/* evict.c */
void evict_started(struct world *w, struct device *d);
void evict_down(struct device *d); /* once its sessions are closed */
void evict_step(struct world *w);
/* Nobody writes, and all is said: whoever reads what is away gets it, if somebody in reach has it. */
void evict_readers(struct world *w);
/* So much time goes by as passes between two looks at the world. */
void world_step(struct world *w);
bool evict_lacks(struct world *w, struct device *d); /* contents of a file that is not deleted */
/* Bytes of contents that may be away, from whoever has them. -EHOSTDOWN: nobody. */
ssize_t evict_read(struct device *d, const struct blob_ref *ref, void *data, size_t len);

/* purge.c */
void purge_make(struct world *w);
void purge_step(struct world *w);
/* Before and after what comes from others: which files became others. */
void purge_mark(struct world *w);
void purge_follow(struct world *w);
/* Does any file show or list the value? */
bool purge_finds(struct world *w, struct device *d, uint64_t value);

/* work.c */
void work_step(struct world *w);
/* The values in a text, and all that a file shows or lists as lost. */
void numbers_of(struct numbers *n, const void *data, size_t len);
void numbers_add(struct numbers *n, uint64_t v);
/* In the order given, without a look at what is there. */
void numbers_push(struct numbers *n, uint64_t v);
void numbers_append(struct numbers *n, const void *data, size_t len);
bool numbers_has(const struct numbers *n, uint64_t v);
void numbers_clear(struct numbers *n);
int file_numbers(struct device *d, const struct id *id, struct numbers *ret,
		 struct version **ret_version);

/* batch.c */
struct batches *batches_new(void);
void batches_free(struct batches *b);
/* Changes a few files at once; what replica_txn says. */
int batch_step(struct world *w, struct device *d);
/* The device's newest commit changed all of these at once. */
void batch_note(struct world *w, struct device *d, const struct id *member, uint32_t n);
/* The device was opened anew: its batches beyond the newest are lost. */
void batch_lost(struct world *w, struct device *d);
/* The same as of the model below. */
void batch_mark(struct world *w, const struct device *d);
void batch_renamed(struct world *w, const struct device *d, const struct actor_id *from,
		   const struct actor_id *to, uint64_t above);
/* The device has all of each batch, or nothing. */
void batch_check(struct world *w, struct device *d);

/* text.c: lines of a text by their values, in order */
void text_read(const struct version *v, struct numbers *ret);
void text_change(struct world *w, const struct numbers *old, struct numbers *new);
void text_print(const struct numbers *t, struct buf *b);
void text_model(struct world *w, struct device *d, const struct id *node, const struct numbers *old,
		const struct numbers *new, const struct numbers *saw);

/* model.c */
struct model *model_new(void);
void model_free(struct model *m);
/* A value was written at a place in a file (a JSON pointer, "" for all of it) by the device's
 * newest commit. */
void model_wrote(struct world *w, struct device *d, const struct id *node, const char *place,
		 uint64_t value);
/* The device's newest commit took away what is at or below the place, having seen `saw`. */
void model_covered(struct world *w, struct device *d, const struct id *node, const char *place,
		   const struct numbers *saw);
/* The same for a write inside the object at the place: the object is what is meant there from now
 * on, so what had lost against it may go. */
void model_entered(struct world *w, struct device *d, const struct id *node, const char *place,
		   const struct numbers *saw);
/* What stands at that place was written anew: what it had won against goes, of what was seen. */
void model_settled(struct world *w, struct device *d, const struct id *node, const char *place,
		   const struct numbers *saw, const struct numbers *shown);
/* The device was opened anew: its commits beyond the newest are lost. */
void model_lost(struct world *w, struct device *d);
/* The device is brought back: what it writes from now on. */
void model_mark(struct world *w, struct device *d);
/* What no device holds any more is lost. */
void model_sift(struct world *w);
/* What the device wrote since it was brought back beyond a number goes under another name. */
void model_renamed(struct world *w, struct device *d, const struct actor_id *from,
		   const struct actor_id *to, uint64_t above);
/* That commit of the device put what the file `from` held into another one, which shows and lists `all` now, as_it_was: so
 * that who did the same has the same, and who took it away took that away; or it wrote `own` there, and what was there
 * already was not written again. How many values went over. */
unsigned model_inherited(struct world *w, struct device *d, uint64_t gone_seq, uint64_t seq, const struct id *from, const struct id *to,
			 const struct numbers *all, const struct numbers *own, bool as_it_was);
void model_check(struct world *w, struct device *d);
/* For a trace: what a file shows and lists. */
void model_tell(struct world *w, struct device *d, const struct id *node);

/* check.c */
/* A record straight from the store. -ENOENT. */
int check_record(struct device *d, struct arena *a, const struct id *id, const struct record **ret);
/* All of them. */
typedef void (*record_fn)(struct world *w, struct device *d, const struct record *r, void *userdata);
void check_records(struct world *w, struct device *d, record_fn f, void *userdata);
void check_pair(struct world *w);
/* All devices hold the same; whole: and everything is in step. */
void check_end(struct world *w);
/* The join of all records as they are now, to be compared by check_end. */
void check_join(struct world *w);
void check_join_free(void);
/* What others believe that d holds, before and after it crashed. */
void check_holds(struct world *w, struct device *d);
void check_held(struct world *w, struct device *d);
void check_forget(const struct device *d); /* they are free to be wrong */
/* Does anybody hold what that batch did to the node? */
bool check_anywhere(struct world *w, const struct id *node, const struct actor_id *actor, uint64_t seq);
