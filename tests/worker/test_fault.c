/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: what is read from the option, and that a fault happens where it is meant and
 * nowhere else. Those that end a process happen to a child. */
#include "worker/fault.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void faults_are_read(void **state) {
    (void)state;
    struct fault fault;
    assert_int_equal(fault_parse(&fault, "exchange/17:2:kill", NULL), OK);
    assert_int_equal(fault.phase, PHASE_EXCHANGE);
    assert_false(fault.any_layer);
    assert_int_equal(fault.layer, 17);
    assert_int_equal(fault.rank_idx, 2);
    assert_int_equal(fault.action, FAULT_KILL);
    assert_int_equal(fault_parse(&fault, "self-test:1023:hang", NULL), OK);
    assert_int_equal(fault.phase, PHASE_SELF_TEST);
    assert_true(fault.any_layer);
    assert_int_equal(fault.rank_idx, 1023);
    assert_int_equal(fault.action, FAULT_HANG);
}

static void what_is_no_fault_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        ":",
                                        "::",
                                        "step",
                                        "step:1",
                                        "step:1:",
                                        "step:1:kill:",
                                        "step:1:killed",
                                        "steps:1:kill",
                                        "step/:1:kill",
                                        "step/x:1:kill",
                                        "step/1/2:1:kill",
                                        "step:-1:kill",
                                        "step: 1:kill",
                                        "step:1000000000:kill",
                                        "STEP:1:kill"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct fault fault;
        struct error err = {0};
        if (fault_parse(&fault, wrong[i], &err) != ERR_INPUT)
            fail_msg("'%s' was accepted", wrong[i]);
        assert_non_null(strstr(err.text, "PHASE[/LAYER]:RANK:ACTION"));
    }
}

static void a_fault_happens_at_its_place_only(void **state) {
    (void)state;
    struct fault fault;
    struct error err = {0};
    assert_int_equal(fault_here(NULL, PHASE_STEP, 3, 1, &err), OK);
    assert_int_equal(fault_parse(&fault, "step/3:1:error", NULL), OK);
    assert_int_equal(fault_here(&fault, PHASE_EXCHANGE, 3, 1, &err), OK);
    assert_int_equal(fault_here(&fault, PHASE_STEP, 2, 1, &err), OK);
    assert_int_equal(fault_here(&fault, PHASE_STEP, 3, 2, &err), OK);
    assert_int_equal(fault_here(&fault, PHASE_STEP, 3, 1, &err), ERR_DEVICE);
    assert_int_equal(fault_parse(&fault, "step:1:error", NULL), OK);
    assert_int_equal(fault_here(&fault, PHASE_STEP, 60, 1, &err), ERR_DEVICE);
}

/* How a child ends that has this fault at its load. */
static int child_status(const char *text, int options) {
    struct fault fault;
    int status = 0;
    assert_int_equal(fault_parse(&fault, text, NULL), OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fault_here(&fault, PHASE_LOAD, 0, 0, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, options), child);
    if (WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return status;
}

static void kill_and_stop_are_signals(void **state) {
    (void)state;
    int killed = child_status("load:0:kill", 0), stopped = child_status("load:0:stop", WUNTRACED);
    assert_true(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL);
    assert_true(WIFSTOPPED(stopped) && WSTOPSIG(stopped) == SIGSTOP);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_read),
        cmocka_unit_test(what_is_no_fault_is_refused),
        cmocka_unit_test(a_fault_happens_at_its_place_only),
        cmocka_unit_test(kill_and_stop_are_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
