/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random histories of one document on two to four devices: saves on old and new bases, renames,
 * deletions, modes, other contents, deltas that are lost, late or doubled. Then:
 *
 *  - join is idempotent, commutative and associative, on every state that occurred;
 *  - a delta does what the whole state does;
 *  - equal contexts have equal states and equal bytes, different ones do not;
 *  - a save on the head gives back the very bytes; the stored form gives back the record;
 *  - what was written and that nobody who saw it overwrote or removed is there, and
 *    what somebody removed who saw it is not.
 *
 *     test_merge [SEED [ROUNDS]]     seeds SEED, SEED + 1, …; tests/unit/merge-seeds.txt runs first
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonptr.h"
#include "engine/jsonstyle.h"
#include "engine/slot.h"
#include "engine/value.h"
#include "tests/device.h"
#include "tests/prng.h"

#define DEVICES_MAX 4
#define SNAPSHOTS 10
#define PINS 4

/* --- the model: what was written and what was taken away --- */

struct event {
	char *pointer;
	bool write;     /* a leaf was written; else all here and below was replaced or removed */
	bool removal;   /* removed, not replaced */
	bool exact;     /* replaced here, not below */
	struct dot dot; /* in the judge's numbers */
	struct vv base; /* of a taking: what its writer had read; malloc */
};

struct pin {
	char *text;
	struct vv ctx; /* arena of the device */
};

struct member {
	struct device d;
	struct pin pin[PINS];
	unsigned n_pins;
	struct vv old_have; /* an earlier state of have; malloc */
};

struct world {
	struct prng r;
	struct member m[DEVICES_MAX];
	unsigned n;
	struct device judge; /* numbers of its own, no state */
	struct event *event;
	size_t n_events, cap;
	const struct record *snapshot[SNAPSHOTS]; /* in the judge's numbers */
	unsigned n_snapshots;
	const char *broken;
};

static void broken(struct world *w, const char *what)
{
	if (!w->broken)
		w->broken = what;
}

static uint32_t judge_no(struct world *w, struct device *d, uint32_t actor)
{
	uint32_t no;
	must(actors_intern(w->judge.actors, actors_get(d->actors, actor), &no));
	return no;
}

static struct event *event_add(struct world *w, const char *pointer)
{
	if (w->n_events == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->event = reallocarray(w->event, w->cap, sizeof(*w->event));
		if (!w->event)
			tap_bail("out of memory");
	}
	struct event *e = &w->event[w->n_events++];
	*e = (struct event){ .pointer = arena_dup(&w->judge.arena, pointer, strlen(pointer)) };
	return e;
}

/* The slot at a pointer below the content. */
static const struct slot *slot_at(const struct record *r, const char *pointer)
{
	const struct slot *s = r->top ? slot_find(r->top, TOP_CONTENT, 1) : NULL;
	size_t len = strlen(pointer);
	_cleanup_(buf_done) struct buf token = { 0 };
	while (s && len > 0) {
		must(json_pointer_next(&pointer, &len, &token, NULL));
		s = slot_find(s, (const char *)token.data, token.len);
	}
	return s;
}

static bool holds(const struct record *r, const char *pointer, struct dot dot)
{
	const struct slot *s = slot_at(r, pointer);
	for (uint32_t i = 0; s && i < s->val.n; i++)
		if (s->val.entry[i].dot.actor == dot.actor && s->val.entry[i].dot.seq == dot.seq)
			return true;
	return false;
}

struct saved {
	struct world *w;
	struct device *d;
	struct dot dot; /* in the device's numbers */
	struct vv base; /* in the judge's; borrowed */
};

static void note_writes(struct saved *s, const struct json *j, struct buf *pointer)
{
	size_t len = pointer->len;
	/* What was true at the head already was not written. */
	if (holds(s->d->rec, buf_cstr(pointer), s->dot)) {
		struct event *e = event_add(s->w, buf_cstr(pointer));
		e->write = true;
		e->dot = (struct dot){ judge_no(s->w, s->d, s->dot.actor), s->dot.seq };
	}
	if (j->type != JSON_OBJECT)
		return;
	for (const struct json *c = j->first; c; c = c->next) {
		json_pointer_append(pointer, c->key, c->key_len);
		note_writes(s, c, pointer);
		pointer->len = len;
	}
}

