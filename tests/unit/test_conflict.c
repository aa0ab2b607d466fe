/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conflicts of two replicas that edit apart and meet: both list the same, and what one of them
 * settles is settled on both.
 *
 *     test_conflict [SEED [ROUNDS]] */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/pair.h"
#include "tests/replicas.h"

#define DIR "c"

struct two {
	struct node a, b;
};

static void two_open(struct two *t)
{
	node_open(&t->a, 1, NULL);
	node_open(&t->b, 2, NULL);
}

static void two_close(struct two *t)
{
	node_close(&t->a);
	node_close(&t->b);
}

static void meet_with(struct node *a, struct node *b)
{
	struct pair p;
	pair_open(&p, a, b);
	pair_run(&p);
	if (p.failed)
		tap_bail("a session failed: %s", p.e.message);
	pair_close(&p);
}

static void meet(struct two *t)
{
	meet_with(&t->a, &t->b);
}

static void put(struct node *n, const char *name, const char *text)
{
	node_write(n, DIR, name, text, strlen(text));
}

/* Both write apart, b later; then they meet. */
static void apart(struct two *t, const char *name, const char *both, const char *a, const char *b)
{
	if (both) {
		put(&t->a, name, both);
		meet(t);
	}
	put(&t->a, name, a);
	if (t->b.now < t->a.now)
		t->b.now = t->a.now;
	t->b.now += 1000000;
	put(&t->b, name, b);
	meet(t);
}

static struct attr look(struct node *n, const char *name)
{
	struct attr dir, at;
	if (replica_lookup(n->replica, &NODE_ROOT, DIR, strlen(DIR), &dir) < 0 ||
	    replica_lookup(n->replica, &dir.id, name, strlen(name), &at) < 0)
		tap_bail("no %s", name);
	return at;
}

static void put_rival(struct buf *b, struct node *n, const struct rival *v)
{
	const struct actor_id *id = actors_get(replica_actors(n->replica), v->actor);
	buf_putf(b, "%s by %u: ", v->id, id->device.b[0]);
	if (v->text)
		buf_put(b, v->text, v->len);
	else
		buf_putf(b, "%llu bytes", (unsigned long long)v->blob.size);
	buf_puts(b, "\n");
}

/* All that competes, as text; to be freed. */
static char *list(struct node *n, const char *name, bool lines)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at = look(n, name);
	struct contest *t;
	uint32_t count;
	struct buf b = { 0 };
	if (replica_contests(n->replica, &at.id, lines, &a, &t, &count) < 0)
		tap_bail("replica_contests");
	buf_puts(&b, "");
	for (uint32_t i = 0; i < count; i++) {
		buf_putf(&b, "[%s] ", t[i].pointer);
		put_rival(&b, n, &t[i].shown);
		for (uint32_t k = 0; k < t[i].n; k++) {
			buf_puts(&b, "  ");
			put_rival(&b, n, &t[i].lost[k]);
		}
	}
	buf_u8(&b, 0);
	return (char *)b.data;
}

/* The identifier of what lost at a place, the i-th one; the text is reused. */
static const char *loser(struct node *n, const char *name, const char *pointer, uint32_t i)
{
	static char id[RIVAL_ID_SIZE];
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at = look(n, name);
	struct contest *t;
	uint32_t count;
	if (replica_contests(n->replica, &at.id, true, &a, &t, &count) < 0)
		tap_bail("replica_contests");
	for (uint32_t k = 0; k < count; k++)
		if (!strcmp(t[k].pointer, pointer) && i < t[k].n) {
			memcpy(id, t[k].lost[i].id, sizeof(id));
			return id;
		}
	tap_bail("%s: nothing lost at \"%s\"", name, pointer);
}

/* Places settled, or -errno. */
static int settle(struct node *n, const char *name, const char *pointer, const char *take)
{
	struct attr at = look(n, name);
	struct err e = { 0 };
	uint32_t count;
	int r = replica_settle(n->replica, &at.id, pointer, take, &count, &e);
	if (r < 0 && (e.code != r || !e.message[0]))
		tap_bail("an error without a sentence");
	return r < 0 ? r : (int)count;
}

static bool shows(struct node *n, const char *name, const char *text)
{
	_cleanup_free_ char *got = node_read(n, DIR, name);
	bool same = got && !strcmp(got, text);
	if (!same)
		tap_diag("shows %s", got ? got : "nothing");
	return same;
}

