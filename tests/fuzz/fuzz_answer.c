/* Bodies of what servers send: texts end inside the body, spans lie in it, counts agree. */
#include <assert.h>
#include <string.h>

#include "wire/answer.h"
#include "wire/startup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct span body, struct span part)
{
    if (part.size > 0)
        assert(part.data >= body.data && part.size <= body.size &&
               (size_t)(part.data - body.data) <= body.size - part.size);
}

static void check_error(struct span body)
{
    struct error_response error;

    if (!error_response_read(body, &error))
        return;
    assert(strlen(error.severity) + strlen(error.sqlstate) + strlen(error.message) +
               strlen(error.detail) + strlen(error.hint) + strlen(error.routine) <
           body.size);
}

static void check_texts(struct span body)
{
    const char *name, *value;
    uint32_t version, refused;

    if (parameter_status_read(body, &name, &value))
        assert(strlen(name) + strlen(value) + 2 == body.size);
    if (command_tag_read(body, &name))
        assert(strlen(name) + 1 == body.size);
    if (negotiate_protocol_read(body, &version, &refused))
        assert(refused <= body.size - 8);
    sasl_mechanisms_have(body, "SCRAM-SHA-256");
}

static void check_fixed(struct span body)
{
    uint32_t number;
    uint8_t status;
    struct span part;

    if (backend_key_data_read(body, &number, &part)) {
        check_inside(body, part);
        assert(part.size >= 4 && part.size <= CANCEL_KEY_MAX);
    }
    if (authentication_read(body, &number, &part))
        check_inside(body, part);
    if (ready_for_query_read(body, &status))
        assert(body.size == 1 && strchr("ITE", status) != NULL);
}

static void check_row(struct span body)
{
    unsigned columns = 0;
    struct span value;

    if (!data_row_count(body, &columns))
        assert(body.size < 2);
    for (unsigned i = 0; i < columns && i < 64; i++)
        if (data_row_column(body, i, &value))
            check_inside(body, value);
    assert(!data_row_column(body, columns, &value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = {data, size};

    check_error(body);
    check_texts(body);
    check_fixed(body);
    check_row(body);
    return 0;
}
