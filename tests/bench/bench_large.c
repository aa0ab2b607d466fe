/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A document of 100,000 keys on RocksDB: one field of it saved, beside what it takes to parse it. */

#include <time.h>

#include "engine/json.h"
#include "tests/replicas.h"

#define KEYS 100000
#define SAVES 21

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void document(unsigned value, struct buf *b)
{
	buf_reset(b);
	buf_putf(b, "{\n  \"value\": %u", value);
	for (unsigned i = 1; i < KEYS; i++)
		buf_putf(b, ",\n  \"key%u\": %u", i, i * 7);
	buf_putf(b, "\n}\n");
	if (buf_failed(b))
		tap_bail("no memory");
}

static int by_time(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;
	return a < b ? -1 : a > b;
}

static double median(double *t)
{
	qsort(t, SAVES, sizeof(*t), by_time);
	return t[SAVES / 2];
}

int main(void)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	double parse[SAVES], save[SAVES];
	struct rep p;
	struct attr dir, at;
	char path[300];
	snprintf(path, sizeof(path), "%s/large", tap_tmpdir());
	rep_open(&p, path, 0, 1);
	rep_mkdir(p.r, &NODE_ROOT, "cars", &dir);
	document(0, &text);
	struct content c = { (const char *)text.data, text.len, -1 };
	if (replica_create(p.r, &dir.id, "x.json", 6, 0644, &c, SAVE_BY_NAME, 0, &at, NULL, NULL) < 0)
		tap_bail("replica_create");
	for (unsigned i = 0; i < SAVES; i++) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		_cleanup_(arena_done) struct arena a = { 0 };
		struct json *tree;
		document(i + 1, &text);
		c = (struct content){ (const char *)text.data, text.len, -1 };
		double t0 = now_ms();
		if (json_parse(&a, c.data, c.len, NULL, &tree, NULL) < 0)
			tap_bail("json_parse");
		parse[i] = now_ms() - t0;
		if (replica_read(p.r, &at.id, &v) < 0)
			tap_bail("replica_read");
		t0 = now_ms();
		if (replica_save(p.r, &at.id, v, &c, SAVE_BY_NAME, NULL, NULL) < 0)
			tap_bail("replica_save");
		save[i] = now_ms() - t0;
	}
	double whole = median(parse);
	printf("100,000 keys: parsed\t%.1f\tms\t\n", whole);
	printf("100,000 keys: one field saved, beside parsing twice\t%.1f\tms\t<=%.1f\n", median(save),
	       2 * whole);
	rep_close(&p);
	return 0;
}
