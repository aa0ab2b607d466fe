/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a file name says about its file: scraps of editors and tools that no other device wants. */

#include <stdbool.h>
#include <stddef.h>

/* True for names that never leave this device whatever is next to them: backups (x~), swap files
 * (.x.swp), lock links (.#x), temporary files (sedXXXXXX, .goutputstream-*, *.tmp, ...). */
bool name_is_local(const char *name, size_t len);

/* Temporary names made from the name of the file they are for: D.oXXXXXX, D.XXXXXX, .D.XXXXXX.
 * Gives the part D that would be there if it is one: a slice of name. */
bool name_target(const char *name, size_t len, const char **ret, size_t *ret_len);

/* The original that a backup name stands for: D~ and D.~3~ -> D; a slice of name. */
bool name_backup_of(const char *name, size_t len, const char **ret, size_t *ret_len);

/* *.json, whatever the case of the letters is not: exactly as the engine sees it. */
bool name_is_json(const char *name, size_t len);
