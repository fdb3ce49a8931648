#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/journal.h"
#include "worker_private.h"

struct control {
    struct workers *workers;
    struct reload_request *first, *last; /* one after another; the first is under way */
    bool is_reloading;
    struct offload_job job;
    /* SET: copies, for the helper may outlive who asked. key "": the file is read. */
    char key[SET_KEY_MAX], value[SET_VALUE_MAX];
    const struct config *previous; /* a reference, for the helper */
    const struct config *loaded;
    struct config_problems problems, warnings;
    _Atomic bool helper_is_at_work; /* set by the helper: a job that it never took is not its */
    _Atomic int swaps_left;
    struct mail swapped;
    bool is_ending; /* nothing is begun or published any more */
};

struct control *control_create(struct workers *workers)
{
    struct control *control = memory_zalloc(sizeof(*control));
    if (control)
        control->workers = workers;
    return control;
}

void control_end(struct control *control)
{
    if (control)
        control->is_ending = true;
}

static void free_requests(struct control *control)
{
    struct reload_request *request, *next;
    for (request = control->first; request; request = next) {
        next = request->next;
        if (request->done)
            request->done(request, false, "");
        else
            memory_free(request);
    }
}

void control_destroy(struct control *control)
{
    if (!control)
        return;
    free_requests(control);
    /* A file that hangs must not hold up the end of the process: what its helper has in its hands
     * is left to it. */
    if (atomic_load(&control->helper_is_at_work))
        return;
    config_release(control->previous);
    config_problems_finish(&control->problems);
    config_problems_finish(&control->warnings);
    config_release(control->loaded);
    memory_free(control);
}

/* -- reload
 * ------------------------------------------------------------------------------------------------------------------
 */

static void load(struct offload_job *job)
{
    struct control *control = (struct control *)((char *)job - offsetof(struct control, job));
    atomic_store(&control->helper_is_at_work, true);
    const char *file = control->previous->settings.conffile;
    const struct config_load_request request = {.file =
                                                    file && *file ? file : control->previous->file,
                                                .ticket_keys = control->workers->ticket_keys,
                                                .previous = control->previous};
    control->loaded =
        control->key[0]
            ? config_with(control->previous, control->key, control->value, &control->problems)
            : config_load(&request, &control->problems, &control->warnings);
    atomic_store(&control->helper_is_at_work, false);
}

static void tell(struct mail *mail, struct loop *loop)
{
    struct reload_request *request =
        (struct reload_request *)((char *)mail - offsetof(struct reload_request, mail));
    (void)loop;
    request->done(request, request->ok, request->problem);
}

static void begin_reload(struct control *control);

static void end_reload(struct control *control, bool ok)
{
    struct reload_request *request = control->first;
    control->first = request->next;
    if (!control->first)
        control->last = NULL;
    control->is_reloading = false;
    request->ok = ok;
    snprintf(request->problem, sizeof(request->problem), "%s",
             !ok && control->problems.count > 0 && control->problems.lines[0]
                 ? control->problems.lines[0]
                 : "");
    config_release(control->previous);
    config_release(control->loaded);
    control->previous = control->loaded = NULL;
    config_problems_finish(&control->problems);
    config_problems_finish(&control->warnings);
    memset(&control->problems, 0, sizeof(control->problems));
    memset(&control->warnings, 0, sizeof(control->warnings));
    if (request->done) {
        request->mail.deliver = tell;
        loop_post(request->loop, &request->mail);
    } else {
        memory_free(request);
        service_manager_ready();
    }
    if (control->first && !control->is_ending)
        begin_reload(control);
}

struct swap {
    struct mail mail;
    struct control *control;
    struct worker *worker;
    const struct config *config; /* a reference */
};

static void all_swapped(struct mail *mail, struct loop *loop)
{
    struct control *control = (struct control *)((char *)mail - offsetof(struct control, swapped));
    (void)loop;
    end_reload(control, true);
}

static void swap_in(struct mail *mail, struct loop *loop)
{
    struct swap *swap = (struct swap *)((char *)mail - offsetof(struct swap, mail));
    struct control *control = swap->control;
    struct worker *worker = swap->worker;
    (void)loop;
    config_release(worker->clients.config);
    config_release(worker->servers.config);
    worker->clients.config = config_acquire(swap->config);
    worker->servers.config = swap->config;
    server_set_sweep(&worker->servers);
    memory_free(swap);
    if (atomic_fetch_sub(&control->swaps_left, 1) == 1) {
        control->swapped.deliver = all_swapped;
        loop_post(control->workers->array[0].loop, &control->swapped);
    }
}

