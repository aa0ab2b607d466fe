/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A store's directory: where it is, what is in it, and the lock that keeps it to one daemon.
 *
 *     shoal.conf    settings (tools/config.h)
 *     identity/     keys and certificates, 0700 (transports/identity.h)
 *     db/           the database (engine/store.h)
 *     fence         tells the store from a copy of it (tools/fence.h)
 *     control.sock  0600 (tools/control.h)
 *     lock          flock(2)ed and holding the process id while somebody works on the store
 *     log           of the daemon when it does not run under systemd
 *     spool/        drafts and open files (fusefs/fusefs.h) */

#include <stdbool.h>
#include <sys/un.h>

#include "engine/buf.h"
#include "engine/err.h"

#define STOREDIR_CONF "shoal.conf"
#define STOREDIR_IDENTITY "identity"
#define STOREDIR_DB "db"
#define STOREDIR_FENCE "fence"
#define STOREDIR_SOCKET "control.sock"
#define STOREDIR_LOCK "lock"
#define STOREDIR_LOG "log"
#define STOREDIR_SPOOL "spool"

struct storedir;

/* Where the store is, as an absolute path in ret (replaced): given (may be NULL), else
 * $SHOAL_STORE, else the store of the shoal mount that the current directory is in, else
 * $XDG_DATA_HOME/shoal, else ~/.local/share/shoal. It need not exist. */
int storedir_find(const char *given, struct buf *ret, struct err *e);

/* Opens the directory; create: makes it (0700, with its parents) when it is not there. Refuses a
 * directory that others may write to, and one with other things in it that is not a store.
 * -ENOENT when it is not there. */
int storedir_open(const char *path, bool create, struct storedir **ret, struct err *e);
void storedir_free(struct storedir *d); /* unlocks */
DEFINE_CLEANUP(struct storedir *, storedir_free)

const char *storedir_path(const struct storedir *d); /* absolute, no symbolic links */
int storedir_fd(const struct storedir *d);
/* PATH/name, borrowed until the next call on d. One thread at a time. NULL: no memory. */
const char *storedir_file(struct storedir *d, const char *name);
/* True when identity/ is there: the store belongs to a mesh. */
bool storedir_has_identity(const struct storedir *d);

/* Takes the lock until storedir_unlock or storedir_free. -EBUSY when another process has it, with its id in e. */
int storedir_lock(struct storedir *d, struct err *e);
/* The lock that this process had under another program (tools/upgrade.h). */
void storedir_take_lock(struct storedir *d, int fd);
int storedir_lock_fd(const struct storedir *d); /* borrowed; -1: not locked by us */
void storedir_unlock(struct storedir *d);
/* The process that holds the lock; 0: nobody. */
pid_t storedir_holder(const struct storedir *d);
/* Waits until nobody holds the lock. -ETIMEDOUT. */
int storedir_wait_unlocked(const struct storedir *d, uint64_t timeout_us);

/* The address of the control socket. It goes through /proc/self/fd, because a path may be longer
 * than a socket's address holds. */
void storedir_socket(const struct storedir *d, struct sockaddr_un *ret);
