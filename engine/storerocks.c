/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store on RocksDB 7.8 or later, through its C API.
 *
 * Each family is a column family of its own name. The column family `default` holds one entry,
 * "format" -> u32, so that a later format is recognised before anything else is read. A write
 * appends to the write-ahead log without waiting for the disk: killing the process loses nothing,
 * cutting the power loses what was not flushed. Recovery stops at the first record of the log that
 * did not reach the disk whole, which keeps the batches a prefix.
 *
 * Chunks are read without a look at RocksDB's checksums: their keys are hashes of their bytes, and
 * whoever loads one compares these (engine/chunk.c), in less time.
 *
 * A flush is one fsync of the log. A thread that asks while one is under way cannot use it (it may
 * have started before the thread's write), so it waits for the next one together with all others
 * that came meanwhile. A sync that failed stays failed: what the kernel dropped is not known.
 *
 * RocksDB must never meet a full disk: after a log append that failed its next one ends the process
 * by an assertion, and so does opening. So room is looked at before, with a reserve for what
 * is in memory to be written out; removals and other small changes may use most of that reserve,
 * because they are how a person makes room. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "engine/storeops.h"

#define FORMAT 1
#define FORMAT_KEY "format"
#define BLOCK_CACHE (64u << 20)
#define WRITE_BUFFERS (48u << 20) /* of all families together */
#define MEMORY_FILTER 0.01 /* of a memory table: the filter of its keys */
#define LOG_MAX (96u << 20) /* write-ahead logs; then the oldest memory table is written out */
#define RESERVE (64u << 20) /* of the disk, left to what is in memory already */
#define RESERVE_LEAST (8u << 20) /* the same for small batches, and to open */
#define SMALL_BATCH (64u << 10)
/* A disk with so much room beyond the reserve is looked at again when so much has been written. */
#define AMPLE (1024u << 20)
#define UNLOOKED (1u << 20)
#define BLOB_MIN 4096       /* chunks from this size on live in blob files */
#define BATCH_KEPT (512u << 10)

static const char *const family_name[] = {
	[STORE_META] = "meta",       [STORE_DOCS] = "docs",       [STORE_DOTS] = "dots",
	[STORE_DIRENTS] = "dirents", [STORE_ATTRS] = "attrs",     [STORE_CHUNKS] = "chunks",
	[STORE_HASHES] = "hashes",   [STORE_LOCAL] = "local",     [STORE_HISTORY] = "history",
	[STORE_PICKS] = "picks",
};

#define DEFAULT STORE_FAMILIES /* index of the family `default` */
#define HANDLES (STORE_FAMILIES + 1)

struct rocks {
	struct store base;
	rocksdb_t *db;
	rocksdb_column_family_handle_t *cf[HANDLES];
	rocksdb_readoptions_t *read;
	rocksdb_readoptions_t *read_chunks; /* their keys say what they are */
	rocksdb_writeoptions_t *write;
	char *path;
	/* One that was written, to be used again: a new one takes its memory from the kernel, page by page. */
	rocksdb_writebatch_t *_Atomic batch;
	atomic_uint_fast64_t unlooked; /* bytes that may be written before the disk is looked at */
	pthread_mutex_t lock; /* all below */
	pthread_cond_t synced;
	bool syncing;
	uint64_t sync_started, sync_done; /* counts */
	int sync_error;
	char sync_message[160];
};

struct store_snapshot {
	const rocksdb_snapshot_t *snap;
	rocksdb_readoptions_t *read;
};

struct iter {
	struct store_iter base;
	rocksdb_iterator_t *it;
	rocksdb_readoptions_t *read;
	char *upper; /* RocksDB keeps the pointer */
};

/* What RocksDB said, as an errno. Takes the text. */
static int rocks_error(char *text, struct err *e, const char *doing)
{
	int code = strstr(text, "No space left") ? -ENOSPC : -EIO;
	err_set(e, code, "cannot %s the database: %s", doing, text);
	rocksdb_free(text);
	return code;
}

static int open_error(char *text, const char *path, struct err *e)
{
	int code;
	if (strstr(text, "LOCK") || strstr(text, "lock hold")) {
		code = err_set(e, -EBUSY, "another process has the store open (%s)", path);
	} else if (strstr(text, "No space left")) {
		code = err_set(e, -ENOSPC, "no space left for the database in %s", path);
	} else if (strstr(text, "Permission denied")) {
		code = err_set(e, -EACCES, "no permission for the database in %s", path);
	} else if (strstr(text, "Column families not opened")) {
		code = err_set(
			e, -EBADMSG,
			"the database in %s is of another program or a later version: install "
			"the version that wrote it",
			path);
	} else if (strncmp(text, "Corruption", 10) == 0 ||
		   strncmp(text, "IO error: No such file", 22) == 0 ||
		   strncmp(text, "Invalid argument", 16) == 0 ||
		   strncmp(text, "Not implemented", 15) == 0) {
		code = err_set(
			e, -EBADMSG,
			"the database in %s is damaged: restore a backup, or move it away and "
			"join the mesh again (%.80s)",
			path, text);
	} else {
		code = err_set(e, -EIO, "cannot open the database: %s", text);
	}
	rocksdb_free(text);
	return code;
}

/* Is there room for this many bytes more, and a reserve? */
static int check_room(struct rocks *s, uint64_t bytes, uint64_t reserve, struct err *e)
{
	struct statvfs v;
	const uint64_t unlooked = atomic_load(&s->unlooked);
	atomic_store(&s->unlooked, unlooked > bytes ? unlooked - bytes : 0);
	if (unlooked > bytes || statvfs(s->path, &v) < 0)
		return 0; /* what is wrong shows in the write */
	uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
	if (room >= reserve && room - reserve >= bytes) {
		if (room - reserve - bytes >= AMPLE)
			atomic_store(&s->unlooked, UNLOOKED);
		return 0;
	}
	return err_set(e, -ENOSPC,
		       "no space left for the database in %s: %" PRIu64 " MB are free, and %" PRIu64
		       " are needed; remove something from that disk",
		       s->path, room / 1000000, (bytes + reserve + 999999) / 1000000);
}

static rocksdb_options_t *family_options(int f, rocksdb_cache_t *cache)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(t, cache);
	/* In parts: the filter of a large table would not fit into one of the shards of the cache, and would
	 * be read anew for each key that is asked for. */
	rocksdb_block_based_options_set_index_type(
		t, rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_block_based_options_set_partition_filters(t, 1);
	rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
	/* Versions of one file lie side by side: they pack well where they come into one block. */
	rocksdb_block_based_options_set_block_size(t, f == STORE_HISTORY ? 32768 :
						      f == STORE_DOCS ? 16384 : 8192);
	rocksdb_block_based_options_set_format_version(t, 5);
	rocksdb_block_based_options_set_filter_policy(t,
						      rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_block_based_options_destroy(t);
	rocksdb_options_set_write_buffer_size(o, f == STORE_DOCS || f == STORE_CHUNKS ? 16u << 20
										      : 8u << 20);
	/* Who makes a file asks first whether it is there: that there is no such key need not be searched
	 * for in what is in memory either. */
	if (f == STORE_DOCS || f == STORE_ATTRS || f == STORE_DIRENTS) {
		rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, MEMORY_FILTER);
		rocksdb_options_set_memtable_whole_key_filtering(o, 1);
	}
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
	rocksdb_options_set_compression(o, rocksdb_lz4_compression);
	if (f == STORE_DOCS || f == STORE_HISTORY)
		rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
	if (f == STORE_CHUNKS) {
		rocksdb_options_set_enable_blob_files(o, 1);
		rocksdb_options_set_min_blob_size(o, BLOB_MIN);
		rocksdb_options_set_blob_file_size(o, 64u << 20);
		/* What can be packed is (engine/chunk.c). */
		rocksdb_options_set_blob_compression_type(o, rocksdb_no_compression);
		rocksdb_options_set_enable_blob_gc(o, 1);
	}
	return o;
}

static rocksdb_options_t *database_options(void)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_create_missing_column_families(o, 1);
	rocksdb_options_set_db_write_buffer_size(o, WRITE_BUFFERS);
	rocksdb_options_set_max_total_wal_size(o, LOG_MAX);
	rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery);
	rocksdb_options_set_max_background_jobs(o, 2);
	rocksdb_options_set_max_open_files(o, 512);
	rocksdb_options_set_bytes_per_sync(o, 1u << 20);
	/* The chunks of a file lie near one another, in the order of their hashes: what the kernel reads
	 * ahead is wanted soon. */
	rocksdb_options_set_advise_random_on_open(o, 0);
	rocksdb_options_set_info_log_level(o, 2); /* warnings */
	rocksdb_options_set_keep_log_file_num(o, 2);
	rocksdb_options_set_max_log_file_size(o, 1u << 20);
	rocksdb_options_set_stats_dump_period_sec(o, 0);
	rocksdb_options_set_stats_persist_period_sec(o, 0);
	return o;
}