/* A database that the new file does not have any more, on its way to one worker. */
struct removed_database {
    struct mail mail;
    struct worker *worker;
    struct removed_database *next;
    char name[64];
};

struct removals {
    struct workers *workers;
    struct removed_database *first, **last;
    char last_name[64]; /* pools come in the order of databases */
};

static void close_removed(struct mail *mail, struct loop *loop)
{
    struct removed_database *removed =
        (struct removed_database *)((char *)mail - offsetof(struct removed_database, mail));
    struct error why;
    (void)loop;
    error_set(&why, SQLSTATE_ADMIN_SHUTDOWN, "database removed");
    client_set_close_database(&removed->worker->clients, removed->name, &why);
    memory_free(removed);
}

/* With the mutex of the registry held: only takes notes. */
static void note_removed(struct pool *pool, void *argument)
{
    struct removals *removals = argument;
    if (strcmp(removals->last_name, pool->key) == 0)
        return;
    snprintf(removals->last_name, sizeof(removals->last_name), "%s", pool->key);
    log_warning(NULL,
                "dropping database '%s' as it does not exist anymore or inactive auto-database",
                pool->key);
    for (int i = 0; i < removals->workers->count; i++) {
        struct removed_database *removed = memory_zalloc(sizeof(*removed));
        if (!removed)
            continue;
        removed->worker = &removals->workers->array[i];
        removed->mail.deliver = close_removed;
        snprintf(removed->name, sizeof(removed->name), "%s", pool->key);
        *removals->last = removed;
        removals->last = &removed->next;
    }
}

static void post_removed(struct removals *removals)
{
    struct removed_database *removed, *next;
    for (removed = removals->first; removed; removed = next) {
        next = removed->next;
        loop_post(removed->worker->loop, &removed->mail);
    }
}

static void configure_log(const struct workers *workers, const struct config *config)
{
    const struct settings *settings = &config->settings;
    const struct log_settings log = {
        .verbose = settings->verbose > workers->verbose ? settings->verbose : workers->verbose,
        .quiet = workers->is_quiet,
        .logfile = settings->logfile,
        .json = settings->log_format == LOG_FORMAT_JSON,
        .syslog = settings->syslog != 0,
        .syslog_ident = settings->syslog_ident,
        .syslog_facility = settings->syslog_facility,
        .audit = settings->audit_log,
        .audit_file = settings->audit_file,
        .journal = journal_send,
    };
    log_configure(&log);
}

/* Published by message to every worker; done when the last has swapped. */
static bool publish(struct control *control)
{
    struct workers *workers = control->workers;
    const struct config *config = control->loaded;
    struct swap *swaps[WORKERS_MAX] = {NULL};
    struct removals removals = {.workers = workers, .last = &removals.first};
    for (int i = 0; i < workers->count; i++) {
        swaps[i] = memory_zalloc(sizeof(*swaps[i]));
        if (swaps[i])
            continue;
        while (i-- > 0)
            memory_free(swaps[i]);
        return false;
    }
    registry_configure(workers->shared.registry, config, note_removed, &removals);
    resolver_set_ttl(workers->resolver, config->settings.dns_max_ttl,
                     config->settings.dns_nxdomain_ttl);
    configure_log(workers, config);
    changes_log(workers->config, config);
    config_release(workers->config);
    workers->config = config;
    control->loaded = NULL;
    acceptor_update(workers->acceptor);
    atomic_store(&control->swaps_left, workers->count);
    for (int i = 0; i < workers->count && swaps[i]; i++) {
        *swaps[i] = (struct swap){.mail.deliver = swap_in,
                                  .control = control,
                                  .worker = &workers->array[i],
                                  .config = config_acquire(config)};
        loop_post(workers->array[i].loop, &swaps[i]->mail);
    }
    /* Behind the new configuration: who logs in from then on does not find the database. */
    post_removed(&removals);
    return true;
}

static void loaded(struct offload_job *job, struct loop *loop)
{
    struct control *control = (struct control *)((char *)job - offsetof(struct control, job));
    (void)loop;
    if (control->is_ending)
        return;
    for (int i = 0; i < control->warnings.count && i < CONFIG_PROBLEMS_MAX; i++)
        if (control->warnings.lines[i])
            log_warning(NULL, "%s", control->warnings.lines[i]);
    for (int i = 0; i < control->problems.count && i < CONFIG_PROBLEMS_MAX; i++)
        if (control->problems.lines[i])
            log_error(NULL, "%s", control->problems.lines[i]);
    if (control->loaded && publish(control))
        return;
    if (!control->key[0])
        log_warning(NULL, "config file loading failed");
    end_reload(control, false);
}

