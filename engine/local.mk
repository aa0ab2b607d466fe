# SPDX-License-Identifier: GPL-2.0-or-later
# A new module also wants a line in tests/layers.
libengine_a_SOURCES = \
	engine/actor.c \
	engine/actor.h \
	engine/arena.c \
	engine/arena.h \
	engine/banned.h \
	engine/buf.c \
	engine/buf.h \
	engine/cleanup.h \
	engine/clock.c \
	engine/clock.h \
	engine/cursor.c \
	engine/cursor.h \
	engine/err.c \
	engine/err.h \
	engine/id.c \
	engine/id.h \
	engine/json-parse.c \
	engine/json.c \
	engine/json.h \
	engine/jsonindex.c \
	engine/jsonindex.h \
	engine/jsonnum.c \
	engine/jsonnum.h \
	engine/jsonptr.c \
	engine/jsonptr.h \
	engine/jsonstyle.c \
	engine/jsonstyle.h \
	engine/jsonw.c \
	engine/jsonw.h \
	engine/sha256.c \
	engine/sha256.h \
	engine/store.c \
	engine/store.h \
	engine/storemem.c \
	engine/storeops.h \
	engine/storerocks.c \
	engine/utf8.h \
	engine/vv.c \
	engine/vv.h
