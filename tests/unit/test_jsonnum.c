/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of JSON: order, sums, conversions.
 *
 *     test_jsonnum [SEED [ROUNDS]] */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/jsonnum.h"
#include "tests/jsontext.h"
#include "tests/prng.h"

static int compare(const char *a, const char *b)
{
	int r = json_number_compare(a, strlen(a), b, strlen(b));
	int back = json_number_compare(b, strlen(b), a, strlen(a));
	if ((r > 0) - (r < 0) != (back < 0) - (back > 0))
		tap_bail("%s and %s compare differently the other way round", a, b);
	return (r > 0) - (r < 0);
}

/* One lexeme of m x 10^e out of many. */
static void random_form(struct prng *r, int64_t m, int e, char out[static 128])
{
	uint64_t abs = m < 0 ? 0 - (uint64_t)m : (uint64_t)m;
	char digits[96];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, abs);
	for (uint64_t zeros = prng_below(r, 10); zeros > 0; zeros--, e--)
		digits[n++] = '0';
	int point = 1 + (int)prng_below(r, (uint64_t)n); /* digits before the point */
	e += n - point;
	const char *lead = m < 0 || (m == 0 && prng_chance(r, 50)) ? "-" : "";
	/* A leading zero may not be followed by digits. */
	if (digits[0] == '0' && point > 1) {
		e += point - 1;
		point = 1;
	}
	int len = snprintf(out, 128, "%s%.*s%s%.*s", lead, point, digits, n > point ? "." : "",
			   n - point, digits + point);
	if (n == point && prng_chance(r, 30))
		len += snprintf(out + len, 128 - (size_t)len, ".000");
	if (e != 0 || prng_chance(r, 30))
		snprintf(out + len, 128 - (size_t)len, "%c%s%s%d", prng_chance(r, 50) ? 'e' : 'E',
			 e < 0                ? "-"
			 : prng_chance(r, 50) ? "+"
					      : "",
			 prng_chance(r, 20) ? "000" : "", e < 0 ? -e : e);
}

static __int128 scaled(int64_t m, int e)
{
	__int128 v = m;
	while (e-- > 0)
		v *= 10;
	return v;
}

static void test_numbers(uint64_t seed, uint64_t rounds)
{
	static const struct {
		const char *a, *b;
		int want;
	} c[] = {
		{ "0", "-0.0e99", 0 },
		{ "1", "0.99999999999999999999999999999999", 1 },
		{ "1e400", "1e399", 1 },
		{ "1e400", "10e399", 0 },
		{ "-1e400", "1", -1 },
		{ "1e-400", "0", 1 },
		{ "-1e-400", "0", -1 },
		{ "18446744073709551616", "18446744073709551615", 1 },
		{ "9007199254740993", "9007199254740992", 1 },
		{ "1e99999999999999999999999999", "1e99999999999999999999999998", 1 },
		{ "10e99999999999999999999999998", "1e99999999999999999999999999", 0 },
		{ "1e100000000000000000000000000", "10e99999999999999999999999999", 0 },
		{ "1e-100000000000000000000000000", "0.1e-99999999999999999999999999", 0 },
		{ "1e-99999999999999999999999999", "1e99999999999999999999999999", -1 },
		{ "1e00000000000000000000000000000000005", "100000", 0 },
		{ "0.0000000000000000000001e22", "1", 0 },
		{ "1.5", "1.50000", 0 },
		{ "1.5", "1.5000001", -1 },
		{ "0.1", "0.01e1", 0 },
		{ "12.5", "125e-1", 0 },
		{ "100", "1e2", 0 },
	};
	unsigned bad = 0;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		if (compare(c[i].a, c[i].b) != c[i].want) {
			tap_diag("%s against %s: not %d", c[i].a, c[i].b, c[i].want);
			bad++;
		}
	is_uint(bad, 0, "numbers compare as exact decimals");

	struct prng r = { seed };
	for (uint64_t i = 0; i < rounds && bad == 0; i++) {
		int64_t m = (int64_t)(prng_u64(&r) >> (1 + prng_below(&r, 62)));
		int64_t n = prng_chance(&r, 50)
				    ? m
				    : (int64_t)(prng_u64(&r) >> (1 + prng_below(&r, 62)));
		n = prng_chance(&r, 20) ? n + 1 - (int64_t)prng_below(&r, 2) : n;
		m = prng_chance(&r, 50) ? m : -m;
		n = prng_chance(&r, 80) == (m < 0) ? -n : n;
		int e = (int)prng_below(&r, 15),
		    f = prng_chance(&r, 50) ? e : (int)prng_below(&r, 15);
		char x[128], y[128];
		int shift = (int)prng_below(&r, 2000) - 1000;
		random_form(&r, m, e + shift, x);
		random_form(&r, n, f + shift, y);
		__int128 a = scaled(m, e), b = scaled(n, f);
		int want = (a > b) - (a < b);
		bool valid = json_number_valid(x, strlen(x)) && json_number_valid(y, strlen(y));
		bool hash = json_number_hash(x, strlen(x)) == json_number_hash(y, strlen(y));
		if (!valid || compare(x, y) != want || (want == 0 && !hash)) {
			tap_diag("round %" PRIu64 ": %s against %s, wanted %d", i, x, y, want);
			bad++;
		}
	}
	is_uint(bad, 0, "random decimals compare as integers do, equal ones hash alike");

	/* An exponent's text may be long: time and memory go with its length only. */
	size_t len;
	_cleanup_free_ char *nines = repeat("9", 1000000, &len);
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	buf_putf(&x, "1e%s", nines);
	buf_putf(&y, "0.1e1%0*d", (int)len, 0);
	is_int(json_number_compare((char *)x.data, x.len, (char *)y.data, y.len), 0,
	       "1e999...9 equals 0.1e1000...0 with a million digits in the exponent");
	is_uint(json_number_hash((char *)x.data, x.len), json_number_hash((char *)y.data, y.len),
		"and hashes alike");
}

