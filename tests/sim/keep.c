/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that change what they keep: they give collections up, carry them for others or have no room for
 * that, and subscribe again. Not in all histories, and with randomness of its own, so that those of
 * seeds.txt stay what they were; and not with batches, which a device that keeps a part of one passes on in part
 * (shoal-protocol(7), Interests). */
#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"

void keep_make(struct world *w)
{
	/* Oftener where files are purged. */
	const bool some = w->seed % 6 == 2 || (w->purging && w->seed % 4 == 1);
	w->keeping = w->parted || (!w->meshed && some && w->seed % 5 != 0 && w->seed % 7 != 0 && !w->fated);
	w->keep = (struct prng){ w->seed ^ UINT64_C(0x6b6565700a) };
}

static enum interest_level level_of(struct device *d, const struct id *scope)
{
	struct interests *x = replica_interests(d->replica);
	enum interest_level l = interests_level(x, scope);
	interests_unref(x);
	return l;
}

static void keep(struct world *w, struct device *d, const struct id *scope, unsigned level, const char *where)
{
	struct err e = { 0 };
	char hex[ID_HEX];
	struct actor_id before;
	replica_self(d->replica, &before, NULL);
	int r = replica_keep(d->replica, scope, level, where, &e);
	TRACE(w, "device %u keeps %.8s at level %u %s: %s", d->no, id_hex(scope, hex), level, where ? where : "",
	      r < 0 ? e.message : "done");
	if (r < 0 && r != -EBUSY && r != -EIO && r != -ENOSPC)
		world_fail(w, "device %u: keep: %s", d->no, e.message);
	if (r < 0)
		store_fail(d->store, 0, 0);
	d->gave_up |= level == INTEREST_NONE || level == INTEREST_FILTERED;
	/* It may go on as another one, and that has to be on the disk before anybody asks. */
	struct actor_id now;
	replica_self(d->replica, &now, NULL);
	if (actor_id_cmp(&before, &now) != 0)
		d->actor = d->known_as = now;
	device_flush(w, d);
	if (w->settling && r < 0)
		world_fail(w, "device %u cannot subscribe again: %s", d->no, e.message);
}

static void drop(struct world *w, struct device *d, unsigned steps)
{
	struct err e = { 0 };
	int r = 1;
	for (unsigned i = 0; i < steps && r == 1; i++)
		r = replica_drop_step(d->replica, &e);
	if (r < 0 && r != -EIO && r != -ENOSPC)
		world_fail(w, "device %u: drop: %s", d->no, e.message);
	if (r < 0)
		store_fail(d->store, 0, 0);
}

/* As the thread of the daemon does it. */
static void errands(struct world *w, struct device *d, bool room)
{
	struct arena a = { 0 };
	struct errand *x;
	uint32_t n;
	if (replica_errands(d->replica, 0, &a, &x, &n) < 0)
		world_fail(w, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		unsigned should = room ? x[i].should : INTEREST_NONE;
		if (x[i].is != INTEREST_NONE && should == INTEREST_NONE)
			should = x[i].elsewhere ? INTEREST_NONE : INTEREST_FARTHEST;
		if (should != x[i].is)
			keep(w, d, &x[i].scope, should, NULL);
	}
	arena_done(&a);
}

void keep_step(struct world *w)
{
	struct device *d = &w->device[prng_below(&w->keep, w->n_devices)];
	struct arena a = { 0 };
	struct id *scope;
	uint32_t n;
	unsigned event = (unsigned)prng_below(&w->keep, 100);
	bool room = prng_chance(&w->keep, 50);
	if (!w->keeping || w->settling || !d->replica)
		return;
	if (event < 4) {
		if (replica_collections(d->replica, &a, &scope, &n) < 0)
			world_fail(w, "out of memory");
		const struct id *one = n ? &scope[prng_below(&w->keep, n)] : NULL;
		const char *where = part_choose(w);
		if (one && !replica_dropping(d->replica, one))
			keep(w, d, one,
			     where ? INTEREST_FILTERED :
			     interest_is_shown(level_of(d, one)) ? INTEREST_FARTHEST : INTEREST_SUBSCRIBED,
			     where);
	} else if (event < 10) {
		errands(w, d, room);
	} else if (event < 14) {
		drop(w, d, room ? 1 : 1000);
	} else if (event == 14) {
		replica_keep_new(d->replica, room, NULL);
		store_fail(d->store, 0, 0);
		device_flush(w, d);
	}
	arena_done(&a);
}

void keep_everything(struct world *w, struct device *d)
{
	if (!w->keeping)
		return;
	drop(w, d, 100000);
	if (replica_keep_new(d->replica, true, NULL) < 0)
		world_fail(w, "device %u cannot keep what is new", d->no);
	struct interests *x = replica_interests(d->replica);
	for (uint32_t i = 0; i < x->n; i++)
		keep(w, d, &x->item[i].scope, INTEREST_SUBSCRIBED, NULL);
	interests_unref(x);
}
