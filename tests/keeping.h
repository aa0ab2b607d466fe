/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Changing what a device keeps, in tests. */

#include "tests/pair.h"
#include "tests/tap.h"

_unused_ static int keep(struct node *n, const struct id *scope, unsigned level)
{
	struct err e = { 0 };
	int r = replica_keep(n->replica, scope, level, NULL, &e);
	if (r < 0)
		tap_diag("keep: %s", e.message);
	return r;
}

_unused_ static bool drop_all(struct node *n)
{
	int r = 1;
	for (int i = 0; i < 10000 && r == 1; i++)
		r = replica_drop_step(n->replica, NULL);
	return r == 0;
}

/* What a courier's thread does: goes by what neighbours want, if it has room, and drops when it may. */
_unused_ static bool errands(struct node *n, bool room)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct errand *x;
	uint32_t count;
	bool changed = false;
	if (replica_errands(n->replica, 0, &a, &x, &count) < 0)
		tap_bail("errands");
	for (uint32_t i = 0; i < count; i++) {
		unsigned should = room ? x[i].should : INTEREST_NONE;
		if (x[i].is != INTEREST_NONE && should == INTEREST_NONE)
			should = x[i].elsewhere ? INTEREST_NONE : INTEREST_FARTHEST;
		if (should == x[i].is || replica_dropping(n->replica, &x[i].scope))
			continue;
		if (keep(n, &x[i].scope, should) < 0)
			tap_bail("cannot keep");
		changed = true;
	}
	return changed;
}
