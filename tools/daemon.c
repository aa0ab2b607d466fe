/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon: puts engine, file system, transports and control socket together, runs the loop,
 * and takes it all apart again in the opposite order, so that nobody is called by who is gone. */
#include "tools/daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "tools/devices.h"
#include "tools/mounts.h"
#include "tools/spawn.h"
#include "tools/suspend.h"
#include "tools/upgrade.h"
#include "tools/world.h"
#include "transports/tcp.h"

#define LAST_WORDS_US 250000 /* at the end: for sending what was committed last */
#define UPGRADE_ROOM (32ull * 1024 * 1024) /* that a database wants when it is opened, and more */
#define QUESTION_SECONDS 2   /* a reader of .shoal/status.json waits at most so long */

/* ---- words from other threads ---- */

/* A serving thread of the file system asks for a report; the loop writes it. */
struct question {
	struct question *next;
	void (*report)(struct daemon *d, struct buf *out);
	struct buf out;
	bool seen, done;
};

void daemon_wake(struct daemon *d)
{
	const uint64_t one = 1;
	(void)!write(d->wake_fd, &one, sizeof(one));
}

static void on_published(void *userdata)
{
	struct daemon *d = userdata;
	pthread_mutex_lock(&d->lock);
	d->news = true;
	pthread_mutex_unlock(&d->lock);
	daemon_wake(d);
}

static void on_fetch(void *userdata)
{
	struct daemon *d = userdata;
	pthread_mutex_lock(&d->lock);
	d->fetch = true;
	pthread_mutex_unlock(&d->lock);
	daemon_wake(d);
}

void daemon_unmounted(void *userdata)
{
	struct daemon *d = userdata;
	pthread_mutex_lock(&d->lock);
	d->unmounted = true;
	pthread_mutex_unlock(&d->lock);
	daemon_wake(d);
}

static int ask(struct daemon *d, void (*report)(struct daemon *d, struct buf *out), struct buf *out)
{
	struct question q = { .report = report };
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += QUESTION_SECONDS;
	pthread_mutex_lock(&d->lock);
	if (d->closing) {
		pthread_mutex_unlock(&d->lock);
		return -ESHUTDOWN;
	}
	if (d->leaving) {
		const struct buf *last = report == report_status ? &d->last_status : &d->last_peers;
		buf_put(out, last->data, last->len);
		pthread_mutex_unlock(&d->lock);
		return 0;
	}
	q.next = d->questions;
	d->questions = &q;
	daemon_wake(d);
	while (!q.done && !d->closing &&
	       pthread_cond_timedwait(&d->answered, &d->lock, &until) == 0)
		;
	for (struct question **at = &d->questions; *at; at = &(*at)->next)
		if (*at == &q) {
			*at = q.next;
			break;
		}
	pthread_mutex_unlock(&d->lock);
	if (q.done) {
		buf_put(out, q.out.data, q.out.len);
		buf_u8(out, '\n');
	}
	buf_done(&q.out);
	return q.done ? 0 : -ETIMEDOUT;
}

int daemon_ask_status(void *userdata, struct buf *out)
{
	return ask(userdata, report_status, out);
}

int daemon_ask_peers(void *userdata, struct buf *out)
{
	return ask(userdata, report_peers, out);
}

/* Writes one report for all who asked for it up to now. No lock is held meanwhile: a report asks
 * the file system, whose thread may be one that waits here and wants to give up. */
static void answer_with(struct daemon *d, void (*report)(struct daemon *d, struct buf *out))
{
	_cleanup_(buf_done) struct buf text = { 0 };
	bool asked = false;
	pthread_mutex_lock(&d->lock);
	for (struct question *q = d->questions; q; q = q->next)
		if (q->report == report && !q->done)
			asked = q->seen = true;
	pthread_mutex_unlock(&d->lock);
	if (!asked)
		return;
	report(d, &text);
	pthread_mutex_lock(&d->lock);
	for (struct question *q = d->questions; q; q = q->next)
		if (q->report == report && q->seen && !q->done) {
			buf_put(&q->out, text.data, text.len);
			q->done = true;
		}
	pthread_cond_broadcast(&d->answered);
	pthread_mutex_unlock(&d->lock);
}

