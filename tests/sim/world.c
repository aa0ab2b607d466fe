/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/typed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/storeops.h"

#define YEAR_US (365ull * 86400 * 1000000)
#define SETTLE_US (120ull * 1000000)
#define QUIET_US (2ull * 1000000)
#define MESH_PACE 20

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->failure, sizeof(w->failure), fmt, ap);
	va_end(ap);
	TRACE(w, "FAILED: %s", w->failure);
	longjmp(w->failed, 1);
}

void world_trace(struct world *w, const char *fmt, ...)
{
	va_list ap;
	printf("# %9.3f ms  ", (double)w->now / 1000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* ---- a disk that lies, for FAULT_LYING_DISK: a memory store whose flushes do nothing ---- */

static int lying_flush(struct store *s, struct err *e)
{
	(void)s;
	(void)e;
	return 0;
}

static struct store_ops lying_ops;

static void make_lying(struct store *s)
{
	lying_ops = *s->ops;
	lying_ops.flush = lying_flush;
	s->ops = &lying_ops;
}

/* ---- devices ---- */

struct clock_of {
	struct world *w;
	struct device *d;
};

static struct clock_of clocks[DEVICES_MAX];

static uint64_t wall_us(void *userdata)
{
	struct clock_of *c = userdata;
	int64_t t = (int64_t)c->w->now;
	return (uint64_t)((int64_t)c->w->epoch + t + c->d->clock_off + t * c->d->drift / 1000);
}

static void random_bytes(void *userdata, void *data, size_t len)
{
	struct clock_of *c = userdata;
	/* Tags of batches have a source of their own: the ids of directories stay what they were. */
	prng_fill(len == sizeof(uint64_t) ? &c->d->tags : &c->d->random, data, len);
}

void pin_clear(struct pin *p)
{
	if (p->version)
		version_unref(p->version);
	p->version = NULL;
	numbers_clear(&p->saw);
}

bool device_lost(const struct device *d, const struct actor_id *self, uint64_t newest,
		 const struct actor_id *actor, uint64_t seq)
{
	if (actor_id_cmp(actor, self) == 0)
		return seq > newest;
	return actors_find(replica_actors(d->replica), actor) == ACTOR_NONE;
}

void device_start(struct world *w, struct device *d)
{
	struct err e = { 0 };
	d->world = w;
	clocks[d->no] = (struct clock_of){ w, d };
	struct replica_config config = { .store = d->store,
					 .device = d->id,
					 .wall_us = wall_us,
					 .random = random_bytes,
					 .userdata = &clocks[d->no],
					 /* To every other one each document is large. */
					 .large_min = d->no % 2 };
	memcpy(config.fence, d->fence, sizeof(config.fence));
	int r = replica_open(&config, &d->replica, &e);
	if (r < 0)
		world_fail(w, "device %u does not open: %s (%s)", d->no, e.message, strerror(-r));
	struct actor_id actor;
	uint64_t seq;
	replica_self(d->replica, &actor, &seq);
	TRACE(w, "device %u starts, incarnation %u, seq %llu", d->no, actor.incarnation,
	      (unsigned long long)seq);
	/* With a disk that lies the other oracles have to notice. */
	if (w->fault != FAULT_LYING_DISK && actor_id_cmp(&actor, &d->actor) == 0 &&
	    seq < d->flushed)
		world_fail(w, "device %u had flushed seq %llu and comes back with %llu", d->no,
			   (unsigned long long)d->flushed, (unsigned long long)seq);
	if (!id_is_zero(&d->actor.device) && actor_id_cmp(&actor, &d->actor) != 0 && w->rolled != d &&
	    !w->parted)
		world_fail(w, "device %u comes back as another actor", d->no);
	fate_started(w, d);
	model_lost(w, d);
	batch_lost(w, d);
	batch_check(w, d);
	typed_lost(w, d, seq);
	typed_check(w, d);
	d->actor = actor;
	d->flushed = seq;
	evict_started(w, d);
	check_held(w, d);
}

void device_crash(struct world *w, struct device *d)
{
	check_holds(w, d);
	for (int i = 0; i < PINS; i++)
		pin_clear(&d->pin[i]);
	typed_down(w, d);
	net_drop_device(w, d);
	evict_down(d);
	/* Nothing more gets to the disk. */
	store_fail(d->store, 1, -EIO);
	replica_free(d->replica);
	d->replica = NULL;
	uint64_t lost = store_crash(d->store, prng_chance(&w->r, 50) ? 0 : prng_below(&w->r, 8));
	store_fail(d->store, 0, 0);
	d->up_at = w->now + w->pace * prng_below(&w->r, 300000);
	w->crashes++;
	TRACE(w, "device %u crashes, %llu batches lost", d->no, (unsigned long long)lost);
}

/* The highest of its own numbers that a device may have told anybody. */
static uint64_t told(struct device *d, const struct actor_id *actor)
{
	uint32_t no = actors_find(replica_actors(d->replica), actor);
	struct view *view = replica_view(d->replica);
	uint64_t seq = 0;
	for (uint32_t i = 0; no != ACTOR_NONE && i < view_scopes(view); i++) {
		struct id scope;
		const struct vv *have;
		view_scope(view, i, &scope, &have);
		if (vv_get(have, no) > seq)
			seq = vv_get(have, no);
	}
	view_unref(view);
	return seq;
}

void device_flush(struct world *w, struct device *d)
{
	struct actor_id actor;
	uint64_t seq;
	struct err e = { 0 };
	replica_self(d->replica, &actor, &seq);
	int r = replica_flush(d->replica, &e);
	if (r < 0) {
		if (r != -EIO && r != -ENOSPC)
			world_fail(w, "device %u: flush: %s", d->no, e.message);
		TRACE(w, "device %u cannot flush: %s", d->no, e.message);
		store_fail(d->store, 0, 0);
		return;
	}
	d->actor = actor;
	d->flushed = told(d, &actor);
	net_news(w, d);
}

static void flush_step(struct world *w)
{
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		if (!d->replica || w->now < d->next_flush || !replica_dirty(d->replica))
			continue;
		d->next_flush = w->now + prng_below(&w->r, 2 * d->flush_every + 1);
		device_flush(w, d);
	}
}

static void crash_step(struct world *w)
{
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		if (!d->replica) {
			if (w->now >= d->up_at || w->settling)
				device_start(w, d);
		} else if (!w->settling && prng_below(&w->r, w->meshed ? 2000 : 250) == 0) {
			device_crash(w, d);
		} else if (!w->settling && prng_below(&w->r, w->meshed ? 2000 : 200) == 0) {
			TRACE(w, "device %u: a write will fail", i);
			store_fail(d->store, 1 + prng_below(&w->r, 6),
				   prng_chance(&w->r, 50) ? -EIO : -ENOSPC);
		}
	}
}

