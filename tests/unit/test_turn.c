/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which request makes another thread wait for the next one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/turn.h"
#include "tests/tap.h"

struct other {
	struct turns t;
	pthread_t thread;
	atomic_bool came;
};

static atomic_uint signals, held;
static pthread_mutex_t *lock; /* of the turns */

/* In the place of the C library's. */
int pthread_cond_signal(pthread_cond_t *c)
{
	atomic_fetch_add(&signals, 1);
	int r = lock ? pthread_mutex_trylock(lock) : EBUSY;
	if (r == 0)
		pthread_mutex_unlock(lock);
	else
		atomic_fetch_add(&held, 1);
	return pthread_cond_broadcast(c);
}

/* Waits for its turn, once, and gives it back. */
static void *other_main(void *userdata)
{
	struct other *o = userdata;
	if (turn_take(&o->t, 0)) {
		atomic_store(&o->came, true);
		turn_give(&o->t, NULL, 0);
	}
	return NULL;
}

static bool is_aside(struct other *o)
{
	pthread_mutex_lock(&o->t.lock);
	bool yes = o->t.aside > 0;
	pthread_mutex_unlock(&o->t.lock);
	return yes;
}

/* The turn is ours, and the other one stands aside. */
static void begin(struct other *o)
{
	turns_init(&o->t);
	atomic_init(&o->came, false);
	if (!turn_take(&o->t, 0) || pthread_create(&o->thread, NULL, other_main, o))
		tap_bail("no thread");
	while (!is_aside(o))
		usleep(100);
	lock = &o->t.lock;
}

static void end(struct other *o)
{
	turns_end(&o->t);
	pthread_join(o->thread, NULL);
	turns_done(&o->t);
}

struct request {
	struct fuse_in_header head;
	uint32_t body[1 << 15];
};

static void test_quick(const char *what, uint32_t opcode, uint32_t flags, size_t len)
{
	struct other o;
	static struct request r;
	r.head.opcode = opcode;
	r.body[0] = flags;
	begin(&o);
	atomic_store(&signals, 0);
	turn_give(&o.t, &r, sizeof(r.head) + len);
	is_uint(atomic_load(&signals), 0, "%s: nobody else is needed", what);
	turn_pass(&o.t);
	pthread_join(o.thread, NULL);
	ok(atomic_load(&o.came), "%s: unless it takes longer after all", what);
	turns_done(&o.t);
}

static void test_slow(const char *what, uint32_t opcode, uint32_t flags, size_t len)
{
	struct other o;
	static struct request r;
	r.head.opcode = opcode;
	r.body[0] = flags;
	begin(&o);
	turn_give(&o.t, &r, sizeof(r.head) + len);
	pthread_join(o.thread, NULL);
	ok(atomic_load(&o.came), "%s: another one waits meanwhile", what);
	turns_done(&o.t);
}

/* What nobody has known to take long. */
static void test_watched(void)
{
	struct other o;
	static struct request r;
	r.head.opcode = FUSE_LOOKUP;
	begin(&o);
	turns_watch(&o.t);
	ok(o.t.watched, "somebody looks how long requests take");
	/* Until it sleeps. */
	for (unsigned k = 0; k < 10000 && !atomic_load(&o.t.sleeps); k++)
		usleep(1000);
	turn_give(&o.t, &r, sizeof(r.head) + 8);
	pthread_join(o.thread, NULL);
	ok(atomic_load(&o.came), "one that takes long: another one waits meanwhile");
	turns_done(&o.t);
}

int main(void)
{
	struct other o;
	tap_plan(2 * 7 + 3 + 2 + 1 + 1);
	test_quick("a release", FUSE_RELEASE, 0, sizeof(struct fuse_release_in));
	test_quick("an open for reading", FUSE_OPEN, O_RDONLY, sizeof(struct fuse_open_in));
	test_quick("a read", FUSE_READ, 0, sizeof(struct fuse_read_in));
	test_quick("a short write", FUSE_WRITE, 0, sizeof(struct fuse_write_in) + 4096);
	test_quick("an open for writing", FUSE_OPEN, O_WRONLY, sizeof(struct fuse_open_in));
	test_quick("a lookup", FUSE_LOOKUP, 0, 8);
	test_quick("a change of mode", FUSE_SETATTR, FATTR_MODE, sizeof(struct fuse_setattr_in));
	test_slow("a truncation", FUSE_SETATTR, FATTR_SIZE, sizeof(struct fuse_setattr_in));
	test_slow("fsync", FUSE_FSYNC, 0, sizeof(struct fuse_fsync_in));
	test_slow("a long write", FUSE_WRITE, 0, sizeof(struct fuse_write_in) + (100 << 10));
	test_watched();
	begin(&o);
	end(&o);
	ok(!atomic_load(&o.came), "at the end everybody goes");
	is_uint(atomic_load(&held), 0, "nobody was woken to wait for the lock");
	return tap_done();
}
