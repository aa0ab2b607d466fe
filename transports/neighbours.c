/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The algorithm and its reasons stand in shoal-protocol(7), Neighbours. All that is known is one array,
 * ascending by id; the two orders that choices go by are made anew when somebody came or went. */
#include "transports/neighbours.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"

#define SECRET_MAX 64
#define SECOND (1000ull * 1000)
#define SETTLED (3 * SECOND)          /* younger links are not let go */
#define REFUSAL (300 * SECOND)        /* and up to a fifth more, by weight, so that not all come at once */
#define TROUBLE (300 * SECOND)        /* who could not be reached */
#define TROUBLE_MAX (3600 * SECOND)   /* doubled up to that, of one that others reach */
#define CLAIM (60 * SECOND)           /* doubled each time that the same peer claims again */
#define CLAIM_MAX (3600 * SECOND)
#define PATIENCE (12 * SECOND)        /* presence frames may come at one in 10 s */
#define RANK (SECOND / 2)             /* each device that is nearer to somebody unreached goes first by that */
#define RANK_MAX 240u
#define RANKS_A_TIME 16u              /* that are computed at most */
#define GROWTH (120 * SECOND)         /* statements that arrive for longer do not keep the net from acting */
#define ANOTHER_WAY (60 * SECOND)     /* and up to twice that, by weight; doubled each time that it was needed again */
#define ANOTHER_WAY_MAX (3600 * SECOND)
#define ANOTHER_CHOSEN (15 * SECOND)  /* the same of links that were chosen */
#define YOUNG (6 * SECOND)            /* one that was chosen and is not older need not wait for that */
#define STATED (60 * SECOND)          /* a peer that has said nothing of its links by then does not */
#define HURRY (30 * SECOND)           /* a refusal by somebody that is not reached, or of one that has nobody */
#define POKE (30 * SECOND)            /* who has too few asks again those who refused; doubled each time */
#define POKE_MAX (600 * SECOND)
#define NET_GAP SECOND
#define NET_NEED (15 * SECOND)
#define NEED (10 * SECOND)            /* between two needs of somebody here for one device; doubled each time */
#define NEED_MAX (600 * SECOND)
#define LOOK (10 * SECOND)
#define SETTLING (60 * SECOND)        /* links that are older may be one too many for longer */

enum trouble {
	TROUBLE_NONE,
	TROUBLE_LOST,   /* its link broke; until something is heard of it */
	TROUBLE_FAILED, /* it could not be reached */
};

struct neighbour {
	struct id id;
	uint64_t weight, place;
	uint64_t seen;       /* when discovery heard it last; 0: never */
	uint64_t since;      /* linked: since when */
	uint64_t refused;    /* not to be asked before */
	uint64_t claim;      /* linked: the peer needs it until then */
	uint64_t claim_span; /* of the last claim */
	uint64_t known;      /* until then that is remembered of a device that is neither heard nor linked */
	uint64_t needed;     /* this device needs it until then */
	uint64_t unreached;  /* since when nobody reaches it; 0: somebody does, or it is not known */
	uint64_t another;    /* linked: since when there is another way; 0: there is none */
	uint64_t net_span;   /* for how long there has to be, of a link of the net */
	uint64_t need_after, need_span; /* not to be needed by somebody here before */
	uint64_t trouble_until, trouble_span;
	uint32_t part;
	enum trouble trouble;
	enum neighbour_want want;
	bool linked, kept, hinted, claimed;
	bool roomy;  /* taken though it claims nothing that it would not get */
	bool reached;
	bool ring;   /* chosen last for its place, or by a device that has nobody */
	bool insist; /* it refused that: next time with a claim */
	bool firm;   /* it refused a claim */
	bool net;    /* linked, or to be, because nobody reached it */
};

struct order {
	uint64_t key;
	uint32_t index;
};

