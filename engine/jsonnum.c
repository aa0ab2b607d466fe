/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A lexeme is split into sign, significant digits without zeros at either end, and exponent:
 *     value = sign 0.d1 d2 d3 ... x 10^(exponent + shift)
 * where exponent is the text behind 'e', of any length, and shift, no larger than the lexeme,
 * is how far the decimal point is from the first significant digit. Two exponents are compared
 * by computing the difference of their texts digit by digit; once it is far beyond any shift,
 * further digits cannot bring it back. */

#include "engine/jsonnum.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cleanup.h"

struct number {
	bool negative;
	const char *digit; /* first significant digit; NULL: the number is zero */
	const char *last;  /* last significant digit; a '.' may be between them */
	size_t digits;
	int64_t shift;
	bool exp_negative;
	const char *exp; /* digits of the exponent without leading zeros */
	size_t exp_len;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool json_number_valid(const char *text, size_t len)
{
	const char *p = text, *end = p + len, *q;
	if (p < end && *p == '-')
		p++;
	for (q = p; q < end && is_digit(*q); q++)
		;
	if (q == p || (*p == '0' && q - p > 1))
		return false;
	if (q < end && *q == '.') {
		for (p = ++q; q < end && is_digit(*q); q++)
			;
		if (q == p)
			return false;
	}
	if (q < end && (*q == 'e' || *q == 'E')) {
		q++;
		if (q < end && (*q == '+' || *q == '-'))
			q++;
		for (p = q; q < end && is_digit(*q); q++)
			;
		if (q == p)
			return false;
	}
	return q == end;
}

static struct number split(const char *text, size_t len)
{
	struct number n = { 0 };
	const char *p = text, *end = text + len, *point = NULL;
	if (p < end && *p == '-') {
		n.negative = true;
		p++;
	}
	const char *stop = p;
	for (; stop < end && *stop != 'e' && *stop != 'E'; stop++) {
		if (*stop == '.') {
			point = stop;
		} else if (*stop != '0') {
			if (!n.digit)
				n.digit = stop;
			n.last = stop;
		}
	}
	if (!n.digit)
		return (struct number){ 0 };
	n.digits = (size_t)(n.last - n.digit) + 1;
	if (point && point > n.digit && point < n.last)
		n.digits--;
	if (!point)
		point = stop;
	n.shift = point > n.digit ? point - n.digit : point - n.digit + 1;
	if (stop < end) {
		p = stop + 1;
		if (p < end && (*p == '+' || *p == '-'))
			n.exp_negative = *p++ == '-';
		while (p < end && *p == '0')
			p++;
		n.exp = p;
		n.exp_len = (size_t)(end - p);
	}
	return n;
}

/* Digit i of the exponent, counted from the least significant, with its sign. */
static int exp_digit(const struct number *n, size_t i)
{
	if (i >= n->exp_len)
		return 0;
	int d = n->exp[n->exp_len - 1 - i] - '0';
	return n->exp_negative ? -d : d;
}

#define EXP_FAR (INT64_C(1) << 58)

/* Sign of (exponent + shift of a) - (exponent + shift of b). */
static int compare_exponents(const struct number *a, const struct number *b)
{
	int64_t diff = 0;
	for (size_t i = a->exp_len > b->exp_len ? a->exp_len : b->exp_len; i > 0; i--) {
		diff = diff * 10 + exp_digit(a, i - 1) - exp_digit(b, i - 1);
		if (diff > EXP_FAR || diff < -EXP_FAR)
			break;
	}
	diff += a->shift - b->shift;
	return (diff > 0) - (diff < 0);
}

static int compare_digits(const struct number *a, const struct number *b)
{
	const char *p = a->digit, *q = b->digit;
	for (; p <= a->last && q <= b->last; p++, q++) {
		if (*p == '.')
			p++;
		if (*q == '.')
			q++;
		if (*p != *q)
			return *p < *q ? -1 : 1;
	}
	return (p <= a->last) - (q <= b->last);
}

int json_number_compare(const char *a, size_t alen, const char *b, size_t blen)
{
	struct number x = split(a, alen), y = split(b, blen);
	int xs = !x.digit ? 0 : x.negative ? -1 : 1, ys = !y.digit ? 0 : y.negative ? -1 : 1;
	if (xs != ys)
		return xs < ys ? -1 : 1;
	if (xs == 0)
		return 0;
	int r = compare_exponents(&x, &y);
	if (r == 0)
		r = compare_digits(&x, &y);
	return xs * r;
}

/* exponent + shift, held within +-EXP_FAR. */
static int64_t magnitude(const struct number *n)
{
	int64_t v = 0;
	for (size_t i = n->exp_len; i > 0; i--) {
		v = v * 10 + exp_digit(n, i - 1);
		if (v > EXP_FAR || v < -EXP_FAR)
			return v > 0 ? EXP_FAR : -EXP_FAR;
	}
	v += n->shift;
	return v > EXP_FAR ? EXP_FAR : v < -EXP_FAR ? -EXP_FAR : v;
}

uint64_t json_number_hash(const char *text, size_t len)
{
	const uint64_t prime = UINT64_C(0x100000001b3);
	struct number n = split(text, len);
	if (!n.digit)
		return 0;
	/* Where magnitude stops counting, numbers share a hash; that is allowed. */
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)magnitude(&n) ^ n.negative;
	for (const char *p = n.digit; p <= n.last; p++)
		if (*p != '.')
			h = (h ^ (uint8_t)*p) * prime;
	return h ^ h >> 32;
}

