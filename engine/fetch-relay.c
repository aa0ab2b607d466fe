/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chunks that no peer of a file has, looked for through peers: frame SEEK, shoal-protocol(7), Contents. A quest is one
 * chunk that is looked for, for a file here or for a peer. It asks its sources one after another, the next one when one
 * has said no or says nothing for a while, and is in vain when all have said no, or after so long. What comes for a
 * peer is kept in memory until it is sent, and never in the store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fetch-impl.h"

#define OWN_MAX 32        /* quests for files here */
#define ROUTE_MOST 255u   /* more links than any quest goes over */

/* ---- the list ---- */

static struct file *file_of(const struct fetches *f, const struct quest *e)
{
	for (uint32_t i = 0; i < f->n && !e->from; i++)
		if (f->file[i]->no == e->file)
			return f->file[i];
	return NULL;
}

static void drop(struct fetches *f, struct quest *e)
{
	for (uint32_t i = 0; i < f->n_quests; i++)
		if (f->quest[i] == e) {
			f->n_quests--;
			memmove(&f->quest[i], &f->quest[i + 1], (f->n_quests - i) * sizeof(f->quest[0]));
			break;
		}
	buf_done(&e->data);
	free(e->tried);
	free(e);
}

/* Which are of that kind: for s, or if that is NULL, for files here. */
static uint32_t count(const struct fetches *f, const struct fetch_source *s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < f->n_quests; i++)
		n += f->quest[i]->from == s;
	return n;
}

/* Those for peers that cost more than an answer. */
static uint32_t count_costly(const struct fetches *f)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < f->n_quests; i++)
		n += f->quest[i]->from && f->quest[i]->state != QUEST_VAIN && f->quest[i]->state != QUEST_HERE;
	return n;
}

static int add(struct fetches *f, const struct quest *like, struct quest **ret)
{
	struct quest **p = reallocarray(f->quest, f->n_quests + 1, sizeof(struct quest *));
	if (!p)
		return -ENOMEM;
	f->quest = p;
	struct quest *e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	*e = *like;
	e->no = ++f->last_quest;
	f->quest[f->n_quests++] = e;
	*ret = e;
	return 0;
}

/* ---- one look for each device ---- */

/* Whoever looks for it gave it a number. Where it has been with as many links left it need not come again: what there
 * is to be found on that way goes back on it. */
static bool was_here(const struct fetches *f, uint64_t id, unsigned links)
{
	for (uint32_t i = 0; i < FETCH_PASSED; i++)
		if (f->passed[i].id == id && f->passed[i].links >= links)
			return true;
	return false;
}

static void passes(struct fetches *f, uint64_t id, unsigned links)
{
	f->passed[f->next_passed] = (struct passed){ id, links };
	f->next_passed = (f->next_passed + 1) % FETCH_PASSED;
}

/* Who asked has it, or has gone, and may come back and ask anew. */
static void passes_not(struct fetches *f, uint64_t id, unsigned links)
{
	for (uint32_t i = 0; i < FETCH_PASSED; i++)
		if (f->passed[i].id == id && f->passed[i].links == links) {
			f->passed[i] = (struct passed){ 0, 0 };
			return;
		}
}

/* Never 0, which is in places of `passed` that were not used. */
static uint64_t new_id(struct fetches *f)
{
	const uint64_t n = ++f->last_id;
	const struct sha256_part part[] = { { f->seed, sizeof(f->seed) }, { &n, sizeof(n) } };
	struct id hash;
	uint64_t id;
	sha256_id(part, 2, &hash);
	memcpy(&id, hash.b, sizeof(id));
	return id ? id : 1;
}

/* ---- who is asked ---- */

static struct tried *tried_at(const struct quest *e, const struct fetch_source *s)
{
	for (uint32_t i = 0; i < e->n_tried; i++)
		if (e->tried[i].source == s)
			return &e->tried[i];
	return NULL;
}

static bool any_open(const struct quest *e)
{
	for (uint32_t i = 0; i < e->n_tried; i++)
		if (e->tried[i].open)
			return true;
	return false;
}

static bool may_ask(const struct quest *e, const struct fetch_source *s)
{
	return s != e->from && !tried_at(e, s);
}

