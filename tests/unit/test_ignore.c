/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ignore rules: examples, and random rules and paths of which git says the same.
 *
 *     test_ignore [SEED [ROUNDS]]     round k of seed s is round 0 of seed s + k */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/buf.h"
#include "engine/ignore.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define DEPTH 4
#define PATHS_MAX 512

/* ---- examples ---- */

static bool ignored(const char *rules, const char *path, bool dir)
{
	_cleanup_(ignore_freep) struct ignore *g = NULL;
	if (ignore_parse(rules, strlen(rules), &g) < 0)
		tap_bail("out of memory");
	const struct ignore *all[8] = { g };
	size_t n = 1;
	for (const char *p = path; *p; p++)
		n += *p == '/';
	return ignore_path(all, n, path, strlen(path), dir);
}

static void examples(void)
{
	ok(ignored("*.o", "a.o", false) && ignored("*.o", "d/e/a.o", false), "a suffix anywhere");
	ok(!ignored("/*.o", "d/a.o", false), "a slash at the beginning: only here");
	ok(ignored("target/", "x/target", true) && !ignored("target/", "x/target", false),
	   "a slash at the end: only directories");
	ok(ignored("target/\n!keep", "target/keep", false), "nothing comes back from below");
	ok(!ignored("*.log\n!keep.log", "keep.log", false), "the last rule that fits counts");
	ok(ignored("d/**/e", "d/e", false) && ignored("d/**/e", "d/x/y/e", false),
	   "two stars between slashes: any directories, or none");
	ok(ignored("a\\ \nb  ", "a ", false) && ignored("a\\ \nb  ", "b", false),
	   "blanks at the end count when escaped");
	ok(ignored("\\#a\n\\!b", "#a", false) && ignored("\\#a\n\\!b", "!b", false),
	   "what begins like something else is escaped");
	ok(ignored("[!a-c]x\r\n", "dx", false) && !ignored("[!a-c]x\r\n", "bx", false) &&
		   ignored("dx\r", "dx", false),
	   "sets, and lines of another system");
	ok(!ignored("[a", "[a", false) && !ignored("a\\", "a\\", false) && !ignored("", "a", false),
	   "what makes no sense matches nothing");
}

/* A rule made to take as long as can be is done in no time. */
static void slow(void)
{
	_cleanup_(buf_done) struct buf rule = { 0 };
	_cleanup_(buf_done) struct buf path = { 0 };
	for (unsigned k = 0; k < 250; k++) {
		buf_puts(&rule, "*a");
		buf_puts(&path, "a");
	}
	buf_puts(&rule, "b\n");
	clock_t start = clock();
	bool any = ignored(buf_cstr(&rule), buf_cstr(&path), false);
	double took = (double)(clock() - start) / CLOCKS_PER_SEC;
	ok(!any && took < 1, "250 stars against 250 letters");
}

static void limits(void)
{
	_cleanup_(buf_done) struct buf rules = { 0 };
	for (unsigned k = 0; k < IGNORE_PATTERN_MAX; k++)
		buf_puts(&rules, "x");
	_cleanup_free_ char *longest = strdup(buf_cstr(&rules));
	ok(longest && ignored(longest, longest, false), "a rule as long as it may be");
	buf_puts(&rules, "x");
	ok(!ignored(buf_cstr(&rules), buf_cstr(&rules), false), "a longer one matches nothing");
	buf_reset(&rules);
	while (rules.len < IGNORE_SIZE_MAX)
		buf_puts(&rules, "# to fill\n");
	buf_puts(&rules, "late\n");
	ok(!ignored(buf_cstr(&rules), "late", false), "what is beyond the limit is not read");
}

/* ---- against git ---- */

struct world {
	const char *top;
	char *path[PATHS_MAX];
	bool dir[PATHS_MAX];
	bool git[PATHS_MAX];
	size_t n;
};

static const char *const part[] = { "a",  "b",  "ab", "a b", "b.o", "c]", "[c", "\\d",
				    "!a", "#a", "a ", "-",   "*a",  "A7", "{x", "aab" };