/* The absolute value as an integer. */
static int to_integer(const struct number *n, uint64_t *ret)
{
	uint64_t v = 0;
	if (n->digit) {
		int64_t m = magnitude(n);
		if (m < 0 || (uint64_t)m < n->digits)
			return -EINVAL;
		if (m > 20)
			return -ERANGE;
		for (const char *p = n->digit; p <= n->last; p++)
			if (*p != '.' && (__builtin_mul_overflow(v, 10u, &v) ||
					  __builtin_add_overflow(v, (unsigned)(*p - '0'), &v)))
				return -ERANGE;
		for (size_t i = n->digits; i < (uint64_t)m; i++)
			if (__builtin_mul_overflow(v, 10u, &v))
				return -ERANGE;
	}
	*ret = v;
	return 0;
}

int json_number_to_u64(const char *text, size_t len, uint64_t *ret)
{
	struct number n = split(text, len);
	uint64_t v;
	int r = to_integer(&n, &v);
	if (r < 0)
		return r;
	if (n.negative)
		return -ERANGE;
	*ret = v;
	return 0;
}

int json_number_to_i64(const char *text, size_t len, int64_t *ret)
{
	struct number n = split(text, len);
	uint64_t v;
	int r = to_integer(&n, &v);
	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + n.negative)
		return -ERANGE;
	*ret = n.negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

static uint64_t mul_mod(uint64_t a, uint64_t b, uint64_t m)
{
	return (uint64_t)((unsigned __int128)a * b % m);
}

/* a = x 10^i, b = y 10^j, neither x nor y ends in 0: for i < j a multiple would end in 0. */
int json_number_is_multiple(const char *a, size_t alen, const char *b, size_t blen)
{
	struct number x = split(a, alen), y = split(b, blen);
	uint64_t divisor = 0, rest = 0, ten = 10;
	if (!y.digit || y.digits > 18)
		return -ERANGE;
	if (!x.digit)
		return 1;
	for (const char *p = y.digit; p <= y.last; p++)
		if (*p != '.')
			divisor = divisor * 10 + (uint64_t)(*p - '0');
	int64_t zeros = (magnitude(&x) - (int64_t)x.digits) - (magnitude(&y) - (int64_t)y.digits);
	if (zeros < 0)
		return 0;
	for (const char *p = x.digit; p <= x.last; p++)
		if (*p != '.')
			rest = (mul_mod(rest, 10, divisor) + (uint64_t)(*p - '0')) % divisor;
	for (ten %= divisor; zeros > 0; zeros >>= 1) {
		if (zeros & 1)
			rest = mul_mod(rest, ten, divisor);
		ten = mul_mod(ten, ten, divisor);
	}
	return rest == 0;
}

/* snprintf and strtod follow the thread's locale, which may write 0,5. */
struct c_locale {
	locale_t c;
	locale_t old;
};

static void c_locale_end(struct c_locale *l)
{
	if (l->old)
		uselocale(l->old);
	if (l->c)
		freelocale(l->c);
}

