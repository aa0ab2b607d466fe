/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The sentence alone; its length, as vsnprintf. */
static int fill(struct err *e, int code, const char *fmt, va_list ap)
{
	e->code = code;
	e->line = e->column = 0;
	e->offset = 0;
	return vsnprintf(e->message, sizeof(e->message), fmt, ap);
}

void err_fill(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	if (!e)
		return;
	va_start(ap, fmt);
	(void)fill(e, code, fmt, ap);
	va_end(ap);
}

void err_fill_errno(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	if (!e)
		return;
	va_start(ap, fmt);
	int n = fill(e, code, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(e->message))
		return;
	char text[128];
	snprintf(e->message + n, sizeof(e->message) - (size_t)n, ": %s",
		 strerror_r(-code, text, sizeof(text)));
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	if (!e)
		return 0;
	char old[sizeof(e->message)];
	memcpy(old, e->message, sizeof(old));
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->message))
		snprintf(e->message + n, sizeof(e->message) - (size_t)n, ": %s", old);
	return e->code;
}

void err_place(struct err *e, const char *text, uint64_t offset)
{
	if (!e)
		return;
	e->offset = offset;
	e->line = e->column = 1;
	for (uint64_t i = 0; i < offset; i++) {
		if (text[i] == '\n') {
			e->line++;
			e->column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			e->column++;
		}
	}
}
