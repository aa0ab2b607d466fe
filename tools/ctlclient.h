/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Calls to a daemon by libshoal, for those who read the answers as struct json. One thread. */

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"
#include "tools/storedir.h"

struct ctlclient;
struct shoal;

/* -ESRCH: no daemon serves the store. */
int ctlclient_new(const struct storedir *dir, struct ctlclient **ret, struct err *e);
void ctlclient_free(struct ctlclient *c);
DEFINE_CLEANUP(struct ctlclient *, ctlclient_free)

/* Calls a method and hands every result to f, in order; last: no more will come. The JSON is
 * f's until it returns; raw is its text. f returning non-zero ends the call, and that is returned. timeout_us:
 * for each answer, 0: forever (-ETIMEDOUT). A failure that the daemon reports is returned as its
 * code with its message. -ECONNRESET: the daemon went away. */
typedef int (*ctl_result_fn)(const struct json *result, const char *raw, size_t raw_len, bool last,
			     void *userdata);
int ctlclient_call(struct ctlclient *c, const char *method, const struct buf *params,
		   uint64_t timeout_us, ctl_result_fn f, void *userdata, struct err *e);

/* What it is made of; borrowed. */
struct shoal *ctlclient_shoal(const struct ctlclient *c);
/* The other end's process; 0: unknown. */
pid_t ctlclient_pid(const struct ctlclient *c);