struct neighbours {
	struct id self;
	uint64_t place;
	uint8_t secret[SECRET_MAX];
	size_t secret_len;
	unsigned limit;
	struct neighbour *at; /* ascending by id */
	uint32_t n, cap;
	struct order *by_weight, *by_place; /* of all, when sorted; the heaviest first */
	bool sorted;
	bool knows_ways;
	bool partial; /* there are more ways than can be known */
	bool dense;
	bool alone;     /* no link at all, as chosen last */
	uint64_t grown; /* when somebody was reached who was not before */
	uint32_t ways, net_from;
	const struct id *asking; /* counts as seen for the time of a call */
	unsigned refusals; /* in a row */
	uint64_t net_at, poke_at, poke_span;
};

/* ---- numbers ---- */

static uint64_t first_u64(const struct sha256 *h)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | h->b[i];
	return v;
}

/* The same for both ends. */
static uint64_t weight_of(const struct neighbours *n, const struct id *a, const struct id *b)
{
	static const char label[] = "shoal neighbours";
	uint8_t data[sizeof(label) - 1 + 2 * ID_SIZE + SECRET_MAX];
	size_t len = sizeof(label) - 1;
	struct sha256 h;
	const bool less = id_cmp(a, b) < 0;
	memcpy(data, label, len);
	memcpy(data + len, less ? a->b : b->b, ID_SIZE);
	memcpy(data + len + ID_SIZE, less ? b->b : a->b, ID_SIZE);
	len += 2 * ID_SIZE;
	memcpy(data + len, n->secret, n->secret_len);
	sha256_of(data, len + n->secret_len, &h);
	return first_u64(&h);
}

static uint64_t place_of(const struct id *id)
{
	struct sha256 h;
	sha256_of(id->b, ID_SIZE, &h);
	return first_u64(&h);
}

/* ---- who is known ---- */

/* Where it is, or belongs. */
static uint32_t lower(const struct neighbours *n, const struct id *id)
{
	uint32_t from = 0, to = n->n;
	while (from < to) {
		const uint32_t k = from + (to - from) / 2;
		if (id_cmp(&n->at[k].id, id) < 0)
			from = k + 1;
		else
			to = k;
	}
	return from;
}

static struct neighbour *find(const struct neighbours *n, const struct id *id)
{
	const uint32_t i = lower(n, id);
	return i < n->n && id_equal(&n->at[i].id, id) ? &n->at[i] : NULL;
}

static bool grow(struct neighbours *n)
{
	const uint32_t cap = n->cap ? 2 * n->cap : 16;
	struct neighbour *at = reallocarray(n->at, cap, sizeof(*at));
	if (at)
		n->at = at;
	struct order *w = reallocarray(n->by_weight, cap, sizeof(*w));
	if (w)
		n->by_weight = w;
	struct order *p = reallocarray(n->by_place, cap, sizeof(*p));
	if (p)
		n->by_place = p;
	if (at && w && p)
		n->cap = cap;
	return at && w && p;
}

/* The neighbourhood has changed: others may have room. */
static void changed(struct neighbours *n)
{
	n->refusals = 0;
	n->poke_span = POKE;
}

/* So many have refused that the rest will, too: where all others have enough, one has too few. */
static bool is_hopeless(const struct neighbours *n)
{
	return !n->alone && n->refusals >= 2 * n->limit;
}

static struct neighbour *add(struct neighbours *n, const struct id *id)
{
	struct neighbour *e = find(n, id);
	if (e)
		return e;
	if (n->n >= NEIGHBOURS_SEEN_MAX || id_equal(id, &n->self) || (n->n == n->cap && !grow(n)))
		return NULL;
	const uint32_t i = lower(n, id);
	e = &n->at[i];
	memmove(e + 1, e, (n->n - i) * sizeof(*e));
	*e = (struct neighbour){ .id = *id, .weight = weight_of(n, &n->self, id), .place = place_of(id) };
	n->n++;
	n->sorted = false;
	changed(n);
	return e;
}

static bool is_fresh(const struct neighbour *e, uint64_t now)
{
	return e->seen && now < e->seen + NEIGHBOURS_FORGET_US;
}

/* Its link stays whatever is chosen, and does not count. */
static bool is_kept(const struct neighbour *e, uint64_t now)
{
	return e->linked && (e->kept || (e->hinted && !is_fresh(e, now)));
}

static bool is_asking(const struct neighbours *n, const struct neighbour *e)
{
	return n->asking && id_equal(n->asking, &e->id);
}

