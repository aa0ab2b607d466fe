/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A backlog from the newest to the oldest, which takes in newer views while it lasts: shoal-protocol(7), "Newest
 * first".
 *
 * What each view has beyond the one before is a slab. The newest slab is walked first, under each actor from its
 * highest number down, of all actors the one next whose node was changed last. When it is done, it is one with the slab
 * below, which from then on is walked in the newer view. So of a slab two vectors say all: what is met is
 * what lies beyond `low`, and under the numbers that the walk has come to.
 *
 * A node is sent when it is met first in the newest slab that it is in. Its entry moves up when it is changed, so
 * what was changed since a slab was walked is found in a newer one. What was sent of it before is what the
 * view of the slab had in which it was met, as far as that view is told to hold it; the delta is made for that.
 *
 * Now and then the lowest slab has its turn before those above it are done (backlog_back). It is walked in the newest
 * view, so what its own view would say of what was met is not true any more, and is not asked. */

#include "engine/backlog-impl.h"

#include <errno.h>
#include <stdlib.h>

#define RING RECENT_RING
#define WIDTH 64

static int spot_cmp(const struct spot *x, const struct spot *y)
{
	return x->seq != y->seq ? (x->seq < y->seq ? -1 : 1) : id_cmp(&x->id, &y->id);
}

static struct slab *top(struct backlog *b)
{
	return &b->slab[b->n_slabs - 1];
}

/* ---- slabs ---- */

static void heads_free(struct slab *s)
{
	free(s->head);
	s->head = NULL;
	s->n_heads = 0;
	s->walked = false;
}

static void slab_free(struct slab *s)
{
	heads_free(s);
	vv_done(&s->low);
	vv_done(&s->high);
	view_unref(s->view);
	table_each(&s->done, i, l, next)
		free(table_entry(l, struct done, link));
	table_done(&s->done);
	*s = (struct slab){ 0 };
}

void recent_free(struct backlog *b)
{
	for (uint32_t i = 0; i < b->n_slabs; i++)
		slab_free(&b->slab[i]);
	b->n_slabs = 0;
	buf_done(&b->marks);
	vv_done(&b->wide);
}

struct table *recent_done(struct backlog *b)
{
	return &top(b)->done;
}

/* Puts another slab on top, of what lies between low and high. */
static int slab_add(struct backlog *b, const struct vv *low, const struct vv *high, struct view *view)
{
	struct slab *s = &b->slab[b->n_slabs++];
	s->view = view_ref(view);
	int rc = vv_copy(low, &s->low);
	return rc == 0 ? vv_copy(high, &s->high) : rc;
}

/* Below which nothing of the slab is. */
static const struct vv *bottom_of(const struct backlog *b, const struct slab *s)
{
	return s > b->slab ? &s[-1].high : &b->skip;
}

static int heads_make(struct backlog *b, struct slab *s)
{
	const struct vv *bottom = bottom_of(b, s);
	s->head = calloc(s->low.n ? s->low.n : 1, sizeof(*s->head));
	if (!s->head)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->low.n; i++) {
		struct vv_item item = s->low.item[i];
		uint64_t low = vv_get(bottom, item.actor);
		if (low >= item.seq)
			continue;
		s->head[s->n_heads++] = (struct head){ .actor = item.actor, .bottom = low, .width = WIDTH,
						       .told = item.seq, .last.seq = item.seq + 1 };
	}
	s->walked = true;
	return 0;
}

