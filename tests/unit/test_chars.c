/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings in documents that are declared texts. */

#include <errno.h>
#include <limits.h>

#include "engine/chars.h"
#include "engine/delta.h"
#include "engine/json.h"
#include "engine/slotseq.h"
#include "tests/meeting.h"

/* Only what the other one lacks. *ret_len: bytes of it. */
static void send_part(struct rep *from, struct rep *to, const struct id *id, size_t *ret_len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
	const struct delta *theirs = rep_delta(to, from, id, &a);
	struct delta *d;
	if (replica_flush(from->r, NULL) < 0)
		tap_bail("flush");
	struct view *v = replica_view(from->r);
	if (actor_codec_new(replica_actors(from->r), &out) < 0 ||
	    actor_codec_new(replica_actors(to->r), &in) < 0 || view_whole(v, id, &a, &d, NULL) < 0 ||
	    delta_make(&a, replica_actors(from->r), &d->state, &theirs->state.ctx, false, &d) < 0)
		tap_bail("part");
	view_unref(v);
	if (!d)
		return;
	delta_encode(d, replica_actors(from->r), out, &b);
	struct cursor c = cursor_make(b.data, b.len);
	struct err e = { 0 };
	int rc = delta_decode(&a, replica_actors(to->r), in, &c, &d, &e);
	if (rc == 0) {
		d->state.scope = dir.id;
		rc = rep_apply(to, d, &e);
	}
	if (rc != APPLY_MERGED && rc != APPLY_OLD)
		tap_bail("part: %d %s", rc, e.message);
	*ret_len = b.len;
}

static void declare_on(struct rep *d, const char *pointer, const char *type)
{
	struct err e = { 0 };
	if (replica_declare(d->r, &dir.id, pointer, strlen(pointer), type, &e) < 0)
		tap_bail("declare %s: %s", pointer, e.message);
}

static void declare(const char *pointer, const char *type)
{
	declare_on(&p, pointer, type);
	send(&p, &q, &dir.id);
}

/* A name of its own for each. */
static unsigned documents;

static struct id begin_json(const char *text)
{
	char name[16];
	snprintf(name, sizeof(name), "s%u.json", documents++);
	return begin(name, text);
}

static bool in_conflict(const struct id *id)
{
	struct attr at;
	return replica_attr(p.r, id, &at) < 0 || at.conflict;
}

