/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The machine sleeps and wakes up.
 *
 * logind says so before and after (org.freedesktop.login1, PrepareForSleep), and waits a little for who
 * has asked it to. Where there is none, or it says nothing, waking up shows in the clocks: CLOCK_BOOTTIME has
 * gone on while CLOCK_MONOTONIC stood still; a timer that ends when the clock is set wakes the loop
 * then. Of the loop's thread. */

#include <systemd/sd-event.h>

struct suspend;

struct suspend_handler {
	/* It is about to sleep, and waits for suspend_ready, some seconds at most. */
	void (*going)(void *user);
	/* It has slept for so long, or (0) not at all after all. */
	void (*woke)(uint64_t slept_us, void *user);
};

/* Without a message bus, or logind on it, the clocks alone count. handler and user are borrowed. */
int suspend_new(sd_event *event, const struct suspend_handler *handler, void *user,
		struct suspend **ret);
void suspend_free(struct suspend *s);
/* What was to be done before is done. */
void suspend_ready(struct suspend *s);
/* After each turn of the loop; the clocks in microseconds. */
void suspend_look(struct suspend *s, uint64_t boot_us, uint64_t monotonic_us);
