/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/slotcodec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/edge.h"
#include "engine/element.h"
#include "engine/json.h"
#include "engine/jsonnum.h"
#include "engine/patch.h"
#include "engine/purged.h"
#include "engine/slotseq.h"
#include "engine/utf8.h"

enum { FORM_NONE = 0, FORM_ONE = 1, FORM_SEVERAL = 2, FORM_SHARED = 3 };
#define FORM_CLEARED 0x10
#define FORM_CHILDREN 0x20
#define FORM_COMPLETE 0x40
#define FORM_SEQ 0x80

#define VALUE_LONG 15 /* kind or length does not fit into its half of the byte */
#define KIND_KNOWN VALUE_NODE

/* The only byte of an element's key that is a dot and an index, which follow. */
#define KEY_DOT ELEMENT_BYTE

/* Of an element's look. */
#define PLACE_INLINE 1u
#define PLACE_GIVEN 2u
#define PLACE_OWN 4u /* in the entry's batch */

/* Where in the record a slot stands. */
enum place { PLACE_TOP, PLACE_META, PLACE_ORDER, PLACE_CONTENT, PLACE_MEMBER, PLACE_ELEMENT };

static enum place place_below(enum place place, const struct slot *s)
{
	if (place == PLACE_TOP)
		return s->key_len == 1 && s->key[0] == TOP_CONTENT[0] ? PLACE_CONTENT : PLACE_META;
	if (place < PLACE_CONTENT)
		return PLACE_META;
	return key_is_member(s->key, s->key_len) ? PLACE_MEMBER :
	       key_is_element(s->key, s->key_len) ? PLACE_ELEMENT : PLACE_ORDER;
}

