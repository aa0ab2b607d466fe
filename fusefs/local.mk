# SPDX-License-Identifier: GPL-2.0-or-later
libfusefs_a_SOURCES = \
	fusefs/base.c \
	fusefs/base.h \
	fusefs/commit.c \
	fusefs/commit.h \
	fusefs/draft.c \
	fusefs/draft.h \
	fusefs/fs.h \
	fusefs/fusefs.c \
	fusefs/fusefs.h \
	fusefs/handle.c \
	fusefs/handle.h \
	fusefs/inode.c \
	fusefs/inode.h \
	fusefs/keeper.c \
	fusefs/keeper.h \
	fusefs/local.c \
	fusefs/local.h \
	fusefs/name.c \
	fusefs/name.h \
	fusefs/notify.c \
	fusefs/notify.h \
	fusefs/ops_attr.c \
	fusefs/ops_dir.c \
	fusefs/ops_name.c \
	fusefs/options.c \
	fusefs/options.h \
	fusefs/proc.c \
	fusefs/proc.h \
	fusefs/shoaldir.c \
	fusefs/shoaldir.h \
	fusefs/tombstone.c \
	fusefs/tombstone.h \
	fusefs/workfile.c \
	fusefs/workfile.h
