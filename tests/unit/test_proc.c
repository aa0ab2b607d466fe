/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes, as /proc tells them. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fusefs/proc.h"
#include "tests/tap.h"

struct thread {
	atomic_int tid;
	atomic_bool stop;
};

static void *thread_main(void *userdata)
{
	struct thread *t = userdata;
	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&t->stop))
		usleep(1000);
	return NULL;
}

static void test_parse(void)
{
	struct proc p;
	char state;
	const char *text = "42 (a) b (c) S 1 40 39 34816 40 4194304 1 2 3 4 5 6 7 8 20 0 1 0 "
			   "987654 1 2";
	is_int(proc_parse_stat(text, &state, &p), 0, "a name with blanks and parentheses");
	ok(p.tgid == 42 && p.pgrp == 40 && p.session == 39 && state == 'S', "ids");
	is_uint(p.start, 987654, "start time");
	is_errno(proc_parse_stat("42 (a", &state, &p), -EBADMSG, "cut short");
	is_errno(proc_parse_stat("", &state, &p), -EBADMSG, "nothing");
	is_errno(proc_parse_stat("42 (a) S 1 2 3 4", &state, &p), -EBADMSG, "too few fields");
	is_int(proc_parse_tgid("Name:\tx\nTgid:\t77\nPid:\t78\n"), 77, "thread group");
	is_int(proc_parse_tgid("Name:\tx\n"), 0, "none");
}

static void test_self(void)
{
	struct proc self, by_thread, child;
	struct thread t = { 0 };
	pthread_t thread;
	proc_of(getpid(), &self);
	ok(self.tgid == getpid() && self.pgrp == getpgrp() && self.session == getsid(0), "oneself");
	if (pthread_create(&thread, NULL, thread_main, &t))
		tap_bail("no thread");
	while (!atomic_load(&t.tid))
		usleep(1000);
	proc_of(atomic_load(&t.tid), &by_thread);
	ok(proc_same(&self, &by_thread), "a thread belongs to its process");
	ok(proc_has_thread(&self, atomic_load(&t.tid)), "which has it");
	atomic_store(&t.stop, true);
	pthread_join(thread, NULL);

	int fd[2];
	if (pipe(fd) < 0)
		tap_bail("no pipe");
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		close(fd[1]);
		_exit(read(fd[0], &c, 1) < 0);
	}
	close(fd[0]);
	proc_of(pid, &child);
	ok(!proc_same(&self, &child) && child.pgrp == self.pgrp && proc_alive(&child),
	   "a child is another process of the group");
	ok(!proc_has_thread(&child, getpid()), "and has other threads");
	close(fd[1]);
	waitpid(pid, NULL, 0);
	ok(!proc_alive(&child), "until it is gone");
	proc_of(pid, &child);
	ok(child.tgid == 0 && !proc_same(&child, &child), "and what is gone is nobody");
}

int main(void)
{
	tap_plan(15);
	test_parse();
	test_self();
	return tap_done();
}
