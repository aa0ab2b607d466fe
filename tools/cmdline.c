/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/cmdline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int number_parse(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		uint64_t d = (uint64_t)(*text - '0');
		if (v > (UINT64_MAX - d) / 10)
			return -ERANGE;
		v = v * 10 + d;
	}
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

/* One NUMBER[.FRACTION][UNIT] of a duration; advances *p. */
static int duration_part(const char **p, bool *ret_unit, uint64_t *ret_us)
{
	const uint64_t second = 1000000;
	uint64_t whole = 0, fraction = 0, scale = second;
	const char *s = *p, *start = s;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (whole > UINT32_MAX)
			return -ERANGE;
		whole = whole * 10 + (uint64_t)(*s - '0');
	}
	if (s == start)
		return -EINVAL;
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++) {
			scale /= 10;
			fraction += scale * (uint64_t)(*s - '0');
		}
		if (s[-1] == '.')
			return -EINVAL;
	}
	uint64_t unit = 1;
	*ret_unit = true;
	if (strncmp(s, "ms", 2) == 0) {
		*p = s + 2;
		*ret_us = whole * 1000 + fraction / 1000;
		return 0;
	}
	switch (*s) {
	case 's':
		break;
	case 'm':
		unit = 60;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'd':
		unit = 86400;
		break;
	case 'w':
		unit = 7 * 86400;
		break;
	default:
		*ret_unit = false;
	}
	*p = s + (*ret_unit ? 1 : 0);
	*ret_us = (whole * second + fraction) * unit;
	return 0;
}

int duration_parse(const char *text, uint64_t *ret_us)
{
	uint64_t total = 0;
	const char *p = text;
	for (unsigned parts = 0; parts == 0 || *p; parts++) {
		uint64_t us;
		bool unit;
		int r = duration_part(&p, &unit, &us);
		if (r < 0)
			return r;
		/* A number without unit stands alone. */
		if ((!unit && (*p || parts)) || parts == 8)
			return -EINVAL;
		total += us;
	}
	*ret_us = total;
	return 0;
}

/* Optimal string alignment distance, capped by the short names it is for. */
static unsigned distance(const char *a, const char *b)
{
	enum { MAX = 24 };
	unsigned d[MAX + 1][MAX + 1];
	size_t n = strlen(a), m = strlen(b);
	if (n > MAX || m > MAX)
		return MAX;
	for (size_t i = 0; i <= n; i++) {
		for (size_t j = 0; j <= m; j++) {
			if (!i || !j) {
				d[i][j] = (unsigned)(i + j);
				continue;
			}
			unsigned v = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < v)
				v = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < v)
				v = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < v)
				v = d[i - 2][j - 2] + 1;
			d[i][j] = v;
		}
	}
	return d[n][m];
}

const char *cmdline_nearest(const struct command_def *table, unsigned n, const char *name)
{
	const char *best = NULL;
	unsigned least = (unsigned)strlen(name) / 3 + 2; /* farther is no typing mistake */
	for (unsigned i = 0; i < n; i++) {
		unsigned d = distance(name, table[i].name);
		if (d < least) {
			least = d;
			best = table[i].name;
		}
	}
	return best;
}

static const struct option_def common[] = {
	{ "help", 'h', OPTION_FLAG, NULL, "show this help", 0, 0 },
	{ "version", 0, OPTION_FLAG, NULL, "show the version", 0, 0 },
	{ "store", 0, OPTION_TEXT, "DIR", "the device's data directory", 0, 0 },
	{ "json", 0, OPTION_FLAG, NULL, "report as one JSON value", 0, 0 },
};
enum { COMMON_HELP, COMMON_VERSION, COMMON_STORE, COMMON_JSON, COMMON_COUNT };

struct parser {
	const struct command_def *table;
	unsigned n;
	char **next, **end;
	struct cmdline *out;
	struct err *e;
};

