/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon says about itself: status, peers, devices. The keys are a contract; shoal(1)
 * lists them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "engine/jsonw.h"
#include "tools/daemon.h"
#include "tools/devices.h"
#include "tools/world.h"

const char *report_time(uint64_t us, char text[static TIME_TEXT_SIZE])
{
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	/* A clock from another planet must not make another format. */
	if (us > UINT64_C(253402300799000000) || !gmtime_r(&s, &tm))
		return NULL;
	size_t n = strftime(text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, TIME_TEXT_SIZE - n, ".%03uZ", (unsigned)(us / 1000 % 1000));
	return text;
}

const char *report_device(struct daemon *d, const struct id *id,
			  char text[static DEVICE_LABEL_SIZE])
{
	struct device met;
	char hex[ID_HEX];
	if (id_equal(id, identity_device(d->identity)))
		snprintf(text, DEVICE_LABEL_SIZE, "%s", identity_device_name(d->identity));
	else if (devices_get(d->replica, id, &met) == 0)
		snprintf(text, DEVICE_LABEL_SIZE, "%s", met.name);
	else
		snprintf(text, DEVICE_LABEL_SIZE, "%.8s", id_hex(id, hex));
	return text;
}

const char *report_address(const struct token_address *a, char text[static ADDRESS_LABEL_SIZE])
{
	bool six = strchr(a->host, ':');
	snprintf(text, ADDRESS_LABEL_SIZE, "%s%s%s:%u", six ? "[" : "", a->host, six ? "]" : "",
		 (unsigned)a->port);
	return text;
}

int path_resolve(struct replica *r, const char *path, struct attr *ret, struct err *e)
{
	struct attr at;
	int code = replica_attr(r, &NODE_ROOT, &at);
	if (code == -ENOENT) { /* a root that nobody wrote to yet has no record */
		at = (struct attr){ .id = NODE_ROOT, .entry = NODE_ROOT, .scope = NODE_ROOT,
				    .kind = NODE_DIR };
		code = 0;
	}
	for (const char *p = path; code == 0 && *p;) {
		size_t n = strcspn(p, "/");
		if (n) {
			struct id parent = at.id;
			code = replica_lookup(r, &parent, p, n, &at);
			if (code < 0)
				break;
		}
		p += n + (p[n] == '/');
		if (*p && at.kind != NODE_DIR)
			code = -ENOENT;
	}
	if (code == -ENOENT)
		return err_set(e, code, "there is no \"%.120s\" in this store", path);
	if (code < 0)
		return err_errno(e, code, "cannot look at \"%.120s\"", path);
	*ret = at;
	return 0;
}

static void put_id(struct jsonw *w, const char *key, const struct id *id)
{
	char hex[ID_HEX];
	jsonw_key(w, key);
	jsonw_string(w, id_hex(id, hex));
}

static void put_text(struct jsonw *w, const char *key, const char *text)
{
	jsonw_key(w, key);
	jsonw_string(w, text);
}

static void put_uint(struct jsonw *w, const char *key, uint64_t v)
{
	jsonw_key(w, key);
	jsonw_uint(w, v);
}

static void put_time(struct jsonw *w, const char *key, uint64_t us)
{
	char text[TIME_TEXT_SIZE];
	jsonw_key(w, key);
	jsonw_string(w, us ? report_time(us, text) : NULL);
}

static const char *phase_name(const struct peer_status *s)
{
	switch (s->session.phase) {
	case SESSION_HELLO:
		return "greeting";
	case SESSION_SYNCING:
		return "syncing";
	case SESSION_LIVE:
		return s->in_step ? "in step" : "live";
	}
	return "";
}

struct peer_list {
	struct daemon *d;
	struct jsonw *w;
};

