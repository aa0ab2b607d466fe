/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/reconcile.h"

#include <errno.h>
#include <xxhash.h>

#include "engine/cursor.h"
#include "engine/sha256.h"

/* Both sides keep two queues: of what they sent and wait to be answered (`open`), and of what they were
 * sent and have not answered yet (`asked`). The queue of one side is the other's, in one order, so that
 * no range has to be named on the wire. */

enum { NONE = 0, LIST = 7, ASK = 8 }; /* between them: a range divided by that many bits */

#define STEP 3           /* ranges are divided by so many bits, the first one by RECONCILE_STEP_MAX */
#define DEEP 24          /* from there on, too */
#define LIST_MIN 32      /* ranges of no more items are listed */
#define LISTS (1u << 14) /* of larger sets a list has one item of so many of the whole */
#define DIGEST 5         /* bytes */
#define FRAME_FULL 16384 /* no frame is gone on with that has so many bytes */

enum kind { KIND_SUMS, KIND_LIST, KIND_ASK };

struct group {
	struct id prefix;
	uint64_t differ; /* asked sums: children that are to be answered */
	uint64_t few;    /* ... of which the peer has no more than a list */
	uint16_t n;      /* of a list */
	uint8_t bits, step, kind;
};

struct queue {
	struct group *at;
	size_t head, end, cap;
};

struct reconcile {
	struct reconcile_source source;
	reconcile_fn found;
	void *userdata;
	uint64_t pass;
	uint64_t list; /* how many items are listed at most */
	struct queue open, asked;
	struct buf answers;          /* bitmaps of the lists in asked */
	bool begun, starts;
	bool sure;                   /* nothing but sums was compared */
	bool reading, answering;     /* within the first of open, or of asked */
	uint64_t to_read, to_answer; /* children left of it */
};

static int queue_push(struct queue *q, const struct group *g)
{
	if (q->end == q->cap && q->head > q->cap / 2) {
		memmove(q->at, q->at + q->head, (q->end - q->head) * sizeof(*q->at));
		q->end -= q->head;
		q->head = 0;
	}
	if (q->end == q->cap) {
		size_t cap = q->cap ? 2 * q->cap : 16;
		struct group *at = realloc(q->at, cap * sizeof(*at));
		if (!at)
			return -ENOMEM;
		q->at = at;
		q->cap = cap;
	}
	q->at[q->end++] = *g;
	return 0;
}

static bool queue_empty(const struct queue *q)
{
	return q->head == q->end;
}

/* ---- sums and ranges ---- */

static void item_hash(const struct reconcile_item *x, uint64_t *ret_high, uint64_t *ret_low)
{
	struct sha256 h;
	uint8_t both[2 * ID_SIZE];
	memcpy(both, x->id.b, ID_SIZE);
	memcpy(both + ID_SIZE, x->hash.b, ID_SIZE);
	sha256_of(both, sizeof(both), &h);
	struct cursor c = cursor_make(h.b, sizeof(h.b));
	*ret_high = cursor_u64(&c);
	*ret_low = cursor_u64(&c);
}

static void sum_plus(struct reconcile_sum *s, uint64_t high, uint64_t low)
{
	s->low += low;
	s->high += high + (s->low < low);
}

void reconcile_add(struct reconcile_sum *s, const struct reconcile_item *x)
{
	uint64_t high, low;
	item_hash(x, &high, &low);
	sum_plus(s, high, low);
	s->n++;
}

void reconcile_remove(struct reconcile_sum *s, const struct reconcile_item *x)
{
	uint64_t high, low;
	item_hash(x, &high, &low);
	sum_plus(s, ~high + (low == 0), -low);
	s->n--;
}

void reconcile_join(struct reconcile_sum *s, const struct reconcile_sum *other)
{
	sum_plus(s, other->high, other->low);
	s->n += other->n;
}

static unsigned id_bit(const struct id *x, unsigned i)
{
	return (x->b[i / 8] >> (7 - i % 8)) & 1;
}

