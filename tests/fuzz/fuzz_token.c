/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text: either refused, or the one text of its token (but for case and white space). */
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include "transports/keyfile.h"
#include "transports/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token t;
	struct err e;
	if (token_decode((const char *)data, size, &t, &e) < 0)
		return 0;
	_cleanup_(keyfile_wipe) struct buf b = { 0 };
	if (token_encode(&t, &b, &e) < 0)
		abort();
	/* White space aside, as many characters as were read. */
	size_t start = 0;
	while (start < size && data[start] != 's' && data[start] != 'S')
		start++;
	if (size - start < b.len ||
	    strncasecmp((const char *)data + start, (const char *)b.data, b.len) != 0)
		abort();
	return 0;
}
