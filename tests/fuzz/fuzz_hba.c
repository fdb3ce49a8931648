/* hba, ident: whatever stands in the files, there are rules, or a reason with the place; what was
 * read can be asked. The bytes up to the first zero are the maps, those behind it the rules. */
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#include "auth/hba.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct hba *hba)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    struct hba_request request = {.database = "app", .user = "alice", .address = &address};
    struct hba_verdict verdict = {.line = 0};

    for (int family = 0; family < 3; family++) {
        address.sin6_family = (sa_family_t)(family == 0   ? AF_INET6
                                            : family == 1 ? AF_INET
                                                          : AF_UNIX);
        request.is_tls = !request.is_tls;
        assert(!hba_match(hba, &request, &verdict) || verdict.line > 0);
    }
    assert(hba_certificate_line(hba) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t maps = zero != NULL ? (size_t)(zero - data) : 0;
    const uint8_t *rules = zero != NULL ? zero + 1 : data;
    struct ident *ident = ident_create();
    struct error error = {.message = ""};

    if (ident == NULL)
        return 0;
    if (!ident_parse(ident, "ident.conf", data, maps, &error)) {
        assert(error.message[0] != '\0');
        ident_destroy(ident);
        return 0;
    }
    struct hba *hba = hba_parse(&(struct hba_source){.file = "hba.conf"}, ident, rules,
                                size - (size_t)(rules - data), &error);
    assert((hba != NULL) == (error.message[0] == '\0'));
    if (hba != NULL)
        ask(hba);
    hba_release(hba);
    return 0;
}
