/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A test is one program: its state may be global. */
static struct {
	unsigned planned;
	unsigned run;
	unsigned failed;
	bool done;
	pid_t pid;
	char *tmpdir;
} tap;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void tap_leave(void)
{
	if (tap.pid != getpid()) /* a child of the test that called exit */
		return;
	if (tap.tmpdir) {
		nftw(tap.tmpdir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		free(tap.tmpdir);
		tap.tmpdir = NULL;
	}
	if (tap.done)
		return;
	printf("# left early: %u of %u cases run\n", tap.run, tap.planned);
	fflush(stdout);
	_exit(1);
}

void tap_plan(unsigned n)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	tap.planned = n;
	tap.pid = getpid();
	atexit(tap_leave);
	printf("1..%u\n", n);
}

int tap_done(void)
{
	tap.done = true;
	bool complete = tap.run == tap.planned;
	if (!complete)
		printf("# planned %u cases but ran %u\n", tap.planned, tap.run);
	printf("# %s: %u passed, %u failed\n", program_invocation_short_name, tap.run - tap.failed,
	       tap.failed);
	return complete && tap.failed == 0 ? 0 : 1;
}

/* Every line of the text becomes a comment. */
static void comment(const char *fmt, va_list ap)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		return;
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		printf("#   %.*s\n", (int)n, p);
		p += n + (p[n] == '\n');
	}
	free(text);
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	comment(fmt, ap);
	va_end(ap);
}

void tap_bail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("Bail out! ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	fflush(stdout);
	exit(1);
}

static bool number_of(const char *text, uint64_t *ret)
{
	if (!text || *text < '0' || *text > '9')
		return false;
	char *end = NULL;
	errno = 0;
	uint64_t v = strtoull(text, &end, 0);
	if (errno || *end)
		return false;
	*ret = v;
	return true;
}

