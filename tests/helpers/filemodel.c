/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One file against a model of it in memory, from a seed:
 *
 *     filemodel [--seed N] [--ops N] [--size BYTES] [--kind blob|text|json] FILE
 *
 * Random reads, writes, mappings, truncations, holes, copies, reopenings and renames; whatever is read
 * must be what the model says. FILE.model has the model at the end. The seed is printed; with it and the
 * same other options it all happens again. A text is written through one descriptor at a time: what came by
 * another one is merged with what the writer had read, which is no matter of file systems. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/prng.h"

enum kind { BLOB, TEXT, JSON };

struct world {
	struct prng rng;
	enum kind kind;
	const char *path;
	char aside[4096];
	size_t max;
	uint8_t *model, *room;
	size_t size;
	int fd, reader; /* reader: opened for reading some time ago */
	unsigned long op;
	char history[16][120];
};

static void note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct world *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->history[w->op % 16], sizeof(w->history[0]), fmt, ap);
	va_end(ap);
}

static void fail(const struct world *w, const char *what)
{
	int error = errno;
	printf("operation %lu: %s (errno %d: %s)\n", w->op, what, error, strerror(error));
	for (unsigned long k = w->op >= 15 ? w->op - 15 : 0; k <= w->op; k++)
		printf("  %lu: %s\n", k, w->history[k % 16]);
	exit(1);
}

static void must(const struct world *w, bool ok, const char *what)
{
	if (!ok)
		fail(w, what);
}

static void same(const struct world *w, const uint8_t *got, size_t at, size_t len, const char *what)
{
	for (size_t k = 0; k < len; k++)
		if (got[k] != w->model[at + k]) {
			printf("byte %zu of %zu is %02x and should be %02x\n", at + k, w->size, got[k],
			       w->model[at + k]);
			fail(w, what);
		}
}

static size_t below(struct world *w, size_t n)
{
	return n ? (size_t)prng_below(&w->rng, n) : 0;
}

/* Near the ends of pages and blocks more often than not. */
static size_t place(struct world *w, size_t n)
{
	size_t at = below(w, n);
	if (prng_chance(&w->rng, 40))
		at = at / 4096 * 4096;
	if (prng_chance(&w->rng, 20) && at > 0)
		at--;
	return at < n ? at : 0;
}

static void fill(struct world *w, uint8_t *p, size_t len)
{
	for (size_t k = 0; k < len; k++)
		p[k] = w->kind == BLOB ? (uint8_t)prng_u64(&w->rng) :
		       prng_chance(&w->rng, 3) ? '\n' : (uint8_t)('a' + below(w, 26));
}

static size_t json(struct world *w, char *p, size_t room)
{
	size_t n = (size_t)snprintf(p, room, "{\n");
	size_t fields = 1 + below(w, 30);
	for (size_t k = 0; k < fields && n + 100 < room; k++)
		n += (size_t)snprintf(p + n, room - n, "  \"k%zu\": [%llu, \"%llx\"]%s\n", k,
				      (unsigned long long)prng_below(&w->rng, 1000),
				      (unsigned long long)prng_u64(&w->rng),
				      k + 1 < fields && n + 200 < room ? "," : "");
	return n + (size_t)snprintf(p + n, room - n, "}\n");
}

static void reopen(struct world *w, int flags)
{
	must(w, close(w->fd) == 0, "close");
	w->fd = open(w->path, O_RDWR | flags);
	must(w, w->fd >= 0, "open");
	if (flags & O_TRUNC)
		w->size = 0;
}

/* ---- operations ---- */

static void check_read(struct world *w, int fd, const char *who)
{
	size_t at = place(w, w->max), len = below(w, 70000);
	note(w, "read %zu at %zu by %s, size %zu", len, at, who, w->size);
	size_t want = at >= w->size ? 0 : w->size - at < len ? w->size - at : len;
	ssize_t n = pread(fd, w->room, len, (off_t)at);
	must(w, n >= 0 && (size_t)n == want, "read has another length");
	same(w, w->room, at, want, "read");
}

static void check_all(struct world *w)
{
	struct stat st;
	note(w, "all of it, size %zu", w->size);
	must(w, stat(w->path, &st) == 0, "stat");
	if ((size_t)st.st_size != w->size) {
		printf("size is %lld and should be %zu\n", (long long)st.st_size, w->size);
		fail(w, "stat");
	}
	int fd = open(w->path, O_RDONLY);
	must(w, fd >= 0, "open");
	ssize_t n = pread(fd, w->room, w->max, 0);
	must(w, n >= 0 && (size_t)n == w->size, "its length");
	same(w, w->room, 0, w->size, "all of it");
	close(fd);
}

