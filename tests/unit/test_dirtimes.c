/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times of directories: when something came or went, the same on every device, in whatever order
 * records arrive, and not for ever what a clock said that was years ahead. */

#include <errno.h>

#include "engine/clock.h"
#include "engine/interest.h"
#include "tests/replicas.h"
#include "tests/tap.h"

#define HOUR_US (UINT64_C(3600) * 1000000)

static void need(int r, const char *what)
{
	if (r < 0)
		tap_bail("%s: %s", what, strerror(-r));
}

static void send(struct rep *from, struct rep *to, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct err e = { 0 };
	if (rep_apply(to, rep_delta(from, to, id, &a), &e) < 0)
		tap_bail("apply: %s", e.message);
}

/* By comparison, as who keeps a part gets it. */
static void send_part(struct rep *from, struct rep *to, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	static const struct vv nothing;
	struct err e = { 0 };
	struct arrived x = { .delta = rep_delta(from, to, id, &a), .upto = &nothing, .part = true, .by = &from->device };
	if (replica_apply_all(to->r, &a, &x, 1, NULL, &e) < 0 || x.result != APPLY_MERGED)
		tap_bail("apply: %s", e.message);
}

static int64_t time_of(struct rep *p, const struct id *id)
{
	struct attr at;
	need(replica_attr(p->r, id, &at), "attr");
	return at.mtime_ns;
}

static int64_t child(struct rep *p, const struct id *dir, const char *name, uint64_t when_us,
		     struct id *ret)
{
	const struct content c = { "{}", 2, -1 };
	struct attr at;
	need(replica_create(p->r, dir, name, strlen(name), 0644, &c, SAVE_BY_NAME, when_us, &at, NULL,
			    NULL), "create");
	*ret = at.id;
	return time_of(p, dir);
}

static void test_here(struct rep *p)
{
	struct attr d, e;
	struct id f, g;
	need(rep_mkdir(p->r, &NODE_ROOT, "here", &d), "mkdir");
	need(rep_mkdir(p->r, &d.id, "sub", &e), "mkdir");
	int64_t made = time_of(p, &d.id), sub = time_of(p, &e.id);
	p->wall += HOUR_US;
	int64_t came = child(p, &d.id, "f.json", 0, &f);
	ok(came >= made + (int64_t)HOUR_US * 1000, "a file that comes moves the time on");
	p->wall += HOUR_US;
	const struct content c = { "[]", 2, -1 };
	need(replica_save(p->r, &f, NULL, &c, SAVE_BY_NAME, NULL, NULL), "save");
	is_int(time_of(p, &d.id), came, "a save does not");
	p->wall += HOUR_US;
	need(rep_rename(p->r, &f, &e.id, "f.json", 0), "rename");
	ok(time_of(p, &d.id) > came + (int64_t)HOUR_US * 1000, "one that leaves does");
	ok(time_of(p, &e.id) == time_of(p, &d.id) && time_of(p, &e.id) > sub,
	   "in both directories alike");
	int64_t left = time_of(p, &d.id);
	p->wall += HOUR_US;
	need(rep_rename(p->r, &f, &e.id, "h.json", 0), "rename");
	ok(time_of(p, &e.id) > left && time_of(p, &d.id) == left,
	   "another name moves the time of its directory, not of where it was before");
	need(replica_set_mtime(p->r, &d.id, 5000000000), "utimens");
	is_int(time_of(p, &d.id), 5000000000, "a time that is set shows");
	uint64_t then = p->wall - 60 * 1000000;
	is_int(child(p, &d.id, "g.json", then, &g), 5000000000,
	       "also when a file comes later that came before");
	p->wall += HOUR_US;
	then = p->wall - 1000000;
	need(replica_remove(p->r, &g, then), "remove");
	is_int(time_of(p, &d.id), (int64_t)then * 1000, "a deletion counts from when it was");
	p->wall += HOUR_US;
	need(replica_set_mtime(p->r, &d.id, 5000000000), "utimens");
	is_int(time_of(p, &d.id), 5000000000, "the same time can be set again");
	ok(rep_sound(p->r), "the store is sound");
}

