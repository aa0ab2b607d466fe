/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/typed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"

#define DOCS 2
#define CARS 4
#define MEMBERS 10
#define PLACES (1 + CARS) /* of numbers: /n, and /cars/…/km */

static const char *const doc_name[DOCS] = { "typed-a.json", "typed-b.json" };
static const char *const doc_path[DOCS] = { TYPED_DIR "/typed-a.json", TYPED_DIR "/typed-b.json" };

struct sheet { /* what a document says */
	int64_t number[PLACES];
	bool car[CARS];       /* is there; never taken out */
	bool set, cars;       /* the arrays are there */
	bool member[MEMBERS]; /* of the set */
};

/* What was written where by a commit of an actor. */
enum happening {
	ADDED,  /* to a counter by somebody who knew that it is one: `amount` counts exactly */
	NUMBER, /* a number by somebody who did not: `amount` is what stands there beside the counters */
	CAR,    /* a car was put in */
	MEMBER, /* a member was put in */
	TAKEN,  /* `put` was taken out again */
};

struct event {
	enum happening what;
	unsigned doc, at; /* place, car or member */
	struct actor_id actor;
	uint64_t seq;
	int64_t amount;
	bool known;   /* the member was there already, put in by somebody else: nothing need have happened */
	uint32_t put; /* number of an event */
	bool lost;
};

struct typed {
	struct event *event;
	uint32_t n, cap;
	struct version *pin[DEVICES_MAX]; /* read a while ago, for a later save */
};

bool typed_name(const char *name, size_t len)
{
	return len >= strlen(TYPED_DIR) && memcmp(name, TYPED_DIR, strlen(TYPED_DIR)) == 0;
}

struct typed *typed_new(void)
{
	struct typed *t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	return t;
}

void typed_free(struct typed *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < DEVICES_MAX; i++)
		version_unref(t->pin[i]);
	free(t->event);
	free(t);
}

void typed_down(struct world *w, struct device *d)
{
	version_unref(w->typed->pin[d->no]);
	w->typed->pin[d->no] = NULL;
}

void typed_lost(struct world *w, struct device *d, uint64_t seq)
{
	struct typed *t = w->typed;
	for (uint32_t i = 0; i < t->n; i++)
		t->event[i].lost |= id_equal(&t->event[i].actor.device, &d->id) &&
				    t->event[i].seq > seq;
}

static void happened(struct world *w, struct device *d, struct event e)
{
	struct typed *t = w->typed;
	replica_self(d->replica, &e.actor, &e.seq);
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->event = reallocarray(t->event, t->cap, sizeof(*t->event));
		if (!t->event)
			abort();
	}
	t->event[t->n++] = e;
}

/* ---- documents ---- */

static unsigned digit(const struct json *j)
{
	return j && j->type == JSON_STRING && j->len == 2 ? (unsigned)(j->text[1] - '0') : UINT32_MAX;
}

static int64_t integer(const struct json *j)
{
	return j && j->type == JSON_NUMBER ? strtoll(j->text, NULL, 10) : INT64_MIN;
}

static void sheet_read(struct world *w, struct device *d, const struct version *v, struct sheet *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *root;
	*ret = (struct sheet){ 0 };
	if (version_form(v) != FORM_JSON ||
	    json_parse(&a, version_data(v), version_size(v), NULL, &root, NULL) < 0)
		world_fail(w, "device %u: a document with types is none any more", d->no);
	const struct json *set = json_get_z(root, "set"), *cars = json_get_z(root, "cars");
	ret->number[0] = integer(json_get_z(root, "n"));
	ret->set = set != NULL;
	ret->cars = cars != NULL;
	for (const struct json *j = set ? set->first : NULL; j; j = j->next) {
		unsigned m = digit(j);
		if (m >= MEMBERS || ret->member[m])
			world_fail(w, "device %u shows a member of a set twice: %.*s", d->no,
				   (int)version_size(v), (const char *)version_data(v));
		ret->member[m] = true;
	}
	for (const struct json *j = cars ? cars->first : NULL; j; j = j->next) {
		unsigned c = digit(json_get_z(j, "id"));
		if (c >= CARS || ret->car[c])
			world_fail(w, "device %u shows an element with a key twice: %.*s", d->no,
				   (int)version_size(v), (const char *)version_data(v));
		ret->car[c] = true;
		ret->number[1 + c] = integer(json_get_z(j, "km"));
	}
}

