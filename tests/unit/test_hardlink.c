/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hard links: further names of a file, apart and together. */

#include <errno.h>

#include "tests/meeting.h"
#include "engine/deleted.h"

static bool find(struct rep *d, const char *name, struct attr *ret)
{
	int r = replica_lookup(d->r, &dir.id, name, strlen(name), ret);
	if (r < 0 && r != -ENOENT)
		tap_bail("lookup: %s", strerror(-r));
	return r == 0;
}

static bool is(struct rep *d, const char *name, const struct id *id)
{
	struct attr at;
	return find(d, name, &at) && id_equal(&at.id, id);
}

static bool gone(struct rep *d, const char *name)
{
	struct attr at;
	return !find(d, name, &at);
}

static struct attr linked(struct rep *d, const struct id *id, const char *name)
{
	struct attr at;
	int r = replica_link(d->r, id, &dir.id, name, strlen(name), &at);
	if (r < 0)
		tap_bail("link: %s", strerror(-r));
	return at;
}

static int drop(struct rep *d, const char *name)
{
	struct attr at;
	return find(d, name, &at) ? replica_remove(d->r, &at.entry, 0) : -ENOENT;
}

static uint32_t links(struct rep *d, const struct id *id)
{
	uint32_t n;
	if (replica_links(d->r, id, &n) < 0)
		tap_bail("links");
	return n;
}

static int count(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	(void)name;
	(void)len;
	(void)attr;
	++*(unsigned *)userdata;
	return 0;
}

static unsigned listed(struct rep *d)
{
	unsigned n = 0;
	if (replica_list(d->r, &dir.id, count, &n) < 0)
		tap_bail("list");
	return n;
}

static void clear(void)
{
	static const char *const name[] = { "a.json", "b.json", "c", "d", "e.json", "f.json" };
	for (unsigned i = 0; i < sizeof(name) / sizeof(*name); i++)
		drop(&p, name[i]);
}

static void alone(void)
{
	struct attr at, other;
	struct id id = begin("a.json", "{\"k\": 1}\n");
	at = linked(&p, &id, "b.json");
	ok(id_equal(&at.id, &id) && !id_equal(&at.entry, &id), "a link is the file under another name");
	ok(is(&p, "b.json", &id) && links(&p, &id) == 1 && listed(&p) == 2, "and found and counted");
	linked(&p, &at.entry, "c");
	ok(is(&p, "c", &id) && links(&p, &id) == 2, "a link to a link is one to the file");
	is_errno(replica_link(p.r, &id, &dir.id, "c", 1, NULL), -EEXIST, "a name that is taken");
	is_errno(replica_link(p.r, &dir.id, &dir.id, "x", 1, NULL), -EPERM, "no link to a directory");
	is_errno(replica_link(p.r, &id, &NODE_ROOT, "x", 1, NULL), -EXDEV,
		 "nor from another collection");
	find(&p, "c", &other);
	is_errno(replica_rename(p.r, &other.entry, &NODE_ROOT, "x", 1, 0, NULL), -EXDEV,
		 "nor goes one there");
	is_errno(replica_rename(p.r, &id, &NODE_ROOT, "x.json", 6, 0, NULL), -EXDEV,
		 "nor the file, as long as it has others");
	is_int(replica_rename(p.r, &other.entry, &dir.id, "d", 1, 0, NULL), 0, "a link is renamed");
	ok(gone(&p, "c") && is(&p, "d", &id) && is(&p, "a.json", &id), "and nothing else");
	is_int(drop(&p, "a.json"), 0, "the file's own name goes");
	ok(gone(&p, "a.json") && is(&p, "b.json", &id) && is(&p, "d", &id) && links(&p, &id) == 1,
	   "and the file is there under the others");
	edit(&p, &id, "{\"k\": 2}\n");
	at = (struct attr){ 0 };
	is_int(rep_create(p.r, &dir.id, "a.json", "{\"new\": 1}\n", &at), 0, "the name is free");
	ok(!id_equal(&at.id, &id), "for another file");
	drop(&p, "b.json");
	drop(&p, "d");
	is_errno(replica_attr(p.r, &id, &other), -ENOENT, "without a name there is no file");
	is_int((int)links(&p, &id), 0, "and no link to it");
	clear();
	is_int((int)listed(&p), 0, "nothing is left in the directory");
}

