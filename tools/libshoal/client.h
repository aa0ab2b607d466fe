/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of libshoal share. */

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/json.h"
#include "tools/libshoal/shoal.h"

/* Errors of the project as the library's; both return the code. e and from may not be NULL, to may. */
int error_give(struct shoal_error *to, const struct err *from);
#define error_set(to, code, ...)                   \
	({                                         \
		struct err _e;                     \
		int _c = err_set(&_e, code, __VA_ARGS__); \
		error_give(to, &_e);               \
		_c;                                \
	})

struct storedir;

/* As shoal_open, for who has the directory open. */
int client_open(const struct storedir *dir, struct shoal **ret, struct err *e);
/* As shoal_call, with a timeout of its own for each answer (us, 0: forever). */
int client_call(struct shoal *s, const char *method, const struct buf *params, uint64_t timeout_us,
		shoal_answer_fn f, void *userdata, struct shoal_error *e);
/* As shoal_request. params may be empty or NULL. */
int64_t client_request(struct shoal *s, const char *method, const struct buf *params, shoal_answer_fn f,
		       void *userdata, struct shoal_error *e);
uint64_t client_timeout(const struct shoal *s);
/* The last result is appended to userdata, a struct buf. */
int client_keep(const struct shoal_answer *a, void *userdata);
/* Texts (n of them; those that are NULL are none) go out as UTF-8. -EILSEQ. */
int client_check(const char *const *text, unsigned n, struct shoal_error *e);
/* "NAME":"TEXT", and a comma in front unless it is the first of an object. Nothing for NULL. */
void client_put_text(struct buf *b, const char *name, const char *text);
void client_put_texts(struct buf *b, const char *name, const char *const *text, unsigned n);
