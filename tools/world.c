/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/world.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include "tools/fence.h"

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t world_wall_us(void)
{
	return read_clock(CLOCK_REALTIME);
}

uint64_t world_boot_us(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

uint64_t world_awake_us(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t engine_wall_us(void *userdata)
{
	(void)userdata;
	return world_wall_us();
}

static void engine_random(void *userdata, void *data, size_t len)
{
	uint8_t *p = data;
	(void)userdata;
	while (len) {
		ssize_t n = getrandom(p, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			abort(); /* identifiers that are not random would break the store */
		p += n;
		len -= (size_t)n;
	}
}

static int no_mesh(const struct storedir *dir, struct err *e)
{
	return err_set(e, -ENOENT,
		       "the store %.100s belongs to no mesh yet: `shoal up` or `shoal init` makes one, "
		       "`shoal join` enters another's",
		       storedir_path(dir));
}

/* On a full disk the old one goes on. If the database does not hear of the new one, the next start
 * takes the store for a copy, which does no harm. */
static void renew_fence(struct storedir *dir, struct replica *r)
{
	uint8_t fence[FENCE_SIZE];
	if (fence_renew(storedir_fd(dir), fence, NULL) == 0)
		(void)replica_set_fence(r, fence, NULL);
}

int world_open(struct storedir *dir, struct identity **ret_identity, struct store **ret_store,
	       struct replica **ret_replica, struct err *e)
{
	_cleanup_(identity_freep) struct identity *identity = NULL;
	struct store *store = NULL;
	if (!storedir_has_identity(dir))
		return no_mesh(dir, e);
	const char *path = storedir_file(dir, STOREDIR_IDENTITY);
	int r = path ? identity_open(path, &identity, e) : -ENOMEM;
	if (r < 0)
		return r;
	path = storedir_file(dir, STOREDIR_DB);
	r = path ? store_open(path, true, &store, e) : -ENOMEM;
	if (r < 0)
		return r;
	struct replica_config config = {
		.store = store, .device = *identity_device(identity),
		.wall_us = engine_wall_us, .random = engine_random,
	};
	r = fence_read(storedir_fd(dir), config.fence, e);
	if (r == 0)
		r = replica_open(&config, ret_replica, e);
	if (r < 0) {
		store_close(store);
		return r;
	}
	renew_fence(dir, *ret_replica);
	*ret_store = store;
	*ret_identity = TAKE_PTR(identity);
	return 0;
}
