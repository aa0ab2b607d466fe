/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Replicas on stores in memory or in a directory, with clock and randomness from a seed. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/replica.h"
#include "tests/prng.h"
#include "tests/tap.h"

struct rep {
	struct store *store;
	struct replica *r;
	struct prng prng;
	uint64_t wall; /* microseconds; advances by itself */
	struct id device;
	uint8_t fence[16];
	uint32_t large_min; /* from the next rep_start on */
};

_unused_ static uint64_t rep_wall(void *userdata)
{
	struct rep *p = userdata;
	return p->wall += 7;
}

_unused_ static void rep_random(void *userdata, void *data, size_t len)
{
	struct rep *p = userdata;
	prng_fill(&p->prng, data, len);
}

_unused_ static struct replica *rep_start(struct rep *p)
{
	struct err e = { 0 };
	struct replica_config config = { .store = p->store, .device = p->device,
					 .wall_us = rep_wall, .random = rep_random,
					 .userdata = p, .large_min = p->large_min };
	memcpy(config.fence, p->fence, sizeof(config.fence));
	int rc = replica_open(&config, &p->r, &e);
	if (rc < 0)
		tap_bail("replica_open: %d %s", rc, e.message);
	return p->r;
}

/* A replica of device n; path NULL: in memory. */
_unused_ static struct replica *rep_open(struct rep *p, const char *path, unsigned n, uint64_t seed)
{
	struct err e = { 0 };
	*p = (struct rep){ .prng = { seed * 1000003 + n }, .wall = UINT64_C(1700000000000000) };
	p->device.b[0] = (uint8_t)(0x11 * (n + 1));
	p->device.b[1] = (uint8_t)(0xa7 + 31 * n);
	p->device.b[15] = (uint8_t)(n + 1);
	int rc = path ? store_open(path, true, &p->store, &e) : store_open_memory(&p->store);
	if (rc < 0)
		tap_bail("store_open: %d %s", rc, e.message);
	return rep_start(p);
}

_unused_ static void rep_stop(struct rep *p)
{
	replica_free(p->r);
	p->r = NULL;
}

_unused_ static void rep_close(struct rep *p)
{
	rep_stop(p);
	store_close(p->store);
	p->store = NULL;
}

_unused_ static struct content rep_text(const char *text)
{
	return (struct content){ text, strlen(text), -1 };
}

_unused_ static int rep_lookup(struct replica *r, const struct id *parent, const char *name,
			       struct attr *ret)
{
	return replica_lookup(r, parent, name, strlen(name), ret);
}

_unused_ static int rep_create(struct replica *r, const struct id *parent, const char *name,
			       const char *text, struct attr *ret)
{
	struct content c = rep_text(text);
	return replica_create(r, parent, name, strlen(name), 0644, &c, SAVE_BY_NAME, 0, ret,
			      NULL, NULL);
}

_unused_ static int rep_mkdir(struct replica *r, const struct id *parent, const char *name,
			      struct attr *ret)
{
	return replica_mkdir(r, parent, name, strlen(name), 0755, ret);
}

_unused_ static int rep_save(struct replica *r, const struct id *id, const struct version *base,
			     const char *text)
{
	struct content c = rep_text(text);
	return replica_save(r, id, base, &c, SAVE_BY_NAME, NULL, NULL);
}

_unused_ static int rep_rename(struct replica *r, const struct id *id, const struct id *parent,
			       const char *name, unsigned flags)
{
	return replica_rename(r, id, parent, name, strlen(name), flags, NULL);
}

/* The bytes of a version, with a NUL behind them. The caller frees them. */
_unused_ static char *rep_bytes(struct version *v, size_t *ret_len)
{
	size_t len = (size_t)version_size(v);
	char *text = malloc(len + 1);
	ssize_t n = version_pread(v, text, len, 0);
	if (n != (ssize_t)len)
		tap_bail("version_pread: %zd of %zu", n, len);
	text[len] = 0;
	if (ret_len)
		*ret_len = len;
	return text;
}

/* The newest content of a node: "" when it cannot be read. The caller frees it. */
_unused_ static char *rep_read(struct replica *r, const struct id *id)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (replica_read(r, id, &v) < 0)
		return calloc(1, 1);
	return rep_bytes(v, NULL);
}

/* The delta of a node, whole, with its actors numbered as the receiver does. */
_unused_ static struct delta *rep_delta(struct rep *from, struct rep *to, const struct id *id,
					struct arena *a)
{
	struct actor_codec *out, *in;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct delta *d;
	if (replica_flush(from->r, NULL) < 0 || actor_codec_new(replica_actors(from->r), &out) < 0 ||
	    actor_codec_new(replica_actors(to->r), &in) < 0)
		tap_bail("no memory");
	struct view *v = replica_view(from->r);
	if (view_whole(v, id, a, &d, NULL) < 0 || !d)
		tap_bail("view_whole");
	delta_encode(d, replica_actors(from->r), out, &b);
	view_unref(v);
	char *copy = arena_dup(a, b.data, b.len);
	struct cursor c = cursor_make(copy, b.len);
	if (delta_decode(a, replica_actors(to->r), in, &c, &d, NULL) < 0)
		tap_bail("delta_decode");
	actor_codec_free(out);
	actor_codec_free(in);
	return d;
}

/* Its result, or -errno; the round is never complete. */
_unused_ static int rep_apply(struct rep *to, const struct delta *d, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	static const struct vv nothing;
	enum apply_result result = 0;
	struct sha256 *missing;
	uint32_t n;
	int rc = replica_apply(to->r, &a, d, &nothing, &result, &missing, &n, e);
	return rc < 0 ? rc : (int)result;
}

/* Every check that replica_verify knows; complaints go to the log. */
_unused_ static void rep_problem(const char *problem, void *userdata)
{
	(void)userdata;
	tap_diag("verify: %s", problem);
}

_unused_ static bool rep_sound(struct replica *r)
{
	struct verify_report report;
	int rc = replica_verify(r, false, rep_problem, NULL, &report, NULL);
	return rc == 0 && report.errors == 0;
}
