/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that evict contents and fetch them again, in worlds of parts. A file's contents may be away wherever
 * somebody else has them; the names and sizes stay, and programs go on saving, moving and deleting such files.
 * What a program would read comes from whoever has it, as if it waited for that. Others do wait for it, at any time, and
 * when all is quiet they get what somebody in reach has. At the end all contents are fetched: so somebody must hold
 * them. */
#include <errno.h>
#include <limits.h>
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
	memset(d->reading, 0, sizeof(d->reading));
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

/* ---- readers ---- */

static void on_read(int code, void *userdata)
{
	struct reading *x = userdata;
	struct device *d = x->device;
	x->busy = false;
	x->code = code;
	if (code == 0 && replica_absence(d->replica, &x->node) != ABSENT_NOT)
		world_fail(d->world, "device %u waited for contents, and they are not there", d->no);
	fine(d->world, d, "wait for contents", code == -EHOSTDOWN ? 0 : code);
}

/* False: nobody has to wait, or nobody may. */
static bool read_begin(struct device *d, struct reading *x, const struct id *node)
{
	uint64_t ticket;
	*x = (struct reading){ .device = d, .node = *node, .busy = true };
	int r = fetch_begin(d->fetches, node, NULL, 0, UINT64_MAX, on_read, x, &ticket);
	if (r != 0)
		*x = (struct reading){ .busy = false, .code = r };
	return r == 0;
}

static uint32_t away(struct device *d, struct id *ret, uint32_t max)
{
	static const enum absence which[] = { ABSENT_EVICTED, ABSENT_RULE, ABSENT_WANTED };
	uint32_t n = 0;
	for (unsigned k = 0; k < 3; k++) {
		uint32_t place = 0;
		n += replica_absents_list(d->replica, which[k], &place, ret + n, max - n);
	}
	return n;
}

static void read_any(struct world *w)
{
	struct device *d = &w->device[prng_below(&w->read, w->n_devices)];
	struct reading *x = &d->reading[prng_below(&w->read, 2)];
	struct id id[64];
	if (!d->replica || x->busy || !prng_chance(&w->read, 10))
		return;
	const uint32_t n = away(d, id, 64);
	if (n > 0)
		read_begin(d, x, &id[prng_below(&w->read, n)]);
}

/* So many links from it; UINT_MAX: none leads there. */
static void distances(struct world *w, const struct device *from, unsigned *ret)
{
	for (unsigned i = 0; i < w->n_devices; i++)
		ret[i] = i == from->no ? 0 : UINT_MAX;
	for (unsigned round = 0; round < w->n_devices; round++)
		for (unsigned i = 0; i < w->n_net; i++) {
			const unsigned a = w->net[i].a, b = w->net[i].b;
			if (ret[a] < UINT_MAX && ret[a] + 1 < ret[b])
				ret[b] = ret[a] + 1;
			if (ret[b] < UINT_MAX && ret[b] + 1 < ret[a])
				ret[a] = ret[b] + 1;
		}
}

/* How far away the nearest one is that has it. */
static unsigned nearest(struct world *w, const unsigned *distance, const struct blob_ref *ref)
{
	unsigned found = UINT_MAX;
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct arena a = { 0 };
		struct sha256 *hash;
		uint32_t n;
		if (blob_missing(w->device[i].store, &a, ref, &hash, &n) == 0 && n == 0 && distance[i] < found)
			found = distance[i];
		arena_done(&a);
	}
	return found;
}

/* Of all that the file refers to; UINT_MAX: somebody who has it cannot be found. */
static unsigned farthest(struct world *w, struct device *d, const struct id *node)
{
	unsigned distance[DEVICES_MAX], most = 0;
	struct arena a = { 0 };
	struct blob_ref *ref;
	uint32_t n;
	distances(w, d, distance);
	if (replica_blobs(d->replica, node, &a, &ref, &n) == 0)
		for (uint32_t i = 0; i < n; i++) {
			const unsigned far = nearest(w, distance, &ref[i]);
			most = far > most ? far : most;
		}
	arena_done(&a);
	return most;
}

static void read_one(struct world *w, struct device *d, const struct id *node)
{
	const unsigned far = farthest(w, d, node);
	const bool reached = far <= FETCH_HOPS + 1;
	struct reading *x = &d->reading[0];
	char hex[ID_HEX];
	TRACE(w, "device %u reads %.8s, over %u links", d->no, id_hex(node, hex), far);
	/* A link may be cut now and then. */
	for (int tries = 0; tries < 5; tries++) {
		const uint64_t sessions = w->sessions, until = w->now + 100000000;
		if (!read_begin(d, x, node) && x->code != -EHOSTDOWN)
			return;
		while (x->busy && w->now < until)
			world_step(w);
		if (x->busy)
			world_fail(w, "device %u waits for %.8s for ever", d->no, id_hex(node, hex));
		w->far += x->code == 0 && far > 1;
		w->vain += x->code < 0;
		if (x->code == 0 && !reached)
			world_fail(w, "device %u reads %.8s, which is %u links away", d->no, id_hex(node, hex), far);
		if (x->code == 0 || !reached)
			return;
		if (w->sessions == sessions && net_whole(w))
			world_fail(w, "device %u does not get %.8s, which is %u links away", d->no, id_hex(node, hex), far);
		for (unsigned i = 0; i < 1000; i++)
			world_step(w);
	}
	world_fail(w, "device %u never gets %.8s", d->no, id_hex(node, hex));
}

void evict_readers(struct world *w)
{
	for (unsigned i = 0; i < w->n_devices; i++) {
		struct device *d = &w->device[i];
		struct id id[64];
		struct attr at;
		const uint32_t n = away(d, id, 64);
		for (uint32_t k = 0; k < n; k++)
			if (prng_chance(&w->read, 60) && replica_attr(d->replica, &id[k], &at) == 0 && at.absent)
				read_one(w, d, &id[k]);
	}
}

void evict_step(struct world *w)
{
	if (!w->parted)
		return;
	struct device *d = &w->device[prng_below(&w->part, w->n_devices)];
	const unsigned event = (unsigned)prng_below(&w->part, 100);
	if (!w->settling)
		read_any(w);
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
