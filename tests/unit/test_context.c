/* Contexts: options, the default one, the kick signal, the log, forked children. */
#define _GNU_SOURCE
#include "context/context.h"
#include "context/control.h"
#include "os/os.h"
#include "sleeper_driver.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static hl_context *make(hl_context_options options)
{
    hl_context *context = NULL;
    options.size = sizeof options;
    assert_int_equal(hl_context_new(&options, &context, NULL), HL_OK);
    return context;
}

static void check_refused(hl_context_options options, hl_status status, const char *text)
{
    hl_context *context = (void *)1;
    hl_error err;
    options.size = sizeof options;
    assert_int_equal(hl_context_new(&options, &context, &err), status);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.message, text));
    assert_ptr_equal(context, (void *)1);
}

static bool is_default(int signal)
{
    struct sigaction now;
    sigaction(signal, NULL, &now);
    return !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

static int thread_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = -2; /* "." and ".." */
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

static void test_new_and_free(void **state)
{
    (void)state;
    hl_context *context = NULL;
    assert_int_equal(hl_context_new(NULL, &context, NULL), HL_OK);
    assert_int_equal(context->kick_signal, SIGRTMIN + 8);
    assert_int_equal(context->log_level, HL_LOG_WARN);
    assert_ptr_equal(context->driver, &sleeper_driver);
    assert_int_equal(hl__context_check(context, NULL), HL_OK);
    hl_context_free(context);
    hl_context_free(NULL);
}

static void test_bad_options(void **state)
{
    (void)state;
    hl_error err;
    check_refused((hl_context_options){.driver = "none such"}, HL_INVALID_ARGUMENT, "none such");
    check_refused((hl_context_options){.log_level = (hl_log_level)7}, HL_INVALID_ARGUMENT,
                  "log_level");
    check_refused((hl_context_options){.kick_signal = SIGTERM}, HL_INVALID_ARGUMENT, "kick_signal");
    check_refused((hl_context_options){.kick_signal = SIGRTMAX + 1}, HL_INVALID_ARGUMENT,
                  "kick_signal");
    check_refused((hl_context_options){.kick_signal = -1}, HL_INVALID_ARGUMENT, "kick_signal");
    assert_int_equal(hl_context_new(NULL, NULL, &err), HL_INVALID_ARGUMENT);
    assert_true(is_default(SLEEPER_SIGNAL));
}

static void test_signal_is_shared_and_restored(void **state)
{
    (void)state;
    hl_context *first = make((hl_context_options){.kick_signal = SIGRTMIN + 3});
    assert_false(is_default(SIGRTMIN + 3));
    assert_true(is_default(SLEEPER_SIGNAL));
    check_refused((hl_context_options){0}, HL_INVALID_ARGUMENT, "share one signal");
    hl_context *second = make((hl_context_options){.kick_signal = SIGRTMIN + 3});
    hl_context_free(first);
    assert_false(is_default(SIGRTMIN + 3));
    raise(SIGRTMIN + 3);
    hl_context_free(second);
    assert_true(is_default(SIGRTMIN + 3));
    hl_context_free(make((hl_context_options){0}));
}

static void ignore_nothing(int signal)
{
    (void)signal;
}

static void test_signal_in_use(void **state)
{
    (void)state;
    signal(SLEEPER_SIGNAL, ignore_nothing);
    check_refused((hl_context_options){0}, HL_SIGNAL_IN_USE, "hl_context_options.kick_signal");
    hl_context *context = make((hl_context_options){.kick_signal = SIGRTMIN + 4});
    hl_context_free(context);
    assert_ptr_equal(signal(SLEEPER_SIGNAL, SIG_IGN), ignore_nothing);
    check_refused((hl_context_options){0}, HL_SIGNAL_IN_USE, "SIGRTMIN+8");
    signal(SLEEPER_SIGNAL, SIG_DFL);
}

/* A handler that the host application installs later is its own. */
static void test_signal_taken_over(void **state)
{
    (void)state;
    hl_context *context = make((hl_context_options){0});
    signal(SLEEPER_SIGNAL, ignore_nothing);
    hl_context_free(context);
    assert_ptr_equal(signal(SLEEPER_SIGNAL, SIG_DFL), ignore_nothing);
}

/* A kick that comes when everything is gone would meet the default action. */
static void test_late_signal_is_dropped(void **state)
{
    (void)state;
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, SLEEPER_SIGNAL);
    hl_context *context = make((hl_context_options){0});
    pthread_sigmask(SIG_BLOCK, &kick, NULL);
    raise(SLEEPER_SIGNAL);
    hl_context_free(context);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void test_default_context(void **state)
{
    (void)state;
    hl_context *first = NULL, *second = NULL, *own = make((hl_context_options){0});
    assert_int_equal(hl__context_get(NULL, &first, NULL), HL_OK);
    assert_int_equal(hl__context_get(NULL, &second, NULL), HL_OK);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, own);
    hl__context_unref(first);
    hl__context_unref(second);
    assert_int_equal(hl__context_get(own, &first, NULL), HL_OK);
    assert_ptr_equal(first, own);
    hl__context_unref(first);
    hl_context_free(own);
    hl__context_unref(NULL);
    assert_true(is_default(SLEEPER_SIGNAL));
}

