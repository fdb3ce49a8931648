/* pgweir postgres://...: one line without an ini (THREATS §5.6). What it amounts to is written as
 * an ini into a folder of the user's, printed, and served as any other, so that growing up is to
 * copy it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "conninfo.h"
#include "main_private.h"
#include "net/address.h"
#include "net/self_made.h"

#define PATH_SIZE  1024
#define VALUE_SIZE 2048
#define PORT       "6432"

/* What the ini is made from; texts are borrowed, or in here. */
struct one_line {
    struct conninfo info;
    char folder[PATH_SIZE], certificate[PATH_SIZE], key[PATH_SIZE], own_root[PATH_SIZE];
    char fingerprint[SELF_MADE_FINGERPRINT];
    char addresses[256], port[16];
    char host[VALUE_SIZE], dbname[VALUE_SIZE];
    const char *sslmode, *root;
    const char *user; /* of the operating system */
};

static bool refuse(const char *what, const char *why)
{
    log_fatal("%s: %s", what, why);
    return false;
}

/* ---- where its files are ---- */

static const char *home(void)
{
    const struct passwd *user = getpwuid(getuid());
    const char *said = getenv("HOME");

    /* After -u the variable is still that of who started it. */
    return user != NULL ? user->pw_dir : said;
}

static bool make_folders(char *path)
{
    for (char *at = path + 1;; at++) {
        char c = *at;
        if (c != '/' && c != '\0')
            continue;
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return refuse(path, strerror(errno));
        *at = c;
        if (c == '\0')
            return true;
    }
}

static bool find_folder(struct one_line *one, bool has_switched)
{
    const char *state = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME");
    const char *at_home = home();

    if (state != NULL && *state == '/')
        snprintf(one->folder, sizeof(one->folder), "%s", state);
    else if (!has_switched && xdg != NULL && *xdg == '/')
        snprintf(one->folder, sizeof(one->folder), "%s/pgweir", xdg);
    else if (at_home != NULL)
        snprintf(one->folder, sizeof(one->folder), "%s/.local/state/pgweir", at_home);
    else
        return refuse("no folder for the certificate", "set XDG_STATE_HOME");
    return make_folders(one->folder);
}

/* ---- values ---- */

/* What cannot stand in an ini, in quotes or without. */
static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == '\'' || *text == '"' || *text == '\\')
            return false;
    return true;
}

static bool check_texts(const struct one_line *one)
{
    for (int key = 0; key < CONNINFO_KEYS; key++)
        if (key != CONNINFO_PASSWORD && one->info.values[key] != NULL &&
            !is_plain(one->info.values[key]))
            return refuse("the connection string", "a quote, backslash or control character");
    return true;
}

static bool is_local(const char *host)
{
    struct address address;

    return *host == '/' || *host == '@' || strcmp(host, "localhost") == 0 ||
           (address_from_literal(&address, host, 1) && address_is_loopback(&address));
}

static bool find_server(struct one_line *one)
{
    const char *const *values = one->info.values;
    const struct passwd *user = getpwuid(getuid());
    const char *host = values[CONNINFO_HOST], *name = values[CONNINFO_USER];

    if (name == NULL && user != NULL)
        name = user->pw_name;
    snprintf(one->host, sizeof(one->host), "%s", host != NULL ? host : "/var/run/postgresql");
    snprintf(one->dbname, sizeof(one->dbname), "%s",
             values[CONNINFO_DBNAME] != NULL ? values[CONNINFO_DBNAME]
             : name != NULL                  ? name
                                             : "postgres");
    if (strcmp(one->dbname, "*") == 0 || strcmp(one->dbname, "pgbouncer") == 0)
        return refuse(one->dbname, "is no name of a database here: name it in an ini");
    return true;
}

/* Libpq's, except that what goes over a network is verified. */
static void find_tls(struct one_line *one)
{
    const char *const *values = one->info.values;
    const char *at_home = home();

    one->sslmode = values[CONNINFO_SSLMODE];
    if (one->sslmode == NULL)
        one->sslmode = is_local(one->host) ? "prefer" : "verify-full";
    if (at_home != NULL)
        snprintf(one->own_root, sizeof(one->own_root), "%s/.postgresql/root.crt", at_home);
    one->root = values[CONNINFO_SSLROOTCERT];
    if (one->root == NULL)
        one->root =
            one->own_root[0] != '\0' && access(one->own_root, R_OK) == 0 ? one->own_root : "system";
}

/* ---- where it listens ---- */

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

/* ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT */
static bool find_listener(struct one_line *one, const char *listen)
{
    const char *text = listen != NULL ? listen : "";
    const char *colon = strrchr(text, ':'), *end = *text == '[' ? strchr(text, ']') : NULL;
    bool has_port = colon != NULL && (end != NULL ? colon == end + 1 : strchr(text, ':') == colon);
    const char *start = end != NULL ? text + 1 : text;
    int size = (int)(end != NULL ? end - start : has_port ? colon - start : (long)strlen(start));

    snprintf(one->port, sizeof(one->port), "%s", has_port ? colon + 1 : PORT);
    if (size > 0)
        snprintf(one->addresses, sizeof(one->addresses), "%.*s", size, start);
    else
        snprintf(one->addresses, sizeof(one->addresses), "127.0.0.1%s", has_ipv6() ? ", ::1" : "");
    return is_plain(text) || refuse("--listen", "a quote, backslash or control character");
}

