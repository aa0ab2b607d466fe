/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A slow link: what is changed now comes before what has waited, the newest of that first, and nothing is sent twice
 * for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fetch.h"
#include "engine/interest.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define COUNT 400
#define BYTE_US 80 /* 100 kbit/s */

static void write_one(struct node *n, const char *dir, unsigned i, const char *field)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct prng r = { i + 1 };
	char name[32];
	snprintf(name, sizeof(name), "%u.json", i);
	buf_putf(&b, "{\n  \"now\": \"%s\"", field);
	for (unsigned k = 0; k < 10; k++)
		buf_putf(&b, ",\n  \"f%u\": \"%016llx\"", k, (unsigned long long)prng_u64(&r));
	buf_puts(&b, "\n}\n");
	node_write(n, dir, name, b.data, b.len);
}

static bool has(struct node *n, const char *dir, unsigned i, const char *field)
{
	char name[32];
	snprintf(name, sizeof(name), "%u.json", i);
	_cleanup_free_ char *text = node_read(n, dir, name);
	return text && strstr(text, field);
}

static unsigned count(struct node *n, unsigned from, unsigned upto)
{
	unsigned all = 0;
	for (unsigned i = from; i < upto; i++)
		all += has(n, "c", i, "");
	return all;
}

/* One turn of both, a byte taking so long. */
static bool turn_at(struct pair *p, unsigned byte_us)
{
	return pair_crawl(p, 1024, byte_us, NULL);
}

/* Over a link of 100 kbit/s. */
static bool turn(struct pair *p)
{
	return turn_at(p, BYTE_US);
}

static void run(struct pair *p)
{
	while (turn(p))
		;
}

static void run_until(struct pair *p, unsigned n)
{
	while (count(p->node[1], 0, COUNT) < n)
		if (!turn(p))
			tap_bail("only %u of %u documents came", count(p->node[1], 0, COUNT), n);
}

static void change(struct pair *p, int side, const char *dir, unsigned i, const char *field)
{
	write_one(p->node[side], dir, i, field);
	node_flush(p->node[side], p->session[side]);
}

/* Bytes until the other side shows it. */
static unsigned long until(struct pair *p, int side, const char *dir, unsigned i, const char *field)
{
	uint64_t before = p->bytes[!side];
	while (!has(p->node[side], dir, i, field))
		if (!turn(p))
			tap_bail("%s/%u.json never came", dir, i);
	return (unsigned long)(p->bytes[!side] - before);
}

