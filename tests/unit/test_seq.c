/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sequences against the algorithm of the paper taken literally (tests/fugue.h): random histories of
 * several replicas that type, paste, delete, edit old versions, and exchange parts, which are late,
 * doubled, or more than was needed. After each step the sequence is what the model says,
 * element for element, and its memory is in order. Then the laws.
 *
 *     test_seq [SEED [ROUNDS]] */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/fugue.h"

#define REPLICAS_MAX 6
#define MAIL 6
#define VERSIONS 4
#define STEPS 120

/* What was sent some time ago. */
struct mail {
	struct buf bytes;
	const struct replica *from;
	struct vv have; /* in its numbers */
	bool known[FUGUE_MAX], dead[FUGUE_MAX];
};

/* What somebody has read some time ago. */
struct version {
	unsigned of;
	struct seq_base *base;
	struct vv seen;
	bool known[FUGUE_MAX], dead[FUGUE_MAX];
};

struct world {
	struct prng r;
	struct fugue f;
	struct replica x[REPLICAS_MAX];
	unsigned n;
	struct mail mail[MAIL];
	unsigned n_mail;
	struct version version[VERSIONS];
	unsigned n_versions;
};

static struct world *world_new(uint64_t seed, enum seq_flavour flavour)
{
	struct world *w = calloc(1, sizeof(*w));
	if (!w)
		tap_bail("out of memory");
	w->r.state = seed;
	w->n = 2 + (unsigned)prng_below(&w->r, REPLICAS_MAX - 1);
	for (unsigned i = 0; i < w->n; i++)
		replica_init(&w->x[i], flavour, i);
	return w;
}

static void version_done(struct version *v)
{
	seq_base_free(v->base);
	vv_done(&v->seen);
}

static void world_free(struct world *w)
{
	for (unsigned i = 0; i < w->n; i++)
		replica_done(&w->x[i]);
	for (unsigned i = 0; i < w->n_mail; i++) {
		buf_done(&w->mail[i].bytes);
		vv_done(&w->mail[i].have);
	}
	for (unsigned i = 0; i < w->n_versions; i++)
		version_done(&w->version[i]);
	free(w);
}

/* --- steps --- */

static uint32_t some_pos(struct world *w, struct replica *x)
{
	return (uint32_t)prng_below(&w->r, seq_length(x->s) + 1);
}

static void some_text(struct world *w, uint8_t *text, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		text[i] = (uint8_t)('a' + prng_below(&w->r, 26));
}

/* Keystrokes, each a batch: forwards, backwards, or with the last one taken back again. */
static void type(struct world *w, struct replica *x)
{
	uint32_t pos = some_pos(w, x);
	unsigned how = (unsigned)prng_below(&w->r, 4);
	uint8_t c;
	for (uint64_t n = 1 + prng_below(&w->r, 8); n > 0; n--) {
		some_text(w, &c, 1);
		if (how == 3 && pos > 0 && prng_chance(&w->r, 40)) {
			replica_delete(&w->f, x, --pos, 1, replica_dot(x));
			continue;
		}
		replica_insert(&w->f, x, pos, &c, 1, replica_dot(x));
		pos += how != 1;
	}
}

static void take_back(struct world *w, struct replica *x)
{
	uint32_t pos = some_pos(w, x);
	bool forwards = prng_chance(&w->r, 30);
	for (uint64_t n = 1 + prng_below(&w->r, 6); n > 0; n--) {
		if (forwards ? pos == seq_length(x->s) : pos == 0)
			break;
		pos -= !forwards;
		replica_delete(&w->f, x, pos, 1, replica_dot(x));
	}
}

/* Some insertions and deletions in one batch. */
static void batch(struct world *w, struct replica *x)
{
	struct dot dot = replica_dot(x);
	uint8_t text[12];
	for (uint64_t n = 1 + prng_below(&w->r, 3); n > 0; n--) {
		uint32_t pos = some_pos(w, x), left = seq_length(x->s) - pos;
		if (left > 0 && prng_chance(&w->r, 40)) {
			uint32_t k = 1 + (uint32_t)prng_below(&w->r, left < 12 ? left : 12);
			replica_delete(&w->f, x, pos, k, dot);
		} else {
			uint32_t k = 1 + (uint32_t)prng_below(&w->r, sizeof(text));
			some_text(w, text, k);
			replica_insert(&w->f, x, pos, text, k, dot);
		}
	}
}

