#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "config/describe.h"
#include "config/options.h"
#include "conninfo.h"
#include "main_private.h"
#include "net/loop.h"

enum { CHECK_CONFIG = 256, DESCRIBE_OPTIONS, PRINT_CONFIG, LISTEN, CERTIFICATE, KEY, ROUTE };

static const struct option options[] = {
    {"daemon", no_argument, NULL, 'd'},
    {"quiet", no_argument, NULL, 'q'},
    {"reboot", no_argument, NULL, 'R'},
    {"user", required_argument, NULL, 'u'},
    {"verbose", no_argument, NULL, 'v'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {"check-config", no_argument, NULL, CHECK_CONFIG},
    {"print-config", no_argument, NULL, PRINT_CONFIG},
    {"listen", required_argument, NULL, LISTEN},
    {"cert", required_argument, NULL, CERTIFICATE},
    {"key", required_argument, NULL, KEY},
    {"route", required_argument, NULL, ROUTE},
    {"describe-options", no_argument, NULL, DESCRIBE_OPTIONS},
    {NULL, 0, NULL, 0},
};

static void usage(const char *program)
{
    printf("%s is a connection pooler for PostgreSQL.\n\n"
           "Usage:\n"
           "  %s [OPTION]... CONFIG_FILE\n"
           "  %s [OPTION]... postgres://DATABASE_SERVER/DATABASE\n\n"
           "Options:\n"
           "  -d, --daemon         run in background (as a daemon)\n"
           "  -q, --quiet          run quietly: nothing on stderr\n"
           "  -R, --reboot         accepted; starts normally, with a warning\n"
           "  -u, --user=USERNAME  assume identity of USERNAME\n"
           "  -v, --verbose        increase verbosity\n"
           "  -V, --version        show version, then exit\n"
           "  -h, --help           show this help screen, then exit\n"
           "      --check-config   read CONFIG_FILE, say what is wrong with it, then exit\n"
           "      --route=HOST/USER/DATABASE\n"
           "                       with --check-config: say which line of [routes] is taken\n\n"
           "With a connection string:\n"
           "      --print-config   print the CONFIG_FILE that it amounts to, then exit\n"
           "      --listen=ADDRESS[:PORT]  other than loopback, port 6432\n"
           "      --cert=FILE --key=FILE   other than a self-made certificate\n",
           program, program, program);
}

static bool is_pgbouncer(const char *program)
{
    const char *slash = strrchr(program, '/');
    return strcmp(slash ? slash + 1 : program, "pgbouncer") == 0;
}

const char *command_line_version(const char *program)
{
    return is_pgbouncer(program) ? "PgBouncer 1.25.2"
                                 : "PgBouncer 1.25.2 (pgweir " PGWEIR_VERSION ")";
}

static void version(const char *program)
{
    printf("%s\nlibevent %s\nadns: getaddrinfo\ntls: %s\n", command_line_version(program),
           loop_library_version(), tls_library_version());
#ifdef HAVE_SYSTEMD
    printf("systemd: yes\n");
#endif
}

static void bad_usage(const char *program)
{
    fprintf(stderr, "Try \"%s --help\" for more information.\n", program);
    exit(EXIT_FAILURE);
}

static bool take_option(int option, const char *program, struct command_line *line)
{
    switch (option) {
    case 'd':
        line->daemon = true;
        return true;
    case 'q':
        line->quiet = true;
        return true;
    case 'R':
        line->reboot = true;
        return true;
    case 'u':
        line->user = optarg;
        return true;
    case 'v':
        line->verbose++;
        return true;
    case PRINT_CONFIG:
        line->print_config = true;
        return true;
    case LISTEN:
        line->listen = optarg;
        return true;
    case CERTIFICATE:
        line->certificate = optarg;
        return true;
    case KEY:
        line->key = optarg;
        return true;
    case CHECK_CONFIG:
        line->check_config = true;
        return true;
    case ROUTE:
        line->route = optarg;
        return true;
    case 'V':
        version(program);
        exit(EXIT_SUCCESS);
    case 'h':
        usage(program);
        exit(EXIT_SUCCESS);
    case DESCRIBE_OPTIONS:
        describe_manual(stdout);
        exit(EXIT_SUCCESS);
    default:
        return false;
    }
}

void command_line_parse(int argc, char **argv, struct command_line *line)
{
    int option;
    *line = (struct command_line){0};
    while ((option = getopt_long(argc, argv, "dqRu:vVh", options, NULL)) != -1)
        if (!take_option(option, argv[0], line))
            bad_usage(argv[0]);
    if (argc - optind != 1) {
        fprintf(stderr, "%s: no configuration file specified\n", argv[0]);
        bad_usage(argv[0]);
    }
    line->file = argv[optind];
    if (conninfo_looks_like(argv[optind])) {
        line->connection = argv[optind];
    } else if (line->print_config || line->listen || line->certificate || line->key) {
        fprintf(stderr,
                "%s: --print-config, --listen, --cert and --key go with a connection "
                "string\n",
                argv[0]);
        bad_usage(argv[0]);
    }
}

static void print_all(const char *kind, const struct config_problems *problems)
{
    for (int i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++)
        if (problems->lines[i])
            fprintf(stderr, "%s%s\n", kind, problems->lines[i]);
    if (problems->count > CONFIG_PROBLEMS_MAX)
        fprintf(stderr, "%sand %d more\n", kind, problems->count - CONFIG_PROBLEMS_MAX);
}

static void print_line(const struct route *route, const char *reason, void *argument)
{
    (void)argument;
    printf("line %d: %s: %s\n", route->line, route->host, reason ? reason : "taken");
}

/* "HOST/USER/DATABASE"; an empty HOST is none, and one that is a single label an endpoint. */
static bool explain_route(const struct config *config, char *text)
{
    char *user = strchr(text, '/'), *database = user ? strchr(user + 1, '/') : NULL;
    if (!database) {
        fprintf(stderr, "--route needs HOST/USER/DATABASE\n");
        return false;
    }
    *user++ = *database++ = '\0';
    bool is_host = strchr(text, '.') != NULL;
    const struct route_question question = {.listener = "default",
                                            .sni = is_host ? text : NULL,
                                            .endpoint = !is_host && *text ? text : NULL,
                                            .user = user,
                                            .database = *database ? database : user};
    const struct route_why why = {.call = print_line};
    struct route_answer answer;
    if (config->route_count == 0)
        printf("there are no [routes]: database=%s\n", question.database);
    else if (!route_find(config, &question, &answer, &why))
        printf("no line fits: the login fails as by a wrong password\n");
    else
        printf("database=%s%s%s%s%s\n", answer.database,
               answer.pool_mode != CONFIG_UNSET ? " pool_mode=" : "",
               answer.pool_mode != CONFIG_UNSET ? pool_mode_name((enum pool_mode)answer.pool_mode)
                                                : "",
               answer.user[0] ? " user=" : "", answer.user);
    return true;
}

int check_config(const struct command_line *line)
{
    const char *file = line->file;
    struct config_problems problems = {0}, warnings = {0};
    struct tls_ticket_keys *keys = tls_ticket_keys_create();
    const struct config_load_request request = {.file = file, .ticket_keys = keys};
    const struct config *config = config_load(&request, &problems, &warnings);
    print_all("warning: ", &warnings);
    print_all("", &problems);
    int status = config ? EXIT_SUCCESS : EXIT_FAILURE;
    if (config)
        printf("%s: configuration is valid\n", file);
    if (config && line->route && !explain_route(config, line->route))
        status = EXIT_FAILURE;
    config_release(config);
    tls_ticket_keys_destroy(keys);
    config_problems_finish(&problems);
    config_problems_finish(&warnings);
    return status;
}
