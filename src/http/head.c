#include "http/head.h"

#include <string.h>
#include <strings.h>

static enum http_verdict refuse(struct http_head *head, int status, const char *why)
{
    head->status = status;
    head->why = why;
    return HTTP_BAD;
}

/* RFC 9110 §5.6.2. */
static bool is_token_byte(uint8_t byte)
{
    if ((byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'))
        return true;
    return byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL;
}

static bool is_token(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!is_token_byte(text.data[i]))
            return false;
    return text.size > 0;
}

bool http_is(struct span text, const char *word)
{
    return text.size == strlen(word) &&
           (text.size == 0 || strncasecmp((const char *)text.data, word, text.size) == 0);
}

/* The next line without its CR LF. Every byte that may not stand in a head is refused here. */
static enum http_verdict take_line(struct http_head *head, struct span input, struct span *line)
{
    size_t start = head->size;
    for (size_t i = start; i < input.size; i++) {
        uint8_t byte = input.data[i];
        if (byte == '\r') {
            if (i + 1 == input.size)
                return HTTP_MORE;
            if (input.data[i + 1] != '\n')
                return refuse(head, 400, "a CR without its LF");
            *line = (struct span){input.data + start, i - start};
            head->size = i + 2;
            return HTTP_WHOLE;
        }
        if (byte == '\n')
            return refuse(head, 400, "an LF without its CR");
        if ((byte < ' ' && byte != '\t') || byte == 0x7f)
            return refuse(head, 400, "a control character");
    }
    return HTTP_MORE;
}

static enum http_method method_of(struct span text)
{
    static const struct {
        const char *name;
        enum http_method method;
    } known[] = {
        {"GET", HTTP_GET}, {"HEAD", HTTP_HEAD}, {"POST", HTTP_POST}, {"OPTIONS", HTTP_OPTIONS}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (span_is(text, known[i].name))
            return known[i].method;
    return HTTP_OTHER;
}

/* Up to a space, which is taken, too; empty if there is none. */
static struct span take_word(struct span *rest)
{
    const uint8_t *space = rest->size > 0 ? memchr(rest->data, ' ', rest->size) : NULL;
    struct span word = {0};
    if (!space)
        return word;
    word = (struct span){rest->data, (size_t)(space - rest->data)};
    *rest = (struct span){space + 1, rest->size - word.size - 1};
    return word;
}

static bool is_target(const struct http_head *head)
{
    for (size_t i = 0; i < head->target.size; i++)
        if (head->target.data[i] <= ' ' || head->target.data[i] >= 0x7f)
            return false;
    if (head->method == HTTP_OPTIONS && span_is(head->target, "*"))
        return true;
    return head->target.size > 0 && head->target.data[0] == '/';
}

static void split_target(struct http_head *head)
{
    struct span target = head->target;
    const uint8_t *mark = target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
    head->path = target;
    if (!mark)
        return;
    head->path.size = (size_t)(mark - target.data);
    head->query = (struct span){mark + 1, target.size - head->path.size - 1};
}

static enum http_verdict read_request_line(struct http_head *head, struct span line)
{
    struct span method = take_word(&line);
    head->target = take_word(&line);
    if (!is_token(method))
        return refuse(head, 400, "no HTTP request line");
    if (span_is(line, "HTTP/1.1"))
        head->minor = 1;
    else if (!span_is(line, "HTTP/1.0"))
        return refuse(head, 400, "neither HTTP/1.1 nor HTTP/1.0");
    head->method = method_of(method);
    head->keep_alive = head->minor == 1;
    if (!is_target(head))
        return refuse(head, 400, "a request target that is not a path");
    split_target(head);
    return HTTP_WHOLE;
}

static struct span trimmed(struct span value)
{
    while (value.size > 0 && (value.data[0] == ' ' || value.data[0] == '\t'))
        value = (struct span){value.data + 1, value.size - 1};
    while (value.size > 0 &&
           (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
        value.size--;
    return value;
}

static enum http_verdict read_length(struct http_head *head, struct span value)
{
    if (head->has_length)
        return refuse(head, 400, "Content-Length twice");
    if (value.size == 0 || value.size > 18)
        return refuse(head, 400, "a Content-Length that is no number");
    head->has_length = true;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return refuse(head, 400, "a Content-Length that is no number");
        head->length = head->length * 10 + (uint64_t)(value.data[i] - '0');
    }
    return HTTP_WHOLE;
}

/* `close` and `keep-alive` of a list; other words name fields that end here, which none of ours
 * does. */
static void read_connection(struct http_head *head, struct span value)
{
    while (value.size > 0) {
        const uint8_t *comma = memchr(value.data, ',', value.size);
        size_t size = comma ? (size_t)(comma - value.data) : value.size;
        struct span word = trimmed((struct span){value.data, size});
        if (http_is(word, "close"))
            head->keep_alive = false;
        else if (http_is(word, "keep-alive") && head->minor == 0)
            head->keep_alive = true;
        size_t taken = comma ? size + 1 : size;
        value = (struct span){value.data + taken, value.size - taken};
    }
}

static enum http_verdict read_meaning(struct http_head *head, const struct http_field *field)
{
    if (http_is(field->name, "host")) {
        if (head->host.data)
            return refuse(head, 400, "Host twice");
        head->host = field->value;
    } else if (http_is(field->name, "content-length")) {
        return read_length(head, field->value);
    } else if (http_is(field->name, "transfer-encoding")) {
        if (head->is_chunked)
            return refuse(head, 400, "Transfer-Encoding twice");
        if (!http_is(field->value, "chunked"))
            return refuse(head, 400, "a transfer coding that is not chunked");
        head->is_chunked = true;
    } else if (http_is(field->name, "connection")) {
        read_connection(head, field->value);
    } else if (http_is(field->name, "upgrade")) {
        head->has_upgrade = true;
    }
    return HTTP_WHOLE;
}

static enum http_verdict read_field(struct http_head *head, struct span line)
{
    if (line.data[0] == ' ' || line.data[0] == '\t')
        return refuse(head, 400, "a folded field");
    const uint8_t *colon = memchr(line.data, ':', line.size);
    if (!colon)
        return refuse(head, 400, "a field without a colon");
    if (head->count == HTTP_FIELDS_MAX)
        return refuse(head, 431, "too many fields");
    struct http_field *field = &head->fields[head->count];
    size_t name = (size_t)(colon - line.data);
    field->name = (struct span){line.data, name};
    field->value = trimmed((struct span){colon + 1, line.size - name - 1});
    if (!is_token(field->name))
        return refuse(head, 400, "a field name that is none");
    head->count++;
    return read_meaning(head, field);
}

/* What the fields say together. */
static enum http_verdict check(struct http_head *head)
{
    if (head->is_chunked && head->has_length)
        return refuse(head, 400, "Content-Length beside Transfer-Encoding");
    if (head->is_chunked && head->minor == 0)
        return refuse(head, 400, "a chunked body in HTTP/1.0");
    if (head->minor == 1 && !head->host.data)
        return refuse(head, 400, "no Host");
    if (head->has_upgrade && (head->is_chunked || head->length > 0))
        return refuse(head, 400, "an Upgrade with a body");
    return HTTP_WHOLE;
}

static enum http_verdict read_lines(struct http_head *head, struct span input)
{
    struct span line;
    enum http_verdict verdict = take_line(head, input, &line);
    if (verdict == HTTP_WHOLE)
        verdict = read_request_line(head, line);
    while (verdict == HTTP_WHOLE) {
        verdict = take_line(head, input, &line);
        if (verdict != HTTP_WHOLE)
            return verdict;
        if (line.size == 0)
            return check(head);
        verdict = read_field(head, line);
    }
    return verdict;
}

enum http_verdict http_head_read(struct span input, struct http_head *head)
{
    memset(head, 0, sizeof(*head));
    bool is_long = input.size > HTTP_HEAD_MAX;
    if (is_long)
        input.size = HTTP_HEAD_MAX;
    enum http_verdict verdict = read_lines(head, input);
    return verdict == HTTP_MORE && is_long ? refuse(head, 431, "a head that is too large")
                                           : verdict;
}

struct span http_head_field(const struct http_head *head, const char *name)
{
    for (int i = 0; i < head->count; i++)
        if (http_is(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct span){0};
}
