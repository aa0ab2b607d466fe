/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Numbers of JSON by their lexemes. A lexeme is what RFC 8259 calls a number and is not
 * checked again: it comes from json_parse, or json_number_valid accepted it.
 * Nothing allocates; time is linear in the lexemes whatever their exponents. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is this exactly one JSON number, without space around it? */
bool json_number_valid(const char *text, size_t len);

/* Compares two numbers as exact decimals: < 0, 0, > 0. 1.0 = 10e-1, -0 = 0. */
int json_number_compare(const char *a, size_t alen, const char *b, size_t blen);

/* A hash of the decimal value: equal numbers, equal hashes. The same on every machine. */
uint64_t json_number_hash(const char *text, size_t len);

/* The value, if it is an integer in range however it is written (1e3, 5.0). Errors: -EINVAL
 * not an integer, -ERANGE out of range; *ret is untouched then. */
int json_number_to_i64(const char *text, size_t len, int64_t *ret);
int json_number_to_u64(const char *text, size_t len, uint64_t *ret);

/* The value as the nearest double, if no digit is lost: printed with as many significant
 * digits as were written, the double is the same number (0.1 and 1.50 pass, 2^53 + 1 does not).
 * Errors: -ERANGE more digits or a larger exponent than a double can hold; -ENOMEM. */
int json_number_to_double(const char *text, size_t len, double *ret);

/* What SQL has for it (shoal-query(7), "Values"): an integer of 64 bits, else a double that gives it back, else its digits.
 * -ENOMEM. */
enum { JSON_NUMBER_LEXEME, JSON_NUMBER_INTEGER, JSON_NUMBER_DOUBLE };
int json_number_sql(const char *text, size_t len, int64_t *ret_integer, double *ret_double);

/* Is a, exactly, a multiple of b? 1, 0; -ERANGE: b is 0, or has more than 18 digits besides zeros at either end. */
int json_number_is_multiple(const char *a, size_t alen, const char *b, size_t blen);

/* The exact sum (minus: difference) of two numbers, written without exponent and without zeros that
 * say nothing. The length of what is put into ret, without a NUL; -ERANGE: it would take more than
 * JSON_SUM_DIGITS. */
#define JSON_SUM_DIGITS 1000
#define JSON_SUM_MAX (JSON_SUM_DIGITS + 2) /* a sign, a point */
int json_number_add(const char *a, size_t alen, const char *b, size_t blen, bool minus,
		    char ret[static JSON_SUM_MAX]);
