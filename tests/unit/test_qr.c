/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QR codes: how large they get, and what is too much. test_cli.py reads one with another program. */
#include <errno.h>
#include <string.h>

#include "tests/tap.h"
#include "tools/qr.h"

/* Lines of the drawing of n equal letters in so many columns, or -errno. */
static int lines(size_t n, char letter, unsigned columns, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_free_ char *text = calloc(n + 1, 1);
	int count = 0;
	if (!text)
		tap_bail("no memory");
	memset(text, letter, n);
	int r = qr_draw(text, columns, &b, e);
	for (size_t i = 0; i < b.len; i++)
		count += b.data[i] == '\n';
	return r < 0 ? r : count;
}

int main(void)
{
	struct err e = { 0 };
	tap_plan(9);
	is_int(lines(1, 'a', 0, &e), (21 + 8 + 1) / 2, "version 1, a quiet zone and half a line");
	is_int(lines(154, 'a', 0, &e), (37 + 8 + 1) / 2, "as many letters as version 5 holds");
	is_int(lines(155, 'a', 0, &e), (41 + 8 + 1) / 2, "one more takes version 6");
	is_int(lines(154, 'a', 45, &e), 23, "a terminal may be just as wide");
	is_errno(lines(154, 'a', 44, &e), -ENOSPC, "but no narrower");
	ok(strstr(e.message, "needs 45 columns and the terminal has 44"), "it says so: %s", e.message);
	is_int(lines(4296, 'a', 0, &e), (177 + 8 + 1) / 2, "the largest code");
	is_errno(lines(4297, 'a', 0, &e), -ERANGE, "holds no more");
	ok(strstr(e.message, "no QR code"), "it says so: %s", e.message);
	return tap_done();
}
