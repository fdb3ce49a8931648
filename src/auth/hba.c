#include "auth/hba.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "hba_address.h"
#include "name_pattern.h"

enum connection_kind {
    CONNECTION_LOCAL,
    CONNECTION_HOST,
    CONNECTION_HOSTSSL,
    CONNECTION_HOSTNOSSL
};

enum name_kind { NAME_LITERAL, NAME_ALL, NAME_SAMEUSER, NAME_REPLICATION, NAME_PATTERN };

struct name {
    enum name_kind kind;
    char *text;
    regex_t pattern;
};

struct names {
    struct name *list;
    int count;
};

struct rule {
    enum connection_kind connection;
    struct names databases, users;
    struct hba_address address;
    struct hba_verdict verdict;
    char *map;
    struct rule *next;
};

struct hba {
    struct rule *first, **last;
    struct ident *ident;
    struct hba_interfaces interfaces;
    int certificate_line;
    _Atomic int references;
};

/* One reading under way. */
struct builder {
    const struct hba_source *source;
    struct hba *hba;
};

/* ---- life ---- */

static void finish_names(struct names *names)
{
    for (int i = 0; i < names->count; i++) {
        if (names->list[i].kind == NAME_PATTERN)
            regfree(&names->list[i].pattern);
        memory_free(names->list[i].text);
    }
    memory_free(names->list);
}

static void destroy(struct hba *hba)
{
    struct rule *rule;

    while ((rule = hba->first) != NULL) {
        hba->first = rule->next;
        finish_names(&rule->databases);
        finish_names(&rule->users);
        memory_free(rule->map);
        memory_free(rule);
    }
    ident_destroy(hba->ident);
    memory_free(hba->interfaces.networks);
    memory_free(hba);
}

/* Only the count changes in what is otherwise immutable. */
static _Atomic int *references_of(const struct hba *hba)
{
    return &((struct hba *)(uintptr_t)hba)->references;
}

const struct hba *hba_acquire(const struct hba *hba)
{
    if (hba != NULL)
        atomic_fetch_add_explicit(references_of(hba), 1, memory_order_relaxed);
    return hba;
}

void hba_release(const struct hba *hba)
{
    if (hba != NULL && atomic_fetch_sub(references_of(hba), 1) == 1)
        destroy((struct hba *)(uintptr_t)hba);
}

/* ---- names ---- */

static bool is_word(const struct rule_item *item, const char *word)
{
    return !item->is_quoted && strcmp(item->text, word) == 0;
}

static bool understand_name(const struct rule_line *line, const struct rule_item *item,
                            bool is_database, struct name *name, struct error *error)
{
    char reason[128];

    if (is_word(item, "all")) {
        name->kind = NAME_ALL;
    } else if (is_database && is_word(item, "sameuser")) {
        name->kind = NAME_SAMEUSER;
    } else if (is_database && is_word(item, "replication")) {
        name->kind = NAME_REPLICATION;
    } else if (is_database && (is_word(item, "samerole") || is_word(item, "samegroup"))) {
        return rule_line_error(line, error, "%s is not supported", item->text);
    } else if (!is_database && !item->is_quoted && item->text[0] == '+') {
        return rule_line_error(line, error, "%.100s: groups of roles are not supported",
                               item->text);
    } else if (item->text[0] == '/') {
        if (!name_pattern_compile(&name->pattern, item->text + 1, reason, sizeof(reason)))
            return rule_line_error(line, error, "regular expression \"%.100s\": %s", item->text + 1,
                                   reason);
        name->kind = NAME_PATTERN;
    }
    return true;
}

