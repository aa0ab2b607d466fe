/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statements in the order in which they came to be known, each with a serial number of this store's memory. A side
 * remembers up to which serial its peer was told, so telling costs nothing that grows with the number of links.
 *
 * Of a statement that a device makes over its own link that link's word counts; what others say of it does not as
 * long as the link is there. Of others the later number counts. Who is told less than it knows tells that
 * back, so the author hears of it, and goes on from there: numbers need not be kept across restarts, and no liar can
 * use them up, because they go round. */
#include "engine/presence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BACK_MAX 16 /* statements to be told back, of one side */
#define TAKEN_MAX 64 /* frames in a row that are looked at; a peer that keeps the rules sends fewer */

struct entry {
	struct statement *s;
	struct id teller;
	uint64_t serial;
	uint64_t lost_us; /* when it ceased to count; 0: it counts */
};

struct presence_side {
	struct presence *p;
	struct presence_side *next;
	struct id peer;
	uint64_t upto;      /* serial */
	unsigned frames;    /* that may be sent now */
	uint64_t refill_us; /* the next one */
	uint64_t begin_us;  /* nothing before */
	struct id back[BACK_MAX];
	unsigned n_back;
	unsigned taken;     /* frames, of late */
	uint64_t forget_us; /* the next one of them */
	bool echo;          /* the peer is to hear which number others have of it */
	uint32_t echo_number;
};

struct presence {
	struct id self;
	char name[STATEMENT_NAME_MAX + 1];
	struct statement_link *own;
	uint32_t n_own;
	struct entry *entry; /* by serial; self's is one of them */
	const struct statement *said; /* self's; NULL: none yet */
	uint32_t n, n_links;
	uint64_t serial;
	uint64_t settle_us;  /* nothing is told before */
	bool stale;          /* who counts has to be found out anew */
	struct presence_side *side;
};

int presence_new(const struct id *self, const char *name, struct presence **ret)
{
	_cleanup_(presence_freep) struct presence *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->entry = calloc(PRESENCE_DEVICES_MAX + 1, sizeof(*p->entry));
	if (!p->entry)
		return -ENOMEM;
	p->self = *self;
	memcpy(p->name, name, strnlen(name, STATEMENT_NAME_MAX));
	*ret = TAKE_PTR(p);
	return 0;
}

void presence_free(struct presence *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->n; i++)
		free(p->entry[i].s);
	free(p->entry);
	free(p->own);
	free(p);
}

uint64_t presence_changes(const struct presence *p)
{
	return p->serial;
}

/* ---- the table ---- */

static uint32_t entry_at(const struct presence *p, const struct id *author)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (id_equal(&p->entry[i].s->author, author))
			return i;
	return GRAPH_NONE;
}

static void drop(struct presence *p, uint32_t i)
{
	p->n_links -= p->entry[i].s->n;
	if (p->said == p->entry[i].s)
		p->said = NULL;
	free(p->entry[i].s);
	p->n--;
	memmove(&p->entry[i], &p->entry[i + 1], (p->n - i) * sizeof(p->entry[0]));
	p->stale = true;
}

/* Takes the statement as the newest thing that is known; there is room. */
static void put(struct presence *p, struct statement *s, const struct id *teller, uint64_t now_us)
{
	const uint32_t i = entry_at(p, &s->author);
	if (i != GRAPH_NONE)
		drop(p, i);
	p->entry[p->n++] = (struct entry){ .s = s, .teller = *teller, .serial = ++p->serial };
	p->n_links += s->n;
	if (id_equal(&s->author, &p->self))
		p->said = s;
	p->stale = true;
	if (p->settle_us <= now_us)
		p->settle_us = now_us + PRESENCE_SETTLE_US;
}

/* The same statement is to be told anew. */
static void renew(struct presence *p, uint32_t i, uint64_t now_us)
{
	struct entry e = p->entry[i];
	memmove(&p->entry[i], &p->entry[i + 1], (p->n - i - 1) * sizeof(p->entry[0]));
	e.serial = ++p->serial;
	p->entry[p->n - 1] = e;
	if (p->settle_us <= now_us)
		p->settle_us = now_us + PRESENCE_SETTLE_US;
}

