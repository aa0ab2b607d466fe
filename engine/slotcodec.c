/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/slotcodec-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/element.h"
#include "engine/json.h"
#include "engine/jsonnum.h"
#include "engine/patch.h"
#include "engine/purged.h"
#include "engine/slotseq.h"
#include "engine/utf8.h"

/* --- encoding --- */

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

/* What a file's time is told from on a link, in nanoseconds: most files are as old as their names, others as the change. */
static uint64_t time_base(uint64_t made_us, const struct entry *e)
{
	return (made_us ? made_us : hlc_us(e->hlc)) * 1000;
}

static void put_time(struct encoder *d, const struct entry *e)
{
	uint8_t data[VALUE_INT_MAX];
	struct value v = e->value;
	int64_t ns;
	if (value_int(&v, &ns) == 0)
		v = value_of_int((int64_t)((uint64_t)ns - time_base(d->made_us, e)), data);
	put_value(d->b, &v);
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
		if (place == PLACE_TIME && d->recent)
			put_time(d, &s->val.entry[i]);
		else
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

void slotcodec_put(const struct record *r, struct actors *actors, struct actor_codec *c,
		   bool partial, struct buf *b)
{
	struct encoder d = { .actors = actors,
			     .c = c,
			     .recent = c ? actor_codec_recent(c) : NULL,
			     .made_us = r->n_visits ? r->visit[0].us : 0,
			     .b = b };
	if (r->top)
		front_collect(&d, r->top);
	front_put_batches(&d);
	front_put_edges(&d, r);
	if (r->top)
		put_slot(&d, PLACE_TOP, r->top, !partial);
	free(d.batches.item);
}

/* --- decoding --- */

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
	return good ? 0 : slotcodec_bad(d, "an array that is none");
}

static int check_value(struct slotcodec *d, enum place place, const struct value *v)
{
	if (place == PLACE_TOP || place == PLACE_ORDER)
		return slotcodec_bad(d, "a value where none can be");
	if (place < PLACE_ORDER && (v->kind == VALUE_TEXT || v->kind == VALUE_LIST ||
				    v->kind == VALUE_COUNTER || v->kind == VALUE_CHARS ||
				    v->kind == VALUE_NODE))
		return slotcodec_bad(d, "a text, a list, a counter or a hard link where none can be");
	if (place >= PLACE_MEMBER && !value_is_json(v->kind))
		return slotcodec_bad(d, "a value that is no JSON inside of JSON");
	if (place == PLACE_CONTENT && (v->kind == VALUE_INT || v->kind == VALUE_BYTES))
		return slotcodec_bad(d, "a content of a kind that none has");
	switch (v->kind) {
	case VALUE_NULL:
	case VALUE_FALSE:
	case VALUE_TRUE:
	case VALUE_MAP:
	case VALUE_TEXT:
	case VALUE_LIST:
	case VALUE_CHARS:
		return v->len == 0 ? 0 : slotcodec_bad(d, "data where none can be");
	case VALUE_NUMBER:
		if (!json_number_valid((const char *)v->data, v->len))
			return slotcodec_bad(d, "a number that is none");
		return 0;
	case VALUE_COUNTER:
		if (v->len > JSON_SUM_MAX || !json_number_valid((const char *)v->data, v->len))
			return slotcodec_bad(d, "a counter that is none");
		return 0;
	case VALUE_STRING:
		if (d->wire && !utf8_valid(v->data, v->len))
			return slotcodec_bad(d, "a string that is not UTF-8");
		return 0;
	case VALUE_ARRAY:
		return d->wire ? check_array(d, v) : 0;
	case VALUE_INT: {
		int64_t n;
		return value_int(v, &n) == 0 ? 0 : slotcodec_bad(d, "an integer that is none");
	}
	case VALUE_BLOB:
	case VALUE_LINK:
	case VALUE_BYTES:
		return 0;
	case VALUE_NODE:
		return v->len == ID_SIZE ? 0 : slotcodec_bad(d, "a hard link to nothing");
	}
	return slotcodec_bad(d, "a value of no kind");
}

