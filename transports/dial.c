/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/dial.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/l2cap.h"
#include "transports/resolve.h"
#include "transports/tcp.h"

#define STAGGER_US ((uint64_t)250000)

struct attempt {
	struct dial *dial;
	int fd;
	sd_event_source *source;
	struct address address;
};

struct dial {
	sd_event *event;
	struct resolve *resolve;
	sd_event_source *stagger;
	sd_event_source *deadline;
	const struct address *local; /* NULL: any */
	struct address from;
	dial_fn *fn;
	void *user;
	struct err why; /* of the last failure */
	unsigned n;     /* addresses */
	unsigned next;  /* to be tried */
	unsigned live;  /* attempts under way */
	bool done;
	struct address address[RESOLVE_MAX];
	struct attempt attempt[RESOLVE_MAX];
};

static void attempt_done(struct attempt *a)
{
	a->source = sd_event_source_disable_unref(a->source);
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

void dial_free(struct dial *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < RESOLVE_MAX; i++)
		attempt_done(&d->attempt[i]);
	resolve_free(d->resolve);
	sd_event_source_disable_unref(d->stagger);
	sd_event_source_disable_unref(d->deadline);
	sd_event_unref(d->event);
	free(d);
}

/* The one callback; d may be gone after it. */
static void conclude(struct dial *d, struct wire *wire, const struct address *remote)
{
	struct err why = d->why;
	if (d->done) {
		wire_free(wire);
		return;
	}
	d->done = true;
	for (unsigned i = 0; i < RESOLVE_MAX; i++)
		attempt_done(&d->attempt[i]);
	(void)sd_event_source_set_enabled(d->stagger, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(d->deadline, SD_EVENT_OFF);
	d->fn(wire, remote, wire ? NULL : &why, d->user);
}

static void attempt_failed(struct attempt *a, int code)
{
	char text[ADDRESS_TEXT];
	err_errno(&a->dial->why, code, "%s", address_text(&a->address, text));
	attempt_done(a);
	a->dial->live--;
}

/* Starts the next attempt, or the one after it when that fails at once. */
static void advance(struct dial *d);

static int on_connected(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct attempt *a = user;
	struct dial *d = a->dial;
	int code = 0;
	socklen_t len = sizeof(code);
	(void)s, (void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	struct wire *wire = NULL;
	if (code == 0) {
		struct address remote = a->address;
		a->source = sd_event_source_disable_unref(a->source);
		listener_wire_fn *make = remote.sa.sa_family == AF_BLUETOOTH ? l2cap_wire_new : tcp_wire_new;
		int r = make(d->event, TAKE_FD(a->fd), &remote, &wire, &d->why);
		if (r == 0) {
			conclude(d, wire, &remote);
			return 0;
		}
		code = -r;
	}
	attempt_failed(a, -code);
	advance(d);
	return 0;
}

static int attempt_start(struct attempt *a)
{
	if (a->address.sa.sa_family == AF_BLUETOOTH) {
		/* What goes out by which adapter has to be said. */
		int r = a->dial->local ? l2cap_socket(a->dial->local) : -EADDRNOTAVAIL;
		if (r < 0)
			return r;
		a->fd = r;
	} else {
		a->fd = socket(a->address.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	}
	if (a->fd < 0)
		return -errno;
	if (connect(a->fd, &a->address.sa, address_len(&a->address)) < 0 && errno != EINPROGRESS)
		return -errno;
	return sd_event_add_io(a->dial->event, &a->source, a->fd, EPOLLOUT, on_connected, a);
}

static void advance(struct dial *d)
{
	while (d->next < d->n) {
		struct attempt *a = &d->attempt[d->next];
		a->address = d->address[d->next++];
		d->live++;
		int r = attempt_start(a);
		if (r >= 0) {
			(void)sd_event_source_set_time_relative(d->stagger, STAGGER_US);
			(void)sd_event_source_set_enabled(d->stagger, SD_EVENT_ONESHOT);
			return;
		}
		attempt_failed(a, r);
	}
	if (d->live == 0)
		conclude(d, NULL, NULL);
}

static int on_stagger(sd_event_source *s, uint64_t usec, void *user)
{
	struct dial *d = user;
	(void)s, (void)usec;
	if (d->n > 0 && d->next < d->n)
		advance(d);
	else if (d->n > 0 && d->live == 0)
		conclude(d, NULL, NULL);
	return 0;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *user)
{
	struct dial *d = user;
	(void)s, (void)usec;
	char text[ADDRESS_TEXT];
	if (d->n > 0)
		err_set(&d->why, -ETIMEDOUT, "%s does not answer",
			address_text(&d->address[0], text));
	else
		err_set(&d->why, -ETIMEDOUT, "the name server does not answer");
	conclude(d, NULL, NULL);
	return 0;
}

static void on_resolved(const struct address *a, unsigned n, const struct err *why, void *user)
{
	struct dial *d = user;
	memcpy(d->address, a, n * sizeof(*a));
	d->n = n;
	if (n == 0) {
		d->why = *why;
		conclude(d, NULL, NULL);
		return;
	}
	advance(d);
}

static int dial_new(sd_event *event, uint64_t timeout_us, dial_fn *fn, void *user,
		    struct dial **ret, struct err *e)
{
	_cleanup_(dial_freep) struct dial *d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < RESOLVE_MAX; i++)
		d->attempt[i] = (struct attempt){ .dial = d, .fd = -1 };
	d->event = sd_event_ref(event);
	d->fn = fn;
	d->user = user;
	int r = sd_event_add_time_relative(event, &d->stagger, CLOCK_BOOTTIME, 0, 1000, on_stagger,
					   d);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &d->deadline, CLOCK_BOOTTIME, timeout_us,
					       100000, on_deadline, d);
	if (r < 0)
		return err_errno(e, r, "cannot dial");
	*ret = TAKE_PTR(d);
	return 0;
}

int dial_address(sd_event *event, const struct address *a, const struct address *local, uint64_t timeout_us,
		 dial_fn *fn, void *user, struct dial **ret, struct err *e)
{
	_cleanup_(dial_freep) struct dial *d = NULL;
	int r = dial_new(event, timeout_us, fn, user, &d, e);
	if (r < 0)
		return r;
	assert(d);
	/* The stagger timer is due at once: it starts the first attempt from the loop. */
	d->address[0] = *a;
	d->n = 1;
	if (local) {
		d->from = *local;
		address_set_port(&d->from, 0); /* where it listens is taken */
		d->local = &d->from;
	}
	*ret = TAKE_PTR(d);
	return 0;
}

int dial_host(sd_event *event, const char *host, uint16_t port, uint64_t timeout_us,
	      dial_fn *fn, void *user, struct dial **ret, struct err *e)
{
	_cleanup_(dial_freep) struct dial *d = NULL;
	struct address radio;
	/* By any adapter: who dials by name has no say in it. */
	if (address_bluetooth_named(host, port, &radio) == 0)
		return dial_address(event, &radio, &(struct address){ .l2 = { .family = AF_BLUETOOTH, .type = ADDRESS_LE_PUBLIC } },
				    timeout_us, fn, user, ret, e);
	int r = dial_new(event, timeout_us, fn, user, &d, e);
	if (r == 0)
		r = resolve_new(event, host, port, on_resolved, d, &d->resolve, e);
	if (r < 0)
		return r;
	assert(d);
	(void)sd_event_source_set_enabled(d->stagger, SD_EVENT_OFF);
	*ret = TAKE_PTR(d);
	return 0;
}
