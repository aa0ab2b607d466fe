/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Shared by the loop and the thread; the last one frees it. */
struct lookup {
	atomic_uint refs;
	int eventfd;
	int rc; /* of getaddrinfo */
	unsigned n;
	struct address address[RESOLVE_MAX];
	char port[8];
	char host[];
};

struct resolve {
	struct lookup *lookup;
	sd_event_source *source;
	resolve_fn *fn;
	void *user;
};

static void lookup_unref(struct lookup *l)
{
	if (atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	close(l->eventfd);
	free(l);
}

static int ask(struct lookup *l, int flags)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(l->host, l->port, &hints, &list);
	if (rc != 0)
		return rc;
	for (struct addrinfo *i = list; i && l->n < RESOLVE_MAX; i = i->ai_next)
		if (address_from(i->ai_addr, i->ai_addrlen, &l->address[l->n]) == 0)
			l->n++;
	freeaddrinfo(list);
	return l->n ? 0 : EAI_NODATA;
}

static void signal_done(struct lookup *l)
{
	/* Cannot be full: it is written once. */
	ssize_t n = write(l->eventfd, &(uint64_t){ 1 }, sizeof(uint64_t));
	(void)n;
}

static void *thread(void *arg)
{
	struct lookup *l = arg;
	l->rc = ask(l, AI_ADDRCONFIG);
	signal_done(l);
	lookup_unref(l);
	return NULL;
}

static int start_thread(struct lookup *l)
{
	pthread_attr_t attr;
	pthread_t id;
	sigset_t all, old;
	int r = pthread_attr_init(&attr);
	if (r != 0)
		return -r;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, (size_t)256 * 1024);
	/* Signals are for the threads that know what to do with them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_fetch_add(&l->refs, 1);
	r = pthread_create(&id, &attr, thread, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r != 0)
		atomic_fetch_sub(&l->refs, 1);
	return -r;
}

static int on_done(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct resolve *r = user;
	struct lookup *l = r->lookup;
	(void)events;
	(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
	/* What the thread wrote before it wrote here is ours to read. */
	uint64_t count;
	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	struct err why = { 0 };
	if (l->rc != 0)
		err_set(&why, l->rc == EAI_AGAIN ? -EAGAIN : -EHOSTUNREACH,
			"the name %.100s is not known: %s", l->host, gai_strerror(l->rc));
	r->fn(l->address, l->rc == 0 ? l->n : 0, &why, r->user);
	return 0;
}

int resolve_new(sd_event *event, const char *host, uint16_t port, resolve_fn *fn, void *user,
		struct resolve **ret, struct err *e)
{
	size_t len = strlen(host);
	_cleanup_(resolve_freep) struct resolve *r = calloc(1, sizeof(*r));
	struct lookup *l = calloc(1, sizeof(*l) + len + 1);
	if (!r || !l) {
		free(l);
		return err_set(e, -ENOMEM, "out of memory");
	}
	atomic_init(&l->refs, 1);
	memcpy(l->host, host, len + 1);
	snprintf(l->port, sizeof(l->port), "%u", port);
	r->lookup = l;
	r->fn = fn;
	r->user = user;
	l->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->eventfd < 0)
		return err_errno(e, -errno, "cannot look up %.100s", host);
	int rc = sd_event_add_io(event, &r->source, l->eventfd, EPOLLIN, on_done, r);
	if (rc < 0)
		return err_errno(e, rc, "cannot look up %.100s", host);
	l->rc = ask(l, AI_NUMERICHOST);
	if (l->rc == EAI_NONAME) {
		rc = start_thread(l);
		if (rc < 0)
			return err_errno(e, rc, "cannot look up %.100s", host);
	} else {
		signal_done(l);
	}
	*ret = TAKE_PTR(r);
	return 0;
}

void resolve_free(struct resolve *r)
{
	if (!r)
		return;
	sd_event_source_disable_unref(r->source);
	if (r->lookup) {
		if (r->lookup->eventfd < 0)
			free(r->lookup);
		else
			lookup_unref(r->lookup);
	}
	free(r);
}