/* Who brought something last is likely to bring the next one, too. */
static bool is_better(const struct fetch_source *a, const struct fetch_source *b)
{
	return a->slow != b->slow ? b->slow : a->brought > b->brought;
}

static struct fetch_source *best(const struct fetches *f, const struct quest *e)
{
	struct fetch_source *found = NULL;
	for (uint32_t i = 0; i < f->n_sources; i++)
		if (may_ask(e, f->source[i]) && (!found || is_better(f->source[i], found)))
			found = f->source[i];
	return found;
}

static struct quest *quest_of(const struct fetches *f, uint64_t no)
{
	for (uint32_t i = 0; i < f->n_quests; i++)
		if (f->quest[i]->no == no)
			return f->quest[i];
	return NULL;
}

/* For the quest of somebody who went, and has come back to ask the same. */
static struct seeking *asked_before(struct fetch_source *s, const struct quest *e)
{
	for (uint32_t i = 0; i < s->n_seeks; i++) {
		struct seeking *x = &s->seek[i];
		if (x->id == e->id && sha256_cmp(&x->hash, &e->hash) == 0 && !quest_of(s->all, x->quest))
			return x;
	}
	return NULL;
}

static bool is_asked(struct fetch_source *s, const struct quest *e)
{
	for (uint32_t i = 0; i < s->n_seeks; i++)
		if (sha256_cmp(&s->seek[i].hash, &e->hash) == 0)
			return !asked_before(s, e);
	return false;
}

static bool is_due(const struct fetches *f, const struct quest *e, struct fetch_source *s, uint64_t now_us)
{
	if (e->state != QUEST_SEEKS || !may_ask(e, s))
		return false;
	/* Whoever is asked may have no room for more, or be long about it. */
	return now_us >= e->moved + FETCH_NEXT_US ||
	       (!any_open(e) && s == best(f, e) && !is_asked(s, e));
}

static uint64_t ends_at(const struct quest *e)
{
	uint64_t since = e->began;
	for (uint32_t i = 0; i < e->n_tried; i++)
		if (e->tried[i].open && e->tried[i].source->brought_at > since)
			since = e->tried[i].source->brought_at;
	const uint64_t at = since + e->links * FETCH_LINK_US, last = e->began + FETCH_SLOW_PATIENCE_US;
	return at < last ? at : last;
}

/* ---- in vain ---- */

static void forget_route(struct fetches *f, const struct id *node)
{
	for (uint32_t i = 0; i < FETCH_ROUTES; i++)
		if (id_equal(&f->route[i], node))
			f->route[i] = (struct id){ { 0 } };
}

static bool has_route(const struct fetches *f, const struct id *node)
{
	for (uint32_t i = 0; i < FETCH_ROUTES; i++)
		if (id_equal(&f->route[i], node))
			return true;
	return false;
}

static void note_route(struct fetches *f, const struct id *node)
{
	if (has_route(f, node))
		return;
	f->route[f->next_route] = *node;
	f->next_route = (f->next_route + 1) % FETCH_ROUTES;
}

void fetches_quests_end(struct fetches *f, uint64_t file)
{
	for (uint32_t i = f->n_quests; i > 0; i--)
		if (!f->quest[i - 1]->from && f->quest[i - 1]->file == file)
			drop(f, f->quest[i - 1]);
}

/* The quest is gone afterwards if it was for a file here. */
static void in_vain(struct fetches *f, struct quest *e, struct calls *c)
{
	struct file *x = file_of(f, e);
	c->wake = true;
	if (e->from) {
		e->state = QUEST_VAIN;
		return;
	}
	drop(f, e);
	/* Somebody has come who may have it. */
	if (!x || !fetches_hopeless(f, x))
		return;
	forget_route(f, &x->node);
	if (x->by_route && x->waiter) {
		/* It was found this way before, so that others were not looked for. */
		x->by_route = x->relayed = false;
		fetches_quests_end(f, x->no);
		return;
	}
	fetches_end(f, x, -EHOSTDOWN, c);
}

void fetches_quests_check(struct fetches *f, struct calls *c)
{
	for (uint32_t i = 0; i < f->n_quests;) {
		struct quest *e = f->quest[i];
		if (e->state == QUEST_SEEKS && !any_open(e) && !best(f, e)) {
			in_vain(f, e, c);
			i = 0;
		} else {
			i++;
		}
	}
}

