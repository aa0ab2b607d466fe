/* SPDX-License-Identifier: GPL-2.0-or-later */

/* 1. Lines, by histogram. A line of more than LONG_LINE bytes is cut into pieces at places that its
 *    contents choose, so that a text of one line has lines as well.
 * 2. In each hunk words, runs of blanks, line ends, single punctuation marks and ideographs, by
 *    histogram.
 * 3. In what is still changed grapheme clusters, by the shortest script.
 *
 * At each level what was found is judged, because a difference that keeps a stray "the" and every
 * third comma of a rewritten sentence is the shortest, but nobody can read it, and a merge with
 * somebody else's rewriting of that sentence interleaves both:
 *
 * - Two edits become one when what is kept between them is not longer than either of them, has at
 *   most one word, and, within lines, no line end; of lines themselves, when it has no word.
 * - Is less than a quarter (of characters: half) of the shorter side kept, white space not
 *   counted, then nothing of it is but the common ends. Of the shorter side, because a line among
 *   fifty new ones is still that line.
 *
 * Before that, and at the end, edits slide. A pure insertion or removal can often be put in several
 * places: of "a, b, b" either b is the new one. Of the places close by the one is taken that lies
 * best: at the ends of lines, where the indent is low, behind an empty line; else at the beginning
 * of a word.
 *
 * Words and characters of one text share a limit on the work; hunks that it leaves are replaced. */

#include "engine/textdiff.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unictype.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/buf.h"
#include "engine/cleanup.h"
#include "engine/grapheme.h"
#include "engine/utf8.h"

/* Longer lines are cut into pieces of PIECE_MIN bytes and, on average, 2^PIECE_BITS more. */
#define LONG_LINE 1024
#define PIECE_MIN 128
#define PIECE_BITS 7
/* How far an insertion or removal may slide, and how many places all of them may try. */
#define SLIDE_MAX 1024
#define SLIDES_MAX (1u << 20)
/* What words and characters of n bytes may cost together, in steps. */
#define INNER_STEPS(n) (128 * (uint64_t)((n) < (1u << 20) ? (n) : (1u << 20)))

enum level {
	LINES,
	STRETCHES, /* instead of lines, when there are too many */
	WORDS,
	CHARACTERS,
};

/* A text, and the pieces that a stretch of it is cut into. */
struct side {
	const uint8_t *text;
	uint32_t len;
	struct buf start; /* uint32_t: where each piece begins, and where the last one ends */
	struct buf token; /* uint64_t: hash of each */
	struct buf brk;   /* by byte of the stretch: does a cluster begin? */
};

struct work {
	struct side old, new;
	struct arena lines, inner; /* hunks of lines; what belongs to one of these */
	struct buf edit;           /* struct hunk: the result */
	uint64_t steps;
	uint64_t left;   /* steps that words and characters still have */
	uint32_t slides; /* places that edits may still try */
};

static void side_done(struct side *s)
{
	buf_done(&s->start);
	buf_done(&s->token);
	buf_done(&s->brk);
}

static void work_done(struct work *w)
{
	side_done(&w->old);
	side_done(&w->new);
	arena_done(&w->lines);
	arena_done(&w->inner);
	buf_done(&w->edit);
}

/* --- cutting --------------------------------------------------------------------------------- */

static uint32_t pieces(const struct side *s)
{
	return (uint32_t)(s->token.len / sizeof(uint64_t));
}

static const uint32_t *starts(const struct side *s)
{
	return (const uint32_t *)(const void *)s->start.data;
}

/* The piece ends where the next one begins. */
static void add_piece(struct side *s, uint32_t from, uint32_t to)
{
	uint64_t hash = XXH3_64bits(s->text + from, to - from);
	buf_put(&s->start, &from, sizeof(from));
	buf_put(&s->token, &hash, sizeof(hash));
}

