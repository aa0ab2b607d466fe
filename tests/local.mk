# SPDX-License-Identifier: GPL-2.0-or-later
#
# A unit test is one line in unit_tests: tests/unit/test_NOUN speaks TAP (tests/tap.h) and
# links the engine alone. One that needs more says so:
#     tests_unit_test_NOUN_LDADD = tests/libtap.a $(ALL_LIBS)

LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_TESTS_ENVIRONMENT = \
	SHOAL_TEST_DATA="$${SHOAL_TEST_DATA:-$(TEST_DATA)}"; export SHOAL_TEST_DATA; \
	ASAN_OPTIONS="$${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}"; export ASAN_OPTIONS; \
	TSAN_OPTIONS="$${TSAN_OPTIONS:-ignore_noninstrumented_modules=1}"; export TSAN_OPTIONS; \
	srcdir="$(srcdir)"; export srcdir; NM="$(NM)"; export NM;
AM_DISTCHECK_CONFIGURE_FLAGS = --with-test-data="$(TEST_DATA)"

tests_libtap_a_SOURCES = \
	tests/device.h \
	tests/held.h tests/keeping.h \
	tests/jsontext.h \
	tests/fugue.h \
	tests/greeting.h \
	tests/prng.h \
	tests/meeting.h \
	tests/past.h \
	tests/queries.h \
	tests/replicas.h \
	tests/storecopy.h \
	tests/tap.c \
	tests/tap.h

unit_tests = \
	tests/unit/test_absent \
	tests/unit/test_advert \
	tests/unit/test_answer \
	tests/unit/test_arraydiff \
	tests/unit/test_base \
	tests/unit/test_beacon \
	tests/unit/test_blob \
	tests/unit/test_bluez \
	tests/unit/test_chars \
	tests/unit/test_clock \
	tests/unit/test_cmdline \
	tests/unit/test_config \
	tests/unit/test_conflict \
	tests/unit/test_control \
	tests/unit/test_counter \
	tests/unit/test_converge \
	tests/unit/test_cut \
	tests/unit/test_deleted \
	tests/unit/test_direct \
	tests/unit/test_dirtimes \
	tests/unit/test_duty \
	tests/unit/test_edit \
	tests/unit/test_evidence \
	tests/unit/test_examples \
	tests/unit/test_fence \
	tests/unit/test_fetch \
	tests/unit/test_fieldname \
	tests/unit/test_filenames \
	tests/unit/test_filter \
	tests/unit/test_schema \
	tests/unit/test_frame \
	tests/unit/test_hardlink \
	tests/unit/test_histdiff \
	tests/unit/test_history \
	tests/unit/test_hostile \
	tests/unit/test_incarnation \
	tests/unit/test_index \
	tests/unit/test_identity \
	tests/unit/test_ignore \
	tests/unit/test_jdiff \
	tests/unit/test_join \
	tests/unit/test_json \
	tests/unit/test_jsonnum \
	tests/unit/test_jsonpatch \
	tests/unit/test_jsonpath \
	tests/unit/test_jsonptr \
	tests/unit/test_jsonstyle \
	tests/unit/test_jsonw \
	tests/unit/test_later \
	tests/unit/test_leaving \
	tests/unit/test_leaf \
	tests/unit/test_demand \
	tests/unit/test_l2cap \
	tests/unit/test_laws \
	tests/unit/test_libshoal \
	tests/unit/test_lines \
	tests/unit/test_list \
	tests/unit/test_manifest \
	tests/unit/test_merge \
	tests/unit/test_neighbours \
	tests/unit/test_part \
	tests/unit/test_past \
	tests/unit/test_purge \
	tests/unit/test_purge_delta \
	tests/unit/test_patch \
	tests/unit/test_pick \
	tests/unit/test_pointers \
	tests/unit/test_proc \
	tests/unit/test_qr \
	tests/unit/test_query \
	tests/unit/test_query_diff \
	tests/unit/test_replica \
	tests/unit/test_replica_crash \
	tests/unit/test_replica_threads \
	tests/unit/test_restamp \
	tests/unit/test_newest \
	tests/unit/test_relay \
	tests/unit/test_pace \
	tests/unit/test_pack \
	tests/unit/test_radio \
	tests/unit/test_radios \
	tests/unit/test_rebirth \
	tests/unit/test_reconcile \
	tests/unit/test_record \
	tests/unit/test_records \
	tests/unit/test_rename \
	tests/unit/test_render \
	tests/unit/test_presence \
	tests/unit/test_saver \
	tests/unit/test_scanner \
	tests/unit/test_seek \
	tests/unit/test_seek_peer \
	tests/unit/test_seq \
	tests/unit/test_seq_large \
	tests/unit/test_seqcodec \
	tests/unit/test_interest \
	tests/unit/test_burst \
	tests/unit/test_resume \
	tests/unit/test_session \
	tests/unit/test_spread \
	tests/unit/test_store \
	tests/unit/test_stream \
	tests/unit/test_surplus \
	tests/unit/test_suspend \
	tests/unit/test_sweep \
	tests/unit/test_tap \
	tests/unit/test_text \
	tests/unit/test_textdiff \
	tests/unit/test_thin \
	tests/unit/test_tls \
	tests/unit/test_token \
	tests/unit/test_trail \
	tests/unit/test_tree \
	tests/unit/test_treemodel \
	tests/unit/test_turn \
	tests/unit/test_txn \
	tests/unit/test_types \
	tests/unit/test_vv \
	tests/unit/test_when \
	tests/unit/test_wifidirect \
	tests/unit/test_wpa \
	tests/unit/test_workfile

