/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test library itself: what must fail does fail. Each case runs a child whose output and
 * exit status are looked at. */
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs this program again as "test_tap CHILD"; returns its exit status, or -1. */
static int child(const char *self, const char *what, char *out, size_t size)
{
	char command[4096];
	snprintf(command, sizeof(command), "'%s' %s", self, what);
	FILE *f = popen(command, "r");
	if (!f)
		tap_bail("popen failed");
	size_t n = fread(out, 1, size - 1, f);
	out[n] = 0;
	int status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int be_child(const char *what)
{
	tap_plan(1);
	if (strcmp(what, "early") == 0)
		exit(0);
	if (strcmp(what, "int") == 0)
		is_int(1, 2, "one");
	if (strcmp(what, "str") == 0)
		is_str("a", NULL, "text");
	if (strcmp(what, "mem") == 0)
		is_mem("abc", 3, "abd", 3, "bytes");
	if (strcmp(what, "tmp") == 0)
		ok(puts(tap_tmpdir()) > 0, "made");
	if (strcmp(what, "more") == 0) {
		ok(true, "one");
		ok(true, "two");
	}
	return tap_done();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return be_child(argv[1]);
	char out[8192];
	tap_plan(13);
	is_int(child(argv[0], "early", out, sizeof(out)), 1, "exit(0) before the end fails");
	ok(strstr(out, "left early: 0 of 1"), "and is told");
	is_int(child(argv[0], "none", out, sizeof(out)), 1, "a case that was not run fails");
	is_int(child(argv[0], "more", out, sizeof(out)), 1, "a case that was not planned fails");
	is_int(child(argv[0], "int", out, sizeof(out)), 1, "is_int can fail");
	ok(strstr(out, "not ok 1 - one\n") && strstr(out, "got 1, wanted 2"),
	   "and shows both numbers");
	is_int(child(argv[0], "str", out, sizeof(out)), 1, "is_str can fail");
	ok(strstr(out, "got    \"a\"") && strstr(out, "wanted NULL"), "and shows both texts");
	is_int(child(argv[0], "mem", out, sizeof(out)), 1, "is_mem can fail");
	ok(strstr(out, "differ from offset 2"), "and says where");
	is_int(child(argv[0], "tmp", out, sizeof(out)), 0, "a child with a directory passes");
	char *dir = strchr(out, '/');
	ok(dir && strchr(dir, '\n'), "it told its directory");
	if (dir)
		dir[strcspn(dir, "\n")] = 0;
	ok(dir && access(dir, F_OK) != 0, "which is gone afterwards");
	return tap_done();
}
