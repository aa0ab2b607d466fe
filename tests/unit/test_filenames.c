/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of scraps, temporary files and backups. */
#include <string.h>

#include "fusefs/name.h"
#include "tests/tap.h"

static void test_local(void)
{
	static const char *const scraps[] = {
		"d.json~",
		"d.json.~3~",
		".d.json.swp",
		".d.json.swx",
		".d.json.swpx",
		"4913",
		"#d.json#",
		".#d.json",
		"sedAb12Cd",
		"XXw3rT9q",
		"tmpA1b2C3",
		"tmpab12_x9z",
		".goutputstream-QW3E4R",
		".~lock.d.odt#",
		"~$letter.docx",
		"lu1234.tmp",
		"d.json.vsctmp",
		".d.json.kate-swp",
		"x.tmp",
		"film.part",
		"x.crdownload",
		"base.db-journal",
		"base.db-wal",
		"base.db-shm",
		".nfs000000001",
	};
	static const char *const files[] = {
		"d.json",   "sedately", "sedative1x",   "tmpfiles.d", "tmpfile",
		"XXL.json", "notes.md", ".gitignore",   ".config",    "tmp",
		"part",     "a.tmpl",   "4913.json",    "lunch.json", "#1.txt",
		"journal",  ".swp",     "x-journal.md", "temporary",
	};
	for (size_t i = 0; i < sizeof(scraps) / sizeof(scraps[0]); i++)
		ok(name_is_local(scraps[i], strlen(scraps[i])), "%s stays here", scraps[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		ok(!name_is_local(files[i], strlen(files[i])), "%s is synced", files[i]);
}

static void is_part(bool (*f)(const char *, size_t, const char **, size_t *), const char *name,
		    const char *want)
{
	const char *part = NULL;
	size_t len = 0;
	bool found = f(name, strlen(name), &part, &len);
	ok(want ? found && len == strlen(want) && memcmp(part, want, len) == 0 : !found, "%s -> %s",
	   name, want ? want : "nothing");
}

int main(void)
{
	tap_plan(25 + 19 + 12);
	test_local();
	is_part(name_target, ".d.json.Ab12Cd", "d.json");
	is_part(name_target, "d.json.Ab12Cd", "d.json");
	is_part(name_target, "d.json.oAb12Cd", "d.json");
	is_part(name_target, "d.json", NULL);
	is_part(name_target, ".Ab12Cd", NULL);
	is_part(name_target, "d.json.Ab12C-", NULL);
	is_part(name_backup_of, "d.json~", "d.json");
	is_part(name_backup_of, "d.json.~12~", "d.json");
	is_part(name_backup_of, "~", NULL);
	is_part(name_backup_of, "d.json", NULL);
	ok(name_is_json("a.json", 6) && !name_is_json(".json", 5), "a.json, not .json");
	ok(!name_is_json("a.JSON", 6) && !name_is_json("a.jsonl", 7), "exactly .json");
	return tap_done();
}
