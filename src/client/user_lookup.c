/* Users who are not in auth_file are asked for by auth_query, through the cache that all workers
 * share (COMPAT 4.5, THREATS §2.5). Known and unknown names, and users without a secret, take the
 * same way here; the dialogue that follows makes them look alike. */
#include <string.h>

#include "base/memory.h"
#include "client_private.h"
#include "server/lookup.h"

#define CONSOLE_NAME "pgbouncer"

/* One client that waits for an answer. It belongs to the cache until that has come. */
struct user_lookup {
    struct user_cache_wait wait;
    struct loop *loop;
    struct client *client; /* the loop's thread alone; NULL: it has gone */
    struct mail mail;
};

/* A query that is under way, for whoever waits for its answer. */
struct question {
    struct client_set *set;
    struct user_cache_limits limits;
    char *database, *name; /* owned: the cache's key */
};

/* ---- what is asked, where, and as whom ---- */

/* Borrowed from the configuration and the client. */
struct place {
    const char *auth_user, *auth_query, *auth_dbname;
};

static const char *own_or(const char *own, const char *global)
{
    return own != NULL ? own : global;
}

static bool is_set(const char *text)
{
    return text != NULL && *text != '\0';
}

static bool may_use_console(const struct client *client)
{
    const struct settings *settings = &client->set->config->settings;

    return name_list_has(settings->admin_users, client->user_name) ||
           name_list_has(settings->stats_users, client->user_name);
}

/* The console's users are those of the global auth_dbname (THREATS §2.13). */
static bool find_console_place(struct client *client, struct place *place)
{
    const struct settings *settings = &client->set->config->settings;

    *place = (struct place){settings->auth_user, settings->auth_query, settings->auth_dbname};
    if (!may_use_console(client) || !is_set(place->auth_user))
        return false;
    if (is_set(place->auth_dbname))
        return true;
    notice_text(client, LOG_ERROR,
                "cannot use the reserved \"pgbouncer\" database as an auth_dbname: a user of the "
                "console who is not in auth_file needs auth_dbname in [pgbouncer]");
    return false;
}

/* False: nobody can be asked about this client. */
static bool find_place(struct client *client, struct place *place)
{
    const struct config *config = client->set->config;
    const struct settings *settings = &config->settings;

    if (client->login->is_console)
        return find_console_place(client, place);
    const struct database_entry *database = config_peek_database(config, client->database_name);
    if (database == NULL || !listener_has_database(client->listener, client->database_name))
        return false;
    *place = (struct place){
        .auth_user = own_or(database->auth_user, settings->auth_user),
        .auth_query = own_or(database->auth_query, settings->auth_query),
        .auth_dbname = own_or(database->auth_dbname, settings->auth_dbname),
    };
    if (!is_set(place->auth_dbname))
        place->auth_dbname = client->database_name;
    return is_set(place->auth_user) && is_set(place->auth_query);
}

/* auth_user itself may log in only if it stands in auth_file. */
static bool is_asked_for(struct client *client, struct place *place)
{
    enum auth_type type = listener_auth(client->listener, &client->set->config->settings);

    if (client->login->method == LOGIN_PASSTHROUGH)
        return false;
    if (client->is_admin || type == AUTH_ANY || type == AUTH_LDAP || type == AUTH_PAM)
        return false;
    if (client->user != NULL && client->user->is_known)
        return false;
    return find_place(client, place) && strcmp(client->user_name, place->auth_user) != 0;
}

static struct user_cache_limits limits_of(const struct client *client)
{
    const struct settings *settings = &client->set->config->settings;

    return (struct user_cache_limits){
        .ttl = settings->auth_cache_ttl,
        .negative_ttl = settings->auth_cache_negative_ttl,
        .stale = settings->auth_cache_stale,
        .size = (unsigned)settings->auth_cache_size,
        .rate = (unsigned)settings->auth_query_max_rate,
    };
}

/* ---- answers ---- */

static enum user_lookup_verdict refuse(struct client *client)
{
    client_refuse_text(client, SQLSTATE_CANNOT_CONNECT, "bouncer config error");
    return USER_LOOKUP_OVER;
}

static void warn_of_age(struct client *client, const struct user_cache_answer *answer)
{
    if (answer->is_stale)
        notice_text(client, LOG_WARNING,
                    "auth_query cannot be asked: an answer older than auth_cache_ttl is used "
                    "(auth_cache_stale)");
}

