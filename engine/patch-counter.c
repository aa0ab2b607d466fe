/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers over numbers (engine/counter.h).
 *
 * Where a counter is declared, the writer's own counter grows by what the save adds. Where none is, but
 * counters are there, the number itself grows by that, and the counters stay: so what others add at the
 * same time counts in full, and once. If somebody else has set the number meanwhile, what is written is
 * to show, whatever the counters say now; the other number is a conflict.
 *
 * No two entries of a register have one stamp. So within one batch a number that it has set is set
 * anew, and its own counter grows again. */
#include <errno.h>

#include "engine/counter.h"
#include "engine/patch-impl.h"
#include "engine/value.h"

static bool is_own(const struct applier *ap, const struct entry *e)
{
	return e && e->dot.actor == ap->st->dot.actor && e->dot.seq == ap->st->dot.seq;
}

static const struct entry *own_counter(const struct applier *ap, const struct slot *s)
{
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e->value.kind == VALUE_COUNTER && e->dot.actor == ap->st->dot.actor)
			return e;
	}
	return NULL;
}

static int replace(struct applier *ap, struct slot *s, enum reg_part part, const struct value *v,
		   struct slot **ret)
{
	const struct entry add = { ap->st->dot, ap->st->hlc, *v };
	struct slot *c = slot_copy(ap->a, s, NULL, 0);
	int r = c ? reg_write_part(ap->a, ap->actors, &s->val, &ap->seen, part, &add, &c->val) : -ENOMEM;
	if (r == 0 && part == REG_VALUES)
		r = slot_remove_below(ap->a, c, &ap->seen);
	if (r < 0)
		return r;
	*ret = c;
	return 1;
}

/* 0: it cannot be added up. */
static int count_up(struct applier *ap, struct slot *s, const struct entry *own,
		    const struct value *diff, struct slot **ret)
{
	struct value sum = *diff;
	int r = own ? number_add(ap->a, &own->value, diff, false, &sum) : 0;
	if (r < 0)
		return r == -ERANGE ? 0 : r;
	sum.kind = VALUE_COUNTER;
	return replace(ap, s, REG_COUNTER, &sum, ret);
}

/* The number that goes on so that the slot shows `want`, or what others added since on top. */
static int move_number(struct applier *ap, struct slot *s, const struct entry *shown,
		       const struct value *diff, const struct value *want, struct slot **ret)
{
	static const struct value zero = { VALUE_NUMBER, (const uint8_t *)"0", 1 };
	const struct value *old = shown->value.kind == VALUE_NUMBER ? &shown->value : &zero;
	struct value v, counters;
	int r;
	if (shown->value.kind == VALUE_NUMBER && !seen_has(&ap->seen, shown->dot)) {
		r = number_shown(ap->a, s, &zero, &counters);
		if (r == 0)
			r = number_add(ap->a, want, &counters, true, &v);
	} else {
		r = number_add(ap->a, old, diff, false, &v);
	}
	if (r < 0)
		return r == -ERANGE ? 0 : r;
	return replace(ap, s, REG_VALUES, &v, ret);
}

int patch_count(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret)
{
	bool declared = types_merge(p->types) == MERGE_COUNTER;
	const struct entry *shown;
	enum value_kind kind;
	struct value diff;
	if (!s || (!declared && !slot_counts(s)) || p->value->type != JSON_NUMBER || !p->before ||
	    p->before->type != JSON_NUMBER)
		return 0;
	if (!slot_shown(s, ap->actors, &shown, &kind) || kind != VALUE_NUMBER)
		return 0;
	const struct value old = value_of_json(p->before), new = value_of_json(p->value);
	const struct entry *own = own_counter(ap, s);
	int r = number_add(ap->a, &new, &old, true, &diff);
	if (r < 0)
		return r == -ERANGE ? 0 : r;
	if (is_own(ap, own) || (declared && !is_own(ap, shown)))
		return count_up(ap, s, own, &diff, ret);
	return move_number(ap, s, shown, &diff, &new, ret);
}