static int rocks_open_db(struct rocks *s, struct err *e)
{
	rocksdb_cache_t *cache = rocksdb_cache_create_lru(BLOCK_CACHE);
	rocksdb_options_t *o = database_options();
	rocksdb_options_t *family[HANDLES];
	const char *name[HANDLES];
	for (int f = 0; f < HANDLES; f++) {
		family[f] = family_options(f, cache);
		name[f] = f == DEFAULT ? "default" : family_name[f];
	}
	char *text = NULL;
	s->db = rocksdb_open_column_families(
		o, s->path, HANDLES, name, (const rocksdb_options_t *const *)family, s->cf, &text);
	for (int f = 0; f < HANDLES; f++)
		rocksdb_options_destroy(family[f]);
	rocksdb_options_destroy(o);
	rocksdb_cache_destroy(cache);
	return text ? open_error(text, s->path, e) : 0;
}

static int rocks_check_format(struct rocks *s, struct err *e)
{
	char *text = NULL;
	size_t len;
	char *v = rocksdb_get_cf(s->db, s->read, s->cf[DEFAULT], FORMAT_KEY, strlen(FORMAT_KEY),
				 &len, &text);
	if (text)
		return open_error(text, s->path, e);
	if (!v) {
		rocksdb_writeoptions_set_sync(s->write, 1);
		rocksdb_put_cf(s->db, s->write, s->cf[DEFAULT], FORMAT_KEY, strlen(FORMAT_KEY),
			       "\0\0\0\1", 4, &text);
		rocksdb_writeoptions_set_sync(s->write, 0);
		return text ? open_error(text, s->path, e) : 0;
	}
	struct cursor c = cursor_make(v, len);
	uint32_t format = cursor_u32(&c);
	bool good = cursor_end(&c);
	rocksdb_free(v);
	if (!good)
		return err_set(
			e, -EBADMSG,
			"the database in %s is damaged: restore a backup, or move it away and "
			"join the mesh again (no format version)",
			s->path);
	if (format != FORMAT)
		return err_set(
			e, -EBADMSG,
			"the database in %s has format %u, this program reads %u: install the "
			"version that wrote it",
			s->path, format, FORMAT);
	return 0;
}