static uint64_t zigzag(int64_t n)
{
	return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static int64_t unzigzag(uint64_t z)
{
	return (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
}

/* --- encoding --- */

static bool batch_is(const struct batch *b, const struct entry *e)
{
	return b->dot.seq == e->dot.seq && b->dot.actor == e->dot.actor && b->hlc == e->hlc;
}

static void batch_add(struct batches *t, const struct entry *e, struct buf *b)
{
	/* Neighbours come from the same few batches; what slips through is found by sorting. */
	for (uint32_t i = t->n; i > 0 && i + 4 > t->n; i--)
		if (batch_is(&t->item[i - 1], e))
			return;
	if (t->n == t->cap) {
		uint32_t cap = t->cap ? t->cap * 2 : 16;
		struct batch *p = reallocarray(t->item, cap, sizeof(*p));
		if (!p) {
			b->failed = true;
			return;
		}
		t->item = p;
		t->cap = cap;
	}
	t->item[t->n++] = (struct batch){ e->dot, e->hlc };
}

static void collect(struct batches *t, const struct slot *s, struct buf *b)
{
	for (uint32_t i = 0; i < s->val.n; i++)
		batch_add(t, &s->val.entry[i], b);
	for (uint32_t i = 0; i < s->look.n; i++)
		batch_add(t, &s->look.entry[i], b);
	for (uint32_t i = 0; i < s->n; i++)
		collect(t, s->child[i], b);
}

static int batch_cmp(const void *x, const void *y, void *actors)
{
	const struct batch *p = x, *q = y;
	int r = dot_cmp(actors, p->dot, q->dot);
	return r ? r : p->hlc < q->hlc ? -1 : p->hlc > q->hlc;
}

static void sort_batches(struct batches *t, struct actors *actors)
{
	uint32_t n = 0;
	if (t->n < 2)
		return;
	qsort_r(t->item, t->n, sizeof(*t->item), batch_cmp, actors);
	for (uint32_t i = 0; i < t->n; i++)
		if (n == 0 || batch_cmp(&t->item[n - 1], &t->item[i], actors) != 0)
			t->item[n++] = t->item[i];
	t->n = n;
}

static void put_batches(const struct batches *t, struct actor_codec *c, struct buf *b)
{
	uint64_t us = 0;
	buf_varint(b, t->n);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct batch *p = &t->item[i];
		actor_codec_put(c, b, p->dot.actor);
		buf_varint(b, p->dot.seq);
		buf_varint(b, zigzag((int64_t)(hlc_us(p->hlc) - us)));
		buf_varint(b, p->hlc & ((1u << HLC_COUNTER_BITS) - 1));
		us = hlc_us(p->hlc);
	}
}

struct encoder {
	struct batches batches;
	struct actors *actors;
	struct actor_codec *c;
	struct buf *b;
	uint32_t last; /* the batch found last */
};

static void put_batch(struct encoder *d, const struct entry *e)
{
	uint32_t lo = 0, hi = d->batches.n;
	if (hi == 0)
		return; /* out of memory, and b knows it */
	if (!batch_is(&d->batches.item[d->last], e)) {
		struct batch want = { e->dot, e->hlc };
		while (hi - lo > 1) {
			uint32_t mid = lo + (hi - lo) / 2;
			if (batch_cmp(&d->batches.item[mid], &want, d->actors) <= 0)
				lo = mid;
			else
				hi = mid;
		}
		d->last = lo;
	}
	buf_varint(d->b, d->last);
}

static void put_value(struct buf *b, const struct value *v)
{
	unsigned kind = v->kind < VALUE_LONG ? (unsigned)v->kind : VALUE_LONG;
	unsigned len = v->len < VALUE_LONG ? (unsigned)v->len : VALUE_LONG;
	buf_u8(b, (uint8_t)(kind | len << 4));
	if (kind == VALUE_LONG)
		buf_varint(b, v->kind);
	if (len == VALUE_LONG)
		buf_varint(b, v->len - VALUE_LONG);
	buf_put(b, v->data, v->len);
}

static unsigned form_of(const struct reg *reg)
{
	return reg->n == 0 ? FORM_NONE : reg->n == 1 ? FORM_ONE : FORM_SEVERAL;
}

/* A peer has other numbers for actors. */
static void put_seq(struct encoder *d, const struct slot *s)
{
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	struct cursor c = cursor_make(s->seq, s->seq_len);
	if (!d->c)
		buf_bytes(d->b, s->seq, s->seq_len);
	else if (seq_part_decode(&c, d->actors, NULL, NULL, &part, NULL) < 0)
		d->b->failed = true;
	else
		seq_part_encode(part, d->actors, d->c, d->b);
}

static void put_key(struct encoder *d, enum place place, const struct slot *s)
{
	struct seq_id id;
	if (place != PLACE_ELEMENT || s->key_len != ELEMENT_DOT_SIZE) {
		buf_bytes(d->b, s->key, s->key_len);
		return;
	}
	if (element_id(d->actors, s->key, s->key_len, &id) < 0)
		d->b->failed = true;
	buf_varint(d->b, 1);
	buf_u8(d->b, KEY_DOT);
	actor_codec_put(d->c, d->b, id.actor);
	buf_varint(d->b, id.seq);
	buf_varint(d->b, id.index);
}

static void put_element_look(struct encoder *d, const struct entry *e)
{
	struct element_look l = { 0 };
	if (element_look_decode(d->actors, &e->value, &l) < 0)
		d->b->failed = true;
	bool own = l.place.actor == e->dot.actor && l.place.seq == e->dot.seq;
	buf_u8(d->b, (uint8_t)((l.layout ? PLACE_INLINE : 0) | (l.placed ? PLACE_GIVEN : 0) |
			       (l.placed && own ? PLACE_OWN : 0)));
	if (l.placed && !own) {
		actor_codec_put(d->c, d->b, l.place.actor);
		buf_varint(d->b, l.place.seq);
	}
	if (l.placed)
		buf_varint(d->b, l.place.index);
}

static void put_slot(struct encoder *d, enum place place, const struct slot *s, bool complete)
{
	struct buf *b = d->b;
	/* Slots that came with a delta may still carry its mark below one of ours. */
	bool mark = !complete && s->carried & SLOT_COMPLETE;
	unsigned val = form_of(&s->val), look = form_of(&s->look);
	if (val == FORM_ONE && look == FORM_ONE &&
	    s->val.entry[0].dot.actor == s->look.entry[0].dot.actor &&
	    s->val.entry[0].dot.seq == s->look.entry[0].dot.seq &&
	    s->val.entry[0].hlc == s->look.entry[0].hlc)
		look = FORM_SHARED;
	buf_u8(b, (uint8_t)(val | look << 2 | (s->cleared.n ? FORM_CLEARED : 0) |
			    (s->n ? FORM_CHILDREN : 0) | (mark ? FORM_COMPLETE : 0) |
			    (s->seq_len ? FORM_SEQ : 0)));
	if (val == FORM_SEVERAL)
		buf_varint(b, s->val.n);
	for (uint32_t i = 0; i < s->val.n; i++) {
		put_batch(d, &s->val.entry[i]);
		put_value(b, &s->val.entry[i].value);
	}
	if (look == FORM_SEVERAL)
		buf_varint(b, s->look.n);
	for (uint32_t i = 0; i < s->look.n; i++) {
		if (look != FORM_SHARED)
			put_batch(d, &s->look.entry[i]);
		if (place == PLACE_ELEMENT)
			put_element_look(d, &s->look.entry[i]);
		else
			buf_put(b, s->look.entry[i].value.data, s->look.entry[i].value.len);
	}
	if (s->seq_len)
		put_seq(d, s);
	if (s->cleared.n)
		vv_encode(&s->cleared, d->actors, d->c, b);
	if (s->n)
		buf_varint(b, s->n);
	for (uint32_t i = 0; i < s->n; i++) {
		enum place below = place_below(place, s->child[i]);
		put_key(d, below, s->child[i]);
		put_slot(d, below, s->child[i], complete || mark);
	}
}

/* Visits are told from the time of a batch: most nodes came where they are as they were made. */
static uint64_t first_us(const struct batches *t)
{
	return t->n > 0 ? hlc_us(t->item[0].hlc) : 0;
}

static uint64_t visit_z(const struct encoder *d, const struct visit *v)
{
	return zigzag((int64_t)(v->us - first_us(&d->batches)));
}

/* v: NULL when visits come by themselves. */
static void put_edge(struct encoder *d, const struct edge *e, const struct visit *v)
{
	struct buf *b = d->b;
	buf_put(b, e->parent.b, ID_SIZE);
	buf_varint(b, e->counter);
	actor_codec_put(d->c, b, e->dot.actor);
	buf_varint(b, e->dot.seq);
	if (v) {
		bool other = v->dot.actor != e->dot.actor || v->dot.seq != e->dot.seq;
		buf_varint(b, visit_z(d, v) << 1 | other);
		if (other) {
			actor_codec_put(d->c, b, v->dot.actor);
			buf_varint(b, v->dot.seq);
		}
	}
	if (edge_is_trash(e))
		vv_encode(&e->seen, d->actors, d->c, b);
	else
		buf_bytes(b, e->name, e->name_len);
}

unsigned slotcodec_edges(const struct record *r)
{
	return record_visits_follow_edges(r) ? r->n_edges : EDGES_APART;
}

static void put_edges(struct encoder *d, const struct record *r)
{
	bool apart = slotcodec_edges(r) == EDGES_APART;
	if (apart)
		buf_u8(d->b, (uint8_t)(r->n_edges | r->n_visits << 4));
	for (uint32_t i = 0; i < r->n_edges; i++)
		put_edge(d, &r->edge[i], apart ? NULL : record_visit(r, &r->edge[i].parent));
	for (uint32_t i = 0; apart && i < r->n_visits; i++) {
		const struct visit *v = &r->visit[i];
		buf_put(d->b, v->parent.b, ID_SIZE);
		buf_varint(d->b, visit_z(d, v));
		actor_codec_put(d->c, d->b, v->dot.actor);
		buf_varint(d->b, v->dot.seq);
	}
}

void slotcodec_put(const struct record *r, struct actors *actors, struct actor_codec *c,
		   bool partial, struct buf *b)
{
	struct encoder d = { .actors = actors, .c = c, .b = b };
	if (r->top)
		collect(&d.batches, r->top, b);
	sort_batches(&d.batches, actors);
	put_batches(&d.batches, c, b);
	put_edges(&d, r);
	if (r->top)
		put_slot(&d, PLACE_TOP, r->top, !partial);
	free(d.batches.item);
}

/* --- decoding --- */

static int bad(struct slotcodec *d, const char *why)
{
	d->cur->bad = true;
	return err_set(d->e, -EBADMSG, "damaged record: %s", why);
}

static bool dot_known(struct slotcodec *d, struct dot dot)
{
	return dot.seq > 0 && vv_has(d->ctx, dot);
}

static int get_vv(struct slotcodec *d, const char *what, struct vv *ret)
{
	int r = vv_decode_arena(d->a, d->cur, d->actors, d->codec, ret);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || !vv_covers(d->ctx, ret))
		return bad(d, what);
	return 0;
}