/* client->user is what the answer says; nobody's is left as it is. */
static enum user_lookup_verdict take(struct client *client, const struct user_cache_answer *answer)
{
    struct user_entry *known = NULL, *user;

    client->login->asked_at = answer->asked_at;
    if (answer->found == USER_CACHE_UNKNOWN || (answer->is_stale && client->login->is_console))
        return refuse(client);
    warn_of_age(client, answer);
    known = config_find_user(client->set->config, client->user_name);
    if (answer->found == USER_CACHE_NOBODY) {
        user_release(client->user);
        client->user = known;
        return USER_LOOKUP_DONE;
    }
    user = user_with_secret(known, client->user_name, answer->secret.text);
    user_release(known);
    if (user == NULL)
        return refuse(client);
    user_release(client->user);
    client->user = user;
    return USER_LOOKUP_DONE;
}

static void deliver(struct mail *mail, struct loop *loop)
{
    struct user_lookup *lookup =
        (struct user_lookup *)((char *)mail - offsetof(struct user_lookup, mail));
    struct client *client = lookup->client;

    (void)loop;
    if (client != NULL) {
        client->login->lookup = NULL;
        if (take(client, &lookup->wait.answer) == USER_LOOKUP_DONE)
            login_user_found(client);
    }
    auth_secret_finish(&lookup->wait.answer.secret);
    memory_free(lookup);
}

static void free_question(struct question *question)
{
    if (question == NULL)
        return;
    memory_free(question->database);
    memory_free(question->name);
    memory_free(question);
}

/* On the worker that has asked; those who wait may be anywhere. */
static void answered(void *argument, const struct user_cache_news *news)
{
    struct question *question = argument;
    const struct user_cache_key key = {question->database, question->name};
    struct user_cache_waits told;
    struct user_cache_wait *wait;

    user_cache_tell(question->set->shared->user_cache, &key, &question->limits, news,
                    loop_now(question->set->loop), &told);
    while ((wait = LIST_FIRST(&told)) != NULL) {
        struct user_lookup *lookup =
            (struct user_lookup *)((char *)wait - offsetof(struct user_lookup, wait));
        LIST_REMOVE(wait, link);
        lookup->mail.deliver = deliver;
        loop_post(lookup->loop, &lookup->mail);
    }
    free_question(question);
}

/* ---- questions ---- */

static void refuse_question(struct question *question)
{
    const struct user_cache_news none = {.found = USER_CACHE_UNKNOWN};

    answered(question, &none);
}

/* Where the query runs; NULL: nowhere, the log says why. */
static struct pool *find_pool(struct client *client, const struct place *place)
{
    const struct client_set *set = client->set;
    struct registry *registry = set->shared->registry;
    struct database_entry *database;
    struct pool *pool = NULL;

    if (strcmp(place->auth_dbname, CONSOLE_NAME) == 0) {
        notice_text(client, LOG_ERROR,
                    "cannot use the reserved \"pgbouncer\" database as an auth_dbname");
        return NULL;
    }
    database = config_find_database(set->config, place->auth_dbname);
    if (database == NULL)
        notice_text(client, LOG_ERROR,
                    "the authentication database (auth_dbname) is not configured");
    else if (registry_is_disabled(registry, place->auth_dbname))
        notice_text(client, LOG_ERROR, "the authentication database (auth_dbname) is disabled");
    else
        pool = registry_lookup_pool(registry, set->config, database, place->auth_user);
    database_release(database);
    return pool;
}

static void ask(struct client *client, const struct place *place, struct question *question)
{
    struct pool *pool = find_pool(client, place);

    if (pool == NULL) {
        refuse_question(question);
        return;
    }
    const struct lookup_request request = {
        .pool = pool,
        .query = place->auth_query,
        .name = client->user_name,
        .answer = answered,
        .argument = question,
    };
    lookup_start(client->set->servers, &request);
    pool_release_reference(pool);
}

static struct question *make_question(const struct client *client)
{
    struct question *question = memory_zalloc(sizeof(*question));

    if (question == NULL)
        return NULL;
    question->set = client->set;
    question->limits = limits_of(client);
    question->database = memory_strdup(client->database_name);
    question->name = memory_strdup(client->user_name);
    if (question->database != NULL && question->name != NULL)
        return question;
    free_question(question);
    return NULL;
}

