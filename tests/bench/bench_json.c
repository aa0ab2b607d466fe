/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing of 1 KB documents: 256 different ones (indented and compact, mostly ASCII, some
 * with escapes and accents), so that the branch predictor cannot learn a single text by
 * heart. Every figure is the best of several rounds over the same documents. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "engine/jsonstyle.h"
#include "engine/jsonw.h"
#include "engine/utf8.h"
#include "tests/bench/figure.h"
#include "tests/prng.h"

#define DOCUMENTS 256
#define DOCUMENT_SIZE 1024
#define ROUNDS 15
#define REPEAT 40

static struct buf doc[DOCUMENTS];
static size_t total;

static void random_word(struct prng *r, char *out, size_t max)
{
	size_t n = 2 + prng_below(r, max - 3);
	for (size_t i = 0; i < n; i++)
		out[i] = prng_chance(r, 12) ? ' ' : (char)('a' + prng_below(r, 26));
	out[n] = 0;
}

static void random_value(struct prng *r, struct jsonw *w)
{
	char text[64];
	switch (prng_below(r, 8)) {
	case 0:
		jsonw_bool(w, prng_chance(r, 50));
		break;
	case 1:
		jsonw_int(w, (int64_t)(prng_u64(r) >> prng_below(r, 60)));
		break;
	case 2:
		jsonw_double(w, (double)prng_below(r, 1000000) / 100);
		break;
	case 3:
		jsonw_null(w);
		break;
	case 4:
		jsonw_string(w, "Zo\xc3\xab \"Quote\" K\xc3\xb6ln\n");
		break;
	default:
		random_word(r, text, 60);
		jsonw_string(w, text);
		break;
	}
}

/* A record as people keep them: fields, a nested object, a list of small objects. */
static void make_document(struct prng *r, struct buf *b, unsigned indent)
{
	struct jsonw w;
	char name[24];
	jsonw_init(&w, b, indent);
	jsonw_object_begin(&w);
	for (int group = 0; b->len < DOCUMENT_SIZE - 200; group++) {
		snprintf(name, sizeof(name), "group_%d", group);
		jsonw_key(&w, name);
		jsonw_object_begin(&w);
		for (int i = 0; i < 5; i++) {
			char word[12];
			random_word(r, word, 10);
			snprintf(name, sizeof(name), "%s%d", word, i);
			jsonw_key(&w, name);
			random_value(r, &w);
		}
		jsonw_key(&w, "tags");
		jsonw_array_begin(&w);
		for (uint64_t i = prng_below(r, 5); i > 0; i--)
			random_value(r, &w);
		jsonw_array_end(&w);
		jsonw_object_end(&w);
	}
	jsonw_object_end(&w);
	jsonw_end(&w);
	buf_u8(b, '\n');
}

typedef bool (*work_fn)(const char *text, size_t len);

/* MB/s of one round of a piece of work over all documents; 0 when the work failed. */
static double round_speed(work_fn work)
{
	double t = now();
	for (int k = 0; k < REPEAT; k++)
		for (int i = 0; i < DOCUMENTS; i++)
			if (!work((const char *)doc[i].data, doc[i].len))
				return 0;
	return (double)total * REPEAT / (now() - t) / 1e6;
}

/* The best speed of each of n pieces of work, which take turns: whatever else the machine does
 * hits all of them. */
static void speeds(const work_fn *work, size_t n, double *best)
{
	memset(best, 0, n * sizeof(*best));
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < n; i++) {
			double v = round_speed(work[i]);
			if (v > best[i])
				best[i] = v;
		}
}

static struct arena arena;

static bool parse_only(const char *text, size_t len)
{
	struct json *root;
	arena_reset(&arena);
	return json_parse(&arena, text, len, NULL, &root, NULL) == 0;
}

static bool parse_and_detect(const char *text, size_t len)
{
	struct json *root;
	struct json_style style;
	arena_reset(&arena);
	if (json_parse(&arena, text, len, NULL, &root, NULL) < 0)
		return false;
	json_style_detect(root, text, len, &style);
	return style.final_newlines == 1;
}

static struct buf out;

static bool parse_and_render(const char *text, size_t len)
{
	struct json *root;
	struct json_style style;
	arena_reset(&arena);
	buf_reset(&out);
	if (json_parse(&arena, text, len, NULL, &root, NULL) < 0)
		return false;
	json_style_detect(root, text, len, &style);
	json_style_write(root, &style, &out);
	return out.len == len && memcmp(out.data, text, len) == 0;
}

/* The least that a strict parser has to do: look at every byte and check UTF-8. */
static bool scan_only(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len;
	unsigned quotes = 0;
	while (p < end) {
		size_t n = *p < 0x80 ? 1 : utf8_sequence(p, end);
		if (n == 0)
			return false;
		quotes += *p == '"';
		p += n;
	}
	return quotes > 0;
}

/* Debian's jansson, if it happens to be installed. */
static void *(*jansson_load)(const char *, size_t, size_t, void *);
static void (*jansson_delete)(void *);

static bool jansson_parse(const char *text, size_t len)
{
	void *v = jansson_load(text, len, 0, NULL);
	if (v)
		jansson_delete(v);
	return v != NULL;
}

static void load_jansson(void)
{
	void *lib = dlopen("libjansson.so.4", RTLD_NOW);
	if (!lib)
		return;
	*(void **)&jansson_load = dlsym(lib, "json_loadb");
	*(void **)&jansson_delete = dlsym(lib, "json_delete");
}

int main(void)
{
	enum { PARSE, DETECT, RENDER, SCAN, JANSSON, N };
	work_fn work[N] = { parse_only, parse_and_detect, parse_and_render, scan_only,
			    jansson_parse };
	double v[N] = { 0 };
	struct prng r = { 1 };
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		make_document(&r, &doc[i], i % 2 ? 2 : 0);
		total += doc[i].len;
	}
	load_jansson();
	bool peer = jansson_load && jansson_delete;
	speeds(work, peer ? N : JANSSON, v);
	if (v[PARSE] <= 0 || v[DETECT] <= 0 || v[RENDER] <= 0 || v[SCAN] <= 0) {
		fprintf(stderr, "bench_json: a document did not come back\n");
		return 1;
	}
	fprintf(stderr, "bench_json: %d documents, %.0f bytes on average\n", DOCUMENTS,
		(double)total / DOCUMENTS);
	printf("json parse, 1 KB documents\t%.0f\tMB/s\t>=200\n", v[PARSE]);
	printf("json parse, beside a UTF-8 scan\t%.0f\tMB/s\tscan=%.0f\n", v[PARSE], v[SCAN]);
	if (peer)
		printf("json parse, beside jansson\t%.0f\tMB/s\tjansson=%.0f\n", v[PARSE],
		       v[JANSSON]);
	printf("json style detection, share of parsing\t%.1f\t%%\t<=20\n",
	       (v[PARSE] / v[DETECT] - 1) * 100);
	printf("json parse, detect and render\t%.0f\tMB/s\n", v[RENDER]);
	arena_done(&arena);
	buf_done(&out);
	for (unsigned i = 0; i < DOCUMENTS; i++)
		buf_done(&doc[i]);
	return 0;
}