/* Which option; index >= CMDLINE_OPTIONS means one of the common ones. -1: unknown. */
static int find_option(const struct parser *p, const char *name, size_t len, char letter)
{
	const struct command_def *c = p->out->command;
	for (unsigned i = 0; c && i < c->n_options; i++) {
		const struct option_def *o = &c->option[i];
		if (letter ? o->letter == letter :
			     strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return (int)i;
	}
	for (unsigned i = 0; i < COMMON_COUNT; i++) {
		const struct option_def *o = &common[i];
		if (i == COMMON_JSON && c && !c->json)
			continue;
		if (letter ? o->letter == letter :
			     strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return (int)(CMDLINE_OPTIONS + i);
	}
	return -1;
}

static int bad_value(struct parser *p, const struct option_def *o, const char *text)
{
	if (o->kind == OPTION_DURATION)
		return err_set(p->e, -EINVAL,
			       "--%s takes a duration such as 90s, 30m, 1h or 2d, not \"%.60s\"",
			       o->name, text);
	if (o->max)
		return err_set(p->e, -EINVAL,
			       "--%s takes a number from %llu to %llu, not \"%.60s\"", o->name,
			       (unsigned long long)o->min, (unsigned long long)o->max, text);
	return err_set(p->e, -EINVAL, "--%s takes a number, not \"%.60s\"", o->name, text);
}

static int set_option(struct parser *p, int index, const char *text)
{
	struct cmdline *out = p->out;
	switch (index - CMDLINE_OPTIONS) {
	case COMMON_HELP:
		out->help = true;
		return 0;
	case COMMON_VERSION:
		out->version = true;
		return 0;
	case COMMON_JSON:
		out->json = true;
		return 0;
	case COMMON_STORE:
		if (!*text)
			return err_set(p->e, -EINVAL, "--store takes a directory, not an empty name");
		out->store = text;
		return 0;
	default:
		break;
	}
	const struct option_def *o = &out->command->option[index];
	uint64_t number = 0;
	int r = 0;
	if (o->kind == OPTION_NUMBER) {
		r = number_parse(text, o->max ? o->max : UINT64_MAX, &number);
		if (r == 0 && number < o->min)
			r = -ERANGE;
	} else if (o->kind == OPTION_DURATION) {
		r = duration_parse(text, &number);
	}
	if (r < 0)
		return bad_value(p, o, text);
	if (o->kind == OPTION_LIST)
		out->list[out->n_list++] = text;
	out->value[index].set = true;
	out->value[index].text = text;
	out->value[index].number = number;
	return 0;
}

static enum option_kind option_kind(const struct parser *p, int index)
{
	return index >= CMDLINE_OPTIONS ? common[index - CMDLINE_OPTIONS].kind :
					  p->out->command->option[index].kind;
}

static int parse_long(struct parser *p, const char *text)
{
	const char *eq = strchr(text, '=');
	size_t len = eq ? (size_t)(eq - text) : strlen(text);
	int index = find_option(p, text, len, 0);
	if (index < 0)
		return err_set(p->e, -EINVAL, "unknown option --%.*s", (int)(len < 60 ? len : 60),
			       text);
	if (option_kind(p, index) == OPTION_FLAG) {
		if (eq)
			return err_set(p->e, -EINVAL, "--%.*s takes no value", (int)len, text);
		return set_option(p, index, NULL);
	}
	if (eq)
		return set_option(p, index, eq + 1);
	if (p->next == p->end)
		return err_set(p->e, -EINVAL, "--%s needs a value", text);
	return set_option(p, index, *p->next++);
}

static int parse_short(struct parser *p, const char *text)
{
	for (; *text; text++) {
		int index = find_option(p, NULL, 0, *text);
		if (index < 0)
			return err_set(p->e, -EINVAL, "unknown option -%c",
				       *text > ' ' && *text < 127 ? *text : '?');
		int r;
		if (option_kind(p, index) == OPTION_FLAG) {
			r = set_option(p, index, NULL);
			if (r < 0)
				return r;
			continue;
		}
		if (text[1])
			return set_option(p, index, text + 1);
		if (p->next == p->end)
			return err_set(p->e, -EINVAL, "-%c needs a value", *text);
		return set_option(p, index, *p->next++);
	}
	return 0;
}

static int take_command(struct parser *p, const char *name)
{
	for (unsigned i = 0; i < p->n; i++)
		if (strcmp(p->table[i].name, name) == 0) {
			p->out->command = &p->table[i];
			return 0;
		}
	const char *near = cmdline_nearest(p->table, p->n, name);
	if (near)
		return err_set(p->e, -EINVAL, "unknown command \"%.40s\"; did you mean \"%s\"?",
			       name, near);
	return err_set(p->e, -EINVAL, "unknown command \"%.40s\"", name);
}

static int check_args(struct parser *p)
{
	const struct command_def *c = p->out->command;
	if (!c || p->out->help || p->out->version)
		return 0;
	if (p->out->n_args < c->min_args)
		return err_set(p->e, -EINVAL, "%s needs %s", c->name, c->args);
	if (p->out->n_args > c->max_args)
		return err_set(p->e, -EINVAL, "unexpected argument \"%.60s\"",
			       p->out->arg[c->max_args]);
	return 0;
}

int cmdline_parse(const struct command_def *table, unsigned n, int argc, char **argv,
		  struct cmdline *ret, struct err *e)
{
	*ret = (struct cmdline){ 0 };
	ret->arg = calloc((size_t)argc + 1, sizeof(*ret->arg));
	ret->list = calloc((size_t)argc + 1, sizeof(*ret->list));
	if (!ret->arg || !ret->list)
		return err_errno(e, -ENOMEM, "cannot read the command line");
	struct parser p = { table, n, argv + (argc > 0), argv + argc, ret, e };
	/* A program with a single command has no name for it on the line. */
	if (n == 1)
		ret->command = table;
	bool options = true;
	while (p.next < p.end) {
		char *text = *p.next++;
		int r = 0;
		if (options && strcmp(text, "--") == 0)
			options = false;
		else if (options && text[0] == '-' && text[1] == '-')
			r = parse_long(&p, text + 2);
		else if (options && text[0] == '-' && text[1])
			r = parse_short(&p, text + 1);
		else if (!ret->command)
			r = take_command(&p, text);
		else
			ret->arg[ret->n_args++] = text;
		if (r < 0)
			return r;
	}
	if (ret->json && ret->command && !ret->command->json)
		return err_set(e, -EINVAL, "%s has nothing to report as JSON", ret->command->name);
	return check_args(&p);
}

void cmdline_done(struct cmdline *c)
{
	free(c->arg);
	free(c->list);
	c->arg = NULL;
	c->list = NULL;
	c->n_args = 0;
}

static void help_option(const struct option_def *o, struct buf *out)
{
	_cleanup_(buf_done) struct buf left = { 0 };
	if (o->letter)
		buf_putf(&left, "-%c, ", o->letter);
	else
		buf_puts(&left, "    ");
	buf_putf(&left, "--%s", o->name);
	if (o->arg)
		buf_putf(&left, " %s", o->arg);
	const char *text = buf_cstr(&left);
	buf_putf(out, "  %-28s  %s\n", text ? text : "", o->help);
}

void cmdline_help(const char *program, const struct command_def *c, struct buf *out)
{
	buf_putf(out, "Usage: %s%s%s%s%s\n\n%s.\n", program, *c->name ? " " : "", c->name,
		 *c->args ? " " : "", c->args, c->summary);
	if (c->help)
		buf_putf(out, "\n%s\n", c->help);
	buf_puts(out, "\nOptions:\n");
	for (unsigned i = 0; i < c->n_options; i++)
		help_option(&c->option[i], out);
	for (unsigned i = 0; i < COMMON_COUNT; i++)
		if (i != COMMON_JSON || c->json)
			help_option(&common[i], out);
}