/* Does the content before text[at] want a cut there? */
static bool wants_cut(const struct side *s, uint32_t at)
{
	uint64_t before;
	memcpy(&before, s->text + at - sizeof(before), sizeof(before));
	return (le64toh(before) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - PIECE_BITS) == 0 &&
	       grapheme_certain(s->text, s->len, at);
}

static void cut_stretches(struct side *s, uint32_t from, uint32_t to)
{
	for (uint32_t at = from + PIECE_MIN; at < to; at++) {
		if (!wants_cut(s, at))
			continue;
		add_piece(s, from, at);
		from = at;
		at += PIECE_MIN - 1;
	}
	add_piece(s, from, to);
}

static void cut_lines(struct side *s, uint32_t from, uint32_t to)
{
	while (from < to) {
		const uint8_t *end = memchr(s->text + from, '\n', to - from);
		uint32_t next = end ? (uint32_t)(end - s->text) + 1 : to;
		if (next - from > LONG_LINE)
			cut_stretches(s, from, next);
		else
			add_piece(s, from, next);
		from = next;
	}
}

static bool is_word_byte(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_' || c >= 0x80;
}

static bool is_blank_byte(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

enum kind {
	SINGLE, /* stands alone */
	BLANK,
	WORD,
};

static enum kind kind_of(const struct side *s, uint32_t at)
{
	uint8_t c = s->text[at];
	if (c < 0x80) {
		if (c == ' ' || c == '\t')
			return BLANK;
		return is_word_byte(c) ? WORD : SINGLE;
	}
	size_t n = utf8_sequence(s->text + at, s->text + s->len);
	uint32_t u = n > 0 ? utf8_decode(s->text + at, n) : 0;
	if (uc_is_property_white_space(u))
		return BLANK;
	return uc_is_alnum(u) && !uc_is_property_ideographic(u) ? WORD : SINGLE;
}

/* Cuts to clusters, or to words of clusters; without UTF-8 bytes are the clusters. */
static void cut_clusters(struct side *s, enum level level, bool utf8, uint32_t from, uint32_t to)
{
	buf_reset(&s->brk);
	uint8_t *brk = buf_reserve(&s->brk, to - from);
	if (!brk)
		return;
	if (utf8)
		grapheme_breaks(s->text + from, to - from, brk);
	else
		memset(brk, 1, to - from);
	enum kind last = SINGLE;
	uint32_t begun = from;
	for (uint32_t i = from; i < to && pieces(s) <= HISTDIFF_MAX; i++) {
		if (!brk[i - from])
			continue;
		enum kind kind = level == WORDS ? kind_of(s, i) : SINGLE;
		if (i > from && (kind == SINGLE || kind != last)) {
			add_piece(s, begun, i);
			begun = i;
		}
		last = kind;
	}
	add_piece(s, begun, to);
}

static int cut(struct side *s, enum level level, bool utf8, uint32_t from, uint32_t len)
{
	uint32_t to = from + len;
	buf_reset(&s->start);
	buf_reset(&s->token);
	if (level == LINES)
		cut_lines(s, from, to);
	else if (level == STRETCHES)
		cut_stretches(s, from, to);
	else
		cut_clusters(s, level, utf8, from, to);
	buf_put(&s->start, &to, sizeof(to));
	return buf_failed(&s->start) || buf_failed(&s->token) || buf_failed(&s->brk) ? -ENOMEM : 0;
}

/* --- comparing ------------------------------------------------------------------------------- */

static bool same_piece(const void *userdata, uint32_t i, uint32_t j)
{
	const struct work *w = userdata;
	uint32_t n = pieces(&w->old);
	const struct side *x = i < n ? &w->old : &w->new, *y = j < n ? &w->old : &w->new;
	const uint32_t *p = starts(x) + (i < n ? i : i - n), *q = starts(y) + (j < n ? j : j - n);
	return p[1] - p[0] == q[1] - q[0] &&
	       memcmp(x->text + p[0], y->text + q[0], p[1] - p[0]) == 0;
}

/* Turns numbers of pieces to bytes. */
static void to_bytes(const struct side *s, uint32_t *at, uint32_t *len)
{
	const uint32_t *start = starts(s);
	*len = start[*at + *len] - start[*at];
	*at = start[*at];
}

struct hunks {
	struct hunk *hunk;
	uint32_t count;
};

/* The differences in a hunk at one level, in bytes. */
static int compare(struct work *w, enum level level, const struct hunk *h, struct hunks *ret)
{
	bool inner = level >= WORDS;
	struct arena *a = inner ? &w->inner : &w->lines;
	/* Both sides alike, or the same bytes were cut in two ways. */
	bool utf8 = inner && utf8_valid(w->old.text + h->old, h->old_len) &&
		    utf8_valid(w->new.text + h->new, h->new_len);
	int r = cut(&w->old, level, utf8, h->old, h->old_len);
	if (r == 0)
		r = cut(&w->new, level, utf8, h->new, h->new_len);
	if (r < 0)
		return r;
	struct histdiff_in in = {
		.old = (const uint64_t *)(const void *)w->old.token.data,
		.new = (const uint64_t *)(const void *)w->new.token.data,
		.old_count = pieces(&w->old),
		.new_count = pieces(&w->new),
		.same = same_piece,
		.userdata = w,
		.shortest = level == CHARACTERS,
		.steps = inner ? w->left : 0,
	};
	struct histdiff d = { 0 };
	r = histdiff(a, &in, &d);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < d.count; i++) {
		to_bytes(&w->old, &d.hunk[i].old, &d.hunk[i].old_len);
		to_bytes(&w->new, &d.hunk[i].new, &d.hunk[i].new_len);
	}
	w->steps += (uint64_t)h->old_len + h->new_len + d.steps;
	if (inner)
		w->left -= d.steps < w->left ? d.steps : w->left;
	*ret = (struct hunks){ d.hunk, d.count };
	return 0;
}

