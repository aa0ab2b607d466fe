/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* QR codes (ISO/IEC 18004) for terminals. */

#include "engine/buf.h"
#include "engine/err.h"

/* Appends the smallest code that holds the text, lines of half blocks in UTF-8, black on white
 * whatever the terminal's own colours are, with a quiet zone of four modules around it. Letters are
 * put in as capitals: that makes the code a third smaller. columns: of the terminal, 0 if unknown.
 * -ENOSPC: it is wider than that; -ERANGE: no code holds so much; e says so. The drawing is as
 * secret as the text: the caller ends with keyfile_wipe(ret). */
int qr_draw(const char *text, unsigned columns, struct buf *ret, struct err *e);