static bool is_first_hand(const struct entry *e)
{
	return id_equal(&e->teller, &e->s->author);
}

static bool has_room(const struct presence *p, const struct statement *s, const struct id *teller)
{
	const uint32_t i = entry_at(p, &s->author);
	const uint32_t less = i == GRAPH_NONE ? 0 : p->entry[i].s->n;
	uint32_t told = 0;
	/* The place of self's own statement is kept free. */
	const bool own = id_equal(&s->author, &p->self);
	const uint32_t max = PRESENCE_DEVICES_MAX + (own || entry_at(p, &p->self) != GRAPH_NONE);
	if (own || id_equal(teller, &s->author))
		return (i != GRAPH_NONE || p->n < max) && p->n_links - less + s->n <= PRESENCE_LINKS_MAX;
	for (uint32_t k = 0; k < p->n; k++)
		told += k != i && id_equal(&p->entry[k].teller, teller) && !is_first_hand(&p->entry[k]);
	return (i != GRAPH_NONE || p->n < max) && told < PRESENCE_TELLER_MAX &&
	       p->n_links - less + s->n <= PRESENCE_LINKS_MAX;
}

/* What is nearer than that goes before: the last hearsay that came makes room. */
static bool make_room(struct presence *p, const struct statement *s, const struct id *teller)
{
	const bool near = id_equal(teller, &s->author) || id_equal(&s->author, &p->self);
	while (!has_room(p, s, teller)) {
		uint32_t victim = GRAPH_NONE;
		for (uint32_t i = 0; i < p->n; i++) {
			const struct entry *e = &p->entry[i];
			if (is_first_hand(e) || id_equal(&e->s->author, &p->self) ||
			    id_equal(&e->s->author, &s->author))
				continue;
			if (e->lost_us || (near && (victim == GRAPH_NONE || !p->entry[victim].lost_us)))
				victim = i;
		}
		if (victim == GRAPH_NONE)
			return false;
		drop(p, victim);
	}
	return true;
}

/* ---- who counts ---- */

static int told_cmp(const void *a, const void *b)
{
	const struct graph_told *x = a, *y = b;
	return id_cmp(&x->statement->author, &y->statement->author);
}

static int make_graph(struct presence *p, struct graph_told *told, uint32_t *ret_n, struct graph **ret)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < p->n; i++)
		if (!id_equal(&p->entry[i].s->author, &p->self))
			told[n++] = (struct graph_told){ p->entry[i].s, p->entry[i].teller, false };
	qsort(told, n, sizeof(*told), told_cmp);
	*ret_n = n;
	return graph_new(&p->self, p->name, p->own, p->n_own, told, n, ret);
}

static bool counts(const struct presence *p, const struct graph_told *told, uint32_t n, const struct entry *e)
{
	const struct graph_told key = { .statement = e->s };
	if (id_equal(&e->s->author, &p->self))
		return true;
	const struct graph_told *t = bsearch(&key, told, n, sizeof(key), told_cmp);
	return t && t->counts;
}

/* *ret, if asked for, is the graph that this is found by. */
static int settle(struct presence *p, uint64_t now_us, struct graph **ret)
{
	_cleanup_free_ struct graph_told *told = calloc(PRESENCE_DEVICES_MAX + 1, sizeof(*told));
	_cleanup_(graph_freep) struct graph *g = NULL;
	uint32_t n = 0;
	if (!told)
		return -ENOMEM;
	int r = make_graph(p, told, &n, &g);
	if (r < 0)
		return r;
	for (uint32_t i = 0, left = p->n; left > 0; left--) {
		struct entry *e = &p->entry[i];
		if (!counts(p, told, n, e)) {
			e->lost_us = e->lost_us ? e->lost_us : now_us;
			i++;
		} else if (e->lost_us) {
			e->lost_us = 0;
			renew(p, i, now_us); /* which puts another one here */
		} else {
			i++;
		}
	}
	/* Not before the graph is made, which borrows from them only if they count. */
	for (uint32_t i = p->n; i-- > 0;)
		if (p->entry[i].lost_us && now_us - p->entry[i].lost_us >= PRESENCE_LOST_US)
			drop(p, i);
	p->stale = false;
	if (ret)
		*ret = TAKE_PTR(g);
	return 0;
}

