/* connstring: the key=value pairs in a line of [databases], [users] and [peers] (COMPAT 1.3).
 *
 * Reads in place and changes the text: keys and values become zero-terminated pieces of it,
 * unquoted. The caller owns the text and keeps it as long as the pieces. Knows no key. No state, no
 * allocation. Any thread.
 */
#pragma once

enum connstring_verdict { CONNSTRING_PAIR, CONNSTRING_END, CONNSTRING_BROKEN };

/* Takes the next pair from *at and moves it behind. BROKEN: no '=', no key, an empty value, or a
 * quote that is not closed; *at is then where it was. */
enum connstring_verdict connstring_next(char **at, const char **key, const char **value);
