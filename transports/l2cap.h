/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Bluetooth LE connection-oriented channels (L2CAP) as wires: listening, and sockets. What is said above L2CAP stands at
 * the head of l2cap.c. Connections are made by dial.h. Of the sd-event thread; nothing blocks. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "transports/address.h"
#include "transports/listener.h"
#include "transports/wire.h"

#define L2CAP_SDU_MAX 4096u /* what this device takes in one piece */
#define L2CAP_SDU_MIN 23u   /* what every device takes */
#define L2CAP_WINDOW 8u     /* pieces on their way, or waiting to be read */

/* A socket that does not block, bound to an adapter (its own address; the PSM, 0: any). A descriptor, or -errno:
 * -EAFNOSUPPORT where the kernel has no Bluetooth or this is not the initial network namespace, -EADDRNOTAVAIL when no
 * adapter has the address. */
int l2cap_socket(const struct address *own);

/* Listens at an adapter, at own's PSM, or where that is taken or 0 at one that the kernel chooses (listener_port). */
int l2cap_listen(sd_event *event, const struct address *own, listener_accept_fn *fn, void *user,
		 struct listener **ret, struct err *e);

/* A connected socket as a wire, which owns it from now on (closed on failure too). */
int l2cap_wire_new(sd_event *event, int fd_take, const struct address *remote, struct wire **ret, struct err *e);

/* The same over any SOCK_SEQPACKET socket, with the sizes of the largest pieces out and in, L2CAP_SDU_MIN to
 * L2CAP_SDU_MAX: for tests. */
int l2cap_wire_over(sd_event *event, int fd_take, const struct address *remote, size_t sdu_out, size_t sdu_in,
		    struct wire **ret, struct err *e);
