/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `shoal doctor`: what on this machine keeps Shoal from working, each with the command that mends
 * it. A check looks and touches nothing. */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "engine/jsonw.h"
#include "tools/cli.h"
#include "tools/config.h"
#include "tools/mounts.h"
#include "transports/bluezfacts.h"
#include "transports/identity.h"
#include "transports/tcp.h"
#include "transports/wififacts.h"

enum severity { FINE, NOTE, WARNING, ERROR };

struct finding {
	enum severity severity;
	char message[240];
	char command[160]; /* "": none */
};

struct patient {
	struct storedir *dir; /* NULL: no store yet */
	struct config config;
	struct ctlclient *served; /* NULL: no daemon answers */
};

static void found(struct finding *f, enum severity s, const char *message, const char *command)
{
	f->severity = s;
	snprintf(f->message, sizeof(f->message), "%s", message);
	snprintf(f->command, sizeof(f->command), "%s", command);
}

static void check_fuse(const struct patient *p, struct finding *f)
{
	(void)p;
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		found(f, FINE, "/dev/fuse can be opened", "");
	else if (errno == ENOENT || errno == ENODEV)
		found(f, ERROR, "there is no /dev/fuse, so nothing can be mounted", "sudo modprobe fuse");
	else
		found(f, ERROR, "/dev/fuse cannot be opened by this user", "sudo chmod a+rw /dev/fuse");
}

static bool in_path(const char *name)
{
	for (const char *p = getenv("PATH"); p && *p;) {
		char path[4096];
		size_t len = strcspn(p, ":");
		snprintf(path, sizeof(path), "%.*s/%s", (int)(len < 4000 ? len : 4000), p, name);
		if (len && access(path, X_OK) == 0)
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

static void check_fusermount(const struct patient *p, struct finding *f)
{
	(void)p;
	if (in_path("fusermount3"))
		found(f, FINE, "fusermount3 is installed", "");
	else
		found(f, geteuid() ? ERROR : WARNING,
		      "fusermount3 is missing; without it only root can mount",
		      "sudo apt-get install fuse3");
}

static void check_clock(const struct patient *p, struct finding *f)
{
	struct stat st;
	time_t now = time(NULL);
	int64_t from = 0, to = INT64_MAX;
	struct identity *identity = NULL;
	struct err e;
	if (p->dir && identity_open(storedir_file(p->dir, STOREDIR_IDENTITY), &identity, &e) == 0)
		identity_validity(identity, &from, &to);
	identity_free(identity);
	if (stat("/proc/self/exe", &st) == 0 && now + 86400 < st.st_mtime)
		found(f, ERROR, "the clock is before the day this program was installed, so "
				"certificates look as if they were not valid yet",
		      "sudo timedatectl set-ntp true");
	else if (now < from)
		found(f, ERROR, "the clock is before this device's certificate was made",
		      "sudo timedatectl set-ntp true");
	else if (now > to)
		found(f, ERROR, "this device's certificate has expired; ask an admin of the mesh for "
				"an invitation and join with a new store", "");
	else
		found(f, FINE, "the clock and the certificate agree", "");
}

static void check_inotify(const struct patient *p, struct finding *f)
{
	unsigned long watches = 0;
	FILE *file = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	(void)p;
	if (file) {
		if (fscanf(file, "%lu", &watches) != 1)
			watches = 0;
		fclose(file);
	}
	if (watches >= 65536)
		found(f, FINE, "programs may watch enough files", "");
	else
		found(f, NOTE, "few files can be watched at once; editors that watch large trees "
			       "may complain", "sudo sysctl fs.inotify.max_user_watches=524288");
}

static void check_port(const struct patient *p, struct finding *f)
{
	char host[LISTEN_HOST_SIZE], text[160];
	uint16_t port = 0;
	if (p->served) {
		found(f, FINE, "the daemon has its port", "");
		return;
	}
	(void)listen_parse(config_text(&p->config, CONFIG_LISTEN), host, &port);
	bool fixed = port != 0;
	if (!fixed)
		port = SHOAL_PORT;
	const struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(port),
					 .sin6_addr = IN6ADDR_ANY_INIT };
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int one = 1;
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 &&
	    errno == EADDRINUSE) {
		snprintf(text, sizeof(text), "TCP port %u is in use%s", port,
			 fixed ? "; nobody could connect to this device" :
				 "; another one will be taken, which a firewall may not know");
		found(f, fixed ? ERROR : NOTE, text, "");
		snprintf(f->command, sizeof(f->command), "sudo ss -ltnp 'sport = :%u'", port);
		return;
	}
	snprintf(text, sizeof(text), "TCP port %u is free", port);
	found(f, FINE, text, "");
}