/* An answer that is not older than `max_age`, now or later. */
static enum user_cache_verdict get(struct client *client, const struct place *place, usec_t max_age,
                                   struct user_cache_answer *answer)
{
    const struct client_set *set = client->set;
    const struct user_cache_limits limits = limits_of(client);
    const struct user_cache_key key = {client->database_name, client->user_name};
    struct user_lookup *lookup = memory_zalloc(sizeof(*lookup));
    struct question *question = make_question(client);
    enum user_cache_verdict verdict = USER_CACHE_FULL;

    if (lookup != NULL && question != NULL) {
        lookup->loop = set->loop;
        lookup->client = client;
        verdict = user_cache_get(set->shared->user_cache, &key, &limits, max_age,
                                 loop_now(set->loop), &lookup->wait, answer);
    }
    if (verdict == USER_CACHE_ASK || verdict == USER_CACHE_WAIT)
        client->login->lookup = lookup;
    else
        memory_free(lookup);
    if (verdict == USER_CACHE_ASK)
        ask(client, place, question);
    else
        free_question(question);
    return verdict;
}

/* What the client is told before its proof (a salt, or the dialogue of a name that nobody has)
 * comes from the answer: another one could not be tried afterwards. */
static bool is_bound_by(const struct client *client, const struct user_cache_answer *answer)
{
    if (answer->found != USER_CACHE_USER || answer->secret.kind == AUTH_SECRET_NONE)
        return true;
    return client->login->method == LOGIN_SCRAM ||
           (client->login->method == LOGIN_MD5 && answer->secret.kind == AUTH_SECRET_SCRAM);
}

static enum user_lookup_verdict look(struct client *client, const struct place *place,
                                     usec_t max_age)
{
    usec_t recheck = client->set->config->settings.auth_cache_recheck;
    usec_t now = loop_now(client->set->loop);
    struct user_cache_answer answer = {0};
    enum user_cache_verdict verdict = get(client, place, max_age, &answer);

    if (verdict == USER_CACHE_HIT && now - answer.asked_at >= recheck &&
        is_bound_by(client, &answer)) {
        auth_secret_finish(&answer.secret);
        verdict = get(client, place, recheck, &answer);
    }
    switch (verdict) {
    case USER_CACHE_HIT:
        break;
    case USER_CACHE_ASK:
    case USER_CACHE_WAIT:
        return USER_LOOKUP_AWAITED;
    case USER_CACHE_FULL:
        notice_text(client, LOG_WARNING,
                    "too many names are being looked up (auth_query_max_rate): this one counts as "
                    "unknown");
        return USER_LOOKUP_DONE;
    }
    enum user_lookup_verdict taken = take(client, &answer);
    auth_secret_finish(&answer.secret);
    return taken;
}

/* ---- doors ---- */

enum user_lookup_verdict user_lookup_start(struct client *client)
{
    struct place place;

    if (!is_asked_for(client, &place))
        return USER_LOOKUP_DONE;
    client->login->is_looked_up = true;
    return look(client, &place, INT64_MAX);
}

enum user_lookup_verdict user_lookup_again(struct client *client)
{
    struct client_login *login = client->login;
    usec_t before = login->asked_at;
    struct place place;

    if (!login->is_looked_up || login->was_asked_again || !find_place(client, &place))
        return USER_LOOKUP_OVER;
    login->was_asked_again = true;
    enum user_lookup_verdict verdict =
        look(client, &place, client->set->config->settings.auth_cache_recheck);
    /* Nothing newer than what the proof was held against. */
    return verdict == USER_LOOKUP_DONE && login->asked_at == before ? USER_LOOKUP_OVER : verdict;
}

bool user_lookup_shape(const struct client *client, struct login_profile *profile)
{
    struct user_cache_shape shape;

    if (!client->login->is_looked_up)
        return false;
    if (!user_cache_shape(client->set->shared->user_cache, &shape))
        shape = (struct user_cache_shape){SCRAM_ITERATIONS_DEFAULT, SCRAM_DERIVED_SALT};
    *profile = (struct login_profile){
        .is_scram = true, .iterations = shape.iterations, .salt_size = shape.salt_size};
    return true;
}

void user_lookup_forget(struct user_lookup *lookup)
{
    if (lookup != NULL)
        lookup->client = NULL;
}
