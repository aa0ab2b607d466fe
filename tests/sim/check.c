/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must hold: between two devices at any time, at the end everywhere, and of what devices
 * believe about each other when one of them crashes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/delta.h"
#include "engine/replica-impl.h"
#include "engine/sha256.h"
#include "tests/held.h"
#include "tests/sim/world.h"

/* ---- records straight from the store ---- */

int check_record(struct device *d, struct arena *a, const struct id *id, const struct record **ret)
{
	struct buf v = { 0 };
	int r = store_get(d->store, NULL, STORE_DOCS, id->b, ID_SIZE, &v);
	if (r == 0) {
		const char *data = arena_dup(a, v.data, v.len);
		struct stored stored;
		r = data ? stored_decode(d->replica, NULL, a, data, v.len, &stored, NULL)
			 : -ENOMEM;
		if (r == 0)
			*ret = stored.record;
	}
	buf_done(&v);
	return r;
}

void check_records(struct world *w, struct device *d, record_fn f, void *userdata)
{
	struct store_iter *it;
	if (store_iter_new(d->store, NULL, STORE_DOCS, NULL, 0, NULL, 0, &it) < 0)
		world_fail(w, "out of memory");
	struct arena a = { 0 };
	for (; store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		struct stored stored;
		struct err e = { 0 };
		store_iter_key(it, &key_len);
		const uint8_t *v = store_iter_value(it, &len);
		arena_reset(&a);
		if (key_len != ID_SIZE ||
		    stored_decode(d->replica, NULL, &a, v, len, &stored, &e) < 0) {
			store_iter_free(it);
			arena_done(&a);
			world_fail(w, "device %u has a bad record: %s", d->no, e.message);
		}
		f(w, d, stored.record, userdata);
	}
	store_iter_free(it);
	arena_done(&a);
}

/* ---- the join of everything ---- */

struct joined {
	struct id id;
	const struct record *record;
};

static struct {
	struct arena arena;
	struct actors *actors;
	struct joined *list;
	uint32_t n, cap;
} all;

void check_join_free(void)
{
	arena_done(&all.arena);
	actors_free(all.actors);
	free(all.list);
	memset(&all, 0, sizeof(all));
}

/* The record with the actors of `all`, by way of a link's encoding. */
static const struct record *translate(struct world *w, struct device *d, const struct record *r)
{
	struct actors *mine = replica_actors(d->replica);
	struct actor_codec *out, *in;
	struct delta *there, *here = NULL;
	struct arena scratch = { 0 };
	struct buf b = { 0 };
	static const struct vv none;
	if (actor_codec_new(mine, &out) < 0 || actor_codec_new(all.actors, &in) < 0 ||
	    delta_make(&scratch, mine, r, &none, true, &there) < 0 || !there)
		world_fail(w, "no delta of a record");
	delta_encode(there, mine, out, &b);
	char *data = arena_dup(&all.arena, b.data, b.len);
	struct cursor c = cursor_make(data, b.len);
	struct err e = { 0 };
	int code = delta_decode(&all.arena, all.actors, in, &c, &here, &e);
	const struct record *ret = NULL;
	if (code == 0 && cursor_end(&c))
		code = delta_join(&all.arena, all.actors, NULL, here, &ret);
	actor_codec_free(out);
	actor_codec_free(in);
	arena_done(&scratch);
	buf_done(&b);
	if (code < 0 || !ret)
		world_fail(w, "a record does not survive its encoding: %s", e.message);
	return ret;
}

static struct joined *joined_find(const struct id *id)
{
	for (uint32_t i = 0; i < all.n; i++)
		if (id_equal(&all.list[i].id, id))
			return &all.list[i];
	return NULL;
}

