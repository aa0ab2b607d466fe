/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who wrote each line of a text. */

#include <errno.h>

#include "tests/meeting.h"

#define SECOND UINT64_C(1000000)
#define DAY (24 * 3600 * SECOND)

static uint64_t start = UINT64_C(1800000000) * SECOND;

/* So many days after the test's start. Clocks do not go back. */
static void day(unsigned n)
{
	if (n == 0)
		start += 1000 * DAY;
	p.wall = q.wall = start + n * DAY;
}

/* As "one line's letter of the device, day; ...": p0 q3, "<" in front of what is older than that. */
static void blame(struct rep *d, const struct id *id, struct buf *b)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct line *line;
	uint32_t n;
	if (replica_lines(d->r, id, &a, &line, &n) < 0)
		tap_bail("lines");
	for (uint32_t i = 0; i < n; i++) {
		const struct id *device = &actors_get(replica_actors(d->r), line[i].actor)->device;
		buf_putf(b, "%s%s%c%u:%.*s", i ? "|" : "", line[i].older ? "<" : "",
			 id_equal(device, &p.device) ? 'p' : 'q',
			 (unsigned)((line[i].us - start) / DAY),
			 (int)(line[i].len - (line[i].text[line[i].len - 1] == '\n')), line[i].text);
	}
}

static void blames(struct rep *d, const struct id *id, const char *want, const char *what)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	blame(d, id, &b);
	is_str(buf_cstr(&b), want, "%s", what);
}

static void test_days(void)
{
	day(0);
	struct id id = begin("days.md", "one\ntwo\nthree\n");
	blames(&p, &id, "p0:one|p0:two|p0:three", "a new text is its author's");
	blames(&q, &id, "p0:one|p0:two|p0:three", "on other devices, too");
	day(1);
	edit(&q, &id, "one\ntwo and a half\nthree\n");
	send(&q, &p, &id);
	day(2);
	edit(&p, &id, "zero\none\ntwo and a half\nthree\n");
	send(&p, &q, &id);
	blames(&p, &id, "p2:zero|p0:one|q1:two and a half|p0:three", "each line has its newest change");
	day(3);
	edit(&q, &id, "zero\none\ntwo a half\nthree\nfour");
	send(&q, &p, &id);
	blames(&p, &id, "p2:zero|p0:one|q1:two a half|p0:three|q3:four",
	       "what was taken out of a line is not seen; the last line needs no end");
	blames(&q, &id, "p2:zero|p0:one|q1:two a half|p0:three|q3:four", "on the other device as well");
	day(4);
	edit(&p, &id, "zero one\ntwo a half\nthree\nfour");
	blames(&p, &id, "p4:zero one|q1:two a half|p0:three|q3:four", "lines that became one");
	edit(&p, &id, "");
	blames(&p, &id, "", "an empty text has none");
}

/* Both wrote since they met. */
static void test_concurrent(void)
{
	day(0);
	struct id id = begin("both.md", "a\nb\nc\n");
	day(1);
	edit(&p, &id, "a p\nb\nc\n");
	day(2);
	edit(&q, &id, "a\nb\nc q\n");
	day(3);
	meet(&id);
	blames(&p, &id, "p1:a p|p0:b|q2:c q", "what two wrote apart");
	blames(&q, &id, "p1:a p|p0:b|q2:c q", "is known while nobody has written since");
	day(4);
	edit(&p, &id, "a p\nb\nc q\nsame\n");
	edit(&q, &id, "a p\nb\nc q\nsame\n");
	meet(&id);
	blames(&p, &id, "p1:a p|p0:b|q2:c q|p4:same", "what both wrote is there once");
	/* The newest change in the version that brought it was of day 2. */
	blames(&q, &id, "p2:a p|p0:b|q2:c q|p4:same", "then it has the time of the version that brought it");
}

/* A device that comes later knows the newest change only; so does one that has forgotten. */
static void test_older(void)
{
	day(0);
	struct attr at;
	if (rep_create(p.r, &dir.id, "late.md", "one\ntwo\n", &at) < 0)
		tap_bail("create");
	day(1);
	edit(&p, &at.id, "one\ntwo\nthree\n");
	day(5);
	edit(&p, &at.id, "one\ntwo\nthree\nfour\n");
	send(&p, &q, &at.id);
	blames(&q, &at.id, "<p5:one|<p5:two|<p5:three|p5:four", "who comes late knows the last change");
	blames(&p, &at.id, "p0:one|p0:two|p1:three|p5:four", "others more");
	day(40);
	const struct history_policy policy = { .keep_us = 36 * DAY, .bytes = UINT64_MAX };
	struct history_walk walk = { 0 };
	struct err e = { 0 };
	int r;
	/* Time goes on by a day a walk. */
	for (unsigned i = 0; i < 60; i++) {
		walk = (struct history_walk){ 0 };
		do
			r = replica_history_thin(p.r, &policy, &walk, &e);
		while (r > 0);
		if (r < 0)
			tap_bail("thin: %s", e.message);
	}
	blames(&p, &at.id, "<p1:one|<p1:two|p1:three|p5:four", "what has been thinned out is older");
}

/* Not each batch leaves a version. */
static void test_born(void)
{
	day(0);
	struct id id = begin("born.md", "");
	edit(&p, &id, "one\n");
	if (replica_set_mode(p.r, &id, 0600) < 0)
		tap_bail("chmod");
	day(1);
	edit(&p, &id, "one\ntwo\n");
	blames(&p, &id, "p0:one|p1:two", "no line is older than its file");
	day(2);
	if (rep_rename(p.r, &id, &dir.id, "moved.md", 0) < 0)
		tap_bail("rename");
	blames(&p, &id, "<p0:one|p1:two", "which nobody knows of one that has been moved");
}

/* A program that commits each keystroke makes one run of many batches. */
static void test_keystrokes(void)
{
	char text[] = "abc\ndef\n";
	day(0);
	struct id id = begin("keys.md", "");
	for (unsigned i = 1; i < sizeof(text); i++) {
		char c = text[i];
		text[i] = 0;
		day(i);
		edit(&p, &id, text);
		text[i] = c;
	}
	blames(&p, &id, "p4:abc|p8:def", "a line typed in many batches has the last one's time");
}

static void test_no_text(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct line *line;
	uint32_t n;
	struct id id = begin("x.json", "{}");
	is_errno(replica_lines(p.r, &id, &a, &line, &n), -EINVAL, "a document has no lines");
	is_errno(replica_lines(p.r, &dir.id, &a, &line, &n), -EINVAL, "nor has a directory");
	id.b[0] ^= 1;
	is_errno(replica_lines(p.r, &id, &a, &line, &n), -ENOENT, "nor what is not there");
}

int main(void)
{
	tap_plan(21);
	meeting_open();
	test_days();
	test_concurrent();
	test_older();
	test_born();
	test_keystrokes();
	test_no_text();
	meeting_close("both stores are sound");
	return tap_done();
}
