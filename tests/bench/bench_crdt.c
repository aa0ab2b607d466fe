/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a save and a delta cost without a disk: a 1 KB document of 30 keys. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/device.h"

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* A document like those people keep: strings, numbers, an array, an object inside. */
static void document(struct buf *b, unsigned changed)
{
	buf_puts(b, "{\n");
	for (unsigned i = 0; i < 24; i++)
		buf_putf(b, "  \"field_%02u\": \"a value of some length %u\",\n", i,
			 i == 7 ? changed : i);
	buf_puts(b, "  \"tags\": [\n    \"one\",\n    \"two\"\n  ],\n");
	buf_puts(b, "  \"address\": {\n    \"street\": \"Main Street 1\",\n    \"zip\": 12345,\n"
		    "    \"city\": \"Springfield\",\n    \"country\": null\n  },\n");
	buf_putf(b, "  \"count\": %u\n}\n", 42u);
}

static void bench_save(void)
{
	enum { ROUNDS = 20000 };
	struct device d;
	_cleanup_(buf_done) struct buf text = { 0 }, base = { 0 }, stored = { 0 }, out = { 0 };
	device_init(&d, 1);
	document(&base, 7);
	device_save_len(&d, NULL, 0, NULL, (const char *)base.data, base.len, NULL, NULL);
	record_encode(d.rec, d.actors, &stored);
	printf("1 KB document: stored size\t%.3f\tof text\t<=1.3\n",
	       (double)stored.len / (double)base.len);

	struct arena a = { 0 };
	double parse = 0, diff = 0, decode = 0, patch = 0, remember = 0, render = 0, encode = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct json *old, *new;
		struct patch *p;
		struct record *r;
		const struct record *q;
		struct stamp st = device_stamp(&d);
		arena_reset(&a);
		buf_reset(&text);
		document(&text, 1000 + i);
		double t0 = now_us();
		must(json_parse(&a, (const char *)base.data, base.len, NULL, &old, NULL));
		must(json_parse(&a, (const char *)text.data, text.len, NULL, &new, NULL));
		double t1 = now_us();
		must(jdiff(&a, old, new, NULL, &p));
		double t2 = now_us();
		must(record_decode(&a, d.actors, stored.data, stored.len, &r, NULL));
		double t3 = now_us();
		must(record_patch(&a, d.actors, r, p, NULL, &st, NULL, NULL, &q));
		double t4 = now_us();
		must(render_remember(&a, d.actors, q, (const char *)text.data, text.len, new, false,
				     NULL, &st, &q));
		double t5 = now_us();
		buf_reset(&out);
		must(render_json(&a, d.actors, q, &out, NULL));
		double t6 = now_us();
		struct buf next = { 0 };
		record_encode(q, d.actors, &next);
		double t7 = now_us();
		parse += t1 - t0;
		diff += t2 - t1;
		decode += t3 - t2;
		patch += t4 - t3;
		remember += t5 - t4;
		render += t6 - t5;
		encode += t7 - t6;
		if (out.len != text.len || memcmp(out.data, text.data, out.len) != 0)
			tap_bail("rendered something else");
		buf_done(&stored);
		stored = next;
		buf_reset(&base);
		buf_put(&base, text.data, text.len);
	}
	printf("1 KB document: decode+patch+render+encode\t%.2f\tus\t<=40\n",
	       (decode + patch + render + encode) / ROUNDS);
	fprintf(stderr,
		"us: parse both %.2f, jdiff %.2f, decode %.2f, patch %.2f, remember %.2f, render %.2f, encode %.2f\n",
		parse / ROUNDS, diff / ROUNDS, decode / ROUNDS, patch / ROUNDS, remember / ROUNDS,
		render / ROUNDS, encode / ROUNDS);
	printf("1 KB document: stored size after %d saves\t%.3f\tof text\t<=1.3\n", ROUNDS,
	       (double)stored.len / (double)base.len);
	arena_done(&a);
	device_done(&d);
}

