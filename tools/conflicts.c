/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `conflicts` and `resolve`: what competes, file by file, and taking a value back. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/jsonw.h"
#include "engine/replica-schema.h"
#include "tools/control.h"
#include "tools/daemon.h"

#define VALUE_MAX (64u * 1024) /* bytes of a value that is told whole */

/* A file in conflict, or a node that lacks the name it wants. Sorted, those of one path together,
 * the file itself first. */
struct place {
	char *path;
	struct id id;
	struct id hidden; /* who shows under another name; zero: the file itself is meant */
	uint32_t actor;   /* whose edge that is */
};

struct listing {
	struct daemon *d;
	const char *base;
	struct place *place;
	size_t n, cap, at;
	uint64_t files;
};

static void listing_free(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->place[i].path);
	free(l->place);
	free(l);
}

static bool below(const char *path, const char *base)
{
	size_t n = strlen(base);
	return n == 0 || (strncmp(path, base, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static int path_of(struct listing *l, const struct id *id, struct buf *b)
{
	buf_reset(b);
	int r = replica_path(l->d->replica, id, b);
	return r < 0 ? r : buf_cstr(b) ? 0 : -ENOMEM;
}

static int add(struct listing *l, const struct id *id, const struct id *hidden, uint32_t actor)
{
	_cleanup_(buf_done) struct buf path = { 0 }, other = { 0 };
	static const struct id none;
	int r = path_of(l, id, &path);
	if (r == 0 && hidden)
		r = path_of(l, hidden, &other);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* it went away at this moment */
	if (!below((char *)path.data, l->base) && !(hidden && below((char *)other.data, l->base)))
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct place *p = reallocarray(l->place, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		l->place = p;
		l->cap = cap;
	}
	char *copy = strdup((char *)path.data);
	if (!copy)
		return -ENOMEM;
	l->place[l->n++] = (struct place){ copy, *id, hidden ? *hidden : none, actor };
	return 0;
}

static int add_conflicted(const struct id *id, void *userdata)
{
	return add(userdata, id, NULL, 0);
}

static int add_contested(const struct id *shown, const struct id *hidden, uint32_t actor,
			 void *userdata)
{
	return add(userdata, shown, hidden, actor);
}

static int place_cmp(const void *x, const void *y)
{
	const struct place *a = x, *b = y;
	int c = strcmp(a->path, b->path);
	return c ? c : id_cmp(&a->hidden, &b->hidden);
}

/* ---- words ---- */

static const char *kind_name(enum node_kind kind)
{
	return kind == NODE_DIR ? "directory" : kind == NODE_LINK ? "link" : "file";
}

static void put_device(struct daemon *d, struct jsonw *w, uint32_t actor)
{
	char device[DEVICE_LABEL_SIZE];
	jsonw_key(w, "device");
	if (actor == ACTOR_NONE)
		jsonw_null(w);
	else
		jsonw_string(w, report_device(d, &actors_get(replica_actors(d->replica), actor)->device,
					      device));
}

static void put_rival(struct daemon *d, struct jsonw *w, const struct rival *v)
{
	char time[TIME_TEXT_SIZE];
	bool json = value_is_json(v->kind), whole = v->len <= VALUE_MAX;
	jsonw_object_begin(w);
	jsonw_key(w, "id");
	jsonw_string(w, v->id);
	jsonw_key(w, "type");
	jsonw_string(w, json ? "json" : v->kind == VALUE_LINK ? "link"
			: v->kind == VALUE_TEXT ? "text" : "blob");
	jsonw_key(w, "value");
	if (json && whole)
		jsonw_raw(w, v->text, v->len);
	else if (v->text && whole)
		jsonw_string_n(w, v->text, v->len);
	else
		jsonw_null(w);
	jsonw_key(w, "left_out");
	jsonw_bool(w, !v->text || !whole);
	jsonw_key(w, "size");
	jsonw_uint(w, v->text ? v->len : v->blob.size);
	put_device(d, w, v->actor);
	jsonw_key(w, "time");
	jsonw_string(w, report_time(hlc_us(v->hlc), time));
	jsonw_object_end(w);
}

static void put_contests(struct daemon *d, struct jsonw *w, const struct contest *t, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		jsonw_object_begin(w);
		jsonw_key(w, "pointer");
		jsonw_string_n(w, t[i].pointer, t[i].len);
		jsonw_key(w, "shown");
		put_rival(d, w, &t[i].shown);
		jsonw_key(w, "lost");
		jsonw_array_begin(w);
		for (uint32_t k = 0; k < t[i].n; k++)
			put_rival(d, w, &t[i].lost[k]);
		jsonw_array_end(w);
		jsonw_object_end(w);
	}
}

static void put_hidden(struct listing *l, struct jsonw *w, const struct place *p)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	struct attr at;
	if (path_of(l, &p->hidden, &path) < 0 || replica_attr(l->d->replica, &p->hidden, &at) < 0)
		return;
	jsonw_object_begin(w);
	jsonw_key(w, "path");
	jsonw_string(w, (char *)path.data);
	jsonw_key(w, "type");
	jsonw_string(w, kind_name(at.kind));
	put_device(l->d, w, p->actor);
	jsonw_object_end(w);
}

static void put_names(struct listing *l, struct jsonw *w, size_t end)
{
	for (size_t i = l->at; i < end; i++)
		if (!id_is_zero(&l->place[i].hidden))
			put_hidden(l, w, &l->place[i]);
}

/* All of one path; nothing when it went away meanwhile. */
static int put_file(struct listing *l, size_t end, struct buf *b)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct place *p = &l->place[l->at];
	struct replica *r = l->d->replica;
	struct contest *t = NULL;
	uint32_t n = 0;
	struct attr at = { 0 };
	struct jsonw w;
	char hex[ID_HEX];
	int rc = replica_attr(r, &p->id, &at);
	if (rc == 0 && at.kind != NODE_DIR)
		rc = replica_contests(r, &p->id, true, &a, &t, &n);
	struct err what = { 0 };
	if (rc == 0 && at.kind == NODE_FILE)
		rc = replica_check(r, &p->id, &what);
	if (rc < 0 && rc != -EINVAL)
		return rc == -ENOENT ? 0 : rc;
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, p->path);
	jsonw_key(&w, "type");
	jsonw_string(&w, kind_name(at.kind));
	jsonw_key(&w, "version");
	jsonw_string(&w, id_hex(&at.version, hex));
	jsonw_key(&w, "places");
	jsonw_array_begin(&w);
	if (t)
		put_contests(l->d, &w, t, n);
	jsonw_array_end(&w);
	jsonw_key(&w, "schema");
	if (what.code)
		jsonw_string(&w, what.message);
	else
		jsonw_null(&w);
	jsonw_key(&w, "names");
	jsonw_array_begin(&w);
	put_names(l, &w, end);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	jsonw_end(&w);
	return buf_failed(b) ? -ENOMEM : 0;
}

