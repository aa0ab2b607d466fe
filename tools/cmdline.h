/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Command lines of programs with subcommands, from tables: `shoal [OPTION…] COMMAND [OPTION…]
 * [ARG…]`, GNU style. Options and arguments may mix; `--` ends the options; `--name=value` and
 * `--name value` are the same; short options may be bundled. Every command takes --help,
 * --version, --store DIR and, where its table says so, --json. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"

#define CMDLINE_OPTIONS 16 /* of one command */

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_LIST,     /* may be given several times; one such option a command */
	OPTION_NUMBER,   /* decimal, within min..max */
	OPTION_DURATION, /* microseconds: 90, 90s, 1.5s, 30m, 1h30m, 2d; plain numbers are seconds */
};

struct option_def {
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum option_kind kind;
	const char *arg;  /* what the help calls the value */
	const char *help; /* a few words, no full stop */
	uint64_t min, max; /* OPTION_NUMBER; max 0: no bound */
};

struct command_def {
	const char *name;
	const char *args;    /* as in the usage line */
	const char *summary; /* a few words for the list of commands */
	const char *help;    /* sentences for `--help`, may be NULL */
	const struct option_def *option;
	unsigned n_options;
	unsigned min_args, max_args;
	bool json;
	int (*run)(void *context); /* the program's business */
};

struct cmdline {
	const struct command_def *command; /* NULL: none was named */
	bool help, version, json;
	const char *store; /* borrowed from argv; NULL: not given */
	struct {
		bool set;
		const char *text; /* borrowed from argv */
		uint64_t number;
	} value[CMDLINE_OPTIONS]; /* by index into the command's options */
	const char **list; /* of the OPTION_LIST, in order; the list is ours, the texts are argv's */
	unsigned n_list;
	char **arg; /* the list is ours, the texts are argv's */
	unsigned n_args;
};

/* Reads argv. -EINVAL with a sentence for a person: a usage error (exit code 2); *ret is then
 * valid as far as it was read, for a hint. The caller ends with cmdline_done in both cases. */
int cmdline_parse(const struct command_def *table, unsigned n, int argc, char **argv,
		  struct cmdline *ret, struct err *e);
void cmdline_done(struct cmdline *c);

/* Help for one command; `program` begins the usage line. */
void cmdline_help(const char *program, const struct command_def *c, struct buf *out);

/* The name in the table nearest to a mistyped one, NULL when none is near. */
const char *cmdline_nearest(const struct command_def *table, unsigned n, const char *name);

/* Microseconds of a duration as above; -EINVAL, -ERANGE. */
int duration_parse(const char *text, uint64_t *ret_us);
/* Decimal digits only; -EINVAL, -ERANGE beyond max. */
int number_parse(const char *text, uint64_t max, uint64_t *ret);
