/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/sock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int sock_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int sock_init(struct sock *s, sd_event *event, int fd, sd_event_io_handler_t fn)
{
	int r = sd_event_add_io(event, &s->source, fd, 0, fn, s);
	if (r >= 0)
		(void)sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

void sock_done(struct sock *s)
{
	s->source = sd_event_source_disable_unref(s->source);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

ssize_t sock_recv(struct sock *s, void *p, size_t n, int flags)
{
	ssize_t got;
	do
		got = recv(s->fd, p, n, flags | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	return got < 0 ? (errno == EWOULDBLOCK ? -EAGAIN : -errno) : got;
}

ssize_t sock_send(struct sock *s, const void *p, size_t n)
{
	ssize_t sent;
	do
		sent = send(s->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? (errno == EWOULDBLOCK ? -EAGAIN : -errno) : sent;
}

void sock_watch(struct sock *s, bool reading, bool writing)
{
	/* Off altogether when nothing is wanted: epoll reports a hang-up in any case, and
	 * nobody would deal with it. */
	if (!reading && !writing) {
		(void)sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_io_events(s->source, (reading ? (uint32_t)EPOLLIN : 0u) |
							       (writing ? (uint32_t)EPOLLOUT : 0u));
	(void)sd_event_source_set_enabled(s->source, SD_EVENT_ON);
}
