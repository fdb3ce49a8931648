#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

Suite *suite_base_log(void);

/* stderr becomes a pipe whose other end is `reader`; Check runs each test in a process of its own.
 */
static int reader;
static char output[1 << 20];
static char path[64];

static void redirect_stderr(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    reader = ends[0];
    fcntl(reader, F_SETFL, O_NONBLOCK);
    snprintf(path, sizeof(path), "/tmp/pgweir_test_log_XXXXXX");
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
}

static void remove_file(void)
{
    unlink(path);
    close(reader);
}

static const char *read_all(int file)
{
    size_t size = 0;
    ssize_t got;

    while ((got = read(file, output + size, sizeof(output) - 1 - size)) > 0)
        size += (size_t)got;
    output[size] = '\0';
    return output;
}

static const char *read_file(void)
{
    int file = open(path, O_RDONLY);

    ck_assert_int_ge(file, 0);
    read_all(file);
    close(file);
    return output;
}

static unsigned count(const char *text, const char *what)
{
    unsigned times = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        times++;
    return times;
}

static void fill_pipe(void)
{
    char block[4096];

    memset(block, 'x', sizeof(block));
    fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
    while (write(STDERR_FILENO, block, sizeof(block)) > 0) {
    }
    fcntl(STDERR_FILENO, F_SETFL, 0);
}

START_TEST(a_line_has_date_zone_process_level_and_text)
{
    int year, month, day, hour, minute, second, millisecond, process, end = 0;
    char zone[16], level[16], text[16];

    log_write(LOG_LOG, NULL, "process %s", "up");
    int fields = sscanf(
        read_all(reader), "%4d-%2d-%2d %2d:%2d:%2d.%3d %15s [%d] %15s %15[a-z ]\n%n", &year, &month,
        &day, &hour, &minute, &second, &millisecond, zone, &process, level, text, &end);
    ck_assert_int_eq(fields, 11);
    ck_assert_int_eq(process, getpid());
    ck_assert_str_eq(level, "LOG");
    ck_assert_str_eq(text, "process up");
    ck_assert_int_eq(output[end], '\0');
}
END_TEST

START_TEST(a_line_begins_with_its_subject)
{
    struct log_subject subject = {.prefix = "C-0x1: db/user@unix:"};

    log_warning(&subject, "slow");
    ck_assert_ptr_nonnull(strstr(read_all(reader), "] WARNING C-0x1: db/user@unix: slow\n"));
}
END_TEST

START_TEST(the_thread_writes_to_stderr_and_file_alike)
{
    char on_stderr[256];

    ck_assert(log_start(&(struct log_settings){.logfile = path}));
    log_info(NULL, "both");
    log_stop();
    ck_assert_uint_lt(strlen(read_all(reader)), sizeof(on_stderr));
    strcpy(on_stderr, output);
    ck_assert_ptr_nonnull(strstr(on_stderr, " LOG both\n"));
    ck_assert_str_eq(read_file(), on_stderr);
}
END_TEST

START_TEST(json_is_an_object_a_line_with_the_subject_apart)
{
    struct log_subject subject = {.prefix = "C-0x1f: d\"b/us\\er@127.0.0.1:5"};
    int process;

    ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true, .json = true}));
    log_warning(&subject, "closing because: \"%s\"", "a\nb");
    log_info(NULL, "C-0x is no prefix");
    log_stop();
    const char *text = read_file();
    ck_assert_int_eq(sscanf(text,
                            "{\"time\":\"%*d-%*d-%*dT%*d:%*d:%*d.%*dZ\",\"level\":\"WARNING\","
                            "\"pid\":%d,\"connection\"",
                            &process),
                     1);
    ck_assert_ptr_nonnull(
        strstr(text, ",\"connection\":\"C-0x1f\",\"subject\":\"d\\\"b/us\\\\er@127.0.0.1:5\","
                     "\"message\":\"closing because: \\\"a\\\\nb\\\"\"}\n{"));
    ck_assert_ptr_nonnull(strstr(text, ",\"message\":\"C-0x is no prefix\"}\n"));
}
END_TEST

START_TEST(a_long_json_line_is_cut_and_closed)
{
    char long_text[LOG_LINE_MAX + 100];

    memset(long_text, '"', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = 0;
    ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true, .json = true}));
    log_info(NULL, "%s", long_text);
    log_stop();
    const char *text = read_file();
    ck_assert_str_eq(text + strlen(text) - 5, "\\\"\"}\n");
    ck_assert_uint_eq(count(text, "\n"), 1);
}
END_TEST

START_TEST(equal_lines_in_a_row_are_counted)
{
    ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true}));
    for (int i = 0; i < 50; i++)
        log_info(NULL, "the same");
    log_info(NULL, "another");
    log_info(NULL, "the same");
    log_stop();
    const char *text = read_file();
    ck_assert_uint_eq(count(text, "LOG the same\n"), LOG_REPEATS_SHOWN + 1);
    ck_assert_ptr_nonnull(strstr(text, "LOG last message repeated 47 times\n"));
}
END_TEST

