/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.fuse.shoal(8): what mount(8) runs for `mount -t fuse.shoal STORE DIR` and for a line of
 * /etc/fstab. mount.fuse.shoal STORE DIR [-sfnv] [-o OPTIONS] */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fusefs/fusefs.h"
#include "tools/cmdline.h"
#include "tools/mounts.h"
#include "tools/spawn.h"

enum { OPT_SLOPPY, OPT_FAKE, OPT_NO_MTAB, OPT_VERBOSE, OPT_OPTIONS, OPT_TYPE, OPTS };
static const struct option_def options[OPTS] = {
	[OPT_SLOPPY] = { "sloppy", 's', OPTION_FLAG, NULL, "accepted and ignored", 0, 0 },
	[OPT_FAKE] = { "fake", 'f', OPTION_FLAG, NULL, "check, but do not mount", 0, 0 },
	[OPT_NO_MTAB] = { "no-mtab", 'n', OPTION_FLAG, NULL, "accepted and ignored", 0, 0 },
	[OPT_VERBOSE] = { "verbose", 'v', OPTION_FLAG, NULL, "say what is done", 0, 0 },
	[OPT_OPTIONS] = { "options", 'o', OPTION_TEXT, "OPTS", "mount options, separated by commas", 0, 0 },
	[OPT_TYPE] = { "types", 't', OPTION_TEXT, "TYPE", "accepted and ignored", 0, 0 },
};
static const struct command_def table[] = {
	{ "", "STORE DIR", "Mounts a Shoal store, for mount(8)", NULL, options, OPTS, 2, 2, false, NULL },
};

static int run(const struct cmdline *c, struct err *e)
{
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(buf_done) struct buf store = { 0 }, mount = { 0 };
	const char *opts = c->value[OPT_OPTIONS].text;
	int r = storedir_find(c->arg[0], &store, e);
	if (r == 0)
		r = path_absolute(c->arg[1], &mount);
	if (r < 0 && !e->code)
		err_errno(e, r, "cannot tell where to mount");
	if (r == 0)
		r = storedir_open((const char *)store.data, false, &dir, e);
	if (r == 0 && opts)
		r = fusefs_check_options(opts, e);
	if (r < 0)
		return r;
	if (c->value[OPT_VERBOSE].set)
		printf("mount.fuse.shoal: %s at %s, options %s\n", storedir_path(dir),
		       (const char *)mount.data, opts ? opts : "none");
	if (c->value[OPT_FAKE].set)
		return 0;
	const char *args[] = { "--store", storedir_path(dir), "--mount", (const char *)mount.data,
			       opts ? "-o" : NULL, opts, NULL };
	return spawn_daemon(dir, args, e);
}

int main(int argc, char **argv)
{
	struct cmdline c;
	struct err e = { 0 };
	int status = 0;
	/* Exit codes are those of mount(8): 1 wrong usage, 32 the mount failed. */
	if (cmdline_parse(table, 1, argc, argv, &c, &e) < 0) {
		fprintf(stderr, "mount.fuse.shoal: %s\n", e.message);
		status = 1;
	} else if (c.version) {
		puts("mount.fuse.shoal " PACKAGE_VERSION);
	} else if (c.help) {
		_cleanup_(buf_done) struct buf b = { 0 };
		cmdline_help("mount.fuse.shoal", table, &b);
		fputs(buf_cstr(&b), stdout);
	} else if (run(&c, &e) < 0) {
		fprintf(stderr, "mount.fuse.shoal: %s\n", e.message);
		status = 32;
	}
	cmdline_done(&c);
	return status;
}
