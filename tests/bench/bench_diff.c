/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Difference of two texts of 1 MB that look like source, with 100 scattered edits. The peers are
 * whole programs, which also start, read two files and print; by what a program takes that differs
 * nothing, the figures can be told apart. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "engine/buf.h"
#include "engine/textdiff.h"
#include "tests/bench/figure.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define SIZE (1u << 20)
#define EDITS 100
#define ROUNDS 21

extern char **environ;

static void name(struct prng *r, struct buf *b)
{
	static const char *const part[] = {
		"count", "next", "list", "of",   "node", "find", "len",
		"map",   "old",  "item", "read", "key",  "to",   "size"
	};
	for (uint64_t n = prng_below(r, 3);; n--) {
		buf_puts(b, part[prng_below(r, sizeof(part) / sizeof(*part))]);
		if (n == 0)
			break;
		buf_puts(b, "_");
	}
}

static void statement(struct prng *r, struct buf *b)
{
	name(r, b);
	switch (prng_below(r, 4)) {
	case 0:
		buf_putf(b, " = %u;\n", (unsigned)prng_below(r, 100));
		break;
	case 1:
		buf_puts(b, "->");
		name(r, b);
		buf_puts(b, " += ");
		name(r, b);
		buf_puts(b, ";\n");
		break;
	default:
		buf_puts(b, "(");
		name(r, b);
		buf_puts(b, ", ");
		name(r, b);
		buf_puts(b, ");\n");
		break;
	}
}

static void function(struct prng *r, struct buf *b)
{
	buf_puts(b, "static int ");
	name(r, b);
	buf_puts(b, "(struct ");
	name(r, b);
	buf_puts(b, " *x)\n{\n");
	for (uint64_t n = 2 + prng_below(r, 12); n > 0; n--) {
		if (prng_chance(r, 25)) {
			buf_puts(b, "\tif (x->");
			name(r, b);
			buf_puts(b, ")\n\t\treturn -1;\n");
		}
		buf_puts(b, "\t");
		statement(r, b);
	}
	buf_puts(b, "\treturn 0;\n}\n\n");
}

/* A line goes, changes, or gets company. */
static void edit(struct prng *r, const struct buf *old, struct buf *b)
{
	size_t at = 0;
	for (unsigned i = 0; i < EDITS; i++) {
		size_t to = old->len / EDITS * i + prng_below(r, old->len / EDITS / 2);
		while (to > at && old->data[to - 1] != '\n')
			to--;
		buf_put(b, old->data + at, to - at);
		at = to;
		if (i % 3 != 0) {
			buf_puts(b, "\t");
			statement(r, b);
		}
		while (i % 3 != 1 && old->data[at++] != '\n')
			;
	}
	buf_put(b, old->data + at, old->len - at);
}

static double run(char *const argv[])
{
	posix_spawn_file_actions_t to;
	pid_t pid;
	int status = -1;
	double start = now();
	posix_spawn_file_actions_init(&to);
	posix_spawn_file_actions_addopen(&to, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	int r = posix_spawnp(&pid, argv[0], &to, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&to);
	/* 1 is: they differ. */
	if (r != 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > 1)
		tap_bail("%s did not run", argv[0]);
	return now() - start;
}

static const char *save(const char *file, const struct buf *b)
{
	const char *path = tap_path(file);
	FILE *f = fopen(path, "w");
	if (!f || fwrite(b->data, 1, b->len, f) != b->len || fclose(f) != 0)
		tap_bail("cannot write %s", path);
	return path;
}

static double own(const struct buf *x, const struct buf *y)
{
	struct arena a = { 0 };
	struct textdiff d;
	double start = now();
	int r = textdiff(&a, x->data, x->len, y->data, y->len, &d);
	double took = now() - start;
	if (r < 0 || d.count < EDITS / 2 || d.count > 3 * EDITS)
		tap_bail("textdiff: %s", r < 0 ? strerror(-r) : "not what was edited");
	arena_done(&a);
	return took;
}

static void least(double *best, double took)
{
	if (*best == 0 || took < *best)
		*best = took;
}

int main(void)
{
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	struct prng r = { 1 };
	size_t lines = 0;
	while (x.len < SIZE)
		function(&r, &x);
	edit(&r, &x, &y);
	for (size_t i = 0; i < x.len; i++)
		lines += x.data[i] == '\n';
	char *old = (char *)(uintptr_t)save("old", &x), *new = (char *)(uintptr_t)save("new", &y);
	char *const diff[] = { (char *)"diff", old, new, NULL };
	char *const git[] = { (char *)"git",
			      (char *)"diff",
			      (char *)"--histogram",
			      (char *)"--no-index",
			      old,
			      new,
			      NULL };
	char *const nothing[] = { (char *)"git", (char *)"diff", (char *)"--no-index", old, old,
				  NULL };
	double best[4] = { 0 };
	for (int i = 0; i < ROUNDS; i++) {
		least(&best[0], own(&x, &y));
		least(&best[1], run(diff));
		least(&best[2], run(git));
		least(&best[3], run(nothing));
	}
	fprintf(stderr,
		"bench_diff: %zu lines; a git that compares a file with itself takes %.1f ms\n",
		lines, best[3] * 1e3);
	double mb = (double)x.len / 1e6, n = (double)lines / 1e6;
	printf("text diff, 1 MB, 100 edits, beside diff\t%.0f\tMB/s\tdiff=%.0f\n", mb / best[0],
	       mb / best[1]);
	printf("text diff, 1 MB, 100 edits, beside git diff --histogram\t%.2f\tMlines/s\tgit=%.2f\n",
	       n / best[0], n / best[2]);
	return 0;
}