/* What replaces a name by another file breaks the link. */
static void replaced(void)
{
	struct attr new;
	struct id id = begin("a.json", "{\"k\": 1}\n");
	linked(&p, &id, "b.json");
	if (rep_create(p.r, &dir.id, "t.json", "{\"k\": 5}\n", &new) < 0)
		tap_bail("create");
	is_int(replica_rename(p.r, &new.id, &dir.id, "a.json", 6, 0, NULL), 0,
	       "something is renamed over the file");
	ok(is(&p, "a.json", &new.id) && is(&p, "b.json", &id), "which goes on under its other name");
	is_int((int)links(&p, &id), 0, "its only one");
	clear();
}

static void deleted_and_back(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct deleted *all;
	uint32_t n, before;
	struct id id = begin("e.json", "{\"k\": 1}\n");
	linked(&p, &id, "f.json");
	if (replica_deleted(p.r, &a, &all, &before) < 0)
		tap_bail("deleted");
	drop(&p, "f.json");
	is_int(replica_deleted(p.r, &a, &all, &n), 0, "a link was deleted");
	ok(n == before + 1 && strcmp(all[0].name, "f.json") == 0, "and is listed");
	is_int(replica_undelete(p.r, &all[0].id, NULL, NULL, 0, NULL), 0, "it comes back");
	ok(is(&p, "f.json", &id), "as what it was");
	drop(&p, "e.json");
	is_int(replica_deleted(p.r, &a, &all, &n), 0, "the first name goes");
	ok(n == before + 1 && strcmp(all[0].name, "e.json") == 0, "and is listed");
	drop(&p, "f.json");
	is_int(replica_deleted(p.r, &a, &all, &n), 0, "the last name goes");
	ok(n == before + 2 && strcmp(all[0].name, "f.json") == 0, "and is listed, and nothing else");
	is_int(replica_undelete(p.r, &all[0].id, NULL, NULL, 0, NULL), 0, "it comes back");
	ok(is(&p, "f.json", &id) && gone(&p, "e.json"), "under that name, with the file");
	_cleanup_free_ char *text = rep_read(p.r, &id);
	is_str(text, "{\"k\": 1}\n", "as it was");
	clear();
}

/* All that one of them has. */
static void send_all(struct rep *from, struct rep *to)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	if (store_iter_new(from->store, NULL, STORE_DOCS, NULL, 0, NULL, 0, &it) < 0)
		tap_bail("iter");
	for (; store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		struct id id;
		memcpy(id.b, store_iter_key(it, &len), ID_SIZE);
		send(from, to, &id);
	}
}

static void both(void)
{
	p.wall = q.wall = p.wall > q.wall ? p.wall : q.wall;
	send_all(&p, &q);
	send_all(&q, &p);
}

static bool same(const char *name)
{
	struct attr x, y;
	bool in = find(&p, name, &x), at = find(&q, name, &y);
	return in == at && (!in || (id_equal(&x.id, &y.id) && id_equal(&x.entry, &y.entry)));
}

static void apart(void)
{
	struct attr at, other;
	/* The link arrives before the file. */
	struct id id;
	unsigned there = listed(&q);
	if (rep_create(p.r, &dir.id, "g.json", "{\"k\": 1}\n", &at) < 0)
		tap_bail("create");
	id = at.id;
	at = linked(&p, &id, "h.json");
	send(&p, &q, &at.entry);
	ok(gone(&q, "h.json") && listed(&q) == there, "a link to what is not here does not show");
	send_all(&p, &q);
	ok(is(&q, "g.json", &id) && is(&q, "h.json", &id) && links(&q, &id) == 1,
	   "until the file comes");

	/* Both make the same link. */
	at = linked(&p, &id, "i");
	other = linked(&q, &id, "i");
	both();
	ok(same("i") && is(&q, "i", &id) && listed(&p) == 3, "two that make one link make one");
	ok(drop(&q, "i") == 0, "it is removed");
	both();
	ok(gone(&p, "i") && gone(&q, "i") && links(&p, &id) == 1, "on both");

	/* One deletes the file, which has no other name for him, the other one makes one. */
	drop(&p, "h.json");
	both();
	drop(&p, "g.json");
	at = linked(&q, &id, "j");
	edit(&q, &id, "{\"k\": 3}\n");
	both();
	ok(is(&p, "j", &id) && is(&q, "j", &id), "a deletion does not take a new link's bytes away");
	ok(shows(&id, "{\"k\": 3}\n") && same("g.json"), "nor what was written there");
	drop(&p, "g.json");
	both();
	ok(gone(&q, "g.json") && is(&q, "j", &id) && links(&q, &id) == 0,
	   "who has seen the link removes the name alone");

	/* One removes the file's name, which takes the link's place; the other edits, and removes too. */
	at = linked(&p, &id, "i");
	both();
	drop(&p, "j");
	edit(&q, &id, "{\"k\": 4}\n");
	drop(&q, "j");
	both();
	ok(gone(&p, "j") && gone(&q, "j") && is(&p, "i", &id) && is(&q, "i", &id),
	   "two that remove one name leave the other");
	ok(shows(&id, "{\"k\": 4}\n") && links(&p, &id) == 0 && links(&q, &id) == 0, "with the edit");
	is_int(drop(&p, "i"), 0, "the last name goes");
	both();
	is_errno(replica_attr(q.r, &id, &other), -ENOENT, "and the file");
}

