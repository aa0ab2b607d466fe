/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Two replicas that edit the same files and meet: a test has one such pair. */

#include "engine/blob.h"
#include "tests/replicas.h"
#include "tests/tap.h"

static struct rep p, q;
static struct attr dir;

/* With the chunks that the other one asks for. */
_unused_ static void send(struct rep *from, struct rep *to, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	static const struct vv nothing;
	struct err e = { 0 };
	enum apply_result result;
	struct sha256 *missing;
	uint32_t n = 1;
	const struct delta *d = rep_delta(from, to, id, &a);
	for (unsigned tries = 0; n > 0 && tries < 4; tries++) {
		n = 0;
		if (replica_apply(to->r, &a, d, &nothing, &result, &missing, &n, &e) < 0)
			tap_bail("apply: %s", e.message);
		for (uint32_t i = 0; i < n; i++) {
			_cleanup_(buf_done) struct buf chunk = { 0 };
			if (chunk_get(from->store, &missing[i], &chunk) < 0 ||
			    chunk_put(to->store, &missing[i], chunk.data, chunk.len) < 0)
				tap_bail("chunk");
		}
	}
}

/* What p makes of a file is on q, too. */
_unused_ static struct id begin(const char *name, const char *text)
{
	struct attr at;
	if (rep_create(p.r, &dir.id, name, text, &at) < 0)
		tap_bail("create");
	send(&p, &q, &at.id);
	return at.id;
}

_unused_ static void meet(const struct id *id)
{
	p.wall = q.wall = p.wall > q.wall ? p.wall : q.wall;
	send(&p, &q, id);
	send(&q, &p, id);
}

_unused_ static struct version *read_of(struct rep *d, const struct id *id)
{
	struct version *v;
	if (replica_read(d->r, id, &v) < 0)
		tap_bail("read");
	return v;
}

/* Saves with what d shows as base. */
_unused_ static void edit(struct rep *d, const struct id *id, const char *text)
{
	_cleanup_(version_unrefp) struct version *v = read_of(d, id);
	if (rep_save(d->r, id, v, text) < 0)
		tap_bail("save");
}

/* Both show the text. */
_unused_ static bool shows(const struct id *id, const char *want)
{
	_cleanup_free_ char *x = rep_read(p.r, id), *y = rep_read(q.r, id);
	if (strcmp(x, want) == 0 && strcmp(y, want) == 0)
		return true;
	tap_diag("wanted:\n%s\none:\n%s\nother:\n%s", want, x, y);
	return false;
}

/* The commonest way to lose an edit: a whole file, saved by who had read an older one (v). Then that
 * writer saves again, on what it knows, which is not what the file shows, and has been kept and read
 * back. Four cases. */
_unused_ static void saves_on_old(const struct id *id, const struct version *v, const char *first,
				  const char *shown, const char *second)
{
	_cleanup_(version_unrefp) struct version *saved = NULL, *knows = NULL, *back = NULL;
	_cleanup_(buf_done) struct buf kept = { 0 };
	const struct content c = rep_text(first), again = rep_text(second);
	if (replica_save(p.r, id, v, &c, SAVE_BY_NAME, &saved, NULL) < 0)
		tap_bail("save");
	_cleanup_free_ char *text = rep_read(p.r, id);
	is_str(text, shown, "what came meanwhile stays");
	is_int(version_written(p.r, v, saved, c.data, c.len, &knows), 0, "what the writer knows");
	ok(version_encode(p.r, knows, &kept) == 0 &&
		   version_decode(p.r, kept.data, kept.len, &back) == 0,
	   "can be kept and read back");
	is_int(replica_save(p.r, id, back, &again, SAVE_BY_NAME, NULL, NULL), 0, "a second save");
	send(&p, &q, id);
}

_unused_ static void meeting_open(void)
{
	rep_open(&p, NULL, 3, 1);
	rep_open(&q, NULL, 4, 2);
	if (rep_mkdir(p.r, &NODE_ROOT, "d", &dir) < 0)
		tap_bail("mkdir");
	send(&p, &q, &dir.id);
}

_unused_ static void meeting_close(const char *what)
{
	ok(rep_sound(p.r) && rep_sound(q.r), "%s", what);
	rep_close(&q);
	rep_close(&p);
}