/* ---- conflicts ---- */

static void conflicts_cancel(struct call *call, void *userdata)
{
	(void)call;
	listing_free(userdata);
}

static void conflicts_go_on(struct call *call, void *userdata)
{
	struct listing *l = userdata;
	while (l->at < l->n && call_backlog(call) < CTL_ROOM) {
		_cleanup_(buf_done) struct buf b = { 0 };
		size_t end = l->at;
		while (end < l->n && strcmp(l->place[end].path, l->place[l->at].path) == 0)
			end++;
		int r = put_file(l, end, &b);
		if (r < 0) {
			listing_free(l);
			call_fail(call, r, "cannot read what is in conflict: %s; try `shoal verify`",
				  strerror(-r));
			return;
		}
		l->at = end;
		if (b.len == 0)
			continue;
		l->files++;
		call_result(call, &b, true);
	}
	if (l->at < l->n)
		return;
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_putf(&b, "{\"files\":%llu}", (unsigned long long)l->files);
	listing_free(l);
	call_result(call, &b, false);
}

/* What was saved a moment ago is meant as well. */
static int find(struct daemon *d, const char *path, struct attr *ret, struct err *e)
{
	daemon_settle(d);
	return path_resolve(d->replica, path, ret, e);
}

/* One that is in conflict as well stands there already, or is left out when the listing is sorted. */
static int add_broken(const struct id *id, void *userdata)
{
	return add(userdata, id, NULL, 0);
}

static int gather(struct daemon *d, const char *path, struct listing **ret)
{
	struct listing *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->d = d;
	l->base = path;
	int r = replica_conflicted(d->replica, add_conflicted, l);
	if (r == 0)
		r = replica_contested(d->replica, add_contested, l);
	if (r == 0)
		r = replica_broken(d->replica, add_broken, l);
	if (r < 0) {
		listing_free(l);
		return r;
	}
	if (l->n)
		qsort(l->place, l->n, sizeof(*l->place), place_cmp);
	*ret = l;
	return 0;
}

/* Looking at documents takes time, so it is done in a thread of its own. */
struct gathering {
	struct daemon *d;
	struct call *call; /* the loop's; NULL: the client left */
	char *path;
	int fd;
	sd_event_source *source;
	pthread_t thread;
	struct listing *listing;
	int code;
};

static void gathering_free(struct gathering *g)
{
	sd_event_source_disable_unref(g->source);
	if (g->fd >= 0)
		close(g->fd);
	free(g->path);
	free(g);
}

