/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who wrote each line of a text, and when.
 *
 * Each byte of a text has the dot of the batch that put it in. The record keeps no time of a dot, but
 * for the last ones; the versions in STORE_HISTORY have contexts, so a dot came with the first version
 * that covers it. This device's contexts only grow, so that one is found by halving. Its time is that
 * of its newest change: later than the dot's, if others came between two versions that are kept.
 * What the oldest of them covers may be as old as it likes, but no older than the file. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/history.h"
#include "engine/slotseq.h"

/* A version that this device showed, the newest one too. */
struct stage {
	struct vv context; /* arena */
	uint64_t written;  /* stamp */
	uint32_t author;
};

struct origin {
	struct dot dot;
	uint32_t stage; /* the first one that has it */
	uint64_t us;
	bool known;     /* us is the dot's own time */
};

struct reader {
	struct replica *r;
	struct arena *a;
	struct stage *stage; /* oldest first; malloc */
	uint32_t n, cap;
	const struct reg *val; /* of the content */
	bool whole;            /* the oldest stage is the first version that the file ever had */
	struct buf bytes;
	struct buf lines;      /* struct line */
	struct line line;      /* the one that is being read */
	struct origin newest;  /* in it */
};

static int add_stage(struct reader *x, const struct vv *context, uint64_t written, uint32_t author)
{
	if (x->n == x->cap) {
		uint32_t cap = x->cap ? 2 * x->cap : 64;
		struct stage *p = reallocarray(x->stage, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		x->stage = p;
		x->cap = cap;
	}
	x->stage[x->n] = (struct stage){ .written = written, .author = author };
	int rc = vv_arena(x->a, context, &x->stage[x->n].context);
	x->n += rc == 0;
	return rc;
}

static int add_earlier(const struct history_version *h, uint64_t stamp, void *userdata)
{
	(void)stamp;
	return add_stage(userdata, &h->context, h->written, h->author);
}

static void reader_done(struct reader *x)
{
	free(x->stage);
	buf_done(&x->bytes);
	buf_done(&x->lines);
}

/* ---- when a dot was made ---- */

static struct origin origin_of(const struct reader *x, struct dot dot)
{
	uint32_t from = 0, to = x->n - 1;
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;
		if (vv_has(&x->stage[mid].context, dot))
			to = mid;
		else
			from = mid + 1;
	}
	const struct stage *s = &x->stage[to];
	struct origin o = { dot, to, hlc_us(s->written), false };
	o.known = dot.actor == s->author && dot.seq == vv_get(&s->context, dot.actor);
	for (uint32_t i = 0; i < x->val->n; i++)
		if (x->val->entry[i].dot.actor == dot.actor && x->val->entry[i].dot.seq == dot.seq) {
			o.us = hlc_us(x->val->entry[i].hlc);
			o.known = true;
		}
	return o;
}

static bool is_newer(const struct origin *x, const struct origin *y)
{
	if (y->dot.seq == 0 || x->stage != y->stage)
		return y->dot.seq == 0 || x->stage > y->stage;
	if (x->dot.actor == y->dot.actor)
		return x->dot.seq > y->dot.seq;
	/* One whose time is known is the stage's last change, or the record's. */
	return x->known && (!y->known || x->us > y->us);
}

/* Was the file made when the version was? Of a file that has been moved since nobody knows. */
static bool is_first(const struct record *rec, const struct stage *s)
{
	const uint64_t us = hlc_us(s->written);
	for (uint32_t i = 0; i < rec->n_visits; i++) {
		const struct visit *v = &rec->visit[i];
		if (!id_equal(&v->parent, &NODE_TRASH) && v->us <= us && us - v->us <= HISTORY_BURST_US)
			return true;
	}
	return false;
}

/* ---- lines ---- */

static void end_line(struct reader *x)
{
	const struct origin *o = &x->newest;
	x->line.actor = o->dot.actor;
	x->line.seq = o->dot.seq;
	x->line.us = o->us;
	x->line.older = o->stage == 0 && !o->known && !x->whole;
	buf_put(&x->lines, &x->line, sizeof(x->line));
	x->line = (struct line){ 0 };
	x->newest = (struct origin){ 0 };
}

/* Bytes of one dot. */
static void add_bytes(struct reader *x, const uint8_t *p, size_t n, struct dot dot)
{
	const struct origin o = origin_of(x, dot);
	buf_put(&x->bytes, p, n);
	while (n > 0) {
		const uint8_t *end = memchr(p, '\n', n);
		size_t len = end ? (size_t)(end + 1 - p) : n;
		if (is_newer(&o, &x->newest))
			x->newest = o;
		x->line.len += len;
		if (end)
			end_line(x);
		p += len;
		n -= len;
	}
}

static int read_lines(struct reader *x, const struct slot *s)
{
	_cleanup_(seq_freep) struct seq *seq = NULL;
	_cleanup_(seq_twins_freep) struct seq_twins *twins = NULL;
	struct seq_span span;
	int rc = slotseq_load(s, x->r->actors, &seq);
	if (rc == 0)
		rc = seq_twins_make(seq, &twins);
	if (rc < 0)
		return rc;
	struct seq_iter it = seq_iter(seq);
	while (seq_iter_next(&it, &span)) {
		if (seq_twins_hide(twins, &span.id))
			continue;
		if (!span.step)
			add_bytes(x, span.text, span.len, (struct dot){ span.id.actor, span.id.seq });
		for (uint32_t i = 0; span.step && i < span.len; i++)
			add_bytes(x, span.text + i, 1, (struct dot){ span.id.actor, span.id.seq + i });
	}
	if (x->line.len > 0)
		end_line(x);
	return buf_failed(&x->bytes) || buf_failed(&x->lines) ? -ENOMEM : 0;
}

static int give(struct reader *x, struct line **ret, uint32_t *ret_n)
{
	uint32_t n = (uint32_t)(x->lines.len / sizeof(struct line));
	struct line *all = arena_array(x->a, n ? n : 1, sizeof(*all));
	const char *text = arena_dup(x->a, x->bytes.data, x->bytes.len);
	if (!all || !text)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		memcpy(&all[i], x->lines.data + i * sizeof(*all), sizeof(*all));
		all[i].text = text;
		text += all[i].len;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int replica_lines(struct replica *r, const struct id *id, struct arena *a, struct line **ret,
		  uint32_t *ret_n)
{
	_cleanup_(reader_done) struct reader x = { .r = r, .a = a };
	struct store_snapshot *snap = NULL;
	struct stored s;
	struct value shown;
	uint64_t written;
	uint32_t author;
	int rc = store_snapshot(r->store, &snap);
	if (rc < 0)
		return rc;
	rc = stored_get(r, snap, a, id, &s, NULL);
	if (rc == 0 && (!content_shown(r, s.record, &shown) || shown.kind != VALUE_TEXT))
		rc = -EINVAL;
	if (rc == 0)
		rc = history_each(r, snap, id, add_earlier, &x);
	store_snapshot_free(r->store, snap);
	if (rc < 0)
		return rc;
	const struct slot *content = slot_find(s.record->top, TOP_CONTENT, strlen(TOP_CONTENT));
	x.val = &content->val;
	history_written(r, s.record, &written, &author);
	rc = add_stage(&x, &s.record->ctx, written, author);
	if (rc == 0) {
		x.whole = is_first(s.record, &x.stage[0]);
		rc = read_lines(&x, content);
	}
	return rc < 0 ? rc : give(&x, ret, ret_n);
}
