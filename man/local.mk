# SPDX-License-Identifier: GPL-2.0-or-later
dist_man_MANS += \
	man/libshoal.3 \
	man/mount.fuse.shoal.8 \
	man/shoal-control.7 \
	man/shoal-crdt.7 \
	man/shoal-format.7 \
	man/shoal-fs.7 \
	man/shoal-protocol.7 \
	man/shoal-query.7 \
	man/shoal-schema.7 \
	man/shoal-security.7 \
	man/shoal-transports.7 \
	man/shoal.1 \
	man/shoal.conf.5 \
	man/shoald.8
