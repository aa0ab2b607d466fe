/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <time.h>

#define LOG_FILE_MAX (4 * 1024 * 1024)

struct log {
	enum log_target target;
	atomic_int level;
	int dirfd;
	char *name;
	pthread_mutex_t lock; /* fd, while it is exchanged */
	int fd;
};

static const char *const names[] = { "error", "warning", "info", "debug" };

const char *log_level_name(enum log_level level)
{
	return names[level];
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (unsigned i = 0; i <= LOG_LEVEL_DEBUG; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

static int open_file(const struct log *l)
{
	int fd = openat(l->dirfd, l->name,
			O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	return fd < 0 ? -errno : fd;
}

int log_new(enum log_target target, int dirfd, const char *name, struct log **ret, struct err *e)
{
	_cleanup_(log_freep) struct log *l = calloc(1, sizeof(*l));
	if (!l)
		return err_errno(e, -ENOMEM, "cannot open the log");
	l->target = target;
	l->fd = -1;
	l->dirfd = dirfd;
	atomic_init(&l->level, LOG_LEVEL_INFO);
	pthread_mutex_init(&l->lock, NULL);
	if (target == LOG_TARGET_FILE) {
		l->name = strdup(name);
		l->fd = l->name ? open_file(l) : -ENOMEM;
		if (l->fd < 0)
			return err_errno(e, l->fd, "cannot open the log %s", name);
	}
	*ret = TAKE_PTR(l);
	return 0;
}

void log_free(struct log *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	pthread_mutex_destroy(&l->lock);
	free(l->name);
	free(l);
}

bool log_under_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_set_level(struct log *l, enum log_level level)
{
	atomic_store(&l->level, (int)level);
}

enum log_level log_level(const struct log *l)
{
	return (enum log_level)atomic_load(&l->level);
}

/* Lock held. The old log.1 goes; what cannot be written is lost, there is nowhere to say so. */
static void rotate(struct log *l)
{
	struct stat st;
	if (fstat(l->fd, &st) < 0 || st.st_size < LOG_FILE_MAX)
		return;
	char old[64];
	snprintf(old, sizeof(old), "%.50s.1", l->name);
	if (renameat(l->dirfd, l->name, l->dirfd, old) < 0)
		return;
	int fd = open_file(l);
	if (fd < 0)
		return;
	close(l->fd);
	l->fd = fd;
}

static void put_line(struct log *l, enum log_level level, char *text, size_t len)
{
	char line[1200];
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	int m = snprintf(line + n, sizeof(line) - n, ".%03ldZ %-7s %.*s\n", now.tv_nsec / 1000000,
			 names[level], (int)len, text);
	if (m < 0)
		return;
	n += (size_t)m;
	if (n >= sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	pthread_mutex_lock(&l->lock);
	if (l->target == LOG_TARGET_FILE)
		rotate(l);
	(void)!write(l->target == LOG_TARGET_FILE ? l->fd : STDERR_FILENO, line, n);
	pthread_mutex_unlock(&l->lock);
}

void log_put(struct log *l, enum log_level level, const char *fmt, ...)
{
	static const int priority[] = { 3, 4, 6, 7 };
	char text[1024];
	if ((int)level > atomic_load(&l->level))
		return;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	/* Names and messages of peers are in here: one line stays one line. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 127)
			text[i] = '?';
	if (l->target == LOG_TARGET_JOURNAL)
		sd_journal_send("MESSAGE=%s", text, "PRIORITY=%i", priority[level],
				"SYSLOG_IDENTIFIER=shoald", NULL);
	else
		put_line(l, level, text, len);
}
