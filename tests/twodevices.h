/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Two devices of a mesh in one process, each with an adapter of tests/bluezmock.h, joined by tests/airmock.h. */

#include <stdbool.h>

#include "transports/mesh.h"

#define FOUND 25000 /* milliseconds: the one with the larger tag waits ten seconds, and scans go by rounds */

extern struct twodevice {
	struct identity *identity;
	struct mesh *mesh; /* NULL: it does not run */
	struct mesh_options options;
	unsigned ups, downs, warnings;
	bool refuse; /* the other one is revoked */
	bool busy;   /* with 320 changes */
	bool told;   /* all that happened here is known at the other */
	char why[240], warning[300], line[300];
} a, b;

/* Makes both, members of one mesh, and BlueZ's stand-in on the bus with both adapters. */
void twodevices_start(void);
void twodevices_end(void);

void start(struct twodevice *d);
void stop(struct twodevice *d);
void start_both(void);
void stop_both(void);

bool linked(const char *transport); /* to each other, as both see it */
bool apart(void);
/* Why they are linked so, as both say it soon. */
bool reasons(const char *text);
