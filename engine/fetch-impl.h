/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of fetches, for fetch*.c. The lock is held wherever nothing else is said. */

#include <pthread.h>

#include "engine/fetch.h"

#define WANTS_MAX 128   /* chunks of one file that are wanted at a time */
#define FETCH_PASSED 256
#define FETCH_ROUTES 16

struct want {
	struct sha256 hash;
	struct fetch_source *asked; /* NULL: nobody yet */
	bool urgent;
};

struct waiter {
	struct waiter *next;
	uint64_t ticket;
	uint64_t offset, len;
	uint32_t ref;       /* place in refs; of the whole file: nothing */
	fetch_fn fn;
	void *userdata;
	int code;           /* once it is answered */
};

struct file {
	uint64_t no;
	struct id node;
	struct blob_ref *ref;
	uint32_t n_refs;
	struct hold hold;   /* chunks that have come, and those that are awaited */
	uint32_t at;        /* in front of from in ref[at] nothing is missing */
	uint64_t from;
	unsigned turns;
	struct want want[WANTS_MAX];
	uint32_t n_wants;
	struct waiter *waiter;
	struct fetch_source **lacks; /* who does not have all of it */
	uint32_t n_lacks, cap_lacks;
	uint64_t sought; /* since when others are looked for who have it; 0: they are not */
	bool relayed;    /* it is looked for through peers, who lack it */
	bool by_route;   /* … before others were looked for, as it was found so the last time */
};

struct asked {
	struct sha256 hash;
	uint64_t file; /* its number: it may have gone */
	bool called_off; /* it is not going to be answered as it should: that says nothing */
};

/* fetch-relay.c: a chunk that is looked for through peers. */
struct tried {
	struct fetch_source *source;
	bool open; /* it has not answered */
};

struct quest {
	uint64_t no;
	struct sha256 hash;
	uint64_t id;               /* by which all who look for it know it */
	struct fetch_source *from; /* who asked; NULL: it is for a file here, … */
	uint64_t file;             /* … with that number */
	unsigned links;            /* that it may go over from here on */
	enum {
		QUEST_SEEKS,
		QUEST_HERE,  /* it is in the store, and to be given */
		QUEST_FOUND, /* the same, from data */
		QUEST_GIVEN, /* it is about to be sent */
		QUEST_VAIN,  /* that is to be said */
	} state; /* only SEEKS if it is for a file */
	uint64_t began; /* 0: nobody has said what time it is */
	uint64_t moved; /* when somebody was asked last */
	struct tried *tried;
	uint32_t n_tried;
	struct buf data; /* as it is sent */
};

struct seeking { /* a SEEK that is not answered */
	struct sha256 hash;
	uint64_t id;
	uint64_t quest; /* its number: it may have gone */
};

struct passed {
	uint64_t id;
	unsigned links;
};

struct fetch_source {
	struct fetches *all;
	struct asked asked[FETCH_ASKED_MAX];
	uint32_t n;
	uint64_t since; /* last answer, or first question */
	uint32_t most;  /* that may be asked and not answered */
	bool slow;
	bool idle;       /* it has changed hands, and was not asked since */
	unsigned handed; /* so often since its last answer */
	struct seeking seek[FETCH_SEEKS_MAX];
	uint32_t n_seeks;
	uint64_t brought;    /* greater for whom something sought came from later; 0: nothing did */
	uint64_t brought_at;
};

/* Those who are to be called when the lock is free. */
struct calls {
	struct waiter *first;
	bool wake; /* something may be asked of others now, or others are to be looked for */
};

struct fetches {
	struct replica *replica;
	struct store *store;
	void (*wake)(void *userdata);
	void *userdata;
	pthread_mutex_t lock; /* all below */
	struct file **file;
	uint32_t n, cap;
	struct fetch_source **source;
	uint32_t n_sources;
	uint32_t n_waiters;
	uint64_t last_ticket, last_file;
	uint32_t place; /* in the list of what is wanted */
	bool stopped;
	bool seeks; /* somebody looks for other sources */
	struct quest **quest;
	uint32_t n_quests;
	uint64_t last_quest, last_id, last_brought;
	uint8_t seed[16]; /* of ids: nobody else's are the same */
	uint64_t now_us;  /* as a session said last */
	struct passed passed[FETCH_PASSED]; /* ring */
	uint32_t next_passed;
	struct id route[FETCH_ROUTES]; /* ring: files of which something was found through peers */
	uint32_t next_route;
};

/* Calls them; without the lock. */
void fetches_call(const struct fetches *f, struct calls *c);

struct file *fetches_find(const struct fetches *f, const struct id *node); /* or NULL */
/* The file is through, whatever came of it. */
void fetches_end(struct fetches *f, struct file *x, int code, struct calls *c);
/* Goes on with a file of which something has come, or that is new. It may be gone afterwards. */
void fetches_step(struct fetches *f, struct file *x, struct calls *c);
/* *ret: the place in x->want. */
bool fetches_wanted(const struct file *x, const struct sha256 *hash, uint32_t *ret);

/* Nothing will come of it any more. What a reader has asked for who has gone since is still taken in. */
bool fetches_over(const struct fetches *f, const struct file *x);
/* What nothing will come of fails, or others are looked for. */
void fetches_give_up(struct fetches *f, struct calls *c);

bool fetches_whole(const struct file *x); /* somebody waits for all of it */
/* Nobody is left who might have it, or might be asked for it. */
bool fetches_hopeless(const struct fetches *f, const struct file *x);
/* What is wanted there has come. It may be gone afterwards. -EPROTO: it is another one. */
int fetches_came(struct fetches *f, struct file *x, uint32_t want, const void *data, size_t len, struct calls *c,
		 struct err *e);

/* fetch-relay.c */
/* It is over: it ends, or others are looked for, or it is looked for through peers; forsaken: there are no others. */
void fetches_last_resort(struct fetches *f, struct file *x, bool forsaken, struct calls *c);
bool fetches_on_quest(const struct fetches *f, const struct file *x, const struct sha256 *hash);
void fetches_quests_check(struct fetches *f, struct calls *c); /* whom nobody is left to ask for: in vain */
void fetches_quests_end(struct fetches *f, uint64_t file);     /* those for that file */
void fetches_quests_leave(struct fetches *f, const struct fetch_source *s); /* as if it had never been here */
void fetches_quests_free(struct fetches *f);
/* A chunk has come; whoever looks for it has it now. -EPROTO: it has another hash. */
int fetches_quests_found(struct fetches *f, const struct sha256 *hash, const void *data, size_t len, struct calls *c,
			  struct err *e);