static bool is_there(const struct neighbours *n, const struct neighbour *e, uint64_t now)
{
	return e->linked || is_fresh(e, now) || is_asking(n, e);
}

static bool is_refused(const struct neighbour *e, uint64_t now)
{
	return !e->linked && now < e->refused;
}

static bool has_trouble(const struct neighbour *e)
{
	return !e->linked && e->trouble != TROUBLE_NONE;
}

static void forget_stale(struct neighbours *n, uint64_t now)
{
	uint32_t k = 0;
	for (uint32_t i = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[i];
		if (!is_there(n, e, now) && now >= e->known)
			continue;
		if (e->trouble && now >= e->trouble_until)
			e->trouble = TROUBLE_NONE;
		if (k != i)
			n->at[k] = *e;
		k++;
	}
	if (k == n->n)
		return;
	n->n = k;
	n->sorted = false;
	changed(n);
}

static int heavier(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	return x->key != y->key ? (x->key < y->key) - (x->key > y->key) : (x->index > y->index) - (x->index < y->index);
}

static void sort(struct neighbours *n)
{
	if (n->sorted)
		return;
	for (uint32_t i = 0; i < n->n; i++) {
		n->by_weight[i] = (struct order){ n->at[i].weight, i };
		n->by_place[i] = (struct order){ n->at[i].place, i };
	}
	if (n->n > 0) {
		qsort(n->by_weight, n->n, sizeof(struct order), heavier);
		qsort(n->by_place, n->n, sizeof(struct order), heavier);
	}
	n->sorted = true;
}

int neighbours_new(const struct id *self, const void *secret, size_t len, unsigned limit,
		   struct neighbours **ret)
{
	if (len > SECRET_MAX ||
	    (limit != NEIGHBOURS_ALL && (limit < NEIGHBOURS_LIMIT_MIN || limit > NEIGHBOURS_LIMIT_MAX)))
		return -EINVAL;
	struct neighbours *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->self = *self;
	n->place = place_of(self);
	if (len > 0)
		memcpy(n->secret, secret, len);
	n->secret_len = len;
	n->limit = limit;
	n->poke_span = POKE;
	*ret = n;
	return 0;
}

void neighbours_free(struct neighbours *n)
{
	if (!n)
		return;
	explicit_bzero(n->secret, sizeof(n->secret));
	free(n->at);
	free(n->by_weight);
	free(n->by_place);
	free(n);
}

/* ---- what happens ---- */

bool neighbours_seen(struct neighbours *n, const struct id *device, uint64_t now)
{
	const uint32_t before = n->n;
	struct neighbour *e = add(n, device);
	if (!e)
		return false;
	const bool fresh = n->n > before || !is_fresh(e, now) || e->trouble == TROUBLE_LOST;
	e->seen = now;
	if (e->trouble == TROUBLE_LOST)
		e->trouble = TROUBLE_NONE;
	if (n->knows_ways && !e->reached && !e->unreached)
		e->unreached = now;
	return fresh;
}

int neighbours_linked(struct neighbours *n, const struct id *device, enum neighbour_link how, uint64_t now)
{
	struct neighbour *e = add(n, device);
	if (!e)
		return -ENOMEM;
	/* One connection may take over from another. */
	if (!e->linked)
		e->since = now;
	e->linked = true;
	e->kept |= how == NEIGHBOUR_KEPT;
	e->hinted |= how == NEIGHBOUR_HINTED;
	e->claimed |= how == NEIGHBOUR_CLAIMED;
	if (how == NEIGHBOUR_CLAIMED && e->roomy)
		how = NEIGHBOUR_CHOSEN;
	if (how == NEIGHBOUR_CLAIMED) {
		e->claim_span = e->claim_span ? 2 * e->claim_span : CLAIM;
		if (e->claim_span > CLAIM_MAX)
			e->claim_span = CLAIM_MAX;
		e->claim = now + e->claim_span;
	}
	e->refused = e->trouble_span = 0;
	e->trouble = TROUBLE_NONE;
	n->refusals = 0;
	return 0;
}

