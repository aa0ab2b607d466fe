/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What 100,000 deleted documents of 1 KB take before and after they are purged, how long that takes, and what it costs
 * when a device comes back that has them all and 10,000 others. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/purge.h"
#include "tests/bench/figure.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define DOCUMENTS 100000u
#define DAY (24 * 3600 * UINT64_C(1000000))
#define HORIZON (180 * DAY)

struct families {
	double bytes[STORE_FAMILIES];
};

/* Bytes of keys and values. */
static struct families families(struct node *n)
{
	struct families x = { { 0 } };
	for (int f = 0; f < STORE_FAMILIES; f++) {
		_cleanup_(store_iter_freep) struct store_iter *it = NULL;
		if (store_iter_new(n->store, NULL, (enum store_family)f, NULL, 0, NULL, 0, &it) < 0)
			tap_bail("cannot read");
		for (; store_iter_valid(it); store_iter_next(it)) {
			size_t key, value;
			store_iter_key(it, &key);
			store_iter_value(it, &value);
			x.bytes[f] += (double)(key + value);
		}
	}
	return x;
}

static double stored(struct node *n)
{
	const struct families x = families(n);
	double bytes = 0;
	for (int f = 0; f < STORE_FAMILIES; f++)
		bytes += x.bytes[f];
	return bytes;
}

static void write_all(struct node *n, const char *dir, const char *prefix, unsigned count)
{
	struct prng r = { 1 };
	for (unsigned i = 0; i < count; i++) {
		_cleanup_(buf_done) struct buf doc = { 0 };
		char name[32];
		snprintf(name, sizeof(name), "%s%u.json", prefix, i);
		buf_putf(&doc, "{\n  \"id\": %u", i);
		for (unsigned k = 0; k < 22; k++)
			buf_putf(&doc, ",\n  \"field%02u\": \"%016" PRIx64 "%016" PRIx64 "\"", k, prng_u64(&r), prng_u64(&r));
		buf_puts(&doc, "\n}\n");
		node_write(n, dir, name, doc.data, doc.len);
	}
}

struct names {
	struct node *n;
	struct buf id;
};

static int note(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	struct names *x = userdata;
	(void)kind;
	if (len > 4 && memcmp(name, "gone", 4) == 0)
		buf_put(&x->id, id->b, ID_SIZE);
	return 0;
}

static void delete_all(struct node *n, const char *dir)
{
	struct names x = { .n = n };
	struct attr at;
	if (replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &at) < 0 ||
	    replica_names(n->replica, &at.id, note, &x) < 0)
		tap_bail("no %s", dir);
	for (size_t i = 0; i < x.id.len / ID_SIZE; i++)
		if (replica_remove(n->replica, (const struct id *)(const void *)x.id.data + i, 0) < 0)
			tap_bail("cannot remove");
	buf_done(&x.id);
}

static double walk(struct node *n, uint64_t *ret_purged)
{
	struct history_policy policy = { .keep_us = 30 * DAY, .bytes = UINT64_MAX, .purge = true };
	struct history_walk h = { 0 };
	struct purge_walk w = { 0 };
	while (replica_history_thin(n->replica, &policy, &h, NULL) > 0)
		;
	double start = now();
	while (replica_purge_old(n->replica, HORIZON, &w, NULL) > 0)
		;
	*ret_purged += w.purged;
	return now() - start;
}

int main(void)
{
	struct node a, b;
	struct pair p;
	uint64_t purged = 0;
	double last = 0;
	char dir[] = "/tmp/bench_purge.XXXXXX", path_a[64], path_b[64], command[64];
	if (!mkdtemp(dir))
		tap_bail("no directory");
	snprintf(path_a, sizeof(path_a), "%s/a", dir);
	snprintf(path_b, sizeof(path_b), "%s/b", dir);
	node_open(&a, 1, path_a);
	node_open(&b, 2, path_b);
	write_all(&a, "things", "kept", DOCUMENTS / 10);
	const struct families kept = families(&a);
	write_all(&a, "things", "gone", DOCUMENTS);
	if (!pair_meet(&a, &b))
		tap_bail("the first meeting failed");
	delete_all(&a, "things");
	double before = 0;
	for (unsigned i = 0; i < 183; i++) {
		if (i == 170) /* the history has gone */
			before = stored(&a);
		a.now += DAY;
		double took = walk(&a, &purged);
		last = took > last ? took : last;
	}
	double after = stored(&a);
	struct families without = families(&a);
	if (purged != DOCUMENTS)
		tap_bail("%llu were purged", (unsigned long long)purged);
	printf("what a deleted document takes less when it is purged\t%.0f\tbytes\t-\n", (before - after) / DOCUMENTS);
	for (int f = 0; f < STORE_FAMILIES; f++)
		printf("bytes of it that stay in family %d\t%.1f\tbytes\t-\n", f, (without.bytes[f] - kept.bytes[f]) / DOCUMENTS);
	printf("store, with 100000 deleted documents\t%.0f\tbytes\t-\n", before);
	printf("store, when they are purged\t%.0f\tbytes\t-\n", after);
	printf("purge of 100000 documents\t%.2f\ts\t-\n", last);
	b.now = a.now;
	pair_open(&p, &a, &b);
	double start = now();
	pair_run(&p);
	printf("a device comes back, with 100000 that are purged\t%.2f\ts\t-\n", now() - start);
	printf("bytes on the wire for that\t%.0f\tbytes\t-\n", (double)(p.bytes[0] + p.bytes[1]));
	if (p.failed)
		tap_bail("%s", p.e.message);
	pair_close(&p);
	printf("its store then\t%.0f\tbytes\t-\n", stored(&b));
	node_close(&a);
	node_close(&b);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}