#define PARTS (sizeof(part) / sizeof(part[0]))

static void add_path(struct world *w, const char *path, bool dir)
{
	char full[512];
	snprintf(full, sizeof(full), "%s/%s", w->top, path);
	FILE *f = NULL;
	if (dir ? mkdir(full, 0755) < 0 && errno != EEXIST : !(f = fopen(full, "w")))
		tap_bail("cannot make %s", full);
	if (f)
		fclose(f);
	w->path[w->n] = strdup(path);
	w->dir[w->n++] = dir;
}

/* Directories a, a/b, a/b/ab, ab and a/a b with files of all names. */
static void make_tree(struct world *w)
{
	static const char *const dirs[] = { "", "a/", "a/b/", "a/b/ab/", "ab/", "a/a b/" };
	for (size_t d = 0; d < sizeof(dirs) / sizeof(dirs[0]); d++) {
		char path[256];
		if (*dirs[d]) {
			snprintf(path, sizeof(path), "%.*s", (int)strlen(dirs[d]) - 1, dirs[d]);
			add_path(w, path, true);
		}
		for (size_t k = 0; k < PARTS; k++) {
			bool later = false;
			snprintf(path, sizeof(path), "%s%s/", dirs[d], part[k]);
			for (size_t x = 0; x < sizeof(dirs) / sizeof(dirs[0]); x++)
				later |= strcmp(path, dirs[x]) == 0;
			path[strlen(path) - 1] = '\0';
			if (!later)
				add_path(w, path, false);
		}
	}
}

static void random_word(struct prng *r, struct buf *b)
{
	static const char *const piece[] = {
		"*",         "**",      "?",     "[ab]",        "[!a]",
		"[^a-c]",    "[a-]",    "[]a]",  "[[:alpha:]]", "[[:digit:]A]",
		"[[:nix:]]", "[a",      "\\a",   "\\",          "[\\]]",
		"[b-a]",     "[-a]",    "[[:a]", " ",           "\\ ",
		"a",         "b",       "o",     ".",           "-",
		"[!]a-c]",   "[\\\\a]", "[+--]", "[a-c-e]"
	};
	if (prng_chance(r, 40)) {
		buf_puts(b, part[prng_below(r, PARTS)]);
		return;
	}
	for (unsigned n = 1 + (unsigned)prng_below(r, 3); n > 0; n--)
		buf_puts(b, piece[prng_below(r, sizeof(piece) / sizeof(piece[0]))]);
}

static void random_rules(struct prng *r, struct buf *b)
{
	buf_reset(b);
	if (prng_chance(r, 3))
		buf_puts(b, "\xef\xbb\xbf");
	for (unsigned n = 1 + (unsigned)prng_below(r, 7); n > 0; n--) {
		static const char *const head[] = { "!", "/", "**/", "a/", "#", "\\!", "\\#", " " };
		static const char *const tail[] = {
			"/", "/**", "/*", " ", "\t", "  ", "\\ ", "**"
		};
		if (prng_chance(r, 35))
			buf_puts(b, head[prng_below(r, 8)]);
		random_word(r, b);
		while (prng_chance(r, 35)) {
			buf_puts(b, prng_chance(r, 15) ? "/**/" : "/");
			random_word(r, b);
		}
		if (prng_chance(r, 35))
			buf_puts(b, tail[prng_below(r, 8)]);
		buf_puts(b, prng_chance(r, 5) ? "\r\n" : n == 1 && prng_chance(r, 10) ? "" : "\n");
	}
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
		tap_bail("cannot write %s", path);
}

static void shell(const char *command)
{
	if (system(command) > 256) /* 1: nothing is ignored */
		tap_bail("%s failed", command);
}

