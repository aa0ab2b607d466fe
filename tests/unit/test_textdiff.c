/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unigbrk.h>

#include "engine/buf.h"
#include "engine/grapheme.h"
#include "engine/textdiff.h"
#include "tests/prng.h"
#include "tests/tap.h"

struct diff {
	struct arena a;
	const uint8_t *old, *new;
	uint32_t n, m;
	struct textdiff d;
};

static void diff_done(struct diff *x)
{
	arena_done(&x->a);
}

static struct diff diff_of(const void *old, size_t old_len, const void *new, size_t new_len)
{
	struct diff x = { .old = old, .new = new, .n = (uint32_t)old_len, .m = (uint32_t)new_len };
	if (textdiff(&x.a, old, old_len, new, new_len, &x.d) < 0)
		tap_bail("textdiff");
	return x;
}

static uint64_t edited(const struct diff *x)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < x->d.count; i++)
		sum += x->d.edit[i].old_len + x->d.edit[i].new_len;
	return sum;
}

/* --- what holds always ---------------------------------------------------------------------- */

/* Where clusters begin, as libunistring says of the whole text at once. */
static uint8_t *all_breaks(const uint8_t *text, uint32_t len)
{
	uint8_t *brk = calloc(1, len + 1);
	if (!brk)
		tap_bail("no memory");
	u8_grapheme_breaks(text, len, (char *)brk);
	brk[len] = brk[0] = 1;
	return brk;
}

static bool at_breaks(const struct diff *x)
{
	_cleanup_free_ uint8_t *old = all_breaks(x->old, x->n), *new = all_breaks(x->new, x->m);
	for (uint32_t i = 0; i < x->d.count; i++) {
		const struct hunk *h = &x->d.edit[i];
		if (old[h->old] && old[h->old + h->old_len] && new[h->new] &&
		    new[h->new + h->new_len])
			continue;
		tap_diag("edit %u,%u %u,%u cuts a cluster", h->old, h->old_len, h->new, h->new_len);
		return false;
	}
	return true;
}

/* The edits turn old into new, ascend, are neither empty nor adjacent nor without effect. */
static bool applies(const struct diff *x)
{
	uint32_t o = 0, n = 0;
	for (uint32_t i = 0; i <= x->d.count; i++) {
		struct hunk end = { x->n, 0, x->m, 0 };
		bool last = i == x->d.count;
		const struct hunk *h = last ? &end : &x->d.edit[i];
		bool good = h->old >= o && h->new >= n && h->old - o == h->new - n;
		good = good && (last || i == 0 || h->old > o);
		good = good && (last || h->old_len > 0 || h->new_len > 0);
		good = good && memcmp(x->old + o, x->new + n, h->old - o) == 0;
		good = good && (last || h->old_len != h->new_len ||
				memcmp(x->old + h->old, x->new + h->new, h->old_len) != 0);
		if (!good) {
			tap_diag("edit %u of %u: %u,%u %u,%u behind %u, %u", i, x->d.count, h->old,
				 h->old_len, h->new, h->new_len, o, n);
			return false;
		}
		o = h->old + h->old_len;
		n = h->new + h->new_len;
	}
	return o == x->n && n == x->m;
}

static bool bounded(const struct diff *x)
{
	uint64_t most = TEXTDIFF_STEPS((uint64_t)x->n + x->m);
	if (x->d.steps <= most && edited(x) <= (uint64_t)x->n + x->m)
		return true;
	tap_diag("%" PRIu64 " steps, at most %" PRIu64 "; %" PRIu64 " bytes edited", x->d.steps,
		 most, edited(x));
	return false;
}

/* --- examples -------------------------------------------------------------------------------- */

/* The old text with the edits in it: [removed|put in]. */
static void shows(const char *old, const char *new, const char *want, const char *name)
{
	_cleanup_(buf_done) struct buf out = { 0 };
	_cleanup_(diff_done) struct diff x = diff_of(old, strlen(old), new, strlen(new));
	uint32_t at = 0;
	buf_puts(&out, "");
	for (uint32_t i = 0; i < x.d.count; i++) {
		const struct hunk *h = &x.d.edit[i];
		buf_put(&out, old + at, h->old - at);
		buf_puts(&out, "[");
		buf_put(&out, old + h->old, h->old_len);
		buf_puts(&out, "|");
		buf_put(&out, new + h->new, h->new_len);
		buf_puts(&out, "]");
		at = h->old + h->old_len;
	}
	buf_puts(&out, old + at);
	if (!applies(&x) || !bounded(&x) || !at_breaks(&x))
		is_str("unsound", want, "%s", name);
	else
		is_str(buf_cstr(&out), want, "%s", name);
}

