/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The daemon's parts and who owns them; for tools/daemon.c and the files of its methods. One
 * sd-event loop owns everything here; FUSE's threads use the replica, the flusher's thread the
 * store. Where another thread comes in, the function says so. */

#include <pthread.h>
#include <systemd/sd-event.h>

#include "engine/replica.h"
#include "fusefs/fusefs.h"
#include "tools/config.h"
#include "tools/ctlserver.h"
#include "tools/flusher.h"
#include "tools/keeping.h"
#include "tools/sweeper.h"
#include "tools/log.h"
#include "tools/peers.h"
#include "tools/storedir.h"
#include "transports/identity.h"
#include "transports/mesh.h"

struct feed;
struct waits;
struct evictor;
struct durable;
struct question;
struct asking;

struct daemon {
	sd_event *event;
	struct storedir *dir;
	struct config config;
	struct log *log;
	struct identity *identity;
	struct store *store;
	struct replica *replica;
	struct flusher *flusher;
	struct sweeper *sweeper;
	struct keeping *keeping;
	struct fetches *fetches;
	struct peers *peers;
	struct evictor *evictor;
	struct seek *seek; /* NULL: nothing was fetched yet */
	struct invites *invites;
	struct mesh *mesh;
	struct ctlserver *control;
	struct feed *feed;
	struct waits *waits;
	struct durable *durable; /* answers that wait for the disk */
	struct suspend *suspend;
	bool resting; /* the machine is about to sleep, and waits for us */
	uint64_t started_us; /* CLOCK_BOOTTIME */
	uint64_t needs;      /* counts ways_need */

	struct fusefs *fs; /* NULL: not mounted */
	char *mount_dir;
	char *mount_opts;
	bool mount_bound; /* the daemon ends with its mount */

	int wake_fd; /* eventfd: tells the loop that one of these is set */
	sd_event_source *wake;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool news, unmounted, fetch; /* lock */
	struct question *questions; /* lock: reports that FUSE's threads wait for */
	bool closing;              /* lock: no more questions */
	unsigned jobs;             /* threads of `verify` */
	struct asking *queries;    /* that run */
	unsigned n_queries, n_live; /* live: among them those that are followed */
	bool leaving;              /* lock: the loop is not there to answer them; what follows does */
	struct buf last_status, last_peers;
	bool stop;                 /* the loop ends */
	struct call *stopper;      /* who asked for it and waits for the answer; NULL: nobody */
	char *program;             /* this one's path, as it was when it began */
	char *successor;           /* the program to become; NULL: none */
	struct call *upgrader;     /* who asked for that and waits for the answer; NULL: nobody */
};

struct daemon_options {
	const char *store;
	const char *mount;   /* NULL: not mounted */
	const char *options; /* of the mount; NULL: none */
	const char *listen;  /* NULL: as in shoal.conf */
	bool foreground;
	int ready_fd;        /* -1: nobody waits */
	int handover;        /* from the program that this process was before; -1: none */
};

/* Runs until told to end. 0, or -errno with e when it could not start. */
int daemon_run(const struct daemon_options *o, struct err *e);

/* Mounts and unmounts; the loop's thread. */
int daemon_mount(struct daemon *d, const char *dir, const char *options, struct err *e);
int daemon_umount(struct daemon *d, bool force, struct err *e);
/* Goes on with the mount of the program before this one; takes it, and what h says of it. */
struct handover;
int daemon_take_mount(struct daemon *d, struct handover *h, struct err *e);
/* For fusefs_config, userdata is the daemon; any thread: reports, which the loop writes (-ETIMEDOUT: it is busy),
 * and that the mount has gone. */
int daemon_ask_status(void *userdata, struct buf *out);
int daemon_ask_peers(void *userdata, struct buf *out);
void daemon_unmounted(void *userdata);
/* Files that were just made stay local for a moment, in case they are renamed; who asks for what is
 * here means them as well. Ends those moments. */
void daemon_settle(struct daemon *d);
/* A program that has the file open is let read to the end, for a moment. */
void daemon_spare(struct daemon *d, const char *path);
/* Begins a clean end. who (may be NULL) is answered when everything is durable. */
void daemon_stop(struct daemon *d, struct call *who);
/* Becomes that program (NULL: this one's own path, where there may be another one by now) with
 * everything open (tools/upgrade.h). who (may be NULL) is answered by it, or here when it comes to
 * nothing later. */
int daemon_upgrade(struct daemon *d, const char *program, struct call *who, struct err *e);
/* Reads shoal.conf again and applies what can change while it runs. */
int daemon_reload(struct daemon *d, struct err *e);
void daemon_log_level(struct daemon *d); /* as the settings say */
struct sweeper_limits daemon_history_limits(const struct daemon *d);
uint64_t daemon_courier_quota(const struct daemon *d); /* bytes */
/* Wakes the loop; any thread. */
void daemon_wake(struct daemon *d);

extern const struct method daemon_methods[];
extern const unsigned daemon_n_methods;

/* tools/report.c: one JSON value each, appended to out. */
void report_status(struct daemon *d, struct buf *out);
void report_peers(struct daemon *d, struct buf *out);
void report_devices(struct daemon *d, struct buf *out);
/* The name of a device by its id: own, met, or else the first eight digits of the id. */
#define DEVICE_LABEL_SIZE (NAME_SIZE > ID_HEX ? NAME_SIZE : ID_HEX)
const char *report_device(struct daemon *d, const struct id *id, char text[static DEVICE_LABEL_SIZE]);
/* HOST:PORT, as token_address_parse reads it. */
#define ADDRESS_LABEL_SIZE (TOKEN_HOST_MAX + 16)
const char *report_address(const struct token_address *a, char text[static ADDRESS_LABEL_SIZE]);
/* RFC 3339 in UTC with milliseconds. */
#define TIME_TEXT_SIZE 32
const char *report_time(uint64_t us, char text[static TIME_TEXT_SIZE]);