static void world_make(struct world *w)
{
	w->r = (struct prng){ w->seed };
	w->epoch = 50 * YEAR_US;
	w->model = model_new();
	w->batches = batches_new();
	w->typed = typed_new();
	w->pace = w->meshed ? MESH_PACE : 1;
	w->n_devices = prng_chance(&w->r, 50) ? 2 : 2 + (unsigned)prng_below(&w->r, 5);
	if (w->meshed)
		w->n_devices = 3 + w->n_devices % 3;
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		d->no = i;
		d->random = (struct prng){ prng_u64(&w->r) };
		d->tags = (struct prng){ d->random.state ^ 1 };
		prng_fill(&d->random, &d->id, sizeof(d->id));
		if (prng_chance(&w->r, 40)) {
			d->clock_off =
				(int64_t)prng_below(&w->r, 20 * YEAR_US) - (int64_t)(10 * YEAR_US);
			w->wild_clocks = true;
		}
		d->drift = (int64_t)prng_below(&w->r, 200) - 100;
		d->flush_every = 1 + prng_below(&w->r, 60000);
		if (store_open_memory(&d->store) < 0)
			world_fail(w, "out of memory");
		if (w->fault == FAULT_LYING_DISK && i == 0)
			make_lying(d->store);
		device_start(w, d);
	}
	net_topology(w);
	fate_make(w);
	purge_make(w);
	keep_make(w);
	part_make(w);
}