static void note_taking(struct saved *s, struct buf *pointer, bool removal)
{
	struct event *e = event_add(s->w, buf_cstr(pointer));
	e->removal = removal;
	e->dot = (struct dot){ judge_no(s->w, s->d, s->dot.actor), s->dot.seq };
	must(vv_copy(&s->base, &e->base));
}

/* A plain difference, written without jdiff's finesse. */
static void note_save(struct saved *s, const struct json *old, const struct json *new,
		      struct buf *pointer)
{
	size_t len = pointer->len;
	if (!old || old->type != JSON_OBJECT || new->type != JSON_OBJECT) {
		if (old && json_equal(old, new))
			return;
		if (old)
			note_taking(s, pointer, false);
		note_writes(s, new, pointer);
		return;
	}
	/* The marker of the object may have been written again, over what competed with it. */
	if (holds(s->d->rec, buf_cstr(pointer), s->dot)) {
		struct event *e = event_add(s->w, buf_cstr(pointer));
		e->write = true;
		e->dot = (struct dot){ judge_no(s->w, s->d, s->dot.actor), s->dot.seq };
		note_taking(s, pointer, false);
		s->w->event[s->w->n_events - 1].exact = true;
	}
	for (const struct json *c = new->first; c; c = c->next) {
		json_pointer_append(pointer, c->key, c->key_len);
		note_save(s, json_get(old, c->key, c->key_len), c, pointer);
		pointer->len = len;
	}
	for (const struct json *c = old->first; c; c = c->next) {
		if (json_get(new, c->key, c->key_len))
			continue;
		json_pointer_append(pointer, c->key, c->key_len);
		note_taking(s, pointer, true);
		pointer->len = len;
	}
}

/* Is b at a or below it? */
static bool below(const char *a, const char *b)
{
	size_t n = strlen(a);
	return strncmp(a, b, n) == 0 && (b[n] == 0 || b[n] == '/');
}

/* An object's marker is written again by those who change something inside, and that counts as
 * overwriting it; so only leaves are asked for. */
static void judge_events(struct world *w, const struct record *end)
{
	for (size_t i = 0; i < w->n_events; i++) {
		const struct event *e = &w->event[i];
		bool taken = false, removed = false;
		if (!e->write)
			continue;
		for (size_t k = 0; k < w->n_events; k++) {
			const struct event *f = &w->event[k];
			if (f->write || !below(f->pointer, e->pointer) ||
			    (f->exact && strcmp(f->pointer, e->pointer) != 0))
				continue;
			/* A batch's own writes are no loss, they replaced one another. */
			bool saw = vv_has(&f->base, e->dot);
			taken = taken || saw;
			removed = removed || (saw && f->removal);
		}
		const struct slot *s = slot_at(end, e->pointer);
		bool marker = false, there = holds(end, e->pointer, e->dot);
		for (size_t k = 0; k < w->n_events; k++)
			marker = marker ||
				 (w->event[k].write && k != i &&
				  strcmp(w->event[k].pointer, e->pointer) == 0 && s && s->n > 0);
		if (!taken && !there && !marker)
			broken(w, "something written is gone that nobody took away");
		if (removed && there)
			broken(w, "something that was removed is there");
	}
}

/* --- random texts --- */

static const char *const keys[] = { "a", "b", "c", "dd", "e/e", "f~", "", "\xc3\xa9" };

static void random_value(struct prng *r, struct buf *b, unsigned depth);

static void random_object(struct prng *r, struct buf *b, unsigned depth)
{
	bool first = true;
	buf_u8(b, '{');
	unsigned start = (unsigned)prng_below(r, 8), n = (unsigned)prng_below(r, 4);
	for (unsigned i = 0; i < n; i++) {
		if (!first)
			buf_puts(b, prng_chance(r, 50) ? "," : ", ");
		first = false;
		buf_putf(b, "\"%s\":%s", keys[(start + i * 3) % 8], prng_chance(r, 50) ? " " : "");
		random_value(r, b, depth + 1);
	}
	buf_u8(b, '}');
}

static void random_value(struct prng *r, struct buf *b, unsigned depth)
{
	static const char *const scalar[] = {
		"0",     "1",     "1.0",         "2",  "-3e2",   "true",  "false",           "null",
		"\"s\"", "\"t\"", "\"\\u00e9\"", "[]", "[1, 2]", "[1,2]", "[{\"a\":[]},{}]", "{}"
	};
	if (depth < 3 && prng_chance(r, depth == 0 ? 90 : 25))
		random_object(r, b, depth);
	else
		buf_puts(b, scalar[prng_below(r, 16)]);
}