static const struct head *head_find(const struct slab *s, uint32_t actor)
{
	for (uint32_t lo = 0, hi = s->n_heads; lo < hi;) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (s->head[mid].actor == actor)
			return &s->head[mid];
		if (s->head[mid].actor < actor)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool is_walked(const struct slab *s, struct dot d, const struct id *id)
{
	if (d.seq > vv_get(&s->high, d.actor))
		return false;
	const struct head *h = s->walked ? head_find(s, d.actor) : NULL;
	const struct spot spot = { d.seq, *id };
	return h ? spot_cmp(&spot, &h->last) >= 0 : d.seq > vv_get(&s->low, d.actor);
}

/* The walk has met it, as the slab's view has it. */
static bool is_met(const struct slab *s, const struct stored *x)
{
	const struct vv *ctx = &x->record->ctx;
	if (backlog_has(&s->done, &x->record->id))
		return true;
	for (uint32_t i = 0; i < ctx->n + x->n_extra; i++)
		if (is_walked(s, i < ctx->n ? (struct dot){ ctx->item[i].actor, ctx->item[i].seq } :
					      x->extra[i - ctx->n], &x->record->id))
			return true;
	return false;
}

/* The node's own last change of the actor's that is no later, not any number: the peer's record has no more. 0: none. */
static uint64_t newest_extra(const struct stored *x, uint32_t actor, uint64_t most)
{
	uint64_t seq = 0;
	for (uint32_t i = 0; i < x->n_extra; i++)
		if (x->extra[i].actor == actor && x->extra[i].seq <= most && x->extra[i].seq > seq)
			seq = x->extra[i].seq;
	return seq;
}

/* What was sent of a node that the slab's walk has met: its context in the slab's view, as far as that view is told
 * to hold it. A change beyond that, which a third device is still telling of, has come to the view with no entry
 * that the walk looks at: the node may have been sent before. */
static int widen(struct backlog *b, const struct slab *s, const struct stored *x)
{
	const struct vv *ctx = &x->record->ctx;
	vv_done(&b->wide);
	int rc = vv_copy(&b->known, &b->wide);
	for (uint32_t i = 0; rc == 0 && i < ctx->n; i++) {
		struct vv_item item = ctx->item[i];
		uint64_t most = vv_get(&s->high, item.actor);
		if (item.seq > most)
			item.seq = newest_extra(x, item.actor, most);
		if (item.seq > 0)
			rc = vv_raise(&b->wide, item.actor, item.seq);
	}
	b->wider = true;
	return rc;
}

int recent_known(struct backlog *b, const struct stored *now, bool queued, const struct vv **ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	b->wider = false;
	*ret = &b->known;
	for (uint32_t i = b->n_slabs; i-- > 0;) {
		struct stored old;
		int rc = 0;
		if (i + 1 == b->n_slabs && queued)
			continue;
		if (i + 1 == b->n_slabs) {
			old = *now;
		} else if (b->slab[i].view) {
			arena_reset(&a);
			rc = stored_get(b->r, view_snapshot(b->slab[i].view), &a, &now->record->id, &old,
					NULL);
		} else {
			continue;
		}
		if (rc == -ENOENT)
			continue;
		if (rc == 0 && is_met(&b->slab[i], &old)) {
			*ret = &b->wide;
			return widen(b, &b->slab[i], &old);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the index, backwards ---- */

static void key_of(struct buf *k, const struct backlog *b, uint32_t actor, uint64_t seq)
{
	buf_put(k, b->scope.b, ID_SIZE);
	buf_u32(k, actor);
	buf_u64(k, seq);
}

/* Keeps the last RING entries from number low up to where the head is. *ret: how many there are. */
static int look_through(struct backlog *b, struct head *h, uint64_t low, uint64_t *ret)
{
	_cleanup_(buf_done) struct buf from = { 0 }, upto = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	key_of(&from, b, h->actor, low);
	key_of(&upto, b, h->actor, h->last.seq);
	buf_put(&upto, h->last.id.b, ID_SIZE);
	if (buf_failed(&from) || buf_failed(&upto))
		return -ENOMEM;
	int rc = store_iter_new(b->r->store, view_snapshot(b->view), STORE_DOTS, from.data, from.len,
				upto.data, upto.len, &it);
	*ret = 0;
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		struct cursor c = cursor_make(key, len);
		cursor_take(&c, ID_SIZE + 4);
		struct spot *s = &h->ring[(*ret)++ % RING];
		s->seq = cursor_u64(&c);
		const uint8_t *id = cursor_take(&c, ID_SIZE);
		if (!cursor_end(&c))
			return -EBADMSG;
		memcpy(s->id.b, id, ID_SIZE);
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

static void turn_ring(struct head *h, uint64_t count)
{
	struct spot copy[RING];
	h->n = count < RING ? (uint32_t)count : RING;
	memcpy(copy, h->ring, sizeof(copy));
	for (uint32_t i = 0; i < h->n; i++)
		h->ring[i] = copy[(count - h->n + i) % RING];
}

static int refill(struct backlog *b, struct head *h)
{
	uint64_t high = h->last.seq, count;
	for (;;) {
		/* Numbers from low on, and what is left at the one where it is. */
		uint64_t low = high - h->bottom > h->width ? high - h->width : h->bottom + 1;
		int rc = look_through(b, h, low, &count);
		if (rc < 0)
			return rc;
		if (count > 0)
			break;
		if (low == h->bottom + 1) {
			h->last = (struct spot){ .seq = h->bottom + 1 };
			h->ended = true;
			return 0;
		}
		high = low;
		h->width *= 2;
	}
	if (count > 4 * RING && h->width > 1)
		h->width /= 2;
	turn_ring(h, count);
	return 0;
}

/* When the node was changed last, as far as it tells; what is there no more comes first. */
static int time_of(struct backlog *b, struct head *h)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct stored s;
	int rc = stored_get(b->r, view_snapshot(b->view), &a, &h->ring[h->n - 1].id, &s, NULL);
	h->time = rc == -ENOENT ? UINT64_MAX : 1;
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	const struct entry *newest = s.record->top ? slot_newest(s.record->top, b->r->actors) : NULL;
	if (newest && newest->hlc > h->time)
		h->time = newest->hlc;
	for (uint32_t i = 0; i < s.record->n_visits; i++) {
		uint64_t hlc = s.record->visit[i].us << HLC_COUNTER_BITS;
		if (hlc > h->time)
			h->time = hlc;
	}
	return 0;
}

/* The head with the newest entry; NULL: the slab is done. */
static int best_of(struct backlog *b, struct slab *s, struct head **ret)
{
	struct head *best = NULL;
	uint32_t live = 0;
	int made = s->walked ? 0 : heads_make(b, s);
	if (made < 0)
		return made;
	for (uint32_t i = 0; i < s->n_heads; i++) {
		struct head *h = &s->head[i];
		if (h->ended)
			continue;
		int rc = h->n == 0 ? refill(b, h) : 0;
		if (rc < 0)
			return rc;
		live += !h->ended;
	}
	for (uint32_t i = 0; i < s->n_heads; i++) {
		struct head *h = &s->head[i];
		if (h->ended)
			continue;
		int rc = live > 1 && h->time == 0 ? time_of(b, h) : 0;
		if (rc < 0)
			return rc;
		if (!best || h->time > best->time)
			best = h;
	}
	*ret = best;
	return 0;
}

/* ---- the walk ---- */

/* What was popped last is sent. */
static void settle(struct backlog *b)
{
	if (b->visiting)
		b->visiting->last = b->visit;
	b->visiting = NULL;
}

static void tell(struct backlog *b, struct head *h)
{
	uint64_t seq = h->ended ? h->bottom : h->last.seq;
	if (seq >= h->told)
		return;
	struct dot d = { h->actor, seq };
	h->told = seq;
	buf_put(&b->marks, &d, sizeof(d));
}

/* The top slab is done. */
static void merge(struct backlog *b)
{
	struct slab *s = top(b), *below = s - 1;
	for (uint32_t i = 0; i < s->n_heads; i++)
		tell(b, &s->head[i]);
	view_unref(below->view);
	below->view = TAKE_PTR(s->view);
	vv_done(&below->high);
	below->high = s->high;
	s->high = (struct vv){ 0 };
	table_each(&s->done, i, l, next) {
		struct done *d = table_entry(l, struct done, link);
		if (backlog_has(&below->done, &d->id) || table_add(&below->done, &d->link, id_hash(&d->id)) < 0)
			free(d);
	}
	table_done(&s->done);
	slab_free(s);
	b->n_slabs--;
}

/* The next one of the lowest slab that is not done, the top one not being looked at; NULL: there is none. What is walked
 * so is walked in the newest view, and in the slab's own one an entry may be where it is not any more: what was met
 * is not known of it until it is one with the slabs above. */
static int lowest(struct backlog *b, struct head **ret)
{
	int rc = 0;
	*ret = NULL;
	for (uint32_t i = 0; rc == 0 && !*ret && i + 1 < b->n_slabs; i++) {
		rc = best_of(b, &b->slab[i], ret);
		if (rc == 0 && *ret && b->slab[i].view) {
			view_unref(b->slab[i].view);
			b->slab[i].view = NULL;
		}
	}
	return rc;
}

int recent_next(struct backlog *b, uint32_t *ret_actor, uint64_t *ret_seq, struct id *ret)
{
	struct head *h = NULL;
	settle(b);
	int rc = b->back ? lowest(b, &h) : 0;
	b->ahead = !h && top(b)->raised;
	while (rc == 0 && !h) {
		rc = best_of(b, top(b), &h);
		if (rc < 0 || h)
			break;
		if (b->n_slabs == 1)
			return 0;
		merge(b);
		b->ahead = top(b)->raised;
	}
	if (rc < 0)
		return rc;
	b->visiting = h;
	b->visit = h->ring[--h->n];
	h->time = 0;
	uint64_t gone = h->last.seq - b->visit.seq;
	b->left -= gone < b->left ? gone : b->left;
	*ret_actor = h->actor;
	*ret_seq = b->visit.seq;
	*ret = b->visit.id;
	return 1;
}

/* Where the walk from the oldest on is, into skip. */
static int leave_place(struct backlog *b)
{
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < b->at; i++)
		rc = vv_raise(&b->skip, b->actor[i], vv_get(b->have, b->actor[i]));
	if (rc == 0 && b->it && b->last > 1)
		rc = vv_raise(&b->skip, b->actor[b->at], b->last - 1);
	store_iter_free(TAKE_PTR(b->it));
	return rc;
}

bool backlog_turned(const struct backlog *b)
{
	return b->turned;
}

bool backlog_raised(const struct backlog *b)
{
	return b->turned && b->n_slabs > 0 && b->slab[b->n_slabs - 1].raised;
}

bool backlog_ahead(const struct backlog *b)
{
	return b->ahead;
}

void backlog_back(struct backlog *b, bool back)
{
	b->back = back;
}

int backlog_turn(struct backlog *b, const struct spans *spans)
{
	int rc = leave_place(b);
	for (uint32_t i = 0; rc == 0 && spans && i < spans->n; i++)
		rc = slab_add(b, &spans->low[i], &spans->high[i], NULL);
	if (rc == 0 && (b->n_slabs == 0 || !vv_covers(&top(b)->high, b->have)))
		rc = slab_add(b, b->have, b->have, NULL);
	if (rc < 0)
		return rc;
	top(b)->view = view_ref(b->view);
	/* Directories that went ahead. */
	b->slab[0].done = b->done;
	b->done = (struct table){ 0 };
	b->turned = true;
	return 0;
}

int backlog_raise(struct backlog *b, struct view *view, const struct vv *upto, const struct vv *heard)
{
	_cleanup_(vv_done) struct vv limit = { 0 };
	if (!b->turned || b->n_slabs == SPANS_MAX || b->queue.len > 0 || backlog_inside(b) ||
	    vv_covers(&top(b)->high, upto))
		return 0;
	settle(b);
	/* What the peer changed itself is not sent back. */
	int rc = vv_join(&b->known, heard);
	if (rc == 0)
		rc = vv_copy(upto, &limit);
	if (rc == 0)
		rc = slab_add(b, upto, upto, view);
	if (rc < 0)
		return rc;
	top(b)->raised = true;
	view_unref(b->view);
	b->view = view_ref(view);
	vv_done(&b->limit);
	b->limit = limit;
	limit = (struct vv){ 0 };
	b->have = &b->limit;
	for (uint32_t i = 0; i < upto->n; i++) {
		uint64_t was = vv_get(&b->slab[b->n_slabs - 2].high, upto->item[i].actor);
		b->left += upto->item[i].seq > was ? upto->item[i].seq - was : 0;
	}
	return 1;
}

bool backlog_between(const struct backlog *b)
{
	return b->queue.len == 0 && !backlog_inside(b);
}

static const struct vv *known_everywhere(const struct id *scope, void *userdata)
{
	(void)scope;
	return userdata;
}

int view_alone(struct view *v, const struct id *id, const struct vv *known, struct arena *a, struct err *e)
{
	struct vv copy = *known;
	struct stored s;
	struct bundle bundle;
	struct batch_node *wanted;
	uint32_t n = 0;
	int rc = stored_get(view_replica(v), view_snapshot(v), a, id, &s, e);
	if (rc == -ENOENT)
		return 1;
	if (rc == 0) {
		const struct batch_node node = { *id, s.record->scope };
		rc = bundle_make(view_replica(v), view_snapshot(v), a, &node, known_everywhere, &copy, &bundle,
				 &wanted, &n);
	}
	return rc < 0 ? err_errno(e, rc, "cannot read what to send") : n == 0;
}

const struct vv *backlog_known(const struct backlog *b)
{
	return &b->known;
}

bool backlog_mark(struct backlog *b, bool now, struct dot *ret)
{
	if (!b->turned || b->queue.len > 0 || backlog_inside(b))
		return false;
	struct slab *s = top(b);
	if (now && b->marks.len == 0) {
		settle(b);
		for (uint32_t i = 0; i < s->n_heads; i++)
			tell(b, &s->head[i]);
	}
	if (b->marks.len < sizeof(*ret))
		return false;
	memcpy(ret, b->marks.data, sizeof(*ret));
	buf_consume(&b->marks, sizeof(*ret));
	return true;
}
