/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that brings documents in by libshoal, and reads them: putload STORE DIRECTORY COUNT STEPS FLAGS. COUNT documents
 * in transactions of STEPS, four of them under way at a time; then up to 20000 are read one by one. Prints both rates
 * a second. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/figure.h"
#include "tools/libshoal/shoal.h"

#define UNDER_WAY 4
#define READS 20000u

static int fail(const struct shoal_error *e)
{
	fprintf(stderr, "putload: %s\n", e->message);
	return EXIT_FAILURE;
}

static int failed(const struct shoal_answer *a, void *userdata)
{
	if (a->error) {
		*(int *)userdata = 1;
		fail(a->error);
	}
	return 0;
}

static int put(struct shoal_txn *t, const char *directory, unsigned number, struct shoal_error *e)
{
	char path[512], json[160];
	snprintf(path, sizeof(path), "%s/%08u.json", directory, number);
	int len = snprintf(json, sizeof(json), "{\"number\":%u,\"name\":\"car %u\",\"colour\":\"red\",\"doors\":5}",
			   number, number);
	return shoal_txn_put(t, path, json, (size_t)len, NULL, e);
}

static int64_t fill(struct shoal *s, const char *directory, unsigned count, unsigned steps, unsigned flags,
		    int *bad, struct shoal_error *e)
{
	struct shoal_txn *t;
	int64_t r = shoal_txn_new(&t), newest = 0;
	for (unsigned n = 0; r >= 0 && n < count;) {
		for (unsigned k = 0; r >= 0 && k < steps && n < count; k++)
			r = put(t, directory, n++, e);
		if (r >= 0)
			newest = r = shoal_txn_send(s, t, flags, failed, bad, e);
		shoal_txn_clear(t);
		if (r >= 0 && newest > UNDER_WAY)
			r = shoal_finish(s, newest - UNDER_WAY, e);
	}
	shoal_txn_free(t);
	return r < 0 ? r : shoal_finish(s, 0, e);
}

static int get(struct shoal *s, const char *directory, unsigned count, struct shoal_error *e)
{
	int r = 0;
	for (unsigned n = 0; r == 0 && n < count; n++) {
		struct shoal_file f;
		char path[512];
		snprintf(path, sizeof(path), "%s/%08u.json", directory, n);
		r = shoal_get(s, path, NULL, 0, &f, e);
		if (r == 0)
			shoal_file_done(&f);
	}
	return r;
}

int main(int argc, char **argv)
{
	struct shoal_error e = { 0 };
	struct shoal *s;
	int bad = 0;
	if (argc != 6)
		return 2;
	unsigned count = (unsigned)strtoul(argv[3], NULL, 10), steps = (unsigned)strtoul(argv[4], NULL, 10),
		 flags = (unsigned)strtoul(argv[5], NULL, 10), reads = count < READS ? count : READS;
	if (shoal_open(argv[1], &s, &e) < 0)
		return fail(&e);
	double since = now();
	if (fill(s, argv[2], count, steps, flags, &bad, &e) < 0)
		return fail(&e);
	printf("%.0f ", count / (now() - since));
	since = now();
	if (get(s, argv[2], reads, &e) < 0)
		return fail(&e);
	printf("%.0f\n", reads / (now() - since));
	shoal_close(s);
	return bad;
}