static int get_dot(struct slotcodec *d, struct dot *ret)
{
	ret->actor = actor_get(d->actors, d->codec, d->cur);
	ret->seq = cursor_varint(d->cur);
	return cursor_ok(d->cur) ? 0 : -EBADMSG;
}

static int check_visit(struct slotcodec *d, uint64_t z, struct visit *v)
{
	v->us = first_us(&d->batches) + (uint64_t)unzigzag(z);
	if (!cursor_ok(d->cur) || v->us >> (64 - HLC_COUNTER_BITS) || z >> 54 || !dot_known(d, v->dot))
		return bad(d, "an impossible visit");
	return 0;
}

static int get_visit(struct slotcodec *d, const struct edge *e, struct visit *ret)
{
	uint64_t z = cursor_varint(d->cur);
	ret->parent = e->parent;
	ret->dot = e->dot;
	if (cursor_ok(d->cur) && z & 1 && get_dot(d, &ret->dot) == 0 && ret->dot.actor == e->dot.actor &&
	    ret->dot.seq == e->dot.seq)
		return bad(d, "a visit's batch said twice");
	return check_visit(d, z >> 1, ret);
}

static int get_visit_apart(struct slotcodec *d, struct visit *ret)
{
	const uint8_t *parent = cursor_take(d->cur, ID_SIZE);
	uint64_t z = cursor_varint(d->cur);
	if (get_dot(d, &ret->dot) == 0)
		memcpy(ret->parent.b, parent, ID_SIZE);
	return check_visit(d, z, ret);
}