static void sheet_print(const struct sheet *s, struct buf *b)
{
	const char *comma = "";
	buf_putf(b, "{\"n\":%" PRId64, s->number[0]);
	if (s->set)
		buf_puts(b, ",\"set\":[");
	for (unsigned i = 0; s->set && i < MEMBERS; i++) {
		if (!s->member[i])
			continue;
		buf_putf(b, "%s\"m%u\"", comma, i);
		comma = ",";
	}
	buf_puts(b, s->set ? "]" : "");
	comma = "";
	if (s->cars)
		buf_puts(b, ",\"cars\":[");
	for (unsigned i = 0; s->cars && i < CARS; i++) {
		if (!s->car[i])
			continue;
		buf_putf(b, "%s{\"id\":\"c%u\",\"km\":%" PRId64 "}", comma, i, s->number[1 + i]);
		comma = ",";
	}
	buf_puts(b, s->cars ? "]}\n" : "}\n");
}

/* -ENOENT; anything else that fails was told to. */
static int find_doc(struct device *d, unsigned doc, struct attr *ret_dir, struct attr *ret)
{
	int r = replica_lookup(d->replica, &NODE_ROOT, TYPED_DIR, strlen(TYPED_DIR), ret_dir);
	return r < 0 ? r : replica_lookup(d->replica, &ret_dir->id, doc_name[doc],
					  strlen(doc_name[doc]), ret);
}

/* ---- declarations ---- */

#define DECLARATIONS 4

struct declaration {
	const char *pointer, *type;
};

static const struct declaration declarations[DECLARATIONS] = {
	{ "/n", "counter" },
	{ "/set", "set" },
	{ "/cars", "keyed:id" },
	{ "/cars/*/km", "counter" },
};

static int add_declared(const char *pointer, size_t len, const char *text, size_t text_len,
			void *userdata)
{
	unsigned *known = userdata;
	for (unsigned i = 0; i < DECLARATIONS; i++)
		if (len == strlen(declarations[i].pointer) &&
		    !memcmp(pointer, declarations[i].pointer, len) &&
		    text_len == strlen(declarations[i].type) &&
		    !memcmp(text, declarations[i].type, text_len))
			*known |= 1u << i;
	return 0;
}

/* Which of the declarations the device knows. */
static unsigned declared(struct device *d, const struct id *dir)
{
	unsigned known = 0;
	struct err e;
	replica_declared(d->replica, dir, add_declared, &known, &e);
	return known;
}

/* Counters at /n are taken back now and then. */
static int declare(struct world *w, struct device *d, const struct id *dir,
		   const struct declaration *x)
{
	const char *type = x == declarations && prng_chance(&w->r, 25) ? NULL : x->type;
	struct err e = { 0 };
	int r = replica_declare(d->replica, dir, x->pointer, strlen(x->pointer), type, &e);
	TRACE(w, "device %u declares %s to be %s: %s", d->no, x->pointer, type ? type : "nothing",
	      r < 0 ? e.message : "done");
	return r;
}

/* Not of all members: a batch (tests/sim/batch.c) has to change each of its files. */
int typed_declare_any(struct world *w, struct device *d, const struct id *collection)
{
	static const char *const pointers[] = { "/l", "/l/*/v", "/o", "/o/*", "/k1", "/k2" };
	static const char *const types[] = { "register", "counter",  "set",
					     "list",     "keyed:id", NULL };
	const char *pointer = pointers[prng_below(&w->r, 6)], *type = types[prng_below(&w->r, 6)];
	struct err e = { 0 };
	int r = replica_declare(d->replica, collection, pointer, strlen(pointer), type, &e);
	TRACE(w, "device %u declares %s to be %s: %s", d->no, pointer, type ? type : "nothing",
	      r < 0 ? e.message : "done");
	return r;
}

/* ---- changes ---- */

static int64_t amount(struct world *w)
{
	int64_t n = (int64_t)prng_below(&w->r, 20) - 9;
	return n > 0 ? n : n - 1;
}

/* Only who knows the declarations of elements changes these. A car comes with 0, else devices that put
 * in the same one at the same time would set the number and not add to it. */
static void sheet_change(struct world *w, unsigned known, struct sheet *s)
{
	const struct sheet old = *s;
	for (uint64_t n = 1 + prng_below(&w->r, 3); n > 0; n--) {
		uint64_t what = prng_below(&w->r, 100), c = prng_below(&w->r, CARS);
		uint64_t m = prng_below(&w->r, MEMBERS);
		if (what < 40) {
			s->number[0] += amount(w);
		} else if (what < 70 && (known & 2)) {
			s->member[m] = !s->member[m];
			s->set = true;
		} else if (what >= 70 && (known & 12) == 12) {
			if (old.car[c])
				s->number[1 + c] += amount(w);
			s->car[c] = true;
			s->cars = true;
		}
	}
}