START_TEST(quiet_keeps_stderr_empty)
{
    ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true}));
    log_info(NULL, "file only");
    log_stop();
    ck_assert_str_eq(read_all(reader), "");
    ck_assert_uint_eq(count(read_file(), "file only\n"), 1);
}
END_TEST

START_TEST(verbosity_decides_what_is_enabled)
{
    ck_assert(log_enabled(LOG_LOG));
    ck_assert(!log_enabled(LOG_DEBUG));
    log_configure(&(struct log_settings){.verbose = 1});
    ck_assert(log_enabled(LOG_DEBUG));
    ck_assert(!log_enabled(LOG_NOISE));
    log_configure(&(struct log_settings){.verbose = 2});
    ck_assert(log_enabled(LOG_NOISE));
    log_configure(&(struct log_settings){.quiet = true});
    ck_assert(!log_enabled(LOG_FATAL));
}
END_TEST

START_TEST(control_bytes_cannot_make_a_second_line)
{
    log_info(NULL, "a\nb\tc\x1b[31m\x7f");
    ck_assert_ptr_nonnull(strstr(read_all(reader), " LOG a\\nb\\tc\\x1b[31m\\x7f\n"));
}
END_TEST

START_TEST(text_that_is_not_utf8_is_escaped_and_the_rest_is_kept)
{
    log_info(NULL, "\xc3\xa9 \xff \xc2\x9b \xe2\x82\xac \xe2\x82 \xf0\x9f\x98\x80 \xed\xa0\x80");
    ck_assert_ptr_nonnull(strstr(read_all(reader),
                                 " LOG \xc3\xa9 \\xff \\xc2\\x9b \xe2\x82\xac \\xe2\\x82 "
                                 "\xf0\x9f\x98\x80 \\xed\\xa0\\x80\n"));
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    log_info(NULL, "%05000d", 1);
    size_t length = strlen(read_all(reader));
    ck_assert_uint_gt(length, LOG_LINE_MAX);
    ck_assert_uint_lt(length, LOG_LINE_MAX + 128);
    ck_assert_int_eq(output[length - 1], '\n');
}
END_TEST

START_TEST(a_long_line_of_control_bytes_is_cut_between_escapes)
{
    char text[LOG_LINE_MAX];

    memset(text, 1, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_info(NULL, "%s", text);
    ck_assert_ptr_nonnull(strstr(read_all(reader), "\\x01\n"));
}
END_TEST

START_TEST(the_file_is_opened_again_at_a_configuration)
{
    char moved[80];

    ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true}));
    snprintf(moved, sizeof(moved), "%s.1", path);
    ck_assert_int_eq(rename(path, moved), 0);
    log_configure(&(struct log_settings){.logfile = path, .quiet = true});
    log_stop();
    ck_assert_int_eq(access(path, F_OK), 0);
    unlink(moved);
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_again_leaves_the_older_one)
{
    ck_assert(log_start(&(struct log_settings){.logfile = path}));
    log_configure(&(struct log_settings){.logfile = "/nonexistent/log"});
    log_info(NULL, "goes on");
    log_stop();
    ck_assert_uint_eq(count(read_file(), "goes on\n"), 1);
    ck_assert_uint_eq(count(read_all(reader), "cannot open log file \"/nonexistent/log\""), 1);
}
END_TEST

START_TEST(a_start_without_its_file_is_refused_on_stderr)
{
    ck_assert(!log_start(&(struct log_settings){.logfile = "/nonexistent/log"}));
    ck_assert_uint_eq(count(read_all(reader), "No such file or directory"), 1);
}
END_TEST

START_TEST(the_log_can_be_started_again)
{
    for (int i = 0; i < 3; i++) {
        ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true}));
        log_info(NULL, "round");
        log_stop();
    }
    ck_assert_uint_eq(count(read_file(), "round\n"), 3);
}
END_TEST

START_TEST(a_stalled_stderr_blocks_nobody_and_drops_what_does_not_fit)
{
    fill_pipe();
    ck_assert(log_start(&(struct log_settings){.verbose = 0}));
    for (int i = 0; i < LOG_RING_LINES * 2; i++)
        log_info(NULL, "line %d", i);
    ck_assert_uint_ge(log_dropped(), LOG_RING_LINES - 1);
    log_stop();
}
END_TEST

START_TEST(stopping_waits_about_a_second_for_a_stalled_stderr)
{
    fill_pipe();
    ck_assert(log_start(&(struct log_settings){.verbose = 0}));
    log_info(NULL, "never read");
    usec_t start = clock_monotonic();
    log_stop();
    ck_assert_int_le(clock_monotonic() - start, USEC_PER_SEC + USEC_PER_SEC / 2);
}
END_TEST

START_TEST(lost_lines_are_counted_in_a_line_when_there_is_room_again)
{
    fill_pipe();
    ck_assert(log_start(&(struct log_settings){.verbose = 0}));
    for (int i = 0; i < LOG_RING_LINES + 100; i++)
        log_info(NULL, "line %d", i);
    for (usec_t end = clock_monotonic() + 20 * USEC_PER_SEC; clock_monotonic() < end;)
        if (strstr(read_all(reader), " log lines were dropped") != NULL)
            break;
    ck_assert_ptr_nonnull(strstr(output, " log lines were dropped"));
    log_stop();
}
END_TEST

