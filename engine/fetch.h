/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Bringing contents that are not here (engine/absent.h): a queue of files of which chunks are asked of
 * whoever is connected. Readers wait for a range, which goes before the rest; what began goes on to the
 * end of the file, so that it is here as a whole. Frames: WANT and CHUNK, shoal-protocol(7).
 *
 * Any thread; callbacks come without locks, from whatever thread brought the news. Sessions are sources: each
 * registers while it lasts, and takes hashes to ask for as it has room. Nothing waits for a source
 * that is not there: a file fails with -EHOSTDOWN as soon as the last source has gone. When every source has said that
 * it lacks some of it, those who lack it are asked to look for it among their own peers (fetch-relay.c; before that
 * somebody may seek others who can be asked directly), and it fails when that was in vain. A source that answers nothing for FETCH_PATIENCE_US is given
 * up. One over a slow link is asked only for what somebody waits for, and has more time. Where another connection
 * takes over from a link, the source does not go: the next session takes it from the one that ends. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/blob.h"
#include "engine/replica.h"

#define FETCH_FILES_MAX 256      /* under way at a time */
#define FETCH_WAITERS_MAX 4096   /* in all */
#define FETCH_SOURCES_MAX 4096   /* others are not asked */
#define FETCH_ASKED_FIRST 2      /* while nobody knows how fast the link is */
#define FETCH_ASKED_MAX 32       /* chunks asked of one source and not answered */
#define FETCH_BACKGROUND_MAX 8   /* files under way that nobody waits for */
#define FETCH_PATIENCE_US (30ull * 1000 * 1000)
#define FETCH_SLOW_PATIENCE_US (300ull * 1000 * 1000)
#define FETCH_HANDED_MAX 3       /* how often in turn a source changes hands and answers nothing */
#define FETCH_HOPS 3             /* links beyond a peer over which a chunk is looked for */
#define FETCH_SEEKS_MAX 6        /* chunks that a peer looks for at a time: 2 MiB if it finds them all */
#define FETCH_QUESTS_MAX 128    /* that are looked for for peers, of all together */
#define FETCH_LINK_US (15ull * 1000 * 1000) /* for each link that it may go over, until it is in vain */
#define FETCH_NEXT_US (500ull * 1000)       /* then another peer is asked as well */

struct fetches;
struct fetch_source;

/* wake (may be NULL): there is something to ask for. Called without locks, by any thread. replica is borrowed. */
int fetches_new(struct replica *r, void (*wake)(void *userdata), void *userdata, struct fetches **ret);
/* Sources have left and nobody waits any more. */
void fetches_free(struct fetches *f);
/* Whoever waits is answered with that code, and nobody waits from now on: it is about to be closed. */
void fetches_stop(struct fetches *f, int code);

/* code: 0, what was waited for is here; -EHOSTDOWN, or an error of the store. */
typedef void (*fetch_fn)(int code, void *userdata);
/* Waits for a range of a blob that is content of the node (len UINT64_MAX: for the whole file, whatever is
 * content of it). 0: fn is called once, maybe before this returns; 1: it is here; -EHOSTDOWN: nobody is here
 * who could be asked, or it is no content of the node any more; -EBUSY: too many. ref may be NULL for the
 * whole file. */
int fetch_begin(struct fetches *f, const struct id *node, const struct blob_ref *ref, uint64_t offset,
		uint64_t len, fetch_fn fn, void *userdata, uint64_t *ret_ticket);
/* True: fn will not be called any more. */
bool fetch_cancel(struct fetches *f, uint64_t ticket);
/* Goes on with contents that are wanted though nobody waits (ABSENT_WANTED), some at a time. */
void fetch_background(struct fetches *f);
/* Bytes of the file in front of which nothing is missing, and of all; false: it is not under way. */
bool fetch_progress(struct fetches *f, const struct id *node, uint64_t *ret_done, uint64_t *ret_size);
/* Files under way, and up to max of them. */
uint32_t fetch_files(struct fetches *f);
uint32_t fetch_list(struct fetches *f, struct id *ret, uint32_t max);

