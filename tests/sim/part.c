/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that keep parts of collections, by filters which they change, in worlds of parts (--parts). When all is
 * quiet, who keeps a part and is linked to somebody who keeps all has what the filter picks there, as it is there,
 * and nothing else of that collection; so who stopped matching left, and what began to match came whole. That
 * nothing is lost by it the model says, when everybody keeps everything again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/filter.h"
#include "engine/replica-impl.h"
#include "tests/sim/world.h"

/* Of what doc.h describes. "1" picks files that are no documents as well. */
static const char *const wheres[] = { "k0 IS NOT NULL", "k1 IS NULL", "k2 < k3",
				      "body ->> '$.o.s0' > 'v3' OR k4 IS NOT NULL", "k0 = 'none'", "1" };
#define WHERES (sizeof(wheres) / sizeof(*wheres))

void part_make(struct world *w)
{
	w->part = (struct prng){ w->seed ^ UINT64_C(0x706172740a) };
	w->read = (struct prng){ w->seed ^ UINT64_C(0x726561640a) };
}

const char *part_choose(struct world *w)
{
	return w->parted && prng_chance(&w->part, 60) ? wheres[prng_below(&w->part, WHERES)] : NULL;
}

struct comparison {
	struct device *all, *part;
	struct id scope;
	const char *where;
	struct filter *filter;
	unsigned matching;
};

static bool is_picked(struct world *w, struct comparison *c, const struct record *r)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct filter_file x = { .id = r->id, .path = "" };
	struct attr at;
	bool match = false;
	if (replica_attr(c->all->replica, &r->id, &at) < 0)
		return false;
	/* A hard link is a node of its own, which comes along as directories do. */
	if (at.kind == NODE_DIR || r->kind != NODE_FILE)
		return filter_match(c->filter, &x, &match) == 0 && match;
	if (at.form == FORM_JSON) {
		if (replica_read(c->all->replica, &r->id, &v) < 0 || !version_data(v))
			world_fail(w, "device %u cannot read a document", c->all->no);
		x.text = version_data(v);
		x.len = (size_t)version_size(v);
	} else if (filter_uses_content(c->filter)) {
		return false;
	}
	if (filter_match(c->filter, &x, &match) < 0)
		world_fail(w, "out of memory");
	return match;
}

/* But for the numbers in its context: others who keep all add to those (shoal-protocol(7), Parts). */
static void state_of(struct device *d, const struct record *r, struct id *ret)
{
	struct record x = *r;
	x.ctx = (struct vv){ 0 };
	record_fingerprint(&x, replica_actors(d->replica), ret);
}

/* Another neighbour of the part keeps all of it and has something newer there. Two such with nobody but a part between
 * them hear of it when they meet. */
static bool is_known_better(struct world *w, struct comparison *c, const struct record *r)
{
	bool better = false;
	for (unsigned i = 0; !better && i < w->n_net; i++) {
		struct edge_of_net *n = &w->net[i];
		if (n->a != c->part->no && n->b != c->part->no)
			continue;
		struct comparison there = *c;
		struct arena a = { 0 };
		const struct record *x;
		there.all = &w->device[n->a == c->part->no ? n->b : n->a];
		struct interests *keeps = replica_interests(there.all->replica);
		better = there.all != c->all && interest_is_whole(interests_level(keeps, &c->scope)) &&
			 check_record(there.all, &a, &r->id, &x) == 0 && !is_picked(w, &there, x);
		interests_unref(keeps);
		arena_done(&a);
	}
	return better;
}

/* What who keeps all has. */
static void look_all(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct comparison *c = userdata;
	struct arena a = { 0 };
	const struct record *x;
	struct attr at;
	char hex[ID_HEX];
	(void)d;
	if (!id_equal(&r->scope, &c->scope) || r->kind != NODE_FILE || !is_picked(w, c, r))
		return;
	c->matching++;
	if (check_record(c->part, &a, &r->id, &x) < 0 || replica_attr(c->part->replica, &r->id, &at) < 0) {
		arena_done(&a);
		if (is_known_better(w, c, r))
			return;
		world_fail(w, "device %u keeps \"%s\" and has not %.8s of device %u", c->part->no, c->where,
			   id_hex(&r->id, hex), c->all->no);
	}
	struct id there, here;
	state_of(c->all, r, &there);
	state_of(c->part, x, &here);
	arena_done(&a);
	if (!id_equal(&there, &here))
		world_fail(w, "device %u keeps \"%s\" and has %.8s otherwise than device %u", c->part->no, c->where,
			   id_hex(&r->id, hex), c->all->no);
}

/* What who keeps a part has. */
static void look_part(struct world *w, struct device *d, const struct record *r, void *userdata)
{
	struct comparison *c = userdata;
	struct arena a = { 0 };
	const struct record *x;
	struct attr at;
	char hex[ID_HEX];
	if (!id_equal(&r->scope, &c->scope) || r->kind != NODE_FILE || replica_attr(d->replica, &r->id, &at) < 0)
		return;
	bool there = check_record(c->all, &a, &r->id, &x) == 0;
	bool picked = there && is_picked(w, c, x);
	/* Who keeps the part may have the last of its contents. */
	picked |= replica_attr(c->all->replica, &r->id, &at) == 0 && at.absent;
	arena_done(&a);
	if (!there)
		world_fail(w, "device %u keeps \"%s\" and has %.8s, which device %u has not", d->no, c->where,
			   id_hex(&r->id, hex), c->all->no);
	if (!picked)
		world_fail(w, "device %u keeps \"%s\", and %.8s stays there, which does not match", d->no, c->where,
			   id_hex(&r->id, hex));
}

static void compare(struct world *w, struct device *all, struct device *part)
{
	struct interests *x = replica_interests(part->replica), *y = replica_interests(all->replica);
	for (uint32_t i = 0; i < x->n; i++) {
		const struct interest *it = &x->item[i];
		struct comparison c = { all, part, it->scope, it->where, NULL, 0 };
		if (it->level != INTEREST_FILTERED || !interest_is_whole(interests_level(y, &it->scope)) ||
		    !interest_is_shown(interests_level(y, &it->scope)))
			continue;
		if (filter_new(it->where, it->where_len, &c.filter, NULL) < 0)
			world_fail(w, "the filter \"%s\" is none", it->where);
		check_records(w, all, look_all, &c);
		check_records(w, part, look_part, &c);
		filter_free(c.filter);
		w->picked += c.matching;
	}
	interests_unref(x);
	interests_unref(y);
}

void part_check(struct world *w)
{
	for (unsigned i = 0; i < w->n_net; i++) {
		struct device *a = &w->device[w->net[i].a], *b = &w->device[w->net[i].b];
		compare(w, a, b);
		compare(w, b, a);
	}
}