static void rocks_free(struct rocks *s)
{
	for (int f = 0; f < HANDLES; f++)
		if (s->db && s->cf[f])
			rocksdb_column_family_handle_destroy(s->cf[f]);
	if (s->db)
		rocksdb_close(s->db);
	if (s->read)
		rocksdb_readoptions_destroy(s->read);
	if (s->read_chunks)
		rocksdb_readoptions_destroy(s->read_chunks);
	if (s->write)
		rocksdb_writeoptions_destroy(s->write);
	if (atomic_load(&s->batch))
		rocksdb_writebatch_destroy(atomic_load(&s->batch));
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->synced);
	free(s->path);
	free(s);
}

DEFINE_CLEANUP(struct rocks *, rocks_free)

static void rocks_close(struct store *base)
{
	base->ops->flush(base, NULL);
	rocks_free((struct rocks *)base);
}

/* RocksDB counts the keys that it compares, for each thread, unless told not to: a tenth of what a write
 * takes, and nobody asks for the number. */
static void count_nothing(void)
{
	rocksdb_set_perf_level(rocksdb_disable);
}

static int rocks_write(struct store *base, struct store_batch *b, struct err *e)
{
	struct rocks *s = (struct rocks *)base;
	count_nothing();
	rocksdb_writebatch_t *w = atomic_exchange(&s->batch, NULL);
	if (!w)
		w = rocksdb_writebatch_create();
	struct store_op op;
	const uint8_t *key, *value;
	uint64_t bytes = 0;
	for (size_t at = 0; store_batch_next(b, &at, &op, &key, &value);) {
		bytes += op.key_len + (op.put ? op.len : 0);
		if (op.put)
			rocksdb_writebatch_put_cf(w, s->cf[op.family], (const char *)key,
						  op.key_len, (const char *)value, op.len);
		else
			rocksdb_writebatch_delete_cf(w, s->cf[op.family], (const char *)key,
						     op.key_len);
	}
	char *text = NULL;
	int r = check_room(s, bytes, bytes > SMALL_BATCH ? RESERVE : RESERVE_LEAST, e);
	if (r == 0)
		rocksdb_write(s->db, s->write, w, &text);
	rocksdb_writebatch_clear(w);
	if (bytes <= BATCH_KEPT)
		w = atomic_exchange(&s->batch, w);
	if (w)
		rocksdb_writebatch_destroy(w);
	if (r < 0)
		return r;
	return text ? rocks_error(text, e, "write") : 0;
}

