/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What it costs to find a key in a store on the disk, in a small family and in a large one: the large one's
 * filters and indexes have to stay in memory. */

#include <ftw.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/store.h"
#include "tests/bench/figure.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define FEW 10000u
#define MANY 1200000u
#define BATCH 1000u
#define GETS 50000u
#define KEY 40u

/* In no order, so that tables are merged and not only moved. */
static void key_of(uint32_t n, uint8_t key[static KEY])
{
	memset(key, 7, KEY);
	n *= 2654435761u;
	for (unsigned i = 0; i < 4; i++)
		key[KEY - 1 - i] = (uint8_t)(n >> 8 * i);
}

static void fill(struct store *s, uint32_t count)
{
	uint8_t key[KEY];
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	if (store_batch_new(&b) < 0)
		tap_bail("no memory");
	for (uint32_t n = 0; n < count; n++) {
		key_of(n, key);
		store_put(b, STORE_DIRENTS, key, KEY, &n, sizeof(n));
		if ((n + 1) % BATCH == 0) {
			if (store_write(s, b, NULL) < 0)
				tap_bail("store_write");
			store_batch_clear(b);
		}
	}
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* Seconds for each of them, in a store that was closed in between. */
static double find(uint32_t count)
{
	char dir[] = "/tmp/shoal-bench-store-XXXXXX";
	char path[64];
	struct store *s = NULL;
	struct prng p = { 1 };
	uint8_t key[KEY];
	_cleanup_(buf_done) struct buf value = { 0 };
	double best = 1e9;
	if (!mkdtemp(dir))
		tap_bail("no directory");
	snprintf(path, sizeof(path), "%s/db", dir);
	for (unsigned round = 0; round < 2; round++) {
		if (store_open(path, true, &s, NULL) < 0)
			tap_bail("store_open");
		if (round == 0) {
			fill(s, count);
			/* Written out, and most of it merged. */
			if (store_compact(s, 0, NULL) < 0)
				tap_bail("store_compact");
			store_close(s);
		}
	}
	for (unsigned pass = 0; pass < 3; pass++) {
		double since = now();
		for (unsigned n = 0; n < GETS; n++) {
			key_of((uint32_t)prng_below(&p, count), key);
			if (store_get(s, NULL, STORE_DIRENTS, key, KEY, &value) < 0)
				tap_bail("a key is gone");
		}
		double took = (now() - since) / GETS;
		best = took < best ? took : best;
	}
	store_close(s);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return best;
}

int main(void)
{
	const double few = find(FEW), many = find(MANY);
	printf("store: a key among %u\t%.2f\tus\t\n", FEW, 1e6 * few);
	printf("store: the same among %u (%.2f us)\t%.2f\tx\t<=4\n", MANY, 1e6 * many, many / few);
	return 0;
}
