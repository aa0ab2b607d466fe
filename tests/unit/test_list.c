/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists in documents: saves of whole files merge element by element. */

#include <errno.h>

#include "tests/meeting.h"

/* A name of its own for each. */
static struct id begin_json(const char *text)
{
	static unsigned n;
	char name[16];
	snprintf(name, sizeof(name), "l%u.json", n++);
	return begin(name, text);
}

struct example {
	const char *before, *one, *other, *both, *what;
};

static void check(const struct example *x)
{
	struct id id = begin_json(x->before);
	edit(&p, &id, x->one);
	edit(&q, &id, x->other);
	meet(&id);
	ok(shows(&id, x->both), "%s", x->what);
}

static void test_merges(void)
{
	static const struct example ex[] = {
		{ "[\"a\", \"b\"]\n", "[\"a\", \"x\", \"b\"]\n", "[\"a\", \"b\", \"y\"]\n",
		  "[\"a\", \"x\", \"b\", \"y\"]\n", "two that insert" },
		{ "[\"a\", \"b\", \"c\"]\n", "[\"b\", \"c\"]\n", "[\"a\", \"c\"]\n", "[\"c\"]\n",
		  "two that remove" },
		{ "[\"a\", \"b\", \"c\"]\n", "[\"b\", \"c\"]\n", "[\"b\", \"c\"]\n",
		  "[\"b\", \"c\"]\n", "two that remove the same" },
		{ "[{\"id\": 1, \"n\": 1, \"m\": 1}, {\"id\": 2}]\n",
		  "[{\"id\": 1, \"n\": 2, \"m\": 1}, {\"id\": 2}]\n",
		  "[{\"id\": 1, \"n\": 1, \"m\": 2}, {\"id\": 2}]\n",
		  "[{\"id\": 1, \"n\": 2, \"m\": 2}, {\"id\": 2}]\n", "two fields of an element" },
		{ "[\"a\", \"b\", \"c\", \"d\"]\n", "[\"d\", \"a\", \"b\", \"c\"]\n",
		  "[\"a\", \"b\", \"c\", \"d\", \"e\"]\n", "[\"d\", \"a\", \"b\", \"c\", \"e\"]\n",
		  "a move and an insertion" },
		{ "[{\"id\": 1, \"n\": 1}, {\"id\": 2}, {\"id\": 3}]\n",
		  "[{\"id\": 2}, {\"id\": 3}, {\"id\": 1, \"n\": 1}]\n",
		  "[{\"id\": 1, \"n\": 5}, {\"id\": 2}, {\"id\": 3}]\n",
		  "[{\"id\": 2}, {\"id\": 3}, {\"id\": 1, \"n\": 5}]\n", "a move and an edit" },
		{ "{\"t\": [\"a\"], \"n\": 1}\n", "{\"t\": [\"a\", \"b\"], \"n\": 1}\n",
		  "{\"t\": [\"a\"], \"n\": 2}\n", "{\"t\": [\"a\", \"b\"], \"n\": 2}\n",
		  "a list in an object" },
		{ "[[\"a\"], [\"b\"]]\n", "[[\"a\", \"x\"], [\"b\"]]\n", "[[\"a\"], [\"b\", \"y\"]]\n",
		  "[[\"a\", \"x\"], [\"b\", \"y\"]]\n", "lists in lists" },
		{ "[]\n", "[]\n", "[\"x\"]\n", "[\"x\"]\n", "into an empty one" },
		{ "{\"t\": []}\n", "{\"t\": [5]}\n", "{\"t\": []}\n", "{\"t\": [5]}\n",
		  "a number into an empty one" },
		{ "[\"a\"]\n", "[]\n", "[\"a\", \"b\"]\n", "[\"b\"]\n", "all goes, one comes" },
		{ "[\"x\", \"x\"]\n", "[\"x\", \"x\", \"x\"]\n", "[\"x\"]\n", "[\"x\", \"x\"]\n",
		  "equal elements" },
		{ "[{\"id\": 1, \"a\": 1}]\n", "[]\n", "[{\"id\": 1, \"a\": 2}]\n",
		  "[{\"a\": 2}]\n", "an edit outlives a removal" },
	};
	for (size_t i = 0; i < sizeof(ex) / sizeof(*ex); i++)
		check(&ex[i]);
}

