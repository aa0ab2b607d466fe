/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shoald(8): its command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "tools/cmdline.h"
#include "tools/daemon.h"
#include "tools/mounts.h"
#include "tools/spawn.h"
#include "tools/upgrade.h"

#define FILES 65536 /* that it may have open */

enum { OPT_MOUNT, OPT_OPTIONS, OPT_NO_MOUNT, OPT_LISTEN, OPT_FOREGROUND, OPT_READY_FD,
       OPT_HANDOVER, OPT_CHECK, OPTS };
static const struct option_def options[OPTS] = {
	[OPT_MOUNT] = { "mount", 0, OPTION_TEXT, "DIR", "serve the store at this directory", 0, 0 },
	[OPT_OPTIONS] = { "options", 'o', OPTION_TEXT, "OPTS", "mount options, as in fstab(5)", 0, 0 },
	[OPT_NO_MOUNT] = { "no-mount", 0, OPTION_FLAG, NULL, "sync only", 0, 0 },
	[OPT_LISTEN] = { "listen", 0, OPTION_TEXT, "[ADDR:]PORT", "instead of the setting network.listen", 0, 0 },
	[OPT_FOREGROUND] = { "foreground", 'f', OPTION_FLAG, NULL, "log to standard error", 0, 0 },
	[OPT_HANDOVER] = { "handover", 0, OPTION_NUMBER, "FD", "what the daemon before this one left", 0, 1048576 },
	[OPT_CHECK] = { "check-handover", 0, OPTION_NUMBER, "N", "can it take over in this format?", 0, 1u << 30 },
	[OPT_READY_FD] = { "ready-fd", 0, OPTION_NUMBER, "FD", "where to say that it serves", 0, 1048576 },
};
static const struct command_def table[] = {
	{ "", "", "The daemon of a Shoal store",
	  "It runs until it is told to end: `shoal down`, SIGTERM, or, when it was started for a\n"
	  "mount, the end of that mount. People start it with `shoal up`.",
	  options, OPTS, 0, 0, false, NULL },
};

/* The usual 1024 is too few for a hub, and the most that it may have is enough. */
static void raise_files(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES &&
	    files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int run(const struct cmdline *c, struct err *e)
{
	_cleanup_(buf_done) struct buf store = { 0 }, dir = { 0 };
	struct daemon_options o = {
		.options = c->value[OPT_OPTIONS].text,
		.listen = c->value[OPT_LISTEN].text,
		.foreground = c->value[OPT_FOREGROUND].set,
		.handover = c->value[OPT_HANDOVER].set ? (int)c->value[OPT_HANDOVER].number : -1,
		.ready_fd = c->value[OPT_READY_FD].set ? (int)c->value[OPT_READY_FD].number : -1,
	};
	raise_files();
	int r = storedir_find(c->store, &store, e);
	if (r == 0 && c->value[OPT_MOUNT].set && !c->value[OPT_NO_MOUNT].set) {
		r = path_absolute(c->value[OPT_MOUNT].text, &dir);
		o.mount = (const char *)dir.data;
	}
	o.store = (const char *)store.data;
	if (r < 0) {
		spawn_tell(o.ready_fd, e);
		return r;
	}
	/* Helpers that mount must not hold it open. */
	if (o.ready_fd >= 0)
		fcntl(o.ready_fd, F_SETFD, FD_CLOEXEC);
	return daemon_run(&o, e);
}

int main(int argc, char **argv)
{
	struct cmdline c;
	struct err e = { 0 };
	int status = 0;
	if (cmdline_parse(table, 1, argc, argv, &c, &e) < 0) {
		fprintf(stderr, "shoald: %s; see shoald --help\n", e.message);
		status = 2;
	} else if (c.version) {
		puts("shoald " PACKAGE_VERSION);
	} else if (c.help) {
		_cleanup_(buf_done) struct buf b = { 0 };
		cmdline_help("shoald", table, &b);
		fputs(buf_cstr(&b), stdout);
	} else if (c.value[OPT_CHECK].set) {
		status = c.value[OPT_CHECK].number == SHOALD_HANDOVER ? 0 : 1;
	} else if (run(&c, &e) < 0) {
		fprintf(stderr, "shoald: %s\n", e.message);
		status = 1;
	}
	cmdline_done(&c);
	return status;
}
