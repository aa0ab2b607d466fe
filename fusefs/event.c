/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/event.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fusefs/local.h"
#include "fusefs/puppet.h"

#define DEPTH_MAX 256 /* directories on the way to one that is gone */
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

/* Answers can overtake each other: the size that the kernel has is of no version for sure. */
static const struct id unsure = { .b = { 0xff } };

int events_new(struct fusefs *fs, struct events **ret)
{
	struct events *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fs = fs;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_cond_init(&s->idle, &attr);
	pthread_cond_init(&s->turn, &attr);
	pthread_condattr_destroy(&attr);
	int r = puppet_new(fs->mountpoint, &s->puppet);
	if (r < 0) {
		events_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* ---- names of which events are due; lock held ---- */

static uint64_t label_hash(const struct id *dir, const char *name)
{
	return table_hash_bytes(name, strlen(name), id_hash(dir));
}

static struct label *label_find(struct events *s, const struct id *dir, const char *name)
{
	if (!s->labels.n)
		return NULL;
	uint64_t hash = label_hash(dir, name);
	for (struct table_link *l = table_first(&s->labels, hash); l; l = l->next) {
		struct label *x = table_entry(l, struct label, link);
		if (l->hash == hash && id_equal(&x->dir, dir) && strcmp(x->name, name) == 0)
			return x;
	}
	return NULL;
}

static struct label *label_use(struct events *s, const struct id *dir, const char *name)
{
	struct label *x = label_find(s, dir, name);
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return NULL;
		x->dir = *dir;
		x->last = &x->leaving;
		x->name = strdup(name);
		if (!x->name || table_add(&s->labels, &x->link, label_hash(dir, name)) < 0) {
			free(x->name);
			free(x);
			return NULL;
		}
	}
	x->uses++;
	return x;
}

static void label_leave(struct events *s, struct label *x)
{
	if (!x || --x->uses)
		return;
	table_remove(&s->labels, &x->link);
	free(x->name);
	free(x);
}

bool event_awaits(struct events *s, const struct id *dir, const char *name)
{
	pthread_mutex_lock(&s->lock);
	bool due = label_find(s, dir, name) != NULL;
	pthread_mutex_unlock(&s->lock);
	return due;
}

/* ---- what happened ---- */

static bool known(struct fusefs *fs, const struct id *id)
{
	struct inode *i = inode_find_node(fs, id);
	if (!i)
		return false;
	bool yes = inode_is_known(fs, i);
	inode_put(fs, i);
	return yes;
}

/* Is something of this device alone in the node's place? */
static bool hidden(struct fusefs *fs, const struct id *dir, const char *name, const struct id *id)
{
	struct inode *i = NULL;
	struct id node = { 0 };
	enum overlay o = local_find(fs, dir, name, &i, &node);
	inode_put(fs, i);
	return o == OVERLAY_LOCAL || (o == OVERLAY_TOMB && id_equal(&node, id));
}

/* lock held. */
static void leaves(struct events *s, struct event *e)
{
	*e->from->last = e;
	e->from->last = &e->next_leaving;
	e->serial = ++s->serial;
	table_add(&s->leaving, &e->link, id_hash(&e->id));
}

static void has_left(struct events *s, struct event *e)
{
	struct event **p = &e->from->leaving;
	while (*p && *p != e)
		p = &(*p)->next_leaving;
	if (*p) {
		*p = e->next_leaving;
		if (!*p)
			e->from->last = p;
	}
	table_remove(&s->leaving, &e->link);
}

/* Where the node is for the kernel, if it is told of another place later. */
static const struct label *label_before(struct events *s, const struct id *id)
{
	const struct event *first = NULL;
	for (struct table_link *l = table_first(&s->leaving, id_hash(id)); l; l = l->next) {
		const struct event *e = table_entry(l, struct event, link);
		if (id_equal(&e->id, id) && (!first || e->serial < first->serial))
			first = e;
	}
	return first ? first->from : NULL;
}

static bool full(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	bool no = s->dead || s->n >= EVENTS_MAX;
	pthread_mutex_unlock(&s->lock);
	return no;
}

struct event *event_of_names(struct fusefs *fs, const struct change *c)
{
	struct events *s = fs->events;
	bool from = c->what & CHANGE_REMOVED && c->old_name,
	     to = c->what & CHANGE_CREATED && c->name;
	if (full(s) ||
	    !((from && known(fs, &c->old_parent)) || (to && known(fs, &c->parent))))
		return NULL;
	from = from && !hidden(fs, &c->old_parent, c->old_name, &c->id);
	to = to && !hidden(fs, &c->parent, c->name, &c->id);
	struct event *e = from || to ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return NULL;
	e->id = c->id;
	e->kind = c->kind;
	pthread_mutex_lock(&s->lock);
	if (from)
		e->from = label_use(s, &c->old_parent, c->old_name);
	if (to)
		e->to = label_use(s, &c->parent, c->name);
	if (e->from)
		leaves(s, e);
	pthread_mutex_unlock(&s->lock);
	if ((from && !e->from) || (to && !e->to)) {
		event_free(s, e);
		return NULL;
	}
	return e;
}

struct event *event_of_node(const struct id *id, enum node_kind kind, unsigned what)
{
	struct event *e = what ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return NULL;
	e->id = *id;
	e->kind = kind;
	e->what = what;
	return e;
}

void event_free(struct events *s, struct event *e)
{
	pthread_mutex_lock(&s->lock);
	if (e->from)
		has_left(s, e);
	label_leave(s, e->from);
	label_leave(s, e->to);
	pthread_mutex_unlock(&s->lock);
	free(e);
}

static struct event *find_node(struct events *s, const struct id *id)
{
	for (struct table_link *l = table_first(&s->nodes, id_hash(id)); l; l = l->next) {
		struct event *e = table_entry(l, struct event, link);
		if (id_equal(&e->id, id))
			return e;
	}
	return NULL;
}

void event_add(struct events *s, struct event *e)
{
	if (!e)
		return;
	bool kept = false;
	pthread_mutex_lock(&s->lock);
	struct event *waits = find_node(s, &e->id);
	/* What comes behind a change of name is told under the new one. */
	if (waits && !e->what)
		table_remove(&s->nodes, &waits->link);
	if (waits && e->what) {
		waits->what |= e->what;
	} else if (!s->dead && s->n < EVENTS_MAX &&
		   (!e->what || table_add(&s->nodes, &e->link, id_hash(&e->id)) == 0)) {
		*s->last = e;
		s->last = &e->next;
		s->n++;
		kept = true;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (!kept)
		event_free(s, e);
}

/* ---- telling ---- */

void event_turn_begin(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	s->dropping++;
	while (s->calling)
		pthread_cond_wait(&s->turn, &s->lock);
	s->dropping--;
	s->calling = true;
	pthread_mutex_unlock(&s->lock);
}

void event_turn_end(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	s->calling = false;
	pthread_cond_broadcast(&s->turn);
	pthread_mutex_unlock(&s->lock);
}

static int call(struct events *s, const struct job *job)
{
	pthread_mutex_lock(&s->lock);
	while (s->calling || s->dropping)
		pthread_cond_wait(&s->turn, &s->lock);
	s->calling = true;
	pthread_mutex_unlock(&s->lock);
	int r = puppet_do(s->puppet, job);
	event_turn_end(s);
	pthread_mutex_lock(&s->lock);
	s->calls++;
	s->dead |= r == -EPIPE;
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* Where a node is for our process: where it was before what is not told yet. -ENOENT. */
static int place_of(struct events *s, const struct id *id, struct id *ret_dir, char *ret_name)
{
	pthread_mutex_lock(&s->lock);
	const struct label *l = label_before(s, id);
	if (l) {
		*ret_dir = l->dir;
		memcpy(ret_name, l->name, strlen(l->name) + 1);
	}
	pthread_mutex_unlock(&s->lock);
	return l ? 0 : replica_parent(s->fs->replica, id, ret_dir, ret_name);
}

static int path_of(struct events *s, const struct id *dir, struct buf *ret)
{
	char name[NAME_MAX_BYTES + 1];
	struct id at = *dir, up;
	_cleanup_(buf_done) struct buf below = { 0 };
	for (unsigned n = 0; !id_equal(&at, &NODE_ROOT); n++) {
		int r = n < DEPTH_MAX ? place_of(s, &at, &up, name) : -ELOOP;
		if (r < 0)
			return r;
		buf_reset(&below);
		buf_put(&below, ret->data, ret->len);
		buf_reset(ret);
		buf_puts(ret, name);
		if (below.len)
			buf_u8(ret, '/');
		buf_put(ret, below.data, below.len);
		at = up;
	}
	return 0;
}

static struct inode *ghost(struct fusefs *fs, const struct id *id, enum node_kind kind)
{
	struct inode *i = NULL;
	if (inode_new(fs, BACK_ORPHAN, kind, &i) < 0)
		return NULL;
	i->id = *id;
	i->last = (struct attr){ .kind = kind, .mode = kind == NODE_DIR ? 0755 : 0644 };
	return i;
}

/* What stood there before: of a node that is no more, or goes on elsewhere, the inode by which the kernel
 * knows it. A directory that is removed stays dead for the kernel: should it come back, it is
 * another one. */
static struct inode *inode_before(struct fusefs *fs, const struct event *e)
{
	struct attr attr;
	struct inode *i = inode_find_node(fs, &e->id);
	if (i) {
		pthread_mutex_lock(&i->lock);
		bool lives = replica_attr(fs->replica, &e->id, &attr) >= 0;
		bool fits = i->kind == e->kind && lives == (e->to != NULL);
		if (fits && !e->to && e->kind == NODE_DIR)
			inode_orphan(fs, i);
		pthread_mutex_unlock(&i->lock);
		if (fits)
			return i;
		inode_put(fs, i);
	} else if (e->to && replica_attr(fs->replica, &e->id, &attr) >= 0 && attr.kind == e->kind &&
		   inode_of_node(fs, &attr, &i) >= 0) {
		return i;
	}
	return ghost(fs, &e->id, e->kind);
}

/* What has come: the node, if it is still there, else something that looks like it. */
static struct inode *inode_after(struct fusefs *fs, const struct event *e, uint64_t *ret_size)
{
	struct attr attr;
	struct inode *i = NULL;
	*ret_size = 0;
	if (replica_lookup(fs->replica, &e->to->dir, e->to->name, strlen(e->to->name), &attr) < 0 ||
	    !id_equal(&attr.id, &e->id) || attr.kind != e->kind ||
	    inode_of_node(fs, &attr, &i) < 0)
		return ghost(fs, &e->id, e->kind);
	*ret_size = attr.size;
	return i;
}

static int play(struct events *s, const struct event *e, const struct job *job, struct inode *old,
		struct inode *new)
{
	pthread_mutex_lock(&s->lock);
	s->now = e;
	s->old = old;
	s->new = new;
	s->asked = false;
	pthread_mutex_unlock(&s->lock);
	int r = call(s, job);
	pthread_mutex_lock(&s->lock);
	s->now = NULL;
	s->old = s->new = NULL;
	pthread_mutex_unlock(&s->lock);
	inode_put(s->fs, old);
	inode_put(s->fs, new);
	return r;
}

static void tell_names(struct events *s, const struct event *e)
{
	struct fusefs *fs = s->fs;
	_cleanup_(buf_done) struct buf from = { 0 }, to = { 0 };
	struct job job = { .kind = e->kind };
	if ((e->from && path_of(s, &e->from->dir, &from) < 0) ||
	    (e->to && path_of(s, &e->to->dir, &to) < 0))
		return;
	if (!e->from) {
		uint64_t size;
		struct inode *new = inode_after(fs, e, &size);
		job.what = JOB_MAKE;
		job.dir = buf_cstr(&to);
		job.name = e->to->name;
		job.wrote = size > 0;
		if (new && job.dir)
			play(s, e, &job, NULL, new);
		return;
	}
	job.what = e->to ? JOB_RENAME : JOB_REMOVE;
	job.dir = buf_cstr(&from);
	job.name = e->from->name;
	job.to_dir = buf_cstr(&to);
	job.to_name = e->to ? e->to->name : NULL;
	if (!job.dir || !job.to_dir)
		return;
	struct inode *old = inode_before(fs, e);
	/* A directory has one place for the kernel, and it may have seen it in another one. */
	if (old && play(s, e, &job, old, NULL) < 0 && e->kind == NODE_DIR) {
		old = ghost(fs, &e->id, e->kind);
		if (old)
			play(s, e, &job, old, NULL);
	}
}

static void tell_node(struct events *s, const struct event *e)
{
	struct fusefs *fs = s->fs;
	char name[NAME_MAX_BYTES + 1] = ".";
	struct id dir = NODE_ROOT;
	_cleanup_(buf_done) struct buf path = { 0 };
	if (!id_equal(&e->id, &NODE_ROOT)) {
		if (place_of(s, &e->id, &dir, name) < 0 ||
		    hidden(fs, &dir, name, &e->id))
			return;
		if ((!known(fs, &dir) && !known(fs, &e->id)) ||
		    path_of(s, &dir, &path) < 0)
			return;
	}
	struct job job = { .kind = e->kind, .dir = buf_cstr(&path), .name = name, .wrote = true };
	if (!job.dir)
		return;
	job.what = e->what & CHANGE_CONTENT && e->kind != NODE_DIR ? JOB_WRITE : JOB_ATTR;
	job.attr = e->what & CHANGE_ATTR;
	call(s, &job);
}

/* Its process number, as requests carry it; without that, all would be taken at their word. */
static bool hello(struct events *s)
{
	uint64_t x[2];
	char name[HELLO_MAX];
	if (getrandom(x, sizeof(x), 0) != (ssize_t)sizeof(x))
		return false;
	snprintf(name, sizeof(name), ".shoal-%016llx%016llx", (unsigned long long)x[0],
		 (unsigned long long)x[1]);
	pthread_mutex_lock(&s->lock);
	memcpy(s->hello, name, sizeof(name));
	pthread_mutex_unlock(&s->lock);
	call(s, &(struct job){ .what = JOB_LOOK, .dir = "", .name = name });
	pthread_mutex_lock(&s->lock);
	bool heard = !s->hello[0];
	s->hello[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	return heard;
}

static void *events_main(void *userdata)
{
	struct events *s = userdata;
	bool heard = hello(s);
	pthread_mutex_lock(&s->lock);
	s->dead |= !heard;
	while (!s->stop) {
		struct event *e = s->first;
		if (!e) {
			s->busy = false;
			pthread_cond_broadcast(&s->idle);
			pthread_cond_wait(&s->wake, &s->lock);
			continue;
		}
		s->busy = true;
		s->first = e->next;
		s->n--;
		if (!s->first)
			s->last = &s->first;
		/* From here on a change wants another one. */
		if (e->what)
			table_remove(&s->nodes, &e->link);
		bool dead = s->dead;
		pthread_mutex_unlock(&s->lock);
		if (!dead && e->what)
			tell_node(s, e);
		else if (!dead)
			tell_names(s, e);
		event_free(s, e);
		pthread_mutex_lock(&s->lock);
	}
	s->busy = false;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int events_start(struct events *s)
{
	int r = puppet_start(s->puppet);
	if (r < 0)
		return r;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	s->stop = false;
	s->busy = true;
	r = -pthread_create(&s->thread, NULL, events_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->started = r == 0;
	if (r < 0)
		puppet_stop(s->puppet);
	return r;
}

void events_stop(struct events *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	puppet_stop(s->puppet);
	s->started = false;
}

void events_free(struct events *s)
{
	if (!s)
		return;
	events_stop(s);
	while (s->first) {
		struct event *e = s->first;
		s->first = e->next;
		event_free(s, e);
	}
	puppet_free(s->puppet);
	table_done(&s->nodes);
	table_done(&s->labels);
	table_done(&s->leaving);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->idle);
	pthread_cond_destroy(&s->turn);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int events_wait(struct events *s, int64_t until_ns)
{
	struct timespec ts = { .tv_sec = until_ns / SECOND_NS, .tv_nsec = until_ns % SECOND_NS };
	int r = 0;
	pthread_mutex_lock(&s->lock);
	while (r == 0 && s->started && !s->stop && (s->first || s->busy))
		r = -pthread_cond_timedwait(&s->idle, &s->lock, &ts);
	pthread_mutex_unlock(&s->lock);
	return r;
}

uint64_t events_count(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	uint64_t calls = s->calls;
	pthread_mutex_unlock(&s->lock);
	return calls;
}

/* ---- for the handlers ---- */

static bool is_ours(fuse_req_t req)
{
	return puppet_is(fs_of(req)->events->puppet, fuse_req_ctx(req)->pid);
}

/* Whether it is there or not. Returns how long the kernel may keep it; who comes into a root that
 * nobody has seen is to be noticed. */
static double stat_ghost(struct fusefs *fs, struct inode *i, struct stat *ret)
{
	double timeout;
	pthread_mutex_lock(&i->lock);
	if (inode_attr(fs, i, ret, &timeout) < 0) {
		timeout = 0;
		const struct attr attr = { .kind = i->kind,
					   .mode = i->kind == NODE_DIR ? 0755 : 0644 };
		inode_stat_node(fs, i->ino, &attr, ret);
	}
	pthread_mutex_unlock(&i->lock);
	ret->st_nlink = 1;
	return i->ino == INO_ROOT && !atomic_load(&fs->entered) ? 0 : timeout;
}

/* As make_entry; the name has no time to live. */
static void make_ghost(struct fusefs *fs, struct inode *i, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){ .ino = i->ino };
	inode_looked_up(fs, i);
	inode_looked_up_by_us(fs, i);
	ret->attr_timeout = stat_ghost(fs, i, &ret->attr);
}

static bool is_at(const struct label *l, const struct id *dir, const char *name)
{
	return l && id_equal(&l->dir, dir) && strcmp(l->name, name) == 0;
}

static struct id id_of(struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	struct id id = i->id;
	pthread_mutex_unlock(&i->lock);
	return id;
}

static struct id id_at(struct fusefs *fs, fuse_ino_t ino)
{
	struct inode *i = inode_get(fs, ino);
	struct id id = { 0 };
	if (i)
		id = id_of(i);
	inode_put(fs, i);
	return id;
}

static bool says_hello(struct events *s, fuse_req_t req, const struct inode *dir, const char *name)
{
	pthread_mutex_lock(&s->lock);
	bool yes = s->hello[0] && dir->ino == INO_ROOT && strcmp(name, s->hello) == 0;
	if (yes) {
		puppet_learn(s->puppet, fuse_req_ctx(req)->pid);
		s->hello[0] = '\0';
	}
	pthread_mutex_unlock(&s->lock);
	return yes;
}

static void reply_nothing(fuse_req_t req)
{
	const struct fuse_entry_param e = { 0 };
	fuse_reply_entry(req, &e);
}

static void reply_ghost(fuse_req_t req, struct fusefs *fs, struct inode *i)
{
	struct fuse_entry_param e;
	make_ghost(fs, i, &e);
	if (fuse_reply_entry(req, &e) < 0)
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
}

bool event_lookup(fuse_req_t req, struct inode *dir, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req)) {
		bool hello = name[0] == '.' && says_hello(s, req, dir, name);
		if (hello)
			reply_nothing(req);
		else
			atomic_store(&fs->entered, true);
		return hello;
	}
	struct id id = id_of(dir);
	struct inode *i = NULL;
	pthread_mutex_lock(&s->lock);
	bool from = s->now && is_at(s->now->from, &id, name),
	     to = s->now && is_at(s->now->to, &id, name);
	if (from) {
		s->asked = true;
		i = inode_ref(fs, s->old);
	}
	const struct label *l = from || to ? NULL : label_find(s, &id, name);
	const struct event *before = l ? l->leaving : NULL;
	struct id node = before ? before->id : (struct id){ 0 };
	enum node_kind kind = before ? before->kind : NODE_FILE;
	pthread_mutex_unlock(&s->lock);
	if (to && !from) {
		reply_nothing(req);
		return true;
	}
	/* On the way to what was told before something that is not told yet. */
	if (before && !(i = inode_find_node(fs, &node)))
		i = ghost(fs, &node, kind);
	/* Whatever it comes by else is left in the cache without a time to live, too. */
	if (!i && dir_find(fs, dir, name, &i) < 0) {
		reply_nothing(req);
		return true;
	}
	reply_ghost(req, fs, i);
	return true;
}

bool event_create(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req))
		return false;
	struct id id = id_at(fs, parent);
	struct inode *i = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->now && !s->now->from && is_at(s->now->to, &id, name))
		i = inode_ref(fs, s->new);
	pthread_mutex_unlock(&s->lock);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return true;
	}
	if (!fi) {
		reply_ghost(req, fs, i);
		return true;
	}
	struct fuse_entry_param e;
	make_ghost(fs, i, &e);
	fi->fh = 0;
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_create(req, &e, fi) < 0)
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
	return true;
}

