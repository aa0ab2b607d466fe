/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of the past is the tree that was shown. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/deleted.h"
#include "engine/moment.h"
#include "tests/past.h"

#define STEPS 60
#define ROUNDS 12
#define DIRS 4
#define NAMES 5

/* ---- trees as texts: PATH/ or PATH=CONTENT, a line each ---- */

struct dump {
	struct replica *r;
	struct moment *m; /* NULL: now */
	struct buf path, *to;
};

static int dump_dir(struct dump *d, const struct id *dir);

static void dump_content(struct dump *d, const struct attr *at)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	int rc = d->m ? moment_read(d->m, &at->id, &v) : replica_read(d->r, &at->id, &v);
	if (rc < 0) {
		buf_putf(d->to, "(%d)", rc);
		return;
	}
	_cleanup_free_ char *text = rep_bytes(v, NULL);
	buf_putf(d->to, "=%s", text);
	if (at->size != version_size(v))
		buf_putf(d->to, "(size %llu)", (unsigned long long)at->size);
}

static int dump_one(const char *name, size_t len, const struct attr *at, void *userdata)
{
	struct dump *d = userdata;

	size_t keep = d->path.len;
	buf_put(&d->path, name, len);
	buf_puts(d->to, buf_cstr(&d->path));
	if (at->kind == NODE_FILE)
		dump_content(d, at);
	else if (at->kind == NODE_LINK && d->m)
		moment_readlink(d->m, &at->id, d->to);
	else if (at->kind == NODE_LINK)
		replica_readlink(d->r, &at->id, d->to);
	buf_puts(d->to, at->kind == NODE_DIR ? "/\n" : "\n");
	int rc = 0;
	if (at->kind == NODE_DIR) {
		buf_u8(&d->path, '/');
		rc = dump_dir(d, &at->id);
	}
	d->path.len = keep;
	return rc;
}

static int dump_dir(struct dump *d, const struct id *dir)
{
	return d->m ? moment_list(d->m, dir, dump_one, d) : replica_list(d->r, dir, dump_one, d);
}

static char *dump(struct replica *r, struct moment *m)
{
	struct buf b = { 0 };
	struct dump d = { .r = r, .m = m, .to = &b };
	int rc = dump_dir(&d, &NODE_ROOT);
	if (rc < 0)
		buf_putf(&b, "error %d", rc);
	buf_done(&d.path);
	return buf_cstr(&b);
}

static char *dump_at(struct replica *r, uint64_t us)
{
	_cleanup_(moment_freep) struct moment *m = NULL;
	if (moment_new(r, us, &m) < 0)
		tap_bail("moment_new");
	return dump(r, m);
}

static bool same(const char *got, const char *want, const char *what, unsigned i)
{
	if (strcmp(got, want) == 0)
		return true;
	tap_diag("%s, step %u: got\n%s\nwanted\n%s", what, i, got, want);
	return false;
}

/* ---- what happened to single files ---- */

