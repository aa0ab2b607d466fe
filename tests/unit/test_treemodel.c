/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edges and placement against the executable model of the tree, which is made elsewhere and stands
 * beside the test data. tests/helpers/treehistories.py lets the model run random histories and
 * writes them with what the model shows; here they are run by engine/edge.c and engine/tree.c.
 *
 * The model knows no visits and nothing that removers saw. Here edges have both, at random, to see
 * that they change no place, that the latest visit stays, and that what was seen is never forgotten. For
 * the latter the edge to TRASH never goes, which is the one rule that the model does not have and that
 * treehistories.py adds to it; histories that it touches are counted.
 *
 *     test_treemodel [SEED [ROUNDS]]     round k of seed s is round 0 of seed s + k */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/edge.h"
#include "engine/tree.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define REPLICAS 5
#define NODES 64
#define LINE 1024

struct replica {
	struct record node[NODES];
	uint32_t n;
};

struct reader {
	FILE *f;
	char line[LINE];
	char *word[16];
	unsigned words;
};

struct world {
	struct arena arena;
	struct actors *actors;
	uint32_t actor[REPLICAS]; /* numbers of the model's actors 0, 1, … */
	struct replica replica[REPLICAS];
	struct prng prng;
	uint64_t seed, histories, kept, views, loose, lost;
};

/* ---- reading ---- */

static bool next_line(struct reader *r)
{
	if (!fgets(r->line, LINE, r->f))
		return false;
	r->words = 0;
	for (char *p = r->line; r->words < 16;) {
		p += strspn(p, " \n");
		if (!*p)
			break;
		r->word[r->words++] = p;
		p += strcspn(p, " \n");
		if (*p)
			*p++ = 0;
	}
	return r->words > 0;
}

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);
	if (end == text || (*end && *end != ',') || v >= max)
		tap_bail("not a number below %u: %s", max, text);
	return (unsigned)v;
}

/* The model's name of a node as an id with the same order. */
static struct id id_of(const char *name, size_t len)
{
	struct id id = { { 0 } };
	if (len == 1 && *name == 'R')
		return NODE_ROOT;
	if (len == 1 && *name == 'T')
		return NODE_TRASH;
	if (len == 2 && !memcmp(name, "LF", 2))
		return NODE_LOST;
	if (len >= ID_SIZE)
		tap_bail("a long name");
	memcpy(id.b, name, len);
	return id;
}

static struct record *node_of(struct world *w, unsigned replica, const struct id *id, bool make)
{
	struct replica *r = &w->replica[replica];
	for (uint32_t i = 0; i < r->n; i++)
		if (id_equal(&r->node[i].id, id))
			return &r->node[i];
	if (!make || r->n == NODES)
		tap_bail("seed %llu: a node that is not there", (unsigned long long)w->seed);
	r->node[r->n] = (struct record){ .id = *id, .kind = NODE_DIR };
	return &r->node[r->n++];
}

/* ---- the same in C ---- */

static const struct edge *edge_to(const struct edge *edge, uint32_t n, const struct id *parent)
{
	for (uint32_t i = 0; i < n; i++)
		if (id_equal(&edge[i].parent, parent))
			return &edge[i];
	return NULL;
}

static bool kept_all(struct world *w, const struct record *rec, const struct record *part)
{
	for (uint32_t i = 0; i < part->n_edges; i++) {
		const struct edge *now = edge_to(rec->edge, rec->n_edges, &part->edge[i].parent);
		if (edge_is_trash(&part->edge[i]) && (!now || !vv_covers(&now->seen, &part->edge[i].seen)))
			return false;
	}
	for (uint32_t i = 0; i < part->n_visits; i++) {
		const struct visit *now = record_visit(rec, &part->visit[i].parent);
		if (now ? visit_rank(w->actors, now, &part->visit[i]) < 0 : rec->n_visits < EDGES_MAX)
			return false;
	}
	return true;
}

static bool join(struct world *w, struct record *rec, const struct record *other)
{
	const struct record before = *rec;
	if (edge_join(&w->arena, w->actors, rec, other->edge, other->n_edges) < 0)
		tap_bail("no memory");
	visit_join(w->actors, rec, other->visit, other->n_visits);
	return kept_all(w, rec, &before) && kept_all(w, rec, other);
}

/* E REPLICA NODE PARENT COUNTER ACTOR NAME */
static bool change(struct world *w, const struct reader *r)
{
	unsigned replica = number(r->word[1], REPLICAS), actor = number(r->word[5], REPLICAS);
	struct id id = id_of(r->word[2], strlen(r->word[2]));
	struct edge e = { .parent = id_of(r->word[3], strlen(r->word[3])),
			  .counter = number(r->word[4], 1000000) };
	e.dot = (struct dot){ w->actor[actor], e.counter };
	e.name_len = strcmp(r->word[6], "-") ? strlen(r->word[6]) : 0;
	e.name = arena_dup(&w->arena, r->word[6], e.name_len);
	if (edge_is_trash(&e)) {
		const struct dot seen = { w->actor[prng_below(&w->prng, REPLICAS)],
					  1 + prng_below(&w->prng, 9) };
		if (vv_arena_raise(&w->arena, &(struct vv){ 0 }, seen, &e.seen) < 0)
			tap_bail("no memory");
	}
	const struct record one = { .edge = { e }, .n_edges = 1, .n_visits = 1,
				    .visit = { { e.parent, prng_below(&w->prng, 40), e.dot } } };
	return join(w, node_of(w, replica, &id, true), &one);
}