static void *gather_main(void *userdata)
{
	struct gathering *g = userdata;
	const uint64_t one = 1;
	g->code = gather(g->d, g->path, &g->listing);
	(void)!write(g->fd, &one, sizeof(one));
	return NULL;
}

static void gathering_left(struct call *call, void *userdata)
{
	struct gathering *g = userdata;
	(void)call;
	g->call = NULL;
}

static int on_gathered(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	struct gathering *g = userdata;
	(void)s;
	(void)fd;
	(void)events;
	pthread_join(g->thread, NULL);
	struct call *call = g->call;
	struct listing *l = g->listing;
	int r = g->code;
	g->d->jobs--;
	if (l)
		l->base = ""; /* of the call, which may be over */
	gathering_free(g);
	if (!call) {
		if (l)
			listing_free(l);
	} else if (r < 0) {
		call_fail(call, r, "cannot look for conflicts: %s", strerror(-r));
	} else {
		call_keep(call, conflicts_cancel, conflicts_go_on, l);
		conflicts_go_on(call, l);
	}
	return 0;
}

static int start(struct gathering *g)
{
	g->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->fd < 0)
		return -errno;
	int r = sd_event_add_io(g->d->event, &g->source, g->fd, EPOLLIN, on_gathered, g);
	return r < 0 ? r : -pthread_create(&g->thread, NULL, gather_main, g);
}

void method_conflicts(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "";
	struct err e = { 0 };
	struct attr at;
	struct gathering *g = NULL;
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0)
		r = find(d, path, &at, &e);
	if (r == 0) {
		g = calloc(1, sizeof(*g));
		if (g)
			*g = (struct gathering){ .d = d, .call = call, .path = strdup(path), .fd = -1 };
		r = g && g->path ? start(g) : -ENOMEM;
		if (r < 0)
			err_errno(&e, r, "cannot look for conflicts");
	}
	if (r < 0) {
		if (g)
			gathering_free(g);
		call_error(call, &e);
		return;
	}
	d->jobs++;
	call_keep(call, gathering_left, NULL, g);
}

static int count_one(const struct id *id, void *userdata)
{
	(void)id;
	++*(uint64_t *)userdata;
	return 0;
}

static int count_name(const struct id *shown, const struct id *hidden, uint32_t actor,
		      void *userdata)
{
	(void)hidden;
	(void)actor;
	return count_one(shown, userdata);
}

int conflicts_count(struct daemon *d, uint64_t *ret)
{
	uint64_t n = 0;
	int r = replica_conflicted(d->replica, count_one, &n);
	if (r == 0)
		r = replica_contested(d->replica, count_name, &n);
	if (r == 0)
		*ret = n;
	return r;
}

/* ---- resolve ---- */

static void answer(struct call *call, const char *path, uint32_t settled, const struct attr *at)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonw w;
	char hex[ID_HEX];
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, path);
	jsonw_key(&w, "settled");
	jsonw_uint(&w, settled);
	jsonw_key(&w, "conflict");
	jsonw_bool(&w, at->conflict);
	jsonw_key(&w, "version");
	jsonw_string(&w, id_hex(&at->version, hex));
	jsonw_object_end(&w);
	jsonw_end(&w);
	call_result(call, &b, false);
}

void method_resolve(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = NULL, *pointer = NULL, *take = NULL;
	struct arena *a = call_arena(call);
	struct err e = { 0 };
	struct attr at = { 0 };
	bool keep = false;
	uint32_t settled = 0;
	int r = param_text(a, params, "path", &path, &e);
	if (r == 0)
		r = param_text(a, params, "pointer", &pointer, &e);
	if (r == 0)
		r = param_text(a, params, "take", &take, &e);
	if (r == 0)
		r = param_bool(params, "keep", &keep, &e);
	if (r == 0 && (!path || !take == !keep))
		r = err_set(&e, -EINVAL, "resolve wants a path, and either take or keep");
	if (r == 0)
		r = find(d, path, &at, &e);
	if (r == 0 && at.kind == NODE_DIR)
		r = err_set(&e, -EISDIR, "\"%.120s\" is a directory: name a file", path);
	if (r == 0) {
		r = replica_settle(d->replica, &at.id, pointer, take, &settled, &e);
		if (r < 0)
			err_prefix(&e, "%.80s", path);
	}
	if (r == 0) {
		r = replica_attr(d->replica, &at.id, &at);
		if (r < 0)
			err_errno(&e, r, "cannot look at \"%.120s\"", path);
	}
	if (r < 0)
		call_error(call, &e);
	else
		answer(call, path, settled, &at);
}
