# SPDX-License-Identifier: GPL-2.0-or-later
libfusefs_a_SOURCES = \
	fusefs/fusefs.h
