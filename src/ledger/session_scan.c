/* The text scan: which session state a text may touch (MECHANISMS §4.6).
 *
 * It runs on every Query and Parse, so most texts must cost next to nothing: the first word tells a
 * SET from a SELECT, and a pass of 16 bytes a step looks for parts of the few names that matter
 * inside of ordinary statements. Only a text that has one is read by the tokenizer, which knows
 * comments, quotes and dollar quotes as PostgreSQL's scan.l does.
 */
#include <string.h>

#include "ledger/session_state.h"

/* -- the tokenizer ------------------------------------------------------------------------------
 */

enum token {
    TOKEN_END,
    TOKEN_WORD,   /* lower-cased in `word` */
    TOKEN_QUOTED, /* "..."; in `word` as it stands */
    TOKEN_STRING, /* '...', E'...', $$...$$; in `word` as it stands if `is_plain` */
    TOKEN_SIGN,   /* any other byte, in word[0]; numbers are '0' */
};

struct scan {
    const char *at, *end;
    enum token token;
    char word[SESSION_NAME_SIZE]; /* cut to fit */
    bool is_plain;                /* a string without escapes, all of it in `word` */
    uint32_t mask;
    struct session_names *names; /* NULL: nobody asks */
};

static char peek(const struct scan *scan, size_t ahead)
{
    return (size_t)(scan->end - scan->at) > ahead ? scan->at[ahead] : '\0';
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool starts_word(char byte)
{
    char lower = (char)(byte | 0x20);
    return (lower >= 'a' && lower <= 'z') || byte == '_' || (byte & 0x80) != 0;
}

static char lower_of(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

static void skip_line(struct scan *scan)
{
    while (scan->at < scan->end && *scan->at != '\n' && *scan->at != '\r')
        scan->at++;
}

/* Comments nest. */
static void skip_comment(struct scan *scan)
{
    unsigned depth = 0;
    while (scan->at < scan->end) {
        if (peek(scan, 0) == '/' && peek(scan, 1) == '*') {
            depth++;
            scan->at += 2;
        } else if (peek(scan, 0) == '*' && peek(scan, 1) == '/') {
            scan->at += 2;
            if (--depth == 0)
                return;
        } else {
            scan->at++;
        }
    }
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end) {
        if (is_space(*scan->at))
            scan->at++;
        else if (peek(scan, 0) == '-' && peek(scan, 1) == '-')
            skip_line(scan);
        else if (peek(scan, 0) == '/' && peek(scan, 1) == '*')
            skip_comment(scan);
        else
            return;
    }
}

static void keep(struct scan *scan, size_t *size, char byte)
{
    if (*size + 1 < sizeof(scan->word))
        scan->word[(*size)++] = byte;
    else
        scan->is_plain = false;
}

/* Behind the opening quote. Under standard_conforming_strings=off a backslash takes the quote
 * behind it; which holds is not known here, so such a text is in doubt. */
static void take_quoted(struct scan *scan, char quote, bool has_escapes)
{
    size_t size = 0;
    scan->is_plain = true;
    for (; scan->at < scan->end; scan->at++) {
        if (quote == '\'' && *scan->at == '\\') {
            scan->is_plain = false;
            if (has_escapes && scan->at + 1 < scan->end)
                scan->at++;
            else if (peek(scan, 1) == '\'')
                scan->mask |= SESSION_DOUBT;
            continue;
        }
        if (*scan->at == quote) {
            if (peek(scan, 1) != quote)
                break;
            scan->at++;
        }
        keep(scan, &size, *scan->at);
    }
    if (scan->at < scan->end)
        scan->at++;
    scan->word[size] = '\0';
}

/* $tag$ ... $tag$. False: it is a parameter or a sign. */
static bool take_dollar_quoted(struct scan *scan)
{
    const char *tag_end = scan->at + 1;
    while (tag_end < scan->end && (starts_word(*tag_end) || is_digit(*tag_end)))
        tag_end++;
    if (tag_end == scan->end || *tag_end != '$' || is_digit(scan->at[1]))
        return false;
    size_t tag = (size_t)(tag_end + 1 - scan->at);
    const char *body = scan->at + tag;
    const char *close = memmem(body, (size_t)(scan->end - body), scan->at, tag);
    scan->at = close ? close + tag : scan->end;
    scan->is_plain = false;
    scan->word[0] = '\0';
    return true;
}

static enum token take_word(struct scan *scan)
{
    size_t size = 0;
    while (scan->at < scan->end &&
           (starts_word(*scan->at) || is_digit(*scan->at) || *scan->at == '$'))
        keep(scan, &size, lower_of(*scan->at++));
    scan->word[size] = '\0';
    if (size == 1 && scan->word[0] == 'e' && peek(scan, 0) == '\'') {
        scan->at++;
        take_quoted(scan, '\'', true);
        return TOKEN_STRING;
    }
    /* Unicode escapes may spell any name. */
    if (size == 1 && scan->word[0] == 'u' && peek(scan, 0) == '&' &&
        (peek(scan, 1) == '"' || peek(scan, 1) == '\''))
        scan->mask |= SESSION_DOUBT;
    return TOKEN_WORD;
}

static enum token next_token(struct scan *scan)
{
    skip_space(scan);
    if (scan->at >= scan->end)
        return scan->token = TOKEN_END;
    char byte = *scan->at;
    if (starts_word(byte))
        return scan->token = take_word(scan);
    if (byte == '$' && take_dollar_quoted(scan))
        return scan->token = TOKEN_STRING;
    scan->at++;
    if (byte == '\'' || byte == '"') {
        take_quoted(scan, byte, false);
        return scan->token = byte == '"' ? TOKEN_QUOTED : TOKEN_STRING;
    }
    scan->word[0] = is_digit(byte) ? '0' : byte;
    scan->word[1] = '\0';
    if (is_digit(byte))
        while (scan->at < scan->end && (is_digit(*scan->at) || starts_word(*scan->at)))
            scan->at++;
    return scan->token = TOKEN_SIGN;
}

static bool is_word(const struct scan *scan, const char *word)
{
    return scan->token == TOKEN_WORD && strcmp(scan->word, word) == 0;
}

static bool is_sign(const struct scan *scan, char sign)
{
    return scan->token == TOKEN_SIGN && scan->word[0] == sign;
}

static bool is_statement_end(const struct scan *scan)
{
    return scan->token == TOKEN_END || is_sign(scan, ';');
}

/* -- what it means ------------------------------------------------------------------------------
 */

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

static void note_setting(struct scan *scan, const char *name)
{
    /* They follow a client by what servers report. */
    static const char *const reported[] = {"client_encoding",
                                           "names",
                                           "datestyle",
                                           "application_name",
                                           "timezone",
                                           "time",
                                           "standard_conforming_strings",
                                           NULL};
    if (is_one_of(name, reported)) {
        scan->mask |= SESSION_REPORTED;
        return;
    }
    if (strcmp(name, "role") == 0 || strcmp(name, "session_authorization") == 0) {
        scan->mask |= SESSION_ROLE;
        return;
    }
    scan->mask |= SESSION_SETTINGS;
    struct session_names *names = scan->names;
    if (!names || !strchr(name, '.'))
        return;
    size_t size = strlen(name) + 1;
    if (names->count == SESSION_NAMES_MAX || size > SESSION_NAME_SIZE) {
        names->are_more = true;
        return;
    }
    memcpy(names->names[names->count++], name, size);
}

/* The name in front, perhaps with dots: the token behind it is read. */
static void read_setting_name(struct scan *scan, char name[SESSION_TARGET_SIZE])
{
    size_t size = 0;
    for (;;) {
        if (scan->token != TOKEN_WORD && scan->token != TOKEN_QUOTED)
            break;
        size_t part = strlen(scan->word);
        if (size + part + 2 > SESSION_TARGET_SIZE) {
            scan->mask |= SESSION_UNKNOWN;
            break;
        }
        for (size_t i = 0; i < part; i++)
            name[size++] = lower_of(scan->word[i]);
        next_token(scan);
        if (!is_sign(scan, '.'))
            break;
        name[size++] = '.';
        next_token(scan);
    }
    name[size] = '\0';
}

static void take_setting_name(struct scan *scan)
{
    char name[SESSION_TARGET_SIZE];
    read_setting_name(scan, name);
    note_setting(scan, name);
}

/* What is left of a SET: back to the default? */
static void take_default(struct scan *scan)
{
    for (; !is_statement_end(scan); next_token(scan))
        if (is_word(scan, "default"))
            scan->mask |= SESSION_RESETS;
}

/* To where a reported setting was SET, its server says by itself. */
static void forget_reported(struct scan *scan, uint32_t before)
{
    if (!(scan->mask & SESSION_RESETS))
        scan->mask &= ~(uint32_t)SESSION_REPORTED | before;
}

static void take_set(struct scan *scan)
{
    uint32_t before = scan->mask;
    next_token(scan);
    if (is_word(scan, "local") || is_word(scan, "transaction") || is_word(scan, "constraints"))
        return;
    if (is_word(scan, "session")) {
        next_token(scan);
        if (is_word(scan, "authorization")) {
            scan->mask |= SESSION_ROLE;
            take_default(scan);
            return;
        }
    }
    take_setting_name(scan);
    take_default(scan);
    forget_reported(scan, before);
}

static void take_reset(struct scan *scan)
{
    next_token(scan);
    scan->mask |= SESSION_RESETS;
    if (is_word(scan, "session"))
        scan->mask |= SESSION_ROLE;
    else
        take_setting_name(scan);
}

static void take_discard(struct scan *scan)
{
    next_token(scan);
    if (is_word(scan, "all"))
        scan->mask |=
            (SESSION_DOUBT & ~(uint32_t)SESSION_UNKNOWN) | SESSION_RESETS | SESSION_FORGETS;
    else if (is_word(scan, "sequences"))
        scan->mask |= SESSION_ENDING | SESSION_FORGETS;
    else if (!is_word(scan, "plans"))
        scan->mask |= SESSION_TEMP | SESSION_ENDING;
}

/* CREATE [OR REPLACE] [GLOBAL | LOCAL] TEMP ... */
static void take_create(struct scan *scan)
{
    static const char *const before[] = {"or", "replace", "global", "local", NULL};
    do
        next_token(scan);
    while (scan->token == TOKEN_WORD && is_one_of(scan->word, before));
    if (is_word(scan, "temp") || is_word(scan, "temporary"))
        scan->mask |= SESSION_TEMP;
}

static void take_declare(struct scan *scan)
{
    while (next_token(scan), !is_statement_end(scan))
        if (is_word(scan, "hold"))
            scan->mask |= SESSION_CURSOR;
        else if (is_word(scan, "for"))
            return;
}

static void take_prepare(struct scan *scan)
{
    next_token(scan);
    if (!is_word(scan, "transaction"))
        scan->mask |= SESSION_PREPARE;
}

/* What a first word says by itself. */
static uint32_t mask_of_first_word(const char *word)
{
    static const struct {
        const char *word;
        uint32_t mask;
    } masks[] = {
        {"deallocate", SESSION_PREPARE}, {"listen", SESSION_LISTEN | SESSION_LISTENS},
        {"unlisten", SESSION_LISTEN},    {"load", SESSION_LOAD},
        {"do", SESSION_DOUBT},           {"call", SESSION_DOUBT},
        {"drop", SESSION_ENDING},        {"close", SESSION_ENDING},
    };
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
        if (strcmp(word, masks[i].word) == 0)
            return masks[i].mask;
    return 0;
}

static void take_first_word(struct scan *scan)
{
    static const struct {
        const char *word;
        void (*take)(struct scan *scan);
    } takes[] = {
        {"set", take_set},       {"reset", take_reset},     {"discard", take_discard},
        {"create", take_create}, {"declare", take_declare}, {"prepare", take_prepare},
    };
    scan->mask |= mask_of_first_word(scan->word);
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++)
        if (strcmp(scan->word, takes[i].word) == 0) {
            takes[i].take(scan);
            return;
        }
}

