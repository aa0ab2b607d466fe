/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the commands of shoal(1) share. A command returns an exit code. */

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"
#include "tools/cmdline.h"
#include "tools/ctlclient.h"
#include "tools/storedir.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TIMEOUT = 3, EXIT_NO_DAEMON = 4 };

#define CALL_TIMEOUT_US (60 * 1000000u) /* for methods that answer at once */

struct cli {
	struct cmdline line;
	struct buf store;  /* path, from cli_find_store */
	bool colour;       /* standard output is a terminal that shows colours */
	bool terminal;     /* standard output is a terminal */
	bool escapes;      /* and one that takes escape sequences */
};

/* One line on standard error; returns the exit code for e (-ESRCH: no daemon, -ETIMEDOUT: 1,
 * for only `wait` ends with 3). */
int cli_fail(const struct cli *c, const struct err *e);
int cli_usage(const struct cli *c, const char *fmt, ...) _printf_(2, 3);

/* Where the store is. dir (may be NULL): a directory of the command line; if a store is mounted
 * just there, and --store is not given, that one. 0 or -errno. */
int cli_find_store(struct cli *c, const char *dir, struct err *e);
int cli_open_store(struct cli *c, bool create, struct storedir **ret, struct err *e);
/* Finds the store and its daemon. -ESRCH. */
int cli_connect(struct cli *c, struct ctlclient **ret, struct err *e);

/* Calls a method that answers once; the answer's text is put into ret (replaced), and parsed
 * into the arena if a is given. */
int cli_ask(struct ctlclient *k, const char *method, const struct buf *params, struct buf *ret,
	    struct arena *a, struct json **ret_json, struct err *e);

/* A command that asks one thing: put makes the parameters, print shows the answer to people. */
struct question {
	const char *method;
	int (*put)(const struct cli *c, struct buf *params, struct err *e);
	void (*print)(const struct cli *c, struct arena *a, const struct json *answer);
};
/* Asks it and prints the answer, with --json as it came. */
int cli_run(struct cli *c, const struct question *q);

/* How a file of documents is written, by --format (may be NULL) or by the end of its name: jsonl, csv, tsv. False: that
 * says nothing. */
struct records_config;
bool cli_format(const char *format, const char *file, struct records_config *ret);

/* All of standard input, at most max bytes; `what` it is, for people. -EFBIG with a sentence that ends with `hint`; -EINVAL:
 * it has NUL bytes. */
int cli_read_input(struct buf *ret, size_t max, const char *what, const char *hint, struct err *e);
/* Prints the text and a newline; a write error is a failure as well. */
int cli_print(const struct buf *b);

/* A path of the command line as the daemon knows it: from the collection's root, without a
 * leading slash. It may lie in the store's mount, or be given from the root. */
int cli_path(const struct cli *c, const char *path, struct buf *ret, struct err *e);
/* Appends a JSON string. */
void cli_put_text(struct buf *b, const char *text);
/* "paths":[…] of all arguments. */
int cli_put_paths(const struct cli *c, struct buf *params, struct err *e);

/* Splits PATH@VERSION (at least four hexadecimal digits); NULL: there is no version, and an @ is part
 * of the name. */
char *cli_split_version(char *path);
/* {"path":…[,"version":…] without the brace that ends it. version may be NULL. */
int cli_put_version(const struct cli *c, const char *path, const char *version, struct buf *params,
		    struct err *e);
/* Bytes of an answer of `cat`, appended. -EPROTO. */
int cli_take_data(const struct json *result, struct buf *ret);
/* 2026-11-27T10:00:00.123Z -> 2026-11-27 10:00:00 */
#define HUMAN_DATE 20
const char *human_date(const char *rfc3339, char text[static HUMAN_DATE]);

/* So long after a store was found to have been copied or brought back people are told. */
#define RENEWED_TOLD_S (7 * 86400)

/* Members of an answer; the fallback is for what is missing. */
const char *cli_text(struct arena *a, const struct json *o, const char *key, const char *fallback);
uint64_t cli_uint(const struct json *o, const char *key);
bool cli_true(const struct json *o, const char *key);

