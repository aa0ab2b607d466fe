/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text files: saves of whole files merge like the edits that they are. */

#include <errno.h>

#include "tests/meeting.h"

#define POEM "one\ntwo\nthree\nfour\nfive\n"

static void test_merges(void)
{
	static const struct {
		const char *before, *one, *other, *both, *what;
	} ex[] = {
		{ POEM, "ONE\ntwo\nthree\nfour\nfive\n", "one\ntwo\nthree\nfour\nFIVE\n",
		  "ONE\ntwo\nthree\nfour\nFIVE\n", "two lines" },
		{ "a quick fox\n", "a quick brown fox\n", "one quick fox\n", "one quick brown fox\n",
		  "two words of a line" },
		{ POEM, "one\ntwo\nfour\nfive\n", POEM "six\n", "one\ntwo\nfour\nfive\nsix\n",
		  "a line that goes and one that comes" },
		{ POEM, "one\nfive\n", "one\ntwo\n3\nfour\nfive\n", "one\n3\nfive\n",
		  "a stretch that goes and a line changed in it" },
		{ POEM, "one\nfive\n", "one\ntwo\nfive\n", "one\nfive\n", "two that take away" },
		{ POEM, "one\n2\nthree\nfour\nfive\n", "one\n2\nthree\nfour\nfive\n",
		  "one\n2\nthree\nfour\nfive\n", "the same change twice" },
		{ "a=1;b=2;\n", "a = 1; b = 2;\n", "a = 1; b = 2;\n", "a = 1; b = 2;\n",
		  "one formatter on both" },
		{ "", "mine\n", "mine too\n", NULL, "two beginnings" },
		{ "gr\xc3\xbc\xc3\x9f dich\n", "gr\xc3\xbc\xc3\x9f Gott\n", "Gr\xc3\xbc\xc3\x9f dich\n",
		  "Gr\xc3\xbc\xc3\x9f Gott\n", "beyond ASCII" },
	};
	for (size_t i = 0; i < sizeof(ex) / sizeof(*ex); i++) {
		char name[16];
		snprintf(name, sizeof(name), "m%zu.txt", i);
		struct id id = begin(name, ex[i].before);
		edit(&p, &id, ex[i].one);
		edit(&q, &id, ex[i].other);
		meet(&id);
		if (ex[i].both) {
			ok(shows(&id, ex[i].both), "%s", ex[i].what);
			continue;
		}
		_cleanup_free_ char *x = rep_read(p.r, &id);
		ok(strstr(x, ex[i].one) && strstr(x, ex[i].other) &&
		   strlen(x) == strlen(ex[i].one) + strlen(ex[i].other) && shows(&id, x),
		   "%s: both, one behind the other", ex[i].what);
	}
}

/* Of two that say the same one is shown; who changes it changes it for good. */
static void test_twins(void)
{
	struct id id = begin("twins.txt", "a\nz\n");
	edit(&p, &id, "a\nmiddle\nz\n");
	edit(&q, &id, "a\nmiddle\nz\n");
	meet(&id);
	edit(&p, &id, "a\nmidle\nz\n");
	meet(&id);
	ok(shows(&id, "a\nmidle\nz\n"), "a change of what two wrote");
	id = begin("triplets.txt", "a\nz\n");
	edit(&p, &id, "a\nmiddle\nz\n");
	edit(&q, &id, "a\nmiddle\nz\n");
	meet(&id);
	edit(&q, &id, "a\nz\n");
	meet(&id);
	ok(shows(&id, "a\nz\n"), "taking it away");
	edit(&p, &id, "a\nx\nx\nz\n");
	meet(&id);
	ok(shows(&id, "a\nx\nx\nz\n"), "what one writer writes twice is there twice");
}