static void refuse(const struct neighbours *n, struct neighbour *e, uint64_t now)
{
	bool alone = true;
	for (uint32_t i = 0; i < n->n && alone; i++)
		alone = !n->at[i].linked;
	/* Of two neighbours on the ring one may not see the other, or somebody between: it is told. */
	if (e->ring && !e->insist) {
		e->insist = true;
		return;
	}
	e->insist = false;
	e->firm = e->want >= NEIGHBOUR_NEEDED;
	/* It may not know yet that nobody reaches this device. */
	const uint64_t span = alone || e->unreached ? HURRY : REFUSAL;
	e->refused = now + span + e->weight % (span / 5);
}

/* Somebody else on its side of the mesh has a link to this device. */
static bool other_link(const struct neighbours *n, const struct neighbour *e)
{
	for (uint32_t i = 0; i < n->n; i++)
		if (&n->at[i] != e && n->at[i].linked && n->at[i].reached && n->at[i].part == e->part)
			return true;
	return false;
}

static void note_others(struct neighbours *n, uint64_t now)
{
	for (uint32_t i = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[i];
		if (!e->linked || !e->reached || !other_link(n, e))
			e->another = 0;
		else if (!e->another)
			e->another = now;
	}
}

void neighbours_ended(struct neighbours *n, const struct id *device, enum neighbour_end how, uint64_t now)
{
	struct neighbour *e = find(n, device);
	if (!e)
		return;
	e->linked = e->kept = e->hinted = e->claimed = e->net = false;
	e->claim = e->another = 0;
	e->known = e->claim_span ? now + 2 * e->claim_span : 0;
	note_others(n, now); /* it may have been the other way to somebody */
	switch (how) {
	case NEIGHBOUR_LOST:
		e->trouble = TROUBLE_LOST;
		e->trouble_until = now + TROUBLE;
		changed(n);
		break;
	case NEIGHBOUR_LET_GO:
		refuse(n, e, now);
		n->refusals = 0;
		break;
	case NEIGHBOUR_ENDED:
		break;
	}
}

void neighbours_refused(struct neighbours *n, const struct id *device, uint64_t now)
{
	struct neighbour *e = find(n, device);
	if (!e || e->linked)
		return;
	refuse(n, e, now);
	n->refusals++;
}

void neighbours_failed(struct neighbours *n, const struct id *device, uint64_t now)
{
	struct neighbour *e = find(n, device);
	if (!e || e->linked)
		return;
	if (e->trouble == TROUBLE_FAILED && now < e->trouble_until)
		return; /* its other addresses, or it was dialled all the same */
	e->trouble = TROUBLE_FAILED;
	e->trouble_span = !e->reached || !e->trouble_span   ? TROUBLE :
			  2 * e->trouble_span < TROUBLE_MAX ? 2 * e->trouble_span :
							      TROUBLE_MAX;
	e->trouble_until = now + e->trouble_span;
}

void neighbours_forget(struct neighbours *n, const struct id *device)
{
	struct neighbour *e = find(n, device);
	if (!e)
		return;
	const uint32_t i = (uint32_t)(e - n->at);
	n->n--;
	memmove(e, e + 1, (n->n - i) * sizeof(*e));
	n->sorted = false;
	changed(n);
}

/* What it refused was when it was reached. */
static void missed(struct neighbour *e, uint64_t now)
{
	e->unreached = now;
	e->firm = false;
	if (e->refused > now + HURRY)
		e->refused = now + HURRY;
	if (e->trouble_until > now + TROUBLE)
		e->trouble_until = now + TROUBLE;
}

void neighbours_ways(struct neighbours *n, const struct neighbour_way *way, uint32_t count, uint64_t now)
{
	n->partial = count >= NEIGHBOURS_WAYS_MAX;
	n->knows_ways = !n->partial;
	if (count > n->ways)
		n->grown = now;
	n->ways = count;
	for (uint32_t i = 0, k = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[i];
		while (k < count && id_cmp(&way[k].id, &e->id) < 0)
			k++;
		const bool before = e->reached;
		e->reached = k < count && id_equal(&way[k].id, &e->id);
		if (e->reached && !before)
			n->grown = now;
		e->part = e->reached ? way[k].part : 0;
		if (e->reached || !n->knows_ways)
			e->unreached = 0;
		else if (!e->unreached)
			missed(e, now);
	}
	note_others(n, now);
}