/* Runs of two writers stand one behind the other, in the order of nobody's choice. */
static void test_runs(void)
{
	struct id id = begin_json("[\"a\", \"z\"]\n");
	edit(&p, &id, "[\"a\", \"p1\", \"p2\", \"p3\", \"z\"]\n");
	edit(&q, &id, "[\"a\", \"q1\", \"q2\", \"q3\", \"z\"]\n");
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(strstr(x, "\"p1\", \"p2\", \"p3\"") && strstr(x, "\"q1\", \"q2\", \"q3\"") && shows(&id, x),
	   "two runs at one place do not mix");
	id = begin_json("[\"z\"]\n");
	/* Backwards, one save each: a log that has the newest on top. */
	edit(&p, &id, "[\"p1\", \"z\"]\n");
	edit(&p, &id, "[\"p2\", \"p1\", \"z\"]\n");
	edit(&q, &id, "[\"q1\", \"z\"]\n");
	edit(&q, &id, "[\"q2\", \"q1\", \"z\"]\n");
	meet(&id);
	_cleanup_free_ char *y = rep_read(p.r, &id);
	ok(strstr(y, "\"p2\", \"p1\"") && strstr(y, "\"q2\", \"q1\"") && shows(&id, y),
	   "nor do runs that grow at the front");
}

/* An element that was removed and that an edit brought back stands last, until somebody changes the
 * order. */
static void test_brought_back(void)
{
	struct id id = begin_json("[{\"id\": 1, \"v\": 1}]\n");
	edit(&p, &id, "[]\n");
	edit(&q, &id, "[{\"id\": 1, \"v\": 2}]\n");
	meet(&id);
	ok(shows(&id, "[{\"v\": 2}]\n"), "what was changed comes back");
	edit(&p, &id, "[{\"v\": 2}, \"new\"]\n");
	meet(&id);
	ok(shows(&id, "[{\"v\": 2}, \"new\"]\n"), "and what is put behind it stands there");
}

/* Numbers alone are one value: half of each of two positions would be none. */
static void test_numbers(void)
{
	struct attr at;
	struct id id = begin_json("[1, 2]\n");
	edit(&p, &id, "[1, 3]\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "[4, 2]\n");
	meet(&id);
	ok(shows(&id, "[4, 2]\n"), "numbers merge as one value");
	ok(replica_attr(p.r, &id, &at) == 0 && at.conflict, "and the other one is a conflict");
}

/* Two devices that write the same array anew have one, not twice its elements. */
static void test_made_twice(void)
{
	static const char text[] = "{\"tags\": [\"a\", \"b\", \"a\"], \"of\": [{\"x\": [\"y\"]}]}\n";
	struct id id = begin_json("{}\n");
	edit(&p, &id, text);
	edit(&q, &id, text);
	meet(&id);
	ok(shows(&id, text), "one array, written on both");
	edit(&p, &id, "{\"tags\": [\"a\", \"a\"], \"of\": [{\"x\": [\"y\", \"z\"]}]}\n");
	meet(&id);
	ok(shows(&id, "{\"tags\": [\"a\", \"a\"], \"of\": [{\"x\": [\"y\", \"z\"]}]}\n"),
	   "and changes of it are changes of one");
	id = begin_json("{}\n");
	edit(&p, &id, "{\"t\": [\"a\", \"b\"]}\n");
	edit(&q, &id, "{\"t\": [\"a\", \"c\"]}\n");
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(shows(&id, x) && strstr(x, "\"a\"") && strstr(x, "\"b\"") && strstr(x, "\"c\"") &&
	   strlen(x) == strlen("{\"t\": [\"a\", \"b\", \"c\"]}\n"), "what both have is there once");
}

static void test_old_base(void)
{
	struct id id = begin_json("[\"a\", \"b\", \"c\"]\n");
	_cleanup_(version_unrefp) struct version *v = read_of(&p, &id);
	edit(&q, &id, "[\"c\", \"a\", \"x\", \"b\"]\n");
	send(&q, &p, &id);
	saves_on_old(&id, v, "[\"a\", \"b\", \"new\", \"c\"]\n",
		     "[\"c\", \"a\", \"x\", \"b\", \"new\"]\n", "[\"a\", \"newer\", \"c\"]\n");
	ok(shows(&id, "[\"c\", \"a\", \"x\", \"newer\"]\n"), "changes what the writer had, and no more");
}

/* Kinds that compete, and what a writer who saw both makes of them. */
static void test_kinds(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *c = NULL;
	struct attr at;
	uint32_t n = 0;
	struct id id = begin_json("{\"v\": [\"a\", \"b\"]}\n");
	edit(&q, &id, "{\"v\": [\"a\", \"b\", \"c\"]}\n");
	p.wall = q.wall + 1000000;
	edit(&p, &id, "{\"v\": \"text\"}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": \"text\"}\n"), "a later string shows");
	ok(replica_contests(q.r, &id, true, &a, &c, &n) == 0 && n == 1 && c->n == 1 &&
		   c->lost->kind == VALUE_LIST && c->lost->len == 5 &&
		   !memcmp(c->lost->text, "[\"c\"]", 5),
	   "what is left of the list is listed: the element that its writer had not seen");
	is_int(n ? replica_settle(q.r, &id, NULL, c->lost->id, &n, NULL) : -1, 0, "and taken back");
	meet(&id);
	ok(shows(&id, "{\"v\": [\"c\"]}\n") && replica_attr(p.r, &id, &at) == 0 && !at.conflict,
	   "everywhere");
	id = begin_json("{\"v\": [\"a\"]}\n");
	edit(&p, &id, "{\"v\": {\"k\": 1}}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": {\"k\": 1}}\n"), "an object instead of a list");
	edit(&q, &id, "{\"v\": [\"b\"]}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": [\"b\"]}\n") && replica_attr(p.r, &id, &at) == 0 && !at.conflict,
	   "and a list instead of that");
	edit(&q, &id, "{\"v\": [1, 2]}\n");
	edit(&p, &id, "{\"v\": [\"b\"], \"w\": []}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": [1, 2], \"w\": []}\n"), "a list goes on when numbers come into it");
	id = begin_json("{\"v\": 1}\n");
	edit(&q, &id, "{\"v\": {\"k\": 1}}\n");
	p.wall = q.wall + 1000000;
	edit(&p, &id, "{\"v\": [\"a\"]}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": [\"a\"]}\n") && replica_attr(p.r, &id, &at) == 0 && at.conflict,
	   "of a list and an object the later shows");
	edit(&p, &id, "{\"v\": {\"z\": 0}}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": {\"z\": 0}}\n") && replica_attr(p.r, &id, &at) == 0 && !at.conflict,
	   "who sets one settles it");
	id = begin_json("{\"v\": [\"a\"]}\n");
	edit(&p, &id, "{}\n");
	edit(&q, &id, "{\"v\": [\"a\", \"b\"]}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": [\"b\"]}\n"), "an element outlives the removal of its list");
	edit(&p, &id, "{\"v\": 5}\n");
	meet(&id);
	ok(shows(&id, "{\"v\": 5}\n"), "and goes when a number takes the place");
}

