/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/base.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/table.h"
#include "fusefs/saver.h"

#define BACKUP_NS (INT64_C(2) * 1000 * 1000 * 1000)
#define CANDIDATES 16 /* versions compared for one save */
#define SPARED_MAX 64 /* old notes that are kept before others */

struct note {
	struct note *next, *prev; /* oldest first */
	struct table_link by_node;
	struct id node;
	struct proc proc;
	struct version *version;
	int64_t at_ns;
	bool backup; /* opened to be copied */
	bool wrote;  /* or what the process made itself */
	uint64_t used; /* the last save by others that it was the base of since; 0: none */
};

struct bases {
	pthread_mutex_t lock;
	struct bases_limits limits;
	struct note *oldest, *newest;
	size_t n;
	uint64_t bytes;
	struct table by_node;
	uint64_t saves; /* counts those that rule 3 found a base for */
	/* The backup made last: opens that follow it belong to the copying as well. */
	struct proc backup_proc;
	struct id backup_node;
	int64_t backup_ns;
};

int bases_new(const struct bases_limits *limits, struct bases **ret)
{
	struct bases *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->limits = *limits;
	pthread_mutex_init(&b->lock, NULL);
	*ret = b;
	return 0;
}

static void note_unlink(struct bases *b, struct note *n)
{
	*(n->prev ? &n->prev->next : &b->oldest) = n->next;
	*(n->next ? &n->next->prev : &b->newest) = n->prev;
	n->next = n->prev = NULL;
}

static void note_append(struct bases *b, struct note *n)
{
	n->prev = b->newest;
	n->next = NULL;
	*(b->newest ? &b->newest->next : &b->oldest) = n;
	b->newest = n;
}

static bool held_elsewhere(struct bases *b, const struct note *n)
{
	for (struct table_link *l = table_first(&b->by_node, n->by_node.hash); l; l = l->next) {
		struct note *x = table_entry(l, struct note, by_node);
		if (x != n && x->version == n->version)
			return true;
	}
	return false;
}

static uint64_t version_cost(const struct version *v)
{
	return 256 + (version_is_bytes(v) ? version_size(v) : 0);
}

static void note_drop(struct bases *b, struct note *n)
{
	if (!held_elsewhere(b, n))
		b->bytes -= version_cost(n->version);
	note_unlink(b, n);
	table_remove(&b->by_node, &n->by_node);
	b->n--;
	version_unref(n->version);
	free(n);
}