/* A file that was this device's alone until now. */
static void test_precursor(struct rep *p)
{
	static const char name[] = "settled.json";
	const struct content c = { "{}", 2, -1 };
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	struct attr at, d;
	buf_puts(&key, "f/L here");
	p->wall += HOUR_US;
	const struct precursor from = { p->wall - 5000000, 7000000001, &key };
	need(rep_mkdir(p->r, &NODE_ROOT, "settling", &d), "mkdir");
	need(replica_set_mtime(p->r, &d.id, 5000000000), "utimens");
	need(replica_local_put(p->r, key.data, key.len, "x", 1), "put");
	is_errno(replica_create_from(p->r, &d.id, "", 0, 0644, &c, &from, &at, NULL, NULL), -EINVAL,
		 "a file that cannot be made");
	is_int(replica_local_get(p->r, key.data, key.len, &value), 0, "leaves its record alone");
	need(replica_create_from(p->r, &d.id, name, strlen(name), 0600, &c, &from, &at, NULL, NULL),
	     "create");
	is_int(time_of(p, &at.id), 7000000001, "one that settles keeps its time");
	is_errno(replica_local_get(p->r, key.data, key.len, &value), -ENOENT,
		 "its record goes with the commit");
	ok(rep_sound(p->r), "the store is sound");
}

static void test_elsewhere(struct rep *p, struct rep *q)
{
	struct attr c, d, e;
	struct id f, g, h;
	need(rep_mkdir(p->r, &NODE_ROOT, "c", &c), "mkdir");
	need(rep_mkdir(p->r, &c.id, "d", &d), "mkdir");
	need(rep_mkdir(p->r, &c.id, "e", &e), "mkdir");
	p->wall += HOUR_US;
	child(p, &d.id, "f.json", 0, &f);
	child(p, &d.id, "g.json", 0, &g);
	p->wall += HOUR_US;
	need(rep_rename(p->r, &f, &e.id, "f.json", 0), "rename");
	p->wall += HOUR_US;
	need(replica_remove(p->r, &g, 0), "remove");
	q->wall = p->wall;
	/* What is in the directories comes first, the directories last. */
	send(p, q, &g);
	send(p, q, &f);
	ok(rep_sound(q->r), "the store is sound while the directories are not there");
	rep_stop(q);
	rep_start(q);
	send(p, q, &e.id);
	send(p, q, &d.id);
	send(p, q, &c.id);
	is_int(time_of(q, &d.id), time_of(p, &d.id), "a directory that came after what left it");
	is_int(time_of(q, &e.id), time_of(p, &e.id), "and one after what it holds");
	is_int(time_of(q, &c.id), time_of(p, &c.id), "and the one above");
	/* Both move it at once: the rank of the edges decides where it is, the time of both counts. */
	for (unsigned later = 0; later < 2; later++) {
		struct attr x, y, z;
		char name[3][8];
		for (unsigned i = 0; i < 3; i++)
			snprintf(name[i], sizeof(name[i]), "%c%u", 'x' + (int)i, later);
		need(rep_mkdir(p->r, &c.id, name[0], &x), "mkdir");
		need(rep_mkdir(p->r, &c.id, name[1], &y), "mkdir");
		need(rep_mkdir(p->r, &c.id, name[2], &z), "mkdir");
		child(p, &x.id, "h.json", 0, &h);
		const struct id *const all[] = { &x.id, &y.id, &z.id, &h };
		for (unsigned i = 0; i < 4; i++)
			send(p, q, all[i]);
		p->wall += later ? 2000000 : 1000000;
		q->wall += later ? 1000000 : 2000000;
		need(rep_rename(p->r, &h, &y.id, "h.json", 0), "rename");
		need(rep_rename(q->r, &h, &z.id, "h.json", 0), "rename");
		send(p, q, &h);
		send(q, p, &h);
		ok(time_of(p, &x.id) == time_of(q, &x.id) && time_of(p, &y.id) == time_of(q, &y.id) &&
		   time_of(p, &z.id) == time_of(q, &z.id), "two moves apart, the %s one later",
		   later ? "first" : "second");
	}
	ok(rep_sound(p->r) && rep_sound(q->r), "the stores are sound");
}