/* --- sliding --------------------------------------------------------------------------------- */

/* How well does an edit begin or end at text[at]? */
static int border(const struct side *s, uint32_t at)
{
	const uint8_t *t = s->text;
	if (at == 0 || at == s->len || t[at - 1] == '\n') {
		uint32_t i = at, line = at, most = s->len - at < 100 ? s->len : at + 100;
		for (; i < most && is_blank_byte(t[i]); i++)
			if (t[i] == '\n')
				line = i + 1;
		int indent = i - line < 40 && i < s->len ? (int)(i - line) : 0;
		bool behind_empty = at < 2 || t[at - 2] == '\n' ||
				    (at > 2 && t[at - 2] == '\r' && t[at - 3] == '\n');
		return 200 - 2 * indent + behind_empty;
	}
	bool blank = is_blank_byte(t[at]), blank_before = is_blank_byte(t[at - 1]);
	if (blank != blank_before)
		return blank_before ? 30 : 25;
	return is_word_byte(t[at]) != is_word_byte(t[at - 1]) ? 20 : blank ? 10 : 0;
}

/* Moves block[*at ... + len), which the other text lacks at *other_at, by up to `up` bytes back or
 * `down` on, to where it lies best. */
static void slide(struct work *w, const struct side *block, uint32_t *at, uint32_t len,
		  const struct side *other, uint32_t *other_at, uint32_t up, uint32_t down)
{
	const uint8_t *t = block->text;
	uint32_t from = *at, to = from + len, n = 0, m = 0;
	while (n < up && n < SLIDE_MAX && t[from - n - 1] == t[to - n - 1])
		n++;
	while (m < down && m < SLIDE_MAX && t[from + m] == t[to + m])
		m++;
	if (n + m == 0 || n + m > w->slides)
		return;
	w->slides -= n + m;
	uint32_t best = from, base = *other_at - from;
	int score = border(block, from) + border(block, to);
	for (uint32_t i = from - n; i <= from + m; i++) {
		if (!grapheme_certain(t, block->len, i) ||
		    !grapheme_certain(t, block->len, i + len) ||
		    !grapheme_certain(other->text, other->len, i + base))
			continue;
		int here = border(block, i) + border(block, i + len);
		if (here < score)
			continue;
		score = here;
		best = i;
	}
	*at = best;
	*other_at = best + base;
}

