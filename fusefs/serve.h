/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The threads that take the kernel's requests and answer them. */

#include "fusefs/fs.h"

/* The mount's first request, before all others; kept for the next daemon. */
int serve_first(struct fusefs *fs);
/* The same for a mount that was taken over: the kernel does not ask again. */
int serve_first_again(struct fusefs *fs);
int serve_start(struct fusefs *fs);
/* They end as soon as what they have taken is answered; nothing is taken and left. May be started again. */
void serve_park(struct fusefs *fs);
/* They end; what the kernel asks from here on nobody answers. */
void serve_stop(struct fusefs *fs);