static void join_one(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	(void)userdata;
	const struct record *x = translate(w, d, r), *both;
	struct joined *j = joined_find(&r->id);
	if (j) {
		int code = record_join(&all.arena, all.actors, j->record, x, &both);
		if (code < 0)
			world_fail(w, "two records of a node do not join: %s", strerror(-code));
		j->record = both;
		return;
	}
	if (all.n == all.cap) {
		all.cap = all.cap ? 2 * all.cap : 64;
		all.list = reallocarray(all.list, all.cap, sizeof(*all.list));
		if (!all.list)
			abort();
	}
	all.list[all.n++] = (struct joined){ r->id, x };
}

void check_join(struct world *w)
{
	check_join_free();
	if (actors_new(&all.actors) < 0)
		world_fail(w, "out of memory");
	for (unsigned i = 0; i < w->n_devices; i++)
		check_records(w, &w->device[i], join_one, NULL);
}

static void compare_joined(struct world *w, struct device *d, const struct record *r,
			   void *userdata)
{
	uint32_t *n = userdata;
	char hex[ID_HEX];
	struct joined *j = joined_find(&r->id);
	if (!j)
		world_fail(w, "device %u has node %.8s, which nobody had", d->no,
			   id_hex(&r->id, hex));
	struct id a, b;
	record_fingerprint(r, replica_actors(d->replica), &a);
	record_fingerprint(j->record, all.actors, &b);
	if (!id_equal(&a, &b)) {
		struct id va, vb;
		record_version(r, replica_actors(d->replica), &va);
		record_version(j->record, all.actors, &vb);
		world_fail(w, "device %u: node %.8s is not what the join of all records gives (%s)",
			   d->no, id_hex(&r->id, hex),
			   id_equal(&va, &vb) ? "the contexts agree" : "the contexts differ, too");
	}
	++*n;
}

/* ---- trees ---- */

struct listing {
	struct world *w;
	struct device *d;
	struct buf *b;
	struct id dirs[256];
	char path[256][256];
	unsigned n;
	const char *parent;
};

static void content_hash(struct world *w, struct device *d, const struct id *id, struct id *ret)
{
	struct version *v;
	if (replica_read(d->replica, id, &v) < 0)
		world_fail(w, "device %u cannot read a file that it lists", d->no);
	size_t len = (size_t)version_size(v);
	uint8_t *p = malloc(len + 1);
	if (!p || (version_data(v) ? memcpy(p, version_data(v), len) == NULL
				   : version_pread(v, p, len, 0) != (ssize_t)len))
		world_fail(w, "device %u cannot read all of a file", d->no);
	struct sha256_part part = { p, len };
	sha256_id(&part, 1, ret);
	free(p);
	version_unref(v);
}

static int list_one(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct listing *l = userdata;
	char id[ID_HEX], version[ID_HEX], content[ID_HEX] = "-";
	struct id hash;
	if (attr->kind == NODE_FILE) {
		content_hash(l->w, l->d, &attr->id, &hash);
		id_hex(&hash, content);
		l->w->conflicts += attr->conflict;
	} else if (attr->kind == NODE_DIR && l->n < 256) {
		l->dirs[l->n] = attr->id;
		snprintf(l->path[l->n++], sizeof(l->path[0]), "%s/%.*s", l->parent, (int)len, name);
	}
	/* A directory's time is cut off where somebody's clock is far ahead. */
	/* That of lost+found is when the device itself put something there. */
	bool own = attr->kind == NODE_DIR && (l->w->wild_clocks || id_equal(&attr->id, &NODE_LOST));
	int64_t mtime = own ? 0 : attr->mtime_ns;
	buf_putf(l->b, "%s/%.*s %d.%d %04o %lld %llu c%d %.10s v%.10s %.10s\n", l->parent, (int)len,
		 name, (int)attr->kind, (int)attr->form, attr->mode, (long long)mtime,
		 (unsigned long long)attr->size, attr->conflict, id_hex(&attr->id, id),
		 id_hex(&attr->version, version), content);
	struct buf x = { 0 }, v = { 0 };
	if (replica_list_xattr(l->d->replica, &attr->id, &x) < 0)
		world_fail(l->w, "device %u cannot list attributes", l->d->no);
	for (size_t at = 0; at < x.len; at += strlen((char *)x.data + at) + 1) {
		const char *xattr = (char *)x.data + at;
		if (replica_get_xattr(l->d->replica, &attr->id, xattr, &v) < 0)
			world_fail(l->w, "device %u cannot read attribute %s", l->d->no, xattr);
		buf_putf(l->b, "  %s:", xattr);
		for (size_t i = 0; i < v.len; i++)
			buf_putf(l->b, " %02x", v.data[i]);
		buf_puts(l->b, "\n");
	}
	buf_done(&v);
	buf_done(&x);
	if (attr->kind == NODE_LINK && replica_readlink(l->d->replica, &attr->id, &x) == 0)
		buf_put(l->b, x.data, x.len);
	buf_done(&x);
	return 0;
}

