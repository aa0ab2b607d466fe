/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The intake's burst: deltas that came together, of different nodes, are joined in one commit, which takes half the
 * time that one for each takes. They stand in the lanes of their nodes like all others, each the first of its own,
 * and are joined before anything else that the peer says is looked at, and before the session returns to its host.
 * So nobody can tell but by the time that it takes: if one of them does not go through for whatever reason, nothing of
 * the commit has happened, and they are joined one after the other, up to that one. */
#include "engine/intake-impl.h"

#include <errno.h>
#include <string.h>

#include "engine/slot.h"

/* Contents of files are looked for one by one, and may have to be waited for. */
static bool has_contents(const struct delta *d)
{
	const struct slot *s = d->state.top ? slot_find(d->state.top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	for (uint32_t i = 0; s && i < s->val.n; i++)
		if (s->val.entry[i].value.kind == VALUE_BLOB)
			return true;
	return false;
}

/* Somebody who watches is told of names in the order in which they came and went: of two files that have changed
 * names there is none within one commit. */
static bool moves(const struct delta *d)
{
	return d->from.n > 0 && d->state.n_edges > 0;
}

bool intake_burst_takes(const struct arrival *a)
{
	return !has_contents(a->delta) && !moves(a->delta) && a->bytes.len <= BURST_BYTES / 4;
}

int intake_burst_add(struct intake *in, struct arrival *a, struct err *e)
{
	in->burst[in->n_burst++] = a;
	in->burst_bytes += a->bytes.len;
	return in->n_burst == BURST_MAX || in->burst_bytes >= BURST_BYTES ? intake_settle(in, e) : 0;
}

/* 1: they are joined, all of them; 0: none is. -ESTALE, -ENOMEM. */
static int join_all(struct intake *in, uint32_t n, struct err *e)
{
	arena_reset(&in->scratch);
	struct arrived *x = arena_array(&in->scratch, n, sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		const struct arrival *a = in->burst[i];
		x[i] = (struct arrived){ .delta = a->delta, .upto = &a->round->upto,
					 .nowhere = a->nowhere || in->sparing,
					 .part = a->round->part,
					 .by = a->round->part ? &in->from.device : NULL };
	}
	struct err why = { 0 };
	int r = replica_apply_all(in->replica, &in->scratch, x, n, NULL, &why);
	if (r == -ESTALE) /* this store goes on as another one, and the link begins anew */
		return err_set(e, r, "%s", why.message);
	/* Which one is at fault, and of what, shows when they are joined alone. */
	if (r < 0)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		if (x[i].result == APPLY_NEED_WHOLE || x[i].result == APPLY_NEED_CHUNKS)
			return 0;
	return 1;
}

int intake_settle(struct intake *in, struct err *e)
{
	const uint32_t n = in->n_burst;
	if (n == 0)
		return 0;
	int r = n > 1 ? join_all(in, n, e) : 0;
	if (r < 0)
		return r;
	const bool joined = r > 0;
	in->n_burst = 0;
	in->burst_bytes = 0;
	r = 0;
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		const struct id node = in->burst[i]->delta->state.id;
		if (joined)
			intake_leave(in, in->burst[i]);
		else
			r = intake_lane_run(in, &node, e);
	}
	if (r == 0 && joined)
		r = intake_claim_rounds(in, e);
	return r < 0 ? r : intake_run_ready(in, e);
}
