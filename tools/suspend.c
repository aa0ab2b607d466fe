/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/suspend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "engine/cleanup.h"
#include "transports/systembus.h"

#define LOGIN "org.freedesktop.login1"
#define LOGIN_PATH "/org/freedesktop/login1"
#define MANAGER LOGIN ".Manager"
#define LEAST_US 1000000 /* the clocks are not read at one moment, and nobody cares for less */

struct suspend {
	const struct suspend_handler *handler;
	void *user;
	int clock; /* timerfd */
	sd_event_source *source;
	struct systembus *system;
	sd_bus *bus; /* NULL: there is none now */
	sd_bus_slot *watch, *asking;
	int delay;         /* as long as it is open logind waits for us; -1: it does not */
	bool going;        /* it has said so, and nothing else since */
	bool looked;
	uint64_t ahead_us; /* by so much CLOCK_BOOTTIME was, when it was looked at last */
	uint64_t slept_us; /* since that was told */
};

/* ---- the clocks ---- */

static int arm(struct suspend *s)
{
	const struct itimerspec never = { .it_value.tv_sec = INT64_MAX };
	return timerfd_settime(s->clock, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) <
			       0 ? -errno : 0;
}

/* The turn of the loop that this is in ends with suspend_look. */
static int on_clock(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct suspend *s = userdata;
	uint64_t n;
	(void)source;
	(void)events;
	(void)!read(fd, &n, sizeof(n));
	(void)arm(s);
	return 0;
}

static void woke(struct suspend *s)
{
	uint64_t slept = s->slept_us;
	s->slept_us = 0;
	s->going = false;
	s->handler->woke(slept, s->user);
}

void suspend_look(struct suspend *s, uint64_t boot_us, uint64_t monotonic_us)
{
	const uint64_t ahead = boot_us - monotonic_us;
	if (s->looked && ahead > s->ahead_us + LEAST_US) {
		s->slept_us = ahead - s->ahead_us;
		woke(s);
	}
	s->looked = true;
	s->ahead_us = ahead;
}

/* ---- logind ---- */

static int on_delay(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct suspend *s = userdata;
	int fd;
	(void)error;
	s->asking = sd_bus_slot_unref(s->asking);
	/* Who may not ask for it is not waited for. */
	if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "h", &fd) >= 0 &&
	    s->delay < 0)
		s->delay = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return 0;
}

static int ask_delay(struct suspend *s)
{
	s->asking = sd_bus_slot_unref(s->asking);
	return sd_bus_call_method_async(s->bus, &s->asking, LOGIN, LOGIN_PATH, MANAGER, "Inhibit",
					on_delay, s, "ssss", "sleep", "shoald",
					"what was saved goes to other devices", "delay");
}

static int on_sleep(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct suspend *s = userdata;
	int begins;
	(void)error;
	if (sd_bus_message_read(m, "b", &begins) < 0)
		return 0;
	if (begins) {
		s->going = true;
		s->handler->going(s->user);
		return 0;
	}
	/* The clocks may have said so before. */
	if (s->going)
		woke(s);
	return ask_delay(s) < 0 ? 0 : 1;
}

/* Nobody waits for us any more, nor will say that it is awake. */
static void logind_gone(struct suspend *s)
{
	suspend_ready(s);
	if (s->going)
		woke(s);
}

static void on_logind(bool here, void *userdata)
{
	struct suspend *s = userdata;
	logind_gone(s);
	if (here)
		(void)ask_delay(s);
}

static int on_bus(sd_bus *bus, void *userdata)
{
	struct suspend *s = userdata;
	s->bus = bus;
	return sd_bus_match_signal_async(s->bus, &s->watch, LOGIN, LOGIN_PATH, MANAGER,
					 "PrepareForSleep", on_sleep, NULL, s);
}

static void on_no_bus(void *userdata)
{
	struct suspend *s = userdata;
	s->watch = sd_bus_slot_unref(s->watch);
	s->asking = sd_bus_slot_unref(s->asking);
	s->bus = NULL;
	logind_gone(s);
}

static const struct systembus_handler bus_handler = { on_bus, on_no_bus, on_logind };

void suspend_ready(struct suspend *s)
{
	if (s->delay >= 0)
		close(TAKE_FD(s->delay));
}

/* ---- the whole ---- */

int suspend_new(sd_event *event, const struct suspend_handler *handler, void *user,
		struct suspend **ret)
{
	struct suspend *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->handler = handler;
	s->user = user;
	s->delay = -1;
	s->clock = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	int r = s->clock < 0 ? -errno : arm(s);
	if (r == 0)
		r = sd_event_add_io(event, &s->source, s->clock, EPOLLIN, on_clock, s);
	if (r >= 0)
		r = systembus_new(event, LOGIN, &bus_handler, s, &s->system);
	if (r < 0) {
		suspend_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void suspend_free(struct suspend *s)
{
	if (!s)
		return;
	suspend_ready(s);
	sd_bus_slot_unref(s->watch);
	sd_bus_slot_unref(s->asking);
	systembus_free(s->system);
	sd_event_source_disable_unref(s->source);
	if (s->clock >= 0)
		close(s->clock);
	free(s);
}
