/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `wait`: answers once enough devices hold what was asked for.
 *
 * What is asked for is a cut (engine/replica.h), fixed when the request comes: what is written
 * later is not waited for, so a wait ends though the writing does not. A device that has said that contents are
 * missing there is asked, file by file, whether it holds those that are here (shoal-protocol(7)). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonw.h"
#include "engine/replica-cut.h"
#include "tools/control.h"
#include "tools/daemon.h"
#include "tools/devices.h"

#define WAITS_MAX 256
#define WAIT_NODES_MAX 1000000

#define AGAIN_US (500 * 1000) /* between two questions that were answered with no */

/* How far one device has said that it holds the contents. */
struct contents {
	struct wait *w;
	struct contents *next;
	struct id device;
	uint32_t at, upto; /* in w->files: all before `at` it holds; those from there on are asked for */
	bool asked, done;
	uint64_t again_us;
	uint64_t bits;     /* of an answer that is all yes */
};

struct wait {
	struct waits *all;
	struct wait *next;
	struct call *call;
	const char *device;  /* call's arena; NULL: any */
	uint64_t peers, timeout_us;
	struct cut *cut;
	const char **path; /* call's arena */
	uint32_t n_paths;  /* 0: all */
	bool listed;       /* files is complete */
	struct named files;
	struct contents *contents;
	sd_event_source *timer;
};

struct waits {
	struct daemon *d;
	sd_event_source *again;
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
	while (w->contents) {
		struct contents *x = w->contents;
		w->contents = x->next;
		peers_ask_no_more(w->all->d->peers, x);
		free(x);
	}
	named_done(&w->files);
	sd_event_source_disable_unref(w->timer);
	cut_free(w->cut);
	free(w);
}

/* ---- contents ---- */

static uint64_t now_us(struct waits *all)
{
	uint64_t t = 0;
	sd_event_now(all->d->event, CLOCK_MONOTONIC, &t);
	return t;
}

static void ask_later(struct waits *all)
{
	int on = SD_EVENT_OFF;
	sd_event_source_get_enabled(all->again, &on);
	if (on != SD_EVENT_OFF)
		return;
	sd_event_source_set_time_relative(all->again, AGAIN_US);
	sd_event_source_set_enabled(all->again, SD_EVENT_ONESHOT);
}

static void on_held(const struct id *device, uint64_t bits, bool gone, void *userdata)
{
	struct contents *x = userdata;
	(void)device;
	x->asked = false;
	if (!gone && bits == x->bits)
		x->at = x->upto;
	else
		x->again_us = now_us(x->w->all) + AGAIN_US;
	/* What comes of it is looked at when the loop gets to it: the session is in the middle of something. */
	ask_later(x->w->all);
}

/* The contents of the next files. 0: there are none. */
static uint32_t next_contents(struct wait *w, struct contents *x, struct holding h[static FRAME_HOLDS_MAX])
{
	struct replica *r = w->all->d->replica;
	uint32_t n = 0;
	for (x->upto = x->at; x->upto < w->files.n; x->upto++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		const struct id *id = &w->files.id[x->upto];
		struct blob_ref *ref;
		uint32_t n_refs;
		/* What is not here is not waited for, nor what was deleted meanwhile. */
		if (replica_absence(r, id) != ABSENT_NOT || replica_blobs(r, id, &a, &ref, &n_refs) < 0 ||
		    n_refs > FRAME_HOLDS_MAX)
			continue;
		if (n_refs > FRAME_HOLDS_MAX - n)
			break;
		for (uint32_t i = 0; i < n_refs; i++)
			h[n++] = (struct holding){ *id, ref[i] };
	}
	return n;
}

static void ask_contents(struct contents *x)
{
	struct holding h[FRAME_HOLDS_MAX];
	struct wait *w = x->w;
	struct peers *peers = w->all->d->peers;
	if (x->asked || now_us(w->all) < x->again_us || !peers_connected(peers, &x->device)) {
		ask_later(w->all);
		return;
	}
	uint32_t n = next_contents(w, x, h);
	x->done = n == 0;
	if (n == 0)
		return;
	x->bits = n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
	x->asked = true;
	x->again_us = 0;
	if (peers_ask(peers, &x->device, h, n, on_held, x) == 0) {
		x->asked = false;
		ask_later(w->all);
	}
}

static int list_files(struct wait *w)
{
	static const char *root[] = { "" };
	struct err e = { 0 };
	int r = w->listed ? 0 :
		named_gather(w->all->d, w->n_paths ? w->path : root, w->n_paths ? w->n_paths : 1, &w->files, &e);
	w->listed = r == 0;
	return r;
}

/* As far as it has said. */
static bool contents_held(struct wait *w, const struct id *device)
{
	struct contents *x = w->contents;
	if (!replica_peer_partial(w->all->d->replica, device))
		return true;
	while (x && !id_equal(&x->device, device))
		x = x->next;
	if (!x && list_files(w) == 0)
		x = calloc(1, sizeof(*x));
	if (!x)
		return false;
	if (!x->w) {
		*x = (struct contents){ .w = w, .next = w->contents, .device = *device };
		w->contents = x;
	}
	if (!x->done)
		ask_contents(x);
	return x->done;
}

static void cancelled(struct call *c, void *userdata)
{
	(void)c;
	wait_free(userdata);
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
	    (c->w->device && !is_named(d, c->w->device)) || !cut_held(c->w->cut, &d->id) ||
	    !contents_held(c->w, &d->id))
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