static void test_story(uint64_t number)
{
	struct rep p;
	struct attr d, e, x, y, z, got;
	uint64_t at[8];
	char *was[8];
	unsigned n = 0;
	rep_open(&p, NULL, 0, number);
#define MARK()                                      \
	do {                                        \
		was[n] = dump(p.r, NULL);           \
		at[n++] = p.wall;                   \
		p.wall += 5 * SECOND;               \
	} while (0)
	MARK();
	rep_mkdir(p.r, &NODE_ROOT, "d", &d);
	rep_create(p.r, &d.id, "x.json", "{\"n\":1}", &x);
	rep_create(p.r, &d.id, "y.txt", "first\n", &y);
	replica_symlink(p.r, &d.id, "link", 4, "y.txt", &z);
	MARK();
	save(&p, &x.id, "{\"n\":2}", 7);
	save(&p, &y.id, "second\n", 7);
	MARK();
	rep_rename(p.r, &x.id, &d.id, "renamed.json", 0);
	rep_mkdir(p.r, &NODE_ROOT, "e", &e);
	MARK();
	replica_remove(p.r, &z.id, 0);
	replica_remove(p.r, &y.id, 0);
	rep_create(p.r, &d.id, "x.json", "{\"other\":1}", &z);
	rep_rename(p.r, &d.id, &NODE_ROOT, "moved", 0);
	MARK();
	replica_remove(p.r, &z.id, 0);
	rep_rename(p.r, &x.id, &NODE_ROOT, "top.json", 0);
	replica_remove(p.r, &d.id, 0);
	MARK();
	is_int(replica_undelete(p.r, &y.id, NULL, NULL, 0, NULL), 0, "something comes back");
	MARK();
	for (unsigned i = 0; i < n; i++) {
		_cleanup_free_ char *then = dump_at(p.r, at[i]);
		ok(same(then, was[i], "the story", i), "the tree after %u steps", i);
		free(was[i]);
	}
	_cleanup_(moment_freep) struct moment *m = NULL;
	moment_new(p.r, at[2], &m);
	ok(moment_lookup(m, &NODE_ROOT, "d", 1, &got) == 0 && id_equal(&got.id, &d.id) &&
		   got.mtime_ns <= (int64_t)at[2] * 1000,
	   "a directory by the name that it had, with a time of then");
	ok(moment_lookup(m, &d.id, "x.json", 6, &got) == 0 && id_equal(&got.id, &x.id) &&
		   got.size == 7,
	   "a file in it");
	is_errno(moment_lookup(m, &d.id, "renamed.json", 12, &got), -ENOENT,
		 "not by the name that it got");
	is_errno(moment_lookup(m, &NODE_ROOT, "moved", 5, &got), -ENOENT, "nor the directory");
	is_errno(moment_new(p.r, UINT64_MAX, &m), -EINVAL, "a time that no clock says");
	ok(rep_sound(p.r), "a sound store");
	_cleanup_(arena_done) struct arena a = { 0 };
	struct deleted *gone;
	uint32_t n_gone;
	replica_deleted(p.r, &a, &gone, &n_gone);
	ok(n_gone == 3, "moves are no deletions (%u)", n_gone);
	rep_close(&p);
}

/* ---- any ---- */

static struct id any_dir(struct rep *p)
{
	char name[2] = { (char)('A' + prng_below(&p->prng, DIRS)), 0 };
	struct attr at;
	return prng_below(&p->prng, 4) == 0 || rep_lookup(p->r, &NODE_ROOT, name, &at) < 0 ||
			       at.kind != NODE_DIR ? NODE_ROOT : at.id;
}

static void step(struct rep *p, unsigned i)
{
	static const char *const suffix[] = { "json", "txt", "bin" };
	struct id dir = any_dir(p), to = any_dir(p);
	struct attr at, made;
	char name[16], other[16], text[64];
	struct prng *g = &p->prng;
	snprintf(name, sizeof(name), "%c.%s", (char)('a' + prng_below(g, NAMES)),
		 suffix[prng_below(g, 3)]);
	snprintf(other, sizeof(other), "%c.%s", (char)('a' + prng_below(g, NAMES)),
		 strrchr(name, '.') + 1);
	snprintf(text, sizeof(text), "{\"step\":%u}", i);
	bool there = rep_lookup(p->r, &dir, name, &at) == 0;
	switch (prng_below(g, there ? 8 : 3)) {
	case 0: {
		char d[2] = { (char)('A' + prng_below(g, DIRS)), 0 };
		if (rep_mkdir(p->r, &NODE_ROOT, d, &made) == -EEXIST &&
		    rep_lookup(p->r, &NODE_ROOT, d, &made) == 0 && prng_below(g, 2)) {
			d[0] = (char)('A' + prng_below(g, DIRS));
			rep_rename(p->r, &made.id, &NODE_ROOT, d, 0);
		}
		break;
	}
	case 3:
	case 4:
		replica_remove(p->r, &at.id, 0);
		break;
	case 5:
	case 6:
		rep_rename(p->r, &at.id, &to, other, 0);
		break;
	default:
		if (there)
			save(p, &at.id, text, strlen(text));
		else
			rep_create(p->r, &dir, name, text, &made);
	}
}

