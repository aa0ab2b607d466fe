/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* libshoal: a Shoal store for programs, by way of its daemon's control socket. libshoal(3) has examples;
 * shoal-control(7) has the methods that shoal_request and shoal_call take, and what they answer.
 *
 * Paths are counted from the root of the collections, without a slash in front, in UTF-8 ("cars/7.json").
 * Texts of JSON are UTF-8, len bytes, and are borrowed for the call.
 *
 * Functions return 0 (or what they say) or a negative errno, and then fill e, which may be NULL; what they
 * return through other parameters is untouched then. -ECONNRESET: the daemon went away; open anew.
 * -ETIMEDOUT: it did not answer in time; a change may have been made or not. -ENOMEM.
 *
 * The library has no global state. A connection belongs to one thread at a time, several connections are
 * independent of each other. No signals, no threads, no locale, no printing. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define SHOAL_ERROR_TEXT 240 /* bytes of a message with its NUL */
#define SHOAL_VERSION_SIZE 33 /* hexadecimal digits and NUL */

struct shoal_error {
	int code;                       /* negative errno */
	char message[SHOAL_ERROR_TEXT]; /* one sentence: what, why, what to do */
	unsigned line, column;          /* the place in a text that was asked, both from 1; 0: none is meant */
	unsigned long long offset;      /* bytes in front of it */
};

/* ---- a connection ---- */

struct shoal;

/* Connects to the daemon of a store. where: the store's directory, or any place inside of its mount; NULL: as
 * shoal(1) finds it ($SHOAL_STORE, the mount that the current directory is in, the user's own store).
 * -ESRCH: no daemon serves it; -ENOENT: there is no store; -EACCES, -EPERM: it is another user's. */
int shoal_open(const char *where, struct shoal **ret, struct shoal_error *e);
/* Ends what was asked for and not answered yet, without calling anybody. NULL is fine. Not from a callback. */
void shoal_close(struct shoal *s);
/* The store's directory; borrowed. */
const char *shoal_store(const struct shoal *s);
/* How long functions that wait do so for each answer, in microseconds; 0: forever. 60 s at first. */
void shoal_set_timeout(struct shoal *s, uint64_t us);

/* ---- requests ---- */

struct shoal_answer {
	const char *json;                /* a result, one JSON value in len bytes; NULL: an error */
	size_t len;
	const struct shoal_error *error; /* NULL: a result. An error is the last answer */
	int last;                        /* no more answers to this request */
};

/* Takes an answer, which is borrowed until it returns. Anything but 0: no more of them. It may make requests
 * on the same connection, and must not wait on it (-EDEADLK). */
typedef int (*shoal_answer_fn)(const struct shoal_answer *a, void *userdata);

/* Asks, without waiting. params: a JSON object, NULL: none. f (may be NULL) is called for each answer, in
 * order, by shoal_process and by all functions that wait, whatever they wait for. Answers to several requests come
 * in any order. Returns the request's number, from 1. -EAGAIN: 32 MiB wait to be sent, call shoal_process
 * first; -E2BIG: more than 8 MiB; -EINVAL: params are no object. */
int64_t shoal_request(struct shoal *s, const char *method, const char *params, shoal_answer_fn f,
		      void *userdata, struct shoal_error *e);
/* Sends and receives what it can without waiting, and calls. Returns how many answers were handed out. */
int shoal_process(struct shoal *s, struct shoal_error *e);
/* For a loop of one's own: call shoal_process when poll(2) reports one of these events on this descriptor.
 * Both change with the connection's state: ask for the events before each poll. The descriptor is borrowed. */
int shoal_fd(const struct shoal *s);
short shoal_events(const struct shoal *s);
/* Waits until a request (0: each one) has its last answer or its f wants no more. -EDEADLK. */
int shoal_finish(struct shoal *s, int64_t request, struct shoal_error *e);
/* Asks, and waits like shoal_finish. An error that is answered is returned, f does not see it; so is what f
 * returns, if that is not 0. */
int shoal_call(struct shoal *s, const char *method, const char *params, shoal_answer_fn f,
	       void *userdata, struct shoal_error *e);

/* ---- files ---- */

struct shoal_file {
	char *data;                       /* the bytes as the mount serves them, and a NUL behind them */
	size_t len;
	char version[SHOAL_VERSION_SIZE];
	char form[8];                     /* json, text, blob, none */
};

/* Reads a file. version: NULL is the newest one, else four or more digits of one that is kept. -ENOENT,
 * -EISDIR; -EHOSTDOWN: its contents are not here, and no device that has them is; -EFBIG: more than
 * max bytes (0: no limit). */
int shoal_get(struct shoal *s, const char *path, const char *version, size_t max,
	      struct shoal_file *ret, struct shoal_error *e);
/* Gives its memory back; all zero afterwards. */
void shoal_file_done(struct shoal_file *f);

