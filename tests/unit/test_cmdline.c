/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines: options, durations, mistakes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/prng.h"
#include "tests/tap.h"
#include "tools/cmdline.h"

static const struct option_def invite_options[] = {
	{ "role", 'r', OPTION_TEXT, "ROLE", "what it may do", 0, 0 },
	{ "uses", 0, OPTION_NUMBER, "N", "how often", 1, 10 },
	{ "expires", 0, OPTION_DURATION, "TIME", "how long", 0, 0 },
	{ "quiet", 'q', OPTION_FLAG, NULL, "say nothing", 0, 0 },
	{ "param", 'p', OPTION_LIST, "NAME=VALUE", "any number of them", 0, 0 },
};
static const struct command_def table[] = {
	{ "invite", "", "print a token", NULL, invite_options, 5, 0, 0, true, NULL },
	{ "cat", "PATH", "print a file", NULL, NULL, 0, 1, 2, false, NULL },
	{ "status", "", "tell", NULL, NULL, 0, 0, 0, true, NULL },
};

static int parse(struct cmdline *c, struct err *e, char **argv)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	return cmdline_parse(table, 3, argc, argv, c, e);
}
#define ARGV(...) ((char *[]){ (char[]){ "shoal" }, __VA_ARGS__, NULL })
#define A(text) ((char[]){ text })

static void test_good(void)
{
	struct cmdline c;
	struct err e = { 0 };
	is_int(parse(&c, &e, ARGV(A("--store"), A("/s"), A("invite"), A("-qr"), A("member"),
				  A("--uses=3"), A("--expires"), A("1h30m"), A("--json"))),
	       0, "options before and behind the command");
	ok(c.command == &table[0] && c.json, "the command is found");
	is_str(c.store, "/s", "--store has its value");
	is_str(c.value[0].text, "member", "a bundled short option takes the next word");
	ok(c.value[3].set && c.value[1].number == 3 && c.value[2].number == 5400000000u,
	   "flags, numbers and durations");
	cmdline_done(&c);
	is_int(parse(&c, &e, ARGV(A("invite"), A("--param"), A("a=1"), A("-qpb=2"), A("--param=c"))), 0, "an option several times");
	ok(c.n_list == 3 && !strcmp(c.list[0], "a=1") && !strcmp(c.list[1], "b=2") && !strcmp(c.list[2], "c") && c.value[4].set,
	   "all of its values, in order");
	cmdline_done(&c);
	is_int(parse(&c, &e, ARGV(A("cat"), A("--"), A("--store"))), 0, "-- ends the options");
	ok(c.n_args == 1 && strcmp(c.arg[0], "--store") == 0, "what follows it is an argument");
	cmdline_done(&c);
	is_int(parse(&c, &e, ARGV(A("cat"), A("-"))), 0, "a dash alone is an argument");
	cmdline_done(&c);
	is_int(parse(&c, &e, ARGV(A("cat"), A("--help"))), 0, "--help needs no arguments");
	ok(c.help, "it is noted");
	cmdline_done(&c);
}

static void test_bad(void)
{
	char *const *const bad[] = {
		(char *[]){ (char[]){ "shoal" }, (char[]){ "statsu" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "cat" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "status" }, (char[]){ "x" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--uses" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--uses=0" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--uses=11" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--uses=1x" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--expires=soon" },
			    NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--quiet=1" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "--nope" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "cat" }, (char[]){ "--json" },
			    (char[]){ "x" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "status" }, (char[]){ "--store=" }, NULL },
		(char *[]){ (char[]){ "shoal" }, (char[]){ "invite" }, (char[]){ "-x" }, NULL },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cmdline c;
		struct err e = { 0 };
		int argc = 0;
		while (bad[i][argc])
			argc++;
		char *argv[8] = { 0 };
		memcpy(argv, bad[i], sizeof(char *) * (size_t)argc);
		int r = cmdline_parse(table, 3, argc, argv, &c, &e);
		ok(r == -EINVAL && e.message[0], "refused: %s %s: %s", argv[1],
		   argc > 2 ? argv[2] : "", e.message);
		cmdline_done(&c);
	}
	struct cmdline c;
	struct err e = { 0 };
	parse(&c, &e, ARGV(A("statsu")));
	ok(strstr(e.message, "did you mean \"status\""), "a near name is offered");
	cmdline_done(&c);
	ok(!cmdline_nearest(table, 3, "xyzzy"), "a far one is not");
}

static void test_durations(void)
{
	static const struct {
		const char *text;
		uint64_t us;
	} good[] = { { "0", 0 }, { "90", 90000000 }, { "1.5s", 1500000 }, { "250ms", 250000 },
		     { "2d", 172800000000 }, { "1w", 604800000000 }, { "1h30m", 5400000000 },
		     { ".5", UINT64_MAX }, { "", UINT64_MAX }, { "1x", UINT64_MAX },
		     { "-1", UINT64_MAX }, { "1.", UINT64_MAX }, { "1h30", UINT64_MAX },
		     { "99999999999999999999", UINT64_MAX }, { "1 h", UINT64_MAX } };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t us = UINT64_MAX;
		int r = duration_parse(good[i].text, &us);
		ok(us == good[i].us && (r == 0) == (us != UINT64_MAX), "duration \"%s\"",
		   good[i].text);
	}
}

static void test_random(uint64_t seed, uint64_t rounds)
{
	/* Whatever stands on the line: an answer, and nothing read beyond it. */
	static const char *const word[] = { "invite", "cat", "--", "-", "-q", "-r", "--role", "--uses",
					    "--uses=2", "--json", "--store", "x", "", "-qqr", "--=",
					    "--help", "\xff" };
	struct prng r = { seed };
	uint64_t answered = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		char text[8][16];
		char *argv[10] = { (char[]){ "shoal" } };
		int argc = 1 + (int)prng_below(&r, 8);
		for (int k = 1; k < argc; k++) {
			snprintf(text[k - 1], sizeof(text[0]), "%s",
				 word[prng_below(&r, sizeof(word) / sizeof(word[0]))]);
			argv[k] = text[k - 1];
		}
		struct cmdline c;
		struct err e = { 0 };
		int code = cmdline_parse(table, 3, argc, argv, &c, &e);
		answered += code == 0 || (code == -EINVAL && e.message[0]);
		cmdline_done(&c);
	}
	is_uint(answered, rounds, "every line is taken or refused with a sentence");
}

int main(int argc, char **argv)
{
	tap_plan(12 + 15 + 15 + 1);
	uint64_t seed = tap_seed(argc, argv);
	test_good();
	test_bad();
	test_durations();
	test_random(seed, tap_rounds(argc, argv, 20000));
	return tap_done();
}