static void check_network(const struct patient *p, struct finding *f)
{
	struct ifaddrs *list, *i;
	bool up = false, multicast = false;
	(void)p;
	if (getifaddrs(&list) < 0) {
		found(f, WARNING, "the network interfaces cannot be listed", "ip link");
		return;
	}
	for (i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP) ||
		    (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		up = true;
		multicast = multicast || (i->ifa_flags & IFF_MULTICAST);
	}
	freeifaddrs(list);
	if (multicast)
		found(f, FINE, "there is a network where devices can be found", "");
	else if (up)
		found(f, WARNING, "no network here carries multicast, so devices are not found by "
				  "themselves: name one with `shoal connect HOST`",
		      "sudo ip link set dev INTERFACE multicast on");
	else
		found(f, WARNING, "no network interface is up; nobody can be reached", "ip link");
}

static void check_avahi(const struct patient *p, struct finding *f)
{
	if (!config_bool(&p->config, CONFIG_DISCOVERY) || !config_bool(&p->config, CONFIG_AVAHI))
		found(f, FINE, "Avahi is not wanted (network.avahi)", "");
	else if (access("/run/avahi-daemon/socket", F_OK) == 0)
		found(f, FINE, "Avahi runs", "");
	else
		found(f, NOTE, "Avahi does not run; where multicast beacons are filtered, DNS-SD might "
			       "find devices", "sudo apt-get install avahi-daemon");
}

static void check_bluetooth(const struct patient *p, struct finding *f)
{
	struct bluezfacts facts;
	if (!config_bool(&p->config, CONFIG_BLUETOOTH)) {
		found(f, FINE, "Bluetooth is not wanted (bluetooth.enabled)", "");
		return;
	}
	bluezfacts_look("", config_text(&p->config, CONFIG_BLUETOOTH_ADAPTER), &facts);
	/* Networks serve without it. */
	found(f, facts.state == BLUEZFACTS_READY || facts.state == BLUEZFACTS_NONE ? FINE : NOTE, facts.message,
	      facts.command);
}

static void check_wifidirect(const struct patient *p, struct finding *f)
{
	struct wififacts facts;
	if (!config_bool(&p->config, CONFIG_WIFIDIRECT)) {
		found(f, FINE, "Wi-Fi Direct is not wanted (wifidirect.enabled)", "");
		return;
	}
	wififacts_look("", wififacts_radio(), &facts);
	found(f, facts.state == WIFIFACTS_READY || facts.state == WIFIFACTS_NONE ? FINE : NOTE, facts.message, facts.command);
}

static void check_disk(const struct patient *p, struct finding *f)
{
	struct statvfs v;
	const char *home = getenv("HOME");
	const char *path = p->dir ? storedir_path(p->dir) : home ? home : "/";
	if (statvfs(path, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < 500u * 1000 * 1000)
		found(f, WARNING, "less than 500 MB are free where the store is", "df -h");
	else
		found(f, FINE, "there is room on the disk", "");
}

struct stale {
	const char *store; /* the one that is asked about; NULL: none */
	struct finding *finding;
};

/* The dead mount of the store that is asked about is what is wrong here; that of another store,
 * somebody else's perhaps, is only told when there is nothing worse. */
static int find_stale(const struct mount_entry *m, void *userdata)
{
	const struct stale *s = userdata;
	struct finding *f = s->finding;
	bool other = s->store && strcmp(m->source, s->store) != 0;
	if ((other && f->severity != FINE) || !mount_is_stale(m->dir))
		return 0;
	if (other)
		found(f, WARNING, "another store's mount has lost its daemon: ", "shoal up ");
	else
		found(f, ERROR, "a mount's daemon is gone: ", "shoal up ");
	snprintf(f->message + strlen(f->message), sizeof(f->message) - strlen(f->message), "%.150s",
		 m->dir);
	snprintf(f->command + strlen(f->command), sizeof(f->command) - strlen(f->command), "%.140s",
		 m->dir);
	return !other;
}

static void check_mounts(const struct patient *p, struct finding *f)
{
	struct stale s = { p->dir ? storedir_path(p->dir) : NULL, f };
	found(f, FINE, "no mount is without its daemon", "");
	(void)mounts_each(find_stale, &s);
}

static void check_files(const struct patient *p, struct finding *f)
{
	struct rlimit limit;
	(void)p;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1024)
		found(f, WARNING, "a process may open fewer than 1024 files, which a large store needs",
		      "ulimit -n 65536");
	else
		found(f, FINE, "a process may open enough files", "");
}

static void check_store(const struct patient *p, struct finding *f)
{
	if (!p->dir)
		found(f, NOTE, "there is no store yet", "shoal up");
	else if (!storedir_has_identity(p->dir))
		found(f, NOTE, "the store belongs to no mesh yet", "shoal up");
	else if (!p->served)
		found(f, NOTE, "no daemon serves the store", "shoal up");
	else
		found(f, FINE, "the store is served", "");
}