static int put_peer(const struct peer_status *s, void *userdata)
{
	struct peer_list *list = userdata;
	struct jsonw *w = list->w;
	struct link_info standby;
	char reason[MESH_REASON_SIZE];
	mesh_reason(list->d->mesh, &s->id, reason);
	jsonw_object_begin(w);
	put_text(w, "device", s->name);
	put_id(w, "id", &s->id);
	put_text(w, "role", role_name(s->role));
	put_text(w, "state", phase_name(s));
	put_text(w, "transport", mesh_transport(list->d->mesh, &s->link));
	put_text(w, "reason", reason);
	put_text(w, "address", s->link.remote);
	put_text(w, "standby",
		 mesh_standby(list->d->mesh, &s->id, &standby) ? standby.remote : NULL);
	jsonw_key(w, "dialled");
	jsonw_bool(w, s->link.dialled);
	put_uint(w, "rtt_us", s->session.rtt_us ? s->session.rtt_us : s->link.rtt_us);
	put_uint(w, "rate_out", s->session.rate_out);
	put_uint(w, "rate_in", s->session.rate_in);
	jsonw_key(w, "slow");
	jsonw_bool(w, s->session.slow_out || s->session.slow_in);
	put_uint(w, "bytes_in", s->link.bytes_in);
	put_uint(w, "bytes_out", s->link.bytes_out);
	put_uint(w, "sync_bytes_in", s->session.bytes_in);
	put_uint(w, "sync_bytes_out", s->session.bytes_out);
	put_uint(w, "deltas_in", s->session.deltas_in);
	put_uint(w, "deltas_out", s->session.deltas_out);
	put_uint(w, "behind_here", s->session.behind_here);
	put_uint(w, "behind_there", s->session.behind_there);
	jsonw_key(w, "in_step");
	jsonw_bool(w, s->in_step);
	jsonw_key(w, "copies");
	jsonw_bool(w, s->copies);
	uint64_t since = s->link.since > 0 ? (uint64_t)s->link.since : 0, now = world_boot_us();
	put_uint(w, "connected_s", now > since ? (now - since) / 1000000 : 0);
	jsonw_object_end(w);
	return 0;
}

void report_peers(struct daemon *d, struct buf *out)
{
	struct jsonw w;
	struct peer_list list = { d, &w };
	jsonw_init(&w, out, 0);
	jsonw_array_begin(&w);
	peers_each(d->peers, put_peer, &list);
	jsonw_array_end(&w);
	jsonw_end(&w);
}

struct device_list {
	struct daemon *d;
	struct jsonw *w;
	const struct graph *g;
};

/* Of a device without a link: over which peer it is reached. NULL: it is not. */
static const char *through(struct device_list *l, const struct id *id, char text[static DEVICE_LABEL_SIZE])
{
	for (uint32_t i = 1; l->g && i < l->g->n_devices; i++)
		if (id_equal(&l->g->device[i].id, id)) {
			const uint32_t by = ways_through(l->g, i);
			return by ? report_device(l->d, &l->g->device[by].id, text) : NULL;
		}
	return NULL;
}

/* role NULL: not known. */
static void put_device(struct device_list *l, const struct id *id, const char *name,
		       const char *role, bool self, bool connected, uint64_t seen)
{
	char label[DEVICE_LABEL_SIZE];
	struct jsonw *w = l->w;
	jsonw_object_begin(w);
	put_text(w, "name", name);
	put_id(w, "id", id);
	put_text(w, "role", role);
	jsonw_key(w, "self");
	jsonw_bool(w, self);
	jsonw_key(w, "connected");
	jsonw_bool(w, connected);
	put_text(w, "through", connected ? NULL : through(l, id, label));
	put_time(w, "last_seen", seen);
	jsonw_object_end(w);
}

static int list_device(const struct device *v, void *userdata)
{
	struct device_list *l = userdata;
	if (!id_equal(&v->id, identity_device(l->d->identity)))
		put_device(l, &v->id, v->name, role_name(v->role), false, peers_connected(l->d->peers, &v->id),
			   v->seen_us);
	return 0;
}