static void pass_time(struct fetches *f, uint64_t now_us, struct calls *c)
{
	for (uint32_t i = 0; i < f->n_quests;) {
		struct quest *e = f->quest[i++];
		if (e->state != QUEST_SEEKS)
			continue;
		if (e->began == 0)
			e->began = e->moved = now_us;
		if (now_us >= ends_at(e)) {
			in_vain(f, e, c);
			i = 0;
		} else if (now_us >= e->moved + FETCH_NEXT_US && f->now_us < e->moved + FETCH_NEXT_US) {
			/* It may be somebody else's turn than whose session this is. */
			c->wake = true;
		}
	}
	f->now_us = now_us;
}

/* ---- for files here ---- */

static bool has_quest(const struct fetches *f, const struct file *x, const struct sha256 *hash)
{
	for (uint32_t i = 0; i < f->n_quests; i++)
		if (!f->quest[i]->from && f->quest[i]->file == x->no && sha256_cmp(&f->quest[i]->hash, hash) == 0)
			return true;
	return false;
}

bool fetches_on_quest(const struct fetches *f, const struct file *x, const struct sha256 *hash)
{
	return x->relayed && has_quest(f, x, hash);
}

/* What somebody waits for, and no more: it costs others. */
static uint32_t quests_for(struct fetches *f, struct file *x, struct calls *c)
{
	const bool whole = fetches_whole(x);
	uint32_t n = 0;
	for (uint32_t i = 0; i < f->n_quests; i++)
		n += !f->quest[i]->from && f->quest[i]->file == x->no;
	for (int pass = 0; pass < (whole ? 2 : 1); pass++)
		for (uint32_t i = 0; i < x->n_wants && n < FETCH_SEEKS_MAX && count(f, NULL) < OWN_MAX; i++) {
			const struct want *w = &x->want[i];
			struct quest *e;
			if (w->urgent != (pass == 0) || w->asked || has_quest(f, x, &w->hash))
				continue;
			const struct quest new = { .hash = w->hash, .id = new_id(f), .file = x->no, .links = FETCH_HOPS + 1 };
			if (add(f, &new, &e) < 0)
				return n;
			passes(f, e->id, ROUTE_MOST);
			c->wake = true;
			n++;
		}
	return n;
}

static bool any_asked(const struct file *x)
{
	for (uint32_t i = 0; i < x->n_wants; i++)
		if (x->want[i].asked)
			return true;
	return false;
}

void fetches_last_resort(struct fetches *f, struct file *x, bool forsaken, struct calls *c)
{
	if (f->n_sources == 0 || !x->waiter) {
		fetches_end(f, x, -EHOSTDOWN, c);
		return;
	}
	if (f->seeks && !x->relayed && !forsaken) {
		x->by_route = has_route(f, &x->node);
		if (!x->by_route) {
			c->wake = true;
			return;
		}
	}
	x->relayed = true;
	/* What was asked of those who lack something else is to be answered first, and where others have all the room it
	 * waits for some. */
	if (quests_for(f, x, c) == 0 && !any_asked(x) && count(f, NULL) < OWN_MAX)
		fetches_end(f, x, -EHOSTDOWN, c);
}

/* ---- what comes ---- */

static struct quest *seeks(const struct fetches *f, const struct sha256 *hash, bool own)
{
	for (uint32_t i = 0; i < f->n_quests; i++) {
		struct quest *e = f->quest[i];
		if (!e->from == own && e->state == QUEST_SEEKS && sha256_cmp(&e->hash, hash) == 0)
			return e;
	}
	return NULL;
}

static struct file *wants(const struct fetches *f, const struct sha256 *hash, uint32_t *ret_want)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (fetches_wanted(f->file[i], hash, ret_want))
			return f->file[i];
	return NULL;
}

static int found_here(struct fetches *f, const struct sha256 *hash, const void *data, size_t len, struct calls *c,
		      struct err *e)
{
	struct quest *a;
	struct file *x;
	uint32_t i;
	int rc = 0;
	while ((a = seeks(f, hash, true))) {
		x = file_of(f, a);
		drop(f, a);
		if (x)
			note_route(f, &x->node);
	}
	while (rc == 0 && (x = wants(f, hash, &i)))
		rc = fetches_came(f, x, i, data, len, c, e);
	return rc;
}