static void mount_is_gone(struct daemon *d)
{
	if (!d->fs)
		return;
	log_info(d->log, "%s was unmounted", d->mount_dir);
	fusefs_free(TAKE_PTR(d->fs));
	free(TAKE_PTR(d->mount_dir));
	free(TAKE_PTR(d->mount_opts));
	flusher_kick(d->flusher);
	if (d->mount_bound)
		daemon_stop(d, NULL);
}

static int on_wake(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	struct daemon *d = userdata;
	uint64_t count;
	(void)s;
	(void)events;
	(void)!read(fd, &count, sizeof(count));
	pthread_mutex_lock(&d->lock);
	bool news = d->news, unmounted = d->unmounted, fetch = d->fetch;
	d->news = d->unmounted = d->fetch = false;
	pthread_mutex_unlock(&d->lock);
	if (news) {
		peers_news(d->peers);
		if (d->mesh)
			mesh_news(d->mesh);
		waits_check(d->waits);
		durable_check(d);
		queries_look(d);
	}
	if (fetch && d->peers) {
		peers_fetch(d->peers);
		seek_run(d);
	}
	answer_with(d, report_status);
	answer_with(d, report_peers);
	feed_run(d->feed);
	if (unmounted)
		mount_is_gone(d);
	return 0;
}

/* ---- the mesh ---- */

static void on_link_up(struct link *l, void *user)
{
	struct daemon *d = user;
	peers_link_up(d->peers, l);
}

static void on_link_down(struct link *l, const struct err *why, bool successor, void *user)
{
	struct daemon *d = user;
	peers_link_down(d->peers, l, why, successor);
}

static void on_no_successor(const struct id *device, void *user)
{
	struct daemon *d = user;
	peers_no_successor(d->peers, device);
}

static void on_paced(const struct id *device, bool slow, void *user)
{
	struct daemon *d = user;
	if (d->mesh)
		mesh_paced(d->mesh, device, slow);
}

static void on_joined(const struct id *id, const char *name, enum role role, void *user)
{
	struct daemon *d = user;
	struct device v = { .id = *id, .role = role, .seen_us = world_wall_us() };
	size_t n = strlen(name);
	if (n > NAME_LIMIT)
		n = NAME_LIMIT;
	memcpy(v.name, name, n);
	devices_note(d->replica, &v);
}

static void on_note(int priority, const char *text, void *user)
{
	struct daemon *d = user;
	log_put(d->log,
		priority <= 3 ? LOG_LEVEL_ERROR :
		priority <= 4 ? LOG_LEVEL_WARNING :
		priority <= 6 ? LOG_LEVEL_INFO :
				LOG_LEVEL_DEBUG,
		"%s", text);
}

/* Of the contents under way, whoever sends them. */
static uint64_t contents_to_come(struct daemon *d)
{
	struct id file[FETCH_FILES_MAX];
	uint64_t sum = 0, done, size;
	const uint32_t n = fetch_list(d->fetches, file, FETCH_FILES_MAX);
	for (uint32_t i = 0; i < n; i++)
		if (fetch_progress(d->fetches, &file[i], &done, &size) && size > done)
			sum += size - done;
	return sum;
}

static bool on_busy(const struct id *device, struct mesh_backlog *ret, void *user)
{
	struct daemon *d = user;
	struct mesh_backlog b = { 0 };
	switch (peers_work(d->peers, device, &b.n)) {
	case SESSION_IDLE:
		return false;
	case SESSION_COMPARING:
		b.work = MESH_COMPARING;
		break;
	case SESSION_CONTENTS:
		b.work = MESH_CONTENTS;
		b.n = ret ? contents_to_come(d) : 0;
		break;
	case SESSION_CHANGES:
		b.work = MESH_CHANGES;
		break;
	}
	if (ret)
		*ret = b;
	return true;
}

static bool on_told(const struct id *device, void *user)
{
	const struct daemon *d = user;
	return peers_in_step(d->peers, device);
}

static const struct mesh_handler mesh_handler = {
	.link_up = on_link_up, .link_down = on_link_down, .no_successor = on_no_successor,
	.joined = on_joined, .ways = ways_list,
	.busy = on_busy, .told = on_told, .note = on_note,
};

static void on_peers_changed(void *userdata)
{
	struct daemon *d = userdata;
	waits_check(d->waits);
	if (d->keeping)
		keeping_kick(d->keeping);
}

