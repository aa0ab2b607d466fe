/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One value of a document as the content of a file, and what writing that file means.
 *
 * Its text is the value and a newline. A string stands without quotes and escapes, just as it is; only
 * one that would itself be taken for a JSON string stands as one. What is written, less one newline at
 * its end, is a string if it is a JSON string in quotes, or the value was a string; else it is the JSON
 * that it is, or a string if it is none. So writing what was read changes nothing. An empty file is
 * no value: writing it changes nothing either.
 *
 * What is written goes into the document as a patch of the version that the file was opened on. */

#include "fusefs/doctree.h"

struct field; /* what an open file knows of its value */

/* Appends the text of a value that is no container. */
void field_text(const struct json *v, struct buf *b);

/* For a file that is opened for writing: the value at the pointer, which is v (NULL: none yet). */
int field_new(struct doctree *t, const char *pointer, size_t len, const struct json *v,
	      struct field **ret);
void field_free(struct field *f); /* NULL is fine */

struct saver;
struct loader;
void field_save(struct saver *s, const struct field *f);
struct field *field_load(struct loader *l); /* NULL: it failed */

/* The bytes of c, which has a field, become the value. 0: or there are none, or the same as before.
 * -EINVAL: not UTF-8; -EFBIG; errors of replica_edit. */
int field_commit(struct fusefs *fs, struct copy *c, struct err *e);

/* One operation of RFC 6902 on a document as it was in the tree: from (move) and value (JSON; add,
 * replace) may be NULL. *ret (may be NULL) as replica_edit gives it. */
int field_edit(struct fusefs *fs, struct version *base, const char *op, const struct buf *from,
	       const struct buf *path, const char *value, size_t len, struct version **ret,
	       struct err *e);
