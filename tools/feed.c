/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `watch`: one JSON object for each change, local or remote.
 *
 * Commits come from many threads, the clients belong to the loop. The observer, which runs only
 * while somebody watches, makes each change a line at once (the paths are those of the moment)
 * and puts it into a bounded queue; the loop hands the lines out. When the queue overflows
 * watchers get a line of kind "overflow": look for yourself. */
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "engine/clock.h"
#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/feed-impl.h"

struct watcher {
	struct feed *feed;
	struct watcher *next;
	struct call *call;
	const char **path; /* call's arena */
	uint32_t n;
};

struct feed {
	struct daemon *d;
	struct watcher *first;
	pthread_mutex_t lock;
	struct items queue; /* lock */
};

void item_free(struct item *i)
{
	free(i->path);
	free(i->old_path);
	buf_done(&i->json);
	free(i);
}

/* PATH of parent, a slash, name. NULL: no place (any more), no memory. */
static char *join_path(struct replica *r, const struct id *parent, const char *name)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (!name || (!id_equal(parent, &NODE_ROOT) && replica_path(r, parent, &b) < 0))
		return NULL;
	if (b.len)
		buf_u8(&b, '/');
	buf_puts(&b, name);
	const char *path = buf_cstr(&b);
	return path ? strdup(path) : NULL;
}

static const char *change_kind(unsigned what)
{
	if ((what & CHANGE_CREATED) && (what & CHANGE_REMOVED))
		return "moved";
	if (what & CHANGE_CREATED)
		return "created";
	if (what & CHANGE_REMOVED)
		return "removed";
	return what & CHANGE_CONTENT ? "changed" : "attributes";
}

static void put_change(struct daemon *d, const struct change *c, const struct item *i, struct buf *b)
{
	static const char *const types[] = { "", "directory", "file", "link" };
	char device[DEVICE_LABEL_SIZE], hex[ID_HEX], time[TIME_TEXT_SIZE];
	struct jsonw w;
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, i->path ? i->path : i->old_path);
	jsonw_key(&w, "kind");
	jsonw_string(&w, change_kind(c->what));
	if ((c->what & CHANGE_CREATED) && i->old_path) {
		jsonw_key(&w, "from");
		jsonw_string(&w, i->old_path);
	}
	jsonw_key(&w, "type");
	jsonw_string(&w, types[!id_is_zero(&c->target) ? NODE_FILE : c->kind <= NODE_LINK ? c->kind : 0]);
	jsonw_key(&w, "version");
	jsonw_string(&w, id_hex(&c->version, hex));
	const struct actors *actors = replica_actors(d->replica);
	jsonw_key(&w, "device");
	jsonw_string(&w, c->actor < actors_count(actors) ?
				 report_device(d, &actors_get(actors, c->actor)->device, device) :
				 NULL);
	jsonw_key(&w, "remote");
	jsonw_bool(&w, c->remote);
	jsonw_key(&w, "time");
	jsonw_string(&w, report_time(hlc_us(c->hlc), time));
	jsonw_key(&w, "pointers");
	jsonw_array_begin(&w);
	for (uint32_t k = 0; c->pointer && k < c->n_pointers; k++)
		jsonw_string(&w, c->pointer[k]);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	jsonw_end(&w);
}

char *change_path(struct replica *r, const struct change *c)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (c->name)
		return join_path(r, &c->parent, c->name);
	/* Neither appeared nor went: it has a place. */
	if (c->old_name || replica_path(r, &c->id, &b) < 0)
		return NULL;
	return strndup(b.data ? (const char *)b.data : "", b.len);
}

char *change_old_path(struct replica *r, const struct change *c)
{
	return join_path(r, &c->old_parent, c->old_name);
}

/* *ret NULL: there is nothing to tell, it is below a directory that is gone already. */
static int item_new(struct daemon *d, const struct change *c, struct item **ret)
{
	struct replica *r = d->replica;
	struct item *i = calloc(1, sizeof(*i));
	if (!i)
		return -ENOMEM;
	i->id = id_is_zero(&c->target) ? c->id : c->target;
	i->dir = id_is_zero(&c->target) && c->kind == NODE_DIR;
	i->path = change_path(r, c);
	i->old_path = change_old_path(r, c);
	if (i->path || i->old_path)
		put_change(d, c, i, &i->json);
	bool failed = buf_failed(&i->json);
	if (failed || !i->json.len) {
		item_free(i);
		i = NULL;
	}
	*ret = i;
	return failed ? -ENOMEM : 0;
}