/* Each removes another name, and one writes before that. */
static void edited(void)
{
	struct attr at;
	if (rep_create(p.r, &dir.id, "k.json", "{\"k\": 1}\n", &at) < 0)
		tap_bail("create");
	const struct id id = at.id;
	linked(&p, &id, "l.json");
	both();
	drop(&q, "k.json");
	edit(&q, &id, "{\"k\": 2}\n");
	drop(&p, "l.json");
	both();
	ok(is(&p, "k.json", &id) && is(&q, "k.json", &id) && gone(&p, "l.json"),
	   "a change brings the file back, under its first name");
	ok(shows(&id, "{\"k\": 2}\n") && links(&p, &id) == 0, "with what was written");
	is_int(drop(&p, "k.json"), 0, "it is removed");
	both();
	ok(gone(&q, "k.json"), "for good");
}

/* The store is closed and opened again. */
static void kept(void)
{
	struct id id = begin("a.json", "{\"k\": 1}\n");
	linked(&p, &id, "b.json");
	rep_stop(&p);
	rep_start(&p);
	ok(is(&p, "b.json", &id) && links(&p, &id) == 1, "links are there after a restart");
	is_int(drop(&p, "a.json"), 0, "the file's name goes");
	ok(is(&p, "b.json", &id), "and the file stays");
}

static void both_ways(const struct id *id, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (store_has(p.store, NULL, STORE_DOCS, id[i].b, ID_SIZE))
			send(&p, &q, &id[i]);
		send(&q, &p, &id[i]);
	}
}

/* A link can come before its file, which waits for its bytes: it is not taken for one to nothing. */
static void waiting(void)
{
	struct attr sub, at, other;
	clear();
	if (rep_mkdir(p.r, &dir.id, "deep", &sub) < 0 || rep_create(p.r, &sub.id, "x", "bytes\n", &at) < 0)
		tap_bail("make");
	send(&p, &q, &sub.id);
	const struct id file = at.id;
	replica_link(p.r, &file, &sub.id, "y", 1, &at);
	const struct id y = at.entry;
	replica_lookup(p.r, &sub.id, "x", 1, &at);
	const struct id x = at.entry;
	replica_remove(p.r, &x, 0);
	send(&p, &q, &x);
	send(&p, &q, &y);
	is_errno(replica_remove(q.r, &sub.id, 0), -ENOTEMPTY, "a directory with a name whose file is to come");
	is_int(rep_create(q.r, &sub.id, "y", "another\n", &other), 0, "the name is free as long as nothing shows");
	ok(replica_lookup(q.r, &sub.id, "y", 1, &at) == 0 && id_equal(&at.id, &other.id), "and taken");
	const struct id all[] = { file, x, y, other.id, sub.id };
	both_ways(all, 5);
	ok(replica_attr(p.r, &file, &at) == 0 && replica_attr(q.r, &file, &at) == 0, "the file comes to no harm");
	ok(replica_lookup(p.r, &sub.id, "y", 1, &at) == 0 && id_equal(&at.id, &other.id), "beside the new one");
}

