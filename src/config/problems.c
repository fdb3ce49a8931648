#include <stdarg.h>
#include <stdio.h>

#include "base/memory.h"
#include "load_private.h"

#define PROBLEM_MAX 1024

/* A problem that finds no memory is still counted: it must refuse the load. */
void problems_add(struct config_problems *problems, struct ini_place place, const char *key,
                  const char *format, ...)
{
    char head[PROBLEM_MAX] = "", reason[PROBLEM_MAX], line[3 * PROBLEM_MAX];
    va_list arguments;

    if (problems == NULL || problems->count++ >= CONFIG_PROBLEMS_MAX)
        return;
    if (place.file != NULL && place.line > 0)
        (void)snprintf(head, sizeof head, "%s:%d: ", place.file, place.line);
    else if (place.file != NULL)
        (void)snprintf(head, sizeof head, "%s: ", place.file);
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    (void)snprintf(line, sizeof line, "%s%s%s%s", head, key != NULL ? key : "",
                   key != NULL ? ": " : "", reason);
    problems->lines[problems->count - 1] = memory_strdup(line);
}

void config_problems_finish(struct config_problems *problems)
{
    for (int i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++)
        memory_free(problems->lines[i]);
    *problems = (struct config_problems){0};
}
