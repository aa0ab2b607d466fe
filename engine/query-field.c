/* SPDX-License-Identifier: GPL-2.0-or-later */

/* SQLite hands body ->> '$.path' to a function that gets a text: the whole document would have to be written and parsed
 * again for each value, and no table would ever be told that one is asked for. So, before SQLite sees the query, each
 * such place in its text is replaced by a hidden column of the tables, (+"name").
 *
 * The text is split into tokens, not parsed. That is enough to tell where a replacement means the same:
 * - ->> binds as || does, and from left to right; what stands in front says whether it begins an operand.
 * - The + takes away that a column has an affinity, which the value of a function has not either. Without it SQLite tells a
 *   table of comparisons. It is left out where both ways of comparing do the same and it is good for something: with another
 *   such place, with what is computed, and (as FIELD_TEXT) with _id, _path and _version, which are texts.
 * - Whether `body` is a table's column, only SQLite knows. Where it is that of a subquery, SQLite misses the hidden one, and
 *   the place is left as it was; and what the query reads as it is written is compared with what it reads now
 *   (query.c), so that a column of a table further out is not taken instead. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/query-impl.h"

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_QUOTED, TOKEN_TEXT, TOKEN_NUMBER, TOKEN_PARAM, TOKEN_OP };

struct token {
	enum token_kind kind;
	const char *p;
	size_t len;
};

struct tokens {
	struct query_run *run;
	const char *text;
	size_t len;
	struct token *token; /* ended by two TOKEN_END, and begun by one */
	size_t n;
};

/* ---- tokens ---- */

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
	return c == '_' || c == '$' || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c & 0x80;
}

static size_t quoted(const char *p, size_t left, char end)
{
	for (size_t i = 1; i < left; i++) {
		if (p[i] != end)
			continue;
		if (end == ']' || i + 1 >= left || p[i + 1] != end)
			return i + 1;
		i++;
	}
	return left;
}

static size_t comment(const char *p, size_t left)
{
	if (left > 1 && p[0] == '-' && p[1] == '-') {
		const char *nl = memchr(p, '\n', left);
		return nl ? (size_t)(nl - p) + 1 : left;
	}
	if (left > 1 && p[0] == '/' && p[1] == '*') {
		const char *end = left > 3 ? memmem(p + 2, left - 2, "*/", 2) : NULL;
		return end ? (size_t)(end - p) + 2 : left;
	}
	return 0;
}

static size_t operator(const char *p, size_t left)
{
	static const char *const list[] = { "->>", "->", "||", "==", "<=", ">=", "<>", "!=", "<<", ">>" };
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (strlen(list[i]) <= left && memcmp(p, list[i], strlen(list[i])) == 0)
			return strlen(list[i]);
	return 1;
}

static size_t number(const char *p, size_t left)
{
	size_t i = 0;
	while (i < left && (is_name(p[i]) || p[i] == '.' ||
			    ((p[i] == '+' || p[i] == '-') && i > 0 && (p[i - 1] == 'e' || p[i - 1] == 'E') &&
			     !(p[0] == '0' && (p[1] == 'x' || p[1] == 'X')))))
		i++;
	return i;
}

static size_t name(const char *p, size_t left)
{
	size_t i = 0;
	while (i < left && is_name(p[i]))
		i++;
	return i;
}

static struct token next_token(const char *p, size_t left)
{
	char c = p[0];
	if (c == '\'')
		return (struct token){ TOKEN_TEXT, p, quoted(p, left, c) };
	if (c == '"' || c == '`' || c == '[')
		return (struct token){ TOKEN_QUOTED, p, quoted(p, left, c == '[' ? ']' : c) };
	if ((c == 'x' || c == 'X') && left > 1 && p[1] == '\'')
		return (struct token){ TOKEN_TEXT, p, 1 + quoted(p + 1, left - 1, '\'') };
	if (is_digit(c) || (c == '.' && left > 1 && is_digit(p[1])))
		return (struct token){ TOKEN_NUMBER, p, number(p, left) };
	if (c == '?' || c == ':' || c == '@' || c == '$' || c == '#')
		return (struct token){ TOKEN_PARAM, p, 1 + name(p + 1, left - 1) };
	if (is_name(c))
		return (struct token){ TOKEN_NAME, p, name(p, left) };
	return (struct token){ TOKEN_OP, p, operator(p, left) };
}