static void levels(void)
{
	shows("one\ntwo\n", "one\ntwo\n", "one\ntwo\n", "equal texts");
	shows("", "", "", "nothing and nothing");
	shows("", "one\n", "[|one\n]", "from nothing");
	shows("one\n", "", "[one\n|]", "to nothing");
	shows("one\ntwo\nthree\n", "one\nthree\n", "one\n[two\n|]three\n", "a line that went");
	shows("one\nthree\n", "one\ntwo\nthree\n", "one\n[|two\n]three\n", "a line that came");
	shows("the quick fox\n", "the slow fox\n", "the [quick|slow] fox\n", "a word");
	shows("the fox\n", "the quick fox\n", "the [|quick ]fox\n", "a word that came");
	shows("a colour is one\n", "a color is one\n", "a colo[u|]r is one\n", "a character");
	shows("f(a, b)\n", "f(a, b, c)\n", "f(a, b[|, c])\n", "an argument");
	shows("no end", "no end\n", "no end[|\n]", "a line end that came");
	shows("\tx = 1;\n\ty = 2;\n", "\t\tx = 1;\n\t\ty = 2;\n", "[|\t]\tx = 1;\n[|\t]\ty = 2;\n",
	      "an indent");
	shows("aGVsbG8gd29ybGQhIGhvdyBhcmUgeW91PyBmaW5l",
	      "aGVsbG8gd29ybGQhXGhvdyBhcmUgeW91PyBmaWxl",
	      "aGVsbG8gd29ybGQh[I|X]GhvdyBhcmUgeW91PyBmaW[5|x]l", "one long word");
}

static void judgement(void)
{
	shows("The quick brown fox jumps over the lazy dog.\n",
	      "We need another approach to the merging of texts.\n",
	      "[The quick brown fox jumps over the lazy dog|"
	      "We need another approach to the merging of texts].\n",
	      "sentences that share a \"the\" and a full stop");
	shows("large\n", "big\n", "[large|big]\n", "words that share a letter");
	shows("first = alpha(one, two);\n\n\nsecond = beta(three, four);\n",
	      "return gone;\n\n\nunlink(name), exit(1);\n",
	      "[first = alpha(one, two);\n\n\nsecond = beta(three, four|"
	      "return gone;\n\n\nunlink(name), exit(1]);\n",
	      "two paragraphs that are rewritten, empty lines between them or not");
	shows("call(alpha, beta);\n",
	      "if (ready) {\n\tprepare();\n\tcall(alpha, gamma);\n\tfinish(everything);\n}\n",
	      "[|if (ready) {\n\tprepare();\n\t]call(alpha, [beta|gamma]);\n"
	      "[|\tfinish(everything);\n}\n]",
	      "a changed line among new ones is still that line");
}

static void sliding(void)
{
	shows("int f(void)\n{\n\treturn 1;\n}\n\nint h(void)\n{\n\treturn 3;\n}\n",
	      "int f(void)\n{\n\treturn 1;\n}\n\nint g(void)\n{\n\treturn 2;\n}\n\n"
	      "int h(void)\n{\n\treturn 3;\n}\n",
	      "int f(void)\n{\n\treturn 1;\n}\n\n[|int g(void)\n{\n\treturn 2;\n}\n\n]"
	      "int h(void)\n{\n\treturn 3;\n}\n",
	      "a function put in is one block");
	shows("def f():\n    if x:\n        y()\n    return\n",
	      "def f():\n    if x:\n        y()\n    if x:\n        z()\n    return\n",
	      "def f():\n    if x:\n        y()\n[|    if x:\n        z()\n]    return\n",
	      "a block of lower indent");
	shows("a\n  b\n  c\n  b\nd\n", "a\n  b\n  c\n  b\n  c\n  b\nd\n",
	      "a\n  b\n  c\n  b\n[|  c\n  b\n]d\n", "of equal places the last");
	shows("the big cat\n", "the cat\n", "the [big |]cat\n",
	      "a word goes with the blank behind it");
	shows("a, b, c\n", "a, b, b, c\n", "a, b, [|b, ]c\n", "begins at a word");
}