# A device without documents, for tests of links in network namespaces.
check_PROGRAMS += tests/helpers/linkpeer tests/bench/hubload
tests_helpers_linkpeer_SOURCES = tests/helpers/linkpeer.c $(members)
tests_helpers_linkpeer_LDADD = $(TRANSPORTS_TEST_LIBS)

FUSEFS_TEST_LIBS = tests/libtap.a libfusefs.a libengine.a $(FUSEFS_LIBS) $(ENGINE_LIBS)

# A program that uses the shared libshoal.
check_PROGRAMS += tests/helpers/libuser
tests_helpers_libuser_SOURCES = tests/helpers/libuser.c
tests_helpers_libuser_LDADD = tests/libtap.a libengine.a libshoal.so $(ENGINE_LIBS)
tests_helpers_libuser_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,$(abs_builddir)

# A mounted replica and another one beside it, for tests of the file system.
check_PROGRAMS += tests/helpers/fsmount
tests_helpers_fsmount_SOURCES = tests/helpers/fsmount.c
tests_helpers_fsmount_LDADD = libfusefs.a libengine.a $(FUSEFS_LIBS) $(ENGINE_LIBS)

# Stops programs before their system calls, for tests of how they save.
check_PROGRAMS += tests/helpers/callgate
tests_helpers_callgate_SOURCES = tests/helpers/callgate.c
tests_helpers_callgate_LDADD =

# What fits a schema, for whoever has another opinion.
check_PROGRAMS += tests/helpers/schemacheck
tests_helpers_schemacheck_SOURCES = tests/helpers/schemacheck.c
tests_helpers_schemacheck_LDADD = libengine.a $(ENGINE_LIBS)

# logind, as far as it speaks of sleep.
check_PROGRAMS += tests/helpers/logind
tests_helpers_logind_SOURCES = tests/helpers/logind.c
tests_helpers_logind_LDADD = $(TRANSPORTS_LIBS)

# A file and a tree against models of them, on any file system.
check_PROGRAMS += tests/helpers/filemodel tests/helpers/treemodel
tests_helpers_filemodel_SOURCES = tests/helpers/filemodel.c tests/prng.h
tests_helpers_filemodel_LDADD =
tests_helpers_treemodel_SOURCES = tests/helpers/treemodel.c tests/prng.h
tests_helpers_treemodel_LDADD =

# Devices of a mesh, for tests of the transports.
members = \
	tests/members.c \
	tests/members.h

# Both ends of a TLS session.
ends = \
	tests/ends.c \
	tests/ends.h