static int get_value(struct slotcodec *d, enum place place, struct value *v)
{
	struct cursor *cur = d->cur;
	uint8_t head = cursor_u8(cur);
	uint64_t kind = head & 15, len = head >> 4;
	if (kind == VALUE_LONG) {
		kind = cursor_varint(cur);
		if (cursor_ok(cur) && kind < VALUE_LONG)
			return slotcodec_bad(d, "a kind at length");
	}
	if (len == VALUE_LONG) {
		len = cursor_varint_max(cur, cursor_left(cur));
		len += VALUE_LONG;
	}
	v->data = cursor_take(cur, (size_t)len);
	v->len = (size_t)len;
	if (!cursor_ok(cur))
		return slotcodec_bad(d, "it ends within a value");
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
		return slotcodec_bad(d, "an entry of no batch");
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
		return slotcodec_bad(d, "an impossible position");
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
		return slotcodec_bad(d, "an impossible place");
	l.place = (struct seq_id){ .actor = e->dot.actor, .seq = e->dot.seq };
	if (l.placed && !(flags & PLACE_OWN)) {
		l.place.actor = actor_get(d->actors, d->codec, cur);
		l.place.seq = cursor_varint(cur);
		if (l.place.actor == e->dot.actor && l.place.seq == e->dot.seq)
			return slotcodec_bad(d, "a place's batch said twice");
	}
	if (l.placed)
		l.place.index = (uint32_t)cursor_varint_max(cur, UINT32_MAX);
	if (!cursor_ok(cur) ||
	    (l.placed && !slotcodec_knows(d, (struct dot){ l.place.actor, l.place.seq })))
		return slotcodec_bad(d, "a place of an unknown batch");
	uint8_t *data = arena_alloc(d->a, ELEMENT_LOOK_MAX);
	if (!data)
		return -ENOMEM;
	*v = (struct value){ VALUE_BYTES, data, element_look_encode(d->actors, &l, data) };
	return 0;
}

static int get_time(struct slotcodec *d, struct entry *e)
{
	int64_t ns;
	if (value_int(&e->value, &ns) < 0)
		return 0;
	uint8_t *data = arena_alloc(d->a, VALUE_INT_MAX);
	if (!data)
		return -ENOMEM;
	e->value = value_of_int((int64_t)((uint64_t)ns + time_base(d->made_us, e)), data);
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
			return slotcodec_bad(d, "a wrong number of entries");
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
		if (r == 0 && is_look)
			r = place == PLACE_ELEMENT ? get_element_look(d, e, &e->value) :
						     get_look(d, &e->value);
		else if (r == 0)
			r = get_value(d, place, &e->value);
		if (r == 0 && !is_look && place == PLACE_TIME && d->recent)
			r = get_time(d, e);
		if (r < 0)
			return r;
		if (ret->n > 0 && dot_cmp(d->actors, e[-1].dot, e->dot) >= 0)
			return slotcodec_bad(d, "entries out of order");
	}
	if (is_look && form == FORM_ONE && val->n == 1 && val->entry[0].hlc == ret->entry[0].hlc &&
	    dot_cmp(d->actors, val->entry[0].dot, ret->entry[0].dot) == 0)
		return slotcodec_bad(d, "a shared batch said twice");
	return 0;
}