static void test_order(void)
{
	struct node a, b, c;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	/* Of two devices, half of them each. */
	for (unsigned i = 0; i < COUNT; i++) {
		struct node *n = i % 20 < 10 ? &a : &c;
		n->now = a.now > c.now ? a.now : c.now;
		write_one(n, "c", i, "old");
	}
	if (!pair_meet(&a, &c))
		tap_bail("no meeting");
	pair_open(&p, &a, &b);
	pair_run(&p);
	uint64_t clean = p.bytes[0];
	pair_close(&p);
	node_close(&b);
	node_open(&b, 2, NULL);
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	run_until(&p, COUNT / 2);
	unsigned early = count(&b, 0, COUNT / 2 - 20), late = count(&b, COUNT / 2 + 20, COUNT);
	ok(early == 0 && late == COUNT / 2 - 20, "the newer half comes first, of both devices: %u of the older one, "
	   "%u of the newer", early, late);

	uint64_t before = p.bytes[0];
	change(&p, 0, "c", 3, "changed-1");
	unsigned long n = until(&p, 1, "c", 3, "changed-1");
	ok(n < 8000, "a change of what has not come yet comes after %lu bytes", n);
	change(&p, 0, "c", COUNT - 1, "changed-2");
	n = until(&p, 1, "c", COUNT - 1, "changed-2");
	ok(n < 8000, "of what has come after %lu", n);
	change(&p, 0, "c", COUNT, "new-3");
	n = until(&p, 1, "c", COUNT, "new-3");
	ok(n < 8000, "and something new after %lu", n);
	change(&p, 1, "c", COUNT - 2, "changed-4");
	n = until(&p, 0, "c", COUNT - 2, "changed-4");
	ok(n < 4000, "a change on the other side after %lu", n);
	ok(count(&b, 0, COUNT / 2 - 60) < 10, "while the older ones wait");
	for (unsigned i = 0; i < 30; i++) {
		char text[16];
		snprintf(text, sizeof(text), "often-%u.", i);
		change(&p, 0, "c", COUNT - 1, text);
		n = until(&p, 1, "c", COUNT - 1, text);
		if (n > 8000)
			break;
	}
	ok(n <= 8000, "and each of 30 more");
	ok(count(&b, 0, 20) < 15, "the oldest ones wait still");
	run(&p);
	tap_diag("%llu bytes in one go, %llu so", (unsigned long long)clean,
		 (unsigned long long)p.bytes[0]);
	ok(count(&b, 0, COUNT) == COUNT && session_in_step(p.session[0]) && session_in_step(p.session[1]),
	   "all comes in the end");
	ok(p.bytes[0] < clean + clean / 20 + 36 * 250, "and little is sent for it: %llu bytes after %llu",
	   (unsigned long long)p.bytes[0], (unsigned long long)before);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

/* Several collections, each with a backlog. */
static void test_collections(void)
{
	static const char *const dir[] = { "c", "d", "e" };
	struct node a, b;
	struct pair p;
	unsigned long n = 0;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < COUNT; i++)
		write_one(&a, dir[i % 3], i, "old");
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	for (unsigned i = 0; i < 30; i++)
		(void)turn(&p);
	/* Whichever of them is under way, twice in each, and one that is new. */
	for (unsigned i = 0; i < 12 && n < 10000; i++) {
		char text[16];
		snprintf(text, sizeof(text), "changed-%u.", i);
		change(&p, 0, dir[i % 3], i % 6, text);
		n = until(&p, 1, dir[i % 3], i % 6, text);
	}
	ok(n < 10000, "changes in all collections come at once, the last after %lu bytes", n);
	change(&p, 0, "new", 1, "first");
	n = until(&p, 1, "new", 1, "first");
	ok(n < 10000, "so does a new collection: %lu bytes", n);
	/* Several at once, in all of them. */
	unsigned long worst = 0;
	for (unsigned k = 0; k < 4; k++) {
		uint64_t from = p.bytes[0];
		char text[16];
		snprintf(text, sizeof(text), "at-once-%u.", k);
		for (unsigned i = 0; i < 9; i++)
			write_one(&a, dir[i % 3], i, text);
		node_flush(&a, p.session[0]);
		for (unsigned i = 0; i < 9; i++)
			(void)until(&p, 1, dir[i % 3], i, text);
		worst = p.bytes[0] - from > worst ? (unsigned long)(p.bytes[0] - from) : worst;
	}
	ok(worst < 16000, "and several in all of them at once: %lu bytes", worst);
	ok(!has(&b, "d", 1 + 3 * 3, "old") && !has(&b, "c", 3 * 3, "old") && !has(&b, "e", 2 + 3 * 3, "old"),
	   "before what is old in each");
	run(&p);
	unsigned there = 0;
	for (unsigned i = 0; i < COUNT; i++)
		there += has(&b, dir[i % 3], i, "");
	ok(there == COUNT && session_in_step(p.session[0]) && session_in_step(p.session[1]), "all comes in the end");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* More is changed all the time than the link carries: what has waited gets a fifth of it, and rounds end. */
static void test_share(const char *dir)
{
	enum { WAITING = 100 };
	struct node a, b;
	struct pair p;
	struct attr at;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < WAITING; i++)
		write_one(&a, "c", i, "old");
	pair_open(&p, &a, &b);
	pair_run(&p);
	uint64_t clean = p.bytes[0];
	pair_close(&p);
	node_close(&b);
	node_open(&b, 2, NULL);
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	for (unsigned i = 0; i < 6; i++)
		(void)turn(&p);
	uint64_t start = p.now, end = start + clean * BYTE_US * 5 * 3 / 2;
	unsigned n = COUNT, seen = 0;
	while (p.now < end && count(&b, 0, WAITING) < WAITING) {
		for (unsigned i = 0; i < 5; i++)
			write_one(&a, dir, n++, "more");
		node_flush(&a, p.session[0]);
		(void)turn(&p);
	}
	ok(count(&b, 0, WAITING) == WAITING, "%s: what has waited is through after %.1f s, where it takes %.1f alone", dir,
	   (double)(p.now - start) / 1e6, (double)clean * BYTE_US / 1e6);
	for (unsigned i = COUNT; i < n; i++)
		seen += has(&b, dir, i, "more");
	ok(seen > n / 4, "and %u of %u changes since", seen, n - COUNT);
	bool claimed = false;
	for (end = p.now + 10000000; p.now < end && !claimed;) {
		for (unsigned i = 0; i < 5; i++)
			write_one(&a, dir, n++, "more");
		node_flush(&a, p.session[0]);
		(void)turn(&p);
		struct view *v = replica_view(b.replica);
		if (v && replica_lookup(b.replica, &NODE_ROOT, "c", 1, &at) == 0) {
			const struct vv *have = view_have(v, &at.id);
			claimed = have && have->n > 0;
		}
		view_unref(v);
	}
	ok(claimed, "and is claimed, though the changes go on");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* What a filter picks comes while all else is being changed all the time. */
static void test_picked(void)
{
	static const char *const dirs[] = { "c", "e", "f" };
	struct node a, b;
	struct pair p;
	struct attr at;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "cars", "1.json", "{\"n\": 1}\n", 9);
	node_write(&a, "cars", "2.json", "{\"n\": 100}\n", 11);
	for (unsigned i = 0; i < 3; i++)
		write_one(&a, dirs[i], 0, "old");
	if (replica_lookup(a.replica, &NODE_ROOT, "cars", 4, &at) < 0 ||
	    replica_keep(b.replica, &at.id, INTEREST_FILTERED, "n < 50", NULL) < 0)
		tap_bail("no collection");
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	run(&p);
	_cleanup_free_ char *one = node_read(&b, "cars", "1.json"), *two = node_read(&b, "cars", "2.json");
	ok(one && !two, "a part of a collection is there");
	unsigned n = 1;
	bool came = false;
	uint64_t start = p.now;
	for (unsigned turns = 0; !came && p.now < start + 60000000; turns++) {
		for (unsigned i = 0; i < 3; i++)
			for (unsigned k = 0; k < 2; k++)
				write_one(&a, dirs[i], n++, "more");
		if (turns == 20)
			node_write(&a, "cars", "1.json", "{\"n\": 2}\n", 9);
		node_flush(&a, p.session[0]);
		(void)turn(&p);
		_cleanup_free_ char *text = node_read(&b, "cars", "1.json");
		came = text && strcmp(text, "{\"n\": 2}\n") == 0;
	}
	ok(came && n > 300, "and what is changed in it comes, though %u changes elsewhere go before it: after %.1f s", n,
	   (double)(p.now - start) / 1e6);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

static struct id file_of(struct node *n, const char *name)
{
	struct attr dir, file;
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_lookup(n->replica, &dir.id, name, strlen(name), &file) < 0)
		tap_bail("%s is not there", name);
	return file.id;
}