# Two replicas and their sessions, for tests of sync.
pair = \
	tests/pair.c \
	tests/pair.h

tests_unit_test_advert_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_beacon_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
# A system bus with services of a test's own.
bus = \
	tests/bus.c \
	tests/bus.h \
	$(ends)

# wpa_supplicant on it.
wpamock = \
	tests/wpamock.c \
	tests/wpamock.h \
	$(bus)

# bluetoothd on it.
bluezmock = \
	tests/bluezmock.c \
	tests/bluezmock.h \
	$(bus)

tests_unit_test_bluez_SOURCES = tests/unit/test_bluez.c $(bluezmock)
tests_unit_test_bluez_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_cmdline_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_config_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_absent_SOURCES = tests/unit/test_absent.c $(pair)
tests_unit_test_fetch_SOURCES = tests/unit/test_fetch.c $(pair)
tests_unit_test_seek_SOURCES = tests/unit/test_seek.c tests/relays.h $(pair)
tests_unit_test_seek_peer_SOURCES = tests/unit/test_seek_peer.c tests/relays.h $(pair)
tests_unit_test_conflict_SOURCES = tests/unit/test_conflict.c $(pair)
tests_unit_test_control_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_libshoal_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_deleted_SOURCES = tests/unit/test_deleted.c $(pair)
tests_unit_test_demand_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_duty_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_evidence_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_fence_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_fieldname_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_filenames_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_hostile_SOURCES = tests/unit/test_hostile.c $(pair)
tests_unit_test_incarnation_SOURCES = tests/unit/test_incarnation.c $(pair)
tests_unit_test_rename_SOURCES = tests/unit/test_rename.c $(pair)
tests_unit_test_identity_SOURCES = tests/unit/test_identity.c $(members)
tests_unit_test_identity_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_join_SOURCES = tests/unit/test_join.c $(ends) $(members)
tests_unit_test_join_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_wifidirect_SOURCES = tests/unit/test_wifidirect.c $(wpamock) $(members)
tests_unit_test_wifidirect_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_wpa_SOURCES = tests/unit/test_wpa.c $(wpamock)
tests_unit_test_wpa_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_l2cap_SOURCES = tests/unit/test_l2cap.c $(ends) $(members)
tests_unit_test_l2cap_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
# Bluetooth channels in memory.
airmock = \
	tests/airmock.c \
	tests/airmock.h
airmock_link = $(AM_LDFLAGS) -Wl,--wrap=l2cap_listen,--wrap=listener_port,--wrap=listener_free \
	-Wl,--wrap=dial_address,--wrap=dial_free

# Two devices that they join.
twodevices = \
	tests/twodevices.c \
	tests/twodevices.h \
	$(airmock) $(bluezmock) $(members)

tests_unit_test_direct_SOURCES = tests/unit/test_direct.c tests/wpamock.c tests/wpamock.h $(twodevices)
tests_unit_test_direct_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_direct_LDFLAGS = $(airmock_link)
tests_unit_test_radio_SOURCES = tests/unit/test_radio.c $(twodevices)
tests_unit_test_radio_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_radio_LDFLAGS = $(airmock_link)
tests_unit_test_radios_SOURCES = tests/unit/test_radios.c $(bus)
tests_unit_test_radios_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_neighbours_SOURCES = tests/unit/test_neighbours.c tests/neighbourhood.c tests/neighbourhood.h
tests_unit_test_neighbours_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_pack_SOURCES = tests/unit/test_pack.c $(pair)
tests_unit_test_leaving_SOURCES = tests/unit/test_leaving.c $(pair)
tests_unit_test_newest_SOURCES = tests/unit/test_newest.c $(pair)
tests_unit_test_records_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_relay_SOURCES = tests/unit/test_relay.c $(pair)
tests_unit_test_part_SOURCES = tests/unit/test_part.c $(pair)
tests_unit_test_purge_SOURCES = tests/unit/test_purge.c $(pair)
tests_unit_test_restamp_SOURCES = tests/unit/test_restamp.c $(pair)
tests_unit_test_interest_SOURCES = tests/unit/test_interest.c $(pair)
tests_unit_test_resume_SOURCES = tests/unit/test_resume.c $(pair)
tests_unit_test_burst_SOURCES = tests/unit/test_burst.c $(pair)
tests_unit_test_session_SOURCES = tests/unit/test_session.c $(pair)
tests_unit_test_spread_SOURCES = tests/unit/test_spread.c $(pair)
tests_unit_test_surplus_SOURCES = tests/unit/test_surplus.c $(pair)
tests_unit_test_surplus_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_txn_SOURCES = tests/unit/test_txn.c $(pair)
tests_unit_test_proc_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_turn_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_scanner_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_qr_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_saver_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_suspend_LDADD = tests/libtap.a $(TOOLS_LIBS)
tests_unit_test_tls_SOURCES = tests/unit/test_tls.c $(ends) $(members)
tests_unit_test_tls_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_token_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
tests_unit_test_when_LDADD = $(FUSEFS_TEST_LIBS)
tests_unit_test_workfile_LDADD = $(FUSEFS_TEST_LIBS)