static void *get_and_drop(void *user)
{
    for (int i = 0; i < 500; i++) {
        hl_context *context;
        if (hl__context_get(NULL, &context, NULL) != HL_OK)
            return user;
        hl__context_unref(context);
    }
    return NULL;
}

static void test_default_context_in_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_and_drop, threads), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_true(is_default(SLEEPER_SIGNAL));
}

static void with_deadline(void)
{
    hl__control *control;
    assert_int_equal(hl__control_new(NULL, &control, NULL), HL_OK);
    uint64_t deadline = hl__os_monotonic_ns() + 1000000000;
    assert_int_equal(hl__control_begin(control, deadline, UINT64_MAX, NULL), HL_OK);
    assert_int_equal(hl__control_end(control), HL_OK);
    hl__control_unref(control);
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    with_deadline();
    int threads = thread_count();
    for (int i = 0; i < 50; i++)
        with_deadline();
    assert_int_equal(thread_count(), threads);
    assert_true(is_default(SLEEPER_SIGNAL));
}

static void test_watchdog_starts_with_the_first_deadline(void **state)
{
    (void)state;
    int threads = thread_count();
    hl__control *control;
    assert_int_equal(hl__control_new(NULL, &control, NULL), HL_OK);
    assert_int_equal(hl__control_begin(control, UINT64_MAX, UINT64_MAX, NULL), HL_OK);
    hl__control_end(control);
    assert_int_equal(thread_count(), threads);
    assert_int_equal(hl__control_begin(control, UINT64_MAX - 1, UINT64_MAX, NULL), HL_OK);
    hl__control_end(control);
    assert_int_equal(thread_count(), threads + 1);
    hl__control_unref(control);
    assert_int_equal(thread_count(), threads);
}

static void test_driver_info(void **state)
{
    (void)state;
    hl_context *context = make((hl_context_options){0});
    hl_driver_info info = {.size = sizeof info};
    assert_int_equal(hl_context_driver(context, &info, NULL), HL_OK);
    assert_string_equal(info.name, "sleeper");
    assert_int_equal(info.size, sizeof info);
    hl_error err;
    info.size = 0;
    assert_int_equal(hl_context_driver(context, &info, &err), HL_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "sizeof(hl_driver_info)"));
    assert_int_equal(hl_context_driver(NULL, &info, NULL), HL_INVALID_ARGUMENT);
    assert_int_equal(hl_context_driver(context, NULL, NULL), HL_INVALID_ARGUMENT);
    hl_context_free(context);
}

struct log {
    int count;
    hl_log_level level;
    hl_log_source source;
    char line[HL_LOG_LINE_MAX];
};

static void take_line(hl_log_level level, hl_log_source source, const char *line, void *user)
{
    struct log *log = user;
    log->count++;
    log->level = level;
    log->source = source;
    snprintf(log->line, sizeof log->line, "%s", line);
}

