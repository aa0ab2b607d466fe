/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `verify`: reads the whole store, which takes long, so it has a thread of its own. The thread
 * puts lines into a buffer under a lock; the loop, woken by the job's own eventfd, hands them
 * out. A client that leaves does not stop it: the thread finds nobody listening and ends. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"

#define JOBS_MAX 2
#define PROBLEMS_SHOWN 1000

struct job {
	struct daemon *d;
	struct call *call; /* the loop's; NULL: the client left */
	bool repair;
	int fd;
	sd_event_source *source;
	pthread_t thread;
	pthread_mutex_t lock;
	struct buf problems;  /* lock: JSON texts, each ended by a newline */
	uint64_t n_problems;  /* lock */
	bool done;            /* lock; the rest is final then */
	int code;
	struct err e;
	struct verify_report report;
};

static void signal_loop(struct job *j)
{
	const uint64_t one = 1;
	(void)!write(j->fd, &one, sizeof(one));
}

static void on_problem(const char *problem, void *userdata)
{
	struct job *j = userdata;
	pthread_mutex_lock(&j->lock);
	if (j->n_problems++ < PROBLEMS_SHOWN) {
		buf_puts(&j->problems, "{\"problem\":");
		json_write_string(&j->problems, problem, strlen(problem), JSON_ESCAPE_MINIMAL);
		buf_puts(&j->problems, "}\n");
	}
	pthread_mutex_unlock(&j->lock);
	signal_loop(j);
}

static void *work(void *userdata)
{
	struct job *j = userdata;
	int r = replica_verify(j->d->replica, j->repair, on_problem, j, &j->report, &j->e);
	pthread_mutex_lock(&j->lock);
	j->code = r;
	j->done = true;
	pthread_mutex_unlock(&j->lock);
	signal_loop(j);
	return NULL;
}

static void put_report(const struct verify_report *v, struct buf *b)
{
	buf_putf(b,
		 "{\"records\":%llu,\"dirents\":%llu,\"attrs\":%llu,\"dots\":%llu,\"chunks\":%llu,"
		 "\"versions\":%llu,"
		 "\"unreferenced\":%llu,\"unreferenced_bytes\":%llu,"
		 "\"errors\":%llu,\"repaired\":%llu}",
		 (unsigned long long)v->records, (unsigned long long)v->dirents,
		 (unsigned long long)v->attrs, (unsigned long long)v->dots,
		 (unsigned long long)v->chunks, (unsigned long long)v->versions,
		 (unsigned long long)v->unreferenced,
		 (unsigned long long)v->unreferenced_bytes, (unsigned long long)v->errors,
		 (unsigned long long)v->repaired);
}

static void send_problems(struct job *j, struct buf *lines)
{
	size_t at = 0;
	while (j->call && at < lines->len) {
		const uint8_t *nl = memchr(lines->data + at, '\n', lines->len - at);
		size_t len = (size_t)(nl - (lines->data + at));
		const struct buf line = { .data = lines->data + at, .len = len };
		call_result(j->call, &line, true);
		at += len + 1;
	}
}

static int on_word(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	struct job *j = userdata;
	uint64_t count;
	_cleanup_(buf_done) struct buf lines = { 0 };
	(void)s;
	(void)events;
	(void)!read(fd, &count, sizeof(count));
	pthread_mutex_lock(&j->lock);
	lines = j->problems;
	j->problems = (struct buf){ 0 };
	bool done = j->done;
	pthread_mutex_unlock(&j->lock);
	if (!buf_failed(&lines))
		send_problems(j, &lines);
	if (!done)
		return 0;
	pthread_join(j->thread, NULL);
	if (j->call && j->code < 0) {
		if (!j->e.code)
			err_errno(&j->e, j->code, "cannot check the store");
		call_error(j->call, &j->e);
	} else if (j->call) {
		_cleanup_(buf_done) struct buf b = { 0 };
		put_report(&j->report, &b);
		call_result(j->call, &b, false);
	}
	j->d->jobs--;
	sd_event_source_disable_unref(j->source);
	close(j->fd);
	pthread_mutex_destroy(&j->lock);
	free(j);
	return 0;
}

static void client_left(struct call *c, void *userdata)
{
	struct job *j = userdata;
	(void)c;
	j->call = NULL;
}

static int start(struct job *j)
{
	j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->fd < 0)
		return -errno;
	int r = sd_event_add_io(j->d->event, &j->source, j->fd, EPOLLIN, on_word, j);
	return r < 0 ? r : -pthread_create(&j->thread, NULL, work, j);
}

void method_verify(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct err e = { 0 };
	struct job *j = d->jobs < JOBS_MAX ? calloc(1, sizeof(*j)) : NULL;
	if (!j) {
		call_fail(call, -EBUSY, "the store is being checked already");
		return;
	}
	j->d = d;
	j->call = call;
	j->fd = -1;
	pthread_mutex_init(&j->lock, NULL);
	int r = param_bool(params, "repair", &j->repair, &e);
	if (r == 0) {
		r = start(j);
		if (r < 0)
			err_errno(&e, r, "cannot check the store");
	}
	if (r < 0) {
		sd_event_source_disable_unref(j->source);
		if (j->fd >= 0)
			close(j->fd);
		pthread_mutex_destroy(&j->lock);
		free(j);
		call_error(call, &e);
		return;
	}
	d->jobs++;
	call_keep(call, client_left, NULL, j);
}
