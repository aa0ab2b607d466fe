/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that was deleted everywhere and is made anew on two devices: what either wrote into it is
 * there, also where it is what the file had held before. */

#include <errno.h>

#include "tests/meeting.h"

static struct id deleted(const char *name, const char *text)
{
	struct id id = begin(name, text);
	replica_set_mode(p.r, &id, 0700);
	replica_set_xattr(p.r, &id, "user.old", "v", 1, false, false);
	if (replica_remove(p.r, &id, 0) < 0)
		tap_bail("remove");
	send(&p, &q, &id);
	return id;
}

static struct attr anew(struct rep *d, const char *name, const char *text)
{
	struct attr at;
	if (rep_create(d->r, &dir.id, name, text, &at) < 0)
		tap_bail("create");
	return at;
}

int main(void)
{
	struct attr at;
	tap_plan(8);
	meeting_open();

	struct id id = deleted("x.json", "{\"k\": 1}\n");
	at = anew(&q, "x.json", "{\"m\": 1}\n");
	ok(id_equal(&at.id, &id) && at.mode == 0644, "it is the same file, with nothing left in it");
	_cleanup_(buf_done) struct buf value = { 0 };
	is_errno(replica_get_xattr(q.r, &id, "user.old", &value), -ENODATA, "nor on it");
	anew(&p, "x.json", "{\"k\": 1}\n");
	replica_set_xattr(p.r, &id, "user.old", "v", 1, false, false);
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(strstr(x, "\"k\": 1") && strstr(x, "\"m\": 1") && shows(&id, x),
	   "a value that is the same again stays");
	ok(replica_get_xattr(q.r, &id, "user.old", &value) == 0 && value.len == 1,
	   "and so does an attribute");

	id = deleted("l.json", "[\"a\", \"b\"]\n");
	anew(&q, "l.json", "[\"c\"]\n");
	anew(&p, "l.json", "[\"a\", \"b\"]\n");
	meet(&id);
	_cleanup_free_ char *l = rep_read(p.r, &id);
	ok(strstr(l, "\"a\", \"b\"") && strstr(l, "\"c\"") && shows(&id, l), "elements of a list");

	id = deleted("t.txt", "one\n");
	anew(&q, "t.txt", "two\n");
	at = anew(&p, "t.txt", "one\n");
	meet(&at.id);
	_cleanup_free_ char *t = rep_read(p.r, &at.id);
	ok(strstr(t, "one") != NULL, "a text");

	id = deleted("b.dat", "same\n");
	at = anew(&p, "b.dat", "same\n");
	_cleanup_free_ char *b = rep_read(p.r, &at.id);
	is_str(b, "same\n", "a blob");
	meeting_close("the stores are sound");
	return tap_done();
}