int presence_graph(struct presence *p, uint64_t now_us, struct graph **ret)
{
	return settle(p, now_us, ret);
}

/* ---- this device's own links ---- */

/* Is that near enough to what was stated? A round trip is told when it becomes known, and of the links that are
 * not told only about how many there are: at a hub they come and go all the time. */
static bool is_stated(const struct statement *s, const struct statement_link *link, uint32_t n, uint32_t more)
{
	const uint32_t change = more > s->more ? more - s->more : s->more - more;
	if (n != s->n || (more == 0) != (s->more == 0) || change > s->more / 4)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct statement_link *a = &s->link[i], *b = &link[i];
		if (!id_equal(&a->peer, &b->peer) || strcmp(a->name, b->name) != 0 ||
		    strcmp(a->transport, b->transport) != 0 || (a->rtt_us == 0 && b->rtt_us != 0))
			return false;
	}
	return true;
}

static int age_cmp(const void *a, const void *b)
{
	const struct statement_link *x = a, *y = b;
	if (x->since_s != y->since_s)
		return x->since_s < y->since_s ? -1 : 1;
	return id_cmp(&x->peer, &y->peer);
}

static int peer_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct statement_link *)a)->peer, &((const struct statement_link *)b)->peer);
}

/* Of many links the oldest ones, which change least: n of them, sorted by peer; to be freed. */
static struct statement_link *told_links(const struct presence *p, uint32_t n)
{
	struct statement_link *l = calloc((size_t)p->n_own + 1, sizeof(*l));
	if (!l)
		return NULL;
	if (p->n_own > 0)
		memcpy(l, p->own, p->n_own * sizeof(*l));
	if (n < p->n_own) {
		qsort(l, p->n_own, sizeof(*l), age_cmp);
		qsort(l, n, sizeof(*l), peer_cmp);
	}
	return l;
}

/* States own links, under that number at least; with `news` only if they are not stated already. 1: it did. */
static int state(struct presence *p, uint32_t number, bool news, uint64_t now_us)
{
	const uint32_t i = entry_at(p, &p->self);
	const struct statement *last = i == GRAPH_NONE ? NULL : p->entry[i].s;
	const uint32_t n = p->n_own < STATEMENT_LINKS_MAX ? p->n_own : STATEMENT_LINKS_MAX;
	const uint32_t more = p->n_own - n < STATEMENT_MORE_MAX ? p->n_own - n : STATEMENT_MORE_MAX;
	_cleanup_free_ struct statement_link *l = told_links(p, n);
	if (!l)
		return -ENOMEM;
	if (news && (last ? is_stated(last, l, n, more) : n == 0))
		return 0;
	if (last && !statement_later(number, last->number))
		number = last->number + 1;
	_cleanup_free_ struct statement *s = statement_new(&p->self, number, p->name, more, l, n);
	if (!s)
		return -ENOMEM;
	if (!make_room(p, s, &p->self))
		return 0;
	put(p, TAKE_PTR(s), &p->self, now_us);
	return 1;
}

static bool same_peers(const struct presence *p, const struct statement_link *link, uint32_t n)
{
	if (n != p->n_own)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!id_equal(&p->own[i].peer, &link[i].peer))
			return false;
	return true;
}

int presence_own(struct presence *p, const struct statement_link *link, uint32_t n, uint64_t now_us,
		 uint64_t wall_us)
{
	struct statement_link *own = calloc((size_t)n + 1, sizeof(*own));
	if (!own)
		return -ENOMEM;
	if (n > 0)
		memcpy(own, link, n * sizeof(*own));
	p->stale |= !same_peers(p, link, n);
	free(p->own);
	p->own = own;
	p->n_own = n;
	return state(p, (uint32_t)(wall_us / 1000), true, now_us);
}

/* ---- sides ---- */

