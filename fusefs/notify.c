/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/dirpages.h"
#include "fusefs/event.h"
#include "fusefs/flip.h"
#include "fusefs/keeper.h"
#include "fusefs/order.h"
#include "fusefs/saver.h"

#define RETRIES 3

struct item {
	struct item *next;
	uint64_t ino; /* inode, or the parent of a name */
	unsigned tries;
	char *name;          /* NULL: the inode itself */
	struct event *event; /* or what is to be told now that the kernel has forgotten it */
};

struct notify {
	struct fusefs *fs;
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	struct item *first, **last;
	bool started, stop, busy;
	pthread_t thread;
	uint64_t sent;
};

int notify_new(struct fusefs *fs, struct notify **ret)
{
	struct notify *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->fs = fs;
	n->last = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->wake, &attr);
	pthread_cond_init(&n->idle, &attr);
	pthread_condattr_destroy(&attr);
	*ret = n;
	return 0;
}

/* An inode, a name (copied), or an event (taken over). */
static void queue(struct notify *n, uint64_t ino, const char *name, unsigned tries,
		  struct event *event)
{
	struct item *x = calloc(1, sizeof(*x));
	char *text = name ? strdup(name) : NULL;
	if (!x || (name && !text)) {
		free(x);
		free(text);
		if (event)
			event_free(n->fs->events, event);
		return;
	}
	x->ino = ino;
	x->name = text;
	x->tries = tries;
	x->event = event;
	pthread_mutex_lock(&n->lock);
	*n->last = x;
	n->last = &x->next;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void notify_inode_locked(struct fusefs *fs, struct inode *i)
{
	inode_recount_locked(i);
	if (i->notify_due)
		return;
	i->notify_due = true;
	queue(fs->notify, i->ino, NULL, 0, NULL);
}

void notify_size(struct fusefs *fs, struct inode *i)
{
	fuse_lowlevel_notify_inval_inode(fs->session, i->ino, -1, 0);
}

void notify_pages(struct fusefs *fs, struct inode *i)
{
	fuse_lowlevel_notify_inval_inode(fs->session, i->ino, 0, 0);
}

int notify_store(struct fusefs *fs, struct inode *i, struct version *v)
{
	int r = version_load(v);
	if (r < 0)
		return r;
	const size_t size = (size_t)version_size(v);
	struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(size);
	bytes.buf[0].mem = (void *)(uintptr_t)version_data(v);
	return fuse_lowlevel_notify_store(fs->session, i->ino, 0, &bytes, 0);
}

void notify_inode(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	notify_inode_locked(fs, i);
	pthread_mutex_unlock(&fs->lock);
}

/* The name in its parent, and the parent's own times. */
void notify_entry(struct fusefs *fs, const struct id *parent, const char *name)
{
	struct inode *p = inode_find_node(fs, parent);
	if (!p)
		return; /* the kernel has never been there */
	queue(fs->notify, p->ino, name, 0, NULL);
	notify_inode(fs, p);
	inode_put(fs, p);
}

/* False: who has it open has had the kernel forget what it knew, and must not be disturbed. */
static bool make_unsteady(struct fusefs *fs, struct inode *i)
{
	struct attr attr;
	pthread_mutex_lock(&i->lock);
	const struct copy *c = i->shared;
	bool newest = i->backing == BACK_NODE && c && c->users && !c->dirty && c->origin &&
		      (i->unsteady || id_equal(&i->told, version_id(c->origin))) &&
		      replica_attr(fs->replica, &i->id, &attr) >= 0 &&
		      id_equal(&attr.version, version_id(c->origin));
	if (!newest)
		inode_unsteady(i);
	pthread_mutex_unlock(&i->lock);
	return !newest;
}

static void send(struct notify *n, struct item *x)
{
	struct fusefs *fs = n->fs;
	if (x->event) {
		event_add(fs->events, TAKE_PTR(x->event));
		return;
	}
	if (x->name) {
		event_turn_begin(fs->events);
		fuse_lowlevel_notify_inval_entry(fs->session, x->ino, x->name, strlen(x->name));
		event_turn_end(fs->events);
		return;
	}
	struct inode *i = inode_get(fs, x->ino);
	if (!i)
		return;
	pthread_mutex_lock(&fs->lock);
	i->notify_due = false; /* from here on a change wants another one */
	bool known = i->nlookup > 0;
	pthread_mutex_unlock(&fs->lock);
	if (!make_unsteady(fs, i)) {
		inode_put(fs, i);
		return;
	}
	int r = i->kind == NODE_DIR ? dirpages_drop(fs, i)
				    : fuse_lowlevel_notify_inval_inode(fs->session, x->ino, 0, 0);
	pthread_mutex_lock(&i->lock);
	inode_steady(i);
	pthread_mutex_unlock(&i->lock);
	/* Looked up, but the kernel has not digested the answer yet: it may hold old attributes. */
	if (r == -ENOENT && known && x->tries < RETRIES) {
		struct timespec ts = { .tv_nsec = 5000000 };
		nanosleep(&ts, NULL);
		queue(n, x->ino, NULL, x->tries + 1, NULL);
	}
	inode_put(fs, i);
}

static void *notify_main(void *userdata)
{
	struct notify *n = userdata;
	pthread_mutex_lock(&n->lock);
	while (!n->stop) {
		struct item *x = n->first;
		if (!x) {
			n->busy = false;
			pthread_cond_broadcast(&n->idle);
			pthread_cond_wait(&n->wake, &n->lock);
			continue;
		}
		n->busy = true;
		n->first = x->next;
		if (!n->first)
			n->last = &n->first;
		n->sent++;
		pthread_mutex_unlock(&n->lock);
		send(n, x);
		free(x->name);
		free(x);
		pthread_mutex_lock(&n->lock);
	}
	n->busy = false;
	pthread_cond_broadcast(&n->idle);
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

int notify_start(struct notify *n)
{
	sigset_t all, old;
	n->stop = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = -pthread_create(&n->thread, NULL, notify_main, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	n->started = r == 0;
	return r;
}

void notify_stop(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	if (n->started)
		pthread_join(n->thread, NULL);
	n->started = false;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	while (n->first) {
		struct item *x = n->first;
		n->first = x->next;
		if (x->event)
			event_free(n->fs->events, x->event);
		free(x->name);
		free(x);
	}
	pthread_cond_destroy(&n->wake);
	pthread_cond_destroy(&n->idle);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

int notify_wait(struct notify *n, int64_t until_ns)
{
	struct timespec ts = { .tv_sec = until_ns / SECOND_NS, .tv_nsec = until_ns % SECOND_NS };
	int r = 0;
	pthread_mutex_lock(&n->lock);
	while (r == 0 && n->started && !n->stop && (n->first || n->busy))
		r = -pthread_cond_timedwait(&n->idle, &n->lock, &ts);
	pthread_mutex_unlock(&n->lock);
	return r;
}

uint64_t notify_count(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	uint64_t sent = n->sent;
	pthread_mutex_unlock(&n->lock);
	return sent;
}

/* ---- handing over ---- */

enum { SAVED_INODE = 1, SAVED_NAME = 2, SAVED_EVENT = 3 };

void notify_save(struct notify *n, struct saver *s)
{
	for (const struct item *x = n->first; x; x = x->next) {
		buf_u8(s->out, x->event ? SAVED_EVENT : x->name ? SAVED_NAME : SAVED_INODE);
		if (x->event) {
			event_save(s, x->event);
			continue;
		}
		save_u64(s, x->ino);
		if (x->name)
			save_text(s, x->name);
	}
	buf_u8(s->out, 0);
}

static void load_item(struct notify *n, struct loader *l, uint8_t kind)
{
	if (kind == SAVED_EVENT) {
		struct event *e = event_load(n->fs->events, l);
		if (e)
			queue(n, 0, NULL, 0, e);
		return;
	}
	uint64_t ino = load_u64(l);
	if (kind == SAVED_NAME) {
		_cleanup_free_ char *name = load_text(l);
		if (name)
			queue(n, ino, name, 0, NULL);
		return;
	}
	struct inode *i = inode_get(n->fs, ino);
	if (i)
		notify_inode(n->fs, i);
	inode_put(n->fs, i);
}

void notify_load(struct notify *n, struct loader *l)
{
	for (uint8_t kind = cursor_u8(&l->in); kind && load_ok(l); kind = cursor_u8(&l->in))
		load_item(n, l, kind);
}

/* ---- the observer ---- */

static bool is_own(struct fusefs *fs)
{
	bool own = false;
	pthread_mutex_lock(&fs->lock);
	for (struct committer *c = fs->committers; c && !own; c = c->next)
		own = pthread_equal(c->thread, pthread_self());
	pthread_mutex_unlock(&fs->lock);
	return own;
}

/* It may have been the document of a draft, or a directory with one. */
static void look_for_strays(struct fusefs *fs)
{
	pthread_mutex_lock(&fs->lock);
	bool queue = fs->n_drafts > 0 && !fs->stray_queued;
	fs->stray_queued |= queue;
	pthread_mutex_unlock(&fs->lock);
	if (queue)
		keeper_add(fs, TIMER_STRAY, 0, monotonic_ns());
}

/* names: their event, to be taken over; may be NULL. */
static void observe(struct fusefs *fs, const struct change *c, struct event *names)
{
	unsigned what = c->what & (CHANGE_CONTENT | CHANGE_ATTR);
	/* What comes into being is told whole. */
	if (c->what & CHANGE_CREATED && !(c->what & CHANGE_REMOVED))
		what = 0;
	if (c->old_name && (c->what & CHANGE_REMOVED))
		notify_entry(fs, &c->old_parent, c->old_name);
	if (c->name && (c->what & CHANGE_CREATED))
		notify_entry(fs, &c->parent, c->name);
	/* Of a hard link there is but the name; its file is told of by itself. */
	const bool link = !id_is_zero(&c->target);
	struct inode *i = link ? NULL : inode_find_node(fs, &c->id);
	bool open = false;
	if (i) {
		pthread_mutex_lock(&fs->lock);
		i->changes++;
		open = i->opens > 0;
		if (open)
			i->news |= what;
		else
			notify_inode_locked(fs, i);
		pthread_mutex_unlock(&fs->lock);
	}
	if (names)
		queue(fs->notify, 0, NULL, 0, names);
	struct event *node = NULL;
	if (open)
		flip_add(fs, i);
	else if (!link && (!(c->what & CHANGE_REMOVED) || c->what & CHANGE_CREATED))
		node = event_of_node(&c->id, c->kind, what);
	if (node)
		queue(fs->notify, 0, NULL, 0, node);
	if ((c->what & CHANGE_REMOVED) && !(c->what & CHANGE_CREATED))
		look_for_strays(fs);
	inode_put(fs, i);
}

void notify_observe(const struct change *change, size_t n, void *userdata)
{
	struct fusefs *fs = userdata;
	if (is_own(fs))
		return;
	_cleanup_free_ uint32_t *order = calloc(n + 1, sizeof(*order));
	_cleanup_free_ struct event **names = calloc(n + 1, sizeof(struct event *));
	bool ordered = order && order_changes(change, n, order) == 0;
	/* From here on the kernel may not keep the names: before it is told to forget the first. */
	for (size_t k = 0; names && k < n; k++)
		names[k] = event_of_names(fs, &change[k]);
	for (size_t k = 0; k < n; k++) {
		size_t at = ordered ? order[k] : k;
		observe(fs, &change[at], names ? names[at] : NULL);
	}
}
