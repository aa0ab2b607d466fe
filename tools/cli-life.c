/* SPDX-License-Identifier: GPL-2.0-or-later */
/* up, down, init, mount, umount: a store's beginning and end of service. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "engine/jsonw.h"
#include "tools/cli.h"
#include "tools/config.h"
#include "tools/mounts.h"
#include "tools/spawn.h"
#include "tools/world.h"
#include "transports/identity.h"

#define END_TIMEOUT_US (60 * 1000000u) /* for a daemon that is ending */

/* The host's name, as far as it can be a device's. */
static void default_device(char name[static NAME_SIZE])
{
	char host[256] = "";
	if (gethostname(host, sizeof(host) - 1) < 0 || !*host)
		snprintf(host, sizeof(host), "device");
	host[strcspn(host, ".")] = 0;
	snprintf(name, NAME_SIZE, "%.*s", NAME_LIMIT, host);
	if (!name_ok(name, strlen(name)))
		snprintf(name, NAME_SIZE, "device");
}

static void default_mesh(char name[static NAME_SIZE])
{
	const struct passwd *p = getpwuid(getuid());
	snprintf(name, NAME_SIZE, "%.40s's mesh", p && p->pw_name ? p->pw_name : "somebody");
	if (!name_ok(name, strlen(name)))
		snprintf(name, NAME_SIZE, "mesh");
}

static int check_name(const char *what, const char *name, struct err *e)
{
	if (name_ok(name, strlen(name)))
		return 0;
	return err_set(e, -EINVAL, "a %s's name is 1 to %d bytes of UTF-8 without control "
				   "characters, and does not begin or end with a space",
		       what, NAME_LIMIT);
}

static int make_mesh(struct storedir *dir, const char *mesh, const char *device, struct err *e)
{
	char mesh_default[NAME_SIZE], device_default[NAME_SIZE];
	default_mesh(mesh_default);
	default_device(device_default);
	if (!mesh)
		mesh = mesh_default;
	if (!device)
		device = device_default;
	int r = check_name("mesh", mesh, e);
	if (r == 0)
		r = check_name("device", device, e);
	const char *path = storedir_file(dir, STOREDIR_IDENTITY);
	if (r == 0 && !path)
		r = err_errno(e, -ENOMEM, "cannot make a mesh");
	return r < 0 ? r : identity_create(path, mesh, device, time(NULL), e);
}

static void put_member(struct jsonw *w, const char *key, const char *text)
{
	jsonw_key(w, key);
	jsonw_string(w, text);
}