/* The number that the device's newest commit put at /n; false: none. */
static bool number_written(struct device *d, const struct id *id, int64_t *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct record *r;
	struct actor_id self;
	uint64_t seq;
	replica_self(d->replica, &self, &seq);
	uint32_t no = actors_find(replica_actors(d->replica), &self);
	const struct slot *s = NULL;
	if (check_record(d, &a, id, &r) == 0 && r->top)
		s = slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT));
	s = s ? slot_find(s, "n", 1) : NULL;
	for (uint32_t i = 0; s && i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		char text[32];
		if (e->value.kind != VALUE_NUMBER || e->dot.actor != no || e->dot.seq != seq)
			continue;
		snprintf(text, sizeof(text), "%.*s", (int)e->value.len, (const char *)e->value.data);
		*ret = strtoll(text, NULL, 10);
		return true;
	}
	return false;
}

static bool covers(struct device *d, const struct vv *context, const struct event *e)
{
	uint32_t no = actors_find(replica_actors(d->replica), &e->actor);
	return no != ACTOR_NONE && vv_get(context, no) >= e->seq;
}

static void note_number(struct world *w, struct device *d, unsigned doc, const struct id *id,
			unsigned known, int64_t diff)
{
	struct event e = { .what = known & 1 ? ADDED : NUMBER, .doc = doc, .amount = diff };
	if (diff != 0 && ((known & 1) || number_written(d, id, &e.amount)))
		happened(w, d, e);
}

static void note_member(struct world *w, struct device *d, unsigned doc, unsigned m, bool put,
			const struct vv *base, bool was)
{
	if (put) {
		happened(w, d, (struct event){ .what = MEMBER, .doc = doc, .at = m, .known = was });
		return;
	}
	for (uint32_t i = 0, n = w->typed->n; i < n; i++) {
		const struct event *e = &w->typed->event[i];
		if (e->what == MEMBER && !e->lost && e->doc == doc && e->at == m && covers(d, base, e))
			happened(w, d, (struct event){ .what = TAKEN, .doc = doc, .at = m, .put = i });
	}
}

/* The save made `new` of `old` (of base); before: what was there. */
static void note(struct world *w, struct device *d, unsigned doc, const struct version *base,
		 unsigned known, const struct sheet *old, const struct sheet *new,
		 const struct sheet *before)
{
	note_number(w, d, doc, version_node(base), known, new->number[0] - old->number[0]);
	for (unsigned i = 0; i < MEMBERS; i++)
		if (old->member[i] != new->member[i])
			note_member(w, d, doc, i, new->member[i], version_context(base),
				    before->member[i]);
	for (unsigned i = 0; i < CARS; i++) {
		int64_t diff = new->number[1 + i] - old->number[1 + i];
		if (new->car[i] && !old->car[i])
			happened(w, d, (struct event){ .what = CAR, .doc = doc, .at = i });
		if (diff != 0 && old->car[i])
			happened(w, d, (struct event){ .what = ADDED, .doc = doc, .at = 1 + i,
						       .amount = diff });
	}
}

static int save(struct world *w, struct device *d, unsigned doc, const struct attr *at,
		unsigned known)
{
	_cleanup_(version_unrefp) struct version *base = NULL, *head = NULL, *saved = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct sheet old, new, before, after;
	struct actor_id self;
	uint64_t was, is;
	struct err e = { 0 };
	struct version *pin = w->typed->pin[d->no];
	int r = replica_read(d->replica, &at->id, &head);
	if (r < 0)
		return r;
	bool pinned = pin && id_equal(version_node(pin), &at->id) && prng_chance(&w->r, 60);
	base = version_ref(pinned ? pin : head);
	sheet_read(w, d, head, &before);
	sheet_read(w, d, base, &old);
	new = old;
	sheet_change(w, known, &new);
	sheet_print(&new, &b);
	const struct content c = { .data = b.data, .len = b.len, .fd = -1 };
	replica_self(d->replica, &self, &was);
	r = replica_save(d->replica, &at->id, base, &c, SAVE_BY_NAME, &saved, &e);
	replica_self(d->replica, &self, &is);
	TRACE(w, "device %u (knows %x) saves %s over %.*s: %s\n  %.*s", d->no, known, doc_name[doc],
	      (int)version_size(base), (const char *)version_data(base), r < 0 ? e.message : "done",
	      (int)b.len, (const char *)b.data);
	if (r < 0)
		return r;
	w->saves++;
	if (is > was)
		note(w, d, doc, base, known, &old, &new, &before);
	sheet_read(w, d, saved, &after);
	if ((known & 1) &&
	    after.number[0] - before.number[0] != new.number[0] - old.number[0])
		world_fail(w, "device %u: a save adds %" PRId64 " to a counter, and it shows %" PRId64
			   " more", d->no, new.number[0] - old.number[0],
			   after.number[0] - before.number[0]);
	return 0;
}

