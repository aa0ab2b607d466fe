/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `wait`: answers once enough devices hold what was asked for.
 *
 * What is asked for is a list of nodes, fixed when the request comes (none: everything). For each
 * device that was ever met we go through the list as far as it holds the nodes, and remember the
 * place: once seen held, a node counts, even if it is changed again meanwhile. */
#include <errno.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"
#include "tools/devices.h"

#define WAITS_MAX 256
#define WAIT_NODES_MAX 1000000

struct progress {
	struct id device;
	uint32_t done; /* nodes of the list that it was seen to hold */
};

struct wait {
	struct waits *all;
	struct wait *next;
	struct call *call;
	const char *device;  /* call's arena; NULL: any */
	uint64_t peers, timeout_us;
	struct id *node;     /* n_nodes; n_nodes 0: everything */
	uint32_t n_nodes, cap;
	struct progress *progress;
	uint32_t n_progress;
	sd_event_source *timer;
};

struct waits {
	struct daemon *d;
	struct wait *first;
	unsigned n;
};

static void wait_free(struct wait *w)
{
	for (struct wait **at = &w->all->first; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			w->all->n--;
			break;
		}
	sd_event_source_disable_unref(w->timer);
	free(w->node);
	free(w->progress);
	free(w);
}

static void cancelled(struct call *c, void *userdata)
{
	(void)c;
	wait_free(userdata);
}

static struct progress *progress_of(struct wait *w, const struct id *device)
{
	for (uint32_t i = 0; i < w->n_progress; i++)
		if (id_equal(&w->progress[i].device, device))
			return &w->progress[i];
	struct progress *p = reallocarray(w->progress, w->n_progress + 1u, sizeof(*p));
	if (!p)
		return NULL;
	w->progress = p;
	p[w->n_progress] = (struct progress){ .device = *device };
	return &p[w->n_progress++];
}

static bool holds(struct wait *w, const struct id *device)
{
	struct replica *r = w->all->d->replica;
	struct progress *p = progress_of(w, device);
	if (!p)
		return false;
	if (!w->n_nodes) {
		if (!p->done)
			p->done = replica_peer_holds(r, device, NULL);
		return p->done;
	}
	while (p->done < w->n_nodes && replica_peer_holds(r, device, &w->node[p->done]))
		p->done++;
	return p->done == w->n_nodes;
}

struct check {
	struct wait *w;
	uint64_t n;
	struct jsonw *json; /* NULL: only count */
};

static bool is_named(const struct device *d, const char *name)
{
	char hex[ID_HEX];
	return strcmp(d->name, name) == 0 || strcmp(id_hex(&d->id, hex), name) == 0;
}

static int check_device(const struct device *d, void *userdata)
{
	struct check *c = userdata;
	if (id_equal(&d->id, identity_device(c->w->all->d->identity)) ||
	    (c->w->device && !is_named(d, c->w->device)) || !holds(c->w, &d->id))
		return 0;
	c->n++;
	if (c->json)
		jsonw_string(c->json, d->name);
	return 0;
}

/* True when it is done and answered. */
static bool check(struct wait *w)
{
	struct check c = { .w = w };
	devices_each(w->all->d->replica, check_device, &c);
	if (c.n < w->peers)
		return false;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonw json;
	jsonw_init(&json, &b, 0);
	jsonw_object_begin(&json);
	jsonw_key(&json, "held_by");
	jsonw_array_begin(&json);
	c.json = &json;
	devices_each(w->all->d->replica, check_device, &c);
	jsonw_array_end(&json);
	jsonw_object_end(&json);
	jsonw_end(&json);
	struct call *call = w->call;
	wait_free(w);
	call_result(call, &b, false);
	return true;
}