static int tokenize(struct tokens *t)
{
	t->token = arena_array(&t->run->arena, t->len + 8, sizeof(*t->token));
	if (!t->token)
		return -ENOMEM;
	t->n = 1;
	for (size_t i = 0; i < t->len;) {
		size_t skip = is_space(t->text[i]) ? 1 : comment(t->text + i, t->len - i);
		if (skip == 0) {
			t->token[t->n] = next_token(t->text + i, t->len - i);
			skip = t->token[t->n++].len;
		}
		i += skip;
	}
	return 0;
}

static bool is_op(const struct token *k, const char *op)
{
	return k->kind == TOKEN_OP && k->len == strlen(op) && memcmp(k->p, op, k->len) == 0;
}

static bool is_word(const struct token *k, const char *word)
{
	return k->kind == TOKEN_NAME && k->len == strlen(word) && sqlite3_strnicmp(k->p, word, (int)k->len) == 0;
}

static bool is_one_of(const struct token *k, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_word(k, words[i]))
			return true;
	return false;
}
#define IS_ONE_OF(k, words) is_one_of(k, words, sizeof(words) / sizeof(*(words)))

/* A name, quoted or not. */
static bool is_column(const struct token *k, const char *column)
{
	size_t n = strlen(column);
	if (k->kind == TOKEN_QUOTED)
		return k->len == n + 2 && sqlite3_strnicmp(k->p + 1, column, (int)n) == 0;
	return is_word(k, column);
}

static bool is_any_name(const struct token *k)
{
	return k->kind == TOKEN_NAME || k->kind == TOKEN_QUOTED;
}

/* ---- uses ---- */

/* The first token of [qualifier .] that stands in front of a column. */
static size_t before_qualifier(const struct tokens *t, size_t i)
{
	for (int k = 0; k < 2 && i >= 3 && is_op(&t->token[i - 1], ".") && is_any_name(&t->token[i - 2]); k++)
		i -= 2;
	return i;
}

/* May an operand begin behind that token, whatever operators it takes? */
static bool begins_operand(const struct tokens *t, size_t before)
{
	const struct token *k = &t->token[before], *up = before > 0 ? k - 1 : k;
	if (is_op(k, "~") || is_op(k, "||") || is_op(k, "->") || is_op(k, "->>") || is_op(k, "."))
		return false;
	if (!is_op(k, "-") && !is_op(k, "+"))
		return true;
	/* Between two operands it is no sign. */
	return up->kind == TOKEN_NUMBER || up->kind == TOKEN_TEXT || up->kind == TOKEN_PARAM || up->kind == TOKEN_QUOTED ||
	       is_op(up, ")");
}

static int take_path(struct tokens *t, const struct token *k, bool short_form, struct jsonpath *ret)
{
	struct arena *a = &t->run->arena;
	if (k->kind == TOKEN_NUMBER)
		return jsonpath_parse(a, k->p, k->len, short_form, ret, NULL);
	if (k->kind != TOKEN_TEXT || k->p[0] != '\'' || k->len < 2 || k->p[k->len - 1] != '\'')
		return -EINVAL;
	char *text = arena_alloc(a, k->len);
	size_t n = 0;
	if (!text)
		return -ENOMEM;
	for (size_t i = 1; i + 1 < k->len; i++) {
		text[n++] = k->p[i];
		if (k->p[i] == '\'')
			i++;
	}
	return jsonpath_parse(a, text, n, short_form, ret, NULL);
}