/* A single change; libshoal(3) and `shoal txn` in shoal(1) say what each does. if_version: NULL, any; "", the
 * file must not be there; else four or more digits of the version that it must have (-ESTALE otherwise).
 * ret_version: of the file afterwards; SHOAL_VERSION_SIZE bytes, may be NULL. The file's directory has to be
 * there. -ENOENT, -EINVAL (no JSON, no document), -ECANCELED (a test of the patch failed), -EROFS, -ENOSPC. */
int shoal_put(struct shoal *s, const char *path, const char *json, size_t len, const char *if_version,
	      char *ret_version, struct shoal_error *e);
int shoal_patch(struct shoal *s, const char *path, const char *operations, size_t len,
		const char *if_version, char *ret_version, struct shoal_error *e);
int shoal_merge(struct shoal *s, const char *path, const char *json, size_t len, const char *if_version,
		char *ret_version, struct shoal_error *e);
int shoal_delete(struct shoal *s, const char *path, const char *if_version, struct shoal_error *e);

/* ---- several changes at once ---- */

#define SHOAL_TXN_STEPS 1000

struct shoal_txn;

enum {
	SHOAL_APART = 1, /* all or none here, but other devices may take it in piece by piece: cheaper, for bulk */
	SHOAL_SYNC = 2,  /* answered when it is on the disk */
};

int shoal_txn_new(struct shoal_txn **ret);
void shoal_txn_free(struct shoal_txn *t);
/* Takes all steps out, to be used again. */
void shoal_txn_clear(struct shoal_txn *t);
unsigned shoal_txn_count(const struct shoal_txn *t);
/* Add a step; what is done to a file goes on from the steps before. -E2BIG: it is full (SHOAL_TXN_STEPS steps, or
 * as many bytes as a request may have) and unchanged: run it, clear it, and go on. -EINVAL with line and column:
 * json is none. */
int shoal_txn_put(struct shoal_txn *t, const char *path, const char *json, size_t len,
		  const char *if_version, struct shoal_error *e);
int shoal_txn_patch(struct shoal_txn *t, const char *path, const char *operations, size_t len,
		    const char *if_version, struct shoal_error *e);
int shoal_txn_merge(struct shoal_txn *t, const char *path, const char *json, size_t len,
		    const char *if_version, struct shoal_error *e);
int shoal_txn_delete(struct shoal_txn *t, const char *path, const char *if_version,
		     struct shoal_error *e);
/* Does all of it, or nothing; flags: SHOAL_APART, SHOAL_SYNC. ret_version (may be NULL): for each step the
 * version that its file has afterwards, "" if it is gone. The message of an error begins with "line N: ": the
 * step at fault, from 1. */
int shoal_txn_run(struct shoal *s, const struct shoal_txn *t, unsigned flags,
		  char (*ret_version)[SHOAL_VERSION_SIZE], struct shoal_error *e);
/* The same as a request (shoal_request): keep a few of them under way to have many done in a second. The
 * transaction may be cleared or freed at once. */
int64_t shoal_txn_send(struct shoal *s, const struct shoal_txn *t, unsigned flags, shoal_answer_fn f,
		       void *userdata, struct shoal_error *e);
/* Waits until all that was changed before is on the disk. */
int shoal_sync(struct shoal *s, struct shoal_error *e);

/* ---- questions ---- */

struct shoal_param {
	const char *name;  /* of :name in the query, without the colon */
	const char *value; /* a number, true, false or null as in JSON, or a string in JSON's quotes; all else is a text */
};

/* Asks in the SQL of shoal-query(7), and waits. f takes results as they come: first {"columns":[{"name":TEXT,
 * "json":BOOL},...]}, then {"rows":[[VALUE,...],...]} as often as it needs, then {"count":N}, the last one. Texts in columns
 * with "json" are JSON; bytes are {"base64":TEXT}. If f wants no more the rest is passed over: close the connection
 * to end the query. -EINVAL (the query, with the place), -EPERM (it would change something), -ETIMEDOUT, -ENOMEM (over
 * a limit of shoal.conf(5)), -EFBIG (a row), -EBUSY (eight run already); what f returned, if that is not 0. */
int shoal_query(struct shoal *s, const char *sql, const struct shoal_param *param, unsigned n,
		shoal_answer_fn f, void *userdata, struct shoal_error *e);

/* ---- what happens elsewhere ---- */

/* Reports changes in or below n paths (0: everywhere), local and remote, from the moment of the first answer,
 * an empty object, on; then an object each (shoal-control(7), watch). Returns the request's number. It ends with
 * the connection. {"kind":"overflow"}: some were not told, look for yourself. */
int64_t shoal_watch(struct shoal *s, const char *const *path, unsigned n, shoal_answer_fn f,
		    void *userdata, struct shoal_error *e);
/* Waits until so many other devices (device: that one, by its name or id; else NULL) hold durably what this
 * store held in or below n paths (0: everywhere) when it was asked. timeout_us 0: forever. -ETIMEDOUT;
 * -ENODEV: there is no such device. */
int shoal_wait(struct shoal *s, const char *const *path, unsigned n, unsigned peers, const char *device,
	       uint64_t timeout_us, struct shoal_error *e);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