void report_devices(struct daemon *d, struct buf *out)
{
	_cleanup_(graph_freep) struct graph *g = NULL;
	struct jsonw w;
	struct device_list l = { .d = d, .w = &w };
	struct timespec now;
	if (peers_graph(d->peers, &g) == 0)
		l.g = g;
	clock_gettime(CLOCK_REALTIME, &now);
	jsonw_init(&w, out, 0);
	jsonw_array_begin(&w);
	put_device(&l, identity_device(d->identity), identity_device_name(d->identity),
		   role_name(identity_role(d->identity)), true, true,
		   (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	devices_each(d->replica, list_device, &l);
	/* Those that others reach and that this one has not met. */
	for (uint32_t i = 1; l.g && i < l.g->n_devices; i++) {
		const struct graph_device *v = &l.g->device[i];
		struct device met;
		if (v->hops > 1 && v->source != GRAPH_NAMED && devices_get(d->replica, &v->id, &met) == -ENOENT)
			put_device(&l, &v->id, v->name, NULL, false, false, 0);
	}
	jsonw_array_end(&w);
	jsonw_end(&w);
}

struct sum {
	uint64_t here, there;
	unsigned live, in_step;
};

static int add_peer(const struct peer_status *s, void *userdata)
{
	struct sum *sum = userdata;
	sum->here += s->session.behind_here;
	sum->there += s->session.behind_there;
	sum->live += s->session.phase == SESSION_LIVE;
	sum->in_step += s->in_step;
	return 0;
}

static int put_lag(const struct peer_status *s, void *userdata)
{
	struct jsonw *w = userdata;
	jsonw_object_begin(w);
	put_text(w, "device", s->name);
	put_id(w, "id", &s->id);
	put_uint(w, "behind_here", s->session.behind_here);
	put_uint(w, "behind_there", s->session.behind_there);
	jsonw_key(w, "in_step");
	jsonw_bool(w, s->in_step);
	jsonw_object_end(w);
	return 0;
}

static void put_sync(struct daemon *d, struct jsonw *w)
{
	struct sum sum = { 0 };
	unsigned n = peers_count(d->peers);
	peers_each(d->peers, add_peer, &sum);
	jsonw_key(w, "sync");
	jsonw_object_begin(w);
	put_text(w, "state", !n ? "alone" : sum.in_step == n ? "in step" : "syncing");
	put_uint(w, "peers", n);
	put_uint(w, "behind_here", sum.here);
	put_uint(w, "behind_there", sum.there);
	jsonw_key(w, "each");
	jsonw_array_begin(w);
	peers_each(d->peers, put_lag, w);
	jsonw_array_end(w);
	jsonw_object_end(w);
}

static int put_draft(const char *path, const struct err *why, void *userdata)
{
	struct jsonw *w = userdata;
	jsonw_object_begin(w);
	put_text(w, "path", path);
	put_text(w, "error", why ? why->message : NULL);
	put_uint(w, "line", why ? why->line : 0);
	put_uint(w, "column", why ? why->column : 0);
	jsonw_object_end(w);
	return 0;
}

static void put_mount(struct daemon *d, struct jsonw *w)
{
	jsonw_key(w, "mount");
	if (!d->fs) {
		jsonw_null(w);
	} else {
		struct fusefs_stats s;
		fusefs_stats(d->fs, &s);
		jsonw_object_begin(w);
		put_text(w, "dir", d->mount_dir);
		put_text(w, "options", d->mount_opts);
		put_uint(w, "open_files", s.handles);
		put_uint(w, "unsaved", s.dirty);
		put_uint(w, "local_files", s.local);
		jsonw_object_end(w);
	}
	jsonw_key(w, "drafts");
	jsonw_array_begin(w);
	if (d->fs)
		fusefs_drafts(d->fs, put_draft, w);
	jsonw_array_end(w);
}

/* The fixed addresses, and how the last attempt went. */
static void put_addresses(struct daemon *d, struct jsonw *w)
{
	struct mesh_fixed f;
	jsonw_key(w, "addresses");
	jsonw_array_begin(w);
	for (unsigned i = 0; mesh_fixed(d->mesh, i, &f) == 0; i++) {
		char text[ADDRESS_LABEL_SIZE];
		jsonw_object_begin(w);
		put_text(w, "address", report_address(&f.address, text));
		jsonw_key(w, "connected");
		jsonw_bool(w, f.connected);
		put_text(w, "error", !f.connected && f.error[0] ? f.error : NULL);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void put_conflicts(struct daemon *d, struct jsonw *w)
{
	uint64_t n;
	jsonw_key(w, "conflicts");
	if (conflicts_count(d, &n) < 0)
		jsonw_null(w);
	else
		jsonw_uint(w, n);
}

#define FETCHING_SHOWN 32

/* Contents that are elsewhere, and those that come. */
static void put_contents(struct daemon *d, struct jsonw *w)
{
	struct id id[FETCHING_SHOWN];
	uint32_t n = fetch_list(d->fetches, id, FETCHING_SHOWN);
	jsonw_key(w, "contents");
	jsonw_object_begin(w);
	put_uint(w, "absent", replica_absents(d->replica));
	put_uint(w, "evicted_for_room", evictor_evicted(d->evictor));
	put_uint(w, "sweeps", sweeper_rounds(d->sweeper));
	put_uint(w, "fetching", fetch_files(d->fetches));
	jsonw_key(w, "files");
	jsonw_array_begin(w);
	for (uint32_t i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf path = { 0 };
		uint64_t here, size;
		if (!fetch_progress(d->fetches, &id[i], &here, &size) ||
		    replica_path(d->replica, &id[i], &path) < 0 || !buf_cstr(&path))
			continue;
		jsonw_object_begin(w);
		put_text(w, "path", buf_cstr(&path));
		put_uint(w, "here", here);
		put_uint(w, "size", size);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
	jsonw_object_end(w);
}

static void put_disk(struct daemon *d, struct jsonw *w)
{
	struct statvfs v;
	jsonw_key(w, "disk");
	jsonw_object_begin(w);
	put_uint(w, "store_bytes", store_size(d->store));
	put_uint(w, "free_bytes", statvfs(storedir_path(d->dir), &v) < 0 ?
					  0 : (uint64_t)v.f_bavail * v.f_frsize);
	jsonw_object_end(w);
}

/* When and by what the store was last found to be one that was copied or brought back. */
static void put_renewed(struct daemon *d, struct jsonw *w)
{
	uint64_t at, now = world_wall_us();
	enum renewal by = replica_renewed(d->replica, &at);
	jsonw_key(w, "renewed");
	if (by == RENEWAL_NONE) {
		jsonw_null(w);
		return;
	}
	jsonw_object_begin(w);
	put_text(w, "by", by == RENEWAL_FENCE ? "copy" : "peer");
	put_time(w, "at", at);
	put_uint(w, "ago_s", now > at ? (now - at) / 1000000 : 0);
	jsonw_object_end(w);
}

void report_status(struct daemon *d, struct buf *out)
{
	struct jsonw w;
	int64_t from, to;
	struct actor_id self;
	char incarnation[9];
	replica_self(d->replica, &self, NULL);
	snprintf(incarnation, sizeof(incarnation), "%08x", self.incarnation);
	jsonw_init(&w, out, 0);
	jsonw_object_begin(&w);
	put_text(&w, "version", PACKAGE_VERSION);
	put_text(&w, "store", storedir_path(d->dir));
	put_uint(&w, "pid", (uint64_t)getpid());
	put_uint(&w, "uptime_s", (world_boot_us() - d->started_us) / 1000000);
	jsonw_key(&w, "mesh");
	jsonw_object_begin(&w);
	put_text(&w, "name", identity_mesh_name(d->identity));
	put_id(&w, "id", identity_mesh(d->identity));
	jsonw_object_end(&w);
	jsonw_key(&w, "device");
	jsonw_object_begin(&w);
	put_text(&w, "name", identity_device_name(d->identity));
	put_id(&w, "id", identity_device(d->identity));
	put_text(&w, "role", role_name(identity_role(d->identity)));
	put_text(&w, "incarnation", incarnation);
	put_renewed(d, &w);
	identity_validity(d->identity, &from, &to);
	put_time(&w, "certificate_until", to > 0 ? (uint64_t)to * 1000000 : 0);
	jsonw_object_end(&w);
	put_mount(d, &w);
	put_uint(&w, "port", mesh_port(d->mesh));
	put_uint(&w, "files", replica_count(d->replica));
	put_conflicts(d, &w);
	put_sync(d, &w);
	put_addresses(d, &w);
	jsonw_key(&w, "durable");
	jsonw_bool(&w, !replica_dirty(d->replica));
	put_contents(d, &w);
	put_disk(d, &w);
	jsonw_object_end(&w);
	jsonw_end(&w);
}
