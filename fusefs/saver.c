/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/saver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- saving ---- */

struct saved_version {
	struct table_link link;
	const struct version *version;
	uint64_t number; /* from 1 */
};

void save_fail(struct saver *s, int error)
{
	if (!s->error)
		s->error = error;
}

void save_id(struct saver *s, const struct id *id)
{
	buf_put(s->out, id->b, ID_SIZE);
}

void save_bytes(struct saver *s, const void *data, size_t len)
{
	buf_bytes(s->out, data, len);
}

void save_text(struct saver *s, const char *text)
{
	save_bool(s, text != NULL);
	if (text)
		save_bytes(s, text, strlen(text));
}

void save_bool(struct saver *s, bool x)
{
	buf_u8(s->out, x);
}

void save_proc(struct saver *s, const struct proc *p)
{
	buf_u32(s->out, (uint32_t)p->tgid);
	buf_u32(s->out, (uint32_t)p->pgrp);
	buf_u32(s->out, (uint32_t)p->session);
	save_u64(s, p->start);
}

void save_err(struct saver *s, const struct err *e)
{
	buf_u32(s->out, (uint32_t)-e->code);
	buf_u32(s->out, e->line);
	buf_u32(s->out, e->column);
	save_u64(s, e->offset);
	save_text(s, e->message);
}

void save_attr(struct saver *s, const struct attr *a)
{
	save_id(s, &a->id);
	save_id(s, &a->scope);
	buf_u8(s->out, (uint8_t)a->kind);
	buf_u8(s->out, (uint8_t)a->form);
	buf_u32(s->out, a->mode);
	save_u64(s, a->size);
	save_u64(s, a->stored);
	save_u64(s, (uint64_t)a->mtime_ns);
	save_u64(s, (uint64_t)a->ctime_ns);
	save_id(s, &a->version);
	save_bool(s, a->conflict);
	save_bool(s, a->absent);
	buf_u32(s->out, a->author);
}

static uint64_t version_hash(const struct version *v)
{
	return table_mix((uint64_t)(uintptr_t)v);
}

