#include <assert.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "admin/console.h"
#include "auth/crypto.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/options.h"
#include "gateway/gateway.h"
#include "http/endpoint.h"
#include "main_private.h"
#include "net/journal.h"
#include "net/loop.h"
#include "net/tls_context.h"
#include "worker/acceptor.h"

static bool start_log(const struct config *config, const struct command_line *line)
{
    const struct settings *settings = &config->settings;
    const struct log_settings log = {
        .verbose = settings->verbose > line->verbose ? settings->verbose : line->verbose,
        .quiet = line->quiet || line->daemon,
        .logfile = settings->logfile,
        .json = settings->log_format == LOG_FORMAT_JSON,
        .syslog = settings->syslog != 0,
        .syslog_ident = settings->syslog_ident,
        .syslog_facility = settings->syslog_facility,
        .audit = settings->audit_log,
        .audit_file = settings->audit_file,
        .journal = journal_send,
    };
    return log_start(&log);
}

static void say_all(const struct config_problems *problems, enum log_level level)
{
    for (int i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++)
        if (problems->lines[i])
            log_write(level, NULL, "%s", problems->lines[i]);
}

static void say_not_honoured(const char *key, void *argument)
{
    const struct config_option *option = config_option_find(key);
    (void)argument;
    if (option && option->state == OPTION_NO_USE)
        log_warning(NULL, "%s is known and has no effect: %s", key, option->help);
    else
        log_warning(NULL, "%s is known but has no effect yet", key);
}

static const struct config *load(const struct command_line *line, struct tls_ticket_keys *keys,
                                 struct config_problems *warnings)
{
    struct config_problems problems = {0};
    const struct config_load_request request = {.file = line->file, .ticket_keys = keys};
    const struct config *config = config_load(&request, &problems, warnings);
    if (!config) {
        say_all(&problems, LOG_ERROR);
        log_fatal("cannot load config file");
    }
    config_problems_finish(&problems);
    return config;
}

static int serve(const struct command_line *line, const struct config *config,
                 struct tls_ticket_keys *keys, const char *program)
{
    const char *pidfile = config->settings.pidfile;
    struct error error;
    struct gateway *gateway = gateway_create();
    if (!gateway) {
        log_fatal("out of memory");
        return EXIT_FAILURE;
    }
    const struct upper_rooms rooms = {.console = console_ops(),
                                      .front = gateway_front_ops(gateway)};
    struct workers *workers = workers_create(config, keys, &rooms, &error);
    if (!workers) {
        log_fatal("%s", error.message);
        gateway_destroy(gateway);
        return EXIT_FAILURE;
    }
    workers->is_quiet = line->quiet || line->daemon;
    workers->verbose = line->verbose;
    workers->version = command_line_version(program);
    int status = EXIT_FAILURE;
    struct endpoint *endpoint = NULL;
    if (!endpoint_open(workers, &endpoint, &error)) {
        log_fatal("%s", error.message);
    } else if (process_pidfile_write(pidfile) && signals_install(workers)) {
        log_info(NULL,
                 "process up: %s, libevent %s (epoll), adns: getaddrinfo, tls: %s, threads: %d",
                 command_line_version(program), loop_library_version(), tls_library_version(),
                 workers->count);
        workers_run(workers);
        process_pidfile_remove(pidfile);
        status = workers->has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    endpoint_close(endpoint);
    workers_destroy(workers);
    gateway_destroy(gateway);
    return status;
}

/* What has to be so before anything listens. */
static bool prepare(const struct command_line *line, const struct config *config)
{
    const struct settings *settings = &config->settings;
    if (line->daemon && (!settings->pidfile || !*settings->pidfile)) {
        log_fatal("daemon needs pidfile configured");
        return false;
    }
    if (line->reboot)
        log_warning(NULL,
                    "Online restart is deprecated, use so_reuseport instead; starting normally");
    return process_switch_user(line->user ? line->user : settings->user) &&
           process_pidfile_check(settings->pidfile);
}

static int run(const struct command_line *line, struct tls_ticket_keys *keys, const char *program)
{
    struct config_problems warnings = {0};
    signals_block();
    const struct config *config = load(line, keys, &warnings);
    int status = EXIT_FAILURE;
    if (config && prepare(line, config) && (!line->daemon || process_daemonize()) &&
        start_log(config, line)) {
        say_all(&warnings, LOG_WARNING);
        config_each_not_honoured(config, say_not_honoured, NULL);
        process_limits(config);
        status = serve(line, config, keys, program);
        log_stop();
    }
    config_problems_finish(&warnings);
    config_release(config);
    return status;
}

int main(int argc, char **argv)
{
    struct command_line line;
    struct error error;
    setlocale(LC_CTYPE, "C");
    tzset();
    process_hide_memory(true);
    (void)tls_memory_init();
    digest_init();
    command_line_parse(argc, argv, &line);
    signal(SIGPIPE, SIG_IGN);
    if (line.connection && !one_line_prepare(&line))
        return EXIT_FAILURE;
    if (line.print_config)
        return EXIT_SUCCESS;
    if (!auth_crypto_init(&error)) {
        log_fatal("%s", error.message);
        return EXIT_FAILURE;
    }
    int status = EXIT_FAILURE;
    struct tls_ticket_keys *keys = tls_ticket_keys_create();
    if (!keys)
        log_fatal("out of memory");
    else
        status = line.check_config ? check_config(&line) : run(&line, keys, argv[0]);
    tls_ticket_keys_destroy(keys);
    auth_crypto_finish();
#ifdef PGWEIR_DEBUG_CHECKS
    assert(memory_secrets_in_use() == 0); /* leak checkers do not see this memory */
#endif
    return status;
}
