/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/battery.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cleanup.h"

#define SUPPLIES_MAX 64

/* The first word of a file; "" when there is none. */
static void read_word(const char *dir, const char *supply, const char *name, char ret[static 32])
{
	char path[512];
	ret[0] = 0;
	if (snprintf(path, sizeof(path), "%s/%.64s/%s", dir, supply, name) >= (int)sizeof(path))
		return;
	FILE *f = fopen(path, "re");
	if (!f)
		return;
	if (fscanf(f, "%31s", ret) != 1)
		ret[0] = 0;
	fclose(f);
}

enum battery battery_read(const char *root)
{
	char dir[256], word[32];
	bool in_use = false, low = false, mains = false;
	if (snprintf(dir, sizeof(dir), "%s/sys/class/power_supply", root) >= (int)sizeof(dir))
		return BATTERY_NONE;
	DIR *d = opendir(dir);
	if (!d)
		return BATTERY_NONE;
	const struct dirent *entry;
	for (unsigned i = 0; i < SUPPLIES_MAX && (entry = readdir(d)); i++) {
		if (entry->d_name[0] == '.')
			continue;
		/* A mouse's battery says scope "Device". */
		read_word(dir, entry->d_name, "scope", word);
		if (strcmp(word, "Device") == 0)
			continue;
		read_word(dir, entry->d_name, "type", word);
		if (strcmp(word, "Battery") != 0) {
			read_word(dir, entry->d_name, "online", word);
			mains |= word[0] == '1';
			continue;
		}
		read_word(dir, entry->d_name, "status", word);
		if (strcmp(word, "Discharging") != 0)
			continue;
		in_use = true;
		read_word(dir, entry->d_name, "capacity", word);
		low |= word[0] && strtoul(word, NULL, 10) <= BATTERY_LOW_PERCENT;
	}
	closedir(d);
	if (!in_use || mains)
		return BATTERY_NONE;
	return low ? BATTERY_LOW : BATTERY_IN_USE;
}
