/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The control protocol's lines (shoal-control(7)): one JSON object a line.
 *
 *     request   {"method":NAME,"params":{…},"id":ANY}     params and id may be left out
 *     result    {"result":VALUE,"id":ANY}
 *     failure   {"error":{"code":ERRNO,"name":"ENOENT","message":TEXT},"id":ANY}
 *               with "line", "column" and "offset" in the error where it is about a place in a text
 *
 * A method that reports as it goes answers with several results; all but the last of them have
 * "more":true. Whoever closes the connection ends what it asked for. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/arena.h"
#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"

#define CONTROL_REQUEST_MAX (8u * 1024 * 1024)  /* bytes of a request line */
#define CONTROL_REPLY_MAX (64u * 1024 * 1024)   /* bytes of a reply line */
#define CONTROL_ID_MAX 256                      /* bytes of an id as written */
#define CONTROL_METHOD_MAX 64

struct control_request {
	const char *method;        /* arena */
	const struct json *params; /* an object; NULL: none */
	const char *id;            /* lexeme, borrowed from the line; NULL: none */
	size_t id_len;
};

/* line has no newline; it must outlive the request. -EINVAL. Even then ret->id is set if the line
 * had a good one. */
int control_parse_request(struct arena *a, const char *line, size_t len,
			  struct control_request *ret, struct err *e);

struct control_reply {
	uint64_t id;               /* 0: it is no number */
	const struct json *result; /* NULL: an error */
	bool more;
	struct err error; /* code as negative errno */
};

int control_parse_reply(struct arena *a, const char *line, size_t len, struct control_reply *ret,
			struct err *e);

/* Append a whole line. result: one JSON value, NULL means {}. params NULL: none. */
void control_put_request(struct buf *out, const char *method, const char *params,
			 size_t params_len, uint64_t id);
void control_put_result(struct buf *out, const char *id, size_t id_len, const char *result,
			size_t result_len, bool more);
void control_put_error(struct buf *out, const char *id, size_t id_len, const struct err *e);

/* Parameters. Missing ones leave *ret as it is; -EINVAL for a wrong type or a value out of range,
 * with the name in e. Texts go to the arena, NUL-terminated; one with a NUL in it is refused. */
int param_text(struct arena *a, const struct json *params, const char *name, const char **ret,
	       struct err *e);
int param_uint(const struct json *params, const char *name, uint64_t max, uint64_t *ret,
	       struct err *e);
int param_bool(const struct json *params, const char *name, bool *ret, struct err *e);
/* A list of texts, at most max. */
int param_texts(struct arena *a, const struct json *params, const char *name, uint32_t max,
		const char ***ret, uint32_t *ret_n, struct err *e);
/* The same for one JSON value. */
int json_text(struct arena *a, const struct json *v, const char **ret);
int json_uint(const struct json *v, uint64_t max, uint64_t *ret);
