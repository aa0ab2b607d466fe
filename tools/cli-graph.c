/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `peers --graph` and `--dot`: a drawing, and input for Graphviz. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"

#define COLUMNS 80
#define TREE_MAX 40  /* columns of names with their branches */
#define BRANCH_MAX 24 /* of these without the name: what is farther away begins with … */

struct point {
	const struct json *said;
	const char *name, *id;
	uint32_t through; /* UINT32_MAX: this device */
	const struct json *link; /* to that one; NULL: there is none */
	uint32_t first, next; /* points that are reached through it: a list; UINT32_MAX: its end */
	bool told_of; /* hearsay */
};

struct edge {
	const struct json *said;
	uint32_t a, b;
	bool drawn;
};

struct drawing {
	struct arena *a;
	struct point *point;
	uint32_t n;
	struct edge *edge;
	uint32_t n_edges;
	unsigned width; /* of the names with their branches */
	bool ascii;
};

#define NOBODY UINT32_MAX

static unsigned columns(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Prints at most that many columns of text, and pads them. */
static void put_columns(const struct drawing *d, const char *text, unsigned max, bool pad)
{
	const char *more = d->ascii ? "~" : "…";
	unsigned n = columns(text), left = n > max ? max - 1 : n;
	for (const char *p = text; *p; p++) {
		if (((unsigned char)*p & 0xc0) != 0x80 && left-- == 0)
			break;
		putchar(*p);
	}
	if (n > max)
		fputs(more, stdout);
	for (; pad && n < max; n++)
		putchar(' ');
}

/* ---- reading the answer ---- */

static uint32_t point_at(const struct drawing *d, const char *id)
{
	for (uint32_t i = 0; id && i < d->n; i++)
		if (strcmp(d->point[i].id, id) == 0)
			return i;
	return NOBODY;
}

static int read_points(struct drawing *d, const struct json *list)
{
	d->point = calloc(list->count + 1, sizeof(*d->point));
	if (!d->point)
		return -ENOMEM;
	for (const struct json *v = list->first; v; v = v->next) {
		struct point *p = &d->point[d->n];
		*p = (struct point){ .said = v, .first = NOBODY, .next = NOBODY };
		p->name = cli_text(d->a, v, "device", "?");
		p->id = cli_text(d->a, v, "id", "");
		p->through = point_at(d, cli_text(d->a, v, "through_id", NULL));
		p->told_of = strcmp(cli_text(d->a, v, "known", ""), "hearsay") == 0;
		d->n++;
	}
	return 0;
}

static int read_edges(struct drawing *d, const struct json *list)
{
	d->edge = calloc(list->count + 1, sizeof(*d->edge));
	if (!d->edge)
		return -ENOMEM;
	for (const struct json *v = list->first; v; v = v->next) {
		struct edge e = { .said = v, .a = point_at(d, cli_text(d->a, v, "a_id", NULL)) };
		e.b = point_at(d, cli_text(d->a, v, "b_id", NULL));
		if (e.a == NOBODY || e.b == NOBODY)
			continue;
		/* The nearer one comes first, in the list as well. */
		struct point *p = &d->point[e.b];
		if (p->through == e.a && !p->link) {
			p->link = v;
			e.drawn = true;
		}
		d->edge[d->n_edges++] = e;
	}
	return 0;
}

static int name_cmp(const void *a, const void *b, void *points)
{
	const struct point *x = (struct point *)points + *(const uint32_t *)a;
	const struct point *y = (struct point *)points + *(const uint32_t *)b;
	int c = strcmp(x->name, y->name);
	return c ? c : strcmp(x->id, y->id);
}

/* Who is reached through whom, by name. */
static int grow(struct drawing *d)
{
	_cleanup_free_ uint32_t *order = calloc(d->n + 1, sizeof(*order));
	if (!order)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++)
		order[i] = i;
	qsort_r(order, d->n, sizeof(*order), name_cmp, d->point);
	for (uint32_t i = d->n; i-- > 0;) {
		struct point *p = &d->point[order[i]];
		if (p->through == NOBODY)
			continue;
		p->next = d->point[p->through].first;
		d->point[p->through].first = order[i];
	}
	return 0;
}

