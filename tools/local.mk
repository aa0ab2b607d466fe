# SPDX-License-Identifier: GPL-2.0-or-later
mounthelper_PROGRAMS =

# What the programs share, and their tests link: tests_..._LDADD = tests/libtap.a $(TOOLS_LIBS).
noinst_LIBRARIES += libtools.a
libtools_a_SOURCES = \
	tools/base64.c \
	tools/base64.h \
	tools/blame.c \
	tools/cli-care.c \
	tools/cli-conflict.c \
	tools/cli-contents.c \
	tools/cli-data.c \
	tools/cli-diff.c \
	tools/cli-export.c \
	tools/cli-graph.c \
	tools/cli-history.c \
	tools/cli-index.c \
	tools/cli-import.c \
	tools/cli-life.c \
	tools/cli-mesh.c \
	tools/cli-query.c \
	tools/cli-subscribe.c \
	tools/cli-txn.c \
	tools/cli-type.c \
	tools/cli.c \
	tools/cli.h \
	tools/cmdline.c \
	tools/cmdline.h \
	tools/config.c \
	tools/config.h \
	tools/conflicts.c \
	tools/control.c \
	tools/control.h \
	tools/copytree.c \
	tools/copytree.h \
	tools/csvout.c \
	tools/csvout.h \
	tools/ctlclient.c \
	tools/ctlclient.h \
	tools/ctlserver.c \
	tools/ctlserver.h \
	tools/daemon-mount.c \
	tools/daemon.c \
	tools/daemon.h \
	tools/devices.c \
	tools/devices.h \
	tools/dirnames.c \
	tools/dirnames.h \
	tools/doctor.c \
	tools/durable.c \
	tools/evict.c \
	tools/feed-impl.h \
	tools/feed-where.c \
	tools/feed.c \
	tools/fence.c \
	tools/fence.h \
	tools/fetch.c \
	tools/flusher.c \
	tools/flusher.h \
	tools/graph.c \
	tools/history.c \
	tools/index.c \
	tools/history.h \
	tools/job.c \
	tools/keeping.c \
	tools/keeping.h \
	tools/libshoal/client.c \
	tools/libshoal/client.h \
	tools/libshoal/file.c \
	tools/libshoal/shoal.h \
	tools/libshoal/txn.c \
	tools/log.c \
	tools/log.h \
	tools/methods.c \
	tools/mkdir.c \
	tools/mounts.c \
	tools/mounts.h \
	tools/named.c \
	tools/peers.c \
	tools/peers.h \
	tools/progress.c \
	tools/progress.h \
	tools/qr.c \
	tools/qr.h \
	tools/query-impl.h \
	tools/query-live.c \
	tools/query.c \
	tools/records.c \
	tools/records.h \
	tools/report.c \
	tools/restore.c \
	tools/seek.c \
	tools/seen.c \
	tools/settings.c \
	tools/spawn.c \
	tools/spawn.h \
	tools/storedir.c \
	tools/storedir.h \
	tools/subscriptions.c \
	tools/suspend.c \
	tools/suspend.h \
	tools/sweeper.c \
	tools/sweeper.h \
	tools/txn.c \
	tools/types.c \
	tools/upgrade.c \
	tools/upgrade.h \
	tools/waits.c \
	tools/ways.c \
	tools/world.c \
	tools/world.h
TOOLS_LIBS = libtools.a $(ALL_LIBS) $(QRENCODE_LIBS)

# libshoal as a shared library: the same files again, position-independent, with nothing to be seen but what
# shoal.h declares. What it needs of the rest goes into it.
EXTRA_LIBRARIES = tools/libshoal/libpic.a
tools_libshoal_libpic_a_CFLAGS = $(AM_CFLAGS) -fPIC -fvisibility=hidden
tools_libshoal_libpic_a_SOURCES = \
	engine/arena.c \
	engine/buf.c \
	engine/err.c \
	engine/json.c \
	engine/json-parse.c \
	engine/jsonindex.c \
	engine/jsonnum.c \
	engine/jsonw.c \
	tools/base64.c \
	tools/cmdline.c \
	tools/control.c \
	tools/libshoal/client.c \
	tools/libshoal/file.c \
	tools/libshoal/txn.c \
	tools/mounts.c \
	tools/storedir.c

# The first number changes when a program that was linked has to be linked anew.
libshoal_so = libshoal.so.0
libshoal_file = $(libshoal_so).1.0
libshoal_map = $(srcdir)/tools/libshoal/libshoal.map
$(libshoal_file): tools/libshoal/libpic.a $(libshoal_map)
	$(AM_V_CCLD)$(CC) $(CFLAGS) $(SAN_FLAGS) -shared -Wl,-soname,$(libshoal_so) \
		-Wl,--version-script=$(libshoal_map) -Wl,-z,relro -Wl,-z,now -Wl,--as-needed \
		-Wl,--whole-archive tools/libshoal/libpic.a -Wl,--no-whole-archive $(LDFLAGS) $(NETTLE_LIBS) -o $@
$(libshoal_so): $(libshoal_file)
	$(AM_V_GEN)ln -sf $(libshoal_file) $@