static void test_merges(void)
{
	static const struct {
		const char *before, *one, *other, *both, *what;
	} ex[] = {
		{ "{\"t\": \"a quick fox\"}\n", "{\"t\": \"a quick brown fox\"}\n",
		  "{\"t\": \"one quick fox\"}\n", "{\"t\": \"one quick brown fox\"}\n", "two words" },
		{ "{\"t\": \"a\\nb\\nc\\n\"}\n", "{\"t\": \"a\\nx\\nc\\n\"}\n",
		  "{\"t\": \"a\\nb\\nc\\nd\\n\"}\n", "{\"t\": \"a\\nx\\nc\\nd\\n\"}\n", "two lines" },
		{ "{\"t\": \"colour\"}\n", "{\"t\": \"color\"}\n", "{\"t\": \"color\"}\n",
		  "{\"t\": \"color\"}\n", "what two take away goes once" },
		{ "{\"t\": \"colour\"}\n", "{\"t\": \"the colour\"}\n", "{\"t\": \"the colour\"}\n",
		  "{\"t\": \"the colour\"}\n", "what two put in comes once" },
		{ "{\"t\": \"old\"}\n", "{\"t\": \"new\"}\n", "{\"t\": \"new\"}\n", "{\"t\": \"new\"}\n",
		  "as does what two write anew" },
		{ "{\"t\": \"x \\ud83d\\ude00 y\"}\n", "{\"t\": \"x \\ud83d\\ude01 y\"}\n",
		  "{\"t\": \"x \\ud83d\\ude00 y!\"}\n", "{\"t\": \"x \\ud83d\\ude01 y!\"}\n",
		  "surrogate pairs are characters" },
		{ "{\"t\": \"e\xcc\x81 u\"}\n", "{\"t\": \"a\xcc\x81 u\"}\n",
		  "{\"t\": \"e\xcc\x81 \xc3\xbc\"}\n",
		  "{\"t\": \"a\xcc\x81 \xc3\xbc\"}\n", "what a person calls a character changes as one" },
		{ "{\"t\": \"\"}\n", "{\"t\": \"b\"}\n", "{\"t\": \"b\"}\n", "{\"t\": \"b\"}\n",
		  "an empty one" },
		{ "{\"t\": \"ab\"}\n", "{\"t\": \"\"}\n", "{\"t\": \"abc\"}\n", "{\"t\": \"c\"}\n",
		  "one that is emptied" },
		{ "{\"t\": \"a\\u0000b\"}\n", "{\"t\": \"xa\\u0000b\"}\n", "{\"t\": \"a\\u0000by\"}\n",
		  "{\"t\": \"xa\\u0000by\"}\n", "with a zero in it" },
		{ "{\"l\": [\"one two\", \"three\"]}\n", "{\"l\": [\"one and two\", \"three\"]}\n",
		  "{\"l\": [\"zero one two\", \"three\"]}\n",
		  "{\"l\": [\"zero one and two\", \"three\"]}\n", "elements" },
		{ "{\"n\": [{\"id\": 1, \"t\": \"a b\"}, {\"id\": 2}]}\n",
		  "{\"n\": [{\"id\": 2}, {\"id\": 1, \"t\": \"a b c\"}]}\n",
		  "{\"n\": [{\"id\": 1, \"t\": \"0 a b\"}, {\"id\": 2}]}\n",
		  "{\"n\": [{\"id\": 2}, {\"id\": 1, \"t\": \"0 a b c\"}]}\n", "in elements that move" },
		{ "\"a b\"\n", "\"a b c\"\n", "\"0 a b\"\n", "\"0 a b c\"\n", "a whole document" },
	};
	declare("/t", "text");
	declare("/l/*", "text");
	declare("/n/*/t", "text");
	declare("", "text");
	for (size_t i = 0; i < sizeof(ex) / sizeof(*ex); i++) {
		struct id id = begin_json(ex[i].before);
		edit(&p, &id, ex[i].one);
		edit(&q, &id, ex[i].other);
		meet(&id);
		ok(shows(&id, ex[i].both) && !in_conflict(&id), "%s", ex[i].what);
	}
}

static void test_bytes(void)
{
	struct id id = begin_json("{\"t\":   \"\\u00fc\\/\", \"x\": 1}\n");
	edit(&p, &id, "{\"t\":   \"\\u00fc\\/ and\", \"x\": 1}\n");
	send(&p, &q, &id);
	ok(shows(&id, "{\"t\":   \"\\u00fc\\/ and\", \"x\": 1}\n"), "bytes written are bytes read");
	edit(&q, &id, "{\"t\":   \"\xc3\xbc\\u002f and\", \"x\": 1}\n");
	meet(&id);
	ok(shows(&id, "{\"t\":   \"\xc3\xbc\\u002f and\", \"x\": 1}\n"), "so is another spelling");
	edit(&p, &id, "{\"t\": \"\xc3\xbc\\u002f and p\", \"x\": 1}\n");
	edit(&q, &id, "{\"t\": \"q \xc3\xbc\\u002f and\", \"x\": 1}\n");
	meet(&id);
	ok(shows(&id, "{\"t\": \"q \xc3\xbc/ and p\", \"x\": 1}\n"), "merged, it is spelt as usual");
	edit(&p, &id, "{\"t\": \"q \xc3\xbc/ and p.\", \"x\": 1}\n");
	edit(&q, &id, "{\"t\": \"q \xc3\xbc/ and p\", \"x\": 2}\n");
	meet(&id);
	ok(shows(&id, "{\"t\": \"q \xc3\xbc/ and p.\", \"x\": 2}\n"), "and other members merge");
}