int cmd_init(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(identity_freep) struct identity *identity = NULL;
	int r = cli_find_store(c, NULL, &e);
	if (r == 0)
		r = cli_open_store(c, true, &dir, &e);
	if (r == 0)
		r = make_mesh(dir, c->line.value[INIT_MESH].text, c->line.value[INIT_DEVICE].text, &e);
	if (r == -EEXIST)
		err_set(&e, r, "the store %.150s belongs to a mesh already; name another one with "
			"--store", storedir_path(dir));
	if (r == 0)
		r = identity_open(storedir_file(dir, STOREDIR_IDENTITY), &identity, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (!c->line.json) {
		printf("Made the mesh \"%s\" with this device, \"%s\", as its admin.\n"
		       "Store: %s\nNext: shoal up\n",
		       identity_mesh_name(identity), identity_device_name(identity),
		       storedir_path(dir));
		return EXIT_DONE;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonw w;
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	put_member(&w, "store", storedir_path(dir));
	put_member(&w, "mesh", identity_mesh_name(identity));
	put_member(&w, "device", identity_device_name(identity));
	jsonw_object_end(&w);
	jsonw_end(&w);
	return cli_print(&b);
}

/* ---- up ---- */

struct up {
	struct cli *c;
	struct storedir *dir;
	struct buf mount; /* absolute */
	bool made;        /* a mesh */
	bool already;     /* it was up */
};

/* Where to mount: the argument, the setting, ~/Shoal. */
static int find_mount(struct up *u, struct err *e)
{
	_cleanup_(config_done) struct config config = { 0 };
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = config_read(storedir_fd(u->dir), STOREDIR_CONF, &config, e);
	if (r < 0)
		return r;
	const char *home = getenv("HOME"), *set = config_text(&config, CONFIG_MOUNT_DIR);
	if (u->c->line.n_args)
		buf_puts(&path, u->c->line.arg[0]);
	else if (*set)
		buf_puts(&path, set);
	else if (home && *home == '/')
		buf_putf(&path, "%s/Shoal", home);
	else
		return err_set(e, -ENOENT, "cannot tell where to mount, because HOME is not set: name "
					   "a directory");
	const char *text = buf_cstr(&path);
	r = text ? path_absolute(text, &u->mount) : -ENOMEM;
	return r < 0 ? err_errno(e, r, "cannot tell where to mount") : 0;
}

static bool is_empty(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *entry;
	bool empty = true;
	if (!d)
		return errno != ENOTDIR;
	while (empty && (entry = readdir(d)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(d);
	return empty;
}

/* The mount point is there, is ours to use, and hides nothing. */
static int prepare_mount(struct up *u, struct err *e)
{
	const char *path = (const char *)u->mount.data;
	_cleanup_(buf_done) struct buf source = { 0 };
	if (mounts_at(path, &source) == 0) {
		if (!mount_is_stale(path) && strcmp((char *)source.data, storedir_path(u->dir)) == 0)
			return err_set(e, -EAGAIN, "%.200s was mounted a moment ago", path);
		if (!mount_is_stale(path))
			return err_set(e, -EBUSY, "%.100s is the mount of another store, %.100s; name "
						  "another directory", path, (char *)source.data);
		int r = mount_end(path, true, e);
		if (r < 0)
			return r;
	}
	int r = path_make(path, 0777);
	if (r < 0)
		return err_errno(e, r, "cannot make the mount point %s", path);
	struct stat st;
	if (stat(path, &st) < 0)
		return err_errno(e, -errno, "cannot use the mount point %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is not a directory", path);
	if (!is_empty(path))
		return err_set(e, -ENOTEMPTY, "%.150s has files in it, which the mount would hide; "
					      "name an empty or a new directory", path);
	return 0;
}

/* A daemon is there: has it mounted, or let it. */
static int use_daemon(struct up *u, struct ctlclient *k, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 }, params = { 0 };
	struct json *status;
	int r = cli_ask(k, "status", NULL, &text, &a, &status, e);
	if (r < 0)
		return r;
	const char *dir = cli_text(&a, json_get_z(status, "mount"), "dir", NULL);
	const char *want = (const char *)u->mount.data;
	if (dir && (!u->c->line.n_args || strcmp(dir, want) == 0)) {
		u->already = true;
		buf_reset(&u->mount);
		buf_puts(&u->mount, dir);
		return buf_cstr(&u->mount) ? 0 : -ENOMEM;
	}
	if (dir)
		return err_set(e, -EBUSY, "the store is mounted at %.100s already; `shoal down` first, "
					  "or name another store with --store", dir);
	r = prepare_mount(u, e);
	if (r < 0)
		return r;
	const char *options = u->c->line.value[UP_OPTIONS].text;
	buf_puts(&params, "{\"dir\":");
	json_write_string(&params, want, strlen(want), JSON_ESCAPE_MINIMAL);
	buf_puts(&params, ",\"options\":");
	json_write_string(&params, options ? options : "", options ? strlen(options) : 0,
			  JSON_ESCAPE_MINIMAL);
	buf_puts(&params, "}");
	return cli_ask(k, "mount", &params, &text, NULL, NULL, e);
}

static int start_daemon(struct up *u, struct err *e)
{
	const char *options = u->c->line.value[UP_OPTIONS].text;
	const char *args[] = { "--store", storedir_path(u->dir), "--mount",
			       (const char *)u->mount.data, options ? "-o" : NULL, options, NULL };
	if (!u->c->line.value[UP_FOREGROUND].set)
		return spawn_daemon(u->dir, args, e);
	const char *front[] = { "--store", storedir_path(u->dir), "--mount",
				(const char *)u->mount.data, "--foreground", options ? "-o" : NULL,
				options, NULL };
	return spawn_exec(front, e);
}

/* Somebody else may be starting a daemon or ending one: we ask until one answers or the store is
 * free for ours. */
static int serve(struct up *u, struct err *e)
{
	const struct timespec step = { .tv_nsec = 20 * 1000000 };
	uint64_t until = world_boot_us() + END_TIMEOUT_US;
	while (world_boot_us() < until) {
		_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
		int r = ctlclient_new(u->dir, &k, e);
		if (r == 0)
			r = use_daemon(u, k, e);
		/* One that is being killed still takes connections. */
		if (r != -ESRCH && r != -ECONNRESET)
			return r;
		if (!storedir_holder(u->dir)) {
			r = prepare_mount(u, e);
			if (r == 0)
				r = start_daemon(u, e);
			if (r != -EAGAIN && !(r == -EBUSY && storedir_holder(u->dir)))
				return r;
		}
		nanosleep(&step, NULL);
	}
	return err_set(e, -EBUSY, "process %ld holds the store and does not answer; its log may say why",
		       (long)storedir_holder(u->dir));
}

static int print_up(struct up *u, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	struct json *status;
	int r = ctlclient_new(u->dir, &k, e);
	if (r == 0)
		r = cli_ask(k, "status", NULL, &text, &a, &status, e);
	if (r < 0)
		return r;
	if (u->c->line.json)
		return cli_print(&text) ? -EIO : 0;
	const char *dir = (const char *)u->mount.data;
	const char *device = cli_text(&a, json_get_z(status, "device"), "name", "");
	const char *mesh = cli_text(&a, json_get_z(status, "mesh"), "name", "");
	if (u->already) {
		printf("%s is up already: device \"%s\" of the mesh \"%s\".\n", dir, device, mesh);
		return 0;
	}
	printf("%s is up: device \"%s\" of the mesh \"%s\".\n", dir, device, mesh);
	if (u->made)
		printf("This is a new mesh. To let another device in:\n"
		       "    shoal invite           here; it prints a token\n"
		       "    shoal join TOKEN       there, then  shoal up\n");
	else
		printf("`shoal status` shows how it is, `shoal down` stops it.\n");
	return 0;
}

/* A new store gets a mesh. Under the lock, for another `shoal up` may be at it. */
static int make_missing(struct up *u, struct err *e)
{
	for (int attempt = 0; !storedir_has_identity(u->dir); attempt++) {
		int r = storedir_lock(u->dir, e);
		if (r == -EBUSY && attempt < 3) {
			storedir_wait_unlocked(u->dir, 5000000);
			continue;
		}
		if (r < 0)
			return r;
		if (!storedir_has_identity(u->dir)) {
			r = make_mesh(u->dir, NULL, u->c->line.value[UP_NAME].text, e);
			u->made = r == 0;
		}
		storedir_unlock(u->dir);
		return r;
	}
	return 0;
}

int cmd_up(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	struct up u = { .c = c };
	int r = cli_find_store(c, c->line.n_args ? c->line.arg[0] : NULL, &e);
	if (r == 0)
		r = cli_open_store(c, true, &u.dir, &e);
	if (r == 0)
		r = make_missing(&u, &e);
	if (r == 0)
		r = find_mount(&u, &e);
	if (r == 0)
		r = serve(&u, &e);
	if (r == 0)
		r = print_up(&u, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot serve");
	buf_done(&u.mount);
	storedir_free(u.dir);
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

/* ---- down, mount, umount ---- */

/* Nobody serves: a dead mount of the store is cleaned away. */
static int heal(struct storedir *dir, struct err *e)
{
	_cleanup_(buf_done) struct buf at = { 0 };
	if (mounts_find(storedir_path(dir), &at) < 0 || !mount_is_stale((const char *)at.data))
		return 0;
	return mount_end((const char *)at.data, true, e);
}

static int print_done(struct cli *c, const char *subject, const char *what)
{
	if (c->line.json)
		puts("{}");
	else
		printf("%s %s.\n", subject, what);
	return EXIT_DONE;
}

/* To wait for a process that is not our child; -1: it is gone already. */
static int pidfd_of(pid_t pid)
{
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

/* A directory was named: it has to be where this store is mounted. */
static int check_mount_of(const struct storedir *dir, const char *at, struct err *e)
{
	_cleanup_(buf_done) struct buf source = { 0 };
	struct stat is, want;
	if (mounts_at(at, &source) < 0)
		return err_set(e, -EINVAL, "%.200s is not a mount of shoal; without it `shoal down` "
					   "ends the daemon of %.150s", at, storedir_path(dir));
	if (stat((const char *)source.data, &is) < 0 || stat(storedir_path(dir), &want) < 0 ||
	    is.st_ino != want.st_ino || is.st_dev != want.st_dev)
		return err_set(e, -EINVAL, "%.120s is a mount of another store, %.120s; leave out "
					   "--store", at, (const char *)source.data);
	return 0;
}

int cmd_down(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf text = { 0 };
	int r = cli_find_store(c, c->line.n_args ? c->line.arg[0] : NULL, &e);
	if (r == 0)
		r = cli_open_store(c, false, &dir, &e);
	if (r < 0)
		return cli_fail(c, &e);
	r = ctlclient_new(dir, &k, &e);
	if (r == -ESRCH) {
		/* One that is ending has closed its socket, but not finished. */
		storedir_wait_unlocked(dir, END_TIMEOUT_US);
		r = heal(dir, &e);
		return r < 0 ? cli_fail(c, &e) :
			       print_done(c, storedir_path(dir), "was not up");
	}
	if (r == 0 && c->line.n_args)
		r = check_mount_of(dir, c->line.arg[0], &e);
	_cleanup_close_ int process = r == 0 ? pidfd_of(ctlclient_pid(k)) : -1;
	if (r == 0)
		r = ctlclient_call(k, "stop", NULL, END_TIMEOUT_US, NULL, NULL, &e);
	if (r == 0) {
		r = storedir_wait_unlocked(dir, END_TIMEOUT_US);
		struct pollfd p = { .fd = process, .events = POLLIN };
		if (r == 0 && process >= 0)
			poll(&p, 1, 5000); /* it has nothing left to do but to exit */
		if (r < 0)
			err_set(&e, r, "process %ld is still ending; its log may say why",
				(long)storedir_holder(dir));
	}
	return r < 0 ? cli_fail(c, &e) : print_done(c, storedir_path(dir), "is down");
}

static int put_program(const struct cli *c, struct buf *params, struct err *e)
{
	char path[PATH_MAX];
	int r = 0;
	if (!c->line.n_args)
		r = spawn_find(path, e);
	else if (!realpath(c->line.arg[0], path))
		r = err_errno(e, -errno, "%.200s", c->line.arg[0]);
	if (r < 0)
		return r;
	buf_puts(params, "{\"program\":");
	cli_put_text(params, path);
	buf_u8(params, '}');
	return 0;
}

static void print_upgraded(const struct cli *c, struct arena *a, const struct json *answer)
{
	const struct json *is = json_get_z(answer, "version"), *was = json_get_z(answer, "before");
	(void)c;
	(void)a;
	if (is && was)
		printf("shoald %.*s goes on as %.*s.\n", (int)was->len, was->text, (int)is->len,
		       is->text);
}

int cmd_upgrade(void *context)
{
	static const struct question q = { "upgrade", put_program, print_upgraded };
	return cli_run(context, &q);
}

int cmd_mount(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	struct up u = { .c = c };
	int r = cli_find_store(c, c->line.arg[0], &e);
	if (r == 0)
		r = cli_open_store(c, false, &u.dir, &e);
	if (r == 0 && !storedir_has_identity(u.dir))
		r = err_set(&e, -ENOENT, "the store %.150s belongs to no mesh yet; `shoal up` makes one",
			    storedir_path(u.dir));
	if (r == 0)
		r = path_absolute(c->line.arg[0], &u.mount);
	/* The options stand at the same place as those of `up`. */
	c->line.value[UP_OPTIONS] = c->line.value[MOUNT_OPTIONS];
	c->line.value[UP_FOREGROUND].set = false;
	if (r == 0)
		r = serve(&u, &e);
	if (r < 0 && !e.code)
		err_errno(&e, r, "cannot mount");
	int status = r < 0 ? cli_fail(c, &e) :
			     print_done(c, (const char *)u.mount.data, "is mounted");
	buf_done(&u.mount);
	storedir_free(u.dir);
	return status;
}

int cmd_umount(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	const char *at = c->line.arg[0];
	_cleanup_(buf_done) struct buf source = { 0 };
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	int r = mounts_at(at, &source);
	if (r < 0) {
		err_set(&e, -EINVAL, "%.200s is not a mount of shoal", at);
		return cli_fail(c, &e);
	}
	/* Without a daemon that answers it is a dead mount, or somebody else's. */
	struct err ignored;
	if (storedir_open((const char *)source.data, false, &dir, &ignored) < 0 ||
	    ctlclient_new(dir, &k, &ignored) < 0) {
		r = mount_end(at, mount_is_stale(at), &e);
	} else {
		r = ctlclient_call(k, "umount", NULL, END_TIMEOUT_US, NULL, NULL, &e);
	}
	return r < 0 ? cli_fail(c, &e) : print_done(c, at, "is unmounted");
}
