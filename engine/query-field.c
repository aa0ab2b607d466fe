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
		if (x->named)
			continue;
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
	*x = (struct query_field){ as, *p, arena_dup(&run->arena, b.data, b.len), arena_dup(&run->arena, source, len), false };
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
	for (uint32_t i = 0; spans && i < t->run->fields.n_uses; i++)
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

static bool is_range(const struct token *k)
{
	return is_op(k, "<") || is_op(k, ">") || is_op(k, "<=") || is_op(k, ">=");
}

/* The operand behind that token has no affinity, so that a column without one is compared with it as the value of a
 * function is. *ret_end: behind it. */
static bool is_plain(const struct tokens *t, size_t first, size_t *ret_end)
{
	uint32_t other;
	*ret_end = operand_end(t, first);
	enum operand is = *ret_end > first ? operand_is(t, first, *ret_end, NULL, &other) : OPERAND_OTHER;
	return is == OPERAND_CONSTANT || is == OPERAND_COMPUTED;
}

/* X BETWEEN Y AND Z */
static bool is_between(const struct tokens *t, size_t i)
{
	size_t end;
	return is_word(&t->token[i], "BETWEEN") && is_plain(t, i + 1, &end) && is_word(&t->token[end], "AND") &&
	       is_plain(t, end + 1, &end) && ends_expression(t, end);
}

/* X IN (Y, Z, ...) */
static bool is_in_list(const struct tokens *t, size_t i)
{
	if (!is_word(&t->token[i], "IN") || !is_op(&t->token[i + 1], "("))
		return false;
	for (i += 2;; i++) {
		if (!is_plain(t, i, &i))
			return false;
		if (!is_op(&t->token[i], ","))
			return is_op(&t->token[i], ")") && ends_expression(t, i + 1);
	}
}

/* X LIKE Y: arguments of functions have no affinity. */
static bool is_like(const struct tokens *t, size_t i)
{
	size_t end;
	return (is_word(&t->token[i], "LIKE") || is_word(&t->token[i], "GLOB")) && is_plain(t, i + 1, &end) &&
	       ends_expression(t, end);
}

/* ... ORDER BY ..., X ... in a query where nothing else has to be the same expression. */
static bool is_order(const struct tokens *t, const struct span *s)
{
	static const char *const words[] = { "UNION", "INTERSECT", "EXCEPT", "DISTINCT", "GROUP", "OVER", "WINDOW" };
	unsigned depth = 0;
	size_t i = s->first - 1;
	const struct token *behind = &t->token[s->end];
	if (!ends_expression(t, s->end) && !is_word(behind, "LIMIT") && !is_word(behind, "NULLS"))
		return false;
	for (size_t k = 1; k < t->n; k++)
		if (IS_ONE_OF(&t->token[k], words))
			return false;
	for (; i > 0; i--) {
		const struct token *k = &t->token[i];
		if (is_op(k, ")"))
			depth++;
		else if (is_op(k, "(") && depth-- == 0)
			return false;
		else if (depth == 0 && is_word(k, "BY") && is_word(k - 1, "ORDER"))
			return i == s->first - 1 || is_op(&t->token[s->first - 1], ",");
	}
	return false;
}

/* Where an index may be used, comparisons with what is known before are told as well. */
static bool is_for_index(struct tokens *t, const struct span *s, const struct query_use *u)
{
	const struct query_field *f = &t->run->fields.field[u->field];
	size_t end;
	if ((f->as != FIELD_VALUE && f->as != FIELD_EXTRACT) || !index_somewhere(t->run, &f->path))
		return false;
	if (begins_expression(t, s->first - 1)) {
		const struct token *k = &t->token[s->end];
		if ((is_range(k) || is_equality(k)) && is_plain(t, s->end + 1, &end) && ends_expression(t, end))
			return true;
		if (is_between(t, s->end) || is_in_list(t, s->end) || is_like(t, s->end))
			return true;
	}
	const struct token *k = &t->token[s->first - 1];
	if ((is_range(k) || is_equality(k)) && ends_expression(t, s->end)) {
		uint32_t other;
		size_t first = operand_begin(t, s->first - 1);
		enum operand is = first > 0 && first < s->first - 1 ? operand_is(t, first, s->first - 1, NULL, &other) : OPERAND_OTHER;
		return (is == OPERAND_CONSTANT || is == OPERAND_COMPUTED) && begins_expression(t, first - 1);
	}
	return is_order(t, s);
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

/* ---- indexed pointers as columns ---- */

bool fields_in_table(const struct query_field *f, const struct rows_index *x, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < x[i].n; k++)
			if (strcmp(x[i].pointer[k] + 1, f->name) == 0)
				return true;
	return false;
}