static enum absence absence(struct node *n, const char *name)
{
	struct id id = file_of(n, name);
	return replica_absence(n->replica, &id);
}

static void write_blob(struct node *n, const char *name, unsigned seed)
{
	static uint8_t data[100000];
	struct prng r = { seed };
	prng_fill(&r, data, sizeof(data));
	node_write(n, "c", name, data, sizeof(data));
}

static void answered(int code, void *userdata)
{
	*(int *)userdata = code;
}

/* One side has contents, and the other one fetches them over a link that both know to be slow. */
struct away {
	struct node a, b;
	struct pair p;
	struct fetches *f;
	int code; /* of what is waited for */
};

static void away_open(struct away *w, uint8_t one, uint8_t other, unsigned blobs)
{
	static const char *const names[] = { "one.bin", "two.bin" };
	w->code = -EINPROGRESS;
	node_open(&w->a, one, NULL);
	node_open(&w->b, other, NULL);
	if (fetches_new(w->b.replica, NULL, NULL, &w->f) < 0)
		tap_bail("out of memory");
	for (unsigned i = 0; i < blobs; i++)
		write_blob(&w->a, names[i], i + 1);
	pair_open(&w->p, &w->a, &w->b);
	pair_pace(&w->p, 100000, true);
	session_fetch_for(w->p.session[1], w->f);
	run(&w->p);
}