static int found_for_others(struct fetches *f, const struct sha256 *hash, const void *data, size_t len,
			    struct calls *c, struct err *e)
{
	struct quest *a = seeks(f, hash, false);
	if (a && chunk_check(hash->b, data, len) < 0)
		return err_set(e, -EPROTO, "the peer sent a chunk that has another hash");
	for (; a; a = seeks(f, hash, false)) {
		buf_put(&a->data, data, len);
		a->state = buf_failed(&a->data) ? QUEST_VAIN : QUEST_FOUND;
		c->wake = true;
	}
	return 0;
}

int fetches_quests_found(struct fetches *f, const struct sha256 *hash, const void *data, size_t len, struct calls *c,
			  struct err *e)
{
	/* First those that only look at it: the other ones may end a file, and what it wants with it. */
	int rc = found_for_others(f, hash, data, len, c, e);
	return rc < 0 ? rc : found_here(f, hash, data, len, c, e);
}

void fetches_quests_leave(struct fetches *f, const struct fetch_source *s)
{
	for (uint32_t i = f->n_quests; i > 0; i--) {
		struct quest *e = f->quest[i - 1];
		struct tried *t = tried_at(e, s);
		if (t)
			*t = e->tried[--e->n_tried];
		if (e->from != s)
			continue;
		if (e->state != QUEST_VAIN)
			passes_not(f, e->id, e->links);
		drop(f, e);
	}
}

void fetches_quests_free(struct fetches *f)
{
	while (f->n_quests > 0)
		drop(f, f->quest[f->n_quests - 1]);
	free(f->quest);
}

/* ---- sessions ---- */

/* 1: it is to be sent; 0: not, there is no room or it was before; -ENOMEM. */
static int ask(struct fetch_source *s, struct quest *e, uint64_t now_us)
{
	struct seeking *before = asked_before(s, e);
	if (!before && s->n_seeks == FETCH_SEEKS_MAX)
		return 0;
	struct tried *p = reallocarray(e->tried, e->n_tried + 1, sizeof(struct tried));
	if (!p)
		return -ENOMEM;
	e->tried = p;
	p[e->n_tried++] = (struct tried){ s, true };
	e->moved = now_us;
	if (before) {
		before->quest = e->no;
		return 0;
	}
	s->seek[s->n_seeks++] = (struct seeking){ .hash = e->hash, .id = e->id, .quest = e->no };
	return 1;
}

bool fetch_seek_next(struct fetch_source *s, uint64_t now_us, struct fetch_seek *ret)
{
	struct fetches *f = s->all;
	struct calls c = { 0 };
	bool found = false;
	pthread_mutex_lock(&f->lock);
	pass_time(f, now_us, &c);
	for (uint32_t i = 0; i < f->n_quests && !found; i++) {
		struct quest *e = f->quest[i];
		found = is_due(f, e, s, now_us) && ask(s, e, now_us) > 0;
		if (found)
			*ret = (struct fetch_seek){ e->id, e->hash, e->links - 1 };
	}
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return found;
}

uint64_t fetch_seek_deadline(struct fetch_source *s)
{
	const struct fetches *f = s->all;
	uint64_t at = UINT64_MAX;
	pthread_mutex_lock(&s->all->lock);
	for (uint32_t i = 0; i < f->n_quests; i++) {
		const struct quest *e = f->quest[i];
		if (e->state != QUEST_SEEKS || e->began == 0)
			continue;
		const uint64_t end = ends_at(e), next = e->moved + FETCH_NEXT_US;
		at = end < at ? end : at;
		at = next > f->now_us && next < at ? next : at;
	}
	pthread_mutex_unlock(&s->all->lock);
	return at;
}

bool fetch_seeks(struct fetch_source *s)
{
	pthread_mutex_lock(&s->all->lock);
	const bool busy = s->n_seeks > 0 || count(s->all, s) > 0;
	pthread_mutex_unlock(&s->all->lock);
	return busy;
}

