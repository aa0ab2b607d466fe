/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The rows of an answer that is asked for again and again, and how one answer differs from the one before: shoal-query(7),
 * "Following".
 *
 * Rows are bytes, and so are their keys; several rows may have one key, and the same row may come several times. Of two
 * answers the rows that both have are the same; what is left of a key in both, in their order, was changed; what is left
 * after that went or came. All is in memory, so an answer is bounded. One thread at a time. */

#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/id.h"

#define ANSWER_ROWS_MAX 100000
#define ANSWER_BYTES_MAX (32u << 20) /* of one answer, with what each row takes beside its bytes */

enum answer_op { ANSWER_DELETE, ANSWER_UPDATE, ANSWER_INSERT };

struct answer;

/* seed: a random number, so that nobody can make rows that are slow to tell apart. The first answer is empty. -ENOMEM. */
int answer_new(uint64_t seed, struct answer **ret);
void answer_free(struct answer *a); /* NULL is fine */
DEFINE_CLEANUP(struct answer *, answer_free)

/* A row of the next answer, copied. key NULL: it has none, and never is one that was changed. -E2BIG: too many, or too
 * many bytes; -ENOMEM. */
int answer_row(struct answer *a, const void *key, size_t key_len, const void *row, size_t len);
/* 128 bits that say which rows the next answer has, in whatever order. -ENOMEM. */
int answer_digest(const struct answer *a, struct id *ret);
/* There are no more. Tells f (NULL: nobody) what is different: first what went, as it was, then what was changed, as it is
 * now, and came, in the order of the rows (equal ones where the first is). What f returns other than 0 ends it and is returned; the answer is of no use
 * then, as after -ENOMEM. */
typedef int (*answer_fn)(enum answer_op op, const void *row, size_t len, void *userdata);
int answer_end(struct answer *a, answer_fn f, void *userdata);