static void clusters(void)
{
	shows("e\xcc\x81tage\n", "e\xcc\x80tage\n", "[e\xcc\x81|e\xcc\x80]tage\n",
	      "an accent goes with its letter");
	shows("eat\n",
	      "e\xcc\x81"
	      "at\n",
	      "[e|e\xcc\x81]at\n", "an accent put on");
	shows("\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa!\n", "\xf0\x9f\x87\xa9\xf0\x9f\x87\xb0!\n",
	      "[\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa|\xf0\x9f\x87\xa9\xf0\x9f\x87\xb0]!\n",
	      "flags that share their first half");
	shows("\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa\xf0\x9f\x87\xab\xf0\x9f\x87\xb7\n",
	      "\xf0\x9f\x87\xaa\xf0\x9f\x87\xab\xf0\x9f\x87\xb7\n",
	      "[\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa\xf0\x9f\x87\xab\xf0\x9f\x87\xb7|"
	      "\xf0\x9f\x87\xaa\xf0\x9f\x87\xab\xf0\x9f\x87\xb7]\n",
	      "half a flag taken away makes other flags of the rest");
	/* Man, woman, girl; man, woman, boy: joined with U+200D. */
	shows("\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7.\n",
	      "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa6.\n",
	      "[\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7|"
	      "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa6].\n",
	      "a family is one character");
	shows("ok \xf0\x9f\x91\x8d\n", "ok \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd\n",
	      "ok [\xf0\x9f\x91\x8d|\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd]\n", "a colour of skin");
	/* Hangul in single letters: kiyeok, a, and kiyeok or nieun. */
	shows("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8\xea\xb0\x80\xea\xb0\x80\xea\xb0\x80\n",
	      "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xab\xea\xb0\x80\xea\xb0\x80\xea\xb0\x80\n",
	      "[\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8|\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xab]"
	      "\xea\xb0\x80\xea\xb0\x80\xea\xb0\x80\n",
	      "a syllable of Hangul");
	shows("alpha\r\nbeta\r\n", "alpha\nbeta\n", "alpha[\r\n|\n]beta[\r\n|\n]", "CR LF is one");
	shows("a\r\nb\r\n", "a\r\nx\r\nb\r\n", "a\r\n[|x\r\n]b\r\n", "a line between CR LF");
	shows("\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94\xe5\xbe\x88\xe5\xa5\xbd\xe3\x80\x82\n",
	      "\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94\xe4\xb8\x8d\xe5\xa5\xbd\xe3\x80\x82\n",
	      "\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94[\xe5\xbe\x88|\xe4\xb8\x8d]"
	      "\xe5\xa5\xbd\xe3\x80\x82\n",
	      "text without blanks");
	shows("stra\xc3\x9f"
	      "e und weg\n",
	      "stra\xc3\xbc"
	      "e und weg\n",
	      "stra[\xc3\x9f|\xc3\xbc]e und weg\n", "letters that share a byte");
}

static void not_utf8(void)
{
	static const char old[] = "one \xff\xfe two\n\xe2\x82\n\x80\x80\n";
	static const char new[] = "one \xff two\n\xe2\x82\xac\n\x80\n";
	_cleanup_(diff_done) struct diff x = diff_of(old, sizeof(old), new, sizeof(new));
	ok(applies(&x) && edited(&x) == 3, "what is not UTF-8 is compared by bytes");
}

/* --- random texts ---------------------------------------------------------------------------- */