/* Both show the text and nothing is in conflict. */
static bool agreed(struct two *t, const char *name, const char *text)
{
	return shows(&t->a, name, text) && shows(&t->b, name, text) &&
	       !look(&t->a, name).conflict && !look(&t->b, name).conflict;
}

static bool list_alike(struct two *t, const char *name)
{
	_cleanup_free_ char *a = list(&t->a, name, true), *b = list(&t->b, name, true);
	if (strcmp(a, b) != 0)
		tap_diag("one lists\n%s\nthe other\n%s", a, b);
	return *a && !strcmp(a, b);
}

static int one_conflicted(const struct id *id, void *userdata)
{
	struct id *to = userdata;
	to[1] = to[0];
	to[0] = *id;
	return 0;
}

static void test_fields(void)
{
	struct two t;
	struct id found[2] = { 0 };
	two_open(&t);
	apart(&t, "x.json", "{\"n\":0,\"m\":0,\"s\":\"\"}\n", "{\"n\":1,\"m\":1,\"s\":\"a\"}\n",
	      "{\"n\":2,\"m\":2,\"s\":\"b\"}\n");
	put(&t.a, "calm.json", "{}\n");
	ok(list_alike(&t, "x.json"), "both list the same");
	_cleanup_free_ char *text = list(&t.a, "x.json", true);
	is_str(text,
	       "[/m] 70ae2cefec by 2: 2\n  70aeb54659 by 1: 1\n"
	       "[/n] 9bfb2cefec by 2: 2\n  9bfbb54659 by 1: 1\n"
	       "[/s] 2de7f61e8d by 2: \"b\"\n  2de768398b by 1: \"a\"\n",
	       "places, values, who wrote them");
	struct attr at = look(&t.a, "x.json");
	is_int(replica_conflicted(t.a.replica, one_conflicted, found), 0, "files in conflict");
	ok(id_equal(&found[0], &at.id) && id_is_zero(&found[1]), "are found, and only those");
	char id[RIVAL_ID_SIZE];
	snprintf(id, sizeof(id), "%s", loser(&t.b, "x.json", "/n", 0));
	uint64_t before, after;
	replica_self(t.a.replica, NULL, &before);
	is_int(settle(&t.a, "x.json", NULL, id), 1, "a value is taken back");
	replica_self(t.a.replica, NULL, &after);
	is_uint(after, before + 1, "by one commit");
	ok(shows(&t.a, "x.json", "{\"n\":1,\"m\":2,\"s\":\"b\"}\n"), "it is what is shown");
	is_int(settle(&t.a, "x.json", NULL, id), 0, "again is no change");
	is_int(settle(&t.a, "x.json", "/n", id), 0, "nor with its place");
	meet(&t);
	ok(list_alike(&t, "x.json"), "the others are in conflict still, the same on both");
	is_int(settle(&t.b, "x.json", NULL, id), 0, "it is taken back there, too");
	is_int(settle(&t.b, "x.json", "/m", NULL), 1, "what is shown stays at one place");
	is_int(settle(&t.b, "x.json", "/m", NULL), 0, "again is no change");
	is_int(settle(&t.b, "x.json", NULL, NULL), 1, "and everywhere");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"n\":1,\"m\":2,\"s\":\"b\"}\n"), "no conflict is left on both");
	is_int(settle(&t.a, "x.json", NULL, NULL), 0, "nothing is left to settle");
	two_close(&t);
}

static void test_all_at_once(void)
{
	struct two t;
	two_open(&t);
	apart(&t, "x.json", "{\"n\":0,\"m\":0}\n", "{\"n\":1,\"m\":1}\n", "{\"n\":2,\"m\":2}\n");
	uint64_t before, after;
	replica_self(t.b.replica, NULL, &before);
	is_int(settle(&t.b, "x.json", NULL, NULL), 2, "two places");
	replica_self(t.b.replica, NULL, &after);
	is_uint(after, before + 1, "in one commit");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"n\":2,\"m\":2}\n"), "settle the file on both");
	two_close(&t);
}

