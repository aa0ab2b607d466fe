/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are being written, in memory and in the spool, against a plain array. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/workfile.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define ROOM (3u * 1024 * 1024)

static bool same(struct workfile *w, const uint8_t *model, size_t size, uint8_t *room)
{
	return workfile_size(w) == size && workfile_pread(w, room, ROOM, 0) == (ssize_t)size &&
	       memcmp(room, model, size) == 0;
}

static void test_model(int dir, uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	uint8_t *model = calloc(1, ROOM), *room = malloc(ROOM), *data = malloc(ROOM);
	uint64_t bad = 0;
	for (uint64_t k = 0; k < rounds && model && room && data; k++) {
		_cleanup_(workfile_freep) struct workfile *w = NULL;
		size_t size = 0;
		if (workfile_new(dir, &w) < 0)
			tap_bail("no workfile");
		memset(model, 0, ROOM);
		for (unsigned i = 0; i < 30; i++) {
			size_t at = (size_t)prng_below(&r, prng_below(&r, 4) ? 5000 : ROOM / 2);
			size_t len = (size_t)prng_below(&r, prng_below(&r, 8) ? 3000 : ROOM / 2);
			if (prng_below(&r, 5) == 0) {
				bad += workfile_truncate(w, at) != 0;
				if (at < size)
					memset(model + at, 0, size - at);
				size = at;
			} else {
				memset(data, (int)prng_below(&r, 256), len);
				bad += workfile_pwrite(w, data, len, at) != 0;
				memcpy(model + at, data, len);
				if (len && at + len > size)
					size = at + len;
			}
		}
		bad += !same(w, model, size, room);
		if (bad) {
			tap_diag("round %llu", (unsigned long long)k);
			break;
		}
	}
	ok(bad == 0, "writes, holes and truncations read back");
	free(model);
	free(room);
	free(data);
}

static void test_keep(int dir)
{
	struct workfile *w = NULL;
	char room[64];
	for (unsigned big = 0; big < 2; big++) {
		if (workfile_new(dir, &w) < 0)
			tap_bail("no workfile");
		if (big)
			workfile_truncate(w, 2 * WORKFILE_MEMORY);
		workfile_pwrite(w, "hello", 5, 0);
		is_int(workfile_keep(w, "local-1", true), 0, "kept under a name");
		workfile_pwrite(w, "J", 1, 0);
		is_int(workfile_keep(w, "local-1", false), 0, "and again after a change");
		workfile_free(w);
		is_int(workfile_open(dir, "local-1", &w), 0, "it outlives its workfile");
		ok(workfile_pread(w, room, 5, 0) == 5 && memcmp(room, "Jello", 5) == 0, "whole");
		workfile_unkeep(w);
		workfile_free(w);
		ok(faccessat(dir, "local-1", F_OK, 0) < 0, "until it is not kept any more");
	}
}

int main(int argc, char **argv)
{
	tap_plan(11);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 60);
	int dir = open(tap_tmpdir(), O_DIRECTORY | O_RDONLY);
	test_model(dir, seed, rounds);
	test_keep(dir);
	close(dir);
	return tap_done();
}
