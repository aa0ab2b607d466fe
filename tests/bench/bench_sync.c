/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sync without a network: two replicas in memory in one thread, so the figures are of both sides
 * together. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/pair.h"
#include "tests/tap.h"

#define DOCUMENTS 10000

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* About 1 KB, as a catalogue's entry might look. */
static void document(struct prng *r, unsigned i, unsigned price, struct buf *b)
{
	buf_reset(b);
	buf_putf(b, "{\n  \"id\": %u,\n  \"name\": \"item number %u\",\n  \"price\": %u,\n", i, i,
		 price);
	for (unsigned k = 0; k < 20; k++)
		buf_putf(b, "  \"field%02u\": \"%016" PRIx64 "%08x\",\n", k, prng_u64(r),
			 (unsigned)prng_u64(r));
	buf_puts(
		b,
		"  \"tags\": [\"one\", \"two\", \"three\"],\n  \"stock\": {\"here\": 3, \"there\": 4}\n}\n");
}

static void measure(const char *where, const char *path_a, const char *path_b)
{
	struct node a, b;
	struct pair p;
	struct prng r = { 1 };
	_cleanup_(buf_done) struct buf doc = { 0 };
	uint64_t plain = 0;
	node_open(&a, 1, path_a);
	node_open(&b, 2, path_b);
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%u.json", i);
		document(&r, i, 1000 + i, &doc);
		plain += doc.len;
		node_write(&a, "catalogue", name, doc.data, doc.len);
	}
	pair_open(&p, &a, &b);
	double start = seconds();
	pair_run(&p);
	double took = seconds() - start;
	if (p.failed || !session_in_step(p.session[0]))
		tap_bail("the first sync failed: %s", p.e.message);
	printf("first sync, %s\t%.0f\tdocuments/s\t>=5000\n", where, DOCUMENTS / took);
	printf("first sync, bytes on the wire, %s\t%.0f\tbytes/document\tplain=%.0f\n", where,
	       (double)(p.bytes[0] + p.bytes[1]) / DOCUMENTS, (double)plain / DOCUMENTS);

	uint64_t before = p.bytes[0] + p.bytes[1];
	struct prng again = { 1 };
	start = seconds();
	for (unsigned i = 0; i < 1000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%u.json", i);
		document(&again, i, 7, &doc);
		node_write(&a, "catalogue", name, doc.data, doc.len);
		node_flush(&a, p.session[0]);
		pair_run(&p);
	}
	took = seconds() - start;
	if (p.failed || !session_in_step(p.session[0]))
		tap_bail("a change failed: %s", p.e.message);
	printf("one field, bytes both ways, %s\t%.0f\tbytes\t<=300\n", where,
	       (double)(p.bytes[0] + p.bytes[1] - before) / 1000);
	printf("one field, save to durable at the peer, %s\t%.3f\tms\n", where, took);
	pair_close(&p);

	pair_open(&p, &a, &b);
	pair_run(&p);
	printf("reconnect with nothing new, %s\t%" PRIu64 "\tbytes each way\t<=120\n", where,
	       p.bytes[0] > p.bytes[1] ? p.bytes[0] : p.bytes[1]);
	pair_close(&p);
	pair_open(&p, &a, &b);
	printf("reconnect with nothing new, round trips, %s\t%.1f\tround trips\t<=2\n", where,
	       pair_delays(&p, 100) / 2.0);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

int main(void)
{
	measure("memory", NULL, NULL);
	char a[256], b[256];
	snprintf(a, sizeof(a), "%s/a", tap_tmpdir());
	snprintf(b, sizeof(b), "%s/b", tap_tmpdir());
	measure("RocksDB", a, b);
	return 0;
}
