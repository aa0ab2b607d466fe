/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the choice of neighbours (neighbours.h) goes by of the graph of who is connected to whom. */

#include "engine/graph.h"
#include "transports/neighbours.h"

/* As neighbours_ways takes it: all devices but the first of the graph, which is this one, whose own statement
 * counts, and the parts they are in over links that both ends state and that do not go through this device. An array
 * that the caller frees; not touched on failure. -ENOMEM. */
int reach_ways(const struct graph *g, struct neighbour_way **ret, uint32_t *ret_n);