/* ---- drawing ---- */

/* The branches before a name: of those above whether more comes under them. */
static void branches(const struct drawing *d, uint32_t i, struct buf *b)
{
	const struct point *p = &d->point[i];
	if (p->through == NOBODY)
		return;
	_cleanup_(buf_done) struct buf all = { 0 };
	uint32_t way[64], n = 0;
	for (uint32_t at = p->through; n < 64 && at != NOBODY && d->point[at].through != NOBODY;
	     at = d->point[at].through)
		way[n++] = at;
	const uint32_t shown = n < BRANCH_MAX / 3 - 1 ? n : BRANCH_MAX / 3 - 1;
	if (shown < n)
		buf_puts(b, d->ascii ? "~ " : "… ");
	for (uint32_t k = shown; k-- > 0;)
		buf_puts(b, d->point[way[k]].next == NOBODY ? "   " : d->ascii ? "|  " : "│  ");
	if (p->next == NOBODY)
		buf_puts(b, d->ascii ? "`- " : "└─ ");
	else
		buf_puts(b, d->ascii ? "|- " : "├─ ");
}

static void name_of(const struct drawing *d, uint32_t i, struct buf *b)
{
	branches(d, i, b);
	buf_puts(b, d->point[i].name);
}

static void put_link(const struct drawing *d, const struct json *link, bool hearsay)
{
	char rtt[HUMAN_SIZE] = "-", since[HUMAN_SIZE];
	if (cli_uint(link, "rtt_us"))
		human_time(cli_uint(link, "rtt_us"), rtt);
	human_time(cli_uint(link, "connected_s") * 1000000, since);
	printf("  ");
	put_columns(d, cli_text(d->a, link, "transport", "?"), 9, true);
	printf("  %-7s  for ", rtt);
	printf(hearsay ? "%-7s  hearsay\n" : "%s\n", cli_uint(link, "connected_s") ? since : "0 s");
}

static bool is_hearsay(const struct drawing *d, const struct json *link)
{
	return strcmp(cli_text(d->a, link, "known", ""), "hearsay") == 0;
}

static void put_point(const struct drawing *d, uint32_t i)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const struct point *p = &d->point[i];
	name_of(d, i, &b);
	const char *text = buf_cstr(&b);
	put_columns(d, text ? text : "?", d->width, p->link || p->through == NOBODY);
	if (p->through == NOBODY)
		puts("  this device");
	else if (p->link)
		put_link(d, p->link, is_hearsay(d, p->link));
	else
		putchar('\n');
}

/* Without recursion: others decide how deep it is. */
static void put_tree(const struct drawing *d)
{
	uint32_t at = 0;
	while (at != NOBODY && d->n > 0) {
		put_point(d, at);
		if (d->point[at].first != NOBODY) {
			at = d->point[at].first;
			continue;
		}
		while (at != NOBODY && d->point[at].next == NOBODY)
			at = d->point[at].through;
		if (at != NOBODY)
			at = d->point[at].next;
	}
}

static void put_others(const struct drawing *d)
{
	bool any = false;
	for (uint32_t i = 0; i < d->n_edges; i++) {
		const struct edge *e = &d->edge[i];
		_cleanup_(buf_done) struct buf b = { 0 };
		if (e->drawn)
			continue;
		if (!any)
			puts("\nAnd between them:");
		any = true;
		const char *a = d->point[e->a].name, *z = d->point[e->b].name;
		/* Half the room each, and what one does not need is the other's. */
		const unsigned room = d->width - 3, half = room / 2;
		const unsigned most = columns(z) < room - half ? room - columns(z) : half;
		const unsigned left = columns(a) < most ? columns(a) : most;
		put_columns(d, a, most, false);
		fputs(d->ascii ? " - " : " ─ ", stdout);
		put_columns(d, z, d->width - 3 - left, true);
		put_link(d, e->said, is_hearsay(d, e->said));
	}
}

