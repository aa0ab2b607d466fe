/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What went wrong, for a person: a code, a sentence, and where in the input.
 *
 * Functions return 0 or a negative errno. Where a failure reaches a person they also
 * fill a struct err, if the caller gave one; the caller may pass NULL. */

#include <stdint.h>

#include "engine/cleanup.h"

struct err {
	int code;          /* negative errno; 0: nothing went wrong */
	uint32_t line;     /* from 1; 0: no place in a text is meant */
	uint32_t column;   /* from 1, in Unicode code points */
	uint64_t offset;   /* byte offset that line and column stand for */
	char message[240]; /* one sentence without final full stop: what, why, what to do */
};

/* Fills e (may be NULL) and returns code, which is a negative errno:
 *     return err_set(e, -EINVAL, "port %u is not ...", port);
 * Any place (line, column, offset) that e had is cleared. A macro, so that compiler and analyzer
 * see that what comes out is the code that went in. */
#define err_set(e, code, ...) ERR_FILL_(err_fill, e, code, __VA_ARGS__)

/* Like err_set, with "SENTENCE: strerror" from the code itself. */
#define err_errno(e, code, ...) ERR_FILL_(err_fill_errno, e, code, __VA_ARGS__)

#define ERR_FILL_(fill, e, code, ...)           \
	({                                      \
		int _err_code = (code);         \
		fill(e, _err_code, __VA_ARGS__); \
		_err_code;                      \
	})
void err_fill(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);
void err_fill_errno(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);

/* Puts "PREFIX: " before the message of e (may be NULL); returns e's code, or 0. */
int err_prefix(struct err *e, const char *fmt, ...) _printf_(2, 3);

/* Sets the place of e (may be NULL): byte offset of text, which has no fewer bytes. */
void err_place(struct err *e, const char *text, uint64_t offset);