/* Fragments that make clusters together, or lines, or words. */
static void random_fragment(struct prng *r, struct buf *b, bool invalid)
{
	static const char *const fragment[] = {
		"a", "b", "the", " ", " ", "\t", "\n", "\r\n", "\r", ".", ", ", "{\n", "}\n", "\n\n",
		"\xcc\x81", "\xcc\x80", "\xf0\x9f\x87\xa9", "\xf0\x9f\x87\xaa", "\xe2\x80\x8d",
		"\xf0\x9f\x91\xa8", "\xf0\x9f\x91\xa9", "\xf0\x9f\x8f\xbd", "\xe1\x84\x80",
		"\xe1\x85\xa1", "\xe1\x86\xa8", "\xea\xb0\x80", "\xe0\xa4\xa8", "\xe0\xa4\xbf",
		"\xd8\x80", "\xef\xb8\x8f", "\xe4\xbb\x8a", "\xe5\xa4\xa9", "\xc3\x9f", "\xc2\xa0",
		"\xe2\x80\xa9", "word", "another", "x1", "    ", "return 0;\n",
	};
	static const char *const broken[] = { "\xff", "\xe2\x82", "\x80", "\xf0\x9f" };
	if (invalid && prng_chance(r, 10))
		buf_puts(b, broken[prng_below(r, sizeof(broken) / sizeof(*broken))]);
	else
		buf_puts(b, fragment[prng_below(r, sizeof(fragment) / sizeof(*fragment))]);
}

static void random_text(struct prng *r, struct buf *b, uint64_t fragments, bool invalid)
{
	for (uint64_t i = 0; i < fragments; i++)
		random_fragment(r, b, invalid);
}

/* Replaces stretches of old, at any byte that begins a code point. */
static void mutate(struct prng *r, const struct buf *old, struct buf *b, bool invalid)
{
	size_t at = 0;
	while (at < old->len) {
		size_t to = at + 1 + prng_below(r, 40);
		to = to < old->len ? to : old->len;
		while (to < old->len && (old->data[to] & 0xc0) == 0x80)
			to++;
		if (!prng_chance(r, 15))
			buf_put(b, old->data + at, to - at);
		if (prng_chance(r, 15))
			random_text(r, b, prng_below(r, 4), invalid);
		at = to;
	}
}

static void random_texts(struct prng *r, uint64_t rounds)
{
	bool good = true, broken = true;
	for (uint64_t k = 0; k < rounds && good && broken; k++) {
		_cleanup_(buf_done) struct buf old = { 0 }, new = { 0 };
		bool invalid = k % 4 == 0;
		uint64_t size = prng_below(r, k % 16 == 1 ? 2000 : 60);
		random_text(r, &old, size, invalid);
		if (prng_chance(r, 80))
			mutate(r, &old, &new, invalid);
		else
			random_text(r, &new, size, invalid);
		buf_cstr(&old);
		buf_cstr(&new);
		_cleanup_(diff_done) struct diff x = diff_of(old.data, old.len, new.data, new.len);
		_cleanup_(diff_done) struct diff y = diff_of(old.data, old.len, new.data, new.len);
		bool sound = applies(&x) && bounded(&x) && x.d.count == y.d.count &&
			     memcmp(x.d.edit, y.d.edit, x.d.count * sizeof(*x.d.edit)) == 0;
		if (invalid)
			broken = sound;
		else
			good = sound && at_breaks(&x);
		if (!good || !broken)
			tap_diag("round %" PRIu64, k);
	}
	ok(good,
	   "%" PRIu64
	   " random texts: edits apply, are apart, keep clusters whole, are the same again",
	   rounds);
	ok(broken, "and apply to what is not UTF-8");
}

/* breaks and certain, against libunistring on the whole. */
static void boundaries(struct prng *r, uint64_t rounds)
{
	bool good = true;
	for (uint64_t k = 0; k < rounds && good; k++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		random_text(r, &b, 1 + prng_below(r, 40), false);
		_cleanup_free_ uint8_t *want = all_breaks(b.data, (uint32_t)b.len);
		_cleanup_free_ uint8_t *got = calloc(1, b.len);
		if (!got)
			tap_bail("no memory");
		grapheme_breaks(b.data, b.len, got);
		for (size_t i = 0; i < b.len && good; i++) {
			good = got[i] == want[i] &&
			       (want[i] || !grapheme_certain(b.data, b.len, i));
			if (!good)
				tap_diag("byte %zu of \"%s\"", i, buf_cstr(&b));
		}
	}
	ok(good && grapheme_certain((const uint8_t *)"ab", 2, 1) &&
		   grapheme_certain((const uint8_t *)"\xe4\xbb\x8a\xe5\xa4\xa9", 6, 3),
	   "%" PRIu64 " texts are cut into clusters as libunistring does", rounds);
}