void bases_free(struct bases *b)
{
	if (!b)
		return;
	while (b->oldest)
		note_drop(b, b->oldest);
	table_done(&b->by_node);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* Of blobs there may be several of one version; anything else that is another has other bytes. */
static bool same_version(const struct version *x, const struct version *y)
{
	return x == y || (id_equal(version_id(x), version_id(y)) && !version_is_bytes(x) &&
			  !version_is_bytes(y));
}

static struct note *note_find(struct bases *b, const struct proc *p, const struct id *node,
			      const struct version *v)
{
	for (struct table_link *l = table_first(&b->by_node, id_hash(node)); l; l = l->next) {
		struct note *n = table_entry(l, struct note, by_node);
		if (id_equal(&n->node, node) && proc_same(&n->proc, p) &&
		    same_version(n->version, v))
			return n;
	}
	return NULL;
}

/* The last note of a file by a process that still runs: an editor that has had its file open since
 * yesterday. living: one that does, so far as is known; asking costs a system call. */
static bool worth_keeping(struct bases *b, const struct note *n, struct proc *living)
{
	for (struct table_link *l = table_first(&b->by_node, n->by_node.hash); l; l = l->next) {
		const struct note *x = table_entry(l, struct note, by_node);
		if (x != n && id_equal(&x->node, &n->node) && proc_same(&x->proc, &n->proc) &&
		    x->at_ns >= n->at_ns)
			return false;
	}
	if (!proc_same(&n->proc, living) && !proc_alive(&n->proc))
		return false;
	*living = n->proc;
	return true;
}

/* When there is too much: well below the limits, so that what goes through more files than are noted does
 * not pay for it with each of them. The first round spares some of what is worth keeping, the second
 * goes no further than it has to, and spares nothing. */
static void shrink(struct bases *b)
{
	const struct bases_limits *limits = &b->limits;
	const size_t notes = limits->notes - limits->notes / 16;
	const uint64_t bytes = limits->bytes - limits->bytes / 16;
	unsigned spared = 0;
	struct proc living = b->newest->proc;
	if (b->n <= limits->notes && b->bytes <= limits->bytes)
		return;
	for (struct note *n = b->oldest, *next = n->next; next; n = next, next = n->next) {
		if (b->n <= notes && b->bytes <= bytes)
			return;
		if (spared < SPARED_MAX && worth_keeping(b, n, &living))
			spared++;
		else
			note_drop(b, n);
	}
	while (b->oldest != b->newest && (b->n > limits->notes || b->bytes > limits->bytes))
		note_drop(b, b->oldest);
}

/* A new note, behind all others; the reference of its version is taken over if that succeeds. */
static int note_add(struct bases *b, struct note *n)
{
	int r = table_add(&b->by_node, &n->by_node, id_hash(&n->node));
	if (r < 0)
		return r;
	if (!held_elsewhere(b, n))
		b->bytes += version_cost(n->version);
	b->n++;
	note_append(b, n);
	return 0;
}

static void note(struct bases *b, const struct proc *p, const struct id *node, struct version *v,
		 int64_t now_ns, bool wrote)
{
	pthread_mutex_lock(&b->lock);
	bool backup = !wrote && proc_same(&b->backup_proc, p) &&
		      id_equal(&b->backup_node, node) && now_ns - b->backup_ns < BACKUP_NS;
	struct note *n = note_find(b, p, node, v);
	if (n) {
		n->at_ns = now_ns;
		n->used = 0;
		n->proc = *p; /* group and session may have changed */
		n->wrote |= wrote;
		n->backup = n->backup && backup && !n->wrote;
		note_unlink(b, n);
		note_append(b, n);
		goto out;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		goto out;
	*n = (struct note){ .node = *node, .proc = *p, .at_ns = now_ns, .backup = backup, .wrote = wrote };
	n->version = version_ref(v);
	if (note_add(b, n) < 0) {
		version_unref(n->version);
		free(n);
		goto out;
	}
	shrink(b);
out:
	pthread_mutex_unlock(&b->lock);
}

void bases_note(struct bases *b, const struct proc *p, const struct id *node, struct version *v,
		int64_t now_ns)
{
	note(b, p, node, v, now_ns, false);
}

void bases_wrote(struct bases *b, const struct proc *p, const struct id *node, struct version *v,
		 int64_t now_ns)
{
	note(b, p, node, v, now_ns, true);
}

void bases_backup(struct bases *b, const struct proc *p, const struct id *node, int64_t now_ns)
{
	if (p->tgid <= 0)
		return;
	pthread_mutex_lock(&b->lock);
	b->backup_proc = *p;
	b->backup_node = *node;
	b->backup_ns = now_ns;
	/* Only the last one, and only if there is an earlier one that counts: a program may well
	 * load the file and make the backup within two seconds. */
	struct note *last = NULL, *earlier = NULL;
	for (struct table_link *l = table_first(&b->by_node, id_hash(node)); l; l = l->next) {
		struct note *n = table_entry(l, struct note, by_node);
		if (!id_equal(&n->node, node) || !proc_same(&n->proc, p))
			continue;
		if (!last || n->at_ns > last->at_ns) {
			if (last && !last->backup)
				earlier = last;
			last = n;
		} else if (!n->backup) {
			earlier = n;
		}
	}
	if (earlier && !last->wrote && now_ns - last->at_ns < BACKUP_NS)
		last->backup = true;
	pthread_mutex_unlock(&b->lock);
}

void bases_rename(struct bases *b, const struct id *from, const struct id *to)
{
	pthread_mutex_lock(&b->lock);
	for (struct table_link *l = table_first(&b->by_node, id_hash(from)); l;) {
		struct note *n = table_entry(l, struct note, by_node);
		l = l->next;
		if (!id_equal(&n->node, from))
			continue;
		table_remove(&b->by_node, &n->by_node);
		n->node = *to;
		table_add(&b->by_node, &n->by_node, id_hash(to));
		/* The table may have grown: its chains are others. */
		l = table_first(&b->by_node, id_hash(from));
	}
	pthread_mutex_unlock(&b->lock);
}

void bases_forget(struct bases *b, const struct id *node)
{
	pthread_mutex_lock(&b->lock);
	for (struct table_link *l = table_first(&b->by_node, id_hash(node)), *next; l; l = next) {
		struct note *n = table_entry(l, struct note, by_node);
		next = l->next;
		if (id_equal(&n->node, node))
			note_drop(b, n);
	}
	pthread_mutex_unlock(&b->lock);
}

enum match { BY_PROCESS, BY_GROUP, BY_SESSION, BY_ANYBODY };

static bool matches(const struct note *n, const struct base_question *q, enum match how)
{
	switch (how) {
	case BY_PROCESS:
		return proc_same(&n->proc, &q->writer);
	case BY_GROUP:
		return q->writer.pgrp > 0 && n->proc.pgrp == q->writer.pgrp &&
		       n->at_ns >= q->since_ns;
	case BY_SESSION:
		return q->writer.session > 0 && n->proc.session == q->writer.session &&
		       n->at_ns >= q->since_ns;
	case BY_ANYBODY:
		return q->until_ns && n->at_ns <= q->until_ns;
	}
	return false;
}

/* The process's own reading: its last, but copying into a backup only if there is no other. */
static struct version *find_own(struct bases *b, const struct base_question *q)
{
	struct note *best = NULL;
	for (struct table_link *l = table_first(&b->by_node, id_hash(&q->node)); l; l = l->next) {
		struct note *n = table_entry(l, struct note, by_node);
		if (!id_equal(&n->node, &q->node) || !matches(n, q, BY_PROCESS))
			continue;
		if (!best || (best->backup && !n->backup) ||
		    (best->backup == n->backup && n->at_ns > best->at_ns))
			best = n;
	}
	return best ? version_ref(best->version) : NULL;
}

struct candidate {
	struct version *version;
	bool fresh; /* opened since the temp file was made */
	bool then;  /* what was there at that time: no one is known to have read it */
	uint64_t used;
};

/* Distinct versions that match, oldest opening first, referenced. When there are more than fit,
 * the newest ones. */
static size_t collect(struct bases *b, const struct base_question *q, enum match how,
		      struct candidate ret[CANDIDATES])
{
	const struct note *found[CANDIDATES]; /* oldest first, each version at its last opening */
	size_t n_found = 0;
	for (struct table_link *l = table_first(&b->by_node, id_hash(&q->node)); l; l = l->next) {
		const struct note *n = table_entry(l, struct note, by_node);
		if (!id_equal(&n->node, &q->node) || !matches(n, q, how))
			continue;
		size_t i = 0;
		while (i < n_found && !same_version(found[i]->version, n->version))
			i++;
		if (i < n_found && found[i]->at_ns >= n->at_ns)
			continue;
		if (i == n_found && n_found == CANDIDATES) {
			if (found[0]->at_ns >= n->at_ns)
				continue;
			i = 0;
		}
		if (i < n_found)
			memmove(&found[i], &found[i + 1], (--n_found - i) * sizeof(found[0]));
		for (i = n_found++; i > 0 && found[i - 1]->at_ns > n->at_ns; i--)
			found[i] = found[i - 1];
		found[i] = n;
	}
	for (size_t i = 0; i < n_found; i++)
		ret[i] = (struct candidate){
			.version = version_ref(found[i]->version),
			.fresh = q->born_ns > 0 && found[i]->at_ns >= q->born_ns,
			.used = found[i]->used,
		};
	return n_found;
}

/* Other versions may have the same bytes: of other times, say. */
static bool same_content(const struct version *x, const struct version *y)
{
	return version_data(x) && version_data(y) && version_size(x) == version_size(y) &&
	       memcmp(version_data(x), version_data(y), (size_t)version_size(x)) == 0;
}

static void mark_used(struct bases *b, const struct base_question *q, enum match how,
		      const struct version *v)
{
	b->saves++;
	for (struct table_link *l = table_first(&b->by_node, id_hash(&q->node)); l; l = l->next) {
		struct note *n = table_entry(l, struct note, by_node);
		if (id_equal(&n->node, &q->node) && matches(n, q, how) &&
		    (n->version == v || same_content(n->version, v)))
			n->used = b->saves;
	}
}

/* ---- distance ---- */

/* Pieces of a document: runs between structural characters outside strings, each with the key
 * before it, so that two values that change places are seen; or the keys alone. Of a text: its
 * lines; or its words. */
enum piece_kind { PIECE_VALUE, PIECE_KEY, PIECE_LINE, PIECE_WORD, PIECE_KINDS };

struct pieces {
	uint64_t *hash;
	size_t n, cap;
};

static bool piece_add(struct pieces *p, uint64_t h)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 256;
		uint64_t *x = reallocarray(p->hash, cap, sizeof(*x));
		if (!x)
			return false;
		p->hash = x;
		p->cap = cap;
	}
	p->hash[p->n++] = h;
	return true;
}