/* A path from the root, without a slash in front ("" is the root), to its node. -ENOENT with the
 * part that is missing. */
int path_resolve(struct replica *r, const char *path, struct attr *ret, struct err *e);

/* tools/feed.c: `watch`. */
int feed_new(struct daemon *d, struct feed **ret, struct err *e);
void feed_free(struct feed *f);
void feed_run(struct feed *f); /* the loop was woken */
/* Of a change, as the names are now: where the node is, and where it was; own. NULL: nowhere, or no memory. */
char *change_path(struct replica *r, const struct change *c);
char *change_old_path(struct replica *r, const struct change *c);
/* Is the path (NULL: no) the directory, or below it? "" is the root. */
bool path_is_below(const char *path, const char *dir);
void method_watch(struct call *c, const struct json *params, void *userdata);

/* tools/waits.c: `wait`. */
int waits_new(struct daemon *d, struct waits **ret, struct err *e);
void waits_free(struct waits *w);
void waits_check(struct waits *w); /* a peer may hold more */
void method_wait(struct call *c, const struct json *params, void *userdata);

/* tools/durable.c: `sync`. */
void method_sync(struct call *c, const struct json *params, void *userdata);
/* Answers (NULL: {}; taken over) when all that is committed now is on the disk. */
void durable_answer(struct daemon *d, struct call *c, struct buf *answer);
void durable_check(struct daemon *d); /* something was published */

/* tools/graph.c: `graph`. */
void method_graph(struct call *c, const struct json *params, void *userdata);

/* tools/ways.c: mesh_handler.ways, of a daemon. */
int ways_list(struct neighbour_way **ret, uint32_t *ret_n, void *userdata);
/* The peer over which that device of the graph is reached: its index; 0 when there is none between. */
uint32_t ways_through(const struct graph *g, uint32_t device);
/* Asks for links to devices without one, some at a time: to those of that name (NULL: all) that f (NULL: each)
 * says yes to. True: there was one to be asked for. */
bool ways_need(struct daemon *d, const char *name, bool (*f)(const struct id *device, void *userdata),
	       void *userdata);
/* The name or the hexadecimal id of a device. */
bool ways_named(struct daemon *d, const struct graph_device *v, const char *name);

/* tools/seek.c: links to devices that may hold contents which are asked for and which no peer has. To be called when
 * fetches wake. */
void seek_run(struct daemon *d);
void seek_free(struct seek *s);

/* tools/seen.c: fusefs_config.seen_by. Any thread, while the replica is open. */
int seen_report(void *daemon, const struct cut *cut, bool contents, struct buf *out);

/* tools/evict.c: `evict`, and what goes when the disk is nearly full. */
int evictor_new(struct daemon *d, struct evictor **ret, struct err *e);
void evictor_free(struct evictor *v);
uint64_t evictor_evicted(const struct evictor *v); /* files, for want of room */
void method_evict(struct call *c, const struct json *params, void *userdata);
/* tools/fetch.c: `fetch`. */
void method_fetch(struct call *c, const struct json *params, void *userdata);
/* The files below these paths whose contents are no part of their records. Appends struct named; to be freed with
 * named_done. -E2BIG with more than NAMED_MAX. */
#define NAMED_MAX 1000000
struct named {
	struct id *id;
	uint32_t n, cap;
};
int named_gather(struct daemon *d, const char **path, uint32_t n, struct named *ret, struct err *e);
void named_done(struct named *x);

/* tools/history.c: `cat`, `log`. */
void method_cat(struct call *c, const struct json *params, void *userdata);
void method_log(struct call *c, const struct json *params, void *userdata);

/* tools/conflicts.c: `conflicts`, `resolve`. */
void method_conflicts(struct call *c, const struct json *params, void *userdata);
void method_resolve(struct call *c, const struct json *params, void *userdata);
/* Files in conflict, and nodes that lack the name they want. */
int conflicts_count(struct daemon *d, uint64_t *ret);
/* tools/blame.c: `blame`. */
void method_blame(struct call *c, const struct json *params, void *userdata);

/* tools/txn.c: `txn`. */
void method_txn(struct call *c, const struct json *params, void *userdata);
/* tools/mkdir.c: `mkdir`. */
void method_mkdir(struct call *c, const struct json *params, void *userdata);
/* tools/restore.c: `restore`. */
void method_restore(struct call *c, const struct json *params, void *userdata);

/* tools/types.c: `type`. */
void method_type(struct call *c, const struct json *params, void *userdata);

/* tools/job.c: `verify`, in a thread of its own. */
void method_verify(struct call *c, const struct json *params, void *userdata);

/* tools/index.c: `index`, `indexes`. */
void method_index(struct call *c, const struct json *params, void *userdata);
void method_indexes(struct call *c, const struct json *params, void *userdata);

/* tools/query.c: `query`, each in a thread of its own. */
void method_query(struct call *c, const struct json *params, void *userdata);
/* They end soon, in the loop. */
void queries_cancel(struct daemon *d);
/* What is kept here may have changed. */
void queries_look(struct daemon *d);

/* tools/subscriptions.c */
struct filter;
/* An expression of `--where`; e says at which character it is wrong. */
int where_parse(const char *where, struct filter **ret, struct err *e);
void method_subscribe(struct call *c, const struct json *params, void *userdata);
void method_unsubscribe(struct call *c, const struct json *params, void *userdata);
void method_subscriptions(struct call *c, const struct json *params, void *userdata);