/* Only the device itself says what it holds, and not every one has a link to this one. */
static bool lacks(const struct id *device, void *userdata)
{
	struct wait *w = userdata;
	return !cut_held(w->cut, device) || replica_peer_partial(w->all->d->replica, device);
}

/* at_once: those that are connected may do, if they are as many as are waited for. */
static void need_links(struct wait *w, bool at_once)
{
	struct daemon *d = w->all->d;
	if (at_once && !w->device && w->peers <= peers_count(d->peers)) {
		ask_later(w->all);
		return;
	}
	if (ways_need(d, w->device, lacks, w))
		ask_later(w->all);
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

/* What a person may have meant: names as far as there is room. */
struct known {
	struct wait *w;
	bool found;
	char names[100];
	size_t len;
	unsigned more;
};

static int known_device(const struct device *d, void *userdata)
{
	struct known *k = userdata;
	size_t len = strlen(d->name), comma = k->len ? 2 : 0;
	if (id_equal(&d->id, identity_device(k->w->all->d->identity)))
		return 0;
	k->found |= is_named(d, k->w->device);
	if (k->more || k->len + comma + len >= sizeof(k->names)) {
		k->more++;
		return 0;
	}
	memcpy(k->names + k->len, ", ", comma);
	memcpy(k->names + k->len + comma, d->name, len + 1);
	k->len += comma + len;
	return 0;
}

/* One that others reach may have that name, though this device has not met it. */
static bool is_reached(struct daemon *d, const char *name)
{
	_cleanup_(graph_freep) struct graph *g = NULL;
	if (peers_graph(d->peers, &g) < 0)
		return false;
	for (uint32_t i = 1; i < g->n_devices; i++)
		if (ways_named(d, &g->device[i], name))
			return true;
	return false;
}

/* A device that is away may come back. One that this one never met may be a slip of the finger, and
 * would be waited for in vain. */
static int check_known(struct wait *w, struct err *e)
{
	struct daemon *d = w->all->d;
	struct known k = { .w = w };
	struct device self = { .id = *identity_device(d->identity) };
	char more[32] = "";
	snprintf(self.name, sizeof(self.name), "%s", identity_device_name(d->identity));
	devices_each(d->replica, known_device, &k);
	if (k.found || is_reached(d, w->device))
		return 0;
	if (is_named(&self, w->device))
		return err_set(e, -EINVAL, "\"%.64s\" is this device, which holds everything: name another",
			       w->device);
	if (!k.len)
		return err_set(e, -ENODEV, "there is no device \"%.64s\": this one has met no other; see "
					   "`shoal devices`", w->device);
	if (k.more)
		snprintf(more, sizeof(more), " and %u more", k.more);
	return err_set(e, -ENODEV, "there is no device \"%.64s\"; `shoal devices` lists those that are "
				   "known: %s%s", w->device, k.names, more);
}

static int gather_paths(struct wait *w, const char **path, uint32_t n, struct err *e)
{
	struct replica *r = w->all->d->replica;
	uint32_t left = WAIT_NODES_MAX;
	int code = 0;
	for (uint32_t i = 0; code == 0 && i < n; i++) {
		struct attr attr;
		code = path_resolve(r, path[i], &attr, e);
		if (code == 0)
			code = cut_tree(w->cut, r, &attr, &left, NULL);
		if (code == -E2BIG)
			err_set(e, code, "these are too many files to wait for one by one: wait for all");
		else if (code < 0 && e->code == 0)
			err_errno(e, code, "cannot read %s", path[i]);
	}
	return code;
}

static int read_params(struct wait *w, const struct json *params, struct err *e)
{
	struct arena *a = call_arena(w->call);
	const char **path = NULL;
	uint32_t n = 0;
	bool all;
	int code = param_texts(a, params, "paths", 4096, &path, &n, e);
	if (code == 0)
		code = param_uint(params, "peers", 65536, &w->peers, e);
	if (code == 0)
		code = param_uint(params, "timeout_us", INT64_MAX, &w->timeout_us, e);
	if (code == 0)
		code = param_text(a, params, "device", &w->device, e);
	if (code == 0 && w->device)
		code = check_known(w, e);
	if (code < 0)
		return code;
	code = cut_new(w->all->d->replica, &w->cut);
	if (code < 0)
		return err_errno(e, code, "cannot wait");
	all = n == 0;
	for (uint32_t i = 0; i < n; i++)
		all |= !*path[i]; /* the root: everything, whatever else is named */
	if (!all) {
		w->path = path;
		w->n_paths = n;
	}
	if (!all)
		return gather_paths(w, path, n, e);
	code = cut_all(w->cut);
	return code < 0 ? err_errno(e, code, "cannot wait") : 0;
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
	if (!check(w))
		need_links(w, true);
}

static int on_again(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct waits *all = userdata;
	(void)s;
	(void)usec;
	waits_check(all);
	for (struct wait *w = all->first; w; w = w->next)
		need_links(w, false);
	return 0;
}

int waits_new(struct daemon *d, struct waits **ret, struct err *e)
{
	struct waits *w = calloc(1, sizeof(*w));
	if (!w)
		return err_errno(e, -ENOMEM, "cannot start");
	w->d = d;
	int r = sd_event_add_time(d->event, &w->again, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_again, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->again, SD_EVENT_OFF);
	if (r < 0) {
		waits_free(w);
		return err_errno(e, r, "cannot start");
	}
	*ret = w;
	return 0;
}

void waits_free(struct waits *w)
{
	if (!w)
		return;
	while (w->first)
		wait_free(w->first);
	sd_event_source_disable_unref(w->again);
	free(w);
}
