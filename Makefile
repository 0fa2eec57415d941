# fpmpool - one Makefile, not recursive. ./configure writes build/config.mk first.
#
#   make            build/bin/fpmpoold, build/bin/fpmpool-php<version>, build/lib/mod_fpmpool*.so
#   make check      unit and system tests        make install [DESTDIR=]
#   make unit       build/test/*                 make uninstall
#   make fuzz       build/test/fuzz_* (clang)    make clean distclean format
# WERROR=1 turns warnings into errors. BUILD=DIR builds elsewhere, with DIR/config.mk.

BUILD ?= build
VERSION = 0.1.0

GOALS_WITHOUT_CONFIG = clean distclean format help
ifeq ($(filter $(GOALS_WITHOUT_CONFIG),$(MAKECMDGOALS)),)
  ifeq ($(wildcard $(BUILD)/config.mk),)
    $(error $(BUILD)/config.mk is missing: run ./configure first)
  endif
endif
-include $(BUILD)/config.mk

OBJ = $(BUILD)/obj
WARNINGS = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 $(if $(WERROR),-Werror)
BASE_CFLAGS = -std=gnu11 -fPIC -fno-omit-frame-pointer -fstack-protector-strong $(WARNINGS)
BASE_CPPFLAGS = -D_GNU_SOURCE -Ifpmpoold
HARDENING = -D_FORTIFY_SOURCE=2
LINK_HARDENING = -Wl,-z,relro,-z,now -Wl,--as-needed
ifeq ($(ASAN),yes)
  SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined
  HARDENING =
endif
PATHS = -DFPD_PREFIX='"$(prefix)"' -DFPD_SYSCONFDIR='"$(sysconfdir)/fpmpool"' \
	-DFPD_LIBEXECDIR='"$(libexecdir)/fpmpool"' -DFPD_LOCALSTATEDIR='"$(localstatedir)"' \
	-DFPD_DEFAULT_PHP='"$(DEFAULT_PHP)"' -DFPD_VERSION='"$(VERSION)"'
DAEMON_CFLAGS = $(BASE_CFLAGS) $(USER_CFLAGS)
DAEMON_CPPFLAGS = $(BASE_CPPFLAGS) $(HARDENING) $(PATHS) $(APR_CPPFLAGS) $(USER_CPPFLAGS)
MODULE_CPPFLAGS = $(BASE_CPPFLAGS) -Imod_fpmpool $(HARDENING) $(HTTPD_CPPFLAGS) $(USER_CPPFLAGS)