static int connect_address(const char *address, bool hint, void *userdata)
{
	struct daemon *d = userdata;
	struct token_address a;
	struct err e = { 0 };
	int r = token_address_parse(address, SHOAL_PORT, &a, &e);
	if (r == 0)
		r = hint ? mesh_remember(d->mesh, &a, &e) : mesh_connect(d->mesh, &a, &e);
	if (r < 0)
		log_warning(d->log, "cannot keep connecting to %s: %s", address, e.message);
	return 0;
}

/* mounts: it has a mount, or will. */
static int start_mesh(struct daemon *d, const struct daemon_options *from, bool mounts, struct err *e)
{
	const uint64_t limit = (uint64_t)config_number(&d->config, CONFIG_NEIGHBOURS);
	const char *listen = from->listen ? from->listen : config_text(&d->config, CONFIG_LISTEN);
	char host[LISTEN_HOST_SIZE];
	uint16_t port;
	if (listen_parse(listen, host, &port) < 0)
		return err_set(e, -EINVAL, "cannot listen at \"%.60s\": it is not [ADDRESS:]PORT", listen);
	int r = invites_open(identity_dir(d->identity), &d->invites, e);
	if (r < 0)
		return r;
	const struct mesh_options o = {
		.listen = host,
		.port = port,
		.discover = config_bool(&d->config, CONFIG_DISCOVERY),
		.no_beacons = !config_bool(&d->config, CONFIG_MULTICAST),
		.no_dnssd = !config_bool(&d->config, CONFIG_AVAHI),
		.bluetooth = config_bool(&d->config, CONFIG_BLUETOOTH) ? config_text(&d->config, CONFIG_BLUETOOTH_ADAPTER) :
									 NULL,
		.wifidirect = config_bool(&d->config, CONFIG_WIFIDIRECT) ? config_text(&d->config, CONFIG_WIFIDIRECT_IFACE) :
									   NULL,
		.wifidirect_after = (unsigned)config_number(&d->config, CONFIG_WIFIDIRECT_AFTER),
		.wifidirect_idle = (unsigned)config_number(&d->config, CONFIG_WIFIDIRECT_IDLE),
		.invites = d->invites,
		.neighbours = limit == 0		   ? NEIGHBOURS_ALL :
			      limit < NEIGHBOURS_LIMIT_MIN ? NEIGHBOURS_LIMIT_MIN :
							     (unsigned)limit,
		.take_all = from->listen && !mounts,
	};
	if (o.take_all)
		log_info(d->log, "has a link to every device that asks, as a hub");
	r = mesh_new(d->event, d->identity, &o, &mesh_handler, d, &d->mesh, e);
	if (r < 0)
		return r;
	addresses_each(d->replica, connect_address, d);
	return 0;
}

/* ---- signals ---- */

static int on_end_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct daemon *d = userdata;
	(void)s;
	log_info(d->log, "signal %u: ending", si->ssi_signo);
	daemon_stop(d, NULL);
	return 0;
}

static int on_reload_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct daemon *d = userdata;
	struct err e = { 0 };
	(void)s;
	(void)si;
	if (daemon_reload(d, &e) < 0)
		log_error(d->log, "%s; the settings stay as they were", e.message);
	return 0;
}

static int on_upgrade_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct daemon *d = userdata;
	struct err e = { 0 };
	(void)s;
	(void)si;
	if (daemon_upgrade(d, NULL, NULL, &e) < 0)
		log_error(d->log, "%s", e.message);
	return 0;
}

/* ---- sleep ---- */

static int count_behind(const struct peer_status *s, void *userdata)
{
	unsigned *n = userdata;
	*n += !s->in_step;
	return 0;
}

/* What was committed last goes out while the links are up, if the others take it soon. */
static void last_words(struct daemon *d)
{
	uint64_t until = world_boot_us() + LAST_WORDS_US;
	while (world_boot_us() < until) {
		unsigned behind = 0;
		peers_news(d->peers);
		peers_each(d->peers, count_behind, &behind);
		if (!behind || sd_event_run(d->event, 10000) < 0)
			return;
	}
}

static void on_going(void *userdata)
{
	struct daemon *d = userdata;
	d->resting = true;
}