/* A device of whose store two copies run; that of this store's own device is not linked to it. */
static const char *runs_twice(const struct patient *p, struct arena *a)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	struct json *peers;
	struct err e;
	if (cli_ask(p->served, "peers", NULL, &text, a, &peers, &e) == 0)
		for (const struct json *v = peers->first; v; v = v->next)
			if (cli_true(v, "copies"))
				return cli_text(a, v, "device", "a device");
	return NULL;
}

static void check_copies(const struct patient *p, struct finding *f)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	struct json *status = NULL;
	struct err e;
	char date[HUMAN_DATE];
	found(f, FINE, "no store was copied or brought back lately", "");
	if (!p->served || cli_ask(p->served, "status", NULL, &text, &a, &status, &e) < 0)
		return;
	const struct json *device = json_get_z(status, "device");
	const struct json *renewed = device ? json_get_z(device, "renewed") : NULL;
	const char *twice = runs_twice(p, &a);
	if (twice) {
		found(f, WARNING, "", "shoal join");
		snprintf(f->message, sizeof(f->message),
			 "%.60s runs twice, from copies of one store: let one of the two join the mesh "
			 "as a device of its own, with a new store", twice);
	} else if (renewed && renewed->type == JSON_OBJECT &&
		   cli_uint(renewed, "ago_s") <= RENEWED_TOLD_S) {
		found(f, NOTE, "", "man 8 shoald");
		snprintf(f->message, sizeof(f->message),
			 "this store was copied or brought back, which was seen %s; it is a new incarnation, "
			 "and what nobody else had of what came after the copy is gone",
			 human_date(cli_text(&a, renewed, "at", ""), date));
	}
}

static const struct {
	const char *name;
	void (*check)(const struct patient *p, struct finding *f);
} checks[] = {
	{ "fuse", check_fuse },	      { "fusermount", check_fusermount }, { "clock", check_clock },
	{ "store", check_store },     { "mounts", check_mounts },	  { "network", check_network },
	{ "port", check_port },	      { "avahi", check_avahi },		  { "disk", check_disk },
	{ "bluetooth", check_bluetooth },
	{ "wifi-direct", check_wifidirect },
	{ "inotify", check_inotify }, { "files", check_files },		  { "copies", check_copies },
};
static const char *const severities[] = { "ok", "note", "warning", "error" };

static void put_finding(struct jsonw *w, const char *name, const struct finding *f)
{
	jsonw_object_begin(w);
	jsonw_key(w, "check");
	jsonw_string(w, name);
	jsonw_key(w, "result");
	jsonw_string(w, severities[f->severity]);
	jsonw_key(w, "message");
	jsonw_string(w, f->message);
	jsonw_key(w, "command");
	jsonw_string(w, *f->command ? f->command : NULL);
	jsonw_object_end(w);
}

static void print_finding(const struct cli *c, const char *name, const struct finding *f)
{
	static const char *const colours[] = { "\033[32m", "", "\033[33m", "\033[31m" };
	printf("%s%-8s%s%-12s%s\n", c->colour ? colours[f->severity] : "", severities[f->severity],
	       c->colour && *colours[f->severity] ? "\033[0m" : "", name, f->message);
	if (*f->command)
		printf("%20s%s\n", "", f->command);
}

int cmd_doctor(void *context)
{
	struct cli *c = context;
	struct patient p = { 0 };
	struct err e = { 0 };
	unsigned errors = 0;
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	struct jsonw w;
	/* A store that cannot be opened is no reason to say nothing about the rest. */
	int r = cli_find_store(c, NULL, &e);
	if (r == 0)
		r = cli_open_store(c, false, &p.dir, &e);
	if (r == 0)
		r = config_read(storedir_fd(p.dir), STOREDIR_CONF, &p.config, &e);
	struct finding bad = { .severity = r < 0 && r != -ENOENT ? ERROR : FINE };
	struct err none;
	if (p.dir && ctlclient_new(p.dir, &k, &none) == 0)
		p.served = k;
	jsonw_init(&w, &b, 0);
	jsonw_array_begin(&w);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		struct finding f = { 0 };
		checks[i].check(&p, &f);
		if (bad.severity == ERROR && checks[i].check == check_store)
			found(&f, ERROR, e.message, "");
		errors += f.severity == ERROR;
		if (c->line.json)
			put_finding(&w, checks[i].name, &f);
		else
			print_finding(c, checks[i].name, &f);
	}
	jsonw_array_end(&w);
	jsonw_end(&w);
	config_done(&p.config);
	storedir_free(p.dir);
	if (c->line.json && cli_print(&b) != EXIT_DONE)
		return EXIT_FAILED;
	return errors ? EXIT_FAILED : EXIT_DONE;
}