void save_version(struct saver *s, const struct version *v)
{
	if (!v) {
		save_u64(s, 0);
		return;
	}
	for (struct table_link *l = table_first(&s->versions, version_hash(v)); l; l = l->next) {
		const struct saved_version *x = table_entry(l, struct saved_version, link);
		if (x->version == v) {
			save_u64(s, x->number);
			return;
		}
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	struct saved_version *x = calloc(1, sizeof(*x));
	int r = x ? version_encode(s->replica, v, &b) : -ENOMEM;
	if (r >= 0)
		r = table_add(&s->versions, &x->link, version_hash(v));
	if (r < 0) {
		free(x);
		save_fail(s, r);
		return;
	}
	x->version = v;
	x->number = ++s->n_versions;
	save_u64(s, x->number);
	save_bytes(s, b.data, b.len);
}

void save_fd(struct saver *s, int fd)
{
	buf_u32(s->out, (uint32_t)fd);
	if (fd < 0)
		return;
	if (s->n_fds == s->cap_fds) {
		size_t cap = s->cap_fds ? s->cap_fds * 2 : 64;
		int *x = reallocarray(s->fd, cap, sizeof(*x));
		if (!x) {
			save_fail(s, -ENOMEM);
			return;
		}
		s->fd = x;
		s->cap_fds = cap;
	}
	s->fd[s->n_fds++] = fd;
	if (fcntl(fd, F_SETFD, 0) < 0)
		save_fail(s, -errno);
}

void saver_undo(struct saver *s)
{
	while (s->n_fds)
		fcntl(s->fd[--s->n_fds], F_SETFD, FD_CLOEXEC);
}

void saver_done(struct saver *s)
{
	table_each(&s->versions, b, l, next)
	{
		table_remove(&s->versions, l);
		free(table_entry(l, struct saved_version, link));
	}
	table_done(&s->versions);
	free(s->fd);
}

/* ---- loading ---- */

void load_fail(struct loader *l, int error)
{
	if (!l->error)
		l->error = error;
}

bool load_ok(struct loader *l)
{
	if (!cursor_ok(&l->in))
		load_fail(l, -EBADMSG);
	return l->error == 0;
}

void load_id(struct loader *l, struct id *ret)
{
	const uint8_t *p = cursor_take(&l->in, ID_SIZE);
	if (p)
		memcpy(ret->b, p, ID_SIZE);
}

const void *load_bytes(struct loader *l, size_t *ret_len)
{
	*ret_len = 0;
	return cursor_bytes(&l->in, cursor_left(&l->in), ret_len);
}

char *load_text(struct loader *l)
{
	size_t len;
	if (!load_bool(l))
		return NULL;
	const char *p = load_bytes(l, &len);
	char *text = p ? strndup(p, len) : NULL;
	if (p && !text)
		load_fail(l, -ENOMEM);
	return text;
}

bool load_bool(struct loader *l)
{
	return cursor_u8(&l->in) != 0;
}

void load_proc(struct loader *l, struct proc *ret)
{
	ret->tgid = (pid_t)cursor_u32(&l->in);
	ret->pgrp = (pid_t)cursor_u32(&l->in);
	ret->session = (pid_t)cursor_u32(&l->in);
	ret->start = load_u64(l);
}

void load_err(struct loader *l, struct err *ret)
{
	uint32_t code = cursor_u32(&l->in), line = cursor_u32(&l->in),
		 column = cursor_u32(&l->in);
	uint64_t offset = load_u64(l);
	_cleanup_free_ char *message = load_text(l);
	*ret = (struct err){ .code = -(int)code, .line = line, .column = column, .offset = offset };
	if (message)
		snprintf(ret->message, sizeof(ret->message), "%s", message);
}

void load_attr(struct loader *l, struct attr *ret)
{
	load_id(l, &ret->id);
	load_id(l, &ret->scope);
	ret->kind = (enum node_kind)cursor_u8(&l->in);
	ret->form = (enum form)cursor_u8(&l->in);
	ret->mode = cursor_u32(&l->in);
	ret->size = load_u64(l);
	ret->stored = load_u64(l);
	ret->mtime_ns = (int64_t)load_u64(l);
	ret->ctime_ns = (int64_t)load_u64(l);
	load_id(l, &ret->version);
	ret->conflict = load_bool(l);
	ret->absent = load_bool(l);
	ret->author = cursor_u32(&l->in);
}

/* What is the record's own is that again, and not another of the same bytes beside it. */
static struct version *prefer_newest(struct replica *r, struct version *v)
{
	struct version *newest = NULL;
	if (replica_read(r, version_node(v), &newest) < 0)
		return v;
	const bool same = id_equal(version_id(newest), version_id(v)) &&
			  version_size(newest) == version_size(v) && version_data(newest) &&
			  version_data(v) &&
			  memcmp(version_data(newest), version_data(v), (size_t)version_size(v)) == 0;
	version_unref(same ? v : newest);
	return same ? newest : v;
}

static int take_version(struct loader *l)
{
	size_t len;
	struct version *v = NULL;
	const void *p = load_bytes(l, &len);
	int r = p ? version_decode(l->replica, p, len, &v) : -EBADMSG;
	if (r < 0)
		return r;
	v = prefer_newest(l->replica, v);
	if (l->n_versions == l->cap_versions) {
		size_t cap = l->cap_versions ? l->cap_versions * 2 : 64;
		struct version **x = reallocarray(l->version, cap, sizeof(*x));
		if (!x) {
			version_unref(v);
			return -ENOMEM;
		}
		l->version = x;
		l->cap_versions = cap;
	}
	l->version[l->n_versions++] = v;
	return 0;
}

struct version *load_version(struct loader *l)
{
	uint64_t number = load_u64(l);
	if (!load_ok(l) || number == 0)
		return NULL;
	int r = number == l->n_versions + 1 ? take_version(l) : 0;
	if (r == 0 && number > l->n_versions)
		r = -EBADMSG;
	if (r < 0) {
		load_fail(l, r);
		return NULL;
	}
	return version_ref(l->version[number - 1]);
}

int load_fd(struct loader *l)
{
	int fd = (int)cursor_u32(&l->in);
	if (!load_ok(l))
		return -1;
	if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		load_fail(l, -errno);
		return -1;
	}
	return fd;
}

void loader_done(struct loader *l)
{
	for (size_t k = 0; k < l->n_versions; k++)
		version_unref(l->version[k]);
	free(l->version);
}