/* Somebody waits for the first one. */
static void away_fetch(struct away *w)
{
	const struct id file = file_of(&w->b, "one.bin");
	uint64_t ticket;
	if (fetch_begin(w->f, &file, NULL, 0, UINT64_MAX, answered, &w->code, &ticket) < 0)
		tap_bail("cannot fetch");
}

static void away_close(struct away *w)
{
	pair_close(&w->p);
	fetches_free(w->f);
	node_close(&w->a);
	node_close(&w->b);
}

static void test_contents(void)
{
	struct away w;
	away_open(&w, 1, 2, 2);
	ok(absence(&w.b, "one.bin") == ABSENT_WANTED && absence(&w.b, "two.bin") == ABSENT_WANTED && w.p.bytes[0] < 3000,
	   "contents do not come over a slow link: %d bytes", (int)w.p.bytes[0]);
	ok(session_in_step(w.p.session[0]) && session_in_step(w.p.session[1]), "all else is in step");
	away_fetch(&w);
	run(&w.p);
	ok(w.code == 0 && absence(&w.b, "one.bin") == ABSENT_NOT, "but when they are asked for: %d", w.code);
	ok(absence(&w.b, "two.bin") == ABSENT_WANTED, "others do not come along");
	write_blob(&w.a, "one.bin", 3);
	node_flush(&w.a, w.p.session[0]);
	uint64_t before = w.p.bytes[0];
	run(&w.p);
	ok(absence(&w.b, "one.bin") == ABSENT_WANTED && w.p.bytes[0] - before < 3000,
	   "nor newer contents of a file that was here");
	pair_close(&w.p);
	/* It takes no time. */
	pair_open(&w.p, &w.a, &w.b);
	session_fetch_for(w.p.session[1], w.f);
	pair_run(&w.p);
	ok(absence(&w.b, "one.bin") == ABSENT_NOT && absence(&w.b, "two.bin") == ABSENT_NOT,
	   "over another link they come by themselves");
	away_close(&w);
}