/* The net's, and those that somebody here needs, do not take each other's room. */
static unsigned extra(const struct neighbours *n, bool net, uint64_t now)
{
	unsigned k = 0;
	for (uint32_t i = 0; i < n->n; i++)
		k += now < n->at[i].needed && n->at[i].net == net;
	return k;
}

bool neighbours_need(struct neighbours *n, const struct id *device, uint64_t until, uint64_t now)
{
	struct neighbour *e = find(n, device);
	if (!e || (!e->linked && !is_fresh(e, now)))
		return false;
	if (now >= e->needed && ((!e->linked && now < e->need_after) || extra(n, false, now) >= NEIGHBOURS_EXTRA))
		return false;
	/* Who cannot be reached in that time makes room for another. */
	if (until > e->needed && (e->linked || now >= e->needed)) {
		if (!e->linked) {
			e->need_span = !e->need_span || now > e->need_after + NEED_MAX ? NEED :
				       2 * e->need_span < NEED_MAX		     ? 2 * e->need_span :
										       NEED_MAX;
			e->need_after = until + e->need_span;
		}
		e->needed = until;
		e->refused = 0;
	}
	return true;
}

void neighbours_spare(struct neighbours *n, const struct id *device, uint64_t now)
{
	struct neighbour *e = find(n, device);
	if (e && !e->net && now < e->needed)
		e->needed = now;
}

/* ---- the choice ---- */

/* The next one on the ring, in one of its directions, who may be linked; NULL: nobody. Others are
 * dialled on the way, but not waited for. */
static struct neighbour *next_on_ring(struct neighbours *n, bool up, uint64_t now)
{
	uint32_t from = 0;
	while (from < n->n && n->by_place[from].key > n->place)
		from++; /* all before lie above */
	for (uint32_t i = 0; i < n->n; i++) {
		const uint32_t k = up ? (from + n->n - 1 - i) % n->n : (from + i) % n->n;
		struct neighbour *e = &n->at[n->by_place[k].index];
		if (!is_there(n, e, now) || is_refused(e, now))
			continue;
		if (!has_trouble(e))
			return e;
		if (i < n->limit)
			e->want = NEIGHBOUR_WANTED;
	}
	return NULL;
}

static unsigned choose_ring(struct neighbours *n, uint64_t now)
{
	unsigned count = 0;
	for (int up = 0; up < 2; up++) {
		struct neighbour *e = next_on_ring(n, up, now);
		if (!e || e->ring)
			continue;
		e->ring = true;
		if (is_kept(e, now))
			continue;
		e->want = e->insist ? NEIGHBOUR_NEEDED : NEIGHBOUR_WANTED;
		count++;
	}
	return count;
}

/* With too few, one is asked at times all the same: the heaviest who was not, then the one who was longest ago. */
static void poke(struct neighbours *n, uint64_t now)
{
	struct neighbour *best = NULL;
	if (now < n->poke_at)
		return;
	for (uint32_t i = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[n->by_weight[i].index];
		if (is_fresh(e, now) && !e->linked && !e->want && !has_trouble(e) && (!best || e->refused < best->refused))
			best = e;
	}
	if (!best)
		return;
	n->poke_at = now + n->poke_span;
	n->poke_span = 2 * n->poke_span < POKE_MAX ? 2 * n->poke_span : POKE_MAX;
	best->refused = 0;
	best->want = best->unreached ? NEIGHBOUR_NEEDED : NEIGHBOUR_WANTED;
}

static void choose_dense(struct neighbours *n, uint64_t now)
{
	unsigned count = choose_ring(n, now), trouble = 0;
	for (uint32_t i = 0; i < n->n; i++)
		count += n->at[i].linked && !is_kept(&n->at[i], now) && now < n->at[i].claim && !n->at[i].ring;
	for (uint32_t i = 0; i < n->n && count < n->limit; i++) {
		struct neighbour *e = &n->at[n->by_weight[i].index];
		if (e->want || is_kept(e, now) || !is_there(n, e, now) || is_refused(e, now) ||
		    (e->linked && now < e->claim) || (!e->linked && !is_asking(n, e) && is_hopeless(n)))
			continue;
		if (has_trouble(e) && trouble++ >= n->limit)
			continue;
		e->want = NEIGHBOUR_WANTED;
		count += !has_trouble(e);
	}
	if (count < n->limit)
		poke(n, now);
}