static void test_log_levels(void **state)
{
    (void)state;
    struct log log = {0};
    hl_context *context = make((hl_context_options){.log_sink = take_line, .log_user = &log});
    hl__log(context, HL_LOG_INFO, "no");
    assert_int_equal(log.count, 0);
    hl__log(context, HL_LOG_WARN, "number %d\n", 7);
    assert_int_equal(log.count, 1);
    assert_int_equal(log.level, HL_LOG_WARN);
    assert_int_equal(log.source, HL_LOG_HOST);
    assert_string_equal(log.line, "number 7\\x0a");
    hl_context_free(context);

    hl_context *silent = make(
        (hl_context_options){.log_sink = take_line, .log_user = &log, .log_level = HL_LOG_NONE});
    hl__log(silent, HL_LOG_ERROR, "no");
    hl__log_hostile(silent, HL_LOG_ERROR, HL_LOG_GUEST, "no", 2, false);
    assert_int_equal(log.count, 1);
    hl__log_hostile(silent, HL_LOG_TRACE, HL_LOG_SHIM, "yes", 3, true);
    assert_int_equal(log.count, 2);
    hl_context_free(silent);
}

static void test_log_of_hostile_text(void **state)
{
    (void)state;
    struct log log = {0};
    hl_context *context = make((hl_context_options){.log_sink = take_line, .log_user = &log});
    hl__log_hostile(context, HL_LOG_ERROR, HL_LOG_GUEST, "\x1b]0;x\a", 6, false);
    assert_int_equal(log.source, HL_LOG_GUEST);
    assert_string_equal(log.line, "\\x1b]0;x\\x07");
    char longer[3000];
    memset(longer, 'x', sizeof longer);
    hl__log_hostile(context, HL_LOG_ERROR, HL_LOG_GUEST, longer, sizeof longer, false);
    assert_int_equal(strlen(log.line), HL_LOG_LINE_MAX - 1);
    assert_string_equal(log.line + HL_LOG_LINE_MAX - 4, "...");
    hl_context_free(context);

    hl_context *deaf = make((hl_context_options){0});
    hl__log(deaf, HL_LOG_ERROR, "nobody listens");
    hl__log_hostile(deaf, HL_LOG_ERROR, HL_LOG_GUEST, "x", 1, true);
    hl_context_free(deaf);
}

static int in_child(hl_context *inherited)
{
    hl_error err;
    hl_context *own = NULL;
    if (hl__context_check(inherited, &err) != HL_FORKED || err.status != HL_FORKED)
        return 1;
    if (hl__context_get(NULL, &own, NULL) != HL_OK || own == inherited)
        return 2;
    if (hl__context_check(own, NULL) != HL_OK)
        return 3;
    hl__context_unref(inherited);
    if (is_default(SLEEPER_SIGNAL))
        return 4;
    hl__context_unref(own);
    return is_default(SLEEPER_SIGNAL) ? 0 : 5;
}

static void test_forked_child(void **state)
{
    (void)state;
    hl_context *context;
    assert_int_equal(hl__context_get(NULL, &context, NULL), HL_OK);
    pid_t child = fork();
    if (child == 0)
        _exit(in_child(context));
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
    assert_int_equal(hl__context_check(context, NULL), HL_OK);
    hl__context_unref(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_and_free),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_signal_is_shared_and_restored),
        cmocka_unit_test(test_signal_in_use),
        cmocka_unit_test(test_signal_taken_over),
        cmocka_unit_test(test_late_signal_is_dropped),
        cmocka_unit_test(test_default_context),
        cmocka_unit_test(test_default_context_in_threads),
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_watchdog_starts_with_the_first_deadline),
        cmocka_unit_test(test_driver_info),
        cmocka_unit_test(test_log_levels),
        cmocka_unit_test(test_log_of_hostile_text),
        cmocka_unit_test(test_forked_child),
    };
    return cmocka_run_group_tests(tests, sleeper_install, NULL);
}