void world_step(struct world *w)
{
	/* There is more to wait for where links are slow. */
	w->now += w->pace * (1 + prng_below(&w->r, w->slow && !w->meshed ? 20000 : 4000));
	if (!w->settling)
		work_step(w);
	fate_step(w);
	keep_step(w);
	evict_step(w);
	purge_step(w);
	crash_step(w);
	flush_step(w);
	purge_mark(w);
	net_step(w);
	purge_follow(w);
}

/* What must hold after each step. */
static void device_check(struct world *w, struct device *d)
{
	if (!w->parted && (w->seed % 5 == 0 || w->seed % 7 == 0))
		batch_check(w, d);
	if (!w->parted && w->seed % 7 == 0)
		typed_check(w, d);
}

static bool settled(struct world *w)
{
	for (unsigned i = 0; i < w->n_devices; i++)
		if (!w->device[i].replica || replica_dirty(w->device[i].replica) ||
		    evict_lacks(w, &w->device[i]))
			return false;
	return net_in_step(w);
}

/* Until nothing has been said for a while. */
static void fall_silent(struct world *w)
{
	uint64_t said = w->said, since = w->now, until = w->now + SETTLE_US;
	while (w->now < since + QUIET_US) {
		bool dirty = false;
		world_step(w);
		for (unsigned i = 0; i < w->n_devices; i++)
			dirty |= !w->device[i].replica || replica_dirty(w->device[i].replica);
		if (dirty || w->said != said || !net_whole(w)) {
			said = w->said;
			since = w->now;
		}
		if (w->now > until)
			world_fail(w, "no end of it after %llu seconds in which nobody writes", SETTLE_US / 1000000);
	}
}

void world_run(struct world *w)
{
	if (setjmp(w->failed))
		return;
	world_make(w);
	uint64_t steps = 60 + prng_below(&w->r, 240);
	for (uint64_t i = 0; i < steps; i++) {
		world_step(w);
		if (prng_below(&w->r, w->meshed ? 2 : 20) == 0)
			check_pair(w);
		for (unsigned k = 0; k < w->n_devices; k++)
			if (w->device[k].replica)
				device_check(w, &w->device[k]);
	}
	w->settling = true;
	for (unsigned i = 0; i < w->n_devices; i++) {
		store_fail(w->device[i].store, 0, 0);
		w->device[i].flush_every = 2000;
		if (!w->device[i].replica)
			device_start(w, &w->device[i]);
		device_flush(w, &w->device[i]);
	}
	if (w->parted) {
		fall_silent(w);
		TRACE(w, "what was kept is compared");
		part_check(w);
		TRACE(w, "what is away is read");
		evict_readers(w);
	}
	w->whole = true;
	for (unsigned i = 0; i < w->n_devices; i++)
		keep_everything(w, &w->device[i]);
	TRACE(w, "everything is up and nobody writes any more");
	/* New names, what is passed on for others and what takes the place of purged files come while they settle. */
	bool renamed = w->brought_back || w->rolled || w->keeping || w->purging;
	for (unsigned i = 0; i < w->n_devices; i++)
		renamed |= w->device[i].twin;
	if (!renamed)
		check_join(w);
	uint64_t until = w->now + SETTLE_US;
	while (!settled(w)) {
		world_step(w);
		if (w->now > until)
			world_fail(w, "no agreement after %llu seconds of quiet",
				   SETTLE_US / 1000000);
	}
	if (w->parted)
		fall_silent(w);
	if (renamed)
		check_join(w);
	check_end(w);
	for (unsigned i = 0; i < w->n_devices; i++) {
		model_check(w, &w->device[i]);
		typed_check_all(w, &w->device[i]);
	}
	net_quiet_begin(w);
	w->quiet = true;
	until = w->now + 45000000;
	while (w->now < until) {
		w->now += 400000;
		world_step(w);
	}
	check_end(w);
}

void world_free(struct world *w)
{
	net_free(w);
	typed_free(w->typed);
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		for (int k = 0; k < PINS; k++)
			pin_clear(&d->pin[k]);
		evict_down(d);
		replica_free(d->replica);
		spread_free(d->spread);
		store_close(d->store);
		if (d->backup)
			store_close(d->backup);
	}
	model_free(w->model);
	batches_free(w->batches);
	check_join_free();
}
