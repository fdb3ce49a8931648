#include "gateway/json_value.h"

#include <string.h>

#include "base/bytes.h"
#include "gateway/json_text.h"

#define ARRAY_DEPTH_MAX 6 /* PostgreSQL's MAXDIM */

enum shape { SHAPE_STRING, SHAPE_BOOL, SHAPE_NUMBER, SHAPE_JSON };

/* Type OIDs of the catalogue pg_type, which are the same for ever. */
static const struct {
    uint32_t type, array;
    enum shape shape;
} shapes[] = {
    {16, 1000, SHAPE_BOOL},    /* bool */
    {21, 1005, SHAPE_NUMBER},  /* int2 */
    {23, 1007, SHAPE_NUMBER},  /* int4 */
    {700, 1021, SHAPE_NUMBER}, /* float4 */
    {701, 1022, SHAPE_NUMBER}, /* float8 */
    {114, 199, SHAPE_JSON},    /* json */
    {3802, 3807, SHAPE_JSON},  /* jsonb */
};

static enum shape shape_of(uint32_t type, bool *is_array)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        *is_array = shapes[i].array == type;
        if (*is_array || shapes[i].type == type)
            return shapes[i].shape;
    }
    *is_array = false;
    return SHAPE_STRING;
}

static void put_scalar(struct spool *spool, enum shape shape, struct span text)
{
    if (shape == SHAPE_BOOL && (span_is(text, "t") || span_is(text, "f")))
        spool_text(spool, text.data[0] == 't' ? "true" : "false");
    else if ((shape == SHAPE_NUMBER && json_is_number(text)) ||
             (shape == SHAPE_JSON && json_is_value(text)))
        spool_put(spool, text.data, text.size);
    else
        json_string(spool, text);
}

/* ---- arrays: array_out's form, "[1:2]={1,NULL}", `{"a b",{...}}` ---- */

struct array_reader {
    const uint8_t *at, *end;
    enum shape shape;
    struct spool *spool; /* NULL: only looks whether it is an array */
    struct bytes unquoted;
};

static bool array_took(struct array_reader *reader, char byte)
{
    if (reader->at == reader->end || *reader->at != (uint8_t)byte)
        return false;
    reader->at++;
    return true;
}

static void put_text(const struct array_reader *reader, const char *text)
{
    if (reader->spool != NULL)
        spool_text(reader->spool, text);
}

static bool take_quoted(struct array_reader *reader)
{
    bytes_clear(&reader->unquoted);
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at == '\\' && ++reader->at == reader->end)
            return false;
        bytes_u8(&reader->unquoted, *reader->at++);
    }
    if (!array_took(reader, '"') || !bytes_ok(&reader->unquoted))
        return false;
    if (reader->spool != NULL)
        put_scalar(reader->spool, reader->shape, bytes_span(&reader->unquoted));
    return true;
}

static bool take_plain(struct array_reader *reader)
{
    const uint8_t *start = reader->at;

    while (reader->at < reader->end && strchr(",{}\"\\", *reader->at) == NULL)
        reader->at++;
    const struct span text = {start, (size_t)(reader->at - start)};
    if (text.size == 0)
        return false;
    if (span_is(text, "NULL"))
        put_text(reader, "null");
    else if (reader->spool != NULL)
        put_scalar(reader->spool, reader->shape, text);
    return true;
}

/* Behind its '{'. No deeper than PostgreSQL's own arrays, so the recursion is bounded. */
static bool take_array(struct array_reader *reader, int depth)
{
    put_text(reader, "[");
    if (!array_took(reader, '}')) {
        do {
            bool is_taken;
            if (array_took(reader, '{'))
                is_taken = depth < ARRAY_DEPTH_MAX && take_array(reader, depth + 1);
            else
                is_taken = array_took(reader, '"') ? take_quoted(reader) : take_plain(reader);
            if (!is_taken)
                return false;
            if (array_took(reader, '}'))
                break;
            put_text(reader, ",");
        } while (array_took(reader, ','));
        if (reader->at[-1] != '}')
            return false;
    }
    put_text(reader, "]");
    return true;
}

/* "[1:2][0:3]=" in front. */
static void skip_bounds(struct array_reader *reader)
{
    const uint8_t *sign;

    if (reader->at == reader->end || *reader->at != '[')
        return;
    sign = memchr(reader->at, '=', (size_t)(reader->end - reader->at));
    if (sign != NULL)
        reader->at = sign + 1;
}

static bool read_array(struct spool *spool, enum shape shape, struct span text)
{
    struct array_reader reader = {
        .at = text.data, .end = text.data + text.size, .shape = shape, .spool = spool};

    bytes_init(&reader.unquoted, text.size);
    skip_bounds(&reader);
    bool is_read = array_took(&reader, '{') && take_array(&reader, 1) && reader.at == reader.end;
    bytes_finish(&reader.unquoted);
    return is_read;
}

void json_value(struct spool *spool, uint32_t type, struct span text)
{
    bool is_array;
    enum shape shape = shape_of(type, &is_array);

    if (!is_array)
        put_scalar(spool, shape, text);
    else if (text.size > 0 && read_array(NULL, shape, text))
        read_array(spool, shape, text);
    else
        json_string(spool, text);
}
