# SPDX-License-Identifier: GPL-2.0-or-later
libtransports_a_SOURCES = \
	transports/address.c \
	transports/address.h \
	transports/advert.c \
	transports/advert.h \
	transports/avahi.c \
	transports/avahi.h \
	transports/beacon.c \
	transports/beacon.h \
	transports/cert.c \
	transports/cert.h \
	transports/discovery.c \
	transports/discovery.h \
	transports/identity.c \
	transports/identity.h \
	transports/ifaces.c \
	transports/ifaces.h \
	transports/invite.c \
	transports/invite.h \
	transports/join.c \
	transports/join.h \
	transports/joinmsg.c \
	transports/joinmsg.h \
	transports/joinserver.c \
	transports/joinserver.h \
	transports/keyfile.c \
	transports/keyfile.h \
	transports/link.h \
	transports/memwire.c \
	transports/memwire.h \
	transports/mesh-conn.c \
	transports/mesh-impl.h \
	transports/mesh-neighbours.c \
	transports/mesh-standby.c \
	transports/mesh-target.c \
	transports/mesh-way.c \
	transports/mesh.c \
	transports/mesh.h \
	transports/meshkey.c \
	transports/meshkey.h \
	transports/name.c \
	transports/name.h \
	transports/neighbours.c \
	transports/neighbours.h \
	transports/reach.c \
	transports/reach.h \
	transports/resolve.c \
	transports/resolve.h \
	transports/tcp.c \
	transports/tcp.h \
	transports/tls-context.c \
	transports/tls-impl.h \
	transports/tls.c \
	transports/tls.h \
	transports/token.c \
	transports/token.h \
	transports/wire.h

# What the tests of this area link; no file system in it.
TRANSPORTS_TEST_LIBS = libtransports.a libengine.a $(TRANSPORTS_LIBS) $(ENGINE_LIBS)
