/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that evict contents and fetch them again, in worlds of parts. A file's contents may be away wherever
 * somebody else has them; the names and sizes stay, and programs go on saving, moving and deleting such files.
 * What a program would read comes from whoever has it, as if it waited for that. At the end all contents are
 * fetched: so somebody must hold them. */
#include <errno.h>
#include <string.h>

#include "engine/absent.h"
#include "engine/blob.h"
#include "engine/fetch.h"
#include "engine/frame.h"
#include "tests/sim/world.h"

void evict_started(struct world *w, struct device *d)
{
	if (!w->parted)
		return;
	if (fetches_new(d->replica, NULL, NULL, &d->fetches) < 0)
		world_fail(w, "out of memory");
	/* To every third one larger contents do not come by themselves. */
	replica_set_eager(d->replica, d->no % 3 == 1 && !w->whole ? 300 : 0);
}

void evict_down(struct device *d)
{
	d->leaving = false;
	arena_done(&d->left_arena);
	fetches_free(d->fetches);
	d->fetches = NULL;
}

ssize_t evict_read(struct device *d, const struct blob_ref *ref, void *data, size_t len)
{
	struct world *w = d->world;
	ssize_t n = -EHOSTDOWN;
	for (unsigned i = 0; n < 0 && i <= w->n_devices; i++) {
		struct store *store = i == 0 ? d->store : w->device[i - 1].store;
		struct blob *blob;
		if (blob_open(store, ref, &blob) < 0)
			continue;
		n = blob_pread(blob, data, len, 0);
		blob_free(blob);
		if (!w->parted)
			break;
	}
	return n;
}

static void fine(struct world *w, struct device *d, const char *what, int r)
{
	if (r == -EIO || r == -ENOSPC)
		store_fail(d->store, 0, 0);
	else if (r < 0)
		world_fail(w, "device %u: %s: %s", d->no, what, strerror(-r));
}

/* ---- leaving ---- */

/* Answers count that were asked for this eviction. */
static void answers(struct world *w, struct device *d)
{
	uint64_t number, bits;
	for (struct conn *c = w->conns; c; c = c->next)
		for (int i = 0; i < 2; i++) {
			struct end *end = &c->end[i];
			while (end->device == d && end->session && session_take_held(end->session, &number, &bits))
				d->left_held |= d->leaving && end->asked[number % FRAME_HOLDS_MAX] == d->left_no &&
						bits == (UINT64_C(1) << d->n_left) - 1;
		}
}

struct candidates {
	struct id id[64];
	unsigned n;
};

static void add_candidate(const struct attr *at, uint64_t read_us, void *userdata)
{
	struct candidates *x = userdata;
	(void)read_us;
	if (x->n < 64)
		x->id[x->n++] = at->id;
}

static void begin(struct world *w, struct device *d)
{
	struct holding h[FRAME_HOLDS_MAX];
	struct candidates x = { .n = 0 };
	struct id place = { { 0 } };
	char hex[ID_HEX];
	if (d->leaving || replica_walk_blobs(d->replica, &place, 1000, add_candidate, &x) < 0 || x.n == 0)
		return;
	d->left = x.id[prng_below(&w->part, x.n)];
	if (replica_leave(d->replica, &d->left, &d->left_arena, &d->left_ref, &d->n_left) < 0)
		return;
	if (d->n_left >= FRAME_HOLDS_MAX) {
		replica_stay(d->replica, &d->left);
		return;
	}
	TRACE(w, "device %u asks whether it may evict %.8s", d->no, id_hex(&d->left, hex));
	d->leaving = true;
	d->left_held = false;
	d->left_no++;
	for (uint32_t i = 0; i < d->n_left; i++)
		h[i] = (struct holding){ d->left, d->left_ref[i] };
	for (struct conn *c = w->conns; c; c = c->next)
		for (int i = 0; i < 2; i++) {
			struct end *end = &c->end[i];
			uint64_t number;
			if (end->device == d && end->session &&
			    session_ask_holds(end->session, h, d->n_left, &number) == 0)
				end->asked[number % FRAME_HOLDS_MAX] = d->left_no;
		}
}

static void end(struct world *w, struct device *d)
{
	char hex[ID_HEX];
	struct err e = { 0 };
	if (!d->leaving)
		return;
	d->leaving = false;
	if (d->left_held) {
		int r = replica_left(d->replica, &d->left, d->left_ref, d->n_left, &e);
		TRACE(w, "device %u evicts %.8s: %s", d->no, id_hex(&d->left, hex), r < 0 ? e.message : "done");
		w->evicted += r == 0;
		fine(w, d, "evict", r == -EAGAIN || r == -ENOENT ? 0 : r);
	} else {
		replica_stay(d->replica, &d->left);
	}
	arena_reset(&d->left_arena);
}

/* ---- coming back ---- */

/* Some of those that are away are wanted, or all. */
static void want(struct world *w, struct device *d, unsigned percent)
{
	static const enum absence which[] = { ABSENT_EVICTED, ABSENT_RULE };
	for (unsigned k = 0; k < 2; k++) {
		struct id id[64];
		uint32_t place = 0, n = replica_absents_list(d->replica, which[k], &place, id, 64);
		for (uint32_t i = 0; i < n; i++)
			if (prng_chance(&w->part, percent))
				fine(w, d, "want", replica_want(d->replica, &id[i], NULL));
	}
	fetch_background(d->fetches);
}

static void sweep(struct world *w, struct device *d)
{
	struct sweep_report report;
	fine(w, d, "sweep", replica_sweep(d->replica, &report, NULL));
}

void evict_step(struct world *w)
{
	if (!w->parted)
		return;
	struct device *d = &w->device[prng_below(&w->part, w->n_devices)];
	const unsigned event = (unsigned)prng_below(&w->part, 100);
	if (!d->replica)
		return;
	answers(w, d);
	if (w->whole && !w->quiet) {
		replica_set_eager(d->replica, 0);
		want(w, d, 100);
	} else if (w->quiet) {
		return;
	} else if (event < 12 && !w->settling) {
		begin(w, d);
	} else if (event < 20 || w->settling) {
		end(w, d);
	} else if (event < 26) {
		sweep(w, d);
	} else if (event < 29) {
		want(w, d, 40);
	}
}

static void look(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct attr at;
	(void)w;
	const bool absent = r->kind == NODE_FILE && replica_attr(d->replica, &r->id, &at) == 0 && at.absent;
	char hex[ID_HEX];
	if (absent && w->trace)
		TRACE(w, "device %u lacks contents of %.8s", d->no, id_hex(&r->id, hex));
	*(bool *)userdata |= absent;
}

/* Of those that are deleted nobody needs the contents, but they may be on their way. */
bool evict_lacks(struct world *w, struct device *d)
{
	bool lacks = w->parted && fetch_files(d->fetches) > 0;
	if (w->parted && replica_absents(d->replica) > 0)
		check_records(w, d, look, &lacks);
	return lacks;
}