/* What the settling device has not seen is not settled. */
static void test_apart_again(void)
{
	struct two t;
	two_open(&t);
	apart(&t, "x.json", "{\"n\":0}\n", "{\"n\":1}\n", "{\"n\":2}\n");
	is_int(settle(&t.a, "x.json", NULL, loser(&t.a, "x.json", "/n", 0)), 1, "one takes back");
	t.b.now += 1000000;
	put(&t.b, "x.json", "{\"n\":3}\n");
	meet(&t);
	_cleanup_free_ char *text = list(&t.a, "x.json", true);
	ok(list_alike(&t, "x.json") && shows(&t.a, "x.json", "{\"n\":3}\n") && strstr(text, ": 1\n"),
	   "what the other wrote meanwhile is not lost, nor is what was taken back");
	is_int(settle(&t.a, "x.json", NULL, NULL), 1, "both keep");
	is_int(settle(&t.b, "x.json", NULL, NULL), 1, "apart");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"n\":3}\n"), "which is no conflict");
	apart(&t, "x.json", NULL, "{\"n\":4}\n", "{\"n\":5}\n");
	settle(&t.a, "x.json", NULL, loser(&t.a, "x.json", "/n", 0));
	settle(&t.b, "x.json", NULL, loser(&t.b, "x.json", "/n", 0));
	meet(&t);
	ok(agreed(&t, "x.json", "{\"n\":4}\n"), "nor is taking the same back");
	put(&t.b, "x.json", "{\"n\":6}\n");
	apart(&t, "x.json", NULL, "{\"n\":7}\n", "{\"n\":8}\n");
	put(&t.a, "x.json", "{\"n\":9}\n");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"n\":9}\n"), "a save that had read the shown value ends it");
	two_close(&t);
}

static void test_types(void)
{
	struct two t;
	two_open(&t);
	apart(&t, "x.json", "{\"o\":0}\n", "{\"o\":{\"k\":[1,\n 2],\"l\":{\"m\":1}}}\n", "{\"o\":5}\n");
	_cleanup_free_ char *lines = list(&t.a, "x.json", true), *text = list(&t.a, "x.json", false);
	ok(list_alike(&t, "x.json"), "an object against a number");
	ok(strstr(lines, ": {\"k\": [1, 2], \"l\": {\"m\": 1}}\n"), "is listed on a line");
	ok(strstr(text, ": {\n  \"k\": [\n    1,\n"), "or broken into lines");
	is_int(settle(&t.a, "x.json", "/o", loser(&t.a, "x.json", "/o", 0)), 1, "taken back");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"o\":{\"k\":[1,2],\"l\":{\"m\":1}}}\n"), "it has its keys");
	apart(&t, "x.json", NULL, "{\"o\":6}\n", "{\"o\":{\"k\":[1,2],\"l\":{\"m\":2}}}\n");
	is_int(settle(&t.b, "x.json", NULL, loser(&t.b, "x.json", "/o", 0)), 1,
	       "a number in an object's place");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"o\":6}\n"), "takes the keys away");
	apart(&t, "root.json", "1\n", "[1]\n", "\"s\"\n");
	settle(&t.a, "root.json", "", loser(&t.a, "root.json", "", 0));
	meet(&t);
	ok(agreed(&t, "root.json", "[1]\n"), "the whole document is a place");
	two_close(&t);
}

/* An object is hidden with all that competes in it. */
static void test_hidden(void)
{
	struct two t;
	struct node c;
	two_open(&t);
	node_open(&c, 3, NULL);
	put(&t.a, "x.json", "{\"o\":{\"a\":1,\"b\":1}}\n");
	meet(&t);
	meet_with(&t.b, &c);
	put(&c, "x.json", "{\"o\":{\"a\":2,\"b\":2}}\n");
	t.a.now += 1000000;
	put(&t.a, "x.json", "{\"o\":{\"a\":3,\"b\":3}}\n");
	meet_with(&t.a, &c);
	apart(&t, "x.json", NULL, "{\"o\":{\"a\":3,\"b\":4}}\n", "{\"o\":7}\n");
	_cleanup_free_ char *one = list(&t.b, "x.json", true);
	ok(one[0] == '[' && !strchr(one + 1, '['), "an object in which values compete is one value");
	is_int(settle(&t.a, "x.json", NULL, loser(&t.a, "x.json", "/o", 0)), 1, "taken back");
	meet(&t);
	_cleanup_free_ char *more = list(&t.b, "x.json", true);
	ok(list_alike(&t, "x.json") && !strncmp(more, "[/o/a] ", 7), "it comes with them");
	is_int(settle(&t.a, "x.json", "/o", NULL), 1, "a place stands for what is below");
	meet(&t);
	ok(!look(&t.b, "x.json").conflict, "on both");
	node_close(&c);
	two_close(&t);
}

