/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system calls of programs that work on many files, with as little as possible around them:
 *
 *     files WORK DIRECTORY COUNT [PASSES]
 *
 * prints the seconds that the best pass took. DIRECTORY has, or gets, COUNT documents of 1 KB,
 * 000000.json and so on; `random` and `whole` are about the file `blob` in it, of COUNT MiB.
 *
 *     create      open a new one, write, close
 *     overwrite   open with O_TRUNC, write, close
 *     save        a new file beside it, write, fsync, close, rename
 *     stat        stat
 *     read        open, read, close
 *     blob        write the blob, once
 *     random      100000 reads of 4 KiB, anywhere in it
 *     whole       read all of it, 256 KiB at a time */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/figure.h"

#define DOCUMENT 1024
#define RANDOM_READS 100000

struct task {
	const char *directory;
	unsigned long count;
	unsigned pass;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void path_of(const struct task *t, unsigned long k, char path[static 4096])
{
	snprintf(path, 4096, "%s/%06lu.json", t->directory, k);
}

/* The same in each run; another one in each pass. */
static size_t document(unsigned long k, unsigned pass, char text[static DOCUMENT + 1])
{
	size_t n = (size_t)snprintf(text, DOCUMENT, "{\n  \"id\": %lu,\n  \"value\": %u,\n", k, pass);
	for (unsigned i = 0; n < DOCUMENT - 64; i++)
		n += (size_t)snprintf(text + n, DOCUMENT - n, "  \"field%02u\": \"text %lu\",\n", i,
				      k * i);
	n += (size_t)snprintf(text + n, DOCUMENT - n, "  \"last\": true\n}\n");
	return n;
}

static void write_new(const struct task *t, unsigned long k, const char *path, int flags, bool sync)
{
	char text[DOCUMENT + 1];
	size_t n = document(k, t->pass, text);
	int fd = open(path, O_WRONLY | flags, 0644);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n || (sync && fsync(fd) < 0) || close(fd) < 0)
		die(path);
}

static void create(const struct task *t, unsigned long k, const char *path)
{
	write_new(t, k, path, O_CREAT | O_EXCL, false);
}

static void overwrite(const struct task *t, unsigned long k, const char *path)
{
	write_new(t, k, path, O_TRUNC, false);
}

static void save(const struct task *t, unsigned long k, const char *path)
{
	char beside[4096];
	snprintf(beside, sizeof(beside), "%s/.%06lu.json.Ab3xYz", t->directory, k);
	write_new(t, k, beside, O_CREAT | O_EXCL, true);
	if (rename(beside, path) < 0)
		die(path);
}

static void do_stat(const struct task *t, unsigned long k, const char *path)
{
	struct stat st;
	(void)t;
	(void)k;
	if (stat(path, &st) < 0)
		die(path);
}

static void do_read(const struct task *t, unsigned long k, const char *path)
{
	char text[65536];
	(void)t;
	(void)k;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text)) <= 0 || close(fd) < 0)
		die(path);
}

/* ---- one large file ---- */

static int open_blob(const struct task *t, int flags)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/blob", t->directory);
	int fd = open(path, flags, 0644);
	if (fd < 0)
		die(path);
	return fd;
}

/* xorshift: nothing that could be compressed. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void blob(const struct task *t)
{
	static uint64_t piece[(1 << 20) / sizeof(uint64_t)];
	uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
	int fd = open_blob(t, O_CREAT | O_TRUNC | O_WRONLY);
	for (unsigned long k = 0; k < t->count; k++) {
		for (size_t i = 0; i < sizeof(piece) / sizeof(piece[0]); i++)
			piece[i] = next(&state);
		if (write(fd, piece, sizeof(piece)) != sizeof(piece))
			die("blob");
	}
	if (close(fd) < 0)
		die("blob");
}

static void random_reads(const struct task *t)
{
	char piece[4096];
	uint64_t state = 1;
	int fd = open_blob(t, O_RDONLY);
	for (unsigned k = 0; k < RANDOM_READS; k++) {
		off_t at = (off_t)(next(&state) % (t->count * 256)) * 4096;
		if (pread(fd, piece, sizeof(piece), at) != sizeof(piece))
			die("blob");
	}
	close(fd);
}

static void whole(const struct task *t)
{
	static char piece[256 * 1024];
	unsigned long total = 0;
	ssize_t n;
	int fd = open_blob(t, O_RDONLY);
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		total += (unsigned long)n;
	close(fd);
	if (total != t->count << 20)
		die("blob");
}

static const struct {
	const char *name;
	void (*one)(const struct task *t, unsigned long k, const char *path);
	void (*all)(const struct task *t);
} work[] = {
	{ "create", create, NULL },   { "overwrite", overwrite, NULL }, { "save", save, NULL },
	{ "stat", do_stat, NULL },    { "read", do_read, NULL },        { "blob", NULL, blob },
	{ "random", NULL, random_reads }, { "whole", NULL, whole },
};

static double once(size_t w, const struct task *t)
{
	char path[4096];
	double start = now();
	if (work[w].all)
		work[w].all(t);
	for (unsigned long k = 0; work[w].one && k < t->count; k++) {
		path_of(t, k, path);
		work[w].one(t, k, path);
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	size_t w = 0, n = sizeof(work) / sizeof(work[0]);
	while (argc >= 4 && w < n && strcmp(work[w].name, argv[1]) != 0)
		w++;
	if (argc < 4 || w == n) {
		fprintf(stderr, "files WORK DIRECTORY COUNT [PASSES]\n");
		return 2;
	}
	struct task t = { .directory = argv[2], .count = strtoul(argv[3], NULL, 10) };
	unsigned long passes = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
	double best = 1e9;
	for (t.pass = (unsigned)getpid(); passes-- > 0; t.pass++) {
		double seconds = once(w, &t);
		best = seconds < best ? seconds : best;
	}
	printf("%.9f\n", best);
	return 0;
}
