/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/cmdline.h"
#include "transports/neighbours.h"

static const struct config_def table[CONFIG_KEYS] = {
	[CONFIG_LISTEN] = { "network.listen", CONFIG_ADDRESS, "0", NULL,
			    "where other devices may connect: [ADDRESS:]PORT; port 0: 7580 or any free one",
			    false, 0, 0 },
	[CONFIG_DISCOVERY] = { "network.discovery", CONFIG_BOOL, "yes", NULL,
			       "find devices of the mesh on the local network", false, 0, 0 },
	[CONFIG_MULTICAST] = { "network.multicast", CONFIG_BOOL, "yes", NULL,
			       "with discovery: beacons by multicast", false, 0, 0 },
	[CONFIG_AVAHI] = { "network.avahi", CONFIG_BOOL, "yes", NULL,
			   "with discovery: DNS-SD through Avahi where it runs", false, 0, 0 },
	[CONFIG_NEIGHBOURS] = { "network.neighbours", CONFIG_NUMBER, "5", NULL,
				"of more than twice as many nearby, how many to connect to; others are reached through them; 0: all",
				false, 0, NEIGHBOURS_LIMIT_MAX },
	[CONFIG_BLUETOOTH] = { "bluetooth.enabled", CONFIG_BOOL, "yes", NULL,
			       "find devices nearby by Bluetooth LE, where there is an adapter that is on", false, 0, 0 },
	[CONFIG_BLUETOOTH_ADAPTER] = { "bluetooth.adapter", CONFIG_TEXT, "", NULL,
				       "which adapter: hciN or its address; empty: the first that is on", false, 0, 0 },
	[CONFIG_WIFIDIRECT] = { "wifidirect.enabled", CONFIG_BOOL, "no", NULL,
				"form groups with members nearby by Wi-Fi Direct; yes is the consent to all of them", false, 0, 0 },
	[CONFIG_WIFIDIRECT_IFACE] = { "wifidirect.interface", CONFIG_TEXT, "", NULL,
				      "which Wi-Fi interface; empty: the first that can", false, 0, 0 },
	[CONFIG_WIFIDIRECT_AFTER] = { "wifidirect.after", CONFIG_NUMBER, "15", NULL,
				      "how long a link by Bluetooth has to be busy before a group is formed, in seconds",
				      false, 0, 3600 },
	[CONFIG_WIFIDIRECT_IDLE] = { "wifidirect.idle", CONFIG_NUMBER, "60", NULL,
				     "after how many seconds without traffic a group ends", false, 5, 3600 },
	[CONFIG_MOUNT_DIR] = { "mount.dir", CONFIG_TEXT, "", NULL,
			       "where `shoal up` mounts when not told; empty: ~/Shoal", false, 0, 0 },
	[CONFIG_MOUNT_OPTS] = { "mount.options", CONFIG_TEXT, "", NULL,
				"options of every mount, as after -o", false, 0, 0 },
	[CONFIG_HISTORY_DAYS] = { "history.days", CONFIG_NUMBER, "30", NULL,
				  "how long earlier versions and deletions are kept, in days", true,
				  1, 3650 },
	[CONFIG_HISTORY_SHARE] = { "history.share", CONFIG_NUMBER, "10", NULL,
				   "how much of the disk earlier versions may take, in percent", true,
				   0, 90 },
	[CONFIG_HISTORY_PURGE] = { "history.purge", CONFIG_NUMBER, "180", NULL,
				   "after how many days what a deleted file held goes for good; 0: never", true,
				   0, 3650 },
	[CONFIG_COURIER_QUOTA] = { "courier.quota", CONFIG_NUMBER, "256", NULL,
				   "how much is carried for others that this device does not subscribe to, in MiB",
				   true, 0, 1u << 20 },
	[CONFIG_EAGER_MAX] = { "blob.eager_max", CONFIG_NUMBER, "0", NULL,
			       "larger files' contents come when they are read or fetched, in bytes; 0: all come",
			       true, 0, INT64_MAX },
	[CONFIG_SCAN_MAX] = { "blob.scan_max", CONFIG_NUMBER, "16", NULL,
			      "files that a program which lists directories may have fetched; 0: any number",
			      true, 0, 256 },
	[CONFIG_MIN_FREE] = { "disk.min_free", CONFIG_NUMBER, "0", NULL,
			      "below so many free bytes of the disk contents that others hold are evicted; 0: never",
			      true, 0, INT64_MAX },
	[CONFIG_QUERY_TIME] = { "query.time", CONFIG_NUMBER, "300", NULL,
				"how long a query may run, in seconds; 0: as long as it wants", true, 0, 86400 },
	[CONFIG_QUERY_MEMORY] = { "query.memory", CONFIG_NUMBER, "256", NULL,
				  "how much memory a query may take, in MiB", true, 16, 1u << 20 },
	[CONFIG_LOG_LEVEL] = { "log.level", CONFIG_CHOICE, "info", "error|warning|info|debug",
			       "how much the daemon writes to its log", true, 0, 0 },
};