static bool adds_up(const char *a, const char *b, bool minus, const char *want)
{
	char sum[JSON_SUM_MAX];
	int n = json_number_add(a, strlen(a), b, strlen(b), minus, sum);
	if (n == (int)strlen(want) && memcmp(sum, want, (size_t)n) == 0)
		return true;
	tap_diag("%s %c %s: %.*s, wanted %s", a, minus ? '-' : '+', b, n > 0 ? n : 0, sum, want);
	return false;
}

/* An integer times a power of ten, without an exponent. */
static void plain(__int128 v, int shift, struct buf *to)
{
	_cleanup_(buf_done) struct buf digits = { 0 };
	unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
	for (; u > 0; u /= 10)
		buf_u8(&digits, (uint8_t)('0' + (int)(u % 10)));
	size_t zeros = 0, n = digits.len, point = shift < 0 && v != 0 ? (size_t)-shift : 0;
	for (; zeros < n && zeros < point && digits.data[zeros] == '0'; zeros++)
		;
	if (v < 0)
		buf_u8(to, '-');
	for (size_t i = n > point ? n : point + 1; i > zeros; i--) {
		buf_u8(to, i <= n ? digits.data[i - 1] : '0');
		if (i - 1 == point && i - 1 > zeros)
			buf_u8(to, '.');
	}
	for (int i = 0; v != 0 && i < shift; i++)
		buf_u8(to, '0');
	buf_cstr(to);
}

static void test_sums(uint64_t seed, uint64_t rounds)
{
	char sum[JSON_SUM_MAX];
	ok(adds_up("10", "7", true, "3") && adds_up("7", "10", true, "-3") &&
		   adds_up("0.1", "0.2", false, "0.3") && adds_up("-0.0", "0", true, "0") &&
		   adds_up("1e2", "0.50", false, "100.5") && adds_up("99.99", "0.01", false, "100") &&
		   adds_up("-5", "-5", true, "0") && adds_up("0", "0.5", true, "-0.5") &&
		   adds_up("18446744073709551615", "1", false, "18446744073709551616"),
	   "sums are exact and plainly written");
	ok(json_number_add("1e998", 5, "1", 1, false, sum) == 999 &&
		   json_number_add("1e999", 5, "1", 1, false, sum) == -ERANGE &&
		   json_number_add("1", 1, "1e-1000", 7, true, sum) == -ERANGE &&
		   json_number_add("1e99999999999999999999", 22, "1e-99999999999999999999", 23, false,
				   sum) == -ERANGE,
	   "unless that takes too many digits");
	struct prng r = { seed };
	unsigned bad = 0;
	for (uint64_t i = 0; i < rounds && bad == 0; i++) {
		int64_t m = (int64_t)(prng_u64(&r) >> (1 + prng_below(&r, 62)));
		int64_t n = (int64_t)(prng_u64(&r) >> (1 + prng_below(&r, 62)));
		m = prng_chance(&r, 50) ? m : -m;
		n = prng_chance(&r, 10) ? m : prng_chance(&r, 50) ? n : -n;
		int e = (int)prng_below(&r, 15), f = prng_chance(&r, 50) ? e : (int)prng_below(&r, 15);
		int shift = (int)prng_below(&r, 800) - 400;
		bool minus = prng_chance(&r, 50);
		char x[128], y[128];
		_cleanup_(buf_done) struct buf want = { 0 };
		random_form(&r, m, e + shift, x);
		random_form(&r, n, f + shift, y);
		plain(scaled(m, e) + (minus ? -scaled(n, f) : scaled(n, f)), shift, &want);
		bad += !adds_up(x, y, minus, (char *)want.data);
	}
	is_uint(bad, 0, "random decimals add up as integers do");
}

