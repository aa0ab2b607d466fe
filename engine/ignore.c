/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A pattern is compiled into a row of tokens, and the row is run as a nondeterministic automaton: a
 * set of places in the row, moved on by each byte of the path. So no pattern takes exponential
 * time.
 *
 *     LIT c      this byte
 *     ANY        one byte that is no slash: ?
 *     SET        one byte of a set, no slash: [...]
 *     STAR       bytes that are no slashes: *
 *     ALL        any bytes: two stars at the end
 *     SKIP, TREE directories or none, each with its slash: two stars and a slash. SKIP may go on
 *                behind TREE at once; TREE takes any bytes and goes on behind a slash. */

#include "engine/ignore.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum kind { LIT, ANY, SET, STAR, ALL, SKIP, TREE };

struct set {
	uint8_t bit[32];
};

struct token {
	uint8_t kind, byte;
	uint16_t set;
};

struct pattern {
	bool negative, dir_only;
	bool names;   /* compared with names, not paths */
	bool literal; /* every token is a LIT */
	size_t first, n;
};

struct ignore {
	struct pattern *pattern;
	struct token *token;
	struct set *set;
	size_t n_patterns, n_tokens, n_sets;
	size_t cap_patterns, cap_tokens, cap_sets;
};

static void *grow(void *list, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return list;
	size_t want = *cap ? *cap * 2 : 16;
	void *p = reallocarray(list, want, size);
	if (p)
		*cap = want;
	return p;
}

static int put_token(struct ignore *g, enum kind kind, char byte, size_t set)
{
	struct token *t = grow(g->token, g->n_tokens, &g->cap_tokens, sizeof(*t));
	if (!t)
		return -ENOMEM;
	g->token = t;
	t[g->n_tokens++] = (struct token){ (uint8_t)kind, (uint8_t)byte, (uint16_t)set };
	return 1;
}

/* ---- sets ---- */

static void set_range(struct set *s, unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		s->bit[c / 8] = (uint8_t)(s->bit[c / 8] | 1u << c % 8);
}