/* A document here, bytes there: one file. */
static void test_document_and_blob(void)
{
	struct two t;
	two_open(&t);
	apart(&t, "x.json", NULL, "{\n\t\"n\":  1\n}\n", "no JSON");
	ok(list_alike(&t, "x.json") && look(&t.a, "x.json").form == FORM_TEXT,
	   "a document against bytes");
	settle(&t.a, "x.json", NULL, loser(&t.a, "x.json", "", 0));
	meet(&t);
	struct attr at = look(&t.b, "x.json");
	ok(at.form == FORM_JSON && !at.conflict, "it is taken back");
	apart(&t, "y.json", NULL, "no JSON", "{\n\t\"n\":  1\n}\n");
	settle(&t.b, "y.json", NULL, loser(&t.b, "y.json", "", 0));
	meet(&t);
	ok(agreed(&t, "y.json", "no JSON") && look(&t.a, "y.json").form == FORM_TEXT, "or the bytes");
	two_close(&t);
}

static void test_exact_bytes(void)
{
	struct two t;
	two_open(&t);
	apart(&t, "x.json", "{\"n\": 0,   \"m\": 1}\n", "{\"n\": 1,   \"m\": 1}\n",
	      "{\"n\": 2,   \"m\": 1}\n");
	is_int(settle(&t.b, "x.json", NULL, NULL), 1, "what no style describes");
	meet(&t);
	ok(!look(&t.a, "x.json").conflict, "is settled");
	_cleanup_free_ char *a = node_read(&t.a, DIR, "x.json"), *b = node_read(&t.b, DIR, "x.json");
	is_str(a, b, "with the same bytes everywhere");
	two_close(&t);
}

static char *noise(uint64_t seed, size_t len)
{
	struct prng p = { seed };
	char *data = malloc(len);
	for (size_t i = 0; data && i < len; i++)
		data[i] = (char)prng_u64(&p);
	return data;
}

static bool blob_is(struct node *n, const struct rival *v, const char *data, size_t len)
{
	_cleanup_free_ char *got = malloc(len);
	struct blob *blob = NULL;
	if (v->kind != VALUE_BLOB || v->blob.size != len ||
	    blob_open(replica_store(n->replica), &v->blob, &blob) < 0)
		return false;
	bool same = true;
	for (size_t at = 0; same && at < len;) {
		ssize_t r = blob_pread(blob, got + at, len - at, at);
		same = r > 0;
		at += r > 0 ? (size_t)r : 0;
	}
	blob_free(blob);
	return same && !memcmp(got, data, len);
}

static void test_blobs(void)
{
	enum { A = 700000, B = 300000 };
	struct two t;
	_cleanup_free_ char *a = noise(1, A), *b = noise(2, B);
	_cleanup_(arena_done) struct arena arena = { 0 };
	two_open(&t);
	put(&t.a, "f.bin", "first");
	meet(&t);
	node_write(&t.a, DIR, "f.bin", a, A);
	t.b.now += 5000000;
	node_write(&t.b, DIR, "f.bin", b, B);
	meet(&t);
	ok(list_alike(&t, "f.bin"), "two contents of a file");
	struct node *node[2] = { &t.a, &t.b };
	struct attr at = look(&t.a, "f.bin");
	for (int i = 0; i < 2; i++) {
		struct sweep_report report;
		struct contest *c;
		uint32_t n;
		if (replica_sweep(node[i]->replica, &report, NULL) < 0 ||
		    replica_contests(node[i]->replica, &at.id, true, &arena, &c, &n) < 0)
			tap_bail("no contests");
		ok(n == 1 && c->n == 1 && blob_is(node[i], &c->lost[0], a, A) &&
			   blob_is(node[i], &c->shown, b, B),
		   "all bytes of both are on device %d", i + 1);
	}
	settle(&t.b, "f.bin", NULL, loser(&t.b, "f.bin", "", 0));
	meet(&t);
	size_t size = (size_t)look(&t.a, "f.bin").size;
	_cleanup_free_ char *now = node_read(&t.a, DIR, "f.bin");
	ok(size == A && !memcmp(now, a, A) && !look(&t.a, "f.bin").conflict,
	   "the bytes that lost are the file's on both");
	two_close(&t);
}