static void read_version(struct world *w, struct replica *x)
{
	unsigned i =
		w->n_versions < VERSIONS ? w->n_versions++ : (unsigned)prng_below(&w->r, VERSIONS);
	struct version *v = &w->version[i];
	version_done(v);
	v->of = x->no;
	must(seq_base_make(x->s, &v->base));
	must(vv_copy(&x->have, &v->seen));
	memcpy(v->known, x->known, sizeof(v->known));
	memcpy(v->dead, x->dead, sizeof(v->dead));
}

/* The same edits op by op on a replica that has just that version. */
static void edit_model(struct world *w, struct replica *x, const struct version *v,
		       const struct seq_edit *edit, size_t n, struct dot dot)
{
	static struct replica then;
	then.no = x->no;
	memcpy(then.known, v->known, sizeof(then.known));
	memcpy(then.dead, v->dead, sizeof(then.dead));
	uint32_t shift = 0;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *text = edit[i].data;
		uint32_t pos = edit[i].pos + shift;
		for (uint32_t k = 0; k < edit[i].del; k++)
			then.dead[fugue_visible(&w->f, &then, pos)] = true;
		int l = pos > 0 ? fugue_visible(&w->f, &then, pos - 1) : -1;
		for (uint32_t k = 0; k < edit[i].n; k++)
			l = fugue_insert(&w->f, &then, l, dot, text[k]);
		shift += edit[i].n - edit[i].del;
	}
	fugue_join(&w->f, x, then.known, then.dead);
}

static size_t some_edits(struct world *w, uint32_t length, struct seq_edit *edit, uint8_t *text,
			 size_t max)
{
	uint32_t pos = 0;
	size_t n = 0;
	while (n < max && pos <= length) {
		struct seq_edit *e = &edit[n++];
		e->pos = pos + (uint32_t)prng_below(&w->r, length - pos + 1);
		e->del = prng_chance(&w->r, 60) ? (uint32_t)prng_below(&w->r, 6) : 0;
		if (e->del > length - e->pos)
			e->del = length - e->pos;
		e->n = (uint32_t)prng_below(&w->r, 5);
		e->data = text;
		some_text(w, text, e->n);
		text += e->n;
		pos = e->pos + e->del;
		if (prng_chance(&w->r, 50))
			break;
	}
	return n;
}

/* A save on an older version, or a replacement of it as a whole. */
static void save(struct world *w, struct replica *x)
{
	const struct version *v = &w->version[prng_below(&w->r, VERSIONS)];
	struct seq_edit edit[4];
	uint8_t text[20];
	if (!v->base || v->of != x->no)
		return;
	struct dot dot = replica_dot(x);
	if (prng_chance(&w->r, 10)) {
		uint32_t n, dead = 0;
		must(seq_delete_covered(x->s, &v->seen, dot, &n));
		for (int i = 0; i < w->f.n; i++)
			if (x->known[i] && !x->dead[i] &&
			    vv_has(&v->seen, (struct dot){ fugue_local(x, w->f.e[i].actor),
							   w->f.e[i].seq })) {
				x->dead[i] = true;
				dead++;
			}
		if (n != dead)
			tap_bail("%u deleted where %u are covered", n, dead);
		return;
	}
	size_t n = some_edits(w, seq_base_length(v->base), edit, text, 4);
	must(seq_edit(x->s, v->base, &v->seen, edit, n, dot));
	edit_model(w, x, v, edit, n, dot);
}

/* --- exchange --- */

static void send(struct world *w, struct replica *from, struct replica *to)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(vv_done) struct vv known = replica_translate(&to->have, to, from);
	_cleanup_(vv_done) struct vv ctx = replica_translate(&from->have, from, to);
	/* Sometimes the peer is believed to know less than it does. */
	for (uint32_t i = 0; i < known.n && prng_chance(&w->r, 30); i++)
		known.item[i].seq = 1 + prng_below(&w->r, known.item[i].seq);
	replica_part(from, prng_chance(&w->r, 15) ? NULL : &known, &b);
	join_bytes(to, &b, &ctx);
	must(vv_join(&to->have, &ctx));
	fugue_join(&w->f, to, from->known, from->dead);
}