/* From one document to the other, in one batch. */
static int transfer(struct world *w, struct device *d, unsigned known)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct txn_step step[DOCS];
	struct txn_result result[DOCS];
	struct id member[DOCS];
	struct attr dir, at;
	struct err e = { 0 };
	int64_t diff = amount(w);
	uint32_t stopped;
	int r = 0;
	for (unsigned i = 0; r == 0 && i < DOCS; i++, diff = -diff) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		struct sheet s;
		struct json *value;
		char text[40];
		r = find_doc(d, i, &dir, &at);
		if (r == 0)
			r = replica_read(d->replica, &at.id, &v);
		if (r < 0)
			break;
		sheet_read(w, d, v, &s);
		int n = snprintf(text, sizeof(text), "{\"n\":%" PRId64 "}", s.number[0] + diff);
		if (json_parse(&a, arena_dup(&a, text, (size_t)n), (size_t)n, NULL, &value, NULL) < 0)
			abort();
		member[i] = at.id;
		step[i] = (struct txn_step){ TXN_MERGE, doc_path[i], value, NULL };
	}
	if (r == 0)
		r = replica_txn(d->replica, step, DOCS, result, &stopped, &e);
	TRACE(w, "device %u (knows %x) transfers %" PRId64 ": %s", d->no, known, diff,
	      r < 0 ? strerror(-r) : "done");
	if (r < 0)
		return r;
	batch_note(w, d, member, DOCS);
	for (unsigned i = 0; i < DOCS; i++, diff = -diff)
		note_number(w, d, i, &member[i], known, diff);
	return 0;
}

/* Both documents in one batch. */
static int create_all(struct world *w, struct device *d)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	static const char text[] = "{\"n\":0}";
	struct txn_step step[DOCS];
	struct txn_result result[DOCS];
	struct id member[DOCS];
	struct attr dir, at;
	struct err e = { 0 };
	struct json *value;
	uint32_t stopped;
	if (json_parse(&a, text, sizeof(text) - 1, NULL, &value, NULL) < 0)
		abort();
	for (unsigned i = 0; i < DOCS; i++)
		step[i] = (struct txn_step){ TXN_PUT, doc_path[i], value, "" };
	int r = replica_txn(d->replica, step, DOCS, result, &stopped, &e);
	TRACE(w, "device %u puts both documents: %s", d->no, r < 0 ? e.message : "done");
	for (unsigned i = 0; r == 0 && i < DOCS; i++) {
		r = find_doc(d, i, &dir, &at);
		member[i] = at.id;
	}
	if (r == 0)
		batch_note(w, d, member, DOCS);
	return r;
}

/* Makes the directory, with all that is declared in it in half of the histories, or documents. */
static int create(struct world *w, struct device *d, unsigned doc)
{
	static const char text[] = "{\"n\":0}\n";
	const struct content c = { .data = text, .len = sizeof(text) - 1, .fd = -1 };
	struct attr dir, at;
	struct err e = { 0 };
	int r = replica_lookup(d->replica, &NODE_ROOT, TYPED_DIR, strlen(TYPED_DIR), &dir);
	if (r == 0 && find_doc(d, !doc, &dir, &at) < 0 && prng_chance(&w->r, 50))
		return create_all(w, d);
	if (r == 0)
		return replica_create(d->replica, &dir.id, doc_name[doc], strlen(doc_name[doc]), 0644,
				      &c, SAVE_BY_NAME, 0, &at, NULL, &e);
	r = replica_mkdir(d->replica, &NODE_ROOT, TYPED_DIR, strlen(TYPED_DIR), 0755, &dir);
	for (unsigned i = 0; r == 0 && w->seed % 2 == 0 && i < DECLARATIONS; i++)
		r = declare(w, d, &dir.id, &declarations[i]);
	return r;
}

