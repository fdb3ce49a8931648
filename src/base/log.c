#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/audit.h"
#include "base/clock.h"
#include "base/memory.h"
#include "log_private.h"

/* The ring is a bounded queue of many producers and one consumer. A slot's `turn` says whose it is:
 * at position p it is p when a producer may fill it, p + 1 when the consumer may take it, and
 * p + LOG_RING_LINES when it is free for the next round. Nobody waits for anybody: a producer that
 * finds the slot of its position not free has met a full ring, and drops its line. */
struct slot {
    _Atomic size_t turn;
    enum log_level level;
    bool is_audit; /* of base/audit */
    usec_t when;
    size_t length; /* of text, without its zero byte */
    char text[LOG_LINE_MAX];
};

/* What leaves the ring: a copy, so that the slot is free before anything is written. */
struct line {
    enum log_level level;
    bool is_audit;
    usec_t when;
    char text[LOG_LINE_MAX];
};

_Static_assert((LOG_RING_LINES & (LOG_RING_LINES - 1)) == 0, "positions are masked");
_Static_assert(LOG_LINE_MAX + 128 <= LOG_OUTPUT_MAX, "time, process and level go in front");

/* How long log_stop() waits in all, and the thread for a stalled stderr: less, to end in time. */
#define STOP_USEC       USEC_PER_SEC
#define STOP_WRITE_USEC (900 * USEC_PER_MSEC)
#define REPORT_USEC                                                                                \
    USEC_PER_SEC /* between two lines about dropped ones, while lines keep coming                  \
                  */

static struct {
    struct slot slots[LOG_RING_LINES];
    _Alignas(64) _Atomic size_t tail; /* producers' next position */
    _Alignas(64) size_t head;         /* the consumer's */
    _Atomic bool is_sleeping;         /* the consumer sleeps, or is about to: wake it */
    _Atomic bool is_running;
    _Atomic int highest_level; /* that is written; see threshold() */
    _Atomic uint64_t dropped, audits_dropped;
    _Atomic bool has_audit;
    _Atomic usec_t stop_deadline; /* 0: go on */
    /* Raised at each start. A thread that log_stop() had to leave behind in a write finds another
     * number when it comes back, and ends without touching the ring. */
    _Atomic unsigned generation;
    _Atomic(struct log_sinks *) new_sinks; /* from log_configure(); the thread takes them over */
    _Atomic bool is_quiet_without_thread;
    int wake;
    pthread_t thread;
} state = {.highest_level = LOG_LOG};