static void check_holes(struct world *w)
{
	size_t at = place(w, w->size);
	note(w, "holes from %zu", at);
	off_t data = lseek(w->fd, (off_t)at, SEEK_DATA), hole = lseek(w->fd, (off_t)at, SEEK_HOLE);
	if (at >= w->size) {
		must(w, data < 0 && hole < 0 && errno == ENXIO, "SEEK_DATA at the end");
		return;
	}
	must(w, data >= 0 || errno == ENXIO, "SEEK_DATA");
	must(w, hole > (off_t)at || (hole == (off_t)at && data != (off_t)at), "SEEK_HOLE");
	size_t end = data < 0 ? w->size : (size_t)data;
	for (size_t k = at; k < end; k++)
		must(w, w->model[k] == 0, "what is no data is no zero");
}

static void do_write(struct world *w)
{
	size_t at = place(w, w->kind == TEXT ? w->size + 1 : w->max), len = below(w, 40000);
	if (len > w->max - at)
		len = w->max - at;
	note(w, "write %zu at %zu, size %zu", len, at, w->size);
	fill(w, w->model + at, len);
	must(w, pwrite(w->fd, w->model + at, len, (off_t)at) == (ssize_t)len, "write");
	if (len && at > w->size)
		memset(w->model + w->size, 0, at - w->size);
	if (len && at + len > w->size)
		w->size = at + len;
}

static void do_append(struct world *w)
{
	size_t len = below(w, 5000);
	if (len > w->max - w->size)
		len = w->max - w->size;
	note(w, "append %zu, size %zu", len, w->size);
	fill(w, w->model + w->size, len);
	int fd = open(w->path, O_WRONLY | O_APPEND);
	must(w, fd >= 0 && write(fd, w->model + w->size, len) == (ssize_t)len && close(fd) == 0,
	     "append");
	w->size += len;
}

static void do_truncate(struct world *w)
{
	size_t size = place(w, w->kind == TEXT ? w->size + 1 : w->max);
	bool by_path = w->kind == BLOB && prng_chance(&w->rng, 30);
	note(w, "truncate %s to %zu, size %zu", by_path ? "path" : "descriptor", size, w->size);
	must(w, (by_path ? truncate(w->path, (off_t)size) : ftruncate(w->fd, (off_t)size)) == 0,
	     "truncate");
	if (size > w->size)
		memset(w->model + w->size, 0, size - w->size);
	w->size = size;
}

static void do_fallocate(struct world *w)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
				     FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[below(w, sizeof(modes) / sizeof(modes[0]))];
	size_t at = place(w, w->max), len = 1 + below(w, w->max - at);
	note(w, "fallocate mode %d, %zu at %zu, size %zu", mode, len, at, w->size);
	must(w, fallocate(w->fd, mode, (off_t)at, (off_t)len) == 0, "fallocate");
	size_t end = at + len;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > w->size) {
		memset(w->model + w->size, 0, end - w->size);
		w->size = end;
	}
	if ((mode & ~FALLOC_FL_KEEP_SIZE) && at < w->size)
		memset(w->model + at, 0, (end < w->size ? end : w->size) - at);
}

static void do_copy(struct world *w)
{
	if (w->size < 2)
		return;
	size_t from = place(w, w->size), len = 1 + below(w, w->size - from), to = place(w, w->max);
	if (len > w->max - to)
		len = w->max - to;
	if (to + len > from && to < from + len) { /* the call refuses what overlaps */
		to = from + len;
		len = to >= w->max ? 0 : len < w->max - to ? len : w->max - to;
	}
	if (w->kind == TEXT && to > w->size)
		to = w->size;
	if (!len || (to + len > from && to < from + len))
		return;
	note(w, "copy %zu from %zu to %zu, size %zu", len, from, to, w->size);
	off_t a = (off_t)from, b = (off_t)to;
	for (size_t done = 0; done < len;) {
		ssize_t n = copy_file_range(w->fd, &a, w->fd, &b, len - done, 0);
		must(w, n > 0, "copy_file_range");
		done += (size_t)n;
	}
	if (to > w->size)
		memset(w->model + w->size, 0, to - w->size);
	memmove(w->model + to, w->model + from, len);
	if (to + len > w->size)
		w->size = to + len;
}

static void do_map(struct world *w)
{
	if (!w->size)
		return;
	bool change = prng_chance(&w->rng, 50);
	size_t at = below(w, w->size) / 4096 * 4096, len = 1 + below(w, w->size - at);
	note(w, "map %zu at %zu, %s, size %zu", len, at, change ? "written" : "read", w->size);
	uint8_t *p = mmap(NULL, len, PROT_READ | (change ? PROT_WRITE : 0), MAP_SHARED, w->fd, (off_t)at);
	must(w, p != MAP_FAILED, "mmap");
	same(w, p, at, len, "mapping");
	if (change) {
		size_t from = below(w, len), n = 1 + below(w, len - from);
		fill(w, w->model + at + from, n);
		memcpy(p + from, w->model + at + from, n);
		must(w, prng_chance(&w->rng, 50) || msync(p, len, MS_SYNC) == 0, "msync");
	}
	must(w, munmap(p, len) == 0, "munmap");
}

static void do_reopen(struct world *w)
{
	bool empty = prng_chance(&w->rng, 10);
	note(w, "reopen%s, size %zu", empty ? " and empty" : "", w->size);
	reopen(w, empty ? O_TRUNC : 0);
	if (prng_chance(&w->rng, 50)) {
		close(w->reader);
		w->reader = open(w->path, O_RDONLY);
		must(w, w->reader >= 0, "open");
	}
}

