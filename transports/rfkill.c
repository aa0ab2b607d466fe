/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/rfkill.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES_MAX 256

/* A word of a file in sys/class/rfkill/NAME. */
static bool rfkill_is(const char *dir, const char *name, const char *file, const char *want)
{
	char path[512], word[32] = "";
	if (snprintf(path, sizeof(path), "%s/%.64s/%s", dir, name, file) >= (int)sizeof(path))
		return false;
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	bool same = fscanf(f, "%31s", word) == 1 && strcmp(word, want) == 0;
	fclose(f);
	return same;
}

struct rfkill rfkill_look(const char *root, const char *type)
{
	char dir[256];
	struct rfkill k = { 0 };
	if (snprintf(dir, sizeof(dir), "%s/sys/class/rfkill", root) >= (int)sizeof(dir))
		return k;
	DIR *d = opendir(dir);
	const struct dirent *entry;
	for (unsigned i = 0; d && i < ENTRIES_MAX && (entry = readdir(d)); i++) {
		if (strncmp(entry->d_name, "rfkill", 6) != 0 || !rfkill_is(dir, entry->d_name, "type", type))
			continue;
		bool hard = rfkill_is(dir, entry->d_name, "hard", "1");
		k.n++;
		k.blocked += hard || rfkill_is(dir, entry->d_name, "soft", "1");
		k.hard |= hard;
	}
	if (d)
		closedir(d);
	return k;
}