static bool take_names(struct rule_line *line, int field, bool is_database, struct names *names,
                       struct error *error)
{
    if (field >= line->field_count)
        return rule_line_error(line, error, "did not find %s", is_database ? "database" : "user");
    int start = line->starts[field], count = line->starts[field + 1] - start;
    names->list = memory_zalloc_array((size_t)count + 1, sizeof(*names->list));
    if (names->list == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    for (; names->count < count; names->count++) {
        struct rule_item *item = &line->items[start + names->count];
        struct name *name = &names->list[names->count];

        if (!understand_name(line, item, is_database, name, error))
            return false;
        name->text = item->text;
        item->text = NULL;
    }
    return true;
}

/* ---- method and options ---- */

static bool take_connection(const struct rule_line *line, struct rule *rule, struct error *error)
{
    static const struct {
        const char *word;
        enum connection_kind kind;
    } words[] = {{"local", CONNECTION_LOCAL},
                 {"host", CONNECTION_HOST},
                 {"hostssl", CONNECTION_HOSTSSL},
                 {"hostnossl", CONNECTION_HOSTNOSSL},
                 {"hostnogssenc", CONNECTION_HOST}}; /* GSSAPI encryption is never spoken here */
    const struct rule_item *item = rule_line_word(line, 0);

    for (size_t i = 0; item != NULL && i < sizeof(words) / sizeof(*words); i++) {
        rule->connection = words[i].kind;
        if (is_word(item, words[i].word))
            return true;
    }
    return rule_line_error(line, error, "unknown type: it is local, host, hostssl or hostnossl");
}

static bool take_method(const struct rule_line *line, int field, struct rule *rule,
                        struct error *error)
{
    static const struct {
        const char *word;
        enum hba_method method;
    } words[] = {{"trust", HBA_TRUST},       {"reject", HBA_REJECT},
                 {"password", HBA_PASSWORD}, {"plain", HBA_PASSWORD},
                 {"md5", HBA_MD5},           {"scram-sha-256", HBA_SCRAM_SHA_256},
                 {"cert", HBA_CERT},         {"passthrough", HBA_PASSTHROUGH}};
    const struct rule_item *item = rule_line_word(line, field);

    for (size_t i = 0; item != NULL && i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(item->text, words[i].word) != 0)
            continue;
        rule->verdict.method = words[i].method;
        if (rule->verdict.method == HBA_CERT &&
            (rule->connection == CONNECTION_LOCAL || rule->connection == CONNECTION_HOSTNOSSL))
            return rule_line_error(line, error, "cert works over TLS only: hostssl");
        if (rule->verdict.method == HBA_PASSTHROUGH && rule->connection == CONNECTION_HOSTNOSSL)
            return rule_line_error(line, error, "passthrough works over TLS only: hostssl");
        return true;
    }
    return rule_line_error(line, error,
                           "unsupported method: buf=%.100s: trust, reject, password, md5, "
                           "scram-sha-256, cert and passthrough are supported",
                           item != NULL ? item->text : "");
}