/* Each removes names and leaves others, until none is left: nobody has deleted the file. */
static void nobody_deleted(void)
{
	struct attr at;
	clear();
	struct id id = begin("a.json", "{\"k\": 1}\n");
	rep_rename(q.r, &id, &dir.id, "c", 0);
	const struct id b = linked(&p, &id, "b.json").entry;
	find(&p, "a.json", &at);
	const struct id all[] = { at.entry, b, id };
	both_ways(all, 3);
	ok(is(&p, "c", &id) && is(&q, "c", &id) && is(&q, "b.json", &id), "three names");
	is_int(drop(&p, "c"), 0, "one is removed here");
	edit(&q, &id, "{\"k\": 2}\n");
	ok(drop(&q, "a.json") == 0 && drop(&q, "b.json") == 0, "two there, by who has written into it");
	both_ways(all, 3);
	ok(is(&p, "c", &id) && is(&q, "c", &id) && shows(&id, "{\"k\": 2}\n"),
	   "it comes back, with what was written");
	is_int(drop(&q, "c"), 0, "the last name is removed");
	both_ways(all, 3);
	ok(replica_attr(p.r, &id, &at) == -ENOENT && replica_attr(q.r, &id, &at) == -ENOENT, "nothing is left");
}

/* It came back from where links have files, was saved and deleted: its last place is the one with a name. */
static void last_place(void)
{
	struct attr at;
	struct id id = begin("d", "one\n");
	const struct id f = linked(&p, &id, "c").entry;
	find(&p, "d", &at);
	const struct id all[] = { at.entry, f, id };
	both_ways(all, 3);
	edit(&q, &id, "two\n");
	drop(&p, "d");
	drop(&p, "c");
	both_ways(all, 3);
	edit(&p, &id, "three\n");
	is_int(drop(&p, "d"), 0, "removed after all");
	if (rep_create(p.r, &dir.id, "d", "new\n", &at) < 0)
		tap_bail("create");
	is_errno(replica_undelete(p.r, &id, NULL, NULL, 0, NULL), -EEXIST, "something has its place");
	drop(&p, "d");
	is_int(replica_undelete(p.r, &id, NULL, NULL, 0, NULL), 0, "it comes back");
	ok(is(&p, "d", &id), "to that place");
	clear();
}

static uint64_t lies;

/* A record as a peer could send it: another content of `old`, or a new one. */
static const struct record *lie(struct rep *d, struct arena *a, const struct record *old, const struct id *id,
				enum node_kind kind, const struct id *target)
{
	struct actor_id liar = { .device = { .b = { 0x78 } }, .incarnation = 1 };
	struct actors *actors = replica_actors(d->r);
	const struct value v = { VALUE_NODE, target->b, ID_SIZE };
	struct stamp st = { .hlc = (UINT64_C(1) << 40) + ++lies };
	const struct record *r = old;
	struct record *new;
	if (actors_intern(actors, &liar, &st.dot.actor) < 0)
		tap_bail("actor");
	st.dot.seq = lies;
	if (!r && record_new(a, id, &dir.id, kind, &new) < 0)
		tap_bail("record");
	if (!r)
		r = new;
	if (record_set_content(a, actors, r, &v, NULL, &st, &r) < 0 ||
	    (!old && record_move(a, actors, r, &dir.id, "evil", 4, &st, &r) < 0))
		tap_bail("record");
	return r;
}

static int give(struct rep *d, struct arena *a, const struct record *r)
{
	static const struct vv nothing;
	struct delta *x;
	enum apply_result result;
	struct sha256 *missing;
	uint32_t n;
	if (delta_make(a, replica_actors(d->r), r, &nothing, true, &x) < 0)
		tap_bail("delta");
	return replica_apply(d->r, a, x, &nothing, &result, &missing, &n, NULL);
}

