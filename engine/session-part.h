/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Collections of which one side keeps all and the other a part, within a session: shoal-protocol(7), Parts. */

#include "engine/session-impl.h"

/* What each side keeps is known: finds the collections that are of that kind. */
int session_parts_begin(struct session *s, struct err *e);
void session_parts_free(struct session *s);
/* There is a new view. */
void session_parts_news(struct session *s);
/* The round of a part that the peer sent is here, and durable. */
int session_part_here(struct session *s, const struct id *scope, struct err *e);
/* Says what there is to say of parts, but for what goes into rounds. 1: there is more than went into it. */
int session_parts_put(struct session *s, struct buf *out, size_t end, struct err *e);
/* One frame of a round of a part. 1: something was sent. */
int session_part_step(struct session *s, struct buf *out, struct err *e);
/* A round of a part is under way. */
bool session_part_sends(const struct session *s);
/* One is to be sent when no round is open: none begins before. */
bool session_part_waits(const struct session *s);
int session_compare_get(struct session *s, struct cursor *c, struct err *e);
int session_hold_get(struct session *s, struct cursor *c, struct err *e);
int session_take_get(struct session *s, struct cursor *c, struct err *e);
int session_leave_get(struct session *s, struct cursor *c, struct err *e);
int session_part_get(struct session *s, struct cursor *c, struct err *e);
