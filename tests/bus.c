/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bus.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "tests/ends.h"
#include "tests/tap.h"

pid_t bus_start(void)
{
	int out[2];
	char text[512], address[64];
	size_t n = 0;
	pid_t pid;
	/* The same each time, so that one that is started again is a restart. */
	snprintf(address, sizeof(address), "--address=unix:abstract=shoal-test-%d", (int)getpid());
	if (pipe(out) < 0 || (pid = fork()) < 0)
		tap_bail("no process");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1", address, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	while (n < sizeof(text) - 1 && read(out[0], text + n, 1) == 1 && text[n] != '\n')
		n++;
	text[n] = 0;
	close(out[0]);
	if (n == 0)
		tap_bail("dbus-daemon does not start: apt-get install dbus");
	setenv("DBUS_SYSTEM_BUS_ADDRESS", text, 1);
	return pid;
}

void bus_stop(pid_t bus)
{
	kill(bus, SIGTERM);
	waitpid(bus, NULL, 0);
}

void notes_take(struct notes *n, int priority, const char *text)
{
	n->n++;
	n->warnings += priority <= LOG_WARNING;
	snprintf(n->last, sizeof(n->last), "%s", text);
	tap_diag("%d: %s", priority, text);
}

void bus_ask(void (*fn)(void *ret, const void *arg), const void *arg, void *ret, size_t size)
{
	fflush(stdout);
	int out[2], status = 0;
	if (pipe(out) < 0)
		tap_bail("no pipe");
	pid_t pid = fork();
	if (pid == 0) {
		memset(ret, 0, size);
		fn(ret, arg);
		_exit(write(out[1], ret, size) != (ssize_t)size);
	}
	close(out[1]);
	RUN_UNTIL(waitpid(pid, &status, WNOHANG) == pid, SOON);
	if (read(out[0], ret, size) != (ssize_t)size)
		tap_bail("no answer");
	close(out[0]);
}