/* set_config(name, value, is_local): behind its '('. With `true` as the last argument it ends with
 * the transaction. */
static void take_set_config(struct scan *scan)
{
    char name[SESSION_NAME_SIZE] = "";
    bool is_local = false;
    int depth = 1, arguments = 0;
    next_token(scan);
    bool is_literal = scan->token == TOKEN_STRING && scan->is_plain;
    if (is_literal)
        for (size_t i = 0; (name[i] = lower_of(scan->word[i])); i++)
            ;
    for (; depth > 0 && !is_statement_end(scan); next_token(scan)) {
        if (is_sign(scan, '('))
            depth++;
        else if (is_sign(scan, ')'))
            depth--;
        else if (is_sign(scan, ',') && depth == 1)
            arguments++;
        if (depth > 0)
            is_local = arguments == 2 && is_word(scan, "true");
        if (arguments == 0 && (depth > 1 || is_sign(scan, '|')))
            is_literal = false;
        if (depth == 0)
            break;
    }
    if (is_local)
        return;
    uint32_t before = scan->mask;
    if (is_literal)
        note_setting(scan, name);
    else
        scan->mask |= SESSION_DOUBT;
    forget_reported(scan, before);
}

/* A name inside of a statement. */
static void take_name(struct scan *scan)
{
    static const char *const sequence[] = {"currval", "lastval", "setseed", NULL};
    const char *word = scan->word;
    if (strcmp(word, "set_config") == 0) {
        next_token(scan);
        if (is_sign(scan, '('))
            take_set_config(scan);
        return;
    }
    if (strcmp(word, "into") == 0) {
        next_token(scan);
        if (is_word(scan, "temp") || is_word(scan, "temporary"))
            scan->mask |= SESSION_TEMP;
        return;
    }
    if (is_one_of(word, sequence))
        scan->mask |= SESSION_SEQUENCE;
    else if (strcmp(word, "execute") == 0)
        scan->mask |= SESSION_EXECUTES;
    else if (strncmp(word, "pg_temp", 7) == 0)
        scan->mask |= SESSION_TEMP;
    else if (strstr(word, "advisory") && !strstr(word, "_xact"))
        scan->mask |= SESSION_ADVISORY;
    next_token(scan);
}