/* A link that names another file later: who sees it twice has what who sees it once has. */
static void changed(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct id evil = { .b = { 0x67 } };
	struct attr x, y;
	struct id id = begin("e.json", "{\"k\": 1}\n"), other = begin("f.json", "{\"k\": 2}\n");
	linked(&p, &id, "c");
	send_all(&p, &q);
	const struct record *first = lie(&p, &a, NULL, &evil, NODE_LINK, &id);
	const struct record *second = lie(&p, &a, first, &evil, NODE_LINK, &other);
	ok(give(&p, &a, first) == 0 && is(&p, "evil", &id), "a peer's link to one file");
	ok(give(&p, &a, second) == 0 && is(&p, "evil", &other), "and then to another");
	lies -= 2;
	first = lie(&q, &a, NULL, &evil, NODE_LINK, &id);
	is_int(give(&q, &a, lie(&q, &a, first, &evil, NODE_LINK, &other)), 0, "at once");
	ok(replica_attr(p.r, &other, &x) == 0 && replica_attr(q.r, &other, &y) == 0 && x.linked == y.linked &&
		   links(&p, &id) == links(&q, &id),
	   "is the same");
	ok(rep_sound(p.r) && rep_sound(q.r), "and the stores are sound");
	replica_remove(p.r, &evil, 0);
	replica_remove(q.r, &evil, 0);
	clear();
}

/* Links to links to links: each is looked at alone. */
static void chained(void)
{
	struct id before = { .b = { 0x68 } };
	int r = 0;
	for (unsigned i = 1; i <= 200 && r == 0; i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		const struct id id = { .b = { 0x68, (uint8_t)(i >> 8), (uint8_t)i } };
		r = give(&p, &a, lie(&p, &a, NULL, &id, NODE_LINK, &before));
		before = id;
	}
	is_int(r, 0, "two hundred links, one to the other");
	is_int((int)listed(&p), 1, "of which none shows");
	const struct id none = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	is_errno(give(&p, &a, lie(&p, &a, NULL, &NODE_INODES, NODE_DIR, &none)), -EBADMSG,
		 "where files are without names is no place for others");
}

/* What a peer says that makes links of its own: no directory gets a second place, and nothing is shown
 * that is of another collection. */
static void hostile(const struct id *target, const char *what)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	static const struct vv nothing;
	struct actors *actors = replica_actors(p.r);
	struct actor_id liar = { .device = { .b = { 0x77 } }, .incarnation = 1 };
	uint32_t actor;
	struct stamp st = { .hlc = UINT64_C(1) << 40 };
	const struct id id = { .b = { 0x66, (uint8_t)what[0], (uint8_t)what[1] } };
	const struct value v = { VALUE_NODE, target->b, ID_SIZE };
	struct record *new;
	const struct record *r;
	struct delta *d;
	enum apply_result result;
	struct sha256 *missing;
	struct attr at;
	uint32_t n;
	unsigned before = listed(&p);
	if (actors_intern(actors, &liar, &actor) < 0 ||
	    record_new(&a, &id, &dir.id, NODE_LINK, &new) < 0)
		tap_bail("record");
	st.dot = (struct dot){ actor, 1 };
	if (record_set_content(&a, actors, new, &v, NULL, &st, &r) < 0 ||
	    record_move(&a, actors, r, &dir.id, "evil", 4, &st, &r) < 0 ||
	    delta_make(&a, actors, r, &nothing, true, &d) < 0 ||
	    replica_apply(p.r, &a, d, &nothing, &result, &missing, &n, NULL) < 0)
		tap_bail("apply");
	ok(result == APPLY_MERGED && !find(&p, "evil", &at) && listed(&p) == before, "%s", what);
	replica_remove(p.r, &id, 0);
}

static void from_a_liar(void)
{
	struct attr elsewhere, sub, link;
	clear();
	struct id id = begin("a.json", "{}\n");
	if (rep_mkdir(p.r, &dir.id, "sub", &sub) < 0 ||
	    rep_create(p.r, &NODE_ROOT, "x.json", "{}\n", &elsewhere) < 0)
		tap_bail("make");
	link = linked(&p, &id, "b.json");
	hostile(&sub.id, "a directory");
	hostile(&NODE_ROOT, "the root");
	hostile(&elsewhere.id, "of another collection");
	hostile(&link.entry, "link to a link");
	hostile(&(struct id){ .b = { 0x66, 's', 'e' } }, "se: itself");
}

int main(void)
{
	tap_plan(79);
	meeting_open();
	alone();
	replaced();
	deleted_and_back();
	apart();
	edited();
	kept();
	waiting();
	nobody_deleted();
	last_place();
	changed();
	chained();
	from_a_liar();
	meeting_close("the stores are sound");
	return tap_done();
}
