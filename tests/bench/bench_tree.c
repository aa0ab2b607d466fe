/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves of directories: as records alone (made, merged, placed), and as a replica on a store in memory
 * does them, with directory entries, attributes and the index of changes. */

#include "engine/edge.h"
#include "engine/tree.h"
#include "tests/bench/figure.h"
#include "tests/replicas.h"

#define NODES 10000
#define MOVES 400000
#define RENAMES 50000

static struct id node_id(uint32_t n)
{
	struct id id = { { 0x80, (uint8_t)(n * 151), (uint8_t)(n >> 8), (uint8_t)n } };
	return id;
}

/* Two devices move directories about; each merges what the other did, edge sets as they come. */
static void bench_records(struct tree_node *node, struct actors *actors)
{
	static struct arena a[2];
	static struct record rec[2][NODES];
	static const char *const names[] = { "one", "two", "three" };
	struct prng p = { 1 };
	uint32_t actor[2];
	double making = 0, merging = 0;
	for (uint32_t i = 0; i < 2; i++) {
		const struct actor_id id = { { { (uint8_t)(7 + i) } }, i };
		if (actors_intern(actors, &id, &actor[i]) < 0)
			tap_bail("no memory");
		for (uint32_t n = 0; n < NODES; n++)
			rec[i][n] = (struct record){ .id = node_id(n), .kind = NODE_DIR };
	}
	for (uint32_t k = 0; k < MOVES; k++) {
		uint32_t who = k & 1, n = (uint32_t)prng_below(&p, NODES);
		struct id parent = node_id((uint32_t)prng_below(&p, NODES));
		const struct stamp st = { { actor[who], k + 1 }, (uint64_t)k << HLC_COUNTER_BITS };
		const struct record *moved;
		double t0 = now();
		if (prng_chance(&p, 30))
			parent = NODE_ROOT;
		if (record_move(&a[who], actors, &rec[who][n], &parent, names[k % 3],
				strlen(names[k % 3]), &st, &moved) < 0)
			tap_bail("record_move");
		double t1 = now();
		rec[who][n] = *moved;
		if (edge_join(&a[!who], actors, &rec[!who][n], moved->edge, moved->n_edges) < 0)
			tap_bail("edge_join");
		visit_join(actors, &rec[!who][n], moved->visit, moved->n_visits);
		making += t1 - t0;
		merging += now() - t1;
	}
	printf("tree: moves made and merged\t%.0f\t1/s\t>=100000\n", MOVES / (making + merging));
	for (uint32_t n = 0; n < NODES; n++)
		tree_node_init(&node[n], &rec[0][n].id, rec[0][n].edge, rec[0][n].n_edges, true,
			       false);
	double since = now();
	if (tree_resolve(node, NODES, actors, NULL, NULL) < 0)
		tap_bail("tree_resolve");
	figure("tree: nodes placed, many of them in cycles", NODES, since, ">=100000");
	arena_done(&a[0]);
	arena_done(&a[1]);
}

/* Directories that move among others of their collection. */
static void bench_replica(void)
{
	enum { PLACES = 100, DIRS = 1000 };
	static struct id place[PLACES], id[DIRS];
	struct rep p;
	struct attr at;
	struct prng random = { 2 };
	char name[32];
	int rc = 0;
	rep_open(&p, NULL, 0, 1);
	rep_mkdir(p.r, &NODE_ROOT, "top", &at);
	const struct id top = at.id;
	for (unsigned i = 0; rc == 0 && i < PLACES + DIRS; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		rc = rep_mkdir(p.r, i < PLACES ? &top : &place[i % PLACES], name, &at);
		*(i < PLACES ? &place[i] : &id[i - PLACES]) = at.id;
	}
	double since = now();
	for (unsigned i = 0; rc == 0 && i < RENAMES; i++) {
		unsigned n = (unsigned)prng_below(&random, DIRS);
		snprintf(name, sizeof(name), "d%u", n + PLACES);
		rc = rep_rename(p.r, &id[n], &place[prng_below(&random, PLACES)], name, 0);
	}
	if (rc < 0)
		tap_bail("a move: %s", strerror(-rc));
	figure("tree: directories moved by a replica in memory", RENAMES, since, "");
	rep_close(&p);
}

int main(void)
{
	static struct tree_node node[NODES];
	struct actors *actors;
	if (actors_new(&actors) < 0)
		tap_bail("no memory");
	bench_records(node, actors);
	bench_replica();
	actors_free(actors);
	return 0;
}
