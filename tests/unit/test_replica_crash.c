/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that works on a replica is killed at any moment, again and again on the same store.
 * What it had said was durable must be there, everything derived must fit, and the vectors must
 * not claim more than is there.
 *
 *     test_replica_crash [SEED [ROUNDS]] */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "engine/backlog.h"
#include "tests/replicas.h"

#define FILES 24

/* What the child writes to the pipe: the file's number and value, before (0) and after (1) the
 * change is durable. A file holds its value; 0: it is deleted. */
struct word {
	uint32_t file, value;
	uint8_t durable;
};

static void name_of(unsigned n, char name[static 32])
{
	snprintf(name, 32, n % 3 ? "f%u.json" : "f%u.bin", n);
}

static void text_of(unsigned n, uint32_t value, char text[static 64])
{
	snprintf(text, 64, n % 3 ? "{\"value\": %u}\n" : "value %u", value);
}

static void tell(int fd, uint32_t file, uint32_t value, bool durable)
{
	const struct word w = { file, value, durable };
	if (write(fd, &w, sizeof(w)) != sizeof(w))
		_exit(3);
}

static void child(const char *path, uint64_t seed, uint32_t first, int fd)
{
	struct rep p;
	struct prng prng = { seed };
	struct attr top, dir[2], at;
	uint32_t value = first;
	rep_open(&p, path, 0, seed);
	p.wall += (uint64_t)first * 1000000;
	if (rep_lookup(p.r, &NODE_ROOT, "top", &top) < 0)
		rep_mkdir(p.r, &NODE_ROOT, "top", &top);
	for (unsigned i = 0; i < 2; i++)
		if (rep_lookup(p.r, &top.id, i ? "b" : "a", &dir[i]) < 0)
			rep_mkdir(p.r, &top.id, i ? "b" : "a", &dir[i]);
	for (;;) {
		struct { uint32_t file, value; } done[8];
		unsigned n = 1 + (unsigned)prng_below(&prng, 8);
		for (unsigned i = 0; i < n; i++) {
			char name[32], text[64];
			uint32_t file = (uint32_t)prng_below(&prng, FILES);
			struct attr *in = &dir[0];
			bool there = rep_lookup(p.r, &dir[0].id, (name_of(file, name), name), &at) == 0;
			if (!there && rep_lookup(p.r, &dir[1].id, name, &at) == 0) {
				there = true;
				in = &dir[1];
			}
			unsigned op = (unsigned)prng_below(&prng, 10);
			value++;
			done[i].file = file;
			done[i].value = there && op < 2 ? 0 : value;
			tell(fd, file, done[i].value, false);
			text_of(file, value, text);
			int rc;
			if (!there) {
				rc = rep_create(p.r, &dir[op & 1].id, name, text, &at);
			} else if (op < 2) {
				rc = replica_remove(p.r, &at.id, 0);
			} else {
				_cleanup_(version_unrefp) struct version *v = NULL;
				rc = replica_read(p.r, &at.id, &v);
				if (rc == 0)
					rc = rep_save(p.r, &at.id, v, text);
				if (rc == 0 && op < 5)
					rc = rep_rename(p.r, &at.id,
							in == dir ? &dir[1].id : &dir[0].id, name, 0);
			}
			if (rc < 0)
				_exit(2);
		}
		if (replica_flush(p.r, NULL) < 0)
			_exit(4);
		for (unsigned i = 0; i < n; i++)
			tell(fd, done[i].file, done[i].value, true);
	}
}

struct file {
	uint32_t durable;       /* the last value that is */
	uint32_t maybe[64];     /* written after it */
	unsigned n_maybe;
	bool known;
};

static uint32_t value_of(struct replica *r, const struct id *top, unsigned file, bool *ret_twice)
{
	uint32_t value = 0;
	unsigned found = 0;
	char name[32];
	name_of(file, name);
	for (unsigned i = 0; i < 2; i++) {
		struct attr dir, at;
		if (rep_lookup(r, top, i ? "b" : "a", &dir) < 0 ||
		    rep_lookup(r, &dir.id, name, &at) < 0)
			continue;
		_cleanup_free_ char *text = rep_read(r, &at.id);
		const char *digits = strpbrk(text, "0123456789");
		value = digits ? (uint32_t)strtoul(digits, NULL, 10) : 0;
		found++;
	}
	*ret_twice = found > 1;
	return value;
}