static const uint64_t empty = UINT64_C(0xcbf29ce484222325), prime = UINT64_C(0x100000001b3);

static bool pieces_of_text(const uint8_t *s, size_t len, bool words, struct pieces *p)
{
	uint64_t h = empty;
	bool any = false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\n' || (words && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r'))) {
			if ((any || !words) && !piece_add(p, table_mix(h)))
				return false;
			h = empty;
			any = false;
			continue;
		}
		h = (h ^ s[i]) * prime;
		any = true;
	}
	return !any || piece_add(p, table_mix(h));
}

static bool pieces_of(const uint8_t *s, size_t len, enum piece_kind kind, struct pieces *p)
{
	if (kind == PIECE_LINE || kind == PIECE_WORD)
		return pieces_of_text(s, len, kind == PIECE_WORD, p);
	const bool keys = kind == PIECE_KEY;
	uint64_t h = empty;
	bool string = false, any = false;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = s[i];
		if (string) {
			h = (h ^ c) * prime;
			if (c == '\\' && i + 1 < len)
				h = (h ^ s[++i]) * prime;
			else if (c == '"')
				string = false;
			continue;
		}
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c == ',' || c == '{' || c == '}' || c == '[' || c == ']') {
			if (any && !keys && !piece_add(p, table_mix(h)))
				return false;
			h = empty;
			any = false;
			continue;
		}
		if (keys && c == ':' && !piece_add(p, table_mix(h)))
			return false;
		string = c == '"';
		any = true;
		h = (h ^ c) * prime;
	}
	return !any || keys || piece_add(p, table_mix(h));
}