START_TEST(journald_is_told_the_priority)
{
    struct stat status;
    char stream[64];

    fstat(STDERR_FILENO, &status);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    ck_assert(log_start(&(struct log_settings){.logfile = path}));
    log_error(NULL, "bad");
    log_stop();
    ck_assert_int_eq(strncmp(read_all(reader), "<3>2", 4), 0);
    ck_assert_int_eq(read_file()[0], '2');
}
END_TEST

START_TEST(another_stream_than_the_journals_gets_no_priority)
{
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_error(NULL, "bad");
    ck_assert_int_eq(read_all(reader)[0], '2');
}
END_TEST

static void *write_many(void *argument)
{
    for (int i = 0; i < 500; i++)
        log_info(NULL, "thread %s line %d", (const char *)argument, i);
    return NULL;
}

START_TEST(lines_of_several_threads_are_whole_or_counted_as_dropped)
{
    pthread_t threads[4];
    char names[] = "abcd", name[4][2];
    unsigned lines = 0;

    ck_assert(log_start(&(struct log_settings){.logfile = path, .quiet = true}));
    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof(name[i]), "%c", names[i]);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, name[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    log_stop();
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(output, sizeof(output), file) != NULL) {
        if (strstr(output, "dropped") != NULL)
            continue;
        ck_assert_ptr_nonnull(strstr(output, "] LOG thread "));
        lines++;
    }
    fclose(file);
    ck_assert_uint_eq(lines + log_dropped(), 2000);
}
END_TEST

START_TEST(a_limit_lets_so_many_lines_pass_a_second)
{
    struct log_limit limit = {0};
    uint32_t held_back = 0;
    unsigned passed = 0;

    /* The second may end in between: then as many pass again. */
    for (int i = 0; i < 1000; i++)
        passed += log_allow(&limit, 5, &held_back);
    ck_assert_uint_ge(passed, 5);
    ck_assert_uint_le(passed, 10);
}
END_TEST

START_TEST(what_a_limit_held_back_is_said_with_the_next_line)
{
    struct log_limit limit = {0};
    uint32_t held_back = 0;

    limit.held_back = 7;
    ck_assert(log_allow(&limit, 5, &held_back));
    ck_assert_uint_eq(held_back, 7);
    ck_assert(log_allow(&limit, 5, &held_back));
    ck_assert_uint_eq(held_back, 0);
}
END_TEST

Suite *suite_base_log(void)
{
    Suite *suite = suite_create("base/log");
    TCase *lines = tcase_create("lines");
    TCase *thread = tcase_create("thread");

    tcase_add_checked_fixture(lines, redirect_stderr, remove_file);
    tcase_add_test(lines, a_line_has_date_zone_process_level_and_text);
    tcase_add_test(lines, a_line_begins_with_its_subject);
    tcase_add_test(lines, verbosity_decides_what_is_enabled);
    tcase_add_test(lines, control_bytes_cannot_make_a_second_line);
    tcase_add_test(lines, text_that_is_not_utf8_is_escaped_and_the_rest_is_kept);
    tcase_add_test(lines, a_long_line_is_cut);
    tcase_add_test(lines, a_long_line_of_control_bytes_is_cut_between_escapes);
    tcase_add_test(lines, another_stream_than_the_journals_gets_no_priority);
    tcase_add_test(lines, a_limit_lets_so_many_lines_pass_a_second);
    tcase_add_test(lines, what_a_limit_held_back_is_said_with_the_next_line);
    suite_add_tcase(suite, lines);

    tcase_add_checked_fixture(thread, redirect_stderr, remove_file);
    tcase_add_test(thread, the_thread_writes_to_stderr_and_file_alike);
    tcase_add_test(thread, quiet_keeps_stderr_empty);
    tcase_add_test(thread, json_is_an_object_a_line_with_the_subject_apart);
    tcase_add_test(thread, a_long_json_line_is_cut_and_closed);
    tcase_add_test(thread, equal_lines_in_a_row_are_counted);
    tcase_add_test(thread, the_file_is_opened_again_at_a_configuration);
    tcase_add_test(thread, a_file_that_cannot_be_opened_again_leaves_the_older_one);
    tcase_add_test(thread, a_start_without_its_file_is_refused_on_stderr);
    tcase_add_test(thread, the_log_can_be_started_again);
    tcase_add_test(thread, a_stalled_stderr_blocks_nobody_and_drops_what_does_not_fit);
    tcase_add_test(thread, stopping_waits_about_a_second_for_a_stalled_stderr);
    tcase_add_test(thread, lost_lines_are_counted_in_a_line_when_there_is_room_again);
    tcase_add_test(thread, journald_is_told_the_priority);
    tcase_add_test(thread, lines_of_several_threads_are_whole_or_counted_as_dropped);
    suite_add_tcase(suite, thread);
    return suite;
}