int fetch_found(struct fetch_source *s, const struct fetch_seek *seek, const void *data, size_t len, uint64_t now_us,
		struct err *e)
{
	struct fetches *f = s->all;
	struct calls c = { .wake = true };
	uint32_t i = 0;
	int rc = 0;
	pthread_mutex_lock(&f->lock);
	while (i < s->n_seeks &&
	       (s->seek[i].id != seek->id || sha256_cmp(&s->seek[i].hash, &seek->hash) != 0))
		i++;
	if (i == s->n_seeks) {
		rc = err_set(e, -EPROTO, "the peer looked for a chunk that it was not asked for");
	} else {
		const struct quest *x = quest_of(f, s->seek[i].quest);
		struct tried *t = x ? tried_at(x, s) : NULL;
		s->seek[i] = s->seek[--s->n_seeks];
		if (t)
			t->open = false;
		if (len > 0) {
			s->brought = ++f->last_brought;
			s->brought_at = now_us;
			rc = fetches_quests_found(f, &seek->hash, data, len, &c, e);
		}
		fetches_quests_check(f, &c);
	}
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return rc;
}

int fetch_seek_for(struct fetch_source *s, const struct fetch_seek *seek, struct err *e)
{
	struct fetches *f = s->all;
	struct calls c = { 0 };
	struct quest *a;
	int rc = 0;
	pthread_mutex_lock(&f->lock);
	struct quest new = { .hash = seek->hash, .id = seek->id, .from = s, .links = seek->links };
	if (new.links > FETCH_HOPS)
		new.links = FETCH_HOPS;
	if (count(f, s) == FETCH_SEEKS_MAX)
		rc = err_set(e, -EPROTO, "the peer looks for too many chunks at a time");
	else if (store_has(f->store, NULL, STORE_HASHES, seek->hash.b, SHA256_SIZE))
		new.state = QUEST_HERE;
	else if (new.links == 0 || was_here(f, seek->id, new.links) || count_costly(f) >= FETCH_QUESTS_MAX)
		new.state = QUEST_VAIN;
	if (rc == 0 && add(f, &new, &a) < 0)
		rc = err_set(e, -ENOMEM, "out of memory");
	if (rc == 0 && new.state == QUEST_SEEKS) {
		passes(f, new.id, new.links);
		c.wake = true;
		fetches_quests_check(f, &c);
	}
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return rc;
}

bool fetch_answer_vain(struct fetch_source *s, struct fetch_seek *ret)
{
	struct fetches *f = s->all;
	bool found = false;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n_quests && !found; i++) {
		struct quest *e = f->quest[i];
		found = e->from == s && e->state == QUEST_VAIN;
		if (!found)
			continue;
		*ret = (struct fetch_seek){ .id = e->id, .hash = e->hash };
		drop(f, e);
	}
	pthread_mutex_unlock(&f->lock);
	return found;
}

/* 1: its data is in b. 0: it is not here any more, and is looked for. */
static int load(struct fetches *f, struct quest *e, struct buf *b)
{
	if (e->state == QUEST_FOUND) {
		buf_done(b);
		*b = e->data;
		e->data = (struct buf){ 0 };
		return 1;
	}
	buf_reset(b);
	int rc = chunk_get(f->store, &e->hash, b);
	if (rc != -ENOENT && rc != -EHOSTDOWN)
		return rc < 0 ? rc : 1;
	buf_reset(b);
	e->state = e->links > 0 && count_costly(f) < FETCH_QUESTS_MAX ? QUEST_SEEKS : QUEST_VAIN;
	return 0;
}

int fetch_answer(struct fetch_source *s, struct fetch_seek *ret, struct buf *b)
{
	struct fetches *f = s->all;
	struct calls c = { 0 };
	int rc = 0;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n_quests && rc == 0; i++) {
		struct quest *e = f->quest[i];
		if (e->from != s || (e->state != QUEST_FOUND && e->state != QUEST_HERE))
			continue;
		rc = load(f, e, b);
		if (rc > 0) {
			e->state = QUEST_GIVEN;
			*ret = (struct fetch_seek){ .id = e->id, .hash = e->hash };
		} else if (rc == 0) {
			c.wake = true;
		}
	}
	if (c.wake)
		fetches_quests_check(f, &c);
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return rc;
}

void fetch_given(struct fetch_source *s)
{
	struct fetches *f = s->all;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = f->n_quests; i > 0; i--) {
		struct quest *e = f->quest[i - 1];
		if (e->from != s || e->state != QUEST_GIVEN)
			continue;
		passes_not(f, e->id, e->links);
		drop(f, e);
	}
	pthread_mutex_unlock(&f->lock);
}