bool reconcile_in(const struct id *x, const struct id *prefix, unsigned bits)
{
	if (memcmp(x->b, prefix->b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || (x->b[bits / 8] ^ prefix->b[bits / 8]) >> (8 - bits % 8) == 0;
}

void reconcile_child(const struct id *prefix, unsigned bits, unsigned step, uint64_t child, struct id *ret)
{
	struct id x = *prefix;
	for (unsigned i = 0; i < step; i++)
		if ((child >> (step - 1 - i)) & 1)
			x.b[(bits + i) / 8] |= (uint8_t)(0x80 >> (bits + i) % 8);
	*ret = x;
}

uint64_t reconcile_which(const struct id *x, unsigned bits, unsigned step)
{
	uint64_t child = 0;
	for (unsigned i = 0; i < step; i++)
		child = child << 1 | id_bit(x, bits + i);
	return child;
}

/* ---- a set in memory ---- */

/* The first item that is not below the prefix. */
static size_t array_from(const struct reconcile_array *a, const struct id *prefix)
{
	size_t low = 0, high = a->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (id_cmp(&a->item[mid].id, prefix) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int array_items(const struct id *prefix, unsigned bits, reconcile_fn f, void *f_userdata,
		       void *userdata)
{
	const struct reconcile_array *a = userdata;
	for (size_t i = array_from(a, prefix); i < a->n && reconcile_in(&a->item[i].id, prefix, bits); i++) {
		int err = f(&a->item[i], f_userdata);
		if (err)
			return err;
	}
	return 0;
}

static int array_sums(const struct id *prefix, unsigned bits, unsigned step, struct reconcile_sum *ret,
		      void *userdata)
{
	const struct reconcile_array *a = userdata;
	memset(ret, 0, sizeof(*ret) << step);
	for (size_t i = array_from(a, prefix); i < a->n && reconcile_in(&a->item[i].id, prefix, bits); i++)
		reconcile_add(&ret[reconcile_which(&a->item[i].id, bits, step)], &a->item[i]);
	return 0;
}

struct reconcile_source reconcile_array(struct reconcile_array *a)
{
	return (struct reconcile_source){ .sums = array_sums, .items = array_items, .userdata = a };
}

/* ---- lists ---- */

struct digest {
	uint64_t value;
	struct reconcile_item item;
};

struct listing {
	const struct reconcile *r;
	struct digest *at;
	size_t n, cap;
};

static uint64_t digest_of(const struct reconcile *r, const struct reconcile_item *x)
{
	uint8_t both[2 * ID_SIZE];
	memcpy(both, x->id.b, ID_SIZE);
	memcpy(both + ID_SIZE, x->hash.b, ID_SIZE);
	return XXH64(both, sizeof(both), r->pass) >> (64 - 8 * DIGEST);
}

static int digest_cmp(const void *a, const void *b)
{
	const struct digest *x = a, *y = b;
	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return id_cmp(&x->item.id, &y->item.id);
}

static int listing_add(const struct reconcile_item *x, void *userdata)
{
	struct listing *l = userdata;
	if (l->n == RECONCILE_LIST_MAX)
		return -E2BIG;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct digest *at = realloc(l->at, cap * sizeof(*at));
		if (!at)
			return -ENOMEM;
		l->at = at;
		l->cap = cap;
	}
	l->at[l->n++] = (struct digest){ .value = digest_of(l->r, x), .item = *x };
	return 0;
}

static void listing_done(struct listing *l)
{
	free(l->at);
}

/* The own items of a range by their digests. -E2BIG. */
static int listing_make(const struct reconcile *r, const struct id *prefix, unsigned bits,
			struct listing *l)
{
	l->r = r;
	int err = r->source.items(prefix, bits, listing_add, l, r->source.userdata);
	if (err)
		return err;
	if (l->n > 0)
		qsort(l->at, l->n, sizeof(*l->at), digest_cmp);
	return 0;
}

static int list_put(struct reconcile *r, const struct id *prefix, unsigned bits, struct buf *out)
{
	_cleanup_(listing_done) struct listing l = { 0 };
	int err = listing_make(r, prefix, bits, &l);
	if (err)
		return err;
	buf_varint(out, l.n);
	for (size_t i = 0; i < l.n; i++) {
		buf_u8(out, (uint8_t)(l.at[i].value >> 32));
		buf_u32(out, (uint32_t)l.at[i].value);
	}
	struct group g = { .prefix = *prefix, .bits = (uint8_t)bits, .kind = KIND_LIST, .n = (uint16_t)l.n };
	return queue_push(&r->open, &g);
}

/* A list of the peer, while it is compared with what is here. */
struct heard {
	const struct reconcile *r;
	uint64_t digest[RECONCILE_LIST_MAX];
	uint8_t lacks[RECONCILE_LIST_MAX / 8];
	size_t n;
};

static int heard_compare(const struct reconcile_item *x, void *userdata)
{
	struct heard *h = userdata;
	uint64_t d = digest_of(h->r, x);
	size_t low = 0, high = h->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (h->digest[mid] < d)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == h->n || h->digest[low] != d)
		return h->r->found(x, h->r->userdata);
	for (; low < h->n && h->digest[low] == d; low++)
		h->lacks[low / 8] &= (uint8_t)~(0x80 >> low % 8);
	return 0;
}

static int ask_push(struct reconcile *r, const struct group *g, struct err *e)
{
	if (r->asked.end - r->asked.head >= RECONCILE_ASKED_MAX)
		return err_set(e, -EPROTO, "a comparison of sets has too many ranges");
	return queue_push(&r->asked, g);
}

static int list_take(struct reconcile *r, struct cursor *c, const struct id *prefix, unsigned bits,
		     struct err *e)
{
	_cleanup_free_ struct heard *h = malloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->r = r;
	h->n = (size_t)cursor_varint_max(c, RECONCILE_LIST_MAX);
	size_t bytes = (h->n + 7) / 8;
	for (size_t i = 0; i < h->n; i++) {
		h->digest[i] = (uint64_t)cursor_u8(c) << 32;
		h->digest[i] |= cursor_u32(c);
		if (!cursor_ok(c) || (i > 0 && h->digest[i] < h->digest[i - 1]))
			return err_set(e, -EPROTO, "a list of a comparison is not sorted");
	}
	if (!cursor_ok(c) || h->n == 0)
		return err_set(e, -EPROTO, "a list of a comparison is empty, too long or cut off");
	if (r->answers.len + bytes > RECONCILE_ANSWERS_MAX)
		return err_set(e, -EPROTO, "a comparison of sets has too many lists");
	memset(h->lacks, 0xff, bytes);
	if (h->n % 8)
		h->lacks[bytes - 1] = (uint8_t)(0xff << (8 - h->n % 8));
	int err = r->source.items(prefix, bits, heard_compare, h, r->source.userdata);
	if (err)
		return err;
	buf_put(&r->answers, h->lacks, bytes);
	if (buf_failed(&r->answers))
		return -ENOMEM;
	struct group g = { .kind = KIND_LIST, .n = (uint16_t)h->n };
	return ask_push(r, &g, e);
}

/* The peer's bitmap of an own list: which of them it lacks. */
static int lacks_take(struct reconcile *r, struct cursor *c, const struct group *g, struct err *e)
{
	size_t bytes = (g->n + 7u) / 8;
	const uint8_t *map = cursor_take(c, bytes);
	if (!map || (g->n % 8 && (uint8_t)(map[bytes - 1] << g->n % 8) != 0))
		return err_set(e, -EPROTO, "the answer to a list of a comparison is none");
	bool any = false;
	for (size_t i = 0; i < bytes; i++)
		any = any || map[i] != 0;
	if (!any)
		return 0;
	_cleanup_(listing_done) struct listing l = { 0 };
	int err = listing_make(r, &g->prefix, g->bits, &l);
	if (err)
		return err;
	for (size_t i = 0; i < l.n && i < g->n; i++) {
		if (!(map[i / 8] & (0x80 >> i % 8)))
			continue;
		err = r->found(&l.at[i].item, r->userdata);
		if (err)
			return err;
	}
	return 0;
}

/* ---- sums on the wire ---- */

static void sum_put(struct buf *out, const struct reconcile_sum *s)
{
	buf_varint(out, s->n);
	if (s->n > 0) {
		buf_u64(out, s->high);
		buf_u64(out, s->low);
	}
}

static void sum_get(struct cursor *c, struct reconcile_sum *ret)
{
	*ret = (struct reconcile_sum){ .n = cursor_varint(c) };
	if (ret->n > 0) {
		ret->high = cursor_u64(c);
		ret->low = cursor_u64(c);
	}
}

/* The sums of a range's children have come: which ones differ. */
static int sums_take(struct reconcile *r, struct cursor *c, const struct id *prefix, unsigned bits,
		     unsigned step, struct err *e)
{
	struct reconcile_sum mine[1 << RECONCILE_STEP_MAX];
	struct group g = { .prefix = *prefix, .bits = (uint8_t)bits, .step = (uint8_t)step,
			   .kind = KIND_SUMS };
	int err = r->source.sums(prefix, bits, step, mine, r->source.userdata);
	if (err)
		return err;
	bool any = false;
	for (unsigned i = 0; i < 1u << step; i++) {
		struct reconcile_sum theirs;
		sum_get(c, &theirs);
		any = any || theirs.n > 0;
		if (!cursor_ok(c))
			return err_set(e, -EPROTO, "the sums of a comparison are cut off");
		if (reconcile_equal(&mine[i], &theirs))
			continue;
		if (theirs.n > 0) {
			g.differ |= UINT64_C(1) << i;
			if (theirs.n <= r->list)
				g.few |= UINT64_C(1) << i;
			continue;
		}
		/* The peer knows that it has nothing there. */
		struct id child;
		reconcile_child(prefix, bits, step, i, &child);
		err = r->source.items(&child, bits + step, r->found, r->userdata, r->source.userdata);
		if (err)
			return err;
	}
	if (!any && step > 0)
		return err_set(e, -EPROTO, "a comparison of sets divides a range of nothing");
	if (step == 0)
		r->sure = g.differ == 0 || mine[0].n == 0;
	return ask_push(r, &g, e);
}

/* Writes the sums of the children. */
static int sums_put(struct reconcile *r, const struct id *prefix, unsigned bits, unsigned step,
		    struct buf *out)
{
	struct reconcile_sum mine[1 << RECONCILE_STEP_MAX];
	int err = r->source.sums(prefix, bits, step, mine, r->source.userdata);
	if (err)
		return err;
	for (unsigned i = 0; i < 1u << step; i++)
		sum_put(out, &mine[i]);
	struct group g = { .prefix = *prefix, .bits = (uint8_t)bits, .step = (uint8_t)step,
			   .kind = KIND_SUMS };
	return queue_push(&r->open, &g);
}

/* ---- answers ---- */

static size_t map_bytes(unsigned step)
{
	return step < 3 ? 1 : (size_t)1 << (step - 3);
}

/* By how many bits a range of n items is divided. So deep down as no set of random ids comes, many
 * items have long prefixes in common: it takes less turns to get to where they differ. */
static unsigned step_of(const struct reconcile *r, unsigned bits, uint64_t n)
{
	unsigned left = 8 * ID_SIZE - bits, step = 1;
	if (bits >= DEEP)
		return left < RECONCILE_STEP_MAX ? left : RECONCILE_STEP_MAX;
	while (step < (bits == 0 ? RECONCILE_STEP_MAX : STEP) && n >> step > r->list)
		step++;
	return step;
}

static int answer_child(struct reconcile *r, const struct group *g, unsigned i, struct buf *out)
{
	struct id child;
	struct reconcile_sum mine;
	unsigned bits = (unsigned)g->bits + g->step;
	reconcile_child(&g->prefix, g->bits, g->step, i, &child);
	int err = r->source.sums(&child, bits, 0, &mine, r->source.userdata);
	if (err)
		return err;
	if (mine.n == 0) {
		buf_u8(out, NONE);
		return 0;
	}
	if (mine.n <= r->list) {
		buf_u8(out, LIST);
		return list_put(r, &child, bits, out);
	}
	if (g->few & (UINT64_C(1) << i)) {
		buf_u8(out, ASK);
		struct group ask = { .prefix = child, .bits = (uint8_t)bits, .kind = KIND_ASK };
		return queue_push(&r->open, &ask);
	}
	unsigned step = step_of(r, bits, mine.n);
	buf_u8(out, (uint8_t)step);
	return sums_put(r, &child, bits, step, out);
}

static int answer_sums(struct reconcile *r, struct buf *out)
{
	struct group g = r->asked.at[r->asked.head];
	if (!r->answering) {
		for (size_t i = 0; i < map_bytes(g.step); i++)
			buf_u8(out, (uint8_t)(g.differ >> 8 * i));
		r->to_answer = g.differ;
		r->answering = true;
	} else {
		int err = answer_child(r, &g, (unsigned)__builtin_ctzll(r->to_answer), out);
		if (err)
			return err;
		r->to_answer &= r->to_answer - 1;
	}
	if (r->to_answer == 0) {
		r->asked.head++;
		r->answering = false;
	}
	return 0;
}

int reconcile_next(struct reconcile *r, struct buf *out)
{
	size_t start = out->len;
	int err = 0;
	if (r->starts) {
		r->starts = false;
		r->begun = true;
		buf_varint(out, r->pass);
		err = sums_put(r, &(struct id){ 0 }, 0, 0, out);
	}
	while (!err && !queue_empty(&r->asked) && out->len - start < FRAME_FULL) {
		struct group g = r->asked.at[r->asked.head];
		switch ((enum kind)g.kind) {
		case KIND_SUMS:
			err = answer_sums(r, out);
			break;
		case KIND_LIST:
			buf_put(out, r->answers.data, (g.n + 7u) / 8);
			buf_consume(&r->answers, (g.n + 7u) / 8);
			r->asked.head++;
			break;
		case KIND_ASK:
			err = list_put(r, &g.prefix, g.bits, out);
			r->asked.head++;
			break;
		}
	}
	if (!err && buf_failed(out))
		err = -ENOMEM;
	return err ? err : out->len > start;
}

/* ---- what the peer says ---- */

static int take_map(struct reconcile *r, struct cursor *c, const struct group *g, struct err *e)
{
	uint64_t map = 0;
	for (size_t i = 0; i < map_bytes(g->step); i++)
		map |= (uint64_t)cursor_u8(c) << 8 * i;
	if (!cursor_ok(c) || (g->step < RECONCILE_STEP_MAX && map >> (1u << g->step) != 0))
		return err_set(e, -EPROTO, "the answer to sums of a comparison is none");
	r->to_read = map;
	r->reading = true;
	if (g->bits == 0 && g->step == 0)
		r->sure = map == 0;
	return 0;
}

struct counted {
	const struct reconcile *r;
	uint64_t n;
};

static int counted_found(const struct reconcile_item *x, void *userdata)
{
	struct counted *t = userdata;
	t->n++;
	return t->r->found(x, t->r->userdata);
}

static int take_child(struct reconcile *r, struct cursor *c, const struct group *g, struct err *e)
{
	struct id child;
	unsigned bits = (unsigned)g->bits + g->step;
	reconcile_child(&g->prefix, g->bits, g->step, (uint64_t)__builtin_ctzll(r->to_read), &child);
	r->to_read &= r->to_read - 1;
	uint8_t form = cursor_u8(c);
	if (form == NONE) {
		struct counted t = { .r = r };
		int err = r->source.items(&child, bits, counted_found, &t, r->source.userdata);
		if (err)
			return err;
		if (t.n == 0)
			return err_set(e, -EPROTO, "a comparison of sets has a range where nobody has anything");
		r->sure = r->sure || bits == 0;
		return 0;
	}
	if (form == LIST)
		return list_take(r, c, &child, bits, e);
	if (form == ASK) {
		struct reconcile_sum mine;
		int err = r->source.sums(&child, bits, 0, &mine, r->source.userdata);
		if (err)
			return err;
		if (mine.n == 0 || mine.n > RECONCILE_LIST_MAX)
			return err_set(e, -EPROTO, "a comparison of sets asks for a list of nothing or of too much");
		struct group ask = { .prefix = child, .bits = (uint8_t)bits, .kind = KIND_ASK };
		return ask_push(r, &ask, e);
	}
	if (form > RECONCILE_STEP_MAX || bits + form > 8 * ID_SIZE)
		return err_set(e, -EPROTO, "a comparison of sets has a form that is none");
	return sums_take(r, c, &child, bits, form, e);
}

static int take_answer(struct reconcile *r, struct cursor *c, struct err *e)
{
	if (queue_empty(&r->open))
		return err_set(e, -EPROTO, "a comparison of sets goes on though nothing was asked");
	const struct group g = r->open.at[r->open.head];
	int err = 0;
	switch ((enum kind)g.kind) {
	case KIND_SUMS:
		err = r->reading ? take_child(r, c, &g, e) : take_map(r, c, &g, e);
		if (err || r->to_read)
			return err;
		r->reading = false;
		break;
	case KIND_LIST:
		err = lacks_take(r, c, &g, e);
		break;
	case KIND_ASK:
		err = list_take(r, c, &g.prefix, g.bits, e);
		break;
	}
	r->open.head++;
	return err;
}

int reconcile_take(struct reconcile *r, const void *data, size_t len, struct err *e)
{
	if (len == 0 || len > RECONCILE_FRAME_MAX)
		return err_set(e, -EPROTO, "a frame of a comparison is empty or too long");
	struct cursor c = cursor_make(data, len);
	int err = 0;
	if (!r->begun) {
		if (r->starts)
			return err_set(e, -EPROTO, "both sides begin a comparison of sets");
		r->begun = true;
		r->pass = cursor_varint(&c);
		err = sums_take(r, &c, &(struct id){ 0 }, 0, 0, e);
	}
	while (!err && cursor_left(&c) > 0)
		err = take_answer(r, &c, e);
	if (!err && !cursor_ok(&c))
		err = err_set(e, -EPROTO, "a frame of a comparison is cut off");
	return err;
}

/* ---- its life ---- */

int reconcile_new(const struct reconcile_source *source, reconcile_fn found, void *userdata,
		  struct reconcile **ret)
{
	_cleanup_(reconcile_freep) struct reconcile *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->source = *source;
	r->found = found;
	r->userdata = userdata;
	struct reconcile_sum all;
	int err = source->sums(&(struct id){ 0 }, 0, 0, &all, source->userdata);
	if (err)
		return err;
	r->list = all.n / LISTS;
	if (r->list < LIST_MIN)
		r->list = LIST_MIN;
	if (r->list > RECONCILE_LIST_MAX)
		r->list = RECONCILE_LIST_MAX;
	*ret = TAKE_PTR(r);
	return 0;
}

void reconcile_free(struct reconcile *r)
{
	if (!r)
		return;
	free(r->open.at);
	free(r->asked.at);
	buf_done(&r->answers);
	free(r);
}

int reconcile_begin(struct reconcile *r, uint64_t pass)
{
	if (r->begun || r->starts)
		return -EINVAL;
	r->pass = pass;
	r->starts = true;
	return 0;
}

bool reconcile_done(const struct reconcile *r)
{
	return r->begun && queue_empty(&r->open) && queue_empty(&r->asked);
}

bool reconcile_sure(const struct reconcile *r)
{
	return reconcile_done(r) && r->sure;
}
