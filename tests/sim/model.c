/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must not get lost. Every value that a program writes is a number used once. It stays visible
 * (shown, or listed as a conflict) unless a write or removal that had seen it took it away. "Seen"
 * is what the file showed and listed when its writer read it, not what the engine says about it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

struct written {
	struct id node;
	char place[24];
	uint64_t value;
	unsigned device;
	struct actor_id actor;
	uint64_t seq;
	bool lost;
	uint32_t covered; /* by this many changes that are not lost */
};

struct covering { /* one change that took one value away */
	unsigned device;
	struct actor_id actor;
	uint64_t seq;
	uint32_t written;
	bool lost;
};

struct model {
	struct written *written;
	uint32_t n_written, cap_written;
	struct covering *covering;
	uint32_t n_covering, cap_covering;
	uint64_t seq; /* of the commit that is told of; 0: the newest */
};

struct model *model_new(void)
{
	return calloc(1, sizeof(struct model));
}

void model_free(struct model *m)
{
	if (!m)
		return;
	free(m->written);
	free(m->covering);
	free(m);
}

static void *more(struct world *w, void *list, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap)
		return list;
	*cap = *cap ? 2 * *cap : 64;
	void *p = reallocarray(list, *cap, size);
	if (!p)
		world_fail(w, "out of memory");
	return p;
}


static void wrote(struct world *w, struct device *d, const struct id *node, const char *place, uint64_t value)
{
	struct model *m = w->model;
	m->written = more(w, m->written, m->n_written, &m->cap_written, sizeof(*m->written));
	struct written *x = &m->written[m->n_written++];
	*x = (struct written){ .node = *node, .value = value, .device = d->no };
	replica_self(d->replica, &x->actor, &x->seq);
	x->seq = m->seq ? m->seq : x->seq;
	snprintf(x->place, sizeof(x->place), "%s", place);
	char hex[ID_HEX];
	TRACE(w, "  v%llu is at \"%s\" of %.8s (seq %llu)", (unsigned long long)value, place,
	      id_hex(node, hex), (unsigned long long)x->seq);
}

void model_wrote(struct world *w, struct device *d, const struct id *node, const char *place,
		 uint64_t value)
{
	struct model *m = w->model;
	/* A file that went to another collection and came back holds its values as before. */
	for (uint32_t i = 0; i < m->n_written; i++)
		if (m->written[i].value == value && id_equal(&m->written[i].node, node) &&
		    strcmp(m->written[i].place, place) == 0 && !m->written[i].lost)
			return;
	wrote(w, d, node, place, value);
}

static bool below(const char *place, const char *top)
{
	size_t n = strlen(top);
	return strncmp(place, top, n) == 0 && (place[n] == 0 || place[n] == '/');
}

static void cover(struct world *w, struct device *d, const struct id *node, const char *place,
		  const struct numbers *saw, const struct numbers *stays, bool exactly)
{
	struct model *m = w->model;
	struct actor_id actor;
	uint64_t seq;
	replica_self(d->replica, &actor, &seq);
	seq = m->seq ? m->seq : seq;
	for (uint32_t i = 0; i < m->n_written; i++) {
		struct written *x = &m->written[i];
		if (!id_equal(&x->node, node) || !below(x->place, place) ||
		    (exactly && strcmp(x->place, place) != 0) || !numbers_has(saw, x->value) ||
		    (stays && numbers_has(stays, x->value)) ||
		    (x->seq == seq && actor_id_cmp(&x->actor, &actor) == 0))
			continue;
		m->covering =
			more(w, m->covering, m->n_covering, &m->cap_covering, sizeof(*m->covering));
		m->covering[m->n_covering++] = (struct covering){ d->no, actor, seq, i, false };
		x->covered++;
		TRACE(w, "  v%llu is taken away", (unsigned long long)x->value);
	}
}

void model_covered(struct world *w, struct device *d, const struct id *node, const char *place,
		   const struct numbers *saw)
{
	cover(w, d, node, place, saw, NULL, false);
}

void model_entered(struct world *w, struct device *d, const struct id *node, const char *place,
		   const struct numbers *saw)
{
	cover(w, d, node, place, saw, NULL, true);
}

void model_settled(struct world *w, struct device *d, const struct id *node, const char *place,
		   const struct numbers *saw, const struct numbers *shown)
{
	cover(w, d, node, place, saw, shown, false);
}

/* Who took one away that is the same took this one away. */
static void cover_alike(struct world *w, uint32_t at)
{
	struct model *m = w->model;
	for (uint32_t i = 0, all = m->n_covering; i < all; i++) {
		struct covering c = m->covering[i];
		const struct written *x = &m->written[c.written], *y = &m->written[at];
		if (c.lost || x == y || x->value != y->value || !id_equal(&x->node, &y->node) ||
		    strcmp(x->place, y->place) != 0)
			continue;
		m->covering =
			more(w, m->covering, m->n_covering, &m->cap_covering, sizeof(*m->covering));
		c.written = at;
		m->covering[m->n_covering++] = c;
		m->written[at].covered++;
	}
}

