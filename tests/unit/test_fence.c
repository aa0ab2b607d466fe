/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fence stays through what happens to a store, and is another one in a copy. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tools/fence.h"

static int open_dir(const char *name, bool make)
{
	const char *path = tap_path(name);
	if (make && mkdir(path, 0700) < 0)
		tap_bail("mkdir %s: %s", path, strerror(errno));
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		tap_bail("open %s: %s", path, strerror(errno));
	return fd;
}

static void run(const char *program, const char *from, const char *to)
{
	_cleanup_free_ char *command = NULL;
	if (asprintf(&command, "%s '%s' '%s'", program, from, to) < 0 || system(command) != 0)
		tap_bail("failed: %s", command);
}

static bool same(int dir, const uint8_t want[static FENCE_SIZE])
{
	uint8_t now[FENCE_SIZE];
	if (fence_read(dir, now, NULL) < 0)
		tap_bail("fence_read");
	return !memcmp(now, want, FENCE_SIZE);
}

int main(void)
{
	static const uint8_t none[FENCE_SIZE];
	uint8_t first[FENCE_SIZE], second[FENCE_SIZE];
	struct stat st;
	tap_plan(10);
	int dir = open_dir("store", true);
	ok(same(dir, none), "a new store has none");
	is_int(fence_renew(dir, first, NULL), 0, "it gets one");
	ok(same(dir, first) && !same(dir, none), "which is there to be read");
	ok(fstatat(dir, "fence", &st, 0) == 0 && (st.st_mode & 0777) == 0600, "by its owner only");
	run("mv", tap_path("store"), tap_path("moved"));
	ok(same(dir, first), "it stays when the store is renamed");
	run("cp -a", tap_path("moved"), tap_path("copy"));
	int copy = open_dir("copy", false);
	ok(!same(copy, first) && same(dir, first), "a copy has another one");
	is_int(fence_renew(dir, second, NULL), 0, "renewed");
	ok(same(dir, second) && memcmp(first, second, FENCE_SIZE), "it is another one");
	run("cp -a", tap_path("copy/fence"), tap_path("moved/fence"));
	ok(!same(dir, first) && !same(dir, second), "brought back, it is neither of both");
	close(copy);
	run("ln -sf", "/etc/passwd", tap_path("moved/fence"));
	is_errno(fence_read(dir, first, NULL), -ELOOP, "a symbolic link is none");
	close(dir);
	return tap_done();
}
