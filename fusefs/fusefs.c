/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/fusefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fusefs/atdir.h"
#include "fusefs/commit.h"
#include "fusefs/demand.h"
#include "fusefs/doctree.h"
#include "fusefs/draft.h"
#include "fusefs/event.h"
#include "fusefs/fs.h"
#include "fusefs/handle.h"
#include "fusefs/handover.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/notify.h"
#include "fusefs/options.h"
#include "fusefs/owner.h"
#include "fusefs/plain.h"
#include "fusefs/rules.h"
#include "fusefs/serve.h"
#include "fusefs/tombstone.h"
#include "fusefs/wire.h"

/* Versions kept for saves to come. */
#define BASES_NOTES 16384
#define BASES_BYTES (UINT64_C(64) * 1024 * 1024)

void names_lock(struct fusefs *fs)
{
	if (pthread_mutex_trylock(&fs->names) == 0)
		return;
	turn_pass(&fs->turns);
	pthread_mutex_lock(&fs->names);
}

void fs_own_begin(struct fusefs *fs, struct committer *c)
{
	if (replica_is_committing(fs->replica))
		turn_pass(&fs->turns);
	c->thread = pthread_self();
	pthread_mutex_lock(&fs->lock);
	c->next = fs->committers;
	fs->committers = c;
	pthread_mutex_unlock(&fs->lock);
}

