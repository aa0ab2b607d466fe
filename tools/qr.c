/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cell of a terminal is about twice as high as wide, so it shows two modules, one above the
 * other. The colours are numbers 16 and 231 of the palette of 256: unlike the first sixteen, no
 * theme changes them. */
#include "tools/qr.h"

#include <errno.h>
#include <qrencode.h>
#include <string.h>

#define QUIET 4 /* modules; readers may want no less */
#define BLACK_ON_WHITE "\033[38;5;16;48;5;231m"
#define PLAIN "\033[0m"

static void code_free(QRcode *code)
{
	if (!code)
		return;
	explicit_bzero(code->data, (size_t)code->width * (size_t)code->width);
	QRcode_free(code);
}
DEFINE_CLEANUP(QRcode *, code_free)

static bool dark(const QRcode *code, int x, int y)
{
	x -= QUIET;
	y -= QUIET;
	return x >= 0 && y >= 0 && x < code->width && y < code->width &&
	       (code->data[y * code->width + x] & 1);
}

int qr_draw(const char *text, unsigned columns, struct buf *ret, struct err *e)
{
	static const char *const cell[] = { " ", "\xe2\x96\x80", "\xe2\x96\x84", "\xe2\x96\x88" };
	/* A screen is clean: more redundancy than the least would only make the code larger. */
	_cleanup_(code_freep) QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 0);
	if (!code && errno == ERANGE)
		return err_set(e, -ERANGE, "no QR code can hold as much as this token");
	if (!code)
		return err_errno(e, -ENOMEM, "cannot make the QR code");
	int size = code->width + 2 * QUIET;
	if (columns && (unsigned)size > columns)
		return err_set(e, -ENOSPC,
			       "the QR code needs %d columns and the terminal has %u: make it wider, or "
			       "its letters smaller",
			       size, columns);
	/* The size is odd: below the last row of modules is half a row of more quiet zone. */
	for (int y = 0; y < size; y += 2) {
		buf_puts(ret, BLACK_ON_WHITE);
		for (int x = 0; x < size; x++)
			buf_puts(ret, cell[dark(code, x, y) + 2 * dark(code, x, y + 1)]);
		buf_puts(ret, PLAIN "\n");
	}
	return buf_failed(ret) ? err_errno(e, -ENOMEM, "cannot draw the QR code") : 0;
}
