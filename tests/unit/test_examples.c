/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The examples of shoal-crdt(7) are true. */

#include <errno.h>
#include <stdio.h>

#include "tests/meeting.h"

#define HAS_MAX 4

/* Lines of an example, without the word in front; NULL: there is none. */
struct example {
	char *type; /* a pointer and how what is there merges */
	char *before, *one, *other, *both, *has[HAS_MAX];
	unsigned n_has, line;
	bool conflict;
};

/* The page says \e for a backslash, and \e0 stands for a byte of no text. */
static char *unescape(const char *s)
{
	size_t n = strlen(s);
	char *t = malloc(n + 1);
	if (!t)
		tap_bail("no memory");
	n = 0;
	for (; *s; s++) {
		bool escape = strncmp(s, "\\e", 2) == 0, byte = escape && s[2] == '0';
		t[n++] = byte ? '\xff' : escape ? '\\' : *s;
		s += (escape ? 1 : 0) + (byte ? 1 : 0);
	}
	t[n] = 0;
	return t;
}

static void example_line(struct example *x, char *line)
{
	static const char lost[] = " conflict";
	char *rest = line + strcspn(line, " ");
	size_t word = (size_t)(rest - line);
	rest += strspn(rest, " ");
	size_t len = strlen(rest);
	if (word == 4 && !strncmp(line, "both", 4) && len > sizeof(lost) &&
	    !strcmp(rest + len - sizeof(lost) + 1, lost)) {
		x->conflict = true;
		rest[len - sizeof(lost) + 1] = 0;
	}
	char *text = unescape(rest);
	if (word == 4 && !strncmp(line, "type", word))
		x->type = text;
	else if (word == 6 && !strncmp(line, "before", word))
		x->before = text;
	else if (word == 3 && !strncmp(line, "one", word))
		x->one = text;
	else if (word == 5 && !strncmp(line, "other", word))
		x->other = text;
	else if (word == 4 && !strncmp(line, "both", word))
		x->both = text;
	else if (word == 3 && !strncmp(line, "has", word) && x->n_has < HAS_MAX)
		x->has[x->n_has++] = text;
	else
		tap_bail("line %u: %s", x->line, line);
}

static void example_done(struct example *x)
{
	free(x->type);
	free(x->before);
	free(x->one);
	free(x->other);
	free(x->both);
	for (unsigned i = 0; i < x->n_has; i++)
		free(x->has[i]);
	*x = (struct example){ 0 };
}

/* Prefixes of what a line says instead of a content. */
static bool is_word(const char *text, const char *word)
{
	size_t n = strlen(word);
	return !strncmp(text, word, n) && (!text[n] || text[n] == ' ');
}

/* A file's bytes: a slash between blanks is a line end. */
static char *content(const char *text)
{
	size_t n = strlen(text);
	char *t = malloc(n + 2);
	if (!t)
		tap_bail("no memory");
	n = 0;
	for (; *text; text++) {
		bool end = strncmp(text, " / ", 3) == 0;
		t[n++] = end ? '\n' : *text;
		text += end ? 2 : 0;
	}
	t[n] = '\n';
	t[n + 1] = 0;
	return t;
}

static const char *extension(const struct example *x)
{
	const char *texts[] = { x->before, x->one, x->other };
	for (unsigned i = 0; i < 3; i++) {
		if (strchr("{[", texts[i][0]))
			return "json";
		if (texts[i][0] == '\xff')
			return "dat";
	}
	return "txt";
}

static void save(struct rep *d, const struct id *id, const char *name, const char *text, bool there)
{
	struct attr at;
	_cleanup_free_ char *bytes = content(text);
	if (is_word(text, "deleted")) {
		if (replica_remove(d->r, id, 0) < 0)
			tap_bail("remove");
	} else if (there) {
		edit(d, id, bytes);
	} else if (rep_create(d->r, &dir.id, name, bytes, &at) < 0) {
		tap_bail("create");
	}
}

static struct id shown_as(struct rep *d, const char *name)
{
	struct attr at;
	if (replica_lookup(d->r, &dir.id, name, strlen(name), &at) < 0)
		return (struct id){ { 0 } };
	return at.id;
}

static bool holds(const struct example *x, const char *name, const struct id *id)
{
	struct attr at;
	if (x->both && is_word(x->both, "deleted")) {
		struct id a = shown_as(&p, name), b = shown_as(&q, name), none = { { 0 } };
		return id_equal(&a, &none) && id_equal(&b, &none);
	}
	_cleanup_free_ char *mine = rep_read(p.r, id);
	_cleanup_free_ char *want = x->both ? content(x->both) : NULL;
	if (!shows(id, want ? want : mine))
		return false;
	for (unsigned i = 0; i < x->n_has; i++) {
		if (!strstr(mine, x->has[i])) {
			tap_diag("%s is not in %s", x->has[i], mine);
			return false;
		}
	}
	return replica_attr(q.r, id, &at) == 0 && at.conflict == x->conflict;
}

static void declare(const struct example *x, bool now)
{
	size_t len = x->type ? strcspn(x->type, " ") : 0;
	struct err e = { 0 };
	if (!x->type)
		return;
	if (replica_declare(p.r, &dir.id, x->type, len, now ? x->type + len + 1 : NULL, &e) < 0)
		tap_bail("%s: %s", x->type, e.message);
	send(&p, &q, &dir.id);
}

static bool try(const struct example *x, unsigned number, bool other_first)
{
	char name[32];
	struct id id = { { 0 } };
	bool there = !is_word(x->before, "nothing") && !is_word(x->before, "deleted");
	snprintf(name, sizeof(name), "x%u-%d.%s", number, other_first, extension(x));
	if (!is_word(x->before, "nothing")) {
		const char *text = there ? x->before : x->before + strlen("deleted ");
		_cleanup_free_ char *bytes = content(text);
		id = begin(name, bytes);
	}
	if (is_word(x->before, "deleted")) {
		save(&p, &id, name, "deleted", true);
		send(&p, &q, &id);
	}
	save(&p, &id, name, x->one, there);
	q.wall = p.wall + 1000000;
	save(&q, &id, name, x->other, there);
	if (!there)
		id = shown_as(&p, name);
	p.wall = q.wall;
	send(other_first ? &q : &p, other_first ? &p : &q, &id);
	send(other_first ? &p : &q, other_first ? &q : &p, &id);
	return holds(x, name, &id);
}

int main(void)
{
	_cleanup_free_ char *path = tap_source("man/shoal-crdt.7");
	FILE *f = fopen(path, "re");
	char line[512];
	struct example x = { 0 };
	unsigned n = 0, number = 0;
	bool inside = false;
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	tap_plan(44);
	meeting_open();
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		n++;
		if (!strcmp(line, ".EX")) {
			inside = true;
			x.line = n;
		} else if (!strcmp(line, ".EE")) {
			inside = false;
			if (!x.before || !x.one || !x.other || !!x.both == !!x.n_has)
				tap_bail("line %u: an example that is not whole", x.line);
			declare(&x, true);
			ok(try(&x, number, false) && try(&x, number, true), "line %u: %s", x.line,
			   x.before);
			declare(&x, false);
			number++;
			example_done(&x);
		} else if (inside) {
			example_line(&x, line);
		}
	}
	fclose(f);
	ok(number > 25, "%u examples", number);
	meeting_close("the stores are sound");
	return tap_done();
}