/* --- few edits in a long text ---------------------------------------------------------------- */

/* Words of a small vocabulary, in sentences; lines, or one line. */
static void prose(struct prng *r, struct buf *b, size_t size, bool lines)
{
	while (b->len < size) {
		uint64_t n = 3 + prng_below(r, 12);
		if (lines)
			for (uint64_t i = prng_below(r, 3); i > 0; i--)
				buf_puts(b, "\t");
		for (uint64_t i = 0; i < n; i++) {
			/* The square makes some of the 900 words far more frequent. */
			uint64_t w = prng_below(r, 30) * prng_below(r, 30);
			for (struct prng s = { w }; s.state < 8 * UINT64_C(0x9e3779b97f4a7c15);) {
				uint64_t c = prng_u64(&s);
				buf_u8(b, (uint8_t)('a' + c % 26));
				if (c >> 32 & 1)
					break;
			}
			buf_puts(b, i + 1 < n ? " " : ".");
		}
		buf_puts(b, lines ? "\n" : " ");
	}
}

struct share {
	uint64_t done, found;
};

static struct share measure_edits(struct prng *r, size_t size, unsigned edits, bool lines)
{
	_cleanup_(buf_done) struct buf old = { 0 }, new = { 0 };
	struct share s = { 0 };
	size_t at = 0;
	prose(r, &old, size, lines);
	for (unsigned i = 0; i < edits; i++) {
		size_t left = old.len - at, here = at + prng_below(r, 2 * left / (edits - i + 1));
		size_t cut = prng_below(r, 12);
		buf_put(&new, old.data + at, here - at);
		at = here + cut < old.len ? here + cut : old.len;
		for (uint64_t k = prng_below(r, 12); k > 0; k--, s.done++)
			buf_u8(&new, (uint8_t)(prng_chance(r, 15) ? ' ' : 'a' + prng_below(r, 26)));
		s.done += at - here;
	}
	buf_put(&new, old.data + at, old.len - at);
	_cleanup_(diff_done) struct diff x = diff_of(old.data, old.len, new.data, new.len);
	s.found = applies(&x) && bounded(&x) ? edited(&x) : UINT64_MAX;
	return s;
}

static void few_edits(struct prng *r)
{
	static const struct {
		size_t size;
		unsigned edits;
		bool lines;
	} text[] = {
		{ 1000, 3, true },    { 1000, 3, false },    { 100000, 10, true }, { 100000, 10, false },
		{ 100000, 300, true }, { 100000, 300, false }, { 1 << 20, 100, true },
	};
	for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++) {
		struct share sum = { 0 };
		for (unsigned round = 0; round < 30000 / (text[i].size / 100 + 1000); round++) {
			struct share s =
				measure_edits(r, text[i].size, text[i].edits, text[i].lines);
			sum.done += s.done;
			sum.found = s.found == UINT64_MAX ? s.found : sum.found + s.found;
		}
		tap_diag("%" PRIu64 " bytes edited, %" PRIu64 " found", sum.done, sum.found);
		ok(sum.found <= sum.done + sum.done / 4,
		   "%u edits in %zu bytes of %s: at most a quarter more is found", text[i].edits,
		   text[i].size, text[i].lines ? "lines" : "one line");
	}
}

/* --- the worst ------------------------------------------------------------------------------- */

#define BIG 100000u

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void adversary(const struct buf *old, const struct buf *new, const char *name)
{
	double start = seconds();
	_cleanup_(diff_done) struct diff x = diff_of(old->data, old->len, new->data, new->len);
	double took = seconds() - start;
	tap_diag("%s: %u edits, %.0f steps a byte, %.0f ms", name, x.d.count,
		 (double)x.d.steps / (x.n + x.m), took * 1e3);
	/* A tenth of a second on an idle machine; the limit only has to tell it from a quadratic
	 * one. */
	ok(applies(&x) && bounded(&x) && took < 30, "%s: sound, bounded", name);
}

static uint8_t letter(struct prng *r, unsigned kinds)
{
	return (uint8_t)('a' + prng_below(r, kinds));
}