void waits_check(struct waits *all)
{
	struct wait *next;
	for (struct wait *w = all->first; w; w = next) {
		next = w->next;
		check(w);
	}
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct wait *w = userdata;
	struct check c = { .w = w };
	struct call *call = w->call;
	const char *device = w->device;
	uint64_t peers = w->peers, timeout = w->timeout_us;
	(void)s;
	(void)usec;
	if (check(w))
		return 0;
	devices_each(w->all->d->replica, check_device, &c);
	wait_free(w);
	if (device)
		call_fail(call, -ETIMEDOUT,
			  "%s does not hold everything after %.3g s; `shoal peers` shows who is here",
			  device, (double)timeout / 1e6);
	else
		call_fail(call, -ETIMEDOUT,
			  "%llu of %llu devices hold everything after %.3g s; `shoal peers` shows "
			  "who is here",
			  (unsigned long long)c.n, (unsigned long long)peers,
			  (double)timeout / 1e6);
	return 0;
}

static int add_node(struct wait *w, const struct id *id)
{
	if (w->n_nodes == WAIT_NODES_MAX)
		return -E2BIG;
	if (w->n_nodes == w->cap) {
		uint32_t cap = w->cap ? w->cap * 2 : 64;
		struct id *p = reallocarray(w->node, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		w->node = p;
		w->cap = cap;
	}
	w->node[w->n_nodes++] = *id;
	return 0;
}

static int gather_child(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	(void)name;
	(void)len;
	return add_node(userdata, &attr->id);
}

/* The node and everything below it. Breadth first: the list is its own queue. */
static int gather(struct wait *w, struct replica *r, const struct attr *top)
{
	uint32_t at = w->n_nodes;
	int code = add_node(w, &top->id);
	while (code == 0 && at < w->n_nodes) {
		struct attr attr;
		struct id id = w->node[at++];
		/* What was removed meanwhile is not waited for below, but its removal is. */
		if (replica_attr(r, &id, &attr) < 0 || attr.kind != NODE_DIR)
			continue;
		code = replica_list(r, &id, gather_child, w);
	}
	return code;
}

static int read_params(struct wait *w, const struct json *params, struct err *e)
{
	struct replica *r = w->all->d->replica;
	struct arena *a = call_arena(w->call);
	const char **path = NULL;
	uint32_t n = 0;
	int code = param_texts(a, params, "paths", 4096, &path, &n, e);
	if (code == 0)
		code = param_uint(params, "peers", 65536, &w->peers, e);
	if (code == 0)
		code = param_uint(params, "timeout_us", INT64_MAX, &w->timeout_us, e);
	if (code == 0)
		code = param_text(a, params, "device", &w->device, e);
	for (uint32_t i = 0; code == 0 && i < n; i++) {
		struct attr attr;
		if (!*path[i]) { /* the root: everything, whatever else is named */
			w->n_nodes = 0;
			break;
		}
		code = path_resolve(r, path[i], &attr, e);
		if (code == 0)
			code = gather(w, r, &attr);
		if (code == -E2BIG)
			err_set(e, code, "these are too many files to wait for one by one: wait for all");
		else if (code < 0 && e->code == 0)
			err_errno(e, code, "cannot read %s", path[i]);
	}
	return code;
}

void method_wait(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct waits *all = d->waits;
	struct err e = { 0 };
	struct wait *w = all->n < WAITS_MAX ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		call_fail(c, -EBUSY, "too many others are waiting");
		return;
	}
	*w = (struct wait){ .all = all, .next = all->first, .call = c, .peers = 1 };
	all->first = w;
	all->n++;
	daemon_settle(d);
	int r = read_params(w, params, &e);
	if (r == 0 && w->timeout_us) {
		r = sd_event_add_time_relative(d->event, &w->timer, CLOCK_MONOTONIC, w->timeout_us,
					       1000, on_timeout, w);
		if (r < 0)
			err_errno(&e, r, "cannot wait");
	}
	if (r < 0) {
		wait_free(w);
		call_error(c, &e);
		return;
	}
	call_keep(c, cancelled, NULL, w);
	flusher_kick(d->flusher);
	check(w);
}

int waits_new(struct daemon *d, struct waits **ret, struct err *e)
{
	struct waits *w = calloc(1, sizeof(*w));
	if (!w)
		return err_errno(e, -ENOMEM, "cannot start");
	w->d = d;
	*ret = w;
	return 0;
}

void waits_free(struct waits *w)
{
	if (!w)
		return;
	while (w->first)
		wait_free(w->first);
	free(w);
}