static void do_rename(struct world *w)
{
	note(w, "rename away and back");
	must(w, rename(w->path, w->aside) == 0, "rename");
	must(w, rename(w->aside, w->path) == 0, "rename back");
}

static void do_wait(struct world *w)
{
	const struct timespec ts = { .tv_nsec = (long)below(w, 300) * 1000000 };
	note(w, "wait %ld ms", ts.tv_nsec / 1000000);
	if (prng_chance(&w->rng, 50))
		must(w, fsync(w->fd) == 0, "fsync");
	nanosleep(&ts, NULL);
}

static void random_op(struct world *w)
{
	switch (below(w, 24)) {
	case 0: case 1: case 2: case 3: check_read(w, w->fd, "the writer"); break;
	case 4: check_read(w, w->reader, "a reader"); break;
	case 5: check_all(w); break;
	case 6: case 7: case 8: case 9: case 10: do_write(w); break;
	case 11: w->kind == BLOB ? do_append(w) : do_write(w); break;
	case 12: case 13: do_truncate(w); break;
	case 14: case 15: w->kind == BLOB ? do_fallocate(w) : do_write(w); break;
	case 16: do_copy(w); break;
	case 17: case 18: case 19: do_map(w); break;
	case 20: case 21: do_reopen(w); break;
	case 22: w->kind == BLOB ? check_holes(w) : do_rename(w); break;
	case 23: prng_chance(&w->rng, 10) ? do_wait(w) : do_rename(w); break;
	}
}

/* A document is only ever written as a whole, in one of the ways that programs have. */
static void json_op(struct world *w)
{
	size_t how = below(w, 6);
	if (how == 4) {
		check_all(w);
		return;
	}
	if (how == 5) {
		prng_chance(&w->rng, 10) ? do_wait(w) : do_rename(w);
		return;
	}
	size_t n = json(w, (char *)w->model, w->max);
	note(w, "document of %zu bytes, way %zu, size %zu", n, how, w->size);
	int fd;
	switch (how) {
	case 0:
		reopen(w, O_TRUNC);
		must(w, write(w->fd, w->model, n) == (ssize_t)n, "write");
		break;
	case 1:
		must(w, pwrite(w->fd, w->model, n, 0) == (ssize_t)n && ftruncate(w->fd, (off_t)n) == 0,
		     "write in place");
		break;
	default:
		fd = open(w->aside, O_RDWR | O_CREAT | O_EXCL, 0644);
		must(w, fd >= 0 && write(fd, w->model, n) == (ssize_t)n, "write beside it");
		must(w, how == 2 || fsync(fd) == 0, "fsync");
		must(w, rename(w->aside, w->path) == 0, "rename over it");
		close(w->fd);
		w->fd = fd;
		break;
	}
	w->size = n;
	must(w, fsync(w->fd) == 0, "fsync");
}

static void keep_model(const struct world *w)
{
	char name[4200];
	snprintf(name, sizeof(name), "%s.model", w->path);
	FILE *f = fopen(name, "wb");
	must(w, f && fwrite(w->model, 1, w->size, f) == w->size && fclose(f) == 0, "keeping the model");
}

static void run(struct world *w, unsigned long ops)
{
	w->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	w->reader = open(w->path, O_RDONLY);
	must(w, w->fd >= 0 && w->reader >= 0, "open");
	if (w->kind == JSON) {
		w->size = json(w, (char *)w->model, w->max);
		must(w, write(w->fd, w->model, w->size) == (ssize_t)w->size, "write");
	}
	for (w->op = 1; w->op <= ops; w->op++)
		w->kind == JSON ? json_op(w) : random_op(w);
	must(w, close(w->fd) == 0 && close(w->reader) == 0, "close");
	check_all(w);
	keep_model(w);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
						 { "ops", required_argument, NULL, 'o' },
						 { "size", required_argument, NULL, 'z' },
						 { "kind", required_argument, NULL, 'k' },
						 { NULL, 0, NULL, 0 } };
	uint64_t seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
	unsigned long ops = 1000;
	struct world w = { .max = 300000 };
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			ops = strtoul(optarg, NULL, 10);
		else if (c == 'z')
			w.max = strtoul(optarg, NULL, 10);
		else if (c == 'k')
			w.kind = optarg[0] == 't' ? TEXT : optarg[0] == 'j' ? JSON : BLOB;
		else
			return 2;
	}
	if (optind + 1 != argc || w.max < 4096)
		return 2;
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	w.rng.state = seed;
	w.path = argv[optind];
	snprintf(w.aside, sizeof(w.aside), "%s.new", w.path);
	w.model = calloc(1, w.max);
	w.room = malloc(w.max + 70000);
	if (!w.model || !w.room)
		return 2;
	run(&w, ops);
	free(w.model);
	free(w.room);
	printf("%lu operations, %zu bytes at the end\n", ops, w.size);
	return 0;
}