static bool random_history(uint64_t number)
{
	struct rep p;
	char *was[STEPS] = { NULL };
	uint64_t at[STEPS];
	struct moment *open[STEPS] = { NULL };
	bool good = true;
	rep_open(&p, NULL, 0, number);
	for (unsigned i = 0; i < STEPS; i++) {
		p.wall += 5 * SECOND;
		step(&p, i);
		was[i] = dump(p.r, NULL);
		at[i] = p.wall;
		/* Some look on from then on: they see the same all the time. */
		if (i % 7 == 0 && moment_new(p.r, at[i], &open[i]) < 0)
			tap_bail("moment_new");
		for (unsigned k = 0; good && k <= i; k += 7) {
			_cleanup_free_ char *now = dump(p.r, open[k]);
			good = same(now, was[k], "one that looks on", k);
		}
	}
	for (unsigned i = 0; i < STEPS; i++) {
		_cleanup_free_ char *then = dump_at(p.r, at[i]);
		good = good && same(then, was[i], "looking back", i);
		free(was[i]);
		moment_free(open[i]);
	}
	good = good && rep_sound(p.r);
	rep_close(&p);
	return good;
}

/* ---- from another device ---- */

static void test_from_elsewhere(uint64_t number)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct rep p, q;
	struct attr d, x;
	rep_open(&p, NULL, 0, number);
	rep_open(&q, NULL, 1, number);
	uint64_t began = p.wall;
	p.wall += HOUR;
	rep_mkdir(p.r, &NODE_ROOT, "d", &d);
	rep_create(p.r, &d.id, "x.json", "{}", &x);
	q.wall += DAY;
	is_int(rep_apply(&q, rep_delta(&p, &q, &x.id, &a), NULL), APPLY_MERGED,
	       "a file that comes before its directory");
	is_int(rep_apply(&q, rep_delta(&p, &q, &d.id, &a), NULL), APPLY_MERGED, "and that");
	_cleanup_free_ char *now = dump(q.r, NULL);
	is_str(now, "d/\nd/x.json={}\n", "are where they belong");
	_cleanup_free_ char *then = dump_at(q.r, began + 2 * HOUR);
	is_str(then, "d/\nd/x.json={}\n", "since they were made there");
	_cleanup_free_ char *before = dump_at(q.r, began);
	is_str(before ? before : "", "", "and not before");
	rep_close(&p);
	rep_close(&q);
}

/* ---- what is not known any more ---- */

static void test_old(uint64_t number)
{
	struct rep p;
	struct attr x, y;
	rep_open(&p, NULL, 0, number);
	rep_create(p.r, &NODE_ROOT, "x.json", "{\"n\":1}", &x);
	rep_create(p.r, &NODE_ROOT, "y.json", "{\"n\":1}", &y);
	uint64_t first = p.wall;
	wait(&p, DAY);
	save(&p, &x.id, "{\"n\":2}", 7);
	rep_rename(p.r, &x.id, &NODE_ROOT, "z.json", 0);
	replica_remove(p.r, &y.id, 0);
	_cleanup_free_ char *before = dump_at(p.r, first);
	is_str(before, "x.json={\"n\":1}\ny.json={\"n\":1}\n", "a day ago");
	wait(&p, MONTH + DAY);
	_cleanup_free_ char *after = dump_at(p.r, first);
	is_str(after ? after : "", "", "names that were left a month ago are forgotten");
	rep_close(&p);
}

int main(int argc, char **argv)
{
	tap_plan(1 + 7 + 7 + 2 + 5 + 1);
	seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, ROUNDS);
	bool good = true;
	test_story(seed);
	test_old(seed + 1);
	test_from_elsewhere(seed);
	for (uint64_t i = 0; good && i < rounds; i++) {
		good = random_history(seed + 2 + i);
		if (!good)
			tap_diag("round %llu", (unsigned long long)i);
	}
	ok(good, "whatever happens, each tree of the past is the one that was shown then");
	return tap_done();
}
