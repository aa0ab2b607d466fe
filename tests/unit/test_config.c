/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings: what is read, refused, and kept when one is changed; mounts as the kernel lists them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/tap.h"
#include "tools/config.h"
#include "tools/mounts.h"

static int parse(const char *text, struct config *c, struct err *e)
{
	return config_parse(text, strlen(text), c, e);
}

static void test_parse(void)
{
	struct config c = { 0 };
	struct err e = { 0 };
	is_int(parse("# mine\n[network]\n listen = 192.0.2.1:7000 \r\n;x\ndiscovery=off\n\n[log]\n"
		     "level = debug",
		     &c, &e),
	       0, "sections, comments, blanks and a missing last newline");
	is_str(config_text(&c, CONFIG_LISTEN), "192.0.2.1:7000", "values are trimmed");
	ok(!config_bool(&c, CONFIG_DISCOVERY) && config_bool(&c, CONFIG_AVAHI),
	   "off is no, and what is not set has its default");
	is_str(config_text(&c, CONFIG_LOG_LEVEL), "debug", "the last line counts");
	config_done(&c);
	is_int(parse("[history]\nshare = 0\n", &c, &e), 0, "a number at its bound");
	ok(config_number(&c, CONFIG_HISTORY_SHARE) == 0 && config_number(&c, CONFIG_HISTORY_DAYS) == 30,
	   "numbers, and their default");
	config_done(&c);
	static const struct {
		const char *text;
		unsigned line;
		const char *says;
	} bad[] = {
		{ "listen = 1\n", 1, "unknown setting" },
		{ "[network]\n\nlisten = 70000\n", 3, "network.listen" },
		{ "[network]\nlisten = host:1\n", 2, "network.listen" },
		{ "[network]\ndiscovery = maybe\n", 2, "yes or no" },
		{ "[log]\nlevel = loud\n", 2, "one of" },
		{ "[history]\ndays = 0\n", 2, "from 1 to 3650" },
		{ "[history]\ndays = 3651\n", 2, "from 1 to 3650" },
		{ "[history]\nshare = 10%\n", 2, "from 0 to 90" },
		{ "[log\n", 1, "section" },
		{ "[log]\nlevel\n", 2, "key = value" },
		{ "[log]\n= x\n", 2, "key = value" },
		{ "[mount]\ndir = a\001b\n", 2, "control" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e = (struct err){ 0 };
		ok(parse(bad[i].text, &c, &e) == -EINVAL && e.line == bad[i].line &&
			   strstr(e.message, bad[i].says),
		   "refused with its line: %s", e.message);
	}
	is_errno(config_parse("[log]\n\0", 7, &c, &e), -EINVAL, "a NUL byte is refused");
}

static void edit(const char *text, enum config_key key, const char *value, const char *want,
		 const char *what)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct err e;
	int r = config_edit(text, strlen(text), key, value, &b, &e);
	is_str(r < 0 ? e.message : buf_cstr(&b), want, "%s", what);
}

static void test_edit(void)
{
	edit("", CONFIG_LOG_LEVEL, "debug", "[log]\nlevel = debug\n", "into an empty file");
	edit("# c\n[log]\nlevel=info\n[network]\nlisten = 1\n", CONFIG_LOG_LEVEL, "error",
	     "# c\n[log]\nlevel = error\n[network]\nlisten = 1\n", "in its place, the rest kept");
	edit("[network]\nlisten = 1\n\n[log]\n", CONFIG_AVAHI, "no",
	     "[network]\nlisten = 1\navahi = no\n\n[log]\n", "at the end of its section");
	edit("[network]\nlisten = 1", CONFIG_LISTEN, NULL, "[network]\n", "back to the default");
	edit("[log]\nlevel = info\nlevel = error\n", CONFIG_LOG_LEVEL, "debug",
	     "[log]\nlevel = debug\n", "twice there, once afterwards");
	int dir = open(tap_tmpdir(), O_RDONLY | O_DIRECTORY);
	struct err e = { 0 };
	struct config c = { 0 };
	is_int(config_write(dir, "c", CONFIG_LISTEN, "[::1]:7", &e), 0, "a file is written");
	is_errno(config_write(dir, "c", CONFIG_LISTEN, "[::1:7", &e), -EINVAL, "a bad value is not");
	ok(config_read(dir, "c", &c, &e) == 0 && !strcmp(config_text(&c, CONFIG_LISTEN), "[::1]:7"),
	   "and read back");
	config_done(&c);
	ok(config_read(dir, "none", &c, &e) == 0 && config_bool(&c, CONFIG_MULTICAST),
	   "a missing file is an empty one");
	config_done(&c);
	close(dir);
}

static void test_listen(void)
{
	char host[LISTEN_HOST_SIZE] = "";
	uint16_t port = 0;
	ok(listen_parse("7580", host, &port) == 0 && port == 7580 && !*host, "a port alone");
	ok(listen_parse("[fd00::1]:1", host, &port) == 0 && !strcmp(host, "fd00::1"), "IPv6");
	static const char *const bad[] = { "", ":", ":1", "1.2.3:4", "fd00::1:1", "[]:1", "1.2.3.4:",
					   "1.2.3.4:65536", "1.2.3.4:-1", "[1.2.3.4]:1" };
	unsigned refused = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused += listen_parse(bad[i], host, &port) == -EINVAL;
	is_uint(refused, 10, "nothing else is an address to listen at");
}

static int count_mount(const struct mount_entry *m, void *userdata)
{
	unsigned *seen = userdata;
	if (!strcmp(m->dir, "/home/a b/Shoal") && !strcmp(m->source, "/home/a b/st\\ore") &&
	    m->minor == 57)
		*seen += 1;
	else
		*seen += 100;
	return 0;
}

static void test_mounts(void)
{
	static const char text[] =
		"23 28 0:21 / /proc rw,nosuid shared:14 - proc proc rw\n"
		"90 28 0:57 / /home/a\\040b/Shoal rw,nodev shared:1 master:2 - fuse.shoal "
		"/home/a\\040b/st\\134ore rw,user_id=0\n"
		"91 28 0:58 / /x rw - fuse.other y rw\n"
		"broken\n92 28 - fuse.shoal\n\n93 28 x:y / /z rw - fuse.shoal q rw\n";
	unsigned seen = 0;
	is_int(mounts_parse(text, sizeof(text) - 1, count_mount, &seen), 0, "mountinfo is read");
	is_uint(seen, 1, "mounts of shoal are found, escapes undone, nonsense skipped");
	_cleanup_(buf_done) struct buf b = { 0 };
	path_absolute("/a//b/./../c/", &b);
	is_str(buf_cstr(&b), "/a/c", "paths are made plain");
	path_absolute("/../..", &b);
	is_str(buf_cstr(&b), "/", "and never leave the root");
}

int main(void)
{
	tap_plan(6 + 12 + 1 + 9 + 3 + 4);
	test_parse();
	test_edit();
	test_listen();
	test_mounts();
	return tap_done();
}
