/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs histories: those of seeds.txt, then many of new seeds, in two processes; then with faults
 * built in, which must be found.
 *
 *     sim                        what make check runs
 *     sim --seed N [--trace]     one history
 *     sim --from A --count N     many; --step 8: every eighth seed
 *     sim --fault drop|claim|disk ...     the same with a fault
 *     sim --mesh ...             the same with several neighbours that want only word of each other's changes
 *     sim --parts ...            the same with devices that keep parts of collections and evict contents */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/world.h"
#include "tests/tap.h"

#define JOBS 2
#define HISTORIES 20000
#define MESHES 4000
#define PARTS 2000
#define FAULTY 300

struct totals {
	uint64_t histories, failed, saves, frames, sessions, crashes, conflicts, copies, purged, inherited, raises,
		wishes, stales, evicted, picked, far, vain;
	uint64_t seed; /* of the first failure */
	char failure[400];
};

static bool meshed; /* --mesh */
static bool parted; /* --parts */

static bool history(uint64_t seed, bool trace, enum fault fault, struct totals *t)
{
	struct world *w = calloc(1, sizeof(*w));
	if (!w)
		abort();
	w->seed = seed;
	w->trace = trace;
	w->fault = fault;
	w->meshed = meshed;
	w->parted = parted;
	world_run(w);
	bool failed = w->failure[0] != 0;
	t->histories++;
	t->saves += w->saves;
	t->frames += w->frames;
	t->sessions += w->sessions;
	t->crashes += w->crashes;
	t->conflicts += w->conflicts;
	t->copies += w->copies;
	t->purged += w->purged;
	t->inherited += w->inherited;
	t->raises += w->raises;
	t->wishes += w->wishes;
	t->stales += w->stales;
	t->evicted += w->evicted;
	t->picked += w->picked;
	t->far += w->far;
	t->vain += w->vain;
	if (failed && (t->failed++ == 0 || seed < t->seed)) {
		t->seed = seed;
		snprintf(t->failure, sizeof(t->failure), "%.390s", w->failure);
	}
	/* After a failure things may be in any state, and the process ends soon. */
	if (!failed) {
		world_free(w);
		free(w);
	}
	return !failed;
}

static void add(struct totals *t, const struct totals *x)
{
	if (x->failed && (t->failed == 0 || x->seed < t->seed)) {
		t->seed = x->seed;
		memcpy(t->failure, x->failure, sizeof(t->failure));
	}
	t->histories += x->histories;
	t->failed += x->failed;
	t->saves += x->saves;
	t->frames += x->frames;
	t->sessions += x->sessions;
	t->crashes += x->crashes;
	t->conflicts += x->conflicts;
	t->copies += x->copies;
	t->purged += x->purged;
	t->inherited += x->inherited;
	t->raises += x->raises;
	t->wishes += x->wishes;
	t->stales += x->stales;
	t->evicted += x->evicted;
	t->picked += x->picked;
	t->far += x->far;
	t->vain += x->vain;
}

/* Every JOBS-th seed in each of as many processes; a job stops at its first failure unless `on`. */
static struct totals many(uint64_t from, uint64_t count, uint64_t step, enum fault fault, bool on)
{
	struct totals t = { 0 };
	int fd[JOBS];
	pid_t pid[JOBS];
	fflush(stdout);
	for (unsigned j = 0; j < JOBS; j++) {
		int p[2];
		if (pipe(p) < 0)
			tap_bail("no pipe");
		pid[j] = fork();
		if (pid[j] == 0) {
			struct totals mine = { 0 };
			close(p[0]);
			for (uint64_t i = j; i < count; i += JOBS)
				if (!history(from + i * step, false, fault, &mine) && !on)
					break;
			if (write(p[1], &mine, sizeof(mine)) != (ssize_t)sizeof(mine))
				_exit(1);
			_exit(0);
		}
		close(p[1]);
		fd[j] = p[0];
	}
	for (unsigned j = 0; j < JOBS; j++) {
		struct totals x;
		int status = 0;
		bool got = read(fd[j], &x, sizeof(x)) == (ssize_t)sizeof(x);
		close(fd[j]);
		waitpid(pid[j], &status, 0);
		if (got) {
			add(&t, &x);
			continue;
		}
		t.failed++;
		snprintf(t.failure, sizeof(t.failure),
			 "a process died (status %d): run it with --from %" PRIu64
			 " --count %" PRIu64 " --one-by-one",
			 status, from, count);
	}
	return t;
}

static const char *const fault_name[] = { "none", "drop", "claim", "disk" };