/* Others know at once that nobody is here, and have what was saved. */
static void rest(struct daemon *d)
{
	struct err e = { 0 };
	log_info(d->log, "the machine is about to sleep");
	daemon_settle(d);
	if (replica_flush(d->replica, &e) < 0)
		log_error(d->log, "%s", e.message);
	else if (peers_count(d->peers))
		last_words(d);
	mesh_rest(d->mesh);
	suspend_ready(d->suspend);
}

static void on_woke(uint64_t slept_us, void *userdata)
{
	struct daemon *d = userdata;
	log_info(d->log, "the machine is awake after %llu s of sleep",
		 (unsigned long long)slept_us / 1000000);
	d->resting = false;
	mesh_wake(d->mesh);
}

static const struct suspend_handler suspend_handler = { on_going, on_woke };

/* ---- beginning and end ---- */

static int watch_signals(struct daemon *d, struct err *e)
{
	int r = sd_event_add_signal(d->event, NULL, SIGTERM, on_end_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, on_end_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGHUP, on_reload_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGUSR2, on_upgrade_signal, d);
	return r < 0 ? err_errno(e, r, "cannot watch for signals") : 0;
}

static int open_log(struct daemon *d, bool foreground, struct err *e)
{
	enum log_target target = log_under_journal() ? LOG_TARGET_JOURNAL :
				 foreground	     ? LOG_TARGET_STDERR :
						       LOG_TARGET_FILE;
	int r = log_new(target, storedir_fd(d->dir), STOREDIR_LOG, &d->log, e);
	if (r == 0)
		daemon_log_level(d);
	return r;
}

/* h: from the program before; NULL: there was none. */
static int start(struct daemon *d, const struct daemon_options *o, struct handover *h,
		 struct err *e)
{
	int r = storedir_open(o->store, false, &d->dir, e);
	if (r == 0 && h)
		storedir_take_lock(d->dir, TAKE_FD(h->lock));
	else if (r == 0)
		r = storedir_lock(d->dir, e);
	if (r == 0)
		r = config_read(storedir_fd(d->dir), STOREDIR_CONF, &d->config, e);
	if (r == 0)
		r = open_log(d, o->foreground, e);
	if (r < 0)
		return r;
	log_info(d->log, "shoald " PACKAGE_VERSION " begins, process %ld", (long)getpid());
	r = sd_event_new(&d->event);
	if (r >= 0)
		r = sd_event_add_io(d->event, &d->wake, d->wake_fd, EPOLLIN, on_wake, d);
	if (r < 0)
		return err_errno(e, r, "cannot start");
	r = watch_signals(d, e);
	if (r == 0)
		r = world_open(d->dir, &d->identity, &d->store, &d->replica, e);
	if (r == 0 && replica_renewals(d->replica))
		log_warning(d->log, "this store was copied or brought back: what is changed in it is "
				    "told from what is changed where it came from");
	if (r == 0)
		r = feed_new(d, &d->feed, e);
	if (r == 0)
		r = waits_new(d, &d->waits, e);
	if (r == 0)
		r = flusher_new(d->replica, d->log, on_published, d, &d->flusher, e);
	const struct sweeper_limits limits = daemon_history_limits(d);
	if (r == 0)
		r = sweeper_new(d->replica, storedir_fd(d->dir), &limits, d->log, &d->sweeper, e);
	if (r == 0)
		r = keeping_new(d->replica, daemon_courier_quota(d), d->flusher, d->log, &d->keeping, e);
	if (r == 0)
		sweeper_tell(d->sweeper, d->flusher);
	if (r == 0)
		r = fetches_new(d->replica, on_fetch, d, &d->fetches);
	if (r == 0)
		r = peers_new(d->event, d->replica, identity_device_name(d->identity), d->fetches,
			      d->flusher, d->log, on_peers_changed, d, &d->peers, e);
	if (r == 0)
		peers_on_paced(d->peers, on_paced, d);
	if (r == 0)
		r = evictor_new(d, &d->evictor, e);
	if (r == 0)
		replica_set_eager(d->replica, config_number(&d->config, CONFIG_EAGER_MAX));
	if (r == 0)
		r = start_mesh(d, o, o->mount || (h && (h->mount_dir || h->mount_bound)), e);
	if (r == 0) {
		r = suspend_new(d->event, &suspend_handler, d, &d->suspend);
		if (r < 0)
			err_errno(e, r, "cannot start");
	}
	if (r == 0 && h && h->mount_dir)
		r = daemon_take_mount(d, h, e);
	else if (r == 0 && o->mount)
		r = daemon_mount(d, o->mount, o->options, e);
	d->mount_bound = h ? h->mount_bound : o->mount != NULL;
	if (r == 0)
		r = ctlserver_new(d->event, d->dir, h ? TAKE_FD(h->listen) : -1, daemon_methods,
				  daemon_n_methods, d, d->log, &d->control, e);
	return r;
}