/* ret_visit: NULL when visits come by themselves. */
static int get_edge(struct slotcodec *d, struct edge *e, struct visit *ret_visit)
{
	const uint8_t *parent = cursor_take(d->cur, ID_SIZE);
	e->counter = cursor_varint(d->cur);
	if (get_dot(d, &e->dot) < 0 || !dot_known(d, e->dot))
		return bad(d, "an edge of an unknown batch");
	memcpy(e->parent.b, parent, ID_SIZE);
	/* More would bring somebody's next move to where nothing comes after it. */
	if (e->counter >= EDGE_PURGED && !edge_is_purge(e))
		return bad(d, "an edge beyond the last");
	int r = ret_visit ? get_visit(d, e, ret_visit) : 0;
	if (r < 0)
		return r;
	if (edge_is_trash(e)) {
		e->name = "";
		return get_vv(d, "an edge that saw more than there is", &e->seen);
	}
	e->name = (const char *)cursor_bytes(d->cur, NAME_MAX_BYTES, &e->name_len);
	if (!cursor_ok(d->cur) || !edge_name_valid(e->name, e->name_len))
		return bad(d, "a name that no file can have");
	return 0;
}

static int get_visits(struct slotcodec *d, struct record *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct visit *v = &r->visit[i];
		int ret = get_visit_apart(d, v);
		if (ret < 0)
			return ret;
		if (i > 0 && visit_rank(d->actors, &r->visit[i - 1], v) <= 0)
			return bad(d, "visits out of order");
		if (record_visit(r, &v->parent))
			return bad(d, "two visits of one directory");
		r->n_visits++;
	}
	return record_visits_follow_edges(r) ? bad(d, "visits apart from edges that have them") : 0;
}

