/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recorded paper, keystroke by keystroke (automerge-paper: 259,778 insertions and deletions of
 * one character), each committed as a batch of its own: what a text costs in time, memory and
 * bytes. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "engine/json.h"
#include "engine/seq.h"
#include "engine/utf8.h"
#include "tests/device.h"

#define ROUNDS 7 /* the best one counts */
#define LIVE 40000 /* keystrokes sent one by one */

struct op {
	uint32_t pos, del; /* bytes */
	uint32_t n;
	const char *text;
};

struct trace {
	struct arena arena;
	struct buf source;
	struct op *op;
	size_t n;
	const struct json *end;
};

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint32_t number(const struct json *v)
{
	uint32_t n = 0;
	if (!v || v->type != JSON_NUMBER)
		tap_bail("the trace has something else where a number should be");
	for (size_t i = 0; i < v->len; i++)
		n = n * 10 + (uint32_t)(v->text[i] - '0');
	return n;
}

static void unpack(struct buf *b)
{
	_cleanup_free_ char *path = tap_data("editing-traces/automerge-paper.json.gz");
	_cleanup_free_ char *command = NULL;
	size_t n;
	if (asprintf(&command, "gzip -dc '%s'", path) < 0)
		tap_bail("out of memory");
	FILE *f = popen(command, "r");
	if (!f)
		tap_bail("no gzip");
	do {
		uint8_t *p = buf_reserve(b, 1 << 20);
		if (!p)
			tap_bail("out of memory");
		n = fread(p, 1, 1 << 20, f);
		b->len += n;
	} while (n > 0);
	if (pclose(f) != 0)
		tap_bail("%s failed", command);
}

/* Positions of the trace are code points. Without any character beyond ASCII these are bytes. */
static void check_ascii(const struct json *text)
{
	for (size_t i = 0; i < text->len; i++)
		if ((uint8_t)text->text[i] >= 0x80)
			tap_bail("the trace is not ASCII: its positions would have to be mapped");
}

static void read_trace(struct trace *t)
{
	struct json *root;
	struct err e = { 0 };
	unpack(&t->source);
	if (json_parse(&t->arena, (const char *)t->source.data, t->source.len, NULL, &root, &e) < 0)
		tap_bail("the trace: %s", e.message);
	t->end = json_get_z(root, "endContent");
	const struct json *txns = json_get_z(root, "txns");
	for (const struct json *txn = txns->first; txn; txn = txn->next)
		t->n += json_get_z(txn, "patches")->count;
	t->op = arena_array(&t->arena, t->n, sizeof(*t->op));
	if (!t->op || json_get_z(root, "startContent")->len > 0)
		tap_bail("a trace that begins with something");
	t->n = 0;
	for (const struct json *txn = txns->first; txn; txn = txn->next)
		for (const struct json *p = json_get_z(txn, "patches")->first; p; p = p->next) {
			const struct json *text = p->first->next->next;
			check_ascii(text);
			t->op[t->n++] = (struct op){ number(p->first), number(p->first->next),
						     (uint32_t)text->len, text->text };
		}
}

static void apply(struct seq *s, const struct trace *t, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const struct op *op = &t->op[i];
		struct dot dot = { 0, i + 1 };
		if (op->del > 0)
			must(seq_delete(s, op->pos, op->del, dot));
		if (op->n > 0)
			must(seq_insert(s, op->pos, op->text, op->n, dot));
	}
}

static void check_end(const struct seq *s, const struct trace *t)
{
	_cleanup_free_ char *text = malloc(t->end->len);
	if (!text || seq_length(s) != t->end->len ||
	    seq_read(s, 0, (uint32_t)t->end->len, text) < 0 ||
	    memcmp(text, t->end->text, t->end->len) != 0)
		tap_bail("not the text that the trace ends with");
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static struct seq *bench_apply(const struct trace *t, const struct actors *actors)
{
	struct seq *s = NULL;
	double best = 1e9;
	size_t before = 0;
	for (int i = 0; i < ROUNDS; i++) {
		seq_free(s);
		before = in_use();
		double t0 = now_ms();
		must(seq_new(SEQ_TEXT, actors, &s));
		apply(s, t, 0, t->n);
		double ms = now_ms() - t0;
		best = ms < best ? ms : best;
	}
	check_end(s, t);
	printf("paper: %zu keystrokes applied\t%.1f\tms\t<=265\n", t->n, best);
	printf("paper: memory\t%.2f\tMB\t<=50\n", (double)(in_use() - before) / 1e6);
	return s;
}

static void bench_state(const struct trace *t, const struct seq *s, struct actors *actors)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	double encode = 1e9, decode = 1e9, copy = 1e9;
	for (int i = 0; i < ROUNDS * 3; i++) {
		struct seq *again, *twin;
		buf_reset(&b);
		double t0 = now_ms();
		seq_encode(s, actors, NULL, &b);
		double t1 = now_ms();
		struct cursor cur = cursor_make(b.data, b.len);
		must(seq_decode(&cur, actors, NULL, NULL, &again, NULL));
		double t2 = now_ms();
		must(seq_copy(again, &twin));
		double t3 = now_ms();
		encode = t1 - t0 < encode ? t1 - t0 : encode;
		decode = t2 - t1 < decode ? t2 - t1 : decode;
		copy = t3 - t2 < copy ? t3 - t2 : copy;
		check_end(twin, t);
		seq_free(again);
		seq_free(twin);
	}
	size_t cap = ZSTD_compressBound(b.len);
	_cleanup_free_ void *out = malloc(cap);
	size_t packed = ZSTD_compress(out, cap, b.data, b.len, 3);
	printf("paper: loaded\t%.2f\tms\t<=5\n", decode);
	printf("paper: encoded\t%.2f\tms\t<=5\n", encode);
	printf("paper: copied\t%.2f\tms\t<=5\n", copy);
	printf("paper: encoded, as it is\t%zu\tB\t\n", b.len);
	printf("paper: encoded, zstd -3\t%zu\tB\t<=130000\n", packed);
}