/* Slides every pure insertion and removal in a hunk as far as the ones beside it stay apart. */
static void slide_all(struct work *w, const struct hunk *in, const struct hunks *l)
{
	for (uint32_t i = 0; i < l->count; i++) {
		struct hunk *h = &l->hunk[i];
		uint32_t end = h->old + h->old_len, last = in->old + in->old_len;
		uint32_t down = i + 1 < l->count ? h[1].old - end - 1 : last - end;
		uint32_t up = i > 0 ? h->old - h[-1].old - h[-1].old_len - 1 : h->old - in->old;
		if (h->old_len == 0)
			slide(w, &w->new, &h->new, h->new_len, &w->old, &h->old, up, down);
		else if (h->new_len == 0)
			slide(w, &w->old, &h->old, h->old_len, &w->new, &h->new, up, down);
	}
}

/* --- judging --------------------------------------------------------------------------------- */

static uint32_t weight(const struct hunk *h)
{
	return h->old_len > h->new_len ? h->old_len : h->new_len;
}

/* Is what stays between two hunks not worth being kept? */
static bool negligible(const struct work *w, enum level level, const struct hunk *x,
		       const struct hunk *y)
{
	uint32_t from = x->old + x->old_len, len = y->old - from, words = 0;
	if (len > weight(x) || len > weight(y))
		return false;
	for (uint32_t i = from; i < y->old; i++) {
		uint8_t c = w->old.text[i];
		words += is_word_byte(c) && (i == from || !is_word_byte(w->old.text[i - 1]));
		if (words > (level >= WORDS) || (level >= WORDS && c == '\n'))
			return false;
	}
	return true;
}

/* From the beginning of x to the end of y. */
static struct hunk span(const struct hunk *x, const struct hunk *y)
{
	return (struct hunk){ x->old, y->old + y->old_len - x->old, x->new,
			      y->new + y->new_len - x->new };
}

/* Makes one hunk of two as long as what stays between them is negligible. */
static void join(const struct work *w, enum level level, struct hunks *l)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < l->count; i++) {
		struct hunk h = l->hunk[i];
		for (; n > 0 && negligible(w, level, &l->hunk[n - 1], &h); n--)
			h = span(&l->hunk[n - 1], &h);
		l->hunk[n++] = h;
	}
	l->count = n;
}

/* Characters that are not white space. */
static uint32_t count_ink(const struct side *s, uint32_t from, uint32_t len)
{
	uint32_t n = 0;
	for (uint32_t i = from; i < from + len; i++)
		n += !is_blank_byte(s->text[i]) && (s->text[i] & 0xc0) != 0x80;
	return n;
}

/* Is less than one in `share` of the hunk's shorter side kept? */
static bool too_little(const struct work *w, const struct hunk *h, const struct hunks *l,
		       uint32_t share)
{
	uint32_t old = count_ink(&w->old, h->old, h->old_len), kept = old;
	uint32_t new = count_ink(&w->new, h->new, h->new_len), shorter = old < new ? old : new;
	for (uint32_t i = 0; i < l->count; i++)
		kept -= count_ink(&w->old, l->hunk[i].old, l->hunk[i].old_len);
	return (uint64_t)kept * share < shorter;
}

/* What changed inside of a hunk, at one level. */
static int look_inside(struct work *w, enum level level, const struct hunk *h, struct hunks *ret)
{
	struct hunks found = { 0 };
	if (h->old_len > 0 && h->new_len > 0 && w->left > 0) {
		int r = compare(w, level, h, &found);
		if (r < 0)
			return r;
		slide_all(w, h, &found);
		join(w, level, &found);
	} else {
		found.hunk = (struct hunk *)(void *)arena_dup(&w->inner, h, sizeof(*h));
		if (!found.hunk)
			return -ENOMEM;
		found.count = 1;
	}
	if (found.count > 0 && too_little(w, h, &found, level == WORDS ? 4 : 2)) {
		found.hunk[0] =
			level == WORDS ? span(found.hunk, found.hunk + found.count - 1) : *h;
		found.count = 1;
	}
	*ret = found;
	return 0;
}