/* What a text is compared with: its pieces of one kind, counted, by their hashes. */
struct tally {
	uint64_t *hash;
	uint32_t *count, *left; /* count 0: the slot is free; left: of the count, in one comparison */
	size_t n, slots;        /* pieces; a power of two */
};

static size_t slot_of(const struct tally *t, uint64_t h)
{
	size_t i = h & (t->slots - 1);
	while (t->count[i] && t->hash[i] != h)
		i = (i + 1) & (t->slots - 1);
	return i;
}

static void tally_done(struct tally *t)
{
	free(t->hash);
	free(t->count);
	free(t->left);
}

static bool tally_make(const struct pieces *p, struct tally *t)
{
	t->n = p->n;
	for (t->slots = 16; t->slots < 2 * p->n; t->slots *= 2)
		;
	t->hash = calloc(t->slots, sizeof(*t->hash));
	t->count = calloc(t->slots, sizeof(*t->count));
	t->left = calloc(t->slots, sizeof(*t->left));
	if (!t->hash || !t->count || !t->left)
		return false;
	for (size_t k = 0; k < p->n; k++) {
		size_t i = slot_of(t, p->hash[k]);
		t->hash[i] = p->hash[k];
		t->count[i]++;
	}
	return true;
}

/* A text that others are held against; of each kind it is taken apart once. */
struct measure {
	const void *data;
	size_t len;
	struct tally tally[PIECE_KINDS];
	struct pieces pieces; /* of whichever is looked at */
};

