/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Batches: a few files changed at once. On any device at any time all of them have the change, or
 * none; records say what they have by their contexts, so it does not matter what became of the files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tests/sim/typed.h"

#define STEPS_MAX 5
#define FILES_MAX 48
#define DIRS_MAX 16

struct done_batch {
	unsigned device;
	bool past; /* the device was brought back since */
	struct actor_id actor;
	uint64_t seq;
	struct id member[STEPS_MAX];
	uint32_t n;
};

struct batches {
	struct done_batch *list;
	uint32_t n, cap;
};

struct file {
	struct id id, entry;
	char path[2 * NAME_MAX_BYTES + 2];
};

struct files {
	struct file file[FILES_MAX];
	struct id dir[DIRS_MAX];
	char dir_path[DIRS_MAX][NAME_MAX_BYTES + 2];
	unsigned n, n_dirs, at;
};

static int add_file(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct files *f = userdata;
	if (typed_name(name, len))
		return 0;
	if (attr->kind == NODE_DIR && f->at == 0 && f->n_dirs < DIRS_MAX) {
		snprintf(f->dir_path[f->n_dirs], sizeof(f->dir_path[0]), "%.*s/", (int)len, name);
		f->dir[f->n_dirs++] = attr->id;
	}
	if (attr->kind == NODE_FILE && f->n < FILES_MAX) {
		struct file *x = &f->file[f->n++];
		size_t before = strlen(f->dir_path[f->at]);
		memcpy(x->path, f->dir_path[f->at], before);
		memcpy(x->path + before, name, len);
		x->path[before + len] = 0;
		x->id = attr->id;
		x->entry = attr->entry;
	}
	return 0;
}

static void find_files(struct device *d, struct files *f)
{
	f->n = 0;
	f->n_dirs = 1;
	f->dir[0] = NODE_ROOT;
	f->dir_path[0][0] = 0;
	for (f->at = 0; f->at < f->n_dirs; f->at++)
		replica_list(d->replica, &f->dir[f->at], add_file, f);
}

void batch_note(struct world *w, struct device *d, const struct id *member, uint32_t n)
{
	struct batches *b = w->batches;
	struct done_batch x = { .device = d->no, .n = n };
	replica_self(d->replica, &x.actor, &x.seq);
	memcpy(x.member, member, n * sizeof(*member));
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 16;
		b->list = reallocarray(b->list, b->cap, sizeof(*b->list));
		if (!b->list)
			abort();
	}
	b->list[b->n++] = x;
}

/* What the model has to know: the object is meant, or the file goes. */
static void tell_model(struct world *w, struct device *d, const struct file *x, enum txn_op op,
		       const struct numbers *saw)
{
	if (op == TXN_DELETE)
		model_covered(w, d, &x->id, "", saw);
	else
		model_entered(w, d, &x->id, "", saw);
}