const struct config_def *config_def(enum config_key key)
{
	return &table[key];
}

int config_find(const char *name, enum config_key *ret)
{
	for (unsigned i = 0; i < CONFIG_KEYS; i++)
		if (strcmp(table[i].name, name) == 0) {
			*ret = (enum config_key)i;
			return 0;
		}
	return -ENOENT;
}

int listen_parse(const char *text, char ret_host[static LISTEN_HOST_SIZE], uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	char host[LISTEN_HOST_SIZE] = "";
	uint64_t v = 0;
	if (number_parse(port, UINT16_MAX, &v) < 0)
		return -EINVAL;
	if (colon) {
		size_t n = (size_t)(colon - text);
		bool six = n > 2 && text[0] == '[' && text[n - 1] == ']';
		if (six) {
			text++;
			n -= 2;
		}
		if (n == 0 || n >= sizeof(host))
			return -EINVAL;
		memcpy(host, text, n);
		host[n] = 0;
		struct in6_addr any;
		if (inet_pton(six ? AF_INET6 : AF_INET, host, &any) != 1)
			return -EINVAL;
	}
	memcpy(ret_host, host, sizeof(host));
	*ret_port = (uint16_t)v;
	return 0;
}

static int parse_bool(const char *text)
{
	static const char *const words[2][4] = { { "no", "false", "off", "0" },
						 { "yes", "true", "on", "1" } };
	for (int v = 0; v < 2; v++)
		for (int i = 0; i < 4; i++)
			if (strcasecmp(text, words[v][i]) == 0)
				return v;
	return -EINVAL;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);
	while (*choices) {
		size_t n = strcspn(choices, "|");
		if (n == len && memcmp(choices, value, n) == 0)
			return true;
		choices += n + (choices[n] == '|');
	}
	return false;
}

int config_check(enum config_key key, const char *value, struct err *e)
{
	const struct config_def *d = &table[key];
	char host[LISTEN_HOST_SIZE];
	uint16_t port;
	uint64_t number;
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			return err_set(e, -EINVAL, "%s cannot hold a control character", d->name);
	switch (d->type) {
	case CONFIG_BOOL:
		if (parse_bool(value) < 0)
			return err_set(e, -EINVAL, "%s is yes or no, not \"%.60s\"", d->name, value);
		return 0;
	case CONFIG_CHOICE:
		if (!is_choice(d->choices, value))
			return err_set(e, -EINVAL, "%s is one of %s, not \"%.60s\"", d->name,
				       d->choices, value);
		return 0;
	case CONFIG_ADDRESS:
		if (listen_parse(value, host, &port) < 0)
			return err_set(e, -EINVAL,
				       "%s is PORT, ADDRESS:PORT or [V6-ADDRESS]:PORT, not \"%.60s\"",
				       d->name, value);
		return 0;
	case CONFIG_NUMBER:
		if (number_parse(value, d->max, &number) < 0 || number < d->min)
			return err_set(e, -EINVAL, "%s is a number from %llu to %llu, not \"%.60s\"",
				       d->name, (unsigned long long)d->min,
				       (unsigned long long)d->max, value);
		return 0;
	case CONFIG_TEXT:
		return 0;
	}
	return -EINVAL;
}