void fs_own_end(struct fusefs *fs, struct committer *c)
{
	pthread_mutex_lock(&fs->lock);
	for (struct committer **p = &fs->committers; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	pthread_mutex_unlock(&fs->lock);
}

int fusefs_check_options(const char *options, struct err *e)
{
	struct options o;
	_cleanup_(buf_done) struct buf fuse = { 0 };
	return options_parse(options, &o, &fuse, e);
}

/* ---- unmounting by path ---- */

static int run_fusermount(const char *mountpoint, bool lazy)
{
	const char *const argv[] = {
		"fusermount3", "-u", "-q", lazy ? "-z" : "--", mountpoint, NULL
	};
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		if (null >= 0) {
			dup2(null, 0);
			dup2(null, 1);
			dup2(null, 2);
		}
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static int unmount_path(const char *mountpoint, bool lazy)
{
	if (umount2(mountpoint, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0)
		return 0;
	/* EACCES: the mount is dead, and another user than root asks. */
	if (errno != EPERM && errno != EACCES)
		return -errno;
	return run_fusermount(mountpoint, lazy);
}

/* ---- starting ---- */

#define BACKGROUND_MAX 4096

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fusefs *fs = userdata;
	(void)fs;
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA |
				  FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS |
				  FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_HANDLE_KILLPRIV);
	/* And what fusefs/wire.h adds. */
	const unsigned want = FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_READDIRPLUS |
			      FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_CACHE_SYMLINKS;
	conn->want |= conn->capable & want;
	conn->time_gran = 1;
	/* Reads ahead of programs that wait for contents from elsewhere must not be all that the kernel asks. */
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX / 4 * 3;
}

static int make_spool(struct fusefs *fs, const char *path, struct err *e)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "cannot make %s", path);
	fs->spool = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (fs->spool < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	/* New names go on behind the ones that are there. */
	DIR *d = opendir(path);
	for (struct dirent *x; d && (x = readdir(d));) {
		const char *dash = strrchr(x->d_name, '-');
		uint64_t n = dash ? strtoull(dash + 1, NULL, 10) : 0;
		if (n >= fs->next_spool)
			fs->next_spool = n + 1;
	}
	if (d)
		closedir(d);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the spool files that records speak of, in order; borrowed. */
static const char **kept_names(struct fusefs *fs, size_t *ret_n)
{
	const char **name = calloc(2 * (size_t)fs->by_ino.n + 1, sizeof(*name));
	size_t n = 0;
	table_each(&fs->by_ino, b, l, next)
	{
		const struct inode *i = table_entry(l, struct inode, by_ino);
		if (name && i->draft_spool[0])
			name[n++] = i->draft_spool;
		if (name && i->local && i->local->spool[0])
			name[n++] = i->local->spool;
	}
	if (n)
		qsort(name, n, sizeof(*name), compare_names);
	*ret_n = n;
	return name;
}

/* Spool files that no record speaks of: a crash came between the two. */
static void sweep_spool(struct fusefs *fs)
{
	size_t n;
	_cleanup_free_ const char **kept = kept_names(fs, &n);
	int fd = kept ? openat(fs->spool, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	for (struct dirent *x; d && (x = readdir(d));) {
		const char *name = x->d_name;
		bool tree = strncmp(name, PLAIN_PREFIX, strlen(PLAIN_PREFIX)) == 0;
		if (!tree && strncmp(name, "local-", 6) != 0 && strncmp(name, "draft-", 6) != 0)
			continue;
		/* A directory that no record speaks of was made and never named: it is empty. */
		if (!n || !bsearch(&name, kept, n, sizeof(*kept), compare_names))
			unlinkat(fs->spool, name, tree ? AT_REMOVEDIR : 0);
	}
	if (d)
		closedir(d);
}

static int check_mountpoint(const char *path, struct err *e)
{
	struct stat st, up;
	struct statfs dead;
	int r = stat(path, &st) < 0 ? -errno : 0;
	/* stat() may be answered from the kernel's cache though nobody serves the mount any more.
	 */
	if (r == 0 && statfs(path, &dead) < 0)
		r = -errno;
	if (r == -ENOTCONN || r == -ECONNABORTED) {
		/* Ours, or another one's; whoever served it is dead. */
		r = unmount_path(path, false);
		if (r < 0)
			r = unmount_path(path, true);
		if (r < 0)
			return err_errno(e, r,
					 "%s is a mount whose daemon died, and cannot be "
					 "unmounted; try fusermount3 -uz",
					 path);
		r = stat(path, &st) < 0 ? -errno : 0;
	}
	if (r == -EACCES)
		return err_set(e, r, "%s cannot be reached, or is another user's dead mount", path);
	if (r < 0)
		return err_errno(e, r, "mount point %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "mount point %s is not a directory", path);
	_cleanup_(buf_done) struct buf parent = { 0 };
	buf_putf(&parent, "%s/..", path);
	const char *text = buf_cstr(&parent);
	if (text && stat(text, &up) == 0 && up.st_dev != st.st_dev)
		return err_set(e, -EBUSY, "something is mounted on %s already", path);
	if (access("/dev/fuse", F_OK) < 0)
		return err_set(e, -ENODEV, "there is no /dev/fuse; load the module: modprobe fuse");
	if (access("/dev/fuse", R_OK | W_OK) < 0)
		return err_set(e, -EACCES,
			       "this user may not open /dev/fuse: chmod a+rw /dev/fuse");
	return 0;
}

static void ignore_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
}

static int mount_session(struct fusefs *fs, struct err *e)
{
	errno = 0;
	if (fuse_session_mount(fs->session, fs->mountpoint) != 0) {
		int code = errno ? -errno : -EPERM;
		return err_errno(e, code, "cannot mount on %s (%s)", fs->mountpoint,
				 fs->options.allow_other
					 ? "allow_other wants user_allow_other in /etc/fuse.conf"
					 : "is fusermount3 installed, is the directory yours?");
	}
	fs->mounted = true;
	int r = wire_attach(fs);
	return r < 0 ? err_errno(e, r, "mount") : 0;
}

static int make_session(struct fusefs *fs, struct buf *options, struct err *e)
{
	const char *fuse_options = buf_cstr(options);
	if (!fuse_options)
		return err_errno(e, -ENOMEM, "mount");
	struct fuse_lowlevel_ops ops = { .init = op_init };
	ops_attr_fill(&ops);
	ops_dir_fill(&ops);
	ops_file_fill(&ops);
	ops_name_fill(&ops);
	ops_rename_fill(&ops);
	ops_plain_fill(fs, &ops);
	_cleanup_(buf_done) struct buf opt = { 0 };
	buf_putf(&opt, "-osubtype=shoal%s,%s",
		 strstr(fuse_options, "fsname=") ? "" : ",fsname=shoal", fuse_options);
	char name[] = "shoal";
	char *text = buf_cstr(&opt);
	if (!text)
		return err_errno(e, -ENOMEM, "mount");
	char *argv[] = { name, text, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	fuse_set_log_func(ignore_log);
	fs->session = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	if (!fs->session)
		return err_set(e, -EINVAL, "libfuse does not take the mount options %s",
			       fuse_options);
	return 0;
}

static int fs_new(const struct fusefs_config *config, struct fusefs **ret)
{
	struct fusefs *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->config = *config;
	fs->replica = config->replica;
	fs->spool = -1;
	fs->next_ino = 2;
	fs->next_spool = 1;
	pthread_rwlock_init(&fs->plain, NULL);
	pthread_mutex_init(&fs->names, NULL);
	pthread_mutex_init(&fs->lock, NULL);
	procs_init(&fs->procs);
	turns_init(&fs->turns);
	scanners_init(&fs->scanners, config->scan_max);
	slots_init(&fs->files);
	slots_init(&fs->lists);
	slots_init(&fs->plain_lists);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&fs->keeper_wake, &attr);
	pthread_cond_init(&fs->keeper_idle, &attr);
	pthread_condattr_destroy(&attr);
	clock_gettime(CLOCK_REALTIME, &fs->mount_time);
	*ret = fs;
	return 0;
}

/* What it consists of, when its mount point is known. */
static int make_parts(struct fusefs *fs, const char *spool, struct err *e)
{
	const struct bases_limits limits = { BASES_NOTES, BASES_BYTES };
	if (!fs->mountpoint || bases_new(&limits, &fs->bases) < 0 || rules_new(&fs->rules) < 0 ||
	    notify_new(fs, &fs->notify) < 0 || events_new(fs, &fs->events) < 0 ||
	    demand_new(fs, &fs->demand) < 0)
		return err_errno(e, -ENOMEM, "mount");
	return make_spool(fs, spool, e);
}

int fusefs_mount(const struct fusefs_config *config, struct fusefs **ret, struct err *e)
{
	_cleanup_(fusefs_freep) struct fusefs *fs = NULL;
	_cleanup_(buf_done) struct buf fuse = { 0 };
	int r = fs_new(config, &fs);
	if (r == 0 && config->options) {
		fs->options_text = strdup(config->options);
		r = fs->options_text ? 0 : -ENOMEM;
	}
	if (r < 0)
		return err_errno(e, r, "mount");
	r = options_parse(config->options, &fs->options, &fuse, e);
	if (r < 0)
		return r;
	r = check_mountpoint(config->mountpoint, e);
	if (r < 0)
		return r;
	fs->mountpoint = realpath(config->mountpoint, NULL);
	r = make_parts(fs, config->spool, e);
	if (r < 0)
		return r;
	struct attr root = { .id = NODE_ROOT, .kind = NODE_DIR };
	struct inode *i = NULL;
	r = owner_load(fs);
	if (r == 0)
		r = inode_of_node(fs, &root, &i);
	if (r == 0)
		r = tombstone_load(fs);
	if (r == 0)
		r = local_load(fs);
	if (r == 0)
		r = draft_load(fs);
	if (r < 0)
		return err_errno(e, r, "cannot read what this device keeps to itself");
	sweep_spool(fs);
	r = make_session(fs, &fuse, e);
	if (r == 0)
		r = mount_session(fs, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(fs);
	return 0;
}

int fusefs_take(const struct fusefs_config *config, const void *data, size_t len,
		struct fusefs **ret, struct err *e)
{
	_cleanup_(fusefs_freep) struct fusefs *fs = NULL;
	_cleanup_(buf_done) struct buf fuse = { 0 };
	_cleanup_(loader_done) struct loader l = { .in = cursor_make(data, len),
						   .replica = config->replica };
	char path[32];
	int fd, r = fs_new(config, &fs);
	if (r < 0)
		return err_errno(e, r, "cannot take the mount over");
	fs->taken = true;
	handover_load_mount(fs, &l);
	if (!load_ok(&l))
		return err_errno(e, l.error, "cannot take the mount over");
	r = options_parse(fs->options_text, &fs->options, &fuse, e);
	if (r == 0)
		r = make_parts(fs, config->spool, e);
	if (r == 0)
		r = make_session(fs, &fuse, e);
	if (r < 0)
		return r;
	r = owner_load(fs);
	if (r == 0)
		handover_load(fs, &l, &fd);
	if (r == 0)
		r = l.error;
	snprintf(path, sizeof(path), "/dev/fd/%d", r == 0 ? fd : -1);
	if (r == 0 && fuse_session_mount(fs->session, path) != 0)
		r = -EBADF;
	if (r == 0)
		r = wire_attach(fs);
	if (r < 0)
		return err_errno(e, r, "cannot take the mount at %s over", fs->mountpoint);
	fs->mounted = true;
	*ret = TAKE_PTR(fs);
	return 0;
}

/* ---- serving ---- */

static int start_threads(struct fusefs *fs)
{
	int r = notify_start(fs->notify);
	if (r == 0)
		r = keeper_start(fs);
	fs->started = r == 0;
	if (r == 0)
		r = serve_start(fs);
	return r < 0 ? r : events_start(fs->events);
}

int fusefs_start(struct fusefs *fs, struct err *e)
{
	int r = fs->taken ? serve_first_again(fs) : serve_first(fs);
	if (r == 0)
		r = replica_observe(fs->replica, rules_observe, fs);
	if (r == 0)
		r = replica_observe(fs->replica, notify_observe, fs);
	/* Rules may have changed while nobody looked. */
	if (r == 0)
		commit_know_rules(fs);
	if (r == 0)
		keeper_add(fs, TIMER_RULES, 0, monotonic_ns() + RULES_GONE_NS);
	if (r == 0)
		r = start_threads(fs);
	return r < 0 ? err_errno(e, r, "cannot start the threads of the mount") : 0;
}

/* ---- handing over ---- */

int fusefs_leave(struct fusefs *fs, struct buf *out, struct err *e)
{
	struct saver *s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(e, -ENOMEM, "cannot hand the mount over");
	/* Each of them may wait for answers of those behind it. */
	events_stop(fs->events);
	keeper_stop(fs);
	notify_stop(fs->notify);
	serve_park(fs);
	demand_stop(fs->demand);
	s->out = out;
	s->replica = fs->replica;
	fs->leaving = s;
	handover_save(fs, s);
	int r = atomic_load(&fs->over) ? -ENODEV : s->error;
	if (r < 0) {
		fusefs_stay(fs);
		return err_errno(e, r, "cannot hand the mount at %s over", fs->mountpoint);
	}
	return 0;
}

void fusefs_stay(struct fusefs *fs)
{
	saver_undo(fs->leaving);
	saver_done(fs->leaving);
	free(TAKE_PTR(fs->leaving));
	demand_start(fs->demand);
	start_threads(fs);
}

/* ---- stopping ---- */

static void stop(struct fusefs *fs)
{
	/* Waits for answers of the threads. */
	events_stop(fs->events);
	atomic_store(&fs->stopping, true);
	if (fs->session)
		fuse_session_exit(fs->session);
	serve_stop(fs);
	if (fs->demand)
		demand_stop(fs->demand);
	if (fs->started) {
		replica_unobserve(fs->replica, notify_observe, fs);
		replica_unobserve(fs->replica, rules_observe, fs);
		keeper_stop(fs);
		notify_stop(fs->notify);
		commit_all(fs);
		fs->started = false;
	}
	replica_flush(fs->replica, NULL);
}

/* Unmounted for good, nothing open any more. */
static bool connection_dead(struct fusefs *fs)
{
	struct pollfd p = { .fd = fuse_session_fd(fs->session) };
	for (unsigned k = 0; k < 100; k++) {
		if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR))
			return true;
		const struct timespec ts = { .tv_nsec = 1000000 };
		nanosleep(&ts, NULL);
	}
	return false;
}

int fusefs_unmount(struct fusefs *fs, bool force, struct err *e)
{
	if (fs->mounted && !atomic_load(&fs->over)) {
		/* Unmounting sends requests (FORGET, FLUSH): the threads still serve. */
		atomic_store(&fs->stopping, false);
		fs->own_unmount = true;
		struct stat st, up;
		_cleanup_(buf_done) struct buf parent = { 0 };
		buf_putf(&parent, "%s/..", fs->mountpoint);
		const char *text = buf_cstr(&parent);
		/* A lazy unmount by others leaves nothing at the path. */
		bool there = !text || stat(fs->mountpoint, &st) < 0 || stat(text, &up) < 0 ||
			     st.st_dev != up.st_dev;
		int r = 0;
		if (there) {
			void (*ended)(void *) = fs->config.ended;
			fs->config.ended = NULL;
			/* It must not be what the mount is busy with. */
			events_stop(fs->events);
			r = unmount_path(fs->mountpoint, false);
			if (r == -EBUSY && force)
				r = unmount_path(fs->mountpoint, true);
			if (r < 0) {
				fs->config.ended = ended;
				events_start(fs->events);
			}
		}
		if (r == -EBUSY)
			return err_set(e, r,
				       "%s is busy: files are open or a process stands in it "
				       "(fuser -vm %s says which)",
				       fs->mountpoint, fs->mountpoint);
		if (r < 0 && r != -EINVAL && r != -ENOENT)
			return err_errno(e, r, "cannot unmount %s", fs->mountpoint);
	}
	/* The kernel is done with it: libfuse only has to forget. */
	if (fs->mounted && fs->session && connection_dead(fs))
		fuse_session_unmount(fs->session);
	fs->mounted = false;
	stop(fs);
	/* Who still has files open after a lazy unmount gets ENOTCONN from here on. */
	if (fs->session)
		fuse_session_destroy(fs->session);
	fs->session = NULL;
	return 0;
}

void fusefs_free(struct fusefs *fs)
{
	if (!fs)
		return;
	if (fs->mounted)
		fusefs_unmount(fs, true, NULL);
	if (fs->session)
		fuse_session_destroy(fs->session);
	handles_done(fs);
	ops_dir_done(fs);
	ops_plain_done(fs);
	inodes_done(fs);
	doctrees_done(fs);
	atdirs_done(fs);
	tombstones_done(fs);
	owners_done(fs);
	notify_free(fs->notify);
	events_free(fs->events);
	bases_free(fs->bases);
	rules_free(fs->rules);
	if (fs->spool >= 0)
		close(fs->spool);
	buf_done(&fs->first);
	free(fs->timer);
	free(fs->options_text);
	free(fs->mountpoint);
	pthread_cond_destroy(&fs->keeper_wake);
	pthread_cond_destroy(&fs->keeper_idle);
	procs_done(&fs->procs);
	turns_done(&fs->turns);
	scanners_done(&fs->scanners);
	demand_free(fs->demand);
	pthread_mutex_destroy(&fs->lock);
	pthread_mutex_destroy(&fs->names);
	pthread_rwlock_destroy(&fs->plain);
	free(fs);
}

void fusefs_limit_scans(struct fusefs *fs, unsigned scan_max)
{
	scanners_limit(&fs->scanners, scan_max);
}

bool fusefs_mounted(const struct fusefs *fs)
{
	return fs->mounted && !atomic_load(&fs->over);
}

/* ---- asking ---- */

/* Not the reports: whoever opens one holds its lock, and waits for the report that asks for this. */
static bool is_open(const struct inode *i)
{
	return i->opens > 0 && i->backing != BACK_VIRTUAL;
}

static uint64_t count_dirty(struct fusefs *fs)
{
	struct inode **list = NULL;
	size_t n = 0;
	uint64_t dirty = 0;
	if (inodes_get(fs, is_open, &list, &n) < 0)
		return 0;
	for (size_t k = 0; k < n; k++) {
		pthread_mutex_lock(&list[k]->lock);
		dirty += list[k]->shared && list[k]->shared->dirty;
		pthread_mutex_unlock(&list[k]->lock);
	}
	inodes_put(fs, list, n);
	return dirty;
}

void fusefs_stats(struct fusefs *fs, struct fusefs_stats *ret)
{
	struct fusefs_stats s = { 0 };
	struct inode **list = NULL;
	size_t n = 0;
	if (drafts_get(fs, &list, &n) == 0) {
		s.drafts = n;
		inodes_put(fs, list, n);
	}
	pthread_mutex_lock(&fs->lock);
	s.inodes = fs->by_ino.n;
	s.handles = fs->n_handles;
	s.local = fs->n_local;
	s.tombstones = fs->n_tombs;
	pthread_mutex_unlock(&fs->lock);
	s.dirty = count_dirty(fs);
	s.pinned = bases_bytes(fs->bases);
	s.saves = atomic_load(&fs->saves);
	s.notifies = notify_count(fs->notify);
	s.calls = events_count(fs->events);
	s.requests = atomic_load(&fs->requests);
	*ret = s;
}

int fusefs_drafts(struct fusefs *fs, fusefs_draft_fn f, void *userdata)
{
	struct inode **list = NULL;
	size_t n = 0;
	int r = drafts_get(fs, &list, &n);
	if (r < 0)
		return r;
	for (size_t k = 0; k < n && r == 0; k++) {
		struct inode *i = list[k];
		_cleanup_(buf_done) struct buf path = { 0 };
		struct err why = { 0 };
		pthread_mutex_lock(&i->lock);
		if (i->shared && i->shared->draft)
			why = i->shared->err;
		if (i->backing == BACK_LOCAL) {
			if (!id_equal(&i->local->parent, &NODE_ROOT) &&
			    replica_path(fs->replica, &i->local->parent, &path) >= 0)
				buf_u8(&path, '/');
			buf_puts(&path, i->local->name);
		} else {
			replica_path(fs->replica, &i->id, &path);
		}
		pthread_mutex_unlock(&i->lock);
		const char *text = buf_cstr(&path);
		if (text && why.code)
			r = f(text, &why, userdata);
	}
	inodes_put(fs, list, n);
	return r;
}

/* The kernel tells of the end of an open file a moment after close(2) has returned. */
static void wait_closing(struct fusefs *fs)
{
	const struct timespec ts = { .tv_nsec = 5000000 };
	for (unsigned k = 0; k < 20 && atomic_load(&fs->n_closing); k++)
		nanosleep(&ts, NULL);
}

int fusefs_settle(struct fusefs *fs, unsigned timeout_ms)
{
	int64_t until = monotonic_ns() + (int64_t)timeout_ms * (SECOND_NS / 1000);
	wait_closing(fs);
	int r = keeper_wait(fs, true, until);
	return r < 0 ? r : notify_wait(fs->notify, until);
}

int fusefs_show(struct fusefs *fs, unsigned timeout_ms)
{
	return notify_wait(fs->notify, monotonic_ns() + (int64_t)timeout_ms * (SECOND_NS / 1000));
}

bool fusefs_is_open(struct fusefs *fs, const struct id *id)
{
	pthread_mutex_lock(&fs->lock);
	bool open = fs->n_handles > 0;
	pthread_mutex_unlock(&fs->lock);
	struct inode *i = open && id ? inode_find_node(fs, id) : NULL;
	if (!i)
		return open && !id;
	pthread_mutex_lock(&fs->lock);
	open = i->opens > 0;
	pthread_mutex_unlock(&fs->lock);
	inode_put(fs, i);
	return open;
}

int fusefs_wait_idle(struct fusefs *fs, bool settle, unsigned timeout_ms)
{
	int64_t until = monotonic_ns() + (int64_t)timeout_ms * (SECOND_NS / 1000);
	if (settle)
		wait_closing(fs);
	int r = keeper_wait(fs, settle, until);
	if (r == 0)
		r = notify_wait(fs->notify, until);
	return r < 0 ? r : events_wait(fs->events, until);
}
