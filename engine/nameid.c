/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/nameid.h"

#include <string.h>

#include "engine/edge.h"
#include "engine/sha256.h"

bool name_is_document(const char *name, size_t len)
{
	return len > 5 && !memcmp(name + len - 5, ".json", 5);
}

void name_id(const char *type, const struct id *parent, const char *name, size_t len, uint32_t generation,
	     struct id *ret)
{
	const uint8_t g[4] = { (uint8_t)(generation >> 24), (uint8_t)(generation >> 16),
			       (uint8_t)(generation >> 8), (uint8_t)generation };
	const struct sha256_part part[] = { { type, strlen(type) }, { parent->b, ID_SIZE }, { name, len },
					    { g, sizeof(g) } };
	sha256_id(part, 4, ret);
}

bool record_named(const struct record *r, uint32_t generation, struct id *ret)
{
	uint32_t i = 0;
	while (i < r->n_edges && edge_is_trash(&r->edge[i]))
		i++;
	const struct edge *e = &r->edge[i];
	if (i == r->n_edges || r->kind == NODE_LINK ||
	    (r->kind == NODE_FILE && !name_is_document(e->name, e->name_len)))
		return false;
	name_id(r->kind == NODE_DIR ? "dir" : "json", &e->parent, e->name, e->name_len, generation, ret);
	return true;
}

uint32_t record_generation(const struct record *r)
{
	struct id id;
	for (uint32_t g = 0; g < NAMED_GENERATIONS && record_named(r, g, &id); g++)
		if (id_equal(&id, &r->id))
			return g;
	return NAMED_GENERATIONS;
}