/* One line without its end. Trims blanks. */
struct line {
	const char *start, *end; /* with the blanks */
	const char *p;           /* trimmed */
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool next_line(const char **text, const char *end, struct line *l)
{
	if (*text >= end)
		return false;
	const char *nl = memchr(*text, '\n', (size_t)(end - *text));
	l->start = l->p = *text;
	l->end = nl ? nl : end;
	*text = nl ? nl + 1 : end;
	const char *stop = l->end;
	while (l->p < stop && is_blank(*l->p))
		l->p++;
	while (stop > l->p && is_blank(stop[-1]))
		stop--;
	l->len = (size_t)(stop - l->p);
	return true;
}

/* A `key = value` line: their places. False when it is none. */
static bool split(const struct line *l, size_t *key_len, const char **value, size_t *value_len)
{
	const char *eq = memchr(l->p, '=', l->len), *end = l->p + l->len;
	if (!eq)
		return false;
	const char *k = eq, *v = eq + 1;
	while (k > l->p && is_blank(k[-1]))
		k--;
	while (v < end && is_blank(*v))
		v++;
	*key_len = (size_t)(k - l->p);
	*value = v;
	*value_len = (size_t)(end - v);
	return *key_len > 0;
}

struct section {
	const char *name;
	size_t len;
};

static int find_key(const struct section *s, const char *key, size_t len, enum config_key *ret)
{
	char name[64];
	if (s->len + len + 2 > sizeof(name))
		return -ENOENT;
	memcpy(name, s->name, s->len);
	name[s->len] = '.';
	memcpy(name + s->len + 1, key, len);
	name[s->len + 1 + len] = 0;
	return config_find(name, ret);
}

static int bad_line(struct err *e, unsigned number, const char *what, const struct line *l)
{
	int r = err_set(e, -EINVAL, "line %u: %s: %.*s", number, what,
			(int)(l->len < 60 ? l->len : 60), l->p);
	if (e)
		e->line = number;
	return r;
}

static int take_value(struct config *c, enum config_key key, const char *value, size_t len,
		      unsigned number, struct err *e)
{
	_cleanup_free_ char *text = strndup(value, len);
	if (!text)
		return err_errno(e, -ENOMEM, "cannot read the settings");
	int r = config_check(key, text, e);
	if (r < 0) {
		err_prefix(e, "line %u", number);
		if (e)
			e->line = number;
		return r;
	}
	free(c->value[key]);
	c->value[key] = TAKE_PTR(text);
	return 0;
}

int config_parse(const char *text, size_t len, struct config *ret, struct err *e)
{
	_cleanup_(config_done) struct config c = { 0 };
	struct section section = { "", 0 };
	const char *end = text + len;
	struct line l;
	if (len > CONFIG_SIZE_MAX)
		return err_set(e, -EINVAL, "the settings are longer than %u bytes", CONFIG_SIZE_MAX);
	if (len && memchr(text, 0, len))
		return err_set(e, -EINVAL, "the settings have a NUL byte in them");
	for (unsigned number = 1; next_line(&text, end, &l); number++) {
		if (!l.len || *l.p == '#' || *l.p == ';')
			continue;
		if (*l.p == '[') {
			if (l.len < 3 || l.p[l.len - 1] != ']')
				return bad_line(e, number, "not a [section]", &l);
			section = (struct section){ l.p + 1, l.len - 2 };
			continue;
		}
		size_t key_len, value_len;
		const char *value;
		enum config_key key;
		if (!split(&l, &key_len, &value, &value_len))
			return bad_line(e, number, "neither [section] nor key = value", &l);
		if (find_key(&section, l.p, key_len, &key) < 0)
			return bad_line(e, number, "unknown setting", &l);
		int r = take_value(&c, key, value, value_len, number, e);
		if (r < 0)
			return r;
	}
	*ret = c;
	c = (struct config){ 0 };
	return 0;
}

void config_done(struct config *c)
{
	for (unsigned i = 0; i < CONFIG_KEYS; i++)
		free(c->value[i]);
	*c = (struct config){ 0 };
}

const char *config_text(const struct config *c, enum config_key key)
{
	return c->value[key] ? c->value[key] : table[key].initial;
}

bool config_bool(const struct config *c, enum config_key key)
{
	return parse_bool(config_text(c, key)) == 1;
}

uint64_t config_number(const struct config *c, enum config_key key)
{
	uint64_t number = 0;
	(void)number_parse(config_text(c, key), UINT64_MAX, &number); /* checked when it was read */
	return number;
}

static void put_setting(struct buf *out, enum config_key key, const char *value)
{
	buf_putf(out, "%s = %s\n", strchr(table[key].name, '.') + 1, value);
}

int config_edit(const char *text, size_t len, enum config_key key, const char *value,
		struct buf *ret, struct err *e)
{
	_cleanup_(buf_done) struct buf out = { 0 };
	const char *end = text + len, *name = table[key].name;
	struct section section = { "", 0 };
	size_t want_len = strcspn(name, ".");
	size_t place = 0; /* behind the last line of the key's section */
	bool done = false, seen = false;
	struct line l;
	while (next_line(&text, end, &l)) {
		size_t key_len, value_len;
		const char *old;
		enum config_key k;
		bool same = false;
		if (l.len > 2 && *l.p == '[') {
			section = (struct section){ l.p + 1, l.len - 2 };
			same = section.len == want_len && memcmp(section.name, name, want_len) == 0;
			seen = seen || same;
		} else if (l.len && *l.p != '#' && *l.p != ';' &&
			   split(&l, &key_len, &old, &value_len) &&
			   find_key(&section, l.p, key_len, &k) == 0) {
			same = section.len == want_len && memcmp(section.name, name, want_len) == 0;
			if (k == key) {
				if (value && !done)
					put_setting(&out, key, value);
				done = true;
				place = out.len;
				continue;
			}
		}
		buf_put(&out, l.start, (size_t)(l.end - l.start));
		buf_u8(&out, '\n');
		if (same)
			place = out.len;
	}
	if (value && !done) {
		_cleanup_(buf_done) struct buf tail = { 0 };
		if (seen) {
			buf_put(&tail, out.data + place, out.len - place);
			out.len = place;
		} else {
			buf_putf(&out, "%s[%.*s]\n", out.len ? "\n" : "", (int)want_len, name);
		}
		put_setting(&out, key, value);
		buf_put(&out, tail.data, tail.len);
		out.failed = out.failed || tail.failed;
	}
	if (buf_failed(&out))
		return err_errno(e, -ENOMEM, "cannot change the settings");
	buf_done(ret);
	*ret = out;
	out = (struct buf){ 0 };
	return 0;
}

static int read_file(int dirfd, const char *name, struct buf *ret, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "cannot read %s", name);
	for (;;) {
		uint8_t *p = buf_reserve(ret, 4096);
		if (!p)
			return err_errno(e, -ENOMEM, "cannot read %s", name);
		ssize_t n = read(fd, p, 4096);
		if (n < 0)
			return err_errno(e, -errno, "cannot read %s", name);
		if (n == 0)
			return 0;
		ret->len += (size_t)n;
		if (ret->len > CONFIG_SIZE_MAX)
			return err_set(e, -EINVAL, "%s is longer than %u bytes", name,
				       CONFIG_SIZE_MAX);
	}
}