/* Over a slow link a reader gets what it reads, and nothing more comes when it is gone. */
static void test_reader(void)
{
	enum { SIZE = 1024 * 1024 };
	struct node a, b;
	struct pair p;
	struct fetches *f;
	_cleanup_(version_unrefp) struct version *v = NULL;
	_cleanup_free_ uint8_t *data = malloc(SIZE);
	struct prng r = { 7 };
	int code = -EINPROGRESS;
	uint64_t ticket, before;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	if (!data || fetches_new(b.replica, NULL, NULL, &f) < 0)
		tap_bail("out of memory");
	prng_fill(&r, data, SIZE);
	node_write(&a, "c", "one.bin", data, SIZE);
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	session_fetch_for(p.session[1], f);
	run(&p);
	const struct id file = file_of(&b, "one.bin");
	if (replica_read(b.replica, &file, &v) < 0 || !version_blob(v))
		tap_bail("one.bin is not there");
	const struct blob_ref ref = *version_blob(v);
	if (fetch_begin(f, &file, &ref, 500000, 1000, answered, &code, &ticket) != 0)
		tap_bail("cannot fetch");
	before = p.bytes[0];
	run(&p);
	ok(code == 0 && absence(&b, "one.bin") == ABSENT_WANTED && p.bytes[0] - before < SIZE / 2,
	   "a reader gets what it reads over a slow link, and not the rest: %d bytes", (int)(p.bytes[0] - before));
	is_uint(fetch_files(f), 0, "and nothing is under way any more");
	/* One that goes before anything has come, and one when something is on its way. */
	if (fetch_begin(f, &file, &ref, 0, 1000, answered, &code, &ticket) != 0 || !fetch_cancel(f, ticket))
		tap_bail("cannot fetch");
	before = p.bytes[0];
	run(&p);
	ok(p.bytes[0] - before < 1000 && fetch_files(f) == 0, "who does not wait any more gets nothing: %d bytes",
	   (int)(p.bytes[0] - before));
	code = -EINPROGRESS;
	if (fetch_begin(f, &file, &ref, 0, 1000, answered, &code, &ticket) != 0)
		tap_bail("cannot fetch");
	_cleanup_(buf_done) struct buf ask = { 0 };
	if (session_output(p.session[1], &ask, 65536, p.now, &p.e) < 0 || ask.len == 0 ||
	    session_input(p.session[0], ask.data, ask.len, p.now, &p.e) < 0 || !fetch_cancel(f, ticket))
		tap_bail("cannot ask");
	is_uint(fetch_files(f), 1, "what it had asked for is waited for");
	run(&p);
	const uint32_t left = fetch_files(f);
	if (fetch_begin(f, &file, &ref, 0, 1000, answered, &code, &ticket) != 0)
		tap_bail("cannot fetch");
	ok(left == 0 && code == 0, "and kept for the next one who reads it");
	if (fetch_begin(f, &file, NULL, 0, UINT64_MAX, answered, &code, &ticket) != 0)
		tap_bail("cannot fetch");
	run(&p);
	ok(code == 0 && absence(&b, "one.bin") == ABSENT_NOT, "who waits for all gets all");
	pair_close(&p);
	fetches_free(f);
	node_close(&a);
	node_close(&b);
}

/* What the peer changes while a round lasts is not sent back to it. */
static void test_back(void)
{
	enum { WAITING = 250, CHANGES = 60 };
	struct node a, b;
	struct pair p;
	uint64_t bytes[2];
	for (int k = 0; k < 2; k++) {
		node_open(&a, 1, NULL);
		node_open(&b, 2, NULL);
		for (unsigned i = 0; i < WAITING; i++)
			write_one(&a, "c", i, "old");
		pair_open(&p, &a, &b);
		for (int i = 0; i < 2; i++)
			session_pace(p.session[i], 100000, true);
		while (count(&b, 0, WAITING) < 10)
			(void)turn(&p);
		for (unsigned i = 0; k && i < CHANGES; i++)
			change(&p, 1, "c", COUNT + i, "new");
		while (k && count(&a, COUNT, COUNT + CHANGES) < CHANGES)
			(void)turn(&p);
		bool waits = count(&b, 0, WAITING) < WAITING / 2;
		change(&p, 0, "c", WAITING - 1, "changed");
		run(&p);
		if (k)
			ok(waits && session_in_step(p.session[0]) && session_in_step(p.session[1]),
			   "the peer changes something while a round lasts");
		bytes[k] = p.bytes[0];
		pair_close(&p);
		node_close(&a);
		node_close(&b);
	}
	ok(bytes[1] < bytes[0] + CHANGES * 60, "and it is not sent back: %d bytes more", (int)(bytes[1] - bytes[0]));
}

