/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chunks, and the list of them. */
#include "engine/replica-verify.h"

#include <errno.h>

static int check_chunk(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
		       size_t len)
{
	char hex[ID_HEX] = "";
	struct id start = { { 0 } };
	_cleanup_(buf_done) struct buf size = { 0 };
	uint64_t told;
	v->report->chunks++;
	memcpy(start.b, key, key_len < ID_SIZE ? key_len : ID_SIZE);
	if (key_len != SHA256_SIZE || chunk_check(key, value, len) < 0)
		verify_problem(v, false, "chunk %s… is damaged", id_hex(&start, hex));
	if (key_len != SHA256_SIZE)
		return 0;
	if (v->marked && !marks_have(&v->marks, key)) {
		v->report->unreferenced++;
		v->report->unreferenced_bytes += len;
	}
	int rc = store_get(v->r->store, v->snap, STORE_HASHES, key, key_len, &size);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	v->listed += rc == 0;
	if (rc == 0 && chunk_size_decode(size.data, size.len, &told) == 0 && told == len)
		return 0;
	if (v->fix)
		chunk_size_put(v->fix, key, len);
	verify_problem(v, true, "chunk %s… is not in the list of chunks", id_hex(&start, hex));
	return 0;
}

static int count_hash(struct verify *v, const uint8_t *key, size_t key_len, const uint8_t *value,
		      size_t len)
{
	(void)key;
	(void)key_len;
	(void)value;
	(void)len;
	v->hashes++;
	return 0;
}

static int check_hash_orphan(struct verify *v, const uint8_t *key, size_t key_len,
			     const uint8_t *value, size_t len)
{
	(void)value;
	(void)len;
	if (key_len == SHA256_SIZE && store_has(v->r->store, v->snap, STORE_CHUNKS, key, key_len))
		return 0;
	if (v->fix)
		store_delete(v->fix, STORE_HASHES, key, key_len);
	verify_problem(v, true, "the list of chunks names one that is not here");
	return 0;
}

int verify_chunks(struct verify *v)
{
	/* What cannot be read is told elsewhere. */
	int rc = marks_collect(v->r, v->view, MARKS_HISTORY, &v->marks, NULL);
	if (rc < 0 && rc != -EBADMSG && rc != -EPROTONOSUPPORT)
		return rc;
	v->marked = rc == 0;
	rc = verify_each(v, STORE_CHUNKS, check_chunk);
	if (rc == 0)
		rc = verify_each(v, STORE_HASHES, count_hash);
	if (rc == 0 && v->hashes != v->listed)
		rc = verify_each(v, STORE_HASHES, check_hash_orphan);
	return rc;
}