static int get_edges(struct slotcodec *d, struct record *r, uint32_t n)
{
	bool apart = n == EDGES_APART;
	uint32_t n_visits = 0;
	if (apart) {
		n = cursor_u8(d->cur);
		n_visits = n >> 4;
		n &= 15;
	}
	if (n > EDGES_MAX || n_visits > EDGES_MAX)
		return bad(d, "too many edges");
	for (uint32_t i = 0; i < n; i++) {
		struct edge *e = &r->edge[i];
		struct visit v;
		int ret = get_edge(d, e, apart ? NULL : &v);
		if (ret < 0)
			return ret;
		if (i > 0 && edge_rank(d->actors, &r->edge[i - 1], e) <= 0)
			return bad(d, "edges out of order");
		for (uint32_t j = 0; j < i; j++)
			if (id_equal(&r->edge[j].parent, &e->parent))
				return bad(d, "two edges to one directory");
		if (!apart)
			visit_join(d->actors, r, &v, 1);
	}
	r->n_edges = n;
	return apart ? get_visits(d, r, n_visits) : 0;
}

static int get_batches(struct slotcodec *d)
{
	struct cursor *cur = d->cur;
	struct batches *t = &d->batches;
	uint64_t us = 0;
	/* A batch takes four bytes at least. */
	t->cap = (uint32_t)cursor_varint_max(cur, cursor_left(cur) / 4);
	if (!cursor_ok(cur))
		return bad(d, "more batches than bytes");
	t->item = arena_array(d->a, t->cap, sizeof(*t->item));
	t->used = arena_array(d->a, t->cap, sizeof(*t->used));
	if (!t->item || !t->used)
		return -ENOMEM;
	for (; t->n < t->cap; t->n++) {
		struct batch *p = &t->item[t->n];
		p->dot.actor = actor_get(d->actors, d->codec, cur);
		p->dot.seq = cursor_varint(cur);
		us += (uint64_t)unzigzag(cursor_varint(cur));
		uint64_t counter = cursor_varint_max(cur, (1u << HLC_COUNTER_BITS) - 1);
		if (!cursor_ok(cur) || us >> (64 - HLC_COUNTER_BITS) || !dot_known(d, p->dot))
			return bad(d, "an impossible batch");
		p->hlc = us << HLC_COUNTER_BITS | counter;
		if (t->n > 0 && batch_cmp(p - 1, p, (struct actors *)(uintptr_t)d->actors) >= 0)
			return bad(d, "batches out of order");
	}
	return 0;
}

static int check_array(struct slotcodec *d, const struct value *v)
{
	struct arena tmp = { 0 };
	struct json *j;
	int r = json_parse(&tmp, (const char *)v->data, v->len, NULL, &j, NULL);
	bool good =
		r == 0 && j->type == JSON_ARRAY && v->data[0] == '[' && v->data[v->len - 1] == ']';
	arena_done(&tmp);
	if (r == -ENOMEM)
		return r;
	return good ? 0 : bad(d, "an array that is none");
}

static int check_value(struct slotcodec *d, enum place place, const struct value *v)
{
	if (place == PLACE_TOP || place == PLACE_ORDER)
		return bad(d, "a value where none can be");
	if (place == PLACE_META && (v->kind == VALUE_TEXT || v->kind == VALUE_LIST ||
				    v->kind == VALUE_COUNTER || v->kind == VALUE_CHARS ||
				    v->kind == VALUE_NODE))
		return bad(d, "a text, a list, a counter or a hard link where none can be");
	if (place >= PLACE_MEMBER && !value_is_json(v->kind))
		return bad(d, "a value that is no JSON inside of JSON");
	if (place == PLACE_CONTENT && (v->kind == VALUE_INT || v->kind == VALUE_BYTES))
		return bad(d, "a content of a kind that none has");
	switch (v->kind) {
	case VALUE_NULL:
	case VALUE_FALSE:
	case VALUE_TRUE:
	case VALUE_MAP:
	case VALUE_TEXT:
	case VALUE_LIST:
	case VALUE_CHARS:
		return v->len == 0 ? 0 : bad(d, "data where none can be");
	case VALUE_NUMBER:
		if (!json_number_valid((const char *)v->data, v->len))
			return bad(d, "a number that is none");
		return 0;
	case VALUE_COUNTER:
		if (v->len > JSON_SUM_MAX || !json_number_valid((const char *)v->data, v->len))
			return bad(d, "a counter that is none");
		return 0;
	case VALUE_STRING:
		if (d->wire && !utf8_valid(v->data, v->len))
			return bad(d, "a string that is not UTF-8");
		return 0;
	case VALUE_ARRAY:
		return d->wire ? check_array(d, v) : 0;
	case VALUE_INT: {
		int64_t n;
		return value_int(v, &n) == 0 ? 0 : bad(d, "an integer that is none");
	}
	case VALUE_BLOB:
	case VALUE_LINK:
	case VALUE_BYTES:
		return 0;
	case VALUE_NODE:
		return v->len == ID_SIZE ? 0 : bad(d, "a hard link to nothing");
	}
	return bad(d, "a value of no kind");
}