static void read_statement(struct scan *scan)
{
    if (scan->token == TOKEN_WORD)
        take_first_word(scan);
    while (!is_statement_end(scan))
        if (scan->token == TOKEN_WORD || scan->token == TOKEN_QUOTED)
            take_name(scan);
        else
            next_token(scan);
}

uint32_t session_scan_names(const char *text, size_t size, struct session_names *names)
{
    struct scan scan = {.at = text, .end = text + size, .names = names};
    if (names) {
        names->count = 0;
        names->are_more = false;
    }
    if (size > SESSION_SCAN_MAX)
        return SESSION_DOUBT;
    do {
        next_token(&scan);
        read_statement(&scan);
    } while (scan.token != TOKEN_END);
    return scan.mask;
}

/* Behind SET or RESET. */
static void read_target(struct scan *scan, struct session_target *target)
{
    if (is_word(scan, "local") || is_word(scan, "transaction") || is_word(scan, "constraints"))
        return;
    target->kind = SESSION_TARGET_NAME;
    if (is_word(scan, "session")) {
        next_token(scan);
        if (is_word(scan, "authorization")) {
            strcpy(target->name, "session_authorization");
            return;
        }
    }
    read_setting_name(scan, target->name);
}

void session_scan_target(const char *text, size_t size, struct session_target *target)
{
    struct scan scan = {.at = text, .end = text + size};
    *target = (struct session_target){.kind = SESSION_TARGET_NOTHING};
    do
        next_token(&scan);
    while (is_sign(&scan, ';'));
    bool resets = is_word(&scan, "reset"), discards = is_word(&scan, "discard");
    if (!resets && !discards && !is_word(&scan, "set"))
        return;
    target->is_reset = resets;
    next_token(&scan);
    if (resets && is_word(&scan, "all"))
        target->kind = SESSION_TARGET_SETTINGS;
    else if (discards)
        target->kind = is_word(&scan, "all") ? SESSION_TARGET_EVERYTHING : SESSION_TARGET_NOTHING;
    else
        read_target(&scan, target);
}