void items_add(struct items *q, pthread_mutex_t *lock, struct daemon *d, const struct change *change, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		struct item *i = NULL;
		int r = item_new(d, &change[k], &i);
		pthread_mutex_lock(lock);
		if (r < 0 || (i && q->bytes > QUEUE_MAX)) {
			q->overflow = true;
			if (i)
				item_free(i);
		} else if (i) {
			STAILQ_INSERT_TAIL(&q->list, i, link);
			q->bytes += i->json.len + 128;
		}
		pthread_mutex_unlock(lock);
	}
}

void items_take(struct items *q, struct items *ret)
{
	*ret = (struct items){ .overflow = q->overflow };
	STAILQ_INIT(&ret->list);
	STAILQ_CONCAT(&ret->list, &q->list);
	q->bytes = 0;
	q->overflow = false;
}

void items_done(struct items *q)
{
	struct item *i;
	while ((i = STAILQ_FIRST(&q->list))) {
		STAILQ_REMOVE_HEAD(&q->list, link);
		item_free(i);
	}
}

void put_overflow(struct buf *b)
{
	buf_puts(b, "{\"path\":\"\",\"kind\":\"overflow\"}");
}

static void observe(const struct change *change, size_t n, void *userdata)
{
	struct feed *f = userdata;
	items_add(&f->queue, &f->lock, f->d, change, n);
	daemon_wake(f->d);
}

bool path_is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return !n || (path && strncmp(path, dir, n) == 0 && (!path[n] || path[n] == '/'));
}

bool is_below_any(const char *path, const char *const *dir, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		if (path_is_below(path, dir[k]))
			return true;
	return !n;
}

void feed_run(struct feed *f)
{
	struct items todo;
	struct item *i;
	pthread_mutex_lock(&f->lock);
	items_take(&f->queue, &todo);
	pthread_mutex_unlock(&f->lock);
	while ((i = STAILQ_FIRST(&todo.list))) {
		STAILQ_REMOVE_HEAD(&todo.list, link);
		for (struct watcher *w = f->first; w; w = w->next)
			if (is_below_any(i->path, w->path, w->n) || is_below_any(i->old_path, w->path, w->n))
				call_result(w->call, &i->json, true);
		item_free(i);
	}
	if (!todo.overflow)
		return;
	_cleanup_(buf_done) struct buf b = { 0 };
	put_overflow(&b);
	for (struct watcher *w = f->first; w; w = w->next)
		call_result(w->call, &b, true);
}

static void watcher_gone(struct call *c, void *userdata)
{
	struct watcher *dead = userdata;
	struct feed *f = dead->feed;
	(void)c;
	for (struct watcher **at = &f->first; *at; at = &(*at)->next)
		if (*at == dead) {
			*at = dead->next;
			break;
		}
	free(dead);
	if (!f->first)
		replica_unobserve(f->d->replica, observe, f);
}

void method_watch(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct feed *f = d->feed;
	struct err e = { 0 };
	if (params && json_get_z(params, "where")) {
		watch_where(d, c, params);
		return;
	}
	struct watcher *w = calloc(1, sizeof(*w));
	int r = w ? 0 : err_errno(&e, -ENOMEM, "cannot watch");
	if (r == 0)
		r = param_texts(call_arena(c), params, "paths", WATCH_PATHS_MAX, &w->path, &w->n, &e);
	if (r == 0 && !f->first) {
		r = replica_observe(d->replica, observe, f);
		if (r < 0)
			err_errno(&e, r, "cannot watch");
	}
	if (r < 0) {
		free(w);
		call_error(c, &e);
		return;
	}
	w->feed = f;
	w->call = c;
	w->next = f->first;
	f->first = w;
	call_keep(c, watcher_gone, NULL, w);
	call_result(c, NULL, true); /* from here on */
}

int feed_new(struct daemon *d, struct feed **ret, struct err *e)
{
	struct feed *f = calloc(1, sizeof(*f));
	if (!f)
		return err_errno(e, -ENOMEM, "cannot start");
	f->d = d;
	pthread_mutex_init(&f->lock, NULL);
	STAILQ_INIT(&f->queue.list);
	*ret = f;
	return 0;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	items_done(&f->queue);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