/* The writer had read an older version; the second save begins where its first one ended. */
static void test_old_base(void)
{
	struct id id = begin_json("{\"t\": \"b\"}\n");
	edit(&p, &id, "{\"t\": \"b c\"}\n");
	meet(&id);
	_cleanup_(version_unrefp) struct version *v = read_of(&p, &id), *saved = NULL, *knows = NULL,
						 *kept = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	edit(&q, &id, "{\"t\": \"a b c\"}\n");
	send(&q, &p, &id);
	const struct content c = rep_text("{\"t\": \"b c d\"}\n");
	const struct content again = rep_text("{\"t\": \"b d e\"}\n");
	if (version_encode(p.r, v, &b) < 0 || version_decode(p.r, b.data, b.len, &kept) < 0)
		tap_bail("base");
	if (replica_save(p.r, &id, kept, &c, SAVE_BY_NAME, &saved, NULL) < 0 ||
	    version_written(p.r, kept, saved, c.data, c.len, &knows) < 0)
		tap_bail("save");
	_cleanup_free_ char *text = rep_read(p.r, &id);
	is_str(text, "{\"t\": \"a b c d\"}\n", "what came meanwhile stays, though the base was put away");
	is_int(replica_save(p.r, &id, knows, &again, SAVE_BY_NAME, NULL, NULL), 0, "a second save");
	meet(&id);
	ok(shows(&id, "{\"t\": \"a b d e\"}\n") && !in_conflict(&id), "changes what its writer changed");
}

/* The writer had read a plain string that somebody else made a text of; or nobody had declared any. */
static void test_plain_base(void)
{
	struct id id = begin_json("{\"u\": \"b\", \"v\": \"\"}\n");
	_cleanup_(version_unrefp) struct version *v = read_of(&p, &id), *w = NULL;
	declare("/u", "text");
	declare("/v", "text");
	edit(&q, &id, "{\"u\": \"b c\", \"v\": \"z\"}\n");
	send(&q, &p, &id);
	edit(&q, &id, "{\"u\": \"b c d\", \"v\": \"zz\"}\n");
	send(&q, &p, &id);
	is_int(rep_save(p.r, &id, v, "{\"u\": \"a b\", \"v\": \"\"}\n"), 0, "a save over a plain string");
	meet(&id);
	ok(shows(&id, "{\"u\": \"a b c d\", \"v\": \"zz\"}\n") && !in_conflict(&id),
	   "is one of the text that it has become");
	is_int(rep_save(p.r, &id, v, "{\"u\": \"b\", \"v\": \"y\"}\n"), 0, "and over an empty one");
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(shows(&id, x) && strchr(x, 'y') && strstr(x, "zz") && !in_conflict(&id), "as well");
	declare("/u", "register");
	edit(&p, &id, "{\"u\": \"b\"}\n");
	meet(&id);
	w = read_of(&q, &id);
	declare("/u", "text");
	edit(&p, &id, "{\"u\": \"b 1\"}\n");
	send(&p, &q, &id);
	is_int(rep_save(q.r, &id, w, "{\"u\": \"0 b\"}\n"), 0, "of two that were alike");
	meet(&id);
	ok(shows(&id, "{\"u\": \"0 b 1\"}\n"), "it is the one that is left");
}