bool session_find_prepare(const char *text, size_t size, const char *name,
                          struct session_piece *piece)
{
    struct scan scan = {.at = text, .end = text + size};
    int statements = 0, found = 0;
    do {
        skip_space(&scan);
        const char *start = scan.at;
        next_token(&scan);
        statements += !is_statement_end(&scan);
        bool is_prepare = is_word(&scan, "prepare");
        if (is_prepare)
            next_token(&scan);
        bool is_name = scan.token == TOKEN_WORD || scan.token == TOKEN_QUOTED;
        is_prepare = is_prepare && is_name && strcmp(scan.word, name) == 0;
        while (!is_statement_end(&scan))
            next_token(&scan);
        if (is_prepare) {
            const char *end = scan.token == TOKEN_END ? scan.at : scan.at - 1;
            *piece = (struct session_piece){(size_t)(start - text), (size_t)(end - start)};
            found++;
        }
    } while (scan.token != TOKEN_END);
    if (found == 1 && statements == 1)
        *piece = (struct session_piece){0, size};
    return found == 1 && scan.mask == 0;
}

/* -- the short way ------------------------------------------------------------------------------
 */

typedef uint8_t block __attribute__((vector_size(16)));

static inline block all(uint8_t byte)
{
    return (block){byte, byte, byte, byte, byte, byte, byte, byte,
                   byte, byte, byte, byte, byte, byte, byte, byte};
}