/* A value that lost in an element is named by the place that the element has now. */
static void test_pointers(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *c = NULL;
	uint32_t n = 0;
	struct err e = { 0 };
	struct id id = begin_json("[{\"id\": 1, \"n\": 1}]\n");
	edit(&p, &id, "[{\"id\": 0}, {\"id\": 1, \"n\": 2}]\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "[{\"id\": 1, \"n\": 3}]\n");
	meet(&id);
	ok(replica_contests(p.r, &id, true, &a, &c, &n) == 0 && n == 1 && c->n == 1 && c->len == 4 &&
		   !memcmp(c->pointer, "/1/n", 4),
	   "a conflict in an element");
	is_errno(replica_settle(p.r, &id, "/5/n", NULL, &n, &e), -ENOENT, "an element that is not there");
	is_errno(replica_settle(p.r, &id, "/01/n", NULL, &n, &e), -ENOENT, "nor with a zero in front");
	ok(replica_settle(p.r, &id, "/1/n", c->lost->id, &n, NULL) == 0 && n == 1, "is settled there");
	meet(&id);
	ok(shows(&id, "[{\"id\": 0}, {\"id\": 1, \"n\": 2}]\n"), "for both");
}

static void test_look(void)
{
	static const char table[] = "[\n  {\"id\": 1, \"n\": 1},\n  {\"id\": 2, \"n\": 1}\n]\n";
	struct id id = begin_json(table);
	edit(&p, &id, "[\n  {\"id\": 1, \"n\": 2},\n  {\"id\": 2, \"n\": 1}\n]\n");
	edit(&q, &id, "[\n  {\"id\": 1, \"n\": 1},\n  {\"id\": 2, \"n\": 1},\n  {\"id\": 3}\n]\n");
	meet(&id);
	ok(shows(&id, "[\n  {\"id\": 1, \"n\": 2},\n  {\"id\": 2, \"n\": 1},\n  {\"id\": 3}\n]\n"),
	   "elements keep to one line");
	id = begin_json("{\n\t\"a\": [\"x\",   \"y\"]\n}\n");
	ok(shows(&id, "{\n\t\"a\": [\"x\",   \"y\"]\n}\n"), "bytes written are bytes read");
	struct attr before, after;
	replica_attr(p.r, &id, &before);
	edit(&p, &id, "{\n\t\"a\": [\"x\",   \"y\"]\n}\n");
	replica_attr(p.r, &id, &after);
	ok(id_equal(&before.version, &after.version), "a save that changes nothing is none");
}

/* Who is told what. */
static char told[256];

static void hear(const struct change *change, size_t n, void *userdata)
{
	size_t len = 0;
	(void)userdata;
	for (size_t k = 0; k < n; k++)
		for (uint32_t i = 0; i < change[k].n_pointers && len < sizeof(told); i++)
			len += (size_t)snprintf(told + len, sizeof(told) - len, "%s ",
						change[k].pointer[i]);
}

static void test_watch(void)
{
	struct id id = begin_json("{\"l\": [{\"id\": 1, \"n\": 1}, {\"id\": 2, \"n\": 1}]}\n");
	if (replica_observe(p.r, hear, NULL) < 0 || replica_observe(q.r, hear, NULL) < 0)
		tap_bail("observe");
	edit(&p, &id, "{\"l\": [{\"id\": 1, \"n\": 1}, {\"id\": 2, \"n\": 2}]}\n");
	is_str(told, "/l/1/n ", "a save tells which element changed");
	told[0] = 0;
	send(&p, &q, &id);
	is_str(told, "/l/1/n ", "and so does a merge");
	told[0] = 0;
	edit(&p, &id, "{\"l\": [{\"id\": 2, \"n\": 2}]}\n");
	is_str(told, "/l ", "one that goes changes the list");
	told[0] = 0;
	send(&p, &q, &id);
	is_str(told, "/l ", "in a merge, too");
	replica_unobserve(p.r, hear, NULL);
	replica_unobserve(q.r, hear, NULL);
}

/* Two that change the order of a few elements at random, and what is in them: both see the same in the
 * end, and nothing twice. */
static uint32_t step(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

struct letters {
	char c[64];
	unsigned n;
};

static void write_letters(const struct letters *l, struct buf *b)
{
	buf_reset(b);
	buf_u8(b, '[');
	for (unsigned i = 0; i < l->n; i++)
		buf_putf(b, "%s\"%c\"", i ? ", " : "", l->c[i]);
	buf_puts(b, "]\n");
}

static void read_letters(const char *text, struct letters *l)
{
	l->n = 0;
	for (; *text; text++)
		if (text[0] == '"' && text[2] == '"')
			l->c[l->n++] = *++text, text++;
}

static void change_letters(struct letters *l, uint64_t *seed, char *next)
{
	unsigned i = l->n ? step(seed) % l->n : 0, k;
	switch (step(seed) % 3) {
	case 0: /* insert */
		k = l->n ? step(seed) % (l->n + 1) : 0;
		if (*next > 'z')
			return;
		memmove(l->c + k + 1, l->c + k, l->n - k);
		l->c[k] = (*next)++;
		l->n++;
		return;
	case 1: /* move */
		if (l->n > 1) {
			char c = l->c[i];
			memmove(l->c + i, l->c + i + 1, l->n - i - 1);
			k = step(seed) % l->n;
			memmove(l->c + k + 1, l->c + k, l->n - k - 1);
			l->c[k] = c;
		}
		return;
	default: /* remove */
		if (l->n > 0) {
			memmove(l->c + i, l->c + i + 1, l->n - i - 1);
			l->n--;
		}
	}
}

static bool test_random(uint64_t seed)
{
	struct id id = begin_json("[\"A\", \"B\", \"C\", \"D\"]\n");
	_cleanup_(buf_done) struct buf b = { 0 };
	char next = 'a';
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < 4; i++) {
			struct rep *d = step(&seed) % 2 ? &p : &q;
			_cleanup_free_ char *is = rep_read(d->r, &id);
			struct letters l;
			read_letters(is, &l);
			change_letters(&l, &seed, &next);
			write_letters(&l, &b);
			edit(d, &id, buf_cstr(&b));
			_cleanup_free_ char *now = rep_read(d->r, &id);
			if (strcmp(now, buf_cstr(&b)) != 0) {
				tap_diag("wrote %s is %s", buf_cstr(&b), now);
				return false;
			}
		}
		meet(&id);
		_cleanup_free_ char *x = rep_read(p.r, &id);
		struct letters l;
		bool twice[128] = { false };
		if (!shows(&id, x))
			return false;
		read_letters(x, &l);
		for (unsigned i = 0; i < l.n; i++) {
			if (twice[(unsigned char)l.c[i]]) {
				tap_diag("twice: %s", x);
				return false;
			}
			twice[(unsigned char)l.c[i]] = true;
		}
	}
	return true;
}

int main(void)
{
	tap_plan(52);
	meeting_open();
	test_merges();
	test_runs();
	test_brought_back();
	test_numbers();
	test_made_twice();
	test_old_base();
	test_kinds();
	test_pointers();
	test_look();
	test_watch();
	bool good = true;
	for (uint64_t seed = 1; good && seed <= 200; seed++) {
		good = test_random(seed);
		if (!good)
			tap_diag("seed %llu", (unsigned long long)seed);
	}
	ok(good, "200 random histories");
	meeting_close("the stores are sound");
	return tap_done();
}