static bool check(const char *path, uint64_t seed, struct file file[FILES], uint64_t *commits)
{
	struct rep p;
	struct attr top;
	bool good = true;
	rep_open(&p, path, 0, seed ^ 0x5555);
	bool any = rep_lookup(p.r, &NODE_ROOT, "top", &top) == 0;
	for (unsigned i = 0; i < FILES; i++) {
		bool twice = false;
		uint32_t value = any ? value_of(p.r, &top.id, i, &twice) : 0;
		bool fits = value == file[i].durable;
		for (unsigned k = 0; k < file[i].n_maybe; k++)
			fits |= value == file[i].maybe[k];
		if (!fits || twice) {
			tap_diag("file %u: %u, should be %u or later%s", i, value, file[i].durable,
				 twice ? "; twice" : "");
			good = false;
		}
		file[i].durable = value;
		file[i].n_maybe = 0;
	}
	good = rep_sound(p.r) && good;
	/* Every node that the vectors say is here can be found through the index. */
	struct view *view = replica_view(p.r);
	for (uint32_t s = 0; s < view_scopes(view); s++) {
		_cleanup_(backlog_freep) struct backlog *b = NULL;
		_cleanup_(arena_done) struct arena a = { 0 };
		static const struct vv nothing;
		const struct vv *have;
		struct id scope;
		struct delta *d;
		view_scope(view, s, &scope, &have);
		if (backlog_new(p.r, view, &scope, &nothing, &b) < 0)
			good = false;
		while (good && backlog_next(b, &a, &d, NULL) == 0 && d)
			if (!vv_covers(have, &d->state.ctx)) {
				tap_diag("a record goes beyond what its scope has");
				good = false;
			}
	}
	view_unref(view);
	uint64_t seq;
	replica_self(p.r, NULL, &seq);
	*commits = seq;
	rep_close(&p);
	return good;
}

#define ROUNDS_MAX 60 /* of a test run: each opens the store twice */

/* What both processes see of a round. */
struct shared {
	struct file file[FILES];
	uint64_t commits;
};

/* check() in a process of its own: this one must stay single-threaded, because it forks. */
static bool check_apart(const char *path, uint64_t seed, struct shared *s)
{
	int status = -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		bool good = check(path, seed, s->file, &s->commits);
		fflush(NULL);
		_exit(good ? 0 : 1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
	char path[300];
	uint32_t highest = 0;
	uint64_t acknowledged = 0;
	bool good = true;
	tap_plan(2);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 30);
	if (argc < 3 && rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	struct prng prng = { seed };
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		tap_bail("mmap");
	snprintf(path, sizeof(path), "%s/db", tap_tmpdir());
	for (uint64_t round = 0; round < rounds && good; round++) {
		int fd[2];
		struct word w;
		if (pipe(fd) < 0)
			tap_bail("pipe");
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0) {
			close(fd[0]);
			child(path, seed + round, highest, fd[1]);
		}
		close(fd[1]);
		/* It ends after a random time, or early if it says nothing any more. */
		struct timespec start, now;
		clock_gettime(CLOCK_MONOTONIC, &start);
		int64_t ms = (int64_t)prng_below(&prng, 150);
		/* Every other one is killed at any moment, the rest while they work: opening may take
		 * longer than that under a sanitizer. */
		bool timed = round % 2 == 0;
		for (bool killed = false;;) {
			struct pollfd wait = { fd[0], POLLIN, 0 };
			clock_gettime(CLOCK_MONOTONIC, &now);
			int64_t left = ms - (now.tv_sec - start.tv_sec) * 1000 -
				       (now.tv_nsec - start.tv_nsec) / 1000000;
			if (!timed)
				left = 10000;
			if (left <= 0 && !killed) {
				kill(pid, SIGKILL);
				killed = true;
			}
			if (poll(&wait, 1, killed ? 10000 : (int)left) <= 0)
				continue;
			if (read(fd[0], &w, sizeof(w)) != sizeof(w))
				break;
			if (!timed)
				clock_gettime(CLOCK_MONOTONIC, &start);
			timed = true;
			struct file *f = &s->file[w.file];
			if (w.value > highest)
				highest = w.value;
			if (w.durable) {
				acknowledged++;
				f->durable = w.value;
				/* Later ones of the same batch stay possible. */
				unsigned k = 0;
				while (k < f->n_maybe && f->maybe[k] != w.value)
					k++;
				if (k < f->n_maybe)
					memmove(f->maybe, f->maybe + k + 1,
						(f->n_maybe - k - 1) * sizeof(f->maybe[0]));
				f->n_maybe -= k < f->n_maybe ? k + 1 : 0;
			} else if (f->n_maybe < 64) {
				f->maybe[f->n_maybe++] = w.value;
			}
		}
		close(fd[0]);
		int status;
		waitpid(pid, &status, 0);
		if (!WIFSIGNALED(status)) {
			tap_diag("the worker ended by itself: %d", WEXITSTATUS(status));
			good = false;
		}
		good = good && check_apart(path, seed + round, s);
		if (!good)
			tap_diag("round %llu", (unsigned long long)round);
	}
	ok(good, "killed %llu times, nothing acknowledged is lost", (unsigned long long)rounds);
	ok(acknowledged > rounds, "%llu changes were acknowledged, %llu commits made",
	   (unsigned long long)acknowledged, (unsigned long long)s->commits);
	return tap_done();
}