# Simulations: whole engines in one process, from a seed.
sim_tests = \
	tests/sim/sim \
	tests/sim/spread

tests_sim_sim_SOURCES = \
	tests/sim/batch.c \
	tests/sim/check.c \
	tests/sim/doc.c \
	tests/sim/doc.h \
	tests/sim/evict.c \
	tests/sim/fate.c \
	tests/sim/keep.c \
	tests/sim/model.c \
	tests/sim/net.c \
	tests/sim/part.c \
	tests/sim/purge.c \
	tests/sim/sim.c \
	tests/sim/text.c \
	tests/sim/typed.c \
	tests/sim/typed.h \
	tests/sim/work.c \
	tests/sim/world.c \
	tests/sim/world.h
EXTRA_DIST += tests/sim/seeds.txt
tests_sim_spread_SOURCES = tests/sim/spread.c $(pair)

# Fuzz targets (LLVMFuzzerTestOneInput): with --enable-fuzzers libFuzzer drives them, without
# it they replay tests/fuzz/corpus/NAME and some thousand mutations of it under make check. A
# target is a line here and tests_fuzz_fuzz_NAME_LDADD below.
fuzz_targets = \
	tests/fuzz/fuzz_advert \
	tests/fuzz/fuzz_beacon \
	tests/fuzz/fuzz_control \
	tests/fuzz/fuzz_cursor \
	tests/fuzz/fuzz_delta \
	tests/fuzz/fuzz_history \
	tests/fuzz/fuzz_ignore \
	tests/fuzz/fuzz_joinmsg \
	tests/fuzz/fuzz_json \
	tests/fuzz/fuzz_manifest \
	tests/fuzz/fuzz_reconcile \
	tests/fuzz/fuzz_record \
	tests/fuzz/fuzz_schema \
	tests/fuzz/fuzz_seq \
	tests/fuzz/fuzz_session \
	tests/fuzz/fuzz_textdiff \
	tests/fuzz/fuzz_token

tests_fuzz_fuzz_advert_LDADD = $(FUZZ_MAIN) $(TRANSPORTS_TEST_LIBS)
tests_fuzz_fuzz_beacon_LDADD = $(FUZZ_MAIN) $(TRANSPORTS_TEST_LIBS)
tests_fuzz_fuzz_control_LDADD = $(FUZZ_MAIN) $(TOOLS_LIBS)
tests_fuzz_fuzz_cursor_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_delta_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_history_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_ignore_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_reconcile_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_record_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_schema_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_joinmsg_LDADD = $(FUZZ_MAIN) $(TRANSPORTS_TEST_LIBS)
tests_fuzz_fuzz_json_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_manifest_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_seq_LDADD = $(FUZZ_MAIN) tests/libtap.a libengine.a $(ENGINE_LIBS)
tests_fuzz_fuzz_session_LDADD = $(FUZZ_MAIN) tests/libtap.a libengine.a $(ENGINE_LIBS)
tests_fuzz_fuzz_session_SOURCES = tests/fuzz/fuzz_session.c $(pair)
tests_fuzz_fuzz_textdiff_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_token_LDADD = $(FUZZ_MAIN) $(TRANSPORTS_TEST_LIBS)