struct contested {
	struct id shown, hidden;
	uint32_t actor;
	unsigned n;
};

static int one_contested(const struct id *shown, const struct id *hidden, uint32_t actor,
			 void *userdata)
{
	struct contested *c = userdata;
	*c = (struct contested){ *shown, *hidden, actor, c->n + 1 };
	return 0;
}

static void test_names(void)
{
	struct two t;
	struct contested c[2] = { 0 };
	two_open(&t);
	apart(&t, "n.txt", NULL, "of a", "of b");
	bool good = replica_contested(t.a.replica, one_contested, &c[0]) == 0 &&
		    replica_contested(t.b.replica, one_contested, &c[1]) == 0;
	ok(good && c[0].n == 1 && c[1].n == 1 && id_equal(&c[0].shown, &c[1].shown) &&
		   id_equal(&c[0].hidden, &c[1].hidden),
	   "a name that two files have");
	struct attr at = look(&t.a, "n.txt");
	ok(id_equal(&at.id, &c[0].shown), "one of them shows");
	_cleanup_(buf_done) struct buf path = { 0 };
	replica_path(t.a.replica, &c[0].hidden, &path);
	const struct actor_id *who = actors_get(replica_actors(t.a.replica), c[0].actor);
	const char *want = who->device.b[0] == 1 ? "c/n~010101.txt" : "c/n~020202.txt";
	is_str(buf_cstr(&path), want, "the other has its device's name");
	ok(!at.conflict, "which is no conflict of contents");
	two_close(&t);
}

static void test_odd_keys(void)
{
	struct two t;
	two_open(&t);
	apart(&t, "x.json", "{\"a\\u0000b\":0,\"a\":0,\"c/d~\":0}\n",
	      "{\"a\\u0000b\":1,\"a\":0,\"c/d~\":1}\n", "{\"a\\u0000b\":2,\"a\":0,\"c/d~\":2}\n");
	is_int(settle(&t.a, "x.json", "/a", NULL), 0, "a key with a NUL is not the one before it");
	is_int(settle(&t.a, "x.json", "/c~1d~0", loser(&t.a, "x.json", "/c~1d~0", 0)), 1, "escapes");
	is_int(settle(&t.a, "x.json", NULL, loser(&t.a, "x.json", "/a", 0)), 1, "by its identifier");
	meet(&t);
	ok(agreed(&t, "x.json", "{\"a\\u0000b\":1,\"a\":0,\"c/d~\":1}\n"), "both are taken back");
	two_close(&t);
}

static void test_refused(void)
{
	struct two t;
	struct id none = { { 7 } };
	struct err e = { 0 };
	uint32_t n;
	two_open(&t);
	apart(&t, "x.json", "{\"n\":0,\"m\":[0]}\n", "{\"n\":1,\"m\":[0]}\n",
	      "{\"n\":2,\"m\":[0]}\n");
	apart(&t, "x.json", NULL, "{\"n\":3,\"m\":[0]}\n", "{\"n\":4,\"m\":[0]}\n");
	const char *id = loser(&t.a, "x.json", "/n", 0);
	char few[5];
	snprintf(few, sizeof(few), "%.4s", id);
	is_errno(settle(&t.a, "x.json", NULL, "123"), -EINVAL, "too few digits");
	is_errno(settle(&t.a, "x.json", NULL, "12345678901"), -EINVAL, "too many");
	is_errno(settle(&t.a, "x.json", NULL, "hello"), -EINVAL, "no digits");
	is_errno(settle(&t.a, "x.json", NULL, "0000000000"), -ENOENT, "nothing that lost");
	is_errno(settle(&t.a, "x.json", "n", NULL), -EINVAL, "no pointer");
	is_errno(settle(&t.a, "x.json", "/none", NULL), -ENOENT, "no such place");
	is_errno(settle(&t.a, "x.json", "/m/0", NULL), -ENOENT, "an element of an array is no place");
	is_errno(settle(&t.a, "x.json", "/m", id), -ENOENT, "a value that lost elsewhere");
	is_errno(replica_settle(t.a.replica, &none, NULL, NULL, &n, &e), -ENOENT, "no such file");
	is_errno(replica_settle(t.a.replica, &NODE_ROOT, NULL, NULL, &n, &e), -ENOENT, "the root");
	is_int(settle(&t.a, "x.json", NULL, few), 1, "the first digits are enough");
	two_close(&t);
}