static void bench_delta(void)
{
	enum { ROUNDS = 20000 };
	struct device a, b;
	_cleanup_(buf_done) struct buf text = { 0 }, wire = { 0 };
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
	device_init(&a, 1);
	device_init(&b, 2);
	must(actor_codec_new(a.actors, &out));
	must(actor_codec_new(b.actors, &in));
	document(&text, 7);
	device_edit(&a, buf_cstr(&text));
	device_meet(&a, &b);
	double us = 0, bytes = 0;
	const char *value[] = { "\"yes\"", "\"no\"" };
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct arena tmp = { 0 };
		struct json *j;
		struct delta *d;
		const struct record *joined;
		struct stamp st = device_stamp(&a);
		must(json_parse(&a.arena, value[i % 2], strlen(value[i % 2]), NULL, &j, NULL));
		struct patch set = {
			.kind = PATCH_SET, .key = "field_07", .key_len = 8, .value = j
		};
		struct patch root = { .kind = PATCH_INTO, .first = &set };
		must(record_patch(&a.arena, a.actors, a.rec, &root, NULL, &st, NULL, NULL, &a.rec));
		_cleanup_(vv_done) struct vv known = device_translate(&b.have, b.actors, a.actors);
		buf_reset(&wire);
		double t0 = now_us();
		must(delta_make(&tmp, a.actors, a.rec, &known, false, &d));
		delta_encode(d, a.actors, out, &wire);
		uint8_t *copy = (uint8_t *)arena_dup(&b.arena, wire.data, wire.len);
		struct cursor cur = cursor_make(copy, wire.len);
		must(delta_decode(&b.arena, b.actors, in, &cur, &d, NULL));
		must(delta_join(&b.arena, b.actors, b.rec, d, &joined));
		us += now_us() - t0;
		b.rec = joined;
		_cleanup_(vv_done) struct vv got = device_translate(&a.have, a.actors, b.actors);
		must(vv_join(&b.have, &got));
		if (i > 0)
			bytes += (double)wire.len;
		arena_done(&tmp);
	}
	struct id x, y;
	record_fingerprint(a.rec, a.actors, &x);
	record_fingerprint(b.rec, b.actors, &y);
	if (!id_equal(&x, &y))
		tap_bail("the two differ");
	printf("one-field deltas made, sent and joined\t%.0f\t/s\t>=50000\n", ROUNDS / us * 1e6);
	printf("one-field delta\t%.1f\tB\t<=120\n", bytes / (ROUNDS - 1));
	device_done(&a);
	device_done(&b);
}

/* Linear or not: a change in an object of 100,000 keys, and of all of them. */
static void bench_large(void)
{
	enum { KEYS = 100000 };
	struct device d;
	_cleanup_(buf_done) struct buf one = { 0 }, two = { 0 }, out = { 0 };
	device_init(&d, 1);
	for (unsigned which = 0; which < 2; which++) {
		struct buf *b = which ? &two : &one;
		buf_puts(b, "{");
		for (unsigned i = 0; i < KEYS; i++)
			buf_putf(b, "%s\"key%u\":%u", i ? "," : "", (i * 7919) % KEYS,
				 which && i % 2 ? i + 1 : i);
		if (which)
			buf_puts(b, ",\"new\":1");
		buf_puts(b, "}\n");
	}
	double t0 = now_us();
	device_save_len(&d, NULL, 0, NULL, (const char *)one.data, one.len, NULL, NULL);
	double t1 = now_us();
	device_save_len(&d, (const char *)one.data, one.len, NULL, (const char *)two.data, two.len,
			NULL, NULL);
	double t2 = now_us();
	record_encode(d.rec, d.actors, &out);
	struct record *r;
	must(record_decode(&d.arena, d.actors, out.data, out.len, &r, NULL));
	double t3 = now_us();
	if (strcmp(device_text(&d), buf_cstr(&two)) != 0)
		tap_bail("a large document reads differently");
	printf("100,000 keys: created\t%.0f\tms\t<=500\n", (t1 - t0) / 1e3);
	printf("100,000 keys: half of them changed\t%.0f\tms\t<=500\n", (t2 - t1) / 1e3);
	printf("100,000 keys: encoded and decoded\t%.0f\tms\t<=200\n", (t3 - t2) / 1e3);
	device_done(&d);
}

int main(void)
{
	bench_save();
	bench_delta();
	bench_large();
	return 0;
}
