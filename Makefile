# pgweir: GNU make, no configure step, no recursion.
#
#   make                              build/release/pgweir
#   make test                         unit tests, then integration tests against a real PostgreSQL
#   make unit [ROOM=ledger]           unit tests alone, of all rooms or of one
#   make SANITIZE=address,undefined   build/asan/pgweir      (works with the other targets too)
#   make SANITIZE=thread              build/tsan/pgweir
#   make CC=clang                     build/clang/pgweir
#   make fuzz                         build/fuzz/fuzz_*      (libFuzzer, so with clang)
#   make headers tidy cppcheck        each header compiles alone; static analysis
#   make format                       clang-format, in place
#   make install DESTDIR= PREFIX=     the binary, etc/, the manual and the systemd unit
#   make clean
#
# V=1 shows the commands. WERROR=1 makes warnings errors, as scripts/check does. SYSTEMD=no leaves libsystemd out.
# BREAK=early-release builds a pooler with a known fault, to show that the torture test finds it; never install it.

VERSION := 0.1.0

# The rooms, from the ground up: each may use only rooms that stand before it (scripts/check-layers knows which).
ROOMS := base wire auth net config ledger pool server client worker admin http gateway main

# --- What is built, and where ------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
ifneq ($(filter fuzz,$(MAKECMDGOALS)),)
CC := clang
SANITIZE := fuzzer-no-link,address,undefined
endif
ifneq ($(BREAK),)
SANITIZE := address,undefined
endif

empty :=
space := $(empty) $(empty)
comma := ,
sanitizer = $(filter $(1),$(subst $(comma),$(space),$(SANITIZE)))

ifneq ($(BREAK),)
VARIANT := break
else ifneq ($(call sanitizer,fuzzer%),)
VARIANT := fuzz
else
VARIANT := $(if $(call sanitizer,address),asan) $(if $(call sanitizer,thread),tsan) $(findstring clang,$(CC))
VARIANT := $(or $(subst $(space),-,$(strip $(VARIANT))),release)
endif
BUILD := build/$(VARIANT)