/* Three values at one place. */
static void test_three(void)
{
	struct two t;
	struct node c;
	two_open(&t);
	node_open(&c, 3, NULL);
	put(&t.a, "x.json", "{\"n\":0}\n");
	meet(&t);
	meet_with(&t.a, &c);
	put(&c, "x.json", "{\"n\":1}\n");
	apart(&t, "x.json", NULL, "{\"n\":2}\n", "{\"n\":3}\n");
	meet_with(&t.a, &c);
	char few[5], other[RIVAL_ID_SIZE];
	snprintf(few, sizeof(few), "%.4s", loser(&c, "x.json", "/n", 0));
	is_errno(settle(&c, "x.json", NULL, few), -ENOTUNIQ, "two values lost at one place");
	snprintf(other, sizeof(other), "%s", loser(&c, "x.json", "/n", 1));
	is_int(settle(&c, "x.json", NULL, other), 1, "one of them is taken");
	is_int(settle(&c, "x.json", NULL, NULL), 0, "both have ended");
	/* The same value twice is one that lost. */
	put(&t.a, "x.json", "{\"n\":4}\n");
	put(&c, "x.json", "{\"n\":4}\n");
	t.b.now += 9000000;
	put(&t.b, "x.json", "{\"n\":5}\n");
	meet_with(&t.a, &c);
	meet(&t);
	_cleanup_free_ char *text = list(&t.b, "x.json", true);
	char *first = strstr(text, ": 4\n");
	ok(first && !strstr(first + 1, ": 4\n"), "what two devices wrote is listed once");
	node_close(&c);
	two_close(&t);
}

static unsigned count_conflicted(struct replica *r)
{
	struct id found[2] = { 0 };
	if (replica_conflicted(r, one_conflicted, found) < 0)
		tap_bail("replica_conflicted");
	return (unsigned)(!id_is_zero(&found[0]) + !id_is_zero(&found[1]));
}

static void forget(struct store *s, const char *kinds, const struct id *id)
{
	struct store_batch *b;
	if (store_batch_new(&b) < 0)
		tap_bail("no memory");
	for (; *kinds; kinds++) {
		uint8_t key[1 + ID_SIZE] = { (uint8_t)*kinds };
		memcpy(key + 1, id->b, ID_SIZE);
		store_delete(b, STORE_META, key, *kinds == 'I' ? 1 : sizeof(key));
	}
	if (store_write(s, b, NULL) < 0)
		tap_bail("store_write");
	store_batch_free(b);
}

static void test_index(void)
{
	struct rep p;
	struct attr at, other;
	struct verify_report report;
	rep_open(&p, NULL, 0, 1);
	rep_create(p.r, &NODE_ROOT, "a.json", "{\"n\":0}\n", &at);
	rep_create(p.r, &NODE_ROOT, "b.json", "{\"n\":0}\n", &other);
	struct version *v;
	if (replica_read(p.r, &at.id, &v) < 0)
		tap_bail("replica_read");
	rep_save(p.r, &at.id, v, "{\"n\":1}\n");
	rep_save(p.r, &at.id, v, "{\"n\":2}\n");
	version_unref(v);
	is_uint(count_conflicted(p.r), 1, "a file in conflict is in the index");
	replica_remove(p.r, &at.id, 0);
	is_uint(count_conflicted(p.r), 0, "not when it is deleted");
	rep_rename(p.r, &other.id, &NODE_ROOT, "c.json", 0);
	rep_create(p.r, &NODE_ROOT, "d.json", "{\"n\":0}\n", &at);
	if (replica_read(p.r, &at.id, &v) < 0)
		tap_bail("replica_read");
	rep_save(p.r, &at.id, v, "{\"n\":1}\n");
	rep_save(p.r, &at.id, v, "{\"n\":2}\n");
	version_unref(v);
	forget(p.store, "C", &at.id);
	ok(!rep_sound(p.r), "an index without it is found wrong");
	replica_verify(p.r, true, NULL, NULL, &report, NULL);
	ok(report.repaired == 1 && rep_sound(p.r) && count_conflicted(p.r) == 1, "and mended");
	forget(p.store, "CI", &at.id);
	rep_stop(&p);
	rep_start(&p);
	ok(count_conflicted(p.r) == 1 && rep_sound(p.r), "a store without one gets it");
	rep_close(&p);
}

