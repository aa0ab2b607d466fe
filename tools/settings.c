/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon makes of shoal.conf, and makes anew when it is told to. */
#include "tools/daemon.h"

void daemon_log_level(struct daemon *d)
{
	enum log_level level = LOG_LEVEL_INFO;
	(void)log_level_parse(config_text(&d->config, CONFIG_LOG_LEVEL), &level);
	log_set_level(d->log, level);
}

struct sweeper_limits daemon_history_limits(const struct daemon *d)
{
	return (struct sweeper_limits){ config_number(&d->config, CONFIG_HISTORY_DAYS),
					config_number(&d->config, CONFIG_HISTORY_SHARE),
					config_number(&d->config, CONFIG_HISTORY_PURGE) };
}

uint64_t daemon_courier_quota(const struct daemon *d)
{
	return config_number(&d->config, CONFIG_COURIER_QUOTA) << 20;
}

int daemon_reload(struct daemon *d, struct err *e)
{
	struct config c = { 0 };
	int r = config_read(storedir_fd(d->dir), STOREDIR_CONF, &c, e);
	if (r < 0)
		return r;
	config_done(&d->config);
	d->config = c;
	daemon_log_level(d);
	const struct sweeper_limits limits = daemon_history_limits(d);
	if (d->sweeper)
		sweeper_limit(d->sweeper, &limits);
	if (d->keeping)
		keeping_limit(d->keeping, daemon_courier_quota(d));
	replica_set_eager(d->replica, config_number(&d->config, CONFIG_EAGER_MAX));
	if (d->fs)
		fusefs_limit_scans(d->fs, (unsigned)config_number(&d->config, CONFIG_SCAN_MAX));
	log_info(d->log, "settings read again");
	return 0;
}