/* What git says of each path. */
static void ask_git(struct world *w)
{
	char text[1024];
	snprintf(text, sizeof(text), "cd %s && git check-ignore --no-index -z --stdin <%s >%s",
		 w->top, tap_path("paths"), tap_path("answer"));
	shell(text);
	size_t len;
	_cleanup_free_ char *answer = tap_read_file(tap_path("answer"), &len);
	size_t k = 0;
	memset(w->git, 0, sizeof(w->git));
	for (char *p = answer; p < answer + len; p += strlen(p) + 1) {
		while (k < w->n && strcmp(w->path[k], p) != 0)
			k++;
		if (k == w->n)
			tap_bail("git answers %s, which is out of place", p);
		w->git[k] = true;
	}
}

/* The rules of a path's directories. */
static size_t rules_of(const char *const *dirs, struct ignore *const *rules, const char *path,
		       const struct ignore **ret)
{
	size_t n = 0;
	ret[n++] = rules[0];
	for (const char *p = path; (p = strchr(p, '/')); p++) {
		ret[n] = NULL;
		for (size_t d = 1; d < DEPTH; d++)
			if (strlen(dirs[d]) == (size_t)(p - path) &&
			    memcmp(dirs[d], path, (size_t)(p - path)) == 0)
				ret[n] = rules[d];
		n++;
	}
	return n;
}

static bool round_agrees(struct world *w, uint64_t seed)
{
	static const char *const dirs[DEPTH] = { "", "a", "a/b", "a/b/ab" };
	struct prng r = { seed };
	struct ignore *rules[DEPTH] = { NULL };
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(buf_done) struct buf all = { 0 };
	for (size_t d = 0; d < DEPTH; d++) {
		char path[512];
		snprintf(path, sizeof(path), "%s/%s/.gitignore", w->top, dirs[d]);
		remove(path);
		if (d > 0 && prng_chance(&r, 60))
			continue;
		random_rules(&r, &b);
		write_file(path, b.data, b.len);
		buf_putf(&all, "-- %s/.gitignore\n%s\n", dirs[d], buf_cstr(&b));
		if (ignore_parse((const char *)b.data, b.len, &rules[d]) < 0)
			tap_bail("out of memory");
	}
	ask_git(w);
	bool same = true;
	for (size_t k = 0; k < w->n && same; k++) {
		const struct ignore *of[8];
		size_t n = rules_of(dirs, rules, w->path[k], of);
		bool ours = ignore_path(of, n, w->path[k], strlen(w->path[k]), w->dir[k]);
		same = ours == w->git[k];
		if (!same)
			tap_diag("seed %llu: \"%s\" is %signored by git\n%s",
				 (unsigned long long)seed, w->path[k], w->git[k] ? "" : "not ",
				 buf_cstr(&all));
	}
	for (size_t d = 0; d < DEPTH; d++)
		ignore_free(rules[d]);
	return same;
}

static void against_git(uint64_t seed, uint64_t rounds)
{
	_cleanup_free_ char *top = strdup(tap_path("work"));
	struct world w = { .top = top };
	if (!top || mkdir(top, 0755) < 0)
		tap_bail("cannot make %s", tap_path("work"));
	make_tree(&w);
	char text[1024];
	snprintf(text, sizeof(text), "git init -q %s", w.top);
	shell(text);
	_cleanup_(buf_done) struct buf b = { 0 };
	for (size_t k = 0; k < w.n; k++)
		buf_put(&b, w.path[k], strlen(w.path[k]) + 1);
	write_file(tap_path("paths"), b.data, b.len);
	bool same = true;
	size_t said = 0;
	for (uint64_t k = 0; k < rounds && same; k++) {
		same = round_agrees(&w, seed + k);
		for (size_t i = 0; i < w.n; i++)
			said += w.git[i];
	}
	ok(same && said > rounds, "git says the same of %llu random sets of rules (%zu ignored)",
	   (unsigned long long)rounds, said);
	for (size_t k = 0; k < w.n; k++)
		free(w.path[k]);
}

int main(int argc, char **argv)
{
	tap_plan(15);
	uint64_t seed = tap_seed(argc, argv);
	examples();
	slow();
	limits();
	against_git(seed, tap_rounds(argc, argv, 500));
	return tap_done();
}