static void test_old_base(void)
{
	struct id id = begin("old.md", POEM);
	_cleanup_(version_unrefp) struct version *v = read_of(&p, &id);
	edit(&q, &id, "one\ntwo\nTHREE\nfour\nfive\n");
	send(&q, &p, &id);
	saves_on_old(&id, v, "zero\n" POEM, "zero\none\ntwo\nTHREE\nfour\nfive\n", "zero\n" POEM "six\n");
	ok(shows(&id, "zero\none\ntwo\nTHREE\nfour\nfive\nsix\n"), "stays after it as well");
}

static void test_kinds(void)
{
	struct attr at;
	struct id id = begin("kind.txt", "text\n");
	ok(replica_attr(p.r, &id, &at) == 0 && at.form == FORM_TEXT && at.size == 5, "a text");
	edit(&p, &id, "te\xffxt\n");
	ok(replica_attr(p.r, &id, &at) == 0 && at.form == FORM_BLOB, "what is not UTF-8 is a blob");
	edit(&p, &id, "text again\n");
	ok(replica_attr(p.r, &id, &at) == 0 && at.form == FORM_TEXT, "and can be a text again");
	send(&p, &q, &id);
	ok(shows(&id, "text again\n"), "that says what was written");
	/* One makes a blob of it, the other writes on. */
	edit(&p, &id, "\xff\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "text again and again\n");
	send(&q, &p, &id);
	_cleanup_free_ char *text = rep_read(p.r, &id);
	is_str(text, "text again and again\n", "the later one shows");
	ok(replica_attr(p.r, &id, &at) == 0 && at.conflict, "the other is a conflict");
	/* The text that lost can be read, and taken back with all that is in it. */
	id = begin("lost.txt", "text\n");
	edit(&q, &id, "text, and more\n");
	p.wall = q.wall + 1000000;
	edit(&p, &id, "\xff\n");
	meet(&id);
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *c = NULL;
	uint32_t n = 0;
	ok(replica_contests(p.r, &id, true, &a, &c, &n) == 0 && n == 1 && c->n == 1 &&
		   c->shown.kind == VALUE_BLOB && c->lost->kind == VALUE_TEXT &&
		   c->lost->len == 15 && !memcmp(c->lost->text, "text, and more\n", 15),
	   "a text that lost is listed with its bytes");
	is_int(n ? replica_settle(p.r, &id, NULL, c->lost->id, &n, NULL) : -1, 0, "and taken back");
	meet(&id);
	ok(shows(&id, "text, and more\n") && replica_attr(q.r, &id, &at) == 0 && !at.conflict,
	   "everywhere");
	id = begin("no.json", "{\"a\": \n");
	edit(&p, &id, "# {\"a\": \n");
	edit(&q, &id, "{\"a\": 1 \n");
	meet(&id);
	ok(shows(&id, "# {\"a\": 1 \n"), "a *.json that is none merges as text");
	edit(&p, &id, "{\"a\": 1}\n");
	ok(replica_attr(p.r, &id, &at) == 0 && at.form == FORM_JSON, "until it is one");
	struct id b = begin("c.dat", "plain\n");
	ok(replica_attr(p.r, &b, &at) == 0 && at.form == FORM_BLOB, "other names are blobs");
}

static void test_deleted(void)
{
	struct id id = begin("gone.txt", POEM);
	if (replica_remove(p.r, &id, 0) < 0)
		tap_bail("remove");
	edit(&q, &id, POEM "six\n");
	meet(&id);
	ok(shows(&id, POEM "six\n"), "an edit that the deletion had not seen brings the whole back");
	id = begin("same.txt", POEM);
	edit(&p, &id, POEM);
	_cleanup_(version_unrefp) struct version *v = read_of(&p, &id), *w = NULL;
	edit(&p, &id, POEM);
	w = read_of(&p, &id);
	ok(id_equal(version_id(v), version_id(w)), "a save that changes nothing is none");
}

int main(void)
{
	tap_plan(32);
	meeting_open();
	test_merges();
	test_twins();
	test_old_base();
	test_kinds();
	test_deleted();
	meeting_close("the stores are sound");
	return tap_done();
}