static int get_value(struct slotcodec *d, enum place place, struct value *v)
{
	struct cursor *cur = d->cur;
	uint8_t head = cursor_u8(cur);
	uint64_t kind = head & 15, len = head >> 4;
	if (kind == VALUE_LONG) {
		kind = cursor_varint(cur);
		if (cursor_ok(cur) && kind < VALUE_LONG)
			return bad(d, "a kind at length");
	}
	if (len == VALUE_LONG) {
		len = cursor_varint_max(cur, cursor_left(cur));
		len += VALUE_LONG;
	}
	v->data = cursor_take(cur, (size_t)len);
	v->len = (size_t)len;
	if (!cursor_ok(cur))
		return bad(d, "it ends within a value");
	if (kind > KIND_KNOWN) {
		cur->bad = true;
		return err_set(
			d->e, -EPROTONOSUPPORT,
			"a value of kind %llu, which a newer version of Shoal wrote: update this device",
			(unsigned long long)kind);
	}
	v->kind = (enum value_kind)kind;
	return check_value(d, place, v);
}

static int get_batch(struct slotcodec *d, struct entry *e)
{
	uint64_t i = cursor_varint(d->cur);
	if (!cursor_ok(d->cur) || i >= d->batches.n)
		return bad(d, "an entry of no batch");
	d->batches.used[i] = true;
	e->dot = d->batches.item[i].dot;
	e->hlc = d->batches.item[i].hlc;
	return 0;
}

/* Look values end by themselves. */
static int get_look(struct slotcodec *d, struct value *v)
{
	const uint8_t *start = d->cur->p;
	struct look look;
	if (look_read(d->cur, &look) < 0)
		return bad(d, "an impossible position");
	*v = (struct value){ VALUE_BYTES, start, (size_t)(d->cur->p - start) };
	return 0;
}

static int get_element_look(struct slotcodec *d, const struct entry *e, struct value *v)
{
	struct cursor *cur = d->cur;
	uint8_t flags = cursor_u8(cur);
	struct element_look l = { .layout = flags & PLACE_INLINE ? LOOK_INLINE : 0,
				  .placed = flags & PLACE_GIVEN };
	if (flags > (PLACE_INLINE | PLACE_GIVEN | PLACE_OWN) ||
	    (flags & PLACE_OWN && !(flags & PLACE_GIVEN)))
		return bad(d, "an impossible place");
	l.place = (struct seq_id){ .actor = e->dot.actor, .seq = e->dot.seq };
	if (l.placed && !(flags & PLACE_OWN)) {
		l.place.actor = actor_get(d->actors, d->codec, cur);
		l.place.seq = cursor_varint(cur);
		if (l.place.actor == e->dot.actor && l.place.seq == e->dot.seq)
			return bad(d, "a place's batch said twice");
	}
	if (l.placed)
		l.place.index = (uint32_t)cursor_varint_max(cur, UINT32_MAX);
	if (!cursor_ok(cur) ||
	    (l.placed && !dot_known(d, (struct dot){ l.place.actor, l.place.seq })))
		return bad(d, "a place of an unknown batch");
	uint8_t *data = arena_alloc(d->a, ELEMENT_LOOK_MAX);
	if (!data)
		return -ENOMEM;
	*v = (struct value){ VALUE_BYTES, data, element_look_encode(d->actors, &l, data) };
	return 0;
}

