/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Earlier versions: how they are written, kept and read. */

#include "tests/past.h"

/* ---- the codec ---- */

static struct actors *some_actors(void)
{
	struct actors *actors;
	if (actors_new(&actors) < 0)
		tap_bail("no memory");
	for (uint32_t i = 0, no; i < 3; i++) {
		struct actor_id id = { { { (uint8_t)(7 - i) } }, i };
		if (actors_intern(actors, &id, &no) < 0)
			tap_bail("no memory");
	}
	return actors;
}

/* What is accepted encodes to the same bytes. 1: accepted. */
static int accepts(struct actors *actors, const struct buf *b, bool deletion)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf again = { 0 };
	struct history_version h;
	struct history_deletion d;
	struct err e = { 0 };
	int rc = deletion ? history_deletion_decode(actors, b->data, b->len, &d, &e) :
			    history_version_decode(&a, actors, b->data, b->len, &h, &e);
	if (rc < 0)
		return e.code == rc && *e.message ? 0 : -1;
	if (deletion)
		history_deletion_encode(&d, &again);
	else
		history_version_encode(&h, actors, &again);
	return again.len == b->len && memcmp(again.data, b->data, b->len) == 0 ? 1 : -1;
}

static void strict(struct actors *actors, struct buf *b, bool deletion, const char *name)
{
	unsigned bad = accepts(actors, b, deletion) != 1;
	size_t len = b->len;
	for (size_t n = 0; n < len; n++) {
		b->len = n;
		bad += accepts(actors, b, deletion) < 0;
	}
	b->len = len;
	for (size_t i = 0; i < 8 * len; i++) {
		b->data[i / 8] ^= (uint8_t)(1 << i % 8);
		bad += accepts(actors, b, deletion) < 0;
		b->data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	is_uint(bad, 0, "%s: what is accepted is what was written", name);
}

static void test_codec(void)
{
	_cleanup_(actors_freep) struct actors *actors = some_actors();
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	static uint8_t large[HISTORY_INLINE_MAX + 1];
	struct vv_item item[2] = { { 0, 5 }, { 2, 9 } };
	struct history_version h = { .form = FORM_JSON, .version = { { 1, 2, 3 } }, .written = 1u << 30,
				     .author = 2, .context = { item, 2, 2 },
				     .data = (const uint8_t *)"{}\n", .len = 3 };
	struct history_version got;
	struct history_deletion d = { .node = { { 4 } }, .parent = { { 5 } }, .kind = NODE_LINK,
				      .when_us = 1700000000000000, .actor = ACTOR_NONE,
				      .name = "a b", .name_len = 3 };
	struct err e = { 0 };
	history_version_encode(&h, actors, &b);
	int rc = history_version_decode(&a, actors, b.data, b.len, &got, &e);
	ok(rc == 0 && got.form == FORM_JSON && id_equal(&got.version, &h.version) &&
	   got.written == h.written && got.author == 2 && vv_equal(&got.context, &h.context) &&
	   !got.blob && got.len == 3 && memcmp(got.data, "{}\n", 3) == 0,
	   "a version comes back as it was");
	strict(actors, &b, false, "a version with its bytes");
	b.data[0] = 2;
	is_errno(history_version_decode(&a, actors, b.data, b.len, &got, &e), -EPROTONOSUPPORT,
		 "one that a later release wrote is told from a damaged one");
	buf_reset(&b);
	h.data = large;
	h.len = sizeof(large);
	history_version_encode(&h, actors, &b);
	is_errno(history_version_decode(&a, actors, b.data, b.len, &got, &e), -EBADMSG,
		 "bytes that should be chunks are refused");
	buf_reset(&b);
	h.blob = true;
	h.author = ACTOR_NONE;
	h.ref = (struct blob_ref){ 100000, { { 9 } } };
	history_version_encode(&h, actors, &b);
	rc = history_version_decode(&a, actors, b.data, b.len, &got, &e);
	ok(rc == 0 && got.blob && got.ref.size == 100000 && got.ref.manifest.b[0] == 9 &&
	   got.author == ACTOR_NONE, "a version as a reference");
	strict(actors, &b, false, "a reference");
	buf_reset(&b);
	history_deletion_encode(&d, &b);
	strict(actors, &b, true, "a deletion");
	d.since_us = 1600000000000000;
	buf_reset(&b);
	history_deletion_encode(&d, &b);
	strict(actors, &b, true, "one that says since when it was there");
	d.moved = true;
	buf_reset(&b);
	history_deletion_encode(&d, &b);
	strict(actors, &b, true, "a move");
	b.data[b.len - 1] = '/';
	is_int(accepts(actors, &b, true), 0, "a name that no file can have is refused");
}

/* ---- keeping and reading ---- */

static void test_keep(size_t size)
{
	enum { N = 6 };
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	char *text[N];
	unsigned bad = 0;
	rep_open(&p, NULL, 0, seed);
	for (unsigned i = 0; i < N; i++)
		text[i] = document(i, size);
	rep_create(p.r, &NODE_ROOT, "a.json", text[0], &at);
	for (unsigned i = 1; i < N; i++)
		bad += save(&p, &at.id, text[i], size) < 0;
	uint32_t n = list(p.r, &at.id, &a, &past);
	is_uint(n, N, "%zu bytes saved %u times: as many versions", size, N - 1);
	ok(past[0].stamp == 0 && past[0].replaced_us == 0, "the newest comes first");
	for (uint32_t i = 0; i < n; i++) {
		bad += !holds(p.r, &at.id, &past[i], text[N - 1 - i], size);
		bad += past[i].form != FORM_JSON;
		bad += i > 0 && past[i].written_us >= past[i - 1].written_us;
		bad += i > 0 && past[i].replaced_us < past[i - 1].written_us;
	}
	rep_stop(&p);
	rep_start(&p);
	for (uint32_t i = 0; i < n; i++)
		bad += !holds(p.r, &at.id, &past[i], text[N - 1 - i], size);
	is_uint(bad, 0, "each reads back, after a restart as well");
	/* What was listed as the newest is not that any more. */
	struct version *v = NULL;
	save(&p, &at.id, text[0], size);
	is_errno(replica_history_read(p.r, &at.id, &past[0], &v), -ESTALE, "a list may be out of date");
	ok(rep_sound(p.r), "the store is sound");
	for (unsigned i = 0; i < N; i++)
		free(text[i]);
	rep_close(&p);
}

static void test_not_kept(void)
{
	struct rep p;
	struct attr at;
	_cleanup_(version_unrefp) struct version *base = NULL;
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", "{\"n\":1}\n", &at);
	p.wall += 5 * SECOND;
	replica_set_mode(p.r, &at.id, 0600);
	rep_rename(p.r, &at.id, &NODE_ROOT, "b.json", 0);
	replica_set_mtime(p.r, &at.id, 12345);
	save(&p, &at.id, "{\"n\":1}\n", 8);
	is_uint(count(p.r, &at.id), 1, "a rename, a mode, a time and a save of the same keep nothing");
	replica_read(p.r, &at.id, &base);
	p.wall += SECOND - p.wall % SECOND;
	rep_save(p.r, &at.id, base, "{\"n\":2}\n");
	rep_save(p.r, &at.id, base, "{\"n\":3}\n");
	rep_save(p.r, &at.id, base, "{\"n\":4}\n");
	is_uint(count(p.r, &at.id), 2, "of the saves of one second only what was there before is kept");
	is_errno(rep_mkdir(p.r, &NODE_ROOT, "d", &at), 0, "a directory");
	_cleanup_(arena_done) struct arena a = { 0 };
	struct past *past;
	uint32_t n;
	is_errno(replica_history(p.r, &at.id, &a, &past, &n), -EISDIR, "has no versions");
	is_errno(replica_history(p.r, &(struct id){ { 9 } }, &a, &past, &n), -ENOENT,
		 "nor has what was never there");
	rep_close(&p);
}

static void test_kinds(void)
{
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	static char blob[100000];
	const struct content c = { "not JSON", 8, -1 };
	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (char)(i * 7 + i / 300);
	rep_open(&p, NULL, 0, seed);
	/* Bytes under the name of a document, then a document. */
	replica_create(p.r, &NODE_ROOT, "a.json", 6, 0644, &c, SAVE_BY_NAME, 0, &at, NULL, NULL);
	save(&p, &at.id, "{\"n\":1}\n", 8);
	save(&p, &at.id, "{}\n", 3);
	uint32_t n = list(p.r, &at.id, &a, &past);
	ok(n == 3 && past[1].form == FORM_JSON && past[2].form == FORM_TEXT &&
	   holds(p.r, &at.id, &past[2], "not JSON", 8), "bytes that became a document");
	rep_create(p.r, &NODE_ROOT, "film", "", &at);
	save(&p, &at.id, blob, sizeof(blob));
	save(&p, &at.id, "", 0);
	n = list(p.r, &at.id, &a, &past);
	ok(n == 3 && past[1].size == sizeof(blob) && holds(p.r, &at.id, &past[1], blob, sizeof(blob)) &&
	   holds(p.r, &at.id, &past[2], "", 0), "a file of bytes, empty at both ends");
	ok(rep_sound(p.r), "the store is sound");
	rep_close(&p);
}

/* On a disk: an existing database gets the family, and what is in it survives. */
static void test_disk(void)
{
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	_cleanup_free_ char *text = document(1, 50000);
	rep_open(&p, tap_tmpdir(), 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", text, &at);
	save(&p, &at.id, "{\"n\":1}", 7);
	save(&p, &at.id, "{\"n\":2}", 7);
	rep_close(&p);
	rep_open(&p, tap_tmpdir(), 0, seed);
	p.wall += 100 * SECOND;
	uint32_t n = list(p.r, &at.id, &a, &past);
	ok(n == 3 && holds(p.r, &at.id, &past[1], "{\"n\":1}", 7) &&
	   holds(p.r, &at.id, &past[2], text, 50000), "a database keeps versions");
	thin(&p, 1000);
	ok(count(p.r, &at.id) == 2 && rep_sound(p.r), "and lets them go");
	rep_close(&p);
}

int main(int argc, char **argv)
{
	tap_plan(35);
	seed = tap_seed(argc, argv);
	test_codec();
	test_keep(100);
	test_keep(HISTORY_INLINE_MAX);
	test_keep(200000);
	test_not_kept();
	test_kinds();
	test_disk();
	return tap_done();
}
