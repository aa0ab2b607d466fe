/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The main program of a fuzz target that libFuzzer does not drive: every seed as it is, then
 * mutations of seeds (bytes changed, removed, repeated, two seeds joined), from a printed seed. */
#include "tests/fuzz/replay.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/prng.h"
#include "tests/tap.h"

#define INPUT_MAX 65536

struct seed {
	char *data;
	size_t len;
};

struct corpus {
	struct seed *seed;
	size_t n;
};

static void corpus_done(struct corpus *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->seed[i].data);
	free(c->seed);
}

static void corpus_add(struct corpus *c, const char *dir)
{
	struct dirent **entry = NULL;
	int n = scandir(dir, &entry, NULL, alphasort);
	if (n < 0)
		tap_bail("no seeds in %s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;
		struct stat st;
		if (asprintf(&path, "%s/%s", dir, entry[i]->d_name) < 0)
			tap_bail("out of memory");
		free(entry[i]);
		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		struct seed *more = realloc(c->seed, (c->n + 1) * sizeof(*more));
		if (!more)
			tap_bail("out of memory");
		c->seed = more;
		c->seed[c->n].data = tap_read_file(path, &c->seed[c->n].len);
		c->n++;
	}
	free(entry);
}

/* Copies to memory of exactly that size, so that a sanitizer sees one byte too far. */
static void feed(const void *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		tap_bail("out of memory");
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static size_t join(const struct corpus *c, struct prng *r, uint8_t *out)
{
	const struct seed *a = &c->seed[prng_below(r, c->n)];
	size_t len = a->len < INPUT_MAX ? a->len : INPUT_MAX;
	memcpy(out, a->data, len);
	if (!prng_chance(r, 20))
		return len;
	const struct seed *b = &c->seed[prng_below(r, c->n)];
	size_t keep = prng_below(r, len + 1), from = prng_below(r, b->len + 1);
	size_t n = b->len - from;
	if (n > INPUT_MAX - keep)
		n = INPUT_MAX - keep;
	memcpy(out + keep, b->data + from, n);
	return keep + n;
}

static const uint8_t telling[] = {
	0, 1, 0x7f, 0x80, 0xff, '"', '{', '}', '[', ']', '\\', ',', ':', '-',
};

static size_t mutate(struct prng *r, uint8_t *p, size_t len)
{
	size_t at = prng_below(r, len + 1);
	size_t n = prng_below(r, 9);
	if (n > len - at)
		n = len - at;
	switch (prng_below(r, 5)) {
	case 0: /* one bit */
		if (at < len)
			p[at] ^= (uint8_t)(1u << prng_below(r, 8));
		return len;
	case 1: /* one byte, often a telling one */
		if (at < len)
			p[at] = prng_chance(r, 50) ? (uint8_t)prng_u64(r)
						   : telling[prng_below(r, sizeof(telling))];
		return len;
	case 2: /* some removed */
		memmove(p + at, p + at + n, len - at - n);
		return len - n;
	case 3: /* some repeated */
		if (n > INPUT_MAX - len)
			return len;
		memmove(p + at + n, p + at, len - at);
		return len + n;
	default: /* cut off */
		return prng_chance(r, 30) ? at : len;
	}
}

int main(int argc, char **argv)
{
	tap_plan(2);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 20000);
	const char *name = program_invocation_short_name;
	if (strncmp(name, "fuzz_", 5) == 0)
		name += 5;
	_cleanup_(corpus_done) struct corpus corpus = { 0 };
	_cleanup_free_ char *relative = NULL;
	if (asprintf(&relative, "tests/fuzz/corpus/%s", name) < 0)
		tap_bail("out of memory");
	_cleanup_free_ char *dir = tap_source(relative);
	corpus_add(&corpus, dir);
	if (&fuzz_seed_data) {
		_cleanup_free_ char *data = tap_data(fuzz_seed_data);
		corpus_add(&corpus, data);
	}
	for (size_t i = 0; i < corpus.n; i++)
		feed(corpus.seed[i].data, corpus.seed[i].len);
	if (!ok(corpus.n > 0, "%zu seeds replayed", corpus.n))
		return tap_done();

	struct prng r = { seed };
	_cleanup_free_ uint8_t *input = malloc(INPUT_MAX);
	if (!input)
		tap_bail("out of memory");
	for (uint64_t i = 0; i < rounds; i++) {
		size_t len = join(&corpus, &r, input);
		for (uint64_t n = prng_below(&r, 6); n-- > 0;)
			len = mutate(&r, input, len);
		feed(input, len);
	}
	ok(true, "%" PRIu64 " mutations of them survived", rounds);
	return tap_done();
}