static void test_wild_clock(struct rep *p, struct rep *q)
{
	struct attr d;
	struct id f, g;
	need(rep_mkdir(p->r, &NODE_ROOT, "wild", &d), "mkdir");
	send(p, q, &d.id);
	uint64_t right = q->wall = p->wall + HOUR_US;
	p->wall += 24 * 365 * 50 * HOUR_US;
	child(p, &d.id, "f.json", 0, &f);
	ok(time_of(p, &d.id) / 1000 > (int64_t)(right + 24 * 365 * 49 * HOUR_US),
	   "a clock that is decades ahead shows so where it is");
	send(p, q, &f);
	int64_t shown = time_of(q, &d.id) / 1000;
	ok(shown >= (int64_t)right && shown < (int64_t)(right + HOUR_US),
	   "where the clock is right it counts as now");
	q->wall += HOUR_US;
	ok(child(q, &d.id, "g.json", 0, &g) / 1000 >= (int64_t)(right + HOUR_US),
	   "and the next change moves the time on");
	ok(rep_sound(q->r), "the store is sound");
}

/* Of a collection of which a part is kept the directory leaves, and what had moved out of it stays. */
static void test_back(struct rep *p, struct rep *q)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr c, d, e;
	struct view_node now;
	struct leave x;
	struct id f;
	need(rep_mkdir(p->r, &NODE_ROOT, "back", &c), "mkdir");
	need(rep_mkdir(p->r, &c.id, "d", &d), "mkdir");
	need(rep_mkdir(p->r, &c.id, "e", &e), "mkdir");
	child(p, &d.id, "f.json", 0, &f);
	p->wall += HOUR_US;
	need(rep_rename(p->r, &f, &e.id, "f.json", 0), "rename");
	q->wall = p->wall + HOUR_US;
	const struct id *const all[] = { &c.id, &d.id, &e.id, &f };
	for (unsigned i = 0; i < 4; i++)
		send(p, q, all[i]);
	need(replica_keep(q->r, &c.id, INTEREST_FILTERED, "1", NULL), "keep");
	for (unsigned round = 0; round < 2; round++) {
		need(replica_flush(q->r, NULL), "flush");
		struct view *v = replica_view(q->r);
		need(view_node(v, &d.id, &a, &now, NULL), "view");
		x.node = d.id;
		vv_fingerprint(&now.context, replica_actors(q->r), &x.hash);
		view_unref(v);
		need(replica_part_leave(q->r, &c.id, &x, 1, NULL), "leave");
		struct attr at;
		is_errno(replica_attr(q->r, &d.id, &at), -ENOENT, "a directory leaves");
		ok(rep_sound(q->r), "the store is sound without it");
		send_part(p, q, &d.id);
		is_int(time_of(q, &d.id), time_of(p, &d.id), "it comes back with the time at which a file that stayed had left it");
		ok(rep_sound(q->r), "the store is sound");
	}
}

int main(void)
{
	struct rep p, q;
	tap_plan(34);
	rep_open(&p, NULL, 5, 11);
	rep_open(&q, NULL, 6, 12);
	test_here(&p);
	test_precursor(&p);
	test_elsewhere(&p, &q);
	test_back(&p, &q);
	test_wild_clock(&p, &q);
	rep_close(&q);
	rep_close(&p);
	return tap_done();
}
