/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `fetch`: brings contents back, some files at a time, and answers when all are here or it is known which cannot
 * be had. Those stay wanted, and come when somebody is met who has them. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

#define AT_A_TIME 16
#define MISSING_SHOWN 100

struct fetching;

struct fetched {
	struct fetching *job;
	struct id id;
	uint64_t ticket;
	bool busy;
	bool done;  /* lock */
	int code;   /* lock */
};

struct fetching {
	struct daemon *d;
	struct call *call;
	struct named files;
	uint32_t at;
	int fd; /* eventfd: some are done */
	sd_event_source *source;
	pthread_mutex_t lock;
	struct fetched slot[AT_A_TIME];
	uint64_t here, came, missing;
	struct buf names; /* of those missing: JSON strings */
	int code;         /* of the last one of these */
};

static void job_free(struct fetching *j)
{
	for (unsigned i = 0; i < AT_A_TIME; i++)
		if (j->slot[i].busy)
			fetch_cancel(j->d->fetches, j->slot[i].ticket);
	sd_event_source_disable_unref(j->source);
	if (j->fd >= 0)
		close(j->fd);
	named_done(&j->files);
	buf_done(&j->names);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

static void cancelled(struct call *c, void *userdata)
{
	(void)c;
	job_free(userdata);
}

/* The loop's thread brings chunks; a thread of FUSE may find that all is here. It cancels in the loop's, too, so
 * the job is there. */
static void on_fetched(int code, void *userdata)
{
	struct fetched *x = userdata;
	const uint64_t one = 1;
	pthread_mutex_lock(&x->job->lock);
	x->done = true;
	x->code = code;
	(void)!write(x->job->fd, &one, sizeof(one));
	pthread_mutex_unlock(&x->job->lock);
}

static void note(struct fetching *j, const struct id *id, int code)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	if (code == 0) {
		j->came++;
		return;
	}
	j->code = code;
	if (j->missing++ >= MISSING_SHOWN || replica_path(j->d->replica, id, &path) < 0)
		return;
	if (j->names.len)
		buf_u8(&j->names, ',');
	json_write_string(&j->names, (const char *)path.data, path.len, JSON_ESCAPE_MINIMAL);
}

/* Begins with the next file; false: there is none. */
static bool next(struct fetching *j, struct fetched *x)
{
	while (j->at < j->files.n) {
		struct err e = { 0 };
		x->id = j->files.id[j->at++];
		if (replica_absence(j->d->replica, &x->id) == ABSENT_NOT) {
			j->here++;
			continue;
		}
		int r = replica_want(j->d->replica, &x->id, &e);
		x->done = false;
		x->busy = true;
		if (r == 0)
			r = fetch_begin(j->d->fetches, &x->id, NULL, 0, UINT64_MAX, on_fetched, x, &x->ticket);
		if (r == 0)
			return true;
		x->busy = false;
		if (r > 0)
			j->here++;
		else
			note(j, &x->id, r);
	}
	return false;
}

static void run(struct fetching *j)
{
	bool busy = false;
	for (unsigned i = 0; i < AT_A_TIME; i++) {
		struct fetched *x = &j->slot[i];
		pthread_mutex_lock(&j->lock);
		bool done = x->busy && x->done;
		int code = x->code;
		pthread_mutex_unlock(&j->lock);
		if (done) {
			x->busy = false;
			note(j, &x->id, code);
		}
		if (!x->busy)
			next(j, x);
		busy |= x->busy;
	}
	if (busy)
		return;
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_putf(&b, "{\"fetched\":%llu,\"here\":%llu,\"missing\":%llu,\"code\":%d,\"away\":[",
		 (unsigned long long)j->came, (unsigned long long)j->here, (unsigned long long)j->missing,
		 -j->code);
	buf_put(&b, j->names.data, j->names.len);
	buf_puts(&b, "]}");
	struct call *c = j->call;
	flusher_kick(j->d->flusher);
	job_free(j);
	call_result(c, &b, false);
}

static int on_some(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	uint64_t count;
	(void)s;
	(void)events;
	(void)!read(fd, &count, sizeof(count));
	run(userdata);
	return 0;
}

static int start(struct fetching *j)
{
	const uint64_t one = 1;
	j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->fd < 0)
		return -errno;
	int r = sd_event_add_io(j->d->event, &j->source, j->fd, EPOLLIN, on_some, j);
	if (r >= 0 && write(j->fd, &one, sizeof(one)) < 0)
		r = -errno;
	return r < 0 ? r : 0;
}

void method_fetch(struct call *c, const struct json *params, void *userdata)
{
	struct err e = { 0 };
	const char **path = NULL;
	uint32_t n = 0;
	struct fetching *j = calloc(1, sizeof(*j));
	if (!j) {
		call_fail(c, -ENOMEM, "out of memory");
		return;
	}
	j->d = userdata;
	j->call = c;
	j->fd = -1;
	pthread_mutex_init(&j->lock, NULL);
	for (unsigned i = 0; i < AT_A_TIME; i++)
		j->slot[i].job = j;
	int r = param_texts(call_arena(c), params, "paths", 4096, &path, &n, &e);
	if (r == 0 && n == 0)
		r = err_set(&e, -EINVAL, "name what is to be fetched");
	if (r == 0)
		r = named_gather(j->d, path, n, &j->files, &e);
	if (r == 0) {
		r = start(j);
		if (r < 0)
			err_errno(&e, r, "cannot fetch");
	}
	if (r < 0) {
		job_free(j);
		call_error(c, &e);
		return;
	}
	call_keep(c, cancelled, NULL, j);
}