/* May it be a column's? */
static bool is_reference(const struct tokens *t, size_t i)
{
	static const char *const before[] = { "AS", "FROM", "JOIN", "WITH", "RECURSIVE", "COLLATE", "WINDOW", "OVER" };
	const struct token *k = &t->token[i];
	return !IS_ONE_OF(k - 1, before) && !is_op(k + 1, "(") && !is_op(k + 1, ".") &&
	       !(is_word(k + 1, "AS") && is_op(k + 2, "("));
}

/* /maker is the column maker, /owner/city the column "owner/city". */
static int add_named(struct query_run *run, const char *name, const struct jsonpath *path)
{
	static const char *const taken[] = { "_id", "_path", "_mtime", "_version", "body", "rowid", "oid", "_rowid_" };
	struct query_fields *f = &run->fields;
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (sqlite3_stricmp(name, taken[i]) == 0)
			return -EEXIST;
	for (uint32_t i = 0; i < f->n; i++)
		if (sqlite3_stricmp(f->field[i].name, name) == 0)
			return f->field[i].named && strcmp(f->field[i].name, name) == 0 ? 0 : -EEXIST;
	if (f->n == QUERY_FIELDS_MAX)
		return -E2BIG;
	f->field[f->n++] = (struct query_field){ FIELD_VALUE, *path, name, name, true };
	return 0;
}

static int take_named(struct tokens *t, size_t i, const char *name, const struct jsonpath *path, struct query_use *ret)
{
	size_t first = before_qualifier(t, i);
	const struct token *a = &t->token[first], *z = &t->token[i];
	int rc = add_named(t->run, name, path);
	if (rc == 0)
		rc = add_field(t->run, FIELD_VALUE, path, z->p, z->len);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	*ret = (struct query_use){ .from = (size_t)(a->p - t->text),
				   .to = (size_t)(z->p + z->len - t->text),
				   .qualifier = a->p,
				   .qualifier_len = (size_t)(z->p - a->p),
				   .field = (uint32_t)rc,
				   .named = true };
	return 1;
}

/* At a token that is the name of one. 1: it is a use. */
static int take_pointer(struct tokens *t, size_t i, struct query_use *ret)
{
	const struct rows_index *x;
	uint32_t n;
	if (!is_any_name(&t->token[i]) || !is_reference(t, i))
		return 0;
	int rc = rows_indexes(t->run->rows, NULL, &x, &n);
	for (uint32_t k = 0; rc == 0 && k < n; k++)
		for (uint32_t m = 0; m < x[k].n; m++)
			if (is_column(&t->token[i], x[k].pointer[m] + 1))
				return take_named(t, i, x[k].pointer[m] + 1, &x[k].path[m], ret);
	return rc;
}

bool fields_unname(struct query_run *run)
{
	bool any = false;
	for (uint32_t i = 0; i < run->fields.n_uses; i++) {
		struct query_use *u = &run->fields.use[i];
		any |= u->named && !u->off;
		u->off |= u->named;
	}
	return any;
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
		if (!is_column(&t.token[i], "body")) {
			rc = take_pointer(&t, i, &f->use[f->n_uses]);
			if (rc < 0)
				return rc;
			if (rc == 1)
				spans[f->n_uses++] = (struct span){ before_qualifier(&t, i), i + 1 };
			continue;
		}
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
		if (rc == 0 && !f->use[i].bare && is_for_index(&t, &spans[i], &f->use[i]))
			rc = make_bare(run, &f->use[i], false);
		if (rc < 0)
			return rc;
	}
	return 0;
}