static void test_types(void)
{
	struct id id = begin_json("{\"w\": \"a b\"}\n");
	declare_on(&p, "/w", "text");
	edit(&p, &id, "{\"w\": \"a b c\"}\n");
	declare_on(&q, "/w", "text");
	edit(&q, &id, "{\"w\": \"0 a b\"}\n");
	meet(&id);
	send(&p, &q, &dir.id);
	send(&q, &p, &dir.id);
	ok(shows(&id, "{\"w\": \"0 a b c\"}\n") && !in_conflict(&id), "two that declare it apart");
	declare("/w", "register");
	edit(&p, &id, "{\"w\": \"0 a b c d\"}\n");
	edit(&q, &id, "{\"w\": \"0 b c\"}\n");
	q.wall += 1000000;
	edit(&q, &id, "{\"w\": \"0 c\"}\n");
	meet(&id);
	ok(shows(&id, "{\"w\": \"0 c\"}\n") && in_conflict(&id), "what is no text any more competes");
	declare("/w", "text");
	edit(&p, &id, "{\"w\": \"0 c d\"}\n");
	edit(&q, &id, "{\"w\": \"z 0 c\"}\n");
	meet(&id);
	ok(shows(&id, "{\"w\": \"z 0 c d\"}\n") && !in_conflict(&id), "until it is one again");
	edit(&p, &id, "{\"w\": 5}\n");
	meet(&id);
	edit(&p, &id, "{\"w\": \"z 0 c d\"}\n");
	meet(&id);
	edit(&p, &id, "{\"w\": \"z 0 c d p\"}\n");
	edit(&q, &id, "{\"w\": \"q z 0 c d\"}\n");
	meet(&id);
	ok(shows(&id, "{\"w\": \"q z 0 c d p\"}\n"), "nothing of an older text comes back");
	declare("/w", NULL);
	edit(&p, &id, "{\"w\": {\"a\": 1}}\n");
	meet(&id);
	ok(shows(&id, "{\"w\": {\"a\": 1}}\n") && !in_conflict(&id), "an object takes its place");
}

static void test_removal(void)
{
	struct id id = begin_json("{\"t\": \"a b\", \"x\": 1}\n");
	edit(&p, &id, "{\"t\": \"a b c\", \"x\": 1}\n");
	meet(&id);
	edit(&p, &id, "{\"x\": 1}\n");
	edit(&q, &id, "{\"t\": \"0 a b c\", \"x\": 1}\n");
	meet(&id);
	ok(shows(&id, "{\"x\": 1, \"t\": \"0 a b c\"}\n") && !in_conflict(&id),
	   "an edit beats a removal, whole");
	edit(&p, &id, "{\"x\": 1}\n");
	meet(&id);
	ok(shows(&id, "{\"x\": 1}\n"), "one that is seen does not");
	edit(&p, &id, "{\"x\": 1, \"t\": \"new\"}\n");
	meet(&id);
	edit(&p, &id, "{\"x\": 1, \"t\": \"new one\"}\n");
	edit(&q, &id, "{\"x\": 1, \"t\": \"a new\"}\n");
	meet(&id);
	ok(shows(&id, "{\"x\": 1, \"t\": \"a new one\"}\n"), "nor does the old one come back");
}

