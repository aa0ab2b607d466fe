/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 32
#define ACCEPT_PAUSE_US ((uint64_t)1000000)

struct listener {
	sd_event *event;
	int fd;
	sd_event_source *source;
	sd_event_source *pause;
	listener_wire_fn *make;
	listener_accept_fn *fn;
	void *user;
	struct address own;
};

void listener_free(struct listener *l)
{
	if (!l)
		return;
	sd_event_source_disable_unref(l->source);
	sd_event_source_disable_unref(l->pause);
	if (l->fd >= 0)
		close(l->fd);
	sd_event_unref(l->event);
	free(l);
}

uint16_t listener_port(const struct listener *l)
{
	return address_port(&l->own);
}

static int on_pause_over(sd_event_source *s, uint64_t usec, void *user)
{
	struct listener *l = user;
	(void)s, (void)usec;
	(void)sd_event_source_set_enabled(l->source, SD_EVENT_ON);
	return 0;
}

static int on_accept(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct listener *l = user;
	(void)events;
	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int conn = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (conn < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				/* It would be reported again at once: wait for room. */
				(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
				(void)sd_event_source_set_time_relative(l->pause, ACCEPT_PAUSE_US);
				(void)sd_event_source_set_enabled(l->pause, SD_EVENT_ONESHOT);
			}
			return 0;
		}
		struct address remote;
		struct wire *wire = NULL;
		if (address_from((struct sockaddr *)&ss, len, &remote) < 0)
			close(conn);
		else if (l->make(l->event, conn, &remote, &wire, NULL) == 0)
			l->fn(wire, &remote, l->user);
	}
	return 0;
}

int listener_new(sd_event *event, int fd_take, listener_wire_fn *make, listener_accept_fn *fn, void *user,
		 struct listener **ret, struct err *e)
{
	_cleanup_close_ int fd = fd_take;
	_cleanup_(listener_freep) struct listener *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->fd = TAKE_FD(fd);
	l->event = sd_event_ref(event);
	l->make = make;
	l->fn = fn;
	l->user = user;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
		return err_errno(e, -errno, "cannot examine the listening socket");
	int r = address_from((struct sockaddr *)&ss, len, &l->own);
	if (r == 0)
		r = sd_event_add_io(event, &l->source, l->fd, EPOLLIN, on_accept, l);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &l->pause, CLOCK_BOOTTIME, 0, 1000,
					       on_pause_over, l);
	if (r < 0)
		return err_errno(e, r, "cannot watch the listening socket");
	(void)sd_event_source_set_enabled(l->pause, SD_EVENT_OFF);
	*ret = TAKE_PTR(l);
	return 0;
}