static int get_seq(struct slotcodec *d, enum place place, struct slot *s)
{
	if (place < PLACE_ORDER)
		return slotcodec_bad(d, "a sequence where none can be");
	if (!d->codec) {
		s->seq = cursor_bytes(d->cur, cursor_left(d->cur), &s->seq_len);
		return cursor_ok(d->cur) && s->seq_len > 0 ? 0 : slotcodec_bad(d, "it ends within a sequence");
	}
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct actors *actors = (struct actors *)(uintptr_t)d->actors;
	int r = seq_part_decode(d->cur, actors, d->codec, d->ctx, &part, d->e);
	if (r < 0)
		return r;
	if (seq_part_empty(part))
		return slotcodec_bad(d, "a sequence without anything in it");
	if (seq_part_flavour(part) != (place == PLACE_ORDER ? SEQ_BARE : SEQ_TEXT))
		return slotcodec_bad(d, "a sequence of another kind");
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
		return slotcodec_bad(d, "it ends within a key");
	if (above < PLACE_CONTENT)
		return 0;
	if (key_is_member(s->key, s->key_len))
		return !d->wire || utf8_valid((const uint8_t *)s->key, s->key_len) ?
			       0 : slotcodec_bad(d, "a key that is not UTF-8");
	if (s->key_len == ELEMENT_HASH_SIZE || key_is_order(s->key, s->key_len))
		return 0;
	if (s->key_len != 1 || (uint8_t)s->key[0] != KEY_DOT)
		return slotcodec_bad(d, "a key of no form");
	struct seq_id id = { .actor = actor_get(d->actors, d->codec, cur) };
	id.seq = cursor_varint(cur);
	id.index = (uint32_t)cursor_varint_max(cur, UINT32_MAX);
	if (!cursor_ok(cur) || !slotcodec_knows(d, (struct dot){ id.actor, id.seq }))
		return slotcodec_bad(d, "an element of an unknown batch");
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
		return slotcodec_bad(d, "a slot of no form");
	if (form & FORM_COMPLETE) {
		if (complete || !(form & FORM_CLEARED))
			return slotcodec_bad(d, "a slot marked complete for nothing");
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
		r = slotcodec_bad(d, "a position where none can be");
	if (r == 0 && form & FORM_SEQ)
		r = get_seq(d, place, s);
	if (r == 0 && form & FORM_CLEARED) {
		r = slotcodec_get_vv(d, "removal marks of unknown batches", &s->cleared);
		if (r == 0 && (s->cleared.n == 0 || !complete))
			r = slotcodec_bad(d, "removal marks out of place");
	}
	if (r == 0 && place == PLACE_ORDER && form & (FORM_CLEARED | FORM_CHILDREN))
		r = slotcodec_bad(d, "more than places among places");
	if (r < 0 || !(form & FORM_CHILDREN))
		return r;
	/* A child takes two bytes at least. */
	uint64_t n = cursor_varint_max(cur, cursor_left(cur) / 2);
	if (n == 0 || depth + 1 >= RECORD_DEPTH_MAX || n > SLOTS_MAX - d->slots)
		return slotcodec_bad(d, "too many slots");
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
			return slotcodec_bad(d, "keys out of order");
		r = get_slot(d, c, place_below(place, c), depth + 1, complete);
		if (r < 0)
			return r;
		if (slot_empty(c))
			return slotcodec_bad(d, "a slot with nothing in it");
		s->child[s->n] = c;
	}
	return 0;
}

int slotcodec_get(struct slotcodec *d, struct record *r, uint32_t n_edges, bool with_top)
{
	int ret = slotcodec_get_edges(d, r, n_edges);
	d->made_us = ret == 0 && r->n_visits ? r->visit[0].us : 0;
	if (ret == 0 && with_top) {
		r->top = arena_new(d->a, struct slot);
		if (!r->top)
			return -ENOMEM;
		ret = get_slot(d, r->top, PLACE_TOP, 0, !d->partial);
		if (ret == 0 && slot_empty(r->top))
			ret = slotcodec_bad(d, "a top with nothing below");
	}
	for (uint32_t i = 0; ret == 0 && i < d->batches.n; i++)
		if (!d->batches.used[i])
			ret = slotcodec_bad(d, "a batch without entries");
	if (ret == 0 && record_is_purged(r) && r->kind == NODE_DIR)
		ret = slotcodec_bad(d, "a directory that is purged");
	/* In the store verification mends that. */
	if (ret == 0 && d->wire && (!record_is_bare(r) || (record_is_purged(r) && d->partial)))
		ret = slotcodec_bad(d, "more of a purged file than that it is one");
	return ret;
}