static bool set_class(struct set *s, const char *name, size_t len)
{
	static const struct {
		const char *name;
		int (*is)(int c);
	} class[] = {
		{ "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank },
		{ "cntrl", iscntrl }, { "digit", isdigit }, { "graph", isgraph },
		{ "lower", islower }, { "print", isprint }, { "punct", ispunct },
		{ "space", isspace }, { "upper", isupper }, { "xdigit", isxdigit },
	};
	for (size_t k = 0; k < sizeof(class) / sizeof(class[0]); k++) {
		if (strlen(class[k].name) != len || memcmp(class[k].name, name, len) != 0)
			continue;
		/* Of ASCII, whatever the locale. */
		for (unsigned c = 0; c < 128; c++)
			if (class[k].is((int)c))
				set_range(s, c, c);
		return true;
	}
	return false;
}

/* p[*at] is behind the bracket; afterwards behind the closing one. False: there is none, or a class
 * that is not known. */
static bool parse_set(const char *p, size_t len, size_t *at, struct set *s)
{
	size_t i = *at;
	bool negated = i < len && (p[i] == '!' || p[i] == '^');
	if (negated)
		i++;
	unsigned before = 0; /* what a range may begin with */
	for (bool first = true;; first = false, i++) {
		if (i >= len)
			return false;
		unsigned c = (uint8_t)p[i];
		if (c == ']' && !first)
			break;
		if (c == '-' && before && i + 1 < len && p[i + 1] != ']') {
			if (p[++i] == '\\' && ++i >= len)
				return false;
			set_range(s, before, (uint8_t)p[i]);
			before = 0;
			continue;
		}
		if (c == '[' && i + 1 < len && p[i + 1] == ':') {
			const char *name = p + i + 2;
			const char *end = memchr(name, ']', len - i - 2);
			if (!end)
				return false;
			if (end > name && end[-1] == ':') {
				if (!set_class(s, name, (size_t)(end - name) - 1))
					return false;
				i = (size_t)(end - p);
				before = 0;
				continue;
			}
		}
		if (c == '\\') {
			if (++i >= len)
				return false;
			c = (uint8_t)p[i];
		}
		set_range(s, c, c);
		before = c;
	}
	*at = i + 1;
	for (size_t k = 0; negated && k < sizeof(s->bit); k++)
		s->bit[k] = (uint8_t)~s->bit[k];
	s->bit['/' / 8] = (uint8_t)(s->bit['/' / 8] & ~(1u << '/' % 8));
	return true;
}

static int put_set(struct ignore *g, const char *p, size_t len, size_t *at)
{
	struct set s = { 0 };
	if (!parse_set(p, len, at, &s) || g->n_sets == UINT16_MAX)
		return 0;
	struct set *list = grow(g->set, g->n_sets, &g->cap_sets, sizeof(*list));
	if (!list)
		return -ENOMEM;
	g->set = list;
	list[g->n_sets] = s;
	return put_token(g, SET, 0, g->n_sets++);
}

/* ---- patterns ---- */

/* p[*at] is the first of some stars; `edge`: what is before them is a slash, or nothing. */
static int put_stars(struct ignore *g, const char *p, size_t len, size_t *at, bool edge)
{
	size_t i = *at, n = 0;
	while (i < len && p[i] == '*') {
		i++;
		n++;
	}
	*at = i;
	bool tree = n > 1 && edge;
	if (tree && i == len)
		return put_token(g, ALL, 0, 0);
	if (tree && p[i] == '/') {
		*at = i + 1;
		int r = put_token(g, SKIP, 0, 0);
		return r < 0 ? r : put_token(g, TREE, 0, 0);
	}
	/* Before an escaped slash they cross directories, but do not match none. */
	if (tree && p[i] == '\\' && i + 1 < len && p[i + 1] == '/') {
		*at = i + 2;
		return put_token(g, TREE, 0, 0);
	}
	return put_token(g, STAR, 0, 0);
}

static size_t literal_length(const char *p, size_t len)
{
	size_t n = 0;
	while (n < len && !strchr("*?[\\", p[n]))
		n++;
	return n;
}

/* The tokens of p; 0: it can match nothing. */
static int compile(struct ignore *g, const char *p, size_t len, bool names)
{
	/* git compares what is before the first wildcard by itself: stars right behind it stand at
	 * the beginning of what remains. */
	const size_t start = names ? 0 : literal_length(p, len);
	for (size_t i = 0; i < len;) {
		char c = p[i];
		int r;
		if (c == '*') {
			r = put_stars(g, p, len, &i, !names && (i == start || p[i - 1] == '/'));
		} else if (c == '?') {
			r = put_token(g, ANY, 0, 0);
			i++;
		} else if (c == '[') {
			i++;
			r = put_set(g, p, len, &i);
		} else {
			if (c == '\\' && ++i >= len)
				return 0;
			r = put_token(g, LIT, p[i++], 0);
		}
		if (r <= 0)
			return r;
	}
	return len > 0;
}

static int add_pattern(struct ignore *g, const char *p, size_t len)
{
	struct pattern *list = grow(g->pattern, g->n_patterns, &g->cap_patterns, sizeof(*list));
	if (!list)
		return -ENOMEM;
	g->pattern = list;
	struct pattern x = { .first = g->n_tokens };
	if (len && *p == '!') {
		x.negative = true;
		p++;
		len--;
	}
	if (len && p[len - 1] == '/') {
		x.dir_only = true;
		len--;
	}
	if (len > IGNORE_PATTERN_MAX)
		return 0;
	x.names = !memchr(p, '/', len);
	if (len && *p == '/') {
		p++;
		len--;
	}
	int r = compile(g, p, len, x.names);
	if (r <= 0) {
		g->n_tokens = x.first;
		return r;
	}
	x.n = g->n_tokens - x.first;
	x.literal = literal_length(p, len) == len;
	list[g->n_patterns++] = x;
	return 0;
}

/* Without the blanks at the end that nobody has escaped. */
static size_t trimmed(const char *p, size_t len)
{
	size_t keep = 0;
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '\\') {
			if (++i >= len)
				return len;
		} else if (p[i] == ' ') {
			continue;
		}
		keep = i + 1;
	}
	return keep;
}