static struct json *parse_random(struct device *d, struct prng *r, unsigned depth)
{
	struct buf b = { 0 };
	random_value(r, &b, depth);
	struct json *j = device_parse(d, arena_dup(&d->arena, b.data, b.len), b.len);
	buf_done(&b);
	return j;
}

/* Takes the i-th child out of an object. */
static struct json *take(struct json *o, uint64_t i)
{
	struct json **p = &o->first;
	while (i-- > 0)
		p = &(*p)->next;
	struct json *c = *p;
	*p = c->next;
	o->count--;
	return c;
}

static void put(struct json *o, uint64_t i, struct json *c)
{
	struct json **p = &o->first;
	while (i-- > 0)
		p = &(*p)->next;
	c->next = *p;
	c->parent = o;
	*p = c;
	o->count++;
}

static bool has_key(const struct json *o, const char *key, size_t len)
{
	for (const struct json *c = o->first; c; c = c->next)
		if (c->key_len == len && memcmp(c->key, key, len) == 0)
			return true;
	return false;
}

/* Changes one thing in or below an object. */
static void mutate(struct device *d, struct prng *r, struct json *o)
{
	o->index = NULL;
	if (o->count > 0 && prng_chance(r, 40)) {
		struct json *c = o->first;
		for (uint64_t i = prng_below(r, o->count); i > 0; i--)
			c = c->next;
		if (c->type == JSON_OBJECT) {
			mutate(d, r, c);
			return;
		}
	}
	uint64_t what = prng_below(r, 10);
	if (o->count > 0 && what < 2) {
		take(o, prng_below(r, o->count));
	} else if (o->count > 0 && what < 6) {
		uint64_t at = prng_below(r, o->count);
		struct json *c = take(o, at), *v = parse_random(d, r, 1);
		v->key = c->key;
		v->key_len = c->key_len;
		put(o, at, v);
	} else if (o->count > 1 && what < 7) {
		struct json *c = take(o, prng_below(r, o->count));
		put(o, prng_below(r, o->count + 1), c);
	} else {
		const char *key = keys[prng_below(r, 8)];
		if (has_key(o, key, strlen(key)))
			return;
		struct json *v = parse_random(d, r, 1);
		v->key = key;
		v->key_len = strlen(key);
		put(o, prng_below(r, o->count + 1), v);
	}
}

/* The next text of a program that read `base`, in the same style or another one. */
static void next_text(struct device *d, struct prng *r, const char *base, struct buf *b)
{
	struct json *j = base ? device_parse(d, base, strlen(base)) : NULL;
	struct json_style style;
	json_style_default(&style);
	if (base && prng_chance(r, 80))
		json_style_detect(j, base, strlen(base), &style);
	if (!base || prng_chance(r, 3))
		j = parse_random(d, r, 0);
	if (base && j->type == JSON_OBJECT)
		for (uint64_t n = prng_below(r, 3) + 1; n > 0; n--)
			mutate(d, r, j);
	if (prng_chance(r, 10))
		style.indent = (uint8_t)prng_below(r, 5);
	json_style_write(j, &style, b);
	if (prng_chance(r, 8))
		buf_puts(b, "  \n\t");
}

/* --- steps --- */

static void pin(struct member *m)
{
	char *text = device_text(&m->d);
	struct pin *p = &m->pin[m->n_pins < PINS ? m->n_pins : PINS - 1];
	if (!text)
		return;
	if (m->n_pins == PINS)
		memmove(m->pin, m->pin + 1, (PINS - 1) * sizeof(*p));
	else
		m->n_pins++;
	p->text = text;
	must(vv_arena(&m->d.arena, &m->d.rec->ctx, &p->ctx));
}

