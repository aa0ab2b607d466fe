/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/sha256.h"

#include <nettle/sha2.h>

void sha256_of(const void *data, size_t len, struct sha256 *ret)
{
	struct sha256_ctx ctx;
	sha256_init(&ctx);
	sha256_update(&ctx, len, data);
	sha256_digest(&ctx, sizeof(ret->b), ret->b);
}

void sha256_id(const struct sha256_part *part, size_t n, struct id *ret)
{
	struct sha256_ctx ctx;
	sha256_init(&ctx);
	for (size_t i = 0; i < n; i++) {
		uint8_t len[8];
		for (int k = 0; k < 8; k++)
			len[k] = (uint8_t)((uint64_t)part[i].len >> (56 - 8 * k));
		sha256_update(&ctx, sizeof(len), len);
		sha256_update(&ctx, part[i].len, part[i].data);
	}
	sha256_digest(&ctx, sizeof(ret->b), ret->b);
}