uint64_t tap_seed(int argc, char **argv)
{
	uint64_t seed = 0;
	const char *given = argc > 1 ? argv[1] : getenv("SHOAL_SEED");
	if (given) {
		if (!number_of(given, &seed))
			tap_bail("the seed \"%s\" is not a number", given);
	} else {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		seed = ((uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec) % 1000000000u;
	}
	printf("# seed %" PRIu64 "; again with: %s %" PRIu64 "\n", seed, argv[0], seed);
	return seed;
}

uint64_t tap_rounds(int argc, char **argv, uint64_t normal)
{
	uint64_t n = normal;
	const char *most = getenv("SHOAL_ROUNDS"), *given = argc > 2 ? argv[2] : most;
	if (given && !number_of(given, &n))
		tap_bail("the number of rounds \"%s\" is not a number", given);
	return given == most && n > normal ? normal : n;
}

char *tap_data(const char *name)
{
	const char *dir = getenv("SHOAL_TEST_DATA");
	char *path = NULL;
	if (asprintf(&path, "%s/%s", dir ? dir : "../shared/data", name) < 0)
		tap_bail("out of memory");
	if (access(path, R_OK) < 0)
		tap_bail("test data %s: %s; set SHOAL_TEST_DATA to its directory", path,
			 strerror(errno));
	return path;
}

char *tap_source(const char *name)
{
	const char *dir = getenv("srcdir");
	char *path = NULL;
	if (asprintf(&path, "%s/%s", dir ? dir : ".", name) < 0)
		tap_bail("out of memory");
	return path;
}

const char *tap_tmpdir(void)
{
	if (tap.tmpdir)
		return tap.tmpdir;
	const char *base = getenv("TMPDIR");
	if (asprintf(&tap.tmpdir, "%s/%s-XXXXXX", base ? base : "/tmp",
		     program_invocation_short_name) < 0)
		tap_bail("out of memory");
	if (!mkdtemp(tap.tmpdir))
		tap_bail("cannot make the directory %s: %s", tap.tmpdir, strerror(errno));
	return tap.tmpdir;
}

const char *tap_path(const char *name)
{
	static char text[16][512];
	static unsigned n;
	char *p = text[n++ % 16];
	if ((size_t)snprintf(p, sizeof(*text), "%s/%s", tap_tmpdir(), name) >= sizeof(*text))
		tap_bail("the path of %s is too long", name);
	return p;
}

char *tap_read_file(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	if (!f)
		tap_bail("cannot open %s: %s", path, strerror(errno));
	size_t len = 0, cap = 4096;
	char *data = malloc(cap + 1);
	while (data) {
		size_t n = fread(data + len, 1, cap - len, f);
		if (n == 0)
			break;
		len += n;
		if (len == cap) {
			cap *= 2;
			char *more = realloc(data, cap + 1);
			if (!more)
				free(data);
			data = more;
		}
	}
	if (!data || ferror(f))
		tap_bail("cannot read %s: %s", path, strerror(errno));
	fclose(f);
	data[len] = 0;
	if (ret_len)
		*ret_len = len;
	return data;
}

static bool result(bool pass, const char *file, int line, const char *fmt, va_list ap)
	__attribute__((__format__(__printf__, 4, 0)));

static bool result(bool pass, const char *file, int line, const char *fmt, va_list ap)
{
	tap.run++;
	printf("%s %u - ", pass ? "ok" : "not ok", tap.run);
	vprintf(fmt, ap);
	putchar('\n');
	if (!pass) {
		tap.failed++;
		printf("#   at %s:%d\n", file, line);
	}
	return pass;
}

#define RESULT(pass)                                          \
	({                                                    \
		va_list _ap;                                  \
		va_start(_ap, fmt);                           \
		bool _r = result(pass, file, line, fmt, _ap); \
		va_end(_ap);                                  \
		_r;                                           \
	})

bool tap_ok(bool pass, const char *file, int line, const char *expr, const char *fmt, ...)
{
	if (RESULT(pass))
		return true;
	printf("#   not true: %s\n", expr);
	return false;
}

bool tap_is_int(int64_t got, int64_t want, const char *file, int line, const char *fmt, ...)
{
	if (RESULT(got == want))
		return true;
	printf("#   got %" PRId64 ", wanted %" PRId64 "\n", got, want);
	return false;
}

bool tap_is_uint(uint64_t got, uint64_t want, const char *file, int line, const char *fmt, ...)
{
	if (RESULT(got == want))
		return true;
	printf("#   got %" PRIu64 " (0x%" PRIx64 "), wanted %" PRIu64 " (0x%" PRIx64 ")\n", got,
	       got, want, want);
	return false;
}

static void show_text(const char *label, const char *text)
{
	if (text)
		tap_diag("%s \"%s\"", label, text);
	else
		tap_diag("%s NULL", label);
}

bool tap_is_str(const char *got, const char *want, const char *file, int line, const char *fmt, ...)
{
	bool same = got && want ? strcmp(got, want) == 0 : got == want;
	if (RESULT(same))
		return true;
	show_text("got   ", got);
	show_text("wanted", want);
	return false;
}

/* Sixteen bytes from offset at: hexadecimal, then as text. */
static void show_bytes(const char *label, const uint8_t *data, size_t len, size_t at)
{
	char hex[16 * 3 + 1] = "", text[16 + 1] = "";
	size_t n = len > at ? len - at : 0;
	if (n > 16)
		n = 16;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = data[at + i];
		snprintf(hex + 3 * i, 4, "%02x ", c);
		text[i] = c >= ' ' && c < 127 ? (char)c : '.';
	}
	printf("#   %s %-48s |%s|\n", label, hex, text);
}

bool tap_is_mem(const void *got, size_t got_len, const void *want, size_t want_len,
		const char *file, int line, const char *fmt, ...)
{
	bool same = got_len == want_len &&
		    (got_len == 0 || (got && want && memcmp(got, want, got_len) == 0));
	if (RESULT(same))
		return true;
	const uint8_t *g = got, *w = want;
	size_t at = 0;
	while (g && w && at < got_len && at < want_len && g[at] == w[at])
		at++;
	printf("#   got %zu bytes, wanted %zu; they differ from offset %zu\n", got_len, want_len,
	       at);
	at -= at % 16;
	if (g)
		show_bytes("got   ", g, got_len, at);
	if (w)
		show_bytes("wanted", w, want_len, at);
	return false;
}

bool tap_is_errno(int64_t got, int want, const char *file, int line, const char *fmt, ...)
{
	if (RESULT(got == want))
		return true;
	const char *g = got < 0 && got > -4096 ? strerrorname_np((int)-got) : NULL;
	const char *w = want < 0 ? strerrorname_np(-want) : NULL;
	printf("#   got %" PRId64 "%s%s, wanted %d%s%s\n", got, g ? " -" : "", g ? g : "", want,
	       w ? " -" : "", w ? w : "");
	return false;
}

void tap_write(const char *name, const char *text)
{
	char full[4096], *slash;
	snprintf(full, sizeof(full), "%s", tap_path(name));
	for (slash = full + strlen(tap_tmpdir()) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(full, 0755);
		*slash = '/';
	}
	FILE *f = fopen(full, "we");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		tap_bail("cannot write %s", full);
}
