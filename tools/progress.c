/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000ull
#define EVERY (SECOND / 5)
#define WIDTH 80
#define BAR_MAX 30u
#define PAST (sizeof(((struct progress *)0)->past) / sizeof(((struct progress *)0)->past[0]))

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec / 1000;
}

/* 1234567 -> 1,234,567 */
static void put_count(struct buf *b, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf_u8(b, ',');
		buf_u8(b, (uint8_t)digits[i]);
	}
}

static void put_left(struct buf *b, double seconds)
{
	if (seconds < 90)
		buf_putf(b, "%.0f s left", seconds + 0.5);
	else if (seconds < 90 * 60)
		buf_putf(b, "%.0f min left", seconds / 60 + 0.5);
	else if (seconds < 1000 * 3600)
		buf_putf(b, "%.0f h left", seconds / 3600 + 0.5);
}

void progress_text(uint64_t done, uint64_t total, uint64_t count, const char *unit, double done_rate,
		   double count_rate, unsigned width, struct buf *ret)
{
	_cleanup_(buf_done) struct buf tail = { 0 };
	const double part = total && done < total ? (double)done / (double)total : 1;
	put_count(&tail, count);
	buf_putf(&tail, " %s", unit);
	if (count_rate >= 1) {
		buf_puts(&tail, "  ");
		put_count(&tail, (uint64_t)count_rate);
		buf_puts(&tail, "/s");
	}
	if (total && done < total && done_rate > 0) {
		buf_puts(&tail, "  ");
		put_left(&tail, (double)(total - done) / done_rate);
	}
	buf_reset(ret);
	if (total) {
		const unsigned room = width > tail.len + 10 ? width - (unsigned)tail.len - 10 : 0;
		const unsigned bar = room < BAR_MAX ? room : BAR_MAX, full = (unsigned)(part * bar);
		buf_putf(ret, "%3u%% ", (unsigned)(part * 100));
		if (bar >= 5) {
			buf_u8(ret, '[');
			for (unsigned i = 0; i < bar; i++)
				buf_u8(ret, i < full ? '#' : ' ');
			buf_puts(ret, "] ");
		}
	}
	buf_put(ret, tail.data, tail.len);
	if (ret->len >= width && width)
		ret->len = width - 1;
}

void progress_begin(struct progress *p, const char *unit, uint64_t total)
{
	*p = (struct progress){ .unit = unit, .total = total, .terminal = isatty(STDERR_FILENO), .began_us = now_us() };
}

void progress_at(struct progress *p, uint64_t done, uint64_t count)
{
	_cleanup_(buf_done) struct buf line = { 0 };
	struct winsize size = { 0 };
	if (!p->terminal)
		return;
	const uint64_t now = now_us();
	if (now < p->began_us + SECOND || now < p->shown_us + EVERY)
		return;
	/* The oldest moment that is kept, at first the beginning. */
	uint64_t since = p->began_us, done_then = 0, count_then = 0;
	if (p->n_past >= PAST) {
		const unsigned oldest = p->n_past % PAST;
		since = p->past[oldest].us;
		done_then = p->past[oldest].done;
		count_then = p->past[oldest].count;
	}
	p->past[p->n_past % PAST].us = now;
	p->past[p->n_past % PAST].done = done;
	p->past[p->n_past % PAST].count = count;
	p->n_past++;
	const double seconds = (double)(now - since) / 1e6;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		size.ws_col = WIDTH;
	progress_text(done, p->total, count, p->unit, (double)(done - done_then) / seconds,
		      (double)(count - count_then) / seconds, size.ws_col, &line);
	progress_clear(p);
	fwrite(line.data, 1, line.len, stderr);
	fflush(stderr);
	p->shown = true;
	p->shown_us = now;
}

void progress_clear(struct progress *p)
{
	if (!p->shown)
		return;
	/* Without escape sequences, which some terminals do not know. */
	struct winsize size = { 0 };
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		size.ws_col = WIDTH;
	fprintf(stderr, "\r%*s\r", size.ws_col - 1, "");
	fflush(stderr);
	p->shown = false;
}
