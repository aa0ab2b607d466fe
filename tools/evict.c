/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Evicting contents: because somebody asked for it, or because the disk is nearly full. Both go in
 * batches: the files begin to leave, all devices that are here are asked whether they hold them, and those go
 * that one of them holds (shoal-protocol(7), "Who holds contents"). A batch is done with in one turn of the
 * loop, but for the wait for answers. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

#define ANSWER_US (10ull * 1000 * 1000)
#define LOOK_US (5ull * 1000 * 1000) /* between two looks at the disk */
#define SETTLED_US (60ull * 1000 * 1000) /* so long at most the room is waited for that was given up */
#define WALK_STEP 4096               /* files looked at in one turn */
#define OLDEST 256                   /* files that go in one go */
#define REFUSED_SHOWN 100
#define JOBS_MAX 16

struct leaving {
	struct id id;
	struct blob_ref *ref; /* arena */
	uint32_t n, first;    /* bits of an answer */
	bool held;
};

struct evicting {
	struct evictor *all;
	struct evicting *next;
	struct call *call;  /* NULL: the disk is nearly full, or the client left */
	struct named files;
	uint32_t at;
	struct arena arena; /* of the batch */
	struct leaving leaving[FRAME_HOLDS_MAX];
	uint32_t n_leaving;
	unsigned awaited;   /* answers */
	sd_event_source *timer;
	sd_event_source *turn;
	uint64_t evicted, bytes, absent, refused;
	struct buf names;   /* of those refused: JSON strings */
};

struct old {
	struct id id;
	uint64_t when, size;
};

struct evictor {
	struct daemon *d;
	struct evicting *first;
	unsigned n;
	sd_event_source *timer;
	sd_event_source *walk;
	struct evicting *pressed; /* the one for the disk's sake */
	struct id place;          /* of the walk */
	struct old old[OLDEST];   /* the longest unread so far, the latest of them first: a heap */
	uint32_t n_old;
	uint64_t wanted;          /* bytes */
	uint64_t evicted;         /* files */
	uint64_t swept, since;    /* sweeps when the last ones went, and when that was */
	bool waits, told;
};

static uint64_t now_us(struct evictor *v)
{
	uint64_t t = 0;
	sd_event_now(v->d->event, CLOCK_MONOTONIC, &t);
	return t;
}

/* ---- a batch ---- */

static void job_free(struct evicting *j)
{
	for (struct evicting **at = &j->all->first; *at; at = &(*at)->next)
		if (*at == j) {
			*at = j->next;
			j->all->n--;
			break;
		}
	if (j->all->pressed == j)
		j->all->pressed = NULL;
	if (j->all->d->peers)
		peers_ask_no_more(j->all->d->peers, j);
	for (uint32_t i = 0; i < j->n_leaving; i++)
		replica_stay(j->all->d->replica, &j->leaving[i].id);
	sd_event_source_disable_unref(j->timer);
	sd_event_source_disable_unref(j->turn);
	named_done(&j->files);
	arena_done(&j->arena);
	buf_done(&j->names);
	free(j);
}

static void refuse(struct evicting *j, const struct id *id)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	if (j->refused++ >= REFUSED_SHOWN || replica_path(j->all->d->replica, id, &path) < 0)
		return;
	if (j->names.len)
		buf_u8(&j->names, ',');
	json_write_string(&j->names, (const char *)path.data, path.len, JSON_ESCAPE_MINIMAL);
}

static void job_done(struct evicting *j)
{
	struct evictor *v = j->all;
	struct daemon *d = v->d;
	if (j->evicted > 0) {
		v->swept = sweeper_rounds(d->sweeper);
		v->since = now_us(v);
		v->waits = true;
		flusher_kick(d->flusher);
		sweeper_kick(d->sweeper);
	}
	if (v->pressed == j) {
		v->evicted += j->evicted;
		if (j->evicted > 0)
			log_info(d->log, "the disk is nearly full: evicted %llu files that others hold, %llu bytes",
				 (unsigned long long)j->evicted, (unsigned long long)j->bytes);
		else if (!v->told)
			log_warning(d->log, "the disk is nearly full, and no device that is here holds what "
					    "could be evicted");
		v->told = j->evicted == 0;
	} else if (j->call) {
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_putf(&b, "{\"evicted\":%llu,\"bytes\":%llu,\"absent\":%llu,\"refused\":%llu,\"stay\":[",
			 (unsigned long long)j->evicted, (unsigned long long)j->bytes,
			 (unsigned long long)j->absent, (unsigned long long)j->refused);
		buf_put(&b, j->names.data, j->names.len);
		buf_puts(&b, "]}");
		call_result(j->call, &b, false);
	}
	job_free(j);
}

