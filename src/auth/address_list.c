#include "auth/address_list.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "hba_address.h"

#define SEPARATORS  ", \t"
#define WORD_LENGTH 63

enum word_kind { WORD_ALL, WORD_LOCAL, WORD_NETWORK };

struct word {
    enum word_kind kind;
    bool is_denied;
    struct hba_network network;
};

struct address_list {
    _Atomic int references;
    int count;
    bool names_guests; /* a word without !: who is in none of them is out */
    struct word words[];
};

static bool refuse(struct error *error, const char *word, const char *why)
{
    return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "\"%s\" %s", word, why);
}

static bool take_word(struct word *word, const char *text, struct error *error)
{
    const char *name = text;

    word->is_denied = *name == '!';
    if (word->is_denied)
        name++;
    if (strcmp(name, "all") == 0 || strcmp(name, "local") == 0) {
        word->kind = *name == 'a' ? WORD_ALL : WORD_LOCAL;
        return true;
    }
    word->kind = WORD_NETWORK;
    if (!hba_network_parse(name, &word->network))
        return refuse(error, text,
                      "is no IPv4 or IPv6 address, network (ADDRESS/BITS), local or all");
    return !hba_network_has_host_bits(&word->network) ||
           refuse(error, text, "has bits outside its network: a single address has no /BITS");
}

static bool parse(struct address_list *list, const char *text, struct error *error)
{
    for (;;) {
        char word[WORD_LENGTH + 1];

        text += strspn(text, SEPARATORS);
        size_t length = strcspn(text, SEPARATORS);
        if (length == 0)
            return list->count > 0 || error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "no address");
        snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : WORD_LENGTH),
                 text);
        if (length > WORD_LENGTH)
            return refuse(error, word, "is too long for an address");
        if (list->count == ADDRESS_LIST_MAX)
            return error_set(error, SQLSTATE_CONFIG_FILE_ERROR, "more than %d addresses",
                             ADDRESS_LIST_MAX);
        if (!take_word(&list->words[list->count], word, error))
            return false;
        list->names_guests |= !list->words[list->count++].is_denied;
        text += length;
    }
}

struct address_list *address_list_parse(const char *text, struct error *error)
{
    struct address_list *list =
        memory_zalloc(sizeof(*list) + ADDRESS_LIST_MAX * sizeof(list->words[0]));

    if (list == NULL) {
        (void)error_set(error, SQLSTATE_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    if (!parse(list, text, error)) {
        memory_free(list);
        return NULL;
    }
    /* Most lists are short. */
    size_t size = sizeof(*list) + (size_t)list->count * sizeof(list->words[0]);
    struct address_list *fitting = memory_resize_array(list, 1, size);
    list = fitting != NULL ? fitting : list;
    atomic_init(&list->references, 1);
    return list;
}

struct address_list *address_list_acquire(struct address_list *list)
{
    if (list != NULL)
        atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
    return list;
}

void address_list_release(struct address_list *list)
{
    if (list != NULL && atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) == 1)
        memory_free(list);
}

static bool fits(const struct word *word, const void *peer)
{
    const struct sockaddr *address = peer;

    switch (word->kind) {
    case WORD_ALL:
        return true;
    case WORD_LOCAL:
        return address->sa_family == AF_UNIX;
    case WORD_NETWORK:
        return hba_network_has(&word->network, peer);
    }
    return false;
}

bool address_list_allows(const struct address_list *list, const void *peer)
{
    bool is_named = list == NULL || !list->names_guests;

    for (int i = 0; list != NULL && i < list->count; i++) {
        if (!fits(&list->words[i], peer))
            continue;
        if (list->words[i].is_denied)
            return false;
        is_named = true;
    }
    return is_named;
}