/* Each of the last keystrokes, when the text is long, made into a part for a peer, encoded, decoded and
 * joined. */
static void bench_live(const struct trace *t, struct actors *actors)
{
	struct seq *s, *peer;
	struct buf b = { 0 };
	size_t bytes = 0;
	_cleanup_(vv_done) struct vv known = { 0 };
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
	must(actor_codec_new(actors, &out));
	must(actor_codec_new(actors, &in));
	const size_t first = t->n > LIVE ? t->n - LIVE : 0;
	must(seq_new(SEQ_TEXT, actors, &s));
	apply(s, t, 0, first);
	must(seq_copy(s, &peer));
	double t0 = now_ms();
	for (size_t i = first; i < t->n; i++) {
		_cleanup_(seq_part_freep) struct seq_part *d = NULL, *got = NULL;
		must(vv_raise(&known, 0, i));
		apply(s, t, i, i + 1);
		must(seq_part_make(s, &known, &d));
		buf_reset(&b);
		seq_part_encode(d, actors, out, &b);
		struct cursor cur = cursor_make(b.data, b.len);
		must(seq_part_decode(&cur, actors, in, NULL, &got, NULL));
		must(seq_join(peer, got, NULL));
		bytes += b.len;
	}
	const double n = (double)(t->n - first), us = (now_ms() - t0) * 1e3 / n;
	check_end(peer, t);
	printf("paper: a keystroke sent to a peer\t%.2f\tus\t<=20\n", us);
	printf("paper: a keystroke sent to a peer\t%.1f\tB\t<=30\n", (double)bytes / n);
	buf_done(&b);
	seq_free(s);
	seq_free(peer);
}

/* A keystroke of a peer comes to a text that nobody has asked for an id yet; and one at a place
 * where we have written, too. */
static void bench_join(const struct trace *t, const struct seq *s)
{
	double best[2] = { 1e9, 1e9 };
	for (int i = 0; i < ROUNDS * 3; i++) {
		for (int both = 0; both < 2; both++) {
			_cleanup_(seq_freep) struct seq *theirs = NULL, *mine = NULL;
			_cleanup_(seq_part_freep) struct seq_part *d = NULL;
			_cleanup_(vv_done) struct vv known = { 0 };
			must(vv_raise(&known, 0, t->n));
			must(seq_copy(s, &theirs));
			must(seq_copy(s, &mine));
			must(seq_insert(theirs, 50000, "x", 1, (struct dot){ 1, 1 }));
			if (both)
				must(seq_insert(mine, 50000, "y", 1, (struct dot){ 0, t->n + 1 }));
			must(seq_part_make(theirs, &known, &d));
			double t0 = now_ms();
			must(seq_join(mine, d, NULL));
			double ms = now_ms() - t0;
			best[both] = ms < best[both] ? ms : best[both];
		}
	}
	printf("paper: first join\t%.2f\tms\t<=5\n", best[0]);
	printf("paper: join where both have written\t%.2f\tms\t<=10\n", best[1]);
}

/* A text of 10 MB in one insertion, and a thousand replacements all over it in one batch. */
static void bench_large(struct actors *actors)
{
	enum { SIZE = 10000000, EDITS = 1000 };
	_cleanup_free_ char *text = malloc(SIZE), *read = malloc(SIZE);
	double insert = 1e9, replace = 1e9, whole = 1e9;
	struct seq_edit edit[EDITS];
	struct seq *s;
	struct seq_base *base;
	if (!text || !read)
		tap_bail("out of memory");
	for (size_t i = 0; i < SIZE; i++)
		text[i] = i % 60 == 59 ? '\n' : (char)('a' + i % 26);
	for (uint32_t i = 0; i < EDITS; i++)
		edit[i] = (struct seq_edit){ i * (SIZE / EDITS), 5, "replaced", 8 };
	for (int i = 0; i < ROUNDS; i++) {
		double t0 = now_ms();
		must(seq_new(SEQ_TEXT, actors, &s));
		must(seq_insert(s, 0, text, SIZE, (struct dot){ 0, 1 }));
		double t1 = now_ms();
		must(seq_base_make(s, &base));
		must(seq_edit(s, base, NULL, edit, EDITS, (struct dot){ 0, 2 }));
		double t2 = now_ms();
		must(seq_read(s, 0, SIZE, read));
		double t3 = now_ms();
		insert = t1 - t0 < insert ? t1 - t0 : insert;
		replace = t2 - t1 < replace ? t2 - t1 : replace;
		whole = t3 - t2 < whole ? t3 - t2 : whole;
		seq_base_free(base);
		seq_free(s);
	}
	printf("10 MB: inserted\t%.2f\tms\t<=50\n", insert);
	printf("10 MB: 1,000 replacements\t%.2f\tms\t<=50\n", replace);
	printf("10 MB: read\t%.2f\tms\t<=10\n", whole);
}

int main(void)
{
	struct trace t = { .n = 0 };
	struct actors *actors;
	must(actors_new(&actors));
	for (uint8_t i = 0; i < 2; i++) {
		struct actor_id id = { { { i } }, 1 };
		uint32_t no;
		must(actors_intern(actors, &id, &no));
	}
	read_trace(&t);
	struct seq *s = bench_apply(&t, actors);
	bench_state(&t, s, actors);
	bench_join(&t, s);
	seq_free(s);
	bench_live(&t, actors);
	bench_large(actors);
	actors_free(actors);
	arena_done(&t.arena);
	buf_done(&t.source);
	return 0;
}
