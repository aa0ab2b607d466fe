/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Documents in a stream: JSON lines, or CSV with a header. It is read in pieces, however long it is.
 *
 * JSON lines: one JSON value a line; blank lines do not count.
 *
 * CSV (RFC 4180): the first row names the columns, and each other row is an object of them. A name that begins with a
 * slash is a JSON pointer, and makes objects inside of objects. Cells without quotes that are JSON numbers, true, false or
 * null are these, empty ones are left out, all else is text. Cells in quotes are text, but for JSON arrays and
 * objects. Lines end in LF or CR LF, and quoted cells may have line breaks in them. In unquoted cells quotes are
 * characters like others.
 *
 * A byte order mark in front does not count. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"

#define RECORD_MAX (8u * 1024 * 1024) /* bytes of a line, or of the cells of a row */
#define RECORD_COLUMNS_MAX 4096u

enum record_form { RECORDS_JSONL, RECORDS_CSV };

struct records_config {
	enum record_form form;
	char separator;  /* of CSV's cells */
	bool text_only;  /* all cells are text */
};

struct record {
	uint64_t line;   /* where it begins, from 1 */
	uint64_t number; /* from 1, without the header */
	const char *json; /* a value, in len bytes, to be checked; borrowed until the next one */
	size_t len;
};

struct records;

/* Reads from fd, which stays the caller's. */
int records_new(int fd, const struct records_config *config, struct records **ret);
void records_free(struct records *r);
DEFINE_CLEANUP(struct records *, records_free)

/* The next one: 1; 0: there is none. -EINVAL: what is wrong, with e->line (from 1) where; another call goes on with what
 * follows, unless it is the header's or -EFBIG. -ENOMEM, errors of read(2). */
int records_next(struct records *r, struct record *ret, struct err *e);
/* Bytes that the records so far took. */
uint64_t records_offset(const struct records *r);
