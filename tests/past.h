/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Earlier versions in tests: saves some seconds apart, and what is kept of them. */

#include <stdlib.h>

#include "engine/history.h"
#include "tests/replicas.h"

#define SECOND UINT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define MONTH (30 * DAY)

_unused_ static uint64_t seed;

_unused_ static uint32_t list(struct replica *r, const struct id *id, struct arena *a, struct past **ret)
{
	uint32_t n;
	int rc = replica_history(r, id, a, ret, &n);
	if (rc < 0)
		tap_bail("replica_history: %d", rc);
	return n;
}

_unused_ static uint32_t count(struct replica *r, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct past *p;
	return list(r, id, &a, &p);
}

_unused_ static bool holds(struct replica *r, const struct id *id, const struct past *p, const void *data,
		  size_t len)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (replica_history_read(r, id, p, &v) < 0 || version_size(v) != len || p->size != len)
		return false;
	_cleanup_free_ char *got = rep_bytes(v, NULL);
	return memcmp(got, data, len) == 0 && id_equal(version_id(v), &p->version);
}

/* A text of that many bytes as a document that says n at the front. */
_unused_ static char *document(unsigned n, size_t len)
{
	char *text = malloc(len + 1);
	struct prng g = { seed + len };
	if (!text || len < 64)
		tap_bail("no memory");
	size_t at = (size_t)snprintf(text, len, "{\"n\":%u,\"text\":\"", n);
	while (at < len - 3)
		text[at++] = (char)('a' + prng_below(&g, 26));
	memcpy(text + at, "\"}\n", 4);
	return text;
}

_unused_ static int save(struct rep *p, const struct id *id, const void *data, size_t len)
{
	_cleanup_(version_unrefp) struct version *base = NULL;
	const struct content c = { data, len, -1 };
	p->wall += 5 * SECOND;
	if (replica_read(p->r, id, &base) < 0)
		tap_bail("replica_read");
	return replica_save(p->r, id, base, &c, SAVE_BY_NAME, NULL, NULL);
}

_unused_ static struct history_walk thin(struct rep *p, uint64_t bytes)
{
	const struct history_policy policy = { .keep_us = MONTH, .bytes = bytes };
	struct history_walk w = { 0 };
	struct err e = { 0 };
	int rc;
	do
		rc = replica_history_thin(p->r, &policy, &w, &e);
	while (rc > 0);
	if (rc < 0)
		tap_bail("replica_history_thin: %s", e.message);
	return w;
}

/* As much time as that, with the walks that a daemon makes meanwhile. */
_unused_ static struct history_walk wait(struct rep *p, uint64_t us)
{
	struct history_walk w = { 0 };
	for (uint64_t done = 0; done < us; done += DAY / 2) {
		p->wall += us - done < DAY / 2 ? us - done : DAY / 2;
		w = thin(p, UINT64_MAX);
	}
	return w;
}