int typed_step(struct world *w, struct device *d)
{
	unsigned doc = (unsigned)prng_below(&w->r, DOCS);
	uint64_t what = prng_below(&w->r, 100);
	struct attr dir, at;
	if (find_doc(d, doc, &dir, &at) < 0)
		return create(w, d, doc);
	if (what < 12)
		return declare(w, d, &dir.id, &declarations[prng_below(&w->r, DECLARATIONS)]);
	if (what < 25) {
		typed_down(w, d);
		return replica_read(d->replica, &at.id, &w->typed->pin[d->no]);
	}
	unsigned known = declared(d, &dir.id);
	return what < 35 ? transfer(w, d, known) : save(w, d, doc, &at, known);
}

/* ---- what must hold ---- */

static bool taken(struct world *w, struct device *d, const struct vv *context, uint32_t put)
{
	for (uint32_t i = 0; i < w->typed->n; i++) {
		const struct event *e = &w->typed->event[i];
		if (e->what == TAKEN && e->put == put && !e->lost && covers(d, context, e))
			return true;
	}
	return false;
}

static void check_member(struct world *w, struct device *d, unsigned doc, const struct vv *context,
			 unsigned m, bool shown)
{
	bool must = false, may = false;
	for (uint32_t i = 0; i < w->typed->n; i++) {
		const struct event *e = &w->typed->event[i];
		if (e->what != MEMBER || e->lost || e->doc != doc || e->at != m ||
		    !covers(d, context, e) || taken(w, d, context, i))
			continue;
		may = true;
		must |= !e->known;
	}
	if (shown ? !may : must)
		world_fail(w, "device %u %s member %u of the set of %s, which %s", d->no,
			   shown ? "shows" : "does not show", m, doc_name[doc],
			   shown ? "is not in" : "is in");
}

static void check_number(struct world *w, struct device *d, unsigned doc, const struct vv *context,
			 unsigned place, int64_t shown)
{
	int64_t sum = 0;
	bool good;
	for (uint32_t i = 0; i < w->typed->n; i++) {
		const struct event *e = &w->typed->event[i];
		if (e->what == ADDED && !e->lost && e->doc == doc && e->at == place &&
		    covers(d, context, e))
			sum += e->amount;
	}
	good = shown == sum;
	for (uint32_t i = 0; i < w->typed->n; i++) {
		const struct event *e = &w->typed->event[i];
		good |= e->what == NUMBER && !e->lost && e->doc == doc && e->at == place &&
			covers(d, context, e) && shown == e->amount + sum;
	}
	if (!good)
		world_fail(w, "device %u shows %" PRId64 " at place %u of %s, and increments of %" PRId64,
			   d->no, shown, place, doc_name[doc], sum);
}

static bool has_car(struct world *w, struct device *d, unsigned doc, const struct vv *context,
		    unsigned car)
{
	for (uint32_t i = 0; i < w->typed->n; i++) {
		const struct event *e = &w->typed->event[i];
		if (e->what == CAR && !e->lost && e->doc == doc && e->at == car &&
		    covers(d, context, e))
			return true;
	}
	return false;
}

void typed_check(struct world *w, struct device *d)
{
	for (unsigned doc = 0; doc < DOCS; doc++) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		struct attr dir, at;
		struct sheet s;
		if (find_doc(d, doc, &dir, &at) < 0 || replica_read(d->replica, &at.id, &v) < 0)
			continue;
		const struct vv *context = version_context(v);
		sheet_read(w, d, v, &s);
		check_number(w, d, doc, context, 0, s.number[0]);
		for (unsigned i = 0; i < MEMBERS; i++)
			check_member(w, d, doc, context, i, s.member[i]);
		for (unsigned i = 0; i < CARS; i++) {
			if (s.car[i])
				check_number(w, d, doc, context, 1 + i, s.number[1 + i]);
			if (s.car[i] != has_car(w, d, doc, context, i))
				world_fail(w, "device %u %s car %u of %s", d->no,
					   s.car[i] ? "shows" : "does not show", i, doc_name[doc]);
		}
	}
}

void typed_check_all(struct world *w, struct device *d)
{
	for (uint32_t i = 0; i < w->typed->n; i++) {
		const struct event *e = &w->typed->event[i];
		_cleanup_(version_unrefp) struct version *v = NULL;
		struct attr dir, at;
		if (e->lost)
			continue;
		if (find_doc(d, e->doc, &dir, &at) < 0 || replica_read(d->replica, &at.id, &v) < 0 ||
		    !covers(d, version_context(v), e))
			world_fail(w, "device %u lacks a change of %s (seq %" PRIu64 " of its writer)",
				   d->no, doc_name[e->doc], e->seq);
	}
	typed_check(w, d);
}
