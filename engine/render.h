/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The bytes of a JSON document: a pure function of its record, the same on every device.
 *
 * The content's slots become a JSON tree (keys by look position, elements by their places), which is written in the
 * document's style (TOP_STYLE; default: two spaces, final newline). If TOP_SOURCE is there and
 * parses to the same tree, keys in the same order, its bytes are taken instead. */

#include "engine/arena.h"
#include "engine/crdt.h"
#include "engine/elements.h"
#include "engine/json.h"

/* Appends the document's bytes to out, and gives the elements of its lists (NULL: not asked for; see
 * elements_make). -ENOENT when the content is not live, -EINVAL when it is not JSON (a blob or a
 * link). */
int render_json(struct arena *a, const struct actors *actors, const struct record *r,
		struct buf *out, struct elements **ret_elements);

/* The shown content as a JSON tree in the arena; the elements of lists have their keys. */
int render_tree(struct arena *a, const struct actors *actors, const struct record *r,
		struct json **ret);

/* Appends one value of a slot of the content, whether it is what the slot shows or not, in the
 * default style: layout JSON_LAYOUT_BROKEN, or JSON_LAYOUT_INLINE for a single line; no newline at
 * the end. VALUE_MAP is the object that the slot's children make. -EINVAL when it is not JSON. */
int render_value(struct arena *a, const struct actors *actors, const struct slot *s,
		 const struct value *v, uint8_t layout, struct buf *out);

/* Sets TOP_STYLE and TOP_SOURCE so that a record whose content is what `text` says renders to
 * text; drops a source that is not needed any more; a change is one of TOP_MTIME, too. `merged`: the head holds more than the writer
 * saw, so text is not what will be shown: only the style is taken over. */
int render_remember(struct arena *a, const struct actors *actors, const struct record *r,
		    const char *text, size_t len, const struct json *tree, bool merged,
		    const struct vv *base, const struct stamp *st, const struct record **ret);