static int add_field(struct query_run *run, enum field_as as, const struct jsonpath *p, const char *source, size_t len)
{
	static const char *const prefix[] = { "->>", "json_extract", "->", "text" };
	struct query_fields *f = &run->fields;
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, prefix[as]);
	buf_u8(&b, ' ');
	jsonpath_write(p, &b);
	const char *column = buf_cstr(&b);
	if (!column)
		return -ENOMEM;
	/* SQLite takes names that differ in the case of letters for one. */
	for (uint32_t i = 0; i < f->n; i++) {
		const struct query_field *x = &f->field[i];
		_cleanup_(buf_done) struct buf other = { 0 };
		buf_puts(&other, prefix[x->as]);
		buf_u8(&other, ' ');
		jsonpath_write(&x->path, &other);
		if (!buf_failed(&other) && other.len == b.len && memcmp(other.data, b.data, b.len) == 0)
			return (int)i;
	}
	if (f->n == QUERY_FIELDS_MAX)
		return -E2BIG;
	struct query_field *x = &f->field[f->n];
	for (uint32_t i = 0; i < f->n; i++)
		if (sqlite3_stricmp(f->field[i].name, column) == 0)
			buf_putf(&b, " %u", f->n);
	*x = (struct query_field){ as, *p, arena_dup(&run->arena, b.data, b.len), arena_dup(&run->arena, source, len) };
	return x->name && x->source ? (int)f->n++ : -ENOMEM;
}

/* At the token `body`: *ret_end is the token behind. 1: it is a use. */
static int take_use(struct tokens *t, size_t i, struct query_use *ret, size_t *ret_end)
{
	size_t first = before_qualifier(t, i), end = i + 1;
	enum field_as as = FIELD_VALUE;
	struct jsonpath p = { 0 };
	int rc = 0;
	const struct token *open = &t->token[first - 1];
	if (is_op(open, "(") && first >= 2 && is_word(open - 1, "json_extract") && is_op(&t->token[i + 1], ",") &&
	    is_op(&t->token[i + 3], ")")) {
		rc = take_path(t, &t->token[i + 2], false, &p);
		as = FIELD_EXTRACT;
		first -= 2;
		end = i + 4;
	} else if (begins_operand(t, first - 1)) {
		for (; rc == 0 && (is_op(&t->token[end], "->") || is_op(&t->token[end], "->>")); end += 2) {
			struct jsonpath step;
			if (end > i + 1 && as == FIELD_VALUE)
				break; /* into a text */
			rc = take_path(t, &t->token[end + 1], true, &step);
			if (rc == -EINVAL && end > i + 1) {
				rc = 0;
				break;
			}
			if (rc == 0)
				rc = jsonpath_join(&t->run->arena, &p, &step, &p);
			as = is_op(&t->token[end], "->") ? FIELD_JSON : FIELD_VALUE;
		}
	}
	if (rc < 0 || end == i + 1)
		return rc == -ENOMEM ? rc : 0;
	const struct token *a = &t->token[first], *z = &t->token[end - 1];
	const char *q = t->token[before_qualifier(t, i)].p;
	*ret = (struct query_use){ .from = (size_t)(a->p - t->text),
				   .to = (size_t)(z->p + z->len - t->text),
				   .qualifier = q,
				   .qualifier_len = (size_t)(t->token[i].p - q) };
	rc = add_field(t->run, as, &p, a->p, (size_t)(z->p + z->len - a->p));
	if (rc < 0)
		return rc == -E2BIG ? 0 : rc;
	ret->field = (uint32_t)rc;
	ret->bare = as == FIELD_JSON; /* always a text or NULL, which no affinity changes */
	*ret_end = end;
	return 1;
}

/* ---- comparisons ---- */

struct span { /* tokens of a use */
	size_t first, end;
};