static void tree_text(struct world *w, struct device *d, struct buf *b)
{
	static struct listing l; /* large */
	l.w = w;
	l.d = d;
	l.b = b;
	l.n = 1;
	l.dirs[0] = NODE_ROOT;
	l.path[0][0] = 0;
	for (unsigned i = 0; i < l.n; i++) {
		static char parent[256];
		snprintf(parent, sizeof(parent), "%s", l.path[i]);
		l.parent = parent;
		replica_list(d->replica, &l.dirs[i], list_one, &l);
	}
}

static void verify_problem(const char *problem, void *userdata)
{
	struct buf *b = userdata;
	if (b->len == 0)
		buf_puts(b, problem);
}

static void check_verify(struct world *w, struct device *d)
{
	struct verify_report report;
	struct err e = { 0 };
	struct buf first = { 0 };
	int r = replica_verify(d->replica, false, verify_problem, &first, &report, &e);
	if (r < 0 || report.errors) {
		char text[300];
		snprintf(text, sizeof(text), "%.*s", (int)first.len,
			 first.data ? (const char *)first.data : "");
		buf_done(&first);
		world_fail(w, "device %u does not verify: %llu errors, %s %s", d->no,
			   (unsigned long long)(r < 0 ? 0 : report.errors), r < 0 ? e.message : "",
			   text);
	}
	buf_done(&first);
}

void check_end(struct world *w)
{
	struct buf first = { 0 };
	tree_text(w, &w->device[0], &first);
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		struct buf b = { 0 };
		tree_text(w, d, &b);
		bool same = b.len == first.len && memcmp(b.data, first.data, b.len) == 0;
		if (!same && w->trace)
			printf("--- device 0\n%s--- device %u\n%s", buf_cstr(&first), i,
			       buf_cstr(&b));
		buf_done(&b);
		if (!same)
			world_fail(w, "devices 0 and %u show different trees", i);
		uint32_t n = 0;
		check_records(w, d, compare_joined, &n);
		if (n != all.n)
			world_fail(w, "device %u has %u nodes of %u", i, n, all.n);
		check_verify(w, d);
		for (unsigned k = 0; k < w->n_net; k++)
			for (int side = 0; side < 2; side++) {
				unsigned a = side ? w->net[k].b : w->net[k].a;
				unsigned other = side ? w->net[k].a : w->net[k].b;
				if (a == i &&
				    !held_by(d->replica, &w->device[other].id, NULL))
					world_fail(
						w,
						"device %u does not know that %u holds everything",
						i, other);
			}
	}
	buf_done(&first);
}

/* ---- two devices at any time ---- */

struct pair {
	struct device *other;
};

static void compare_pair(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct pair *p = userdata;
	struct arena a = { 0 };
	const struct record *x;
	if (check_record(p->other, &a, &r->id, &x) == 0) {
		struct id v1, v2, f1, f2;
		char hex[ID_HEX];
		record_version(r, replica_actors(d->replica), &v1);
		record_version(x, replica_actors(p->other->replica), &v2);
		record_fingerprint(r, replica_actors(d->replica), &f1);
		record_fingerprint(x, replica_actors(p->other->replica), &f2);
		if (id_equal(&v1, &v2) != id_equal(&f1, &f2)) {
			arena_done(&a);
			world_fail(w, "devices %u and %u: node %.8s has %s contexts and %s states",
				   d->no, p->other->no, id_hex(&r->id, hex),
				   id_equal(&v1, &v2) ? "equal" : "different",
				   id_equal(&f1, &f2) ? "equal" : "different");
		}
	}
	arena_done(&a);
}