static void wake_thread(void)
{
    if (!atomic_exchange(&state.is_sleeping, false))
        return;
    uint64_t one = 1;
    while (write(state.wake, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* The next free slot, to be filled and published; NULL when the ring is full. */
static struct slot *claim_slot(size_t *position)
{
    size_t tail = atomic_load_explicit(&state.tail, memory_order_relaxed);

    for (;;) {
        struct slot *slot = &state.slots[tail & (LOG_RING_LINES - 1)];
        size_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
        if (turn == tail) {
            if (atomic_compare_exchange_weak_explicit(&state.tail, &tail, tail + 1,
                                                      memory_order_relaxed, memory_order_relaxed)) {
                *position = tail;
                return slot;
            }
        } else if ((ssize_t)(turn - tail) < 0) {
            return NULL;
        } else {
            tail = atomic_load_explicit(&state.tail, memory_order_relaxed);
        }
    }
}

/* Formatted before a slot is claimed: a claimed slot holds up all lines behind it. */
static bool enqueue(enum log_level level, bool is_audit, const char *text, size_t length)
{
    size_t position;
    struct slot *slot = claim_slot(&position);

    if (slot == NULL)
        return false;
    slot->level = level;
    slot->is_audit = is_audit;
    slot->when = clock_realtime();
    slot->length = length;
    memcpy(slot->text, text, length + 1);
    /* Sequentially consistent, as is_sleeping: either we see the thread asleep, or it sees this. */
    atomic_store(&slot->turn, position + 1);
    if (atomic_load(&state.is_sleeping))
        wake_thread();
    return true;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&state.highest_level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&state.dropped, memory_order_relaxed);
}

void log_write(enum log_level level, const struct log_subject *subject, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char text[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    size_t length = log_make_text(text, sizeof(text), subject != NULL ? subject->prefix : NULL,
                                  format, arguments);
    va_end(arguments);
    if (!atomic_load_explicit(&state.is_running, memory_order_acquire)) {
        if (!state.is_quiet_without_thread)
            log_write_directly((int)level, clock_realtime(), text);
    } else if (!enqueue(level, false, text, length)) {
        atomic_fetch_add_explicit(&state.dropped, 1, memory_order_relaxed);
    }
}

bool audit_enabled(void)
{
    return atomic_load_explicit(&state.has_audit, memory_order_relaxed);
}

uint64_t audit_dropped(void)
{
    return atomic_load_explicit(&state.audits_dropped, memory_order_relaxed);
}

void log_send_audit(const char *text, size_t length)
{
    if (!audit_enabled())
        return;
    if (!atomic_load_explicit(&state.is_running, memory_order_acquire) ||
        !enqueue(LOG_LOG, true, text, length))
        atomic_fetch_add_explicit(&state.audits_dropped, 1, memory_order_relaxed);
}

static bool slot_is_filled(void)
{
    return atomic_load(&state.slots[state.head & (LOG_RING_LINES - 1)].turn) == state.head + 1;
}

static bool dequeue(struct line *line)
{
    if (!slot_is_filled())
        return false;
    struct slot *slot = &state.slots[state.head & (LOG_RING_LINES - 1)];
    line->level = slot->level;
    line->is_audit = slot->is_audit;
    line->when = slot->when;
    memcpy(line->text, slot->text, slot->length + 1);
    atomic_store_explicit(&slot->turn, state.head + LOG_RING_LINES, memory_order_release);
    state.head++;
    return true;
}

/* `briefly`: a second at most. */
static void sleep_until_woken(bool briefly)
{
    struct pollfd wake = {.fd = state.wake, .events = POLLIN};
    uint64_t count;

    atomic_store(&state.is_sleeping, true);
    if (!slot_is_filled() && atomic_load(&state.stop_deadline) == 0 &&
        atomic_load(&state.new_sinks) == NULL &&
        (!briefly || poll(&wake, 1, REPORT_USEC / USEC_PER_MSEC) > 0))
        while (read(state.wake, &count, sizeof(count)) < 0 && errno == EINTR) {
        }
    atomic_store(&state.is_sleeping, false);
}

static void take_new_sinks(struct log_sinks **sinks)
{
    struct log_sinks *newer = atomic_exchange(&state.new_sinks, NULL);

    if (newer == NULL)
        return;
    log_sinks_take_over(newer, *sinks);
    *sinks = newer;
}

/* Equal lines in a row. */
struct repeats {
    struct line last;
    unsigned times; /* that it was not written */
    unsigned shown; /* that it was */
};

static void write_text(struct log_sinks *sinks, enum log_level level, usec_t when, const char *text)
{
    if (!log_sinks_write(sinks, (int)level, when, text, &state.stop_deadline))
        atomic_fetch_add_explicit(&state.dropped, 1, memory_order_relaxed);
}

static void tell_repeats(struct log_sinks *sinks, struct repeats *repeats)
{
    char text[64];

    if (repeats->times == 0)
        return;
    snprintf(text, sizeof(text), "last message repeated %u times", repeats->times);
    write_text(sinks, repeats->last.level, repeats->last.when, text);
    repeats->times = 0;
}

static void write_audit(struct log_sinks *sinks, const char *text)
{
    if (!log_sinks_write_audit(sinks, text))
        atomic_fetch_add_explicit(&state.audits_dropped, 1, memory_order_relaxed);
}

static void write_line(struct log_sinks *sinks, struct repeats *repeats, const struct line *line)
{
    bool is_same =
        repeats->last.level == line->level && strcmp(repeats->last.text, line->text) == 0;

    if (is_same && repeats->shown >= LOG_REPEATS_SHOWN) {
        repeats->times++;
        repeats->last.when = line->when;
        return;
    }
    tell_repeats(sinks, repeats);
    repeats->shown = is_same ? repeats->shown + 1 : 1;
    repeats->last = *line;
    write_text(sinks, line->level, line->when, line->text);
}

/* Says how many lines were lost since the last time. Not counted itself when it is lost too. */
struct loss {
    uint64_t reported, audits_reported;
    usec_t when;
};

/* In the audit itself. */
static void report_lost_audits(struct log_sinks *sinks, struct loss *loss)
{
    uint64_t dropped = audit_dropped();
    struct audit_line line;

    if (dropped == loss->audits_reported)
        return;
    audit_begin(&line, "lost");
    audit_number(&line, "lines", (int64_t)(dropped - loss->audits_reported));
    line.text[line.size++] = '}';
    line.text[line.size] = '\0';
    if (log_sinks_write_audit(sinks, line.text))
        loss->audits_reported = dropped;
}

static void report_loss(struct log_sinks *sinks, struct loss *loss)
{
    uint64_t dropped = log_dropped();
    char text[96];

    if (dropped == loss->reported)
        return;
    snprintf(text, sizeof(text), "%llu log lines were dropped: log output is too slow",
             (unsigned long long)(dropped - loss->reported));
    if (log_sinks_write(sinks, LOG_WARNING, clock_realtime(), text, &state.stop_deadline))
        loss->reported = dropped;
    loss->when = clock_monotonic();
}

/* The ring may never be empty in a flood: then the loss is said now and then. */
static bool loss_is_due(const struct loss *loss)
{
    return (loss->reported != log_dropped() || loss->audits_reported != audit_dropped()) &&
           clock_monotonic() - loss->when >= REPORT_USEC;
}

static bool stop_is_overdue(void)
{
    usec_t deadline = atomic_load(&state.stop_deadline);

    return deadline != 0 && deadline <= clock_monotonic();
}

static bool is_left_behind(unsigned generation)
{
    return atomic_load(&state.generation) != generation;
}

/* Takes lines until told to stop and (the ring empty or the deadline over). */
static void *run(void *argument)
{
    struct log_sinks *sinks = argument;
    unsigned generation = sinks->generation;
    struct loss loss = {.reported = sinks->dropped_before,
                        .audits_reported = audit_dropped(),
                        .when = clock_monotonic()};
    struct repeats repeats = {.times = 0};
    struct line line;

    for (;;) {
        take_new_sinks(&sinks);
        bool had_line = dequeue(&line);
        if (had_line && line.is_audit)
            write_audit(sinks, line.text);
        else if (had_line)
            write_line(sinks, &repeats, &line);
        if (!had_line || loss_is_due(&loss)) {
            report_lost_audits(sinks, &loss);
            report_loss(sinks, &loss);
        }
        if (is_left_behind(generation) || stop_is_overdue())
            break;
        if (!had_line && atomic_load(&state.stop_deadline) != 0)
            break;
        if (!had_line)
            sleep_until_woken(repeats.times > 0);
        if (repeats.times > 0 && clock_realtime() - repeats.last.when >= REPORT_USEC)
            tell_repeats(sinks, &repeats);
    }
    tell_repeats(sinks, &repeats);
    log_sinks_close(sinks);
    return NULL;
}

/* What is worth formatting: nothing, where no line goes anywhere. */
static int threshold(const struct log_settings *settings)
{
    bool has_file = settings->logfile != NULL && settings->logfile[0] != '\0';

    if (settings->quiet && !has_file && !settings->syslog)
        return -1;
    if (settings->verbose <= 0)
        return LOG_LOG;
    return settings->verbose == 1 ? LOG_DEBUG : LOG_NOISE;
}

/* Signals are for the loops: the thread starts with all of them blocked. */
static bool start_thread(struct log_sinks *sinks)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&state.thread, NULL, run, sinks);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_setname_np(state.thread, "log");
    errno = failure;
    return failure == 0;
}

static void reset_ring(void)
{
    for (size_t i = 0; i < LOG_RING_LINES; i++)
        atomic_store_explicit(&state.slots[i].turn, i, memory_order_relaxed);
    atomic_store(&state.tail, 0);
    state.head = 0;
    atomic_store(&state.is_sleeping, false);
    atomic_store(&state.stop_deadline, 0);
    atomic_fetch_add(&state.generation, 1);
}

bool log_start(const struct log_settings *settings)
{
    int file_error;

    assert(!atomic_load(&state.is_running));
    struct log_sinks *sinks = log_sinks_open(settings, &file_error);
    if (sinks == NULL || file_error != 0) {
        log_error(NULL, "cannot open log file \"%s\": %s",
                  settings->logfile != NULL ? settings->logfile : "", strerror(file_error));
        log_sinks_close(sinks);
        return false;
    }
    log_sinks_take_over(sinks, NULL);
    reset_ring();
    sinks->generation = atomic_load(&state.generation);
    sinks->dropped_before = log_dropped();
    state.wake = eventfd(0, EFD_CLOEXEC);
    if (state.wake < 0 || !start_thread(sinks)) {
        log_error(NULL, "cannot start the log thread: %s", strerror(errno));
        if (state.wake >= 0)
            close(state.wake);
        log_sinks_close(sinks);
        return false;
    }
    state.is_quiet_without_thread = settings->quiet;
    atomic_store(&state.highest_level, threshold(settings));
    atomic_store(&state.has_audit, settings->audit != AUDIT_OFF);
    atomic_store(&state.is_running, true);
    return true;
}

void log_configure(const struct log_settings *settings)
{
    int file_error;

    atomic_store(&state.highest_level, threshold(settings));
    atomic_store(&state.has_audit, settings->audit != AUDIT_OFF);
    state.is_quiet_without_thread = settings->quiet;
    if (!atomic_load(&state.is_running))
        return;
    struct log_sinks *sinks = log_sinks_open(settings, &file_error);
    if (file_error != 0)
        log_error(NULL, "cannot open log file \"%s\": %s",
                  settings->logfile != NULL ? settings->logfile : "", strerror(file_error));
    if (sinks == NULL)
        return;
    log_sinks_close(atomic_exchange(&state.new_sinks, sinks));
    wake_thread();
}

void log_stop(void)
{
    struct timespec end;
    usec_t now = clock_realtime() + STOP_USEC;

    if (!atomic_load(&state.is_running))
        return;
    atomic_store(&state.is_running, false);
    atomic_store(&state.stop_deadline, clock_monotonic() + STOP_WRITE_USEC);
    wake_thread();
    end.tv_sec = (time_t)(now / USEC_PER_SEC);
    end.tv_nsec = (long)(now % USEC_PER_SEC) * 1000;
    if (pthread_timedjoin_np(state.thread, NULL, &end) != 0) {
        /* It hangs in a write that poll() had promised. It ends by itself if that ever returns. */
        atomic_fetch_add(&state.generation, 1);
        pthread_detach(state.thread);
    }
    close(state.wake);
    log_sinks_close(atomic_exchange(&state.new_sinks, NULL));
}

bool log_allow(struct log_limit *limit, uint32_t lines_per_second, uint32_t *held_back)
{
    int64_t second = clock_monotonic() / USEC_PER_SEC;
    int64_t window = atomic_load_explicit(&limit->window, memory_order_relaxed);

    /* Whoever moves the window on empties it. A line that comes in between may pass besides: this
     * bounds a flood, it need not be exact. */
    if (window != second && atomic_compare_exchange_strong(&limit->window, &window, second))
        atomic_store(&limit->used, 0);
    if (atomic_fetch_add(&limit->used, 1) < lines_per_second) {
        *held_back = atomic_exchange(&limit->held_back, 0);
        return true;
    }
    atomic_fetch_add(&limit->held_back, 1);
    return false;
}
