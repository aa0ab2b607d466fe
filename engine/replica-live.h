/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What is here, whether or not it is on the disk already. Any thread. */

#include "engine/replica.h"

/* Are the actor's batches up to that one here, as far as they are of the scope? */
bool replica_has(struct replica *r, const struct id *scope, struct dot d);