/* ---- random documents ---- */

static void random_object(struct prng *p, unsigned depth, struct buf *b)
{
	static const char *const key[] = { "a", "b", "c" };
	bool first = true;
	buf_puts(b, "{");
	for (unsigned i = 0; i < 3; i++) {
		unsigned what = (unsigned)prng_below(p, depth < 3 ? 9 : 6);
		if (what == 0)
			continue;
		buf_putf(b, "%s\"%s\":", first ? "" : ",", key[i]);
		first = false;
		if (what > 5)
			random_object(p, depth + 1, b);
		else if (what == 5)
			buf_putf(b, "[%u, %u]", (unsigned)prng_below(p, 3), (unsigned)prng_below(p, 2));
		else
			buf_putf(b, "%u", (unsigned)prng_below(p, 4));
	}
	buf_puts(b, "}");
}

static void put_random(struct prng *p, struct node *n)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	random_object(p, 0, &b);
	buf_puts(&b, "\n");
	put(n, "x.json", buf_cstr(&b));
}

/* Settles one place; false when something else is there than was taken. */
static bool settle_one(struct prng *p, struct two *t, uint64_t *settled)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct node *n = prng_chance(p, 50) ? &t->a : &t->b;
	struct attr at = look(n, "x.json");
	struct contest *c;
	uint32_t count;
	if (replica_contests(n->replica, &at.id, true, &a, &c, &count) < 0 || count == 0)
		return count == 0 && !at.conflict;
	c += prng_below(p, count);
	const struct rival *v = &c->lost[prng_below(p, c->n)];
	const char *take = prng_chance(p, 30) ? NULL : v->id;
	int did = settle(n, "x.json", c->pointer, take);
	*settled += did > 0;
	if (did < 1 || (take && did != 1))
		return false;
	/* Now it is what is shown there. */
	return settle(n, "x.json", c->pointer, take ? take : c->shown.id) == 0;
}

static bool round_of(uint64_t seed, uint64_t *settled)
{
	struct prng p = { seed };
	struct two t;
	bool good = true;
	two_open(&t);
	put(&t.a, "x.json", "{}\n");
	meet(&t);
	for (unsigned i = 0; good && i < 6; i++) {
		put_random(&p, &t.a);
		t.b.now += prng_below(&p, 20000);
		put_random(&p, &t.b);
		meet(&t);
		bool conflict = look(&t.a, "x.json").conflict;
		good = !conflict || list_alike(&t, "x.json");
		good = good && (prng_chance(&p, 40) || settle_one(&p, &t, settled));
		if (prng_chance(&p, 50))
			meet(&t);
	}
	meet(&t);
	_cleanup_free_ char *before = node_read(&t.a, DIR, "x.json");
	good = good && settle(&t.a, "x.json", NULL, NULL) >= 0;
	meet(&t);
	good = good && agreed(&t, "x.json", before);
	struct verify_report report;
	good = good && replica_verify(t.b.replica, false, NULL, NULL, &report, NULL) == 0 &&
	       report.errors == 0;
	two_close(&t);
	return good;
}

int main(int argc, char **argv)
{
	tap_plan(79);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 400), k = 0, settled = 0;
	test_fields();
	test_all_at_once();
	test_apart_again();
	test_types();
	test_hidden();
	test_document_and_blob();
	test_exact_bytes();
	test_blobs();
	test_names();
	test_odd_keys();
	test_refused();
	test_three();
	test_index();
	while (k < rounds && round_of(seed + k, &settled))
		k++;
	if (k < rounds)
		tap_diag("seed %llu failed", (unsigned long long)(seed + k));
	ok(k == rounds, "%llu random documents: what is taken is there, what is kept stays",
	   (unsigned long long)k);
	ok(settled > rounds, "and there was enough to settle (%llu)", (unsigned long long)settled);
	return tap_done();
}