/* ---- becoming another program ---- */

int daemon_upgrade(struct daemon *d, const char *program, struct call *who, struct err *e)
{
	if (d->jobs)
		return err_set(e, -EBUSY, "`shoal verify` runs: wait for its end");
	if (d->n_queries > d->n_live)
		return err_set(e, -EBUSY, "a query runs: wait for its end");
	if (!program)
		program = d->program;
	if (!program || *program != '/')
		return err_set(e, -EINVAL, "the program has to be named by an absolute path");
	struct statvfs v;
	if (fstatvfs(storedir_fd(d->dir), &v) == 0 && v.f_bavail * v.f_frsize < UPGRADE_ROOM)
		return err_set(e, -ENOSPC,
			       "the disk of the store %.150s is full: nothing could open it anew",
			       storedir_path(d->dir));
	int r = upgrade_check(program, e);
	if (r < 0)
		return r;
	char *copy = strdup(program);
	if (!copy)
		return err_errno(e, -ENOMEM, "cannot upgrade");
	free(d->successor);
	d->successor = copy;
	d->upgrader = who;
	d->stop = true;
	return 0;
}

/* Readers of reports do not wait for the loop while it is busy with other things. */
static void answer_in_advance(struct daemon *d, bool yes)
{
	struct buf status = { 0 }, peers = { 0 };
	if (yes) {
		report_status(d, &status);
		report_peers(d, &peers);
		buf_u8(&status, '\n');
		buf_u8(&peers, '\n');
	}
	pthread_mutex_lock(&d->lock);
	d->leaving = yes;
	buf_done(&d->last_status);
	buf_done(&d->last_peers);
	d->last_status = status;
	d->last_peers = peers;
	pthread_mutex_unlock(&d->lock);
	answer_with(d, report_status);
	answer_with(d, report_peers);
}

/* Returns only if that came to nothing. */
static void hand_over(struct daemon *d, const struct daemon_options *o)
{
	struct err e = { 0 };
	const struct upgrade u = {
		.program = d->successor, .dir = d->dir, .control = d->control, .who = d->upgrader,
		.fs = d->fs, .mount_dir = d->fs ? d->mount_dir : NULL,
		.mount_opts = d->mount_opts, .mount_bound = d->mount_bound, .listen = o->listen,
		.foreground = o->foreground,
	};
	log_info(d->log, "becoming %s", d->successor);
	answer_in_advance(d, true);
	/* Nothing arrives any more. */
	mesh_free(TAKE_PTR(d->mesh));
	invites_free(TAKE_PTR(d->invites));
	int r = replica_flush(d->replica, &e);
	if (r == 0)
		r = upgrade_exec(&u, &e);
	log_error(d->log, "%s; this one goes on", e.message);
	struct call *who = TAKE_PTR(d->upgrader);
	if (who)
		call_error(who, &e);
	free(TAKE_PTR(d->successor));
	answer_in_advance(d, false);
	r = start_mesh(d, o, d->fs || d->mount_bound, &e);
	if (r < 0)
		log_error(d->log, "%s; no device is reached", e.message);
}

void daemon_stop(struct daemon *d, struct call *who)
{
	d->stop = true;
	if (who && !d->stopper)
		d->stopper = who;
}

static void close_questions(struct daemon *d)
{
	pthread_mutex_lock(&d->lock);
	d->closing = true;
	pthread_cond_broadcast(&d->answered);
	pthread_mutex_unlock(&d->lock);
}

