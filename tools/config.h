/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Settings of one store: shoal.conf, described in shoal.conf(5). The table in config.c is the
 * list of keys, their types, defaults and meanings; everything else follows from it. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"

#define CONFIG_SIZE_MAX (256u * 1024)

enum config_key {
	CONFIG_LISTEN,     /* network.listen */
	CONFIG_DISCOVERY,  /* network.discovery */
	CONFIG_MULTICAST,  /* network.multicast */
	CONFIG_AVAHI,      /* network.avahi */
	CONFIG_NEIGHBOURS, /* network.neighbours */
	CONFIG_BLUETOOTH,  /* bluetooth.enabled */
	CONFIG_BLUETOOTH_ADAPTER, /* bluetooth.adapter */
	CONFIG_WIFIDIRECT, /* wifidirect.enabled */
	CONFIG_WIFIDIRECT_IFACE, /* wifidirect.interface */
	CONFIG_WIFIDIRECT_AFTER, /* wifidirect.after */
	CONFIG_WIFIDIRECT_IDLE,  /* wifidirect.idle */
	CONFIG_MOUNT_DIR,  /* mount.dir */
	CONFIG_MOUNT_OPTS, /* mount.options */
	CONFIG_HISTORY_DAYS,  /* history.days */
	CONFIG_HISTORY_SHARE, /* history.share */
	CONFIG_HISTORY_PURGE, /* history.purge */
	CONFIG_COURIER_QUOTA, /* courier.quota */
	CONFIG_EAGER_MAX,  /* blob.eager_max */
	CONFIG_SCAN_MAX,   /* blob.scan_max */
	CONFIG_MIN_FREE,   /* disk.min_free */
	CONFIG_QUERY_TIME,   /* query.time */
	CONFIG_QUERY_MEMORY, /* query.memory */
	CONFIG_LOG_LEVEL,  /* log.level */
	CONFIG_KEYS
};

enum config_type { CONFIG_BOOL, CONFIG_CHOICE, CONFIG_TEXT, CONFIG_ADDRESS, CONFIG_NUMBER };

struct config_def {
	const char *name; /* SECTION.KEY */
	enum config_type type;
	const char *initial;
	const char *choices; /* CONFIG_CHOICE: separated by | */
	const char *help;
	bool live; /* SIGHUP applies it; else the next start does */
	uint64_t min, max; /* CONFIG_NUMBER */
};

struct config {
	char *value[CONFIG_KEYS]; /* NULL: as initial */
};

const struct config_def *config_def(enum config_key key);
/* -ENOENT. */
int config_find(const char *name, enum config_key *ret);
/* Is the value of the right type? -EINVAL with a sentence for a person. */
int config_check(enum config_key key, const char *value, struct err *e);

/* Reads INI text: `[section]`, `key = value`, comments after # or ; at the start of a line. An
 * unknown key or a bad value is an error with its line (-EINVAL). */
int config_parse(const char *text, size_t len, struct config *ret, struct err *e);
/* Reads NAME in directory dirfd; a missing file is an empty one. */
int config_read(int dirfd, const char *name, struct config *ret, struct err *e);
void config_done(struct config *c);

/* Never NULL. */
const char *config_text(const struct config *c, enum config_key key);
bool config_bool(const struct config *c, enum config_key key);
uint64_t config_number(const struct config *c, enum config_key key);

/* The text with one key set (or, value NULL, back to its default); everything else in it,
 * comments included, stays. */
int config_edit(const char *text, size_t len, enum config_key key, const char *value,
		struct buf *ret, struct err *e);
/* The same on the file, which is replaced whole. */
int config_write(int dirfd, const char *name, enum config_key key, const char *value,
		 struct err *e);

/* A listening address: [ADDR:]PORT, ADDR an IPv4 literal or an IPv6 one in brackets; ret_host is
 * "" for all addresses. PORT 0: any free one. -EINVAL. */
#define LISTEN_HOST_SIZE 64
int listen_parse(const char *text, char ret_host[static LISTEN_HOST_SIZE], uint16_t *ret_port);