/* A whole state that is delivered later, maybe to several and twice. */
static void post(struct world *w, struct replica *from)
{
	struct mail *m = &w->mail[w->n_mail < MAIL ? w->n_mail++ : prng_below(&w->r, MAIL)];
	buf_reset(&m->bytes);
	replica_part(from, NULL, &m->bytes);
	m->from = from;
	vv_done(&m->have);
	must(vv_copy(&from->have, &m->have));
	memcpy(m->known, from->known, sizeof(m->known));
	memcpy(m->dead, from->dead, sizeof(m->dead));
}

static void deliver(struct world *w, struct replica *to)
{
	if (w->n_mail == 0)
		return;
	struct mail *m = &w->mail[prng_below(&w->r, w->n_mail)];
	_cleanup_(vv_done) struct vv ctx = replica_translate(&m->have, m->from, to);
	join_bytes(to, &m->bytes, &ctx);
	must(vv_join(&to->have, &ctx));
	fugue_join(&w->f, to, m->known, m->dead);
}

/* --- a round --- */

static const char *check_reading(struct world *w, struct replica *x)
{
	uint8_t text[FUGUE_MAX];
	uint32_t n = seq_length(x->s), pos = 0;
	struct seq_iter it = seq_iter(x->s);
	struct seq_span span;
	bool text_here = x->s->flavour == SEQ_TEXT;
	if (text_here)
		must(seq_read(x->s, 0, n, text));
	while (seq_iter_next(&it, &span)) {
		if (text_here && memcmp(span.text, text + pos, span.len) != 0)
			return "an iterator that shows something else";
		pos += span.len;
	}
	if (pos != n)
		return "an iterator that misses something";
	for (int i = 0; i < 3 && w->f.n > 0; i++) {
		int e = (int)prng_below(&w->r, (uint64_t)w->f.n);
		struct seq_id id = fugue_id(&w->f, x, e), back;
		bool alive;
		int r = seq_find(x->s, &id, &pos, &alive);
		if (x->known[e] ? r < 0 : r != -ENOENT)
			return "seq_find";
		if (r == 0 && alive == x->dead[e])
			return "seq_find, alive";
		if (r == 0 && alive &&
		    (seq_id_at(x->s, pos, &back) < 0 || !seq_id_equal(&id, &back)))
			return "seq_id_at";
	}
	return NULL;
}

static const char *step(struct world *w)
{
	struct replica *x = &w->x[prng_below(&w->r, w->n)], *y = &w->x[prng_below(&w->r, w->n)];
	switch (prng_below(&w->r, 12)) {
	case 0:
	case 1:
		type(w, x);
		break;
	case 2:
		take_back(w, x);
		break;
	case 3:
	case 4:
		batch(w, x);
		break;
	case 5:
		read_version(w, x);
		break;
	case 6:
	case 7:
		save(w, x);
		break;
	case 8:
		post(w, x);
		break;
	case 9:
		deliver(w, x);
		break;
	default:
		if (x != y)
			send(w, y, x);
		break;
	}
	const char *why = check_pieces(&w->f, x);
	return why ? why : check_reading(w, x);
}

/* Joins of what the replicas have in the end, in another order each time. */
static const char *check_laws(struct world *w)
{
	struct seq *first = NULL;
	struct seq_part *d[REPLICAS_MAX];
	const char *why = NULL;
	static struct replica all;
	all = w->x[0];
	for (unsigned i = 0; i < w->n; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		_cleanup_(actor_codec_freep) struct actor_codec *in = NULL;
		replica_part(&w->x[i], NULL, &b);
		struct cursor cur = cursor_make(b.data, b.len);
		must(actor_codec_new(w->x[0].actors, &in));
		must(seq_part_decode(&cur, w->x[0].actors, in, NULL, &d[i], NULL));
		fugue_join(&w->f, &all, w->x[i].known, w->x[i].dead);
	}
	for (unsigned k = 0; k < w->n && !why; k++) {
		struct seq *s;
		must(seq_new(w->x[0].s->flavour, w->x[0].actors, &s));
		for (unsigned i = 0; i < w->n; i++)
			must(seq_join(s, d[(i + k) % w->n], NULL));
		must(seq_join(s, d[k], NULL));
		all.s = s;
		why = check_pieces(&w->f, &all);
		if (first && !same_state(first, s))
			why = "joins in another order";
		if (first)
			seq_free(s);
		else
			first = s;
	}
	seq_free(first);
	for (unsigned i = 0; i < w->n; i++)
		seq_part_free(d[i]);
	return why;
}

