/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any message of joining: refused, or the one encoding of what it says. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transports/joinmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct join_request q;
	struct join_answer a;
	_cleanup_(buf_done) struct buf b = { 0 };
	ssize_t n = joinmsg_length(data, size, JOIN_MESSAGE_MAX);
	if (n > JOIN_MESSAGE_MAX || (n <= 0 && n != -EMSGSIZE && size >= 2))
		abort();
	if (joinmsg_get_request(data, size, &q) == 0)
		joinmsg_put_request(&b, &q);
	else if (joinmsg_get_answer(data, size, &a) == 0)
		joinmsg_put_answer(&b, &a);
	else
		return 0;
	if (b.len != size || memcmp(b.data, data, size) != 0)
		abort();
	return 0;
}