/* The link becomes slow while contents are on their way: after so many turns. */
static void test_called_off(void)
{
	unsigned late = 0, bad = 0, unfetched = 0;
	for (unsigned k = 0; k < 24; k++) {
		struct node a, b;
		struct pair p;
		struct fetches *f;
		int code = -EINPROGRESS;
		uint64_t ticket;
		node_open(&a, 1, NULL);
		node_open(&b, 2, NULL);
		if (fetches_new(b.replica, NULL, NULL, &f) < 0)
			tap_bail("out of memory");
		write_blob(&a, "one.bin", 1);
		write_blob(&a, "two.bin", 2);
		write_one(&a, "c", 1, "after");
		pair_open(&p, &a, &b);
		session_fetch_for(p.session[1], f);
		for (unsigned i = 0; i < k; i++)
			(void)turn(&p);
		session_pace(p.session[0], 100000, true);
		run(&p);
		bad += !session_in_step(p.session[0]) || !session_in_step(p.session[1]) || !has(&b, "c", 1, "after");
		late += absence(&b, "one.bin") == ABSENT_WANTED;
		pair_close(&p);
		if (absence(&b, "one.bin") == ABSENT_WANTED) {
			/* The same for what somebody waits for. */
			pair_open(&p, &a, &b);
			session_fetch_for(p.session[1], f);
			for (unsigned i = 0; i < 4; i++)
				(void)turn(&p);
			const struct id file = file_of(&b, "one.bin");
			int begun = fetch_begin(f, &file, NULL, 0, UINT64_MAX, answered, &code, &ticket);
			if (begun != 0)
				code = begun < 0 ? begun : 0;
			for (unsigned i = 0; i < k % 6; i++)
				(void)turn(&p);
			session_pace(p.session[0], 100000, true);
			run(&p);
			unfetched += code != 0 || absence(&b, "one.bin") != ABSENT_NOT;
			pair_close(&p);
		}
		fetches_free(f);
		node_close(&a);
		node_close(&b);
	}
	ok(late > 2, "a link becomes slow before contents are through, %u times", late);
	is_uint(bad, 0, "and all else comes");
	is_uint(unfetched, 0, "what somebody waits for as well");
}

/* Contents that a device did not have when it was asked first. */
static void test_later(void)
{
	struct node a, r, b;
	struct pair up, down;
	struct fetches *fr, *fb;
	int code = -EINPROGRESS;
	uint64_t ticket;
	node_open(&a, 1, NULL);
	node_open(&r, 2, NULL);
	node_open(&b, 3, NULL);
	if (fetches_new(r.replica, NULL, NULL, &fr) < 0 || fetches_new(b.replica, NULL, NULL, &fb) < 0)
		tap_bail("out of memory");
	write_blob(&a, "one.bin", 1);
	write_blob(&a, "two.bin", 2);
	pair_open(&up, &a, &r);
	pair_open(&down, &r, &b);
	for (int i = 0; i < 2; i++)
		session_pace(up.session[i], 100000, true);
	session_fetch_for(up.session[1], fr);
	session_fetch_for(down.session[1], fb);
	run(&up);
	session_news(down.session[0]);
	pair_run(&down);
	ok(absence(&b, "one.bin") == ABSENT_WANTED, "nobody near has the contents");
	const struct id file = file_of(&r, "one.bin");
	if (fetch_begin(fr, &file, NULL, 0, UINT64_MAX, answered, &code, &ticket) < 0)
		tap_bail("cannot fetch");
	run(&up);
	session_news(down.session[0]);
	pair_run(&down);
	ok(code == 0 && absence(&b, "one.bin") == ABSENT_NOT && absence(&b, "two.bin") == ABSENT_WANTED,
	   "when one comes to the next device, it comes here, too");
	pair_close(&up);
	pair_close(&down);
	fetches_free(fr);
	fetches_free(fb);
	node_close(&a);
	node_close(&r);
	node_close(&b);
}