unsigned model_inherited(struct world *w, struct device *d, uint64_t gone_seq, uint64_t seq, const struct id *from,
			 const struct id *to,
			 const struct numbers *all, const struct numbers *own, bool as_it_was)
{
	struct model *m = w->model;
	unsigned moved = 0;
	for (uint32_t i = 0, end = m->n_written; i < end; i++) {
		const struct written x = m->written[i];
		struct numbers one = { 0 };
		/* Somebody else may have done the same, but may lose it to a crash. */
		if (x.lost || !id_equal(&x.node, from) || !numbers_has(all, x.value) || (gone_seq == 0 && x.covered))
			continue;
		numbers_add(&one, x.value);
		m->seq = gone_seq ? gone_seq : seq;
		cover(w, d, from, x.place, &one, NULL, true);
		m->seq = seq;
		numbers_clear(&one);
		moved++;
		if (!as_it_was && !numbers_has(own, x.value))
			continue;
		wrote(w, d, to, x.place, x.value);
		if (as_it_was)
			cover_alike(w, m->n_written - 1);
	}
	m->seq = 0;
	return moved;
}

static void lose(struct model *m, struct covering *c)
{
	c->lost = true;
	m->written[c->written].covered--;
}

void model_lost(struct world *w, struct device *d)
{
	struct model *m = w->model;
	struct actor_id self;
	uint64_t seq;
	replica_self(d->replica, &self, &seq);
	for (uint32_t i = 0; i < m->n_written; i++) {
		struct written *x = &m->written[i];
		if (x->device == d->no && i >= d->since_written &&
		    device_lost(d, &self, seq, &x->actor, x->seq))
			x->lost = true;
	}
	for (uint32_t i = 0; i < m->n_covering; i++) {
		struct covering *c = &m->covering[i];
		if (c->device == d->no && i >= d->since_covering && !c->lost &&
		    device_lost(d, &self, seq, &c->actor, c->seq))
			lose(m, c);
	}
}

void model_mark(struct world *w, struct device *d)
{
	d->since_written = w->model->n_written;
	d->since_covering = w->model->n_covering;
}

void model_sift(struct world *w)
{
	struct model *m = w->model;
	for (uint32_t i = 0; i < m->n_written; i++) {
		struct written *x = &m->written[i];
		if (!x->lost && !check_anywhere(w, &x->node, &x->actor, x->seq)) {
			TRACE(w, "  v%llu is gone with it", (unsigned long long)x->value);
			x->lost = true;
		}
	}
	for (uint32_t i = 0; i < m->n_covering; i++) {
		struct covering *c = &m->covering[i];
		if (!c->lost && !check_anywhere(w, &m->written[c->written].node, &c->actor, c->seq))
			lose(m, c);
	}
}

void model_renamed(struct world *w, struct device *d, const struct actor_id *from,
		   const struct actor_id *to, uint64_t above)
{
	struct model *m = w->model;
	for (uint32_t i = d->since_written; i < m->n_written; i++) {
		struct written *x = &m->written[i];
		if (x->device == d->no && x->seq > above && actor_id_cmp(&x->actor, from) == 0)
			x->actor = *to;
	}
	for (uint32_t i = d->since_covering; i < m->n_covering; i++) {
		struct covering *c = &m->covering[i];
		if (c->device == d->no && c->seq > above && actor_id_cmp(&c->actor, from) == 0)
			c->actor = *to;
	}
}

static int tell_conflict(const char *pointer, const struct entry *shown, const struct entry *lost,
			 void *userdata)
{
	const struct value *v = &lost->value;
	(void)shown;
	world_trace(userdata, "  \"%s\" lost kind %d %.*s", pointer, (int)v->kind,
		    v->kind < VALUE_MAP ? (int)v->len : 0, (const char *)v->data);
	return 0;
}

void model_tell(struct world *w, struct device *d, const struct id *node)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (replica_read(d->replica, node, &v) < 0)
		return;
	world_trace(w, "device %u shows form %d %.*s", d->no, (int)version_form(v),
		    version_data(v) ? (int)version_size(v) : 0, (const char *)version_data(v));
	replica_conflicts(d->replica, node, tell_conflict, w);
}

void model_check(struct world *w, struct device *d)
{
	struct model *m = w->model;
	for (uint32_t i = 0; i < m->n_written; i++) {
		const struct written *x = &m->written[i];
		if (x->lost || x->covered)
			continue;
		struct numbers seen = { 0 };
		int r = file_numbers(d, &x->node, &seen, NULL);
		bool there = numbers_has(&seen, x->value);
		numbers_clear(&seen);
		/* Several devices may have put it into several files. */
		there = there || (w->purging && purge_finds(w, d, x->value));
		char hex[ID_HEX];
		if (!there && w->trace)
			model_tell(w, d, &x->node);
		if (!there)
			world_fail(
				w,
				"value %llu, written by device %u (seq %llu) at \"%s\" of %.8s, is lost: "
				"device %u neither shows nor lists it (%s)",
				(unsigned long long)x->value, x->device, (unsigned long long)x->seq,
				x->place, id_hex(&x->node, hex), d->no,
				r < 0 ? strerror(-r) : "the file is there");
	}
}