static void begin_reload(struct control *control)
{
    control->is_reloading = true;
    memcpy(control->key, control->first->key, sizeof(control->key));
    memcpy(control->value, control->first->value, sizeof(control->value));
    control->previous = config_acquire(control->workers->config);
    control->job.run = load;
    control->job.done = loaded;
    if (!offload_submit(control->workers->offload, OFFLOAD_CONFIG, &control->job,
                        control->workers->array[0].loop))
        end_reload(control, false);
}

static void enqueue(struct control *control, struct reload_request *request)
{
    request->next = NULL;
    if (control->last)
        control->last->next = request;
    else
        control->first = request;
    control->last = request;
    if (!control->is_reloading && !control->is_ending)
        begin_reload(control);
}

struct order {
    struct mail mail;
    struct workers *workers;
    struct reload_request *reload; /* NULL: a shutdown */
    enum shutdown_mode mode;
    bool at_once;
};

static void shut_down(struct control *control, enum shutdown_mode mode, bool at_once);

static void deliver(struct mail *mail, struct loop *loop)
{
    struct order *order = (struct order *)((char *)mail - offsetof(struct order, mail));
    (void)loop;
    if (order->reload)
        enqueue(order->workers->control, order->reload);
    else
        shut_down(order->workers->control, order->mode, order->at_once);
    memory_free(order);
}

/* To worker 0, where everything is decided. */
static bool send_order(struct workers *workers, const struct order *order)
{
    struct order *sent = memory_zalloc(sizeof(*sent));
    if (!sent)
        return false;
    *sent = *order;
    sent->mail.deliver = deliver;
    sent->workers = workers;
    loop_post(workers->array[0].loop, &sent->mail);
    return true;
}

void control_reload(struct workers *workers, struct reload_request *request)
{
    if (send_order(workers, &(struct order){.reload = request}))
        return;
    request->ok = false;
    request->mail.deliver = tell;
    loop_post(request->loop, &request->mail);
}

void control_reload_signal(struct workers *workers)
{
    struct reload_request *request = memory_zalloc(sizeof(*request));
    service_manager_reloading();
    if (request)
        enqueue(workers->control, request);
}

/* -- shutdown
 * ----------------------------------------------------------------------------------------------------------------
 */

struct drain {
    struct mail mail;
    struct worker *worker;
};

static void drain_worker(struct mail *mail, struct loop *loop)
{
    struct drain *drain = (struct drain *)((char *)mail - offsetof(struct drain, mail));
    struct client_set *set = &drain->worker->clients;
    (void)loop;
    client_set_drain(set);
    server_set_sweep(&drain->worker->servers);
    memory_free(drain);
}

static void drain(struct workers *workers)
{
    registry_drain(workers->shared.registry);
    for (int i = 0; i < workers->count; i++) {
        struct drain *sent = memory_zalloc(sizeof(*sent));
        if (!sent)
            continue;
        *sent = (struct drain){.mail.deliver = drain_worker, .worker = &workers->array[i]};
        loop_post(workers->array[i].loop, &sent->mail);
    }
}

static void shut_down(struct control *control, enum shutdown_mode mode, bool at_once)
{
    struct workers *workers = control->workers;
    service_manager_stopping();
    if (at_once) {
        loop_stop(workers->array[0].loop);
        return;
    }
    control_end_suspend(workers); /* else those who are held would never leave */
    atomic_store(&workers->shared.shutdown, mode);
    acceptor_close_tcp(workers->acceptor);
    if (mode == SHUTDOWN_WAIT_FOR_SERVERS)
        drain(workers);
}

void control_shutdown(struct workers *workers, enum shutdown_mode mode, bool at_once)
{
    send_order(workers, &(struct order){.mode = mode, .at_once = at_once});
}

static void add_size(struct pool *pool, void *argument)
{
    *(int *)argument += atomic_load(&pool->published_size);
}

/* By counters only. */
void control_look(struct workers *workers)
{
    int mode = atomic_load(&workers->shared.shutdown), servers = 0;
    if (mode == SHUTDOWN_WAIT_FOR_CLIENTS &&
        client_counts_logged_in_now(workers->shared.counts) == 0 &&
        client_counts_logging_in_now(workers->shared.counts) == 0) {
        log_info(NULL, "client connections dropped, exiting");
        loop_stop(workers->array[0].loop);
    } else if (mode == SHUTDOWN_WAIT_FOR_SERVERS) {
        registry_each(workers->shared.registry, add_size, &servers);
        if (servers > 0)
            return;
        log_info(NULL, "server connections dropped, exiting");
        loop_stop(workers->array[0].loop);
    }
}
