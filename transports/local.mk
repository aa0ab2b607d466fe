# SPDX-License-Identifier: GPL-2.0-or-later
libtransports_a_SOURCES =