static int rocks_flush(struct store *base, struct err *e)
{
	struct rocks *s = (struct rocks *)base;
	pthread_mutex_lock(&s->lock);
	uint64_t mine = s->sync_started + 1; /* the next to start covers all that is written now */
	while (s->sync_done < mine && s->sync_error == 0) {
		if (s->syncing) {
			pthread_cond_wait(&s->synced, &s->lock);
			continue;
		}
		s->syncing = true;
		uint64_t n = ++s->sync_started;
		pthread_mutex_unlock(&s->lock);
		char *text = NULL;
		rocksdb_flush_wal(s->db, 1, &text);
		pthread_mutex_lock(&s->lock);
		s->syncing = false;
		s->sync_done = n;
		if (text) {
			struct err why = { 0 };
			s->sync_error = rocks_error(text, &why, "sync");
			snprintf(s->sync_message, sizeof(s->sync_message), "%.150s", why.message);
		}
		pthread_cond_broadcast(&s->synced);
	}
	int r = s->sync_error;
	if (r < 0)
		err_set(e, r, "%s", s->sync_message);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int rocks_find(struct rocks *s, const struct store_snapshot *snapshot, enum store_family f,
		      const void *key, size_t key_len, rocksdb_pinnableslice_t **ret)
{
	char *text = NULL;
	count_nothing();
	const rocksdb_readoptions_t *read = snapshot ? snapshot->read :
					    f == STORE_CHUNKS ? s->read_chunks : s->read;
	rocksdb_pinnableslice_t *v =
		rocksdb_get_pinned_cf(s->db, read, s->cf[f], key, key_len, &text);
	if (text)
		return rocks_error(text, NULL, "read");
	*ret = v;
	return v ? 0 : -ENOENT;
}

static int rocks_get(struct store *base, const struct store_snapshot *snapshot, enum store_family f,
		     const void *key, size_t key_len, struct buf *value)
{
	rocksdb_pinnableslice_t *v;
	int r = rocks_find((struct rocks *)base, snapshot, f, key, key_len, &v);
	if (r < 0)
		return r;
	size_t len;
	const char *p = rocksdb_pinnableslice_value(v, &len);
	buf_reset(value);
	buf_put(value, p, len);
	rocksdb_pinnableslice_destroy(v);
	return buf_failed(value) ? -ENOMEM : 0;
}

static int rocks_has(struct store *base, const struct store_snapshot *snapshot, enum store_family f,
		     const void *key, size_t key_len)
{
	rocksdb_pinnableslice_t *v;
	int r = rocks_find((struct rocks *)base, snapshot, f, key, key_len, &v);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	rocksdb_pinnableslice_destroy(v);
	return 1;
}

static int rocks_snapshot(struct store *base, struct store_snapshot **ret)
{
	struct rocks *s = (struct rocks *)base;
	struct store_snapshot *snap = malloc(sizeof(*snap));
	if (!snap)
		return -ENOMEM;
	snap->snap = rocksdb_create_snapshot(s->db);
	snap->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_snapshot(snap->read, snap->snap);
	*ret = snap;
	return 0;
}

static void rocks_snapshot_free(struct store *base, struct store_snapshot *snap)
{
	rocksdb_readoptions_destroy(snap->read);
	rocksdb_release_snapshot(((struct rocks *)base)->db, snap->snap);
	free(snap);
}

static int rocks_iter_new(struct store *base, const struct store_snapshot *snapshot,
			  enum store_family f, const void *lower, size_t lower_len,
			  const void *upper, size_t upper_len, struct store_iter **ret)
{
	struct rocks *s = (struct rocks *)base;
	struct iter *it = calloc(1, sizeof(*it));
	char *copy = upper_len ? malloc(upper_len) : NULL;
	if (!it || (upper_len && !copy)) {
		free(it);
		free(copy);
		return -ENOMEM;
	}
	it->base.ops = base->ops;
	it->read = rocksdb_readoptions_create();
	if (snapshot)
		rocksdb_readoptions_set_snapshot(it->read, snapshot->snap);
	if (copy) {
		memcpy(copy, upper, upper_len);
		rocksdb_readoptions_set_iterate_upper_bound(it->read, copy, upper_len);
	}
	it->upper = copy;
	it->it = rocksdb_create_iterator_cf(s->db, it->read, s->cf[f]);
	rocksdb_iter_seek(it->it, lower_len ? lower : "", lower_len);
	*ret = (struct store_iter *)it;
	return 0;
}

static void rocks_iter_free(struct store_iter *base)
{
	struct iter *it = (struct iter *)base;
	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	free(it->upper);
	free(it);
}

static bool rocks_iter_valid(const struct store_iter *base)
{
	return rocksdb_iter_valid(((const struct iter *)base)->it);
}

static void rocks_iter_next(struct store_iter *base)
{
	rocksdb_iter_next(((struct iter *)base)->it);
}

static const uint8_t *rocks_iter_key(const struct store_iter *base, size_t *ret_len)
{
	return (const uint8_t *)rocksdb_iter_key(((const struct iter *)base)->it, ret_len);
}

static const uint8_t *rocks_iter_value(const struct store_iter *base, size_t *ret_len)
{
	return (const uint8_t *)rocksdb_iter_value(((const struct iter *)base)->it, ret_len);
}

static int rocks_iter_error(const struct store_iter *base)
{
	char *text = NULL;
	rocksdb_iter_get_error(((const struct iter *)base)->it, &text);
	return text ? rocks_error(text, NULL, "read") : 0;
}

static uint64_t rocks_size(struct store *base)
{
	struct rocks *s = (struct rocks *)base;
	DIR *d = opendir(s->path);
	if (!d)
		return 0;
	uint64_t sum = 0;
	struct dirent *entry;
	while ((entry = readdir(d))) {
		struct stat st;
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	}
	closedir(d);
	return sum;
}

/* Files of chunks go when nothing in them is needed. While there is room, what is left in others is gathered in
 * new ones; always doing so would write everything again and again. */
static int gather_from(struct rocks *s, const char *cutoff, struct err *e)
{
	static const char *const key[] = { "blob_garbage_collection_age_cutoff" };
	char *why = NULL;
	rocksdb_set_options_cf(s->db, s->cf[STORE_CHUNKS], 1, key, &cutoff, &why);
	return why ? rocks_error(why, e, "set up") : 0;
}

static int rocks_compact(struct store *base, uint64_t room, struct err *e)
{
	struct rocks *s = (struct rocks *)base;
	const bool gather = rocks_size(base) < room;
	int r = gather ? gather_from(s, "1.0", e) : 0;
	if (r < 0)
		return r;
	rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();
	rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0);
	/* Deletions stay in memory otherwise. */
	rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
	char *why = NULL;
	rocksdb_flushoptions_set_wait(flush, 1);
	for (int i = 0; i < HANDLES && !why; i++)
		if (s->cf[i]) /* the log goes when nothing in it is in memory only */
			rocksdb_flush_cf(s->db, flush, s->cf[i], &why);
	if (why)
		r = rocks_error(why, e, "write");
	else
		rocksdb_compact_range_cf_opt(s->db, s->cf[STORE_CHUNKS], o, NULL, 0, NULL, 0);
	rocksdb_flushoptions_destroy(flush);
	rocksdb_compactoptions_destroy(o);
	if (gather && gather_from(s, "0.25", r < 0 ? NULL : e) < 0)
		r = -EIO;
	return r;
}