static int get_reg(struct slotcodec *d, enum place place, unsigned form, bool is_look,
		   const struct reg *val, struct reg *ret)
{
	uint64_t n = form == FORM_NONE ? 0 : 1;
	if (form == FORM_SEVERAL) {
		/* An entry takes two bytes at least. */
		n = cursor_varint_max(d->cur, cursor_left(d->cur) / 2);
		if (n < 2)
			return bad(d, "a wrong number of entries");
	}
	if (n == 0)
		return 0;
	ret->entry = arena_alloc(d->a, (size_t)n * sizeof(*ret->entry));
	if (!ret->entry)
		return -ENOMEM;
	for (; ret->n < n; ret->n++) {
		struct entry *e = &ret->entry[ret->n];
		int r = 0;
		if (form == FORM_SHARED)
			*e = val->entry[0];
		else
			r = get_batch(d, e);
		if (r == 0 && !is_look)
			r = get_value(d, place, &e->value);
		else if (r == 0)
			r = place == PLACE_ELEMENT ? get_element_look(d, e, &e->value) :
						     get_look(d, &e->value);
		if (r < 0)
			return r;
		if (ret->n > 0 && dot_cmp(d->actors, e[-1].dot, e->dot) >= 0)
			return bad(d, "entries out of order");
	}
	if (is_look && form == FORM_ONE && val->n == 1 && val->entry[0].hlc == ret->entry[0].hlc &&
	    dot_cmp(d->actors, val->entry[0].dot, ret->entry[0].dot) == 0)
		return bad(d, "a shared batch said twice");
	return 0;
}

static int get_seq(struct slotcodec *d, enum place place, struct slot *s)
{
	if (place < PLACE_ORDER)
		return bad(d, "a sequence where none can be");
	if (!d->codec) {
		s->seq = cursor_bytes(d->cur, cursor_left(d->cur), &s->seq_len);
		return cursor_ok(d->cur) && s->seq_len > 0 ? 0 : bad(d, "it ends within a sequence");
	}
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct actors *actors = (struct actors *)(uintptr_t)d->actors;
	int r = seq_part_decode(d->cur, actors, d->codec, d->ctx, &part, d->e);
	if (r < 0)
		return r;
	if (seq_part_empty(part))
		return bad(d, "a sequence without anything in it");
	if (seq_part_flavour(part) != (place == PLACE_ORDER ? SEQ_BARE : SEQ_TEXT))
		return bad(d, "a sequence of another kind");
	seq_part_encode(part, actors, NULL, &b);
	s->seq = buf_failed(&b) ? NULL : (const uint8_t *)arena_dup(d->a, b.data, b.len);
	s->seq_len = b.len;
	return s->seq ? 0 : -ENOMEM;
}

static int get_key(struct slotcodec *d, enum place above, struct slot *s)
{
	struct cursor *cur = d->cur;
	s->key = (const char *)cursor_bytes(cur, cursor_left(cur), &s->key_len);
	if (!cursor_ok(cur))
		return bad(d, "it ends within a key");
	if (above < PLACE_CONTENT)
		return 0;
	if (key_is_member(s->key, s->key_len))
		return !d->wire || utf8_valid((const uint8_t *)s->key, s->key_len) ?
			       0 : bad(d, "a key that is not UTF-8");
	if (s->key_len == ELEMENT_HASH_SIZE || key_is_order(s->key, s->key_len))
		return 0;
	if (s->key_len != 1 || (uint8_t)s->key[0] != KEY_DOT)
		return bad(d, "a key of no form");
	struct seq_id id = { .actor = actor_get(d->actors, d->codec, cur) };
	id.seq = cursor_varint(cur);
	id.index = (uint32_t)cursor_varint_max(cur, UINT32_MAX);
	if (!cursor_ok(cur) || !dot_known(d, (struct dot){ id.actor, id.seq }))
		return bad(d, "an element of an unknown batch");
	s->key = element_key(d->a, d->actors, &id, &s->key_len);
	return s->key ? 0 : -ENOMEM;
}