static bool begins_expression(const struct tokens *t, size_t before)
{
	static const char *const words[] = { "WHERE", "ON", "HAVING", "WHEN", "THEN", "ELSE", "CASE", "SELECT", "DISTINCT", "BY" };
	const struct token *k = &t->token[before];
	if (k->kind == TOKEN_END || is_op(k, "(") || is_op(k, ",") || IS_ONE_OF(k, words))
		return true;
	if (is_word(k, "NOT"))
		return !is_word(k - 1, "IS");
	if (!is_word(k, "AND") && !is_word(k, "OR"))
		return false;
	/* Of BETWEEN it is another AND. */
	unsigned depth = 0;
	for (size_t i = before - 1; i > 0; i--) {
		k = &t->token[i];
		if (is_op(k, ")"))
			depth++;
		else if (is_op(k, "(") && depth-- == 0)
			break;
		else if (depth == 0 && (is_word(k, "AND") || is_word(k, "OR") || is_word(k, "WHERE") || is_word(k, "ON")))
			break;
		else if (depth == 0 && is_word(k, "BETWEEN"))
			return false;
	}
	return true;
}

static bool ends_expression(const struct tokens *t, size_t behind)
{
	static const char *const words[] = { "AND", "OR", "GROUP", "ORDER", "LIMIT", "HAVING", "WHERE", "THEN", "ELSE", "END", "WHEN",
					     "UNION", "EXCEPT", "INTERSECT", "JOIN", "LEFT", "INNER", "CROSS", "NATURAL", "FULL",
					     "RIGHT", "WINDOW", "ASC", "DESC", "AS", "FROM" };
	const struct token *k = &t->token[behind];
	return k->kind == TOKEN_END || is_op(k, ")") || is_op(k, ",") || is_op(k, ";") || IS_ONE_OF(k, words);
}

static bool is_equality(const struct token *k)
{
	return is_op(k, "=") || is_op(k, "==");
}

enum operand {
	OPERAND_OTHER,    /* may have an affinity */
	OPERAND_CONSTANT, /* nothing that rows are found by */
	OPERAND_COMPUTED,
	OPERAND_TEXT_COLUMN,
	OPERAND_USE,
};

/* The operand is made by an operator, or by a function but CAST: that has no affinity. */
static bool computes(const struct tokens *t, size_t first, size_t end)
{
	static const char *const ops[] = { "+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>", "->", "->>" };
	unsigned depth = 0;
	for (size_t i = first; i < end; i++) {
		const struct token *k = &t->token[i];
		if (is_op(k, "("))
			depth++;
		else if (is_op(k, ")"))
			depth--;
		for (size_t o = 0; depth == 0 && i > first && o < sizeof(ops) / sizeof(*ops); o++)
			if (is_op(k, ops[o]))
				return true;
	}
	return t->token[first].kind == TOKEN_NAME && end - first > 2 && is_op(&t->token[first + 1], "(") &&
	       is_op(&t->token[end - 1], ")") && !is_word(&t->token[first], "CAST");
}

/* What stands in the tokens [first, end). */
static enum operand operand_is(const struct tokens *t, size_t first, size_t end, const struct span *spans,
			       uint32_t *ret_use)
{
	const struct token *k = &t->token[first];
	size_t n = end - first;
	for (uint32_t i = 0; i < t->run->fields.n_uses; i++)
		if (spans[i].first == first && spans[i].end == end) {
			*ret_use = i;
			return OPERAND_USE;
		}
	if (n == 2 && (is_op(k, "-") || is_op(k, "+")) && k[1].kind == TOKEN_NUMBER)
		return OPERAND_CONSTANT;
	if (n == 1 && (k->kind == TOKEN_TEXT || k->kind == TOKEN_NUMBER || k->kind == TOKEN_PARAM || is_word(k, "NULL") ||
		       is_word(k, "TRUE") || is_word(k, "FALSE")))
		return OPERAND_CONSTANT;
	const struct token *last = &t->token[end - 1];
	if (n > 0 && n % 2 == 1 && before_qualifier(t, end - 1) == first &&
	    (is_column(last, "_id") || is_column(last, "_path") || is_column(last, "_version")))
		return OPERAND_TEXT_COLUMN;
	return computes(t, first, end) ? OPERAND_COMPUTED : OPERAND_OTHER;
}

