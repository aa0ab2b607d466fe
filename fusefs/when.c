/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/when.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SECOND_US UINT64_C(1000000)
#define SECONDS_MAX UINT64_C(100000000000) /* some thousand years */

/* n digits from lo to hi; *p goes on behind them. */
static bool number(const char **p, unsigned n, int lo, int hi, int *ret)
{
	int v = 0;
	for (unsigned i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return v >= lo && v <= hi;
}

static bool take(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* .25 or nothing; what is below a microsecond is left out. */
static bool fraction(const char **p, uint64_t *ret_us)
{
	uint64_t unit = SECOND_US / 10;
	*ret_us = 0;
	if (!take(p, '.'))
		return true;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
		*ret_us += unit * (uint64_t)(**p - '0');
	return true;
}

static int since_1970(const char *p, uint64_t *ret_us)
{
	uint64_t seconds = 0, us;
	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		seconds = seconds * 10 + (uint64_t)(*p - '0');
		if (seconds > SECONDS_MAX)
			return -EINVAL;
	}
	if (!fraction(&p, &us) || *p)
		return -EINVAL;
	*ret_us = seconds * SECOND_US + us;
	return 0;
}

static int days_of(int year, int month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return days[month - 1] + (month == 2 && leap);
}

static bool date(const char **p, struct tm *tm)
{
	bool good = number(p, 4, 1970, 9999, &tm->tm_year) && take(p, '-') &&
		    number(p, 2, 1, 12, &tm->tm_mon) && take(p, '-') &&
		    number(p, 2, 1, 31, &tm->tm_mday) &&
		    tm->tm_mday <= days_of(tm->tm_year, tm->tm_mon);
	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	return good;
}

static bool clock_time(const char **p, struct tm *tm, uint64_t *ret_us)
{
	if (!number(p, 2, 0, 23, &tm->tm_hour) || !take(p, ':') ||
	    !number(p, 2, 0, 59, &tm->tm_min))
		return false;
	return !take(p, ':') || (number(p, 2, 0, 60, &tm->tm_sec) && fraction(p, ret_us));
}

/* Z, +02:00 or nothing, which is local time. */
static bool zone(const char **p, bool *ret_local, int *ret_offset)
{
	int hours, minutes, sign = **p == '-' ? -1 : 1;
	*ret_local = **p == '\0';
	*ret_offset = 0;
	if (*ret_local || take(p, 'Z') || take(p, 'z'))
		return true;
	if ((!take(p, '+') && !take(p, '-')) || !number(p, 2, 0, 23, &hours) || !take(p, ':') ||
	    !number(p, 2, 0, 59, &minutes))
		return false;
	*ret_offset = sign * (hours * 60 + minutes) * 60;
	return true;
}

int when_parse(const char *text, uint64_t *ret_us)
{
	const char *p = text;
	struct tm tm = { .tm_isdst = -1 };
	bool local = true;
	uint64_t us = 0;
	int offset = 0;
	if (take(&p, '@'))
		return since_1970(p, ret_us);
	if (!date(&p, &tm))
		return -EINVAL;
	if (*p && ((!take(&p, 'T') && !take(&p, 't')) || !clock_time(&p, &tm, &us) ||
		   !zone(&p, &local, &offset)))
		return -EINVAL;
	time_t t = local ? mktime(&tm) : timegm(&tm);
	if (*p || t < offset)
		return -EINVAL;
	*ret_us = (uint64_t)(t - offset) * SECOND_US + us;
	return 0;
}
