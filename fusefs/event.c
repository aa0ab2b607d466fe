/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/event.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fusefs/event-impl.h"

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
	event_call(s, &(struct job){ .what = JOB_LOOK, .dir = "", .name = name });
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
		if (!dead)
			event_tell(s, e);
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
