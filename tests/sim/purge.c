/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that purge what is deleted, at any time: a horizon only says when. Not in all histories, and with
 * randomness of its own, so that those of seeds.txt stay what they were; and not with counters, which are told
 * by file (typed.c).
 *
 * What was written into a file that others had purged has to be found in another one, on the device that heard of
 * it: the model goes along. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/deleted.h"
#include "engine/purge.h"
#include "engine/purged.h"
#include "engine/slot.h"
#include "tests/sim/world.h"

void purge_make(struct world *w)
{
	w->purging = (w->seed % 11 == 2 || w->seed % 11 == 6 || w->seed % 10 == 9) && w->seed % 7 != 0;
	w->purge = (struct prng){ w->seed ^ UINT64_C(0x70757267650a) };
}

void purge_step(struct world *w)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct device *d = &w->device[prng_below(&w->purge, w->n_devices)];
	unsigned event = (unsigned)prng_below(&w->purge, 30);
	struct deleted *all;
	uint32_t n, looked, purged = 0;
	if (!w->purging || w->settling || !d->replica || event > 0)
		return;
	int r = replica_deleted(d->replica, &a, &all, &n);
	struct id *id = r == 0 ? arena_array(&a, n + 1, sizeof(*id)) : NULL;
	uint32_t some = 0;
	for (uint32_t i = 0; id && i < n; i++)
		if (prng_chance(&w->purge, 60))
			id[some++] = all[i].id;
	struct err e = { 0 };
	for (uint32_t at = 0; r == 0 && at < some; at += looked) {
		r = replica_purge(d->replica, id + at, some - at, &looked, &purged, &e);
		w->purged += r == 0 ? purged : 0;
		TRACE(w, "device %u purges %u of %u: %s", d->no, purged, some - at, r < 0 ? e.message : "done");
	}
	if (r == -EIO || r == -ENOSPC)
		store_fail(d->store, 0, 0);
	else if (r < 0)
		world_fail(w, "device %u: purge: %s", d->no, e.message);
}

/* ---- what became another file ---- */

void purge_mark(struct world *w)
{
	for (unsigned i = 0; w->purging && i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		if (d->replica)
			replica_self(d->replica, &d->marked, &d->marked_seq);
	}
}

struct files {
	struct id id[64]; /* changed here */
	unsigned n;
	uint64_t seq[64]; /* the commit */
	struct id gone[256];
	uint64_t gone_seq[256]; /* 0: it was purged before, and others came to be of it all the same */
	unsigned n_gone;
	uint32_t self;
	uint64_t above;
};

static void look(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct files *f = userdata;
	(void)w, (void)d;
	const uint64_t seq = vv_get(&r->ctx, f->self);
	if (r->kind != NODE_FILE)
		return;
	if (record_is_purged(r) && f->n_gone < 256) {
		f->gone_seq[f->n_gone] = seq > f->above ? seq : 0;
		f->gone[f->n_gone++] = r->id;
	} else if (!record_is_purged(r) && seq > f->above && f->n < 64) {
		f->seq[f->n] = seq;
		f->id[f->n++] = r->id;
	}
}

/* What the commits wrote themselves. */
static void own_numbers(const struct files *f, const struct slot *s, struct numbers *n)
{
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e->dot.actor == f->self && e->dot.seq > f->above)
			numbers_of(n, e->value.data, e->value.len);
	}
	for (uint32_t i = 0; i < s->n; i++)
		own_numbers(f, s->child[i], n);
}

/* A document of that name may have been there, with some of it; nobody has written those values again. A file that has not a
 * single entry of its own is what the other one was. */
static void go_over(struct world *w, const struct files *f, struct device *d, uint64_t gone_seq, uint64_t seq,
		    const struct id *from, const struct id *to)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct numbers all = { 0 }, own = { 0 };
	const struct record *r;
	file_numbers(d, to, &all, NULL);
	const struct slot *content = check_record(d, &a, to, &r) == 0 && r->top ?
		slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	if (content)
		own_numbers(f, content, &own);
	w->inherited += model_inherited(w, d, gone_seq, seq, from, to, &all, &own, own.n == 0);
	numbers_clear(&all);
	numbers_clear(&own);
}

void purge_follow(struct world *w)
{
	static struct files f;
	for (unsigned i = 0; w->purging && i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		struct actor_id actor;
		uint64_t seq;
		if (!d->replica)
			continue;
		replica_self(d->replica, &actor, &seq);
		f = (struct files){ .self = actors_find(replica_actors(d->replica), &actor) };
		f.above = actor_id_cmp(&actor, &d->marked) == 0 ? d->marked_seq : 0;
		if (seq <= f.above)
			continue;
		check_records(w, d, look, &f);
		for (unsigned k = 0; k < f.n_gone; k++)
			for (unsigned m = 0; m < f.n; m++)
				go_over(w, &f, d, f.gone_seq[k], f.seq[m], &f.gone[k], &f.id[m]);
	}
}

struct search {
	uint64_t value;
	bool found;
};

static void look_for(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct search *s = userdata;
	struct numbers n = { 0 };
	(void)w;
	if (s->found || r->kind != NODE_FILE)
		return;
	s->found = file_numbers(d, &r->id, &n, NULL) == 0 && numbers_has(&n, s->value);
	numbers_clear(&n);
}

bool purge_finds(struct world *w, struct device *d, uint64_t value)
{
	struct search s = { .value = value };
	check_records(w, d, look_for, &s);
	return s.found;
}