static const double exact_ten[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,	1e6,  1e7,  1e8,  1e9,	1e10, 1e11,
				    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

int json_number_to_double(const char *text, size_t len, double *ret)
{
	struct number n = split(text, len);
	if (!n.digit) {
		*ret = len > 0 && text[0] == '-' ? -0.0 : 0.0;
		return 0;
	}
	int64_t m = magnitude(&n);
	if (n.digits > 17 || m > 400 || m < -400)
		return -ERANGE;
	char digits[18], in[40], out[40];
	size_t k = 0;
	uint64_t whole = 0;
	for (const char *p = n.digit; p <= n.last; p++)
		if (*p != '.') {
			whole = whole * 10 + (uint64_t)(*p - '0');
			digits[k++] = *p;
		}
	digits[k] = 0;
	/* Up to 15 digits come back from a double; so few, and a power of ten that is one exactly, are divided or multiplied
	 * without an error but the last rounding. */
	int64_t shift = m - (int64_t)n.digits;
	if (n.digits <= 15 && shift >= -22 && shift <= 22) {
		double d = shift < 0 ? (double)whole / exact_ten[-shift] : (double)whole * exact_ten[shift];
		*ret = n.negative ? -d : d;
		return 0;
	}
	snprintf(in, sizeof(in), "%s0.%se%d", n.negative ? "-" : "", digits, (int)m);

	_cleanup_(c_locale_end) struct c_locale l = { .c = newlocale(LC_ALL_MASK, "C", NULL) };
	if (!l.c)
		return -ENOMEM;
	l.old = uselocale(l.c);
	double d = strtod(in, NULL);
	if (!isfinite(d) || d == 0)
		return -ERANGE;
	/* With 17 digits a double is never ambiguous; with fewer, does it give them back? */
	snprintf(out, sizeof(out), "%.*e", (int)n.digits - 1, d);
	if (json_number_compare(text, len, out, strlen(out)) != 0)
		return -ERANGE;
	*ret = d;
	return 0;
}

/* --- sums --- */

/* Digits by their weight: d[i] stands for d[i] * 10^(i - point). */
struct digits {
	uint8_t d[JSON_SUM_DIGITS];
	size_t point, n;
};

/* Makes room for a number in [low, top), powers of ten. */
static void widen(const struct number *n, int64_t *low, int64_t *top)
{
	if (!n->digit)
		return;
	int64_t m = magnitude(n), end = m - (int64_t)n->digits;
	*low = end < *low ? end : *low;
	*top = m > *top ? m : *top;
}

static void spread(const struct number *n, struct digits *to)
{
	if (!n->digit)
		return;
	size_t i = (size_t)(magnitude(n) + (int64_t)to->point);
	for (const char *p = n->digit; p <= n->last; p++)
		if (*p != '.')
			to->d[--i] = (uint8_t)(*p - '0');
}

static bool is_less(const struct digits *x, const struct digits *y)
{
	size_t i = x->n;
	while (i > 0 && x->d[i - 1] == y->d[i - 1])
		i--;
	return i > 0 && x->d[i - 1] < y->d[i - 1];
}

/* x + y, or x - y where y is not the larger one, into x. */
static void combine(struct digits *x, const struct digits *y, bool minus)
{
	int carry = 0;
	for (size_t i = 0; i < x->n; i++) {
		int v = minus ? x->d[i] - y->d[i] - carry : x->d[i] + y->d[i] + carry;
		carry = v < 0 || v > 9;
		x->d[i] = (uint8_t)(carry ? v + (minus ? 10 : -10) : v);
	}
}

static int put_digits(const struct digits *x, bool negative, char *ret)
{
	size_t top = x->n - 1, end = 0;
	char *p = ret;
	while (top > x->point && x->d[top] == 0)
		top--;
	while (end < x->point && x->d[end] == 0)
		end++;
	if (negative && (top > end || x->d[top] != 0))
		*p++ = '-';
	for (size_t i = top + 1; i > end; i--) {
		*p++ = (char)('0' + x->d[i - 1]);
		if (i - 1 == x->point && i - 1 > end)
			*p++ = '.';
	}
	return (int)(p - ret);
}

int json_number_add(const char *a, size_t alen, const char *b, size_t blen, bool minus,
		    char ret[static JSON_SUM_MAX])
{
	struct number x = split(a, alen), y = split(b, blen);
	struct digits dx = { 0 }, dy = { 0 };
	int64_t low = 0, top = 1;
	widen(&x, &low, &top);
	widen(&y, &low, &top);
	/* One more for what is carried. */
	if (top - low >= JSON_SUM_DIGITS)
		return -ERANGE;
	dx.n = dy.n = (size_t)(top - low) + 1;
	dx.point = dy.point = (size_t)-low;
	spread(&x, &dx);
	spread(&y, &dy);
	bool negative = x.negative, other = y.negative != minus;
	if (negative == other) {
		combine(&dx, &dy, false);
		return put_digits(&dx, negative, ret);
	}
	if (is_less(&dx, &dy)) {
		combine(&dy, &dx, true);
		return put_digits(&dy, other, ret);
	}
	combine(&dx, &dy, true);
	return put_digits(&dx, negative, ret);
}

int json_number_sql(const char *text, size_t len, int64_t *ret_integer, double *ret_double)
{
	bool plain = len < 40;
	for (size_t i = 0; plain && i < len; i++)
		plain = (text[i] >= '0' && text[i] <= '9') || (i == 0 && text[i] == '-');
	if (plain && json_number_to_i64(text, len, ret_integer) == 0)
		return JSON_NUMBER_INTEGER;
	int rc = json_number_to_double(text, len, ret_double);
	if (rc == 0)
		return JSON_NUMBER_DOUBLE;
	if (rc == -ERANGE && !plain && json_number_to_i64(text, len, ret_integer) == 0)
		return JSON_NUMBER_INTEGER;
	return rc == -ENOMEM ? rc : JSON_NUMBER_LEXEME;
}
