/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values that lost: entries of a register beside the shown one, and children hidden by a value
 * that is no object. What lies below something hidden is hidden as a whole and counts once. */
#include <errno.h>
#include <string.h>

#include "engine/crdt.h"
#include "engine/jsonptr.h"
#include "engine/slot.h"
#include "engine/value.h"

struct walk {
	const struct actors *actors;
	conflict_fn f;
	void *userdata;
	struct buf pointer;
};

static int tell(struct walk *w, const struct entry *shown, const struct entry *lost)
{
	const char *pointer = buf_cstr(&w->pointer);
	return pointer ? w->f(pointer, shown, lost, w->userdata) : -ENOMEM;
}

static int walk(struct walk *w, const struct slot *s)
{
	const struct entry *shown, *newest = NULL;
	enum value_kind kind;
	int r = 0;
	if (!slot_shown(s, w->actors, &shown, &kind))
		return 0;
	bool below = false;
	for (uint32_t i = 0; !below && i < s->n; i++)
		below = slot_live(s->child[i]);
	/* An object without an entry of its own: its newest part speaks for it. */
	struct entry object = { .value.kind = VALUE_MAP };
	if (below && (!shown || kind != VALUE_MAP)) {
		for (uint32_t i = 0; i < s->n; i++) {
			const struct entry *e = slot_newest(s->child[i], w->actors);
			if (e && (!newest || entry_rank(w->actors, e, newest) > 0))
				newest = e;
		}
		if (newest) {
			object.dot = newest->dot;
			object.hlc = newest->hlc;
		}
		if (!shown)
			shown = &object;
	}
	bool told = false;
	for (uint32_t i = 0; r == 0 && i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e == shown || value_equal(&e->value, &shown->value))
			continue;
		told = told || e->value.kind == VALUE_MAP;
		r = tell(w, shown, e);
	}
	if (r == 0 && below && kind != VALUE_MAP && !told)
		r = tell(w, shown, &object);
	for (uint32_t i = 0; r == 0 && kind == VALUE_MAP && i < s->n; i++) {
		size_t len = w->pointer.len;
		json_pointer_append(&w->pointer, s->child[i]->key, s->child[i]->key_len);
		r = walk(w, s->child[i]);
		w->pointer.len = len;
	}
	return r;
}

int record_conflicts(const struct record *r, const struct actors *actors, conflict_fn f,
		     void *userdata)
{
	struct walk w = { .actors = actors, .f = f, .userdata = userdata };
	struct slot *content = r->top ? slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	int ret = content ? walk(&w, content) : 0;
	buf_done(&w.pointer);
	return ret;
}