static int get_slot(struct slotcodec *d, struct slot *s, enum place place, unsigned depth,
		    bool complete)
{
	struct cursor *cur = d->cur;
	uint8_t form = cursor_u8(cur);
	unsigned val = form & 3, look = form >> 2 & 3;
	if (!cursor_ok(cur) || val == FORM_SHARED ||
	    (look == FORM_SHARED && val != FORM_ONE))
		return bad(d, "a slot of no form");
	if (form & FORM_COMPLETE) {
		if (complete || !(form & FORM_CLEARED))
			return bad(d, "a slot marked complete for nothing");
		complete = true;
		s->carried = SLOT_COMPLETE;
	}
	if (complete || val)
		s->carried |= SLOT_VAL;
	if (complete || look)
		s->carried |= SLOT_LOOK;
	int r = get_reg(d, place, val, false, NULL, &s->val);
	if (r == 0)
		r = get_reg(d, place, look, true, &s->val, &s->look);
	if (r == 0 && look && place < PLACE_CONTENT)
		r = bad(d, "a position where none can be");
	if (r == 0 && form & FORM_SEQ)
		r = get_seq(d, place, s);
	if (r == 0 && form & FORM_CLEARED) {
		r = get_vv(d, "removal marks of unknown batches", &s->cleared);
		if (r == 0 && (s->cleared.n == 0 || !complete))
			r = bad(d, "removal marks out of place");
	}
	if (r == 0 && place == PLACE_ORDER && form & (FORM_CLEARED | FORM_CHILDREN))
		r = bad(d, "more than places among places");
	if (r < 0 || !(form & FORM_CHILDREN))
		return r;
	/* A child takes two bytes at least. */
	uint64_t n = cursor_varint_max(cur, cursor_left(cur) / 2);
	if (n == 0 || depth + 1 >= RECORD_DEPTH_MAX || n > SLOTS_MAX - d->slots)
		return bad(d, "too many slots");
	d->slots += (uint32_t)n;
	s->child = arena_alloc(d->a, (size_t)n * sizeof(*s->child));
	struct slot *c = arena_array(d->a, (size_t)n, sizeof(*c));
	if (!s->child || !c)
		return -ENOMEM;
	for (; s->n < n; s->n++, c++) {
		r = get_key(d, place, c);
		if (r < 0)
			return r;
		if (s->n > 0 && key_cmp(c[-1].key, c[-1].key_len, c->key, c->key_len) >= 0)
			return bad(d, "keys out of order");
		r = get_slot(d, c, place_below(place, c), depth + 1, complete);
		if (r < 0)
			return r;
		if (slot_empty(c))
			return bad(d, "a slot with nothing in it");
		s->child[s->n] = c;
	}
	return 0;
}

int slotcodec_get_edges(struct slotcodec *d, struct record *r, uint32_t n_edges)
{
	int ret = get_batches(d);
	return ret < 0 ? ret : get_edges(d, r, n_edges);
}

int slotcodec_get(struct slotcodec *d, struct record *r, uint32_t n_edges, bool with_top)
{
	int ret = slotcodec_get_edges(d, r, n_edges);
	if (ret == 0 && with_top) {
		r->top = arena_new(d->a, struct slot);
		if (!r->top)
			return -ENOMEM;
		ret = get_slot(d, r->top, PLACE_TOP, 0, !d->partial);
		if (ret == 0 && slot_empty(r->top))
			ret = bad(d, "a top with nothing below");
	}
	for (uint32_t i = 0; ret == 0 && i < d->batches.n; i++)
		if (!d->batches.used[i])
			ret = bad(d, "a batch without entries");
	if (ret == 0 && record_is_purged(r) && r->kind == NODE_DIR)
		ret = bad(d, "a directory that is purged");
	/* In the store verification mends that. */
	if (ret == 0 && d->wire && (!record_is_bare(r) || (record_is_purged(r) && d->partial)))
		ret = bad(d, "more of a purged file than that it is one");
	return ret;
}
