/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a string has to look like, by the name of its format (JSON Schema, Validation, section 7.3). */

#include "engine/schema-impl.h"

#include <arpa/inet.h>
#include <string.h>

static const struct {
	const char *name;
	enum format format;
} formats[] = {
	{ "date-time", FORMAT_DATE_TIME }, { "date", FORMAT_DATE },	   { "time", FORMAT_TIME },
	{ "email", FORMAT_EMAIL },	   { "hostname", FORMAT_HOSTNAME }, { "ipv4", FORMAT_IPV4 },
	{ "ipv6", FORMAT_IPV6 },	   { "uri", FORMAT_URI },	   { "uuid", FORMAT_UUID },
};

enum format format_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strlen(formats[i].name) == len && memcmp(formats[i].name, name, len) == 0)
			return formats[i].format;
	return FORMAT_NONE;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Two digits, or -1. */
static int two(const char *s)
{
	return is_digit(s[0]) && is_digit(s[1]) ? (s[0] - '0') * 10 + (s[1] - '0') : -1;
}

/* full-date of RFC 3339. */
static bool is_date(const char *s, size_t len)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	if (len != 10 || s[4] != '-' || s[7] != '-')
		return false;
	int century = two(s), year = two(s + 2), month = two(s + 5), day = two(s + 8);
	if (century < 0 || year < 0 || month < 1 || month > 12)
		return false;
	year += century * 100;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

/* full-time of RFC 3339; a second 60 only where the minute in UTC is the last one of a day. */
static bool is_time(const char *s, size_t len)
{
	if (len < 9 || s[2] != ':' || s[5] != ':')
		return false;
	int hour = two(s), minute = two(s + 3), second = two(s + 6), offset = 0;
	size_t i = 8;
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return false;
	if (s[i] == '.') {
		size_t first = ++i;
		while (i < len && is_digit(s[i]))
			i++;
		if (i == first)
			return false;
	}
	if (i < len && (s[i] == 'z' || s[i] == 'Z')) {
		i++;
	} else if (i + 6 == len && (s[i] == '+' || s[i] == '-') && s[i + 3] == ':') {
		int h = two(s + i + 1), m = two(s + i + 4);
		if (h < 0 || h > 23 || m < 0 || m > 59)
			return false;
		offset = (s[i] == '-' ? -1 : 1) * (h * 60 + m);
		i += 6;
	} else {
		return false;
	}
	int utc = ((hour * 60 + minute - offset) % 1440 + 1440) % 1440;
	return i == len && (second < 60 || utc == 1439);
}

static bool is_date_time(const char *s, size_t len)
{
	return len > 11 && (s[10] == 'T' || s[10] == 't') && is_date(s, 10) && is_time(s + 11, len - 11);
}

/* RFC 1123, section 2.1. */
static bool is_hostname(const char *s, size_t len)
{
	size_t label = 0;
	if (len == 0 || len > 253)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i == len || s[i] == '.') {
			if (label == 0 || label > 63 || s[i - 1] == '-' || s[i - label] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '-')
			return false;
		label++;
	}
	return true;
}

static bool is_address(int family, const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN], address[16];
	if (len == 0 || len >= sizeof(text) || memchr(s, 0, len))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	return inet_pton(family, text, address) == 1;
}

/* Mailbox of RFC 5321, section 4.1.2, without quoted local parts. */
static bool is_email(const char *s, size_t len)
{
	static const char others[] = "!#$%&'*+-/=?^_`{|}~";
	const char *at = memchr(s, '@', len);
	if (!at || at == s || at - s > 64 || s[0] == '.' || at[-1] == '.')
		return false;
	for (const char *p = s; p < at; p++)
		if (!is_letter(*p) && !is_digit(*p) && (*p == 0 || !strchr(others, *p)) &&
		    (*p != '.' || p[1] == '.'))
			return false;
	const char *host = at + 1;
	size_t n = len - (size_t)(host - s);
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		bool six = n > 7 && memcmp(host + 1, "IPv6:", 5) == 0;
		return six ? is_address(AF_INET6, host + 6, n - 7) : is_address(AF_INET, host + 1, n - 2);
	}
	return is_hostname(host, n);
}

/* A URI of RFC 3986 by its scheme and characters. */
static bool is_uri(const char *s, size_t len)
{
	static const char others[] = "-._~:/?#[]@!$&'()*+,;=";
	const char *colon = memchr(s, ':', len);
	if (!colon || !is_letter(s[0]))
		return false;
	for (const char *p = s; p < colon; p++)
		if (!is_letter(*p) && !is_digit(*p) && *p != '+' && *p != '-' && *p != '.')
			return false;
	unsigned fragments = 0;
	for (size_t i = (size_t)(colon - s); i < len; i++) {
		if (s[i] == '%') {
			if (i + 2 >= len || !is_hex(s[i + 1]) || !is_hex(s[i + 2]))
				return false;
			i += 2;
		} else if (!is_letter(s[i]) && !is_digit(s[i]) && (s[i] == 0 || !strchr(others, s[i]))) {
			return false;
		} else if (s[i] == '#' && fragments++) {
			return false;
		}
	}
	return true;
}

static bool is_uuid(const char *s, size_t len)
{
	if (len != 36)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? s[i] != '-' : !is_hex(s[i]))
			return false;
	}
	return true;
}

bool format_fits(enum format f, const char *s, size_t len)
{
	switch (f) {
	case FORMAT_NONE:
		return true;
	case FORMAT_DATE_TIME:
		return is_date_time(s, len);
	case FORMAT_DATE:
		return is_date(s, len);
	case FORMAT_TIME:
		return is_time(s, len);
	case FORMAT_EMAIL:
		return is_email(s, len);
	case FORMAT_HOSTNAME:
		return is_hostname(s, len);
	case FORMAT_IPV4:
		return is_address(AF_INET, s, len);
	case FORMAT_IPV6:
		return is_address(AF_INET6, s, len);
	case FORMAT_URI:
		return is_uri(s, len);
	case FORMAT_UUID:
		return is_uuid(s, len);
	}
	return true;
}