static int refine(struct work *w, const struct hunk *line)
{
	struct hunks words, characters;
	int r = look_inside(w, WORDS, line, &words);
	for (uint32_t i = 0; r == 0 && i < words.count; i++) {
		r = look_inside(w, CHARACTERS, &words.hunk[i], &characters);
		if (r == 0)
			buf_put(&w->edit, characters.hunk,
				characters.count * sizeof(*characters.hunk));
	}
	return r;
}

/* --- all of it ------------------------------------------------------------------------------- */

static bool begins_line(const uint8_t *text, uint32_t at)
{
	return at == 0 || text[at - 1] == '\n';
}

/* What differs, in whole lines. */
static struct hunk between_ends(const struct work *w)
{
	const uint8_t *x = w->old.text, *y = w->new.text;
	uint32_t n = w->old.len, m = w->new.len, shorter = n < m ? n : m, head = 0, tail = 0;
	while (head < shorter && x[head] == y[head])
		head++;
	if (head == n && n == m)
		return (struct hunk){ n, 0, m, 0 };
	while (!begins_line(x, head))
		head--;
	while (tail < shorter - head && x[n - tail - 1] == y[m - tail - 1])
		tail++;
	while (tail > 0 && (!begins_line(x, n - tail) || !begins_line(y, m - tail)))
		tail--;
	return (struct hunk){ head, n - head - tail, head, m - head - tail };
}

static bool too_many_lines(const struct side *s, uint32_t from, uint32_t len)
{
	const uint8_t *p = s->text + from, *end = p + len;
	for (uint32_t n = 0; p && n < HISTDIFF_MAX; n++) {
		p = memchr(p, '\n', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	return p != NULL;
}

static int diff(struct work *w)
{
	struct hunk all = between_ends(w);
	struct hunks lines;
	enum level level = too_many_lines(&w->old, all.old, all.old_len) ||
					   too_many_lines(&w->new, all.new, all.new_len)
				   ? STRETCHES
				   : LINES;
	w->steps = (uint64_t)w->old.len + w->new.len;
	w->left = INNER_STEPS(w->steps);
	int r = compare(w, level, &all, &lines);
	if (r < 0)
		return r;
	join(w, level, &lines);
	for (uint32_t i = 0; i < lines.count && r == 0; i++) {
		arena_reset(&w->inner);
		r = refine(w, &lines.hunk[i]);
	}
	if (r == 0 && buf_failed(&w->edit))
		r = -ENOMEM;
	if (r < 0)
		return r;
	all = (struct hunk){ 0, w->old.len, 0, w->new.len };
	slide_all(w, &all,
		  &(struct hunks){ (struct hunk *)(void *)w->edit.data,
				   (uint32_t)(w->edit.len / sizeof(all)) });
	return 0;
}

int textdiff(struct arena *a, const void *old, size_t old_len, const void *new, size_t new_len,
	     struct textdiff *ret)
{
	if (old_len > TEXTDIFF_SIZE_MAX || new_len > TEXTDIFF_SIZE_MAX)
		return -EFBIG;
	_cleanup_(work_done) struct work w = {
		.old = { .text = old_len ? old : "", .len = (uint32_t)old_len },
		.new = { .text = new_len ? new : "", .len = (uint32_t)new_len },
		.slides = SLIDES_MAX,
	};
	int r = diff(&w);
	if (r < 0)
		return r;
	struct hunk *edit = (struct hunk *)(void *)arena_dup(a, w.edit.data, w.edit.len);
	if (!edit)
		return -ENOMEM;
	*ret = (struct textdiff){ edit, (uint32_t)(w.edit.len / sizeof(*edit)), w.steps };
	return 0;
}
