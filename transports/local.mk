# SPDX-License-Identifier: GPL-2.0-or-later
libtransports_a_SOURCES = \
	transports/cert.c \
	transports/cert.h \
	transports/identity.c \
	transports/identity.h \
	transports/invite.c \
	transports/invite.h \
	transports/keyfile.c \
	transports/keyfile.h \
	transports/name.c \
	transports/name.h \
	transports/token.c \
	transports/token.h

# What the tests of this area link; no file system in it.
TRANSPORTS_TEST_LIBS = libtransports.a libengine.a $(TRANSPORTS_LIBS) $(ENGINE_LIBS)
