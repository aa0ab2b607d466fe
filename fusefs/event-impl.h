/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What is private to the event-*.c files: the queue of what is due, and what is being told. */

#include "fusefs/event.h"
#include "fusefs/puppet.h"

#define HELLO_MAX 48

/* A name of which an event is due. */
struct label {
	struct table_link link;
	struct id dir;
	char *name;
	unsigned uses;
	struct event *leaving, **last; /* what is still to be told to have left it, in order */
};

struct event {
	struct event *next;
	struct event *next_leaving;
	uint64_t serial;
	struct table_link link; /* of a node: more of it can be added while it waits */
	struct id id;
	enum node_kind kind;
	unsigned what;
	bool hard;               /* a hard link comes or goes */
	struct label *from, *to; /* NULL: it did not have a name, or has none */
};

struct events {
	struct fusefs *fs;
	struct puppet *puppet;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t wake, idle, turn;
	bool calling;      /* our process, or the notifier: see event_turn_begin */
	unsigned dropping; /* notifiers that wait for their turn */
	struct event *first, **last;
	struct table nodes, labels, leaving;
	uint64_t serial;
	uint32_t n;
	bool stop, busy, dead; /* dead: there will be no events */
	uint64_t calls;
	char hello[HELLO_MAX]; /* the name that only our process asks for; "" afterwards */

	/* The names that are being told: what our process is to find under them. */
	const struct event *now;
	struct inode *old, *new;
	bool asked; /* for the old one */
};

/* The name at which an event is due, or NULL. lock held. */
struct label *label_find(struct events *s, const struct id *dir, const char *name);
/* Where the node is for the kernel, if it is told of another place later. lock held. */
const struct label *label_before(struct events *s, const struct id *id);

bool event_is_known(struct fusefs *fs, const struct id *id);
/* Is something of this device alone in the node's place? */
bool event_is_hidden(struct fusefs *fs, const struct id *dir, const char *name, const struct id *id);

/* Has our process do it, when it is its turn. */
int event_call(struct events *s, const struct job *job);
/* Has our process do what tells e. */
void event_tell(struct events *s, const struct event *e);
/* An inode that looks like the node, which is no more or not yet; NULL: no memory. */
struct inode *event_ghost(struct fusefs *fs, const struct id *id, enum node_kind kind);
