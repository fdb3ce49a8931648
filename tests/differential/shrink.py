"""Makes a script that shows a difference as small as it can: fewer scripts before it, steps, messages, settings."""

import copy
import time


def shrink(scripts, differs, seconds=60):
    """`differs(scripts)` is true while the difference shows. The last script is the one that showed it."""
    deadline = time.monotonic() + seconds

    def still(candidate):
        return time.monotonic() < deadline and differs(candidate)

    scripts = without_pieces(scripts, lambda kept: bool(kept) and still(kept))
    for index in range(len(scripts)):
        scripts = shrink_one(scripts, index, still)
    return scripts


def shrink_one(scripts, index, still):
    def replaced(**changes):
        changed = copy.copy(scripts[index])
        for name, value in changes.items():
            setattr(changed, name, value)
        return scripts[:index] + [changed] + scripts[index + 1 :]

    for changes in ({"racing": False}, {"startup": {}}):
        if any(getattr(scripts[index], name) != value for name, value in changes.items()) and still(replaced(**changes)):
            scripts = replaced(**changes)
    before = None
    while before != scripts[index].steps:
        before = scripts[index].steps
        steps = without_pieces(before, lambda kept: bool(kept) and still(replaced(steps=kept)))
        scripts = replaced(steps=steps)
        for at, (client, messages) in enumerate(steps):
            def with_messages(kept, at=at, client=client):
                current = scripts[index].steps
                return replaced(steps=current[:at] + [(client, kept)] + current[at + 1 :])

            kept = without_pieces(messages, lambda kept: bool(kept) and still(with_messages(kept)))
            scripts = with_messages(kept)
    return scripts


def without_pieces(items, differs):
    """Delta debugging: leaves out halves, quarters, ... single items, as long as the difference shows."""
    size = max(1, len(items) // 2)
    while True:
        at, changed = 0, False
        while at < len(items):
            candidate = items[:at] + items[at + size :]
            if candidate and differs(candidate):
                items, changed = candidate, True
            else:
                at += size
        if size == 1 and not changed:
            return items
        size = max(1, size // 2)
