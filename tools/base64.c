/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/base64.h"

#include <errno.h>
#include <nettle/base64.h>

void base64_encode(const void *data, size_t len, struct buf *out)
{
	size_t n = BASE64_ENCODE_RAW_LENGTH(len);
	uint8_t *p = buf_reserve(out, n);
	if (!p)
		return;
	base64_encode_raw((char *)p, len, data);
	out->len += n;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	struct base64_decode_ctx c;
	size_t n = BASE64_DECODE_LENGTH(len) + 1;
	uint8_t *p = buf_reserve(out, n);
	if (!p)
		return -ENOMEM;
	base64_decode_init(&c);
	if (!base64_decode_update(&c, &n, p, len, text) || !base64_decode_final(&c))
		return -EBADMSG;
	out->len += n;
	return 0;
}