/* Copies and stored states are the same as what they were made of. */
static const char *check_copies(struct replica *x)
{
	_cleanup_(seq_freep) struct seq *copy = NULL, *stored = NULL;
	_cleanup_(buf_done) struct buf a = { 0 }, b = { 0 }, c = { 0 };
	must(seq_copy(x->s, &copy));
	seq_encode(x->s, x->actors, NULL, &a);
	seq_encode(copy, x->actors, NULL, &b);
	struct cursor cur = cursor_make(a.data, a.len);
	must(seq_decode(&cur, x->actors, NULL, &x->have, &stored, NULL));
	seq_encode(stored, x->actors, NULL, &c);
	if (a.len != b.len || a.len != c.len || memcmp(a.data, b.data, a.len) != 0 ||
	    memcmp(a.data, c.data, a.len) != 0)
		return "another encoding of the same";
	return same_state(x->s, copy) && same_state(x->s, stored) ? NULL : "another state";
}

static const char *run(uint64_t seed, enum seq_flavour flavour)
{
	struct world *w = world_new(seed, flavour);
	const char *why = NULL;
	for (int i = 0; i < STEPS && !why && w->f.n < FUGUE_MAX / 2; i++)
		why = step(w);
	for (unsigned i = 0; i < w->n && !why; i++)
		why = check_copies(&w->x[i]);
	if (!why)
		why = check_laws(w);
	world_free(w);
	return why;
}

static void test_histories(uint64_t seed, uint64_t rounds, enum seq_flavour flavour)
{
	const char *why = NULL;
	for (uint64_t i = 0; i < rounds && !why; i++) {
		why = run(seed + i, flavour);
		if (why)
			tap_diag("seed %llu: %s", (unsigned long long)(seed + i), why);
	}
	ok(!why, "%s: what the paper's algorithm gives", flavour == SEQ_TEXT ? "texts" : "lists");
}

/* --- examples --- */

static void type_text(struct fugue *f, struct replica *x, uint32_t pos, const char *text,
		      bool backwards)
{
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)text[backwards ? n - 1 - i : i];
		replica_insert(f, x, pos, &c, 1, replica_dot(x));
		pos += !backwards;
	}
}

static void swap(struct replica *x, struct replica *y)
{
	_cleanup_(buf_done) struct buf a = { 0 }, b = { 0 };
	replica_part(x, NULL, &a);
	replica_part(y, NULL, &b);
	join_bytes(x, &b, NULL);
	join_bytes(y, &a, NULL);
}

static char *text_of(const struct replica *x)
{
	static char text[FUGUE_MAX + 1];
	uint32_t n = seq_length(x->s);
	must(seq_read(x->s, 0, n, text));
	text[n] = 0;
	return text;
}

/* Two people write at one place, each in a direction: never mixed, and the same for both. */
static void test_not_mixed(void)
{
	for (unsigned how = 0; how < 8; how++) {
		static struct replica x, y;
		struct fugue *f = calloc(1, sizeof(*f));
		char before[64];
		const char *between = how & 4 ? "[]" : "";
		replica_init(&x, SEQ_TEXT, 1);
		replica_init(&y, SEQ_TEXT, 2);
		type_text(f, &x, 0, between, false);
		swap(&x, &y);
		memcpy(y.known, x.known, sizeof(x.known));
		type_text(f, &x, how & 4 ? 1 : 0, "milk", how & 1);
		type_text(f, &y, how & 4 ? 1 : 0, "eggs", how & 2);
		swap(&x, &y);
		snprintf(before, sizeof(before), "%s", text_of(&x));
		bool one = how & 4 ? strcmp(before, "[milkeggs]") == 0 ||
					     strcmp(before, "[eggsmilk]") == 0
				   : strcmp(before, "milkeggs") == 0 ||
					     strcmp(before, "eggsmilk") == 0;
		ok(one && strcmp(before, text_of(&y)) == 0, "milk %s, eggs %s%s: %s",
		   how & 1 ? "backwards" : "forwards", how & 2 ? "backwards" : "forwards",
		   how & 4 ? ", inside a text" : "", before);
		replica_done(&x);
		replica_done(&y);
		free(f);
	}
}

