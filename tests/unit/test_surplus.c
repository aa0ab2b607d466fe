/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A link that is one too many and over which a session catches up: it is not let go before that is over. */
#include <stdio.h>

#include "tests/pair.h"
#include "tests/tap.h"
#include "transports/neighbours.h"

#define SECOND 1000000ull
#define DEVICES 20u
#define FILES 2000u

/* The neighbours of one end. All but the link that is one too many are busy for ever, so that it is that or none. */
struct end {
	struct neighbours *n;
	struct id id[DEVICES];
	struct id extra;
	const struct session *session;
	uint64_t now;
};

static bool is_busy(const struct id *device, void *userdata)
{
	const struct end *x = userdata;
	return !id_equal(device, &x->extra) || session_is_busy(x->session);
}

static void end_open(struct end *x, const struct node *self, const struct session *session)
{
	struct prng r = { 7 };
	*x = (struct end){ .session = session, .now = 3600 * SECOND };
	prng_fill(&r, x->id, sizeof(x->id));
	if (neighbours_new(&self->id, NULL, 0, NEIGHBOURS_LIMIT, &x->n) < 0)
		tap_bail("no memory");
	for (unsigned i = 0; i < DEVICES; i++)
		neighbours_seen(x->n, &x->id[i], x->now);
	neighbours_choose(x->n, x->now);
	unsigned light = 0;
	for (unsigned i = 0; i < DEVICES; i++)
		if (neighbours_want(x->n, &x->id[i]))
			neighbours_linked(x->n, &x->id[i], NEIGHBOUR_CHOSEN, x->now);
		else
			light = i;
	x->extra = x->id[light];
	neighbours_linked(x->n, &x->extra, NEIGHBOUR_CHOSEN, x->now);
}

/* It would let the link go, which has long been one too many. */
static bool lets_go(struct end *x)
{
	struct id id;
	x->now += 10 * SECOND;
	for (unsigned i = 0; i < DEVICES; i++)
		neighbours_seen(x->n, &x->id[i], x->now);
	neighbours_choose(x->n, x->now);
	return neighbours_surplus(x->n, x->now, is_busy, x, &id) && id_equal(&id, &x->extra);
}

static void write_files(struct node *n, unsigned from, unsigned count)
{
	char name[24], text[40];
	for (unsigned i = from; i < from + count; i++) {
		snprintf(name, sizeof(name), "f%u.json", i);
		snprintf(text, sizeof(text), "{\"n\": %u}\n", i);
		node_write(n, "c", name, text, strlen(text));
	}
	node_flush(n, NULL);
}

static bool has_file(struct node *n, unsigned i)
{
	char name[24];
	snprintf(name, sizeof(name), "f%u.json", i);
	_cleanup_free_ char *text = node_read(n, "c", name);
	return text != NULL;
}

struct meeting {
	struct node a, b;
	struct pair p;
	struct end end[2];
};

/* One turn of both, with what it makes durable. */
static bool turn(struct meeting *m)
{
	bool moved = pair_turn(&m->p, 4096);
	for (int i = 0; i < 2; i++) {
		moved |= replica_dirty(m->p.node[i]->replica);
		node_flush(m->p.node[i], m->p.session[i]);
	}
	if (m->p.failed)
		tap_bail("%s", m->p.e.message);
	return moved;
}

static bool in_step(const struct meeting *m)
{
	return session_in_step(m->p.session[0]) && session_in_step(m->p.session[1]);
}

/* Goes on until both are in step; how often one of the two would have let go while b had not all files. */
static unsigned catch_up(struct meeting *m, unsigned files, unsigned *ret_turns)
{
	unsigned bad = 0, turns = 0;
	while (turn(m) || !in_step(m)) {
		if (++turns > 200000)
			tap_bail("it does not end");
		if (!has_file(&m->b, files - 1))
			bad += lets_go(&m->end[0]) || lets_go(&m->end[1]);
		if (in_step(m) && has_file(&m->b, files - 1))
			break;
	}
	*ret_turns = turns;
	return bad;
}

int main(void)
{
	static struct meeting m;
	unsigned turns;
	tap_plan(9);
	node_open(&m.a, 1, NULL);
	node_open(&m.b, 2, NULL);
	write_files(&m.a, 0, FILES);
	pair_open(&m.p, &m.a, &m.b);
	end_open(&m.end[0], &m.a, m.p.session[0]);
	end_open(&m.end[1], &m.b, m.p.session[1]);
	ok(!lets_go(&m.end[0]) && !lets_go(&m.end[1]), "a session that begins is not let go");
	unsigned bad = catch_up(&m, FILES, &turns);
	ok(turns >= 20, "the first meeting takes its time (%u turns)", turns);
	is_uint(bad, 0, "and neither end lets it go before %u files are there", FILES);
	while (turn(&m))
		;
	ok(lets_go(&m.end[0]), "then the one that had them would");
	ok(lets_go(&m.end[1]), "and the other one");

	/* A file now and then. */
	write_files(&m.a, FILES, 1);
	session_news(m.p.session[0]);
	ok(lets_go(&m.end[0]), "one file that changes keeps no link");
	catch_up(&m, FILES + 1, &turns);

	/* Many at once. */
	write_files(&m.a, FILES + 1, 500);
	session_news(m.p.session[0]);
	turn(&m);
	ok(!lets_go(&m.end[0]), "500 do");
	catch_up(&m, FILES + 501, &turns);
	while (turn(&m))
		;
	ok(lets_go(&m.end[0]), "until they are there");

	/* One that has too many links by far does not end it either. */
	pair_close(&m.p);
	pair_open(&m.p, &m.b, &m.a);
	m.end[1].session = m.p.session[0];
	for (unsigned i = 0; i < DEVICES; i++)
		neighbours_linked(m.end[1].n, &m.end[1].id[i], NEIGHBOUR_CHOSEN, m.end[1].now);
	ok(!lets_go(&m.end[1]), "nor is one let go that begins when there are twenty");
	pair_close(&m.p);
	neighbours_free(m.end[0].n);
	neighbours_free(m.end[1].n);
	node_close(&m.a);
	node_close(&m.b);
	return tap_done();
}