static void tell(const struct totals *t, enum fault fault)
{
	tap_diag("%" PRIu64 " histories, %" PRIu64 " saves, %" PRIu64 " frames, %" PRIu64
		 " sessions, %" PRIu64 " crashes, %" PRIu64 " copied stores, %" PRIu64
		 " files purged, %" PRIu64 " values found in others after that, %" PRIu64
		 " files in conflict at the end, %" PRIu64 " raised rounds, %" PRIu64 " wishes for word only, %" PRIu64
		 " slow links begun anew, %" PRIu64 " contents evicted, %" PRIu64 " files in parts, %" PRIu64
		 " files from farther away, %" PRIu64 " too far away, %" PRIu64 " failed",
		 t->histories, t->saves, t->frames, t->sessions, t->crashes, t->copies, t->purged, t->inherited, t->conflicts,
		 t->raises, t->wishes, t->stales, t->evicted, t->picked, t->far, t->vain, t->failed);
	if (t->failed)
		tap_diag("seed %" PRIu64 ": %s\nagain with: tests/sim/sim --seed %" PRIu64
			 "%s%s%s%s --trace",
			 t->seed, t->failure, t->seed, meshed ? " --mesh" : "", parted ? " --parts" : "", fault ? " --fault " : "",
			 fault ? fault_name[fault] : "");
}

static struct totals known_seeds(void)
{
	_cleanup_free_ char *path = tap_source("tests/sim/seeds.txt");
	_cleanup_free_ char *text = tap_read_file(path, NULL);
	struct totals t = { 0 };
	for (char *line = text; line && *line;) {
		char *end;
		uint64_t seed = strtoull(line, &end, 10);
		if (end != line) {
			static const char parts[] = " --parts ";
			parted = strncmp(end, parts, strlen(parts)) == 0;
			struct totals x = many(seed, 1, 1, FAULT_NONE, false);
			add(&t, &x);
			parted = false;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return t;
}

static int check(uint64_t from, uint64_t count)
{
	tap_plan(7);
	struct totals t = known_seeds();
	tell(&t, FAULT_NONE);
	ok(t.failed == 0 && t.histories > 0, "%" PRIu64 " histories that once failed pass",
	   t.histories);
	t = many(from, count, 1, FAULT_NONE, false);
	tell(&t, FAULT_NONE);
	ok(t.failed == 0 && t.histories == count && (count < 100 || t.raises > 0) &&
		   t.stales * 200 <= t.sessions,
	   "%" PRIu64 " random histories pass", count);
	meshed = true;
	t = many(from, count * MESHES / HISTORIES + 1, 1, FAULT_NONE, false);
	tell(&t, FAULT_NONE);
	ok(t.failed == 0 && t.histories > 0 && (count < 500 || (t.raises > 0 && t.wishes > 0)) &&
		   t.stales * 200 <= t.sessions,
	   "%" PRIu64 " of meshes in which changes are announced pass", t.histories);
	meshed = false;
	parted = true;
	t = many(from, count * PARTS / HISTORIES + 1, 1, FAULT_NONE, false);
	tell(&t, FAULT_NONE);
	ok(t.failed == 0 && t.histories > 0 && (count < 500 || (t.evicted > 0 && t.picked > 0 && t.far > 0)),
	   "%" PRIu64 " in which devices keep parts and evict contents pass", t.histories);
	parted = false;
	static const char *const what[] = { "", "a delta that vanishes",
					    "a round that promises too much",
					    "a disk that lies about flushes" };
	for (int f = FAULT_DROP_DELTA; f <= FAULT_LYING_DISK; f++) {
		t = many(1, FAULTY, 1, (enum fault)f, true);
		ok(t.failed > 0, "the oracles find %s (in %" PRIu64 " of %" PRIu64 " histories)",
		   what[f], t.failed, t.histories);
	}
	return tap_done();
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);
	if (end == text || *end) {
		fprintf(stderr, "sim: not a number: %s\n", text);
		exit(2);
	}
	return v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
						 { "trace", no_argument, NULL, 't' },
						 { "from", required_argument, NULL, 'f' },
						 { "count", required_argument, NULL, 'c' },
						 { "step", required_argument, NULL, 'p' },
						 { "fault", required_argument, NULL, 'x' },
						 { "one-by-one", no_argument, NULL, 'o' },
						 { "mesh", no_argument, NULL, 'm' },
						 { "parts", no_argument, NULL, 'e' },
						 { NULL, 0, NULL, 0 } };
	uint64_t seed = 0, from = 0, count = 0, step = 1;
	bool one = false, trace = false, singly = false;
	enum fault fault = FAULT_NONE;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's') {
			seed = number(optarg);
			one = true;
		} else if (c == 't') {
			trace = true;
		} else if (c == 'o') {
			singly = true;
		} else if (c == 'm') {
			meshed = true;
		} else if (c == 'e') {
			parted = true;
		} else if (c == 'f') {
			from = number(optarg);
		} else if (c == 'c') {
			count = number(optarg);
		} else if (c == 'p') {
			step = number(optarg);
		} else if (c == 'x') {
			for (int f = FAULT_DROP_DELTA; f <= FAULT_LYING_DISK; f++)
				if (strcmp(optarg, fault_name[f]) == 0)
					fault = (enum fault)f;
		} else {
			return 2;
		}
	}
	if (!one && !singly && count == 0)
		return check(1, tap_rounds(1, argv, HISTORIES));
	struct totals t = { 0 };
	if (one)
		history(seed, trace, fault, &t);
	for (uint64_t i = 0; singly && i < count; i++) {
		fprintf(stderr, "\r%" PRIu64, from + i * step);
		history(from + i * step, false, fault, &t);
	}
	if (!one && !singly)
		t = many(from, count, step, fault, true);
	tell(&t, fault);
	return t.failed ? 1 : 0;
}
