/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Documents as CSV, in the form that records_new (tools/records.h) reads. First each document is looked at, which
 * finds the columns: a value that is no object, or an empty one, is a cell. Then the header and the rows are written. A
 * place that has an object in one document and something else in another one is a single column, with JSON in it. */

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"

struct csvout;

int csvout_new(char separator, struct csvout **ret);
void csvout_free(struct csvout *x);
DEFINE_CLEANUP(struct csvout *, csvout_free)

/* -EINVAL: it is no object; -E2BIG: too many columns (RECORD_COLUMNS_MAX). -ENOMEM. */
int csvout_look(struct csvout *x, const struct json *document, struct err *e);
/* Ends looking; the header with its line break, appended to out. -ENOMEM. */
int csvout_header(struct csvout *x, struct buf *out);
/* A row. -EINVAL: no object, or nothing in it where there is one column; -ESTALE: it has a value that no column was seen for: the document changed meanwhile. */
int csvout_row(struct csvout *x, const struct json *document, struct buf *out, struct err *e);

/* The value on one line, without blanks: its source text, appended. */
void json_put_line(struct buf *out, const char *text, size_t len);