int ignore_parse(const char *text, size_t len, struct ignore **ret)
{
	_cleanup_(ignore_freep) struct ignore *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	if (len > IGNORE_SIZE_MAX)
		len = IGNORE_SIZE_MAX;
	size_t at = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	while (at < len) {
		const char *p = text + at;
		const char *end = memchr(p, '\n', len - at);
		size_t n = end ? (size_t)(end - p) : len - at;
		at += n + 1;
		if (n && p[n - 1] == '\r')
			n--;
		/* As in a C string. */
		n = strnlen(p, n);
		if (n == 0 || *p == '#')
			continue;
		int r = add_pattern(g, p, trimmed(p, n));
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(g);
	return 0;
}

void ignore_free(struct ignore *g)
{
	if (!g)
		return;
	free(g->pattern);
	free(g->token);
	free(g->set);
	free(g);
}

/* ---- matching ---- */

/* A place in the row is reached, and those that it takes no byte to go on to. on has n + 1 places.
 */
static void reach(const struct token *t, size_t n, uint8_t *on, size_t at)
{
	for (;;) {
		on[at] = 1;
		if (at == n)
			return;
		switch ((enum kind)t[at].kind) {
		case STAR:
		case ALL:
			at++;
			break;
		case SKIP:
			on[at + 1] = 1;
			at += 2;
			break;
		case LIT:
		case ANY:
		case SET:
		case TREE:
			return;
		}
	}
}

static bool run(const struct ignore *g, const struct token *t, size_t n, const char *text,
		size_t len)
{
	uint8_t room[2][IGNORE_PATTERN_MAX + 2];
	uint8_t *on = room[0], *next = room[1];
	memset(on, 0, n + 1);
	reach(t, n, on, 0);
	for (size_t k = 0; k < len; k++) {
		const uint8_t c = (uint8_t)text[k];
		bool any = false;
		memset(next, 0, n + 1);
		for (size_t i = 0; i < n; i++) {
			if (!on[i])
				continue;
			size_t to = SIZE_MAX;
			switch ((enum kind)t[i].kind) {
			case LIT:
				to = t[i].byte == c ? i + 1 : SIZE_MAX;
				break;
			case ANY:
				to = c != '/' ? i + 1 : SIZE_MAX;
				break;
			case SET:
				to = g->set[t[i].set].bit[c / 8] >> c % 8 & 1 ? i + 1 : SIZE_MAX;
				break;
			case STAR:
				to = c != '/' ? i : SIZE_MAX;
				break;
			case ALL:
				to = i;
				break;
			case TREE:
				next[i] = 1;
				any = true;
				to = c == '/' ? i + 1 : SIZE_MAX;
				break;
			case SKIP:
				break;
			}
			if (to == SIZE_MAX)
				continue;
			reach(t, n, next, to);
			any = true;
		}
		if (!any)
			return false;
		uint8_t *swap = on;
		on = next;
		next = swap;
	}
	return on[n];
}

static bool fits(const struct ignore *g, const struct pattern *x, const char *path, size_t len)
{
	const struct token *t = g->token + x->first;
	if (x->names) {
		const char *slash = memrchr(path, '/', len);
		size_t skip = slash ? (size_t)(slash - path) + 1 : 0;
		path += skip;
		len -= skip;
	}
	if (!x->literal)
		return run(g, t, x->n, path, len);
	if (len != x->n)
		return false;
	for (size_t i = 0; i < len; i++)
		if (t[i].byte != (uint8_t)path[i])
			return false;
	return true;
}

enum ignore_says ignore_match(const struct ignore *g, const char *path, size_t len, bool dir)
{
	for (size_t k = g->n_patterns; k-- > 0;) {
		const struct pattern *x = &g->pattern[k];
		if ((dir || !x->dir_only) && fits(g, x, path, len))
			return x->negative ? IGNORE_NO : IGNORE_YES;
	}
	return IGNORE_NOTHING;
}

/* The path's first `len` bytes, by the rules of its directories from the n-th up to the first. */
static bool says(const struct ignore *const *rules, size_t n, const char *path, size_t len,
		 bool dir)
{
	size_t from = len;
	for (size_t k = n; k-- > 0;) {
		while (from > 0 && path[from - 1] != '/')
			from--;
		enum ignore_says what = IGNORE_NOTHING;
		if (rules[k])
			what = ignore_match(rules[k], path + from, len - from, dir);
		if (what != IGNORE_NOTHING)
			return what == IGNORE_YES;
		if (from > 0)
			from--;
	}
	return false;
}

bool ignore_path(const struct ignore *const *rules, size_t n, const char *path, size_t len,
		 bool dir)
{
	size_t end = 0;
	for (size_t k = 0; k < n && end < len; k++) {
		const char *slash = memchr(path + end, '/', len - end);
		end = slash ? (size_t)(slash - path) : len;
		if (says(rules, k + 1, path, end, slash || dir))
			return true;
		end++;
	}
	return false;
}