int batch_step(struct world *w, struct device *d)
{
	static struct files f; /* large */
	_cleanup_(arena_done) struct arena a = { 0 };
	struct txn_step step[STEPS_MAX];
	struct txn_result result[STEPS_MAX];
	struct numbers saw[STEPS_MAX] = { { 0 } };
	const struct file *file[STEPS_MAX];
	struct id member[STEPS_MAX];
	struct json *value;
	char text[40];
	uint32_t n = 0, members = 0, at;
	struct err e = { 0 };
	find_files(d, &f);
	uint64_t before, after, want = 2 + prng_below(&w->r, STEPS_MAX - 1);
	struct actor_id actor;
	snprintf(text, sizeof(text), "{\"batch\":%llu}", (unsigned long long)++w->value);
	if (json_parse(&a, text, strlen(text), NULL, &value, NULL) < 0)
		abort();
	for (uint64_t i = 0; i < want && f.n > 0; i++) {
		unsigned k = (unsigned)prng_below(&w->r, f.n);
		const struct file *x = &f.file[k];
		size_t len = strlen(x->path);
		bool json = len > 5 && !strcmp(x->path + len - 5, ".json");
		enum txn_op op = prng_chance(&w->r, 15) || !json ? TXN_DELETE : TXN_MERGE;
		bool twice = false;
		for (uint32_t m = 0; m < n; m++)
			twice |= id_equal(&file[m]->id, &x->id);
		if (twice || (!json && prng_chance(&w->r, 70)))
			continue;
		file_numbers(d, &x->id, &saw[n], NULL);
		file[n] = x;
		uint32_t links = 0;
		replica_links(d->replica, &x->id, &links);
		if (op != TXN_DELETE)
			member[members++] = x->id;
		else if (!links || !id_equal(&x->id, &x->entry))
			member[members++] = x->entry;
		/* Else it takes the place of one of its links, which may be this one. */
		step[n++] = (struct txn_step){ op, x->path, op == TXN_MERGE ? value : NULL, NULL };
	}
	replica_self(d->replica, &actor, &before);
	/* Some are one commit here and nothing to anybody else. */
	bool whole = w->value % 5 != 0;
	int r = replica_steps(d->replica, step, n, whole, result, &at, &e);
	replica_self(d->replica, &actor, &after);
	TRACE(w, "device %u changes %u files %s: %s", d->no, n, whole ? "at once" : "together",
	      r < 0 ? e.message : "done");
	for (uint32_t i = 0; i < n; i++)
		TRACE(w, "  %s %s", step[i].op == TXN_DELETE ? "deletes" : "merges", step[i].path);
	if (r == 0 && after > before) {
		if (whole)
			batch_note(w, d, member, members);
		for (uint32_t i = 0; i < n; i++)
			tell_model(w, d, file[i], step[i].op, &saw[i]);
		w->saves++;
	}
	for (uint32_t i = 0; i < n; i++)
		numbers_clear(&saw[i]);
	return r;
}

struct batches *batches_new(void)
{
	struct batches *b = calloc(1, sizeof(*b));
	if (!b)
		abort();
	return b;
}

void batches_free(struct batches *b)
{
	if (b)
		free(b->list);
	free(b);
}

void batch_lost(struct world *w, struct device *d)
{
	struct batches *b = w->batches;
	struct actor_id self;
	uint64_t newest;
	replica_self(d->replica, &self, &newest);
	for (uint32_t i = 0; i < b->n;) {
		const struct done_batch *x = &b->list[i];
		if (x->device == d->no && !x->past &&
		    device_lost(d, &self, newest, &x->actor, x->seq))
			b->list[i] = b->list[--b->n];
		else
			i++;
	}
}

void batch_mark(struct world *w, const struct device *d)
{
	struct batches *b = w->batches;
	for (uint32_t i = 0; i < b->n; i++)
		b->list[i].past |= b->list[i].device == d->no;
}

void batch_renamed(struct world *w, const struct device *d, const struct actor_id *from,
		   const struct actor_id *to, uint64_t above)
{
	struct batches *b = w->batches;
	for (uint32_t i = 0; i < b->n; i++) {
		struct done_batch *x = &b->list[i];
		if (x->device == d->no && !x->past && x->seq > above && actor_id_cmp(&x->actor, from) == 0)
			x->actor = *to;
	}
}

void batch_check(struct world *w, struct device *d)
{
	const struct batches *b = w->batches;
	if (w->rolled && !w->found) /* two wrote under one name */
		return;
	for (uint32_t i = 0; i < b->n; i++) {
		const struct done_batch *x = &b->list[i];
		uint32_t no = actors_find(replica_actors(d->replica), &x->actor), have = 0;
		for (uint32_t k = 0; no != ACTOR_NONE && k < x->n; k++) {
			_cleanup_(arena_done) struct arena a = { 0 };
			const struct record *r;
			have += check_record(d, &a, &x->member[k], &r) == 0 &&
				vv_get(&r->ctx, no) >= x->seq;
		}
		if (have > 0 && have < x->n)
			world_fail(w, "device %u has %u of the %u files of a batch (number %llu of its "
				   "device)", d->no, have, x->n, (unsigned long long)x->seq);
	}
}
