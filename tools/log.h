/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The daemon's log: the journal under systemd, standard error in the foreground, else the file
 * STORE/log, which is renamed to log.1 when it is large. Lines from any thread. Never put a
 * token, a key or the contents of a file into it. */

#include <stdbool.h>

#include "engine/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TARGET_FILE, LOG_TARGET_STDERR, LOG_TARGET_JOURNAL };

struct log;

/* dirfd (borrowed, outlives the log) and name are for LOG_TARGET_FILE. */
int log_new(enum log_target target, int dirfd, const char *name, struct log **ret, struct err *e);
void log_free(struct log *l);
DEFINE_CLEANUP(struct log *, log_free)

/* True when standard error is connected to the journal. */
bool log_under_journal(void);

void log_set_level(struct log *l, enum log_level level);
enum log_level log_level(const struct log *l);
const char *log_level_name(enum log_level level);
int log_level_parse(const char *text, enum log_level *ret); /* -EINVAL */

void log_put(struct log *l, enum log_level level, const char *fmt, ...) _printf_(3, 4);

#define log_error(l, ...) log_put((l), LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(l, ...) log_put((l), LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(l, ...) log_put((l), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(l, ...) log_put((l), LOG_LEVEL_DEBUG, __VA_ARGS__)