static void put_untold(const struct drawing *d)
{
	for (uint32_t i = 0; i < d->n; i++) {
		const uint64_t n = cli_uint(d->point[i].said, "untold_links");
		if (n == 0)
			continue;
		put_columns(d, d->point[i].name, TREE_MAX, false);
		printf(" has %llu more link%s than it tells.\n", (unsigned long long)n, n == 1 ? "" : "s");
	}
}

static bool speaks_utf8(void)
{
	static const char *const variable[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	for (unsigned i = 0; i < 3; i++) {
		const char *v = getenv(variable[i]);
		if (v && *v)
			return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
	}
	return false;
}

static void draw(struct drawing *d, const struct json *answer)
{
	d->ascii = !speaks_utf8();
	for (uint32_t i = 0; i < d->n; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		name_of(d, i, &b);
		const char *text = buf_cstr(&b);
		const unsigned n = text ? columns(text) : 0;
		d->width = n > d->width ? n : d->width;
	}
	for (uint32_t i = 0; i < d->n_edges; i++) {
		const struct edge *e = &d->edge[i];
		const unsigned n = columns(d->point[e->a].name) + 3 + columns(d->point[e->b].name);
		if (!e->drawn && n > d->width)
			d->width = n;
	}
	d->width = d->width < TREE_MAX ? d->width : TREE_MAX;
	put_tree(d);
	put_others(d);
	put_untold(d);
	if (cli_uint(answer, "left_out"))
		printf("%llu more devices are left out.\n", (unsigned long long)cli_uint(answer, "left_out"));
	if (d->n == 1)
		puts("Nobody is here. `shoal devices` shows who was, `shoal connect HOST` asks there.");
}

/* ---- Graphviz ---- */

static void dot_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

static void put_dot(const struct drawing *d)
{
	puts("graph shoal {\n\tnode [shape=box];");
	for (uint32_t i = 0; i < d->n; i++) {
		const struct point *p = &d->point[i];
		putchar('\t');
		dot_string(p->id);
		fputs(" [label=", stdout);
		dot_string(p->name);
		printf("%s];\n", p->through == NOBODY ? ", style=bold" : p->told_of ? ", style=dashed" : "");
	}
	for (uint32_t i = 0; i < d->n_edges; i++) {
		const struct edge *e = &d->edge[i];
		char rtt[HUMAN_SIZE], label[2 * HUMAN_SIZE];
		const uint64_t us = cli_uint(e->said, "rtt_us");
		snprintf(label, sizeof(label), "%.20s%s%s", cli_text(d->a, e->said, "transport", "?"),
			 us ? " " : "", us ? human_time(us, rtt) : "");
		putchar('\t');
		dot_string(d->point[e->a].id);
		fputs(" -- ", stdout);
		dot_string(d->point[e->b].id);
		fputs(" [label=", stdout);
		dot_string(label);
		printf("%s];\n", is_hearsay(d, e->said) ? ", style=dashed" : "");
	}
	puts("}");
}

int cli_graph(struct cli *c)
{
	struct err e = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	struct drawing d = { .a = &a };
	struct json *answer = NULL;
	const bool dot = c->line.value[PEERS_DOT].set;
	if (dot && c->line.json)
		return cli_usage(c, "--dot and --json are two forms of the same: give one of them");
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = cli_ask(k, "graph", NULL, &text, &a, &answer, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	const struct json *devices = json_get_z(answer, "devices"), *links = json_get_z(answer, "links");
	r = devices && links ? read_points(&d, devices) : -EPROTO;
	if (r == 0)
		r = read_edges(&d, links);
	if (r == 0)
		r = grow(&d);
	if (r < 0)
		err_errno(&e, r, "cannot draw the graph");
	else if (dot)
		put_dot(&d);
	else
		draw(&d, answer);
	free(d.point);
	free(d.edge);
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}