/* One types on while others, who have read less of it each, append to what they have: what hangs
 * inside a run stands before or behind the rest of it, by the order of identifiers. */
static void test_inside_run(void)
{
	enum { READERS = 4 };
	const char *why = NULL;
	for (unsigned no = 0; no < FUGUE_ACTORS && !why; no++) {
		static struct replica x, y;
		struct fugue *f = calloc(1, sizeof(*f));
		struct buf b[READERS] = { { 0 } };
		bool known[READERS][FUGUE_MAX];
		replica_init(&x, SEQ_TEXT, no);
		for (unsigned i = 0; i < READERS; i++) {
			_cleanup_(buf_done) struct buf all = { 0 };
			type_text(f, &x, i, "x", false);
			replica_init(&y, SEQ_TEXT, (no + 1 + i) % FUGUE_ACTORS);
			replica_part(&x, NULL, &all);
			join_bytes(&y, &all, NULL);
			memcpy(y.known, x.known, sizeof(y.known));
			type_text(f, &y, i + 1, "yz", i % 2);
			replica_part(&y, NULL, &b[i]);
			memcpy(known[i], y.known, sizeof(y.known));
			replica_done(&y);
		}
		type_text(f, &x, READERS, "x", false);
		for (unsigned i = 0; i < READERS && !why; i++) {
			join_bytes(&x, &b[i], NULL);
			fugue_join(f, &x, known[i], x.dead);
			why = check_pieces(f, &x);
			buf_done(&b[i]);
		}
		replica_done(&x);
		free(f);
	}
	ok(!why, "what others append inside a run%s%s", why ? ": " : "", why ? why : "");
}

/* A save of an old version when somebody else has written at the same places. */
static void test_old_version(void)
{
	static struct replica x, y;
	struct seq_base *base;
	struct fugue *f = calloc(1, sizeof(*f));
	_cleanup_(vv_done) struct vv seen = { 0 };
	_cleanup_(seq_freep) struct seq *copy = NULL;
	replica_init(&x, SEQ_TEXT, 1);
	replica_init(&y, SEQ_TEXT, 2);
	type_text(f, &x, 0, "one two three", false);
	swap(&x, &y);
	memcpy(y.known, x.known, sizeof(x.known));
	must(seq_base_make(x.s, &base));
	must(vv_copy(&x.have, &seen));
	replica_insert(f, &y, 4, (const uint8_t *)"more ", 5, replica_dot(&y));
	replica_delete(f, &y, 0, 3, replica_dot(&y));
	swap(&x, &y);
	is_str(text_of(&x), " more two three", "somebody inserted, and deleted the first word");
	const struct seq_edit edit[] = { { 0, 4, "1 ", 2 }, { 4, 3, "2", 1 }, { 13, 0, "!", 1 } };
	must(seq_copy(x.s, &copy));
	must(seq_edit(x.s, base, &seen, edit, 3, replica_dot(&x)));
	is_str(text_of(&x), "1 2more  three!",
	       "adjacent replacements stay together, before or after");
	struct seq *s = x.s;
	x.s = copy;
	must(seq_edit(x.s, base, NULL, edit, 3, (struct dot){ fugue_local(&x, 1), x.seq }));
	is_str(text_of(&x), "1 2more  three!", "the same right behind what was on the left");
	x.s = s;
	seq_base_free(base);
	replica_done(&x);
	replica_done(&y);
	free(f);
}

/* --- what is refused --- */

