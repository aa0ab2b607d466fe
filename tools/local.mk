# SPDX-License-Identifier: GPL-2.0-or-later
# bin_PROGRAMS: shoal; sbin_PROGRAMS: shoald; mounthelper_PROGRAMS: mount.fuse.shoal.
# Each links $(ALL_LIBS): shoal_LDADD = $(ALL_LIBS).
mounthelper_PROGRAMS =
