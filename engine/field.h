/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One place of a document, from the stored form of its record (shoal-format(7), "Record in the store").
 *
 * Queries read one or two places of each of many documents. Records are walked as bytes: what is not asked for is
 * stepped over, nothing is allocated. That is enough where a slot has one entry and what is shown is therefore
 * known; where several compete, and for what is made of a sequence or of elements, the record has to be decoded. */

#include "engine/crdt.h"
#include "engine/jsonpath.h"

#define FIELD_MEMBERS_MAX 64

/* Where things are in the stored form of a document's record, whose bytes it refers to. */
struct field_index {
	const uint8_t *content, *end;
	struct field_member {
		const char *key;
		size_t len;
		const uint8_t *slot;
	} member[FIELD_MEMBERS_MAX]; /* of the content, an object, by their keys */
	uint32_t n;
	bool complete; /* all of them are there */
};

/* Record: as record_encode writes it; damage may go unnoticed. -ENOTSUP: its bytes alone do not say what is shown, it has to
 * be decoded; -EBADMSG. */
int field_index(const void *record, size_t len, struct field_index *ret);
/* What is shown at a path: 1 and a scalar, or the ARRAY that the path leads to or into (*ret_steps: of the path, up to
 * it); 0: nothing is there; -ENOTSUP: it takes decoding; -EBADMSG. */
int field_find(const struct field_index *x, const struct jsonpath *p, struct value *ret, uint32_t *ret_steps);