/* All have answered, or time is over. */
static void batch_decide(struct evicting *j)
{
	struct daemon *d = j->all->d;
	for (uint32_t i = 0; i < j->n_leaving; i++) {
		const struct leaving *l = &j->leaving[i];
		struct err e = { 0 };
		if (!l->held) {
			replica_stay(d->replica, &l->id);
			refuse(j, &l->id);
			continue;
		}
		if (replica_left(d->replica, &l->id, l->ref, l->n, &e) < 0) {
			log_debug(d->log, "a file stays: %s", e.message);
			refuse(j, &l->id);
			continue;
		}
		j->evicted++;
		for (uint32_t k = 0; k < l->n; k++)
			j->bytes += l->ref[k].size;
		if (d->fs)
			fusefs_evicted(d->fs, &l->id);
	}
	j->n_leaving = 0;
	arena_reset(&j->arena);
	sd_event_source_set_enabled(j->timer, SD_EVENT_OFF);
	sd_event_source_set_enabled(j->turn, SD_EVENT_ONESHOT);
}

static void on_answer(const struct id *device, uint64_t bits, bool gone, void *userdata)
{
	struct evicting *j = userdata;
	(void)device;
	(void)gone;
	for (uint32_t i = 0; i < j->n_leaving; i++) {
		struct leaving *l = &j->leaving[i];
		uint64_t mine = (l->n < 64 ? (UINT64_C(1) << l->n) - 1 : UINT64_MAX) << l->first;
		l->held |= (bits & mine) == mine;
	}
	if (--j->awaited == 0)
		batch_decide(j);
}

static int on_late(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct evicting *j = userdata;
	(void)s;
	(void)usec;
	peers_ask_no_more(j->all->d->peers, j);
	j->awaited = 0;
	batch_decide(j);
	return 0;
}

/* The next files begin to leave. */
static uint32_t batch_fill(struct evicting *j, struct holding h[static FRAME_HOLDS_MAX])
{
	struct replica *r = j->all->d->replica;
	uint32_t n = 0;
	for (; j->at < j->files.n && n < FRAME_HOLDS_MAX; j->at++) {
		struct leaving *l = &j->leaving[j->n_leaving];
		*l = (struct leaving){ .id = j->files.id[j->at], .first = n };
		int rc = replica_leave(r, &l->id, &j->arena, &l->ref, &l->n);
		if (rc == -EALREADY)
			j->absent++;
		else if (rc == -EBUSY || rc == -ENOMEM)
			refuse(j, &l->id);
		if (rc < 0)
			continue;
		if (l->n > FRAME_HOLDS_MAX - n) {
			/* The next batch has room, if any has. */
			replica_stay(r, &l->id);
			if (n > 0)
				break;
			refuse(j, &l->id);
			continue;
		}
		for (uint32_t k = 0; k < l->n; k++)
			h[n++] = (struct holding){ l->id, l->ref[k] };
		j->n_leaving++;
	}
	return n;
}

static int on_turn(sd_event_source *s, void *userdata)
{
	struct holding h[FRAME_HOLDS_MAX];
	struct evicting *j = userdata;
	struct evictor *v = j->all;
	(void)s;
	uint32_t n = batch_fill(j, h);
	/* Whoever asked has left: what is not decided stays. */
	if (n == 0 || (!j->call && v->pressed != j)) {
		job_done(j);
		return 0;
	}
	j->awaited = peers_ask(v->d->peers, NULL, h, n, on_answer, j);
	if (j->awaited == 0) {
		batch_decide(j);
		return 0;
	}
	sd_event_source_set_time_relative(j->timer, ANSWER_US);
	sd_event_source_set_enabled(j->timer, SD_EVENT_ONESHOT);
	return 0;
}

