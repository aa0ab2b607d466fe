/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The linker has calls of NAME go to __wrap_NAME, and of __real_NAME to NAME. */
#include "tests/airmock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "transports/dial.h"
#include "transports/l2cap.h"
#include "transports/listener.h"

#define LISTENERS_MAX 8
#define SDU 672

struct airmock airmock;

static struct listening {
	bool used;
	struct address own;
	listener_accept_fn *fn;
	void *user;
} listening[LISTENERS_MAX];

struct dialling {
	struct dialling *next;
	sd_event *event;
	sd_event_source *source;
	struct address to, from;
	dial_fn *fn;
	void *user;
};
static struct dialling *dialling;

int __real_dial_address(sd_event *event, const struct address *a, const struct address *local, uint64_t timeout_us,
			dial_fn *fn, void *user, struct dial **ret, struct err *e);
void __real_dial_free(struct dial *d);
uint16_t __real_listener_port(const struct listener *l);
void __real_listener_free(struct listener *l);

int __wrap_dial_address(sd_event *event, const struct address *a, const struct address *local, uint64_t timeout_us,
			dial_fn *fn, void *user, struct dial **ret, struct err *e);
void __wrap_dial_free(struct dial *d);
uint16_t __wrap_listener_port(const struct listener *l);
void __wrap_listener_free(struct listener *l);
int __wrap_l2cap_listen(sd_event *event, const struct address *own, listener_accept_fn *fn, void *user,
			struct listener **ret, struct err *e);

/* ---- listening ---- */

static struct listening *listening_at(const struct address *a)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		if (listening[i].used && address_equal(&listening[i].own, a))
			return &listening[i];
	return NULL;
}

static struct listening *listening_of(const struct listener *l)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		if (l == (const void *)&listening[i])
			return &listening[i];
	return NULL;
}

int __wrap_l2cap_listen(sd_event *event, const struct address *own, listener_accept_fn *fn, void *user,
			struct listener **ret, struct err *e)
{
	struct address a = *own;
	struct listening *x = NULL;
	(void)event;
	airmock.listens++;
	/* Other programs take some, too: never the same one. */
	static uint16_t psm = 0x80;
	while (address_port(&a) == 0 || listening_at(&a))
		address_set_port(&a, psm++);
	for (unsigned i = 0; i < LISTENERS_MAX && !x; i++)
		x = listening[i].used ? NULL : &listening[i];
	if (!x)
		return err_set(e, -ENOBUFS, "too many listen");
	*x = (struct listening){ true, a, fn, user };
	*ret = (struct listener *)(void *)x;
	return 0;
}

uint16_t __wrap_listener_port(const struct listener *l)
{
	const struct listening *x = listening_of(l);
	return x ? address_port(&x->own) : __real_listener_port(l);
}

void __wrap_listener_free(struct listener *l)
{
	struct listening *x = listening_of(l);
	if (x)
		x->used = false;
	else
		__real_listener_free(l);
}

/* ---- dialling ---- */

static int meet(struct dialling *d, struct listening *x, struct wire **ret, struct err *e)
{
	int fd[2];
	struct wire *there = NULL;
	struct address from = d->from;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		return err_errno(e, -errno, "no channel");
	address_set_port(&from, 0);
	int r = l2cap_wire_over(d->event, fd[0], &d->to, SDU, SDU, ret, e), s = l2cap_wire_over(d->event, fd[1], &from, SDU, SDU, &there, e);
	if (r < 0 || s < 0) {
		wire_free(there);
		return r < 0 ? r : s;
	}
	x->fn(there, &from, x->user);
	return 0;
}

static int on_dial(sd_event_source *s, uint64_t usec, void *user)
{
	struct dialling *d = user;
	struct listening *x = airmock.refuse || airmock.silent ? NULL : listening_at(&d->to);
	struct wire *wire = NULL;
	struct err why = { 0 };
	char text[ADDRESS_TEXT];
	(void)s, (void)usec;
	err_errno(&why, airmock.silent ? -ETIMEDOUT : -ECONNREFUSED, "%s", address_text(&d->to, text));
	const struct address to = d->to; /* the callee may free d */
	if (x && meet(d, x, &wire, &why) == 0)
		d->fn(wire, &to, NULL, d->user);
	else
		d->fn(NULL, NULL, &why, d->user);
	return 0;
}

int __wrap_dial_address(sd_event *event, const struct address *a, const struct address *local, uint64_t timeout_us,
			dial_fn *fn, void *user, struct dial **ret, struct err *e)
{
	if (!address_is_bluetooth(a))
		return __real_dial_address(event, a, local, timeout_us, fn, user, ret, e);
	struct dialling *d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	*d = (struct dialling){ dialling, event, NULL, *a, *local, fn, user };
	airmock.dials++;
	if (sd_event_add_time_relative(event, &d->source, CLOCK_BOOTTIME, airmock.silent ? timeout_us : 1000, 1, on_dial, d) < 0) {
		free(d);
		return err_set(e, -ENOMEM, "out of memory");
	}
	dialling = d;
	*ret = (struct dial *)(void *)d;
	return 0;
}

void __wrap_dial_free(struct dial *dial)
{
	for (struct dialling **at = &dialling; *at; at = &(*at)->next) {
		struct dialling *d = *at;
		if (dial != (void *)d)
			continue;
		*at = d->next;
		sd_event_source_disable_unref(d->source);
		free(d);
		return;
	}
	__real_dial_free(dial);
}
