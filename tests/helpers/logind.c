/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of logind as matters for sleep, on the system bus of the environment. A line of standard input
 * is a signal, "sleep" or "wake"; what it prints: "ready", "asked WHAT WHO MODE" for each inhibitor, and
 * "released" when the last one that it gave is closed. */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "engine/cleanup.h"

#define PATH "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"

static int say(const char *text)
{
	puts(text);
	return fflush(stdout);
}

static int on_release(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	(void)events;
	(void)userdata;
	sd_event_source_unref(s);
	close(fd);
	return say("released");
}

static int inhibit(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *what, *who, *why, *mode;
	int end[2];
	(void)error;
	int r = sd_bus_message_read(m, "ssss", &what, &who, &why, &mode);
	if (r < 0 || pipe(end) < 0)
		return r < 0 ? r : -1;
	_cleanup_close_ int theirs = end[1];
	sd_event_source *source;
	r = sd_event_add_io(userdata, &source, end[0], EPOLLHUP, on_release, NULL);
	printf("asked %s %s %s\n", what, who, mode);
	fflush(stdout);
	return r < 0 ? r : sd_bus_reply_method_return(m, "h", theirs);
}

static const sd_bus_vtable manager[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Inhibit", "ssss", "h", inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL("PrepareForSleep", "b", 0),
	SD_BUS_VTABLE_END,
};

static int on_lines(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	char text[64];
	int r = 0;
	(void)events;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return sd_event_exit(sd_event_source_get_event(s), 0); /* the bus may be gone */
	text[n] = 0;
	for (const char *line = text; r >= 0 && *line; line += strcspn(line, "\n") + 1)
		r = sd_bus_emit_signal(userdata, PATH, MANAGER, "PrepareForSleep", "b",
				       strncmp(line, "sleep", 5) == 0);
	return r;
}

int main(void)
{
	sd_event *event = NULL;
	sd_bus *bus = NULL;
	int r = sd_event_new(&event);
	if (r >= 0)
		r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_attach_event(bus, event, 0);
	if (r >= 0)
		r = sd_bus_add_object_vtable(bus, NULL, PATH, MANAGER, manager, event);
	if (r >= 0)
		r = sd_bus_request_name(bus, "org.freedesktop.login1", 0);
	if (r >= 0)
		r = sd_event_add_io(event, NULL, STDIN_FILENO, EPOLLIN, on_lines, bus);
	if (r >= 0) {
		say("ready");
		r = sd_event_loop(event);
	}
	sd_bus_flush_close_unref(bus);
	sd_event_unref(event);
	return r < 0;
}