int config_read(int dirfd, const char *name, struct config *ret, struct err *e)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	int r = read_file(dirfd, name, &text, e);
	if (r < 0)
		return r;
	r = config_parse(text.data ? (const char *)text.data : "", text.len, ret, e);
	if (r < 0)
		err_prefix(e, "%s", name);
	return r;
}

static int replace_file(int dirfd, const char *name, const struct buf *text)
{
	char temporary[80];
	snprintf(temporary, sizeof(temporary), ".%.60s.new", name);
	_cleanup_close_ int fd = openat(dirfd, temporary,
					O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(fd, text->data + done, text->len - done);
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (fsync(fd) < 0 || renameat(dirfd, temporary, dirfd, name) < 0 || fsync(dirfd) < 0)
		return -errno;
	return 0;
}

int config_write(int dirfd, const char *name, enum config_key key, const char *value,
		 struct err *e)
{
	_cleanup_(buf_done) struct buf text = { 0 }, out = { 0 };
	int r = value ? config_check(key, value, e) : 0;
	if (r < 0)
		return r;
	r = read_file(dirfd, name, &text, e);
	if (r < 0)
		return r;
	r = config_edit(text.data ? (const char *)text.data : "", text.len, key, value, &out, e);
	if (r < 0)
		return r;
	r = replace_file(dirfd, name, &out);
	return r < 0 ? err_errno(e, r, "cannot write %s", name) : 0;
}