static void save(struct world *w, struct member *m)
{
	struct device *d = &m->d;
	struct prng *r = &w->r;
	struct pin none = { 0 }, *p = &none;
	_cleanup_(buf_done) struct buf b = { 0 }, pointer = { 0 };
	struct pin head = { 0 };
	if (prng_chance(r, 60) && (head.text = device_text(d))) {
		head.ctx = d->rec->ctx;
		p = &head;
	} else if (m->n_pins > 0) {
		p = &m->pin[prng_below(r, m->n_pins)];
	} else if (d->rec && !prng_chance(r, 20)) {
		return;
	}
	next_text(d, r, p->text, &b);
	bool on_head = d->rec ? vv_equal(&p->ctx, &d->rec->ctx) : true;
	struct stamp st =
		device_save_len(d, p->text, p->text ? strlen(p->text) : 0, p->text ? &p->ctx : NULL,
				(const char *)b.data, b.len, NULL, NULL);
	if (on_head) {
		char *text = device_text(d);
		if (!text || strlen(text) != b.len || memcmp(text, b.data, b.len) != 0) {
			tap_diag("wrote: %s\nread: %s", buf_cstr(&b), text ? text : "nothing");
			broken(w, "a save on the head does not read as written");
		}
	}
	_cleanup_(vv_done) struct vv base = device_translate(&p->ctx, d->actors, w->judge.actors);
	struct saved s = { w, d, st.dot, base };
	note_save(&s, p->text ? device_parse(d, p->text, strlen(p->text)) : NULL,
		  device_parse(d, (const char *)b.data, b.len), &pointer);
	/* The dots of the device's own text stay valid only as long as b does. */
	if (prng_chance(r, 50))
		pin(m);
}

static void other_change(struct world *w, struct member *m)
{
	struct device *d = &m->d;
	struct prng *r = &w->r;
	uint8_t data[VALUE_INT_MAX];
	if (!d->rec)
		return;
	struct stamp st = device_stamp(d);
	struct value v = value_of_int((int64_t)prng_below(r, 4), data);
	struct id dir = { { 0xd1, (uint8_t)prng_below(r, 6) } };
	static const char *const name[] = { "n1", "n2", "n3" };
	switch (prng_below(r, 8)) {
	case 0:
		must(record_set(&d->arena, d->actors, d->rec, TOP_MODE, NULL, 0, &v, NULL, &st,
				&d->rec));
		break;
	case 1:
		must(record_set(&d->arena, d->actors, d->rec, TOP_MTIME, NULL, 0, &v, NULL, &st,
				&d->rec));
		break;
	case 2:
		must(record_set(&d->arena, d->actors, d->rec, TOP_XATTR, name[prng_below(r, 3)], 2,
				prng_chance(r, 60) ? &v : NULL, NULL, &st, &d->rec));
		break;
	case 3:
		must(record_move(&d->arena, d->actors, d->rec, &NODE_TRASH, "", 0, &st, &d->rec));
		break;
	case 4: {
		_cleanup_(buf_done) struct buf pointer = { 0 };
		_cleanup_(vv_done) struct vv base =
			device_translate(&d->rec->ctx, d->actors, w->judge.actors);
		struct saved s = { w, d, st.dot, base };
		if (!prng_chance(r, 30))
			break;
		v.kind = VALUE_BLOB;
		must(record_set_content(&d->arena, d->actors, d->rec, &v, NULL, &st, &d->rec));
		note_taking(&s, &pointer, false);
		struct event *e = event_add(w, "");
		e->write = holds(d->rec, "", st.dot);
		e->dot = (struct dot){ judge_no(w, d, d->me), st.dot.seq };
		break;
	}
	default:
		must(record_move(&d->arena, d->actors, d->rec, &dir, name[prng_below(r, 3)], 2, &st,
				 &d->rec));
	}
}

static bool same_state(struct device *d, const struct record *x, const struct record *y)
{
	struct id p, q;
	record_fingerprint(x, d->actors, &p);
	record_fingerprint(y, d->actors, &q);
	return id_equal(&p, &q);
}

static const struct record *join(struct device *d, const struct record *x, const struct record *y)
{
	const struct record *r;
	must(record_join(&d->arena, d->actors, x, y, &r));
	return r;
}

/* A whole record in another device's numbers. */
static const struct record *carry(struct device *from, struct device *to)
{
	struct vv none = { 0 };
	struct delta *d = device_delta(from, to, &none, true);
	const struct record *r;
	must(delta_join(&to->arena, to->actors, NULL, d, &r));
	return r;
}