libshoal.so: $(libshoal_so)
	$(AM_V_GEN)ln -sf $(libshoal_so) $@
all-local: libshoal.so
include_HEADERS = tools/libshoal/shoal.h
pkgconfig_DATA = tools/libshoal/shoal.pc
EXTRA_DIST += tools/libshoal/libshoal.map tools/libshoal/shoal.pc.in
CLEANFILES += $(libshoal_file) $(libshoal_so) libshoal.so tools/libshoal/shoal.pc tools/libshoal/libpic.a
tools/libshoal/shoal.pc: Makefile $(srcdir)/tools/libshoal/shoal.pc.in
	$(AM_V_GEN)$(MKDIR_P) tools/libshoal && \
		$(SED) -e 's|@prefix[@]|$(prefix)|; s|@libdir[@]|$(libdir)|; s|@includedir[@]|$(includedir)|' \
			-e 's|@version[@]|$(PACKAGE_VERSION)|' $(srcdir)/$@.in >$@.new && mv $@.new $@
# ldconfig only where the linker would find it by itself, and where it may.
install-exec-local: libshoal.so
	$(MKDIR_P) "$(DESTDIR)$(libdir)"
	$(INSTALL_PROGRAM) $(libshoal_file) "$(DESTDIR)$(libdir)/"
	cd "$(DESTDIR)$(libdir)" && ln -sf $(libshoal_file) $(libshoal_so) && ln -sf $(libshoal_so) libshoal.so
	test -n "$(DESTDIR)" || ldconfig 2>/dev/null || PATH="$$PATH:/sbin:/usr/sbin" ldconfig 2>/dev/null || true

bin_PROGRAMS += shoal
sbin_PROGRAMS += shoald
mounthelper_PROGRAMS += mount.fuse.shoal
shoal_SOURCES = tools/shoal.c
shoal_LDADD = $(TOOLS_LIBS)
shoald_SOURCES = tools/shoald.c
shoald_LDADD = $(TOOLS_LIBS)
mount_fuse_shoal_SOURCES = tools/mounthelper.c
mount_fuse_shoal_LDADD = $(TOOLS_LIBS)

dist_pymodule_DATA = tools/python/shoal.py
dist_bashcompletion_DATA = tools/completion/shoal.bash
dist_zshcompletion_DATA = tools/completion/_shoal
systemduserunit_DATA = tools/shoal.service
systemdsystemunit_DATA = tools/shoal-hub.service
EXTRA_DIST += tools/shoal.service.in tools/shoal-hub.service.in tools/shoal.sysusers
CLEANFILES += tools/shoal.service tools/shoal-hub.service

tools/shoal.service tools/shoal-hub.service: Makefile \
		$(srcdir)/tools/shoal.service.in $(srcdir)/tools/shoal-hub.service.in
	$(AM_V_GEN)$(MKDIR_P) tools && \
		$(SED) 's|@bindir[@]|$(bindir)|g; s|@sbindir[@]|$(sbindir)|g' \
		$(srcdir)/$@.in >$@.new && mv $@.new $@

# systemd-sysusers goes by the name.
install-data-local:
	$(MKDIR_P) "$(DESTDIR)$(sysusersdir)"
	$(INSTALL_DATA) $(srcdir)/tools/shoal.sysusers "$(DESTDIR)$(sysusersdir)/shoal.conf"
uninstall-local:
	rm -f "$(DESTDIR)$(libdir)/$(libshoal_file)" "$(DESTDIR)$(libdir)/$(libshoal_so)" \
		"$(DESTDIR)$(libdir)/libshoal.so"
	rm -f "$(DESTDIR)$(sysusersdir)/shoal.conf"

# What make install put in place is there, and the programs start.
installcheck-local:
	@set -e; \
	program() { "$(DESTDIR)$$1" --version | grep -qF '$(PACKAGE_VERSION)' || \
		{ echo "$(DESTDIR)$$1 is not installed, or is of another version" >&2; exit 1; }; }; \
	file() { test -s "$(DESTDIR)$$1" || { echo "$(DESTDIR)$$1 is not installed" >&2; exit 1; }; }; \
	for p in $(bin_PROGRAMS); do program "$(bindir)/$$p"; done; \
	for p in $(sbin_PROGRAMS); do program "$(sbindir)/$$p"; done; \
	for p in $(mounthelper_PROGRAMS); do program "$(mounthelperdir)/$$p"; done; \
	for m in $(dist_man_MANS); do m=$${m##*/}; file "$(mandir)/man$${m##*.}/$$m"; done; \
	for f in $(libshoal_file) $(libshoal_so) libshoal.so; do file "$(libdir)/$$f"; done; \
	file "$(includedir)/shoal.h"; \
	file "$(pkgconfigdir)/shoal.pc"; \
	file "$(pymoduledir)/shoal.py"; \
	file "$(bashcompletiondir)/shoal.bash"; \
	file "$(zshcompletiondir)/_shoal"; \
	file "$(systemduserunitdir)/shoal.service"; \
	file "$(systemdsystemunitdir)/shoal-hub.service"; \
	file "$(sysusersdir)/shoal.conf"