static bool merge(struct world *w, const struct reader *r)
{
	unsigned to = number(r->word[1], REPLICAS), from = number(r->word[2], REPLICAS);
	const struct replica *other = &w->replica[from];
	struct id only = { { 0 } };
	bool good = true;
	if (r->words > 3)
		only = id_of(r->word[3], strlen(r->word[3]));
	for (uint32_t i = 0; i < other->n && good; i++) {
		const struct record *rec = &other->node[i];
		if (r->words == 3 || id_equal(&rec->id, &only))
			good = join(w, node_of(w, to, &rec->id, true), rec);
	}
	return good;
}

/* P NODE PARENT LIVE EDGE... */
static bool same_node(struct world *w, const struct reader *r, unsigned replica,
		      const struct tree_node *node, uint32_t n)
{
	struct id id = id_of(r->word[1], strlen(r->word[1]));
	struct id parent = id_of(r->word[2], strlen(r->word[2]));
	const struct record *rec = node_of(w, replica, &id, false);
	uint32_t i = 0;
	while (i < n && !id_equal(&node[i].id, &id))
		i++;
	if (i == n || rec->n_edges != r->words - 4)
		return false;
	for (uint32_t k = 0; k < rec->n_edges; k++) {
		const char *text = r->word[4 + k], *comma = strchr(text, ',');
		if (!comma)
			tap_bail("an edge without a comma");
		struct id want = id_of(text, (size_t)(comma - text));
		if (!id_equal(&rec->edge[k].parent, &want) ||
		    rec->edge[k].counter != number(comma + 1, 1000000))
			return false;
	}
	const struct id *at = node[i].place == TREE_LOST ? &NODE_LOST :
							   &node[i].edge[node[i].place].parent;
	w->loose += node[i].loose;
	w->lost += node[i].place == TREE_LOST;
	return id_equal(at, &parent) && node[i].live == (r->word[3][0] == '1');
}

/* V REPLICA COUNT, and so many nodes. */
static bool view(struct world *w, struct reader *r)
{
	unsigned replica = number(r->word[1], REPLICAS), n = number(r->word[2], NODES + 1);
	const struct replica *from = &w->replica[replica];
	struct tree_node node[NODES];
	bool good = from->n == n;
	for (uint32_t i = 0; i < from->n; i++) {
		const struct record *rec = &from->node[i];
		tree_node_init(&node[i], &rec->id, rec->edge, rec->n_edges, record_alive(rec), false);
	}
	if (tree_resolve(node, from->n, w->actors, NULL, NULL) < 0)
		tap_bail("no memory");
	for (unsigned i = 0; i < n; i++) {
		if (!next_line(r) || r->words < 4 || r->word[0][0] != 'P')
			tap_bail("the histories end early");
		good = good && same_node(w, r, replica, node, from->n);
	}
	w->views++;
	return good;
}

static bool begin(struct world *w, const struct reader *r)
{
	arena_reset(&w->arena);
	for (unsigned i = 0; i < REPLICAS; i++)
		w->replica[i].n = 0;
	w->seed = strtoull(r->word[1], NULL, 10);
	w->prng.state = w->seed;
	w->histories++;
	w->kept += r->word[2][0] == '1';
	return true;
}

/* False at the first difference. */
static bool replay(struct world *w, struct reader *r)
{
	while (next_line(r)) {
		bool good = false;
		switch (r->word[0][0]) {
		case 'H':
			good = r->words == 3 && begin(w, r);
			break;
		case 'E':
			good = r->words == 7 && change(w, r);
			break;
		case 'M':
		case 'J':
			good = r->words >= 3 && merge(w, r);
			break;
		case 'V':
			good = r->words == 3 && view(w, r);
			break;
		default:
			break;
		}
		if (!good)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct world w;
	struct reader r = { 0 };
	tap_plan(4);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 20000);
	_cleanup_free_ char *model = tap_data("../models/tree.py");
	_cleanup_free_ char *script = tap_source("tests/helpers/treehistories.py");
	_cleanup_(buf_done) struct buf command = { 0 };
	if (actors_new(&w.actors) < 0)
		tap_bail("no memory");
	/* Numbers in another order than the identifiers. */
	for (unsigned i = REPLICAS; i-- > 0;) {
		const struct actor_id id = { { { (uint8_t)(40 * (i + 1)) } }, REPLICAS - i };
		if (actors_intern(w.actors, &id, &w.actor[i]) < 0)
			tap_bail("no memory");
	}
	buf_putf(&command, "exec /usr/bin/python3 '%s' '%s' %llu %llu", script, model,
		 (unsigned long long)seed, (unsigned long long)rounds);
	r.f = popen(buf_cstr(&command), "re");
	if (!r.f)
		tap_bail("cannot start %s: %s", script, strerror(errno));
	bool good = replay(&w, &r);
	if (!good)
		tap_diag("seed %llu is not as the model has it", (unsigned long long)w.seed);
	int status = pclose(r.f);
	ok(good, "%llu views of %llu histories are as the model has them", (unsigned long long)w.views,
	   (unsigned long long)w.histories);
	ok(status == 0 && w.histories == rounds, "all histories came");
	/* Fewer histories may not have them. */
	bool few = rounds < 5000;
	ok(few || (w.loose > rounds / 10 && w.lost > rounds / 50),
	   "nodes without a way to the root were among them (%llu, and %llu in lost+found)",
	   (unsigned long long)w.loose, (unsigned long long)w.lost);
	ok(few || w.kept > rounds / 1000, "and an edge to TRASH that was the oldest of many (%llu)",
	   (unsigned long long)w.kept);
	arena_done(&w.arena);
	actors_free(w.actors);
	return tap_done();
}
