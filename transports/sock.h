/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The part that wires over sockets have in common; embedded in the implementation, first. Of the sd-event thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "transports/wire.h"

struct sock {
	struct wire wire;
	int fd; /* -1: none yet */
	sd_event_source *source;
};

/* setsockopt of an int; 0 or -errno. */
int sock_option(int fd, int level, int name, int value);

/* Watches fd, for nothing yet; fn is called with the wire when something is wanted and there. Takes nothing. */
int sock_init(struct sock *s, sd_event *event, int fd, sd_event_io_handler_t fn);
void sock_done(struct sock *s); /* closes fd */

/* As recv(2) and send(2): a number of bytes, -EAGAIN, or another -errno; never wait, and no signal comes. */
ssize_t sock_recv(struct sock *s, void *p, size_t n, int flags);
ssize_t sock_send(struct sock *s, const void *p, size_t n);

void sock_watch(struct sock *s, bool reading, bool writing);