static inline block load(const char *at)
{
    block loaded;
    memcpy(&loaded, at, sizeof(loaded));
    return loaded | all(0x20); /* letters in lower case; '_' becomes 0x7f */
}

/* Parts of the names that matter: se[t_c]onfig, a[dv]isory, cur[rv]al, las[tv]al, se[tse]ed,
 * t[emp], pg_t[emp] (d, r and t differ in the bits of 0x16, as b, f and p do); and what ends a
 * statement or begins a Unicode escape. */
#define PART_SIZE 18
static inline block parts_at(const char *at)
{
    block first = load(at), second = load(at + 1), third = load(at + 2);
#define IS(block, byte) ((block) == all(byte))
    return (block)((IS(second, 'v') & IS(first | all(0x16), 'v')) |
                   (IS(first, 't') &
                    ((IS(second, 0x7f) & IS(third, 'c')) | (IS(second, 's') & IS(third, 'e')))) |
                   (IS(first, 'e') & IS(second, 'm') & IS(third, 'p')) | IS(first, ';') |
                   IS(first, '&'));
#undef IS
}

static bool has_parts(const char *text, size_t size)
{
    char padded[PART_SIZE] = {0};
    uint64_t halves[2];
    block found = all(0);
    if (size < PART_SIZE) {
        memcpy(padded, text, size);
        found = parts_at(padded);
    } else {
        for (size_t at = 0; at + PART_SIZE <= size; at += sizeof(block))
            found |= parts_at(text + at);
        found |= parts_at(text + size - PART_SIZE);
    }
    memcpy(halves, &found, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

/* Ordinary statements, whose first word touches nothing. A longer word that begins alike begins no
 * statement. */
static bool begins_ordinarily(const char *text, size_t size)
{
    char front[8] = {0};
    uint64_t letters;
    memcpy(front, text, size < sizeof(front) ? size : sizeof(front));
    memcpy(&letters, front, sizeof(letters));
    letters |= 0x2020202020202020u;
    memcpy(front, &letters, sizeof(front));
#define BEGINS(word) (memcmp(front, word, sizeof(word) - 1) == 0)
    switch (front[0]) {
    case 's':
        return BEGINS("select");
    case 'i':
        return BEGINS("insert");
    case 'u':
        return BEGINS("update");
    case 'd':
        return BEGINS("delete");
    case 'w':
        return BEGINS("with");
    case 'b':
        return BEGINS("begin");
    case 'c':
        return BEGINS("commit") || BEGINS("copy");
    case 'r':
        return BEGINS("rollback");
    case 'e':
        return BEGINS("end");
    default:
        return false;
    }
#undef BEGINS
}

uint32_t session_scan(const char *text, size_t size)
{
    size_t end = size;
    while (end > 0 && ((uint8_t)text[end - 1] <= ' ' || text[end - 1] == ';'))
        end--;
    if (begins_ordinarily(text, end) && !has_parts(text, end))
        return 0;
    return session_scan_names(text, size, NULL);
}