/* 1234567 -> "1.2 MB"; microseconds -> "1.2 ms", "3 s", "2 min". */
#define HUMAN_SIZE 24
const char *human_bytes(uint64_t n, char text[static HUMAN_SIZE]);
const char *human_time(uint64_t us, char text[static HUMAN_SIZE]);

/* A table for people: columns aligned, cells separated by two spaces. Cells are copied. */
struct listing {
	char **cell;
	unsigned columns, n, cap;
	bool failed;
};
void listing_cell(struct listing *t, const char *text);
void listing_print(struct listing *t);
void listing_done(struct listing *t);

int cmd_up(void *context);
int cmd_down(void *context);
int cmd_upgrade(void *context);
int cmd_init(void *context);
int cmd_mount(void *context);
int cmd_umount(void *context);
int cmd_invite(void *context);
int cmd_join(void *context);
int cmd_status(void *context);
int cmd_peers(void *context);
int cmd_devices(void *context);
int cli_graph(struct cli *c); /* `peers` with --graph or --dot */
int cmd_connect(void *context);
int cmd_disconnect(void *context);
int cmd_evict(void *context);
int cmd_fetch(void *context);
int cmd_wait(void *context);
int cmd_watch(void *context);
int cmd_cat(void *context);
int cmd_log(void *context);
int cmd_conflicts(void *context);
int cmd_resolve(void *context);
int cmd_diff(void *context);
int cmd_restore(void *context);
int cmd_blame(void *context);
int cmd_txn(void *context);
int cmd_query(void *context);
int cmd_index(void *context);
int cmd_type(void *context);
int cmd_import(void *context);
/* Of the directory `from` into dir of the store. */
int cli_import_dir(struct cli *c, struct ctlclient *k, int from, const char *dir);
int cmd_export(void *context);
int cmd_subscribe(void *context);
int cmd_unsubscribe(void *context);
int cmd_subscriptions(void *context);
int cmd_config(void *context);
int cmd_log_level(void *context);
int cmd_doctor(void *context);
int cmd_verify(void *context);

/* The options of each command, by index into its table (tools/shoal.c). */
enum { UP_FOREGROUND, UP_OPTIONS, UP_NAME, UP_COUNT };
enum { INIT_MESH, INIT_DEVICE, INIT_COUNT };
enum { MOUNT_OPTIONS, MOUNT_COUNT };
enum { INVITE_ROLE, INVITE_EXPIRES, INVITE_USES, INVITE_QR, INVITE_COUNT };
enum { JOIN_DEVICE, JOIN_ADDRESS, JOIN_TIMEOUT, JOIN_COUNT };
enum { SUBSCRIBE_WHERE, SUBSCRIBE_NEW, SUBSCRIBE_COUNT };
enum { UNSUBSCRIBE_NEW, UNSUBSCRIBE_FORCE, UNSUBSCRIBE_COUNT };
enum { PEERS_GRAPH, PEERS_DOT, PEERS_COUNT };
enum { WAIT_PEERS, WAIT_DEVICE, WAIT_TIMEOUT, WAIT_COUNT };
enum { WATCH_WHERE, WATCH_COUNT };
enum { RESOLVE_TAKE, RESOLVE_KEEP, RESOLVE_COUNT };
enum { LOG_DELETED, LOG_COUNT };
enum { RESTORE_TO, RESTORE_COUNT };
enum { QUERY_FORMAT, QUERY_PARAM, QUERY_WATCH, QUERY_SINCE, QUERY_COUNT };
enum { VERIFY_REPAIR, VERIFY_COUNT };
enum { INDEX_DROP, INDEX_LIST, INDEX_COUNT };
enum { IMPORT_FORMAT, IMPORT_ID, IMPORT_TEXT, IMPORT_FROM, IMPORT_KEEP_GOING, IMPORT_COUNT };
enum { EXPORT_FORMAT, EXPORT_COUNT };