/* Ends what start() began, as far as it came. The result says whether everything is durable. */
static int finish(struct daemon *d, struct err *e)
{
	int r = 0;
	close_questions(d);
	if (d->fs && daemon_umount(d, false, e) < 0)
		r = daemon_umount(d, true, e);
	if (d->replica && r == 0)
		r = replica_flush(d->replica, e);
	if (d->peers && peers_count(d->peers) && r == 0)
		last_words(d);
	if (d->jobs)
		log_info(d->log, "waiting for `shoal verify` to end");
	queries_cancel(d);
	while (d->jobs + d->n_queries && sd_event_run(d->event, UINT64_MAX) >= 0)
		;
	mesh_free(TAKE_PTR(d->mesh));
	if (d->control) {
		if (d->stopper && r < 0)
			call_error(d->stopper, e);
		else if (d->stopper)
			call_result(d->stopper, NULL, false);
		d->stopper = NULL;
		ctlserver_stop_listening(d->control);
		ctlserver_drain(d->control, 200000);
	}
	ctlserver_free(TAKE_PTR(d->control));
	seek_free(TAKE_PTR(d->seek));
	evictor_free(d->evictor);
	waits_free(d->waits);
	peers_free(d->peers);
	feed_free(d->feed);
	suspend_free(d->suspend);
	sweeper_free(d->sweeper);
	keeping_free(d->keeping);
	flusher_free(d->flusher);
	fusefs_free(d->fs);
	fetches_free(d->fetches);
	invites_free(d->invites);
	replica_free(d->replica);
	store_close(d->store);
	identity_free(d->identity);
	free(d->mount_dir);
	free(d->mount_opts);
	sd_event_source_disable_unref(d->wake);
	sd_event_unref(d->event);
	return r;
}

static void block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGUSR1); /* fusefs has a use for it */
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void run_loop(struct daemon *d, const struct daemon_options *o)
{
	while (!d->stop) {
		int r = sd_event_run(d->event, UINT64_MAX);
		if (r < 0) {
			log_error(d->log, "the event loop failed: %s", strerror(-r));
			return;
		}
		suspend_look(d->suspend, world_boot_us(), world_awake_us());
		if (d->resting) {
			d->resting = false;
			rest(d);
		}
		if (d->stop && d->successor) {
			d->stop = false;
			hand_over(d, o);
		}
	}
}

static char *own_path(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
	return n > 0 && n < (ssize_t)sizeof(path) ? strndup(path, (size_t)n) : NULL;
}

int daemon_run(const struct daemon_options *o, struct err *e)
{
	struct daemon d = { .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			    .started_us = world_boot_us(), .program = own_path() };
	_cleanup_(handover_done) struct handover h = { .lock = -1, .listen = -1, .client = -1 };
	const bool successor = o->handover >= 0;
	pthread_condattr_t attr;
	if (d.wake_fd < 0)
		return err_errno(e, -errno, "cannot start");
	/* Before any thread begins: signals come to the loop alone. */
	block_signals();
	umask(077);
	pthread_mutex_init(&d.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d.answered, &attr);
	pthread_condattr_destroy(&attr);

	int r = successor ? handover_read(o->handover, &h, e) : 0;
	if (r == 0)
		r = start(&d, o, successor ? &h : NULL, e);
	bool served = r == 0;
	if (served) {
		sd_notifyf(0, "READY=1\nSTATUS=serving %s%s%s", storedir_path(d.dir),
			   d.mount_dir ? " at " : "", d.mount_dir ? d.mount_dir : "");
		spawn_tell(o->ready_fd, NULL);
		if (successor)
			log_info(d.log, "took over from shoald %s", h.version);
		handover_answer(&h, NULL);
		run_loop(&d, o);
		sd_notify(0, "STOPPING=1");
	} else if (d.log) {
		log_error(d.log, "%s", e->message);
	}
	struct err end = { 0 };
	int code = finish(&d, &end);
	if (code < 0 && d.log)
		log_error(d.log, "not everything is durable: %s", end.message);
	if (d.log)
		log_info(d.log, "shoald ended");
	if (r == 0 && code < 0) {
		r = code;
		if (e)
			*e = end;
	}
	config_done(&d.config);
	buf_done(&d.last_status);
	buf_done(&d.last_peers);
	free(d.program);
	free(d.successor);
	log_free(d.log);
	pthread_cond_destroy(&d.answered);
	pthread_mutex_destroy(&d.lock);
	close(d.wake_fd);
	storedir_free(d.dir); /* the lock last */
	if (!served) {
		spawn_tell(o->ready_fd, e);
		handover_answer(&h, e);
	}
	return r;
}
