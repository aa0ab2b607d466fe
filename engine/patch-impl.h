/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What patch.c and patch-list.c have in common. */

#include "engine/patch.h"
#include "engine/place.h"
#include "engine/slot.h"

struct applier {
	struct arena *a;
	const struct actors *actors;
	struct seen seen;
	const struct stamp *st;
	pointer_fn changed; /* NULL as well below a container that is set */
	void *userdata;
	struct buf pointer;
};

/* Tells that the value at the pointer changed. -ENOMEM. */
int patch_tell(struct applier *ap);
/* Writes the slot's register; c is the caller's own. */
int patch_write(struct applier *ap, struct slot *c, const struct value *v);
/* Applies one patch to a slot (may be NULL). *ret == s: no change. */
int patch_apply(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret);
/* Would a write take away a value that its writer saw losing? */
bool patch_settles(const struct applier *ap, const struct slot *s, const struct entry *shown);
/* Puts changed children, which it sorts, among the unchanged ones of s. */
int patch_merge(struct applier *ap, const struct slot *s, struct placed *item, uint32_t n,
		struct slot *to);

/* A number over a number, where that means to add (engine/counter.h): 1, and *ret is the new slot; 0:
 * it is to be written as any other value. */
int patch_count(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret);

/* A string over a string, where a text is declared (engine/chars.h): as patch_count. */
int patch_chars(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret);

/* Applies patches of a list's elements, as apply_keys in patch.c does those of an object's keys. */
int patch_list(struct applier *ap, struct slot *s, const struct patch *p, const struct patch *first,
	       struct slot **ret);
/* The patches that make a list of what is there: its elements are set, others go. */
int patch_elements(struct applier *ap, const struct slot *s, const struct patch *p,
		   struct patch **ret);