/* ---- the ini ---- */

static void print_option(FILE *file, const char *name, const char *value)
{
    if (value != NULL)
        fprintf(file, "%s = %s\n", name, value);
}

static void print_server(FILE *file, const struct one_line *one)
{
    const char *const *values = one->info.values;

    fprintf(file, "[databases]\n\"%s\" = host='%s' port=%s dbname='%s'", one->dbname, one->host,
            values[CONNINFO_PORT] != NULL ? values[CONNINFO_PORT] : "5432", one->dbname);
    if (values[CONNINFO_APPLICATION_NAME] != NULL)
        fprintf(file, " application_name='%s'", values[CONNINFO_APPLICATION_NAME]);
    fputs("\n\n", file);
}

static void print_ini(FILE *file, const struct one_line *one)
{
    const char *const *values = one->info.values;
    bool is_verified = strncmp(one->sslmode, "verify", 6) == 0;

    fprintf(file,
            ";; What the connection string amounts to: copy it, and start with its name.\n"
            ";; SHA-256 of the certificate that clients are shown: %s\n\n",
            one->fingerprint);
    print_server(file, one);
    fputs("[pgbouncer]\n", file);
    print_option(file, "listen_addr", one->addresses);
    print_option(file, "listen_port", one->port);
    print_option(file, "unix_socket_dir", "");
    print_option(file, "user", one->user);
    print_option(file, "auth_type", "passthrough");
    print_option(file, "pool_mode", "transaction");
    print_option(file, "default_pool_size", "20");
    print_option(file, "max_client_conn", "10000");
    print_option(file, "client_tls_sslmode", "require");
    print_option(file, "client_tls_cert_file", one->certificate);
    print_option(file, "client_tls_key_file", one->key);
    print_option(file, "server_tls_sslmode", one->sslmode);
    print_option(file, "server_tls_ca_file", is_verified ? one->root : NULL);
    print_option(file, "server_tls_cert_file", values[CONNINFO_SSLCERT]);
    print_option(file, "server_tls_key_file", values[CONNINFO_SSLKEY]);
    print_option(file, "server_channel_binding", values[CONNINFO_CHANNEL_BINDING]);
    print_option(file, "server_require_auth", values[CONNINFO_REQUIRE_AUTH]);
    print_option(file, "server_connect_timeout", values[CONNINFO_CONNECT_TIMEOUT]);
}

/* A RELOAD reads it again. */
static bool write_ini(const struct one_line *one, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%.*s/%s.ini", PATH_SIZE - 32, one->folder, one->port);
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL)
        return refuse(path, strerror(errno));
    print_ini(file, one);
    return fclose(file) == 0 || refuse(path, strerror(errno));
}

/* ---- all of it ---- */

static bool find_certificate(struct one_line *one, const struct command_line *line)
{
    struct error error;

    if ((line->certificate != NULL) != (line->key != NULL))
        return refuse("--cert and --key", "both, or none");
    if (line->certificate != NULL) {
        snprintf(one->certificate, sizeof(one->certificate), "%s", line->certificate);
        snprintf(one->key, sizeof(one->key), "%s", line->key);
        snprintf(one->fingerprint, sizeof(one->fingerprint), "see openssl x509 -fingerprint");
        return true;
    }
    snprintf(one->certificate, sizeof(one->certificate), "%.*s/server.crt", PATH_SIZE - 32,
             one->folder);
    snprintf(one->key, sizeof(one->key), "%.*s/server.key", PATH_SIZE - 32, one->folder);
    if (self_made_certificate(one->certificate, one->key, one->fingerprint, &error))
        return true;
    log_fatal("%s", error.message);
    return false;
}

static bool find_all(struct one_line *one, const struct command_line *line)
{
    struct error error;

    if (!conninfo_parse(line->connection, &one->info, &error)) {
        log_fatal("%s", error.message);
        return false;
    }
    if (one->info.values[CONNINFO_PASSWORD] != NULL)
        fprintf(stderr, "warning: the password in the connection string is not used, and was seen "
                        "by everybody who lists processes: clients bring their own\n");
    if (line->user != NULL && !process_switch_user(line->user))
        return false;
    if (!check_texts(one) || !find_server(one) || !find_listener(one, line->listen) ||
        !find_folder(one, line->user != NULL) || !find_certificate(one, line))
        return false;
    one->user = line->user;
    find_tls(one);
    return true;
}

bool one_line_prepare(struct command_line *line)
{
    static char path[PATH_SIZE];
    struct one_line *one = calloc(1, sizeof(*one));
    bool ok = one != NULL && find_all(one, line) && (line->print_config || write_ini(one, path));

    if (ok) {
        print_ini(stdout, one);
        (void)fflush(stdout);
        line->file = path;
    }
    if (one != NULL)
        conninfo_finish(&one->info);
    free(one);
    return ok;
}
