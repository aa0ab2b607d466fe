/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Test Anything Protocol for the C tests. The plan comes first, so a test that dies or leaves
 * early fails for the cases it owes. One thread at a time.
 *
 *     int main(int argc, char **argv)
 *     {
 *             tap_plan(2);
 *             uint64_t seed = tap_seed(argc, argv);
 *             ok(buf_failed(&b) == false, "appending works");
 *             is_int(buf.len, 3, "length after %s", "abc");
 *             return tap_done();
 *     }
 *
 * Every case ends in a printf-like name, is a value itself (true: passed), and on failure says
 * where it stands and what was there instead. Property tests with many rounds count as one
 * case: check each round with an if, tell tap_diag what broke, and ok() the whole. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"

void tap_plan(unsigned n);
/* Prints the closing line; the value is what main returns. */
int tap_done(void);
/* A comment for the reader of the log, one line or several. */
void tap_diag(const char *fmt, ...) _printf_(1, 2);
/* Ends the whole test at once: what it needs is not there. */
void tap_bail(const char *fmt, ...) _printf_(1, 2) __attribute__((__noreturn__));

/* The seed of a property test: argv[1], else $SHOAL_SEED, else from the clock; printed with
 * the command that repeats the run. */
uint64_t tap_seed(int argc, char **argv);
/* The same for a number of rounds: argv[2], else the given one, or $SHOAL_ROUNDS if that is less. */
uint64_t tap_rounds(int argc, char **argv, uint64_t normal);

/* DIR/NAME in the test data made elsewhere ($SHOAL_TEST_DATA); ends the test when it is not
 * there. The caller frees it. */
char *tap_data(const char *name);
/* PATH in the source tree ($srcdir, else the current directory). The caller frees it. */
char *tap_source(const char *path);
/* A directory of this test's own, removed when it ends; the text stays tap's. */
const char *tap_tmpdir(void);
/* DIR/NAME in it; the text is reused after fifteen more calls. */
const char *tap_path(const char *name);
/* Writes a file there, and makes the directories that NAME goes through. */
void tap_write(const char *name, const char *text);
/* A whole file, with a NUL added behind it; ends the test when that fails. The caller frees it. */
char *tap_read_file(const char *path, size_t *ret_len);

bool tap_ok(bool pass, const char *file, int line, const char *expr, const char *fmt, ...)
	_printf_(5, 6);
bool tap_is_int(int64_t got, int64_t want, const char *file, int line, const char *fmt, ...)
	_printf_(5, 6);
bool tap_is_uint(uint64_t got, uint64_t want, const char *file, int line, const char *fmt, ...)
	_printf_(5, 6);
bool tap_is_str(const char *got, const char *want, const char *file, int line, const char *fmt, ...)
	_printf_(5, 6);
bool tap_is_mem(const void *got, size_t got_len, const void *want, size_t want_len,
		const char *file, int line, const char *fmt, ...) _printf_(7, 8);
bool tap_is_errno(int64_t got, int want, const char *file, int line, const char *fmt, ...)
	_printf_(5, 6);

#define ok(cond, ...) tap_ok(!!(cond), __FILE__, __LINE__, #cond, __VA_ARGS__)
#define is_int(got, want, ...) \
	tap_is_int((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, __VA_ARGS__)
#define is_uint(got, want, ...) \
	tap_is_uint((uint64_t)(got), (uint64_t)(want), __FILE__, __LINE__, __VA_ARGS__)
/* NULL equals NULL only. */
#define is_str(got, want, ...) tap_is_str((got), (want), __FILE__, __LINE__, __VA_ARGS__)
#define is_mem(got, got_len, want, want_len, ...) \
	tap_is_mem((got), (got_len), (want), (want_len), __FILE__, __LINE__, __VA_ARGS__)
/* A result of the kind 0/positive or -errno: is_errno(x_new(...), -EINVAL, "..."). */
#define is_errno(got, want, ...) \
	tap_is_errno((int64_t)(got), (want), __FILE__, __LINE__, __VA_ARGS__)