/* How many of those who are reached are nearer to that one: they go first. */
static uint32_t rank_of(const struct neighbours *n, const struct neighbour *e)
{
	uint32_t rank = 0;
	for (uint32_t i = 0; i < n->n && rank < RANK_MAX; i++)
		rank += n->at[i].reached && weight_of(n, &n->at[i].id, &e->id) > e->weight;
	return rank;
}

/* Since when it counts as not reached: while statements arrive it may be in one of the next. */
static uint64_t missed_since(const struct neighbours *n, const struct neighbour *e)
{
	const uint64_t most = e->unreached + GROWTH;
	return n->grown < e->unreached ? e->unreached : n->grown < most ? n->grown : most;
}

static bool is_missed(const struct neighbours *n, const struct neighbour *e, uint64_t now)
{
	return !e->linked && e->unreached && is_fresh(e, now) && !(is_refused(e, now) && e->firm) &&
	       !has_trouble(e) && now >= missed_since(n, e) + PATIENCE;
}

/* Whom discovery hears and nobody reaches. One at a time. */
static void choose_unreached(struct neighbours *n, uint64_t now)
{
	unsigned ranks = 0;
	if (!n->knows_ways || now < n->net_at || extra(n, true, now) >= NEIGHBOURS_EXTRA)
		return;
	for (uint32_t i = 0; i < n->n && ranks < RANKS_A_TIME; i++) {
		struct neighbour *e = &n->at[n->by_weight[(n->net_from + i) % n->n].index];
		if (e->want || now < e->needed || !is_missed(n, e, now))
			continue;
		n->net_at = now + NET_GAP;
		if (++ranks == RANKS_A_TIME)
			n->net_from = (n->net_from + i + 1) % n->n; /* the others another time */
		if (now < missed_since(n, e) + PATIENCE + RANK * rank_of(n, e))
			continue;
		e->net = true;
		e->net_span = !e->net_span		   ? ANOTHER_WAY :
			      2 * e->net_span < ANOTHER_WAY_MAX ? 2 * e->net_span :
								  ANOTHER_WAY_MAX;
		e->needed = now + NET_NEED;
		e->refused = 0;
		return;
	}
}

static void choose_needed(struct neighbours *n, uint64_t now)
{
	for (uint32_t i = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[i];
		if (now < e->needed && is_there(n, e, now) && !is_kept(e, now) && !is_refused(e, now))
			e->want = NEIGHBOUR_NEEDED;
	}
}

unsigned neighbours_links(const struct neighbours *n, uint64_t now)
{
	unsigned k = 0;
	for (uint32_t i = 0; i < n->n; i++)
		k += n->at[i].linked && !is_kept(&n->at[i], now);
	return k;
}

bool neighbours_dense(const struct neighbours *n)
{
	return n->dense;
}

uint64_t neighbours_choose(struct neighbours *n, uint64_t now)
{
	uint32_t there = 0, unreached = 0, linked = 0, fresh = 0;
	forget_stale(n, now);
	sort(n);
	for (uint32_t i = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[i];
		e->want = NEIGHBOUR_NO;
		e->ring = false;
		if (!e->linked && now >= e->needed)
			e->net = false;
		there += is_there(n, e, now) && !is_kept(e, now);
		unreached += e->unreached && is_fresh(e, now) && !e->linked && !has_trouble(e) && !(is_refused(e, now) && e->firm);
		linked += e->linked;
		fresh += e->linked && now < e->since + SETTLING;
	}
	n->alone = linked == 0;
	n->dense = n->limit != NEIGHBOURS_ALL && there > 2 * n->limit;
	if (n->dense)
		choose_dense(n, now);
	for (uint32_t i = 0; i < n->n && !n->dense; i++) {
		struct neighbour *e = &n->at[i];
		if (!is_there(n, e, now) || is_refused(e, now))
			continue;
		/* Those that it hears may hear many others, and have enough. */
		e->ring = n->alone || (e->unreached && now >= e->unreached + SETTLED);
		e->want = e->insist ? NEIGHBOUR_NEEDED : NEIGHBOUR_WANTED;
	}
	choose_unreached(n, now);
	choose_needed(n, now);
	for (uint32_t i = 0; i < n->n; i++) {
		struct neighbour *e = &n->at[i];
		e->insist &= e->ring;
		if (n->alone && e->want)
			e->want = NEIGHBOUR_ALONE;
	}
	return now + (unreached || (fresh && neighbours_links(n, now) > n->limit) ? SECOND : LOOK);
}