static void transfer(struct world *w, struct member *from, struct member *to)
{
	struct device *s = &from->d, *t = &to->d;
	if (!s->rec)
		return;
	/* The sender may know less of the receiver than is true. */
	const struct vv *told = prng_chance(&w->r, 30) ? &to->old_have : &t->have;
	_cleanup_(vv_done) struct vv known = device_translate(told, t->actors, s->actors);
	struct delta *d = device_delta(s, t, &known, prng_chance(&w->r, 5));
	if (!d)
		return;
	if (!delta_fits(d, t->rec ? &t->rec->ctx : NULL, &t->have)) {
		if (d->complete || t->rec)
			broken(w, "a delta made for its receiver does not fit");
		d = device_delta(s, t, &known, true);
	}
	const struct record *whole = carry(s, t), *before = t->rec, *again;
	must(delta_join(&t->arena, t->actors, t->rec, d, &t->rec));
	if (!same_state(t, t->rec, before ? join(t, before, whole) : whole))
		broken(w, "a delta does not do what the whole state does");
	must(delta_join(&t->arena, t->actors, t->rec, d, &again));
	if (again != t->rec)
		broken(w, "a delta twice is not the same as once");
	vv_done(&to->old_have);
	must(vv_copy(&t->have, &to->old_have));
	_cleanup_(vv_done) struct vv got = device_translate(&s->have, s->actors, t->actors);
	must(vv_join(&t->have, &got));
}

static void store(struct world *w, struct device *d)
{
	_cleanup_(buf_done) struct buf b = { 0 }, c = { 0 };
	struct record *r;
	struct err e = { 0 };
	if (!d->rec)
		return;
	record_encode(d->rec, d->actors, &b);
	if (record_decode(&d->arena, d->actors, arena_dup(&d->arena, b.data, b.len), b.len, &r,
			  &e) < 0) {
		tap_diag("%s", e.message);
		broken(w, "the stored form cannot be read");
		return;
	}
	record_encode(r, d->actors, &c);
	if (b.len != c.len || memcmp(b.data, c.data, b.len) != 0 || !same_state(d, d->rec, r))
		broken(w, "the stored form is not the record");
	d->rec = r;
}

static void snapshot(struct world *w, struct member *m)
{
	if (m->d.rec && w->n_snapshots < SNAPSHOTS)
		w->snapshot[w->n_snapshots++] = carry(&m->d, &w->judge);
}

/* --- oracles --- */

static void judge_laws(struct world *w)
{
	struct device *j = &w->judge;
	for (unsigned i = 0; i < w->n_snapshots; i++) {
		for (unsigned k = 0; k < w->n_snapshots; k++) {
			const struct record *x = w->snapshot[i], *y = w->snapshot[k];
			if (vv_equal(&x->ctx, &y->ctx) != same_state(j, x, y))
				broken(w, "equal contexts are not equal states");
		}
	}
	if (w->n_snapshots == 0)
		return;
	for (unsigned i = 0; i < 3; i++) {
		const struct record *x = w->snapshot[prng_below(&w->r, w->n_snapshots)];
		const struct record *y = w->snapshot[prng_below(&w->r, w->n_snapshots)];
		const struct record *z = w->snapshot[prng_below(&w->r, w->n_snapshots)];
		if (join(j, x, x) != x)
			broken(w, "join is not idempotent");
		const struct record *xy = join(j, x, y);
		if (!same_state(j, xy, join(j, y, x)))
			broken(w, "join is not commutative");
		if (!same_state(j, join(j, xy, z), join(j, x, join(j, y, z))))
			broken(w, "join is not associative");
	}
}

static void judge_end(struct world *w)
{
	for (unsigned round = 0; round < w->n; round++)
		for (unsigned i = 0; i < w->n; i++)
			for (unsigned k = 0; k < w->n; k++)
				if (i != k)
					transfer(w, &w->m[i], &w->m[k]);
	struct id first;
	char *text = NULL;
	for (unsigned i = 0; i < w->n; i++) {
		struct device *d = &w->m[i].d;
		struct id print;
		if (!d->rec)
			return;
		record_fingerprint(d->rec, d->actors, &print);
		char *t = device_text(d);
		if (i == 0) {
			first = print;
			text = t;
			continue;
		}
		if (!id_equal(&first, &print))
			broken(w, "devices differ when all was sent");
		if (!t != !text || (t && strcmp(t, text) != 0))
			broken(w, "devices show different bytes");
		if (record_mtime_ns(d->rec, d->actors) !=
		    record_mtime_ns(w->m[0].d.rec, w->m[0].d.actors))
			broken(w, "devices show different times");
	}
	judge_events(w, carry(&w->m[0].d, &w->judge));
}