static bool take_map(const struct hba *hba, const struct rule_line *line, struct rule *rule,
                     const char *map, struct error *error)
{
    if (rule->verdict.method != HBA_CERT)
        return rule_line_error(line, error, "map is for cert only");
    if (hba->ident == NULL || !ident_has_map(hba->ident, map))
        return rule_line_error(line, error, "Ident map %.100s is not found in ident config file",
                               map);
    memory_free(rule->map);
    rule->map = memory_strdup(map);
    rule->verdict.map = rule->map;
    return rule->map != NULL || error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

static bool take_option(const struct hba *hba, const struct rule_line *line, struct rule *rule,
                        const char *text, struct error *error)
{
    if (strncmp(text, "map=", 4) == 0)
        return take_map(hba, line, rule, text + 4, error);
    if (strcmp(text, "clientname=CN") == 0)
        return true; /* as it is */
    if (strncmp(text, "clientcert=", 11) != 0)
        return rule_line_error(line, error, "unsupported parameters: %.100s", text);
    if (rule->connection != CONNECTION_HOSTSSL)
        return rule_line_error(line, error, "clientcert can be asked for by hostssl only");
    if (strcmp(text + 11, "verify-full") == 0)
        rule->verdict.certificate = HBA_CERTIFICATE_NAMED;
    else if (strcmp(text + 11, "verify-ca") == 0 && rule->verdict.method != HBA_CERT)
        rule->verdict.certificate = HBA_CERTIFICATE_VALID;
    else
        return rule_line_error(line, error, "invalid value for clientcert: %.100s", text + 11);
    return true;
}

/* ---- lines ---- */

static void warn(const struct builder *builder, const struct rule_line *line, const char *text)
{
    if (builder->source->warning != NULL)
        builder->source->warning(builder->source->argument, line->file, line->number, text);
}

static bool read_interfaces(struct hba *hba, const struct hba_address *address)
{
    if (address->kind != HBA_ADDRESS_SAMEHOST && address->kind != HBA_ADDRESS_SAMENET)
        return true;
    return hba->interfaces.networks != NULL || hba_interfaces_read(&hba->interfaces);
}

static bool take_address(const struct builder *builder, const struct rule_line *line, int *field,
                         struct rule *rule, struct error *error)
{
    bool has_host_bits;

    if (rule->connection == CONNECTION_LOCAL)
        return true;
    if (!hba_address_parse(line, field, &rule->address, &has_host_bits, error))
        return false;
    if (has_host_bits)
        warn(builder, line,
             "address does not match mask: the bits outside the mask are not looked at");
    return read_interfaces(builder->hba, &rule->address) ||
           rule_line_error(line, error, "the addresses of this machine cannot be read");
}

static bool fill(const struct builder *builder, struct rule_line *line, struct rule *rule,
                 struct error *error)
{
    int field = 3;

    rule->verdict.line = line->number;
    if (!take_connection(line, rule, error) ||
        !take_names(line, 1, true, &rule->databases, error) ||
        !take_names(line, 2, false, &rule->users, error) ||
        !take_address(builder, line, &field, rule, error) || !take_method(line, field, rule, error))
        return false;
    while (++field < line->field_count) {
        const struct rule_item *item = rule_line_word(line, field);
        if (item == NULL)
            return rule_line_error(line, error, "unsupported parameters");
        if (!take_option(builder->hba, line, rule, item->text, error))
            return false;
    }
    return true;
}

static bool take_line(void *argument, struct rule_line *line, struct error *error)
{
    struct builder *builder = argument;
    struct hba *hba = builder->hba;
    struct rule *rule = memory_zalloc(sizeof(*rule));

    if (rule == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    *hba->last = rule;
    hba->last = &rule->next;
    if (!fill(builder, line, rule, error))
        return false;
    if (hba->certificate_line == 0 &&
        (rule->verdict.method == HBA_CERT || rule->verdict.certificate != HBA_CERTIFICATE_ANY))
        hba->certificate_line = line->number;
    if (rule->verdict.method == HBA_TRUST && rule->connection != CONNECTION_LOCAL &&
        !hba_address_is_loopback(&rule->address))
        warn(builder, line, "trust lets in whoever comes from this address, without a password");
    return true;
}

static struct hba *create(struct ident *ident, struct error *error)
{
    struct hba *hba = memory_zalloc(sizeof(*hba));

    if (hba == NULL) {
        ident_destroy(ident);
        error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    hba->ident = ident;
    hba->last = &hba->first;
    atomic_init(&hba->references, 1);
    return hba;
}

static struct hba *parse(const struct hba_source *from, rule_file_read *read, struct ident *ident,
                         struct span text, struct error *error)
{
    const struct rule_source source = {.file = from->file, .read = read};
    struct builder builder = {.source = from, .hba = create(ident, error)};

    if (builder.hba == NULL)
        return NULL;
    if (rule_file_parse(&source, text.data, text.size, take_line, &builder, error))
        return builder.hba;
    hba_release(builder.hba);
    return NULL;
}

struct hba *hba_parse(const struct hba_source *source, struct ident *ident, const void *data,
                      size_t size, struct error *error)
{
    return parse(source, NULL, ident, (struct span){data, size}, error);
}

/* False: error. Without a file there are no maps. */
static bool load_ident(const char *file, struct ident **ident, struct error *error)
{
    *ident = NULL;
    if (file == NULL || *file == '\0')
        return true;
    *ident = ident_create();
    if (*ident == NULL)
        return error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
    if (ident_load(*ident, file, error))
        return true;
    ident_destroy(*ident);
    return false;
}

struct hba *hba_load(const struct hba_source *source, struct error *error)
{
    struct hba *hba = NULL;
    struct ident *ident;
    struct bytes text;

    if (!load_ident(source->ident_file, &ident, error))
        return NULL;
    bytes_init(&text, RULE_FILE_MAX);
    if (rule_file_from_disk(source->file, &text, error)) {
        hba = parse(source, rule_file_from_disk, ident, bytes_span(&text), error);
    } else {
        error_prefix(error, "could not open hba config file");
        ident_destroy(ident);
    }
    bytes_finish(&text);
    return hba;
}

/* ---- matching ---- */

static bool connection_matches(const struct rule *rule, const struct hba_request *request)
{
    const struct sockaddr *address = request->address;
    bool is_local = address->sa_family == AF_UNIX;

    switch (rule->connection) {
    case CONNECTION_LOCAL:
        return is_local;
    case CONNECTION_HOST:
        return !is_local;
    case CONNECTION_HOSTSSL:
        return !is_local && request->is_tls;
    case CONNECTION_HOSTNOSSL:
        return !is_local && !request->is_tls;
    }
    return false;
}

static bool name_matches(const struct name *name, const char *text, const char *user)
{
    switch (name->kind) {
    case NAME_LITERAL:
        return strcmp(name->text, text) == 0;
    case NAME_ALL:
        return true;
    case NAME_SAMEUSER:
        return strcmp(user, text) == 0;
    case NAME_REPLICATION:
        return false;
    case NAME_PATTERN:
        return name_pattern_matches(&name->pattern, text, NULL);
    }
    return false;
}

/* A physical replication connection has no database: only the keyword is for it. */
static bool database_matches(const struct names *names, const struct hba_request *request)
{
    for (int i = 0; i < names->count; i++)
        if (request->is_physical_replication
                ? names->list[i].kind == NAME_REPLICATION
                : name_matches(&names->list[i], request->database, request->user))
            return true;
    return false;
}

static bool user_matches(const struct names *names, const char *user)
{
    for (int i = 0; i < names->count; i++)
        if (name_matches(&names->list[i], user, user))
            return true;
    return false;
}

/* Who comes by a proxy is not here, whatever address that says. */
static bool address_matches(const struct hba *hba, const struct hba_address *address,
                            const struct hba_request *request)
{
    if (request->is_proxied &&
        (hba_address_is_loopback(address) ||
         (address->kind == HBA_ADDRESS_SAMENET && hba_peer_is_loopback(request->address))))
        return false;
    return hba_address_matches(address, &hba->interfaces, request->address);
}

bool hba_match(const struct hba *hba, const struct hba_request *request,
               struct hba_verdict *verdict)
{
    for (const struct rule *rule = hba->first; rule != NULL; rule = rule->next) {
        if (!connection_matches(rule, request) ||
            (rule->connection != CONNECTION_LOCAL &&
             !address_matches(hba, &rule->address, request)) ||
            !database_matches(&rule->databases, request) ||
            !user_matches(&rule->users, request->user))
            continue;
        *verdict = rule->verdict;
        return true;
    }
    return false;
}

static bool may_name(const struct names *names, const char *database)
{
    for (int i = 0; i < names->count; i++) {
        const struct name *name = &names->list[i];
        if (name->kind == NAME_SAMEUSER || (name->kind != NAME_LITERAL && database == NULL) ||
            (database != NULL && name_matches(name, database, database)))
            return true;
    }
    return false;
}

int hba_passthrough_line(const struct hba *hba, const char *database)
{
    for (const struct rule *rule = hba->first; rule != NULL; rule = rule->next)
        if (rule->verdict.method == HBA_PASSTHROUGH && may_name(&rule->databases, database))
            return rule->verdict.line;
    return 0;
}

const struct ident *hba_ident(const struct hba *hba)
{
    return hba->ident;
}

int hba_certificate_line(const struct hba *hba)
{
    return hba->certificate_line;
}
