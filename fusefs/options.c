/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(s, word, len) == 0;
}

static bool starts(const char *s, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(s, word, strlen(word)) == 0;
}

/* Said by mount(8), fstab and systemd, meant for others, or true anyway. */
static bool ignored(const char *s, size_t len)
{
	static const char *const word[] = { "defaults",
					    "auto",
					    "noauto",
					    "user",
					    "users",
					    "nouser",
					    "owner",
					    "group",
					    "nofail",
					    "_netdev",
					    "async",
					    "relatime",
					    "norelatime",
					    "strictatime",
					    "lazytime",
					    "nolazytime",
					    "diratime",
					    "nodiratime",
					    "atime",
					    "loud",
					    "silent",
					    "default_permissions",
					    "" };
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		if (is(s, len, word[i]))
			return true;
	return starts(s, len, "x-") || starts(s, len, "X-") || starts(s, len, "comment=") ||
	       starts(s, len, "context=") || starts(s, len, "subtype=") ||
	       starts(s, len, "helper=");
}

static bool passed_on(const char *s, size_t len)
{
	static const char *const word[] = {
		"dev",    "nodev",   "suid", "nosuid",  "exec",
		"noexec", "noatime", "sync", "dirsync", "auto_unmount"
	};
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		if (is(s, len, word[i]))
			return true;
	return starts(s, len, "fsname=") || starts(s, len, "max_read=");
}

static bool number(const char *s, size_t len, unsigned *ret)
{
	char text[16], *end;
	if (len == 0 || len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	unsigned long v = strtoul(text, &end, 10);
	if (*end || text[0] == '-' || v > UINT_MAX)
		return false;
	*ret = (unsigned)v;
	return true;
}

static void pass(struct buf *fuse, const char *s, size_t len)
{
	if (fuse->len)
		buf_u8(fuse, ',');
	buf_put(fuse, s, len);
}

int options_parse(const char *text, struct options *ret, struct buf *fuse, struct err *e)
{
	struct options o = { .uid = getuid(), .gid = getgid() };
	const char *p = text ? text : "";
	/* The kernel checks modes: they mean what they say. */
	pass(fuse, "default_permissions", strlen("default_permissions"));
	for (;;) {
		size_t len = 0;
		while (p[len] && p[len] != ',')
			len += p[len] == '\\' && p[len + 1] ? 2 : 1;
		if (is(p, len, "strict")) {
			o.strict = true;
		} else if (is(p, len, "lenient")) {
			o.lenient = true;
		} else if (is(p, len, "ro") || is(p, len, "rw")) {
			o.readonly = p[1] == 'o';
		} else if (is(p, len, "allow_other")) {
			o.allow_other = true;
			pass(fuse, p, len);
		} else if (starts(p, len, "uid=")) {
			if (!number(p + 4, len - 4, &o.uid))
				return err_set(e, -EINVAL, "mount option %.*s: not a user number",
					       (int)len, p);
		} else if (starts(p, len, "gid=")) {
			if (!number(p + 4, len - 4, &o.gid))
				return err_set(e, -EINVAL, "mount option %.*s: not a group number",
					       (int)len, p);
		} else if (is(p, len, "remount")) {
			return err_set(e, -EINVAL,
				       "a mount of shoal cannot be changed: unmount it and mount it "
				       "again");
		} else if (passed_on(p, len)) {
			pass(fuse, p, len);
		} else if (!ignored(p, len)) {
			return err_set(
				e, -EINVAL,
				"mount option %.*s is not known; mount.fuse.shoal(8) lists them",
				(int)len, p);
		}
		if (!p[len])
			break;
		p += len + 1;
	}
	if (o.strict && o.lenient)
		return err_set(e, -EINVAL,
			       "mount options strict and lenient contradict each other");
	if (o.readonly)
		pass(fuse, "ro", 2);
	if (buf_failed(fuse))
		return err_errno(e, -ENOMEM, "mount options");
	*ret = o;
	return 0;
}