static void test_refused(void)
{
	struct actors *actors;
	struct actor_id id = fugue_actor(0);
	uint32_t me, n;
	struct seq *s;
	struct seq_base *base;
	struct seq_id at;
	bool alive;
	uint8_t byte;
	struct vv none = { 0 };
	must(actors_new(&actors));
	must(actors_intern(actors, &id, &me));
	must(seq_new(SEQ_BARE, actors, &s));
	must(seq_base_make(s, &base));
	const struct dot one = { me, 1 }, two = { me, 2 };
	is_errno(seq_insert(s, 1, NULL, 1, two), -EINVAL, "an insertion behind the end");
	is_errno(seq_insert(s, 0, NULL, 1, (struct dot){ me, 0 }), -EINVAL, "no dot");
	is_errno(seq_insert(s, 0, NULL, 1, (struct dot){ me, SEQ_DOT_MAX + 1 }), -EINVAL,
		 "too high a dot");
	is_errno(seq_insert(s, 0, NULL, 3, two), 0, "an insertion");
	is_errno(seq_insert(s, 0, NULL, 1, one), -EINVAL, "one under an older dot");
	is_errno(seq_delete(s, 1, 3, two), -EINVAL, "more deleted than there is");
	is_errno(seq_delete(s, 1, 1, (struct dot){ me, 0 }), -EINVAL, "deleted under no dot");
	is_errno(seq_id_at(s, 3, &at), -EINVAL, "the id behind the end");
	is_errno(seq_find(s, &(struct seq_id){ me, 3, 2 }, &n, &alive), -ENOENT, "an id of nobody");
	is_errno(seq_read(s, 0, 1, &byte), -EINVAL, "bytes of a list");
	is_errno(seq_delete_covered(s, &none, (struct dot){ me, 0 }, NULL), -EINVAL,
		 "covered, deleted under no dot");
	struct seq_edit edit[2] = { { 0, 0, NULL, 1 }, { 1, 0, NULL, 1 } };
	is_errno(seq_edit(s, base, NULL, edit, 2, two), -EINVAL, "an edit beyond the base");
	seq_base_free(base);
	must(seq_base_make(s, &base));
	edit[0] = (struct seq_edit){ 1, 1, NULL, 0 };
	is_errno(seq_edit(s, base, NULL, edit, 2, two), -EINVAL, "edits that overlap");
	edit[0] = (struct seq_edit){ 1, 0, NULL, SEQ_TOTAL_MAX };
	is_errno(seq_edit(s, base, NULL, edit, 1, two), -EFBIG, "an edit too long");
	is_uint(seq_length(s), 3, "nothing of that was done");
	is_errno(seq_insert(s, 3, NULL, SEQ_TOTAL_MAX - 3, two), 0, "as many as there can be");
	is_errno(seq_insert(s, 3, NULL, 1, (struct dot){ me, 3 }), -EFBIG, "one more");
	is_errno(seq_delete(s, 1, SEQ_TOTAL_MAX - 2, (struct dot){ me, 3 }), 0,
		 "most of them deleted");
	is_uint(seq_length(s), 2, "two are left");
	is_errno(seq_insert(s, 0, NULL, 1, (struct dot){ me, 4 }), -EFBIG, "deleted ones count");
	struct seq *other;
	must(seq_new(SEQ_BARE, actors, &other));
	must(seq_insert(other, 0, NULL, 1, (struct dot){ me, 9 }));
	edit[0] = (struct seq_edit){ 1, 1, NULL, 0 };
	is_errno(seq_edit(other, base, NULL, edit, 1, (struct dot){ me, 10 }), -EINVAL,
		 "a base of something else");
	seq_free(other);
	seq_base_free(base);
	seq_free(s);
	actors_free(actors);
}

/* --- seeds --- */

/* What a part for the context says, against what a peer needs who has the value alone. */
static uint32_t part_elements(const struct seq *s, const struct vv *known)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	must(seq_part_make(s, known, &d));
	return d->total;
}