static void adversaries(struct prng *r)
{
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	prose(r, &x, BIG, false);
	prose(r, &y, BIG, false);
	adversary(&x, &y, "lines of 100 KB with nothing but words in common");
	buf_reset(&y);
	for (size_t i = 0; i < x.len; i++)
		buf_u8(&y, i % 2 ? letter(r, 26) : x.data[i]);
	adversary(&x, &y, "every second character");
	buf_reset(&y);
	for (size_t i = 0; i < x.len; i++)
		buf_u8(&y, x.data[x.len - 1 - i]);
	adversary(&x, &y, "the same backwards");
	for (unsigned kinds = 1; kinds <= 26; kinds *= 5) {
		char name[60];
		buf_reset(&x);
		buf_reset(&y);
		for (unsigned i = 0; i < BIG; i++)
			buf_u8(&x, letter(r, kinds));
		for (unsigned i = 0; i < BIG + 1000; i++)
			buf_u8(&y, letter(r, kinds));
		snprintf(name, sizeof(name), "one word of 100 KB from %u letters", kinds);
		adversary(&x, &y, name);
	}
	buf_reset(&x);
	buf_reset(&y);
	for (unsigned i = 0; i < BIG / 4; i++) {
		buf_putf(&x, "%c x ", letter(r, 26));
		buf_putf(&y, "%c x ", letter(r, 26));
	}
	adversary(&x, &y, "every second word");
	buf_reset(&x);
	buf_reset(&y);
	for (unsigned i = 0; i < BIG / 2; i++) {
		buf_puts(&x, i % 2 ? "\n" : "a\n");
		buf_puts(&y, i % 3 ? "\n" : "a\n");
	}
	adversary(&x, &y, "short lines of two kinds");
	buf_reset(&x);
	buf_reset(&y);
	for (unsigned i = 0; i < BIG / 3; i++) {
		buf_puts(&x, "e\xcc\x81");
		buf_puts(&y, "e\xcc\x80");
	}
	adversary(&x, &y, "accents without a single sure boundary");
}

/* A line of megabytes has pieces: changes far apart stay apart. */
static void long_line(struct prng *r)
{
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	prose(r, &x, 4 << 20, false);
	buf_put(&y, x.data, x.len);
	y.data[1000] = y.data[x.len / 2] = y.data[x.len - 1000] = '#';
	_cleanup_(diff_done) struct diff d = diff_of(x.data, x.len, y.data, y.len);
	ok(applies(&d) && d.d.count == 3 && edited(&d) < 100, "three changes in a line of 4 MB");
}

static void many_lines(struct prng *r)
{
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	for (uint32_t i = 0; i < HISTDIFF_MAX + 10; i++)
		buf_putf(&x, "%x\n", (unsigned)prng_below(r, 256));
	buf_put(&y, x.data, x.len);
	y.data[x.len / 3] = y.data[x.len / 2] = '#';
	y.data[1] = y.data[x.len - 2] = '#';
	_cleanup_(diff_done) struct diff d = diff_of(x.data, x.len, y.data, y.len);
	ok(applies(&d) && d.d.count == 4 && edited(&d) < 100,
	   "four changes in more lines than histdiff takes");
}

static void limits(void)
{
	struct arena a = { 0 };
	struct textdiff d = { .count = 7 };
	is_errno(textdiff(&a, "", TEXTDIFF_SIZE_MAX + 1, "", 0, &d), -EFBIG,
		 "a text that is too long");
	is_errno(textdiff(&a, "", 0, "", TEXTDIFF_SIZE_MAX + 1, &d), -EFBIG, "on either side");
	is_uint(d.count, 7, "the result is untouched then");
	ok(textdiff(&a, NULL, 0, NULL, 0, &d) == 0 && d.count == 0, "texts without memory");
	arena_done(&a);
}

int main(int argc, char **argv)
{
	tap_plan(59);
	struct prng r = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 4000);
	levels();
	judgement();
	sliding();
	clusters();
	not_utf8();
	limits();
	boundaries(&r, rounds);
	random_texts(&r, rounds);
	few_edits(&r);
	long_line(&r);
	many_lines(&r);
	adversaries(&r);
	return tap_done();
}