/* ---- for whoever finds more sources ---- */

struct fetch_sought {
	struct id node;
	uint64_t since_us;
};
/* From now on a file that somebody waits for is kept when every source lacks some of it, as long as there is a source;
 * wake is called then. */
void fetches_seek(struct fetches *f);
/* Those files, up to max of them, and since when: from the first time that this finds one, until something of it
 * comes. *ret_asked: how many of those found earlier a source is being asked for; *ret_coming: others that are
 * under way. */
uint32_t fetch_sought(struct fetches *f, uint64_t now_us, struct fetch_sought *ret, uint32_t max,
		      uint32_t *ret_asked, uint32_t *ret_coming);
/* There are no others: it is looked for through the sources, unless there is one by now that may have it. */
void fetch_forsake(struct fetches *f, const struct id *node);

/* ---- for sessions ---- */

int fetch_join(struct fetches *f, struct fetch_source **ret); /* -EUSERS: there are FETCH_SOURCES_MAX; -ENOMEM */
/* Its link is slow, or not: that is known from here on. When it becomes slow, the source answers what it has been
 * asked for with nothing; that is asked for again, if somebody waits for it. */
void fetch_slow(struct fetch_source *s, bool slow);
void fetch_leave(struct fetch_source *s); /* frees it; NULL: nothing */
/* It changes hands: what it has not answered is asked anew, maybe of others, and until its next owner asks it for
 * something it is one that has just joined and has FETCH_PATIENCE_US to do so. False: it had its chances, and can
 * only leave. */
bool fetch_handed(struct fetch_source *s, uint64_t now_us);
/* The next hash to ask this source for; false: none now. */
bool fetch_next(struct fetch_source *s, uint64_t now_us, struct sha256 *ret);
/* A CHUNK from it; len 0: it does not have it. 1: it was asked for here; 0: it was not. -EPROTO: it is
 * another chunk; errors of the store. */
int fetch_chunk(struct fetch_source *s, const struct sha256 *hash, const void *data, size_t len,
		uint64_t now_us, struct err *e);
/* When it is too late for an answer; UINT64_MAX: none is due. */
uint64_t fetch_deadline(struct fetch_source *s);

/* ---- chunks looked for through peers: SEEK, shoal-protocol(7), Contents ---- */

struct fetch_seek {
	uint64_t id;
	struct sha256 hash;
	unsigned links; /* beyond who gets it */
};
/* The next one to ask this source for; false: none now. */
bool fetch_seek_next(struct fetch_source *s, uint64_t now_us, struct fetch_seek *ret);
/* Its answer, as chunk_get gives it; len 0: it was in vain. -EPROTO: it was not asked for that, or it is another chunk;
 * errors of the store. */
int fetch_found(struct fetch_source *s, const struct fetch_seek *seek, const void *data, size_t len, uint64_t now_us,
		struct err *e);
/* When fetch_seek_next may have something that it had not before; UINT64_MAX: not by itself. */
uint64_t fetch_seek_deadline(struct fetch_source *s);
bool fetch_seeks(struct fetch_source *s); /* it looks for something, or something is looked for for it */
/* The source asks for it. -EPROTO: for too many at a time; -ENOMEM. */
int fetch_seek_for(struct fetch_source *s, const struct fetch_seek *seek, struct err *e);
/* What it is to be told next: that this was in vain; false: nothing. */
bool fetch_answer_vain(struct fetch_source *s, struct fetch_seek *ret);
/* What it is to be sent next, as chunk_get gives it, and that this was done. 1: it is in b; 0: there is nothing;
 * errors of the store. */
int fetch_answer(struct fetch_source *s, struct fetch_seek *ret, struct buf *b);
void fetch_given(struct fetch_source *s);