/* Whole operands are up to so many tokens. */
#define OPERAND_TOKENS 64

static bool is_comparison(const struct token *k)
{
	static const char *const words[] = { "IS", "IN", "LIKE", "GLOB", "MATCH", "REGEXP", "BETWEEN", "NOT", "COLLATE", "ISNULL",
					     "NOTNULL", "ESCAPE" };
	static const char *const ops[] = { "=", "==", "<", ">", "<=", ">=", "<>", "!=" };
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (is_op(k, ops[i]))
			return true;
	return IS_ONE_OF(k, words);
}

/* Where the operand behind that token ends. */
static size_t operand_end(const struct tokens *t, size_t i)
{
	unsigned depth = 0;
	size_t n = i;
	for (; n < i + OPERAND_TOKENS && t->token[n].kind != TOKEN_END; n++) {
		const struct token *k = &t->token[n];
		if (depth == 0 && (ends_expression(t, n) || is_comparison(k)))
			break;
		if (is_op(k, "("))
			depth++;
		else if (is_op(k, ")"))
			depth--;
	}
	return n;
}

/* Where the operand in front of that token begins. */
static size_t operand_begin(const struct tokens *t, size_t end)
{
	unsigned depth = 0;
	size_t n = end;
	for (; n > 1 && n + OPERAND_TOKENS > end; n--) {
		const struct token *k = &t->token[n - 1];
		if (depth == 0 && (is_op(k, "(") || begins_expression(t, n - 1) || is_comparison(k)))
			break;
		if (is_op(k, ")"))
			depth++;
		else if (is_op(k, "("))
			depth--;
	}
	return n;
}

static int make_bare(struct query_run *run, struct query_use *u, bool text)
{
	const struct query_field *f = &run->fields.field[u->field];
	if (f->as == FIELD_JSON)
		return 0;
	if (text) {
		int rc = add_field(run, FIELD_TEXT, &f->path, f->source, strlen(f->source));
		if (rc < 0)
			return rc == -E2BIG ? 0 : rc;
		u->field = (uint32_t)rc;
	}
	u->bare = true;
	return 0;
}

/* X = Y, as a whole expression, where X is a use. */
static int look_around(struct tokens *t, const struct span *spans, uint32_t i)
{
	struct query_fields *f = &t->run->fields;
	const struct span *s = &spans[i];
	size_t first, end;
	if (is_equality(&t->token[s->end]) && begins_expression(t, s->first - 1)) {
		first = s->end + 1;
		end = operand_end(t, first);
	} else if (is_equality(&t->token[s->first - 1]) && ends_expression(t, s->end)) {
		end = s->first - 1;
		first = operand_begin(t, end);
	} else {
		return 0;
	}
	bool whole = first > s->first ? ends_expression(t, end) : first > 0 && begins_expression(t, first - 1);
	uint32_t other;
	if (!whole || end <= first)
		return 0;
	switch (operand_is(t, first, end, spans, &other)) {
	case OPERAND_OTHER:
	case OPERAND_CONSTANT:
		return 0;
	case OPERAND_COMPUTED:
		return make_bare(t->run, &f->use[i], false);
	case OPERAND_TEXT_COLUMN:
		return make_bare(t->run, &f->use[i], true);
	case OPERAND_USE: {
		int rc = make_bare(t->run, &f->use[i], false);
		return rc < 0 ? rc : make_bare(t->run, &f->use[other], false);
	}
	}
	return 0;
}