static void measure_done(struct measure *m)
{
	for (unsigned k = 0; k < PIECE_KINDS; k++)
		tally_done(&m->tally[k]);
	free(m->pieces.hash);
}

/* Pieces that only one of the two has, and in *ret_all the pieces of both. */
static uint64_t differing(struct measure *m, const void *a, size_t alen, enum piece_kind kind,
			  uint64_t *ret_all)
{
	struct tally *t = &m->tally[kind];
	size_t common = 0;
	*ret_all = 0;
	m->pieces.n = 0;
	if (!t->slots && (!pieces_of(m->data, m->len, kind, &m->pieces) || !tally_make(&m->pieces, t)))
		return UINT64_MAX - 1;
	m->pieces.n = 0;
	if (!t->left || !pieces_of(a, alen, kind, &m->pieces))
		return UINT64_MAX - 1;
	memcpy(t->left, t->count, t->slots * sizeof(*t->left));
	for (size_t k = 0; k < m->pieces.n; k++) {
		size_t i = slot_of(t, m->pieces.hash[k]);
		if (t->left[i]) {
			t->left[i]--;
			common++;
		}
	}
	*ret_all = m->pieces.n + t->n;
	return *ret_all - 2 * common;
}

/* *ret_shares: there is a value or at least a key that both have; a line or at least a word. */
static uint64_t distance(struct measure *m, const void *a, size_t alen, bool text, bool *ret_shares)
{
	uint64_t all;
	*ret_shares = true;
	if (alen == m->len && memcmp(a, m->data, alen) == 0)
		return 0;
	uint64_t d = differing(m, a, alen, text ? PIECE_LINE : PIECE_VALUE, &all);
	if (d == all) {
		uint64_t less = differing(m, a, alen, text ? PIECE_WORD : PIECE_KEY, &all);
		*ret_shares = less < all;
	}
	return d;
}

uint64_t base_distance(const void *a, size_t alen, const void *b, size_t blen)
{
	_cleanup_(measure_done) struct measure m = { .data = b, .len = blen };
	bool shares;
	return distance(&m, a, alen, false, &shares);
}

/* ---- finding ---- */

/* Of two that differ as much. `jq .n+=1 f > t && mv t f` in a loop makes every version a base in its
 * turn, and each time the temp file comes first. */
static bool likelier(const struct candidate *x, const struct candidate *than)
{
	if (x->then)
		return false;
	if (x->fresh != than->fresh)
		return x->fresh;
	return than->used && (!x->used || x->used > than->used);
}

/* Of several: the smallest difference that is not empty; of equal ones that which was opened
 * since the temp file was made, or was no base yet, the older first. New content that has
 * nothing in common with any of them says nothing about which one it was made of: then the one seen
 * last, because somebody who replaces everything means what he saw to go. */
static struct version *nearest(const struct candidate *v, size_t n, const struct base_question *q)
{
	_cleanup_(measure_done) struct measure m = { .data = q->data, .len = q->len };
	const struct candidate *best = NULL, *same = NULL;
	uint64_t least = UINT64_MAX;
	bool any = false, alike = false;
	for (size_t i = 0; i < n; i++) {
		const void *data = version_data(v[i].version);
		if (!data || !q->data)
			continue;
		bool shares;
		uint64_t d = distance(&m, data, (size_t)version_size(v[i].version),
				      version_form(v[i].version) == FORM_TEXT, &shares);
		any = true;
		alike |= shares;
		if (d == 0 && !same)
			same = &v[i];
		if (d > 0 && (d < least || (d == least && likelier(&v[i], best)))) {
			least = d;
			best = &v[i];
		}
	}
	if (any && !alike)
		return v[n - 1].version;
	if (best)
		return best->version;
	return same ? same->version : v[0].version;
}

/* What was there when the temp file was made: the newest that anybody had seen. Referenced. */
static struct version *find_then(struct bases *b, const struct base_question *q)
{
	struct candidate v[CANDIDATES];
	if (q->then)
		return version_ref(q->then);
	pthread_mutex_lock(&b->lock);
	size_t n = collect(b, q, BY_ANYBODY, v);
	pthread_mutex_unlock(&b->lock);
	for (size_t i = 0; i + 1 < n; i++)
		version_unref(v[i].version);
	return n ? v[n - 1].version : NULL;
}