static const char *history(uint64_t seed)
{
	struct world w = { .r = { seed } };
	w.n = 2 + (unsigned)prng_below(&w.r, DEVICES_MAX - 1);
	for (unsigned i = 0; i < w.n; i++) {
		device_init(&w.m[i].d, i);
		/* One of them may have a clock far off. */
		if (prng_chance(&w.r, 10))
			w.m[i].d.wall += UINT64_C(1) << 45;
	}
	/* Equal stamps: then the identifiers must decide. */
	if (prng_chance(&w.r, 40))
		for (unsigned i = 0; i < w.n; i++)
			w.m[i].d.wall = w.m[0].d.wall;
	device_init(&w.judge, 99);
	uint64_t steps = 4 + prng_below(&w.r, 14);
	for (uint64_t i = 0; i < steps && !w.broken; i++) {
		struct member *m = &w.m[prng_below(&w.r, w.n)], *o = &w.m[prng_below(&w.r, w.n)];
		/* Batches elsewhere in the database. */
		if (prng_chance(&w.r, 20))
			device_stamp(&m->d);
		uint64_t what = prng_below(&w.r, 10);
		if (what < 5)
			save(&w, m);
		else if (what < 7)
			other_change(&w, m);
		else if (m != o)
			transfer(&w, m, o);
		if (prng_chance(&w.r, 30))
			store(&w, &m->d);
		if (prng_chance(&w.r, 40))
			snapshot(&w, m);
	}
	judge_end(&w);
	judge_laws(&w);
	for (size_t i = 0; i < w.n_events; i++)
		vv_done(&w.event[i].base);
	free(w.event);
	for (unsigned i = 0; i < w.n; i++) {
		vv_done(&w.m[i].old_have);
		device_done(&w.m[i].d);
	}
	device_done(&w.judge);
	return w.broken;
}

/* A document whose keys come and go by the hundred, so that removal marks are dropped, with a
 * device that follows and one that lags behind. */
static const char *long_history(uint64_t seed)
{
	struct world w = { .r = { seed }, .n = 3 };
	for (unsigned i = 0; i < w.n; i++)
		device_init(&w.m[i].d, i);
	device_init(&w.judge, 99);
	for (unsigned i = 0; i < 900 && !w.broken; i++) {
		struct member *m = &w.m[prng_chance(&w.r, 80) ? 0 : 1];
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_puts(&b, "{\"stays\": 1");
		for (unsigned k = i; k < i + 5; k++)
			buf_putf(&b, ", \"k%u\": {\"v\": %u}", k, k);
		buf_puts(&b, "}\n");
		device_edit(&m->d, buf_cstr(&b));
		if (strcmp(device_text(&m->d), buf_cstr(&b)) != 0)
			broken(&w, "a save on the head does not read as written");
		transfer(&w, &w.m[0], &w.m[1]);
		if (prng_chance(&w.r, 50))
			transfer(&w, &w.m[1], &w.m[0]);
		if (prng_chance(&w.r, 1))
			transfer(&w, &w.m[prng_below(&w.r, 2)], &w.m[2]);
	}
	if (w.m[0].d.rec->floor.n == 0)
		broken(&w, "no removal marks were dropped");
	judge_end(&w);
	for (unsigned i = 0; i < w.n; i++) {
		vv_done(&w.m[i].old_have);
		device_done(&w.m[i].d);
	}
	device_done(&w.judge);
	return w.broken;
}

static bool run(uint64_t seed, const char *(*kind)(uint64_t seed))
{
	const char *what = kind(seed);
	if (what)
		tap_diag("seed %llu: %s", (unsigned long long)seed, what);
	return !what;
}

static void run_known_seeds(void)
{
	_cleanup_free_ char *path = tap_source("tests/unit/merge-seeds.txt");
	size_t len;
	_cleanup_free_ char *text = tap_read_file(path, &len);
	bool good = true;
	for (char *p = text; *p;) {
		char *end;
		uint64_t seed = strtoull(p, &end, 10);
		if (end != p)
			good = run(seed, history) && good;
		p = strchr(end, '\n');
		if (!p)
			break;
		p++;
	}
	ok(good, "histories that once were judged wrong");
}

int main(int argc, char **argv)
{
	tap_plan(3);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 20000), failed = 0;
	run_known_seeds();
	for (uint64_t i = 0; i < rounds && failed < 5; i++)
		failed += !run(seed + i, history);
	ok(failed == 0, "%llu random histories", (unsigned long long)rounds);
	ok(run(seed, long_history), "a long history with more removals than are kept");
	return tap_done();
}
