/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A device that holds one document, for tests of merging: it saves texts, hands deltas to
 * others as bytes, and numbers actors its own way. Everything it makes lives until the end. */

#include <errno.h>
#include <string.h>

#include "engine/delta.h"
#include "engine/jdiff.h"
#include "engine/json.h"
#include "engine/render.h"
#include "tests/tap.h"

#define must(expr)                                                                               \
	do {                                                                                     \
		int must_r = (expr);                                                             \
		if (must_r < 0)                                                                  \
			tap_bail("%s:%d: %s: %s", __FILE__, __LINE__, #expr, strerror(-must_r)); \
	} while (0)

/* What its programs know of the lists of a text that they read or wrote. */
struct device_known {
	struct device_known *next;
	const char *text;
	size_t len;
	struct elements *elements; /* NULL: none */
};

struct device {
	struct arena arena;
	struct actors *actors;
	uint32_t me;
	uint64_t seq;
	struct clock clock;
	uint64_t wall;            /* microseconds */
	const struct record *rec; /* NULL: none */
	struct vv have;           /* everything seen; malloc */
	struct device_known *known; /* newest first */
};

static const struct id device_doc = { { 0xd0, 0xc } }, device_scope = { { 0x5c } };

_unused_ static struct actor_id device_actor(unsigned n)
{
	/* Identifiers whose order is not that of n. */
	return (struct actor_id){ { { (uint8_t)(n * 151 + 7), (uint8_t)n } }, n % 2 };
}

_unused_ static void device_init(struct device *d, unsigned n)
{
	struct actor_id id = device_actor(n);
	*d = (struct device){ .wall = UINT64_C(1700000000000000) + n };
	must(actors_new(&d->actors));
	must(actors_intern(d->actors, &id, &d->me));
}

_unused_ static void device_done(struct device *d)
{
	for (struct device_known *k = d->known; k; k = k->next)
		elements_free(k->elements);
	arena_done(&d->arena);
	actors_free(d->actors);
	vv_done(&d->have);
}

_unused_ static struct stamp device_stamp(struct device *d)
{
	d->wall += 1000;
	struct stamp st = { { d->me, ++d->seq }, clock_next(&d->clock, d->wall) };
	must(vv_raise(&d->have, d->me, d->seq));
	return st;
}

/* The same vector in another device's numbers; malloc. */
_unused_ static struct vv device_translate(const struct vv *v, const struct actors *from,
					   struct actors *to)
{
	struct vv r = { 0 };
	for (uint32_t i = 0; i < v->n; i++) {
		uint32_t no;
		must(actors_intern(to, actors_get(from, v->item[i].actor), &no));
		must(vv_raise(&r, no, v->item[i].seq));
	}
	return r;
}

_unused_ static void device_know(struct device *d, const char *text, size_t len,
				 struct elements *take)
{
	struct device_known *k = arena_new(&d->arena, struct device_known);
	must(k ? 0 : -ENOMEM);
	*k = (struct device_known){ d->known, arena_dup(&d->arena, text, len), len, take };
	d->known = k;
}

/* What the document shows, as a C string; NULL when there is nothing to show. */
_unused_ static char *device_text(struct device *d)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct elements *elements;
	if (!d->rec || render_json(&d->arena, d->actors, d->rec, &b, &elements) < 0)
		return NULL;
	device_know(d, (const char *)b.data, b.len, elements);
	return (char *)(uintptr_t)d->known->text;
}

_unused_ static struct json *device_parse(struct device *d, const char *text, size_t len)
{
	struct json *j;
	struct err e = { 0 };
	if (json_parse(&d->arena, text, len, NULL, &j, &e) < 0)
		tap_bail("not JSON: %s: %s", e.message, text);
	return j;
}

/* A save of text by a program that had read base when the context was ctx (NULL: the head). */
_unused_ static struct stamp device_save_len(struct device *d, const char *base, size_t base_len,
					     const struct vv *ctx, const char *text, size_t len,
					     pointer_fn changed, void *userdata)
{
	struct stamp st = device_stamp(d);
	struct json *old = base ? device_parse(d, base, base_len) : NULL;
	/* The record refers to the text. */
	text = arena_dup(&d->arena, text, len);
	struct json *new = device_parse(d, text, len);
	struct patch *p;
	struct elements *elements;
	struct vv none = { 0 };
	/* A text that device_text gave is of the state then; else it is the newest that reads so. */
	const struct device_known *k = d->known;
	while (k && k->text != base)
		k = k->next;
	for (k = k ? k : d->known; k && base; k = k->next)
		if (k->text == base || (k->len == base_len && !memcmp(k->text, base, base_len)))
			break;
	if (k && base)
		must(elements_name(k->elements, &d->arena, d->actors, old));
	if (!d->rec) {
		struct record *r;
		must(record_new(&d->arena, &device_doc, &device_scope, NODE_FILE, &r));
		d->rec = r;
	}
	if (!ctx)
		ctx = base ? &d->rec->ctx : &none;
	bool merged = !vv_equal(ctx, &d->rec->ctx);
	must(jdiff(&d->arena, old, new, NULL, &p));
	if (p)
		must(record_patch(&d->arena, d->actors, d->rec, p, ctx, &st, changed, userdata,
				  &d->rec));
	must(render_remember(&d->arena, d->actors, d->rec, text, len, new, merged, ctx, &st,
			     &d->rec));
	must(elements_make(d->actors, new, &elements));
	device_know(d, text, len, elements);
	return st;
}

_unused_ static struct stamp device_save(struct device *d, const char *base, const struct vv *ctx,
					 const char *text)
{
	return device_save_len(d, base, base ? strlen(base) : 0, ctx, text, strlen(text), NULL,
			       NULL);
}

/* A save on what is shown now. */
_unused_ static struct stamp device_edit(struct device *d, const char *text)
{
	char *base = device_text(d);
	return device_save(d, base, NULL, text);
}

/* The delta that from makes for a peer that holds known (from's numbers), in to's numbers, through
 * the wire form. NULL: nothing to send. */
_unused_ static struct delta *device_delta(struct device *from, struct device *to,
					   const struct vv *known, bool complete)
{
	struct delta *d, *got;
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
	struct err e = { 0 };
	must(delta_make(&from->arena, from->actors, from->rec, known, complete, &d));
	if (!d)
		return NULL;
	must(actor_codec_new(from->actors, &out));
	must(actor_codec_new(to->actors, &in));
	delta_encode(d, from->actors, out, &b);
	struct cursor cur = cursor_make(arena_dup(&to->arena, b.data, b.len), b.len);
	if (delta_decode(&to->arena, to->actors, in, &cur, &got, &e) < 0)
		tap_bail("delta_decode: %s", e.message);
	if (!cursor_end(&cur))
		tap_bail("delta_decode left bytes");
	return got;
}

/* Everything that from has goes to to, as a delta against what to holds. */
_unused_ static void device_send(struct device *from, struct device *to)
{
	if (!from->rec)
		return;
	_cleanup_(vv_done) struct vv known = device_translate(&to->have, to->actors, from->actors);
	struct delta *d = device_delta(from, to, &known, false);
	if (d && !delta_fits(d, to->rec ? &to->rec->ctx : NULL, &to->have))
		tap_bail("a delta made for its receiver does not fit");
	if (d)
		must(delta_join(&to->arena, to->actors, to->rec, d, &to->rec));
	_cleanup_(vv_done) struct vv got = device_translate(&from->have, from->actors, to->actors);
	must(vv_join(&to->have, &got));
}

_unused_ static void device_meet(struct device *a, struct device *b)
{
	device_send(a, b);
	device_send(b, a);
}