/* Rule 3 among those that match, and `then` (may be NULL) after them. Referenced. */
static struct version *find_strangers(struct bases *b, const struct base_question *q,
				      enum match how, struct version *then)
{
	struct candidate v[CANDIDATES + 1];
	pthread_mutex_lock(&b->lock);
	size_t n = collect(b, q, how, v);
	pthread_mutex_unlock(&b->lock);
	if (n == 0)
		return NULL;
	if (then)
		v[n++] = (struct candidate){ .version = version_ref(then), .then = true };
	struct version *found = version_ref(nearest(v, n, q));
	for (size_t i = 0; i < n; i++)
		version_unref(v[i].version);
	pthread_mutex_lock(&b->lock);
	mark_used(b, q, how, found);
	pthread_mutex_unlock(&b->lock);
	return found;
}

struct version *bases_find(struct bases *b, const struct base_question *q, int *ret_rule)
{
	*ret_rule = 2;
	pthread_mutex_lock(&b->lock);
	struct version *v = find_own(b, q);
	pthread_mutex_unlock(&b->lock);
	if (v)
		return v;
	*ret_rule = 3;
	v = find_strangers(b, q, BY_GROUP, NULL);
	if (!v)
		v = find_strangers(b, q, BY_SESSION, NULL);
	if (v)
		return v;
	_cleanup_(version_unrefp) struct version *then = find_then(b, q);
	if (q->earlier_ns && q->data) {
		struct base_question earlier = *q;
		earlier.since_ns = q->earlier_ns;
		v = find_strangers(b, &earlier, BY_SESSION, then);
	}
	if (v)
		return v;
	*ret_rule = then ? 4 : 0;
	return TAKE_PTR(then);
}

uint64_t bases_bytes(struct bases *b)
{
	pthread_mutex_lock(&b->lock);
	uint64_t n = b->bytes;
	pthread_mutex_unlock(&b->lock);
	return n;
}

/* ---- handing over ---- */

/* What the record cannot be read of is no base any more, and no reason to hand nothing over. */
static bool can_be_saved(const struct note *n)
{
	return version_load(n->version) == 0;
}

void bases_save(struct bases *b, struct saver *s)
{
	uint64_t count = 0;
	pthread_mutex_lock(&b->lock);
	for (const struct note *n = b->oldest; n; n = n->next)
		count += can_be_saved(n);
	save_u64(s, b->saves);
	save_proc(s, &b->backup_proc);
	save_id(s, &b->backup_node);
	save_u64(s, (uint64_t)b->backup_ns);
	save_u64(s, count);
	for (const struct note *n = b->oldest; n; n = n->next) {
		if (!can_be_saved(n))
			continue;
		save_id(s, &n->node);
		save_proc(s, &n->proc);
		save_version(s, n->version);
		save_u64(s, (uint64_t)n->at_ns);
		save_bool(s, n->backup);
		save_bool(s, n->wrote);
		save_u64(s, n->used);
	}
	pthread_mutex_unlock(&b->lock);
}

static int load_note(struct bases *b, struct loader *l)
{
	struct note *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	load_id(l, &n->node);
	load_proc(l, &n->proc);
	n->version = load_version(l);
	n->at_ns = (int64_t)load_u64(l);
	n->backup = load_bool(l);
	n->wrote = load_bool(l);
	n->used = load_u64(l);
	int r = n->version ? note_add(b, n) : -EBADMSG;
	if (r == 0)
		return 0;
	if (n->version)
		version_unref(n->version);
	free(n);
	return r;
}

void bases_load(struct bases *b, struct loader *l)
{
	b->saves = load_u64(l);
	load_proc(l, &b->backup_proc);
	load_id(l, &b->backup_node);
	b->backup_ns = (int64_t)load_u64(l);
	for (uint64_t n = load_count(l); n && load_ok(l); n--) {
		int r = load_note(b, l);
		if (r < 0)
			load_fail(l, r);
	}
}