/* A slow link becomes a good one, and only contents are missing: it is measured, and they come. */
static void test_better(uint8_t one, uint8_t other)
{
	struct away w;
	away_open(&w, one, other, 1);
	ok(absence(&w.b, "one.bin") == ABSENT_WANTED, "contents wait");
	/* What was sent after the last question. */
	write_one(&w.a, "c", 1, "after");
	node_flush(&w.a, w.p.session[0]);
	run(&w.p);
	uint64_t before = w.p.bytes[0], start = w.p.now;
	while (absence(&w.b, "one.bin") == ABSENT_WANTED && w.p.now < start + 100000000) {
		uint64_t at = session_deadline(w.p.session[0]);
		w.p.now = at > w.p.now && at < start + 100000000 ? at : w.p.now + 1000000;
		while (turn_at(&w.p, 1))
			;
	}
	struct session_status st;
	session_status(w.p.session[0], &st);
	ok(absence(&w.b, "one.bin") == ABSENT_NOT && !st.slow_out, "and come after %.0f s and %d bytes, at %llu kbit/s",
	   (double)(w.p.now - start) / 1e6, (int)(w.p.bytes[0] - before), (unsigned long long)st.rate_out / 1000);
	away_close(&w);
}

/* Somebody waits for contents over a slow link that looks fast for a moment: they come. */
static void test_moment(void)
{
	struct away w;
	away_open(&w, 1, 2, 1);
	bool waits = absence(&w.b, "one.bin") == ABSENT_WANTED;
	away_fetch(&w);
	_cleanup_(buf_done) struct buf ask = { 0 };
	if (session_output(w.p.session[1], &ask, 65536, w.p.now, &w.p.e) < 0 || ask.len == 0 ||
	    session_input(w.p.session[0], ask.data, ask.len, w.p.now, &w.p.e) < 0)
		tap_bail("%s", w.p.e.message);
	session_pace(w.p.session[0], 400000, false);
	session_pace(w.p.session[0], 100000, true);
	w.p.now += 60000000;
	run(&w.p);
	ok(waits && w.code == 0 && absence(&w.b, "one.bin") == ABSENT_NOT, "a moment in which a link looks fast calls nothing off: %d",
	   w.code);
	away_close(&w);
}

/* Who lacks contents, and knows from before that the link is slow: at no byte does it look as if it had them. */
static void test_partial(void)
{
	struct node a, b;
	struct pair p;
	unsigned whole = 0;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	write_blob(&a, "one.bin", 1);
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	run(&p);
	ok(replica_peer_partial(a.replica, &b.id), "a device is known to lack contents");
	pair_close(&p);
	pair_open(&p, &a, &b);
	pair_pace(&p, 100000, true);
	for (bool moved = true; moved;) {
		moved = false;
		for (int i = 0; i < 2; i++) {
			_cleanup_(buf_done) struct buf out = { 0 };
			if (session_output(p.session[i], &out, 1024, p.now, &p.e) < 0)
				tap_bail("output: %s", p.e.message);
			moved |= out.len > 0;
			for (size_t k = 0; k < out.len; k++) {
				if (session_input(p.session[!i], &out.data[k], 1, p.now, &p.e) < 0)
					tap_bail("input: %s", p.e.message);
				whole += !replica_peer_partial(a.replica, &b.id);
			}
		}
	}
	is_uint(whole, 0, "and never to hold all of them, at no byte of the next session");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

int main(void)
{
	tap_plan(20 + 6 + 2 + 2 * 3 + 3 + 2 + 2 + 2 + 3 + 3);
	test_contents();
	test_reader();
	test_partial();
	test_order();
	test_collections();
	test_share("c");
	test_share("d");
	test_picked();
	test_called_off();
	test_later();
	test_better(1, 2);
	test_better(2, 1);
	test_moment();
	test_back();
	return tap_done();
}