static const struct store_ops rocks_ops = {
	.close = rocks_close,
	.write = rocks_write,
	.flush = rocks_flush,
	.get = rocks_get,
	.has = rocks_has,
	.snapshot = rocks_snapshot,
	.snapshot_free = rocks_snapshot_free,
	.iter_new = rocks_iter_new,
	.iter_free = rocks_iter_free,
	.iter_valid = rocks_iter_valid,
	.iter_next = rocks_iter_next,
	.iter_key = rocks_iter_key,
	.iter_value = rocks_iter_value,
	.iter_error = rocks_iter_error,
	.size = rocks_size,
	.compact = rocks_compact,
};

/* A directory with files but without CURRENT was a database; an empty or missing one was none. */
static int path_check(const char *path, bool create, struct err *e)
{
	_cleanup_(buf_done) struct buf current = { 0 };
	buf_putf(&current, "%s/CURRENT", path);
	if (!buf_cstr(&current))
		return -ENOMEM;
	if (access((const char *)current.data, F_OK) == 0)
		return 0;
	if (errno != ENOENT)
		return err_errno(e, -errno, "cannot open the database in %s", path);
	DIR *d = opendir(path);
	bool tables = false;
	for (struct dirent *entry; d && (entry = readdir(d));)
		if (strstr(entry->d_name, ".sst") || strstr(entry->d_name, ".blob"))
			tables = true;
	if (d)
		closedir(d);
	if (tables)
		return err_set(
			e, -EBADMSG,
			"the database in %s is damaged: restore a backup, or move it away and "
			"join the mesh again (CURRENT is missing)",
			path);
	if (!create)
		return err_set(e, -ENOENT, "there is no database in %s", path);
	return 0;
}

int store_open(const char *path, bool create, struct store **ret, struct err *e)
{
	int r = path_check(path, create, e);
	if (r < 0)
		return r;
	struct rocks *raw = calloc(1, sizeof(*raw));
	if (!raw)
		return err_set(e, -ENOMEM, "out of memory");
	_cleanup_(rocks_freep) struct rocks *s = raw;
	s->base.ops = &rocks_ops;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->synced, NULL);
	s->path = strdup(path);
	s->read = rocksdb_readoptions_create();
	s->read_chunks = rocksdb_readoptions_create();
	rocksdb_readoptions_set_verify_checksums(s->read_chunks, 0);
	s->write = rocksdb_writeoptions_create();
	if (!s->path)
		return err_set(e, -ENOMEM, "out of memory");
	r = check_room(s, 0, RESERVE_LEAST, e);
	if (r == 0)
		r = rocks_open_db(s, e);
	if (r == 0)
		r = rocks_check_format(s, e);
	if (r < 0)
		return r;
	pins_init(&s->base.pins);
	*ret = (struct store *)TAKE_PTR(s);
	return 0;
}