static int job_new(struct evictor *v, struct evicting **ret)
{
	struct evicting *j = v->n < JOBS_MAX ? calloc(1, sizeof(*j)) : NULL;
	if (!j)
		return v->n < JOBS_MAX ? -ENOMEM : -EBUSY;
	j->all = v;
	j->next = v->first;
	v->first = j;
	v->n++;
	int r = sd_event_add_time(v->d->event, &j->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_late, j);
	if (r >= 0)
		r = sd_event_source_set_enabled(j->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(v->d->event, &j->turn, on_turn, j);
	if (r < 0) {
		job_free(j);
		return r;
	}
	*ret = j;
	return 0;
}

/* ---- asked for ---- */

static void client_left(struct call *c, void *userdata)
{
	struct evicting *j = userdata;
	(void)c;
	j->call = NULL;
}

void method_evict(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct evicting *j = NULL;
	struct err e = { 0 };
	const char **path = NULL;
	uint32_t n = 0;
	int r = param_texts(call_arena(c), params, "paths", 4096, &path, &n, &e);
	if (r == 0 && n == 0)
		r = err_set(&e, -EINVAL, "name what is to be evicted");
	daemon_settle(d);
	if (r == 0) {
		r = job_new(d->evictor, &j);
		if (r < 0)
			err_errno(&e, r, "cannot evict");
	}
	if (r == 0)
		r = named_gather(d, path, n, &j->files, &e);
	if (r < 0 || !j) {
		if (j)
			job_free(j);
		call_error(c, &e);
		return;
	}
	j->call = c;
	call_keep(c, client_left, NULL, j);
}

/* ---- for want of room ---- */

static void swap(struct old *x, struct old *y)
{
	struct old z = *x;
	*x = *y;
	*y = z;
}

static void sift_down(struct old *heap, uint32_t n, uint32_t i)
{
	for (;;) {
		uint32_t k = 2 * i + 1;
		if (k >= n)
			return;
		if (k + 1 < n && heap[k + 1].when > heap[k].when)
			k++;
		if (heap[i].when >= heap[k].when)
			return;
		swap(&heap[i], &heap[k]);
		i = k;
	}
}

static void keep_oldest(const struct attr *at, uint64_t read_us, void *userdata)
{
	struct evictor *v = userdata;
	const struct old x = { at->id, read_us, at->stored };
	if (v->n_old < OLDEST) {
		uint32_t i = v->n_old++;
		v->old[i] = x;
		for (; i > 0 && v->old[(i - 1) / 2].when < v->old[i].when; i = (i - 1) / 2)
			swap(&v->old[i], &v->old[(i - 1) / 2]);
	} else if (x.when < v->old[0].when) {
		v->old[0] = x;
		sift_down(v->old, v->n_old, 0);
	}
}

/* They go, the longest unread first, as many as it takes. */
static void press(struct evictor *v)
{
	struct evicting *j;
	uint64_t bytes = 0;
	if (v->n_old == 0 || job_new(v, &j) < 0)
		return;
	j->files.id = calloc(v->n_old, sizeof(*j->files.id));
	if (!j->files.id) {
		job_free(j);
		return;
	}
	for (uint32_t n = v->n_old; n > 1;) {
		swap(&v->old[0], &v->old[--n]);
		sift_down(v->old, n, 0);
	}
	for (uint32_t i = 0; i < v->n_old && bytes < v->wanted; i++) {
		j->files.id[j->files.n++] = v->old[i].id;
		bytes += v->old[i].size;
	}
	v->pressed = j;
}

static int on_walk(sd_event_source *s, void *userdata)
{
	struct evictor *v = userdata;
	int more = replica_walk_blobs(v->d->replica, &v->place, WALK_STEP, keep_oldest, v);
	if (more > 0)
		return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	if (more == 0)
		press(v);
	return 0;
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct evictor *v = userdata;
	const uint64_t least = config_number(&v->d->config, CONFIG_MIN_FREE);
	struct statvfs st;
	int walking = SD_EVENT_OFF;
	(void)usec;
	sd_event_source_set_time_relative(s, LOOK_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	sd_event_source_get_enabled(v->walk, &walking);
	/* What went last has to be swept before it counts. */
	if (v->waits && (sweeper_rounds(v->d->sweeper) > v->swept || now_us(v) > v->since + SETTLED_US))
		v->waits = false;
	if (least == 0 || v->pressed || walking != SD_EVENT_OFF || v->waits ||
	    fstatvfs(storedir_fd(v->d->dir), &st) < 0)
		return 0;
	const uint64_t avail = (uint64_t)st.f_bavail * st.f_frsize;
	if (avail >= least) {
		v->told = false;
		return 0;
	}
	if (peers_count(v->d->peers) == 0)
		return 0;
	v->wanted = least - avail;
	v->n_old = 0;
	v->place = (struct id){ 0 };
	return sd_event_source_set_enabled(v->walk, SD_EVENT_ONESHOT);
}

uint64_t evictor_evicted(const struct evictor *v)
{
	return v->evicted;
}

int evictor_new(struct daemon *d, struct evictor **ret, struct err *e)
{
	struct evictor *v = calloc(1, sizeof(*v));
	int r = v ? 0 : -ENOMEM;
	if (r == 0) {
		v->d = d;
		r = sd_event_add_time_relative(d->event, &v->timer, CLOCK_MONOTONIC, LOOK_US, 100000,
					       on_look, v);
	}
	if (r >= 0)
		r = sd_event_add_defer(d->event, &v->walk, on_walk, v);
	if (r >= 0)
		r = sd_event_source_set_enabled(v->walk, SD_EVENT_OFF);
	if (r < 0) {
		evictor_free(v);
		return err_errno(e, r, "cannot start");
	}
	*ret = v;
	return 0;
}

void evictor_free(struct evictor *v)
{
	if (!v)
		return;
	while (v->first)
		job_free(v->first);
	sd_event_source_disable_unref(v->timer);
	sd_event_source_disable_unref(v->walk);
	free(v);
}