/* Numbers of few digits, which are divided instead of read, and others. */
static void test_doubles(uint64_t seed, uint64_t rounds)
{
	struct prng prng = { seed };
	unsigned bad = 0;
	for (uint64_t i = 0; i < rounds && bad < 10; i++) {
		char text[64];
		unsigned long long digits = prng_u64(&prng) >> prng_below(&prng, 64);
		double d = 0;
		if (prng_chance(&prng, 50))
			snprintf(text, sizeof(text), "-%llu.%llue%d", digits % 1000000, digits / 1000000 % 1000000000,
				 (int)prng_below(&prng, 60) - 30);
		else
			snprintf(text, sizeof(text), "%llue%d", digits % 1000000000000000, (int)prng_below(&prng, 60) - 30);
		int r = json_number_to_double(text, strlen(text), &d);
		double want = strtod(text, NULL);
		if (r < 0 || memcmp(&d, &want, sizeof(d)) != 0) {
			tap_diag("%s: %d, %.17g instead of %.17g", text, r, d, want);
			bad++;
		}
	}
	is_uint(bad, 0, "numbers of up to 15 digits are the doubles that strtod gives");
}

static void test_conversions(void)
{
	static const struct {
		const char *text;
		int want;
		int64_t v;
	} c[] = {
		{ "0", 0, 0 },
		{ "-0", 0, 0 },
		{ "-1", 0, -1 },
		{ "1e3", 0, 1000 },
		{ "5.0", 0, 5 },
		{ "120e-1", 0, 12 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "-9223372036854775808", 0, INT64_MIN },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "-9223372036854775809", -ERANGE, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1e-1", -EINVAL, 0 },
		{ "1e99999999999999999999", -ERANGE, 0 },
		{ "1e-99999999999999999999", -EINVAL, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
	};
	unsigned bad = 0;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		int64_t v = 0;
		int r = json_number_to_i64(c[i].text, strlen(c[i].text), &v);
		if (r != c[i].want || v != c[i].v) {
			tap_diag("%s: %d, %" PRId64, c[i].text, r, v);
			bad++;
		}
	}
	is_uint(bad, 0, "int64 or an error");
	uint64_t u = 7;
	ok(json_number_to_u64("18446744073709551615", 20, &u) == 0 && u == UINT64_MAX,
	   "largest uint64");
	is_errno(json_number_to_u64("18446744073709551616", 20, &u), -ERANGE, "one more");
	is_errno(json_number_to_u64("-1", 2, &u), -ERANGE, "less than nothing");
	ok(json_number_to_u64("1844674407370955161.50e1", 24, &u) == 0 && u == UINT64_MAX,
	   "the untouched value is overwritten only by success");

	static const struct {
		const char *text;
		double v;
	} good[] = {
		{ "0.1", 0.1 },
		{ "1.50", 1.5 },
		{ "-0", -0.0 },
		{ "1e308", 1e308 },
		{ "5e-324", 5e-324 },
		{ "9007199254740992", 9007199254740992.0 },
		{ "0.30000000000000004", 0.1 + 0.2 },
		{ "100000000000000000000", 1e20 },
		{ "-12.25e-3", -12.25e-3 },
	};
	bad = 0;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		double d = 42;
		int r = json_number_to_double(good[i].text, strlen(good[i].text), &d);
		if (r < 0 || memcmp(&d, &good[i].v, sizeof(d)) != 0) {
			tap_diag("%s: %d, %g", good[i].text, r, d);
			bad++;
		}
	}
	static const char *const lossy[] = { "9007199254740993",
					     "1e400",
					     "-1e400",
					     "1e-400",
					     "0.1000000000000000055511",
					     "18446744073709551615",
					     "1e999999999999999999999" };
	for (size_t i = 0; i < sizeof(lossy) / sizeof(lossy[0]); i++) {
		double d = 42;
		if (json_number_to_double(lossy[i], strlen(lossy[i]), &d) != -ERANGE || d < 42 ||
		    d > 42) {
			tap_diag("%s becomes %.17g", lossy[i], d);
			bad++;
		}
	}
	is_uint(bad, 0, "doubles that lose nothing, or an error");
	static const char *const invalid[] = { "",    "-",     "01",  "1.",    ".5",
					       "+1",  "1e",    "1e+", "1 ",    " 1",
					       "0x1", "1.2.3", "--1", "1e1.5", "NaN" };
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		bad += json_number_valid(invalid[i], strlen(invalid[i]));
	ok(bad == 0 && json_number_valid("-0.5E-07", 8), "what is a number and what is not");
}

int main(int argc, char **argv)
{
	tap_plan(15);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 20000);
	test_numbers(seed, rounds);
	test_sums(seed, rounds);
	test_conversions();
	test_doubles(seed, rounds);
	return tap_done();
}