int fields_find(struct query_run *run)
{
	struct tokens t = { .run = run, .text = run->q->sql, .len = run->q->len };
	struct query_fields *f = &run->fields;
	int rc = tokenize(&t);
	if (rc < 0)
		return rc;
	f->use = arena_array(&run->arena, t.n, sizeof(*f->use));
	struct span *spans = arena_array(&run->arena, t.n, sizeof(*spans));
	if (!f->use || !spans)
		return -ENOMEM;
	for (size_t i = 1; i < t.n; i++) {
		size_t end;
		if (!is_column(&t.token[i], "body"))
			continue;
		rc = take_use(&t, i, &f->use[f->n_uses], &end);
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		size_t first = before_qualifier(&t, i);
		if (f->field[f->use[f->n_uses].field].as == FIELD_EXTRACT && t.token[first].p > t.text + f->use[f->n_uses].from)
			first -= 2;
		spans[f->n_uses++] = (struct span){ first, end };
		i = end - 1;
	}
	for (uint32_t i = 0; i < f->n_uses; i++) {
		rc = look_around(&t, spans, i);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the text that SQLite gets ---- */

static void put_column(struct buf *b, const char *column)
{
	buf_u8(b, '"');
	for (const char *p = column; *p; p++) {
		if (*p == '"')
			buf_u8(b, '"');
		buf_u8(b, (uint8_t)*p);
	}
	buf_u8(b, '"');
}

int fields_write(struct query_run *run, struct buf *ret)
{
	const struct query *q = run->q;
	struct query_fields *f = &run->fields;
	size_t done = 0;
	buf_reset(ret);
	for (uint32_t i = 0; i < f->n_uses; i++) {
		struct query_use *u = &f->use[i];
		if (u->off)
			continue;
		buf_put(ret, q->sql + done, u->from - done);
		u->at = ret->len;
		buf_puts(ret, u->bare ? "" : "(+");
		buf_put(ret, u->qualifier, u->qualifier_len);
		put_column(ret, f->field[u->field].name);
		buf_puts(ret, u->bare ? "" : ")");
		u->len = ret->len - u->at;
		done = u->to;
	}
	buf_put(ret, q->sql + done, q->len - done);
	return buf_failed(ret) ? -ENOMEM : 0;
}

size_t fields_source(const struct query_run *run, size_t at)
{
	const struct query_fields *f = &run->fields;
	size_t more = 0, less = 0;
	for (uint32_t i = 0; i < f->n_uses; i++) {
		const struct query_use *u = &f->use[i];
		if (u->off)
			continue;
		if (at < u->at)
			break;
		if (at < u->at + u->len)
			return u->from;
		more += u->to - u->from;
		less += u->len;
	}
	return at + more - less;
}

struct query_use *fields_use(struct query_run *run, size_t at)
{
	struct query_fields *f = &run->fields;
	for (uint32_t i = 0; i < f->n_uses; i++) {
		struct query_use *u = &f->use[i];
		if (!u->off && at >= u->at && at < u->at + u->len)
			return u;
	}
	return NULL;
}

const struct query_field *fields_column(const struct query_run *run, const char *column)
{
	for (uint32_t i = 0; i < run->fields.n; i++)
		if (strcmp(run->fields.field[i].name, column) == 0)
			return &run->fields.field[i];
	return NULL;
}

void fields_name(struct query_run *run, const char *name, struct buf *ret)
{
	const struct query_fields *f = &run->fields;
	const struct query_field *whole = fields_column(run, name);
	/* The name of a column, or the text of an expression, in which columns stand. */
	_cleanup_(buf_done) struct buf made = { 0 };
	if (fields_write(run, &made) < 0)
		return;
	while (*name) {
		const struct query_use *found = NULL;
		for (uint32_t i = 0; i < f->n_uses && !found; i++) {
			/* Equal ones come in the order in which they stand there. */
			const struct query_use *u = &f->use[(i + run->named) % f->n_uses];
			if (!u->off && (whole ? &f->field[u->field] == whole :
						strncmp(name, (const char *)made.data + u->at, u->len) == 0))
				found = u;
		}
		if (found)
			run->named = (uint32_t)(found - f->use) + 1;
		if (whole) {
			buf_put(ret, found ? run->q->sql + found->from : whole->source,
				found ? found->to - found->from : strlen(whole->source));
			return;
		}
		if (found) {
			buf_put(ret, run->q->sql + found->from, found->to - found->from);
			name += found->len;
		} else {
			buf_u8(ret, (uint8_t)*name++);
		}
	}
}