SOURCES := $(sort $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c)))
HEADERS := $(sort $(foreach room,$(ROOMS),$(wildcard include/$(room)/*.h src/$(room)/*.h)))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
# Everything but main() itself: what the unit tests and the fuzz targets link.
LIBRARY := $(filter-out $(BUILD)/src/main/main.o,$(OBJECTS))

.PHONY: all
all: $(BUILD)/pgweir

# --- Flags -------------------------------------------------------------------

# CFLAGS, CPPFLAGS and LDFLAGS belong to whoever builds; what pgweir itself needs is added to them.
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
# Debian's own, which sees the packages that scripts/bootstrap installs.
PYTHON ?= /usr/bin/python3

# A flag that not every compiler and machine has is used where the compiler takes it.
accepted = $(if $(shell $(CC) -Werror $(1) -x c -c /dev/null -o /dev/null 2>&1 || echo no),,$(1))

LANGUAGE := -std=gnu17 -D_GNU_SOURCE -iquote include -pthread -DPGWEIR_VERSION='"$(VERSION)"'

# Not -Wformat-truncation: snprintf cuts texts on purpose, to bound them.
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wundef -Wvla \
    -Wformat=2 -Wimplicit-fallthrough $(call accepted,-Wno-format-truncation) $(if $(WERROR),-Werror)

HARDENING := -fPIE -fvisibility=hidden -fstack-protector-strong $(call accepted,-fstack-clash-protection) \
    $(call accepted,-fcf-protection=full) $(call accepted,-ftrivial-auto-var-init=zero)
LINK_HARDENING := -pie -Wl,-z,relro,-z,now,-z,noexecstack

# The same bytes, whatever folder it is built in.
REPRODUCIBLE := -ffile-prefix-map=$(CURDIR)=.

ifneq ($(SANITIZE),)
SANITIZING := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
DEFINES := -DPGWEIR_DEBUG_CHECKS=1
else ifeq ($(filter -O0 -Og,$(CFLAGS)),)
HARDENING += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
# The rooms call each other for every message: optimized as one program, a transaction takes 5 % fewer instructions.
OPTIMIZING := $(if $(findstring gcc,$(CC)),$(call accepted,-flto=auto))
endif
ifneq ($(BREAK),)
DEFINES += -DPGWEIR_BREAK_$(shell echo '$(BREAK)' | tr 'a-z-' 'A-Z_')=1
endif

PACKAGES := libevent_core libevent_pthreads openssl inih libidn yajl
ifneq ($(SYSTEMD),no)
HAVE_SYSTEMD := $(shell $(PKG_CONFIG) --exists libsystemd && echo 1)
endif
ifneq ($(HAVE_SYSTEMD),)
PACKAGES += libsystemd
DEFINES += -DHAVE_SYSTEMD=1
endif
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
# libevent_pthreads asks for all of libevent; the core is enough.
PACKAGE_LIBS := $(filter-out -levent,$(shell $(PKG_CONFIG) --libs $(PACKAGES))) -lresolv
CHECK_LIBS = $(shell $(PKG_CONFIG) --libs check)

ALL_CFLAGS := $(LANGUAGE) $(WARNINGS) $(REPRODUCIBLE) $(PACKAGE_CFLAGS) $(DEFINES) $(CPPFLAGS) $(CFLAGS) \
    $(HARDENING) $(OPTIMIZING) $(SANITIZING)
ALL_LDFLAGS := -pthread $(OPTIMIZING) $(REPRODUCIBLE) $(LINK_HARDENING) $(SANITIZING) $(LDFLAGS)

# --- Compiling and linking ---------------------------------------------------

ifeq ($(V),)
say = @printf '  %-8s %s\n' '$(1)' '$(2)';
else
say =
endif

# $(call keep,FILE,TEXT): FILE holds TEXT, and is touched only when that changes.
keep = $(if $(findstring <$(strip $(2))>,<$(strip $(file <$(1)))>),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(2)))

# All objects are made anew when the flags change.
$(call keep,$(BUILD)/flags,$(CC) $(ALL_CFLAGS))

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/%.o: $(BUILD)/%.c $(BUILD)/flags
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/pgweir: $(OBJECTS)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

# --- Unit tests --------------------------------------------------------------

# tests/unit/<room>/test_<module>.c defines suite_<room>_<module>(); the runner is made from the file names.
# With ROOM=x it holds the tests of that room only, and links no room above it.
rooms_up_to = $(firstword $(2)) \
    $(if $(filter-out $(1),$(firstword $(2))),$(call rooms_up_to,$(1),$(wordlist 2,$(words $(2)),$(2))))

UNIT_ROOMS := $(or $(ROOM),$(ROOMS))
UNIT_TESTS := $(sort $(foreach room,$(UNIT_ROOMS),$(wildcard tests/unit/$(room)/test_*.c)))
UNIT_SUPPORT := $(sort $(wildcard tests/support/*.c))
UNIT_LIBRARY := $(filter $(patsubst %,$(BUILD)/src/%/%,$(call rooms_up_to,$(lastword $(UNIT_ROOMS)),$(ROOMS))),$(LIBRARY))
UNIT_RUNNER := $(BUILD)/unit$(ROOM:%=_%)
SUITES := $(subst /test_,_,$(UNIT_TESTS:tests/unit/%.c=suite_%))

define newline


endef

define UNIT_MAIN
/* Made by the Makefile from the names of the files in tests/unit. */
#include <check.h>
#include <stdlib.h>

$(foreach suite,$(SUITES),Suite *$(suite)(void);$(newline))
int main(void)
{
    SRunner *runner = srunner_create(NULL);
$(foreach suite,$(SUITES),    srunner_add_suite(runner, $(suite)());$(newline))
    srunner_run_all(runner, CK_SILENT);
    srunner_print(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    if (failed > 0)
        srunner_print(runner, CK_MINIMAL); /* the summary is the last line, also below failures */
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
endef
$(call keep,$(UNIT_RUNNER)_main.c,$(UNIT_MAIN))

# The tests' own helpers: rooms do not see them.
$(BUILD)/tests/%.o: ALL_CFLAGS += -iquote tests

# An archive, so that a room's tests link only the helpers that they use.
$(BUILD)/tests/support.a: $(UNIT_SUPPORT:%.c=$(BUILD)/%.o)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(UNIT_RUNNER): $(UNIT_RUNNER)_main.o $(UNIT_TESTS:%.c=$(BUILD)/%.o) $(BUILD)/tests/support.a $(UNIT_LIBRARY)
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(PACKAGE_LIBS)

# Check kills a test after 4 seconds by default; a sanitizer on a busy machine needs longer.
.PHONY: unit
unit: $(UNIT_RUNNER)
	$(call say,UNIT,$<)CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT:-60} $<

.PHONY: integration
integration: $(BUILD)/pgweir
	$(call say,PYTEST,tests/integration)PGWEIR_BINARY=$(CURDIR)/$< $(PYTHON) -m pytest -q tests/integration

.PHONY: test
test: unit integration

# --- Fuzz targets ------------------------------------------------------------

FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_TARGETS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/%)

.PHONY: fuzz
fuzz: $(FUZZ_TARGETS)

# An archive, so that a target holds only what its parser needs.
$(BUILD)/rooms.a: $(LIBRARY)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

$(FUZZ_TARGETS): $(BUILD)/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/rooms.a
	$(call say,LINK,$@)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PACKAGE_LIBS)

# --- Checks without running --------------------------------------------------

# Each header compiles alone.
.PHONY: headers
headers: $(HEADERS:%=$(BUILD)/headers/%.o)

$(BUILD)/headers/%.o: % $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,HEADER,$<)echo '#include "$<"' | $(CC) $(ALL_CFLAGS) -iquote . -MMD -MP -MT $@ -MF $(@:.o=.d) -x c -c -o $@ -

# Stamps: a file is looked at again when it, what it includes (through its object) or the rules have changed.
.PHONY: tidy cppcheck
tidy: $(SOURCES:%=$(BUILD)/tidy/%)
cppcheck: $(SOURCES:%=$(BUILD)/cppcheck/%)

TIDY_CFLAGS = $(LANGUAGE) $(PACKAGE_CFLAGS) $(DEFINES)
# cppcheck reads no system headers, but has to know the macros that declare things.
MACRO_HEADERS = $(shell $(CC) -M -include sys/queue.h -include uthash.h -x c /dev/null | tr ' ' '\n' | \
    sed -nE 's/^.*[/](queue|uthash)[.]h$$/--include=&/p')
CPPCHECK_FLAGS = --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --quiet \
    --suppress=missingIncludeSystem -D_GNU_SOURCE -DPGWEIR_VERSION='"$(VERSION)"' -I include \
    $(MACRO_HEADERS)

$(BUILD)/tidy/%.c: %.c .clang-tidy $(BUILD)/%.o
	@mkdir -p $(@D)
	$(call say,TIDY,$<)clang-tidy --quiet --warnings-as-errors='*' $< -- $(TIDY_CFLAGS)
	@touch $@

$(BUILD)/cppcheck/%.c: %.c $(BUILD)/%.o
	@mkdir -p $(@D)
	$(call say,CPPCHECK,$<)cppcheck $(CPPCHECK_FLAGS) $<
	@touch $@

# --- Source format -----------------------------------------------------------

.PHONY: format
format:
	@scripts/format

# --- The manual --------------------------------------------------------------

MANUAL := $(BUILD)/man/pgweir.1 $(BUILD)/man/pgweir.ini.5 $(BUILD)/man/pgweir-console.8

.PHONY: manual
manual: $(MANUAL)

$(BUILD)/man/%: man/%
	@mkdir -p $(@D)
	$(call say,MAN,$@)sed 's/@VERSION@/$(VERSION)/g' $< >$@

# The option reference comes from the option table itself.
$(BUILD)/man/pgweir.ini.5: man/pgweir.ini.5.in $(BUILD)/pgweir
	@mkdir -p $(@D)
	@$(BUILD)/pgweir --describe-options >$@.options
	$(call say,MAN,$@)sed -e 's/@VERSION@/$(VERSION)/g' -e '/@OPTIONS@/{r $@.options' -e 'd;}' $< >$@

# --- Installing --------------------------------------------------------------

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
# /usr goes with /etc, /usr/local with /usr/local/etc.
SYSCONFDIR ?= $(PREFIX:/usr=)/etc
INSTALL ?= install

SAMPLES := $(wildcard etc/*.ini etc/*.conf etc/*.txt)
# The unit as this build can run it: systemd is told that the pooler is ready only where libsystemd is built in.
UNIT_EDITS := -e 's|/usr/bin/|$(BINDIR)/|g' -e 's|/etc/pgweir/|$(SYSCONFDIR)/pgweir/|g' \
    $(if $(HAVE_SYSTEMD),,-e 's/^Type=notify$$/Type=exec/')

# Files that are configured already are left alone. They may hold secrets, so others cannot read them.
.PHONY: install
install: $(BUILD)/pgweir $(MANUAL)
	$(INSTALL) -D -m 755 $(BUILD)/pgweir $(DESTDIR)$(BINDIR)/pgweir
	$(INSTALL) -d $(DESTDIR)$(SYSCONFDIR)/pgweir $(DESTDIR)$(UNITDIR)
	for sample in $(notdir $(SAMPLES)); do \
	    test -e $(DESTDIR)$(SYSCONFDIR)/pgweir/$$sample || \
	    $(INSTALL) -m 640 etc/$$sample $(DESTDIR)$(SYSCONFDIR)/pgweir/$$sample || exit 1; \
	done
	for page in $(MANUAL); do \
	    $(INSTALL) -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit 1; \
	done
	sed $(UNIT_EDITS) etc/pgweir.service >$(BUILD)/pgweir.service
	$(INSTALL) -m 644 $(BUILD)/pgweir.service $(DESTDIR)$(UNITDIR)/pgweir.service

.PHONY: clean
clean:
	rm -rf build

.DELETE_ON_ERROR:
.SECONDARY:

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
