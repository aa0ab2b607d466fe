/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who waits has a number, and is looked up by it: the interruption of a request, the contents and the end
 * of the mount may come at once, and whoever finds it first answers. */
#include "fusefs/demand.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/fetch.h"
#include "fusefs/notify.h"

/* What the queue of fetches knows of it. */
struct ticket {
	struct demand *d;
	uint64_t no;
};

struct parked {
	struct table_link link; /* by number */
	uint64_t no;
	fuse_req_t req;
	demand_fn fn;
	void *arg;
	uint64_t fetch;         /* the queue's number */
	struct ticket *ticket;  /* NULL: it is not in the queue (yet) */
	bool held;              /* libfuse holds the request and may be within on_interrupt: no answer */
	bool interrupted;       /* meanwhile */
};

struct demand {
	struct fusefs *fs;
	pthread_mutex_t lock; /* all below */
	struct table parked;
	uint64_t last;
	bool stopped;
};

int demand_new(struct fusefs *fs, struct demand **ret)
{
	struct demand *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->fs = fs;
	pthread_mutex_init(&d->lock, NULL);
	*ret = d;
	return 0;
}

void demand_free(struct demand *d)
{
	if (!d)
		return;
	table_done(&d->parked);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static struct parked *find(struct demand *d, uint64_t no)
{
	for (struct table_link *l = table_first(&d->parked, table_mix(no)); l; l = l->next) {
		struct parked *p = table_entry(l, struct parked, link);
		if (p->no == no)
			return p;
	}
	return NULL;
}

/* Answers, unless somebody else has. from_queue: the queue does not know it any more. */
static void finish(struct demand *d, uint64_t no, int code, bool from_queue)
{
	pthread_mutex_lock(&d->lock);
	struct parked *p = find(d, no);
	if (p && p->held) {
		p->interrupted = true;
		p = NULL;
	}
	if (p)
		table_remove(&d->parked, &p->link);
	pthread_mutex_unlock(&d->lock);
	if (!p)
		return;
	if (!from_queue && p->ticket && fetch_cancel(d->fs->config.fetches, p->fetch))
		free(p->ticket);
	p->fn(d->fs, p->req, code, p->arg);
	free(p);
}

static void on_fetched(int code, void *userdata)
{
	struct ticket *t = userdata;
	finish(t->d, t->no, code, true);
	free(t);
}

static void on_interrupt(fuse_req_t req, void *userdata)
{
	struct fusefs *fs = fs_of(req);
	finish(fs->demand, (uint64_t)(uintptr_t)userdata, -EINTR, false);
}

void demand_stop(struct demand *d)
{
	uint64_t no = 0;
	pthread_mutex_lock(&d->lock);
	d->stopped = true;
	do {
		no = 0;
		table_each(&d->parked, i, l, next)
			no = table_entry(l, struct parked, link)->no;
		pthread_mutex_unlock(&d->lock);
		if (no)
			finish(d, no, -EINTR, false);
		pthread_mutex_lock(&d->lock);
	} while (no);
	pthread_mutex_unlock(&d->lock);
}

void demand_start(struct demand *d)
{
	pthread_mutex_lock(&d->lock);
	d->stopped = false;
	pthread_mutex_unlock(&d->lock);
}

/* Into the table. */
static int park(struct demand *d, struct parked *p)
{
	int r = -EHOSTDOWN;
	pthread_mutex_lock(&d->lock);
	if (!d->stopped) {
		p->no = ++d->last;
		r = table_add(&d->parked, &p->link, table_mix(p->no));
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

/* From here on the request may be interrupted. If it was before, libfuse says so at once, and uses the request
 * after that: it cannot be answered in there. */
static int watch(struct demand *d, struct parked *p)
{
	const uint64_t no = p->no;
	fuse_req_interrupt_func(p->req, on_interrupt, (void *)(uintptr_t)no);
	pthread_mutex_lock(&d->lock);
	bool interrupted = p->interrupted;
	p->held = false;
	if (interrupted)
		table_remove(&d->parked, &p->link);
	pthread_mutex_unlock(&d->lock);
	return interrupted ? -EINTR : 0;
}

/* It is in the queue: so it can be taken out. */
static void queued(struct demand *d, uint64_t no, uint64_t fetch, struct ticket *t)
{
	pthread_mutex_lock(&d->lock);
	struct parked *p = find(d, no);
	if (p) {
		p->fetch = fetch;
		p->ticket = t;
	}
	pthread_mutex_unlock(&d->lock);
	/* Somebody has answered already; if that was not the queue, it is to forget it. */
	if (!p && fetch_cancel(d->fs->config.fetches, fetch))
		free(t);
}

void demand_wait(struct fusefs *fs, fuse_req_t req, const struct id *node, const struct blob_ref *ref,
		 uint64_t offset, uint64_t len, demand_fn fn, void *arg)
{
	struct demand *d = fs->demand;
	struct parked *p = calloc(1, sizeof(*p));
	struct ticket *t = malloc(sizeof(*t));
	uint64_t fetch;
	int r = !p || !t ? -ENOMEM : fs->config.fetches ? 0 : -EHOSTDOWN;
	if (r == 0) {
		*p = (struct parked){ .req = req, .fn = fn, .arg = arg, .held = true };
		r = park(d, p);
	}
	const uint64_t no = r == 0 ? p->no : 0;
	if (r == 0)
		r = watch(d, p);
	if (r < 0) {
		free(p);
		free(t);
		fn(fs, req, r, arg);
		return;
	}
	/* From here on p may be answered, and gone, at any time. */
	*t = (struct ticket){ d, no };
	r = fetch_begin(fs->config.fetches, node, ref, offset, len, on_fetched, t, &fetch);
	if (r == 0) {
		queued(d, no, fetch, t);
		return;
	}
	free(t);
	finish(d, no, r < 0 ? r : 0, true);
}

bool inode_is_absent(struct fusefs *fs, struct inode *i, struct id *ret_node)
{
	pthread_mutex_lock(&i->lock);
	*ret_node = i->id;
	bool absent = i->backing == BACK_NODE && i->kind == NODE_FILE && !(i->shared && i->shared->dirty) &&
		      replica_absence(fs->replica, &i->id) != ABSENT_NOT;
	pthread_mutex_unlock(&i->lock);
	return absent;
}

void fusefs_evicted(struct fusefs *fs, const struct id *node)
{
	struct inode *i = inode_find_node(fs, node);
	/* What is kept as the base of a later save keeps its bytes as well. */
	bases_forget(fs->bases, node);
	if (!i)
		return;
	pthread_mutex_lock(&i->lock);
	/* And so does what is left of a save, while nobody has it open. */
	if (i->backing == BACK_NODE && i->shared && !i->shared->users && !i->shared->dirty &&
	    !i->shared->draft) {
		copy_free(i->shared);
		i->shared = NULL;
	}
	pthread_mutex_unlock(&i->lock);
	notify_inode(fs, i);
	inode_put(fs, i);
}

/* ---- reads ---- */

struct reading {
	struct version *v;
	size_t size;
	uint64_t offset;
};

static ssize_t read_all(struct version *v, char *room, size_t size, uint64_t offset)
{
	size_t done = 0;
	while (done < size) {
		ssize_t n = version_pread(v, room + done, size - done, offset + done);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static void read_again(struct fusefs *fs, fuse_req_t req, int code, void *arg)
{
	struct reading *x = arg;
	_cleanup_free_ char *room = code == 0 ? malloc(x->size) : NULL;
	ssize_t n = code < 0 ? code : room ? read_all(x->v, room, x->size, x->offset) : -ENOMEM;
	(void)fs;
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, room, (size_t)n);
	version_unref(x->v);
	free(x);
}

void demand_read(struct fusefs *fs, fuse_req_t req, const struct proc *reader, struct version *v,
		 size_t size, uint64_t offset)
{
	const struct blob_ref *ref = version_blob(v);
	if (!ref || !scanner_may(&fs->scanners, reader, version_node(v), monotonic_ns())) {
		fuse_reply_err(req, EHOSTDOWN);
		return;
	}
	struct reading *x = malloc(sizeof(*x));
	if (!x) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*x = (struct reading){ version_ref(v), size, offset };
	demand_wait(fs, req, version_node(v), ref, offset, size, read_again, x);
}