int presence_join(struct presence *p, const struct id *peer, uint64_t now_us, struct presence_side **ret)
{
	struct presence_side *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct presence_side){ .p = p, .next = p->side, .peer = *peer, .frames = PRESENCE_BURST,
				     .begin_us = now_us + PRESENCE_DELAY_US };
	p->side = s;
	*ret = s;
	return 0;
}

void presence_leave(struct presence_side *s)
{
	if (!s)
		return;
	struct presence *p = s->p;
	const uint32_t i = entry_at(p, &s->peer);
	for (struct presence_side **at = &p->side; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	/* It was said first-hand once; others may know more by now. */
	if (i != GRAPH_NONE && is_first_hand(&p->entry[i]))
		p->entry[i].teller = (struct id){ { 0 } };
	p->stale = true;
	free(s);
}

static void tell_back(struct presence_side *s, const struct id *author)
{
	for (unsigned i = 0; i < s->n_back; i++)
		if (id_equal(&s->back[i], author))
			return;
	if (s->n_back < BACK_MAX)
		s->back[s->n_back++] = *author;
}

static void echo_to(struct presence_side *s, uint32_t number)
{
	if (!s->echo || statement_later(number, s->echo_number))
		s->echo_number = number;
	s->echo = true;
}

static void echo_to_author(struct presence *p, const struct statement *st)
{
	for (struct presence_side *s = p->side; s; s = s->next)
		if (id_equal(&s->peer, &st->author))
			echo_to(s, st->number);
}

/* Somebody knows a later statement of this device than this device: it made that before it began anew. */
static int hear_of_self(struct presence *p, const struct statement *st, uint64_t now_us)
{
	const uint32_t i = entry_at(p, &p->self);
	if (i == GRAPH_NONE || !statement_later(st->number, p->entry[i].s->number))
		return 0;
	int r = state(p, st->number + 1, false, now_us);
	return r < 0 ? r : 0;
}

/* Is this one to take the place of what is known? */
static bool is_news(struct presence_side *s, const struct statement *st)
{
	struct presence *p = s->p;
	const bool own = id_equal(&s->peer, &st->author);
	const uint32_t i = entry_at(p, &st->author);
	if (i == GRAPH_NONE)
		return true;
	const struct entry *e = &p->entry[i];
	const bool later = statement_later(st->number, e->s->number);
	if (own) {
		if (statement_later(e->s->number, st->number))
			echo_to(s, e->s->number);
		return st->number != e->s->number || !is_first_hand(e);
	}
	if (is_first_hand(e)) {
		if (later)
			echo_to_author(p, st);
		return false;
	}
	/* Of an author that is out of reach any news is good, whatever its number. */
	if (e->lost_us)
		return st->number != e->s->number;
	if (!later && st->number != e->s->number)
		tell_back(s, &st->author);
	return later;
}

static int hear(struct presence_side *s, struct statement *st, uint64_t now_us)
{
	_cleanup_free_ struct statement *owned = st;
	struct presence *p = s->p;
	if (id_equal(&st->author, &p->self))
		return hear_of_self(p, st, now_us);
	if (is_news(s, st) && make_room(p, st, &s->peer))
		put(p, TAKE_PTR(owned), &s->peer, now_us);
	return 0;
}

static int take(struct cursor *c, struct presence_side *s, uint64_t now_us, struct err *e)
{
	if (cursor_left(c) == 0)
		c->bad = true;
	while (cursor_left(c) > 0) {
		struct statement *st = NULL;
		int r = statement_decode(c, &st);
		if (r == 0 && s)
			r = hear(s, st, now_us);
		else
			free(st);
		if (r == -EPROTO)
			break;
		if (r < 0)
			return err_set(e, r, "out of memory");
	}
	return cursor_end(c) ? 0 : err_set(e, -EPROTO, "the peer sent a malformed PRESENCE frame");
}

int presence_get(struct presence_side *s, struct cursor *c, uint64_t now_us, struct err *e)
{
	while (s->taken > 0 && now_us >= s->forget_us) {
		s->taken--;
		s->forget_us += PRESENCE_REFILL_US / 2;
	}
	if (s->taken == TAKEN_MAX)
		return take(c, NULL, now_us, e);
	if (s->taken++ == 0)
		s->forget_us = now_us + PRESENCE_REFILL_US / 2;
	return take(c, s, now_us, e);
}

int presence_check(struct cursor *c, struct err *e)
{
	return take(c, NULL, 0, e);
}

/* ---- telling ---- */

static bool is_for(const struct presence_side *s, const struct entry *e)
{
	if (e->lost_us || id_equal(&e->teller, &s->peer) || id_equal(&e->s->author, &s->peer))
		return false;
	/* To others it would not count, if this device has no room to say that it has that link. */
	const struct statement *said = s->p->said;
	return !said || said->more == 0 || e->s == said || !is_first_hand(e) ||
	       statement_find(said, &e->s->author);
}

/* The first entry that the peer may not have been told of. */
static uint32_t first_after(const struct presence *p, uint64_t serial)
{
	uint32_t low = 0, high = p->n;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (p->entry[middle].serial <= serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_more(const struct presence_side *s)
{
	if (s->echo || s->n_back > 0)
		return true;
	for (uint32_t i = first_after(s->p, s->upto); i < s->p->n; i++)
		if (is_for(s, &s->p->entry[i]))
			return true;
	return false;
}

static uint64_t allowed_us(const struct presence_side *s)
{
	uint64_t at = s->begin_us > s->p->settle_us ? s->begin_us : s->p->settle_us;
	return s->frames == 0 && s->refill_us > at ? s->refill_us : at;
}

uint64_t presence_deadline(const struct presence_side *s)
{
	return s->p->stale || has_more(s) ? allowed_us(s) : UINT64_MAX;
}

static bool fits(const struct buf *b, size_t before, const struct statement *st)
{
	_cleanup_(buf_done) struct buf one = { 0 };
	statement_encode(st, &one);
	return b->len - before + one.len <= PRESENCE_FRAME_MAX;
}

static int put_echo(struct presence_side *s, struct buf *b)
{
	const uint32_t i = entry_at(s->p, &s->peer);
	if (i == GRAPH_NONE)
		return 0;
	_cleanup_free_ struct statement *st =
		statement_new(&s->peer, s->echo_number, s->p->entry[i].s->name, 0, NULL, 0);
	if (!st)
		return -ENOMEM;
	statement_encode(st, b);
	return 0;
}

static int put_payload(struct presence_side *s, struct buf *b)
{
	struct presence *p = s->p;
	const size_t before = b->len;
	int r = s->echo ? put_echo(s, b) : 0;
	s->echo = false;
	while (r == 0 && s->n_back > 0) {
		const uint32_t i = entry_at(p, &s->back[s->n_back - 1]);
		/* Also if it does not count any more: its number is what the author has to hear of. */
		if (i != GRAPH_NONE && !id_equal(&p->entry[i].teller, &s->peer)) {
			if (!fits(b, before, p->entry[i].s))
				return 0;
			statement_encode(p->entry[i].s, b);
		}
		s->n_back--;
	}
	for (uint32_t i = first_after(p, s->upto); r == 0 && i < p->n; i++) {
		if (is_for(s, &p->entry[i])) {
			if (!fits(b, before, p->entry[i].s))
				return 0;
			statement_encode(p->entry[i].s, b);
		}
		s->upto = p->entry[i].serial;
	}
	return r;
}

int presence_put(struct presence_side *s, uint64_t now_us, struct buf *b)
{
	struct presence *p = s->p;
	const size_t before = b->len;
	while (s->frames < PRESENCE_BURST && now_us >= s->refill_us) {
		s->frames++;
		s->refill_us += PRESENCE_REFILL_US;
	}
	if (now_us < allowed_us(s))
		return 0;
	int r = p->stale ? settle(p, now_us, NULL) : 0;
	/* What counts again is news, and waits like all news. */
	if (r == 0 && now_us >= allowed_us(s))
		r = put_payload(s, b);
	if (b->len == before)
		return r;
	if (s->frames == PRESENCE_BURST)
		s->refill_us = now_us + PRESENCE_REFILL_US;
	s->frames--;
	return r < 0 ? r : buf_failed(b) ? -ENOMEM : 0;
}