void check_pair(struct world *w)
{
	struct device *x = &w->device[prng_below(&w->r, w->n_devices)];
	struct device *y = &w->device[prng_below(&w->r, w->n_devices)];
	struct pair p = { y };
	if (x == y || !x->replica || !y->replica)
		return;
	if (w->rolled && !w->found) /* two wrote under one name */
		return;
	check_records(w, x, compare_pair, &p);
	if (prng_chance(&w->r, 10))
		check_verify(w, x);
}

/* ---- what others believe ---- */

struct belief {
	unsigned about, of;
	struct id node;
	struct actor_id actor[DEVICES_MAX * 2];
	uint64_t seq[DEVICES_MAX * 2];
	uint32_t n;
};

#define BELIEFS_MAX 256
static struct belief beliefs[BELIEFS_MAX];
static unsigned n_beliefs;

struct believer {
	struct device *about;
};

static void believe(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct believer *b = userdata;
	(void)w;
	if (n_beliefs == BELIEFS_MAX || r->ctx.n > DEVICES_MAX * 2 ||
	    !held_by(d->replica, &b->about->id, &r->id))
		return;
	struct belief *x = &beliefs[n_beliefs++];
	*x = (struct belief){ .about = b->about->no, .of = d->no, .node = r->id, .n = r->ctx.n };
	for (uint32_t i = 0; i < r->ctx.n; i++) {
		x->actor[i] = *actors_get(replica_actors(d->replica), r->ctx.item[i].actor);
		x->seq[i] = r->ctx.item[i].seq;
	}
}

void check_forget(const struct device *d)
{
	for (unsigned i = 0; i < n_beliefs;)
		if (beliefs[i].about == d->no)
			beliefs[i] = beliefs[--n_beliefs];
		else
			i++;
}

void check_holds(struct world *w, struct device *d)
{
	struct believer b = { d };
	check_forget(d);
	if (d->twin || d->doubtful) /* others cannot tell the two, or have not met it since */
		return;
	if (d->gave_up) /* and others had it then; those that it has not met since do not know */
		return;
	for (unsigned i = 0; i < w->n_devices; i++)
		if (i != d->no && w->device[i].replica)
			check_records(w, &w->device[i], believe, &b);
}

bool check_anywhere(struct world *w, const struct id *node, const struct actor_id *actor, uint64_t seq)
{
	bool held = false;
	for (unsigned i = 0; i < w->n_devices && !held; i++) {
		struct device *d = &w->device[i];
		struct arena a = { 0 };
		const struct record *r;
		uint32_t no = actors_find(replica_actors(d->replica), actor);
		held = no != ACTOR_NONE && check_record(d, &a, node, &r) == 0 && vv_get(&r->ctx, no) >= seq;
		arena_done(&a);
	}
	return held;
}

void check_held(struct world *w, struct device *d)
{
	if (w->now == 0)
		n_beliefs = 0;
	for (unsigned i = 0; i < n_beliefs; i++) {
		const struct belief *x = &beliefs[i];
		if (x->about != d->no)
			continue;
		struct arena a = { 0 };
		const struct record *r = NULL;
		int code = check_record(d, &a, &x->node, &r);
		bool held = code == 0;
		for (uint32_t k = 0; held && k < x->n; k++) {
			uint32_t no = actors_find(replica_actors(d->replica), &x->actor[k]);
			held = no != ACTOR_NONE && vv_get(&r->ctx, no) >= x->seq[k];
		}
		arena_done(&a);
		char hex[ID_HEX];
		if (!held)
			world_fail(w,
				   "device %u believed that %u holds node %.8s, which a crash took",
				   x->of, d->no, id_hex(&x->node, hex));
	}
}