enum neighbour_want neighbours_want(const struct neighbours *n, const struct id *device)
{
	const struct neighbour *e = find(n, device);
	return e ? e->want : NEIGHBOUR_NO;
}

/* For how long there has to be another way. By weight, so that of two who could let go one does. */
static uint64_t patience(const struct neighbour *e)
{
	const uint64_t span = e->net && e->net_span ? e->net_span : ANOTHER_CHOSEN;
	return span + (uint64_t)((e->weight >> 32) * (span / 1000) >> 32) * 1000;
}

/* This device may be all that holds two parts of the mesh together. */
static bool is_bridge(const struct neighbours *n, const struct neighbour *e, uint64_t now)
{
	if (n->partial)
		return e->net || e->claimed;
	if (!n->knows_ways || (!e->reached && now >= e->since + STATED))
		return false;
	/* Before there was another way for so long nobody lets go others for this one: all is as it was without it. */
	if (e->another && !e->net && !e->claim && now < e->since + YOUNG)
		return false;
	return !e->another || now < (e->another > e->claim ? e->another : e->claim) + patience(e);
}

bool neighbours_surplus(const struct neighbours *n, uint64_t now,
			bool (*busy)(const struct id *device, void *userdata), void *userdata,
			struct id *ret)
{
	const unsigned links = neighbours_links(n, now);
	const bool urgent = links > n->limit + NEIGHBOURS_EXTRA, most = links > NEIGHBOURS_MOST;
	const struct neighbour *best = NULL;
	if (links <= n->limit || n->limit == NEIGHBOURS_ALL)
		return false;
	for (uint32_t i = 0; i < n->n; i++) {
		const struct neighbour *e = &n->at[i];
		if (!e->linked || e->want || is_kept(e, now) || (best && best->weight < e->weight))
			continue;
		/* Who claimed it and is not heard here may hear few, and have it from nobody else. */
		if (!urgent && (now < e->claim || now < e->since + SETTLED || (e->claim && !is_fresh(e, now))))
			continue;
		if (!most && (is_bridge(n, e, now) || (busy && busy(&e->id, userdata))))
			continue;
		best = e;
	}
	if (best)
		*ret = best->id;
	return best != NULL;
}

bool neighbours_takes(struct neighbours *n, const struct id *device, enum neighbour_want ask, uint64_t now)
{
	struct neighbour *e = add(n, device);
	const unsigned links = neighbours_links(n, now);
	if (!e)
		return links < n->limit || (ask == NEIGHBOUR_ALONE && links < NEIGHBOURS_MOST);
	if (e->linked)
		return true;
	e->refused = 0;
	e->trouble = TROUBLE_NONE;
	e->roomy = ask == NEIGHBOUR_ALONE && links < n->limit;
	if (links < n->limit || (ask >= NEIGHBOUR_NEEDED && links < n->limit + NEIGHBOURS_EXTRA))
		return true;
	/* This may be the only one that it can have a link to. */
	if (links < NEIGHBOURS_MOST && (ask == NEIGHBOUR_ALONE || (ask == NEIGHBOUR_NEEDED && n->knows_ways && !e->reached)))
		return true;
	n->asking = device;
	(void)neighbours_choose(n, now);
	n->asking = NULL;
	return neighbours_want(n, device) != NEIGHBOUR_NO;
}

bool neighbours_nearby(const struct neighbours *n, const struct id *device, uint64_t now)
{
	const struct neighbour *e = find(n, device);
	return e && is_fresh(e, now);
}