static void test_conflicts(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *c = NULL;
	uint32_t n = 0;
	struct id id = begin_json("{\"t\": \"a b\"}\n");
	edit(&p, &id, "{\"t\": \"a b c\"}\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "{\"t\": 7}\n");
	meet(&id);
	ok(shows(&id, "{\"t\": 7}\n") && in_conflict(&id), "a number competes with a text");
	ok(replica_contests(q.r, &id, true, &a, &c, &n) == 0 && n == 1 && c->n == 1 &&
		   c->lost->len == 7 && !memcmp(c->lost->text, "\"a b c\"", 7),
	   "which is listed as a string");
	is_int(n ? replica_settle(q.r, &id, NULL, c->lost->id, &n, NULL) : -1, 0, "and taken back");
	edit(&p, &id, "{\"t\": 8}\n");
	edit(&p, &id, "{\"t\": \"8\"}\n");
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(shows(&id, x) && in_conflict(&id), "but competes with what is written meanwhile");
	id = begin_json("{\"z\": \"a b\"}\n");
	declare_on(&p, "/z", "text");
	edit(&p, &id, "{\"z\": \"a b c\"}\n");
	edit(&q, &id, "{\"z\": \"a b c\"}\n");
	meet(&id);
	ok(shows(&id, "{\"z\": \"a b c\"}\n") && !in_conflict(&id),
	   "one and the same, a text here, a string there, is no conflict");
	edit(&p, &id, "{\"z\": \"a b c d\"}\n");
	meet(&id);
	send(&p, &q, &dir.id);
	edit(&p, &id, "{\"z\": \"a b c d e\"}\n");
	edit(&q, &id, "{\"z\": \"0 a b c d\"}\n");
	meet(&id);
	ok(shows(&id, "{\"z\": \"0 a b c d e\"}\n") && !in_conflict(&id), "and goes on as a text");
}

/* One that had the string, wrote over it and forgot it hears of the text that others made of it. */
static void test_third(void)
{
	struct rep third;
	rep_open(&third, NULL, 5, 9);
	struct id id = begin_json("{\"o\": \"a b\"}\n");
	send(&p, &third, &dir.id);
	send(&p, &third, &id);
	declare("/o", "text");
	edit(&p, &id, "{\"o\": \"a b c\"}\n");
	edit(&q, &id, "{\"o\": \"0 a b\"}\n");
	edit(&third, &id, "{\"o\": \"third\"}\n");
	send(&p, &third, &id);
	send(&q, &third, &id);
	send(&third, &p, &id);
	meet(&id);
	_cleanup_free_ char *x = rep_read(third.r, &id);
	ok(shows(&id, x) && in_conflict(&id), "a plain string competes with a text on three devices");
	send(&p, &third, &dir.id);
	edit(&third, &id, "{\"o\": \"0 a b c!\"}\n");
	edit(&p, &id, "{\"o\": \"> 0 a b c\"}\n");
	send(&third, &p, &id);
	meet(&id);
	send(&q, &third, &id);
	_cleanup_free_ char *y = rep_read(third.r, &id);
	ok(shows(&id, y) && !in_conflict(&id), "until all saw it");
	ok(rep_sound(third.r), "nothing is wrong there");
	rep_close(&third);
}

/* A peer that has a text already is not sent what it began with; one that has forgotten that is. */
static void test_parts(void)
{
	struct rep third;
	char words[3000], text[sizeof(words) + 32];
	size_t len = 0;
	rep_open(&third, NULL, 5, 11);
	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = 0;
	snprintf(text, sizeof(text), "{\"b\": \"%s\"}\n", words);
	struct id id = begin_json(text);
	send(&p, &third, &dir.id);
	send(&p, &third, &id);
	edit(&third, &id, "{\"b\": \"\"}\n");
	declare("/b", "text");
	snprintf(text, sizeof(text), "{\"b\": \"%s x\"}\n", words);
	edit(&p, &id, text);
	send_part(&p, &q, &id, &len);
	ok(len > 3000, "the first edit takes the text along: %zu bytes", len);
	snprintf(text, sizeof(text), "{\"b\": \"%s xy\"}\n", words);
	edit(&q, &id, text);
	send_part(&q, &p, &id, &len);
	ok(len < 400, "the second is small: %zu bytes", len);
	ok(shows(&id, text), "and arrives");
	send_part(&q, &third, &id, &len);
	send_part(&third, &p, &id, &len);
	send_part(&p, &q, &id, &len);
	_cleanup_free_ char *x = rep_read(third.r, &id);
	ok(len < 400 && shows(&id, x), "one that wrote over the string gets all of it");
	ok(rep_sound(third.r), "and is sound");
	rep_close(&third);
}

static char told[64];

static void hear(const struct change *change, size_t n, void *userdata)
{
	(void)userdata;
	for (size_t k = 0; k < n; k++)
		for (uint32_t i = 0; i < change[k].n_pointers; i++)
			snprintf(told, sizeof(told), "%s", change[k].pointer[i]);
}

static void test_watch(void)
{
	struct id id = begin_json("{\"t\": \"a\"}\n");
	edit(&p, &id, "{\"t\": \"ab\"}\n");
	send(&p, &q, &id);
	if (replica_observe(q.r, hear, NULL) < 0)
		tap_bail("observe");
	edit(&p, &id, "{\"t\": \"abc\"}\n");
	send(&p, &q, &id);
	is_str(told, "/t", "a merge of a text tells so");
	told[0] = 0;
	edit(&q, &id, "{\"t\": \"abcd\"}\n");
	is_str(told, "/t", "as does a save");
	replica_unobserve(q.r, hear, NULL);
}

/* A program that changes documents itself. */
static void test_txn(void)
{
	static const char ops[] = "[{\"op\": \"replace\", \"path\": \"/t\", \"value\": \"a b c\"}]";
	_cleanup_(arena_done) struct arena a = { 0 };
	struct id id = begin_json("{\"t\": \"a b\"}\n");
	char path[64];
	struct txn_result result;
	struct err e = { 0 };
	struct json *value;
	uint32_t failed;
	snprintf(path, sizeof(path), "d/s%u.json", documents - 1);
	if (json_parse(&a, ops, strlen(ops), NULL, &value, NULL) < 0)
		tap_bail("operations");
	const struct txn_step step = { TXN_PATCH, path, value, NULL };
	is_int(replica_txn(p.r, &step, 1, &result, &failed, &e), 0, "a batch edits a text %s", e.message);
	edit(&q, &id, "{\"t\": \"0 a b\"}\n");
	meet(&id);
	ok(shows(&id, "{\"t\": \"0 a b c\"}\n"), "and it merges");
}

/* What no honest peer sends. */
static void test_damage(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(seq_freep) struct seq *seq = NULL;
	const struct value chars = { .kind = VALUE_CHARS };
	const struct chars_base *base;
	struct slot s = { .key = "t", .key_len = 1 };
	struct value v;
	if (seq_new(SEQ_TEXT, replica_actors(p.r), &seq) < 0 ||
	    seq_insert(seq, 0, "a\xff\xc3", 3, (struct dot){ 0, 1 }) < 0 ||
	    slotseq_store(&a, seq, replica_actors(p.r), &s) < 0)
		tap_bail("sequence");
	ok(value_shown(&a, replica_actors(p.r), &s, &chars, &v, &base) == 0 && !base && v.len == 7 &&
		   !memcmp(v.data, "a\xef\xbf\xbd\xef\xbf\xbd", 7),
	   "what is not UTF-8 is shown as such, and cannot be edited");
}

/* --- at random --- */

struct words {
	struct rep *rep[3];
	struct prng *r;
	struct id id;
	unsigned next;
	bool kept[1000]; /* nobody took the word away */
};

/* Takes a word out, or puts a new one in: each has a line. */
static void edit_words(struct words *w, struct rep *d)
{
	_cleanup_free_ char *was = rep_read(d->r, &w->id);
	_cleanup_(buf_done) struct buf b = { 0 };
	unsigned n = 0, words = 0;
	for (const char *s = was; *s; s++)
		words += *s == '<';
	bool add = prng_chance(w->r, 60);
	unsigned in = add ? (unsigned)prng_below(w->r, words + 1) : UINT_MAX;
	unsigned out = add ? UINT_MAX : (unsigned)prng_below(w->r, words + 1);
	const char *s = strchr(was, '<');
	buf_puts(&b, "{\"t\": \"");
	for (; s || (add && n <= in); n++) {
		if (n == in) {
			w->kept[w->next] = true;
			buf_putf(&b, "<%03u>\\n", w->next++);
		}
		if (!s)
			continue;
		unsigned word = (unsigned)strtoul(s + 1, NULL, 10);
		if (n == out)
			w->kept[word] = false;
		else
			buf_putf(&b, "<%03u>\\n", word);
		s = strchr(s + 1, '<');
	}
	buf_puts(&b, "\"}\n");
	edit(d, &w->id, buf_cstr(&b));
}

static void meet_all(struct words *w)
{
	for (unsigned i = 0; i < 2; i++) {
		send(w->rep[0], w->rep[1], &w->id);
		send(w->rep[1], w->rep[2], &w->id);
		send(w->rep[2], w->rep[0], &w->id);
	}
	send(&p, &q, &w->id);
}

/* Three devices edit at random, each what it has read, and meet in pairs. */
static void test_random(struct words *w)
{
	unsigned wrong = 0;
	size_t len;
	w->id = begin_json("{\"t\": \"\"}\n");
	edit(&p, &w->id, "{\"t\": \"<000>\\n\"}\n");
	w->kept[0] = true;
	w->next = 1;
	send(&p, &q, &w->id);
	send(&p, w->rep[2], &w->id);
	for (unsigned i = 0; i < 600; i++) {
		struct rep *d = w->rep[prng_below(w->r, 3)], *e = w->rep[prng_below(w->r, 3)];
		if (prng_chance(w->r, 40) && d != e)
			send_part(d, e, &w->id, &len);
		else if (w->next < 300)
			edit_words(w, d);
	}
	meet_all(w);
	_cleanup_free_ char *x = rep_read(w->rep[2]->r, &w->id);
	for (unsigned i = 0; i < w->next; i++) {
		char word[16];
		snprintf(word, sizeof(word), "<%03u>", i);
		const char *at = strstr(x, word);
		wrong += w->kept[i] ? !at || strstr(at + 1, word) : at != NULL;
	}
	ok(shows(&w->id, x) && !in_conflict(&w->id), "600 steps of three devices end alike");
	is_uint(wrong, 0, "with each word that nobody took away, once");
}

/* Everything that can become of a place. */
static void test_anything(struct words *w)
{
	static const char *const text[] = { "{}\n", "{\"t\": 5}\n", "{\"t\": \"\"}\n",
					    "{\"t\": \"a b c\"}\n",
					    "{\"t\": \"a x b c\"}\n", "{\"t\": \"a b\"}\n",
					    "{\"t\": \"b c d\"}\n", "{\"t\": {\"a\": \"b\"}}\n",
					    "{\"t\": [\"a\"]}\n", "{\"t\": \"zz\"}\n" };
	static const char *const type[] = { "text", "register", "text", NULL };
	unsigned apart = 0;
	size_t len;
	for (unsigned round = 0; round < 12; round++) {
		w->id = begin_json("{\"t\": \"a b c\"}\n");
		send(&p, w->rep[2], &w->id);
		for (unsigned i = 0; i < 60; i++) {
			struct rep *d = w->rep[prng_below(w->r, 3)], *e = w->rep[prng_below(w->r, 3)];
			if (prng_chance(w->r, 30) && d != e)
				send_part(d, e, &w->id, &len);
			else if (prng_chance(w->r, 20))
				declare_on(d, "/t", type[prng_below(w->r, 4)]);
			else
				edit(d, &w->id, text[prng_below(w->r, 10)]);
		}
		meet_all(w);
		_cleanup_free_ char *x = rep_read(w->rep[2]->r, &w->id);
		apart += !shows(&w->id, x);
	}
	is_uint(apart, 0, "whatever becomes of it, three devices end alike");
}

int main(int argc, char **argv)
{
	tap_plan(58);
	struct rep third;
	struct prng r = { tap_seed(argc, argv) };
	static struct words w;
	meeting_open();
	test_merges();
	test_bytes();
	test_old_base();
	test_plain_base();
	test_types();
	test_removal();
	test_conflicts();
	test_third();
	test_parts();
	test_watch();
	test_txn();
	test_damage();
	rep_open(&third, NULL, 6, 17);
	send(&p, &third, &dir.id);
	w.rep[0] = &p;
	w.rep[1] = &q;
	w.rep[2] = &third;
	w.r = &r;
	test_random(&w);
	test_anything(&w);
	ok(rep_sound(third.r), "the third is sound");
	rep_close(&third);
	meeting_close("both are sound");
	return tap_done();
}
