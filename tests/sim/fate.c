/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What befalls stores: they are copied, and brought back to an earlier copy, with the fence noticing or
 * not; and clocks that jump. Not in all histories, so that those of seeds.txt stay what they were.
 *
 * A copy is made of what was flushed. One that is brought back unnoticed comes in worlds of two devices
 * only, once: a device that had met a third one first, which knows nothing of the lost future, has
 * handed out names that are in use (shoald(8), Copies of a store). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replica-impl.h"
#include "tests/sim/world.h"
#include "tests/storecopy.h"

#define YEAR_US (INT64_C(365) * 86400 * 1000000)

void fate_make(struct world *w)
{
	w->fated = !w->meshed && !w->parted && w->seed % 8 == 1 && w->seed % 7 != 0; /* counters are told by device alone (typed.c) */
	w->fate = (struct prng){ w->seed ^ UINT64_C(0x666174650a) };
	w->unnoticed = w->fated && w->n_devices == 2 && prng_chance(&w->fate, 70);
}

static struct store *copy(struct world *w, struct store *from)
{
	struct store *to = store_copy(from);
	if (!to)
		world_fail(w, "out of memory");
	return to;
}

/* Everything that a device has is on its disk. */
static void settle(struct world *w, struct device *d)
{
	store_fail(d->store, 0, 0);
	if (!d->replica)
		device_start(w, d);
	device_flush(w, d);
}

static void back_up(struct world *w, struct device *d)
{
	settle(w, d);
	if (d->backup)
		store_close(d->backup);
	d->backup = copy(w, d->store);
	TRACE(w, "device %u is copied", d->no);
}

static void stop(struct world *w, struct device *d)
{
	for (int i = 0; i < PINS; i++)
		pin_clear(&d->pin[i]);
	net_forget_device(w, d);
	replica_free(d->replica);
	d->replica = NULL;
}

static void bring_back(struct world *w, struct device *d, bool noticed)
{
	/* What others have got by now is theirs for good. */
	for (unsigned i = 0; i < w->n_devices; i++)
		settle(w, &w->device[i]);
	TRACE(w, "device %u is brought back to its copy, %s", d->no,
	      noticed ? "which is noticed" : "unnoticed");
	stop(w, d);
	store_close(d->store);
	d->store = copy(w, d->backup);
	d->fence[0] = (uint8_t)(d->fence[0] + noticed);
	d->actor = (struct actor_id){ 0 };
	d->flushed = 0;
	d->doubtful = true;
	check_forget(d);
	model_mark(w, d);
	batch_mark(w, d);
	w->brought_back = true;
	w->copies++;
	if (!noticed)
		w->rolled = d;
	device_start(w, d);
	model_sift(w);
}

static void copy_beside(struct world *w, struct device *d)
{
	unsigned no = w->n_devices;
	settle(w, d);
	struct device *c = &w->device[no];
	*c = (struct device){ .no = no, .id = d->id, .store = copy(w, d->store),
			      .random = { prng_u64(&w->fate) }, .tags = { prng_u64(&w->fate) }, .clock_off = d->clock_off,
			      .drift = d->drift, .flush_every = d->flush_every };
	c->fence[0] = (uint8_t)(d->fence[0] + 100);
	w->n_devices++;
	w->copies++;
	d->twin = c->twin = true;
	check_forget(d);
	net_like(w, d, c);
	TRACE(w, "device %u is a copy of %u that runs beside it", no, d->no);
	device_start(w, c);
}

static void jump(struct world *w, struct device *d)
{
	int64_t to = (int64_t)prng_below(&w->fate, 20 * (uint64_t)YEAR_US) - 10 * YEAR_US;
	TRACE(w, "the clock of device %u jumps by %lld s", d->no,
	      (long long)(to - d->clock_off) / 1000000);
	d->clock_off = to;
	w->wild_clocks = true;
}

static void renamed(struct world *w, struct device *d, const struct actor_id *now, uint64_t above)
{
	model_renamed(w, d, &d->known_as, now, above);
	batch_renamed(w, d, &d->known_as, now, above);
}

/* A device that found that it was brought back has other names for what it made since then. */
static void look(struct world *w, struct device *d)
{
	struct actor_id now;
	replica_self(d->replica, &now, NULL);
	if (actor_id_cmp(&now, &d->known_as) == 0)
		return;
	const struct replica *r = d->replica;
	uint32_t n = atomic_load(&r->n_restamped);
	/* Who keeps a part does so when it changes anew what had left (shoal-protocol(7), Parts). */
	if (w->parted) {
		d->known_as = now;
		return;
	}
	if (w->rolled != d)
		world_fail(w, "device %u goes on as a new incarnation for no reason", d->no);
	w->found = true;
	TRACE(w, "device %u finds out that it was brought back", d->no);
	if (n > d->restamped)
		renamed(w, d, &now, r->restamped[n - 1].above);
	d->restamped = n;
	d->known_as = now;
}

void fate_started(struct world *w, struct device *d)
{
	struct actor_id now;
	uint32_t n = atomic_load(&d->replica->n_restamped);
	replica_self(d->replica, &now, NULL);
	/* A crash took the new names back. */
	if (n < d->restamped)
		renamed(w, d, &now, 0);
	d->known_as = now;
	d->restamped = n;
}

void fate_step(struct world *w)
{
	for (unsigned i = 0; i < w->n_devices; i++)
		if (w->device[i].replica)
			look(w, &w->device[i]);
	if (!w->fated || w->settling)
		return;
	struct device *d = &w->device[prng_below(&w->fate, w->n_devices)];
	uint64_t what = prng_below(&w->fate, 600);
	if (what < 8) {
		back_up(w, d);
	} else if (what < 14 && d->backup && !w->rolled) {
		bring_back(w, d, !w->unnoticed || prng_chance(&w->fate, 20));
	} else if (what < 16 && !w->unnoticed && !d->twin && w->n_devices < DEVICES_MAX) {
		copy_beside(w, d);
	} else if (what < 19) {
		jump(w, d);
	}
}