noinst_HEADERS = tests/fuzz/replay.h
EXTRA_DIST += tests/fuzz/corpus
check_LIBRARIES += tests/fuzz/libreplay.a
tests_fuzz_libreplay_a_SOURCES = tests/fuzz/replay.c
if FUZZERS
FUZZ_MAIN = $(FUZZ_FLAGS)
FUZZ_LDADD = $(FUZZ_FLAGS) libengine.a $(ENGINE_LIBS)
else
FUZZ_MAIN = tests/fuzz/libreplay.a tests/libtap.a
FUZZ_LDADD = tests/fuzz/libreplay.a $(LDADD)
endif

fuzzers: $(fuzz_targets)

# Scripts that look at the tree itself; check-completion runs ./shoal --help. check-analyzer wants
# a build of its own, see there.
dist_check_SCRIPTS += \
	tests/check-analyzer \
	tests/check-completion \
	tests/check-layers \
	tests/check-sources

check_PROGRAMS += $(unit_tests) $(sim_tests) $(fuzz_targets)
TESTS += tests/check-completion tests/check-layers tests/check-sources $(unit_tests) $(sim_tests)
if !FUZZERS
TESTS += $(fuzz_targets)
endif

EXTRA_DIST += tests/helpers/laterclock.c tests/helpers/treehistories.py tests/layers tests/unit/merge-seeds.txt

# Radios on a real kernel, see tests/lab/run.
EXTRA_DIST += tests/lab/bluetooth.py tests/lab/chain.py tests/lab/guest.py tests/lab/run tests/lab/wifidirect.py

# Real daemons on real networks: /usr/bin/python3 -m pytest -n 2 tests/integration, as root, with
# SHOAL_BUILD set to the build directory (default: build/ in the source tree); --times 20 runs
# every test twenty times.
EXTRA_DIST += \
	tests/integration/callgate.py \
	tests/integration/conftest.py \
	tests/integration/fsmount.py \
	tests/integration/inotify.py \
	tests/integration/lab.py \
	tests/integration/hub.py \
	tests/integration/linkpeer.py \
	tests/integration/programs.py \
	tests/integration/test_purge.py \
	tests/integration/test_query.py \
	tests/integration/test_query_live.py \
	tests/integration/shaper.py \
	tests/integration/test_blobs.py \
	tests/integration/test_cli.py \
	tests/integration/test_coherence.py \
	tests/integration/test_conflicts.py \
	tests/integration/test_deltas.py \
	tests/integration/test_dense.py \
	tests/integration/test_diskfull.py \
	tests/integration/test_drafts.py \
	tests/integration/test_events.py \
	tests/integration/test_evict.py \
	tests/integration/test_filters.py \
	tests/integration/test_graph.py \
	tests/integration/test_hardlinks.py \
	tests/integration/test_history.py \
	tests/integration/test_hostile_tls.py \
	tests/integration/test_hub.py \
	tests/integration/test_idle.py \
	tests/integration/test_ignore.py \
	tests/integration/test_import.py \
	tests/integration/test_incarnations.py \
	tests/integration/test_index.py \
	tests/integration/test_lab.py \
	tests/integration/test_libshoal.py \
	tests/integration/test_links.py \
	tests/integration/test_matrix.py \
	tests/integration/test_mesh.py \
	tests/integration/test_standby.py \
	tests/integration/test_mount.py \
	tests/integration/conformance.py \
	tests/integration/test_models.py \
	tests/integration/test_posix.py \
	tests/integration/test_python.py \
	tests/integration/test_schema.py \
	tests/integration/test_schema_reference.py \
	tests/integration/test_seek.py \
	tests/integration/test_seen.py \
	tests/integration/test_slow.py \
	tests/integration/test_soak.py \
	tests/integration/test_spread.py \
	tests/integration/test_stress.py \
	tests/integration/test_posix_data.py \
	tests/integration/test_mountlife.py \
	tests/integration/test_saves.py \
	tests/integration/test_scale.py \
	tests/integration/test_lists.py \
	tests/integration/test_subscriptions.py \
	tests/integration/test_suspend.py \
	tests/integration/test_texts.py \
	tests/integration/test_tmpfile.py \
	tests/integration/test_two_hosts.py \
	tests/integration/test_txn.py \
	tests/integration/test_types.py \
	tests/integration/test_upgrade.py \
	tests/integration/test_views.py \
	tests/integration/test_watch.py