/* The kernel has asked for what was there, and not taken what it had. */
static bool plays_from(struct events *s, const struct id *dir, const char *name)
{
	return s->now && s->asked && is_at(s->now->from, dir, name);
}

bool event_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req))
		return false;
	struct id id = id_at(fs, parent);
	pthread_mutex_lock(&s->lock);
	bool ok = plays_from(s, &id, name) && !s->now->to;
	pthread_mutex_unlock(&s->lock);
	fuse_reply_err(req, ok ? 0 : ESTALE);
	return true;
}

bool event_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		  const char *newname)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req))
		return false;
	struct id id = id_at(fs, parent), new = id_at(fs, newparent);
	pthread_mutex_lock(&s->lock);
	bool ok = plays_from(s, &id, name) && is_at(s->now->to, &new, newname);
	pthread_mutex_unlock(&s->lock);
	fuse_reply_err(req, ok ? 0 : ESTALE);
	return true;
}

bool event_getattr(fuse_req_t req, struct inode *i)
{
	struct fusefs *fs = fs_of(req);
	struct stat st;
	bool root = i->ino == INO_ROOT, ours = is_ours(req);
	if (root && !ours) {
		/* Nobody knows yet who that is: whoever it is has to ask again. */
		pthread_mutex_lock(&fs->events->lock);
		ours = fs->events->hello[0];
		pthread_mutex_unlock(&fs->events->lock);
	}
	if (root && !ours)
		atomic_store(&fs->entered, true);
	if (!ours)
		return false;
	double timeout = stat_ghost(fs, i, &st);
	fuse_reply_attr(req, &st, timeout);
	return true;
}

bool event_setattr(fuse_req_t req, struct inode *i)
{
	struct fusefs *fs = fs_of(req);
	struct stat st;
	double timeout;
	if (!is_ours(req))
		return false;
	pthread_mutex_lock(&fs->lock);
	bool open = i->opens > 0;
	pthread_mutex_unlock(&fs->lock);
	pthread_mutex_lock(&i->lock);
	int r = open && i->kind == NODE_FILE ? -EBUSY : inode_attr(fs, i, &st, &timeout);
	if (r == 0)
		i->told = unsure;
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, 0);
	return true;
}

bool event_setxattr(fuse_req_t req)
{
	if (!is_ours(req))
		return false;
	fuse_reply_err(req, 0);
	return true;
}

bool event_open(fuse_req_t req, struct fuse_file_info *fi)
{
	if (!is_ours(req))
		return false;
	fi->fh = 0;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
	return true;
}
