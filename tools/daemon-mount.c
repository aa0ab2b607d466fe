/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mount of a daemon: made, taken over from the program before, and ended. */
#include "tools/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/upgrade.h"

#define SETTLE_MS 1000 /* for files that were made a moment ago */
#define SHOW_MS 100
#define SPARE_MS 100

/* The store's path as an option value: commas and backslashes escaped for libfuse. */
static void put_fsname(struct buf *b, const char *path)
{
	buf_puts(b, "fsname=");
	for (; *path; path++) {
		if (*path == ',' || *path == '\\')
			buf_u8(b, '\\');
		buf_u8(b, (uint8_t)*path);
	}
}

/* All but where it is and how. spool: room for the text. */
static struct fusefs_config config_of(struct daemon *d, struct buf *spool)
{
	buf_putf(spool, "%s/" STOREDIR_SPOOL, storedir_path(d->dir));
	return (struct fusefs_config){ .replica = d->replica, .spool = buf_cstr(spool),
				       .fetches = d->fetches,
				       .scan_max = (unsigned)config_number(&d->config, CONFIG_SCAN_MAX),
				       .status = daemon_ask_status, .peers = daemon_ask_peers,
				       .seen_by = seen_report,
				       .ended = daemon_unmounted, .userdata = d };
}

int daemon_take_mount(struct daemon *d, struct handover *h, struct err *e)
{
	_cleanup_(buf_done) struct buf spool = { 0 };
	_cleanup_(fusefs_freep) struct fusefs *fs = NULL;
	const struct fusefs_config config = config_of(d, &spool);
	if (!config.spool)
		return err_errno(e, -ENOMEM, "cannot take the mount over");
	int r = fusefs_take(&config, h->mount, h->mount_len, &fs, e);
	if (r == 0)
		r = fusefs_start(fs, e);
	if (r < 0)
		return r;
	d->fs = TAKE_PTR(fs);
	d->mount_dir = TAKE_PTR(h->mount_dir);
	d->mount_opts = TAKE_PTR(h->mount_opts);
	return 0;
}

int daemon_mount(struct daemon *d, const char *dir, const char *options, struct err *e)
{
	if (d->fs)
		return err_set(e, -EBUSY, "the store %s is mounted at %s already; `shoal umount %s` first",
			       storedir_path(d->dir), d->mount_dir, d->mount_dir);
	_cleanup_(buf_done) struct buf all = { 0 }, spool = { 0 };
	const char *fixed = config_text(&d->config, CONFIG_MOUNT_OPTS);
	put_fsname(&all, storedir_path(d->dir));
	if (*fixed)
		buf_putf(&all, ",%s", fixed);
	if (options && *options)
		buf_putf(&all, ",%s", options);
	struct fusefs_config config = config_of(d, &spool);
	config.mountpoint = dir;
	config.options = buf_cstr(&all);
	_cleanup_free_ char *copy = strdup(dir), *opts = strdup(options ? options : "");
	_cleanup_(fusefs_freep) struct fusefs *fs = NULL;
	if (!config.options || !config.spool || !copy || !opts)
		return err_errno(e, -ENOMEM, "cannot mount");
	int r = fusefs_mount(&config, &fs, e);
	if (r == 0)
		r = fusefs_start(fs, e);
	if (r < 0)
		return r;
	d->fs = TAKE_PTR(fs);
	d->mount_dir = TAKE_PTR(copy);
	d->mount_opts = TAKE_PTR(opts);
	log_info(d->log, "mounted at %s", dir);
	return 0;
}

int daemon_umount(struct daemon *d, bool force, struct err *e)
{
	if (!d->fs)
		return 0;
	int r = fusefs_unmount(d->fs, force, e);
	if (r < 0)
		return r;
	fusefs_free(TAKE_PTR(d->fs));
	log_info(d->log, "unmounted %s", d->mount_dir);
	free(TAKE_PTR(d->mount_dir));
	free(TAKE_PTR(d->mount_opts));
	return replica_flush(d->replica, e);
}

void daemon_settle(struct daemon *d)
{
	/* In vain is no failure: what stays local then is what a program has not finished. */
	if (d->fs)
		(void)fusefs_settle(d->fs, SETTLE_MS);
}

void daemon_show(struct daemon *d)
{
	if (d->fs)
		(void)fusefs_show(d->fs, SHOW_MS);
}

void daemon_spare(struct daemon *d, const char *path)
{
	const struct timespec ts = { .tv_nsec = 1000000 };
	struct attr at;
	if (!d->fs || !fusefs_is_open(d->fs, NULL) || path_resolve(d->replica, path, &at, NULL) < 0)
		return;
	for (unsigned ms = 0; ms < SPARE_MS && fusefs_is_open(d->fs, &at.id); ms++)
		nanosleep(&ts, NULL);
}