# Only what a sanitizer build should run again; nothing else is built.
quick_tests = $(unit_tests) $(sim_tests)
if !FUZZERS
quick_tests += $(fuzz_targets)
endif
check-quick:
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS check_PROGRAMS='$(quick_tests)' TESTS='$(quick_tests)'

# Those that read files of the tree: a tarball may lack one. All else that it lacks the makefile itself needs.
tree_programs = \
	tests/unit/test_examples \
	tests/unit/test_merge \
	tests/unit/test_treemodel \
	tests/sim/sim \
	$(fuzz_targets)
tree_tests = tests/check-completion tests/check-layers tests/check-sources $(tree_programs)

# Those in which several threads meet, for ThreadSanitizer: of the others it can say nothing.
thread_tests = \
	tests/unit/test_control \
	tests/unit/test_later \
	tests/unit/test_proc \
	tests/unit/test_replica \
	tests/unit/test_replica_threads \
	tests/unit/test_store \
	tests/unit/test_sweep \
	tests/unit/test_vv \
	tests/unit/test_workfile
check-threads:
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS check_PROGRAMS='$(thread_tests)' TESTS='$(thread_tests)'

# Benchmarks: programs that print NAME, VALUE, UNIT, REFERENCE (tests/bench/run says how).
bench_programs = \
	tests/bench/bench_crdt \
	tests/bench/bench_diff \
	tests/bench/bench_json \
	tests/bench/bench_query \
	tests/bench/bench_replica \
	tests/bench/bench_large \
	tests/bench/bench_purge \
	tests/bench/bench_seq \
	tests/bench/bench_sync \
	tests/bench/bench_store \
	tests/bench/bench_tree
tests_bench_bench_purge_SOURCES = tests/bench/bench_purge.c $(pair)
tests_bench_bench_sync_SOURCES = tests/bench/bench_sync.c $(pair)
# What scripts start to be timed.
bench_helpers = \
	tests/bench/files \
	tests/bench/putload
tests_bench_files_SOURCES = tests/bench/files.c tests/bench/figure.h
tests_bench_files_LDADD =
tests_bench_putload_SOURCES = tests/bench/putload.c tests/bench/figure.h
tests_bench_putload_LDADD = libshoal.so
tests_bench_putload_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,$(abs_builddir)
tests_bench_hubload_SOURCES = tests/bench/hubload.c $(members) $(pair)
tests_bench_hubload_LDADD = tests/libtap.a $(TRANSPORTS_TEST_LIBS)
bench_scripts = \
	tests/bench/bench_hosts.py \
	tests/bench/bench_hub.py \
	tests/bench/bench_million.py \
	tests/bench/bench_mount.py \
	tests/bench/bench_put.py
EXTRA_PROGRAMS += $(bench_programs) $(bench_helpers)
noinst_HEADERS += tests/bench/figure.h
EXTRA_DIST += \
	tests/bench/peer_rsync.py \
	tests/bench/peer_syncthing.py \
	tests/bench/records.py \
	tests/bench/wire.py
dist_noinst_SCRIPTS = tests/bench/run $(bench_scripts) tests/soak

# hubload is among the check_PROGRAMS, which nobody has to have built before.
bench: all $(bench_programs) $(bench_helpers) tests/bench/hubload
	@SHOAL_TEST_DATA="$${SHOAL_TEST_DATA:-$(TEST_DATA)}" srcdir="$(srcdir)" \
		$(SHELL) $(srcdir)/tests/bench/run $(bench_programs) $(bench_scripts)

.PHONY: bench check-quick check-threads fuzzers