# $(call sources,FOLDER...): the C files of folders of the daemon
sources = $(foreach folder,$(1),$(wildcard fpmpoold/$(folder)/*.c))
objects = $(patsubst %.c,$(OBJ)/$(2)/%.o,$(1))

MASTER_SOURCES = $(call sources,master conf base)
HOST_SOURCES = $(call sources,pool worker base wire)
PHP_SOURCES = $(call sources,php)
MODULE_SOURCES = $(wildcard mod_fpmpool/*.c) $(call sources,wire)
LIBRARY_SOURCES = $(filter-out fpmpoold/master/main.c fpmpoold/pool/host.c,\
	$(call sources,master conf pool worker base wire))
UNIT_SOURCES = $(wildcard t/unit/test_*.c)
TOOL_SOURCES = $(wildcard t/chaos/*.c t/bin/*.c)

MASTER = $(BUILD)/bin/fpmpoold
HOSTS = $(PHP_VERSIONS:%=$(BUILD)/bin/fpmpool-php%)
MODULE = $(BUILD)/lib/mod_fpmpool.so
NAMES = $(BUILD)/lib/mod_fpmpool_php.so
LIBRARY = $(BUILD)/libfpd.a
UNITS = $(UNIT_SOURCES:t/unit/%.c=$(BUILD)/test/%)
TOOLS = $(foreach file,$(TOOL_SOURCES),$(BUILD)/test/$(basename $(notdir $(file))))
REPLAY = $(patsubst t/fuzz/%.c,$(BUILD)/test/replay_%,$(wildcard t/fuzz/fuzz_*.c))
FUZZERS = $(patsubst t/fuzz/%.c,$(BUILD)/test/%,$(wildcard t/fuzz/fuzz_*.c))

.PHONY: all check unit fuzz install uninstall clean distclean format help
.DELETE_ON_ERROR:
all: $(MASTER) $(HOSTS) $(MODULE) $(NAMES)
unit: $(UNITS) $(TOOLS) $(REPLAY)
fuzz: $(FUZZERS)

help:
	@sed -n '3,8s/^# \{0,1\}//p' Makefile

# ---- programs ----
# plain: the daemon without PHP (with sanitizers if asked); host: the same files for the hosts, always
# without sanitizers; php<version>: fpmpoold/php/; module: what httpd loads
$(MASTER): $(call objects,$(MASTER_SOURCES),plain) | $(BUILD)/bin
	$(CC) $(SANITIZE) -pie $(LINK_HARDENING) $(USER_LDFLAGS) -o $@ $^ $(APR_LIBS) $(ACL_LIBS)

define host_rules
$(BUILD)/bin/fpmpool-php$(1): $(call objects,$(HOST_SOURCES),host) \
		$(call objects,$(PHP_SOURCES),php$(1)) | $(BUILD)/bin
	$$(CC) -pie $$(LINK_HARDENING) $$(USER_LDFLAGS) -o $$@ $$^ $$(APR_LIBS) $$(PHP_LIBS_$(1)) -lpthread

$(OBJ)/php$(1)/%.o: %.c $(BUILD)/config.mk Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(DAEMON_CPPFLAGS) -DFPD_PHP_VERSION='"$(1)"' $$(PHP_INCLUDES_$(1):-I%=-isystem %) \
		$$(DAEMON_CFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach version,$(PHP_VERSIONS),$(eval $(call host_rules,$(version))))

$(MODULE): $(call objects,$(MODULE_SOURCES),module) | $(BUILD)/lib
	$(CC) $(SANITIZE) -shared $(LINK_HARDENING) $(USER_LDFLAGS) -o $@ $^

$(NAMES): $(call objects,$(wildcard mod_fpmpool/named/*.c),module) | $(BUILD)/lib
	$(CC) $(SANITIZE) -shared $(LINK_HARDENING) $(USER_LDFLAGS) -o $@ $^

$(LIBRARY): $(call objects,$(LIBRARY_SOURCES),plain)
	@rm -f $@
	$(AR) rcs $@ $^

$(OBJ)/plain/%.o: %.c $(BUILD)/config.mk Makefile
	@mkdir -p $(@D)
	$(CC) $(DAEMON_CPPFLAGS) $(DAEMON_CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<

$(OBJ)/host/%.o: %.c $(BUILD)/config.mk Makefile
	@mkdir -p $(@D)
	$(CC) $(DAEMON_CPPFLAGS) $(DAEMON_CFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/module/%.o: %.c $(BUILD)/config.mk Makefile
	@mkdir -p $(@D)
	$(CC) $(MODULE_CPPFLAGS) $(DAEMON_CFLAGS) -fvisibility=hidden $(SANITIZE) -MMD -MP -c -o $@ $<

$(BUILD)/bin $(BUILD)/lib $(BUILD)/test:
	mkdir -p $@

# ---- tests ----
# test_fpmp_* test the parts of the module that know no httpd; test_php_* those of php/ without PHP
PURE_MODULE = $(shell grep -LE 'httpd\.h|http_.*\.h' $(wildcard mod_fpmpool/*.c) /dev/null)
PURE_PHP = $(wildcard fpmpoold/php/script.c fpmpoold/php/params.c)
PURE_OBJECTS = $(call objects,$(PURE_MODULE),pure) $(call objects,$(PURE_PHP),pure)

$(OBJ)/pure/%.o: %.c $(BUILD)/config.mk Makefile
	@mkdir -p $(@D)
	$(CC) $(DAEMON_CPPFLAGS) -Imod_fpmpool $(DAEMON_CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<

$(BUILD)/pure.a: $(PURE_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(OBJ)/unit/%.o: t/unit/%.c $(BUILD)/config.mk Makefile
	@mkdir -p $(@D)
	$(CC) $(DAEMON_CPPFLAGS) -It/unit -Imod_fpmpool $(DAEMON_CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<

$(UNITS): $(BUILD)/test/%: $(OBJ)/unit/%.o $(LIBRARY) $(BUILD)/pure.a | $(BUILD)/test
	@test -n "$(CHECK_LIBS)" || { echo 'the unit tests need the library check: apt-get install check, then ./configure'; exit 1; }
	$(CC) $(SANITIZE) $(USER_LDFLAGS) -o $@ $< $(LIBRARY) $(BUILD)/pure.a $(LIBRARY) $(CHECK_LIBS) $(APR_LIBS) $(ACL_LIBS)

define tool_rules
$(BUILD)/test/$(basename $(notdir $(1))): $(1:%.c=$(OBJ)/plain/%.o) $(LIBRARY) | $(BUILD)/test
	$$(CC) $$(SANITIZE) $$(USER_LDFLAGS) -o $$@ $$^ $$(APR_LIBS) $$(ACL_LIBS)
endef
$(foreach file,$(TOOL_SOURCES),$(eval $(call tool_rules,$(file))))

$(REPLAY): $(BUILD)/test/replay_%: t/fuzz/%.c t/fuzz/replay.c $(LIBRARY) | $(BUILD)/test
	$(CC) $(DAEMON_CPPFLAGS) $(DAEMON_CFLAGS) $(SANITIZE) -o $@ $< t/fuzz/replay.c $(LIBRARY) $(APR_LIBS) $(ACL_LIBS)

FUZZED_fuzz_wire = $(call sources,wire)
FUZZED_fuzz_control = fpmpoold/master/control_line.c fpmpoold/master/ctl_print.c
$(FUZZERS): $(BUILD)/test/%: t/fuzz/%.c $(call sources,wire master) | $(BUILD)/test
	clang $(BASE_CPPFLAGS) $(APR_CPPFLAGS) -std=gnu11 -g -O1 $(WARNINGS) -fsanitize=fuzzer,address,undefined \
		-o $@ $< $(FUZZED_$*) $(APR_LIBS)

check: all unit
	perl t/run

# ---- install ----
DOC = $(DESTDIR)$(datadir)/doc/fpmpool
FILL_IN = sed 's|@sbindir@|$(sbindir)|g; s|@sysconfdir@|$(sysconfdir)|g; s|@datadir@|$(datadir)|g; \
	s|@localstatedir@|$(localstatedir)|g; s|@runstatedir@|$(runstatedir)|g; \
	s|@moduledir@|$(HTTPD_MODULEDIR)|g'
DOCUMENTS = README.md CHANGES LICENSE fpmpoold/README.md mod_fpmpool/README.md

# A configuration that is there is never overwritten. What belongs to httpd or systemd is installed
# as an example: where it goes is the administrator's or the package's choice.
install: all
	install -d $(DESTDIR)$(sbindir) $(DESTDIR)$(libexecdir)/fpmpool $(DESTDIR)$(HTTPD_MODULEDIR)
	install -d $(DESTDIR)$(sysconfdir)/fpmpool/pool.d $(DESTDIR)$(localstatedir)/log
	install -m 755 $(MASTER) $(DESTDIR)$(sbindir)/
	install -m 755 $(HOSTS) $(DESTDIR)$(libexecdir)/fpmpool/
	install -m 644 $(MODULE) $(NAMES) $(DESTDIR)$(HTTPD_MODULEDIR)/
	umask 022; for file in fpmpoold.conf pool.d/www.conf; do \
		test -e "$(DESTDIR)$(sysconfdir)/fpmpool/$$file" || \
		$(FILL_IN) conf/$$file >"$(DESTDIR)$(sysconfdir)/fpmpool/$$file" || exit 1; done
	for file in $(DOCUMENTS); do \
		install -D -m 644 $$file "$(DOC)/$$file" || exit 1; done
	umask 022; for file in $(patsubst conf/%,%,$(wildcard conf/fpmpool.* conf/*.service conf/*.tmpfiles \
			conf/examples/*.socket conf/examples/*/*)); do \
		install -d "$(DOC)/conf/$$(dirname $$file)" && \
		$(FILL_IN) conf/$$file >"$(DOC)/conf/$$file" || exit 1; done

# Leaves the configuration and the logs.
uninstall:
	rm -f $(DESTDIR)$(sbindir)/fpmpoold $(DESTDIR)$(HTTPD_MODULEDIR)/mod_fpmpool.so \
		$(DESTDIR)$(HTTPD_MODULEDIR)/mod_fpmpool_php.so
	rm -rf $(DESTDIR)$(libexecdir)/fpmpool $(DOC)

clean:
	rm -rf $(BUILD)/obj $(BUILD)/bin $(BUILD)/lib $(BUILD)/test $(BUILD)/libfpd.a $(BUILD)/pure.a

distclean: clean
	rm -rf $(BUILD)/config.mk $(BUILD)/config.again build/asan build/cache

format:
	clang-format -i $(wildcard mod_fpmpool/*.[ch] mod_fpmpool/*/*.[ch] fpmpoold/*/*.[ch] t/*/*.[ch])

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
