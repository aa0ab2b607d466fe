/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/name.h"

#include <ctype.h>
#include <string.h>

static bool starts(const char *s, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);
	return len >= n && memcmp(s, prefix, n) == 0;
}

static bool ends(const char *s, size_t len, const char *suffix)
{
	size_t n = strlen(suffix);
	return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

/* What mkstemp and its kin make: letters and digits. */
static bool random_chars(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]))
			return false;
	return true;
}

/* Six of them that no person would type as a word: sed, tmp, XX are prefixes of ordinary names
 * ("sedately", "tmpfiles"), so want a digit or an upper-case letter among them. */
static bool random_six(const char *s)
{
	if (!random_chars(s, 6))
		return false;
	for (size_t i = 0; i < 6; i++)
		if (isdigit((unsigned char)s[i]) || isupper((unsigned char)s[i]))
			return true;
	return false;
}

static bool is_swap(const char *s, size_t len)
{
	if (len < 6 || s[0] != '.')
		return false;
	if (ends(s, len, ".swpx"))
		return true;
	return s[len - 4] == '.' && s[len - 3] == 's' && s[len - 2] == 'w' && s[len - 1] >= 'a' &&
	       s[len - 1] <= 'z';
}

bool name_is_local(const char *s, size_t len)
{
	static const char *const suffix[] = { ".vsctmp",     ".kate-swp", ".tmp", ".part",
					      ".crdownload", "-journal",  "-wal", "-shm" };
	if (len == 0)
		return false;
	if (s[len - 1] == '~' || starts(s, len, ".#") || starts(s, len, "~$"))
		return true;
	if (len >= 2 && s[0] == '#' && s[len - 1] == '#')
		return true;
	if (is_swap(s, len) || (len == 4 && memcmp(s, "4913", 4) == 0))
		return true;
	if (len == 9 && (starts(s, len, "sed") || starts(s, len, "tmp")) && random_six(s + 3))
		return true;
	if (len == 8 && starts(s, len, "XX") && random_six(s + 2))
		return true;
	/* Python's tempfile: tmp and eight of a-z0-9_ */
	if (len == 11 && starts(s, len, "tmp")) {
		bool digit = false, all = true;
		for (size_t i = 3; i < len; i++) {
			digit |= isdigit((unsigned char)s[i]) || s[i] == '_';
			all &= islower((unsigned char)s[i]) || isdigit((unsigned char)s[i]) ||
			       s[i] == '_';
		}
		if (all && digit)
			return true;
	}
	if (starts(s, len, ".goutputstream-") || starts(s, len, ".nfs"))
		return true;
	if (starts(s, len, ".~lock.") && s[len - 1] == '#')
		return true;
	if (starts(s, len, "lu") && ends(s, len, ".tmp"))
		return true;
	for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++)
		if (ends(s, len, suffix[i]) && len > strlen(suffix[i]))
			return true;
	return false;
}

bool name_target(const char *s, size_t len, const char **ret, size_t *ret_len)
{
	if (len < 8 || !random_chars(s + len - 6, 6))
		return false;
	size_t end;
	if (s[len - 7] == '.')
		end = len - 7;
	else if (len >= 9 && s[len - 7] == 'o' && s[len - 8] == '.')
		end = len - 8;
	else
		return false;
	size_t start = s[0] == '.' && end > 1 ? 1 : 0;
	if (end <= start)
		return false;
	*ret = s + start;
	*ret_len = end - start;
	return true;
}

bool name_backup_of(const char *s, size_t len, const char **ret, size_t *ret_len)
{
	if (len < 2 || s[len - 1] != '~')
		return false;
	size_t end = len - 1;
	/* Numbered: D.~3~ */
	size_t i = end;
	while (i > 0 && isdigit((unsigned char)s[i - 1]))
		i--;
	if (i < end && i >= 3 && s[i - 1] == '~' && s[i - 2] == '.')
		end = i - 2;
	*ret = s;
	*ret_len = end;
	return end > 0;
}

bool name_is_json(const char *s, size_t len)
{
	return len > 5 && ends(s, len, ".json");
}