static void test_seeds(void)
{
	_cleanup_(vv_done) struct vv value = { 0 }, later = { 0 }, nothing = { 0 };
	_cleanup_(actors_freep) struct actors *actors = NULL;
	uint32_t who[3];
	must(actors_new(&actors));
	for (unsigned i = 0; i < 3; i++) {
		struct actor_id id = fugue_actor(i);
		must(actors_intern(actors, &id, &who[i]));
	}
	_cleanup_(seq_freep) struct seq *x = NULL, *y = NULL;
	_cleanup_(seq_base_freep) struct seq_base *base = NULL, *again = NULL;
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	const struct seq_seed seed = { { who[0], 5 }, 3 };
	struct seq_seed found = { { 0, 0 }, 0 };
	const struct seq_edit end = { 3, 0, "d", 1 }, begin = { 0, 1, "z", 1 };
	char text[8] = "";
	must(seq_new(SEQ_TEXT, actors, &x));
	must(seq_new(SEQ_TEXT, actors, &y));
	must(vv_raise(&value, who[0], 5));
	must(vv_copy(&value, &later));
	must(vv_raise(&later, who[1], 1));
	must(seq_insert(x, 0, "old", 3, (struct dot){ who[0], 4 }));
	is_errno(seq_seed_find(x, &value, "abc", 3, &found), -ENOENT, "a text without a seed");
	must(seq_seed_clear(x, &seed, &value, (struct dot){ who[1], 1 }));
	must(seq_seed_put(x, &seed, "abc"));
	must(seq_seed_put(x, &seed, "abc"));
	is_uint(seq_length(x), 3, "a seed takes the older text's place, once");
	must(seq_seed_base(&seed, &base));
	must(seq_edit(x, base, &value, &end, 1, (struct dot){ who[1], 1 }));
	is_uint(part_elements(x, &value), 7, "who has the value is sent all that stands on it");
	is_uint(part_elements(x, &later), 0, "who has the edit nothing");
	must(seq_insert(x, 4, "e", 1, (struct dot){ who[1], 2 }));
	is_uint(part_elements(x, &later), 1, "and what is new alone");
	ok(seq_seed_find(x, &value, "abc", 3, &found) == 0 && found.n == 3 &&
		   found.dot.actor == who[0] && found.dot.seq == 5,
	   "the seed is found");
	is_errno(seq_seed_find(x, &value, "abd", 3, &found), -ENOENT, "by its bytes");
	is_errno(seq_seed_find(x, &value, "ab", 2, &found), -ENOENT, "all of them");
	is_errno(seq_seed_find(x, &nothing, "abc", 3, &found), -ENOENT, "and who had seen it");
	must(seq_seed_put(y, &seed, "abc"));
	must(seq_seed_base(&seed, &again));
	must(seq_edit(y, again, &value, &begin, 1, (struct dot){ who[2], 1 }));
	must(seq_part_make(y, NULL, &part));
	must(seq_join(x, part, NULL));
	must(seq_read(x, 0, seq_length(x), text));
	is_str(text, "zbcde", "two who made a text of it made one");
	is_uint(seq_total(x), 9, "of one seed");
}

/* Two saves of one batch on one version. */
static void test_one_batch(void)
{
	static struct replica x;
	struct seq_base *base;
	struct fugue *f = calloc(1, sizeof(*f));
	_cleanup_(vv_done) struct vv seen = { 0 };
	replica_init(&x, SEQ_TEXT, 1);
	type_text(f, &x, 0, "abc", false);
	must(seq_base_make(x.s, &base));
	must(vv_copy(&x.have, &seen));
	struct dot dot = replica_dot(&x);
	for (int i = 0; i < 3; i++) {
		struct seq_edit edit = { 3, 0, "123" + i, 1 };
		must(seq_edit(x.s, base, &seen, &edit, 1, dot));
	}
	is_str(text_of(&x), "abc321", "each of a batch's insertions sees those before");
	uint32_t n;
	must(seq_delete_covered(x.s, &seen, dot, &n));
	is_str(text_of(&x), "321", "what was read is replaced, not what replaces it");
	seq_base_free(base);
	replica_done(&x);
	free(f);
}

int main(int argc, char **argv)
{
	tap_plan(2 + 8 + 1 + 3 + 2 + 11 + 21);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 250);
	test_histories(seed, rounds, SEQ_TEXT);
	test_histories(seed, rounds / 3, SEQ_BARE);
	test_not_mixed();
	test_inside_run();
	test_old_version();
	test_one_batch();
	test_seeds();
	test_refused();
	return tap_done();
}
